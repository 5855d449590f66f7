package failover

import (
	"fmt"
	"slices"
	"time"
)

// tally is what the quorum says of one cluster at one moment.
type tally struct {
	cluster ClusterName
	verdict Vote
	domains []domainVote // in config order
	votes   []vantageVote

	ups, downs, informed int
	downSince            time.Time // first miss in the domain that completes the quorum
	upSince              time.Time // up vote of the domain that completes the quorum
	identity             bool      // a quorum of domains saw this very cluster answer
	canary               bool      // a quorum of domains wrote and read back with the service identity
}

type vantageVote struct {
	vantage VantageName
	domain  DomainName
	vote    Vote
	reason  string
	fault   Fault // of a vote that is unknown
	has     bool  // it said something of the cluster; the rest is of that
	canary  bool  // a fresh write with the service identity went well

	misses, fall         int
	first, last, upSince time.Time
	answered             time.Time // its newest success
	identity             bool
	client               ClientResult
	clientAt             time.Time
}

type domainVote struct {
	domain   DomainName
	vote     Vote
	ups      int       // vantages
	informed int       // vantages
	who      string    // the first vantage whose word explains the vote
	because  string    // that word
	first    time.Time // sending of the first miss of the vantage that completes its majority
	last     time.Time // a majority of its vantages missed at or after this
	upSince  time.Time
	answered time.Time // the newest success of its vantages, whether they may vote or not
	identity bool
	canary   bool
	lost     time.Time // since when it has said down, through short silences
	down     time.Time // the same, but not from before the end of a maintenance window
}

// effective is one vantage's vote after everything that makes it unknown.
func (s *State) effective(p *Policy, v VantagePolicy, c ClusterName, now time.Time) vantageVote {
	r, ok := s.sights[v.Name]
	out := vantageVote{vantage: v.Name, domain: v.Domain}
	if !ok {
		out.reason = "has not reported yet"
		return out
	}
	seen, has := r.Clusters[c]
	if has {
		out.has, out.misses, out.fall, out.identity = true, seen.Misses, seen.Fall, seen.Identity
		out.answered = seen.LastSuccess
		out.first, out.last, out.upSince = seen.FirstMiss, seen.LastMiss, seen.UpSince
		out.client, out.clientAt = seen.Client, seen.ClientAt
		out.canary = seen.Canary == CanaryOK && now.Sub(seen.CanaryAt) <= p.Stale()
	}
	switch age := now.Sub(r.at); {
	case !s.tiltAt.IsZero() && !r.at.After(s.tiltAt):
		out.reason = "dropped: the clock jumped or the loop stalled"
	case age > p.Stale():
		out.reason = fmt.Sprintf("silent for %s", age.Round(time.Millisecond))
	case r.Sick != "":
		out.reason = "abstains: " + r.Sick
	case r.Generation != r.Want:
		out.reason = fmt.Sprintf("probes config generation %.8s, not %.8s", r.Generation, r.Want)
	case !has:
		out.reason = "does not probe this cluster"
	case !seen.LastProbe.IsZero() && now.Sub(seen.LastProbe) > p.Stale()+p.Timeout:
		out.reason = fmt.Sprintf("has not probed it for %s", now.Sub(seen.LastProbe).Round(time.Millisecond))
	case seen.Vote == Up && !seen.LastSuccess.IsZero() && now.Sub(seen.LastSuccess) > p.Stale()+p.Timeout:
		out.reason = fmt.Sprintf("says up, and its newest answer is %s old", now.Sub(seen.LastSuccess).Round(time.Millisecond))
	default:
		out.vote, out.reason = seen.Vote, seen.Reason
		if seen.Vote == Unknown {
			out.fault = seen.Fault
		}
	}
	return out
}

// domainOf is the majority of a domain's informed vantages; a tie is unknown.
// Splitting a vantage into two in the same domain changes nothing.
func domainOf(d DomainName, votes []vantageVote) domainVote {
	out := domainVote{domain: d}
	var few [3][4]time.Time // room on the stack for what is usual
	upSince, first, last := few[0][:0], few[1][:0], few[2][:0]
	identity, canary := 0, 0
	var down *vantageVote
	for i := range votes {
		v := &votes[i]
		if v.domain != d {
			continue
		}
		if v.answered.After(out.answered) {
			out.answered = v.answered
		}
		switch v.vote {
		case Up:
			upSince = append(upSince, v.upSince)
			if v.identity {
				identity++
			}
			if v.canary {
				canary++
			}
		case Down:
			if down == nil {
				down = v
			}
			first, last = append(first, v.first), append(last, v.last)
		default:
			if out.who == "" {
				out.who, out.because = string(v.vantage), v.reason
			}
		}
	}
	out.ups, out.informed = len(upSince), len(upSince)+len(first)
	need := out.informed/2 + 1
	switch {
	case len(upSince) >= need:
		out.vote = Up
		out.upSince = nth(upSince, need)
		out.identity, out.canary = identity >= need, canary >= need
	case len(first) >= need:
		out.vote, out.who, out.because = Down, string(down.vantage), down.reason
		out.first = nth(first, need)
		// a majority missed at or after the need-th newest miss
		out.last = nth(last, len(last)-need+1)
	}
	return out
}

// why says in words what the vote rests on.
func (d *domainVote) why() string {
	switch {
	case d.vote == Up:
		return fmt.Sprintf("%d of %d informed vantages say up", d.ups, d.informed)
	case d.vote == Down:
		return d.who + ": " + d.because
	case d.informed > 0:
		return "its vantages disagree"
	case d.who != "":
		return d.who + " " + d.because
	}
	return "has no vantage"
}

// nth returns the n-th earliest time, counted from one.
func nth(ts []time.Time, n int) time.Time {
	slices.SortFunc(ts, time.Time.Compare)
	return ts[n-1]
}

func count[T any](xs []T, f func(T) bool) int {
	n := 0
	for _, x := range xs {
		if f(x) {
			n++
		}
	}
	return n
}

// tally forms the verdict on a cluster: up and down both need more than half
// of the configured domains. Step counts each cluster once and keeps the
// result for the rest of the turn.
func (s *State) tally(p *Policy, c ClusterName, now time.Time) tally {
	if k := s.kept; k != nil && k.at.Equal(now) {
		for i := range k.tallies {
			if k.tallies[i].cluster == c {
				return k.tallies[i]
			}
		}
	}
	return s.count(p, c, now)
}

func (s *State) count(p *Policy, c ClusterName, now time.Time) tally {
	t := tally{cluster: c, votes: make([]vantageVote, 0, len(p.Vantages))}
	for _, v := range p.Vantages {
		t.votes = append(t.votes, s.effective(p, v, c, now))
	}
	domains := p.Domains()
	t.domains = make([]domainVote, 0, len(domains))
	downs, ups := make([]time.Time, 0, len(domains)), make([]time.Time, 0, len(domains))
	identity, canary := 0, 0
	for _, d := range domains {
		dv := domainOf(d, t.votes)
		switch dv.vote {
		case Down:
			dv.lost = s.clocks[clockKey{c, d}].since(p, &dv, now)
			dv.down = dv.lost
			p.maintained(&dv.down, c, now)
			downs = append(downs, dv.down)
		case Up:
			ups = append(ups, dv.upSince)
			if dv.identity {
				identity++
			}
			if dv.canary {
				canary++
			}
		}
		t.domains = append(t.domains, dv)
	}
	t.ups, t.downs, t.informed = len(ups), len(downs), len(ups)+len(downs)
	need := len(domains)/2 + 1
	t.identity, t.canary = identity >= need, canary >= need
	slices.SortFunc(downs, time.Time.Compare)
	slices.SortFunc(ups, time.Time.Compare)
	switch {
	case len(downs) >= need:
		t.verdict, t.downSince = Down, downs[need-1]
	case len(ups) >= need:
		t.verdict, t.upSince = Up, ups[need-1]
	}
	return t
}

// rodeOut says whether the cluster has been down for ride_out without a break
// and a quorum of domains missed again after that.
func (t *tally) rodeOut(p *Policy, now time.Time) bool {
	if t.verdict != Down {
		return false
	}
	if p.RideOut == 0 {
		return true
	}
	return !now.Before(t.downSince.Add(p.RideOut)) && t.confirming(p) >= p.Quorum()
}

// confirming counts the domains that missed afresh after a ride_out of their
// own was over. One fresh miss of one vantage would let a lying one complete an
// outage that the others have already seen end; so would the fresh miss of a
// domain whose own trouble began only now.
func (t *tally) confirming(p *Policy) int {
	return count(t.domains, func(d domainVote) bool { return d.vote == Down && !d.last.Before(d.down.Add(p.RideOut)) })
}

// refreshClocks keeps since when each domain has said down. An up starts it
// anew; an unknown of up to two rounds does not.
func (s *State) refreshClocks(p *Policy, now time.Time) {
	keep := &kept{at: now}
	s.kept = nil
	for i, c := range p.Clusters {
		t := s.count(p, c, now)
		keep.tallies[i] = t
		for _, d := range t.domains {
			key := clockKey{c, d.domain}
			k := s.clocks[key]
			switch d.vote {
			case Down:
				since := k.since(p, &d, now)
				set(&s.clocks, key, clock{downSince: since, first: d.first, lastDown: now, bridged: since.Before(d.first)})
			case Up:
				delete(s.clocks, key)
			default:
				if k.lastDown.IsZero() || now.Sub(k.lastDown) > p.Stale() {
					delete(s.clocks, key)
					continue
				}
				k.gap = true
				set(&s.clocks, key, k)
			}
		}
	}
	for i, c := range p.Clusters {
		if keep.tallies[i].downs > 0 { // since when depends on the clocks
			keep.tallies[i] = s.count(p, c, now)
		}
	}
	s.kept = keep
}

// kept are the tallies of one turn, in the order of the config.
type kept struct {
	at      time.Time
	tallies [2]tally
}

// since is when the domain turned down, given the first miss that its vantages
// count now. Reports give ages, so the same miss moves by the jitter of their
// way: a bridged silence is recognised within half a round.
//
// No silence joins two outages: a vantage that went on looking tells of the
// answers between them, though it could not vote or its reports were lost; one
// that was started again has seen none.
func (k clock) since(p *Policy, d *domainVote, now time.Time) time.Time {
	sameRun := k.bridged && d.first.Sub(k.first).Abs() <= p.Round/2
	acrossGap := k.gap && now.Sub(k.lastDown) <= p.Stale() && !d.answered.After(k.first)
	if (sameRun || acrossGap) && k.downSince.Before(d.first) {
		return k.downSince
	}
	return d.first
}

// lostBoth says that a domain lost both clusters within one blip: probably
// its own network.
func lostBoth(p *Policy, a, b domainVote) bool {
	if a.vote != Down || b.vote != Down {
		return false
	}
	return a.lost.Sub(b.lost).Abs() <= max(p.RideOut, p.Stale())
}

// independentDowns counts the domains that say down of x and did not lose y
// with it.
func independentDowns(p *Policy, x, y *tally) int {
	n := 0
	for i := range x.domains {
		if x.domains[i].vote == Down && !lostBoth(p, x.domains[i], y.domains[i]) {
			n++
		}
	}
	return n
}

// refreshCorrelated latches a loss of both clusters; it ends when one side
// has been up for ride_out.
func (s *State) refreshCorrelated(p *Policy, now time.Time) {
	a, b := s.tally(p, p.Clusters[0], now), s.tally(p, p.Clusters[1], now)
	if a.verdict == Down && b.verdict == Down {
		s.correlated = true
		return
	}
	for _, t := range []*tally{&a, &b} {
		if t.verdict == Up && now.Sub(t.upSince) >= p.RideOut {
			s.correlated = false
		}
	}
}
