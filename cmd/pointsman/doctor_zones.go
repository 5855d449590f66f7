package main

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"pointsman/internal/config"
	"pointsman/internal/doctor"
	"pointsman/internal/failover"
)

// embeddedProvider is the provider of names that our own authority serves.
const embeddedProvider = "embedded"

// dnsIDs are what is said of a zone and its names, the delegation first.
var dnsIDs = []string{
	"dns.delegation", "dns.authorities", "dns.minimum", "dns.cname", "dns.types", "dns.ttl", "dns.chain", "dns.secure", "dns.target", "dns.foreign",
}

// zoneChecks look at the DNS of every name, one check for each zone: its names
// are asked at the same servers.
func (p *patient) zoneChecks() []doctor.Check {
	type at struct {
		zone, provider string
	}
	names := map[at][]doctor.NamePlan{}
	var order []at
	for _, i := range p.cfg.Instances {
		for _, n := range i.Policy.Names {
			k := at{string(n.Zone), n.Provider}
			if _, seen := names[k]; !seen {
				order = append(order, k)
			}
			names[k] = append(names[k], namePlan(p.cfg, i, n))
		}
	}
	var out []doctor.Check
	for _, k := range order {
		out = append(out, doctor.Check{IDs: dnsIDs, About: k.zone, Time: zoneTime, Look: func(ctx context.Context) []doctor.Finding {
			return p.zone(ctx, k.zone, k.provider, names[k])
		}})
	}
	return append(out, p.aliasChecks()...)
}

// aliasChecks look at the names that lead to managed ones, all of an instance
// at once.
func (p *patient) aliasChecks() []doctor.Check {
	var out []doctor.Check
	for _, i := range p.cfg.Instances {
		if len(i.Aliases) == 0 {
			continue
		}
		out = append(out, doctor.Check{IDs: []string{"dns.alias"}, About: string(i.Policy.Instance), Time: zoneTime, Look: func(ctx context.Context) []doctor.Finding {
			found := make([][]doctor.Finding, len(i.Aliases))
			var g errgroup.Group
			g.SetLimit(namesAtOnce)
			for k, a := range i.Aliases {
				g.Go(func() error {
					found[k] = doctor.JudgeAlias(p.asker.SurveyAlias(ctx, string(a.Alias), string(a.To), p.kept(a.Alias)))
					return nil
				})
			}
			_ = g.Wait() // an alias has findings, not errors
			return slices.Concat(found...)
		}})
	}
	return out
}

// kept are the authorities that the configuration lists for the zone of a name
// that no instance has.
func (p *patient) kept(n failover.RecordName) []netip.AddrPort {
	var best config.Provider
	for _, pr := range p.cfg.Providers {
		if strings.HasSuffix("."+string(n), "."+string(pr.Zone)) && len(pr.Zone) > len(best.Zone) {
			best = pr
		}
	}
	return best.Authorities
}

// zoneTime is what a zone and all its names may take.
const zoneTime = 50 * time.Second

func namePlan(cfg *config.Config, i config.Instance, n failover.NamePolicy) doctor.NamePlan {
	plan := doctor.NamePlan{
		Name: string(n.Name), Zone: string(n.Zone), TTL: i.Policy.TTL, By: cfg.Controller.Name, Targets: map[string]doctor.NameTarget{},
	}
	if k := slices.IndexFunc(cfg.Providers, func(pr config.Provider) bool { return pr.Name == n.Provider }); k >= 0 {
		pr := &cfg.Providers[k]
		plan.Overridden = len(pr.Resolvers) > 0
		if pr.RPZ != nil {
			if _, mark, err := pr.RPZ.Places(n.Name); err == nil {
				plan.MarkAt = strings.TrimSuffix(string(mark), string(pr.Zone)) // as clients of the resolvers find it
			}
		}
	}
	for _, t := range i.Targets {
		plan.Targets[string(t.Cluster)] = doctor.NameTarget{Target: string(n.Targets[t.Cluster]), Address: t.Address}
	}
	return plan
}

// overriding are the resolvers that show the names of a provider, where no
// authority does; none elsewhere.
func (p *patient) overriding(provider string) []netip.AddrPort {
	i := slices.IndexFunc(p.cfg.Providers, func(pr config.Provider) bool { return pr.Name == provider })
	if i < 0 {
		return nil
	}
	return p.cfg.Providers[i].Resolvers
}

// unshown is what is said of a zone that no authority shows.
func unshown(zone string, by []netip.AddrPort) []doctor.Finding {
	var at []string
	for _, a := range by {
		at = append(at, address(a))
	}
	var out []doctor.Finding
	for _, id := range dnsIDs[:3] {
		out = append(out, doctor.Skip(id, zone, "no authority shows it: clients are answered by the resolvers %s", strings.Join(at, ", ")))
	}
	return out
}

func (p *patient) zone(ctx context.Context, zone, provider string, names []doctor.NamePlan) []doctor.Finding {
	if by := p.overriding(provider); len(by) > 0 {
		return append(unshown(zone, by), p.names(ctx, names, by)...)
	}
	facts := p.asker.SurveyZone(ctx, zone, p.authorities(zone, provider))
	var asked []netip.AddrPort
	for _, s := range facts.Servers {
		if s.Answers() {
			asked = append(asked, s.At)
		}
	}
	if provider == embeddedProvider && p.running.Err != "" && len(asked) == 0 {
		return append(doctor.JudgeZone(facts)[:1], quiet(zone)...)
	}
	return append(doctor.JudgeZone(facts), p.names(ctx, names, asked)...)
}

// names asks for each of them at the servers that show it.
func (p *patient) names(ctx context.Context, names []doctor.NamePlan, at []netip.AddrPort) []doctor.Finding {
	found := make([][]doctor.Finding, len(names))
	var g errgroup.Group
	g.SetLimit(namesAtOnce)
	for i, n := range names {
		g.Go(func() error { found[i] = doctor.JudgeName(p.asker.SurveyName(ctx, n, at)); return nil })
	}
	_ = g.Wait() // a name has findings, not errors
	return slices.Concat(found...)
}

// namesAtOnce is how many names of a zone are looked at at a time; each is some
// ten questions to each of its servers.
const namesAtOnce = 8

// quiet is what is said of a zone of ours before any controller serves it.
func quiet(zone string) []doctor.Finding {
	var out []doctor.Finding
	for _, id := range dnsIDs[1:] {
		out = append(out, doctor.Skip(id, zone, "the embedded authority does not answer, and no controller runs"))
	}
	return out
}

// authorities are the addresses that the configuration has for a zone, as
// moves are confirmed by them. None: they are found by the delegation.
func (p *patient) authorities(zone, provider string) []netip.AddrPort {
	if provider == embeddedProvider && p.cfg.Authority != nil {
		var own []netip.AddrPort
		for _, l := range p.cfg.Authority.Listen {
			if at, err := netip.ParseAddrPort(l); err == nil {
				own = append(own, at)
			}
		}
		listed, _ := servedBy(own, p.cfg.Authority).of(context.Background(), failover.RecordName(zone)) // it knows them
		return listed
	}
	for _, pr := range p.cfg.Providers {
		if pr.Name == provider {
			return pr.Authorities
		}
	}
	return nil
}
