package replication

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func stop(shard string, n int) position {
	return position{Stream: "s", Shard: shard, Iterator: fmt.Sprint(n), Upto: time.Unix(int64(n), 0)}
}

// Deliveries land in any order; a position covers only what has landed, with
// all that came before it, and no shard is ever missing.
func TestTrackCoversOnlyWhatLanded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr := newTrack([]position{stop("a", 0), stop("b", 0)})
		type flown struct {
			shard string
			n     int
			done  func()
		}
		var flying []flown
		next := map[string]int{"a": 0, "b": 0}
		landed := map[string][]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(flying) > 0 && rapid.Bool().Draw(t, "land") {
				i := rapid.IntRange(0, len(flying)-1).Draw(t, "which")
				f := flying[i]
				flying = slices.Delete(flying, i, i+1)
				f.done()
				landed[f.shard][f.n-1] = true
			} else {
				shard := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "shard")
				next[shard]++
				n := next[shard]
				landed[shard] = append(landed[shard], false)
				flying = append(flying, flown{shard, n, tr.begin(stop(shard, n), nil, 1, 1, time.Now())})
			}
			all, _ := tr.positions(time.Time{}, true)
			if len(all) != 2 {
				t.Fatalf("positions %+v", all)
			}
			for _, p := range all {
				want := slices.Index(landed[p.Shard], false)
				if want < 0 {
					want = len(landed[p.Shard])
				}
				if p.Iterator != fmt.Sprint(want) {
					t.Fatalf("shard %s is at %s, %d are landed", p.Shard, p.Iterator, want)
				}
			}
			if m := tr.mark(time.Now()); m.rows != int64(len(flying)) || m.shards != 2 || m.upto.After(all[0].Upto) || m.upto.After(all[1].Upto) {
				t.Fatalf("mark %+v", m)
			}
		}
	})
}

// A child takes the place of its parent only when the last of the parent has
// landed, although it was read before that.
func TestTrackOfAChild(t *testing.T) {
	tr := newTrack([]position{stop("p", 1)})
	end := stop("p", 5)
	end.Iterator, end.Done = "", true
	child := stop("c", 3)
	last := tr.begin(end, []position{child}, 7, 1, time.Now())
	tr.begin(stop("c", 9), nil, 0, 1, time.Now())()
	// After a restart all of the parent is applied once more, and so must be what
	// came of the child.
	if all, _ := tr.positions(time.Time{}, true); len(all) != 1 || all[0].Shard != "p" || all[0].Done {
		t.Fatalf("before the parent has landed: %+v", all)
	}
	if m := tr.mark(time.Now()); m.shards != 1 || m.shard != "p" || !m.upto.Equal(time.Unix(1, 0)) {
		t.Fatalf("before the parent has landed: %+v", m)
	}
	last()
	m := tr.mark(time.Now())
	all, _ := tr.positions(time.Time{}, true)
	if m.shards != 1 || m.shard != "c" || len(all) != 2 || all[0].Iterator != "9" || !all[1].Done {
		t.Fatalf("after it: %+v %+v", m, all)
	}
	if all, _ := tr.positions(time.Unix(6, 0), true); len(all) != 1 || all[0].Shard != "c" {
		t.Fatalf("the parent is not forgotten: %+v", all)
	}
}

// A shard that is done stays known while it is not known how old it is: the other
// parent of a merge may still be read, and a restart would find a shard that
// nobody has read.
func TestTrackForgetsNoShardOfAnUnknownAge(t *testing.T) {
	end := stop("p", 5)
	end.Iterator, end.Done, end.Upto = "", true, time.Time{}
	tr := newTrack([]position{end, stop("q", 1)})
	if all, _ := tr.positions(time.Unix(6, 0), true); len(all) != 2 {
		t.Errorf("what is left is %+v", all)
	}
}

// Of a merge, the child waits for both parents, in whatever order they land.
func TestTrackOfAMerge(t *testing.T) {
	tr := newTrack([]position{stop("p", 1), stop("q", 1)})
	ends := func(shard string) position {
		p := stop(shard, 5)
		p.Iterator, p.Done = "", true
		return p
	}
	child := stop("c", 3)
	child.Parents = []string{"p", "q"}
	p := tr.begin(ends("p"), nil, 7, 1, time.Now())
	tr.begin(ends("q"), []position{child}, 7, 1, time.Now())()
	after := stop("c", 9)
	after.Parents = child.Parents
	tr.begin(after, nil, 1, 1, time.Now())()
	if all, _ := tr.positions(time.Time{}, true); len(all) != 3 || all[0].Iterator != "3" {
		t.Fatalf("before both have landed: %+v", all)
	}
	p()
	if all, _ := tr.positions(time.Time{}, true); len(all) != 3 || all[0].Iterator != "9" {
		t.Fatalf("after both have: %+v", all)
	}
}

// An idle table of a busy year takes no memory.
func TestTrackIsFlat(t *testing.T) {
	tr := newTrack([]position{stop("a", 0)})
	for n := range 100_000 {
		tr.begin(stop("a", n), nil, n%2, 1, time.Now())()
	}
	if s := tr.shards[shardID{"s", "a"}]; len(s.queue) != 0 || cap(s.queue) > 8 || len(tr.shards) != 1 {
		t.Fatalf("%d in a queue of %d", len(s.queue), cap(s.queue))
	}
}

// Positions that moved over nothing are saved now and then, those that moved
// over records at once, and what could not be saved again.
func TestTrackNews(t *testing.T) {
	tr := newTrack([]position{stop("a", 0)})
	news := func(every bool) bool { _, n := tr.positions(time.Time{}, every); return n }
	if !news(false) {
		t.Error("what was never saved is news")
	}
	tr.begin(stop("a", 1), nil, 0, 1, time.Now())()
	if news(false) {
		t.Error("an empty read is no news")
	}
	if !news(true) {
		t.Error("every word was wanted")
	}
	tr.begin(stop("a", 2), nil, 3, 1, time.Now())()
	if !news(false) || news(false) {
		t.Error("records are news, once")
	}
	tr.unsaved()
	if !news(false) {
		t.Error("what was not saved is news")
	}
	tr.taken = tr.taken.Add(-quietFor)
	if !news(false) {
		t.Error("after a while it is saved all the same")
	}
}

func TestLastMinute(t *testing.T) {
	var r lastMinute
	now := time.Unix(1000, 0)
	if r.perSecond(now) != 0 {
		t.Error("a rate of nothing")
	}
	for i := range 30 {
		r.add(now.Add(time.Duration(i)*time.Second), 10)
	}
	if got := r.perSecond(now.Add(30 * time.Second)); got < 9 || got > 11 {
		t.Errorf("%v after half a minute of 10", got)
	}
	if got := r.perSecond(now.Add(5 * time.Minute)); got != 0 {
		t.Errorf("%v long after", got)
	}
}
