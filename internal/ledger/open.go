package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"pointsman/internal/failover"
)

// Open takes the file lock, reads every record into memory and raises the
// term by one. It makes folder and file when they are missing.
//
// ErrLocked names the process that has the ledger, ErrNewer the versions,
// ErrCorrupt the file and what to do. A disk that can be read but not written
// (full, read-only, failing) is no error: the store is poisoned, Term says
// why, and reads show the last commit.
func Open(_ context.Context, cfg Config) (_ *Store, err error) {
	if errs := cfg.Validate(); len(errs) > 0 {
		return nil, fmt.Errorf("open ledger: %w", errors.Join(errs...))
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if err := checkFolder(cfg.Dir); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	lock, err := acquireLock(cfg.Dir, cfg.Owner)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.release())
		}
	}()
	s := &Store{
		cfg: cfg, lock: lock, path: filepath.Join(cfg.Dir, ledgerFile),
		turn:    make(chan struct{}, 1),
		records: map[failover.InstanceName]failover.Record{},
		serials: map[failover.RecordName]uint32{},

		journals: map[failover.RecordName]journal{},
		statics:  map[failover.RecordName]string{},
		whole:    map[failover.RecordName]bool{},
		claims:   map[failover.RecordName][]failover.InstanceName{},
	}
	if err := s.findFile(); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	// A fault of writing is kept, not returned: what can be read is served.
	trouble := s.rewriteLog()
	if err := s.openFile(&trouble); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if err := s.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger: %w", err), s.disk.close())
	}
	if trouble == nil {
		trouble = s.migrate()
	}
	if trouble == nil {
		trouble = s.checkpointInTurn()
	}
	if trouble == nil {
		trouble = s.raiseTerm()
	}
	if trouble != nil {
		_ = s.poisonWith(trouble)
	}
	s.endTurn()
	return s, nil
}

// findFile makes a new ledger, or finds that one is there.
func (s *Store) findFile() error {
	for _, path := range []string{s.path, s.path + walSuffix} {
		if err := checkFile(path); err != nil {
			return err
		}
	}
	info, err := os.Stat(s.path)
	switch {
	case err == nil && info.Size() == 0:
		return damaged(s.path, errors.New("the file is empty"))
	case err == nil:
		return nil
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	// SQLite would replay a log that is left over into the new file.
	if _, err := os.Stat(s.path + walSuffix); err == nil {
		return damaged(s.path, errors.New("the file is missing but its log is there"))
	}
	if err := createLedger(s.cfg.Dir); err != nil {
		return fmt.Errorf("create %s: %w", s.path, err)
	}
	return nil
}

// rewriteLog writes the bytes of the write-ahead log over themselves and syncs
// them. If an earlier process died of a failed fsync, the kernel may hold
// pages that it believes clean although they never reached the disk: what is
// read from them would vanish at a power cut, with every later commit behind
// it. Rewriting makes them dirty again, so this sync is about real bytes. It
// needs no new block, and a cut in the middle leaves each byte as it was read
// or as it was on the disk before.
func (s *Store) rewriteLog() error {
	f, err := os.OpenFile(s.path+walSuffix, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("rewrite the log: %w", err)
	}
	b, err := io.ReadAll(f)
	if err == nil && len(b) > 0 {
		_, err = f.WriteAt(b, 0)
	}
	if err == nil {
		err = s.cfg.step("rewrite")
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("rewrite the log: %w", err)
	}
	return nil
}

// openFile connects to the ledger, and when that cannot be done for writing,
// for reading: then trouble says why nothing can be written.
func (s *Store) openFile(trouble *error) error {
	d, err := s.connect(url.Values{"mode": {"rw"}})
	if err == nil {
		s.disk = d
		return nil
	}
	switch sqliteCode(err) {
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_PERM:
	default:
		return err
	}
	cannotWrite := err
	// Our own lock is held, so SQLite needs none (it could not take one on a
	// file that is open for reading only). Without a log the file is all there
	// is and may be called immutable; with one it must be replayed.
	params := url.Values{"mode": {"ro"}, "vfs": {"unix-none"}}
	if info, err := os.Stat(s.path + walSuffix); errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
		params["immutable"] = []string{"1"}
	}
	if s.disk, err = s.connect(params); err != nil {
		return err
	}
	if *trouble == nil {
		*trouble = fmt.Errorf("open for writing: %w", cannotWrite)
	}
	return nil
}

func (s *Store) connect(params url.Values) (*disk, error) {
	d, err := openDisk(s.path, params, pragmas)
	if err != nil {
		return nil, describe(s.path, err)
	}
	if err := d.checkSchema(s.path); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// read loads everything but the audit, and checks that the end of the audit
// is where the ledger says.
func (s *Store) read() error {
	ctx := context.Background()
	tables := []string{"ledger", "records", "serials"}
	if s.disk.version >= 2 {
		tables = append(tables, "statics", "journal")
	}
	if s.disk.version >= 3 {
		tables = append(tables, "whole")
	}
	for _, table := range tables {
		var verdict string
		if err := s.disk.conn.QueryRowContext(ctx, "PRAGMA quick_check("+table+")").Scan(&verdict); err != nil {
			return describe(s.path, err)
		}
		if verdict != "ok" {
			return damaged(s.path, errors.New(verdict))
		}
	}
	if err := s.readRecords(ctx); err != nil {
		return err
	}
	if err := s.readSerials(ctx); err != nil {
		return err
	}
	if err := s.readJournal(ctx); err != nil {
		return err
	}
	if err := s.readWhole(ctx); err != nil {
		return err
	}
	err := s.disk.conn.QueryRowContext(ctx, "SELECT audit_seq, audit_head FROM ledger").Scan(&s.head.seq, &s.head.hash)
	if err != nil {
		return describe(s.path, err)
	}
	last := position{hash: genesis}
	err = s.disk.conn.QueryRowContext(ctx,
		"SELECT coalesce(max(seq), 0), coalesce((SELECT hash FROM audit ORDER BY seq DESC LIMIT 1), ?) FROM audit", genesis).Scan(&last.seq, &last.hash)
	if err != nil {
		return describe(s.path, err)
	}
	if last != s.head {
		return damaged(s.path, fmt.Errorf("the audit ends at entry %d, the ledger says %d", last.seq, s.head.seq))
	}
	return nil
}

func (s *Store) readRecords(ctx context.Context) error {
	rows, err := s.disk.conn.QueryContext(ctx, "SELECT instance, rev, body, sum FROM records")
	if err != nil {
		return describe(s.path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var instance string
		var rev uint64
		var body, sum []byte
		if err := rows.Scan(&instance, &rev, &body, &sum); err != nil {
			return describe(s.path, err)
		}
		if !bytes.Equal(checksum(body), sum) {
			return damaged(s.path, fmt.Errorf("the record of %s does not match its checksum", instance))
		}
		r, err := decode(body)
		switch {
		case errors.Is(err, ErrNewer):
			return fmt.Errorf("%s: %s: %w", s.path, instance, err)
		case err != nil:
			return damaged(s.path, fmt.Errorf("the record of %s: %w", instance, err))
		case string(r.Instance) != instance || r.Rev != rev:
			return damaged(s.path, fmt.Errorf("the record of %s at rev %d says it is %s at rev %d", instance, rev, r.Instance, r.Rev))
		}
		s.records[r.Instance] = r
		s.claim(&failover.Record{}, &r)
	}
	if err := rows.Err(); err != nil {
		return describe(s.path, err)
	}
	return nil
}

func (s *Store) readSerials(ctx context.Context) error {
	rows, err := s.disk.conn.QueryContext(ctx, "SELECT zone, serial FROM serials")
	if err != nil {
		return describe(s.path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var zone failover.RecordName
		var serial uint32
		if err := rows.Scan(&zone, &serial); err != nil {
			return damaged(s.path, err)
		}
		s.serials[zone] = serial
	}
	if err := rows.Err(); err != nil {
		return describe(s.path, err)
	}
	return nil
}

// raiseTerm persists a term above the stored one. Every commit has lifted that
// to the term of its record at least, since adopting after a rebuilt ledger
// may go far above it.
func (s *Store) raiseTerm() error {
	var term uint64
	if err := s.disk.conn.QueryRowContext(context.Background(), "SELECT term FROM ledger").Scan(&term); err != nil {
		return fmt.Errorf("raise the term: %w", err)
	}
	term++
	err := s.transact(func() error {
		return s.disk.exec("UPDATE ledger SET term = ?", int64(term))
	})
	if err != nil {
		return fmt.Errorf("raise the term: %w", err)
	}
	s.term = term
	return nil
}

// transact runs one transaction. After an error the caller must poison the
// store: whether an error of COMMIT came before or after the commit reached
// the disk cannot be known.
func (s *Store) transact(do func() error) error {
	start := time.Now()
	err := s.cfg.step("begin")
	if err == nil {
		err = s.disk.exec("BEGIN IMMEDIATE")
	}
	if err != nil {
		return err
	}
	if err = do(); err == nil {
		err = s.cfg.step("commit")
	}
	if err == nil {
		err = s.disk.exec("COMMIT")
	}
	if err == nil {
		err = s.cfg.step("committed")
	}
	if err != nil {
		_ = s.disk.exec("ROLLBACK") // the first error counts; after some, SQLite has rolled back already
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.LastCommit = time.Since(start)
	s.stats.MaxCommit = max(s.stats.MaxCommit, s.stats.LastCommit)
	return nil
}

// checkpointInTurn moves the log into the file. Its syncs count like those of
// a commit.
func (s *Store) checkpointInTurn() error {
	start := time.Now()
	var busy, log, moved int
	err := s.cfg.step("checkpoint")
	if err == nil {
		err = s.disk.conn.QueryRowContext(context.Background(), "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &log, &moved)
	}
	if err == nil && (busy != 0 || moved != log) {
		err = fmt.Errorf("%d of %d pages moved", moved, log)
	}
	if err != nil {
		return fmt.Errorf("move the log into the file: %w", err)
	}
	s.unsaved = 0
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Checkpoint = time.Since(start)
	return nil
}
