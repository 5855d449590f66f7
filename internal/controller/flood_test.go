package controller

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"pointsman/internal/failover"
)

// fleet makes n instances; the first odd ones use another provider and zone.
func fleet(t *testing.T, n, odd int) []failover.Policy {
	t.Helper()
	ps := make([]failover.Policy, n)
	for i := range ps {
		ps[i] = policy(t, failover.InstanceName(fmt.Sprintf("i%03d", i)))
		if i < odd {
			ps[i].Names[0].Provider, ps[i].Names[0].Zone = "other", "other.example."
		}
	}
	return ps
}

func TestManyInstancesAskingAtOnceNeverGetMoreThanTheLimit(t *testing.T) {
	for _, c := range []struct{ instances, limit int }{{5, 3}, {16, 3}, {100, 20}} {
		t.Run(fmt.Sprint(c.instances), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := build(t, func(cfg *Config, w *world) {
					cfg.Policies = fleet(t, c.instances, 0)
					w.script.on = func(_ failover.InstanceName, e failover.Event) []failover.Action {
						if _, ok := e.(failover.Report); ok {
							return []failover.Action{failover.AskFlood{}}
						}
						return nil
					}
				})
				w.run()
				defer w.end()
				var g sync.WaitGroup
				for _, i := range w.Instances() {
					g.Go(func() {
						for range 3 {
							if err := w.Deliver(i, failover.Report{Vantage: "van-1"}); err != nil {
								t.Error(err)
							}
						}
					})
				}
				g.Wait()
				synctest.Wait()
				granted, answers := 0, 0
				for _, i := range w.Instances() {
					got := only[failover.FloodVerdict](w.script, i)
					answers += len(got)
					for _, v := range got {
						if v.Limit != c.limit {
							t.Fatalf("limit %d, want %d", v.Limit, c.limit)
						}
					}
					for _, v := range got {
						if v.OK {
							granted++
							break
						}
					}
				}
				if granted != c.limit {
					t.Errorf("%d instances got leave, want %d", granted, c.limit)
				}
				if answers != 3*c.instances {
					t.Errorf("%d answers to %d questions", answers, 3*c.instances)
				}
			})
		})
	}
}

func TestNoWindowSeesMoreStartsThanTheLimit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(rt, "instances")
		b := newBreaker(Flood{}, pointers(fleet(t, n, 0)))
		type start struct {
			i  failover.InstanceName
			at time.Time
		}
		var starts []start
		now := time.Unix(0, 0)
		granted, refused := 0, 0
		for range rapid.IntRange(1, 150).Draw(rt, "questions") {
			now = now.Add(time.Duration(rapid.IntRange(0, 60).Draw(rt, "pause")) * time.Second)
			i := failover.InstanceName(fmt.Sprintf("i%03d", rapid.IntRange(0, n-1).Draw(rt, "who")))
			if b.ask(i, now).OK {
				granted++
				starts = append(starts, start{i, now})
			} else {
				refused++
			}
			within := make(map[failover.InstanceName]bool)
			for _, s := range starts {
				if now.Sub(s.at) < 5*time.Minute {
					within[s.i] = true
				}
			}
			if len(within) > b.limit {
				rt.Fatalf("%d instances started within the window, limit %d", len(within), b.limit)
			}
		}
		if n <= 3 && refused > 0 {
			rt.Fatalf("%d refusals among %d instances", refused, n)
		}
	})
}

func TestTheBreakerForgetsAfterTheWindow(t *testing.T) {
	b := newBreaker(Flood{}, pointers(fleet(t, 10, 0)))
	now := time.Unix(0, 0)
	ask := func(i int) bool { return b.ask(failover.InstanceName(fmt.Sprintf("i%03d", i)), now).OK }
	for i := range 3 {
		if !ask(i) {
			t.Errorf("instance %d was refused", i)
		}
	}
	if ask(3) || ask(0) {
		t.Error("leave was given although too many want to move")
	}
	now = now.Add(5 * time.Minute)
	if !ask(4) {
		t.Error("refused after the window had passed")
	}
}

func TestTheHintNamesWhatSetsTheWantingApart(t *testing.T) {
	last := func(b *breaker, is ...int) failover.FloodVerdict {
		var v failover.FloodVerdict
		for _, i := range is {
			v = b.ask(failover.InstanceName(fmt.Sprintf("i%03d", i)), time.Unix(0, 0))
		}
		return v
	}
	v := last(newBreaker(Flood{}, pointers(fleet(t, 10, 4))), 0, 1, 2, 3)
	want := "4 of 10 instances want to move within 5m0s; all of these, but not all instances, depend on provider other, zone other.example.: look there first"
	if v.OK || v.Wanting != 4 || v.Hint != want {
		t.Errorf("got %+v, want the hint %q", v, want)
	}
	v = last(newBreaker(Flood{}, pointers(fleet(t, 10, 2))), 0, 1, 5, 6)
	if !strings.Contains(v.Hint, "they all depend on vantages in rack-1, vantages in rack-2, vantages in rack-3:") {
		t.Errorf("hint %q, want what all share", v.Hint)
	}
	if v = last(newBreaker(Flood{}, pointers(fleet(t, 10, 2))), 0); v.Hint != "" || !v.OK {
		t.Errorf("one alone got %+v", v)
	}
}

func pointers(ps []failover.Policy) []*failover.Policy {
	var out []*failover.Policy
	for i := range ps {
		out = append(out, &ps[i])
	}
	return out
}
