package failover

import (
	"fmt"
	"slices"
	"strings"
)

// GuardUnsynced refuses to refill a cluster that may hold writes that the
// active one never saw: refilling overwrites them. It stands before no move,
// so it is none of [Guards].
const GuardUnsynced Guard = "unsynced-rows"

// heard says whether replication's word counts: it is about the cluster that is
// the standby now. What an invalidated one is, only a move and a person say.
func (t *turn) heard(e StandbyChanged) bool {
	s := t.s
	if e.State == StandbyInvalidated {
		return false
	}
	return !s.found || (e.Cluster == "" || e.Cluster == t.p.Other(s.rec.Active)) && s.rec.Standby.State != StandbyInvalidated
}

// keepStandby puts replication's word into the record. One that was on its way
// while the standby was invalidated is forgotten: it is about an older one.
func (t *turn) keepStandby() {
	st, r := t.s.standby, t.rec
	switch {
	case st == nil:
	case r.Standby.State == StandbyInvalidated:
		t.s.standby = nil
	case r.Standby.State != st.State || !slices.Equal(r.Standby.Why, st.Why):
		is := Standby{State: st.State, Why: slices.Clone(st.Why)}
		if is.State != StandbySynced {
			is.Refill = r.Standby.Refill
		}
		t.edit().Standby = is
		t.note("standby", "standby is "+t.rec.Standby.words())
	}
}

func (s Standby) words() string {
	if len(s.Why) == 0 {
		return string(s.State)
	}
	return fmt.Sprintf("%s: %s", s.State, strings.Join(s.Why, "; "))
}

// invalidate says that the cluster that was active is not to be written to, nor
// switched to, until a person says what becomes of what it may hold.
func (t *turn) invalidate(why, unsynced string) {
	t.edit().Standby = Standby{State: StandbyInvalidated, Why: []string{why}, Unsynced: unsynced}
	t.s.standby = nil
}

// refillCommand gives up what an invalidated standby may hold: from here on
// replication may overwrite it.
func (t *turn) refillCommand(c Command) {
	st, to := t.rec.Standby, t.p.Other(t.rec.Active)
	verb := fmt.Sprintf("pointsman refill %s --reason TEXT", t.p.Instance)
	switch {
	case !t.p.Replicated:
		t.reply(c, ReplyBad, "nothing is replicated here, so nothing can be refilled", "")
		return
	case c.To != "" && c.To != to:
		t.reply(c, ReplyStale, fmt.Sprintf("the standby is %s, not %s", to, c.To), "look again: pointsman status "+string(t.p.Instance))
		return
	case c.Reason == "":
		t.reply(c, ReplyBad, "a refill needs a reason: it overwrites what "+string(to)+" holds", "--reason TEXT")
		return
	case slices.ContainsFunc(c.Override, func(g Guard) bool { return g != GuardUnsynced }):
		t.reply(c, ReplyBad, fmt.Sprintf("%v: nothing but %s stands before a refill", c.Override, GuardUnsynced), "--override "+string(GuardUnsynced))
		return
	case t.rec.Op != nil:
		t.refuse(c, []Refusal{{GuardOpInFlight, fmt.Sprintf("operation %s is open", t.rec.Op.ID), "wait for it, or pointsman abort " + string(t.p.Instance)}})
		return
	case !t.s.adopted:
		t.refuse(c, []Refusal{{GuardAdopting, "just started: " + t.s.waiting(t.p, t.now), "wait three rounds"}})
		return
	case t.s.shadow(t.p):
		t.refuse(c, []Refusal{{GuardShadow, "the instance is not armed: nothing is done", "pointsman arm " + string(t.p.Instance)}})
		return
	case st.State == StandbyRefilling:
		t.reply(c, ReplyNothing, fmt.Sprintf("%s is being refilled already", to), "")
		return
	case st.State != StandbyInvalidated:
		t.refuse(c, []Refusal{{GuardStandby, fmt.Sprintf("%s is %s, and only an invalidated standby is refilled on command", to, st.State), fmt.Sprintf("pointsman replication resync %s TABLE --reason TEXT copies a table anew", t.p.Instance)}})
		return
	case st.Unsynced != "" && !slices.Contains(c.Override, GuardUnsynced):
		t.refuse(c, []Refusal{{GuardUnsynced, fmt.Sprintf("a refill overwrites what %s holds alone: %s", to, st.Unsynced), "look at it first: pointsman replication lost " + string(t.p.Instance) + "; then " + verb + " --give-up-unsynced-rows"}})
		return
	}
	if len(t.yes) < t.p.Approvals {
		a := t.s.ask(t.p, OpKind(DoRefill), to, false, t.now)
		t.proposeCommand(a, c)
		return
	}
	consent := fmt.Sprintf("%s: %s", c.By, c.Reason)
	t.edit().Standby = Standby{State: StandbyRefilling, Why: []string{"refill asked for by " + consent}, Refill: consent}
	t.s.standby = nil
	text := fmt.Sprintf("refill of %s from %s", to, t.rec.Active)
	if st.Unsynced != "" {
		text += fmt.Sprintf(", giving up what it holds alone (%s)", st.Unsynced)
	}
	t.said(c, text)
	e := &t.audit[len(t.audit)-1]
	e.Before, e.After = string(StandbyInvalidated), string(StandbyRefilling)
	t.later(c, ReplyDone, fmt.Sprintf("%s may be refilled from %s now; it is synced when replication says so", to, t.rec.Active))
}
