package config

import (
	"slices"

	"pointsman/internal/failover"
)

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
