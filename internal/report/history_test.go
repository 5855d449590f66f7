package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// filled makes a history in a file: n changes of verdict, the newest a minute ago.
func filled(t testing.TB, dir string, n int) *ledger.History {
	t.Helper()
	h, err := ledger.OpenHistory(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	end := time.Now().Add(-time.Minute)
	for i := range n {
		from, to := "up", "down"
		if i/100%2 == 1 {
			from, to = to, from
		}
		data, _ := json.Marshal(map[string]string{"cluster": "a", "from": from, "to": to, "reason": "down: 3 of 3 domains: " + strings.Repeat("x", 80)})
		s := ledger.Sample{At: end.Add(-time.Duration(n-i) * 25 * time.Second), Instance: failover.InstanceName(fmt.Sprintf("svc-%03d", i%100)), Kind: KindVerdict, Data: data}
		if err := h.Add(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if i%2000 == 1999 { // no more than may wait for the disk
			if _, err := h.List(t.Context(), ledger.HistoryFilter{Limit: 1}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return h
}

// TestAReportOverADamagedFile: what can be read is told of, the rest is named.
func TestAReportOverADamagedFile(t *testing.T) {
	dir := t.TempDir()
	if err := filled(t, dir, 20_000).Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "history.db")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(data) / 3; i < len(data)/2; i++ {
		data[i] = 0x5a
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := ledger.OpenHistory(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	d := newDesk(t)
	v := New(Setup{Dir: d.dir, Controller: "ctl-1", Source: d, Past: h, Log: slog.New(slog.NewTextHandler(d, nil))}, nil)
	w, _ := ParseWindow("31d")
	r, err := v.Make(t.Context(), Ask{Window: &w})
	if err != nil {
		t.Fatal(err)
	}
	if r.Instances[0].Ready != ByItself || !strings.Contains(r.Coverage.Trouble, "malformed") || !strings.Contains(r.Markdown(), "what the history lacks: ") {
		t.Errorf("%+v", r.Coverage)
	}
	if r.Coverage.Missing == 0 {
		t.Error("nothing is missing of a damaged history")
	}
}

// BenchmarkReadMonth reads 100,000 samples of 29 days from the file and makes a
// report of them, while commits of samples go on.
func BenchmarkReadMonth(b *testing.B) {
	h := filled(b, b.TempDir(), 100_000)
	d := &desk{dir: b.TempDir()}
	v := New(Setup{Dir: d.dir, Controller: "ctl-1", Source: d, Past: h, Log: slog.New(slog.NewTextHandler(d, nil))}, nil)
	w, _ := ParseWindow("31d")
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		r, err := v.Make(b.Context(), Ask{Window: &w})
		if err != nil {
			b.Fatal(err)
		}
		if r.Coverage.Samples != 100_000 {
			b.Fatal(errors.New(fmt.Sprint(r.Coverage.Samples)))
		}
	}
}
