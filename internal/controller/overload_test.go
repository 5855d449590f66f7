package controller

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

// Hundreds of instances, all up, and hands that stand still for longer than a
// vote lives: whatever waited or was lost meanwhile is unknown and never down.
func TestOverloadIsNeverTakenForAnOutage(t *testing.T) {
	const n, round = 400, 5 * time.Second
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("reports lost=%v", lost), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var block atomic.Int64 // the hands stand still until then, in Unix nanoseconds
				c := newCrowdWith(t, n, 3, round, func(cfg *Config) {
					cfg.Core.Step = func(s failover.State, p *failover.Policy, e failover.Event, now time.Time) (failover.State, []failover.Action) {
						time.Sleep(time.Until(time.Unix(0, block.Load())))
						return failover.Step(s, p, e, now)
					}
				})
				defer c.end()
				since := time.Now().Add(-time.Hour)
				say := func() {
					for _, p := range c.policies {
						for _, v := range p.Vantages {
							if err := c.Deliver(p.Instance, up(v.Name, since, time.Now())); err != nil {
								t.Fatal(err)
							}
						}
					}
				}
				for range 4 {
					say()
					time.Sleep(round)
				}
				check := func(when string, want failover.Vote) {
					t.Helper()
					synctest.Wait()
					for _, i := range c.Instances() {
						s, _ := c.Snapshot(i)
						v := failover.Look(&s.State, s.Policy, time.Now())
						if v.Phase != failover.PhaseIdle || v.Op != nil || v.LastOp != nil {
							t.Fatalf("%s: %s is %s with the operation %+v", when, i, v.Phase, v.Op)
						}
						for _, x := range v.Clusters {
							if x.Verdict == failover.Down || want == failover.Up && x.Verdict != want {
								t.Fatalf("%s: %s of %s is %s: %s", when, x.Name, i, x.Verdict, x.Why)
							}
						}
					}
				}
				say()
				time.Sleep(round - time.Millisecond)
				check("before", failover.Up)
				for _, stall := range []time.Duration{2 * time.Second, 30 * time.Second} {
					block.Store(time.Now().Add(stall).UnixNano())
					for end := time.Now().Add(stall + time.Millisecond); time.Now().Before(end); {
						if !lost {
							say()
						}
						time.Sleep(min(round, time.Until(end)))
					}
					check(fmt.Sprint("right after a stall of ", stall), failover.Unknown)
					for range 3 {
						say()
						time.Sleep(round)
						check(fmt.Sprint("after a stall of ", stall), failover.Unknown)
					}
					say()
					time.Sleep(round - time.Second)
					check(fmt.Sprint("long after a stall of ", stall), failover.Up)
				}
				if c.Stats().Commits > n {
					t.Errorf("%d commits", c.Stats().Commits)
				}
			})
		})
	}
}

// While the hands stand still the active cluster of every instance is down for
// everybody, and comes back. When they go on, all of that is old: nothing moves.
// An outage that lasts is acted upon as soon as there is fresh word of it.
func TestWhatWasHeardDuringAStallMovesNothing(t *testing.T) {
	const n, round = 40, 5 * time.Second
	for _, stall := range []time.Duration{20 * time.Second, time.Minute} {
		t.Run(stall.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var block atomic.Int64
				c := newCrowdWith(t, n, 3, round, func(cfg *Config) {
					cfg.Flood = Flood{Share: 1}
					cfg.Core.Step = func(s failover.State, p *failover.Policy, e failover.Event, now time.Time) (failover.State, []failover.Action) {
						time.Sleep(time.Until(time.Unix(0, block.Load())))
						return failover.Step(s, p, e, now)
					}
				})
				defer c.end()
				since := time.Now().Add(-time.Hour)
				say := func(active failover.Vote, from time.Time) {
					for _, p := range c.policies {
						for _, v := range p.Vantages {
							if err := c.Deliver(p.Instance, sees(v.Name, active, from, since)); err != nil {
								t.Fatal(err)
							}
						}
					}
				}
				moved := func() (ops int) {
					synctest.Wait()
					for _, i := range c.Instances() {
						s, _ := c.Snapshot(i)
						if v := failover.Look(&s.State, s.Policy, time.Now()); v.Op != nil || v.LastOp != nil || v.Active != "a" {
							ops++
						}
					}
					return ops
				}
				for range 4 {
					say(failover.Up, since)
					time.Sleep(round)
				}
				began := time.Now()
				news := c.Subscribe()
				defer news.Close()
				block.Store(began.Add(stall).UnixNano())
				for time.Since(began) < stall-round {
					say(failover.Down, began.Add(-10*time.Minute)) // far beyond any ride-out
					time.Sleep(round)
				}
				time.Sleep(time.Until(began.Add(stall)))
				for range 3 {
					if k := moved(); k > 0 {
						t.Fatalf("%d instances moved on what was heard during a stall of %s", k, stall)
					}
					say(failover.Up, since)
					time.Sleep(round)
				}
				ts, _ := news.Take()
				if !slices.ContainsFunc(ts, func(t Transition) bool { return t.Kind == KindTilt }) {
					t.Error("nobody was told of the stall")
				}
				for range 3 {
					say(failover.Up, since)
					time.Sleep(round)
				}
				if k := moved(); k > 0 {
					t.Fatalf("%d instances moved although all is well again", k)
				}
				down := time.Now()
				for range 12 {
					say(failover.Down, down)
					time.Sleep(round)
				}
				if k := moved(); k != n {
					t.Errorf("%d of %d instances moved in an outage that lasts", k, n)
				}
			})
		})
	}
}

// sees is a report of a vantage that sees the standby well, and the active one
// as it says, since from.
func sees(v failover.VantageName, active failover.Vote, from, since time.Time) failover.Report {
	r := up(v, since, time.Now())
	if active == failover.Down {
		s := r.Clusters["a"]
		s.Vote, s.Reason, s.Hits, s.Misses, s.UpSince, s.FirstMiss, s.LastMiss = failover.Down, "connection refused", 0, 10, time.Time{}, from, s.LastProbe
		r.Clusters["a"] = s
	}
	return r
}
