package authority

import (
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestAnswers is the checklist of an authoritative server, asked over real
// sockets, UDP and TCP.
func TestAnswers(t *testing.T) {
	addr := run(t, newLab(t))
	const soa = "lab.test. 30 IN SOA ns1.lab.test. hostmaster.lab.test. 1700000000 300 60 604800 30"
	for _, tc := range []struct {
		what       string
		name       string
		qtype      uint16
		rcode      int
		notAA      bool
		answer, ns []string
	}{
		{what: "a managed name is a CNAME, chased to the host in our zone", name: "orders.lab.test.", qtype: dns.TypeA, answer: []string{"orders.lab.test. 7 IN CNAME a.lab.test.", "a.lab.test. 300 IN A 127.0.1.1"}},
		{what: "the CNAME alone when it is asked for", name: "orders.lab.test.", qtype: dns.TypeCNAME, answer: []string{"orders.lab.test. 7 IN CNAME a.lab.test."}},
		{what: "ANY gets one RRset", name: "orders.lab.test.", qtype: dns.TypeANY, answer: []string{"orders.lab.test. 7 IN CNAME a.lab.test."}},
		{what: "a type that the chased host lacks is NODATA after the CNAME", name: "orders.lab.test.", qtype: dns.TypeAAAA, answer: []string{"orders.lab.test. 7 IN CNAME a.lab.test."}, ns: []string{soa}},
		{what: "a target elsewhere is not chased", name: "vpc.orders.lab.test.", qtype: dns.TypeA, answer: []string{"vpc.orders.lab.test. 7 IN CNAME a.cloud.example."}},
		{what: "any other type at a CNAME gets the CNAME", name: "vpc.orders.lab.test.", qtype: dns.TypeMX, answer: []string{"vpc.orders.lab.test. 7 IN CNAME a.cloud.example."}},
		{what: "a chain through a second managed name", name: "chain.lab.test.", qtype: dns.TypeA, answer: []string{"chain.lab.test. 7 IN CNAME orders.lab.test.", "orders.lab.test. 7 IN CNAME a.lab.test.", "a.lab.test. 300 IN A 127.0.1.1"}},
		{what: "a chain into our other zone", name: "n.second.test.", qtype: dns.TypeA, answer: []string{"n.second.test. 7 IN CNAME orders.lab.test.", "orders.lab.test. 7 IN CNAME a.lab.test.", "a.lab.test. 300 IN A 127.0.1.1"}},
		{what: "the mark stands beside the name", name: "_pointsman.orders.lab.test.", qtype: dns.TypeTXT, answer: []string{`_pointsman.orders.lab.test. 7 IN TXT "v=1 term=3 epoch=4 op=op-1 by=ctl-1"`}},
		{what: "the mark has nothing but TXT", name: "_pointsman.orders.lab.test.", qtype: dns.TypeA, ns: []string{soa}},
		{what: "configured, not published: SERVFAIL", name: "fresh.lab.test.", qtype: dns.TypeA, rcode: dns.RcodeServerFailure, notAA: true},
		{what: "the mark of a name that was not published: SERVFAIL", name: "_pointsman.fresh.lab.test.", qtype: dns.TypeTXT, rcode: dns.RcodeServerFailure, notAA: true},
		{what: "a host", name: "b.lab.test.", qtype: dns.TypeAAAA, answer: []string{"b.lab.test. 300 IN AAAA 2001:db8::2"}},
		{what: "NODATA", name: "b.lab.test.", qtype: dns.TypeMX, ns: []string{soa}},
		{what: "NXDOMAIN", name: "none.lab.test.", qtype: dns.TypeA, rcode: dns.RcodeNameError, ns: []string{soa}},
		{what: "nothing stands below a managed name", name: "x.chain.lab.test.", qtype: dns.TypeA, rcode: dns.RcodeNameError, ns: []string{soa}},
		{what: "no wildcards", name: "*.lab.test.", qtype: dns.TypeA, rcode: dns.RcodeNameError, ns: []string{soa}},
		{what: "an empty non-terminal is NODATA", name: "down.lab.test.", qtype: dns.TypeA, ns: []string{soa}},
		{what: "an empty non-terminal is NODATA to ANY too", name: "deep.down.lab.test.", qtype: dns.TypeANY, ns: []string{soa}},
		{what: "the SOA keeps its own TTL when asked for", name: "lab.test.", qtype: dns.TypeSOA, answer: []string{strings.Replace(soa, " 30 IN", " 300 IN", 1)}},
		{what: "NS", name: "lab.test.", qtype: dns.TypeNS, answer: []string{"lab.test. 300 IN NS ns1.lab.test.", "lab.test. 300 IN NS ns.elsewhere.example."}},
		{what: "the SOA's TTL bounds a no where it is below the minimum", name: "second.test.", qtype: dns.TypeMX, ns: []string{"second.test. 20 IN SOA ns.elsewhere.example. hostmaster.second.test. 1700000000 300 60 604800 60"}},
		{what: "an address at the apex", name: "second.test.", qtype: dns.TypeA, answer: []string{"second.test. 20 IN A 192.0.2.80"}},
		{what: "outside our zones", name: "example.org.", qtype: dns.TypeA, rcode: dns.RcodeRefused, notAA: true},
		{what: "above our zones", name: "test.", qtype: dns.TypeNS, rcode: dns.RcodeRefused, notAA: true},
		{what: "the root", name: ".", qtype: dns.TypeNS, rcode: dns.RcodeRefused, notAA: true},
		{what: "transfers", name: "lab.test.", qtype: dns.TypeAXFR, rcode: dns.RcodeRefused, notAA: true},
		{what: "incremental transfers", name: "lab.test.", qtype: dns.TypeIXFR, rcode: dns.RcodeRefused, notAA: true},
		{what: "a query for OPT", name: "lab.test.", qtype: dns.TypeOPT, rcode: dns.RcodeFormatError, notAA: true},
	} {
		t.Run(tc.what, func(t *testing.T) {
			for _, network := range []string{"udp", "tcp"} {
				for _, rd := range []bool{false, true} {
					q := question(tc.name, tc.qtype)
					q.RecursionDesired = rd
					m := ask(t, network, addr, q)
					if m.Rcode != tc.rcode || m.Authoritative == tc.notAA || m.RecursionAvailable || m.RecursionDesired != rd || m.Truncated || m.IsEdns0() != nil {
						t.Errorf("%s: header or OPT:\n%v", network, m)
					}
					if got, want := lines(m.Answer), tc.answer; !slices.Equal(got, want) {
						t.Errorf("%s: answer %q, want %q", network, got, want)
					}
					if got, want := lines(m.Ns), tc.ns; !slices.Equal(got, want) {
						t.Errorf("%s: authority %q, want %q", network, got, want)
					}
				}
			}
		})
	}
	glue := lines(ask(t, "udp", addr, question("lab.test.", dns.TypeNS)).Extra)
	if want := []string{"ns1.lab.test. 300 IN A 127.0.0.1", "ns1.lab.test. 300 IN AAAA ::1"}; !slices.Equal(glue, want) {
		t.Errorf("additional %q, want %q", glue, want)
	}
}

func lines(rrs []dns.RR) []string {
	var out []string
	for _, rr := range rrs {
		out = append(out, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	return out
}

func TestQuestionIsEchoedAsItWasSpelled(t *testing.T) {
	addr := run(t, newLab(t))
	for _, name := range []string{"oRdErS.lAb.TeSt.", "NoNe.LAB.test.", "DOWN.lab.TEST.", "EXAMPLE.org."} {
		m := ask(t, "udp", addr, question(name, dns.TypeA))
		if m.Question[0].Name != name {
			t.Errorf("asked %s, echoed %s", name, m.Question[0].Name)
		}
		if len(m.Answer) > 0 && m.Answer[0].Header().Name != name {
			t.Errorf("asked %s, the answer's owner is %s", name, m.Answer[0].Header().Name)
		}
	}
}

func TestEDNS(t *testing.T) {
	addr := run(t, newLab(t))
	opt := func(change func(*dns.Msg, *dns.OPT)) *dns.Msg {
		m := question("orders.lab.test.", dns.TypeA).SetEdns0(4096, false)
		change(m, m.IsEdns0())
		return m
	}
	for _, tc := range []struct {
		what  string
		q     *dns.Msg
		rcode int
		do    bool
		empty bool
	}{
		{what: "plain OPT", q: opt(func(*dns.Msg, *dns.OPT) {})},
		{what: "DO is copied", q: opt(func(_ *dns.Msg, o *dns.OPT) { o.SetDo() }), do: true},
		{what: "unknown version gets BADVERS and no answer", q: opt(func(_ *dns.Msg, o *dns.OPT) { o.SetVersion(1) }), rcode: dns.RcodeBadVers, empty: true},
		{what: "unknown options and flags are ignored", q: opt(func(_ *dns.Msg, o *dns.OPT) {
			o.Option = append(o.Option, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte("x")}, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})
			o.Hdr.Ttl |= 0x1234
		})},
		{what: "two OPTs are a format error", q: opt(func(m *dns.Msg, o *dns.OPT) { m.Extra = append(m.Extra, o) }), rcode: dns.RcodeFormatError, empty: true},
		{what: "an OPT that is not at the root is a format error", q: opt(func(_ *dns.Msg, o *dns.OPT) { o.Hdr.Name = "lab.test." }), rcode: dns.RcodeFormatError, empty: true},
		{what: "REFUSED carries OPT too", q: opt(func(m *dns.Msg, _ *dns.OPT) { m.Question[0].Name = "example.org." }), rcode: dns.RcodeRefused, empty: true},
	} {
		t.Run(tc.what, func(t *testing.T) {
			for _, network := range []string{"udp", "tcp"} {
				m := ask(t, network, addr, tc.q)
				o := m.IsEdns0()
				if o == nil || o.UDPSize() != 1232 || o.Version() != 0 || o.Do() != tc.do || len(o.Option) > 0 {
					t.Fatalf("%s: OPT\n%v", network, m)
				}
				if m.Rcode != tc.rcode || (len(m.Answer) == 0) != tc.empty {
					t.Errorf("%s: %d answers, rcode %d, want %d", network, len(m.Answer), m.Rcode, tc.rcode)
				}
			}
		})
	}
}

func TestAnswersThatDoNotFitAreTruncatedOverUDPAndWholeOverTCP(t *testing.T) {
	addr := run(t, newLab(t))
	for _, tc := range []struct {
		name string
		size uint16
		fits bool
	}{
		{"many.lab.test.", 0, false},
		{"many.lab.test.", 512, false},
		{"many.lab.test.", 1100, true},
		{"many.lab.test.", 4096, true},
		{"orders.lab.test.", 1, true}, // less than 512 counts as 512 (RFC 6891 section 6.2.3)
	} {
		q := question(tc.name, dns.TypeA)
		if tc.size > 0 {
			q.SetEdns0(tc.size, false)
		}
		m := ask(t, "udp", addr, q)
		if m.Truncated == tc.fits || (len(m.Answer) > 0) != tc.fits {
			t.Errorf("%s within %d octets: TC %v, %d answers", tc.name, tc.size, m.Truncated, len(m.Answer))
		}
		if m := ask(t, "tcp", addr, q); m.Truncated || len(m.Answer) == 0 {
			t.Errorf("%s over TCP: TC %v, %d answers", tc.name, m.Truncated, len(m.Answer))
		}
	}
}

func TestWhatIsNoQueryIsTurnedAwayOrDropped(t *testing.T) {
	s := newLab(t)
	addr := run(t, s)
	rcodes := []struct {
		what  string
		q     *dns.Msg
		rcode int
	}{
		{"UPDATE", new(dns.Msg).SetUpdate("lab.test."), dns.RcodeNotImplemented},
		{"NOTIFY for a zone of ours", new(dns.Msg).SetNotify("lab.test."), dns.RcodeRefused},
		{"NOTIFY with two questions", &dns.Msg{MsgHdr: dns.MsgHdr{Id: 7, Opcode: dns.OpcodeNotify}, Question: []dns.Question{{Name: "a.", Qtype: 6, Qclass: 1}, {Name: "b.", Qtype: 6, Qclass: 1}}}, dns.RcodeRefused},
		{"STATUS", &dns.Msg{MsgHdr: dns.MsgHdr{Id: 7, Opcode: dns.OpcodeStatus}}, dns.RcodeNotImplemented},
		{"an opcode that nobody knows", &dns.Msg{MsgHdr: dns.MsgHdr{Id: 7, Opcode: 14}}, dns.RcodeNotImplemented},
		{"no question", &dns.Msg{MsgHdr: dns.MsgHdr{Id: 7}}, dns.RcodeFormatError},
		{"two questions", &dns.Msg{MsgHdr: dns.MsgHdr{Id: 7}, Question: []dns.Question{{Name: "a.", Qtype: 1, Qclass: 1}, {Name: "b.", Qtype: 1, Qclass: 1}}}, dns.RcodeFormatError},
		{"an answer in a question", &dns.Msg{MsgHdr: dns.MsgHdr{Id: 7}, Question: question("lab.test.", dns.TypeA).Question, Answer: []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "lab.test.", Rrtype: 1, Class: 1}, A: net.IPv4(1, 2, 3, 4)}}}, dns.RcodeFormatError},
		{"class CH", &dns.Msg{MsgHdr: dns.MsgHdr{Id: 7}, Question: []dns.Question{{Name: "version.bind.", Qtype: dns.TypeTXT, Qclass: dns.ClassCHAOS}}}, dns.RcodeRefused},
		{"class ANY", &dns.Msg{MsgHdr: dns.MsgHdr{Id: 7}, Question: []dns.Question{{Name: "lab.test.", Qtype: dns.TypeSOA, Qclass: dns.ClassANY}}}, dns.RcodeRefused},
	}
	for _, tc := range rcodes {
		wire, err := tc.q.Pack()
		if err != nil {
			t.Fatal(err)
		}
		for _, network := range []string{"udp", "tcp"} {
			m := new(dns.Msg)
			if err := m.Unpack(raw(t, network, addr, wire)[0]); err != nil {
				t.Fatal(err)
			}
			if m.Rcode != tc.rcode || m.Opcode != tc.q.Opcode || m.Authoritative || len(m.Answer)+len(m.Ns) > 0 {
				t.Errorf("%s over %s:\n%v", tc.what, network, m)
			}
		}
	}

	good, err := question("orders.lab.test.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	response := slices.Clone(good)
	response[2] |= 0x80
	response[0] ^= 0xFF
	// The answer to the good query behind them shows that they got none.
	if got := raw(t, "udp", addr, []byte{1, 2, 3}, response, good); len(got) != 1 || !slices.Equal(got[0][:2], good[:2]) {
		t.Errorf("got %d answers over udp, want one, to the query", len(got))
	}
	if got := raw(t, "tcp", addr, response, good); len(got) != 1 || !slices.Equal(got[0][:2], good[:2]) {
		t.Errorf("got %d answers over tcp, want one, to the query", len(got))
	}
	if d := s.Stats().Dropped; d["short"] != 1 || d["response"] != 2 {
		t.Errorf("dropped %v", d)
	}
}

// raw sends messages and returns the answers that came up to the first one
// that bears the id of the last message.
func raw(t *testing.T, network, addr string, msgs ...[]byte) [][]byte {
	t.Helper()
	nc, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &dns.Conn{Conn: nc}
	defer c.Close()
	for _, m := range msgs {
		if _, err := c.Write(m); err != nil {
			t.Fatal(err)
		}
	}
	var out [][]byte
	for {
		in := make([]byte, dns.MaxMsgSize)
		n, err := c.Read(in)
		if err != nil {
			t.Fatalf("read over %s: %v", network, err)
		}
		out = append(out, in[:n])
		if slices.Equal(in[:2], msgs[len(msgs)-1][:2]) {
			return out
		}
	}
}
