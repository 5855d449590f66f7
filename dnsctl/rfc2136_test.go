package dnsctl

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

func TestWriteRefusesBeforeAnythingIsSent(t *testing.T) {
	s := startStranger(t, func([]byte) []byte { return nil })
	p := mustProvider(t, testConfig(t, s.addr.String()))
	for says, edit := range map[string]func(*Change){
		"is empty":                      func(c *Change) { c.Value = "" },
		"point at itself":               func(c *Change) { c.Value = failover.Target(orders) },
		"c.lab.test. is not one of its": func(c *Change) { c.Value = "c.lab.test." },
		"is not one of its targets []":  func(c *Change) { c.Name = "other.lab.test." },
		"is the apex":                   func(c *Change) { c.Name = zone },
		"does not lie in the zone":      func(c *Change) { c.Name = "orders.lab.example." },
		"is an address":                 func(c *Change) { c.Value = "192.0.2.1" },
		"has an empty label":            func(c *Change) { c.Value = "b..test." },
		"ttl 0":                         func(c *Change) { c.TTL = 0 },
		"mark":                          func(c *Change) { c.Mark = "hello" },
		"expected value":                func(c *Change) { c.Expect = "a..b." },
		"expected mark":                 func(c *Change) { c.ExpectMark = ptr(string(bytes.Repeat([]byte("x"), 5000))) },
	} {
		c := move()
		edit(&c)
		out, err := p.Write(t.Context(), c)
		if out != failover.WriteRefused || !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %s %v", says, out, err)
			continue
		}
		wantText(t, err.Error(), says)
	}
	if n := len(s.requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// TestUpdateIsOneMessageThatNeverLeavesTheNameEmpty reads the message off the
// wire: each set that it removes it also puts back, and nothing else.
func TestUpdateIsOneMessageThatNeverLeavesTheNameEmpty(t *testing.T) {
	s := startStranger(t, func(q []byte) []byte {
		return signedAnswer(t, q, secretText, func(*dns.Msg) {})
	})
	p := mustProvider(t, testConfig(t, s.addr.String()))
	none, exact := move(), move()
	none.ExpectMark = nil
	absent := move()
	absent.ExpectMark = ptr("")
	for name, tc := range map[string]struct {
		c      Change
		prereq []string
	}{
		"exact":  {exact, []string{"orders.lab.test.\t0\tIN\tCNAME\ta.lab.test.", "_pointsman.orders.lab.test.\t0\tIN\tTXT\t\"" + mark(1, 0) + "\""}},
		"none":   {none, []string{"orders.lab.test.\t0\tIN\tCNAME\ta.lab.test."}},
		"absent": {absent, []string{"orders.lab.test.\t0\tIN\tCNAME\ta.lab.test.", "_pointsman.orders.lab.test.\t0\tNONE\tTXT\t"}},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(s.requests())
			if out, err := p.Write(t.Context(), tc.c); out != failover.WriteDone || err != nil {
				t.Fatalf("%s %v", out, err)
			}
			seen := s.requests()
			if len(seen) != before+1 {
				t.Fatalf("%d messages", len(seen)-before)
			}
			m, err := unpack(seen[before])
			if err != nil {
				t.Fatal(err)
			}
			if m.Opcode != dns.OpcodeUpdate || m.Question[0].Name != zone || m.IsTsig() == nil {
				t.Errorf("%v", m)
			}
			if got := texts(m.Answer); !equal(got, tc.prereq) {
				t.Errorf("prerequisites %q", got)
			}
			want := []string{
				"orders.lab.test.\t0\tCLASS255\tCNAME\t", "_pointsman.orders.lab.test.\t0\tCLASS255\tTXT\t",
				"orders.lab.test.\t30\tIN\tCNAME\tb.lab.test.", "_pointsman.orders.lab.test.\t30\tIN\tTXT\t\"" + mark(1, 1) + "\"",
			}
			if got := texts(m.Ns); !equal(got, want) {
				t.Errorf("updates %q", got)
			}
		})
	}
}

func texts(rrs []dns.RR) []string {
	var out []string
	for _, r := range rrs {
		out = append(out, r.String())
	}
	return out
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		// The library writes an empty set with or without its last tab.
		if string(bytes.TrimSpace([]byte(a[i]))) != string(bytes.TrimSpace([]byte(b[i]))) {
			return false
		}
	}
	return true
}

func TestReadOnlyNeverSendsAnUpdate(t *testing.T) {
	s := startStranger(t, func(q []byte) []byte {
		return answered(t, q, func(r *dns.Msg) {
			if r.Question[0].Qtype == dns.TypeCNAME {
				r.Answer = []dns.RR{rr(t, "orders.lab.test. 30 IN CNAME a.lab.test.")}
			}
		})
	})
	c := testConfig(t, s.addr.String())
	c.ReadOnly = true
	p := mustProvider(t, c)
	if out, err := p.Write(t.Context(), move()); out != failover.WriteRefused || !errors.Is(err, ErrReadOnly) {
		t.Errorf("%s %v", out, err)
	}
	if n := s.accepted.Load(); n != 0 {
		t.Errorf("%d connections for a write that may not be", n)
	}
	// Even if something above the transport were mistaken.
	ss, err := p.t.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ss.close()
	if _, err := ss.ask(update(zone, spot{orders, orders, MarkName(orders)}, move())); !errors.Is(err, ErrReadOnly) {
		t.Errorf("transport: %v", err)
	}
	if _, err := p.Read(t.Context(), orders); err != nil {
		t.Errorf("read: %v", err)
	}
	seen := s.requests()
	if len(seen) == 0 {
		t.Fatal("the recorder saw nothing, not even the read")
	}
	for _, q := range seen {
		m, err := unpack(q)
		if err != nil {
			t.Fatal(err)
		}
		if m.Opcode != dns.OpcodeQuery || m.IsTsig() != nil || m.RecursionDesired {
			t.Errorf("sent: %v", m)
		}
	}
}

// TestAnswerOfAnUpdateIsBelievedOnlyWhenSigned goes through what may come back
// instead of BIND's answer: other servers, and somebody in between.
func TestAnswerOfAnUpdateIsBelievedOnlyWhenSigned(t *testing.T) {
	rcode := func(code int) func(*dns.Msg) { return func(r *dns.Msg) { r.Rcode = code } }
	unsigned := func(code int) func([]byte) []byte {
		return func(q []byte) []byte { return answered(t, q, rcode(code)) }
	}
	signed := func(edit func(*dns.Msg)) func([]byte) []byte {
		return func(q []byte) []byte { return signedAnswer(t, q, secretText, edit) }
	}
	keyError := func(code uint16) func([]byte) []byte {
		return signed(func(r *dns.Msg) { r.Rcode = dns.RcodeNotAuth; r.IsTsig().Error = code })
	}
	for name, tc := range map[string]struct {
		answer func([]byte) []byte
		out    failover.WriteOutcome
		is     error
		says   string
	}{
		"good":                          {signed(func(*dns.Msg) {}), failover.WriteDone, nil, ""},
		"NOERROR unsigned":              {unsigned(dns.RcodeSuccess), failover.WriteUnknown, ErrUnsigned, ""},
		"NXRRSET unsigned":              {unsigned(dns.RcodeNXRrset), failover.WriteUnknown, ErrUnsigned, ""},
		"SERVFAIL unsigned":             {unsigned(dns.RcodeServerFailure), failover.WriteUnknown, ErrUnsigned, ""},
		"YXRRSET":                       {signed(rcode(dns.RcodeYXRrset)), failover.WriteMismatch, ErrPrerequisite, "read it again"},
		"YXDOMAIN":                      {signed(rcode(dns.RcodeYXDomain)), failover.WriteMismatch, ErrPrerequisite, ""},
		"NXDOMAIN":                      {signed(rcode(dns.RcodeNameError)), failover.WriteMismatch, ErrPrerequisite, ""},
		"NOTZONE":                       {signed(rcode(dns.RcodeNotZone)), failover.WriteRefused, ErrZone, "does not lie in the zone lab.test."},
		"SERVFAIL":                      {signed(rcode(dns.RcodeServerFailure)), failover.WriteUnknown, ErrServer, "journal"},
		"some other code":               {signed(rcode(15)), failover.WriteUnknown, ErrServer, "no answer to an update"},
		"PowerDNS refuses, key or not":  {unsigned(dns.RcodeRefused), failover.WriteRefused, ErrRights, "PowerDNS says REFUSED"},
		"NSD takes no updates":          {unsigned(dns.RcodeNotImplemented), failover.WriteRefused, ErrUnsupported, "NSD"},
		"Knot without a matching acl":   {unsigned(dns.RcodeNotAuth), failover.WriteRefused, ErrZone, "Knot"},
		"FORMERR":                       {unsigned(dns.RcodeFormatError), failover.WriteRefused, ErrUnsupported, ""},
		"Knot's BADKEY":                 {keyError(dns.RcodeBadKey), failover.WriteRefused, ErrKey, "Knot says the same"},
		"BADSIG":                        {keyError(dns.RcodeBadSig), failover.WriteRefused, ErrSecret, ""},
		"BADTRUNC, which we never send": {keyError(dns.RcodeBadTrunc), failover.WriteUnknown, ErrSignature, "22"},
		"signed with another secret": {
			func(q []byte) []byte { return signedAnswer(t, q, otherText, func(*dns.Msg) {}) },
			failover.WriteUnknown, ErrSignature, "",
		},
		"signed by another key": {
			signed(func(r *dns.Msg) { r.IsTsig().Hdr.Name = "evil." }), failover.WriteUnknown, ErrSignature, `"evil."`,
		},
		"signed with a weaker algorithm": {
			signed(func(r *dns.Msg) { r.IsTsig().Algorithm = dns.HmacSHA1 }), failover.WriteUnknown, ErrSignature, "hmac-sha1",
		},
		"signed an hour ago": {
			signed(func(r *dns.Msg) { r.IsTsig().TimeSigned -= 3600 }), failover.WriteUnknown, ErrSignature, "300 s",
		},
		"NOTAUTH forged into a signed answer": {
			func(q []byte) []byte {
				p := signedAnswer(t, q, secretText, func(*dns.Msg) {})
				p[3] = p[3]&0xf0 | dns.RcodeNotAuth
				return p
			},
			failover.WriteUnknown, ErrSignature, "",
		},
		"NXRRSET forged into a signed answer": {
			func(q []byte) []byte {
				p := signedAnswer(t, q, secretText, func(*dns.Msg) {})
				p[3] = p[3]&0xf0 | dns.RcodeNXRrset
				return p
			},
			failover.WriteUnknown, ErrSignature, "",
		},
		"a record behind the signature": {
			func(q []byte) []byte {
				p := signedAnswer(t, q, secretText, func(*dns.Msg) {})
				p = append(p, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 1)
				binary.BigEndian.PutUint16(p[10:], binary.BigEndian.Uint16(p[10:])+1)
				return p
			},
			failover.WriteUnknown, ErrSignature, "",
		},
		"the request itself, sent back": {func(q []byte) []byte { return q }, failover.WriteUnknown, ErrMalformed, "another request"},
		"another id": {
			func(q []byte) []byte {
				p := signedAnswer(t, q, secretText, func(*dns.Msg) {})
				p[0]++
				return p
			},
			failover.WriteUnknown, ErrMalformed, "another request",
		},
		"an answer to a query": {
			signed(func(r *dns.Msg) { r.Opcode = dns.OpcodeQuery }), failover.WriteUnknown, ErrMalformed, "another request",
		},
		"only a header's half": {func([]byte) []byte { return []byte{1, 2, 3} }, failover.WriteUnknown, ErrMalformed, "3 octets"},
		"nothing":              {func([]byte) []byte { return []byte{} }, failover.WriteUnknown, ErrMalformed, "0 octets"},
		"connection closed":    {func([]byte) []byte { return nil }, failover.WriteUnknown, ErrNoAnswer, "closed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startStranger(t, tc.answer)
			out, err := mustProvider(t, testConfig(t, s.addr.String())).Write(t.Context(), move())
			if out != tc.out || !errors.Is(err, tc.is) {
				t.Fatalf("%s %v", out, err)
			}
			if err != nil {
				wantText(t, err.Error(), tc.says)
			}
		})
	}
}

func TestSilenceIsUnknownAfterTheTimeout(t *testing.T) {
	hold := make(chan struct{})
	s := startStranger(t, func([]byte) []byte { <-hold; return nil })
	defer close(hold)
	c := testConfig(t, s.addr.String())
	c.Timeout = time.Second
	p := mustProvider(t, c)
	out, err := p.Write(t.Context(), move())
	if out != failover.WriteUnknown || !errors.Is(err, ErrNoAnswer) {
		t.Errorf("%s %v", out, err)
	}
	wantText(t, err.Error(), "timed out")
	if _, err := p.Read(t.Context(), orders); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("read: %v", err)
	}
}

func TestCancelledWriteIsUnknownOnceItWasSent(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	hold := make(chan struct{})
	s := startStranger(t, func([]byte) []byte { cancel(); <-hold; return nil })
	defer close(hold)
	c := testConfig(t, s.addr.String())
	c.Timeout = 30 * time.Second
	start := time.Now()
	out, err := mustProvider(t, c).Write(ctx, move())
	if out != failover.WriteUnknown || !errors.Is(err, ErrNoAnswer) {
		t.Errorf("%s %v", out, err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it ended only after %s", took)
	}
}

func TestWhatNeverLeftIsRefusedNotUnknown(t *testing.T) {
	closed := nobody(t)
	p := mustProvider(t, testConfig(t, closed))
	out, err := p.Write(t.Context(), move())
	if out != failover.WriteRefused || !errors.Is(err, ErrNotSent) {
		t.Errorf("refused connection: %s %v", out, err)
	}
	wantText(t, err.Error(), "nothing was sent", closed)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if out, err := p.Write(ctx, move()); out != failover.WriteRefused || !errors.Is(err, ErrNotSent) {
		t.Errorf("cancelled before: %s %v", out, err)
	}
}

func TestRateIsBoundedAndWhoCannotWaitSendsNothing(t *testing.T) {
	s := startStranger(t, func(q []byte) []byte { return signedAnswer(t, q, secretText, func(*dns.Msg) {}) })
	c := testConfig(t, s.addr.String())
	c.WritesPerSecond, c.WriteBurst = 0.001, 2
	p := mustProvider(t, c)
	for range 2 {
		mustDone(t, p)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if out, err := p.Write(ctx, move()); out != failover.WriteRefused || !errors.Is(err, ErrNotSent) {
		t.Errorf("the third: %s %v", out, err)
	}
	if n := len(s.requests()); n != 2 {
		t.Errorf("%d were sent", n)
	}
}

func mustDone(t *testing.T, p *RFC2136) {
	t.Helper()
	if out, err := p.Write(t.Context(), move()); out != failover.WriteDone || err != nil {
		t.Fatalf("%s %v", out, err)
	}
}

// TestReadRefusesWhatIsNoPlainAnswer: a server that lies, or is not the one.
func TestReadRefusesWhatIsNoPlainAnswer(t *testing.T) {
	good := func(r *dns.Msg) {
		switch r.Question[0].Qtype {
		case dns.TypeCNAME, dns.TypeANY:
			r.Answer = []dns.RR{rr(t, "ORDERS.lab.test. 30 IN CNAME A.Lab.Test.")}
		case dns.TypeTXT:
			r.Answer = []dns.RR{rr(t, `_pointsman.orders.lab.test. 30 IN TXT "`+mark(1, 0)+`"`)}
		}
	}
	onCNAME := func(edit func(*dns.Msg)) func(*dns.Msg) {
		return func(r *dns.Msg) {
			good(r)
			if r.Question[0].Qtype == dns.TypeCNAME {
				edit(r)
			}
		}
	}
	add := func(text string) func(*dns.Msg) {
		return onCNAME(func(r *dns.Msg) { r.Answer = append(r.Answer, rr(t, text)) })
	}
	for name, tc := range map[string]struct {
		edit func(*dns.Msg)
		is   error
	}{
		"not authoritative":  {onCNAME(func(r *dns.Msg) { r.Authoritative = false }), ErrNotAuthoritative},
		"two CNAMEs":         {add("orders.lab.test. 30 IN CNAME b.lab.test."), ErrSeveral},
		"the same one twice": {add("orders.lab.test. 30 IN CNAME a.lab.test."), ErrSeveral},
		"another question":   {onCNAME(func(r *dns.Msg) { r.Question[0].Name = "a.orders.lab.test." }), ErrMalformed},
		"no question":        {onCNAME(func(r *dns.Msg) { r.Question = nil }), ErrMalformed},
		"another owner": {onCNAME(func(r *dns.Msg) {
			r.Answer = []dns.RR{rr(t, "a.orders.lab.test. 30 IN CNAME b.lab.test.")}
		}), ErrMalformed},
		"from a DNAME above":    {add("lab.test. 30 IN DNAME elsewhere.test."), ErrMalformed},
		"another class":         {add("orders.lab.test. 30 CH TXT x"), ErrMalformed},
		"truncated":             {onCNAME(func(r *dns.Msg) { r.Truncated = true }), ErrMalformed},
		"SERVFAIL":              {onCNAME(func(r *dns.Msg) { r.Rcode = dns.RcodeServerFailure }), ErrServer},
		"REFUSED":               {onCNAME(func(r *dns.Msg) { r.Rcode = dns.RcodeRefused }), ErrRights},
		"NXDOMAIN with a CNAME": {onCNAME(func(r *dns.Msg) { r.Rcode = dns.RcodeNameError }), ErrMalformed},
		"the root as target": {onCNAME(func(r *dns.Msg) {
			r.Answer = []dns.RR{rr(t, "orders.lab.test. 30 IN CNAME .")}
		}), ErrMalformed},
		"two marks": {func(r *dns.Msg) {
			good(r)
			if r.Question[0].Qtype == dns.TypeTXT {
				r.Answer = append(r.Answer, rr(t, `_pointsman.orders.lab.test. 30 IN TXT "x"`))
			}
		}, ErrSeveral},
		"ANY shows another value": {func(r *dns.Msg) {
			good(r)
			if r.Question[0].Qtype == dns.TypeANY {
				r.Answer = []dns.RR{rr(t, "orders.lab.test. 30 IN CNAME b.lab.test.")}
			}
		}, ErrUnstable},
	} {
		t.Run(name, func(t *testing.T) {
			s := startStranger(t, func(q []byte) []byte { return answered(t, q, tc.edit) })
			c := testConfig(t, s.addr.String())
			c.ReadOnly = true
			st, err := mustProvider(t, c).Read(t.Context(), orders)
			if !errors.Is(err, tc.is) || !reflect.DeepEqual(st, State{}) {
				t.Errorf("%+v %v", st, err)
			}
		})
	}
	t.Run("cut short behind the question", func(t *testing.T) {
		s := startStranger(t, func(q []byte) []byte {
			p := answered(t, q, good)
			return p[:len(q)] // a plain question is all that the request holds
		})
		c := testConfig(t, s.addr.String())
		c.ReadOnly = true
		if st, err := mustProvider(t, c).Read(t.Context(), orders); !errors.Is(err, ErrMalformed) {
			t.Errorf("%+v %v", st, err)
		}
	})
	t.Run("unsigned where a key is", func(t *testing.T) {
		s := startStranger(t, func(q []byte) []byte { return answered(t, q, good) })
		if _, err := mustProvider(t, testConfig(t, s.addr.String())).Read(t.Context(), orders); !errors.Is(err, ErrUnsigned) {
			t.Error(err)
		}
	})
	t.Run("the good one", func(t *testing.T) {
		s := startStranger(t, func(q []byte) []byte { return signedAnswer(t, q, secretText, good) })
		st, err := mustProvider(t, testConfig(t, s.addr.String())).Read(t.Context(), "Orders.LAB.test")
		if want := (State{Value: targetA, TTL: 30, Mark: mark(1, 0)}); !reflect.DeepEqual(st, want) || err != nil {
			t.Errorf("%+v %v", st, err)
		}
	})
}

// TestReadFindsOtherTypesWhereANYIsNotAnswered: RFC 8482 lets a server answer
// ANY with next to nothing, and some refuse it.
func TestReadFindsOtherTypesWhereANYIsNotAnswered(t *testing.T) {
	for name, any := range map[string]func(*dns.Msg){
		"HINFO":   func(r *dns.Msg) { r.Answer = []dns.RR{rr(t, `orders.lab.test. 30 IN HINFO "RFC8482" ""`)} },
		"NOTIMP":  func(r *dns.Msg) { r.Rcode = dns.RcodeNotImplemented },
		"REFUSED": func(r *dns.Msg) { r.Rcode = dns.RcodeRefused },
		"nothing": func(*dns.Msg) {},
	} {
		t.Run(name, func(t *testing.T) {
			s := startStranger(t, func(q []byte) []byte {
				return answered(t, q, func(r *dns.Msg) {
					switch q := r.Question[0]; {
					case q.Qtype == dns.TypeANY:
						any(r)
					case q.Qtype == dns.TypeA:
						r.Answer = []dns.RR{rr(t, "orders.lab.test. 30 IN A 192.0.2.7")}
					case q.Qtype == dns.TypeTXT && q.Name == string(orders):
						r.Answer = []dns.RR{rr(t, `orders.lab.test. 30 IN TXT "v=spf1 -all"`)}
					}
				})
			})
			c := testConfig(t, s.addr.String())
			c.ReadOnly = true
			st, err := mustProvider(t, c).Read(t.Context(), orders)
			if want := (State{Absent: true, Other: `A 192.0.2.7, TXT "v=spf1 -all"`}); !reflect.DeepEqual(st, want) || err != nil {
				t.Errorf("%+v %v", st, err)
			}
		})
	}
}

// TestReadNeverJoinsOneWritesValueWithAnothersMark: the name moves between the
// questions of one read.
func TestReadNeverJoinsOneWritesValueWithAnothersMark(t *testing.T) {
	read := func(epochAt func(asked int) uint64) (State, error) {
		asked := 0
		s := startStranger(t, func(q []byte) []byte {
			return answered(t, q, func(r *dns.Msg) {
				epoch := epochAt(asked)
				asked++
				switch r.Question[0].Qtype {
				case dns.TypeCNAME, dns.TypeANY:
					to := []failover.Target{targetA, targetB}[epoch%2]
					r.Answer = []dns.RR{rr(t, "orders.lab.test. 30 IN CNAME "+string(to))}
				case dns.TypeTXT:
					r.Answer = []dns.RR{rr(t, `_pointsman.orders.lab.test. 30 IN TXT "`+mark(1, epoch)+`"`)}
				}
			})
		})
		c := testConfig(t, s.addr.String())
		c.ReadOnly = true
		return mustProvider(t, c).Read(t.Context(), orders)
	}
	for moves := range 6 { // before the first question, the second, …
		st, err := read(func(asked int) uint64 {
			if asked < moves {
				return 0
			}
			return 1
		})
		before, after := State{Value: targetA, TTL: 30, Mark: mark(1, 0)}, State{Value: targetB, TTL: 30, Mark: mark(1, 1)}
		if err != nil || !reflect.DeepEqual(st, before) && !reflect.DeepEqual(st, after) {
			t.Errorf("moved before question %d: %+v %v", moves, st, err)
		}
	}
	if st, err := read(func(asked int) uint64 { return uint64(asked) }); !errors.Is(err, ErrUnstable) {
		t.Errorf("moves for ever: %+v %v", st, err)
	}
}

func TestReadStaysInItsZone(t *testing.T) {
	p := mustProvider(t, testConfig(t, netip.MustParseAddrPort("127.0.0.1:1").String()))
	for _, n := range []failover.RecordName{"", "lab.test.", "orders.example.com.", "x"} {
		if _, err := p.Read(t.Context(), n); !errors.Is(err, ErrForbidden) {
			t.Errorf("%q: %v", n, err)
		}
	}
}

// A server may give the records of a set in another order each time (BIND does
// by chance): that is no change of the name.
func TestReadTakesAShuffledSetForTheSameSet(t *testing.T) {
	asked := 0
	s := startStranger(t, func(q []byte) []byte {
		return answered(t, q, func(r *dns.Msg) {
			switch r.Question[0].Qtype {
			case dns.TypeCNAME, dns.TypeANY:
				r.Answer = []dns.RR{rr(t, "orders.lab.test. 30 IN CNAME a.lab.test.")}
			case dns.TypeTXT:
				r.Answer = []dns.RR{rr(t, `_pointsman.orders.lab.test. 30 IN TXT "one"`), rr(t, `_pointsman.orders.lab.test. 30 IN TXT "two"`)}
				if asked++; asked%2 == 0 {
					slices.Reverse(r.Answer)
				}
			}
		})
	})
	c := testConfig(t, s.addr.String())
	c.ReadOnly = true
	if _, err := mustProvider(t, c).Read(t.Context(), orders); !errors.Is(err, ErrSeveral) {
		t.Errorf("two marks, shuffled: %v", err)
	}
}
