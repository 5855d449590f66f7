package ots

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
)

// The SDK's reader drops what a cell says of its operation, so that the deletion
// of version 0 looks like that of all versions, and it looks at no checksum.

// plainRow is one row as it comes. Cells of reads are puts.
type plainRow struct {
	key   Key
	cells []Cell
	seq   *Sequence
}

// decoder reads rows of one answer. What is wrong stays in err, and after it
// every read gives zero, which is no tag.
type decoder struct {
	b     []byte
	err   error
	names map[string]string // one string for all cells of a column
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{ErrAnswer}, args...)...)
	}
	d.b = nil
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.fail("a row ends too early")
		return nil
	}
	out := d.b[:n:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) byte() byte {
	if b := d.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if b := d.take(4); len(b) == 4 {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if b := d.take(8); len(b) == 8 {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) block() []byte { return d.take(int(d.u32())) }

// decodeRows reads all rows of a buffer; an empty one has none.
func decodeRows(b []byte) ([]plainRow, error) {
	if len(b) == 0 {
		return nil, nil
	}
	d := decoder{b: b, names: map[string]string{}}
	return d.rows()
}

func (d *decoder) rows() ([]plainRow, error) {
	if d.u32() != plainHeader {
		d.fail("no rows")
	}
	var out []plainRow
	for len(d.b) > 0 {
		out = append(out, d.row())
	}
	if d.err != nil {
		return nil, d.err
	}
	return out, nil
}

// decodeRow reads a buffer that holds one row.
func (d *decoder) decodeRow(b []byte) (plainRow, error) {
	d.b = b
	rows, err := d.rows()
	if err == nil && len(rows) != 1 {
		err = fmt.Errorf("%w: %d rows in the place of one", ErrAnswer, len(rows))
	}
	if err != nil {
		return plainRow{}, err
	}
	return rows[0], nil
}

func (d *decoder) row() plainRow {
	var r plainRow
	var sum byte
	tag := d.byte()
	if tag == tablestore.TAG_ROW_PK {
		for tag = d.byte(); tag == tablestore.TAG_CELL; tag = d.byte() {
			c, cell := d.cell()
			if c.Op != Put || c.Version != noVersion || kindOf(c.Value) == 0 {
				d.fail("a key that is none")
			}
			r.key, sum = append(r.key, KeyColumn{c.Name, c.Value}), crcTable[sum^cell]
		}
	}
	if tag == tablestore.TAG_ROW_DATA {
		for tag = d.byte(); tag == tablestore.TAG_CELL; tag = d.byte() {
			c, cell := d.cell()
			if c.Version == noVersion {
				if c.Op == Put {
					d.fail("a value without a version")
				}
				c.Version = 0
			}
			r.cells, sum = append(r.cells, c), crcTable[sum^cell]
		}
	}
	deleted := byte(0)
	if tag == tablestore.TAG_DELETE_ROW_MARKER {
		deleted, tag = 1, d.byte()
	}
	if tag == tablestore.TAG_EXTENSION {
		r.seq = d.sequence()
		tag = d.byte()
	}
	if tag != tablestore.TAG_ROW_CHECKSUM || d.byte() != crcTable[sum^deleted] {
		d.fail("the checksum of a row does not fit")
	}
	return r
}

// noVersion is none that a cell can have.
const noVersion = math.MinInt64

// cell reads a cell after its tag, and its checksum.
func (d *decoder) cell() (Cell, byte) {
	c := Cell{Version: noVersion}
	if d.byte() != tablestore.TAG_CELL_NAME {
		d.fail("a cell without a name")
	}
	name := d.block()
	sum := crc(0, name)
	known, ok := d.names[string(name)]
	if !ok {
		known = string(name)
		d.names[known] = known
	}
	c.Name = known
	tag := d.byte()
	valued := tag == tablestore.TAG_CELL_VALUE
	if valued {
		value := d.block()
		sum = crc(sum, value)
		c.Value = d.value(value)
		tag = d.byte()
	}
	var op []byte
	if tag == tablestore.TAG_CELL_TYPE {
		op = d.take(1)
		tag = d.byte()
	}
	dated := tag == tablestore.TAG_CELL_TIMESTAMP
	if dated {
		at := d.take(8)
		sum = crc(sum, at)
		if len(at) == 8 {
			c.Version = int64(binary.LittleEndian.Uint64(at))
		}
		tag = d.byte()
	}
	sum = crc(sum, op)
	if tag != tablestore.TAG_CELL_CHECKSUM || d.byte() != sum {
		d.fail("the checksum of a cell does not fit")
		return c, sum
	}
	if dated && c.Version < 0 {
		d.fail("a version before 1970")
	}
	switch {
	case len(op) == 0 && valued:
	case len(op) == 0 && dated, len(op) == 1 && op[0] == tablestore.DELETE_ONE_VERSION && !valued && dated:
		c.Op = DeleteOne
	case len(op) == 0, op[0] == tablestore.DELETE_ALL_VERSION && !valued:
		c.Op, c.Version = DeleteAll, noVersion
	default:
		// An increment would come as its delta, which no replay could apply.
		d.fail("an operation %d on a column", op[0])
	}
	return c, sum
}

func (d *decoder) value(b []byte) Value {
	if len(b) == 0 {
		d.fail("a value without a type")
		return nil
	}
	kind, b := b[0], b[1:]
	switch {
	case kind == tablestore.VT_INTEGER && len(b) == 8:
		return int64(binary.LittleEndian.Uint64(b))
	case kind == tablestore.VT_DOUBLE && len(b) == 8:
		return math.Float64frombits(binary.LittleEndian.Uint64(b))
	case kind == tablestore.VT_BOOLEAN && len(b) == 1:
		return b[0] != 0
	case (kind == tablestore.VT_STRING || kind == tablestore.VT_BLOB) && len(b) >= 4 && uint64(binary.LittleEndian.Uint32(b)) == uint64(len(b)-4):
		if kind == tablestore.VT_STRING {
			return string(b[4:])
		}
		return append([]byte{}, b[4:]...)
	}
	d.fail("a value of type %d with %d bytes", kind, len(b))
	return nil
}

// sequence reads an extension after its tag; parts with other tags are skipped.
func (d *decoder) sequence() *Sequence {
	in := decoder{b: d.block(), err: d.err}
	var out *Sequence
	for len(in.b) > 0 {
		tag := in.byte()
		part := decoder{b: in.block(), err: in.err}
		if tag != tablestore.TAG_SEQ_INFO {
			continue
		}
		var s Sequence
		if part.byte() == tablestore.TAG_SEQ_INFO_EPOCH {
			s.Epoch = int32(part.u32())
		}
		if part.byte() == tablestore.TAG_SEQ_INFO_TS {
			s.Time = int64(part.u64())
		}
		if part.byte() == tablestore.TAG_SEQ_INFO_ROW_INDEX {
			s.Index = int32(part.u32())
		}
		if part.err != nil || len(part.b) != 0 {
			d.fail("a record whose place is not told")
		}
		out = &s
	}
	if in.err != nil {
		d.fail("a record whose place is not told")
	}
	return out
}
