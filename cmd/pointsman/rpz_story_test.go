package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pointsman/internal/doctor"
)

const (
	rpzName  = "orders.vendor.test."
	rpzOwner = "orders.vendor.test.rpz.local."
	rpzMark  = "orders.vendor.test._pointsman.rpz.local."
	rpzHead  = "$TTL 30\n@ IN SOA ns.example.com. hostmaster.example.com. 1 300 60 604800 30\n@ IN NS ns.example.com.\n"
)

const rpzConfig = `controller: {name: ctl-1, data: data, socket: s/s}
vantage: {name: ctl-1, domain: rack-1, controls: ["tcp://$CONTROL"]}
single_vantage: accept
providers:
  policy:
    type: rpz
    server: "$BIND"
    zone: rpz.local.
    key: {name: ctl., algorithm: hmac-sha256, secret_file: tsig.key}
    resolvers: ["$BIND"]
instances:
  - name: orders
    preset: fast-lab
    names: [{name: orders.vendor.test., provider: policy}]
` + twoClusters

// rpzBIND runs BIND as the resolver of the clients, which applies the zone
// rpz.local; it has the vendor's zone, signed, and that of the targets. grants
// are those of the policy zone.
func rpzBIND(t *testing.T, applied, options, policy, grants string) *named {
	t.Helper()
	n := runNamed(t, map[string]string{
		"root.zone": rpzHead + "ns.example.com. IN A 127.0.0.1\n", "rpz.zone": rpzHead + policy,
		"vendor.zone":      rpzHead + "orders IN A 192.0.2.99\n",
		"example.com.zone": rpzHead + "ns IN A 127.0.0.1\norders-a IN A 127.0.1.1\norders-b IN A 127.0.1.2\n",
	}, func(port, dir string) string {
		return fmt.Sprintf(`
key "ctl." { algorithm hmac-sha256; secret "%s"; };
key "hand." { algorithm hmac-sha256; secret "%s"; };
options {
	directory "%s"; pid-file none; session-keyfile none; lock-file none; key-directory "%[3]s";
	listen-on port %s { 127.0.0.1; }; listen-on-v6 { none; };
	recursion yes; allow-recursion { 127.0.0.0/8; }; notify no; dnssec-validation no;
	%s
};
controls {};
zone "." { type primary; file "root.zone"; };
zone "vendor.test." { type primary; file "vendor.zone"; dnssec-policy default; inline-signing yes; };
zone "example.com." { type primary; file "example.com.zone"; };
zone "rpz.local." { type primary; file "rpz.zone"; update-policy { %s grant hand. zonesub ANY; }; };
`, ctlSecret, handSecret, dir, port, strings.ReplaceAll(applied, "$OPTIONS", options), grants)
	})
	eventually(t, "a signed zone", func() bool {
		m := new(dns.Msg).SetQuestion("vendor.test.", dns.TypeSOA)
		m.SetEdns0(1232, true)
		r, _, err := new(dns.Client).Exchange(m, n.addr)
		return err == nil && len(r.Answer) > 1
	})
	return n
}

const (
	rpzApplied = `response-policy { zone "rpz.local."; } min-update-interval 0 qname-wait-recurse no $OPTIONS;`
	rpzStands  = "orders.vendor.test IN CNAME orders-a.example.com.\n"
)

// printedGrants are the lines within the update-policy that init rights prints.
func printedGrants(t *testing.T, provider, file string) string {
	t.Helper()
	out, _, err := runVerb(t, "init", "rights", "--provider", provider, "-c", file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(out, "update-policy {\n")
	grants, _, end := strings.Cut(rest, "};")
	if !ok || !end {
		t.Fatalf("no update-policy in\n%s", out)
	}
	return grants
}

// rpzPlace is a config for the name in a policy zone, before any BIND runs.
func rpzGrants(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	text := strings.NewReplacer("$BIND", "127.0.0.1:53", "$CONTROL", "127.0.0.1:9", "$A", "127.0.0.1:1", "$B", "127.0.0.1:2").Replace(rpzConfig)
	writeFiles(t, dir, map[string]string{"pointsman.yaml": text})
	return printedGrants(t, "rpz", filepath.Join(dir, "pointsman.yaml"))
}

// TestBINDDoctorLooksAtPolicyZones: each fault stands in a real BIND.
func TestBINDDoctorLooksAtPolicyZones(t *testing.T) {
	for name, c := range map[string]struct {
		applied, options, policy string
		v                        doctor.Verdict
		want                     []string
	}{
		"sound":          {rpzApplied, "break-dnssec yes", rpzStands, doctor.OK, []string{"orders-a.example.com. at all of 1 resolvers"}},
		"signed":         {rpzApplied, "", rpzStands, doctor.Fail, []string{"its owner signs the name", "break-dnssec yes"}},
		"not applied":    {"", "", rpzStands, doctor.Fail, []string{"answers what the owner says, the policy zone has orders-a.example.com.", `response-policy { zone "rpz.local"; }`}},
		"no record":      {rpzApplied, "break-dnssec yes", "", doctor.Fail, []string{"the policy zone rpz.local. has no CNAME for it"}},
		"a target is it": {rpzApplied, "break-dnssec yes", rpzStands + "orders-b.example.com IN CNAME orders-a.example.com.\n", doctor.Fail, []string{"the target orders-b.example.com. is overridden itself"}},
		"by a wildcard":  {rpzApplied, "break-dnssec yes", rpzStands + "*.example.com IN A 192.0.2.7\n", doctor.Fail, []string{"the target orders-a.example.com. is overridden itself"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bind := rpzBIND(t, c.applied, c.options, c.policy, "")
			w := newBindWorld(t, bind, bind.addr, rpzConfig)
			p := &cloudPlace{t: t, dir: w.dir}
			fs := p.look(append(noResolver, "--only", "provider,dns,clock.dns")...)
			foundIn(t, fs, "provider.policy", c.v, c.want...)
			foundIn(t, fs, "provider.promises", doctor.OK, "a second writer is refused")
			foundIn(t, fs, "dns.delegation", doctor.Skipped, "no authority shows it")
			foundIn(t, fs, "clock.dns", doctor.OK, "")
			if name != "sound" {
				return
			}
			for _, f := range fs {
				if f.Verdict == doctor.Fail || f.Verdict == doctor.Warn {
					t.Errorf("nonsense: %+v", f)
				}
			}
			foundIn(t, fs, "dns.cname", doctor.OK, "orders-a.example.com. at all of 2 answers")
			foundIn(t, fs, "dns.foreign", doctor.OK, "asked at 1 names")
			bind.inZone(t, "rpz.local.", `add `+rpzMark+` 30 TXT "v=1 term=1 epoch=1 op=orders-1.1 by=ctl-9"`)
			foundIn(t, p.look("--only", "dns.foreign", "--resolver", bind.addr), "dns.foreign", doctor.Fail, "another controller, ctl-9")
		})
	}
}

// inZone makes updates of a zone by the key hand.
func (n *named) inZone(t *testing.T, zone string, updates ...string) {
	t.Helper()
	script := fmt.Sprintf("server 127.0.0.1 %s\nzone %s\nkey hmac-sha256:hand. %s\n", port(n.addr), zone, handSecret)
	for _, u := range updates {
		script += "update " + u + "\n"
	}
	tool(t, script+"send\n", "nsupdate", "-v")
}

// TestBINDEjectLetsAPersonMoveTheNameInAPolicyZone: with exactly the rights that
// init rights prints, and every line that eject prints typed as it stands.
func TestBINDEjectLetsAPersonMoveTheNameInAPolicyZone(t *testing.T) {
	bind := rpzBIND(t, rpzApplied, "break-dnssec yes", rpzStands, rpzGrants(t))
	w := newBindWorld(t, bind, bind.addr, rpzConfig)
	ctl := w.run(t)
	w.until(t, "both up", bothUp)
	w.adopt(t)
	w.verb(t, exitOK, "arm", "orders", "--mode", "auto", "--yes")
	w.until(t, "the mark", marked("a"))
	said, readme := ejected(t, w, "--out", "hand")
	ctl.end(t)
	if strings.Contains(readme+said, ctlSecret) {
		t.Error("a secret was printed")
	}
	hand := filepath.Join(w.dir, "hand")
	if said, ok := typed(t, hand, below(t, readme, "the key ctl.")); !ok {
		t.Fatalf("the key: %s", said)
	}
	looks := lookLines(readme)
	if len(looks) < 4 || !strings.Contains(readme, rpzMark) {
		t.Fatalf("%d lines to look:\n%s", len(looks), readme)
	}
	for _, step := range []struct {
		to, want string
		ok       bool
	}{{"b", bindB, true}, {"b", bindB, false}, {"a", bindA, true}} {
		said, ok := typed(t, hand, below(t, readme, "to "+step.to+" ("))
		if ok != step.ok || !step.ok && !strings.Contains(said, "NXRRSET") {
			t.Errorf("to %s: %v\n%s", step.to, ok, said)
		}
		if got := bind.dig(t, rpzOwner, "CNAME"); got != step.want {
			t.Errorf("to %s: the policy zone shows %s", step.to, got)
		}
		for _, l := range looks {
			if said, ok := typed(t, hand, l); !ok || strings.Contains(l, "CNAME") && !strings.Contains(said, step.want) || strings.Contains(l, "TXT") && !strings.Contains(said, "by=ctl-1") {
				t.Errorf("%s\n%s", l, said)
			}
		}
	}
	if said, ok := typed(t, hand, below(t, readme, "without the mark:")); !ok {
		t.Errorf("unmark: %s", said)
	}
	if got := bind.dig(t, rpzMark, "TXT"); got != "" {
		t.Errorf("the mark is still %s", got)
	}
}
