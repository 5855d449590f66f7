package dnsctl

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

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
	if got, want := mustRead(t, p, orders), (State{Value: targetA, TTL: 30, Mark: mark(1, 0)}); got != want {
		t.Fatalf("before: %+v, want %+v", got, want)
	}
	before := n.serial(t)
	c := move()
	c.Expect, c.TTL = "A.LAB.Test", 45 // another form of the same name
	mustWrite(t, p, c)
	if got, want := mustRead(t, p, orders), (State{Value: targetB, TTL: 45, Mark: mark(1, 1)}); got != want {
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
	if got := mustRead(t, p, fresh); got != (State{Absent: true}) {
		t.Fatalf("%+v", got)
	}
	c := Change{Name: fresh, ExpectMark: ptr(""), Value: targetA, TTL: 30, Mark: mark(1, 0)}
	mustWrite(t, p, c)
	if got, want := mustRead(t, p, fresh), (State{Value: targetA, TTL: 30, Mark: mark(1, 0)}); got != want {
		t.Errorf("%+v", got)
	}
	if out, err := p.Write(t.Context(), c); out != failover.WriteMismatch {
		t.Errorf("again: %s %v", out, err)
	}
}

func TestBINDLetsOneOfTwentyWritersThrough(t *testing.T) {
	n := startNamed(t)
	p := bindProvider(t, n, nil)
	const writers = 20
	outs := make([]failover.WriteOutcome, writers)
	errs := make([]error, writers)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			c := move()
			c.Mark = mark(1, uint64(i+1))
			<-start
			outs[i], errs[i] = p.Write(t.Context(), c)
		})
	}
	close(start)
	wg.Wait()
	winner := -1
	for i, o := range outs {
		switch {
		case o == failover.WriteDone && winner >= 0:
			t.Errorf("writers %d and %d were both told done", winner, i)
		case o == failover.WriteDone:
			winner = i
		case o != failover.WriteMismatch:
			t.Errorf("writer %d: %s %v", i, o, errs[i])
		}
	}
	if winner < 0 {
		t.Fatal("nobody won")
	}
	if got := mustRead(t, p, orders); got.Value != targetB || got.Mark != mark(1, uint64(winner+1)) {
		t.Errorf("the winner was %d, the name shows %+v", winner, got)
	}
}

// swallow forwards one request to the server, waits for the whole answer and
// then closes the connection without passing it on.
func swallow(t *testing.T, to netip.AddrPort) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	g.Go(func() error {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		defer c.Close()
		up, err := net.Dial("tcp", to.String())
		if err != nil {
			return err
		}
		defer up.Close()
		p, err := readFrame(c)
		if err != nil {
			return err
		}
		if err := writeFrame(up, p); err != nil {
			return err
		}
		_, err = readFrame(up)
		return err
	})
	t.Cleanup(func() {
		l.Close()
		if err := g.Wait(); err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("proxy: %v", err)
		}
	})
	return l.Addr().String()
}

func TestBINDLostAnswerIsUnknownAndReadingBackTells(t *testing.T) {
	n := startNamed(t)
	lossy := bindProvider(t, n, func(c *RFC2136Config) { c.Server = swallow(t, n.addr) })
	out, err := lossy.Write(t.Context(), move())
	if out != failover.WriteUnknown || !errors.Is(err, ErrNoAnswer) {
		t.Fatalf("%s %v", out, err)
	}
	p := bindProvider(t, n, nil)
	if got := mustRead(t, p, orders); got.Value != targetB || got.Mark != mark(1, 1) {
		t.Errorf("read back: %+v", got)
	}
	// A second try of the same write would be told a mismatch, although it was
	// done: that is why nothing here retries.
	if out, _ := p.Write(t.Context(), move()); out != failover.WriteMismatch {
		t.Errorf("the same again: %s", out)
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
	if got, want := mustRead(t, p, "busy.lab.test."), (State{Absent: true, Other: "A 192.0.2.7"}); got != want {
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
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestBINDCauseIsPutIntoWords(t *testing.T) {
	n := startNamed(t)
	for name, tc := range map[string]struct {
		edit   func(*RFC2136Config)
		change func(*Change)
		is     error
		says   []string
	}{
		"another secret": {
			edit: func(c *RFC2136Config) { c.Key.Secret = mustSecret(t, otherText) },
			is:   ErrSecret, says: []string{"NOTAUTH", "another secret for the key ctl."},
		},
		"unknown key": {
			edit: func(c *RFC2136Config) { c.Key.Name = "nobody." },
			is:   ErrKey, says: []string{"NOTAUTH", "does not know the key nobody. with hmac-sha256."},
		},
		"another algorithm": {
			edit: func(c *RFC2136Config) { c.Key.Algorithm = "hmac-sha512" },
			is:   ErrKey, says: []string{"hmac-sha512."},
		},
		"clock ahead": {
			edit: func(c *RFC2136Config) { c.Now = func() time.Time { return time.Now().Add(time.Hour) } },
			is:   ErrClock, says: []string{"ahead of the server's", "at most 300 s"},
		},
		"clock behind": {
			edit: func(c *RFC2136Config) { c.Now = func() time.Time { return time.Now().Add(-time.Hour) } },
			is:   ErrClock, says: []string{"behind the server's"},
		},
		"owner not granted": {
			change: func(c *Change) { c.Name = "denied.lab.test."; c.ExpectMark = nil },
			is:     ErrRights, says: []string{"REFUSED", "grant the key ctl. both CNAME at denied.lab.test. and TXT at _pointsman.denied.lab.test."},
		},
		"unknown zone": {
			edit: func(c *RFC2136Config) {
				c.Zone = "elsewhere.test."
				c.Allowed = map[failover.RecordName][]failover.Target{"orders.elsewhere.test.": {targetB}}
			},
			change: func(c *Change) { c.Name = "orders.elsewhere.test." },
			is:     ErrZone, says: []string{"NOTAUTH", "not the primary of the zone elsewhere.test."},
		},
		"name in a zone above the server's": {
			edit: func(c *RFC2136Config) {
				c.Zone = "test."
			},
			is: ErrZone, says: []string{"not the primary of the zone test."},
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := n.serial(t)
			p := bindProvider(t, n, tc.edit)
			c := move()
			if tc.change != nil {
				tc.change(&c)
			}
			out, err := p.Write(t.Context(), c)
			if out != failover.WriteRefused || !errors.Is(err, tc.is) {
				t.Fatalf("%s %v", out, err)
			}
			wantText(t, err.Error(), tc.says...)
			if n.serial(t) != before {
				t.Error("the zone changed")
			}
		})
	}
}

func TestBINDReadSaysWhyItCannot(t *testing.T) {
	n := startNamed(t)
	for name, tc := range map[string]struct {
		edit func(*RFC2136Config)
		is   error
	}{
		"another secret": {func(c *RFC2136Config) { c.Key.Secret = mustSecret(t, otherText) }, ErrSecret},
		"unknown key":    {func(c *RFC2136Config) { c.Key.Name = "nobody." }, ErrKey},
		"clock ahead":    {func(c *RFC2136Config) { c.Now = func() time.Time { return time.Now().Add(time.Hour) } }, ErrClock},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := bindProvider(t, n, tc.edit).Read(t.Context(), orders)
			if !errors.Is(err, tc.is) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestBINDClockSkewIsComputed(t *testing.T) {
	n := startNamed(t)
	p := bindProvider(t, n, func(c *RFC2136Config) { c.Now = func() time.Time { return time.Now().Add(-2 * time.Hour) } })
	_, err := p.Write(t.Context(), move())
	var ce *ClockError
	if !errors.As(err, &ce) {
		t.Fatal(err)
	}
	if got := ce.Skew().Round(10 * time.Second); got != -2*time.Hour {
		t.Errorf("skew %s", ce.Skew())
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
	if got := mustRead(t, p, orders); got != want {
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

func TestBINDNameIsNeverEmptyThroughChanges(t *testing.T) {
	n := startNamed(t)
	p := bindProvider(t, n, nil)
	ctx, stop := context.WithCancel(t.Context())
	asked, bad := 0, map[string]int{}
	var g errgroup.Group
	g.Go(func() error {
		c := dns.Client{Net: "udp", Timeout: 2 * time.Second}
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			r, _, err := c.Exchange(question(string(orders), dns.TypeCNAME), n.addr.String())
			asked++
			switch {
			case err != nil:
				bad[err.Error()]++
			case r.Rcode != dns.RcodeSuccess:
				bad[dns.RcodeToString[r.Rcode]]++
			case len(r.Answer) != 1:
				bad["empty or several"]++
			default:
				if to := r.Answer[0].(*dns.CNAME).Target; to != string(targetA) && to != string(targetB) {
					bad["value "+to]++
				}
			}
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	})
	const moves = 60
	from, to := targetA, targetB
	for i := range uint64(moves) {
		mustWrite(t, p, Change{Name: orders, Expect: from, ExpectMark: ptr(mark(1, i)), Value: to, TTL: 30, Mark: mark(1, i+1)})
		from, to = to, from
	}
	stop()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if len(bad) > 0 {
		t.Errorf("of %d answers: %v", asked, bad)
	}
	if asked < moves/2 {
		t.Errorf("only %d answers during %d moves show nothing", asked, moves)
	}
}

func TestBINDReadOnlyReadsWithoutAKeyAndWritesNothing(t *testing.T) {
	n := startNamed(t)
	p := bindProvider(t, n, func(c *RFC2136Config) { c.ReadOnly = true; c.Key = Key{} })
	if got, want := mustRead(t, p, orders), (State{Value: targetA, TTL: 30, Mark: mark(1, 0)}); got != want {
		t.Errorf("%+v", got)
	}
	before := n.serial(t)
	if out, err := p.Write(t.Context(), move()); out != failover.WriteRefused || !errors.Is(err, ErrReadOnly) {
		t.Errorf("%s %v", out, err)
	}
	if n.serial(t) != before {
		t.Error("the zone changed")
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
