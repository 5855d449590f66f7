package authority

import (
	"encoding/base64"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

const (
	goodKey  = "xfr.lab.test."
	otherKey = "other.lab.test."
)

func secretOf(t testing.TB, text string) (Secret, string) {
	t.Helper()
	b64 := base64.StdEncoding.EncodeToString([]byte(text))
	s, err := ParseSecret(b64)
	if err != nil {
		t.Fatal(err)
	}
	return s, b64
}

var (
	goodText  = "a secret of thirty-two octets !!"
	otherText = "another one of thirty-two octets"
)

// transferConfig has whole zones only, and two keys of which one has a right.
func transferConfig(t testing.TB) Config {
	c := labConfig()
	c.Zones[0].Names = []failover.RecordName{"orders.lab.test.", "vpc.orders.lab.test.", "x.deep.down.lab.test.", "chain.lab.test."}
	c.Zones[0].Targets = nil
	good, _ := secretOf(t, goodText)
	other, _ := secretOf(t, otherText)
	c.Keys = []Key{
		{Name: goodKey, Algorithm: "hmac-sha256.", Secret: good},
		{Name: otherKey, Algorithm: "hmac-sha512.", Secret: other},
	}
	c.Zones[0].TransferKeys = []failover.RecordName{goodKey}
	return c
}

func newTransferLab(t testing.TB, c Config) *Server {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(t.Context(), labCommitted()); err != nil {
		t.Fatal(err)
	}
	return s
}

// fetch transfers a zone as a secondary does, by miekg/dns, which checks every
// signature in the chain.
func fetch(t testing.TB, addr string, m *dns.Msg, secrets map[string]string) ([]dns.RR, error) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tr := &dns.Transfer{Conn: &dns.Conn{Conn: conn}, TsigSecret: secrets}
	env, err := tr.In(m, addr)
	if err != nil {
		return nil, err
	}
	var out []dns.RR
	for e := range env {
		if e.Error != nil {
			return out, e.Error
		}
		out = append(out, e.RR...)
	}
	return out, nil
}

func axfr(zone string) *dns.Msg { return new(dns.Msg).SetAxfr(zone) }

func signedBy(m *dns.Msg, key, algorithm string, at int64) *dns.Msg {
	return m.SetTsig(key, algorithm, 300, at)
}

func texts(rrs []dns.RR) []string {
	var out []string
	for _, rr := range rrs {
		out = append(out, rr.String())
	}
	return out
}

func TestAZoneIsHandedToTheHolderOfItsKey(t *testing.T) {
	s := newTransferLab(t, transferConfig(t))
	addr := run(t, s)
	_, b64 := secretOf(t, goodText)
	m := signedBy(axfr("lab.test."), goodKey, dns.HmacSHA256, s.clock().Unix())
	rrs, err := fetch(t, addr, m, map[string]string{goodKey: b64})
	if err != nil {
		t.Fatal(err)
	}
	got := texts(rrs)
	if len(got) < 3 || got[0] != got[len(got)-1] || rrs[0].Header().Rrtype != dns.TypeSOA {
		t.Fatalf("no SOA first and last: %v", got)
	}
	// Everything that the zone answers is in it, and nothing else: asked one
	// by one over the same socket.
	for _, rr := range rrs[:len(rrs)-1] {
		h := rr.Header()
		r := ask(t, "tcp", addr, question(h.Name, h.Rrtype))
		if !slices.Contains(texts(r.Answer), rr.String()) {
			t.Errorf("%s is in the transfer and not in the answer %v", rr, r.Answer)
		}
	}
	want := 1 + 2 + 2 + 1 + 2 + 1 + 60 + 2*4 + 1
	if len(rrs) != want {
		t.Errorf("%d records, want %d:\n%v", len(rrs), want, got)
	}
	until(t, "the count of the transfer", func() bool { return s.Stats().Transfers["full"] == 1 })
}

func TestASecondaryIsToldAndItsAckIsShown(t *testing.T) {
	told := make(chan *dns.Msg, 16)
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serial := uint32(firstSerial)
	sec := &dns.Server{PacketConn: pc, MsgAcceptFunc: func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		r := new(dns.Msg).SetReply(m)
		r.Authoritative = true
		if m.Opcode == dns.OpcodeNotify {
			told <- m
		} else {
			r.Answer = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "lab.test.", Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: ".", Mbox: ".", Serial: serial}}
		}
		_ = w.WriteMsg(r)
	})}
	up := make(chan struct{})
	sec.NotifyStartedFunc = func() { close(up) }
	ended := make(chan error, 1)
	go func() { ended <- sec.ActivateAndServe() }()
	<-up
	t.Cleanup(func() { _ = sec.Shutdown(); <-ended })
	c := transferConfig(t)
	c.Zones[0].Secondaries = []Secondary{{Address: netip.MustParseAddrPort(pc.LocalAddr().String())}}
	s := newTransferLab(t, c)
	run(t, s)
	m := <-told
	if soa, ok := m.Answer[0].(*dns.SOA); !ok || soa.Serial != firstSerial || m.Question[0].Name != "lab.test." {
		t.Errorf("told %v", m)
	}
	until(t, "ack and serial", func() bool {
		st := s.Stats().Secondaries
		return len(st) == 1 && st[0].Acked == firstSerial && st[0].Serves == firstSerial && st[0].Well(0)
	})
}
