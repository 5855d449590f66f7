package failover

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Step takes one event and returns the next state and what the shell must do.
// It never changes the state that it was given. When the decision changes the
// record, Commit is the only thing to carry out; what depends on it is asked
// for after Committed.
func Step(s State, p *Policy, e Event, now time.Time) (State, []Action) {
	next := s.clone()
	t := &turn{s: &next, p: p, now: now, rec: &next.rec}
	t.take(e)
	next.refreshClocks(p, now)
	next.refreshCorrelated(p, now)
	next.refreshAuth(p, now)
	t.refreshFacts()
	t.decide()
	out := t.actions()
	next.still, next.lost, next.blind = next.nothingDown(), next.activeLost(), next.unknowns()
	next.counted = [2]Vote{next.kept.tallies[0].verdict, next.kept.tallies[1].verdict}
	next.kept = nil // thousands of states wait in memory; whoever looks counts again
	return next, out
}

// turn is one call of Step at work.
type turn struct {
	s   *State
	p   *Policy
	now time.Time

	rec   *Record // the committed record, or a draft of the next one
	dirty bool    // rec is a draft
	audit []AuditEntry

	effects []Action // carried out only when nothing had to be committed first
	words   []Action // pages and replies: never wait
	after   []Reply  // replies that wait for the commit

	yes []Approval // who has approved the command in hand; as many as the policy wants
}

// term is the one under which this turn acts.
func (t *turn) term() uint64 { return termOver(t.s.lead.Term, t.rec.TermBase) }

// edit makes the record a draft and returns it.
func (t *turn) edit() *Record {
	if !t.dirty {
		draft := t.s.rec.Clone()
		t.rec, t.dirty = &draft, true
	}
	return t.rec
}

// note adds an audit entry to the draft.
func (t *turn) note(kind, text string) *AuditEntry {
	t.edit()
	e := AuditEntry{At: t.now, Instance: t.p.Instance, Kind: kind, By: t.p.By, Text: text}
	if t.rec.Op != nil {
		e.Op = t.rec.Op.ID
	}
	t.audit = append(t.audit, e)
	return &t.audit[len(t.audit)-1]
}

// do asks for an effect whose outcome is awaited under a key; while it is
// awaited it is not asked for again.
func (t *turn) do(key string, a Action) {
	_, busy := t.s.busy[key]
	asked := slices.ContainsFunc(t.effects, func(e Action) bool { return e.(keyed).key == key })
	if !busy && !asked {
		t.effects = append(t.effects, keyed{key, a})
	}
}

type keyed struct {
	key string
	act Action
}

func (keyed) action() {}

// page tells people once; the same words are not said again until cleared.
func (t *turn) page(kind, text string) { t.pageOnce(kind, text, text) }

// pageOnce says the text once per key: where the text has figures that change.
func (t *turn) pageOnce(kind, key, text string) {
	slot := kind + " " + key
	if t.s.paged[slot] {
		return
	}
	set(&t.s.paged, slot, true)
	t.words = append(t.words, Page{Kind: kind, Text: text})
}

// unpage lets the words of a kind be said again.
func (t *turn) unpage(kind string) { t.unpageOnce(kind, "") }

func (t *turn) unpageOnce(kind, key string) {
	for slot := range t.s.paged {
		if strings.HasPrefix(slot, kind+" "+key) {
			delete(t.s.paged, slot)
		}
	}
}

// actions closes the turn: a draft goes to the ledger alone, otherwise the
// effects go out.
func (t *turn) actions() []Action {
	out := t.words
	if t.dirty {
		if len(t.audit) == 0 {
			t.note("step", t.stepWords())
		}
		for i := range t.audit {
			t.audit[i].Token = t.rec.Token()
		}
		draft := *t.rec
		t.s.pending = &draft
		t.s.replies = append(t.s.replies, t.after...)
		return append(out, Commit{Record: draft.Clone(), Audit: t.audit})
	}
	for _, r := range t.after {
		out = append(out, r)
	}
	for _, a := range t.effects {
		k := a.(keyed)
		set(&t.s.busy, k.key, t.now)
		out = append(out, k.act)
	}
	return out
}

func (t *turn) stepWords() string {
	if op := t.rec.Op; op != nil {
		return fmt.Sprintf("%s is at %s", op.ID, op.Step)
	}
	return "record kept up to date"
}
