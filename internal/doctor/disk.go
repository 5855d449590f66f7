package doctor

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// SyncFacts is how long a small write took until the disk said that it is
// durable.
type SyncFacts struct {
	Dir   string
	Tries int
	P50   time.Duration
	P99   time.Duration // the longest, of up to 100 tries
	RAM   bool          // the folder is in memory
	Err   string
}

const (
	// syncTries is few enough for a slow disk within the deadline of a check.
	syncTries = 20
	// syncBytes is about what one commit appends to the log of the ledger.
	syncBytes = 4096
	syncWarn  = 100 * time.Millisecond
	syncFail  = time.Second
)

// MeasureSync writes into a scratch file of the folder and syncs it, 20 times,
// and removes the file.
func MeasureSync(ctx context.Context, dir string) (s SyncFacts) {
	s.Dir = dir
	s.RAM = inMemory(dir)
	var tag [6]byte
	_, _ = rand.Read(tag[:]) // never fails, see its documentation
	path := filepath.Join(dir, ".doctor-"+hex.EncodeToString(tag[:]))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		s.Err = plain(err)
		return s
	}
	defer func() {
		f.Close()
		if err := os.Remove(path); err != nil && s.Err == "" {
			s.Err = "the scratch file " + path + " could not be removed: " + plain(err)
		}
	}()
	var took []time.Duration
	block := make([]byte, syncBytes)
	for range syncTries {
		if ctx.Err() != nil {
			break
		}
		began := time.Now()
		if _, err = f.Write(block); err == nil {
			err = f.Sync()
		}
		if err != nil {
			s.Err = plain(err)
			return s
		}
		took = append(took, time.Since(began))
	}
	if s.Tries = len(took); s.Tries == 0 {
		s.Err = "the disk did not sync once in time"
		return s
	}
	slices.Sort(took)
	s.P50, s.P99 = took[(len(took)-1)/2], took[len(took)-1]
	return s
}

// plain drops operation and path, which stand beside it.
func plain(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err.Error()
	}
	return err.Error()
}

// JudgeSync says whether the disk is quick enough for a ledger: an intent is
// durable before the first step of a move, and each step after it.
func JudgeSync(s SyncFacts) Finding {
	const id = "ledger.sync"
	evidence := fmt.Sprintf("%d writes of %d bytes with sync: p50 %s, p99 %s", s.Tries, syncBytes, roughly(s.P50), roughly(s.P99))
	switch {
	case s.Err != "" && s.Tries == 0:
		return bad(Fail, id, s.Dir, "make the folder one that the controller may write, on a disk that has room", "no durable write is possible: %s", s.Err)
	case s.Err != "":
		return bad(Fail, id, s.Dir, "look at the disk", "%s", s.Err)
	case s.RAM:
		return bad(Warn, id, s.Dir, "put controller.data on a disk: what is in memory is gone after a reboot, and with it where every name points", "the folder is in memory (tmpfs)")
	case s.P99 > syncFail:
		return bad(Fail, id, s.Dir, "put controller.data on a disk that is not shared with heavy writers, best an SSD", "%s: a move needs several", evidence)
	case s.P99 > syncWarn:
		return bad(Warn, id, s.Dir, "put controller.data on a quicker disk: each step of a move waits for one", "%s", evidence)
	}
	return okay(id, s.Dir, "%s", evidence)
}

// SpaceFacts is what is left of a file system.
type SpaceFacts struct {
	Dir   string `json:"folder"`
	Free  uint64 `json:"free_bytes"` // for users without privileges
	Total uint64 `json:"total_bytes"`
	Files uint64 `json:"free_inodes"`
	Nodes uint64 `json:"total_inodes"` // 0: the file system has no such bound
	Err   string `json:"error,omitempty"`
}

// MeasureSpace asks the file system of a folder.
func MeasureSpace(dir string) SpaceFacts {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return SpaceFacts{Dir: dir, Err: err.Error()}
	}
	size := uint64(st.Bsize)
	return SpaceFacts{Dir: dir, Free: uint64(st.Bavail) * size, Total: st.Blocks * size, Files: st.Ffree, Nodes: st.Files}
}

const (
	mib       = 1 << 20
	spaceFail = 64 * mib // a ledger of 10,000 instances with a year of audit is near that
	spaceWarn = 512 * mib
	nodesWarn = 1000
)

// JudgeSpace says whether the ledger has room.
func JudgeSpace(s SpaceFacts) Finding {
	const id = "ledger.space"
	evidence := fmt.Sprintf("%s of %s free", bytesWords(s.Free), bytesWords(s.Total))
	switch {
	case s.Err != "":
		return Skip(id, s.Dir, "cannot be asked: %s", s.Err)
	case s.Free < spaceFail:
		return bad(Fail, id, s.Dir, "free the disk before it is full: the first write that fails ends all decisions until a restart", "%s", evidence)
	case s.Nodes > 0 && s.Files < nodesWarn:
		return bad(Warn, id, s.Dir, "remove small files from that disk", "%s, and room for %d more files", evidence, s.Files)
	case s.Free < spaceWarn:
		return bad(Warn, id, s.Dir, "free the disk, or put controller.data on one of its own", "%s", evidence)
	}
	return okay(id, s.Dir, "%s", evidence)
}

func bytesWords(n uint64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= mib:
		return fmt.Sprintf("%.0f MiB", float64(n)/mib)
	default:
		return fmt.Sprintf("%d KiB", n>>10)
	}
}
