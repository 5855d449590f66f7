package tablestore_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"google.golang.org/protobuf/proto"
)

func transactional(r *sdk.CreateTableRequest) {
	yes := true
	r.EnableLocalTxn = &yes
}

func (w *world) start(table string, k *sdk.PrimaryKey) (*string, error) {
	r, err := w.StartLocalTransaction(&sdk.StartLocalTransactionRequest{TableName: table, PrimaryKey: k})
	if err != nil {
		return nil, err
	}
	return r.TransactionId, nil
}

func (w *world) mustStart(k *sdk.PrimaryKey) *string {
	w.Helper()
	id, err := w.start("t", k)
	if err != nil {
		w.Fatal(err)
	}
	return id
}

func (w *world) commit(id *string) error {
	_, err := w.CommitTransaction(&sdk.CommitTransactionRequest{TransactionId: id})
	return err
}

func (w *world) abort(id *string) error {
	_, err := w.AbortTransaction(&sdk.AbortTransactionRequest{TransactionId: id})
	return err
}

func (w *world) putIn(id *string, k *sdk.PrimaryKey, args ...any) error {
	p := putOf("t", k, args...)
	p.TransactionId = id
	_, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: p})
	return err
}

func in(id *string) readOption {
	return func(c *sdk.SingleRowQueryCriteria) { c.TransactionId = id }
}

const (
	noSession = "Session not exist or may be timeout."
	conflict  = "Data is being modified by the other request."
)

func TestATransactionIsSeenByOthersOnlyWhenItIsCommitted(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s q:i", transactional)
	a1, a2, a3, b1 := key("p", "a", "q", 1), key("p", "a", "q", 2), key("p", "a", "q", 3), key("p", "b", "q", 1)
	w.put("t", a1, "c", 1)
	w.put("t", a3, "c", 3)
	id := w.mustStart(key("p", "a"))
	if err := w.putIn(id, a1, "c", 10); err != nil {
		t.Fatal(err)
	}
	u := updateOf("t", a2)
	u.IncrementColumn("n", 2)
	u.TransactionId = id
	w.update(u)
	w.update(u)
	d := deleteOf("t", a3)
	d.TransactionId = id
	if _, err := w.DeleteRow(&sdk.DeleteRowRequest{DeleteRowChange: d}); err != nil {
		t.Fatal(err)
	}
	rangeIn := func(id *string) string {
		r, err := w.GetRange(&sdk.GetRangeRequest{RangeRowQueryCriteria: &sdk.RangeRowQueryCriteria{
			TableName: "t", StartPrimaryKey: key("p", "a", "q", minKey), EndPrimaryKey: key("p", "a", "q", maxKey), Direction: sdk.FORWARD, MaxVersion: 1, TransactionId: id,
		}})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, row := range r.Rows {
			out = append(out, text(row.PrimaryKey.PrimaryKeys, row.Columns))
		}
		return strings.Join(out, "; ")
	}
	// It sees itself; others see what was before.
	same(t, w.get("t", a1, in(id)), "p=a q=1 | c=10")
	same(t, w.get("t", a3, in(id)), "")
	same(t, rangeIn(id), "p=a q=1 | c=10; p=a q=2 | n=4")
	same(t, w.get("t", a1), "p=a q=1 | c=1")
	same(t, rangeIn(nil), "p=a q=1 | c=1; p=a q=3 | c=3")
	// Others may not write under its key, and may elsewhere.
	_, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: putOf("t", a2, "c", 1)})
	refused(t, err, "OTSRowOperationConflict", 409, conflict)
	_, err = w.start("t", key("p", "a"))
	refused(t, err, "OTSRowOperationConflict", 409, conflict)
	w.put("t", b1, "c", 1)
	b := &sdk.BatchWriteRowRequest{}
	b.AddRowChange(putOf("t", a2, "c", 1))
	b.AddRowChange(putOf("t", b1, "c", 2))
	r, err := w.BatchWriteRow(b)
	if err != nil {
		t.Fatal(err)
	}
	same(t, fmt.Sprint(r.TableToRowsResult["t"][0].Error.Code, r.TableToRowsResult["t"][1].IsSucceed), "OTSRowOperationConflicttrue")
	other := w.mustStart(key("p", "b"))
	refused(t, w.putIn(other, a1, "c", 1), "OTSParameterInvalid", 400, "The partition key of the row is not that of the transaction.")
	if err := w.abort(other); err != nil {
		t.Fatal(err)
	}
	// A write that fails leaves the transaction open.
	p := putOf("t", a1, "c", 1)
	p.TransactionId = id
	p.SetCondition(sdk.RowExistenceExpectation_EXPECT_NOT_EXIST)
	_, err = w.PutRow(&sdk.PutRowRequest{PutRowChange: p})
	refused(t, err, "OTSConditionCheckFail", 403, "Condition check failed.")
	if err := w.commit(id); err != nil {
		t.Fatal(err)
	}
	same(t, rangeIn(nil), "p=a q=1 | c=10; p=a q=2 | n=4")
	refused(t, w.commit(id), "OTSSessionNotExist", 404, noSession)
	refused(t, w.abort(id), "OTSSessionNotExist", 404, noSession)
	refused(t, w.putIn(id, a1, "c", 1), "OTSSessionNotExist", 404, noSession)
	_, err = w.tryGet("t", a1, in(id))
	refused(t, err, "OTSSessionNotExist", 404, noSession)
	w.put("t", a1, "c", 11) // the lock is gone
}

func TestATransactionThatIsAbortedLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s q:i", transactional)
	id := w.mustStart(key("p", "a"))
	if err := w.putIn(id, key("p", "a", "q", 1), "c", 1); err != nil {
		t.Fatal(err)
	}
	if err := w.abort(id); err != nil {
		t.Fatal(err)
	}
	refused(t, w.commit(id), "OTSSessionNotExist", 404, noSession)
	same(t, w.get("t", key("p", "a", "q", 1)), "")
	w.put("t", key("p", "a", "q", 1), "c", 2)
	// An empty one is committed too.
	if err := w.commit(w.mustStart(key("p", "a"))); err != nil {
		t.Error(err)
	}
}

func TestATransactionEndsAfterAMinute(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s q:i", transactional)
	id := w.mustStart(key("p", "a"))
	if err := w.putIn(id, key("p", "a", "q", 1), "c", 1); err != nil {
		t.Fatal(err)
	}
	w.server.SetClockOffset(30 * time.Second) // and what this test has taken
	refused(t, w.putIn(nil, key("p", "a", "q", 2), "c", 1), "OTSRowOperationConflict", 409, conflict)
	w.server.SetClockOffset(61 * time.Second)
	w.put("t", key("p", "a", "q", 2), "c", 1)
	refused(t, w.commit(id), "OTSSessionNotExist", 404, noSession)
	same(t, w.get("t", key("p", "a", "q", 1)), "")
	// One that nobody writes against ends as well.
	id = w.mustStart(key("p", "b"))
	w.server.SetClockOffset(123 * time.Second)
	refused(t, w.putIn(id, key("p", "b", "q", 1), "c", 1), "OTSSessionNotExist", 404, noSession)
}

func TestTransactionsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s q:i", transactional)
	w.create("plain", "p:s")
	w.create("chosen", "p:s q:a", transactional)
	_, err := w.start("plain", key("p", "a"))
	refused(t, err, "OTSParameterInvalid", 400, "Try to call method using explicit transaction on explicit-transaction-disabled table.")
	_, err = w.start("t", key("p", "a", "q", 1))
	refused(t, err, "OTSParameterInvalid", 400, "StartLocalTransaction support only one primary key.")
	_, err = w.start("t", key("x", "a"))
	refused(t, err, "OTSInvalidPK", 400, "Validate PK name fail. Input: x, Meta: p.")
	_, err = w.start("t", key("p", minKey))
	refused(t, err, "OTSParameterInvalid", 400, "VT_INF_MIN is an invalid type for the primary key.")
	_, err = w.start("none", key("p", "a"))
	refused(t, err, "OTSObjectNotExist", 404, "Requested table does not exist.")
	_, err = w.start("", key("p", "a"))
	refused(t, err, "OTSParameterInvalid", 400, "Invalid table name: ''.")
	for _, id := range []string{"", "x", strings.Repeat("z", 32)} {
		refused(t, w.commit(&id), "OTSParameterInvalid", 400, "TransactionID is invalid.")
		refused(t, w.abort(&id), "OTSParameterInvalid", 400, "TransactionID is invalid.")
		refused(t, w.putIn(&id, key("p", "a", "q", 1)), "OTSParameterInvalid", 400, "TransactionID is invalid.")
	}
	unknown := strings.Repeat("0", 32)
	refused(t, w.commit(&unknown), "OTSSessionNotExist", 404, noSession)

	chosen, err := w.start("chosen", key("p", "a"))
	if err != nil {
		t.Fatal(err)
	}
	refused(t, w.putIn(chosen, key("p", "a", "q", 1)), "OTSParameterInvalid", 400, "TransactionID is invalid.") // of another table
	p := putOf("chosen", key("p", "a", "q", auto), "c", 1)
	p.TransactionId = chosen
	_, err = w.PutRow(&sdk.PutRowRequest{PutRowChange: p})
	refused(t, err, "OTSParameterInvalid", 400, "Auto increment primary key cannot be used in a local transaction.")

	// 4 MB are the most of one.
	id := w.mustStart(key("p", "a"))
	mega := strings.Repeat("x", 1<<20)
	for i := range 3 {
		if err := w.putIn(id, key("p", "a", "q", i), "c", mega); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, w.putIn(id, key("p", "a", "q", 9), "c", mega), "OTSParameterInvalid", 400, "The total data size of the transaction exceeds the limit, limit size: 4194304, data size: 4194384.")
	if err := w.commit(id); err != nil {
		t.Fatal(err)
	}
	// A table may go with one open; the session goes with it.
	id = w.mustStart(key("p", "a"))
	if _, err := w.DeleteTable(&sdk.DeleteTableRequest{TableName: "t"}); err != nil {
		t.Fatal(err)
	}
	refused(t, w.commit(id), "OTSSessionNotExist", 404, noSession)
}

func TestABatchMayBeOfATransaction(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s q:i", transactional)
	id := w.mustStart(key("p", "a"))
	row := func(p string, q int) *otsprotocol.RowInBatchWriteRowRequest {
		return &otsprotocol.RowInBatchWriteRowRequest{
			Type: otsprotocol.OperationType_PUT.Enum(), RowChange: putOf("t", key("p", p, "q", q), "c", q).Serialize(),
			Condition: &otsprotocol.Condition{RowExistence: otsprotocol.RowExistenceExpectation_IGNORE.Enum()},
		}
	}
	send := func(atomic bool, rows ...*otsprotocol.RowInBatchWriteRowRequest) string {
		var r otsprotocol.BatchWriteRowResponse
		if got := w.raw("BatchWriteRow", &otsprotocol.BatchWriteRowRequest{
			TransactionId: id, IsAtomic: &atomic, Tables: []*otsprotocol.TableInBatchWriteRowRequest{{TableName: proto.String("t"), Rows: rows}},
		}, &r); got != "200" {
			return got
		}
		var out []string
		for _, row := range r.Tables[0].Rows {
			out = append(out, fmt.Sprint(row.GetIsOk(), row.GetError().GetMessage()))
		}
		return strings.Join(out, "; ")
	}
	same(t, send(false, row("a", 1), row("a", 2), row("b", 1)), "true; true; falseThe partition key of the row is not that of the transaction.")
	same(t, send(true, row("a", 3)), parameter+"An atomic batch cannot be of a local transaction.")
	same(t, w.get("t", key("p", "a", "q", 1)), "")
	if err := w.commit(id); err != nil {
		t.Fatal(err)
	}
	same(t, w.get("t", key("p", "a", "q", 2)), "p=a q=2 | c=2")
	same(t, send(false, row("a", 1)), "false"+noSession)
}
