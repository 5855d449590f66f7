package ots

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"pgregory.net/rapid"

	"pointsman/internal/lab/tablestore/plainbuffer"
)

func anyKey() *rapid.Generator[Key] {
	return rapid.Custom(func(t *rapid.T) Key {
		var k Key
		for i := range rapid.IntRange(0, 4).Draw(t, "columns") {
			k = append(k, KeyColumn{string(rune('a' + i)), anyOf(t, i)})
		}
		return k
	})
}

// anyOf draws a value of the type that the column has in all keys.
func anyOf(t *rapid.T, column int) Value {
	short := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 2, 'a', 0xfe, 0xff}), 0, 4)
	switch column {
	case 0:
		return string(short.Draw(t, "string"))
	case 1:
		return rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{0, -1, 1, math.MinInt64, math.MaxInt64})).Draw(t, "int")
	case 2:
		return append([]byte{}, short.Draw(t, "bytes")...)
	}
	return string(short.Draw(t, "string"))
}

// TestKeyEncode: bytes sort as keys do, and give them back.
func TestKeyEncode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyKey().Draw(t, "a"), anyKey().Draw(t, "b")
		ea, eb := a.Encode(), b.Encode()
		if got, want := bytes.Compare(ea, eb), a.Compare(b); got != want {
			t.Fatalf("%v and %v: bytes %d, keys %d", a, b, got, want)
		}
		if a.Compare(b) != -b.Compare(a) {
			t.Fatalf("%v and %v", a, b)
		}
		if back, err := DecodeKey(ea); err != nil || back.Compare(a) != 0 || len(a) > 0 && !reflect.DeepEqual(back, a) {
			t.Fatalf("%v, %v, want %v", back, err, a)
		}
	})
}

func TestKeyString(t *testing.T) {
	k := Key{{"id", "a\nb"}, {"n", int64(-4)}, {"b", []byte{0xff, 0}}, {"x", nil}}
	if got, want := k.String(), `id="a\nb", n=-4, b=0xff00, x=?`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	long := Key{{"id", string(bytes.Repeat([]byte{'x'}, 1024))}}
	if n := len(long.String()); n > 80 {
		t.Errorf("%d bytes", n)
	}
}

// FuzzDecodeKey: nothing but what Encode made is a key.
func FuzzDecodeKey(f *testing.F) {
	f.Add(Key{{"id", "a\x00"}, {"n", int64(-7)}, {"b", []byte{0, 1}}}.Encode())
	f.Add([]byte{kindString, 0, 0xff, 0, 1, 'a', 0, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		k, err := DecodeKey(in)
		if err != nil {
			return
		}
		if !bytes.Equal(k.Encode(), in) {
			t.Fatalf("%x is %v, which is %x", in, k, k.Encode())
		}
	})
}

// FuzzDecodeRows: what the lab's decoder refuses is refused, and what both take
// is the same; what is read and is a row can be written and read again.
func FuzzDecodeRows(f *testing.F) {
	f.Add(Mutation{"t", PutRow, orders("k", 1), []Cell{{Name: "c", Value: int64(1), Version: 1000}}}.plain())
	f.Add(Mutation{"t", UpdateRow, orders("k", 1), []Cell{
		{Name: "a", Op: DeleteAll},
		{Name: "b", Op: DeleteOne, Version: 0},
		{Name: "d", Value: 0.5, Version: 3},
		{Name: "e", Value: true, Version: 3},
		{Name: "f", Value: []byte{1}, Version: 3},
	}}.plain())
	f.Add(Mutation{"t", DeleteRow, orders("k", 1), nil}.plain())
	f.Add(recordBytes(f, Sequence{1, 2, 3}))
	f.Fuzz(func(t *testing.T, in []byte) {
		rows, err := decodeRows(in)
		if err != nil {
			if !errors.Is(err, ErrAnswer) {
				t.Fatal(err)
			}
			return
		}
		if len(in) == 0 {
			return
		}
		want, err := plainbuffer.Decode(in)
		if err != nil {
			var e *plainbuffer.Error
			if errors.As(err, &e) && e.Unwrap() == nil {
				return // of judgement, as a boolean that is 2
			}
			t.Fatalf("%x is taken, against %v", in, err)
		}
		if len(rows) != len(want) {
			t.Fatalf("%d rows, want %d", len(rows), len(want))
		}
		for i, r := range rows {
			if len(r.key) != len(want[i].Key) || len(r.cells) != len(want[i].Columns) || (r.seq != nil) != (want[i].Ext != nil) {
				t.Fatalf("%+v, want %+v", r, want[i])
			}
			m := Mutation{"t", UpdateRow, r.key, r.cells}
			if m.check() != nil {
				continue
			}
			again, err := decodeRows(m.plain())
			if err != nil || !sameCells(again[0].cells, r.cells) || again[0].key.Compare(r.key) != 0 {
				t.Fatalf("%+v, %v, want %+v", again, err, r)
			}
		}
	})
}

// sameCells: NaN is what it is.
func sameCells(a, b []Cell) bool {
	return slices.EqualFunc(a, b, func(a, b Cell) bool {
		x, isFloat := a.Value.(float64)
		y, too := b.Value.(float64)
		if isFloat && too {
			return a.Name == b.Name && a.Version == b.Version && math.Float64bits(x) == math.Float64bits(y)
		}
		return reflect.DeepEqual(a, b)
	})
}

func recordBytes(t testing.TB, s Sequence) []byte {
	row := plainbuffer.Row{Key: []plainbuffer.Cell{{Name: "id", Value: &plainbuffer.Value{Kind: plainbuffer.String, Bytes: "k"}}}}
	row.Ext = &plainbuffer.Extension{Epoch: s.Epoch, Micros: s.Time, Index: s.Index}
	return plainbuffer.Append(nil, row)
}

// TestEncodesAsTheSDK: the same bytes wherever the SDK can say it.
func TestEncodesAsTheSDK(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Mutation{Table: "t", Key: orders(rapid.String().Draw(t, "id"), rapid.Int64().Draw(t, "n"))}
		put := &sdk.PutRowChange{TableName: "t", PrimaryKey: sdkKey(m.Key)}
		update := &sdk.UpdateRowChange{TableName: "t", PrimaryKey: sdkKey(m.Key)}
		m.Action = Action(rapid.IntRange(1, 3).Draw(t, "action"))
		n := rapid.IntRange(1, 5).Draw(t, "cells")
		if m.Action == DeleteRow {
			n = 0
		}
		for range n {
			c := Cell{Name: rapid.StringN(1, 5, 10).Draw(t, "name"), Version: rapid.Int64Range(1, 1<<50).Draw(t, "version")}
			if m.Action == UpdateRow {
				c.Op = CellOp(rapid.IntRange(0, 2).Draw(t, "op"))
			}
			switch c.Op {
			case DeleteAll:
				c.Version = 0
				update.DeleteColumn(c.Name)
			case DeleteOne:
				update.DeleteColumnWithTimestamp(c.Name, c.Version)
			default:
				c.Value = rapid.OneOf(
					rapid.Map(rapid.Int64(), func(v int64) Value { return v }), rapid.Map(rapid.Float64(), func(v float64) Value { return v }),
					rapid.Map(rapid.Bool(), func(v bool) Value { return v }), rapid.Map(rapid.String(), func(v string) Value { return v }),
					rapid.Map(rapid.SliceOf(rapid.Byte()), func(v []byte) Value { return v }),
				).Draw(t, "value")
				update.PutColumnWithTimestamp(c.Name, c.Value, c.Version)
				put.AddColumnWithTimestamp(c.Name, c.Value, c.Version)
			}
			m.Cells = append(m.Cells, c)
		}
		var want []byte
		switch m.Action {
		case PutRow:
			want = put.Serialize()
		case UpdateRow:
			want = update.Serialize()
		case DeleteRow:
			want = (&sdk.DeleteRowChange{PrimaryKey: sdkKey(m.Key)}).Serialize()
		}
		got := m.plain()
		if !bytes.Equal(got, want) {
			t.Fatalf("%+v\n%x\n%x", m, got, want)
		}
		if m.Size() < len(got) {
			t.Fatalf("%d bytes, said to be %d", len(got), m.Size())
		}
	})
}

// TestTruncatedRows: no beginning of an answer is an answer.
func TestTruncatedRows(t *testing.T) {
	whole := Mutation{"t", UpdateRow, orders("k", 1), []Cell{{Name: "a", Op: DeleteAll}, {Name: "b", Op: DeleteOne, Version: 5}, {Name: "c", Value: "x", Version: 6}}}.plain()
	for n := 1; n < len(whole); n++ {
		if n == 4 {
			continue // a header and no row
		}
		if _, err := decodeRows(whole[:n]); !errors.Is(err, ErrAnswer) {
			t.Errorf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	for i := range whole {
		bad := slices.Clone(whole)
		bad[i] ^= 0x10
		rows, err := decodeRows(bad)
		if err == nil {
			t.Errorf("byte %d changed: %+v", i, rows)
		}
	}
}
