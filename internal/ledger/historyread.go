package ledger

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// HistoryCopy is a history that is read and never written.
type HistoryCopy struct {
	h    *History
	dir  string // of the copy
	path string // of the original
}

// OpenHistoryCopy opens the history in a folder, or a copy of a history.db,
// beside whoever holds it or when nobody does. Like [Peek] it takes no lock,
// writes nothing there, and reads a copy for which the file stood still.
// ErrCorrupt: it is damaged, or no history. The caller must Close it.
func OpenHistoryCopy(ctx context.Context, path string) (*HistoryCopy, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	if st.IsDir() {
		path = filepath.Join(path, historyFile)
	}
	for try := 1; ; try++ {
		c, still, err := copyHistory(ctx, path)
		switch {
		case err == nil && still:
			return c, nil
		case err == nil:
			err = c.Close()
		}
		switch {
		case still || err != nil && errors.Is(err, os.ErrPermission):
			return nil, fmt.Errorf("read history: %w", err)
		case try == peekTries:
			return nil, fmt.Errorf("read history: %s is being written all the time", path)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("read history: %w", ctx.Err())
		case <-time.After(peekPause):
		}
	}
}

// copyHistory makes one copy; still says that the original did not change
// meanwhile, so that what is read, or the error, is about it and not the copy.
func copyHistory(ctx context.Context, path string) (_ *HistoryCopy, still bool, err error) {
	before, err := os.Stat(path)
	if err != nil {
		return nil, true, err
	}
	dir, err := os.MkdirTemp("", "pointsman-history-")
	if err != nil {
		return nil, true, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	for _, suffix := range []string{"", walSuffix} {
		if err := copyFile(filepath.Join(dir, historyFile+suffix), path+suffix); err != nil && (suffix == "" || !errors.Is(err, os.ErrNotExist)) {
			return nil, true, err
		}
	}
	c, err := openHistoryCopy(ctx, dir, path)
	after, serr := os.Stat(path)
	if serr != nil {
		return c, true, serr
	}
	return c, before.Size() == after.Size() && before.ModTime().Equal(after.ModTime()), err
}

// openHistoryCopy opens a history that nobody else has; errors name the original.
func openHistoryCopy(ctx context.Context, dir, original string) (*HistoryCopy, error) {
	d, err := openDisk(filepath.Join(dir, historyFile), url.Values{"mode": {"rw"}}, []string{"temp_store(MEMORY)", "cell_size_check(1)", "trusted_schema(0)"})
	if err != nil {
		return nil, describeHistory(original, err)
	}
	var there int
	err = d.conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name = 'samples'").Scan(&there)
	switch {
	case err != nil:
		err = describeHistory(original, err)
	case there == 0:
		err = &historyDamage{original, errors.New("there is no table of samples in it")}
	}
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	const long = 100 * 365 * 24 * time.Hour // a copy may be of any age
	return &HistoryCopy{h: &History{cfg: historyConfig{count: historyCount, age: long, now: time.Now}, disk: d}, dir: dir, path: original}, nil
}

// List returns the samples that the filter picks, oldest first.
func (c *HistoryCopy) List(ctx context.Context, f HistoryFilter) ([]Sample, error) {
	s, err := c.h.List(ctx, f)
	if err != nil {
		return nil, describeHistory(c.path, err)
	}
	return s, nil
}

// Close removes the copy.
func (c *HistoryCopy) Close() error { return errors.Join(c.h.disk.close(), os.RemoveAll(c.dir)) }
