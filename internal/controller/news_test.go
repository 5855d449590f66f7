package controller

import (
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

func report(v failover.VantageName, a, b failover.Vote) failover.Report {
	return failover.Report{Vantage: v, Generation: "g", Want: "g", Clusters: map[failover.ClusterName]failover.Sighting{
		"a": {Vote: a, Reason: string(v)}, "b": {Vote: b},
	}}
}

func TestOnlyWhatMayShowIsNews(t *testing.T) {
	var h heard
	up := report("van-1", failover.Up, failover.Up)
	sick, stale, narrow, other := up, up, up, up
	sick.Sick, stale.Generation = "no control", "old"
	narrow.Clusters = map[failover.ClusterName]failover.Sighting{"a": up.Clusters["a"]}
	other.Clusters = map[failover.ClusterName]failover.Sighting{"a": up.Clusters["a"], "c": up.Clusters["b"]}
	reasons := report("van-1", failover.Up, failover.Up)
	reasons.Clusters["a"] = failover.Sighting{Vote: failover.Up, Reason: "in other words", Misses: 1}
	for i, step := range []struct {
		event failover.Event
		want  bool
	}{
		{up, true}, // the first
		{up, false},
		{reasons, false},
		{report("van-2", failover.Up, failover.Up), true}, // the first of another
		{up, false},
		{report("van-1", failover.Down, failover.Up), true},
		{report("van-1", failover.Down, failover.Up), false},
		{up, true},
		{sick, true},
		{sick, false},
		{up, true},
		{stale, true},
		{up, true},
		{narrow, true},
		{up, true},
		{other, true},
		{up, true},
		{failover.Tick{}, true},
		{up, false},
		{failover.Exposure{}, true},
		{up, true}, // nothing that was heard before counts any more
	} {
		if got := h.news(step.event, false); got != step.want {
			t.Errorf("step %d, %T: news %v", i, step.event, got)
		}
	}
}

// What the core is asked to show, and how often.
func TestReportsThatSayNothingNewCostNoView(t *testing.T) {
	var looks int
	inBubble(t, func(_ *Config, w *world) {
		w.script.view = func(i failover.InstanceName) failover.View {
			if i == orders {
				looks++ // under the lock of the script
			}
			return failover.View{}
		}
	}, func(t *testing.T, w *world) {
		deliver := func(r failover.Report) int {
			t.Helper()
			w.script.mu.Lock()
			before := looks
			w.script.mu.Unlock()
			if err := w.Deliver(orders, r); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			w.script.mu.Lock()
			defer w.script.mu.Unlock()
			return looks - before
		}
		time.Sleep(10 * time.Millisecond) // away from the ticks
		for i, step := range []struct {
			vote failover.Vote
			want int
		}{{failover.Up, 1}, {failover.Up, 0}, {failover.Up, 0}, {failover.Down, 1}, {failover.Down, 0}} {
			if got := deliver(report("van-1", step.vote, failover.Up)); got != step.want {
				t.Errorf("report %d: %d views", i, got)
			}
		}
		w.script.mu.Lock()
		w.script.on = func(_ failover.InstanceName, e failover.Event) []failover.Action {
			if _, ok := e.(failover.Report); ok {
				return []failover.Action{failover.Page{Kind: "test"}}
			}
			return nil
		}
		w.script.mu.Unlock()
		if got := deliver(report("van-1", failover.Down, failover.Up)); got != 1 {
			t.Errorf("a report that made the core act: %d views", got)
		}
		if s, _ := w.Snapshot(orders); time.Since(s.At) != 0 {
			t.Errorf("the snapshot is %s old: it comes with every turn", time.Since(s.At))
		}
		w.script.mu.Lock()
		before := looks
		w.script.mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		w.script.mu.Lock()
		defer w.script.mu.Unlock()
		if got := looks - before; got != 5 {
			t.Errorf("%d views in five rounds without a report: mere time may show, too", got)
		}
	})
}
