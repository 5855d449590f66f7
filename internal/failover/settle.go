package failover

import (
	"fmt"
	"slices"
	"time"
)

func (t *turn) cutStep(op *Op) (verdictOn, string, Guard) {
	if !t.p.CanCut {
		return pass, "", ""
	}
	c := t.s.cut
	if c != nil && c.Err == "" && len(c.Stragglers) == 0 {
		return pass, "", ""
	}
	if !t.late(op) {
		t.again("cut", Cut{From: op.From, Token: t.rec.Token()})
		return stay, "", ""
	}
	left := []string{"unknown: the cut gave no answer"}
	if c != nil && c.Err == "" {
		left = slices.Clone(c.Stragglers)
	}
	t.edit().Op.Cut = left
	t.note("step", fmt.Sprintf("going on with %d stragglers on %s", len(left), op.From))
	return pass, "", ""
}

func (t *turn) confirmStep(op *Op) (verdictOn, string, Guard) {
	v := t.s.verify
	if v.rounds >= 2 {
		return pass, "", ""
	}
	if t.late(op) {
		var left []string
		for _, n := range t.rec.Names {
			if a, ok := t.s.published[n.Name]; ok && a.Wanted == n.Value {
				left = append(left, a.Dissent...)
			} else {
				left = append(left, fmt.Sprintf("%s: no authority was heard", n.Name))
			}
		}
		t.edit().Op.Stragglers = left
		t.note("step", fmt.Sprintf("not every authority agreed in time: %d stragglers", len(left)))
		t.page("publication", fmt.Sprintf("%s settles with authorities that do not agree: %v", t.p.Instance, left))
		return pass, "", ""
	}
	if v.at.IsZero() || t.now.Sub(v.at) >= t.p.VerifyEvery {
		t.do("verify", Verify{Names: slices.Clone(t.rec.Names)})
	}
	return stay, "", ""
}

// settleStep restores the TTL where it was lowered.
func (t *turn) settleStep(op *Op) (verdictOn, string, Guard) {
	if t.restoreTTL() || t.late(op) {
		return pass, "", ""
	}
	return stay, "", ""
}

func (t *turn) restoreTTL() bool {
	done := true
	for i := range t.rec.Names {
		n := &t.rec.Names[i]
		if n.TTL == t.p.TTL && n.Want == nil {
			continue
		}
		if n.Embedded {
			before := n.TTL
			t.edit().Names[i].TTL = t.p.TTL
			t.note("write", fmt.Sprintf("%s TTL %d to %d", n.Name, before, t.p.TTL))
			continue
		}
		done = false
		if n.Want == nil {
			t.want(i, NameWant{Value: n.Value, TTL: t.p.TTL, Mark: n.Mark, Why: "ttl"})
		}
	}
	return done
}

// settle closes the operation and starts the stops that follow it.
func (t *turn) settle() {
	d := t.edit()
	op := *d.Op
	d.Active = op.To
	if op.Kind == Failover && t.p.Replicated {
		d.Standby = Standby{State: StandbyInvalidated, Why: []string{"it was active until " + op.ID + " and may hold writes that did not cross"}}
	}
	t.note("settle", fmt.Sprintf("%s from %s to %s", op.Kind, op.From, op.To))
	if t.p.Cooldown > 0 {
		t.stop(Stop{Kind: StopCooldown, By: t.p.By, Why: "after " + op.ID, Until: t.now.Add(t.p.Cooldown)})
	}
	if op.Kind == Failover && t.p.NeedAck {
		t.stop(Stop{Kind: StopUnacknowledged, By: t.p.By, Why: op.ID + " was not acknowledged yet"})
	}
	if op.Auto {
		t.countMove()
	}
	t.finish(Settled, "")
}

// countMove keeps the automatic moves of the longest period, and locks out
// when a budget is used up.
func (t *turn) countMove() {
	d := t.edit()
	moves := append(slices.Clone(d.Moves), t.now)
	var longest time.Duration
	for _, b := range t.p.Budget {
		longest = max(longest, b.Per)
	}
	d.Moves = slices.DeleteFunc(moves, func(m time.Time) bool { return t.now.Sub(m) > longest })
	for _, b := range t.p.Budget {
		if n := count(d.Moves, func(m time.Time) bool { return t.now.Sub(m) < b.Per }); n >= b.Moves {
			t.stop(Stop{Kind: StopLockout, By: t.p.By, Why: fmt.Sprintf("%d automatic moves within %s, %d are allowed", n, b.Per, b.Moves)})
			return
		}
	}
}

func (t *turn) finish(o Outcome, why string) {
	d := t.edit()
	d.Op.Held = nil
	d.LastOp = &OpSummary{Op: *d.Op, Outcome: o, At: t.now, Why: why}
	d.Op = nil
	t.owePostHooks()
}
