package failover

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// take turns an event into facts.
func (t *turn) take(e Event) {
	s := t.s
	switch e := e.(type) {
	case Tick:
	case Loaded:
		t.loaded(e)
	case Lead:
		if e.Leading && (!s.lead.Leading || e.Term != s.lead.Term) {
			t.unpage("ledger")
			t.adoptAnew()
		}
		s.lead = e
	case Report:
		t.report(e)
	case Reports:
		for _, r := range e {
			t.report(r)
		}
	case PolicyChanged:
		t.policyChanged()
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
		if e.From == "" || !s.found || e.From == s.rec.Active {
			s.exposure = &e
		}
	case GateDone:
		delete(s.busy, "gate:"+string(e.Cluster))
		g := s.gates[e.Cluster]
		g.err, g.done = e.Err, time.Time{}
		if e.Err == "" && e.Want == g.want {
			g.done = t.now
		}
		set(&s.gates, e.Cluster, g)
	case Drained:
		if e.Op == "" || e.Op == opID(s.rec.Op) {
			delete(s.busy, "drain")
			s.drained = &e
		}
	case CutDone:
		delete(s.busy, "cut")
		s.cut = &e
	case StandbyChanged:
		if t.heard(e) {
			s.standby = &e
		}
	case HooksDone:
		t.hooksDone(e)
	case FloodVerdict:
		delete(s.busy, "flood")
		s.flood, s.floodAt = &e, t.now
	case Tilted:
		s.tiltAt = t.now
		s.clocks = nil
	case WritePath:
		if e.Trouble == "" {
			delete(s.trouble, e.Provider)
		} else {
			set(&s.trouble, e.Provider, e.Trouble)
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
	s.names, s.busy, s.gates = nil, nil, nil
	s.drained, s.cut, s.flood = nil, nil, nil
	s.hooking, s.posts = hookRun{}, nil
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
		r.Code, r.Text, r.Hint = ReplyStale, "the record was read again before this was confirmed", "its outcome is unknown: look at pointsman status "+string(t.p.Instance)
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
	if old.Active != s.rec.Active {
		s.exposure, s.standby = nil, nil // they were about the other direction
	}
	s.rec.Rev, s.rec.AuditHead = e.Rev, e.AuditHead
	s.pending, s.found = nil, true
	t.rec = &s.rec
	for _, r := range s.replies {
		t.words = append(t.words, r)
	}
	s.replies = nil
	if st := s.standby; st != nil && s.rec.Standby.State == st.State {
		s.standby = nil
	}
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
			t.words = append(t.words, Page{Kind: string(l.Outcome), Text: fmt.Sprintf("%s %s of %s from %s to %s %s%s", l.Op.Kind, l.Op.ID, t.p.Instance, l.Op.From, l.Op.To, l.Outcome, l.leftWords())})
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
		r.Code, r.Text, r.Hint = ReplyBad, "the ledger did not confirm it: "+e.Err, "its outcome is unknown: look at pointsman status "+string(t.p.Instance)
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

func (t *turn) verified(e Verified) {
	s := t.s
	delete(s.busy, "verify")
	all, low := len(e.Names) > 0, true
	for _, n := range slices.Sorted(maps.Keys(e.Names)) {
		a := e.Names[n]
		set(&s.published, n, a)
		r := s.rec.Name(n)
		if r == nil || !a.Agree || a.Wanted != r.Value {
			all = false
		}
		low = low && r != nil && a.MaxTTL <= r.TTL
		for _, x := range a.Served {
			s.noteServed(n, x.Value, x.TTL, t.now)
		}
	}
	if s.verify.low++; !all || !low {
		s.verify.low = 0
	}
	s.verify.at = t.now
	if all {
		if s.verify.rounds++; s.verify.rounds == 1 {
			s.verify.first = t.now
		}
		s.verify.dissent = time.Time{}
		t.unpage("publication")
		return
	}
	s.verify.rounds = 0
	switch {
	case s.rec.Op != nil:
		s.verify.dissent = time.Time{}
		return
	case s.verify.dissent.IsZero():
		s.verify.dissent = t.now
	}
	if t.now.Sub(s.verify.dissent) < t.p.ReadEvery {
		return // a secondary that was started with us has the zone a little later
	}
	for _, n := range slices.Sorted(maps.Keys(e.Names)) {
		a := e.Names[n]
		r := s.rec.Name(n)
		if !a.Agree && len(a.Dissent) > 0 && r != nil && r.Value == a.Wanted {
			t.page("publication", fmt.Sprintf("%s: not every authority shows the record: %s", n, a.Dissent[0]))
		}
	}
}
