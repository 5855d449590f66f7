package failover

import (
	"fmt"
	"testing"
	"time"
)

func TestPhasesOfAnOperation(t *testing.T) {
	t0 := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }
	steps := func(ms ...int) map[StepName]time.Time {
		m := map[StepName]time.Time{}
		for i, x := range ms {
			m[stepOrder[i]] = at(x)
		}
		return m
	}
	for name, c := range map[string]struct {
		s    OpSummary
		want string
		rto  string
	}{
		"a failover by itself": {
			OpSummary{Op: Op{FaultAt: at(0), DetectedAt: at(40), Since: at(3040), StepAt: steps(3040, 3040, 3040, 3040, 3040, 3090, 3090, 3600), MovedAt: at(3090)}, Outcome: Settled, At: at(3700)},
			"detect 40ms, decide 3s, move 50ms, confirm 510ms, settle 100ms; slowest decide", "3.09s",
		},
		"a switchover": {
			OpSummary{Op: Op{Since: at(0), StepAt: steps(0, 30000, 30010, 30010, 30500, 30520, 30521, 31000), MovedAt: at(30520)}, Outcome: Settled, At: at(31000)},
			"intent 30s, close 10ms, open 490ms, move 20ms, cut 1ms, confirm 479ms; slowest intent", "30.52s",
		},
		"a failover on command, of a cluster that nobody called down": {
			OpSummary{Op: Op{Since: at(0), StepAt: steps(0, 0, 0, 0, 0, 7, 7, 9), MovedAt: at(7)}, Outcome: Settled, At: at(9)},
			"move 7ms, confirm 2ms; slowest move", "7ms",
		},
		"detected under an earlier life": {
			OpSummary{Op: Op{FaultAt: at(0), DetectedAt: at(9000), Since: at(500), StepAt: steps(500, 500, 500, 500, 500, 600), MovedAt: at(600)}, Outcome: Settled, At: at(700)},
			"detect 500ms, move 100ms, cut 100ms; slowest detect", "600ms",
		},
		"a fault after the start is none": {
			OpSummary{Op: Op{FaultAt: at(50), DetectedAt: at(60), Since: at(0), StepAt: steps(0, 0, 0, 0, 0, 100), MovedAt: at(100)}, Outcome: Settled, At: at(100)},
			"move 100ms; slowest move", "100ms",
		},
		"unwound": {
			OpSummary{Op: Op{FaultAt: at(0), DetectedAt: at(10), Since: at(20), StepAt: map[StepName]time.Time{StepIntent: at(20), StepClose: at(80), StepDrain: at(30)}}, Outcome: Unwound, At: at(100)},
			"detect 10ms, decide 10ms, intent 10ms, drain 50ms, close 20ms; slowest drain", "never",
		},
		"pre-hooks were asked": {
			OpSummary{Op: Op{Since: at(0), Hooks: &OpHooks{At: at(900)}, StepAt: steps(0, 31000, 31000, 31000, 31000, 31020), MovedAt: at(31020)}, Outcome: Settled, At: at(31100)},
			"hooks 900ms, intent 30.1s, move 20ms, cut 80ms; slowest intent", "31.02s",
		},
		"pre-hooks vetoed": {
			OpSummary{Op: Op{Since: at(0), Hooks: &OpHooks{At: at(900), Veto: "no"}, StepAt: steps(0)}, Outcome: Unwound, At: at(901)},
			"hooks 900ms, intent 1ms; slowest hooks", "never",
		},
		"a record without steps": {OpSummary{Op: Op{Since: at(0)}, Outcome: Settled, At: at(10)}, "; slowest ", "never"},
	} {
		ps := c.s.Phases()
		got := ""
		for i, p := range ps {
			if i > 0 {
				got += ", "
			}
			got += fmt.Sprintf("%s %s", p.Phase, p.Took)
		}
		got += "; slowest " + Slowest(ps).Phase
		rto := "never"
		if d, ok := c.s.RTO(); ok {
			rto = d.String()
		}
		if got != c.want || rto != c.rto {
			t.Errorf("%s:\n%s, RTO %s, want\n%s, RTO %s", name, got, rto, c.want, c.rto)
		}
	}
}

// Whatever a history of the property tests came to, its phases fill the time
// from its beginning to its end and overlap nowhere.
func fillsItsTime(s *OpSummary) error {
	sum := time.Duration(0)
	for _, p := range s.Phases() {
		sum += p.Took
	}
	if whole := s.At.Sub(s.began()); sum != whole {
		return fmt.Errorf("the phases %v of %+v take %s, and it took %s", s.Phases(), s, sum, whole)
	}
	return nil
}
