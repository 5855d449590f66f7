package healthcheck

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

var (
	keyOne = Key(strings.Repeat("1", minKey))
	keyTwo = Key(strings.Repeat("2", minKey))
)

// desk is a receiver with what it delivered.
type desk struct {
	*Receiver
	got []InstanceReport
	at  []time.Time
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	d := &desk{}
	r, err := NewReceiver(ReceiverConfig{
		Vantages:  map[failover.VantageName][]Key{"van-1": {keyOne}, "van-2": {keyTwo, keyOne}},
		Instances: map[failover.InstanceName]time.Duration{"orders": time.Second, "billing": time.Second},
		MaxBody:   64 << 10,
		BodyTime:  200 * time.Millisecond,
		Deliver: func(_ failover.VantageName, r InstanceReport, received time.Time) {
			d.got, d.at = append(d.got, r), append(d.at, received)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	d.Receiver = r
	for _, p := range r.peers {
		p.draw, p.challenge = func() string { return always }, always
	}
	return d
}

// post hands in a body as the vantage, signed with the key.
func (d *desk) post(as string, key Key, body []byte) (int, string) {
	req := httptest.NewRequest(http.MethodPost, ReportPath, bytes.NewReader(body))
	req.Header.Set(vantageHeader, as)
	req.Header.Set(signatureHeader, sign(key, body))
	w := httptest.NewRecorder()
	d.ServeHTTP(w, req)
	return w.Code, strings.TrimSpace(w.Body.String())
}

func (d *desk) expect(t *testing.T, what string, refused map[Refusal]uint64, delivered int) {
	t.Helper()
	st := d.Stats()
	if !reflect.DeepEqual(st.Refused, refused) || len(d.got) != delivered || st.Accepted != uint64(delivered) {
		t.Errorf("%s: %d reports delivered, refused %v; want %d and %v", what, len(d.got), st.Refused, delivered, refused)
	}
}

func TestAGoodReportIsDeliveredAsItIs(t *testing.T) {
	d := newDesk(t)
	before := time.Now()
	code, text := d.post("van-1", keyOne, encoded(t, envelope(1, twoVotes())))
	if code != http.StatusNoContent {
		t.Fatalf("%d %s", code, text)
	}
	d.expect(t, "good", map[Refusal]uint64{}, 1)
	if !reflect.DeepEqual(d.got[0], twoVotes()) || d.at[0].Before(before) {
		t.Errorf("delivered %+v", d.got[0])
	}
}

func TestEachKindOfBadMessageIsRefusedAndCounted(t *testing.T) {
	good := func() []byte { return encoded(t, envelope(1, twoVotes())) }
	for name, tc := range map[string]struct {
		send func(d *desk) (int, string)
		why  Refusal
		code int
	}{
		"a stranger":                {func(d *desk) (int, string) { return d.post("van-9", keyOne, good()) }, RefusedUnknownVantage, 401},
		"nobody":                    {func(d *desk) (int, string) { return d.post("", keyOne, good()) }, RefusedUnknownVantage, 401},
		"a key of another":          {func(d *desk) (int, string) { return d.post("van-1", keyTwo, good()) }, RefusedSignature, 401},
		"an empty key":              {func(d *desk) (int, string) { return d.post("van-1", nil, good()) }, RefusedSignature, 401},
		"the same key, other name":  {func(d *desk) (int, string) { return d.post("van-2", keyOne, good()) }, RefusedMalformed, 400},
		"garbage, signed":           {func(d *desk) (int, string) { return d.post("van-1", keyOne, []byte("garbage")) }, RefusedMalformed, 400},
		"too large":                 {func(d *desk) (int, string) { return d.post("van-1", keyOne, make([]byte, 64<<10+1)) }, RefusedTooLarge, 413},
		"two votes for one cluster": {func(d *desk) (int, string) { return d.post("van-1", keyOne, double(t)) }, RefusedDouble, 400},
		"first contact":             {func(d *desk) (int, string) { return d.post("van-1", keyOne, asked(t, "")) }, RefusedChallenge, 409},
		"for another receiver":      {func(d *desk) (int, string) { return d.post("van-1", keyOne, asked(t, newNonce())) }, RefusedChallenge, 409},
		"sent an hour ago":          {func(d *desk) (int, string) { return d.post("van-1", keyOne, sentAt(t, -time.Hour)) }, RefusedClock, 409},
		"sent in an hour":           {func(d *desk) (int, string) { return d.post("van-1", keyOne, sentAt(t, time.Hour)) }, RefusedClock, 409},
		"a GET": {func(d *desk) (int, string) {
			w := httptest.NewRecorder()
			d.ServeHTTP(w, httptest.NewRequest(http.MethodGet, ReportPath, nil))
			return w.Code, w.Body.String()
		}, RefusedMethod, 405},
		"a changed byte": {func(d *desk) (int, string) {
			body := good()
			req := httptest.NewRequest(http.MethodPost, ReportPath, bytes.NewReader(bytes.Replace(body, []byte(`"down"`), []byte(`"up"`), 1)))
			req.Header.Set(vantageHeader, "van-1")
			req.Header.Set(signatureHeader, sign(keyOne, body))
			w := httptest.NewRecorder()
			d.ServeHTTP(w, req)
			return w.Code, w.Body.String()
		}, RefusedSignature, 401},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			code, text := tc.send(d)
			if code != tc.code || !strings.HasPrefix(text, string(tc.why)+": ") {
				t.Errorf("answered %d %s", code, text)
			}
			d.expect(t, name, map[Refusal]uint64{tc.why: 1}, 0)
		})
	}
}

func double(t testing.TB) []byte {
	r := twoVotes()
	r.Clusters = append(r.Clusters, r.Clusters[0])
	return encoded(t, envelope(1, r))
}

func asked(t testing.TB, challenge string) []byte {
	m := envelope(1, twoVotes())
	m.Challenge = challenge
	return encoded(t, m)
}

func sentAt(t testing.TB, d time.Duration) []byte {
	m := envelope(1, twoVotes())
	m.SentMS = time.Now().Add(d).UnixMilli()
	return encoded(t, m)
}

// Cut anywhere, with the old signature or a fresh one: nothing of it counts.
func TestATruncatedMessageCountsNowhere(t *testing.T) {
	d := newDesk(t)
	body := encoded(t, envelope(1, twoVotes()))
	for n := range body {
		if code, _ := d.post("van-1", keyOne, body[:n]); code != http.StatusBadRequest {
			t.Fatalf("cut at %d: %d", n, code)
		}
	}
	d.expect(t, "cut", map[Refusal]uint64{RefusedMalformed: uint64(len(body))}, 0)
	if code, text := d.post("van-1", keyOne, body); code != http.StatusNoContent {
		t.Errorf("the whole one afterwards: %d %s", code, text)
	}
}

func TestReplayedMessagesAreRefused(t *testing.T) {
	d := newDesk(t)
	third := encoded(t, envelope(3, twoVotes()))
	for _, step := range []struct {
		body []byte
		code int
	}{
		{encoded(t, envelope(2, twoVotes())), 204},
		{third, 204},
		{third, 409},
		{encoded(t, envelope(1, twoVotes())), 409},
		{encoded(t, envelope(4, twoVotes())), 204},
	} {
		if code, text := d.post("van-1", keyOne, step.body); code != step.code {
			t.Errorf("got %d %s, want %d", code, text, step.code)
		}
	}
	d.expect(t, "replays", map[Refusal]uint64{RefusedReplay: 2}, 3)
}

// real gives a desk challenges as they are outside of tests.
func (d *desk) real() *desk {
	for _, p := range d.peers {
		p.draw, p.challenge = newNonce, newNonce()
	}
	return d
}

func TestAVantageStartedAgainIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, start := newDesk(t).real(), time.Now()
		boot := func(b string, seq uint64) []byte {
			m := envelope(seq, twoVotes())
			m.Boot, m.Challenge = strings.Repeat(b, nonceSize), d.peers["van-1"].asks()
			m.Uptime = time.Since(start)
			return encoded(t, m)
		}
		post := func(body []byte, want int) {
			t.Helper()
			if code, text := d.post("van-1", keyOne, body); code != want {
				t.Errorf("got %d %s, want %d", code, text, want)
			}
			time.Sleep(time.Second)
		}
		early := boot("0e", 1) // captured, never delivered
		post(boot("0a", 9), 204)
		held := boot("0a", 10)   // captured, never delivered
		post(boot("0b", 1), 204) // started again
		post(held, 409)
		post(boot("0a", 11), 409) // still alive: two under one name
		post(boot("0b", 2), 204)
		post(early, 409) // a boot unknown so far, but of an earlier challenge
		post(boot("0b", 3), 204)
		d.expect(t, "boots", map[Refusal]uint64{RefusedChallenge: 2, RefusedReplay: 1}, 4)
	})
}

// Its clock was put right, backwards, while it was down.
func TestAVantageStartedAgainNeedsNoGrowingClock(t *testing.T) {
	d := newDesk(t)
	for i, ahead := range []time.Duration{4 * time.Minute, 0} {
		m := envelope(1, twoVotes())
		m.Boot, m.SentMS = strings.Repeat([]string{"0a", "0b"}[i], nonceSize), time.Now().Add(ahead).UnixMilli()
		if code, text := d.post("van-1", keyOne, encoded(t, m)); code != 204 {
			t.Errorf("boot %d: %d %s", i, code, text)
		}
	}
}

// Whatever one captured message is and whenever it is replayed: it is refused,
// or the genuine vantage is taken again with its next message.
func TestNoReplaySilencesTheGenuineBoot(t *testing.T) {
	d := newDesk(t).real()
	seq := uint64(0)
	sign := func(boot string) []byte {
		seq++
		m := envelope(seq, twoVotes())
		m.Boot, m.Challenge = boot, d.peers["van-1"].asks()
		return encoded(t, m)
	}
	var captured [][]byte
	for _, boot := range []string{"0a", "0b", "0c"} {
		boot = strings.Repeat(boot, nonceSize)
		for range 3 {
			captured = append(captured, sign(boot)) // one that is held back
			genuine := sign(boot)
			captured = append(captured, genuine)
			d.post("van-1", keyOne, genuine)
			for i, c := range captured {
				d.post("van-1", keyOne, c)
				if code, text := d.post("van-1", keyOne, sign(boot)); code != 204 {
					t.Fatalf("after replay %d the genuine vantage got %d %s", i, code, text)
				}
			}
		}
	}
	if st := d.Stats().Refused; st[RefusedChallenge]+st[RefusedReplay] < 90 {
		t.Errorf("refused %v of the replays", st)
	}
}

// Two processes under one name: the newer one votes, the older one is refused.
func TestOneVantageHasOneVoice(t *testing.T) {
	d := newDesk(t)
	for seq := uint64(1); seq <= 100; seq++ {
		for _, b := range []string{"0a", "0b"} {
			m := envelope(seq, twoVotes())
			m.Boot = strings.Repeat(b, nonceSize)
			d.post("van-1", keyOne, encoded(t, m))
		}
	}
	d.expect(t, "two voices", map[Refusal]uint64{RefusedReplay: 99}, 101)
}

func TestStaleReportsAreDropped(t *testing.T) {
	d := newDesk(t)
	old := twoVotes()
	for i := range old.Clusters {
		for _, age := range old.Clusters[i].ages() {
			if *age != nil {
				*age = ptr(**age + 2*time.Second)
			}
		}
	}
	fresh := twoVotes()
	fresh.Instance = "billing"
	code, text := d.post("van-1", keyOne, encoded(t, envelope(1, old, fresh)))
	if code != 200 || !strings.HasPrefix(text, "stale: orders: newest probe is 2.1s old") {
		t.Errorf("answered %d %s", code, text)
	}
	d.expect(t, "stale", map[Refusal]uint64{RefusedStale: 1}, 1)
	old.Sick = "none of 2 controls is reachable"
	if code, text := d.post("van-1", keyOne, encoded(t, envelope(2, old))); code != 204 {
		t.Errorf("an abstention with old probes: %d %s", code, text)
	}
}

func TestAMessageThatWasHeldBackIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		start := time.Now()
		at := func(seq uint64) []byte {
			m := envelope(seq, twoVotes())
			m.Uptime = time.Since(start) + time.Hour
			return encoded(t, m)
		}
		post := func(body []byte, want int, says string) {
			t.Helper()
			if code, text := d.post("van-1", keyOne, body); code != want || !strings.Contains(text, says) {
				t.Errorf("got %d %s, want %d %s", code, text, want, says)
			}
		}
		post(at(1), 204, "")
		time.Sleep(time.Second)
		post(at(2), 204, "")
		held := at(3)
		time.Sleep(5 * time.Second)
		post(held, 200, "5s on the way")
		post(at(4), 204, "")
		// Clocks that run apart slowly hold nothing back.
		for seq := uint64(5); seq < 500; seq++ {
			time.Sleep(time.Minute)
			m := envelope(seq, twoVotes())
			m.Uptime = time.Duration(float64(time.Since(start))*(1-3e-4)) + time.Hour
			post(encoded(t, m), 204, "")
		}
	})
}

func TestAnInstanceThatIsNotConfiguredIsIgnored(t *testing.T) {
	d := newDesk(t)
	other := twoVotes()
	other.Instance = "nobody"
	code, text := d.post("van-1", keyOne, encoded(t, envelope(1, other, twoVotes())))
	if code != 200 || text != "unknown-instance: nobody" {
		t.Errorf("answered %d %s", code, text)
	}
	d.expect(t, "unknown instance", map[Refusal]uint64{RefusedUnknownInstance: 1}, 1)
}

func TestBothKeysCountWhileOneIsReplaced(t *testing.T) {
	d := newDesk(t)
	for i, k := range []Key{keyOne, keyTwo} {
		r := twoVotes()
		r.Vantage = "van-2"
		m := envelope(uint64(i+1), r)
		m.Vantage = "van-2"
		if code, text := d.post("van-2", k, encoded(t, m)); code != 204 {
			t.Errorf("key %d: %d %s", i, code, text)
		}
	}
}

func TestReceiverConfigNamesEveryFault(t *testing.T) {
	_, err := NewReceiver(ReceiverConfig{
		Vantages:  map[failover.VantageName][]Key{"van-1": {Key("short")}, "van-2": nil},
		Instances: map[failover.InstanceName]time.Duration{"orders": 0},
	})
	want := "vantages.van-1[0]: key has 5 bytes, at least 32 are needed\nvantages.van-2: has no key\ninstances.orders: round 0s must be above 0"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestSlowBodyDoesNotHoldTheReceiver(t *testing.T) {
	d := newDesk(t)
	s := httptest.NewServer(d)
	defer s.Close()
	pr, pw := io.Pipe()
	defer pw.Close()
	req, err := http.NewRequest(http.MethodPost, s.URL+ReportPath, pr)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(vantageHeader, "van-1")
	req.Header.Set(signatureHeader, "00")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err == nil {
		resp.Body.Close()
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	eventually(t, "the refusal", func() bool { return d.Stats().Refused[RefusedMalformed] == 1 })
}

func TestKeyFilesOfOthersAreRefused(t *testing.T) {
	name := filepath.Join(t.TempDir(), "van.key")
	if err := os.WriteFile(name, keyOne, 0o600); err != nil {
		t.Fatal(err)
	}
	if k, err := ReadKeyFile(name); err != nil || !bytes.Equal(k, keyOne) {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := ReadKeyFile(name)
	if want := fmt.Sprintf("key file %s has mode 0644: others could speak for the vantage (try: chmod 600 %s)", name, name); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}
