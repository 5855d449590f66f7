package replication

import (
	"context"
	"fmt"
	"sync"
	"time"

	"pointsman/replication/ots"
)

// asideCalls is how many rows are dealt with side by side.
const asideCalls = 4

// aside does for single rows what a lane must not wait for: it keeps those aside
// that were refused, and tells open letters what came later.
type aside struct {
	a *applier

	mu    sync.Mutex
	jobs  []asideJob
	woken chan struct{}
}

type asideJob struct {
	l *lane
	q *queue
}

func newAside(a *applier) *aside { return &aside{a: a, woken: make(chan struct{}, 1)} }

func (s *aside) push(l *lane, q *queue) {
	s.mu.Lock()
	s.jobs = append(s.jobs, asideJob{l, q})
	s.mu.Unlock()
	s.wake()
}

func (s *aside) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

func (s *aside) pop() (j asideJob, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.jobs) == 0 {
		return j, false
	}
	j = s.jobs[0]
	s.jobs = s.jobs[1:]
	if len(s.jobs) > 0 {
		s.wake() // one more may help
	}
	return j, true
}

func (s *aside) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.a.ended:
			return nil
		default:
		}
		j, ok := s.pop()
		if !ok {
			select {
			case <-s.woken:
			case <-s.a.ended:
			case <-ctx.Done():
			}
			continue
		}
		if err := s.do(ctx, j); err != nil {
			return err
		}
	}
}

// do is one row. The error is that of May.
func (s *aside) do(ctx context.Context, j asideJob) error {
	n := max(j.q.applied, 1)
	works := j.l.first(j.q, n)
	if s.a.stale(j.q.table, &works[0]) {
		j.l.discard(j.q)
		return nil
	}
	if err := s.a.may(); err != nil {
		return err
	}
	if !s.a.begin() {
		return nil
	}
	var err error
	if j.q.cause != nil {
		err = s.a.cfg.Dead.keep(ctx, j.q.table.name, works[0].from, *works[0].rec, j.q.cause)
	} else {
		err = s.tell(ctx, j.q, works)
	}
	s.a.landed()
	if err != nil {
		s.a.trouble(j.q, err)
		j.l.back(j.q, time.Now().Add(s.a.cfg.wait(j.q.tries)))
		return nil
	}
	kept := j.q.cause
	works = j.l.done(j.q, n)
	s.a.finish(j.q.table, works, func(c *applyCounts) {
		if kept != nil {
			c.Refused++
		}
	})
	if kept != nil {
		s.a.cfg.Log.Warn("a row is kept aside", "table", j.q.table.name, "cause", kept)
	}
	for _, w := range works {
		w.retry.reply(nil)
	}
	j.l.wakeUp()
	return nil
}

// tell tells open letters of the row that works came later, and closes the
// letter of a retry.
func (s *aside) tell(ctx context.Context, q *queue, works []work) error {
	for _, w := range works {
		if err := s.a.cfg.Dead.passed(ctx, q.table.name, q.key, w.from, *w.rec); err != nil {
			return err
		}
		if w.retry == nil {
			continue
		}
		if err := s.a.cfg.Dead.retried(ctx, w.retry.id, w.retry.by); err != nil {
			return err
		}
	}
	return nil
}

// retry is a letter that a person wants written after all.
type retry struct {
	id, by string
	answer chan error // has room for one
}

func (r *retry) reply(err error) {
	if r == nil {
		return
	}
	select {
	case r.answer <- err:
	default:
	}
}

// Retry writes the row of an open letter, once, and closes the letter if the
// target took it. It takes its turn among the records of that row, so that it
// cannot undo one of them: where later updates were applied already it is
// refused with ErrOvertaken. (A later record of the whole row has closed the
// letter.) Of several letters of a row the oldest is to be retried first; one
// that is retried marks those before it.
func (a *applier) Retry(ctx context.Context, id, by string) error {
	l, rec, err := a.cfg.Dead.record(ctx, id)
	if err != nil {
		return a.cfg.Dead.fault("retry "+id, err)
	}
	m := ots.Mutation{Table: l.Table, Action: rec.Action, Key: rec.Key, Cells: rec.Cells}
	t, life, err := a.admit(ctx, l.Table, 1, m.Size())
	if err != nil {
		return fmt.Errorf("retry %s: %w", id, err)
	}
	r := &retry{id: id, by: by, answer: make(chan error, 1)}
	a.push(t, work{rec: &rec, size: m.Size(), from: origin{l.From}, life: life, retry: r})
	select {
	case err = <-r.answer:
	case <-a.ended:
		select {
		case err = <-r.answer:
		default:
			err = errStopped
		}
	case <-ctx.Done():
		err = fmt.Errorf("it may still be written: %w", context.Cause(ctx))
	}
	if err != nil {
		return fmt.Errorf("retry %s: %w", id, err)
	}
	return nil
}

// allowed says why a retry must not be sent any more; nil for all else.
func (l *lane) allowed(e *entry) error {
	r := e.works[0].retry
	if r == nil {
		return nil
	}
	return l.a.cfg.Dead.standing(e.table.name, e.key, r.id)
}

// refuse is done with a retry that was not written.
func (l *lane) refuse(e *entry, err error) {
	works := l.done(e.queue, 1)
	for _, w := range works {
		w.retry.reply(err)
	}
	l.a.finish(e.table, works, nil)
}
