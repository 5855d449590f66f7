package replication

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pointsman/replication/ots"
)

var errDeadHere = errors.New("killed")

// A process that dies at any request, again and again, while rows are written:
// at the end both sides are equal.
func TestKilledAnywhere(t *testing.T) {
	lives := 40
	if testing.Short() {
		lives = 10
	}
	w := newRailway(t)
	w.table("orders")
	rnd := rand.New(rand.NewPCG(1, 2))
	write := func(n int) {
		for range n {
			switch k := rnd.Int64N(60); rnd.IntN(3) {
			case 0:
				w.a.remove(t, "orders", k)
			case 1:
				w.a.put(t, "orders", strings.Repeat("x", rnd.IntN(100)), k)
			default:
				w.a.update(t, "orders", k)
			}
		}
	}
	write(100)
	points := map[string]bool{}
	for life := range lives {
		left := new(atomic.Int64)
		left.Store(1 + rnd.Int64N(60))
		w.mu.Lock()
		w.die = func(point string) error {
			if left.Add(-1) == 0 {
				points[point] = true
				return errDeadHere
			}
			return nil
		}
		w.mu.Unlock()
		cfg := w.config()
		cfg.Timeout *= 3 // what a server does for a life that is over, it does by then
		e := w.start(cfg)
		e.Follow(lead(uint64(life + 1)))
		for range 5 {
			write(5)
		}
		if life%7 == 3 {
			w.must(w.a.SplitShard("lab", "orders", rnd.Int64N(50)+1))
		}
		<-e.done
		if !errors.Is(e.err, errDeadHere) {
			t.Fatalf("life %d ended with %v", life, e.err)
		}
	}
	w.mu.Lock()
	w.die = nil
	w.mu.Unlock()
	e := w.start(w.config())
	e.Follow(lead(uint64(lives + 1)))
	e.untilPhase("orders", PhaseFollowing)
	w.until(func() bool { return w.same("orders") })
	if len(points) < 5 {
		t.Errorf("it died only at %v", points)
	}
}

// update writes one cell, as a client would.
func (s *station) update(t *testing.T, table string, k int64) {
	t.Helper()
	res, err := s.c.Write(t.Context(), []ots.Mutation{{Table: table, Action: ots.UpdateRow, Key: keyOf(k), Cells: []ots.Cell{{Name: "u", Value: "u", Version: time.Now().UnixMilli()}}}})
	if err == nil {
		err = res[0].Err
	}
	if err != nil {
		t.Fatal(err)
	}
}
