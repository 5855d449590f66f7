package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The body of a webhook is the same over every try, whenever that is: whoever
// keeps IDs may keep the body, too.
func TestTheBodyOfAWebhookIsTheSameOverTries(t *testing.T) {
	now := noon
	o := outer{now: func() time.Time { return now }}
	x, err := newSender(Channel{Type: Webhook, URL: "http://127.0.0.1:1/", Secret: []byte("0123456789abcdef")}, &Setup{}, o)
	if err != nil {
		t.Fatal(err)
	}
	var bodies []string
	for range 2 {
		data, err := json.Marshal(x.(*hook).body(single(message("m"))))
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, string(data))
		now = now.Add(time.Hour)
	}
	if bodies[0] != bodies[1] {
		t.Errorf("%s\n%s", bodies[0], bodies[1])
	}
}

// A key that can be guessed signs nothing.
func TestAShortSecretIsRefused(t *testing.T) {
	for n, want := range map[int]string{0: "its secret is shorter than 16 bytes", 15: "its secret is shorter than 16 bytes", 16: ""} {
		_, err := newSender(Channel{Type: Webhook, URL: "https://hooks.example.com/", Secret: []byte(strings.Repeat("x", n))}, &Setup{}, real())
		if fmt.Sprint(err) != want && (err != nil || want != "") {
			t.Errorf("%d bytes: got %v", n, err)
		}
	}
}

// DingTalk does not hear a robot for ten minutes that sent too fast; knocking
// meanwhile prolongs that.
func TestAMutedRobotIsLeftAloneForTenMinutes(t *testing.T) {
	for _, said := range []string{
		`{"errcode":130101,"errmsg":"send too fast, exceed 20 times per minute"}`, `{"errcode":410100,"errmsg":"limited"}`, `{"errcode":1,"errmsg":"Send Too Fast"}`,
	} {
		at := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, said) })
		err := mustSender(t, Channel{Type: DingTalk, URL: at + "/?access_token=0f1e2d3c4b5a", Secret: []byte("SECdef")}, real()).send(t.Context(), single(message("m")))
		if th := (*throttled)(nil); !errors.As(err, &th) || th.after != 10*time.Minute {
			t.Errorf("%s: got %v", said, err)
		}
	}
}
