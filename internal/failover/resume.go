package failover

import (
	"fmt"
)

// resume decides what becomes of an operation that an earlier life began. It
// returns true when the operation goes on.
//
// Cut, Confirm and Settle need no votes. At Move the names are read first and
// the write point decides. Before that: old up and fresh by the quorum means
// unwind; old down means go on under fresh guards; unknown means wait, and
// write nothing.
func (t *turn) resume() bool {
	s, op := t.s, t.rec.Op
	if t.past(op) || op.Unwind {
		t.resumed("forward")
		return true
	}
	if !t.claimedNames() {
		if st := t.rec.Stop(StopDrift); st != nil {
			t.hold("resumed, and "+st.Why, GuardDrift)
		}
		return false
	}
	if !s.adopted {
		return false
	}
	old := s.tally(t.p, op.From, t.now)
	switch {
	case op.Step == StepOpen && t.landed(op):
		t.resumed("client writes already landed on new: forward only")
		t.rec.Op.ForwardOnly = true
		return true
	case old.verdict == Up:
		t.resumed("old is up: unwind")
		t.beginUnwind("resumed, and " + string(op.From) + " is up")
		return true
	case old.verdict == Down && old.rodeOut(t.p, t.now):
		kind := op.Kind
		if kind == Switchover {
			if v, why, g := t.becomeFailover(op); v == hold {
				t.hold(why, g)
				return false
			}
			t.resumed("the switchover became a failover")
			return true
		}
		if r := t.worldAsk(op, kind).worldRefusals(); len(r) > 0 {
			t.hold("resumed with old down, and going on is refused: "+r[0].Why, r[0].Guard)
			return false
		}
		t.resumed("old is down: go on")
		return true
	}
	if old.verdict == Unknown {
		t.hold(fmt.Sprintf("resumed, and whether %s lives is unknown: %s", op.From, old.words()), GuardDomains)
	}
	return false
}

// landed says whether client writes were accepted by new after its gate was
// ordered open: proved by an earlier life, or seen by this one.
func (t *turn) landed(op *Op) bool {
	return !op.OpenAt.IsZero() && t.fenced() &&
		(t.rec.Gates[op.To].Seen == GateOpen || t.s.clientSince(t.p, op.To, ClientAccepted, op.OpenAt, t.now))
}

func (t *turn) resumed(why string) {
	t.s.resuming = false
	op := t.edit().Op
	op.Held, op.StepSince = nil, t.now
	t.note("resume", fmt.Sprintf("%s at %s under term %d: %s", op.ID, op.Step, t.term(), why))
}
