package controller

import (
	"context"
	"sync"
	"time"
)

const (
	// tiltBound is the stall or jump from which nothing that was seen before
	// counts any more.
	tiltBound = 2 * time.Second
	// pulseEvery is how often somebody looks at the clock at least. It is far
	// below tiltBound, so that every stall of that length shows as a gap.
	pulseEvery = 500 * time.Millisecond
)

// watch sees stalls of the whole process and jumps of the clock. Every owner
// looks before it steps, so after a stall the first to run notices, whoever it
// is, and each owner hears of it before its next event.
//
// A stopped process (SIGSTOP, a starved machine) shows as a gap between two
// looks. A suspended machine does not: the monotonic clock of Linux stands
// still meanwhile, but the wall clock goes on, so the two drift apart.
type watch struct {
	now, wall func() time.Time

	mu       sync.Mutex
	lastNow  time.Time
	lastWall time.Time
	tilts    uint64
	stall    time.Duration // of the newest tilt
}

// reset forgets the time before, in which nobody was looking.
func (w *watch) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lastNow, w.lastWall = w.now(), w.wall().Round(0)
}

// look returns how many tilts there have been and the length of the newest.
func (w *watch) look() (tilts uint64, stall time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, wall := w.now(), w.wall().Round(0)
	gap := now.Sub(w.lastNow)
	jump := (wall.Sub(w.lastWall) - gap).Abs()
	if worst := max(gap, jump); worst >= tiltBound {
		w.tilts++
		w.stall = worst
	}
	w.lastNow, w.lastWall = now, wall
	return w.tilts, w.stall
}

func (w *watch) count() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tilts
}

// pulse looks regularly until ctx ends.
func (w *watch) pulse(ctx context.Context) {
	t := time.NewTicker(pulseEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			w.look()
		}
	}
}
