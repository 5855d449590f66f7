package tablestore

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"pointsman/internal/lab/tablestore/plainbuffer"
)

// A machine that loses its power keeps what was synced and nothing else. What
// was acknowledged before must be there then, an atomic batch and a transaction
// whole, and each row with its record in the stream.
func TestWhatIsAcknowledgedOutlivesThePower(t *testing.T) {
	disk := vfs.NewCrashableMem()
	st, err := openStoreOn(&pebble.Options{FS: disk}, "data")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.close(); err != nil {
			t.Error(err)
		}
	}()
	in, err := st.openInstance("lab")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{store: st}
	do := func(op string, m protoadapt.MessageV1) (protoadapt.MessageV1, error) {
		body, err := proto.Marshal(protoadapt.MessageV2Of(m))
		if err != nil {
			return nil, err
		}
		out, ref := operations[op](s, &call{s: s, op: op, inst: in, body: body, now: time.Now()})
		if ref != nil {
			return nil, ref
		}
		return out, nil
	}
	p, q := otsprotocol.PrimaryKeyType_STRING, otsprotocol.PrimaryKeyType_INTEGER
	if _, err := do("CreateTable", &otsprotocol.CreateTableRequest{
		TableMeta: &otsprotocol.TableMeta{TableName: proto.String("t"), PrimaryKey: []*otsprotocol.PrimaryKeySchema{
			{Name: proto.String("p"), Type: &p}, {Name: proto.String("q"), Type: &q},
		}},
		ReservedThroughput: &otsprotocol.ReservedThroughput{CapacityUnit: &otsprotocol.CapacityUnit{}},
		TableOptions:       &otsprotocol.TableOptions{TimeToLive: proto.Int32(-1), MaxVersions: proto.Int32(1)},
		StreamSpec:         &otsprotocol.StreamSpecification{EnableStream: proto.Bool(true), ExpirationTime: proto.Int32(24)},
		EnableLocalTxn:     proto.Bool(true),
	}); err != nil {
		t.Fatal(err)
	}

	const together = 3 // rows of a batch and of a transaction
	key := func(p string, q int) []plainbuffer.Cell {
		return []plainbuffer.Cell{
			{Name: "p", Value: &plainbuffer.Value{Kind: plainbuffer.String, Bytes: p}},
			{Name: "q", Value: &plainbuffer.Value{Kind: plainbuffer.Integer, Int: int64(q)}},
		}
	}
	row := func(p string, q int) []byte {
		return plainbuffer.Append(nil, plainbuffer.Row{Key: key(p, q), Columns: []plainbuffer.Cell{{Name: "c", Value: &plainbuffer.Value{}}}})
	}
	cond := &otsprotocol.Condition{RowExistence: otsprotocol.RowExistenceExpectation_IGNORE.Enum()}
	put := func(p string, q int, txn *string) error {
		_, err := do("PutRow", &otsprotocol.PutRowRequest{TableName: proto.String("t"), Row: row(p, q), Condition: cond, TransactionId: txn})
		return err
	}
	writers := map[string]func(p string) error{
		"single": func(p string) error { return put(p, 0, nil) },
		"batch": func(p string) error {
			part := &otsprotocol.TableInBatchWriteRowRequest{TableName: proto.String("t")}
			for q := range together {
				part.Rows = append(part.Rows, &otsprotocol.RowInBatchWriteRowRequest{Type: otsprotocol.OperationType_PUT.Enum(), RowChange: row(p, q), Condition: cond})
			}
			_, err := do("BatchWriteRow", &otsprotocol.BatchWriteRowRequest{Tables: []*otsprotocol.TableInBatchWriteRowRequest{part}, IsAtomic: proto.Bool(true)})
			return err
		},
		"transaction": func(p string) error {
			out, err := do("StartLocalTransaction", &otsprotocol.StartLocalTransactionRequest{TableName: proto.String("t"), Key: plainbuffer.Append(nil, plainbuffer.Row{Key: key(p, 0)[:1]})})
			if err != nil {
				return err
			}
			id := out.(*otsprotocol.StartLocalTransactionResponse).TransactionId
			for q := range together {
				if err := put(p, q, id); err != nil {
					return err
				}
			}
			_, err = do("CommitTransaction", &otsprotocol.CommitTransactionRequest{TransactionId: id})
			return err
		},
	}
	var mu sync.Mutex
	var acked []string // partition keys
	var done sync.WaitGroup
	for kind, write := range writers {
		done.Go(func() {
			for n := range 250 {
				p := fmt.Sprintf("%s %06d", kind, n)
				if err := write(p); err != nil {
					t.Errorf("%s: %v", p, err)
					return
				}
				mu.Lock()
				acked = append(acked, p)
				mu.Unlock()
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		done.Wait()
		close(ended)
	}()
	cuts := 0
	for over := false; !over && !t.Failed(); cuts++ {
		select {
		case <-ended:
			over = true // once more
		default:
		}
		mu.Lock()
		before := slices.Clone(acked)
		mu.Unlock()
		rows, records := afterPowerCut(t, disk.CrashClone(vfs.CrashCloneCfg{}))
		for _, p := range before {
			if rows[p] == 0 {
				t.Errorf("%s was acknowledged and is gone", p)
			}
		}
		for p, n := range rows {
			want := together
			if p[0] == 's' {
				want = 1
			}
			if n != want || records[p] != n {
				t.Errorf("%s has %d rows and %d records, want %d", p, n, records[p], want)
			}
			delete(records, p)
		}
		if len(records) > 0 {
			t.Errorf("records of rows that are not there: %v", records)
		}
	}
	done.Wait()
	if cuts < 3 {
		t.Errorf("the power was cut %d times", cuts)
	}
}

// afterPowerCut counts the rows and the records of each partition key on a disk.
func afterPowerCut(t *testing.T, disk *vfs.MemFS) (rows, records map[string]int) {
	t.Helper()
	st, err := openStoreOn(&pebble.Options{FS: disk}, "data")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.close(); err != nil {
			t.Error(err)
		}
	}()
	in, err := st.openInstance("lab")
	if err != nil {
		t.Fatal(err)
	}
	tab, ref := in.table("t")
	if ref != nil {
		t.Fatal(ref)
	}
	rows, records = map[string]int{}, map[string]int{}
	each := func(prefix []byte, do func(k, v []byte)) {
		it, err := st.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
		if err != nil {
			t.Fatal(err)
		}
		for ok := it.First(); ok; ok = it.Next() {
			do(it.Key()[len(prefix):], it.Value())
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
	}
	each(rowPrefix(tab.ID), func(k, _ []byte) {
		cells, err := tab.decodeKey(k)
		if err != nil {
			t.Fatal(err)
		}
		rows[cells[0].Value.Bytes]++
	})
	each([]byte("l/"), func(_, v []byte) {
		r, err := plainbuffer.DecodeRow(decodeRecord(v).Record)
		if err != nil {
			t.Fatal(err)
		}
		records[r.Key[0].Value.Bytes]++
	})
	return rows, records
}

// The rows of a table that is deleted go with it; nobody could read them again.
func TestNothingIsLeftOfADeletedTable(t *testing.T) {
	st, err := openStore("")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.close(); err != nil {
			t.Error(err)
		}
	}()
	in, err := st.openInstance("lab")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{store: st}
	do := func(op string, m protoadapt.MessageV1) {
		t.Helper()
		body, err := proto.Marshal(protoadapt.MessageV2Of(m))
		if err != nil {
			t.Fatal(err)
		}
		if _, ref := operations[op](s, &call{s: s, op: op, inst: in, body: body, now: time.Now()}); ref != nil {
			t.Fatal(ref)
		}
	}
	keys := func() (n int) {
		t.Helper()
		it, err := st.db.NewIter(nil)
		if err != nil {
			t.Fatal(err)
		}
		for ok := it.First(); ok; ok = it.Next() {
			if c := it.Key()[0]; c != 'n' && c != 's' { // the numbers that are never used twice
				n++
			}
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
		return n
	}
	name := proto.String("t")
	m := &otsprotocol.CreateTableRequest{
		TableMeta:          &otsprotocol.TableMeta{TableName: name, PrimaryKey: []*otsprotocol.PrimaryKeySchema{{Name: proto.String("p"), Type: otsprotocol.PrimaryKeyType_INTEGER.Enum()}}},
		ReservedThroughput: &otsprotocol.ReservedThroughput{CapacityUnit: &otsprotocol.CapacityUnit{}},
		TableOptions:       &otsprotocol.TableOptions{TimeToLive: proto.Int32(-1), MaxVersions: proto.Int32(1)},
		StreamSpec:         &otsprotocol.StreamSpecification{EnableStream: proto.Bool(true), ExpirationTime: proto.Int32(24)},
	}
	do("CreateTable", m)
	for i := range 5 {
		do("PutRow", &otsprotocol.PutRowRequest{
			TableName: name, Condition: &otsprotocol.Condition{RowExistence: otsprotocol.RowExistenceExpectation_IGNORE.Enum()},
			Row: plainbuffer.Append(nil, plainbuffer.Row{Key: []plainbuffer.Cell{{Name: "p", Value: &plainbuffer.Value{Int: int64(i)}}}}),
		})
	}
	if n := keys(); n < 11 { // the table, its rows and their records
		t.Fatalf("%d keys", n)
	}
	do("DeleteTable", &otsprotocol.DeleteTableRequest{TableName: name})
	if n := keys(); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}
