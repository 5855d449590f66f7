package healthcheck

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// expectation is what a healthy answer looks like, and who must have sent it.
type expectation struct {
	*likeness
	identity string
}

// likeness is what a healthy answer to a check looks like. It depends on the
// check alone and is never written to, so targets can share it.
type likeness struct {
	check   Check
	headers map[string]*regexp.Regexp
	matches *regexp.Regexp
	json    jsonPath
	idJSON  jsonPath
	idBody  *regexp.Regexp
}

// newLikeness takes a check with its defaults written out.
func newLikeness(c Check) (*likeness, error) {
	e := &likeness{check: c, headers: map[string]*regexp.Regexp{}}
	var errs []error
	compile := func(expr string) *regexp.Regexp {
		if expr == "" {
			return nil
		}
		re, err := regexp.Compile(expr)
		errs = append(errs, err)
		return re
	}
	path := func(s string) jsonPath {
		if s == "" {
			return nil
		}
		p, err := parseJSONPath(s)
		errs = append(errs, err)
		return p
	}
	for name, expr := range c.ExpectHeaders {
		e.headers[name] = compile(expr)
	}
	e.matches, e.json = compile(c.Body.Matches), path(c.JSON.Path)
	e.idJSON, e.idBody = path(c.Identity.JSONPath), compile(c.Identity.Body)
	return e, errors.Join(errs...)
}

// judge goes from the cheap to the telling; the first miss is the reason.
func (e *expectation) judge(resp *http.Response, body answerBody, tr *Trace) error {
	tr.Phase = PhaseStatus
	if err := e.status(resp); err != nil {
		return err
	}
	tr.Phase = PhaseHeader
	for _, name := range sortedKeys(e.headers) {
		values, re := resp.Header.Values(name), e.headers[name]
		if len(values) == 0 {
			return fmt.Errorf("no header %s in the answer", name)
		}
		if re != nil && !slices.ContainsFunc(values, re.MatchString) {
			return fmt.Errorf("header %s is %s, which %q does not match", name, quote(values[0]), re)
		}
	}
	tr.Phase = PhaseBody
	var doc any
	if e.check.JSON.Path != "" || e.check.Identity.JSONPath != "" {
		if !body.whole {
			return fmt.Errorf("body is larger than %d KiB, too large to look at as JSON", maxBody>>10)
		}
		var err error
		if doc, err = decodeJSON(body.bytes); err != nil {
			return err
		}
	}
	if err := e.body(body, doc); err != nil {
		return err
	}
	if !e.check.Identity.Configured() {
		return nil
	}
	tr.Phase = PhaseIdentity
	if err := e.who(resp, body, doc); err != nil {
		return err
	}
	tr.Identity = true
	return nil
}

func (e *likeness) status(resp *http.Response) error {
	got := resp.StatusCode
	if slices.ContainsFunc(e.check.Status, func(r StatusRange) bool { return r.From <= got && got <= r.To }) {
		return nil
	}
	want := make([]string, len(e.check.Status))
	for i, r := range e.check.Status {
		want[i] = r.String()
	}
	if loc := resp.Header.Get("Location"); got/100 == 3 && loc != "" {
		return fmt.Errorf("status %d, a redirect to %s that is not followed, want %s", got, quote(loc), strings.Join(want, ","))
	}
	return fmt.Errorf("status %d, want %s", got, strings.Join(want, ","))
}

func (e *likeness) body(body answerBody, doc any) error {
	where := "the body"
	if !body.whole {
		where = fmt.Sprintf("the first %d KiB of the body", maxBody>>10)
	}
	if c := e.check.Body.Contains; c != "" && !bytes.Contains(body.bytes, []byte(c)) {
		return fmt.Errorf("%s holds no %s", where, quote(c))
	}
	if e.matches != nil && !e.matches.Match(body.bytes) {
		return fmt.Errorf("%s does not match %q", where, e.matches)
	}
	if e.json == nil {
		return nil
	}
	v, err := e.json.find(doc)
	if err != nil || e.check.JSON.Value == "" {
		return err
	}
	got, err := scalar(v)
	if err != nil {
		return fmt.Errorf("%s %w", e.check.JSON.Path, err)
	}
	if got != e.check.JSON.Value {
		return fmt.Errorf("%s is %s, want %s", e.check.JSON.Path, quote(got), quote(e.check.JSON.Value))
	}
	return nil
}

// who compares the identity that the answer states. None at all is a miss
// too: a default page or a captive portal is nobody's cluster.
func (e *expectation) who(resp *http.Response, body answerBody, doc any) error {
	id := e.check.Identity
	var says string
	switch {
	case id.Header != "":
		return sameCluster(resp.Header.Values(id.Header), id.Header, e.identity)
	case id.JSONPath != "":
		v, err := e.idJSON.find(doc)
		if err == nil {
			says, err = scalar(v)
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w, want %s", ErrWrongCluster, id.JSONPath, err, e.identity)
		}
	default:
		m := e.idBody.FindSubmatch(body.bytes)
		if m == nil {
			return fmt.Errorf("%w: the body does not match %q, want %s", ErrWrongCluster, id.Body, e.identity)
		}
		says = string(m[min(1, len(m)-1)])
	}
	if says != e.identity {
		return fmt.Errorf("%w: says %s, want %s", ErrWrongCluster, clean(says, 64), e.identity)
	}
	return nil
}

// sameCluster compares the values of a header with the identity.
func sameCluster(values []string, header, identity string) error {
	if len(values) == 0 {
		return fmt.Errorf("%w: no header %s in the answer, want %s", ErrWrongCluster, header, identity)
	}
	// Two different answers to who are none.
	if says := strings.Join(slices.Compact(slices.Clone(values)), ", "); says != identity {
		return fmt.Errorf("%w: says %s, want %s", ErrWrongCluster, clean(says, 64), identity)
	}
	return nil
}

// quote shows foreign text safely and shortly.
func quote(s string) string { return fmt.Sprintf("%q", clean(s, 64)) }

// clean makes foreign text fit to be shown: one line, no control characters,
// at most limit bytes. Cleaning twice changes nothing more.
func clean(s string, limit int) string {
	const more = "…"
	cut := len(s) > limit
	if cut {
		s = s[:limit-len(more)]
	}
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if cut {
		s += more
	}
	return s
}
