package failover

import "time"

// WorstCase is the longest that clients may be sent to the old cluster, term
// by term, as the policy alone says it: from the death of the old cluster for
// a failover, from the command for a switchover. A term that nothing here can
// bound is marked so, and [Sum] leaves it out.
func (p *Policy) WorstCase(kind OpKind) []BoundTerm {
	ts := terms(p, kind, p.TTL, p.TTLFloor, p.TTL > p.LowTTL(), preTime(planHooks(p, &Command{}, kind)))
	if kind != Failover {
		return ts
	}
	var out []BoundTerm
	for _, t := range ts {
		switch {
		case t.Term != termWrite:
		case p.Auto == AutoApprove:
			out = append(out, BoundTerm{Term: "people", Unbounded: true, Note: "auto: approve asks for " + people(p.needed()) + " and waits for " + span(p.approvalLife()) + "; without them nothing moves by itself"})
		case p.Auto != AutoAuto:
			out = append(out, BoundTerm{Term: "a person", Unbounded: true, Note: "automation starts nothing with auto: " + string(p.Auto) + "; somebody must command the failover"})
		}
		out = append(out, t)
		if t.Term == string(StepClose) && p.Fence == FenceStrict {
			out = append(out, BoundTerm{Term: "proof of the close", Unbounded: true, Note: "fence: strict waits for it, and a crashed cluster cannot give it"})
		}
	}
	return out
}

// Sum adds up the bounded terms, and says whether that is all of them.
func Sum(ts []BoundTerm) (sum time.Duration, whole bool) {
	whole = true
	for _, t := range ts {
		if t.Unbounded {
			whole = false
			continue
		}
		sum += t.Is
	}
	return sum, whole
}

// termWrite is what every move has.
const termWrite = "write"

// detect is the longest until a vantage votes down of a cluster that answers
// nothing any more.
func (p *Policy) detect() time.Duration {
	return p.Round + p.Timeout + time.Duration(p.Count.Fall-1)*max(p.Burst, p.Timeout)
}

// terms is the honest time bound, term by term. A connection's life is shown
// as unbounded, never folded into a sum. lower: the TTL, which is ttl seconds
// now, must be lowered before a switchover. floor is the least TTL that the
// providers take, in seconds: with less, no name moves. asked is the most that
// pre-hooks may take.
func terms(p *Policy, kind OpKind, ttl, floor uint32, lower bool, asked time.Duration) []BoundTerm {
	var out []BoundTerm
	add := func(term string, d time.Duration, note string) {
		out = append(out, BoundTerm{Term: term, Is: d, Note: note})
	}
	if kind == Failover {
		add("detect", p.detect(), "one round until the first probe, then the misses that make a vote")
		add("ride out", p.RideOut, "the longest blip that is never acted upon")
		if p.RideOut > 0 {
			add("confirm", p.Round+p.Timeout, "a fresh miss of a quorum after that")
		}
	}
	if asked > 0 {
		add("pre-hooks", asked, preNote)
	}
	if kind != Failover {
		if lower {
			add("lower the TTL", time.Duration(ttl)*time.Second, "the old TTL is waited out first; clients are served meanwhile")
		}
		ttl = p.LowTTL()
	}
	for _, d := range stepTable[kind] {
		if b := p.budget(kind, d.Step); p.skips(d.Step) == "" && b > 0 && stepIndex(d.Step) < stepIndex(StepMove) && d.Step != StepIntent {
			note := "at most; then: " + string(d.Late)
			if d.Step == StepDrain {
				note = "at most, where the new cluster answers; what is under way to it then is waited for; then: " + string(d.Late)
			}
			add(string(d.Step), b, note)
		}
	}
	if p.AllEmbedded() {
		add(termWrite, 0, "one ledger commit: it is the DNS write")
	} else {
		add(termWrite, p.LongestCall, "one conditional write per name; retried forward when it fails")
	}
	out = append(out, BoundTerm{Term: termPublication, Unbounded: true, Note: "until the last address of an authority shows it: measured at every move, and bounded by nothing here"})
	return append(out, p.Clients.clientTerms(max(ttl, floor))...)
}

// skips says why a step has nothing to do under this policy, or "".
func (p *Policy) skips(n StepName) string {
	switch n {
	case StepClose, StepOpen:
		if !p.Gated || p.Fence == FenceNone {
			return "no gate is configured"
		}
	case StepDrain:
		if !p.Replicated {
			return "nothing is replicated"
		}
	case StepCut:
		if !p.CanCut {
			return "no way to cut is configured: pooled connections stay until they close"
		}
	}
	return ""
}

// WorstLoss says what an automatic failover may lose at the worst.
func (p *Policy) WorstLoss() string {
	switch {
	case !p.Replicated:
		return "unbounded: nothing is replicated here, so every write that the new cluster has not got by other ways is lost, and nobody counts them"
	case p.RPO.Kind == RPOBounded:
		return "at most " + p.RPO.Bound.String() + " of writes: the guard exposure refuses a failover that could lose more, and counts what it does not know as more"
	case p.RPO.Kind == RPOZero:
		return "nothing: a failover waits until the old cluster is proved closed and its streams are read to the end, which a crashed cluster cannot do"
	default:
		return "unbounded: rpo is none, so a failover does not wait for what was not replicated; the loss report lists it"
	}
}
