package tablestore

import (
	"slices"
	"testing"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
)

// Whoever had found a table before it was deleted does not bring it back.
func TestADeletedTableIsNotReformed(t *testing.T) {
	w := newWorld(t)
	w.stream(2)
	w.table.dropped = true
	for _, err := range []error{w.s.SplitShard("lab", "t_1", 5), w.s.SetEpoch("lab", "t_1", 5)} {
		if err == nil || len(w.table.Parts) != 1 || w.table.Stream.open[0].Last.Epoch != 0 {
			t.Error(err)
		}
	}
}

func TestSplitAndMerge(t *testing.T) {
	w := newWorld(t)
	w.split(50) // without a stream
	w.stream(24)
	w.record(put(1, 0), put(50, 1), put(99, 2))
	shardOf := func(id string) *otsprotocol.StreamShard {
		for _, sh := range w.describe(&otsprotocol.DescribeStreamRequest{}).Shards {
			if sh.GetShardId() == id {
				return sh
			}
		}
		t.Fatalf("no shard %s", id)
		return nil
	}
	read := func(id string) []int64 { return w.values(w.get(w.iterator(id), 0)) }
	low, high := w.shard(0), w.shard(1)
	w.split(75)
	mid, top := w.shard(1), w.shard(2)
	for _, id := range []string{mid, top} {
		if sh := shardOf(id); sh.GetParentId() != high || sh.ParentSiblingId != nil {
			t.Errorf("%v", sh)
		}
	}
	if sh := shardOf(low); sh.ParentId != nil || w.shard(0) != low {
		t.Errorf("%v", sh)
	}
	w.record(put(74, 3), put(75, 4), put(-5, 5))
	w.open()
	w.merge(0)
	child := w.shard(0)
	if sh := shardOf(child); sh.GetParentId() != low || sh.GetParentSiblingId() != mid || len(w.table.Parts) != 2 {
		t.Errorf("%v", sh)
	}
	w.open()
	w.record(put(1, 6), put(74, 7), put(75, 8))
	for id, want := range map[string][]int64{low: {0, 5}, high: {1, 2}, mid: {3}, top: {4, 8}, child: {6, 7}} {
		if got := read(id); !slices.Equal(got, want) {
			t.Errorf("shard %s: %v, want %v", id, got, want)
		}
	}
	if err := w.s.SplitShard("lab", "t_1", 75); err == nil {
		t.Error("a partition begins there already")
	}
	if err := w.s.SplitShard("lab", "t_1", "x"); err == nil {
		t.Error("a text for an integer")
	}
	if err := w.s.SplitShard("lab", "t_1"); err == nil {
		t.Error("there are no rows")
	}
	if err := w.s.MergeShards("lab", "t_1", 1); err == nil {
		t.Error("the last partition has no neighbour")
	}
	if err := w.s.MergeShards("lab", "t_1", -1); err == nil {
		t.Error("there is no such partition")
	}
	if err := w.s.SplitShard("lab", "t_1", "60"); err != nil {
		t.Error(err)
	}
	parts, err := w.s.Partitions("lab", "t_1")
	if err != nil || len(parts) != 3 || parts[0].From != nil || parts[1].From != int64(60) || parts[2].From != int64(75) || parts[1].Shard != w.shard(1) {
		t.Errorf("%v, %v", parts, err)
	}
	if err := w.s.MergeShards("lab", "t_1", 1); err != nil {
		t.Error(err)
	}
}

func TestManyShardsAreToldInPages(t *testing.T) {
	w := newWorld(t)
	w.stream(24)
	for k := range int64(120) {
		w.split(k)
	}
	all := map[string]bool{}
	m, pages := &otsprotocol.DescribeStreamRequest{}, 0
	for {
		d := w.describe(m)
		pages++
		if len(d.Shards) > 100 || len(d.Shards) == 0 {
			t.Fatalf("%d at once", len(d.Shards))
		}
		for _, sh := range d.Shards {
			if all[sh.GetShardId()] {
				t.Errorf("%s twice", sh.GetShardId())
			}
			all[sh.GetShardId()] = true
		}
		if d.NextShardId == nil {
			break
		}
		m.InclusiveStartShardId = d.NextShardId
	}
	if len(all) != 241 || pages != 3 { // no record was ever in the closed ones; they are not old
		t.Errorf("%d shards in %d pages", len(all), pages)
	}
	for _, c := range []struct{ limit, want int32 }{{1, 1}, {7, 7}, {100, 100}, {500, 100}} {
		if d := w.describe(&otsprotocol.DescribeStreamRequest{ShardLimit: &c.limit}); int32(len(d.Shards)) != c.want {
			t.Errorf("limit %d: %d", c.limit, len(d.Shards))
		}
	}
	// A page begins where one would have that has gone away meanwhile.
	next := w.describe(&otsprotocol.DescribeStreamRequest{}).GetNextShardId()
	w.now += 25 * hour
	d := w.describe(&otsprotocol.DescribeStreamRequest{InclusiveStartShardId: &next})
	for _, sh := range d.Shards {
		if sh.GetShardId() < next {
			t.Errorf("%s", sh.GetShardId())
		}
	}
	left := 0
	for _, sh := range w.table.Stream.Shards {
		if left++; sh.Closed != 0 {
			t.Errorf("%+v is still there", sh)
		}
	}
	if left != 121 {
		t.Errorf("%d shards", left)
	}
}
