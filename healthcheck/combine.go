package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Combine is the rule by which several checks make one probe. There are no
// weights: a weighted sum cannot be explained to the one who is woken by it.
type Combine string

const (
	// All: every check must succeed. A miss of any is a miss; otherwise a
	// fault of our own in any is a fault of our own.
	All Combine = "all"
	// Any: one success is enough. Without one, a fault of our own in any is a
	// fault of our own, and only misses of all are a miss.
	Any Combine = "any"
)

// Combines lists every rule, for messages and completion.
var Combines = []Combine{All, Any}

// maxChecks bounds the checks of one target, and so the connections that one
// probe has open at a time.
const maxChecks = 8

// only is the target with one check and no other.
func (t Target) only(c Check) Target {
	t.Check, t.Checks, t.Combine = c, nil, ""
	return t
}

// each lists the target once for each of its checks, in their order.
func (t Target) each() []Target {
	if len(t.Checks) == 0 {
		return []Target{t}
	}
	out := make([]Target, len(t.Checks))
	for i, c := range t.Checks {
		out[i] = t.only(c)
	}
	return out
}

// Connected returns the target with the first of its checks that speaks over
// a connection, which can be held open, and no other; ok is false when there
// is none.
func (t Target) Connected() (one Target, ok bool) {
	for _, one := range t.each() {
		if one.Check.connected() {
			return one, true
		}
	}
	return Target{}, false
}

func (c Check) connected() bool {
	return c.Type == TCP || c.isTLS() || c.isHTTP() || c.isGRPC() || c.Type == Tablestore
}

// tablestore returns the target with its first check of that kind, and no other.
func (t Target) tablestore() (one Target, ok bool) {
	for _, one := range t.each() {
		if one.Check.Type == Tablestore {
			return one, true
		}
	}
	return Target{}, false
}

// label names one of several checks in reasons and warnings.
func (c Check) label(i int) string {
	if c.Name == "" {
		return fmt.Sprintf("checks[%d]", i)
	}
	return fmt.Sprintf("checks[%d] (%s)", i, c.Name)
}

func (t Target) validateChecks(f *faults) {
	if len(t.Checks) == 0 {
		*f = append(*f, Under("check", t.Check.Validate())...)
		if t.Combine != "" {
			f.add("combine", "write several checks, or leave it out", "has no use with one check")
		}
		t.validateAddress(f)
		return
	}
	if t.Check.Type != "" {
		f.add("checks", "keep one of the two", "excludes check")
	}
	if len(t.Checks) > maxChecks {
		f.add("checks", "", "lists %d checks, more than %d", len(t.Checks), maxChecks)
	}
	if t.Combine != "" && !slices.Contains(Combines, t.Combine) {
		f.add("combine", "", "%q is none of %v", t.Combine, Combines)
	}
	names := map[string]bool{}
	for i, c := range t.Checks {
		at := fmt.Sprintf("checks[%d]", i)
		*f = append(*f, Under(at, c.Validate())...)
		if c.Name != "" && names[c.Name] {
			f.add(at+".name", "", "%q is there twice", c.Name)
		}
		names[c.Name] = true
	}
	for _, one := range t.each() {
		var mine faults
		if one.validateAddress(&mine); len(mine) > 0 {
			*f = append(*f, mine...)
			return
		}
	}
}

// part is one check of several.
type part struct {
	label    string
	probe    Probe
	identity bool // it can tell a wrong cluster
}

// newCombined builds one probe of several checks. They run at the same time,
// each with a connection of its own, within the one deadline of the probe.
func newCombined(t Target, c ProbeConfig) (Probe, error) {
	parts := make([]part, 0, len(t.Checks))
	for i, one := range t.each() {
		probe, err := newSingle(one, c)
		if err != nil {
			return nil, fmt.Errorf("checks[%d]: %w", i, err)
		}
		parts = append(parts, part{one.Check.label(i), probe, one.Check.Identity.Configured()})
	}
	rule := t.Combine
	return func(ctx context.Context) error { return runParts(ctx, rule, parts) }, nil
}

// finding is what one of the checks found.
type finding struct {
	part  part
	err   error
	trace Trace
}

// runParts returns after every check has ended. As soon as the rest can no
// longer change the outcome, it is called off.
func runParts(ctx context.Context, rule Combine, parts []part) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		mu       sync.Mutex
		done     = make([]bool, len(parts))
		findings = make([]finding, len(parts))
		wg       sync.WaitGroup
		decided  bool
	)
	for i, p := range parts {
		wg.Go(func() {
			f := finding{part: p}
			f.err = guarded(WithTrace(inner, &f.trace), p.probe)
			mu.Lock()
			defer mu.Unlock()
			if decided {
				return // called off by us: it says nothing
			}
			findings[i], done[i] = f, true
			if decided = settled(rule, parts, findings, done); decided {
				cancel()
			}
		})
	}
	wg.Wait()
	ended := make([]finding, 0, len(parts))
	for i, f := range findings {
		if done[i] {
			ended = append(ended, f)
		}
	}
	first, err := combined(rule, ended)
	fill(traceOf(ctx), ended, first)
	return err
}

// settled says that no check which still runs can change the outcome. With
// All that is so after a miss. With Any it is so after a success, unless one
// that runs could still say that the wrong cluster answers.
func settled(rule Combine, parts []part, findings []finding, done []bool) bool {
	missed, passed, doubt := false, false, false
	for i, f := range findings {
		switch {
		case !done[i]:
			doubt = doubt || parts[i].identity
		case f.err == nil:
			passed = true
		case errors.Is(f.err, ErrWrongCluster), rule != Any && !isOwn(f.err):
			missed = true
		}
	}
	return missed || rule == Any && passed && !doubt
}

// combined is the outcome of a probe, and which of the findings decided it.
//
// The wrong cluster is a miss under either rule: whoever answers there, it is
// not the one that clients would be sent to. What is a miss only if a control
// is reachable (see disputed) is judged by whoever knows the controls, so it
// must stay visible exactly where the outcome depends on it.
func combined(rule Combine, fs []finding) (decider int, err error) {
	var misses, own, certain []int
	passed := -1
	for i, f := range fs {
		switch {
		case f.err == nil && passed < 0:
			passed = i
		case f.err == nil:
		case errors.Is(f.err, ErrWrongCluster):
			return i, f.named()
		case !isOwn(f.err):
			misses = append(misses, i)
		case disputed(f.err):
			own = append(own, i)
		default:
			certain = append(certain, i)
		}
	}
	if rule == Any {
		switch {
		case passed >= 0:
			return passed, nil
		case len(certain) > 0:
			return certain[0], fs[certain[0]].named()
		case len(own) > 0:
			return own[0], noneOf(fs, own[0])
		default:
			return misses[0], noneOf(fs, misses[0])
		}
	}
	for _, is := range [][]int{misses, own, certain} {
		if len(is) > 0 {
			return is[0], fs[is[0]].named()
		}
	}
	return passed, nil
}

func (f finding) named() error { return fmt.Errorf("%s: %w", f.part.label, f.err) }

// noneOf tells of every check why it did not succeed. Only the decider's error
// can be unwrapped: the kinds of the others must not be taken for the whole.
func noneOf(fs []finding, decider int) error {
	if len(fs) == 1 {
		return fs[0].named()
	}
	return noneError{fs, decider}
}

type noneError struct {
	findings []finding
	decider  int
}

func (e noneError) Error() string {
	parts := make([]string, len(e.findings))
	for i, f := range e.findings {
		parts[i] = f.named().Error()
	}
	return fmt.Sprintf("none of %d checks succeeded: %s", len(parts), strings.Join(parts, "; "))
}

func (e noneError) Unwrap() error { return e.findings[e.decider].err }

// fill tells of the whole probe: times and addresses are those of the check
// that decided, warnings those of all that succeeded, by their names, and of
// their certificates the one that ends first.
func fill(tr *Trace, fs []finding, decider int) {
	identity, warnings, ends := false, []string(nil), time.Time{}
	wrote := Trace{}
	for _, f := range fs {
		wrote.wrote(f.trace)
		if f.err != nil {
			continue
		}
		identity = identity || f.trace.Identity
		if e := f.trace.CertificateEnds; ends.IsZero() || !e.IsZero() && e.Before(ends) {
			ends = e
		}
		for _, w := range f.trace.Warnings {
			warnings = append(warnings, f.part.label+": "+w)
		}
	}
	*tr = fs[decider].trace
	tr.Units = CapacityUnits{}
	tr.wrote(wrote)
	warnings = warnings[:min(len(warnings), maxWarnings)]
	tr.Identity, tr.Warnings, tr.CertificateEnds = identity && fs[decider].err == nil, warnings, ends
}
