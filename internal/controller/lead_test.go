package controller

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

func lastLead(t *testing.T, w *world, i failover.InstanceName) failover.Lead {
	t.Helper()
	leads := only[failover.Lead](w.script, i)
	if len(leads) == 0 {
		t.Fatalf("%s never heard of the lead", i)
	}
	return leads[len(leads)-1]
}

func TestAPoisonedLedgerEndsTheLeadOfEveryInstanceForGood(t *testing.T) {
	inBubble(t, func(_ *Config, w *world) {
		w.ledger.before = func(context.Context, failover.Record) error { return ErrPoisoned }
	}, func(t *testing.T, w *world) {
		w.script.forget()
		w.poke(commit(0, "x"))
		failed := only[failover.CommitFailed](w.script, orders)
		if len(failed) != 1 || failed[0].Conflict {
			t.Errorf("the commit was answered with %+v", failed)
		}
		for _, i := range []failover.InstanceName{orders, billing} {
			if l := lastLead(t, w, i); l.Leading || !strings.Contains(l.Why, ErrPoisoned.Error()) {
				t.Errorf("%s: %+v, want not leading with the reason", i, l)
			}
		}
		w.SetLead(lead(8))
		synctest.Wait()
		for _, i := range []failover.InstanceName{orders, billing} {
			if lastLead(t, w, i).Leading {
				t.Errorf("%s leads on a poisoned ledger", i)
			}
		}
		w.poke(everyAction()[errandWrite])
		if got := outcomes(w, errandWrite); len(got) != 1 || !strings.HasPrefix(got[0], "refused") {
			t.Errorf("a write without the lead was answered with %q", got)
		}
	})
}

func TestLosingTheLeadEndsWhatIsUnderWayOutside(t *testing.T) {
	for _, errand := range []string{errandWrite, errandGate, errandCut, errandHooks} {
		t.Run(errand, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, w *world) {
				misbehave(w, func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) })
				w.poke(everyAction()[errand])
				start := time.Now()
				w.SetLead(failover.Lead{Leading: false, Term: 7, Why: "lease lost"})
				synctest.Wait()
				if d := time.Since(start); d > 0 {
					t.Errorf("it took %s", d)
				}
				got := outcomes(w, errand)
				if len(got) != 1 || !strings.Contains(got[0], ErrNotLeading.Error()) {
					t.Errorf("answers %q, want one that says %q", got, ErrNotLeading)
				}
				if l := lastLead(t, w, orders); l.Leading || l.Why != "lease lost" {
					t.Errorf("the core heard %+v", l)
				}
			})
		})
	}
}

func TestObservationsGoOnWithoutTheLead(t *testing.T) {
	inBubble(t, func(c *Config, _ *world) { c.Lead = failover.Lead{Why: "another process leads"} }, func(t *testing.T, w *world) {
		w.poke(everyAction()[errandRead], everyAction()[errandVerify])
		for _, errand := range []string{errandRead, errandVerify} {
			if got := outcomes(w, errand); len(got) != 1 || got[0] != "ok" {
				t.Errorf("%s: answers %q", errand, got)
			}
		}
	})
}

func TestANewTermEndsWhatWasBegunUnderTheOldOne(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		misbehave(w, func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) })
		w.poke(everyAction()[errandWrite])
		w.SetLead(failover.Lead{Leading: true, Term: 7, Until: time.Now().Add(time.Hour)})
		synctest.Wait()
		if got := outcomes(w, errandWrite); len(got) != 0 {
			t.Fatalf("a renewal of the lease ended a write: %q", got)
		}
		w.SetLead(lead(8))
		synctest.Wait()
		if got := outcomes(w, errandWrite); len(got) != 1 {
			t.Errorf("answers %q, want the write ended by the new term", got)
		}
	})
}

func TestNoWriteOutlivesItsLease(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		misbehave(w, func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) })
		w.SetLead(failover.Lead{Leading: true, Term: 7, Until: time.Now().Add(300 * time.Millisecond)})
		synctest.Wait()
		start := time.Now()
		w.poke(everyAction()[errandWrite])
		time.Sleep(310 * time.Millisecond)
		synctest.Wait()
		if got := outcomes(w, errandWrite); len(got) != 1 {
			t.Errorf("%s after the start of the write: answers %q, want one", time.Since(start), got)
		}
	})
}

func TestAProcessStoppedBeforeAWriteDoesNotBeginItUnderADeadLease(t *testing.T) {
	var mu sync.Mutex
	shift := time.Duration(0) // the clock runs on while the process is stopped
	wrote := false
	inBubble(t, func(c *Config, w *world) {
		c.Now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(shift)
		}
		c.Fail = func(point string) error {
			if point == errandWrite+"/before" {
				mu.Lock()
				defer mu.Unlock()
				shift = 10 * time.Second
			}
			return nil
		}
		c.Lead.Until = time.Now().Add(5 * time.Second)
		w.fakes.write = func(context.Context, failover.WriteName) (failover.WriteOutcome, error) {
			wrote = true
			return failover.WriteDone, nil
		}
	}, func(t *testing.T, w *world) {
		w.poke(everyAction()[errandWrite])
		if wrote {
			t.Error("the write was begun after the lease had ended")
		}
		got := only[failover.NameWritten](w.script, orders)
		if len(got) != 1 || got[0].Outcome != failover.WriteRefused {
			t.Errorf("answers %+v, want one refusal", got)
		}
	})
}

func TestYieldEndsTheLeadOfThatInstanceUntilTheTermRises(t *testing.T) {
	var begun atomic.Int32
	inBubble(t, func(c *Config, _ *world) {
		c.Fail = func(point string) error {
			if point == errandWrite+"/before" {
				begun.Add(1)
			}
			return nil
		}
	}, func(t *testing.T, w *world) {
		w.poke(failover.Yield{Seen: failover.Token{Term: 9, Epoch: 4}}, everyAction()[errandWrite])
		if begun.Load() != 0 {
			t.Error("a write was begun after the yield")
		}
		if l := lastLead(t, w, orders); l.Leading || !strings.Contains(l.Why, "9.4") {
			t.Errorf("after the yield: %+v", l)
		}
		if got := outcomes(w, errandWrite); len(got) != 1 || !strings.HasPrefix(got[0], "refused") {
			t.Errorf("a write in the same breath was answered with %q", got)
		}
		if !lastLead(t, w, billing).Leading {
			t.Error("the other instance lost the lead as well")
		}
		w.SetLead(lead(7))
		synctest.Wait()
		if l := lastLead(t, w, orders); l.Leading || !strings.Contains(l.Why, "9.4") {
			t.Errorf("a renewal of the same term undid the yield: %+v", l)
		}
		w.SetLead(lead(10))
		synctest.Wait()
		if l := lastLead(t, w, orders); !l.Leading || l.Term != 10 {
			t.Errorf("under a new term: %+v, want leading", l)
		}
		w.poke(everyAction()[errandWrite])
		if got := outcomes(w, errandWrite); len(got) != 2 || got[1] != "ok" {
			t.Errorf("a write under the new term was answered with %q", got)
		}
	})
}

func TestAYieldSurvivesAFaultOfTheCore(t *testing.T) {
	inBubble(t, func(_ *Config, w *world) {
		w.script.on = func(i failover.InstanceName, e failover.Event) []failover.Action {
			if r, ok := e.(failover.Report); ok && r.Sick == "fault" {
				panic("fault on purpose")
			}
			return nil
		}
	}, func(t *testing.T, w *world) {
		w.poke(failover.Yield{Seen: failover.Token{Term: 9}})
		if err := w.Deliver(orders, failover.Report{Vantage: "van-1", Sick: "fault"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := len(only[failover.Loaded](w.script, orders)); n != 2 {
			t.Fatalf("the instance began %d times, want 2", n)
		}
		w.SetLead(lead(7))
		synctest.Wait()
		if lastLead(t, w, orders).Leading {
			t.Error("it leads again")
		}
	})
}

// TestHooksOutlastALeaseThatIsRenewed, which no write may do, and end with the
// lead.
func TestHooksOutlastALeaseThatIsRenewed(t *testing.T) {
	inBubble(t, func(c *Config, _ *world) {
		c.Lead = failover.Lead{Leading: true, Term: 7, Until: time.Now().Add(5 * time.Second)}
	}, func(t *testing.T, w *world) {
		w.fakes.hooks = func(ctx context.Context) ([]failover.HookResult, error) {
			select {
			case <-time.After(8 * time.Second):
				return []failover.HookResult{{Name: "gate", Verdict: failover.HookPassed}}, nil
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		w.poke(everyAction()[errandHooks])
		time.Sleep(4 * time.Second)
		w.SetLead(failover.Lead{Leading: true, Term: 7, Until: time.Now().Add(5 * time.Second)})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := outcomes(w, errandHooks); len(got) != 1 || got[0] != "ok" {
			t.Errorf("answers %q, want one that is ok", got)
		}
	})
}
