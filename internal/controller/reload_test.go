package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"pointsman/internal/failover"
)

// changed is a policy with another harmless number.
func changed(p failover.Policy) failover.Policy {
	p.Cooldown += time.Second
	return p
}

func TestAReloadTellsOnlyTheCoresWhosePolicyChanged(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		w.script.forget()
		o, b := changed(policy(t, orders)), policy(t, billing)
		if err := w.Reload(Setup{Policies: []failover.Policy{b, o}}); err != nil {
			t.Fatal(err)
		}
		if s, _ := w.Snapshot(orders); s.Policy.Cooldown != o.Cooldown {
			t.Errorf("right after the reload the snapshot has the cooldown %s, want %s", s.Policy.Cooldown, o.Cooldown)
		}
		if n := len(only[failover.PolicyChanged](w.script, orders)); n != 1 {
			t.Errorf("the core of the changed one was told %d times", n)
		}
		if es := w.script.stamped(billing); len(es) != 0 {
			t.Errorf("the other core saw %+v", es)
		}
		if got := fmt.Sprint(w.Instances()); got != "[billing orders]" {
			t.Errorf("instances %s, want the order of the configuration", got)
		}
	})
}

func TestAReloadDecidesWhichVantagesMayVoteFromThenOn(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		o := policy(t, orders)
		o.Vantages = append(o.Vantages[1:], failover.VantagePolicy{Name: "van-4", Domain: "rack-4"})
		if err := w.Reload(Setup{Policies: []failover.Policy{o, policy(t, billing)}}); err != nil {
			t.Fatal(err)
		}
		if err := w.Deliver(orders, failover.Report{Vantage: "van-4"}); err != nil {
			t.Errorf("a new vantage: %v", err)
		}
		if err := w.Deliver(orders, failover.Report{Vantage: "van-1"}); !errors.Is(err, ErrUnknownVantage) {
			t.Errorf("one that has gone: %v", err)
		}
	})
}

func TestAReloadThatIsRefusedChangesNothing(t *testing.T) {
	op := &failover.Op{ID: "op-1", Kind: failover.Switchover, To: "b", Step: "drain"}
	for _, c := range []struct {
		name string
		with func(*world, []failover.Policy) Setup
		want string
	}{
		{"a bad policy", func(_ *world, ps []failover.Policy) Setup {
			ps[0] = changed(ps[0])
			ps[1].Round = 0
			return Setup{Policies: ps}
		}, "instance billing: round"},
		{"no instance", func(*world, []failover.Policy) Setup { return Setup{} }, "at least one"},
		{"an instance twice", func(_ *world, ps []failover.Policy) Setup {
			return Setup{Policies: append(ps, ps[0])}
		}, "orders: named twice"},
		{"a provider that is not there", func(w *world, ps []failover.Policy) Setup {
			return Setup{Policies: ps, Names: map[string]Names{"other": w.fakes}}
		}, `provider "bind"`},
		{"a removal with an operation in hand", func(_ *world, ps []failover.Policy) Setup {
			ps[1] = changed(ps[1])
			return Setup{Policies: ps[1:]}
		}, "instance orders: the instance cannot be removed now: the switchover op-1 to b is at drain"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(cfg *Config, w *world) {
				w.ledger.records[orders] = failover.Record{Version: 1, Instance: orders, Rev: 1, Active: "a", Op: op}
				cfg.Core = Core{} // the real one knows the record
			}, func(t *testing.T, w *world) {
				before, _ := w.Snapshot(orders)
				err := w.Reload(c.with(w, []failover.Policy{policy(t, orders), policy(t, billing)}))
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("got %v, want an error with %q", err, c.want)
				}
				if got := fmt.Sprint(w.Instances()); got != "[orders billing]" {
					t.Errorf("instances %s", got)
				}
				for _, i := range w.Instances() {
					if s, _ := w.Snapshot(i); s.Policy.Cooldown != before.Policy.Cooldown || s.Policy.Round == 0 {
						t.Errorf("%s has the policy of a refused reload", i)
					}
				}
				if err := w.Deliver(orders, failover.Report{Vantage: "van-1"}); err != nil {
					t.Errorf("a report afterwards: %v", err)
				}
			})
		})
	}
}

func TestAnInstanceWhoseRecordWasNotReadCannotBeRemoved(t *testing.T) {
	inBubble(t, func(_ *Config, w *world) {
		w.ledger.onLoad = func() error { return errBroken }
	}, func(t *testing.T, w *world) {
		if err := w.Reload(Setup{Policies: []failover.Policy{policy(t, billing)}}); !errors.Is(err, ErrInHand) {
			t.Errorf("got %v, want %v", err, ErrInHand)
		}
	})
}

func TestAnInstanceWithAnOperationInACommitCannotBeRemoved(t *testing.T) {
	inBubble(t, func(_ *Config, w *world) {
		w.ledger.before = func(context.Context, failover.Record) error { time.Sleep(time.Second); return nil }
	}, func(t *testing.T, w *world) {
		c := commit(0, "intent")
		c.Record.Op = &failover.Op{ID: "op-1", Kind: failover.Failover, To: "b", Step: "intent"}
		w.poke(c)
		if err := w.Reload(Setup{Policies: []failover.Policy{policy(t, billing)}}); !errors.Is(err, ErrInHand) {
			t.Errorf("got %v, want %v", err, ErrInHand)
		}
	})
}

func TestARemovedInstanceEndsAndTellsWhoeverWaits(t *testing.T) {
	var cancelled sync.WaitGroup
	inBubble(t, nil, func(t *testing.T, w *world) {
		sub := w.Subscribe()
		defer sub.Close()
		cancelled.Add(1)
		misbehave(w, func(ctx context.Context) error { <-ctx.Done(); cancelled.Done(); return context.Cause(ctx) })
		w.poke(everyAction()[errandWrite])
		var g sync.WaitGroup
		g.Go(func() {
			_, err := w.Do(t.Context(), orders, failover.Command{Do: failover.DoPause})
			if !errors.Is(err, ErrUnknownInstance) || !strings.Contains(err.Error(), "removed by a reload") {
				t.Errorf("who waited for a reply got %v", err)
			}
		})
		synctest.Wait()
		start := time.Now()
		if err := w.Reload(Setup{Policies: []failover.Policy{policy(t, billing)}}); err != nil {
			t.Fatal(err)
		}
		g.Wait()
		cancelled.Wait()
		if d := time.Since(start); d != 0 {
			t.Errorf("the write was cancelled after %s", d)
		}
		synctest.Wait()
		w.script.forget()
		time.Sleep(time.Minute)
		synctest.Wait()
		if es := w.script.stamped(orders); len(es) != 0 {
			t.Errorf("the core of the removed one saw %+v", es)
		}
		if _, ok := w.Snapshot(orders); ok {
			t.Error("it still has a snapshot")
		}
		if err := w.Deliver(orders, failover.Report{Vantage: "van-1"}); !errors.Is(err, ErrUnknownInstance) {
			t.Errorf("a report: %v", err)
		}
		ts, _ := sub.Take()
		if !slices.ContainsFunc(ts, func(x Transition) bool {
			return x.Instance == orders && x.Kind == KindConfig && x.To == "removed"
		}) {
			t.Errorf("subscribers were told %+v", ts)
		}
	})
}

func TestACommitInHandOfARemovedInstanceIsLetFinishAndFoundWhenItComesBack(t *testing.T) {
	inBubble(t, func(_ *Config, w *world) {
		w.ledger.before = func(ctx context.Context, _ failover.Record) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Second):
				return nil
			}
		}
	}, func(t *testing.T, w *world) {
		w.poke(commit(0, "in hand"))
		if err := w.Reload(Setup{Policies: []failover.Policy{policy(t, billing)}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if err := w.Reload(Setup{Policies: []failover.Policy{policy(t, orders), policy(t, billing)}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		l := only[failover.Loaded](w.script, orders)
		if len(l) != 2 || l[1].Record.Rev != 1 {
			t.Errorf("loaded %+v, want the record with the commit in the end", l)
		}
		if !lastLead(t, w, orders).Leading {
			t.Error("an added instance does not lead")
		}
	})
}

func TestAnAddedInstanceLeadsUnderTheTermOfToday(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		w.SetLead(lead(9))
		if err := w.Reload(Setup{Policies: []failover.Policy{policy(t, orders), policy(t, billing), policy(t, "third")}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if l := lastLead(t, w, "third"); l.Term != 9 {
			t.Errorf("it leads under the term %d, want 9", l.Term)
		}
		w.SetLead(lead(10))
		synctest.Wait()
		if l := lastLead(t, w, "third"); l.Term != 10 {
			t.Errorf("it leads under the term %d, want 10", l.Term)
		}
	})
}

func TestAThousandReloadsLeaveNothingBehind(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		before := runtime.NumGoroutine()
		for i := range 1000 {
			third := failover.InstanceName(fmt.Sprintf("third-%d", i%3))
			if err := w.Reload(Setup{Policies: []failover.Policy{policy(t, orders), policy(t, third)}}); err != nil {
				t.Fatal(err)
			}
			if err := w.Deliver(third, failover.Report{Vantage: "van-1"}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if n := runtime.NumGoroutine(); n > before {
			t.Errorf("%d goroutines, %d before", n, before)
		}
		if n := len(w.roster.Load().owners); n != 2 {
			t.Errorf("%d owners are remembered, want 2", n)
		}
	})
}

func TestAReloadSwapsTheProvidersAndTheVerifier(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		asked := 0
		other := &fakes{
			read: func(context.Context, failover.RecordName) (failover.NameRead, error) {
				return failover.NameRead{Value: "from-the-other."}, nil
			},
			verify: func(context.Context, []failover.NameRecord) map[failover.RecordName]failover.NameAgreement {
				asked++
				return nil
			},
		}
		ps := []failover.Policy{policy(t, orders), policy(t, billing)}
		if err := w.Reload(Setup{Policies: ps, Names: map[string]Names{"bind": other}, Verifier: other}); err != nil {
			t.Fatal(err)
		}
		if err := w.Reload(Setup{Policies: ps}); err != nil { // keeps them
			t.Fatal(err)
		}
		w.poke(everyAction()[errandRead], everyAction()[errandVerify])
		if got := only[failover.NameRead](w.script, orders); len(got) != 1 || got[0].Value != "from-the-other." {
			t.Errorf("read %+v", got)
		}
		if asked != 1 {
			t.Errorf("the other verifier was asked %d times", asked)
		}
	})
}

func TestTheFloodBreakerKnowsHowManyInstancesAReloadLeft(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		if n := w.flood.most(); n != 3 {
			t.Fatalf("%d may want to move, want 3", n)
		}
		ps := []failover.Policy{policy(t, orders), policy(t, billing)}
		for i := range 48 {
			ps = append(ps, policy(t, failover.InstanceName(fmt.Sprint("more-", i))))
		}
		if err := w.Reload(Setup{Policies: ps}); err != nil {
			t.Fatal(err)
		}
		if n := w.flood.most(); n != 10 {
			t.Errorf("%d of 50 may want to move, want 10", n)
		}
		if err := w.Reload(Setup{Policies: ps, Flood: Flood{Least: 20}}); err != nil {
			t.Fatal(err)
		}
		if n := w.flood.most(); n != 20 {
			t.Errorf("%d may want to move, want 20", n)
		}
	})
}

func TestAPanicInAReloadCostsOneInstanceItsMemory(t *testing.T) {
	inBubble(t, func(_ *Config, w *world) {
		w.script.on = func(i failover.InstanceName, e failover.Event) []failover.Action {
			if _, ok := e.(failover.PolicyChanged); ok && i == orders {
				panic("fault on purpose")
			}
			return nil
		}
	}, func(t *testing.T, w *world) {
		if err := w.Reload(Setup{Policies: []failover.Policy{changed(policy(t, orders)), changed(policy(t, billing))}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := len(only[failover.Loaded](w.script, orders)); n != 2 {
			t.Errorf("orders began %d times, want 2", n)
		}
		if n := len(only[failover.Loaded](w.script, billing)); n != 1 {
			t.Errorf("billing began %d times, want 1", n)
		}
		for _, i := range w.Instances() {
			if s, _ := w.Snapshot(i); s.Policy.Cooldown != changed(policy(t, i)).Cooldown {
				t.Errorf("%s goes by the old policy", i)
			}
		}
	})
}

func TestAReloadAfterTheEndIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := build(t, nil)
		w.run()
		w.end()
		if err := w.Reload(Setup{Policies: []failover.Policy{policy(t, orders)}}); !errors.Is(err, ErrStopped) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAReloadBeforeAndAfterEverySideEffectOfAnOperationLetsItFinish(t *testing.T) {
	failOver := func(s *stage) { s.kill("a") }
	switchOver := func(s *stage) {
		if r := s.do(failover.Command{Do: failover.DoSwitchover, To: "b", By: "test", Reason: "test"}); r.Code != failover.ReplyStarted {
			s.t.Fatalf("switchover: %+v", r)
		}
	}
	for _, c := range []struct {
		name     string
		embedded bool
		begin    func(*stage)
		steps    string // in which a reload came
	}{
		{"failover, embedded", true, failOver, "[confirm]"},
		{"failover, elsewhere", false, failOver, "[confirm move]"},
		{"switchover, embedded", true, switchOver, "[confirm]"},
		{"switchover, elsewhere", false, switchOver, "[confirm move]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, c.embedded, func(s *stage, p failover.Policy) {
				steps := make(map[failover.StepName]bool)
				next := p
				s.mu.Lock()
				s.pass = func(string) {
					s.reloading.Lock()
					defer s.reloading.Unlock()
					if r := s.record(); r.Op != nil {
						steps[r.Op.Step] = true
					}
					next = changed(next)
					if err := s.Reload(Setup{Policies: []failover.Policy{next}}); err != nil {
						s.t.Errorf("reload: %v", err)
					}
				}
				s.mu.Unlock()
				c.begin(s)
				s.until("settled", s.settled)
				s.mu.Lock()
				s.pass = nil
				s.mu.Unlock()
				if got := fmt.Sprint(slices.Sorted(maps.Keys(steps))); s.record().Active != "b" || got != c.steps {
					s.t.Errorf("active %s, reloads in the steps %s, want b and %s", s.record().Active, got, c.steps)
				}
				if got, _ := s.Snapshot(orders); got.Policy.Cooldown <= p.Cooldown {
					s.t.Error("the last reload was not applied")
				}
			})
		})
	}
}

// Whatever is reloaded, and whenever, no reload by itself writes a name or
// commits another active cluster or an operation.
func TestNoReloadMovesAName(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sick := rapid.SliceOfN(rapid.SampledFrom([]failover.ClusterName{"a", "b"}), 0, 1).Draw(rt, "down")
		edits := rapid.SliceOfN(rapid.IntRange(0, 6), 1, 8).Draw(rt, "edits")
		play(t, rapid.Bool().Draw(rt, "embedded"), func(s *stage, p failover.Policy) {
			s.do(failover.Command{Do: failover.DoPause, By: "test", Reason: "what moves now was moved by a reload"})
			time.Sleep(time.Second)
			for _, c := range sick {
				s.kill(c)
			}
			time.Sleep(2 * time.Second)
			before := s.record()
			_, _, past := s.zone.look()
			for _, e := range edits {
				p.Names = slices.Clone(p.Names)
				switch e {
				case 0:
					p.RideOut += time.Second
				case 1:
					p.RideOut = 0
				case 2:
					p.Primary = p.Other(p.Primary)
				case 3:
					p.Clusters[0], p.Clusters[1] = p.Clusters[1], p.Clusters[0]
				case 4:
					p.Count.Fall++
				case 5:
					p.Cooldown, p.MinUp = 0, 0
				case 6:
					p.Expected += "x"
				}
				if err := s.Reload(Setup{Policies: []failover.Policy{p}}); err != nil {
					rt.Fatal(err)
				}
				time.Sleep(time.Second)
			}
			after := s.record()
			_, _, now := s.zone.look()
			if after.Active != before.Active || after.Op != nil || after.LastOp != nil || len(now) != len(past) || after.Names[0].Value != before.Names[0].Value {
				rt.Fatalf("edits %v: before %+v, after %+v, written %v", edits, before, after, now[len(past):])
			}
		})
	})
}

// TestWhatWasPreparedAndDroppedChangesNothing: an instance that was to go
// takes no turn until that is known, and then goes on with all that came.
func TestWhatWasPreparedAndDroppedChangesNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		for range 2 {
			p, err := w.Prepare(Setup{Policies: []failover.Policy{policy(t, billing)}})
			if err != nil {
				t.Fatal(err)
			}
			w.script.forget()
			if err := w.Deliver(orders, failover.Report{Vantage: "van-1"}); err != nil {
				t.Error(err)
			}
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			if es := w.script.stamped(orders); len(es) != 0 {
				t.Errorf("it had a turn: %+v", es)
			}
			p.Drop()
			p.Drop()
			p.Take() // too late: it was dropped
			synctest.Wait()
			if es := w.script.stamped(orders); len(es) == 0 {
				t.Error("it has no turn any more")
			}
			if got := fmt.Sprint(w.Instances()); got != "[orders billing]" {
				t.Errorf("instances %s", got)
			}
		}
	})
}

// TestWhoeverWasAskedBeforeARefusalGoesOn: of two instances that were to go
// the second has an operation in hand; the first is free again.
func TestWhoeverWasAskedBeforeARefusalGoesOn(t *testing.T) {
	inBubble(t, func(cfg *Config, w *world) {
		op := &failover.Op{ID: "op-1", Kind: failover.Switchover, To: "b", Step: "drain"}
		w.ledger.records[billing] = failover.Record{Version: 1, Instance: billing, Rev: 1, Active: "a", Op: op}
		cfg.Core = Core{}
	}, func(t *testing.T, w *world) {
		third := policy(t, orders)
		third.Instance, third.Names = "third", slices.Clone(third.Names)
		for i := range third.Names {
			third.Names[i].Name = "third." + third.Names[i].Name
		}
		if err := w.Reload(Setup{Policies: []failover.Policy{third}}); !errors.Is(err, ErrInHand) || !strings.Contains(err.Error(), "billing") {
			t.Fatalf("got %v, want %v of billing", err, ErrInHand)
		}
		before, _ := w.Snapshot(orders)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if after, _ := w.Snapshot(orders); !after.At.After(before.At.Add(5 * time.Second)) {
			t.Errorf("its last turn was at %s, %s after the refusal", after.At, after.At.Sub(before.At))
		}
	})
}
