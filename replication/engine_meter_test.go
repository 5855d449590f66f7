package replication

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pointsman/internal/failover"
	lab "pointsman/internal/lab/tablestore"
)

// somebodyElse says how far its replication is behind; negative: it does not
// know.
func somebodyElse(t *testing.T) (url string, lag *atomic.Int64) {
	t.Helper()
	lag = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		ms := lag.Load()
		if ms < 0 {
			http.Error(w, "the job has stopped", http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]int64{"lag_ms": ms})
	}))
	t.Cleanup(s.Close)
	return s.URL, lag
}

func TestSomebodyElseReplicates(t *testing.T) {
	w := newRailway(t)
	url, lag := somebodyElse(t)
	lag.Store(3000)
	cfg := w.config()
	cfg.Mode, cfg.Clusters = ModeExternal, nil
	cfg.External = External{URL: url, Every: 10 * time.Millisecond, Timeout: 5 * time.Second, Forbidden: func(netip.Addr) error { return nil }}
	e := w.start(cfg)
	e.Follow(lead(1))
	w.untilStandby(failover.StandbySynced)
	w.untilExposure(func(x failover.Exposure) bool { return x.Known && x.Lag >= 3*time.Second && x.From == "a" })
	if s := e.Status(); !s.Exposure.Known || s.Doing == "" || len(s.Why) > 0 {
		t.Fatalf("%+v", s)
	}
	order := failover.Drain{Op: "x", From: "a", To: "b", Until: time.Now(), Deadline: time.Now()}
	d, err := e.Drain(t.Context(), order)
	if err != nil || d.Empty {
		t.Fatalf("drained while it is behind: %+v %v", d, err)
	}
	lag.Store(0)
	order.Deadline = time.Time{}
	if d, err = e.Drain(t.Context(), order); err != nil || !d.Empty || d.Bound != 0 || d.Begins.Before(order.Until) {
		t.Fatalf("%+v %v", d, err)
	}
	lag.Store(-1)
	w.untilStandby(failover.StandbyUnprotected)
	w.untilExposure(func(x failover.Exposure) bool { return !x.Known && x.Why != "" })
	if s := e.Status(); s.Exposure.Known || len(s.Why) == 0 {
		t.Fatalf("%+v", s)
	}
	lag.Store(0)
	w.untilStandby(failover.StandbySynced)
	if err := e.Pause(t.Context(), "alice", "no"); !errors.Is(err, ErrNotHere) {
		t.Fatalf("a pause of what is not ours: %v", err)
	}
	ends := lead(1)
	ends.Leading = false
	e.Follow(ends)
	w.until(func() bool { return strings.Contains(e.Status().Doing, "not leading") })
}

// The vendor replicates: its own word on the lag is the exposure.
func TestTheVendorReplicates(t *testing.T) {
	w := newRailway(t)
	cfg := w.config()
	cfg.Mode = ModeGlobalTable
	if _, err := New(cfg); err == nil {
		t.Fatal("no global table is named")
	}
	cfg.GlobalTable = "orders"
	e := w.start(cfg)
	e.Follow(lead(1))
	w.untilStandby(failover.StandbyUnprotected) // there is none of that name
	w.untilExposure(func(x failover.Exposure) bool { return !x.Known && x.Why != "" })
	if n := len(w.a.Requests(lab.Filter{Operation: "DescribeGlobalTable"})); n == 0 {
		t.Fatal("nobody was asked")
	}
}
