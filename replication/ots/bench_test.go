package ots

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"pointsman/internal/lab/tablestore"
)

// Each benchmark does the same calls through this package and through the bare
// SDK, in turns in one run on one server in this process, and reports the ratio
// of their rates: above 1 this package is faster.

const benchWorkers = 4

func spread(b *testing.B, n int, do func(i int) error) time.Duration {
	var next atomic.Int64
	var done sync.WaitGroup
	start := time.Now()
	for range benchWorkers {
		done.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || b.Failed() {
					return
				}
				if err := do(i); err != nil {
					b.Error(err)
				}
			}
		})
	}
	done.Wait()
	return time.Since(start)
}

func compare(b *testing.B, ours, bare func(i int) error) {
	var a, z, cpuA, cpuZ time.Duration
	const turn = 8
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += turn {
		n := min(turn, b.N-i)
		for half := range 2 {
			before := cpuTime()
			if (i/turn+half)%2 == 0 {
				a += spread(b, n, ours)
				cpuA += cpuTime() - before
			} else {
				z += spread(b, n, bare)
				cpuZ += cpuTime() - before
			}
		}
	}
	b.ReportMetric(float64(z)/float64(a), "x-bare")
	b.ReportMetric(float64(cpuZ)/float64(cpuA), "x-bare-cpu")
}

// cpuTime is of this process, client and server; other processes do not count.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func bench(b *testing.B) (*Client, *sdk.TableStoreClient) {
	s, c := start(b, tablestore.Options{})
	if err := c.CreateTable(context.Background(), ordersTable); err != nil {
		b.Fatal(err)
	}
	return c, sdk.NewClient(s.Endpoint(), c.Instance(), s.Key().ID, s.Key().Secret)
}

func benchCells(i int) []Cell {
	now := time.Now().UnixMilli()
	return []Cell{
		{Name: "count", Value: int64(i), Version: now}, {Name: "share", Value: 0.5, Version: now}, {Name: "text", Value: strings.Repeat("x", 40), Version: now},
	}
}

func benchKey(i int) Key { return orders(fmt.Sprintf("device-%04d", i%97), int64(i)) }

func benchBatch(i, rows int) []Mutation {
	out := make([]Mutation, rows)
	for j := range out {
		out[j] = Mutation{"orders", PutRow, benchKey(i*rows + j), benchCells(j)}
	}
	return out
}

func bareBatch(c *sdk.TableStoreClient, i, rows int) error {
	req := &sdk.BatchWriteRowRequest{}
	for j := range rows {
		ch := &sdk.PutRowChange{TableName: "orders", PrimaryKey: sdkKey(benchKey(i*rows + j))}
		for _, cell := range benchCells(j) {
			ch.AddColumnWithTimestamp(cell.Name, cell.Value, cell.Version)
		}
		ch.SetCondition(sdk.RowExistenceExpectation_IGNORE)
		req.AddRowChange(ch)
	}
	r, err := c.BatchWriteRow(req)
	if err != nil {
		return err
	}
	for _, row := range r.TableToRowsResult["orders"] {
		if !row.IsSucceed {
			return fmt.Errorf("%s: %s", row.Error.Code, row.Error.Message)
		}
	}
	return nil
}

func write(c *Client, rows []Mutation) error {
	res, err := c.Write(context.Background(), rows)
	for _, r := range res {
		if r.Err != nil {
			return r.Err
		}
	}
	return err
}

func BenchmarkWrite(b *testing.B) {
	for _, rows := range []int{1, 200} {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			c, bare := bench(b)
			compare(b, func(i int) error { return write(c, benchBatch(i, rows)) }, func(i int) error { return bareBatch(bare, i, rows) })
		})
	}
}

func BenchmarkRange(b *testing.B) {
	c, bare := bench(b)
	for i := range 10 {
		if err := write(c, benchBatch(i, 200)); err != nil {
			b.Fatal(err)
		}
	}
	from, to := &sdk.PrimaryKey{}, &sdk.PrimaryKey{}
	for _, k := range ordersTable.Key {
		from.AddPrimaryKeyColumnWithMinValue(k.Name)
		to.AddPrimaryKeyColumnWithMaxValue(k.Name)
	}
	compare(b, func(int) error {
		p, err := c.Range(context.Background(), RangeQuery{Table: "orders", MaxVersions: 3})
		if err == nil && len(p.Rows) != 2000 {
			err = fmt.Errorf("%d rows", len(p.Rows))
		}
		return err
	}, func(int) error {
		_, err := bare.GetRange(&sdk.GetRangeRequest{RangeRowQueryCriteria: &sdk.RangeRowQueryCriteria{
			TableName: "orders", StartPrimaryKey: from, EndPrimaryKey: to, MaxVersion: 3, Limit: 5000,
		}})
		return err
	})
}

func BenchmarkRecords(b *testing.B) {
	ctx := context.Background()
	c, bare := bench(b)
	t, err := c.Describe(ctx, "orders")
	if err != nil {
		b.Fatal(err)
	}
	_, shards, err := c.Shards(ctx, t.Stream)
	if err != nil {
		b.Fatal(err)
	}
	it, err := c.Iterator(ctx, t.Stream, shards[0].ID, time.Time{})
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{0, 1000} {
		if n > 0 {
			for i := range n / 200 {
				if err := write(c, benchBatch(i, 200)); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			compare(b, func(int) error {
				p, err := c.Records(ctx, it, 1000)
				if err == nil && len(p.Records) != n {
					err = fmt.Errorf("%d records", len(p.Records))
				}
				return err
			}, func(int) error {
				bareIt, limit := sdk.ShardIterator(it), int32(1000)
				_, err := bare.GetStreamRecord(&sdk.GetStreamRecordRequest{ShardIterator: &bareIt, Limit: &limit})
				return err
			})
		})
	}
}

func BenchmarkGet(b *testing.B) {
	c, bare := bench(b)
	if err := write(c, benchBatch(0, 200)); err != nil {
		b.Fatal(err)
	}
	var keys []Key
	want := &sdk.MultiRowQueryCriteria{TableName: "orders", MaxVersion: 3}
	for i := range 100 {
		keys = append(keys, benchKey(i))
		want.AddRow(sdkKey(benchKey(i)))
	}
	compare(b, func(int) error {
		_, err := c.Get(context.Background(), "orders", keys, 3)
		return err
	}, func(int) error {
		_, err := bare.BatchGetRow(&sdk.BatchGetRowRequest{MultiRowQueryCriteria: []*sdk.MultiRowQueryCriteria{want}})
		return err
	})
}

func BenchmarkKey(b *testing.B) {
	k := orders("device-0001", 77)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeKey(k.Encode()); err != nil {
			b.Fatal(err)
		}
	}
}
