package tablestore

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// copier carries the rows of one member of a global table to another. It copies
// what a row is, not how it became so: of two rows the one with the newest
// version of a cell wins, whole, and of two that are equally new the one with
// the greater bytes, so that both sides come to the same. A row that is gone
// takes one away that is not newer. That is the last writer's row of
// SYNC_MODE_ROW; SYNC_MODE_COLUMN is approximated by the same.
//
// What a process had not copied when it died is copied when it comes back, but
// for rows that were deleted meanwhile. Copied rows are in no stream.
type copier struct {
	from, to *table
	lag      func() time.Duration
	wake     chan struct{} // holds at most one token: there is something to do
	stop     chan struct{}
	stopped  chan struct{}

	mu    sync.Mutex
	queue []string // codes of keys, the one that has waited longest first
	dirty map[string]dirt
	full  int // how many of the queue are of the full copy; -1 until it is known
}

// dirt is why a row is to be copied.
type dirt struct {
	since time.Time // of the first change that was not copied
	last  int64     // the moment of the last one, ms of the server's clock
}

// copyBatch is how many rows are copied at once.
const copyBatch = 200

func startCopier(from, to *table, all bool, lag func() time.Duration) *copier {
	k := &copier{from: from, to: to, lag: lag, wake: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}), dirty: map[string]dirt{}}
	if all {
		k.full = -1
	}
	from.mu.Lock()
	from.copiers = append(slices.Clone(from.copiers), k)
	from.mu.Unlock()
	go func() {
		defer close(k.stopped)
		k.run(all)
	}()
	return k
}

func (k *copier) end() {
	k.from.mu.Lock()
	k.from.copiers = slices.DeleteFunc(slices.Clone(k.from.copiers), func(o *copier) bool { return o == k })
	k.from.mu.Unlock()
	close(k.stop)
	<-k.stopped
}

// mark says that a row changed. The caller holds the lock of the table that it
// is in.
func (k *copier) mark(code string, at int64) {
	k.mu.Lock()
	d, there := k.dirty[code]
	if !there {
		d.since = time.Now()
		k.queue = append(k.queue, code)
	}
	d.last = at / 1000
	k.dirty[code] = d
	k.mu.Unlock()
	k.nudge()
}

// nudge lets it look whether there is something to do.
func (k *copier) nudge() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// copies marks what a writer has committed.
func (w *writer) copies() {
	for _, k := range w.t.copiers {
		for i := range w.changes {
			k.mark(string(keyCode(w.changes[i].row.Key)), w.at)
		}
	}
}

// behind is how old the oldest change is that was not copied.
func (k *copier) behind(now time.Time) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.queue) == 0 {
		return 0
	}
	return max(0, now.Sub(k.dirty[k.queue[0]].since))
}

// filling says whether the full copy is still going on.
func (k *copier) filling() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.full != 0
}

func (k *copier) run(all bool) {
	if all {
		k.fill()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait := k.work()
		timer.Reset(wait)
		select {
		case <-k.stop:
			return
		case <-k.wake:
		case <-timer.C:
		}
	}
}

// fill marks every row that there is.
func (k *copier) fill() {
	prefix := rowPrefix(k.from.ID)
	it, err := k.from.in.store.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		panic(err) // the options are right, and the store is open
	}
	defer it.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	for it.First(); it.Valid(); it.Next() {
		code := string(it.Key()[len(prefix):])
		if _, there := k.dirty[code]; !there {
			k.dirty[code] = dirt{since: now}
			k.queue = append(k.queue, code)
		}
	}
	k.full = len(k.queue)
}

// work copies what is due, and says how long nothing will be.
func (k *copier) work() time.Duration {
	for {
		lag := k.lag()
		k.mu.Lock()
		n := 0
		type item struct {
			code string
			dirt
		}
		var due []item
		for n < len(k.queue) && n < copyBatch {
			d := k.dirty[k.queue[n]]
			if time.Since(d.since) < lag {
				break
			}
			due = append(due, item{k.queue[n], d})
			n++
		}
		// From here on a change marks its row again.
		for _, d := range due {
			delete(k.dirty, d.code)
		}
		k.queue = k.queue[n:]
		wait := time.Minute
		if n == 0 {
			if len(k.queue) > 0 {
				wait = min(wait, max(0, lag-time.Since(k.dirty[k.queue[0]].since)))
			}
			k.mu.Unlock()
			return wait
		}
		k.mu.Unlock()

		k.to.mu.Lock()
		b := k.to.in.store.db.NewBatch()
		var err error
		for _, d := range due {
			err = errors.Join(err, k.carry(b, d.code, d.last))
		}
		var durable func() error
		if err == nil && !k.to.dropped {
			durable, err = k.to.in.store.commit(b)
		} else {
			_ = b.Close()
		}
		k.to.mu.Unlock()
		if err == nil && durable != nil {
			err = durable()
		}
		if err != nil {
			panic(err) // the store is open and in order: a bug of ours
		}
		k.mu.Lock()
		k.full = max(0, k.full-n)
		k.mu.Unlock()
		select {
		case <-k.stop:
			return 0
		default:
		}
	}
}

// carry puts one row into a batch of the target, as it is now, unless the
// target's is newer. The caller holds the target's lock.
func (k *copier) carry(b *pebble.Batch, code string, last int64) error {
	from, err := rawRow(k.from, code)
	if err != nil {
		return err
	}
	to, err := rawRow(k.to, code)
	if err != nil {
		return err
	}
	newest := func(raw []byte) (int64, error) {
		r, err := decodeRow(raw, nil)
		at := int64(0)
		for _, c := range r {
			at = max(at, c.time)
		}
		return at, err
	}
	theirs, ours := last, int64(-1)
	if from != nil {
		if theirs, err = newest(from); err != nil {
			return err
		}
	}
	if to != nil {
		if ours, err = newest(to); err != nil {
			return err
		}
	}
	name := append(rowPrefix(k.to.ID), code...)
	switch {
	case theirs < ours:
		return nil
	case from == nil:
		return b.Delete(name, nil)
	case theirs > ours || bytes.Compare(from, to) > 0:
		return b.Set(name, from, nil)
	}
	return nil
}

// rawRow is a row as the store has it, nil if there is none.
func rawRow(t *table, code string) ([]byte, error) {
	v, done, err := t.in.store.db.Get(append(rowPrefix(t.ID), code...))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := append([]byte{}, v...)
	return out, done.Close()
}
