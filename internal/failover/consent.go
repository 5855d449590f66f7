package failover

import (
	"fmt"
	"slices"
	"time"
)

// adoptCommand makes the exact target that the name has now the active
// cluster.
func (t *turn) adoptCommand(c Command) {
	seen, bad := t.shown()
	if bad != "" {
		t.refuse(c, []Refusal{{GuardWritePath, bad, "repair the provider first"}})
		return
	}
	var active ClusterName
	for _, np := range t.p.Names {
		r, ok := seen[np.Name]
		if !ok {
			continue
		}
		holder := np.Holder(r.Value)
		switch {
		case r.Absent:
			hint := "put a CNAME to one of the targets there first"
			if t.s.found {
				hint = "pointsman restore " + string(t.p.Instance)
			}
			t.reply(c, ReplyBad, fmt.Sprintf("%s has no CNAME to adopt", np.Name), hint)
			return
		case holder == "":
			t.reply(c, ReplyBad, fmt.Sprintf("%s shows %s, which is the target of neither cluster", np.Name, r.Value), "mend the name or the config")
			return
		case active != "" && active != holder:
			t.reply(c, ReplyBad, fmt.Sprintf("the names disagree: %s is at %s, another at %s", np.Name, holder, active), "pointsman restore brings them together")
			return
		case t.newer(r.Mark) && c.TermBase == 0:
			m, _ := ParseMark(r.Mark)
			t.reply(c, ReplyBad, fmt.Sprintf("the mark of %s bears term %d, above ours", np.Name, m.Token.Term), fmt.Sprintf("pointsman adopt %s --term-base %d, when no other controller lives", t.p.Instance, m.Token.Term))
			return
		}
		active = holder
	}
	if c.Seen != "" && active != "" && !shows(seen, c.Seen) {
		t.reply(c, ReplyStale, fmt.Sprintf("no name shows %s now", c.Seen), "look again: pointsman status "+string(t.p.Instance))
		return
	}
	if active == "" {
		t.reply(c, ReplyNothing, "every name is served by our own authority: there is nothing to adopt", "")
		return
	}
	if op := t.rec.Op; t.s.found && op != nil {
		t.adoptInOp(c, op, active)
		return
	}
	for _, n := range t.rec.Names {
		_, busy := t.s.busy["name:"+string(n.Name)]
		if n.Want != nil && (busy || t.rec.drift(n.Name) == nil) {
			t.refuse(c, []Refusal{{GuardDrift, fmt.Sprintf("a write to %s (%s) is not proved yet", n.Name, n.Want.Why), "wait until the name is read back"}})
			return
		}
	}
	before := t.rec.Active
	if t.s.found && before == active && t.rec.Stop(StopDrift) == nil && c.TermBase <= t.rec.TermBase {
		t.reply(c, ReplyNothing, fmt.Sprintf("%s is active already, and nothing drifts", active), "")
		return
	}
	embedded := slices.ContainsFunc(t.p.Names, func(n NamePolicy) bool { return n.Embedded })
	if embedded && (t.p.ForceShadow || t.s.found && before != active && t.s.shadow(t.p)) {
		t.refuse(c, []Refusal{{GuardShadow, "adopting would move the names that our own authority serves, and nothing is done in shadow", "pointsman arm " + string(t.p.Instance) + ", or start it without --shadow"}})
		return
	}
	d := t.edit()
	if !t.s.found {
		d = t.found(active)
	} else {
		d.Epoch++
	}
	d.TermBase = max(d.TermBase, c.TermBase)
	d.Term = t.term()
	d.Active = active
	for _, r := range seen {
		if m, err := ParseMark(r.Mark); err == nil {
			d.Epoch = max(d.Epoch, m.Token.Epoch)
		}
	}
	for i := range d.Names {
		n, np := &d.Names[i], t.p.Name(d.Names[i].Name)
		if n.Embedded {
			n.Value, n.Mark = np.Targets[active], t.mark("adopt")
			continue
		}
		r := seen[n.Name]
		n.Value, n.Want = r.Value, nil
		if r.TTL > 0 {
			n.TTL = r.TTL
		}
		n.Mark = Mark{}
		if m, err := ParseMark(r.Mark); err == nil {
			n.Mark = m
		}
	}
	for _, n := range d.Names {
		t.liftDrift(n.Name, c.By, "adopted")
	}
	if before != "" && before != active {
		t.movedByHand(before)
	}
	t.said(c, fmt.Sprintf("adopted: %s is active", active))
	e := &t.audit[len(t.audit)-1]
	e.Before, e.After = string(before), string(active)
	t.later(c, ReplyDone, fmt.Sprintf("%s is active now", active))
}

func shows(seen map[RecordName]NameRead, v Target) bool {
	for _, r := range seen {
		if r.Value == v {
			return true
		}
	}
	return false
}

// readAfresh asks every name that lives elsewhere once more before it is
// adopted, and says whether all have answered.
func (t *turn) readAfresh() bool {
	s := t.s
	if s.adoptAt.IsZero() {
		s.adoptAt = t.now
		for _, np := range t.p.Names {
			if f, ok := s.names[np.Name]; ok && !np.Embedded && f.readAt.Before(t.now) {
				f.fresh, f.nextTry = false, time.Time{}
				set(&s.names, np.Name, f)
			}
		}
	}
	for _, np := range t.p.Names {
		if f := s.names[np.Name]; !np.Embedded && (f.readAt.Before(s.adoptAt) || !f.fresh) {
			return false
		}
	}
	s.adoptAt = time.Time{}
	return true
}

// movedByHand starts the stops that follow a move, although it was not ours:
// the side that was left may hold writes that did not cross.
func (t *turn) movedByHand(from ClusterName) {
	if t.p.Replicated {
		t.invalidate(fmt.Sprintf("the name was moved away from %s by hand", from), fmt.Sprintf("what was written on %s last may be missing on the other side, and nobody drained it", from))
	}
	if t.p.Cooldown > 0 {
		t.stop(Stop{Kind: StopCooldown, By: t.p.By, Why: "the name was moved by hand", Until: t.now.Add(t.p.Cooldown)})
	}
}

// adoptInOp takes over a value that was seen during an operation, when it is
// where the operation stands: the old value before the Move, the new one from
// the Move on. Anything else is no adoption but an order to overwrite.
func (t *turn) adoptInOp(c Command, op *Op, active ClusterName) {
	st := t.drifting(c.Seen)
	switch {
	case t.rec.Stop(StopDrift) == nil:
		t.refuse(c, []Refusal{{GuardOpInFlight, "an operation is open and no name drifts", "wait for it, or abort"}})
	case st == nil:
		t.staleSeen(c)
	case t.past(op) && active == op.To, !t.past(op) && active == op.From:
		t.agree(*st, c)
	case t.past(op):
		t.reply(c, ReplyBad, fmt.Sprintf("operation %s moves to %s and cannot turn back to %s", op.ID, op.To, active), fmt.Sprintf("pointsman restore %s --seen %s goes on with the move", t.p.Instance, st.seen()))
	default:
		t.reply(c, ReplyBad, fmt.Sprintf("operation %s has not moved the name yet, and it shows %s already", op.ID, st.seen()), fmt.Sprintf("pointsman abort %s, then adopt; or restore", t.p.Instance))
	}
}

// drifting returns the drift that shows what a person names.
func (t *turn) drifting(seen Target) *Stop {
	for i := range t.rec.Stops {
		if st := &t.rec.Stops[i]; st.Kind == StopDrift && st.seen() == seen {
			return st
		}
	}
	return nil
}

func (t *turn) staleSeen(c Command) {
	st := t.rec.Stop(StopDrift)
	t.reply(c, ReplyStale, fmt.Sprintf("%s shows %s now, and the command names %q", st.Name, st.seen(), c.Seen), fmt.Sprintf("look at it, then --seen %s", st.seen()))
}

// restoreCommand writes the record's value over what somebody else put there.
func (t *turn) restoreCommand(c Command) {
	st := t.drifting(c.Seen)
	switch {
	case t.rec.Stop(StopDrift) == nil:
		t.reply(c, ReplyNothing, "nothing drifts", "")
	case t.s.shadow(t.p) && t.rec.Op == nil:
		t.refuse(c, []Refusal{{GuardShadow, "the instance is not armed: nothing is done", "pointsman arm " + string(t.p.Instance)}})
	case st == nil:
		t.staleSeen(c)
	default:
		t.agree(*st, c)
	}
}

// SeenAbsent is what a person names who saw a name without a CNAME.
const SeenAbsent Target = "absent"

// seen is the drifting value in the words in which a person names it.
func (s *Stop) seen() Target {
	if s.Seen == "" {
		return SeenAbsent
	}
	return s.Seen
}

// agree lets a foreign state be overwritten, exactly as it was seen.
func (t *turn) agree(st Stop, c Command) {
	i := slices.IndexFunc(t.rec.Names, func(n NameRecord) bool { return n.Name == st.Name })
	if i < 0 {
		t.reply(c, ReplyBad, fmt.Sprintf("%s is no name of this instance", st.Name), "")
		return
	}
	if t.newer(st.SeenMark) && c.TermBase == 0 {
		m, _ := ParseMark(st.SeenMark)
		t.reply(c, ReplyBad, fmt.Sprintf("the mark bears term %d, above ours", m.Token.Term), fmt.Sprintf("--term-base %d, when no other controller lives", m.Token.Term))
		return
	}
	d := t.edit()
	if c.TermBase > d.TermBase {
		d.TermBase = c.TermBase
		d.Term = t.term()
	}
	over := Foreign{Value: st.Seen, Mark: st.SeenMark, Absent: st.Seen == ""} // exactly what the person was shown
	if w := d.Names[i].Want; w != nil {
		c := *w
		c.Over = &over
		d.Names[i].Want = &c
	} else {
		d.Epoch++
		m := t.mark(string(c.Do))
		t.want(i, NameWant{Value: d.Names[i].Value, TTL: d.Names[i].TTL, Mark: m, Over: &over, Why: string(c.Do)})
	}
	t.liftDrift(st.Name, c.By, string(c.Do))
	t.said(c, fmt.Sprintf("%s of %s over %s", c.Do, st.Name, st.seen()))
	t.later(c, ReplyStarted, fmt.Sprintf("%s is brought to %s", st.Name, wantOf(&d.Names[i])))
}

func wantOf(n *NameRecord) Target {
	if n.Want != nil {
		return n.Want.Value
	}
	return n.Value
}
