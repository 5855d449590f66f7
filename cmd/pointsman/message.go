package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

// Rules for every word that a person reads:
//
//   - What was asked for goes to stdout; everything else goes to stderr.
//   - An error is one line, "pointsman: what could not be done: why", in lower
//     case, without a full stop. It names each thing once.
//   - Every error is followed by one line "hint: what to do next", a command
//     to type wherever there is one.
//   - A refusal names its guard first, for scripts and for --override.
//   - A question is asked only where stdin and stderr are a terminal. Elsewhere
//     the command fails and says which flag answers it.
//   - Words of others (reasons, errors of servers) are printed with control
//     characters escaped.
//   - Times are RFC 3339 with zone, or ages such as 3m ago; JSON and YAML carry UTC.
//   - Colour only on a terminal, never the only carrier of a meaning, and
//     none with NO_COLOR or --no-color.

// Exit statuses.
const (
	exitOK         = 0
	exitError      = 1
	exitChanges    = 2 // a plan that would change something
	exitRefused    = 3 // by a named guard, or stale
	exitNotLeading = 4
	exitProposed   = 5 // it waits for other people

	// exitWarnings is doctor's: nothing failed, something will hurt one day.
	exitWarnings = exitRefused
)

const exitHelp = `Exit status:
  0  done, or nothing to do
  1  error
  2  plan: carrying it out would change something
  3  refused by a named guard; "stale" when the world is not the one expected;
     doctor: warnings, and no failure (which is 1)
  4  this controller does not lead
  5  it waits for the approval of other people`

// failure is an error with its exit status and hint.
type failure struct {
	code int
	err  error
	hint string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// failed makes an error that people can do something about.
func failed(hint, format string, args ...any) error {
	return &failure{code: exitError, err: fmt.Errorf(format, args...), hint: hint}
}

// errStatus carries an exit status that is no error: everything was printed.
type errStatus int

func (e errStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// report prints an error with its hint and returns the exit status.
func report(stderr io.Writer, err error) int {
	var status errStatus
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &status):
		return int(status)
	}
	f := explainFailure(err)
	text, _ := splitHint(f.err)
	fmt.Fprintf(stderr, "pointsman: %s\n", clean(text))
	if f.hint != "" {
		fmt.Fprintf(stderr, "hint: %s\n", clean(strings.ReplaceAll(f.hint, "\n", " ")))
	}
	return f.code
}

// splitHint takes the hint out of an error that carries one in its words,
// because an error has one line of it, in one place. A hint of a failure goes
// before those in words, which know less of what was asked for.
func splitHint(err error) (text, hint string) {
	var lines []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if h, ok := strings.CutPrefix(line, hintMark); ok {
			hint = orElse(hint, h)
			continue
		}
		lines = append(lines, line)
	}
	var f *failure
	if errors.As(err, &f) {
		hint = orElse(f.hint, hint)
	}
	return strings.Join(lines, "\n"), hint
}

const hintMark = "hint: "

// hintOf is the hint that an error carries, or empty.
func hintOf(err error) string {
	_, hint := splitHint(err)
	return hint
}

// explainFailure finds the hint for errors that were made where nobody knew
// the command line.
func explainFailure(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return &failure{f.code, err, orElse(f.hint, hintOf(err))}
	}
	f = &failure{code: exitError, err: err, hint: orElse(hintOf(err), "run the command with --help, or look at the log of the controller")}
	var p *api.Problem
	switch {
	case errors.As(err, &p):
		f.hint = problemHint(p)
	case errors.Is(err, api.ErrUnreachable):
		f.hint = "start one with 'pointsman run -c FILE', or name the one that runs: --socket PATH, -c FILE, or --server URL with --token-file"
	case errors.Is(err, api.ErrNotOurs):
		f.hint = "check --server or --socket: something else answers there"
	case errors.Is(err, context.Canceled):
		f.err, f.hint = errors.New("interrupted"), "what was submitted goes on; see 'pointsman status'"
	}
	return f
}

func problemHint(p *api.Problem) string {
	switch {
	case p.Hint != "":
		return p.Hint
	case len(p.Known) > 0:
		return didYouMean(p.Known, p.More)
	default:
		return "run the command with --help"
	}
}

// unknownInstance adds the nearest name to the error of a mistyped one.
func nearInstance(err error, typed string) error {
	var p *api.Problem
	if !errors.As(err, &p) || len(p.Known) == 0 {
		return err
	}
	if n := nearest(typed, p.Known); n != "" {
		return failed(fmt.Sprintf("did you mean %s?", n), "%w", err)
	}
	return failed(didYouMean(p.Known, p.More), "%w", err)
}

func didYouMean(known []string, more int) string {
	const show = 8
	if n := len(known) - show; n > 0 {
		known, more = known[:show], more+n
	}
	if more > 0 {
		return fmt.Sprintf("there are %s and %d more: see 'pointsman status'", strings.Join(known, ", "), more)
	}
	return "there is " + strings.Join(known, ", ")
}

// nearest returns the known word that a typing mistake may have meant, or "".
func nearest(typed string, known []string) string {
	best, least := "", len(typed)/2+1
	for _, k := range known {
		if d := distance(typed, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is the number of bytes to insert, delete or replace (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost = 1 + min(diag, row[j], row[j+1])
			}
			diag, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// replyError turns the controller's no into an error; nil for a yes.
func replyError(r api.Reply, verb string) error {
	switch r.Code {
	case failover.ReplyDone, failover.ReplyStarted, failover.ReplyNothing:
		return nil
	case failover.ReplyRefused:
		return refusedError(r, verb)
	case failover.ReplyProposed:
		return &failure{exitProposed, fmt.Errorf("proposed: %s", r.Text), orElse(r.Hint, fmt.Sprintf("'pointsman status' shows it; 'pointsman deny %s' takes it back", r.OpID))}
	case failover.ReplyStale:
		return &failure{exitRefused, fmt.Errorf("refused by stale: %s", r.Text), orElse(r.Hint, "look at 'pointsman status' and plan again")}
	case failover.ReplyNotLeading:
		return &failure{exitNotLeading, fmt.Errorf("not leading: %s", r.Text), notLeadingHint(r)}
	default:
		return &failure{exitError, errors.New(r.Text), orElse(r.Hint, fmt.Sprintf("see 'pointsman %s --help'", verb))}
	}
}

// notLeadingHint tells a process that could lead and may not write from one
// that leaves the lead to another.
func notLeadingHint(r api.Reply) string {
	has := func(word string) bool { return strings.Contains(r.Text, word) }
	switch {
	case has("degraded"):
		return "mend what the log of the controller names, then restart the controller"
	case has("ledger") || has("disk") || has("poisoned") || has("term could not"):
		return "free or mend the disk of controller.data, then restart the controller"
	default:
		return orElse(r.Hint, "ask the controller that leads: its /leader answers 200")
	}
}

func refusedError(r api.Reply, verb string) error {
	// Each refusal on a line of its own; the first is the one of the reply.
	why, hint := r.Text, r.Hint
	i := slices.IndexFunc(r.Refused, func(x failover.Refusal) bool { return x.Guard == r.Guard })
	if i >= 0 {
		why, hint = orElse(r.Refused[i].Why, why), orElse(hint, r.Refused[i].Hint)
	}
	lines := []string{fmt.Sprintf("refused by %s: %s", r.Guard, why)}
	for j, x := range r.Refused {
		if j != i {
			lines = append(lines, fmt.Sprintf("  also by %s: %s", x.Guard, x.Why))
		}
	}
	hint = orElse(hint, fmt.Sprintf("see 'pointsman explain', or go past one guard by '%s --override %s --reason TEXT' where that is allowed", verb, r.Guard))
	return &failure{exitRefused, errors.New(strings.Join(lines, "\n")), hint}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// clean escapes control characters, which could rewrite a line of a terminal
// or forge one of a log; line feeds and tabs stay.
func clean(s string) string {
	if !strings.ContainsFunc(s, isControl) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if isControl(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func isControl(r rune) bool {
	return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}
