package lab

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestJudgeReplicatedSeesEachBreach(t *testing.T) {
	log := logOf(1, 1, 0, 2, 1) // row 3 was not acknowledged
	for _, c := range []struct {
		name  string
		a, b  []Held
		named []int64
		lost  string
		says  string // of the first breach
	}{
		{name: "all is everywhere", a: rowsOf(1, 2, 4, 5), b: rowsOf(1, 2, 4, 5)},
		{name: "an error may have been done", a: rowsOf(1, 2, 3, 4, 5), b: rowsOf(1, 2, 3, 4, 5)},
		{name: "one was lost and named", a: rowsOf(1, 4, 5), b: rowsOf(1, 4, 5), named: []int64{2}, lost: "2"},
		{name: "an error was lost and named", a: rowsOf(1, 2, 4, 5), b: rowsOf(1, 2, 4, 5), named: []int64{3}},
		{name: "one was lost in silence", a: rowsOf(1, 4, 5), b: rowsOf(1, 4, 5), says: "acknowledged, not at a, and not named as lost: 1 row: 2"},
		{name: "one was named and is there", a: rowsOf(1, 2, 4, 5), b: rowsOf(1, 2, 4, 5), named: []int64{2}, says: "named as lost, and at a: 1 row: 2"},
		{name: "the standby lacks one", a: rowsOf(1, 2, 4, 5), b: rowsOf(1, 2, 4), says: "b is not as a: 1 row: 5"},
		{name: "the standby has one more", a: rowsOf(1, 2, 4, 5), b: rowsOf(1, 2, 3, 4, 5), says: "b is not as a: 1 row: 3"},
		{name: "nobody wrote it", a: rowsOf(1, 2, 4, 5, 9), b: rowsOf(1, 2, 4, 5, 9), says: "a holds what nobody wrote: 1 row: 9"},
		{name: "it says something else", a: append(rowsOf(1, 2, 4), Held{5, "no"}), b: append(rowsOf(1, 2, 4), Held{5, "no"}), says: "a has altered: 1 row: 5"},
	} {
		named := map[int64]bool{}
		for _, n := range c.named {
			named[n] = true
		}
		lost, why := JudgeReplicated(log, "a", "b", map[string][]Held{"a": c.a, "b": c.b}, named)
		if ranges(lost) != c.lost {
			t.Errorf("%s: lost are %s, want %s", c.name, ranges(lost), c.lost)
		}
		if c.says == "" && len(why) > 0 || c.says != "" && (len(why) != 1 || why[0] != c.says) {
			t.Errorf("%s: it says %q, want %q", c.name, why, c.says)
		}
	}
}

// Whatever is lost and named, nothing is broken when exactly that is missing,
// and something is as soon as one more is.
func TestJudgeReplicatedWantsExactlyWhatWasNamed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "rows")
		log := make([]Entry, n)
		named := map[int64]bool{}
		var held []Held
		for i := range log {
			log[i].By = uint8(rapid.IntRange(0, 2).Draw(t, "by")) //nolint:gosec // small
			row := int64(i + 1)
			if rapid.Bool().Draw(t, "lost") {
				named[row] = true
			} else if log[i].By > 0 || rapid.Bool().Draw(t, "done") {
				held = append(held, rowsOf(row)...)
			}
		}
		both := func(h []Held) map[string][]Held { return map[string][]Held{"a": h, "b": slices.Clone(h)} }
		if _, why := JudgeReplicated(log, "a", "b", both(held), named); len(why) > 0 {
			t.Fatalf("all is well, and it says %q", why)
		}
		i := slices.IndexFunc(held, func(h Held) bool { return log[h.N-1].By > 0 })
		if i < 0 {
			return
		}
		_, why := JudgeReplicated(log, "a", "b", both(slices.Delete(slices.Clone(held), i, i+1)), named)
		if len(why) != 1 || !strings.Contains(why[0], "not named as lost") {
			t.Fatalf("one more is missing, and it says %q", why)
		}
	})
}
