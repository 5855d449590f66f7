package simulate

import (
	"errors"
	"fmt"
	"time"

	"pointsman/internal/failover"
)

// Comparison is one instance under the policies that ran and under another one.
type Comparison struct {
	Instance  failover.InstanceName `json:"instance"`
	Ran       Result                `json:"ran"`
	Asked     Result                `json:"asked"`
	Incidents []Difference          `json:"incidents"`
	Sooner    time.Duration         `json:"sooner_ns"` // of all moves that both made, in sum
	Warnings  []string              `json:"warnings"`
	Gaps      []failover.Gap        `json:"gaps"`
}

// Difference is one incident under both.
type Difference struct {
	Cluster failover.ClusterName `json:"cluster"`
	Began   time.Time            `json:"began"`
	Ran     *failover.Judged     `json:"ran,omitempty"`   // missing: no incident under it
	Asked   *failover.Judged     `json:"asked,omitempty"` // likewise
	Sooner  time.Duration        `json:"sooner_ns,omitempty"`
	What    string               `json:"what"`
}

// Compare replays the tapes under the policies that ran and under asked. A policy
// that ran and is not known any more is replaced by asked, which is said.
func Compare(in Input, asked failover.Policy) (Comparison, error) {
	c := Comparison{Instance: asked.Instance, Warnings: []string{}, Gaps: []failover.Gap{}}
	if len(in.Tapes) == 0 {
		return c, nil
	}
	known := in.Policy
	gone := map[string]bool{}
	in.Policy = func(hash string) (failover.Policy, error) {
		p, err := known(hash)
		if errors.Is(err, ErrPolicyGone) {
			if !gone[hash] {
				gone[hash] = true
				c.Warnings = append(c.Warnings, fmt.Sprintf("policy %.12s: %v; what is asked for stands in its place on both sides", hash, ErrPolicyGone))
			}
			return asked, nil
		}
		return p, err
	}
	var err error
	if c.Ran, err = Replay(in); err != nil {
		return c, fmt.Errorf("replay what ran: %w", err)
	}
	said := map[string]bool{}
	changed := in
	changed.Policy = func(hash string) (failover.Policy, error) {
		ran, err := in.Policy(hash)
		if err != nil {
			return ran, err
		}
		p, warnings := Knobs(ran, asked)
		for _, w := range warnings {
			if !said[w] {
				said[w] = true
				c.Warnings = append(c.Warnings, w)
			}
		}
		return p, nil
	}
	if c.Asked, err = Replay(changed); err != nil {
		return c, err
	}
	c.match()
	c.Gaps = append(c.Gaps, c.Ran.Gaps...)
	return c, nil
}

// match puts the incidents of both beside each other: those of one cluster that
// overlap are the same.
func (c *Comparison) match() {
	taken := make([]bool, len(c.Asked.Incidents))
	c.Incidents = []Difference{}
	for i := range c.Ran.Incidents {
		a := &c.Ran.Incidents[i]
		d := Difference{Cluster: a.Active, Began: a.Began, Ran: a}
		for k := range c.Asked.Incidents {
			if b := &c.Asked.Incidents[k]; !taken[k] && b.Active == a.Active && overlap(a, b) {
				taken[k], d.Asked = true, b
				break
			}
		}
		c.add(d)
	}
	for k := range c.Asked.Incidents {
		if b := &c.Asked.Incidents[k]; !taken[k] {
			c.add(Difference{Cluster: b.Active, Began: b.Began, Asked: b})
		}
	}
}

func overlap(a, b *failover.Judged) bool {
	ends := func(j *failover.Judged, at time.Time) bool { return !j.EndedAt.IsZero() && j.EndedAt.Before(at) }
	return !ends(a, b.Began) && !ends(b, a.Began)
}

func (c *Comparison) add(d Difference) {
	at := func(j *failover.Judged) (time.Time, string) {
		if j == nil {
			return time.Time{}, "no incident"
		}
		return j.WouldAt, string(j.Judgement)
	}
	ra, rj := at(d.Ran)
	aa, aj := at(d.Asked)
	d.What = rj + " -> " + aj
	if rj == aj {
		d.What = "still " + rj
	}
	switch {
	case !ra.IsZero() && !aa.IsZero():
		d.Sooner = ra.Sub(aa)
		c.Sooner += d.Sooner
	case !ra.IsZero():
		d.What += ", and it would not have moved"
	case !aa.IsZero():
		d.What += ", and it would have moved"
	}
	c.Incidents = append(c.Incidents, d)
}
