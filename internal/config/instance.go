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

	"pointsman/dnsctl"
	"pointsman/dnsctl/authority"
	"pointsman/internal/failover"
)

const maxAge = 366 * 24 * time.Hour

func (c *compiler) instances(cfg *Config) {
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
	for i := range doc.Instances {
		d := &doc.Instances[i]
		if d.Name.set {
			c.word("an instance", d.Name.v, d.Name.at)
			c.twice(names, "instance", d.Name)
		}
		cfg.Instances = append(cfg.Instances, c.instance(cfg, d))
	}
	c.domains(cfg)
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
	c.nameList(cfg, doc, &p)
	c.ttl(cfg, doc, &p)
	if doc.Check.Type.set && doc.Check.Identity.pos == (pos{}) && p.MoveProof != failover.MoveProofWaived {
		c.fault(doc.Check.Type.at, "write check.identity (types http and https), or move_proof: waived if the risk is accepted",
			"the check does not show which cluster answers, so nothing proves that clients would be served after a move")
	}
	if preset == failover.PresetFastLab {
		c.labOnly(cfg, doc)
	}

	inst := Instance{}
	client := ""
	if len(doc.Names) > 0 && doc.Names[0].Name.set {
		client = string(canonical(doc.Names[0].Name.v))
	}
	var clusters []probedCluster
	for i := range doc.Clusters {
		e := &doc.Clusters[i]
		clusters = append(clusters, probedCluster{e.key, e.at, &e.val.clusterDoc})
	}
	inst.Targets = c.probed(client, &p, &doc.Check, clusters)
	// Every fault that the core can find was looked for above, with its place
	// and a hint. Its own word counts where nothing was found.
	if len(c.faults) == 0 {
		for _, err := range p.Validate() {
			path, message := splitFault(err)
			key, _, _ := strings.Cut(path, ",")
			c.also(find(doc, key, doc.pos), path, message)
		}
	}
	p.Expected = fingerprint(p, Instance{Targets: inst.Targets}.Generation())
	inst.Policy = p
	inst.Settings = settings(doc, given, p)
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
	if p.Auto == failover.AutoApprove {
		c.fault(doc.Auto.at, "write auto: propose (a person starts the move) or auto: auto", "auto: approve needs people who can approve, and nothing for that is configured")
	}
	p.MinUp = between(c, "min_up", doc.MinUp, p.MinUp, 0, 24*time.Hour)
	p.Cooldown = between(c, "cooldown", doc.Cooldown, p.Cooldown, 0, maxAge)
	p.Settle = between(c, "config_settle", doc.ConfigSettle, p.Settle, 0, time.Hour)
	p.NeedAck = doc.Ack.or(p.NeedAck)
	p.MoveProof = oneOf(c, "move_proof", doc.MoveProof, p.MoveProof, failover.MoveProofRequired, failover.MoveProofWaived)
	if doc.Fence.set && oneOf(c, "fence", doc.Fence, failover.FenceNone, failover.FenceNone, failover.FencePrefer, failover.FenceStrict) != failover.FenceNone {
		c.fault(doc.Fence.at, "write fence: none, or leave the key out", "fence: %s needs a gate driver that can close a cluster, and none is configured", doc.Fence.v)
	}
	if doc.RPO.set && doc.RPO.v != string(failover.RPONone) {
		if _, err := time.ParseDuration(doc.RPO.v); err != nil && doc.RPO.v != string(failover.RPOZero) {
			c.fault(doc.RPO.at, choice(doc.RPO.v, []string{"none", "zero"}), "rpo: %q is not known", doc.RPO.v)
		} else {
			c.fault(doc.RPO.at, "write rpo: none, or leave the key out", "rpo: %s needs replication that says what would be lost, and none is configured", doc.RPO.v)
		}
	}
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

func (c *compiler) nameList(cfg *Config, doc *instanceDoc, p *failover.Policy) {
	if doc.Names != nil && len(doc.Names) == 0 {
		c.fault(doc.pos, missingHints["names"], "names is empty")
	}
	for i := range doc.Names {
		n := &doc.Names[i]
		for _, e := range n.Targets {
			if doc.Clusters.get(e.key) == nil {
				c.fault(e.at, choice(e.key, doc.Clusters.keys()), "targets: %q is not one of the clusters", e.key)
			}
		}
		if !n.Name.set {
			continue
		}
		name, err := dnsctl.ParseName(n.Name.v)
		if err != nil {
			c.fault(n.Name.at, "write the full name that clients call, such as orders.example.com.", "%v", err)
			continue
		}
		np := failover.NamePolicy{Name: name, Provider: n.Provider.v, Embedded: n.Provider.v == embedded, Targets: map[failover.ClusterName]failover.Target{}}
		c.nameTargets(cfg, doc, n, &np)
		c.nameZone(cfg, n, &np)
		p.Names = append(p.Names, np)
	}
}

// nameTargets finds the target of a name for each cluster.
func (c *compiler) nameTargets(cfg *Config, doc *instanceDoc, n *nameDoc, np *failover.NamePolicy) {
	var first pos
	for i := range min(len(doc.Clusters), 2) {
		e := &doc.Clusters[i]
		x, at := e.val.Target, e.at
		if o := n.Targets.get(e.key); o != nil {
			x, at = o.val, o.at
		}
		if !x.set {
			if x.at == (pos{}) && !c.has(at) {
				c.fault(at, "write target here, or under targets of the name", "the cluster %s has no target for the name %s", e.key, np.Name)
			}
			continue
		}
		t, err := dnsctl.ParseTarget(x.v)
		switch holder, managed := c.names[failover.RecordName(canonical(x.v))]; {
		case c.has(x.at):
		case err != nil:
			c.fault(x.at, "a target is a name with an address record of its own", "%v", err)
			continue
		case t == failover.Target(np.Name):
			c.fault(x.at, "point at a name that only this cluster has", "the name %s would point at itself", np.Name)
		case managed:
			c.fault(x.at, "point at the cluster's own name: a chain adds its TTLs and can become a loop", "the target %s is itself a managed name (instance %s)", t, holder.instance)
		case first != pos{} && slices.Contains(targetsOf(np), t):
			c.fault(x.at, "write the name of this very cluster", "the name %s has the same target %s for both clusters", np.Name, t)
		case t == failover.Target(dnsctl.MarkName(np.Name)):
			c.fault(x.at, "point at the cluster's own name", "the target %s is where the mark of the name stands", t)
		default:
			c.dangling(cfg, x.at, t)
		}
		first = x.at
		np.Targets[failover.ClusterName(e.key)] = t
	}
}

func targetsOf(np *failover.NamePolicy) []failover.Target {
	var ts []failover.Target
	for _, t := range np.Targets {
		ts = append(ts, t)
	}
	return ts
}

// dangling refuses a target in a zone of ours that has no address there:
// clients would be answered NXDOMAIN.
func (c *compiler) dangling(cfg *Config, at pos, t failover.Target) {
	z := cfg.zoneOf(failover.RecordName(t))
	if z == nil {
		return
	}
	if len(z.Hosts[failover.RecordName(t)]) == 0 {
		c.fault(at, fmt.Sprintf("add it under hosts of the zone: %s: [192.0.2.1]", t), "the target %s stands in our zone %s, which has no address for it", t, z.Name)
	}
}

// nameZone finds the provider and the zone of a name.
func (c *compiler) nameZone(cfg *Config, n *nameDoc, np *failover.NamePolicy) {
	if !n.Provider.set {
		return
	}
	targets := targetsOf(np)
	slices.Sort(targets)
	if np.Embedded {
		z := cfg.zoneOf(np.Name)
		switch {
		case cfg.Authority == nil:
			c.fault(n.Provider.at, "add authority: with listen and zones", "the provider embedded needs our own authority, and none is configured")
		case z == nil:
			c.fault(n.Name.at, "zones of the authority: "+zoneNames(cfg), "the name %s stands in no zone of the authority", np.Name)
		case z.Name == np.Name:
			c.fault(n.Name.at, fmt.Sprintf("use a name below it, such as www.%s", np.Name), "the name %s is the apex of its zone, where SOA and NS live: a CNAME may not stand there (RFC 1034 section 3.6.2)", np.Name)
		default:
			np.Zone = z.Name
			i := slices.IndexFunc(cfg.Authority.Zones, func(x authority.Zone) bool { return x.Name == z.Name })
			c.zonesFor[fmt.Sprintf("zones[%d].names[%d]", i, len(z.Names))] = n.Name.at
			c.zonesFor[fmt.Sprintf("zones[%d].targets.%s", i, np.Name)] = n.Name.at
			if _, ok := z.Targets[np.Name]; !ok {
				z.Names = append(z.Names, np.Name)
			}
			z.Targets[np.Name] = targets
		}
		return
	}
	pr := cfg.provider(n.Provider.v)
	if pr == nil {
		known := append([]string{embedded}, cfg.doc.Providers.keys()...)
		c.fault(n.Provider.at, choice(n.Provider.v, known), "the provider %q is not configured", n.Provider.v)
		return
	}
	np.Zone = failover.RecordName(pr.Config.Zone)
	switch {
	case np.Zone == "" || np.Zone == ".":
	case np.Name == np.Zone:
		c.fault(n.Name.at, fmt.Sprintf("use a name below it, such as www.%s", np.Name), "the name %s is the apex of its zone, where SOA and NS live: a CNAME may not stand there (RFC 1034 section 3.6.2)", np.Name)
	case !below(np.Name, np.Zone):
		c.fault(n.Name.at, "use the provider of the zone in which the name stands", "the name %s stands outside the zone %s of the provider %s", np.Name, np.Zone, pr.Name)
	default:
		pr.Config.Allowed[np.Name] = targets
	}
}

func zoneNames(cfg *Config) string {
	var ns []string
	for _, z := range cfg.Authority.Zones {
		ns = append(ns, string(z.Name))
	}
	return strings.Join(ns, ", ")
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
		if pr := cfg.provider(n.Provider.v); pr != nil && pr.Config.Server != "" && !pr.Config.Loopback() {
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
	}
}

const acceptSingle = "accept"

// domains looks at the failure domains of all vantages: automatic operation
// wants three, two must agree, one must be accepted in so many words.
func (c *compiler) domains(cfg *Config) {
	single := cfg.doc.SingleVantage
	if single.set && single.v != acceptSingle {
		c.fault(single.at, choice(single.v, []string{acceptSingle}), "single_vantage: %q is not known", single.v)
		return
	}
	p := failover.Policy{Vantages: cfg.votes()}
	domains := p.Domains()
	at := cfg.doc.Vantage.Domain.place(cfg.doc.Vantage.pos)
	auto := slices.ContainsFunc(cfg.Instances, func(i Instance) bool { return i.Policy.Auto == failover.AutoAuto })
	switch {
	case c.has(at) || at == (pos{}):
	case len(domains) == 1 && auto && !single.set:
		c.fault(at, "add vantages in two other domains; or write single_vantage: accept and vantage.controls; or auto: propose for every instance",
			"all vantages stand in the one failure domain %s: its own network trouble would look like a dead cluster", domains[0])
	case len(domains) == 1 && single.set && len(cfg.Self.Controls) == 0:
		c.fault(single.at, "write vantage.controls: [tcp://192.0.2.1:22], addresses that answer whenever this machine's network works",
			"single_vantage: accept needs controls, by which the vantage knows its own network trouble")
	case len(domains) == 1:
		c.warn(at, "three failure domains are the least for automatic operation that can be trusted", "one vantage sees one network: what it loses looks dead")
	case len(domains) == 2:
		c.warn(at, "add a vantage in a third domain", "there are two failure domains, so both must agree: when one is cut off, nothing moves by itself")
	}
	if single.set && len(domains) > 1 {
		c.warn(single.at, "remove it", "single_vantage has no use with %d failure domains", len(domains))
	}
}

// fingerprint is a hash of everything that decides about an instance. It does
// not depend on comments, order of keys or defaults that are written out.
func fingerprint(p failover.Policy, generation string) string {
	// Neither who runs it nor a shadow run makes it another instance.
	p.Expected, p.By, p.ForceShadow = "", "", false
	b, err := json.Marshal(struct {
		Policy     failover.Policy
		Generation string
	}{p, generation})
	if err != nil {
		panic(errors.Join(errors.New("config: a policy is plain data and always has a JSON form"), err))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}
