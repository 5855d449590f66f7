package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func mustHistory(t *testing.T, cfg historyConfig) *History {
	t.Helper()
	if cfg.now == nil {
		cfg.now = func() time.Time { return day }
	}
	if cfg.count == 0 {
		cfg.count = historyCount
	}
	if cfg.votes == [2]int{} {
		cfg.votes = [2]int{historyVotes, historyVotesEach}
	}
	if cfg.pending == 0 {
		cfg.pending = historyPending
	}
	if cfg.age == 0 {
		cfg.age = historyAge
	}
	h, err := openHistory(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

var day = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func sample(n int) Sample {
	return Sample{At: day.Add(time.Duration(n) * time.Millisecond), Instance: "orders", Kind: "probe", Data: json.RawMessage(fmt.Sprint(n))}
}

func add(t *testing.T, h *History, samples ...Sample) {
	t.Helper()
	for _, s := range samples {
		if err := h.Add(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
}

func listed(t *testing.T, h *History, f HistoryFilter) string {
	t.Helper()
	samples, err := h.List(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range samples {
		out = append(out, string(s.Data))
	}
	return strings.Join(out, " ")
}

func TestHistoryListsWhatWasAddedAlsoAfterAReopen(t *testing.T) {
	dir := memDir(t)
	h := mustHistory(t, historyConfig{dir: dir})
	add(t, h, sample(1), sample(2), Sample{At: day, Instance: "billing", Kind: "move"})
	if got := listed(t, h, HistoryFilter{}); got != "1 2 null" {
		t.Fatal(got)
	}
	if got := listed(t, h, HistoryFilter{Except: "move"}); got != "1 2" {
		t.Fatal(got)
	}
	add(t, h, sample(4))
	if err := errors.Join(h.Close(), h.Close()); err != nil {
		t.Fatal(err)
	}
	if err := h.Add(t.Context(), sample(9)); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	h = mustHistory(t, historyConfig{dir: dir})
	for _, c := range []struct {
		f    HistoryFilter
		want string
	}{
		{HistoryFilter{}, "1 2 null 4"},
		{HistoryFilter{Instance: "orders"}, "1 2 4"},
		{HistoryFilter{Kind: "move"}, "null"},
		{HistoryFilter{Limit: 2}, "null 4"},
		{HistoryFilter{Limit: 2, Below: 3}, "1 2"},
		{HistoryFilter{Below: 1}, ""},
		{HistoryFilter{Limit: 2, Below: 1 << 40}, "null 4"},
		{HistoryFilter{Since: day.Add(2 * time.Millisecond)}, "2 4"},
		{HistoryFilter{Instance: "orders", Since: day.Add(2 * time.Millisecond), Limit: 1}, "4"},
	} {
		if got := listed(t, h, c.f); got != c.want {
			t.Errorf("%+v: %q, want %q", c.f, got, c.want)
		}
	}
	samples, err := h.List(t.Context(), HistoryFilter{Limit: 1})
	if err != nil || !samples[0].At.Equal(sample(4).At) || samples[0].Instance != "orders" || samples[0].Kind != "probe" {
		t.Fatal(samples, err)
	}
}

func TestCloseWritesWhatStillWaits(t *testing.T) {
	dir := memDir(t)
	h := mustHistory(t, historyConfig{dir: dir})
	h.mu.Lock()
	h.pending = append(h.pending, waiting{Sample: sample(1)}) // as Add does, before the writer woke up
	h.mu.Unlock()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, mustHistory(t, historyConfig{dir: dir}), HistoryFilter{}); got == "" {
		t.Fatal("lost")
	}
}

func TestHistoryIsBoundedInCountAndAge(t *testing.T) {
	now := day
	h := mustHistory(t, historyConfig{dir: memDir(t), count: 300, age: time.Hour, now: func() time.Time { return now }})
	for n := range 1000 {
		add(t, h, sample(n))
		if n%100 == 99 {
			h.flush()
		}
	}
	h.flush()
	var rows int
	if err := h.disk.conn.QueryRowContext(t.Context(), "SELECT count(*) FROM samples").Scan(&rows); err != nil || rows > 300+2*pruneEvery {
		t.Fatalf("%d rows, %v", rows, err)
	}
	samples, err := h.List(t.Context(), HistoryFilter{})
	if err != nil || len(samples) != 300 || string(samples[299].Data) != "999" {
		t.Fatalf("%d samples, %v", len(samples), err)
	}
	now = now.Add(2 * time.Hour)
	if got := listed(t, h, HistoryFilter{}); got != "" {
		t.Fatalf("too old: %s", got)
	}
	for n := range pruneEvery {
		s := sample(n)
		s.At = now
		add(t, h, s)
	}
	h.flush()
	if err := h.disk.conn.QueryRowContext(t.Context(), "SELECT count(*) FROM samples").Scan(&rows); err != nil || rows != pruneEvery {
		t.Fatalf("%d rows after two hours, %v", rows, err)
	}
}

func TestAddNeverWaitsForAHangingDisk(t *testing.T) {
	const pending, extra = 64, 50
	h := mustHistory(t, historyConfig{dir: memDir(t), pending: pending})
	h.turn.Lock() // the disk hangs
	for n := range 2*pending + extra {
		add(t, h, sample(n)) // returns, or the test never ends
	}
	dropped := h.Stats().Dropped
	h.turn.Unlock()
	h.flush()
	st := h.Stats()
	if dropped < extra || st.Dropped != dropped || st.Added+st.Dropped != 2*pending+extra {
		t.Fatalf("dropped %d while it hung, then %+v", dropped, st)
	}
}

func TestHistoryRefusesWhatIsNoJSON(t *testing.T) {
	h := mustHistory(t, historyConfig{dir: memDir(t)})
	if err := h.Add(t.Context(), Sample{At: day, Data: json.RawMessage("{")}); err == nil {
		t.Fatal("taken")
	}
	if _, err := OpenHistory(t.Context(), ""); err == nil {
		t.Fatal("no folder was accepted")
	}
}

func TestADamagedHistoryIsPutAside(t *testing.T) {
	dir := memDir(t)
	if err := os.WriteFile(filepath.Join(dir, historyFile), []byte(strings.Repeat("no history\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	h := mustHistory(t, historyConfig{dir: dir})
	add(t, h, sample(1))
	if got := listed(t, h, HistoryFilter{}); got != "1" || h.Stats().Trouble == nil {
		t.Fatalf("%q, trouble %v", got, h.Stats().Trouble)
	}
	for _, f := range []string{historyFile, historyFile + walSuffix} {
		if fi, err := os.Stat(filepath.Join(dir, f)); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, fi.Mode(), err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, historyFile+".damaged")); err != nil || !strings.HasPrefix(string(b), "no history") {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, mustHistory(t, historyConfig{dir: dir}), HistoryFilter{}); got != "1" {
		t.Fatal(got)
	}
}

func TestAHistoryWithoutADiskIsKeptInMemory(t *testing.T) {
	dir := filepath.Join(memDir(t), "file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // no folder can be made here
		t.Fatal(err)
	}
	h := mustHistory(t, historyConfig{dir: dir})
	add(t, h, sample(1))
	if got := listed(t, h, HistoryFilter{}); got != "1" || h.Stats().Trouble == nil {
		t.Fatalf("%q, trouble %v", got, h.Stats().Trouble)
	}
	if got := listed(t, mustHistory(t, historyConfig{dir: dir}), HistoryFilter{}); got != "" {
		t.Fatalf("two histories share memory: %q", got)
	}
}

func TestHistoryIsSafeForManyAtOnce(t *testing.T) {
	h := mustHistory(t, historyConfig{dir: memDir(t)})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for n := range 200 {
				if err := h.Add(t.Context(), sample(n)); err != nil {
					t.Error(err)
				}
				if n%50 == 0 {
					if _, err := h.List(t.Context(), HistoryFilter{Limit: 10}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	group.Wait()
	if got := len(strings.Fields(listed(t, h, HistoryFilter{}))); got != 800 {
		t.Fatal(got)
	}
}

func TestAHangingHistoryNeverDelaysACommit(t *testing.T) {
	dir := memDir(t)
	s, h := mustOpen(t, Config{Dir: dir}), mustHistory(t, historyConfig{dir: dir})
	h.turn.Lock()
	if err := h.disk.exec("BEGIN EXCLUSIVE"); err != nil {
		t.Fatal(err)
	}
	add(t, h, sample(1))
	mustCommit(t, s, named("orders", 0)) // returns, or the test never ends
	if err := h.disk.exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	h.turn.Unlock()
}

// TestADamagedLineCostsNoOther: what is no JSON, and a time that no calendar has,
// are listed as what they are, and can be handed on as JSON.
func TestADamagedLineCostsNoOther(t *testing.T) {
	h := mustHistory(t, historyConfig{dir: t.TempDir()})
	add(t, h, Sample{At: day, Instance: "orders", Kind: "good"})
	listed(t, h, HistoryFilter{}) // it is written
	for _, at := range []int64{day.UnixMilli(), math.MaxInt64} {
		if err := h.disk.exec("INSERT INTO samples (at, instance, kind, data) VALUES (?, 'orders', 'votes', ?)", at, []byte("{\x00\xff"+strings.Repeat("x", 9999))); err != nil {
			t.Fatal(err)
		}
	}
	ss, err := h.List(t.Context(), HistoryFilter{})
	if err != nil || len(ss) != 3 {
		t.Fatalf("%d lines, %v", len(ss), err)
	}
	data, err := json.Marshal(ss)
	if err != nil {
		t.Fatalf("they cannot be handed on: %v", err)
	}
	var words string
	if err := json.Unmarshal(ss[1].Data, &words); err != nil || !strings.HasPrefix(words, "damaged: {") || len(words) > 300 {
		t.Errorf("%q, %v", words, err)
	}
	if ss[2].At.Year() != 9999 || string(ss[0].Data) != "null" || len(data) > 2000 {
		t.Errorf("%s", data)
	}
}

// TestAHistoryThatIsFoundDamagedLaterIsPutAsideToo: the damage of pages that no
// opening looks at shows when something is written.
func TestAHistoryThatIsFoundDamagedLaterIsPutAsideToo(t *testing.T) {
	dir := memDir(t)
	h := mustHistory(t, historyConfig{dir: dir})
	for n := range 2000 {
		add(t, h, sample(n))
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, historyFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 4096; i < len(data); i++ {
		data[i] = 0xa5
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	h = mustHistory(t, historyConfig{dir: dir})
	if why := h.Stats().Trouble; why != nil {
		t.Fatalf("it was seen at once: %v", why)
	}
	if _, err := h.List(t.Context(), HistoryFilter{}); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "history is damaged: "+path) || strings.Contains(err.Error(), "ledger is damaged") {
		t.Errorf("%v", err)
	}
	add(t, h, sample(1))
	if got := listed(t, h, HistoryFilter{}); got != "1" {
		t.Fatal(got)
	}
	if why := h.Stats().Trouble; why == nil || h.Stats().Dropped != 0 || !strings.Contains(why.Error(), "is now history.db.damaged") {
		t.Errorf("trouble %v, %d dropped", why, h.Stats().Dropped)
	}
	if b, err := os.ReadFile(path + ".damaged"); err != nil || len(b) != len(data) {
		t.Errorf("%d bytes put aside, %v", len(b), err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, mustHistory(t, historyConfig{dir: dir}), HistoryFilter{}); got != "1" {
		t.Fatal(got)
	}
}
