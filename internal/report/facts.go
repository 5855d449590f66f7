package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"pointsman/internal/failover"
)

// Facts is what the controller knows of one instance at one moment.
type Facts struct {
	View   failover.View
	Hand   []failover.Verdict   // the guards of a failover that a person asks for now
	Auto   []failover.Verdict   // those of one that automation would begin
	Bound  []failover.BoundTerm // how long a failover takes at worst
	TTL    uint32               // seconds, what the policy wants in steady state
	Drill  time.Time            // of the last rehearsal; zero: none is recorded
	Proved bool                 // a move proof is wanted: it is not waived
	Rows   string               // how the rows get to the standby, in words; empty where nothing is replicated
	Old    time.Duration        // how old a state may be that still says what is; 0: any
}

// readiness says whether the instance could fail over now.
func (f *Facts) readiness(now time.Time) (Readiness, []failover.Refusal, []failover.Refusal) {
	v := &f.View
	if f.Old > 0 && now.Sub(v.At) > f.Old {
		return Unsure, []failover.Refusal{{Why: fmt.Sprintf("its state is %s old: its loop does not turn", span(now.Sub(v.At)))}}, nil
	}
	if len(f.Hand) == 0 {
		return Unsure, []failover.Refusal{{Guard: failover.GuardAdopting, Why: cmp.Or(v.Waiting, "there is no record of it yet")}}, nil
	}
	hand, auto := refusals(f.Hand), refusals(f.Auto)
	auto = slices.DeleteFunc(auto, func(r failover.Refusal) bool {
		return slices.ContainsFunc(hand, func(h failover.Refusal) bool { return h.Guard == r.Guard })
	})
	switch {
	case len(hand) == 1 && hand[0].Guard == failover.GuardShadow:
		return WhenArmed, hand, auto
	case len(hand) > 0:
		return Not, hand, auto
	case len(auto) > 0:
		return ByPerson, nil, auto
	}
	return ByItself, nil, nil
}

func refusals(vs []failover.Verdict) []failover.Refusal {
	var out []failover.Refusal
	for _, v := range vs {
		if v.Binds && !v.Allow {
			out = append(out, failover.Refusal{Guard: v.Guard, Why: plain(v.Why), Hint: plain(v.Hint)})
		}
	}
	return out
}

// warnings are what rides along with votes and never moved anything.
func (f *Facts) warnings(now time.Time) []string {
	v := &f.View
	var out []string
	add := func(format string, args ...any) {
		if w := plain(fmt.Sprintf(format, args...)); !slices.Contains(out, w) && len(out) < maxWarnings {
			out = append(out, w)
		}
	}
	for _, c := range v.Clusters {
		for _, x := range c.Votes {
			for _, w := range x.Warnings {
				add("%s, seen from %s: %s", c.Name, x.Vantage, w)
			}
			if left := x.CertificateEnds.Sub(now); !x.CertificateEnds.IsZero() && left < certificateSoon {
				add("%s: the certificate that %s saw ends %s (%s)", c.Name, x.Vantage, x.CertificateEnds.UTC().Format("2006-01-02 15:04 MST"), fromNow(left))
			}
		}
	}
	for _, n := range v.Names {
		if n.TTL != 0 && f.TTL != 0 && n.TTL != f.TTL && v.Op == nil {
			add("%s carries a TTL of %d s, the policy says %d s", n.Name, n.TTL, f.TTL)
		}
		if p := n.Published; p != nil && !p.Agree && len(p.Dissent) > 0 {
			add("%s is not shown by every authority: %s", n.Name, p.Dissent[0])
		} else if p != nil && p.Agree && p.MaxTTL > max(n.TTL, f.TTL) && f.TTL != 0 {
			add("an authority answers %s with a TTL of %d s, the policy says %d s", n.Name, p.MaxTTL, f.TTL)
		}
		if n.SeenErr != "" {
			add("%s cannot be read: %s", n.Name, n.SeenErr)
		}
	}
	for _, n := range v.Notices {
		add("%s", n)
	}
	return out
}

func fromNow(left time.Duration) string {
	if left < 0 {
		return span(-left) + " ago"
	}
	return "in " + span(left)
}

const (
	maxWarnings     = 40 // of one instance
	certificateSoon = 30 * 24 * time.Hour
	drillLife       = 92 * 24 * time.Hour // a quarter: what is not rehearsed fails when it is needed
)

// exposure is what switching now would lose; empty where nothing is replicated.
func (f *Facts) exposure() string {
	e := &f.View.Exposure
	switch {
	case !e.Applies:
		return ""
	case e.Gap != "":
		return "not known: " + plain(e.Gap)
	case !e.Known:
		return "not known"
	case e.Rows > 0:
		return fmt.Sprintf("up to %s, %d rows", span(e.Bound), e.Rows)
	}
	return "up to " + span(e.Bound)
}

// proofs are what was shown once, and how long ago; moved are the operations of
// the window, newest first.
func (f *Facts) proofs(now time.Time, moved []Switch) []Proof {
	var out []Proof
	add := func(what string, at time.Time, life time.Duration, how string) {
		p := Proof{What: what, At: at, Life: life, How: plain(how), Stale: at.IsZero()}
		if !at.IsZero() {
			p.Age = max(now.Sub(at), 0)
			p.Stale = p.Age > life
		}
		out = append(out, p)
	}
	for _, c := range f.View.Clusters {
		switch {
		case !f.Proved:
			continue
		case slices.ContainsFunc(c.Votes, func(v failover.VantageView) bool { return v.Identity && v.Vote == failover.Up }):
			add("move to "+string(c.Name), now, failover.MoveProofLife, "every probe asks who answers")
		case c.Proof != nil:
			add("move to "+string(c.Name), c.Proof.At, failover.MoveProofLife, c.Proof.How)
		default:
			add("move to "+string(c.Name), time.Time{}, failover.MoveProofLife, "")
		}
	}
	add("drill", f.drill(moved), drillLife, "")
	return out
}

// drill is when it was last shown that the way can be gone: by a rehearsal, or
// by an operation that settled.
func (f *Facts) drill(moved []Switch) time.Time {
	at := f.Drill
	if l := f.View.LastOp; l != nil && l.Outcome == failover.Settled {
		at = latest(at, l.At)
	}
	for _, s := range moved {
		if s.Outcome == failover.Settled {
			at = latest(at, s.At)
		}
	}
	return at
}

// worst is the sum of the bounded terms.
func worst(terms []failover.BoundTerm) time.Duration {
	var sum time.Duration
	for _, t := range terms {
		if !t.Unbounded {
			sum += t.Is
		}
	}
	return sum
}
