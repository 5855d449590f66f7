package authority

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// pipe is a connection on which one frame comes in, and whose Close tells that
// everything that the server has to say was said.
type pipe struct {
	net.Conn // nil: nothing else is ever called
	in       *bytes.Reader
	out      bytes.Buffer
	closed   chan struct{}
	once     sync.Once
}

func (p *pipe) Read(b []byte) (int, error)      { return p.in.Read(b) }
func (p *pipe) Write(b []byte) (int, error)     { return p.out.Write(b) }
func (p *pipe) RemoteAddr() net.Addr            { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5353} }
func (p *pipe) SetReadDeadline(time.Time) error { return nil }
func (p *pipe) Close() error                    { p.once.Do(func() { close(p.closed) }); return nil }

// pipeListener hands out pipes.
type pipeListener struct {
	next chan net.Conn
	done chan struct{}
	once sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.next:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// tidied does what the connections of a real listener do on writing.
type tidied struct{ *pipe }

func (c tidied) Write(frame []byte) (int, error) {
	tidy(frame[2:])
	return c.pipe.Write(frame)
}

// pipes runs messages through the whole of miekg/dns and our handlers without
// sockets, so that "no answer" is known at once.
type pipes struct {
	s    *Server
	over [transports]*pipeListener
}

func newPipes(t testing.TB, s *Server) *pipes {
	t.Helper()
	p := &pipes{s: s}
	for over := range transports {
		l := &pipeListener{next: make(chan net.Conn), done: make(chan struct{})}
		p.over[over] = l
		h := &handler{s: s, over: over}
		d := h.server(func(d *dns.Server) {
			d.Listener = l
			d.DecorateReader = func(dns.Reader) dns.Reader { return tcpReader{s} }
		})
		var ended sync.WaitGroup
		started := make(chan struct{})
		d.NotifyStartedFunc = func() { close(started) }
		ended.Go(func() {
			if err := d.ActivateAndServe(); err != nil {
				t.Errorf("serve: %v", err)
			}
		})
		<-started
		t.Cleanup(func() {
			if err := d.ShutdownContext(context.Background()); err != nil {
				t.Error(err)
			}
			ended.Wait()
		})
	}
	return p
}

// exchange returns the answer to a message, or nil when there was none.
func (p *pipes) exchange(t testing.TB, over transport, msg []byte) []byte {
	t.Helper()
	if len(msg) > queryOctets {
		msg = msg[:queryOctets]
	}
	frame := append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
	c := &pipe{in: bytes.NewReader(frame), closed: make(chan struct{})}
	p.over[over].next <- tidied{c}
	<-c.closed
	out := c.out.Bytes()
	if len(out) == 0 {
		return nil
	}
	if n := int(binary.BigEndian.Uint16(out)); len(out) != n+2 {
		t.Fatalf("the answer is no single frame: %d octets of length, %d in all", n, len(out))
	}
	return out[2:]
}

// compare checks one query against the plain server over both transports.
func (p *pipes) compare(t testing.TB, oracle *plain, msg []byte) {
	t.Helper()
	r := new(dns.Msg)
	if err := r.Unpack(msg); err != nil {
		return
	}
	dh := dns.Header{Id: r.Id, Bits: binary.BigEndian.Uint16(msg[2:]), Qdcount: binary.BigEndian.Uint16(msg[4:]), Ancount: binary.BigEndian.Uint16(msg[6:]), Nscount: binary.BigEndian.Uint16(msg[8:]), Arcount: binary.BigEndian.Uint16(msg[10:])}
	if dns.DefaultMsgAcceptFunc(dh) != dns.MsgAccept || r.Opcode != dns.OpcodeQuery || dh.Ancount > 0 {
		return
	}
	if slices.ContainsFunc(r.Extra, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeTSIG }) {
		return // the plain server knows no keys
	}
	for over := range transports {
		wire := p.exchange(t, over, msg)
		got := new(dns.Msg)
		if err := got.Unpack(wire); err != nil {
			t.Fatalf("over %s: answer %x to %x: %v", over, wire, msg, err)
		}
		if len(got.Question) > 0 && got.Question[0].Name != r.Question[0].Name {
			t.Fatalf("over %s: asked %q, echoed %q", over, r.Question[0].Name, got.Question[0].Name)
		}
		plainWire, err := oracle.reply(r, over).Pack()
		if err != nil {
			t.Fatal(err)
		}
		want := new(dns.Msg)
		if err := want.Unpack(plainWire); err != nil {
			t.Fatal(err)
		}
		blank(got)
		if g, w := meaning(got), meaning(want); g != w {
			t.Fatalf("over %s, asked\n%v\ngot\n%s\nwant\n%s", over, r, g, w)
		}
	}
}

// seeds are queries of every shape, and some that are broken.
func seeds(f *testing.F) [][]byte {
	f.Helper()
	var out [][]byte
	add := func(m *dns.Msg) {
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		out = append(out, wire)
	}
	for _, name := range []string{"orders.lab.test.", "OrDeRs.lab.test.", "vpc.orders.lab.test.", "chain.lab.test.", "fresh.lab.test.", "none.lab.test.", "down.lab.test.", "lab.test.", "_pointsman.orders.lab.test.", "many.lab.test.", "example.org.", "."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeCNAME, dns.TypeTXT, dns.TypeSOA, dns.TypeNS, dns.TypeANY, dns.TypeAXFR} {
			add(question(name, qtype))
		}
		add(question(name, dns.TypeA).SetEdns0(1232, true))
	}
	badVersion := question("orders.lab.test.", dns.TypeA).SetEdns0(4096, false)
	badVersion.IsEdns0().SetVersion(3)
	add(badVersion)
	twice := question("orders.lab.test.", dns.TypeA).SetEdns0(4096, false)
	twice.Extra = append(twice.Extra, twice.Extra[0])
	add(twice)
	cookie := question("orders.lab.test.", dns.TypeA).SetEdns0(4096, false)
	cookie.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677"}, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte{1, 2, 3}}}
	add(cookie)
	for _, c := range []string{"", "00", "00112233445566", "001122334455667788", strings.Repeat("01", 15), strings.Repeat("01", 16), strings.Repeat("01", 24), strings.Repeat("01", 40), strings.Repeat("01", 41)} {
		cookie := question("orders.lab.test.", dns.TypeA).SetEdns0(4096, false)
		cookie.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: c}, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0011223344556677"}}
		add(cookie)
	}
	unchecked := question("orders.lab.test.", dns.TypeA)
	unchecked.CheckingDisabled, unchecked.RecursionDesired = true, true
	add(unchecked)
	chaos := question("version.bind.", dns.TypeTXT)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	add(chaos)
	signed := question("orders.lab.test.", dns.TypeA)
	signed.SetTsig("ctl.", dns.HmacSHA256, 300, 1)
	signed.Extra[0].(*dns.TSIG).MAC, signed.Extra[0].(*dns.TSIG).MACSize = strings.Repeat("00", 32), 32
	add(signed)
	for opcode := range 16 {
		for _, section := range []string{"answer", "authority", "additional"} {
			m := question("lab.test.", dns.TypeSOA)
			m.Opcode = opcode
			rrs := []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "lab.test.", Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: ".", Mbox: ".", Serial: 1}}
			switch section {
			case "answer":
				m.Answer = rrs
			case "authority":
				m.Ns = rrs
			default:
				m.Extra = rrs
			}
			add(m)
		}
	}
	add(new(dns.Msg).SetUpdate("lab.test."))
	add(new(dns.Msg).SetNotify("lab.test."))
	add(new(dns.Msg).SetIxfr("lab.test.", 1, "ns1.lab.test.", "hostmaster.lab.test."))
	good := out[0]
	response := slices.Clone(good)
	response[2] |= 0x80
	loop := slices.Concat(good[:12], []byte{0xC0, 0x0C, 0, 1, 0, 1})
	lying := slices.Clone(good)
	lying[11] = 2
	noQuestion := slices.Clone(good[:12])
	flags := slices.Clone(lying[:len(lying)-3])
	flags[2], flags[3] = 0x07, 0xFF
	out = append(out, response, loop, lying, noQuestion, flags, good[:13], good[:11], nil, bytes.Repeat([]byte{0xFF}, 40))
	for i := range good {
		out = append(out, good[:i])
	}
	return out
}

// FuzzPacket: whatever comes in, an answer is never sent to an answer, always
// parses, fits, says nothing that is never true, and never denies or empties
// a published name.
func FuzzPacket(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	p := newPipes(f, newLab(f))
	f.Fuzz(func(t *testing.T, in []byte) {
		for over := range transports {
			checkAnswer(t, over, in, p.exchange(t, over, in))
		}
		if n := p.s.stats.panics.Load(); n > 0 {
			t.Fatalf("%d panics, now at %x", n, in)
		}
	})
}

func checkAnswer(t *testing.T, over transport, in, out []byte) {
	t.Helper()
	if len(in) < headerLen || in[2]&0x80 != 0 {
		if out != nil {
			t.Fatalf("answered %x with %x", in, out)
		}
		return
	}
	if out == nil {
		t.Fatalf("no answer to %x", in)
	}
	m := new(dns.Msg)
	if err := m.Unpack(out); err != nil {
		t.Fatalf("answer %x to %x: %v", out, in, err)
	}
	limit := over.limit()
	if over == overUDP {
		limit = ednsLimit // the exact bound is compared with the plain server
	}
	switch {
	case !m.Response, m.Id != binary.BigEndian.Uint16(in), m.RecursionAvailable, m.Zero, m.AuthenticatedData, len(out) > limit:
		t.Fatalf("answer of %d octets to %x:\n%v", len(out), in, m)
	case m.Opcode != int(in[2]>>3)&0xF:
		t.Fatalf("opcode %d answered with %d", int(in[2]>>3)&0xF, m.Opcode)
	case m.Rcode == dns.RcodeFormatError && m.Truncated:
		t.Fatalf("TC on a format error to %x", in)
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError && m.Authoritative:
		t.Fatalf("AA on %s to %x", rcodeName(m.Rcode), in)
	}
	if m.Opcode != dns.OpcodeQuery { // nothing is taken from anybody, and nothing is told beside that
		want := dns.RcodeNotImplemented
		if m.Opcode == dns.OpcodeNotify {
			want = dns.RcodeRefused
		}
		if m.Rcode != want || len(m.Answer)+len(m.Ns)+len(m.Extra) > 0 {
			t.Fatalf("opcode %d answered\n%v\nto %x", m.Opcode, m, in)
		}
	}
	if len(m.Question) == 1 && m.Question[0].Qclass == dns.ClassINET && strings.EqualFold(m.Question[0].Name, "vpc.orders.lab.test.") {
		switch {
		case m.Rcode == dns.RcodeNameError || m.Rcode == dns.RcodeServerFailure:
			t.Fatalf("a published name was denied, asked %x:\n%v", in, m)
		case m.Rcode == dns.RcodeSuccess && !m.Truncated && (len(m.Answer) != 1 || m.Answer[0].(*dns.CNAME).Target != "a.cloud.example."):
			t.Fatalf("a published name does not show its value, asked %x:\n%v", in, m)
		}
	}
}

// FuzzSameAsPlain: the packed answers mean what the plain server says.
func FuzzSameAsPlain(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	p, oracle := newPipes(f, newLab(f)), newPlain(labConfig(), labCommitted())
	f.Fuzz(func(t *testing.T, in []byte) { p.compare(t, oracle, in) })
}
