package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"pointsman/internal/failover"
)

func TestCommitIsReadBackBeforeAndAfterAReopen(t *testing.T) {
	dir := memDir(t)
	s := mustOpen(t, Config{Dir: dir})
	r := orders(0, "a.lab.test.")
	r.ConfigSince = time.Now() // with a monotonic reading and a local zone
	rc := mustCommit(t, s, r, entry("create", "first"), entry("claim", "second"))
	if rc.Record.Rev != 1 || rc.Record.Version != failover.RecordVersion || len(rc.Record.AuditHead) != 64 {
		t.Fatalf("receipt %+v", rc.Record)
	}
	if got := mustLoad(t, s, "orders"); !reflect.DeepEqual(got, rc.Record) {
		t.Fatalf("load\n%+v\nwant the receipt's\n%+v", got, rc.Record)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, Config{Dir: dir})
	if got := mustLoad(t, s, "orders"); !reflect.DeepEqual(got, rc.Record) {
		t.Fatalf("after a reopen\n%+v\nwant\n%+v", got, rc.Record)
	}
	mustVerify(t, s)
	all, err := s.All(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("all: %v, %v", all, err)
	}
	if _, ok, err := s.Load(t.Context(), "nobody"); ok || err != nil {
		t.Fatalf("an unknown instance: found %v, %v", ok, err)
	}
}

func TestCommitAtAnotherRevIsAConflictAndChangesNothing(t *testing.T) {
	s := mustOpen(t, Config{Dir: memDir(t)})
	mustCommit(t, s, named("orders", 0))
	for _, rev := range []uint64{0, 2, 99} {
		_, err := s.Commit(t.Context(), named("orders", rev), []failover.AuditEntry{entry("intent", "never")})
		if !errors.Is(err, ErrConflict) {
			t.Fatalf("rev %d: %v", rev, err)
		}
	}
	if _, err := s.Commit(t.Context(), named("billing", 1), nil); !errors.Is(err, ErrConflict) {
		t.Fatalf("a rev of a record that does not exist: %v", err)
	}
	if r := mustLoad(t, s, "orders"); r.Rev != 1 {
		t.Fatalf("rev %d after conflicts", r.Rev)
	}
	if st := s.Stats(); st.Conflicts != 4 || st.Commits != 1 || st.Audit != 0 {
		t.Fatalf("stats %+v", st)
	}
	if s.Poisoned() != nil {
		t.Fatal("a conflict poisoned the store")
	}
}

func TestAnOlderTokenIsRefused(t *testing.T) {
	s := mustOpen(t, Config{Dir: memDir(t)})
	r := named("orders", 0)
	r.Term, r.Epoch = 7, 3
	r = mustCommit(t, s, r).Record
	r.Term, r.Epoch = 6, 9
	if _, err := s.Commit(t.Context(), r, nil); !errors.Is(err, ErrOlderToken) {
		t.Fatalf("older term: %v", err)
	}
	r.Term, r.Epoch = 7, 2
	if _, err := s.Commit(t.Context(), r, nil); !errors.Is(err, ErrOlderToken) {
		t.Fatalf("older epoch: %v", err)
	}
	r.Epoch = 3
	mustCommit(t, s, r)
}

func TestWhatCanNeverBeStoredIsRefusedWithoutPoison(t *testing.T) {
	s := mustOpen(t, Config{Dir: memDir(t)})
	late := named("orders", 0)
	late.ConfigSince = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) // no RFC 3339 text exists
	newer := named("orders", 0)
	newer.Version = failover.RecordVersion + 1
	far := named("orders", 0)
	far.Term = 1 << 63
	badEntry := entry("intent", "")
	badEntry.At = late.ConfigSince
	for name, c := range map[string]struct {
		r failover.Record
		a []failover.AuditEntry
	}{
		"no instance":    {failover.Record{}, nil},
		"year 10000":     {late, nil},
		"newer version":  {newer, nil},
		"huge term":      {far, nil},
		"entry's moment": {named("orders", 0), []failover.AuditEntry{entry("create", ""), badEntry}},
	} {
		if _, err := s.Commit(t.Context(), c.r, c.a); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s.Poisoned() != nil {
		t.Fatal(s.Poisoned())
	}
	mustCommit(t, s, named("orders", 0), entry("create", "after"))
	mustVerify(t, s)
}

func TestTermGrowsWithEveryOpenAndOverEveryRecord(t *testing.T) {
	dir := memDir(t)
	last := uint64(0)
	for range 3 {
		s := mustOpen(t, Config{Dir: dir})
		term, err := s.Term()
		if err != nil || term != last+1 {
			t.Fatalf("term %d after %d: %v", term, last, err)
		}
		last = term
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := mustOpen(t, Config{Dir: dir})
	r := named("orders", 0)
	r.Term = 500 // adopted above a mark of an earlier ledger
	mustCommit(t, s, r)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, Config{Dir: dir})
	if term, err := s.Term(); err != nil || term != 501 {
		t.Fatalf("term %d, %v; want 501", term, err)
	}
}

func TestASecondHolderIsRefusedAndTheFirstIsNamed(t *testing.T) {
	dir := memDir(t)
	s := mustOpen(t, Config{Dir: dir, Owner: "ctl-7"})
	_, err := Open(t.Context(), Config{Dir: dir, Owner: "ctl-8"})
	if !errors.Is(err, ErrLocked) {
		t.Fatal(err)
	}
	for _, want := range []string{fmt.Sprintf("pid %d", os.Getpid()), "ctl-7", dir} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %q", err, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, Config{Dir: dir, Owner: "ctl-8"})
}

func TestFilesAreForTheOwnerOnly(t *testing.T) {
	dir := filepath.Join(memDir(t), "new", "data")
	s := mustOpen(t, Config{Dir: dir})
	mustCommit(t, s, named("orders", 0))
	h, err := OpenHistory(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("folder %v, %v", info.Mode(), err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		info, err := f.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
		names = append(names, f.Name())
	}
	if want := "history.db history.db-wal ledger.db ledger.db-wal lock"; strings.Join(names, " ") != want {
		t.Fatalf("files %v, want %s", names, want)
	}
}

func TestHooksSeeEveryCommitInOrderBeforeCommitReturns(t *testing.T) {
	s := mustOpen(t, Config{Dir: memDir(t)})
	var seen []Receipt // hooks run one at a time
	s.OnCommit(func(r Receipt) {
		if now := mustLoad(t, s, r.Record.Instance); now.Rev < r.Record.Rev {
			t.Errorf("load shows rev %d in the hook of rev %d", now.Rev, r.Record.Rev)
		}
		seen = append(seen, r)
		r.Record.Names[0].Value = "scribble." // a hook's receipt is its own
	})
	rc := mustCommit(t, s, orders(0, "a.lab.test."))
	if len(seen) != 1 || rc.Record.Names[0].Value != "a.lab.test." || mustLoad(t, s, "orders").Names[0].Value != "a.lab.test." {
		t.Fatalf("hook ran %d times, receipt %v", len(seen), rc.Record.Names[0].Value)
	}
	for i := range uint64(20) {
		mustCommit(t, s, orders(i+1, failover.Target(fmt.Sprintf("t%d.lab.test.", i))))
	}
	for i, r := range seen {
		if r.Record.Rev != uint64(i+1) {
			t.Fatalf("hook %d saw rev %d", i, r.Record.Rev)
		}
	}
}

func TestConcurrentCommitsAreAllKeptAndShareSyncs(t *testing.T) {
	dir := memDir(t)
	s := mustOpen(t, Config{Dir: dir})
	const writers, each = 16, 12
	var order []string
	s.OnCommit(func(r Receipt) { order = append(order, r.Record.AuditHead) })
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			id := failover.InstanceName(fmt.Sprintf("i%d", w))
			for i := range uint64(each) {
				r := named(id, i)
				if _, err := s.Commit(context.Background(), r, []failover.AuditEntry{entry("step", "one"), entry("step", "two")}); err != nil {
					t.Errorf("%s rev %d: %v", id, i, err)
				}
			}
		})
	}
	group.Wait()
	st := s.Stats()
	if st.Commits != writers*each || st.Audit != 2*writers*each || st.LastCommit <= 0 || st.MaxCommit < st.LastCommit {
		t.Fatalf("stats %+v", st)
	}
	if st.Syncs >= st.Commits {
		t.Errorf("%d syncs for %d commits: nothing was shared", st.Syncs, st.Commits)
	}
	mustVerify(t, s)
	entries, err := s.Audit(t.Context(), AuditFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for i, head := range order {
		if entries[2*i+1].Hash != head {
			t.Fatalf("commit %d noted head %s, the chain has %s", i, head, entries[2*i+1].Hash)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, Config{Dir: dir})
	for w := range writers {
		if r := mustLoad(t, s, failover.InstanceName(fmt.Sprintf("i%d", w))); r.Rev != each {
			t.Errorf("%s is at rev %d", r.Instance, r.Rev)
		}
	}
	mustVerify(t, s)
}

func TestTwoWritersOfOneRecordNeverBothWin(t *testing.T) {
	s := mustOpen(t, Config{Dir: memDir(t)})
	var won [8]int
	for rev := range uint64(10) {
		var group sync.WaitGroup
		var wins [8]bool
		for w := range wins {
			group.Go(func() {
				_, err := s.Commit(context.Background(), named("orders", rev), nil)
				if err != nil && !errors.Is(err, ErrConflict) {
					t.Error(err)
				}
				wins[w] = err == nil
			})
		}
		group.Wait()
		n := 0
		for w, ok := range wins {
			if ok {
				n++
				won[w]++
			}
		}
		if n != 1 {
			t.Fatalf("rev %d: %d writers won", rev, n)
		}
	}
}

func TestAWaitingCommitCanBeWithdrawn(t *testing.T) {
	s := mustOpen(t, Config{Dir: memDir(t)})
	<-s.turn // the disk hangs
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Commit(ctx, named("orders", 0), nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, ok, err := s.Load(t.Context(), "orders"); ok || err != nil {
		t.Fatalf("found %v, %v", ok, err)
	}
	if _, err := s.Audit(ctx, AuditFilter{}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	s.endTurn()
	mustCommit(t, s, named("orders", 0))
}

func TestAClosedStoreReadsAndDoesNotWrite(t *testing.T) {
	s := mustOpen(t, Config{Dir: memDir(t)})
	mustCommit(t, s, named("orders", 0))
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Commit(t.Context(), named("orders", 1), nil); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if err := s.VerifyChain(t.Context()); err != nil {
		t.Fatal("an empty chain needs no disk:", err)
	}
	if mustLoad(t, s, "orders").Rev != 1 {
		t.Fatal("lost")
	}
}

func TestConfigFaultsAreAllNamed(t *testing.T) {
	errs := Config{Owner: "two words"}.Validate()
	if len(errs) != 2 || !strings.HasPrefix(errs[0].Error(), "dir:") || !strings.HasPrefix(errs[1].Error(), "owner:") {
		t.Fatal(errs)
	}
	if _, err := Open(t.Context(), Config{}); err == nil {
		t.Fatal("an empty config was accepted")
	}
	if errs := (Config{Dir: "x", Owner: "ctl-1"}).Validate(); len(errs) > 0 {
		t.Fatal(errs)
	}
}

func TestALongLogIsMovedIntoTheFile(t *testing.T) {
	dir := memDir(t)
	s := mustOpen(t, Config{Dir: dir})
	<-s.turn // so that the commits line up and share syncs
	var group sync.WaitGroup
	for i := range checkpointEvery {
		group.Go(func() {
			if _, err := s.Commit(context.Background(), named(failover.InstanceName(fmt.Sprintf("i%d", i)), 0), nil); err != nil {
				t.Error(err)
			}
		})
	}
	s.endTurn()
	group.Wait()
	before := s.Stats().Checkpoint
	info, err := os.Stat(filepath.Join(dir, ledgerFile))
	if err != nil || before <= 0 || info.Size() < 64<<10 {
		t.Fatalf("after %d records the file has %d bytes, %v", checkpointEvery, info.Size(), err)
	}
}
