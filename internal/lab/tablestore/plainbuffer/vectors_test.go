package plainbuffer

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func integer(i int64) *Value        { return &Value{Kind: Integer, Int: i} }
func text(s string) *Value          { return &Value{Kind: String, Bytes: s} }
func key(name string, v Value) Cell { return Cell{Name: name, Value: &v} }

var keyK = []Cell{key("pk1", *text("k"))}

// vectors are what the vendor's Go client sends, but for the last ones: no
// client writes an extension, and those are put together by the grammar that
// the clients read by.
var vectors = []struct {
	name string
	hex  string
	rows []Row
}{
	{
		"put", "7500000001030403000000706b31050600000003010000006b0a2f0203040100000063050900000000010000000000000007e8030000000000000a6209db",
		[]Row{{Key: keyK, Columns: []Cell{{Name: "c", Value: integer(1), Time: 1000, HasTime: true}}}},
	},
	{
		"update", "7500000001030403000000706b31050600000003010000006b0a2f020304010000006106010ae70304010000006206030707000000000000000ad40304010000006e050900000000020000000000000006040a6803040100000078050200000002010a1b0978",
		[]Row{{Key: keyK, Columns: []Cell{
			{Name: "a", Op: DeleteAll},
			{Name: "b", Op: DeleteOne, Time: 7, HasTime: true},
			{Name: "n", Op: Increment, Value: integer(2)},
			{Name: "x", Value: &Value{Kind: Boolean, Int: 1}},
		}}},
	},
	{
		"delete", "7500000001030403000000706b31050600000003010000006b0a2f08096a",
		[]Row{{Key: keyK, Delete: true}},
	},
	{
		"get", "7500000001030403000000706b31050600000003010000006b0a2f096d",
		[]Row{{Key: keyK}},
	},
	{
		"inf min", "7500000001030403000000706b310501000000090ac80945",
		[]Row{{Key: []Cell{key("pk1", Value{Kind: InfMin})}}},
	},
	{
		"inf max", "7500000001030403000000706b3105010000000a0ac109f8",
		[]Row{{Key: []Cell{key("pk1", Value{Kind: InfMax})}}},
	},
	{
		"auto increment", "75000000010304010000007005060000000701000000ff0a790304010000007105010000000b0a860995",
		[]Row{{Key: []Cell{key("p", Value{Kind: Blob, Bytes: "\xff"}), key("q", Value{Kind: AutoIncrement})}}},
	},
	{
		"record", "7500000001030403000000706b31050600000003010000006b0a2f" +
			"0b180000000c130000000d010000000e02000000000000000f03000000" + "096d",
		[]Row{{Key: keyK, Ext: &Extension{Epoch: 1, Micros: 2, Index: 3}}},
	},
	{
		"record of a delete", "7500000001030403000000706b31050600000003010000006b0a2f08" +
			"0b180000000c130000000dffffffff0efeffffffffffffff0ffdffffff" + "096a",
		[]Row{{Key: keyK, Delete: true, Ext: &Extension{Epoch: -1, Micros: -2, Index: -3}}},
	},
	{"no rows", "75000000", nil},
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			b := unhex(t, v.hex)
			rows, err := Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			if len(rows) != len(v.rows) || len(rows) > 0 && !reflect.DeepEqual(rows, v.rows) {
				t.Errorf("decoded %+v, want %+v", rows, v.rows)
			}
			if got := Append([]byte("before"), v.rows...); !bytes.Equal(got[6:], b) || string(got[:6]) != "before" {
				t.Errorf("encoded %x, want %x", got, b)
			}
		})
	}
}
