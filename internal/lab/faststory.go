package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What the controller counts of its own held connections and of the probes
// that those have started.
const (
	metricHeld   = "pointsman_held_connections"
	metricLost   = "pointsman_held_lost_total"
	metricNudges = "pointsman_nudges_total"
)

// playFastEvidence makes the same stall twice: first with nothing held open,
// as a story of its own inside this one, and then with a request on a held
// connection every 100 ms. It shows which evidence made the vantages probe,
// and the times of both. What must hold is what was counted, never a time.
func playFastEvidence(ctx context.Context, st *stage) error {
	usual := st.lab.World.Tune.Watch
	if err := st.unwatched(ctx); err != nil {
		return err
	}
	if err := st.lab.Rewatch(ctx, "request"); err != nil {
		return err
	}
	if err := st.prepare(ctx); err != nil {
		return err
	}
	before, err := st.holding(ctx)
	if err != nil {
		return err
	}
	if _, err := st.rec.Take(ctx); err != nil { // the first half has been judged
		return err
	}
	if err := st.moves(ctx, func() error { return st.lab.Stall(st.from) }); err != nil {
		return err
	}
	after, err := st.lab.counters(ctx)
	if err != nil {
		return err
	}
	silent := after.grown(before, metricLost)[`{reason="silent"}`]
	nudges := after.grown(before, metricNudges)
	if silent == 0 || nudges.sum() == 0 {
		st.broken("no request on a held connection of the controller's own vantage went unanswered and started probes: %s", words(metricNudges, nudges))
	}
	st.note("%s at the controller's own vantage: %s", metricLost, words("", after.grown(before, metricLost)))
	st.note("%s there: %s", metricNudges, words("", nudges))
	if err := st.quote(ctx); err != nil {
		return err
	}
	return st.lab.Rewatch(ctx, usual)
}

// unwatched tells the stall with nothing held open, and keeps its time.
func (st *stage) unwatched(ctx context.Context) error {
	if err := st.lab.Rewatch(ctx, "off"); err != nil {
		return err
	}
	alone := &stage{lab: st.lab, rec: st.rec, instance: st.instance, name: st.name}
	before := counters{}
	res, err := tell(ctx, alone, Story{Name: "stall", Moves: true, play: func(ctx context.Context, st *stage) (err error) {
		if before, err = st.lab.counters(ctx); err != nil {
			return err
		}
		return st.moves(ctx, func() error { return st.lab.Stall(st.from) })
	}})
	if err != nil {
		return err
	}
	after, err := st.lab.counters(ctx)
	if err != nil {
		return err
	}
	if n := after.grown(before, metricNudges); n.sum() > 0 || after[metricHeld] > 0 {
		st.broken("with watch: off %.0f connections are held, and they have started probes: %s", after[metricHeld], words("", n))
	}
	for _, why := range res.Why {
		st.broken("with watch: off: %s", why)
	}
	st.unwatchedMS = res.AnsweredMS
	return nil
}

// holding waits until the controller's own vantage holds a connection to each
// cluster. The other vantages have been told before it.
func (st *stage) holding(ctx context.Context) (counters, error) {
	bctx, cancel := context.WithTimeoutCause(ctx, Bound, ErrNotReady)
	defer cancel()
	want := float64(len(st.lab.World.Clusters) * len(st.lab.World.Instances))
	for {
		c, err := st.lab.counters(bctx)
		if err == nil && c[metricHeld] >= want {
			return c, nil
		}
		if err == nil {
			err = fmt.Errorf("%.0f of %.0f connections are held", c[metricHeld], want)
		}
		if why := pause(bctx, poll); errors.Is(why, ErrNotReady) {
			return nil, fmt.Errorf("%w: %w", why, err)
		} else if why != nil {
			return nil, why
		}
	}
}

// quote keeps what the operation itself says of the votes that led to it.
func (st *stage) quote(ctx context.Context) error {
	v, err := st.lab.Tool.View(ctx, st.instance)
	if err != nil || v.LastOp == nil {
		return err
	}
	for _, line := range v.LastOp.Op.Evidence {
		if strings.Contains(line, " says down of "+st.from+":") {
			st.note("%s", line)
		}
	}
	return nil
}

// note keeps a line of evidence for the report.
func (st *stage) note(format string, args ...any) {
	st.evidence = append(st.evidence, fmt.Sprintf(format, args...))
}

// words lists counters in a steady order.
func words(name string, c counters) string {
	if len(c) == 0 {
		return strings.TrimSpace(name + " +0")
	}
	var out []string
	for _, labels := range slices.Sorted(maps.Keys(c)) {
		out = append(out, fmt.Sprintf("%s%s +%.0f", name, labels, c[labels]))
	}
	return strings.Join(out, ", ")
}
