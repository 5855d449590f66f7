package tablestore

import (
	"encoding/binary"
	"slices"

	"pointsman/internal/lab/tablestore/plainbuffer"
)

// matrix is the other encoding of the rows of a GetRange: all names once, then
// each row as one value a name, without versions (aliyun-tablestore-go-sdk
// v1.9.3, tablestore/matrix.go, which is the reader of it).
type matrix struct {
	keys    []string
	columns map[string]int // the place of a column in values
	rows    []matrixRow
}

type matrixRow struct {
	key    []plainbuffer.Value
	values []plainbuffer.Value // by place; the zero kind of a missing one is Null
}

const (
	matrixVersion   = 0x304d5253
	matrixChecksum  = 1
	matrixTagRow    = 2
	matrixRowCount  = 3
	matrixWholeKeys = 10
)

func newMatrix(keys []keyColumn) *matrix {
	m := &matrix{columns: map[string]int{}}
	for _, k := range keys {
		m.keys = append(m.keys, k.Name)
	}
	return m
}

func (m *matrix) add(key []plainbuffer.Cell, r row) {
	var out matrixRow
	for _, c := range key {
		out.key = append(out.key, *c.Value)
	}
	if len(key) < len(m.keys) { // some columns of the key only
		m.keys = m.keys[:0]
		for _, c := range key {
			m.keys = append(m.keys, c.Name)
		}
	}
	last := ""
	for _, c := range r {
		if c.name == last {
			continue // an older version
		}
		last = c.name
		at, ok := m.columns[c.name]
		if !ok {
			at = len(m.columns)
			m.columns[c.name] = at
		}
		for len(out.values) <= at {
			out.values = append(out.values, plainbuffer.Value{Kind: plainbuffer.Null})
		}
		out.values[at] = c.v
	}
	m.rows = append(m.rows, out)
}

func (m *matrix) bytes() []byte {
	names := make([]string, 0, len(m.columns))
	for n := range m.columns {
		names = append(names, n)
	}
	slices.Sort(names)
	b := make([]byte, 20)
	for _, n := range slices.Concat(m.keys, names) {
		b = append(binary.LittleEndian.AppendUint16(b, uint16(len(n))), n...)
	}
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)))
	b = append(b, matrixWholeKeys, 1, matrixRowCount)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(m.rows)))
	binary.LittleEndian.PutUint32(b[0:], matrixVersion)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
	binary.LittleEndian.PutUint32(b[12:], uint32(len(m.keys)))
	binary.LittleEndian.PutUint32(b[16:], uint32(len(names)))
	for _, r := range m.rows {
		b = append(b, matrixTagRow)
		for _, v := range r.key {
			b = plainbuffer.AppendValue(b, v)
		}
		for _, n := range names {
			v := plainbuffer.Value{Kind: plainbuffer.Null}
			if at := m.columns[n]; at < len(r.values) {
				v = r.values[at]
			}
			b = plainbuffer.AppendValue(b, v)
		}
	}
	return append(b, matrixChecksum, 0)
}
