package ots

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
)

// errImpossible: a row that no service takes so.
var errImpossible = errors.New("impossible row")

func impossible(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errImpossible}, args...)...)
}

// check says why a row cannot be sent as it is; nil if it can.
func (m Mutation) check() error {
	if m.Table == "" {
		return impossible("no table is named")
	}
	if err := m.Key.check(); err != nil {
		return err
	}
	switch m.Action {
	case PutRow:
	case UpdateRow:
		if len(m.Cells) == 0 {
			return impossible("an update without cells")
		}
	case DeleteRow:
		if len(m.Cells) > 0 {
			return impossible("a deletion with cells")
		}
	default:
		return impossible("an unknown action")
	}
	for _, c := range m.Cells {
		switch {
		case c.Name == "":
			return impossible("a column without a name")
		case c.Op == Put:
			if err := checkValue(c.Name, c.Value); err != nil {
				return err
			}
		case m.Action == PutRow, c.Op > DeleteAll:
			return impossible("column %q is neither put nor deleted", c.Name)
		}
		if c.Op != DeleteAll && c.Version < 0 {
			return impossible("column %q has the version %d, before 1970", c.Name, c.Version)
		}
	}
	return nil
}

func (k Key) check() error {
	if len(k) == 0 {
		return impossible("no primary key")
	}
	for _, c := range k {
		if c.Name == "" || kindOf(c.Value) == 0 {
			return impossible("column %q of the primary key is no integer, string or binary", c.Name)
		}
	}
	return nil
}

func checkValue(name string, v Value) error {
	switch v := v.(type) {
	case int64, bool, string, []byte:
		return nil
	case float64:
		if finite(v) {
			return nil
		}
		return impossible("column %q is no finite number", name)
	}
	return impossible("column %q has a value of type %T", name, v)
}

// The SDK cannot say a put of version 0 (it takes that for none) and encodes
// byte by byte; this is the same form (PlainBuffer), by hand.

const plainHeader = 0x75

var crcTable = func() (t [256]byte) {
	for i := range t {
		x := byte(i)
		for range 8 {
			if x&0x80 != 0 {
				x = x<<1 ^ 0x07
			} else {
				x <<= 1
			}
		}
		t[i] = x
	}
	return t
}()

func crc[T string | []byte](sum byte, p T) byte {
	for i := range len(p) {
		sum = crcTable[sum^p[i]]
	}
	return sum
}

// plain encodes a checked mutation.
func (m Mutation) plain() []byte {
	out := make([]byte, 0, m.Size())
	out = binary.LittleEndian.AppendUint32(out, plainHeader)
	var row byte
	out = append(out, tablestore.TAG_ROW_PK)
	for _, c := range m.Key {
		out, row = appendCell(out, row, Cell{Name: c.Name, Value: c.Value}, false)
	}
	if len(m.Cells) > 0 {
		out = append(out, tablestore.TAG_ROW_DATA)
		for _, c := range m.Cells {
			out, row = appendCell(out, row, c, true)
		}
	}
	deleted := byte(0)
	if m.Action == DeleteRow {
		out = append(out, tablestore.TAG_DELETE_ROW_MARKER)
		deleted = 1
	}
	return append(out, tablestore.TAG_ROW_CHECKSUM, crcTable[row^deleted])
}

// appendCell appends a cell and takes its checksum into that of the row. On the
// wire the operation is before the version, in the checksum after it.
func appendCell(out []byte, row byte, c Cell, attribute bool) ([]byte, byte) {
	out = append(out, tablestore.TAG_CELL, tablestore.TAG_CELL_NAME)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(c.Name)))
	out = append(out, c.Name...)
	sum := crc(0, c.Name)
	if c.Op == Put {
		out = append(out, tablestore.TAG_CELL_VALUE)
		size := len(out)
		out = append(out, 0, 0, 0, 0)
		value := len(out)
		out = appendValue(out, c.Value)
		binary.LittleEndian.PutUint32(out[size:], uint32(len(out)-value))
		sum = crc(sum, out[value:])
	}
	switch c.Op {
	case DeleteOne:
		out = append(out, tablestore.TAG_CELL_TYPE, tablestore.DELETE_ONE_VERSION)
	case DeleteAll:
		out = append(out, tablestore.TAG_CELL_TYPE, tablestore.DELETE_ALL_VERSION)
	}
	if attribute && c.Op != DeleteAll {
		out = append(out, tablestore.TAG_CELL_TIMESTAMP)
		at := len(out)
		out = binary.LittleEndian.AppendUint64(out, uint64(c.Version))
		sum = crc(sum, out[at:])
	}
	switch c.Op {
	case DeleteOne:
		sum = crcTable[sum^tablestore.DELETE_ONE_VERSION]
	case DeleteAll:
		sum = crcTable[sum^tablestore.DELETE_ALL_VERSION]
	}
	return append(out, tablestore.TAG_CELL_CHECKSUM, sum), crcTable[row^sum]
}

func appendValue(out []byte, v Value) []byte {
	switch v := v.(type) {
	case int64:
		return binary.LittleEndian.AppendUint64(append(out, tablestore.VT_INTEGER), uint64(v))
	case float64:
		return binary.LittleEndian.AppendUint64(append(out, tablestore.VT_DOUBLE), math.Float64bits(v))
	case bool:
		b := byte(0)
		if v {
			b = 1
		}
		return append(out, tablestore.VT_BOOLEAN, b)
	case string:
		out = binary.LittleEndian.AppendUint32(append(out, tablestore.VT_STRING), uint32(len(v)))
		return append(out, v...)
	case []byte:
		out = binary.LittleEndian.AppendUint32(append(out, tablestore.VT_BLOB), uint32(len(v)))
		return append(out, v...)
	}
	return out
}
