package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"pointsman/replication/ots"
)

// streams is what a follower asks the service; an *ots.Client is one.
type streams interface {
	Streams(ctx context.Context, table string) ([]ots.Stream, error)
	Shards(ctx context.Context, stream string) (ots.Stream, []ots.Shard, error)
	Iterator(ctx context.Context, stream, shard string, from time.Time) (string, error)
	Records(ctx context.Context, iterator string, limit int) (ots.Page, error)
	Offset() (low, high time.Duration, known bool)
}

// delivery is one page of one shard.
type delivery struct {
	Table   string
	Records []ots.Record // none if the shard had nothing new
	After   position     // the shard's once the records are applied
	// Children take the place of After's shard, and of their other parents, when
	// After is done. There are none yet while the other parent of a merge is
	// still being read; the done position is to be kept until then.
	Children []position
	At       time.Time // when the page was received
	Sent     time.Time // and asked for
	// Empty: an open shard had nothing that was written a visibility allowance
	// before Sent.
	Empty bool
	Read  int64 // capacity units
}

// followConfig is one table and where to begin.
type followConfig struct {
	Client streams
	Table  string
	// Start is one position of every shard that is to be read, and of those
	// that were and whose children are not among them yet. Others that are done
	// do no harm.
	Start []position
	// Deliver takes a page. Those of one shard come in order, one at a time, and
	// the first of a child when the last of each of its parents was taken. While
	// it blocks, the shard is not read any further. Its error ends Run.
	Deliver func(context.Context, delivery) error

	// Visibility is how long the service may take until a write that it has
	// acknowledged can be read.
	Visibility time.Duration
	Busy, Idle time.Duration // between reads: 100 ms after records, growing to 2 s after none
	Limit      int           // of records per read; 1000 if 0
	Parallel   int           // pages that are asked for or in hand at a time; 16 if 0
	Check      time.Duration // between two looks at what shards there are: 1 min
	Log        *slog.Logger
}

const (
	defaultLimit    = 1000 // more is not given per read
	defaultParallel = 16
	defaultCheck    = time.Minute
)

// GapError says that records of a table's stream may be lost: they were
// trimmed, or the stream is another one, or a shard went away unread. Only a new
// copy of the table shows what is missing.
type GapError struct{ Table, Why string }

func (e *GapError) Error() string {
	return fmt.Sprintf("stream of table %s: %s (what it had told is unknown until the table is copied anew)", e.Table, e.Why)
}

// follower reads the stream of one table.
type follower struct {
	cfg   followConfig
	slots place

	// ending is held while a shard ends, or the shards are looked at: the set of
	// shards changes under it alone. It is held over calls, so that it is a place
	// that can be waited for with a context.
	ending place

	mu       sync.Mutex
	frontier map[string]position // by shard; waiting, read, and done
	listed   listing             // the newest
	running  map[string]bool
	nudged   chan struct{} // closed by the next Nudge
	troubles map[string]trouble
	unlisted bool // the stream, by the last word: it may be switched off, though it still answers
}

// place has room for as many as it was made for.
type place chan struct{}

func (p place) take(ctx context.Context) error {
	select {
	case p <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p place) leave() { <-p }

// trouble is what fails, again and again.
type trouble struct {
	since time.Time
	err   error
}

func newFollower(cfg followConfig) *follower {
	cfg.Limit = cmp.Or(cfg.Limit, defaultLimit)
	cfg.Parallel = cmp.Or(cfg.Parallel, defaultParallel)
	cfg.Check = cmp.Or(cfg.Check, defaultCheck)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	f := &follower{
		cfg: cfg, slots: make(place, cfg.Parallel), ending: make(place, 1),
		frontier: make(map[string]position, len(cfg.Start)), running: map[string]bool{},
		nudged: make(chan struct{}), troubles: map[string]trouble{},
	}
	for _, p := range cfg.Start {
		f.frontier[p.Shard] = p
	}
	return f
}

// Run reads until ctx ends, there is a gap, Deliver fails, or the service
// refuses what was asked in a way that will not pass. Other faults are tried
// again and again, and told by Trouble. It may be called once.
func (f *follower) Run(ctx context.Context) error {
	g, ctx := newTeam(ctx)
	g.Go(func() error { return f.watch(ctx, g) })
	return g.Wait()
}

// watch looks at the shards, starts what can be read, and looks again from time
// to time: a stream that is another one must not go unnoticed because its old
// iterators still answer.
func (f *follower) watch(ctx context.Context, g *team) error {
	for {
		if err := f.look(ctx, g); err != nil {
			return err
		}
		if !rest(ctx, jittered(f.cfg.Check), nil) {
			return ctx.Err()
		}
	}
}

// look compares the shards that there are with those that are followed, and
// starts what can be read.
func (f *follower) look(ctx context.Context, g *team) error {
	if err := f.ending.take(ctx); err != nil {
		return err
	}
	defer f.ending.leave()
	var l listing
	err := f.insist(ctx, "", func() (err error) { l, err = f.list(ctx); return err })
	if err == nil {
		l, err = f.check(ctx, l)
	}
	if err != nil {
		return err
	}
	for _, p := range f.unfinished(l) {
		kids, err := f.children(ctx, l, p)
		if err != nil {
			return err
		}
		now := time.Now()
		if err := f.handOver(ctx, g, delivery{Table: f.cfg.Table, After: p, Children: kids, At: now, Sent: now}); err != nil {
			return err
		}
	}
	f.forget(l)
	if f.start(ctx, g) == 0 {
		f.fails("", errors.New("all shards have ended, and none is told to come after them"))
	}
	return nil
}

// start begins to read the shards whose parents have been read, and returns how
// many are being read. ending is held.
func (f *follower) start(ctx context.Context, g *team) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, p := range f.frontier {
		if p.Done || f.running[id] || !f.read(p.Parents) {
			continue
		}
		f.running[id] = true
		g.Go(func() error { return f.follow(ctx, g, p) })
	}
	return len(f.running)
}

// handOver delivers, and takes the positions over.
func (f *follower) handOver(ctx context.Context, g *team, d delivery) error {
	if err := f.cfg.Deliver(ctx, d); err != nil {
		return fmt.Errorf("shard %s: deliver: %w", d.After.Shard, err)
	}
	f.takeOver(d)
	if d.After.Done {
		f.start(ctx, g)
	}
	return nil
}

func (f *follower) takeOver(d delivery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frontier[d.After.Shard] = d.After
	for _, c := range d.Children {
		if _, ours := f.frontier[c.Shard]; !ours {
			f.frontier[c.Shard] = c
		}
	}
	if d.After.Done {
		delete(f.running, d.After.Shard)
	}
}

// Nudge lets every shard be read now: each sends a read after this call.
func (f *follower) Nudge() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.nudged)
	f.nudged = make(chan struct{})
}

func (f *follower) doubt(unlisted bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unlisted = unlisted
}

func (f *follower) doubted() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unlisted
}

func (f *follower) nudge() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nudged
}

// Trouble is the fault that lasts longest, and since when; nil if all goes well.
func (f *follower) Trouble() (since time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.troubles {
		if err == nil || t.since.Before(since) {
			since, err = t.since, t.err
		}
	}
	return since, err
}

// fails notes a fault of a shard, or of the stream where it is empty.
func (f *follower) fails(shard string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, known := f.troubles[shard]
	if !known {
		t.since = time.Now()
		f.cfg.Log.Warn("the stream is not read", "table", f.cfg.Table, "shard", shard, "error", err)
	}
	t.err = err
	f.troubles[shard] = t
}

// works notes that a fault is over.
func (f *follower) works(shard string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t, known := f.troubles[shard]; known {
		delete(f.troubles, shard)
		f.cfg.Log.Info("the stream is read again", "table", f.cfg.Table, "shard", shard, "after", time.Since(t.since))
	}
}

// insist does something until it goes well, or fails in a way that lasts.
func (f *follower) insist(ctx context.Context, shard string, do func() error) error {
	p := newPace(f.cfg.Busy, f.cfg.Idle)
	for failures := 1; ; failures++ {
		nudged := f.nudge()
		err := do()
		switch {
		case err == nil:
			f.works(shard)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case lasting(err):
			return err
		}
		f.fails(shard, err)
		if !rest(ctx, jittered(p.backoff(failures)), nudged) {
			return ctx.Err()
		}
	}
}

// lasting says that trying again is no use.
func lasting(err error) bool {
	if _, gap := errors.AsType[*GapError](err); gap {
		return true
	}
	return ots.ClassOf(err) == ots.ClassRow // the service cannot read what we sent
}
