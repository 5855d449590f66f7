package healthcheck

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// post box: a receiver on a real port, with what it got.
type box struct {
	url string
	mu  sync.Mutex
	got []InstanceReport
	rec *Receiver
}

func newBox(t *testing.T, wrap func(http.Handler) http.Handler) *box {
	t.Helper()
	b := &box{}
	rec, err := NewReceiver(ReceiverConfig{
		Vantages:  map[failover.VantageName][]Key{"van-1": {keyOne}},
		Instances: map[failover.InstanceName]time.Duration{"orders": time.Minute, "billing": time.Minute},
		Deliver: func(_ failover.VantageName, r InstanceReport, _ time.Time) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.got = append(b.got, r)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.rec = rec
	mux := http.NewServeMux()
	mux.Handle(ReportPath, rec)
	s := httptest.NewServer(wrap(mux))
	t.Cleanup(s.Close)
	b.url = s.URL
	return b
}

func asIs(h http.Handler) http.Handler { return h }

func (b *box) last() (InstanceReport, int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.got) == 0 {
		return InstanceReport{}, 0
	}
	return b.got[len(b.got)-1], len(b.got)
}

func startSender(t *testing.T, c SenderConfig) *Sender {
	t.Helper()
	c.Vantage, c.Key = "van-1", keyOne
	s, err := NewSender(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return s
}

func made(misses int) InstanceReport {
	r := twoVotes()
	r.Clusters[0].Misses, r.made = misses, time.Now()
	return r
}

func TestReportsReachEveryController(t *testing.T) {
	one, two := newBox(t, asIs), newBox(t, asIs)
	s := startSender(t, SenderConfig{Controllers: []string{one.url, two.url + "/"}})
	s.Send(made(3))
	for _, b := range []*box{one, two} {
		eventually(t, "delivery", func() bool { _, n := b.last(); return n == 1 })
		if r, _ := b.last(); *r.Clusters[0].FirstMiss < 400*time.Millisecond {
			t.Errorf("on the way the report grew younger: first miss %s ago", *r.Clusters[0].FirstMiss)
		}
	}
}

// A controller that hangs and one that is gone: the third hears at once.
func TestADeadControllerDelaysNoOther(t *testing.T) {
	release := make(chan struct{})
	stuck := newBox(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stall(r, release) })
	})
	t.Cleanup(func() { close(release) }) // before the server is closed
	gone := listen(t)
	gone.Close()
	alive := newBox(t, asIs)
	s := startSender(t, SenderConfig{Controllers: []string{stuck.url, "http://" + gone.Addr().String(), alive.url}, Timeout: time.Minute})
	for n := 1; n <= 20; n++ {
		s.Send(made(n))
		eventually(t, "delivery to the living one", func() bool { r, _ := alive.last(); return r.Clusters != nil && r.Clusters[0].Misses == n })
	}
	st := s.Stats()
	if st[0].Posts != 0 || st[1].Posts != 0 || st[1].Failures == 0 || !strings.Contains(st[1].LastError, "refused") {
		t.Errorf("stats are %+v", st)
	}
	for _, line := range st[:2] {
		if line.Waiting > 1 {
			t.Errorf("%d reports wait for %s, want the latest only", line.Waiting, line.Controller)
		}
	}
}

func TestAfterAnOutageTheLatestReportArrivesAged(t *testing.T) {
	var mu sync.Mutex
	broken := true
	b := newBox(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			if broken {
				http.Error(w, "starting", http.StatusServiceUnavailable)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	s := startSender(t, SenderConfig{Controllers: []string{b.url}, Retry: 20 * time.Millisecond})
	mu.Lock() // the first attempt fails only after a newer report has come
	s.Send(made(1))
	eventually(t, "the first report to be on its way", func() bool { return s.Stats()[0].Waiting == 0 })
	s.Send(made(2))
	sent := time.Now()
	mu.Unlock()
	eventually(t, "two failures", func() bool { return s.Stats()[0].Failures >= 2 })
	mu.Lock()
	broken = false
	waited := time.Since(sent)
	mu.Unlock()
	eventually(t, "delivery", func() bool { _, n := b.last(); return n == 1 })
	r, _ := b.last()
	if r.Clusters[0].Misses != 2 {
		t.Errorf("an older report won: %d misses", r.Clusters[0].Misses)
	}
	if got := *r.Clusters[0].LastProbe; got < 100*time.Millisecond+waited {
		t.Errorf("after waiting %s the last probe is %s old", waited, got)
	}
	if st := b.rec.Stats(); len(st.Refused) != 1 || st.Refused[RefusedChallenge] != 1 { // first contact
		t.Errorf("refused %v", st.Refused)
	}
}

func TestSeveralInstancesTravelInOneMessageOverOneConnection(t *testing.T) {
	var mu sync.Mutex
	posts, conns := 0, map[string]bool{}
	b := newBox(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock() // and waits while the test has it
			posts++
			conns[r.RemoteAddr] = true
			mu.Unlock()
			h.ServeHTTP(w, r)
		})
	})
	s := startSender(t, SenderConfig{Controllers: []string{b.url}, Timeout: time.Minute})
	billing := func(misses int) InstanceReport {
		r := made(misses)
		r.Instance = "billing"
		return r
	}
	// The first of each is news, which gives a POST up that is under way for long.
	for n, r := range []InstanceReport{made(1), billing(1)} {
		s.Send(r)
		eventually(t, "the news", func() bool { return s.Stats()[0].Posts == uint64(n+1) })
	}
	mu.Lock()
	s.Send(made(2))
	eventually(t, "a report to be on its way", func() bool { return s.Stats()[0].Waiting == 0 })
	s.Send(made(3))
	s.Send(billing(3))
	mu.Unlock()
	eventually(t, "five reports", func() bool { _, n := b.last(); return n == 5 })
	mu.Lock()
	defer mu.Unlock()
	if posts != 5 || len(conns) != 1 { // the first contact is repeated
		t.Errorf("%d posts over %d connections", posts, len(conns))
	}
}

func TestARedirectOfReportsIsNotFollowed(t *testing.T) {
	thief := newBox(t, asIs)
	b := newBox(t, func(http.Handler) http.Handler {
		return http.RedirectHandler(thief.url+ReportPath, http.StatusTemporaryRedirect)
	})
	s := startSender(t, SenderConfig{Controllers: []string{b.url}})
	s.Send(made(1))
	eventually(t, "the failure", func() bool { return strings.Contains(s.Stats()[0].LastError, "307 Temporary Redirect") })
	if _, n := thief.last(); n != 0 {
		t.Error("the report went elsewhere")
	}
}

// The ages of what was made before a suspend lack the sleep.
func TestASuspendStartsANewBoot(t *testing.T) {
	b := newBox(t, asIs)
	s, err := NewSender(SenderConfig{Vantage: "van-1", Key: keyOne, Controllers: []string{b.url}})
	if err != nil {
		t.Fatal(err)
	}
	l := (*s.lines.Load())[0]
	defer l.way.Load().client.CloseIdleConnections()
	boot := s.life.boot
	if err := s.post(t.Context(), l, []parcel{{report: made(1)}}); err != nil {
		t.Fatal(err)
	}
	// An hour passed by the wall clock, nothing by the other one.
	l.last.wall = l.last.wall.Add(-time.Hour)
	s.life.last.wall = s.life.last.wall.Add(-time.Hour)
	if err := s.post(t.Context(), l, []parcel{{report: made(9)}}); err != nil {
		t.Fatal(err)
	}
	if err := s.post(t.Context(), l, []parcel{{report: made(2)}}); err != nil {
		t.Fatal(err)
	}
	if s.life.boot == boot {
		t.Error("no new boot")
	}
	if r, n := b.last(); n != 2 || r.Clusters[0].Misses != 2 {
		t.Errorf("%d delivered: refused %v", n, b.rec.Stats().Refused)
	}
}

func TestSenderConfigNamesEveryFault(t *testing.T) {
	_, err := NewSender(SenderConfig{Key: Key("short"), Controllers: []string{
		"http://127.0.0.1:8053", "http://127.0.0.1:8053", "http://192.0.2.1:8053", "ftp://x", "https://ctl-1.example:8053", "http://localhost:1", "http://u:p@localhost:1",
	}})
	want := strings.Join([]string{
		"name: is missing or no printable name",
		"key_file: holds 5 bytes, at least 32 are needed",
		"controllers[1]: http://127.0.0.1:8053 is there twice",
		"controllers[2]: http://192.0.2.1:8053 would send reports over plain HTTP off this machine (use https)",
		`controllers[3]: "ftp://x" is no URL such as https://ctl-1.example:8053`,
		`controllers[6]: "http://u:p@localhost:1" is no URL such as https://ctl-1.example:8053`,
	}, "\n")
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// recorder keeps what passes through it, as one who listens on the wire would.
type recorder struct {
	mu   sync.Mutex
	seen []*http.Request
	text [][]byte
}

func (c *recorder) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		c.mu.Lock()
		c.seen, c.text = append(c.seen, r), append(c.text, body)
		c.mu.Unlock()
		h.ServeHTTP(w, r)
	})
}

// replay sends everything again to another controller and counts the answers
// of success.
func (c *recorder) replay(t *testing.T, to string) (sent, taken int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, r := range c.seen {
		if carry(t, r, c.text[i], to, httptest.NewRecorder()) == http.StatusNoContent {
			taken++
		}
	}
	return len(c.seen), taken
}

// carry hands a message and its answer on.
func carry(t *testing.T, r *http.Request, body []byte, to string, w http.ResponseWriter) int {
	req, err := http.NewRequest(http.MethodPost, to+ReportPath, bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0
	}
	for _, h := range []string{vantageHeader, signatureHeader} {
		req.Header.Set(h, r.Header.Get(h))
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer resp.Body.Close()
	w.Header().Set(challengeHeader, resp.Header.Get(challengeHeader))
	w.WriteHeader(resp.StatusCode)
	return resp.StatusCode
}

func TestAMessageForOneControllerIsRefusedByAnother(t *testing.T) {
	var wire recorder
	one, two := newBox(t, wire.wrap), newBox(t, asIs)
	s := startSender(t, SenderConfig{Controllers: []string{one.url, two.url}})
	for n := 1; n <= 5; n++ {
		s.Send(made(n))
		for _, b := range []*box{one, two} {
			eventually(t, "delivery", func() bool { r, got := b.last(); return got > 0 && r.Clusters[0].Misses == n })
		}
		_, before := two.last()
		sent, taken := wire.replay(t, two.url)
		if _, after := two.last(); taken != 0 || after != before {
			t.Fatalf("%d of %d messages were taken by the other controller", taken, sent)
		}
	}
	s.Send(made(9))
	eventually(t, "the genuine one", func() bool { r, _ := two.last(); return r.Clusters[0].Misses == 9 })
	if st := two.rec.Stats(); st.Refused[RefusedReplay] != 0 {
		t.Errorf("refused %v", st.Refused)
	}
}

// Who sits on the way to one controller can carry messages and challenges over
// to the other. What he brings there is genuine and fresh, and the vantage is
// heard on its own way all the same.
func TestARelaySilencesNobody(t *testing.T) {
	genuine := newBox(t, asIs)
	var wire recorder
	relay := newBox(t, func(http.Handler) http.Handler {
		return wire.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			carry(t, r, body, genuine.url, w)
		}))
	})
	s := startSender(t, SenderConfig{Controllers: []string{relay.url, genuine.url}, Retry: 10 * time.Millisecond})
	for n := 1; n <= 20; n++ {
		s.Send(made(n))
		eventually(t, "answers of success on the own way and on the relayed one", func() bool {
			st := s.Stats()
			return st[0].Posts >= uint64(n) && st[1].Posts >= uint64(n) && st[0].Waiting+st[1].Waiting == 0
		})
		if _, taken := wire.replay(t, genuine.url); taken != 0 {
			t.Fatalf("%d replays were taken", taken)
		}
	}
	if boots := genuine.rec.peers["van-1"].retired; len(boots) != 0 {
		t.Errorf("boots were replaced: %v", boots)
	}
}

// The receiver is started again: what was captured before, though fresh by
// every clock, is worth nothing, and the vantage is heard at once.
func TestAReceiverStartedAgainTakesNoCapturedMessage(t *testing.T) {
	var wire recorder
	var mu sync.Mutex
	var now http.Handler
	b := newBox(t, func(h http.Handler) http.Handler {
		now = h
		return wire.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			h := now
			mu.Unlock()
			h.ServeHTTP(w, r)
		}))
	})
	s := startSender(t, SenderConfig{Controllers: []string{b.url}, Retry: time.Hour})
	s.Send(made(1))
	eventually(t, "delivery", func() bool { _, n := b.last(); return n == 1 })

	fresh := newBox(t, asIs)
	mu.Lock()
	now = fresh.rec
	mu.Unlock()
	if sent, taken := wire.replay(t, fresh.url); sent < 2 || taken != 0 {
		t.Errorf("%d of %d captured messages were taken", taken, sent)
	}
	s.Send(made(2))
	eventually(t, "the vantage to be heard", func() bool { r, n := fresh.last(); return n == 1 && r.Clusters[0].Misses == 2 })
	if st := s.Stats()[0]; st.Failures != 0 {
		t.Errorf("%d failures", st.Failures)
	}
}
