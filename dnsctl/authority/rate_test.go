package authority

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const second = uint64(time.Second) / tick

func TestBucketGivesItsWindowAtOnceAndThenTheRate(t *testing.T) {
	l := newLimiter(answerSets)
	q := RateLimit{Window: 3 * time.Second}.quota(10)
	given := func(now uint64) (n int) {
		for l.take(&q, 42<<tagShift, now&moment) {
			n++
		}
		return n
	}
	// The clock of the buckets wraps between the second and the third.
	for now, want := range map[uint64]int{0: 30} {
		if got := given(now); got != want {
			t.Errorf("at %d: %d, want %d", now, got, want)
		}
	}
	l = newLimiter(answerSets)
	start := uint64(moment) - second
	for i, want := range []int{30, 10, 10, 10} {
		if got := given(start + uint64(i)*second); got != want {
			t.Errorf("after %d s: %d, want %d", i, got, want)
		}
	}
	if got := given(start + 3600*second); got != 30 {
		t.Errorf("an hour later: %d", got)
	}
	// What a far longer window left behind is no debt.
	l.table[0][0].Store(42<<tagShift | (start+10_000*second)&moment)
	if got := given(start); got != 30 {
		t.Errorf("after a reload with a shorter window: %d", got)
	}
}

func TestFullSetGivesUpTheBucketThatIsEmptyFirst(t *testing.T) {
	l := newLimiter(answerSets)
	q := RateLimit{Window: 3 * time.Second}.quota(10)
	hash := func(i int) uint64 { return uint64(2*i+2) << tagShift } // all in set 0
	for i := range ways {
		for range 2 + i {
			l.take(&q, hash(i), 0)
		}
	}
	if l.evicted.Load() != 0 {
		t.Errorf("evicted %d of a set that was not full", l.evicted.Load())
	}
	l.take(&q, hash(ways), 0)
	if l.evicted.Load() != 1 {
		t.Errorf("evicted %d", l.evicted.Load())
	}
	for i := range ways + 1 {
		found := false
		for w := range l.table[0] {
			found = found || l.table[0][w].Load()>>tagShift == hash(i)>>tagShift|1
		}
		if found == (i == 0) {
			t.Errorf("bucket %d is there: %v", i, found)
		}
	}
}

func TestBucketsAreOfNetworksClassesAndNames(t *testing.T) {
	var a, b rateKey
	same := func(x, y string, c, d class, n, m string) bool {
		return string(a.of(netip.MustParseAddr(x), c, []byte(n))) == string(b.of(netip.MustParseAddr(y), d, []byte(m)))
	}
	for what, ok := range map[string]bool{
		"a /24":                       same("192.0.2.1", "192.0.2.200", classAnswer, classAnswer, "x", "x"),
		"a /56":                       same("2001:db8:0:aa01::1", "2001:db8:0:aaff::1", classAnswer, classAnswer, "x", "x"),
		"other /24":                   !same("192.0.2.1", "192.0.3.1", classAnswer, classAnswer, "x", "x"),
		"other /56":                   !same("2001:db8:0:aa01::1", "2001:db8:0:ab01::1", classAnswer, classAnswer, "x", "x"),
		"other name":                  !same("192.0.2.1", "192.0.2.1", classAnswer, classAnswer, "x", "y"),
		"other class":                 !same("192.0.2.1", "192.0.2.1", classNoName, classError, "x", "x"),
		"names without data":          same("192.0.2.1", "192.0.2.1", classNoData, classNoData, "x", "y"),
		"denials of other zones":      !same("192.0.2.1", "192.0.2.1", classNoName, classNoName, "x", "y"),
		"a v6 that looks like the v4": !same("192.0.2.1", "4c0:2::", classNoName, classNoName, "x", "x"),
	} {
		if !ok {
			t.Error(what)
		}
	}
}

func TestWhoIsCoveredByTheLimit(t *testing.T) {
	exempt := RateLimit{Exempt: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/25"), netip.MustParsePrefix("2001:db8::/32")}}
	local := exempt
	local.Loopback = LoopbackLimited
	for addr, want := range map[string][2]bool{ // by default, with loopback limited
		"198.51.100.1": {true, true},
		"192.0.2.1":    {false, false},
		"192.0.2.200":  {true, true},
		"2001:db8::1":  {false, false},
		"2001:db9::1":  {true, true},
		"127.0.0.5":    {false, true},
		"::1":          {false, true},
	} {
		for i, c := range []RateLimit{exempt, local} {
			q := c.quota(1)
			if got := q.covers(netip.MustParseAddr(addr)); got != want[i] {
				t.Errorf("%s, %d: %v", addr, i, got)
			}
		}
	}
}

func TestJudgingAllocatesNothing(t *testing.T) {
	l, q, from := newLimiter(answerSets), RateLimit{Window: time.Second, Slip: 1}.quota(10), netip.MustParseAddr("192.0.2.1")
	var k rateKey
	if n := testing.AllocsPerRun(100, func() {
		if q.covers(from) {
			l.judge(&q, k.of(from, classAnswer, []byte("name")), l.now())
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// limitedLab answers one query at once and one a second from then on, also on
// loopback.
func limitedLab(t testing.TB, change func(*RateLimit, *Cookies)) (*Server, string) {
	t.Helper()
	cfg := labConfig()
	cfg.RateLimit = RateLimit{PerSecond: 1, Window: time.Second, Loopback: LoopbackLimited}
	change(&cfg.RateLimit, &cfg.Cookies)
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load(context.Background(), labCommitted()); err != nil {
		t.Fatal(err)
	}
	return s, run(t, s)
}

// burst asks the same many times without waiting and returns how many came
// back, and of them how many with TC or BADCOOKIE.
func burst(t testing.TB, s *Server, addr string, q *dns.Msg, n int) (came, cut, bad int) {
	t.Helper()
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent := func() (answers, withheld int) {
		st := s.Stats()
		for _, k := range st.Answers["udp"] {
			answers += int(k)
		}
		return answers, int(st.Dropped["rate"])
	}
	a0, w0 := sent()
	d := &dns.Conn{Conn: c}
	for range n {
		if err := d.WriteMsg(q); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all are judged", func() bool { a, w := sent(); return a-a0+w-w0 == n })
	if err := d.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	a, _ := sent()
	for ; came < a-a0; came++ {
		m, err := d.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		if m.Truncated {
			cut++
			if len(m.Answer)+len(m.Ns) > 0 || m.Rcode != dns.RcodeSuccess {
				t.Errorf("a TC with more: %v", m)
			}
		}
		if m.Rcode == dns.RcodeBadCookie {
			bad++
			if len(m.Answer) > 0 || len(cookieIn(t, m)) != 48 {
				t.Errorf("BADCOOKIE with more or less: %v", m)
			}
		}
	}
	return came, cut, bad
}

func TestAnswersAboveTheRateAreCutOrWithheld(t *testing.T) {
	for _, tc := range []struct {
		what   string
		change func(*RateLimit, *Cookies)
		query  *dns.Msg
		class  string
		sent   string
		each   int // one in so many of those above the rate comes back
	}{
		{"answer", func(*RateLimit, *Cookies) {}, question("orders.lab.test.", dns.TypeA), "answer", "truncated", 1},
		{"none is cut", func(r *RateLimit, _ *Cookies) { r.Slip = NoRateLimit }, question("orders.lab.test.", dns.TypeA), "answer", "dropped", 0},
		{"one in four", func(r *RateLimit, _ *Cookies) { r.Slip = 4 }, question("orders.lab.test.", dns.TypeA), "answer", "truncated", 4},
		{"nodata", func(*RateLimit, *Cookies) {}, question("a.lab.test.", dns.TypeMX), "nodata", "truncated", 1},
		{"nxdomain", func(*RateLimit, *Cookies) {}, question("none.lab.test.", dns.TypeA), "nxdomain", "truncated", 1},
		{"refused", func(*RateLimit, *Cookies) {}, question("example.org.", dns.TypeA), "error", "truncated", 1},
		{"what the library turns away", func(*RateLimit, *Cookies) {}, &dns.Msg{MsgHdr: dns.MsgHdr{Opcode: dns.OpcodeStatus, Id: 7}, Question: question("a.lab.test.", dns.TypeA).Question}, "error", "dropped", 0},
		{"a client cookie is no proof", func(*RateLimit, *Cookies) {}, withCookie("orders.lab.test.", "0102030405060708"), "answer", "truncated", 1},
		{"cookies demanded", func(_ *RateLimit, c *Cookies) { c.Demand = DemandLimited }, withCookie("orders.lab.test.", "0102030405060708"), "answer", "badcookie", 1},
		{"cookies demanded of one who has none", func(_ *RateLimit, c *Cookies) { c.Demand = DemandLimited }, question("orders.lab.test.", dns.TypeA), "answer", "truncated", 1},
	} {
		t.Run(tc.what, func(t *testing.T) {
			s, addr := limitedLab(t, tc.change)
			const n = 200 // what a client's socket holds
			came, cut, bad := burst(t, s, addr, tc.query, n)
			st := s.Stats()
			limited := int(st.Limited[tc.class]["truncated"] + st.Limited[tc.class]["dropped"] + st.Limited[tc.class]["badcookie"])
			if limited < n/2 || limited == n {
				t.Errorf("%d of %d were limited: %v", limited, n, st.Limited)
			}
			if st.Dropped["rate"] != st.Limited[tc.class]["dropped"] {
				t.Errorf("dropped %v, limited %v", st.Dropped, st.Limited)
			}
			back := 0
			if tc.each > 0 {
				back = limited / tc.each
			}
			if got := int(st.Limited[tc.class][tc.sent]); tc.sent != "dropped" && got != back {
				t.Errorf("%d were answered %s, want %d of %d", got, tc.sent, back, limited)
			}
			if came != n-limited+back || tc.sent == "truncated" && cut != back || tc.sent == "badcookie" && bad != back {
				t.Errorf("%d came back, %d cut, %d with BADCOOKIE, when %d of %d were limited", came, cut, bad, limited, n)
			}
		})
	}
}

func TestWhoIsNotLimited(t *testing.T) {
	for _, tc := range []struct {
		what   string
		change func(*RateLimit)
	}{
		{"loopback, by default", func(r *RateLimit) { r.Loopback = "" }},
		{"an exempt network", func(r *RateLimit) { r.Exempt = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }},
		{"anybody, when it is off", func(r *RateLimit) { r.PerSecond = NoRateLimit }},
	} {
		t.Run(tc.what, func(t *testing.T) {
			s, addr := limitedLab(t, func(r *RateLimit, _ *Cookies) { tc.change(r) })
			if came, cut, _ := burst(t, s, addr, question("orders.lab.test.", dns.TypeA), 200); came != 200 || cut != 0 {
				t.Errorf("%d of 200 came back, %d of them cut", came, cut)
			}
		})
	}
	t.Run("TCP, and a valid cookie", func(t *testing.T) {
		s, addr := limitedLab(t, func(*RateLimit, *Cookies) {})
		c := dial(t, addr)
		var cookie string
		for range 200 {
			m := exchange(t, c, withCookie("orders.lab.test.", "0102030405060708"))
			cookie = cookieIn(t, m)
			if m.Truncated || len(m.Answer) != 2 {
				t.Fatalf("over TCP: %v", m)
			}
		}
		if came, cut, _ := burst(t, s, addr, withCookie("orders.lab.test.", cookie), 200); came != 200 || cut != 0 {
			t.Errorf("with a cookie %d of 200 came back, %d of them cut", came, cut)
		}
		if st := s.Stats(); st.Limited["answer"]["truncated"] != 0 {
			t.Errorf("limited %v", st.Limited)
		}
	})
	t.Run("another name of the same network", func(t *testing.T) {
		s, addr := limitedLab(t, func(*RateLimit, *Cookies) {})
		burst(t, s, addr, question("orders.lab.test.", dns.TypeA), 50)
		if m := ask(t, "udp", addr, question("chain.lab.test.", dns.TypeA)); m.Truncated {
			t.Errorf("%v", m)
		}
	})
}

// TestANetworkHasABoundOverAllNames: who asks for each name just so often that
// the name's bound is kept meets the one over all of them, with records, without
// and refused.
func TestANetworkHasABoundOverAllNames(t *testing.T) {
	s, addr := limitedLab(t, func(r *RateLimit, _ *Cookies) {
		*r = RateLimit{PerSecond: NoRateLimit, Total: 1, Window: time.Second, Slip: NoRateLimit, Loopback: LoopbackLimited}
	})
	for _, q := range []*dns.Msg{question("orders.lab.test.", dns.TypeA), question("a.lab.test.", dns.TypeA), question("none.lab.test.", dns.TypeA), question("x.example.", dns.TypeA), {MsgHdr: dns.MsgHdr{Opcode: dns.OpcodeStatus, Id: 7}, Question: question("a.lab.test.", dns.TypeA).Question}} {
		burst(t, s, addr, q, 50)
	}
	st := s.Stats()
	if n := st.Limited["network"]["dropped"]; n < 225 || n != st.Dropped["rate"] {
		t.Errorf("%d of 250 were withheld at 1 a second: %v", n, st.Limited)
	}
	_, addr = limitedLab(t, func(r *RateLimit, _ *Cookies) { r.Total = NoRateLimit })
	for _, n := range []string{"orders.lab.test.", "a.lab.test.", "b.lab.test.", "six.lab.test."} {
		if m := ask(t, "udp", addr, question(n, dns.TypeANY)); m.Truncated {
			t.Errorf("without that bound %s is limited", n)
		}
	}
}

// TestNamesThatAreNotThereAreLimitedAndCountedByZone: a flood of random names
// in one zone takes nothing from the denials of another.
func TestNamesThatAreNotThereAreLimitedAndCountedByZone(t *testing.T) {
	s, addr := limitedLab(t, func(r *RateLimit, _ *Cookies) { r.Slip = NoRateLimit })
	for i := range 20 {
		burst(t, s, addr, question(fmt.Sprintf("random%d.lab.test.", i), dns.TypeA), 5)
	}
	if n := s.Stats().Limited["nxdomain"]["dropped"]; n < 90 {
		t.Errorf("%d of 100 random names were withheld at 1 a second", n)
	}
	if m := ask(t, "udp", addr, question("none.second.test.", dns.TypeA)); m.Rcode != dns.RcodeNameError {
		t.Errorf("in another zone: %v", m)
	}
	if n := s.Stats().Denied; n["lab.test."] != 100 || n["second.test."] != 1 {
		t.Errorf("counted %v", n)
	}
	mustReload(t, s, labConfig())
	if n := s.Stats().Denied["lab.test."]; n != 100 {
		t.Errorf("a reload forgot what was counted: %d", n)
	}
}

// TestASignedQuestionThatWasHeardIsLimitedLikeAnyOther: over UDP whoever heard
// one can send it again from anywhere.
func TestASignedQuestionThatWasHeardIsLimitedLikeAnyOther(t *testing.T) {
	c := transferConfig(t)
	c.RateLimit = RateLimit{PerSecond: 1, Window: time.Second, Slip: NoRateLimit, Loopback: LoopbackLimited}
	s := newTransferLab(t, c)
	addr := run(t, s)
	_, b64 := secretOf(t, goodText)
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	wire, _, err := dns.TsigGenerate(question("many.lab.test.", dns.TypeA).SetEdns0(1232, false).SetTsig(goodKey, dns.HmacSHA256, 300, time.Now().Unix()), b64, "", false)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := conn.Write(wire); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all are judged", func() bool { st := s.Stats(); return st.Answers["udp"]["NOERROR"]+st.Dropped["rate"] == 100 })
	if n := s.Stats().Dropped["rate"]; n < 90 {
		t.Errorf("%d of 100 replays were withheld at 1 a second", n)
	}
	// Who signs each anew is not limited.
	cl := &dns.Client{Net: "udp", TsigSecret: map[string]string{goodKey: b64}, UDPSize: 1232, Timeout: 5 * time.Second}
	for i := range 10 {
		m := question("many.lab.test.", dns.TypeA).SetTsig(goodKey, dns.HmacSHA256, 300, time.Now().Unix())
		if _, _, err := cl.Exchange(m, addr); err != nil {
			t.Fatalf("question %d: %v", i, err)
		}
	}
}

// TestUnsignedIncrementsOverUDPAreLimited: an address is no proof over UDP.
func TestUnsignedIncrementsOverUDPAreLimited(t *testing.T) {
	c := transferConfig(t)
	c.Zones[0].TransferAddresses = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	c.RateLimit = RateLimit{PerSecond: 1, Window: time.Second, Slip: NoRateLimit, Loopback: LoopbackLimited}
	s := newTransferLab(t, c)
	addr := run(t, s)
	q := new(dns.Msg).SetIxfr("lab.test.", 1, ".", ".")
	if m := ask(t, "udp", addr, q); m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1 || m.Answer[0].(*dns.SOA).Serial != firstSerial || m.Question[0].Qtype != dns.TypeIXFR {
		t.Errorf("the first: %v", m)
	}
	if came, _, _ := burst(t, s, addr, q, 200); came > 20 {
		t.Errorf("%d of 200 were answered at 1 a second", came)
	}
}

func TestLimitChangesWithAReload(t *testing.T) {
	s, addr := limitedLab(t, func(*RateLimit, *Cookies) {})
	burst(t, s, addr, question("orders.lab.test.", dns.TypeA), 50)
	mustReload(t, s, labConfig())
	if came, cut, _ := burst(t, s, addr, question("orders.lab.test.", dns.TypeA), 100); came != 100 || cut != 0 {
		t.Errorf("%d of 100 came back, %d of them cut", came, cut)
	}
}

// TestTableHoldsUnderManyAtOnce: whatever races, nobody gets more than the
// window and the few that meet on one word.
func TestTableHoldsUnderManyAtOnce(t *testing.T) {
	l, q := newLimiter(answerSets), RateLimit{Window: 10 * time.Second}.quota(10)
	var given atomic.Int64
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			var k rateKey
			for i := range 20_000 {
				key := k.of(netip.AddrFrom4([4]byte{192, 0, 2, 1}), classAnswer, []byte("one"))
				if l.judge(&q, key, 0) == pass {
					given.Add(1)
				}
				other := k.of(netip.AddrFrom4([4]byte{10, byte(g), byte(i >> 8), byte(i)}), classAnswer, fmt.Append(nil, i))
				l.judge(&q, other, 0)
			}
		})
	}
	all.Wait()
	if n := given.Load(); n < 100 {
		t.Errorf("%d were given, 100 stand at once", n)
	}
	t.Logf("%d given of 80,000, %d evicted", given.Load(), l.evicted.Load())
}
