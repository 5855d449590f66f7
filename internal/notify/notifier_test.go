package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// quiet is a setup with one channel that nobody answers.
func quiet() Setup {
	return Setup{Channels: []Channel{{Name: "hook", Type: Webhook, URL: "http://127.0.0.1:1/", Secret: []byte("0123456789abcdef"), Info: true, Allow: loopback}}}
}

func mustOpen(t *testing.T, dir string, s Setup) *Notifier {
	t.Helper()
	return mustOpenLog(t, dir, s, io.Discard)
}

func mustOpenLog(t *testing.T, dir string, s Setup, to io.Writer) *Notifier {
	t.Helper()
	n, err := Open(Config{Dir: dir, Setup: s, Name: "ctl-1", Log: slog.New(slog.NewTextHandler(to, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

type lineLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lineLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lineLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// nocancel is a context for a process without a test.
type nocancel struct{ context.Context }

func (nocancel) Err() error { return nil }

func readFull(r *http.Request, data []byte) (int, error) { return io.ReadFull(r.Body, data) }

// running runs a notifier until the returned function is called.
func running(t *testing.T, n *Notifier) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// await is for what surely comes, on a loaded machine late.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not come", what)
		}
	}
}

// Whoever calls never waits: not for a receiver that hangs, not for a queue
// that is full. What does not fit is counted.
func TestNotifyReturnsAtOnce(t *testing.T) {
	n := mustOpen(t, t.TempDir(), quiet())
	defer n.Close()
	began := time.Now()
	for range maxPending + 10 { // nobody takes anything: it does not run
		n.Notify(*message(""))
	}
	if d := time.Since(began); d > 30*time.Second {
		t.Errorf("it took %s", d)
	}
	if got := n.Stats()[0].Dropped[string(dropQueue)]; got != 10 {
		t.Errorf("%d were dropped, not 10", got)
	}
}

// What was handed over when all ends is in the outbox.
func TestTheEndWritesWhatWasHandedOver(t *testing.T) {
	dir := t.TempDir()
	n := mustOpen(t, dir, quiet())
	for i := range 20 {
		n.Notify(*message(fmt.Sprint("id-", i)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = mustOpen(t, dir, quiet())
	defer n.Close()
	if got := n.Stats()[0].Waiting; got != 20 {
		t.Errorf("%d wait, not 20", got)
	}
	if open := n.Open(); len(open) != 1 || open[0] != "orders" {
		t.Errorf("open are %v", open)
	}
}

func TestDeliverSaysWhatItCannotDo(t *testing.T) {
	n := mustOpen(t, t.TempDir(), quiet())
	for _, x := range []struct {
		to   []string
		d    Document
		want error
		text string
	}{
		{[]string{"hook", "hok"}, Document{Title: "weekly"}, ErrUnknownChannel, `deliver "weekly": there is no such channel: "hok" (there are: hook)`},
		{nil, Document{Title: "weekly", HTML: strings.Repeat("x", maxDocument+1)}, ErrTooLarge, `deliver "weekly": the document is larger than 8 MiB`},
	} {
		if err := n.Deliver(t.Context(), x.to, x.d); !errors.Is(err, x.want) || err.Error() != x.text {
			t.Errorf("got %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Deliver(ctx, nil, Document{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	for range 2 { // the same document
		if err := n.Deliver(t.Context(), []string{"hook"}, Document{ID: "r-1"}); err != nil {
			t.Fatal(err)
		}
	}
	if got := n.Stats()[0].Waiting; got != 1 {
		t.Errorf("%d wait: what was refused left something, or the same document came twice", got)
	}
	n.Close()
	if err := n.Deliver(t.Context(), nil, Document{Title: "late"}); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// A channel without its secret stands, and says why at each try.
func TestAChannelInTroubleStandsAndFails(t *testing.T) {
	s := quiet()
	s.Channels[0].Trouble = errors.New("its secret cannot be had")
	n := mustOpen(t, t.TempDir(), s)
	defer n.Close()
	rows, err := n.Test(t.Context(), nil, "alice")
	if err != nil || len(rows) != 1 || rows[0].OK || rows[0].Why != "its secret cannot be had" {
		t.Errorf("%+v, %v", rows, err)
	}
	if _, err := Open(Config{Setup: Setup{Channels: []Channel{{Name: "hook", Type: Webhook, URL: "ftp://x/secret-in-path"}}}, Log: quietLog}); err == nil || err.Error() != "channel hook: the URL is none of http or https with a host" {
		t.Errorf("got %v", err)
	}
}

// A test counts in the rate, so that trying does not get a robot muted.
func TestATestStaysWithinTheRate(t *testing.T) {
	var came atomic.Int32
	url := serve(t, func(http.ResponseWriter, *http.Request) { came.Add(1) })
	s := quiet()
	s.Channels[0].URL, s.Channels[0].Limits = url, []Limit{{2, time.Hour}}
	n := mustOpen(t, t.TempDir(), s)
	defer n.Close()
	n.out.now = func() time.Time { return noon } // on a slow machine the hour would be less than whole
	for i := range 3 {
		rows, err := n.Test(t.Context(), []string{"hook"}, "alice")
		if err != nil || rows[0].OK != (i < 2) {
			t.Errorf("test %d: %+v, %v", i, rows, err)
		}
		if i == 2 && !strings.HasPrefix(rows[0].Why, "nothing may be sent for 1h0m") {
			t.Errorf("it says %q", rows[0].Why)
		}
	}
	if came.Load() != 2 {
		t.Errorf("%d came", came.Load())
	}
}

// A reload takes other channels and keeps what waits for those that stay.
func TestAReloadKeepsWhatWaits(t *testing.T) {
	got := make(chan string, 8)
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get(HeaderID) })
	n := mustOpen(t, t.TempDir(), quiet())
	running(t, n)
	n.Notify(*message("1"))
	await(t, "a failed try", func() bool { return n.Stats()[0].Failed > 0 })
	s := quiet()
	s.Channels[0].URL = url
	s.Channels = append(s.Channels, Channel{Name: "files", Type: Folder, Path: t.TempDir()})
	bad := s
	bad.Channels = append(bad.Channels, Channel{Name: "x", Type: DingTalk, URL: "https://oapi.dingtalk.com/robot/send?access_token=1"})
	if err := n.Check(bad); err == nil || err.Error() != "channel x: a robot has a secret or a keyword, and neither is given" {
		t.Errorf("got %v", err)
	}
	if err := n.Reload(bad); err == nil || len(n.Channels()) != 1 {
		t.Errorf("a bad setup was taken: %v", err)
	}
	if err := n.Reload(s); err != nil {
		t.Fatal(err)
	}
	select {
	case id := <-got:
		if id != "1" {
			t.Errorf("%s came", id)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("what waited did not come")
	}
	n.Notify(*message("2"))
	await(t, "the new channel's message", func() bool { st := n.Stats(); return len(st) == 2 && st[1].Sent == 1 })
}

func TestTheHeartbeatBeatsWhileAllIsWell(t *testing.T) {
	var came atomic.Int32
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if came.Add(1); r.Method != http.MethodPost {
			t.Errorf("a %s came", r.Method)
		}
	})
	var well atomic.Bool
	s := Setup{Heartbeat: &Heartbeat{URL: url + "/beat-123456", Every: 10 * time.Millisecond, Allow: loopback}}
	n, err := Open(Config{Dir: t.TempDir(), Setup: s, Log: quietLog, Well: well.Load})
	if err != nil {
		t.Fatal(err)
	}
	running(t, n)
	await(t, "a beat that is left out", func() bool { h, _ := n.Heartbeat(); return h.Skipped > 2 })
	if came.Load() != 0 {
		t.Error("it beats although all is not well")
	}
	well.Store(true)
	await(t, "a beat", func() bool { h, _ := n.Heartbeat(); return h.Sent > 2 })
	s.Heartbeat = &Heartbeat{URL: "http://127.0.0.1:1/beat-123456", Every: 10 * time.Millisecond, Allow: loopback}
	if err := n.Reload(s); err != nil {
		t.Fatal(err)
	}
	await(t, "a failed beat", func() bool { h, _ := n.Heartbeat(); return h.Failed > 1 })
	if h, _ := n.Heartbeat(); strings.Contains(h.LastError, "123456") || h.LastError == "" {
		t.Errorf("it says %q", h.LastError)
	}
}
