package ledger

import (
	"context"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// copied lists what a copy of the history says.
func copied(t *testing.T, path string, f HistoryFilter) (string, error) {
	t.Helper()
	c, err := OpenHistoryCopy(t.Context(), path)
	if err != nil {
		return "", err
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	s, err := c.List(t.Context(), f)
	if err != nil {
		return "", err
	}
	out := ""
	for _, x := range s {
		out += string(x.Data) + " "
	}
	return out, nil
}

// TestAHistoryIsReadBesideItsHolder: from the folder and from a copied file, of
// any age, and nothing is left or changed there.
func TestAHistoryIsReadBesideItsHolder(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir := memDir(t)
	h := mustHistory(t, historyConfig{dir: dir})
	old := sample(1)
	old.At = day.Add(time.Hour - historyAge) // long ago for whoever reads the copy
	add(t, h, old, sample(2))
	h.flush()
	before, _ := os.ReadDir(dir)
	for _, path := range []string{dir, filepath.Join(dir, historyFile)} {
		if got, err := copied(t, path, HistoryFilter{}); err != nil || got != "1 2 " {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	if got, err := copied(t, dir, HistoryFilter{Kind: "other"}); err != nil || got != "" {
		t.Errorf("%q, %v", got, err)
	}
	after, _ := os.ReadDir(dir)
	left, _ := os.ReadDir(os.Getenv("TMPDIR"))
	if len(before) != len(after) || len(left) != 0 {
		t.Errorf("%d files became %d, and %d are left", len(before), len(after), len(left))
	}
	add(t, h, sample(3)) // it goes on
	if got := listed(t, h, HistoryFilter{Limit: 1}); got != "3" {
		t.Error(got)
	}
}

// TestWhatIsNoHistoryIsRefused: damage, another database, nothing at all.
func TestWhatIsNoHistoryIsRefused(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	other := filepath.Join(dir, "other.db")
	d, err := openDisk(other, url.Values{"mode": {"rwc"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.exec("CREATE TABLE x (y)"), d.close()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path string
		is   error
	}{
		"nothing":          {filepath.Join(dir, "none"), fs.ErrNotExist},
		"an empty folder":  {t.TempDir(), fs.ErrNotExist},
		"text":             {write("text", "this is text and no database, long enough to be looked at by SQLite as one"), ErrCorrupt},
		"an empty file":    {write("empty", ""), ErrCorrupt},
		"another database": {other, ErrCorrupt},
	} {
		if _, err := copied(t, c.path, HistoryFilter{}); !errors.Is(err, c.is) || strings.Contains(err.Error(), "ledger is damaged") {
			t.Errorf("%s: %v", name, err)
		}
	}

	whole := memDir(t)
	h := mustHistory(t, historyConfig{dir: whole})
	for n := range 2000 {
		add(t, h, sample(n))
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(whole, historyFile))
	if err != nil {
		t.Fatal(err)
	}
	for i := 2 * 4096; i < 12*4096; i++ {
		data[i] = 0xa5
	}
	if got, err := copied(t, write("holed", string(data)), HistoryFilter{}); !errors.Is(err, ErrCorrupt) || strings.Contains(err.Error(), "ledger is damaged") {
		t.Errorf("a hole in it: %d bytes, %v", len(got), err)
	}
	if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) != 0 {
		t.Errorf("%d copies are left", len(left))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := OpenHistoryCopy(ctx, whole); err == nil {
		t.Error("it was read though nobody waits")
	}
}
