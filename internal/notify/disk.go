package notify

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// File is the name of the outbox in the controller's folder.
const File = "notify.db"

const (
	outboxSchema  = 1
	walSuffix     = "-wal"
	damagedSuffix = ".damaged"
)

const schema = `
CREATE TABLE IF NOT EXISTS messages (
  id       TEXT PRIMARY KEY,
  body     BLOB NOT NULL,
  document BLOB
) STRICT;
CREATE TABLE IF NOT EXISTS entries (
  seq     INTEGER PRIMARY KEY,
  channel TEXT    NOT NULL,
  message TEXT    NOT NULL,
  queued  INTEGER NOT NULL,
  due     INTEGER NOT NULL,
  held    INTEGER NOT NULL,
  tries   INTEGER NOT NULL,
  refused INTEGER NOT NULL,
  pin     TEXT    NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS incidents (instance TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS channels (channel TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT;
`

// disk is the file of the outbox: one connection, one writer.
type disk struct {
	db   *sql.DB
	conn *sql.Conn
}

// openDisk opens or makes notify.db in a folder. A file that cannot be read as
// one is moved aside and another begun: warning says so. An error means that
// the disk cannot be used at all.
func openDisk(dir string) (d *disk, rows rowsOf, warning, err error) {
	path := filepath.Join(dir, File)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, rows, nil, err
	}
	d, rows, err = tryDisk(path)
	if err == nil {
		return d, rows, nil, nil
	}
	if why := unusable(path); why != nil {
		return nil, rows, nil, why
	}
	aside := path + damagedSuffix
	if e := errors.Join(os.Rename(path, aside), removeAll(path+walSuffix, path+"-journal", path+"-shm")); e != nil {
		return nil, rows, nil, e
	}
	d, rows, again := tryDisk(path)
	if again != nil {
		return nil, rows, nil, again
	}
	return d, rows, fmt.Errorf("%s cannot be read and is now %s, what waited in it is not delivered: %w", path, filepath.Base(aside), err), nil
}

// unusable says why a file would not be better for being moved aside: nobody
// may open it, or the disk takes nothing.
func unusable(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func tryDisk(path string) (*disk, rowsOf, error) {
	var rows rowsOf
	for _, p := range []string{path, path + walSuffix} {
		if fi, err := os.Lstat(p); err == nil && !fi.Mode().IsRegular() {
			return nil, rows, &fs.PathError{Op: "open", Path: p, Err: fmt.Errorf("it is no plain file but %s", fi.Mode().Type())}
		}
	}
	// SQLite would give a new file, and its log, what the umask leaves.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, rows, err
	}
	if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
		return nil, rows, err
	}
	d, err := connect(path)
	if err != nil {
		return nil, rows, err
	}
	if rows, err = d.prepare(); err != nil {
		return nil, rows, errors.Join(err, d.close())
	}
	return d, rows, nil
}

func connect(path string) (*disk, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	// FULL: what was promised to be told must outlive a power cut. Messages are
	// few, and no decision waits for this file.
	q := url.Values{"_pragma": {
		"locking_mode(EXCLUSIVE)", "journal_mode(WAL)", "synchronous(FULL)", "secure_delete(1)",
		"temp_store(MEMORY)", "cell_size_check(1)", "trusted_schema(0)",
	}, "mode": {"rw"}, "_error_rc": {"1"}, "_dqs": {"0"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(context.Background())
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &disk{db, conn}, nil
}

func (d *disk) exec(query string, args ...any) error {
	_, err := d.conn.ExecContext(context.Background(), query, args...)
	return err
}

func (d *disk) close() error { return errors.Join(d.conn.Close(), d.db.Close()) }

// prepare makes the tables, checks the whole file and reads it.
func (d *disk) prepare() (rows rowsOf, err error) {
	ctx := context.Background()
	var version int
	if err := d.conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return rows, err
	}
	if version > outboxSchema {
		return rows, fmt.Errorf("it was written by a newer version (schema %d, this one knows %d)", version, outboxSchema)
	}
	var verdict string
	if err := d.conn.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return rows, err
	}
	if verdict != "ok" {
		return rows, errors.New(verdict)
	}
	if err := d.exec(fmt.Sprintf("BEGIN IMMEDIATE; %s PRAGMA user_version=%d; COMMIT", schema, outboxSchema)); err != nil {
		return rows, err
	}
	return d.read(ctx)
}

// write carries out one transaction.
func (d *disk) write(do []statement) error {
	if err := d.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for _, s := range do {
		if err := d.exec(s.sql, s.args...); err != nil {
			_ = d.exec("ROLLBACK") // the first error counts
			return err
		}
	}
	if err := d.exec("COMMIT"); err != nil {
		_ = d.exec("ROLLBACK")
		return err
	}
	return nil
}

// rowsOf is everything that the file holds.
type rowsOf struct {
	messages  []messageRow
	entries   []*entryRow
	incidents [][]byte
	channels  map[string][]byte
}

type messageRow struct {
	id             string
	body, document []byte
}

type entryRow struct {
	entry
	message string
}

func (d *disk) read(ctx context.Context) (out rowsOf, err error) {
	out.channels = map[string][]byte{}
	each := func(query string, scan func(*sql.Rows) error) {
		if err != nil {
			return
		}
		var rows *sql.Rows
		if rows, err = d.conn.QueryContext(ctx, query); err != nil {
			return
		}
		defer rows.Close()
		for err == nil && rows.Next() {
			err = scan(rows)
		}
		err = errors.Join(err, rows.Err())
	}
	each("SELECT id, body, document FROM messages", func(r *sql.Rows) error {
		var m messageRow
		defer func() { out.messages = append(out.messages, m) }()
		return r.Scan(&m.id, &m.body, &m.document)
	})
	each("SELECT seq, channel, message, queued, due, held, tries, refused, pin FROM entries ORDER BY seq", func(r *sql.Rows) error {
		e := &entryRow{}
		var queued, due int64
		err := r.Scan(&e.seq, &e.channel, &e.message, &queued, &due, &e.held, &e.tries, &e.refused, &e.pin)
		e.queued, e.due = time.UnixMilli(queued), time.UnixMilli(due)
		out.entries = append(out.entries, e)
		return err
	})
	each("SELECT body FROM incidents", func(r *sql.Rows) error {
		var body []byte
		err := r.Scan(&body)
		out.incidents = append(out.incidents, body)
		return err
	})
	each("SELECT channel, body FROM channels", func(r *sql.Rows) error {
		var channel string
		var body []byte
		err := r.Scan(&channel, &body)
		out.channels[channel] = body
		return err
	})
	return out, err
}

func removeAll(paths ...string) error {
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
