package main

import (
	"context"
	"net/netip"
	"slices"
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
	"dns.delegation", "dns.authorities", "dns.minimum", "dns.cname", "dns.types", "dns.ttl", "dns.chain", "dns.target", "dns.foreign",
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
	return out
}

// zoneTime is what a zone and all its names may take.
const zoneTime = 50 * time.Second

func namePlan(cfg *config.Config, i config.Instance, n failover.NamePolicy) doctor.NamePlan {
	plan := doctor.NamePlan{
		Name: string(n.Name), Zone: string(n.Zone), TTL: i.Policy.TTL, By: cfg.Controller.Name, Targets: map[string]doctor.NameTarget{},
	}
	for _, t := range i.Targets {
		plan.Targets[string(t.Cluster)] = doctor.NameTarget{Target: string(n.Targets[t.Cluster]), Address: t.Address}
	}
	return plan
}

func (p *patient) zone(ctx context.Context, zone, provider string, names []doctor.NamePlan) []doctor.Finding {
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
	out := doctor.JudgeZone(facts)
	found := make([][]doctor.Finding, len(names))
	var g errgroup.Group
	g.SetLimit(namesAtOnce)
	for i, n := range names {
		g.Go(func() error { found[i] = doctor.JudgeName(p.asker.SurveyName(ctx, n, asked)); return nil })
	}
	_ = g.Wait() // a name has findings, not errors
	return append(out, slices.Concat(found...)...)
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
			return pr.Config.Authorities
		}
	}
	return nil
}
