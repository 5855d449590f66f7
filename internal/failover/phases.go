package failover

import (
	"cmp"
	"slices"
	"time"
)

// PhaseTime is a stretch of a finished operation.
type PhaseTime struct {
	Phase string        `json:"phase"` // detect, decide, hooks, or the step
	Took  time.Duration `json:"took_ns"`
}

// Phases of a failover that automation began, besides its steps.
const (
	PhaseDetect = "detect" // from the first miss that counts to the verdict of the quorum
	PhaseDecide = "decide" // from there to the intent: ride-out, guards, what was still missing
	PhaseHooks  = "hooks"  // of every operation with pre-hooks: from the intent to their answer
)

// Phases splits the time of a finished operation from the fault, or without one
// from the command, to its end. They lie one behind the other; one that took no
// time is left out. Of an operation that was unwound the way back is in it, too.
func (s *OpSummary) Phases() []PhaseTime {
	var out []PhaseTime
	add := func(phase string, from, to time.Time) {
		if d := to.Sub(from); d > 0 {
			out = append(out, PhaseTime{phase, d})
		}
	}
	op := &s.Op
	if from := s.began(); from.Before(op.Since) {
		detected := op.DetectedAt
		if detected.Before(from) || detected.After(op.Since) {
			detected = op.Since
		}
		add(PhaseDetect, from, detected)
		add(PhaseDecide, detected, op.Since)
	}
	steps := make([]StepName, 0, len(op.StepAt))
	for n := range op.StepAt {
		steps = append(steps, n)
	}
	slices.SortFunc(steps, func(a, b StepName) int {
		return cmp.Or(op.StepAt[a].Compare(op.StepAt[b]), cmp.Compare(slices.Index(stepOrder, a), slices.Index(stepOrder, b)))
	})
	for i, n := range steps {
		end := s.At
		if i+1 < len(steps) {
			end = op.StepAt[steps[i+1]]
		}
		from := op.StepAt[n]
		if asked := op.askedHooks(from, end); n == StepIntent && !asked.IsZero() {
			add(PhaseHooks, from, asked)
			from = asked
		}
		add(string(n), from, end)
	}
	return out
}

// began is the fault, or the command where there was none.
func (s *OpSummary) began() time.Time {
	if f := s.Op.FaultAt; !f.IsZero() && f.Before(s.Op.Since) {
		return f
	}
	return s.Op.Since
}

// RTO is how long it took from the fault, or without one from the command, until
// every write point showed the new value; false where that never came. What
// resolvers and clients keep longer is not in it.
func (s *OpSummary) RTO() (time.Duration, bool) {
	if s.Op.MovedAt.IsZero() || s.Outcome != Settled {
		return 0, false
	}
	return s.Op.MovedAt.Sub(s.began()), true
}

// Slowest is the longest of the phases; of none it is empty.
func Slowest(ps []PhaseTime) PhaseTime {
	if len(ps) == 0 {
		return PhaseTime{}
	}
	return slices.MaxFunc(ps, func(a, b PhaseTime) int { return cmp.Compare(a.Took, b.Took) })
}
