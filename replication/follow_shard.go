package replication

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pointsman/replication/ots"
)

// errRepeated is what no service should do.
var errRepeated = errors.New("the service gives records and the iterator that it was given")

// errChildless: every shard that has ended has others that come after it, so
// that it has ended is not believed.
var errChildless = errors.New("is said to have ended, and none is told to come after it")

// follow reads one shard to its end.
func (f *follower) follow(ctx context.Context, g *team, p position) error {
	pace, c := newPace(f.cfg.Busy, f.cfg.Idle), claim{visibility: f.cfg.Visibility}
	end := p.Shard + " at its end"
	for childless := 0; ; {
		nudged := f.nudge()
		d, more, err := f.turn(ctx, g, &c, p)
		pause := pace.after(len(d.Records), more)
		switch {
		case errors.Is(err, errChildless):
			f.fails(end, err)
			childless++
			pause = pace.backoff(childless)
		case err != nil:
			return err
		default:
			childless = 0
			f.works(end)
			if p = d.After; p.Done {
				return nil
			}
		}
		if !rest(ctx, jittered(pause), nudged) {
			return ctx.Err()
		}
	}
}

// turn reads one page and hands it over. At most Parallel are under way at a
// time, so that as many pages are in memory.
func (f *follower) turn(ctx context.Context, g *team, c *claim, p position) (d delivery, more bool, err error) {
	if err := f.slots.take(ctx); err != nil {
		return d, false, err
	}
	defer f.slots.leave()
	page, err := f.page(ctx, p)
	if err != nil {
		return d, false, err
	}
	d = delivery{Table: f.cfg.Table, Records: page.Records, At: page.Received, Sent: page.Sent, Read: page.Read}
	var clock offset
	clock.low, clock.high, clock.known = f.cfg.Client.Offset()
	d.After, d.Empty = c.next(p, page, clock)
	if f.doubted() {
		// Nobody knows whether what clients write now gets into this stream.
		d.After.Upto, d.After.Proved, d.Empty = minTime(d.After.Upto, p.Upto), minTime(d.After.Proved, p.Proved), false
	}
	more = page.More || len(page.Records) >= f.cfg.Limit
	if d.After.Done {
		return d, more, f.end(ctx, g, d)
	}
	return d, more, f.handOver(ctx, g, d)
}

// page reads a page, however often it takes.
func (f *follower) page(ctx context.Context, p position) (page ots.Page, err error) {
	absences := 0
	err = f.insist(ctx, p.Shard, func() error {
		page, err = records(ctx, f.cfg.Client, p.Iterator, f.cfg.Limit)
		if err == nil && len(page.Records) > 0 && page.Next == p.Iterator {
			err = errRepeated
		}
		if ots.ClassOf(err) == ots.ClassTrimmed {
			return f.gap("records of shard %s that were not read are trimmed", p.Shard)
		}
		if err = f.absent(ctx, p.Shard, err, &absences); err == nil || lasting(err) {
			return err
		}
		return fmt.Errorf("shard %s: read: %w", p.Shard, err)
	})
	return page, err
}

// records reads a page. That a shard has ended is asked twice, for an answer
// that is empty by some fault would read so too.
func records(ctx context.Context, c streams, iterator string, limit int) (ots.Page, error) {
	page, err := c.Records(ctx, iterator, limit)
	if err == nil && len(page.Records) == 0 && page.Next == "" {
		return c.Records(ctx, iterator, limit)
	}
	return page, err
}

// maxAbsences is how often a service may say that there is no such shard which it
// lists.
const maxAbsences = 4

// absent judges an error that says that there is no such shard, and leaves
// others as they are.
func (f *follower) absent(ctx context.Context, shard string, err error, times *int) error {
	if ots.ClassOf(err) != ots.ClassAbsent {
		return err
	}
	l, why := f.list(ctx)
	if why != nil {
		return why
	}
	if _, listed := l.shards[shard]; !listed {
		return f.gap("shard %s is gone and had not been read to its end", shard)
	}
	if *times++; *times >= maxAbsences {
		return f.gap("the service does not know the place any more up to which shard %s was read", shard)
	}
	return err
}

func (f *follower) gap(format string, args ...any) error {
	return &GapError{Table: f.cfg.Table, Why: fmt.Sprintf(format, args...)}
}

// end hands over the last page of a shard, with the children that can be read
// from then on.
func (f *follower) end(ctx context.Context, g *team, d delivery) error {
	if err := f.ending.take(ctx); err != nil {
		return err
	}
	defer f.ending.leave()
	id := d.After.Shard
	var l listing
	childless := false
	var lone time.Time // since when only one child is told
	err := f.insist(ctx, id, func() (err error) {
		asked := time.Now()
		if l, err = f.list(ctx); err != nil {
			return err
		}
		kids := l.children(id)
		if len(kids) == 0 {
			childless = true
			return nil
		}
		if len(kids) > 1 || len(kids[0].Parents) > 1 {
			return nil
		}
		// A split has two. This one may be all, or the other is yet to be told of.
		if lone.IsZero() {
			lone = time.Now()
		}
		if asked.Sub(lone) < f.cfg.Visibility { // the answer may be of then
			return fmt.Errorf("shard %s: has ended, and only one is told to come after it", id)
		}
		return nil
	})
	if err == nil && childless {
		err = fmt.Errorf("shard %s: %w", id, errChildless)
	}
	if err != nil {
		return err
	}
	if d.Children, err = f.children(ctx, l, d.After); err != nil {
		return err
	}
	return f.handOver(ctx, g, d)
}
