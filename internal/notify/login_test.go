package notify

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The login in a URL is sent, as people who write one mean it, and an answer
// that repeats it, in the form in which it was sent too, tells nobody.
func TestTheLoginOfAURLIsSentAndNotTold(t *testing.T) {
	const word = "pa55word-of-the-gateway"
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte("pm:"+word))
	said := ""
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		said = r.Header.Get("Authorization")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "%s may not", said)
	})
	at = strings.Replace(at, "http://", "http://pm:"+word+"@", 1)
	p, err := newPulse(&Heartbeat{URL: at, Every: time.Minute, Allow: loopback}, real())
	if err != nil {
		t.Fatal(err)
	}
	for name, send := range map[string]func() error{
		"webhook": func() error {
			return mustSender(t, Channel{Type: Webhook, URL: at, Secret: []byte("0123456789abcdef")}, real()).send(t.Context(), single(message("m")))
		},
		"alertmanager": func() error {
			return mustSender(t, Channel{Type: Alertmanager, URL: at}, real()).send(t.Context(), single(message("m")))
		},
		"heartbeat": func() error { return p.beat(t.Context(), true) },
	} {
		err := send()
		if said != want {
			t.Errorf("%s: the receiver was sent the login %q", name, said)
		}
		if err == nil || strings.Contains(err.Error(), word[:6]) || strings.Contains(err.Error(), want[6:20]) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	// A token of its own goes before it.
	err = mustSender(t, Channel{Type: Alertmanager, URL: at, Secret: []byte("token-1234")}, real()).send(t.Context(), single(message("m")))
	if said != "Bearer token-1234" || err == nil || strings.Contains(err.Error(), "token-1234") {
		t.Errorf("%q, %v", said, err)
	}
}

// A server of e-mails that repeats a login as it came, in Base64, tells no
// password.
func TestALoginInBase64IsHidden(t *testing.T) {
	const word = "s3cret-word-of-some-length"
	for _, form := range []string{"\x00pm\x00" + word, "pm\x00pm\x00" + word, word} {
		coded := base64.StdEncoding.EncodeToString([]byte(form))
		s := (&smtpServer{starttls: true, login: "pm " + word, rcpt: "451 who is " + coded}).start(t)
		c := emailTo(s)
		c.User, c.Secret = "pm", []byte(word)
		err := mustSender(t, c, bent(s.addr, s.roots)).send(t.Context(), single(message("m")))
		if err == nil || !strings.Contains(err.Error(), "who is") || strings.Contains(err.Error(), coded) {
			t.Errorf("got %v", err)
		}
	}
}

// Two reports that come in one second have files of their own, however alike
// their names begin.
func TestReportsOfOneSecondHaveTheirOwnFiles(t *testing.T) {
	dir := t.TempDir()
	x := mustSender(t, Channel{Type: Folder, Path: dir}, real())
	for _, name := range []string{"production-europe-daily", "production-europe-weekly"} {
		m := &Message{ID: name + "/2026-11-28T120000Z", State: Info, Kind: ReportKind, At: noon, Document: &Document{Title: name, Markdown: name}}
		for range 2 { // a second try replaces the first
			if err := x.send(t.Context(), single(m)); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	a, _ := os.ReadFile(files[0])
	b, _ := os.ReadFile(files[1])
	if string(a) == string(b) {
		t.Errorf("both are %s", a)
	}
}
