package plainbuffer

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestTruncations: no prefix of a sound buffer is one, except where a row ends.
func TestTruncations(t *testing.T) {
	for _, v := range vectors {
		b := unhex(t, v.hex)
		for n := range b {
			rows, err := Decode(b[:n:n])
			if n == 4 {
				if err != nil || len(rows) != 0 {
					t.Errorf("%s: header alone: %v, %v", v.name, rows, err)
				}
				continue
			}
			if !errors.Is(err, ErrTruncated) || rows != nil {
				t.Errorf("%s: %d of %d bytes: %v, %v", v.name, n, len(b), rows, err)
			}
			if _, err := DecodeRow(b[:n:n]); !errors.Is(err, ErrTruncated) {
				t.Errorf("%s: %d of %d bytes as one row: %v", v.name, n, len(b), err)
			}
		}
	}
	two := Append(nil, Row{Key: keyK}, Row{Key: keyK, Delete: true})
	one := len(Append(nil, Row{Key: keyK}))
	for n := range two {
		if _, err := Decode(two[:n:n]); (err == nil) != (n == 4 || n == one) {
			t.Errorf("%d of %d bytes of two rows: %v", n, len(two), err)
		}
	}
}

// TestFlippedBits: what a checksum covers cannot change by a bit.
func TestFlippedBits(t *testing.T) {
	for _, v := range vectors {
		b := unhex(t, v.hex)
		for i := range b {
			for bit := range 8 {
				c := bytes.Clone(b)
				c[i] ^= 1 << bit
				rows, err := Decode(c)
				if err != nil || len(v.rows) == 0 {
					continue
				}
				// Nothing covers the extension, not even that it is there.
				for j := range rows {
					rows[j].Ext = v.rows[j].Ext
				}
				if v.rows[0].Ext == nil || !reflect.DeepEqual(rows, v.rows) {
					t.Errorf("%s: bit %d of byte %d is not missed: %+v", v.name, bit, i, rows)
				}
			}
		}
	}
}

// cellHex is a buffer of one row, which holds one cell in its key: the checksum
// of the cell is taken from the caller, that of the row computed from it.
func cellHex(t *testing.T, cell string) []byte {
	b := unhex(t, "7500000001"+cell)
	return append(b, tagRowChecksum, finish(tables[0][b[len(b)-1]], false))
}

// valueHex is a buffer of one cell with this value.
func valueHex(t *testing.T, value string) []byte {
	v := unhex(t, value)
	cell := binary.LittleEndian.AppendUint32([]byte{3, 4, 1, 0, 0, 0, 'a', 5}, uint32(len(v)))
	cell = append(append(cell, v...), tagCellChecksum, checksum(checksum(0, "a"), v))
	return cellHex(t, hex.EncodeToString(cell))
}

func TestErrors(t *testing.T) {
	const general = "data format is invalid."
	h := func(s string) []byte { return unhex(t, s) }
	record := vectors[7].hex
	for _, c := range []struct {
		name, text, message string
		cause               error
		b                   []byte
	}{
		{"nothing", "data ends too early: header at byte 0", general, ErrTruncated, nil},
		{"header", "header 0x01000075 instead of 0x00000075 at byte 0", "Cell data broken, mismatch header, actual: 16777333, expect: 117.", nil, h("75000001")},
		{"no row", "tag 0x0a instead of a row at byte 4", "Cell data broken, mismatch tag, actual tag(10), expect(1).", nil, h("750000000a")},
		{"row of nothing", "tag 0x09 instead of a row at byte 4", "Cell data broken, mismatch tag, actual tag(9), expect(1).", nil, h("750000000900")},
		{"delete marker alone", "tag 0x08 instead of a row at byte 4", "Cell data broken, mismatch tag, actual tag(8), expect(1).", nil, h("75000000080900")},
		{"key without name", "tag 0x05 instead of the name of a cell at byte 6", "Cell data broken, mismatch tag, actual tag(5), expect(4).", nil, h("75000000010305")},
		{"column without name", "tag 0x0a instead of the name of a cell at byte 6", "Cell data broken, attr has no name.", nil, h("7500000002030a")},
		{"long name", "data ends too early: name at byte 11", general, ErrTruncated, h("75000000010304ffffffff")},
		{"long value", "data ends too early: value at byte 17", general, ErrTruncated, h("75000000010304010000006105ffffffff0000")},
		{"op after timestamp", "tag 0x06 instead of the checksum of the cell at byte 21", "Cell data broken, cell is not end with checksum[0x0A] tag.", nil, cellHex(t, "0304010000006107e80300000000000006010a00")},
		{"two values", "tag 0x05 instead of the checksum of the cell at byte 18", "Cell data broken, cell is not end with checksum[0x0A] tag.", nil, cellHex(t, "030401000000610501000000090501000000090a00")},
		{"no cell checksum", "tag 0x09 instead of the checksum of the cell at byte 12", "Cell data broken, cell is not end with checksum[0x0A] tag.", nil, h("7500000001030401000000610900")},
		{"no row checksum", "tag 0x01 instead of the checksum of the row at byte 27", "Cell data broken, row is not end with checksum tag.", nil, h("7500000001030403000000706b31050600000003010000006b0a2f" + "01" + "09")},
		{"columns before key", "tag 0x01 instead of the checksum of the row at byte 5", "Cell data broken, row is not end with checksum tag.", nil, h("75000000020109")},
		{"cell checksum", "cell data broken, checksum mismatch: 0x2e instead of 0x2f at byte 26", "Cell data broken, checksum is mismatch, 46 :47 :", ErrChecksum, h("7500000001030403000000706b31050600000003010000006b0a2e096a")},
		{"row checksum", "row data broken, checksum mismatch: 0x6a instead of 0x6d at byte 28", "Cell data broken, checksum is mismatch, 106 :109 :", ErrChecksum, h("7500000001030403000000706b31050600000003010000006b0a2f096a")},
		{"op 0", "unknown op 0x00 at byte 13", general, nil, cellHex(t, "0304010000006106000a00")},
		{"op 2", "unknown op 0x02 at byte 13", general, nil, cellHex(t, "0304010000006106020a00")},
		{"empty value", "value without a type at byte 17", general, nil, valueHex(t, "")},
		{"type 4", "value of unknown type 0x04 at byte 17", "data format is invalid, unknown variant type occured.", nil, valueHex(t, "04")},
		{"type 12", "value of unknown type 0x0c at byte 17", "data format is invalid, unknown variant type occured.", nil, valueHex(t, "0c")},
		{"short integer", "VT_INTEGER of 8 bytes instead of 9 at byte 17", general, nil, valueHex(t, "0000000000000000")},
		{"long integer", "VT_INTEGER of 10 bytes instead of 9 at byte 17", "Cell data broken, has more data in cell, but they can't be parsed.", nil, valueHex(t, "00000000000000000000")},
		{"short double", "VT_DOUBLE of 1 bytes instead of 9 at byte 17", general, nil, valueHex(t, "01")},
		{"long boolean", "VT_BOOLEAN of 3 bytes instead of 2 at byte 17", "Invalid boolean real value, value length: 3.", nil, valueHex(t, "020101")},
		{"short boolean", "VT_BOOLEAN of 1 bytes instead of 2 at byte 17", "Invalid boolean real value, value length: 1.", nil, valueHex(t, "02")},
		{"boolean of 2", "boolean that is 0x02 at byte 18", general, nil, valueHex(t, "0202")},
		{"long infinity", "VT_INF_MIN of 2 bytes instead of 1 at byte 17", "Cell data broken, has more data in cell, but they can't be parsed.", nil, valueHex(t, "0900")},
		{"string without length", "VT_STRING of 4 bytes instead of 5 at byte 17", general, nil, valueHex(t, "03000000")},
		{"string too long", "VT_STRING said to have 2 bytes in a value that holds 1 of it at byte 18", "Cell data broken, wrong string format, size: 2.", nil, valueHex(t, "030200000061")},
		{"string too short", "VT_STRING said to have 0 bytes in a value that holds 1 of it at byte 18", "Cell data broken, wrong string format, size: 0.", nil, valueHex(t, "030000000061")},
		{"blob of 4 GiB", "VT_BLOB said to have 4294967295 bytes in a value that holds 0 of it at byte 18", "Cell data broken, wrong string format, size: 4294967295.", nil, valueHex(t, "07ffffffff")},
		{"extension too long", "data ends too early: extension at byte 32", general, ErrTruncated, h(strings.Replace(record, "0b18", "0b1b", 1))},
		{"sequence longer than extension", "data ends too early: extension at byte 37", general, ErrTruncated, h(strings.Replace(record, "0c13", "0c14", 1))},
		{"extension too short", "data ends too early: extension at byte 37", general, ErrTruncated, h(strings.Replace(record, "0b18", "0b17", 1))},
		{"part without length", "data ends too early: extension at byte 33", general, ErrTruncated, h(record[:54] + "0b02000000" + "1000" + "096d")},
		{"sequence without epoch", "extension whose sequence is not epoch, time and index at byte 32", general, nil, h(strings.Replace(record, "0d01", "0e01", 1))},
		{"sequence without time", "extension whose sequence is not epoch, time and index at byte 32", general, nil, h(strings.Replace(record, "0e02", "0d02", 1))},
		{"sequence without index", "extension whose sequence is not epoch, time and index at byte 32", general, nil, h(strings.Replace(record, "0f03", "0e03", 1))},
		{"short sequence", "extension whose sequence is not epoch, time and index at byte 32", general, nil, h(record[:54] + "0b0a000000" + "0c05000000" + "0d01000000" + "096d")},
		{"cell in extension", "tag 0x03 instead of a part of the extension at byte 32", "Cell data broken, mismatch tag, actual tag(3), expect(12).", nil, h(record[:54] + "0b05000000" + "0300000000" + "096d")},
		{"two extensions", "tag 0x0b instead of the checksum of the row at byte 32", "Cell data broken, row is not end with checksum tag.", nil, h(record[:54] + "0b00000000" + "0b00000000" + "096d")},
		{"marker after extension", "tag 0x08 instead of the checksum of the row at byte 32", "Cell data broken, row is not end with checksum tag.", nil, h(record[:54] + "0b00000000" + "08" + "096a")},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Decode(c.b)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%x: %v", c.b, err)
			}
			if e.Error() != c.text || e.Message != c.message || e.Unwrap() != c.cause {
				t.Errorf("%x:\n%v, %q, %v, want\n%v, %q, %v", c.b, e, e.Message, e.Unwrap(), c.text, c.message, c.cause)
			}
		})
	}
}

func TestDecodeRow(t *testing.T) {
	one, two := Row{Key: keyK}, Row{Key: keyK, Delete: true}
	if row, err := DecodeRow(Append(nil, two)); err != nil || !reflect.DeepEqual(row, two) {
		t.Errorf("%+v, %v", row, err)
	}
	if _, err := DecodeRow(Append(nil)); !errors.Is(err, ErrTruncated) {
		t.Errorf("no row: %v", err)
	}
	if _, err := DecodeRow(Append(nil, one, two)); err == nil || err.Error() != "more than the one row at byte 29" {
		t.Errorf("two rows: %v", err)
	}
	padded := append(Append(nil, two), 0, 0, 0)
	if row, err := DecodeRow(padded); err != nil || !reflect.DeepEqual(row, two) {
		t.Errorf("zeros after the row: %+v, %v", row, err)
	}
	if _, err := Decode(padded); err == nil {
		t.Error("zeros are read as rows")
	}
	if _, err := DecodeRow(append(padded, 1)); err == nil || err.Error() != "more than the one row at byte 30" {
		t.Errorf("zeros and more: %v", err)
	}
	// As the client for Node writes them, with the zeros it adds.
	for _, hex := range []string{
		"7500000001030401000000610501000000090adf097900",
		"7500000001030401000000610501000000090adf0304010000006205010000000a0ae909960000",
		"75000000010304010000006105060000000301000000780a4d0203040100000063050900000001000000000000f83f0aa50304010000006406010aa6030401000000650603070098f73e5d0100000a190304010000006e050900000000030000000000000006040a1109fb" + "00000000000000000000000000",
	} {
		if _, err := DecodeRow(unhex(t, hex)); err != nil {
			t.Errorf("%s: %v", hex, err)
		}
	}
}

// TestLenient is what is read although no client and not this package writes
// it.
func TestLenient(t *testing.T) {
	for _, c := range []struct {
		name, hex string
		want      Row
	}{
		{"empty key", "75000000010900", Row{}},
		{"empty columns", "7500000001030403000000706b31050600000003010000006b0a2f02096d", Row{Key: keyK}},
		{"no key", "7500000002030401000000610a200900", Row{Columns: []Cell{{Name: "a"}}}},
		{"empty extension", "7500000001030403000000706b31050600000003010000006b0a2f" + "0b00000000" + "096d", Row{Key: keyK}},
		{
			"unknown parts", "7500000001030403000000706b31050600000003010000006b0a2f" +
				"0b25000000" + "1003000000aabbcc" + "0c130000000d010000000e02000000000000000f03000000" + "ff00000000" + "096d",
			Row{Key: keyK, Ext: &Extension{Epoch: 1, Micros: 2, Index: 3}},
		},
		{
			"the last sequence counts, as for the Java client", "7500000001030403000000706b31050600000003010000006b0a2f" +
				"0b30000000" + "0c130000000d090000000e09000000000000000f09000000" + "0c130000000d010000000e02000000000000000f03000000" + "096d",
			Row{Key: keyK, Ext: &Extension{Epoch: 1, Micros: 2, Index: 3}},
		},
	} {
		b := unhex(t, c.hex)
		if c.name == "no key" {
			crc := naive(0, []byte("a"))
			b[len(b)-3] = crc
			b[len(b)-1] = naive(0, []byte{crc, 0})
		}
		row, err := DecodeRow(b)
		if err != nil || !reflect.DeepEqual(row, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", c.name, row, err, c.want)
		}
	}
}

// TestValues: values as filters have them, without a length before them.
func TestValues(t *testing.T) {
	for _, c := range []struct {
		hex  string
		want Value
	}{
		{"000500000000000000", Value{Kind: Integer, Int: 5}},
		{"00ffffffffffffffff", Value{Kind: Integer, Int: -1}},
		{"000000000000000080", Value{Kind: Integer, Int: math.MinInt64}},
		{"01000000000000f03f", Value{Kind: Double, Double: 1}},
		{"01000000000000f07f", Value{Kind: Double, Double: math.Inf(1)}},
		{"0200", Value{Kind: Boolean}},
		{"0201", Value{Kind: Boolean, Int: 1}},
		{"0300000000", Value{Kind: String}},
		{"0303000000e4b8ad", Value{Kind: String, Bytes: "中"}},
		{"0702000000ff00", Value{Kind: Blob, Bytes: "\xff\x00"}},
		{"06", Value{Kind: Null}},
		{"09", Value{Kind: InfMin}},
		{"0a", Value{Kind: InfMax}},
		{"0b", Value{Kind: AutoIncrement}},
	} {
		b := unhex(t, c.hex)
		if got := AppendValue([]byte("x"), c.want); string(got) != "x"+string(b) {
			t.Errorf("%+v: %x, want %x", c.want, got, b)
		}
		if v, err := DecodeValue(b); err != nil || v != c.want {
			t.Errorf("%s: %+v, %v, want %+v", c.hex, v, err, c.want)
		}
		for n := range b {
			if v, err := DecodeValue(b[:n]); err == nil {
				t.Errorf("%s: %d bytes of it are %+v", c.hex, n, v)
			}
		}
		if v, err := DecodeValue(append(b, 0)); err == nil {
			t.Errorf("%s: with a byte after it is %+v", c.hex, v)
		}
	}
	for _, bits := range []uint64{0x7ff8000000000001, 0xfff0000000000001, 1 << 63} {
		b := AppendValue(nil, Value{Kind: Double, Double: math.Float64frombits(bits)})
		if v, err := DecodeValue(b); err != nil || math.Float64bits(v.Double) != bits {
			t.Errorf("0x%x is 0x%x, %v", bits, math.Float64bits(v.Double), err)
		}
	}
	if b := AppendValue(nil, Value{Kind: Boolean, Int: -7}); !bytes.Equal(b, []byte{2, 1}) {
		t.Errorf("a boolean that is not 0: %x", b)
	}
}

func TestAppendPanics(t *testing.T) {
	for want, f := range map[string]func(){
		"plainbuffer: value of unknown kind 0x04": func() { AppendValue(nil, Value{Kind: 4}) },
		"plainbuffer: unknown op 0x02":            func() { AppendRow(nil, Row{Columns: []Cell{{Op: 2}}}) },
	} {
		func() {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("panic %v, want %s", got, want)
				}
			}()
			f()
		}()
	}
}

// naive is the checksum bit by bit.
func naive(crc byte, b []byte) byte {
	for _, c := range b {
		for i := 7; i >= 0; i-- {
			top := crc>>7 ^ c>>i&1
			crc = crc<<1 ^ top*7
		}
	}
	return crc
}

func TestChecksum(t *testing.T) {
	// The check value of CRC-8 in the catalogue of parametrised CRC algorithms.
	if got := checksum(0, "123456789"); got != 0xf4 {
		t.Errorf("check value 0x%02x", got)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 100 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		begin := byte(r.Uint32())
		if got, want := checksum(begin, b), naive(begin, b); got != want || checksum(begin, string(b)) != want {
			t.Errorf("%d bytes: 0x%02x, want 0x%02x", n, got, want)
		}
	}
}

func TestKinds(t *testing.T) {
	for k, want := range map[Kind]string{
		Integer: "VT_INTEGER", Double: "VT_DOUBLE", Boolean: "VT_BOOLEAN", String: "VT_STRING", Null: "VT_NULL",
		Blob: "VT_BLOB", InfMin: "VT_INF_MIN", InfMax: "VT_INF_MAX", AutoIncrement: "VT_AUTO_INCREMENT", 0x0c: "kind 0x0c",
	} {
		if k.String() != want {
			t.Errorf("%s, want %s", k, want)
		}
	}
}

// TestNothingIsShared: the result does not change with the buffer, and to
// append to one row does not reach into the next.
func TestNothingIsShared(t *testing.T) {
	want := batch(2)
	b := Append(nil, want...)
	rows, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	for i := range rows {
		rows[i].Key = append(rows[i].Key, Cell{})[:len(rows[i].Key)]
		rows[i].Columns = append(rows[i].Columns, Cell{})[:len(rows[i].Columns)]
	}
	if !reflect.DeepEqual(rows, want) {
		t.Errorf("%+v, want %+v", rows, want)
	}
	b = AppendValue(nil, *text("a"))
	v, err := DecodeValue(b)
	if clear(b); err != nil || v != *text("a") {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestAllocations: their number does not follow the number of rows.
func TestAllocations(t *testing.T) {
	rows := batch(100)
	rows[7].Ext = &Extension{}
	b := Append(nil, rows...)
	if n := testing.AllocsPerRun(10, func() { _, _ = Decode(b) }); n > 5 { // text, rows, cells, values, extensions
		t.Errorf("Decode allocates %v times", n)
	}
	if n := testing.AllocsPerRun(10, func() { Append(nil, rows...) }); n > 2 { // one, and a second under the race detector
		t.Errorf("Append allocates %v times", n)
	}
	if n := testing.AllocsPerRun(10, func() { AppendRow(nil, rows[7]) }); n > 2 {
		t.Errorf("AppendRow allocates %v times", n)
	}
}

// allocated is how many bytes f allocates, in all. Others may allocate
// meanwhile, such as the fuzzer: if there are more than enough, f runs again,
// and the fewest count.
func allocated(enough uint64, f func()) uint64 {
	fewest := uint64(math.MaxUint64)
	for try := 0; try < 5 && fewest > enough; try++ {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		fewest = min(fewest, after.TotalAlloc-before.TotalAlloc)
	}
	return fewest
}

// worst is the documented bound of what Decode allocates for a byte, and
// spare what an error and the rounding of small blocks may add.
const (
	worst = 24
	spare = 1 << 10
)

// TestMemory: what is allocated is bounded by the length of the input, for the
// inputs that hold most in the fewest bytes, and for lengths that lie.
func TestMemory(t *testing.T) {
	const size = 1 << 20
	many := func(head, unit string) []byte {
		b, u := unhex(t, head), unhex(t, unit)
		for len(b) < size {
			b = append(b, u...)
		}
		return b
	}
	rowOf := func(cell string) string {
		b := cellHex(t, cell)
		return hex.EncodeToString(b[4:])
	}
	null := valueHex(t, "06")
	for _, c := range []struct {
		name  string
		b     []byte
		sound bool
		most  uint64 // bytes for one of the input
	}{
		{"rows of nothing", many("75000000", "010900"), true, 23},
		{"rows of nothing, columns first", many("75000000", "020900"), true, 23},
		{"rows of a cell of nothing", many("75000000", rowOf("0304000000000a00")), true, 12},
		{"rows of an extension", many("75000000", "010b180000000c130000000d010000000e02000000000000000f030000000900"), true, 5},
		{"cells of nothing", many("7500000001", "0304000000000a00"), false, 2},
		{"cells of nothing, ended", append(many("7500000001", "0304000000000a00"), 9, 0), true, 8},
		{"cells of a null", many("75000000", hex.EncodeToString(null[4:])), true, 12},
		{"one extension of sequences", func() []byte {
			b := many("75000000010b00000000", "0c130000000d010000000e02000000000000000f03000000")
			binary.LittleEndian.PutUint32(b[6:], uint32(len(b)-10))
			return append(b, 9, 0)
		}(), true, 3},
		{"a text", Append(nil, Row{Key: []Cell{key("a", Value{Kind: Blob, Bytes: strings.Repeat("x", size)})}}), true, 2},
		{"a name that lies", unhex(t, "75000000010304ffffff7f"), false, worst},
		{"a value that lies", valueHex(t, "07ffffff7f"), false, worst},
		{"an extension that lies", unhex(t, "75000000010bffffff7f0900"), false, worst},
		{"zeros", make([]byte, size), false, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var err error
			most := c.most*uint64(len(c.b)) + spare
			n := allocated(most, func() { _, err = Decode(c.b) })
			if (err == nil) != c.sound {
				t.Fatalf("decoded: %v", err)
			}
			if n > most {
				t.Errorf("%d bytes allocated for %d", n, len(c.b))
			}
			t.Logf("%.1f bytes for a byte", float64(n)/float64(len(c.b)))
		})
	}
}

func valueGen() *rapid.Generator[Value] {
	texts := rapid.OneOf(rapid.StringN(0, -1, 40), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 40), func(b []byte) string { return string(b) }))
	return rapid.Custom(func(t *rapid.T) Value {
		v := Value{Kind: rapid.SampledFrom([]Kind{Integer, Double, Boolean, String, Null, Blob, InfMin, InfMax, AutoIncrement}).Draw(t, "kind")}
		switch v.Kind {
		case Integer:
			v.Int = rapid.Int64().Draw(t, "int")
		case Double:
			v.Double = math.Float64frombits(rapid.Uint64().Draw(t, "bits"))
		case Boolean:
			v.Int = rapid.Int64Range(0, 1).Draw(t, "bool")
		case String, Blob:
			v.Bytes = texts.Draw(t, "text")
		}
		return v
	})
}

func rowGen() *rapid.Generator[Row] {
	cell := rapid.Custom(func(t *rapid.T) Cell {
		c := Cell{
			Name:    rapid.StringN(0, -1, 20).Draw(t, "name"),
			Op:      rapid.SampledFrom([]Op{Put, Put, DeleteAll, DeleteOne, Increment}).Draw(t, "op"),
			HasTime: rapid.Bool().Draw(t, "has time"),
		}
		if c.HasTime {
			c.Time = rapid.Int64().Draw(t, "time")
		}
		if rapid.IntRange(0, 3).Draw(t, "has value") > 0 {
			v := valueGen().Draw(t, "value")
			c.Value = &v
		}
		return c
	})
	cells := rapid.Custom(func(t *rapid.T) []Cell {
		if s := rapid.SliceOfN(cell, 0, 5).Draw(t, "cells"); len(s) > 0 {
			return s
		}
		return nil
	})
	return rapid.Custom(func(t *rapid.T) Row {
		row := Row{Key: cells.Draw(t, "key"), Columns: cells.Draw(t, "columns"), Delete: rapid.Bool().Draw(t, "delete")}
		if rapid.Bool().Draw(t, "has extension") {
			row.Ext = &Extension{Epoch: rapid.Int32().Draw(t, "epoch"), Micros: rapid.Int64().Draw(t, "micros"), Index: rapid.Int32().Draw(t, "index")}
		}
		return row
	})
}

// same compares bit for bit, so that a NaN is one.
func same(a, b []Row) bool { return fmt.Sprint(flat(a)) == fmt.Sprint(flat(b)) }

func flat(rows []Row) (all []any) {
	for _, r := range rows {
		all = append(all, "row", r.Delete)
		if r.Ext != nil {
			all = append(all, "ext", *r.Ext)
		}
		for _, part := range [][]Cell{r.Key, r.Columns} {
			all = append(all, "part", len(part))
			for _, c := range part {
				all = append(all, fmt.Sprintf("%q", c.Name), c.Op, c.Time, c.HasTime, c.Value != nil)
				if v := c.Value; v != nil {
					all = append(all, byte(v.Kind), v.Int, math.Float64bits(v.Double), fmt.Sprintf("%q", v.Bytes))
				}
			}
		}
	}
	return all
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(rowGen(), 0, 4).Draw(t, "rows")
		b := Append(nil, rows...)
		got, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if !same(got, rows) {
			t.Fatalf("%+v, want %+v", got, rows)
		}
		piecewise := Append(nil)
		for _, r := range rows {
			if n := len(AppendRow(nil, r)); n > size(&r) {
				t.Fatalf("a row of %d bytes is thought to have %d", n, size(&r))
			}
			piecewise = AppendRow(piecewise, r)
		}
		if !bytes.Equal(piecewise, b) {
			t.Fatalf("row by row %x, at once %x", piecewise, b)
		}
	})
}

func TestValueRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := valueGen().Draw(t, "value")
		got, err := DecodeValue(AppendValue(nil, v))
		if err != nil || !same([]Row{{Key: []Cell{{Value: &got}}}}, []Row{{Key: []Cell{{Value: &v}}}}) {
			t.Fatalf("%+v, %v, want %+v", got, err, v)
		}
	})
}
