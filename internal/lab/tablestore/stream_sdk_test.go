package tablestore_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"pointsman/internal/lab/tablestore"
)

func streaming(hours int32, origin ...string) tableOption {
	return func(r *sdk.CreateTableRequest) {
		r.StreamSpec = &sdk.StreamSpecification{EnableStream: true, ExpirationTime: hours, OriginColumnsToGet: origin}
	}
}

// told reads the stream of a table from an iterator of each shard that is read
// again at every call.
type told struct {
	*world
	id   *sdk.StreamId
	next map[sdk.ShardId]*sdk.ShardIterator
}

func (w *world) follow(table string) *told {
	w.Helper()
	l, err := w.ListStream(&sdk.ListStreamRequest{TableName: &table})
	if err != nil || len(l.Streams) != 1 {
		w.Fatal(l, err)
	}
	return &told{w, l.Streams[0].Id, map[sdk.ShardId]*sdk.ShardIterator{}}
}

// records are those that are new.
func (f *told) records() (out []*sdk.StreamRecord) {
	f.Helper()
	d, err := f.DescribeStream(&sdk.DescribeStreamRequest{StreamId: f.id})
	if err != nil {
		f.Fatal(err)
	}
	shards := d.Shards
	for len(shards) > 0 { // parents first
		i := slices.IndexFunc(shards, func(s *sdk.StreamShard) bool {
			return !slices.ContainsFunc(shards, func(p *sdk.StreamShard) bool {
				return s.FatherShard != nil && *p.SelfShard == *s.FatherShard || s.MotherShard != nil && *p.SelfShard == *s.MotherShard
			})
		})
		id := *shards[i].SelfShard
		shards = slices.Delete(shards, i, i+1)
		next, begun := f.next[id]
		if !begun {
			r, err := f.GetShardIterator(&sdk.GetShardIteratorRequest{StreamId: f.id, ShardId: &id})
			if err != nil {
				f.Fatal(err)
			}
			next = r.ShardIterator
		}
		for next != nil {
			r, err := f.GetStreamRecord(&sdk.GetStreamRecordRequest{ShardIterator: next})
			if err != nil {
				f.Fatal(err)
			}
			if r.CapacityUnit == nil || r.MayMoreRecord == nil {
				f.Errorf("%+v", r)
			}
			out = append(out, r.Records...)
			same := r.NextShardIterator != nil && *r.NextShardIterator == *next
			next = r.NextShardIterator
			if same {
				break
			}
		}
		f.next[id] = next
	}
	return out
}

// hold wants records, as text.
func (f *told) hold(want ...string) []*sdk.StreamRecord {
	f.Helper()
	records := f.records()
	var got []string
	for _, r := range records {
		line := strings.Trim(r.Type.String(), `"`)
		for _, k := range r.PrimaryKey.PrimaryKeys {
			line += fmt.Sprintf(" %v", k.Value)
		}
		cells := func(cols []*sdk.RecordColumn) {
			for _, c := range cols {
				switch c.Type {
				case sdk.RCT_Put:
					line += fmt.Sprintf(" %s=%v", *c.Name, c.Value)
				case sdk.RCT_DeleteOneVersion:
					line += fmt.Sprintf(" -%s@%d", *c.Name, *c.Timestamp)
				default:
					line += fmt.Sprintf(" -%s", *c.Name)
				}
			}
		}
		cells(r.Columns)
		if r.OriginColumns != nil {
			line += " was"
			cells(r.OriginColumns)
		}
		got = append(got, line)
	}
	if !slices.Equal(got, want) {
		f.Errorf("records\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	return records
}

func TestWhatAStreamTellsOfRows(t *testing.T) {
	w := newWorld(t)
	w.create("t", "a:s b:i", streaming(24, "n", "m"), func(r *sdk.CreateTableRequest) { r.EnableLocalTxn = ptr(true) })
	f := w.follow("t")
	f.hold()
	k := key("a", "k", "b", 1)
	w.put("t", k, "z", "last", "n", 1)
	put := f.hold("PutRow k 1 n=1 z=last")[0]
	if at := time.UnixMicro(put.Info.Timestamp); time.Since(at) > time.Minute || put.Info.Timestamp/1000 != *put.Columns[0].Timestamp || put.Info.Epoch != 0 {
		t.Errorf("%v, version %d", put.Info, *put.Columns[0].Timestamp)
	}

	u := updateOf("t", k)
	u.IncrementColumn("n", 41)
	u.DeleteColumnWithTimestamp("z", 7)
	u.DeleteColumn("y")
	u.PutColumn("m", true)
	w.update(u)
	f.hold("UpdateRow k 1 m=true n=42 -y -z@7 was n=1")

	// What is refused is not told.
	p := putOf("t", k, "n", 0)
	p.SetCondition(sdk.RowExistenceExpectation_EXPECT_NOT_EXIST)
	_, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: p})
	refused(t, err, "OTSConditionCheckFail", 403, "Condition check failed.")
	d := deleteOf("t", k)
	d.SetColumnCondition(sdk.NewSingleColumnCondition("n", sdk.CT_EQUAL, int64(1)))
	_, err = w.DeleteRow(&sdk.DeleteRowRequest{DeleteRowChange: d})
	refused(t, err, "OTSConditionCheckFail", 403, "Condition check failed.")
	f.hold()

	// What changes nothing is.
	u = updateOf("t", k)
	u.DeleteColumn("none")
	w.update(u)
	if _, err := w.DeleteRow(&sdk.DeleteRowRequest{DeleteRowChange: deleteOf("t", key("a", "other", "b", 1))}); err != nil {
		t.Error(err)
	}
	if _, err := w.DeleteRow(&sdk.DeleteRowRequest{DeleteRowChange: deleteOf("t", k)}); err != nil {
		t.Error(err)
	}
	f.hold("UpdateRow k 1 -none was m=true n=42", "DeleteRow other 1", "DeleteRow k 1 was m=true n=42")

	// A batch is of one moment, a refused atomic one of none.
	batch := func(atomic bool, changes ...sdk.RowChange) {
		t.Helper()
		b := &sdk.BatchWriteRowRequest{IsAtomic: atomic}
		for _, c := range changes {
			b.AddRowChange(c)
		}
		if _, err := w.BatchWriteRow(b); err != nil {
			t.Error(err)
		}
	}
	batch(true, putOf("t", key("a", "x", "b", 1), "v", 1), putOf("t", key("a", "x", "b", 2), "v", 2), deleteOf("t", key("a", "x", "b", 3)))
	r := f.hold("PutRow x 1 v=1", "PutRow x 2 v=2", "DeleteRow x 3")
	for i := range r {
		if r[i].Info.Timestamp != r[0].Info.Timestamp || r[i].Info.RowIndex != r[0].Info.RowIndex+int32(i) {
			t.Errorf("record %d of a batch: %v, the first %v", i, r[i].Info, r[0].Info)
		}
	}
	missing := putOf("t", key("a", "x", "b", 9), "v", 9)
	missing.SetCondition(sdk.RowExistenceExpectation_EXPECT_EXIST)
	batch(true, putOf("t", key("a", "x", "b", 8), "v", 8), missing)
	f.hold()
	batch(false, putOf("t", key("a", "x", "b", 8), "v", 8), missing)
	f.hold("PutRow x 8 v=8")

	// So is a local transaction, once it is committed.
	begin := func() *string {
		t.Helper()
		r, err := w.StartLocalTransaction(&sdk.StartLocalTransactionRequest{TableName: "t", PrimaryKey: key("a", "y")})
		if err != nil {
			t.Fatal(err)
		}
		return r.TransactionId
	}
	id := begin()
	for b := range 2 {
		c := putOf("t", key("a", "y", "b", b), "n", b)
		c.TransactionId = id
		if _, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: c}); err != nil {
			t.Error(err)
		}
	}
	f.hold()
	if _, err := w.CommitTransaction(&sdk.CommitTransactionRequest{TransactionId: id}); err != nil {
		t.Error(err)
	}
	r = f.hold("PutRow y 0 n=0", "PutRow y 1 n=1")
	if r[0].Info.Timestamp != r[1].Info.Timestamp || r[0].Info.RowIndex >= r[1].Info.RowIndex {
		t.Errorf("%v, %v", r[0].Info, r[1].Info)
	}
	id = begin()
	c := putOf("t", key("a", "y", "b", 1), "n", 2)
	c.TransactionId = id
	if _, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: c}); err != nil {
		t.Error(err)
	}
	if _, err := w.AbortTransaction(&sdk.AbortTransactionRequest{TransactionId: id}); err != nil {
		t.Error(err)
	}
	f.hold()
}

// The versions and the records of rows are of the server's clock, also when it
// goes back; the order of the records is told by their epochs.
func TestTheServersClockIsSetBack(t *testing.T) {
	w := newWorld(t)
	w.create("t", "a:s", streaming(24))
	f := w.follow("t")
	var last *sdk.RecordSequenceInfo
	for i, offset := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute, -10 * time.Minute} {
		w.server.SetClockOffset(offset)
		w.put("t", key("a", "k"), "v", i)
		r := f.hold(fmt.Sprintf("PutRow k v=%d", i))[0]
		behind := time.Since(time.UnixMicro(r.Info.Timestamp)) + offset
		if behind < -time.Second || behind > time.Minute || *r.Columns[0].Timestamp != r.Info.Timestamp/1000 {
			t.Errorf("offset %v: %v, version %d", offset, r.Info, *r.Columns[0].Timestamp)
		}
		if last != nil && (r.Info.Epoch > last.Epoch) != (r.Info.Timestamp < last.Timestamp) {
			t.Errorf("%v after %v", r.Info, last)
		}
		last = r.Info
	}
}

func ptr[T any](v T) *T { return &v }

// The key that the service chose is in the record.
func TestAStreamTellsOfChosenKeys(t *testing.T) {
	w := newWorld(t)
	w.create("t", "a:s b:a", streaming(1))
	f := w.follow("t")
	p := putOf("t", key("a", "k", "b", auto), "v", 1)
	p.ReturnType = sdk.ReturnType_RT_PK
	r, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: p})
	if err != nil {
		t.Fatal(err)
	}
	f.hold(fmt.Sprintf("PutRow k %v v=1", r.PrimaryKey.PrimaryKeys[1].Value))
}

func TestAStreamIsSwitchedByUpdateTable(t *testing.T) {
	w := newWorld(t)
	w.create("t", "a:s")
	set := func(on bool, hours int32, origin ...string) (*sdk.UpdateTableResponse, error) {
		return w.UpdateTable(&sdk.UpdateTableRequest{TableName: "t", StreamSpec: &sdk.StreamSpecification{EnableStream: on, ExpirationTime: hours, OriginColumnsToGet: origin}})
	}
	r, err := set(true, 168, "v")
	if err != nil || !r.StreamDetails.EnableStream || r.StreamDetails.ExpirationTime != 168 || !slices.Equal(r.StreamDetails.OriginColumnsToGet, []string{"v"}) {
		t.Fatal(r, err)
	}
	f := w.follow("t")
	w.put("t", key("a", "k"), "v", 1)
	w.put("t", key("a", "k"), "w", 2)
	f.hold("PutRow k v=1", "PutRow k w=2 was v=1")
	_, err = set(true, 24, "v")
	refused(t, err, "OTSParameterInvalid", 400, "The expiration time of stream can not be changed while stream is enabled.")
	_, err = set(true, 169)
	refused(t, err, "OTSParameterInvalid", 400, "The expiration time of stream must be in range: [1, 168].")
	w.put("t", key("a", "k"), "v", 3)
	f.hold("PutRow k v=3 was")
	if r, err = set(false, 0); err != nil || r.StreamDetails == nil || r.StreamDetails.EnableStream || r.StreamDetails.StreamId != nil {
		t.Fatal(r, err)
	}
	for _, it := range f.next {
		_, err = w.GetStreamRecord(&sdk.GetStreamRecordRequest{ShardIterator: it})
		refused(t, err, "OTSObjectNotExist", 404, "Requested stream does not exist.")
	}
	w.put("t", key("a", "k"), "v", 4)
	if r, err = set(true, 24); err != nil || *r.StreamDetails.StreamId == *f.id {
		t.Fatal(r, err)
	}
	f = w.follow("t")
	f.hold()
	w.put("t", key("a", "k"), "v", 5)
	f.hold("PutRow k v=5")
	_, err = w.DeleteTable(&sdk.DeleteTableRequest{TableName: "t"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.DescribeStream(&sdk.DescribeStreamRequest{StreamId: f.id})
	refused(t, err, "OTSObjectNotExist", 404, "Requested stream does not exist.")
	if err := w.server.SplitShard("lab", "t", "k"); err == nil {
		t.Error("the table is gone")
	}
	if l, err := w.ListStream(&sdk.ListStreamRequest{}); err != nil || len(l.Streams) != 0 {
		t.Error(l, err)
	}
	w.create("t", "a:s", streaming(24))
	f = w.follow("t")
	f.hold()
}

// A reader goes on where it was when the server comes back, over splits and
// merges, with the clock wherever it is.
func TestAStreamGoesOnAfterARestart(t *testing.T) {
	o := tablestore.Options{DataDir: t.TempDir(), Keys: []tablestore.Key{{ID: "LTAIx", Secret: "y"}}}
	w := &world{TB: t}
	open := func() {
		t.Helper()
		s, err := tablestore.New(o)
		if err != nil {
			t.Fatal(err)
		}
		w.server, w.TableStoreClient = s, once(s)
	}
	shut := func() {
		t.Helper()
		if err := w.server.Close(); err != nil {
			t.Fatal(err)
		}
	}
	open()
	defer func() { shut() }()
	w.create("t", "a:i", streaming(24))
	f := w.follow("t")
	var want []string
	write := func() {
		t.Helper()
		for a := range 3 {
			w.put("t", key("a", a), "v", len(want))
			want = append(want, fmt.Sprintf("PutRow %d v=%d", a, len(want)))
		}
	}
	// By row: nothing is ordered between shards.
	hold := func() {
		t.Helper()
		var got []string
		for _, r := range f.records() {
			got = append(got, fmt.Sprintf("PutRow %v v=%v", r.PrimaryKey.PrimaryKeys[0].Value, r.Columns[0].Value))
		}
		byRow := func(x, y string) int { return strings.Compare(x[:8], y[:8]) }
		slices.SortStableFunc(got, byRow)
		slices.SortStableFunc(want, byRow)
		if !slices.Equal(got, want) {
			t.Errorf("records %q, want %q", got, want)
		}
		want = nil
	}
	for i := range 3 {
		write()
		hold()
		write()
		if err := w.server.SplitShard("lab", "t", i); err != nil {
			t.Fatal(err)
		}
		write()
		shut()
		open()
		w.server.SetClockOffset(-time.Duration(i) * 5 * time.Minute)
		write()
		hold()
	}
	if err := w.server.MergeShards("lab", "t", 1); err != nil {
		t.Fatal(err)
	}
	write()
	shut()
	open()
	hold()
}
