package replication

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"pointsman/internal/failover"
	"pointsman/replication/ots"
)

// errAgain ends what a runner does, so that it looks anew: a person ordered
// something, or the table came or went.
var errAgain = errors.New("look again")

// errNowhere ends the runner of a table that was dropped at both clusters.
var errNowhere = errors.New("the table is at neither cluster any more")

// runner takes one table from whatever state it is in to being followed, and
// keeps it there. What goes wrong with it is told and tried again; no other
// table waits for it.
type runner struct {
	s     *session
	table string
	log   *slog.Logger

	mu       sync.Mutex
	row      saved    // what is durable of it, but for positions that the track has
	why      string   // of the phase, or of what is waited for
	hint     string   // for people
	trouble  error    // the last fault, until something works again
	blocks   []string // why it is not protected, by the preflight
	mends    string   // what helps against the first of them
	warnings []string
	gone     bool // the source does not list it
	source   ots.Table
	target   ots.Table
	track    *track
	copy     *copyMeter
	follower *follower
	stop     context.CancelCauseFunc // of what is in hand
	handed   bool                    // the applier may have something of it
	kick     chan struct{}           // look again, instead of waiting on
}

func newRunner(s *session, table string, row saved) *runner {
	row.Table = table
	r := &runner{s: s, table: table, row: row, log: s.log.With("table", table), kick: make(chan struct{}, 1)}
	if row.followed() {
		r.track = newTrack(past(row.Positions, time.Now()))
	}
	return r
}

// past forgets what was said of moments that are yet to come: our clock was set
// back since, and how long ago they were cannot be known.
func past(saved []position, now time.Time) []position {
	out := slices.Clone(saved)
	for i := range out {
		if out[i].Upto.After(now) {
			out[i].Upto, out[i].Proved = time.Time{}, time.Time{}
		}
	}
	return out
}

// resyncVerb begins the hint of a table that waits for the word of a person.
const resyncVerb = "pointsman replication resync "

func (r *runner) resyncHint() string {
	return resyncVerb + string(r.s.cfg.Instance) + " " + r.table + " --reason TEXT"
}

// orderedWhy begins the reason of a copy that a person wanted.
const orderedWhy = "it is copied anew, as "

// first is the first of some reasons, which the hint is about.
func first(why []string) string {
	if len(why) == 1 {
		return why[0]
	}
	return fmt.Sprintf("%s (and %d more)", why[0], len(why)-1)
}

// followed says whether positions of the row are where the standby is.
func (s *saved) followed() bool { return s.Phase == PhaseCatchUp || s.Phase == PhaseFollowing }

// run ends with ctx, with the claim, or with the process.
func (r *runner) run(ctx context.Context) error {
	wait := waits{least: 500 * time.Millisecond, most: 30 * time.Second}
	for {
		work, stop := context.WithCancelCause(ctx)
		r.mu.Lock()
		r.stop = stop
		r.mu.Unlock()
		began := time.Now()
		err := safely(func() error { return r.turn(work) })
		if why := context.Cause(work); why != nil && ctx.Err() == nil {
			err = why // what was interrupted knows only that
		}
		stop(nil)
		gap, isGap := errors.AsType[*GapError](err)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errDead) || errors.Is(err, ErrSuperseded):
			return err
		case errors.Is(err, errNowhere):
			r.log.Info("a table is replicated no more", "why", err)
			r.s.forget(r)
			return nil
		case err == nil || errors.Is(err, errAgain):
			wait.now = 0
			continue
		case isGap:
			if err = r.gap(ctx, gap.Why); err == nil {
				continue
			}
		}
		if time.Since(began) > wait.most {
			wait.now = 0
		}
		r.note(err)
		if err := r.idle(ctx, wait.next()); err != nil {
			return err
		}
	}
}

// note tells of a fault. It is logged when it is another one than before.
func (r *runner) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trouble == nil || err.Error() != r.trouble.Error() {
		r.trouble = err
		r.log.Warn("a table has trouble", append([]any{"error", err}, Trace(err)...)...)
	}
}

// idle waits until it is time to look again, or somebody says so.
func (r *runner) idle(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.kick:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// again has the runner look anew at once.
func (r *runner) again() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
	r.interrupt(errAgain)
}

// interrupt ends what is in hand.
func (r *runner) interrupt(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop != nil {
		r.stop(why)
	}
}

// seen says whether the source lists the table.
func (r *runner) seen(there bool) {
	r.mu.Lock()
	changed := r.gone == there
	r.gone = !there
	r.mu.Unlock()
	if changed {
		r.log.Info("a table came or went", "there", there)
		r.again()
	}
}

// turn looks at the table and does what is next for it.
func (r *runner) turn(ctx context.Context) error {
	if err := r.s.unpaused(ctx); err != nil {
		return err
	}
	if err := r.look(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	row, blocks, source, target, gone := r.row, r.blocks, r.source, r.target, r.gone
	r.mu.Unlock()
	ordered := row.Order != nil && row.Order.Resync
	switch {
	case gone && target.Name == "":
		return errNowhere
	case source.Name == "" && target.Name == "":
		return r.wait(ctx, "it is at neither cluster", "is its name right?")
	case gone || source.Name == "":
		return r.wait(ctx, "it is not at "+string(r.s.way.From)+" any more", "drop it at "+string(r.s.way.To)+" too, or take it out of the list of tables")
	case row.followed() && target.Name == "":
		return &GapError{r.table, "the table is not at " + string(r.s.way.To) + " any more"}
	case row.followed() && (!ordered || len(blocks) > 0):
		return r.follow(ctx)
	case len(blocks) > 0:
		return r.refuse(ctx, first(blocks))
	case ordered:
		why := row.Why
		if row.followed() || row.Phase == PhaseGap {
			why = fmt.Sprintf(orderedWhy+"%s ordered: %s", row.Order.By, row.Order.Reason)
		}
		return r.takeover(ctx, why)
	case row.Phase == PhaseCopying:
		return r.copyOn(ctx)
	case row.Phase == PhaseCut:
		return r.afterCut(ctx, row)
	case row.Phase == PhaseGap:
		return r.mend(ctx, row.Why)
	default:
		return r.first(ctx)
	}
}

// look reads the settings of both tables and judges them.
func (r *runner) look(ctx context.Context) error {
	source, err := describe(ctx, r.s.source, r.table)
	if err != nil {
		return fmt.Errorf("describe it at %s: %w", r.s.way.From, err)
	}
	target, err := describe(ctx, r.s.target, r.table)
	if err != nil {
		return fmt.Errorf("describe it at %s: %w", r.s.way.To, err)
	}
	blocks, warnings, mends := parity(ctx, source, target)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trouble = nil
	if !slices.Equal(blocks, r.blocks) && len(blocks) > 0 {
		r.log.Warn("a table is not protected", "why", several(slices.Clone(blocks)))
	}
	r.source, r.target, r.blocks, r.warnings = source, target, blocks, warnings
	r.mends = HintFor(r.s.cfg.Instance, mends)
	return nil
}

// describe returns a table without a name where there is none.
func describe(ctx context.Context, c *ots.Client, table string) (ots.Table, error) {
	t, err := c.Describe(ctx, table)
	if err != nil && ots.ClassOf(err) == ots.ClassAbsent {
		return ots.Table{}, nil
	}
	return t, err
}

// wait shows why nothing is done and looks again later.
func (r *runner) wait(ctx context.Context, why, hint string) error {
	r.mu.Lock()
	if why != r.why {
		r.log.Warn("a table waits", "why", why)
	}
	r.why, r.hint = why, hint
	r.mu.Unlock()
	return r.idle(ctx, r.s.cfg.Look)
}

// refuse is wait for a table that cannot be replicated as it is.
func (r *runner) refuse(ctx context.Context, why string) error {
	r.mu.Lock()
	hint := r.mends
	r.mu.Unlock()
	return r.wait(ctx, why, hint)
}

// first begins the first copy, unless it would delete rows that nobody has
// spoken of.
func (r *runner) first(ctx context.Context) error {
	empty, err := r.empty(ctx, r.s.target)
	if err != nil {
		return fmt.Errorf("look whether it is empty at %s: %w", r.s.way.To, err)
	}
	if !empty {
		return r.wait(ctx, fmt.Sprintf("it has rows at %s already, and a copy would delete those that %s does not have", r.s.way.To, r.s.way.From),
			r.resyncHint())
	}
	return r.takeover(ctx, "")
}

// empty says whether a table has no row.
func (r *runner) empty(ctx context.Context, c *ots.Client) (bool, error) {
	p, err := c.Range(ctx, ots.RangeQuery{Table: r.table, Limit: 1, MaxVersions: 1})
	return len(p.Rows) == 0 && p.Next == nil, err
}

// gap notes that the stream does not go on where it was.
func (r *runner) gap(ctx context.Context, why string) error {
	r.log.Warn("a stream has a gap", "why", why)
	return r.enter(ctx, saved{Phase: PhaseGap, Why: why})
}

// mend answers a gap as the policy says.
func (r *runner) mend(ctx context.Context, why string) error {
	if r.s.cfg.Resync == ResyncAsk {
		return r.wait(ctx, why, r.resyncHint())
	}
	// Somebody may have dropped the table by mistake and made it again: then
	// the standby has the last copy of its rows.
	none, err := r.empty(ctx, r.s.source)
	if err != nil {
		return fmt.Errorf("look whether it is empty at %s: %w", r.s.way.From, err)
	}
	if none {
		if none, err = r.empty(ctx, r.s.target); err != nil {
			return fmt.Errorf("look whether it is empty at %s: %w", r.s.way.To, err)
		}
		if !none {
			return r.wait(ctx, why+"; it is empty at "+string(r.s.way.From)+", and a copy would delete all of its rows at "+string(r.s.way.To),
				r.resyncHint())
		}
	}
	return r.takeover(ctx, why)
}

// afterCut goes on where an operation ended the table, if that operation was the
// last and led to nothing. Otherwise the standby was active in between.
func (r *runner) afterCut(ctx context.Context, row saved) error {
	if epochOf(row.Op) == r.s.r.epoch() && len(row.Positions) > 0 {
		r.mu.Lock()
		r.track = newTrack(past(row.Positions, time.Now()))
		r.mu.Unlock()
		return r.enter(ctx, saved{Phase: PhaseFollowing, Positions: row.Positions})
	}
	if row.Op == "" {
		return r.gap(ctx, "the standby was active since its rows were followed")
	}
	return r.gap(ctx, "it was cut by "+row.Op)
}

// enter makes a new phase durable and shows it. A copy that begins fulfils the
// order of a person that was there; another order stands.
func (r *runner) enter(ctx context.Context, row saved) error {
	row.Table, row.At = r.table, time.Now()
	var fulfilled *savedOrder
	keep := func() {
		if row.Order = r.row.Order; row.Order == fulfilled {
			row.Order = nil
		}
	}
	r.mu.Lock()
	row.Incomplete = row.Phase != PhaseFollowing && (r.row.Incomplete || !r.row.followed() && r.row.Phase != PhaseGap && r.row.Phase != PhaseCopying)
	r.mu.Unlock()
	err := r.s.save(ctx, func() saved {
		r.mu.Lock()
		defer r.mu.Unlock()
		if row.Phase == PhaseCopying {
			fulfilled = r.row.Order
		}
		keep()
		return row
	}, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		keep()
		r.log.Info("a table is in another phase", "phase", row.Phase, "before", r.row.Phase, "why", row.Why)
		r.row, r.why, r.hint, r.trouble = row, "", "", nil
	})
	if err != nil {
		return fmt.Errorf("save that it is at %q: %w", row.Phase, err)
	}
	return nil
}

// standing is the word of the table on the standby.
func (r *runner) standing() (state failover.StandbyState, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.gone:
		return failover.StandbySynced, ""
	case len(r.blocks) > 0:
		return failover.StandbyUnprotected, r.table + ": " + several(slices.Clone(r.blocks))
	case !r.row.Incomplete && (r.row.Phase == PhaseGap || r.row.Why != ""):
		return failover.StandbySynced, "" // it stays as it was; the exposure says the rest
	}
	switch r.row.Phase {
	case PhaseFollowing:
		return failover.StandbySynced, ""
	case PhaseCopying:
		return failover.StandbyRefilling, r.table + " is being copied"
	case PhaseCatchUp:
		return failover.StandbyRefilling, r.table + " catches up"
	}
	why = r.why
	if why == "" && r.trouble != nil {
		why = r.trouble.Error()
	}
	if why == "" {
		return failover.StandbyRefilling, r.table + " waits to be copied"
	}
	return failover.StandbyUnprotected, r.table + ": " + why
}
