package replication

import (
	"testing"
	"time"

	lab "pointsman/internal/lab/tablestore"
)

// TestASessionOutlastsTheWritesOfACopy: a write of a copy whose answer was lost
// may come when the standby is active already. Who waits for the end of a session
// is told either that it cannot come any more, or that it may.
func TestASessionOutlastsTheWritesOfACopy(t *testing.T) {
	w := newRailway(t)
	w.table("orders")
	w.a.put(t, "orders", "v", 1)
	_, err := w.b.Fail(lab.Fault{Kind: lab.ErrorCode, Code: "OTSTimeout", Operation: "BatchWriteRow", Table: "orders"}, -1)
	w.must(err)
	cfg := w.config()
	cfg.Timeout = 2 * time.Second
	e := w.start(cfg)
	e.Follow(lead(1))
	w.until(func() bool { s := e.now(); return s != nil && s.pool.lateFor() > 0 })
	s := e.now()
	away := lead(1)
	away.Leading = false
	e.Follow(away)
	<-s.over
	if late := s.pool.lateFor(); late > 0 && s.hanging == nil {
		t.Errorf("it is over, and a write may come for %s", late)
	}
}
