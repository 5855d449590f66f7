package lab

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Held is a row of the Writer as a cluster holds it.
type Held struct {
	N    int64
	Text string
}

// WriteReport is what is left of the writes once they have ended. Where nothing
// is replicated, what one cluster acknowledged the other one lacks, and the
// numbers say how much that is. They break no promise; Why names what does.
type WriteReport struct {
	WriterCounts
	Replicated bool `json:"replicated,omitempty"`
	Rest       bool `json:"at_rest,omitempty"` // everything had crossed that could, and both sides were compared
	// Lost is how many acknowledged rows failovers have lost, each of them named
	// by the program; Named are their numbers.
	Lost  int    `json:"lost,omitempty"`
	Named string `json:"named,omitempty"`

	PauseMS float64     `json:"pause_ms"` // the longest time between two acknowledgements
	Sides   []WriteSide `json:"sides"`
	Why     []string    `json:"why,omitempty"`
}

// WriteSide is one cluster's part in it.
type WriteSide struct {
	Cluster      string `json:"cluster"`
	Acknowledged int    `json:"acknowledged"` // rows that it acknowledged, by the address that the client had
	Held         int    `json:"held"`         // rows that it holds
	// Lacks is how many rows that the other one acknowledged are not here, and
	// Which are their numbers: "3-17, 21".
	Lacks int    `json:"lacks"`
	Which string `json:"which,omitempty"`
	// Beyond is how many rows it holds without having acknowledged them: those
	// of tries whose answer did not arrive.
	Beyond int    `json:"beyond,omitempty"`
	Unread string `json:"unread,omitempty"` // why its rows could not be read; then the counts of rows say nothing
}

// JudgeWrites holds the log of a Writer against what the clusters hold; a
// cluster without rows in the map could not be read. Broken is
//
//   - an acknowledged row that is not where it was acknowledged: no failover
//     may be blamed for it,
//   - a row that nobody wrote, or that says what nobody wrote.
func JudgeWrites(log []Entry, clusters []string, held map[string][]Held) (sides []WriteSide, why []string) {
	where := map[string]map[int64]bool{}
	broken := func(cluster, what string, numbers []int64) {
		if len(numbers) > 0 {
			why = append(why, fmt.Sprintf("%s %s %s: %s", cluster, what, rows(len(numbers)), ranges(numbers)))
		}
	}
	for _, c := range clusters {
		if _, read := held[c]; !read {
			continue
		}
		here := map[int64]bool{}
		var nobody, altered []int64
		for _, h := range held[c] {
			switch {
			case h.N < 1 || h.N > int64(len(log)):
				nobody = append(nobody, h.N)
			case h.Text != orderText(h.N):
				altered = append(altered, h.N)
			default:
				here[h.N] = true
			}
		}
		where[c] = here
		broken(c, "holds what nobody wrote,", nobody)
		broken(c, "has altered", altered)
	}
	for i, c := range clusters {
		side := WriteSide{Cluster: c, Held: len(where[c])}
		here, read := where[c]
		if !read {
			side.Unread = "not read"
		}
		var lost, lacks []int64
		for j, e := range log {
			n := int64(j + 1)
			mine := int(e.By) == i+1
			switch {
			case mine:
				side.Acknowledged++
				if read && !here[n] {
					lost = append(lost, n)
				}
			case e.By > 0 && read && !here[n]:
				lacks = append(lacks, n)
			}
			if !mine && here[n] {
				side.Beyond++
			}
		}
		side.Lacks, side.Which = len(lacks), ranges(lacks)
		broken(c, "acknowledged and does not hold", lost)
		sides = append(sides, side)
	}
	return sides, why
}

func rows(n int) string {
	if n == 1 {
		return "1 row"
	}
	return fmt.Sprintf("%d rows", n)
}

// mostRanges is how many ranges of numbers are named.
const mostRanges = 12

// ranges names numbers in few words: "3-17, 21".
func ranges(numbers []int64) string {
	seen := map[int64]bool{}
	for _, n := range numbers {
		seen[n] = true
	}
	sorted := slices.Sorted(maps.Keys(seen))
	var out []string
	for i := 0; i < len(sorted); {
		j := i
		for j+1 < len(sorted) && sorted[j+1] == sorted[j]+1 {
			j++
		}
		if len(out) == mostRanges {
			return strings.Join(out, ", ") + fmt.Sprintf(" and %d more", len(sorted)-i)
		}
		one := fmt.Sprint(sorted[i])
		if j > i {
			one += fmt.Sprintf("-%d", sorted[j])
		}
		out = append(out, one)
		i = j + 1
	}
	return strings.Join(out, ", ")
}
