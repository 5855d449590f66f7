package healthcheck

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
)

// watchRequest is what a watch sends: the head of what the check asks for, on
// a connection that stays.
func watchRequest(t Target, c ProbeConfig) []byte {
	var b strings.Builder
	b.WriteString(http.MethodHead + " " + t.Check.Path + " HTTP/1.1\r\nHost: " + t.hostHeader())
	b.WriteString("\r\nUser-Agent: pointsman-watch (" + clean(string(c.Vantage), 64) + ")\r\nAccept: */*\r\n")
	for _, name := range sortedKeys(t.Check.Headers) {
		switch http.CanonicalHeaderKey(name) {
		case "User-Agent", "Accept":
			continue
		}
		b.WriteString(name + ": " + t.Check.Headers[name] + "\r\n")
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

// answerHead reads the head of an answer, piece by piece, for the little that
// a watch wants of it: where it ends, and whether the connection stays. Heads
// of interim answers are passed over (RFC 9110 section 15.2). What follows the
// head is not looked at: an answer to HEAD has no body, and one that is sent
// all the same is thrown away before the next request.
type answerHead struct {
	done    bool
	closing bool // Connection: close, or HTTP/1.0 without keep-alive

	line  []byte // begun, at most maxLine bytes of it
	size  int    // of the head so far
	lines int
	early int // interim answers
	code  int
	old   bool // HTTP/1.0
	stays bool // Connection: keep-alive
}

// maxLine is how much of a line is kept: enough for what is looked for.
const maxLine = 256

var errNoHTTP = errors.New("the server does not speak HTTP/1")

func (a *answerHead) feed(b []byte) error {
	for _, c := range b {
		if a.done {
			return nil
		}
		if a.size++; a.size > maxHeader {
			return errTalks
		}
		if c != '\n' {
			if len(a.line) < maxLine {
				a.line = append(a.line, c)
			}
			continue
		}
		err := a.take(bytes.TrimSuffix(a.line, []byte("\r")))
		a.line = a.line[:0]
		if err != nil {
			return err
		}
	}
	return nil
}

// take reads a whole line.
func (a *answerHead) take(line []byte) error {
	a.lines++
	switch {
	case a.lines == 1:
		return a.status(line)
	case len(line) > 0:
		a.field(line)
		return nil
	case a.code < 200 && a.code != http.StatusSwitchingProtocols:
		if a.early++; a.early > maxEarly {
			return errTalks
		}
		*a = answerHead{line: a.line, size: a.size, early: a.early}
		return nil
	}
	a.done = true
	a.closing = a.closing || a.old && !a.stays
	return nil
}

// status reads the first line (RFC 9112 section 4).
func (a *answerHead) status(line []byte) error {
	rest, ok := bytes.CutPrefix(line, []byte("HTTP/1."))
	if !ok || len(rest) < 5 || rest[1] != ' ' {
		return errNoHTTP
	}
	a.old = rest[0] == '0'
	for _, c := range rest[2:5] {
		if c < '0' || c > '9' {
			return errNoHTTP
		}
		a.code = 10*a.code + int(c-'0')
	}
	return nil
}

// field looks for Connection, a list of options (RFC 9110 section 7.6.1).
func (a *answerHead) field(line []byte) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	if !bytes.EqualFold(name, []byte("Connection")) {
		return
	}
	for option := range bytes.SplitSeq(value, []byte(",")) {
		switch option = bytes.TrimSpace(option); {
		case bytes.EqualFold(option, []byte("close")):
			a.closing = true
		case bytes.EqualFold(option, []byte("keep-alive")):
			a.stays = true
		}
	}
}
