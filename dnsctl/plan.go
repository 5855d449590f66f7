package dnsctl

import (
	"fmt"
	"slices"
	"strings"

	"pointsman/internal/failover"
)

// State is what stands at a name, as its write point shows it.
type State struct {
	Absent bool            // there is no CNAME
	Value  failover.Target // canonical; empty when absent
	TTL    uint32          // seconds, of the CNAME
	Mark   string          // text of the mark, empty when there is none
	Other  string          // what stands there that should not, for people; empty is good

	// Lines are the records of the name by line, where the provider has lines:
	// Value, TTL and Mark are then those that all lines share, or, while a write
	// has reached some of them only, those of the lines that it has not reached.
	Lines []Line
	// Floor is the least TTL that the provider takes there, in seconds, as last
	// read; 0 is not known.
	Floor uint32
}

// Line is one record of a name that answers different networks differently.
type Line struct {
	Line  string          // the provider's code, such as default or telecom
	ID    string          // of the record at the provider
	Value failover.Target // canonical
	TTL   uint32          // seconds
	Mark  string
}

// Change replaces the CNAME and the mark of a name in one conditional step.
// There is no way to write a Change that removes them.
type Change struct {
	Name failover.RecordName
	// Expect is the value that must stand there now, as the whole set.
	// Empty means that nothing at all may stand at the name.
	Expect failover.Target
	// ExpectMark nil asks nothing of the mark; a pointer to the empty text
	// wants it absent, anything else wants exactly this text.
	ExpectMark *string
	Value      failover.Target // the new value, never empty
	TTL        uint32          // seconds, 1 to 2³¹−1 (RFC 2181 section 8), for both records
	Mark       string          // the new mark, as failover.Mark writes it
}

// Want is what a name shall show.
type Want struct {
	Name  failover.RecordName
	Value failover.Target
	TTL   uint32 // seconds
	Mark  string
}

// Diff is the way from what stands at a name to what shall stand there.
type Diff struct {
	Lines  []string // one per difference, for people; none means nothing to do
	Change Change   // what to write; of no meaning without lines
}

// Nothing says that the name already shows what it shall.
func (d Diff) Nothing() bool { return len(d.Lines) == 0 }

// Plan compares what stands at a name with what shall stand there, both sides
// in canonical form, so that a difference in letter case or in the final dot
// never becomes a change. The change it returns expects exactly the state
// that was seen. It fails with [ErrForbidden] when the wanted record is none
// that may be written, and with [ErrSeveral] when something else stands at
// the name: a CNAME may not share it (RFC 1034 section 3.6.2).
func Plan(seen State, want Want) (Diff, error) {
	if seen.Other != "" {
		return Diff{}, fmt.Errorf("plan %s: %w: %s stands there as well", want.Name, ErrSeveral, seen.Other)
	}
	mark := seen.Mark
	c := Change{
		Name:   failover.RecordName(canonical(string(want.Name))),
		Expect: failover.Target(canonical(string(seen.Value))), ExpectMark: &mark,
		Value: failover.Target(canonical(string(want.Value))), TTL: want.TTL, Mark: want.Mark,
	}
	if seen.Absent {
		c.Expect = ""
	}
	if err := c.check(); err != nil {
		return Diff{}, err
	}
	d := Diff{Change: c}
	differ := func(what string, was, is any) {
		d.Lines = append(d.Lines, fmt.Sprintf("%s %s: %v → %v", c.Name, what, was, is))
	}
	switch {
	case c.Expect == "":
		differ("CNAME", "(none)", c.Value)
	case c.Expect != c.Value:
		differ("CNAME", c.Expect, c.Value)
	}
	if c.Expect != "" && seen.TTL != c.TTL {
		differ("TTL", seen.TTL, c.TTL)
	}
	switch {
	case mark == "":
		differ("mark", "(none)", fmt.Sprintf("%q", c.Mark))
	case mark != c.Mark:
		differ("mark", fmt.Sprintf("%q", mark), fmt.Sprintf("%q", c.Mark))
	}
	return d, nil
}

// permit refuses what must never be sent from a provider whose names are placed
// and allowed so, and puts the change into canonical form: exactly what was
// judged is sent.
func (c *Change) permit(where placing, allowed map[failover.RecordName][]failover.Target) (spot, error) {
	if err := c.check(); err != nil {
		return spot{}, err
	}
	at, err := where.of(c.Name)
	if err != nil {
		return spot{}, err
	}
	if !slices.Contains(allowed[c.Name], c.Value) {
		return spot{}, fmt.Errorf("%w: %s is not one of its targets %v", ErrForbidden, c.Value, allowed[c.Name])
	}
	return at, nil
}

// check refuses a change that no server should ever see, whatever its rights.
// It canonicalises first and judges the same values that are then sent.
func (c *Change) check() error {
	forbid := func(format string, args ...any) error {
		return fmt.Errorf("change %s: %w: %s", c.Name, ErrForbidden, fmt.Sprintf(format, args...))
	}
	name, err := ParseName(string(c.Name))
	if err != nil {
		return forbid("%v", err)
	}
	if c.Value == "" {
		return forbid("the new value is empty: a name is never left without its CNAME")
	}
	value, err := ParseTarget(string(c.Value))
	if err != nil {
		return forbid("%v", err)
	}
	if string(value) == string(name) || value == failover.Target(MarkName(name)) {
		return forbid("it would point at itself")
	}
	if c.Expect != "" && !wireName(canonical(string(c.Expect))) {
		return forbid("the expected value %q is no name", c.Expect)
	}
	if c.TTL == 0 || c.TTL > 1<<31-1 {
		return forbid("ttl %d s is outside 1 to 2147483647", c.TTL)
	}
	if err := checkMark(c.Mark); err != nil {
		return forbid("%v", err)
	}
	if c.ExpectMark != nil && len(*c.ExpectMark) > 16*txtString {
		return forbid("the expected mark is longer than %d octets", 16*txtString)
	}
	c.Name, c.Value, c.Expect = name, value, failover.Target(canonical(string(c.Expect)))
	return nil
}

// Apart says, for people, what each line shows while the lines do not show the
// same, empty when they do. While a write is on its way that is no fault; at rest
// it is, whatever Value says: a part of the clients is sent elsewhere.
func (s State) Apart() string {
	alike := true
	for _, l := range s.Lines {
		alike = alike && l.Value == s.Lines[0].Value && l.Mark == s.Lines[0].Mark
	}
	if alike {
		return ""
	}
	words := make([]string, len(s.Lines))
	for i, l := range s.Lines {
		words[i] = cloudRecord{line: l.Line, value: l.Value, mark: l.Mark}.shows()
	}
	return "the lines differ: " + strings.Join(words, "; ")
}
