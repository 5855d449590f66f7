package main

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pointsman/internal/api"
)

func TestTheNewestLinesAreKeptInLittleRoom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := newest{limit: rapid.IntRange(0, 20).Draw(t, "limit")}
		var all []api.ProbeLine
		for i, ms := range rapid.SliceOf(rapid.IntRange(0, 50)).Draw(t, "times") {
			l := api.ProbeLine{At: time.UnixMilli(int64(ms)), Took: time.Duration(i)}
			all = append(all, l)
			n.add(l)
			if n.limit > 0 && len(n.lines) > 2*n.limit {
				t.Fatalf("%d lines are kept, the limit is %d", len(n.lines), n.limit)
			}
		}
		at := func(ls []api.ProbeLine) (out []int64) {
			for _, l := range ls {
				out = append(out, l.At.UnixMilli())
			}
			return out
		}
		want := at(all)
		slices.Sort(want)
		if n.limit > 0 {
			want = want[max(0, len(want)-n.limit):]
		}
		if got := at(n.sorted()); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}
