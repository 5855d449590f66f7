package authority

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

// maxSecondaries bounds the secondaries of one zone; each has a goroutine.
const maxSecondaries = 32

// validateKeys checks the keys and returns their canonical names.
func (c *Config) validateKeys(f *faults) map[string]bool {
	known := make(map[string]bool)
	for _, k := range c.Keys {
		at := "keys." + strings.TrimSuffix(string(k.Name), ".")
		if _, err := checkName(string(k.Name)); err != nil {
			f.add(at, "%w", err)
			continue
		}
		name := dns.CanonicalName(string(k.Name))
		if known[name] {
			f.add(at, "is listed twice")
		}
		known[name] = true
		if algorithms[dns.CanonicalName(k.Algorithm)] == nil {
			f.add(at+".algorithm", "%q is none of hmac-sha256, hmac-sha384, hmac-sha512", strings.TrimSuffix(k.Algorithm, "."))
		}
	}
	return known
}

// validateTransfers checks who may have the zone and who is told of it.
func (z *Zone) validateTransfers(path string, listen []string, keys map[string]bool, f *faults) {
	key := func(at string, name failover.RecordName) {
		if !keys[dns.CanonicalName(string(name))] {
			f.add(at, "%q is none of the keys: add it under keys", name)
		}
	}
	if len(z.Secondaries) > maxSecondaries {
		f.add(path+".secondaries", "%d are more than %d", len(z.Secondaries), maxSecondaries)
	}
	for i, s := range z.Secondaries {
		at := fmt.Sprintf("%s.secondaries[%d]", path, i)
		same := func(o Secondary) bool { return unmappedPort(o.Address) == unmappedPort(s.Address) }
		switch a := s.Address.Addr(); {
		case !a.IsValid() || s.Address.Port() == 0 || a.IsUnspecified() || a.IsMulticast() || a.Zone() != "":
			f.add(at+".address", "%s is not an address with a port, such as 192.0.2.53:53", s.Address)
		case slices.IndexFunc(z.Secondaries, same) < i:
			f.add(at+".address", "%s is listed twice", s.Address)
		case slices.ContainsFunc(listen, func(l string) bool {
			ours, err := parseListen(l)
			return err == nil && unmappedPort(ours) == unmappedPort(s.Address)
		}):
			f.add(at+".address", "%s is where this server itself listens", s.Address)
		}
		if s.Key != "" {
			key(at+".key", s.Key)
		}
	}
	for i, k := range z.TransferKeys {
		key(fmt.Sprintf("%s.transfer.keys[%d]", path, i), k)
	}
	for i, p := range z.TransferAddresses {
		at := fmt.Sprintf("%s.transfer.addresses[%d]", path, i)
		switch {
		case !p.IsValid():
			f.add(at, "is no address or network")
		case p != p.Masked():
			f.add(at, "%s has bits set beyond its length: write %s", p, p.Masked())
		case p != unmapped(p):
			f.add(at, "%s is an IPv4 address in IPv6 form: write it as IPv4", p)
		case p.Bits() < 8:
			f.add(at, "%s is nearly everybody: name networks, or use a key", p)
		}
	}
}

func unmappedPort(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func unmapped(p netip.Prefix) netip.Prefix {
	if !p.Addr().Is4In6() {
		return p
	}
	return netip.PrefixFrom(p.Addr().Unmap(), max(p.Bits()-96, 0))
}
