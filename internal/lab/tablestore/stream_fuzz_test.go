package tablestore

import (
	"encoding/base64"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
)

// Whatever a client sends as an iterator, a token or a name is refused, or is
// exactly what the server would have written.
func FuzzCursor(f *testing.F) {
	for _, c := range []cursor{
		{kind: cursorRead, stream: "t_1"}, {kind: cursorTime, stream: "t_1", shard: 3, at: 1 << 62, left: 7}, {kind: 0xFF, stream: "_"}, {},
	} {
		f.Add(c.String())
		f.Add(c.String()[1:])
	}
	f.Add("")
	f.Add(base64.RawURLEncoding.EncodeToString(make([]byte, 30)))
	w := newWorld(f)
	w.stream(24)
	w.record(put(1, 1))
	it := w.iterator(w.shard(0))
	f.Add(it)
	id, shard := w.table.Stream.ID, w.shard(0)
	f.Fuzz(func(t *testing.T, text string) {
		if c, ok := parseCursor(text); ok && c.String() != text {
			t.Fatalf("%q is read as %+v, which is %q", text, c, c)
		}
		for op, m := range map[string]protoadapt.MessageV1{
			"GetStreamRecord":  &otsprotocol.GetStreamRecordRequest{ShardIterator: &text},
			"GetShardIterator": &otsprotocol.GetShardIteratorRequest{StreamId: &id, ShardId: &shard, Token: &text},
			"DescribeStream":   &otsprotocol.DescribeStreamRequest{StreamId: &text, InclusiveStartShardId: &text},
		} {
			body, err := proto.Marshal(protoadapt.MessageV2Of(m))
			if err != nil {
				return // not UTF-8: no client can send it
			}
			_, ref := operations[op](w.s, &call{op: op, inst: w.in, body: body})
			if ref != nil && ref.status/100 != 4 {
				t.Fatalf("%s of %q: %v", op, text, ref)
			}
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	for _, origin := range [][]string{nil, {"v"}} {
		name := "plain"
		if origin != nil {
			name = "origin"
		}
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			w.stream(24, origin...)
			for i := range int64(7) {
				w.split(i * 1000)
			}
			changes := make([]change, 200)
			for i := range changes {
				changes[i] = put(int64(i*50), 7)
				for _, n := range []string{"w", "x", "y"} {
					c := changes[i].row.Columns[0]
					c.Name = n
					changes[i].row.Columns = append(changes[i].row.Columns, c)
				}
				changes[i].before = &changes[i].row
			}
			b.ReportAllocs()
			w.table.mu.Lock()
			defer w.table.mu.Unlock()
			for b.Loop() {
				batch := w.store.db.NewBatch()
				w.now++
				if err := w.table.record(batch, w.now, changes...); err != nil {
					b.Fatal(err)
				}
				_ = batch.Close()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/200, "ns/row")
		})
	}
}
