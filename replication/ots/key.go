package ots

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Compare orders keys of one table as the service does: column by column,
// integers by value, strings and binaries by bytes. A key that is the beginning
// of another is before it.
func (k Key) Compare(o Key) int {
	for i := range min(len(k), len(o)) {
		if c := compareValues(k[i].Value, o[i].Value); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(k), len(o))
}

// compareValues orders integers before strings before binaries; one column of a
// table has one type.
func compareValues(a, b Value) int {
	switch x := a.(type) {
	case int64:
		if y, ok := b.(int64); ok {
			return cmp.Compare(x, y)
		}
	case string:
		if y, ok := b.(string); ok {
			return strings.Compare(x, y)
		}
	case []byte:
		if y, ok := b.([]byte); ok {
			return bytes.Compare(x, y)
		}
	}
	return cmp.Compare(kindOf(a), kindOf(b))
}

// Kinds of a column of an encoded key. Their order is that of compareValues.
const (
	kindInteger = iota + 1
	kindString
	kindBinary
)

func kindOf(v Value) byte {
	switch v.(type) {
	case int64:
		return kindInteger
	case string:
		return kindString
	case []byte:
		return kindBinary
	}
	return 0
}

// String is for people: name=value of each column; what is not printable is
// escaped, and long values are cut.
func (k Key) String() string {
	var b strings.Builder
	for i, c := range k {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(c.Name)
		b.WriteByte('=')
		switch v := c.Value.(type) {
		case int64:
			b.WriteString(strconv.FormatInt(v, 10))
		case string:
			b.WriteString(strconv.Quote(cut(v)))
		case []byte:
			fmt.Fprintf(&b, "0x%x", cut(string(v)))
		default:
			b.WriteByte('?')
		}
	}
	return b.String()
}

func cut(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// Encode makes bytes of a key that sort as [Key.Compare] does and are equal only
// if the keys are. A nil key has none.
//
//	key    := column*
//	column := kind value name
//	value  := 8 bytes, big-endian, sign flipped | escaped
//	name   := escaped
//	escaped: 00 is 00 ff; 00 01 ends it
//
// Names come after the value of their column: they are the same in all keys of
// one table, so that values alone decide.
func (k Key) Encode() []byte {
	var size int
	for _, c := range k {
		size += 16 + len(c.Name)
		switch v := c.Value.(type) {
		case string:
			size += len(v)
		case []byte:
			size += len(v)
		}
	}
	out := make([]byte, 0, size)
	for _, c := range k {
		out = append(out, kindOf(c.Value))
		switch v := c.Value.(type) {
		case int64:
			out = binary.BigEndian.AppendUint64(out, uint64(v)^(1<<63))
		case string:
			out = appendEscaped(out, v)
		case []byte:
			out = appendEscaped(out, v)
		}
		out = appendEscaped(out, c.Name)
	}
	return out
}

func appendEscaped[T string | []byte](out []byte, v T) []byte {
	for i := range len(v) {
		out = append(out, v[i])
		if v[i] == 0 {
			out = append(out, 0xff)
		}
	}
	return append(out, 0, 1)
}

// errKey: bytes are no encoded key.
var errKey = errors.New("no encoded key")

// DecodeKey is the reverse of [Key.Encode]. Nothing but what that made is taken.
func DecodeKey(in []byte) (Key, error) {
	var k Key
	for len(in) > 0 {
		kind := in[0]
		in = in[1:]
		var c KeyColumn
		switch kind {
		case kindInteger:
			if len(in) < 8 {
				return nil, errKey
			}
			c.Value = int64(binary.BigEndian.Uint64(in) ^ (1 << 63))
			in = in[8:]
		case kindString, kindBinary:
			v, rest, ok := cutEscaped(in)
			if !ok {
				return nil, errKey
			}
			if in = rest; kind == kindString {
				c.Value = string(v)
			} else {
				c.Value = v
			}
		default:
			return nil, errKey
		}
		name, rest, ok := cutEscaped(in)
		if !ok {
			return nil, errKey
		}
		c.Name, in = string(name), rest
		k = append(k, c)
	}
	return k, nil
}

func cutEscaped(in []byte) (v, rest []byte, ok bool) {
	v = []byte{}
	for i := 0; i < len(in); i++ {
		if in[i] != 0 {
			v = append(v, in[i])
			continue
		}
		if i++; i == len(in) {
			return nil, nil, false
		}
		switch in[i] {
		case 0xff:
			v = append(v, 0)
		case 1:
			return v, in[i+1:], true
		default:
			return nil, nil, false
		}
	}
	return nil, nil, false
}

// Size is what a mutation takes of the 4 MB of a batch, about and never less:
// names, values, versions and what the wire puts around them.
func (m Mutation) Size() int {
	const around = 32
	n := 2 * around
	for _, c := range m.Key {
		n += around + len(c.Name) + sizeOf(c.Value)
	}
	for _, c := range m.Cells {
		n += around + len(c.Name) + sizeOf(c.Value)
	}
	return n
}

func sizeOf(v Value) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []byte:
		return len(v)
	}
	return 8
}

// finite: the service refuses NaN and infinities.
func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }
