package tablestore_test

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
)

const (
	benchWorkers = 4
	benchBatch   = 200 // rows, the most of one batch
	benchTable   = "bench"
)

// benchServer has a table with a stream that is on.
func benchServer(b *testing.B, o tablestore.Options) *tablestore.Server {
	s := start(b, o)
	w := &world{b, s, once(s)}
	w.create(benchTable, "p:s q:i", func(r *sdk.CreateTableRequest) {
		r.StreamSpec = &sdk.StreamSpecification{EnableStream: true, ExpirationTime: 24}
	})
	return s
}

// benchRow is a row of about 100 bytes.
func benchRow(p, q int) *sdk.PutRowChange {
	return putOf(benchTable, key("p", fmt.Sprintf("device-%04d", p), "q", q), "text", strings.Repeat("x", 40), "count", q, "share", 0.5)
}

// figures reports rows a second, and what they cost of the processors, which
// does not depend on who else has them: client and server together.
func figures(b *testing.B, rows int64, before time.Duration) {
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(rows), "cpu-µs/row")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// work shares n pieces of work out among goroutines.
func work(b *testing.B, n int, do func(worker, i int)) {
	var next atomic.Int64
	var done sync.WaitGroup
	for w := range benchWorkers {
		done.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || b.Failed() {
					return
				}
				do(w, i)
			}
		})
	}
	done.Wait()
}

func writeBatch(b *testing.B, c *sdk.TableStoreClient, from int) {
	req := &sdk.BatchWriteRowRequest{}
	for i := from; i < from+benchBatch; i++ {
		req.AddRowChange(benchRow(i%97, i))
	}
	r, err := c.BatchWriteRow(req)
	if err != nil {
		b.Error(err)
		return
	}
	for _, row := range r.TableToRowsResult[benchTable] {
		if !row.IsSucceed {
			b.Error(row.Error)
			return
		}
	}
}

// BenchmarkBatchWrite is the figure of rows written: batches of 200 rows of
// about 100 bytes by four goroutines of the SDK, which shares the processors
// with the server; the stream is on.
func BenchmarkBatchWrite(b *testing.B) {
	for _, where := range []string{"memory", "disk"} {
		b.Run(where, func(b *testing.B) {
			o := tablestore.Options{}
			if where == "disk" {
				o.DataDir = b.TempDir()
			}
			s := benchServer(b, o)
			c := once(s)
			before := cpuTime()
			b.ResetTimer()
			work(b, b.N, func(_, i int) { writeBatch(b, c, i*benchBatch) })
			figures(b, int64(b.N)*benchBatch, before)
		})
	}
}

// BenchmarkRange is the figure of rows read: ranges of up to 5000 rows, as the
// rows of BenchmarkBatchWrite, by four goroutines of the SDK.
func BenchmarkRange(b *testing.B) {
	for _, where := range []string{"memory", "disk"} {
		b.Run(where, func(b *testing.B) {
			o := tablestore.Options{}
			if where == "disk" {
				o.DataDir = b.TempDir()
			}
			s := benchServer(b, o)
			c := once(s)
			const rows = 100_000
			work(b, rows/benchBatch, func(_, i int) { writeBatch(b, c, i*benchBatch) })
			var read atomic.Int64
			from := make([]*sdk.PrimaryKey, benchWorkers)
			before := cpuTime()
			b.ResetTimer()
			work(b, b.N, func(w, _ int) {
				if from[w] == nil {
					from[w] = key("p", minKey, "q", minKey)
				}
				r, err := c.GetRange(&sdk.GetRangeRequest{RangeRowQueryCriteria: &sdk.RangeRowQueryCriteria{
					TableName: benchTable, StartPrimaryKey: from[w], EndPrimaryKey: key("p", maxKey, "q", maxKey), Direction: sdk.FORWARD, MaxVersion: 1,
				}})
				if err != nil {
					b.Error(err)
					return
				}
				read.Add(int64(len(r.Rows)))
				from[w] = r.NextStartPrimaryKey
			})
			figures(b, read.Load(), before)
		})
	}
}
