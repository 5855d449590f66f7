package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// maxNegative is how long a missing name should be remembered at most, in
// seconds: a name that is gone for a moment stays gone for that long at every
// resolver that asked meanwhile.
const maxNegative = 60

// JudgeZone says what is wrong with a zone and the way to it.
func JudgeZone(z ZoneFacts) []Finding {
	out := []Finding{judgeDelegation(z)}
	out = append(out, judgeAuthorities(z)...)
	return append(out, judgeMinimum(z))
}

// privateTops are names that nothing on the Internet delegates (RFC 6761, RFC
// 6762, RFC 8375, and internal. by ICANN's resolution of July 2024).
var privateTops = []string{"test.", "localhost.", "invalid.", "example.", "local.", "home.arpa.", "internal."}

func private(zone string) bool {
	return slices.ContainsFunc(privateTops, func(top string) bool { return zone == top || strings.HasSuffix(zone, "."+top) })
}

func judgeDelegation(z ZoneFacts) Finding {
	const id = "dns.delegation"
	child := slices.Clone(z.child())
	var parent, askable []string
	for _, p := range z.Parents {
		if p.Err == "" {
			askable = append(askable, server(p.At))
			parent = append(parent, p.NS...)
		}
	}
	slices.Sort(parent)
	parent = slices.Compact(parent)
	switch {
	case len(askable) == 0 || len(parent) == 0 && private(z.Zone):
		why := z.ParentErr
		for _, p := range z.Parents {
			why = orElse(why, p.Err)
		}
		return Skip(id, z.Zone, "no delegation is to be seen from here: %s", orElse(why, "nothing above "+z.Zone+" names it"))
	case len(parent) == 0:
		return bad(Fail, id, z.Zone, fmt.Sprintf("add NS records for %s at %s: %s", z.Zone, z.Parent, orElse(strings.Join(child, ", "), "one for each authority")),
			"%s does not delegate it (asked %s)", z.Parent, strings.Join(askable, ", "))
	case len(child) == 0:
		return Skip(id, z.Zone, "%s names %s; no authority could be asked for its own list", z.Parent, strings.Join(parent, ", "))
	}
	onlyParent, onlyChild := without(parent, child), without(child, parent)
	if len(onlyParent)+len(onlyChild) > 0 {
		var what, fix []string
		if len(onlyChild) > 0 {
			what = append(what, fmt.Sprintf("%s lacks %s, which the zone names", z.Parent, strings.Join(onlyChild, ", ")))
			fix = append(fix, fmt.Sprintf("at %s add NS %s", z.Parent, strings.Join(onlyChild, ", ")))
		}
		if len(onlyParent) > 0 {
			what = append(what, fmt.Sprintf("%s names %s, which the zone does not", z.Parent, strings.Join(onlyParent, ", ")))
			fix = append(fix, fmt.Sprintf("in the zone add NS %s, or take it out at %s", strings.Join(onlyParent, ", "), z.Parent))
		}
		return bad(Fail, id, z.Zone, strings.Join(fix, "; ")+": clients ask both lists, a move is confirmed by one", "%s", strings.Join(what, "; "))
	}
	for _, host := range parent {
		if len(z.Hosts[host]) == 0 {
			return bad(Fail, id, z.Zone, "give "+host+" an A or AAAA record, at the parent too where it lies inside the zone (glue)",
				"%s and the zone name %s, and it has no address: %s", z.Parent, host, orElse(z.HostErr[host], "neither A nor AAAA"))
		}
	}
	return okay(id, z.Zone, "%s and the zone name %s", z.Parent, strings.Join(parent, ", "))
}

// child is every server that any authority names.
func (z *ZoneFacts) child() []string {
	var out []string
	for _, s := range z.Servers {
		out = append(out, s.NS...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func without(of, these []string) []string {
	return slices.DeleteFunc(slices.Clone(of), func(s string) bool { return slices.Contains(these, s) })
}

func judgeAuthorities(z ZoneFacts) []Finding {
	const id = "dns.authorities"
	if len(z.Servers) == 0 {
		return []Finding{Skip(id, z.Zone, "%s", z.Undirected)}
	}
	var out []Finding
	serials := map[uint32][]string{}
	lists := map[string][]string{}
	for _, s := range z.Servers {
		out = append(out, judgeServer(z.Zone, s)...)
		if s.TCP.good() {
			serials[s.TCP.Serial] = append(serials[s.TCP.Serial], server(s.At))
			lists[strings.Join(s.NS, ", ")] = append(lists[strings.Join(s.NS, ", ")], server(s.At))
		}
	}
	if len(serials) > 1 {
		var have []string
		for serial, at := range serials {
			have = append(have, fmt.Sprintf("%d at %s", serial, strings.Join(at, ", ")))
		}
		slices.Sort(have)
		out = append(out, bad(Warn, id, z.Zone, "make the primary tell them of changes (NOTIFY) and let them transfer the zone; look again in a minute: a move is confirmed when all show it",
			"serials differ: %s", strings.Join(have, "; ")))
	}
	if len(lists) > 1 {
		out = append(out, bad(Warn, id, z.Zone, "bring all copies of the zone to the same state", "the authorities name different servers: %s", joined(lists)))
	}
	out = append(out, z.unlisted()...)
	if len(out) == 0 {
		out = append(out, okay(id, z.Zone, "%d addresses answer over UDP and TCP: %s", len(z.Servers), z.asked()))
	}
	return out
}

func judgeServer(zone string, s ServerFacts) []Finding {
	const id = "dns.authorities"
	if s.UDP == s.TCP && !s.UDP.good() {
		s.TCP = SOAFacts{AA: true} // the same twice is said once
	}
	var out []Finding
	for _, x := range []struct {
		over string
		soa  SOAFacts
	}{{"UDP", s.UDP}, {"TCP", s.TCP}} {
		at := fmt.Sprintf("%s over %s", server(s.At), x.over)
		switch {
		case x.soa.Route:
			out = append(out, bad(Warn, id, zone, "give this host a route to it, or list the authorities that it can reach under the provider: a move is confirmed by those that are asked",
				"%s: no route from here", server(s.At)))
		case x.soa.Err != "":
			out = append(out, bad(Fail, id, zone, "start the server, open port "+fmt.Sprint(s.At.Port())+" for UDP and TCP, or take it out of the NS records", "%s: %s", at, x.soa.Err))
		case x.soa.Rcode != "" || !x.soa.AA:
			out = append(out, bad(Fail, id, zone, "load the zone on that server, or take it out of the NS records: to resolvers it is lame",
				"%s: %s", at, orElse(x.soa.Rcode, "the answer is not authoritative")))
		}
	}
	return out
}

// unlisted are addresses that clients ask and the config does not.
func (z *ZoneFacts) unlisted() []Finding {
	if len(z.Listed) == 0 {
		return nil
	}
	var left []string
	for host, addrs := range z.Hosts {
		for _, ip := range addrs {
			if !slices.ContainsFunc(z.Listed, func(l netip.AddrPort) bool { return l.Addr() == ip }) {
				left = append(left, fmt.Sprintf("%s (%s)", ip, host))
			}
		}
	}
	if len(left) == 0 {
		return nil
	}
	slices.Sort(left)
	return []Finding{bad(Warn, "dns.authorities", z.Zone, "add them under authorities of the provider (or as secondaries of the zone)",
		"clients may ask %s, and the configuration does not list it: a move is called confirmed without it", strings.Join(left, ", "))}
}

func (z *ZoneFacts) asked() string {
	var out []string
	for _, s := range z.Servers {
		out = append(out, server(s.At))
	}
	return listed(out)
}

func joined(m map[string][]string) string {
	var out []string
	for what, at := range m {
		out = append(out, fmt.Sprintf("%s at %s", orElse(what, "nothing"), strings.Join(at, ", ")))
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

func judgeMinimum(z ZoneFacts) Finding {
	const id = "dns.minimum"
	var worst SOAFacts
	seen := false
	for _, s := range z.Servers {
		for _, soa := range []SOAFacts{s.UDP, s.TCP} {
			if soa.good() {
				seen = true
				if soa.Negative() >= worst.Negative() {
					worst = soa
				}
			}
		}
	}
	switch n := worst.Negative(); {
	case !seen:
		return Skip(id, z.Zone, "no authority answered")
	case n > maxNegative:
		return bad(Warn, id, z.Zone, fmt.Sprintf("set the last field of the SOA of %s to %d or less (RFC 2308 section 5)", z.Zone, maxNegative),
			"resolvers remember a missing name for %d s (SOA minimum %d, TTL of the SOA %d): where the name is ever absent, clients are cut off for that long", n, worst.Minimum, worst.TTL)
	default:
		return okay(id, z.Zone, "a missing name is remembered for %d s", n)
	}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
