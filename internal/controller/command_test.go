package controller

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

// obliging answers every command with f.
func obliging(f func(failover.Command) []failover.Action) func(*Config, *world) {
	return func(_ *Config, w *world) {
		w.script.on = func(_ failover.InstanceName, e failover.Event) []failover.Action {
			if c, ok := e.(failover.Command); ok {
				return f(c)
			}
			return nil
		}
	}
}

func TestACommandGetsTheReplyThatBearsItsReference(t *testing.T) {
	inBubble(t, obliging(func(c failover.Command) []failover.Action {
		return []failover.Action{
			failover.Reply{Ref: "somebody else's", Code: failover.ReplyBad},
			failover.Reply{Ref: c.Ref, Code: failover.ReplyRefused, Guard: failover.GuardPaused, Text: c.Reason, OpID: c.OpID},
		}
	}), func(t *testing.T, w *world) {
		var g sync.WaitGroup
		for _, reason := range []string{"one", "two", "three", "four"} {
			g.Go(func() {
				r, err := w.Do(t.Context(), orders, failover.Command{Do: failover.DoFailover, Reason: reason})
				if err != nil || r.Text != reason || r.Code != failover.ReplyRefused {
					t.Errorf("%s: got %+v, %v", reason, r, err)
				}
				if ok, _ := regexp.MatchString(`^\d{8}T\d{6}Z-[0-9a-f]{6}$`, r.OpID); !ok {
					t.Errorf("operation id %q", r.OpID)
				}
			})
		}
		g.Wait()
		r, err := w.Do(t.Context(), orders, failover.Command{Do: failover.DoFailover, OpID: "mine"})
		if err != nil || r.OpID != "mine" {
			t.Errorf("got %+v, %v; a given id is kept", r, err)
		}
	})
}

func TestOperationIdsSortByTime(t *testing.T) {
	at := time.Date(2026, 11, 23, 6, 12, 0, 0, time.FixedZone("", 3600))
	var ids []string
	for i := range 100 {
		ids = append(ids, newID(at.Add(time.Duration(i)*time.Second)))
	}
	if !slices.IsSorted(ids) || ids[0][:17] != "20261123T051200Z-" {
		t.Errorf("ids %v", ids[:3])
	}
	if a, b := newID(at), newID(at); a == b {
		t.Error("two ids of the same second are the same")
	}
}

func TestThatSomethingWasDoneIsSaidOnlyWhenItIsDurable(t *testing.T) {
	for _, c := range []struct {
		code failover.ReplyCode
		fail error
		want error
	}{
		{failover.ReplyDone, nil, nil},
		{failover.ReplyStarted, nil, nil},
		{failover.ReplyDone, errBroken, ErrNotRecorded},
		{failover.ReplyStarted, ErrConflict, ErrNotRecorded},
		{failover.ReplyRefused, errBroken, nil},
	} {
		t.Run(string(c.code)+"/"+map[bool]string{true: "kept", false: "lost"}[c.fail == nil], func(t *testing.T) {
			inBubble(t, func(cfg *Config, w *world) {
				obliging(func(cmd failover.Command) []failover.Action {
					return []failover.Action{failover.Reply{Ref: cmd.Ref, Code: c.code}, commit(0, "pause")}
				})(cfg, w)
				w.ledger.before = func(context.Context, failover.Record) error { time.Sleep(time.Second); return c.fail }
			}, func(t *testing.T, w *world) {
				start := time.Now()
				r, err := w.Do(t.Context(), orders, failover.Command{Do: failover.DoPause})
				if !errors.Is(err, c.want) || r.Code != c.code {
					t.Errorf("got %+v, %v, want %v", r, err, c.want)
				}
				took := time.Since(start)
				if c.code == failover.ReplyRefused && took != 0 {
					t.Errorf("a refusal waited %s for a disk", took)
				}
				if c.code != failover.ReplyRefused && took != time.Second {
					t.Errorf("told after %s, want after the commit", took)
				}
			})
		})
	}
}

func TestACommandWithoutAReplyEndsWithAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := build(t, nil)
		w.run()
		if _, err := w.Do(t.Context(), "nobody", failover.Command{}); !errors.Is(err, ErrUnknownInstance) {
			t.Errorf("unknown instance: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.Do(ctx, orders, failover.Command{Do: failover.DoPause}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("out of patience: %v", err)
		}
		var g sync.WaitGroup
		g.Go(func() {
			if _, err := w.Do(t.Context(), orders, failover.Command{Do: failover.DoPause}); !errors.Is(err, ErrStopped) {
				t.Errorf("shutdown: %v", err)
			}
		})
		synctest.Wait()
		w.end()
		g.Wait()
		if n := len(w.roster.Load().owners[orders].replies.waiting); n != 0 {
			t.Errorf("%d callers are still remembered", n)
		}
	})
}

func TestTooManyCommandsAreRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := build(t, nil) // does not run, so commands pile up
		ctx, cancel := context.WithCancel(t.Context())
		var g sync.WaitGroup
		for range mostCommands {
			g.Go(func() { _, _ = w.Do(ctx, orders, failover.Command{}) })
		}
		synctest.Wait()
		if _, err := w.Do(ctx, orders, failover.Command{}); !errors.Is(err, ErrBusy) {
			t.Errorf("one more: %v", err)
		}
		cancel()
		g.Wait()
	})
}
