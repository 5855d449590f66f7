package tablestore_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"pointsman/internal/lab/tablestore"
	"pointsman/internal/lab/tablestore/plainbuffer"
)

func columns(names ...string) readOption {
	return func(c *sdk.SingleRowQueryCriteria) { c.ColumnsToGet = names }
}

func allVersions(n int32) readOption {
	return func(c *sdk.SingleRowQueryCriteria) { c.MaxVersion = n }
}

func timeRange(from, to int64) readOption {
	return func(c *sdk.SingleRowQueryCriteria) {
		c.TimeRange, c.MaxVersion = &sdk.TimeRange{Start: from, End: to}, 0
	}
}

func specific(at int64) readOption {
	return func(c *sdk.SingleRowQueryCriteria) { c.TimeRange, c.MaxVersion = &sdk.TimeRange{Specific: at}, 0 }
}

func startColumn(name string) readOption {
	return func(c *sdk.SingleRowQueryCriteria) { c.StartColumn = &name }
}

func endColumn(name string) readOption {
	return func(c *sdk.SingleRowQueryCriteria) { c.EndColumn = &name }
}

func filtered(f sdk.ColumnFilter) readOption {
	return func(c *sdk.SingleRowQueryCriteria) { c.Filter = f }
}

// free is a table that takes any version.
func free(n int) tableOption {
	return func(r *sdk.CreateTableRequest) {
		r.TableOption.MaxVersion, r.TableOption.DeviationCellVersionInSec = n, math.MaxInt64/1000000
	}
}

func TestVersionsAreKeptSortedAndReadByTime(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s", free(3))
	k := key("p", "a")
	p := putOf("t", k)
	for _, v := range []int64{30, 10, 50, 20, 40} {
		p.AddColumnWithTimestamp("b", v, v)
	}
	p.AddColumnWithTimestamp("a", "old", 5)
	p.AddColumnWithTimestamp("ab", "x", 25)
	if _, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: p}); err != nil {
		t.Fatal(err)
	}
	// By name, the newest version first, and no more of them than are kept.
	same(t, w.get("t", k, allVersions(9)), "p=a | a=old@5 ab=x@25 b=50@50 b=40@40 b=30@30")
	same(t, w.get("t", k, allVersions(2)), "p=a | a=old@5 ab=x@25 b=50@50 b=40@40")
	same(t, w.get("t", k), "p=a | a=old@5 ab=x@25 b=50@50")
	// From on, and not to.
	same(t, w.get("t", k, timeRange(25, 50)), "p=a | ab=x@25 b=40@40 b=30@30")
	same(t, w.get("t", k, timeRange(25, 50), allVersions(1)), "p=a | ab=x@25 b=40@40")
	same(t, w.get("t", k, specific(30)), "p=a | b=30@30")
	// A row without a cell in the time is a row, unless columns were asked for.
	same(t, w.get("t", k, specific(31)), "p=a |")
	same(t, w.get("t", k, specific(31), columns("b")), "")
	same(t, w.get("t", k, specific(31), columns("b", "p")), "p=a |")
	same(t, w.get("t", k, columns("a", "none")), "p=a | a=old@5")
	same(t, w.get("t", k, columns("none")), "")
	// From the first column on, and not the last.
	same(t, w.get("t", k, startColumn("ab")), "p=a | ab=x@25 b=50@50")
	same(t, w.get("t", k, startColumn("ab"), endColumn("b")), "p=a | ab=x@25")
	same(t, w.get("t", k, startColumn("c")), "p=a |")

	// A version is overwritten; one older than all that are kept is not seen.
	u := updateOf("t", k)
	u.PutColumnWithTimestamp("b", "new", 40)
	u.PutColumnWithTimestamp("b", "late", 29)
	w.update(u)
	same(t, w.get("t", k, allVersions(9), columns("b")), "p=a | b=50@50 b=new@40 b=30@30")
	// One version is deleted, then all.
	u = updateOf("t", k)
	u.DeleteColumnWithTimestamp("b", 50)
	u.DeleteColumnWithTimestamp("b", 49)
	w.update(u)
	same(t, w.get("t", k, allVersions(9), columns("b")), "p=a | b=new@40 b=30@30")
	u = updateOf("t", k)
	u.DeleteColumn("b")
	u.DeleteColumn("a")
	u.DeleteColumn("ab")
	w.update(u)
	same(t, w.get("t", k, allVersions(9)), "p=a |") // the row stays
	// There are no tombstones: what is older than the deletion is seen.
	u = updateOf("t", k)
	u.PutColumnWithTimestamp("b", "back", 1)
	w.update(u)
	same(t, w.get("t", k, allVersions(9)), "p=a | b=back@1")
	w.remove("t", k)
	p = putOf("t", k)
	p.AddColumnWithTimestamp("b", "again", 1)
	if _, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: p}); err != nil {
		t.Fatal(err)
	}
	same(t, w.get("t", k, allVersions(9)), "p=a | b=again@1")
}

func (w *world) remove(table string, k *sdk.PrimaryKey) {
	w.Helper()
	if _, err := w.DeleteRow(&sdk.DeleteRowRequest{DeleteRowChange: deleteOf(table, k)}); err != nil {
		w.Fatal(err)
	}
}

func TestACellWithoutAVersionGetsTheTimeOfTheServer(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s", versions(2))
	w.server.SetClockOffset(-10 * time.Minute)
	before := time.Now().Add(-10 * time.Minute).UnixMilli()
	w.put("t", key("p", "a"), "c", 1)
	after := time.Now().Add(-10 * time.Minute).UnixMilli()
	r, err := w.tryGet("t", key("p", "a"))
	if err != nil {
		t.Fatal(err)
	}
	if at := r.Columns[0].Timestamp; at < before || at > after {
		t.Errorf("version %d is not in [%d, %d]", at, before, after)
	}
}

func TestOnlyDeletionsMakeNoRow(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s")
	u := updateOf("t", key("p", "a"))
	u.DeleteColumn("c")
	w.update(u)
	same(t, w.get("t", key("p", "a")), "")
	w.remove("t", key("p", "a")) // nothing is there, and it is no error
	w.put("t", key("p", "b"))    // a row without columns is one
	same(t, w.get("t", key("p", "b")), "p=b |")
}

func TestVersionsOutsideOfTheWindowAreRefused(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s", func(r *sdk.CreateTableRequest) {
		r.TableOption.DeviationCellVersionInSec, r.TableOption.TimeToAlive = 200000, 100000
	})
	put := func(off time.Duration) error {
		p := putOf("t", key("p", "a"))
		p.AddColumnWithTimestamp("c", int64(1), time.Now().Add(off).UnixMilli())
		_, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: p})
		return err
	}
	// Around it; TestTheWindowOfVersions has its very ends.
	for off, ok := range map[time.Duration]bool{
		-100002 * time.Second: false, -99900 * time.Second: true, 199998 * time.Second: true, 200100 * time.Second: false,
	} {
		if err := put(off); ok != (err == nil) {
			t.Errorf("%v: %v", off, err)
		} else if !ok {
			refused(t, err, "OTSParameterInvalid", 400, "Invalid timestamp. Cell:c.")
		}
	}
	// A version may be deleted outside of it.
	u := updateOf("t", key("p", "a"))
	u.DeleteColumnWithTimestamp("c", 1)
	w.update(u)
	// The window follows the table and the clock.
	if _, err := w.UpdateTable(&sdk.UpdateTableRequest{TableName: "t", TableOption: &sdk.TableOption{TimeToAlive: -1, MaxVersion: 1}}); err != nil {
		t.Fatal(err)
	}
	if err := put(-150000 * time.Second); err != nil {
		t.Error(err)
	}
	w.server.SetClockOffset(10 * time.Minute)
	if err := put(-199900 * time.Second); err == nil {
		t.Error("the window stands still")
	}
}

func TestCellsAndRowsEndWithTheirTime(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s", func(r *sdk.CreateTableRequest) { r.TableOption.TimeToAlive = 86400 })
	now := time.Now()
	for _, k := range []string{"a", "b", "c"} {
		p := putOf("t", key("p", k))
		p.AddColumnWithTimestamp("old", int64(1), now.Add(-86000*time.Second).UnixMilli())
		if k == "a" {
			p.AddColumnWithTimestamp("new", int64(2), now.UnixMilli())
		}
		if _, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: p}); err != nil {
			t.Fatal(err)
		}
	}
	read := func() string {
		all, _ := w.rangeOf("t", sdk.FORWARD, key("p", minKey), key("p", maxKey), 0)
		return names(all)
	}
	same(t, read(), "p=a | new old; p=b | old; p=c | old")
	// 840 s later; more than 15 minutes, and the client would be refused.
	w.server.SetClockOffset(14 * time.Minute)
	same(t, read(), "p=a | new")
	same(t, names([]string{w.get("t", key("p", "a"))}), "p=a | new")
	same(t, w.get("t", key("p", "b")), "")
	// For a condition there is no such row, and a deletion of its columns makes
	// none.
	p := putOf("t", key("p", "b"), "new", 3)
	p.SetCondition(sdk.RowExistenceExpectation_EXPECT_EXIST)
	_, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: p})
	refused(t, err, "OTSConditionCheckFail", 403, "Condition check failed.")
	p.SetCondition(sdk.RowExistenceExpectation_EXPECT_NOT_EXIST)
	if _, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: p}); err != nil {
		t.Fatal(err)
	}
	u := updateOf("t", key("p", "c"))
	u.DeleteColumn("none")
	w.update(u)
	same(t, read(), "p=a | new; p=b | new")
}

// names leaves the values out of what text wrote.
func names(rows []string) string {
	for i, r := range rows {
		k, cols, _ := strings.Cut(r, " | ")
		var n []string
		for _, c := range strings.Fields(cols) {
			name, _, _ := strings.Cut(c, "=")
			n = append(n, name)
		}
		rows[i] = k + " | " + strings.Join(n, " ")
	}
	return strings.Join(rows, "; ")
}

func TestConditions(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s")
	there, absent := key("p", "a"), key("p", "none")
	exist, not, ignore := sdk.RowExistenceExpectation_EXPECT_EXIST, sdk.RowExistenceExpectation_EXPECT_NOT_EXIST, sdk.RowExistenceExpectation_IGNORE
	is := func(c string, v any) *sdk.SingleColumnCondition {
		return sdk.NewSingleColumnCondition(c, sdk.CT_EQUAL, value(v))
	}
	missing := func(c string, v any) *sdk.SingleColumnCondition { // fails if the column is missing
		s := is(c, v)
		s.FilterIfMissing = true
		return s
	}
	for i, c := range []struct {
		k     *sdk.PrimaryKey
		exist sdk.RowExistenceExpectation
		cond  sdk.ColumnFilter
		ok    bool
	}{
		{there, exist, nil, true},
		{there, not, nil, false},
		{there, ignore, nil, true},
		{absent, exist, nil, false},
		{absent, not, nil, true},
		{absent, ignore, nil, true},
		{there, exist, is("n", 1), true},
		{there, exist, is("n", 2), false},
		{there, ignore, is("n", 2), false},
		{there, exist, is("none", 1), true},
		{there, exist, missing("none", 1), false},
		{absent, ignore, is("n", 2), true},
		{absent, ignore, missing("n", 2), false},
		{absent, exist, is("n", 2), false},
		{there, not, is("n", 1), false},
		{there, ignore, is("n", "1"), false}, // another type
		{there, ignore, is("p", "a"), true},
		{there, ignore, is("p", "b"), false},
	} {
		for _, op := range []string{"put", "update", "delete", "batch"} {
			w.put("t", there, "n", 1, "old", 1)
			w.remove("t", absent)
			before := w.get("t", c.k)
			var err error
			switch op {
			case "put":
				p := putOf("t", c.k, "n", 7)
				p.SetCondition(c.exist)
				p.SetColumnCondition(c.cond)
				_, err = w.PutRow(&sdk.PutRowRequest{PutRowChange: p})
			case "update":
				u := updateOf("t", c.k)
				u.PutColumn("n", int64(7))
				u.SetCondition(c.exist)
				u.SetColumnCondition(c.cond)
				_, err = w.UpdateRow(&sdk.UpdateRowRequest{UpdateRowChange: u})
			case "delete":
				d := deleteOf("t", c.k)
				d.SetCondition(c.exist)
				d.SetColumnCondition(c.cond)
				_, err = w.DeleteRow(&sdk.DeleteRowRequest{DeleteRowChange: d})
			case "batch":
				p := putOf("t", c.k, "n", 7)
				p.SetCondition(c.exist)
				p.SetColumnCondition(c.cond)
				b := &sdk.BatchWriteRowRequest{}
				b.AddRowChange(p)
				var r *sdk.BatchWriteRowResponse
				if r, err = w.BatchWriteRow(b); err != nil {
					t.Fatal(err)
				}
				if row := r.TableToRowsResult["t"][0]; !row.IsSucceed {
					err = &sdk.OtsError{Code: row.Error.Code, Message: row.Error.Message, HttpStatusCode: 403}
				}
			}
			if c.ok != (err == nil) {
				t.Errorf("%d, %s: %v", i, op, err)
			}
			if !c.ok {
				refused(t, err, "OTSConditionCheckFail", 403, "Condition check failed.")
				same(t, w.get("t", c.k), before)
				continue
			}
			after := text(c.k.PrimaryKeys, []*sdk.AttributeColumn{{ColumnName: "n", Value: int64(7)}})
			if op == "update" && before != "" {
				after += " old=1" // a put takes away what was there
			}
			if op == "delete" {
				after = ""
			}
			same(t, w.get("t", c.k), after)
		}
	}
	// Ten tests of columns are allowed, with what joins them.
	ten := sdk.NewCompositeColumnCondition(sdk.LO_OR)
	for range 10 {
		ten.AddFilter(is("n", 1))
	}
	w.put("t", there, "n", 1)
	p := putOf("t", there, "n", 1)
	p.SetColumnCondition(ten)
	if _, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: p}); err != nil {
		t.Error(err)
	}
	ten.AddFilter(is("n", 1))
	_, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: p})
	refused(t, err, "OTSParameterInvalid", 400, "The count of filter exceeds the max: 10.")
	p.SetColumnCondition(&sdk.PaginationFilter{Limit: 1})
	_, err = w.PutRow(&sdk.PutRowRequest{PutRowChange: p})
	refused(t, err, "OTSParameterInvalid", 400, "Invalid type of filter: FT_COLUMN_PAGINATION.")
}

func TestFilters(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s", free(3))
	k := key("p", "a")
	p := putOf("t", k)
	p.AddColumnWithTimestamp("n", int64(5), 20)
	p.AddColumnWithTimestamp("n", int64(9), 10)
	p.AddColumnWithTimestamp("d", 2.5, 10)
	p.AddColumnWithTimestamp("b", true, 10)
	p.AddColumnWithTimestamp("x", []byte{7}, 10)
	p.AddColumnWithTimestamp("s", "cat <42> dog", 10)
	if _, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: p}); err != nil {
		t.Fatal(err)
	}
	test := func(c string, op sdk.ComparatorType, v any) *sdk.SingleColumnCondition {
		return sdk.NewSingleColumnCondition(c, op, value(v))
	}
	both := func(lo sdk.LogicalOperator, f ...sdk.ColumnFilter) sdk.ColumnFilter {
		c := sdk.NewCompositeColumnCondition(lo)
		for _, x := range f {
			c.AddFilter(x)
		}
		return c
	}
	yes, no := test("n", sdk.CT_EQUAL, 5), test("n", sdk.CT_EQUAL, 6)
	latest := test("n", sdk.CT_EQUAL, 9)
	latest.LatestVersionOnly = true
	regex := func(expr string, cast sdk.VariantType, op sdk.ComparatorType, v any) sdk.ColumnFilter {
		return sdk.NewSingleColumnValueRegexFilter("s", op, sdk.NewValueTransferRule(expr, cast), value(v))
	}
	for i, c := range []struct {
		f  sdk.ColumnFilter
		ok bool
	}{
		{test("n", sdk.CT_EQUAL, 5), true},
		{test("n", sdk.CT_NOT_EQUAL, 5), true /* the older one */},
		{test("n", sdk.CT_LESS_THAN, 5), false},
		{test("n", sdk.CT_LESS_EQUAL, 5), true},
		{test("n", sdk.CT_GREATER_THAN, 9), false},
		{test("n", sdk.CT_GREATER_EQUAL, 9), true},
		{latest, false},
		{test("n", sdk.CT_EQUAL, 9), true},
		{test("d", sdk.CT_GREATER_THAN, 2.0), true},
		{test("d", sdk.CT_EQUAL, 2), false},
		{test("d", sdk.CT_NOT_EQUAL, 2), true},
		{test("b", sdk.CT_EQUAL, true), true},
		{test("b", sdk.CT_EQUAL, false), false},
		{test("x", sdk.CT_EQUAL, []byte{7}), true},
		{test("x", sdk.CT_LESS_THAN, []byte{7, 0}), true},
		{test("x", sdk.CT_EQUAL, "\a"), false},
		{test("s", sdk.CT_LESS_THAN, "cau"), true},
		{test("p", sdk.CT_EQUAL, "a"), true},
		{test("p", sdk.CT_GREATER_THAN, "a"), false},
		{test("none", sdk.CT_EQUAL, 1), true},
		{both(sdk.LO_NOT, no), true},
		{both(sdk.LO_NOT, yes), false},
		{both(sdk.LO_AND, yes, yes), true},
		{both(sdk.LO_AND, yes, no), false},
		{both(sdk.LO_OR, no, yes), true},
		{both(sdk.LO_OR, no, no), false},
		{both(sdk.LO_OR, no, both(sdk.LO_AND, yes, both(sdk.LO_NOT, no))), true},
		{regex("<([0-9]+)>", sdk.Variant_INTEGER, sdk.CT_EQUAL, 42), true},
		{regex("<([0-9]+)>", sdk.Variant_INTEGER, sdk.CT_LESS_THAN, 42), false},
		{regex("<([0-9]+)>", sdk.Variant_DOUBLE, sdk.CT_GREATER_THAN, 41.5), true},
		{regex("<([0-9]+)>", sdk.Variant_STRING, sdk.CT_EQUAL, "42"), true},
		{regex("d.g", sdk.Variant_STRING, sdk.CT_EQUAL, "dog"), true}, // no group: all of it
		{regex("cow", sdk.Variant_STRING, sdk.CT_EQUAL, "cow"), false},
		{regex("c(a)t", sdk.Variant_INTEGER, sdk.CT_EQUAL, 1), false},
	} {
		if got := w.get("t", k, allVersions(3), filtered(c.f)) != ""; got != c.ok {
			t.Errorf("%d: passes %v", i, got)
		}
	}
	// A filter looks at what is read.
	strict := test("n", sdk.CT_EQUAL, 5)
	strict.FilterIfMissing = true
	same(t, w.get("t", k, columns("d"), filtered(strict)), "")
	same(t, w.get("t", k, columns("d"), filtered(test("n", sdk.CT_EQUAL, 77))), "p=a | d=2.5@10")
	// A page is of columns, with all versions that are read.
	page := func(offset, limit int32) readOption {
		return filtered(&sdk.PaginationFilter{Offset: offset, Limit: limit})
	}
	same(t, w.get("t", k, allVersions(3), page(1, 2)), "p=a | d=2.5@10 n=5@20 n=9@10")
	same(t, w.get("t", k, allVersions(3), page(2, 1)), "p=a | n=5@20 n=9@10")
	same(t, w.get("t", k, page(9, 1)), "p=a |")
	same(t, w.get("t", k, startColumn("n"), page(1, 1)), "p=a | s=cat <42> dog@10")
}

func TestIncrementsAndWhatIsReturned(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s", versions(2))
	k := key("p", "a")
	add := func(by int64, back ...string) (string, error) {
		u := updateOf("t", k)
		u.IncrementColumn("n", by)
		u.PutColumn("z", "last")
		u.SetReturnIncrementValue()
		for _, n := range back {
			u.AppendIncrementColumnToReturn(n)
		}
		r, err := w.UpdateRow(&sdk.UpdateRowRequest{UpdateRowChange: u})
		if err != nil {
			return "", err
		}
		return text(nil, r.Columns), nil
	}
	for _, c := range []struct {
		by   int64
		want string
	}{{3, "| n=3"}, {-10, "| n=-7"}, {0, "| n=-7"}} {
		got, err := add(c.by, "n")
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, c.want)
	}
	if got, err := add(1, "n", "z", "none"); err != nil || got != "| n=-6 z=last" {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := add(1); err != nil || got != "| n=-5 z=last" { // no names: what was changed
		t.Errorf("%s, %v", got, err)
	}
	w.put("t", k, "n", "text")
	_, err := add(1, "n")
	refused(t, err, "OTSParameterInvalid", 400, "VT_STRING is an invalid type for the increment of column 'n', expect: VT_INTEGER.")
	// A sum is seen although the number has a version of a later time.
	u := updateOf("t", k)
	u.DeleteColumn("n")
	u.PutColumnWithTimestamp("n", int64(1), time.Now().Add(time.Hour).UnixMilli())
	w.update(u)
	if got, err := add(5, "n"); err != nil || got != "| n=6" {
		t.Errorf("%s, %v", got, err)
	}
	// The key is returned where it was asked for.
	p := putOf("t", key("p", "b"), "c", 1)
	p.SetReturnPk()
	r, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: p})
	if err != nil {
		t.Fatal(err)
	}
	same(t, text(r.PrimaryKey.PrimaryKeys, nil), "p=b |")
	// In a batch too, and only of the rows that asked.
	b := &sdk.BatchWriteRowRequest{}
	b.AddRowChange(putOf("t", key("p", "c"), "c", 1))
	b.AddRowChange(p)
	u = updateOf("t", key("p", "c"))
	u.IncrementColumn("n", 4)
	u.SetReturnIncrementValue()
	u.AppendIncrementColumnToReturn("n")
	b.AddRowChange(u)
	out, err := w.BatchWriteRow(b)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range out.TableToRowsResult["t"] {
		got = append(got, fmt.Sprint(row.IsSucceed, " ", text(row.PrimaryKey.PrimaryKeys, row.Columns)))
	}
	same(t, strings.Join(got, "; "), "true ; true p=b |; true | n=4")
}

func TestKeysThatTheServerChooses(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s q:a")
	put := func(k *sdk.PrimaryKey, exist sdk.RowExistenceExpectation, cond sdk.ColumnFilter) (int64, error) {
		p := putOf("t", k, "c", 1)
		p.SetCondition(exist)
		p.SetColumnCondition(cond)
		p.SetReturnPk()
		r, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: p})
		if err != nil {
			return 0, err
		}
		return r.PrimaryKey.PrimaryKeys[1].Value.(int64), nil
	}
	exist, not, ignore := sdk.RowExistenceExpectation_EXPECT_EXIST, sdk.RowExistenceExpectation_EXPECT_NOT_EXIST, sdk.RowExistenceExpectation_IGNORE
	last := int64(0)
	for range 5 {
		id, err := put(key("p", "a", "q", auto), ignore, nil)
		if err != nil || id <= last {
			t.Fatalf("%d after %d, %v", id, last, err)
		}
		last = id
	}
	// It goes on when the clock goes back.
	w.server.SetClockOffset(-10 * time.Minute)
	id, err := put(key("p", "a", "q", auto), ignore, nil)
	if err != nil || id <= last {
		t.Fatalf("%d after %d, %v", id, last, err)
	}
	w.server.SetClockOffset(0)
	// In a batch they differ.
	b := &sdk.BatchWriteRowRequest{}
	for range 3 {
		p := putOf("t", key("p", "a", "q", auto), "c", 1)
		p.SetReturnPk()
		b.AddRowChange(p)
	}
	r, err := w.BatchWriteRow(b)
	if err != nil {
		t.Fatal(err)
	}
	last = id
	for _, row := range r.TableToRowsResult["t"] {
		next := row.PrimaryKey.PrimaryKeys[1].Value.(int64)
		if next <= last {
			t.Errorf("%d after %d", next, last)
		}
		last = next
	}
	// A placeholder makes a new row and takes no condition.
	_, err = put(key("p", "a", "q", auto), exist, nil)
	refused(t, err, "OTSParameterInvalid", 400, "Invalid expect:EXPECT_EXIST when modify row with pk auto increment.")
	_, err = put(key("p", "a", "q", auto), not, nil)
	refused(t, err, "OTSParameterInvalid", 400, "Invalid expect:EXPECT_NOT_EXIST when modify row with pk auto increment.")
	_, err = put(key("p", "a", "q", auto), ignore, sdk.NewSingleColumnCondition("c", sdk.CT_EQUAL, int64(1)))
	refused(t, err, "OTSParameterInvalid", 400, "Can't set condition when modify row with pk auto increment.")
	_, err = w.DeleteRow(&sdk.DeleteRowRequest{DeleteRowChange: deleteOf("t", key("p", "a", "q", auto))})
	refused(t, err, "OTSParameterInvalid", 400, "Invalid row to delete which with pk auto increment.")
	// A value names a row that is there.
	if _, err = put(key("p", "a", "q", int(id)), exist, nil); err != nil {
		t.Error(err)
	}
	_, err = put(key("p", "a", "q", 1), exist, nil)
	refused(t, err, "OTSConditionCheckFail", 403, "Condition check failed.")
	for _, e := range []sdk.RowExistenceExpectation{ignore, not} {
		_, err = put(key("p", "a", "q", int(id)), e, nil)
		name := map[sdk.RowExistenceExpectation]string{ignore: "IGNORE", not: "EXPECT_NOT_EXIST"}[e]
		refused(t, err, "OTSParameterInvalid", 400, "Invalid expect: "+name+" when modify a specific row for table with pk auto increment.")
	}
	w.remove("t", key("p", "a", "q", int(id)))
	u := updateOf("t", key("p", "b", "q", auto))
	u.PutColumn("c", int64(1))
	w.update(u)
	rows, _ := w.rangeOf("t", sdk.FORWARD, key("p", "b", "q", minKey), key("p", "b", "q", maxKey), 0)
	if len(rows) != 1 {
		t.Errorf("rows %s", rows)
	}
}

func TestATableMayForbidUpdates(t *testing.T) {
	w := newWorld(t)
	no := false
	w.create("t", "p:s", func(r *sdk.CreateTableRequest) { r.TableOption.AllowUpdate = &no })
	w.put("t", key("p", "a"), "c", 1)
	u := updateOf("t", key("p", "a"))
	u.PutColumn("c", int64(2))
	_, err := w.UpdateRow(&sdk.UpdateRowRequest{UpdateRowChange: u})
	refused(t, err, "OTSParameterInvalid", 400, "UpdateRow is not allowed on table t: its allow_update is false.")
	w.remove("t", key("p", "a"))
	yes := true
	if _, err := w.UpdateTable(&sdk.UpdateTableRequest{TableName: "t", TableOption: &sdk.TableOption{TimeToAlive: -1, MaxVersion: 1, AllowUpdate: &yes}}); err != nil {
		t.Fatal(err)
	}
	w.update(u)
	same(t, w.get("t", key("p", "a")), "p=a | c=2")
}

func TestATableWhoseRowsAreUpdatedWhole(t *testing.T) {
	w := newWorld(t)
	yes := true
	w.create("t", "p:s", func(r *sdk.CreateTableRequest) { r.TableOption.UpdateFullRow = &yes })
	k := key("p", "a")
	p := putOf("t", k)
	p.AddColumnWithTimestamp("c", int64(1), time.Now().UnixMilli())
	_, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: p})
	refused(t, err, "OTSParameterInvalid", 400, "Timestamp cannot be given for column name:c in a table with updateFullRow.")
	p = putOf("t", k)
	for i := range 256 {
		p.AddColumn(fmt.Sprintf("c%03d", i), int64(i))
	}
	if _, err = w.PutRow(&sdk.PutRowRequest{PutRowChange: p}); err != nil {
		t.Fatal(err)
	}
	u := updateOf("t", k)
	u.PutColumn("d", int64(1))
	_, err = w.UpdateRow(&sdk.UpdateRowRequest{UpdateRowChange: u})
	refused(t, err, "OTSOutOfColumnCountLimit", 400, "The number of columns in one row exceeded the limit.")
	u.DeleteColumn("c000")
	w.update(u)
}

func TestUpdateTableMergesOptions(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s")
	describe := func() string {
		d, err := w.DescribeTable(&sdk.DescribeTableRequest{TableName: "t"})
		if err != nil {
			t.Fatal(err)
		}
		o := d.TableOption
		return fmt.Sprint(o.TimeToAlive, o.MaxVersion, o.DeviationCellVersionInSec, *o.AllowUpdate, *o.UpdateFullRow, d.ReservedThroughput.Readcap, d.ReservedThroughput.Writecap, d.StreamDetails.EnableStream)
	}
	type options = otsprotocol.TableOptions
	update := func(o *options, more ...func(*otsprotocol.UpdateTableRequest)) string {
		r := &otsprotocol.UpdateTableRequest{TableName: proto.String("t"), TableOptions: o}
		for _, f := range more {
			f(r)
		}
		return w.raw("UpdateTable", r, nil)
	}
	same(t, describe(), "-1 1 86400 true false 0 0 false")
	same(t, update(&options{AllowUpdate: proto.Bool(false)}), "200")
	same(t, update(&options{MaxVersions: proto.Int32(4)}), "200")
	same(t, update(&options{TimeToLive: proto.Int32(86400)}), "200")
	same(t, update(&options{DeviationCellVersionInSec: proto.Int64(1)}), "200")
	same(t, update(nil, func(r *otsprotocol.UpdateTableRequest) {
		r.ReservedThroughput = &otsprotocol.ReservedThroughput{CapacityUnit: &otsprotocol.CapacityUnit{Write: proto.Int32(3)}}
	}), "200")
	want := "86400 4 1 false false 0 3 false"
	same(t, describe(), want)
	same(t, update(nil), parameter+"No parameter is specified in table options.")
	same(t, update(&options{}), parameter+"No parameter is specified in table options.")
	for _, full := range []bool{true, false} {
		same(t, update(&options{UpdateFullRow: &full}), parameter+"UpdateTable must not contain updateFullRow.")
	}
	same(t, update(&options{MaxVersions: proto.Int32(-1)}), parameter+"The maximum versions cannot be less than or equal to 0.")
	// What is refused in one part changes nothing in another.
	same(t, update(&options{MaxVersions: proto.Int32(9)}, func(r *otsprotocol.UpdateTableRequest) {
		r.StreamSpec = &otsprotocol.StreamSpecification{EnableStream: proto.Bool(true), ExpirationTime: proto.Int32(0)}
	}), parameter+"The expiration time of stream must be in range: [1, 168].")
	same(t, update(&options{MaxVersions: proto.Int32(9)}, func(r *otsprotocol.UpdateTableRequest) {
		r.ReservedThroughput = &otsprotocol.ReservedThroughput{CapacityUnit: &otsprotocol.CapacityUnit{Write: proto.Int32(-3)}}
	}), parameter+"Invalid Capacity Unit:-3. Capacity Unit must be nonnegative.")
	same(t, describe(), want)
	same(t, w.raw("UpdateTable", &otsprotocol.UpdateTableRequest{TableName: proto.String("none"), TableOptions: &options{MaxVersions: proto.Int32(1)}}, nil), "404 OTSObjectNotExist: Requested table does not exist.")
}

func TestDefinedColumnsAreAddedAndTakenAway(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s")
	defined := func() string {
		d, err := w.DescribeTable(&sdk.DescribeTableRequest{TableName: "t"})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, c := range d.TableMeta.DefinedColumns {
			out = append(out, fmt.Sprint(c.Name, c.ColumnType))
		}
		return strings.Join(out, " ")
	}
	add := &sdk.AddDefinedColumnRequest{TableName: "t"}
	add.AddDefinedColumn("a", sdk.DefinedColumn_INTEGER)
	add.AddDefinedColumn("b", sdk.DefinedColumn_BINARY)
	if _, err := w.AddDefinedColumn(add); err != nil {
		t.Fatal(err)
	}
	same(t, defined(), "a1 b5")
	_, err := w.AddDefinedColumn(add)
	refused(t, err, "OTSParameterInvalid", 400, "Duplicated column name: 'a'.")
	_, err = w.DeleteDefinedColumn(&sdk.DeleteDefinedColumnRequest{TableName: "t", DefinedColumns: []string{"b", "c"}})
	refused(t, err, "OTSParameterInvalid", 400, "Column does not exist:c.")
	same(t, defined(), "a1 b5")
	if _, err := w.DeleteDefinedColumn(&sdk.DeleteDefinedColumnRequest{TableName: "t", DefinedColumns: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	same(t, defined(), "b5")
	m := &sdk.IndexMeta{IndexName: "i"}
	m.AddPrimaryKeyColumn("b")
	_, err = w.CreateIndex(&sdk.CreateIndexRequest{MainTableName: "t", IndexMeta: m})
	refused(t, err, "OTSUnsupportOperation", 400, "This server does not support secondary indexes.")
	_, err = w.DeleteIndex(&sdk.DeleteIndexRequest{MainTableName: "t", IndexName: "i"})
	refused(t, err, "OTSUnsupportOperation", 400, "This server does not support secondary indexes.")
}

func TestADeletedTableIsGoneWithItsRows(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s")
	w.put("t", key("p", "a"), "c", 1)
	drop := func() error {
		_, err := w.DeleteTable(&sdk.DeleteTableRequest{TableName: "t"})
		return err
	}
	if err := drop(); err != nil {
		t.Fatal(err)
	}
	refused(t, drop(), "OTSObjectNotExist", 404, "Requested table does not exist.")
	_, err := w.tryGet("t", key("p", "a"))
	refused(t, err, "OTSObjectNotExist", 404, "Requested table does not exist.")
	_, err = w.PutRow(&sdk.PutRowRequest{PutRowChange: putOf("t", key("p", "a"), "c", 1)})
	refused(t, err, "OTSObjectNotExist", 404, "Requested table does not exist.")
	w.create("t", "p:s")
	same(t, w.get("t", key("p", "a")), "")
}

func TestRowsOfABatchAreChangedInOrder(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s")
	w.create("u", "p:s")
	run := func(atomic bool, changes ...sdk.RowChange) string {
		b := &sdk.BatchWriteRowRequest{IsAtomic: atomic}
		for _, c := range changes {
			b.AddRowChange(c)
		}
		r, err := w.BatchWriteRow(b)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, name := range []string{"none", "t", "u"} {
			for _, row := range r.TableToRowsResult[name] {
				if row.IsSucceed {
					out = append(out, "ok")
				} else {
					out = append(out, row.Error.Code+": "+row.Error.Message)
				}
			}
		}
		return strings.Join(out, "; ")
	}
	a, b := key("p", "a"), key("p", "b")
	// The last put of a row stays; updates add up; what is deleted and put again is there.
	same(t, run(false, putOf("t", a, "c", 1), putOf("t", a, "c", 2), putOf("u", a, "c", 3)), "ok; ok; ok")
	same(t, w.get("t", a), "p=a | c=2")
	up := func(name string, v int) *sdk.UpdateRowChange {
		u := updateOf("t", a)
		u.PutColumn(name, int64(v))
		return u
	}
	inc := updateOf("t", a)
	inc.IncrementColumn("n", 5)
	same(t, run(false, up("d", 1), up("e", 2), inc, inc, up("d", 3)), "ok; ok; ok; ok; ok")
	same(t, w.get("t", a), "p=a | c=2 d=3 e=2 n=10")
	same(t, run(false, deleteOf("t", a), up("f", 1)), "ok; ok")
	same(t, w.get("t", a), "p=a | f=1")
	// One row's failure is its own.
	not := putOf("t", a, "c", 9)
	not.SetCondition(sdk.RowExistenceExpectation_EXPECT_NOT_EXIST)
	failed := "OTSConditionCheckFail: Condition check failed."
	same(t, run(false, not, putOf("t", b, "c", 1), putOf("none", a, "c", 1)), "OTSObjectNotExist: Requested table does not exist.; "+failed+"; ok")
	same(t, w.get("t", b), "p=b | c=1")
	// A row that comes again takes no condition.
	same(t, run(false, not, putOf("t", a, "c", 1), putOf("t", b, "c", 2)), "OTSParameterInvalid: Repeated rows do not support row exist expectation check in BatchModify.; ok; ok")
	cond := putOf("t", a, "c", 9)
	cond.SetColumnCondition(sdk.NewSingleColumnCondition("c", sdk.CT_EQUAL, int64(1)))
	same(t, run(false, cond, putOf("t", a, "c", 3)), "OTSParameterInvalid: Repeated rows do not support row condition check in BatchModify.; ok")

	// An atomic batch is of one partition key a table, and all or nothing.
	w.create("q", "p:s q:i")
	atomic := func(changes ...sdk.RowChange) string {
		bw := &sdk.BatchWriteRowRequest{IsAtomic: true}
		for _, c := range changes {
			bw.AddRowChange(c)
		}
		r, err := w.BatchWriteRow(bw)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, row := range r.TableToRowsResult["q"] {
			out = append(out, fmt.Sprint(row.IsSucceed, row.Error.Code))
		}
		return strings.Join(out, " ")
	}
	ranged := func() int {
		rows, _ := w.rangeOf("q", sdk.FORWARD, key("p", minKey, "q", minKey), key("p", maxKey, "q", maxKey), 0)
		return len(rows)
	}
	same(t, atomic(putOf("q", key("p", "a", "q", 1), "c", 1), putOf("q", key("p", "b", "q", 2), "c", 1)), "falseOTSParameterInvalid falseOTSParameterInvalid")
	bad := putOf("q", key("p", "a", "q", 3), "c", 1)
	bad.SetCondition(sdk.RowExistenceExpectation_EXPECT_EXIST)
	same(t, atomic(putOf("q", key("p", "a", "q", 1), "c", 1), bad, putOf("q", key("p", "a", "q", 2), "c", 1)), "falseOTSConditionCheckFail falseOTSConditionCheckFail falseOTSConditionCheckFail")
	same(t, atomic(putOf("q", key("p", "a", "q", 1), "c", 1), putOf("q", key("p", "a"), "c", 1)), "falseOTSInvalidPK falseOTSInvalidPK")
	if n := ranged(); n != 0 {
		t.Errorf("%d rows of batches that failed", n)
	}
	same(t, atomic(putOf("q", key("p", "a", "q", 1), "c", 1), putOf("q", key("p", "a", "q", 2), "c", 1)), "true true")
	if n := ranged(); n != 2 {
		t.Errorf("%d rows", n)
	}
}

func TestARangeEndsAtItsLimits(t *testing.T) {
	w := newWorld(t)
	w.create("small", "p:i")
	w.create("large", "p:i")
	for from := 0; from < 5200; from += 200 {
		b := &sdk.BatchWriteRowRequest{}
		for i := from; i < from+200; i++ {
			b.AddRowChange(putOf("small", key("p", i), "c", i))
		}
		if _, err := w.BatchWriteRow(b); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 9 {
		w.put("large", key("p", i), "c", strings.Repeat("x", 1<<20))
	}
	page := func(table string, f sdk.ColumnFilter, limit int32) (rows int, next string) {
		r, err := w.GetRange(&sdk.GetRangeRequest{RangeRowQueryCriteria: &sdk.RangeRowQueryCriteria{
			TableName: table, StartPrimaryKey: key("p", minKey), EndPrimaryKey: key("p", maxKey), Direction: sdk.FORWARD, MaxVersion: 1, Filter: f, Limit: limit,
		}})
		if err != nil {
			t.Fatal(err)
		}
		if r.NextStartPrimaryKey == nil {
			return len(r.Rows), "end"
		}
		return len(r.Rows), text(r.NextStartPrimaryKey.PrimaryKeys, nil)
	}
	for _, c := range []struct {
		table string
		f     sdk.ColumnFilter
		limit int32
		rows  int
		next  string
	}{
		{"small", nil, 0, 5000, "p=5000 |"},
		{"small", nil, 6000, 5000, "p=5000 |"},
		{"small", nil, 7, 7, "p=7 |"},
		// The limit is of rows that are returned, the others of rows that are read.
		{"small", sdk.NewSingleColumnCondition("c", sdk.CT_GREATER_EQUAL, int64(100)), 7, 7, "p=107 |"},
		{"small", sdk.NewSingleColumnCondition("c", sdk.CT_EQUAL, int64(-1)), 7, 0, "p=5000 |"},
		{"large", nil, 0, 4, "p=4 |"},
		{"large", sdk.NewSingleColumnCondition("c", sdk.CT_EQUAL, int64(-1)), 0, 0, "p=4 |"},
		{"large", nil, 4, 4, "p=4 |"},
		{"large", nil, 9, 4, "p=4 |"},
	} {
		if rows, next := page(c.table, c.f, c.limit); rows != c.rows || next != c.next {
			t.Errorf("%s, limit %d: %d rows, then %s; want %d, %s", c.table, c.limit, rows, next, c.rows, c.next)
		}
	}
	// Exactly as many as the limit: nothing is left.
	if n, pages := w.rangeOf("small", sdk.FORWARD, key("p", 0), key("p", 10), 10); len(n) != 10 || pages != 1 {
		t.Errorf("%d rows in %d pages", len(n), pages)
	}
	if n, pages := w.rangeOf("large", sdk.BACKWARD, key("p", maxKey), key("p", minKey), 0); len(n) != 9 || pages != 3 {
		t.Errorf("%d rows in %d pages", len(n), pages)
	}
}

func TestARangeTellsRowsAsAMatrixIfAsked(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s q:b", versions(2))
	w.put("t", key("p", "a", "q", []byte{1}), "n", 1, "s", "x")
	w.put("t", key("p", "b", "q", []byte{}), "b", true, "d", 0.5, "x", []byte{9})
	w.put("t", key("p", "c", "q", []byte{2}))
	read := func(options ...func(*sdk.RangeRowQueryCriteria)) string {
		c := &sdk.RangeRowQueryCriteria{
			TableName: "t", StartPrimaryKey: key("p", minKey, "q", minKey), EndPrimaryKey: key("p", maxKey, "q", maxKey), Direction: sdk.FORWARD,
			MaxVersion: 1, DataBlockType: sdk.SimpleRowMatrix,
		}
		for _, o := range options {
			o(c)
		}
		r, err := w.GetRange(&sdk.GetRangeRequest{RangeRowQueryCriteria: c})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Rows) > 0 && r.DataBlockType != c.DataBlockType {
			t.Errorf("block type %v, want %v", r.DataBlockType, c.DataBlockType)
		}
		var out []string
		for _, row := range r.Rows {
			out = append(out, text(row.PrimaryKey.PrimaryKeys, row.Columns))
		}
		return strings.Join(out, "; ")
	}
	same(t, read(), "p=a q=[1] | n=1 s=x; p=b q=[] | b=true d=0.5 x=[9]; p=c q=[2] |")
	same(t, read(func(c *sdk.RangeRowQueryCriteria) { c.ColumnsToGet, c.ReturnSpecifiedPkOnly = []string{"q", "n"}, true }), "q=[1] | n=1; q=[] |; q=[2] |")
	// It has no versions: the newest is told.
	u := updateOf("t", key("p", "a", "q", []byte{1}))
	u.PutColumnWithTimestamp("n", int64(0), time.Now().Add(-time.Hour).UnixMilli())
	w.update(u)
	same(t, read(func(c *sdk.RangeRowQueryCriteria) { c.ColumnsToGet, c.MaxVersion = []string{"n"}, 2 }), "p=a q=[1] | n=1")
	same(t, read(func(c *sdk.RangeRowQueryCriteria) { c.ColumnsToGet = []string{"none"} }), "")
	same(t, read(func(c *sdk.RangeRowQueryCriteria) {
		c.ColumnsToGet, c.ReturnSpecifiedPkOnly, c.DataBlockType = []string{"q", "n"}, true, sdk.PlainBuffer
	}), "q=[1] | n=1; q=[] |; q=[2] |")
}

func TestCapacityUnitsAreOf4KB(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:s")
	k := key("p", "aaa") // 4 bytes with its name
	body := func(n int) string { return strings.Repeat("x", n-4-1-8) }
	for _, c := range []struct {
		n          int
		conditions bool
		read, want int32
	}{{100, false, 0, 1}, {4096, false, 0, 1}, {4097, false, 0, 2}, {12289, true, 2, 4}} {
		p := putOf("t", k, "c", body(c.n))
		if c.conditions {
			p.SetCondition(sdk.RowExistenceExpectation_EXPECT_EXIST)
		}
		r, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: p})
		if err != nil {
			t.Fatal(err)
		}
		if u := r.ConsumedCapacityUnit; u.Read != c.read || u.Write != c.want {
			t.Errorf("%d bytes: %d read, %d written; want %d, %d", c.n, u.Read, u.Write, c.read, c.want)
		}
	}
	units := func(k *sdk.PrimaryKey, options ...readOption) int32 {
		r, err := w.tryGet("t", k, options...)
		if err != nil {
			t.Fatal(err)
		}
		if r.ConsumedCapacityUnit.Write != 0 {
			t.Error("a read writes")
		}
		return r.ConsumedCapacityUnit.Read
	}
	if n := units(k); n != 4 {
		t.Errorf("%d units", n)
	}
	if n := units(key("p", "none")); n != 1 {
		t.Errorf("%d units of a row that is not there", n)
	}
	d, err := w.DeleteRow(&sdk.DeleteRowRequest{DeleteRowChange: deleteOf("t", k)})
	if err != nil || d.ConsumedCapacityUnit.Write != 1 || d.ConsumedCapacityUnit.Read != 0 {
		t.Errorf("%+v, %v", d.ConsumedCapacityUnit, err)
	}
}

func TestRowsAreOnceMoreWhatTheyWereAfterARestart(t *testing.T) {
	dir := t.TempDir()
	open := func() *world {
		s, err := newServer(dir)
		if err != nil {
			t.Fatal(err)
		}
		return &world{t, s, once(s)}
	}
	w := open()
	w.create("t", "p:s q:a", free(2))
	p := putOf("t", key("p", "a", "q", auto))
	for _, c := range []plainbuffer.Cell{
		cellOf("i", -5), cellOf("d", -0.25), cellOf("s", "é"), cellOf("x", []byte{0, 255}),
	} {
		switch c.Value.Kind {
		case plainbuffer.Integer:
			p.AddColumnWithTimestamp(c.Name, c.Value.Int, 7)
		case plainbuffer.Double:
			p.AddColumnWithTimestamp(c.Name, c.Value.Double, 7)
		case plainbuffer.String:
			p.AddColumnWithTimestamp(c.Name, c.Value.Bytes, 7)
		default:
			p.AddColumnWithTimestamp(c.Name, []byte(c.Value.Bytes), 7)
		}
	}
	p.AddColumnWithTimestamp("b", true, 7)
	p.AddColumnWithTimestamp("b", false, 6)
	p.SetReturnPk()
	r, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: p})
	if err != nil {
		t.Fatal(err)
	}
	first := r.PrimaryKey.PrimaryKeys[1].Value.(int64)
	before, err := w.DescribeTable(&sdk.DescribeTableRequest{TableName: "t"})
	if err != nil {
		t.Fatal(err)
	}
	w.create("gone", "p:s")
	if _, err := w.DeleteTable(&sdk.DeleteTableRequest{TableName: "gone"}); err != nil {
		t.Fatal(err)
	}
	if err := w.server.Close(); err != nil {
		t.Fatal(err)
	}
	w = open()
	defer w.server.Close()
	k := key("p", "a", "q", int(first))
	same(t, w.get("t", k, allVersions(5)), fmt.Sprintf("p=a q=%d | b=true@7 b=false@6 d=-0.25@7 i=-5@7 s=é@7 x=[0 255]@7", first))
	after, err := w.DescribeTable(&sdk.DescribeTableRequest{TableName: "t"})
	if err != nil || fmt.Sprint(*before.TableOption.AllowUpdate, before.TableOption.MaxVersion, before.TableOption.DeviationCellVersionInSec) != fmt.Sprint(*after.TableOption.AllowUpdate, after.TableOption.MaxVersion, after.TableOption.DeviationCellVersionInSec) {
		t.Errorf("%+v, %v", after, err)
	}
	l, err := w.ListTable()
	if err != nil || !slices.Equal(l.TableNames, []string{"t"}) {
		t.Errorf("%v, %v", l, err)
	}
	// A table that is new has nothing of one that was before.
	w.create("new", "p:s q:i")
	rows, _ := w.rangeOf("new", sdk.FORWARD, key("p", minKey, "q", minKey), key("p", maxKey, "q", maxKey), 0)
	if len(rows) != 0 {
		t.Errorf("a new table has rows %s", rows)
	}
	// Chosen keys go on, even if the clock has gone back.
	w.server.SetClockOffset(-10 * time.Minute)
	p = putOf("t", key("p", "a", "q", auto), "c", 1)
	p.SetReturnPk()
	if r, err = w.PutRow(&sdk.PutRowRequest{PutRowChange: p}); err != nil {
		t.Fatal(err)
	}
	if next := r.PrimaryKey.PrimaryKeys[1].Value.(int64); next <= first {
		t.Errorf("%d after %d", next, first)
	}
}

func TestARangeEndsBeforeAPartitionThatCannotBeHad(t *testing.T) {
	w := newWorld(t)
	w.create("t", "p:i")
	for i := range 6 {
		w.put("t", key("p", i))
	}
	if err := w.server.SplitShard("lab", "t", int64(3)); err != nil {
		t.Fatal(err)
	}
	three := "3"
	if _, err := w.server.Fail(tablestore.Fault{Kind: tablestore.Partition, Instance: "lab", Table: "t", Of: &three}, -1); err != nil {
		t.Fatal(err)
	}
	read := func(d sdk.Direction, from, to *sdk.PrimaryKey) (string, error) {
		r, err := w.GetRange(&sdk.GetRangeRequest{RangeRowQueryCriteria: &sdk.RangeRowQueryCriteria{
			TableName: "t", StartPrimaryKey: from, EndPrimaryKey: to, Direction: d, MaxVersion: 1,
		}})
		if err != nil {
			return "", err
		}
		next := "end"
		if r.NextStartPrimaryKey != nil {
			next = text(r.NextStartPrimaryKey.PrimaryKeys, nil)
		}
		return fmt.Sprint(len(r.Rows), " then ", next), nil
	}
	unavailable := func(err error) {
		t.Helper()
		refused(t, err, "OTSPartitionUnavailable", 503, "The partition is not available.")
	}
	got, err := read(sdk.FORWARD, key("p", minKey), key("p", maxKey))
	if err != nil || got != "3 then p=3 |" {
		t.Errorf("%s, %v", got, err)
	}
	_, err = read(sdk.FORWARD, key("p", 3), key("p", maxKey))
	unavailable(err)
	_, err = read(sdk.BACKWARD, key("p", maxKey), key("p", minKey))
	unavailable(err)
	if got, err = read(sdk.FORWARD, key("p", minKey), key("p", 3)); err != nil || got != "3 then end" {
		t.Errorf("%s, %v", got, err)
	}
	// Rows of it, one by one.
	_, err = w.tryGet("t", key("p", 4))
	unavailable(err)
	_, err = w.PutRow(&sdk.PutRowRequest{PutRowChange: putOf("t", key("p", 4))})
	unavailable(err)
	b := &sdk.BatchWriteRowRequest{}
	b.AddRowChange(putOf("t", key("p", 4)))
	b.AddRowChange(putOf("t", key("p", 1)))
	r, err := w.BatchWriteRow(b)
	if err != nil {
		t.Fatal(err)
	}
	same(t, fmt.Sprint(r.TableToRowsResult["t"][0].Error.Code, r.TableToRowsResult["t"][1].IsSucceed), "OTSPartitionUnavailabletrue")
	w.server.Heal()
	if got, err = read(sdk.BACKWARD, key("p", maxKey), key("p", minKey)); err != nil || got != "6 then end" {
		t.Errorf("%s, %v", got, err)
	}
	// The table tells where it is cut.
	var d otsprotocol.DescribeTableResponse
	same(t, w.raw("DescribeTable", &otsprotocol.DescribeTableRequest{TableName: proto.String("t")}, &d), "200")
	rows, err := plainbuffer.Decode(slices.Concat(d.ShardSplits...))
	if err != nil || len(rows) != 1 || rows[0].Key[0].Value.Int != 3 {
		t.Errorf("%v, %v", rows, err)
	}
}

func TestATableTellsWhenItWasMade(t *testing.T) {
	w := newWorld(t)
	before := time.Now().UnixMicro()
	w.create("t", "p:i")
	after := time.Now().UnixMicro()
	var d otsprotocol.DescribeTableResponse
	same(t, w.raw("DescribeTable", &otsprotocol.DescribeTableRequest{TableName: proto.String("t")}, &d), "200")
	// The descriptor of the message does not know the field.
	tag, at := protowire.ConsumeVarint(d.XXX_unrecognized)
	made, n := protowire.ConsumeVarint(d.XXX_unrecognized[max(at, 0):])
	if tag != 9<<3 || at <= 0 || n <= 0 || int64(made) < before || int64(made) > after {
		t.Errorf("field %x is %d, not in [%d, %d]", tag, made, before, after)
	}
}
