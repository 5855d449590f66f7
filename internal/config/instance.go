package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pointsman/healthcheck"
	"pointsman/internal/failover"
)

const maxAge = 366 * 24 * time.Hour

// instances makes them all. known says which of them old has too, under the
// same circumstances; nil: none.
func (c *compiler) instances(cfg *Config, old *Config, known []int) {
	doc := cfg.doc
	if doc.Instances != nil && len(doc.Instances) == 0 {
		c.fault(doc.pos, missingHints["instances"], "instances is empty")
	}
	names := map[string]pos{}
	// All names first: a target may be a name that another instance manages.
	for i := range doc.Instances {
		d := &doc.Instances[i]
		for _, n := range d.Names {
			if n.Name.set {
				c.claim(d.Name.v, n.Name)
			}
		}
	}
	cfg.Instances = make([]Instance, 0, len(doc.Instances))
	for i := range doc.Instances {
		d := &doc.Instances[i]
		if d.Name.set {
			c.twice(names, "instance", d.Name)
		}
		if known != nil && known[i] >= 0 {
			was, line := &old.Instances[known[i]], old.doc.Instances[known[i]].line
			if inst, ok := c.again(cfg, d, was, d.line-line); ok {
				cfg.Instances = append(cfg.Instances, inst)
				continue
			}
		}
		if d.Name.set {
			c.word("an instance", d.Name.v, d.Name.at)
		}
		warned := len(c.warnings)
		inst := c.instance(cfg, d)
		inst.warnings = append(inst.warnings, c.warnings[warned:]...)
		cfg.Instances = append(cfg.Instances, inst)
	}
	c.domains(cfg)
}

// again takes an instance over from the config before, where it stood lines
// further up: with the same text under the same circumstances it comes to the
// same. What it says of its names to the zones and providers is said anew.
func (c *compiler) again(cfg *Config, doc *instanceDoc, was *Instance, lines int) (Instance, bool) {
	if was.bound || len(doc.Names) != len(was.Policy.Names) {
		return Instance{}, false
	}
	for _, n := range was.Policy.Names {
		for _, t := range n.Targets {
			if _, managed := c.names[failover.RecordName(t)]; managed {
				return Instance{}, false // it may be so only now
			}
		}
	}
	for i := range doc.Names {
		np := was.Policy.Names[i]
		c.nameZone(cfg, doc.Name.v, &doc.Names[i], &np)
	}
	again := *was
	again.warnings = nil
	for _, w := range was.warnings {
		w.Line += lines
		again.warnings = append(again.warnings, w)
	}
	c.warnings = append(c.warnings, again.warnings...)
	return again, true
}

// bound says that what a check comes to depends on more than the file.
func (d *checksDoc) bound() bool {
	return slices.ContainsFunc(d.all(), func(k *checkDoc) bool {
		return k.CAFile.set || k.Type.v == string(healthcheck.ICMP) || k.Type.v == string(healthcheck.Exec)
	})
}

// claim notes a name that is managed twice.
func (c *compiler) claim(instance string, x val[string]) {
	n := canonical(x.v)
	if first, ok := c.names[n]; ok {
		c.fault(x.at, "a name belongs to one instance, once", "the name %s is managed twice, first in line %d (instance %s)", n, first.at.line, first.instance)
		return
	}
	c.names[n] = owner{instance, x.at}
}

func (c *compiler) instance(cfg *Config, doc *instanceDoc) Instance {
	preset := failover.Preset(doc.Preset.v)
	p, err := failover.PresetPolicy(preset)
	if err != nil {
		if doc.Preset.set {
			oneOf(c, "preset", doc.Preset, preset, failover.Presets...)
		}
		p, _ = failover.PresetPolicy(failover.PresetHTTP) // go on and find the other mistakes
	}
	given := p
	p.Instance = failover.InstanceName(doc.Name.v)
	p.By = cfg.Controller.Name
	p.Vantages = cfg.votes()
	p.SingleVantage = cfg.doc.SingleVantage.v == acceptSingle
	p.Primary = failover.ClusterName(doc.Primary.v)
	c.timing(&doc.timingDoc, &p)
	c.knobs(doc, &p)
	c.clusters(doc, &p)
	c.windows(doc, &p)
	hooks := c.hooks(doc, &p)
	c.freezes(cfg, doc, &p)
	c.approvers(cfg, doc, &p)
	c.nameList(cfg, doc, &p)
	c.ttl(cfg, doc, &p)
	p.Clients = c.clients(&doc.Clients)
	if at, ok := doc.typed(); ok && doc.identity() == (pos{}) && p.MoveProof != failover.MoveProofWaived {
		c.fault(at, "write check.identity (types http, https, grpc, grpcs, dns and tablestore), or move_proof: waived if the risk is accepted",
			"the check does not show which cluster answers, so nothing proves that clients would be served after a move")
	}
	if preset == failover.PresetFastLab {
		c.labOnly(cfg, doc)
	}

	inst := Instance{Domains: c.clusterDomains(doc)}
	client := ""
	if len(doc.Names) > 0 && doc.Names[0].Name.set {
		client = string(canonical(doc.Names[0].Name.v))
	}
	inst.Aliases = c.aliases(cfg, doc)
	if len(inst.Aliases) > 0 && string(inst.Aliases[0].To) == client {
		client = string(inst.Aliases[0].Alias) // what clients send as Host and as the server name
	}
	var clusters []probedCluster
	for i := range doc.Clusters {
		e := &doc.Clusters[i]
		clusters = append(clusters, probedCluster{e.key, e.at, &e.val.clusterDoc, doc.Replication.carries()})
	}
	inst.Targets = c.probed(client, &p, doc.pos, &doc.checksDoc, clusters)
	writes(&p, inst.Targets)
	inst.Replication = c.replication(doc, &p, inst.Targets)
	c.watched(doc.Watch, preset, inst.Targets)
	// Every fault that the core can find was looked for above, with its place
	// and a hint. Its own word counts where nothing was found.
	if len(c.faults) == 0 {
		for _, err := range p.Validate() {
			path, message := splitFault(err)
			key, _, _ := strings.Cut(path, ",")
			c.also(find(doc, key, doc.pos), path, message)
		}
	}
	p.Generation = Instance{Targets: inst.Targets}.Generation()
	inst.generation = healthcheck.Generation(inst.Targets)
	inst.bound = len(inst.Aliases) > 0 || doc.bound() || doc.Hooks.runs() || doc.Replication.bound() || calendars(doc.Freeze) || calendars(cfg.doc.Freeze)
	p.Expected = fingerprint(p)
	inst.Policy, inst.Hooks = p, hooks
	inst.Settings = slices.Concat(settings(doc, given, p, inst.Targets), replicationText(inst.Replication), hooksText(hooks, p))
	return inst
}

// clusters takes the two clusters; any other number was a mistake.
func (c *compiler) clusters(doc *instanceDoc, p *failover.Policy) {
	for i := range doc.Clusters {
		e := &doc.Clusters[i]
		c.word("a cluster", e.key, e.at)
		if i < 2 {
			p.Clusters[i] = failover.ClusterName(e.key)
		}
	}
	c.two(len(doc.Clusters), func(i int) pos { return doc.Clusters[i].at })
	if doc.Primary.set && doc.Clusters.get(doc.Primary.v) == nil {
		c.fault(doc.Primary.at, choice(doc.Primary.v, doc.Clusters.keys()), "primary: %q is not one of the clusters", doc.Primary.v)
	}
}

// clusterDomains takes the failure domains in which the clusters stand.
func (c *compiler) clusterDomains(doc *instanceDoc) map[failover.ClusterName]failover.DomainName {
	var out map[failover.ClusterName]failover.DomainName
	for i := range doc.Clusters {
		e := &doc.Clusters[i]
		if !e.val.Domain.set {
			continue
		}
		c.word("a failure domain", e.val.Domain.v, e.val.Domain.at)
		if out == nil {
			out = make(map[failover.ClusterName]failover.DomainName)
		}
		out[failover.ClusterName(e.key)] = failover.DomainName(e.val.Domain.v)
	}
	return out
}

// two notes any other number of clusters than two; at is where one of them
// stands. A cluster that is written twice was noted as such.
func (c *compiler) two(n int, at func(int) pos) {
	const hint = "a moves to b and b to a: write each of the two once"
	switch {
	case n == 1 && len(c.doubled) == 0:
		c.fault(at(0), hint, "an instance has exactly two clusters, this one has 1")
	case n > 2:
		c.fault(at(2), hint, "an instance has exactly two clusters, this one has %d", n)
	}
}

// knobs puts the decisions of the file over those of the preset.
func (c *compiler) knobs(doc *instanceDoc, p *failover.Policy) {
	p.Auto = oneOf(c, "auto", doc.Auto, p.Auto, failover.AutoOff, failover.AutoPropose, failover.AutoApprove, failover.AutoAuto)
	p.Approvals = between(c, "approval", doc.Approval, p.Approvals, 0, maxApprovals)
	if life := between(c, "approval_life", doc.ApprovalLife, failover.DefaultApprovalLife, time.Minute, 24*time.Hour); doc.ApprovalLife.set {
		p.ApprovalLife = life // the default is no part of a policy's fingerprint
	}
	p.MinUp = between(c, "min_up", doc.MinUp, p.MinUp, 0, 24*time.Hour)
	p.Cooldown = between(c, "cooldown", doc.Cooldown, p.Cooldown, 0, maxAge)
	p.Settle = between(c, "config_settle", doc.ConfigSettle, p.Settle, 0, time.Hour)
	p.ReadEvery = between(c, "read_every", doc.ReadEvery, p.ReadEvery, time.Second, time.Hour)
	p.NeedAck = doc.Ack.or(p.NeedAck)
	p.MoveProof = oneOf(c, "move_proof", doc.MoveProof, p.MoveProof, failover.MoveProofRequired, failover.MoveProofWaived)
	if doc.Fence.set && oneOf(c, "fence", doc.Fence, failover.FenceNone, failover.FenceNone, failover.FencePrefer, failover.FenceStrict) != failover.FenceNone {
		c.fault(doc.Fence.at, "write fence: none, or leave the key out", "fence: %s needs a gate driver that can close a cluster, and none is configured", doc.Fence.v)
	}
	c.rpo(doc, p)
	if doc.Budget != nil {
		p.Budget = nil
	}
	for _, b := range doc.Budget {
		p.Budget = append(p.Budget, failover.Budget{
			Moves: between(c, "moves", b.Moves, 1, 1, 1000),
			Per:   between(c, "per", b.Per, time.Hour, time.Minute, maxAge),
		})
	}
}

// ttl takes the TTL and the highest floor of the providers of all names.
func (c *compiler) ttl(cfg *Config, doc *instanceDoc, p *failover.Policy) {
	for _, n := range doc.Names {
		if e := cfg.doc.Providers.get(n.Provider.v); e != nil && n.Provider.set {
			floor := c.seconds("ttl_floor", e.val.TTLFloor, p.TTLFloor, time.Second, 24*time.Hour)
			p.TTLFloor = max(p.TTLFloor, floor)
		}
	}
	at := doc.TTL.place(doc.pos)
	p.TTL = c.seconds("ttl", doc.TTL, p.TTL, time.Second, 24*time.Hour)
	if p.TTL < p.TTLFloor && !c.has(at) {
		c.fault(at, fmt.Sprintf("write ttl: %ds or more", p.TTLFloor), "ttl %ds is below the least that the provider takes, %ds", p.TTL, p.TTLFloor)
	}
}

// labOnly refuses fast-lab where a mistake would reach beyond this machine.
func (c *compiler) labOnly(cfg *Config, doc *instanceDoc) {
	const hint = "use stateless-http: fast-lab has no ride_out and moves on any blip"
	for _, n := range doc.Names {
		if pr := cfg.provider(n.Provider.v); pr != nil && pr.placed() && !pr.room().Loopback() {
			c.fault(doc.Preset.at, hint, "the preset fast-lab is for demos and benchmarks and is refused with the provider %s, which is not on this machine", pr.Name)
		}
		if n.Provider.v != embedded || cfg.Authority == nil {
			continue
		}
		for _, l := range cfg.Authority.Listen {
			if i := strings.LastIndexByte(l, ':'); i >= 0 && !loopback(strings.Trim(l[:i], "[]")) {
				c.fault(doc.Preset.at, hint, "the preset fast-lab is for demos and benchmarks and is refused while the authority listens on %s, which is not only this machine", l)
			}
		}
		c.labSecondaries(cfg, doc, n.Name.v, hint)
	}
}

// labSecondaries refuses fast-lab where other machines serve the name.
func (c *compiler) labSecondaries(cfg *Config, doc *instanceDoc, name, hint string) {
	for _, z := range cfg.Authority.Zones {
		if !strings.HasSuffix("."+string(canonical(name)), "."+string(canonical(string(z.Name)))) {
			continue
		}
		for _, s := range z.Secondaries {
			if !s.Address.Addr().Unmap().IsLoopback() {
				c.fault(doc.Preset.at, hint, "the preset fast-lab is for demos and benchmarks and is refused while %s has the secondary %s, which is not this machine", z.Name, s.Address)
			}
		}
	}
}

// fingerprint is a hash of everything that decides about an instance. It does
// not depend on comments, order of keys or defaults that are written out.
func fingerprint(p failover.Policy) string {
	// Neither who runs it nor a shadow run makes it another instance.
	p.Expected, p.By, p.ForceShadow = "", "", false
	// A freeze says when, not how: a calendar that was looked after must not
	// make automation wait until a changed config has settled.
	p.Freeze = nil
	p.Clients = failover.ClientPolicy{} // decides nothing
	b, err := json.Marshal(p)
	if err != nil {
		panic(errors.Join(errors.New("config: a policy is plain data and always has a JSON form"), err))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}
