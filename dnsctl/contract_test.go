package dnsctl_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/dnsctl"
	"pointsman/dnsctl/contract"
	"pointsman/internal/failover"
)

const (
	labZone = "lab.test."
	orders  = failover.RecordName("orders.lab.test.")
	targetA = failover.Target("a.lab.test.")
	targetB = failover.Target("b.lab.test.")
)

// alike hold the name, or are held by it, in text.
var alike = []failover.RecordName{"b.orders.lab.test.", "myorders.lab.test.", "orders.lab.test.lab.test.", "orders.sub.lab.test.", "order.lab.test."}

// contractZone is the zone of a new world.
func contractZone() string {
	text := `$TTL 30
@ IN SOA ns1 hostmaster 1 300 60 604800 30
@ IN NS ns1
ns1 IN A 127.0.0.1
a IN A 192.0.2.1
b IN A 192.0.2.2
busy IN A 192.0.2.7
orders IN CNAME a
denied IN CNAME a
`
	for _, n := range alike {
		text += fmt.Sprintf("%s IN CNAME a\n", n)
	}
	return text
}

// primary is a real server that holds a zone and takes updates: by the key ctl.
// and, without conditions or limits, by the key hand., as people have it.
type primary struct {
	kind string // BIND, Knot or PowerDNS
	addr netip.AddrPort
	zone string
	dir  string // of its files
	web  uint16 // of PowerDNS: the port of its API, if it has one
}

func (s primary) exchange(t testing.TB, m *dns.Msg) *dns.Msg {
	t.Helper()
	c := dns.Client{Net: "tcp", Timeout: 10 * time.Second, TsigSecret: map[string]string{"hand.": dnsctl.OtherText}}
	r, _, err := c.Exchange(m, s.addr.String())
	if err != nil {
		t.Fatalf("%s: %v", s.kind, err)
	}
	return r
}

// byHand sends an update as an administrator with nsupdate would.
func (s primary) byHand(t testing.TB, edit func(*dns.Msg)) int {
	t.Helper()
	m := new(dns.Msg)
	m.SetUpdate(s.zone)
	edit(m)
	m.SetTsig("hand.", dns.HmacSHA256, 300, time.Now().Unix())
	return s.exchange(t, m).Rcode
}

func (s primary) ask(t testing.TB, name string, qtype uint16) []dns.RR {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.RecursionDesired = false
	r := s.exchange(t, m)
	if !r.Authoritative {
		t.Fatalf("%s is not authoritative for %s", s.kind, name)
	}
	return r.Answer
}

func (s primary) serial(t testing.TB) uint32 {
	t.Helper()
	got := s.ask(t, s.zone, dns.TypeSOA)
	if len(got) != 1 {
		t.Fatalf("SOA of %s: %v", s.kind, got)
	}
	return got[0].(*dns.SOA).Serial
}

func (s primary) see(t testing.TB, name, mark string) contract.Record {
	t.Helper()
	var out contract.Record
	for _, rr := range s.ask(t, name, dns.TypeCNAME) {
		if c, ok := rr.(*dns.CNAME); ok && dns.CanonicalName(c.Hdr.Name) == name {
			out.Value, out.TTL = failover.Target(dns.CanonicalName(c.Target)), c.Hdr.Ttl
		}
	}
	for _, rr := range s.ask(t, mark, dns.TypeTXT) {
		if x, ok := rr.(*dns.TXT); ok && len(x.Txt) == 1 {
			out.Mark += x.Txt[0]
		}
	}
	return out
}

func (s primary) set(t testing.TB, name, mark string, to contract.Record) {
	t.Helper()
	text := fmt.Sprintf("%q", to.Mark)
	rcode := s.byHand(t, func(m *dns.Msg) {
		cname, txt := rr(t, "%s %d IN CNAME %s", name, to.TTL, to.Value), rr(t, "%s %d IN TXT %s", mark, to.TTL, text)
		m.RemoveRRset([]dns.RR{cname, txt})
		m.Insert([]dns.RR{cname})
		if to.Mark != "" {
			m.Insert([]dns.RR{txt})
		}
	})
	if rcode != dns.RcodeSuccess {
		t.Fatalf("by hand at %s: %s", s.kind, dns.RcodeToString[rcode])
	}
}

func rr(t testing.TB, format string, args ...any) dns.RR {
	t.Helper()
	r, err := dns.NewRR(fmt.Sprintf(format, args...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// rfc2136Config is what the provider of orders has at a server.
func rfc2136Config(t testing.TB, server string) dnsctl.RFC2136Config {
	t.Helper()
	return dnsctl.RFC2136Config{
		Server: server, Zone: labZone, Timeout: 10 * time.Second,
		Key:     dnsctl.Key{Name: "ctl.", Algorithm: "hmac-sha256", Secret: dnsctl.MustSecret(t, dnsctl.SecretText)},
		Allowed: map[failover.RecordName][]failover.Target{orders: {targetA, targetB}},
	}
}

// nobody is an address at which nothing listens.
func nobody(t testing.TB) string { return dnsctl.Nobody(t) }

// rfc2136World is a primary with a proxy before it.
func rfc2136World(t testing.TB, s primary) contract.World {
	t.Helper()
	px := startProxy(t, s.addr)
	mark := string(dnsctl.MarkName(orders))
	return contract.World{
		Name: orders, A: targetA, B: targetB, TTL: 30, Alike: alike, Missing: "missing.orders.lab.test.",
		Provider: func(t testing.TB, k contract.Kind) dnsctl.Provider {
			t.Helper()
			c := rfc2136Config(t, px.addr.String())
			switch k {
			case contract.ReadOnly:
				c.ReadOnly, c.Key = true, dnsctl.Key{}
			case contract.Denied:
				c.Key.Secret = dnsctl.MustSecret(t, dnsctl.OtherText)
			case contract.Unreachable:
				c.Server = nobody(t)
			}
			p, err := dnsctl.NewRFC2136(c)
			if err != nil {
				t.Fatal(err)
			}
			return p
		},
		Set: func(t testing.TB, r contract.Record) { t.Helper(); s.set(t, string(orders), mark, r) },
		See: func(t testing.TB, n failover.RecordName) contract.Record {
			t.Helper()
			return s.see(t, string(n), string(dnsctl.MarkName(n)))
		},
		DNS: s.addr, Disturb: px.disturb, Requests: px.requests,
		Secrets: []string{dnsctl.SecretText, dnsctl.OtherText},
	}
}

func startBIND(t testing.TB) primary {
	t.Helper()
	n := dnsctl.RunNamed(t, func(port int, dir string) string {
		dnsctl.WriteFile(t, filepath.Join(dir, "lab.test.zone"), contractZone())
		return fmt.Sprintf(`
key "ctl." { algorithm hmac-sha256; secret "%s"; };
key "hand." { algorithm hmac-sha256; secret "%s"; };
options {
	directory "%s"; pid-file none; session-keyfile none; lock-file none;
	listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; };
	recursion no; notify no; dnssec-validation no; tcp-clients 300;
};
controls {};
zone "lab.test." { type primary; file "lab.test.zone"; update-policy {
	grant ctl. name orders.lab.test. CNAME; grant ctl. name _pointsman.orders.lab.test. TXT;
	grant hand. zonesub ANY; }; };
`, dnsctl.SecretText, dnsctl.OtherText, dir, port)
	}, labZone)
	return primary{"BIND", n.Addr(), labZone, n.Dir(), 0}
}

func TestBINDKeepsTheContract(t *testing.T) {
	contract.Run(t, func(t *testing.T) contract.World { return rfc2136World(t, startBIND(t)) })
}

func TestKnotKeepsTheContract(t *testing.T) {
	contract.Run(t, func(t *testing.T) contract.World { return rfc2136World(t, startKnot(t)) })
}

func TestPowerDNSKeepsTheContract(t *testing.T) {
	contract.Run(t, func(t *testing.T) contract.World { return rfc2136World(t, startPowerDNS(t)) })
}
