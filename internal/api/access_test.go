package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
)

func overTCP(t *testing.T, w *world, change func(*Config)) (*Server, string) {
	t.Helper()
	cfg := w.config(t)
	cfg.Listen, cfg.Token = "127.0.0.1:0", []byte(testToken)
	if change != nil {
		change(&cfg)
	}
	s := serveTest(t, cfg)
	return s, "http://" + s.Addr()
}

// ask sends one request as it stands, without a client of ours.
func ask(t *testing.T, method, url string, body io.Reader, change func(*http.Request)) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+testToken)
	r.Header.Set("Content-Type", "application/json")
	if change != nil {
		change(r)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func TestTCPNeedsLoopbackAndAToken(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.com:0", "127.0.0.1"} {
		cfg := newWorld().config(t)
		cfg.Listen, cfg.Token = listen, []byte(testToken)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s was bound", listen)
		} else if listen != "127.0.0.1" && !errors.Is(err, ErrNotLoopback) {
			t.Errorf("%s: %v", listen, err)
		}
	}
	for _, token := range []string{"", "short"} {
		cfg := newWorld().config(t)
		cfg.Listen, cfg.Token = "127.0.0.1:0", []byte(token)
		if _, err := New(cfg); !errors.Is(err, ErrNoToken) {
			t.Errorf("token %q: %v", token, err)
		}
	}
}

func TestTCPRefusesEveryoneWithoutTheToken(t *testing.T) {
	w := newWorld()
	_, base := overTCP(t, w, nil)
	paths := []string{
		"/v1/instances", "/v1/instances/orders", "/v1/instances/orders/explain", "/v1/history", "/v1/audit",
		"/v1/audit/verify", "/v1/secondaries", "/v1/probes", "/v1/version", "/v1/watch", "/v1/nothing",
	}
	posts := []string{"/v1/instances/orders/plan", "/v1/instances/orders/commands", "/v1/instances/orders/apply"}
	for _, auth := range []string{"", "Bearer ", "Bearer " + testToken + "x", "Bearer " + testToken[1:], "Basic " + testToken, testToken} {
		set := func(r *http.Request) { r.Header.Set("Authorization", auth) }
		for _, p := range paths {
			if resp := ask(t, "GET", base+p, nil, set); resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("GET %s with %q: %s", p, auth, resp.Status)
			}
		}
		for _, p := range posts {
			if resp := ask(t, "POST", base+p, strings.NewReader(`{"verb":"ack","by":"x"}`), set); resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("POST %s with %q: %s", p, auth, resp.Status)
			}
		}
	}
	if n := len(w.commands()); n != 0 {
		t.Errorf("%d commands came through", n)
	}
	c, err := NewClient(ClientConfig{Server: base, Token: []byte(testToken)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do(t.Context(), "orders", CommandRequest{Verb: failover.DoAck, By: "bob"}); err != nil {
		t.Fatalf("with the token: %v", err)
	}
	if by := w.commands()[0].By; !strings.HasPrefix(by, "bob (token, from 127.0.0.1:") {
		t.Errorf("by %q", by)
	}
}

func TestTCPRefusesWebPagesAndReboundNames(t *testing.T) {
	w := newWorld()
	s, base := overTCP(t, w, nil)
	_, port, _ := net.SplitHostPort(s.Addr())
	body := func() io.Reader { return strings.NewReader(`{"verb":"ack","by":"x"}`) }
	url := base + "/v1/instances/orders/commands"
	for _, host := range []string{"evil.example:" + port, "127.0.0.1:1", "127.0.0.1", "localhost.evil.example:" + port} {
		if resp := ask(t, "POST", url, body(), func(r *http.Request) { r.Host = host }); resp.StatusCode != http.StatusForbidden {
			t.Errorf("host %s: %s", host, resp.Status)
		}
	}
	for _, h := range [][2]string{{"Origin", "https://evil.example"}, {"Origin", base}, {"Origin", "null"}, {"Sec-Fetch-Site", "cross-site"}} {
		if resp := ask(t, "POST", url, body(), func(r *http.Request) { r.Header.Set(h[0], h[1]) }); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s %s: %s", h[0], h[1], resp.Status)
		}
	}
	if n := len(w.commands()); n != 0 {
		t.Errorf("%d commands came through", n)
	}
	if resp := ask(t, "POST", url, body(), func(r *http.Request) { r.Host = "localhost:" + port }); resp.StatusCode != http.StatusOK {
		t.Errorf("localhost: %s", resp.Status)
	}
}

func TestBodiesAreStrict(t *testing.T) {
	w := newWorld()
	_, base := overTCP(t, w, nil)
	url := base + "/v1/instances/orders/commands"
	for name, c := range map[string]struct {
		body, kind string
		want       int
	}{
		"empty":            {"", "application/json", 400},
		"no json":          {"verb=ack", "application/json", 400},
		"unknown field":    {`{"verb":"ack","by":"x","ref":"r1"}`, "application/json", 400},
		"inner field":      {`{"verb":"ack","by":"x","op_id":"mine"}`, "application/json", 400},
		"two values":       {`{"verb":"ack","by":"x"}{}`, "application/json", 400},
		"wrong type":       {`{"verb":7,"by":"x"}`, "application/json", 400},
		"form":             {`{"verb":"ack","by":"x"}`, "text/plain", 415},
		"no kind":          {`{"verb":"ack","by":"x"}`, "", 415},
		"unknown verb":     {`{"verb":"destroy","by":"x"}`, "application/json", 400},
		"nobody":           {`{"verb":"ack","by":" "}`, "application/json", 400},
		"control in by":    {`{"verb":"ack","by":"x\nlevel=INFO forged"}`, "application/json", 400},
		"escape in reason": {`{"verb":"ack","by":"x","reason":"\u001b[2J"}`, "application/json", 400},
		"no reason":        {`{"verb":"failover","by":"x","to":"b","override":["exposure"]}`, "application/json", 400},
		"unknown guard":    {`{"verb":"failover","by":"x","reason":"r","override":["all"]}`, "application/json", 400},
		"guard twice":      {`{"verb":"failover","by":"x","reason":"r","override":["paused","paused"]}`, "application/json", 400},
		"bad mode":         {`{"verb":"arm","by":"x","mode":"shadow"}`, "application/json", 400},
		"negative loss":    {`{"verb":"failover","by":"x","accept_loss":"-1s"}`, "application/json", 400},
		"huge loss":        {`{"verb":"failover","by":"x","accept_loss":"9999999h"}`, "application/json", 400},
		"bad pause":        {`{"verb":"pause","by":"x","for":"soon"}`, "application/json", 400},
		"long":             {`{"verb":"ack","by":"` + strings.Repeat("x", 254) + `"}`, "application/json", 400},
		"huge":             {`{"verb":"ack","by":"` + strings.Repeat("x", MaxBody) + `"}`, "application/json", 413},
		"good":             {`{"verb":"ack","by":"x"}`, "application/json; charset=utf-8", 200},
	} {
		resp := ask(t, "POST", url, strings.NewReader(c.body), func(r *http.Request) { r.Header.Set("Content-Type", c.kind) })
		if resp.StatusCode != c.want {
			b, _ := io.ReadAll(resp.Body)
			t.Errorf("%s: %s, want %d: %s", name, resp.Status, c.want, b)
		}
	}
	if n := len(w.commands()); n != 1 {
		t.Errorf("%d commands came through, want the good one only", n)
	}
}

func TestHealthIsOpenAndTruthful(t *testing.T) {
	w := newWorld()
	w.ready = []Condition{{Name: "ledger", OK: true}}
	_, base := overTCP(t, w, func(c *Config) {
		c.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "pointsman_up 1") })
	})
	anonymous := func(r *http.Request) { r.Header.Del("Authorization") }
	want := func(path string, status int) {
		t.Helper()
		if resp := ask(t, "GET", base+path, nil, anonymous); resp.StatusCode != status {
			t.Errorf("%s: %s, want %d", path, resp.Status, status)
		}
	}
	for _, p := range []string{"/livez", "/readyz", "/healthz", "/leader", "/metrics"} {
		want(p, 200)
	}
	w.change(func(v *failover.View) { v.Leading = false })
	want("/leader", 503)
	want("/readyz", 200) // one that does not lead is ready
	w.ready = append(w.ready, Condition{Name: "store", Why: "disk is full"})
	want("/readyz", 503)
	w.live = errors.New("loop stands still")
	want("/livez", 503)
	want("/", 404)
}

func TestReportsPassToTheirOwnDoor(t *testing.T) {
	got := make(chan string, 1)
	_, base := overTCP(t, newWorld(), func(c *Config) {
		c.Report = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			got <- string(b)
			w.WriteHeader(http.StatusNoContent)
		})
	})
	resp := ask(t, "POST", base+"/v1/report", strings.NewReader("signed"), func(r *http.Request) {
		r.Header.Del("Authorization")
		r.Host = "controller.example" // behind a forwarder
	})
	if resp.StatusCode != http.StatusNoContent || <-got != "signed" {
		t.Errorf("report: %s", resp.Status)
	}
	for _, p := range []string{"/v1/report/", "/v1//report", "/v1/report/../instances", "/V1/report"} {
		resp := ask(t, "GET", base+p, nil, func(r *http.Request) { r.Header.Del("Authorization"); r.URL.Opaque = p })
		if resp.StatusCode == http.StatusOK {
			t.Errorf("%s went through the guests' door: %s", p, resp.Status)
		}
	}
}

func TestSlowHeadersDoNotHoldAConnection(t *testing.T) {
	s, _ := overTCP(t, newWorld(), nil)
	d := net.Dialer{}
	c, err := d.DialContext(context.Background(), "tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("GET /v1/instances HTTP/1.1\r\nHost: ")); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(headerTimeout + time.Minute))
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Errorf("the server did not close the connection: %v", err)
	}
}

func TestClientSendsTheTokenToNoProxyAndFollowsNoRedirect(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:1")
	evil := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/stolen") {
			t.Error("the redirect was followed")
		}
		http.Redirect(w, r, "/stolen", http.StatusTemporaryRedirect)
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = evil.Serve(l) }()
	t.Cleanup(func() { evil.Close(); <-done })
	c, err := NewClient(ClientConfig{Server: "http://" + l.Addr().String(), Token: []byte(testToken)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Views(t.Context()); !errors.Is(err, ErrNotOurs) {
		t.Errorf("got %v", err)
	}
	for _, bad := range []string{"127.0.0.1:8053", "ftp://127.0.0.1", "http://", "http://x/path"} {
		if _, err := NewClient(ClientConfig{Server: bad}); err == nil {
			t.Errorf("server %q was taken", bad)
		}
	}
}
