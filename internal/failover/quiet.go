package failover

import (
	"maps"
	"slices"
	"time"
)

// calm says that nothing is under way and no time is awaited: the next Tick may
// wait a whole round. A cluster of which nothing is known is calm, too: nothing
// moves for it, and a process that is short of time has many of them. It goes
// by what the last Step counted.
func (s *State) calm(p *Policy) bool {
	if !s.found || !s.adopted || s.rec.Op != nil || s.pending != nil || len(s.queue) > 0 || s.correlated || !s.auth.IsZero() || !s.still || !s.adoptAt.IsZero() {
		return false
	}
	for _, n := range s.rec.Names {
		if n.Want != nil || !n.Embedded && (!s.names[n.Name].fresh || s.names[n.Name].read.Err != "") {
			return false
		}
	}
	return true
}

// nothingDown says that no vantage says down of a cluster, and that no domain
// did so before a short silence. A domain whose vantages disagree is not calm:
// when those fall silent that say up, time alone makes it say down. It reads
// the tallies of the Step at hand.
func (s *State) nothingDown() bool {
	for i := range s.kept.tallies {
		if slices.ContainsFunc(s.kept.tallies[i].votes, func(v vantageVote) bool { return v.vote == Down }) {
			return false
		}
	}
	return len(s.clocks) == 0
}

// activeLost counts the domains that say down of the active cluster. It reads
// the tallies of the Step at hand.
func (s *State) activeLost() int {
	for i := range s.kept.tallies {
		if t := &s.kept.tallies[i]; s.found && t.cluster == s.rec.Active {
			return t.downs
		}
	}
	return 0
}

// unknowns counts the votes that are unknown, in the same tallies.
func (s *State) unknowns() (n int) {
	for i := range s.kept.tallies {
		votes := s.kept.tallies[i].votes
		for j := range votes {
			if votes[j].vote == Unknown {
				n++
			}
		}
	}
	return n
}

// Counted returns the verdicts as the last Step found them, in the order of the
// config: mere time changes them, too.
func (s *State) Counted() [2]Vote { return s.counted }

// Quiet says that a report tells nothing new in a time when nothing is under
// way: the same vantage says again what it said of both clusters, up or
// unknown, or abstains again. Such a report may
// wait for the next Tick, with its Arrived set, and be fed in one Step with
// others ([Reports]); no decision comes later for it. With thousands of
// instances that is most of all reports.
func (s *State) Quiet(p *Policy, r Report, now time.Time) bool {
	last, ok := s.sights[r.Vantage]
	if !ok || !s.calm(p) || (r.Sick == "") != (last.Sick == "") ||
		r.Generation != last.Generation || r.Want != last.Want || r.Generation != r.Want ||
		!s.tiltAt.IsZero() && !last.at.After(s.tiltAt) || now.Sub(last.at) > p.Stale() {
		return false
	}
	for _, c := range p.Clusters {
		was, had := last.Clusters[c]
		is, has := r.Clusters[c]
		if !had || !has || was.Vote != is.Vote || is.Vote == Down || is.Misses > 0 || was.Misses > 0 || is.Failed > was.Failed ||
			is.Fault != was.Fault || is.Identity != was.Identity || is.Canary != was.Canary || is.Client != was.Client || !slices.Equal(is.Warnings, was.Warnings) {
			return false
		}
	}
	return true
}

// report takes the word of one vantage. One that waited counts from its
// arrival, and never replaces a newer one.
func (t *turn) report(e Report) {
	s := t.s
	if !slices.ContainsFunc(t.p.Vantages, func(v VantagePolicy) bool { return v.Name == e.Vantage }) {
		return
	}
	at := t.now
	if !e.Arrived.IsZero() && e.Arrived.Before(at) {
		at = e.Arrived
	}
	if last, ok := s.sights[e.Vantage]; ok && last.at.After(at) {
		return
	}
	if t.p.Generation != "" {
		e.Want = t.p.Generation
	}
	set(&s.sights, e.Vantage, sight{Report: e, at: at})
}

// policyChanged forgets what has no place in the new policy. Votes for other
// targets bear another generation than is wanted now and count as unknown.
func (t *turn) policyChanged() {
	s, p := t.s, t.p
	if p.Generation != "" {
		for v, r := range s.sights {
			r.Want = p.Generation
			set(&s.sights, v, r)
		}
	}
	maps.DeleteFunc(s.sights, func(v VantageName, _ sight) bool {
		return !slices.ContainsFunc(p.Vantages, func(x VantagePolicy) bool { return x.Name == v })
	})
	domains := p.Domains()
	maps.DeleteFunc(s.clocks, func(k clockKey, _ clock) bool { return !p.Has(k.cluster) || !slices.Contains(domains, k.domain) })
	gone := func(n RecordName) bool { return p.Name(n) == nil && s.rec.Name(n) == nil }
	maps.DeleteFunc(s.names, func(n RecordName, _ nameFact) bool { return gone(n) })
	maps.DeleteFunc(s.published, func(n RecordName, _ NameAgreement) bool { return gone(n) })
	s.flood = nil // a leave that was given under the old policy
	t.unpage("config")
}
