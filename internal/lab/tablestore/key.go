package tablestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"unicode/utf8"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"pointsman/internal/lab/tablestore/plainbuffer"
)

// maxKeyValue is the longest value of a primary key column, in bytes.
const maxKeyValue = 1024

// The code of a primary key is that of its columns, one after the other; codes
// compare as bytes the way the keys compare. A column is a byte that says where
// it stands, and, if it is a value, the value: an integer as 8 bytes, the sign
// flipped, the greatest first; a text with 00 doubled to 00 FF and 00 01 at its
// end. No code of a column is the beginning of another, so the code of the
// first column, which is the partition key, is a prefix of the code of the row.
const (
	codeMin   = 0x00
	codeValue = 0x80
	codeMax   = 0xFF
)

func appendKeyValue(dst []byte, v plainbuffer.Value) []byte {
	switch v.Kind {
	case plainbuffer.InfMin:
		return append(dst, codeMin)
	case plainbuffer.InfMax:
		return append(dst, codeMax)
	case plainbuffer.Integer:
		return binary.BigEndian.AppendUint64(append(dst, codeValue), uint64(v.Int)^1<<63)
	}
	dst = append(dst, codeValue)
	for i := 0; i < len(v.Bytes); i++ {
		if dst = append(dst, v.Bytes[i]); v.Bytes[i] == 0 {
			dst = append(dst, 0xFF)
		}
	}
	return append(dst, 0, 1)
}

// keyCode is the code of a whole key.
func keyCode(cells []plainbuffer.Cell) []byte {
	n := 0
	for _, c := range cells {
		n += 11 + len(c.Value.Bytes)
	}
	dst := make([]byte, 0, n)
	for _, c := range cells {
		dst = appendKeyValue(dst, *c.Value)
	}
	return dst
}

// partitionCode is the part of a row's code that is its partition key.
func partitionCode(cells []plainbuffer.Cell) []byte { return appendKeyValue(nil, *cells[0].Value) }

var errKeyCode = errors.New("the code of a key is broken")

// decodeKey reads the code of a row's key.
func (t *table) decodeKey(code []byte) ([]plainbuffer.Cell, error) {
	var r keyReader
	return r.read(t, code)
}

// keyReader reads one code after the other into the same memory.
type keyReader struct {
	cells  []plainbuffer.Cell
	values []plainbuffer.Value
}

// read reads a code; what it returns is good until it is called again.
func (r *keyReader) read(t *table, code []byte) ([]plainbuffer.Cell, error) {
	if r.cells == nil {
		r.cells = make([]plainbuffer.Cell, len(t.Keys))
		r.values = make([]plainbuffer.Value, len(t.Keys))
		for i, k := range t.Keys {
			r.cells[i] = plainbuffer.Cell{Name: k.Name, Value: &r.values[i]}
			r.values[i].Kind = kindOf(k.Type)
		}
	}
	for i := range r.values {
		if len(code) == 0 || code[0] != codeValue {
			return nil, errKeyCode
		}
		code = code[1:]
		if r.values[i].Kind == plainbuffer.Integer {
			if len(code) < 8 {
				return nil, errKeyCode
			}
			r.values[i].Int = int64(binary.BigEndian.Uint64(code) ^ 1<<63)
			code = code[8:]
			continue
		}
		var ok bool
		if r.values[i].Bytes, code, ok = decodeText(code); !ok {
			return nil, errKeyCode
		}
	}
	if len(code) != 0 {
		return nil, errKeyCode
	}
	return r.cells, nil
}

// decodeText reads the code of a text, and returns what is after it.
func decodeText(code []byte) (text string, rest []byte, ok bool) {
	end := bytes.IndexByte(code, 0)
	if end < 0 || end+1 >= len(code) {
		return "", nil, false
	}
	if code[end+1] == 1 {
		return string(code[:end]), code[end+2:], true
	}
	var b []byte
	for end >= 0 && end+1 < len(code) && code[end+1] == 0xFF {
		b = append(b, code[:end+1]...)
		code = code[end+2:]
		end = bytes.IndexByte(code, 0)
	}
	if end < 0 || end+1 >= len(code) || code[end+1] != 1 {
		return "", nil, false
	}
	return string(append(b, code[:end]...)), code[end+2:], true
}

func kindOf(t otsprotocol.PrimaryKeyType) plainbuffer.Kind {
	switch t {
	case otsprotocol.PrimaryKeyType_INTEGER:
		return plainbuffer.Integer
	case otsprotocol.PrimaryKeyType_STRING:
		return plainbuffer.String
	}
	return plainbuffer.Blob
}

// keyUse is what a key is for: it says which values stand for positions.
type keyUse int

const (
	keyRead  keyUse = iota // one row, by values
	keyWrite               // a value that the service chooses is allowed
	keyRange               // a bound
)

// checkKeyCells judges a key as far as that needs no table.
func checkKeyCells(cells []plainbuffer.Cell, use keyUse) *refusal {
	if len(cells) == 0 {
		return invalid("Cell data broken, PK is empty.")
	}
	for _, c := range cells {
		switch {
		case c.Name == "":
			return invalid("No name is given for primary key.")
		case c.Value == nil:
			return invalid("No value is given for primary key name:%s.", clip(c.Name))
		case c.Op != plainbuffer.Put:
			return invalid("OpType cannot be given for primary key name:%s.", clip(c.Name))
		case c.HasTime:
			return invalid("Timestamp cannot be given for primary key name:%s.", clip(c.Name))
		}
		switch c.Value.Kind {
		case plainbuffer.Integer, plainbuffer.String, plainbuffer.Blob:
		case plainbuffer.AutoIncrement:
			if use != keyWrite {
				return invalid("PKAutoIncr can't be used for read operations.")
			}
		case plainbuffer.Null:
			return invalid("Cell data broken, PK value cannot be NULL, name: %s.", clip(c.Name))
		default:
			if use != keyRange || c.Value.Kind != plainbuffer.InfMin && c.Value.Kind != plainbuffer.InfMax {
				return invalid("%s is an invalid type for the primary key.", c.Value.Kind)
			}
		}
		if n := len(c.Value.Bytes); n > maxKeyValue {
			return invalid("The length of primary key column: '%s' exceeds the MaxLength:%d with CurrentLength:%d.", clip(c.Name), maxKeyValue, n)
		}
		if c.Value.Kind == plainbuffer.String && !utf8.ValidString(c.Value.Bytes) {
			return invalid("Value of column '%s' must be UTF8 encoding.", clip(c.Name))
		}
	}
	return nil
}

// checkKey compares a key, which checkKeyCells has passed, with the schema of
// the table.
func (t *table) checkKey(cells []plainbuffer.Cell) *refusal {
	if len(cells) != len(t.Keys) {
		return refuse(codeInvalidPK, "Validate PK size fail. Input: %d, Meta: %d.", len(cells), len(t.Keys))
	}
	for i, k := range t.Keys {
		c := cells[i]
		if c.Name != k.Name {
			return refuse(codeInvalidPK, "Validate PK name fail. Input: %s, Meta: %s.", clip(c.Name), k.Name)
		}
		switch kind := c.Value.Kind; {
		case kind == plainbuffer.InfMin, kind == plainbuffer.InfMax, kind == plainbuffer.AutoIncrement && k.Auto:
		case kind != kindOf(k.Type):
			return refuse(codeInvalidPK, "Validate PK type fail. Input: %s, Meta: %s.", kind, kindOf(k.Type))
		}
	}
	return nil
}

// keySize is what a key counts for in sizes: names and values.
func keySize(cells []plainbuffer.Cell) int {
	n := 0
	for _, c := range cells {
		n += len(c.Name)
		if c.Value != nil {
			n += valueSize(*c.Value)
		}
	}
	return n
}

// valueSize is what a value counts for: 8 bytes a number, 1 a boolean, a text
// its length (help page "Billing", size of a row).
func valueSize(v plainbuffer.Value) int {
	switch v.Kind {
	case plainbuffer.Integer, plainbuffer.Double:
		return 8
	case plainbuffer.Boolean:
		return 1
	}
	return len(v.Bytes)
}
