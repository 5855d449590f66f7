package replication

import (
	"errors"
	"strings"
	"testing"

	"pointsman/internal/failover"
)

// A fault of this program in one goroutine is the trouble of a table, or of the
// instance, and is tried again. The process goes on, and so do the rows.
func TestAPanicEndsNoProcess(t *testing.T) {
	for point, about := range map[string]string{
		"deliver":                     "a page of the stream",
		"source/GetRange/before":      "a page of the copy",
		"target/BatchWriteRow/before": "a batch on its way",
		"source/DescribeTable/before": "a look at a table",
		"source/ListTable/before":     "the list of tables",
		"control/PutRow/before":       "a saving of positions",
	} {
		t.Run(about, func(t *testing.T) {
			w := newRailway(t)
			w.table("orders")
			w.table("stock")
			w.a.put(t, "orders", "before", 1, 2, 3)
			left, hit := 2, 0
			w.die = func(at string) error {
				if at == point && left > 0 {
					left--
					hit++
					panic("of a test: " + about)
				}
				return nil
			}
			e := w.start(w.config())
			e.Follow(lead(1))
			e.untilPhase("orders", PhaseFollowing)
			e.untilPhase("stock", PhaseFollowing)
			w.a.put(t, "orders", "after", 3, 4)
			w.a.put(t, "stock", "after", 3, 4)
			w.until(func() bool { return w.same("orders") && w.same("stock") })
			w.untilExposure(func(x failover.Exposure) bool { return x.Known })
			w.hear(func() {
				if hit == 0 {
					t.Errorf("%s was never called", point)
				}
			})
		})
	}
}

// Where nothing else can be done, Run ends with it, for whoever starts another.
func TestAPanicOfTheWholeEndsRun(t *testing.T) {
	w := newRailway(t)
	cfg := w.config()
	cfg.TellExposure = func(failover.Exposure) { panic("of a test") }
	e := w.start(cfg)
	e.Follow(lead(1))
	<-e.done
	if fault, ok := errors.AsType[*faultError](e.err); !ok || !strings.Contains(e.err.Error(), "a fault of this program: of a test") || !strings.Contains(string(fault.stack), "TestAPanicOfTheWholeEndsRun") {
		t.Errorf("it ended with %v", e.err)
	}
}

// TestAFaultHoldsNoLock: whoever cleans up after it would wait for ever.
func TestAFaultHoldsNoLock(t *testing.T) {
	a := newApplier(applyConfig{}) // without Dead, which is asked with a lock held
	l := a.lanes[0]
	err := safely(func() error {
		l.acknowledged([]entry{{queue: &queue{table: &applyTable{name: "t"}, key: "k"}, works: []work{{}}, n: 1}})
		return nil
	})
	if _, fault := errors.AsType[*faultError](err); !fault {
		t.Fatalf("%v is no fault", err)
	}
	if !l.mu.TryLock() {
		t.Fatal("its lane is locked")
	}
	l.mu.Unlock()
	a.giveUp()
}
