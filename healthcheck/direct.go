package healthcheck

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// direct is a probe that a lane can do: tcp or http to a literal address. It
// is the same look at a cluster as that of tcpProbe and httpProbe, and says
// the same of it in the same words, at a fraction of the cost.
type direct struct {
	to   netip.AddrPort
	slow time.Duration
	wire []byte // the request; nil for tcp
	want expectation
	// easy says that status line and headers alone show whether all is well.
	easy bool
}

// isDirect says whether a lane can do the target's probe.
func (t *Target) isDirect() bool {
	if len(t.Checks) > 0 || t.Check.Type != TCP && t.Check.Type != HTTP {
		return false
	}
	to, err := netip.ParseAddrPort(t.dialAddress())
	return err == nil && to.Addr().Zone() == "" && !to.Addr().Is4In6()
}

// newDirect makes the probe of a target that isDirect. What targets with the
// same check can share is found in, or added to, shared.
func newDirect(t Target, c ProbeConfig, shared map[string]*likeness) (*direct, error) {
	p := &direct{to: netip.MustParseAddrPort(t.dialAddress()), slow: t.slow()}
	if err := Forbidden(p.to.Addr(), c.Allow); err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	if t.Check.Type == TCP {
		return p, nil
	}
	t.Check = t.Check.withDefaults()
	var err error
	if p.wire, err = wireOf(t, c.Vantage); err != nil {
		return nil, err
	}
	key, err := json.Marshal(t.Check)
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	like := shared[string(key)]
	if like == nil {
		if like, err = newLikeness(t.Check); err != nil {
			return nil, err
		}
		shared[string(key)] = like
	}
	p.want = expectation{like, t.Identity}
	k := like.check
	p.easy = len(k.ExpectHeaders) == 0 && k.Body == BodyCheck{} && k.JSON == JSONCheck{} && k.Identity.JSONPath == "" && k.Identity.Body == ""
	return p, nil
}

// framing is what the first bytes of an answer say of its form.
type framing int

const (
	framePartial framing = iota // more is to come
	frameWhole                  // the answer is all there
	frameOdd                    // only the full parser can tell
)

// frame says how far an answer has come, if it is of the usual form: a status
// line, headers, and a body of a stated length. It is strict: whatever it does
// not know is odd. For a whole one it returns the status and the headers.
func frame(b []byte, method string) (f framing, status int, headers []byte) {
	const line = len("HTTP/1.1 200")
	end := bytes.Index(b, []byte("\r\n\r\n"))
	switch {
	case len(b) > maxHeader || end > maxHeader-4:
		return frameOdd, 0, nil
	case end < 0 && bytes.Contains(b, []byte("\n\n")):
		return frameOdd, 0, nil // bare line feeds, which the full parser takes
	case end < 0:
		return framePartial, 0, nil
	case end < line || string(b[:7]) != "HTTP/1." || b[7] != '0' && b[7] != '1' || b[8] != ' ':
		return frameOdd, 0, nil
	}
	for _, d := range b[9:12] {
		if d < '0' || d > '9' {
			return frameOdd, 0, nil
		}
		status = status*10 + int(d-'0')
	}
	first := bytes.IndexByte(b, '\r')
	if status < 200 || status > 599 || first > line && b[line] != ' ' || !isPrintable(b[line:first]) || b[first+1] != '\n' {
		return frameOdd, 0, nil
	}
	if headers = b[first+2 : end+2]; first == end {
		headers = nil
	}
	length := -1
	for h := headers; len(h) > 0; {
		name, value, rest, ok := cutHeader(h)
		if !ok {
			return frameOdd, 0, nil
		}
		h = rest
		switch {
		case equalFold(name, "Transfer-Encoding"), equalFold(name, "Trailer"):
			return frameOdd, 0, nil
		case equalFold(name, "Content-Length"):
			if length >= 0 || len(value) == 0 || len(value) > 15 {
				return frameOdd, 0, nil
			}
			length = 0
			for _, d := range value {
				if d < '0' || d > '9' {
					return frameOdd, 0, nil
				}
				length = length*10 + int(d-'0')
			}
		}
	}
	switch {
	case method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified:
		length = 0
	case length < 0:
		return frameOdd, 0, nil // up to the end of the connection
	}
	if len(b)-end-4 < min(length, maxBody+1) {
		return framePartial, 0, nil
	}
	return frameWhole, status, headers
}

// cutHeader takes the first line off a block of header lines, each with its
// line end.
func cutHeader(h []byte) (name, value, rest []byte, ok bool) {
	nl := bytes.IndexByte(h, '\n')
	if nl < 1 || h[nl-1] != '\r' {
		return nil, nil, nil, false
	}
	name, value, ok = bytes.Cut(h[:nl-1], []byte(":"))
	if !ok || !tokenBytes(name) || !isPrintable(value) {
		return nil, nil, nil, false
	}
	return name, bytes.Trim(value, " \t"), h[nl+1:], true
}

func tokenBytes(b []byte) bool {
	for _, c := range b {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return len(b) > 0
}

// isPrintable takes ASCII and tabs; the full parser takes more.
func isPrintable(b []byte) bool {
	for _, c := range b {
		if c != '\t' && (c < ' ' || c > '~') {
			return false
		}
	}
	return true
}

func equalFold(b []byte, s string) bool { return len(b) == len(s) && strings.EqualFold(string(b), s) }

// well says that a whole answer is as it should be, as far as status line and
// headers show. Whoever is not told so asks the full parser for the reason.
func (p *direct) well(status int, headers []byte) bool {
	if !p.easy || !slices.ContainsFunc(p.want.check.Status, func(r StatusRange) bool { return r.From <= status && status <= r.To }) {
		return false
	}
	id := p.want.check.Identity.Header
	if id == "" {
		return true
	}
	seen := 0
	for h := headers; len(h) > 0; {
		name, value, rest, _ := cutHeader(h)
		if h = rest; equalFold(name, id) {
			if seen++; string(value) != p.want.identity {
				return false
			}
		}
	}
	return seen == 1
}

// errMore: the full parser needs bytes that have not come yet.
var errMore = errors.New("more is to come")

// parse reads with the full parser what has come of an answer, after which
// reading meets end: io.EOF, an error of the connection, or errMore.
func (p *direct) parse(b []byte, end error, tr *Trace, within time.Duration) error {
	resp, body, err := readAnswer(io.MultiReader(bytes.NewReader(b), failing{end}), requestOf(p.want.check), tr, within)
	if err != nil {
		return err
	}
	if err := p.want.judge(resp, body, tr); err != nil {
		return err
	}
	tr.Phase = PhaseDone
	return nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
