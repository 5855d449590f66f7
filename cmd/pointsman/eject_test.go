package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/dnsctl"
	"pointsman/internal/config"
	"pointsman/internal/failover"
)

// typed runs a line of what eject printed as a person would: in a shell, in the
// folder that it wrote.
func typed(t *testing.T, dir, line string) (said string, ok bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "PATH=$PATH:/usr/sbin; "+line)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// below returns the first line after the one that begins with a head.
func below(t *testing.T, text, head string) string {
	t.Helper()
	lines := strings.Split(text, "\n")
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(strings.TrimSpace(l), head) })
	if i < 0 || i+1 == len(lines) {
		t.Fatalf("nothing stands below %q in\n%s", head, text)
	}
	return strings.TrimSpace(lines[i+1])
}

func ejected(t *testing.T, w *bindWorld, args ...string) (said, readme string) {
	t.Helper()
	said = w.verb(t, exitOK, append([]string{"eject", "orders", "-c", "pointsman.yaml", "--yes"}, args...)...)
	data, err := os.ReadFile(filepath.Join(w.dir, args[slices.Index(args, "--out")+1], "README.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return said, string(data)
}

// TestEjectLetsAPersonMoveTheNameInBIND: what it prints is typed as it stands,
// and a real BIND does it, or refuses it where the name is elsewhere.
func TestEjectLetsAPersonMoveTheNameInBIND(t *testing.T) {
	t.Parallel()
	bind := startNamed(t, "orders-a", bindGrants)
	w := newBindWorld(t, bind, bind.addr, bindConfig)
	ctl := w.run(t)
	w.until(t, "both up", bothUp)
	w.adopt(t)
	w.verb(t, exitOK, "arm", "orders", "--mode", "auto", "--yes")
	w.until(t, "the mark", marked("a"))

	// One that is not there: of the others none is let go.
	wantIn(t, w.verb(t, exitError, "eject", "orders", "ordres", "-c", "pointsman.yaml", "--yes"), `the config has no instance "ordres"; nothing was disarmed`)
	if said := w.verb(t, exitOK, "audit", "orders"); strings.Contains(said, "disarmed") {
		t.Errorf("it was disarmed:\n%s", said)
	}
	said, readme := ejected(t, w, "--out", "hand")
	wantIn(t, said, "was told to disarm them; it still runs", "orders: a serves, b stands by; mode shadow", "written to hand:", "orders-bind-to-b.nsupdate")
	wantIn(t, w.verb(t, exitOK, "audit", "orders"), "alice@", "disarmed: eject")
	wantIn(t, w.verb(t, exitError, "eject", "orders", "-c", "pointsman.yaml", "--yes", "--out", "hand"), "hand is not empty")
	ctl.end(t)
	if strings.Contains(readme+said, ctlSecret) {
		t.Error("a secret was printed")
	}

	hand := filepath.Join(w.dir, "hand")
	if said, ok := typed(t, hand, below(t, readme, "the key ctl.")); !ok {
		t.Fatalf("the key: %s", said)
	}
	looks := lookLines(readme)
	if len(looks) < 3 {
		t.Fatalf("%d lines to look:\n%s", len(looks), readme)
	}
	// To b, to b again (refused: it is there), home, and with the marks gone.
	mark := bind.mark(t)
	for _, step := range []struct {
		to, want string
		ok       bool
	}{{"b", bindB, true}, {"b", bindB, false}, {"a", bindA, true}} {
		said, ok := typed(t, hand, below(t, readme, "to "+step.to+" ("))
		if ok != step.ok || !step.ok && !strings.Contains(said, "NXRRSET") {
			t.Errorf("to %s: %v\n%s", step.to, ok, said)
		}
		if got := bind.dig(t, bindName, "CNAME"); got != step.want {
			t.Errorf("to %s: the name shows %s", step.to, got)
		}
		for _, l := range looks {
			if said, ok := typed(t, hand, l); !ok || strings.Contains(l, "CNAME") && !strings.Contains(said, step.want) || strings.Contains(l, "TXT") && !strings.Contains(said, mark.String()) {
				t.Errorf("%s\n%s", l, said)
			}
		}
	}
	if got := tool(t, "", "dig", "@127.0.0.1", "-p", port(bind.addr), "+noall", "+answer", "+norecurse", bindName); !strings.Contains(got, "\t6\tIN\tCNAME") {
		t.Errorf("the TTL is not the steady one: %s", got)
	}
	if said, ok := typed(t, hand, below(t, readme, "without the mark:")); !ok {
		t.Errorf("unmark: %s", said)
	}
	if m := bind.mark(t); m != (failover.Mark{}) {
		t.Errorf("the mark is still %s", m)
	}

	// Without a controller, and for programs.
	said, _ = ejected(t, w, "--out", "again")
	wantIn(t, said, "Controller: none answers at s/s")
	wantIn(t, w.verb(t, exitOK, "eject", "orders", "-c", "pointsman.yaml", "--offline", "-o", "json"), `"steady_ttl": 6`, `"name": "orders-bind-to-b.nsupdate"`, `"record": {`)
	wantIn(t, w.verb(t, exitError, "eject", "nosuch", "-c", "pointsman.yaml", "--offline"), `the config has no instance "nosuch"`)
	if said := w.verb(t, exitOK, "eject", "orders", "orders", "-c", "pointsman.yaml", "--offline"); strings.Count(said, "== orders:") != 1 {
		t.Errorf("named twice it is not once:\n%s", said)
	}
	wantIn(t, w.verb(t, exitError, "eject", "orders"), "told of none")
}

func port(addr string) string { _, p, _ := net.SplitHostPort(addr); return p }

// lookLines are the lines to look, but for the one that asks the resolver of
// this machine.
func lookLines(readme string) []string {
	var out []string
	in := false
	for line := range strings.Lines(readme) {
		line = strings.TrimSpace(line)
		switch {
		case line == "look:":
			in = true
		case !strings.HasPrefix(line, "dig ") && !strings.HasPrefix(line, "for "):
			in = false
		case in && !strings.Contains(line, "resolver of this machine"):
			out = append(out, line)
		}
	}
	return out
}

// TestEjectInTheMiddleOfAMove: the program dies with an update on its way, and
// the ledger's file says what is to be looked at and how both ends are reached.
func TestEjectInTheMiddleOfAMove(t *testing.T) {
	t.Parallel()
	bind := startNamed(t, "orders-a", bindGrants)
	proxy := startProxy(t, bind.addr)
	w := newBindWorld(t, bind, proxy.addr, bindConfig)
	ctl := w.run(t)
	w.until(t, "both up", bothUp)
	w.adopt(t)
	w.verb(t, exitOK, "arm", "orders", "--mode", "auto", "--yes")
	w.until(t, "the mark", marked("a"))
	w.a.kill()
	bind.kill() // the move is given out and nothing answers
	w.until(t, "the move", func(v failover.View) bool { return v.Op != nil && v.Op.Step == failover.StepMove })
	ctl.kill()

	said := w.verb(t, exitOK, "eject", "orders", "-c", "pointsman.yaml", "--yes", "--wait", "1s")
	wantIn(t, said,
		"LEFT OVER: a write of orders.example.com. to CNAME orders-b.example.com. with TTL 6 (move) is not proved",
		"OPERATION: failover orders-1.1 from a to b is at move", "each shows the old or the new value, and only looking tells which",
		"to finish it: move every name that does not show b yet to b", "prereq yxrrset orders.example.com. IN CNAME orders-a.example.com.")
}

// TestEjectedZoneIsServedByOthers: the zone file is clean for BIND's checker,
// and BIND and NSD answer from it what our own authority does.
func TestEjectedZoneIsServedByOthers(t *testing.T) {
	t.Parallel()
	dir := shortDir(t, "eject")
	w := &bindWorld{dir: dir, a: startBackend(t, "127.0.1.1", "a"), b: startBackend(t, "127.0.1.2", "b")}
	own := freeAddr(t)
	w.replace = strings.NewReplacer("$CONTROL", controlAt(t), "$A", w.a.addr, "$B", w.b.addr, "$DNS", own, "$LISTEN", freeAddr(t), "$KEYS", "", "$SECONDARIES", "")
	text := strings.Replace(secondaryConfig, "        b.lab.test.: [127.0.1.2]\n", "        b.lab.test.: [127.0.1.2, \"2001:db8::2\"]\n        deep.down.lab.test.: [192.0.2.7]\n", 1)
	writeFiles(t, dir, map[string]string{"pointsman.yaml": w.replace.Replace(text), "token": strings.Repeat("t", 32) + "\n"})
	w.run(t)
	w.until(t, "both up", bothUp)
	w.verb(t, exitOK, "arm", "orders", "--mode", "auto", "--yes")
	w.verb(t, exitOK, "switchover", "orders", "--yes")
	said, readme := ejected(t, w, "--out", "hand")
	wantIn(t, said, "zones/lab.test.zone", "named-checkzone lab.test zones/lab.test.zone")

	hand := filepath.Join(dir, "hand")
	check := strings.TrimSpace(strings.TrimPrefix(regexp.MustCompile(`check it:.*`).FindString(readme), "check it:"))
	if out, ok := typed(t, hand, check); !ok || !strings.Contains(out, "OK") || strings.Contains(out, "warning") {
		t.Fatalf("%s: %s", check, out)
	}
	servers := []*secondary{staticNamed(t, hand), staticNSD(t, hand)}
	sameAnswers(t, own, servers)

	// Moved by hand, as it is printed, and told to the server by a restart.
	before, _ := soa(servers[1].addr)
	if was, ok := soa(own); !ok || int32(before-was) <= 0 {
		t.Errorf("the file has the serial %d, secondaries have %d: they would not take it", before, was)
	}
	if out, ok := typed(t, hand, below(t, readme, "to a (")); !ok {
		t.Fatalf("edit: %s", out)
	}
	if out, ok := typed(t, hand, check); !ok || strings.Contains(out, "warning") {
		t.Fatalf("%s: %s", check, out)
	}
	for _, s := range servers {
		s.kill()
		s.up(t)
		eventually(t, "the move at "+s.kind, func() bool { return shows(s.addr) == "a.lab.test." })
		if after, ok := soa(s.addr); !ok || int32(after-before) <= 0 {
			t.Errorf("%s: the serial went from %d to %d", s.kind, before, after)
		}
	}
}

func staticNamed(t *testing.T, hand string) *secondary {
	t.Helper()
	s := &secondary{kind: "named", addr: freeAddr(t), dir: shortDir(t, "static"), log: &safeBuffer{}}
	conf := filepath.Join(s.dir, "named.conf")
	writeFiles(t, s.dir, map[string]string{"named.conf": fmt.Sprintf(`options {
	directory "%s"; pid-file none; session-keyfile none; lock-file none;
	listen-on port %s { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; notify no; dnssec-validation no;
};
controls {};
zone "lab.test" { type primary; file "%s"; };
`, s.dir, port(s.addr), filepath.Join(hand, "zones", "lab.test.zone"))})
	s.command = []string{"named", "-g", "-n", "1", "-c", conf}
	s.up(t)
	eventually(t, "the zone at named", func() bool { _, ok := soa(s.addr); return ok })
	return s
}

func staticNSD(t *testing.T, hand string) *secondary {
	t.Helper()
	s := &secondary{kind: "nsd", addr: freeAddr(t), dir: shortDir(t, "static"), log: &safeBuffer{}}
	conf := filepath.Join(s.dir, "nsd.conf")
	writeFiles(t, s.dir, map[string]string{"nsd.conf": fmt.Sprintf(`server:
	ip-address: 127.0.0.1@%s
	username: ""
	pidfile: ""
	zonesdir: "%s"
	xfrdfile: ""
	zonelistfile: "%s/zone.list"
	xfrdir: "%s"
	rrl-ratelimit: 0
remote-control:
	control-enable: no
zone:
	name: "lab.test"
	zonefile: "lab.test.zone"
`, port(s.addr), filepath.Join(hand, "zones"), s.dir, s.dir)})
	s.command = []string{"nsd", "-d", "-V", "2", "-c", conf}
	s.up(t)
	eventually(t, "the zone at nsd", func() bool { _, ok := soa(s.addr); return ok })
	return s
}

// sameAnswers asks for everything that the zone has, and for what it has not.
func sameAnswers(t *testing.T, own string, servers []*secondary) {
	t.Helper()
	for _, name := range []string{"lab.test.", "orders.lab.test.", "a.lab.test.", "b.lab.test.", "ns1.lab.test.", "down.lab.test.", "deep.down.lab.test.", "nosuch.lab.test."} {
		for _, qtype := range []uint16{dns.TypeSOA, dns.TypeNS, dns.TypeA, dns.TypeAAAA, dns.TypeCNAME, dns.TypeTXT} {
			want := answerWords(t, own, name, qtype)
			for _, s := range servers {
				if got := answerWords(t, s.addr, name, qtype); got != want {
					t.Errorf("%s %s at %s:\n got %s\nwant %s", name, dns.TypeToString[qtype], s.kind, got, want)
				}
			}
		}
	}
}

// answerWords are rcode and records of an answer; the serial, and what servers
// may add, are left out.
func answerWords(t *testing.T, addr, name string, qtype uint16) string {
	t.Helper()
	c := dns.Client{Timeout: 2 * time.Second, Net: "tcp"}
	r, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, qtype), addr)
	if err != nil {
		t.Fatal(err)
	}
	var rrs []string
	for _, rr := range r.Answer {
		if s, ok := rr.(*dns.SOA); ok {
			s.Serial = 0
		}
		rrs = append(rrs, strings.ToLower(rr.String()))
	}
	slices.Sort(rrs)
	return fmt.Sprintf("%s aa=%v\n%s", dns.RcodeToString[r.Rcode], r.Authoritative, strings.Join(rrs, "\n"))
}

// TestEveryStepCanBeEndedByHand: whatever step an operation died at, the words
// say where the names point and both ways on, as far as there are two.
func TestEveryStepCanBeEndedByHand(t *testing.T) {
	for _, kind := range []failover.OpKind{failover.Failover, failover.Switchover} {
		for _, d := range failover.Steps(kind) {
			i := &ejectedInstance{Clusters: []ejectedCluster{{Name: "a", Gate: &failover.Gate{Want: failover.GateClosed}}, {Name: "b"}}}
			i.Record.Op = &failover.Op{ID: "x-1.1", Kind: kind, Step: d.Step, From: "a", To: "b", By: "ann", Reason: "r", Held: &failover.Held{Why: "for a proof"}, Unwind: true, UnwindWhy: "not wanted"}
			text := strings.Join(opByHand(i), "\n")
			past := slices.Contains([]failover.StepName{failover.StepCut, failover.StepConfirm, failover.StepSettle}, d.Step)
			for _, want := range []string{"is at " + string(d.Step), "it is held: for a proof", "it was running backwards: not wanted", "gate of a: ordered closed, last proved neither"} {
				if !strings.Contains(text, want) {
					t.Errorf("%s %s: no %q in\n%s", kind, d.Step, want, text)
				}
			}
			if strings.Contains(text, "to undo it") == past || strings.Contains(text, "to finish it") == past || strings.Contains(text, "the names point at b") != past {
				t.Errorf("%s %s:\n%s", kind, d.Step, text)
			}
		}
	}
}

// TestHalfAMoveIsEndedByHand: two names of one provider, of which one has moved
// and the other not when the program died. The line that is printed moves the
// other all the same, and home both go.
func TestHalfAMoveIsEndedByHand(t *testing.T) {
	bind := startNamed(t, "orders-a", bindGrants+" grant ctl. name billing.example.com. CNAME;")
	tool(t, "server 127.0.0.1 "+port(bind.addr)+"\nzone example.com\nkey hmac-sha256:hand. "+handSecret+"\nupdate add billing.example.com 30 CNAME "+bindB+"\nsend\n", "nsupdate")
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"tsig.key": ctlSecret + "\n"})
	cfg := &config.Config{Providers: []config.Provider{{
		Name: "bind", SecretFile: filepath.Join(dir, "tsig.key"), Zone: "example.com.",
		Update: &dnsctl.RFC2136Config{Server: bind.addr, Zone: "example.com.", Key: dnsctl.Key{Name: "ctl."}},
	}}}
	pol := &failover.Policy{Instance: "orders", TTL: 30, Clusters: [2]failover.ClusterName{"a", "b"}}
	r := &failover.Record{Instance: "orders", Active: "a"}
	for _, n := range []failover.RecordName{"billing.example.com.", bindName} {
		pol.Names = append(pol.Names, failover.NamePolicy{Name: n, Provider: "bind", Zone: "example.com.", Targets: map[failover.ClusterName]failover.Target{"a": bindA, "b": bindB}})
		r.Names = append(r.Names, failover.NameRecord{Name: n, Provider: "bind", Zone: "example.com.", Value: bindA, TTL: 30})
	}
	e := &ejection{}
	e.Instances = []ejectedInstance{e.instance(cfg, pol, r)}
	if err := e.finish(); err != nil {
		t.Fatal(err)
	}
	if err := e.write(dir); err != nil {
		t.Fatal(err)
	}
	readme := e.text()
	if said, ok := typed(t, dir, below(t, readme, "the key ctl.")); !ok {
		t.Fatalf("the key: %s", said)
	}
	for _, step := range []struct{ to, want string }{{"b", bindB}, {"a", bindA}} {
		said, _ := typed(t, dir, below(t, readme, "to "+step.to+" ("))
		if strings.Contains(said, "NXRRSET") != (step.to == "b") {
			t.Errorf("to %s: %s", step.to, said)
		}
		for _, n := range []string{bindName, "billing.example.com."} {
			if got := bind.dig(t, n, "CNAME"); got != step.want {
				t.Errorf("to %s: %s shows %s\n%s", step.to, n, got, said)
			}
		}
	}
}

// TestANameThatLeftTheConfigIsLedNowhere: the file was edited after the ledger
// was written; no line that is printed would make a record without a value.
func TestANameThatLeftTheConfigIsLedNowhere(t *testing.T) {
	cfg := &config.Config{Providers: []config.Provider{{Name: "bind", Zone: "example.com.", Update: &dnsctl.RFC2136Config{Server: "192.0.2.53:53", Zone: "example.com."}}}}
	targets := map[failover.ClusterName]failover.Target{"a": "a.example.com.", "b": "b.example.com."}
	pol := &failover.Policy{Instance: "orders", TTL: 30, Clusters: [2]failover.ClusterName{"a", "b"}, Names: []failover.NamePolicy{
		{Name: "stays.example.com.", Provider: "bind", Zone: "example.com.", Targets: targets},
		{Name: "new.example.com.", Provider: "bind", Zone: "example.com.", Targets: targets},
	}}
	r := &failover.Record{Instance: "orders", Active: "a"}
	for _, n := range []failover.NameRecord{{Name: "stays.example.com.", Provider: "bind"}, {Name: "gone.example.com.", Provider: "bind"}, {Name: "own.example.com.", Embedded: true, Zone: "example.com."}, {Name: "other.example.com.", Provider: "nosuch"}} {
		n.Value, n.TTL = "a.example.com.", 5
		r.Names = append(r.Names, n)
	}
	e := &ejection{}
	e.Instances = []ejectedInstance{e.instance(cfg, pol, r)}
	for _, f := range e.Files {
		if regexp.MustCompile(`(?m)^(update add|prereq).* CNAME\s*$`).MatchString(f.Text) || strings.Contains(f.Name, "-to-") && strings.Contains(f.Text, "gone.example.com.") {
			t.Errorf("%s:\n%s", f.Name, f.Text)
		}
	}
	text := e.text()
	for _, want := range []string{
		"LEFT OVER: gone.example.com. of the ledger is not in the config: it shows a.example.com.", "LEFT OVER: own.example.com. of the ledger is not in the config",
		"LEFT OVER: new.example.com. of the config is not in the ledger", "to b: the config does not say where that is for this name", "nsupdate -v -k bind.key.conf orders-bind-to-b.nsupdate",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "the value  where") || strings.Contains(text, "stays.example.com. of the") {
		t.Errorf("%s", text)
	}
}

// TestEjectWithProvidersThatTakeNoScript: names behind the API of a module are
// moved in words, and looked for where they are shown.
func TestEjectWithProvidersThatTakeNoScript(t *testing.T) {
	at := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.54:53")}
	for _, pr := range []config.Provider{
		{Type: config.TypeLibDNS, LibDNS: &dnsctl.LibDNSConfig{}, Authorities: at},
	} {
		pr.Name, pr.Zone = "far", "example.com."
		pol := &failover.Policy{Instance: "orders", TTL: 30, Clusters: [2]failover.ClusterName{"a", "b"}, Names: []failover.NamePolicy{
			{Name: "orders.example.com.", Provider: "far", Zone: "example.com.", Targets: map[failover.ClusterName]failover.Target{"a": "a.example.com.", "b": "b.example.com."}},
		}}
		r := &failover.Record{Instance: "orders", Active: "a", Names: []failover.NameRecord{{Name: "orders.example.com.", Provider: "far", Value: "a.example.com.", TTL: 30}}}
		e := &ejection{}
		e.Instances = []ejectedInstance{e.instance(&config.Config{Providers: []config.Provider{pr}}, pol, r)}
		text := e.text()
		for _, want := range []string{
			"provider far (" + pr.Type + ") takes no script: give orders.example.com. the value b.example.com. there, in the zone example.com.",
			"@192.0.2.54 -p 53 orders.example.com. CNAME",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", pr.Type, want, text)
			}
		}
		if slices.ContainsFunc(e.Files, func(f ejectedFile) bool { return strings.HasSuffix(f.Name, ".nsupdate") }) {
			t.Errorf("%s: a script for a provider that takes none", pr.Type)
		}
	}
}

// TestWordsOfAShellAreQuoted: what comes from a config is one word.
func TestWordsOfAShellAreQuoted(t *testing.T) {
	for s, want := range map[string]string{
		"orders.example.com.": "orders.example.com.", "a b": "'a b'", "it's": `'it'\''s'`, "$(rm -rf /)": "'$(rm -rf /)'", "": "''", "a;b": "'a;b'",
	} {
		if got := quoted(s); got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
}

// TestEjectWithoutALedgerThatTakesAnything: a controller that cannot write any
// more cannot disarm either, and that is when one takes it away.
func TestEjectWithoutALedgerThatTakesAnything(t *testing.T) {
	t.Parallel()
	c := newCrash(t, failpointBinary(t))
	cmd, gone, log := c.start(t, "")
	c.until(t, "both up", log, bothUp)
	c.arm(t, log)
	c.until(t, "rest", log, atRest)
	end(cmd, gone)
	cmd, gone, log = c.start(t, "commit/before=error")
	c.until(t, "an answer", log, func(v failover.View) bool { return v.Active != "" })
	said, err := c.verb(t.Context(), "eject", "orders", "-c", "pointsman.yaml", "--yes", "--wait", "2s")
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	wantIn(t, said, "LEFT OVER: orders was not disarmed, the controller may move it: end its process (", "orders: a serves, b stands by; mode auto",
		"prereq yxrrset orders.example.com. IN CNAME a.example.com.", "== file zones/lab.test.zone ==")
	end(cmd, gone)
}
