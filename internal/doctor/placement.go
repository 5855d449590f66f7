package doctor

import (
	"fmt"
	"slices"
	"strings"

	"pointsman/internal/failover"
)

// Place is where everything of one instance stands. Domains are those of the
// config; an empty one was not written.
type Place struct {
	Instance   string
	Controller string // with its ledger
	Home       failover.DomainName
	Vantages   []failover.VantagePolicy
	Clusters   [2]failover.ClusterName
	Domains    map[failover.ClusterName]failover.DomainName
	Single     bool // single_vantage: accept
}

// failureDomains lists the domains of the vantages, each once, sorted.
func (p Place) failureDomains() []failover.DomainName {
	pol := failover.Policy{Vantages: p.Vantages}
	return pol.Domains()
}

// JudgeDomains says whether the vantages can lose one domain and still agree.
func JudgeDomains(p Place) Finding {
	const id = "placement.domains"
	domains := p.failureDomains()
	var stand []string
	for _, d := range domains {
		stand = append(stand, fmt.Sprintf("%s: %s", d, strings.Join(p.standing(d), ", ")))
	}
	evidence := strings.Join(stand, "; ")
	switch len(domains) {
	case 1:
		v := Fail
		if p.Single {
			v = Warn
		}
		return bad(v, id, "", "add a vantage in each of two other domains: pointsman config vantage NAME",
			"all vantages stand in one failure domain, whose own network trouble looks like a dead cluster (%s)", evidence)
	case 2:
		return bad(Warn, id, "", "add a vantage in a third domain", "two failure domains must both agree: when one is cut off nothing moves by itself (%s)", evidence)
	default:
		return okay(id, "", "%s", evidence)
	}
}

func (p Place) standing(d failover.DomainName) []string {
	var out []string
	for _, v := range p.Vantages {
		if v.Domain == d {
			out = append(out, string(v.Name))
		}
	}
	return out
}

// JudgeBlast says what dies together with each cluster. A cluster must not
// take with it who would move the name away from it: the controller with its
// ledger, or so many vantages that the rest is no quorum; nor the other
// cluster.
func JudgeBlast(p Place) []Finding {
	const id = "placement.blast"
	a, b := p.Clusters[0], p.Clusters[1]
	var untold []string
	for _, c := range p.Clusters {
		if p.Domains[c] == "" {
			untold = append(untold, fmt.Sprintf("clusters.%s.domain", c))
		}
	}
	if len(untold) > 0 {
		return []Finding{bad(Warn, id, p.Instance, "write for each cluster the failure domain in which it stands (site, zone or rack, in the words of vantage.domain)",
			"it is not known what dies together: %s not written", strings.Join(untold, " and ")+isAre(len(untold)))}
	}
	if p.Domains[a] == p.Domains[b] {
		return []Finding{bad(Fail, id, p.Instance, "put the clusters into different failure domains, or tell those apart that are (clusters.NAME.domain)",
			"both clusters stand in %s: when it dies there is nowhere to move to (%s)", p.Domains[a], p.together(p.Domains[a]))}
	}
	all := p.failureDomains()
	policy := failover.Policy{Vantages: p.Vantages}
	quorum := policy.Quorum()
	var out []Finding
	var safe []string
	for _, c := range p.Clusters {
		d := p.Domains[c]
		left := len(all)
		if slices.Contains(all, d) {
			left--
		}
		var why, fix []string
		if p.Home == d {
			why = append(why, "with the controller and its ledger nobody can move the name")
			fix = append(fix, "run the controller in a domain without a cluster")
		}
		if left < quorum {
			why = append(why, fmt.Sprintf("%d of %d domains are left, and a quorum is %d", left, len(all), quorum))
			fix = append(fix, "add vantages in domains without a cluster")
		}
		if len(why) == 0 {
			safe = append(safe, fmt.Sprintf("%s dies: %s; %d of %d domains are left, a quorum is %d", d, p.together(d), left, len(all), quorum))
			continue
		}
		out = append(out, bad(Fail, id, p.Instance, strings.Join(fix, "; "), "%s dies: %s: %s", d, p.together(d), strings.Join(why, "; ")))
	}
	if len(out) == 0 {
		out = append(out, okay(id, p.Instance, "%s", strings.Join(safe, "; ")))
	}
	return out
}

func isAre(n int) string {
	if n == 1 {
		return " is"
	}
	return " are"
}

// together lists what stands in a domain.
func (p Place) together(d failover.DomainName) string {
	var out []string
	for _, c := range p.Clusters {
		if p.Domains[c] == d {
			out = append(out, "cluster "+string(c))
		}
	}
	if p.Home == d {
		out = append(out, "controller "+p.Controller+" with its ledger")
	}
	if vs := p.standing(d); len(vs) > 0 {
		out = append(out, "vantage "+strings.Join(vs, ", "))
	}
	return strings.Join(out, ", ")
}
