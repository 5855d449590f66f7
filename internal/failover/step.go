package failover

import (
	"fmt"
	"slices"
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
	t.refreshFacts()
	t.decide()
	return next, t.actions()
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
}

// term is the one under which this turn acts.
func (t *turn) term() uint64 { return t.s.lead.Term + t.rec.TermBase }

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
	if t.s.paged[kind] == key {
		return
	}
	t.s.paged[kind] = key
	t.words = append(t.words, Page{Kind: kind, Text: text})
}

func (t *turn) unpage(kind string) { delete(t.s.paged, kind) }

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
		t.s.busy[k.key] = t.now
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

// take turns an event into facts.
func (t *turn) take(e Event) {
	s := t.s
	switch e := e.(type) {
	case Tick:
	case Loaded:
		t.loaded(e)
	case Lead:
		if e.Leading && (!s.lead.Leading || e.Term != s.lead.Term) {
			t.adoptAnew()
		}
		s.lead = e
	case Report:
		if slices.ContainsFunc(t.p.Vantages, func(v VantagePolicy) bool { return v.Name == e.Vantage }) {
			s.sights[e.Vantage] = sight{Report: e, at: t.now}
		}
	case Committed:
		t.committed(e)
	case CommitFailed:
		t.commitFailed(e)
	case NameRead:
		t.nameRead(e)
	case NameWritten:
		t.nameWritten(e)
	case Verified:
		t.verified(e)
	case Exposure:
		s.exposure = &e
	case GateDone:
		delete(s.busy, "gate:"+string(e.Cluster))
		g := s.gates[e.Cluster]
		g.err, g.done = e.Err, time.Time{}
		if e.Err == "" && e.Want == g.want {
			g.done = t.now
		}
		s.gates[e.Cluster] = g
	case Drained:
		delete(s.busy, "drain")
		s.drained = &e
	case CutDone:
		delete(s.busy, "cut")
		s.cut = &e
	case StandbyChanged:
		t.standbyChanged(e)
	case FloodVerdict:
		delete(s.busy, "flood")
		s.flood, s.floodAt = &e, t.now
	case Tilted:
		s.tiltAt = t.now
		s.clocks = map[clockKey]clock{}
	case WritePath:
		if e.Trouble == "" {
			delete(s.trouble, e.Provider)
		} else {
			s.trouble[e.Provider] = e.Trouble
		}
	case Command:
		if len(s.queue) >= 16 {
			t.reply(e, ReplyBad, "too many commands are waiting", "try again")
			return
		}
		s.queue = append(s.queue, e)
	}
}

// adoptAnew starts the adopting phase: what was seen under an older term is
// forgotten, and no outcome of it is awaited.
func (t *turn) adoptAnew() {
	s := t.s
	s.adopted, s.since = false, t.now
	s.resuming = s.loaded && s.rec.Op != nil
	s.names = map[RecordName]nameFact{}
	s.busy = map[string]time.Time{}
	s.gates = map[ClusterName]gateFact{}
	s.drained, s.cut, s.flood = nil, nil, nil
	s.verify = verifyFact{}
}

func (t *turn) loaded(e Loaded) {
	s := t.s
	s.loaded, s.found, s.pending = true, e.Found, nil
	s.rec = Record{}
	if e.Found {
		s.rec = e.Record.Clone()
	}
	t.rec = &s.rec
	t.adoptAnew()
	for _, r := range s.replies {
		r.Code, r.Text, r.Hint = ReplyStale, "the record was changed by another writer", "look again, then repeat"
		t.words = append(t.words, r)
	}
	s.replies = nil
}

func (t *turn) committed(e Committed) {
	s := t.s
	if s.pending == nil {
		return
	}
	old := s.rec
	s.rec = *s.pending
	s.rec.Rev, s.rec.AuditHead = e.Rev, e.AuditHead
	s.pending, s.found = nil, true
	t.rec = &s.rec
	for _, r := range s.replies {
		t.words = append(t.words, r)
	}
	s.replies = nil
	t.entered(&old)
}

// entered forgets facts that belong to a step that was left.
func (t *turn) entered(old *Record) {
	s := t.s
	if stepOf(old) != stepOf(&s.rec) {
		s.drained, s.cut, s.askedAt = nil, nil, time.Time{}
		s.verify = verifyFact{}
	}
	if old.Op == nil && s.rec.Op != nil {
		s.flood = nil
		t.page("operation", fmt.Sprintf("%s of %s from %s to %s: %s", s.rec.Op.Kind, t.p.Instance, s.rec.Op.From, s.rec.Op.To, s.rec.Op.Reason))
	}
	if old.Op != nil && s.rec.Op == nil {
		t.unpage("held")
		t.unpage("operation")
		if l := s.rec.LastOp; l != nil {
			t.words = append(t.words, Page{Kind: string(l.Outcome), Text: fmt.Sprintf("%s %s of %s from %s to %s %s", l.Op.Kind, l.Op.ID, t.p.Instance, l.Op.From, l.Op.To, l.Outcome)})
		}
	}
}

func stepOf(r *Record) string {
	if r.Op == nil {
		return ""
	}
	return fmt.Sprint(r.Op.ID, r.Op.Step, r.Op.Unwind)
}

func (t *turn) commitFailed(e CommitFailed) {
	s := t.s
	s.pending = nil
	for _, r := range s.replies {
		r.Code, r.Text, r.Hint = ReplyBad, "the ledger did not take it: "+e.Err, "nothing was done"
		t.words = append(t.words, r)
	}
	s.replies = nil
	if e.Conflict {
		s.loaded = false // the shell sends Loaded next
		return
	}
	s.lead.Leading, s.lead.Why = false, "the ledger cannot be written: "+e.Err
	t.page("ledger", s.lead.Why)
}

func (t *turn) standbyChanged(e StandbyChanged) {
	if t.s.loaded && t.s.found && t.s.pending == nil && t.mayAct() {
		t.edit().Standby = Standby{State: e.State, Why: slices.Clone(e.Why)}
		t.note("standby", fmt.Sprintf("standby is %s", e.State))
	}
}

// refreshFacts keeps the clocks that are no votes.
func (t *turn) refreshFacts() {
	s := t.s
	if s.found {
		a := s.tally(t.p, s.rec.Active, t.now)
		switch {
		case a.verdict != Down:
			s.detected = time.Time{}
		case s.detected.IsZero():
			s.detected = t.now
		}
		if t.p.ClientProbes {
			if s.clientQuorum(t.p, s.rec.Active, ClientAccepted, time.Time{}, t.now) || s.clientAny(t.p, s.rec.Active, ClientAccepted, t.now) {
				s.clientFailed = time.Time{}
			} else if s.clientFailed.IsZero() && s.clientFailing(t.p, s.rec.Active, t.now) {
				s.clientFailed = t.now
			}
		}
	}
	if !s.adopted && s.loaded && s.found && s.waiting(t.p, t.now) == "" {
		s.adopted = true
	}
}

// waiting says what the adopting phase waits for, or nothing.
func (s *State) waiting(p *Policy, now time.Time) string {
	if now.Sub(s.since) >= 3*p.Round {
		return ""
	}
	for _, d := range p.Domains() {
		voted := slices.ContainsFunc(p.Vantages, func(v VantagePolicy) bool {
			r, ok := s.sights[v.Name]
			return ok && v.Domain == d && !r.at.Before(s.since)
		})
		if !voted {
			return fmt.Sprintf("domain %s has not voted yet, three rounds end in %s", d, s.since.Add(3*p.Round).Sub(now).Round(time.Millisecond))
		}
	}
	return ""
}

// mayAct says whether this process may change anything: it leads, enough
// lease is left for the longest call, and no newer term was committed.
func (t *turn) mayAct() bool {
	s := t.s
	return s.lead.Leading && s.lead.Until.Sub(t.now) >= t.p.LongestCall+t.p.LeaseMargin &&
		(!s.found || s.rec.Term <= s.term())
}

// decide asks for the next thing to do. It is a function of the committed
// record and the facts; nothing is remembered of how it came here.
func (t *turn) decide() {
	s := t.s
	if s.pending != nil {
		return
	}
	if !s.loaded || !t.mayAct() {
		t.refuseCommands()
		return
	}
	if !s.found {
		t.create()
	}
	t.commands()
	if !s.found {
		t.readNames()
		return
	}
	if why := s.strange(t.p); why != "" && !t.dirty {
		t.page("config", why)
		return
	}
	t.claimRecord()
	t.configNames()
	t.housekeep()
	if t.rec.Op != nil {
		t.operate()
	} else {
		t.idle()
	}
	t.syncNames()
	t.publication()
}

// claimRecord puts our term into the record before anything else is decided.
func (t *turn) claimRecord() {
	if t.rec.Term < t.term() {
		t.edit().Term = t.term()
		t.note("claim", fmt.Sprintf("%s leads under term %d", t.p.By, t.term()))
	}
}

// housekeep ends stops, notes a changed config and keeps move proofs.
func (t *turn) housekeep() {
	r := t.rec
	for _, st := range r.Stops {
		if !st.Until.IsZero() && !t.now.Before(st.Until) {
			t.lift(st.Kind, t.p.By, "its time is over")
		}
	}
	if t.p.ForceShadow {
		return
	}
	if r.ConfigHash != t.p.Expected {
		d := t.edit()
		if d.ConfigHash != "" {
			d.ConfigSince = t.now
		}
		d.ConfigHash = t.p.Expected
		t.note("config", fmt.Sprintf("config of the instance is %.12s now", t.p.Expected))
	}
	for _, c := range t.p.Clusters {
		tl := t.s.tally(t.p, c, t.now)
		if pr, ok := r.Proofs[c]; tl.identity && (!ok || t.now.Sub(pr.At) > MoveProofLife/7) {
			d := t.edit()
			proofs := map[ClusterName]Proof{}
			for k, v := range d.Proofs {
				proofs[k] = v
			}
			proofs[c] = Proof{At: t.now, How: "a quorum saw its identity under the clients' name"}
			d.Proofs = proofs
			t.note("proof", fmt.Sprintf("move proof of %s: a quorum saw its identity under the clients' name", c))
		}
	}
}

// lift takes a stop away.
func (t *turn) lift(k StopKind, by, why string) {
	d := t.edit()
	n := len(d.Stops)
	d.Stops = slices.DeleteFunc(slices.Clone(d.Stops), func(st Stop) bool { return st.Kind == k })
	if len(d.Stops) < n {
		t.note("stop", fmt.Sprintf("%s lifted by %s: %s", k, by, why))
	}
	if k == StopDrift {
		t.unpage("drift")
	}
}

// stop sets or replaces a stop of a kind.
func (t *turn) stop(st Stop) {
	d := t.edit()
	st.Since = t.now
	d.Stops = append(slices.DeleteFunc(slices.Clone(d.Stops), func(x Stop) bool { return x.Kind == st.Kind }), st)
	t.note("stop", fmt.Sprintf("%s by %s: %s", st.Kind, st.By, st.Why))
}

// idle asks every event: does a rule want an operation, and does any guard
// refuse it?
func (t *turn) idle() {
	s, r := t.s, t.rec
	old := s.tally(t.p, r.Active, t.now)
	if old.verdict != Down {
		t.unpage("proposal")
		t.unpage("refused")
		return
	}
	to := t.p.Other(r.Active)
	if s.correlated {
		t.page("both-down", fmt.Sprintf("%s: both clusters were lost together; nothing moves", t.p.Instance))
	} else {
		t.unpage("both-down")
	}
	if !old.rodeOut(t.p, t.now) || t.dirty {
		return // a draft goes first; the next turn asks again
	}
	a := s.ask(t.p, Failover, to, true, t.now)
	refused := a.refusals()
	switch {
	case len(refused) == 0 && !s.floodLeave(t.p, t.now):
		t.do("flood", AskFlood{})
	case len(refused) == 0:
		t.start(a, Command{By: t.p.By, Reason: fmt.Sprintf("%s is %s", r.Active, old.words())}, nil)
	case len(refused) == 1 && refused[0].Guard == GuardApproval:
		t.pageOnce("proposal", string(to), fmt.Sprintf("%s is %s; to move it: pointsman failover %s --to %s", r.Active, old.words(), t.p.Instance, to))
	case s.correlated:
	default:
		t.pageOnce("refused", string(refused[0].Guard), fmt.Sprintf("%s: a failover from %s to %s is wanted and refused by %s: %s", t.p.Instance, r.Active, to, refused[0].Guard, refused[0].Why))
	}
}

// publication asks the authorities now and then, whatever the phase. It is
// shown and alarmed, and never blocks.
func (t *turn) publication() {
	s := t.s
	if t.p.ForceShadow && len(t.p.Names) == 0 || t.rec.Op != nil {
		return
	}
	if !s.verify.at.IsZero() && t.now.Sub(s.verify.at) < t.p.ReadEvery {
		return
	}
	t.do("verify", Verify{Names: slices.Clone(t.rec.Names)})
}

func (t *turn) verified(e Verified) {
	s := t.s
	delete(s.busy, "verify")
	all := len(e.Names) > 0
	for n, a := range e.Names {
		s.published[n] = a
		if r := s.rec.Name(n); r == nil || !a.Agree || a.Wanted != r.Value {
			all = false
		}
	}
	s.verify.at = t.now
	if all {
		s.verify.rounds++
		t.unpage("publication")
	} else {
		s.verify.rounds = 0
		for n, a := range e.Names {
			r := s.rec.Name(n)
			if !a.Agree && s.rec.Op == nil && len(a.Dissent) > 0 && r != nil && r.Value == a.Wanted {
				t.page("publication", fmt.Sprintf("%s: not every authority shows the record: %s", n, a.Dissent[0]))
			}
		}
	}
}

// NextWake is the next moment at which a Tick may change a decision.
func NextWake(s *State, p *Policy, now time.Time) time.Time {
	every := min(max(p.Round/2, 50*time.Millisecond), time.Second)
	if s.rec.Op != nil || s.pending != nil {
		every = min(every, p.VerifyEvery/2, 100*time.Millisecond)
	}
	wake := now.Add(max(every, 10*time.Millisecond))
	if s.found && s.rec.Op == nil {
		if t := s.tally(p, s.rec.Active, now); t.verdict == Down {
			if end := t.downSince.Add(p.RideOut); end.After(now) && end.Before(wake) {
				wake = end
			}
		}
	}
	return wake
}
