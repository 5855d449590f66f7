package dnsctl_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/dnsctl"
	"pointsman/dnsctl/contract"
	"pointsman/internal/failover"
)

const (
	policyZone = "rpz.local."
	vendorName = failover.RecordName("orders.cn-hangzhou.vpc.vendor.test.")
	vendorMark = "orders.cn-hangzhou.vpc.vendor.test._pointsman.rpz.local."
	backA      = failover.Target("a.back.test.")
	backB      = failover.Target("b.back.test.")
)

// vendorAlike hold the name, or are held by it, in text; all are overridden.
var vendorAlike = []failover.RecordName{
	"b.orders.cn-hangzhou.vpc.vendor.test.", "myorders.cn-hangzhou.vpc.vendor.test.", "orders.cn-hangzhou.vpc.vendor.test.vendor.test.",
	"cn-hangzhou.vpc.vendor.test.", "orders.cn-hangzhou.vpc.vendor.test.com.",
}

func vendorMarkOf(n failover.RecordName) string { return string(n) + "_pointsman." + policyZone }

// startRPZ runs BIND as a resolver that applies the zone rpz.local. It also has
// the vendor's zone, which is signed, and the one of the targets. options come
// after the zone's name in response-policy.
func startRPZ(t testing.TB, options string) primary {
	t.Helper()
	n := dnsctl.RunNamed(t, func(port int, dir string) string {
		policy := "$TTL 30\n@ IN SOA localhost. hostmaster.back.test. 1 300 60 604800 30\n@ IN NS localhost.\n"
		for _, n := range append([]failover.RecordName{vendorName}, vendorAlike...) {
			policy += fmt.Sprintf("%s IN CNAME %s\n", strings.TrimSuffix(string(n), "."), backA)
		}
		head := "$TTL 300\n@ IN SOA ns.back.test. hostmaster.back.test. 1 300 60 604800 30\n@ IN NS ns.back.test.\n"
		dnsctl.WriteFile(t, filepath.Join(dir, "rpz.zone"), policy)
		dnsctl.WriteFile(t, filepath.Join(dir, "root.zone"), head+"ns.back.test. IN A 127.0.0.1\n")
		dnsctl.WriteFile(t, filepath.Join(dir, "vendor.zone"), head+"orders.cn-hangzhou.vpc IN A 192.0.2.99\nusers.cn-hangzhou.vpc IN A 192.0.2.98\n")
		dnsctl.WriteFile(t, filepath.Join(dir, "back.zone"), head+"ns IN A 127.0.0.1\na IN A 192.0.2.1\nb IN A 192.0.2.2\n")
		return fmt.Sprintf(`
key "ctl." { algorithm hmac-sha256; secret "%s"; };
key "hand." { algorithm hmac-sha256; secret "%s"; };
options {
	directory "%s"; pid-file none; session-keyfile none; lock-file none; key-directory "%s";
	listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; };
	recursion yes; allow-recursion { 127.0.0.0/8; }; notify no; dnssec-validation no; tcp-clients 300;
	response-policy { zone "rpz.local."; } %s;
};
controls {};
zone "." { type primary; file "root.zone"; };
zone "vendor.test." { type primary; file "vendor.zone"; dnssec-policy default; inline-signing yes; };
zone "back.test." { type primary; file "back.zone"; };
zone "rpz.local." { type primary; file "rpz.zone"; allow-transfer { 127.0.0.0/8; }; update-policy {
	grant ctl. name %s%s CNAME; grant ctl. name %s TXT;
	grant hand. zonesub ANY; }; };
`, dnsctl.SecretText, dnsctl.OtherText, dir, dir, port, options, vendorName, policyZone, vendorMark)
	}, policyZone)
	s := primary{"BIND", n.Addr(), policyZone, n.Dir(), 0}
	// BIND 9.18 answers before it has read its policy: for some milliseconds
	// after its start clients are told what the vendor says.
	eventually(t, "a policy that is applied", func() bool {
		return reflect.DeepEqual(s.resolve(t, string(vendorName), dns.TypeCNAME, false), []string{string(backA)})
	})
	return s
}

func rpzConfig(t testing.TB, server string, resolvers ...netip.AddrPort) dnsctl.RPZConfig {
	t.Helper()
	c := rfc2136Config(t, server)
	c.Zone = policyZone
	c.Allowed = map[failover.RecordName][]failover.Target{vendorName: {backA, backB}}
	return dnsctl.RPZConfig{RFC2136Config: c, Resolvers: resolvers}
}

func mustRPZ(t testing.TB, c dnsctl.RPZConfig) dnsctl.RPZ {
	t.Helper()
	p, err := dnsctl.NewRPZ(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestBINDRPZKeepsTheContract(t *testing.T) {
	contract.Run(t, func(t *testing.T) contract.World {
		s := startRPZ(t, "qname-wait-recurse no")
		px := startProxy(t, s.addr)
		owner := string(vendorName) + policyZone
		return contract.World{
			Name: vendorName, A: backA, B: backB, TTL: 30, Alike: vendorAlike, Missing: "missing." + vendorName,
			Provider: func(t testing.TB, k contract.Kind) dnsctl.Provider {
				t.Helper()
				c := rpzConfig(t, px.addr.String(), s.addr)
				switch k {
				case contract.ReadOnly:
					c.ReadOnly, c.Key = true, dnsctl.Key{}
				case contract.Denied:
					c.Key.Secret = dnsctl.MustSecret(t, dnsctl.OtherText)
				case contract.Unreachable:
					c.Server = nobody(t)
				}
				return mustRPZ(t, c)
			},
			Set: func(t testing.TB, r contract.Record) { t.Helper(); s.set(t, owner, vendorMark, r) },
			See: func(t testing.TB, n failover.RecordName) contract.Record {
				t.Helper()
				return s.see(t, string(n)+policyZone, vendorMarkOf(n))
			},
			DNS: s.addr, Recursive: true, Disturb: px.disturb, Requests: px.requests,
			Secrets: []string{dnsctl.SecretText, dnsctl.OtherText},
		}
	})
}

// resolve asks as a client does, with DNSSEC or without, and returns the answer
// without names and TTLs.
func (s primary) resolve(t testing.TB, name string, qtype uint16, dnssec bool) []string {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.SetEdns0(1232, dnssec)
	r := s.exchange(t, m)
	var out []string
	for _, rr := range r.Answer {
		if rr.Header().Rrtype != dns.TypeRRSIG {
			out = append(out, strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
	}
	if r.Rcode != dns.RcodeSuccess {
		out = append(out, dns.RcodeToString[r.Rcode])
	}
	return out
}

func rpzMove(to failover.Target, from failover.Target) dnsctl.Change {
	empty := ""
	return dnsctl.Change{Name: vendorName, Expect: from, ExpectMark: &empty, Value: to, TTL: 30, Mark: markOf(1)}
}

// TestBINDRPZOverridesTheNameForTheClientsOfTheResolver: the name leads to the
// target with its address, other names of the vendor lead where they did, and
// the mark answers for no name that anybody has.
func TestBINDRPZOverridesTheNameForTheClientsOfTheResolver(t *testing.T) {
	s := startRPZ(t, "qname-wait-recurse no min-update-interval 0")
	p := mustRPZ(t, rpzConfig(t, s.addr.String(), s.addr))
	if out, err := p.Write(t.Context(), rpzMove(backB, backA)); out != failover.WriteDone || err != nil {
		t.Fatalf("%s, %v", out, err)
	}
	eventually(t, "a new name in the policy", func() bool {
		return reflect.DeepEqual(s.resolve(t, string(vendorName)+"_pointsman.", dns.TypeTXT, false), []string{`"` + markOf(1) + `"`})
	})
	for _, tc := range []struct {
		name  string
		qtype uint16
		want  []string
	}{
		{string(vendorName), dns.TypeA, []string{"b.back.test.", "192.0.2.2"}},
		{string(vendorName), dns.TypeCNAME, []string{"b.back.test."}},
		{"users.cn-hangzhou.vpc.vendor.test.", dns.TypeA, []string{"192.0.2.98"}},
		{string(dnsctl.MarkName(vendorName)), dns.TypeTXT, []string{"NXDOMAIN"}},
		{string(vendorName) + "_pointsman.", dns.TypeTXT, []string{`"` + markOf(1) + `"`}},
	} {
		if got := s.resolve(t, tc.name, tc.qtype, false); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("clients are told %q of %s %s, want %q", got, tc.name, dns.TypeToString[tc.qtype], tc.want)
		}
	}
	if got := s.ask(t, vendorMark, dns.TypeTXT); len(got) != 1 {
		t.Errorf("the mark in the zone: %v", got)
	}
	if got := p.String(); got != "rpz "+s.addr.String()+" zone rpz.local." {
		t.Errorf("it is called %q", got)
	}
}

// TestBINDRPZTakesTheCommandOfPeople: what a page prints moves the name for the
// clients, at the owners that stand in the policy zone, once; the program finds
// its own value and mark there.
func TestBINDRPZTakesTheCommandOfPeople(t *testing.T) {
	s := startRPZ(t, "qname-wait-recurse no min-update-interval 0")
	p := mustRPZ(t, rpzConfig(t, s.addr.String(), s.addr))
	secret := filepath.Join(t.TempDir(), "ctl.key")
	dnsctl.WriteFile(t, secret, dnsctl.SecretText+"\n")
	c := rpzMove(backB, backA)
	command := p.ByHand(c, secret)
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, command)
	}
	eventually(t, "the new target for clients", func() bool {
		return reflect.DeepEqual(s.resolve(t, string(vendorName), dns.TypeA, false), []string{"b.back.test.", "192.0.2.2"})
	})
	if got, err := p.Read(t.Context(), vendorName); err != nil || got.Value != backB || got.Mark != c.Mark || got.Other != "" {
		t.Errorf("%+v, %v", got, err)
	}
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput(); err == nil || !strings.Contains(string(out), "NXRRSET") {
		t.Errorf("a second time: %v: %s", err, out)
	}
}

// TestBINDRPZLimitsAreAsDocumented holds what rpz.go and docs/providers.md say of
// policy zones against the server.
func TestBINDRPZLimitsAreAsDocumented(t *testing.T) {
	t.Run("signed names need break-dnssec", func(t *testing.T) {
		for options, want := range map[string][]string{
			"qname-wait-recurse no":                  {"192.0.2.99"},
			"break-dnssec yes qname-wait-recurse no": {"a.back.test.", "192.0.2.1"},
		} {
			s := startRPZ(t, options)
			eventually(t, "a signed zone", func() bool { return s.signed(t, "vendor.test.") })
			if got := s.resolve(t, string(vendorName), dns.TypeA, true); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: a client that asks for DNSSEC is told %q, want %q", options, got, want)
			}
			if got := s.resolve(t, string(vendorName), dns.TypeA, false); !reflect.DeepEqual(got, []string{"a.back.test.", "192.0.2.1"}) {
				t.Errorf("%s: a client that does not is told %q", options, got)
			}
		}
	})
	s := startRPZ(t, "qname-wait-recurse no")
	byHand := func(to string) {
		t.Helper()
		s.set(t, string(vendorName)+policyZone, vendorMark, contract.Record{Value: failover.Target(to), TTL: 30})
	}
	t.Run("one shot", func(t *testing.T) {
		byHand(string(vendorAlike[0]))
		if got := s.resolve(t, string(vendorName), dns.TypeA, false); !reflect.DeepEqual(got, []string{string(vendorAlike[0]), "NXDOMAIN"}) {
			t.Errorf("a target that is overridden itself: %q", got)
		}
	})
	t.Run("an action is no target", func(t *testing.T) {
		byHand("rpz-passthru.")
		if got := s.resolve(t, string(vendorName), dns.TypeA, false); !reflect.DeepEqual(got, []string{"192.0.2.99"}) {
			t.Errorf("passthru: %q", got)
		}
		byHand("*.")
		if got := s.resolve(t, string(vendorName), dns.TypeA, false); got != nil {
			t.Errorf("no data: %q", got)
		}
	})
	t.Run("the ttl is bounded", func(t *testing.T) {
		byHand(string(backA))
		m := new(dns.Msg).SetQuestion(string(vendorName), dns.TypeCNAME)
		if r := s.exchange(t, m); len(r.Answer) != 1 || r.Answer[0].Header().Ttl != 5 {
			t.Errorf("%v", r.Answer)
		}
	})
	t.Run("a new name waits for min-update-interval, a new value does not", func(t *testing.T) {
		byHand(string(backB))
		if got := s.resolve(t, string(vendorName), dns.TypeCNAME, false); !reflect.DeepEqual(got, []string{string(backB)}) {
			t.Errorf("a new value: %q", got)
		}
		s.set(t, "users.cn-hangzhou.vpc.vendor.test."+policyZone, vendorMark, contract.Record{Value: backB, TTL: 30})
		if got := s.resolve(t, "users.cn-hangzhou.vpc.vendor.test.", dns.TypeA, false); !reflect.DeepEqual(got, []string{"192.0.2.98"}) {
			t.Errorf("a new name, within a minute of another change: %q", got)
		}
	})
	t.Run("outsiders see nothing", func(t *testing.T) {
		if got := s.ask(t, string(vendorName), dns.TypeCNAME); len(got) != 0 {
			t.Errorf("without recursion: %v", got)
		}
	})
}

func (s primary) signed(t testing.TB, zone string) bool {
	t.Helper()
	m := new(dns.Msg).SetQuestion("users.cn-hangzhou.vpc."+zone, dns.TypeA)
	m.SetEdns0(1232, true)
	for _, rr := range s.exchange(t, m).Answer {
		if rr.Header().Rrtype == dns.TypeRRSIG {
			return true
		}
	}
	return false
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not come about", what)
		}
	}
}

// TestBINDRPZIsVerifiedAtTheResolvers: what counts is what each resolver tells
// its clients. One that does not apply the zone is found out.
func TestBINDRPZIsVerifiedAtTheResolvers(t *testing.T) {
	s := startRPZ(t, "qname-wait-recurse no")
	other := dnsctl.RunNamed(t, func(port int, dir string) string {
		head := "$TTL 300\n@ IN SOA ns.back.test. hostmaster.back.test. 1 300 60 604800 30\n@ IN NS ns.back.test.\n"
		dnsctl.WriteFile(t, filepath.Join(dir, "vendor.zone"), head+"orders.cn-hangzhou.vpc IN A 192.0.2.99\n")
		return fmt.Sprintf(`options { directory "%s"; pid-file none; session-keyfile none; lock-file none;
	listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; }; recursion yes; dnssec-validation no; };
controls {};
zone "vendor.test." { type primary; file "vendor.zone"; };
`, dir, port)
	}, "vendor.test.")
	verify := func(rec bool, want failover.Target, at ...netip.AddrPort) failover.NameAgreement {
		return dnsctl.Verify(t.Context(), []dnsctl.VerifyName{{Name: vendorName, Want: want, Authorities: at, Resolvers: rec}}, dnsctl.VerifyConfig{})[vendorName]
	}
	if a := verify(true, backA, s.addr); !a.Agree || a.Asked != 2 || a.MaxTTL != 5 {
		t.Errorf("%+v", a)
	}
	p := mustRPZ(t, rpzConfig(t, s.addr.String(), s.addr))
	if out, err := p.Write(t.Context(), rpzMove(backB, backA)); out != failover.WriteDone || err != nil {
		t.Fatalf("%s, %v", out, err)
	}
	if a := verify(true, backB, s.addr); !a.Agree {
		t.Errorf("after the move: %+v", a)
	}
	if a := verify(true, backA, s.addr); a.Agree || len(a.Dissent) != 2 || !strings.Contains(a.Dissent[0], "b.back.test.") {
		t.Errorf("the old value: %+v", a)
	}
	if a := verify(true, backB, s.addr, other.Addr()); a.Agree || a.Agreeing != 2 || !strings.Contains(a.Dissent[0], "does this resolver apply the zone") {
		t.Errorf("a resolver without the zone: %+v", a)
	}
	// As an authority is asked, it would not show the policy at all.
	if a := verify(false, backB, s.addr); a.Agree {
		t.Errorf("without recursion: %+v", a)
	}
}

const (
	sampleName = failover.RecordName("orders.cn-hangzhou.vpc.tablestore.aliyuncs.com.")
	sampleZone = "rpz.example.com."
)

// startRPZSample runs the sample as it is shipped, with only port, folder and
// secret replaced, and more at its end. It has no network.
func startRPZSample(t testing.TB, more string, files map[string]string) primary {
	t.Helper()
	n := dnsctl.RunNamed(t, func(port int, dir string) string {
		conf, start := readSample(t, "rpz.named.conf.sample", "//", map[string]string{
			"port 5300 ": fmt.Sprintf("port %d ", port), "/var/lib/bind": dir, "REPLACE-WITH-THE-OUTPUT-OF-tsig-keygen": dnsctl.SecretText,
		})
		dnsctl.WriteFile(t, filepath.Join(dir, "rpz.example.com.zone"), start)
		for name, text := range files {
			dnsctl.WriteFile(t, filepath.Join(dir, name), text)
		}
		return conf + more
	}, sampleZone)
	s := primary{"BIND", n.Addr(), sampleZone, n.Dir(), 0}
	// A question that comes before the policy is one for the vendor's servers,
	// which nothing here can reach: BIND tries for 10 s. It is asked again.
	short := dns.Client{Net: "tcp", Timeout: 300 * time.Millisecond}
	eventually(t, "a policy that is applied", func() bool {
		r, _, err := short.ExchangeContext(t.Context(), new(dns.Msg).SetQuestion(string(sampleName), dns.TypeCNAME), s.addr.String())
		return err == nil && len(r.Answer) == 1 && strings.HasSuffix(r.Answer[0].String(), "\torders-a.example.com.")
	})
	return s
}

// TestBINDRPZSampleConfigOverridesSignedNames: the sample has break-dnssec.
func TestBINDRPZSampleConfigOverridesSignedNames(t *testing.T) {
	s := startRPZSample(t, `zone "aliyuncs.com." { type primary; file "vendor.zone"; dnssec-policy default; inline-signing yes; };`, map[string]string{
		"vendor.zone": "$TTL 300\n@ IN SOA ns.aliyuncs.com. hostmaster 1 300 60 604800 30\n@ IN NS ns\nns IN A 127.0.0.1\n" +
			"orders.cn-hangzhou.vpc.tablestore IN CNAME vendor.example.\nusers.cn-hangzhou.vpc IN A 192.0.2.98\n",
	})
	eventually(t, "a signed zone", func() bool { return s.signed(t, "aliyuncs.com.") })
	if got := s.resolve(t, string(sampleName), dns.TypeCNAME, true); !reflect.DeepEqual(got, []string{"orders-a.example.com."}) {
		t.Errorf("a client that asks for DNSSEC is told %q", got)
	}
}

// TestBINDRPZSampleConfigOverridesTheNameAndGrantsNoMore: nothing but the policy
// can answer here, and it does so without waiting for the vendor.
func TestBINDRPZSampleConfigOverridesTheNameAndGrantsNoMore(t *testing.T) {
	const name, zone = sampleName, sampleZone
	s := startRPZSample(t, "", nil)
	c := rpzConfig(t, s.addr.String(), s.addr)
	c.Zone = zone
	c.Allowed = map[failover.RecordName][]failover.Target{
		name: {"orders-a.example.com.", "orders-b.example.com."}, "users.cn-hangzhou.vpc.tablestore.aliyuncs.com.": {"orders-b.example.com."},
	}
	p := mustRPZ(t, c)
	ch := rpzMove("orders-b.example.com.", "orders-a.example.com.")
	ch.Name = name
	if out, err := p.Write(t.Context(), ch); out != failover.WriteDone || err != nil {
		t.Fatalf("%s, %v", out, err)
	}
	if got, err := p.Read(t.Context(), name); err != nil || got.Value != ch.Value || got.Mark != ch.Mark || got.Other != "" {
		t.Errorf("%+v, %v", got, err)
	}
	if a := dnsctl.Verify(t.Context(), []dnsctl.VerifyName{{Name: name, Want: ch.Value, Authorities: c.Resolvers, Resolvers: true}}, dnsctl.VerifyConfig{})[name]; !a.Agree || a.MaxTTL != 5 {
		t.Errorf("%+v", a)
	}
	out, err := p.Write(t.Context(), dnsctl.Change{
		Name: "users.cn-hangzhou.vpc.tablestore.aliyuncs.com.", Value: "orders-b.example.com.", TTL: 30, Mark: markOf(1),
	})
	if out != failover.WriteRefused || !errors.Is(err, dnsctl.ErrRights) {
		t.Errorf("another name: %s, %v", out, err)
	}
	dnsctl.WantText(t, err.Error(), "CNAME at users.cn-hangzhou.vpc.tablestore.aliyuncs.com.rpz.example.com.",
		"TXT at users.cn-hangzhou.vpc.tablestore.aliyuncs.com._pointsman.rpz.example.com.")
	for what, edit := range map[string]func(*dns.Msg){
		"an address":     func(m *dns.Msg) { m.Insert([]dns.RR{rr(t, "%s%s 30 IN A 192.0.2.9", name, zone)}) },
		"a trigger":      func(m *dns.Msg) { m.Insert([]dns.RR{rr(t, "32.1.2.0.192.rpz-ip.%s 30 IN CNAME .", zone)}) },
		"everything":     func(m *dns.Msg) { m.Insert([]dns.RR{rr(t, "*.%s 30 IN CNAME .", zone)}) },
		"a mark by hand": func(m *dns.Msg) { m.Insert([]dns.RR{rr(t, `_pointsman.%s%s 30 IN TXT "x"`, name, zone)}) },
	} {
		if got := s.update(t, zone, ctl, edit); got != "REFUSED +0" {
			t.Errorf("%s: %s", what, got)
		}
	}
}

func TestRPZConfigNamesItsFaults(t *testing.T) {
	long := failover.RecordName(strings.Repeat("a-label-which-has-thirty-octets.", 6) + "vendor.test.") // 204 octets
	for says, edit := range map[string]func(*dnsctl.RPZConfig){
		"resolvers: list every resolver":          func(c *dnsctl.RPZConfig) { c.Resolvers = nil },
		"resolvers[0]: 127.0.0.1:0 is no address": func(c *dnsctl.RPZConfig) { c.Resolvers = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")} },
		"write the name that clients ask for":     func(c *dnsctl.RPZConfig) { c.Allowed[vendorName+policyZone] = []failover.Target{backA} },
		"lies where marks stand":                  func(c *dnsctl.RPZConfig) { c.Allowed[vendorName+"_pointsman."] = []failover.Target{backA} },
		"for something other than a name":         func(c *dnsctl.RPZConfig) { c.Allowed["32.1.2.0.192.rpz-ip."] = []failover.Target{backA} },
		"would pass 255 octets": func(c *dnsctl.RPZConfig) {
			c.Zone, c.Allowed[long] = "a-policy-zone.of.some.more.length.example.com.", []failover.Target{backA}
		},
		"rpz-passthru. is an action of a policy":     func(c *dnsctl.RPZConfig) { c.Allowed[vendorName] = append(c.Allowed[vendorName], "rpz-passthru") },
		"rpz-drop. is an action of a policy":         func(c *dnsctl.RPZConfig) { c.Allowed[vendorName] = append(c.Allowed[vendorName], "RPZ-Drop.") },
		"rpz-tcp-only. is an action of a policy":     func(c *dnsctl.RPZConfig) { c.Allowed[vendorName] = append(c.Allowed[vendorName], "rpz-tcp-only.") },
		": . is an action of a policy":               func(c *dnsctl.RPZConfig) { c.Allowed[vendorName] = append(c.Allowed[vendorName], ".") },
		": *. is an action of a policy":              func(c *dnsctl.RPZConfig) { c.Allowed[vendorName] = append(c.Allowed[vendorName], "*.") },
		"*.garden.example. is an action of a policy": func(c *dnsctl.RPZConfig) { c.Allowed[vendorName] = append(c.Allowed[vendorName], "*.garden.example") },
		"would make it point at itself": func(c *dnsctl.RPZConfig) {
			c.Allowed[vendorName] = append(c.Allowed[vendorName], failover.Target(vendorName))
		},
		"lies in the policy zone, where clients": func(c *dnsctl.RPZConfig) { c.Allowed[vendorName] = append(c.Allowed[vendorName], "x.rpz.local.") },
		"is overridden itself: a policy is applied once": func(c *dnsctl.RPZConfig) {
			c.Allowed["other.vendor.test."] = []failover.Target{failover.Target(vendorName)}
		},
		"zone: ": func(c *dnsctl.RPZConfig) { c.Zone = "" },
	} {
		c := rpzConfig(t, "127.0.0.1:53", netip.MustParseAddrPort("127.0.0.1:53"))
		if errs := c.Validate(); errs != nil {
			t.Fatal(errs)
		}
		edit(&c)
		if _, err := dnsctl.NewRPZ(c); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not say %q", err, says)
		}
	}
	c := rpzConfig(t, "127.0.0.1:53", netip.MustParseAddrPort("192.0.2.1:53"))
	if c.Loopback() {
		t.Error("a resolver elsewhere is not on this machine")
	}
	c.Resolvers[0] = netip.MustParseAddrPort("127.0.0.1:53")
	if !c.Loopback() {
		t.Error("all of it is on this machine")
	}
}
