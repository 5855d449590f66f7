package replication

import (
	"context"
	"math/rand/v2"
	"time"
)

// Defaults of polling. A read of nothing costs a capacity unit, so a shard that
// nobody writes to is asked rarely; a full page means that more is there.
const (
	defaultBusy = 100 * time.Millisecond
	defaultIdle = 2 * time.Second
	maxBackoff  = 5 * time.Second // between two tries of what fails
)

// pace says how long a shard is left alone after a read.
type pace struct {
	busy, idle time.Duration
	quiet      time.Duration // after the next read of nothing
}

func newPace(busy, idle time.Duration) pace {
	if busy <= 0 {
		busy = defaultBusy
	}
	if idle <= 0 {
		idle = defaultIdle
	}
	return pace{busy: busy, idle: max(busy, idle), quiet: busy}
}

// after is the pause after a page of so many records, jitter left out: none
// if there is more, busy after some, and from busy to idle, doubled each time,
// after nothing.
func (p *pace) after(records int, more bool) time.Duration {
	if records > 0 {
		p.quiet = p.busy
		if more {
			return 0
		}
		return p.busy
	}
	d := p.quiet
	p.quiet = min(2*p.quiet, p.idle)
	return d
}

// backoff is the pause after so many failures in a row, from 1, jitter left
// out.
func (p *pace) backoff(failures int) time.Duration {
	return min(p.busy<<min(failures-1, 16), max(maxBackoff, p.busy))
}

// jittered takes up to a quarter off, so that many shards do not ask at the
// same moments.
func jittered(d time.Duration) time.Duration {
	return d - time.Duration(rand.Float64()*float64(d)/4)
}

// rest waits, or until it is woken. It says whether ctx goes on.
func rest(ctx context.Context, d time.Duration, woken <-chan struct{}) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-woken:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
