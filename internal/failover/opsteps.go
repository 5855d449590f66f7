package failover

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

func (t *turn) intentStep(op *Op) (verdictOn, string, Guard) {
	if v, why, g := t.hooksStep(op); v != pass {
		return v, why, g
	}
	op = t.rec.Op
	if op.Kind != Switchover {
		return pass, "", ""
	}
	if op.LoweredAt.IsZero() {
		if !t.lowerTTL(op) {
			if t.late(op) {
				return unwind, "the TTL could not be lowered in time", ""
			}
			return stay, "", ""
		}
		if !t.lowEverywhere() {
			return stay, "", ""
		}
		op = t.edit().Op
		op.LoweredAt = t.now
		if op.OldTTL > 0 {
			t.note("step", fmt.Sprintf("the TTL of %d s is waited out until %s", op.OldTTL, t.now.Add(seconds(op.OldTTL)).UTC().Format(time.RFC3339)))
		}
	}
	if t.now.Before(op.LoweredAt.Add(seconds(op.OldTTL))) {
		// One that goes back to the old TTL, or never left it, is to be in the bound.
		if t.now.Sub(t.s.verify.at) >= max(t.p.VerifyEvery, lookWhileWaiting) {
			t.do("verify", Verify{Names: slices.Clone(t.rec.Names)})
		}
		return stay, "", ""
	}
	return pass, "", ""
}

// lowerTTL brings every name to the low TTL and remembers the highest that
// was served: old answers live for that long.
func (t *turn) lowerTTL(op *Op) bool {
	low := t.p.LowTTL()
	done := true
	for i := range t.rec.Names {
		n := &t.rec.Names[i]
		is := t.s.carries(n)
		if is <= low {
			continue
		}
		// Caches may hold what was served before, and it need not be over yet.
		if old := max(is, t.s.cached(n.Name, "", t.now)); old > op.OldTTL {
			op = t.edit().Op
			n = &t.rec.Names[i]
			op.OldTTL = old
		}
		if n.Embedded {
			d := t.edit()
			d.Names[i].TTL = low
			t.note("write", fmt.Sprintf("%s TTL %d to %d", n.Name, op.OldTTL, low))
			continue
		}
		done = false
		if n.Want == nil {
			t.want(i, NameWant{Value: n.Value, TTL: low, Mark: t.mark(op.ID), Why: "ttl"})
		}
	}
	return done
}

// lowEverywhere waits until every authority serves the lowered TTL: the old one
// is waited out from there on, not from the write. An authority that does not
// follow cannot be waited for; it is named, and stays in the bound.
func (t *turn) lowEverywhere() bool {
	op, s := t.rec.Op, t.s
	if op.OldTTL == 0 {
		return true // nothing was lowered
	}
	if t.dirty {
		return false // the lowered TTL is committed first
	}
	if s.verify.low >= AgreeRounds {
		return true
	}
	if t.late(op) {
		var left []string
		for _, n := range t.rec.Names {
			a, ok := s.published[n.Name]
			switch {
			case !ok:
				left = append(left, string(n.Name)+": no authority was heard")
			case a.MaxTTL > n.TTL:
				left = append(left, fmt.Sprintf("%s is still served with a TTL of %d s", n.Name, a.MaxTTL))
			default:
				left = append(left, a.Dissent...)
			}
		}
		d := t.edit()
		d.Op.Notes = append(slices.Clone(d.Op.Notes), noteNotLow+strings.Join(left, ", "))
		t.note("step", noteNotLow+strings.Join(left, ", "))
		t.page("ttl", fmt.Sprintf("%s: %s%s; caches that asked there keep the old value for longer", t.p.Instance, noteNotLow, strings.Join(left, ", ")))
		return true
	}
	if s.verify.at.IsZero() || t.now.Sub(s.verify.at) >= t.p.VerifyEvery {
		t.do("verify", Verify{Names: slices.Clone(t.rec.Names)})
	}
	return false
}

// lookWhileWaiting is between two looks at the authorities while an old TTL is
// waited out.
const lookWhileWaiting = 5 * time.Second

const noteNotLow = "not every authority was seen with the lowered TTL in time: "

// fenced says whether the steps about gates have anything to do.
func (t *turn) fenced() bool { return t.p.Gated && t.p.Fence != FenceNone }

func (t *turn) closeStep(op *Op) (verdictOn, string, Guard) {
	if !t.fenced() {
		return pass, "", ""
	}
	if op.CloseAt.IsZero() {
		op = t.edit().Op
		op.CloseAt = t.now
		t.wantGate(op.From, GateClosed)
		return stay, "", ""
	}
	if t.gateProved(op.From, GateClosed) {
		t.proveGate(op.From, GateClosed)
		t.edit().Op.CloseProofAt = t.now
		return pass, "", ""
	}
	t.orderGate(op.From, GateClosed)
	if !t.late(op) {
		return stay, "", ""
	}
	if stepDef(op.Kind, op.Step).Late == LateUnwind {
		return unwind, fmt.Sprintf("the gate of %s was not proved closed in time", op.From), GuardFence
	}
	switch {
	case slices.Contains(op.Override, GuardFence):
	case t.p.Fence == FenceStrict:
		return hold, fmt.Sprintf("the gate of %s is not proved closed, and fence: strict wants it", op.From), GuardFence
	case t.s.clientSince(t.p, op.From, ClientAccepted, op.CloseAt, t.now):
		return hold, fmt.Sprintf("%s still accepts client writes", op.From), GuardFence
	}
	d := t.edit()
	d.Divergence = fmt.Sprintf("open since %s: the gate of %s was not proved closed", op.CloseAt.UTC().Format(time.RFC3339), op.From)
	d.Op.Notes = append(slices.Clone(d.Op.Notes), noteUnproven)
	t.note("step", d.Divergence)
	return pass, "", ""
}

// again asks for a repeated effect, at most once per VerifyEvery.
func (t *turn) again(key string, a Action) {
	if _, busy := t.s.busy[key]; busy || !t.s.askedAt.IsZero() && t.now.Sub(t.s.askedAt) < t.p.VerifyEvery {
		return
	}
	t.s.askedAt = t.now
	t.do(key, a)
}

func (t *turn) openStep(op *Op) (verdictOn, string, Guard) {
	if !t.fenced() {
		return t.lastLook(op)
	}
	if op.OpenAt.IsZero() {
		op = t.edit().Op
		op.OpenAt = t.now
		t.wantGate(op.To, GateOpen)
		return stay, "", ""
	}
	if t.rec.Gates[op.To].Seen == GateOpen {
		return t.lastLook(op)
	}
	if t.gateProved(op.To, GateOpen) {
		t.proveGate(op.To, GateOpen)
		return t.lastLook(op)
	}
	t.orderGate(op.To, GateOpen)
	if !t.late(op) {
		return stay, "", ""
	}
	why := fmt.Sprintf("the gate of %s was not proved open in time", op.To)
	if op.Kind == Switchover || t.s.tally(t.p, op.From, t.now).verdict == Up {
		return unwind, why, GuardFence
	}
	return hold, why, GuardFence
}

const noteUnproven = "gate of old unproven, divergence window open"

// lastLook is the last question before the point of no return: the guards
// about the world, once more, where time has passed since the start.
func (t *turn) lastLook(op *Op) (verdictOn, string, Guard) {
	if t.now.Equal(op.Since) {
		return pass, "", ""
	}
	if !t.namesFresh() {
		return stay, "", ""
	}
	a := t.worldAsk(op, op.Kind)
	for _, r := range a.worldRefusals() {
		if r.Guard == GuardExposure || r.Guard == GuardFence {
			continue // Close and Drain have answered these, on better evidence
		}
		if r.Guard == GuardTilt || r.Guard == GuardLease || r.Guard == GuardLeader {
			return stay, "", "" // they pass by themselves
		}
		if a.old.verdict == Up {
			return unwind, "before the move: " + r.Why, r.Guard
		}
		return hold, "before the move: " + r.Why, r.Guard
	}
	return pass, "", ""
}

// mark is what stands beside a name that this operation writes.
func (t *turn) mark(op string) Mark {
	by := t.p.By
	if by == "" {
		by = "pointsman"
	}
	return Mark{Token: Token{t.term(), t.rec.Epoch}, Op: op, By: by}
}

// move is the point of no return. For embedded names this commit is the DNS
// write; for the others it persists the write that is given out next.
func (t *turn) move() {
	d := t.edit()
	d.Op.TTLOld = t.s.ttlOld(d, d.Op.Targets, t.now)
	for i := range d.Names {
		n := &d.Names[i]
		to, ok := d.Op.Targets[n.Name]
		if !ok || to == "" {
			continue
		}
		if n.Embedded {
			before := n.Value
			n.Value, n.Mark = to, t.mark(d.Op.ID)
			if d.Op.Kind == Failover {
				n.TTL = t.p.TTL
			}
			e := t.note("write", fmt.Sprintf("%s CNAME %s", n.Name, to))
			e.Before, e.After = string(before), string(to)
			continue
		}
		ttl := n.TTL
		if d.Op.Kind == Failover {
			ttl = t.p.TTL
		}
		t.want(i, NameWant{Value: to, TTL: ttl, Mark: t.mark(d.Op.ID), Why: "move"})
	}
}

// past says whether a Move write was given out, or may have been: an
// unanswered call counts.
func (t *turn) past(op *Op) bool { return stepIndex(op.Step) >= stepIndex(StepMove) }

// pageMove says once that a name does not follow, and once more that a person
// has moved it and only the mark is missing.
func (t *turn) pageMove(op *Op, n NameRecord, to Target) {
	f := t.s.names[n.Name]
	why := f.err
	if f.read.Err != "" {
		why = "it cannot be read: " + f.read.Err
	}
	if f.read.Err == "" && f.read.Value == to && n.Want != nil && f.read.Mark == n.Want.Mark.String() {
		return // it landed, and is proved in this turn
	}
	if f.read.Err == "" && f.read.Value == to {
		t.pageOnce("move", string(n.Name)+" by hand", fmt.Sprintf("%s of %s: %s shows the new value, moved by somebody else; only our mark is missing beside it and is tried again: %s", op.Kind, t.p.Instance, n.Name, why))
		return
	}
	t.pageOnce("move", string(n.Name), fmt.Sprintf("%s of %s: %s does not show the new value yet; there is no way back, it is tried again: %s", op.Kind, t.p.Instance, n.Name, why))
}

func (t *turn) moveStep(op *Op) (verdictOn, string, Guard) {
	if st := t.rec.Stop(StopDrift); st != nil {
		return hold, st.Why, GuardDrift
	}
	for _, n := range t.rec.Names {
		to, ok := op.Targets[n.Name]
		if !ok || to == "" {
			continue
		}
		if n.Want != nil || n.Value != to {
			if t.late(op) {
				t.pageMove(op, n, to)
			}
			return stay, "", ""
		}
	}
	t.unpage("move")
	return pass, "", ""
}
