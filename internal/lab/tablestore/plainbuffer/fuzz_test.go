package plainbuffer

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tunnel/protocol"
)

// FuzzDecode: whatever comes in, nothing panics, the memory is bounded, and
// what is read is written again so that it is read as the same. The vendor's
// reader reads the same rows, if it reads them.
func FuzzDecode(f *testing.F) {
	for _, v := range vectors {
		f.Add(unhex(f, v.hex))
	}
	f.Add(Append(nil, batch(3)...))
	f.Add(Append(nil, Row{Columns: []Cell{{Name: "a", Value: &Value{Kind: Double, Double: math.NaN()}}, {Value: &Value{Kind: Null}}, {Op: Increment}}}))
	for _, s := range []string{
		"75000000010304ffffffff", "75000000010304010000006105ffffff7f03ffffff7f", "75000000010bffffffff0cffffffff0900", "750000000109000109000209000900",
		"7500000001030403000000706b31050600000003010000006b0a2f0b2500000010030000" + "00aabbcc0c130000000d010000000e02000000000000000f03000000ff00000000096d",
	} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		checkDecode(t, b)
		checkDecode(t, repaired(b))
	})
}

// repaired is b with checksums that are right, as far as they are what is
// wrong: else the fuzzer hardly comes past the first one.
func repaired(b []byte) []byte {
	b = bytes.Clone(b)
	for range 64 {
		_, err := Decode(b)
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, ErrChecksum) {
			break
		}
		var got, want byte
		if _, err := fmt.Sscanf(e.Message, "Cell data broken, checksum is mismatch, %d :%d :", &got, &want); err != nil || b[e.Offset] != got {
			panic(e.Message)
		}
		b[e.Offset] = want
	}
	return b
}

// withoutZeros reads b without zeros at its end, but for one that may be the
// checksum of the row.
func withoutZeros(b []byte) ([]Row, error) {
	end := len(bytes.TrimRight(b, "\x00"))
	rows, err := Decode(b[:end])
	if err != nil && end < len(b) {
		return Decode(b[:end+1])
	}
	return rows, err
}

func checkDecode(t *testing.T, b []byte) {
	var rows []Row
	var err error
	in := bytes.Clone(b)
	most := worst*uint64(len(b)) + spare
	if n := allocated(most, func() { rows, err = Decode(b) }); n > most {
		t.Fatalf("%d bytes allocated for %d", n, len(b))
	}
	if !bytes.Equal(in, b) {
		t.Fatal("the input is changed")
	}
	row, oneErr := DecodeRow(b)
	if alone, aloneErr := withoutZeros(b); (oneErr == nil) != (aloneErr == nil && len(alone) == 1) || oneErr == nil && !same([]Row{row}, alone) {
		t.Fatalf("as one row %+v, %v, as many %+v, %v", row, oneErr, alone, aloneErr)
	}
	if v, err := DecodeValue(b); err == nil && !bytes.Equal(AppendValue(nil, v), b) {
		t.Fatalf("the value %x is written as %x", b, AppendValue(nil, v))
	}
	if err != nil {
		var e *Error
		if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(b) || e.Message == "" || rows != nil {
			t.Fatalf("%#v, %v", err, rows)
		}
		return
	}
	again := Append(nil, rows...)
	if got, err := Decode(again); err != nil || !same(got, rows) {
		t.Fatalf("%x\nread as %+v, written as %x and read as %+v, %v", b, rows, again, got, err)
	}
	theirs, err := protocol.ReadRowsWithHeader(bytes.NewReader(b))
	if err != nil {
		if bytes.Equal(again, b) {
			t.Fatalf("%x: the vendor's reader refuses what this package writes: %v", b, err)
		}
		return
	}
	if got, want := fmt.Sprint(theirRows(theirs)), fmt.Sprint(readable(rows)); got != want {
		t.Fatalf("%x\nthe vendor reads %s, we %s", b, got, want)
	}
}
