package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// JudgeName says what is wrong with a name.
func JudgeName(n NameFacts) []Finding {
	if len(n.Answers) == 0 {
		var out []Finding
		for _, id := range []string{"dns.cname", "dns.types", "dns.ttl", "dns.chain", "dns.secure", "dns.target", "dns.foreign"} {
			out = append(out, Skip(id, n.Name, "no authority of %s can be asked", n.Zone))
		}
		return out
	}
	out := []Finding{judgeCNAME(n), judgeTypes(n), judgeTTL(n)}
	out = append(out, judgeChains(n)...)
	out = append(out, judgeSecure(n))
	out = append(out, judgeTargets(n)...)
	return append(out, judgeForeign(n)...)
}

// shown says what an answer is, in words; empty: no usable answer.
func (a NameAnswer) shown() string {
	switch {
	case a.Err != "":
		return ""
	case len(a.CNAMEs) > 0:
		return strings.Join(a.CNAMEs, " and ")
	case a.Rcode != "":
		return a.Rcode
	default:
		return "no CNAME"
	}
}

func judgeCNAME(n NameFacts) Finding {
	const id = "dns.cname"
	said := map[string][]string{}
	silent := []string(nil)
	several := false
	for _, a := range n.Answers {
		at := server(a.At) + " " + a.Net
		if what := a.shown(); what != "" {
			said[what] = append(said[what], at)
		} else {
			silent = append(silent, at+": "+a.Err)
		}
		several = several || len(a.CNAMEs) > 1
	}
	values := n.values()
	var targets []string
	for _, t := range n.Targets {
		targets = append(targets, low(t.Target))
	}
	slices.Sort(targets)
	switch {
	case len(said) == 0:
		return Skip(id, n.Name, "no authority answered: %s", strings.Join(silent, "; "))
	case several:
		return bad(Fail, id, n.Name, "leave one CNAME at the name (RFC 1034 section 3.6.2)", "more than one CNAME: %s", joined(said))
	case len(values) == 0:
		return bad(Fail, id, n.Name, fmt.Sprintf("add a CNAME to the target that serves now, such as: %s %d IN CNAME %s", n.Name, n.TTL, targets[0]),
			"there is no CNAME: %s", joined(said))
	case len(said) > 1:
		return bad(Fail, id, n.Name, "find why the odd one does not follow the primary (NOTIFY, transfer, its log), or take it out of the NS records; look again after the zone's refresh time",
			"the authorities disagree: %s", joined(said))
	case len(values) == 1 && !slices.Contains(targets, values[0]):
		return bad(Fail, id, n.Name, fmt.Sprintf("point the name at one of %s, or write %s as target of the cluster that it is", strings.Join(targets, ", "), values[0]),
			"it points at %s, which is no target of the configuration", values[0])
	case len(silent) > 0:
		return bad(Warn, id, n.Name, "see dns.authorities", "%s at all that answered; no answer: %s", values[0], strings.Join(silent, "; "))
	}
	return okay(id, n.Name, "%s at all of %d answers", values[0], len(n.Answers))
}

func judgeTypes(n NameFacts) Finding {
	const id = "dns.types"
	with := map[string][]string{}
	answered := false
	for _, a := range n.Answers {
		if a.Err == "" && a.Net == "tcp" {
			answered = true
			if len(a.Others) > 0 {
				with[strings.Join(a.Others, ", ")] = append(with[strings.Join(a.Others, ", ")], server(a.At))
			}
		}
	}
	switch {
	case !answered:
		return Skip(id, n.Name, "no authority answered")
	case len(with) > 0:
		return bad(Fail, id, n.Name, "remove these records, or move them to another name: beside a CNAME nothing else may stand, and servers refuse or drop one of the two (RFC 1034 section 3.6.2)",
			"other records at the name: %s", joined(with))
	}
	return okay(id, n.Name, "nothing beside the CNAME")
}

func judgeTTL(n NameFacts) Finding {
	const id = "dns.ttl"
	var longest uint32
	for _, a := range n.Answers {
		longest = max(longest, a.TTL)
	}
	switch {
	case len(n.values()) == 0:
		return Skip(id, n.Name, "no CNAME is served")
	case longest > n.TTL:
		return bad(Warn, id, n.Name, fmt.Sprintf("set the TTL of the record to %d s and wait %d s before the first move", n.TTL, longest),
			"served with %d s, the policy says %d s: resolvers may keep the old value for the longer of the two", longest, n.TTL)
	}
	return okay(id, n.Name, "served with %d s, the policy says %d s", longest, n.TTL)
}

func judgeChains(n NameFacts) []Finding {
	const id = "dns.chain"
	var out []Finding
	for target, c := range n.Chains {
		way := strings.Join(append([]string{target}, c.Links...), " → ")
		switch {
		case c.Loop == n.Name:
			out = append(out, bad(Fail, id, n.Name, "let the target lead to the cluster's own addresses", "%s leads back to the name itself: %s", target, way))
		case c.Loop != "":
			out = append(out, bad(Fail, id, n.Name, "break the loop: a target must end at addresses", "%s comes again: %s", c.Loop, way))
		case strings.Contains(c.Err, "NXDOMAIN"), c.Err == "" && len(c.Addresses) == 0:
			out = append(out, bad(Fail, id, n.Name, "give "+last(target, c)+" an A or AAAA record: a move there would cut clients off",
				"%s: %s", way, orElse(c.Err, last(target, c)+" has no address")))
		case c.Err != "" && strings.Contains(c.Err, "in a row"):
			out = append(out, bad(Fail, id, n.Name, "shorten the chain: resolvers give up", "%s: %s", way, c.Err))
		case c.Err != "":
			out = append(out, bad(Warn, id, n.Name, "ask again from where clients resolve, or name a resolver that knows it: --resolver ADDRESS", "%s: not known where it leads: %s", way, c.Err))
		case len(c.Links) > 1:
			out = append(out, bad(Warn, id, n.Name, "point the target straight at the addresses: each link has a TTL of its own, and breaks by itself", "%s has %d links: %s; their TTLs and the name's own are %d s together", target, len(c.Links), way, n.ttl()+c.sum()))
		}
	}
	if len(out) == 0 {
		var ends []string
		for target, c := range n.Chains {
			end := target + " " + addressList(c.Addresses)
			if sum := c.sum(); sum > 0 {
				end += fmt.Sprintf(" (TTLs together %d s)", n.ttl()+sum)
			}
			ends = append(ends, end)
		}
		slices.Sort(ends)
		out = append(out, okay(id, n.Name, "%s", strings.Join(ends, "; ")))
	}
	return out
}

func last(target string, c ChainFacts) string {
	if len(c.Links) > 0 {
		return c.Links[len(c.Links)-1]
	}
	return target
}

func addressList(as []netip.Addr) string {
	var out []string
	for _, a := range as {
		out = append(out, a.String())
	}
	return listed(out)
}

// judgeTargets compares where clients would go with where probes look.
func judgeTargets(n NameFacts) []Finding {
	const id = "dns.target"
	var out, unknown []Finding
	for cluster, t := range n.Targets {
		c, d := n.Chains[low(t.Target)], n.Dialled[cluster]
		switch {
		case len(c.Addresses) == 0 || len(d.Addresses) == 0:
			unknown = append(unknown, Skip(id, n.Name, "cluster %s: not both are known: %s is %s, probes dial %s: %s",
				cluster, t.Target, orElse(addressList(c.Addresses), "unknown"), t.Address, orElse(addressList(d.Addresses), orElse(d.Err, "no address"))))
		case !slices.ContainsFunc(c.Addresses, func(a netip.Addr) bool { return slices.Contains(d.Addresses, a) }):
			out = append(out, bad(Warn, id, n.Name, "make both lead to the same front end, or be sure that one tells of the other: what is probed is not what clients reach",
				"cluster %s: clients would reach %s (%s), probes dial %s", cluster, addressList(c.Addresses), t.Target, addressList(d.Addresses)))
		}
	}
	if out = append(out, unknown...); len(out) == 0 {
		out = append(out, okay(id, n.Name, "clients would reach the addresses that probes dial"))
	}
	slices.SortFunc(out, func(a, b Finding) int { return strings.Compare(a.Evidence, b.Evidence) })
	return out
}
