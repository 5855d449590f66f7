package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"pointsman/dnsctl/authority"
	"pointsman/internal/failover"
)

// transferKeys reads the keys of secondaries. Their secrets are read later.
func (c *compiler) transferKeys(cfg *Config, a *authority.Config) {
	seen := make(map[failover.RecordName]bool)
	for i := range cfg.doc.Authority.Keys {
		e := &cfg.doc.Authority.Keys[i]
		name := canonical(e.key)
		if seen[name] {
			c.fault(e.at, "keep one of the two", "the key %q is written twice", e.key)
			continue
		}
		seen[name] = true
		c.secretPath("secret_file", e.val.SecretFile)
		a.Keys = append(a.Keys, authority.Key{Name: name, Algorithm: string(canonical(e.val.Algorithm.or("hmac-sha256")))})
		cfg.Keys = append(cfg.Keys, TransferKey{Name: name, SecretFile: c.path(e.val.SecretFile.v)})
	}
}

// secondaries reads who serves a copy of the zone, and who else may take one.
func (c *compiler) secondaries(doc *zoneDoc, z *authority.Zone, keys []authority.Key) {
	key := func(x val[string]) failover.RecordName {
		name := canonical(x.v)
		if x.set && !slices.ContainsFunc(keys, func(k authority.Key) bool { return k.Name == name }) {
			c.fault(x.at, fmt.Sprintf("write it with its secret_file under authority.keys: keys: {%s: {secret_file: %skey}}", name, name), "there is no key %q", x.v)
		}
		return name
	}
	for i := range doc.Secondaries {
		d := &doc.Secondaries[i]
		s := authority.Secondary{Silent: d.Notify.set && !d.Notify.v, Hidden: d.Serves.set && !d.Serves.v, Key: key(d.Key)}
		var err error
		if s.Address, err = addressPort(d.Address.v); d.Address.set && err != nil {
			c.fault(d.Address.at, "write it like 192.0.2.53:53", "%q is not an address", d.Address.v)
		}
		z.Secondaries = append(z.Secondaries, s)
	}
	for _, k := range doc.Transfer.Keys {
		z.TransferKeys = append(z.TransferKeys, key(k))
	}
	for _, x := range doc.Transfer.Addresses {
		p, err := netip.ParsePrefix(x.v)
		if a, err2 := netip.ParseAddr(x.v); err2 == nil {
			p, err = a.Prefix(a.BitLen())
		}
		if x.set && err != nil {
			c.fault(x.at, "write it like 192.0.2.53 or 192.0.2.0/24", "%q is no address and no network", x.v)
		}
		z.TransferAddresses = append(z.TransferAddresses, p)
	}
}

// addressPort reads an address with a port, which is 53 when it is left out.
func addressPort(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return netip.AddrPortFrom(a, 53), nil
	}
	return netip.ParseAddrPort(s)
}
