package controller

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

// A read that was asked for before the core began anew shows what the name
// was then; arriving later it would pass for news.
func TestNoAnswerOfBeforeComesAfterTheCoreBeganAnew(t *testing.T) {
	for _, c := range []struct {
		name  string
		begin func(*world)
		is    func(failover.Event) bool
	}{
		{
			"the record was read again",
			func(w *world) { w.poke(commit(99, "stale")) },
			func(e failover.Event) bool { _, ok := e.(failover.Loaded); return ok },
		},
		{
			"the term rose",
			func(w *world) { w.SetLead(lead(8)) },
			func(e failover.Event) bool { l, ok := e.(failover.Lead); return ok && l.Term == 8 },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, w *world) {
				var ended atomic.Int32
				slow := func(ctx context.Context) error {
					time.Sleep(time.Second) // and returns all the same
					if ctx.Err() != nil {
						ended.Add(1)
					}
					return nil
				}
				w.fakes.read = func(ctx context.Context, _ failover.RecordName) (failover.NameRead, error) {
					return failover.NameRead{Value: "a.example."}, slow(ctx)
				}
				w.fakes.drain = func(ctx context.Context) (failover.Drained, error) {
					return failover.Drained{Empty: true}, slow(ctx)
				}
				w.poke(everyAction()[errandRead], everyAction()[errandDrain])
				w.script.forget()
				c.begin(w)
				time.Sleep(5 * time.Second)
				synctest.Wait()
				var order []string
				for _, e := range w.script.all(orders) {
					switch {
					case c.is(e):
						order = append(order, "anew")
					default:
						for _, errand := range []string{errandRead, errandDrain} {
							if got, ok := word(errand, e); ok {
								order = append(order, errand+" "+strings.Fields(got)[0])
							}
						}
					}
				}
				if got := fmt.Sprint(order); got != "[read-name failed: drain failed: anew]" {
					t.Errorf("events %s", got)
				}
				if ended.Load() != 2 {
					t.Errorf("%d of 2 calls were told to end", ended.Load())
				}
				if n := w.Stats().LateAnswers; n != 2 {
					t.Errorf("%d late answers counted, want 2", n)
				}
			})
		})
	}
}
