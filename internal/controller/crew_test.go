package controller

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"pointsman/internal/failover"
)

// calm makes a script's core content with one tick a round, and every report
// quiet that bears no word of sickness.
func calm(c *Config, w *world) {
	c.Core.NextWake = func(_ *failover.State, p *failover.Policy, now time.Time) time.Time { return now.Add(p.Round) }
	c.Core.Quiet = func(_ *failover.State, _ *failover.Policy, r failover.Report, _ time.Time) bool { return r.Sick == "" }
}

func deliver(t *testing.T, w *world, rs ...failover.Report) {
	t.Helper()
	for _, r := range rs {
		if err := w.Deliver(orders, r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestQuietReportsOfAllVantagesCostOneTurn(t *testing.T) {
	inBubble(t, calm, func(t *testing.T, w *world) {
		time.Sleep(10 * time.Millisecond) // away from the ticks
		synctest.Wait()
		w.script.forget()
		began := time.Now()
		for i := range 3 {
			deliver(t, w, failover.Report{Vantage: failover.VantageName(fmt.Sprint("van-", i+1))})
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		es := w.script.stamped(orders)
		if len(es) != 1 {
			t.Fatalf("the core saw %+v, want one batch", es)
		}
		batch, ok := es[0].event.(failover.Reports)
		if !ok || len(batch) != 3 {
			t.Fatalf("the core saw %+v", es[0].event)
		}
		if d := es[0].at.Sub(began); d != 100*time.Millisecond {
			t.Errorf("they were held back for %s, want half a round of 200 ms", d)
		}
		for i, r := range batch {
			if want := began.Add(time.Duration(i) * 10 * time.Millisecond); !r.Arrived.Equal(want) {
				t.Errorf("report %d counts from %s after its arrival", i, r.Arrived.Sub(want))
			}
		}
	})
}

func TestWhateverWakesAnInstanceBringsWhatWasHeldBack(t *testing.T) {
	inBubble(t, calm, func(t *testing.T, w *world) {
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		w.script.forget()
		deliver(t, w, failover.Report{Vantage: "van-1"}, failover.Report{Vantage: "van-2"}, failover.Report{Vantage: "van-1", Generation: "newer"})
		deliver(t, w, failover.Report{Vantage: "van-3", Sick: "not quiet"}, failover.Report{Vantage: "van-3"})
		synctest.Wait()
		var got []string
		for _, e := range w.script.all(orders) {
			switch e := e.(type) {
			case failover.Reports:
				for _, r := range e {
					got = append(got, "quiet "+string(r.Vantage)+r.Generation)
				}
			case failover.Report:
				got = append(got, "at once "+string(e.Vantage))
			}
		}
		// The last one would have overtaken what waited.
		if want := "[quiet van-1newer quiet van-2 at once van-3 at once van-3]"; fmt.Sprint(got) != want {
			t.Errorf("the core saw %s, want %s", got, want)
		}
	})
}

func TestACalmInstanceIsNeitherLookedAtNorTickedInVain(t *testing.T) {
	var looks atomic.Int32
	inBubble(t, func(c *Config, w *world) {
		calm(c, w)
		c.Core.Look = func(*failover.State, *failover.Policy, time.Time) failover.View { looks.Add(1); return failover.View{} }
	}, func(t *testing.T, w *world) {
		for range 3 { // until it is known to be calm
			time.Sleep(200 * time.Millisecond)
			deliver(t, w, failover.Report{Vantage: "van-1"})
		}
		time.Sleep(150 * time.Millisecond)
		synctest.Wait()
		w.script.forget()
		looks.Store(0)
		for range 50 {
			deliver(t, w, failover.Report{Vantage: "van-1"})
			time.Sleep(200 * time.Millisecond)
		}
		synctest.Wait()
		if n := len(w.script.stamped(orders)); n != 50 {
			t.Errorf("the core saw %d events in 50 rounds of one vantage", n)
		}
		if n := looks.Load(); n != 0 {
			t.Errorf("%d views of two calm instances", n)
		}
	})
}

func TestAReportThatIsNoLongerQuietWakesTheInstance(t *testing.T) {
	var loud atomic.Bool
	var first sync.Once
	inBubble(t, func(c *Config, w *world) {
		calm(c, w)
		// The state turns between the question and the answer.
		c.Core.Quiet = func(*failover.State, *failover.Policy, failover.Report, time.Time) bool {
			quiet := !loud.Load()
			first.Do(func() {
				loud.Store(true)
				o := w.roster.Load().owners[orders]
				s := *o.snap.Load()
				o.snap.Store(&s)
			})
			return quiet
		}
	}, func(t *testing.T, w *world) {
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		w.script.forget()
		began := time.Now()
		deliver(t, w, failover.Report{Vantage: "van-1"})
		synctest.Wait()
		es := w.script.stamped(orders)
		if len(es) != 1 || !es[0].at.Equal(began) {
			t.Errorf("the core saw %+v, want the report at once", es)
		}
	})
}

func TestATurnThatNeverEndsTakesOneHandAndNoMore(t *testing.T) {
	release := make(chan struct{})
	w := build(t, func(c *Config, w *world) {
		var ps []failover.Policy
		for i := range 50 {
			ps = append(ps, policy(t, failover.InstanceName(fmt.Sprint("i", i))))
		}
		c.Policies = ps
		w.script.on = func(i failover.InstanceName, e failover.Event) []failover.Action {
			if _, ok := e.(failover.Loaded); ok && i == "i0" {
				<-release
			}
			return nil
		}
	})
	w.runOutside()
	defer w.end()
	defer close(release)
	deadline := time.Now().Add(20 * time.Second)
	for i := 1; i < 50; {
		if len(w.script.stamped(failover.InstanceName(fmt.Sprint("i", i)))) > 5 {
			i++
			continue
		}
		if time.Now().After(deadline) {
			t.Fatalf("i%d has no turns", i)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// runOutside starts the world outside a bubble.
func (w *world) runOutside() {
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	go func() { w.ended <- w.Run(ctx) }()
}

func TestNoInstanceHasTwoTurnsAtOnceAndNoneIsForgotten(t *testing.T) {
	var inside [8]atomic.Int32
	var turns [8]atomic.Int32
	w := build(t, func(c *Config, w *world) {
		var ps []failover.Policy
		for i := range len(inside) {
			ps = append(ps, policy(t, failover.InstanceName(fmt.Sprint(i))))
		}
		c.Policies = ps
		step := c.Core.Step
		c.Core.Step = func(s failover.State, p *failover.Policy, e failover.Event, now time.Time) (failover.State, []failover.Action) {
			k := p.Instance[0] - '0'
			if inside[k].Add(1) > 1 {
				t.Errorf("two turns of %s at once", p.Instance)
			}
			defer inside[k].Add(-1)
			if _, ok := e.(failover.Report); ok {
				turns[k].Add(1)
			}
			return step(s, p, e, now)
		}
	})
	w.runOutside()
	defer w.end()
	var g sync.WaitGroup
	for k := range len(inside) {
		i := failover.InstanceName(fmt.Sprint(k))
		g.Go(func() {
			for n := range int32(2000) {
				_ = w.Deliver(i, failover.Report{Vantage: "van-1"})
				if n%20 == 0 { // the next reports come while it has its turn
					for deadline := time.Now().Add(20 * time.Second); turns[k].Load() <= n/20 && time.Now().Before(deadline); {
						time.Sleep(10 * time.Microsecond)
					}
				}
			}
		})
		g.Go(func() {
			for n := range 100 {
				p := policy(t, i)
				p.Cooldown = time.Duration(n)
				var ps []failover.Policy
				for _, x := range w.Instances() {
					s, _ := w.Snapshot(x)
					if x != i {
						p := *s.Policy
						ps = append(ps, p)
					}
				}
				_ = w.Reload(Setup{Policies: append(ps, p)})
			}
		})
	}
	g.Wait()
	for k := range turns {
		if n := turns[k].Load(); n < 100 {
			t.Errorf("instance %d saw %d reports", k, n)
		}
	}
}

// The agenda wakes in the order of the times that were last asked for.
func TestTheAgendaKeepsTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := time.Unix(0, 0)
		now := start
		c := newCrew(func() time.Time { return now })
		owners := make([]*owner, rapid.IntRange(1, 20).Draw(t, "owners"))
		for i := range owners {
			owners[i] = &owner{}
		}
		due := make(map[*owner]time.Time)
		for range rapid.IntRange(1, 100).Draw(t, "changes") {
			o := rapid.SampledFrom(owners).Draw(t, "whose")
			if rapid.IntRange(0, 5).Draw(t, "leaves") == 0 {
				c.dismiss(o)
				delete(due, o)
				continue
			}
			at := start.Add(time.Duration(rapid.IntRange(1, 1000).Draw(t, "at")) * time.Second)
			if was, ok := due[o]; !ok || at.Before(was) {
				due[o] = at
			}
			c.wakeBy(o, at)
		}
		for range 1001 {
			now = now.Add(time.Second)
			c.wakeDue()
			for !c.ready.empty() {
				o := c.ready.pop()
				if at, ok := due[o]; !ok || !at.Equal(now) {
					t.Fatalf("woken at %s, want %s", now, at)
				}
				delete(due, o)
			}
		}
		if len(due) > 0 {
			t.Fatalf("%d were not woken", len(due))
		}
	})
}

func TestHowLongInstancesWaitForATurnIsCounted(t *testing.T) {
	const slow = time.Second
	synctest.Test(t, func(t *testing.T) {
		var block atomic.Bool
		hands := max(leastHands, runtime.GOMAXPROCS(0))
		w := build(t, func(c *Config, w *world) {
			c.Policies = fleet(t, 3*hands, 0)
			step := c.Core.Step
			c.Core.Step = func(s failover.State, p *failover.Policy, e failover.Event, now time.Time) (failover.State, []failover.Action) {
				if _, ok := e.(failover.Report); ok && block.Load() {
					time.Sleep(slow)
				}
				return step(s, p, e, now)
			}
		})
		w.run()
		defer w.end()
		before := w.Stats()
		block.Store(true)
		for _, i := range w.Instances() {
			if err := w.Deliver(i, failover.Report{Vantage: "van-1"}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := w.Stats().Ready; n != 2*hands {
			t.Errorf("%d instances wait, want %d", n, 2*hands)
		}
		time.Sleep(4 * slow)
		synctest.Wait()
		after := w.Stats()
		// A third waits for nothing, one for a slow turn, one for two.
		if got, want := after.TurnWait-before.TurnWait, time.Duration(3*hands)*slow; got < want || got > 3*want {
			t.Errorf("they waited %s in sum, want %s and little more", got, want)
		}
		if after.Turns-before.Turns < uint64(3*hands) || after.Ready != 0 {
			t.Errorf("%d turns, %d wait", after.Turns-before.Turns, after.Ready)
		}
	})
}
