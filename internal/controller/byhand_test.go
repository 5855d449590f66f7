package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// TestTheProviderIsGoneForTenMinutes: in the middle of a failover nothing gets
// through any more. It goes on being decided, is tried again within a budget,
// and people are paged once, with the exact command. What they do by it is taken
// for done; where they do nothing, it goes on when the provider is back.
func TestTheProviderIsGoneForTenMinutes(t *testing.T) {
	for name, byHand := range map[string]bool{"it comes back": false, "a person does it": true} {
		t.Run(name, func(t *testing.T) {
			play(t, false, func(s *stage, _ failover.Policy) {
				s.mu.Lock()
				s.pass = func(point string) {
					if r := s.record(); point == "write-name/before" && r.Op != nil && r.Op.Step == failover.StepMove {
						s.zone.cut(true)
					}
				}
				s.mu.Unlock()
				s.kill("a")
				s.until("the move", func() bool { r := s.record(); return r.Op != nil && r.Op.Step == failover.StepMove })
				s.zone.mu.Lock()
				s.zone.tries = 0
				s.zone.mu.Unlock()
				time.Sleep(5 * time.Minute)
				s.mu.Lock()
				s.pass = nil
				s.down["a"] = false // news of the world meanwhile
				s.mu.Unlock()
				time.Sleep(5 * time.Minute)
				snap, _ := s.Snapshot(orders)
				v := failover.Look(&snap.State, snap.Policy, time.Now())
				if v.Clusters[0].Verdict != failover.Up || v.Op == nil || v.Op.Step != failover.StepMove {
					t.Errorf("it does not decide any more, or gave up: %+v", v)
				}
				s.zone.mu.Lock()
				tries := s.zone.tries
				s.zone.mu.Unlock()
				// At most five seconds apart, after the first ones.
				if tries < 100 || tries > 160 {
					t.Errorf("%d calls in ten minutes", tries)
				}
				r := s.record()
				want := r.Names[0].Want
				command := fmt.Sprintf("; by hand: set %s from a.example. to b.example. %d %q", r.Names[0].Name, want.TTL, want.Mark)
				pages := 0
				for line := range strings.Lines(s.log.String()) {
					if strings.Contains(line, "kind=move") {
						pages++
						if !strings.Contains(strings.ReplaceAll(line, `\"`, `"`), command) {
							t.Errorf("%s\nlacks %s", line, command)
						}
					}
				}
				if pages != 1 {
					t.Errorf("%d pages", pages)
				}
				if byHand {
					s.zone.mu.Lock()
					s.zone.value, s.zone.ttl, s.zone.mark = want.Value, want.TTL, want.Mark.String()
					s.zone.mu.Unlock()
				}
				s.zone.cut(false)
				s.until("the end", func() bool { r := s.record(); return r.Op == nil && r.Active == "b" })
				value, _, past := s.zone.look()
				writes := 0
				for _, p := range past {
					if p == "b.example." {
						writes++
					}
				}
				if value != "b.example." || writes != map[bool]int{false: 1, true: 0}[byHand] {
					t.Errorf("%s, and %d writes of the new value: %v", value, writes, past)
				}
			})
		})
	}
}
