package tablestore

import (
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"pointsman/internal/lab/tablestore/plainbuffer"
)

// disk is one whose syncs can be held up.
type disk struct {
	*vfs.MemFS
	held atomic.Pointer[chan struct{}]
}

func (d *disk) MaybeError(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		if held := d.held.Load(); held != nil {
			<-*held
		}
	}
	return nil
}

func (d *disk) String() string { return "held" }

func rowOf(k int64, cells ...plainbuffer.Cell) []byte {
	v := integer(k)
	return plainbuffer.Append(nil, plainbuffer.Row{Key: []plainbuffer.Cell{{Name: "k", Value: &v}}, Columns: cells})
}

func putRequest(k int64, exist otsprotocol.RowExistenceExpectation) *otsprotocol.PutRowRequest {
	v := integer(1)
	return &otsprotocol.PutRowRequest{
		TableName: proto.String("t_1"), Row: rowOf(k, plainbuffer.Cell{Name: "v", Value: &v}),
		Condition: &otsprotocol.Condition{RowExistence: exist.Enum()},
	}
}

// perform is an operation as the front has it done.
func (w *world) perform(op string, m protoadapt.MessageV1, clock func() time.Time) (protoadapt.MessageV1, *refusal) {
	body, err := proto.Marshal(protoadapt.MessageV2Of(m))
	if err != nil {
		w.t.Fatal(err)
	}
	return w.s.perform(&call{s: w.s, op: op, inst: w.in, body: body, now: time.UnixMicro(w.now), clock: clock})
}

// What a reader, or a writer who is refused, is told of a row, and of the end
// of a shard, is so after a crash: a copy of a row must not outlive the row.
func TestWhatIsToldOfIsDurable(t *testing.T) {
	d := &disk{MemFS: vfs.NewCrashableMem()}
	st, err := openStoreOn(&pebble.Options{FS: errorfs.Wrap(d.MemFS, d)}, "data")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.close(); err != nil {
			t.Error(err)
		}
	}()
	w := worldOn(t, st, keyColumn{Name: "k", Type: otsprotocol.PrimaryKeyType_INTEGER})
	w.stream(24)
	w.table.opts.Store(&tableOptions{TTL: -1, MaxVersions: 1, Deviation: usualDeviation, AllowUpdate: true})
	parent := w.iterator(w.shard(0))
	if n := st.unsynced.Load(); n != 0 {
		t.Fatalf("%d batches are not durable", n)
	}

	release := make(chan struct{})
	d.held.Store(&release)
	var released atomic.Bool
	var done sync.WaitGroup
	go1 := func(what string, do func() *refusal) {
		done.Go(func() {
			if ref := do(); ref != nil && ref.code != codeConditionCheckFail {
				t.Errorf("%s: %v", what, ref)
			}
			if !released.Load() {
				t.Errorf("%s: answered before it is durable", what)
			}
		})
	}
	go1("a split", func() *refusal {
		if err := w.s.SplitShard("lab", "t_1", 100); err != nil {
			return refuse(codeInternal, "%v", err)
		}
		return nil
	})
	go1("a put", func() *refusal {
		_, ref := w.perform("PutRow", putRequest(1, otsprotocol.RowExistenceExpectation_IGNORE), nil)
		return ref
	})
	await(t, "the changes to be readable", func() bool {
		r, err := readRow(st.db, w.table.ID, appendKeyValue(nil, integer(1)))
		w.table.mu.Lock()
		defer w.table.mu.Unlock()
		return err == nil && r != nil && len(w.table.Parts) == 2
	})
	key := rowOf(1)
	low, high := plainbuffer.Value{Kind: plainbuffer.InfMin}, plainbuffer.Value{Kind: plainbuffer.InfMax}
	bound := func(v *plainbuffer.Value) []byte {
		return plainbuffer.Append(nil, plainbuffer.Row{Key: []plainbuffer.Cell{{Name: "k", Value: v}}})
	}
	refusedPut := putRequest(1, otsprotocol.RowExistenceExpectation_EXPECT_NOT_EXIST)
	for op, m := range map[string]protoadapt.MessageV1{
		"GetRow": &otsprotocol.GetRowRequest{TableName: proto.String("t_1"), PrimaryKey: key, MaxVersions: proto.Int32(1)},
		"GetRange": &otsprotocol.GetRangeRequest{
			TableName: proto.String("t_1"), Direction: otsprotocol.Direction_FORWARD.Enum(), MaxVersions: proto.Int32(1),
			InclusiveStartPrimaryKey: bound(&low), ExclusiveEndPrimaryKey: bound(&high),
		},
		"BatchGetRow": &otsprotocol.BatchGetRowRequest{Tables: []*otsprotocol.TableInBatchGetRowRequest{
			{TableName: proto.String("t_1"), PrimaryKey: [][]byte{key}, MaxVersions: proto.Int32(1)},
		}},
		"PutRow": refusedPut,
		"BatchWriteRow": &otsprotocol.BatchWriteRowRequest{Tables: []*otsprotocol.TableInBatchWriteRowRequest{
			{TableName: proto.String("t_1"), Rows: []*otsprotocol.RowInBatchWriteRowRequest{
				{Type: otsprotocol.OperationType_PUT.Enum(), RowChange: refusedPut.Row, Condition: refusedPut.Condition},
			}},
		}},
		"ListTable": &otsprotocol.ListTableRequest{},
	} {
		go1(op, func() *refusal {
			_, ref := w.perform(op, m, nil)
			return ref
		})
	}
	go1("the end of a shard", func() *refusal {
		out, ref := w.perform("GetStreamRecord", &otsprotocol.GetStreamRecordRequest{ShardIterator: &parent}, nil)
		if ref == nil && out.(*otsprotocol.GetStreamRecordResponse).NextShardIterator != nil {
			t.Error("the parent is open")
		}
		return ref
	})
	// Who answers too early does so now; that they are given little time for it
	// can only hide it.
	<-time.After(100 * time.Millisecond)
	released.Store(true)
	d.held.Store(nil)
	close(release)
	done.Wait()
	await(t, "all to be durable", func() bool { return st.unsynced.Load() == 0 })
}

// Records that an operator has removed stay removed.
func TestATrimSurvivesACrash(t *testing.T) {
	fs := vfs.NewCrashableMem()
	w := worldOn(t, onDisk(t, fs), keyColumn{Name: "k", Type: otsprotocol.PrimaryKeyType_INTEGER})
	w.stream(24)
	begin := w.iterator(w.shard(0))
	w.record(put(1, 0), put(1, 1))
	if n, err := w.s.Trim("lab", "t_1", time.UnixMicro(w.now+1)); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	w.store = onDisk(t, fs.CrashClone(vfs.CrashCloneCfg{}))
	w.open()
	refused(w, "GetStreamRecord", &otsprotocol.GetStreamRecordRequest{ShardIterator: &begin}, codeTrimmed, "")
}

// A call that has waited for its turn is of the time when it came: it does not
// make the clock go back.
func TestAWriteIsOfTheTimeOfItsTurn(t *testing.T) {
	w := newWorld(t)
	w.table.Txn = true
	w.table.Options = tableOptions{TTL: -1, MaxVersions: 1, Deviation: usualDeviation, AllowUpdate: true}
	w.table.opts.Store(&w.table.Options)
	w.stream(24)
	begun := w.now
	at := func(s int64) func() time.Time {
		return func() time.Time { return time.UnixMicro(begun + s*1_000_000) }
	}
	one := integer(1)
	put := putRequest(1, otsprotocol.RowExistenceExpectation_IGNORE)
	update := &otsprotocol.UpdateRowRequest{TableName: put.TableName, RowChange: rowOf(1, plainbuffer.Cell{Name: "w", Value: &one}), Condition: put.Condition}
	batch := &otsprotocol.BatchWriteRowRequest{Tables: []*otsprotocol.TableInBatchWriteRowRequest{{
		TableName: put.TableName,
		Rows:      []*otsprotocol.RowInBatchWriteRowRequest{{Type: otsprotocol.OperationType_PUT.Enum(), RowChange: put.Row, Condition: put.Condition}},
	}}}
	start, ref := w.perform("StartLocalTransaction", &otsprotocol.StartLocalTransactionRequest{TableName: put.TableName, Key: rowOf(2)}, at(0))
	if ref != nil {
		t.Fatal(ref)
	}
	id := start.(*otsprotocol.StartLocalTransactionResponse).TransactionId
	inside := putRequest(2, otsprotocol.RowExistenceExpectation_IGNORE)
	inside.TransactionId = id
	for i, c := range []struct {
		op string
		m  protoadapt.MessageV1
	}{
		{"PutRow", put}, {"UpdateRow", update}, {"BatchWriteRow", batch}, {"PutRow", inside}, {"CommitTransaction", &otsprotocol.CommitTransactionRequest{TransactionId: id}},
	} {
		// All were asked for at begun.
		if _, ref := w.perform(c.op, c.m, at(int64(5*i+5))); ref != nil {
			t.Fatal(c.op, ref)
		}
	}
	rows := w.rows(w.get(w.iterator(w.shard(0)), 0))
	wants := []struct{ version, record int64 }{{5, 5}, {10, 10}, {15, 15}, {20, 25}} // s
	if len(rows) != len(wants) {
		t.Fatalf("%d records", len(rows))
	}
	for i, want := range wants {
		r := rows[i]
		if *r.Ext != (plainbuffer.Extension{Micros: begun + want.record*1_000_000}) || r.Columns[0].Time != begun/1000+want.version*1000 {
			t.Errorf("record %d: %+v, version %d s", i, *r.Ext, (r.Columns[0].Time-begun/1000)/1000)
		}
	}
}

// A stream that is on when a transaction is committed has the rows as they were,
// though it was off when they were changed.
func TestPreImagesOfATransaction(t *testing.T) {
	w := newWorld(t)
	w.table.Txn = true
	w.table.Options = tableOptions{TTL: -1, MaxVersions: 1, Deviation: usualDeviation, AllowUpdate: true}
	w.table.opts.Store(&w.table.Options)
	do := func(op string, m protoadapt.MessageV1) protoadapt.MessageV1 {
		out, ref := w.perform(op, m, nil)
		if ref != nil {
			t.Fatal(op, ref)
		}
		return out
	}
	do("PutRow", putRequest(1, otsprotocol.RowExistenceExpectation_IGNORE))
	id := do("StartLocalTransaction", &otsprotocol.StartLocalTransactionRequest{TableName: proto.String("t_1"), Key: rowOf(1)}).(*otsprotocol.StartLocalTransactionResponse).TransactionId
	m := putRequest(1, otsprotocol.RowExistenceExpectation_IGNORE)
	m.TransactionId = id
	do("PutRow", m)
	w.stream(24, "v")
	do("CommitTransaction", &otsprotocol.CommitTransactionRequest{TransactionId: id})
	r := w.get(w.iterator(w.shard(0)), 0).StreamRecords
	if len(r) != 1 || len(r[0].OriginRecord) == 0 {
		t.Errorf("%d records: %v", len(r), r)
	}
}

// What a transaction changed is not kept until somebody comes by.
func TestTransactionsEndWithTheirTime(t *testing.T) {
	s := frontServer(t, Options{})
	create := createRequest("orders")
	create.EnableLocalTxn = proto.Bool(true)
	s.ask("CreateTable", create).wants(t, s, 200, "", "")
	for _, k := range []string{"a", "b", "c"} {
		key := []plainbuffer.Cell{{Name: "id", Value: &plainbuffer.Value{Kind: plainbuffer.String, Bytes: k}}}
		s.ask("StartLocalTransaction", &otsprotocol.StartLocalTransactionRequest{
			TableName: proto.String("orders"), Key: plainbuffer.Append(nil, plainbuffer.Row{Key: key}),
		}).wants(t, s, 200, "", "")
	}
	tab, _ := s.instance("lab").table("orders")
	open := func() int {
		tab.mu.Lock()
		defer tab.mu.Unlock()
		return len(tab.txns) + len(tab.locks)
	}
	if n := open(); n != 6 {
		t.Fatalf("%d transactions and locks", n)
	}
	s.SetClockOffset((maxTxnSeconds + 1) * time.Second)
	await(t, "the transactions to end", func() bool { return open() == 0 })
}

// A handler that dies does not keep the table from the others.
func TestAPanicLeavesNoLock(t *testing.T) {
	w := newWorld(t)
	w.table.Txn = true
	w.table.Options = tableOptions{TTL: -1, MaxVersions: 1, Deviation: usualDeviation, AllowUpdate: true}
	w.table.opts.Store(&w.table.Options)
	w.stream(24)
	start, ref := w.perform("StartLocalTransaction", &otsprotocol.StartLocalTransactionRequest{TableName: proto.String("t_1"), Key: rowOf(2)}, nil)
	if ref != nil {
		t.Fatal(ref)
	}
	id := start.(*otsprotocol.StartLocalTransactionResponse).TransactionId
	inside := putRequest(2, otsprotocol.RowExistenceExpectation_IGNORE)
	inside.TransactionId = id
	if _, ref := w.perform("PutRow", inside, nil); ref != nil {
		t.Fatal(ref)
	}
	w.table.Stream.open = []*shard{} // what no input makes
	for what, do := range map[string]func(){
		"PutRow": func() { _, _ = w.perform("PutRow", putRequest(1, otsprotocol.RowExistenceExpectation_IGNORE), nil) },
		"CommitTransaction": func() {
			_, _ = w.perform("CommitTransaction", &otsprotocol.CommitTransactionRequest{TransactionId: id}, nil)
		},
		"UpdateTable": func() { w.table.alter(func(*pebble.Batch) *refusal { panic("of a handler") }) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: it lives", what)
				}
			}()
			do()
		}()
		if !w.table.mu.TryLock() {
			t.Fatalf("%s: the table stays locked", what)
		}
		w.table.mu.Unlock()
	}
}

// A folder is one folder, whatever it is called.
func TestADataFolderIsOpenedOnce(t *testing.T) {
	dir := t.TempDir()
	data, link := filepath.Join(dir, "data"), filepath.Join(dir, "link")
	s := frontServer(t, Options{DataDir: data})
	if i, err := os.Stat(data); err != nil || i.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", i, err)
	}
	if err := os.Symlink(data, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{data, data + "/.", link} {
		if second, err := New(Options{DataDir: name}); err == nil {
			t.Errorf("%s is open twice", name)
			_ = second.Close()
		}
	}
	s.ask("ListTable", nil).wants(t, s, 200, "", "")
}

// A table that keeps fewer versions than before shows no more of them.
func TestFewerVersionsAreShownAtOnce(t *testing.T) {
	w := newWorld(t)
	w.table.Options = tableOptions{TTL: -1, MaxVersions: 3, Deviation: maxDeviation, AllowUpdate: true}
	w.table.opts.Store(&w.table.Options)
	ask := func(op string, m protoadapt.MessageV1) protoadapt.MessageV1 {
		out, ref := w.perform(op, m, nil)
		if ref != nil {
			t.Fatal(op, ref)
		}
		return out
	}
	var cells []plainbuffer.Cell
	for i := range int64(3) {
		v := integer(i)
		cells = append(cells, plainbuffer.Cell{Name: "v", Value: &v, Time: 1000 + i, HasTime: true})
	}
	m := putRequest(1, otsprotocol.RowExistenceExpectation_IGNORE)
	m.Row = rowOf(1, cells...)
	ask("PutRow", m)
	ask("UpdateTable", &otsprotocol.UpdateTableRequest{TableName: m.TableName, TableOptions: &otsprotocol.TableOptions{MaxVersions: proto.Int32(2)}})
	get := ask("GetRow", &otsprotocol.GetRowRequest{TableName: m.TableName, PrimaryKey: rowOf(1), MaxVersions: proto.Int32(9)}).(*otsprotocol.GetRowResponse)
	low, high := plainbuffer.Value{Kind: plainbuffer.InfMin}, plainbuffer.Value{Kind: plainbuffer.InfMax}
	bound := func(v *plainbuffer.Value) []byte {
		return plainbuffer.Append(nil, plainbuffer.Row{Key: []plainbuffer.Cell{{Name: "k", Value: v}}})
	}
	all := ask("GetRange", &otsprotocol.GetRangeRequest{
		TableName: m.TableName, Direction: otsprotocol.Direction_FORWARD.Enum(), TimeRange: &otsprotocol.TimeRange{StartTime: proto.Int64(0), EndTime: proto.Int64(9999)},
		InclusiveStartPrimaryKey: bound(&low), ExclusiveEndPrimaryKey: bound(&high),
	}).(*otsprotocol.GetRangeResponse)
	for what, text := range map[string][]byte{"GetRow": get.Row, "GetRange": all.Rows} {
		r, err := plainbuffer.DecodeRow(text)
		if err != nil || len(r.Columns) != 2 || r.Columns[1].Time != 1001 {
			t.Errorf("%s: %+v %v", what, r.Columns, err)
		}
	}
}

// A transaction of a partition that cannot be had is not committed, and can be
// later.
func TestATransactionWaitsForItsPartition(t *testing.T) {
	s := frontServer(t, Options{})
	create := createRequest("orders")
	create.EnableLocalTxn = proto.Bool(true)
	s.ask("CreateTable", create).wants(t, s, 200, "", "")
	k := create.TableMeta.PrimaryKey[0]
	v := plainbuffer.Value{Kind: kindOf(k.GetType()), Int: 7, Bytes: "7"}
	if v.Kind == plainbuffer.Integer {
		v.Bytes = ""
	} else {
		v.Int = 0
	}
	part := plainbuffer.Append(nil, plainbuffer.Row{Key: []plainbuffer.Cell{{Name: k.GetName(), Value: &v}}})
	g := s.ask("StartLocalTransaction", &otsprotocol.StartLocalTransactionRequest{TableName: proto.String("orders"), Key: part}).wants(t, s, 200, "", "")
	var out otsprotocol.StartLocalTransactionResponse
	if err := proto.Unmarshal(g.body, protoadapt.MessageV2Of(&out)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Fail(Fault{Kind: Partition, Table: "orders", Of: proto.String("7")}, 1); err != nil {
		t.Fatal(err)
	}
	commit := s.ask("CommitTransaction", &otsprotocol.CommitTransactionRequest{TransactionId: out.TransactionId})
	commit.wants(t, s, 503, "OTSPartitionUnavailable", "The partition is not available.")
	commit.wants(t, s, 200, "", "")
	commit.wants(t, s, 404, "OTSSessionNotExist", "Session not exist or may be timeout.")
}
