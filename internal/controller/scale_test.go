package controller

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// many is how many instances the benchmarks of this file run: 10,000 unless
// the environment variable POINTSMAN_BENCH_INSTANCES says another number.
func many() int {
	if n, err := strconv.Atoi(os.Getenv("POINTSMAN_BENCH_INSTANCES")); err == nil && n > 0 {
		return n
	}
	return 10_000
}

// crowd is a controller with the real core over many instances with an
// embedded name each, and vantages that say that all is well.
type crowd struct {
	*Controller
	ledger   *memLedger
	policies []failover.Policy
	base     uint64        // bytes in use before it was made
	told     atomic.Uint64 // episodes and tapes
	end      func()
}

func newCrowd(tb testing.TB, n, vantages int, round time.Duration) *crowd {
	tb.Helper()
	return newCrowdWith(tb, n, vantages, round, func(*Config) {})
}

func newCrowdWith(tb testing.TB, n, vantages int, round time.Duration, change func(*Config)) *crowd {
	tb.Helper()
	p, err := failover.PresetPolicy(failover.PresetHTTP)
	if err != nil {
		tb.Fatal(err)
	}
	p.By, p.Clusters, p.Primary, p.Round, p.Expected = "ctl", [2]failover.ClusterName{"a", "b"}, "a", round, "cfg"
	p.SingleVantage = vantages == 1
	for v := range vantages {
		p.Vantages = append(p.Vantages, failover.VantagePolicy{
			Name: failover.VantageName(fmt.Sprint("van-", v)), Domain: failover.DomainName(fmt.Sprint("rack-", v)),
		})
	}
	c := &crowd{ledger: newLedger()}
	for i := range n {
		q := p
		q.Instance = failover.InstanceName(fmt.Sprintf("i%05d", i))
		name := failover.RecordName(q.Instance) + ".example."
		q.Names = []failover.NamePolicy{{
			Name: name, Provider: "embedded", Zone: "example.", Embedded: true,
			Targets: map[failover.ClusterName]failover.Target{"a": "a.example.net.", "b": "b.example.net."},
		}}
		c.policies = append(c.policies, q)
		c.ledger.records[q.Instance] = failover.Record{
			Version: failover.RecordVersion, Instance: q.Instance, Rev: 5, Term: 1, Epoch: 3, Active: "a", Mode: failover.ModeAuto, ConfigHash: "cfg",
			Names: []failover.NameRecord{{Name: name, Provider: "embedded", Zone: "example.", Embedded: true, Value: "a.example.net.", TTL: 30}},
		}
	}
	c.base = inUse()
	zone := &zone{}
	cfg := Config{
		Policies: c.policies, Lead: failover.Lead{Leading: true, Term: 1, Until: time.Now().Add(24 * time.Hour)},
		Ledger: c.ledger, Verifier: zone,
		Episode: func(context.Context, failover.Episode) { c.told.Add(1) },
		Tape:    func(context.Context, failover.Tape, *failover.Policy) { c.told.Add(1) },
	}
	change(&cfg)
	c.Controller, err = New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	c.end = func() {
		cancel()
		if err := <-ended; err != nil {
			tb.Error(err)
		}
	}
	return c
}

// inUse is heap and stacks, in bytes.
func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// up is a report of a vantage that sees both clusters well.
func up(v failover.VantageName, since, now time.Time) failover.Report {
	s := failover.Sighting{
		Vote: failover.Up, Reason: "200 OK", Hits: 10, Rise: 2, Fall: 3, Received: now, LastProbe: now, UpSince: since, Identity: true,
		Latency: time.Millisecond,
	}
	return failover.Report{Vantage: v, Clusters: map[failover.ClusterName]failover.Sighting{"a": s, "b": s}}
}

// report delivers every vantage's word on every instance, spread evenly over
// rounds, until the time is over.
func (c *crowd) report(since time.Time, d time.Duration) {
	round := c.policies[0].Round
	began := time.Now()
	sent := 0
	each := len(c.policies[0].Vantages)
	for {
		now := time.Now()
		if now.Sub(began) >= d {
			return
		}
		want := int(now.Sub(began).Seconds() / round.Seconds() * float64(each*len(c.policies)))
		for ; sent < want; sent++ {
			// A vantage goes through all instances once a round, and each
			// begins somewhere else.
			v := sent % each
			k := (sent/each + v*len(c.policies)/each) % len(c.policies)
			_ = c.Deliver(c.policies[k].Instance, up(c.policies[k].Vantages[v].Name, since, now))
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func cpu() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// settle reports until every instance has taken its record over.
func (c *crowd) settle(tb testing.TB, since time.Time) {
	tb.Helper()
	for range 20 {
		c.report(since, c.policies[0].Round)
		idle := 0
		for _, i := range c.Instances() {
			s, _ := c.Snapshot(i)
			if failover.Look(&s.State, s.Policy, time.Now()).Phase == failover.PhaseIdle {
				idle++
			}
		}
		if idle == len(c.policies) {
			return
		}
	}
	tb.Fatal("not every instance became idle")
}

// BenchmarkSteady is a quiet minute or so of many instances at a round of 5 s.
// It shows the share of one core, and the bytes and goroutines of an instance.
func BenchmarkSteady(b *testing.B) {
	for _, vantages := range []int{3, 1} {
		b.Run(fmt.Sprintf("vantages=%d", vantages), func(b *testing.B) {
			since := time.Now().Add(-time.Hour)
			c := newCrowd(b, many(), vantages, 5*time.Second)
			defer c.end()
			c.settle(b, since)
			for b.Loop() {
				before := cpu()
				c.report(since, 10*time.Second)
				b.ReportMetric(100*(cpu()-before).Seconds()/10, "%core")
				b.ReportMetric(float64(inUse()-c.base)/float64(len(c.policies)), "B/instance")
				b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
			}
		})
	}
}
