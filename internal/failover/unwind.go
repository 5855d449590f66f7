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
	t.note("unwind", why)
	t.page("unwind", fmt.Sprintf("%s of %s is unwound: %s", op.Kind, t.p.Instance, why))
}

// unwindStep runs backwards: close new and prove it, open old and prove it,
// restore the TTL, close the operation. So no abort leaves a cluster
// read-only (percona/orchestrator#43).
func (t *turn) unwindStep() {
	op := t.rec.Op
	if t.fenced() && !op.OpenAt.IsZero() && !t.unopen(op) {
		return
	}
	op = t.rec.Op
	if t.fenced() && !op.CloseAt.IsZero() && !t.unclose(op) {
		return
	}
	if !t.restoreTTL() {
		return
	}
	d := t.edit()
	op = d.Op
	t.note("unwind", fmt.Sprintf("%s from %s to %s ended before the move: %s", op.Kind, op.From, op.To, op.UnwindWhy))
	t.finish(Unwound, op.UnwindWhy)
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
	if t.p.Fence == FenceStrict {
		t.hold(why, GuardFence)
		return false
	}
	if !slices.Contains(op.Notes, why) {
		t.edit().Op.Notes = append(slices.Clone(op.Notes), why)
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
	t.s.gates[c] = g
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
