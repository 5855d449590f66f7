package replication

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"pointsman/replication/ots"
)

// A record as bytes, so that it can be written later as it was:
//
//	record := version action epoch time index key cells before
//	key    := length, as ots.Key.Encode writes it
//	cells  := count cell*
//	cell   := name op version [kind value]     the value of a put alone
//
// Numbers are varints, doubles their 8 bytes, texts have their length before
// them.
const recordVersion = 1

// Kinds of a value.
const (
	kindInteger = iota + 1
	kindDouble
	kindFalse
	kindTrue
	kindString
	kindBinary
)

var errRecord = errors.New("a record that was kept is broken")

func appendRecord(b []byte, r ots.Record) ([]byte, error) {
	b = append(b, recordVersion, byte(r.Action))
	b = binary.AppendVarint(b, int64(r.Seq.Epoch))
	b = binary.AppendVarint(b, r.Seq.Time)
	b = binary.AppendVarint(b, int64(r.Seq.Index))
	b = appendText(b, r.Key.Encode())
	for _, cells := range [][]ots.Cell{r.Cells, r.Before} {
		b = binary.AppendUvarint(b, uint64(len(cells)))
		for _, c := range cells {
			b = append(appendText(b, c.Name), byte(c.Op))
			b = binary.AppendVarint(b, c.Version)
			if c.Op != ots.Put {
				continue
			}
			switch v := c.Value.(type) {
			case int64:
				b = binary.AppendVarint(append(b, kindInteger), v)
			case float64:
				b = binary.LittleEndian.AppendUint64(append(b, kindDouble), math.Float64bits(v))
			case bool:
				if v {
					b = append(b, kindTrue)
				} else {
					b = append(b, kindFalse)
				}
			case string:
				b = appendText(append(b, kindString), v)
			case []byte:
				b = appendText(append(b, kindBinary), v)
			default:
				return nil, fmt.Errorf("column %q has a value of type %T", c.Name, v)
			}
		}
	}
	return b, nil
}

func appendText[T string | []byte](b []byte, text T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// decodeRecord reads what appendRecord wrote, and nothing else.
func decodeRecord(b []byte) (ots.Record, error) {
	d := recordReader{b: b}
	if v := d.byte(); v != recordVersion && !d.broken {
		return ots.Record{}, fmt.Errorf("version %d of a record: %w", v, errVersion)
	}
	r := ots.Record{Action: ots.Action(d.byte())}
	r.Seq = ots.Sequence{Epoch: d.int32(), Time: d.varint(), Index: d.int32()}
	key, err := ots.DecodeKey(d.text())
	r.Key = key
	r.Cells, r.Before = d.cells(), d.cells()
	if err != nil || d.broken || len(d.b) > 0 || r.Action < ots.PutRow || r.Action > ots.DeleteRow {
		return ots.Record{}, errRecord
	}
	return r, nil
}

// recordReader reads from the front of b. What it returns means nothing once it
// is broken.
type recordReader struct {
	b      []byte
	broken bool
}

func (d *recordReader) byte() byte {
	if len(d.b) == 0 {
		d.broken = true
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *recordReader) varint() int64 {
	v, n := binary.Varint(d.b)
	return v + d.take(n)
}

func (d *recordReader) int32() int32 {
	v := d.varint()
	if v < math.MinInt32 || v > math.MaxInt32 {
		d.broken = true
	}
	return int32(v)
}

func (d *recordReader) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	return v + uint64(d.take(n))
}

// take goes on by n bytes; below 1 there is no number.
func (d *recordReader) take(n int) (zero int64) {
	if n <= 0 {
		d.broken, n = true, len(d.b)
	}
	d.b = d.b[n:]
	return 0
}

func (d *recordReader) text() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.broken, d.b = true, nil
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *recordReader) cells() []ots.Cell {
	n := d.uvarint()
	if n > uint64(len(d.b)) { // a cell has more than a byte
		d.broken = true
	}
	if d.broken || n == 0 {
		return nil
	}
	var cells []ots.Cell
	for range n {
		c := ots.Cell{Name: string(d.text()), Op: ots.CellOp(d.byte()), Version: d.varint()}
		if c.Op > ots.DeleteAll {
			d.broken = true
		}
		if c.Op == ots.Put {
			c.Value = d.value()
		}
		if d.broken {
			return nil
		}
		cells = append(cells, c)
	}
	return cells
}

func (d *recordReader) value() ots.Value {
	switch d.byte() {
	case kindInteger:
		return d.varint()
	case kindDouble:
		if len(d.b) < 8 {
			break
		}
		bits := binary.LittleEndian.Uint64(d.b)
		d.b = d.b[8:]
		return math.Float64frombits(bits)
	case kindFalse:
		return false
	case kindTrue:
		return true
	case kindString:
		return string(d.text())
	case kindBinary:
		return append([]byte{}, d.text()...)
	}
	d.broken = true
	return nil
}
