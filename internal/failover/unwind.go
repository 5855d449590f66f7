package failover

import (
	"fmt"
	"slices"
	"time"
)

// beginUnwind turns the operation round. Only before the point of no return.
func (t *turn) beginUnwind(why string) {
	op := t.edit().Op
	op.Unwind, op.UnwindWhy, op.Held, op.StepSince = true, why, nil, t.now
	op.Consent, op.Left = nil, nil // to go forward again is another question
	t.note("unwind", why)
	t.page("unwind", fmt.Sprintf("%s of %s is unwound: %s", op.Kind, t.p.Instance, why))
}

// unwindStep runs backwards: close new and prove it, open old and prove it,
// restore the TTL, close the operation. So no abort leaves a cluster
// read-only (percona/orchestrator#43).
func (t *turn) unwindStep() {
	op := t.rec.Op
	if t.oldDiedMeanwhile(op) {
		return
	}
	if t.fenced() && !op.OpenAt.IsZero() && !t.unopen(op) {
		return
	}
	op = t.rec.Op
	if t.fenced() && !op.CloseAt.IsZero() && !t.unclose(op) {
		return
	}
	if !t.restoreTTL() && !t.leaveTTL(op) {
		return
	}
	d := t.edit()
	op = d.Op
	if slices.Contains(op.Notes, noteUnproven) && (op.OpenAt.IsZero() || d.Gates[op.To].Seen == GateClosed) {
		d.Divergence = "" // the name never moved, and new is closed
	}
	t.note("unwind", fmt.Sprintf("%s from %s to %s ended before the move: %s", op.Kind, op.From, op.To, op.UnwindWhy))
	t.finish(Unwound, op.UnwindWhy)
}

// oldDiedMeanwhile: old was lost for ride_out while the operation ran
// backwards. There is nothing left to unwind to; the operation turns round once
// more, as a failover, where automation may, or waits for a person.
func (t *turn) oldDiedMeanwhile(op *Op) bool {
	old := t.s.tally(t.p, op.From, t.now)
	if !old.rodeOut(t.p, t.now) || !t.mayTurnBack(op) || !old.downSince.After(op.StepSince) {
		return false // it was lost before: whoever turned the operation round knew
	}
	if !t.s.shadow(t.p) && t.s.level(t.p) == AutoAuto || op.OrFailover {
		if len(t.worldAsk(op, Failover).worldRefusals()) == 0 {
			t.turnBack(string(op.From) + " was lost while it was unwound")
			return true
		}
	}
	t.hold(fmt.Sprintf("%s was lost while it was unwound: pointsman failover %s --to %s goes forward again", op.From, t.p.Instance, op.To), GuardSource)
	return true
}

// mayTurnBack: an unwinding operation can go forward again while new lives.
func (t *turn) mayTurnBack(op *Op) bool {
	return t.s.tally(t.p, op.To, t.now).verdict == Up && t.s.tally(t.p, op.From, t.now).verdict == Down
}

// turnBack makes an unwinding operation a failover, from Close on; from Intent
// where nothing was begun and hooks must be asked.
func (t *turn) turnBack(why string) {
	t.convert(why)
	op := t.rec.Op
	op.Unwind, op.UnwindWhy, op.Held = false, "", nil
	op.CloseAt, op.OpenAt = time.Time{}, time.Time{}
	if op.Step != StepIntent || !t.awaitsHooks(op) {
		op.Step = StepClose
	}
}

// leaveTTL ends the wait for a provider that does not take the old TTL back:
// the operation ends, and the write is tried again from the record.
func (t *turn) leaveTTL(op *Op) bool {
	if t.now.Sub(op.StepSince) < 30*time.Second {
		return false
	}
	t.oweTTL()
	t.page("ttl", fmt.Sprintf("%s was unwound, and its TTL is not restored yet; it is tried again", t.p.Instance))
	return true
}

// oweTTL makes each write that is still waited for one of the policy's TTL,
// whatever it is for: nobody restores a TTL once the operation is over.
func (t *turn) oweTTL() {
	for i, n := range t.rec.Names {
		if n.Want != nil && n.Want.Value == n.Value && n.Want.TTL != t.p.TTL {
			t.want(i, NameWant{Value: n.Value, TTL: t.p.TTL, Mark: n.Want.Mark, Over: n.Want.Over, Why: "ttl"})
		}
	}
}

// unopen closes the gate of new again. True when that is proved, or may be
// left unproven.
func (t *turn) unopen(op *Op) bool {
	g := t.rec.Gates[op.To]
	if g.Want != GateClosed {
		t.wantGate(op.To, GateClosed)
		return false
	}
	if g.Seen == GateClosed {
		return true
	}
	if t.gateProved(op.To, GateClosed) {
		t.proveGate(op.To, GateClosed)
		return true
	}
	t.orderGate(op.To, GateClosed)
	if t.now.Sub(op.StepSince) < graceUnprovenClose {
		return false
	}
	why := fmt.Sprintf("the gate of %s is not proved closed again", op.To)
	if t.p.Fence == FenceStrict && !slices.Contains(op.Override, GuardFence) {
		t.hold(why, GuardFence)
		return false
	}
	if !slices.Contains(op.Notes, why) {
		d := t.edit()
		d.Op.Notes = append(slices.Clone(op.Notes), why)
		d.Divergence = fmt.Sprintf("open since %s: %s", op.OpenAt.UTC().Format(time.RFC3339), why)
		t.note("unwind", why+"; old is reopened all the same")
		t.page("unwind", why)
	}
	return true
}

// unclose opens the gate of old again and waits for the proof.
func (t *turn) unclose(op *Op) bool {
	g := t.rec.Gates[op.From]
	if g.Want != GateOpen {
		t.wantGate(op.From, GateOpen)
		return false
	}
	if g.Seen == GateOpen {
		return true
	}
	if t.gateProved(op.From, GateOpen) {
		t.proveGate(op.From, GateOpen)
		return true
	}
	t.orderGate(op.From, GateOpen)
	if t.now.Sub(op.StepSince) > 2*graceUnprovenClose {
		if slices.Contains(op.Override, GuardFence) {
			t.edit().Op.Notes = append(slices.Clone(op.Notes), fmt.Sprintf("the gate of %s is not proved open", op.From))
			return true // it goes on being ordered open: the record wants it so
		}
		t.hold(fmt.Sprintf("the gate of %s is not proved open again; it is ordered again and again", op.From), GuardFence)
	}
	return false
}

// wantGate commits what a gate shall be before it is ordered.
func (t *turn) wantGate(c ClusterName, w GateWant) {
	d := t.edit()
	gates := map[ClusterName]Gate{}
	for k, v := range d.Gates {
		gates[k] = v
	}
	gates[c] = Gate{Want: w}
	d.Gates = gates
	e := t.note("gate", fmt.Sprintf("gate of %s is ordered %s", c, w))
	e.After = string(w)
}

func (t *turn) proveGate(c ClusterName, w GateWant) {
	d := t.edit()
	gates := map[ClusterName]Gate{}
	for k, v := range d.Gates {
		gates[k] = v
	}
	gates[c] = Gate{Want: w, Seen: w, ProofAt: t.now}
	d.Gates = gates
	t.note("proof", fmt.Sprintf("gate of %s is proved %s by client probes", c, w))
}

// gateProved says whether a quorum of client writes shows the gate as it was
// ordered. Only writes sent after the driver answered our last order count: an
// earlier order of the other kind may still be on its way.
func (t *turn) gateProved(c ClusterName, w GateWant) bool {
	g := t.s.gates[c]
	if g.want != w || g.done.IsZero() {
		return false
	}
	want := ClientAccepted
	if w == GateClosed {
		want = ClientRefused
	}
	return t.s.clientQuorum(t.p, c, want, g.done, t.now)
}

// orderGate orders the driver, again every round until the proof is there: an
// order whose answer was lost may have been lost itself.
func (t *turn) orderGate(c ClusterName, w GateWant) {
	g := t.s.gates[c]
	if !g.sent.IsZero() && t.now.Sub(g.sent) < t.p.Round || t.dirty {
		return
	}
	key := "gate:" + string(c)
	if _, busy := t.s.busy[key]; busy {
		return
	}
	g.sent, g.want, g.done = t.now, w, time.Time{}
	set(&t.s.gates, c, g)
	t.do(key, SetGate{Cluster: c, Want: w, Token: t.rec.Token()})
}

// keepGates holds the gates where the record wants them while nothing else is
// going on: a returned old side is closed before clients write to it.
func (t *turn) keepGates() {
	if !t.fenced() {
		return
	}
	for _, c := range t.p.Clusters {
		g, ok := t.rec.Gates[c]
		if !ok || g.Seen == g.Want {
			continue
		}
		if t.gateProved(c, g.Want) {
			t.proveGate(c, g.Want)
			continue
		}
		t.orderGate(c, g.Want)
	}
}
