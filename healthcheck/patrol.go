package healthcheck

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// patrol makes the cheap looks at one cluster, beside its probes and more often
// than they come. It never votes: a look that fails starts probes at once, and
// what they meet is counted. A goroutine of its own runs it.
type patrol struct {
	of    *Target // as the config has it
	allow []netip.Prefix
	front *front
	check TablestoreCheck
	nudge func(context.Context)
	count func(func(*FrontStats))
	end   context.CancelFunc

	became atomic.Pointer[NudgeEnd] // of the newest nudge; nil when that was heard
}

// FrontStats is how the cheap looks fare.
type FrontStats struct {
	Off     string // why there are none although targets want them; or empty
	Targets int    // that are looked at
	Resting int    // of them, those where it is of no use: probes said otherwise again and again
	Well    uint64 // looks since the start, by what they met
	Missed  uint64
	Own     uint64
}

// patrolRefuted is how many nudges in a row may be refuted by the probes that
// they started before the looks rest: what answers GET there is not what serves
// the clients.
const patrolRefuted = 3

// patrolled returns the target with the check whose front end is looked at; ok
// is false where none is, or where rounds come as often.
func (t *Target) patrolled() (one Target, ok bool) {
	one, ok = t.tablestore()
	every := one.Check.Tablestore.FrontEvery
	return one, ok && every > 0 && every < t.Round
}

// repatrol makes the patrols fit the present config, as rewatch does.
func (p *Prober) repatrol(ctx context.Context, g *errgroup.Group) {
	var wanted []*watch
	for _, in := range p.now.instances {
		for _, w := range in.watches {
			if _, ok := w.target.patrolled(); ok {
				wanted = append(wanted, w)
			}
		}
	}
	off := tooMany(len(wanted), cmp.Or(p.now.config.WatchTargets, DefaultWatchTargets))
	if off != "" {
		wanted = nil
	}
	stays := make(map[*watch]bool, len(wanted))
	for _, w := range wanted {
		stays[w] = w.front == nil || w.front.of == w.target && slices.Equal(w.front.allow, p.now.config.Allow)
	}
	for _, w := range p.patrolled {
		if !stays[w] {
			w.front.end()
			w.front = nil
		}
	}
	for _, w := range wanted {
		if w.front != nil {
			continue
		}
		x := p.newPatrol(w.target)
		ctx, end := context.WithCancel(ctx)
		w.front, x.end = x, end
		g.Go(func() error { x.run(ctx); return nil })
	}
	p.patrolled = wanted
	p.count(func(s *Stats) { s.Front.Targets, s.Front.Off = len(wanted), off })
}

func (p *Prober) newPatrol(t *Target) *patrol {
	c := ProbeConfig{Vantage: p.now.config.Vantage, Allow: p.now.config.Allow}
	one, _ := t.patrolled()
	one.Check = one.Check.withDefaults()
	return &patrol{
		of: t, allow: c.Allow, front: newFront(newDialer(one, c), one, c), check: one.Check.Tablestore,
		count: func(f func(*FrontStats)) { p.count(func(s *Stats) { f(&s.Front) }) },
		nudge: func(ctx context.Context) {
			select {
			case p.nudges <- nudge{t.Instance, t.Cluster, LossFront, time.Now()}:
			case <-ctx.Done():
			}
		},
	}
}

// run looks until the context ends.
func (x *patrol) run(ctx context.Context) {
	beat := time.NewTicker(x.check.FrontEvery)
	defer beat.Stop()
	refuted, rest := 0, time.Time{}
	defer func() { x.rests(!rest.IsZero(), false) }()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
		}
		now := time.Now()
		switch end := x.became.Swap(nil); {
		case end == nil:
		case *end == NudgePassed:
			refuted++
		case *end == NudgeConfirmed:
			refuted = 0
		}
		was := !rest.IsZero()
		switch {
		case refuted >= patrolRefuted:
			refuted, rest = 0, now.Add(restRounds*x.of.Round)
		case !now.Before(rest):
			rest = time.Time{}
		}
		x.rests(was, !rest.IsZero())
		if rest.IsZero() {
			x.look(ctx)
		}
	}
}

// rests counts who rests.
func (x *patrol) rests(was, is bool) {
	switch {
	case is && !was:
		x.count(func(s *FrontStats) { s.Resting++ })
	case was && !is:
		x.count(func(s *FrontStats) { s.Resting-- })
	}
}

func (x *patrol) look(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, x.check.FrontTimeout)
	defer cancel()
	err := guarded(limited, func(ctx context.Context) error { return blame(ctx, x.front.look(ctx, &Trace{})) })
	switch {
	case ctx.Err() != nil:
	case err == nil:
		x.count(func(s *FrontStats) { s.Well++ })
	case isOwn(err):
		x.count(func(s *FrontStats) { s.Own++ })
	default:
		x.count(func(s *FrontStats) { s.Missed++ })
		x.nudge(ctx)
	}
}
