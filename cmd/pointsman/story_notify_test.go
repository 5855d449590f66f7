package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"pointsman/internal/notify"
)

// storyHook is a receiver of our webhook: it verifies the signature, refuses
// what it has seen, and keeps the bodies.
type storyHook struct {
	mu     sync.Mutex
	seen   map[string]bool
	bodies []string
	faults []string
}

const hookSecret = "0123456789abcdef0123456789abcdef"

func (h *storyHook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	data, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	h.mu.Lock()
	defer h.mu.Unlock()
	id := r.Header.Get(notify.HeaderID)
	err := notify.Verify([]byte(hookSecret), r.Header, data, time.Now(), time.Minute)
	if err == nil {
		_, err = notify.ParseBody(id, data)
	}
	switch {
	case err != nil:
		h.faults = append(h.faults, err.Error())
		http.Error(w, err.Error(), http.StatusForbidden)
	case !h.seen[id]: // again is no fault of the sender, and nothing new
		h.seen[id] = true
		h.bodies = append(h.bodies, string(data))
	}
}

// notifyConfig is what the config of the stories has beside its instances.
const notifyConfig = `
notify:
  zone: Asia/Shanghai
  runbook: https://wiki.example.com/pointsman/KIND
  channels:
    - {name: files, type: folder, path: notices, language: zh}
    - {name: hook, type: webhook, url: "http://$HOOK/in", secret_file: hook.key, allow: [127.0.0.0/8]}
`

// openHook opens the receiver and writes the config with its address.
func openHook(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hook FILE")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	h := &storyHook{seen: map[string]bool{}}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	ts.Defer(func() { _ = srv.Close(); <-done })
	ts.Value(hooksKey{}).(*hooks).now = h
	config := ts.ReadFile("pointsman.yaml") + strings.ReplaceAll(notifyConfig, "$HOOK", l.Addr().String())
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(config), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("hook.key"), []byte(hookSecret+"\n"), 0o600))
}

// notified waits for a message.
func notified(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: hooked REGEXP")
	}
	want := regexp.MustCompile(args[0])
	h := ts.Value(hooksKey{}).(*hooks).now
	found := func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, b := range h.bodies {
			if want.MatchString(b) {
				return true
			}
		}
		return false
	}
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		switch got := found(); {
		case got && !neg:
			return
		case neg && got:
			ts.Fatalf("%s was received", args[0])
		case neg:
			return
		case time.Now().After(end):
			h.mu.Lock()
			defer h.mu.Unlock()
			ts.Fatalf("no message matches %s\nreceived: %s\nrefused: %s", args[0], strings.Join(h.bodies, "\n"), strings.Join(h.faults, "\n"))
		}
	}
}

// hooks is the receiver of one story, once it is open.
type hooks struct{ now *storyHook }

type hooksKey struct{}
