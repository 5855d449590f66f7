package healthcheck

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestHTTPAnswers(t *testing.T) {
	big := strings.Repeat("x", 300<<10)
	for name, tc := range map[string]struct {
		check  Check
		answer http.HandlerFunc
		says   string // of the reason; empty is healthy
		phase  Phase
	}{
		"any 2xx will do": {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }},
		"an error status": {
			answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
			says:   "status 503, want 200-299", phase: PhaseStatus,
		},
		"a status of the set": {
			check:  Check{Status: []StatusRange{{200, 200}, {401, 403}}},
			answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) },
		},
		"a status outside the set": {
			check:  Check{Status: []StatusRange{{200, 200}, {401, 403}}},
			answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
			says:   "status 204, want 200,401-403", phase: PhaseStatus,
		},
		"path and query arrive": {
			check: Check{Path: "/healthz?full=1"},
			answer: func(w http.ResponseWriter, r *http.Request) {
				if r.RequestURI != "/healthz?full=1" || !strings.HasPrefix(r.UserAgent(), "pointsman-probe (van-1)") {
					w.WriteHeader(500)
				}
			},
		},
		"own headers arrive": {
			check: Check{Headers: map[string]string{"X-Ots-InstanceName": "inst"}},
			answer: func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("x-ots-instancename") != "inst" {
					w.WriteHeader(500)
				}
			},
		},
		"an expected header": {
			check:  Check{ExpectHeaders: map[string]string{"X-State": "^(ready|warm)$"}},
			answer: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-State", "warm") },
		},
		"a header with another value": {
			check:  Check{ExpectHeaders: map[string]string{"X-State": "^ready$"}},
			answer: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-State", "not ready") },
			says:   `header X-State is "not ready", which "^ready$" does not match`, phase: PhaseHeader,
		},
		"a missing header": {
			check:  Check{ExpectHeaders: map[string]string{"X-State": ""}},
			answer: func(http.ResponseWriter, *http.Request) {},
			says:   "no header X-State in the answer", phase: PhaseHeader,
		},
		"a text in the body": {
			check:  Check{Body: BodyCheck{Contains: "all is well", Matches: `v\d+`}},
			answer: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "v12: all is well") },
		},
		"a text that is not there": {
			check:  Check{Body: BodyCheck{Contains: "all is well"}},
			answer: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "default page") },
			says:   `the body holds no "all is well"`, phase: PhaseBody,
		},
		"a pattern that does not match": {
			check:  Check{Body: BodyCheck{Matches: `^v\d+$`}},
			answer: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "version 1") },
			says:   "the body does not match", phase: PhaseBody,
		},
		"a JSON value": {
			check:  Check{JSON: JSONCheck{Path: "checks[0].ok", Value: "true"}},
			answer: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"checks":[{"ok":true}]}`) },
		},
		"another JSON value": {
			check:  Check{JSON: JSONCheck{Path: "$.status", Value: "ok"}},
			answer: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"status":"starting"}`) },
			says:   `$.status is "starting", want "ok"`, phase: PhaseBody,
		},
		"a JSON path that leads nowhere": {
			check:  Check{JSON: JSONCheck{Path: "$.status"}},
			answer: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{}`) },
			says:   `no $['status'] in the body`, phase: PhaseBody,
		},
		"no JSON at all": {
			check:  Check{JSON: JSONCheck{Path: "$.status"}},
			answer: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `<html>`) },
			says:   "body is no JSON", phase: PhaseBody,
		},
		"a redirect": {
			answer: func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://169.254.169.254/latest", http.StatusFound)
			},
			says: `status 302, a redirect to "http://169.254.169.254/latest" that is not followed, want 200-299`, phase: PhaseStatus,
		},
		"a redirect that is expected": {
			check:  Check{Status: []StatusRange{{302, 302}}},
			answer: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) },
		},
		"a huge body is cut": {
			answer: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, big) },
		},
		"what stands behind the cut does not count": {
			check:  Check{Body: BodyCheck{Contains: "well"}},
			answer: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, big+"well") },
			says:   "the first 64 KiB of the body holds no", phase: PhaseBody,
		},
		"a huge JSON is not guessed at": {
			check:  Check{JSON: JSONCheck{Path: "a"}},
			answer: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"a":"`+big+`"}`) },
			says:   "body is larger than 64 KiB", phase: PhaseBody,
		},
		"huge headers": {
			answer: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Big", big) },
			says:   "headers are larger than 32 KiB", phase: PhaseRead,
		},
		"HEAD": {
			check: Check{Method: "HEAD"},
			answer: func(w http.ResponseWriter, r *http.Request) {
				if r.Method != "HEAD" {
					w.WriteHeader(500)
				}
			},
		},
		"early hints before the answer": {
			answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(200) },
		},
		"a handler that breaks off": {
			answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			says:   "connection closed before an answer", phase: PhaseRead,
		},
		"a body that breaks off": {
			answer: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100")
				io.WriteString(w, "half")
			},
			says: "read body: unexpected EOF", phase: PhaseBody,
		},
	} {
		t.Run(name, func(t *testing.T) {
			tg := target(HTTP, serve(t, tc.answer))
			tc.check.Type = HTTP
			tg.Check = tc.check
			tr, err := probe(t, tg)
			if tc.says == "" {
				if err != nil || tr.Phase != PhaseDone {
					t.Fatalf("got %v in phase %s, want healthy", err, tr.Phase)
				}
				return
			}
			if err == nil || errors.Is(err, ErrOwn) || !strings.Contains(err.Error(), tc.says) || tr.Phase != tc.phase {
				t.Fatalf("got %v in phase %s, want %q in phase %s", err, tr.Phase, tc.says, tc.phase)
			}
		})
	}
}

func TestHealthyAnswerFromTheWrongClusterIsDown(t *testing.T) {
	answer := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/default" {
			io.WriteString(w, "Welcome to nginx!")
			return
		}
		w.Header().Set("X-Cluster", "b")
		io.WriteString(w, `{"cluster":"b","all":["b"]}`)
	}
	addr := serve(t, answer)
	for name, tc := range map[string]struct {
		id   IdentityCheck
		path string
		want string
		says string
	}{
		"header":             {IdentityCheck{Header: "X-Cluster"}, "/", "a", "wrong cluster: says b, want a"},
		"json":               {IdentityCheck{JSONPath: "$.cluster"}, "/", "a", "wrong cluster: says b, want a"},
		"body":               {IdentityCheck{Body: `"cluster":"(\w+)"`}, "/", "a", "wrong cluster: says b, want a"},
		"body without group": {IdentityCheck{Body: `\[.*\]`}, "/", "a", `wrong cluster: says ["b"], want a`},
		"no header":          {IdentityCheck{Header: "X-Cluster"}, "/default", "a", "wrong cluster: no header X-Cluster in the answer, want a"},
		"no pattern":         {IdentityCheck{Body: `"cluster":"(\w+)"`}, "/default", "a", "wrong cluster: the body does not match"},
		"a list is no one":   {IdentityCheck{JSONPath: "all"}, "/", "a", "wrong cluster: all: is no single value, want a"},
		"header, right":      {IdentityCheck{Header: "X-Cluster"}, "/", "b", ""},
		"json, right":        {IdentityCheck{JSONPath: "all[0]"}, "/", "b", ""},
		"body, right":        {IdentityCheck{Body: `"cluster":"(\w+)"`}, "/", "b", ""},
	} {
		t.Run(name, func(t *testing.T) {
			tg := target(HTTP, addr)
			tg.Check.Identity, tg.Check.Path, tg.Identity = tc.id, tc.path, tc.want
			tr, err := probe(t, tg)
			if tc.says == "" {
				if err != nil || !tr.Identity {
					t.Fatalf("got %v, identity proved %v", err, tr.Identity)
				}
				return
			}
			if !errors.Is(err, ErrWrongCluster) || errors.Is(err, ErrOwn) || !strings.HasPrefix(err.Error(), tc.says) {
				t.Fatalf("got %v, want %q", err, tc.says)
			}
			if tr.Identity || tr.Phase != PhaseIdentity {
				t.Errorf("phase %s, identity proved %v", tr.Phase, tr.Identity)
			}
		})
	}
}

func TestEachHTTPProbeHasItsOwnConnection(t *testing.T) {
	var conns atomic.Int32
	l := listen(t)
	s := &http.Server{ConnState: func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Add(1)
		}
	}}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	s.Handler = http.NotFoundHandler()
	t.Cleanup(func() { s.Close(); <-done })
	tg := target(HTTP, l.Addr().String())
	tg.Check.Status = []StatusRange{{404, 404}}
	for range 3 {
		if _, err := probe(t, tg); err != nil {
			t.Fatal(err)
		}
	}
	if n := conns.Load(); n != 3 {
		t.Errorf("3 probes used %d connections", n)
	}
}

func TestProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	if _, err := probe(t, target(HTTP, serve(t, func(http.ResponseWriter, *http.Request) {}))); err != nil {
		t.Fatal(err)
	}
}

// Whatever stalls, and wherever, is a miss when the time is over.
func TestHTTPStallIsAMissAfterTheTimeout(t *testing.T) {
	release := make(chan struct{})
	header := serve(t, func(_ http.ResponseWriter, r *http.Request) { stall(r, release) })
	body := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half of")
		w.(http.Flusher).Flush()
		stall(r, release)
	})
	drip := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for i := 0; r.Context().Err() == nil; i++ {
			fmt.Fprint(w, i)
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	})
	t.Cleanup(func() { close(release) }) // before the servers are closed
	for name, tc := range map[string]struct {
		addr  string
		phase Phase
	}{
		"nobody accepts":     {listen(t).Addr().String(), PhaseRead},
		"before the headers": {header, PhaseRead},
		"within the body":    {body, PhaseBody},
		"a body that drips":  {drip, PhaseBody},
	} {
		t.Run(name, func(t *testing.T) {
			tg := target(HTTP, tc.addr)
			tg.Timeout = 150 * time.Millisecond
			start := time.Now()
			tr, err := probe(t, tg)
			if err == nil || errors.Is(err, ErrOwn) || tr.Phase != tc.phase || !strings.Contains(err.Error(), "no answer within ") {
				t.Fatalf("got %v in phase %s", err, tr.Phase)
			}
			if took := time.Since(start); took < 140*time.Millisecond {
				t.Errorf("gave up after %s", took)
			}
		})
	}
}

func stall(r *http.Request, release <-chan struct{}) {
	select {
	case <-r.Context().Done():
	case <-release:
	}
}

func TestSlowAnswerIsAWarningOnly(t *testing.T) {
	tg := target(HTTP, serve(t, func(http.ResponseWriter, *http.Request) { time.Sleep(20 * time.Millisecond) }))
	tg.Check.Slow = 10 * time.Millisecond
	tr, err := probe(t, tg)
	if err != nil || len(tr.Warnings) != 1 || !strings.HasPrefix(tr.Warnings[0], "slow: answered in ") {
		t.Fatalf("got %v with warnings %q", err, tr.Warnings)
	}
}

// raw answers each connection with bytes of its own making, without end where
// it likes, and says when it has stopped.
func raw(t *testing.T, answer func(w io.Writer) error) string {
	l := listen(t)
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 4096))
			answer(c)
			c.Close()
		}
	}()
	return l.Addr().String()
}

// forever writes until the other side has had enough.
func forever(w io.Writer, text string) error {
	page := []byte(strings.Repeat(text, 1+4096/len(text)))
	for {
		if _, err := w.Write(page); err != nil {
			return err
		}
	}
}

// Whatever has no end is cut off at its bound, long before the timeout, and
// named. Each server stops writing, since the probe hangs up on it.
func TestHTTPAnswersWithoutEndAreBoundedAndNamed(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, tc := range map[string]struct{ head, endless, says string }{
		"status line":       {"HTTP/1.1 200 ", "x", "headers are larger than 32 KiB"},
		"headers":           {"HTTP/1.1 200 OK\r\n", "X-A: b\r\n", "headers are larger than 32 KiB"},
		"one header":        {"HTTP/1.1 200 OK\r\nX-A: ", "x", "headers are larger than 32 KiB"},
		"interim answers":   {"", "HTTP/1.1 103 Early Hints\r\n\r\n", "more than 8 interim answers"},
		"their headers":     {"HTTP/1.1 103 Early Hints\r\n", "Link: </a>\r\n", "headers are larger than 32 KiB"},
		"a chunk's size":    {chunked, "0", "too long"},
		"chunk extensions":  {chunked + "1;", "x", "too long"},
		"tiny chunks":       {chunked, "1;" + strings.Repeat("x", 40) + "\r\na\r\n", ""},
		"trailers":          {chunked + "1\r\na\r\n0\r\n", "X-A: b\r\n", "long trailer"},
		"a body":            {"HTTP/1.1 200 OK\r\n\r\n", "x", "healthy"},
		"a body in chunks":  {chunked, "1000\r\n" + strings.Repeat("x", 4096) + "\r\n", "healthy"},
		"accept and close":  {"HTTP/1.1 200 OK\r\n", "", "connection closed before an answer"},
		"junk after a body": {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "junk", "healthy"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := raw(t, func(w io.Writer) error {
				io.WriteString(w, tc.head)
				if tc.endless == "" {
					return nil
				}
				return forever(w, tc.endless)
			})
			start := time.Now()
			_, err := probe(t, target(HTTP, addr))
			if took := time.Since(start); took > 4*time.Second {
				t.Errorf("it was read for %s", took)
			}
			if tc.says == "healthy" {
				if err != nil {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err == nil || isOwn(err) || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("got %v, want %q", err, tc.says)
			}
		})
	}
}
