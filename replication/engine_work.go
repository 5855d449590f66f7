package replication

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pointsman/replication/ots"
)

// takeover takes the positions of all shards, makes them durable as the
// beginning of a copy, and copies. why is the reason of a copy that is not the
// first: until it is done, what a switch would lose is unknown.
func (r *runner) takeover(ctx context.Context, why string) error {
	leave, err := r.turnToCopy(ctx)
	if err != nil {
		return err
	}
	defer leave()
	start, err := tips(ctx, r.s.source, r.table, r.before())
	if err != nil {
		return fmt.Errorf("take the positions of its stream: %w", err)
	}
	// Until here the old positions count. From here on rows of the target may
	// be older or newer than they say.
	if err := r.quiet(ctx); err != nil {
		return err
	}
	if err := r.enter(ctx, saved{Phase: PhaseCopying, Why: why, Positions: start}); err != nil {
		return err
	}
	r.mu.Lock()
	r.track = nil
	r.mu.Unlock()
	return r.copyRows(ctx)
}

// before is a moment of the source's clock that is surely past, with everything
// that is not yet visible in its stream after it.
func (r *runner) before() time.Time {
	low, _, _ := r.s.source.Offset()
	return time.Now().Add(low - r.s.cfg.Visibility - copyMargin)
}

// copyMargin is how much earlier than needed the stream is taken up after a
// copy; it costs only records that are applied once more.
const copyMargin = 2 * time.Second

// copyOn goes on with a copy that was begun.
func (r *runner) copyOn(ctx context.Context) error {
	leave, err := r.turnToCopy(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := r.quiet(ctx); err != nil {
		return err
	}
	return r.copyRows(ctx)
}

// turnToCopy waits until few enough other tables are being copied.
func (r *runner) turnToCopy(ctx context.Context) (leave func(), err error) {
	leave = func() { <-r.s.copies }
	select {
	case r.s.copies <- struct{}{}:
		return leave, nil
	default:
	}
	r.show("other tables are copied first", "")
	select {
	case r.s.copies <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// copyRows copies from where the row says, and enters the catching up.
func (r *runner) copyRows(ctx context.Context) error {
	meter := newCopyMeter()
	r.mu.Lock()
	row, target := r.row, r.target
	r.copy, r.why = meter, ""
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.copy = nil
		r.mu.Unlock()
	}()
	err := copyTable(ctx, copyConfig{
		Source: r.s.source, Target: r.s.target, Table: target,
		Saved: row.Copy, Every: r.s.cfg.Save, Settle: r.s.cfg.Timeout, May: r.s.mayApply,
		Pool: r.s.pool, Meter: meter,
		Save: r.saveCopy,
		Refused: func(ctx context.Context, table string, rec ots.Record, cause error) error {
			return r.s.dead.keep(ctx, table, origin{}, rec, cause)
		},
	})
	if err != nil {
		return err
	}
	// What this copy had refused was kept later than it began.
	began := row.At
	if row.Copy != nil {
		began = row.Copy.Since
	}
	if err := r.s.dead.superseded(ctx, r.table, began, "the table was copied anew"); err != nil {
		return err
	}
	r.mu.Lock()
	r.track = newTrack(row.Positions)
	r.mu.Unlock()
	return r.enter(ctx, saved{Phase: PhaseCatchUp, Why: row.Why, Positions: row.Positions})
}

// saveCopy makes durable how far the copy is.
func (r *runner) saveCopy(ctx context.Context, c savedCopy) error {
	return r.s.save(ctx, func() saved {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.row.Copy, r.row.At = &c, time.Now()
		return r.row
	}, nil)
}

// follow applies the stream from where the track is, until something changes.
func (r *runner) follow(ctx context.Context) error {
	if err := r.quiet(ctx); err != nil {
		return err
	}
	f, track := r.newFollower()
	defer func() {
		r.mu.Lock()
		r.follower = nil
		r.mu.Unlock()
	}()
	g, gctx := newTeam(ctx)
	g.Go(func() error { return f.Run(gctx) })
	g.Go(func() error { return r.watch(gctx, track) })
	return g.Wait()
}

// newFollower is a follower from where the track is applied, and its track.
func (r *runner) newFollower() (*follower, *track) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handed = true
	t := r.track.anew()
	all, _ := t.positions(time.Time{}, true)
	f := newFollower(followConfig{
		Client: r.s.source, Table: r.table, Start: all,
		Deliver:    func(ctx context.Context, d delivery) error { return r.deliver(ctx, t, d) },
		Visibility: r.s.cfg.Visibility, Busy: r.s.cfg.Busy, Idle: r.s.cfg.Idle, Log: r.s.log,
	})
	r.track, r.follower, r.why, r.hint = t, f, "", ""
	return f, t
}

// deliver hands a page of the stream to the applier.
func (r *runner) deliver(ctx context.Context, t *track, d delivery) error {
	if err := r.s.fail("deliver"); err != nil {
		return err
	}
	if n := len(d.Records); n > 0 {
		if low, _, known := r.s.source.Offset(); known { // when the source took the write, at the latest
			t.noteFresh(minTime(time.UnixMicro(d.Records[n-1].Seq.Time).Add(-low), d.At))
		}
	}
	done := t.begin(d.After, d.Children, len(d.Records), d.Read, d.At)
	if len(d.Records) == 0 {
		done()
		return nil
	}
	return r.s.applier.Submit(ctx, r.table, d.Records, origin{Shard: d.After.Shard}, done)
}

// quiet has the applier give up what it still has of this table, and returns
// when none of it can get to the target any more. It would otherwise be written
// over what is read later.
func (r *runner) quiet(ctx context.Context) error {
	r.mu.Lock()
	handed := r.handed
	r.mu.Unlock()
	if !handed {
		return nil
	}
	if err := r.s.applier.Drop(ctx, r.table); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handed = false
	return nil
}

// watch looks now and then whether both tables are what they were, and notes
// when the table has caught up.
func (r *runner) watch(ctx context.Context, t *track) error {
	looked, followed := time.Now(), t.stream()
	for {
		if err := sleep(ctx, tellEvery); err != nil {
			return err
		}
		if err := r.promote(ctx, t); err != nil {
			return err
		}
		if time.Since(looked) < r.s.cfg.Look {
			continue
		}
		looked = time.Now()
		r.mu.Lock()
		was := r.target
		r.mu.Unlock()
		if err := r.look(ctx); err != nil {
			if errors.Is(err, errDead) || ctx.Err() != nil {
				return err
			}
			r.note(err) // reading and applying may go on all the same
			continue
		}
		r.mu.Lock()
		source, target, order := r.source, r.target, r.row.Order
		blocked := len(r.blocks) > 0
		r.mu.Unlock()
		switch {
		case source.Name == "", order != nil && order.Resync && !blocked:
			return errAgain
		case target.Name == "":
			return &GapError{r.table, fmt.Sprintf("the table is not at %s any more", r.s.way.To)}
		case source.Stream != "" && followed != "" && source.Stream != followed:
			return &GapError{r.table, fmt.Sprintf("the stream of the table at %s is %s now, and was %s", r.s.way.From, source.Stream, followed)}
		case was.Stream != "" && target.Stream != "" && was.Stream != target.Stream:
			return &GapError{r.table, fmt.Sprintf("the stream of the table at %s is another one: it may have been dropped and made anew", r.s.way.To)}
		}
	}
}

// promote notes that everything written until the end of the copy is applied.
func (r *runner) promote(ctx context.Context, t *track) error {
	r.mu.Lock()
	row := r.row
	r.mu.Unlock()
	if row.Phase != PhaseCatchUp {
		return nil
	}
	// The row is of the end of the copy.
	if m := t.mark(time.Now()); m.shards == 0 || m.upto.Before(row.At) {
		return nil
	}
	all, _ := t.positions(time.Time{}, true)
	return r.enter(ctx, saved{Phase: PhaseFollowing, Positions: all})
}

// advanced is the row with the positions of now, if there is more in them than in
// those that are saved. That nothing new was there is saved only now and then,
// or when every word counts.
func (r *runner) advanced(every bool) (saved, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.track == nil || !r.row.followed() {
		return saved{}, false
	}
	all, advanced := r.track.positions(time.Now().Add(-r.source.Retention-forgetAfter), every)
	if !advanced {
		return saved{}, false
	}
	row := r.row
	row.Positions = all
	if row.Phase == PhaseFollowing {
		row.At = time.Now()
	}
	r.row = row
	return row, true
}

// forgetAfter is how much longer than the stream's own memory a closed shard is
// kept in mind.
const forgetAfter = 24 * time.Hour

// unsaved has the positions saved again.
func (r *runner) unsaved() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.track != nil {
		r.track.unsaved()
	}
}

// show says what is waited for.
func (r *runner) show(why, hint string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.why, r.hint = why, hint
}
