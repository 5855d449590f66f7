package plainbuffer

import (
	"strconv"
	"testing"
)

// batch is n small rows as clients of the lab write them: a key of two columns
// and three attributes.
func batch(n int) []Row {
	rows := make([]Row, n)
	for i := range rows {
		rows[i] = Row{
			Key: []Cell{key("pk", *text("user-" + strconv.Itoa(i))), key("seq", *integer(int64(i)))},
			Columns: []Cell{
				{Name: "amount", Value: integer(int64(i) * 7), Time: 1_790_000_000_000, HasTime: true},
				{Name: "paid", Value: &Value{Kind: Boolean, Int: 1}, Time: 1_790_000_000_000, HasTime: true},
				{Name: "note", Value: text("a short remark on order " + strconv.Itoa(i)), Time: 1_790_000_000_000, HasTime: true},
			},
		}
	}
	return rows
}

func report(b *testing.B, rows, size int) {
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	b.SetBytes(int64(size))
}

func BenchmarkDecode(b *testing.B) {
	for _, n := range []int{1, 200} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			buf := Append(nil, batch(n)...)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode(buf); err != nil {
					b.Fatal(err)
				}
			}
			report(b, n, len(buf))
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 200} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			rows := batch(n)
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				buf = Append(buf[:0], rows...)
			}
			report(b, n, len(buf))
		})
	}
}

// BenchmarkLargeValue is a row of the largest value that the service takes.
func BenchmarkLargeValue(b *testing.B) {
	row := Row{Key: keyK, Columns: []Cell{{Name: "c", Value: &Value{Kind: Blob, Bytes: string(make([]byte, 2<<20))}}}}
	buf := Append(nil, row)
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			if _, err := Decode(buf); err != nil {
				b.Fatal(err)
			}
		}
		report(b, 1, len(buf))
	})
	b.Run("append", func(b *testing.B) {
		for b.Loop() {
			buf = Append(buf[:0], row)
		}
		report(b, 1, len(buf))
	})
}
