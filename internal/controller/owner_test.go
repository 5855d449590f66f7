package controller

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

func TestAnInstanceStartsWithLeadThenRecordThenTicks(t *testing.T) {
	inBubble(t, func(_ *Config, w *world) {
		var tries atomic.Int32
		w.ledger.records[orders] = failover.Record{Instance: orders, Rev: 5}
		w.ledger.onLoad = func() error {
			if tries.Add(1) <= 3 {
				return errBroken
			}
			return nil
		}
	}, func(t *testing.T, w *world) {
		time.Sleep(10 * time.Second)
		synctest.Wait()
		var order []string
		for _, e := range w.script.stamped(orders) {
			if s := fmt.Sprintf("%T", e.event); len(order) == 0 || order[len(order)-1] != s {
				order = append(order, s)
			}
		}
		if got := strings.Join(order, " "); got != "failover.Lead failover.Loaded failover.Tick" {
			t.Errorf("events in the order %s", got)
		}
		if l := only[failover.Loaded](w.script, orders); len(l) != 1 || !l[0].Found || l[0].Record.Rev != 5 {
			t.Errorf("loaded %+v", l)
		}
		if l := only[failover.Lead](w.script, orders); !l[0].Leading || l[0].Term != 7 {
			t.Errorf("lead %+v", l)
		}
	})
}

// ticks returns the pauses between the ticks that orders has seen.
func ticks(w *world) []time.Duration {
	var ds []time.Duration
	var last time.Time
	for _, e := range w.script.stamped(orders) {
		if _, ok := e.event.(failover.Tick); ok {
			if !last.IsZero() {
				ds = append(ds, e.at.Sub(last))
			}
			last = e.at
		}
	}
	return ds
}

func TestTicksComeOnceARoundWhenTheCoreWantsNone(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		time.Sleep(10 * time.Second)
		synctest.Wait()
		ds := ticks(w)
		if len(ds) < 48 {
			t.Fatalf("%d ticks in 50 rounds", len(ds)+1)
		}
		for _, d := range ds {
			if d != 200*time.Millisecond {
				t.Errorf("%s between two ticks, want one round", d)
			}
		}
	})
}

func TestTicksComeWhenTheCoreWantsThemButNotMoreOftenThanEvery10ms(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		w.script.setWake(func(now time.Time) time.Time { return now.Truncate(time.Second).Add(333 * time.Millisecond) })
		w.script.forget()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		hit := 0
		for _, e := range w.script.stamped(orders) {
			if e.at.Nanosecond() == int(333*time.Millisecond) {
				hit++
			}
		}
		if hit < 4 {
			t.Errorf("%d of 5 wanted moments were met", hit)
		}
		w.script.setWake(func(now time.Time) time.Time { return now })
		time.Sleep(300 * time.Millisecond)
		w.script.forget()
		time.Sleep(time.Second)
		synctest.Wait()
		ds := ticks(w)
		if len(ds) < 95 {
			t.Errorf("%d ticks in a second, want about 100", len(ds))
		}
		for _, d := range ds {
			if d < 10*time.Millisecond {
				t.Errorf("%s between two ticks", d)
			}
		}
	})
}

func TestReportsCannotStarveTicks(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		w.script.forget()
		for range 200 {
			if err := w.Deliver(orders, failover.Report{Vantage: "van-1"}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if n := len(ticks(w)); n < 8 {
			t.Errorf("%d ticks in 10 rounds full of reports", n)
		}
	})
}

// tiltable is a change of the configuration that lets a test shift the clocks.
type tiltable struct {
	mu         sync.Mutex
	both, wall time.Duration
}

func (c *tiltable) change(cfg *Config, _ *world) {
	cfg.Now = func() time.Time {
		c.mu.Lock()
		defer c.mu.Unlock()
		return time.Now().Add(c.both)
	}
	cfg.Wall = func() time.Time {
		c.mu.Lock()
		defer c.mu.Unlock()
		return time.Now().Add(c.both + c.wall)
	}
}

func (c *tiltable) shift(both, wall time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.both += both
	c.wall += wall
}

func TestAStallOrAJumpOfTheClockIsToldBeforeWhatWaited(t *testing.T) {
	for _, c := range []struct {
		name       string
		both, wall time.Duration
		want       time.Duration // least stall that is told; 0 is none
	}{
		{"the process was stopped", 3 * time.Second, 0, 3 * time.Second},
		{"the machine was suspended", 0, time.Hour, time.Hour},
		{"the clock was put back", 0, -time.Hour, time.Hour},
		{"a short hiccup", 1200 * time.Millisecond, 0, 0},
		{"a small step of the clock", 0, 1900 * time.Millisecond, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var clock tiltable
			inBubble(t, clock.change, func(t *testing.T, w *world) {
				time.Sleep(10 * time.Second)
				synctest.Wait()
				w.script.forget()
				clock.shift(c.both, c.wall)
				for _, i := range []failover.InstanceName{orders, billing} {
					if err := w.Deliver(i, failover.Report{Vantage: "van-2"}); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(3 * time.Second)
				synctest.Wait()
				for _, i := range []failover.InstanceName{orders, billing} {
					es := w.script.stamped(i)
					told := only[failover.Tilted](w.script, i)
					if c.want == 0 {
						if len(told) != 0 {
							t.Errorf("%s: told of %+v", i, told)
						}
						continue
					}
					first, ok := es[0].event.(failover.Tilted)
					if !ok {
						t.Errorf("%s: the first event is %T", i, es[0].event)
					}
					if len(told) != 1 || first.Stall < c.want || first.Stall > c.want+2*time.Second {
						t.Errorf("%s: told of %+v, want once and about %s", i, told, c.want)
					}
				}
			})
		})
	}
}

func TestAStallOfOneOwnerIsToldToItAlone(t *testing.T) {
	inBubble(t, func(_ *Config, w *world) {
		w.script.on = func(_ failover.InstanceName, e failover.Event) []failover.Action {
			if r, ok := e.(failover.Report); ok && r.Sick == "stall" {
				time.Sleep(5 * time.Second)
			}
			return nil
		}
	}, func(t *testing.T, w *world) {
		w.script.forget()
		for _, sick := range []string{"stall", "after"} {
			if err := w.Deliver(orders, failover.Report{Vantage: "van-1", Sick: sick}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		es := w.script.all(orders)
		if _, ok := es[1].(failover.Tilted); !ok {
			t.Errorf("after the stall came %T", es[1])
		}
		if n := len(only[failover.Tilted](w.script, orders)); n != 1 {
			t.Errorf("told %d times", n)
		}
		if n := len(only[failover.Tilted](w.script, billing)); n != 0 {
			t.Errorf("the other instance was told %d times", n)
		}
	})
}

func TestAQuietHourHasNoTilt(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := w.Stats().Tilts; n != 0 {
			t.Errorf("%d tilts", n)
		}
		if n := len(only[failover.Tilted](w.script, orders)); n != 0 {
			t.Errorf("told of %d tilts", n)
		}
	})
}

// stuckHandler is a log whose reader has gone.
type stuckHandler struct{ stuck chan struct{} }

func (h stuckHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h stuckHandler) Handle(context.Context, slog.Record) error { <-h.stuck; return nil }
func (h stuckHandler) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h stuckHandler) WithGroup(string) slog.Handler             { return h }

func TestStuckReadersNeverDelayADecision(t *testing.T) {
	var stuck chan struct{}
	inBubble(t, func(c *Config, w *world) {
		stuck = make(chan struct{})
		c.Log = slog.New(stuckHandler{stuck})
		c.Page = func(context.Context, failover.InstanceName, failover.Page) { <-stuck }
		c.History = func(context.Context, failover.InstanceName, failover.OpSummary) { <-stuck }
		n := 0
		w.script.on = func(_ failover.InstanceName, e failover.Event) []failover.Action {
			if _, ok := e.(failover.Report); !ok {
				return nil
			}
			n++
			c := commit(uint64(n-1), "x")
			c.Record.LastOp = &failover.OpSummary{Op: failover.Op{ID: fmt.Sprint(n)}, Outcome: failover.Settled}
			return []failover.Action{failover.Page{Kind: "held", Text: "x"}, c}
		}
		flip := false
		w.script.view = func(failover.InstanceName) failover.View {
			flip = !flip
			return failover.View{Leading: flip}
		}
	}, func(t *testing.T, w *world) {
		defer close(stuck)
		sub := w.Subscribe() // never read
		defer sub.Close()
		var snap Snapshot
		start := time.Now()
		const reports = 5000
		for i := range reports {
			if i == 1 {
				snap, _ = w.Snapshot(orders)
			}
			if err := w.Deliver(orders, failover.Report{Vantage: "van-1"}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("the owner took %s", d)
		}
		if got := w.Stats().Commits; got != reports {
			t.Errorf("%d commits, want %d", got, reports)
		}
		st := w.Stats()
		if st.LogDropped == 0 || st.PagesDropped == 0 || st.HistoryDropped == 0 {
			t.Errorf("what does not fit must be counted: %+v", st)
		}
		if now, _ := w.Snapshot(orders); now.Serials["lab.test."] != reports || snap.Serials["lab.test."] != 1 {
			t.Errorf("snapshots changed or stood still: before %v, now %v", snap.Serials, now.Serials)
		}
	})
}

func TestShutdownLetsTheCommitInHandFinishAndWaitsForEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running atomic.Int32
		w := build(t, func(c *Config, _ *world) {
			c.Page = func(context.Context, failover.InstanceName, failover.Page) {
				running.Add(1)
				defer running.Add(-1)
				time.Sleep(5 * time.Second)
			}
		})
		w.ledger.before = func(ctx context.Context, _ failover.Record) error {
			running.Add(1)
			defer running.Add(-1)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(2 * time.Second):
				return nil
			}
		}
		w.fakes.read = func(context.Context, failover.RecordName) (failover.NameRead, error) {
			running.Add(1)
			defer running.Add(-1)
			time.Sleep(4 * time.Second) // ignores its context
			return failover.NameRead{}, nil
		}
		w.run()
		w.poke(everyAction()[errandRead])
		w.poke(failover.Page{Kind: "held"})
		w.poke(commit(0, "in hand"))
		if running.Load() != 3 {
			t.Fatalf("%d calls under way, want 3", running.Load())
		}
		start := time.Now()
		w.end()
		if n := running.Load(); n != 0 {
			t.Errorf("Run returned with %d calls under way", n)
		}
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("Run returned after %s, want when the last call had ended", d)
		}
		if w.ledger.records[orders].Rev != 1 {
			t.Error("the commit in hand was not let finish")
		}
		if _, err := w.Do(t.Context(), orders, failover.Command{Do: failover.DoPause}); err == nil {
			t.Error("a command after the end was answered")
		}
		if ts, ok := w.Subscribe().Take(); ok || len(ts) > 0 {
			t.Error("a subscription after the end is open")
		}
	})
}

func TestAPanicInTheCoreCostsOneInstanceItsMemoryAndNobodyElseAnything(t *testing.T) {
	var pages []failover.Page
	var mu sync.Mutex
	var log safeLog
	inBubble(t, func(c *Config, w *world) {
		c.Log = slog.New(slog.NewJSONHandler(&log, nil))
		c.Page = func(_ context.Context, _ failover.InstanceName, p failover.Page) {
			mu.Lock()
			defer mu.Unlock()
			pages = append(pages, p)
		}
		w.script.on = func(_ failover.InstanceName, e failover.Event) []failover.Action {
			if c, ok := e.(failover.Command); ok && c.Reason == "fault" {
				panic("fault on purpose")
			}
			return nil
		}
	}, func(t *testing.T, w *world) {
		// An errand of the former life must not be answered in the next.
		misbehave(w, func(context.Context) error { time.Sleep(500 * time.Millisecond); return nil })
		w.poke(everyAction()[errandRead])
		_, err := w.Do(t.Context(), orders, failover.Command{Do: failover.DoPause, Reason: "fault"})
		if err == nil || !strings.Contains(err.Error(), "started again") {
			t.Errorf("the caller got %v", err)
		}
		w.script.forget()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		es := w.script.all(orders)
		if len(es) != 2 {
			t.Fatalf("after the fault: %+v, want Lead and Loaded", es)
		}
		if l, ok := es[0].(failover.Lead); !ok || !l.Leading {
			t.Errorf("first %+v", es[0])
		}
		if _, ok := es[1].(failover.Loaded); !ok {
			t.Errorf("then %+v", es[1])
		}
		if n := len(only[failover.Loaded](w.script, billing)); n != 0 {
			t.Error("the other instance began again as well")
		}
		if st := w.Stats(); st.Faults != 1 || st.LateAnswers != 1 {
			t.Errorf("counted %+v", st)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(pages) != 1 || !strings.Contains(pages[0].Text, "fault on purpose") {
			t.Errorf("paged %+v", pages)
		}
		if s := log.String(); !strings.Contains(s, `"doing":"decide","stack":"goroutine`) {
			t.Errorf("the log does not say where it came from: %s", s)
		}
	})
}

func TestFaultsThatFollowEachOtherPauseLongerEachTime(t *testing.T) {
	var begun []time.Duration // after the fault
	inBubble(t, func(_ *Config, w *world) {
		w.script.on = func(_ failover.InstanceName, e failover.Event) []failover.Action {
			if r, ok := e.(failover.Report); ok && r.Sick == "fault" {
				panic("fault on purpose")
			}
			return nil
		}
	}, func(t *testing.T, w *world) {
		for _, rest := range []time.Duration{0, 0, 0, 2 * time.Minute, 0} {
			time.Sleep(rest)
			w.script.forget()
			at := time.Now()
			if err := w.Deliver(orders, failover.Report{Vantage: "van-1", Sick: "fault"}); err != nil {
				t.Fatal(err)
			}
			for len(only[failover.Lead](w.script, orders)) == 0 {
				time.Sleep(100 * time.Millisecond)
			}
			begun = append(begun, time.Since(at).Round(time.Second))
		}
		if got := fmt.Sprint(begun); got != "[1s 2s 4s 1s 2s]" {
			t.Errorf("pauses %s", got)
		}
	})
}

func TestEveryFinishedOperationReachesTheHistoryOnce(t *testing.T) {
	var got []string
	var mu sync.Mutex
	inBubble(t, func(c *Config, w *world) {
		c.History = func(_ context.Context, i failover.InstanceName, s failover.OpSummary) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprintf("%s %s %s", i, s.Op.ID, s.Outcome))
		}
		w.ledger.records[orders] = failover.Record{
			Instance: orders, Rev: 1,
			LastOp: &failover.OpSummary{Op: failover.Op{ID: "before"}, Outcome: failover.Settled},
		}
	}, func(t *testing.T, w *world) {
		ended := func(rev uint64, id string, how failover.Outcome) failover.Commit {
			c := commit(rev, id)
			c.Record.LastOp = &failover.OpSummary{Op: failover.Op{ID: id}, Outcome: how}
			return c
		}
		w.poke(ended(1, "before", failover.Settled)) // something else changed
		w.poke(ended(2, "one", failover.Settled))
		w.poke(ended(3, "one", failover.Settled))
		w.ledger.after = func(failover.Record) error { return context.DeadlineExceeded }
		w.poke(ended(4, "two", failover.Unwound)) // lands, its answer is lost
		mu.Lock()
		defer mu.Unlock()
		if want := "[orders one settled orders two unwound]"; fmt.Sprint(got) != want {
			t.Errorf("history %v, want %s", got, want)
		}
	})
}

func TestAPanicInAHookIsContained(t *testing.T) {
	inBubble(t, func(c *Config, _ *world) {
		c.Page = func(context.Context, failover.InstanceName, failover.Page) { panic("hook") }
	}, func(_ *testing.T, w *world) {
		w.poke(failover.Page{Kind: "held"}, failover.Page{Kind: "held"})
	})
}
