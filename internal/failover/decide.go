package failover

import (
	"fmt"
	"slices"
	"time"
)

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
		if s.found && s.lead.Leading && s.rec.Term > s.term() {
			t.yield()
		}
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
	t.blindness()
	if t.rec.Op != nil {
		t.operate()
	} else {
		t.idle()
	}
	t.syncNames()
	t.publication()
}

// yield gives up: another controller has committed under a newer term. A
// newer mark at a name is no such proof (the ledger may have been restored from
// a copy); that is drift, and a person decides.
func (t *turn) yield() {
	why := fmt.Sprintf("the record bears term %d, ours is %d", t.s.rec.Term, t.s.term())
	if t.s.paged["yield "+why] {
		return
	}
	t.page("yield", why)
	t.words = append(t.words, Yield{Seen: t.s.rec.Token()})
}

// claimRecord puts our term into the record before anything else is decided.
func (t *turn) claimRecord() {
	if !t.p.ForceShadow && t.rec.Term < t.term() {
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
	t.remindPause()
	t.postHooks()
	if t.p.ForceShadow {
		return
	}
	t.keepProposal()
	t.keepStandby()
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
		t.note("stop", fmt.Sprintf("%s lifted by %s: %s", k, by, why)).By = by
	}
}

// liftDrift takes the drift of one name away.
func (t *turn) liftDrift(n RecordName, by, why string) {
	if t.rec.drift(n) == nil {
		return
	}
	d := t.edit()
	d.Stops = slices.DeleteFunc(slices.Clone(d.Stops), func(st Stop) bool { return st.Kind == StopDrift && st.Name == n })
	t.note("stop", fmt.Sprintf("drift of %s lifted by %s: %s", n, by, why)).By = by
	t.unpageOnce("drift", string(n))
}

// stop sets or replaces a stop of a kind.
func (t *turn) stop(st Stop) {
	d := t.edit()
	st.Since = t.now
	d.Stops = append(slices.DeleteFunc(slices.Clone(d.Stops), func(x Stop) bool { return x.Kind == st.Kind && x.Name == st.Name }), st)
	text := fmt.Sprintf("%s by %s: %s", st.Kind, st.By, st.Why)
	if st.Kind == StopPause && !st.Until.IsZero() {
		text += "; until " + st.Until.UTC().Format(time.RFC3339)
	}
	t.note("stop", text).By = st.By
}

// idle asks every event: does a rule want an operation, and does any guard
// refuse it?
func (t *turn) idle() {
	s, r := t.s, t.rec
	old := s.tally(t.p, r.Active, t.now)
	if old.verdict != Down {
		t.unpageOnce("proposal", "to ")
		t.unpage("refused")
		t.unpage("slow-reads")
		s.wanted = time.Time{}
		return
	}
	to := t.p.Other(r.Active)
	if s.correlated {
		t.page("both-down", fmt.Sprintf("%s: both clusters were lost together; nothing moves", t.p.Instance))
	} else {
		t.unpage("both-down")
	}
	if !old.rodeOut(t.p, t.now) {
		s.wanted = time.Time{}
		return
	}
	if t.dirty {
		return // a draft goes first; the next turn asks again
	}
	a := s.ask(t.p, Failover, to, true, t.now)
	refused := a.refusals()
	switch {
	case len(refused) > 0 && t.p.maintenanceWords(r.Active, t.now) != "": // somebody works on it and knows, whatever else refuses
	case len(refused) == 0 && !t.namesFresh():
	case len(refused) == 0 && !s.floodLeave(t.p, t.now):
		t.do("flood", AskFlood{})
	case len(refused) == 0:
		t.start(a, Command{By: t.p.By, Reason: fmt.Sprintf("%s is %s", r.Active, old.words())}, nil)
	case len(refused) == 1 && refused[0].Guard == GuardApproval && s.level(t.p) == AutoApprove:
		t.propose(a)
	case len(refused) == 1 && refused[0].Guard == GuardApproval:
		t.pageOnce("proposal", "to "+string(to), fmt.Sprintf("%s is %s; to move it: pointsman failover %s --to %s", r.Active, old.words(), t.p.Instance, to))
	case s.correlated:
	default:
		t.pageOnce("refused", string(refused[0].Guard), fmt.Sprintf("%s: a failover from %s to %s is wanted and refused by %s: %s", t.p.Instance, r.Active, to, refused[0].Guard, refused[0].Why))
	}
}

// publication asks the authorities now and then, whatever the phase, and more
// often while not all of them agree. It is shown, alarmed when it lasts for
// ReadEvery, and never blocks.
func (t *turn) publication() {
	s := t.s
	if t.p.ForceShadow && len(t.p.Names) == 0 || t.rec.Op != nil {
		return
	}
	every := t.p.ReadEvery
	if !s.verify.dissent.IsZero() {
		every /= 3
	}
	if !s.verify.at.IsZero() && t.now.Sub(s.verify.at) < every {
		return
	}
	t.do("verify", Verify{Names: slices.Clone(t.rec.Names)})
}

// NextWake is the next moment at which a Tick may change a decision.
func NextWake(s *State, p *Policy, now time.Time) time.Time {
	wake := nextRound(s, p, now)
	if end := s.rec.firstEnd(now); s.found && !end.IsZero() && end.Before(wake) {
		return end // it is lifted at its time
	}
	return wake
}

func nextRound(s *State, p *Policy, now time.Time) time.Time {
	if s.calm(p) {
		return now.Add(max(p.Round, 10*time.Millisecond))
	}
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
