package replication

import (
	"context"
	"slices"
	"time"

	"pointsman/replication/ots"
)

// copyPage is one read of the source: all rows from one key to another.
type copyPage struct {
	from, to ots.Key // to is where the next page begins, or the end of the range
	rows     []ots.Row
	last     bool

	// Under the lock of the copier:
	left   int    // pieces that are not done; one of them is the page itself, until all others are begun
	copied copied // what became of its rows
}

// copyRange copies one range: while pages are on their way to the target, the
// next one is read. What is done with is a prefix of the range, always.
func (c *copier) copyRange(ctx context.Context, r *copyRange) error {
	if r.fill == fillUnknown {
		f, err := c.probe(ctx, r)
		if err != nil {
			return err
		}
		c.mu.Lock()
		r.fill = f
		c.mu.Unlock()
	}
	pages := make(chan *copyPage)
	g, gctx := newTeam(ctx)
	g.Go(func() error {
		defer close(pages)
		return c.readPages(gctx, r, pages)
	})
	g.Go(func() error { return c.writePages(gctx, r, pages) })
	if err := g.Wait(); err != nil {
		return err
	}
	c.tell()
	return nil
}

// probe looks whether the target has rows where the range is to be copied to.
func (c *copier) probe(ctx context.Context, r *copyRange) (fill, error) {
	f := fillEmpty
	err := c.calls(ctx, c.Pool.writes, func() error {
		some, err := holdsRows(ctx, c.Target, c.Table.Name, r.next, r.end)
		if some {
			f = fillRows
		}
		return err
	})
	if err != nil {
		return fillUnknown, err
	}
	return f, nil
}

// holdsRows says whether a table has a row from start on and below end; nil keys
// are open.
func holdsRows(ctx context.Context, c *ots.Client, table string, start, end ots.Key) (bool, error) {
	q := ots.RangeQuery{Table: table, Start: start, End: end, Limit: 1, MaxVersions: 1}
	for {
		p, err := c.Range(ctx, q)
		if err != nil || len(p.Rows) > 0 {
			return len(p.Rows) > 0, err
		}
		if p.Next == nil {
			return false, nil
		}
		q.Start = p.Next
	}
}

func (c *copier) readPages(ctx context.Context, r *copyRange, pages chan<- *copyPage) error {
	at, read := r.next, int64(0)
	for {
		if read > 0 {
			if err := c.halve(ctx, r, at, read); err != nil {
				return err
			}
		}
		p, err := c.read(ctx, c.Source, ots.RangeQuery{
			Table: c.Table.Name, Start: at, End: r.end, Limit: c.Pool.page, MaxVersions: c.Table.MaxVersions,
		})
		if err != nil {
			return err
		}
		page := &copyPage{from: at, to: p.Next, rows: p.Rows, last: p.Next == nil, left: 1}
		if page.last {
			page.to = r.end
		}
		select {
		case pages <- page:
		case <-ctx.Done():
			return ctx.Err()
		}
		if page.last {
			return nil
		}
		at = p.Next
		read += int64(len(p.Rows))
	}
}

// writePages brings pages to the target, several batches at a time. Rows of a
// range are different ones, so that batches need no order.
func (c *copier) writePages(ctx context.Context, r *copyRange, pages <-chan *copyPage) error {
	g, gctx := newTeam(ctx)
	g.SetLimit(copyInFlight)
	var fail error
	for page := range pages {
		c.mu.Lock()
		r.ahead = append(r.ahead, page)
		c.mu.Unlock()
		b := batcher{send: func(rows []copyRow) error {
			c.mu.Lock()
			page.left++
			c.mu.Unlock()
			g.Go(func() error {
				d, err := c.writeRows(gctx, rows)
				if err != nil {
					return err
				}
				return c.landed(gctx, r, page, d)
			})
			return gctx.Err()
		}}
		var d copied
		if d, fail = c.sort(gctx, r, page, &b); fail != nil {
			break
		}
		if fail = c.landed(gctx, r, page, d); fail != nil {
			break
		}
	}
	// What failed first says more than that the others were called off for it.
	if err := g.Wait(); err != nil {
		return err
	}
	return fail
}

// sort gives the rows of a page that must be written to the batcher, and counts
// the others.
func (c *copier) sort(ctx context.Context, r *copyRange, page *copyPage, b *batcher) (copied, error) {
	cutoff := c.cutoff(0)
	var d copied
	if r.fill == fillRows {
		if err := c.merge(ctx, page, cutoff, b, &d); err != nil {
			return d, err
		}
		return d, b.flush()
	}
	for _, row := range page.rows {
		if row, ok := living(row, cutoff); ok {
			if err := b.add(c.put(row)); err != nil {
				return d, err
			}
			continue
		}
		d.rows++
	}
	return d, b.flush()
}

// merge goes through a page and the rows of the target between the same keys.
// Rows that are equal are left alone, those that the source lacks are deleted.
func (c *copier) merge(ctx context.Context, page *copyPage, cutoff int64, b *batcher, d *copied) error {
	rows := page.rows
	put := func(row ots.Row) error {
		row, ok := living(row, cutoff)
		if !ok {
			d.rows++
			return nil
		}
		return b.add(c.put(row))
	}
	q := ots.RangeQuery{Table: c.Table.Name, Start: page.from, End: page.to, Limit: c.Pool.page, MaxVersions: c.Table.MaxVersions}
	for {
		p, err := c.read(ctx, c.Target, q)
		if err != nil {
			return err
		}
		for _, there := range p.Rows {
			for len(rows) > 0 && rows[0].Key.Compare(there.Key) < 0 {
				if err := put(rows[0]); err != nil {
					return err
				}
				rows = rows[1:]
			}
			if len(rows) == 0 || rows[0].Key.Compare(there.Key) > 0 {
				if err := b.add(c.remove(there.Key)); err != nil {
					return err
				}
				continue
			}
			here, ok := living(rows[0], cutoff)
			rows = rows[1:]
			switch {
			case !ok:
				d.rows++
				err = b.add(c.remove(there.Key))
			case equalCells(here.Cells, there.Cells):
				d.rows++
				d.equal++
				d.bytes += int64(c.put(here).size)
			default:
				err = b.add(c.put(here))
			}
			if err != nil {
				return err
			}
		}
		if p.Next == nil {
			break
		}
		q.Start = p.Next
	}
	for _, row := range rows {
		if err := put(row); err != nil {
			return err
		}
	}
	return nil
}

// landed notes that a piece of a page is done. When nothing of a page is left,
// and of those before it, the range is done so far.
func (c *copier) landed(ctx context.Context, r *copyRange, page *copyPage, d copied) error {
	c.Meter.add(time.Now(), d)
	if c.advance(r, page, d) == 0 {
		return nil
	}
	return c.saveDue(ctx)
}

// advance returns how many pages the range is further.
func (c *copier) advance(r *copyRange, page *copyPage, d copied) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	page.copied.add(d)
	c.accepted += d.equal
	page.left--
	for n < len(r.ahead) && r.ahead[n].left == 0 {
		p := r.ahead[n]
		r.next, r.done = p.to, p.last
		r.rows += p.copied.rows
		c.rows += p.copied.rows
		c.bytes += p.copied.bytes
		c.removed += p.copied.removed
		n++
	}
	r.ahead = slices.Delete(r.ahead, 0, n)
	return n
}

// cutoff is the least version that the target still takes, in ms by its clock
// as far as it is known, plus a margin; 0 if rows live for ever.
func (c *copier) cutoff(margin time.Duration) int64 {
	if c.Table.TTL <= 0 {
		return 0
	}
	behind, _, _ := c.Target.Offset()
	return time.Now().Add(behind + margin).Add(-time.Duration(c.Table.TTL) * time.Second).UnixMilli()
}

// living leaves out versions that have outlived the target's time to live: it
// would refuse them. A row that has cells and none is left is no row there.
func living(row ots.Row, cutoff int64) (ots.Row, bool) {
	if cutoff <= 0 || len(row.Cells) == 0 {
		return row, true
	}
	dead := func(c ots.Cell) bool { return c.Version < cutoff }
	if !slices.ContainsFunc(row.Cells, dead) {
		return row, true
	}
	row.Cells = slices.DeleteFunc(slices.Clone(row.Cells), dead)
	return row, len(row.Cells) > 0
}

// equalCells compares what two rows hold; both are sorted, as reads return them.
func equalCells(a, b []ots.Cell) bool {
	return slices.EqualFunc(a, b, func(a, b ots.Cell) bool {
		return a.Version == b.Version && a.Name == b.Name && equalValues(a.Value, b.Value)
	})
}
