package healthcheck

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// nameServer answers over UDP and TCP on one free port of loopback.
func nameServer(t testing.TB, h dns.HandlerFunc) string {
	t.Helper()
	for {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", pc.LocalAddr().String())
		if err != nil {
			pc.Close()
			continue // somebody else has the port
		}
		for _, s := range []*dns.Server{{PacketConn: pc, Handler: h}, {Listener: l, Handler: h}} {
			up, done := make(chan struct{}), make(chan struct{})
			s.NotifyStartedFunc = func() { close(up) }
			go func() { defer close(done); s.ActivateAndServe() }()
			<-up
			t.Cleanup(func() { s.Shutdown(); <-done })
		}
		return pc.LocalAddr().String()
	}
}

// zone answers as a small server of lab.test would.
func zone(w dns.ResponseWriter, q *dns.Msg) {
	a := new(dns.Msg).SetReply(q)
	add := func(text string) {
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		a.Answer = append(a.Answer, rr)
	}
	_, udp := w.RemoteAddr().(*net.UDPAddr)
	switch x := q.Question[0]; {
	case x.Qclass == dns.ClassCHAOS && x.Name == "id.server.":
		add(`id.server. 0 CH TXT "a"`)
	case x.Name == "who.lab.test.":
		add(`who.lab.test. 0 IN TXT "b"`)
	case x.Name == "two.lab.test.":
		add(`two.lab.test. 0 IN TXT "a"`)
		add(`two.lab.test. 0 IN TXT "b"`)
	case x.Name == "orders.lab.test." && x.Qtype == dns.TypeA:
		add("orders.lab.test. 5 IN A 192.0.2.1")
		add("orders.lab.test. 5 IN A 192.0.2.2")
	case x.Name == "large.lab.test." && udp:
		a.Truncated = true
	case x.Name == "large.lab.test.":
		for i := range 2000 {
			add(fmt.Sprintf("large.lab.test. 5 IN A 10.0.%d.%d", i/250, i%250))
		}
	case x.Name == "refused.lab.test.":
		a.Rcode, a.Question = dns.RcodeRefused, nil
	case x.Name != "orders.lab.test.":
		a.Rcode = dns.RcodeNameError
	}
	w.WriteMsg(a)
}

func TestDNSAnswers(t *testing.T) {
	addr := nameServer(t, zone)
	for name, tc := range map[string]struct {
		check DNSCheck
		says  string // empty: healthy
	}{
		"the clients' name":         {DNSCheck{}, ""},
		"over TCP":                  {DNSCheck{Transport: "tcp"}, ""},
		"a record holds it":         {DNSCheck{Contains: "192.0.2.2"}, ""},
		"no record holds it":        {DNSCheck{Contains: "192.0.2.9"}, `no A record holds "192.0.2.9", got 192.0.2.1, 192.0.2.2`},
		"a record matches":          {DNSCheck{Matches: `^192\.0\.2\.[0-9]$`}, ""},
		"no record matches":         {DNSCheck{Matches: `^10\.`}, `no A record matches "^10\\.", got 192.0.2.1, 192.0.2.2`},
		"NODATA":                    {DNSCheck{Type: "aaaa"}, "no AAAA record in the answer"},
		"NXDOMAIN is the cluster's": {DNSCheck{Name: "gone.lab.test"}, "answered NXDOMAIN, want NOERROR"},
		"NXDOMAIN that is expected": {DNSCheck{Name: "gone.lab.test", Rcode: "nxdomain"}, ""},
		"REFUSED without question":  {DNSCheck{Name: "refused.lab.test"}, "answered REFUSED, want NOERROR"},
		"truncated, then TCP":       {DNSCheck{Name: "LARGE.lab.test", Contains: "10.0.7.249"}, ""},
		"many records":              {DNSCheck{Name: "large.lab.test", Contains: "x"}, `no A record holds "x", got 10.0.0.0, 10.0.0.1, 10.0.0.2 and 1997 more`},
	} {
		t.Run(name, func(t *testing.T) {
			tg := target(DNS, addr)
			tg.Check.DNS = tc.check
			tr, err := probe(t, tg)
			if tc.says == "" && (err != nil || tr.Phase != PhaseDone || !tr.Local.IsValid()) {
				t.Fatalf("got %v in phase %s", err, tr.Phase)
			}
			if tc.says != "" && (err == nil || isOwn(err) || err.Error() != tc.says) {
				t.Fatalf("got %v, want %s", err, tc.says)
			}
		})
	}
}

func TestDNSIdentity(t *testing.T) {
	addr := nameServer(t, zone)
	for txt, says := range map[string]string{
		"id.server": "", "who.lab.test.": "wrong cluster: says b, want a", "two.lab.test": "wrong cluster: says a, b, want a",
		"gone.lab.test": "wrong cluster: no TXT record gone.lab.test. in the answer (NXDOMAIN), want a",
	} {
		tg := target(DNS, addr)
		tg.Check.Identity.TXT, tg.Identity = txt, "a"
		tr, err := probe(t, tg)
		if says == "" && (err != nil || !tr.Identity) {
			t.Errorf("%s: got %v, identity proved %v", txt, err, tr.Identity)
		}
		if says != "" && (!errors.Is(err, ErrWrongCluster) || tr.Identity || err.Error() != says) {
			t.Errorf("%s: got %v, want %s", txt, err, says)
		}
	}
}

// forger sends junk before the answer, or only junk.
func forger(t *testing.T, junk func(q []byte) [][]byte, honest bool) string {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { pc.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, j := range junk(buf[:n]) {
				pc.WriteTo(j, from)
			}
			if honest {
				var q dns.Msg
				if q.Unpack(buf[:n]) == nil {
					a := new(dns.Msg).SetReply(&q)
					a.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, 1)}}
					wire, _ := a.Pack()
					pc.WriteTo(wire, from)
				}
			}
		}
	}()
	return pc.LocalAddr().String()
}

// otherAnswers are what a forger off the path, a late answer or an echo sends.
func otherAnswers(q []byte) [][]byte {
	number := append([]byte(nil), q...)
	binary.BigEndian.PutUint16(number, binary.BigEndian.Uint16(q)+1)
	number[2] |= 0x80
	var m dns.Msg
	m.Unpack(q)
	question := new(dns.Msg).SetReply(&m)
	question.Question[0].Name, question.Rcode = "other.lab.test.", dns.RcodeNameError
	wire, _ := question.Pack()
	return [][]byte{number, wire, q, {}, q[:2], number[:11]}
}

func TestDNSAnswersToOtherQuestionsAreNoMiss(t *testing.T) {
	if _, err := probe(t, target(DNS, forger(t, otherAnswers, true))); err != nil {
		t.Errorf("a forged answer made a miss: %v", err)
	}
	tg := target(DNS, forger(t, otherAnswers, false))
	tg.Timeout = 150 * time.Millisecond
	tr, err := probe(t, tg)
	if err == nil || isOwn(err) || tr.Phase != PhaseRead || !strings.Contains(err.Error(), "no answer within ") || !strings.HasSuffix(err.Error(), "(6 answers to another question were passed over)") {
		t.Errorf("got %v in phase %s", err, tr.Phase)
	}
}

func TestDNSMalformedAnswerIsNamed(t *testing.T) {
	tg := target(DNS, forger(t, func(q []byte) [][]byte {
		bad := append([]byte(nil), q...)
		bad[2] |= 0x80
		bad[6], bad[7] = 0xff, 0xff // says that 65,535 records follow
		return [][]byte{append(bad, 0xc0)}
	}, false))
	_, err := probe(t, tg)
	if err == nil || isOwn(err) || !strings.HasPrefix(err.Error(), "read answer over udp: malformed answer: ") {
		t.Errorf("got %v", err)
	}
}

func TestDNSNumbersAreDrawnAnew(t *testing.T) {
	var seen [4]atomic.Uint32
	var n atomic.Int32
	addr := nameServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		seen[n.Add(1)-1].Store(uint32(q.Id))
		zone(w, q)
	})
	for range seen {
		if _, err := probe(t, target(DNS, addr)); err != nil {
			t.Fatal(err)
		}
	}
	if a := seen[0].Load(); a == seen[1].Load() && a == seen[2].Load() && a == seen[3].Load() {
		t.Errorf("four questions all had the number %d", a)
	}
}

func TestDNSNobodyAnswers(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pc.Close()
	if _, err := probe(t, target(DNS, pc.LocalAddr().String())); err == nil || isOwn(err) || !strings.HasSuffix(err.Error(), "connection refused") {
		t.Errorf("refused: %v", err)
	}
	tg := target(DNS, hangUpper(t))
	tg.Check.DNS.Transport = "tcp"
	if _, err := probe(t, tg); err == nil || isOwn(err) || !closedEarly(err) {
		t.Errorf("accept and close: %v", err)
	}
	tg = target(DNS, listen(t).Addr().String())
	tg.Check.DNS.Transport, tg.Timeout = "tcp", 150*time.Millisecond
	if tr, err := probe(t, tg); err == nil || isOwn(err) || tr.Phase != PhaseRead || !strings.Contains(err.Error(), "no answer within ") {
		t.Errorf("accept and nothing more: %v", err)
	}
}

// A host name of the cluster that does not exist is for our resolver to say,
// and disputed; NXDOMAIN from the cluster is its own word.
func TestDNSOurResolverIsNotTheCluster(t *testing.T) {
	tg := target(DNS, "ns.lab.test:53")
	_, err := probeWith(t, tg, ProbeConfig{Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}})
	if !isOwn(err) || !disputed(err) {
		t.Errorf("got %v", err)
	}
	tg = target(DNS, nameServer(t, zone))
	tg.Check.DNS.Name = "gone.lab.test."
	if _, err := probe(t, tg); err == nil || isOwn(err) || disputed(err) {
		t.Errorf("got %v", err)
	}
}

func TestDNSForbiddenAddressIsNotAsked(t *testing.T) {
	tg := target(DNS, "metadata.lab.test:53")
	_, err := probeWith(t, tg, ProbeConfig{Lookup: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("169.254.169.254")}, nil
	}})
	if !errors.Is(err, ErrForbidden) || !isOwn(err) {
		t.Errorf("got %v", err)
	}
}

// hangUpper accepts and closes at once.
func hangUpper(t testing.TB) string {
	l := listen(t)
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return l.Addr().String()
}

// closedEarly: which of the words depends on how far the close had come.
func closedEarly(err error) bool {
	for _, s := range []string{"connection closed before an answer", "connection closed before HTTP/2 began", "connection reset by peer", "broken pipe", "EOF"} {
		if strings.HasSuffix(err.Error(), s) {
			return true
		}
	}
	return false
}

func FuzzDNSAnswer(f *testing.F) {
	m := &dns.Msg{Question: []dns.Question{{Name: "orders.lab.test.", Qtype: dns.TypeA, Qclass: dns.ClassINET}}}
	m.Id = 7
	good := new(dns.Msg).SetReply(m)
	good.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "orders.lab.test.", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, 1)}}
	wire, _ := good.Pack()
	f.Add(wire)
	f.Add(wire[:20])
	for _, j := range otherAnswers(wire) {
		f.Add(j)
	}
	q := &inquiry{check: DNSCheck{Contains: "192"}.withDefaults(), question: m.Question[0]}
	f.Fuzz(func(t *testing.T, wire []byte) {
		a, err := parseAnswer(wire, m)
		if a == nil {
			return
		}
		if err != nil || a.Id != 7 || !a.Response {
			t.Fatalf("taken: %v, %v", a, err)
		}
		if err := q.judge(a, &Trace{}); err != nil && (isOwn(err) || len(err.Error()) > 4*maxText) {
			t.Fatalf("judged: %v", err)
		}
		if framed, err := readFrame(io.MultiReader(strings.NewReader(string(binary.BigEndian.AppendUint16(nil, uint16(len(wire))))), strings.NewReader(string(wire)))); err != nil || len(framed) != len(wire)%65536 {
			t.Fatalf("frame: %v", err)
		}
	})
}
