package notify

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// One message goes through every chat at once, with one ID. Each call still has
// the rules of its own channel, and what one receiver answers is told of no
// other: else a chat that took nothing would count as told.
func TestOneMessageThroughSeveralChatsAtOnce(t *testing.T) {
	m := message(newID())
	const chats = 8
	var in sync.WaitGroup // all are on their way before any is answered
	in.Add(chats)
	var wg sync.WaitGroup
	for i := range chats {
		path := fmt.Sprintf("/in-%d", i)
		o := chat(t, func(w http.ResponseWriter, r *http.Request, body string) {
			if r.URL.Path != path {
				t.Errorf("%s came to where %s is", r.URL.Path, path)
			}
			if !strings.Contains(body, m.ID) {
				t.Errorf("the ID of the message is not in %s", body)
			}
			in.Done()
			in.Wait()
			if i%2 == 1 {
				w.WriteHeader(http.StatusInternalServerError)
			}
		})
		x, err := newSender(Channel{Type: Shoutrrr, URL: "generic://hooks.example.com" + path, Allow: loopback}, &Setup{}, o)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			err := x.send(t.Context(), single(m))
			if failed := err != nil; failed != (i%2 == 1) {
				t.Errorf("chat %d of %d: got %v", i, chats, err)
			}
		})
	}
	wg.Wait()
}
