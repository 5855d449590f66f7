package ledger

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"pointsman/internal/failover"
)

func peek(t *testing.T, dir string) Peeked {
	t.Helper()
	p, err := Peek(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPeekShowsTheLastCommitAndChangesNothing(t *testing.T) {
	dir := memDir(t)
	s := mustOpen(t, Config{Dir: dir})
	mustCommit(t, s, orders(0, "a.lab.test."), entry("create", "new"))
	mustCommit(t, s, named("billing", 0), entry("create", "new"))
	term, err := s.Term()
	if err != nil {
		t.Fatal(err)
	}
	look := func(when string, target failover.Target) {
		t.Helper()
		before := snapshot(t, dir)
		p := peek(t, dir)
		if p.Term != term || p.Path != filepath.Join(dir, ledgerFile) || p.Written.IsZero() || len(p.Records) != 2 ||
			p.Records[0].Instance != "billing" || p.Records[1].Names[0].Value != target {
			t.Errorf("%s: %+v", when, p)
		}
		if got, err := s.Serial(t.Context(), "lab.test."); err == nil && p.Serials["lab.test."] != got || p.Serials["lab.test."] == 0 {
			t.Errorf("%s: serials %v, the ledger says %d", when, p.Serials, got)
		}
		for name, was := range before {
			if is, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(is) != was {
				t.Errorf("%s: it changed %s: %v", when, name, err)
			}
		}
	}
	look("beside the controller, with a log", "a.lab.test.")
	r := mustLoad(t, s, "orders")
	r.Names[0].Value = "b.lab.test."
	mustCommit(t, s, r, entry("write", "moved"))
	look("after a commit that is only in the log", "b.lab.test.")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	look("after its end", "b.lab.test.")
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "pointsman-ledger-*")); err != nil || len(left) > 0 {
		t.Errorf("copies are left behind: %q, %v", left, err)
	}
}

// A controller can start, and hold the ledger, while somebody looks.
func TestPeekTakesNoLock(t *testing.T) {
	dir := closed(t)
	lock, err := acquireLock(dir, "ctl-1")
	if err != nil {
		t.Fatal(err)
	}
	if p := peek(t, dir); len(p.Records) == 0 {
		t.Error("nothing in it")
	}
	if err := lock.release(); err != nil {
		t.Fatal(err)
	}
}

// What is seen beside a writer is never older than what it had acknowledged,
// and never torn.
func TestPeekBesideAWriter(t *testing.T) {
	dir := memDir(t)
	s := mustOpen(t, Config{Dir: dir})
	mustCommit(t, s, named("orders", 0), entry("create", "new"))
	stop := make(chan struct{})
	var g errgroup.Group
	g.Go(func() error {
		for {
			select {
			case <-stop:
				return nil
			default:
			}
			r, _, err := s.Load(t.Context(), "orders")
			if err != nil {
				return err
			}
			r.Epoch++
			if _, err := s.Commit(t.Context(), r, []failover.AuditEntry{entry("write", strings.Repeat("x", 300))}); err != nil {
				return err
			}
		}
	})
	seen := 0
	for range 5 {
		acknowledged := mustLoad(t, s, "orders").Rev
		p, err := Peek(t.Context(), dir)
		switch {
		case err != nil && !strings.HasSuffix(err.Error(), "is being written all the time"):
			t.Error(err)
		case err == nil && p.Records[0].Rev < acknowledged:
			t.Errorf("revision %d, and %d was acknowledged before", p.Records[0].Rev, acknowledged)
		case err == nil:
			seen++
		}
	}
	close(stop)
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if p := peek(t, dir); p.Records[0].Rev != mustLoad(t, s, "orders").Rev {
		t.Errorf("at rest: revision %d", p.Records[0].Rev)
	}
	if seen == 0 {
		t.Error("no look at a ledger that is written all the time saw anything")
	}
	t.Logf("%d of 5 looks saw it", seen)
}

func TestPeekNamesWhatIsWrong(t *testing.T) {
	if _, err := Peek(t.Context(), filepath.Join(t.TempDir(), "nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	dir := closed(t, "UPDATE records SET body = x'7b7d' WHERE instance = (SELECT min(instance) FROM records)")
	if _, err := Peek(t.Context(), dir); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), filepath.Join(dir, ledgerFile)) {
		t.Errorf("a record that was changed: %v", err)
	}
	dir = closed(t, "PRAGMA user_version = 99")
	if _, err := Peek(t.Context(), dir); !errors.Is(err, ErrNewer) {
		t.Errorf("a newer ledger: %v", err)
	}
	dir = memDir(t)
	if err := os.WriteFile(filepath.Join(dir, ledgerFile), []byte("no ledger at all, and long enough to be told from an empty one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Peek(t.Context(), dir); !errors.Is(err, ErrCorrupt) {
		t.Errorf("no ledger: %v", err)
	}
}

// TestPeekWhereNoTemporaryFileCanBeWritten: a full disk is one of the nights on
// which a ledger is read beside its owner.
func TestPeekWhereNoTemporaryFileCanBeWritten(t *testing.T) {
	if _, err := os.Stat(besides); err != nil {
		t.Skipf("this system has no %s", besides)
	}
	dir := t.TempDir()
	if err := mustOpen(t, Config{Dir: dir}).Close(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", filepath.Join(dir, "nosuch"))
	if _, err := Peek(t.Context(), dir); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(besides + "/pointsman-ledger-*"); len(left) > 0 {
		t.Errorf("it leaves %v", left)
	}
}
