package replication

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"pointsman/internal/failover"
)

// gauge is the last word of a meter, where somebody else carries the rows of one
// way.
type gauge struct {
	way  way
	mu   sync.Mutex
	last ExposureNow
	told chan struct{} // closed and made anew with every word
}

func newGauge(w way) *gauge {
	return &gauge{way: w, told: make(chan struct{}), last: ExposureNow{Why: "nothing was heard of it yet"}}
}

func (g *gauge) tell(e ExposureNow) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = e
	close(g.told)
	g.told = make(chan struct{})
}

// word is the last one, and what is closed by the next.
func (g *gauge) word() (ExposureNow, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last, g.told
}

// bound is the exposure that the last word makes.
func (g *gauge) bound() bound {
	e, _ := g.word()
	return bound{known: e.Known && e.Gap == "", upto: e.At.Add(-e.Lag), why: e.Why, gap: e.Gap, rows: e.Rows, about: max(e.About, e.Rows)}
}

// standby is what the last word says of the standby; nothing before the first.
func (g *gauge) standby() failover.StandbyChanged {
	switch e, _ := g.word(); {
	case e.At.IsZero():
		return failover.StandbyChanged{}
	case e.Known:
		return failover.StandbyChanged{Cluster: g.way.To, State: failover.StandbySynced}
	default:
		return failover.StandbyChanged{Cluster: g.way.To, State: failover.StandbyUnprotected, Why: reasons([]string{e.Why})}
	}
}

// newMeter is what reads the exposure of one way, where the rows are somebody
// else's business.
func (r *Replicator) newMeter(w way) (*pollMeter, error) {
	if r.cfg.Mode == ModeExternal {
		return newExternalMeter(r.cfg.External, r.cfg.Instance, w.From, w.To)
	}
	g := globalConfig{Name: r.cfg.GlobalTable, Standby: r.clients[w.To].source.Instance(), Region: r.cfg.Clusters[w.To].Region}
	for _, c := range r.clients {
		g.Ask = append(g.Ask, c.source)
	}
	return newGlobalMeter(g), nil
}

// AskOnce asks once how far the standby is behind, where somebody else carries
// the rows from one cluster to the other.
func AskOnce(ctx context.Context, c Config, from, to failover.ClusterName) (ExposureNow, error) {
	r, err := New(c)
	if err != nil {
		return ExposureNow{}, err
	}
	defer r.close()
	if r.cfg.Mode == ModeStream {
		return ExposureNow{}, errors.New("the rows are carried by this program")
	}
	m, err := r.newMeter(way{From: from, To: to})
	if err != nil {
		return ExposureNow{}, err
	}
	return m.once(ctx)
}

// measure reads the exposure of one way until the course is another one.
func (r *Replicator) measure(ctx context.Context, w way) error {
	m, err := r.newMeter(w)
	if err != nil {
		return err
	}
	g := newGauge(w)
	r.mu.Lock()
	r.gauge = g
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.gauge = nil
		r.mu.Unlock()
	}()
	err = m.Run(ctx, g.tell)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// awaitGauge is the drain where somebody else carries the rows: it waits until
// the meter has said, twice, that nothing of before the close is missing at the
// new side.
func (r *Replicator) awaitGauge(ctx context.Context, d failover.Drain) (failover.Drained, error) {
	out := failover.Drained{Op: d.Op, Bound: -1}
	var first time.Time
	for {
		_, told := r.look()
		r.mu.Lock()
		g := r.gauge
		r.mu.Unlock()
		next := told
		if g != nil && g.way.From == d.From && g.way.To == d.To {
			e, heard := g.word()
			next = heard
			if e.Known && e.Gap == "" {
				out.Begins, out.Rows, out.Bound = e.At.Add(-e.Lag), e.Rows, max(d.Until.Sub(e.At.Add(-e.Lag)), 0)
				switch {
				case out.Bound > 0 || e.Rows > 0:
					first = time.Time{}
				case first.IsZero():
					first = e.At
				case e.At.After(first):
					out.Empty = true
					return out, nil
				}
			} else {
				first, out.Bound, out.Gap = time.Time{}, -1, e.Gap
			}
		}
		select {
		case <-next:
		case <-told:
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errDrainOver) {
				return out, nil
			}
			return out, fmt.Errorf("drain %s: %w", d.From, context.Cause(ctx))
		}
	}
}
