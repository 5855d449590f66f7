package ledger

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"pointsman/internal/failover"
)

// filter makes the kernel fail some system calls of this process with errno
// (seccomp), from now on and in every thread: a disk that dies for real, seen
// by every layer above it.
type filter struct {
	errno unix.Errno
	calls []uint32
}

var (
	eioAtSync     = filter{unix.EIO, []uint32{unix.SYS_FSYNC, unix.SYS_FDATASYNC}}
	enospcAtWrite = filter{unix.ENOSPC, []uint32{unix.SYS_PWRITE64}} // Go's own output uses write
)

func (f filter) install() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	prog := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}} // seccomp_data.nr
	for i, nr := range f.calls {
		prog = append(prog, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: uint8(len(f.calls) - i), K: nr})
	}
	prog = append(prog,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(f.errno)},
	)
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	p := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&p)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}

// report says what a poisoned store still does, a line each.
func report(s *Store, instance failover.InstanceName) error {
	ctx := context.Background()
	r, ok, err := s.Load(ctx, instance)
	fmt.Printf("load %v rev %d err %v\n", ok, r.Rev, err)
	_, err = s.Commit(ctx, named(instance, r.Rev), nil)
	fmt.Printf("commit poisoned %v\n", errors.Is(err, ErrPoisoned))
	entries, err := s.Audit(ctx, AuditFilter{})
	fmt.Printf("audit %d err %v\n", len(entries), err)
	fmt.Printf("chain err %v\n", s.VerifyChain(ctx))
	term, err := s.Term()
	fmt.Printf("term %d poisoned %v\n", term, errors.Is(err, ErrPoisoned))
	fmt.Printf("cause %v\n", s.Poisoned())
	return nil
}

// commitUnderFilter commits twice on a good disk and once on a bad one.
func commitUnderFilter(dir string, f filter) error {
	s, err := Open(context.Background(), Config{Dir: dir, Owner: "child"})
	if err != nil {
		return err
	}
	for rev := range uint64(2) {
		if _, err := s.Commit(context.Background(), named("orders", rev), []failover.AuditEntry{entry("step", "good")}); err != nil {
			return err
		}
	}
	if err := f.install(); err != nil {
		return err
	}
	_, err = s.Commit(context.Background(), named("orders", 2), []failover.AuditEntry{entry("step", "bad")})
	fmt.Printf("first poisoned %v\n", errors.Is(err, ErrPoisoned))
	return report(s, "orders") // and die without Close
}

// openUnderFilter opens a ledger on a disk that is bad from the start.
func openUnderFilter(dir string, f filter) error {
	if err := f.install(); err != nil {
		return err
	}
	s, err := Open(context.Background(), Config{Dir: dir, Owner: "child"})
	if err != nil {
		return err
	}
	return report(s, "orders")
}

func TestAFailedSyncOrFullDiskPoisonsUnderTheRealKernel(t *testing.T) {
	for name, cause := range map[string]string{"eio-commit": "disk I/O error", "enospc-write": "full"} {
		t.Run(name, func(t *testing.T) {
			dir := memDir(t)
			said := inChild(t, name, dir)
			for _, want := range []string{
				"first poisoned true\n", "load true rev 2 err <nil>\n", "commit poisoned true\n",
				"audit 2 err <nil>\n", "chain err <nil>\n", "term 1 poisoned false\n", cause,
			} {
				if !strings.Contains(said, want) {
					t.Errorf("no %q in\n%s", want, said)
				}
			}
			s := mustOpen(t, Config{Dir: dir})
			// The bad commit may have reached the file; the good ones must have.
			if r := mustLoad(t, s, "orders"); r.Rev != 2 && r.Rev != 3 {
				t.Fatalf("rev %d after a restart", r.Rev)
			}
			mustVerify(t, s)
			mustCommit(t, s, mustLoad(t, s, "orders"))
		})
	}
}

func TestAStartOnADyingDiskServesUnderTheRealKernel(t *testing.T) {
	for _, name := range []string{"eio-open", "enospc-open"} {
		t.Run(name, func(t *testing.T) {
			dir := seeded(t)
			said := inChild(t, name, dir)
			for _, want := range []string{
				"load true rev 3 err <nil>\n", "commit poisoned true\n", "audit 3 err <nil>\n", "chain err <nil>\n", "term 0 poisoned true\n", "rewrite the log: ",
			} {
				if !strings.Contains(said, want) {
					t.Errorf("no %q in\n%s", want, said)
				}
			}
			s := mustOpen(t, Config{Dir: dir})
			if r := mustLoad(t, s, "orders"); r.Rev != 3 {
				t.Fatalf("rev %d after a restart on a good disk", r.Rev)
			}
			mustCommit(t, s, named("orders", 3))
			mustVerify(t, s)
		})
	}
}
