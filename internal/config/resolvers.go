package config

import (
	"fmt"
	"net/netip"
	"time"

	"pointsman/dnsctl"
	"pointsman/internal/failover"
)

// mostResolvers bounds the panel: after each switch every one of them is asked.
const mostResolvers = 64

// resolvers takes the panel.
func (c *compiler) resolvers(cfg *Config) {
	docs := cfg.doc.Resolvers
	if len(docs) > mostResolvers {
		c.fault(docs[mostResolvers].pos, "keep one of each kind", "there are %d resolvers, at most %d are taken", len(docs), mostResolvers)
		return
	}
	seen, places := map[string]pos{}, map[netip.AddrPort]string{}
	for i := range docs {
		doc := &docs[i]
		if !doc.Name.set || !doc.Address.set || c.twice(seen, "resolver", doc.Name) {
			continue
		}
		at, err := addressPort(doc.Address.v)
		switch {
		case !plainWord(doc.Name.v):
			c.fault(doc.Name.at, "use letters, digits, '-', '_' and '.', at most 63", "%q cannot be the name of a resolver", doc.Name.v)
			continue
		case err != nil || at.Addr().IsUnspecified() || at.Port() == 0:
			c.fault(doc.Address.at, "write an address, with a port where it is not 53: 192.0.2.53 or [2001:db8::53]:5353", "resolver %s: %q is no address of a resolver", doc.Name.v, doc.Address.v)
			continue
		case places[at] != "":
			c.fault(doc.Address.at, "leave one of them out: a resolver counts once", "resolver %s has the address of %s", doc.Name.v, places[at])
			continue
		}
		places[at] = doc.Name.v
		cfg.Resolvers = append(cfg.Resolvers, dnsctl.PanelResolver{
			Name: doc.Name.v, Address: at, Stretches: between(c, "stretches", doc.Stretches, 0, 0, 7*24*time.Hour),
		})
	}
}

// plainWord is a name that goes into tables, metrics and JSON as it is.
func plainWord(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.' {
			return false
		}
	}
	return true
}

func (d *clientsDoc) set() bool {
	return d.ResolverAllowance.set || d.RequestTimeout.set || d.ConnectionLife.set
}

// clients takes what is known of the clients.
func (c *compiler) clients(doc *clientsDoc) failover.ClientPolicy {
	const day = 24 * time.Hour
	p := failover.ClientPolicy{ResolverAllowance: between(c, "resolver_allowance", doc.ResolverAllowance, 0, 0, 7*day)}
	if doc.RequestTimeout.set {
		p.RequestTimeout = between(c, "request_timeout", doc.RequestTimeout, failover.DefaultRequestTimeout, time.Second, day)
	}
	if life := doc.ConnectionLife; life.set && (life.v < time.Second || life.v > 30*day) {
		c.fault(life.at, "leave it out where clients may keep a connection for ever", "connection_life: %s is outside 1s to 30d", figure(life.v))
	} else if life.set {
		p.ConnectionLife = life.v
	}
	return p
}

func clientsWords(p failover.ClientPolicy) string {
	life := "unbounded"
	if p.ConnectionLife > 0 {
		life = figure(p.ConnectionLife)
	}
	request := failover.DefaultRequestTimeout
	if p.RequestTimeout > 0 {
		request = p.RequestTimeout
	}
	return fmt.Sprintf("allowance %s, request %s, connection %s", figure(p.ResolverAllowance), figure(request), life)
}
