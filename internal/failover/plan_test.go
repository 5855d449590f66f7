package failover

import "testing"

// TestAPlanToWhereItIsMovesNothing, and says so instead of a move from the
// other cluster that applying it would call stale.
func TestAPlanToWhereItIsMovesNothing(t *testing.T) {
	w := newWorld(testPolicy())
	w.start()
	w.settleUp()
	for to, want := range map[ClusterName]struct {
		from    ClusterName
		changes bool
	}{"a": {"a", false}, "b": {"a", true}, "": {"a", true}} {
		pl := PlanMove(&w.s, &w.p, Command{Do: DoSwitchover, To: to}, w.now)
		if pl.From != want.from || pl.Changes != want.changes || len(pl.Diff) > 0 != want.changes {
			t.Errorf("to %q: from %s to %s, changes %v, %v", to, pl.From, pl.To, pl.Changes, pl.Diff)
		}
	}
}
