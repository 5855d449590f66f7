package tablestore

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
)

const hour = int64(time.Hour / time.Microsecond)

func TestWhatAStreamMayBe(t *testing.T) {
	w := newWorld(t)
	spec := func(hours int32, columns ...string) *otsprotocol.StreamSpecification {
		return &otsprotocol.StreamSpecification{EnableStream: proto.Bool(true), ExpirationTime: &hours, ColumnsToGet: columns}
	}
	long := string(make([]byte, 256))
	for _, bad := range []*otsprotocol.StreamSpecification{
		spec(0), spec(-1), spec(169),
		{EnableStream: proto.Bool(true)},
		spec(1, ""), spec(1, long), spec(1, "a", "a"), spec(1, "k"), spec(1, "\xff"),
	} {
		if ref := w.table.checkStream(bad); ref == nil || ref.code != codeParameterInvalid {
			t.Errorf("%v: %v", bad, ref)
		}
	}
	w.stream(168, "a")
	before := w.table.streamDetails()
	if !before.GetEnableStream() || before.GetExpirationTime() != 168 || before.GetLastEnableTime() != w.now || before.GetStreamId() != fmt.Sprintf("t_1_%d", w.now) || !slices.Equal(before.ColumnsToGet, []string{"a"}) {
		t.Errorf("%v", before)
	}
	for _, bad := range []*otsprotocol.StreamSpecification{spec(167, "a"), spec(168), spec(168, "b")} {
		b := w.store.db.NewBatch()
		if ref := w.table.setStream(b, bad, w.now); ref == nil || ref.code != codeParameterInvalid || w.table.streamDetails().GetStreamId() != before.GetStreamId() {
			t.Errorf("changed while it was on: %v", ref)
		}
		_ = b.Close()
	}
	w.now += 5
	w.stream(168, "a") // nothing is changed
	if w.table.streamDetails().GetStreamId() != before.GetStreamId() {
		t.Error("a new stream for no reason")
	}
}

func TestAStreamThatIsOnAgainIsAnother(t *testing.T) {
	w := newWorld(t)
	list := func(name *string) []*otsprotocol.Stream {
		return must[*otsprotocol.ListStreamResponse](w, "ListStream", &otsprotocol.ListStreamRequest{TableName: name}).Streams
	}
	if got := list(proto.String("t_1")); len(got) != 0 {
		t.Errorf("%v", got)
	}
	refused(w, "ListStream", &otsprotocol.ListStreamRequest{TableName: proto.String("x")}, codeObjectNotExist, "table does not exist")
	w.stream(24)
	id, shard := w.table.Stream.ID, w.shard(0)
	for _, name := range []*string{nil, proto.String("t_1")} {
		if got := list(name); len(got) != 1 || got[0].GetStreamId() != id || got[0].GetTableName() != "t_1" || got[0].GetCreationTime() != w.now {
			t.Errorf("%v", got)
		}
	}
	w.record(put(1, 1))
	it := w.iterator(shard)
	w.stream(0)
	dead := func() {
		t.Helper()
		refused(w, "GetStreamRecord", &otsprotocol.GetStreamRecordRequest{ShardIterator: &it}, codeObjectNotExist, "stream does not exist")
		refused(w, "GetShardIterator", &otsprotocol.GetShardIteratorRequest{StreamId: &id, ShardId: &shard}, codeObjectNotExist, "stream does not exist")
		refused(w, "DescribeStream", &otsprotocol.DescribeStreamRequest{StreamId: &id}, codeObjectNotExist, "stream does not exist")
	}
	dead()
	if w.stored() != 0 || len(list(nil)) != 0 || w.table.streamDetails().GetEnableStream() || w.table.streamDetails().StreamId != nil {
		t.Error("the stream is not gone")
	}
	w.record(put(1, 2))
	w.now -= hour // the clock gives no old name again
	w.stream(12)
	if w.table.Stream.ID == id {
		t.Error("the same name again")
	}
	dead()
	if r := w.get(w.iterator(w.shard(0)), 0); len(r.StreamRecords) != 0 {
		t.Errorf("%v", r)
	}
	w.open()
	dead()
	other := w.table.Stream.ID
	w.stream(0)
	w.open()
	w.stream(12)
	if w.table.Stream.ID == id || w.table.Stream.ID == other {
		t.Error("a name of before the restart again")
	}
}

func TestWhatDoesNotExist(t *testing.T) {
	w := newWorld(t)
	w.stream(24)
	id, shard := w.table.Stream.ID, w.shard(0)
	for _, other := range []string{"", "t_1", "t_1_", "t_1_1", "x_1", "_", id + "0"} {
		refused(w, "DescribeStream", &otsprotocol.DescribeStreamRequest{StreamId: &other}, codeObjectNotExist, "stream")
		refused(w, "GetShardIterator", &otsprotocol.GetShardIteratorRequest{StreamId: &other, ShardId: &shard}, codeObjectNotExist, "stream")
	}
	for _, other := range []string{"", "x", shard + "0"} {
		refused(w, "GetShardIterator", &otsprotocol.GetShardIteratorRequest{StreamId: &id, ShardId: &other}, codeObjectNotExist, "shard")
	}
	refused(w, "GetShardIterator", &otsprotocol.GetShardIteratorRequest{StreamId: &id, ShardId: &shard, Timestamp: proto.Int64(-1)}, codeParameterInvalid, "timestamp")
	refused(w, "DescribeStream", &otsprotocol.DescribeStreamRequest{StreamId: &id, InclusiveStartShardId: proto.String("x")}, codeObjectNotExist, "shard")
	for _, n := range []int32{0, -1} {
		refused(w, "DescribeStream", &otsprotocol.DescribeStreamRequest{StreamId: &id, ShardLimit: &n}, codeParameterInvalid, "limit")
		refused(w, "GetStreamRecord", &otsprotocol.GetStreamRecordRequest{ShardIterator: proto.String(w.iterator(shard)), Limit: &n}, codeParameterInvalid, "limit")
	}
	it := w.iterator(shard)
	token := cursor{kind: cursorTime, stream: id, shard: 0, at: 1}
	for _, bad := range []string{"", "x", it[1:], it[:len(it)-1], it + "A", it + "=", it + "\n", " " + it, token.String()} {
		refused(w, "GetStreamRecord", &otsprotocol.GetStreamRecordRequest{ShardIterator: &bad}, codeParameterInvalid, "Invalid shard iterator")
	}
	other := token
	other.stream = "u_1"
	wrong := token
	wrong.shard = 1
	for _, bad := range []string{"", "x", it, other.String(), wrong.String()} {
		refused(w, "GetShardIterator", &otsprotocol.GetShardIteratorRequest{StreamId: &id, ShardId: &shard, Token: &bad}, codeParameterInvalid, "Invalid token")
	}
	refused(w, "GetStreamRecord", &otsprotocol.GetStreamRecordRequest{ShardIterator: &it, NewRowReturnPolicy: otsprotocol.NewRowReturnPolicy_WITH_NEW_ROW.Enum()}, codeUnsupported, "new row")
	// Positions that there are not: of a shard, and in one.
	for _, bad := range []cursor{{kind: cursorRead, stream: id, shard: 9}, {kind: cursorRead, stream: id, at: 1}} {
		refused(w, "GetStreamRecord", &otsprotocol.GetStreamRecordRequest{ShardIterator: proto.String(bad.String())}, codeTrimmed, "already trimmed or does not exist")
	}
}

func TestOneStoreOfSeveralInstances(t *testing.T) {
	w := newWorld(t)
	other, err := w.store.openInstance("other")
	if err != nil {
		t.Fatal(err)
	}
	x := newTable(other, tableRecord{ID: 8, Name: "t_1", Parts: []partition{{}}, Keys: w.table.Keys})
	other.tables["t_1"] = x
	w.stream(24)
	b := w.store.db.NewBatch()
	if ref := x.setStream(b, &otsprotocol.StreamSpecification{EnableStream: proto.Bool(true), ExpirationTime: proto.Int32(1)}, w.now); ref != nil {
		t.Fatal(ref)
	}
	if err := x.record(b, w.now, put(1, 7)); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	if r := w.get(w.iterator(w.shard(0)), 0); len(r.StreamRecords) != 0 || x.Stream.ID == w.table.Stream.ID {
		t.Errorf("%v of the other instance", r)
	}
	w.stream(0)
	if w.stored() != 1 {
		t.Errorf("%d records", w.stored())
	}
}
