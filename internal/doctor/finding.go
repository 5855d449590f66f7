package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Verdict is what a check comes to.
type Verdict string

const (
	OK      Verdict = "ok"
	Skipped Verdict = "skipped" // it could not be made, or does not apply; the evidence says why
	Warn    Verdict = "warn"    // works, and will hurt one day
	Fail    Verdict = "fail"    // do not arm before it is mended
)

// rank orders verdicts, the worst last.
func (v Verdict) rank() int { return slices.Index([]Verdict{Skipped, OK, Warn, Fail}, v) }

// Finding is the outcome of one check about one thing.
type Finding struct {
	ID       string  `json:"id"`
	About    string  `json:"about,omitempty"` // instance, zone, name, file or host; several with commas
	Verdict  Verdict `json:"verdict"`
	Evidence string  `json:"evidence"`
	Fix      string  `json:"fix,omitempty"` // of a warning or a failure
}

func okay(id, about, format string, args ...any) Finding {
	return Finding{ID: id, About: about, Verdict: OK, Evidence: fmt.Sprintf(format, args...)}
}

// Skip is a check that was not made.
func Skip(id, about, format string, args ...any) Finding {
	return Finding{ID: id, About: about, Verdict: Skipped, Evidence: fmt.Sprintf(format, args...)}
}

// bad is a warning or a failure.
func bad(v Verdict, id, about, fix, format string, args ...any) Finding {
	return Finding{ID: id, About: about, Verdict: v, Evidence: fmt.Sprintf(format, args...), Fix: fix}
}

// Worst is the worst verdict among the findings; Skipped when there is nothing
// else.
func Worst(fs []Finding) Verdict {
	worst := Skipped
	for _, f := range fs {
		if f.Verdict.rank() > worst.rank() {
			worst = f.Verdict
		}
	}
	return worst
}

// mostAbout bounds how many things one finding names.
const mostAbout = 5

// Merge sorts findings in the order of the catalogue, the worst of each check
// first, and makes one of those that differ only in what they are about: of
// ten thousand instances with the same fault one line is enough.
func Merge(fs []Finding) []Finding {
	type same struct {
		id            string
		verdict       Verdict
		evidence, fix string
	}
	abouts := map[same][]string{}
	var order []same
	for _, f := range fs {
		k := same{f.ID, f.Verdict, f.Evidence, f.Fix}
		if _, seen := abouts[k]; !seen {
			order = append(order, k)
		}
		if !slices.Contains(abouts[k], f.About) {
			abouts[k] = append(abouts[k], f.About)
		}
	}
	out := make([]Finding, 0, len(order))
	for _, k := range order {
		out = append(out, Finding{ID: k.id, About: listed(abouts[k]), Verdict: k.verdict, Evidence: k.evidence, Fix: k.fix})
	}
	slices.SortStableFunc(out, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(place(a.ID), place(b.ID)), cmp.Compare(b.Verdict.rank(), a.Verdict.rank()))
	})
	return out
}

// listed names some things of many.
func listed(of []string) string {
	if n := len(of) - mostAbout; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(of[:mostAbout], ", "), n)
	}
	return strings.Join(of, ", ")
}
