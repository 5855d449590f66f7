package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pointsman/internal/failover"
)

// tinyDisk mounts a file system of 512 KiB. Without the right to mount there
// is none, and the same promises are then shown by the seccomp tests alone.
func tinyDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	err := unix.Mount("none", dir, "tmpfs", 0, "size=512k")
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		t.Logf("mounting is not permitted: %v", err)
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill takes every block that is left.
func fill(t *testing.T, disk string) (free func()) {
	t.Helper()
	path := filepath.Join(disk, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, n := range []int{4096, 1} {
		for err == nil {
			_, err = f.Write(make([]byte, n))
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
		err = nil
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFullDiskStopsWritesAndNothingElseAlsoAfterARestart(t *testing.T) {
	disk := tinyDisk(t)
	if disk == "" {
		return
	}
	dir := filepath.Join(disk, "data")
	s := mustOpen(t, Config{Dir: dir})
	last := mustCommit(t, s, orders(0, "a.lab.test."), entry("create", "")).Record
	free := fill(t, disk)
	var err error
	for n := 0; err == nil; n++ {
		if n > 1000 {
			t.Fatal("a full disk took a thousand commits")
		}
		next := last
		next.Names = append([]failover.NameRecord(nil), last.Names...)
		next.Names[0].Value = failover.Target(fmt.Sprintf("t%d.lab.test.", n))
		var rc Receipt
		if rc, err = s.Commit(t.Context(), next, []failover.AuditEntry{entry("write", strings.Repeat("x", 1000))}); err == nil {
			last = rc.Record
		}
	}
	if !errors.Is(err, ErrPoisoned) || !strings.Contains(err.Error(), "full") {
		t.Fatal(err)
	}
	serial, _ := s.Serial(t.Context(), "lab.test.")
	serves := func(s *Store) {
		t.Helper()
		got := mustLoad(t, s, "orders")
		if got.Rev != last.Rev || got.Names[0] != last.Names[0] || got.AuditHead != last.AuditHead {
			t.Fatalf("serves %+v, the last commit is %+v", got, last)
		}
		if now, _ := s.Serial(t.Context(), "lab.test."); now != serial {
			t.Fatalf("serial %d, was %d", now, serial)
		}
		mustVerify(t, s)
	}
	serves(s)
	crashed := image(t, dir, memDir(t))

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		fill(t, disk) // Close may have freed the log
		s = mustOpen(t, Config{Dir: dir})
		if term, err := s.Term(); term != 0 || !errors.Is(err, ErrPoisoned) {
			t.Fatalf("term %d, %v on a full disk", term, err)
		}
		if _, err := s.Commit(t.Context(), last, nil); !errors.Is(err, ErrPoisoned) {
			t.Fatal(err)
		}
		serves(s)
		if _, err := Open(t.Context(), Config{Dir: dir, Owner: "ctl-2"}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "ctl-1") {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}

	free()
	s = mustOpen(t, Config{Dir: dir})
	if term, err := s.Term(); err != nil || term < 2 {
		t.Fatalf("term %d, %v with room again", term, err)
	}
	serves(s)
	mustCommit(t, s, last)

	serves(mustOpen(t, Config{Dir: crashed}))
}

// A process that was killed on the full disk leaves a log full of commits; the
// next start reads them although it can neither move nor extend the log.
func TestAKillOnAFullDiskLeavesTheLastCommitReadable(t *testing.T) {
	disk := tinyDisk(t)
	if disk == "" {
		return
	}
	dir := image(t, seeded(t), filepath.Join(disk, "data"))
	fill(t, disk)
	for range 2 {
		s := mustOpen(t, Config{Dir: dir})
		if r := mustLoad(t, s, "orders"); r.Rev != 3 {
			t.Fatal(r.Rev)
		}
		mustVerify(t, s)
		// Enough room may be left inside the files for a term; if so the store
		// is whole, if not it is poisoned: never in between.
		if _, err := s.Term(); (err == nil) != (s.Poisoned() == nil) {
			t.Fatalf("term says %v, poison %v", err, s.Poisoned())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAReadOnlyDiskIsServedFrom(t *testing.T) {
	for _, state := range []string{"killed", "closed"} {
		t.Run(state, func(t *testing.T) {
			disk := tinyDisk(t)
			if disk == "" {
				return
			}
			dir := image(t, seeded(t), filepath.Join(disk, "data"))
			rev := uint64(3)
			l, err := acquireLock(dir, "ctl-1") // makes the lock file
			if err != nil || l.release() != nil {
				t.Fatal(err)
			}
			if state == "closed" {
				s := mustOpen(t, Config{Dir: dir})
				mustCommit(t, s, named("orders", 3), entry("step", "more"))
				rev++
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if err := unix.Mount("none", disk, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
			s := mustOpen(t, Config{Dir: dir})
			if r := mustLoad(t, s, "orders"); r.Rev != rev {
				t.Fatalf("rev %d, want %d", r.Rev, rev)
			}
			if term, err := s.Term(); term != 0 || !errors.Is(err, ErrPoisoned) {
				t.Fatalf("term %d, %v", term, err)
			}
			mustVerify(t, s)
			if _, err := Open(t.Context(), Config{Dir: dir, Owner: "ctl-2"}); !errors.Is(err, ErrLocked) {
				t.Fatal(err)
			}
			h, err := OpenHistory(t.Context(), dir)
			if err != nil {
				t.Fatal("a history that cannot be written must not stop a start:", err)
			}
			defer h.Close()
			if h.Stats().Trouble == nil {
				t.Fatal("no trouble is reported")
			}
		})
	}
}

func TestANewLedgerOnAFullDiskIsAnErrorAndLeavesNoHalf(t *testing.T) {
	disk := tinyDisk(t)
	if disk == "" {
		return
	}
	dir := filepath.Join(disk, "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	free := fill(t, disk)
	if _, err := Open(t.Context(), Config{Dir: dir, Owner: "ctl-1"}); err == nil || errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	free()
	mustCommit(t, mustOpen(t, Config{Dir: dir}), named("orders", 0))
}
