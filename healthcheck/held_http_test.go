package healthcheck

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
)

func TestTheHeadOfAnAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		in            string
		done, closing bool
		err           error
	}{
		"kept":            {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true, false, nil},
		"body sent too":   {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.0 x\n\n", true, false, nil},
		"closed":          {"HTTP/1.1 503 \r\nconnection: Foo , Close\r\n\r\n", true, true, nil},
		"old":             {"HTTP/1.0 200 OK\n\n", true, true, nil},
		"old, kept":       {"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n\r\n", true, false, nil},
		"interim":         {"HTTP/1.1 103 Early\r\nConnection: close\r\n\r\nHTTP/1.1 204 N\r\n\r\n", true, false, nil},
		"only interim":    {strings.Repeat("HTTP/1.1 100 C\r\n\r\n", 9), false, false, errTalks},
		"switching":       {"HTTP/1.1 101 S\r\n\r\n", true, false, nil},
		"not finished":    {"HTTP/1.1 200 OK\r\nA: b\r\n", false, false, nil},
		"something else":  {"SSH-2.0-OpenSSH\r\n", false, false, errNoHTTP},
		"no number":       {"HTTP/1.1 2x0 OK\r\n", false, false, errNoHTTP},
		"without an end":  {"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", maxHeader), false, false, errTalks},
		"a line too long": {"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", 9000) + "\r\n\r\n", true, false, nil},
	} {
		for _, step := range []int{1, 7, 1 << 20} {
			var a answerHead
			var err error
			for in := c.in; len(in) > 0 && err == nil; {
				n := min(step, len(in))
				err = a.feed([]byte(in[:n]))
				in = in[n:]
			}
			if a.done != c.done || a.done && a.closing != c.closing || err != c.err {
				t.Errorf("%s, %d bytes at a time: done %t, closing %t, %v", name, step, a.done, a.closing, err)
			}
		}
	}
}

// Whatever comes is bounded, does not depend on how it is cut, and is a head
// where net/http sees one.
func FuzzAnswerHead(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "HTTP/1.0 200 OK\n\n", "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 O\r\n\r\n", "\n", "HTTP/1.", "HTTP/1.1 200 OK\r\n : close\r\n\r\n",
	} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		cut = max(0, min(cut, len(in)))
		var whole, parts answerHead
		werr := whole.feed(in)
		perr := parts.feed(in[:cut])
		if perr == nil {
			perr = parts.feed(in[cut:])
		}
		if whole.done != parts.done || whole.closing != parts.closing || werr != perr {
			t.Fatalf("cut at %d: %+v %v, whole: %+v %v", cut, parts, perr, whole, werr)
		}
		if len(whole.line) > maxLine || whole.size > maxHeader+1 {
			t.Fatalf("not bounded: %+v", whole)
		}
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(in)), &http.Request{Method: http.MethodHead})
		if err == nil && resp.StatusCode >= 200 && resp.ProtoMajor == 1 && resp.ProtoMinor < 2 && werr == nil && !whole.done && len(in) < maxHeader {
			t.Fatalf("no head in %q", in)
		}
	})
}
