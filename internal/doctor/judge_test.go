package doctor

import (
	"io/fs"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// verdictIs wants one finding of an id with a verdict, evidence and fix.
type verdictIs struct {
	id            string
	verdict       Verdict
	evidence, fix string // parts of them
}

func (w verdictIs) check(t *testing.T, fs []Finding) {
	t.Helper()
	for _, f := range fs {
		if f.ID == w.id && f.Verdict == w.verdict && strings.Contains(f.Evidence, w.evidence) && strings.Contains(f.Fix, w.fix) {
			if (f.Verdict == Warn || f.Verdict == Fail) == (f.Fix == "") {
				t.Errorf("%s is %s and its fix is %q", f.ID, f.Verdict, f.Fix)
			}
			return
		}
	}
	t.Errorf("no %s %s with %q and %q in:\n%s", w.id, w.verdict, w.evidence, w.fix, shown(fs))
}

func shown(fs []Finding) string {
	var b strings.Builder
	for _, f := range fs {
		b.WriteString(strings.Join([]string{string(f.Verdict), f.ID, f.About, f.Evidence, f.Fix}, " | ") + "\n")
	}
	return b.String()
}

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
func ip(s string) netip.Addr     { return netip.MustParseAddr(s) }

// soundZone is a zone of which nothing bad is to be said.
func soundZone() ZoneFacts {
	soa := SOAFacts{AA: true, Serial: 7, TTL: 30, Minimum: 30}
	ns := []string{"ns1.example.com.", "ns2.example.com."}
	return ZoneFacts{
		Zone: "example.com.", Parent: "com.",
		Parents: []ParentFacts{{At: at("192.0.2.1:53"), NS: ns}},
		Hosts:   map[string][]netip.Addr{ns[0]: {ip("198.51.100.1")}, ns[1]: {ip("198.51.100.2")}}, HostErr: map[string]string{},
		Servers: []ServerFacts{{At: at("198.51.100.1:53"), UDP: soa, TCP: soa, NS: ns}, {At: at("198.51.100.2:53"), UDP: soa, TCP: soa, NS: ns}},
	}
}

func TestAZoneIsJudgedFaultByFault(t *testing.T) {
	if got := Worst(JudgeZone(soundZone())); got != OK {
		t.Fatalf("a sound zone is %s:\n%s", got, shown(JudgeZone(soundZone())))
	}
	for name, c := range map[string]struct {
		breakIt func(z *ZoneFacts)
		want    verdictIs
	}{
		"the parent lacks one": {
			func(z *ZoneFacts) { z.Parents[0].NS = z.Parents[0].NS[:1] },
			verdictIs{"dns.delegation", Fail, "com. lacks ns2.example.com., which the zone names", "at com. add NS ns2.example.com."},
		},
		"the zone lacks one": {
			func(z *ZoneFacts) { z.Servers[0].NS, z.Servers[1].NS = z.Servers[0].NS[:1], z.Servers[0].NS[:1] },
			verdictIs{"dns.delegation", Fail, "com. names ns2.example.com., which the zone does not", "in the zone add NS ns2.example.com."},
		},
		"not delegated": {
			func(z *ZoneFacts) { z.Parents[0].NS = nil },
			verdictIs{"dns.delegation", Fail, "com. does not delegate it", "add NS records for example.com. at com.: ns1.example.com., ns2"},
		},
		"a private name": {
			func(z *ZoneFacts) { z.Zone, z.Parents[0].NS = "lab.test.", nil },
			verdictIs{"dns.delegation", Skipped, "no delegation is to be seen from here: nothing above lab.test. names it", ""},
		},
		"no parent was found": {
			func(z *ZoneFacts) { z.Parents, z.ParentErr = nil, "resolver 192.0.2.53: no answer in time" },
			verdictIs{"dns.delegation", Skipped, "resolver 192.0.2.53: no answer in time", ""},
		},
		"a server without an address": {
			func(z *ZoneFacts) { delete(z.Hosts, "ns2.example.com.") },
			verdictIs{"dns.delegation", Fail, "ns2.example.com., and it has no address", "give ns2.example.com. an A or AAAA record"},
		},
		"UDP is closed": {
			func(z *ZoneFacts) { z.Servers[1].UDP = SOAFacts{Err: "no answer in time"} },
			verdictIs{"dns.authorities", Fail, "198.51.100.2 over UDP: no answer in time", "open port 53 for UDP and TCP"},
		},
		"TCP is closed": {
			func(z *ZoneFacts) { z.Servers[1].TCP = SOAFacts{Err: "nothing listens there"} },
			verdictIs{"dns.authorities", Fail, "198.51.100.2 over TCP: nothing listens there", "open port 53"},
		},
		"lame": {
			func(z *ZoneFacts) { z.Servers[1].TCP = SOAFacts{Rcode: "REFUSED"} },
			verdictIs{"dns.authorities", Fail, "198.51.100.2 over TCP: REFUSED", "lame"},
		},
		"not authoritative": {
			func(z *ZoneFacts) { z.Servers[1].UDP.AA = false },
			verdictIs{"dns.authorities", Fail, "over UDP: the answer is not authoritative", "load the zone"},
		},
		"no route": {
			func(z *ZoneFacts) { z.Servers[1].UDP = SOAFacts{Err: "no route from here", Route: true} },
			verdictIs{"dns.authorities", Warn, "198.51.100.2: no route from here", "route to it"},
		},
		"serials differ": {
			func(z *ZoneFacts) { z.Servers[1].TCP.Serial = 6 },
			verdictIs{"dns.authorities", Warn, "serials differ: 6 at 198.51.100.2; 7 at 198.51.100.1", "NOTIFY"},
		},
		"lists differ": {
			func(z *ZoneFacts) { z.Servers[1].NS = z.Servers[1].NS[:1] },
			verdictIs{"dns.authorities", Warn, "the authorities name different servers: ns1.example.com. at 198.51.100.2; ns1", "same state"},
		},
		"one is not listed": {
			func(z *ZoneFacts) { z.Listed = []netip.AddrPort{at("198.51.100.1:53")} },
			verdictIs{"dns.authorities", Warn, "198.51.100.2 (ns2.example.com.), and the configuration does not list it", "authorities of the provider"},
		},
		"nobody to ask": {
			func(z *ZoneFacts) { z.Servers, z.Undirected = nil, "no way to one" },
			verdictIs{"dns.authorities", Skipped, "no way to one", ""},
		},
		"a long memory": {
			func(z *ZoneFacts) { z.Servers[1].UDP.Minimum, z.Servers[1].UDP.TTL = 3600, 7200 },
			verdictIs{"dns.minimum", Warn, "for 3600 s (SOA minimum 3600, TTL of the SOA 7200)", "to 60 or less (RFC 2308 section 5)"},
		},
		"the TTL of the SOA counts where it is less": {
			func(z *ZoneFacts) { z.Servers[1].UDP.Minimum = 3600 },
			verdictIs{"dns.minimum", OK, "remembered for 30 s", ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			z := soundZone()
			c.breakIt(&z)
			c.want.check(t, JudgeZone(z))
		})
	}
}

// soundName is a name of which nothing bad is to be said.
func soundName() NameFacts {
	answer := func(network string) NameAnswer {
		return NameAnswer{At: at("198.51.100.1:53"), Net: network, CNAMEs: []string{"a.example.com."}, TTL: 30}
	}
	return NameFacts{
		NamePlan: NamePlan{
			Name: "orders.example.com.", Zone: "example.com.", TTL: 30, By: "ctl-1",
			Targets: map[string]NameTarget{"a": {"a.example.com.", "192.0.2.10:80"}, "b": {"b.example.com.", "192.0.2.20:80"}},
		},
		Answers: []NameAnswer{answer("udp"), answer("tcp")},
		Chains:  map[string]ChainFacts{"a.example.com.": {Addresses: []netip.Addr{ip("192.0.2.10")}}, "b.example.com.": {Addresses: []netip.Addr{ip("192.0.2.20")}}},
		Dialled: map[string]DialledFacts{"a": {Addresses: []netip.Addr{ip("192.0.2.10")}}, "b": {Addresses: []netip.Addr{ip("192.0.2.20")}}},
		Texts:   map[string][]string{"_pointsman.orders.example.com.": {"v=1 term=2 epoch=1 op=x by=ctl-1"}, "orders.example.com.": nil},
	}
}

func TestANameIsJudgedFaultByFault(t *testing.T) {
	if got := Worst(JudgeName(soundName())); got != OK {
		t.Fatalf("a sound name is %s:\n%s", got, shown(JudgeName(soundName())))
	}
	text := func(place, text string) func(n *NameFacts) {
		return func(n *NameFacts) { n.Texts[place] = []string{text} }
	}
	for name, c := range map[string]struct {
		breakIt func(n *NameFacts)
		want    verdictIs
	}{
		"nobody was asked":   {func(n *NameFacts) { n.Answers = nil }, verdictIs{"dns.foreign", Skipped, "no authority of example.com. can be asked", ""}},
		"nobody answered":    {func(n *NameFacts) { n.Answers[0].Err, n.Answers[1].Err = "x", "y" }, verdictIs{"dns.cname", Skipped, "no authority answered: 198.51.100.1 udp: x", ""}},
		"one did not answer": {func(n *NameFacts) { n.Answers[1].Err = "no answer in time" }, verdictIs{"dns.cname", Warn, "no answer: 198.51.100.1 tcp: no answer in time", "dns.authorities"}},
		"a stale authority":  {func(n *NameFacts) { n.Answers[1].CNAMEs = []string{"b.example.com."} }, verdictIs{"dns.cname", Fail, "disagree: a.example.com. at 198.51.100.1 udp; b.example.com. at 198.51.100.1 tcp", "does not follow the primary"}},
		"NXDOMAIN somewhere": {func(n *NameFacts) { n.Answers[1].CNAMEs, n.Answers[1].Rcode = nil, "NXDOMAIN" }, verdictIs{"dns.cname", Fail, "NXDOMAIN at 198.51.100.1 tcp", "odd one"}},
		"no CNAME":           {func(n *NameFacts) { n.Answers[0].CNAMEs, n.Answers[1].CNAMEs = nil, nil }, verdictIs{"dns.cname", Fail, "there is no CNAME", "orders.example.com. 30 IN CNAME a.example.com."}},
		"two CNAMEs":         {func(n *NameFacts) { n.Answers[1].CNAMEs = []string{"a.example.com.", "b.example.com."} }, verdictIs{"dns.cname", Fail, "more than one CNAME", "leave one"}},
		"a third value":      {func(n *NameFacts) { n.Answers[0].CNAMEs, n.Answers[1].CNAMEs = []string{"c."}, []string{"c."} }, verdictIs{"dns.cname", Fail, "points at c., which is no target", "one of a.example.com., b.example.com."}},
		"a TXT beside":       {func(n *NameFacts) { n.Answers[1].Others = []string{"TXT"} }, verdictIs{"dns.types", Fail, "TXT at 198.51.100.1", "remove these records"}},
		"a long TTL":         {func(n *NameFacts) { n.Answers[0].TTL = 3600 }, verdictIs{"dns.ttl", Warn, "served with 3600 s, the policy says 30 s", "wait 3600 s before the first move"}},
		"a loop": {func(n *NameFacts) {
			n.Chains["b.example.com."] = ChainFacts{Links: []string{"c.", "b.example.com."}, Loop: "b.example.com."}
		}, verdictIs{"dns.chain", Fail, "b.example.com. comes again: b.example.com. → c. → b.example.com.", "break the loop"}},
		"back to the name": {func(n *NameFacts) { n.Chains["b.example.com."] = ChainFacts{Links: []string{n.Name}, Loop: n.Name} }, verdictIs{"dns.chain", Fail, "leads back to the name itself", "own addresses"}},
		"a target of nothing": {func(n *NameFacts) {
			n.Chains["b.example.com."] = ChainFacts{Err: "b.example.com. does not exist (NXDOMAIN)"}
		}, verdictIs{"dns.chain", Fail, "does not exist (NXDOMAIN)", "cut clients off"}},
		"broken signatures": {func(n *NameFacts) {
			n.Secure = []SecureFacts{{Resolver: netip.MustParseAddrPort("192.0.2.53:53"), Plain: "SERVFAIL", DO: "SERVFAIL", Unchecked: "NOERROR"}}
		}, verdictIs{"dns.secure", Fail, "DNSSEC: 192.0.2.53 answers SERVFAIL, with DO SERVFAIL, and NOERROR when it does not check", "do not move the name"}},
		"broken only with DO": {func(n *NameFacts) {
			n.Secure = []SecureFacts{{Resolver: netip.MustParseAddrPort("192.0.2.53:53"), Plain: "NOERROR", DO: "SERVFAIL", Unchecked: "NOERROR"}}
		}, verdictIs{"dns.secure", Fail, "the signatures are broken", "delv"}},
		"a server that fails": {func(n *NameFacts) {
			n.Secure = []SecureFacts{{Resolver: netip.MustParseAddrPort("192.0.2.53:53"), Plain: "SERVFAIL", DO: "SERVFAIL", Unchecked: "SERVFAIL"}}
		}, verdictIs{"dns.secure", Skipped, "no resolver answers for it: 192.0.2.53: SERVFAIL", ""}},
		"a target without one":    {func(n *NameFacts) { n.Chains["b.example.com."] = ChainFacts{} }, verdictIs{"dns.chain", Fail, "b.example.com. has no address", "A or AAAA"}},
		"a target that is hidden": {func(n *NameFacts) { n.Chains["b.example.com."] = ChainFacts{Err: "resolver 192.0.2.53: SERVFAIL"} }, verdictIs{"dns.chain", Warn, "SERVFAIL", "--resolver ADDRESS"}},
		"a long chain": {func(n *NameFacts) {
			n.Chains["b.example.com."] = ChainFacts{Links: []string{"c.", "d."}, Addresses: []netip.Addr{ip("192.0.2.20")}}
		}, verdictIs{"dns.chain", Warn, "has 2 links", "straight"}},
		"too long a chain":      {func(n *NameFacts) { n.Chains["b.example.com."] = ChainFacts{Err: "more than 8 names in a row"} }, verdictIs{"dns.chain", Fail, "more than 8", "shorten"}},
		"probes look elsewhere": {func(n *NameFacts) { n.Dialled["b"] = DialledFacts{Addresses: []netip.Addr{ip("192.0.2.99")}} }, verdictIs{"dns.target", Warn, "cluster b: clients would reach 192.0.2.20 (b.example.com.), probes dial 192.0.2.99", "same front end"}},
		"an address unknown":    {func(n *NameFacts) { n.Dialled["b"] = DialledFacts{Err: "SERVFAIL"} }, verdictIs{"dns.target", Skipped, "probes dial 192.0.2.20:80: SERVFAIL", ""}},
		"external-dns": {
			text("cname-orders.example.com.", "heritage=external-dns,external-dns/owner=prod,external-dns/resource=ingress/x/y"),
			verdictIs{"dns.foreign", Fail, "external-dns of owner prod holds the name: cname-orders.example.com.", "--exclude-domains=orders.example.com,"},
		},
		"octoDNS":             {text("_owner.cname.orders.example.com.", "*octodns*"), verdictIs{"dns.foreign", Fail, "octoDNS holds the name", "octodns: {ignored: true}"}},
		"octoDNS in the zone": {text("octodns-meta.example.com.", "time=2026"), verdictIs{"dns.foreign", Warn, "octoDNS writes this zone", "NameRejectlistFilter"}},
		"Terraform":           {text("example.com.", "managed by Terraform"), verdictIs{"dns.foreign", Warn, "Terraform seems to write", "ignore_changes"}},
		"another controller":  {text("_pointsman.orders.example.com.", "v=1 term=9 epoch=4 op=orders-9.4 by=ctl-9"), verdictIs{"dns.foreign", Fail, "another controller, ctl-9, wrote the name last (orders-9.4, term 9, epoch 4)", "pointsman adopt"}},
		"an odd mark":         {text("_pointsman.orders.example.com.", "hello"), verdictIs{"dns.foreign", Warn, `"hello" is no mark`, "remove the TXT"}},
		"a traffic manager": {func(n *NameFacts) {
			n.Chains["b.example.com."] = ChainFacts{Links: []string{"x.gtm-a1b2.com."}, Addresses: []netip.Addr{ip("192.0.2.20")}}
		}, verdictIs{"dns.foreign", Fail, "passes x.gtm-a1b2.com., a traffic manager", "manual mode"}},
		"another of them": {func(n *NameFacts) {
			n.Chains["a.example.com."] = ChainFacts{Links: []string{"orders.gtm.example.net."}, Addresses: []netip.Addr{ip("192.0.2.10")}}
		}, verdictIs{"dns.foreign", Fail, "passes orders.gtm.example.net.", "manual mode"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := soundName()
			c.breakIt(&n)
			c.want.check(t, JudgeName(n))
		})
	}
}

func TestPlacementIsJudgedByWhatDiesTogether(t *testing.T) {
	sound := func() Place {
		return Place{
			Instance: "orders", Controller: "ctl-1", Home: "third", Clusters: [2]failover.ClusterName{"a", "b"},
			Vantages: []failover.VantagePolicy{{Name: "ctl-1", Domain: "third"}, {Name: "v2", Domain: "za"}, {Name: "v3", Domain: "zb"}},
			Domains:  map[failover.ClusterName]failover.DomainName{"a": "za", "b": "zb"},
		}
	}
	verdictIs{"placement.blast", OK, "za dies: cluster a, vantage v2; 2 of 3 domains are left, a quorum is 2", ""}.check(t, JudgeBlast(sound()))
	verdictIs{"placement.domains", OK, "third: ctl-1; za: v2; zb: v3", ""}.check(t, []Finding{JudgeDomains(sound())})
	for name, c := range map[string]struct {
		breakIt func(p *Place)
		want    verdictIs
	}{
		"the controller dies too": {func(p *Place) { p.Home = "zb" }, verdictIs{"placement.blast", Fail, "zb dies: cluster b, controller ctl-1 with its ledger, vantage v3", "domain without a cluster"}},
		"no quorum is left":       {func(p *Place) { p.Vantages = p.Vantages[:2] }, verdictIs{"placement.blast", Fail, "1 of 2 domains are left, and a quorum is 2", "add vantages"}},
		"both clusters":           {func(p *Place) { p.Domains["b"] = "za" }, verdictIs{"placement.blast", Fail, "both clusters stand in za", "different failure domains"}},
		"one not told":            {func(p *Place) { delete(p.Domains, "b") }, verdictIs{"placement.blast", Warn, "clusters.b.domain is not written", "vantage.domain"}},
		"two domains":             {func(p *Place) { p.Vantages = p.Vantages[:2] }, verdictIs{"placement.domains", Warn, "two failure domains must both agree", "third"}},
		"one domain":              {func(p *Place) { p.Vantages = p.Vantages[:1] }, verdictIs{"placement.domains", Fail, "one failure domain", "two other"}},
		"one that is accepted":    {func(p *Place) { p.Vantages, p.Single = p.Vantages[:1], true }, verdictIs{"placement.domains", Warn, "one failure domain", "two other"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := sound()
			c.breakIt(&p)
			c.want.check(t, append(JudgeBlast(p), JudgeDomains(p)))
		})
	}
}

func TestClocksAreJudgedByWhatIsCertain(t *testing.T) {
	for name, c := range map[string]struct {
		c    ClockFacts
		want verdictIs
	}{
		"near":         {ClockFacts{Offset: time.Second, Unsure: 600 * time.Millisecond, How: "x"}, verdictIs{"c", OK, "1s ahead of this host (by x, ± 600ms)", ""}},
		"within doubt": {ClockFacts{Offset: 4 * time.Second, Unsure: 5 * time.Second, How: "x"}, verdictIs{"c", OK, "no difference is to be seen", ""}},
		"off":          {ClockFacts{Offset: -4 * time.Second, Unsure: time.Second}, verdictIs{"c", Warn, "4s behind this host", "NTP"}},
		"far off":      {ClockFacts{Offset: -200 * time.Second, Unsure: time.Second}, verdictIs{"c", Fail, "3m20s behind", "RFC 8945"}},
		"unread":       {ClockFacts{Err: "refused"}, verdictIs{"c", Skipped, "not compared: refused", ""}},
		"our own":      {ClockFacts{Same: true}, verdictIs{"c", OK, "clock of this machine", ""}},
	} {
		t.Run(name, func(t *testing.T) { c.want.check(t, []Finding{JudgeClock("c", c.c)}) })
	}
	sent := time.Unix(1000, 0)
	c := Compared("x", "Date", sent, sent.Add(200*time.Millisecond), time.Unix(1003, 0), time.Second)
	if c.Offset != 3400*time.Millisecond || c.Unsure != 600*time.Millisecond {
		t.Errorf("offset %s ± %s", c.Offset, c.Unsure)
	}
}

func TestFilesAndDisksAreJudged(t *testing.T) {
	secret := FileFacts{Path: "k", What: "key", Mode: 0o600, Size: 9, UID: 7, Me: 7}
	folder := FileFacts{Path: "data", Mode: fs.ModeDir | 0o700, UID: 7, Me: 7}
	with := func(f FileFacts, change func(*FileFacts)) FileFacts { change(&f); return f }
	for name, c := range map[string]struct {
		f    Finding
		want verdictIs
	}{
		"a secret":              {JudgeSecret(secret), verdictIs{"files.secrets", OK, "mode 0600", ""}},
		"that others read":      {JudgeSecret(with(secret, func(f *FileFacts) { f.Mode = 0o644 })), verdictIs{"files.secrets", Fail, "mode 0644", "chmod 600 k"}},
		"of another user":       {JudgeSecret(with(secret, func(f *FileFacts) { f.UID = 8 })), verdictIs{"files.secrets", Fail, "belongs to uid 8, and this is uid 7", "chown"}},
		"of root":               {JudgeSecret(with(secret, func(f *FileFacts) { f.UID = 0 })), verdictIs{"files.secrets", OK, "", ""}},
		"that is missing":       {JudgeSecret(FileFacts{Missing: true, What: "secret of provider x"}), verdictIs{"files.secrets", Warn, "secret of provider x is not there", "--shadow"}},
		"that must be there":    {JudgeSecret(FileFacts{Missing: true, Needed: true}), verdictIs{"files.secrets", Fail, "is not there, and the controller needs it", "docs/config.md"}},
		"that is empty":         {JudgeSecret(with(secret, func(f *FileFacts) { f.Size = 0 })), verdictIs{"files.secrets", Fail, "is empty", "write the secret"}},
		"that is a pipe":        {JudgeSecret(with(secret, func(f *FileFacts) { f.Mode |= fs.ModeNamedPipe })), verdictIs{"files.secrets", Fail, "no plain file", "plain file"}},
		"out of reach":          {JudgeSecret(FileFacts{Err: "permission denied"}), verdictIs{"files.secrets", Fail, "permission denied", "reach"}},
		"a folder":              {JudgeFolder(folder), verdictIs{"files.data", OK, "mode 0700, uid 7", ""}},
		"none yet":              {JudgeFolder(FileFacts{Missing: true}), verdictIs{"files.data", OK, "not there yet", ""}},
		"for everybody":         {JudgeFolder(with(folder, func(f *FileFacts) { f.Mode |= 0o002 })), verdictIs{"files.data", Fail, "everybody may write", "chmod o-w"}},
		"for others to look at": {JudgeFolder(with(folder, func(f *FileFacts) { f.Mode |= 0o055 })), verdictIs{"files.data", Warn, "mode 0755", "chmod 700"}},
		"of somebody else":      {JudgeFolder(with(folder, func(f *FileFacts) { f.UID = 8 })), verdictIs{"files.data", Fail, "uid 8", "chown"}},
		"no folder":             {JudgeFolder(with(folder, func(f *FileFacts) { f.Mode = 0o600 })), verdictIs{"files.data", Fail, "is no folder", "another controller.data"}},
		"a quick disk":          {JudgeSync(SyncFacts{Tries: 20, P50: time.Millisecond, P99: 2 * time.Millisecond}), verdictIs{"ledger.sync", OK, "p50 1ms, p99 2ms", ""}},
		"a slow disk":           {JudgeSync(SyncFacts{Tries: 20, P99: 200 * time.Millisecond}), verdictIs{"ledger.sync", Warn, "p99 200ms", "quicker"}},
		"a dead disk":           {JudgeSync(SyncFacts{Tries: 20, P99: 2 * time.Second}), verdictIs{"ledger.sync", Fail, "p99 2s", "SSD"}},
		"memory":                {JudgeSync(SyncFacts{Tries: 20, RAM: true}), verdictIs{"ledger.sync", Warn, "tmpfs", "reboot"}},
		"no rights":             {JudgeSync(SyncFacts{Err: "permission denied"}), verdictIs{"ledger.sync", Fail, "no durable write is possible: permission denied", "may write"}},
		"room":                  {JudgeSpace(SpaceFacts{Free: 2 << 30, Total: 4 << 30}), verdictIs{"ledger.space", OK, "2.0 GiB of 4.0 GiB free", ""}},
		"little room":           {JudgeSpace(SpaceFacts{Free: 100 << 20, Total: 4 << 30}), verdictIs{"ledger.space", Warn, "100 MiB", "free the disk"}},
		"no room":               {JudgeSpace(SpaceFacts{Free: 1 << 20, Total: 4 << 30}), verdictIs{"ledger.space", Fail, "1 MiB", "first write that fails"}},
		"no inodes":             {JudgeSpace(SpaceFacts{Free: 2 << 30, Total: 4 << 30, Nodes: 9000, Files: 3}), verdictIs{"ledger.space", Warn, "room for 3 more files", "small files"}},
		"an old copy":           {JudgeBackup(BackupFacts{Ledger: true, Newest: "x", Age: 9 * 24 * time.Hour}), verdictIs{"ledger.backup", Warn, "9 days old", "copy ledger.db"}},
		"a new copy":            {JudgeBackup(BackupFacts{Ledger: true, Newest: "x", Age: time.Hour}), verdictIs{"ledger.backup", OK, "x is 1h0m0s old", ""}},
		"no copy":               {JudgeBackup(BackupFacts{Ledger: true}), verdictIs{"ledger.backup", Skipped, "no copy lies beside", ""}},
	} {
		t.Run(name, func(t *testing.T) { c.want.check(t, []Finding{c.f}) })
	}
}
