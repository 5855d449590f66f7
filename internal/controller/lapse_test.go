package controller

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

// pager remembers pages.
type pager struct {
	mu    sync.Mutex
	pages []failover.Page
}

func (p *pager) page(_ context.Context, i failover.InstanceName, pg failover.Page) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pg.Kind = string(i) + " " + pg.Kind
	p.pages = append(p.pages, pg)
}

func (p *pager) texts(kind string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ts []string
	for _, pg := range p.pages {
		if pg.Kind == kind {
			ts = append(ts, pg.Text)
		}
	}
	return ts
}

func slowly(d time.Duration) func(context.Context, failover.Record) error {
	return func(context.Context, failover.Record) error { time.Sleep(d); return nil }
}

func TestASlowCommitIsWaitedForAndPeopleAreTold(t *testing.T) {
	var told pager
	inBubble(t, func(c *Config, w *world) {
		c.Page = told.page
		w.ledger.before = slowly(10 * time.Minute)
	}, func(t *testing.T, w *world) {
		w.script.forget()
		began := time.Now()
		w.poke(commit(0, "slow"), everyAction()[errandWrite])
		time.Sleep(4900 * time.Millisecond)
		synctest.Wait()
		if got := told.texts("orders ledger"); len(got) != 0 {
			t.Errorf("paged before 5 s: %q", got)
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if got := told.texts("orders ledger"); len(got) != 1 || !strings.Contains(got[0], "the ledger has been writing for 5s") {
			t.Errorf("paged after 5 s: %q", got)
		}
		if s, _ := w.Snapshot(orders); !s.Writing.Equal(began) {
			t.Errorf("the snapshot says that the ledger writes since %s, not %s", s.Writing, began)
		}
		time.Sleep(9 * time.Minute)
		synctest.Wait()
		if got := outcomes(w, errandCommit); len(got) != 0 {
			t.Errorf("answered %q while the ledger works on it", got)
		}
		if got := outcomes(w, errandWrite); len(got) != 0 {
			t.Errorf("something was begun outside meanwhile: %q", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := outcomes(w, errandCommit); len(got) != 1 || got[0] != "ok" {
			t.Errorf("answers %q, want the outcome", got)
		}
		if got := outcomes(w, errandWrite); len(got) != 1 || got[0] != "ok" {
			t.Errorf("what waited for it was answered %q", got)
		}
		if got := only[failover.Loaded](w.script, orders); len(got) != 0 {
			t.Errorf("the record was read again: %+v", got)
		}
		if s, _ := w.Snapshot(orders); !s.Writing.IsZero() {
			t.Error("the snapshot says that the ledger still writes")
		}
		if got := told.texts("orders ledger"); len(got) != 1 {
			t.Errorf("paged %q, want once", got)
		}
	})
}

func TestACommitThatLandsLateIsDecidedOn(t *testing.T) {
	play(t, true, func(s *stage, _ failover.Policy) {
		s.ledger.mu.Lock()
		s.ledger.before = func(_ context.Context, r failover.Record) error {
			if r.Op != nil { // the disk stalls once
				s.ledger.mu.Lock()
				s.ledger.before = nil
				s.ledger.mu.Unlock()
				time.Sleep(8 * time.Second)
			}
			return nil
		}
		s.ledger.mu.Unlock()
		r := s.do(failover.Command{Do: failover.DoFailover, To: "b", By: "test", Reason: "test"})
		if r.Code != failover.ReplyStarted {
			t.Errorf("the person got %+v", r)
		}
		s.until("settled", s.settled)
		snap, _ := s.Snapshot(orders)
		if v := failover.Look(&snap.State, snap.Policy, time.Now()); v.Active != "b" || s.record().Active != "b" {
			t.Errorf("active: %s for the core, %s in the ledger", v.Active, s.record().Active)
		}
	})
}

// A process that is told to stop does not wait for a ledger that has not begun.
func TestACommitThatIsNotBegunIsGivenUpWhenTheProcessEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := build(t, nil)
		w.ledger.before = func(ctx context.Context, _ failover.Record) error { <-ctx.Done(); return ctx.Err() }
		w.run()
		w.poke(commit(0, "in line"))
		time.Sleep(time.Minute)
		began := time.Now()
		w.end()
		if d := time.Since(began); d != 5*time.Second {
			t.Errorf("the end took %s", d)
		}
	})
}

// faulty makes a report with Sick "fault" cost the instance its memory.
func faulty(w *world) {
	w.script.on = func(_ failover.InstanceName, e failover.Event) []failover.Action {
		if r, ok := e.(failover.Report); ok && r.Sick == "fault" {
			panic("fault on purpose")
		}
		return nil
	}
}

func TestACommitOfAFormerLifeThatLandsIsReadBack(t *testing.T) {
	for _, c := range []struct {
		name   string
		inHand error // how a commit of the new life, begun meanwhile, ends
	}{{"at rest", nil}, {"beside a commit", errBroken}, {"beside one that poisons", ErrPoisoned}} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(_ *Config, w *world) {
				faulty(w)
			}, func(t *testing.T, w *world) {
				w.ledger.before = slowly(4 * time.Second)
				w.poke(commit(0, "of the former life"))
				w.script.forget()
				if err := w.Deliver(orders, failover.Report{Vantage: "van-1", Sick: "fault"}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second) // it has begun again, from what the ledger shows
				synctest.Wait()
				if c.inHand != nil {
					w.ledger.mu.Lock()
					w.ledger.before = func(context.Context, failover.Record) error { time.Sleep(5 * time.Second); return c.inHand }
					w.ledger.mu.Unlock()
					w.poke(commit(0, "of the new life"))
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				var revs []uint64
				for _, l := range only[failover.Loaded](w.script, orders) {
					revs = append(revs, l.Record.Rev)
				}
				if len(revs) < 2 || revs[0] != 0 || revs[1] != 1 {
					t.Errorf("read revs %v, want what was there, and then what landed", revs)
				}
				failed := 0
				for _, e := range w.script.all(orders) {
					switch e := e.(type) {
					case failover.CommitFailed:
						failed++
					case failover.Loaded:
						if c.inHand != nil && e.Record.Rev == 1 && failed == 0 {
							t.Error("the record came while a commit was in hand")
						}
					}
				}
			})
		})
	}
}

func TestALateWordOfPoisonIsHeeded(t *testing.T) {
	inBubble(t, func(_ *Config, w *world) { faulty(w) }, func(t *testing.T, w *world) {
		w.ledger.before = func(context.Context, failover.Record) error { time.Sleep(4 * time.Second); return ErrPoisoned }
		w.poke(commit(0, "of the former life"))
		if err := w.Deliver(orders, failover.Report{Vantage: "van-1", Sick: "fault"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for _, i := range []failover.InstanceName{orders, billing} {
			if lastLead(t, w, i).Leading {
				t.Errorf("%s leads on a poisoned ledger", i)
			}
		}
	})
}

func TestACommitThatIsRefusedCostsTheLeadForAWhileThatGrows(t *testing.T) {
	inBubble(t, func(_ *Config, w *world) {
		w.ledger.before = func(context.Context, failover.Record) error { return errBroken }
	}, func(t *testing.T, w *world) {
		misbehave(w, func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) })
		w.ledger.before = func(context.Context, failover.Record) error { return errBroken }
		var pauses []time.Duration
		for range 8 {
			w.script.forget()
			w.poke(everyAction()[errandWrite])
			began := time.Now()
			w.poke(commit(0, "refused"))
			if got := outcomes(w, errandWrite); len(got) != 1 || !strings.Contains(got[0], ErrNotLeading.Error()) {
				t.Fatalf("a write under way was answered %q", got)
			}
			if s, _ := w.Snapshot(orders); !strings.Contains(s.Lapse, errBroken.Error()) || !s.Again.After(began) {
				t.Errorf("the snapshot says %q, again at %s", s.Lapse, s.Again)
			}
			w.SetLead(lead(7)) // a renewal is no reason to try sooner
			synctest.Wait()
			for len(only[failover.Lead](w.script, orders)) == 0 && time.Since(began) < 5*time.Minute {
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
			}
			pauses = append(pauses, time.Since(began).Round(time.Second))
			var order []string
			for _, e := range w.script.all(orders) {
				switch e := e.(type) {
				case failover.Loaded:
					order = append(order, "loaded")
				case failover.Lead:
					order = append(order, fmt.Sprint("lead ", e.Leading))
				}
			}
			if fmt.Sprint(order) != "[loaded lead true]" {
				t.Errorf("events %v", order)
			}
			if s, _ := w.Snapshot(orders); s.Lapse != "" || !s.Again.IsZero() {
				t.Errorf("leading again, the snapshot says %q, again at %s", s.Lapse, s.Again)
			}
			if !lastLead(t, w, orders).Leading {
				t.Error("it does not lead")
			}
		}
		if got := fmt.Sprint(pauses); got != "[1s 2s 4s 8s 16s 32s 1m0s 1m0s]" {
			t.Errorf("pauses %s", got)
		}
		time.Sleep(2 * time.Minute) // well led
		w.script.forget()
		w.poke(commit(0, "refused"))
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		if !lastLead(t, w, orders).Leading {
			t.Error("after two good minutes the pause is the first one again, and it does not lead")
		}
	})
}

func TestANewTermEndsALapseAndPoisonAndYieldAreNone(t *testing.T) {
	inBubble(t, func(_ *Config, w *world) {
		w.ledger.before = func(context.Context, failover.Record) error { return errBroken }
	}, func(t *testing.T, w *world) {
		w.poke(commit(0, "refused"))
		w.SetLead(lead(8))
		synctest.Wait()
		if l := lastLead(t, w, orders); !l.Leading || l.Term != 8 {
			t.Errorf("under a new term: %+v", l)
		}
		w.poke(failover.Yield{Seen: failover.Token{Term: 9}})
		if s, _ := w.Snapshot(orders); !strings.Contains(s.Lapse, "yielded") || !s.Again.IsZero() {
			t.Errorf("after a yield the snapshot says %q, again at %s", s.Lapse, s.Again)
		}
		w.SetLead(lead(10))
		synctest.Wait()
		w.ledger.before = func(context.Context, failover.Record) error { return ErrPoisoned }
		w.poke(commit(0, "poisoned"))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if lastLead(t, w, orders).Leading {
			t.Error("it leads on a poisoned ledger")
		}
	})
}
