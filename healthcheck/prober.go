package healthcheck

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pointsman/internal/failover"
)

// Config is what one vantage probes.
type Config struct {
	Vantage  failover.VantageName
	Targets  []Target
	Controls []Control
	Workers  int            // probes under way at a time, 0 is one per target up to 256; controls and overlapping re-checks come on top
	Keep     Keep           // history per cluster
	Allow    []netip.Prefix // see ProbeConfig

	// OnReport takes each report: after every probe of an instance, so at
	// least once a round, and when the vantage turns sick or well. Of turns that
	// come too late one after the other it hears one in four. It is
	// called from one goroutine and must return at once.
	OnReport func(InstanceReport)

	// NewProbe makes the probe of a target; nil is the package's own, which
	// probes some targets without a goroutine.
	NewProbe func(Target) (Probe, error)

	// ReadKey reads the files of access keys: see ProbeConfig.
	ReadKey func(path string) ([]byte, error)

	// WatchTargets is how many targets may have a held-open connection beside
	// their probes. With more that want one, none has. 0 is 256.
	WatchTargets int
}

const maxWorkers = 256

// Validate returns every fault; paths are targets[i].… and the like.
func (c Config) Validate() []Fault { return c.validate(nil) }

// validate passes over the targets that are known to be valid, where known is
// not nil.
func (c Config) validate(known func(*Target) bool) []Fault {
	var f faults
	if !isName(string(c.Vantage)) {
		f.add("vantage", "", "is missing or no printable name")
	}
	if len(c.Targets) == 0 {
		f.add("targets", "", "at least one is needed")
	}
	if c.Workers < 0 {
		f.add("workers", "", "%d is negative", c.Workers)
	}
	seen := make(map[place]bool, len(c.Targets))
	for i := range c.Targets {
		t := &c.Targets[i]
		at := func() string { return fmt.Sprintf("targets[%d]", i) }
		if known == nil || !known(t) {
			if bad := t.Validate(); len(bad) > 0 {
				f = append(f, Under(at(), bad)...)
			}
		}
		if seen[placeOf(t)] {
			f.add(at()+".cluster", "", "%s of %s is there twice", t.Cluster, t.Instance)
		}
		seen[placeOf(t)] = true
	}
	for i, ctl := range c.Controls {
		if _, err := ParseControl(ctl.String()); err != nil {
			f.add(fmt.Sprintf("controls[%d]", i), "", "%v", err)
		}
	}
	return f
}

// Prober runs all probes of one vantage. NewProber makes it; it runs once.
type Prober struct {
	// Of the scheduler's goroutine.
	now       *crew // what is probed
	queue     queue
	watching  []*watch // have a held-open connection beside their probes
	patrolled []*watch // have looks at the front end beside their probes
	pad       pad
	hush      []*instance // whose report waits for the other clusters
	results   chan outcome
	nudges    chan nudge // of the watches
	allNudges bucket
	began     time.Time // the grid of every target counts from here
	stalledAt time.Time // when the loop itself was last held up
	stalledBy time.Duration

	reloading sync.Mutex    // one Reload at a time, and none while Run begins
	orders    chan order    // from Reload to the scheduler
	ended     chan struct{} // closed at the end of Run; nil before its start

	mu    sync.Mutex // guards what people read: histories, latest reports, stats, shown
	shown *crew
	stats Stats
}

// Stats counts since the start.
type Stats struct {
	Successes, Misses, OwnFaults uint64        // finished probes, controls included
	Late                         uint64        // of the faults of our own, those for lateness
	Stalls                       uint64        // times that the scheduler itself was held up
	Waiting                      int           // targets that are due and wait for their turn
	Behind                       time.Duration // of its plan, when the newest probe was sent
	Nudges                       map[NudgeEnd]uint64
	Held                         HeldStats
	Front                        FrontStats
	Units                        CapacityUnits // that Tablestores say they took for our probes
}

// NewProber checks the config and builds every probe. The error lists every
// fault of the config.
func NewProber(c Config) (*Prober, error) {
	o, err := muster(c, nil)
	if err != nil {
		return nil, err
	}
	p := &Prober{now: &crew{}, pad: newPad(), results: make(chan outcome), nudges: make(chan nudge), orders: make(chan order)}
	p.obey(o)
	return p, nil
}

// Run probes until the context ends, and returns nil after every goroutine
// that it started has ended.
func (p *Prober) Run(ctx context.Context) error {
	p.reloading.Lock()
	p.ended = make(chan struct{})
	p.reloading.Unlock()
	defer close(p.ended)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.schedule(ctx, g) })
	return g.Wait()
}

// schedule owns every watch: it hands out what is due and counts what comes
// back.
func (p *Prober) schedule(ctx context.Context, g *errgroup.Group) error {
	p.began = time.Now()
	p.spread(p.now.all(), p.began)
	p.rewatch(ctx, g)
	p.repatrol(ctx, g)
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer func() {
		if p.pad.lane != nil {
			p.pad.lane.close()
		}
	}()
	last := look(time.Now())
	var wake time.Time // when the timer was to end, zero where it was not set
	for {
		now := time.Now()
		if gap := slept(last, look(now)); gap > 0 {
			p.stalled(now, gap)
		}
		last = look(now)
		if !wake.IsZero() {
			p.pad.lookedAway(now.Sub(wake))
		}
		wake = p.turnTo(ctx, g, now)
		p.pad.lookedAway(time.Since(now))
		timer.Stop()
		if !wake.IsZero() {
			wake = later(wake, time.Now())
			timer.Reset(time.Until(wake))
		}
		var woken <-chan events
		if p.pad.lane != nil {
			woken = p.pad.lane.woken
		}
		select {
		case <-ctx.Done():
			return nil
		case e := <-woken:
			p.pad.lane.handle(e, time.Now())
		case o := <-p.results:
			p.observe(o)
		case n := <-p.nudges:
			p.nudged(n, time.Now())
		case o := <-p.orders:
			p.obey(o)
			p.rewatch(ctx, g)
			p.repatrol(ctx, g)
		case <-timer.C:
		}
	}
}

// turnTo does whatever is due and returns when something will be again; zero
// for never.
func (p *Prober) turnTo(ctx context.Context, g *errgroup.Group, now time.Time) (wake time.Time) {
	if p.pad.lane != nil {
		p.pad.lane.poll(now)
		p.pad.lane.expire(now)
	}
	for w := p.queue.take(now); w != nil; w = p.queue.take(now) {
		p.dispatch(ctx, g, w, now)
	}
	wake = p.start(ctx, g, now)
	p.speak(now)
	if len(p.hush) > 0 {
		wake = sooner(wake, p.hush[0].speakAt)
	}
	if len(p.queue) > 0 {
		wake = sooner(wake, p.queue[0].due)
	}
	if p.pad.lane != nil {
		wake = sooner(wake, p.pad.lane.due())
	}
	if p.pad.flying() {
		wake = sooner(wake, now.Add(pulse))
	}
	return wake
}

// spread gives targets their place in the round: the next turn of their grid.
// Controls have theirs at once, since no vote counts without them.
func (p *Prober) spread(ws []*watch, now time.Time) {
	for _, w := range ws {
		w.grid = now
		if w.instance != nil {
			w.grid = p.turn(w, now)
		}
		p.queue.put(w, w.grid)
	}
}

// turn is the first turn of the target's grid at or after now.
func (p *Prober) turn(w *watch, now time.Time) time.Time {
	first := p.began.Add(phase(p.now.config.Vantage, *w.target))
	if late := now.Sub(first); late > 0 {
		round := w.target.Round
		first = first.Add((late + round - 1) / round * round)
	}
	return first
}

// stallBound is how late the scheduler's own loop may be before the whole
// vantage abstains for a round: then this process was stopped or starved.
const stallBound = 500 * time.Millisecond

func (p *Prober) dispatch(ctx context.Context, g *errgroup.Group, w *watch, now time.Time) {
	if lag := now.Sub(w.due); lag > stallBound {
		p.stalled(now, lag)
	}
	f := flight{
		watch: w, target: w.target, probe: w.probe, direct: w.direct, due: w.due,
		overlaps: w.flying > 0, waits: w.instance != nil && w.flying == 0,
		turn: w.flying == 0 && w.due.Equal(w.grid), commands: w.target.commands(),
	}
	if f.overlaps {
		if _, ok := w.overlap(now); !ok || !p.pad.room(f) {
			return // no longer wanted, or enough for now; the end of a probe plans the next
		}
		p.pad.overlapping(f, 1)
	}
	w.flying++
	w.asked = now
	if due, ok := w.overlap(now); ok {
		p.queue.put(w, due)
	}
	if f.waits {
		p.pad.line(f).put(f)
		return
	}
	// Controls never wait for others: there are few, one in flight each. Nor
	// do overlapping probes hold up a target that has its turn.
	p.launch(ctx, g, f)
}

func (p *Prober) stalled(now time.Time, lag time.Duration) {
	if !now.Equal(p.stalledAt) {
		p.count(func(s *Stats) { s.Stalls++ })
		p.stalledBy = 0
	}
	p.stalledAt, p.stalledBy = now, max(lag, p.stalledBy)
}

func (p *Prober) count(f func(*Stats)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.stats)
}

// Stats returns the counters.
func (p *Prober) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Nudges, s.Held.Lost = maps.Clone(s.Nudges), maps.Clone(s.Held.Lost)
	return s
}

// History returns what is kept of one cluster, newest first; controls are
// under the instance "controls", by their address.
func (p *Prober) History(i failover.InstanceName, c failover.ClusterName) []Observation {
	p.mu.Lock()
	defer p.mu.Unlock()
	watches := p.shown.controls.watches
	if in := p.shown.byName[i]; in != nil {
		watches = in.watches
	} else if i != controlInstance {
		return nil
	}
	for _, w := range watches {
		if w.target.Cluster == c {
			return w.history.list()
		}
	}
	return nil
}

// Latest returns the newest report of an instance, with its ages as of now;
// ok is false before the first.
func (p *Prober) Latest(i failover.InstanceName) (r InstanceReport, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	in := p.shown.byName[i]
	if in == nil || in.latest.made.IsZero() {
		return r, false
	}
	return in.latest.Aged(time.Now()), true
}
