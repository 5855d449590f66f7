package authority

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

// office is a secondary of which the test writes every octet.
type office struct {
	addr netip.AddrPort

	mu      sync.Mutex
	answer  func(network string, asked []byte) [][]byte
	heard   map[string]int // NOTIFY by transport
	serials []uint32       // that NOTIFY told
}

func (o *office) say(answer func(network string, asked []byte) [][]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answer = answer
}

func (o *office) take(network string, asked []byte) [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	m := new(dns.Msg)
	if m.Unpack(asked) == nil && m.Opcode == dns.OpcodeNotify {
		o.heard[network]++
		o.serials = append(o.serials, m.Answer[0].(*dns.SOA).Serial)
	}
	return o.answer(network, asked)
}

func (o *office) notified() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.heard["udp"] + o.heard["tcp"]
}

func openOffice(t *testing.T, answer func(network string, asked []byte) [][]byte) *office {
	t.Helper()
	var l net.Listener
	var pc net.PacketConn
	for range 20 {
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if pc, err = net.ListenPacket("udp", l.Addr().String()); err == nil {
			break
		}
		l.Close()
	}
	o := &office{addr: netip.MustParseAddrPort(l.Addr().String()), answer: answer, heard: make(map[string]int)}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); pc.Close(); all.Wait() })
	all.Go(func() {
		for in := make([]byte, 4096); ; {
			n, from, err := pc.ReadFrom(in)
			if err != nil {
				return
			}
			for _, out := range o.take("udp", slices.Clone(in[:n])) {
				if _, err := pc.WriteTo(out, from); err != nil {
					return
				}
			}
		}
	})
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				dc := &dns.Conn{Conn: c}
				for {
					asked, err := dc.ReadMsgHeader(nil)
					if err != nil {
						return
					}
					for _, out := range o.take("tcp", asked) {
						if _, err := dc.Write(out); err != nil {
							return
						}
					}
				}
			})
		}
	})
	return o
}

// replyTo makes an answer to what was asked, NOERROR and with our first
// serial, after edit, signed by a secret when there is one.
func replyTo(t *testing.T, secret string, edit func(*dns.Msg)) func(string, []byte) [][]byte {
	return func(_ string, asked []byte) [][]byte {
		q := new(dns.Msg)
		if err := q.Unpack(asked); err != nil {
			t.Error(err)
			return nil
		}
		r := new(dns.Msg).SetReply(q)
		r.Authoritative = true
		if q.Opcode == dns.OpcodeQuery {
			r.Answer = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "lab.test.", Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: ".", Mbox: ".", Serial: firstSerial}}
		}
		if edit != nil {
			edit(r)
		}
		mac := ""
		if x := q.IsTsig(); x != nil {
			mac = x.MAC
		}
		var wire []byte
		var err error
		if r.IsTsig() != nil {
			wire, _, err = dns.TsigGenerate(r, secret, mac, false)
		} else {
			wire, err = r.Pack()
		}
		if err != nil {
			t.Error(err)
			return nil
		}
		return [][]byte{wire}
	}
}

func signs(at time.Time) func(*dns.Msg) {
	return func(r *dns.Msg) { r.SetTsig(goodKey, dns.HmacSHA256, 300, at.Unix()) }
}

// keeping is a server with these secondaries of lab.test. at a pace for tests.
func keeping(t *testing.T, change func(*pace), to ...Secondary) *Server {
	t.Helper()
	s := newTransferLab(t, keepingConfig(t, change, to...))
	run(t, s)
	return s
}

func keepingConfig(t *testing.T, change func(*pace), to ...Secondary) Config {
	c := transferConfig(t)
	c.Zones[0].Secondaries = to
	p := usualPace
	p.gap, p.first, p.answer = time.Millisecond, 10*time.Millisecond, 100*time.Millisecond
	p.lookSoon, p.lookLate = time.Hour, time.Hour
	if change != nil {
		change(&p)
	}
	c.pace = &p
	return c
}

// patient is a pace at which no answer of a test comes too late.
func patient(p *pace) { p.answer = 10 * time.Second }

// moveOn commits one more change of a name and returns the serial of it.
func moveOn(t *testing.T, s *Server, i int) uint32 {
	t.Helper()
	serial := uint32(firstSerial + i)
	rec := record("chain", uint64(1+i), value{"chain.lab.test.", failover.Target(fmt.Sprintf("t%d.example.", i))})
	if err := s.Publish(rec, map[failover.RecordName]uint32{"lab.test.": serial}); err != nil {
		t.Fatal(err)
	}
	return serial
}

// TestWhatIsNoAcknowledgement: each alone leaves the NOTIFY unacknowledged, is
// tried again, and is said in words.
func TestWhatIsNoAcknowledgement(t *testing.T) {
	_, good := secretOf(t, goodText)
	_, other := secretOf(t, otherText)
	now := time.Now()
	rcode := func(code int) func(*dns.Msg) { return func(r *dns.Msg) { r.Rcode = code } }
	for _, tc := range []struct {
		what   string
		key    failover.RecordName
		answer func(string, []byte) [][]byte
		says   string // "" when it is an acknowledgement
	}{
		{"a plain one", "", replyTo(t, "", nil), ""},
		{"a signed one", goodKey, replyTo(t, good, signs(now)), ""},
		{"REFUSED", "", replyTo(t, "", rcode(dns.RcodeRefused)), "REFUSED"},
		{"NOTAUTH", "", replyTo(t, "", rcode(dns.RcodeNotAuth)), "NOTAUTH"},
		{"SERVFAIL", "", replyTo(t, "", rcode(dns.RcodeServerFailure)), "SERVFAIL"},
		{"NOTIMP", "", replyTo(t, "", rcode(dns.RcodeNotImplemented)), "NOTIMP"},
		{"a signed REFUSED", goodKey, replyTo(t, good, func(r *dns.Msg) { r.Rcode = dns.RcodeRefused; signs(now)(r) }), "REFUSED"},
		{"silence", "", func(string, []byte) [][]byte { return nil }, "no answer in time"},
		{"garbage", "", func(string, []byte) [][]byte { return [][]byte{{1, 2, 3}} }, "over TCP"},
		{"the question itself", "", func(_ string, asked []byte) [][]byte { return [][]byte{asked} }, "another question"},
		{"another id", "", replyTo(t, "", func(r *dns.Msg) { r.Id++ }), "another question"},
		{"another zone", "", replyTo(t, "", func(r *dns.Msg) { r.Question[0].Name = "second.test." }), "another question"},
		{"another type", "", replyTo(t, "", func(r *dns.Msg) { r.Question[0].Qtype = dns.TypeA }), "another question"},
		{"another class", "", replyTo(t, "", func(r *dns.Msg) { r.Question[0].Qclass = dns.ClassCHAOS }), "another question"},
		{"no question", "", replyTo(t, "", func(r *dns.Msg) { r.Question = nil }), "another question"},
		{"another opcode", "", replyTo(t, "", func(r *dns.Msg) { r.Opcode = dns.OpcodeQuery }), "another question"},
		{"unsigned, where there is a key", goodKey, replyTo(t, "", nil), "no signature that holds"},
		{"signed with another secret", goodKey, replyTo(t, other, signs(now)), "no signature that holds"},
		{"signed by another key", goodKey, replyTo(t, other, func(r *dns.Msg) { r.SetTsig(otherKey, dns.HmacSHA512, 300, now.Unix()) }), "no signature that holds"},
		{"signed long ago", goodKey, replyTo(t, good, signs(now.Add(-time.Hour))), "no signature that holds"},
		{"signed for another request", goodKey, func(n string, asked []byte) [][]byte {
			m := new(dns.Msg)
			if err := m.Unpack(asked); err != nil || m.IsTsig() == nil {
				return nil
			}
			mac := m.IsTsig().MAC
			r := new(dns.Msg).SetReply(m)
			signs(now)(r)
			wire, _, err := dns.TsigGenerate(r, good, strings.Repeat("00", len(mac)/2), false)
			if err != nil {
				return nil
			}
			return [][]byte{wire}
		}, "no signature that holds"},
		{"a truncated signature", goodKey, func(n string, asked []byte) [][]byte {
			out := replyTo(t, good, signs(now))(n, asked)
			m := new(dns.Msg)
			if err := m.Unpack(out[0]); err != nil {
				return nil
			}
			x := m.IsTsig()
			x.MAC, x.MACSize = x.MAC[:40], 20
			wire, err := m.Pack()
			if err != nil {
				return nil
			}
			return [][]byte{wire}
		}, "no signature that holds"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			t.Parallel()
			o := openOffice(t, tc.answer)
			change := func(*pace) {}
			if tc.says == "" {
				change = patient
			}
			s := keeping(t, change, Secondary{Address: o.addr, Key: tc.key})
			now := func() SecondaryStats { return s.Secondaries()[0] }
			if tc.says == "" {
				until(t, "the acknowledgement", func() bool { return now().Acked == firstSerial })
				if n := s.Stats().Unacked; n != 0 {
					t.Errorf("%d were not acknowledged", n)
				}
				return
			}
			var st SecondaryStats
			defer func() {
				if t.Failed() {
					t.Logf("it says %q: %+v", st.NotifyErr, st)
				}
			}()
			// On a busy machine one of the attempts may have had no answer in time.
			until(t, "the third attempt, and "+tc.says, func() bool {
				st = now()
				return s.Stats().Unacked >= 3 && strings.Contains(st.NotifyErr, tc.says)
			})
			if st.Acked != 0 || st.Sent != firstSerial {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestAnAnswerFromElsewhereIsNoAcknowledgement: the right octets from another
// port than the one that was asked.
func TestAnAnswerFromElsewhereIsNoAcknowledgement(t *testing.T) {
	asked, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var ended sync.WaitGroup
	t.Cleanup(func() { asked.Close(); elsewhere.Close(); ended.Wait() })
	ended.Go(func() {
		for in := make([]byte, 4096); ; {
			n, from, err := asked.ReadFrom(in)
			if err != nil {
				return
			}
			if _, err := elsewhere.WriteTo(replyTo(t, "", nil)("udp", in[:n])[0], from); err != nil {
				return
			}
		}
	})
	s := keeping(t, nil, Secondary{Address: netip.MustParseAddrPort(asked.LocalAddr().String())})
	until(t, "the third attempt", func() bool { return s.Stats().Unacked >= 3 })
	if st := s.Secondaries()[0]; st.Acked != 0 {
		t.Errorf("%+v", st)
	}
}

// TestNotifyGoesOverTCPWhereUDPIsLost: and a guess that comes first over UDP
// does not spoil the answer behind it.
func TestNotifyGoesOverTCPWhereUDPIsLost(t *testing.T) {
	right := replyTo(t, "", nil)
	t.Run("lost", func(t *testing.T) {
		o := openOffice(t, func(network string, asked []byte) [][]byte {
			if network == "udp" {
				return nil
			}
			return right(network, asked)
		})
		s := keeping(t, func(p *pace) { p.answer = time.Second }, Secondary{Address: o.addr})
		until(t, "the acknowledgement", func() bool { return s.Secondaries()[0].Acked == firstSerial })
		if n := s.Stats(); n.Notifies != 1 || n.Unacked != 0 {
			t.Errorf("%d sent, %d not acknowledged", n.Notifies, n.Unacked)
		}
	})
	t.Run("guessed", func(t *testing.T) {
		o := openOffice(t, func(network string, asked []byte) [][]byte {
			if network == "tcp" {
				return nil
			}
			guess := right(network, asked)[0]
			binary.BigEndian.PutUint16(guess, binary.BigEndian.Uint16(guess)+1)
			guess[3] |= dns.RcodeRefused
			return [][]byte{guess, {1}, right(network, asked)[0]}
		})
		s := keeping(t, nil, Secondary{Address: o.addr})
		until(t, "the acknowledgement", func() bool { return s.Secondaries()[0].Acked == firstSerial })
	})
}

// TestOneThatRefusesIsNotToldOfEveryChange: while it does not acknowledge, what
// changes goes in one NOTIFY for each step of its patience, and a reload that
// changes its key or brings it back is told at once.
func TestOneThatRefusesIsNotToldOfEveryChange(t *testing.T) {
	slow := func(p *pace) {
		patient(p)
		p.first, p.patience, p.longest = time.Hour, time.Hour, time.Hour
	}
	o := openOffice(t, replyTo(t, "", func(r *dns.Msg) { r.Rcode = dns.RcodeRefused }))
	c := keepingConfig(t, slow, Secondary{Address: o.addr})
	s := newTransferLab(t, c)
	run(t, s)
	until(t, "the first refusal", func() bool { return s.Stats().Unacked == 1 })
	var last uint32
	for i := range 20 {
		last = moveOn(t, s, i+1)
		until(t, "the courier knows of it", func() bool { return s.Secondaries()[0].Serial == last })
	}
	if n := o.notified(); n != 1 {
		t.Errorf("told %d times of 21 serials", n)
	}

	_, good := secretOf(t, goodText)
	o.say(replyTo(t, good, signs(time.Now())))
	c.Zones = slices.Clone(c.Zones)
	c.Zones[0].Secondaries = []Secondary{{Address: o.addr, Key: goodKey}}
	mustReload(t, s, c)
	until(t, "the acknowledgement under the key", func() bool { return s.Secondaries()[0].Acked == last })

	// The secret of the same key is another now: told at once, and refused.
	c.Keys = slices.Clone(c.Keys)
	c.Keys[0].Secret, _ = secretOf(t, otherText)
	before := s.Stats().Unacked
	mustReload(t, s, c)
	until(t, "the refusal under another secret", func() bool { return s.Stats().Unacked > before })

	c.Zones = slices.Clone(c.Zones)
	c.Zones[0].Secondaries = nil
	mustReload(t, s, c)
	if all := s.Secondaries(); len(all) != 0 {
		t.Errorf("it is gone from the configuration: %+v", all)
	}
	n := o.notified()
	moveOn(t, s, 30)
	o.say(replyTo(t, "", nil))
	c.Zones = slices.Clone(c.Zones)
	c.Zones[0].Secondaries = []Secondary{{Address: o.addr}}
	mustReload(t, s, c)
	until(t, "the acknowledgement of one that came back", func() bool { return s.Secondaries()[0].Acked == firstSerial+30 })
	if got := o.notified() - n; got != 1 {
		t.Errorf("told %d times meanwhile and after", got)
	}
}

// TestADeadSecondaryDelaysNobody: one that takes everything and says nothing
// for as long as it may costs the others, and who publishes, nothing.
func TestADeadSecondaryDelaysNobody(t *testing.T) {
	hold := make(chan struct{})
	dead := openOffice(t, func(string, []byte) [][]byte { <-hold; return nil })
	t.Cleanup(func() { close(hold) })
	right := replyTo(t, "", nil)
	living := []*office{openOffice(t, right), openOffice(t, right)}
	// The dead one is waited for much longer than the test may take.
	s := keeping(t, func(p *pace) { p.answer = time.Hour }, Secondary{Address: dead.addr}, Secondary{Address: living[0].addr}, Secondary{Address: living[1].addr})
	for i := range 20 {
		serial := moveOn(t, s, i+1)
		until(t, "the acknowledgement of the living", func() bool {
			n := 0
			for _, st := range s.Secondaries() {
				if st.Acked == serial && st.Address != dead.addr {
					n++
				}
			}
			return n == 2
		})
	}
	// A reload waits for nobody either.
	mustReload(t, s, s.view.Load().cfg)
	for _, st := range s.Secondaries() {
		if st.Address == dead.addr && (st.Acked != 0 || st.Behind == 0) {
			t.Errorf("the dead one: %+v", st)
		}
	}
}
