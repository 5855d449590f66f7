package plainbuffer

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/aliyun/aliyun-tablestore-go-sdk/tunnel/protocol"
	"pgregory.net/rapid"
)

// theirRows is what the vendor's reader of stream records understood, in the
// words of readable.
func theirRows(rows []*protocol.PlainBufferRow) (all []any) {
	for _, r := range rows {
		all = append(all, "row", r.HasDeleteMarker)
		if e := r.Extension; e != nil {
			all = append(all, "ext", e.Epoch, e.Timestamp, e.RowIndex)
		}
		for _, part := range [][]*protocol.PlainBufferCell{r.PrimaryKey, r.Cells} {
			all = append(all, "part", len(part))
			for _, c := range part {
				all = append(all, fmt.Sprintf("%q", c.CellName), c.CellType, c.HasCellTimestamp, c.CellTimestamp, theirValue(c.CellValue))
			}
		}
	}
	return all
}

func theirValue(v *protocol.ColumnValue) string {
	if v == nil {
		return "none"
	}
	switch x := v.Value.(type) {
	case int64:
		return fmt.Sprintf("int %d", x)
	case float64:
		return fmt.Sprintf("double 0x%x", math.Float64bits(x))
	case bool:
		return fmt.Sprintf("bool %t", x)
	case string:
		return fmt.Sprintf("string %q", x)
	case []byte:
		return fmt.Sprintf("blob %q", x)
	}
	switch v.Type {
	case protocol.ColumnType_MIN:
		return "min"
	case protocol.ColumnType_MAX:
		return "max"
	}
	return "unknown to it"
}

// readable is what the vendor's reader can understand of rows: it knows no
// increments, and neither NULL nor AUTO_INCREMENT.
func readable(rows []Row) (all []any) {
	for _, r := range rows {
		all = append(all, "row", r.Delete)
		if e := r.Ext; e != nil {
			all = append(all, "ext", e.Epoch, e.Micros, e.Index)
		}
		for _, part := range [][]Cell{r.Key, r.Columns} {
			all = append(all, "part", len(part))
			for _, c := range part {
				op := byte(c.Op)
				if c.Op == Increment {
					op = 0
				}
				all = append(all, fmt.Sprintf("%q", c.Name), op, c.HasTime, c.Time, ourValue(c.Value))
			}
		}
	}
	return all
}

func ourValue(v *Value) string {
	if v == nil {
		return "none"
	}
	switch v.Kind {
	case Integer:
		return fmt.Sprintf("int %d", v.Int)
	case Double:
		return fmt.Sprintf("double 0x%x", math.Float64bits(v.Double))
	case Boolean:
		return fmt.Sprintf("bool %t", v.Int != 0)
	case String:
		return fmt.Sprintf("string %q", v.Bytes)
	case Blob:
		return fmt.Sprintf("blob %q", v.Bytes)
	case InfMin:
		return "min"
	case InfMax:
		return "max"
	}
	return "unknown to it"
}

// TestVendorReads: the vendor's reader, which demands an extension of stream
// records and looks at every tag, reads what is written here.
func TestVendorReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(rowGen(), 0, 4).Draw(t, "rows")
		b := Append(nil, rows...)
		theirs, err := protocol.ReadRowsWithHeader(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		if got, want := fmt.Sprint(theirRows(theirs)), fmt.Sprint(readable(rows)); got != want {
			t.Fatalf("%x\nthe vendor reads %s, we %s", b, got, want)
		}
	})
}

// forThem gives a value of a column as the vendor's client wants it.
func forThem(v Value) any {
	switch v.Kind {
	case Integer:
		return v.Int
	case Double:
		return v.Double
	case Boolean:
		return v.Int != 0
	case String:
		return v.Bytes
	}
	return []byte(v.Bytes)
}

func columnValue(t *rapid.T) Value {
	return valueGen().Filter(func(v Value) bool { return v.Kind <= String || v.Kind == Blob }).Draw(t, "value")
}

// vendorKey draws a key, as it is here and as it is in the vendor's client. In
// a put and an update that client writes a bound as AUTO_INCREMENT.
func vendorKey(t *rapid.T, bounds bool) (ours []Cell, theirs *tablestore.PrimaryKey) {
	theirs = new(tablestore.PrimaryKey)
	for range rapid.IntRange(1, 4).Draw(t, "keys") {
		name := rapid.String().Draw(t, "key")
		v := valueGen().Filter(func(v Value) bool {
			return v.Kind != Double && v.Kind != Boolean && v.Kind != Null && (bounds || v.Kind != InfMin && v.Kind != InfMax)
		}).Draw(t, "key value")
		switch v.Kind {
		case InfMin:
			theirs.AddPrimaryKeyColumnWithMinValue(name)
		case InfMax:
			theirs.AddPrimaryKeyColumnWithMaxValue(name)
		case AutoIncrement:
			theirs.AddPrimaryKeyColumnWithAutoIncrement(name)
		default:
			theirs.AddPrimaryKeyColumn(name, forThem(v))
		}
		ours = append(ours, key(name, v))
	}
	return ours, theirs
}

// TestVendorWrites: what the vendor's client sends is, byte for byte, what is
// written here, and is read as what it was told.
func TestVendorWrites(t *testing.T) {
	check := func(t *rapid.T, sent []byte, want Row) {
		t.Helper()
		if got := Append(nil, want); !bytes.Equal(got, sent) {
			t.Fatalf("%+v is\n%x, by the vendor\n%x", want, got, sent)
		}
		if got, err := DecodeRow(sent); err != nil || !same([]Row{got}, []Row{want}) {
			t.Fatalf("%x is\n%+v, %v, sent was\n%+v", sent, got, err, want)
		}
	}
	t.Run("put", rapid.MakeCheck(func(t *rapid.T) {
		var row Row
		change := &tablestore.PutRowChange{TableName: "t"}
		row.Key, change.PrimaryKey = vendorKey(t, false)
		for range rapid.IntRange(0, 4).Draw(t, "columns") {
			v := columnValue(t)
			c := Cell{Name: rapid.String().Draw(t, "name"), Value: &v}
			if rapid.Bool().Draw(t, "has time") { // a time of 0 is none to it
				c.Time, c.HasTime = rapid.Int64Range(1, math.MaxInt64).Draw(t, "time"), true
				change.AddColumnWithTimestamp(c.Name, forThem(v), c.Time)
			} else {
				change.AddColumn(c.Name, forThem(v))
			}
			row.Columns = append(row.Columns, c)
		}
		check(t, change.Serialize(), row)
	}))
	t.Run("update", rapid.MakeCheck(func(t *rapid.T) {
		var row Row
		change := &tablestore.UpdateRowChange{TableName: "t"}
		row.Key, change.PrimaryKey = vendorKey(t, false)
		for range rapid.IntRange(0, 4).Draw(t, "columns") {
			c := Cell{Name: rapid.String().Draw(t, "name")}
			switch c.Op = rapid.SampledFrom([]Op{Put, DeleteAll, DeleteOne, Increment}).Draw(t, "op"); c.Op {
			case Put:
				v := columnValue(t)
				c.Value = &v
				if rapid.Bool().Draw(t, "has time") {
					c.Time, c.HasTime = rapid.Int64Range(1, math.MaxInt64).Draw(t, "time"), true
					change.PutColumnWithTimestamp(c.Name, forThem(v), c.Time)
				} else {
					change.PutColumn(c.Name, forThem(v))
				}
			case DeleteAll:
				change.DeleteColumn(c.Name)
			case DeleteOne:
				c.Time, c.HasTime = rapid.Int64Range(1, math.MaxInt64).Draw(t, "time"), true
				change.DeleteColumnWithTimestamp(c.Name, c.Time)
			case Increment:
				c.Value = integer(rapid.Int64().Draw(t, "delta"))
				change.IncrementColumn(c.Name, c.Value.Int)
			}
			row.Columns = append(row.Columns, c)
		}
		check(t, change.Serialize(), row)
	}))
	t.Run("delete", rapid.MakeCheck(func(t *rapid.T) {
		row := Row{Delete: true}
		change := &tablestore.DeleteRowChange{TableName: "t"}
		row.Key, change.PrimaryKey = vendorKey(t, true)
		check(t, change.Serialize(), row)
	}))
	t.Run("key", rapid.MakeCheck(func(t *rapid.T) {
		var row Row
		var pk *tablestore.PrimaryKey
		row.Key, pk = vendorKey(t, true)
		check(t, pk.Build(false), row)
	}))
	t.Run("value", rapid.MakeCheck(func(t *rapid.T) {
		v := columnValue(t)
		sent := (&tablestore.ColumnValue{Type: map[Kind]tablestore.ColumnType{
			Integer: tablestore.ColumnType_INTEGER, Double: tablestore.ColumnType_DOUBLE, Boolean: tablestore.ColumnType_BOOLEAN,
			String: tablestore.ColumnType_STRING, Blob: tablestore.ColumnType_BINARY,
		}[v.Kind], Value: forThem(v)}).WriteCellValueWithoutLengthPrefix()
		if got := AppendValue(nil, v); !bytes.Equal(got, sent) {
			t.Fatalf("%+v is %x, by the vendor %x", v, got, sent)
		}
	}))
}

// TestVendorFilter: c == 5, as the vendor's client sends it. Its fields 1, 2, 4
// and 5 are around the value, which is field 3; all that in a filter of type 1.
func TestVendorFilter(t *testing.T) {
	sent := tablestore.NewSingleColumnCondition("c", tablestore.CT_EQUAL, int64(5)).Serialize()
	value := AppendValue(nil, *integer(5))
	want := append(append(unhex(t, "0801121408011201631a09"), value...), unhex(t, "20002800")...)
	if !bytes.Equal(sent, want) {
		t.Errorf("%x, want %x", sent, want)
	}
}
