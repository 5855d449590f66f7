package ledger

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pointsman/internal/failover"
)

// childEnv selects what a re-executed test binary does in place of testing.
const childEnv = "LEDGER_TEST_CHILD"

func TestMain(m *testing.M) {
	if child, ok := children[os.Getenv(childEnv)]; ok {
		if err := child(os.Args[len(os.Args)-1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// A flag on the command line still wins: it is parsed later.
	if err := flag.Set("rapid.checks", strconv.Itoa(100/thorough)); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// memDir is a folder in memory where there is one: a sync costs nothing there,
// and that it is asked for is shown by the tests in which the kernel refuses it.
func memDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "ledger-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// mustOpen opens a ledger that is closed at the end of the test.
func mustOpen(t testing.TB, cfg Config) *Store {
	t.Helper()
	if cfg.Owner == "" {
		cfg.Owner = "ctl-1"
	}
	s, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func mustCommit(t testing.TB, s *Store, r failover.Record, entries ...failover.AuditEntry) Receipt {
	t.Helper()
	rc, err := s.Commit(context.Background(), r, entries)
	if err != nil {
		t.Fatal(err)
	}
	return rc
}

func mustLoad(t testing.TB, s *Store, id failover.InstanceName) failover.Record {
	t.Helper()
	r, ok, err := s.Load(context.Background(), id)
	if err != nil || !ok {
		t.Fatalf("load %s: found %v, %v", id, ok, err)
	}
	return r
}

func mustVerify(t testing.TB, s *Store) {
	t.Helper()
	if err := s.VerifyChain(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// orders is a record with one embedded and one foreign name.
func orders(rev uint64, target failover.Target) failover.Record {
	mark := failover.Mark{Token: failover.Token{Term: 1, Epoch: 1}, Op: "create", By: "ctl-1"}
	return failover.Record{
		Instance: "orders", Rev: rev, Term: 1, Epoch: 1, Active: "a",
		Names: []failover.NameRecord{
			{Name: "orders.lab.test.", Provider: "embedded", Zone: "lab.test.", Embedded: true, Value: target, TTL: 30, Mark: mark},
			{Name: "orders.example.com.", Provider: "bind", Zone: "example.com.", Value: target, TTL: 30, Mark: mark},
		},
		Standby: failover.Standby{State: failover.StandbyPlain},
	}
}

func named(id failover.InstanceName, rev uint64) failover.Record {
	return failover.Record{Instance: id, Rev: rev, Active: "a", Standby: failover.Standby{State: failover.StandbyPlain}}
}

func entry(kind, text string) failover.AuditEntry {
	return failover.AuditEntry{
		At: time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC), Kind: kind, By: "ctl-1", Text: text,
		Token: failover.Token{Term: 1, Epoch: 1},
	}
}
