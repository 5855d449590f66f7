package api

import (
	"slices"

	"pointsman/internal/failover"
)

// mostKnown bounds the names that an answer about an unknown one lists.
const mostKnown = 8

// near lists the known names, or of many those nearest to the one that was
// asked for, and how many it leaves out.
func near(asked string, known []failover.InstanceName) (names []string, more int) {
	if len(known) <= mostKnown {
		for _, n := range known {
			names = append(names, string(n))
		}
		return names, 0
	}
	type found struct {
		name string
		far  int
	}
	var best []found // the nearest first
	for _, n := range known {
		f := found{string(n), distance(asked, string(n))}
		at, _ := slices.BinarySearchFunc(best, f, func(a, b found) int {
			if a.far <= b.far {
				return -1 // of equals the first in the config comes first
			}
			return 1
		})
		if at < mostKnown {
			best = slices.Insert(best, at, f)
			best = best[:min(len(best), mostKnown)]
		}
	}
	for _, f := range best {
		names = append(names, f.name)
	}
	return names, len(known) - len(names)
}

// distance is the number of bytes to insert, delete or replace (Levenshtein),
// of names; what is asked for is cut to the length of one.
func distance(a, b string) int {
	a = a[:min(len(a), maxWord)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := corner
			if a[i] != b[j] {
				cost++
			}
			corner = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
