package config

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"pointsman/healthcheck"
	"pointsman/internal/failover"
)

// Setting is one number that an instance runs with.
type Setting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	From  string `json:"from"`          // file, preset, constant, or how it follows from others
	Was   string `json:"was,omitempty"` // what the preset gave, where the file overrides it
}

// Running is what an instance runs with, for programs. For people the same is
// [Config.Effective].
type Running struct {
	Instance failover.InstanceName `json:"instance"`
	Preset   failover.Preset       `json:"preset"`
	Config   string                `json:"config"`  // hash of what it decides by
	Targets  string                `json:"targets"` // hash of what is probed, which a vote must bear
	Primary  failover.ClusterName  `json:"primary"`
	Names    []RunningName         `json:"names"`
	Settings []Setting             `json:"settings"`
}

// RunningName is one name of an instance.
type RunningName struct {
	Name     failover.RecordName                      `json:"name"`
	Provider string                                   `json:"provider"`
	Zone     string                                   `json:"zone"`
	Targets  map[failover.ClusterName]failover.Target `json:"targets"`
}

// Running lists what every instance runs with.
func (cfg *Config) Running() []Running {
	var out []Running
	for _, inst := range cfg.Instances {
		p := inst.Policy
		r := Running{Instance: p.Instance, Preset: p.Preset, Config: p.Expected, Targets: inst.Generation(), Primary: p.Primary, Settings: inst.Settings}
		for _, n := range p.Names {
			r.Names = append(r.Names, RunningName{Name: n.Name, Provider: n.Provider, Zone: string(n.Zone), Targets: n.Targets})
		}
		out = append(out, r)
	}
	return out
}

// settings lists what an instance runs with and where each came from.
func settings(doc *instanceDoc, preset, p failover.Policy, targets []healthcheck.Target) []Setting {
	var out []Setting
	add := func(key string, set bool, was, is string) {
		s := Setting{Key: key, Value: is, From: "preset"}
		if set {
			s.From, s.Was = "file", was
		}
		out = append(out, s)
	}
	sec := func(n uint32) string { return figure(time.Duration(n) * time.Second) }
	add("round", doc.Round.set, figure(preset.Round), figure(p.Round))
	add("timeout", doc.Timeout.set, figure(preset.Timeout), figure(p.Timeout))
	add("burst", doc.Burst.set, figure(preset.Burst), figure(p.Burst))
	add("fall", doc.Fall.set, figure(preset.Count.Fall), figure(p.Count.Fall))
	add("rise", doc.Rise.set, figure(preset.Count.Rise), figure(p.Count.Rise))
	add("window", doc.Window.set, figure(preset.Count.Window), figure(p.Count.Window))
	add("ratio", doc.Ratio.set, figure(preset.Count.Ratio), figure(p.Count.Ratio))
	add("ride_out", doc.RideOut.set, figure(preset.RideOut), figure(p.RideOut))
	if len(targets) > 0 {
		add("watch", doc.Watch.set, string(presetWatch(preset.Preset)), string(targets[0].Watch))
	}
	add("min_up", doc.MinUp.set, figure(preset.MinUp), figure(p.MinUp))
	add("auto", doc.Auto.set, string(preset.Auto), string(p.Auto))
	add("approval", doc.Approval.set, fmt.Sprint(preset.Approvals), fmt.Sprint(p.Approvals))
	add("approval_life", doc.ApprovalLife.set, figure(failover.DefaultApprovalLife), figure(cmp.Or(p.ApprovalLife, failover.DefaultApprovalLife)))
	add("ttl", doc.TTL.set, sec(preset.TTL), sec(p.TTL))
	add("clients", doc.Clients.set(), clientsWords(preset.Clients), clientsWords(p.Clients))
	add("cooldown", doc.Cooldown.set, figure(preset.Cooldown), figure(p.Cooldown))
	add("ack", doc.Ack.set, fmt.Sprint(preset.NeedAck), fmt.Sprint(p.NeedAck))
	add("budget", doc.Budget != nil, budgets(preset.Budget), budgets(p.Budget))
	add("config_settle", doc.ConfigSettle.set, figure(preset.Settle), figure(p.Settle))
	add("read_every", doc.ReadEvery.set, figure(preset.ReadEvery), figure(p.ReadEvery))
	add("move_proof", doc.MoveProof.set, string(preset.MoveProof), string(p.MoveProof))
	add("rpo", doc.RPO.set, preset.RPO.String(), p.RPO.String())
	add("fence", doc.Fence.set, string(preset.Fence), string(p.Fence))

	out = append(out, maintenanceText(p)...)
	out = append(out, freezeText(p)...)
	derive := func(key, value, from string) { out = append(out, Setting{Key: key, Value: value, From: from}) }
	derive("vote is stale after", figure(p.Stale()), "two rounds")
	derive("detection takes about", figure(detection(p)), "up to one round, then the first miss and fall-1 re-checks, then the rest of ride_out")
	if k := tablestoreCheck(targets); k != nil {
		value, from := "off", "no more often than a round, or switched off"
		if k.FrontEvery > 0 && k.FrontEvery < p.Round {
			value, from = fmt.Sprintf("%s, for %s", figure(k.FrontEvery), figure(k.FrontTimeout)), "the check: front_every and front_timeout"
		}
		derive("front end is asked every", value, from)
		derive("canary is spread over", fmt.Sprintf("%d partition keys", len(healthcheck.CanaryParts)), "constant; one of them each round, in turn")
	}
	derive("quorum", fmt.Sprintf("%d of %d domains", p.Quorum(), len(p.Domains())), "more than half of the configured domains")
	derive("ttl during a switchover", sec(p.LowTTL()), "the provider's floor, at least 5s")
	derive("ttl floor", sec(p.TTLFloor), "the highest of the providers")
	derive("move proof counts for", figure(failover.MoveProofLife), "constant")
	derive("longest call", figure(p.LongestCall), "constant")
	derive("lease margin", figure(p.LeaseMargin), "constant")
	derive("authorities are asked every", figure(p.VerifyEvery), "constant")
	return out
}

// detection is the worst time from a clean death to the decision: the probe
// that meets it may come a round later, and every miss may take its timeout.
func detection(p failover.Policy) time.Duration {
	votes := p.Timeout + time.Duration(p.Count.Fall-1)*max(p.Burst, p.Timeout)
	return p.Round + max(votes, p.RideOut+p.Timeout)
}

func budgets(bs []failover.Budget) string {
	if len(bs) == 0 {
		return "unlimited"
	}
	var parts []string
	for _, b := range bs {
		parts = append(parts, fmt.Sprintf("%d per %s", b.Moves, figure(b.Per)))
	}
	return strings.Join(parts, ", ")
}

// Effective renders what every instance runs with: what config validate -v
// prints.
func (cfg *Config) Effective() string {
	var b strings.Builder
	for i, inst := range cfg.Instances {
		if i > 0 {
			b.WriteByte('\n')
		}
		p := inst.Policy
		fmt.Fprintf(&b, "instance %s (preset %s, config %.12s, targets %s)\n", p.Instance, p.Preset, p.Expected, inst.Generation())
		for _, n := range p.Names {
			fmt.Fprintf(&b, "  name %s by %s in zone %s\n", n.Name, n.Provider, n.Zone)
			for _, c := range p.Clusters {
				role := "standby at first"
				if c == p.Primary {
					role = "primary"
				}
				fmt.Fprintf(&b, "    %s -> %s (%s)\n", c, n.Targets[c], role)
			}
		}
		for _, s := range inst.Settings {
			from := s.From
			if s.From == "file" {
				from = fmt.Sprintf("file; the preset has %s", s.Was)
			}
			fmt.Fprintf(&b, "  %-28s %-20s %s\n", s.Key, s.Value, from)
		}
	}
	return b.String()
}
