package tablestore

import (
	"bytes"
	"cmp"
	"math"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"pointsman/internal/lab/tablestore/plainbuffer"
)

var someText = rapid.OneOf(
	rapid.StringOfN(rapid.SampledFrom([]rune{0, 1, 'a', 'b', 0x7F, 'é', '日'}), 0, 4, -1),
	rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF}), 0, 4), func(b []byte) string { return string(b) }),
)

var someInt = rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{math.MinInt64, -1, 0, 1, 255, 256, math.MaxInt64}))

// The code of a key stands where the key does, bounds included, and gives the
// key back.
func TestCodesCompareAsKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := &table{}
		for i := range rapid.IntRange(1, 4).Draw(t, "columns") {
			tab.Keys = append(tab.Keys, keyColumn{Name: string(rune('a' + i)), Type: rapid.SampledFrom([]otsprotocol.PrimaryKeyType{
				otsprotocol.PrimaryKeyType_INTEGER, otsprotocol.PrimaryKeyType_STRING, otsprotocol.PrimaryKeyType_BINARY,
			}).Draw(t, "type")})
		}
		draw := func() (cells []plainbuffer.Cell, bound bool) {
			for _, k := range tab.Keys {
				v := plainbuffer.Value{Kind: kindOf(k.Type)}
				switch rapid.IntRange(0, 9).Draw(t, "bound") {
				case 0:
					v, bound = plainbuffer.Value{Kind: plainbuffer.InfMin}, true
				case 1:
					v, bound = plainbuffer.Value{Kind: plainbuffer.InfMax}, true
				default:
					if v.Kind == plainbuffer.Integer {
						v.Int = someInt.Draw(t, "int")
					} else {
						v.Bytes = someText.Draw(t, "text")
					}
				}
				cells = append(cells, plainbuffer.Cell{Name: k.Name, Value: &v})
			}
			return cells, bound
		}
		a, bound := draw()
		b, _ := draw()
		if rapid.Bool().Draw(t, "alike") {
			copy(b, a[:rapid.IntRange(0, len(a)).Draw(t, "columns that are alike")])
		}
		want := slices.CompareFunc(a, b, func(a, b plainbuffer.Cell) int { return compareValues(*a.Value, *b.Value) })
		if got := bytes.Compare(keyCode(a), keyCode(b)); got != want {
			t.Fatalf("codes compare as %d, keys as %d", got, want)
		}
		if !bytes.HasPrefix(keyCode(a), partitionCode(a)) {
			t.Fatal("the code of the partition key is no prefix")
		}
		back, err := tab.decodeKey(keyCode(a))
		if bound != (err != nil) {
			t.Fatalf("%v, a bound: %v", err, bound)
		}
		if err == nil && !reflect.DeepEqual(back, a) {
			t.Fatalf("%v came back as %v", a, back)
		}
	})
}

// compareValues is the order of keys, told once more and simply.
func compareValues(a, b plainbuffer.Value) int {
	rank := func(v plainbuffer.Value) int {
		switch v.Kind {
		case plainbuffer.InfMin:
			return -1
		case plainbuffer.InfMax:
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Int, b.Int), cmp.Compare(a.Bytes, b.Bytes))
}

func someRow(t *rapid.T) row {
	r := row{}
	for range rapid.IntRange(0, 12).Draw(t, "cells") {
		v := rapid.SampledFrom([]plainbuffer.Value{
			{Kind: plainbuffer.Integer, Int: math.MinInt64},
			{Kind: plainbuffer.Integer, Int: math.MaxInt64},
			{Kind: plainbuffer.Integer},
			{Kind: plainbuffer.Double, Double: -0.5},
			{Kind: plainbuffer.Boolean, Int: 1},
			{Kind: plainbuffer.Boolean},
			{Kind: plainbuffer.String},
			{Kind: plainbuffer.String, Bytes: "é\x00"},
			{Kind: plainbuffer.Blob, Bytes: "\xff\x00"},
		}).Draw(t, "value")
		r = r.put(cell{rapid.SampledFrom([]string{"a", "ab", "b", "é", "c"}).Draw(t, "name"), rapid.Int64Range(0, 4).Draw(t, "version"), v})
	}
	return r
}

// A row is sorted whatever the order of the puts, and comes back from the store.
func TestRowsAreSortedAndComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := someRow(t)
		for i := 1; i < len(r); i++ {
			if r[i-1].name > r[i].name || r[i-1].name == r[i].name && r[i-1].time <= r[i].time {
				t.Fatalf("not sorted: %v", r)
			}
		}
		back, err := decodeRow(r.encode(nil), row{{name: "of the row before"}})
		if err != nil || !slices.Equal(back, r) {
			t.Fatalf("%v came back as %v, %v", r, back, err)
		}
		n := int32(rapid.IntRange(1, 3).Draw(t, "versions"))
		kept := slices.Clone(r).trim(n)
		for _, c := range r {
			newer := int32(0)
			for _, o := range r {
				if o.name == c.name && o.time > c.time {
					newer++
				}
			}
			if slices.Contains(kept, c) != (newer < n) {
				t.Fatalf("of %v are kept %v", r, kept)
			}
		}
	})
}

// What is stored may be broken, and is an error then.
func FuzzStoredRow(f *testing.F) {
	f.Add([]byte{rowFormat})
	f.Add(row{{"a", 5, plainbuffer.Value{Kind: plainbuffer.String, Bytes: "x"}}, {"a", 4, plainbuffer.Value{Kind: plainbuffer.Double, Double: 1}}}.encode(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRow(b, nil)
		if err != nil {
			return
		}
		again, err := decodeRow(r.encode(nil), nil)
		if err != nil || len(again) != len(r) {
			t.Errorf("%v, then %v, %v", r, again, err)
		}
	})
}

func FuzzKeyCode(f *testing.F) {
	tab := &table{tableRecord: tableRecord{Keys: []keyColumn{
		{Name: "p", Type: otsprotocol.PrimaryKeyType_STRING}, {Name: "q", Type: otsprotocol.PrimaryKeyType_INTEGER}, {Name: "r", Type: otsprotocol.PrimaryKeyType_BINARY},
	}}}
	f.Add(keyCode([]plainbuffer.Cell{
		{Value: &plainbuffer.Value{Kind: plainbuffer.String, Bytes: "a\x00b"}}, {Value: &plainbuffer.Value{Kind: plainbuffer.Integer, Int: -7}}, {Value: &plainbuffer.Value{Kind: plainbuffer.Blob}},
	}))
	f.Fuzz(func(t *testing.T, b []byte) {
		key, err := tab.decodeKey(b)
		if err == nil && !bytes.Equal(keyCode(key), b) {
			t.Errorf("%x is read as %v, whose code is %x", b, key, keyCode(key))
		}
	})
}
