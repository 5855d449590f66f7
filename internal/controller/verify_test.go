package controller

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

// Hundreds of names are to be verified at once, one of them because it moves.
func TestVerificationsAreBoundedAndMovesGoFirst(t *testing.T) {
	const n = 300
	moving := failover.InstanceName("i299")
	synctest.Test(t, func(t *testing.T) {
		inside, most, asked := make(chan struct{}, n), 0, make(chan failover.RecordName, n)
		w := build(t, func(c *Config, w *world) {
			c.Policies = fleet(t, n, 0)
			w.ledger.records[moving] = failover.Record{
				Version: failover.RecordVersion, Instance: moving, Rev: 3, Term: 7, Epoch: 1, Active: "a",
				Op: &failover.Op{ID: "op", Kind: failover.Failover, From: "a", To: "b", Step: failover.StepConfirm},
			}
			step := c.Core.Step
			c.Core.Step = func(s failover.State, p *failover.Policy, e failover.Event, now time.Time) (failover.State, []failover.Action) {
				if l, ok := e.(failover.Loaded); ok && l.Found {
					s, _ = failover.Step(s, p, e, now) // so that it knows of its operation
				}
				return step(s, p, e, now)
			}
			w.script.on = func(i failover.InstanceName, e failover.Event) []failover.Action {
				if _, ok := e.(failover.Report); ok {
					return []failover.Action{failover.Verify{Names: []failover.NameRecord{{Name: failover.RecordName(i) + ".example."}}}}
				}
				return nil
			}
			w.fakes.verify = func(ctx context.Context, ns []failover.NameRecord) map[failover.RecordName]failover.NameAgreement {
				inside <- struct{}{}
				asked <- ns[0].Name
				time.Sleep(100 * time.Millisecond)
				<-inside
				return map[failover.RecordName]failover.NameAgreement{ns[0].Name: {Agree: true, Asked: 1, Agreeing: 1}}
			}
		})
		w.run()
		defer w.end()
		for _, i := range w.Instances() {
			if err := w.Deliver(i, failover.Report{Vantage: "van-1"}); err != nil {
				t.Fatal(err)
			}
		}
		first := true
		for range 100 { // ten seconds, twice what an errand may take
			synctest.Wait()
			most = max(most, len(inside))
			if first {
				first = false
				found := false
				for range len(asked) {
					found = <-asked == failover.RecordName(moving)+".example." || found
				}
				if !found {
					t.Error("the name that moves waits behind others")
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		if most > mostLooks+1 {
			t.Errorf("%d verifications at once, want at most %d and the one that moves", most, mostLooks)
		}
		agreed, unasked := 0, 0
		for _, i := range w.Instances() {
			for _, v := range only[failover.Verified](w.script, i) {
				for _, x := range v.Names {
					if x.Agree {
						agreed++
					} else {
						unasked++
					}
				}
			}
		}
		if agreed+unasked != n || agreed < 100 || unasked == 0 {
			t.Errorf("%d agreed and %d were not asked, of %d: each must be answered once", agreed, unasked, n)
		}
	})
}
