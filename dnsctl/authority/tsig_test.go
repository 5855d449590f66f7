package authority

import (
	"encoding/hex"
	"fmt"
	"maps"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

// asked sends octets as they are and returns the answer.
func asked(t *testing.T, s *Server, wire []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	k := &taker{conn: &tcpConn{last: wire, from: netip.MustParseAddr("192.0.2.99")}}
	(&handler{s: s, over: overTCP}).ServeDNS(k, m)
	r := new(dns.Msg)
	if err := r.Unpack(k.msgs[0]); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestATransferNeedsASignatureThatHolds: each way in which a signature can be
// none, and each gets its code and its counter, and no record.
func TestATransferNeedsASignatureThatHolds(t *testing.T) {
	_, good := secretOf(t, goodText)
	_, other := secretOf(t, otherText)
	now := time.Now()
	signed := func(m *dns.Msg, key, algorithm, secret string, at time.Time, fudge uint16) []byte {
		m.SetTsig(key, algorithm, fudge, at.Unix())
		wire, _, err := dns.TsigGenerate(m, secret, "", false)
		if err != nil {
			t.Fatal(err)
		}
		return wire
	}
	plain := func(m *dns.Msg) []byte {
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return wire
	}
	forged := func(f func(*dns.TSIG)) []byte {
		m := new(dns.Msg)
		if err := m.Unpack(signed(axfr("lab.test."), goodKey, dns.HmacSHA256, good, now, 300)); err != nil {
			t.Fatal(err)
		}
		f(m.IsTsig())
		return plain(m)
	}
	twice := func() []byte {
		m := new(dns.Msg)
		if err := m.Unpack(signed(axfr("lab.test."), goodKey, dns.HmacSHA256, good, now, 300)); err != nil {
			t.Fatal(err)
		}
		m.Extra = append(m.Extra, m.Extra[0])
		return plain(m)
	}
	changed := signed(axfr("lab.test."), goodKey, dns.HmacSHA256, good, now, 300)
	changed[3] ^= 0x10 // one bit of the header
	for _, tc := range []struct {
		what  string
		wire  []byte
		rcode int
		code  uint16
		why   string
	}{
		{"no signature", plain(axfr("lab.test.")), dns.RcodeRefused, 0, "no-right"},
		{"the right key", signed(axfr("lab.test."), goodKey, dns.HmacSHA256, good, now, 300), dns.RcodeSuccess, 0, ""},
		{"its name in other letters, 1", signed(axfr("lAb.tEst."), "XFR.lab.TEST.", dns.HmacSHA256, good, now, 300), dns.RcodeSuccess, 0, ""},
		{"a key without a right here", signed(axfr("lab.test."), otherKey, dns.HmacSHA512, other, now, 300), dns.RcodeRefused, 0, "no-right"},
		{"the right key for another zone", signed(axfr("second.test."), goodKey, dns.HmacSHA256, good, now, 300), dns.RcodeRefused, 0, "no-right"},
		{"a name that is no zone", signed(axfr("orders.lab.test."), goodKey, dns.HmacSHA256, good, now, 300), dns.RcodeRefused, 0, "no-right"},
		{"an unknown key", signed(axfr("lab.test."), "nobody.", dns.HmacSHA256, good, now, 300), dns.RcodeNotAuth, dns.RcodeBadKey, "bad-key"},
		{"another algorithm", signed(axfr("lab.test."), goodKey, dns.HmacSHA512, good, now, 300), dns.RcodeNotAuth, dns.RcodeBadKey, "bad-key"},
		{"SHA-1", signed(axfr("lab.test."), goodKey, dns.HmacSHA1, good, now, 300), dns.RcodeNotAuth, dns.RcodeBadKey, "bad-key"},
		{"another secret", signed(axfr("lab.test."), goodKey, dns.HmacSHA256, other, now, 300), dns.RcodeNotAuth, dns.RcodeBadSig, "bad-signature"},
		{"a changed message", changed, dns.RcodeNotAuth, dns.RcodeBadSig, "bad-signature"},
		{"too old", signed(axfr("lab.test."), goodKey, dns.HmacSHA256, good, now.Add(-400*time.Second), 300), dns.RcodeNotAuth, dns.RcodeBadTime, "bad-time"},
		{"too new", signed(axfr("lab.test."), goodKey, dns.HmacSHA256, good, now.Add(400*time.Second), 300), dns.RcodeNotAuth, dns.RcodeBadTime, "bad-time"},
		{"too old, with a fudge of its own", signed(axfr("lab.test."), goodKey, dns.HmacSHA256, good, now.Add(-time.Hour), 65000), dns.RcodeNotAuth, dns.RcodeBadTime, "bad-time"},
		{"a truncated MAC", forged(func(x *dns.TSIG) { x.MAC, x.MACSize = x.MAC[:40], 20 }), dns.RcodeNotAuth, badTrunc, "bad-signature"},
		{"exactly as old as may be", signed(axfr("lab.test."), goodKey, dns.HmacSHA256, good, now.Add(-300*time.Second), 300), dns.RcodeSuccess, 0, ""},
		{"a second older, and a longer fudge", signed(axfr("lab.test."), goodKey, dns.HmacSHA256, good, now.Add(-301*time.Second), 400), dns.RcodeNotAuth, dns.RcodeBadTime, "bad-time"},
		{"older than its own short fudge", signed(axfr("lab.test."), goodKey, dns.HmacSHA256, good, now.Add(-10*time.Second), 5), dns.RcodeNotAuth, dns.RcodeBadTime, "bad-time"},
		{"a key whose secret is missing", signed(axfr("lab.test."), "empty.lab.test.", dns.HmacSHA256, good, now, 300), dns.RcodeNotAuth, dns.RcodeBadKey, "bad-key"},
		{"the MAC of another message", forged(func(x *dns.TSIG) { x.TimeSigned++ }), dns.RcodeNotAuth, dns.RcodeBadSig, "bad-signature"},
		{"a MAC cut to nothing much", forged(func(x *dns.TSIG) { x.MAC, x.MACSize = x.MAC[:18], 9 }), dns.RcodeFormatError, 0, "signature-form"},
		{"a MAC of no length", forged(func(x *dns.TSIG) { x.MAC, x.MACSize = "", 0 }), dns.RcodeFormatError, 0, "signature-form"},
		{"a MAC too long", forged(func(x *dns.TSIG) { x.MAC, x.MACSize = x.MAC+"00", 33 }), dns.RcodeFormatError, 0, "signature-form"},
		{"a TSIG of class IN", forged(func(x *dns.TSIG) { x.Hdr.Class = dns.ClassINET }), dns.RcodeFormatError, 0, "signature-form"},
		{"two signatures", twice(), dns.RcodeFormatError, 0, "signature-form"},
	} {
		c := transferConfig(t)
		c.now = func() time.Time { return now }
		c.Keys = append(c.Keys, Key{Name: "empty.lab.test.", Algorithm: "hmac-sha256."})
		c.Zones[0].TransferKeys = append(c.Zones[0].TransferKeys, "empty.lab.test.")
		s := newTransferLab(t, c)
		r := asked(t, s, slices.Clone(tc.wire))
		code := uint16(0)
		if x := r.IsTsig(); x != nil {
			code = x.Error
		}
		if r.Rcode != tc.rcode || code != tc.code || (len(r.Answer) > 0) != (tc.rcode == dns.RcodeSuccess) {
			t.Errorf("%s: %s, TSIG error %d, %d records", tc.what, rcodeName(r.Rcode), code, len(r.Answer))
		}
		for why, n := range s.Stats().Refused {
			if (n == 1) != (why == tc.why) {
				t.Errorf("%s: %d refused as %s, want %q", tc.what, n, why, tc.why)
			}
		}
		if code == dns.RcodeBadTime {
			x := r.IsTsig()
			said, err := hex.DecodeString(x.OtherData)
			if err != nil || x.MACSize == 0 || len(said) != 6 || new(big.Int).SetBytes(said).Int64() != now.Unix() {
				t.Errorf("%s: BADTIME is not signed with our time beside it: %v", tc.what, x)
			}
		}
		if code == dns.RcodeBadKey || code == dns.RcodeBadSig {
			if x := r.IsTsig(); x.MACSize != 0 {
				t.Errorf("%s: an error of the key or MAC is signed: %v", tc.what, x)
			}
		}
	}
}

func TestAReplayedTransferIsRefused(t *testing.T) {
	s := newTransferLab(t, transferConfig(t))
	_, good := secretOf(t, goodText)
	m := axfr("lab.test.").SetTsig(goodKey, dns.HmacSHA256, 300, time.Now().Unix())
	wire, _, err := dns.TsigGenerate(m, good, "", false)
	if err != nil {
		t.Fatal(err)
	}
	if r := asked(t, s, slices.Clone(wire)); r.Rcode != dns.RcodeSuccess {
		t.Fatalf("the first: %v", r)
	}
	if err := s.Reload(transferConfig(t)); err != nil { // what was seen outlives a reload
		t.Fatal(err)
	}
	if r := asked(t, s, slices.Clone(wire)); r.Rcode != dns.RcodeNotAuth || len(r.Answer) > 0 {
		t.Errorf("the same again: %v", r)
	}
	if n := s.Stats().Refused["replay"]; n != 1 {
		t.Errorf("%d replays counted", n)
	}
}

func macOf(i int) string {
	return hex.EncodeToString([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i), 15, 16, 17})
}

// TestAnHonestRequestAfterManyIsNoReplay: where the memory was filled in the
// time for which it must hold, room is made of the oldest, so what is signed
// now, and by a clock that is somewhat behind, is taken.
func TestAnHonestRequestAfterManyIsNoReplay(t *testing.T) {
	var r replays
	now := time.Unix(1_700_000_000, 0)
	for i := range maxReplays + 10 {
		at := now.Add(min(0, -maxFudge*time.Second+time.Duration(i)*maxFudge*time.Second/maxReplays))
		if r.again(&dns.TSIG{TimeSigned: uint64(at.Unix()), MAC: macOf(i)}, at) {
			t.Fatalf("request %d is taken for a replay", i)
		}
	}
	for behind := range int64(maxFudge / 3) {
		if r.again(&dns.TSIG{TimeSigned: uint64(now.Unix() - behind), MAC: macOf(maxReplays + 100 + int(behind))}, now) {
			t.Fatalf("a request of a clock %d s behind is taken for a replay", behind)
		}
	}
}

func TestTheMemoryOfReplaysIsBoundedAndForgetsNothingItAccepts(t *testing.T) {
	var r replays
	now := time.Unix(1_700_000_000, 0)
	accepted := map[string]*dns.TSIG{}
	for i := range 3 * maxReplays {
		x := &dns.TSIG{TimeSigned: uint64(now.Unix() - 300 + int64(i%600)), MAC: macOf(i)}
		if !r.again(x, now) {
			accepted[x.MAC] = x
		}
		if len(r.seen) > maxReplays {
			t.Fatalf("%d are kept", len(r.seen))
		}
	}
	for _, x := range accepted {
		if !r.again(x, now) {
			t.Fatalf("accepted twice: %v", x)
		}
	}
}

func TestASignedQuestionIsAnsweredSigned(t *testing.T) {
	s := newTransferLab(t, transferConfig(t))
	addr := run(t, s)
	_, good := secretOf(t, goodText)
	for _, network := range []string{"udp", "tcp"} {
		for name, qtype := range map[string]uint16{"lab.test.": dns.TypeSOA, "many.lab.test.": dns.TypeA, "none.lab.test.": dns.TypeA} {
			m := question(name, qtype).SetTsig(goodKey, dns.HmacSHA256, 300, time.Now().Unix())
			c := &dns.Client{Net: network, TsigSecret: map[string]string{goodKey: good}, UDPSize: 4096}
			r, _, err := c.Exchange(m, addr)
			if err != nil || r.IsTsig() == nil || !r.Authoritative {
				t.Errorf("%s over %s: %v, %v", name, network, err, r)
			}
		}
	}
}

func TestAZoneThatIsNotWholeIsHandedToNobody(t *testing.T) {
	c := transferConfig(t)
	c.Zones[0].TransferAddresses = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	// The ledger is new: secondaries may have names that it does not know yet.
	if err := s.Load(t.Context(), committed{}); err != nil {
		t.Fatal(err)
	}
	for _, r := range labCommitted().records[:3] { // those of lab.test.
		if rcode, rrs := give(t, s, overTCP, axfr("lab.test.")); rcode != dns.RcodeServerFailure || len(rrs) > 0 {
			t.Errorf("%s, %d records while a name has no record", rcodeName(rcode), len(rrs))
		}
		if err := s.Publish(r, nil); err != nil {
			t.Fatal(err)
		}
	}
	if rcode, rrs := give(t, s, overTCP, axfr("lab.test.")); rcode != dns.RcodeSuccess || len(rrs) == 0 {
		t.Errorf("%s, %d records when all are there", rcodeName(rcode), len(rrs))
	}
	// Nor does a restart in between make the ledger an old one.
	again, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Load(t.Context(), committed{records: labCommitted().records[:1]}); err != nil {
		t.Fatal(err)
	}
	if rcode, rrs := give(t, again, overTCP, axfr("lab.test.")); rcode != dns.RcodeServerFailure || len(rrs) > 0 {
		t.Errorf("%s, %d records after a restart, while a name has no record", rcodeName(rcode), len(rrs))
	}
	if err := s.Publish(record("orders", 5, value{"orders.lab.test.", "nowhere.lab.test."}), map[failover.RecordName]uint32{"lab.test.": firstSerial + 5}); err == nil {
		t.Fatal("a dangling target was published")
	}
	if rcode, _ := give(t, s, overTCP, axfr("lab.test.")); rcode != dns.RcodeServerFailure {
		t.Errorf("%s while a name does not show its last commit", rcodeName(rcode))
	}
}

func TestANameWithoutItsFirstRecordHoldsNobodyElseUp(t *testing.T) {
	c := transferConfig(t)
	c.Zones[0].TransferAddresses = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	more := c
	more.Zones = slices.Clone(c.Zones)
	more.Zones[0].Names = append(slices.Clone(c.Zones[0].Names), "fresh.lab.test.")
	for name, start := range map[string]func() (*Server, *book){
		"there at the start": func() (*Server, *book) {
			b := &book{committed: labCommitted()}
			b.whole = true
			s, err := New(more)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Load(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			return s, b
		},
		"added by a reload": func() (*Server, *book) {
			b := &book{committed: committed{}}
			s, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Load(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			for _, r := range labCommitted().records {
				if err := s.Publish(r, nil); err != nil {
					t.Fatal(err)
				}
			}
			if rcode, _ := give(t, s, overTCP, axfr("lab.test.")); rcode != dns.RcodeSuccess {
				t.Fatal(rcodeName(rcode))
			}
			if err := s.Reload(more); err != nil {
				t.Fatal(err)
			}
			if err := s.Load(t.Context(), b); err != nil { // as a reload of the process does
				t.Fatal(err)
			}
			return s, b
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, b := start()
			_, before := give(t, s, overTCP, axfr("lab.test."))
			if !strings.Contains(fmt.Sprint(before), "orders.lab.test.") || strings.Contains(fmt.Sprint(before), "fresh.lab.test.") {
				t.Fatalf("the others were not handed out, or the new one was:\n%v", before)
			}
			serial := before[0].(*dns.SOA).Serial
			first := record("fresh", 1, value{"fresh.lab.test.", "a.lab.test."})
			is := Showing{Value: "a.lab.test.", TTL: first.Names[0].TTL, Mark: first.Names[0].Mark.String()}
			b.changes, b.serial = []Change{{Before: serial, After: serial + 1, Name: "fresh.lab.test.", Is: is}}, serial+1
			if err := s.Publish(first, map[failover.RecordName]uint32{"lab.test.": serial + 1}); err != nil {
				t.Fatal(err)
			}
			zone, _, err := apply(nil, before)
			if err != nil {
				t.Fatal(err)
			}
			_, step := give(t, s, overTCP, new(dns.Msg).SetIxfr("lab.test.", serial, ".", "."))
			_, after := give(t, s, overTCP, axfr("lab.test."))
			got, _, err := apply(zone, step)
			want, _, err2 := apply(nil, after)
			if err != nil || err2 != nil || !maps.Equal(got, want) || len(step) >= len(after) || !strings.Contains(fmt.Sprint(step), "fresh.lab.test.") {
				t.Errorf("%v, %v: the first record came as\n%v\nthe zone is\n%v", err, err2, step, after)
			}
		})
	}
}

// TestEveryMessageOfALongTransferIsSigned: each message of a zone that fills
// several bears one signature, over the one before it and itself with the times
// only (RFC 8945 section 5.3.1), so that none can be left out, changed, put in
// another order or taken from another transfer.
func TestEveryMessageOfALongTransferIsSigned(t *testing.T) {
	c, held := largeZone(t, 2000)
	c.Zones[0].TransferKeys = []failover.RecordName{goodKey}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(t.Context(), held); err != nil {
		t.Fatal(err)
	}
	_, good := secretOf(t, goodText)
	transfer := func() (requestMAC string, msgs [][]byte) {
		m := axfr("lab.test.").SetTsig(goodKey, dns.HmacSHA256, 300, time.Now().Unix())
		wire, mac, err := dns.TsigGenerate(m, good, "", false)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Unpack(wire); err != nil {
			t.Fatal(err)
		}
		k := &taker{conn: &tcpConn{last: wire, from: netip.MustParseAddr("192.0.2.99")}}
		(&handler{s: s, over: overTCP}).ServeDNS(k, m)
		return mac, k.msgs
	}
	// check does what a client does, and says at which message it stops.
	check := func(mac string, msgs [][]byte) int {
		for i, wire := range msgs {
			m := new(dns.Msg)
			if err := m.Unpack(wire); err != nil || m.IsTsig() == nil || m.IsTsig().Error != 0 || len(m.Answer) == 0 {
				return i
			}
			next := m.IsTsig().MAC
			if err := dns.TsigVerify(slices.Clone(wire), good, mac, i > 0); err != nil {
				return i
			}
			mac = next
		}
		return len(msgs)
	}
	mac, msgs := transfer()
	if len(msgs) < 5 {
		t.Fatalf("%d messages are not many", len(msgs))
	}
	if n := check(mac, msgs); n != len(msgs) {
		t.Fatalf("message %d of %d is not signed as it should be", n, len(msgs))
	}
	_, others := transfer()
	changed := slices.Clone(msgs)
	changed[2] = slices.Clone(changed[2])
	changed[2][40] ^= 1
	for what, tc := range map[string]struct {
		msgs [][]byte
		at   int
	}{
		"one left out":                  {slices.Delete(slices.Clone(msgs), 2, 3), 2},
		"two in another order":          {[][]byte{msgs[0], msgs[2], msgs[1], msgs[3]}, 1},
		"one twice":                     {[][]byte{msgs[0], msgs[1], msgs[1]}, 2},
		"one of another transfer":       {[][]byte{msgs[0], msgs[1], others[2]}, 2},
		"the first of another transfer": {[][]byte{others[0]}, 0},
		"one changed":                   {changed, 2},
	} {
		if n := check(mac, tc.msgs); n != tc.at {
			t.Errorf("%s: a client stops at message %d, want %d", what, n, tc.at)
		}
	}
}
