package config

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
)

// maxFaults bounds how many mistakes of one file are printed.
const maxFaults = 50

// Fault is one mistake in a file.
type Fault struct {
	File    string // as it was given to Load or Parse
	Line    int    // from 1; 0 when the mistake has no place (the file cannot be read)
	Column  int    // from 1, in characters
	Message string // one sentence, lower case, without a final stop
	Hint    string // what to do about it; may be empty
	Excerpt string // the line of the file, or of a long one a part, secrets masked; may be empty

	caret int // column of the place within Excerpt
}

// Error renders the fault as people see it: file:line:column, the message,
// the line with a caret, and the hint.
func (f Fault) Error() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", f.Line, f.Column)
	}
	b.WriteString(": " + f.Message)
	if f.Excerpt != "" {
		number := fmt.Sprintf("%5d", f.Line)
		fmt.Fprintf(&b, "\n%s | %s", number, f.Excerpt)
		fmt.Fprintf(&b, "\n%s | %s^", strings.Repeat(" ", len(number)), pad(f.Excerpt, f.caret-1))
	}
	if f.Hint != "" {
		b.WriteString("\nhint: " + f.Hint)
	}
	return b.String()
}

// pad is white space as wide as the first n characters of a line: tabs stay
// tabs, and a Chinese character is two columns wide.
func pad(line string, n int) string {
	var b strings.Builder
	for i, r := range []rune(line) {
		switch {
		case i >= n:
			return b.String()
		case r == '\t':
			b.WriteRune(r)
		default:
			b.WriteString(strings.Repeat(" ", max(text.RuneWidth(r), 0)))
		}
	}
	return b.String()
}

// Faults is every mistake of one file, in the order of the lines. It is never
// empty when it is returned as an error.
type Faults []Fault

func (fs Faults) Error() string {
	var b strings.Builder
	for i, f := range fs {
		if i == maxFaults {
			fmt.Fprintf(&b, "\n\n… and %d more", len(fs)-maxFaults)
			break
		}
		if i > 0 {
			b.WriteString("\n\n")
		}
		b.WriteString(f.Error())
	}
	return b.String()
}

// Unwrap lets errors.As find single faults.
func (fs Faults) Unwrap() []error {
	errs := make([]error, len(fs))
	for i, f := range fs {
		errs[i] = f
	}
	return errs
}

// pos is a place in a file, both from 1.
type pos struct{ line, col int }

// notes collects the faults and warnings of one file.
type notes struct {
	src      *source
	faults   Faults
	warnings Faults
	doubled  []string // keys that were written twice
	known    map[reflect.Type]*knownKeys
}

// fault notes a mistake. The hint may be empty.
func (n *notes) fault(at pos, hint, format string, args ...any) {
	n.faults = append(n.faults, n.make(at, hint, fmt.Sprintf(format, args...)))
}

// warn notes something that works and is probably not what was meant.
func (n *notes) warn(at pos, hint, format string, args ...any) {
	n.warnings = append(n.warnings, n.make(at, hint, fmt.Sprintf(format, args...)))
}

func (n *notes) make(at pos, hint, message string) Fault {
	f := Fault{File: n.src.name, Line: at.line, Column: at.col, Message: n.src.hide(message), Hint: n.src.hide(hint)}
	f.Excerpt, f.caret = n.src.excerpt(at)
	return f
}

// has says that a mistake was noted at the place.
func (n *notes) has(at pos) bool {
	return slices.ContainsFunc(n.faults, func(f Fault) bool { return f.Line == at.line && f.Column == at.col })
}

// inLine says that a mistake was noted anywhere in the line.
func (n *notes) inLine(line int) bool {
	return slices.ContainsFunc(n.faults, func(f Fault) bool { return f.Line == line })
}

// err returns what was noted, sorted and each once, or nil.
func (n *notes) err() error {
	if len(n.faults) == 0 {
		return nil
	}
	return sorted(n.faults)
}

func sorted(fs Faults) Faults {
	slices.SortStableFunc(fs, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.CompactFunc(fs, func(a, b Fault) bool { return a == b })
}
