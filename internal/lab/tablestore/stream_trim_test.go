package tablestore

import (
	"slices"
	"testing"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
)

func TestExpiredRecordsAreRemoved(t *testing.T) {
	w := newWorld(t)
	w.stream(2)
	w.record(put(1, 0), put(9, 1))
	parent := w.shard(0)
	old := w.iterator(parent)
	w.now += hour
	w.record(put(1, 2), put(9, 3))
	half := w.get(old, 2).GetNextShardIterator()
	w.split(5)
	left, right := w.shard(0), w.shard(1)
	w.record(put(1, 4))
	trimmed := func(it string) {
		t.Helper()
		refused(w, "GetStreamRecord", &otsprotocol.GetStreamRecordRequest{ShardIterator: &it}, codeTrimmed, "Requested stream data is already trimmed or does not exist.")
	}
	w.now += hour
	if got := w.values(w.get(old, 0)); len(got) != 4 || w.stored() != 5 {
		t.Errorf("%v at the end of the time", got)
	}
	w.now += swept
	trimmed(old)
	if got := w.values(w.get(half, 0)); !slices.Equal(got, []int64{2, 3}) || w.stored() != 3 {
		t.Errorf("%v, %d in the store", got, w.stored())
	}
	if got := w.values(w.get(w.iterator(parent), 0)); !slices.Equal(got, []int64{2, 3}) {
		t.Errorf("the oldest: %v", got)
	}
	if d := w.describe(&otsprotocol.DescribeStreamRequest{}); len(d.Shards) != 3 {
		t.Errorf("%v", d)
	}
	w.open()
	w.now += hour + swept
	// Also by who only writes.
	w.record(put(9, 5))
	if w.stored() != 1 {
		t.Errorf("%d in the store", w.stored())
	}
	trimmed(half)
	refused(w, "GetShardIterator", &otsprotocol.GetShardIteratorRequest{StreamId: &w.table.Stream.ID, ShardId: &parent}, codeObjectNotExist, "shard")
	d := w.describe(&otsprotocol.DescribeStreamRequest{})
	if len(d.Shards) != 2 || d.Shards[0].GetParentId() != parent || d.Shards[1].GetParentId() != parent {
		t.Errorf("%v", d)
	}
	// An open shard is told of however old it is, and its numbers go on.
	it := w.iterator(left)
	w.open()
	w.record(put(1, 6))
	if got := w.values(w.get(it, 0)); !slices.Equal(got, []int64{6}) {
		t.Errorf("%v", got)
	}
	if got := w.values(w.get(w.iterator(right), 0)); !slices.Equal(got, []int64{5}) {
		t.Errorf("%v", got)
	}
}

// What was written while the clock was behind expires by the clock of then.
func TestRecordsExpireWhenTheClockHasGoneBack(t *testing.T) {
	w := newWorld(t)
	w.stream(1)
	w.now += 100 * hour
	w.record(put(1, 0))
	w.now -= 50 * hour
	w.split(5)
	w.record(put(1, 1))
	w.now += 2 * hour
	w.describe(&otsprotocol.DescribeStreamRequest{})
	if r := w.get(w.iterator(w.shard(0)), 0); len(r.StreamRecords) != 0 || w.stored() != 1 {
		t.Errorf("%v, %d in the store", r, w.stored())
	}
}

// An empty shard that was closed while the clock was behind stays between its
// child and the parent whose records are kept: whoever no longer sees it takes
// it as read, and would read the child before the parent.
func TestAnEmptyShardStaysAfterItsParent(t *testing.T) {
	for _, of := range []int{0, 1} { // the parent, the other parent of a merge
		w := newWorld(t)
		w.stream(1)
		w.split(5)
		w.now += 100 * hour
		w.record(put(int64(of)*9, 0)) // later than anything that comes
		w.now -= 90 * hour
		w.merge(0)
		between := w.shard(0)
		w.now += hour
		w.split(5)
		if _, err := w.s.Trim("lab", "t_1", time.UnixMicro(w.now+hour)); err != nil {
			t.Fatal(err)
		}
		if w.table.Stream.shard(between) == nil || w.stored() != 1 {
			t.Errorf("the shard is gone, %d records are not", w.stored())
		}
		if _, err := w.s.Trim("lab", "t_1", time.UnixMicro(w.now+200*hour)); err != nil {
			t.Fatal(err)
		}
		if n := len(w.table.Stream.Shards); n != 2 {
			t.Errorf("%d shards in the end", n)
		}
	}
}

// A closed shard is told of as long as its records would be, though it has
// none: a reader of it must learn that it is closed.
func TestAnEmptyShardIsToldOf(t *testing.T) {
	w := newWorld(t)
	w.stream(2)
	w.record(put(1, 0))
	w.split(5)
	w.now += hour
	w.split(3)
	if n := len(w.describe(&otsprotocol.DescribeStreamRequest{}).Shards); n != 5 {
		t.Errorf("%d shards", n)
	}
	w.now += hour + swept + 1
	d := w.describe(&otsprotocol.DescribeStreamRequest{})
	if n := len(d.Shards); n != 4 || w.stored() != 0 {
		t.Errorf("%d shards, when the first was closed too long ago", n)
	}
	for _, sh := range d.Shards {
		if r := w.get(w.iterator(sh.GetShardId()), 0); len(r.StreamRecords) != 0 || (r.NextShardIterator == nil) != (w.table.Stream.shard(sh.GetShardId()).Closed != 0) {
			t.Errorf("%v", r)
		}
	}
	w.now += hour
	if n := len(w.describe(&otsprotocol.DescribeStreamRequest{}).Shards); n != 3 {
		t.Errorf("%d shards in the end", n)
	}
}

func TestTrim(t *testing.T) {
	w := newWorld(t)
	if _, err := w.s.Trim("lab", "t_1", time.Now()); err == nil {
		t.Error("the stream is off")
	}
	w.stream(24)
	begin := w.now
	for v := range int64(10) {
		w.record(put(1, v))
		w.now++
	}
	all := w.iterator(w.shard(0))
	read := w.get(all, 6).GetNextShardIterator()
	for _, c := range []struct {
		before int64
		n      int
	}{{0, 0}, {6, 6}, {6, 0}, {3, 0}} {
		if n, err := w.s.Trim("lab", "t_1", time.UnixMicro(begin+c.before)); err != nil || n != c.n {
			t.Errorf("before %d: %d, %v", c.before, n, err)
		}
	}
	refused(w, "GetStreamRecord", &otsprotocol.GetStreamRecordRequest{ShardIterator: &all}, codeTrimmed, "")
	if got := w.values(w.get(read, 0)); !slices.Equal(got, []int64{6, 7, 8, 9}) {
		t.Errorf("an iterator that is just behind what was removed: %v", got)
	}
	if _, err := w.s.Trim("lab", "other", time.Now()); err == nil {
		t.Error("no such table")
	}
	if _, err := w.s.Trim("other", "t_1", time.Now()); err == nil {
		t.Error("no such instance")
	}
	// A page that is being read is not torn by a trim.
	w.table.mu.Lock()
	sh := w.table.Stream.open[0]
	it, err := w.store.records(w.table.Stream.Number, sh.Number, sh.First, sh.next)
	w.table.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.s.Trim("lab", "t_1", time.UnixMicro(begin+8)); err != nil || n != 2 {
		t.Errorf("%d, %v", n, err)
	}
	if p, err := readPage(it, 100, 1<<20); err != nil || len(p.records) != 4 {
		t.Errorf("%v, %v", p, err)
	}
}
