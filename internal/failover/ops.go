package failover

import (
	"fmt"
	"slices"
	"time"
)

// start commits a new operation. Steps that have nothing to do are passed at
// once, so where nothing has to be closed, drained or opened, intent and move
// of embedded names are one commit.
func (t *turn) start(a *ask, c Command, consent *Consent) {
	d := t.edit()
	d.Epoch++
	op := &Op{
		ID: fmt.Sprintf("%s-%s", t.p.Instance, d.Token()), Kind: a.kind, Step: StepIntent,
		From: a.from, To: a.to, Auto: a.auto, By: c.By, Reason: c.Reason, PlanHash: c.PlanHash,
		Since: t.now, StepSince: t.now, StepAt: map[StepName]time.Time{StepIntent: t.now},
		Override: slices.Clone(c.Override), Consent: consent,
		OrFailover: c.OrFailover, AcceptPinned: c.AcceptPinned, DetectedAt: t.s.detected,
	}
	if a.old.verdict == Down {
		op.FaultAt = a.old.downSince
	}
	op.Evidence = append(op.Evidence, a.old.lines()...)
	op.Evidence = append(op.Evidence, a.new.lines()...)
	if t.p.Replicated {
		if b, known := t.s.bound(t.p, t.now); known {
			op.LossBound = b.String()
		} else {
			op.LossBound = "unknown"
		}
	}
	d.Op = op
	e := t.note("intent", fmt.Sprintf("%s from %s to %s: %s", a.kind, a.from, a.to, c.Reason))
	e.By, e.Before, e.After = c.By, string(a.from), string(a.to)
	t.advance()
}

// operate goes on with the operation in hand.
func (t *turn) operate() {
	if t.p.ForceShadow {
		t.page("held", "started with --shadow: the operation in the record is left as it is")
		return
	}
	if t.s.resuming {
		if !t.resume() {
			return
		}
	}
	t.advance()
}

// verdictOn is what one look at a step says.
type verdictOn int

const (
	stay   verdictOn = iota // its proof is still awaited
	pass                    // its proof is there, or it has nothing to do
	hold                    // it waits for a person
	unwind                  // back to the state before the operation
)

// advance passes every step whose proof is there, in one draft.
func (t *turn) advance() {
	for {
		op := t.rec.Op
		if op == nil {
			return
		}
		if op.Unwind {
			t.unwindStep()
			return
		}
		v, why, guard := t.look(op)
		switch v {
		case stay:
			t.unhold()
			return
		case hold:
			t.hold(why, guard)
			return
		case unwind:
			if op.ForwardOnly {
				t.hold(why, guard)
				return
			}
			t.beginUnwind(why)
			continue
		}
		t.unhold()
		if op.Step == StepSettle {
			t.settle()
			return
		}
		t.enter(nextStep(op.Step))
	}
}

func (t *turn) enter(n StepName) {
	op := t.edit().Op
	op.Step, op.StepSince = n, t.now
	at := map[StepName]time.Time{}
	for k, v := range op.StepAt {
		at[k] = v
	}
	at[n] = t.now
	op.StepAt = at
	if n == StepMove {
		t.move()
	}
	if n == StepCut {
		op.MovedAt = t.now
		t.rec.Active = op.To
	}
}

func (t *turn) hold(why string, g Guard) {
	if h := t.rec.Op.Held; h != nil && h.Guard == g && (g != "" || h.Why == why) {
		return // the words may count down; the reason is the same
	}
	t.edit().Op.Held = &Held{Why: why, Guard: g, Since: t.now}
	t.note("held", why)
	t.pageOnce("held", string(g)+string(t.rec.Op.Step), fmt.Sprintf("%s of %s is held at %s: %s", t.rec.Op.Kind, t.p.Instance, t.rec.Op.Step, why))
}

func (t *turn) unhold() {
	if t.rec.Op.Held != nil {
		t.edit().Op.Held = nil
		t.note("step", "no longer held")
		t.unpage("held")
	}
}

// look asks the step in hand for its proof. Steps before the Move also ask
// whether the world still wants it.
func (t *turn) look(op *Op) (verdictOn, string, Guard) {
	if op.Step != StepIntent && stepIndex(op.Step) < stepIndex(StepMove) || op.Step == StepIntent && op.Kind == Switchover {
		if v, why, g := t.stillWanted(op); v != pass {
			return v, why, g
		}
	}
	switch op.Step {
	case StepIntent:
		return t.intentStep(op)
	case StepClose:
		return t.closeStep(op)
	case StepDrain:
		return t.drainStep(op)
	case StepOpen:
		return t.openStep(op)
	case StepMove:
		return t.moveStep(op)
	case StepCut:
		return t.cutStep(op)
	case StepConfirm:
		return t.confirmStep(op)
	default:
		return t.settleStep(op)
	}
}

// stillWanted: before the point of no return a target that turned sick ends
// the operation, and a switchover that finds old down becomes a failover or
// waits for a person.
func (t *turn) stillWanted(op *Op) (verdictOn, string, Guard) {
	old, target := t.s.tally(t.p, op.From, t.now), t.s.tally(t.p, op.To, t.now)
	if target.verdict == Down {
		if old.verdict == Up {
			return unwind, fmt.Sprintf("%s turned down before the move: %s", op.To, target.words()), GuardTarget
		}
		return hold, fmt.Sprintf("%s turned down before the move, and %s is %s", op.To, op.From, old.words()), GuardTarget
	}
	switch {
	case op.Kind == Switchover && old.rodeOut(t.p, t.now):
		return t.becomeFailover(op)
	case op.Kind == Failover && op.Auto && old.verdict == Up:
		return unwind, fmt.Sprintf("%s came back before the move: %s", op.From, old.words()), GuardSource
	}
	return pass, "", ""
}

// becomeFailover turns a switchover that found old down into a failover, in
// one commit that keeps its close proof.
func (t *turn) becomeFailover(op *Op) (verdictOn, string, Guard) {
	if !op.OrFailover && (t.rec.Mode != ModeAuto || t.p.Auto != AutoAuto) {
		return hold, fmt.Sprintf("%s turned down during a switchover: pointsman failover %s --to %s makes it a failover, pointsman abort %s ends it", op.From, t.p.Instance, op.To, t.p.Instance), GuardSource
	}
	if r := t.worldAsk(op, Failover).worldRefusals(); len(r) > 0 {
		return hold, fmt.Sprintf("%s turned down during a switchover, and a failover is refused: %s", op.From, r[0].Why), r[0].Guard
	}
	t.convert("old turned down during a switchover")
	return stay, "", ""
}

func (t *turn) convert(why string) {
	d := t.edit()
	d.Epoch++
	before := d.Op.ID
	d.Op.ID = fmt.Sprintf("%s-%s", t.p.Instance, d.Token())
	d.Op.Kind, d.Op.Reason, d.Op.Held = Failover, why, nil
	d.Op.StepSince = t.now
	if old := t.s.tally(t.p, d.Op.From, t.now); old.verdict == Down {
		d.Op.FaultAt, d.Op.DetectedAt = old.downSince, t.s.detected
	}
	d.Op.Notes = append(slices.Clone(d.Op.Notes), "was switchover "+before)
	e := t.note("intent", fmt.Sprintf("switchover %s becomes failover: %s", before, why))
	e.Before, e.After = string(d.Op.From), string(d.Op.To)
	t.unpage("held")
}

// worldAsk puts the guards about the world to an operation that was begun.
func (t *turn) worldAsk(op *Op, kind OpKind) *ask {
	a := t.s.ask(t.p, kind, op.To, op.Auto, t.now)
	a.override = op.Override
	if c := op.Consent; c != nil && t.now.Before(c.Expires) {
		a.acceptLoss = &c.Loss
	}
	return a
}

// late says whether the budget of the step is used up.
func (t *turn) late(op *Op) bool {
	b := t.p.budget(op.Kind, op.Step)
	return b > 0 && t.now.Sub(op.StepSince) >= b
}

func (t *turn) intentStep(op *Op) (verdictOn, string, Guard) {
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
		t.edit().Op.LoweredAt = t.now
		op = t.rec.Op
	}
	if t.now.Before(op.LoweredAt.Add(time.Duration(op.OldTTL) * time.Second)) {
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
		if n.TTL <= low {
			continue
		}
		if n.TTL > op.OldTTL {
			op = t.edit().Op
			n = &t.rec.Names[i]
			op.OldTTL = n.TTL
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
	d.Op.Notes = append(slices.Clone(d.Op.Notes), "gate of old unproven, divergence window open")
	t.note("step", d.Divergence)
	return pass, "", ""
}

func (t *turn) drainStep(op *Op) (verdictOn, string, Guard) {
	if !t.p.Replicated {
		return pass, "", ""
	}
	if d := t.s.drained; d != nil && d.Empty {
		t.note("step", "drained: nothing is left on "+string(op.From))
		return pass, "", ""
	}
	if !t.late(op) {
		t.again("drain", Drain{From: op.From, Until: op.CloseProofAt})
		return stay, "", ""
	}
	if stepDef(op.Kind, op.Step).Late == LateUnwind {
		return unwind, "not drained in time", GuardExposure
	}
	bound, known := t.s.bound(t.p, t.now)
	if d := t.s.drained; d != nil && d.Bound >= 0 && d.Err == "" {
		bound, known = d.Bound, true
	}
	if !t.lossAccepted(op, bound, known) {
		why := "what is left on " + string(op.From) + " is unknown"
		if known {
			why = fmt.Sprintf("up to %s is left on %s, %s is allowed", bound, op.From, t.p.RPO)
		}
		t.again("drain", Drain{From: op.From, Until: op.CloseProofAt})
		return hold, why, GuardExposure
	}
	o := t.edit().Op
	o.LossBound = bound.String()
	if !known {
		o.LossBound = "unknown"
	}
	t.note("step", fmt.Sprintf("not drained in time, a loss of up to %s is accepted", o.LossBound))
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

// lossAccepted: by the policy, or by a person's consent that is neither over
// nor smaller than the bound.
func (t *turn) lossAccepted(op *Op, bound time.Duration, known bool) bool {
	switch {
	case t.p.RPO.Kind == RPONone:
		return true
	case known && t.p.RPO.Kind == RPOBounded && bound <= t.p.RPO.Bound:
		return true
	case known && bound == 0:
		return true
	}
	c := op.Consent
	return c != nil && t.now.Before(c.Expires) && (c.Loss < 0 || known && bound <= c.Loss)
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

// lastLook is the last question before the point of no return: the guards
// about the world, once more, where time has passed since the start.
func (t *turn) lastLook(op *Op) (verdictOn, string, Guard) {
	if t.now.Equal(op.Since) {
		return pass, "", ""
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
	for i := range d.Names {
		n := &d.Names[i]
		np := t.p.Name(n.Name)
		if np == nil {
			continue
		}
		to := np.Targets[d.Op.To]
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

func (t *turn) moveStep(op *Op) (verdictOn, string, Guard) {
	if st := t.rec.Stop(StopDrift); st != nil {
		return hold, st.Why, GuardDrift
	}
	for _, n := range t.rec.Names {
		np := t.p.Name(n.Name)
		if np == nil {
			continue
		}
		if n.Want != nil || n.Value != np.Targets[op.To] {
			if t.late(op) {
				t.pageOnce("move", string(n.Name), fmt.Sprintf("%s of %s: %s does not show the new value yet; there is no way back, it is tried again: %s", op.Kind, t.p.Instance, n.Name, t.s.names[n.Name].err))
			}
			return stay, "", ""
		}
	}
	t.unpage("move")
	return pass, "", ""
}

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
}
