package notify

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func FuzzParseBody(f *testing.F) {
	good, err := json.Marshal((&hook{w: texts(English), now: time.Now}).body(single(message("1"))))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("1", good)
	f.Add("1", []byte(`{"version":2,"id":"1","messages":[{}]}`))
	f.Add("", []byte(`{"version":1}`))
	f.Add("1", []byte(`{"version":1,"id":"1","messages":[{"evidence":[{"vote":"dead"}]}]}`))
	f.Add("x", []byte(`[[[[`))
	f.Fuzz(func(t *testing.T, id string, data []byte) {
		b, err := ParseBody(id, data)
		if err != nil {
			if !errors.Is(err, ErrBody) || b.ID != "" {
				t.Errorf("%v with %+v", err, b)
			}
			return
		}
		again, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := ParseBody(id, again); err != nil || c.ID != id || len(c.Messages) != len(b.Messages) {
			t.Errorf("what was read does not read again: %v", err)
		}
	})
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, s := range []string{"", "0", "120", " 7 ", "-1", "99999999999999999999", "1.5", "Sat, 28 Nov 2026 12:00:07 GMT", "Saturday, 28-Nov-26 12:00:07 GMT", "soon", "7, 8"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := ParseRetryAfter(s, noon)
		if d < 0 || d > maxThrottle || !ok && d != 0 {
			t.Errorf("%q is %s, %v", s, d, ok)
		}
	})
}

func FuzzVerify(f *testing.F) {
	f.Add("1795867200", "1", []byte("{}"), "v1=00")
	f.Add("-1", "", []byte(nil), "")
	f.Fuzz(func(t *testing.T, ts, id string, body []byte, sig string) {
		h := http.Header{}
		h.Set(HeaderTimestamp, ts)
		h.Set(HeaderID, id)
		h.Set(HeaderSignature, sig)
		if Verify(hookSecret, h, body, noon, time.Minute) == nil {
			t.Errorf("%q was accepted", sig)
		}
	})
}

func FuzzTheOutboxReadsWhatItFinds(f *testing.F) {
	body, _ := json.Marshal(message("1"))
	f.Add("1", body, []byte(nil), []byte(`{"id":"1","instance":"orders"}`), []byte(`{"spent":[1,2]}`))
	f.Add("2", []byte("{"), []byte("{"), []byte("[]"), []byte("7"))
	f.Fuzz(func(t *testing.T, id string, msg, doc, inc, channel []byte) {
		o := newOutbox(nil, time.Hour)
		o.restore(rowsOf{
			messages:  []messageRow{{id, msg, doc}},
			entries:   []*entryRow{{entry{seq: 1, channel: "x", queued: noon, due: noon}, id}},
			incidents: [][]byte{inc}, channels: map[string][]byte{"x": channel},
		})
		s := &Setup{Channels: []Channel{{Name: "x", Type: Folder, Path: "x", Info: true}}}
		o.fit(s)
		if p, _ := o.next("x", noon.Add(time.Minute)); p != nil {
			text := texts(Chinese).write(p).Plain()
			if strings.Contains(text, "\x00") && utf8.ValidString(text) && !strings.Contains(string(msg), "u0000") {
				t.Errorf("got %q", text)
			}
			o.done(p, nil, noon)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"0": 0, "120": 2 * time.Minute, " 7 ": 7 * time.Second, "99999999999999999999": time.Hour, "86400": time.Hour,
		"Sat, 28 Nov 2026 12:00:07 GMT": 7 * time.Second, "Sat, 28 Nov 2026 11:00:00 GMT": 0, "Sat, 28 Nov 2099 11:00:00 GMT": time.Hour,
		"": -1, "-1": -1, "1.5": -1, "soon": -1, "7, 8": -1,
	} {
		got, ok := ParseRetryAfter(s, noon)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q is %s, %v", s, got, ok)
		}
	}
}
