package tablestore_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"pgregory.net/rapid"

	"pointsman/internal/lab/tablestore"
)

// modelTables counts the tables of all models, for their names.
var modelTables atomic.Int64

// dialOnce is a client of the SDK that tries each call once, since a retry would
// hide a failure or make a write twice, and is strict about the answers. It is
// for one goroutine.
func dialOnce(t testing.TB, s *tablestore.Server) *sdk.TableStoreClient {
	t.Helper()
	config := sdk.NewDefaultTableStoreConfig()
	config.RetryTimes = 0
	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	t.Cleanup(transport.CloseIdleConnections)
	k := s.Keys()[0]
	config.Transport = &strict{transport, k.Secret, map[string]bool{}}
	return sdk.NewClientWithConfig(s.Endpoint(), "lab", k.ID, k.Secret, "", config)
}

// model is tables of a server and the oracle of each.
type model struct {
	c      *sdk.TableStoreClient
	tables []*oracleTable
	start  int64 // ms
}

// What the models write. Few values, so that writes meet.
var (
	someStrings  = []modelValue{"", "a", "ab", "b", "é", "日本"}
	someBlobs    = []modelValue{modelBlob(""), modelBlob("\x00"), modelBlob("\x00\x01"), modelBlob("a"), modelBlob("\xff")}
	someInts     = []modelValue{int64(-1 << 63), int64(-1), int64(0), int64(1), int64(256), int64(1<<63 - 1)}
	someValues   = slices.Concat(someStrings, someBlobs, someInts, []modelValue{true, false, 0.0, 1.5, -1e300})
	someColumns  = []string{"a", "ab", "b", "B", "é"}
	numberColumn = "n" // the column that is incremented; no version of it is of the future
)

// kinds of models.
const (
	plainTables = iota
	withStreams
	withTransactions // and streams
)

func newModel(t *rapid.T, c *sdk.TableStoreClient, tables, kind int) *model {
	m := &model{c: c, start: time.Now().UnixMilli()}
	for range tables {
		kinds := rapid.SliceOfN(rapid.SampledFrom([]sdk.PrimaryKeyType{
			sdk.PrimaryKeyType_STRING, sdk.PrimaryKeyType_INTEGER, sdk.PrimaryKeyType_BINARY,
		}), 1, 4).Draw(t, "kinds of the key")
		table := &oracleTable{
			name:        fmt.Sprintf("model%d", modelTables.Add(1)),
			maxVersions: rapid.SampledFrom([]int{1, 2, 2, 3}).Draw(t, "max versions"),
			allowUpdate: rapid.IntRange(0, 7).Draw(t, "may be updated") != 0,
			rows:        map[string]*oracleRow{}, log: map[string][]modelChange{}, open: map[modelValue]*oracleTable{},
		}
		meta := &sdk.TableMeta{TableName: table.name}
		for i, kind := range kinds {
			table.schema = append(table.schema, modelColumn{fmt.Sprintf("pk%d", i), kind})
			meta.AddPrimaryKeyColumn(table.schema[i].name, kind)
		}
		request := &sdk.CreateTableRequest{
			TableMeta:          meta,
			TableOption:        &sdk.TableOption{TimeToAlive: -1, MaxVersion: table.maxVersions, AllowUpdate: &table.allowUpdate},
			ReservedThroughput: &sdk.ReservedThroughput{},
		}
		if kind == withTransactions {
			yes := true
			request.EnableLocalTxn = &yes
		}
		if kind != plainTables {
			if table.maxVersions == 1 && rapid.Bool().Draw(t, "old values") {
				table.origin = []string{"a", numberColumn}
			}
			request.StreamSpec = &sdk.StreamSpecification{EnableStream: true, ExpirationTime: 24, OriginColumnsToGet: table.origin}
		}
		if _, err := c.CreateTable(request); err != nil {
			t.Fatalf("create %s: %v", table.name, err)
		}
		m.tables = append(m.tables, table)
		t.Logf("table %s: %d versions, key %v, updates %v", table.name, table.maxVersions, kinds, table.allowUpdate)
	}
	return m
}

func (m *model) drop(t *rapid.T) {
	for _, table := range m.tables {
		if _, err := m.c.DeleteTable(&sdk.DeleteTableRequest{TableName: table.name}); err != nil {
			t.Errorf("delete %s: %v", table.name, err)
		}
	}
}

func (m *model) table(t *rapid.T) *oracleTable { return rapid.SampledFrom(m.tables).Draw(t, "table") }

// valuesOf are values of a kind of key column.
func valuesOf(kind sdk.PrimaryKeyType) []modelValue {
	switch kind {
	case sdk.PrimaryKeyType_STRING:
		return someStrings
	case sdk.PrimaryKeyType_INTEGER:
		return someInts
	default:
		return someBlobs
	}
}

// anyKey is the key of a row that is there, or any; first is its partition
// key if not nil.
func anyKey(t *rapid.T, m *oracleTable, first modelValue) modelKey {
	var there []modelKey
	for _, r := range m.sorted() {
		if first == nil || r.key[0] == first {
			there = append(there, r.key)
		}
	}
	if len(there) > 0 && rapid.Bool().Draw(t, "a row that is there") {
		return rapid.SampledFrom(there).Draw(t, "key")
	}
	var k modelKey
	for i, c := range m.schema {
		pool := valuesOf(c.kind)
		if i > 0 {
			pool = pool[:3]
		} else if first != nil {
			pool = []modelValue{first}
		}
		k = append(k, rapid.SampledFrom(pool).Draw(t, c.name))
	}
	return k
}

// version is one that a write may carry: hours from now on either side, so
// that it is certain whether it is newer than what the server writes now; or 0.
func (m *model) version(t *rapid.T, future bool) int64 {
	const hour = 3600 * 1000
	all := []int64{0, 0, -3 * hour, -2 * hour, -1 * hour, -3*hour + 1}
	if future {
		all = append(all, 2*hour, 3*hour)
	}
	if v := rapid.SampledFrom(all).Draw(t, "version"); v != 0 {
		return m.start + v
	}
	return 0
}

// versionThere is a version of a column that is kept, or any.
func (m *model) versionThere(t *rapid.T, row *oracleRow, column string) int64 {
	if row != nil && len(row.cols[column]) > 0 && rapid.IntRange(0, 3).Draw(t, "a version that is there") > 0 {
		return rapid.SampledFrom(row.cols[column]).Draw(t, "cell").version
	}
	if v := m.version(t, true); v != 0 {
		return v
	}
	return m.start
}

// anyWrite is a write of any kind; plain ones have no conditions, and versioned
// ones leave no version to the server.
func (m *model) anyWrite(t *rapid.T, table *oracleTable, first modelValue, plain, versioned bool) modelWrite {
	w := modelWrite{kind: rapid.SampledFrom([]modelWriteKind{writePut, writePut, writeUpdate, writeUpdate, writeUpdate, writeDelete}).Draw(t, "kind"), key: anyKey(t, table, first)}
	row := table.rows[w.key.String()]
	columns := rapid.SliceOfNDistinct(rapid.SampledFrom(someColumns), 0, 3, rapid.ID).Draw(t, "columns")
	version := func(future bool) int64 {
		v := m.version(t, future)
		if v == 0 && versioned {
			v = m.start - 1000
		}
		return v
	}
	switch w.kind {
	case writePut:
		for _, c := range columns {
			one := cellWrite{op: cellSet, name: c, value: rapid.SampledFrom(someValues).Draw(t, "value"), version: version(true)}
			w.cells = append(w.cells, one)
			for one.version != 0 && rapid.Bool().Draw(t, "one more version") {
				one.version -= 60000
				one.value = rapid.SampledFrom(someValues).Draw(t, "value")
				w.cells = append(w.cells, one)
			}
		}
		if rapid.Bool().Draw(t, "a number") {
			some := []modelValue{int64(0), int64(7), int64(41), int64(-1), "no number"}
			one := cellWrite{op: cellSet, name: numberColumn, value: rapid.SampledFrom(some).Draw(t, "number"), version: version(false)}
			w.cells = append(w.cells, one)
			for one.version != 0 && rapid.Bool().Draw(t, "one more version") {
				one.version -= 60000
				one.value = rapid.SampledFrom(some).Draw(t, "number")
				w.cells = append(w.cells, one)
			}
		}
		w.returnPK = rapid.IntRange(0, 3).Draw(t, "return the key") == 0
	case writeUpdate:
		for _, c := range columns {
			one := cellWrite{op: rapid.SampledFrom([]modelCellOp{cellSet, cellSet, cellDeleteAll, cellDeleteOne}).Draw(t, "op"), name: c}
			switch one.op {
			case cellSet:
				one.value, one.version = rapid.SampledFrom(someValues).Draw(t, "value"), version(true)
			case cellDeleteOne:
				one.version = m.versionThere(t, row, c)
			}
			w.cells = append(w.cells, one)
		}
		if rapid.Bool().Draw(t, "a number") {
			one := cellWrite{op: rapid.SampledFrom([]modelCellOp{cellIncrement, cellIncrement, cellSet, cellDeleteAll}).Draw(t, "op"), name: numberColumn}
			switch {
			case one.op == cellIncrement && !versioned:
				one.value = rapid.SampledFrom([]modelValue{int64(1), int64(-3), int64(0)}).Draw(t, "by")
				if rapid.Bool().Draw(t, "return the number") {
					w.returning = []string{numberColumn}
				}
			case one.op == cellSet || one.op == cellIncrement:
				one.op, one.value, one.version = cellSet, int64(7), version(false)
			}
			w.cells = append(w.cells, one)
		}
	}
	if plain {
		return w
	}
	w.exist = rapid.SampledFrom([]sdk.RowExistenceExpectation{
		sdk.RowExistenceExpectation_IGNORE, sdk.RowExistenceExpectation_IGNORE,
		sdk.RowExistenceExpectation_EXPECT_EXIST, sdk.RowExistenceExpectation_EXPECT_NOT_EXIST,
	}).Draw(t, "expectation")
	if w.kind == writeDelete && w.exist == sdk.RowExistenceExpectation_EXPECT_NOT_EXIST {
		w.exist = sdk.RowExistenceExpectation_EXPECT_EXIST
	}
	if rapid.IntRange(0, 2).Draw(t, "a condition") == 0 {
		w.condition = anyFilter(t, table, row, 2)
	}
	return w
}

// anyFilter is a filter that has a chance to pass.
func anyFilter(t *rapid.T, m *oracleTable, row *oracleRow, depth int) *modelFilter {
	if depth > 0 && rapid.IntRange(0, 3).Draw(t, "composite") == 0 {
		f := &modelFilter{operator: rapid.SampledFrom([]sdk.LogicalOperator{sdk.LO_NOT, sdk.LO_AND, sdk.LO_OR}).Draw(t, "operator")}
		n := 1
		if f.operator != sdk.LO_NOT {
			n = rapid.IntRange(2, 1+depth).Draw(t, "parts") // no more than 10 in all
		}
		for range n {
			f.parts = append(f.parts, anyFilter(t, m, row, depth-1))
		}
		return f
	}
	columns := append(slices.Clone(someColumns), numberColumn, m.schema[len(m.schema)-1].name)
	f := &modelFilter{
		column:    rapid.SampledFrom(columns).Draw(t, "column"),
		compares:  sdk.ComparatorType(rapid.IntRange(1, 6).Draw(t, "comparator")),
		with:      rapid.SampledFrom(someValues).Draw(t, "value"),
		ifMissing: rapid.Bool().Draw(t, "fails if missing"),
		latest:    rapid.Bool().Draw(t, "latest only"),
	}
	if row != nil && rapid.IntRange(0, 3).Draw(t, "a value that is there") > 0 {
		if there := slices.Sorted(maps.Keys(row.cols)); len(there) > 0 {
			f.column = rapid.SampledFrom(there).Draw(t, "column")
		}
		if have := m.versions(row, row.key, f.column); len(have) > 0 {
			f.with = rapid.SampledFrom(have).Draw(t, "value")
		}
	}
	return f
}

// everything is a reading of everything that is kept.
func everything(m *oracleTable) modelReading { return modelReading{maxVersions: m.maxVersions} }

// cellsOf turns what the SDK read into cells.
func cellsOf(columns []*sdk.AttributeColumn) []modelCell {
	var cells []modelCell
	for _, c := range columns {
		cells = append(cells, modelCell{c.ColumnName, c.Timestamp, valueFromSDK(c.Value)})
	}
	return cells
}

// keyOf turns what the SDK read into a key.
func keyOf(t *rapid.T, m *oracleTable, pk *sdk.PrimaryKey) modelKey {
	var k modelKey
	for i, c := range pk.PrimaryKeys {
		if len(pk.PrimaryKeys) != len(m.schema) || c.ColumnName != m.schema[i].name {
			t.Fatalf("a key is %v, want the columns of %v", pk.PrimaryKeys, m.schema)
		}
		k = append(k, valueFromSDK(c.Value))
	}
	return k
}

func (m *model) getRow(t *rapid.T, table *oracleTable, k modelKey, r modelReading) (modelKey, []modelCell) {
	q := &sdk.SingleRowQueryCriteria{
		TableName: table.name, PrimaryKey: k.sdk(table.schema), ColumnsToGet: r.columns,
		MaxVersion: int32(r.maxVersions), TimeRange: r.timeRange(), Filter: r.sdkFilter(), TransactionId: table.txn,
	}
	if r.start != "" {
		q.StartColumn = &r.start
	}
	if r.end != "" {
		q.EndColumn = &r.end
	}
	got, err := m.c.GetRow(&sdk.GetRowRequest{SingleRowQueryCriteria: q})
	if err != nil {
		t.Fatalf("GetRow %s: %v", k, err)
	}
	return keyOf(t, table, &got.PrimaryKey), cellsOf(got.Columns)
}

func (r modelReading) timeRange() *sdk.TimeRange {
	if r.specific != 0 {
		return &sdk.TimeRange{Specific: r.specific}
	}
	if r.high != 0 {
		return &sdk.TimeRange{Start: r.low, End: r.high}
	}
	return nil
}

func (r modelReading) sdkFilter() sdk.ColumnFilter {
	if r.page != 0 {
		return &sdk.PaginationFilter{Offset: int32(r.offset), Limit: int32(r.page)}
	}
	if r.filter != nil {
		return r.filter.sdk()
	}
	return nil
}

// codeOf is the code of an error of the service.
func codeOf(err error) string {
	var e *sdk.OtsError
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

const (
	modelDay = 86400 * 1000
	// The server's clock and ours are one; what lies so near is not asked for.
	modelSlack = 60 * 1000
)

// window is the versions that may be written now.
func (m *model) window() (low, high int64) {
	now := time.Now().UnixMilli()
	return max(now-modelDay+modelSlack, -1), now + modelDay - modelSlack
}

// learnVersion finds the version that the server gave the cells of a write, in what
// the row is after it. It is one for all of them. Where none is kept it is
// not seen, and does not matter.
func learnVersion(t *rapid.T, w modelWrite, now []modelCell, before, after int64) (at int64, seen bool) {
	for _, c := range w.cells {
		if !c.byServer() {
			continue
		}
		var newest int64
		for _, have := range now {
			if have.name == c.name && have.version >= before && have.version <= after {
				newest = max(newest, have.version)
			}
		}
		if newest == 0 {
			continue
		}
		if seen && newest != at {
			t.Fatalf("one write has two times, %d and %d", at, newest)
		}
		at, seen = newest, true
	}
	if !seen {
		return after, false
	}
	return at, true
}

// one makes one write by its own call and holds what comes of it against the oracle.
func (m *model) one(t *rapid.T, table *oracleTable, w modelWrite) {
	low, high := m.window()
	want := table.refusal(w, low, high)
	t.Logf("%s %s: %s", table.name, w, want)
	before := time.Now().UnixMilli()
	var err error
	var returned []modelCell
	switch c := w.sdk(table).(type) {
	case *sdk.PutRowChange:
		var got *sdk.PutRowResponse
		if got, err = m.c.PutRow(&sdk.PutRowRequest{PutRowChange: c}); err == nil && w.returnPK {
			if k := keyOf(t, table, &got.PrimaryKey); k.compare(w.key) != 0 {
				t.Fatalf("PutRow returns the key %s", k)
			}
		}
	case *sdk.UpdateRowChange:
		var got *sdk.UpdateRowResponse
		if got, err = m.c.UpdateRow(&sdk.UpdateRowRequest{UpdateRowChange: c}); err == nil {
			returned = cellsOf(got.Columns)
		}
	case *sdk.DeleteRowChange:
		_, err = m.c.DeleteRow(&sdk.DeleteRowRequest{DeleteRowChange: c})
	}
	after := time.Now().UnixMilli()
	if code := codeOf(err); code != want {
		t.Fatalf("%s: %v, want %q", w, err, want)
	}
	if want != "" {
		return
	}
	_, now := m.getRow(t, table, w.key, everything(table))
	at, seen := learnVersion(t, w, now, before, after)
	table.apply(w, at, before, after, seen)
	m.hold(t, table, w.key, now)
	m.holdReturned(t, table, w, returned)
}

// hold holds the cells of a row against the oracle.
func (m *model) hold(t *rapid.T, table *oracleTable, k modelKey, now []modelCell) {
	if want, _ := table.view(table.rows[k.String()], everything(table)); !slices.Equal(now, want) {
		t.Fatalf("%s %s is\n%v, want\n%v", table.name, k, now, want)
	}
}

// holdReturned holds the columns that a write returned against the row that is now.
func (m *model) holdReturned(t *rapid.T, table *oracleTable, w modelWrite, returned []modelCell) {
	var want []modelCell
	for _, name := range w.returning {
		if have := table.rows[w.key.String()].cols[name]; len(have) > 0 {
			want = append(want, have[0])
		}
	}
	if !slices.Equal(returned, want) {
		t.Fatalf("%s returns %v, want %v", w, returned, want)
	}
}

func (w modelWrite) String() string {
	kind := [...]string{"put", "update", "delete"}[w.kind]
	return fmt.Sprintf("%s %s cells %+v expectation %d condition %v returning %v", kind, w.key, w.cells, w.exist, w.condition, w.returning)
}

// batch makes several writes by one call.
func (m *model) batch(t *rapid.T, atomic bool) {
	request := &sdk.BatchWriteRowRequest{IsAtomic: atomic}
	type group struct {
		table  *oracleTable
		writes []modelWrite
	}
	var groups []*group
	count := 1
	if !atomic {
		count = rapid.IntRange(1, len(m.tables)).Draw(t, "tables")
	}
	low, high := m.window()
	first := m.tables
	if len(first) > 1 && rapid.Bool().Draw(t, "the other way round") {
		first = slices.Clone(first)
		slices.Reverse(first)
	}
	for _, table := range first[:count] {
		g := &group{table: table}
		// One key may come several times, if there are no conditions; then it
		// must be certain which version is newest.
		repeats := rapid.Bool().Draw(t, "keys may come again")
		var partition modelValue
		if atomic && rapid.IntRange(0, 5).Draw(t, "one partition") > 0 {
			partition = anyKey(t, table, nil)[0]
		}
		for range rapid.IntRange(1, 6).Draw(t, "rows") {
			w := m.anyWrite(t, table, partition, repeats, repeats && table.maxVersions > 1)
			if !repeats && slices.ContainsFunc(g.writes, func(o modelWrite) bool { return o.key.compare(w.key) == 0 }) {
				continue
			}
			w.returnPK = w.returnPK && !repeats
			if repeats {
				w.returning = nil
			}
			g.writes = append(g.writes, w)
			request.AddRowChange(w.sdk(table))
		}
		groups = append(groups, g)
	}
	before := time.Now().UnixMilli()
	got, err := m.c.BatchWriteRow(request)
	after := time.Now().UnixMilli()
	if err != nil {
		t.Fatalf("BatchWriteRow: %v", err)
	}
	for _, g := range groups {
		results := got.TableToRowsResult[g.table.name]
		if len(results) != len(g.writes) {
			t.Fatalf("%d results for %d rows", len(results), len(g.writes))
		}
		m.holdBatch(t, g.table, g.writes, results, atomic, low, high, before, after)
	}
}

func (m *model) holdBatch(t *rapid.T, table *oracleTable, writes []modelWrite, results []sdk.RowResult, atomic bool, low, high, before, after int64) {
	times := map[string]int{}
	for _, w := range writes {
		times[w.key.String()]++
	}
	now := map[string][]modelCell{}
	for _, w := range writes {
		if _, have := now[w.key.String()]; !have {
			_, now[w.key.String()] = m.getRow(t, table, w.key, everything(table))
		}
	}
	failed := false
	if atomic {
		// All or nothing: tried on a copy.
		trial := table.clone()
		trial.open = table.open
		for _, w := range writes {
			if w.key[0] != writes[0].key[0] || trial.refusal(w, low, high) != "" {
				failed = true
				break
			}
			trial.apply(w, after, before, after, false)
		}
	}
	for i, w := range writes {
		r := results[i]
		if int(r.Index) != i || r.TableName != table.name {
			t.Fatalf("result %d is of row %d of %s", i, r.Index, r.TableName)
		}
		want := table.refusal(w, low, high)
		if failed {
			if r.IsSucceed || r.Error.Code == "" {
				t.Fatalf("%s: succeeded: %v, %+v; want nothing of the batch done", w, r.IsSucceed, r.Error)
			}
			continue
		}
		t.Logf("%s row %d of a batch, atomic %v: %s: %q", table.name, i, atomic, w, want)
		if r.IsSucceed != (want == "") || r.Error.Code != want {
			t.Fatalf("%s: succeeded: %v, %+v; want %q", w, r.IsSucceed, r.Error, want)
		}
		if want != "" {
			continue
		}
		at, seen := learnVersion(t, w, now[w.key.String()], before, after)
		table.apply(w, at, before, after, seen && times[w.key.String()] == 1)
		if w.returnPK {
			if k := keyOf(t, table, &r.PrimaryKey); k.compare(w.key) != 0 {
				t.Fatalf("row %d returns the key %s", i, k)
			}
		}
		m.holdReturned(t, table, w, cellsOf(r.Columns))
	}
	for _, w := range writes {
		m.hold(t, table, w.key, now[w.key.String()])
	}
}

// anyReading asks for a part of rows.
func (m *model) anyReading(t *rapid.T, table *oracleTable, row *oracleRow) modelReading {
	r := modelReading{maxVersions: rapid.IntRange(1, 4).Draw(t, "versions")}
	switch rapid.IntRange(0, 4).Draw(t, "time") {
	case 0:
		r.specific, r.maxVersions = m.versionThere(t, row, rapid.SampledFrom(someColumns).Draw(t, "column")), 0
	case 1:
		edges := []int64{1, m.start - 3*3600*1000, m.start - 3*3600*1000 + 1, m.start - 3600*1000, m.start + 3600*1000, m.start + 3*3600*1000}
		i := rapid.IntRange(0, len(edges)-2).Draw(t, "low")
		r.low, r.high = edges[i], edges[rapid.IntRange(i+1, len(edges)-1).Draw(t, "high")]
		if rapid.Bool().Draw(t, "versions too") {
			r.maxVersions = 0
		}
	}
	names := append(slices.Clone(someColumns), numberColumn, "none")
	if rapid.Bool().Draw(t, "columns by name") {
		r.columns = rapid.SliceOfNDistinct(rapid.SampledFrom(append(names, table.schema[0].name)), 1, 4, rapid.ID).Draw(t, "columns")
	}
	if rapid.IntRange(0, 3).Draw(t, "columns by range") == 0 {
		r.start = rapid.SampledFrom(names).Draw(t, "start")
	}
	if rapid.IntRange(0, 3).Draw(t, "an end") == 0 {
		r.end = rapid.SampledFrom(names).Draw(t, "end")
		if r.end <= r.start {
			r.end = ""
		}
	}
	switch rapid.IntRange(0, 4).Draw(t, "filter") {
	case 0, 1:
		r.filter = anyFilter(t, table, row, 2)
	case 2:
		if r.specific == 0 && r.maxVersions == 1 {
			r.offset, r.page = rapid.IntRange(0, 2).Draw(t, "offset"), rapid.IntRange(1, 3).Draw(t, "page")
		}
	}
	return r
}

func (r modelReading) String() string {
	return fmt.Sprintf("versions %d times [%d, %d) %d columns %q [%q, %q) filter %v page %d %d", r.maxVersions, r.low, r.high, r.specific, r.columns, r.start, r.end, r.filter, r.offset, r.page)
}

// holdRead holds a row that was read against the oracle.
func holdRead(t *rapid.T, table *oracleTable, how string, k modelKey, r modelReading, gotKey modelKey, got []modelCell) {
	want, shown := table.view(table.rows[k.String()], r)
	if (gotKey != nil) != shown || shown && gotKey.compare(k) != 0 || !slices.Equal(got, want) {
		t.Fatalf("%s %s %s, %s\nis    %s: %v\nwant  %v: %v", how, table.name, k, r, gotKey, got, shown, want)
	}
}

func (m *model) read(t *rapid.T) {
	table := m.table(t)
	k := anyKey(t, table, nil)
	r := m.anyReading(t, table, table.rows[k.String()])
	gotKey, got := m.getRow(t, table, k, r)
	holdRead(t, table, "GetRow", k, r, gotKey, got)
}

func (m *model) batchRead(t *rapid.T) {
	request := &sdk.BatchGetRowRequest{}
	type asked struct {
		keys []modelKey
		r    modelReading
	}
	all := map[*oracleTable]asked{}
	for _, table := range m.tables {
		var a asked
		for range rapid.IntRange(1, 5).Draw(t, "rows") {
			if k := anyKey(t, table, nil); !slices.ContainsFunc(a.keys, func(o modelKey) bool { return o.compare(k) == 0 }) {
				a.keys = append(a.keys, k)
			}
		}
		a.r = m.anyReading(t, table, table.rows[a.keys[0].String()])
		q := &sdk.MultiRowQueryCriteria{
			TableName: table.name, ColumnsToGet: a.r.columns, MaxVersion: a.r.maxVersions, TimeRange: a.r.timeRange(), Filter: a.r.sdkFilter(),
		}
		if a.r.start != "" {
			q.StartColumn = &a.r.start
		}
		if a.r.end != "" {
			q.EndColumn = &a.r.end
		}
		for _, k := range a.keys {
			q.AddRow(k.sdk(table.schema))
		}
		request.MultiRowQueryCriteria = append(request.MultiRowQueryCriteria, q)
		all[table] = a
	}
	got, err := m.c.BatchGetRow(request)
	if err != nil {
		t.Fatalf("BatchGetRow: %v", err)
	}
	for _, table := range m.tables {
		a, results := all[table], got.TableToRowsResult[table.name]
		if len(results) != len(a.keys) {
			t.Fatalf("%d results for %d rows", len(results), len(a.keys))
		}
		for i, k := range a.keys {
			if !results[i].IsSucceed {
				t.Fatalf("BatchGetRow %s: %+v", k, results[i].Error)
			}
			holdRead(t, table, "BatchGetRow", k, a.r, keyOf(t, table, &results[i].PrimaryKey), cellsOf(results[i].Columns))
		}
	}
}

// anyBound is a bound of a range: values, and from some column on infinities.
func anyBound(t *rapid.T, m *oracleTable) modelKey {
	var k modelKey
	infinite := false
	for _, c := range m.schema {
		if infinite = infinite || rapid.IntRange(0, 2).Draw(t, "infinite") == 0; infinite {
			k = append(k, modelInfinity(rapid.SampledFrom([]int{-1, 1}).Draw(t, c.name)))
		} else {
			k = append(k, rapid.SampledFrom(valuesOf(c.kind)).Draw(t, c.name))
		}
	}
	return k
}

func (m *model) scan(t *rapid.T) {
	table := m.table(t)
	from, to := anyBound(t, table), anyBound(t, table)
	direction := rapid.SampledFrom([]sdk.Direction{sdk.FORWARD, sdk.BACKWARD}).Draw(t, "direction")
	if rapid.IntRange(0, 7).Draw(t, "in order") > 0 && (from.compare(to) < 0) != (direction == sdk.FORWARD) {
		from, to = to, from
	}
	var some *oracleRow
	if rows := table.sorted(); len(rows) > 0 {
		some = rapid.SampledFrom(rows).Draw(t, "row")
	}
	r := m.anyReading(t, table, some)
	m.holdRange(t, table, from, to, direction, r, rapid.IntRange(0, 4).Draw(t, "limit"))
}

// whole holds all of a table against the oracle.
func (m *model) whole(t *rapid.T, table *oracleTable) {
	from, to := make(modelKey, len(table.schema)), make(modelKey, len(table.schema))
	for i := range table.schema {
		from[i], to[i] = modelInfinity(-1), modelInfinity(1)
	}
	m.holdRange(t, table, from, to, sdk.FORWARD, everything(table), 0)
}

// holdRange reads a range page by page and holds it against the oracle.
func (m *model) holdRange(t *rapid.T, table *oracleTable, from, to modelKey, direction sdk.Direction, r modelReading, limit int) {
	rows := table.sorted()
	step := 1
	if direction == sdk.BACKWARD {
		slices.Reverse(rows)
		step = -1
	}
	// What is left to come.
	rows = slices.DeleteFunc(rows, func(row *oracleRow) bool {
		return row.key.compare(from)*step < 0 || row.key.compare(to)*step >= 0
	})
	q := &sdk.RangeRowQueryCriteria{
		TableName: table.name, StartPrimaryKey: from.sdk(table.schema), EndPrimaryKey: to.sdk(table.schema), ColumnsToGet: r.columns,
		MaxVersion: int32(r.maxVersions), TimeRange: r.timeRange(), Filter: r.sdkFilter(), Direction: direction, Limit: int32(limit),
		TransactionId: table.txn,
	}
	if r.start != "" {
		q.StartColumn = &r.start
	}
	if r.end != "" {
		q.EndColumn = &r.end
	}
	what := fmt.Sprintf("GetRange %s [%s, %s) direction %d limit %d, %s", table.name, from, to, direction, limit, r)
	for page := 0; ; page++ {
		got, err := m.c.GetRange(&sdk.GetRangeRequest{RangeRowQueryCriteria: q})
		if page == 0 && from.compare(to)*step >= 0 {
			if codeOf(err) != wantParameter {
				t.Fatalf("%s: %v", what, err)
			}
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if limit != 0 && len(got.Rows) > limit {
			t.Fatalf("%s: %d rows on page %d", what, len(got.Rows), page)
		}
		for i := 0; i < len(got.Rows); {
			if len(rows) == 0 {
				t.Fatalf("%s: page %d has %d rows that should not come", what, page, len(got.Rows)-i)
			}
			want, shown := table.view(rows[0], r)
			if !shown {
				rows = rows[1:]
				continue
			}
			k := keyOf(t, table, got.Rows[i].PrimaryKey)
			if cells := cellsOf(got.Rows[i].Columns); k.compare(rows[0].key) != 0 || !slices.Equal(cells, want) {
				t.Fatalf("%s: row %d of page %d is\n%s: %v, want\n%s: %v", what, i, page, k, cells, rows[0].key, want)
			}
			rows = rows[1:]
			i++
		}
		if got.NextStartPrimaryKey == nil {
			break
		}
		// Of the rows that are skipped up to there none was to be shown.
		next := keyOf(t, table, got.NextStartPrimaryKey)
		for len(rows) > 0 && rows[0].key.compare(next) != 0 {
			if _, shown := table.view(rows[0], r); shown {
				t.Fatalf("%s: page %d goes on at %s, over %s", what, page, next, rows[0].key)
			}
			rows = rows[1:]
		}
		if len(rows) == 0 {
			t.Fatalf("%s: page %d goes on at %s, where no row is", what, page, next)
		}
		if len(got.Rows) == 0 && page > 100 {
			t.Fatalf("%s: no end after %d pages", what, page)
		}
		q.StartPrimaryKey = got.NextStartPrimaryKey
	}
	for _, row := range rows {
		if _, shown := table.view(row, r); shown {
			t.Fatalf("%s: %s did not come", what, row.key)
		}
	}
}

// tooFar writes a version that the table does not take.
func (m *model) tooFar(t *rapid.T) {
	table := m.table(t)
	version := rapid.SampledFrom([]int64{m.start - 2*modelDay, m.start + 2*modelDay, -5, 1, 1<<63 - 1}).Draw(t, "version")
	m.one(t, table, modelWrite{
		kind: rapid.SampledFrom([]modelWriteKind{writePut, writeUpdate}).Draw(t, "kind"), key: anyKey(t, table, nil),
		cells: []cellWrite{{op: cellSet, name: "a", value: "x", version: version}},
	})
}

// TestModelRows makes random calls through the SDK and holds the server's
// answers against the oracle after each.
func TestModelRows(t *testing.T) {
	c := dialOnce(t, start(t, tablestore.Options{}))
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t, c, 2, plainTables)
		defer m.drop(t)
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				table := m.table(t)
				m.one(t, table, m.anyWrite(t, table, nil, false, false))
			},
			"write more": func(t *rapid.T) {
				table := m.table(t)
				m.one(t, table, m.anyWrite(t, table, nil, true, false))
			},
			"write too far off": m.tooFar,
			"batch":             func(t *rapid.T) { m.batch(t, false) },
			"atomic batch":      func(t *rapid.T) { m.batch(t, true) },
			"read":              m.read,
			"read several":      m.batchRead,
			"scan":              m.scan,
			"": func(t *rapid.T) {
				for _, table := range m.tables {
					m.whole(t, table)
				}
			},
		})
	})
}

// TestModelTransactions has transactions among other calls: what is changed in
// one is seen in it alone, all else under its partition key is refused, and its
// records come when it is committed.
func TestModelTransactions(t *testing.T) {
	c := dialOnce(t, start(t, tablestore.Options{}))
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t, c, 1, withTransactions)
		defer m.drop(t)
		table := m.tables[0]
		r := newReader(t, c, table, nil)
		over := []string{} // transactions that have ended
		// Among few partition keys.
		first := func(t *rapid.T) modelValue {
			return rapid.SampledFrom(valuesOf(table.schema[0].kind)[:3]).Draw(t, "partition")
		}
		opened := func(t *rapid.T) (modelValue, *oracleTable) {
			var there []modelValue
			for _, v := range valuesOf(table.schema[0].kind) {
				if table.open[v] != nil {
					there = append(there, v)
				}
			}
			if len(there) == 0 {
				t.Skip("no transaction is open")
			}
			v := rapid.SampledFrom(there).Draw(t, "transaction")
			return v, table.open[v]
		}
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) {
				v := first(t)
				got, err := c.StartLocalTransaction(&sdk.StartLocalTransactionRequest{
					TableName: table.name, PrimaryKey: modelKey{v}.sdk(table.schema[:1]),
				})
				if table.open[v] != nil {
					if codeOf(err) != wantConflict {
						t.Fatalf("a second transaction of a key: %v", err)
					}
					return
				}
				if err != nil {
					t.Fatalf("StartLocalTransaction: %v", err)
				}
				table.open[v] = table.clone()
				table.open[v].txn = got.TransactionId
			},
			"write in it": func(t *rapid.T) {
				v, mine := opened(t)
				m.one(t, mine, m.anyWrite(t, mine, v, rapid.Bool().Draw(t, "plain"), false))
			},
			"write in it elsewhere": func(t *rapid.T) {
				v, mine := opened(t)
				w := m.anyWrite(t, table, first(t), true, false)
				if w.key[0] == v {
					t.Skip("it is here")
				}
				if _, err := c.PutRow(&sdk.PutRowRequest{PutRowChange: (modelWrite{kind: writePut, key: w.key}).sdk(mine).(*sdk.PutRowChange)}); codeOf(err) != wantParameter {
					t.Fatalf("a transaction writes under another key: %v", err)
				}
			},
			"read in it": func(t *rapid.T) {
				v, mine := opened(t)
				k := anyKey(t, mine, v)
				q := m.anyReading(t, mine, mine.rows[k.String()])
				gotKey, got := m.getRow(t, mine, k, q)
				holdRead(t, mine, "GetRow in a transaction", k, q, gotKey, got)
			},
			"commit": func(t *rapid.T) {
				v, mine := opened(t)
				if _, err := c.CommitTransaction(&sdk.CommitTransactionRequest{TransactionId: mine.txn}); err != nil {
					t.Fatalf("CommitTransaction: %v", err)
				}
				table.commit(v)
				over = append(over, *mine.txn)
			},
			"abort": func(t *rapid.T) {
				v, mine := opened(t)
				if _, err := c.AbortTransaction(&sdk.AbortTransactionRequest{TransactionId: mine.txn}); err != nil {
					t.Fatalf("AbortTransaction: %v", err)
				}
				delete(table.open, v)
				over = append(over, *mine.txn)
			},
			"use one that is over": func(t *rapid.T) {
				if len(over) == 0 {
					t.Skip("none is over")
				}
				id := rapid.SampledFrom(over).Draw(t, "transaction")
				if _, err := c.CommitTransaction(&sdk.CommitTransactionRequest{TransactionId: &id}); codeOf(err) != wantSession {
					t.Fatalf("commit of one that is over: %v", err)
				}
				gone := table.clone()
				gone.txn = &id
				w := modelWrite{kind: writePut, key: anyKey(t, table, nil)}
				if _, err := c.PutRow(&sdk.PutRowRequest{PutRowChange: w.sdk(gone).(*sdk.PutRowChange)}); codeOf(err) != wantSession {
					t.Fatalf("write in one that is over: %v", err)
				}
			},
			"write": func(t *rapid.T) {
				m.one(t, table, m.anyWrite(t, table, first(t), rapid.Bool().Draw(t, "plain"), false))
			},
			"batch":        func(t *rapid.T) { m.batch(t, false) },
			"atomic batch": func(t *rapid.T) { m.batch(t, true) },
			"read":         m.read,
			"read the stream": func(t *rapid.T) {
				r.drain(t)
				r.hold(t)
			},
			"": func(t *rapid.T) { m.whole(t, table) },
		})
		r.drain(t)
		r.hold(t)
	})
}
