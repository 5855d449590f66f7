package controller

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"pointsman/internal/failover"
)

// lastWords is how long pages and history may take after everything else has
// ended.
const lastWords = 2 * time.Second

// Snapshot is what is known of one instance at one moment. It is immutable:
// readers look at it with the functions of internal/failover.
type Snapshot struct {
	Instance failover.InstanceName
	State    failover.State
	Policy   *failover.Policy
	At       time.Time
	Serials  map[failover.RecordName]uint32 // of embedded zones, as last raised by this process
	Writing  time.Time                      // since when the ledger works on a commit; zero: on none. Nothing is decided meanwhile.
	Lapse    string                         // why the instance gave up the lead that the process has; empty: it did not
	Again    time.Time                      // when it tries to lead again; zero: not before the term rises
}

// Stats counts what was dropped or went wrong since the start, and how the
// turns came on.
type Stats struct {
	ReportsDropped     uint64 // an older report of a vantage, for a newer one, because the inbox was full
	ReportsStrange     uint64 // from a vantage that may not vote
	LateAnswers        uint64 // came after the errand had been answered as unknown
	HeldBack           uint64 // actions that had to wait for a commit
	Commits            uint64 // that succeeded
	CommitsFailed      uint64
	Tilts              uint64
	Faults             uint64 // panics in the core
	SubscribersDropped uint64
	LogDropped         uint64
	PagesDropped       uint64
	HistoryDropped     uint64

	Turns    uint64        // that instances were given
	TurnWait time.Duration // from being ready to the turn, in sum
	Ready    int           // instances that wait for a turn at this moment
}

type counters struct {
	reportsDropped, reportsStrange, lateAnswers, heldBack atomic.Uint64
	commits, commitsFailed, faults, subscribersDropped    atomic.Uint64
}

type (
	pageNote struct {
		instance failover.InstanceName
		page     failover.Page
	}
	historyNote struct {
		instance failover.InstanceName
		summary  failover.OpSummary
	}
	logNote struct {
		level slog.Level
		text  string
		attrs []slog.Attr
	}
)

// Controller runs all instances. Its methods may be called from any goroutine,
// also before Run.
type Controller struct {
	cfg     Config
	watch   *watch
	flood   *breaker
	subs    subscribers
	count   counters
	roster  atomic.Pointer[roster]
	outside atomic.Pointer[outside]
	lead    atomic.Pointer[failover.Lead] // as last said
	running running
	crew    *crew

	inspection inspection

	logs    *outbox[logNote]
	pages   *outbox[pageNote]
	history *outbox[historyNote]
	past    *outbox[pastNote]

	recalled sync.Map // by instance: what an earlier process left open was taken up

	poisoned atomic.Pointer[string] // why nothing can be written any more
	stopped  chan struct{}          // closed when Run has ended
}

// New checks the configuration and returns a controller that does nothing yet.
func New(cfg Config) (*Controller, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Core = cfg.Core.filled()
	cfg.Limits = cfg.Limits.filled()
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Wall == nil {
		cfg.Wall = cfg.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Controller{
		cfg:        cfg,
		crew:       newCrew(cfg.Now),
		inspection: newInspection(),
		watch:      &watch{now: cfg.Now, wall: cfg.Wall},
		logs:       newOutbox[logNote](1024),
		pages:      newOutbox[pageNote](256),
		history:    newOutbox[historyNote](256),
		past:       newOutbox[pastNote](1024),
		stopped:    make(chan struct{}),
	}
	c.watch.reset()
	c.lead.Store(&cfg.Lead)
	c.outside.Store(&outside{cfg.Names, cfg.Verifier})
	r := &roster{owners: make(map[failover.InstanceName]*owner, len(cfg.Policies))}
	for i := range cfg.Policies {
		p := own(cfg.Policies[i])
		r.owners[p.Instance] = newOwner(c, p)
		r.order = append(r.order, p.Instance)
	}
	c.roster.Store(r)
	c.cfg.Policies = nil // each owner has its own
	c.flood = newBreaker(cfg.Flood, r.policies())
	return c, nil
}

// Run owns all instances until ctx ends, and returns when everything that it
// started has ended; a commit in hand is let finish. It may be called once.
func (c *Controller) Run(ctx context.Context) error {
	defer close(c.stopped)
	defer c.subs.close()

	voice, hush := context.WithCancel(context.WithoutCancel(ctx))
	defer hush()
	var heralds errgroup.Group
	heralds.Go(func() error { c.logs.run(voice, c.say); return nil })
	heralds.Go(func() error {
		c.pages.run(voice, func(ctx context.Context, n pageNote) {
			if c.cfg.Page != nil {
				c.guarded("page", func() { c.cfg.Page(ctx, n.instance, n.page) })
			}
		})
		return nil
	})
	heralds.Go(func() error {
		c.history.run(voice, func(ctx context.Context, n historyNote) {
			if c.cfg.History != nil {
				c.guarded("history", func() { c.cfg.History(ctx, n.instance, n.summary) })
			}
		})
		return nil
	})

	heralds.Go(func() error {
		c.past.run(voice, c.handPast)
		for _, o := range c.roster.Load().owners {
			if voice.Err() == nil {
				o.lastTape(voice)
			}
		}
		return nil
	})

	c.watch.reset()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { c.watch.pulse(gctx); return nil })
	c.begin(gctx, g)
	err := g.Wait()

	// Nobody posts any more; what was posted is still handed over, in bounded
	// time.
	limit := time.AfterFunc(lastWords, hush)
	defer limit.Stop()
	c.pages.close()
	c.history.close()
	c.past.close()
	c.logs.close()
	_ = heralds.Wait() // they return no errors
	return err
}

// guarded keeps a panic of somebody else's hook from ending the process.
func (c *Controller) guarded(hook string, f func()) {
	defer func() {
		if r := recover(); r != nil {
			c.cfg.Log.Error("hook panicked", "hook", hook, "reason", fmt.Sprint(r))
		}
	}()
	f()
}

func (c *Controller) say(ctx context.Context, n logNote) {
	c.cfg.Log.LogAttrs(ctx, n.level, n.text, n.attrs...)
}

func (c *Controller) now() time.Time { return c.cfg.Now() }

// fail passes a failpoint.
func (c *Controller) fail(name string) error {
	if c.cfg.Fail == nil {
		return nil
	}
	return c.cfg.Fail(name)
}

// Instances lists the instances in the order of the configuration.
func (c *Controller) Instances() []failover.InstanceName { return slices.Clone(c.roster.Load().order) }

// Snapshot returns the newest snapshot of an instance, and false for an
// unknown one. Before Run it shows the state of a fresh start.
func (c *Controller) Snapshot(i failover.InstanceName) (Snapshot, bool) {
	o, ok := c.roster.Load().owners[i]
	if !ok {
		return Snapshot{}, false
	}
	return *o.snap.Load(), true
}

// Deliver hands over what a vantage said. It never waits: when reports pile
// up, the older one of the same vantage is dropped and counted. A report that
// says nothing new in a calm time is held back for a part of a round, so that
// those of all vantages cost one turn.
func (c *Controller) Deliver(i failover.InstanceName, r failover.Report) error {
	o, ok := c.roster.Load().owners[i]
	if !ok {
		return fmt.Errorf("report for %s: %w", i, ErrUnknownInstance)
	}
	s := o.snap.Load()
	if !slices.ContainsFunc(s.Policy.Vantages, func(v failover.VantagePolicy) bool { return v.Name == r.Vantage }) {
		c.count.reportsStrange.Add(1)
		return fmt.Errorf("report of %s for %s: %w", r.Vantage, i, ErrUnknownVantage)
	}
	if r.Arrived.IsZero() {
		r.Arrived = c.now()
	}
	if o.hold(r, s) {
		return nil
	}
	if !o.inbox.putReport(r) {
		c.count.reportsDropped.Add(1)
	}
	return nil
}

// Fact is an event about the world that replaces older ones of its kind.
type Fact interface {
	failover.Exposure | failover.StandbyChanged | failover.WritePath
}

// Tell hands a fact to an instance. It never waits.
func Tell[F Fact](c *Controller, i failover.InstanceName, f F) error {
	o, ok := c.roster.Load().owners[i]
	if !ok {
		return fmt.Errorf("fact for %s: %w", i, ErrUnknownInstance)
	}
	o.inbox.putFact(any(f).(failover.Event))
	return nil
}

// SetLead tells every instance whether this process leads. It never waits. An
// instance that has yielded, and every instance of a poisoned ledger, stays
// not leading whatever is said here, the former until the term rises.
func (c *Controller) SetLead(l failover.Lead) {
	c.lead.Store(&l) // for instances that a reload adds
	for _, o := range c.roster.Load().owners {
		o.inbox.putFact(l)
	}
}

// poison ends leadership for good: what cannot be made durable must not be
// decided.
func (c *Controller) poison(why error) {
	text := why.Error()
	if c.poisoned.CompareAndSwap(nil, &text) {
		c.SetLead(failover.Lead{Leading: false, Why: text})
	}
}

// Stats returns the counters.
func (c *Controller) Stats() Stats {
	turns, wait, ready := c.crew.load()
	return Stats{
		Turns: turns, TurnWait: wait, Ready: ready,

		ReportsDropped:     c.count.reportsDropped.Load(),
		ReportsStrange:     c.count.reportsStrange.Load(),
		LateAnswers:        c.count.lateAnswers.Load(),
		HeldBack:           c.count.heldBack.Load(),
		Commits:            c.count.commits.Load(),
		CommitsFailed:      c.count.commitsFailed.Load(),
		Tilts:              c.watch.count(),
		Faults:             c.count.faults.Load(),
		SubscribersDropped: c.count.subscribersDropped.Load(),
		LogDropped:         c.logs.dropped.Load(),
		PagesDropped:       c.pages.dropped.Load(),
		HistoryDropped:     c.history.dropped.Load() + c.past.dropped.Load(),
	}
}
