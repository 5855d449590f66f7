package replication

import (
	"context"
	"encoding/json"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"pointsman/internal/failover"
	lab "pointsman/internal/lab/tablestore"
	"pointsman/replication/ots"
)

// steady is a replicator with the usual settings that follows one table, both
// clusters in this process.
type steady struct {
	b            *testing.B
	from, to     *lab.Server
	source       *ots.Client
	bare, target *sdk.TableStoreClient
	r            *Replicator
	rows         int64 // that were written
}

func steadyConfig(s *lab.Server) ots.Config {
	return ots.Config{Endpoint: s.Endpoint(), Instance: "lab", Credentials: func() (ots.Credentials, error) {
		text, err := json.Marshal(map[string]string{"AccessKeyId": s.Key().ID, "AccessKeySecret": s.Key().Secret})
		if err != nil {
			return ots.Credentials{}, err
		}
		return ots.ParseCredentials(text)
	}}
}

var steadyTable = ots.Table{
	Name: "steady", Key: []ots.KeySchema{{Name: "k", Type: "INTEGER"}}, MaxVersions: 1, Deviation: 1<<31 - 1, AllowUpdate: true, Retention: 168 * time.Hour,
}

func newSteady(b *testing.B) *steady {
	s := &steady{b: b}
	for _, side := range []**lab.Server{&s.from, &s.to} {
		server, err := lab.New(lab.Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { server.Close() })
		*side = server
		c, err := ots.Open(steadyConfig(server))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(c.Close)
		for _, t := range []ots.Table{steadyTable, controlSchema(Prefix + "replication"), deadSchema(Prefix + "dead_letters")} {
			if err := c.CreateTable(b.Context(), t); err != nil {
				b.Fatal(err)
			}
		}
		if side == &s.from {
			s.source = c
		}
	}
	s.bare = sdk.NewClient(s.from.Endpoint(), "lab", s.from.Key().ID, s.from.Key().Secret)
	s.target = sdk.NewClient(s.to.Endpoint(), "lab", s.to.Key().ID, s.to.Key().Secret)
	cluster := func(server *lab.Server) ClusterConfig {
		c := steadyConfig(server)
		return ClusterConfig{Source: c, Target: c, Control: c}
	}
	r, err := New(Config{
		Instance: "steady.example.", Clusters: map[failover.ClusterName]ClusterConfig{"a": cluster(s.from), "b": cluster(s.to)},
		Dir: b.TempDir(), By: "bench", Tables: []string{"steady"},
	})
	if err != nil {
		b.Fatal(err)
	}
	s.r = r
	ctx, end := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) })
	b.Cleanup(func() { end(); running.Wait() })
	r.Follow(Course{Token: failover.Token{Term: 1, Epoch: 1}, Leading: true, Active: "a", Standby: "b", State: failover.StandbyPlain})
	s.until(func(t TableStatus) bool { return t.Phase == PhaseFollowing })
	return s
}

// until waits for a word on the table.
func (s *steady) until(so func(TableStatus) bool) {
	for {
		if st := s.r.Status(); len(st.Tables) == 1 && so(st.Tables[0]) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// steadyRow is one of about 100 bytes.
func steadyRow(k int64) ots.Mutation {
	return ots.Mutation{Table: "steady", Action: ots.PutRow, Key: ots.Key{{Name: "k", Value: k}}, Cells: []ots.Cell{
		{Name: "count", Value: k, Version: 1}, {Name: "share", Value: 0.5, Version: 1}, {Name: "text", Value: strings.Repeat("x", 40), Version: 1},
	}}
}

// write puts so many rows more at the source.
func (s *steady) write(n int) {
	for n > 0 {
		var batch []ots.Mutation
		for range min(n, ots.MaxRows) {
			batch = append(batch, steadyRow(s.rows))
			s.rows++
		}
		n -= len(batch)
		results, err := s.source.Write(s.b.Context(), batch)
		if err != nil {
			s.b.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil {
				s.b.Fatal(r.Err)
			}
		}
	}
}

// ours has the replicator apply n rows that wait for it.
func (s *steady) ours(n int) time.Duration {
	ctx := s.b.Context()
	if err := s.r.Pause(ctx, "bench", "rows gather"); err != nil {
		s.b.Fatal(err)
	}
	var before int64
	s.until(func(t TableStatus) bool { before = t.Applied; return true })
	s.write(n)
	begin := time.Now()
	if err := s.r.Resume(ctx, "bench"); err != nil {
		s.b.Fatal(err)
	}
	s.until(func(t TableStatus) bool { return t.Applied >= before+int64(n) })
	return time.Since(begin)
}

// bareLoop reads n records of the stream and writes them to the target with the
// bare SDK: pages of 1000, batches of 200, as many in flight as the replicator
// has lanes. It keeps no order of keys, no positions, and looks at nothing.
func (s *steady) bareLoop(n int) time.Duration {
	at, _, err := ends(s.b.Context(), s.source, "steady", time.Millisecond)
	if err != nil {
		s.b.Fatal(err)
	}
	s.write(n)
	begin := time.Now()
	it := sdk.ShardIterator(at[0].Iterator)
	limit := int32(1000)
	batches := make(chan []*sdk.StreamRecord, 8)
	var lanes sync.WaitGroup
	for range 8 {
		lanes.Go(func() {
			for batch := range batches {
				req := &sdk.BatchWriteRowRequest{}
				for _, r := range batch {
					ch := &sdk.PutRowChange{TableName: "steady", PrimaryKey: r.PrimaryKey}
					for _, c := range r.Columns {
						ch.AddColumnWithTimestamp(*c.Name, c.Value, *c.Timestamp)
					}
					ch.SetCondition(sdk.RowExistenceExpectation_IGNORE)
					req.AddRowChange(ch)
				}
				resp, err := s.target.BatchWriteRow(req)
				if err != nil {
					s.b.Error(err)
					return
				}
				for _, r := range resp.TableToRowsResult["steady"] {
					if !r.IsSucceed {
						s.b.Error(r.Error)
					}
				}
			}
		})
	}
	for n > 0 {
		page, err := s.bare.GetStreamRecord(&sdk.GetStreamRecordRequest{ShardIterator: &it, Limit: &limit})
		if err != nil {
			s.b.Fatal(err)
		}
		it = *page.NextShardIterator
		n -= len(page.Records)
		for batch := range slices.Chunk(page.Records, ots.MaxRows) {
			batches <- batch
		}
	}
	close(batches)
	lanes.Wait()
	return time.Since(begin)
}

// BenchmarkSteady is the figure of the whole replicator: from the stream of one
// cluster to rows at the other, against a loop of the bare SDK on the same
// servers, in turns. What lag there is at half the rate that it can do follows,
// and the memory that it holds.
//
//	x-bare      rate of the replicator / rate of the loop
//	lag-*-ms    from the acknowledgement at the source until the row can be
//	            read at the target, of single rows, while half the rate is written
//	held-MiB    live memory after a collection while rows are applied, less that
//	            of before; both servers' part of the rows is in it
func BenchmarkSteady(b *testing.B) {
	const rows = 20_000
	s := newSteady(b)
	s.ours(rows) // what is allocated once
	s.bareLoop(rows)
	s.until(func(t TableStatus) bool { return t.Applied >= s.rows })
	var ours, bare time.Duration
	b.ResetTimer()
	for b.Loop() {
		ours += s.ours(rows)
		bare += s.bareLoop(rows)
		s.until(func(t TableStatus) bool { return t.Applied >= s.rows })
	}
	b.StopTimer()
	rate := float64(b.N*rows) / ours.Seconds()
	b.ReportMetric(rate, "rows/s")
	b.ReportMetric(float64(bare)/float64(ours), "x-bare")
	lags, held := s.half(rate/2, 3*time.Second)
	slices.Sort(lags)
	b.ReportMetric(float64(lags[len(lags)/2].Microseconds())/1000, "lag-p50-ms")
	b.ReportMetric(float64(lags[len(lags)*99/100].Microseconds())/1000, "lag-p99-ms")
	b.ReportMetric(float64(held)/(1<<20), "held-MiB")
}

// half writes at a rate for a while, and measures single rows meanwhile.
func (s *steady) half(rate float64, last time.Duration) (lags []time.Duration, held int64) {
	live := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := live()
	stop := time.Now().Add(last)
	var writer sync.WaitGroup
	writer.Go(func() {
		every := time.Duration(float64(ots.MaxRows) / rate * float64(time.Second))
		for next := time.Now(); next.Before(stop); next = next.Add(every) {
			time.Sleep(time.Until(next))
			s.write(ots.MaxRows)
		}
	})
	for k := int64(-1); time.Now().Before(stop); k-- {
		res, err := s.source.Write(s.b.Context(), []ots.Mutation{steadyRow(k)})
		if err != nil || res[0].Err != nil {
			s.b.Fatal(err, res)
		}
		begin := time.Now()
		key := &sdk.PrimaryKey{}
		key.AddPrimaryKeyColumn("k", k)
		for {
			r, err := s.target.GetRow(&sdk.GetRowRequest{SingleRowQueryCriteria: &sdk.SingleRowQueryCriteria{TableName: "steady", PrimaryKey: key, MaxVersion: 1}})
			if err != nil {
				s.b.Fatal(err)
			}
			if len(r.PrimaryKey.PrimaryKeys) > 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		lags = append(lags, time.Since(begin))
	}
	held = live() - before
	writer.Wait()
	if len(lags) == 0 {
		s.b.Fatal("no row came")
	}
	return lags, held
}
