package replication

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"pointsman/internal/failover"
	"pointsman/replication/ots"
)

var (
	// ErrNotHere: this process does not replicate now: it does not lead, or the
	// record leaves nothing to replicate.
	ErrNotHere = errors.New("nothing is replicated by this process now")

	// errDead: a point of Config.Fail was a fault.
	errDead = errors.New("the process is dead to replication")
	// errCourse ends a session whose course is another one.
	errCourse = errors.New("the course changed")
)

// Replicator carries the rows of one instance. Safe for concurrent use.
type Replicator struct {
	cfg     Config
	clients map[failover.ClusterName]clients

	mu      sync.Mutex
	course  Course
	told    chan struct{} // closed and made anew when the course changes
	session *session      // that carries, or is about to
	gauge   *gauge        // in its place, where somebody else carries
	doing   string        // where there is no session
	dead    error         // of Config.Fail
	kill    context.CancelCauseFunc
	// still is the way of the last session, if it ended with nothing of it under
	// way to the target: the next one of that way need not wait for it.
	still way

	drains drains
	losses losses
}

// clients of one cluster, one for each identity.
type clients struct{ source, target, control *ots.Client }

// New makes a Replicator. It calls nobody; [Replicator.Run] does.
func New(cfg Config) (*Replicator, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	r := &Replicator{cfg: cfg, told: make(chan struct{}), clients: map[failover.ClusterName]clients{}, doing: "not leading"}
	for name, c := range cfg.Clusters {
		var all clients
		for _, o := range []struct {
			what string
			cfg  ots.Config
			to   **ots.Client
		}{{"source", c.Source, &all.source}, {"target", c.Target, &all.target}, {"control", c.Control, &all.control}} {
			if o.cfg.Timeout == 0 {
				o.cfg.Timeout = cfg.Timeout
			}
			if wrap := o.cfg.Wrap; cfg.Fail != nil {
				o.cfg.Wrap = func(next http.RoundTripper) http.RoundTripper {
					if wrap != nil {
						next = wrap(next)
					}
					return &mortal{next, r, o.what}
				}
			}
			if *o.to, err = ots.Open(o.cfg); err != nil {
				// Those that are open hold no connection yet.
				return nil, fmt.Errorf("replication of %s: cluster %s: %s: %w", cfg.Instance, name, o.what, err)
			}
		}
		r.clients[name] = all
	}
	return r, nil
}

// Run replicates, by the course that [Replicator.Follow] tells, until ctx ends.
// It returns what ended it; faults of clusters and tables do not. It may be
// called once.
func (r *Replicator) Run(ctx context.Context) error {
	defer r.close()
	ctx, kill := context.WithCancelCause(ctx)
	defer kill(nil)
	r.mu.Lock()
	r.kill = kill
	r.mu.Unlock()
	g, ctx := newTeam(ctx)
	g.Go(func() error { return r.carry(ctx) })
	g.Go(func() error { return r.tell(ctx) })
	g.Go(func() error { return r.surveys(ctx) })
	return g.Wait()
}

func (r *Replicator) close() {
	for _, c := range r.clients {
		c.source.Close()
		c.target.Close()
		c.control.Close()
	}
}

// carry runs one session after the other, as the course says.
func (r *Replicator) carry(ctx context.Context) error {
	wait := waits{least: time.Second, most: 30 * time.Second}
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c, told := r.look()
		w, why := c.carries()
		if why != "" {
			r.idle(why)
			select {
			case <-told:
			case <-ctx.Done():
			}
			continue
		}
		began := time.Now()
		err := r.one(ctx, w, c.Token)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case r.isDead():
			return err
		case errors.Is(err, errCourse):
			wait.now = 0
			continue
		case errors.Is(err, ErrSuperseded):
			r.cfg.Log.Warn("replication ends here", "instance", r.cfg.Instance, "error", err)
			r.idle(err.Error())
			if err := r.otherToken(ctx, c.Token); err != nil {
				return err
			}
			continue
		}
		r.cfg.Log.Warn("replication begins anew", append([]any{"instance", r.cfg.Instance, "error", err}, Trace(err)...)...)
		r.idle(err.Error())
		if time.Since(began) > wait.most {
			wait.now = 0
		}
		t := time.NewTimer(wait.next())
		select {
		case <-t.C:
		case <-told:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// otherToken waits for a course with another token.
func (r *Replicator) otherToken(ctx context.Context, t failover.Token) error {
	for {
		c, told := r.look()
		if c.Token != t {
			return nil
		}
		select {
		case <-told:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// one does what a course wants until that fails, or the course is another one.
func (r *Replicator) one(ctx context.Context, w way, token failover.Token) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := bareTeam()
	watch.Go(func() error {
		err := safely(func() error { return r.otherCourse(ctx, w) })
		cancel(err) // also where it is a fault: nobody would look any more
		return err
	})
	err := r.work(ctx, w, token)
	cancel(nil)
	_ = watch.Wait()
	return err
}

// otherCourse waits for a course that wants something else, which is errCourse.
func (r *Replicator) otherCourse(ctx context.Context, w way) error {
	for {
		c, told := r.look()
		if have, why := c.carries(); why != "" || have != w {
			return errCourse
		}
		select {
		case <-told:
		case <-ctx.Done():
			return nil
		}
	}
}

// work carries the rows, or measures how somebody else does.
func (r *Replicator) work(ctx context.Context, w way, token failover.Token) error {
	if r.cfg.Mode != ModeStream {
		return r.measure(ctx, w)
	}
	s := newSession(r, w, token)
	r.mu.Lock()
	r.session = s
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.session = nil
		r.mu.Unlock()
	}()
	err := s.run(ctx)
	close(s.over)
	return err
}

// Follow tells the course. When it returns, nothing is begun any more that the
// course does not allow. A course with a lower token than the last is ignored.
func (r *Replicator) Follow(c Course) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.Op == r.course.Op {
		c.drained, c.applyUntil = r.course.drained, r.course.applyUntil
	}
	if !c.newer(&r.course) || c == r.course {
		return
	}
	was := r.course
	r.course = c
	if was.Until = c.Until; was != c { // a lease that is renewed is no news
		r.wake()
	}
}

// look returns the course, and what is closed when there is another one.
func (r *Replicator) look() (Course, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.course, r.told
}

// idle notes why nothing is carried.
func (r *Replicator) idle(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doing = why
}

// allows says why a session of that way must not write now, or nothing.
func (r *Replicator) allows(w way) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dead != nil {
		return r.dead
	}
	return r.course.allows(w, time.Now())
}

// now is the session in hand, or nil.
func (r *Replicator) now() *session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.session
}

// settled notes whether a session left nothing under way.
func (r *Replicator) settled(w way, still bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.still = way{}
	if still {
		r.still = w
	}
}

// takeStill says whether the last session was of that way and left nothing
// under way, once.
func (r *Replicator) takeStill(w way) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.still == w
	r.still = way{}
	return was
}

// epoch is that of the course.
func (r *Replicator) epoch() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.course.Token.Epoch
}

// fail is a point at which the process may die: nothing is sent after it.
func (r *Replicator) fail(point string) error {
	if r.cfg.Fail == nil {
		return nil
	}
	err := r.cfg.Fail(point)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil && r.dead == nil {
		r.dead = fmt.Errorf("%w at %s: %w", errDead, point, err)
		if r.kill != nil {
			r.kill(r.dead)
		}
	}
	return r.dead
}

func (r *Replicator) isDead() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dead != nil
}

// tell tells the core what changed.
func (r *Replicator) tell(ctx context.Context) error {
	t := teller{exposure: r.cfg.TellExposure, standby: r.cfg.TellStandby}
	for {
		r.tellOnce(&t, time.Now())
		if err := sleep(ctx, tellEvery); err != nil {
			return err
		}
	}
}

// tellOnce tells what there is to tell by a process that leads: of a standby
// that is not written to, nothing is known.
func (r *Replicator) tellOnce(t *teller, now time.Time) {
	r.mu.Lock()
	c, s, g, doing := r.course, r.session, r.gauge, r.doing
	r.mu.Unlock()
	switch {
	case !c.Leading || c.Active == "" || c.Op != "" && pastDrain(c.Step):
		return // the core goes by what it has, or by the drain
	case g != nil:
		b := g.bound()
		t.tellExposure(b.event(g.way.From, now))
		if s := g.standby(); s.State != "" {
			t.tellStandby(s, now)
		}
		return
	case s == nil:
		b := bound{why: doing}
		t.tellExposure(b.event(c.Active, now))
		return
	}
	w := s.sum(now)
	t.tellExposure(w.total.event(s.way.From, now))
	if w.standby.State != "" {
		w.standby.Cluster = s.way.To
		t.tellStandby(w.standby, now)
	}
}
