package main

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/config"
	"pointsman/internal/doctor"
)

// doctorWorld is a piece of the Internet on loopback, on one port that stands
// for 53: a parent (com.), two authorities of zones below it, BIND and NSD, a
// server that holds what they refuse, and unbound that resolves it all. BIND has
// 127.0.0.1, since it listens only on addresses that an interface has.
type doctorWorld struct {
	port                                        uint16
	parent, first, second, third, resolverAddrs netip.Addr
}

func (w *doctorWorld) at(ip netip.Addr) string { return netip.AddrPortFrom(ip, w.port).String() }

func (w *doctorWorld) asker() doctor.Asker {
	return doctor.Asker{Resolvers: []netip.AddrPort{netip.AddrPortFrom(w.resolverAddrs, w.port)}, Port: w.port, Timeout: 2 * time.Second}
}

// planted is one zone below com. with its fault: what stands in it at BIND, and
// where it differs at NSD, and who the parent says has it.
type planted struct {
	records   string // beside SOA, NS and the addresses of the clusters
	minimum   int    // of the SOA; 0: 30
	serial    int    // at NSD; 0: as at BIND
	atSecond  string // records at NSD, where they are others
	delegated string // "12" is both, "1" the first alone
	served    string // the same, by whom it is loaded
}

const clusterHosts = "a IN A 127.0.1.1\nb IN A 127.0.1.2\n"

// sound is what a zone without a fault has.
const sound = clusterHosts + "orders 30 IN CNAME a\n"

// doctorZones are the zones of the world, by their label.
var doctorZones = map[string]planted{
	"sound":    {records: sound},
	"missing":  {records: sound, delegated: "1"},
	"lame":     {records: sound, served: "1"},
	"negative": {records: sound, minimum: 3600},
	"stale":    {records: sound, serial: 1, atSecond: clusterHosts + "orders 30 IN CNAME b\n"},
	"slow":     {records: clusterHosts + "orders 3600 IN CNAME a\n"},
	"nothing":  {records: clusterHosts},
	"front":    {records: clusterHosts + "orders 3600 IN CNAME orders.sound.com.\n"},
	"frontold": {records: clusterHosts + "orders 3600 IN CNAME orders.sound.com.\n", atSecond: clusterHosts + "orders 3600 IN CNAME a\n"},
	"frontext": {records: clusterHosts + "orders 3600 IN CNAME orders.sound.com.\n" + `cname-orders IN TXT "heritage=external-dns,external-dns/owner=prod"` + "\n"},
	"frontbad": {records: clusterHosts},
	"else":     {records: sound + "c IN A 127.0.1.3\n", atSecond: "", serial: 0},
	"extdns":   {records: sound + `cname-orders IN TXT "heritage=external-dns,external-dns/owner=prod,external-dns/resource=ingress/shop/orders"` + "\n"},
	"octo":     {records: sound + `_owner.cname.orders IN TXT "*octodns*"` + "\n"},
	"foreign":  {records: sound + `_pointsman.orders IN TXT "v=1 term=9 epoch=4 op=orders-9.4 by=ctl-9"` + "\n"},
	"ours":     {records: sound + `_pointsman.orders IN TXT "v=1 term=9 epoch=4 op=orders-9.4 by=ctl-1"` + "\n"},
	"loop":     {records: "a IN A 127.0.1.1\nb IN CNAME c\nc IN CNAME b\norders 30 IN CNAME a\n"},
	"dangling": {records: "a IN A 127.0.1.1\norders 30 IN CNAME a\n"},
	"moved":    {records: "a IN A 127.0.1.1\nb IN A 127.0.1.9\norders 30 IN CNAME a\n"},
	"manager":  {records: "a IN A 127.0.1.1\nb IN CNAME orders.gtm-a1b2.com.\norders 30 IN CNAME a\n"},
}

// zoneText is the file of a zone.
func zoneText(serial, minimum int, records string) string {
	if minimum == 0 {
		minimum = 30
	}
	return fmt.Sprintf("$TTL %d\n@ IN SOA ns1 hostmaster %d 300 60 604800 %d\n@ IN NS ns1.servers.com.\n@ IN NS ns2.servers.com.\n%s", max(minimum, 60), serial, minimum, records)
}

// newDoctorWorld starts the servers.
func newDoctorWorld(t *testing.T) *doctorWorld {
	t.Helper()
	port := netip.MustParseAddrPort(freeAddr(t)).Port()
	ip := func(last byte) netip.Addr {
		return netip.AddrFrom4([4]byte{127, byte(20 + port%200), byte(port >> 8), last})
	}
	w := &doctorWorld{port: port, parent: ip(1), first: netip.AddrFrom4([4]byte{127, 0, 0, 1}), second: ip(3), third: ip(5), resolverAddrs: ip(4)}
	above := fmt.Sprintf("$TTL 60\n@ IN SOA ns hostmaster 1 300 60 604800 30\n@ IN NS ns\nns IN A %s\nservers IN NS ns.servers\nns.servers IN A %s\n", w.parent, w.first)
	conf := map[string]string{"named": "", "nsd": ""}
	files := map[string]map[string]string{"named": {}, "nsd": {}}
	load := func(server, label, text string) {
		files[server][label+".zone"] = text
		if server == "named" {
			conf[server] += fmt.Sprintf("zone \"%s.com.\" { type primary; file \"%s.zone\"; };\n", label, label)
		} else {
			conf[server] += fmt.Sprintf("zone:\n\tname: \"%s.com.\"\n\tzonefile: \"%s.zone\"\n", label, label)
		}
	}
	for _, label := range slices.Sorted(maps.Keys(doctorZones)) {
		z := doctorZones[label]
		for i, who := range []string{"1", "2"} {
			if z.delegated == "" || strings.Contains(z.delegated, who) {
				above += fmt.Sprintf("%s IN NS ns%d.servers\n", label, i+1)
			}
		}
		load("named", label, zoneText(7, z.minimum, z.records))
		if z.served != "1" {
			load("nsd", label, zoneText(7-z.serial, z.minimum, orElse(z.atSecond, z.records)))
		}
	}
	above += "beside IN NS ns3.servers\n"
	load("named", "servers", fmt.Sprintf("$TTL 60\n@ IN SOA ns hostmaster 1 300 60 604800 30\n@ IN NS ns\nns IN A %s\nns1 IN A %[1]s\nns2 IN A %s\nns3 IN A %s\n", w.first, w.second, w.third))
	w.nsd(t, w.parent, map[string]string{"com.zone": above}, "zone:\n\tname: com.\n\tzonefile: com.zone\n")
	w.named(t, files["named"], conf["named"])
	w.nsd(t, w.second, files["nsd"], conf["nsd"])
	w.crooked(t)
	w.unbound(t)
	return w
}

func (w *doctorWorld) start(t *testing.T, kind string, ip netip.Addr, dir string, command ...string) {
	t.Helper()
	s := &secondary{kind: kind, addr: w.at(ip), dir: dir, log: &safeBuffer{}, command: command}
	s.up(t)
}

func (w *doctorWorld) named(t *testing.T, files map[string]string, zones string) {
	t.Helper()
	dir := shortDir(t, "named")
	files["named.conf"] = fmt.Sprintf(`options { directory "%s"; pid-file none; session-keyfile none; lock-file none; listen-on port %d { %s; };
listen-on-v6 { none; }; recursion no; notify no; dnssec-validation no; };
controls {};
%s`, dir, w.port, w.first, zones)
	writeFiles(t, dir, files)
	w.start(t, "named", w.first, dir, "named", "-g", "-n", "1", "-c", filepath.Join(dir, "named.conf"))
}

func (w *doctorWorld) nsd(t *testing.T, ip netip.Addr, files map[string]string, zones string) {
	t.Helper()
	dir := shortDir(t, "nsd")
	files["nsd.conf"] = fmt.Sprintf("server:\n\tip-address: %s@%d\n\tusername: \"\"\n\tzonesdir: \"%s\"\n\tdatabase: \"\"\n\tpidfile: \"\"\n\txfrdfile: \"%[3]s/xfrd\"\n\txfrdir: \"%[3]s\"\n\tzonelistfile: \"%[3]s/zones\"\n\trrl-ratelimit: 0\nremote-control:\n\tcontrol-enable: no\n%s", ip, w.port, dir, zones)
	writeFiles(t, dir, files)
	w.start(t, "nsd", ip, dir, "nsd", "-d", "-c", filepath.Join(dir, "nsd.conf"))
}

// crooked serves beside.com., whose name has a TXT beside its CNAME. BIND, NSD
// and Knot refuse to load such a zone and PowerDNS hides one of the two; DNS
// services of clouds have been seen to serve it.
func (w *doctorWorld) crooked(t *testing.T) {
	t.Helper()
	var zone []dns.RR
	for _, line := range []string{
		"beside.com. 60 IN SOA ns3.servers.com. h.beside.com. 7 300 60 604800 30", "beside.com. 60 IN NS ns3.servers.com.",
		"a.beside.com. 60 IN A 127.0.1.1", "b.beside.com. 60 IN A 127.0.1.2", "orders.beside.com. 30 IN CNAME a.beside.com.", "orders.beside.com. 30 IN TXT x",
	} {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		zone = append(zone, rr)
	}
	answer := dns.HandlerFunc(func(rw dns.ResponseWriter, m *dns.Msg) {
		r := new(dns.Msg).SetReply(m)
		r.Authoritative = true
		for _, rr := range zone {
			if q := m.Question[0]; strings.EqualFold(q.Name, rr.Header().Name) && q.Qtype == rr.Header().Rrtype {
				r.Answer = append(r.Answer, rr)
			}
		}
		_ = rw.WriteMsg(r)
	})
	for _, network := range []string{"udp", "tcp"} {
		ready := make(chan struct{})
		s := &dns.Server{Addr: w.at(w.third), Net: network, Handler: answer, NotifyStartedFunc: func() { close(ready) }}
		ended := make(chan error, 1)
		go func() { ended <- s.ListenAndServe() }()
		select {
		case <-ready:
		case err := <-ended:
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Shutdown(); <-ended })
	}
}

func (w *doctorWorld) unbound(t *testing.T) {
	t.Helper()
	dir := shortDir(t, "unbound")
	stubs := fmt.Sprintf("stub-zone:\n\tname: \"com.\"\n\tstub-addr: %s@%d\n", w.parent, w.port)
	for _, label := range slices.Sorted(maps.Keys(doctorZones)) {
		stubs += fmt.Sprintf("stub-zone:\n\tname: \"%s.com.\"\n\tstub-addr: %s@%d\n", label, w.first, w.port)
	}
	stubs += fmt.Sprintf("stub-zone:\n\tname: \"servers.com.\"\n\tstub-addr: %s@%d\nstub-zone:\n\tname: \"beside.com.\"\n\tstub-addr: %s@%[2]d\n", w.first, w.port, w.third)
	writeFiles(t, dir, map[string]string{"unbound.conf": fmt.Sprintf("server:\n\tdirectory: \"%s\"\n\tchroot: \"\"\n\tusername: \"\"\n\tpidfile: \"\"\n\tuse-syslog: no\n\tinterface: %s@%d\n\taccess-control: 127.0.0.0/8 allow\n\tnum-threads: 1\n\tmodule-config: \"iterator\"\n\tdo-not-query-localhost: no\nremote-control:\n\tcontrol-enable: no\n%s", dir, w.resolverAddrs, w.port, stubs)})
	w.start(t, "unbound", w.resolverAddrs, dir, "unbound", "-d", "-c", filepath.Join(dir, "unbound.conf"))
}

// look judges one zone of the world as doctor does, from a configuration.
func (w *doctorWorld) look(t *testing.T, label, targetB string) []doctor.Finding {
	t.Helper()
	text := strings.NewReplacer("$ZONE", label+".com.", "$B", targetB, "$SERVER", w.at(w.first)).Replace(`controller: {name: ctl-1}
single_vantage: accept
vantage: {name: ctl-1, domain: rack-1, controls: ["tcp://127.0.0.1:1"]}
providers:
  bind: {type: rfc2136, server: "$SERVER", zone: $ZONE, key: {name: ctl., secret_file: tsig.key}}
instances:
  - name: orders
    preset: stateless-http
    names: [{name: orders.$ZONE, provider: bind}]
    clusters:
      a: {target: a.$ZONE, address: "127.0.1.1:80"}
      b: {target: $B, address: "127.0.1.2:80"}
    primary: a
    check: {type: http, path: /healthz, identity: {header: X-Cluster}}
`)
	cfg, err := config.Parse("pointsman.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p := &patient{cfg: cfg, asker: w.asker(), running: doctor.RunningFacts{Err: "nobody"}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return doctor.Run(ctx, p.zoneChecks(), doctor.Options{Only: dnsIDs})
}

// TestSecondariesDoctorNamesEachPlantedFault: every fault stands in a zone of a
// real server, and is named with what to do; a sound zone has none.
func TestSecondariesDoctorNamesEachPlantedFault(t *testing.T) {
	w := newDoctorWorld(t)
	for label, want := range map[string]struct {
		id       string
		verdict  doctor.Verdict
		evidence string
		fix      string
	}{
		"missing":  {"dns.delegation", doctor.Fail, "com. lacks ns2.servers.com., which the zone names", "at com. add NS ns2.servers.com."},
		"lame":     {"dns.authorities", doctor.Fail, w.at(w.second) + " over UDP: REFUSED", "load the zone on that server"},
		"negative": {"dns.minimum", doctor.Warn, "remember a missing name for 3600 s", "to 60 or less (RFC 2308 section 5)"},
		"stale":    {"dns.cname", doctor.Fail, "disagree: a.stale.com. at " + w.at(w.first) + " udp, " + w.at(w.first) + " tcp; b.stale.com. at " + w.at(w.second) + " udp", "does not follow the primary"},
		"slow":     {"dns.ttl", doctor.Warn, "served with 3600 s, the policy says 30 s", "wait 3600 s before the first move"},
		"nothing":  {"dns.cname", doctor.Fail, "there is no CNAME: NXDOMAIN at ", "orders.nothing.com. 30 IN CNAME a.nothing.com."},
		"extdns":   {"dns.foreign", doctor.Fail, "external-dns of owner prod holds the name: cname-orders.extdns.com.", "--exclude-domains=orders.extdns.com,"},
		"octo":     {"dns.foreign", doctor.Fail, "octoDNS holds the name", "octodns: {ignored: true}"},
		"foreign":  {"dns.foreign", doctor.Fail, "another controller, ctl-9, wrote the name last", "pointsman adopt"},
		"loop":     {"dns.chain", doctor.Fail, "b.loop.com. comes again: b.loop.com. → c.loop.com.", "break the loop"},
		"dangling": {"dns.chain", doctor.Fail, "b.dangling.com. does not exist (NXDOMAIN)", "cut clients off"},
		"moved":    {"dns.target", doctor.Warn, "cluster b: clients would reach 127.0.1.9 (b.moved.com.), probes dial 127.0.1.2", "same front end"},
		"manager":  {"dns.foreign", doctor.Fail, "passes orders.gtm-a1b2.com., a traffic manager", "manual mode"},
		"beside":   {"dns.types", doctor.Fail, "other records at the name: TXT at " + w.at(w.third), "remove these records"},
	} {
		t.Run(label, func(t *testing.T) {
			fs := w.look(t, label, "b."+label+".com.")
			if !slices.ContainsFunc(fs, func(f doctor.Finding) bool {
				return f.ID == want.id && f.Verdict == want.verdict && strings.Contains(f.Evidence, want.evidence) && strings.Contains(f.Fix, want.fix)
			}) {
				t.Errorf("no %s %s with %q and %q in:\n%s", want.id, want.verdict, want.evidence, want.fix, findingLines(fs))
			}
		})
	}
	for _, label := range []string{"sound", "ours"} {
		if fs := w.look(t, label, "b."+label+".com."); doctor.Worst(fs) != doctor.OK || slices.ContainsFunc(fs, func(f doctor.Finding) bool { return f.Verdict != doctor.OK }) {
			t.Errorf("%s is not all well:\n%s", label, findingLines(fs))
		}
	}
	// A name below another zone, which only the resolver knows.
	if fs := w.look(t, "sound", "b.else.com."); doctor.Worst(fs) != doctor.OK {
		t.Errorf("a target elsewhere:\n%s", findingLines(fs))
	}
}

// TestSecondariesDoctorLooksAtAliases: in delegated mode the name that clients
// call is a static CNAME in a zone that no failover touches.
func TestSecondariesDoctorLooksAtAliases(t *testing.T) {
	w := newDoctorWorld(t)
	text := strings.NewReplacer("$SERVER", w.at(w.first)).Replace(`controller: {name: ctl-1}
single_vantage: accept
vantage: {name: ctl-1, domain: rack-1, controls: ["tcp://127.0.0.1:1"]}
providers:
  bind: {type: rfc2136, server: "$SERVER", zone: sound.com., key: {name: ctl., secret_file: tsig.key}}
instances:
  - name: orders
    preset: stateless-http
    names: [{name: orders.sound.com., provider: bind, aliases: [orders.front.com., orders.frontold.com., orders.frontext.com, Orders.FrontBad.com., orders.nowhere.test.]}]
    clusters:
      a: {target: a.sound.com., address: "127.0.1.1:80"}
      b: {target: b.sound.com., address: "127.0.1.2:80"}
    primary: a
    check: {type: http, path: /healthz, identity: {header: X-Cluster}}
`)
	cfg, err := config.Parse("pointsman.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.Instances[0].Targets[0].Name; got != "orders.front.com." {
		t.Errorf("probes speak as %s: clients say the alias", got)
	}
	p := &patient{cfg: cfg, asker: w.asker(), running: doctor.RunningFacts{Err: "nobody"}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	fs := doctor.Run(ctx, p.zoneChecks(), doctor.Options{Only: []string{"dns.alias"}})
	for about, want := range map[string]struct {
		verdict       doctor.Verdict
		evidence, fix string
	}{
		"orders.front.com.":    {doctor.OK, "leads to orders.sound.com. at all of 4 answers; a failover changes nothing in front.com.", ""},
		"orders.frontold.com.": {doctor.Fail, "it shall lead to orders.sound.com., and shows a.frontold.com. at " + w.at(w.second), "orders.frontold.com. 3600 IN CNAME orders.sound.com."},
		"orders.frontext.com.": {doctor.Warn, "external-dns of owner prod holds the name", "--exclude-domains=orders.frontext.com,"},
		"orders.frontbad.com.": {doctor.Fail, "it shall lead to orders.sound.com., and shows NXDOMAIN", "in the zone of orders.frontbad.com. write once: orders.frontbad.com. 3600 IN CNAME orders.sound.com."},
		"orders.nowhere.test.": {doctor.Skipped, "no authority answered: " + w.at(w.first) + " udp: REFUSED", ""},
	} {
		if !slices.ContainsFunc(fs, func(f doctor.Finding) bool {
			return f.ID == "dns.alias" && f.About == about && f.Verdict == want.verdict && strings.Contains(f.Evidence, want.evidence) && strings.Contains(f.Fix, want.fix)
		}) {
			t.Errorf("%s: no %s with %q in:\n%s", about, want.verdict, want.evidence, findingLines(fs))
		}
	}
}

func findingLines(fs []doctor.Finding) string {
	var b strings.Builder
	for _, f := range fs {
		fmt.Fprintf(&b, "%s %s %s: %s | %s\n", f.Verdict, f.ID, f.About, f.Evidence, f.Fix)
	}
	return b.String()
}
