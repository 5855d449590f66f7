package replication

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"pointsman/replication/ots"
)

// benchRows is how many rows are written in one go by either.
const (
	benchRows  = 20_000
	benchLanes = 16
)

func benchRecords() []ots.Record {
	recs := make([]ots.Record, benchRows)
	for i := range recs {
		recs[i] = record(fmt.Sprintf("key-%08d", i), ots.PutRow,
			put("amount", version, int64(i)), put("changed", version, version),
			ots.Cell{Name: "customer", Version: version, Value: fmt.Sprintf("customer-%032d", i)},
			ots.Cell{Name: "note", Version: version, Value: fmt.Sprintf("%0128d", i)},
			ots.Cell{Name: "paid", Version: version, Value: i%2 == 0})
	}
	return recs
}

// bare writes records with the SDK alone: as many batches side by side, of as
// many rows, as the applier.
func bare(b *testing.B, s *side, recs []ots.Record) {
	client := tablestore.NewClientWithConfig(s.Endpoint(), "lab", s.Key().ID, s.Key().Secret, "", nil)
	batches := make(chan []ots.Record)
	var all sync.WaitGroup
	for range benchLanes {
		all.Go(func() {
			for batch := range batches {
				req := &tablestore.BatchWriteRowRequest{}
				for _, r := range batch {
					change := &tablestore.PutRowChange{TableName: "t", PrimaryKey: &tablestore.PrimaryKey{}}
					change.PrimaryKey.AddPrimaryKeyColumn("pk", r.Key[0].Value)
					for _, c := range r.Cells {
						change.AddColumnWithTimestamp(c.Name, c.Value, c.Version)
					}
					change.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
					req.AddRowChange(change)
				}
				resp, err := client.BatchWriteRow(req)
				if err != nil {
					b.Error(err)
					continue
				}
				for _, r := range resp.TableToRowsResult["t"] {
					if !r.IsSucceed {
						b.Error(r.Error)
					}
				}
			}
		})
	}
	for len(recs) > 0 {
		n := min(len(recs), ots.MaxRows)
		batches <- recs[:n]
		recs = recs[n:]
	}
	close(batches)
	all.Wait()
}

// BenchmarkApplyAgainstSDK writes the same rows in turn with the applier and
// with the bare SDK, so that both have the same machine, and reports how fast
// the applier is in terms of the SDK.
func BenchmarkApplyAgainstSDK(b *testing.B) {
	a := newApplyBench(b, []ots.Table{table("t", 1)}, func(c *applyConfig) { c.Lanes = benchLanes })
	recs := benchRecords()
	apply := func() {
		done := make(chan struct{})
		if err := a.Submit(b.Context(), "t", recs, origin{"s"}, func() { close(done) }); err != nil {
			b.Fatal(err)
		}
		<-done
	}
	bare(b, a.side, recs)
	apply()
	var ours, theirs time.Duration
	for b.Loop() {
		start := time.Now()
		apply()
		middle := time.Now()
		bare(b, a.side, recs)
		ours, theirs = ours+middle.Sub(start), theirs+time.Since(middle)
	}
	n := float64(b.N * benchRows)
	b.ReportMetric(n/ours.Seconds(), "rows/s")
	b.ReportMetric(n/theirs.Seconds(), "sdk-rows/s")
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "of-sdk")
	b.ReportMetric(float64(a.Counts()["t"].Rows)/float64(a.calls("BatchWriteRow")), "rows/batch")
}

// BenchmarkApplyOneRow is a row that changes all the time: what can be folded is
// written once.
func BenchmarkApplyOneRow(b *testing.B) {
	a := newApplyBench(b, []ots.Table{table("t", 1)})
	recs := make([]ots.Record, 1000)
	for i := range recs {
		recs[i] = record("k", ots.UpdateRow, put("a", version+int64(i), int64(i)))
	}
	for b.Loop() {
		done := make(chan struct{})
		if err := a.Submit(b.Context(), "t", recs, origin{"s"}, func() { close(done) }); err != nil {
			b.Fatal(err)
		}
		<-done
	}
	b.ReportMetric(float64(b.N*len(recs))/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkFold(b *testing.B) {
	one := ots.Mutation{Table: "t", Action: ots.PutRow, Key: key("k")}
	for i := range 20 {
		one.Cells = append(one.Cells, put(fmt.Sprintf("column-%02d", i), version, 1))
	}
	two := ots.Mutation{Table: "t", Action: ots.UpdateRow, Key: key("k"), Cells: []ots.Cell{put("column-07", version+1, 2), put("column-19", version+1, 2)}}
	for b.Loop() {
		if _, ok := fold(one, two, 1); !ok {
			b.Fatal("not folded")
		}
	}
}
