package failover

import (
	"fmt"
	"slices"
	"time"
)

// commands carries out what people asked for, one by one, while nothing waits
// for the ledger.
func (t *turn) commands() {
	for len(t.s.queue) > 0 {
		if t.dirty {
			return // one change per commit; the next turn takes it
		}
		c := t.s.queue[0]
		switch c.Do {
		case DoAdopt, DoFailover, DoSwitchover, DoRestore, DoApprove:
			if !t.readAfresh() {
				return // what was read some time ago is not what it shows
			}
		}
		t.s.queue = t.s.queue[1:]
		t.command(c)
	}
}

// refuseCommands answers while this process may not act.
func (t *turn) refuseCommands() {
	if !t.s.loaded {
		return // the ledger is still being read
	}
	why, hint := t.s.lead.Why, "ask the leading controller"
	switch {
	case t.s.found && t.s.rec.Term > t.term() && t.s.lead.Leading:
		why = fmt.Sprintf("the record bears term %d, ours is %d", t.s.rec.Term, t.term())
		t.pageOnce("yield", why, why)
	case t.s.lead.Leading:
		why, hint = "the lease is nearly over", "repeat in a moment"
	case why == "":
		why = "another process leads"
	}
	for _, c := range t.s.queue {
		t.reply(c, ReplyNotLeading, why, hint)
	}
	t.s.queue = nil
}

func (t *turn) reply(c Command, code ReplyCode, text, hint string) {
	t.words = append(t.words, Reply{Ref: c.Ref, Code: code, Text: text, Hint: hint})
}

// later replies once the change is durable.
func (t *turn) later(c Command, code ReplyCode, text string) {
	r := Reply{Ref: c.Ref, Code: code, Text: text}
	switch {
	case t.rec.Op != nil:
		r.OpID = t.rec.Op.ID
	case code == ReplyStarted && t.rec.LastOp != nil: // it ended within the turn
		r.OpID = t.rec.LastOp.Op.ID
	}
	t.after = append(t.after, r)
}

func (t *turn) refuse(c Command, refused []Refusal) {
	r := refused[0]
	t.words = append(t.words, Reply{Ref: c.Ref, Code: ReplyRefused, Guard: r.Guard, Text: r.Why, Hint: r.Hint, Refused: refused})
}

func (t *turn) command(c Command) {
	if why := t.s.strange(t.p); why != "" {
		t.refuse(c, []Refusal{{GuardAdopting, why, "name the clusters in the config as the record does"}})
		return
	}
	if !t.s.found && c.Do != DoAdopt {
		why, hint := t.p.unrecorded()
		t.refuse(c, []Refusal{{GuardAdopting, why, hint}})
		return
	}
	if c.TermBase > MaxTermBase {
		t.reply(c, ReplyBad, fmt.Sprintf("term base %d is above %d, where terms would run over", c.TermBase, uint64(MaxTermBase)), "a mark with such a term was not written by pointsman: remove the TXT record of the name by hand, then adopt")
		return
	}
	if c.ExpectActive != "" && c.ExpectActive != t.rec.Active {
		t.reply(c, ReplyStale, fmt.Sprintf("%s is active, not %s", t.rec.Active, c.ExpectActive), "look again: pointsman status "+string(t.p.Instance))
		return
	}
	if c.ExpectEpoch != nil && *c.ExpectEpoch != t.rec.Epoch {
		t.reply(c, ReplyStale, fmt.Sprintf("the epoch is %d, not %d", t.rec.Epoch, *c.ExpectEpoch), "look again: pointsman status "+string(t.p.Instance))
		return
	}
	if t.p.ForceShadow && c.Do != DoAdopt && c.Do != DoDisarm && c.Do != DoPause {
		t.refuse(c, []Refusal{{GuardShadow, "this process was started with --shadow", "start it without --shadow"}})
		return
	}
	switch c.Do {
	case DoFailover, DoSwitchover:
		t.moveCommand(c)
	case DoAbort:
		t.abortCommand(c)
	case DoPause:
		st := Stop{Kind: StopPause, By: c.By, Why: c.Reason}
		text := "paused; what was begun is finished all the same"
		if c.For > 0 {
			st.Until = t.now.Add(c.For)
			text = "paused until " + st.Until.UTC().Format(time.RFC3339) + "; what was begun is finished all the same"
		}
		t.stop(st)
		t.later(c, ReplyDone, text)
	case DoResume:
		t.liftCommand(c, StopPause)
	case DoAck:
		t.ackCommand(c)
	case DoAdopt:
		t.adoptCommand(c)
	case DoRestore:
		t.restoreCommand(c)
	case DoArm:
		t.armCommand(c)
	case DoApprove:
		t.approveCommand(c)
	case DoDeny:
		t.denyCommand(c)
	case DoRefill:
		t.refillCommand(c)
	case DoDisarm:
		if t.rec.Mode == ModeShadow {
			t.reply(c, ReplyNothing, "it is in shadow already", "")
			return
		}
		t.edit().Mode = ModeShadow
		t.said(c, "disarmed")
		t.later(c, ReplyDone, "in shadow now; an operation in hand is finished all the same")
	default:
		t.reply(c, ReplyBad, fmt.Sprintf("unknown verb %q", c.Do), "")
	}
}

func (t *turn) said(c Command, text string) {
	if c.Reason != "" {
		text += ": " + c.Reason
	}
	if c.Change != "" {
		text += " (change " + c.Change + ")"
	}
	t.note("command", text).By = c.By
}

func (t *turn) moveCommand(c Command) {
	kind := OpKind(c.Do)
	if c.To == "" {
		c.To = t.p.Other(t.rec.Active)
	}
	if !t.p.Has(c.To) {
		t.reply(c, ReplyBad, fmt.Sprintf("%q is none of %s, %s", c.To, t.p.Clusters[0], t.p.Clusters[1]), "")
		return
	}
	if t.rec.Op == nil && c.To == t.rec.Active {
		t.reply(c, ReplyNothing, fmt.Sprintf("%s is active already", c.To), "")
		return
	}
	for _, g := range c.Override {
		if !Overridable(g) {
			t.reply(c, ReplyBad, fmt.Sprintf("guard %s cannot be overridden", g), "")
			return
		}
	}
	if len(c.Override) > 0 && c.Reason == "" {
		t.reply(c, ReplyBad, "an override needs a reason", "--reason TEXT")
		return
	}
	if c.PlanHash != "" {
		if now := PlanMove(t.s, t.p, c, t.now).Hash; now != c.PlanHash {
			t.reply(c, ReplyStale, "the world has moved since the plan was made", "make a new plan")
			return
		}
	}
	if op := t.rec.Op; op != nil && op.Held != nil && op.To == c.To && !t.past(op) {
		t.consentCommand(c, op)
		return
	}
	a := t.s.ask(t.p, kind, c.To, false, t.now)
	a.override, a.acceptLoss, a.acceptPinned, a.approved = c.Override, c.AcceptLoss, c.AcceptPinned, len(t.yes) > 0 && len(t.yes) >= t.p.Approvals
	if refused := a.refusals(); len(refused) == 1 && refused[0].Guard == GuardApproval {
		t.proposeCommand(a, c)
		return
	} else if len(refused) > 0 {
		t.refuse(c, refused)
		return
	}
	var consent *Consent
	if c.AcceptLoss != nil {
		consent = &Consent{Loss: *c.AcceptLoss, By: c.By, Expires: t.now.Add(ConsentLife)}
	}
	if c.Reason == "" {
		c.Reason = "asked for by " + c.By
	}
	t.start(a, c, consent)
	for _, g := range c.Override {
		t.said(c, fmt.Sprintf("guard %s overridden", g))
	}
	if consent != nil {
		t.said(c, fmt.Sprintf("a loss of up to %s accepted until %s", consent.Loss, consent.Expires.UTC().Format(time.RFC3339)))
	}
	t.later(c, ReplyStarted, fmt.Sprintf("%s from %s to %s", kind, a.from, a.to))
}

// consentCommand answers what a held operation waits for: a guard overridden
// by name, a loss accepted with a number, or a switchover made a failover.
// Nothing is taken over in part: every check comes before the first change.
func (t *turn) consentCommand(c Command, op *Op) {
	convert := op.Kind == Switchover && c.Do == DoFailover
	again := t.s.resuming || op.Unwind && t.mayTurnBack(op) // forward once more
	if !convert && !again && len(c.Override) == 0 && c.AcceptLoss == nil {
		t.words = append(t.words, Reply{
			Ref: c.Ref, Code: ReplyRefused, Guard: op.Held.Guard, Text: "it is held: " + op.Held.Why,
			Hint: "name the guard with --override GUARD --reason TEXT, accept a loss with --accept-loss, or abort",
		})
		return
	}
	if len(t.yes) < t.p.Approvals {
		t.proposeCommand(t.worldAsk(op, OpKind(c.Do)), c)
		return
	}
	if convert || again {
		a := t.worldAsk(op, OpKind(c.Do))
		a.auto = false
		a.override = append(slices.Clone(op.Override), c.Override...)
		if c.AcceptLoss != nil {
			a.acceptLoss = c.AcceptLoss
		}
		if r := a.worldRefusals(); len(r) > 0 {
			t.refuse(c, r)
			return
		}
	}
	switch {
	case op.Unwind && again:
		t.turnBack("asked for by " + c.By)
	case convert:
		t.convert("asked for by " + c.By)
	}
	d := t.edit().Op
	if t.s.resuming && !op.Unwind {
		t.s.resuming = false
		d.Held = nil
	}
	d.Override = append(slices.Clone(d.Override), c.Override...)
	d.Approvals = append(slices.Clone(d.Approvals), t.yes...)
	if c.AcceptLoss != nil {
		d.Consent = &Consent{Loss: *c.AcceptLoss, By: c.By, Expires: t.now.Add(ConsentLife)}
	}
	t.said(c, fmt.Sprintf("the held operation %s goes on%s", d.ID, overridden(c.Override)))
	t.later(c, ReplyStarted, "what it was held for is answered; look at pointsman status "+string(t.p.Instance))
}

func overridden(gs []Guard) string {
	if len(gs) == 0 {
		return ""
	}
	return fmt.Sprintf(", overridden: %v", gs)
}

func (t *turn) abortCommand(c Command) {
	op := t.rec.Op
	switch {
	case op == nil:
		t.reply(c, ReplyNothing, "no operation is open", "")
	case op.Unwind && op.Held != nil:
		t.refuse(c, []Refusal{{op.Held.Guard, "it is being unwound, and that is held: " + op.Held.Why, fmt.Sprintf("pointsman failover %s --to %s --override %s --reason TEXT", t.p.Instance, op.To, GuardFence)}})
	case op.Unwind:
		t.reply(c, ReplyNothing, "it is being unwound already", "")
	case t.past(op):
		t.refuse(c, []Refusal{{GuardOpInFlight, fmt.Sprintf("operation %s is past its point of no return: a write to the name was given out", op.ID), "let it settle, then switch over back"}})
	case op.ForwardOnly || t.s.resuming && op.Step == StepOpen && t.landed(op):
		t.refuse(c, []Refusal{{GuardOpInFlight, fmt.Sprintf("operation %s can only go forward: client writes already landed on %s", op.ID, op.To), "let it settle, then switch over back"}})
	default:
		t.s.resuming = false
		t.beginUnwind("aborted by " + c.By + ": " + c.Reason)
		t.later(c, ReplyStarted, "the operation is unwound")
	}
}

func (t *turn) liftCommand(c Command, k StopKind) {
	if t.rec.Stop(k) == nil {
		t.reply(c, ReplyNothing, fmt.Sprintf("no %s stands", k), "")
		return
	}
	t.lift(k, c.By, c.Reason)
	t.later(c, ReplyDone, fmt.Sprintf("%s lifted", k))
}

// ackCommand lifts what waits for a person; the cool-down is not one of them.
func (t *turn) ackCommand(c Command) {
	n := 0
	for _, k := range []StopKind{StopUnacknowledged, StopLockout} {
		if t.rec.Stop(k) != nil {
			t.lift(k, c.By, c.Reason)
			if k == StopLockout {
				t.edit().Moves = nil
			}
			n++
		}
	}
	if n == 0 {
		t.reply(c, ReplyNothing, "nothing waits for an acknowledgement", "")
		return
	}
	t.later(c, ReplyDone, "acknowledged")
}

func (t *turn) armCommand(c Command) {
	may := map[Mode]string{
		ModePropose: "people may now move the name",
		ModeApprove: fmt.Sprintf("people may now move the name, and automation after %s", people(t.p.needed())),
		ModeAuto:    "people and automation may now move the name",
	}[c.Mode]
	switch {
	case may == "":
		t.reply(c, ReplyBad, fmt.Sprintf("mode %q is none of propose, approve, auto", string(c.Mode)), "")
		return
	case c.Mode != ModePropose && t.p.Auto == AutoOff:
		t.reply(c, ReplyBad, "the config says auto: off", "change the config first, or arm with --mode propose")
		return
	case t.rec.Mode == c.Mode:
		t.reply(c, ReplyNothing, "it is armed so already", "")
		return
	}
	before := t.rec.Mode
	t.edit().Mode = c.Mode
	t.said(c, fmt.Sprintf("armed: %s to %s", before, c.Mode))
	if level := t.s.levelOf(c.Mode, t.p); Auto(c.Mode) != level {
		may += fmt.Sprintf("; the config says auto: %s, and that is as far as automation goes", t.p.Auto)
	}
	t.later(c, ReplyDone, "armed: "+may)
}
