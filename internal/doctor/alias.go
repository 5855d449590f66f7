package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// AliasFacts is what stands at a name that clients call and that leads to a
// managed name by a CNAME that nobody moves.
type AliasFacts struct {
	Alias string
	To    string // the managed name
	Zone  string // in which the alias stands; empty: none was found
	Err   string // why not
	NameFacts
}

// SurveyAlias asks every authority of the zone of an alias. listed are the
// addresses that are known for it; none means that they are looked for.
func (a Asker) SurveyAlias(ctx context.Context, alias, to string, listed []netip.AddrPort) AliasFacts {
	f := AliasFacts{Alias: low(alias), To: low(to)}
	at := slices.Clone(listed)
	if zone, servers, err := a.above(ctx, f.Alias); err != nil {
		f.Err = err.Error()
		_, f.Zone, _ = strings.Cut(f.Alias, ".") // to ask those that are listed
	} else {
		f.Zone = zone
		for _, host := range servers {
			if len(listed) > 0 {
				break
			}
			addrs, err := a.addresses(ctx, host)
			if err != nil || len(addrs) == 0 {
				f.Err = fmt.Sprintf("%s, a server of %s, has no address", host, zone)
				continue
			}
			for _, ip := range addrs {
				at = append(at, netip.AddrPortFrom(ip, a.port()))
			}
		}
	}
	slices.SortFunc(at, netip.AddrPort.Compare)
	f.NameFacts = a.SurveyName(ctx, NamePlan{Name: f.Alias, Zone: f.Zone, Targets: map[string]NameTarget{}}, slices.Compact(at))
	return f
}

// above finds the zone in which a name stands, below its apex, and its servers.
func (a Asker) above(ctx context.Context, name string) (zone string, servers []string, err error) {
	for zone = name; ; {
		_, rest, _ := strings.Cut(zone, ".")
		if zone = dns.Fqdn(rest); zone == "." {
			return "", nil, errors.New("no resolver knows a zone above it")
		}
		r, err := a.resolve(ctx, zone, dns.TypeNS)
		if err != nil {
			return "", nil, err
		}
		if servers = nsIn(r.Answer, zone); len(servers) > 0 {
			return zone, servers, nil
		}
	}
}

// JudgeAlias says whether clients that call the alias come to the managed
// name, whoever they ask. Its TTL does not matter: it never changes.
func JudgeAlias(f AliasFacts) []Finding {
	const id = "dns.alias"
	fix := fmt.Sprintf("in the zone of %s write once: %s 3600 IN CNAME %s", f.Alias, f.Alias, f.To)
	if f.Zone == "" || len(f.Answers) == 0 {
		return []Finding{Skip(id, f.Alias, "its authorities cannot be asked: %s", orElse(f.Err, "none is known"))}
	}
	said := map[string][]string{}
	var silent, others []string
	for _, a := range f.Answers {
		at := server(a.At) + " " + a.Net
		what := a.shown()
		if what == "" || a.Rcode != "" && a.Rcode != "NXDOMAIN" {
			silent = append(silent, at+": "+orElse(a.Err, a.Rcode)) // no word about the name
			continue
		}
		said[what] = append(said[what], at)
		others = append(others, a.Others...)
	}
	slices.Sort(others)
	var out []Finding
	switch _, right := said[f.To]; {
	case len(said) == 0:
		out = append(out, Skip(id, f.Alias, "no authority answered: %s", strings.Join(silent, "; ")))
	case !right || len(said) > 1:
		out = append(out, bad(Fail, id, f.Alias, fix, "it shall lead to %s, and shows %s", f.To, joined(said)))
	case len(others) > 0:
		out = append(out, bad(Fail, id, f.Alias, "remove these records: beside a CNAME nothing else may stand (RFC 1034 section 3.6.2)", "other records at the name: %s", strings.Join(slices.Compact(others), ", ")))
	case len(silent) > 0 || f.Err != "":
		out = append(out, bad(Warn, id, f.Alias, "see that every server of "+f.Zone+" answers", "it leads to %s at all that answered; no answer: %s", f.To, orElse(strings.Join(silent, "; "), f.Err)))
	}
	for _, g := range judgeForeign(f.NameFacts) {
		if g.Verdict != OK && strings.HasPrefix(g.Evidence, "external-dns") {
			g.ID, g.Verdict = id, Warn // it may keep a record that never changes, but may also take it away
			out = append(out, g)
		}
	}
	if len(out) == 0 {
		out = append(out, okay(id, f.Alias, "leads to %s at all of %d answers; a failover changes nothing in %s", f.To, len(f.Answers), f.Zone))
	}
	return out
}
