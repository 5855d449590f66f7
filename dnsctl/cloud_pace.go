package dnsctl

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// lane is who waits for whom: routine reads never take what a failover needs.
type lane int

const (
	laneRoutine lane = iota
	laneUrgent       // reads of a name that is being moved, or is about to be
	laneWrite
)

type urgentKey struct{}

// Urgent marks a context under which a move waits for what is read: it does
// not queue behind routine reads, nor rest with them while the account is
// throttled.
func Urgent(ctx context.Context) context.Context { return context.WithValue(ctx, urgentKey{}, true) }

// pace keeps requests below the vendor's quota, which all users of an account
// share, and is counted for each action: 60 updates a second, and 300 readings
// of a name. Each lane has its own rate, so none takes another's.
type pace struct {
	lanes [3]*rate.Limiter
	now   func() time.Time

	mu     sync.Mutex
	closed time.Time     // routine requests wait until then
	pause  time.Duration // of the next time
}

// newPace lets through so many writes a second, as many urgent reads, and
// twice as many routine ones.
func newPace(perSecond float64, now func() time.Time) *pace {
	lane := func(r float64) *rate.Limiter { return rate.NewLimiter(rate.Limit(r), max(int(r), 1)) }
	return &pace{now: now, lanes: [3]*rate.Limiter{laneRoutine: lane(2 * perSecond), laneUrgent: lane(perSecond), laneWrite: lane(perSecond)}}
}

// wait takes a turn in the lane, or says that the context has no time for it.
func (p *pace) wait(ctx context.Context, l lane) error {
	if l == laneRoutine {
		p.mu.Lock()
		left := p.closed.Sub(p.now())
		p.mu.Unlock()
		if left > 0 {
			return fmt.Errorf("%w: routine requests rest for %s, so that a failover finds room", ErrThrottled, left.Round(100*time.Millisecond))
		}
	}
	return p.lanes[l].Wait(ctx)
}

// throttled closes the routine lane for a while, the longer the more often:
// 1 s doubled to 30 s, with jitter, so that two controllers part.
func (p *pace) throttled() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if now.Before(p.closed) {
		return
	}
	if p.pause == 0 || now.Sub(p.closed) > time.Minute {
		p.pause = time.Second
	}
	p.closed = now.Add(jitter(p.pause))
	p.pause = min(2*p.pause, 30*time.Second)
}

// jitter is between half of d and d.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// pauseBefore is the back-off before the n-th repetition: 100 ms doubled, at
// most 2 s, with jitter.
func pauseBefore(n int) time.Duration {
	return jitter(min(100*time.Millisecond<<min(n-1, 5), 2*time.Second))
}

// sleep waits for d, or says that ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	if end, ok := ctx.Deadline(); ok && time.Until(end) < d {
		return context.DeadlineExceeded
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
