package config

import (
	"fmt"
	"time"

	"pointsman/internal/failover"
	"pointsman/replication"
)

// partitionMoves is what a partition move of Tablestore may take under load
// with room to spare. The vendor gives about 100 ms at rest and seconds under
// load (its page on why 5xx errors come); the preset tablestore-standby waits
// this long for that reason.
const partitionMoves = 15 * time.Second

// inequalities are those that the policy alone cannot know.
func (cfg *Config) inequalities(p *failover.Policy) []failover.Inequality {
	domains := len(p.Domains())
	needs := "1"
	if p.Auto == failover.AutoAuto && !p.SingleVantage {
		needs = "2, or single_vantage: accept (auto: auto)"
	}
	return []failover.Inequality{{
		Name: "domains-for-auto", Left: fmt.Sprintf("failure domains %d", domains), Op: ">=", Right: needs,
		Holds: needs == "1" || domains >= 2, Why: "the network trouble of a single vantage looks like a dead cluster",
	}}
}

// idleLag says whether a failover can ever be within the rpo: a table that
// nobody writes to is read this seldom, and what was acknowledged meanwhile is
// not known.
func idleLag(r *Replication, p *failover.Policy) []failover.Inequality {
	if r == nil || r.Mode != replication.ModeStream || p.RPO.Kind != failover.RPOBounded {
		return nil
	}
	lag := r.Idle + r.Visibility
	return []failover.Inequality{{
		Name: "rpo-above-idle-lag", Left: "rpo " + figure(p.RPO.Bound), Op: ">", Right: fmt.Sprintf("poll.idle %s + visibility %s", figure(r.Idle), figure(r.Visibility)),
		Holds: p.RPO.Bound > lag, Why: "an idle table alone would refuse every automatic failover: what was written since its last reading is not known",
	}}
}

// advice is what holds and is probably not meant, or should be known.
func (cfg *Config) advice(p *failover.Policy) []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	ttl := time.Duration(p.TTL) * time.Second
	switch domains := len(p.Domains()); {
	case domains == 1:
		add("single domain: all vantages stand in the failure domain %s, whose own trouble looks like a dead cluster; three domains are the least that can lose one", p.Domains()[0])
	case domains == 2:
		add("two domains: both must agree, so when one is cut off nothing moves by itself")
	}
	if p.Preset == failover.PresetTablestore && p.RideOut < partitionMoves {
		add("ride_out %s is below %s: a partition move of Tablestore, which takes seconds under load, may become a move of the name", figure(p.RideOut), figure(partitionMoves))
	}
	if ttl > p.RideOut {
		add("ttl %s is above ride_out %s: what resolvers keep is the longest part of a failover; a lower ttl gains more than a lower ride_out", figure(ttl), figure(p.RideOut))
	}
	if p.MoveProof == failover.MoveProofWaived {
		add("move_proof is waived: nothing shows that the other cluster serves clients who come under this name")
	}
	if p.Auto == failover.AutoAuto && len(p.Budget) == 0 {
		add("budget is without bound: two clusters that are sick in turn may be moved between for ever, once each cooldown %s", figure(p.Cooldown))
	}
	if p.Cooldown < ttl {
		add("cooldown %s is below ttl %s: a second move may start while resolvers still hold the value before the first", figure(p.Cooldown), figure(ttl))
	}
	for _, n := range p.Names {
		if pr := cfg.provider(n.Provider); pr != nil && pr.Timeout > p.LongestCall {
			add("provider %s: timeout %s is above the longest call %s, at which a write is given up", pr.Name, figure(pr.Timeout), figure(p.LongestCall))
		}
	}
	return append(out, cfg.providerAdvice(p)...)
}

// providerAdvice is what the providers of the names do not promise, once for each.
func (cfg *Config) providerAdvice(p *failover.Policy) []string {
	var out []string
	seen := map[string]bool{}
	for _, n := range p.Names {
		pr := cfg.provider(n.Provider)
		if pr == nil || seen[pr.Name] {
			continue
		}
		seen[pr.Name] = true
		if n.Limits != "" {
			out = append(out, fmt.Sprintf("provider %s: %s", pr.Name, n.Limits))
		}
		if e := cfg.doc.Providers.get(pr.Name); pr.Alidns != nil && e != nil && !e.val.TTLFloor.set {
			out = append(out, fmt.Sprintf("provider %s: the least TTL hangs on the edition of its zone (free: 600 s) and is not known here; a ttl below it is refused at every move. pointsman doctor reads it; write it as ttl_floor to have it counted", pr.Name))
		}
	}
	return out
}
