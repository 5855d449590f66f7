package config

import (
	"fmt"
	"path/filepath"

	"pointsman/healthcheck"
	"pointsman/internal/failover"
)

// maxSocket is the longest path of a Unix socket (unix(7): 108 bytes with the
// final NUL).
const maxSocket = 107

const (
	defaultMetricsInstances = 500
	mostMetricsInstances    = 100_000
)

func (c *compiler) controller(doc *controllerDoc) Controller {
	ctl := Controller{
		Name: doc.Name.v, Data: c.path(doc.Data.or("data")),
		Listen: doc.Listen.v, Advertise: doc.Advertise.v, TokenFile: c.path(doc.TokenFile.v),
	}
	ctl.MetricsInstances = defaultMetricsInstances
	c.principals(doc, &ctl)
	if m := doc.MetricsInstances; m.set {
		ctl.MetricsInstances = m.v
		if m.v < 0 || m.v > mostMetricsInstances {
			c.fault(m.at, fmt.Sprintf("each has some 70 time series with three vantages; the default is %d", defaultMetricsInstances),
				"metrics_instances: %d is outside 0 to %d", m.v, mostMetricsInstances)
		}
	}
	if doc.Name.set {
		c.word("a controller", doc.Name.v, doc.Name.at)
	}
	ctl.Socket = c.path(doc.Socket.v)
	if ctl.Socket == "" {
		ctl.Socket = filepath.Join(ctl.Data, "pointsman.sock")
	}
	if len(ctl.Socket) > maxSocket && doc.where() != (pos{}) {
		c.fault(doc.Socket.place(doc.Data.place(doc.pos)), "write a shorter path under controller.socket, such as /run/pointsman/pointsman.sock",
			"the path of the socket has %d bytes, the system takes at most %d", len(ctl.Socket), maxSocket)
	}
	c.secretPath("token_file", doc.TokenFile)
	if doc.Advertise.set {
		c.serverURL(doc.Advertise)
		if !doc.Listen.set {
			c.fault(doc.Advertise.at, "add controller.listen", "advertise says where listen is reached, and there is no listen")
		}
	}
	if !doc.Listen.set {
		if doc.TokenFile.set {
			c.warn(doc.TokenFile.at, "add controller.listen, or remove token_file", "token_file has no use without listen")
		}
		return ctl
	}
	host, ok := c.hostPort(doc.Listen, 0)
	if ok && !loopback(host) {
		c.fault(doc.Listen.at, "listen on 127.0.0.1, put a TLS proxy in front and write its URL as controller.advertise",
			"%q is not a loopback address, and this listener has no TLS", doc.Listen.v)
	}
	if !doc.TokenFile.set && !c.has(doc.TokenFile.at) {
		c.fault(doc.Listen.at, "make one: (umask 077; openssl rand -hex 32 > token), and write controller.token_file: token",
			"listen needs token_file: nobody may speak to the API without a token")
	}
	return ctl
}

// secretPath refuses a secret in the place of the path that leads to it.
func (c *compiler) secretPath(key string, x val[string]) {
	if x.set && looksLikeSecret(x.v) {
		c.fault(x.at, "put the secret into a file of mode 0600 and write its path; make a new secret, this one has been in a config",
			"%s holds what looks like the secret itself, not the path of its file", key)
	}
}

func (c *compiler) vantages(cfg *Config) {
	doc := cfg.doc
	own := &doc.Vantage
	allow := c.allowed(own.Allow)
	cfg.Self = Vantage{
		Name: failover.VantageName(own.Name.or(doc.Controller.Name.v)), Domain: failover.DomainName(own.Domain.v),
		Controls: c.controls(own.Controls, allow), Allow: allow,
		WatchTargets: c.watchTargets(own.WatchTargets, healthcheck.DefaultWatchTargets),
	}
	c.eyes = append(c.eyes, eye{cfg.Self.Name, allow})
	names, keys := map[string]pos{}, map[string]pos{}
	if own.Name.set {
		c.word("a vantage", own.Name.v, own.Name.at)
	}
	if cfg.Self.Name != "" {
		names[string(cfg.Self.Name)] = own.Name.place(own.pos)
	}
	if own.Domain.set {
		c.word("a failure domain", own.Domain.v, own.Domain.at)
	}
	for _, v := range doc.Vantages {
		if v.Name.set {
			c.word("a vantage", v.Name.v, v.Name.at)
			c.twice(names, "vantage", v.Name)
		}
		if v.Domain.set {
			c.word("a failure domain", v.Domain.v, v.Domain.at)
		}
		c.secretPath("key_file", v.KeyFile)
		if v.KeyFile.set {
			if first, ok := keys[c.path(v.KeyFile.v)]; ok {
				c.fault(v.KeyFile.at, "give each vantage a key of its own", "the key file %q is also that of the vantage in line %d: either could then vote for the other", v.KeyFile.v, first.line)
			}
			keys[c.path(v.KeyFile.v)] = v.KeyFile.at
		}
		allow := c.allowed(v.Allow)
		c.eyes = append(c.eyes, eye{failover.VantageName(v.Name.v), allow})
		cfg.Vantages = append(cfg.Vantages, Vantage{
			Name: failover.VantageName(v.Name.v), Domain: failover.DomainName(v.Domain.v),
			KeyFile: c.path(v.KeyFile.v), Controls: c.controls(v.Controls, allow), Allow: allow,
			WatchTargets: c.watchTargets(v.WatchTargets, cfg.Self.WatchTargets),
		})
	}
	if len(doc.Vantages) > 0 && !doc.Controller.Listen.set {
		c.fault(doc.Vantages[0].pos, "add controller.listen and controller.token_file", "vantages elsewhere report over TCP, and controller.listen is missing")
	}
}

// votes lists every vantage that may vote.
func (cfg *Config) votes() []failover.VantagePolicy {
	out := []failover.VantagePolicy{{Name: cfg.Self.Name, Domain: cfg.Self.Domain}}
	for _, v := range cfg.Vantages {
		out = append(out, failover.VantagePolicy{Name: v.Name, Domain: v.Domain})
	}
	return out
}
