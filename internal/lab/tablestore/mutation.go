package tablestore

import (
	"errors"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"pointsman/internal/lab/tablestore/plainbuffer"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
)

// mutation is a change of one row as it was asked for, judged as far as that
// can be done without the row.
type mutation struct {
	action  otsprotocol.ActionType
	key     []plainbuffer.Cell
	auto    int // the column of the key whose value is to be chosen, -1 if none
	code    []byte
	part    int // how much of code is the partition key
	columns []plainbuffer.Cell
	exist   otsprotocol.RowExistenceExpectation
	cond    filter
	ret     *otsprotocol.ReturnContent
	size    int // bytes that the change counts for
}

// parse reads a change of a row and judges what needs no table: in a batch the
// whole request is refused for it, by the tests of the SDK for Java
// (ParameterLegalityTest).
func parse(action otsprotocol.ActionType, encoded []byte, cond *otsprotocol.Condition, ret *otsprotocol.ReturnContent) (*mutation, *refusal) {
	in, err := plainbuffer.DecodeRow(encoded)
	if err != nil {
		return nil, broken(err)
	}
	m := &mutation{action: action, key: in.Key, columns: in.Columns, exist: cond.GetRowExistence(), ret: ret, auto: -1}
	if action == actionDelete && !in.Delete {
		return nil, invalid("Invalid request of delete row: missing RowDeleteMarker in request.")
	}
	if action != actionDelete && in.Delete {
		return nil, invalid("Invalid request of put/update row: unexpected RowDeleteMarker in request.")
	}
	if _, ok := otsprotocol.RowExistenceExpectation_name[int32(m.exist)]; !ok {
		return nil, invalid("Invalid row-existence expectation: %d.", m.exist)
	}
	if _, ok := otsprotocol.ReturnType_name[int32(ret.GetReturnType())]; !ok {
		return nil, invalid("Invalid return type: %d.", ret.GetReturnType())
	}
	ref := checkKeyCells(m.key, keyWrite)
	if ref != nil {
		return nil, ref
	}
	if m.cond, ref = parseCondition(cond.GetColumnCondition()); ref != nil {
		return nil, ref
	}
	if action == actionDelete && len(m.columns) > 0 {
		return nil, invalid("Invalid delete row request: unexpected cells in request.")
	}
	if n := len(m.columns); n > maxColumns {
		return nil, invalid("The number of attribute columns exceeds the limit, limit count: %d, column count: %d.", maxColumns, n)
	}
	m.size = keySize(m.key)
	for i := range m.columns {
		c := &m.columns[i]
		if ref = checkColumn(c, action); ref != nil {
			return nil, ref
		}
		if m.size += len(c.Name) + 8; c.Value != nil {
			m.size += valueSize(*c.Value)
		}
	}
	if m.size > maxWrite {
		name := "PutRow"
		if action == actionUpdate {
			name = "UpdateRow"
		}
		return nil, invalid("The total data size of %s request exceeds the limit, limit size: %d, data size: %d.", name, maxWrite, m.size)
	}
	m.code = keyCode(m.key)
	m.part = len(partitionCode(m.key))
	return m, nil
}

// judge says what is wrong with a change for this table; in a batch it is told
// of the row. now is the server's clock.
func (t *table) judge(m *mutation, now time.Time) *refusal {
	if ref := t.checkKey(m.key); ref != nil {
		return ref
	}
	if ref := t.checkAuto(m); ref != nil {
		return ref
	}
	opts := t.opts.Load()
	switch {
	case m.action == actionUpdate && len(m.columns) == 0:
		return invalid("Invalid update row request: missing cells in request.")
	case m.action == actionUpdate && !opts.AllowUpdate:
		return invalid("UpdateRow is not allowed on table %s: its allow_update is false.", t.Name)
	}
	for i := range m.columns {
		c := &m.columns[i]
		for _, k := range t.Keys {
			if c.Name == k.Name {
				return invalid("Duplicated attribute column name with primary key column: '%s'.", c.Name)
			}
		}
		if ref := checkVersion(c, opts, now); ref != nil {
			return ref
		}
	}
	return nil
}

// broken tells that a row on the wire is not one.
func broken(err error) *refusal {
	var e *plainbuffer.Error
	if errors.As(err, &e) {
		return invalid("%s", e.Message)
	}
	return invalid("data format is invalid.")
}

// checkAuto is what the vendor's pages say of a key whose last part the service
// chooses: a placeholder makes a new row without conditions; a value names a row
// that is there.
func (t *table) checkAuto(m *mutation) *refusal {
	for i, k := range t.Keys {
		if !k.Auto {
			continue
		}
		if m.key[i].Value.Kind != plainbuffer.AutoIncrement {
			if m.action != actionDelete && m.exist != otsprotocol.RowExistenceExpectation_EXPECT_EXIST {
				return invalid("Invalid expect: %s when modify a specific row for table with pk auto increment.", m.exist)
			}
			continue
		}
		switch {
		case m.action == actionDelete:
			return invalid("Invalid row to delete which with pk auto increment.")
		case m.exist != otsprotocol.RowExistenceExpectation_IGNORE:
			return invalid("Invalid expect:%s when modify row with pk auto increment.", m.exist)
		case m.cond != nil:
			return invalid("Can't set condition when modify row with pk auto increment.")
		}
		m.auto = i
	}
	return nil
}

// checkName judges the name of a column: any text of 1 to 255 bytes that does
// not begin with # (ParameterLegalityTest of the SDK for Java).
func checkName(name string) *refusal {
	if name == "" || len(name) > maxName || name[0] == '#' || !utf8.ValidString(name) {
		return invalid("Invalid column name: '%s'.", strings.ToValidUTF8(name[:min(len(name), maxWord)], "?"))
	}
	return nil
}

// maxWord is how much of a name is told back, in bytes.
const maxWord = 1024

func checkColumn(c *plainbuffer.Cell, action otsprotocol.ActionType) *refusal {
	if ref := checkName(c.Name); ref != nil {
		return ref
	}
	if action == actionPut {
		switch {
		case c.Op != plainbuffer.Put:
			return invalid("OpType cannot be given for column name:%s in PutRow.", c.Name)
		case c.Value == nil:
			return invalid("Invalid request of put row: find cells without values.")
		}
	}
	switch c.Op {
	case plainbuffer.DeleteAll, plainbuffer.DeleteOne:
		switch {
		case c.Value != nil:
			return invalid("Column value cannot be given when type is DELETE_ONE_VERSION,DELETE_ALL_VERSION.")
		case c.Op == plainbuffer.DeleteAll && c.HasTime:
			return invalid("Timestamp cannot be given when type is DELETE_ALL_VERSION.")
		case c.Op == plainbuffer.DeleteOne && !c.HasTime:
			return invalid("Timestamp must be given when type is DELETE_ONE_VERSION.")
		}
	case plainbuffer.Increment:
		switch {
		case c.Value == nil:
			return invalid("Invalid cell: %s. Reason: missing value.", c.Name)
		case c.Value.Kind != plainbuffer.Integer:
			return invalid("%s is an invalid type for the increment of column '%s', expect: VT_INTEGER.", c.Value.Kind, c.Name)
		case c.HasTime:
			return invalid("Timestamp cannot be given when type is INCREMENT.")
		}
	default:
		if c.Value == nil {
			return invalid("Invalid cell: %s. Reason: missing value.", c.Name)
		}
		if ref := checkValue(c.Name, *c.Value); ref != nil {
			return ref
		}
	}
	if c.HasTime && (c.Time < 0 || c.Time >= maxVersionMS) {
		return invalid("Timestamp must be in range [0, INT64_MAX/1000).")
	}
	return nil
}

// checkValue judges what is written to a column or compared with it.
func checkValue(name string, v plainbuffer.Value) *refusal {
	switch v.Kind {
	case plainbuffer.Integer, plainbuffer.Boolean:
	case plainbuffer.Double:
		if math.IsNaN(v.Double) {
			return invalid("NaN can't be set to double value.")
		}
		if math.IsInf(v.Double, 0) {
			return invalid("Infinity can't be set to double value.")
		}
	case plainbuffer.String, plainbuffer.Blob:
		if n := len(v.Bytes); n > maxValue {
			return invalid("The length of attribute column: '%s' exceeds the MaxLength:%d with CurrentLength:%d.", name, maxValue, n)
		}
		if v.Kind == plainbuffer.String && !utf8.ValidString(v.Bytes) {
			return invalid("Value of column '%s' must be UTF8 encoding.", name)
		}
	default:
		return invalid("%s is an invalid type for the attribute column.", v.Kind)
	}
	return nil
}

// checkVersion judges a version that the client names. What may be written is
// [max(now - deviation, now - TTL), now + deviation), in seconds (help page
// "Data versions and TTL"); what may be deleted is any.
func checkVersion(c *plainbuffer.Cell, o *tableOptions, now time.Time) *refusal {
	if !c.HasTime || c.Op == plainbuffer.DeleteOne {
		return nil
	}
	if o.UpdateFullRow {
		return invalid("Timestamp cannot be given for column name:%s in a table with updateFullRow.", c.Name)
	}
	s, at := now.Unix(), c.Time/1000
	least := s - o.Deviation
	if o.TTL >= 0 {
		least = max(least, s-int64(o.TTL))
	}
	if at < least || at >= s+o.Deviation {
		return invalid("Invalid timestamp. Cell:%s.", c.Name)
	}
	return nil
}
