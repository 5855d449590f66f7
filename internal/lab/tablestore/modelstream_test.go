package tablestore_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"pgregory.net/rapid"

	"pointsman/internal/lab/tablestore"
)

// modelReader reads all shards of a stream, parents before children, as a
// replicator must.
type modelReader struct {
	c      *sdk.TableStoreClient
	table  *oracleTable
	stream sdk.StreamId
	since  *int64 // µs; nil: from the oldest record
	shards map[sdk.ShardId]*modelShard
	order  []sdk.ShardId                  // as they were listed first
	got    map[string][]*sdk.StreamRecord // by key, in the order they were read
}

type modelShard struct {
	parents []sdk.ShardId
	next    *sdk.ShardIterator
	begun   bool
	done    bool // read to its end
	read    []*sdk.StreamRecord
}

func newReader(t *rapid.T, c *sdk.TableStoreClient, table *oracleTable, since *int64) *modelReader {
	list, err := c.ListStream(&sdk.ListStreamRequest{TableName: &table.name})
	if err != nil {
		t.Fatalf("ListStream: %v", err)
	}
	if len(list.Streams) != 1 || list.Streams[0].Id == nil || *list.Streams[0].TableName != table.name {
		t.Fatalf("streams of %s: %+v", table.name, list.Streams)
	}
	return &modelReader{c: c, table: table, stream: *list.Streams[0].Id, since: since, shards: map[sdk.ShardId]*modelShard{}, got: map[string][]*sdk.StreamRecord{}}
}

// list finds shards that are new, by pages of a drawn size.
func (r *modelReader) list(t *rapid.T) (found bool) {
	request := &sdk.DescribeStreamRequest{StreamId: &r.stream}
	if n := rapid.Int32Range(0, 3).Draw(t, "shards a page"); n > 0 {
		request.ShardLimit = &n
	}
	listed := map[sdk.ShardId]bool{}
	for page := 0; ; page++ {
		got, err := r.c.DescribeStream(request)
		if err != nil {
			t.Fatalf("DescribeStream: %v", err)
		}
		if *got.StreamId != r.stream || *got.TableName != r.table.name || got.ExpirationTime != 24 || got.CreationTime == 0 {
			t.Fatalf("DescribeStream: %+v", got)
		}
		if request.ShardLimit != nil && len(got.Shards) > int(*request.ShardLimit) {
			t.Fatalf("DescribeStream: %d shards on a page of %d", len(got.Shards), *request.ShardLimit)
		}
		for _, s := range got.Shards {
			if listed[*s.SelfShard] {
				t.Fatalf("DescribeStream: shard %s twice", *s.SelfShard)
			}
			listed[*s.SelfShard] = true
			one := &modelShard{}
			for _, p := range []*sdk.ShardId{s.FatherShard, s.MotherShard} {
				if p != nil {
					one.parents = append(one.parents, *p)
				}
			}
			if have := r.shards[*s.SelfShard]; have == nil {
				r.shards[*s.SelfShard], found = one, true
				r.order = append(r.order, *s.SelfShard)
			} else if !slices.Equal(have.parents, one.parents) {
				t.Fatalf("shard %s has the parents %q, then %q", *s.SelfShard, have.parents, one.parents)
			}
		}
		if got.NextShardId == nil {
			break
		}
		if len(got.Shards) == 0 || page > 1000 {
			t.Fatalf("DescribeStream: page %d goes on at %s", page, *got.NextShardId)
		}
		request.InclusiveStartShardId = got.NextShardId
	}
	for id := range r.shards {
		if !listed[id] {
			t.Fatalf("shard %s is no longer listed", id)
		}
	}
	return found
}

// drain reads until nothing is new.
func (r *modelReader) drain(t *rapid.T) {
	for r.list(t) || r.advance(t) {
	}
}

// advance reads every shard whose parents are read to their end, and says
// whether that brought anything.
func (r *modelReader) advance(t *rapid.T) (progress bool) {
	for _, id := range r.order {
		s := r.shards[id]
		ready := !slices.ContainsFunc(s.parents, func(p sdk.ShardId) bool { return r.shards[p] != nil && !r.shards[p].done })
		if !ready || s.done {
			continue
		}
		if !s.begun {
			s.next, s.begun = r.iterator(t, id), true
		}
		if r.readShard(t, id, s) {
			progress = true
		}
	}
	return progress
}

// iterator asks where a shard begins. The answer may be a token to ask again with.
func (r *modelReader) iterator(t *rapid.T, id sdk.ShardId) *sdk.ShardIterator {
	request := &sdk.GetShardIteratorRequest{StreamId: &r.stream, ShardId: &id, Timestamp: r.since}
	for range 1000 {
		got, err := r.c.GetShardIterator(request)
		if err != nil {
			t.Fatalf("GetShardIterator: %v", err)
		}
		if got.Token == nil || *got.Token == "" {
			if got.ShardIterator == nil || *got.ShardIterator == "" {
				t.Fatalf("GetShardIterator: neither iterator nor token")
			}
			return got.ShardIterator
		}
		request.Token = got.Token
	}
	t.Fatalf("GetShardIterator: nothing but tokens")
	return nil
}

// readShard reads a shard until it ends or its iterator stays the same.
func (r *modelReader) readShard(t *rapid.T, id sdk.ShardId, s *modelShard) (progress bool) {
	for {
		request := &sdk.GetStreamRecordRequest{ShardIterator: s.next}
		limit := rapid.SampledFrom([]int32{0, 1, 2, 5, 100}).Draw(t, "records a page")
		if limit > 0 {
			request.Limit = &limit
		}
		got, err := r.c.GetStreamRecord(request)
		if err != nil {
			t.Fatalf("GetStreamRecord: %v", err)
		}
		if limit > 0 && len(got.Records) > int(limit) {
			t.Fatalf("GetStreamRecord: %d records, want %d at most", len(got.Records), limit)
		}
		for _, record := range got.Records {
			r.take(t, id, s, record)
		}
		if got.NextShardIterator == nil {
			s.done = true
			return true
		}
		if len(got.Records) == 0 {
			if *got.NextShardIterator != *s.next {
				t.Fatalf("shard %s is idle, and its iterator goes from %s to %s", id, *s.next, *got.NextShardIterator)
			}
			return progress
		}
		progress = true
		s.next = got.NextShardIterator
	}
}

func (r *modelReader) take(t *rapid.T, id sdk.ShardId, s *modelShard, record *sdk.StreamRecord) {
	if n := len(s.read); n > 0 && compareSequences(s.read[n-1].Info, record.Info) >= 0 {
		t.Fatalf("shard %s: %s comes after %s", id, record.Info, s.read[n-1].Info)
	}
	s.read = append(s.read, record)
	k := keyOf(t, r.table, record.PrimaryKey).String()
	r.got[k] = append(r.got[k], record)
}

func compareSequences(a, b *sdk.RecordSequenceInfo) int {
	return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Timestamp, b.Timestamp), cmp.Compare(a.RowIndex, b.RowIndex))
}

// hold holds everything that was read against the history of the table: each
// change of a key once, in its order.
func (r *modelReader) hold(t *rapid.T) {
	for k, records := range r.got {
		if want := r.table.log[k]; len(records) > len(want) {
			t.Fatalf("%s %s: record %d is of no change: %s", r.table.name, k, len(want), records[len(want)])
		}
	}
	for k, changes := range r.table.log {
		if len(r.got[k]) < len(changes) {
			t.Fatalf("%s %s: no record of change %d, %+v", r.table.name, k, len(r.got[k]), changes[len(r.got[k])])
		}
		for i, c := range changes {
			if fault := c.differs(r.got[k][i]); fault != "" {
				t.Fatalf("%s %s: record %d is %s, change %+v: %s", r.table.name, k, i, r.got[k][i], c, fault)
			}
		}
	}
}

// differs says how a record differs from the change that it is of, or nothing.
func (c modelChange) differs(record *sdk.StreamRecord) string {
	if want := [...]sdk.ActionType{sdk.AT_Put, sdk.AT_Update, sdk.AT_Delete}[c.kind]; record.Type != want {
		return fmt.Sprintf("its action is %s", record.Type)
	}
	if !slices.IsSortedFunc(record.Columns, byColumn) {
		return "its columns are not sorted by name"
	}
	if fault := columnsDiffer(record.Columns, c.cells); fault != "" {
		return fault
	}
	if fault := columnsDiffer(record.OriginColumns, c.origin); fault != "" {
		return "of its old values: " + fault
	}
	return ""
}

func byColumn(a, b *sdk.RecordColumn) int { return cmp.Compare(*a.Name, *b.Name) }

// columnsDiffer says how columns of a record differ from those that are wanted.
func columnsDiffer(have []*sdk.RecordColumn, want []changeCell) string {
	if len(have) != len(want) {
		return fmt.Sprintf("there are %d columns, want %d", len(have), len(want))
	}
	// Of one column the newest first, as far as it is known.
	have, want = slices.Clone(have), slices.Clone(want)
	slices.SortStableFunc(have, func(a, b *sdk.RecordColumn) int {
		return cmp.Or(byColumn(a, b), cmp.Compare(timestampOf(b), timestampOf(a)))
	})
	slices.SortStableFunc(want, func(a, b changeCell) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(b.low, a.low)) })
	for i, w := range want {
		h := have[i]
		if *h.Name != w.name {
			return fmt.Sprintf("there is the column %s, want %s", *h.Name, w.name)
		}
		switch w.op {
		case cellSet:
			if h.Type != sdk.RCT_Put || valueFromSDK(h.Value) != w.value || *h.Timestamp < w.low || *h.Timestamp > w.high {
				return fmt.Sprintf("the column is %s, want a put of %v at [%d, %d]", h, w.value, w.low, w.high)
			}
		case cellDeleteAll:
			if h.Type != sdk.RCT_DeleteAllVersions {
				return fmt.Sprintf("the column is %s, want a delete of all", h)
			}
		case cellDeleteOne:
			if h.Type != sdk.RCT_DeleteOneVersion || *h.Timestamp != w.version {
				return fmt.Sprintf("the column is %s, want a delete of %d", h, w.version)
			}
		}
	}
	return ""
}

func timestampOf(c *sdk.RecordColumn) int64 {
	if c.Timestamp == nil {
		return 0
	}
	return *c.Timestamp
}

// TestModelStream makes random changes, reads the streams of them meanwhile,
// and holds the records against the oracle.
func TestModelStream(t *testing.T) {
	s := start(t, tablestore.Options{})
	c := dialOnce(t, s)
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t, c, 2, withStreams)
		defer m.drop(t)
		s.StreamTokens(rapid.IntRange(0, 2).Draw(t, "tokens before an iterator"))
		s.StreamPage(rapid.SampledFrom([]int{1000, 1000, 1, 3}).Draw(t, "records of a page"), 4<<20)
		begun := time.Now().UnixMicro()
		readers := map[*oracleTable]*modelReader{}
		for _, table := range m.tables {
			readers[table] = newReader(t, c, table, nil)
		}
		// A moment between changes, to read from.
		moments := []int64{begun}
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				table := m.table(t)
				m.one(t, table, m.anyWrite(t, table, nil, false, false))
			},
			"write more": func(t *rapid.T) {
				table := m.table(t)
				m.one(t, table, m.anyWrite(t, table, nil, true, false))
			},
			"write too far off": m.tooFar,
			"batch":             func(t *rapid.T) { m.batch(t, false) },
			"atomic batch":      func(t *rapid.T) { m.batch(t, true) },
			"split":             func(t *rapid.T) { m.split(t, s) },
			"merge":             func(t *rapid.T) { m.merge(t, s) },
			"mark a moment":     func(t *rapid.T) { moments = append(moments, time.Now().UnixMicro()) },
			"read on": func(t *rapid.T) {
				r := readers[m.table(t)]
				r.drain(t)
				r.hold(t)
			},
			"read all again": func(t *rapid.T) {
				r := newReader(t, c, m.table(t), nil)
				r.drain(t)
				r.hold(t)
			},
			"read from a moment": func(t *rapid.T) {
				table := m.table(t)
				whole := newReader(t, c, table, nil)
				whole.drain(t)
				moment := rapid.SampledFrom(moments).Draw(t, "moment")
				part := newReader(t, c, table, &moment)
				part.drain(t)
				part.holdSince(t, whole, moment)
			},
		})
		for _, table := range m.tables {
			r := readers[table]
			r.drain(t)
			r.hold(t)
			r.holdTimes(t, begun, time.Now().UnixMicro())
			r.holdShards(t, s)
			m.whole(t, table)
		}
	})
}

// split cuts a partition of a table in two, if the key does not begin one.
func (m *model) split(t *rapid.T, s *tablestore.Server) {
	table := m.table(t)
	at := rapid.SampledFrom(valuesOf(table.schema[0].kind)).Draw(t, "at")
	before := partitions(t, s, table)
	wanted := !slices.ContainsFunc(before, func(p tablestore.Part) bool { return valueFromSDK(p.From) == at })
	t.Logf("split %s of %v at %q", table.name, before, at)
	if err := s.SplitShard("lab", table.name, valueToSDK(at)); (err == nil) != wanted {
		t.Fatalf("split %s at %q: %v", table.name, at, err)
	}
	if after := partitions(t, s, table); wanted && len(after) != len(before)+1 {
		t.Fatalf("split %s at %q: %v became %v", table.name, at, before, after)
	}
}

// merge makes two partitions of a table one.
func (m *model) merge(t *rapid.T, s *tablestore.Server) {
	table := m.table(t)
	before := partitions(t, s, table)
	if len(before) == 1 {
		t.Skip("there is one partition")
	}
	i := rapid.IntRange(0, len(before)-2).Draw(t, "partition")
	t.Logf("merge %s: %d of %v", table.name, i, before)
	if err := s.MergeShards("lab", table.name, i); err != nil {
		t.Fatalf("merge %s: %v", table.name, err)
	}
	if after := partitions(t, s, table); len(after) != len(before)-1 {
		t.Fatalf("merge %s: %v became %v", table.name, before, after)
	}
}

func partitions(t *rapid.T, s *tablestore.Server, table *oracleTable) []tablestore.Part {
	all, err := s.Partitions("lab", table.name)
	if err != nil {
		t.Fatalf("partitions of %s: %v", table.name, err)
	}
	return all
}

// holdShards holds the family of the shards: those of today's partitions are
// open and the others are read to their end; each of these has two children of
// its own, or one child with another parent.
func (r *modelReader) holdShards(t *rapid.T, s *tablestore.Server) {
	open := map[sdk.ShardId]bool{}
	for _, p := range partitions(t, s, r.table) {
		open[sdk.ShardId(p.Shard)] = true
	}
	children := map[sdk.ShardId][]*modelShard{}
	for _, one := range r.shards {
		for _, p := range one.parents {
			children[p] = append(children[p], one)
		}
	}
	roots := 0
	for id, one := range r.shards {
		if len(one.parents) == 0 {
			roots++
		}
		of := children[id]
		split := len(of) == 2 && len(of[0].parents) == 1 && len(of[1].parents) == 1
		merged := len(of) == 1 && len(of[0].parents) == 2 && of[0].parents[0] != of[0].parents[1]
		if one.done == open[id] || open[id] && len(of) > 0 || !open[id] && !split && !merged {
			t.Fatalf("%s shard %s: read to its end: %v, open: %v, children %+v", r.table.name, id, one.done, open[id], of)
		}
	}
	if roots != 1 {
		t.Fatalf("%s: %d shards have no parent", r.table.name, roots)
	}
}

// holdSince holds a reader from a moment on against one of everything.
func (r *modelReader) holdSince(t *rapid.T, whole *modelReader, moment int64) {
	for id, s := range whole.shards {
		var want []string
		for _, record := range s.read {
			if record.Info.Timestamp >= moment {
				want = append(want, record.Info.String())
			}
		}
		var got []string
		for _, record := range r.shards[id].read {
			got = append(got, record.Info.String())
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s shard %s from %d:\n%q, want\n%q", r.table.name, id, moment, got, want)
		}
	}
}

// holdTimes holds the times of all records between two moments.
func (r *modelReader) holdTimes(t *rapid.T, from, to int64) {
	for id, s := range r.shards {
		for _, record := range s.read {
			if record.Info.Timestamp < from || record.Info.Timestamp > to {
				t.Fatalf("shard %s: %s is not of [%d, %d]", id, record.Info, from, to)
			}
		}
	}
}
