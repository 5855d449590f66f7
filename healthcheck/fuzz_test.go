package healthcheck

import (
	"bytes"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

// Whatever a holder of a key sends: no panic, and what is delivered is what
// an honest vantage could have said and survives the wire unchanged.
func FuzzReport(f *testing.F) {
	good := envelope(1, twoVotes())
	good.SentMS = 1
	body := encoded(f, good)
	f.Add(body)
	f.Add(body[:len(body)/2])
	f.Add(double(f))
	for _, told := range []*message{tells(1, 0, ""), tells(1, time.Hour, "vantage.yaml:1:1: unknown key"), tells(1, -1, "no"), tells(1, 1, strings.Repeat("x\n", maxRefusal))} {
		told.SentMS = 1
		f.Add(encoded(f, told))
	}
	for _, a := range []answered{{Seq: 1, Took: 1}, {Seq: 1<<64 - 1, Took: 1<<63 - 1}, {Took: -1 << 63}} {
		m := envelope(2, twoVotes())
		m.SentMS, m.Answered = 1, &a
		f.Add(encoded(f, m))
	}
	f.Add([]byte(`{"v":1}`))
	f.Add([]byte(`null`))
	f.Add([]byte(strings.Replace(string(body), `"vote":"down"`, `"vote":"up"`, 1)))
	f.Add(bytes.ReplaceAll(body, []byte("refused"), []byte(`\u0000\ud800`)))
	for _, change := range impossible {
		m := envelope(1, twoVotes())
		m.SentMS = 1
		change(m, &m.Reports[0], &m.Reports[0].Clusters[0])
		f.Add(encoded(f, m))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		d := newDesk(t)
		code, _ := d.post("van-1", keyOne, body)
		if code/100 != 2 && len(d.got) > 0 {
			t.Fatalf("answered %d and delivered %d reports", code, len(d.got))
		}
		if code == http.StatusInternalServerError {
			t.Fatal("an error of the server")
		}
		m, err := decodeMessage(body)
		if err != nil {
			return
		}
		again, err := decodeMessage(encoded(t, m))
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("does not survive the wire: %v\n%+v\n%+v", err, m, again)
		}
		if c := m.Config; c != nil && (c.Age < 0 || len(c.Reason) > maxRefusal || strings.ContainsAny(c.Reason, "\n\x1b")) {
			t.Fatalf("a refusal that nobody can show: %+v", c)
		}
		now := time.Now()
		for _, r := range m.Reports {
			for name, s := range r.Event(now, "").Clusters {
				if s.LastProbe.After(now) || s.LastMiss.After(s.LastProbe) || !s.LastMiss.IsZero() && s.FirstMiss.After(s.LastMiss) {
					t.Fatalf("%s has impossible moments: %+v", name, s)
				}
			}
		}
	})
}

// Paths parse or are refused; the normal form of one parses to itself.
func FuzzJSONPath(f *testing.F) {
	for _, s := range []string{"status", "$.a['b c'][0].d", `$["it\"s"][-1]`, "$..a", "$[*]", "a[", "", "$", `['\\']`} {
		f.Add(s, document)
	}
	f.Fuzz(func(t *testing.T, text, body string) {
		p, err := parseJSONPath(text)
		if err != nil {
			return
		}
		if normal := p.String(); len(normal) <= maxJSONPath {
			again, err := parseJSONPath(normal)
			if err != nil || !reflect.DeepEqual(p, again) {
				t.Fatalf("%q has the normal form %q, which parses to %v, %v", text, normal, again, err)
			}
		}
		if doc, err := decodeJSON([]byte(body)); err == nil {
			if v, err := p.find(doc); err == nil {
				scalar(v)
			}
		}
	})
}

// A check is refused with its key, or its probe can be built.
func FuzzCheck(f *testing.F) {
	f.Add("http", "192.0.2.1:80", "/healthz", "200-299", "X-Cluster", "ok", "$.a", "orders.lab.test")
	f.Add("https", "[2001:db8::1]:443", "/?a=b#c", "2xx", "X\r\nY", "(", "$..", "-")
	f.Add("tcp", "host", "", "", "", "", "", "")
	f.Add("tls", "[::1", "%zz", "-1", ":", "a", "b", "a b")
	f.Fuzz(func(t *testing.T, kind, address, path, status, header, pattern, jsonPath, name string) {
		tg := target(CheckType(kind), address)
		tg.Name = name
		tg.Check.Path, tg.Check.Host = path, name
		tg.Check.Headers = map[string]string{header: pattern}
		tg.Check.ExpectHeaders = map[string]string{header: pattern}
		tg.Check.Body.Matches, tg.Check.JSON.Path = pattern, jsonPath
		if r, err := ParseStatusRange(status); err == nil {
			tg.Check.Status = []StatusRange{r}
			if back, err := ParseStatusRange(r.String()); err != nil || back != r {
				t.Fatalf("status %q reads back as %v, %v", r, back, err)
			}
		}
		if c, err := ParseControl("tcp://" + address); err == nil {
			if back, err := ParseControl(c.String()); err != nil || back != c {
				t.Fatalf("control %q reads back as %v, %v", c, back, err)
			}
		}
		Generation([]Target{tg})
		faults := tg.Validate()
		for _, fault := range faults {
			if fault.Path == "" || fault.Problem == "" {
				t.Fatalf("a fault without key or words: %+v", fault)
			}
		}
		_, err := NewProbe(tg, ProbeConfig{})
		if len(faults) == 0 && err != nil && !strings.Contains(err.Error(), ErrForbidden.Error()) {
			t.Fatalf("valid, but: %v", err)
		}
	})
}
