package controller

import (
	"container/heap"
	"context"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// leastHands is how many turns may be under way at once even where there are
// fewer cores: a core that never returns takes one hand away, not all of them.
const leastHands = 4

// crew gives the instances their turns. A few goroutines, the hands, take
// whoever is ready, in the order of readiness; an instance is ready when
// something came into its inbox or when the time that it asked for has come.
// No instance has two turns at once. A turn never waits for anything, so ten
// thousand instances need no more goroutines than one.
type crew struct {
	now   func() time.Time
	ctx   context.Context // that of Run; set before the first turn
	group *errgroup.Group // likewise; of everything that turns start
	early chan struct{}   // a token: the next time to wake came nearer

	mu    sync.Mutex
	call  sync.Cond // somebody is ready, or it is over
	ready queue
	later agenda
	over  bool
	turns uint64        // that were given
	wait  time.Duration // for them, in sum
}

// seat is an owner's place in the crew, guarded by the crew's lock.
type seat struct {
	queued  bool
	since   time.Time // while queued: when it became ready
	running bool
	again   bool      // while running: it is ready again
	sooner  time.Time // while running: not to be woken after this; zero: no wish
	due     time.Time // in the agenda
	place   int       // in the agenda, counted from 1; 0: it is not there
}

func newCrew(now func() time.Time) *crew {
	c := &crew{now: now, early: make(chan struct{}, 1)}
	c.call.L = &c.mu
	return c
}

// run works until ctx ends; turns that are under way then are let finish.
func (c *crew) run(ctx context.Context, g *errgroup.Group) {
	c.ctx, c.group = ctx, g
	for range max(leastHands, runtime.GOMAXPROCS(0)) {
		g.Go(func() error { c.work(); return nil })
	}
	g.Go(func() error { c.keepTime(ctx); return nil })
}

// wake makes o ready.
func (c *crew) wake(o *owner) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wakeLocked(o)
}

func (c *crew) wakeLocked(o *owner) {
	s := &o.seat
	switch {
	case s.running:
		s.again = true
	case !s.queued:
		s.queued, s.since = true, c.now()
		c.ready.push(o)
		c.call.Signal()
	}
}

// wakeBy makes o ready at the given time, if it will not be before.
func (c *crew) wakeBy(o *owner, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &o.seat
	switch {
	case s.queued:
	case s.running:
		if s.sooner.IsZero() || at.Before(s.sooner) {
			s.sooner = at
		}
	case s.place == 0 || at.Before(s.due):
		c.planLocked(o, at)
	}
}

// load says how many turns were given, how long instances waited for them in
// sum, and how many wait now.
func (c *crew) load() (turns uint64, wait time.Duration, ready int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.turns, c.wait, c.ready.size
}

// planLocked sets when o is woken without anything in its inbox.
func (c *crew) planLocked(o *owner, at time.Time) {
	s := &o.seat
	s.due = at
	if s.place == 0 {
		heap.Push(&c.later, o)
	} else {
		heap.Fix(&c.later, s.place-1)
	}
	if s.place == 1 {
		select {
		case c.early <- struct{}{}:
		default:
		}
	}
}

// dismiss forgets an owner that wants no more turns.
func (c *crew) dismiss(o *owner) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := &o.seat; s.place > 0 {
		heap.Remove(&c.later, s.place-1)
	}
}

// work is one hand.
func (c *crew) work() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for c.ready.empty() && !c.over {
			c.call.Wait()
		}
		if c.over {
			return
		}
		o := c.ready.pop()
		s := &o.seat
		c.turns++
		c.wait += c.now().Sub(s.since)
		*s = seat{running: true, due: s.due, place: s.place}
		c.mu.Unlock()
		next := o.work()
		c.mu.Lock()
		s.running = false
		if !s.sooner.IsZero() && s.sooner.Before(next) {
			next = s.sooner
		}
		switch {
		case next.IsZero(): // it has ended
			if s.place > 0 {
				heap.Remove(&c.later, s.place-1)
			}
		case s.again:
			s.again = false
			c.wakeLocked(o)
			fallthrough
		default:
			c.planLocked(o, next)
		}
	}
}

// keepTime wakes whoever is due, until ctx ends.
func (c *crew) keepTime(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			c.mu.Lock()
			c.over = true
			c.call.Broadcast()
			c.mu.Unlock()
			return
		case <-timer.C:
		case <-c.early:
		}
		timer.Reset(c.wakeDue())
	}
}

// wakeDue returns how long it is until the next is due.
func (c *crew) wakeDue() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for len(c.later) > 0 {
		o := c.later[0]
		if wait := o.seat.due.Sub(now); wait > 0 {
			return wait
		}
		heap.Pop(&c.later)
		c.wakeLocked(o)
	}
	return time.Hour
}

// agenda is a heap of owners, the earliest first (container/heap).
type agenda []*owner

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].seat.due.Before(a[j].seat.due) }

func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].seat.place, a[j].seat.place = i+1, j+1
}

// Push adds an owner at the end.
func (a *agenda) Push(x any) {
	o := x.(*owner)
	*a = append(*a, o)
	o.seat.place = len(*a)
}

// Pop takes the last.
func (a *agenda) Pop() any {
	n := len(*a) - 1
	o := (*a)[n]
	(*a)[n] = nil
	*a = (*a)[:n]
	o.seat.place = 0
	return o
}

// queue is a ring of owners that wait for a hand.
type queue struct {
	ring        []*owner
	first, size int
}

func (q *queue) empty() bool { return q.size == 0 }

func (q *queue) push(o *owner) {
	if q.size == len(q.ring) {
		ring := make([]*owner, max(64, 2*len(q.ring)))
		for i := range q.size {
			ring[i] = q.ring[(q.first+i)%len(q.ring)]
		}
		q.ring, q.first = ring, 0
	}
	q.ring[(q.first+q.size)%len(q.ring)] = o
	q.size++
}

func (q *queue) pop() *owner {
	o := q.ring[q.first]
	q.ring[q.first] = nil
	q.first = (q.first + 1) % len(q.ring)
	q.size--
	return o
}
