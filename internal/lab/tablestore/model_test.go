package tablestore_test

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
)

// The oracle of rows and streams: maps and loops that say in the plainest way
// what the vendor documents. It knows the SDK's types and nothing of the
// server. Where the vendor says nothing, the line says [GUESS], as in the
// server's own package comment.

// modelValue is what a cell or a column of a key holds: int64, float64, bool,
// string or modelBlob, all comparable with ==.
type modelValue any

// modelBlob is binary data.
type modelBlob string

func valueFromSDK(v any) modelValue {
	if b, ok := v.([]byte); ok {
		return modelBlob(b)
	}
	return v
}

func valueToSDK(v modelValue) any {
	if b, ok := v.(modelBlob); ok {
		return []byte(b)
	}
	return v
}

// modelInfinity is a bound of a range: below (-1) or above (1) every value.
type modelInfinity int

// compareValues orders two values of one kind; what is of two kinds has no order.
func compareValues(a, b modelValue) (order int, ordered bool) {
	if i, ok := a.(modelInfinity); ok {
		if j, ok := b.(modelInfinity); ok {
			return cmp.Compare(i, j), true
		}
		return int(i), true
	}
	if j, ok := b.(modelInfinity); ok {
		return -int(j), true
	}
	switch x := a.(type) {
	case int64:
		if y, ok := b.(int64); ok {
			return cmp.Compare(x, y), true
		}
	case float64:
		if y, ok := b.(float64); ok {
			return cmp.Compare(x, y), true
		}
	case bool:
		if y, ok := b.(bool); ok {
			n := map[bool]int{true: 1}
			return cmp.Compare(n[x], n[y]), true
		}
	case string:
		if y, ok := b.(string); ok {
			return strings.Compare(x, y), true
		}
	case modelBlob:
		if y, ok := b.(modelBlob); ok {
			return bytes.Compare([]byte(x), []byte(y)), true
		}
	}
	return 0, false
}

// modelKey is a primary key, column by column.
type modelKey []modelValue

func (k modelKey) compare(other modelKey) int {
	for i := range k {
		if c, ok := compareValues(k[i], other[i]); !ok {
			panic(fmt.Sprintf("keys of two schemas: %v, %v", k, other))
		} else if c != 0 {
			return c
		}
	}
	return 0
}

func (k modelKey) String() string {
	var b strings.Builder
	for _, v := range k {
		fmt.Fprintf(&b, "%T:%q,", v, fmt.Sprint(v))
	}
	return b.String()
}

// sdk builds the key for a call; names are those of the schema.
func (k modelKey) sdk(schema []modelColumn) *sdk.PrimaryKey {
	pk := new(sdk.PrimaryKey)
	for i, v := range k {
		switch v {
		case modelInfinity(-1):
			pk.AddPrimaryKeyColumnWithMinValue(schema[i].name)
		case modelInfinity(1):
			pk.AddPrimaryKeyColumnWithMaxValue(schema[i].name)
		default:
			pk.AddPrimaryKeyColumn(schema[i].name, valueToSDK(v))
		}
	}
	return pk
}

type modelColumn struct {
	name string
	kind sdk.PrimaryKeyType
}

// modelCell is one version of a column.
type modelCell struct {
	name    string
	version int64 // ms
	value   modelValue
}

// oracleRow is a row: its cells by column, newest first.
type oracleRow struct {
	key  modelKey
	cols map[string][]modelCell
}

// oracleTable is a table and the whole history of its changes.
type oracleTable struct {
	name        string
	schema      []modelColumn
	maxVersions int
	allowUpdate bool
	origin      []string // columns whose old values records carry
	rows        map[string]*oracleRow
	log         map[string][]modelChange // by key, in order of commit

	// A local transaction has a table of its own until it is committed; the
	// table names those that are open, by partition key.
	txn  *string
	open map[modelValue]*oracleTable
}

// GoString is short: rapid prints what it draws.
func (m *oracleTable) GoString() string { return m.name }

// GoString is short too.
func (r *oracleRow) GoString() string { return r.key.String() }

// sorted are the rows in order of their keys.
func (m *oracleTable) sorted() []*oracleRow {
	return slices.SortedFunc(maps.Values(m.rows), func(a, b *oracleRow) int { return a.key.compare(b.key) })
}

// kinds of writes and what they do to one column.
type (
	modelWriteKind int
	modelCellOp    int
)

const (
	writePut modelWriteKind = iota
	writeUpdate
	writeDelete
)

const (
	cellSet modelCellOp = iota
	cellDeleteAll
	cellDeleteOne
	cellIncrement
)

type cellWrite struct {
	op      modelCellOp
	name    string
	value   modelValue // that is set, or by how much
	version int64      // ms, of what is set and of one that is deleted; 0: the server's time
}

// modelWrite is one change to one row.
type modelWrite struct {
	kind      modelWriteKind
	key       modelKey
	cells     []cellWrite
	exist     sdk.RowExistenceExpectation
	condition *modelFilter
	returnPK  bool
	returning []string // columns whose new values are asked for
}

// byServer says whether the server gives a cell its version.
func (c cellWrite) byServer() bool {
	return c.op == cellIncrement || c.op == cellSet && c.version == 0
}

func (w modelWrite) sdk(m *oracleTable) sdk.RowChange {
	condition := &sdk.RowCondition{RowExistenceExpectation: w.exist}
	if w.condition != nil {
		condition.ColumnCondition = w.condition.sdk()
	}
	switch w.kind {
	case writePut:
		c := &sdk.PutRowChange{TableName: m.name, PrimaryKey: w.key.sdk(m.schema), Condition: condition, TransactionId: m.txn}
		for _, one := range w.cells {
			c.Columns = append(c.Columns, sdk.AttributeColumn{ColumnName: one.name, Value: valueToSDK(one.value), Timestamp: one.version})
		}
		if w.returnPK {
			c.SetReturnPk()
		}
		return c
	case writeUpdate:
		c := &sdk.UpdateRowChange{TableName: m.name, PrimaryKey: w.key.sdk(m.schema), Condition: condition, TransactionId: m.txn}
		for _, one := range w.cells {
			switch {
			case one.op == cellSet && one.version == 0:
				c.PutColumn(one.name, valueToSDK(one.value))
			case one.op == cellSet:
				c.PutColumnWithTimestamp(one.name, valueToSDK(one.value), one.version)
			case one.op == cellDeleteAll:
				c.DeleteColumn(one.name)
			case one.op == cellDeleteOne:
				c.DeleteColumnWithTimestamp(one.name, one.version)
			case one.op == cellIncrement:
				c.IncrementColumn(one.name, one.value.(int64))
			}
		}
		if w.returning != nil {
			c.SetReturnIncrementValue()
			c.ColumnNamesToReturn = w.returning
		}
		return c
	default:
		return &sdk.DeleteRowChange{TableName: m.name, PrimaryKey: w.key.sdk(m.schema), Condition: condition, TransactionId: m.txn}
	}
}

const (
	wantCondition = "OTSConditionCheckFail"
	wantParameter = "OTSParameterInvalid"
	wantConflict  = "OTSRowOperationConflict"
	wantSession   = "OTSSessionNotExist"
)

// refusal is the code that a write is refused with, or nothing. Versions that
// may be written are (low, high), in ms.
func (m *oracleTable) refusal(w modelWrite, low, high int64) string {
	if w.kind == writeUpdate && !m.allowUpdate {
		return wantParameter // [GUESS]
	}
	if w.kind == writeUpdate && len(w.cells) == 0 {
		return wantParameter
	}
	for _, c := range w.cells {
		if c.op == cellSet && c.version != 0 && (c.version <= low || c.version >= high) {
			return wantParameter
		}
	}
	if m.open[w.key[0]] != nil {
		return wantConflict
	}
	row := m.rows[w.key.String()]
	if w.exist == sdk.RowExistenceExpectation_EXPECT_EXIST && row == nil ||
		w.exist == sdk.RowExistenceExpectation_EXPECT_NOT_EXIST && row != nil {
		return wantCondition
	}
	// A row that is not there has no columns, and those of its key.
	if w.condition != nil && !w.condition.pass(func(name string) []modelValue { return m.versions(row, w.key, name) }) {
		return wantCondition
	}
	if row != nil {
		for _, c := range w.cells {
			if c.op == cellIncrement && len(row.cols[c.name]) > 0 {
				if _, ok := row.cols[c.name][0].value.(int64); !ok {
					return wantParameter
				}
			}
		}
	}
	return ""
}

// versions are all values of a column that are kept, newest first; row may be nil.
func (m *oracleTable) versions(row *oracleRow, k modelKey, name string) []modelValue {
	for i, c := range m.schema {
		if c.name == name {
			return []modelValue{k[i]}
		}
	}
	var all []modelValue
	if row != nil {
		for _, c := range row.cols[name] {
			all = append(all, c.value)
		}
	}
	return all
}

// modelChange is what a record of the stream must say.
type modelChange struct {
	kind   modelWriteKind
	cells  []changeCell
	origin []changeCell
}

type changeCell struct {
	cellWrite
	low, high int64 // ms, where the version must lie
}

// apply makes a write that is not refused. Cells that the server gives their
// version get at, which lies in [before, after]; unless certain, that it is
// at is not known of all of them.
func (m *oracleTable) apply(w modelWrite, at, before, after int64, certain bool) {
	id := w.key.String()
	row := m.rows[id]
	said := modelChange{kind: w.kind}
	if row != nil {
		for _, name := range slices.Sorted(slices.Values(m.origin)) {
			for _, c := range row.cols[name] {
				old := changeCell{cellWrite{op: cellSet, name: name, value: c.value}, c.version, c.version}
				if !certain && c.version >= before && c.version <= after {
					old.low, old.high = before, after // may be of an earlier write of the same batch
				}
				said.origin = append(said.origin, old)
			}
		}
	}
	if w.kind == writePut || row == nil {
		row = &oracleRow{key: w.key, cols: map[string][]modelCell{}}
	}
	writes := w.kind == writePut
	for _, c := range w.cells {
		note := changeCell{cellWrite: c, low: c.version, high: c.version}
		if c.byServer() {
			c.version = at
			note.low, note.high = at, at
			if !certain {
				note.low, note.high = before, after
			}
		}
		switch c.op {
		case cellSet:
			row.keep(c.name, c.version, c.value, m.maxVersions)
			writes = true
		case cellIncrement:
			n := c.value.(int64)
			if have := row.cols[c.name]; len(have) > 0 {
				n += have[0].value.(int64)
			}
			row.keep(c.name, c.version, n, m.maxVersions)
			// A record shows what came of it, not by how much.
			note.op, note.value = cellSet, n
			writes = true
		case cellDeleteAll:
			delete(row.cols, c.name)
		case cellDeleteOne:
			row.cols[c.name] = slices.DeleteFunc(row.cols[c.name], func(have modelCell) bool { return have.version == c.version })
		}
		said.cells = append(said.cells, note)
	}
	m.log[id] = append(m.log[id], said)
	switch {
	case w.kind == writeDelete:
		delete(m.rows, id)
	case writes:
		m.rows[id] = row // deletes of columns alone make no row [GUESS]
	}
}

// keep adds a version of a column; no more than the newest so many are kept.
func (r *oracleRow) keep(name string, version int64, v modelValue, most int) {
	have := slices.DeleteFunc(r.cols[name], func(c modelCell) bool { return c.version == version })
	have = append(have, modelCell{name, version, v})
	slices.SortFunc(have, func(a, b modelCell) int { return cmp.Compare(b.version, a.version) })
	r.cols[name] = have[:min(most, len(have))]
}

// modelReading says what of a row is asked for.
type modelReading struct {
	maxVersions  int
	low, high    int64 // ms, [low, high); both 0: all
	specific     int64 // ms; 0: all
	columns      []string
	start, end   string // names of columns, [start, end); empty: all
	filter       *modelFilter
	offset, page int // of columns, if page is not 0
}

// clone is a copy of the rows, with no history.
func (m *oracleTable) clone() *oracleTable {
	c := *m
	c.log, c.rows, c.open = map[string][]modelChange{}, map[string]*oracleRow{}, nil
	for id, r := range m.rows {
		row := &oracleRow{key: r.key, cols: map[string][]modelCell{}}
		for name, cells := range r.cols {
			row.cols[name] = slices.Clone(cells)
		}
		c.rows[id] = row
	}
	return &c
}

// commit takes over what a transaction changed under its partition key.
func (m *oracleTable) commit(first modelValue) {
	mine := func(r *oracleRow) bool { return r.key[0] == first }
	maps.DeleteFunc(m.rows, func(_ string, r *oracleRow) bool { return mine(r) })
	for id, r := range m.open[first].rows {
		if mine(r) {
			m.rows[id] = r
		}
	}
	for id, changes := range m.open[first].log {
		m.log[id] = append(m.log[id], changes...)
	}
	delete(m.open, first)
}

// view is what a reading shows of a row, and whether it shows the row at all.
func (m *oracleTable) view(row *oracleRow, r modelReading) (cells []modelCell, shown bool) {
	if row == nil {
		return nil, false
	}
	isKey := func(name string) bool {
		return slices.ContainsFunc(m.schema, func(c modelColumn) bool { return c.name == name })
	}
	seen := map[string][]modelValue{}
	for _, name := range slices.Sorted(maps.Keys(row.cols)) {
		if len(r.columns) > 0 && !slices.Contains(r.columns, name) || name < r.start || r.end != "" && name >= r.end {
			continue
		}
		n := 0
		for _, c := range row.cols[name] {
			if r.specific != 0 && c.version != r.specific || r.high != 0 && (c.version < r.low || c.version >= r.high) ||
				r.maxVersions != 0 && n == r.maxVersions {
				continue
			}
			n++
			cells = append(cells, c)
			seen[name] = append(seen[name], c.value)
		}
	}
	// A filter sees what the rest of the reading left.
	if r.filter != nil && !r.filter.pass(func(name string) []modelValue {
		if isKey(name) {
			return m.versions(row, row.key, name)
		}
		return seen[name]
	}) {
		return nil, false
	}
	// A row of which columns are asked for by name is there only with one of them.
	shown = len(r.columns) == 0 || len(cells) > 0 || slices.ContainsFunc(r.columns, isKey)
	if r.page != 0 { // takes columns away, never rows [GUESS]
		var names []string
		for _, c := range cells {
			if !slices.Contains(names, c.name) {
				names = append(names, c.name)
			}
		}
		names = names[min(r.offset, len(names)):]
		names = names[:min(r.page, len(names))]
		cells = slices.DeleteFunc(cells, func(c modelCell) bool { return !slices.Contains(names, c.name) })
	}
	return cells, shown
}

// modelFilter is a test of one column, or of tests.
type modelFilter struct {
	column    string
	compares  sdk.ComparatorType
	with      modelValue
	ifMissing bool // what is missing fails
	latest    bool // of all versions only the newest is tested

	operator sdk.LogicalOperator // 0: one column
	parts    []*modelFilter
}

func (f *modelFilter) sdk() sdk.ColumnFilter {
	if f.operator == 0 {
		c := sdk.NewSingleColumnCondition(f.column, f.compares, valueToSDK(f.with))
		c.FilterIfMissing, c.LatestVersionOnly = f.ifMissing, f.latest
		return c
	}
	c := sdk.NewCompositeColumnCondition(f.operator)
	for _, p := range f.parts {
		c.AddFilter(p.sdk())
	}
	return c
}

// pass asks for the values of columns, newest first.
func (f *modelFilter) pass(values func(name string) []modelValue) bool {
	switch f.operator {
	case sdk.LO_NOT:
		return !f.parts[0].pass(values)
	case sdk.LO_AND:
		return !slices.ContainsFunc(f.parts, func(p *modelFilter) bool { return !p.pass(values) })
	case sdk.LO_OR:
		return slices.ContainsFunc(f.parts, func(p *modelFilter) bool { return p.pass(values) })
	}
	have := values(f.column)
	if len(have) == 0 {
		return !f.ifMissing
	}
	if f.latest {
		have = have[:1]
	}
	return slices.ContainsFunc(have, func(v modelValue) bool {
		order, ordered := compareValues(v, f.with)
		if !ordered {
			return f.compares == sdk.CT_NOT_EQUAL // of two kinds [GUESS]
		}
		switch f.compares {
		case sdk.CT_EQUAL:
			return order == 0
		case sdk.CT_NOT_EQUAL:
			return order != 0
		case sdk.CT_GREATER_THAN:
			return order > 0
		case sdk.CT_GREATER_EQUAL:
			return order >= 0
		case sdk.CT_LESS_THAN:
			return order < 0
		default:
			return order <= 0
		}
	})
}

func (f *modelFilter) String() string {
	if f == nil {
		return "none"
	}
	if f.operator != 0 {
		return fmt.Sprintf("%d%v", f.operator, f.parts)
	}
	return fmt.Sprintf("(%s %d %T:%q missing=%v latest=%v)", f.column, f.compares, f.with, fmt.Sprint(f.with), f.ifMissing, f.latest)
}
