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
	inbox   inbox
	replies replies
	snap    atomic.Pointer[Snapshot]
	seat    seat // the crew's

	// mu is held for a turn, which never waits for anything.
	mu     sync.Mutex
	policy *failover.Policy
	draft  *Snapshot // the next one, while a turn works on it; nil: nothing new
	lastID uint64    // of errands, over all lives
	life   life
	rest   rest
	ended  bool // a reload removed it: it has no more turns
	parked bool // a reload may remove it: it has no turn until that is known
}

// rest is the pause after a fault.
type rest struct {
	until time.Time
	pause time.Duration // of the next one
}

// life is what an owner knows since it last began from the ledger.
type life struct {
	ctx    context.Context // nil: it has ended, or not begun
	end    context.CancelFunc
	began  time.Time // zero: this is no life yet
	loaded bool
	shown  glance // as last told of
	heard  heard
	look   bool // something may show in a transition
	past   past
	calm   bool // the core is content with one tick a round

	lead    failover.Lead
	work    context.Context // while leading: what outward errands run under
	dismiss context.CancelCauseFunc
	yielded string // why it stopped leading by itself; empty: it did not
	yieldAt uint64 // the term that it yielded under

	open      map[uint64]open
	commit    uint64 // id of the commit in hand; 0 is none
	held      []failover.Action
	agreed    []failover.Reply // to be given when the commit is durable
	recording *failover.Record // of the commit in hand
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
	due      time.Time // when the next turn should come
	tilts    uint64    // of the watch, as far as the core has been told
}

func newOwner(c *Controller, p *failover.Policy) *owner {
	o := &owner{c: c, name: p.Instance, policy: p}
	o.inbox.fit(len(p.Vantages))
	o.inbox.wake = func() { c.crew.wake(o) }
	now := c.now()
	o.snap.Store(&Snapshot{Instance: p.Instance, State: c.cfg.Core.New(now), Policy: p, At: now})
	return o
}

// work is what a hand does when the instance is ready. It returns when the
// next turn should come, or zero when there will be none.
func (o *owner) work() time.Time {
	return o.act(func() {
		switch {
		case o.c.crew.ctx.Err() != nil:
		case o.life.ctx != nil:
			o.turn()
		case !o.c.now().Before(o.rest.until):
			o.begin(o.c.crew.ctx)
		}
	})
}

// act does f as the only one who touches the instance, and returns when it
// wants its next turn. A panic in the core costs this instance its memory and
// nobody else anything: it begins again from the ledger, which is what a crash
// of the process would come to.
func (o *owner) act(f func()) (due time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.ended:
		return time.Time{}
	case o.parked: // no end of it: whoever parked it wakes it, or ends it
		return o.c.now().Add(time.Second)
	}
	defer func() {
		if r := recover(); r != nil {
			o.fall(fmt.Errorf("panic: %v", r), debug.Stack())
		}
		due = o.life.due
		if o.life.ctx == nil {
			due = o.rest.until
		}
		if due.IsZero() {
			due = o.c.now()
		}
	}()
	f()
	return due
}

// fall ends a life after a panic. Faults that follow each other pause longer
// each time.
func (o *owner) fall(fault error, stack []byte) {
	now := o.c.now()
	pause := o.rest.pause
	if pause == 0 || now.Sub(o.life.began) > longestFault {
		pause = shortestFault
	}
	o.rest = rest{until: now.Add(pause), pause: min(2*pause, longestFault)}
	o.draft = nil
	if o.life.ctx != nil {
		o.life.end()
		o.life.ctx = nil
	}
	o.c.count.faults.Add(1)
	o.panicked("decide", stack)
	o.replies.failAll(errRestarted)
	o.tell(slog.LevelError, Transition{Kind: KindFault, To: "starting again from the ledger", Reason: fault.Error()})
	o.page(failover.Page{Kind: "fault", Text: fmt.Sprintf("a fault of this program stopped the decisions for %s; it starts again from the ledger in %s: %v", o.name, pause, fault)})
}

// begin is the birth of a life: it feeds the lead and asks for the record.
func (o *owner) begin(ctx context.Context) {
	now := o.c.now()
	tilts, _ := o.c.watch.look()
	lead := *o.c.lead.Load()
	if !o.life.began.IsZero() {
		lead = o.life.lead
	}
	ctx, end := context.WithCancel(ctx)
	past := o.recall(now)
	o.life = life{
		past: past,
		ctx:  ctx, end: end, began: now, look: true,
		lastTick: now, due: now, tilts: tilts,
		yielded: o.life.yielded, yieldAt: o.life.yieldAt, serials: o.life.serials,
	}
	o.draft = &Snapshot{State: o.c.cfg.Core.New(now)}
	o.setLead(lead)
	o.load()
}

// turn takes everything that waits, then ticks if it is time, then publishes.
func (o *owner) turn() {
	l := &o.life
	items, quiet := o.inbox.take()
	if len(quiet) > 0 {
		o.feed(failover.Reports(quiet))
	}
	for _, it := range items {
		switch {
		case it.answer != nil:
			o.settle(*it.answer)
		default:
			if lead, ok := it.event.(failover.Lead); ok {
				o.setLead(lead)
				continue
			}
			o.feed(it.event)
		}
	}
	now := o.c.now()
	o.giveUp(now)
	o.attend(now)
	switch {
	case !l.loaded:
	case len(quiet) > 0 && l.calm:
		l.lastTick = now // whatever is fed lets the core see that time has passed
	case !now.Before(l.tickDue):
		l.lastTick = now
		o.feed(failover.Tick{})
	}
	o.schedule()
	o.publish()
	if o.inbox.holds(func(r failover.Report) bool { return !o.quiet(r) }) {
		l.due = now // it was held back when things were calmer
	}
}

// giveUp answers the errands that are overdue.
func (o *owner) giveUp(now time.Time) {
	l := &o.life
	if len(l.open) == 0 {
		l.open = nil // an empty map of these is a kilobyte
		return
	}
	for _, id := range slices.Sorted(maps.Keys(l.open)) {
		if e, ok := l.open[id]; ok && !e.due.IsZero() && !now.Before(e.due) {
			a := e.lost(fmt.Errorf("no answer within %s", e.limit))
			a.id = id
			o.settle(a)
		}
	}
}

// feed gives one event to the core, and the news of a tilt before it.
func (o *owner) feed(e failover.Event) {
	if stall := o.tilt(); stall > 0 {
		o.tell(slog.LevelWarn, Transition{Kind: KindTilt, Reason: fmt.Sprintf("the process stalled or the clock jumped by %s", stall.Round(time.Millisecond))})
		o.step(failover.Tilted{Stall: stall})
	}
	o.step(e)
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

func (o *owner) step(e failover.Event) {
	o.dispatch(o.decide(e))
}

// decide asks the core, and notes whether the answer may show in a transition.
func (o *owner) decide(e failover.Event) []failover.Action {
	l := &o.life
	if o.draft == nil {
		s := *o.snap.Load()
		o.draft = &s
	}
	var actions []failover.Action
	before, now := o.draft.State, o.c.now()
	was := before.Counted()
	o.draft.State, actions = o.c.cfg.Core.Step(o.draft.State, o.policy, e, now)
	o.keep(&before, e, now)
	if l.heard.news(e, l.calm) || len(actions) > 0 || o.draft.State.Counted() != was {
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
	next := o.c.cfg.Core.NextWake(o.state(), o.policy, now)
	calm := l.loaded && !next.Before(now.Add(round)) // zero is no word on it
	l.look = l.look || calm != l.calm
	l.calm = calm
	if !next.IsZero() && next.Before(l.tickDue) {
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

// state is the newest; it must not be changed.
func (o *owner) state() *failover.State {
	if o.draft != nil {
		return &o.draft.State
	}
	return &o.snap.Load().State
}

// publish makes a snapshot for readers, who derive a view when they want one,
// and tells what changed.
func (o *owner) publish() {
	l := &o.life
	now := o.c.now()
	s := o.draft
	o.draft = nil
	if s == nil { // nothing was fed
		was := *o.snap.Load()
		s = &was
	}
	s.Instance, s.Policy, s.At, s.Serials = o.name, o.policy, now, l.serials
	s.Writing, s.Lapse, s.Again = l.writing, orYielded(l.lapsed.why, l.yielded), l.lapsed.again
	o.snap.Store(s)
	if !l.look {
		return
	}
	l.look = false
	sketch := o.c.cfg.Core.Sketch(&s.State, o.policy, now)
	if len(transitions(&l.shown, &sketch)) > 0 {
		view := o.c.cfg.Core.Look(&s.State, o.policy, now) // with the words
		view.Instance, view.At = o.name, now
		ts := transitions(&l.shown, &view)
		o.c.count.subscribersDropped.Add(o.c.subs.publish(ts))
		for _, t := range ts {
			o.c.logs.post(logNote{slog.LevelInfo, string(t.Kind), t.attrs()})
		}
	}
	l.shown = glanceAt(&sketch)
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
	if p.Kind == "move" || p.Kind == "write-path" {
		p.Text += o.byHand()
	}
	o.c.logs.post(logNote{slog.LevelWarn, "page", []slog.Attr{
		slog.String("instance", string(o.name)), slog.String("kind", p.Kind), slog.String("reason", p.Text),
	}})
	o.c.pages.post(pageNote{o.name, p})
}
