package ledger

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pointsman/internal/failover"
)

var errDisk = errors.New("input/output error")

// failing returns a config whose named step fails from the time it is armed.
func failing(dir, op string) (cfg Config, arm func()) {
	armed := false
	return Config{Dir: dir, Owner: "ctl-1", fault: func(at string) error {
		if armed && at == op {
			return errDisk
		}
		return nil
	}}, func() { armed = true }
}

// image copies the files as a power cut would leave them if everything that
// was written had been synced.
func image(t testing.TB, dir, to string) string {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{ledgerFile, ledgerFile + walSuffix} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func TestAFailedWritePoisonsTheStoreAndReadsGoOn(t *testing.T) {
	for _, op := range []string{"begin", "write", "commit", "committed"} {
		t.Run(op, func(t *testing.T) {
			dir := memDir(t)
			cfg, arm := failing(dir, op)
			s := mustOpen(t, cfg)
			hooked := 0
			s.OnCommit(func(Receipt) { hooked++ })
			before := mustCommit(t, s, orders(0, "a.lab.test."), entry("create", "")).Record
			serial, _ := s.Serial(t.Context(), "lab.test.")
			arm()
			for range 3 {
				next := before
				next.Names = slices.Clone(before.Names)
				next.Names[0].Value = "b.lab.test."
				rc, err := s.Commit(t.Context(), next, []failover.AuditEntry{entry("write", "")})
				if !errors.Is(err, ErrPoisoned) || !errors.Is(err, errDisk) || rc.Record.Rev != 0 || rc.Serials != nil {
					t.Fatalf("%+v, %v", rc, err)
				}
			}
			if err := s.Poisoned(); !errors.Is(err, ErrPoisoned) || !errors.Is(err, errDisk) {
				t.Fatal(err)
			}
			if got := mustLoad(t, s, "orders"); got.Rev != 1 || got.Names[0].Value != "a.lab.test." {
				t.Fatalf("memory moved on to %+v", got)
			}
			if now, err := s.Serial(t.Context(), "lab.test."); now != serial || err != nil || hooked != 1 {
				t.Fatalf("serial %d, %v, hooks called %d times", now, err, hooked)
			}
			if term, err := s.Term(); term != 1 || err != nil {
				t.Fatalf("the term that was persisted is still ours: %d, %v", term, err)
			}
			if got, err := s.Audit(t.Context(), AuditFilter{}); err != nil || len(got) == 0 {
				t.Fatalf("audit %v, %v", got, err)
			}
			mustVerify(t, s)
			crashed := image(t, dir, memDir(t))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			want := uint64(1)
			if op == "committed" {
				want = 2 // it had reached the disk: what nobody was told may still be so
			}
			for name, dir := range map[string]string{"closed": dir, "killed": crashed} {
				s := mustOpen(t, Config{Dir: dir})
				if got := mustLoad(t, s, "orders"); got.Rev != want {
					t.Errorf("%s: a restart finds rev %d, want %d", name, got.Rev, want)
				}
				mustVerify(t, s)
				mustCommit(t, s, mustLoad(t, s, "orders"), entry("claim", ""))
			}
		})
	}
}

func TestThePoisonKeepsTheFirstCauseWhenTheDiskRecovers(t *testing.T) {
	broken := true
	s := mustOpen(t, Config{Dir: memDir(t)})
	s.cfg.fault = func(op string) error {
		if broken && op == "commit" {
			return errDisk
		}
		return nil
	}
	_, err := s.Commit(t.Context(), named("orders", 0), nil)
	if !errors.Is(err, ErrPoisoned) {
		t.Fatal(err)
	}
	broken = false
	if _, err := s.Commit(t.Context(), named("orders", 0), nil); !errors.Is(err, errDisk) {
		t.Fatalf("a write was tried again: %v", err)
	}
}

func TestAFailedCheckpointPoisonsButTheCommitStands(t *testing.T) {
	dir := memDir(t)
	cfg, arm := failing(dir, "checkpoint")
	s := mustOpen(t, cfg)
	arm()
	s.unsaved = checkpointEvery - 1
	if rc := mustCommit(t, s, named("orders", 0)); rc.Record.Rev != 1 {
		t.Fatal(rc)
	}
	if _, err := s.Commit(t.Context(), named("orders", 1), nil); !errors.Is(err, ErrPoisoned) {
		t.Fatal(err)
	}
	if r := mustLoad(t, mustOpen(t, Config{Dir: image(t, dir, memDir(t))}), "orders"); r.Rev != 1 {
		t.Fatal(r.Rev)
	}
}

func TestAStartThatCannotWriteServesAndHasNoTerm(t *testing.T) {
	for _, op := range []string{"rewrite", "checkpoint", "begin", "commit", "committed"} {
		t.Run(op, func(t *testing.T) {
			dir := memDir(t)
			s := mustOpen(t, Config{Dir: dir})
			mustCommit(t, s, orders(0, "a.lab.test."), entry("create", ""))
			serial, _ := s.Serial(t.Context(), "lab.test.")
			cfg, arm := failing(image(t, dir, memDir(t)), op)
			arm()
			s = mustOpen(t, cfg)
			if term, err := s.Term(); term != 0 || !errors.Is(err, ErrPoisoned) || !errors.Is(err, errDisk) {
				t.Fatalf("term %d, %v", term, err)
			}
			if r := mustLoad(t, s, "orders"); r.Rev != 1 {
				t.Fatal(r.Rev)
			}
			if now, _ := s.Serial(t.Context(), "lab.test."); now != serial {
				t.Fatalf("serial %d, was %d", now, serial)
			}
			if all, err := s.All(t.Context()); len(all) != 1 || err != nil {
				t.Fatal(all, err)
			}
			if _, err := s.Commit(t.Context(), orders(1, "b.lab.test."), nil); !errors.Is(err, ErrPoisoned) {
				t.Fatal(err)
			}
			mustVerify(t, s)
		})
	}
}

func TestTheTermNeverComesBackAfterAFailedRaise(t *testing.T) {
	dir := memDir(t)
	s := mustOpen(t, Config{Dir: dir})
	first, err := s.Term()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cfg, arm := failing(dir, "committed") // raised on the disk, but nobody may use it
	arm()
	if err := mustOpen(t, cfg).Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, Config{Dir: dir})
	if term, err := s.Term(); err != nil || term != first+2 {
		t.Fatalf("term %d after %d and an unused one: %v", term, first, err)
	}
}

func TestAnotherProgramInTheFileIsNamed(t *testing.T) {
	dir := memDir(t)
	if err := mustOpen(t, Config{Dir: dir}).Close(); err != nil {
		t.Fatal(err)
	}
	d, err := openDisk(filepath.Join(dir, ledgerFile), nil, []string{"locking_mode(EXCLUSIVE)"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if err := d.exec("BEGIN EXCLUSIVE"); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), Config{Dir: dir, Owner: "ctl-1"})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), ledgerFile) {
		t.Fatal(err)
	}
}
