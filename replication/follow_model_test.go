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

	"pointsman/internal/lab/tablestore"
)

// flood is a table that clients write to, whose shards split and merge, whose
// stream is trimmed and made anew, and a follower that is killed and goes back
// to any state that was once saved. What came must be what was written: each
// write of a key once and in order, counted from the saved state; nothing left
// out unless a gap is told; and nothing missing that the positions say has come.
type flood struct {
	t *rapid.T
	*river
	*basin
	*run

	*written
	saved []floodState
	risk  bool // records may have been lost, so a gap may be told
	told  int  // gaps
}

// written is what clients wrote.
type written struct {
	of    *river
	mu    sync.Mutex
	want  map[int64][]int64 // writes of each key that were sent
	acked map[int64]time.Time
}

func newWritten(of *river) *written {
	return &written{of: of, want: map[int64][]int64{}, acked: map[int64]time.Time{}}
}

func (w *written) write(keys ...int64) {
	w.mu.Lock()
	n := w.of.n + 1
	for _, k := range keys {
		w.want[k] = append(w.want[k], n)
	}
	w.mu.Unlock()
	w.of.put(keys...)
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acked[n] = now
}

type floodState struct {
	at   map[string]position
	rows map[int64]int
}

const floodKeys = 8

// taken is what must be so after each delivery.
func (f *flood) taken() error {
	f.written.mu.Lock()
	defer f.written.mu.Unlock()
	var least time.Time
	first := true
	for _, p := range f.at {
		if first || p.Upto.Before(least) {
			least, first = p.Upto, false
		}
	}
	rows := map[int64]int{}
	for k, got := range f.rows {
		want := f.want[k]
		if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
			return fmt.Errorf("key %d: %v came, of %v", k, got, want)
		}
		rows[k] = len(got)
	}
	for k, want := range f.want {
		for _, n := range want[len(f.rows[k]):] {
			if at, acked := f.acked[n]; acked && at.Before(least) {
				return fmt.Errorf("key %d: write %d was acknowledged at %v and did not come, and all before %v is said to have", k, n, at, least)
			}
		}
	}
	f.saved = append(f.saved, floodState{maps.Clone(f.at), rows})
	return nil
}

// begin takes the table as it is for copied, and follows it from its end.
func (f *flood) begin() {
	f.Heal()
	at, _, err := ends(context.Background(), f.c, riverTable, floodVisibility)
	f.must(err)
	f.basin.mu.Lock()
	f.at = map[string]position{}
	for _, p := range at {
		f.at[p.Shard] = p
	}
	f.rows = map[int64][]int64{}
	for k, w := range f.want {
		f.rows[k] = slices.Clone(w)
	}
	f.saved, f.risk = nil, false
	f.basin.then = f.taken
	f.basin.mu.Unlock()
	f.start()
}

const floodVisibility = 4 * time.Millisecond

func (f *flood) start() {
	f.run = f.follow(f.basin, func(cfg *followConfig) { cfg.Visibility, cfg.Parallel = floodVisibility, 2 })
}

// ended judges the end of a follower.
func (f *flood) ended(err error) {
	f.t.Helper()
	if _, gap := errors.AsType[*GapError](err); !gap {
		f.t.Fatalf("the follower ended: %v", err)
	}
	if !f.risk {
		f.t.Fatalf("nothing can be lost, and it is said: %v", err)
	}
	f.told++
	f.begin()
}

// kill ends the follower and goes back to a state that was saved, if one is
// picked.
func (f *flood) kill(back int) {
	f.t.Helper()
	err := f.stop()
	if !errors.Is(err, context.Canceled) {
		f.ended(err)
		return
	}
	if back < len(f.saved) {
		s := f.saved[len(f.saved)-1-back]
		f.at = maps.Clone(s.at)
		for k := range f.rows {
			f.rows[k] = f.rows[k][:s.rows[k]]
		}
		f.saved = f.saved[:len(f.saved)-back]
	}
	f.start()
}

// settle waits until everything came, or a gap is told.
func (f *flood) settle() {
	f.t.Helper()
	b := f.basin
	b.mu.Lock()
	for b.runs > 0 && slices.ContainsFunc(slices.Collect(maps.Keys(f.want)), func(k int64) bool { return len(b.rows[k]) != len(f.want[k]) }) {
		b.came.Wait()
	}
	ended := b.runs == 0
	b.mu.Unlock()
	if ended {
		f.ended(<-f.run.ended)
	}
}

func TestFollowerModel(t *testing.T) {
	gaps := 0
	rapid.Check(t, func(t *rapid.T) {
		r := newRiver(t)
		r.SetClockOffset(rapid.SampledFrom([]time.Duration{0, -3 * time.Second, 3 * time.Second}).Draw(t, "clock"))
		r.StreamPage(rapid.IntRange(1, 3).Draw(t, "records"), 1<<20)
		f := &flood{t: t, river: r, basin: newBasin(nil), written: newWritten(r)}
		f.begin()
		key := rapid.Int64Range(0, floodKeys-1)
		epoch := int32(0)
		t.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) {},
			"write": func(t *rapid.T) {
				for range rapid.IntRange(1, 4).Draw(t, "times") {
					f.write(rapid.SliceOfNDistinct(key, 1, 4, rapid.ID).Draw(t, "keys")...)
				}
			},
			"split": func(t *rapid.T) {
				_ = f.SplitShard("lab", riverTable, key.Draw(t, "at")) // one may begin there already
			},
			"merge": func(t *rapid.T) {
				_ = f.MergeShards("lab", riverTable, rapid.IntRange(0, 3).Draw(t, "of")) // there may be fewer
			},
			"kill": func(t *rapid.T) { f.kill(rapid.IntRange(0, 6).Draw(t, "back")) },
			"trim": func(t *rapid.T) {
				if rapid.IntRange(0, 2).Draw(t, "spared") > 0 {
					return
				}
				f.risk = true
				_, err := f.Trim("lab", riverTable, time.Now().Add(time.Hour))
				f.must(err)
			},
			"another stream": func(t *rapid.T) {
				if rapid.IntRange(0, 2).Draw(t, "spared") > 0 {
					return
				}
				f.risk = true
				f.stream(false)
				f.stream(true)
				epoch = 0
			},
			"epoch": func(t *rapid.T) {
				epoch++
				f.must(f.SetEpoch("lab", riverTable, epoch))
			},
			"late": func(t *rapid.T) {
				f.StreamDelay(rapid.SampledFrom([]time.Duration{0, floodVisibility / 2, floodVisibility}).Draw(t, "late"))
			},
			// Nobody follows for a while.
			"away": func(t *rapid.T) {
				err := f.stop()
				for range rapid.IntRange(1, 6).Draw(t, "times") {
					switch rapid.IntRange(0, 3).Draw(t, "what") {
					case 0:
						_ = f.SplitShard("lab", riverTable, key.Draw(t, "at"))
					case 1:
						_ = f.MergeShards("lab", riverTable, rapid.IntRange(0, 3).Draw(t, "of"))
					default:
						time.Sleep(floodVisibility) // it is of another time than the last
						f.write(rapid.SliceOfNDistinct(key, 1, floodKeys, rapid.ID).Draw(t, "keys")...)
					}
				}
				if !errors.Is(err, context.Canceled) {
					f.ended(err)
					return
				}
				f.start()
			},
			"page": func(t *rapid.T) { f.StreamPage(rapid.IntRange(1, 3).Draw(t, "records"), 1<<20) },
			"fault": func(t *rapid.T) {
				_, err := f.Fail(tablestore.Fault{
					Kind:      rapid.SampledFrom([]tablestore.Kind{tablestore.Drop, tablestore.Truncated, tablestore.HTML}).Draw(t, "kind"),
					Operation: rapid.SampledFrom([]string{"ListStream", "DescribeStream", "GetShardIterator", "GetStreamRecord"}).Draw(t, "operation"),
				}, rapid.IntRange(1, 3).Draw(t, "calls"))
				f.must(err)
			},
			"settle": func(t *rapid.T) { f.settle() },
			"nudge":  func(t *rapid.T) { f.Nudge() },
		})
		f.write(0, floodKeys-1)
		f.settle()
		f.kill(1 << 30)
		f.settle()
		if err := f.stop(); !errors.Is(err, context.Canceled) && !f.risk {
			t.Fatal(err)
		}
		gaps += f.told
	})
	t.Logf("%d gaps were told", gaps)
}
