package authority

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/time/rate"

	"pointsman/internal/failover"
)

// sink is a client that throws answers away.
type sink struct{ dns.ResponseWriter }

func (sink) RemoteAddr() net.Addr { return nil }

func (sink) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkHandler is the handler alone, after miekg/dns has parsed the query.
func BenchmarkHandler(b *testing.B) {
	h := &handler{s: newLab(b), over: overUDP}
	for _, bc := range []struct {
		what, name string
		qtype      uint16
		edns       bool
	}{
		{"cname", "vpc.orders.lab.test.", dns.TypeA, false},
		{"cname-edns", "vpc.orders.lab.test.", dns.TypeA, true},
		{"cname-0x20", "vPc.OrDeRs.lAb.TeSt.", dns.TypeA, false},
		{"cname-and-address", "orders.lab.test.", dns.TypeA, false},
		{"nodata", "orders.lab.test.", dns.TypeAAAA, false},
		{"nxdomain", "none.lab.test.", dns.TypeA, false},
		{"chain-of-two", "chain.lab.test.", dns.TypeA, false},
		{"refused", "example.org.", dns.TypeA, false},
	} {
		b.Run(bc.what, func(b *testing.B) {
			q := question(bc.name, bc.qtype)
			if bc.edns {
				q.SetEdns0(1232, true)
			}
			b.ReportAllocs()
			for b.Loop() {
				h.ServeDNS(sink{}, q)
			}
		})
	}
}

// BenchmarkJudge is what the limit and a cookie cost each answer.
func BenchmarkJudge(b *testing.B) {
	from := netip.MustParseAddr("192.0.2.1")
	b.Run("rate", func(b *testing.B) {
		l, q := newLimiter(answerSets), RateLimit{Window: 5 * time.Second, Slip: 1}.quota(200)
		var k rateKey
		name := []byte("\x03vpc\x06orders\x03lab\x04test\x00")
		b.ReportAllocs()
		for b.Loop() {
			if q.covers(from) {
				l.judge(&q, k.of(from, classAnswer, name), l.now())
			}
		}
	})
	b.Run("cookie", func(b *testing.B) {
		j := jar{CookieSecret{1}}
		var out [cookieLen]byte
		j.judge(make([]byte, clientCookieLen), from, 1000, &out)
		in := out
		b.ReportAllocs()
		for b.Loop() {
			if j.judge(in[:], from, 1000, &out) != cookieValid {
				b.Fatal("not ours")
			}
		}
	})
}

// manyNames is a server with n published names with targets elsewhere.
func manyNames(b *testing.B, n int) (*Server, []failover.Record) {
	b.Helper()
	cfg := labConfig()
	cfg.Zones = cfg.Zones[:1]
	var records []failover.Record
	for i := range n {
		name := failover.RecordName(fmt.Sprintf("n%05d.lab.test.", i))
		cfg.Zones[0].Names = append(cfg.Zones[0].Names, name)
		records = append(records, record(failover.InstanceName(name), 1, value{name, "a.cloud.example."}))
	}
	s, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Load(context.Background(), committed{records: records}); err != nil {
		b.Fatal(err)
	}
	return s, records
}

// storm returns a function that moves the next of the names.
func storm(b *testing.B, s *Server, records []failover.Record) func() {
	b.Helper()
	targets := [2]failover.Target{"a.cloud.example.", "b.cloud.example."}
	serials := map[failover.RecordName]uint32{"lab.test.": firstSerial}
	moves := 0
	return func() {
		r := &records[moves%len(records)]
		moves++
		r.Rev++
		r.Names[0].Value = targets[r.Rev%2]
		serials["lab.test."]++
		if err := s.Publish(*r, serials); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPublish moves one of many names: the cost does not depend on how
// many there are.
func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(strconv.Itoa(n)+"-names", func(b *testing.B) {
			s, records := manyNames(b, n)
			move := storm(b, s, records)
			b.ReportAllocs()
			for b.Loop() {
				move()
			}
		})
	}
}

// BenchmarkReload swaps the configuration of 10,000 names.
func BenchmarkReload(b *testing.B) {
	s, _ := manyNames(b, 10_000)
	cfg := s.view.Load().cfg
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Reload(cfg); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMemory shows what a published name takes.
func BenchmarkMemory(b *testing.B) {
	const names = 10_000
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var grown uint64
	for b.Loop() {
		before := heap()
		s, records := manyNames(b, names)
		clear(records) // those are the ledger's
		grown += heap() - before
		runtime.KeepAlive(s)
	}
	b.ReportMetric(float64(grown)/float64(b.N)/names, "B/name")
}

// BenchmarkLatencyDuringStorm asks one question after the other over UDP while
// 10,000 names are moved at each of the rates in turn, many turns in one run,
// and shows the waiting times and their ratio to those without moves.
func BenchmarkLatencyDuringStorm(b *testing.B) {
	const turns, turn, handful = 20, 200 * time.Millisecond, 20
	rates := []int{0, 1_000, 20_000}
	s, records := manyNames(b, 10_000)
	addr := run(b, s)
	move := storm(b, s, records)
	c, err := net.Dial("udp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	wire, err := question("n00007.lab.test.", dns.TypeA).Pack()
	if err != nil {
		b.Fatal(err)
	}
	in := make([]byte, 512)
	waits := make(map[int][]time.Duration)
	moves := make(map[int]int)
	for b.Loop() {
		for i := range turns * len(rates) {
			perSecond := rates[i%len(rates)]
			ctx, cancel := context.WithTimeout(context.Background(), turn)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				// In handfuls: a timer per move would measure the timers.
				pace := rate.NewLimiter(rate.Limit(perSecond/handful), 1)
				for perSecond > 0 && pace.Wait(ctx) == nil {
					for range handful {
						move()
					}
					moves[perSecond] += handful
				}
			}()
			for ctx.Err() == nil {
				t0 := time.Now()
				if _, err := c.Write(wire); err != nil {
					b.Fatal(err)
				}
				if _, err := c.Read(in); err != nil {
					b.Fatal(err)
				}
				waits[perSecond] = append(waits[perSecond], time.Since(t0))
			}
			cancel()
			<-ended
		}
	}
	p99 := func(perSecond int) float64 {
		w := waits[perSecond]
		slices.Sort(w)
		return float64(w[len(w)*99/100].Nanoseconds()) / 1e3
	}
	none := p99(0)
	b.ReportMetric(none, "p99-µs")
	for _, perSecond := range rates[1:] {
		b.ReportMetric(p99(perSecond)/none, fmt.Sprintf("p99-ratio-%d/s", perSecond))
		b.ReportMetric(float64(moves[perSecond])/(turn.Seconds()*turns*float64(b.N)), fmt.Sprintf("moves/s-of-%d", perSecond))
	}
}
