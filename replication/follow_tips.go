package replication

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"pointsman/replication/ots"
)

// errNoStream: there is nothing to follow.
var errNoStream = errors.New("its stream is off")

// tips are positions of all shards that a table's stream lists, each at the
// first record at or after a moment of the service's clock. For a copy that
// moment is taken before it, with a margin, so that nothing falls between.
func tips(ctx context.Context, c streams, table string, at time.Time) ([]position, error) {
	t := tipper{c: c, table: table, from: at}
	l, err := t.list(ctx)
	if err != nil {
		return nil, err
	}
	t.add(slices.Collect(maps.Values(l.shards))...)
	// A listing comes in pages, and shards split between them: the parent of one
	// that was told may not have been.
	if l, err = t.list(ctx); err != nil {
		return nil, err
	}
	frontier := map[string]position{}
	for _, p := range t.found {
		frontier[p.Shard] = p
	}
	for id := range l.before(frontier) {
		if s, listed := l.shards[id]; listed {
			t.add(s)
		}
	}
	// What was acknowledged before at, by the clock that is behind most, is
	// before these positions.
	var upto time.Time
	_, high, known := c.Offset()
	if known {
		upto = at.Add(-high)
	}
	err = t.each(ctx, func(ctx context.Context, p *position) error {
		p.Upto, p.Ahead = upto, high
		return t.open(ctx, p)
	})
	if err != nil {
		return nil, fmt.Errorf("stream of table %s: %w", table, err)
	}
	return t.found, nil
}

// endsMargin is how far before now the search for the end of a shard begins.
const endsMargin = time.Minute

// endsPause is the least between two reads of nothing on the way to an end.
const endsPause = 10 * time.Millisecond

// ends are positions of all shards after everything that could be read a
// visibility allowance after the call began; shards that have ended are left
// out where others come after them. Passed counts the records that were read on
// the way, which are those of about the last minute.
func ends(ctx context.Context, c streams, table string, visibility time.Duration) (found []position, passed int64, err error) {
	t := tipper{c: c, table: table}
	begun := time.Now()
	var l listing
	for {
		if l, err = t.list(ctx); err != nil {
			return nil, 0, err
		}
		t.add(slices.Collect(maps.Values(l.shards))...)
		if !slices.ContainsFunc(t.found, func(p position) bool { return p.Iterator == "" && !p.Done }) {
			break
		}
		if t.from.IsZero() {
			low, _, _ := c.Offset()
			t.from = begun.Add(low - endsMargin)
		}
		err := t.each(ctx, func(ctx context.Context, p *position) error {
			if p.Done || p.Iterator != "" {
				return nil
			}
			if err := t.open(ctx, p); err != nil {
				return err
			}
			return t.toEnd(ctx, p, begun, visibility)
		})
		if err != nil {
			return nil, 0, fmt.Errorf("stream of table %s: %w", table, err)
		}
	}
	for _, p := range t.found {
		if p.Done && len(l.children(p.Shard)) == 0 {
			return nil, 0, fmt.Errorf("stream of table %s: shard %s: %w", table, p.Shard, errChildless)
		}
	}
	found = slices.DeleteFunc(t.found, func(p position) bool { return p.Done })
	return found, t.passed.Load(), nil
}

// tipper finds positions of all shards of a stream.
type tipper struct {
	c      streams
	table  string
	stream string
	from   time.Time
	found  []position
	passed atomic.Int64
}

func (t *tipper) list(ctx context.Context) (l listing, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("stream of table %s: %w", t.table, err)
		}
	}()
	var all []ots.Stream
	if err := patiently(ctx, func() (err error) { all, err = t.c.Streams(ctx, t.table); return err }); err != nil {
		return l, err
	}
	if len(all) == 0 { // an answer that is empty for another reason would read so too
		if err := patiently(ctx, func() (err error) { all, err = t.c.Streams(ctx, t.table); return err }); err != nil {
			return l, err
		}
	}
	if len(all) == 0 {
		return l, errNoStream
	}
	if t.stream != "" && !slices.ContainsFunc(all, func(s ots.Stream) bool { return s.ID == t.stream }) {
		return l, errors.New("it was switched off and on again meanwhile")
	}
	if t.stream == "" {
		t.stream = slices.MaxFunc(all, func(a, b ots.Stream) int { return a.Created.Compare(b.Created) }).ID
	}
	var shards []ots.Shard
	if err := patiently(ctx, func() (err error) { _, shards, err = t.c.Shards(ctx, t.stream); return err }); err != nil {
		return l, err
	}
	return listingOf(shards), nil
}

// add notes the shards that are not found yet, without iterators.
func (t *tipper) add(shards ...ots.Shard) {
	for _, s := range shards {
		if !slices.ContainsFunc(t.found, func(p position) bool { return p.Shard == s.ID }) {
			t.found = append(t.found, position{Stream: t.stream, Shard: s.ID, Parents: s.Parents})
		}
	}
}

// each does something for all shards, some at a time.
func (t *tipper) each(ctx context.Context, do func(context.Context, *position) error) error {
	g, ctx := newTeam(ctx)
	g.SetLimit(defaultParallel)
	for i := range t.found {
		p := &t.found[i]
		g.Go(func() error {
			if err := do(ctx, p); err != nil {
				return fmt.Errorf("shard %s: %w", p.Shard, err)
			}
			return nil
		})
	}
	return g.Wait()
}

func (t *tipper) open(ctx context.Context, p *position) error {
	return patiently(ctx, func() (err error) {
		p.Iterator, err = t.c.Iterator(ctx, p.Stream, p.Shard, t.from)
		return err
	})
}

// toEnd reads until a read that was sent a visibility allowance after begun has
// found nothing, or the shard has ended.
func (t *tipper) toEnd(ctx context.Context, p *position, begun time.Time, visibility time.Duration) error {
	c := claim{visibility: visibility}
	for {
		var page ots.Page
		if err := patiently(ctx, func() (err error) { page, err = records(ctx, t.c, p.Iterator, defaultLimit); return err }); err != nil {
			return err
		}
		var empty bool
		*p, empty = c.next(*p, page, offset{})
		t.passed.Add(int64(len(page.Records)))
		if p.Done || empty && !p.Upto.Before(begun) {
			return nil
		}
		if len(page.Records) > 0 {
			continue
		}
		if !rest(ctx, max(time.Until(begun.Add(visibility)), endsPause), nil) {
			return ctx.Err()
		}
	}
}

// patiently tries again what may go well later, until ctx ends.
func patiently(ctx context.Context, do func() error) error {
	p := newPace(0, 0)
	for failures := 1; ; failures++ {
		err := do()
		if err == nil || ctx.Err() != nil || ots.ClassOf(err) != ots.ClassRetry {
			return err
		}
		if !rest(ctx, jittered(p.backoff(failures)), nil) {
			return err
		}
	}
}
