package dnsctl

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

func bindProvider(t testing.TB, n *named, edit func(*RFC2136Config)) *RFC2136 {
	t.Helper()
	c := testConfig(t, n.addr.String())
	for _, name := range []failover.RecordName{"unmarked.lab.test.", "busy.lab.test.", "cursed.lab.test.", "denied.lab.test.", "fresh.lab.test."} {
		c.Allowed[name] = []failover.Target{targetA, targetB}
	}
	if edit != nil {
		edit(&c)
	}
	return mustProvider(t, c)
}

func mustRead(t testing.TB, p *RFC2136, name failover.RecordName) State {
	t.Helper()
	s, err := p.Read(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustWrite(t testing.TB, p *RFC2136, c Change) {
	t.Helper()
	if out, err := p.Write(t.Context(), c); out != failover.WriteDone || err != nil {
		t.Fatalf("write: %s %v", out, err)
	}
}

func TestBINDMovesNameAndMarkInOneStep(t *testing.T) {
	n := startNamed(t)
	p := bindProvider(t, n, nil)
	if got, want := mustRead(t, p, orders), (State{Value: targetA, TTL: 30, Mark: mark(1, 0)}); !reflect.DeepEqual(got, want) {
		t.Fatalf("before: %+v, want %+v", got, want)
	}
	before := n.serial(t)
	c := move()
	c.Expect, c.TTL = "A.LAB.Test", 45 // another form of the same name
	mustWrite(t, p, c)
	if got, want := mustRead(t, p, orders), (State{Value: targetB, TTL: 45, Mark: mark(1, 1)}); !reflect.DeepEqual(got, want) {
		t.Fatalf("after: %+v, want %+v", got, want)
	}
	if got := n.serial(t); got != before+1 {
		t.Errorf("the serial went from %d to %d: not one step", before, got)
	}
	if got := n.dig(t, string(orders), "CNAME"); got != string(targetB) {
		t.Errorf("dig sees %q", got)
	}
	if got := n.dig(t, string(MarkName(orders)), "TXT"); got != `"`+mark(1, 1)+`"` {
		t.Errorf("dig sees the mark %s", got)
	}
}

func TestBINDWriteOfWhatStandsThereChangesNothing(t *testing.T) {
	n := startNamed(t)
	p := bindProvider(t, n, nil)
	before := n.serial(t)
	c := move()
	c.Value, c.Mark = targetA, mark(1, 0)
	mustWrite(t, p, c)
	if got := n.serial(t); got != before {
		t.Errorf("the serial went from %d to %d", before, got)
	}
	d, err := Plan(mustRead(t, p, orders), Want{Name: orders, Value: targetA, TTL: 30, Mark: mark(1, 0)})
	if err != nil || !d.Nothing() {
		t.Errorf("plan: %v %v", d.Lines, err)
	}
}

func TestBINDRefusesAStaleWriterAndChangesNothing(t *testing.T) {
	n := startNamed(t)
	p := bindProvider(t, n, nil)
	for name, edit := range map[string]func(*Change){
		"another value":                    func(c *Change) { c.Expect = targetB; c.Value = targetA },
		"another mark":                     func(c *Change) { c.ExpectMark = ptr(mark(2, 0)) },
		"a mark where none may be":         func(c *Change) { c.ExpectMark = ptr("") },
		"a name where nothing may be":      func(c *Change) { c.Expect = "" },
		"no mark where one must be":        func(c *Change) { c.Name = "unmarked.lab.test." },
		"no name where one must be":        func(c *Change) { c.Name = "fresh.lab.test."; c.ExpectMark = nil },
		"something else at the name":       func(c *Change) { c.Name = "busy.lab.test."; c.ExpectMark = nil },
		"something else, nothing expected": func(c *Change) { c.Name = "busy.lab.test."; c.ExpectMark = nil; c.Expect = "" },
	} {
		t.Run(name, func(t *testing.T) {
			before := n.serial(t)
			c := move()
			edit(&c)
			out, err := p.Write(t.Context(), c)
			if out != failover.WriteMismatch || !errors.Is(err, ErrPrerequisite) {
				t.Fatalf("%s %v", out, err)
			}
			if n.serial(t) != before {
				t.Error("the zone changed")
			}
			if got := mustRead(t, p, orders); got.Value != targetA || got.Mark != mark(1, 0) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestBINDWithoutMarkExpectationInstallsTheMark(t *testing.T) {
	n := startNamed(t)
	p := bindProvider(t, n, nil)
	const unmarked = "unmarked.lab.test."
	mustWrite(t, p, Change{Name: unmarked, Expect: targetA, ExpectMark: ptr(""), Value: targetA, TTL: 30, Mark: mark(1, 0)})
	mustWrite(t, p, Change{Name: unmarked, Expect: targetA, Value: targetA, TTL: 30, Mark: mark(9, 0)})
	if got := mustRead(t, p, unmarked); got.Value != targetA || got.Mark != mark(9, 0) {
		t.Errorf("%+v", got)
	}
}

func TestBINDCreatesANameOnlyWhereNothingStands(t *testing.T) {
	n := startNamed(t)
	p := bindProvider(t, n, nil)
	const fresh = "fresh.lab.test."
	if got := mustRead(t, p, fresh); !reflect.DeepEqual(got, State{Absent: true}) {
		t.Fatalf("%+v", got)
	}
	c := Change{Name: fresh, ExpectMark: ptr(""), Value: targetA, TTL: 30, Mark: mark(1, 0)}
	mustWrite(t, p, c)
	if got, want := mustRead(t, p, fresh), (State{Value: targetA, TTL: 30, Mark: mark(1, 0)}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if out, err := p.Write(t.Context(), c); out != failover.WriteMismatch {
		t.Errorf("again: %s %v", out, err)
	}
}

func TestBINDSaysNoErrorToWhatItIgnoresAndReadShowsIt(t *testing.T) {
	n := startNamed(t)
	p := bindProvider(t, n, nil)

	// A CNAME beside an address.
	rcode := n.byHand(t, func(m *dns.Msg) { m.Insert([]dns.RR{rr(t, "busy.lab.test. 30 IN CNAME a.lab.test.")}) })
	if rcode != dns.RcodeSuccess {
		t.Fatalf("BIND answers %s: the premise of this test is gone", dns.RcodeToString[rcode])
	}
	if got, want := mustRead(t, p, "busy.lab.test."), (State{Absent: true, Other: "A 192.0.2.7"}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if _, err := Plan(mustRead(t, p, "busy.lab.test."), Want{Name: "busy.lab.test.", Value: targetA, TTL: 30, Mark: mark(1, 0)}); !errors.Is(err, ErrSeveral) {
		t.Errorf("plan: %v", err)
	}

	// Our own write is told done although its mark was ignored.
	c := move()
	c.Name, c.ExpectMark = "cursed.lab.test.", nil
	mustWrite(t, p, c)
	got := mustRead(t, p, "cursed.lab.test.")
	want := State{Value: targetB, TTL: 30, Other: "at the mark: CNAME elsewhere.example."}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestBINDShowsWhatSomebodyElseWrote(t *testing.T) {
	n := startNamed(t)
	p := bindProvider(t, n, nil)
	n.byHand(t, func(m *dns.Msg) {
		m.RemoveRRset([]dns.RR{rr(t, "orders.lab.test. 0 IN CNAME .")})
		m.Insert([]dns.RR{rr(t, "orders.lab.test. 77 IN CNAME By-Hand.example.")})
	})
	want := State{Value: "by-hand.example.", TTL: 77, Mark: mark(1, 0)}
	if got := mustRead(t, p, orders); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if out, _ := p.Write(t.Context(), move()); out != failover.WriteMismatch {
		t.Errorf("a writer that did not see it: %s", out)
	}
	// Restored on command, against exactly what was seen.
	d, err := Plan(mustRead(t, p, orders), Want{Name: orders, Value: targetA, TTL: 30, Mark: mark(2, 0)})
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, p, d.Change)
	if got := mustRead(t, p, orders); got.Value != targetA || got.Mark != mark(2, 0) {
		t.Errorf("%+v", got)
	}
	// The record removed by hand is visible too.
	n.byHand(t, func(m *dns.Msg) { m.RemoveRRset([]dns.RR{rr(t, "orders.lab.test. 0 IN CNAME .")}) })
	if got := mustRead(t, p, orders); !got.Absent || got.Mark != mark(2, 0) || got.Other != "" {
		t.Errorf("%+v", got)
	}
	// And a second mark, which makes the state unreadable.
	n.byHand(t, func(m *dns.Msg) { m.Insert([]dns.RR{rr(t, `_pointsman.orders.lab.test. 30 IN TXT "v=2"`)}) })
	if _, err := p.Read(t.Context(), orders); !errors.Is(err, ErrSeveral) {
		t.Errorf("two marks: %v", err)
	}
}

func TestBINDVerifyAgreesOnlyWhenEveryAuthorityShowsTheValue(t *testing.T) {
	first, second := startNamed(t), startNamed(t)
	round := func() failover.NameAgreement {
		return Verify(t.Context(), []VerifyName{{
			Name: orders, Want: targetB, Authorities: []netip.AddrPort{first.addr, second.addr},
		}}, VerifyConfig{})[orders]
	}
	mustWrite(t, bindProvider(t, first, nil), move())
	got := round()
	if got.Agree || got.Asked != 4 || got.Agreeing != 2 || len(got.Dissent) != 2 {
		t.Fatalf("one of two: %+v", got)
	}
	for i, network := range []string{"udp", "tcp"} {
		if want := second.addr.String() + " " + network + ": a.lab.test. (wanted b.lab.test.)"; got.Dissent[i] != want {
			t.Errorf("dissent %q, want %q", got.Dissent[i], want)
		}
	}
	mustWrite(t, bindProvider(t, second, nil), move())
	if got := round(); !got.Agree || got.Agreeing != 4 || got.MaxTTL != 30 || got.LastAgree.Before(got.AskedAt) {
		t.Errorf("both: %+v", got)
	}
}
