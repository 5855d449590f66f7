package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"pointsman/replication/ots"
)

// applyConfig is what an applier is made of. Zero numbers and durations stand
// for the usual ones, which are said here.
type applyConfig struct {
	Client *ots.Client // of the target
	Lanes  int         // 16; each has one batch in flight
	// May says before each batch whether this process may still write. The first
	// refusal ends the applier.
	May  func() error
	Dead *deadLetters
	// Table is what the target says of a table. A table that it does not know
	// yet is the zero Table.
	Table func(name string) ots.Table
	// Fault is told, once, that a table was stopped: nothing of it is applied
	// until Drop. It must not call the applier.
	Fault func(table string, err error)

	Records int // in hand: 50,000. Submit waits while there are more
	Bytes   int // in hand: 64 MB
	// Settle is how long a request may still be carried out whose answer was
	// lost: 10 s. Later changes of its rows wait that long.
	Settle      time.Duration
	Least, Most time.Duration // between two tries of a row: 50 ms to 5 s
	Log         *slog.Logger
}

func (c applyConfig) complete() applyConfig {
	c.Lanes = cmp.Or(c.Lanes, 16)
	c.Records = cmp.Or(c.Records, 50_000)
	c.Bytes = cmp.Or(c.Bytes, 64<<20)
	c.Settle = cmp.Or(c.Settle, ots.DefaultTimeout)
	c.Least = cmp.Or(c.Least, 50*time.Millisecond)
	c.Most = cmp.Or(c.Most, 5*time.Second)
	if c.Fault == nil {
		c.Fault = func(string, error) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// errStopped: the applier takes and sends nothing any more.
var errStopped = errors.New("applying was stopped")

// errDropped: what was queued of a table was given up.
var errDropped = errors.New("what was queued of the table was dropped")

// applier writes records to the target, in order per primary key and side by
// side across keys.
//
// A record belongs to the lane that the hash of its table and key names. A lane
// has one batch in flight, and a batch one change of a row: consecutive records
// of a row are folded where that is exact, else the later ones wait for the next
// batch. A row that failed waits, with all that comes later of it; the others
// go on. A row that the target can never take is kept aside.
//
// A request whose answer was lost may be carried out late, even after it was
// sent once more. It would undo what came after it, so that later records of its
// rows wait until it can no longer happen.
type applier struct {
	cfg   applyConfig
	seed  maphash.Seed
	lanes []*lane
	aside *aside

	mu     sync.Mutex
	hand   hand
	tables map[string]*applyTable
	freed  chan struct{} // closed and made anew when there is less in hand
	why    error         // set when ended is closed
	ended  chan struct{} // nothing is taken or sent any more
	flying int           // calls that change something
	late   time.Time     // until when a request may still be carried out
}

func newApplier(cfg applyConfig) *applier {
	cfg = cfg.complete()
	a := &applier{
		cfg: cfg, seed: maphash.MakeSeed(), tables: map[string]*applyTable{},
		freed: make(chan struct{}), ended: make(chan struct{}),
	}
	for range cfg.Lanes {
		a.lanes = append(a.lanes, newLane(a))
	}
	a.aside = newAside(a)
	return a
}

// Submit queues records of one shard, in their order. done is called, once, when
// each of them is acknowledged by the target, or kept aside, or means nothing any
// more; never if the applier ends or the table is stopped before. Submit waits
// while too much is in hand, so that done must not call it. Records must not be
// changed after it.
func (a *applier) Submit(ctx context.Context, table string, recs []ots.Record, from origin, done func()) error {
	if len(recs) == 0 {
		done()
		return nil
	}
	u := &unit{done: done}
	u.left.Store(int64(len(recs)))
	for len(recs) > 0 {
		sizes := make([]int, 0, min(len(recs), chunkRecords))
		bytes := 0
		for len(sizes) < cap(sizes) && bytes < chunkBytes {
			r := &recs[len(sizes)]
			n := ots.Mutation{Table: table, Action: r.Action, Key: r.Key, Cells: r.Cells}.Size()
			sizes, bytes = append(sizes, n), bytes+n
		}
		t, life, err := a.admit(ctx, table, len(sizes), bytes)
		if err != nil {
			return err
		}
		for i, n := range sizes {
			a.push(t, work{rec: &recs[i], size: n, unit: u, from: from, life: life})
		}
		recs = recs[len(sizes):]
	}
	return nil
}

// What Submit takes in hand at a time.
const (
	chunkRecords = ots.MaxRows
	chunkBytes   = 1 << 20
)

func (a *applier) push(t *applyTable, w work) {
	key := string(w.rec.Key.Encode())
	l := a.lanes[maphash.Comparable(a.seed, rowID{t.name, key})%uint64(len(a.lanes))]
	l.push(t, key, w)
}

// rowID is a row of a table.
type rowID struct{ table, key string }

// Run applies until ctx ends, Stop, or May refuses; then it returns why. It
// returns when nothing that it started runs any more.
func (a *applier) Run(ctx context.Context) error {
	g := bareTeam() // the first fault lets the others end what they have in flight
	part := func(do func(context.Context) error) {
		g.Go(func() error {
			err := safely(func() error { return do(ctx) })
			if _, fault := errors.AsType[*faultError](err); fault {
				a.end(err) // it could not say so itself
			}
			return err
		})
	}
	for _, l := range a.lanes {
		part(l.run)
	}
	for range asideCalls {
		part(a.aside.run)
	}
	err := g.Wait()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	a.end(err)
	a.giveUp()
	a.mu.Lock()
	defer a.mu.Unlock()
	if errors.Is(a.why, errStopped) {
		return nil
	}
	return a.why
}

// end lets nothing more be taken or sent.
func (a *applier) end(why error) {
	if why == nil {
		why = errStopped
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.why == nil {
		a.why = why
		close(a.ended)
	}
}

// giveUp answers those who wait for a row of their own.
func (a *applier) giveUp() {
	for _, l := range a.lanes {
		l.giveUp()
	}
}

// Stop ends the applier: no call is begun after it returns. It waits until none
// is under way, and none whose answer was lost can be carried out any more. If
// ctx ends first it says how many there are.
func (a *applier) Stop(ctx context.Context) error {
	a.end(errStopped)
	for {
		a.mu.Lock()
		flying, late, freed := a.flying, time.Until(a.late), a.freed
		a.mu.Unlock()
		if flying == 0 && late <= 0 {
			return nil
		}
		if flying > 0 {
			late = time.Hour // their end is told by freed
		}
		timer := time.NewTimer(late)
		select {
		case <-freed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			if a.still() {
				return nil // both came at once
			}
			if flying == 0 {
				return fmt.Errorf("requests without an answer may still be carried out for %s: %w", late.Round(time.Millisecond), context.Cause(ctx))
			}
			return fmt.Errorf("%d requests are still under way: %w", flying, context.Cause(ctx))
		}
		timer.Stop()
	}
}

// still says whether no call is under way, or can be carried out late.
func (a *applier) still() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.flying == 0 && !time.Now().Before(a.late)
}

// begin is asked before each call that changes something; ok to go on. The end
// of the call is told to landed.
func (a *applier) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.why != nil {
		return false
	}
	a.flying++
	return true
}

func (a *applier) landed() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flying--
	a.tellLocked()
}

// may asks whether writing is allowed. The first no ends the applier.
func (a *applier) may() error {
	if a.cfg.May == nil {
		return nil
	}
	err := a.cfg.May()
	if err != nil {
		a.end(err)
	}
	return err
}

// wait is the pause before a row is tried again, jitter included.
func (c *applyConfig) wait(tries int) time.Duration {
	d := c.Most
	if shift := max(tries-1, 0); shift < 20 {
		d = min(c.Least<<shift, c.Most)
	}
	return d/2 + jitter(d/2)
}
