package lab

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const testName = "orders.lab.test."

var testHosts = map[string]netip.Addr{"a.lab.test.": netip.MustParseAddr("127.0.1.1"), "b.lab.test.": netip.MustParseAddr("127.0.1.2")}

// authority is a small server whose answers a test chooses; nil is silence.
func authority(t *testing.T, answer func(q *dns.Msg) *dns.Msg) netip.AddrPort {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{})
	var one sync.Mutex // answers leave in the order in which they were made
	srv := &dns.Server{PacketConn: pc, NotifyStartedFunc: func() { close(up) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		one.Lock()
		defer one.Unlock()
		if m := answer(q); m != nil {
			_ = w.WriteMsg(m)
		}
	})}
	done := make(chan error, 1)
	go func() { done <- srv.ActivateAndServe() }()
	<-up
	t.Cleanup(func() {
		_ = srv.Shutdown()
		<-done
	})
	return pc.LocalAddr().(*net.UDPAddr).AddrPort()
}

// says is a proper answer with a target and its address.
func says(q *dns.Msg, target string) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.Authoritative = true
	m.Answer = append(m.Answer, &dns.CNAME{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 5}, Target: target})
	if ip, ok := testHosts[target]; ok && q.Question[0].Qtype == dns.TypeA {
		m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: target, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 5}, A: ip.AsSlice()})
	}
	return m
}

// soonMissing is for servers that do not answer, and patient for those that do,
// however busy the machine is.
const (
	soonMissing = 100 * time.Millisecond
	patient     = 20 * time.Second
)

func startRecorder(t *testing.T, server netip.AddrPort, timeout time.Duration) *Recorder {
	t.Helper()
	r, err := NewRecorder(RecorderConfig{Server: server, Name: testName, Hosts: testHosts, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	running(t, r.Run)
	return r
}

func TestTheRecorderTellsEveryKindOfAnswerApart(t *testing.T) {
	code := func(rcode int) func(*dns.Msg) *dns.Msg {
		return func(q *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(q, rcode) }
	}
	for name, c := range map[string]struct {
		answer func(*dns.Msg) *dns.Msg
		want   AnswerKind
	}{
		"a target": {func(q *dns.Msg) *dns.Msg { return says(q, "A.lab.test.") }, AnswerTarget},
		"empty":    {func(q *dns.Msg) *dns.Msg { return new(dns.Msg).SetReply(q) }, AnswerEmpty},
		"only an address, no CNAME": {func(q *dns.Msg) *dns.Msg {
			m := says(q, "a.lab.test.")
			m.Answer = m.Answer[1:]
			return m
		}, AnswerEmpty},
		"NXDOMAIN": {code(dns.RcodeNameError), AnswerNXDomain},
		"SERVFAIL": {code(dns.RcodeServerFailure), AnswerServfail},
		"REFUSED":  {code(dns.RcodeRefused), AnswerOdd},
		"truncated": {func(q *dns.Msg) *dns.Msg {
			m := says(q, "a.lab.test.")
			m.Truncated = true
			return m
		}, AnswerOdd},
		"two targets": {func(q *dns.Msg) *dns.Msg {
			m := says(q, "a.lab.test.")
			m.Answer = append(m.Answer, says(q, "b.lab.test.").Answer[0])
			return m
		}, AnswerOdd},
		"not authoritative": {func(q *dns.Msg) *dns.Msg {
			m := says(q, "a.lab.test.")
			m.Authoritative = false
			return m
		}, AnswerOdd},
		"the other's address": {func(q *dns.Msg) *dns.Msg {
			m := says(q, "a.lab.test.")
			m.Answer = append(m.Answer[:1], &dns.A{Hdr: dns.RR_Header{Name: "a.lab.test.", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 1, 2)})
			return m
		}, AnswerOdd},
		"silence": {func(*dns.Msg) *dns.Msg { return nil }, AnswerMissing},
	} {
		t.Run(name, func(t *testing.T) {
			timeout := patient
			if c.want == AnswerMissing {
				timeout = soonMissing
			}
			r := startRecorder(t, authority(t, c.answer), timeout)
			var got []Answer
			eventually(t, "ten answers", func() bool {
				more, err := r.Take(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, more...)
				return len(got) >= 10
			})
			for _, a := range got {
				if a.Kind != c.want {
					t.Fatalf("%+v, want %s", a, c.want)
				}
				if a.Kind == AnswerTarget && a.Target != "a.lab.test." {
					t.Errorf("target %q is not in its canonical form", a.Target)
				}
				if (a.Kind == AnswerMissing) != a.Received.IsZero() {
					t.Errorf("%+v: only a missing one has no time of receipt", a)
				}
			}
		})
	}
}

func TestTheRecorderAsksOnWhileNobodyListens(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := pc.LocalAddr().(*net.UDPAddr).AddrPort()
	_ = pc.Close() // from here on the kernel says that there is no such port
	r := startRecorder(t, addr, soonMissing)
	eventually(t, "missing answers are counted", func() bool {
		got, err := r.Take(t.Context())
		return err == nil && len(got) > 0 && got[0].Kind == AnswerMissing
	})
}

func TestUntilSeesTheFirstAnswerWithANewTargetAndTakeLosesNone(t *testing.T) {
	var moved atomic.Bool
	var asked atomic.Int64
	r := startRecorder(t, authority(t, func(q *dns.Msg) *dns.Msg {
		asked.Add(1)
		if moved.Load() {
			return says(q, "b.lab.test.")
		}
		return says(q, "a.lab.test.")
	}), patient)
	is := func(target string) func(Answer) bool { return func(a Answer) bool { return a.Target == target } }
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	if _, err := r.Until(ctx, time.Time{}, is("a.lab.test.")); err != nil {
		t.Fatal(err)
	}
	since := time.Now()
	moved.Store(true)
	a, err := r.Until(ctx, since, is("b.lab.test."))
	if err != nil || a.Received.Before(since) {
		t.Fatalf("%+v, %v", a, err)
	}
	short, stop := context.WithTimeout(ctx, 50*time.Millisecond)
	defer stop()
	if old, err := r.Until(short, a.Received, is("a.lab.test.")); err == nil {
		t.Errorf("an answer from before the time asked for: %+v", old)
	}
	before := asked.Load()
	all, err := r.Take(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if after := asked.Load(); int64(len(all)) < before || int64(len(all)) > after {
		t.Errorf("the server was asked %d times before and %d after, the recorder has %d", before, after, len(all))
	}
	if got := Moves(all); len(got) != 2 || got[0] != "a.lab.test." || got[1] != "b.lab.test." {
		t.Errorf("moves %v", got)
	}
}

func TestTakeLeavesWhatWasAskedLater(t *testing.T) {
	r, err := NewRecorder(RecorderConfig{Name: testName})
	if err != nil {
		t.Fatal(err)
	}
	later := Answer{Asked: time.Now().Add(time.Hour), Kind: AnswerEmpty}
	r.add(Answer{Asked: time.Now(), Kind: AnswerMissing})
	r.add(later)
	if got, err := r.Take(t.Context()); err != nil || len(got) != 1 || got[0].Kind != AnswerMissing {
		t.Errorf("took %+v, %v", got, err)
	}
	if len(r.answers) != 1 || r.answers[0] != later {
		t.Errorf("left %+v", r.answers)
	}
}

func FuzzClassify(f *testing.F) {
	q := new(dns.Msg).SetQuestion(testName, dns.TypeA)
	for _, m := range []*dns.Msg{says(q, "a.lab.test."), new(dns.Msg).SetReply(q), new(dns.Msg).SetRcode(q, dns.RcodeNameError), q} {
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a := classify(b, testName, testHosts, false)
		if (a.Kind == AnswerTarget) != (a.Target != "") || (a.Kind == AnswerOdd) != (a.Note != "") || a.Kind == AnswerMissing || a.Kind == "" {
			t.Errorf("%+v", a)
		}
	})
}
