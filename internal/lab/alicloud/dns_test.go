package alicloud

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/services/alidns"
	"github.com/miekg/dns"
)

// dig asks one question; opts may change it.
func dig(t testing.TB, network, server, name string, qtype uint16, opts ...func(*dns.Msg)) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), qtype)
	for _, o := range opts {
		o(m)
	}
	c := &dns.Client{Net: network, Timeout: 5 * time.Second}
	r, _, err := c.Exchange(m, server)
	if err != nil {
		t.Fatalf("%s %s: %v", name, dns.TypeToString[qtype], err)
	}
	return r
}

// texts are the answers without their white space.
func texts(rrs []dns.RR) []string {
	out := []string{}
	for _, rr := range rrs {
		out = append(out, strings.Join(strings.Fields(rr.String()), " "))
	}
	return out
}

func subnet(cidr string) func(*dns.Msg) {
	return func(m *dns.Msg) {
		p := netip.MustParsePrefix(cidr)
		m.SetEdns0(1232, false)
		o := m.IsEdns0()
		o.Option = append(o.Option, &dns.EDNS0_SUBNET{
			Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(p.Bits()), Address: net.IP(p.Addr().AsSlice()),
		})
	}
}

func TestZonesAreAnswered(t *testing.T) {
	s := start(t, Options{})
	for _, r := range []Record{
		{RR: "orders", Type: "CNAME", Value: "a.back.test", TTL: 30},
		{RR: "alias", Type: "CNAME", Value: "host.example.com", TTL: 30},
		{RR: "lost", Type: "CNAME", Value: "nobody.example.com", TTL: 30},
		{RR: "loop", Type: "CNAME", Value: "loop.example.com", TTL: 30},
		{RR: "host", Type: "A", Value: "192.0.2.1", TTL: 60},
		{RR: "host", Type: "A", Value: "192.0.2.2", TTL: 60},
		{RR: "off", Type: "A", Value: "192.0.2.3", Disabled: true},
		{RR: "deep.down", Type: "A", Value: "192.0.2.4"},
		{RR: "*.wild", Type: "A", Value: "192.0.2.5", TTL: 60},
		{RR: "@", Type: "MX", Value: "mx.back.test", Priority: 10, TTL: 60},
		{RR: "text", Type: "TXT", Value: `say "a\b" ` + strings.Repeat("x", 300), TTL: 60},
		{RR: "srv", Type: "SRV", Value: "1 2 443 host.example.com", TTL: 60},
		{RR: "two", Type: "CNAME", Value: "first.back.test", TTL: 60},
		{RR: "two", Type: "CNAME", Value: "second.back.test", TTL: 60},
	} {
		seed(t, s, r)
	}
	server := s.Authorities()[0]
	for _, c := range []struct {
		name  string
		qtype uint16
		rcode int
		want  []string
	}{
		{"orders.example.com", dns.TypeCNAME, 0, []string{"orders.example.com. 30 IN CNAME a.back.test."}},
		{"orders.example.com", dns.TypeA, 0, []string{"orders.example.com. 30 IN CNAME a.back.test."}},
		{"OrDers.example.com", dns.TypeAAAA, 0, []string{"OrDers.example.com. 30 IN CNAME a.back.test."}},
		{"alias.example.com", dns.TypeA, 0, []string{
			"alias.example.com. 30 IN CNAME host.example.com.", "host.example.com. 60 IN A 192.0.2.1", "host.example.com. 60 IN A 192.0.2.2",
		}},
		{"lost.example.com", dns.TypeA, dns.RcodeNameError, []string{"lost.example.com. 30 IN CNAME nobody.example.com."}},
		{"host.example.com", dns.TypeAAAA, 0, nil},
		{"off.example.com", dns.TypeA, dns.RcodeNameError, nil},
		{"down.example.com", dns.TypeA, 0, nil},
		{"no.example.com", dns.TypeA, dns.RcodeNameError, nil},
		{"x.y.wild.example.com", dns.TypeA, 0, []string{"x.y.wild.example.com. 60 IN A 192.0.2.5"}},
		{"example.com", dns.TypeMX, 0, []string{"example.com. 60 IN MX 10 mx.back.test."}},
		{"srv.example.com", dns.TypeSRV, 0, []string{"srv.example.com. 60 IN SRV 1 2 443 host.example.com."}},
		{"two.example.com", dns.TypeCNAME, 0, []string{"two.example.com. 60 IN CNAME first.back.test."}}, // of several one
		{"example.org", dns.TypeA, dns.RcodeRefused, nil},
		{"example.com", dns.TypeAXFR, dns.RcodeRefused, nil},
	} {
		for _, network := range []string{"udp", "tcp"} {
			r := dig(t, network, server, c.name, c.qtype)
			if got := texts(r.Answer); r.Rcode != c.rcode || !slices.Equal(got, c.want) {
				t.Errorf("%s %s: %s %q, want %s %q", c.name, dns.TypeToString[c.qtype], dns.RcodeToString[r.Rcode], got, dns.RcodeToString[c.rcode], c.want)
			}
			if soa := len(r.Ns) == 1 && r.Ns[0].Header().Rrtype == dns.TypeSOA; r.Rcode != dns.RcodeRefused && (!r.Authoritative || soa != (len(c.want) == 0 || r.Rcode != 0)) {
				t.Errorf("%s: AA %v, authority %q", c.name, r.Authoritative, texts(r.Ns))
			}
		}
	}
	if r := dig(t, "udp", server, "loop.example.com", dns.TypeA); r.Rcode != dns.RcodeServerFailure {
		t.Errorf("loop: %v", r)
	}
	if r := dig(t, "udp", server, "example.com", dns.TypeNS); len(r.Answer) != 2 {
		t.Errorf("%v", r)
	}
	text := dig(t, "tcp", server, "text.example.com", dns.TypeTXT).Answer[0].(*dns.TXT).Txt
	if got := strings.Join(text, ""); !strings.HasPrefix(got, `say \"a\\b\" xx`) {
		t.Errorf("%q", got)
	}
	// Too large for UDP without EDNS.
	for i := range 40 {
		seed(t, s, Record{RR: "many", Type: "A", Value: "192.0.2." + string(rune('0'+i%10)) + string(rune('0'+i/10))})
	}
	if r := dig(t, "udp", server, "many.example.com", dns.TypeA); !r.Truncated {
		t.Errorf("%v", r)
	} else if r.Compress = true; r.Len() > 512 {
		t.Errorf("%d bytes", r.Len())
	}
	if r := dig(t, "tcp", server, "many.example.com", dns.TypeA); r.Truncated {
		t.Errorf("%v", r)
	}
	// EDNS of a version that nobody knows.
	r := dig(t, "udp", server, "host.example.com", dns.TypeA, func(m *dns.Msg) { m.SetEdns0(1232, true); m.IsEdns0().SetVersion(1) })
	if r.Rcode != dns.RcodeBadVers || len(r.Answer) != 0 {
		t.Errorf("%v", r)
	}
}

// TestLinesAreAnswered: by the client subnet, by the address of the client, by
// the address that is asked, and by the narrowest line that has a record.
func TestLinesAreAnswered(t *testing.T) {
	s := start(t, Options{
		Authorities: []Authority{{}, {Line: "unicom"}, {Line: "cn_unicom_beijing"}},
		Subnets: []Subnet{
			{netip.MustParsePrefix("198.51.100.0/24"), "telecom"},
			{netip.MustParsePrefix("198.51.100.128/25"), "cn_telecom_shanghai"},
			{netip.MustParsePrefix("203.0.113.0/24"), "mobile"},
			{netip.MustParsePrefix("127.0.0.0/8"), "edu"},
		},
	})
	for line, value := range map[string]string{"default": "d", "telecom": "t", "cn_telecom_shanghai": "ts", "unicom": "u", "edu": "e"} {
		seed(t, s, Record{RR: "orders", Type: "CNAME", Value: value + ".back.test", Line: line})
	}
	seed(t, s, Record{RR: "only", Type: "CNAME", Value: "t.back.test", Line: "telecom"})
	at := s.Authorities()
	for _, c := range []struct {
		server, name string
		opts         []func(*dns.Msg)
		want         string
		scope        uint8
	}{
		{at[0], "orders", nil, "e", 0}, // from loopback
		{at[0], "orders", []func(*dns.Msg){subnet("198.51.100.0/25")}, "t", 24},
		{at[0], "orders", []func(*dns.Msg){subnet("198.51.100.128/25")}, "ts", 25},
		{at[0], "orders", []func(*dns.Msg){subnet("203.0.113.0/24")}, "d", 24}, // mobile has none
		{at[0], "orders", []func(*dns.Msg){subnet("192.0.2.0/24")}, "d", 0},
		{at[1], "orders", nil, "u", 0},
		{at[2], "orders", nil, "u", 0}, // the wider line
		{at[0], "only", []func(*dns.Msg){subnet("198.51.100.0/25")}, "t", 24},
		{at[0], "only", nil, "", 0},
	} {
		r := dig(t, "udp", c.server, c.name+".example.com", dns.TypeCNAME, c.opts...)
		got := ""
		if len(r.Answer) == 1 {
			got = strings.TrimSuffix(r.Answer[0].(*dns.CNAME).Target, ".back.test.")
		}
		if got != c.want || r.Rcode != 0 {
			t.Errorf("%s at %s: %q %s, want %q", c.name, c.server, got, dns.RcodeToString[r.Rcode], c.want)
		}
		if len(c.opts) > 0 {
			e, ok := r.IsEdns0().Option[0].(*dns.EDNS0_SUBNET)
			if !ok || e.SourceScope != c.scope {
				t.Errorf("%s: scope %v, want %d", c.name, r.IsEdns0(), c.scope)
			}
		}
	}
}

// TestWeights: each as often as its weight says, and 0 never.
func TestWeights(t *testing.T) {
	s := start(t, Options{})
	seed(t, s, Record{RR: "w", Type: "CNAME", Value: "a.back.test", Weight: 3})
	seed(t, s, Record{RR: "w", Type: "CNAME", Value: "b.back.test", Weight: 1})
	z := seed(t, s, Record{RR: "w", Type: "CNAME", Value: "c.back.test", Weight: 1})
	client := sdkClient(t, s, nil)
	weight := alidns.CreateUpdateDNSSLBWeightRequest()
	weight.RecordId, weight.Weight = itoa(z.ID), "0"
	_, err := client.UpdateDNSSLBWeight(weight)
	refused(t, err, 400, "DisabledDNSSLB")
	q := alidns.CreateSetDNSSLBStatusRequest()
	q.SubDomain, q.Open, q.Type = "w.example.com", "true", "CNAME"
	if _, err := client.SetDNSSLBStatus(q); err != nil {
		t.Fatal(err)
	}
	if _, err := client.UpdateDNSSLBWeight(weight); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for range 40 {
		count[dig(t, "udp", s.Authorities()[0], "w.example.com", dns.TypeCNAME).Answer[0].(*dns.CNAME).Target]++
	}
	if count["a.back.test."] != 30 || count["b.back.test."] != 10 {
		t.Errorf("%v", count)
	}
}

// TestAuthoritiesMayBeBehind: each has its own delay, one is frozen, one is
// silent; and the serial grows with what an authority shows.
func TestAuthoritiesMayBeBehind(t *testing.T) {
	s := start(t, Options{Authorities: []Authority{{}, {Delay: time.Hour}, {Frozen: true}, {Silent: true}}})
	r := seed(t, s, Record{RR: "orders", Type: "CNAME", Value: "a.back.test", TTL: 60})
	at := s.Authorities()
	serial := func(i int) uint32 {
		return dig(t, "udp", at[i], "example.com", dns.TypeSOA).Answer[0].(*dns.SOA).Serial
	}
	target := func(i int) string {
		return dig(t, "udp", at[i], "orders.example.com", dns.TypeCNAME).Answer[0].(*dns.CNAME).Target
	}
	before := serial(0)
	if target(0) != "a.back.test." || target(1) != "a.back.test." || target(2) != "a.back.test." {
		t.Fatal("what was there before is not seen everywhere")
	}
	client := sdkClient(t, s, nil)
	if _, err := client.UpdateDomainRecord(update(r, "b.back.test", 60)); err != nil {
		t.Fatal(err)
	}
	if target(0) != "b.back.test." || target(1) != "a.back.test." || target(2) != "a.back.test." {
		t.Errorf("%s %s %s", target(0), target(1), target(2))
	}
	if serial(0) <= before || serial(1) != before || serial(2) != before {
		t.Errorf("serials %d %d %d, before %d", serial(0), serial(1), serial(2), before)
	}
	c := &dns.Client{Timeout: 50 * time.Millisecond}
	m := new(dns.Msg)
	m.SetQuestion("example.com.", dns.TypeSOA)
	if _, _, err := c.Exchange(m, at[3]); err == nil {
		t.Error("the silent one answers")
	}
	for i := 1; i < 4; i++ {
		if err := s.SetAuthority(i, Authority{}); err != nil {
			t.Fatal(err)
		}
		if target(i) != "b.back.test." {
			t.Errorf("authority %d still shows %s", i, target(i))
		}
	}
	if err := s.SetAuthority(0, Authority{Frozen: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.UpdateDomainRecord(update(r, "c.back.test", 60)); err != nil {
		t.Fatal(err)
	}
	if target(0) != "b.back.test." || target(1) != "c.back.test." {
		t.Errorf("%s %s", target(0), target(1))
	}
	if s.SetAuthority(4, Authority{}) == nil || s.SetAuthority(0, Authority{Line: "moon"}) == nil {
		t.Error("nonsense is taken")
	}
}

// TestPrivateZones: what machines of a network resolve. The upstream is the
// authority of a public zone of another such server.
func TestPrivateZones(t *testing.T) {
	public := start(t, Options{})
	seed(t, public, Record{RR: "other.vpc", Type: "A", Value: "198.51.100.1", TTL: 60})
	seed(t, public, Record{RR: "target", Type: "A", Value: "198.51.100.2", TTL: 60})
	s := start(t, Options{VPCs: []VPC{{ID: "vpc-1", Upstream: public.Authorities()[0]}, {ID: "vpc-2"}}})
	id, err := s.AddZone(Zone{Name: "vpc.example.com", Private: true, VPCs: []string{"vpc-1"}})
	if err != nil {
		t.Fatal(err)
	}
	var first Record
	for i, r := range []Record{
		{RR: "orders", Type: "CNAME", Value: "target.example.com", TTL: 60},
		{RR: "inside", Type: "CNAME", Value: "host.vpc.example.com", TTL: 60},
		{RR: "host", Type: "A", Value: "10.0.0.1", TTL: 60},
		{RR: "*", Type: "A", Value: "10.0.0.9", TTL: 60},
	} {
		r, err := s.AddRecord(id, r)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = r
		}
	}
	at := s.Resolver("vpc-1")
	ask := func(server, name string) string {
		r := dig(t, "udp", server, name, dns.TypeA)
		if !r.RecursionAvailable {
			t.Errorf("%s: no recursion", name)
		}
		out := dns.RcodeToString[r.Rcode]
		for _, rr := range r.Answer {
			switch rr := rr.(type) {
			case *dns.CNAME:
				out += " " + rr.Target
			case *dns.A:
				out += " " + rr.A.String()
			}
		}
		return out
	}
	pattern := func(p string) {
		t.Helper()
		q := setPattern(id, p)
		if _, err := pvtzClient(t, s).SetProxyPattern(q); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ pattern, server, name, want string }{
		{"ZONE", at, "orders.vpc.example.com", "NOERROR target.example.com. 198.51.100.2"},
		{"ZONE", at, "inside.vpc.example.com", "NOERROR host.vpc.example.com. 10.0.0.1"},
		{"ZONE", at, "other.vpc.example.com", "NOERROR 10.0.0.9"}, // the wildcard
		{"ZONE", at, "target.example.com", "NOERROR 198.51.100.2"},
		{"RECORD", at, "orders.vpc.example.com", "NOERROR target.example.com. 198.51.100.2"},
		{"RECORD", at, "other.vpc.example.com", "NOERROR 198.51.100.1"}, // wildcards stop working
		{"RECORD", at, "nobody.vpc.example.com", "NXDOMAIN"},
		{"ZONE", s.Resolver("vpc-2"), "orders.vpc.example.com", "SERVFAIL"}, // not bound, and no upstream
	} {
		pattern(c.pattern)
		if got := ask(c.server, c.name); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.pattern, c.name, got, c.want)
		}
	}
	// An acceleration zone shows a change at once; a standard one after the TTL.
	change := func(value string) {
		t.Helper()
		if err := s.Change(first.ID, Edit{Value: &value}); err != nil {
			t.Fatal(err)
		}
	}
	change("host.vpc.example.com")
	if got := ask(at, "orders.vpc.example.com"); got != "NOERROR host.vpc.example.com. 10.0.0.1" {
		t.Error(got)
	}
	s.set(func() { s.zone(id).Standard = true })
	ask(at, "orders.vpc.example.com")
	change("target.example.com")
	if got := ask(at, "orders.vpc.example.com"); got != "NOERROR host.vpc.example.com. 10.0.0.1" {
		t.Errorf("%s: the cache of a standard zone is not there", got)
	}
	if s.Resolver("vpc-9") != "" {
		t.Error("a resolver of nobody")
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	for _, o := range []Options{
		{Listen: "127.0.0.1:x"},
		{Authorities: []Authority{{Line: "moon"}}},
		{Subnets: []Subnet{{netip.MustParsePrefix("10.0.0.0/8"), "moon"}}},
		{VPCs: []VPC{{}}},
		{VPCs: []VPC{{ID: "a", Upstream: "self"}}, Authorities: []Authority{}},
		{VPCs: []VPC{{ID: "a"}, {ID: "a"}}},
		{Roles: []Role{{Name: "r", Policy: &Policy{Statement: []Statement{{}}}}}},
		{Manage: "nowhere"},
		{Authorities: []Authority{{Listen: "203.0.113.1:53"}}},
	} {
		if s, err := New(o); err == nil {
			s.Close()
			t.Errorf("%+v is taken", o)
		}
	}
	s := start(t, Options{})
	for _, z := range []Zone{{}, {Name: "example.com."}, {Name: "a..b"}, {Name: "x.example", Edition: Edition{Code: "gold"}}} {
		if _, err := s.AddZone(z); err == nil {
			t.Errorf("%+v is taken", z)
		}
	}
	if _, err := s.AddRecord("nowhere", Record{}); err == nil {
		t.Error("a record in no zone")
	}
	if _, ok := s.Record("nowhere", "x", ""); ok {
		t.Error("a record of no zone")
	}
}

// TestThePastIsBounded: of many writes as much is kept as somebody still looks
// at, and what a frozen authority shows is never lost to pruning.
func TestThePastIsBounded(t *testing.T) {
	s := start(t, Options{Authorities: []Authority{{}, {Frozen: true}}})
	r := seed(t, s, Record{RR: "orders", Type: "CNAME", Value: "a.back.test", TTL: 60})
	target := func(i int) string {
		return dig(t, "udp", s.Authorities()[i], "orders.example.com", dns.TypeCNAME).Answer[0].(*dns.CNAME).Target
	}
	for i := range 100 {
		if err := s.Change(r.ID, Edit{Value: ptr("v" + itoa(int64(i)) + ".back.test")}); err != nil {
			t.Fatal(err)
		}
	}
	if target(0) != "v99.back.test." || target(1) != "a.back.test." {
		t.Errorf("%s %s", target(0), target(1))
	}
	kept := func() (n int) {
		s.set(func() { n = len(s.zone("example.com").versions) })
		return n
	}
	if n := kept(); n != 101 {
		t.Errorf("%d versions, all of which are newer than what is frozen", n)
	}
	// Half an hour later it is still shown.
	s.set(func() {
		z := s.zone("example.com")
		s.authorities[1].frozenAt = s.now().Add(-time.Hour)
		for i := range z.versions {
			z.versions[i].at = s.now().Add(-30 * time.Minute)
		}
		z.versions[0].at = s.now().Add(-2 * time.Hour)
	})
	for i := range maxVersions {
		if err := s.Change(r.ID, Edit{Value: ptr("w" + itoa(int64(i)) + ".back.test")}); err != nil {
			t.Fatal(err)
		}
	}
	if n := kept(); n != maxVersions || target(1) != "a.back.test." {
		t.Errorf("%d versions, and the frozen one shows %s", n, target(1))
	}
	// Nobody looks back any more: the next write lets the past go.
	s.set(func() {
		s.authorities[1].Frozen = false
		for i := range s.zone("example.com").versions {
			s.zone("example.com").versions[i].at = s.now().Add(-time.Minute)
		}
	})
	if err := s.Change(r.ID, Edit{Value: ptr("last.back.test")}); err != nil {
		t.Fatal(err)
	}
	if n := kept(); n != 2 {
		t.Errorf("%d versions", n)
	}
}
