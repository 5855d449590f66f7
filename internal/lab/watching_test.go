package lab

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const scraped = `# HELP pointsman_held_lost_total Held-open connections that gave rise to a nudge.
# TYPE pointsman_held_lost_total counter
pointsman_held_lost_total{reason="closed"} 2
pointsman_held_lost_total{reason="silent"} 3
pointsman_held_lost_totally 9
pointsman_held_connections 4
go_gc_duration_seconds_sum 1.5e-05
`

func TestWhatHasGrownSinceIsCounted(t *testing.T) {
	before, err := parseCounters(strings.NewReader(`pointsman_held_lost_total{reason="closed"} 2` + "\n" + `pointsman_held_lost_total{reason="silent"} 1`))
	if err != nil {
		t.Fatal(err)
	}
	c, err := parseCounters(strings.NewReader(scraped))
	if err != nil {
		t.Fatal(err)
	}
	lost := c.grown(before, metricLost)
	if got := words("", lost); got != `{reason="silent"} +2` || lost.sum() != 2 {
		t.Errorf("grown: %s", got)
	}
	if got := words(metricNudges, c.grown(before, metricNudges)); got != "pointsman_nudges_total +0" {
		t.Errorf("of what is not there: %s", got)
	}
	if c[metricHeld] != 4 {
		t.Errorf("%v", c)
	}
	if _, err := parseCounters(strings.NewReader("a b")); err == nil {
		t.Error("a word was read as a value")
	}
}

func TestTheControllerIsAskedForWhatItCounts(t *testing.T) {
	status := http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		w.Write([]byte(scraped))
	}))
	defer srv.Close()
	l := &Lab{World: &World{API: netip.MustParseAddrPort(srv.Listener.Addr().String())}}
	if c, err := l.counters(t.Context()); err != nil || c[metricHeld] != 4 {
		t.Errorf("%v, %v", c, err)
	}
	status = http.StatusForbidden
	if _, err := l.counters(t.Context()); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("%v", err)
	}
}

// What a vantage said before it was told anew does not count.
func TestOnlyWhatALogSaysSinceIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("config reloaded\nconfig refused"), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := saidSince(path, 16); err != nil || said != "config refused" {
		t.Errorf("%q, %v", said, err)
	}
}

func FuzzCounters(f *testing.F) {
	f.Add(scraped)
	f.Add("x NaN\n\n y{ +Inf")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCounters(strings.NewReader(text))
		if err != nil && c != nil {
			t.Errorf("%v with %v", err, c)
		}
		c.grown(counters{}, "x").sum()
	})
}
