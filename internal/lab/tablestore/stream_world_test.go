package tablestore

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"pgregory.net/rapid"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"pointsman/internal/lab/tablestore/plainbuffer"
)

// world is an instance with one table and a clock that stands, without HTTP:
// what is written goes to record as the writers of rows do it.
type world struct {
	t     rapid.TB
	s     *Server
	store *store
	in    *instance
	table *table
	now   int64 // µs
}

// newWorld has a table "t" with the key k, an integer, on a store of its own.
func newWorld(t testing.TB) *world {
	t.Helper()
	st, err := openStore("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.close(); err != nil {
			t.Error(err)
		}
	})
	return worldOn(t, st, keyColumn{Name: "k", Type: otsprotocol.PrimaryKeyType_INTEGER})
}

func worldOn(t rapid.TB, st *store, keys ...keyColumn) *world {
	w := &world{t: t, store: st, now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).UnixMicro()}
	w.open()
	w.table = newTable(w.in, tableRecord{ID: 7, Name: "t_1", Parts: []partition{{}}, Keys: keys})
	w.in.tables["t_1"] = w.table
	w.commit(func(b *pebble.Batch) error { return w.table.save(b) })
	return w
}

// open finds everything in the store, as a start of the server does.
func (w *world) open() {
	w.t.Helper()
	in, err := w.store.openInstance("lab")
	if err != nil {
		w.t.Fatal(err)
	}
	w.in, w.table = in, in.tables["t_1"]
	w.s = &Server{store: w.store, instances: map[string]*instance{"lab": in}}
}

// commit makes a change with the table's lock held.
func (w *world) commit(do func(*pebble.Batch) error) {
	w.t.Helper()
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	b := w.store.db.NewBatch()
	if err := do(b); err != nil {
		w.t.Fatal(err)
	}
	durable, err := w.store.commit(b)
	if err == nil {
		err = durable()
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// stream applies a specification; hours 0 is off.
func (w *world) stream(hours int32, origin ...string) {
	w.t.Helper()
	spec := &otsprotocol.StreamSpecification{EnableStream: proto.Bool(hours != 0), ColumnsToGet: origin}
	if hours != 0 {
		spec.ExpirationTime = &hours
	}
	w.commit(func(b *pebble.Batch) error {
		if ref := w.table.setStream(b, spec, w.now); ref != nil {
			return ref
		}
		return w.table.save(b)
	})
}

func (w *world) record(changes ...change) {
	w.t.Helper()
	w.commit(func(b *pebble.Batch) error { return w.table.record(b, w.now, changes...) })
}

func (w *world) split(key int64) {
	w.t.Helper()
	from := appendKeyValue(nil, integer(key))
	w.commit(func(b *pebble.Batch) error {
		i, err := w.table.partitionAt(from)
		if err != nil {
			return err
		}
		return w.table.split(b, i, from, w.now)
	})
}

func (w *world) merge(i int) {
	w.t.Helper()
	w.commit(func(b *pebble.Batch) error { return w.table.merge(b, i, w.now) })
}

// put is a change of the row k that puts v into the column v.
func put(k, v int64) change {
	value := integer(v)
	return changeOf(otsprotocol.ActionType_PUT_ROW, k, plainbuffer.Cell{Name: "v", Value: &value, Time: 1, HasTime: true})
}

func changeOf(action otsprotocol.ActionType, k int64, cells ...plainbuffer.Cell) change {
	key := integer(k)
	return change{
		action: action, key: appendKeyValue(nil, key),
		row: plainbuffer.Row{Key: []plainbuffer.Cell{{Name: "k", Value: &key}}, Columns: cells},
	}
}

func integer(v int64) plainbuffer.Value { return plainbuffer.Value{Kind: plainbuffer.Integer, Int: v} }

// do asks an operation.
func (w *world) do(op string, m protoadapt.MessageV1) (protoadapt.MessageV1, *refusal) {
	w.t.Helper()
	body, err := proto.Marshal(protoadapt.MessageV2Of(m))
	if err != nil {
		w.t.Fatal(err)
	}
	out, ref := operations[op](w.s, &call{op: op, inst: w.in, body: body, now: time.UnixMicro(w.now)})
	if ref == nil {
		if _, err := proto.Marshal(protoadapt.MessageV2Of(out)); err != nil {
			w.t.Fatal(err)
		}
	}
	return out, ref
}

func must[T protoadapt.MessageV1](w *world, op string, m protoadapt.MessageV1) T {
	w.t.Helper()
	out, ref := w.do(op, m)
	if ref != nil {
		w.t.Fatalf("%s: %v", op, ref)
	}
	return out.(T)
}

func refused(w *world, op string, m protoadapt.MessageV1, code, message string) {
	w.t.Helper()
	_, ref := w.do(op, m)
	if ref == nil || ref.code != code || !strings.Contains(ref.message, message) {
		w.t.Errorf("%s of %v: %v, want %s %s", op, m, ref, code, message)
	}
}

func (w *world) describe(m *otsprotocol.DescribeStreamRequest) *otsprotocol.DescribeStreamResponse {
	w.t.Helper()
	if m.StreamId == nil {
		m.StreamId = &w.table.Stream.ID
	}
	return must[*otsprotocol.DescribeStreamResponse](w, "DescribeStream", m)
}

// iterator is the one for the oldest record of a shard, or for a time.
func (w *world) iterator(shard string, at ...int64) string {
	w.t.Helper()
	m := &otsprotocol.GetShardIteratorRequest{StreamId: &w.table.Stream.ID, ShardId: &shard}
	if len(at) > 0 {
		m.Timestamp = &at[0]
	}
	return must[*otsprotocol.GetShardIteratorResponse](w, "GetShardIterator", m).GetShardIterator()
}

func (w *world) get(iterator string, limit int32) *otsprotocol.GetStreamRecordResponse {
	w.t.Helper()
	m := &otsprotocol.GetStreamRecordRequest{ShardIterator: &iterator}
	if limit > 0 {
		m.Limit = &limit
	}
	return must[*otsprotocol.GetStreamRecordResponse](w, "GetStreamRecord", m)
}

// rows are the rows of the records.
func (w *world) rows(r *otsprotocol.GetStreamRecordResponse) []plainbuffer.Row {
	w.t.Helper()
	var out []plainbuffer.Row
	for _, r := range r.StreamRecords {
		row, err := plainbuffer.DecodeRow(r.Record)
		if err == nil && row.Ext == nil {
			err = errors.New("no extension")
		}
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, row)
	}
	return out
}

// values are the values of the column v of the records.
func (w *world) values(r *otsprotocol.GetStreamRecordResponse) []int64 {
	w.t.Helper()
	var out []int64
	for _, row := range w.rows(r) {
		out = append(out, row.Columns[0].Value.Int)
	}
	return out
}

// shard is the open one of the i-th partition.
func (w *world) shard(i int) string { return w.table.Parts[i].Shard }

// stored is how many records the store holds, of all streams.
func (w *world) stored() int {
	w.t.Helper()
	prefix := []byte("l/")
	it, err := w.store.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		w.t.Fatal(err)
	}
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	if err := it.Close(); err != nil {
		w.t.Fatal(err)
	}
	return n
}
