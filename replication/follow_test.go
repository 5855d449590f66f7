package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pointsman/internal/lab/tablestore"
	"pointsman/replication/ots"
)

func TestFollowReadsParentsBeforeChildren(t *testing.T) {
	w := newRiver(t)
	b := newBasin(w.oldest())
	keys := []int64{1, 5, 9}
	w.put(keys...)
	w.split(5)
	w.put(keys...)
	w.split(8)
	w.put(keys...)
	w.merge(0)
	w.put(keys...)
	w.merge(0)
	last := w.put(keys...)
	w.StreamPage(1, 1<<20) // so that each shard takes several reads
	r := w.follow(b)
	b.wait(t, func() bool {
		return !slices.ContainsFunc(keys, func(k int64) bool { return !b.last(k, last) })
	})
	if err := r.stop(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for _, k := range keys {
		if got := b.rows[k]; !slices.Equal(got, []int64{1, 2, 3, 4, 5}) {
			t.Errorf("key %d: %v", k, got)
		}
	}
	ended := map[string]bool{}
	for _, d := range b.got {
		for _, p := range d.After.Parents {
			if !ended[p] {
				t.Errorf("shard %s was delivered before the end of its parent %s", d.After.Shard, p)
			}
		}
		ended[d.After.Shard] = ended[d.After.Shard] || d.After.Done
		for _, c := range d.Children {
			if c.Iterator == "" || !c.Upto.Equal(d.After.Upto) && len(c.Parents) == 1 {
				t.Errorf("child %+v of %+v", c, d.After)
			}
		}
	}
	if len(b.at) != 1 {
		t.Errorf("%d shards are left, want the one", len(b.at))
	}
}

// The other parent of a merge ends later; the first one's position is kept
// until then, also over a restart.
func TestFollowKeepsTheFirstParentOfAMerge(t *testing.T) {
	w := newRiver(t)
	w.split(5)
	b := newBasin(w.oldest())
	w.put(1, 9)
	w.merge(0)
	w.put(1, 9)
	stuck := errors.New("no room")
	b.fail = func(d delivery) error {
		if d.After.Done && len(d.Children) > 0 && len(d.Children[0].Parents) == 2 {
			return stuck
		}
		return nil
	}
	if err := <-w.follow(b).ended; !errors.Is(err, stuck) {
		t.Fatal(err)
	}
	done := 0
	for _, p := range b.at {
		if p.Done && len(p.Parents) == 1 {
			done++
		}
	}
	if done != 1 {
		t.Fatalf("%d parents of the merge are done, want 1: %+v", done, b.at)
	}
	b.fail = nil
	r := w.follow(b)
	b.wait(t, func() bool { return b.last(1, 2) && b.last(9, 2) && len(b.at) == 1 })
	r.stop()
}

// A set of positions that was not saved as a whole: the parent says done, and
// its children are not there.
func TestFollowFindsChildrenThatWereNotSaved(t *testing.T) {
	w := newRiver(t)
	b := newBasin(w.oldest())
	w.put(1, 9)
	w.split(5)
	w.put(1, 9)
	b.fail = func(d delivery) error {
		if d.After.Done {
			b.at[d.After.Shard] = d.After
			return context.DeadlineExceeded
		}
		return nil
	}
	<-w.follow(b).ended
	b.fail = nil
	r := w.follow(b)
	b.wait(t, func() bool { return b.last(1, 2) && b.last(9, 2) })
	r.stop()
}

func TestFollowFindsGaps(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(w *river, b *basin)
		want string
	}{
		"trimmed": {func(w *river, b *basin) {
			w.put(1)
			_, err := w.Trim("lab", riverTable, time.Now().Add(time.Hour))
			w.must(err)
			w.put(2)
		}, "are trimmed"},
		"switched off": {func(w *river, b *basin) { w.stream(false) }, "it was switched off"},
		"another stream": {func(w *river, b *basin) {
			w.stream(false)
			w.stream(true)
		}, "it was switched off and on again"},
		"an ended shard went away": {func(w *river, b *basin) {
			w.put(1, 9)
			w.split(5)
			_, err := w.Trim("lab", riverTable, time.Now().Add(time.Hour))
			w.must(err)
		}, "is gone and had not been read to its end"},
		"children without a position": {func(w *river, b *basin) {
			w.split(5)
			now, err := tips(context.Background(), w.c, riverTable, time.Now())
			w.must(err)
			clear(b.at)
			i := slices.IndexFunc(now, func(p position) bool { return len(p.Parents) > 0 })
			b.at[now[i].Shard] = now[i]
		}, "was never read"},
		"no position": {func(w *river, b *basin) { clear(b.at) }, "no position was saved"},
		"two streams": {func(w *river, b *basin) { b.at["x"] = position{Stream: "x", Shard: "x", Iterator: "x"} }, "are of two streams"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newRiver(t)
			before := newBasin(w.oldest())
			c.do(w, before)
			if why := w.gap(w.follow(before)); !strings.Contains(why, c.want) {
				t.Errorf("after a start: %q, want %q", why, c.want)
			}
			if len(before.got) > 0 && slices.ContainsFunc(before.got, func(d delivery) bool { return !d.After.Upto.IsZero() }) {
				t.Error("something was claimed before the gap was found")
			}
		})
	}
}

func TestFollowFindsGapsWhileItRuns(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(w *river)
		want string
	}{
		"switched off": {func(w *river) { w.stream(false) }, "it was switched off"},
		"another stream": {func(w *river) {
			w.stream(false)
			w.stream(true)
		}, "it was switched off"},
		// The service answers as if it knew the place no more.
		"lost place": {func(w *river) {
			_, err := w.Fail(tablestore.Fault{Kind: tablestore.ErrorCode, Operation: "GetStreamRecord", Code: "OTSObjectNotExist"}, -1)
			w.must(err)
		}, "does not know the place any more"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newRiver(t)
			b := newBasin(w.oldest())
			r := w.follow(b)
			n := w.put(1)
			b.wait(t, func() bool { return b.last(1, n) })
			c.do(w)
			if why := w.gap(r); !strings.Contains(why, c.want) {
				t.Errorf("%q, want %q", why, c.want)
			}
		})
	}
}

// What comes after an ended shard can only be read from its beginning while
// that one is still there.
func TestFollowFindsThatABeginningMayBeTrimmed(t *testing.T) {
	w := newRiver(t)
	b := newBasin(w.oldest())
	w.put(1)
	w.split(5)
	w.put(1, 9)
	r := w.follow(b, func(cfg *followConfig) { cfg.Client, cfg.Check = &trimming{w.c, w, 1}, time.Minute })
	if why := w.gap(r); !strings.Contains(why, "what comes after it may be trimmed") {
		t.Error(why)
	}
	if slices.ContainsFunc(b.got, func(d delivery) bool { return d.After.Done }) {
		t.Error("the shard was delivered as done")
	}
}

// A child that goes away between being told and being opened is not looked for
// for ever.
func TestFollowFindsThatAChildIsGone(t *testing.T) {
	w := newRiver(t)
	b := newBasin(w.oldest())
	w.put(1)
	w.split(5)
	w.merge(0)
	r := w.follow(b, func(cfg *followConfig) { cfg.Client, cfg.Check = &trimming{w.c, w, 1}, time.Minute })
	if why := w.gap(r); !strings.Contains(why, "is gone and had not been read to its end") {
		t.Error(why)
	}
}

// trimming trims what there is before the first children are opened.
type trimming struct {
	*ots.Client
	w     *river
	times int
}

func (c *trimming) Iterator(ctx context.Context, stream, shard string, from time.Time) (string, error) {
	if c.times > 0 {
		c.times--
		_, err := c.w.Trim("lab", riverTable, time.Now().Add(time.Hour))
		c.w.must(err)
	}
	return c.Client.Iterator(ctx, stream, shard, from)
}

func TestFollowOutlivesFaults(t *testing.T) {
	for _, op := range []string{"ListStream", "DescribeStream", "GetShardIterator", "GetStreamRecord"} {
		for _, f := range []tablestore.Fault{
			{Kind: tablestore.ErrorCode, Code: "OTSServerBusy"},
			{Kind: tablestore.Drop},
			{Kind: tablestore.HTML},
			{Kind: tablestore.ErrorCode, Code: "OTSNoPermissionAccess"},
			{Kind: tablestore.ErrorCode, Code: "OTSObjectNotExist"},
		} {
			if f.Code == "OTSObjectNotExist" && op == "ListStream" {
				continue // the table is gone
			}
			t.Run(op+" "+string(f.Kind)+" "+f.Code, func(t *testing.T) {
				t.Parallel()
				w := newRiver(t)
				b := newBasin(w.oldest())
				w.put(1, 9)
				w.split(5)
				w.put(1, 9)
				f.Operation = op
				_, err := w.Fail(f, 2)
				w.must(err)
				r := w.follow(b)
				b.wait(t, func() bool { return b.last(1, 2) && b.last(9, 2) })
				if len(w.Faults()) != 0 {
					t.Error("the fault was not met")
				}
				if _, err := r.Trouble(); err != nil {
					t.Errorf("still in trouble: %v", err)
				}
				r.stop()
			})
		}
	}
}

// An answer with nothing in it is a good one by its digest, and says that the
// shard has ended, or that the table has no stream.
func TestFollowDoesNotBelieveAnEmptyAnswer(t *testing.T) {
	for _, op := range []string{"ListStream", "GetStreamRecord"} {
		for _, times := range []int{1, 2, 5} {
			t.Run(fmt.Sprint(op, times), func(t *testing.T) {
				w := newRiver(t)
				b := newBasin(w.oldest())
				n := w.put(1)
				_, err := w.Fail(tablestore.Fault{Kind: tablestore.Empty, Operation: op}, times)
				w.must(err)
				r := w.follow(b)
				b.wait(t, func() bool { return b.last(1, n) && len(w.Faults()) == 0 })
				r.stop()
			})
		}
	}
	w := newRiver(t)
	b := newBasin(w.oldest())
	w.put(1, 9)
	w.split(5)
	n := w.put(1, 9)
	_, err := w.Fail(tablestore.Fault{Kind: tablestore.Empty, Operation: "GetStreamRecord"}, 1)
	w.must(err)
	r := w.follow(b)
	b.wait(t, func() bool { return b.last(1, n) && b.last(9, n) })
	r.stop()
	if len(b.rows[1]) != 2 || len(b.rows[9]) != 2 {
		t.Errorf("%v: an ended shard was left before its records were read", b.rows)
	}
}

func TestFollowTellsTrouble(t *testing.T) {
	w := newRiver(t)
	b := newBasin(w.oldest())
	id, err := w.Fail(tablestore.Fault{Kind: tablestore.ErrorCode, Operation: "GetStreamRecord", Code: "OTSServerBusy"}, -1)
	w.must(err)
	r := w.follow(b)
	for {
		if since, err := r.Trouble(); err != nil {
			if !strings.Contains(err.Error(), "OTSServerBusy") || !strings.Contains(err.Error(), "shard ") || since.IsZero() {
				t.Fatal(since, err)
			}
			break
		}
		r.Nudge()
	}
	w.Heal(id)
	r.Nudge()
	b.wait(t, func() bool { return len(b.got) > 0 })
	if _, err := r.Trouble(); err != nil {
		t.Error(err)
	}
	r.stop()
}

// A refusal of the call itself does not pass by trying again.
func TestFollowEndsWhenItsCallIsRefused(t *testing.T) {
	w := newRiver(t)
	b := newBasin(w.oldest())
	for id, p := range b.at {
		p.Iterator = "what no service gave"
		b.at[id] = p
	}
	err := <-w.follow(b).ended
	if _, gap := errors.AsType[*GapError](err); gap || err == nil || !strings.Contains(err.Error(), "OTSParameterInvalid") {
		t.Fatal(err)
	}
}

func TestFollowSearchesWithTokens(t *testing.T) {
	w := newRiver(t)
	w.StreamTokens(3)
	b := newBasin(w.oldest())
	w.put(1, 9)
	w.split(5)
	n := w.put(1, 9)
	r := w.follow(b)
	b.wait(t, func() bool { return b.last(1, n) && b.last(9, n) })
	r.stop()
}

func TestFollowReadsManyShardsWithFewSlots(t *testing.T) {
	w := newRiver(t)
	const shards = 110 // more than one page of a listing
	for k := int64(1); k < shards; k++ {
		w.split(10 * k)
	}
	keys := make([]int64, shards)
	for i := range keys {
		keys[i] = int64(10 * i)
	}
	b := newBasin(w.oldest())
	n := w.put(keys...)
	r := w.follow(b, func(cfg *followConfig) { cfg.Parallel, cfg.Check = 2, time.Minute })
	b.wait(t, func() bool {
		return len(b.at) == shards && !slices.ContainsFunc(keys, func(k int64) bool { return !b.last(k, n) })
	})
	r.stop()
}

func TestTipsBeginAtAMoment(t *testing.T) {
	w := newRiver(t)
	w.put(1, 9)
	w.split(5)
	w.put(1, 9)
	time.Sleep(2 * time.Microsecond) // times of records are of whole ones
	at := time.Now()
	n := w.put(1, 9)
	start, err := tips(context.Background(), w.c, riverTable, at)
	w.must(err)
	if len(start) != 3 {
		t.Fatalf("%d positions, want one of each shard that is listed", len(start))
	}
	for _, p := range start {
		if p.Upto.IsZero() || p.Upto.After(at) {
			t.Errorf("upto %v, taken at %v", p.Upto, at)
		}
	}
	b := newBasin(start)
	r := w.follow(b)
	b.wait(t, func() bool { return b.last(1, n) && b.last(9, n) })
	r.stop()
	if len(b.rows[1]) != 1 || len(b.rows[9]) != 1 {
		t.Errorf("%v: more than what came since", b.rows)
	}
}

func TestEndsAreAfterAllThatIsThere(t *testing.T) {
	w := newRiver(t)
	const delay = 20 * time.Millisecond
	w.StreamDelay(delay)
	w.StreamPage(2, 1<<20)
	w.put(1, 9)
	w.split(5)
	w.put(1, 3, 9)
	w.split(2)
	w.merge(1)
	w.put(1, 3, 9)
	at, passed, err := ends(context.Background(), w.c, riverTable, delay)
	w.must(err)
	if passed != 8 {
		t.Errorf("%d records were passed, want 8", passed)
	}
	parts, err := w.Partitions("lab", riverTable)
	w.must(err)
	if len(at) != len(parts) {
		t.Errorf("%d positions of %d open shards", len(at), len(parts))
	}
	b := newBasin(at)
	n := w.put(1, 3, 9)
	r := w.follow(b)
	b.wait(t, func() bool { return b.last(1, n) && b.last(3, n) && b.last(9, n) })
	r.stop()
	for k, got := range b.rows {
		if len(got) != 1 {
			t.Errorf("key %d: %v, want only what came after", k, got)
		}
	}
}

func TestTipsOfATableWithoutAStream(t *testing.T) {
	w := newRiver(t)
	w.stream(false)
	if _, err := tips(context.Background(), w.c, riverTable, time.Now()); !errors.Is(err, errNoStream) {
		t.Error(err)
	}
	if _, _, err := ends(context.Background(), w.c, riverTable, 0); !errors.Is(err, errNoStream) {
		t.Error(err)
	}
	if _, err := tips(context.Background(), w.c, "none", time.Now()); ots.ClassOf(err) != ots.ClassAbsent {
		t.Error(err)
	}
}
