package replication

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pointsman/replication/ots"
)

// ferry is a follower and the track of what it read, with an applier in the
// hands of the test: it acknowledges pages in any order that keeps the writes of
// a key in theirs. It is killed, and goes back to positions that were saved at
// any time; rows that were applied stay. In each life every key must be applied
// from where it was, or before, without a hole, and nothing may be missing that
// the track says is there.
type ferry struct {
	t *rapid.T
	*river
	*written
	*run

	mu      sync.Mutex
	came    *sync.Cond
	track   *track
	pending []*parcel
	have    map[int64]int // writes of each key that are applied
	last    map[int64]int // the newest that was applied in this life
	over    bool          // the follower ended
	saved   [][]position
	risk    bool
}

// parcel is a page on its way.
type parcel struct {
	records []ots.Record
	done    func()
}

func (p *parcel) has(key int64) bool {
	return slices.ContainsFunc(p.records, func(r ots.Record) bool { return r.Key[0].Value.(int64) == key })
}

func (f *ferry) deliver(ctx context.Context, d delivery) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p := &parcel{d.Records, f.track.begin(d.After, d.Children, len(d.Records), d.Read, d.At)}
	if len(d.Records) == 0 {
		p.done()
	} else {
		f.pending = append(f.pending, p)
	}
	f.came.Broadcast()
	return f.truth()
}

// land acknowledges one page, the n-th of those that may be. It says whether
// there was one. mu is held.
func (f *ferry) land(n int) (bool, error) {
	var free []int
	for i, p := range f.pending {
		blocked := slices.ContainsFunc(p.records, func(r ots.Record) bool {
			return slices.ContainsFunc(f.pending[:i], func(o *parcel) bool { return o.has(r.Key[0].Value.(int64)) })
		})
		if !blocked {
			free = append(free, i)
		}
	}
	if len(free) == 0 {
		return false, nil
	}
	i := free[n%len(free)]
	p := f.pending[i]
	f.pending = slices.Delete(f.pending, i, i+1)
	for _, r := range p.records {
		if err := f.apply(r.Key[0].Value.(int64), r.Cells[0].Value.(int64)); err != nil {
			return true, err
		}
	}
	p.done()
	return true, f.truth()
}

func (f *ferry) apply(key, n int64) error {
	f.written.mu.Lock()
	defer f.written.mu.Unlock()
	at := slices.Index(f.want[key], n)
	last, again := f.last[key]
	if at > f.have[key] || again && at != last+1 {
		return fmt.Errorf("key %d: write %d is applied after %v of %v, in this life after the one at %d: %s", key, n, f.want[key][:f.have[key]], f.want[key], last, f.track.words())
	}
	f.last[key] = at
	f.have[key] = max(f.have[key], at+1)
	return nil
}

// truth compares what the track says with what is applied.
func (f *ferry) truth() error {
	m := f.track.mark(time.Now())
	f.written.mu.Lock()
	defer f.written.mu.Unlock()
	for k, want := range f.want {
		for _, n := range want[f.have[k]:] {
			if at, acked := f.acked[n]; acked && at.Before(m.upto) {
				return fmt.Errorf("key %d: write %d was acknowledged at %v and is not applied, and all before %v is said to be: %s", k, n, at, m.upto, f.track.words())
			}
		}
	}
	return nil
}

// begin takes the table for copied, and follows it from its end.
func (f *ferry) begin() {
	at, _, err := ends(context.Background(), f.c, riverTable, floodVisibility)
	f.must(err)
	for k, w := range f.want {
		f.have[k] = len(w)
	}
	f.risk, f.saved = false, [][]position{at}
	f.live(at)
}

// live is another life, from saved positions.
func (f *ferry) live(at []position) {
	f.track, f.pending, f.last, f.over = newTrack(at), nil, map[int64]int{}, false
	ctx, cancel := context.WithCancel(context.Background())
	f.t.Cleanup(cancel)
	f.run = &run{cancel: cancel, ended: make(chan error, 1), follower: newFollower(followConfig{
		Client: f.c, Table: riverTable, Start: at, Deliver: f.deliver, Visibility: floodVisibility,
		Busy: time.Millisecond, Idle: 5 * time.Millisecond, Check: 5 * time.Millisecond, Parallel: 2,
	})}
	r := f.run
	go func() {
		err := r.Run(ctx)
		f.mu.Lock()
		defer f.mu.Unlock()
		if r == f.run {
			f.over = true
		}
		f.came.Broadcast()
		r.ended <- err
	}()
}

// save notes the positions, as a crash after it would find them.
func (f *ferry) save() {
	f.mu.Lock()
	defer f.mu.Unlock()
	all, _ := f.track.positions(time.Time{}, true)
	f.saved = append(f.saved, all)
}

func (f *ferry) kill(back int) {
	f.t.Helper()
	err := f.stop()
	switch _, gap := errors.AsType[*GapError](err); {
	case errors.Is(err, context.Canceled):
		f.live(f.saved[max(len(f.saved)-1-back, 0)])
	case gap && f.risk:
		f.begin()
	default:
		f.t.Fatalf("the follower ended: %v", err)
	}
}

// settle acknowledges until all is applied, or a gap is told.
func (f *ferry) settle(n int) {
	f.t.Helper()
	f.mu.Lock()
	for !f.over && slices.ContainsFunc(slices.Collect(maps.Keys(f.want)), func(k int64) bool { return f.have[k] != len(f.want[k]) }) {
		landed, err := f.land(n)
		if err != nil {
			f.mu.Unlock()
			f.t.Fatal(err)
		}
		if !landed {
			f.came.Wait()
		}
	}
	over := f.over
	f.mu.Unlock()
	if over {
		f.kill(0)
	}
}

func TestFollowerAndTrackModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRiver(t)
		r.StreamPage(rapid.IntRange(1, 3).Draw(t, "records"), 1<<20)
		f := &ferry{t: t, river: r, written: newWritten(r), have: map[int64]int{}}
		f.came = sync.NewCond(&f.mu)
		f.begin()
		key, order := rapid.Int64Range(0, floodKeys-1), rapid.IntRange(0, 5)
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				for range rapid.IntRange(1, 4).Draw(t, "times") {
					f.write(rapid.SliceOfNDistinct(key, 1, floodKeys, rapid.ID).Draw(t, "keys")...)
				}
			},
			"split": func(t *rapid.T) {
				_ = f.SplitShard("lab", riverTable, key.Draw(t, "at")) // one may begin there already
			},
			"merge": func(t *rapid.T) {
				_ = f.MergeShards("lab", riverTable, rapid.IntRange(0, 3).Draw(t, "of")) // there may be fewer
			},
			"trim": func(t *rapid.T) {
				if rapid.IntRange(0, 3).Draw(t, "spared") > 0 {
					return
				}
				f.risk = true
				_, err := f.Trim("lab", riverTable, time.Now().Add(time.Hour))
				f.must(err)
			},
			"late": func(t *rapid.T) {
				f.StreamDelay(rapid.SampledFrom([]time.Duration{0, floodVisibility / 2, floodVisibility}).Draw(t, "late"))
			},
			"land": func(t *rapid.T) {
				f.mu.Lock()
				defer f.mu.Unlock()
				for range rapid.IntRange(1, 5).Draw(t, "pages") {
					if _, err := f.land(order.Draw(t, "which")); err != nil {
						t.Fatal(err)
					}
				}
			},
			"time passes": func(*rapid.T) { time.Sleep(floodVisibility) },
			"save":        func(*rapid.T) { f.save() },
			"kill":        func(t *rapid.T) { f.kill(rapid.IntRange(0, 2).Draw(t, "back")) },
			"settle":      func(t *rapid.T) { f.settle(order.Draw(t, "which")) },
		})
		f.write(0, floodKeys-1)
		f.settle(0)
		f.save()
		f.kill(1)
		f.settle(1)
		if err := f.stop(); !errors.Is(err, context.Canceled) && !f.risk {
			t.Fatal(err)
		}
	})
}

// words say where every shard is, for a failure.
func (t *track) words() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := ""
	for id, s := range t.shards {
		out += fmt.Sprintf("\n%s after %v: at done %v upto %v proved %v seq %v; read done %v upto %v; queue %d", id.shard, s.at.Parents, s.at.Done, s.at.Upto, s.at.Proved, s.at.Seq, s.read.Done, s.read.Upto, len(s.queue))
	}
	return out
}
