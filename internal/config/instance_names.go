package config

import (
	"fmt"
	"slices"
	"strings"

	"pointsman/dnsctl"
	"pointsman/dnsctl/authority"
	"pointsman/internal/failover"
)

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
		c.nameZone(cfg, doc.Name.v, n, &np)
		p.Names = append(p.Names, np)
	}
}

// maxAliases bounds the aliases of one name: each is asked for by doctor.
const maxAliases = 32

// aliases are the names that lead to those of the instance.
func (c *compiler) aliases(cfg *Config, doc *instanceDoc) []Alias {
	var out []Alias
	for i := range doc.Names {
		n := &doc.Names[i]
		if len(n.Aliases) > maxAliases {
			c.fault(n.Aliases[maxAliases].at, "let the others lead to one of these", "the name %s has %d aliases, at most %d are taken", n.Name.v, len(n.Aliases), maxAliases)
			continue
		}
		for _, x := range n.Aliases {
			if !x.set || !n.Name.set {
				continue
			}
			alias, err := dnsctl.ParseName(x.v)
			holder, managed := c.names[canonical(x.v)]
			first, again := c.aliasAt[alias]
			switch {
			case err != nil:
				c.fault(x.at, "write the full name that clients call, such as orders.example.com.", "%v", err)
				continue
			case managed:
				c.fault(x.at, "an alias is never moved: leave it out here, or out of names", "the alias %s is itself a managed name (instance %s)", alias, holder.instance)
			case again:
				c.fault(x.at, "a name leads to one other", "the alias %s is there twice, first in line %d", alias, first.line)
			case slices.ContainsFunc(doc.Clusters, func(e entry[targetClusterDoc]) bool { return canonical(e.val.Target.v) == alias }):
				c.fault(x.at, "a target is the cluster's own name", "the alias %s is the target of a cluster", alias)
			case cfg.zoneOf(alias) != nil:
				c.fault(x.at, "make it a name of the instance: our own authority moves it at once", "the alias %s stands in our own zone %s, which serves no static CNAME", alias, cfg.zoneOf(alias).Name)
			default:
				c.aliasAt[alias] = x.at
			}
			out = append(out, Alias{Alias: alias, To: canonical(n.Name.v)})
		}
	}
	return out
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
func (c *compiler) nameZone(cfg *Config, instance string, n *nameDoc, np *failover.NamePolicy) {
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
	np.Zone = pr.Zone
	np.Limits = pr.Capabilities().Words()
	switch {
	case np.Zone == "" || np.Zone == ".":
	case np.Name == np.Zone:
		c.fault(n.Name.at, fmt.Sprintf("use a name below it, such as www.%s", np.Name), "the name %s is the apex of its zone, where SOA and NS live: a CNAME may not stand there (RFC 1034 section 3.6.2)", np.Name)
	case pr.RPZ != nil:
		pr.Allowed[np.Name] = targets // it stands where clients look for it, and not in the policy zone
	case !below(np.Name, np.Zone):
		c.fault(n.Name.at, "use the provider of the zone in which the name stands", "the name %s stands outside the zone %s of the provider %s", np.Name, np.Zone, pr.Name)
	default:
		pr.Allowed[np.Name] = targets
		if pr.Alidns != nil || pr.Pvtz != nil {
			if err := dnsctl.RemarkFits(failover.InstanceName(instance), cfg.Controller.Name); err != nil {
				c.fault(n.Provider.at, "give the instance or the controller a shorter name", "the mark of %s would not fit into a remark: %v", np.Name, err)
			}
		}
	}
}

func zoneNames(cfg *Config) string {
	var ns []string
	for _, z := range cfg.Authority.Zones {
		ns = append(ns, string(z.Name))
	}
	return strings.Join(ns, ", ")
}
