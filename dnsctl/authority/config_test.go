package authority

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"pointsman/internal/failover"
)

func TestEveryFaultOfTheConfigurationIsNamedWithItsKey(t *testing.T) {
	zone := func(change func(*Zone)) func(*Config) { return func(c *Config) { change(&c.Zones[0]) } }
	for _, tc := range []struct {
		what   string
		change func(*Config)
		want   string
	}{
		{"nothing to listen on", func(c *Config) { c.Listen = nil }, "listen: at least one address is needed, for example 127.0.0.1:5353"},
		{"no port", func(c *Config) { c.Listen[0] = "127.0.0.1" }, `listen[0]: "127.0.0.1" is not host:port, for example 127.0.0.1:5353`},
		{"a name as host", func(c *Config) { c.Listen[0] = "localhost:53" }, `listen[0]: "localhost:53": host "localhost" is not an IP address: a server must not depend on resolving its own name`},
		{"port out of range", func(c *Config) { c.Listen[0] = "127.0.0.1:70000" }, `listen[0]: "127.0.0.1:70000": port "70000" is not 0 to 65535`},
		{"twice", func(c *Config) { c.Listen = []string{"127.0.0.1:53", "127.0.0.1:53"} }, "listen[1]: 127.0.0.1:53 is listed twice"},
		{"no zone", func(c *Config) { c.Zones = nil }, "zones: at least one is needed"},
		{"caps that contradict", func(c *Config) { c.TCPConns, c.TCPPerSource = 10, 20 }, "tcp_per_source: 20 is above tcp_conns 10"},
		{"negative", func(c *Config) { c.UDPInFlight = -1 }, "udp_in_flight: -1 is negative"},
		{"negative time", func(c *Config) { c.TCPIdle = -1 }, "tcp_idle: -1ns is negative"},
		{"zone without dot", zone(func(z *Zone) { z.Name = "lab.test" }), `zones[0].name: "lab.test" does not end in a dot: write "lab.test."`},
		{"the root", zone(func(z *Zone) { z.Name = "." }), "zones[0].name: the root is no name for this"},
		{"overlap", func(c *Config) { c.Zones[1].Name = "n.lab.test."; c.Zones[1].Names, c.Zones[1].Hosts = nil, nil }, "zones[1].name: n.lab.test. and lab.test. overlap: serve the names in one zone"},
		{"no name server", zone(func(z *Zone) { z.NS = nil }), "zones[0].ns: at least one name server is needed, for example ns1.lab.test. with its address under hosts"},
		{"name server without address", zone(func(z *Zone) { z.NS[0] = "ns9.lab.test." }), "zones[0].ns[0]: ns9.lab.test. stands in the zone and has no address: add it under hosts"},
		{"name server twice", zone(func(z *Zone) { z.NS[1] = z.NS[0] }), "zones[0].ns[1]: ns1.lab.test. is listed twice"},
		{"mailbox", zone(func(z *Zone) { z.Hostmaster = "me@lab.test." }), `zones[0].hostmaster: "me@lab.test." has the character '@': only letters, digits, hyphen and underscore may stand in a name (an international name goes in its xn-- form)`},
		{"ttl", zone(func(z *Zone) { z.TTL = 1 << 31 }), "zones[0].ttl: 2147483648 is above 2147483647 seconds"},
		{"retry", zone(func(z *Zone) { z.Retry = 300 }), "zones[0].retry: 300 s must be below refresh 300 s"},
		{"expire", zone(func(z *Zone) { z.Expire = 300 }), "zones[0].expire: 300 s must be above refresh 300 s"},
		{"apex", zone(func(z *Zone) { z.Names[0] = "lab.test." }), "zones[0].names[0]: lab.test. is the apex of its zone, where SOA and NS live: a CNAME may not stand there (RFC 1034 section 3.6.2); use a name below it"},
		{"wildcard", zone(func(z *Zone) { z.Names[0] = "*.lab.test." }), `zones[0].names[0]: "*.lab.test." is a wildcard, which is not served: write the names in full`},
		{"outside", zone(func(z *Zone) { z.Names[0] = "orders.example.org." }), "zones[0].names[0]: orders.example.org. stands outside the zone lab.test."},
		{"name twice", zone(func(z *Zone) { z.Names[1] = z.Names[0] }), "zones[0].names[1]: orders.lab.test. is already a managed name: nothing may stand beside a CNAME (RFC 1034 section 3.6.2)"},
		{"name is a host", zone(func(z *Zone) { z.Names[0] = "A.lab.test." }), "zones[0].names[0]: A.lab.test. is already a host: nothing may stand beside a CNAME (RFC 1034 section 3.6.2)"},
		{"mark is a host", zone(func(z *Zone) { z.Hosts["_pointsman.orders.lab.test."] = z.Hosts["a.lab.test."] }), "zones[0].names[0]: _pointsman.orders.lab.test., which carries the mark, is already a host"},
		{"name too long for its mark", zone(func(z *Zone) {
			z.Names[0] = failover.RecordName(strings.Repeat(longHost, 3) + strings.Repeat("x", 50) + ".lab.test.")
		}), "_pointsman. in front of it must fit into 255 octets"},
		{"list for a name that is not there", zone(func(z *Zone) { z.Targets["x.lab.test."] = nil }), "zones[0].targets.x.lab.test.: is not a managed name of this zone"},
		{"list with no name", zone(func(z *Zone) { z.Targets["spare.lab.test."][1] = "1.2.3.4." }), `zones[0].targets.spare.lab.test.[1]: "1.2.3.4." is an address, not a name: give the address a name under hosts`},
		{"host without address", zone(func(z *Zone) { z.Hosts["a.lab.test."] = nil }), "zones[0].hosts.a.lab.test.: has 0 addresses; 1 to 64 are possible"},
		{"host outside", zone(func(z *Zone) { z.Hosts["a.example."] = z.Hosts["a.lab.test."] }), "zones[0].hosts.a.example.: stands outside the zone lab.test."},
		{"host twice", zone(func(z *Zone) { z.Hosts["A.lab.test."] = z.Hosts["a.lab.test."] }), "zones[0].hosts.a.lab.test.: is the same name as another host"},
		{"address twice", zone(func(z *Zone) { z.Hosts["a.lab.test."] = append(z.Hosts["a.lab.test."], z.Hosts["a.lab.test."]...) }), "zones[0].hosts.a.lab.test.[1]: 127.0.1.1 is listed twice"},
		{"no address", zone(func(z *Zone) { z.Hosts["a.lab.test."][0] = netip.Addr{} }), "zones[0].hosts.a.lab.test.[0]: is no IP address"},
		{"interface", zone(func(z *Zone) { z.Hosts["a.lab.test."][0] = netip.MustParseAddr("fe80::1%eth0") }), "zones[0].hosts.a.lab.test.[0]: fe80::1%eth0 has an interface zone, which DNS cannot carry"},
		{"an exempt IPv4 network in IPv6 form", func(c *Config) { c.RateLimit.Exempt = []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")} }, "rate_limit.exempt[0]: ::ffff:10.0.0.0/104 is an IPv4 network in IPv6 form: write it as IPv4"},
		{"a bound of all below that of one", func(c *Config) { c.RateLimit.PerSecond, c.RateLimit.Total = 300, 200 }, "rate_limit.responses_per_second: 300 is above all_responses_per_second 200"},
		{"a pace out of range", func(c *Config) { c.TransfersPerMinute = 6001 }, "transfers_per_minute: 6001 is not between 1 and 6000"},
		{"a transfer to half of everybody", zone(func(z *Zone) { z.TransferAddresses = []netip.Prefix{netip.MustParsePrefix("128.0.0.0/1")} }), "zones[0].transfer.addresses[0]: 128.0.0.0/1 is nearly everybody: name networks, or use a key"},
		{"a secondary twice, once in IPv6 form", zone(func(z *Zone) {
			z.Secondaries = []Secondary{{Address: netip.MustParseAddrPort("192.0.2.1:53")}, {Address: netip.MustParseAddrPort("[::ffff:192.0.2.1]:53")}}
		}), "zones[0].secondaries[1].address: [::ffff:192.0.2.1]:53 is listed twice"},
		{"ourselves as a secondary", func(c *Config) {
			c.Listen[0] = "127.0.0.1:5353"
			c.Zones[0].Secondaries = []Secondary{{Address: netip.MustParseAddrPort("127.0.0.1:5353")}}
		}, "zones[0].secondaries[0].address: 127.0.0.1:5353 is where this server itself listens"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			c := labConfig()
			tc.change(&c)
			errs := c.Validate()
			if len(errs) != 1 || !strings.HasSuffix(errs[0].Error(), tc.want) {
				t.Errorf("got %q, want one fault: %s", errs, tc.want)
			}
			if _, err := New(c); !errors.Is(err, ErrConfig) {
				t.Errorf("New: %v", err)
			}
		})
	}
	c := labConfig()
	c.Listen, c.Zones[0].Name, c.Zones[1].NS = nil, "", nil
	if errs := c.Validate(); len(errs) != 3 {
		t.Errorf("of three faults these were named: %q", errs)
	}
	if errs := labConfig().Validate(); errs != nil {
		t.Errorf("the lab's configuration: %q", errs)
	}
}
