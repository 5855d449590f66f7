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
	t.s.wanted = time.Time{} // the last look before the move reads anew, where time has passed
	d := t.edit()
	d.Epoch++
	d.Proposal, d.Declined = nil, nil
	op := &Op{
		ID: fmt.Sprintf("%s-%s", t.p.Instance, d.Token()), Kind: a.kind, Step: StepIntent,
		From: a.from, To: a.to, Auto: a.auto, By: c.By, Reason: c.Reason, PlanHash: c.PlanHash,
		Since: t.now, StepSince: t.now, StepAt: map[StepName]time.Time{StepIntent: t.now},
		Override: slices.Clone(c.Override), Consent: consent, Approvals: t.yes, Change: c.Change,
		OrFailover: c.OrFailover, AcceptPinned: c.AcceptPinned, DetectedAt: t.s.detected,
	}
	op.Targets = map[RecordName]Target{}
	for _, np := range t.p.Names {
		op.Targets[np.Name] = np.Targets[a.to]
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
	if n == StepConfirm {
		t.s.verify = verifyFact{} // what was seen before the move confirms nothing
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
	if op.Step != StepIntent && stepIndex(op.Step) < stepIndex(StepMove) || op.Step == StepIntent && (op.Kind == Switchover || t.awaitsHooks(op)) {
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
	case op.Kind == Failover && op.Auto && old.verdict == Up && !op.ForwardOnly:
		return unwind, fmt.Sprintf("%s came back before the move: %s", op.From, old.words()), GuardSource
	}
	return pass, "", ""
}

// becomeFailover turns a switchover that found old down into a failover, in
// one commit that keeps its close proof.
func (t *turn) becomeFailover(op *Op) (verdictOn, string, Guard) {
	if !op.OrFailover && (t.s.shadow(t.p) || t.s.level(t.p) != AutoAuto) {
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
	before := fmt.Sprintf("%s %s", d.Op.Kind, d.Op.ID)
	d.Op.ID = fmt.Sprintf("%s-%s", t.p.Instance, d.Token())
	d.Op.Kind, d.Op.Reason, d.Op.Held = Failover, why, nil
	delete(t.s.busy, "drain") // its answer is one to another operation
	d.Op.StepSince = t.now
	if d.Op.Step == StepIntent {
		d.Op.Hooks = nil // it is another operation now, and nothing was begun: its own hooks are asked
	}
	if old := t.s.tally(t.p, d.Op.From, t.now); old.verdict == Down {
		d.Op.FaultAt, d.Op.DetectedAt = old.downSince, t.s.detected
	}
	d.Op.Notes = append(slices.Clone(d.Op.Notes), "was "+before)
	e := t.note("intent", fmt.Sprintf("%s becomes failover: %s", before, why))
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
