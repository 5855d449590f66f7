package ledger

import (
	"errors"
	"strings"
	"time"
)

var (
	// ErrLocked: another process, or another Store of this one, has the ledger.
	ErrLocked = errors.New("ledger is in use")
	// ErrNewer: a newer version of this program wrote the ledger or a record.
	ErrNewer = errors.New("ledger was written by a newer version")
	// ErrCorrupt: the file is damaged, or no ledger at all.
	ErrCorrupt = errors.New("ledger is damaged")
	// ErrConflict: the record is not at the rev that the caller read.
	ErrConflict = errors.New("record has changed")
	// ErrOlderToken: the record carries an older token than the stored one.
	ErrOlderToken = errors.New("token is older than the stored one")
	// ErrInvalid: the record or an audit entry can not be stored at all.
	ErrInvalid = errors.New("record is invalid")
	// ErrPoisoned: an earlier write failed, so nothing is written any more.
	ErrPoisoned = errors.New("ledger takes no more writes until a restart")
	// ErrChain: the audit chain is broken; a [ChainError] says where.
	ErrChain = errors.New("audit chain is broken")
	// ErrClosed: the store or history was closed.
	ErrClosed = errors.New("ledger is closed")
)

// Config says where the ledger lives and who holds it.
type Config struct {
	// Dir is the folder of ledger.db, its write-ahead log and the lock file.
	// It is created with mode 0700 when missing; files get 0600.
	Dir string
	// Owner is the controller's name, shown to a second process that is
	// refused.
	Owner string

	fault func(op string) error // tests: fails one named step
	now   func() time.Time      // tests: the wall clock of zone serials

	journalRows int // tests: instead of the constant
}

// Validate returns every fault of the configuration.
func (c Config) Validate() []error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("dir: must name the folder of the ledger"))
	}
	if strings.ContainsRune(c.Dir, 0) {
		errs = append(errs, errors.New("dir: must not contain a NUL"))
	}
	if c.Owner == "" {
		errs = append(errs, errors.New("owner: must name the controller"))
	}
	if strings.ContainsFunc(c.Owner, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		errs = append(errs, errors.New("owner: must be one word without control characters"))
	}
	if len(c.Owner) > maxOwner {
		errs = append(errs, errors.New("owner: must be at most 128 bytes"))
	}
	return errs
}

const maxOwner = 128

// step lets a test fail a named step; outside tests it does nothing.
func (c Config) step(op string) error {
	if c.fault == nil {
		return nil
	}
	return c.fault(op)
}

func (c Config) clock() time.Time {
	if c.now == nil {
		return time.Now()
	}
	return c.now()
}
