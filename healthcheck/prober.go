package healthcheck

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
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
	Workers  int            // probes at a time, 0 is one per target up to 256; controls and overlapping re-checks come on top
	Keep     Keep           // history per cluster
	Allow    []netip.Prefix // see ProbeConfig

	// OnReport takes each report: after every probe of an instance, so at
	// least once a round, and when the vantage turns sick or well. It is
	// called from one goroutine and must return at once.
	OnReport func(InstanceReport)

	// NewProbe makes the probe of a target; nil is the package's own NewProbe.
	NewProbe func(Target) (Probe, error)
}

const (
	maxWorkers = 256
	// maxOverlap is how many probes of all bursts together may overlap others
	// of their targets. They do not take workers.
	maxOverlap = 64
)

// Validate returns every fault; paths are targets[i].… and the like.
func (c Config) Validate() []Fault {
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
	seen := map[string]bool{}
	for i, t := range c.Targets {
		at := fmt.Sprintf("targets[%d]", i)
		f = append(f, Under(at, t.Validate())...)
		id := fmt.Sprintf("%q %q", t.Instance, t.Cluster)
		if seen[id] {
			f.add(at+".cluster", "", "%s of %s is there twice", t.Cluster, t.Instance)
		}
		seen[id] = true
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
	config    Config
	instances []*instance
	controls  controls
	queue     queue
	ready     []flight // due, waiting for a worker
	jobs      chan flight
	extra     int // overlapping probes in flight
	results   chan outcome
	nudges    chan nudge // of the watches
	allNudges bucket
	stalledAt time.Time // when the loop itself was last held up
	stalledBy time.Duration

	mu     sync.Mutex // guards what people read: histories, latest reports, stats
	byName map[failover.InstanceName]*instance
	stats  Stats
}

// Stats counts since the start.
type Stats struct {
	Successes, Misses, OwnFaults uint64 // finished probes, controls included
	Late                         uint64 // of the faults of our own, those for lateness
	Stalls                       uint64 // times that the scheduler itself was held up
	Waiting                      int    // targets that are due and wait for a worker
	Nudges                       map[NudgeEnd]uint64
}

// NewProber checks the config and builds every probe. The error lists every
// fault of the config.
func NewProber(c Config) (*Prober, error) {
	if f := c.Validate(); len(f) > 0 {
		return nil, joinFaults(f)
	}
	c.Keep = c.Keep.withDefaults()
	c.Workers = cmp.Or(c.Workers, maxWorkers)
	c.Workers = min(c.Workers, len(c.Targets))
	if c.NewProbe == nil {
		pc := ProbeConfig{Vantage: c.Vantage, Allow: c.Allow}
		c.NewProbe = func(t Target) (Probe, error) { return NewProbe(t, pc) }
	}
	if c.OnReport == nil {
		c.OnReport = func(InstanceReport) {}
	}
	p := &Prober{
		config: c, byName: map[failover.InstanceName]*instance{},
		jobs: make(chan flight), results: make(chan outcome), nudges: make(chan nudge),
	}
	busiest := slices.MinFunc(c.Targets, func(a, b Target) int { return cmp.Compare(a.Round, b.Round) })
	for i, t := range c.Targets {
		w, err := p.watch(t)
		if err != nil {
			return nil, fmt.Errorf("targets[%d] (%s of %s): %w", i, t.Cluster, t.Instance, err)
		}
		p.group(w)
	}
	for i, ctl := range c.Controls {
		w, err := p.watch(ctl.target(busiest))
		if err != nil {
			return nil, fmt.Errorf("controls[%d]: %w", i, err)
		}
		p.controls.watches = append(p.controls.watches, w)
	}
	for _, in := range p.instances {
		in.finish()
	}
	return p, nil
}

func (p *Prober) watch(t Target) (*watch, error) {
	probe, err := p.config.NewProbe(t)
	if err != nil {
		return nil, err
	}
	return &watch{target: t, probe: probe, history: newHistory(p.config.Keep), place: -1}, nil
}

func (p *Prober) group(w *watch) {
	in := p.byName[w.target.Instance]
	if in == nil {
		in = &instance{name: w.target.Instance}
		p.byName[in.name] = in
		p.instances = append(p.instances, in)
	}
	w.instance = in
	in.watches = append(in.watches, w)
}

func (in *instance) finish() {
	slices.SortFunc(in.watches, func(a, b *watch) int { return cmp.Compare(a.target.Cluster, b.target.Cluster) })
	targets := make([]Target, len(in.watches))
	for i, w := range in.watches {
		targets[i] = w.target
		in.round = max(in.round, w.target.Round)
	}
	in.generation = Generation(targets)
}

// Run probes until the context ends, and returns nil after every goroutine
// that it started has ended.
func (p *Prober) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for range p.config.Workers {
		g.Go(func() error { return p.work(ctx) })
	}
	g.Go(func() error { return p.schedule(ctx, g) })
	return g.Wait()
}

// schedule owns every watch: it hands out what is due and counts what comes
// back.
func (p *Prober) schedule(ctx context.Context, g *errgroup.Group) error {
	p.spread(time.Now())
	timer := time.NewTimer(0)
	defer timer.Stop()
	last := look(time.Now())
	for {
		now := time.Now()
		if gap := slept(last, look(now)); gap > 0 {
			p.stalled(now, gap)
		}
		last = look(now)
		for w := p.queue.take(now); w != nil; w = p.queue.take(now) {
			p.dispatch(ctx, g, w, now)
		}
		var jobs chan<- flight
		var head flight
		if len(p.ready) > 0 {
			jobs, head = p.jobs, p.ready[0]
		}
		timer.Stop()
		if len(p.queue) > 0 {
			timer.Reset(p.queue[0].due.Sub(now))
		}
		select {
		case <-ctx.Done():
			return nil
		case jobs <- head:
			p.ready[0] = flight{}
			p.ready = p.ready[1:]
		case o := <-p.results:
			p.observe(o)
		case n := <-p.nudges:
			p.nudged(n, time.Now())
		case <-timer.C:
		}
	}
}

// spread gives every target its place in the first round. Controls come
// first, since no vote counts without them.
func (p *Prober) spread(now time.Time) {
	for _, w := range p.controls.watches {
		w.grid = now
		p.queue.put(w, now)
	}
	for _, in := range p.instances {
		for _, w := range in.watches {
			w.grid = now.Add(phase(p.config.Vantage, w.target))
			p.queue.put(w, w.grid)
		}
	}
}

// stallBound is how late the scheduler's own loop may be before the whole
// vantage abstains for a round: then this process was stopped or starved.
const stallBound = 500 * time.Millisecond

func (p *Prober) dispatch(ctx context.Context, g *errgroup.Group, w *watch, now time.Time) {
	if lag := now.Sub(w.due); lag > stallBound {
		p.stalled(now, lag)
	}
	f := flight{watch: w, due: w.due, overlaps: w.flying > 0}
	if f.overlaps {
		if _, ok := w.overlap(now); !ok || p.extra >= maxOverlap {
			return // no longer wanted, or enough for now; the end of a probe plans the next
		}
		p.extra++
	}
	w.flying++
	w.asked = now
	if due, ok := w.overlap(now); ok {
		p.queue.put(w, due)
	}
	if w.instance != nil && !f.overlaps {
		p.ready = append(p.ready, f)
		return
	}
	// Controls never wait for a worker: there are few, one in flight each. Nor
	// do overlapping probes take one from a target that has its turn.
	g.Go(func() error {
		p.run(ctx, f)
		return nil
	})
}

func (p *Prober) stalled(now time.Time, lag time.Duration) {
	if !now.Equal(p.stalledAt) {
		p.count(func(s *Stats) { s.Stalls++ })
		p.stalledBy = 0
	}
	p.stalledAt, p.stalledBy = now, max(lag, p.stalledBy)
}

// work is one worker of the pool.
func (p *Prober) work(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case f := <-p.jobs:
			p.run(ctx, f)
		}
	}
}

func (p *Prober) run(ctx context.Context, f flight) {
	select {
	case <-ctx.Done():
	case p.results <- p.execute(ctx, f):
	}
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
	s.Nudges = maps.Clone(s.Nudges)
	return s
}

// History returns what is kept of one cluster, newest first; controls are
// under the instance "controls", by their address.
func (p *Prober) History(i failover.InstanceName, c failover.ClusterName) []Observation {
	watches := p.controls.watches
	if in := p.byName[i]; in != nil {
		watches = in.watches
	} else if i != controlInstance {
		return nil
	}
	for _, w := range watches {
		if w.target.Cluster == c {
			p.mu.Lock()
			defer p.mu.Unlock()
			return w.history.list()
		}
	}
	return nil
}

// Latest returns the newest report of an instance, with its ages as of now;
// ok is false before the first.
func (p *Prober) Latest(i failover.InstanceName) (r InstanceReport, ok bool) {
	in := p.byName[i]
	if in == nil {
		return r, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if in.latest.made.IsZero() {
		return r, false
	}
	return in.latest.Aged(time.Now()), true
}
