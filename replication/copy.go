package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"pointsman/replication/ots"
)

// copyConfig is the full copy of one table.
type copyConfig struct {
	Source, Target *ots.Client
	Table          ots.Table // as the target describes it

	// Saved is where an earlier run got to, nil for a new copy. It is worth
	// something only with the positions of the stream that were taken before
	// that copy began: what happened to copied rows meanwhile is in the stream.
	Saved *savedCopy
	// Save keeps where the copy is. What it is given covers only rows that the
	// target acknowledged, or that were kept aside.
	Save func(ctx context.Context, c savedCopy) error
	// Settle is how long a write may still be carried out whose answer was lost:
	// 10 s if 0.
	Settle time.Duration
	// Every is the time between two calls of Save; 0 is after each page.
	Every time.Duration
	// May says before each write whether this process may still write.
	May func() error
	// Refused keeps a row aside that the target can never take.
	Refused func(ctx context.Context, table string, rec ots.Record, cause error) error
	Pool    *copyPool
	Meter   *copyMeter
}

// copyTable makes the rows of the target those of the source, but for what
// happens at the source meanwhile: the stream from before the copy has that, and
// is applied afterwards, to all rows. It returns when every range is done and
// saved, and no write of the copy can come late.
//
// Calls that fail for a reason that can pass are repeated until ctx ends. Every
// other fault ends it; the next run goes on from what was saved.
func copyTable(ctx context.Context, cfg copyConfig) error {
	cfg.Settle = cmp.Or(cfg.Settle, ots.DefaultTimeout)
	c := &copier{copyConfig: cfg}
	c.changed = sync.NewCond(&c.mu)
	if err := c.begin(ctx); err != nil {
		return fmt.Errorf("copy %s: %w", cfg.Table.Name, err)
	}
	g, gctx := newTeam(ctx)
	defer context.AfterFunc(gctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed.Broadcast()
	})()
	for range cfg.Pool.parallel {
		g.Go(func() error { return c.work(gctx) })
	}
	err := g.Wait()
	if err == nil {
		err = c.save(ctx)
	}
	if err == nil {
		err = c.outlast(ctx)
	}
	if err != nil {
		return fmt.Errorf("copy %s: %w", cfg.Table.Name, err)
	}
	return nil
}

// copier is a full copy that runs.
type copier struct {
	copyConfig

	mu      sync.Mutex
	changed *sync.Cond
	since   time.Time
	ranges  []*copyRange // in the order of their keys
	running int
	hungry  int // workers without a range
	rows    int64
	bytes   int64
	removed int64

	accepted, refused int64 // rows that this run wrote, and kept aside

	saving sync.Mutex
	saved  time.Time
}

// copyRange is a range of keys. Its worker alone changes it, with the copier
// locked; Start and End are those of the range when it was begun or divided.
type copyRange struct {
	start, next, end ots.Key // nil start or end is open; all below next is done
	fill             fill
	taken, done      bool
	rows             int64 // done with
	part             int   // which of the ranges that the service proposed it belongs to
	ahead            []*copyPage
	halved           int64 // rows read when it was divided last
}

// fill is what the target had in a range when the copy of it began.
type fill string

// A range is probed before its first write. What the copy itself wrote later
// does not make it filled: the stream has what became of those rows since.
const (
	fillUnknown fill = ""
	fillEmpty   fill = "empty"  // rows are only written
	fillRows    fill = "filled" // rows are compared, and those that the source lacks are deleted
)

// begin takes up what was saved, or plans the ranges and saves the plan.
func (c *copier) begin(ctx context.Context) error {
	saved := c.Saved
	if saved == nil {
		ranges, err := c.plan(ctx)
		if err != nil {
			return err
		}
		saved = &savedCopy{Since: time.Now(), Ranges: ranges}
	}
	if err := c.restore(*saved); err != nil {
		return err
	}
	c.Meter.begin(time.Now(), saved)
	c.tell()
	if c.Saved != nil {
		return nil
	}
	return c.save(ctx)
}

// work copies one range after the other.
func (c *copier) work(ctx context.Context) error {
	for {
		if err := c.Pool.ranges.Acquire(ctx, 1); err != nil {
			return err
		}
		r := c.next()
		if r != nil {
			err := c.copyRange(ctx, r)
			c.ended()
			c.Pool.ranges.Release(1)
			if err != nil {
				return err
			}
			continue
		}
		c.Pool.ranges.Release(1)
		if more, err := c.await(ctx); !more || err != nil {
			return err
		}
	}
}

// next takes a range that nobody has begun, nil if there is none.
func (c *copier) next() *copyRange {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.ranges {
		if !r.taken && !r.done {
			r.taken = true
			c.running++
			return r
		}
	}
	return nil
}

func (c *copier) ended() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	c.changed.Broadcast()
}

// await waits for a range that somebody gives away; without more when all are
// done.
func (c *copier) await(ctx context.Context) (more bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hungry++
	defer func() { c.hungry-- }()
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if slices.ContainsFunc(c.ranges, func(r *copyRange) bool { return !r.taken && !r.done }) {
			return true, nil
		}
		if c.running == 0 {
			return false, nil
		}
		c.changed.Wait()
	}
}

// restore takes up saved ranges.
func (c *copier) restore(s savedCopy) error {
	c.since, c.rows, c.bytes, c.removed = s.Since, s.Rows, s.Bytes, s.Removed
	if len(s.Ranges) == 0 {
		return errors.New("what was saved has no ranges")
	}
	var last ots.Key
	for i, r := range s.Ranges {
		var keys [3]ots.Key
		for j, b := range [...][]byte{r.Start, r.Next, r.End} {
			k, err := ots.DecodeKey(b)
			if err != nil {
				return fmt.Errorf("what was saved, range %d: %w", i, err)
			}
			keys[j] = k
		}
		one := &copyRange{start: keys[0], next: keys[1], end: keys[2], fill: r.Fill, done: r.Done, rows: r.Rows, part: r.Part}
		// One that is open at its end is the last; another begins where the one
		// before ended.
		if one.start.Compare(last) != 0 || (one.end == nil) != (i == len(s.Ranges)-1) || one.end != nil && one.end.Compare(one.start) <= 0 ||
			!one.done && (one.next.Compare(one.start) < 0 || one.end != nil && one.next.Compare(one.end) >= 0) {
			return fmt.Errorf("what was saved: range %d does not fit to the others", i)
		}
		c.ranges, last = append(c.ranges, one), one.end
	}
	return nil
}

// save keeps where the copy is now. Of several calls each writes what is true
// when its turn comes.
func (c *copier) save(ctx context.Context) error {
	c.saving.Lock()
	defer c.saving.Unlock()
	c.saved = time.Now()
	return c.Save(ctx, c.snapshot())
}

// saveDue saves if the last time was long enough ago.
func (c *copier) saveDue(ctx context.Context) error {
	c.saving.Lock()
	due := time.Since(c.saved) >= c.Every
	if due {
		c.saved = time.Now()
	}
	c.saving.Unlock()
	if !due {
		return nil
	}
	return c.save(ctx)
}

// snapshot is what is saved. Neighbours that are done become one, so that it
// shrinks towards the end.
func (c *copier) snapshot() savedCopy {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := savedCopy{Since: c.since, Rows: c.rows, Bytes: c.bytes, Removed: c.removed}
	for _, r := range c.ranges {
		one := savedRange{Start: r.start.Encode(), Next: r.next.Encode(), End: r.end.Encode(), Fill: r.fill, Done: r.done, Rows: r.rows, Part: r.part}
		if n := len(s.Ranges); r.done && n > 0 && s.Ranges[n-1].Done && s.Ranges[n-1].Part == r.part {
			s.Ranges[n-1].End, s.Ranges[n-1].Next = one.End, one.Next
			s.Ranges[n-1].Rows += r.rows
			continue
		}
		s.Ranges = append(s.Ranges, one)
	}
	return s
}
