package lab

import (
	"fmt"
	"maps"
	"slices"
)

// JudgeReplicated holds the log of a Writer against what the clusters hold,
// where rows are replicated and everything has come to rest. named are the rows
// that the program has said to be lost. Broken is
//
//   - an acknowledged row that is not at the active cluster, and was not named,
//   - a row that was named and is there,
//   - a row at the active cluster that nobody wrote, or that says what nobody
//     wrote,
//   - a difference between the two.
func JudgeReplicated(log []Entry, active, standby string, held map[string][]Held, named map[int64]bool) (lost []int64, why []string) {
	broken := func(what string, numbers []int64) {
		if len(numbers) > 0 {
			why = append(why, fmt.Sprintf("%s: %s: %s", what, rows(len(numbers)), ranges(numbers)))
		}
	}
	here := map[int64]string{}
	var nobody, altered []int64
	for _, h := range held[active] {
		here[h.N] = h.Text
		switch {
		case h.N < 1 || h.N > int64(len(log)):
			nobody = append(nobody, h.N)
		case h.Text != orderText(h.N):
			altered = append(altered, h.N)
		}
	}
	broken(active+" holds what nobody wrote", nobody)
	broken(active+" has altered", altered)
	var silent, there []int64
	for i, e := range log {
		n := int64(i + 1)
		_, is := here[n]
		switch {
		case is && named[n]:
			there = append(there, n)
		case e.By > 0 && !is && !named[n]:
			silent = append(silent, n)
		case e.By > 0 && !is:
			lost = append(lost, n)
		}
	}
	broken("acknowledged, not at "+active+", and not named as lost", silent)
	broken("named as lost, and at "+active, there)
	other := map[int64]string{}
	for _, h := range held[standby] {
		other[h.N] = h.Text
	}
	var apart []int64
	for _, n := range slices.Sorted(maps.Keys(here)) {
		if text, is := other[n]; !is || text != here[n] {
			apart = append(apart, n)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(other)) {
		if _, is := here[n]; !is {
			apart = append(apart, n)
		}
	}
	broken(standby+" is not as "+active, apart)
	return lost, why
}
