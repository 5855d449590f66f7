package tablestore_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"pgregory.net/rapid"
)

// splits asks for ranges of about n·unit bytes and writes their bounds as text.
func (w *world) splits(table string, n, unit int64, limit ...int32) ([]*sdk.Split, error) {
	r := &sdk.ComputeSplitPointsBySizeRequest{TableName: table, SplitSize: n}
	if unit != 0 {
		r.SplitSizeUnitInByte = &unit
	}
	if len(limit) > 0 {
		r.SplitPointLimit = &limit[0]
	}
	got, err := w.ComputeSplitPointsBySize(r)
	if err != nil {
		return nil, err
	}
	return got.Splits, nil
}

func bound(k *sdk.PrimaryKey) string {
	out := ""
	for _, c := range k.PrimaryKeys {
		switch c.PrimaryKeyOption {
		case sdk.MIN:
			out += "-inf "
		case sdk.MAX:
			out += "+inf "
		default:
			out += fmt.Sprintf("%v ", c.Value)
		}
	}
	return out
}

func bounds(splits []*sdk.Split) (out []string) {
	for i, s := range splits {
		if i == 0 {
			out = append(out, bound(s.LowerBound))
		}
		out = append(out, bound(s.UpperBound))
	}
	return out
}

func TestATableIsCutBySize(t *testing.T) {
	w := newWorld(t)
	w.create("t", "a:s b:i")
	whole := []string{"-inf -inf ", "+inf +inf "}
	hold := func(want []string, n, unit int64, limit ...int32) {
		t.Helper()
		got, err := w.splits("t", n, unit, limit...)
		if err != nil || !slices.Equal(bounds(got), want) {
			t.Errorf("%q, %v, want %q", bounds(got), err, want)
		}
	}
	hold(whole, 1, 0)
	hold(whole, 1, 1)
	value := make([]byte, 1000)
	for i, a := range []string{"k", "k", "k", "m\x00\x01", "m\x00\x01", "z"} {
		w.put("t", key("a", a, "b", i), "v", value)
	}
	hold(whole, 1, 0)
	hold(whole, math.MaxInt64, 0)
	hold(whole, math.MaxInt64, math.MaxInt64)
	// A row has a little more than its value. A point has no more columns than
	// tell one row from the one before it.
	hold([]string{"-inf -inf ", "m\x00\x01 -inf ", "+inf +inf "}, 3, 1100)
	hold([]string{"-inf -inf ", "k 2 ", "m\x00\x01 4 ", "+inf +inf "}, 2, 1100)
	hold([]string{"-inf -inf ", "k 2 ", "+inf +inf "}, 2, 1100, 1)
	// However small they are to be, a range has a row.
	hold([]string{"-inf -inf ", "k 1 ", "k 2 ", "m\x00\x01 -inf ", "m\x00\x01 4 ", "z -inf ", "+inf +inf "}, 1, 1)
	for _, c := range []struct {
		n, unit int64
		limit   []int32
		message string
	}{
		{0, 0, nil, "The split size must be greater than 0."},
		{-1, 0, nil, "The split size must be greater than 0."},
		{1, -1, nil, "The split size unit must be greater than 0."},
		{1, 0, []int32{0}, "The split point limit must be greater than 0."},
	} {
		_, err := w.splits("t", c.n, c.unit, c.limit...)
		refused(t, err, "OTSParameterInvalid", 400, c.message)
	}
	_, err := w.splits("other", 1, 0)
	refused(t, err, "OTSObjectNotExist", 404, "Requested table does not exist.")
}

// Whatever is in a table: the ranges follow one another, and each row that a
// range holds is in it.
func TestRangesOfATableHoldAllOfIt(t *testing.T) {
	w := newWorld(t)
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		table := fmt.Sprint("t", n)
		n++
		w.create(table, "a:b b:s c:i")
		defer func() { _, _ = w.DeleteTable(&sdk.DeleteTableRequest{TableName: table}) }()
		text := rapid.SampledFrom([]string{"", "\x00", "\x00\x00", "\x00\x01", "a", "a\x00", "ab", "b"})
		rows := map[string]bool{}
		for range rapid.IntRange(0, 20).Draw(t, "rows") {
			a, b, c := text.Draw(t, "a"), text.Draw(t, "b"), rapid.SampledFrom([]int{math.MinInt64, -1, 0, 1, math.MaxInt64}).Draw(t, "c")
			w.put(table, key("a", []byte(a), "b", b, "c", c), "v", make([]byte, rapid.IntRange(0, 200).Draw(t, "size")))
			rows[fmt.Sprintf("%q %q %d", a, b, c)] = true
		}
		size := rapid.Int64Range(1, 1000).Draw(t, "bytes")
		splits, err := w.splits(table, size, 1)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range splits {
			if i > 0 && bound(splits[i-1].UpperBound) != bound(s.LowerBound) {
				t.Fatalf("range %d begins at %q, the one before ends at %q", i, bound(s.LowerBound), bound(splits[i-1].UpperBound))
			}
			r, err := w.GetRange(&sdk.GetRangeRequest{RangeRowQueryCriteria: &sdk.RangeRowQueryCriteria{
				TableName: table, StartPrimaryKey: s.LowerBound, EndPrimaryKey: s.UpperBound, Direction: sdk.FORWARD, MaxVersion: 1, Limit: 5000,
			}})
			if err != nil {
				t.Fatalf("range %q to %q: %v", bound(s.LowerBound), bound(s.UpperBound), err)
			}
			if len(splits) > 1 && len(r.Rows) == 0 {
				t.Fatalf("range %d of %d has no row", i, len(splits))
			}
			sum := 0
			for _, row := range r.Rows {
				k := row.PrimaryKey.PrimaryKeys
				name := fmt.Sprintf("%q %q %d", k[0].Value, k[1].Value, k[2].Value)
				if !rows[name] {
					t.Fatalf("row %s is in two ranges, or in none", name)
				}
				delete(rows, name)
				sum += len(row.Columns[0].Value.([]byte))
			}
			if len(r.Rows) > 1 && int64(sum) > size {
				t.Fatalf("range %d has %d bytes in %d rows, want %d", i, sum, len(r.Rows), size)
			}
		}
		if len(rows) > 0 {
			t.Fatalf("rows %v are in no range", rows)
		}
	})
}

func TestAPartitionIsCutInItsMiddle(t *testing.T) {
	w := newWorld(t)
	w.create("t", "a:i b:i")
	froms := func(want ...any) {
		t.Helper()
		parts, err := w.server.Partitions("lab", "t")
		var got []any
		for _, p := range parts {
			got = append(got, p.From)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("partitions begin at %v, %v, want %v", got, err, want)
		}
	}
	split := func(ok bool) {
		t.Helper()
		if err := w.server.SplitShard("lab", "t"); (err == nil) != ok {
			t.Error(err)
		}
	}
	split(false)
	for b := range 8 {
		w.put("t", key("a", 1, "b", b), "v", make([]byte, 100))
	}
	split(false) // one partition key
	for a := 2; a < 6; a++ {
		w.put("t", key("a", a, "b", 0), "v", make([]byte, 100))
	}
	split(true)
	froms(nil, int64(2))
	split(true) // the other one has more data, but one key
	froms(nil, int64(2), int64(4))
	for a := -3; a < 0; a++ {
		w.put("t", key("a", a, "b", 0), "v", make([]byte, 1000))
	}
	split(true)
	froms(nil, int64(-1), int64(2), int64(4))
	// Partitions without rows are passed over.
	w.create("u", "a:i")
	for at := range 9 {
		if err := w.server.SplitShard("lab", "u", -at); err != nil {
			t.Fatal(err)
		}
	}
	for a := range 4 {
		w.put("u", key("a", 100+a), "v", 1)
	}
	if err := w.server.SplitShard("lab", "u"); err != nil {
		t.Error(err)
	}
	if parts, err := w.server.Partitions("lab", "u"); err != nil || parts[len(parts)-1].From != int64(102) {
		t.Errorf("%v, %v", parts, err)
	}
	w.create("s", "a:s")
	for _, at := range []any{"m", []byte("n"), ""} {
		if err := w.server.SplitShard("lab", "s", at); err != nil {
			t.Error(err)
		}
	}
	if parts, err := w.server.Partitions("lab", "s"); err != nil || len(parts) != 4 || parts[1].From != "" || parts[2].From != "m" || parts[3].From != "n" {
		t.Errorf("%v, %v", parts, err)
	}
	if err := w.server.SplitShard("lab", "t", "x"); err == nil {
		t.Error("a text for an integer")
	}
	if err := w.server.SplitShard("lab", "t", 1, 2); err == nil {
		t.Error("two keys")
	}
	if _, err := w.server.Partitions("lab", "other"); err == nil {
		t.Error("there is no such table")
	}
}
