package controller

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

// longTurn delivers a quiet report while the instance has a turn of 20 ms, and
// returns when the report came, when the turn ended and when the core saw the
// report. The next tick is far away from all of it.
func longTurn(t *testing.T, w *world, busy *atomic.Bool) (came, ended, saw time.Time) {
	t.Helper()
	time.Sleep(10 * time.Millisecond)
	synctest.Wait()
	w.script.forget()
	busy.Store(true)
	deliver(t, w, failover.Report{Vantage: "van-1", Sick: "not quiet"})
	ended = time.Now().Add(20 * time.Millisecond)
	time.Sleep(10 * time.Millisecond)
	came = time.Now()
	deliver(t, w, failover.Report{Vantage: "van-2"})
	time.Sleep(time.Second)
	synctest.Wait()
	for _, e := range w.script.stamped(orders) {
		if rs, ok := e.event.(failover.Reports); ok && len(rs) == 1 && rs[0].Vantage == "van-2" {
			return came, ended, e.at
		}
	}
	t.Fatalf("the core did not see the report: %+v", w.script.stamped(orders))
	return came, ended, saw
}

// slowOnce makes the core take 20 ms for the next event once busy is set, and
// calls after when they are over.
func slowOnce(c *Config, busy *atomic.Bool, after func()) {
	step := c.Core.Step
	c.Core.Step = func(s failover.State, p *failover.Policy, e failover.Event, now time.Time) (failover.State, []failover.Action) {
		if busy.CompareAndSwap(true, false) {
			time.Sleep(20 * time.Millisecond)
			after()
		}
		return step(s, p, e, now)
	}
}

func TestAWishToBeWokenDuringATurnHoldsAfterIt(t *testing.T) {
	var busy atomic.Bool
	inBubble(t, func(c *Config, w *world) {
		calm(c, w)
		slowOnce(c, &busy, func() {})
	}, func(t *testing.T, w *world) {
		came, _, saw := longTurn(t, w, &busy)
		if d := saw.Sub(came); d != 100*time.Millisecond {
			t.Errorf("a report that came during a turn was held back for %s, want half a round of 200 ms", d)
		}
	})
}

func TestATurnThatEndsLessCalmBringsWhatWasHeldBackMeanwhile(t *testing.T) {
	var busy, loud atomic.Bool
	inBubble(t, func(c *Config, w *world) {
		calm(c, w)
		quiet := c.Core.Quiet
		c.Core.Quiet = func(s *failover.State, p *failover.Policy, r failover.Report, now time.Time) bool {
			return !loud.Load() && quiet(s, p, r, now)
		}
		slowOnce(c, &busy, func() { loud.Store(true) })
	}, func(t *testing.T, w *world) {
		_, ended, saw := longTurn(t, w, &busy)
		if d := saw.Sub(ended); d != 0 {
			t.Errorf("the core saw the report %s after the turn that made it count", d)
		}
	})
}

// The turn that a reload asks for comes at its new time: later, it would be
// taken for a stall of the process, and every vote for too old.
func TestAReloadThatAsksForAnEarlierTurnGetsIt(t *testing.T) {
	inBubble(t, func(c *Config, w *world) {
		calm(c, w)
		for i := range c.Policies {
			c.Policies[i].Round = time.Minute
		}
	}, func(t *testing.T, w *world) {
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		var ps []failover.Policy
		for _, i := range w.Instances() {
			s, _ := w.Snapshot(i)
			p := *s.Policy
			p.Round = 10 * time.Second
			ps = append(ps, p)
		}
		w.script.forget()
		if err := w.Reload(Setup{Policies: ps}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Second)
		synctest.Wait()
		ticks := 0
		for _, e := range w.script.stamped(orders) {
			switch e.event.(type) {
			case failover.Tick:
				ticks++
			case failover.Tilted:
				t.Errorf("a stall was seen: %+v", e.event)
			}
		}
		if ticks != 2 {
			t.Errorf("%d ticks within 25 s of the reload, want one each 10 s", ticks)
		}
	})
}
