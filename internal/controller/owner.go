package controller

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"pointsman/internal/failover"
)

const (
	shortestTick  = 10 * time.Millisecond
	shortestFault = time.Second // between two lives after a panic in the core
	longestFault  = time.Minute
)

// open is an errand that was not answered yet.
type open struct {
	errand
	due    time.Time // when the owner answers it itself; zero: never
	cancel context.CancelFunc
}

// owner is one instance with everything that only its turns may touch.
type owner struct {
	c       *Controller
	name    failover.InstanceName
	inbox   *inbox
	replies replies
	snap    atomic.Pointer[Snapshot]
	gone    chan struct{} // closed when a reload removed the instance
	leave   context.CancelFunc

	// mu is held for a turn, which never waits for anything.
	mu     sync.Mutex
	policy *failover.Policy
	lastID uint64 // of errands, over all lives
	life   life
	fault  error // that ended the life, until its goroutine has seen it
	ended  bool  // a reload removed it: it has no more turns
}

// life is what an owner knows since it last began from the ledger.
type life struct {
	ctx    context.Context // nil: it has ended, or not begun
	group  *errgroup.Group
	state  failover.State
	loaded bool
	view   failover.View // as last compared
	heard  heard
	look   bool // something may show in a transition

	lead    failover.Lead
	work    context.Context // while leading: what outward errands run under
	dismiss context.CancelCauseFunc
	yielded string // why it stopped leading by itself; empty: it did not
	yieldAt uint64 // the term that it yielded under

	open      map[uint64]open
	commit    uint64 // id of the commit in hand; 0 is none
	held      []failover.Action
	agreed    []failover.Reply // to be given when the commit is durable
	recording failover.Record  // of the commit in hand
	writing   time.Time        // since when the ledger works on it; zero: there is none
	slow      bool             // people were told that it is slow
	rev       uint64           // of the record, as far as it was read or committed
	stale     bool             // the ledger may hold something newer; read it after the commit in hand
	lapsed    lapse

	loadWait time.Duration // before the next try to read the ledger
	lastOp   string        // id and outcome of the newest finished operation
	serials  map[failover.RecordName]uint32
	lastTick time.Time
	tickDue  time.Time
	due      time.Time // when the timer should fire
	tilts    uint64    // of the watch, as far as the core has been told
}

func newOwner(c *Controller, p *failover.Policy) *owner {
	o := &owner{c: c, name: p.Instance, policy: p, inbox: newInbox(len(p.Vantages)), gone: make(chan struct{}), leave: func() {}}
	now := c.now()
	o.snap.Store(&Snapshot{Instance: p.Instance, State: c.cfg.Core.New(now), Policy: p, At: now})
	return o
}

// run lives until ctx ends. A panic in the core costs this instance its
// memory and nobody else anything: it begins again from the ledger, which is
// what a crash of the process would come to.
func (o *owner) run(ctx context.Context, g *errgroup.Group) error {
	pause := shortestFault
	for {
		began := o.c.now()
		fault := o.live(ctx, g)
		if fault == nil {
			return nil
		}
		o.mu.Lock()
		o.fault = nil
		o.mu.Unlock()
		if o.c.now().Sub(began) > longestFault {
			pause = shortestFault
		}
		o.c.count.faults.Add(1)
		o.replies.failAll(errRestarted)
		o.tell(slog.LevelError, Transition{Kind: KindFault, To: "starting again from the ledger", Reason: fault.Error()})
		o.page(failover.Page{Kind: "fault", Text: fmt.Sprintf("a fault of this program stopped the decisions for %s; it starts again from the ledger in %s: %v", o.name, pause, fault)})
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, longestFault)
	}
}

// live is one life: from the ledger to the end of ctx (nil) or to a panic.
func (o *owner) live(ctx context.Context, g *errgroup.Group) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	timer := time.NewTimer(0)
	defer timer.Stop()
	due, fault := o.act(func() { o.begin(ctx, g) })
	for fault == nil {
		timer.Reset(due.Sub(o.c.now()))
		select {
		case <-ctx.Done():
			return nil
		case <-o.inbox.ready:
		case <-timer.C:
		}
		if ctx.Err() != nil {
			return nil
		}
		due, fault = o.act(func() { o.turn(ctx) })
	}
	return fault
}

// act does f as the only one who touches the instance, and returns when it
// wants its next turn. A panic ends the life.
func (o *owner) act(f func()) (due time.Time, fault error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer func() {
		if r := recover(); r != nil {
			o.fault = fmt.Errorf("panic: %v", r)
			o.panicked("decide", debug.Stack())
		}
		if o.fault != nil {
			o.life.ctx = nil
		}
		due, fault = o.life.due, o.fault
	}()
	if o.fault == nil && !o.ended {
		f()
	}
	return
}

// begin feeds the lead and asks for the record.
func (o *owner) begin(ctx context.Context, g *errgroup.Group) {
	now := o.c.now()
	tilts, _ := o.c.watch.look()
	lead := *o.c.lead.Load()
	if o.life.group != nil {
		lead = o.life.lead
	}
	o.life = life{
		ctx: ctx, group: g, state: o.c.cfg.Core.New(now), open: make(map[uint64]open), heard: make(heard), look: true,
		lastTick: now, due: now, tilts: tilts,
		yielded: o.life.yielded, yieldAt: o.life.yieldAt, serials: o.life.serials,
	}
	o.setLead(ctx, lead)
	o.load(ctx)
}

// turn takes everything that waits, then ticks if it is time, then publishes.
func (o *owner) turn(ctx context.Context) {
	l := &o.life
	for _, it := range o.inbox.take() {
		switch {
		case it.answer != nil:
			o.settle(ctx, *it.answer)
		default:
			if lead, ok := it.event.(failover.Lead); ok {
				o.setLead(ctx, lead)
				continue
			}
			o.feed(ctx, it.event)
		}
	}
	now := o.c.now()
	for _, id := range slices.Sorted(maps.Keys(l.open)) {
		if e, ok := l.open[id]; ok && !e.due.IsZero() && !now.Before(e.due) {
			a := e.lost(fmt.Errorf("no answer within %s", e.limit))
			a.id = id
			o.settle(ctx, a)
		}
	}
	o.attend(ctx, now)
	if l.loaded && !now.Before(l.tickDue) {
		l.lastTick = now
		o.feed(ctx, failover.Tick{})
	}
	o.publish()
	o.schedule()
}

// feed gives one event to the core, and the news of a tilt before it.
func (o *owner) feed(ctx context.Context, e failover.Event) {
	if stall := o.tilt(); stall > 0 {
		o.tell(slog.LevelWarn, Transition{Kind: KindTilt, Reason: fmt.Sprintf("the process stalled or the clock jumped by %s", stall.Round(time.Millisecond))})
		o.step(ctx, failover.Tilted{Stall: stall})
	}
	o.step(ctx, e)
}

// tilt returns the length of a stall that the core was not told of yet.
func (o *owner) tilt() time.Duration {
	l := &o.life
	now := o.c.now()
	tilts, stall := o.c.watch.look()
	late := now.Sub(l.due)
	if late >= tiltBound {
		l.due = now // said once
	} else {
		late = 0
	}
	if tilts == l.tilts {
		stall = 0
	}
	l.tilts = tilts
	return max(stall, late)
}

func (o *owner) step(ctx context.Context, e failover.Event) {
	o.dispatch(ctx, o.decide(e))
}

// decide asks the core, and notes whether the answer may show in a transition.
func (o *owner) decide(e failover.Event) []failover.Action {
	l := &o.life
	var actions []failover.Action
	l.state, actions = o.c.cfg.Core.Step(l.state, o.policy, e, o.c.now())
	if l.heard.news(e) || len(actions) > 0 {
		l.look = true
	}
	return actions
}

// schedule sets the next tick and the time of the timer.
func (o *owner) schedule() {
	l := &o.life
	now := o.c.now()
	round := o.policy.Round
	if round <= 0 {
		round = time.Second
	}
	l.tickDue = l.lastTick.Add(round)
	if next := o.c.cfg.Core.NextWake(&l.state, o.policy, now); !next.IsZero() && next.Before(l.tickDue) {
		l.tickDue = next
	}
	if first := l.lastTick.Add(shortestTick); l.tickDue.Before(first) {
		l.tickDue = first
	}
	l.due = now.Add(round)
	if l.loaded {
		l.due = l.tickDue
	}
	for _, e := range l.open {
		if !e.due.IsZero() && e.due.Before(l.due) {
			l.due = e.due
		}
	}
	if next := o.attention(); !next.IsZero() && next.Before(l.due) {
		l.due = next
	}
}

// publish makes a snapshot for readers, who derive a view when they want one,
// and tells what changed.
func (o *owner) publish() {
	l := &o.life
	now := o.c.now()
	o.snap.Store(&Snapshot{
		Instance: o.name, State: l.state, Policy: o.policy, At: now, Serials: l.serials,
		Writing: l.writing, Lapse: orYielded(l.lapsed.why, l.yielded), Again: l.lapsed.again,
	})
	if !l.look {
		return
	}
	l.look = false
	view := o.c.cfg.Core.Look(&l.state, o.policy, now)
	view.Instance, view.At = o.name, now
	if ts := transitions(&l.view, &view); len(ts) > 0 {
		o.c.count.subscribersDropped.Add(o.c.subs.publish(ts))
		for _, t := range ts {
			o.c.logs.post(logNote{slog.LevelInfo, string(t.Kind), t.attrs()})
		}
	}
	l.view = view
}

// tell logs a transition that the view does not show, and publishes it.
func (o *owner) tell(level slog.Level, t Transition) {
	t.Instance, t.At = o.name, o.c.now()
	o.c.count.subscribersDropped.Add(o.c.subs.publish([]Transition{t}))
	o.c.logs.post(logNote{level, string(t.Kind), t.attrs()})
}

// panicked logs where a panic came from; what follows from it is told apart.
func (o *owner) panicked(doing string, stack []byte) {
	o.c.logs.post(logNote{slog.LevelError, "panic", []slog.Attr{
		slog.String("instance", string(o.name)), slog.String("doing", doing), slog.String("stack", string(stack)),
	}})
}

func (o *owner) page(p failover.Page) {
	o.c.logs.post(logNote{slog.LevelWarn, "page", []slog.Attr{
		slog.String("instance", string(o.name)), slog.String("kind", p.Kind), slog.String("reason", p.Text),
	}})
	o.c.pages.post(pageNote{o.name, p})
}
