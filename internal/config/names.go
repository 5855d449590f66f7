package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pointsman/dnsctl/authority"
	"pointsman/internal/failover"
)

// embedded is the provider of names that our own authority serves.
const embedded = "embedded"

const maxDNSTime = 365 * 24 * time.Hour

// canonical is lower case with the final dot: the form in which names are
// compared. A file may leave the dot out, there are no relative names in it.
func canonical(s string) failover.RecordName {
	if s == "" {
		return ""
	}
	return failover.RecordName(strings.ToLower(strings.TrimSuffix(s, ".")) + ".")
}

// below says that a name stands under the zone, apex included.
func below(n, zone failover.RecordName) bool {
	return n == zone || strings.HasSuffix(string(n), "."+string(zone))
}

func (c *compiler) authority(cfg *Config) {
	doc := cfg.doc.Authority
	if doc == nil {
		return
	}
	a := &authority.Config{
		UDPInFlight: doc.UDPInFlight.v, TCPConns: doc.TCPConns.v, TCPPerSource: doc.TCPPerSource.v,
		TCPIdle: doc.TCPIdle.v,
	}
	if doc.Listen != nil && len(doc.Listen) == 0 {
		c.fault(doc.pos, "listen: [127.0.0.1:5353]", "authority.listen is empty")
	}
	if doc.Zones != nil && len(doc.Zones) == 0 {
		c.fault(doc.pos, "zones: [{name: lab.test.}]", "authority.zones is empty")
	}
	for _, l := range doc.Listen {
		a.Listen = append(a.Listen, l.v)
	}
	a.Transfers, a.TransfersPerSource, a.TransferTime = doc.Transfers.v, doc.TransfersPerSource.v, doc.TransferTime.v
	a.TransfersPerMinute = between(c, "transfers_per_minute", doc.TransfersPerMinute, 60, 1, 6000)
	a.RateLimit = c.rateLimit(&doc.RateLimit)
	a.Cookies.Demand = authority.CookieDemand(c.oneOf("demand", doc.Cookies.Demand, string(authority.DemandNever), string(authority.DemandLimited)))
	c.secretPath("secret_file", doc.Cookies.SecretFile)
	if doc.Cookies.SecretFile.set {
		cfg.CookieSecretFile = c.path(doc.Cookies.SecretFile.v)
	}
	c.transferKeys(cfg, a)
	for i := range doc.Zones {
		z := c.zone(&doc.Zones[i], a.Listen)
		c.secondaries(&doc.Zones[i], &z, a.Keys)
		a.Zones = append(a.Zones, z)
	}
	cfg.Authority = a
}

// rateLimit reads the bounds of answers over UDP. In the file 0 is off; the
// room takes that for a number that was not given.
func (c *compiler) rateLimit(doc *rateLimitDoc) authority.RateLimit {
	off := func(n int) int {
		if n == 0 {
			return authority.NoRateLimit
		}
		return n
	}
	each := between(c, "responses_per_second", doc.PerSecond, 200, 0, 1_000_000)
	return authority.RateLimit{
		PerSecond: off(each),
		Total:     off(between(c, "all_responses_per_second", doc.Total, max(5000, each), 0, 1_000_000)),
		Window:    between(c, "window", doc.Window, 5*time.Second, time.Second, time.Minute),
		Slip:      off(between(c, "slip", doc.Slip, 1, 0, 100)),
		Exempt:    c.allowed(doc.Exempt),
		Loopback:  authority.LoopbackRate(c.oneOf("loopback", doc.Loopback, string(authority.LoopbackExempt), string(authority.LoopbackLimited))),
	}
}

// oneOf reads a word out of a few, the first of which is the default.
func (c *compiler) oneOf(key string, x val[string], words ...string) string {
	if x.set && !slices.Contains(words, x.v) {
		c.fault(x.at, choice(x.v, words), "%s: %q is not possible", key, x.v)
		return words[0]
	}
	return x.or(words[0])
}

func (c *compiler) zone(doc *zoneDoc, listen []string) authority.Zone {
	z := authority.Zone{
		Name:    canonical(doc.Name.v),
		TTL:     c.seconds("ttl", doc.TTL, 300, time.Second, maxDNSTime),
		Refresh: c.seconds("refresh", doc.Refresh, 300, time.Second, maxDNSTime),
		Retry:   c.seconds("retry", doc.Retry, 60, time.Second, maxDNSTime),
		Expire:  c.seconds("expire", doc.Expire, 604800, time.Second, maxDNSTime),
		// Resolvers remember for this long that something is absent (RFC 2308
		// section 5): a name briefly missing is missing for so long.
		Minimum: c.seconds("minimum", doc.Minimum, 30, time.Second, time.Hour),
		Hosts:   map[failover.RecordName][]netip.Addr{},
		Targets: map[failover.RecordName][]failover.Target{},
	}
	z.Hostmaster = canonical(doc.Hostmaster.or("hostmaster." + string(z.Name)))
	for _, e := range doc.Hosts {
		if _, ok := z.Hosts[canonical(e.key)]; ok {
			c.fault(e.at, "keep one of the two", "the host %q is written twice", e.key)
			continue
		}
		addrs := []netip.Addr{}
		for _, x := range e.val {
			a, err := netip.ParseAddr(x.v)
			if x.set && err != nil {
				c.fault(x.at, "write it like 192.0.2.1 or 2001:db8::1", "%q is not an IP address", x.v)
			}
			addrs = append(addrs, a)
		}
		z.Hosts[canonical(e.key)] = addrs
	}
	for _, x := range doc.NS {
		z.NS = append(z.NS, canonical(x.v))
	}
	for _, x := range doc.Retired {
		z.Retired = append(z.Retired, canonical(x.v))
	}
	if len(z.NS) == 0 && z.Name != "" {
		c.ownServer(doc, &z, listen)
	}
	return z
}

// ownServer fills in ns1.<zone> for a zone that names no server, with the
// addresses on which the authority listens.
func (c *compiler) ownServer(doc *zoneDoc, z *authority.Zone, listen []string) {
	ns := "ns1." + z.Name
	z.NS = []failover.RecordName{ns}
	if _, ok := z.Hosts[ns]; ok {
		return
	}
	for _, l := range listen {
		ap, err := netip.ParseAddrPort(l)
		if err == nil && !ap.Addr().IsUnspecified() && !slices.Contains(z.Hosts[ns], ap.Addr()) {
			z.Hosts[ns] = append(z.Hosts[ns], ap.Addr())
		}
	}
	if len(z.Hosts[ns]) == 0 && len(listen) > 0 {
		c.fault(doc.Name.place(doc.pos), fmt.Sprintf("write ns: [%s] and its address under hosts", ns),
			"the zone names no server, and the authority does not listen on one address that could be taken for it")
	}
}

// zoneOf returns the zone of our authority that a name stands in, or nil.
func (cfg *Config) zoneOf(n failover.RecordName) *authority.Zone {
	if cfg.Authority == nil {
		return nil
	}
	for i := range cfg.Authority.Zones {
		if z := &cfg.Authority.Zones[i]; z.Name != "" && below(n, z.Name) {
			return z
		}
	}
	return nil
}

// provider returns the provider of a name, or nil.
func (cfg *Config) provider(name string) *Provider {
	i := slices.IndexFunc(cfg.Providers, func(p Provider) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &cfg.Providers[i]
}

// finish asks the rooms for what they find wrong, once all names are known,
// and puts it at its place in the file.
func (c *compiler) finish(cfg *Config) {
	if cfg.Authority != nil {
		for _, err := range cfg.Authority.Validate() {
			path, message := splitFault(err)
			if path == "listen" || path == "zones" || c.ownNS(cfg, path) {
				continue // noted already
			}
			at, ok := c.zonesFor[path]
			if !ok {
				at = find(cfg.doc.Authority, path, cfg.doc.Authority.pos)
			}
			c.also(at, path[strings.LastIndex(path, "].")+1:], message)
		}
	}
	for i := range cfg.Providers {
		e := &cfg.doc.Providers[i]
		rc := cfg.Providers[i].room()
		for _, err := range rc.Validate() {
			path, message := splitFault(err)
			if strings.HasPrefix(path, "key.secret") || strings.HasPrefix(path, "allowed") || path == "module" {
				continue // the secret is read later; modules were noted, and names were checked where they stand
			}
			c.also(find(&e.val, path, e.at), path, message)
		}
		if len(cfg.Providers[i].Allowed) == 0 {
			c.warn(e.at, "remove it, or name it as the provider of a name", "no instance uses the provider %q", e.key)
		}
	}
}

// ownNS says that a path leads to the name server of a zone that names none.
func (c *compiler) ownNS(cfg *Config, path string) bool {
	for i, z := range cfg.doc.Authority.Zones {
		if len(z.NS) == 0 && strings.HasPrefix(path, fmt.Sprintf("zones[%d].ns", i)) {
			return true
		}
	}
	return false
}

// roomHints helps with what the rooms find, by the last key of its path.
var roomHints = map[string]string{
	"listen":         "write it like 127.0.0.1:5353",
	"name":           "write the zone once, with all its hosts",
	"names":          "choose a name at which nothing else stands",
	"hosts":          "put it into the zone it belongs to",
	"rate_limit":     "the defaults suit most servers",
	"retired":        "list a name here only after it was taken out of the instances",
	"ns":             "write its address under hosts of the zone",
	"retry":          "a secondary asks again after retry when a refresh failed: the usual figures are 300s and 60s",
	"expire":         "the usual figure is 7d",
	"server":         "write it like 192.0.2.53:53",
	"algorithm":      "use hmac-sha256",
	"zone":           "write the apex of the zone, such as example.com.",
	"tcp_per_source": "the default is 32",

	"transfers_per_source": "the default is 2",
	"transfer_time":        "the default is 1m",
	"secondaries":          "distribute to more of them from one of these",
	"address":              "write it like 192.0.2.53:53",
	"transfer":             "write networks as narrow as they are, like 192.0.2.0/24, or use a key",
}

// also notes what a room found, unless something was noted at that very place
// already.
func (c *compiler) also(at pos, path, message string) {
	if c.has(at) {
		return
	}
	path = strings.Trim(path, ".")
	key, _, _ := strings.Cut(path, "[")
	if first, _, ok := strings.Cut(key, "."); ok && roomHints[first] != "" {
		key = first
	}
	key = key[strings.LastIndex(key, ".")+1:]
	c.fault(at, cmp.Or(roomHints[key], "see docs/config.md"), "%s: %s", path, message)
}

// splitFault takes the path of keys off the error of a room.
func splitFault(err error) (path, message string) {
	path, message, ok := strings.Cut(err.Error(), ": ")
	if !ok {
		return "", err.Error()
	}
	return path, message
}
