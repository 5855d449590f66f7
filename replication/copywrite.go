package replication

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"pointsman/replication/ots"
)

// maxColumns is how many cells one write of a row may have, by the vendor's page
// of limits.
const maxColumns = 1024

// errAllRefused: the target takes none of the rows. Something of the table does
// not fit, and the rows are not what is wrong.
var errAllRefused = errors.New("the target refuses every row")

// enoughRefused is how many rows have to be refused, and none written, for
// errAllRefused.
const enoughRefused = 500

// copyRow is what is to be done with one row of the target.
type copyRow struct {
	ots.Mutation
	rest []ots.Mutation // updates that must follow, one by one: it is too wide for one write
	size int
}

// put writes a row as it is at the source. A row can have become wider, and
// larger, than one write can make it.
func (c *copier) put(row ots.Row) copyRow {
	m := ots.Mutation{Table: c.Table.Name, Action: ots.PutRow, Key: row.Key, Cells: row.Cells}
	size := m.Size()
	if len(m.Cells) <= maxColumns && size <= ots.MaxBytes {
		return copyRow{Mutation: m, size: size}
	}
	var parts []ots.Mutation
	m.Cells = nil
	room := ots.MaxBytes - m.Size()
	for _, cell := range row.Cells {
		n := ots.Mutation{Cells: []ots.Cell{cell}}.Size()
		if len(m.Cells) == maxColumns || len(m.Cells) > 0 && n > room {
			parts = append(parts, m)
			m.Action, m.Cells = ots.UpdateRow, nil
			room = ots.MaxBytes - m.Size()
		}
		m.Cells = append(m.Cells, cell)
		room -= n
	}
	parts = append(parts, m)
	return copyRow{Mutation: parts[0], rest: parts[1:], size: size}
}

func (c *copier) remove(key ots.Key) copyRow {
	m := ots.Mutation{Table: c.Table.Name, Action: ots.DeleteRow, Key: key}
	return copyRow{Mutation: m, size: m.Size()}
}

// batcher gathers rows for one write.
type batcher struct {
	rows []copyRow
	size int
	send func([]copyRow) error
}

func (b *batcher) add(r copyRow) error {
	// A row of several writes goes alone, so that the others do not wait for it.
	alone := len(r.rest) > 0
	if len(b.rows) == ots.MaxRows || len(b.rows) > 0 && (alone || b.size+r.size > ots.MaxBytes) {
		if err := b.flush(); err != nil {
			return err
		}
	}
	b.rows = append(b.rows, r)
	b.size += r.size
	if alone {
		return b.flush()
	}
	return nil
}

func (b *batcher) flush() error {
	if len(b.rows) == 0 {
		return nil
	}
	rows := b.rows
	b.rows, b.size = make([]copyRow, 0, ots.MaxRows), 0
	return b.send(rows)
}

// writeRows writes rows, or keeps them aside, and says what became of them.
func (c *copier) writeRows(ctx context.Context, rows []copyRow) (copied, error) {
	var d copied
	muts := make([]ots.Mutation, len(rows))
	for i, r := range rows {
		muts[i] = r.Mutation
		if r.Action == ots.DeleteRow {
			continue
		}
		d.rows++
		d.bytes += int64(r.size)
	}
	refused := make([]error, len(rows))
	if err := c.send(ctx, muts, refused); err != nil {
		return d, err
	}
	for i, r := range rows {
		cause := refused[i]
		for _, part := range r.rest {
			if cause != nil {
				break
			}
			var one [1]error
			if err := c.send(ctx, []ots.Mutation{part}, one[:]); err != nil {
				return d, err
			}
			cause = one[0]
		}
		switch kept, err := c.settle(ctx, r, cause); {
		case err != nil:
			return d, err
		case kept:
			d.refused++
		case r.Action == ots.DeleteRow:
			d.removed++
		}
	}
	return d, c.judge(d, refused)
}

// settle deals with a row that was refused, if it was. Kept is whether it was
// kept aside.
func (c *copier) settle(ctx context.Context, r copyRow, cause error) (kept bool, err error) {
	if cause == nil {
		return false, nil
	}
	cells := r.Cells
	for _, m := range r.rest {
		cells = append(cells[:len(cells):len(cells)], m.Cells...)
	}
	row := ots.Row{Key: r.Key, Cells: cells}
	// Versions may have outlived their time since they were read; clocks differ.
	young, alive := living(row, c.cutoff(time.Minute))
	if r.Action == ots.PutRow && len(young.Cells) < len(cells) {
		if !alive {
			return false, nil
		}
		d, err := c.writeRows(ctx, []copyRow{c.put(young)})
		return d.refused > 0, err
	}
	rec := ots.Record{Action: r.Action, Key: row.Key, Cells: row.Cells}
	return true, c.Refused(ctx, c.Table.Name, rec, cause)
}

// judge ends the copy of a table that takes nothing.
func (c *copier) judge(d copied, refused []error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accepted += d.rows - d.refused + d.removed
	c.refused += d.refused
	if c.accepted > 0 || d.refused == 0 || c.refused < enoughRefused {
		return nil
	}
	i := slices.IndexFunc(refused, func(err error) bool { return err != nil })
	return fmt.Errorf("%w: %w", errAllRefused, refused[max(i, 0)])
}

// send writes a batch until each row of it is written or refused for good.
func (c *copier) send(ctx context.Context, muts []ots.Mutation, refused []error) error {
	if err := c.Pool.take(ctx, len(muts)); err != nil {
		return err
	}
	left := make([]int, len(muts)) // places of rows that are not done
	for i := range left {
		left[i] = i
	}
	err := c.calls(ctx, c.Pool.writes, func() error {
		if err := c.May(); err != nil {
			return fmt.Errorf("%w: %w", errMayNot, err)
		}
		batch := muts
		if len(left) < len(muts) {
			batch = make([]ots.Mutation, len(left))
			for i, at := range left {
				batch[i] = muts[at]
			}
		}
		// What was sent is waited for, also when ctx ends: for as long as one
		// call may take.
		results, err := c.Target.Write(context.WithoutCancel(ctx), batch)
		if err != nil {
			c.lost(err)
			return err
		}
		var again []int
		var cause error
		for i, r := range results {
			c.lost(r.Err)
			switch ots.ClassOf(r.Err) {
			case 0:
			case ots.ClassRow:
				refused[left[i]] = r.Err
			default:
				if again, cause = append(again, left[i]), r.Err; ots.ClassOf(cause) != ots.ClassRetry {
					return cause
				}
			}
		}
		left = again
		return cause
	})
	if ots.ClassOf(err) != ots.ClassRow {
		return err
	}
	// The service refuses the batch for one of its rows, and does not say which.
	if len(left) == 1 {
		refused[left[0]] = err
		return nil
	}
	for _, half := range [][]int{left[:len(left)/2], left[len(left)/2:]} {
		part := make([]ots.Mutation, len(half))
		for i, at := range half {
			part[i] = muts[at]
		}
		errs := make([]error, len(half))
		if err := c.send(ctx, part, errs); err != nil {
			return err
		}
		for i, at := range half {
			refused[at] = errs[i]
		}
	}
	return nil
}

// lost notes that a write may be carried out although it failed, and late: it
// was of rows as they were before what the stream has, and must not come after
// that.
func (c *copier) lost(err error) {
	if !unanswered(err) {
		return
	}
	c.Pool.mu.Lock()
	defer c.Pool.mu.Unlock()
	c.Pool.late = time.Now().Add(c.Settle)
}

// outlast waits until no write that was lost can come any more.
func (c *copier) outlast(ctx context.Context) error {
	if c.Pool.lateFor() <= 0 {
		return nil
	}
	defer c.Meter.busy(errLate)()
	return c.Pool.outlast(ctx)
}

// errLate is why a copy that is done waits.
var errLate = errors.New("writes whose answers were lost may still be carried out")

// errMayNot: this process may not write any more.
var errMayNot = errors.New("not allowed to write")

// read reads a page of a range of either side.
func (c *copier) read(ctx context.Context, side *ots.Client, q ots.RangeQuery) (ots.RangePage, error) {
	g := c.Pool.reads
	if side == c.Target {
		g = c.Pool.writes
	}
	var p ots.RangePage
	err := c.calls(ctx, g, func() (err error) {
		p, err = side.Range(ctx, q)
		return err
	})
	return p, err
}

// calls makes a call through a gate, patiently.
func (c *copier) calls(ctx context.Context, g *gate, call func() error) error {
	return g.patient(ctx, call, c.Meter.busy)
}

// equalValues compares two values of cells.
func equalValues(a, b ots.Value) bool {
	switch a := a.(type) {
	case []byte:
		b, ok := b.([]byte)
		return ok && bytes.Equal(a, b)
	case float64: // by its bits: 0 and -0 are two values
		b, ok := b.(float64)
		return ok && math.Float64bits(a) == math.Float64bits(b)
	}
	return a == b
}
