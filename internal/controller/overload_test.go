package controller

import (
	"fmt"
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
