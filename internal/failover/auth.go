package failover

import (
	"fmt"
	"time"
)

// On 12 November 2023 the provider's access-key service answered from an
// incomplete list for more than an hour: every key was refused, everywhere, and
// recovery came region by region. A refusal of a key is a fault of our own
// place and makes no vote, so nothing moved; but whoever is on call must hear
// once that both clusters are out of sight for one and the same reason, and
// nothing may start while the first of them comes back into it.

// domainsWith counts the domains of which most vantages fit.
func domainsWith(p *Policy, votes []vantageVote, fits func(i int) bool) int {
	n := 0
	for _, d := range p.Domains() {
		with, all := 0, 0
		for i := range votes {
			if votes[i].domain != d {
				continue
			}
			if all++; fits(i) {
				with++
			}
		}
		if all > 0 && 2*with > all {
			n++
		}
	}
	return n
}

// authDomains counts the domains whose own vantages were refused at both
// clusters, for the sake of their key.
func authDomains(p *Policy, a, b *tally) int {
	return domainsWith(p, a.votes, func(i int) bool { return a.votes[i].fault.Auth() && b.votes[i].fault.Auth() })
}

// blindDomains is the class of fault for which a quorum of domains cannot look
// at a cluster, how many domains that are, and the words of the first vantage.
func blindDomains(p *Policy, t *tally) (class Fault, domains int, why string) {
	for _, f := range Faults {
		n := domainsWith(p, t.votes, func(i int) bool { return t.votes[i].fault == f })
		if n < p.Quorum() {
			continue
		}
		for _, v := range t.votes {
			if v.fault == f {
				return f, n, v.reason
			}
		}
	}
	return FaultNone, 0, ""
}

// blind is the class of fault for which a quorum of domains cannot look.
func (t *tally) blind(p *Policy) Fault {
	if t.verdict != Unknown {
		return FaultNone // there is no quorum that cannot
	}
	class, _, _ := blindDomains(p, t)
	return class
}

// refreshAuth latches that both clusters went out of sight together because
// keys were refused. As after a loss of both it ends when one side has been up
// for ride_out.
func (s *State) refreshAuth(p *Policy, now time.Time) {
	a, b := s.tally(p, p.Clusters[0], now), s.tally(p, p.Clusters[1], now)
	if authDomains(p, &a, &b) >= p.Quorum() {
		if s.auth.IsZero() {
			s.auth = now
		}
		return
	}
	for _, t := range []*tally{&a, &b} {
		if t.verdict == Up && now.Sub(t.upSince) >= p.RideOut {
			s.auth = time.Time{}
		}
	}
}

// authWords says that keys are refused everywhere; empty when they are not.
func (s *State) authWords(p *Policy, now time.Time) string {
	if s.auth.IsZero() {
		return ""
	}
	a, b := s.tally(p, p.Clusters[0], now), s.tally(p, p.Clusters[1], now)
	n := authDomains(p, &a, &b)
	if n < p.Quorum() {
		return fmt.Sprintf("provider-wide auth fault since %s, receding: nothing moves until one side has been up for ride_out", s.auth.UTC().Format(time.RFC3339))
	}
	_, _, why := blindDomains(p, &a)
	if why == "" {
		why = "keys are refused for several reasons"
	}
	return fmt.Sprintf("provider-wide auth fault: keys are refused at both %s and %s, seen from %d of %d domains (%s); no vote is made of it and nothing moves. "+
		"The provider's access-key service, or a key that is used at both", p.Clusters[0], p.Clusters[1], n, len(p.Domains()), why)
}

// blindness tells people what probes cannot look at, and why: once for both
// clusters where keys are refused at both, otherwise once for each.
func (t *turn) blindness() {
	s, p := t.s, t.p
	if s.auth.IsZero() {
		t.unpage("auth-fault")
	} else {
		t.pageOnce("auth-fault", "both", fmt.Sprintf("%s: %s", p.Instance, s.authWords(p, t.now)))
	}
	for _, c := range p.Clusters {
		tl := s.tally(p, c, t.now)
		class, n, why := blindDomains(p, &tl)
		if class == FaultNone || class.Auth() && !s.auth.IsZero() {
			t.unpageOnce("blind", string(c)+" ")
			continue
		}
		t.pageOnce("blind", string(c)+" "+string(class), fmt.Sprintf("%s: probes cannot look at %s, from %d of %d domains (%s: %s); it counts as unknown, so nothing is moved to it nor away from it", p.Instance, c, n, len(p.Domains()), class, why))
	}
}
