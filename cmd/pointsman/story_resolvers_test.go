package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/dnsctl"
	"pointsman/internal/api"
	"pointsman/internal/doctor"
	"pointsman/internal/failover"
)

// resolverAt starts one resolver in front of BIND. stretch is its least TTL, 0
// for what it does by itself.
func resolverAt(t *testing.T, kind, authority string, stretch int) *secondary {
	t.Helper()
	s := &secondary{kind: kind, addr: freeAddr(t), dir: t.TempDir(), log: &safeBuffer{}}
	host, port, _ := net.SplitHostPort(s.addr)
	ahost, aport, _ := net.SplitHostPort(authority)
	file := filepath.Join(s.dir, "conf")
	var conf string
	modules, anchor := "iterator", ""
	if kind == "validating" {
		modules, anchor = "validator iterator", "\ttrust-anchor: \"example.com. DS 12345 13 2 "+strings.Repeat("ab", 32)+"\"\n"
	}
	switch kind {
	case "unbound", "validating":
		conf = fmt.Sprintf(`server:
	directory: "%s"
	chroot: ""
	username: ""
	pidfile: ""
	use-syslog: no
	interface: %s@%s
	num-threads: 1
	module-config: "%s"
	do-not-query-localhost: no
	cache-min-ttl: %d
%sremote-control:
	control-enable: no
stub-zone:
	name: "example.com"
	stub-addr: %s@%s
`, s.dir, host, port, modules, stretch, anchor, ahost, aport)
		s.command = []string{"unbound", "-d", "-c", file}
	case "named":
		conf = fmt.Sprintf(`options {
	directory "%s"; pid-file none; session-keyfile none; lock-file none;
	listen-on port %s { %s; }; listen-on-v6 { none; };
	recursion yes; dnssec-validation no; min-cache-ttl %d;
};
controls {};
zone "example.com" { type forward; forward only; forwarders { %s port %s; }; };
`, s.dir, port, host, stretch, ahost, aport)
		s.command = []string{"named", "-g", "-n", "1", "-c", file}
	case "kresd":
		conf = fmt.Sprintf(`net.listen('%s', %s, { kind = 'dns' })
trust_anchors.remove('.')
cache.open(10*MB, 'lmdb://%s/cache')
policy.add(policy.suffix(policy.STUB('%s@%s'), policy.todnames({'example.com.'})))
`, host, port, s.dir, ahost, aport)
		s.command = []string{"kresd", "-n", "-c", file, s.dir}
	}
	writeFiles(t, s.dir, map[string]string{"conf": conf})
	s.up(t)
	return s
}

// recursed asks a resolver for the target of the name and what is left of its TTL.
func recursed(addr string) (string, uint32) {
	c := dns.Client{Timeout: time.Second}
	r, _, err := c.Exchange(new(dns.Msg).SetQuestion(bindName, dns.TypeCNAME), addr)
	if err != nil || len(r.Answer) == 0 {
		return "", 0
	}
	cname, ok := r.Answer[0].(*dns.CNAME)
	if !ok {
		return "", 0
	}
	return strings.ToLower(cname.Target), cname.Hdr.Ttl
}

// TestSecondariesAndResolvers: a BIND with a second BIND that has stopped
// following it, and four resolvers of three makers, two of which stretch TTLs.
func TestSecondariesAndResolvers(t *testing.T) {
	t.Parallel()
	t.Run("the panel", theWorldSeesTheMove)
	t.Run("a stale secondary", aStaleSecondary)
	t.Run("the next move", theNextMoveIsNoFaultOfAResolver)
}

// startNamedTTL is startNamed with the name's own TTL, in seconds.
func startNamedTTL(t *testing.T, target string, ttl int) *named {
	t.Helper()
	zone := strings.Replace(fmt.Sprintf(bindZone, target), "orders IN CNAME", fmt.Sprintf("orders %d IN CNAME", ttl), 1)
	return runNamed(t, map[string]string{"example.com.zone": zone},
		func(port, dir string) string { return namedConf(port, dir, bindGrants) })
}

// propagation is the newest curve that the history has of the instance.
func (w *bindWorld) propagation(t *testing.T) (p dnsctl.Propagation, line string) {
	t.Helper()
	return w.propagationOf(t, "")
}

// propagationOf is that of one operation; "" is the newest.
func (w *bindWorld) propagationOf(t *testing.T, op string) (p dnsctl.Propagation, line string) {
	t.Helper()
	var all []api.Sample
	if err := json.Unmarshal([]byte(w.verb(t, exitOK, "history", "orders", "-o", "json")), &all); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Kind == propagationKind {
			var x dnsctl.Propagation
			if err := json.Unmarshal(s.Data, &x); err != nil {
				t.Fatal(err)
			}
			if op == "" || op == x.Op {
				p, line = x, sampleWords(s)
			}
		}
	}
	return p, line
}

// longer is eventually for what takes its time.
func longer(t *testing.T, most time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(most); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not come within %s", what, most)
		}
	}
}

func theWorldSeesTheMove(t *testing.T) {
	bind := startNamedTTL(t, bindA, 6)
	resolvers := map[string]*secondary{
		"unbound": resolverAt(t, "unbound", bind.addr, 0), "stretching": resolverAt(t, "unbound", bind.addr, 20),
		"named": resolverAt(t, "named", bind.addr, 90), "kresd": resolverAt(t, "kresd", bind.addr, 0),
	}
	order := []string{"unbound", "stretching", "named", "kresd"}
	var list []string
	for _, name := range order {
		extra := ""
		if name == "named" {
			extra = ", stretches: 10m"
		}
		list = append(list, fmt.Sprintf(`  - {name: %s, address: "%s"%s}`, name, resolvers[name].addr, extra))
	}
	config := strings.Replace(bindConfig, "instances:\n", "resolvers:\n"+strings.Join(list, "\n")+"\ninstances:\n", 1) +
		"    clients: {resolver_allowance: 10s, request_timeout: 5s, connection_life: 2m}\n"
	w := newBindWorld(t, bind, bind.addr, config)
	w.run(t)
	w.took(t)
	for name, r := range resolvers {
		eventually(t, "the old value in "+name, func() bool { v, _ := recursed(r.addr); return v == bindA })
	}
	w.a.kill()
	v := w.until(t, "b", settledAt("b"))
	if v.MovedBy == nil || v.MovedBy.TTLOld != 6 || !v.MovedBy.LookupsBy.Equal(v.MovedBy.Published.Add(16*time.Second)) ||
		!v.MovedBy.By.Equal(v.MovedBy.Published.Add(16*time.Second+2*time.Minute)) || !slices.Equal(v.MovedBy.Verified, []string{bind.addr}) {
		t.Errorf("the bound: %+v", v.MovedBy)
	}
	wantIn(t, w.verb(t, exitOK, "status", "orders"), "clients: published at ", "old answers in resolvers: 6s", "resolver allowance: 10s", "verified from ctl-1 at "+bind.addr)

	curve := func(p dnsctl.Propagation, name string) dnsctl.ResolverCurve {
		return p.Resolvers[slices.IndexFunc(p.Resolvers, func(r dnsctl.ResolverCurve) bool { return r.Name == name })]
	}
	var p dnsctl.Propagation
	var line string
	longer(t, time.Minute, "the resolvers that keep to the TTL, and the others named", func() bool {
		if p, line = w.propagation(t); len(p.Resolvers) != len(order) {
			return false
		}
		stretched := curve(p, "stretching")
		return curve(p, "unbound").New != nil && curve(p, "kresd").New != nil && stretched.New != nil && len(stretched.Faults) == 2
	})
	t.Log(line)
	if p.TTLOld != 6 || p.TTLMost != 6 || p.P50 == nil || p.Written.Add(*p.P50).After(v.MovedBy.LookupsBy) || p.P95 != nil || p.P100 != nil || p.Done {
		t.Errorf("the curve: %+v", p)
	}
	for _, name := range []string{"unbound", "kresd"} {
		if c := curve(p, name); len(c.Faults) > 0 || p.Written.Add(*c.New).After(v.MovedBy.LookupsBy) {
			t.Errorf("%s: %+v, and the bound is %s", name, c, v.MovedBy.LookupsBy)
		}
	}
	for name, c := range map[string]struct {
		least    uint32
		expected bool
	}{"stretching": {7, false}, "named": {60, true}} {
		got := curve(p, name)
		if got.MaxTTL < c.least || got.Expected != c.expected || len(got.Faults) == 0 || !strings.HasPrefix(got.Faults[0], "stretches TTLs: it answers with ") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if c := curve(p, "named"); c.New != nil || c.Old != bindA {
		t.Errorf("named let go of a value that it keeps for 90 s: %+v", c)
	}
	wantIn(t, line, "p50 ", "p95 not yet", "stretching stretches TTLs", "stretching shows "+bindA, "named stretches TTLs", "(as the config says of it)")
	wantIn(t, w.verb(t, exitOK, "history", "orders"), "propagation")
}

// aStaleSecondary: a second authority does not follow. It is named with its
// serial, the move settles with it listed, and the bound says that it has none.
func aStaleSecondary(t *testing.T) {
	bind := startNamedTTL(t, bindA, 6)
	stale := startNamedTTL(t, bindA, 600) // the same zone, and nobody tells it of changes
	w := newBindWorld(t, bind, bind.addr, strings.Replace(bindConfig, `authorities: ["$BIND"]`, `authorities: ["$BIND", "`+stale.addr+`"]`, 1))
	w.run(t)
	w.took(t)
	w.a.kill()
	var v failover.View
	longer(t, time.Minute, "the end of the move", func() bool { // it settles when Confirm's 30 s are over
		if err := json.Unmarshal([]byte(w.verb(t, exitOK, "status", "orders", "-o", "json")), &v); err != nil {
			t.Fatal(err)
		}
		return v.MovedBy != nil && v.LastOp != nil
	})
	if v.MovedBy.TTLOld != 600 || !v.MovedBy.Published.IsZero() || !v.MovedBy.By.IsZero() || !v.MovedBy.Terms[0].Unbounded || len(v.MovedBy.Missing) != 2 {
		t.Errorf("the bound: %+v", v.MovedBy)
	}
	wantIn(t, w.verb(t, exitOK, "status", "orders"), "not yet published everywhere", "publication: no bound")
	var all []api.NameMatrix
	if err := json.Unmarshal([]byte(w.verb(t, exitOK, "names", "orders", "-o", "json")), &all); err != nil {
		t.Fatal(err)
	}
	m := all[0]
	if m.Asked != 4 || m.Agree != 2 || len(m.Authorities) != 4 || len(m.Stragglers) != 2 || m.Vantage != "ctl-1" {
		t.Errorf("the matrix: %+v", m)
	}
	for _, s := range m.Authorities {
		behind := s.Address == stale.addr
		if s.Agree == behind || !s.AA || s.Rcode != "NOERROR" || s.Serial == 0 || behind != (s.Serial == 1) || behind != (s.TTL == 600) || s.Value == "" {
			t.Errorf("%+v", s)
		}
	}
	wantIn(t, m.Stragglers[0], stale.addr+" over tcp: "+bindA, "its zone has serial 1, others have ")
	out := w.verb(t, exitOK, "names", "orders")
	wantIn(t, out, "2 of 4 answers agree", "behind: "+stale.addr, "AUTHORITY", "SERIAL", "NSID")
	t.Logf("\n%s", out)
	var status statusView
	if err := json.Unmarshal([]byte(w.verb(t, exitOK, "status", "orders", "-o", "json")), &status); err != nil || len(status.DNS) != 1 || len(status.DNS[0].Stragglers) != 2 {
		t.Errorf("status: %v %+v", err, status.DNS)
	}
	// Somebody repairs it, and the bound counts from when it agrees.
	stale.point(t, bindB)
	v = w.until(t, "the publication", func(v failover.View) bool { return v.MovedBy != nil && !v.MovedBy.Published.IsZero() })
	if got := v.MovedBy.LookupsBy.Sub(v.MovedBy.Published); got != 600*time.Second || len(v.MovedBy.Verified) != 2 || len(v.MovedBy.Missing) != 0 {
		t.Errorf("the bound: %+v", v.MovedBy)
	}
}

// TestSecondariesTheSignaturesAreBroken: an unbound that validates has a trust
// anchor for a zone that is not signed, as after a stale DS record; another
// validates nothing. The first is a DNSSEC alarm, the second is none.
func TestSecondariesTheSignaturesAreBroken(t *testing.T) {
	bind := startNamedTTL(t, bindA, 6)
	validating := resolverAt(t, "validating", bind.addr, 0)
	plain := resolverAt(t, "unbound", bind.addr, 0)
	for resolver, want := range map[*secondary]doctor.Verdict{validating: doctor.Fail, plain: doctor.OK} {
		asker := doctor.Asker{Resolvers: []netip.AddrPort{netip.MustParseAddrPort(resolver.addr)}}
		plan := doctor.NamePlan{Name: bindName, Zone: "example.com.", TTL: 6, Targets: map[string]doctor.NameTarget{"a": {Target: bindA}, "b": {Target: bindB}}}
		facts := asker.SurveyName(t.Context(), plan, []netip.AddrPort{netip.MustParseAddrPort(bind.addr)})
		judged := 0
		for _, f := range doctor.JudgeName(facts) {
			if f.ID == "dns.secure" || f.ID == "dns.chain" {
				judged++
			}
			if f.ID == "dns.secure" && f.Verdict != want {
				t.Errorf("%s: %+v, %+v", resolver.kind, f, facts.Secure)
			}
			if f.ID == "dns.chain" && !strings.Contains(f.Evidence, "TTLs together 36 s") {
				t.Errorf("%s: %+v", resolver.kind, f)
			}
		}
		if judged != 2 {
			t.Errorf("%s: %d of the two were judged", resolver.kind, judged)
		}
	}
}

// theNextMoveIsNoFaultOfAResolver: while the panel still asks for a move, the
// name moves back. A resolver shows what it shall, and is not blamed for it.
func theNextMoveIsNoFaultOfAResolver(t *testing.T) {
	bind := startNamedTTL(t, bindA, 6)
	slow := resolverAt(t, "unbound", bind.addr, 120) // its curve is open until the next move
	config := strings.Replace(bindConfig, "instances:\n", fmt.Sprintf("resolvers:\n  - {name: slow, address: %q, stretches: 10m}\ninstances:\n", slow.addr), 1)
	w := newBindWorld(t, bind, bind.addr, config)
	w.run(t)
	w.took(t)
	eventually(t, "the old value in the resolver", func() bool { v, _ := recursed(slow.addr); return v == bindA })
	w.a.kill()
	w.until(t, "b", settledAt("b"))
	var p dnsctl.Propagation
	longer(t, 20*time.Second, "questions", func() bool { p, _ = w.propagation(t); return len(p.Resolvers) == 1 && p.Resolvers[0].Asks > 1 })
	w.a.up(t)
	w.until(t, "both up", bothUp)
	w.verb(t, exitOK, "switchover", "orders", "--to", "a", "--yes", "--timeout", "30s")
	var line string
	longer(t, 20*time.Second, "the end of the curve", func() bool { p, line = w.propagationOf(t, p.Op); return p.Ended != "" })
	if c := p.Resolvers[0]; p.Done || c.New != nil || slices.ContainsFunc(c.Faults, func(f string) bool { return strings.HasPrefix(f, "shows") }) && p.Asked.Sub(p.Published) < 6*time.Second {
		t.Errorf("%+v", p)
	}
	wantIn(t, line, "until another operation began")
	if strings.Contains(line, "never showed") {
		t.Error(line)
	}
}
