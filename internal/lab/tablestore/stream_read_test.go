package tablestore

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"

	"pointsman/internal/lab/tablestore/plainbuffer"
)

func TestAStreamIsReadToItsEnd(t *testing.T) {
	w := newWorld(t)
	w.record(put(1, 0)) // the stream is off
	w.stream(24)
	it := w.iterator(w.shard(0))
	for range 2 {
		r := w.get(it, 0)
		if len(r.StreamRecords) != 0 || r.GetNextShardIterator() != it || r.GetMayMoreRecord() {
			t.Fatalf("an iterator of which nothing is new is not equal: %v", r)
		}
	}
	w.record(put(1, 1), put(2, 2))
	w.now++
	w.record(put(3, 3))
	r := w.get(it, 2)
	if got := w.values(r); !slices.Equal(got, []int64{1, 2}) || !r.GetMayMoreRecord() || r.GetNextShardIterator() == it {
		t.Fatalf("%v, %v", got, r)
	}
	if cu := r.GetConsumed().GetCapacityUnit(); cu.GetRead() != 1 || cu.Write == nil {
		t.Errorf("consumed %v", cu)
	}
	second := r.GetNextShardIterator()
	r = w.get(second, 1)
	if got := w.values(r); !slices.Equal(got, []int64{3}) || r.GetMayMoreRecord() {
		t.Fatalf("%v, %v", got, r)
	}
	last := r.GetNextShardIterator()
	if r = w.get(last, 0); r.GetNextShardIterator() != last || len(r.StreamRecords) != 0 {
		t.Fatal(r)
	}
	// An iterator can be read again, at any time.
	if got := w.values(w.get(it, 0)); !slices.Equal(got, []int64{1, 2, 3}) {
		t.Error(got)
	}
	// A closed shard ends with its last record.
	w.split(2)
	for _, from := range []string{it, second, last} {
		if r = w.get(from, 0); r.NextShardIterator != nil || r.GetMayMoreRecord() {
			t.Errorf("%v after the end of a shard", r)
		}
	}
	if r = w.get(it, 3); r.NextShardIterator != nil {
		t.Errorf("a page that ends where the shard does: %v", r)
	}
	if r = w.get(it, 2); r.NextShardIterator == nil {
		t.Errorf("a page that ends before the shard does: %v", r)
	}
}

func TestPagesAreBounded(t *testing.T) {
	w := newWorld(t)
	w.stream(1)
	text := plainbuffer.Value{Kind: plainbuffer.Blob, Bytes: string(make([]byte, 10_000))}
	for k := range int64(5) {
		w.record(changeOf(otsprotocol.ActionType_PUT_ROW, k, plainbuffer.Cell{Name: "v", Value: &text, Time: 1, HasTime: true}))
	}
	it := w.iterator(w.shard(0))
	pages := func() (out []int) {
		for it := it; ; {
			r := w.get(it, 0)
			if len(r.StreamRecords) == 0 {
				return out
			}
			out = append(out, len(r.StreamRecords))
			it = r.GetNextShardIterator()
		}
	}
	if r := w.get(it, 0); len(r.StreamRecords) != 5 || r.GetConsumed().GetCapacityUnit().GetRead() != 13 {
		t.Errorf("%d records for %v", len(r.StreamRecords), r.GetConsumed())
	}
	w.s.StreamPage(2, 4<<20)
	if got := pages(); !slices.Equal(got, []int{2, 2, 1}) {
		t.Errorf("pages of two records: %v", got)
	}
	if r := w.get(it, 5000); len(r.StreamRecords) != 2 {
		t.Errorf("%d records though more were asked for", len(r.StreamRecords))
	}
	w.s.StreamPage(1000, 31_000)
	if got := pages(); !slices.Equal(got, []int{3, 2}) {
		t.Errorf("pages of 31 kB: %v", got)
	}
	w.s.StreamPage(1000, 1)
	if got := pages(); !slices.Equal(got, []int{1, 1, 1, 1, 1}) {
		t.Errorf("pages that are smaller than a record: %v", got)
	}
}

func TestTheFormsOfRecords(t *testing.T) {
	w := newWorld(t)
	w.stream(24)
	v := func(n int64) *plainbuffer.Value { x := integer(n); return &x }
	cells := []plainbuffer.Cell{
		{Name: "z", Op: plainbuffer.DeleteAll},
		{Name: "z", Value: v(5), Time: 9, HasTime: true},
		{Name: "b", Op: plainbuffer.DeleteOne, Time: 7, HasTime: true},
		{Name: "a", Value: v(2), Time: 8, HasTime: true},
		{Name: "a", Value: v(1), Time: 3, HasTime: true},
	}
	given := slices.Clone(cells)
	w.record(
		changeOf(otsprotocol.ActionType_UPDATE_ROW, 1, cells...),
		changeOf(otsprotocol.ActionType_DELETE_ROW, 1, cells...),
		changeOf(otsprotocol.ActionType_PUT_ROW, 1),
	)
	if !slices.Equal(cells, given) {
		t.Error("the cells of the caller were moved")
	}
	r := w.get(w.iterator(w.shard(0)), 0)
	rows := w.rows(r)
	want := []plainbuffer.Cell{cells[3], cells[4], cells[2], cells[0], cells[1]}
	if !slices.EqualFunc(rows[0].Columns, want, func(a, b plainbuffer.Cell) bool {
		return a.Name == b.Name && a.Op == b.Op && a.Time == b.Time && a.HasTime == b.HasTime && (a.Value == nil) == (b.Value == nil) && (a.Value == nil || *a.Value == *b.Value)
	}) {
		t.Errorf("cells %v", rows[0].Columns)
	}
	if !rows[1].Delete || len(rows[1].Columns) != 0 || rows[1].Key[0].Value.Int != 1 {
		t.Errorf("a delete of a row: %+v", rows[1])
	}
	for i, action := range []otsprotocol.ActionType{otsprotocol.ActionType_UPDATE_ROW, otsprotocol.ActionType_DELETE_ROW, otsprotocol.ActionType_PUT_ROW} {
		if got := r.StreamRecords[i].GetActionType(); got != action || r.StreamRecords[i].OriginRecord != nil {
			t.Errorf("record %d: %v", i, r.StreamRecords[i])
		}
		if got, want := *rows[i].Ext, (plainbuffer.Extension{Micros: w.now, Index: int32(i)}); got != want {
			t.Errorf("record %d: %+v, want %+v", i, got, want)
		}
	}
}

func TestRowsAsTheyWere(t *testing.T) {
	w := newWorld(t)
	w.stream(24, "mark", "gone")
	v := func(n int64) *plainbuffer.Value { x := integer(n); return &x }
	c := put(1, 1)
	none := c
	c.before = &plainbuffer.Row{Columns: []plainbuffer.Cell{{Name: "a", Value: v(1), Time: 1, HasTime: true}, {Name: "mark", Value: v(2), Time: 5, HasTime: true}}}
	bare := put(1, 2)
	bare.before = &plainbuffer.Row{Columns: c.before.Columns[:1]}
	w.record(none, c, bare)
	r := w.get(w.iterator(w.shard(0)), 0).StreamRecords
	if r[0].OriginRecord != nil {
		t.Error("a row that there was not has an image")
	}
	row, err := plainbuffer.DecodeRow(r[1].OriginRecord)
	if err != nil || len(row.Columns) != 1 || row.Columns[0].Name != "mark" || *row.Columns[0].Value != integer(2) || row.Columns[0].Time != 5 || row.Key[0].Value.Int != 1 {
		t.Errorf("%+v, %v", row, err)
	}
	if row, err = plainbuffer.DecodeRow(r[2].OriginRecord); err != nil || len(row.Columns) != 0 {
		t.Errorf("%+v, %v", row, err)
	}
	w.stream(0)
	w.stream(24)
	w.record(c)
	if r := w.get(w.iterator(w.shard(0)), 0).StreamRecords; r[0].OriginRecord != nil {
		t.Error("a stream without columns tells of the row before")
	}
}

func TestTokensComeBeforeAnIterator(t *testing.T) {
	w := newWorld(t)
	w.stream(24)
	for v := range int64(4) {
		w.record(put(1, v))
		w.now += 10
	}
	w.s.StreamTokens(3)
	for _, at := range []*int64{nil, proto.Int64(w.now - 20)} {
		m := &otsprotocol.GetShardIteratorRequest{StreamId: &w.table.Stream.ID, ShardId: proto.String(w.shard(0)), Timestamp: at}
		want := []int64{0, 1, 2, 3}
		if at != nil {
			want = want[2:]
		}
		for tokens := 0; ; tokens++ {
			r := must[*otsprotocol.GetShardIteratorResponse](w, "GetShardIterator", m)
			if r.NextToken == nil {
				if got := w.values(w.get(r.GetShardIterator(), 0)); tokens != 3 || !slices.Equal(got, want) {
					t.Errorf("%d tokens, then %v", tokens, got)
				}
				break
			}
			if r.GetShardIterator() != "" {
				t.Error("an iterator with a token")
			}
			m.Token = r.NextToken
			w.open()               // a token is worth as much after a restart
			w.s.StreamTokens(1000) // and says itself how many come after it
		}
		w.s.StreamTokens(3)
	}
}

func TestAnIteratorOfATime(t *testing.T) {
	w := newWorld(t)
	w.stream(24)
	begin := w.now
	var times []int64
	for v := range int64(50) {
		w.record(put(1, v))
		times = append(times, w.now)
		switch {
		case v == 20:
			w.now -= 10 * hour / 1000 // 36 s back: an epoch begins
		case v%3 != 0:
			w.now += v
		}
	}
	// A batch that never came leaves a gap in the numbers.
	w.table.mu.Lock()
	b := w.store.db.NewBatch()
	if err := w.table.record(b, w.now, put(1, 0), put(1, 0)); err != nil {
		t.Fatal(err)
	}
	_ = b.Close()
	w.table.mu.Unlock()
	w.now += 100
	w.record(put(1, 50))
	times = append(times, w.now)
	asked := append([]int64{0, begin - hour, w.now + 1, w.now + hour}, times...)
	for _, at := range times {
		asked = append(asked, at-1, at+1)
	}
	for _, at := range asked {
		want := slices.IndexFunc(times, func(x int64) bool { return x >= at })
		got := w.values(w.get(w.iterator(w.shard(0), at), 1))
		if want < 0 && len(got) != 0 || want >= 0 && !slices.Equal(got, []int64{int64(want)}) {
			t.Errorf("since %d: %v, want %d", at-begin, got, want)
		}
	}
	end := w.iterator(w.shard(0), slices.Max(times)+1)
	w.record(put(1, 51)) // earlier than the time that was asked for, but new
	if got := w.values(w.get(end, 0)); !slices.Equal(got, []int64{51}) {
		t.Errorf("after the end: %v", got)
	}
	// Nor does the gap matter to one that stands before it.
	w.table.mu.Lock()
	b = w.store.db.NewBatch()
	if err := w.table.record(b, w.now, put(1, 0)); err != nil {
		t.Fatal(err)
	}
	_ = b.Close()
	w.table.mu.Unlock()
	end = w.iterator(w.shard(0), slices.Max(times)+1)
	w.open()
	w.record(put(1, 52))
	if got := w.values(w.get(end, 0)); !slices.Equal(got, []int64{52}) {
		t.Errorf("after the gap: %v", got)
	}
}

func TestTheClockGoesBack(t *testing.T) {
	w := newWorld(t)
	w.stream(24)
	begin := w.now
	places := func(want ...place) {
		t.Helper()
		var got []place
		for _, row := range w.rows(w.get(w.iterator(w.shard(0)), 0)) {
			got = append(got, place(*row.Ext))
		}
		for i := range got {
			got[i].Micros -= begin
		}
		if !slices.Equal(got, want) {
			t.Errorf("places %v, want %v", got, want)
		}
	}
	w.record(put(1, 0), put(2, 1))
	w.now += 500_000
	w.record(put(1, 2))
	w.now -= 400_000 // a request that waited for the lock
	w.record(put(1, 3))
	w.now -= hour
	w.record(put(1, 4), put(1, 5))
	w.open() // the order is kept over a restart
	w.record(put(1, 6))
	w.now -= hour
	w.record(put(1, 7))
	want := []place{{0, 0, 0}, {0, 0, 1}, {0, 500_000, 0}, {0, 500_000, 1}, {1, 100_000 - hour, 0}, {1, 100_000 - hour, 1}, {1, 100_000 - hour, 2}, {2, 100_000 - 2*hour, 0}}
	places(want...)
	if err := w.s.SetEpoch("lab", "t_1", 1); err == nil {
		t.Error("an epoch goes back")
	}
	if err := w.s.SetEpoch("lab", "t_1", 9); err != nil {
		t.Error(err)
	}
	w.open()
	w.now -= hour
	w.record(put(1, 8))
	want = append(want, place{9, 100_000 - 3*hour, 0})
	places(want...)
	// Also if nothing is left to remember it by.
	if n, err := w.s.Trim("lab", "t_1", time.UnixMicro(begin+hour)); err != nil || n != len(want) {
		t.Errorf("%d, %v", n, err)
	}
	w.open()
	w.now -= hour
	w.record(put(1, 9))
	places(place{10, 100_000 - 4*hour, 0})
}

// A batch over several shards is of one moment; one that is ahead of it by more
// than requests race begins an epoch, whatever the other shards say.
func TestABatchOverShardsThatAreAhead(t *testing.T) {
	w := newWorld(t)
	w.stream(1)
	w.split(5)
	now := w.now
	w.now = now + 600_000
	w.record(put(1, 0))
	w.now = now + 1_200_000
	w.record(put(9, 1))
	w.now = now
	w.record(put(1, 2), put(9, 3))
	for i, want := range []place{{0, now + 600_000, 1}, {1, now + 600_000, 0}} {
		rows := w.rows(w.get(w.iterator(w.shard(i)), 0))
		if got := place(*rows[1].Ext); got != want {
			t.Errorf("shard %d: %+v, want %+v", i, got, want)
		}
	}
}

func TestLateRecords(t *testing.T) {
	w := newWorld(t)
	w.stream(24)
	w.record(put(1, 0))
	it := w.iterator(w.shard(0))
	w.s.StreamDelay(time.Hour)
	w.record(put(1, 1))
	w.record(put(1, 2))
	r := w.get(it, 0)
	if got := w.values(r); !slices.Equal(got, []int64{0}) || r.GetMayMoreRecord() {
		t.Errorf("%v, %v", got, r)
	}
	at := r.GetNextShardIterator()
	w.split(5) // also at the end of a closed one
	for range 2 {
		if r = w.get(at, 0); len(r.StreamRecords) != 0 || r.GetNextShardIterator() != at || r.GetMayMoreRecord() {
			t.Errorf("%v", r)
		}
	}
	if r = w.get(w.iterator(w.table.Stream.Shards[0].ID, w.now), 1); len(r.StreamRecords) != 1 {
		t.Errorf("%v", r)
	}
	if r = w.get(w.iterator(w.table.Stream.Shards[0].ID, w.now+1), 1); len(r.StreamRecords) != 0 || r.NextShardIterator == nil {
		t.Errorf("the end of a shard comes before its records: %v", r)
	}
	w.s.StreamDelay(0)
	if r = w.get(at, 0); !slices.Equal(w.values(r), []int64{1, 2}) || r.NextShardIterator != nil {
		t.Errorf("%v", r)
	}

	w.s.StreamDelay(time.Hour)
	it = w.iterator(w.shard(0), w.now)
	for v, delay := range []time.Duration{time.Hour, 0, time.Hour} {
		w.s.StreamDelay(delay)
		w.record(put(1, int64(v)))
	}
	if got := w.values(w.get(it, 0)); !slices.Equal(got, []int64{0}) {
		t.Errorf("%v: what was written without a delay does not end the lateness of what was before", got)
	}

	var l lateness
	now := time.Now()
	sec := func(n float64) time.Time { return now.Add(time.Duration(n * float64(time.Second))) }
	l.add(7, sec(0), time.Second)
	l.add(8, sec(.5), time.Second)
	l.add(9, sec(.5004), time.Second)
	for _, c := range []struct {
		at   float64
		seen uint64
		left int
	}{{.9, 7, 2}, {1, 8, 1}, {1.5, 8, 1}, {1.5004, 10, 0}, {9, 10, 0}} {
		if l.pass(sec(c.at), time.Second); l.seen != c.seen || len(l.marks) != c.left {
			t.Errorf("after %v s: %+v", c.at, l)
		}
	}
	for n := range uint64(100_000) {
		l.add(n, sec(10+float64(n)/1000), time.Second)
	}
	if len(l.marks) > 1001 {
		t.Errorf("%d marks", len(l.marks))
	}
}
