package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pointsman/internal/failover"
)

// peekTries is how often a file that changes while it is copied is copied
// again, and peekPause the time between two tries.
const (
	peekTries = 20
	peekPause = 50 * time.Millisecond
)

// Peeked is what the files of a ledger say.
type Peeked struct {
	Path    string            // of ledger.db
	Written time.Time         // when it or its log was written last
	Term    uint64            // the highest that was handed out
	Schema  int64             // version of the file
	Records []failover.Record // sorted by instance

	Serials map[failover.RecordName]uint32 // of embedded zones
}

// Peek reads a ledger beside whoever holds it, or when nobody does. It takes
// no lock, so it stops no controller from starting, and writes nothing into
// the folder: it reads a copy. What a running controller had acknowledged before
// is in it, and nothing that is half written: commits are appended to the log
// with checksums (https://sqlite.org/walformat.html), of which a torn end is
// passed over, and a log is begun anew only after all of it has gone into the
// file. So a copy is good when the file stood still while both were copied.
//
// ErrCorrupt and ErrNewer are those of [Open]. When the file never stood still
// the error says so: whoever writes it is alive and can be asked.
func Peek(ctx context.Context, dir string) (Peeked, error) {
	path := filepath.Join(dir, ledgerFile)
	for try := 1; ; try++ {
		p, still, err := peekOnce(path)
		switch {
		case err == nil && still:
			return p, nil
		case err != nil && still:
			return Peeked{}, fmt.Errorf("read ledger: %w", err)
		case try == peekTries:
			return Peeked{}, fmt.Errorf("read ledger: %s is being written all the time", path)
		}
		select {
		case <-ctx.Done():
			return Peeked{}, fmt.Errorf("read ledger: %w", ctx.Err())
		case <-time.After(peekPause):
		}
	}
}

// peekOnce reads one copy; still says that the file did not change meanwhile,
// so that what was read, or the error, is about the ledger and not the copy.
func peekOnce(path string) (p Peeked, still bool, err error) {
	before, err := os.Stat(path)
	if err != nil {
		return p, true, err
	}
	dir, err := copyAside(path)
	if err != nil {
		return p, true, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p, err = readCopy(filepath.Join(dir, ledgerFile), path)
	after, serr := os.Stat(path)
	if serr != nil {
		return p, true, serr
	}
	p.Path, p.Written = path, after.ModTime()
	if log, err := os.Stat(path + walSuffix); err == nil && log.ModTime().After(p.Written) {
		p.Written = log.ModTime()
	}
	return p, before.Size() == after.Size() && before.ModTime().Equal(after.ModTime()), err
}

// besides is where a copy goes when the folder for temporary files takes none:
// a full disk is one of the nights on which a ledger is read beside its owner.
const besides = "/dev/shm"

// copyAside copies the ledger and its log into a new folder that only we read.
func copyAside(path string) (dir string, err error) {
	for _, parent := range []string{os.TempDir(), besides} {
		dir, one := os.MkdirTemp(parent, "pointsman-ledger-")
		if one == nil {
			one = copyInto(dir, path)
		}
		if one == nil {
			return dir, nil
		}
		if dir != "" {
			one = errors.Join(one, os.RemoveAll(dir))
		}
		if err == nil {
			err = one
		}
	}
	return "", err
}

func copyInto(dir, path string) error {
	for _, suffix := range []string{"", walSuffix} {
		if err := copyFile(filepath.Join(dir, ledgerFile+suffix), path+suffix); err != nil && (suffix == "" || !errors.Is(err, os.ErrNotExist)) {
			return err
		}
	}
	return nil
}

func copyFile(to, from string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}

// readCopy reads a ledger that nobody else has; errors name the original.
func readCopy(path, original string) (p Peeked, err error) {
	s := &Store{
		path: original, records: map[failover.InstanceName]failover.Record{}, serials: map[failover.RecordName]uint32{},
		journals: map[failover.RecordName]journal{}, statics: map[failover.RecordName]string{}, whole: map[failover.RecordName]bool{},
		claims: map[failover.RecordName][]failover.InstanceName{},
	}
	if s.disk, err = openDisk(path, url.Values{"mode": {"rw"}}, pragmas); err != nil {
		return p, describe(original, err)
	}
	defer func() { err = errors.Join(err, s.disk.close()) }()
	if err := s.disk.checkSchema(original); err != nil {
		return p, err
	}
	p.Schema = s.disk.version
	if err := s.read(); err != nil {
		return p, err
	}
	if err := s.disk.conn.QueryRowContext(context.Background(), "SELECT term FROM ledger").Scan(&p.Term); err != nil {
		return p, describe(original, err)
	}
	p.Serials = s.serials
	for _, r := range s.records {
		p.Records = append(p.Records, r)
	}
	slices.SortFunc(p.Records, func(a, b failover.Record) int { return strings.Compare(string(a.Instance), string(b.Instance)) })
	return p, nil
}
