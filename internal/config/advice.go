package config

import (
	"fmt"
	"time"

	"pointsman/internal/failover"
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
		if pr := cfg.provider(n.Provider); pr != nil && pr.Config.Timeout > p.LongestCall {
			add("provider %s: timeout %s is above the longest call %s, at which a write is given up", pr.Name, figure(pr.Config.Timeout), figure(p.LongestCall))
		}
	}
	return out
}
