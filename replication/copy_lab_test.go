package replication

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pointsman/internal/lab/tablestore"
	"pointsman/replication/ots"
)

// copyLab is a table on two sides, and who reads and writes them.
type copyLab struct {
	t      testing.TB
	s      *tablestore.Server
	source *ots.Client
	target *ots.Client
	table  ots.Table
}

func newCopyLab(t testing.TB, change ...func(source, target *ots.Table)) *copyLab {
	t.Helper()
	s, err := tablestore.New(tablestore.Options{Instances: []tablestore.Instance{{Name: "source"}, {Name: "target"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	l := &copyLab{t: t, s: s, source: copyClient(t, s, "source"), target: copyClient(t, s, "target")}
	at := ots.Table{
		Name: "orders", Key: []ots.KeySchema{{Name: "id", Type: "STRING"}, {Name: "n", Type: "INTEGER"}},
		TTL: -1, MaxVersions: 3, Deviation: 1 << 32, AllowUpdate: true, Retention: 24 * time.Hour,
	}
	there := at
	for _, do := range change {
		do(&at, &there)
	}
	for c, table := range map[*ots.Client]ots.Table{l.source: at, l.target: there} {
		if err := c.CreateTable(t.Context(), table); err != nil {
			t.Fatal(err)
		}
	}
	if l.table, err = l.target.Describe(t.Context(), at.Name); err != nil {
		t.Fatal(err)
	}
	return l
}

func copyClient(t testing.TB, s *tablestore.Server, instance string) *ots.Client {
	t.Helper()
	c, err := ots.Open(ots.Config{Endpoint: s.Endpoint(), Instance: instance, Credentials: func() (ots.Credentials, error) {
		k := s.Key()
		text, err := json.Marshal(map[string]string{"AccessKeyId": k.ID, "AccessKeySecret": k.Secret})
		if err != nil {
			return ots.Credentials{}, err
		}
		return ots.ParseCredentials(text)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func orderKey(id string, n int64) ots.Key {
	return ots.Key{{Name: "id", Value: id}, {Name: "n", Value: n}}
}

// version is of now, plus some ms.
var copyNow = time.Now().UnixMilli()

func cellOf(name string, value ots.Value, version int64) ots.Cell {
	return ots.Cell{Name: name, Value: value, Version: copyNow + version}
}

// write fails the test for a row that is not written.
func (l *copyLab) write(c *ots.Client, muts ...ots.Mutation) {
	l.t.Helper()
	for batch := range slices.Chunk(muts, ots.MaxRows) {
		for i := range batch {
			batch[i].Table = l.table.Name
		}
		res, err := c.Write(context.Background(), batch)
		if err != nil {
			l.t.Fatal(err)
		}
		for i, r := range res {
			if r.Err != nil {
				l.t.Fatalf("%v %v: %v", batch[i].Action, batch[i].Key, r.Err)
			}
		}
	}
}

// rows are put at a side: ids ×, each with so many numbers.
func (l *copyLab) fill(c *ots.Client, ids, each int, value string) {
	l.t.Helper()
	var muts []ots.Mutation
	for i := range ids {
		for n := range each {
			muts = append(muts, ots.Mutation{Action: ots.PutRow, Key: orderKey(fmt.Sprintf("order-%03d", i), int64(n)), Cells: []ots.Cell{
				cellOf("state", value, 1), cellOf("state", "older", 0), cellOf("count", int64(n), 1),
			}})
		}
	}
	l.write(c, muts...)
}

// dump is all that a side holds.
func (l *copyLab) dump(c *ots.Client) map[string]string {
	l.t.Helper()
	out := map[string]string{}
	q := ots.RangeQuery{Table: l.table.Name, MaxVersions: 10}
	for {
		p, err := c.Range(context.Background(), q)
		if err != nil {
			l.t.Fatal(err)
		}
		for _, r := range p.Rows {
			var b strings.Builder
			for _, cell := range r.Cells {
				fmt.Fprintf(&b, "%s@%d=%T %v; ", cell.Name, cell.Version, cell.Value, cell.Value)
			}
			out[r.Key.String()] = b.String()
		}
		if p.Next == nil {
			return out
		}
		q.Start = p.Next
	}
}

// same fails the test unless both sides hold the same.
func (l *copyLab) same() {
	l.t.Helper()
	a, b := l.dump(l.source), l.dump(l.target)
	if maps.Equal(a, b) {
		return
	}
	n := 0
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if b[k] != a[k] && n < 5 {
			n++
			l.t.Errorf("%s: source %q, target %q", k, a[k], b[k])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(b)) {
		if _, ok := a[k]; !ok && n < 10 {
			n++
			l.t.Errorf("%s: only the target has it, %q", k, b[k])
		}
	}
	l.t.FailNow()
}

// stream is where the only shard of the source's table ends.
func (l *copyLab) stream() (iterator string) {
	l.t.Helper()
	ctx := context.Background()
	t, err := l.source.Describe(ctx, l.table.Name)
	if err != nil {
		l.t.Fatal(err)
	}
	_, shards, err := l.source.Shards(ctx, t.Stream)
	if err != nil || len(shards) != 1 {
		l.t.Fatal(shards, err)
	}
	it, err := l.source.Iterator(ctx, t.Stream, shards[0].ID, time.Time{})
	if err != nil {
		l.t.Fatal(err)
	}
	it, _ = l.records(it)
	return it
}

// records are those of the source from an iterator to the end.
func (l *copyLab) records(it string) (end string, recs []ots.Record) {
	l.t.Helper()
	for {
		p, err := l.source.Records(context.Background(), it, 1000)
		if err != nil {
			l.t.Fatal(err)
		}
		recs = append(recs, p.Records...)
		if p.Next == it {
			return it, recs
		}
		it = p.Next
	}
}

// follow applies what the source took since, one write after the other: the
// naive way, in which nothing can go wrong.
func (l *copyLab) follow(it string) (end string) {
	l.t.Helper()
	end, recs := l.records(it)
	for _, r := range recs {
		l.write(l.target, ots.Mutation{Action: r.Action, Key: r.Key, Cells: r.Cells})
	}
	return end
}

// config is a copy that nothing stops and that saves after each page.
func (l *copyLab) config() copyConfig {
	return copyConfig{
		Source: l.source, Target: l.target, Table: l.table,
		Save: func(context.Context, savedCopy) error { return nil },
		May:  func() error { return nil }, Settle: time.Millisecond,
		Refused: func(_ context.Context, _ string, rec ots.Record, cause error) error {
			return fmt.Errorf("%v %v was refused: %w", rec.Action, rec.Key, cause)
		},
		Pool: newCopyPool(0, 0), Meter: newCopyMeter(),
	}
}
