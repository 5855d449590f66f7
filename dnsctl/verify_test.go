package dnsctl

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

// authority is a DNS server of the library on UDP and TCP at one port.
func authority(t testing.TB, h dns.HandlerFunc) netip.AddrPort {
	t.Helper()
	for range 20 {
		u, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", u.LocalAddr().String())
		if err != nil {
			u.Close()
			continue
		}
		servers := []*dns.Server{{PacketConn: u, Handler: h}, {Listener: l, Handler: h}}
		var up, down sync.WaitGroup
		for _, s := range servers {
			up.Add(1)
			s.NotifyStartedFunc = up.Done
			down.Go(func() {
				if err := s.ActivateAndServe(); err != nil {
					t.Error(err)
				}
			})
		}
		up.Wait()
		t.Cleanup(func() {
			for _, s := range servers {
				if err := s.Shutdown(); err != nil {
					t.Error(err)
				}
			}
			down.Wait()
		})
		return netip.MustParseAddrPort(u.LocalAddr().String())
	}
	t.Fatal("no port is free for both UDP and TCP")
	return netip.AddrPort{}
}

// shows answers with these records, authoritatively, after edit.
func shows(t testing.TB, edit func(dns.ResponseWriter, *dns.Msg), records ...string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		r := new(dns.Msg)
		r.SetReply(q)
		r.Authoritative = true
		for _, s := range records {
			rec, err := dns.NewRR(s)
			if err != nil {
				t.Error(err)
				return
			}
			r.Answer = append(r.Answer, rec)
		}
		if edit != nil {
			edit(w, r)
		}
		_ = w.WriteMsg(r) // the asker may be gone
	}
}

const showsB = "orders.lab.test. 30 IN CNAME B.lab.test."

func verifyOrders(ctx context.Context, c VerifyConfig, at ...netip.AddrPort) failover.NameAgreement {
	return Verify(ctx, []VerifyName{{Name: orders, Want: targetB, Authorities: at}}, c)[orders]
}

func onUDP(w dns.ResponseWriter) bool { return w.LocalAddr().Network() == "udp" }

func TestVerifyWantsExactlyTheValueFromEveryAddressOverBothTransports(t *testing.T) {
	good := authority(t, shows(t, nil, showsB))
	for name, tc := range map[string]struct {
		h       dns.HandlerFunc
		dissent []string // what each pair of the bad server says; empty agrees
	}{
		"another value":      {shows(t, nil, "orders.lab.test. 60 IN CNAME a.lab.test."), []string{"udp: a.lab.test. (wanted b.lab.test.)", "tcp: a.lab.test. (wanted b.lab.test.)"}},
		"nothing":            {shows(t, nil), []string{"udp: no CNAME", "tcp: no CNAME"}},
		"NXDOMAIN":           {shows(t, func(_ dns.ResponseWriter, r *dns.Msg) { r.Rcode = dns.RcodeNameError }), []string{"udp: NXDOMAIN", "tcp: NXDOMAIN"}},
		"SERVFAIL":           {shows(t, func(_ dns.ResponseWriter, r *dns.Msg) { r.Rcode = dns.RcodeServerFailure }), []string{"SERVFAIL", "SERVFAIL"}},
		"REFUSED":            {shows(t, func(_ dns.ResponseWriter, r *dns.Msg) { r.Rcode = dns.RcodeRefused }), []string{"REFUSED", "REFUSED"}},
		"not authoritative":  {shows(t, func(_ dns.ResponseWriter, r *dns.Msg) { r.Authoritative = false }, showsB), []string{"not authoritative", "not authoritative"}},
		"several":            {shows(t, nil, showsB, "orders.lab.test. 30 IN CNAME a.lab.test."), []string{"more than one", "more than one"}},
		"something beside":   {shows(t, nil, showsB, "orders.lab.test. 30 IN A 192.0.2.1"), []string{"b.lab.test. and A 192.0.2.1", "b.lab.test. and A"}},
		"an address instead": {shows(t, nil, "orders.lab.test. 30 IN A 192.0.2.1"), []string{"no CNAME", "no CNAME"}},
		"truncated over UDP": {shows(t, func(w dns.ResponseWriter, r *dns.Msg) { r.Truncated = onUDP(w) }, showsB), []string{"udp: malformed answer: it is truncated"}},
		"old over TCP only": {func(w dns.ResponseWriter, q *dns.Msg) {
			if onUDP(w) {
				shows(t, nil, showsB)(w, q)
			} else {
				shows(t, nil, "orders.lab.test. 30 IN CNAME a.lab.test.")(w, q)
			}
		}, []string{"tcp: a.lab.test."}},
		"silent over UDP": {func(w dns.ResponseWriter, q *dns.Msg) {
			if !onUDP(w) {
				shows(t, nil, showsB)(w, q)
			}
		}, []string{"udp: no answer in time"}},
		"the same, its target followed": {shows(t, nil, showsB, "b.lab.test. 30 IN A 192.0.2.2"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			bad := authority(t, tc.h)
			patient := VerifyConfig{Timeout: 20 * time.Second}
			if strings.HasPrefix(name, "silent") {
				patient.Timeout = 2 * time.Second // it is waited out
			}
			got := verifyOrders(t.Context(), patient, good, bad)
			if got.Asked != 4 || got.Agreeing != 4-len(tc.dissent) || got.Agree != (len(tc.dissent) == 0) || len(got.Dissent) != len(tc.dissent) {
				t.Fatalf("%+v", got)
			}
			for i, want := range tc.dissent {
				if d := got.Dissent[i]; !strings.HasPrefix(d, bad.String()+" ") || !strings.Contains(d, want) {
					t.Errorf("dissent %q, want %q", d, want)
				}
			}
			if got.Wanted != targetB || got.LastAgree.Before(got.AskedAt) || got.MaxTTL < 30 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestVerifyFollowsABareTCToTCP: a server that limits its answers over UDP,
// for us or for whoever forges our address, holds no move up; what it says over
// TCP decides, and a cut answer with something in it, or with a denial, is none.
func TestVerifyFollowsABareTCToTCP(t *testing.T) {
	showsA := "orders.lab.test. 30 IN CNAME a.lab.test."
	cut := func(rcode int, overTCP, overUDP []string) dns.HandlerFunc {
		return func(w dns.ResponseWriter, q *dns.Msg) {
			if !onUDP(w) {
				shows(t, nil, overTCP...)(w, q)
				return
			}
			shows(t, func(_ dns.ResponseWriter, r *dns.Msg) { r.Truncated, r.Authoritative, r.Rcode = true, false, rcode }, overUDP...)(w, q)
		}
	}
	for what, tc := range map[string]struct {
		h     dns.HandlerFunc
		agree int
	}{
		"bare, and TCP agrees":           {cut(dns.RcodeSuccess, []string{showsB}, nil), 2},
		"bare, and TCP does not":         {cut(dns.RcodeSuccess, []string{showsA}, nil), 0},
		"with the old value":             {cut(dns.RcodeSuccess, []string{showsB}, []string{showsA}), 1},
		"with a denial":                  {cut(dns.RcodeNameError, []string{showsB}, nil), 1},
		"bare, and TCP has no such name": {cut(dns.RcodeSuccess, nil, nil), 0},
	} {
		a := verifyOrders(t.Context(), VerifyConfig{}, authority(t, tc.h))
		if a.Asked != 2 || a.Agreeing != tc.agree || a.Agree != (tc.agree == 2) || len(a.Dissent) != 2-tc.agree {
			t.Errorf("%s: %+v", what, a)
		}
	}
}

func TestVerifyAsksWithoutRecursionWithEDNSAndAFreshIDAndPort(t *testing.T) {
	var mu sync.Mutex
	ids, ports := map[uint16]bool{}, map[string]bool{}
	bad := ""
	at := authority(t, func(w dns.ResponseWriter, q *dns.Msg) {
		mu.Lock()
		ids[q.Id] = true
		ports[w.RemoteAddr().Network()+w.RemoteAddr().String()] = true
		if o := q.IsEdns0(); q.RecursionDesired || o == nil || o.UDPSize() != udpSize || q.Question[0].Qtype != dns.TypeCNAME {
			bad = q.String()
		}
		mu.Unlock()
		shows(t, nil, showsB)(w, q)
	})
	for range 10 {
		if got := verifyOrders(t.Context(), VerifyConfig{}, at); !got.Agree {
			t.Fatalf("%+v", got)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	// Twenty ids out of 65536 may coincide, but not many of them.
	if len(ids) < 17 || len(ports) < 15 {
		t.Errorf("%d ids, %d ports in 20 questions", len(ids), len(ports))
	}
	if bad != "" {
		t.Errorf("asked %s", bad)
	}
}

// TestVerifyAsksResolversAsTheirClientsDo: with recursion, and what they say
// counts although no authority says it. A server that recurses for nobody, or not
// for us, is no resolver.
func TestVerifyAsksResolversAsTheirClientsDo(t *testing.T) {
	resolver := func(recurses bool, records ...string) netip.AddrPort {
		return authority(t, func(w dns.ResponseWriter, q *dns.Msg) {
			shows(t, func(_ dns.ResponseWriter, r *dns.Msg) {
				r.Authoritative, r.RecursionAvailable = false, recurses
				if !q.RecursionDesired {
					r.Answer = nil
				}
			}, records...)(w, q)
		})
	}
	for name, tc := range map[string]struct {
		at      netip.AddrPort
		dissent string
	}{
		"as wanted":        {resolver(true, showsB), ""},
		"another value":    {resolver(true, "orders.lab.test. 5 IN CNAME a.lab.test."), "a.lab.test. (wanted b.lab.test.)"},
		"the vendor's own": {resolver(true, "orders.lab.test. 5 IN A 192.0.2.1"), "no CNAME: does this resolver apply the zone, and to us?"},
		"no recursion":     {resolver(false, showsB), "not authoritative"},
	} {
		got := Verify(t.Context(), []VerifyName{{Name: orders, Want: targetB, Authorities: []netip.AddrPort{tc.at}, Resolvers: true}}, VerifyConfig{})[orders]
		if got.Agree != (tc.dissent == "") || got.Asked != 2 {
			t.Errorf("%s: %+v", name, got)
		}
		for _, d := range got.Dissent {
			if !strings.Contains(d, tc.dissent) {
				t.Errorf("%s: %q, want %q", name, d, tc.dissent)
			}
		}
	}
}

func TestVerifyIgnoresWhatAGuesserSends(t *testing.T) {
	at := authority(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if onUDP(w) {
			wrong := func(edit func(*dns.Msg)) {
				shows(t, func(_ dns.ResponseWriter, r *dns.Msg) { edit(r) }, "orders.lab.test. 30 IN CNAME evil.test.")(w, q)
			}
			wrong(func(r *dns.Msg) { r.Id++ })
			wrong(func(r *dns.Msg) { r.Question[0].Name = "evil.test." })
			wrong(func(r *dns.Msg) { r.Response = false })
			_, _ = w.Write([]byte("x"))
			_, _ = w.Write(make([]byte, 12))
		}
		shows(t, func(_ dns.ResponseWriter, r *dns.Msg) {
			r.Question = []dns.Question{{Name: string(orders), Qtype: dns.TypeCNAME, Qclass: dns.ClassINET}}
		}, showsB)(w, q)
	})
	if got := verifyOrders(t.Context(), VerifyConfig{}, at); !got.Agree {
		t.Errorf("%+v", got)
	}
}

func TestVerifyAsksAgainWhenAPacketIsLost(t *testing.T) {
	var lost atomic.Bool
	at := authority(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if onUDP(w) && lost.CompareAndSwap(false, true) {
			return
		}
		shows(t, nil, showsB)(w, q)
	})
	if got := verifyOrders(t.Context(), VerifyConfig{Timeout: 4 * time.Second}, at); !got.Agree {
		t.Errorf("%+v", got)
	}
}

func TestVerifyKeepsToItsConcurrencyAndItsTime(t *testing.T) {
	var now, most atomic.Int64
	var once sync.Once
	full, release := make(chan struct{}), make(chan struct{})
	at := authority(t, func(w dns.ResponseWriter, q *dns.Msg) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == 3 {
			once.Do(func() { close(full) })
		}
		<-release
		now.Add(-1)
		shows(t, func(_ dns.ResponseWriter, r *dns.Msg) {
			r.Answer = []dns.RR{&dns.CNAME{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 5}, Target: string(targetB)}}
		})(w, q)
	})
	// Once three are in, a fourth gets a moment to show itself.
	var g sync.WaitGroup
	defer g.Wait()
	g.Go(func() {
		<-full
		time.Sleep(100 * time.Millisecond)
		close(release)
	})
	var names []VerifyName
	for _, c := range "abcdefghij" {
		names = append(names, VerifyName{Name: failover.RecordName(string(c) + ".lab.test."), Want: targetB, Authorities: []netip.AddrPort{at}})
	}
	for n, a := range Verify(t.Context(), names, VerifyConfig{Concurrency: 3, Timeout: 5 * time.Second}) {
		if !a.Agree || a.Asked != 2 || a.MaxTTL != 5 {
			t.Errorf("%s: %+v", n, a)
		}
	}
	if most.Load() != 3 {
		t.Errorf("%d questions at once", most.Load())
	}
}

func TestVerifyWithoutAnAuthorityDoesNotAgree(t *testing.T) {
	got := verifyOrders(t.Context(), VerifyConfig{})
	if got.Agree || got.Asked != 0 || len(got.Dissent) != 1 || got.Wanted != targetB {
		t.Errorf("%+v", got)
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	at := authority(t, func(dns.ResponseWriter, *dns.Msg) { cancel() })
	start := time.Now()
	got := verifyOrders(ctx, VerifyConfig{Timeout: 30 * time.Second}, at)
	if got.Agree || got.Asked != 2 || len(got.Dissent) != 2 {
		t.Errorf("%+v", got)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestVerifySaysWhenNobodyListens(t *testing.T) {
	got := verifyOrders(t.Context(), VerifyConfig{Timeout: 20 * time.Second}, netip.MustParseAddrPort(nobody(t)))
	if got.Agree || len(got.Dissent) != 2 || !strings.Contains(got.Dissent[1], "refused") {
		t.Errorf("%+v", got)
	}
}
