package ots

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
)

// TestRecords: actions, cells and operations as they were, in order.
func TestRecords(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	k := orders("k", math.MinInt64)
	put := []Cell{{Name: "a", Value: "x", Version: 9}, {Name: "a", Value: "y", Version: 0}, {Name: "b", Value: int64(1), Version: 4}}
	update := []Cell{
		{Name: "a", Op: DeleteOne, Version: 0},
		{Name: "b", Op: DeleteAll},
		{Name: "c", Op: DeleteOne, Version: 4},
		{Name: "d", Value: []byte{}, Version: 8},
	}
	if err := write(w.c, []Mutation{{"orders", PutRow, k, put}, {"orders", UpdateRow, k, update}, {"orders", DeleteRow, k, nil}, {"orders", PutRow, k, nil}}); err != nil {
		t.Fatal(err)
	}
	p, err := w.c.Records(ctx, w.begin, 0)
	if err != nil || len(p.Records) != 5 {
		t.Fatal(p, err)
	}
	got := p.Records[1:]
	for i, want := range []Record{{Action: PutRow, Cells: put}, {Action: UpdateRow, Cells: update}, {Action: DeleteRow}, {Action: PutRow}} {
		want.Key, want.Seq = k, got[i].Seq
		if !reflect.DeepEqual(got[i], want) {
			t.Errorf("%+v\nwant %+v", got[i], want)
		}
		if i > 0 && got[i-1].Seq.Compare(got[i].Seq) >= 0 {
			t.Errorf("%+v is not before %+v", got[i-1].Seq, got[i].Seq)
		}
	}
	if p.Server.IsZero() || p.Received.Before(p.Sent) || p.Next == w.begin || p.Read < 1 {
		t.Errorf("%+v", p)
	}
	// An open shard with nothing new gives back what was sent.
	next, err := w.c.Records(ctx, p.Next, 10)
	if err != nil || next.Next != p.Next || len(next.Records) != 0 {
		t.Errorf("%+v, %v", next, err)
	}
	// Pages.
	one, err := w.c.Records(ctx, w.begin, 1)
	if err != nil || len(one.Records) != 1 || one.Next == w.begin {
		t.Errorf("%+v, %v", one, err)
	}
}

// TestDeletionOfVersionZero: the SDK takes it for the deletion of all versions,
// which would remove at the standby what is there on the other side.
func TestDeletionOfVersionZero(t *testing.T) {
	w := newWorld(t)
	if err := write(w.c, []Mutation{{"orders", UpdateRow, orders("a", 1), []Cell{{Name: "c", Op: DeleteOne, Version: 0}}}}); err != nil {
		t.Fatal(err)
	}
	p, err := w.c.Records(context.Background(), w.begin, 0)
	if err != nil || p.Records[1].Cells[0] != (Cell{Name: "c", Op: DeleteOne}) {
		t.Errorf("%+v, %v", p, err)
	}
	bare := sdk.NewClient(w.Endpoint(), w.c.Instance(), w.Key().ID, w.Key().Secret)
	it := sdk.ShardIterator(w.begin)
	r, err := bare.GetStreamRecord(&sdk.GetStreamRecordRequest{ShardIterator: &it})
	if err != nil || r.Records[1].Columns[0].Type != sdk.RCT_DeleteAllVersions {
		t.Errorf("the SDK tells them apart now: %+v, %v", r, err)
	}
}

// TestIncrements come as the puts that they resulted in.
func TestIncrements(t *testing.T) {
	w := newWorld(t)
	bare := sdk.NewClient(w.Endpoint(), w.c.Instance(), w.Key().ID, w.Key().Secret)
	for range 2 {
		ch := &sdk.UpdateRowChange{TableName: "orders", PrimaryKey: sdkKey(orders("n", 1))}
		ch.IncrementColumn("sum", 5)
		ch.SetCondition(sdk.RowExistenceExpectation_IGNORE)
		if _, err := bare.UpdateRow(&sdk.UpdateRowRequest{UpdateRowChange: ch}); err != nil {
			t.Fatal(err)
		}
	}
	p, err := w.c.Records(context.Background(), w.begin, 0)
	if err != nil || len(p.Records) != 3 {
		t.Fatal(p, err)
	}
	if c := p.Records[2].Cells[0]; c.Op != Put || c.Value != int64(10) || c.Version == 0 {
		t.Errorf("%+v", c)
	}
	// Should one come as its delta, it is not taken for a value.
	raw := Mutation{"t", UpdateRow, orders("k", 1), []Cell{{Name: "n", Value: int64(5), Version: 1}}}
	if _, err := decodeRows(withOp(raw, 4)); !errors.Is(err, ErrAnswer) {
		t.Error(err)
	}
}

// withOp is a row whose one cell has an operation beside its value.
func withOp(m Mutation, op byte) []byte {
	b := m.plain()
	tail := b[len(b)-13:] // 07 version 0a sum 09 sum
	at := tail[1:9]
	out := append(slices.Clone(b[:len(b)-13]), 6, op, 7)
	out = append(out, at...)
	cell := crcTable[tail[10]^op]
	key := byte(0)
	for _, c := range m.Key {
		_, key = appendCell(nil, key, Cell{Name: c.Name, Value: c.Value}, false)
	}
	return append(out, 0x0a, cell, 9, crcTable[crcTable[key^cell]])
}

// TestSplitAndMerge: parents and children, all pages of them, closed shards that
// end, and records of both times.
func TestSplitAndMerge(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	const parts = 120 // more than a page of shards
	for i := 1; i < parts; i++ {
		if err := w.SplitShard(w.c.Instance(), "orders", fmt.Sprintf("b%03d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.MergeShards(w.c.Instance(), "orders", 0); err != nil {
		t.Fatal(err)
	}
	s, shards, err := w.c.Shards(ctx, w.table.Stream)
	if err != nil || s.Table != "orders" || s.ID != w.table.Stream || s.Retention != 24*time.Hour || s.Created.IsZero() {
		t.Fatal(s, err)
	}
	of := map[string]Shard{}
	count := map[int]int{}
	for _, sh := range shards {
		of[sh.ID] = sh
		count[len(sh.Parents)]++
	}
	if len(of) != len(shards) || len(shards) != 1+2*(parts-1)+1 || count[0] != 1 || count[2] != 1 {
		t.Errorf("%d shards, %v", len(shards), count)
	}
	for _, sh := range shards {
		for _, p := range sh.Parents {
			if _, ok := of[p]; !ok {
				t.Errorf("%s has a parent %s that is not listed", sh.ID, p)
			}
		}
	}
	p, err := w.c.Records(ctx, w.begin, 0)
	if err != nil || p.Next != "" || len(p.Records) != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	streams, err := w.c.Streams(ctx, "orders")
	if err != nil || len(streams) != 1 || streams[0].ID != w.table.Stream || streams[0].Table != "orders" || !streams[0].Created.Equal(s.Created) {
		t.Error(streams, err)
	}
}

// TestIterators: by time, by tokens, and what is no more.
func TestIterators(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	w.StreamTokens(3)
	it, err := w.c.Iterator(ctx, w.table.Stream, w.shard, time.Time{})
	if err != nil || it != w.begin {
		t.Error(it, err)
	}
	p, err := w.c.Records(ctx, it, 0)
	if err != nil {
		t.Fatal(err)
	}
	last := time.UnixMicro(p.Records[len(p.Records)-1].Seq.Time)
	if it, err = w.c.Iterator(ctx, w.table.Stream, w.shard, last.Add(time.Microsecond)); err != nil || it != p.Next {
		t.Errorf("%s, %v, want %s", it, err, p.Next)
	}
	if it, err = w.c.Iterator(ctx, w.table.Stream, w.shard, last); err != nil || it != w.begin {
		t.Errorf("%s, %v, want %s", it, err, w.begin)
	}
	if _, err := w.c.Iterator(ctx, w.table.Stream, "none", last); ClassOf(err) != ClassAbsent {
		t.Error(err)
	}
	if _, err := w.c.Iterator(ctx, "orders_1", w.shard, last); ClassOf(err) != ClassAbsent {
		t.Error(err)
	}
	if _, _, err := w.c.Shards(ctx, "orders_1"); ClassOf(err) != ClassAbsent {
		t.Error(err)
	}
	if _, err := w.Trim(w.c.Instance(), "orders", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.c.Records(ctx, w.begin, 0); ClassOf(err) != ClassTrimmed {
		t.Error(err)
	}
	no, yes := false, true
	if err := w.c.UpdateTable(ctx, "orders", TableChange{Stream: &no}); err != nil {
		t.Fatal(err)
	}
	if s, err := w.c.Streams(ctx, "orders"); err != nil || len(s) != 0 {
		t.Error(s, err)
	}
	if _, err := w.c.Records(ctx, p.Next, 0); ClassOf(err) != ClassAbsent {
		t.Error(err)
	}
	if err := w.c.UpdateTable(ctx, "orders", TableChange{Stream: &yes, Retention: 90 * time.Minute, Before: []string{"c"}}); err != nil {
		t.Fatal(err)
	}
	table, err := w.c.Describe(ctx, "orders")
	if err != nil || table.Stream == w.table.Stream || table.Retention != 2*time.Hour || table.StreamSince.Before(w.table.StreamSince) {
		t.Errorf("%+v, %v", table, err)
	}
	_, shards, err := w.c.Shards(ctx, table.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := write(w.c, []Mutation{{"orders", DeleteRow, orders("a", 1), nil}}); err != nil {
		t.Fatal(err)
	}
	if it, err = w.c.Iterator(ctx, table.Stream, shards[0].ID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if p, err = w.c.Records(ctx, it, 0); err != nil || len(p.Records) != 1 || !reflect.DeepEqual(p.Records[0].Before, []Cell{{Name: "c", Value: "x", Version: 5}}) {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestEpoch and place of records are what the server says.
func TestEpoch(t *testing.T) {
	w := newWorld(t)
	if err := w.SetEpoch(w.c.Instance(), "orders", 7); err != nil {
		t.Fatal(err)
	}
	if err := write(w.c, benchBatch(0, 3)); err != nil {
		t.Fatal(err)
	}
	p, err := w.c.Records(context.Background(), w.begin, 0)
	if err != nil || len(p.Records) != 4 {
		t.Fatal(p, err)
	}
	for i, r := range p.Records[1:] {
		if r.Seq.Epoch != 7 || i > 0 && p.Records[i].Seq.Compare(r.Seq) >= 0 {
			t.Errorf("%+v", r.Seq)
		}
	}
}
