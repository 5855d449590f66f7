package ledger

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"pointsman/internal/failover"
)

// One commit after the other: the latency of an intent, sync included, on the
// disk that holds the temporary folder.
func BenchmarkCommit(b *testing.B) {
	s := mustOpen(b, Config{Dir: b.TempDir()})
	r := orders(0, "a.lab.test.")
	b.ResetTimer()
	for b.Loop() {
		r.Names[0].TTL ^= 1
		rc, err := s.Commit(context.Background(), r, []failover.AuditEntry{entry("intent", "from a to b"), entry("write", "orders.lab.test.")})
		if err != nil {
			b.Fatal(err)
		}
		r.Rev = rc.Record.Rev
	}
}

// The same without a disk: what we and SQLite cost.
func BenchmarkCommitInMemory(b *testing.B) {
	s := mustOpen(b, Config{Dir: memDir(b)})
	r := orders(0, "a.lab.test.")
	b.ResetTimer()
	for b.Loop() {
		r.Names[0].TTL ^= 1
		rc, err := s.Commit(context.Background(), r, []failover.AuditEntry{entry("intent", "from a to b"), entry("write", "orders.lab.test.")})
		if err != nil {
			b.Fatal(err)
		}
		r.Rev = rc.Record.Rev
	}
}

// Many instances at once: ns/op is the inverse of commits per second.
func BenchmarkCommitManyInstances(b *testing.B) {
	s := mustOpen(b, Config{Dir: b.TempDir()})
	var next atomic.Int64
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		r := orders(0, "a.lab.test.")
		r.Instance = failover.InstanceName(fmt.Sprintf("i%d", next.Add(1)))
		for pb.Next() {
			r.Names[0].TTL ^= 1
			rc, err := s.Commit(context.Background(), r, []failover.AuditEntry{entry("intent", "from a to b")})
			if err != nil {
				b.Error(err)
				return
			}
			r.Rev = rc.Record.Rev
		}
	})
	st := s.Stats()
	b.ReportMetric(float64(st.Commits)/float64(st.Syncs), "commits/sync")
}

func BenchmarkLoad(b *testing.B) {
	s := mustOpen(b, Config{Dir: memDir(b)})
	mustCommit(b, s, orders(0, "a.lab.test."))
	for b.Loop() {
		if _, ok, err := s.Load(context.Background(), "orders"); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
