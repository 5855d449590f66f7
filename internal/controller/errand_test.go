package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

// everyAction is one of each kind that has an outcome, with the failpoint name
// of its errand.
func everyAction() map[string]failover.Action {
	return map[string]failover.Action{
		errandCommit: commit(0, "one"),
		errandRead:   failover.ReadName{Name: name(false)},
		errandWrite:  failover.WriteName{Name: name(false), Expect: "a.example.", Value: "b.example."},
		errandVerify: failover.Verify{Names: []failover.NameRecord{name(false)}},
		errandGate:   failover.SetGate{Cluster: "a", Want: failover.GateClosed},
		errandDrain:  failover.Drain{From: "a"},
		errandCut:    failover.Cut{From: "a"},
		errandHooks: failover.RunHooks{
			When: failover.HookPre, Op: failover.HookOp{ID: "op"}, Attempt: 1, Hooks: []failover.Hook{{Name: "gate", When: failover.HookPre, Timeout: 10 * time.Second}},
		},
		"flood": failover.AskFlood{},
	}
}

// word is the outcome that an event reports: ok, unknown (or an error text),
// and whether it answers the errand at all.
func word(errand string, e failover.Event) (string, bool) {
	or := func(err string) string {
		if err == "" {
			return "ok"
		}
		return "failed: " + err
	}
	switch e := e.(type) {
	case failover.Committed:
		return "ok", errand == errandCommit
	case failover.CommitFailed:
		return or(e.Err), errand == errandCommit
	case failover.NameRead:
		return or(e.Err), errand == errandRead
	case failover.NameWritten:
		if e.Outcome == failover.WriteDone {
			return "ok", errand == errandWrite
		}
		return string(e.Outcome) + ": " + e.Err, errand == errandWrite
	case failover.Verified:
		a := e.Names["orders.example."]
		if a.Agree {
			return "ok", errand == errandVerify
		}
		return "failed: " + strings.Join(a.Dissent, " "), errand == errandVerify
	case failover.GateDone:
		return or(e.Err), errand == errandGate
	case failover.Drained:
		return or(e.Err), errand == errandDrain
	case failover.CutDone:
		return or(e.Err), errand == errandCut
	case failover.HooksDone:
		if e.OpID != "op" || e.When != failover.HookPre || e.Attempt != 1 || (e.Err == "") != (len(e.Results) == 1) {
			return fmt.Sprintf("strange: %+v", e), errand == errandHooks
		}
		return or(e.Err), errand == errandHooks
	case failover.FloodVerdict:
		return "ok", errand == "flood"
	}
	return "", false
}

// outcomes returns the words of every answer to one errand so far.
func outcomes(w *world, errand string) []string {
	var words []string
	for _, e := range w.script.all(orders) {
		if s, ok := word(errand, e); ok {
			words = append(words, s)
		}
	}
	return words
}

func TestEveryActionIsAnsweredExactlyOnce(t *testing.T) {
	for errand, action := range everyAction() {
		t.Run(errand, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, w *world) {
				w.poke(action)
				time.Sleep(time.Minute) // long past every limit
				synctest.Wait()
				if got := outcomes(w, errand); len(got) != 1 || got[0] != "ok" {
					t.Errorf("answers %q, want one that is ok", got)
				}
			})
		})
	}
}

// misbehave lets everything outside do f instead of its work.
func misbehave(w *world, f func(context.Context) error) {
	w.ledger.before = func(ctx context.Context, _ failover.Record) error { return f(ctx) }
	w.fakes.read = func(ctx context.Context, _ failover.RecordName) (failover.NameRead, error) {
		return failover.NameRead{}, f(ctx)
	}
	w.fakes.write = func(ctx context.Context, _ failover.WriteName) (failover.WriteOutcome, error) { return "", f(ctx) }
	w.fakes.verify = func(ctx context.Context, ns []failover.NameRecord) map[failover.RecordName]failover.NameAgreement {
		err := f(ctx)
		return map[failover.RecordName]failover.NameAgreement{ns[0].Name: {Dissent: []string{fmt.Sprint(err)}}}
	}
	w.fakes.gate = f
	w.fakes.drain = func(ctx context.Context) (failover.Drained, error) { return failover.Drained{}, f(ctx) }
	w.fakes.cut = func(ctx context.Context) ([]string, error) { return nil, f(ctx) }
	w.fakes.hooks = func(ctx context.Context) ([]failover.HookResult, error) { return nil, f(ctx) }
}

func TestWhateverGoesWrongOutsideIsAnsweredOnceAndNeverAsDone(t *testing.T) {
	wrong := map[string]func(context.Context) error{
		"error":  func(context.Context) error { return errBroken },
		"panic":  func(context.Context) error { panic("broken on purpose") },
		"silent": func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) },
	}
	for how, f := range wrong {
		for errand, action := range everyAction() {
			if errand == "flood" || errand == errandCommit && how == "silent" { // a commit is waited for
				continue
			}
			t.Run(how+"/"+errand, func(t *testing.T) {
				inBubble(t, nil, func(t *testing.T, w *world) {
					misbehave(w, f)
					w.poke(action)
					time.Sleep(time.Minute)
					synctest.Wait()
					got := outcomes(w, errand)
					if len(got) != 1 || got[0] == "ok" {
						t.Fatalf("answers %q, want one that is not ok", got)
					}
					if errand == errandWrite && !strings.HasPrefix(got[0], "unknown") {
						t.Errorf("a write without an outcome was answered as %q", got[0])
					}
					if how == "panic" && !strings.Contains(got[0], "panic: broken on purpose") {
						t.Errorf("answer %q does not tell of the panic", got[0])
					}
				})
			})
		}
	}
}

func TestACallThatIgnoresItsContextIsAnsweredAsUnknownAndItsLateAnswerIsDropped(t *testing.T) {
	for errand, action := range everyAction() {
		if errand == "flood" || errand == errandCommit {
			continue
		}
		t.Run(errand, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, w *world) {
				misbehave(w, func(context.Context) error { time.Sleep(10 * time.Minute); return nil })
				w.poke(action)
				time.Sleep(time.Minute)
				synctest.Wait()
				got := outcomes(w, errand)
				if len(got) != 1 || got[0] == "ok" || !strings.Contains(got[0], "no answer within") {
					t.Fatalf("answers %q, want one that says no answer", got)
				}
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if got := outcomes(w, errand); len(got) != 1 {
					t.Errorf("answers %q after the call came back, want the one of before", got)
				}
				if n := w.Stats().LateAnswers; n != 1 {
					t.Errorf("%d late answers were counted, want 1", n)
				}
			})
		})
	}
}

func TestEveryFailpointIsPassedAndItsErrorTakesThePlaceOfTheOutcome(t *testing.T) {
	actions := everyAction()
	for _, point := range Failpoints() {
		errand, when, _ := strings.Cut(point, "/")
		t.Run(point, func(t *testing.T) {
			passed := 0
			var called atomic.Int32
			armed := false
			inBubble(t, func(c *Config, w *world) {
				var mu sync.Mutex
				c.Fail = func(name string) error {
					mu.Lock()
					defer mu.Unlock()
					if name == point && armed {
						passed++
						if passed == 1 {
							return errBroken
						}
					}
					return nil
				}
				armed = errand == errandLoad
				w.ledger.onLoad = func() error { called.Add(1); return nil }
			}, func(t *testing.T, w *world) {
				if errand == errandLoad {
					time.Sleep(time.Second)
					synctest.Wait()
					if got := len(only[failover.Loaded](w.script, orders)); got != 1 {
						t.Errorf("loaded %d times, want once, at the second try", got)
					}
					return
				}
				armed = true
				misbehave(w, func(context.Context) error { called.Add(1); return nil })
				called.Store(0)
				w.poke(actions[errand])
				got := outcomes(w, errand)
				if len(got) != 1 || !strings.Contains(got[0], errBroken.Error()) {
					t.Errorf("answers %q, want one with %q", got, errBroken)
				}
				// A commit whose answer is lost reads the record again.
				want := map[string]int{"before": 0, "after": 1}[when]
				if errand == errandCommit {
					want++
				}
				if called.Load() != int32(want) {
					t.Errorf("%d calls were made, want %d", called.Load(), want)
				}
			})
			if passed == 0 {
				t.Error("the failpoint was never passed")
			}
		})
	}
}

func TestCommitsKeepTheirOrderOneAtATime(t *testing.T) {
	inBubble(t, func(_ *Config, w *world) {
		w.ledger.before = func(context.Context, failover.Record) error { time.Sleep(50 * time.Millisecond); return nil }
	}, func(t *testing.T, w *world) {
		w.poke(commit(0, "first"), commit(1, "second"))
		w.poke(commit(2, "third"))
		time.Sleep(time.Second)
		synctest.Wait()
		if got := fmt.Sprint(w.ledger.audit()); got != "[first second third]" {
			t.Errorf("commits in the order %s", got)
		}
		if w.ledger.most != 1 {
			t.Errorf("%d commits ran at the same time", w.ledger.most)
		}
		revs := only[failover.Committed](w.script, orders)
		if len(revs) != 3 || revs[0].Rev != 1 || revs[2].Rev != 3 || revs[2].AuditHead != "head-3" {
			t.Errorf("answers %+v", revs)
		}
	})
}

func TestNothingIsBegunOutsideBetweenACommitAndItsAnswer(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
	}{{"committed", nil}, {"conflict", ErrConflict}, {"disk", errBroken}} {
		t.Run(c.name, func(t *testing.T) {
			var gate chan struct{}
			var began []string
			var mu sync.Mutex
			did := func(what string) {
				mu.Lock()
				defer mu.Unlock()
				began = append(began, what)
			}
			inBubble(t, func(cfg *Config, w *world) {
				gate = make(chan struct{})
				w.ledger.before = func(context.Context, failover.Record) error { <-gate; did("commit"); return c.err }
				cfg.Fail = func(point string) error {
					if what, ok := strings.CutSuffix(point, "/before"); ok && what != errandCommit && what != errandLoad {
						did(what)
					}
					return nil
				}
			}, func(t *testing.T, w *world) {
				write := everyAction()[errandWrite]
				// In the same list, before and after the commit, and later.
				w.poke(write, commit(0, "intent"), everyAction()[errandCut])
				w.poke(everyAction()[errandGate], failover.AskFlood{})
				if len(began) != 0 {
					t.Fatalf("%v begun while the commit is in hand", began)
				}
				if got := len(only[failover.Report](w.script, orders)); got != 2 {
					t.Errorf("the owner took %d reports while the disk syncs, want 2", got)
				}
				close(gate)
				synctest.Wait()
				want := 4
				if c.err != nil {
					want = 1
				}
				if len(began) != want || began[0] != "commit" {
					t.Errorf("begun %v, want %d with the commit first", began, want)
				}
				for _, errand := range []string{errandWrite, errandCut, errandGate, "flood"} {
					got := outcomes(w, errand)
					if len(got) != 1 {
						t.Errorf("%s was answered %d times", errand, len(got))
					}
					if c.err != nil && errand == errandWrite && !strings.HasPrefix(got[0], "refused") {
						t.Errorf("a write that was never begun was answered as %q", got[0])
					}
				}
				if c.err != nil {
					if v := only[failover.FloodVerdict](w.script, orders); v[0].OK {
						t.Error("leave to start was given although the commit failed")
					}
				}
				if n := w.Stats().HeldBack; n != 4 {
					t.Errorf("%d actions counted as held back, want 4", n)
				}
			})
		})
	}
}

func TestAConflictIsFollowedByTheRecordAsItIs(t *testing.T) {
	inBubble(t, func(_ *Config, w *world) {
		w.ledger.records[orders] = failover.Record{Instance: orders, Rev: 5}
	}, func(t *testing.T, w *world) {
		w.script.forget()
		w.poke(commit(4, "late"))
		es := w.script.all(orders)
		if len(es) != 3 {
			t.Fatalf("events %+v", es)
		}
		failed, ok := es[1].(failover.CommitFailed)
		if !ok || !failed.Conflict {
			t.Errorf("first came %+v, want CommitFailed with a conflict", es[1])
		}
		loaded, ok := es[2].(failover.Loaded)
		if !ok || loaded.Record.Rev != 5 || !loaded.Found {
			t.Errorf("then came %+v, want the record with rev 5", es[2])
		}
	})
}

func TestOfTwoReloadsOnlyTheFresherIsTold(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		set := func(rev uint64, f func() error) {
			w.ledger.mu.Lock()
			defer w.ledger.mu.Unlock()
			w.ledger.records[orders] = failover.Record{Instance: orders, Rev: rev}
			w.ledger.onLoad = f
		}
		w.script.forget()
		set(5, func() error { time.Sleep(time.Second); return nil })
		w.poke(commit(4, "first"))
		set(6, nil)
		w.poke(commit(4, "second"))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := only[failover.Loaded](w.script, orders); len(got) != 1 || got[0].Record.Rev != 6 {
			t.Errorf("loaded %+v, want rev 6 alone", got)
		}
	})
}

func TestACommitWithALostAnswerIsReadBack(t *testing.T) {
	inBubble(t, func(_ *Config, w *world) {
		w.ledger.after = func(failover.Record) error { return context.DeadlineExceeded }
	}, func(t *testing.T, w *world) {
		w.poke(commit(0, "landed all the same"))
		es := w.script.all(orders)
		last, ok := es[len(es)-1].(failover.Loaded)
		if !ok || last.Record.Rev != 1 {
			t.Errorf("last came %+v, want the record that landed", es[len(es)-1])
		}
		if n := len(only[failover.Committed](w.script, orders)); n != 0 {
			t.Error("an unknown outcome was given out as committed")
		}
	})
}

func TestAPlainCommitErrorIsNoConflict(t *testing.T) {
	inBubble(t, func(_ *Config, w *world) {
		w.ledger.before = func(context.Context, failover.Record) error { return errBroken }
	}, func(t *testing.T, w *world) {
		w.poke(commit(0, "x"))
		got := only[failover.CommitFailed](w.script, orders)
		if len(got) != 1 || got[0].Conflict || !strings.Contains(got[0].Err, errBroken.Error()) {
			t.Errorf("answers %+v", got)
		}
		if n := len(only[failover.Loaded](w.script, orders)); n != 1 {
			t.Errorf("loaded %d times, want only at the start", n)
		}
	})
}

func TestEmbeddedNamesAreReadFromTheViewAndNeverWritten(t *testing.T) {
	touched := false
	inBubble(t, func(c *Config, w *world) {
		c.View = func(n failover.RecordName) (Shown, bool) {
			return Shown{Value: "b.example.", TTL: 5, Mark: "m"}, n == "orders.example."
		}
		c.Names["embedded"] = w.fakes
		w.fakes.read = func(context.Context, failover.RecordName) (failover.NameRead, error) {
			touched = true
			return failover.NameRead{}, nil
		}
		w.fakes.write = func(context.Context, failover.WriteName) (failover.WriteOutcome, error) {
			touched = true
			return failover.WriteDone, nil
		}
	}, func(t *testing.T, w *world) {
		other := name(true)
		other.Name = "other.example."
		w.poke(failover.ReadName{Name: name(true)}, failover.ReadName{Name: other}, failover.WriteName{Name: name(true)})
		for _, r := range only[failover.NameRead](w.script, orders) {
			want := failover.NameRead{Name: "orders.example.", Value: "b.example.", TTL: 5, Mark: "m"}
			if r.Name == "other.example." {
				want = failover.NameRead{Name: "other.example.", Absent: true}
			}
			if r != want {
				t.Errorf("read %+v, want %+v", r, want)
			}
		}
		if got := only[failover.NameWritten](w.script, orders); len(got) != 1 || got[0].Outcome != failover.WriteRefused {
			t.Errorf("write answered with %+v, want a refusal", got)
		}
		if touched {
			t.Error("a provider was asked about an embedded name")
		}
	})
}

// A provider is told which reads a move waits for.
func TestProvidersAreToldWhatAMoveWaitsFor(t *testing.T) {
	var urgent []bool
	inBubble(t, func(_ *Config, w *world) {
		w.fakes.read = func(ctx context.Context, _ failover.RecordName) (failover.NameRead, error) {
			urgent = append(urgent, Urgent(ctx))
			return failover.NameRead{}, nil
		}
	}, func(t *testing.T, w *world) {
		w.poke(failover.ReadName{Name: name(false)})
		w.poke(failover.ReadName{Name: name(false), Urgent: true})
		if fmt.Sprint(urgent) != "[false true]" {
			t.Errorf("urgent: %v", urgent)
		}
	})
}

func TestWhatIsNotConfiguredIsAnsweredWithAReason(t *testing.T) {
	inBubble(t, func(c *Config, _ *world) { c.Gates, c.Drainer, c.Cutter = nil, nil, nil }, func(t *testing.T, w *world) {
		strange := name(false)
		strange.Provider = "gone"
		w.poke(everyAction()[errandGate], everyAction()[errandDrain], everyAction()[errandCut],
			failover.ReadName{Name: strange}, failover.WriteName{Name: strange}, failover.ReadName{Name: name(true)})
		for _, errand := range []string{errandGate, errandDrain, errandCut, errandRead, errandWrite} {
			for _, got := range outcomes(w, errand) {
				if got == "ok" {
					t.Errorf("%s was answered as done", errand)
				}
			}
		}
		if d := only[failover.Drained](w.script, orders); len(d) != 1 || d[0].Bound >= 0 || d[0].Empty {
			t.Errorf("drained %+v, want an unknown rest", d)
		}
	})
}

func TestFailedCallsSayWhy(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		w.fakes.write = func(context.Context, failover.WriteName) (failover.WriteOutcome, error) {
			return failover.WriteMismatch, errors.New("the name shows c.example.")
		}
		w.poke(everyAction()[errandWrite])
		got := only[failover.NameWritten](w.script, orders)
		want := failover.NameWritten{Name: "orders.example.", Outcome: failover.WriteMismatch, Err: "the name shows c.example."}
		if len(got) != 1 || got[0] != want {
			t.Errorf("answers %+v, want %+v", got, want)
		}
	})
}

// TestADrainIsAnsweredSoonAfterItsDeadline, also where the drainer never
// returns, and the answer bears the operation that asked.
func TestADrainIsAnsweredSoonAfterItsDeadline(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		began, end := time.Now(), make(chan struct{})
		defer close(end)
		w.fakes.drain = func(ctx context.Context) (failover.Drained, error) {
			<-end // whatever its context says
			return failover.Drained{Empty: true}, nil
		}
		var answered time.Time
		w.poke(failover.Drain{Op: "orders-1.7", From: "a", To: "b", Deadline: began.Add(30 * time.Second)})
		for range 60 {
			time.Sleep(time.Second)
			synctest.Wait()
			if d := only[failover.Drained](w.script, orders); len(d) > 0 {
				answered = time.Now()
				if d[0].Op != "orders-1.7" || d[0].Empty || d[0].Err == "" {
					t.Errorf("answered %+v", d[0])
				}
				break
			}
		}
		if took := answered.Sub(began); took < 54*time.Second || took > 57*time.Second {
			t.Errorf("answered after %s, the deadline was 30s", took)
		}
	})
}
