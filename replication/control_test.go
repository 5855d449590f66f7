package replication

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pointsman/internal/failover"
	lab "pointsman/internal/lab/tablestore"
	"pointsman/replication/ots"
)

const controlName = "pointsman_replication"

// incarnation opens control rows under a term.
func (s *side) incarnation(t testing.TB, term uint64, change ...func(*controlConfig)) *control {
	t.Helper()
	cfg := controlConfig{
		Client: s.Client, Table: controlName, Instance: "orders", From: "a", To: "b",
		Token: failover.Token{Term: term, Epoch: 1}, By: fmt.Sprintf("host-%d", term),
	}
	for _, c := range change {
		c(&cfg)
	}
	c, err := openControl(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *control) mustClaim(t testing.TB) (unclean bool) {
	t.Helper()
	unclean, err := c.Claim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return unclean
}

func (c *control) mustLoad(t testing.TB) map[string]saved {
	t.Helper()
	m, err := c.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func newControlSide(t testing.TB) *side {
	s := newSide(t)
	s.create(t, controlSchema(controlName))
	return s
}

// wide is a saved of so many bytes or a little more.
func wide(table string, bytes int) saved {
	s := saved{Table: table, Phase: PhaseFollowing}
	for n := 0; n < bytes; n += 60_000 {
		s.Positions = append(s.Positions, position{Stream: "s", Shard: fmt.Sprint(n), Iterator: strings.Repeat("i", 60_000)})
	}
	return s
}

func TestControlComesBack(t *testing.T) {
	s := newControlSide(t)
	c := s.incarnation(t, 1)
	if c.mustClaim(t) {
		t.Error("there was nobody before, and that was unclean")
	}
	want := map[string]saved{}
	for _, row := range []saved{someSaved(), {Order: &savedOrder{Pause: true, By: "bob", At: someTime}}, {Table: "t", Phase: PhaseGap, Why: "trimmed"}} {
		want[row.Table] = row
	}
	if err := c.Save(t.Context(), want["orders"], want[""], want["t"]); err != nil {
		t.Fatal(err)
	}
	if got := c.mustLoad(t); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nis not\n%+v", got, want)
	}
	if err := c.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := s.incarnation(t, 2)
	if next.mustClaim(t) {
		t.Error("a released claim was unclean")
	}
	if got := next.mustLoad(t); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nis not\n%+v", got, want)
	}
	if !s.incarnation(t, 3).mustClaim(t) {
		t.Error("a claim that was not released was clean")
	}
}

func TestControlRowsOfOthersAreNotOurs(t *testing.T) {
	s := newControlSide(t)
	for i, change := range []func(*controlConfig){
		func(*controlConfig) {},
		func(c *controlConfig) { c.From, c.To = c.To, c.From },
		func(c *controlConfig) { c.Instance = "orders2" },
	} {
		c := s.incarnation(t, 1, change)
		c.mustClaim(t)
		if len(c.mustLoad(t)) != 0 {
			t.Errorf("%d has rows of another", i)
		}
		if err := c.Save(t.Context(), saved{Table: fmt.Sprint("t", i)}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOnlyTheNewestIncarnationSaves(t *testing.T) {
	s := newControlSide(t)
	old := s.incarnation(t, 1)
	old.mustClaim(t)
	if err := old.Save(t.Context(), saved{Table: "t", Why: "old"}); err != nil {
		t.Fatal(err)
	}
	newer := s.incarnation(t, 2)
	newer.mustClaim(t)
	if err := old.Save(t.Context(), saved{Table: "t", Why: "late"}); !errors.Is(err, ErrSuperseded) || !strings.Contains(err.Error(), "host-2") {
		t.Error(err)
	}
	// A row that was not there when the newer one claimed: it can be made, and
	// means nothing.
	if err := old.Save(t.Context(), saved{Table: "new", Why: "late"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*control{newer, s.incarnation(t, 3)} {
		c.mustClaim(t)
		got := c.mustLoad(t)
		if len(got) != 1 || got["t"].Why != "old" {
			t.Errorf("%+v", got)
		}
	}
	for i, do := range []func() error{
		func() error { _, err := newer.Claim(t.Context()); return err },
		func() error { _, err := newer.Load(t.Context()); return err },
		func() error { return newer.Save(t.Context(), saved{Table: "t"}) },
		func() error { return newer.Release(t.Context()) },
	} {
		if err := do(); !errors.Is(err, ErrSuperseded) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if err := old.Save(t.Context(), saved{Table: "new"}); err != nil {
		t.Fatal(err) // the third took that row away
	}
}

// A claim can end after each of its calls. Who comes next finds all rows that
// were saved, and the older one can save none.
func TestClaimThatBreaksOff(t *testing.T) {
	for skip := range 10 {
		for _, after := range []bool{false, true} {
			s := newControlSide(t)
			old := s.incarnation(t, 1)
			old.mustClaim(t)
			for i := range 3 {
				if err := old.Save(t.Context(), saved{Table: fmt.Sprint("t", i), Why: "saved"}); err != nil {
					t.Fatal(err)
				}
			}
			second := s.incarnation(t, 2, func(c *controlConfig) { c.Client = openSide(t, s.Server) })
			s.fail(t, lab.Fault{Kind: lab.Drop, After: after, Skip: skip}, 1)
			_, err := second.Claim(t.Context())
			s.Heal()
			if (err != nil) != (skip < 8) || errors.Is(err, ErrSuperseded) {
				t.Fatalf("%d: %v", skip, err)
			}
			third := s.incarnation(t, 3)
			if !third.mustClaim(t) {
				t.Errorf("%d: clean", skip)
			}
			got := third.mustLoad(t)
			if len(got) != 3 || got["t0"].Why != "saved" || got["t2"].Why != "saved" {
				t.Errorf("%d %t: %+v", skip, after, got)
			}
			if err := old.Save(t.Context(), saved{Table: "t1"}); !errors.Is(err, ErrSuperseded) {
				t.Errorf("%d: %v", skip, err)
			}
		}
	}
}

func TestTokensOfEveryLengthSort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := failover.Token{Term: rapid.Uint64().Draw(t, "a"), Epoch: rapid.Uint64().Draw(t, "b")}
		b := failover.Token{Term: rapid.Uint64().Draw(t, "c"), Epoch: rapid.Uint64().Draw(t, "d")}
		if a.Less(b) != (tokenText(a) < tokenText(b)) {
			t.Fatalf("%s %s", tokenText(a), tokenText(b))
		}
	})
}

func TestLongTextsGoOnInOtherRows(t *testing.T) {
	s := newControlSide(t)
	c := s.incarnation(t, 1)
	c.mustClaim(t)
	for _, bytes := range []int{100, 4 << 20, 7 << 20, 100} {
		want := wide("t", bytes)
		if err := c.Save(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		next := s.incarnation(t, 1)
		next.mustClaim(t)
		if got := next.mustLoad(t)["t"]; !reflect.DeepEqual(got, want) {
			t.Errorf("%d bytes did not come back: %s", bytes, got.Why)
		}
		c = next
		text, err := encodeSaved(want)
		if err != nil {
			t.Fatal(err)
		}
		if rows := len(s.read(t, controlName)); rows != 1+1+(len(text)-1)/textRow {
			t.Errorf("%d rows for %d bytes", rows, len(text))
		}
	}
}

// Whatever answer is lost while a long text is written, there is the one before
// or this one.
func TestLongTextIsAllOrNothing(t *testing.T) {
	for skip := range 4 {
		s := newControlSide(t)
		c := s.incarnation(t, 1)
		c.mustClaim(t)
		first, second := wide("t", 3<<20+1), wide("t", 3<<20+90_000)
		if err := c.Save(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		s.fail(t, lab.Fault{Kind: lab.Drop, After: skip%2 == 0, Skip: skip / 2, Operation: "PutRow"}, 1)
		err := c.Save(t.Context(), second)
		if err == nil || ots.ClassOf(err) != ots.ClassRetry {
			t.Fatal(err)
		}
		got := c.mustLoad(t)["t"]
		if !reflect.DeepEqual(got, first) && !reflect.DeepEqual(got, second) {
			t.Errorf("%d: neither: %s", skip, got.Why)
		}
		// A second write that breaks off after its first part destroys neither.
		s.fail(t, lab.Fault{Kind: lab.Drop, Skip: 1, Operation: "PutRow"}, 1)
		if err := c.Save(t.Context(), first); err == nil {
			t.Fatal("saved")
		}
		if again := c.mustLoad(t)["t"]; !reflect.DeepEqual(again, got) {
			t.Errorf("%d: %s", skip, again.Why)
		}
	}
}

func TestBrokenRowIsAGap(t *testing.T) {
	for name, spoil := range map[string]ots.Cell{
		"text": {Name: colText + "0", Value: []byte(`{"v":1}`)},
		"sum":  {Name: colSum, Value: "00"},
		"part": {Name: colParts, Value: int64(1)},
		"many": {Name: colParts, Value: int64(1 << 40)},
	} {
		s := newControlSide(t)
		c := s.incarnation(t, 1)
		c.mustClaim(t)
		if err := c.Save(t.Context(), saved{Table: "t", Phase: PhaseFollowing}, saved{Table: "u", Phase: PhaseFollowing}); err != nil {
			t.Fatal(err)
		}
		if err := s.Client.UpdateIf(t.Context(), controlName, ots.Row{Key: c.key("table/t"), Cells: []ots.Cell{
			{Name: spoil.Name, Value: spoil.Value, Version: time.Now().Add(time.Minute).UnixMilli()},
		}}, ots.Condition{}); err != nil {
			t.Fatal(err)
		}
		got := c.mustLoad(t)
		if got["t"].Phase != PhaseGap || !strings.Contains(got["t"].Why, "cannot be read") || got["u"].Phase != PhaseFollowing {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestTextOfAnotherReleaseIsRefused(t *testing.T) {
	s := newControlSide(t)
	c := s.incarnation(t, 1)
	c.mustClaim(t)
	sl, err := c.slot("table/t")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.write(t.Context(), sl, "table/t", []byte(`{"v":2,"news":true}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Load(t.Context()); !errors.Is(err, errVersion) {
		t.Error(err)
	}
}

func TestControlAsksBeforeItWrites(t *testing.T) {
	s := newControlSide(t)
	no := errors.New("no")
	var answer error
	c := s.incarnation(t, 1, func(c *controlConfig) { c.May = func() error { return answer } })
	c.mustClaim(t)
	if err := c.Save(t.Context(), wide("t", 4<<20)); err != nil {
		t.Fatal(err)
	}
	answer = no
	before := s.calls("PutRow") + s.calls("UpdateRow") + s.calls("DeleteRow")
	for _, err := range []error{c.Save(t.Context(), saved{Table: "t"}), c.Release(t.Context())} {
		if !errors.Is(err, no) {
			t.Error(err)
		}
	}
	if _, err := c.Claim(t.Context()); !errors.Is(err, no) {
		t.Error(err)
	}
	if after := s.calls("PutRow") + s.calls("UpdateRow") + s.calls("DeleteRow"); after != before {
		t.Errorf("%d writes", after-before)
	}
}

func TestSaveNeedsAClaim(t *testing.T) {
	s := newControlSide(t)
	c := s.incarnation(t, 1)
	if err := c.Save(t.Context(), saved{Table: "t"}); err == nil {
		t.Error("saved without a claim")
	}
	c.mustClaim(t)
	if err := c.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Save(t.Context(), saved{Table: "t"}); err == nil {
		t.Error("saved after it was released")
	}
}

func TestControlTableThatIsNotOurs(t *testing.T) {
	s := newSide(t)
	cfg := controlConfig{Client: s.Client, Table: controlName}
	if _, err := openControl(t.Context(), cfg); ots.ClassOf(err) != ots.ClassAbsent || !strings.Contains(err.Error(), "prepare") {
		t.Error(err)
	}
	other := controlSchema(controlName)
	other.Key = other.Key[:1]
	s.create(t, other)
	if _, err := openControl(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "not one of this program") {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := openControl(ended, cfg); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// hook is a transport that does something before the next call of an operation.
type hook struct {
	http.RoundTripper
	operation string
	once      sync.Once
	do        func()
}

func (h *hook) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(req.URL.Path, "/"+h.operation) {
		h.once.Do(h.do)
	}
	return h.RoundTripper.RoundTrip(req)
}

// A save of the one before that lands while its rows are being claimed is newer
// than what the claim has read. The row is claimed all the same: it would count
// for nothing otherwise, and its table with it.
func TestClaimOfARowThatIsSavedMeanwhile(t *testing.T) {
	s := newControlSide(t)
	old := s.incarnation(t, 1)
	old.mustClaim(t)
	if err := old.Save(t.Context(), saved{Table: "t", Phase: PhaseCopying}); err != nil {
		t.Fatal(err)
	}
	h := &hook{operation: "UpdateRow", do: func() {
		s.SetClockOffset(time.Minute) // so that the version of the save is surely greater
		if err := old.Save(t.Context(), saved{Table: "t", Phase: PhaseFollowing}); err != nil {
			t.Error(err)
		}
	}}
	client := openSide(t, s.Server, func(c *ots.Config) {
		c.Wrap = func(over http.RoundTripper) http.RoundTripper { h.RoundTripper = over; return h }
	})
	next := s.incarnation(t, 2, func(c *controlConfig) { c.Client = client })
	next.mustClaim(t)
	if got := next.mustLoad(t); got["t"].Phase != PhaseFollowing {
		t.Errorf("%+v", got)
	}
	if err := old.Save(t.Context(), saved{Table: "t", Phase: PhaseCopying}); !errors.Is(err, ErrSuperseded) {
		t.Error(err)
	}
	if err := next.Save(t.Context(), saved{Table: "t", Phase: PhaseGap}); err != nil {
		t.Error(err)
	}
	third := s.incarnation(t, 3)
	third.mustClaim(t)
	if got := third.mustLoad(t); got["t"].Phase != PhaseGap {
		t.Errorf("%+v", got)
	}
}
