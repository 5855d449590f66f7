package failover

import (
	"fmt"
	"strings"
	"time"
)

// Inequality is one relation between settings that must hold. Validate is made
// of them, and 'config explain' shows them all.
type Inequality struct {
	Name  string `json:"name"`
	Left  string `json:"left"`  // what stands on the left, with its value
	Op    string `json:"op"`    // <, <=, >, >=, or needs
	Right string `json:"right"` // what stands on the right, with its value
	Holds bool   `json:"holds"`
	Why   string `json:"why"` // what goes wrong where it does not hold

	Keys  string `json:"-"` // of the config, for the place of the mistake
	Fault string `json:"-"` // the mistake in words, where it does not hold
}

// Inequalities checks every relation between the numbers of a policy.
func (p *Policy) Inequalities() []Inequality {
	var out []Inequality
	add := func(keys, name string, holds bool, left, op, right, why, fault string) {
		out = append(out, Inequality{name, left, op, right, holds, why, keys, fault})
	}
	say := fmt.Sprintf
	add("round", "round-above-zero", p.Round > 0, say("round %s", span(p.Round)), ">", "0s", "nothing would ever be looked at", "must be above 0")
	add("timeout", "timeout-below-round", p.Timeout > 0 && p.Timeout < p.Round, say("timeout %s", span(p.Timeout)), "<", say("round %s", span(p.Round)),
		"a probe must end before the next one begins", say("%s must be above 0 and below round %s", p.Timeout, p.Round))
	add("burst", "burst-within-round", p.Burst >= 0 && p.Burst <= p.Round, say("burst %s", span(p.Burst)), "<=", say("round %s", span(p.Round)),
		"re-checks after a first miss must come faster than ordinary probes", say("%s must not be above round %s", p.Burst, p.Round))
	add("fall, rise", "fall-and-rise-at-least-one", p.Count.Fall >= 1 && p.Count.Rise >= 1, say("fall %d, rise %d", p.Count.Fall, p.Count.Rise), ">=", "1",
		"a vote needs at least one probe", "must be at least 1")
	add("window", "window-within-memory", p.Count.Window >= 0 && p.Count.Window <= 64, say("window %d", p.Count.Window), "<=", "64",
		"a vantage remembers 64 probes of a target", say("%d is outside 0 to 64", p.Count.Window))
	if p.Count.Window > 0 {
		add("ratio", "ratio-is-a-share", p.Count.Ratio > 0 && p.Count.Ratio <= 1, say("ratio %v", p.Count.Ratio), "<=", "1",
			"more than all of the probes cannot fail, and none of them is no failure", say("%v is outside 0 (excluded) to 1", p.Count.Ratio))
	}
	add("ride_out, cooldown", "waits-not-negative", p.RideOut >= 0 && p.Cooldown >= 0, say("ride_out %s, cooldown %s", span(p.RideOut), span(p.Cooldown)), ">=", "0s",
		"a wait has no negative length", "must not be negative")
	add("ttl", "ttl-at-least-floor", p.TTL >= p.TTLFloor, say("ttl %s", inSeconds(p.TTL)), ">=", say("floor %s of the provider", inSeconds(p.TTLFloor)),
		"the provider would refuse or raise it", say("%d s is below the provider's floor of %d s", p.TTL, p.TTLFloor))
	add("rpo", "rpo-needs-replication", p.RPO.Kind == RPONone || p.Replicated, say("rpo %s", p.RPO), "needs", say("replication: %s", thereIs(p.Replicated)),
		"without it nobody knows what would be lost", say("%s needs replication; without it say none", p.RPO))
	add("fence", "fence-needs-gate", p.Fence.strength() <= 0 || p.Gated, say("fence %s", p.Fence), "needs", say("gate driver: %s", thereIs(p.Gated)),
		"without one nothing can close the old cluster", say("%s needs a gate driver; without one say none", p.Fence))
	return out
}

func inSeconds(n uint32) string { return span(time.Duration(n) * time.Second) }

// span writes a duration as a file would have it: 15m, not 15m0s.
func span(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func thereIs(b bool) string {
	if b {
		return "there is"
	}
	return "there is none"
}
