package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pointsman/dnsctl"
	"pointsman/dnsctl/authority"
	"pointsman/internal/controller"
	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

func TestLedgerErrorsKeepTheirWordsAndGainTheControllersNames(t *testing.T) {
	for err, want := range map[error]error{
		ledger.ErrConflict: controller.ErrConflict, ledger.ErrPoisoned: controller.ErrPoisoned, ledger.ErrClosed: controller.ErrPoisoned,
	} {
		wrapped := fmt.Errorf("commit orders: %w", err)
		got := ledgerError(wrapped)
		if !errors.Is(got, want) || !errors.Is(got, err) || got.Error() != wrapped.Error() {
			t.Errorf("%v became %v", err, got)
		}
	}
	for _, err := range []error{ledger.ErrInvalid, ledger.ErrOlderToken, context.Canceled} {
		if got := ledgerError(err); errors.Is(got, controller.ErrConflict) || errors.Is(got, controller.ErrPoisoned) || !errors.Is(got, err) {
			t.Errorf("%v became %v", err, got)
		}
	}
}

func elsewhere(t *testing.T, p *primary, change func(*dnsctl.RFC2136Config)) provided {
	t.Helper()
	secret, err := dnsctl.ParseSecret(zoneSecret)
	if err != nil {
		t.Fatal(err)
	}
	c := dnsctl.RFC2136Config{
		Server: p.addr, Zone: "example.com.", Key: dnsctl.Key{Name: zoneKey, Algorithm: "hmac-sha256", Secret: secret},
		Allowed: map[failover.RecordName][]failover.Target{"orders.example.com.": {"a.example.com.", "b.example.com."}},
	}
	if change != nil {
		change(&c)
	}
	r, err := dnsctl.NewRFC2136(c)
	if err != nil {
		t.Fatal(err)
	}
	return provided{provider: r}
}

func TestAWriteCarriesBothPrerequisitesAndTheMark(t *testing.T) {
	p := newPrimary(t)
	names := elsewhere(t, p, nil)
	none, other := "", "v=1 term=9 epoch=9 op=x by=y"
	mark := failover.Mark{Token: failover.Token{Term: 1, Epoch: 2}, Op: "op", By: "ctl-1"}
	w := failover.WriteName{
		Name: failover.NameRecord{Name: "orders.example.com."}, Expect: "a.example.com.", ExpectMark: &none,
		Value: "b.example.com.", TTL: 7, Mark: mark,
	}
	for name, change := range map[string]func(*failover.WriteName){
		"another value": func(w *failover.WriteName) { w.Expect = "b.example.com." },
		"another mark":  func(w *failover.WriteName) { w.ExpectMark = &other },
	} {
		wrong := w
		change(&wrong)
		if out, err := names.Write(t.Context(), wrong); out != failover.WriteMismatch || err == nil {
			t.Errorf("%s: %s, %v", name, out, err)
		}
	}
	if out, err := names.Write(t.Context(), w); out != failover.WriteDone || err != nil {
		t.Fatalf("%s, %v", out, err)
	}
	r, err := names.Read(t.Context(), "orders.example.com.")
	if err != nil || r.Name != "orders.example.com." || r.Value != "b.example.com." || r.Mark != mark.String() || r.Absent || r.TTL == 0 {
		t.Errorf("read back %+v, %v", r, err)
	}
	if values, _ := p.shown(); len(values) != 2 {
		t.Errorf("the name went %v", values)
	}
}

// shown is a provider that shows one state.
type shown struct {
	dnsctl.Provider
	state dnsctl.State
}

func (s shown) Read(context.Context, failover.RecordName) (dnsctl.State, error) { return s.state, nil }

// A name of which one line is moved and one is not never looks to the core like
// one that is not moved, nor like one that is.
func TestLinesThatDifferAreToldToTheCore(t *testing.T) {
	const old, next = "v=1 term=1 epoch=0 op=a by=c", "v=1 term=1 epoch=1 op=b by=c"
	line := func(name string, v failover.Target, mark string) dnsctl.Line {
		return dnsctl.Line{Line: name, ID: "1", Value: v, TTL: 60, Mark: mark}
	}
	for name, c := range map[string]struct {
		lines []dnsctl.Line
		want  string
	}{
		"alike":         {[]dnsctl.Line{line("default", "a.x.test.", old), line("telecom", "a.x.test.", old)}, ""},
		"no lines":      {nil, ""},
		"another value": {[]dnsctl.Line{line("default", "b.x.test.", old), line("telecom", "a.x.test.", old)}, "the lines differ: default shows b.x.test."},
		"another mark":  {[]dnsctl.Line{line("default", "a.x.test.", next), line("telecom", "a.x.test.", old)}, "the lines differ: default shows a.x.test. with \"v=1 term=1 epoch=1"},
	} {
		p := provided{provider: shown{state: dnsctl.State{Value: "a.x.test.", TTL: 60, Mark: old, Lines: c.lines}}}
		r, err := p.Read(t.Context(), "orders.x.test.")
		if err != nil || !strings.HasPrefix(r.Other, c.want) || (r.Other == "") != (c.want == "") {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	p := provided{provider: shown{state: dnsctl.State{Value: "a.x.test.", Other: "said", Lines: []dnsctl.Line{line("default", "b.x.test.", old), line("telecom", "a.x.test.", old)}}}}
	if r, _ := p.Read(t.Context(), "orders.x.test."); r.Other != "said" {
		t.Errorf("what the provider says: %+v", r)
	}
}

func TestTheVerifierAsksTheAuthoritiesOfEachProvider(t *testing.T) {
	p := newPrimary(t)
	addr := netip.MustParseAddrPort(p.addr)
	v := verifier{providers: map[string]authorities{
		"elsewhere": authoritiesOf([]netip.AddrPort{addr}),
	}}
	got := v.Verify(t.Context(), []failover.NameRecord{
		{Name: "orders.example.com.", Provider: "elsewhere", Value: "a.example.com."},
		{Name: "lost.example.com.", Provider: "nobody", Value: "a.example.com."},
		{Name: "own.lab.test.", Provider: "embedded", Embedded: true, Value: "a.lab.test."},
	})
	if a := got["orders.example.com."]; !a.Agree || a.Asked != 2 || a.Agreeing != 2 {
		t.Errorf("over UDP and TCP: %+v", a)
	}
	for _, n := range []failover.RecordName{"lost.example.com.", "own.lab.test."} {
		if a, ok := got[n]; !ok || a.Agree || len(a.Dissent) == 0 {
			t.Errorf("%s: %+v", n, a)
		}
	}
}

func TestEveryInterfaceIsReachedOverLoopback(t *testing.T) {
	got := reachable([]netip.AddrPort{
		netip.MustParseAddrPort("0.0.0.0:53"), netip.MustParseAddrPort("[::]:53"), netip.MustParseAddrPort("192.0.2.1:53"),
	})
	if fmt.Sprint(got) != "[127.0.0.1:53 [::1]:53 192.0.2.1:53]" {
		t.Errorf("got %v", got)
	}
}

func TestSecondariesThatServeClientsAreAskedToo(t *testing.T) {
	a := netip.MustParseAddrPort
	s := servedBy([]netip.AddrPort{a("0.0.0.0:5353")}, &authority.Config{Zones: []authority.Zone{
		{Name: "lab.test.", Secondaries: []authority.Secondary{{Address: a("192.0.2.2:53")}, {Address: a("192.0.2.3:53"), Hidden: true}}},
		{Name: "second.test."},
	}})
	for zone, want := range map[failover.RecordName]string{
		"lab.test.": "[127.0.0.1:5353 192.0.2.2:53]", "second.test.": "[127.0.0.1:5353]",
	} {
		if got, err := s.of(t.Context(), zone); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %v, %v, want %s", zone, got, err, want)
		}
	}
}
