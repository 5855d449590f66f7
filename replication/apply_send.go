package replication

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pointsman/replication/ots"
)

// send sends a batch and deals with what became of each row. The error is that
// of May.
func (l *lane) send(ctx context.Context, batch []entry) error {
	if err := l.a.may(); err != nil {
		return err
	}
	if !l.a.begin() {
		return nil
	}
	muts := make([]ots.Mutation, len(batch))
	for i, e := range batch {
		muts[i] = e.m
	}
	results, err := l.a.cfg.Client.Write(ctx, muts)
	if unanswered(err) {
		for _, e := range batch {
			l.lost(e)
		}
	}
	l.a.landed()
	if err != nil {
		return l.failed(ctx, batch, err)
	}
	errs := make([]error, len(results))
	for i, r := range results {
		errs[i] = r.Err
	}
	l.settle(batch, errs)
	return nil
}

// failed deals with a call that failed as a whole.
func (l *lane) failed(ctx context.Context, batch []entry, err error) error {
	several := false
	for _, e := range batch[1:] {
		several = several || e.table != batch[0].table
	}
	class := ots.ClassOf(err)
	switch {
	case class == ots.ClassRetry:
		l.fails++
		l.limit = max(l.limit/2, 1)
		now := time.Now()
		if several && l.fails > 2 {
			l.apart = now.Add(apartFor)
		}
		if !l.apart.After(now) {
			l.after = now.Add(l.a.cfg.wait(l.fails))
		}
		for _, e := range batch {
			l.again(e, err)
		}
		return nil
	case several:
		// It may be for one table alone.
		for _, part := range byTable(batch) {
			if err := l.send(ctx, part); err != nil {
				return err
			}
		}
		return nil
	case class == ots.ClassRow && len(batch) > 1:
		// It is refused for one of the rows, and does not say which.
		half := len(batch) / 2
		if err := l.send(ctx, batch[:half]); err != nil {
			return err
		}
		return l.send(ctx, batch[half:])
	}
	errs := make([]error, len(batch))
	for i := range errs {
		errs[i] = err
	}
	l.settle(batch, errs)
	return nil
}

func byTable(batch []entry) [][]entry {
	var parts [][]entry
	place := map[*applyTable]int{}
	for _, e := range batch {
		i, ok := place[e.table]
		if !ok {
			i = len(parts)
			place[e.table] = i
			parts = append(parts, nil)
		}
		parts[i] = append(parts[i], e)
	}
	return parts
}

// settle deals with what became of each row of a batch.
func (l *lane) settle(batch []entry, errs []error) {
	good := make([]entry, 0, len(batch))
	throttled := false
	for i, e := range batch {
		err := errs[i]
		switch ots.ClassOf(err) {
		case 0:
			good = append(good, e)
		case ots.ClassRetry:
			throttled = true
			if unanswered(err) {
				l.lost(e)
			}
			l.again(e, err)
		case ots.ClassRow:
			l.refused(e, err)
		case ots.ClassAbsent:
			l.stop(e, fmt.Errorf("it is missing at the target: %w", err))
		default:
			l.again(e, err)
		}
	}
	switch {
	case throttled:
		l.limit = max(l.limit/2, 1)
	case len(good) > 0:
		l.limit = min(l.limit+l.limit/4+1, ots.MaxRows)
	}
	if len(good) > 0 {
		l.fails = 0
		l.acknowledged(good)
	} else if throttled {
		l.fails++
		l.after = time.Now().Add(l.a.cfg.wait(l.fails))
	}
}

// acknowledged is done with rows that the target has.
func (l *lane) acknowledged(good []entry) {
	parts := byTable(good)
	works := make([][]work, len(parts))
	expired := make([]int64, len(parts))
	for _, q := range l.takeOff(parts, works, expired) {
		l.a.aside.push(l, q)
	}
	for i, part := range parts {
		t := part[0].table
		l.a.finish(t, works[i], func(c *applyCounts) {
			t.vain = 0
			c.Rows += int64(len(part))
			c.Expired += expired[i]
		})
	}
}

// takeOff takes works that the target has off their queues, and returns the
// queues whose letters are to be told first.
func (l *lane) takeOff(parts [][]entry, works [][]work, expired []int64) (tells []*queue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, part := range parts {
		for _, e := range part {
			expired[i] += e.expired
			if e.works[0].retry != nil || l.a.cfg.Dead.has(e.table.name, e.key) {
				e.applied = e.n
				tells = append(tells, e.queue)
				continue
			}
			works[i] = append(works[i], l.doneLocked(e.queue, e.n)...)
		}
	}
	return tells
}

// again lets a row wait before it is sent once more.
func (l *lane) again(e entry, err error) {
	if r := e.works[0].retry; r != nil {
		l.refuse(&e, fmt.Errorf("not written now: %w", err))
		return
	}
	l.a.trouble(e.queue, err)
	l.a.count(e.table, func(c *applyCounts) {
		c.Again++
		if ots.ClassOf(err) == ots.ClassRetry && !unanswered(err) {
			c.Throttled++
		}
	})
	l.back(e.queue, time.Now().Add(l.a.cfg.wait(e.tries)))
}

// lost notes that a change may be carried out late.
func (l *lane) lost(e entry) {
	e.hold = time.Now().Add(l.a.cfg.Settle)
	e.sent = e.n
	l.a.lost(e.table, e.hold)
}

// invalidKey is the code of a key that does not fit to the table: what the
// source has can then never be written there, no row of it.
const invalidKey = "OTSInvalidPK"

// refused deals with a row that the target does not take.
func (l *lane) refused(e entry, err error) {
	t := l.a.cfg.Table(e.table.name)
	clock, known := l.a.now()
	refusal, _ := errors.AsType[*ots.Error](err)
	switch {
	case e.works[0].retry != nil:
		l.refuse(&e, fmt.Errorf("refused again: %w", err))
	case refusal != nil && refusal.Code == invalidKey:
		l.stop(e, fmt.Errorf("its key at the target is another: %w", err))
	case e.n > 1:
		e.single, e.sent = e.n, 0 // which of them it was
		l.back(e.queue, time.Time{})
	case !e.lenient && t.TTL > 0 && known && l.expires(e, lateCutoff(t, clock, known)):
		e.lenient = true
		l.back(e.queue, time.Time{})
	default:
		fault := explain(err, e.works[0].rec, t, clock)
		if l.vain(e) >= enoughRefused {
			l.stop(e, fmt.Errorf("%w: %w (%s)", errAllRefused, err, fault.hint))
			return
		}
		e.cause = fault
		l.a.aside.push(l, e.queue)
	}
}

// expires says whether a record has versions that are over by that second.
func (l *lane) expires(e entry, cutoff int64) bool {
	_, expired, _, err := change(e.table.name, e.works[0].rec, cutoff)
	return err == nil && expired > e.expired
}

// vain is how many rows of a table were refused since the last that was not.
func (l *lane) vain(e entry) (n int) {
	l.a.count(e.table, func(*applyCounts) {
		e.table.vain++
		n = e.table.vain
	})
	return n
}

// stop ends the table of a row.
func (l *lane) stop(e entry, err error) {
	l.a.stop(e.table, e.works[0].life, err)
	l.back(e.queue, time.Time{})
}

// unanswered says whether a call may have been carried out, or still may be,
// although it failed.
func unanswered(err error) bool {
	if ots.ClassOf(err) != ots.ClassRetry {
		return false
	}
	e, ok := errors.AsType[*ots.Error](err)
	if !ok {
		return true
	}
	switch e.Code {
	case "OTSServerBusy", "OTSStorageServerBusy", "OTSPartitionUnavailable", "OTSTableNotReady", "OTSRowOperationConflict",
		"OTSNotEnoughCapacityUnit", "OTSCapacityUnitExhausted", "OTSFlowControl", "OTSQuotaExhausted",
		"OTSTooFrequentReservedThroughputAdjustment", "OTSAuthFailed", "OTSNoPermissionAccess":
		return false // it was turned away
	}
	return true
}
