package hook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pointsman/internal/failover"
)

var secret = []byte("0123456789abcdef")

func asked(url string) Def {
	return Def{Hook: failover.Hook{Name: "desk", When: failover.HookPre, Timeout: time.Minute}, URL: url, Secret: secret}
}

// desk answers with a status and a body.
func desk(t *testing.T, status int, body string) Def {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return asked(s.URL + "/hooks?x=1")
}

func TestAnAnswerIsAVerdictOrNone(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   failover.HookResult
	}{
		{200, `{"verdict":"pass"}`, failover.HookResult{Verdict: "pass"}},
		{200, `{"verdict":"pass","reason":"all is\ncalm"}` + "\n", failover.HookResult{Verdict: "pass", Reason: "all is calm"}},
		{200, `{"verdict":"veto","reason":"the books are open"}`, failover.HookResult{Verdict: "veto", Reason: "the books are open"}},
		{200, `{"verdict":"error"}`, failover.HookResult{Verdict: "error", Reason: `its answer is no verdict: verdict "error" is neither pass nor veto`}},
		{200, `{"verdict":"PASS"}`, failover.HookResult{Verdict: "error", Reason: `its answer is no verdict: verdict "PASS" is neither pass nor veto`}},
		{200, `{}`, failover.HookResult{Verdict: "error", Reason: `its answer is no verdict: verdict "" is neither pass nor veto`}},
		{200, ``, failover.HookResult{Verdict: "error", Reason: `its answer is no verdict: EOF`}},
		{200, `{"verdict":"pass"}{"verdict":"veto"}`, failover.HookResult{Verdict: "error", Reason: `its answer is no verdict: something follows the object`}},
		{200, `{"verdict":"pass","force":true}`, failover.HookResult{Verdict: "error", Reason: `its answer is no verdict: json: unknown field "force"`}},
		{200, `{"verdict":"pass","reason":"` + strings.Repeat("x", maxAnswer) + `"}`, failover.HookResult{Verdict: "error", Reason: "its answer has more than 64 KiB"}},
		{201, `{"verdict":"pass"}`, failover.HookResult{Verdict: "error", Reason: `it answers 201: {"verdict":"pass"}`}},
		{503, "gone home", failover.HookResult{Verdict: "error", Reason: "it answers 503: gone home"}},
	} {
		got := one(t, desk(t, c.status, c.body))
		got.Took, got.Name = 0, ""
		if got != c.want {
			t.Errorf("%d %.60s: got %+v, want %+v", c.status, c.body, got, c.want)
		}
	}
	for status, want := range map[int]failover.HookVerdict{200: "pass", 204: "pass", 302: "error", 500: "error"} {
		d := desk(t, status, "")
		d.When = failover.HookPost
		if got := one(t, d); got.Verdict != want {
			t.Errorf("after the end, %d: %+v", status, got)
		}
	}
}

// TestARequestIsSigned as the contract says, computed here without our own code.
func TestARequestIsSigned(t *testing.T) {
	var bad atomic.Pointer[string]
	fail := func(s string) { bad.CompareAndSwap(nil, &s) }
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			fail(err.Error())
		}
		stamp, id := r.Header.Get("Pointsman-Hook-Timestamp"), r.Header.Get("Pointsman-Hook-Id")
		m := hmac.New(sha256.New, []byte("0123456789abcdef"))
		m.Write([]byte(stamp + "." + id + "." + string(body)))
		if got := r.Header.Get("Pointsman-Hook-Signature"); got != "v1="+hex.EncodeToString(m.Sum(nil)) {
			fail("signature " + got)
		}
		if n, err := strconv.ParseInt(stamp, 10, 64); err != nil || time.Since(time.Unix(n, 0)) > time.Minute {
			fail("timestamp " + stamp)
		}
		var b Body
		if err := json.Unmarshal(body, &b); err != nil || b.Version != 1 || b.ID != id || id != "orders-7.12/pre/desk/3" || b.Op.Reason != "a is\ndown \x1b[31m" {
			fail("body " + string(body))
		}
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || r.URL.String() != "/x?y=z" {
			fail(r.Method + " " + r.URL.String())
		}
		_, _ = io.WriteString(w, `{"verdict":"pass"}`)
	}))
	defer s.Close()
	got := one(t, asked(s.URL+"/x?y=z"))
	if b := bad.Load(); b != nil || got.Verdict != failover.HookPassed {
		t.Errorf("%+v: %v", got, b)
	}
	if strings.Contains(string(order("pre").Op.Reason), string(secret)) || Sign(secret, "1", "a", []byte("b")) == Sign(secret, "1", "a.b", nil) {
		t.Error("two requests have one signature")
	}
}

// TestNoRedirectIsFollowed and no proxy of the environment is used.
func TestNoRedirectIsFollowed(t *testing.T) {
	var reached atomic.Int32
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached.Add(1)
		_, _ = io.WriteString(w, `{"verdict":"pass"}`)
	}))
	defer behind.Close()
	// The proxy of the environment is never asked for loopback, so a request shows nothing.
	if c := client(nil); c.Transport.(*http.Transport).Proxy != nil {
		t.Error("there is a proxy function")
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := httptest.NewServer(http.RedirectHandler(behind.URL, status))
		got := one(t, asked(s.URL))
		s.Close()
		if got.Verdict != failover.HookBroken || !strings.HasPrefix(got.Reason, "it answers "+strconv.Itoa(status)) {
			t.Errorf("%d: %+v", status, got)
		}
	}
	if reached.Load() != 0 {
		t.Error("somebody else was asked")
	}
}

// TestAForbiddenAddressIsNotDialled, whatever name leads to it.
func TestAForbiddenAddressIsNotDialled(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	d := asked("http://localhost:" + port + "/")
	cfg := config(d)
	var seen atomic.Pointer[netip.Addr]
	cfg.Forbidden = func(a netip.Addr) error { seen.Store(&a); return errDenied }
	res, _ := runner(t, cfg).Run(t.Context(), "orders", order(failover.HookPre, d))
	if res[0].Verdict != failover.HookBroken || !strings.Contains(res[0].Reason, "denied") || seen.Load() == nil || !seen.Load().IsLoopback() {
		t.Errorf("%+v, asked about %v", res, seen.Load())
	}
	if tl := l.(*net.TCPListener); tl.SetDeadline(time.Now().Add(50*time.Millisecond)) == nil {
		if c, err := l.Accept(); err == nil {
			c.Close()
			t.Error("it was dialled")
		}
	}
}

// TestTheWholeAnswerHasItsTime: one that comes byte by byte has none.
func TestTheWholeAnswerHasItsTime(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := io.WriteString(w, " "); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}))
	defer s.Close()
	d := asked(s.URL)
	d.Timeout = 300 * time.Millisecond
	began := time.Now()
	if got := one(t, d); got.Verdict != failover.HookBroken || got.Reason != "no answer within 300ms" || time.Since(began) > soon {
		t.Errorf("%+v after %s", got, time.Since(began))
	}
	hung, err := net.Listen("tcp", "127.0.0.1:0") // takes the connection and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer hung.Close()
	d.URL = "http://" + hung.Addr().String() + "/"
	if got := one(t, d); got.Reason != "no answer within 300ms" {
		t.Errorf("%+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	res, _ := runner(t, config(d)).Run(ctx, "orders", order(failover.HookPre, d))
	if res[0].Verdict != failover.HookBroken {
		t.Errorf("%+v", res)
	}
}

// TestNothingOfAURLIsTold: it may hold somebody's secret.
func TestNothingOfAURLIsTold(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	if got := one(t, asked("http://"+addr+"/T0KEN?k=T0KEN")); got.Verdict != failover.HookBroken || strings.Contains(got.Reason, "T0KEN") {
		t.Errorf("%+v", got)
	}
}

func FuzzReadAnswer(f *testing.F) {
	for _, s := range []string{`{"verdict":"pass"}`, `{"verdict":"veto","reason":"x"}`, `[]`, `{"verdict":"pass"} x`, "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := readAnswer(data)
		if err == nil && a.Verdict != failover.HookPassed && a.Verdict != failover.HookVetoed || err != nil && a != (answer{}) {
			t.Fatalf("%q: %+v, %v", data, a, err)
		}
	})
}
