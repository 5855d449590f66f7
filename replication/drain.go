package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"pointsman/internal/failover"
)

// errNewerDrain ends a drain that another order has replaced.
var errNewerDrain = errors.New("a newer order to drain came in")

const (
	// drainLook is how often a drain looks whether it is done; each look has the
	// streams read.
	drainLook = 20 * time.Millisecond
	// goneAfter is for how long the old side must have answered nothing until a
	// drain ends before its time, and goneLook how often it is asked.
	goneAfter = time.Second
	goneLook  = 250 * time.Millisecond
)

// drains is the drain in hand.
type drains struct {
	mu     sync.Mutex
	cancel context.CancelCauseFunc
	done   chan struct{}
}

// begin takes the place of a drain that still runs, and waits until that is gone.
func (d *drains) begin(ctx context.Context) (own context.Context, end func()) {
	own, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	d.mu.Lock()
	older, olderDone := d.cancel, d.done
	d.cancel, d.done = cancel, done
	d.mu.Unlock()
	if older != nil {
		older(errNewerDrain)
		<-olderDone
	}
	return own, func() {
		cancel(nil)
		close(done)
	}
}

// Drain reads and applies what the old side still holds, until that is shown
// twice to be nothing, or until its deadline. Whatever it returns, nothing is
// applied any more for the operation, until the next Drain or until it is over.
//
// Of a switchover it also takes the positions from which the other direction
// will be followed. A newer Drain takes the place of one that still runs.
func (r *Replicator) Drain(ctx context.Context, d failover.Drain) (failover.Drained, error) {
	failed := failover.Drained{Op: d.Op, Bound: -1}
	ctx, end := r.drains.begin(ctx)
	defer end()
	if !d.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, d.Deadline, errDrainOver)
		defer cancel()
	}
	if d.Until.IsZero() {
		d.Until = time.Now()
	}
	if r.cfg.Mode != ModeStream {
		return r.awaitGauge(ctx, d)
	}
	w := drain{r: r, order: d}
	if err := w.awaitCourse(ctx); err != nil {
		return failed, fmt.Errorf("drain %s: %w", d.From, err)
	}
	why := w.toTheEnd(ctx)
	w.gone.stop()
	// Also where it failed: nothing is applied any more when it has answered.
	stopped := w.stop(context.WithoutCancel(ctx))
	if !errors.Is(why, errDrainOver) && !errors.Is(why, errGone) {
		if err := errors.Join(why, stopped); err != nil {
			return failed, fmt.Errorf("drain %s: %w", d.From, err)
		}
	}
	out, err := w.cut(context.WithoutCancel(ctx), stopped)
	if err != nil {
		return failed, fmt.Errorf("drain %s: %w", d.From, err)
	}
	out.Gone = errors.Is(why, errGone)
	return out, nil
}

var (
	errDrainOver = errors.New("its time is over")
	errGone      = errors.New("the old side answers nothing")
)

// drain is one order to drain at work.
type drain struct {
	r     *Replicator
	order failover.Drain
	way   way
	of    *session // that was there last
	empty bool
	gone  gone
}

// awaitCourse waits until the course is that of the operation: order and course
// come by different ways.
func (w *drain) awaitCourse(ctx context.Context) error {
	for {
		c, told := w.r.look()
		if c.Op == w.order.Op && c.Leading {
			if c.Active != w.order.From || c.Standby != w.order.To || pastDrain(c.Step) {
				return fmt.Errorf("%s is at %s, from %s to %s", c.Op, c.Step, c.Active, c.Standby)
			}
			w.way = way{c.Active, c.Standby, c.Token.Term}
			w.r.unseal(c.Op, w.order.Deadline)
			return nil
		}
		select {
		case <-told:
		case <-ctx.Done():
			return fmt.Errorf("the course is not that of %s: %w", w.order.Op, ErrNotHere)
		}
	}
}

// toTheEnd has everything read until it is shown twice that nothing is left.
func (w *drain) toTheEnd(ctx context.Context) error {
	var first map[shardOf]time.Time
	for {
		c, _ := w.r.look()
		if c.Op != w.order.Op || !c.Leading {
			return fmt.Errorf("the course is not that of %s any more: %w", w.order.Op, ErrNotHere)
		}
		s := w.r.now()
		if s != nil && s != w.of {
			first, w.of = nil, s
		}
		if s != nil && s.way == w.way {
			w.gone.watch(ctx, s)
			proved, ok := s.provedAll(w.order.Until)
			switch {
			case !ok:
				first = nil
			case first == nil || !later(first, proved):
				if first == nil {
					first = proved
				}
			default:
				w.empty = true
				return nil
			}
			s.nudge()
			if w.order.Kind == failover.Failover && w.gone.is() && s.landed() {
				return errGone
			}
		}
		if err := sleep(ctx, drainLook); err != nil {
			return err
		}
	}
}

// shardOf is a shard of a table.
type shardOf struct {
	table string
	shardID
}

// later says whether every shard was proved to be empty once more.
func later(first, now map[shardOf]time.Time) bool {
	for id, at := range now {
		if was, ok := first[id]; ok && !at.After(was) {
			return false
		}
	}
	return true
}

// provedAll are the moments of the last empty reads of all open shards, if each
// is at or after until, and nothing else stands in the way of saying that
// everything acknowledged before until is applied.
func (s *session) provedAll(until time.Time) (map[shardOf]time.Time, bool) {
	now := time.Now()
	total := s.sum(now).total
	if !total.known || total.gap != "" || total.rows > 0 || total.upto.Before(until) {
		return nil, false
	}
	out := map[shardOf]time.Time{}
	for _, r := range s.runners() {
		r.mu.Lock()
		t, gone := r.track, r.gone
		r.mu.Unlock()
		if gone {
			continue
		}
		if t == nil {
			return nil, false
		}
		for id, at := range t.proved() {
			if at.Before(until) {
				return nil, false
			}
			out[shardOf{r.table, id}] = at
		}
	}
	return out, true
}

// nudge has every stream read, and the tables listed, now.
func (s *session) nudge() {
	for _, r := range s.runners() {
		r.mu.Lock()
		f := r.follower
		r.mu.Unlock()
		if f != nil {
			f.Nudge()
		}
	}
	select {
	case s.relist <- struct{}{}:
	default:
	}
}

// landed says whether all that was read is applied.
func (s *session) landed() bool {
	return !slices.ContainsFunc(s.runners(), func(r *runner) bool {
		r.mu.Lock()
		t := r.track
		r.mu.Unlock()
		return t != nil && t.mark(time.Now()).rows > 0
	})
}

// gone watches whether the old side answers anything.
type gone struct {
	mu     sync.Mutex
	since  time.Time // of the first question without an answer since the last with one
	of     *session
	cancel context.CancelFunc
	done   chan struct{}
}

// watch asks in the background, once per session.
func (g *gone) watch(ctx context.Context, s *session) {
	if g.of == s {
		return
	}
	g.stop()
	ctx, cancel := context.WithCancel(ctx)
	g.of, g.cancel, g.done = s, cancel, make(chan struct{})
	go func() {
		defer close(g.done)
		for ctx.Err() == nil {
			if err := safely(func() error { return g.ask(ctx, s) }); err != nil {
				s.log.Error("whether the source answers is not known", append([]any{"error", err}, Trace(err)...)...)
			}
			_ = sleep(ctx, goneLook)
		}
	}()
}

// ask asks once.
func (g *gone) ask(ctx context.Context, s *session) error {
	asked := time.Now()
	once, end := context.WithTimeout(ctx, goneAfter)
	defer end()
	_, err := s.source.ListTables(once)
	if ctx.Err() != nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case err == nil:
		g.since = time.Time{}
	case g.since.IsZero():
		g.since = asked
	}
	return nil
}

func (g *gone) is() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.since.IsZero() && time.Since(g.since) >= goneAfter
}

func (g *gone) stop() {
	if g.cancel != nil {
		g.cancel()
		<-g.done
	}
	g.of, g.cancel = nil, nil
	g.mu.Lock()
	g.since = time.Time{}
	g.mu.Unlock()
}

// seal lets nothing be applied for the operation any more, and ends the session.
func (r *Replicator) seal(op string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.course.Op == op && !r.course.drained {
		r.course.drained = true
		r.wake()
	}
}

// unseal lets rows be applied for the operation until a moment.
func (r *Replicator) unseal(op string, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.course.Op == op {
		r.course.drained, r.course.applyUntil = false, until
		r.wake()
	}
}

// wake tells that the course is another one. mu is held.
func (r *Replicator) wake() {
	close(r.told)
	r.told = make(chan struct{})
}

// stop ends the session and waits until nothing of it is under way.
func (w *drain) stop(ctx context.Context) error {
	w.r.seal(w.order.Op)
	s := w.of
	if s == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, w.r.cfg.Timeout+stopMargin)
	defer cancel()
	select {
	case <-s.over:
		return s.hanging
	case <-ctx.Done():
		return fmt.Errorf("requests to %s may still be under way: %w", w.order.To, ctx.Err())
	}
}

// stopMargin is how much longer than one request the end of a session may take.
const stopMargin = 2 * time.Second

// mayApply says whether rows of tables may be written now: may, and the drain in
// hand is not past its deadline. A drain stops a session itself; this holds
// where it did not come to that.
func (s *session) mayApply() error {
	if err := s.may(); err != nil {
		return err
	}
	if c, _ := s.r.look(); !c.applyUntil.IsZero() && !time.Now().Before(c.applyUntil) {
		return fmt.Errorf("%w: the drain of %s is over", ErrNotHere, c.Op)
	}
	return nil
}

// mayKeep says whether control rows may be written now.
func (s *session) mayKeep() error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if s.r.dead != nil {
		return s.r.dead
	}
	return s.r.course.keeps(s.way, time.Now())
}
