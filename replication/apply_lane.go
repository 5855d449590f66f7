package replication

import (
	"context"
	"slices"
	"sync"
	"time"

	"pointsman/replication/ots"
)

// queue is what is queued of one row, in order. It is in one of the lane's
// lists, or with whoever took it from there, who alone changes it then; only
// work is added at its end by others, with the lane locked.
type queue struct {
	table *applyTable
	key   string
	work  []work
	tries int
	after time.Time // nothing before

	// A request with the first sent changes was not answered. They are sent once
	// more as they were, and what comes later waits until hold.
	sent int
	hold time.Time

	single  int   // so many of the first are sent one by one: together they were refused
	lenient bool  // versions that may be over are not sent
	cause   error // the first can never be written
	applied int   // so many of the first are, and open letters of the row must be told
}

// lane applies the rows that belong to it, one batch at a time.
type lane struct {
	a *applier

	mu     sync.Mutex
	rows   map[rowID]*queue
	ready  []*queue // in the order of their turn
	parked []*queue // until their time
	due    time.Time
	woken  chan struct{}

	// Of the lane alone.
	limit int       // rows of a batch
	fails int       // calls in a row of which nothing came
	after time.Time // no call before
	apart time.Time // until then batches are of one table: a call for several may fail for one of them
}

func newLane(a *applier) *lane {
	return &lane{a: a, rows: map[rowID]*queue{}, woken: make(chan struct{}, 1), limit: ots.MaxRows}
}

func (l *lane) wakeUp() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

func (l *lane) push(t *applyTable, key string, w work) {
	defer l.wakeUp()
	l.mu.Lock()
	defer l.mu.Unlock()
	id := rowID{t.name, key}
	q := l.rows[id]
	if q == nil {
		q = &queue{table: t, key: key}
		l.rows[id] = q
		l.ready = append(l.ready, q)
	}
	q.work = append(q.work, w)
}

// first are the first works of a queue, which stay in it.
func (l *lane) first(q *queue, n int) []work {
	l.mu.Lock()
	defer l.mu.Unlock()
	return q.work[:n:n]
}

// run sends batches until ctx or the applier ends.
func (l *lane) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.a.ended:
			return nil
		default:
		}
		batch, next := l.gather(time.Now())
		if len(batch) > 0 {
			if err := l.send(ctx, batch); err != nil {
				return err
			}
			continue
		}
		if err := l.rest(ctx, next); err != nil {
			return nil
		}
	}
}

// rest waits for work, or for the time of what waits.
func (l *lane) rest(ctx context.Context, next time.Time) error {
	var due <-chan time.Time
	if !next.IsZero() {
		timer := time.NewTimer(time.Until(next))
		defer timer.Stop()
		due = timer.C
	}
	woken := l.woken
	if l.after.After(time.Now()) {
		woken = nil // more work changes nothing
	}
	select {
	case <-woken:
	case <-due:
	case <-l.a.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// entry is one row of a batch: the first n works of a queue, as one change.
type entry struct {
	*queue
	works   []work // that were there when it was gathered
	n       int
	m       ots.Mutation
	expired int64
}

// apartFor is how long batches are of one table, after several failed.
const apartFor = 30 * time.Second

// gather takes the rows of the next batch. Without any, next is when there may
// be some; zero is when there is more work.
func (l *lane) gather(now time.Time) (batch []entry, next time.Time) {
	if l.after.After(now) {
		return nil, l.after
	}
	candidates, next := l.turn(now)
	clock, known := l.a.now()
	bytes := 0
	for i := range candidates {
		e := candidates[i]
		if l.a.stale(e.table, &e.works[0]) {
			l.discard(e.queue)
			continue
		}
		if e.cause == nil && e.applied == 0 {
			if err := l.allowed(&e); err != nil {
				l.refuse(&e, err)
				continue
			}
			l.fold(&e, clock, known)
		}
		if e.cause != nil || e.applied > 0 {
			l.a.aside.push(l, e.queue)
			continue
		}
		size := e.m.Size()
		if len(batch) > 0 && (bytes+size > ots.MaxBytes || l.apart.After(now) && e.table != batch[0].table) {
			l.undo(candidates[i:])
			break
		}
		bytes += size
		batch = append(batch, e)
	}
	if len(batch) == 0 && len(candidates) > 0 {
		next = now // others had no turn
	}
	return batch, next
}

// turn takes the queues whose turn it is. next is when the first of the others
// is due.
func (l *lane) turn(now time.Time) (es []entry, next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unpark(now)
	i := 0
	for ; i < len(l.ready) && len(es) < l.limit; i++ {
		switch q := l.ready[i]; {
		case q.sent == 0 && q.hold.After(now):
			l.park(q, q.hold)
		case len(q.work) == 0:
			delete(l.rows, rowID{q.table.name, q.key})
		default:
			es = append(es, entry{queue: q, works: q.work[:len(q.work):len(q.work)]})
		}
	}
	l.ready = slices.Delete(l.ready, 0, i)
	return es, l.due
}

// undo gives queues their turn back.
func (l *lane) undo(es []entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	qs := make([]*queue, len(es))
	for i, e := range es {
		qs[i] = e.queue
	}
	l.ready = slices.Insert(l.ready, 0, qs...)
}

// fold makes one change of the first works of an entry. Where the first cannot
// be sent it sets the cause; where there is nothing to send, they are applied.
func (l *lane) fold(e *entry, clock serverNow, known bool) {
	t := l.a.cfg.Table(e.table.name)
	over := cutoff(t, clock, known)
	if e.lenient {
		over = lateCutoff(t, clock, known)
	}
	most := len(e.works)
	switch {
	case e.sent > 0:
		most = e.sent
	case e.single > 0 || e.works[0].retry != nil:
		most = 1
	}
	some := false
	for e.n < most {
		w := &e.works[e.n]
		if e.n > 0 && (w.retry != nil || w.life != e.works[0].life) {
			break
		}
		m, expired, ok, err := change(e.table.name, w.rec, over)
		if err != nil {
			if e.n == 0 {
				e.cause = err
				return
			}
			break
		}
		if ok && some {
			if m, ok = fold(e.m, m, t.MaxVersions); !ok {
				break
			}
		}
		if ok {
			e.m, some = m, true
		}
		e.n++
		e.expired += expired
	}
	if !some {
		e.applied = e.n
		l.a.count(e.table, func(c *applyCounts) { c.Expired += e.expired })
	}
}

// unpark puts what is due back in its turn. The lane is locked.
func (l *lane) unpark(now time.Time) {
	if l.due.IsZero() || l.due.After(now) {
		return
	}
	l.due = time.Time{}
	l.parked = slices.DeleteFunc(l.parked, func(q *queue) bool {
		if !q.after.After(now) {
			l.ready = append(l.ready, q)
			return true
		}
		if l.due.IsZero() || q.after.Before(l.due) {
			l.due = q.after
		}
		return false
	})
}

// park lets a queue wait. The lane is locked.
func (l *lane) park(q *queue, until time.Time) {
	q.after = until
	l.parked = append(l.parked, q)
	if l.due.IsZero() || until.Before(l.due) {
		l.due = until
	}
}

// back puts a queue in its turn, to be looked at not before a time.
func (l *lane) back(q *queue, after time.Time) {
	l.mu.Lock()
	if after.IsZero() {
		l.ready = append(l.ready, q)
	} else {
		l.park(q, after)
	}
	l.mu.Unlock()
	l.wakeUp()
}

// done takes the first works off a queue, and puts it back in its turn.
func (l *lane) done(q *queue, n int) []work {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.doneLocked(q, n)
}

func (l *lane) doneLocked(q *queue, n int) []work {
	works := q.work[:n:n]
	if q.work = q.work[n:]; len(q.work) == 0 {
		q.work = nil
	}
	if q.tries > 0 {
		l.a.eased(q)
	}
	q.tries, q.sent, q.single, q.applied = 0, 0, max(q.single-n, 0), 0
	q.cause, q.lenient = nil, false
	l.ready = append(l.ready, q)
	return works
}

// discard gives up what is queued of a row and was taken before its table was
// stopped.
func (l *lane) discard(q *queue) {
	works := l.stale(q)
	for _, w := range works {
		w.retry.reply(errDropped)
	}
	l.a.finish(q.table, works, nil)
}

// stale takes the works off a queue that were given up.
func (l *lane) stale(q *queue) []work {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(q.work) && l.a.stale(q.table, &q.work[n]) {
		n++
	}
	works := l.doneLocked(q, n)
	q.single = 0
	return works
}

// giveUp answers those who wait, when nothing more is sent.
func (l *lane) giveUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range l.rows {
		for _, w := range q.work {
			w.retry.reply(errStopped)
		}
	}
}
