package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

// silent never answers: a probe ends with its deadline.
func silent(ctx context.Context, _ Target, _ time.Duration) error {
	<-ctx.Done()
	return ctx.Err()
}

// A target that stops answering costs a vote two timeouts, not one per miss,
// and each probe still has the whole of its own.
func TestRecheckOfASilentTargetOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		w := world{answer: func(ctx context.Context, tg Target, at time.Duration) error {
			if at < first+5*time.Second {
				return nil
			}
			return silent(ctx, tg, at)
		}}
		w.run(t, Config{Targets: ts}, first+7*time.Second)
		miss := first + 5*time.Second
		check(t, "probes from the first miss on", w.times("a")[5:8], []time.Duration{miss, miss + 700*time.Millisecond, miss + 800*time.Millisecond})
		check(t, "votes", w.votes("a")[1:], []string{"up at " + (first + time.Second).String(), "down at " + (miss + 1500*time.Millisecond).String()})
		for _, s := range w.probes {
			if s.left != 700*time.Millisecond {
				t.Errorf("the probe at %s had %s", s.at, s.left)
			}
		}
		down := w.reports[len(w.reports)-1].Clusters[0]
		if got := w.reports[len(w.reports)-1].at - *down.FirstMiss; got != miss {
			t.Errorf("the first miss was sent at %s, reported is %s", miss, got)
		}
	})
}

// What a burst may cost the target: no more at a time than the misses that
// the vote wants, and no more in all than one after the other would.
func TestABurstHasAtMostFallInFlight(t *testing.T) {
	for fall := 1; fall <= 6; fall++ {
		synctest.Test(t, func(t *testing.T) {
			ts, first := single()
			ts[0].Count.Fall, ts[0].Burst = fall, time.Millisecond
			w := world{answer: silent}
			w.run(t, Config{Targets: ts}, first+20*time.Second)
			if w.most > fall {
				t.Errorf("fall %d: %d in flight at a time", fall, w.most)
			}
			var turned time.Duration
			for _, r := range w.reports {
				if r.Clusters[0].Vote == failover.Down {
					turned = r.at
					break
				}
			}
			before := slices.DeleteFunc(w.times("a"), func(at time.Duration) bool { return at >= turned })
			if len(before) != fall {
				t.Errorf("fall %d: the vote took %d probes", fall, len(before))
			}
		})
	}
}

// After the confirming probes a target that stays silent has one at a time.
func TestNothingOverlapsOutsideABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		w := world{answer: silent}
		w.run(t, Config{Targets: ts}, first+30*time.Second)
		over := first + 700*time.Millisecond + ts[0].RideOut + ts[0].Round + time.Second
		last := time.Duration(0)
		for _, at := range w.times("a") {
			if last > over && at-last < ts[0].Timeout {
				t.Fatalf("probes at %s and %s", last, at)
			}
			last = at
		}
		if last < 25*time.Second {
			t.Errorf("the last probe was at %s", last)
		}
	})
}

// However slow, an answer within the timeout is no miss, in a burst or out of
// it.
func TestASlowTargetNeverMisses(t *testing.T) {
	for _, took := range []time.Duration{time.Millisecond, 350 * time.Millisecond, 699 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			var n atomic.Int32
			w := world{answer: func(_ context.Context, tg Target, _ time.Duration) error {
				if tg.Cluster != "a" {
					return nil
				}
				if n.Add(1)%7 == 5 {
					return errDead // a blip, so that bursts happen
				}
				time.Sleep(took)
				return nil
			}}
			w.run(t, Config{Targets: pair()}, time.Minute)
			for _, r := range w.reports {
				if a := r.Clusters[0]; a.Vote == failover.Down || a.Misses > 1 {
					t.Fatalf("at %s %d misses, %s: %s", r.at, a.Misses, a.Vote, a.Reason)
				}
			}
		})
	}
}

// The first re-check hangs, the second is answered at once. In the order of
// sending that is miss, miss, success, and never a third miss in a row.
func TestProbesCountInTheOrderOfSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		var n atomic.Int32
		w := world{answer: func(ctx context.Context, tg Target, at time.Duration) error {
			switch n.Add(1) {
			case 4:
				return errDead
			case 5:
				return silent(ctx, tg, at)
			case 7:
				return errDead
			}
			return nil
		}}
		p := w.run(t, Config{Targets: ts}, first+4500*time.Millisecond)
		miss := first + 3*time.Second
		// The answer of the sixth waits for the fifth; it ends the burst all the same.
		check(t, "probes", w.times("a")[3:], []time.Duration{miss, miss + 100*time.Millisecond, miss + 200*time.Millisecond, miss + time.Second, miss + 1100*time.Millisecond})
		var counted []Outcome
		for _, o := range p.History("orders", "a") {
			counted = append(counted, o.Outcome)
		}
		check(t, "newest first", counted, []Outcome{Success, Miss, Success, Miss, Miss, Success, Success, Success})
		for _, r := range w.reports {
			c := r.Clusters[0]
			if c.Vote == failover.Down || c.Misses > 2 {
				t.Errorf("at %s %s with %d misses", r.at, c.Vote, c.Misses)
			}
			if c.LastMiss != nil && (*c.LastMiss < *c.LastProbe || *c.FirstMiss < *c.LastMiss) {
				t.Errorf("at %s the ages of first miss, last miss, last probe are %s, %s, %s", r.at, *c.FirstMiss, *c.LastMiss, *c.LastProbe)
			}
		}
	})
}

// A miss that confirms was sent when the ride-out was over, though one that
// was sent before it ends later than that.
func TestASilentTargetIsConfirmedOneTimeoutAfterTheRideOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		ts[0].RideOut = 3200 * time.Millisecond // the turn at 3 s is still in flight then
		w := world{answer: silent}
		w.run(t, Config{Targets: ts}, first+6*time.Second)
		end := first + 3200*time.Millisecond
		var confirmed time.Duration
		for _, r := range w.reports {
			c := r.Clusters[0]
			if c.Vote != failover.Down || c.LastMiss == nil {
				continue
			}
			if r.at-*c.FirstMiss != first {
				t.Fatalf("at %s the first miss moved to %s", r.at, r.at-*c.FirstMiss)
			}
			if r.at-*c.LastMiss >= end {
				confirmed = r.at
				break
			}
		}
		check(t, "confirmed", confirmed, end+700*time.Millisecond)
	})
}

// Bursts of many targets at once must not delay those that are well.
func TestBurstsTakeNoWorkerFromOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world{answer: func(ctx context.Context, tg Target, at time.Duration) error {
			if tg.Cluster == "a" {
				return silent(ctx, tg, at)
			}
			return nil
		}}
		p := w.run(t, Config{Targets: pair()}, 20*time.Second)
		check(t, "late", p.Stats().Late, 0)
		last := time.Duration(0)
		for _, at := range w.times("b") {
			if last > 0 && at-last != time.Second {
				t.Errorf("b was probed %s after the last time", at-last)
			}
			last = at
		}
	})
}

// Nor does a burst go on while the answers to its own probes are waited for.
func TestAHungRecheckDoesNotMultiplyTheBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		var n atomic.Int32
		w := world{answer: func(ctx context.Context, tg Target, at time.Duration) error {
			switch n.Add(1) {
			case 1, 2:
				return nil
			case 4:
				return silent(ctx, tg, at)
			}
			return errDead
		}}
		w.run(t, Config{Targets: ts}, first+2750*time.Millisecond)
		miss := first + 2*time.Second
		check(t, "probes", w.times("a")[2:], []time.Duration{miss, miss + 100*time.Millisecond, miss + 200*time.Millisecond})
	})
}

// What all bursts may add is bounded, and given back at their end.
func TestOverlapsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ts []Target
		for i := range 150 {
			tg := pair()[0]
			tg.Cluster = failover.ClusterName(fmt.Sprintf("c%d", i))
			ts = append(ts, tg)
		}
		outage := func(at time.Duration) bool { return at%(20*time.Second) > 10*time.Second }
		most := map[time.Duration]int{}
		w := world{}
		w.answer = func(ctx context.Context, tg Target, at time.Duration) error {
			if !outage(at) {
				return nil
			}
			w.mu.Lock()
			overlaps := 0
			for _, n := range w.flying {
				overlaps += max(n-1, 0)
			}
			most[at/(20*time.Second)] = max(most[at/(20*time.Second)], overlaps)
			w.mu.Unlock()
			return silent(ctx, tg, at)
		}
		w.run(t, Config{Targets: ts}, time.Minute)
		check(t, "most overlaps, outage by outage", most, map[time.Duration]int{0: maxOverlap, 1: maxOverlap, 2: maxOverlap})
	})
}

// A miss that came in while our own network was in doubt stays unproven,
// though it is counted when all is well again.
func TestAMissBehindOurOwnCutStaysUnproven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		for i := 0; first < 150*time.Millisecond || first > 190*time.Millisecond; i++ { // beside the turns of the control
			ts[0].Instance = failover.InstanceName(fmt.Sprint("orders", i))
			first = phase("van-1", ts[0])
		}
		miss := first + 2*time.Second
		var n atomic.Int32
		w := world{answer: func(ctx context.Context, tg Target, at time.Duration) error {
			if tg.Instance == controlInstance {
				if at > 2900*time.Millisecond && at < 3150*time.Millisecond {
					return errDead
				}
				return nil
			}
			switch n.Add(1) {
			case 1, 2:
				return nil
			case 5:
				time.Sleep(150 * time.Millisecond) // until the control is known to be lost
				return errDead
			}
			return silent(ctx, tg, at)
		}}
		p := w.run(t, Config{Targets: ts, Controls: []Control{{"192.0.2.8:22"}}}, miss+1450*time.Millisecond)
		h := p.History(ts[0].Instance, "a")
		check(t, "the newest", h[0].Outcome, OwnFault)
		check(t, "the one before", h[1].Outcome, Miss)
		if want := miss + 800*time.Millisecond; h[0].Sent.Sub(w.start) != want || !strings.HasPrefix(h[0].Reason, "unproven, since none of 1 controls is reachable") {
			t.Errorf("the newest was sent at %s: %s", h[0].Sent.Sub(w.start), h[0].Reason)
		}
	})
}

// An own fault within a burst says nothing of the target and stops the hurry,
// known early or counted.
func TestAnOwnFaultEndsABurst(t *testing.T) {
	own := Own(errors.New("too many open files"))
	for name, answers := range map[string][]func(context.Context, Target, time.Duration) error{
		"out of order": {silent, func(context.Context, Target, time.Duration) error { return own }},
		"in order": {func(context.Context, Target, time.Duration) error {
			time.Sleep(150 * time.Millisecond)
			return own
		}, silent},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ts, first := single()
				ts[0].Count.Fall = 5
				var n atomic.Int32
				w := world{answer: func(ctx context.Context, tg Target, at time.Duration) error {
					switch n := n.Add(1); n {
					case 1, 2:
						return nil
					case 3:
						return errDead
					case 4, 5:
						return answers[n-4](ctx, tg, at)
					}
					return nil
				}}
				w.run(t, Config{Targets: ts}, first+2850*time.Millisecond)
				miss := first + 2*time.Second
				check(t, "probes", w.times("a")[2:], []time.Duration{miss, miss + 100*time.Millisecond, miss + 200*time.Millisecond})
			})
		})
	}
}

// A blip draws re-checks. They count towards the vote, but the window is of
// the probes on the grid: else a few blips pass for a target that fails often.
func TestRechecksDoNotEnterTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		ts[0].Count = failover.CountPolicy{Fall: 5, Rise: 2, Window: 20, Ratio: 0.4}
		w := world{answer: func(_ context.Context, _ Target, at time.Duration) error {
			if late := at - first; late%(5*time.Second) < 350*time.Millisecond { // four misses each
				return errDead
			}
			return nil
		}}
		w.run(t, Config{Targets: ts}, first+60*time.Second-time.Millisecond)
		missed := 0
		for _, at := range w.times("a") {
			if (at-first)%(5*time.Second) < 350*time.Millisecond {
				missed++
			}
		}
		if missed < 40 {
			t.Errorf("only %d probes met a blip", missed)
		}
		last := w.reports[len(w.reports)-1].Clusters[0]
		if last.Vote != failover.Up || last.Failed != 4 {
			t.Errorf("%s with %d of the last %d failed", last.Vote, last.Failed, last.Window)
		}
	})
}
