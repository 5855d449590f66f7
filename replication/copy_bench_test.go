package replication

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"pointsman/internal/lab/tablestore"
	"pointsman/replication/ots"
)

const (
	benchCopyRows = 60_000 // of about 100 bytes
	benchCopyCuts = 8      // ranges that the bare loop is given
)

// benchCopyRow is one of two key columns, three columns and one version each.
func benchCopyRow(i int) ots.Mutation {
	return ots.Mutation{Action: ots.PutRow, Key: orderKey(fmt.Sprintf("device-%04d", i/100), int64(i)), Cells: []ots.Cell{
		cellOf("count", int64(i), 1), cellOf("share", 0.5, 1), cellOf("text", strings.Repeat("x", 40), 1),
	}}
}

// freshTarget is an empty table in a server of its own.
func freshTarget(b *testing.B) (*tablestore.Server, *ots.Client) {
	s, err := tablestore.New(tablestore.Options{Instances: []tablestore.Instance{{Name: "target"}}})
	if err != nil {
		b.Fatal(err)
	}
	return s, copyClient(b, s, "target")
}

// BenchmarkCopy is the figure of the full copy against a loop of the bare SDK:
// as many ranges at a time, pages and batches of the same sizes, no checks, no
// marks, nothing saved. Both in turn, so that they share what the machine does.
//
//	ratio    rows a second of the copy / those of the loop
//	cpu-µs   of the processors per row; both servers are in it
func BenchmarkCopy(b *testing.B) {
	l := newCopyLab(b)
	var muts []ots.Mutation
	for i := range benchCopyRows {
		muts = append(muts, benchCopyRow(i))
	}
	l.write(l.source, muts...)
	b.ResetTimer()
	var took, cpu [2]time.Duration
	for b.Loop() {
		for i, run := range [...]func(*testing.B, *copyLab, *tablestore.Server, *ots.Client){benchCopyOurs, benchCopyBare} {
			b.StopTimer()
			s, c := freshTarget(b)
			table := l.table
			table.Stream, table.Retention = "", 0
			if err := c.CreateTable(b.Context(), table); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			begin, before := time.Now(), copyCPU()
			run(b, l, s, c)
			took[i] += time.Since(begin)
			cpu[i] += copyCPU() - before
			b.StopTimer()
			c.Close()
			s.Close()
			b.StartTimer()
		}
	}
	rows := float64(b.N) * benchCopyRows
	b.ReportMetric(rows/took[0].Seconds(), "rows/s")
	b.ReportMetric(rows/took[1].Seconds(), "bare-rows/s")
	b.ReportMetric(took[1].Seconds()/took[0].Seconds(), "ratio")
	b.ReportMetric(float64(cpu[0].Microseconds())/rows, "cpu-µs/row")
	b.ReportMetric(float64(cpu[1].Microseconds())/rows, "bare-cpu-µs/row")
}

func copyCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchCopyOurs(b *testing.B, l *copyLab, _ *tablestore.Server, target *ots.Client) {
	cfg := l.config()
	cfg.Target, cfg.Every = target, time.Second
	if err := copyTable(b.Context(), cfg); err != nil {
		b.Fatal(err)
	}
	if p := cfg.Meter.progress(time.Now()); p.Rows != benchCopyRows {
		b.Fatalf("%+v", p)
	}
}

func benchCopyBare(b *testing.B, l *copyLab, to *tablestore.Server, _ *ots.Client) {
	from := sdk.NewClient(l.s.Endpoint(), "source", l.s.Key().ID, l.s.Key().Secret)
	into := sdk.NewClient(to.Endpoint(), "target", to.Key().ID, to.Key().Secret)
	cuts := make(chan int, benchCopyCuts)
	for i := range benchCopyCuts {
		cuts <- i
	}
	close(cuts)
	bound := func(i int) *sdk.PrimaryKey {
		k := &sdk.PrimaryKey{}
		switch i {
		case 0:
			k.AddPrimaryKeyColumnWithMinValue("id")
			k.AddPrimaryKeyColumnWithMinValue("n")
		case benchCopyCuts:
			k.AddPrimaryKeyColumnWithMaxValue("id")
			k.AddPrimaryKeyColumnWithMaxValue("n")
		default:
			k.AddPrimaryKeyColumn("id", fmt.Sprintf("device-%04d", i*benchCopyRows/100/benchCopyCuts))
			k.AddPrimaryKeyColumnWithMinValue("n")
		}
		return k
	}
	var done sync.WaitGroup
	var rows atomic.Int64
	for range copyParallel {
		done.Go(func() {
			for i := range cuts {
				at := bound(i)
				for at != nil {
					page, err := from.GetRange(&sdk.GetRangeRequest{RangeRowQueryCriteria: &sdk.RangeRowQueryCriteria{
						TableName: "orders", StartPrimaryKey: at, EndPrimaryKey: bound(i + 1), Direction: sdk.FORWARD, MaxVersion: 3, Limit: copyPageRows,
					}})
					if err != nil {
						b.Error(err)
						return
					}
					at = page.NextStartPrimaryKey
					rows.Add(int64(len(page.Rows)))
					// As many batches of a page at a time as the copy has in flight.
					var batches sync.WaitGroup
					room := make(chan struct{}, copyInFlight)
					for len(page.Rows) > 0 {
						n := min(len(page.Rows), ots.MaxRows)
						batch := page.Rows[:n]
						page.Rows = page.Rows[n:]
						room <- struct{}{}
						batches.Go(func() {
							defer func() { <-room }()
							benchBareBatch(b, into, batch)
						})
					}
					batches.Wait()
				}
			}
		})
	}
	done.Wait()
	if rows.Load() != benchCopyRows {
		b.Fatalf("%d rows", rows.Load())
	}
}

func benchBareBatch(b *testing.B, c *sdk.TableStoreClient, rows []*sdk.Row) {
	req := &sdk.BatchWriteRowRequest{}
	for _, r := range rows {
		put := &sdk.PutRowChange{TableName: "orders", PrimaryKey: r.PrimaryKey}
		for _, col := range r.Columns {
			put.AddColumnWithTimestamp(col.ColumnName, col.Value, col.Timestamp)
		}
		put.SetCondition(sdk.RowExistenceExpectation_IGNORE)
		req.AddRowChange(put)
	}
	resp, err := c.BatchWriteRow(req)
	if err != nil {
		b.Error(err)
		return
	}
	for _, r := range resp.TableToRowsResult["orders"] {
		if !r.IsSucceed {
			b.Error(r.Error)
			return
		}
	}
}

// BenchmarkVerify is how fast two equal tables are compared, all rows of both.
func BenchmarkVerify(b *testing.B) {
	l := newCopyLab(b)
	var muts []ots.Mutation
	for i := range benchCopyRows {
		muts = append(muts, benchCopyRow(i))
	}
	l.write(l.source, muts...)
	l.write(l.target, muts...)
	b.ReportAllocs()
	before := copyCPU()
	for b.Loop() {
		if r := l.verify(nil); !r.Equal() || r.Tables[0].SourceRows != benchCopyRows {
			b.Fatalf("%+v", r)
		}
	}
	rows := float64(b.N) * benchCopyRows
	b.ReportMetric(rows/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64((copyCPU()-before).Microseconds())/rows, "cpu-µs/row")
}
