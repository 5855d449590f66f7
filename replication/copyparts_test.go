package replication

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"pointsman/internal/lab/tablestore"
	"pointsman/replication/ots"
)

func drawKey(t *rapid.T, label string) ots.Key {
	return ots.Key{
		{Name: "a", Value: rapid.StringN(0, 4, 6).Draw(t, label+" a")},
		{Name: "b", Value: rapid.OneOf(rapid.Int64Range(-2, 2), rapid.Int64()).Draw(t, label+" b")},
		{Name: "c", Value: rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0x7f, 0xff}), 0, 3).Draw(t, label+" c")},
	}
}

// A range is divided between its ends, at a key that the service can read.
func TestBetween(t *testing.T) {
	found := 0
	rapid.Check(t, func(t *rapid.T) {
		from, end := drawKey(t, "from"), drawKey(t, "end")
		if rapid.Bool().Draw(t, "same a") {
			end[0] = from[0]
			if rapid.Bool().Draw(t, "same b") {
				end[1] = from[1]
			}
		}
		end = end[:rapid.IntRange(0, 3).Draw(t, "columns")]
		if len(end) == 0 {
			end = nil
		} else if end.Compare(from) <= 0 {
			t.Skip("no range")
		}
		m, ok := between(from, end)
		if !ok {
			return
		}
		found++
		if m.Compare(from) <= 0 || end != nil && m.Compare(end) >= 0 || len(m) > len(from) {
			t.Fatalf("%v is not between %v and %v", m, from, end)
		}
		for _, c := range m {
			if s, ok := c.Value.(string); ok && !utf8.ValidString(s) {
				t.Fatalf("%q is no text", s)
			}
		}
	})
	if found == 0 {
		t.Error("nothing was ever between two keys")
	}
}

// Halving ends at every gap that has keys in it.
func TestBetweenFindsTheGap(t *testing.T) {
	text := func(s string) ots.Key { return ots.Key{{Name: "a", Value: s}, {Name: "b", Value: int64(7)}} }
	for _, c := range []struct {
		from, end ots.Key
		column    int // that decides; -1 if nothing is in between
	}{
		{text("device-0001"), nil, 0},
		{text("device-0001"), ots.Key{{Name: "a", Value: "device-0001\x00"}}, 1},
		{text("a"), ots.Key{{Name: "a", Value: "b"}}, 0},
		{text("ü"), nil, 0},
		{ots.Key{{Name: "a", Value: int64(1)}, {Name: "b", Value: int64(5)}}, ots.Key{{Name: "a", Value: int64(1)}, {Name: "b", Value: int64(6)}}, -1},
		{ots.Key{{Name: "a", Value: int64(1)}, {Name: "b", Value: int64(5)}}, ots.Key{{Name: "a", Value: int64(2)}}, 1},
		{ots.Key{{Name: "a", Value: int64(1<<63 - 1)}}, nil, -1},
		{ots.Key{{Name: "a", Value: int64(-1 << 63)}}, nil, 0},
		{ots.Key{{Name: "a", Value: []byte{0xff, 0xff}}}, nil, 0},
	} {
		m, ok := between(c.from, c.end)
		if ok != (c.column >= 0) || ok && len(m) != c.column+1 {
			t.Errorf("between %v and %v: %v, %v", c.from, c.end, m, ok)
		}
	}
}

// A service that refuses to cut a table smaller, or at all, has said enough.
func TestCopyTakesTheRangesThatItGets(t *testing.T) {
	l := newCopyLab(t)
	l.fill(l.source, 20, 200, "new")
	for _, c := range []struct{ refused, least, most int }{{0, 1, 1}, {5, 2, 9}, {6, 10, 60}} {
		if _, err := l.s.Fail(tablestore.Fault{Kind: tablestore.ErrorCode, Code: "OTSParameterInvalid", Operation: "ComputeSplitPointsBySize", Skip: c.refused}, -1); err != nil {
			t.Fatal(err)
		}
		cfg := l.config()
		cfg.Pool = newCopyPool(1, 0)
		cfg.Pool.least = 20_000
		if err := copyTable(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		if n := cfg.Meter.progress(time.Now()).Ranges; n < c.least || n > c.most {
			t.Errorf("refused after %d: %d ranges", c.refused, n)
		}
		l.same()
		l.s.Heal()
	}
}

// A range that is large is divided for those who have nothing to do, also if its
// upper part is empty in the space of keys.
func TestCopyDividesALargeRange(t *testing.T) {
	l := newCopyLab(t)
	l.fill(l.source, 300, 10, "new")
	l.fill(l.target, 2, 5, "foreign")
	cfg := l.config()
	cfg.Pool.page, cfg.Pool.parallel = 20, 3
	var most int
	cfg.Save = func(_ context.Context, s savedCopy) error {
		most = max(most, len(s.Ranges))
		for _, r := range s.Ranges {
			if r.Part != 0 {
				t.Errorf("part %d: the service proposed one", r.Part)
			}
		}
		return (&copier{}).restore(s)
	}
	if err := copyTable(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	l.same()
	p := cfg.Meter.progress(time.Now())
	if p.Ranges < 3 || most < 2 || p.Rows != 3000 || p.RangesDone != p.Ranges {
		t.Errorf("%d ranges were saved at most: %+v", most, p)
	}
}

// What is saved comes back as it was, in a text of JSON.
func TestCopySnapshotComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) string { return string(drawKey(t, "key").Encode()) }), 0, 6, rapid.ID).Draw(t, "keys")
		slices.Sort(keys)
		c := &copier{since: time.UnixMilli(1700000000000).UTC(), rows: 7, bytes: 9, removed: 1}
		var start ots.Key
		for i := range len(keys) + 1 {
			r := &copyRange{start: start, next: start, part: i / 2, fill: rapid.SampledFrom([]fill{fillUnknown, fillEmpty, fillRows}).Draw(t, "fill")}
			if i < len(keys) {
				r.end, _ = ots.DecodeKey([]byte(keys[i]))
			}
			if r.done = rapid.Bool().Draw(t, "done"); r.done {
				r.next, r.rows = r.end, int64(i)
			}
			c.ranges, start = append(c.ranges, r), r.end
		}
		s := c.snapshot()
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back savedCopy
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		d := &copier{}
		if err := d.restore(back); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		again, err := json.Marshal(d.snapshot())
		if err != nil || !bytes.Equal(again, text) {
			t.Fatalf("%v\n%s\n%s", err, text, again)
		}
		if len(d.ranges) > len(c.ranges) || d.rows != 7 || d.bytes != 9 || d.removed != 1 || !d.since.Equal(c.since) {
			t.Fatalf("%+v", d)
		}
	})
}

func FuzzCopyRestore(f *testing.F) {
	k := orderKey("a", 1).Encode()
	for _, s := range []savedCopy{
		{Ranges: []savedRange{{}}},
		{Ranges: []savedRange{{End: k, Done: true}, {Start: k, Next: k, Fill: fillEmpty}}},
		{Ranges: []savedRange{{End: k, Next: orderKey("b", 1).Encode()}, {Start: k}}},
	} {
		text, err := json.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var s savedCopy
		if json.Unmarshal(text, &s) != nil {
			return
		}
		c := &copier{}
		if c.restore(s) != nil {
			return
		}
		// What is taken covers every key once, and no key below a start is left.
		for i, r := range c.ranges {
			if i == 0 && r.start != nil || i > 0 && r.start.Compare(c.ranges[i-1].end) != 0 {
				t.Fatalf("a hole before range %d", i)
			}
			if !r.done && r.next.Compare(r.start) < 0 {
				t.Fatalf("range %d goes on before its start", i)
			}
		}
		if c.ranges[len(c.ranges)-1].end != nil {
			t.Fatal("a hole at the end")
		}
		if err := (&copier{}).restore(c.snapshot()); err != nil {
			t.Fatalf("what was taken is refused when it is saved again: %v", err)
		}
	})
}

func TestCopyRefusesATextThatDoesNotFit(t *testing.T) {
	a, b, c := orderKey("a", 1).Encode(), orderKey("b", 1).Encode(), orderKey("c", 1).Encode()
	for name, ranges := range map[string][]savedRange{
		"none":             {},
		"hole":             {{End: a}, {Start: b, Next: b}},
		"hole at the end":  {{End: a}},
		"hole at the head": {{Start: a, Next: a}},
		"backwards":        {{End: b}, {Start: b, Next: b, End: a}, {Start: a, Next: a}},
		"next before":      {{End: b}, {Start: b, Next: a}},
		"next after":       {{End: b, Next: c}, {Start: b, Next: b}},
		"no key":           {{End: []byte("x")}, {Start: []byte("x")}},
		"open in between":  {{}, {}},
	} {
		err := (&copier{}).restore(savedCopy{Ranges: ranges})
		if err == nil || !strings.Contains(err.Error(), "what was saved") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// open is how many calls are let in at a time now.
func (g *gate) open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return int(g.window)
}

func TestGateHalvesOnceForCallsThatWereInsideTogether(t *testing.T) {
	ctx := t.Context()
	g := newGate(8)
	var turns []int64
	for range 8 {
		n, err := g.enter(ctx)
		if err != nil {
			t.Fatal(err)
		}
		turns = append(turns, n)
	}
	for i, n := range turns {
		turns[i] = g.slow(n)
	}
	if g.open() != 4 {
		t.Fatalf("%d after eight calls of one moment were too many", g.open())
	}
	g.slow(turns[0]) // its second try was too many, too
	if g.open() != 2 {
		t.Fatalf("%d", g.open())
	}
	for range 8 {
		g.leave(false)
	}
	if g.open() != 2 {
		t.Fatalf("%d: a call that was repeated opened the window", g.open())
	}
	for range 100 {
		if _, err := g.enter(ctx); err != nil {
			t.Fatal(err)
		}
		g.leave(true)
	}
	if g.open() != 8 {
		t.Fatalf("%d: the window does not open again", g.open())
	}
}

func TestGateLetsInAsManyAsItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2)
		var inside atomic.Int64
		enter := func(ctx context.Context) error {
			_, err := g.enter(ctx)
			if err == nil {
				inside.Add(1)
			}
			return err
		}
		for range 3 {
			go enter(t.Context())
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() { gone <- enter(ctx) }()
		synctest.Wait()
		if inside.Load() != 2 {
			t.Fatalf("%d inside", inside.Load())
		}
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		g.leave(true)
		synctest.Wait()
		if inside.Load() != 3 || len(g.queue) != 0 {
			t.Fatalf("%d came in, %d wait", inside.Load(), len(g.queue))
		}
	})
}

func TestCopyMeterTellsRateAndRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newCopyMeter()
		m.begin(time.Now(), &savedCopy{Since: time.Now(), Rows: 1000})
		for range 20 {
			time.Sleep(time.Second)
			m.add(time.Now(), copied{rows: 50, bytes: 500})
		}
		if p := m.progress(time.Now()); p.Rows != 2000 || p.TotalRows != 0 || p.Left != 0 || p.Rate < 49 || p.Rate > 51 {
			t.Errorf("%+v", p)
		}
		m.setRanges(4, 1, 4000)
		if p := m.progress(time.Now()); p.Left < 39*time.Second || p.Left > 41*time.Second {
			t.Errorf("%+v", p)
		}
		over := m.busy(errors.New("busy"))
		also := m.busy(errors.New("very busy"))
		time.Sleep(10 * time.Second)
		if p := m.progress(time.Now()); p.Throttled != 10*time.Second || p.Rate > 26 || m.Trouble().Error() != "very busy" {
			t.Errorf("two calls that wait at the same time wait 10 s: %+v", p)
		}
		over()
		also()
		m.setRanges(4, 3, 1500)
		if p := m.progress(time.Now()); p.Throttled != 10*time.Second || p.TotalRows != 2000 {
			t.Errorf("there are at least as many rows as were copied: %+v", p)
		}
	})
}
