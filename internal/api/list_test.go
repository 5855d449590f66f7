package api

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pointsman/internal/failover"
)

// fleet is many instances, of which some need a look.
type fleet struct {
	*world
	names []failover.InstanceName
	odd   map[failover.InstanceName]func(*failover.View)
	gone  map[failover.InstanceName]bool
}

func newFleet(n int) *fleet {
	f := &fleet{world: newWorld(), odd: make(map[failover.InstanceName]func(*failover.View)), gone: make(map[failover.InstanceName]bool)}
	for i := range n {
		f.names = append(f.names, failover.InstanceName(fmt.Sprintf("i%05d", i)))
	}
	return f
}

func (f *fleet) Names() []failover.InstanceName {
	return slices.DeleteFunc(slices.Clone(f.names), func(n failover.InstanceName) bool { return f.gone[n] })
}

func (f *fleet) Sketch(n failover.InstanceName) (failover.View, bool) { return f.View(n) }

func (f *fleet) View(n failover.InstanceName) (failover.View, bool) {
	if _, ok := slices.BinarySearch(f.names, n); !ok || f.gone[n] {
		return failover.View{}, false
	}
	v := failover.View{
		Instance: n, Leading: true, Phase: failover.PhaseIdle, Mode: "auto", Active: "a", Standby: "b",
		Clusters: []failover.ClusterView{{Name: "a", Role: "active", Verdict: failover.Up}, {Name: "b", Role: "standby", Verdict: failover.Up}},
	}
	if odd := f.odd[n]; odd != nil {
		odd(&v)
	}
	return v, true
}

func held(v *failover.View) {
	v.Phase, v.Op = failover.PhaseOp, &failover.Op{Held: &failover.Held{Why: "drift"}}
}

func moving(v *failover.View) { v.Phase, v.Op = failover.PhaseOp, &failover.Op{} }
func asleep(v *failover.View) { v.Leading, v.LeadWhy = false, "another process leads" }

func halfDown(v *failover.View) { v.Clusters[1].Verdict = failover.Down }

func paused(v *failover.View) {
	v.Stops = []failover.Stop{{Kind: failover.StopPause}, {Kind: failover.StopDrift}, {Kind: failover.StopDrift}}
}

var errStop = errors.New("seen")

// clientOf serves a fleet.
func clientOf(tb testing.TB, f *fleet) *Client {
	tb.Helper()
	cfg := f.config(tb)
	cfg.Instances = f
	serveTest(tb, cfg)
	c, err := NewClient(ClientConfig{Socket: cfg.Socket})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestManyInstancesAreReadPageByPage(t *testing.T) {
	f := newFleet(2*MaxViews + 1)
	c := clientOf(t, f)
	vs, err := c.Views(t.Context())
	if err != nil || len(vs) != len(f.names) {
		t.Fatalf("%d views, %v, want %d", len(vs), err, len(f.names))
	}
	for i, v := range vs {
		if v.Instance != f.names[i] {
			t.Fatalf("view %d is of %s, want the order of the config", i, v.Instance)
		}
	}
	first, err := c.List(t.Context(), ListQuery{After: "i00003", Limit: 2})
	if err != nil || len(first) != 2 || first[0].Instance != "i00004" || first[1].Instance != "i00005" {
		t.Errorf("a page of two after the fourth: %+v, %v", first, err)
	}
}

func TestAReloadBetweenTwoPagesBeginsTheListAnew(t *testing.T) {
	f := newFleet(MaxViews + 10)
	c := clientOf(t, f)
	f.gone[f.names[0]] = true
	if _, err := c.List(t.Context(), ListQuery{After: f.names[0]}); err == nil || !strings.Contains(err.Error(), "any more") {
		t.Errorf("a page after an instance that has gone: %v", err)
	}
	if vs, err := c.Views(t.Context()); err != nil || len(vs) != MaxViews+9 {
		t.Errorf("%d views, %v", len(vs), err)
	}
}

func TestOnlyWhatNeedsALookIsListedTheMostUrgentFirst(t *testing.T) {
	f := newFleet(3000)
	for i := 100; i < 1700; i++ {
		f.odd[f.names[i]] = halfDown
	}
	f.odd[f.names[1000]], f.odd[f.names[2999]], f.odd[f.names[5]] = moving, held, asleep
	c := clientOf(t, f)
	vs, err := c.List(t.Context(), ListQuery{NeedLook: "yes", Limit: 4})
	if err != nil {
		t.Fatal(err)
	}
	var got []failover.InstanceName
	for _, v := range vs {
		got = append(got, v.Instance)
	}
	if want := "[i02999 i01000 i00100 i00101]"; fmt.Sprint(got) != want {
		t.Errorf("listed %s, want %s", got, want)
	}
}

func TestASummaryCountsEveryInstanceOnce(t *testing.T) {
	f := newFleet(1000)
	f.odd[f.names[1]], f.odd[f.names[2]], f.odd[f.names[3]], f.odd[f.names[4]], f.odd[f.names[5]] = held, moving, asleep, halfDown, paused
	s, err := clientOf(t, f).Summary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.At = NewSummary(s.At).At
	want := *NewSummary(s.At)
	want.Instances, want.Leading, want.Held, want.NeedLook = 1000, 999, 1, 5
	want.Phases = map[failover.Phase]int{failover.PhaseIdle: 998, failover.PhaseOp: 2}
	want.Modes = map[string]int{"auto": 1000}
	want.Verdicts = map[string]map[string]int{"active": {"up": 1000}, "standby": {"up": 999, "down": 1}}
	want.Stops = map[failover.StopKind]int{failover.StopPause: 1, failover.StopDrift: 1}
	want.Looks = map[string]int{"held": 1, "moving": 1, "not leading": 1, "standby down": 1, "stopped: pause": 1}
	want.LeadWhy = []string{"another process leads"}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got\n%+v\nwant\n%+v", s, want)
	}
}

func TestAListWithABadQuestionIsRefused(t *testing.T) {
	c := clientOf(t, newFleet(3))
	for _, q := range []string{"?limit=0", "?limit=501", "?limit=x", "?need_look=maybe"} {
		var vs []failover.View
		err := c.get(t.Context(), "/v1/instances"+q, &vs)
		if p, ok := errors.AsType[*Problem](err); !ok || p.Status != http.StatusBadRequest {
			t.Errorf("%s: %v", q, err)
		}
	}
	if vs, err := clientOf(t, newFleet(0)).Views(t.Context()); err != nil || len(vs) != 0 {
		t.Errorf("no instance at all: %v, %v", vs, err)
	}
}

func TestAWatchOfManyInstancesShowsThoseThatNeedALook(t *testing.T) {
	f := newFleet(MaxViews + 1)
	f.odd[f.names[7]] = held
	var got []failover.View
	err := clientOf(t, f).Watch(t.Context(), "", func(vs []failover.View) error { got = vs; return errStop })
	if !errors.Is(err, errStop) || len(got) != 1 || got[0].Instance != "i00007" {
		t.Errorf("the first event has %d views, %v", len(got), err)
	}
}

// BenchmarkMany is what a status, a summary and the question for the leader
// cost with 10,000 instances, over the socket, without the making of a view.
func BenchmarkMany(b *testing.B) {
	f := newFleet(10_000)
	c := clientOf(b, f)
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			if vs, err := c.Views(b.Context()); err != nil || len(vs) != 10_000 {
				b.Fatal(err)
			}
		}
	})
	b.Run("summary", func(b *testing.B) {
		for b.Loop() {
			if _, err := c.Summary(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("need-look", func(b *testing.B) {
		for b.Loop() {
			if _, err := c.List(b.Context(), ListQuery{NeedLook: "yes"}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
