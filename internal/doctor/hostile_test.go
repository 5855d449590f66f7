package doctor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// onePort listens on one port over UDP and TCP. One that somebody else has over
// the other of the two is another try.
func onePort(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 20 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if l, err := net.Listen("tcp", pc.LocalAddr().String()); err == nil {
			return pc, l
		}
		pc.Close()
	}
	t.Fatal("no port is free over both UDP and TCP")
	return nil, nil
}

// hostileServer answers as it is told, over UDP and TCP on one port; nil is
// silence.
func hostileServer(t *testing.T, answer func(w dns.ResponseWriter, q *dns.Msg) *dns.Msg) netip.AddrPort {
	t.Helper()
	pc, l := onePort(t)
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		if m := answer(w, q); m != nil {
			_ = w.WriteMsg(m)
		}
	})
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: h}, {Listener: l, Handler: h}} {
		up, done := make(chan struct{}), make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		go func() { defer close(done); _ = s.ActivateAndServe() }()
		<-up
		t.Cleanup(func() { _ = s.Shutdown(); <-done })
	}
	return netip.MustParseAddrPort(pc.LocalAddr().String())
}

// rrs are records as a zone file has them.
func rrs(t *testing.T, lines ...string) []dns.RR {
	t.Helper()
	var out []dns.RR
	for _, l := range lines {
		rr, err := dns.NewRR(l)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rr)
	}
	return out
}

// crowd is a zone with many name servers.
func crowd(t *testing.T, zone string, n int) []dns.RR {
	var lines []string
	for i := range n {
		lines = append(lines, fmt.Sprintf("%s 60 IN NS ns%d.%s", zone, i, zone))
	}
	return rrs(t, lines...)
}

// TestServersWithoutAddressesByTheHundred: a resolver that fails for every one
// of them at once.
func TestServersWithoutAddressesByTheHundred(t *testing.T) {
	many := crowd(t, "example.com.", 300)
	at := hostileServer(t, func(w dns.ResponseWriter, q *dns.Msg) *dns.Msg {
		m := new(dns.Msg).SetReply(q)
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp && q.Question[0].Qtype == dns.TypeNS {
			m.Truncated = true
			return m
		}
		switch {
		case q.Question[0].Qtype == dns.TypeNS && strings.EqualFold(q.Question[0].Name, "example.com."):
			m.Answer = many
		case q.Question[0].Qtype != dns.TypeNS:
			m.Rcode = dns.RcodeServerFailure
		}
		return m
	})
	z := Asker{Resolvers: []netip.AddrPort{at}, Port: at.Port(), Timeout: 20 * time.Second}.SurveyZone(t.Context(), "example.com", nil)
	if len(z.HostErr) != 300 {
		t.Errorf("%d of 300 servers are said to have no address", len(z.HostErr))
	}
}

// TestAParentWithoutEndTakesNoTimeFromTheAuthorities: hundreds of servers above
// the zone, of which no address comes back, and an authority that is well. What
// is well must not be called silent because the time was over.
func TestAParentWithoutEndTakesNoTimeFromTheAuthorities(t *testing.T) {
	above := crowd(t, "com.", 300)
	resolver := hostileServer(t, func(w dns.ResponseWriter, q *dns.Msg) *dns.Msg {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype != dns.TypeNS {
			return nil
		}
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			m.Truncated = true
		} else if strings.EqualFold(q.Question[0].Name, "com.") {
			m.Answer = above
		}
		return m
	})
	soa := rrs(t, "example.com. 30 IN SOA ns1.example.com. root.example.com. 7 60 60 60 30")
	authority := hostileServer(t, func(_ dns.ResponseWriter, q *dns.Msg) *dns.Msg {
		m := new(dns.Msg).SetReply(q)
		m.Authoritative = true
		if q.Question[0].Qtype == dns.TypeSOA {
			m.Answer = soa
		}
		return m
	})
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
	defer cancel()
	z := Asker{Resolvers: []netip.AddrPort{resolver}, Port: resolver.Port(), Timeout: time.Second}.SurveyZone(ctx, "example.com", []netip.AddrPort{authority})
	if ctx.Err() != nil {
		t.Error("all of the time is gone, and the names have not been looked at")
	}
	if len(z.Servers) != 1 || !z.Servers[0].UDP.good() || !z.Servers[0].TCP.good() {
		t.Errorf("the authority is not seen: %+v", z.Servers)
	}
	if len(z.Parents) != 0 || z.ParentErr == "" {
		t.Errorf("the parent: %v, %q", z.Parents, z.ParentErr)
	}
}

// TestAServerThatLiesIsLeftInTime: answers to other questions without end, and
// more bytes than a message has.
func TestAServerThatLiesIsLeftInTime(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			for i := range 200 { // another id, or no message at all
				buf[0] ^= byte(i | 1)
				if _, err := pc.WriteTo(buf[:n-i%2*5], from); err != nil {
					return
				}
			}
		}
	}()
	t.Cleanup(func() { pc.Close(); <-done })
	at := netip.MustParseAddrPort(pc.LocalAddr().String())
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := (Asker{Timeout: 200 * time.Millisecond}).exchange(ctx, at, "udp", "example.com", dns.TypeSOA, false); err == nil || ctx.Err() != nil {
		t.Errorf("%v, %v", err, ctx.Err())
	}
}
