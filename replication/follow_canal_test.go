package replication

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/replication/ots"
)

var (
	canals    = flag.Int("canals", 150, "how many lives of a stream TestFollowerAndTrackOfACanal tries")
	canalSeed = flag.Uint64("canal-seed", 0, "the first of their seeds; 0 draws one")
)

// canal is a service with one stream on the clock of a bubble, so that thousands
// of its lives fit where a real server has a few. It is late with records and
// with children of shards, each by as much as it likes up to canalVisibility; its
// answers take their time, and get lost; its clock is not ours.
type canal struct {
	mu     sync.Mutex
	rng    *rand.Rand
	pages  int // records of one
	parts  []*reach
	all    map[string]*reach
	born   int
	ahead  time.Duration // its clock, within the bounds that it tells
	bounds [2]time.Duration
	last   int64 // time of the last record
	index  int32
	faults bool
}

// reach is a shard.
type reach struct {
	id      string
	from    int64 // the first key
	parents []string
	told    time.Time // when it is listed
	closed  bool
	first   int // that is kept
	records []ots.Record
	shown   []time.Time // when each can be read
}

const (
	canalVisibility = 10 * time.Millisecond
	canalKeys       = 8
)

func newCanal(rng *rand.Rand) *canal {
	c := &canal{rng: rng, pages: 1 + rng.IntN(3), all: map[string]*reach{}, faults: rng.IntN(2) == 0}
	c.bounds = [2]time.Duration{-time.Duration(rng.IntN(20)) * time.Millisecond, time.Duration(rng.IntN(20)) * time.Millisecond}
	c.parts = []*reach{c.bear(0)}
	c.parts[0].told = time.Now()
	return c
}

// some is up to a duration. mu is held.
func (c *canal) some(most time.Duration) time.Duration {
	if most <= 0 || c.rng.IntN(3) == 0 {
		return 0
	}
	return time.Duration(c.rng.Int64N(int64(most) + 1))
}

func (c *canal) bear(from int64, parents ...string) *reach {
	c.born++
	r := &reach{id: strconv.Itoa(c.born), from: from, parents: parents, told: time.Now().Add(c.some(canalVisibility))}
	for _, id := range parents { // no child is told of before its parents
		if p := c.all[id]; p != nil {
			r.told = maxTime(r.told, p.told)
		}
	}
	c.all[r.id] = r
	return r
}

// leg is the way of a request or an answer; some get lost.
func (c *canal) leg(ctx context.Context) error {
	c.mu.Lock()
	d, lost := c.some(4*time.Millisecond), c.faults && c.rng.IntN(40) == 0
	c.mu.Unlock()
	if !rest(ctx, d, nil) {
		return ctx.Err()
	}
	if lost {
		return ots.ErrLine
	}
	return nil
}

// ask makes a call.
func (c *canal) ask(ctx context.Context, do func() error) error {
	if err := c.leg(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	err := do()
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return c.leg(ctx)
}

func (c *canal) Streams(ctx context.Context, _ string) ([]ots.Stream, error) {
	return []ots.Stream{{ID: "s"}}, c.ask(ctx, func() error { return nil })
}

func (c *canal) Shards(ctx context.Context, _ string) (ots.Stream, []ots.Shard, error) {
	var out []ots.Shard
	err := c.ask(ctx, func() error {
		for _, r := range c.all {
			if !r.told.After(time.Now()) {
				out = append(out, ots.Shard{ID: r.id, Parents: r.parents})
			}
		}
		return nil
	})
	return ots.Stream{ID: "s"}, out, err
}

func (c *canal) Iterator(ctx context.Context, _, shard string, from time.Time) (it string, err error) {
	err = c.ask(ctx, func() error {
		r := c.all[shard]
		if r == nil {
			return &ots.Error{Code: "OTSObjectNotExist"}
		}
		n := r.first
		for !from.IsZero() && n < len(r.records)+r.first && r.records[n-r.first].Seq.Time < from.UnixMicro() {
			n++
		}
		it = fmt.Sprint(shard, "/", n)
		return nil
	})
	return it, err
}

func (c *canal) Records(ctx context.Context, iterator string, limit int) (p ots.Page, err error) {
	shard, number, _ := strings.Cut(iterator, "/")
	at, err := strconv.Atoi(number)
	if err != nil {
		return p, err
	}
	p.Sent, p.Next, p.Read = time.Now(), iterator, 1
	err = c.ask(ctx, func() error {
		r := c.all[shard]
		if r == nil || at < r.first {
			return &ots.Error{Code: "OTSTrimmedDataAccess"}
		}
		records, shown := r.records[at-r.first:], r.shown[at-r.first:]
		for len(p.Records) < min(len(records), c.pages, limit) && !shown[len(p.Records)].After(time.Now()) {
			p.Records = append(p.Records, records[len(p.Records)])
		}
		if n := len(p.Records); n > 0 {
			p.Next = fmt.Sprint(shard, "/", at+n)
		}
		if r.closed && len(p.Records) == len(records) {
			p.Next = ""
		}
		return nil
	})
	p.Received = time.Now()
	return p, err
}

func (c *canal) Offset() (low, high time.Duration, known bool) { return c.bounds[0], c.bounds[1], true }

// put takes a write of a key; what is written can be read in its order.
func (c *canal) put(key, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	r := c.parts[c.part(key)]
	if at := now.Add(c.ahead).UnixMicro(); at > c.last { // never back, and all of one moment have their order
		c.last = at
	}
	c.index++
	r.records = append(r.records, ots.Record{
		Action: ots.PutRow, Key: keyOf(key), Cells: []ots.Cell{{Name: "n", Value: n, Version: 1}}, Seq: ots.Sequence{Time: c.last, Index: c.index},
	})
	shown := now.Add(c.some(canalVisibility))
	if k := len(r.shown); k > 0 {
		shown = maxTime(shown, r.shown[k-1])
	}
	r.shown = append(r.shown, shown)
}

func (c *canal) part(key int64) int {
	i := len(c.parts) - 1
	for c.parts[i].from > key {
		i--
	}
	return i
}

// reform splits or merges, or sets the clock.
func (c *canal) reform() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch i := c.rng.IntN(len(c.parts)); c.rng.IntN(3) {
	case 0:
		key := c.rng.Int64N(canalKeys)
		i = c.part(key)
		if c.parts[i].from == key {
			return
		}
		p := c.parts[i]
		p.closed = true
		c.parts = slices.Replace(c.parts, i, i+1, c.bear(p.from, p.id), c.bear(key, p.id))
	case 1:
		if i+1 == len(c.parts) {
			return
		}
		p, q := c.parts[i], c.parts[i+1]
		p.closed, q.closed = true, true
		c.parts = slices.Replace(c.parts, i, i+2, c.bear(p.from, p.id, q.id))
	default:
		c.ahead = c.bounds[0] + time.Duration(c.rng.Int64N(int64(c.bounds[1]-c.bounds[0])+1))
	}
}

// trim forgets all that there is.
func (c *canal) trim() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, r := range c.all {
		if r.closed {
			delete(c.all, id)
		}
		r.first += len(r.records)
		r.records, r.shown = nil, nil
	}
}

// barge is what a ferry is on a real server: a follower, its track, and an
// applier that acknowledges pages in any order that keeps that of each key.
type barge struct {
	*canal
	mu      sync.Mutex
	rng     *rand.Rand
	track   *track
	pending []*parcel
	want    map[int64][]int64
	acked   map[int64]time.Time
	have    map[int64]int
	last    map[int64]int
	saved   [][]position
	n       int64 // writes
	risk    bool  // records may have been lost, so a gap may be told
	wrong   error
}

func (b *barge) fault(format string, args ...any) {
	if b.wrong == nil {
		b.wrong = fmt.Errorf(format+"%s", append(args, b.track.words())...)
	}
}

func (b *barge) deliver(ctx context.Context, d delivery) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p := &parcel{d.Records, b.track.begin(d.After, d.Children, len(d.Records), d.Read, d.At)}
	if len(d.Records) == 0 {
		p.done()
	} else {
		b.pending = append(b.pending, p)
	}
	b.truth()
	return nil
}

// land acknowledges a page of those that may be.
func (b *barge) land() {
	b.mu.Lock()
	defer b.mu.Unlock()
	var free []int
	for i, p := range b.pending {
		if !slices.ContainsFunc(p.records, func(r ots.Record) bool {
			return slices.ContainsFunc(b.pending[:i], func(o *parcel) bool { return o.has(r.Key[0].Value.(int64)) })
		}) {
			free = append(free, i)
		}
	}
	if len(free) == 0 {
		return
	}
	i := free[b.rng.IntN(len(free))]
	p := b.pending[i]
	b.pending = slices.Delete(b.pending, i, i+1)
	for _, r := range p.records {
		key, n := r.Key[0].Value.(int64), r.Cells[0].Value.(int64)
		at := slices.Index(b.want[key], n)
		if last, again := b.last[key]; at > b.have[key] || again && at != last+1 {
			b.fault("key %d: write %d is applied after %d of them, in this life after the one at %d", key, at, b.have[key], last)
		}
		b.last[key] = at
		b.have[key] = max(b.have[key], at+1)
	}
	p.done()
	b.truth()
}

// truth compares what the track says with what is applied. mu is held.
func (b *barge) truth() {
	m := b.track.mark(time.Now())
	for k, want := range b.want {
		for _, n := range want[b.have[k]:] {
			if at, acked := b.acked[n]; acked && at.Before(m.upto) {
				b.fault("key %d: write %d was acknowledged %v before the moment that is said to be reached", k, n, m.upto.Sub(at))
			}
		}
	}
}

// live is one life, from positions that were saved, until ctx ends or there is a
// gap.
func (b *barge) live(ctx context.Context, rng *rand.Rand, at []position) error {
	b.mu.Lock()
	b.track, b.pending, b.last = newTrack(at), nil, map[int64]int{}
	b.mu.Unlock()
	f := newFollower(followConfig{
		Client: b.canal, Table: "t", Start: at, Deliver: b.deliver, Visibility: canalVisibility,
		Busy: time.Millisecond, Idle: 8 * time.Millisecond, Check: time.Duration(1+rng.IntN(20)) * time.Millisecond, Parallel: 1 + rng.IntN(4),
	})
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	slow := 1 + rng.IntN(30)
	wg.Go(func() {
		for rest(ctx, time.Duration(1+rng.IntN(slow))*time.Millisecond, nil) {
			b.land()
			if rng.IntN(3) == 0 {
				b.save()
			}
		}
	})
	err := f.Run(ctx)
	cancel()
	wg.Wait()
	return err
}

// save notes the positions, as a crash after it would find them.
func (b *barge) save() {
	b.mu.Lock()
	defer b.mu.Unlock()
	all, _ := b.track.positions(time.Time{}, true)
	b.saved = append(b.saved, all)
}

// write has clients write, each its own keys, until ctx ends; it returns when they
// have their answers.
func (b *barge) write(ctx context.Context, rng *rand.Rand) {
	var wg sync.WaitGroup
	for w := range int64(2) {
		rng := rand.New(rand.NewPCG(rng.Uint64(), 0))
		wg.Go(func() {
			for rest(ctx, time.Duration(rng.Int64N(int64(6*time.Millisecond))), nil) {
				key := 2*rng.Int64N(canalKeys/2) + w
				b.mu.Lock()
				b.n++
				n := b.n
				b.want[key] = append(b.want[key], n)
				b.mu.Unlock()
				b.put(key, n)
				time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond)
				b.mu.Lock()
				b.acked[n] = time.Now()
				b.mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// begin takes the table for copied while nobody writes, and follows it from its
// end.
func (b *barge) begin(t *testing.T) {
	at, _, err := ends(t.Context(), b.canal, "t", canalVisibility)
	for errors.Is(err, errChildless) || ots.ClassOf(err) == ots.ClassRetry {
		at, _, err = ends(t.Context(), b.canal, "t", canalVisibility)
	}
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range b.want {
		b.have[k] = len(want)
	}
	b.risk, b.saved = false, [][]position{at}
}

// voyage is one life of a canal.
func voyage(t *testing.T, seed uint64) (gaps int) {
	rng := rand.New(rand.NewPCG(seed, 0))
	b := &barge{
		canal: newCanal(rand.New(rand.NewPCG(seed, 1))), rng: rand.New(rand.NewPCG(seed, 2)),
		want: map[int64][]int64{}, acked: map[int64]time.Time{}, have: map[int64]int{},
	}
	b.begin(t)
	for range 6 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(10+rng.IntN(150))*time.Millisecond)
		var wg sync.WaitGroup
		for _, do := range []func(*rand.Rand){
			func(rng *rand.Rand) { b.write(ctx, rng) },
			func(rng *rand.Rand) {
				for rest(ctx, time.Duration(1+rng.IntN(20))*time.Millisecond, nil) {
					if rng.IntN(60) == 0 {
						b.mu.Lock()
						b.risk = true
						b.mu.Unlock()
						b.trim()
					}
					b.reform()
				}
			},
		} {
			rng := rand.New(rand.NewPCG(rng.Uint64(), 0))
			wg.Go(func() { do(rng) })
		}
		err := b.live(ctx, rand.New(rand.NewPCG(rng.Uint64(), 0)), b.saved[max(0, len(b.saved)-1-rng.IntN(3))])
		wg.Wait()
		cancel()
		gaps += b.ended(t, seed, err)
	}
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var wg sync.WaitGroup
		wg.Go(func() {
			for rest(ctx, 5*time.Millisecond, nil) {
				if b.done() {
					cancel()
				}
			}
		})
		err := b.live(ctx, rand.New(rand.NewPCG(rng.Uint64(), 0)), b.saved[len(b.saved)-1])
		late := errors.Is(ctx.Err(), context.DeadlineExceeded)
		cancel()
		wg.Wait()
		if late {
			t.Fatalf("seed %d: it never came to its end: %s", seed, b.track.words())
		}
		n := b.ended(t, seed, err)
		if gaps += n; n == 0 {
			return gaps
		}
	}
}

// ended judges the end of a life. It says whether a gap was told.
func (b *barge) ended(t *testing.T, seed uint64, err error) int {
	t.Helper()
	_, gap := errors.AsType[*GapError](err)
	switch {
	case b.wrong != nil:
		t.Fatalf("seed %d: %v", seed, b.wrong)
	case gap && b.risk:
		b.begin(t)
		return 1
	case gap || !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
		t.Fatalf("seed %d: the follower ended: %v", seed, err)
	}
	return 0
}

// done says whether all that was written is applied, and is said to be.
func (b *barge) done() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.track.mark(time.Now())
	for k, want := range b.want {
		if b.have[k] < len(want) || len(want) > 0 && !b.acked[want[len(want)-1]].Before(m.upto) {
			return false
		}
	}
	return true
}

func TestFollowerAndTrackOfACanal(t *testing.T) {
	seed := *canalSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	gaps := 0
	for n := range uint64(*canals) {
		synctest.Test(t, func(t *testing.T) { gaps += voyage(t, seed+n) })
	}
	t.Logf("from seed %d on: %d gaps were told", seed, gaps)
}
