package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// SchemaVersion is that of ledgers which this program writes. It reads earlier
// ones and brings them to it at the start.
const SchemaVersion = 3

const (
	ledgerFile = "ledger.db"
	walSuffix  = "-wal"

	// schemaVersion is what this program writes and the highest it reads
	// (PRAGMA user_version).
	schemaVersion = SchemaVersion
	// applicationID marks the file as a ledger (PRAGMA application_id): "PtMn".
	applicationID = 0x50744d6e
)

const schema = `
CREATE TABLE ledger (
  id         INTEGER PRIMARY KEY CHECK (id = 1),
  term       INTEGER NOT NULL,
  audit_seq  INTEGER NOT NULL,
  audit_head TEXT    NOT NULL
) STRICT;
CREATE TABLE records (
  instance TEXT    PRIMARY KEY,
  rev      INTEGER NOT NULL,
  body     BLOB    NOT NULL,
  sum      BLOB    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE serials (
  zone   TEXT    PRIMARY KEY,
  serial INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE audit (
  seq      INTEGER PRIMARY KEY,
  instance TEXT    NOT NULL,
  at       INTEGER NOT NULL,
  body     BLOB    NOT NULL,
  hash     TEXT    NOT NULL
) STRICT;
CREATE INDEX audit_instance ON audit (instance, seq);
` + journalSchema + wholeSchema + `
INSERT INTO ledger (id, term, audit_seq, audit_head) VALUES (1, 0, 0, '` + genesis + `');
`

// journalSchema is what came with version 2.
const journalSchema = `
CREATE TABLE statics (
  zone        TEXT PRIMARY KEY,
  fingerprint TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE journal (
  id        INTEGER PRIMARY KEY,
  zone      TEXT    NOT NULL,
  before    INTEGER NOT NULL,
  after     INTEGER NOT NULL,
  name      TEXT    NOT NULL,
  was_value TEXT    NOT NULL,
  was_ttl   INTEGER NOT NULL,
  was_mark  TEXT    NOT NULL,
  is_value  TEXT    NOT NULL,
  is_ttl    INTEGER NOT NULL,
  is_mark   TEXT    NOT NULL
) STRICT;
CREATE INDEX journal_zone ON journal (zone, id);
`

// wholeSchema is what came with version 3.
const wholeSchema = `
CREATE TABLE whole (
  zone TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
`

// pragmas of the one connection. EXCLUSIVE keeps the index of the write-ahead
// log in memory, so that a start needs no -shm file and reads the last commit
// on a full disk too. Checkpoints are ours, because SQLite swallows the error
// of an automatic one.
var pragmas = []string{
	"locking_mode(EXCLUSIVE)", "synchronous(FULL)", "wal_autocheckpoint(0)",
	"temp_store(MEMORY)", "mmap_size(0)", "cell_size_check(1)", "trusted_schema(0)",
}

// disk is the one connection to a SQLite file.
type disk struct {
	db      *sql.DB
	conn    *sql.Conn
	version int64 // of the schema in the file
}

func (d *disk) close() error { return errors.Join(d.conn.Close(), d.db.Close()) }

func (d *disk) exec(query string, args ...any) error {
	_, err := d.conn.ExecContext(context.Background(), query, args...)
	return err
}

// openDisk opens path with SQLite's own URI parameters (mode, vfs, immutable)
// and pragmas. One connection, pinned for life: the pool must never open a
// second one behind our back.
func openDisk(path string, params url.Values, pragmas []string) (*disk, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	q := url.Values{"_pragma": pragmas, "_error_rc": {"1"}, "_dqs": {"0"}}
	for k, v := range params {
		q[k] = v
	}
	u := url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(context.Background())
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &disk{db: db, conn: conn}, nil
}

// createLedger makes an empty ledger under a temporary name and renames it, so
// that a ledger.db is always a whole one and an empty file is damage.
func createLedger(dir string) (err error) {
	path := filepath.Join(dir, ledgerFile)
	tmp := path + ".new"
	for _, f := range []string{tmp, tmp + walSuffix, tmp + "-journal"} {
		if err := os.Remove(f); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	d, err := openDisk(tmp, url.Values{"mode": {"rw"}}, pragmas)
	if err != nil {
		return err
	}
	err = errors.Join(
		d.exec("PRAGMA journal_mode=WAL"),
		d.exec(fmt.Sprintf("BEGIN IMMEDIATE; PRAGMA application_id=%d; PRAGMA user_version=%d; %s COMMIT", applicationID, schemaVersion, schema)),
		d.exec("PRAGMA wal_checkpoint(TRUNCATE)"),
	)
	if err := errors.Join(err, d.close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// checkSchema refuses what is no ledger and what a newer version wrote.
func (d *disk) checkSchema(path string) error {
	var id, version int64
	ctx := context.Background()
	if err := d.conn.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return describe(path, err)
	}
	if err := d.conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return describe(path, err)
	}
	switch {
	case id != applicationID:
		return damaged(path, errors.New("it is a SQLite file, but no ledger of ours"))
	case version > schemaVersion:
		return fmt.Errorf("%w: %s has schema version %d, this program knows versions up to %d: run the newer program, or restore a backup made before the upgrade",
			ErrNewer, path, version, schemaVersion)
	case version < 1:
		return damaged(path, fmt.Errorf("schema version %d was never written by any release", version))
	}
	d.version = version
	return nil
}

// migrate brings a file of an earlier schema to this one. After it earlier
// programs refuse the file.
func (s *Store) migrate() error {
	if s.disk.version == schemaVersion {
		return nil
	}
	tables := wholeSchema
	if s.disk.version < 2 {
		tables = journalSchema + wholeSchema
	}
	err := s.transact(func() error {
		return s.disk.exec(fmt.Sprintf("%s PRAGMA user_version=%d", tables, schemaVersion))
	})
	if err != nil {
		return fmt.Errorf("bring the ledger from schema version %d to %d: %w", s.disk.version, schemaVersion, err)
	}
	s.disk.version = schemaVersion
	return nil
}

// damaged says what to do about a file that cannot be trusted.
func damaged(path string, why error) error {
	return fmt.Errorf("%w: %s: %w: keep a copy of the folder, then restore a backup of %s, or move %[4]s and %[4]s%s away; a new ledger begins every name of the embedded authority at the primary of its instance, so write first, as primary, the cluster that each is served by now (a secondary still tells: dig NAME CNAME), then adopt the names elsewhere",
		ErrCorrupt, path, why, filepath.Base(path), walSuffix)
}

// describe turns SQLite's codes for damage and for a second holder into our
// sentinels, and adds the file to every other error.
func describe(path string, err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return damaged(path, errors.New("a row that is always there is missing"))
	}
	switch sqliteCode(err) {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT:
		return damaged(path, err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("%w by a program that did not take our lock (a SQLite shell?): %s: %w", ErrLocked, path, err)
	default:
		return fmt.Errorf("%s: %w", path, err)
	}
}

// sqliteCode is the primary result code of an error, or 0.
func sqliteCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}
