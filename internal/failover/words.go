package failover

import (
	"fmt"
	"strings"
	"time"
)

// words is one line about a cluster: "down for 2 of 3 domains, 2 needed …".
func (t *tally) words() string {
	var parts []string
	for _, d := range t.domains {
		s := fmt.Sprintf("%s says %s", d.domain, d.vote)
		if d.vote != Up {
			s += " (" + d.why() + ")"
		}
		parts = append(parts, s)
	}
	return fmt.Sprintf("%s: %s", t.verdict, strings.Join(parts, ", "))
}

// lines is the evidence of one cluster, a vantage a line.
func (t *tally) lines() []string {
	out := make([]string, 0, len(t.votes)+1)
	out = append(out, fmt.Sprintf("%s is %s", t.cluster, t.verdict))
	for _, v := range t.votes {
		out = append(out, fmt.Sprintf("%s in %s says %s of %s: %s", v.vantage, v.domain, v.vote, t.cluster, v.reason))
	}
	return out
}

// missing says what is still missing for a down verdict.
func (t *tally) missing(p *Policy, now time.Time) []string {
	var out []string
	if t.verdict != Down {
		for _, v := range t.votes {
			if v.has && v.vote != Down && v.misses > 0 {
				out = append(out, fmt.Sprintf("domain %s has %d of %d misses (%s)", v.domain, v.misses, v.fall, v.vantage))
			}
		}
		if t.downs > 0 {
			out = append(out, fmt.Sprintf("%d of %d domains say down, %d needed", t.downs, len(t.domains), p.Quorum()))
		}
		return out
	}
	if p.RideOut > 0 {
		if left := t.downSince.Add(p.RideOut).Sub(now); left > 0 {
			out = append(out, fmt.Sprintf("ride_out of %s: %s left", p.RideOut, left.Round(time.Millisecond)))
		} else if n := t.confirming(p); n < p.Quorum() {
			out = append(out, fmt.Sprintf("%d of %d domains missed again after ride_out", n, p.Quorum()))
		}
	}
	return out
}
