package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"modernc.org/sqlite"

	"pointsman/internal/failover"
)

const (
	historyFile = "history.db"

	historyCount       = 100_000             // samples kept in the file
	historyCountMemory = 2_000               // samples kept when the file cannot be used
	historyAge         = 40 * 24 * time.Hour // of the oldest sample kept: a report over a whole month may be made some days after it
	historyPending     = 4_096               // samples that may wait for the disk
	historyVotes       = 40_000              // of all samples, those of recorded votes
	historyVotesEach   = 1_024               // of one instance
	pruneEvery         = 256                 // samples added between two prunings
)

const historySchema = `
CREATE TABLE IF NOT EXISTS samples (
  id       INTEGER PRIMARY KEY,
  at       INTEGER NOT NULL,
  instance TEXT    NOT NULL,
  kind     TEXT    NOT NULL,
  data     BLOB    NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS samples_instance ON samples (instance, id);
CREATE INDEX IF NOT EXISTS samples_at ON samples (at);
CREATE INDEX IF NOT EXISTS samples_kind ON samples (kind, instance, id);
CREATE TABLE IF NOT EXISTS kept (
  key TEXT    PRIMARY KEY,
  id  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`

// KindVotes is the kind of samples that hold recorded votes. They are the only
// ones that a restless instance makes by the thousand, so they have bounds of
// their own: no instance pushes out the votes of another, and votes push out
// nothing else.
const KindVotes = "votes"

// Sample is one measurement or transition worth keeping for people.
type Sample struct {
	ID       int64                 `json:"id"` // grows with every sample; set by List
	At       time.Time             `json:"at"` // kept to the millisecond
	Instance failover.InstanceName `json:"instance"`
	Kind     string                `json:"kind"`
	Data     json.RawMessage       `json:"data,omitempty"`
}

// HistoryFilter picks samples; the zero value picks all.
type HistoryFilter struct {
	Instance failover.InstanceName // empty: every instance
	Kind     string                // empty: every kind
	Except   string                // without this kind; empty: none is left out
	Since    time.Time             // samples at or after it
	Below    int64                 // samples before the one of that ID; 0: the newest too
	Limit    int                   // at most so many, the newest; 0: no limit
}

// HistoryStats are counters since OpenHistory.
type HistoryStats struct {
	Added   uint64
	Dropped uint64    // because the disk was too slow, or refused them
	Trouble error     // the newest fault of the disk; nil when there was none
	Reach   time.Time // of the newest sample that was pushed out by count: what is older is not whole; zero: none was
}

// History is the measured past: bounded in count and age, and relaxed. It
// lives in history.db, apart from the ledger, and syncs only when SQLite moves
// its log: a power cut may cost the newest samples and nothing else. Add never
// waits for the disk. All methods are safe for concurrent use.
type History struct {
	cfg   historyConfig
	turn  sync.Mutex // the right to use the disk
	disk  *disk      // with turn
	path  string     // with turn: of the file; empty: it is kept in memory
	fresh int        // with turn: samples since the last pruning
	wake  chan struct{}
	stop  context.CancelFunc
	tasks errgroup.Group

	mu      sync.Mutex // guards all below
	pending []waiting
	closed  bool
	stats   HistoryStats
}

// waiting is a sample on its way to the disk.
type waiting struct {
	Sample
	key string // of the sample that it takes the place of; empty: of none
}

type historyConfig struct {
	dir     string
	count   int           // samples kept
	votes   [2]int        // of these with votes: of all instances, and of one
	pending int           // samples that may wait for the disk
	age     time.Duration // of the oldest sample kept
	now     func() time.Time
}

// OpenHistory opens or makes history.db in dir. A damaged file is moved aside
// to history.db.damaged. A disk that cannot be used is no error, because the
// history must never keep a controller from serving: a short history is then
// kept in memory, and Stats says why.
func OpenHistory(ctx context.Context, dir string) (*History, error) {
	return openHistory(ctx, historyConfig{dir: dir, count: historyCount, votes: [2]int{historyVotes, historyVotesEach}, pending: historyPending, age: historyAge, now: time.Now})
}

func openHistory(_ context.Context, cfg historyConfig) (*History, error) {
	if cfg.dir == "" {
		return nil, errors.New("open history: dir must name the folder of the history")
	}
	d, trouble := openHistoryFile(cfg.dir)
	path := filepath.Join(cfg.dir, historyFile)
	if d == nil {
		path = ""
		cfg.count = min(cfg.count, historyCountMemory)
		var err error
		if d, err = openHistoryMemory(); err != nil {
			return nil, fmt.Errorf("open history: %w", errors.Join(trouble, err))
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	h := &History{cfg: cfg, disk: d, path: path, wake: make(chan struct{}, 1), stop: stop, fresh: pruneEvery}
	h.stats.Trouble = trouble
	h.tasks.Go(func() error { return h.monitorPending(ctx) })
	return h, nil
}

// openHistoryFile returns the file's connection, or nil and why there is
// none. Trouble with a connection says that a damaged file was put away.
func openHistoryFile(dir string) (_ *disk, trouble error) {
	path := filepath.Join(dir, historyFile)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := checkFolder(dir); err != nil {
		return nil, err
	}
	if err := errors.Join(checkFile(path+walSuffix), touchPrivate(path)); err != nil {
		return nil, err
	}
	d, err := openHistoryDisk(path, url.Values{"mode": {"rw"}})
	if err == nil {
		return d, nil
	}
	if !errors.Is(describeHistory(path, err), ErrCorrupt) {
		return nil, err
	}
	return beginAnew(path, err)
}

// beginAnew puts a damaged file aside and begins another beside it: samples are
// worth less than a start. It returns as openHistoryFile does.
func beginAnew(path string, err error) (_ *disk, trouble error) {
	if err := errors.Join(os.Rename(path, path+".damaged"), removeAll(path+walSuffix, path+"-journal"), touchPrivate(path)); err != nil {
		return nil, err
	}
	if d, again := openHistoryDisk(path, url.Values{"mode": {"rw"}}); again == nil {
		return d, fmt.Errorf("%s was damaged and is now %s.damaged: %w", path, historyFile, err)
	}
	return nil, err
}

// touchPrivate makes an empty file that is the owner's alone; SQLite would give
// a new one, and its log, what the umask leaves.
func touchPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func removeAll(paths ...string) error {
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func openHistoryDisk(path string, params url.Values) (*disk, error) {
	d, err := openDisk(path, params, []string{
		"locking_mode(EXCLUSIVE)", "journal_mode(WAL)", "synchronous(NORMAL)",
		"temp_store(MEMORY)", "cell_size_check(1)", "trusted_schema(0)",
	})
	if err != nil {
		return nil, err
	}
	if err := d.exec("BEGIN IMMEDIATE;" + historySchema + "COMMIT"); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// Add hands a sample over and returns at once. It is dropped, and counted,
// when too many wait for the disk already. An error means that it could never
// be kept: Data that is no JSON, or ErrClosed.
func (h *History) Add(_ context.Context, s Sample) error { return h.add(waiting{Sample: s}) }

// Keep hands over a sample that takes the place of the one that was kept under
// the same key before, where that is still there: it has its ID and its time.
// It is for what goes on, such as an outage, and is told anew as it does.
func (h *History) Keep(_ context.Context, key string, s Sample) error {
	return h.add(waiting{s, key})
}

func (h *History) add(s waiting) error {
	if len(s.Data) == 0 {
		s.Data = json.RawMessage("null")
	}
	if !json.Valid(s.Data) {
		return fmt.Errorf("add %s sample of %s: data is no JSON", s.Kind, s.Instance)
	}
	s.Data = slices.Clone(s.Data)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return fmt.Errorf("add %s sample of %s: %w", s.Kind, s.Instance, ErrClosed)
	}
	if len(h.pending) >= h.cfg.pending {
		h.stats.Dropped++
		return nil
	}
	h.pending = append(h.pending, s)
	select {
	case h.wake <- struct{}{}:
	default:
	}
	return nil
}

// monitorPending writes what Add left, until Close.
func (h *History) monitorPending(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			h.flush()
			return nil
		case <-h.wake:
			h.flush()
		}
	}
}

// flush writes everything that waits. A sample that the disk refuses is
// dropped and counted: the next may find the disk in a better mood, and no
// decision hangs on either.
func (h *History) flush() {
	h.turn.Lock()
	defer h.turn.Unlock()
	h.mu.Lock()
	samples := h.pending
	h.pending = nil
	h.mu.Unlock()
	if len(samples) == 0 {
		return
	}
	err := h.write(samples)
	var trouble error
	if err != nil {
		if trouble = h.renew(err); trouble != nil {
			err = h.write(samples)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if trouble != nil {
		h.stats.Trouble = trouble
	}
	if err != nil {
		h.stats.Dropped += uint64(len(samples))
		h.stats.Trouble = err
		return
	}
	h.stats.Added += uint64(len(samples))
}

// renew begins a new file where one was found to be damaged only when it was
// written to, and returns what became of it; nil: it is not that, or nothing can
// be done.
func (h *History) renew(err error) (trouble error) {
	if h.path == "" || !errors.Is(describeHistory(h.path, err), ErrCorrupt) {
		return nil
	}
	_ = h.disk.close() // its error is the same
	d, trouble := beginAnew(h.path, err)
	if d == nil {
		var merr error
		if d, merr = openHistoryMemory(); merr != nil {
			return nil // the closed one goes on refusing
		}
		h.path, h.cfg.count = "", min(h.cfg.count, historyCountMemory)
	}
	h.disk, h.fresh = d, pruneEvery
	return trouble
}

func openHistoryMemory() (*disk, error) {
	return openHistoryDisk("pointsman-history", url.Values{"mode": {"memory"}})
}

func (h *History) write(samples []waiting) (err error) {
	if err := h.disk.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = h.disk.exec("ROLLBACK") // the first error counts
		}
	}()
	voters := map[failover.InstanceName]bool{}
	for _, s := range samples {
		if err := h.writeOne(s); err != nil {
			return err
		}
		if s.Kind == KindVotes {
			voters[s.Instance] = true
		}
	}
	for i := range voters {
		err := h.disk.exec("DELETE FROM samples WHERE kind = ?1 AND instance = ?2 AND id <= (SELECT id FROM samples WHERE kind = ?1 AND instance = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)",
			KindVotes, string(i), h.cfg.votes[1])
		if err != nil {
			return err
		}
	}
	if h.fresh += len(samples); h.fresh >= pruneEvery {
		h.fresh = 0
		if err := h.prune(); err != nil {
			return err
		}
	}
	return h.disk.exec("COMMIT")
}

func (h *History) writeOne(s waiting) error {
	if s.key != "" {
		res, err := h.disk.conn.ExecContext(context.Background(), "UPDATE samples SET data = ? WHERE id = (SELECT id FROM kept WHERE key = ?)", []byte(s.Data), s.key)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n > 0 {
			return err
		}
	}
	err := h.disk.exec("INSERT INTO samples (at, instance, kind, data) VALUES (?, ?, ?, ?)",
		s.At.UnixMilli(), string(s.Instance), s.Kind, []byte(s.Data))
	if err != nil || s.key == "" {
		return err
	}
	return h.disk.exec("INSERT INTO kept (key, id) VALUES (?, last_insert_rowid()) ON CONFLICT (key) DO UPDATE SET id = excluded.id", s.key)
}

// prune keeps the bounds, and notes how far back the history is whole.
func (h *History) prune() error {
	const over = "SELECT id FROM samples ORDER BY id DESC LIMIT 1 OFFSET ?"
	var newest sql.NullInt64
	if err := h.disk.conn.QueryRowContext(context.Background(), "SELECT max(at) FROM samples WHERE id <= ("+over+")", h.cfg.count).Scan(&newest); err != nil {
		return err
	}
	if newest.Valid {
		h.mu.Lock()
		h.stats.Reach = time.UnixMilli(newest.Int64).UTC()
		h.mu.Unlock()
	}
	return errors.Join(
		h.disk.exec("DELETE FROM samples WHERE kind = ?1 AND id <= (SELECT id FROM samples WHERE kind = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)", KindVotes, h.cfg.votes[0]),
		h.disk.exec("DELETE FROM samples WHERE id <= ("+over+")", h.cfg.count),
		h.disk.exec("DELETE FROM samples WHERE at < ?", h.cfg.now().Add(-h.cfg.age).UnixMilli()),
		h.disk.exec("DELETE FROM kept WHERE id NOT IN (SELECT id FROM samples)"),
	)
}

// List returns the samples that the filter picks, oldest first, those that
// were just added included. Data that the disk has garbled is a string that
// begins with "damaged".
func (h *History) List(_ context.Context, f HistoryFilter) ([]Sample, error) {
	h.flush()
	h.turn.Lock()
	defer h.turn.Unlock()
	h.mu.Lock()
	closed := h.closed
	h.mu.Unlock()
	if closed {
		return nil, fmt.Errorf("list history: %w", ErrClosed)
	}
	where, args := []string{"at >= ?"}, []any{h.cfg.now().Add(-h.cfg.age).UnixMilli()}
	if !f.Since.IsZero() {
		where, args = append(where, "at >= ?"), append(args, f.Since.UnixMilli())
	}
	if f.Instance != "" {
		where, args = append(where, "instance = ?"), append(args, string(f.Instance))
	}
	if f.Kind != "" {
		where, args = append(where, "kind = ?"), append(args, f.Kind)
	}
	if f.Except != "" {
		where, args = append(where, "kind <> ?"), append(args, f.Except)
	}
	if f.Below > 0 {
		where, args = append(where, "id < ?"), append(args, f.Below)
	}
	limit := h.cfg.count
	if f.Limit > 0 {
		limit = min(limit, f.Limit)
	}
	// Never with the caller's context: an interrupt would end a write too.
	rows, err := h.disk.conn.QueryContext(context.Background(), "SELECT id, at, instance, kind, data FROM samples WHERE "+
		strings.Join(where, " AND ")+" ORDER BY id DESC LIMIT ?", append(args, limit)...)
	if err != nil {
		return nil, fmt.Errorf("list history: %w", describeHistory(h.path, err))
	}
	defer rows.Close()
	var found []Sample
	for rows.Next() {
		var s Sample
		var at int64
		if err := rows.Scan(&s.ID, &at, &s.Instance, &s.Kind, (*[]byte)(&s.Data)); err != nil {
			return nil, fmt.Errorf("list history: %w", describeHistory(h.path, err))
		}
		s.At = time.UnixMilli(min(at, lastMilli)).UTC()
		if !json.Valid(s.Data) {
			s.Data = damagedData(s.Data)
		}
		found = append(found, s)
	}
	if err := rows.Err(); err != nil { // what was read before it is not the whole
		return nil, fmt.Errorf("list history: %w", describeHistory(h.path, err))
	}
	slices.Reverse(found)
	return found, nil
}

// historyDamage is an ErrCorrupt in words of its own: what is advised for a
// ledger would be wrong here.
type historyDamage struct {
	path string // empty: who asks names it
	err  error
}

func (e *historyDamage) Error() string {
	return fmt.Sprintf("history is damaged: %s: %v; no decision hangs on it, and with it moved away a new one begins", e.path, e.err)
}
func (e *historyDamage) Unwrap() error        { return e.err }
func (e *historyDamage) Is(target error) bool { return target == ErrCorrupt }

// describeHistory is describe for a history; an empty path is that of a copy,
// whose reader knows the original.
func describeHistory(path string, err error) error {
	if path == "" {
		return err
	}
	if err = describe(path, err); !errors.Is(err, ErrCorrupt) {
		return err
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return &historyDamage{path, e}
	}
	return &historyDamage{path, errors.New("it is no history")}
}

// lastMilli is the last moment that JSON can say: years have four digits there
// (RFC 3339 section 1).
var lastMilli = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).UnixMilli()

// damagedData stands for data that is no JSON, which Add does not take: one line
// that the disk has garbled must not cost a listing all others.
func damagedData(data []byte) json.RawMessage {
	const most = 80
	words := strings.ToValidUTF8(string(data[:min(len(data), most)]), "?")
	out, err := json.Marshal("damaged: " + words)
	if err != nil {
		return json.RawMessage(`"damaged"`)
	}
	return out
}

// Stats returns the counters.
func (h *History) Stats() HistoryStats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stats
}

// Close writes what waits and closes the file. A second Close does nothing.
func (h *History) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	h.mu.Unlock()
	h.stop()
	err := h.tasks.Wait()
	h.turn.Lock()
	defer h.turn.Unlock()
	return errors.Join(err, h.disk.close())
}
