package dnsctl

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"pointsman/internal/failover"
)

// cloudRecord is one record of a name as a cloud API shows it.
type cloudRecord struct {
	id, rtype, line string
	value           failover.Target // canonical
	ttl             uint32
	mark            string // the text of the mark; a remark that is none stays itself
	disabled        bool
	locked          bool
	weight          int
}

// sight is what one reading shows of a name: its CNAMEs, one for each line in
// order of the lines, and what should not be there.
type sight struct {
	lines    []cloudRecord
	other    []string // records of other types
	replaced []string // in what the records are others than those pinned
}

// look sorts the records of one name. pins is nil before the first reading.
func look(recs []cloudRecord, pins map[string]string) (sight, error) {
	var s sight
	for _, r := range recs {
		switch {
		case r.rtype == "CNAME":
			s.lines = append(s.lines, r)
		case !r.disabled:
			s.other = append(s.other, fmt.Sprintf("%s %s on line %s", printable(r.rtype, 16), short(string(r.value)), printable(r.line, 64)))
		}
	}
	slices.SortFunc(s.lines, func(a, b cloudRecord) int { return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.id, b.id)) })
	slices.Sort(s.other)
	for i, r := range s.lines {
		if i > 0 && s.lines[i-1].line == r.line {
			return sight{}, fmt.Errorf("%w on line %s: the records %s and %s: leave one, this program takes none by chance", ErrSeveral, r.line, s.lines[i-1].id, r.id)
		}
	}
	for _, r := range s.lines {
		switch {
		case r.disabled:
			return sight{}, fmt.Errorf("line %s, record %s: %w: enable it in the console", r.line, r.id, ErrDisabled)
		case r.locked:
			return sight{}, fmt.Errorf("line %s, record %s: %w: unlock it in the console", r.line, r.id, ErrLocked)
		}
	}
	if pins != nil {
		s.replaced = compare(s.lines, pins)
	}
	return s, nil
}

// compare says in what the records are others than those that were pinned.
func compare(lines []cloudRecord, pins map[string]string) []string {
	var out []string
	seen := make(map[string]bool, len(lines))
	for _, r := range lines {
		seen[r.line] = true
		switch id, ok := pins[r.line]; {
		case !ok:
			out = append(out, fmt.Sprintf("line %s has got a record of its own, %s", r.line, r.id))
		case id != r.id:
			out = append(out, fmt.Sprintf("record %s of line %s was replaced by %s", id, r.line, r.id))
		}
	}
	for line, id := range pins {
		if !seen[line] {
			out = append(out, fmt.Sprintf("record %s of line %s is gone", id, line))
		}
	}
	slices.Sort(out)
	return out
}

func (r cloudRecord) shows() string {
	mark := "without a mark"
	if r.mark != "" {
		mark = fmt.Sprintf("with %q", printable(r.mark, 80))
	}
	return fmt.Sprintf("%s shows %s %s", r.line, short(string(r.value)), mark)
}

// state is what the lines say together. allowed are the values that are ours,
// nil when they are not known; wanted is what this process last wrote, or, when
// it wrote nothing, what all lines last showed together; empty is unknown.
//
// While a write has reached some lines only, Value, TTL and Mark are those of a
// line that it has not reached, so that the core writes again. Where that does
// not tell a write that was cut off from somebody's edit, the line shown is one
// that is not as wanted: then an edit is seen as one.
func (s sight) state(allowed []failover.Target, wanted failover.Target) State {
	var st State
	st.Other = strings.Join(append(slices.Clone(s.other), s.replaced...), "; ")
	if len(s.lines) == 0 {
		st.Absent = true
		return st
	}
	for _, r := range s.lines {
		st.Lines = append(st.Lines, Line{Line: r.line, ID: r.id, Value: r.value, TTL: r.ttl, Mark: r.mark})
	}
	shown, strange := s.behind(allowed, wanted)
	st.Value, st.TTL, st.Mark = shown.value, shown.ttl, shown.mark
	if s.agree() {
		for _, r := range s.lines {
			st.TTL = max(st.TTL, r.ttl)
		}
	}
	if strange {
		var words []string
		for _, r := range s.lines {
			words = append(words, r.shows())
		}
		st.Other = strings.Join(append(words, append(slices.Clone(s.other), s.replaced...)...), "; ")
	}
	return st
}

// agree says whether all lines show the same value and mark.
func (s sight) agree() bool {
	for _, r := range s.lines {
		if r.value != s.lines[0].value || r.mark != s.lines[0].mark {
			return false
		}
	}
	return true
}

// behind picks the line that stands for all, and says whether one of them is
// as no write of ours leaves it.
func (s sight) behind(allowed []failover.Target, wanted failover.Target) (shown cloudRecord, strange bool) {
	if s.agree() {
		return s.lines[0], false
	}
	var newest failover.Mark
	var text string // of the newest mark of ours
	for _, r := range s.lines {
		if m, err := failover.ParseMark(r.mark); err == nil && (text == "" || newest.Token.Less(m.Token)) {
			newest, text = m, r.mark
		}
	}
	reached := make(map[failover.Target]int)
	for _, r := range s.lines {
		if text != "" && r.mark == text {
			reached[r.value]++
		}
	}
	for _, r := range s.lines {
		_, err := failover.ParseMark(r.mark)
		ours := err == nil && (allowed == nil || slices.Contains(allowed, r.value))
		unmarked := r.mark == "" && reached[r.value] > 0 && len(reached) == 1
		if !ours && !unmarked {
			return r, true
		}
	}
	if len(reached) == 1 {
		lag := slices.Clone(s.lines)
		lag = slices.DeleteFunc(lag, func(r cloudRecord) bool { return r.mark == text })
		for _, r := range lag {
			if reached[r.value] == 0 {
				return r, false
			}
		}
		return lag[0], false
	}
	// One mark, and several values under it: a write was cut off before its
	// remark, or moves on under the same mark, or somebody edited a line.
	if wanted != "" {
		for _, r := range s.lines {
			if r.value != wanted {
				return r, false
			}
		}
	}
	count := make(map[failover.Target]int)
	for _, r := range s.lines {
		count[r.value]++
	}
	return slices.MinFunc(s.lines, func(a, b cloudRecord) int {
		return cmp.Or(cmp.Compare(count[a.value], count[b.value]), -boolCompare(a.line != "default", b.line != "default"))
	}), true
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// step is what one line lacks of a change.
type step struct {
	rec         cloudRecord
	value, mark bool
}

// plan says what each line lacks of a change, before anything is written, or
// why it must not be written at all.
func (s sight) plan(c Change, allowed []failover.Target) ([]step, error) {
	if len(s.other) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrOtherRecord, strings.Join(s.other, "; "))
	}
	if len(s.replaced) > 0 {
		return nil, fmt.Errorf("%w: %s; if that is right, correct the pins or start anew", ErrReplaced, strings.Join(s.replaced, "; "))
	}
	if len(s.lines) == 0 {
		if c.Expect == "" {
			return nil, fmt.Errorf("%w: it changes records in place and has no right to add any: create the CNAME once by hand, on every line that you want", ErrUnsupported)
		}
		return nil, fmt.Errorf("%w: there is no CNAME", ErrPrerequisite)
	}
	token, err := failover.ParseMark(c.Mark)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	var steps []step
	exact := false // at least one line is just what the change was decided upon
	for _, r := range s.lines {
		st := step{rec: r, value: r.value != c.Value || r.ttl != c.TTL, mark: r.mark != c.Mark}
		exact = exact || isExpected(r, c)
		if !st.value && !st.mark {
			continue
		}
		if !isExpected(r, c) && !mayFollow(r, c, token.Token, allowed) {
			return nil, s.unexpected(r, c)
		}
		steps = append(steps, st)
	}
	if len(steps) > 0 && !exact {
		return nil, s.unexpected(steps[0].rec, c)
	}
	return steps, nil
}

func (s sight) unexpected(r cloudRecord, c Change) error {
	want := short(string(c.Expect))
	if want == "" {
		want = "no record"
	}
	if c.ExpectMark != nil {
		want += fmt.Sprintf(" with %q", printable(*c.ExpectMark, 80))
	}
	return fmt.Errorf("%w: line %s, expected was %s", ErrPrerequisite, r.shows(), want)
}

func isExpected(r cloudRecord, c Change) bool {
	return c.Expect != "" && r.value == c.Expect && (c.ExpectMark == nil || r.mark == *c.ExpectMark)
}

// mayFollow says whether a line that is not as expected is what an earlier
// write of ours left on its way over the lines, and so goes along.
func mayFollow(r cloudRecord, c Change, token failover.Token, allowed []failover.Target) bool {
	if c.Expect == "" {
		return false
	}
	if r.mark == "" {
		return r.value == c.Value && c.Expect == c.Value
	}
	m, err := failover.ParseMark(r.mark)
	return err == nil && !token.Less(m.Token) && (r.value == c.Value || r.value == c.Expect || slices.Contains(allowed, r.value))
}
