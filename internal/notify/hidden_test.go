package notify

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A receiver that answers with what it was sent tells no piece of a secret,
// wherever the answer is cut, and whatever stands within it.
func TestAnAnswerIsCutAfterItsSecretsAreHidden(t *testing.T) {
	const token = "S3cr3tT0kenABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	status, pad, split := 0, 0, ""
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		said := strings.Repeat("x", pad) + " " + token[:9] + split + token[9:]
		if status == http.StatusOK {
			said = `{"errcode":310000,"errmsg":"` + said + `"}`
		}
		_, _ = io.WriteString(w, said)
	}) + "/" + token
	key := []byte("0123456789abcdef")
	p, err := newPulse(&Heartbeat{URL: url, Every: time.Minute, Allow: loopback}, real())
	if err != nil {
		t.Fatal(err)
	}
	for name, send := range map[string]func() error{
		"webhook": func() error {
			return mustSender(t, Channel{Type: Webhook, URL: url, Secret: key}, real()).send(t.Context(), single(message("m")))
		},
		"dingtalk": func() error {
			return mustSender(t, Channel{Type: DingTalk, URL: url, Secret: key}, real()).send(t.Context(), single(message("m")))
		},
		"alertmanager": func() error {
			return mustSender(t, Channel{Type: Alertmanager, URL: url}, real()).send(t.Context(), single(message("m")))
		},
		"heartbeat": func() error { return p.beat(t.Context(), true) },
	} {
		for _, status = range []int{200, 400, 404, 429, 500} {
			if status == 200 && name != "dingtalk" {
				continue
			}
			for pad = 90; pad < 420; pad += 12 {
				for _, split = range []string{"", "\u202e"} {
					err := send()
					if err == nil || strings.Contains(err.Error(), token[:5]) {
						t.Fatalf("%s, status %d after %d: %v", name, status, pad, err)
					}
				}
			}
		}
	}
}

// The error of a server is cut after the password in it was hidden.
func TestAReplyIsCutAfterThePasswordIsHidden(t *testing.T) {
	for pad := 330; pad < 400; pad += 10 {
		const word = "s3cret-word-of-some-length"
		s := (&smtpServer{starttls: true, login: "pm " + word, rcpt: "451 " + strings.Repeat("x", pad) + " " + word}).start(t)
		c := emailTo(s)
		c.User, c.Secret = "pm", []byte(word)
		err := mustSender(t, c, bent(s.addr, s.roots)).send(t.Context(), single(message("m")))
		if err == nil || strings.Contains(err.Error(), word[:5]) {
			t.Fatalf("after %d: %v", pad, err)
		}
	}
}
