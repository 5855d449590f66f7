package main

import (
	"fmt"
	"time"

	"pointsman/dnsctl/authority"
	"pointsman/internal/api"
	"pointsman/internal/failover"
)

// lagging is how long a secondary may take to serve a change before status
// speaks of it.
const lagging = 5 * time.Second

// Secondaries lists every secondary for the API.
func (p *process) Secondaries() []api.Secondary {
	now := time.Now()
	var out []api.Secondary
	for _, s := range p.authority.Secondaries() {
		out = append(out, api.Secondary{
			Zone: s.Zone, Address: s.Address.String(), At: now, OK: s.Well(lagging), Verdict: s.Verdict(), Clients: s.Clients, Notify: s.Notify,
			Serial: s.Serial, Sent: s.Sent, SentAt: s.SentAt, Acknowledged: s.Acked, AcknowledgedAt: s.AckedAt,
			Served: s.Serves, ServedAt: s.ServesAt, BehindMS: s.Behind.Milliseconds(), SilentSince: s.SilentSince,
		})
	}
	return out
}

// secondaryNotices says which secondaries of an instance's own names do not
// serve what we serve.
func (p *process) secondaryNotices(v failover.View) []string {
	var out []string
	told := make(map[string]bool)
	for _, n := range v.Names {
		secondaries := p.secondariesOf(n)
		if len(secondaries) == 0 || told[secondaries[0].Zone] {
			continue // their zone was another name's
		}
		told[secondaries[0].Zone] = true
		for _, s := range secondaries {
			if !s.Well(lagging) {
				out = append(out, fmt.Sprintf("secondary %s of %s %s; ours is %d", s.Address, s.Zone, s.Verdict(), s.Serial))
			}
		}
	}
	return out
}

// secondaryLines says for explain whether the secondaries that the world asks
// show what the record says of each name.
func (p *process) secondaryLines(names []failover.NameView) []string {
	var out []string
	for _, n := range names {
		asked, has := 0, 0
		var without []string
		for _, s := range p.secondariesOf(n) {
			if !s.Clients {
				continue
			}
			asked++
			why := p.without(&s, n.Name)
			if why == "" {
				has++
				continue
			}
			without = append(without, fmt.Sprintf("  %s: %s %s", why, s.Address, s.Verdict()))
		}
		if asked > 0 {
			out = append(out, fmt.Sprintf("%s %s is shown by %d of %d secondaries that clients ask", n.Name, n.Value, has, asked))
		}
		out = append(out, without...)
	}
	return out
}

// without says in words whether a secondary does not show a name as we do;
// empty: it does.
func (p *process) without(s *authority.SecondaryStats, name failover.RecordName) string {
	switch {
	case s.ServesAt.IsZero() || s.LookErr != "" || s.Serial == 0:
		return "not known"
	case s.Serves == s.Serial:
		return ""
	}
	switch lacks, known := p.authority.Lacks(s.Zone, s.Serves, name); {
	case !known:
		return "not known"
	case lacks:
		return "not yet"
	default:
		return ""
	}
}

func (p *process) secondariesOf(n failover.NameView) []authority.SecondaryStats {
	if p.authority == nil || n.Provider != "embedded" {
		return nil
	}
	return p.authority.SecondariesOf(n.Name)
}
