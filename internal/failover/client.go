package failover

import "time"

// clientCount counts the domains of which a majority of vantages met a result
// with the client identity on a cluster, in a probe sent at or after since.
func (s *State) clientCount(p *Policy, c ClusterName, want ClientResult, since, now time.Time) int {
	n := 0
	for _, d := range p.Domains() {
		with, all := 0, 0
		for _, v := range p.Vantages {
			if v.Domain != d {
				continue
			}
			all++
			e := s.effective(p, v, c, now)
			if e.has && s.usable(p, v, now) && e.client == want && !e.clientAt.Before(since) {
				with++
			}
		}
		if 2*with > all {
			n++
		}
	}
	return n
}

// usable says that a vantage's report may be used at all: fresh, sane, of the
// right config generation. Its vote may still be unknown.
func (s *State) usable(p *Policy, v VantagePolicy, now time.Time) bool {
	r, ok := s.sights[v.Name]
	return ok && now.Sub(r.at) <= p.Stale() && r.Sick == "" && r.Generation == r.Want &&
		(s.tiltAt.IsZero() || r.at.After(s.tiltAt))
}

func (s *State) clientQuorum(p *Policy, c ClusterName, want ClientResult, since, now time.Time) bool {
	return s.clientCount(p, c, want, since, now) >= p.Quorum()
}

// clientAny says that at least one usable vantage met the result.
func (s *State) clientAny(p *Policy, c ClusterName, want ClientResult, now time.Time) bool {
	return s.clientSince(p, c, want, time.Time{}, now)
}

func (s *State) clientSince(p *Policy, c ClusterName, want ClientResult, since, now time.Time) bool {
	for _, v := range p.Vantages {
		e := s.effective(p, v, c, now)
		if e.has && s.usable(p, v, now) && e.client == want && !e.clientAt.Before(since) {
			return true
		}
	}
	return false
}

// clientFailing says that a quorum of domains wrote as a client and none of
// the writes was accepted.
func (s *State) clientFailing(p *Policy, c ClusterName, now time.Time) bool {
	return s.clientCount(p, c, ClientSilent, time.Time{}, now)+s.clientCount(p, c, ClientRefused, time.Time{}, now) >= p.Quorum()
}
