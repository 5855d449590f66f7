package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"pointsman/replication/ots"
)

// Bounds of what a copy has under way.
const (
	copyParallel = 4    // ranges at a time, of all tables
	copyInFlight = 4    // batches at a time, per range
	copyPageRows = 2000 // rows of one read; the service ends a page at 4 MB
)

// copyPool is what the copies of all tables of an instance share: how many
// ranges are under way, and how fast the two sides take calls.
type copyPool struct {
	parallel int
	ranges   *semaphore.Weighted
	reads    *gate // of the source
	writes   *gate // of the target
	rows     *rate.Limiter

	page  int   // rows of one read
	least int64 // bytes of the smallest ranges that a table is cut into

	mu   sync.Mutex
	late time.Time // until then a write whose answer was lost may be carried out
}

// newCopyPool makes a pool for so many ranges at a time, 4 if 0. rowsPerSecond
// bounds what is written; 0 is no bound.
func newCopyPool(parallel int, rowsPerSecond float64) *copyPool {
	if parallel <= 0 {
		parallel = copyParallel
	}
	p := &copyPool{
		parallel: parallel, ranges: semaphore.NewWeighted(int64(parallel)),
		reads: newGate(parallel), writes: newGate(parallel * copyInFlight),
		page: copyPageRows, least: splitLeast,
	}
	if rowsPerSecond > 0 {
		p.rows = rate.NewLimiter(rate.Limit(rowsPerSecond), ots.MaxRows)
	}
	return p
}

// lateFor is for how long a write that was lost may still be carried out.
func (p *copyPool) lateFor() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Until(p.late)
}

// outlast waits until no write that was lost can be carried out any more.
func (p *copyPool) outlast(ctx context.Context) error {
	for {
		late := p.lateFor()
		if late <= 0 {
			return nil
		}
		if err := waitFor(ctx, late); err != nil {
			return fmt.Errorf("writes of a copy without an answer may still be carried out for %s: %w", p.lateFor().Round(time.Millisecond), err)
		}
	}
}

// take waits until so many rows may be written.
func (p *copyPool) take(ctx context.Context, rows int) error {
	if p.rows == nil || rows == 0 {
		return nil
	}
	return p.rows.WaitN(ctx, rows)
}

// gate lets so many calls through at a time as the service bears: one more after
// a window's worth of good ones, half as many after one that it was too busy
// for. A call that is tried again keeps its place meanwhile, so that a service
// that bears nothing is asked by few.
type gate struct {
	mu     sync.Mutex
	window float64
	most   int
	inside int
	turn   int64 // grows with every call that is let in
	cut    int64 // the turn at which the window was halved last
	queue  []*waiter
}

// waiter is a call that has no place yet.
type waiter struct {
	called chan struct{}
	turn   int64 // once called
}

func newGate(most int) *gate { return &gate{window: float64(most), most: most} }

// enter waits for a place. The turn is for slow.
func (g *gate) enter(ctx context.Context) (turn int64, err error) {
	g.mu.Lock()
	if len(g.queue) == 0 && g.inside < int(g.window) {
		defer g.mu.Unlock()
		return g.letIn(), nil
	}
	w := &waiter{called: make(chan struct{})}
	g.queue = append(g.queue, w)
	g.mu.Unlock()
	select {
	case <-w.called:
		return w.turn, nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.queue, w); i >= 0 {
		g.queue = slices.Delete(g.queue, i, i+1)
	} else { // it was called in that moment
		g.inside--
		g.callNext()
	}
	return 0, ctx.Err()
}

func (g *gate) letIn() int64 {
	g.inside++
	g.turn++
	return g.turn
}

func (g *gate) callNext() {
	for len(g.queue) > 0 && g.inside < int(g.window) {
		g.queue[0].turn = g.letIn()
		close(g.queue[0].called)
		g.queue = slices.Delete(g.queue, 0, 1)
	}
}

// slow halves the window, once for all calls that were inside together. It
// returns the turn to go on with.
func (g *gate) slow(turn int64) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if turn > g.cut {
		g.window, g.cut = max(1, g.window/2), g.turn
	}
	// The next try is a call of its own.
	g.turn++
	return g.turn
}

// leave gives the place back. A call that went well at its first try opens the
// window.
func (g *gate) leave(atOnce bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if atOnce {
		g.window = min(float64(g.most), g.window+1/g.window)
	}
	g.callNext()
}

// patient makes a call until it goes well, fails for a reason that does not
// pass, or ctx ends; ever more slowly. Busy is told of each fault, and what it
// returns is called when the wait after it is over.
func (g *gate) patient(ctx context.Context, call func() error, busy func(error) (over func())) error {
	turn, err := g.enter(ctx)
	if err != nil {
		return err
	}
	atOnce := true
	defer func() { g.leave(atOnce) }()
	var pause *backoff.ExponentialBackOff
	for {
		err := call()
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errMayNot), errors.Is(err, errPatience):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case ots.ClassOf(err) != ots.ClassRetry:
			return err
		}
		if pause == nil {
			pause = backoff.NewExponentialBackOff()
			pause.InitialInterval, pause.MaxInterval = 50*time.Millisecond, 5*time.Second
		}
		atOnce = false
		turn = g.slow(turn)
		over := busy(err)
		err = waitFor(ctx, pause.NextBackOff())
		over()
		if err != nil {
			return err
		}
	}
}

// errPatience: a call failed for a reason that can pass, and has not for long.
var errPatience = errors.New("it has not become better")

// waitFor waits, or says that ctx ended first.
func waitFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
