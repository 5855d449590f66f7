package ledger

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const lockFile = "lock"

// lockSize is the fixed size of the lock file's text. It is overwritten in
// place and never truncated, so that a restart on a full disk needs no new
// block to say who holds the lock.
const lockSize = 256

// fileLock is an flock on the lock file. The kernel frees it when the process
// ends in any way; the text in it is for people and decides nothing.
type fileLock struct{ f *os.File }

func acquireLock(dir, owner string) (*fileLock, error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if errors.Is(err, unix.EROFS) {
		// flock works on a file that is open for reading only.
		f, err = os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	}
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("open lock file: %s is a link: who put it there?", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	if err := flock(f); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w by %s: stop that process, or give this controller a data folder of its own (%s)",
				ErrLocked, readHolder(f), dir)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	text := fmt.Sprintf("pid %d owner %s\n", os.Getpid(), owner)
	// A full disk must not keep the controller from serving: the flock holds
	// with or without the text.
	_, _ = f.WriteAt([]byte(text+strings.Repeat("\n", lockSize-len(text))), 0)
	return &fileLock{f: f}, nil
}

func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// readHolder says in words who wrote the lock file.
func readHolder(f *os.File) string {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, lockSize))
	line, _, _ := strings.Cut(string(b), "\n")
	var pid int
	var owner string
	if _, scanErr := fmt.Sscanf(line, "pid %d owner %s", &pid, &owner); err != nil || scanErr != nil {
		return "another process"
	}
	return fmt.Sprintf("pid %d (controller %s)", pid, owner)
}

// release frees the lock. The file stays: removing it would let two processes
// lock two different files of the same name.
func (l *fileLock) release() error { return l.f.Close() }
