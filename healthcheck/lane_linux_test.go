package healthcheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"pointsman/internal/failover"
)

// glanceAt does one direct probe on a lane of its own, as one of few or of many.
func glanceAt(t *testing.T, tg Target, many bool) outcome {
	t.Helper()
	d, err := newDirect(tg, ProbeConfig{Vantage: "van-1"}, map[string]*likeness{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	g, ctx := errgroup.WithContext(ctx)
	var ended []outcome
	l, err := openLane(ctx, g.Go, func(o outcome) { ended = append(ended, o) })
	if err != nil {
		t.Fatal(err)
	}
	l.brisk = many
	l.start(flight{watch: &watch{target: &tg}, target: &tg, direct: d, due: time.Now()})
	for l.busy > 0 {
		var after <-chan time.Time
		if due := l.due(); !due.IsZero() {
			after = time.After(time.Until(due))
		}
		select {
		case e := <-l.woken:
			l.handle(e, time.Now())
		case <-after:
			l.poll(time.Now())
			l.expire(time.Now())
		}
	}
	check(t, "what is left of a crowd", []int{l.many.slow, len(l.free)}, []int{0, 1})
	l.close()
	cancel()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if len(ended) != 1 {
		t.Fatalf("%d outcomes of one probe", len(ended))
	}
	return ended[0]
}

// speaker answers each connection with some text, after it has read a request,
// and then does what end says.
func speaker(t *testing.T, end func(*net.TCPConn), parts ...string) string {
	l := listen(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.Read(make([]byte, 4096))
				for i, p := range parts {
					if i > 0 {
						time.Sleep(30 * time.Millisecond)
					}
					io.WriteString(c, p)
				}
				end(c.(*net.TCPConn))
			}()
		}
	}()
	return l.Addr().String()
}

func closes(*net.TCPConn)        {}
func resets(c *net.TCPConn)      { c.SetLinger(0) }
func staysOpen(c *net.TCPConn)   { c.Read(make([]byte, 1)) }
func headed(lines string) string { return "HTTP/1.1 200 OK\r\n" + lines + "\r\n" }

var exactTimes = regexp.MustCompile(`within [0-9.]+m?s`)

// Both ways of probing say the same of the same cluster: what is found, how
// far it came and why, word by word.
func TestTheLaneSaysWhatTheLongWaySays(t *testing.T) {
	dead := listen(t)
	dead.Close()
	impatient := func(tg *Target) { tg.Timeout, tg.Check.Slow = 400*time.Millisecond, 400*time.Millisecond }
	for name, tc := range map[string]struct {
		address string
		change  func(*Target)
	}{
		"well":                     {address: speaker(t, closes, headed("Content-Length: 2\r\nX-Cluster: a\r\n")+"ok")},
		"well, stays open":         {address: speaker(t, staysOpen, headed("Content-Length: 2\r\nX-Cluster: a\r\n")+"ok")},
		"well, in pieces":          {address: speaker(t, closes, "HTTP/1.1 20", "0 OK\r\nContent-Le", "ngth: 2\r\nX-Cluster: a\r\n\r", "\no", "k")},
		"no content":               {address: speaker(t, closes, "HTTP/1.1 204 No Content\r\nX-Cluster: a\r\n\r\n")},
		"up to the end":            {address: speaker(t, closes, headed("X-Cluster: a\r\n")+"ok")},
		"chunked":                  {address: speaker(t, closes, headed("X-Cluster: a\r\nTransfer-Encoding: chunked\r\n"), "2\r\nok\r\n", "0\r\n\r\n")},
		"chunked, stays open":      {address: speaker(t, staysOpen, headed("X-Cluster: a\r\nTransfer-Encoding: chunked\r\n")+"2\r\nok\r\n0\r\n\r\n")},
		"chunked, broken off":      {address: speaker(t, closes, headed("X-Cluster: a\r\nTransfer-Encoding: chunked\r\n")+"9\r\nok")},
		"interim":                  {address: speaker(t, closes, "HTTP/1.1 103 Early Hints\r\n\r\n"+headed("Content-Length: 0\r\nX-Cluster: a\r\n"))},
		"interim without end":      {address: speaker(t, closes, strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 20))},
		"bare line feeds":          {address: speaker(t, closes, "HTTP/1.1 200 OK\nX-Cluster: a\nContent-Length: 0\n\n")},
		"folded":                   {address: speaker(t, closes, headed("X-Cluster: a\r\nX-Other: b\r\n c\r\nContent-Length: 0\r\n"))},
		"status":                   {address: speaker(t, closes, "HTTP/1.1 503 Gone fishing\r\nContent-Length: 0\r\n\r\n")},
		"redirect":                 {address: speaker(t, closes, "HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n")},
		"wrong cluster":            {address: speaker(t, closes, headed("Content-Length: 0\r\nX-Cluster: b\r\n"))},
		"nobody's cluster":         {address: speaker(t, closes, headed("Content-Length: 0\r\n"))},
		"two clusters":             {address: speaker(t, closes, headed("Content-Length: 0\r\nX-Cluster: a\r\nX-Cluster: b\r\n"))},
		"the same cluster twice":   {address: speaker(t, closes, headed("Content-Length: 0\r\nX-Cluster: a\r\nx-cluster:  a \r\n"))},
		"not HTTP":                 {address: speaker(t, closes, "SSH-2.0-OpenSSH_9.9\r\n")},
		"nothing":                  {address: speaker(t, closes)},
		"a reset":                  {address: speaker(t, resets)},
		"half a header":            {address: speaker(t, closes, "HTTP/1.1 200 OK\r\nContent-")},
		"half a body":              {address: speaker(t, closes, headed("Content-Length: 20\r\nX-Cluster: a\r\n")+"ok")},
		"half a body, reset":       {address: speaker(t, func(c *net.TCPConn) { time.Sleep(30 * time.Millisecond); resets(c) }, headed("Content-Length: 20\r\nX-Cluster: a\r\n")+"ok")},
		"two lengths":              {address: speaker(t, closes, headed("Content-Length: 2\r\nContent-Length: 3\r\nX-Cluster: a\r\n")+"ok")},
		"a negative length":        {address: speaker(t, closes, headed("Content-Length: -2\r\nX-Cluster: a\r\n")+"ok")},
		"silence":                  {speaker(t, staysOpen), impatient},
		"silence after half":       {speaker(t, staysOpen, headed("Content-Length: 20\r\nX-Cluster: a\r\n")+"ok"), impatient},
		"refused":                  {address: dead.Addr().String()},
		"headers too large":        {address: speaker(t, closes, headed(strings.Repeat("X-Pad: "+strings.Repeat("x", 1000)+"\r\n", 40)))},
		"a large body":             {address: speaker(t, closes, headed("X-Cluster: a\r\nContent-Length: 9000000\r\n")+strings.Repeat("x", 300<<10))},
		"a large body without end": {address: speaker(t, closes, headed("X-Cluster: a\r\n")+strings.Repeat("x", 300<<10))},
		"HEAD":                     {speaker(t, closes, headed("X-Cluster: a\r\nContent-Length: 20\r\n")), func(tg *Target) { tg.Check.Method = http.MethodHead }},
		"a body to look at":        {speaker(t, closes, headed("X-Cluster: a\r\nContent-Length: 2\r\n")+"ok"), func(tg *Target) { tg.Check.Body.Contains = "no" }},
		"JSON to look at":          {speaker(t, closes, headed("X-Cluster: a\r\nContent-Length: 10\r\n")+`{"up":true}`), func(tg *Target) { tg.Check.JSON.Path = "$.up" }},
		"tcp":                      {speaker(t, closes), func(tg *Target) { tg.Check = Check{Type: TCP} }},
		"tcp, refused":             {dead.Addr().String(), func(tg *Target) { tg.Check = Check{Type: TCP} }},
		"slow":                     {speaker(t, closes, headed("Content-Length: 2\r\n"), "ok"), func(tg *Target) { tg.Check.Identity, tg.Check.Slow = IdentityCheck{}, time.Millisecond }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tg := target(HTTP, tc.address)
			tg.Check.Identity.Header, tg.Identity, tg.Timeout = "X-Cluster", "a", 5*time.Second
			tg.Check.Slow = tg.Timeout // how busy the machine is decides about no warning
			if tc.change != nil {
				tc.change(&tg)
			}
			tr, err := probe(t, tg)
			words := func(tr Trace, err error) string {
				text := "no error"
				if err != nil {
					text = exactTimes.ReplaceAllString(err.Error(), "within its time")
				}
				return fmt.Sprintf("%s at %s, own %v, wrong %v, refused %v, identity %v, %d warnings, from %v to %v", text, tr.Phase, errors.Is(err, ErrOwn),
					errors.Is(err, ErrWrongCluster), errors.Is(err, syscall.ECONNREFUSED), tr.Identity, len(tr.Warnings), tr.Local.IsValid(), tr.Remote)
			}
			for _, many := range []bool{false, true} {
				o := glanceAt(t, tg, many)
				if short, long := words(o.trace, o.err), words(tr, err); short != long {
					t.Errorf("the lane, many %v: %s\nthe long way:    %s", many, short, long)
				}
				if took := o.done.Sub(o.sent); (o.err == nil) != (o.kind == Success) || isTimeout(o.err) && took < tg.Timeout {
					t.Errorf("%s after %s: %v", o.kind, took, o.err)
				}
			}
		})
	}
}

// Whatever comes, what the strict reader calls whole and well is so for the
// full parser, and what it calls whole needs no further byte.
func FuzzFrame(f *testing.F) {
	for _, s := range []string{
		headed("Content-Length: 2\r\nX-Cluster: a\r\n") + "ok", headed("X-Cluster: a\r\n") + "ok", headed("X-Cluster: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n"),
		"HTTP/1.1 204 \r\nX-Cluster: a\r\n\r\n", "HTTP/1.0 200\r\nContent-Length: 0\r\nX-Cluster:\ta\t\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n",
		headed("Transfer-Encoding: chunked\r\nX-Cluster: a\r\n") + "0\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", headed(" X-Cluster: a\r\nContent-Length: 0\r\n"),
		"HTTP/1.1 200 OK\nContent-Length: 0\nX-Cluster: a\n\n", headed("X-Cluster : a\r\nContent-Length: 0\r\n"), headed("Content-Length: +2\r\nX-Cluster: a\r\n") + "ok",
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, head bool) {
		tg := target(HTTP, "192.0.2.1:80")
		tg.Check.Identity.Header, tg.Identity = "X-Cluster", "a"
		if head {
			tg.Check.Method = http.MethodHead
		}
		d, err := newDirect(tg, ProbeConfig{Vantage: "van-1"}, map[string]*likeness{})
		if err != nil {
			t.Fatal(err)
		}
		kind, status, headers := frame(b, d.want.check.Method)
		if kind != frameWhole {
			return
		}
		var tr Trace
		err = d.parse(b, errMore, &tr, 0)
		if errors.Is(err, errMore) {
			t.Fatalf("said to be whole, but the parser wants more: %q", b)
		}
		if d.well(status, headers) && err != nil {
			t.Fatalf("said to be well: %q: %v", b, err)
		}
		if whole, rest := bytes.Clone(b), []byte("HTTP/1.1 500 no\r\n\r\n"); err == nil && d.parse(append(whole, rest...), io.EOF, &tr, 0) != nil && !bytes.Contains(b, []byte("\n\n")) {
			t.Fatalf("what comes after a whole answer changes it: %q", b)
		}
	})
}

// A target that moves from the lane to elsewhere, and goes, in the middle of a
// probe: its socket is closed and nothing is counted.
func TestTheLaneEndsTheProbesOfWhatIsGone(t *testing.T) {
	accepted := make(chan net.Conn, 8)
	l := listen(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	mute := target(HTTP, l.Addr().String())
	mute.Round, mute.Timeout = 300*time.Millisecond, 250*time.Millisecond
	well := mute
	well.Cluster, well.Address = "b", speaker(t, closes, headed("Content-Length: 0\r\n"))
	p, err := NewProber(Config{Vantage: "van-1", Targets: []Target{mute, well}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	c := <-accepted
	defer c.Close()
	if err := p.Reload(Config{Vantage: "van-1", Targets: []Target{well}}); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, c); err == nil || isTimeout(err) {
		t.Errorf("the connection ended with %v, not with a reset", err)
	}
	misses := p.Stats().Misses
	eventually(t, "b is up", func() bool {
		r, ok := p.Latest("orders")
		return ok && len(r.Clusters) == 1 && r.Clusters[0].Vote == failover.Up
	})
	if n := p.Stats().Misses; n != misses {
		t.Errorf("%d misses were counted since", n-misses)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// Targets whose re-checks hang go in the middle of them, and give back the
// room that those took from the bursts of others.
func TestWhatIsGoneGivesBackTheRoomOfItsBurst(t *testing.T) {
	var asked atomic.Int32
	l := listen(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if asked.Add(1) == 1 {
				c.Close() // a first miss; what comes next is left without an answer
			}
		}
	}()
	mute := target(HTTP, l.Addr().String())
	mute.Round, mute.Timeout, mute.Burst = 10*time.Second, 9*time.Second, 10*time.Millisecond
	well := mute
	well.Cluster, well.Address = "b", speaker(t, closes, headed("Content-Length: 0\r\n"))
	p, err := NewProber(Config{Vantage: "van-1", Targets: []Target{mute, well}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	p.nudges <- nudge{"orders", "a", LossClosed, time.Now()} // or its turn might be a round away
	eventually(t, "re-checks are under way", func() bool { return asked.Load() == 3 })
	if err := p.Reload(Config{Vantage: "van-1", Targets: []Target{well}}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := p.pad.directExtra; n != 0 {
		t.Errorf("%d places of bursts are taken for good", n)
	}
}

// Where no lane can be had, direct probes take the long way, and a reload in
// the middle of them finds nothing that is being written.
func TestReloadsWithoutALane(t *testing.T) {
	ts := crowdOf(50, TCP, speaker(t, closes))
	p, err := NewProber(Config{Vantage: "van-1", Targets: ts})
	if err != nil {
		t.Fatal(err)
	}
	p.pad.noLane = true // as with no file descriptor left
	defer running(t, p)()
	for i := range 20 {
		for j := range ts {
			ts[j].Round = 500*time.Millisecond + time.Duration(i)*time.Millisecond
		}
		if err := p.Reload(Config{Vantage: "van-1", Targets: ts}); err != nil {
			t.Fatal(err)
		}
		before := p.Stats().Successes
		eventually(t, "they are probed", func() bool { return p.Stats().Successes > before })
	}
}

// An answer that lay in the kernel when its time was over counts: that nobody
// looked was our own doing.
func TestWhatHasComeIsLookedAtBeforeItsDeadline(t *testing.T) {
	answer, answered := make(chan struct{}), make(chan struct{})
	srv := listen(t)
	go func() {
		c, err := srv.Accept()
		if err != nil {
			return
		}
		c.Read(make([]byte, 4096))
		<-answer
		io.WriteString(c, headed("Content-Length: 0\r\n"))
		close(answered)
		staysOpen(c.(*net.TCPConn))
	}()
	tg := target(HTTP, srv.Addr().String())
	d, err := newDirect(tg, ProbeConfig{Vantage: "van-1"}, map[string]*likeness{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	g, ctx := errgroup.WithContext(ctx)
	var ended []outcome
	l, err := openLane(ctx, g.Go, func(o outcome) { ended = append(ended, o) })
	if err != nil {
		t.Fatal(err)
	}
	l.start(flight{watch: &watch{target: &tg}, target: &tg, direct: d, due: time.Now()})
	for l.slots[0].step != stepRead {
		l.handle(<-l.woken, time.Now())
	}
	close(answer)
	<-answered
	l.expire(time.Now().Add(tg.Timeout))
	l.close()
	cancel()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if len(ended) != 1 || ended[0].kind != Success {
		t.Errorf("ended as %+v", ended)
	}
}

// Who answers soon is seen by the poll of the crowd and enters no set, whatever
// time it is elsewhere.
func TestTheYoungOfACrowdAreAskedByOnePoll(t *testing.T) {
	tg := target(HTTP, speaker(t, closes, headed("Content-Length: 0\r\n")))
	d, err := newDirect(tg, ProbeConfig{Vantage: "van-1"}, map[string]*likeness{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	g, ctx := errgroup.WithContext(ctx)
	var ended []outcome
	l, err := openLane(ctx, g.Go, func(o outcome) { ended = append(ended, o) })
	if err != nil {
		t.Fatal(err)
	}
	l.brisk = true
	now := time.Now()
	for range 20 {
		l.start(flight{watch: &watch{target: &tg}, target: &tg, direct: d, due: now})
	}
	eventually(t, "all have ended", func() bool {
		l.poll(now) // nobody grows older
		return l.busy == 0 || l.many.slow > 0
	})
	check(t, "answers, slow ones", []int{len(ended), l.many.slow}, "[20 0]")
	l.close()
	cancel()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}
