package tablestore_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"pointsman/internal/lab/tablestore"
)

// fail lets calls go wrong, and heals when the test is over.
func (w *world) fail(f tablestore.Fault, times int) {
	w.Helper()
	if _, err := w.server.Fail(f, times); err != nil {
		w.Fatal(err)
	}
}

// patient is a client that tries again as the SDK does by itself.
func patient(w *world) *sdk.TableStoreClient {
	k := w.server.Keys()[0]
	return sdk.NewClient(w.server.Endpoint(), "lab", k.ID, k.Secret)
}

// TestAnAnswerThatIsLostIsAWriteThatIsDoneTwice: the SDK sends it again, so that
// an increment counts double and a row that was to be new is there already.
func TestAnAnswerThatIsLostIsAWriteThatIsDoneTwice(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s")
	c := patient(w)
	w.fail(tablestore.Fault{Kind: tablestore.Drop, After: true, Operation: "UpdateRow"}, 1)
	u := updateOf("t", key("p", "a"))
	u.IncrementColumn("n", 1)
	if _, err := c.UpdateRow(&sdk.UpdateRowRequest{UpdateRowChange: u}); err != nil {
		t.Fatal(err)
	}
	same(t, w.get("t", key("p", "a")), "p=a | n=2")
	w.fail(tablestore.Fault{Kind: tablestore.Drop, After: true, Operation: "PutRow"}, 1)
	p := putOf("t", key("p", "b"), "n", 1)
	p.SetCondition(sdk.RowExistenceExpectation_EXPECT_NOT_EXIST)
	_, err := c.PutRow(&sdk.PutRowRequest{PutRowChange: p})
	refused(t, err, "OTSConditionCheckFail", 403, "Condition check failed.")
	same(t, w.get("t", key("p", "b")), "p=b | n=1")
	// Lost before, and one that may not be sent twice.
	w.fail(tablestore.Fault{Kind: tablestore.Drop, Operation: "UpdateRow"}, 1)
	if _, err := c.UpdateRow(&sdk.UpdateRowRequest{UpdateRowChange: u}); err != nil {
		t.Fatal(err)
	}
	same(t, w.get("t", key("p", "a")), "p=a | n=3")
	w.fail(tablestore.Fault{Kind: tablestore.ErrorCode, Code: "OTSTimeout", After: true, Operation: "UpdateRow"}, 1)
	_, err = c.UpdateRow(&sdk.UpdateRowRequest{UpdateRowChange: u})
	refused(t, err, "OTSTimeout", 503, "Operation timeout.")
	same(t, w.get("t", key("p", "a")), "p=a | n=4")
	w.fail(tablestore.Fault{Kind: tablestore.Drop, After: true, Operation: "UpdateRow"}, 1)
	if _, err := w.UpdateRow(&sdk.UpdateRowRequest{UpdateRowChange: u}); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	same(t, w.get("t", key("p", "a")), "p=a | n=5")
}

// TestOnePartitionIsUnavailable: its rows are refused, those of others are not;
// in a batch row by row, and a scan stops before it.
func TestOnePartitionIsUnavailable(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s q:i")
	keys := []string{"a", "g", "m", "z"}
	for _, k := range keys {
		w.put("t", key("p", k, "q", 1), "v", 1)
	}
	for _, at := range []string{"f", "p"} {
		if err := w.server.SplitShard("lab", "t", at); err != nil {
			t.Fatal(err)
		}
	}
	of, message := "h", "The partition is not available."
	middle := tablestore.Fault{Kind: tablestore.Partition, Table: "t", Of: &of}
	w.fail(middle, -1)
	_, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: putOf("t", key("p", "g", "q", 1), "v", 2)})
	refused(t, err, "OTSPartitionUnavailable", 503, message)
	_, err = w.tryGet("t", key("p", "m", "q", 1))
	refused(t, err, "OTSPartitionUnavailable", 503, message)
	w.put("t", key("p", "a", "q", 1), "v", 2)
	b := &sdk.BatchWriteRowRequest{}
	g := &sdk.BatchGetRowRequest{MultiRowQueryCriteria: []*sdk.MultiRowQueryCriteria{{TableName: "t", MaxVersion: 1}}}
	for _, k := range keys {
		b.AddRowChange(putOf("t", key("p", k, "q", 1), "v", 3))
		g.MultiRowQueryCriteria[0].AddRow(key("p", k, "q", 1))
	}
	wrote, err := w.BatchWriteRow(b)
	if err != nil {
		t.Fatal(err)
	}
	read, err := w.BatchGetRow(g)
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range keys {
		ok := k == "a" || k == "z"
		for _, r := range []sdk.RowResult{wrote.TableToRowsResult["t"][i], read.TableToRowsResult["t"][i]} {
			if r.IsSucceed != ok || !ok && (r.Error.Code != "OTSPartitionUnavailable" || r.Error.Message != message) {
				t.Errorf("%s: %+v", k, r)
			}
		}
	}
	page := func(from *sdk.PrimaryKey) (string, *sdk.PrimaryKey, error) {
		r, err := w.GetRange(&sdk.GetRangeRequest{RangeRowQueryCriteria: &sdk.RangeRowQueryCriteria{
			TableName: "t", StartPrimaryKey: from, EndPrimaryKey: key("p", maxKey, "q", maxKey), Direction: sdk.FORWARD, MaxVersion: 1,
		}})
		if err != nil {
			return "", nil, err
		}
		out := ""
		for _, row := range r.Rows {
			out += text(row.PrimaryKey.PrimaryKeys, row.Columns) + ";"
		}
		return out, r.NextStartPrimaryKey, nil
	}
	got, next, err := page(key("p", minKey, "q", minKey))
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, "p=a q=1 | v=3;")
	_, _, err = page(next)
	refused(t, err, "OTSPartitionUnavailable", 503, message)
	w.server.Heal()
	got, next, err = page(next)
	if err != nil || next != nil {
		t.Fatal(err, next)
	}
	same(t, got, "p=g q=1 | v=1;p=m q=1 | v=1;p=z q=1 | v=3;")
	// A range that is less than a partition is left out of a scan as well.
	from, to := "m", "n"
	w.fail(tablestore.Fault{Kind: tablestore.Partition, Table: "t", From: &from, To: &to}, -1)
	if got, _, err = page(key("p", minKey, "q", minKey)); err != nil {
		t.Fatal(err)
	}
	same(t, got, "p=a q=1 | v=3;p=g q=1 | v=1;")
	w.server.Heal()
	// For 100 ms, which the SDK by itself rides out.
	middle.For = 100 * time.Millisecond
	w.fail(middle, -1)
	if _, err := patient(w).BatchWriteRow(b); err != nil {
		t.Error(err)
	}
	same(t, w.get("t", key("p", "m", "q", 1)), "p=m q=1 | v=3")
}

// TestATableIsNotReadyForAWhile, which the SDK by itself rides out too.
func TestATableIsNotReadyForAWhile(t *testing.T) {
	s := start(t, tablestore.Options{Ready: 300 * time.Millisecond})
	w := &world{t, s, once(s)}
	w.create("t", "p:s")
	_, err := w.tryGet("t", key("p", "a"))
	refused(t, err, "OTSTableNotReady", 404, "The table is not ready.")
	if _, err := patient(w).PutRow(&sdk.PutRowRequest{PutRowChange: putOf("t", key("p", "a"), "v", 1)}); err != nil {
		t.Fatal(err)
	}
	same(t, w.get("t", key("p", "a")), "p=a | v=1")
}

// TestTheHistoryShowsEveryTry that a patient client makes.
func TestTheHistoryShowsEveryTry(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s")
	w.fail(tablestore.Fault{Kind: tablestore.ErrorCode, Code: "OTSServerBusy", Table: "t", Operation: "PutRow"}, 2)
	if _, err := patient(w).PutRow(&sdk.PutRowRequest{PutRowChange: putOf("t", key("p", "a"), "v", 1)}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, q := range w.server.Requests(tablestore.Filter{Operation: "PutRow", Table: "t", Instance: "lab"}) {
		got = append(got, strings.TrimSpace(q.Code+" "+string(q.Fault)))
	}
	same(t, strings.Join(got, ","), "OTSServerBusy error,OTSServerBusy error,")
}
