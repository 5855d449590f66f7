package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"pointsman/internal/failover"
	"pointsman/internal/hook"
)

// askedDesk is somebody's web service that is asked and told, and checks who asks.
type askedDesk struct {
	*httptest.Server
	mu     sync.Mutex
	answer string
	told   []hook.Body
	wrong  string
}

const deskSecret = "desk-desk-desk-desk-desk-desk-42"

func startDesk(t *testing.T) *askedDesk {
	t.Helper()
	d := &askedDesk{answer: `{"verdict":"pass"}`}
	d.Server = httptest.NewServer(d)
	t.Cleanup(d.Close)
	return d
}

func (d *askedDesk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	m := hmac.New(sha256.New, []byte(deskSecret))
	fmt.Fprintf(m, "%s.%s.%s", r.Header.Get("Pointsman-Hook-Timestamp"), r.Header.Get("Pointsman-Hook-Id"), body)
	var b hook.Body
	if err := json.Unmarshal(body, &b); err != nil || r.Header.Get("Pointsman-Hook-Signature") != "v1="+hex.EncodeToString(m.Sum(nil)) {
		d.wrong = string(body)
		http.Error(w, "who are you", http.StatusForbidden)
		return
	}
	d.told = append(d.told, b)
	_, _ = io.WriteString(w, d.answer)
}

func (d *askedDesk) says(answer string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = answer
}

// heard waits for a body as wanted.
func (d *askedDesk) heard(t *testing.T, what string, ok func(hook.Body) bool) {
	t.Helper()
	eventually(t, what, func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, b := range d.told {
			if ok(b) {
				return true
			}
		}
		return false
	})
}

// TestADeskIsAskedAndTold over signed requests that a reload brought: its veto
// holds a switchover, its pass lets it go, and the end is told.
func TestADeskIsAskedAndTold(t *testing.T) {
	t.Parallel()
	d := startDesk(t)
	w := &bindWorld{dir: shortDir(t, "desk"), a: startBackend(t, "127.0.1.1", "a"), b: startBackend(t, "127.0.1.2", "b")}
	w.replace = strings.NewReplacer("$CONTROL", controlAt(t), "$A", w.a.addr, "$B", w.b.addr, "$DNS", freeAddr(t), "$LISTEN", freeAddr(t), "$KEYS", "", "$SECONDARIES", "")
	plain := strings.Replace(w.replace.Replace(secondaryConfig), "cooldown: 0s\n", "cooldown: 0s\n    config_settle: 0s\n", 1)
	write := func(text string, files map[string]string) {
		t.Helper()
		all := map[string]string{"pointsman.yaml": text, "token": strings.Repeat("t", 32) + "\n"}
		for name, text := range files {
			all[name] = text
		}
		writeFiles(t, w.dir, all)
	}
	write(plain, nil)
	ctl := w.run(t)
	w.until(t, "both up", bothUp)
	w.verb(t, exitOK, "arm", "orders", "--mode", "propose", "--yes")

	hooks := plain + fmt.Sprintf("hooks:\n  pre: [{name: desk, url: %q, secret_file: desk.key}]\n  post: [{name: desk, url: %q, secret_file: desk.key}]\n", d.URL+"/pre", d.URL+"/post")
	write(hooks, nil)
	wantIn(t, w.verb(t, exitError, "reload"), "hook desk: read secret", "desk.key", "no such file")
	write(hooks, map[string]string{"desk.key": "short\n"})
	wantIn(t, w.verb(t, exitError, "reload"), "desk.key: shorter than 16 bytes")
	write(hooks, map[string]string{"desk.key": deskSecret + "\n"})
	eventually(t, "the hooks in a plan", func() bool {
		_, said := w.try(t, "reload")
		_, plan := w.try(t, "plan", "switchover", "orders")
		return !strings.Contains(said, "refused") && strings.Contains(plan, "desk  pre   10s")
	})

	d.says(`{"verdict":"veto","reason":"the books\nare open"}`)
	wantIn(t, w.verb(t, exitError, "switchover", "orders", "--yes", "--reason", "new disks"), "vetoed by hook desk: the books are open")
	d.heard(t, "the question", func(b hook.Body) bool {
		return b.When == failover.HookPre && b.ID == "orders-1.1/pre/desk/1" && b.Op.Reason == "new disks" && len(b.Op.Names) == 1 && b.Op.Names[0].To == "b.lab.test."
	})
	d.heard(t, "the end", func(b hook.Body) bool {
		return b.When == failover.HookPost && b.Op.Outcome == failover.Unwound && strings.HasPrefix(b.Op.Why, "vetoed by hook desk")
	})
	d.says(`{"verdict":"pass","surprise":1}`)
	wantIn(t, w.verb(t, exitError, "switchover", "orders", "--yes"), `no verdict, which counts as a veto: its answer is no verdict: json: unknown field "surprise"`)
	d.says(`{"verdict":"pass"}`)
	w.verb(t, exitOK, "switchover", "orders", "--yes")
	d.heard(t, "the end", func(b hook.Body) bool { return b.When == failover.HookPost && b.Op.Outcome == failover.Settled })
	wantIn(t, w.verb(t, exitOK, "hook", "test", "orders", "--when", "post"), "desk  post  pass")
	d.heard(t, "the test", func(b hook.Body) bool { return b.Test && strings.HasPrefix(b.Op.ID, "orders-test-") })
	if d.wrong != "" {
		t.Errorf("a request with a wrong signature: %s", d.wrong)
	}
	if all := w.verb(t, exitOK, "history", "orders") + w.verb(t, exitOK, "audit", "orders") + ctl.log.String(); strings.Contains(all, deskSecret) {
		t.Error("the secret was told")
	}
}
