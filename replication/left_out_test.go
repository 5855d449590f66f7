package replication

import (
	"strings"
	"testing"

	"pointsman/internal/failover"
)

// TestNoTableIsNoProtection: a pattern with a mistake in it meets no table, and
// the standby of an instance of which nothing is carried is not safe to move to.
func TestNoTableIsNoProtection(t *testing.T) {
	w := newRailway(t)
	w.table("orders")
	cfg := w.config()
	cfg.Tables = []string{"ordrs*"}
	e := w.start(cfg)
	e.Follow(lead(1))
	w.untilStandby(failover.StandbyUnprotected)
	if x := e.Status().Exposure; x.Known || !strings.Contains(x.Why, "leaves out") {
		t.Errorf("the exposure is %+v", x)
	}
	e.stop()

	cfg.Tables, cfg.Except = nil, []string{"items"}
	w.table("items")
	e = w.following(cfg, "orders")
	w.untilStandby(failover.StandbySynced)
	if st := e.Status(); !st.Exposure.Known || len(st.Warnings) != 1 || !strings.Contains(st.Warnings[0], "leaves out 1 table") {
		t.Errorf("of one that is left out on purpose: %+v, %q", st.Exposure, st.Warnings)
	}
}
