package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"pointsman/internal/failover"
)

// Store is an open ledger. All methods are safe for concurrent use. All,
// Serial, Term, Poisoned and Stats read memory and never wait for the disk;
// Load waits for the commits of its instance that were accepted before it.
type Store struct {
	cfg  Config
	lock *fileLock

	// turn is the right to use the disk; it holds one token. A channel rather
	// than a mutex, so that waiting can end with a context.
	turn       chan struct{}
	disk       *disk    // with the turn
	lastChange int64    // with the turn: newest key in the journal
	unsaved    int      // with the turn: records committed since the last checkpoint
	path       string   // of ledger.db
	queue      requests // commits on their way

	mu       sync.RWMutex // guards all below; never held during I/O
	records  map[failover.InstanceName]failover.Record
	serials  map[failover.RecordName]uint32
	journals map[failover.RecordName]journal
	statics  map[failover.RecordName]string                  // fingerprints, see Stamp
	whole    map[failover.RecordName]bool                    // see NoteWhole
	claims   map[failover.RecordName][]failover.InstanceName // by embedded name
	head     position
	term     uint64
	poison   error
	closed   bool
	hooks    []func(Receipt)
	stats    Stats
}

// position is the newest entry of the audit.
type position struct {
	seq  uint64
	hash string
}

// Stats are counters since Open.
type Stats struct {
	Commits    uint64        // records committed
	Syncs      uint64        // transactions that carried them
	Conflicts  uint64        // commits refused with ErrConflict
	LastCommit time.Duration // of the newest transaction, sync included
	MaxCommit  time.Duration // of the slowest one
	Checkpoint time.Duration // of the newest checkpoint
	Audit      uint64        // entries in the audit, earlier processes included
}

// Term is the term that this Open persisted: above every term in the ledger.
// An error means that it could not be persisted, so this process must not
// lead; the store is poisoned then and its reads go on.
func (s *Store) Term() (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.term == 0 {
		return 0, fmt.Errorf("raise the term: %w", s.poison)
	}
	return s.term, nil
}

// Load returns a copy of the last committed record of an instance; false says
// that there is none. Every commit of the instance that was accepted before
// the call is decided when it returns, so whoever lost sight of a commit sees
// what became of it. It fails only when ctx ends first.
func (s *Store) Load(ctx context.Context, instance failover.InstanceName) (failover.Record, bool, error) {
	if err := s.queue.wait(ctx, instance); err != nil {
		return failover.Record{}, false, fmt.Errorf("load %s: a commit of it is being written: %w", instance, err)
	}
	s.mu.RLock()
	r, ok := s.records[instance]
	s.mu.RUnlock()
	if !ok {
		return failover.Record{}, false, nil
	}
	return r.Clone(), true, nil
}

// All returns copies of the last committed records, sorted by instance.
func (s *Store) All(context.Context) ([]failover.Record, error) {
	s.mu.RLock()
	rs := slices.SortedFunc(maps.Values(s.records), byInstance)
	s.mu.RUnlock()
	for i := range rs {
		rs[i] = rs[i].Clone()
	}
	return rs, nil
}

func byInstance(a, b failover.Record) int {
	if a.Instance < b.Instance {
		return -1
	}
	return 1 // never the same: it is the key
}

// Serial is the SOA serial of a zone; 0 when no commit has touched it yet.
func (s *Store) Serial(_ context.Context, zone failover.RecordName) (uint32, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.serials[zone], nil
}

// Poisoned says why nothing can be written any more; nil while it can.
func (s *Store) Poisoned() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.poison
}

// Stats returns the counters.
func (s *Store) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	st := s.stats
	st.Audit = s.head.seq
	return st
}

// OnCommit adds a function that is called for each commit, in commit order,
// after the sync and before Commit returns; Load already shows the record.
// Each call gets a receipt of its own. The function must be quick and must not
// call Commit, Audit, VerifyChain or Close, which wait for it.
func (s *Store) OnCommit(hook func(Receipt)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = append(s.hooks, hook)
}

// poisonWith remembers the cause and returns the error that every later commit
// gets. It is called once at most: after it nothing is tried that could fail.
func (s *Store) poisonWith(cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.poison = fmt.Errorf("%w: %w", ErrPoisoned, cause)
	return s.poison
}

// takeTurn waits for the disk.
func (s *Store) takeTurn(ctx context.Context) error {
	select {
	case <-s.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) endTurn() { s.turn <- struct{}{} }

func (s *Store) isClosed() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.closed
}

// Close waits for the commit in hand, moves the log into the file and frees the
// lock. Later commits get ErrClosed; Load, All and Serial still answer. A
// second Close does nothing. Of a poisoned store SQLite moves what had been
// acknowledged if the disk lets it, and keeps the log if not.
func (s *Store) Close() error {
	<-s.turn
	defer s.endTurn()
	if s.isClosed() {
		return nil
	}
	s.mu.Lock()
	s.closed = true
	poisoned := s.poison != nil
	s.mu.Unlock()
	var err error
	if !poisoned {
		err = s.checkpointInTurn()
	}
	return errors.Join(err, s.disk.close(), s.lock.release())
}
