package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"pointsman/dnsctl"
	"pointsman/internal/api"
	"pointsman/internal/controller"
	"pointsman/internal/doctor"
	"pointsman/internal/failover"
)

// world says for the API how the world answers for an instance.
type world struct{ p *process }

func (w world) Names(ctx context.Context, i failover.InstanceName, look bool) ([]api.NameMatrix, error) {
	s, ok := w.p.ctl.Snapshot(i)
	if !ok {
		return nil, fmt.Errorf("%s: %w", i, controller.ErrUnknownInstance)
	}
	rec, found := s.State.Record()
	if !found {
		return nil, nil
	}
	f := w.p.now.Load()
	if look {
		f.setup.Verifier.Verify(ctx, rec.Names)
	}
	var out []api.NameMatrix
	for _, n := range rec.Names {
		m := matrix(n, w.p.surveys.last(n.Name))
		m.Vantage = f.cfg.Controller.Name
		m.ByHand = w.p.ctl.ByHand(n)
		if look {
			w.way(ctx, &m, n, s.Policy)
		}
		out = append(out, m)
	}
	return out, ctx.Err()
}

// way looks at the delegation of a name and at where its targets lead.
func (w world) way(ctx context.Context, m *api.NameMatrix, n failover.NameRecord, p *failover.Policy) {
	f := w.p.now.Load()
	asker := askerHere()
	look, _ := f.setup.Verifier.(verifier)
	var listed []netip.AddrPort
	if a, ok := look.providers[n.Provider].(fixed); ok {
		listed = a
	}
	if n.Embedded && look.own != nil {
		listed, _ = look.own.of(ctx, n.Zone) // it knows them
	}
	by, overridden := look.providers[n.Provider].(resolvers)
	var at []netip.AddrPort
	if overridden {
		m.Delegation, at = findings(unshown(string(n.Zone), by)), by
	} else {
		zone := asker.SurveyZone(ctx, string(n.Zone), listed)
		m.Delegation = findings(doctor.JudgeZone(zone))
		for _, s := range zone.Servers {
			if s.Answers() {
				at = append(at, s.At)
			}
		}
	}
	plan := doctor.NamePlan{Name: string(n.Name), Zone: string(n.Zone), TTL: n.TTL, By: p.By, Targets: map[string]doctor.NameTarget{}, Overridden: overridden}
	if np := p.Name(n.Name); np != nil {
		for c, t := range np.Targets {
			plan.Targets[string(c)] = doctor.NameTarget{Target: string(t)}
		}
	}
	for _, x := range doctor.JudgeName(asker.SurveyName(ctx, plan, at)) {
		if x.ID == "dns.chain" || x.ID == "dns.secure" {
			m.Chain = append(m.Chain, findings([]doctor.Finding{x})...)
		}
	}
}

func findings(fs []doctor.Finding) []api.NameFinding {
	var out []api.NameFinding
	for _, f := range fs {
		out = append(out, api.NameFinding{ID: f.ID, Verdict: string(f.Verdict), Evidence: f.Evidence, Fix: f.Fix})
	}
	return out
}

// matrix is one name with the newest round of its authorities.
func matrix(n failover.NameRecord, seen []dnsctl.Sight) api.NameMatrix {
	m := api.NameMatrix{
		Name: n.Name, Zone: n.Zone, Provider: n.Provider, Want: n.Value, TTL: n.TTL, Rounds: failover.AgreeRounds,
		Authorities: []api.AuthoritySight{},
	}
	var newest uint32
	for _, s := range seen {
		if s.Agree || newest == 0 {
			newest = newerSerial(newest, s.Serial)
		}
		m.Authorities = append(m.Authorities, api.AuthoritySight{
			Address: address(s.At), Net: s.Net, Agree: s.Agree, Why: s.Why, Value: s.Value, TTL: s.TTL, AA: s.AA, Rcode: s.Rcode,
			NSID: s.NSID, Serial: s.Serial, TookMS: s.Took.Milliseconds(), At: s.Heard,
		})
	}
	for _, s := range seen {
		m.Asked++
		if s.Agree {
			m.Agree++
			continue
		}
		line := fmt.Sprintf("%s over %s: %s", address(s.At), s.Net, s.Why)
		switch {
		case s.Serial != 0 && s.Serial != newest:
			line += fmt.Sprintf("; its zone has serial %d, others have %d", s.Serial, newest)
		case s.Serial != 0:
			line += fmt.Sprintf("; its zone has serial %d", s.Serial)
		}
		m.Stragglers = append(m.Stragglers, line)
	}
	slices.Sort(m.Stragglers)
	return m
}

// newerSerial is the later of two serials (RFC 1982 section 3.2); 0 is none.
func newerSerial(a, b uint32) uint32 {
	if a == 0 || b != 0 && int32(b-a) > 0 {
		return b
	}
	return a
}

// address writes an address as people do, the port only where it is unusual.
func address(a netip.AddrPort) string { return distinct([]netip.AddrPort{a})[0] }
