package tablestore

import (
	"cmp"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"

	"pointsman/internal/lab/tablestore/plainbuffer"
)

// cell is one version of a column.
type cell struct {
	name string
	time int64 // the version, ms
	v    plainbuffer.Value
}

// row is the attribute columns of a row: sorted by name, the newest version
// first. An empty row is a row; none is nil.
type row []cell

// order says where the version of a column stands among those of a row.
func order(c cell, name string, version int64) int {
	if n := cmp.Compare(c.name, name); n != 0 {
		return n
	}
	return cmp.Compare(version, c.time)
}

func (r row) find(name string, version int64) (int, bool) {
	return slices.BinarySearchFunc(r, 0, func(c cell, _ int) int { return order(c, name, version) })
}

// column is the place of all versions of a column.
func (r row) column(name string) (from, to int) {
	from, _ = r.find(name, math.MaxInt64)
	for to = from; to < len(r) && r[to].name == name; to++ {
	}
	return from, to
}

// put adds a version; a version that is there is overwritten.
func (r row) put(c cell) row {
	i, found := r.find(c.name, c.time)
	if found {
		r[i] = c
		return r
	}
	return slices.Insert(r, i, c)
}

// trim drops the versions of each column that are too many.
func (r row) trim(versions int32) row {
	n := int32(0)
	out := r[:0]
	for i, c := range r {
		if i > 0 && c.name != r[i-1].name {
			n = 0
		}
		// A cell moves to the front or stays, so that r[i-1] above is still
		// what it was.
		if n++; n <= versions {
			out = append(out, c)
		}
	}
	return out
}

// live drops the versions whose time to live is over, and those that are more
// than the table keeps since its options were changed. A row that has lost all
// of its versions so is none.
func (r row) live(o *tableOptions, now time.Time) row {
	if len(r) == 0 {
		return r
	}
	if len(r) > int(o.MaxVersions) {
		r = r.trim(o.MaxVersions)
	}
	if o.TTL < 0 {
		return r
	}
	least := (now.Unix() - int64(o.TTL)) // v is dead when now - v/1000 > ttl
	out := r[:0]
	for _, c := range r {
		if c.time/1000 >= least {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// size is what the columns count for: name, value and 8 bytes of version each.
func (r row) size() int {
	n := 0
	for _, c := range r {
		n += len(c.name) + 8 + valueSize(c.v)
	}
	return n
}

// cells are the columns as the wire has them. They point into r.
func (r row) cells() []plainbuffer.Cell {
	out := make([]plainbuffer.Cell, len(r))
	for i := range r {
		out[i] = plainbuffer.Cell{Name: r[i].name, Value: &r[i].v, Time: r[i].time, HasTime: true}
	}
	return out
}

// A row is stored as one value: the byte 1, then each version as the length of
// the name and the name (0 and nothing for one more version of the same
// column), the version, the kind and the value.
const rowFormat = 1

func (r row) encode(dst []byte) []byte {
	dst = append(dst, rowFormat)
	for i, c := range r {
		if i > 0 && c.name == r[i-1].name {
			dst = append(dst, 0)
		} else {
			dst = append(binary.AppendUvarint(dst, uint64(len(c.name))), c.name...)
		}
		dst = append(binary.AppendVarint(dst, c.time), byte(c.v.Kind))
		switch c.v.Kind {
		case plainbuffer.Integer, plainbuffer.Boolean:
			dst = binary.AppendVarint(dst, c.v.Int)
		case plainbuffer.Double:
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(c.v.Double))
		default:
			dst = append(binary.AppendUvarint(dst, uint64(len(c.v.Bytes))), c.v.Bytes...)
		}
	}
	return dst
}

var errRow = errors.New("a stored row is broken")

// decodeRow reads a stored row into the memory of old, which may be nil. Its
// names and texts share one copy of b.
func decodeRow(b []byte, old row) (row, error) {
	s := string(b)
	r := old[:0]
	if len(s) == 0 || s[0] != rowFormat {
		return nil, errRow
	}
	if r == nil {
		r = row{}
	}
	for at := 1; at < len(s); {
		var c cell
		n, w := uvarint(s[at:])
		if at += w; w == 0 || n > uint64(len(s)-at) {
			return nil, errRow
		}
		if n == 0 && len(r) > 0 {
			c.name = r[len(r)-1].name
		}
		if n > 0 {
			c.name = s[at : at+int(n)]
			at += int(n)
		}
		u, w := uvarint(s[at:])
		if at += w; w == 0 || at >= len(s) {
			return nil, errRow
		}
		c.time = unzigzag(u)
		c.v.Kind = plainbuffer.Kind(s[at])
		at++
		if c.v.Kind == plainbuffer.Double {
			if len(s)-at < 8 {
				return nil, errRow
			}
			var bits uint64
			for i := range 8 {
				bits |= uint64(s[at+i]) << (8 * i)
			}
			c.v.Double = math.Float64frombits(bits)
			at += 8
			r = append(r, c)
			continue
		}
		u, w = uvarint(s[at:])
		if at += w; w == 0 {
			return nil, errRow
		}
		switch c.v.Kind {
		case plainbuffer.Integer, plainbuffer.Boolean:
			c.v.Int = unzigzag(u)
		default:
			if u > uint64(len(s)-at) {
				return nil, errRow
			}
			c.v.Bytes = s[at : at+int(u)]
			at += int(u)
		}
		r = append(r, c)
	}
	return r, nil
}

// uvarint is binary.Uvarint of a string; width 0 if there is none.
func uvarint(s string) (u uint64, width int) {
	for i := range min(len(s), binary.MaxVarintLen64) {
		u |= uint64(s[i]&0x7F) << (7 * i)
		if s[i] < 0x80 {
			return u, i + 1
		}
	}
	return 0, 0
}

func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }
