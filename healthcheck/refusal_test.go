package healthcheck

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// tells is a message of a vantage whose newest file is refused.
func tells(seq uint64, age time.Duration, reason string) *message {
	m := envelope(seq, twoVotes())
	m.Config = &ConfigRefusal{Age: age, Reason: reason}
	return m
}

func TestARefusalSurvivesTheWire(t *testing.T) {
	m := tells(7, time.Minute, `vantage.yaml:3:1: unknown key "nmae"`)
	b := encoded(t, m)
	got, err := decodeMessage(b)
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, m)
	}
	for n := range b {
		if _, err := decodeMessage(b[:n]); err == nil {
			t.Errorf("the first %d of %d bytes were taken", n, len(b))
		}
	}
	// Without one the message is that of an earlier version, byte by byte.
	if text := string(encoded(t, envelope(7, twoVotes()))); strings.Contains(text, "config") {
		t.Errorf("a good file is told of: %s", text)
	}
	for _, age := range []time.Duration{-1, maxAge + 1} {
		if _, err := decodeMessage(encoded(t, tells(7, age, ""))); err == nil {
			t.Errorf("an age of %d was taken", age)
		}
	}
	long, err := decodeMessage(encoded(t, tells(7, 0, "one\ntwo \x1b[31m"+strings.Repeat("ü", maxRefusal))))
	if err != nil {
		t.Fatal(err)
	}
	if r := long.Config.Reason; len(r) > maxRefusal || strings.ContainsAny(r, "\n\x1b") || !strings.HasPrefix(r, "one?two") {
		t.Errorf("reason is %d bytes: %q", len(r), r)
	}
}

// The receiver keeps what the newest message says, by its own clock, and tells
// of changes only.
func TestTheReceiverKeepsWhatAVantageSaysOfItsFile(t *testing.T) {
	d := newDesk(t)
	var told []VantageConfig
	c := d.config
	c.Config = func(v failover.VantageName, x VantageConfig) {
		if v != "van-1" {
			t.Errorf("told of %s", v)
		}
		told = append(told, x)
	}
	if err := d.Reload(c); err != nil {
		t.Fatal(err)
	}
	if x := d.Configs()["van-1"]; x != (VantageConfig{}) || len(d.Configs()) != 2 {
		t.Errorf("before the first message: %+v", d.Configs())
	}
	send := func(m *message) {
		t.Helper()
		if code, text := d.post("van-1", keyOne, encoded(t, m)); code/100 != 2 {
			t.Fatalf("%d %s", code, text)
		}
	}
	send(envelope(1, twoVotes()))
	if x := d.Configs()["van-1"]; x.Heard.IsZero() || !x.Refused.IsZero() || len(told) != 0 {
		t.Errorf("a good file: %+v, told %v", x, told)
	}
	before := time.Now()
	send(tells(2, time.Hour, "no"))
	x := d.Configs()["van-1"]
	if d := before.Add(-time.Hour).Sub(x.Refused).Abs(); d > sameRefusal || x.Reason != "no" || len(told) != 1 || told[0] != x {
		t.Errorf("refused since %s: %+v, told %v", x.Refused, x, told)
	}
	send(tells(3, time.Hour+time.Second, "no")) // the same, faster on its way
	if y := d.Configs()["van-1"]; !y.Refused.Equal(x.Refused) || len(told) != 1 {
		t.Errorf("the same again: %+v, told %v", y, told)
	}
	send(tells(4, 0, "no")) // tried again
	send(tells(5, 0, "other"))
	if y := d.Configs()["van-1"]; y.Reason != "other" || len(told) != 3 {
		t.Errorf("another: %+v, told %v", y, told)
	}
	if code, _ := d.post("van-1", keyOne, encoded(t, tells(5, 0, "replayed"))); code/100 == 2 {
		t.Error("a replay was taken")
	}
	if y := d.Configs()["van-1"]; y.Reason != "other" {
		t.Errorf("a replay counts: %+v", y)
	}
	if err := d.Reload(c); err != nil {
		t.Fatal(err)
	}
	if y := d.Configs()["van-1"]; y.Reason != "other" {
		t.Errorf("a reload forgets: %+v", y)
	}
	send(envelope(6, twoVotes()))
	if y := d.Configs()["van-1"]; !y.Refused.IsZero() || y.Reason != "" || len(told) != 4 || !told[3].Refused.IsZero() {
		t.Errorf("good again: %+v, told %v", y, told)
	}
	if y := d.Configs()["van-2"]; y != (VantageConfig{}) {
		t.Errorf("the other vantage said nothing: %+v", y)
	}
}

func TestTheSenderTellsWhileAFileIsRefused(t *testing.T) {
	b := newBox(t, asIs)
	s := startSender(t, SenderConfig{Controllers: []string{b.url}})
	said := func() VantageConfig { return b.rec.Configs()["van-1"] }
	s.Send(made(1))
	eventually(t, "delivery", func() bool { _, n := b.last(); return n == 1 })
	s.Refused(time.Now().Add(-time.Minute), "no")
	s.Send(made(2))
	eventually(t, "the refusal", func() bool { return said().Reason == "no" })
	if d := time.Since(said().Refused); d < time.Minute || d > time.Minute+sameRefusal {
		t.Errorf("refused for %s", d)
	}
	s.Refused(time.Time{}, "")
	s.Send(made(3))
	eventually(t, "its end", func() bool { return said().Refused.IsZero() })
}

// versionBefore is a controller of the version before: it knows no config_refused,
// and refuses unknown keys.
func versionBefore(old *atomic.Bool, refusals *atomic.Int64) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			if old.Load() && bytes.Contains(body, []byte(`"config_refused"`)) {
				refusals.Add(1)
				r.Body = io.NopCloser(bytes.NewReader(nil))
				asks := httptest.NewRecorder() // every answer bears the challenge
				next.ServeHTTP(asks, r)
				w.Header().Set(challengeHeader, asks.Header().Get(challengeHeader))
				http.Error(w, `malformed: json: unknown field "config_refused"`, http.StatusBadRequest)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			next.ServeHTTP(w, r)
		})
	}
}

// A controller of the version before gets every vote all the same, and hears of
// the refusal once it is of the new one.
func TestAnEarlierControllerIsNotTold(t *testing.T) {
	var old atomic.Bool
	var refusals atomic.Int64
	old.Store(true)
	b := newBox(t, versionBefore(&old, &refusals))
	s := startSender(t, SenderConfig{Controllers: []string{b.url}})
	s.Refused(time.Now(), "no")
	for n := 1; n <= 10; n++ {
		s.Send(made(n))
		eventually(t, "delivery", func() bool { r, _ := b.last(); return r.Clusters != nil && r.Clusters[0].Misses == n })
	}
	// At first contact, and once more since the first message of a boot that is
	// taken gets another challenge.
	if n, st := refusals.Load(), s.Stats()[0]; n == 0 || n > 3 || st.Failures != 0 {
		t.Errorf("refused %d times, %+v", n, st)
	}
	if x := b.rec.Configs()["van-1"]; !x.Refused.IsZero() {
		t.Errorf("told all the same: %+v", x)
	}
	old.Store(false)
	again, err := NewReceiver(b.rec.config) // another process, and another challenge
	if err != nil {
		t.Fatal(err)
	}
	swap(b.rec, again)
	s.Send(made(11))
	eventually(t, "the report", func() bool { r, _ := b.last(); return r.Clusters[0].Misses == 11 })
	s.Send(made(12))
	eventually(t, "the refusal", func() bool { return b.rec.Configs()["van-1"].Reason == "no" })
}

// A message that is refused for another reason says nothing of the version: the
// next one tells of the config again.
func TestAnotherRefusalHidesNoConfig(t *testing.T) {
	var odd atomic.Int64
	b := newBox(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if odd.Add(1) == 2 { // the first one asks for a challenge
				http.Error(w, "malformed: read body: unexpected EOF", http.StatusBadRequest)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	s := startSender(t, SenderConfig{Controllers: []string{b.url}, Retry: time.Millisecond})
	s.Refused(time.Now(), "no")
	for n := 1; n <= 3; n++ {
		s.Send(made(n))
		eventually(t, "delivery", func() bool { r, _ := b.last(); return r.Clusters != nil && r.Clusters[0].Misses == n })
		if x := b.rec.Configs()["van-1"]; x.Reason != "no" {
			t.Errorf("message %d: %+v", n, x)
		}
	}
}

// swap lets a receiver go on as another one that was just made.
func swap(r, fresh *Receiver) {
	r.rules.Lock()
	defer r.rules.Unlock()
	r.peers = fresh.peers
}

// Configs, Refused, messages and reloads at once: for the race detector.
func TestRefusalsComeFromAnywhere(t *testing.T) {
	b := newBox(t, asIs)
	s := startSender(t, SenderConfig{Controllers: []string{b.url}})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for n := range 100 {
				s.Refused(time.Now(), strings.Repeat("x", n))
				s.Send(made(n))
				_ = b.rec.Configs()
			}
		})
	}
	wg.Wait()
	s.Refused(time.Now(), "last")
	s.Send(made(1))
	eventually(t, "the last", func() bool { return b.rec.Configs()["van-1"].Reason == "last" })
}
