package failover

import (
	"fmt"
	"slices"
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
			t.reply(c, ReplyBad, fmt.Sprintf("%s has no CNAME to adopt", np.Name), "pointsman restore, where a record exists")
			return
		case c.Seen != "" && c.Seen != r.Value:
			t.reply(c, ReplyStale, fmt.Sprintf("%s shows %s now, not %s", np.Name, r.Value, c.Seen), "look again")
			return
		case holder == "":
			t.reply(c, ReplyBad, fmt.Sprintf("%s shows %s, which is the target of neither cluster", np.Name, r.Value), "pointsman restore, or mend the config")
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
		if st := t.rec.Stop(StopDrift); n.Want != nil && (busy || st == nil || st.Name != n.Name) {
			t.refuse(c, []Refusal{{GuardDrift, fmt.Sprintf("a write to %s (%s) is not proved yet", n.Name, n.Want.Why), "wait until the name is read back"}})
			return
		}
	}
	before := t.rec.Active
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
	if d.Stop(StopDrift) != nil {
		t.lift(StopDrift, c.By, "adopted")
	}
	t.said(c, fmt.Sprintf("adopted: %s is active", active))
	e := &t.audit[len(t.audit)-1]
	e.Before, e.After = string(before), string(active)
	t.later(c, ReplyDone, fmt.Sprintf("%s is active now", active))
}

// adoptInOp names the value that was seen during a held operation.
func (t *turn) adoptInOp(c Command, op *Op, active ClusterName) {
	st := t.rec.Stop(StopDrift)
	switch {
	case st == nil:
		t.refuse(c, []Refusal{{GuardOpInFlight, "an operation is open and no name drifts", "wait for it, or abort"}})
	case active != op.To && active != op.From:
		t.reply(c, ReplyBad, fmt.Sprintf("%s is no side of the operation", active), "pointsman restore")
	default: // whichever side it shows: that state may be replaced, forward
		t.agree(st.Name, c)
	}
}

// restoreCommand writes the record's value over what somebody else put there.
func (t *turn) restoreCommand(c Command) {
	st := t.rec.Stop(StopDrift)
	switch {
	case st == nil:
		t.reply(c, ReplyNothing, "nothing drifts", "")
	case t.s.shadow(t.p) && t.rec.Op == nil:
		t.refuse(c, []Refusal{{GuardShadow, "the instance is not armed: nothing is done", "pointsman arm " + string(t.p.Instance)}})
	default:
		t.agree(st.Name, c)
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
func (t *turn) agree(name RecordName, c Command) {
	st := *t.rec.Stop(StopDrift)
	if c.Seen != st.seen() {
		t.reply(c, ReplyStale, fmt.Sprintf("%s shows %s now, and the command names %q", name, st.seen(), c.Seen), fmt.Sprintf("look at it, then --seen %s", st.seen()))
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
	i := slices.IndexFunc(d.Names, func(n NameRecord) bool { return n.Name == name })
	if i < 0 {
		t.reply(c, ReplyBad, fmt.Sprintf("%s is no name of this instance", name), "")
		return
	}
	over := Foreign{Value: st.Seen, Mark: st.SeenMark, Absent: st.Seen == ""} // exactly what the person was shown
	if w := d.Names[i].Want; w != nil {
		c := *w
		c.Over = &over
		d.Names[i].Want = &c
	} else {
		d.Epoch++
		m := Mark{Token: Token{t.term(), d.Epoch}, Op: "restore", By: t.mark("").By}
		t.want(i, NameWant{Value: d.Names[i].Value, TTL: d.Names[i].TTL, Mark: m, Over: &over, Why: "restore"})
	}
	t.lift(StopDrift, c.By, string(c.Do))
	t.said(c, fmt.Sprintf("%s of %s over %s", c.Do, name, st.seen()))
	t.later(c, ReplyStarted, fmt.Sprintf("%s is brought to %s", name, wantOf(&d.Names[i])))
}

func wantOf(n *NameRecord) Target {
	if n.Want != nil {
		return n.Want.Value
	}
	return n.Value
}
