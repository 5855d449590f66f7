package healthcheck

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// maxOverlap is how many probes of all bursts together may overlap others
	// of their targets and need a goroutine each, maxDirectOverlap how many of
	// those that do not. They take no room from targets that have their turn.
	maxOverlap       = 64
	maxDirectOverlap = 2048
	// volley is how many probes are started before answers are looked at.
	volley = 64
	// lates is how many probes are ended as late before answers are looked at.
	lates = 256
	// briskRate is how many direct probes a second are many, see lane.
	briskRate = 1000
)

// pad is where probes start from: those that need a goroutine, at most Workers
// at a time, the direct ones, and those that run commands, which wait for a
// place before their time begins.
type pad struct {
	ready, direct, commands lineup

	busy        int // probes under way that count against Workers
	running     int // commands of the probes under way
	places      int // for commands, see commandPlaces
	extra       int // overlapping probes in flight
	directExtra int // those of them that are direct
	lane        *lane
	laneLimit   int  // of probes under way on it; 0 is its own
	noLane      bool // it could not be had: direct probes take a goroutine, too
	brisk       bool // direct probes come thick and fast

	lost *atomic.Int64 // how long the scheduler was not looking, in all; nanoseconds
}

func newPad() pad {
	return pad{ready: newLineup(), direct: newLineup(), commands: newLineup(), lost: new(atomic.Int64)}
}

// room says whether one more probe may overlap others of its target.
func (a *pad) room(f flight) bool {
	switch {
	case f.direct != nil:
		return a.directExtra < maxDirectOverlap
	case f.commands > 0 && (a.commands.n > 0 || !a.fits(f)):
		return false // who has his turn goes first
	}
	return a.extra < maxOverlap
}

// overlapping counts a probe that overlaps others, or the end of one.
func (a *pad) overlapping(f flight, n int) {
	if f.direct != nil {
		a.directExtra += n
	} else {
		a.extra += n
	}
}

// landed gives back the room that a probe took.
func (a *pad) landed(f flight) {
	if f.overlaps {
		a.overlapping(f, -1)
	}
	a.running -= f.commands
	if f.counts() {
		a.busy--
	}
}

// counts says whether a probe counts against Workers.
func (f flight) counts() bool { return f.waits && f.direct == nil && f.commands == 0 }

// line is where a flight waits.
func (a *pad) line(f flight) *lineup {
	switch {
	case f.direct != nil:
		return &a.direct
	case f.commands > 0:
		return &a.commands
	}
	return &a.ready
}

// start launches what waits as far as there is room, and ends what has waited
// too long. It returns when it wants to be asked again; zero for never.
func (p *Prober) start(ctx context.Context, g *errgroup.Group, now time.Time) time.Time {
	for _, l := range []*lineup{&p.pad.ready, &p.pad.direct, &p.pad.commands} {
		for range lates {
			f, ok := l.late(now)
			if !ok {
				break
			}
			p.miss(f, l.n)
		}
	}
	for p.pad.ready.n > 0 && p.pad.busy < p.now.config.Workers {
		f, _ := p.pad.ready.next()
		p.pad.busy++
		p.launch(ctx, g, f)
	}
	for f, ok := p.pad.commands.peek(); ok && p.pad.fits(f); f, ok = p.pad.commands.peek() {
		f, _ = p.pad.commands.next()
		p.launch(ctx, g, f)
	}
	for range volley {
		if p.pad.direct.n == 0 || p.pad.lane != nil && p.pad.lane.full() {
			break
		}
		f, _ := p.pad.direct.next()
		p.launch(ctx, g, f)
	}
	if p.pad.direct.n > 0 && (p.pad.lane == nil || !p.pad.lane.full()) {
		return now
	}
	return sooner(p.pad.commands.due(), sooner(p.pad.ready.due(), p.pad.direct.due()))
}

// miss ends a flight that came too late to start: so many more wait.
func (p *Prober) miss(f flight, more int) {
	if f.watch.lateAgain() {
		p.missAgain(f, more)
		return
	}
	o := outcome{flight: f}
	p.pad.running += f.commands // as if it had been launched
	if f.counts() {
		p.pad.busy++
	}
	o.number, o.sent = f.watch.start()
	o.behind()
	o.err = Own(fmt.Errorf("%w, %d others wait for their turn", o.err, more))
	p.observe(o)
}

// tellLate is how often a target that is late turn after turn is told to be so.
const tellLate = 4

// lateAgain says that a target is late once more and that there is nothing to
// tell of it.
func (w *watch) lateAgain() bool {
	if w.lates++; !w.own || w.gone || w.flying != 1 || len(w.early) > 0 || w.nudge != nil {
		return false
	}
	return w.lates%tellLate != 1
}

// missAgain counts a probe of which nothing is told: where most are late, telling
// of each would take the time of those that could be made.
func (p *Prober) missAgain(f flight, more int) {
	w := f.watch
	w.flying--
	p.count(func(s *Stats) {
		s.OwnFaults++
		s.Late++
		s.Waiting = more
	})
	p.queue.put(w, w.plan(time.Now()))
}

// launch starts one probe.
func (p *Prober) launch(ctx context.Context, g *errgroup.Group, f flight) {
	f.watch.launched, f.watch.lates = time.Now(), 0
	p.pad.running += f.commands
	f.lost, f.lostBefore = p.pad.lost, p.pad.lost.Load()
	if f.direct != nil {
		if p.openLane(ctx, g) {
			p.pad.lane.start(f)
			return
		}
		f.probe = p.longWay(f.watch)
	}
	g.Go(func() error {
		select {
		case <-ctx.Done():
		case p.results <- f.execute(ctx):
		}
		return nil
	})
}

// openLane opens the lane for the first direct probe.
func (p *Prober) openLane(ctx context.Context, g *errgroup.Group) bool {
	if p.pad.lane == nil && !p.pad.noLane {
		l, err := openLane(ctx, g.Go, p.observe)
		p.pad.lane, p.pad.noLane = l, err != nil
		if err == nil {
			l.brisk, l.limit = p.pad.brisk, cmp.Or(p.pad.laneLimit, l.limit)
		}
	}
	return p.pad.lane != nil
}

// pace tells the lane how many direct probes there are to be.
func (a *pad) pace(ws []*watch) {
	rate := 0.0
	for _, w := range ws {
		if w.direct != nil {
			rate += 1 / w.target.Round.Seconds()
		}
	}
	if a.brisk = rate > briskRate; a.lane != nil {
		a.lane.brisk = a.brisk
	}
}

// longWay is the probe of a direct target that needs a goroutine.
func (p *Prober) longWay(w *watch) Probe {
	if w.long == nil {
		c := p.now.config
		probe, err := NewProbe(*w.target, ProbeConfig{Vantage: c.Vantage, Allow: c.Allow})
		if err != nil {
			err = Own(fmt.Errorf("make the probe: %w", err))
			probe = func(context.Context) error { return err }
		}
		w.long = probe
	}
	return w.long
}

const (
	// blink is how long the scheduler may look away without counting it.
	blink = 10 * time.Millisecond
	// pulse is how often it wakes at least while probes are under way, so that
	// it notices when it was stopped.
	pulse = 50 * time.Millisecond
)

// lookedAway counts time in which nobody looked at what had come.
func (a *pad) lookedAway(d time.Duration) {
	if d > blink {
		a.lost.Add(int64(d))
	}
}

// flying says that probes are under way.
func (a *pad) flying() bool {
	return a.busy > 0 || a.extra > 0 || a.running > 0 || a.lane != nil && a.lane.busy > 0
}

// sooner is the earlier of two moments, where zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
