package plainbuffer

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Append appends to dst the header and rows.
//
// It, AppendRow and AppendValue panic if a kind or an op is none of the
// constants, or a text has 2 GiB, which the clients take for a negative length:
// such are faults of the caller, and no input leads to them.
func Append(dst []byte, rows ...Row) []byte {
	n := 4
	for i := range rows {
		n += size(&rows[i])
	}
	dst = binary.LittleEndian.AppendUint32(slices.Grow(dst, n), header)
	for i := range rows {
		dst = appendRow(dst, &rows[i])
	}
	return dst
}

// AppendRow appends row to dst, without the header: to a buffer that Append
// began.
func AppendRow(dst []byte, row Row) []byte {
	return appendRow(slices.Grow(dst, size(&row)), &row)
}

// AppendValue appends the type byte and the payload of v to dst, as a filter
// has them: without the length that goes before a value in a cell.
func AppendValue(dst []byte, v Value) []byte {
	dst = append(dst, byte(v.Kind))
	switch v.Kind {
	case Integer:
		dst = binary.LittleEndian.AppendUint64(dst, uint64(v.Int))
	case Double:
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v.Double))
	case Boolean:
		b := byte(0)
		if v.Int != 0 {
			b = 1
		}
		dst = append(dst, b)
	case String, Blob:
		dst = appendText(dst, v.Bytes)
	case Null, InfMin, InfMax, AutoIncrement:
	default:
		panic(fmt.Sprintf("plainbuffer: value of unknown kind 0x%02x", byte(v.Kind)))
	}
	return dst
}

func appendRow(dst []byte, row *Row) []byte {
	// The vendor's writers begin every row with the tag of the key, and some
	// readers demand it, also of a row without a key.
	dst = append(dst, tagKey)
	crc := byte(0)
	for i := range row.Key {
		dst = appendCell(dst, &row.Key[i])
		crc = tables[0][crc^dst[len(dst)-1]]
	}
	if len(row.Columns) > 0 {
		dst = append(dst, tagColumns)
	}
	for i := range row.Columns {
		dst = appendCell(dst, &row.Columns[i])
		crc = tables[0][crc^dst[len(dst)-1]]
	}
	if row.Delete {
		dst = append(dst, tagDelete)
	}
	if e := row.Ext; e != nil {
		dst = binary.LittleEndian.AppendUint32(append(dst, tagExtension), extensionLen)
		dst = binary.LittleEndian.AppendUint32(append(dst, tagSequence), sequenceLen)
		dst = binary.LittleEndian.AppendUint32(append(dst, tagEpoch), uint32(e.Epoch))
		dst = binary.LittleEndian.AppendUint64(append(dst, tagMicros), uint64(e.Micros))
		dst = binary.LittleEndian.AppendUint32(append(dst, tagIndex), uint32(e.Index))
	}
	return append(dst, tagRowChecksum, finish(crc, row.Delete))
}

// finish ends the checksum of a row.
func finish(crc byte, del bool) byte {
	if del {
		return tables[0][crc^1]
	}
	return tables[0][crc]
}

// appendCell appends c, and its checksum as the last byte.
func appendCell(dst []byte, c *Cell) []byte {
	dst = appendText(append(dst, tagCell, tagName), c.Name)
	crc := checksum(0, c.Name)
	if c.Value != nil {
		dst = append(dst, tagValue, 0, 0, 0, 0)
		from := len(dst)
		dst = AppendValue(dst, *c.Value)
		binary.LittleEndian.PutUint32(dst[from-4:], uint32(len(dst)-from))
		crc = checksum(crc, dst[from:])
	}
	switch c.Op {
	case Put:
	case DeleteAll, DeleteOne, Increment:
		dst = append(dst, tagOp, byte(c.Op))
	default:
		panic(fmt.Sprintf("plainbuffer: unknown op 0x%02x", byte(c.Op)))
	}
	if c.HasTime {
		dst = binary.LittleEndian.AppendUint64(append(dst, tagTime), uint64(c.Time))
		crc = checksum(crc, dst[len(dst)-8:])
	}
	if c.Op != Put {
		crc = tables[0][crc^byte(c.Op)]
	}
	return append(dst, tagCellChecksum, crc)
}

func appendText(dst []byte, s string) []byte {
	if len(s) > math.MaxInt32-5 {
		panic(fmt.Sprintf("plainbuffer: text of %d bytes", len(s)))
	}
	return append(binary.LittleEndian.AppendUint32(dst, uint32(len(s))), s...)
}

// size is at least the number of bytes that appendRow appends.
func size(row *Row) int {
	n := 5
	if row.Ext != nil {
		n += 5 + extensionLen
	}
	for _, part := range [...][]Cell{row.Key, row.Columns} {
		for i := range part {
			n += 8 + len(part[i].Name) + 11
			if v := part[i].Value; v != nil {
				n += 5 + 9 + len(v.Bytes)
			}
		}
	}
	return n
}
