package doctor

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"pointsman/internal/failover"
)

// markPlaces are the names at which automata leave TXT records to say that a
// record is theirs, for a CNAME at name.
func markPlaces(name, zone string) []string {
	return []string{
		ourPlace(name),
		// external-dns puts the type before the name (docs/registry/txt.md of
		// kubernetes-sigs/external-dns); earlier versions, and those with
		// --txt-prefix, used the name itself or any prefix.
		"cname-" + name, "a-" + name, "externaldns-" + name, "externaldns-cname-" + name, "external-dns-" + name, "_external-dns." + name,
		name,
		// octoDNS: OwnershipProcessor and MetaProcessor.
		"_owner.cname." + strings.TrimSuffix(name, "."+zone) + "." + zone, "octodns-meta." + zone,
		zone,
	}
}

// markPlaces of a name. Beside one that is overridden in a policy zone its owner
// may have what he likes; only our mark is looked for.
func (p *NamePlan) markPlaces() []string {
	if p.MarkAt != "" {
		return []string{low(p.MarkAt)}
	}
	return markPlaces(p.Name, p.Zone)
}

func ourPlace(name string) string { return "_pointsman." + name }

// gtm recognises names of traffic managers, whose own probes would move the
// answer below ours: Alibaba Cloud GTM hands out *.gtm-*.com (gtm3 product
// introduction), others have the word as a label.
var gtm = regexp.MustCompile(`(^|\.)gtm-[a-z0-9]+\.com\.$|(^|\.)gtm[0-9]*\.|\.trafficmanager\.net\.$|\.akadns\.net\.$`)

func judgeForeign(n NameFacts) []Finding {
	const id = "dns.foreign"
	var out []Finding
	places := make([]string, 0, len(n.Texts))
	for p := range n.Texts {
		places = append(places, p)
	}
	slices.Sort(places)
	for _, p := range places {
		for _, text := range n.Texts[p] {
			if f, ok := judgeText(n, p, text); ok {
				out = append(out, f)
			}
		}
	}
	chains := make([]string, 0, len(n.Chains))
	for t := range n.Chains {
		chains = append(chains, t)
	}
	slices.Sort(chains)
	for _, t := range chains {
		for _, link := range append([]string{t}, n.Chains[t].Links...) {
			if gtm.MatchString(link) {
				out = append(out, bad(Fail, id, n.Name, "point the target at the cluster itself, or put that strategy into manual mode: two automata on one name fight",
					"the chain of %s passes %s, a traffic manager with probes of its own", t, link))
			}
		}
	}
	if len(out) == 0 {
		out = append(out, okay(id, n.Name, "no mark of another automaton (asked at %d names)", len(places)))
	}
	return out
}

// judgeText says whose mark a text is, if anybody's.
func judgeText(n NameFacts, at, text string) (Finding, bool) {
	const id = "dns.foreign"
	name := strings.TrimSuffix(n.Name, ".")
	lower := strings.ToLower(text)
	switch {
	case strings.Contains(lower, "heritage=external-dns"):
		owner := ""
		for field := range strings.SplitSeq(strings.Trim(text, `"`), ",") {
			if v, ok := strings.CutPrefix(field, "external-dns/owner="); ok {
				owner = " of owner " + v
			}
		}
		return bad(Fail, id, n.Name, fmt.Sprintf("run external-dns with --exclude-domains=%s, or take the name out of its source, then remove the TXT at %s", name, at),
			"external-dns%s holds the name: %s TXT %q", owner, at, text), true
	case strings.Contains(lower, "octodns") && strings.HasPrefix(at, "_owner."):
		return bad(Fail, id, n.Name, fmt.Sprintf("write octodns: {ignored: true} at the record %s in its YAML, or a NameRejectlistFilter, then remove the TXT at %s", name, at),
			"octoDNS holds the name: %s TXT %q", at, text), true
	case strings.HasPrefix(at, "octodns-meta."):
		return bad(Warn, id, n.Name, fmt.Sprintf("write octodns: {ignored: true} at the record %s in its YAML, or a NameRejectlistFilter", name),
			"octoDNS writes this zone: %s TXT %q", at, text), true
	case strings.Contains(lower, "terraform"):
		return bad(Warn, id, n.Name, "in the resource of the record write: lifecycle { ignore_changes = [records, ttl] } (the attribute has the provider's name for the value)",
			"Terraform seems to write this zone: %s TXT %q", at, text), true
	case at == n.markAt():
		m, err := failover.ParseMark(text)
		switch {
		case err != nil:
			return bad(Warn, id, n.Name, "remove the TXT at "+at+", or find who wrote it", "%s TXT %q is no mark that this program reads", at, text), true
		case m.By != n.By:
			return bad(Fail, id, n.Name, fmt.Sprintf("end the controller %s or take the name out of its configuration; then: pointsman adopt INSTANCE", m.By),
				"another controller, %s, wrote the name last (%s, term %d, epoch %d); this one is %s", m.By, m.Op, m.Token.Term, m.Token.Epoch, n.By), true
		}
	}
	return Finding{}, false
}
