package authority

import (
	"fmt"
	"maps"
	"slices"

	"pointsman/internal/failover"
)

// validate checks one zone; apexes holds the zones before it.
func (z *Zone) validate(path string, apexes map[key]failover.RecordName, f *faults) {
	apex, err := checkName(string(z.Name))
	if err != nil {
		f.add(path+".name", "%w", err)
		return
	}
	for other, name := range apexes {
		if apex.under(other) || other.under(apex) {
			f.add(path+".name", "%s and %s overlap: serve the names in one zone", z.Name, name)
		}
	}
	apexes[apex] = z.Name

	if _, err := checkName(string(z.Hostmaster)); err != nil {
		f.add(path+".hostmaster", "%w", err)
	}
	for _, n := range []struct {
		key string
		v   uint32
	}{{"ttl", z.TTL}, {"refresh", z.Refresh}, {"retry", z.Retry}, {"expire", z.Expire}, {"minimum", z.Minimum}} {
		if n.v > maxTTL {
			f.add(path+"."+n.key, "%d is above %d seconds", n.v, maxTTL)
		}
	}
	if z.Retry >= z.Refresh {
		f.add(path+".retry", "%d s must be below refresh %d s", z.Retry, z.Refresh)
	}
	if z.Expire <= z.Refresh {
		f.add(path+".expire", "%d s must be above refresh %d s", z.Expire, z.Refresh)
	}

	owners := make(map[key]string) // what stands at a name
	hosts := z.validateHosts(path, apex, owners, f)
	z.validateNames(path, apex, owners, f)
	z.validateRetired(path, apex, owners, f)
	z.validateNS(path, apex, hosts, f)
}

func (z *Zone) validateRetired(path string, apex key, owners map[key]string, f *faults) {
	for i, name := range z.Retired {
		at := fmt.Sprintf("%s.retired[%d]", path, i)
		k, err := checkName(string(name))
		switch {
		case err != nil:
			f.add(at, "%w", err)
		case !k.under(apex):
			f.add(at, "%s stands outside the zone %s", name, z.Name)
		case owners[k] == "a managed name":
			f.add(at, "%s is still a managed name", name)
		case slices.Index(z.Retired, name) < i:
			f.add(at, "%s is listed twice", name)
		}
	}
}

func (z *Zone) validateHosts(path string, apex key, owners map[key]string, f *faults) map[key]bool {
	hosts := make(map[key]bool)
	for _, name := range slices.Sorted(maps.Keys(z.Hosts)) {
		at := path + ".hosts." + string(name)
		k, err := checkName(string(name))
		switch {
		case err != nil:
			f.add(at, "%w", err)
			continue
		case !k.under(apex):
			f.add(at, "stands outside the zone %s", z.Name)
		case owners[k] != "":
			f.add(at, "is the same name as another host")
		}
		owners[k], hosts[k] = "a host", true
		addrs := z.Hosts[name]
		if len(addrs) == 0 || len(addrs) > maxAddresses {
			f.add(at, "has %d addresses; 1 to %d are possible", len(addrs), maxAddresses)
		}
		for i, a := range addrs {
			switch {
			case !a.IsValid():
				f.add(fmt.Sprintf("%s[%d]", at, i), "is no IP address")
			case a.Zone() != "":
				f.add(fmt.Sprintf("%s[%d]", at, i), "%s has an interface zone, which DNS cannot carry", a)
			case slices.Index(addrs, a) < i:
				f.add(fmt.Sprintf("%s[%d]", at, i), "%s is listed twice", a)
			}
		}
	}
	return hosts
}

func (z *Zone) validateNames(path string, apex key, owners map[key]string, f *faults) {
	for i, name := range z.Names {
		at := fmt.Sprintf("%s.names[%d]", path, i)
		k, err := checkName(string(name))
		if err != nil {
			f.add(at, "%w", err)
			continue
		}
		mark, err := keyOf(markLabel + string(name))
		switch {
		case err != nil:
			f.add(at, "%s is too long: %s in front of it must fit into 255 octets", name, markLabel)
		case k == apex:
			f.add(at, "%s is the apex of its zone, where SOA and NS live: a CNAME may not stand there (RFC 1034 section 3.6.2); use a name below it", name)
			continue
		case !k.under(apex):
			f.add(at, "%s stands outside the zone %s", name, z.Name)
		case owners[k] != "":
			f.add(at, "%s is already %s: nothing may stand beside a CNAME (RFC 1034 section 3.6.2)", name, owners[k])
		case owners[mark] != "":
			f.add(at, "%s%s, which carries the mark, is already %s", markLabel, name, owners[mark])
		}
		owners[k] = "a managed name"
		if err == nil {
			owners[mark] = "the mark of a managed name"
		}
	}
	managed := make(map[failover.RecordName]bool, len(z.Names))
	for _, name := range z.Names {
		managed[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(z.Targets)) {
		at := path + ".targets." + string(name)
		if !managed[name] {
			f.add(at, "is not a managed name of this zone")
		}
		for i, t := range z.Targets[name] {
			if _, err := checkName(string(t)); err != nil {
				f.add(fmt.Sprintf("%s[%d]", at, i), "%w", err)
			}
		}
	}
}

func (z *Zone) validateNS(path string, apex key, hosts map[key]bool, f *faults) {
	if len(z.NS) == 0 {
		f.add(path+".ns", "at least one name server is needed, for example ns1.%s with its address under hosts", z.Name)
	}
	for i, name := range z.NS {
		at := fmt.Sprintf("%s.ns[%d]", path, i)
		k, err := checkName(string(name))
		switch {
		case err != nil:
			f.add(at, "%w", err)
		case k.under(apex) && !hosts[k]:
			f.add(at, "%s stands in the zone and has no address: add it under hosts", name)
		case slices.Index(z.NS, name) < i:
			f.add(at, "%s is listed twice", name)
		}
	}
}
