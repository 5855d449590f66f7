package authority

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

// follower is a secondary that does what the test says: how it answers NOTIFY,
// and which serial it serves.
type follower struct {
	addr netip.AddrPort

	mu     sync.Mutex
	told   int // NOTIFY that it heard
	rcode  int // its answer to NOTIFY
	serial func(told int) uint32
}

func startFollower(t *testing.T, rcode int, serial func(told int) uint32) *follower {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{addr: netip.MustParseAddrPort(pc.LocalAddr().String()), rcode: rcode, serial: serial}
	up, ended := make(chan struct{}), make(chan error, 1)
	sec := &dns.Server{
		PacketConn: pc, Handler: f, NotifyStartedFunc: func() { close(up) },
		MsgAcceptFunc: func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept },
	}
	go func() { ended <- sec.ActivateAndServe() }()
	<-up
	t.Cleanup(func() { _ = sec.Shutdown(); <-ended })
	return f
}

func (f *follower) ServeDNS(w dns.ResponseWriter, m *dns.Msg) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := new(dns.Msg).SetReply(m)
	r.Authoritative = true
	if m.Opcode == dns.OpcodeNotify {
		f.told++
		r.Rcode = f.rcode
	} else {
		r.Answer = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "lab.test.", Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: ".", Mbox: ".", Serial: f.serial(f.told)}}
	}
	_ = w.WriteMsg(r)
}

func (f *follower) heard() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.told
}

// withFollower is a server with one secondary, and what it knows of it.
func withFollower(t *testing.T, at netip.AddrPort, change func(*Secondary)) (*Server, func() SecondaryStats) {
	t.Helper()
	c := transferConfig(t)
	c.Zones[0].Secondaries = []Secondary{{Address: at}}
	if change != nil {
		change(&c.Zones[0].Secondaries[0])
	}
	quick := usualPace
	quick.gap, quick.first, quick.lookSoon, quick.lookLate = 10*time.Millisecond, 50*time.Millisecond, 10*time.Millisecond, 20*time.Millisecond
	c.pace = &quick
	s := newTransferLab(t, c)
	run(t, s)
	return s, func() SecondaryStats {
		all := s.Secondaries()
		if len(all) != 1 {
			t.Fatalf("%d secondaries", len(all))
		}
		return all[0]
	}
}

func always(serial uint32) func(int) uint32 { return func(int) uint32 { return serial } }

func TestOneThatAcknowledgedAndDidNotFetchIsToldAgain(t *testing.T) {
	f := startFollower(t, dns.RcodeSuccess, func(told int) uint32 {
		if told < 3 {
			return firstSerial - 1
		}
		return firstSerial
	})
	_, now := withFollower(t, f.addr, nil)
	until(t, "the serial", func() bool { st := now(); return st.Serves == firstSerial && st.Well(0) })
	if n := f.heard(); n != 3 {
		t.Errorf("it was told %d times, want 3: twice in vain, and not after it followed", n)
	}
}

func TestTheStateOfASecondaryIsSaidInWords(t *testing.T) {
	for name, c := range map[string]struct {
		serial uint32
		rcode  int
		change func(*Secondary)
		says   string // "since …" left out
		well   bool
	}{
		"healthy":       {firstSerial, dns.RcodeSuccess, nil, "acknowledged 1700000000 and serves it", true},
		"lags":          {firstSerial - 2, dns.RcodeSuccess, nil, "acknowledged 1700000000, serves an older serial 1699999998", false},
		"wrong primary": {firstSerial - 2, dns.RcodeRefused, nil, "does not acknowledge NOTIFY: it says REFUSED: does it know this server as a primary of lab.test.?; serves an older serial 1699999998", false},
		"polls":         {firstSerial, dns.RcodeRefused, nil, "does not acknowledge NOTIFY: it says REFUSED: does it know this server as a primary of lab.test.?; serves 1700000000", false},
		"ahead":         {firstSerial + 1, dns.RcodeSuccess, nil, "acknowledged 1700000000, serves 1700000001, which is later than ours: was the ledger restored from a backup? Make it fetch the zone anew", false},
		"is not told":   {firstSerial, dns.RcodeSuccess, func(s *Secondary) { s.Silent = true }, "serves 1700000000", true},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFollower(t, c.rcode, always(c.serial))
			_, now := withFollower(t, f.addr, c.change)
			var st SecondaryStats
			defer func() {
				if t.Failed() {
					t.Logf("it says %q: %+v", st.Verdict(), st)
				}
			}()
			until(t, c.says, func() bool {
				st = now()
				said, since := st.Verdict(), " since "+st.SilentSince.UTC().Format(time.RFC3339)
				return strings.Replace(said, since, "", 1) == c.says && st.Well(time.Millisecond) == c.well
			})
			if c.well && (!st.Notify) != st.SentAt.IsZero() {
				t.Errorf("sent at %s", st.SentAt)
			}
		})
	}
}

func TestASecondaryThatIsGoneIsSaidToBeRefusedSinceThen(t *testing.T) {
	before := time.Now()
	_, now := withFollower(t, netip.MustParseAddrPort("127.0.0.1:1"), nil)
	var first time.Time
	until(t, "the refusal", func() bool { st := now(); first = st.SilentSince; return !first.IsZero() })
	until(t, "another try", func() bool { st := now(); return st.SentAt.After(first) && st.LookErr != "" })
	st := now()
	want := "does not acknowledge NOTIFY since " + first.UTC().Format(time.RFC3339) + ": connection refused, over UDP and TCP; was never heard: connection refused, over UDP and TCP"
	if st.Verdict() != want || st.SilentSince != first || first.Before(before) || st.Well(time.Hour) {
		t.Errorf("%q\nwant %q", st.Verdict(), want)
	}
}

func TestWhatASecondaryLacksIsKnownFromTheJournal(t *testing.T) {
	c := transferConfig(t)
	s := newTransferLab(t, c)
	if _, known := s.Lacks("lab.test.", firstSerial, "orders.lab.test."); known {
		t.Error("known without a journal")
	}
	a, b := Showing{Value: "a.lab.test."}, Showing{Value: "b.lab.test."}
	s.source = &book{changes: []Change{
		{Before: 7, After: 8, Name: "orders.lab.test.", Was: a, Is: b},
		{Before: 8, After: 9, Name: "fresh.lab.test.", Was: a, Is: b},
		{Before: 9, After: 10, Name: "fresh.lab.test.", Was: b, Is: a},
	}}
	for _, c := range []struct {
		name         failover.RecordName
		since        uint32
		lacks, known bool
	}{
		{"Orders.lab.test.", 7, true, true}, {"orders.lab.test.", 8, false, true}, {"fresh.lab.test.", 7, false, true}, // there and back
		{"fresh.lab.test.", 9, true, true}, {"orders.lab.test.", 6, false, false},
	} {
		if lacks, known := s.Lacks("lab.test.", c.since, c.name); lacks != c.lacks || known != c.known {
			t.Errorf("%s since %d: %v, %v", c.name, c.since, lacks, known)
		}
	}
	if got := s.SecondariesOf("elsewhere.example."); got != nil {
		t.Errorf("secondaries of a name that is not ours: %v", got)
	}
}
