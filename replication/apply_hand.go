package replication

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"pointsman/replication/ots"
)

// unit is what one Submit was given.
type unit struct {
	left atomic.Int64
	done func()
}

// work is one record on its way.
type work struct {
	rec   *ots.Record
	size  int
	unit  *unit // nil of a retry
	from  origin
	life  int // of the table when it was taken
	retry *retry
}

// hand is how much was taken and is not done with.
type hand struct{ records, bytes int }

func (h *hand) add(records, bytes int) { h.records += records; h.bytes += bytes }

// applyTable is one table of the target. The applier's mutex guards it.
type applyTable struct {
	name  string
	hand  hand
	fault error // why it was stopped
	life  int   // goes up when it is stopped or dropped: what was taken before means nothing
	late  time.Time
	sum   applyCounts
	ill   error // why rows wait
	vain  int   // rows refused since the last that was not
	waits int   // rows that failed and are not done with
}

// applyCounts is what became of the records of one table, since the start.
type applyCounts struct {
	Records   int64  // done with: applied, folded, kept aside or expired
	Rows      int64  // changes that the target acknowledged
	Expired   int64  // versions older than the time to live, not sent
	Refused   int64  // records kept aside
	Again     int64  // changes that had to be sent again
	Throttled int64  // of these, because the target was busy
	InHand    int64  // records that were taken and are not done with
	Trouble   string // why rows wait, empty if none does
}

// Counts are the counts of each table.
func (a *applier) Counts() map[string]applyCounts {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make(map[string]applyCounts, len(a.tables))
	for name, t := range a.tables {
		c := t.sum
		if t.ill != nil {
			c.Trouble = t.ill.Error()
		}
		c.InHand = int64(t.hand.records)
		out[name] = c
	}
	return out
}

// Trouble is why rows of a table wait now, nil if none does.
func (a *applier) Trouble(table string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t := a.tables[table]; t != nil {
		return t.ill
	}
	return nil
}

func (a *applier) tableLocked(name string) *applyTable {
	t := a.tables[name]
	if t == nil {
		t = &applyTable{name: name}
		a.tables[name] = t
	}
	return t
}

// admit waits until there is room for so much more. A table that has nothing in
// hand always gets in, and none may have more than a quarter, so that tables in
// trouble do not keep the others out.
func (a *applier) admit(ctx context.Context, table string, records, bytes int) (*applyTable, int, error) {
	for {
		a.mu.Lock()
		t := a.tableLocked(table)
		switch {
		case a.why != nil:
			defer a.mu.Unlock()
			return nil, 0, a.why
		case t.fault != nil:
			defer a.mu.Unlock()
			return nil, 0, fmt.Errorf("table %s: %w", table, t.fault)
		case t.hand.records == 0,
			a.hand.records+records <= a.cfg.Records && a.hand.bytes+bytes <= a.cfg.Bytes &&
				t.hand.records+records <= a.cfg.Records/4 && t.hand.bytes+bytes <= a.cfg.Bytes/4:
			t.hand.add(records, bytes)
			a.hand.add(records, bytes)
			defer a.mu.Unlock()
			return t, t.life, nil
		}
		freed := a.freed
		a.mu.Unlock()
		select {
		case <-freed:
		case <-a.ended:
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		}
	}
}

// tellLocked wakes those who wait for room, or for an end.
func (a *applier) tellLocked() {
	close(a.freed)
	a.freed = make(chan struct{})
}

// finish is done with records of one table: what they were counted as is told by
// count. Records of an earlier life are only put down.
func (a *applier) finish(t *applyTable, works []work, count func(*applyCounts)) {
	for _, f := range a.putDown(t, works, count) {
		f()
	}
}

// putDown is finish but for what it returns: what is to be called without mu.
func (a *applier) putDown(t *applyTable, works []work, count func(*applyCounts)) (done []func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range works {
		t.hand.add(-1, -w.size)
		a.hand.add(-1, -w.size)
		if w.life != t.life || w.unit == nil {
			continue
		}
		t.sum.Records++
		if w.unit.left.Add(-1) == 0 {
			done = append(done, w.unit.done)
		}
	}
	if count != nil {
		count(&t.sum)
	}
	a.tellLocked()
	return done
}

// stale says whether work was given up.
func (a *applier) stale(t *applyTable, w *work) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return w.life != t.life
}

// count counts what happened to a table.
func (a *applier) count(t *applyTable, f func(*applyCounts)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f(&t.sum)
}

// trouble notes why a row of a table waits. The queue is out.
func (a *applier) trouble(q *queue, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if q.tries == 0 {
		q.table.waits++
	}
	q.tries++
	if q.table.fault == nil {
		q.table.ill = err
	}
}

// eased notes that a row does not wait any more.
func (a *applier) eased(q *queue) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if q.table.waits--; q.table.waits == 0 && q.table.fault == nil {
		q.table.ill = nil
	}
}

// stop ends a table for a fault of its own. The others go on.
func (a *applier) stop(t *applyTable, life int, err error) {
	a.mu.Lock()
	first := t.fault == nil && t.life == life
	if first {
		t.fault = err
		t.life++
		t.ill = err
		a.tellLocked()
	}
	a.mu.Unlock()
	if first {
		a.cfg.Log.Warn("nothing more is applied to a table", "table", t.name, "error", err)
		a.cfg.Fault(t.name, err)
		a.wake()
	}
}

func (a *applier) wake() {
	for _, l := range a.lanes {
		l.wakeUp()
	}
}

// lost notes that a request of a table may be carried out until then.
func (a *applier) lost(t *applyTable, until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, late := range [...]*time.Time{&a.late, &t.late} {
		if until.After(*late) {
			*late = until
		}
	}
}

// Drop gives up all that is queued of a table, and takes records of it again,
// also after a fault. It returns when no request of what was given up is under
// way, or can be carried out late; done of those is never called.
func (a *applier) Drop(ctx context.Context, table string) error {
	a.mu.Lock()
	t := a.tableLocked(table)
	t.fault = errDropped
	t.life++
	a.tellLocked()
	a.mu.Unlock()
	a.wake()
	for {
		a.mu.Lock()
		left, late, freed := t.hand.records, time.Until(t.late), a.freed
		if a.why != nil {
			defer a.mu.Unlock()
			return a.why
		}
		if left == 0 && late <= 0 {
			t.fault, t.vain, t.ill = nil, 0, nil
			a.mu.Unlock()
			return nil
		}
		a.mu.Unlock()
		if left > 0 {
			late = time.Hour // their end is told by freed
		}
		timer := time.NewTimer(late)
		select {
		case <-freed:
		case <-timer.C:
		case <-a.ended:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("drop what was queued of table %s: %w", table, context.Cause(ctx))
		}
		timer.Stop()
	}
}

func jitter(d time.Duration) time.Duration { return rand.N(d + 1) }
