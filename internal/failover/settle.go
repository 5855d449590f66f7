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
	if v.rounds >= AgreeRounds {
		o := t.edit().Op
		o.PublishedAt, o.Verified = v.first, t.s.askedAddresses()
		o.TTLOld = max(o.TTLOld, t.seenOld(o, v.first))
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
		o := t.edit().Op
		o.Stragglers, o.TTLOld = left, max(o.TTLOld, t.seenOld(o, t.now))
		t.note("step", fmt.Sprintf("not every authority agreed in time: %d stragglers", len(left)))
		t.page("publication", fmt.Sprintf("%s settles with authorities that do not agree: %v", t.p.Instance, left))
		return pass, "", ""
	}
	if v.at.IsZero() || t.now.Sub(v.at) >= t.p.VerifyEvery {
		t.do("verify", Verify{Names: slices.Clone(t.rec.Names)})
	}
	return stay, "", ""
}

// seenOld is the largest TTL with which an old value was seen and may be cached
// at that moment: an authority that followed late served it for longer.
func (t *turn) seenOld(op *Op, at time.Time) uint32 {
	var most uint32
	for n, to := range op.Targets {
		most = max(most, t.s.cached(n, to, at))
	}
	return most
}

// settleStep restores the TTL where it was lowered.
func (t *turn) settleStep(op *Op) (verdictOn, string, Guard) {
	if !t.restoreTTL() {
		if !t.late(op) {
			return stay, "", ""
		}
		t.oweTTL()
	}
	return pass, "", ""
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
		t.invalidateOld(&op)
	}
	t.note("settle", fmt.Sprintf("%s from %s to %s%s", op.Kind, op.From, op.To, op.leftWords()))
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

// invalidateOld: after a failover the old cluster is written to no more, and what
// it may hold alone stands in the record until a person gives it up.
func (t *turn) invalidateOld(op *Op) {
	why := "it was active until " + op.ID
	switch unproven := slices.Contains(op.Notes, noteUnproven); {
	case op.Left != nil:
		t.invalidate(why+" and may hold writes that did not cross", op.Left.Words(op.From, op.To))
	case unproven:
		t.invalidate(why+" and may hold writes that did not cross", "it was drained, and its gate was not proved closed: it may have accepted writes after that")
	case op.CloseProofAt.IsZero():
		t.invalidate(why+" and may hold writes that did not cross", "it was drained, and nothing closes it: it may have accepted writes after that")
	default:
		t.invalidate(why+", was closed and drained", "")
	}
}

// leftWords say, of an operation that moved the name, what it left behind.
func (s *OpSummary) leftWords() string {
	if s.Outcome != Settled {
		return ""
	}
	return s.Op.leftWords()
}

// leftWords say what the drain left behind, where it left anything.
func (o *Op) leftWords() string {
	if o.Left == nil {
		return ""
	}
	return "; " + o.Left.Words(o.From, o.To)
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
