package doctor

import (
	"fmt"
	"slices"
	"strings"

	"pointsman/internal/failover"
)

// JudgePromises says what a provider does not promise; words are empty where it
// promises all. It warns for as long as the name is there: nothing mends it, and
// whoever else may write should know.
func JudgePromises(provider, words string) Finding {
	const id = "provider.promises"
	if words == "" {
		return okay(id, provider, "a second writer is refused, and a change is all of it or nothing")
	}
	return bad(Warn, id, provider, "let nobody and nothing else write these names; or delegate them, once, to a small zone of the embedded authority or of a BIND", "%s", words)
}

// JudgeKey says whether a key may do what is needed and no more.
func JudgeKey(k KeyFacts) []Finding {
	const id = "provider.rights"
	switch {
	case k.Absent:
		return []Finding{Skip(id, k.Provider, "%s: %s", k.Key, k.Err)}
	case k.Bad:
		return []Finding{bad(Fail, id, k.Provider, "mend the key: file or variables, role, clock; pointsman init rights has the policy", "%s: %s", k.Key, k.Err)}
	case k.Err != "":
		return []Finding{Skip(id, k.Provider, "%s could not be tried: %s", k.Key, k.Err)}
	}
	var out []Finding
	var needed, wanted, unknown, granted, untried []string
	for _, r := range k.Rights {
		switch {
		case r.Broad:
		case r.State == "denied" && r.Needed:
			needed = append(needed, r.Action)
		case r.State == "denied":
			wanted = append(wanted, r.Action)
		case r.State == "granted":
			granted = append(granted, r.Action)
		case r.State == "unknown":
			unknown = append(unknown, r.Action)
		default:
			untried = append(untried, r.Action)
		}
	}
	if len(needed) > 0 {
		out = append(out, bad(Fail, id, k.Provider, "grant it on this zone: pointsman init rights prints the policy", "%s lacks %s: nothing can be read or moved", k.Key, strings.Join(needed, ", ")))
	}
	if len(wanted) > 0 {
		out = append(out, bad(Warn, id, k.Provider, "grant it on this zone: it reads, and without it doctor is blind there", "%s lacks %s", k.Key, strings.Join(wanted, ", ")))
	}
	if len(k.Others) > 0 {
		out = append(out, bad(Warn, id, k.Provider, "narrow its policy to this zone: pointsman init rights prints it; where the vendor does not authorise by zone, use an account of its own",
			"%s is too broad: it lists %d other zones of the account (%s)", k.Key, len(k.Others), listed(k.Others)))
	}
	if k.SameAs != "" {
		out = append(out, bad(Warn, id, k.Provider, "give read_credentials a key of its own whose policy has Describe… alone", "%s is %s too: a dry run would hold a key that can write", k.Key, k.SameAs))
	}
	if len(unknown) > 0 {
		out = append(out, Skip(id, k.Provider, "%s: not known of %s", k.Key, strings.Join(unknown, ", ")))
	}
	if len(out) == 0 {
		said := fmt.Sprintf("%s may %s, and lists no other zone", k.Key, joinedOr(granted, "nothing that was tried"))
		if len(untried) > 0 {
			said += "; not tried, since they write: " + strings.Join(untried, ", ")
		}
		out = append(out, okay(id, k.Provider, "%s", said))
	}
	return out
}

// JudgeCloudZone says what is wrong with a zone at a provider's API.
func JudgeCloudZone(z CloudZoneFacts) []Finding {
	var out []Finding
	if z.Public {
		out = append(out, judgeServedBy(z))
	}
	out = append(out, judgeFloor(z)...)
	if z.Private {
		out = append(out, judgePrivate(z)...)
	}
	return out
}

// judgeServedBy compares the servers that the provider has for a zone with those
// that the parent names: whatever is written at a provider that nobody asks
// moves nobody.
func judgeServedBy(z CloudZoneFacts) Finding {
	const id = "provider.delegation"
	low := func(of []string) []string {
		var out []string
		for _, s := range of {
			out = append(out, strings.TrimSuffix(strings.ToLower(s), "."))
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	expected, parent := low(z.Expected), low(z.Parent)
	fix := fmt.Sprintf("at the registrar, or in the zone above, name %s for %s and nothing else", joinedOr(expected, "the servers that the provider shows for it"), z.Zone)
	strangers, absent := without(parent, expected), without(expected, parent)
	switch {
	case z.Err != "":
		return Skip(id, z.Zone, "%s", z.Err)
	case len(parent) > 0 && len(expected) > 0 && len(absent) == len(expected):
		return bad(Fail, id, z.Zone, fix, "the zone above names %s, the provider has it at %s: what is written there moves nobody", strings.Join(parent, ", "), strings.Join(expected, ", "))
	case len(parent) > 0 && len(expected) > 0 && len(strangers) > 0:
		return bad(Fail, id, z.Zone, fix, "the zone above also names %s, which are not the provider's: their clients never see a move", strings.Join(strangers, ", "))
	case len(parent) > 0 && len(expected) > 0:
		return okay(id, z.Zone, "the zone above names the provider's servers: %s", strings.Join(parent, ", "))
	case z.Delegated == nil:
		return Skip(id, z.Zone, "not known: %s", orElse(z.DelegatedNo, "neither the provider nor the zone above says so"))
	case !*z.Delegated:
		return bad(Fail, id, z.Zone, fix, "the provider sees it delegated to %s, not to itself: what is written there moves nobody", joinedOr(low(z.Named), "nobody"))
	default:
		return okay(id, z.Zone, "the provider sees it delegated to itself: %s (the zone above could not be asked from here)", joinedOr(low(z.Named), "its servers"))
	}
}

func judgeFloor(z CloudZoneFacts) []Finding {
	const id = "provider.floor"
	switch {
	case z.Err != "" || z.MinTTL == 0 && z.Public:
		return []Finding{Skip(id, z.Zone, "the least TTL is not known: %s", orElse(z.Err, orElse(z.MinTTLNo, "the provider does not say")))}
	case z.MinTTL == 0:
		return nil
	}
	edition := ""
	if z.Edition != "" {
		edition = fmt.Sprintf(" (edition %s)", z.Edition)
	}
	var out []Finding
	for _, t := range z.TTLs {
		if z.MinTTL > t.TTL {
			out = append(out, bad(Fail, id, t.Instance, fmt.Sprintf("buy an edition that allows %d s; or write ttl: %ds, and ttl_floor: %[2]ds at the provider, and live with it", t.TTL, z.MinTTL),
				"zone %s takes no TTL below %d s%s and ttl is %d s: every move is refused. At %[2]d s the bounded part of a failover is %[5]s at worst, with the ttl that is wanted %[6]s", z.Zone, z.MinTTL, edition, t.TTL, t.AtFloor, t.Worst))
		}
	}
	if len(out) == 0 {
		out = append(out, okay(id, z.Zone, "it takes %d s and more%s, no ttl of an instance is below", z.MinTTL, edition))
	}
	return out
}

func judgePrivate(z CloudZoneFacts) []Finding {
	const id = "provider.private"
	if why := orElse(z.Err, z.PrivateNo); why != "" {
		return []Finding{Skip(id, z.Zone, "%s", why)}
	}
	var out []Finding
	switch {
	case z.Override && z.Passes != "RECORD":
		out = append(out, bad(Fail, id, z.Zone, "set the proxy pattern of the zone to RECORD (UpdateZoneInfo… in the console: subdomain recursive resolution)",
			"it overrides names of somebody else's domain and its proxy pattern is %s: every other name below it is gone for the networks bound to it, and nothing is written there", orElse(z.Passes, "not known")))
	case len(z.Bound) == 0:
		out = append(out, bad(Fail, id, z.Zone, "bind the networks of the clients to it", "it is bound to no network: nobody is answered from it"))
	}
	if len(z.Missing) > 0 {
		out = append(out, bad(Fail, id, z.Zone, "bind them to the zone, or take them out of vpcs", "it is not bound to %s of vpcs: clients there see no move", strings.Join(z.Missing, ", ")))
	}
	if z.Immediate != nil && !*z.Immediate {
		out = append(out, bad(Warn, id, z.Zone, "make it an acceleration zone (FAST_ZONE), or count on the TTL", "it is a standard zone: the resolvers of the networks keep an old answer for its TTL"))
	}
	if len(out) == 0 {
		kind := "of a kind that is not known"
		if z.Immediate != nil {
			kind = "an acceleration zone"
		}
		out = append(out, okay(id, z.Zone, "it is %s, bound to %s, proxy pattern %s", kind, listed(z.Bound), orElse(z.Passes, "not known")))
	}
	return out
}

// JudgeCloudName says what is wrong with the records of a name.
func JudgeCloudName(n CloudNameFacts) []Finding {
	const id = "provider.records"
	if n.Err != "" {
		return []Finding{Skip(id, n.Name, "%s", n.Err)}
	}
	var out []Finding
	fail := func(v Verdict, fix, format string, args ...any) {
		out = append(out, bad(v, id, n.Name, fix, format, args...))
	}
	byLine := map[string][]CloudRecord{}
	values := map[string][]string{}
	var lines, others, locked, paused, foreign []string
	for _, r := range n.Records {
		if r.Locked {
			locked = append(locked, r.Line)
		}
		if r.Disabled {
			paused = append(paused, r.Line)
		}
		if r.Type != "CNAME" {
			others = append(others, fmt.Sprintf("%s %s on line %s", r.Type, r.Value, r.Line))
			continue
		}
		if len(byLine[r.Line]) == 0 {
			lines = append(lines, r.Line)
		}
		byLine[r.Line] = append(byLine[r.Line], r)
		values[r.Value] = append(values[r.Value], r.Line)
		if m, err := failover.ParseMark(r.Mark); err == nil && m.By != n.By {
			foreign = append(foreign, fmt.Sprintf("%s (%s) on line %s", m.By, m.Op, r.Line))
		}
	}
	slices.Sort(lines)
	switch {
	case len(lines) == 0:
		fail(Fail, "make the record once by hand, on every line that you want: nothing here ever makes one", "there is no CNAME on any line")
		return out
	case !slices.Contains(lines, "default"):
		fail(Warn, "add a CNAME on the line default", "no CNAME on the line default, only on %s: clients of every other network are told that it does not exist", strings.Join(lines, ", "))
	}
	for _, l := range lines {
		if len(byLine[l]) > 1 {
			fail(Fail, "leave one CNAME on that line", "line %s has %d CNAMEs: nothing is written there", l, len(byLine[l]))
		}
	}
	if len(values) > 1 {
		fail(Fail, "give every line the value of the cluster that serves: pointsman explain says what is wanted", "the lines differ: %s", joined(values))
	}
	for v := range values {
		if !slices.ContainsFunc(n.Targets, func(t string) bool { return low(t) == low(v) }) && len(values) == 1 {
			fail(Fail, "point it at a target of the configuration, or correct the target", "it points at %s, which is no target of the configuration", v)
		}
	}
	if len(others) > 0 {
		fail(Fail, "remove them: beside a CNAME nothing else may stand, on any line (RFC 1034 section 3.6.2)", "other records at the name: %s", strings.Join(others, ", "))
	}
	if len(locked) > 0 {
		fail(Fail, "unlock it; a domain that has expired is locked too", "locked on %s: nothing can be written there", listed(slices.Compact(locked)))
	}
	if len(paused) > 0 {
		fail(Fail, "enable it: a paused record answers nobody", "paused on %s", listed(slices.Compact(paused)))
	}
	if n.Weighted {
		fail(Fail, "switch the weights off at this name: answers are shared out between records", "answers are shared out by weight: a move would be one of two answers")
	}
	if len(n.Managed) > 0 {
		fail(Fail, "point the record at the cluster itself, or put that strategy into manual mode: two automata on one name fight", "it leads to the vendor's traffic manager, which moves by itself: %s", strings.Join(n.Managed, ", "))
	}
	if len(foreign) > 0 {
		fail(Fail, "end that controller or take the name out of its configuration; then: pointsman adopt INSTANCE", "another controller wrote it last: %s; this one is %s", strings.Join(foreign, ", "), n.By)
	}
	if len(out) == 0 {
		r := byLine[lines[0]][0]
		where := "on line " + lines[0]
		if len(lines) > 1 {
			where = fmt.Sprintf("on %d lines: %s", len(lines), strings.Join(lines, ", "))
		}
		out = append(out, okay(id, n.Name, "%s %s", r.Value, where))
	}
	return out
}

// JudgePolicy says whether every resolver applies a policy zone to a name.
func JudgePolicy(f PolicyFacts) []Finding {
	const id = "provider.policy"
	var out []Finding
	stands := strings.Join(f.Stands, " and ")
	switch {
	case f.StandsErr != "":
		out = append(out, Skip(id, f.Name, "its primary does not say what stands in %s: %s", f.Zone, f.StandsErr))
	case stands == "":
		out = append(out, bad(Fail, id, f.Name, "make the record once by hand in the policy zone, to the cluster that serves", "the policy zone %s has no CNAME for it: clients are told what its owner says", f.Zone))
	}
	var applied, unsafe []string
	for _, r := range f.Resolvers {
		at, plain := server(r.At), strings.Join(r.Plain, " and ")
		switch {
		case r.Err != "":
			out = append(out, bad(Fail, id, f.Name, "start it, or take it out of resolvers of the provider", "resolver %s: %s", at, r.Err))
			continue
		case stands != "" && plain != stands:
			out = append(out, bad(Fail, id, f.Name, fmt.Sprintf("there write response-policy { zone %q; }, and let it take the zone from its primary (NOTIFY); BIND notes a new name up to 60 s later", strings.TrimSuffix(f.Zone, ".")),
				"resolver %s answers %s, the policy zone has %s: its clients see no move", at, orElse(plain, "what the owner says"), stands))
			continue
		}
		applied = append(applied, at)
		switch secure := strings.Join(r.Secure, " and "); {
		case stands == "" || r.SecErr != "" && !r.Signed:
		case r.Signed && secure != stands:
			unsafe = append(unsafe, at)
		}
	}
	if len(unsafe) > 0 {
		out = append(out, bad(Fail, id, f.Name, "write break-dnssec yes in its response-policy; clients that validate by themselves refuse the answer all the same",
			"its owner signs the name, and %s gives clients that ask for DNSSEC the owner's answer: they see no move", strings.Join(unsafe, ", ")))
	}
	targets := make([]string, 0, len(f.Overridden))
	for t := range f.Overridden {
		targets = append(targets, t)
	}
	slices.Sort(targets)
	for _, t := range targets {
		out = append(out, bad(Fail, id, f.Name, "take it out of the policy zone, or use another target: a policy is applied once", "the target %s is overridden itself, by %s: clients would be sent to what it really is", t, f.Overridden[t]))
	}
	if len(out) == 0 {
		out = append(out, okay(id, f.Name, "%s at all of %d resolvers: %s", stands, len(applied), listed(applied)))
	}
	return out
}

// JudgeView says whether a name leads to the same place inside and outside of a
// private network.
func JudgeView(f ViewFacts) Finding {
	const id = "provider.view"
	inside, public := strings.Join(f.Inside, " and "), strings.Join(f.Public, " and ")
	switch {
	case f.InErr != "":
		return bad(Fail, id, f.Name, "start the resolvers that are listed, or correct resolvers of the provider", "no resolver of the network answers for it: %s", f.InErr)
	case inside == "":
		return bad(Fail, id, f.Name, "bind that network to the zone; list resolvers that its clients ask", "the resolvers of the network show no CNAME for it: the private zone is not theirs")
	case f.PubErr != "":
		return Skip(id, f.Name, "inside it is %s; what others see is not known: %s", inside, f.PubErr)
	case public == "":
		return okay(id, f.Name, "inside it is %s; outside it has no CNAME", inside)
	case public != inside && f.Managed:
		return bad(Warn, id, f.Name, "let both names stand in one instance, so that they move together", "inside it is %s, outside %s", inside, public)
	case public != inside:
		return bad(Warn, id, f.Name, "give the public name its own provider, beside this one in the same instance; or be sure that nobody outside uses it",
			"inside it is %s, outside %s, which nothing here moves", inside, public)
	case !f.Managed:
		return bad(Warn, id, f.Name, "give the public name its own provider, beside this one in the same instance; or be sure that nobody outside uses it",
			"it is %s inside and outside, and nothing here moves it outside", inside)
	}
	return okay(id, f.Name, "%s inside and outside", inside)
}
