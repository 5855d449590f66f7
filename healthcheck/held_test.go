package healthcheck

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// backend is a small server that can be killed, stalled and started again at
// its address.
type backend struct {
	t    *testing.T
	addr string

	mu      sync.Mutex
	l       net.Listener
	conns   map[net.Conn]bool
	stalled bool
	idle    time.Duration // after which a connection is closed; 0: never
	most    int           // connections at a time, the others wait; 0: any
	greet   string
	single  string // turn away: a further connection is closed; evict: those before it are
	tls     *tls.Config
	served  int // requests
	begun   int // connections
	wg      sync.WaitGroup
}

func newBackend(t *testing.T, set func(*backend)) *backend {
	b := &backend{t: t, addr: "127.0.0.1:0", conns: map[net.Conn]bool{}}
	if set != nil {
		set(b)
	}
	b.start()
	t.Cleanup(b.kill)
	return b
}

func (b *backend) start() {
	l, err := net.Listen("tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	b.l, b.addr = l, l.Addr().String()
	if b.tls != nil {
		l = tls.NewListener(l, b.tls)
	}
	slots := make(chan struct{}, max(b.most, 1))
	b.mu.Unlock()
	b.wg.Go(func() {
		for {
			if b.most > 0 {
				slots <- struct{}{}
			}
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.begun++
			if b.single == "turn away" && len(b.conns) > 0 {
				b.mu.Unlock()
				c.Close()
				continue
			}
			for old := range b.conns {
				if b.single == "evict" {
					old.Close()
				}
			}
			b.conns[c] = true
			b.mu.Unlock()
			b.wg.Go(func() {
				b.serve(c)
				c.Close()
				b.mu.Lock()
				delete(b.conns, c)
				b.mu.Unlock()
				if b.most > 0 {
					<-slots
				}
			})
		}
	})
}

// kill ends listener and connections, as the end of a process does.
func (b *backend) kill() {
	b.mu.Lock()
	b.l.Close()
	for c := range b.conns {
		c.Close()
	}
	b.mu.Unlock()
	b.wg.Wait()
}

// reset breaks every connection, and accepts no other.
func (b *backend) reset() {
	b.mu.Lock()
	b.l.Close()
	for c := range b.conns {
		raw := c
		if t, ok := c.(*tls.Conn); ok {
			raw = t.NetConn()
		}
		raw.(*net.TCPConn).SetLinger(0)
		raw.Close()
	}
	b.mu.Unlock()
	b.wg.Wait()
}

func (b *backend) set(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

func (b *backend) serve(c net.Conn) {
	io.WriteString(c, b.greet)
	br := bufio.NewReader(c)
	for {
		if b.idle > 0 {
			c.SetReadDeadline(time.Now().Add(b.idle))
		}
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		b.mu.Lock()
		stalled := b.stalled
		b.served++
		b.mu.Unlock()
		if stalled {
			io.Copy(io.Discard, br) // until the other side goes
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		if req.Close {
			return
		}
	}
}

// lookout runs a prober on real sockets and keeps what it says.
type lookout struct {
	*Prober
	mu    sync.Mutex
	votes []string
}

func lookAt(t *testing.T, ts ...Target) *lookout {
	t.Helper()
	l := &lookout{}
	p, err := NewProber(Config{Vantage: "van-1", Targets: ts, OnReport: l.hear})
	if err != nil {
		t.Fatal(err)
	}
	l.Prober = p
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); p.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return l
}

func (l *lookout) hear(r InstanceReport) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range r.Clusters {
		word := fmt.Sprintf("%s %s", c.Cluster, c.Vote)
		if len(l.votes) == 0 || l.votes[len(l.votes)-1] != word {
			l.votes = append(l.votes, word)
		}
	}
}

func (l *lookout) transcript() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.votes, ", ")
}

// neverDown allows an abstention, as a starved machine makes them.
func (l *lookout) neverDown(t *testing.T) {
	t.Helper()
	if got := l.transcript(); strings.Contains(got, "down") || !strings.Contains(got, "a up") {
		t.Errorf("votes: %s", got)
	}
}

// open nudges the target, so that it is probed and held long before its first
// turn, and waits until it is.
func (l *lookout) open(t *testing.T) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("%+v, newest probes %+v", l.Stats(), l.History("orders", "a"))
		}
	}()
	var last time.Time // a starved machine may need another try, of the three that a target has
	eventually(t, "a connection is held", func() bool {
		if l.Stats().Held.Open == 0 && time.Since(last) > 2*time.Second {
			last = time.Now()
			select {
			case l.nudges <- nudge{"orders", "a", LossClosed, last}:
			case <-time.After(time.Second):
			}
		}
		return l.Stats().Held.Open == 1
	})
}

// down waits for the down vote that a nudge brings. On a starved machine its
// probes are a fault of our own again and again; then there is none, and down
// says so.
func (l *lookout) down(t *testing.T) bool {
	t.Helper()
	eventually(t, "the vote is down", func() bool {
		return strings.HasSuffix(l.transcript(), "a down") || l.Stats().Nudges[NudgeOwn] > 0
	})
	return l.Stats().Nudges[NudgeOwn] == 0
}

// seldom is a target whose next turn is too far away to see anything.
func seldom(addr string, mode WatchMode) Target {
	tg := target(HTTP, addr)
	tg.Watch, tg.Round, tg.Timeout, tg.Burst = mode, time.Hour, time.Second, 200*time.Millisecond
	tg.Count = failover.CountPolicy{Fall: 3, Rise: 1}
	return tg
}

// often is one that is probed all the time.
func often(addr string, mode WatchMode) Target {
	tg := seldom(addr, mode)
	tg.Round, tg.Timeout, tg.Burst = 50*time.Millisecond, 40*time.Millisecond, 5*time.Millisecond
	return tg
}

// Without the held connection nothing of this would be seen for an hour.
func TestTheEndOfAHeldConnectionMakesTheVote(t *testing.T) {
	for _, mode := range []WatchMode{WatchHold, WatchRequest} {
		t.Run(string(mode), func(t *testing.T) {
			b := newBackend(t, nil)
			l := lookAt(t, seldom(b.addr, mode))
			l.open(t)
			b.kill()
			if !l.down(t) {
				return
			}
			s := l.Stats()
			if s.Nudges[NudgeConfirmed] != 1 || s.Misses < 3 || s.Held.Open != 0 || s.Held.Lost[LossClosed]+s.Held.Lost[LossReset] != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A process that stands still says nothing: only a request notices.
func TestAMissingAnswerMakesTheVote(t *testing.T) {
	b := newBackend(t, nil)
	l := lookAt(t, seldom(b.addr, WatchRequest))
	l.open(t)
	b.set(func() { b.stalled = true })
	if !l.down(t) {
		return
	}
	s := l.Stats()
	if s.Held.Lost[LossSilent] != 1 || s.Nudges[NudgeConfirmed] != 1 || s.Misses < 3 {
		t.Errorf("%+v", s)
	}
	// The time is what was left of the timeout when the probe had set out.
	r, _ := l.Latest("orders")
	within, ok := strings.CutPrefix(r.Clusters[0].Reason, "read answer: no answer within ")
	within, said := strings.CutSuffix(within, "; seen early by a held connection (silent)")
	if d, err := time.ParseDuration(within); !ok || !said || err != nil || d > time.Second {
		t.Errorf("people are told %q", r.Clusters[0].Reason)
	}
}

// An answer is any answer: what it says is judged by probes alone.
func TestAnyAnswerToTheWatchIsLife(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusMethodNotAllowed)
		}
	})
	l := lookAt(t, seldom(addr, WatchRequest))
	l.open(t)
	time.Sleep(5 * askEvery) // nothing is waited for: this is how long nothing must happen
	s := l.Stats()
	if s.Held.Open != 1 || s.Held.Opened != 1 || len(s.Held.Lost) != 0 {
		t.Errorf("%+v", s.Held)
	}
}

// Banners are thrown away, but not without end.
func TestWhatAServerSendsUnaskedIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		bytes int
		rests int
	}{"a banner": {1000, 0}, "a stream": {10 * heldBudget, 1}} {
		t.Run(name, func(t *testing.T) {
			b := newBackend(t, func(b *backend) { b.greet = strings.Repeat("x", c.bytes) })
			tg := seldom(b.addr, WatchHold)
			tg.Check = Check{Type: TCP}
			l := lookAt(t, tg)
			eventually(t, "it is held, or rests", func() bool {
				select {
				case l.nudges <- nudge{"orders", "a", LossClosed, time.Now()}:
				default:
				}
				return l.Stats().Held.Opened > 0
			})
			eventually(t, "it is settled", func() bool { return l.Stats().Held.Resting == c.rests && l.Stats().Held.Open == 1-c.rests })
			if s := l.Stats(); s.Held.Lost != nil {
				t.Errorf("%+v", s.Held)
			}
		})
	}
}

// A server that ends idle connections again and again moves no vote, costs a
// bounded number of probes, and the watch gives up and says why.
func TestIdleTimeoutsCauseNoVote(t *testing.T) {
	t.Parallel()
	b := newBackend(t, func(b *backend) { b.idle = 30 * time.Millisecond })
	tg := often(b.addr, WatchHold)
	tg.Round, tg.Timeout = 100*time.Millisecond, 90*time.Millisecond
	l := lookAt(t, tg)
	eventually(t, "the watch rests", func() bool { return l.Stats().Held.Resting == 1 })
	s := l.Stats()
	l.neverDown(t)
	if n := s.Held.Lost[LossClosed]; n < restStrikes-1 || n > restStrikes {
		t.Errorf("%d connections were lost before the rest", n)
	}
	if s.Nudges[NudgeConfirmed] != 0 || s.Nudges[NudgePassed]+s.Nudges[NudgeLimited] < 3 {
		t.Errorf("%+v", s)
	}
	eventually(t, "people are told", func() bool {
		r, _ := l.Latest("orders")
		return strings.Contains(r.Clusters[0].Reason, "its watch rests: the server ends held connections at once") ||
			strings.Contains(r.Clusters[0].Reason, "its watch rests: the server ends held connections after about ")
	})
}

// A server for one connection at a time: what probes miss because of ours
// never counts, even where one miss makes a vote.
func TestAConnectionLimitCausesNoVote(t *testing.T) {
	t.Parallel()
	b := newBackend(t, func(b *backend) { b.most = 1 })
	tg := often(b.addr, WatchHold)
	tg.Count.Fall = 1
	tg.Round, tg.Timeout = 320*time.Millisecond, 300*time.Millisecond
	l := lookAt(t, tg)
	eventually(t, "the watch rests", func() bool { return l.Stats().Held.Resting == 1 })
	s := l.Stats()
	l.neverDown(t)
	if s.Held.SetAside == 0 {
		t.Errorf("%+v", s)
	}
	eventually(t, "people are told", func() bool {
		r, _ := l.Latest("orders")
		return strings.Contains(r.Clusters[0].Reason, "its watch rests: the server turns probes away while a connection is held")
	})
}

// balancer is a TCP load balancer: each connection goes to one of the
// backends that take one, and ends with it.
type balancer struct {
	backends []*backend
	next     atomic.Uint32
	wg       sync.WaitGroup
}

func (lb *balancer) listen(t *testing.T) string {
	l := listen(t)
	lb.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			lb.wg.Go(func() { lb.carry(c) })
		}
	})
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func (lb *balancer) carry(c net.Conn) {
	defer c.Close()
	for range 2 * len(lb.backends) {
		b := lb.backends[int(lb.next.Add(1))%len(lb.backends)]
		b.mu.Lock()
		addr := b.addr
		b.mu.Unlock()
		up, err := net.Dial("tcp", addr)
		if err != nil {
			continue
		}
		defer up.Close()
		lb.wg.Go(func() { io.Copy(up, c); up.(*net.TCPConn).CloseWrite() })
		io.Copy(c, up)
		return
	}
}

// Backends behind a balancer are restarted one after another: every held
// connection ends, every fresh one is answered, nobody votes.
func TestARollingRestartBehindABalancerCausesNoVote(t *testing.T) {
	for _, mode := range []WatchMode{WatchHold, WatchRequest} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			lb := &balancer{}
			for range 2 {
				lb.backends = append(lb.backends, newBackend(t, nil))
			}
			addr := lb.listen(t)
			tg := often(addr, mode)
			tg.Round, tg.Timeout = 150*time.Millisecond, 140*time.Millisecond
			l := lookAt(t, tg)
			const restarts = 4
			for i := range restarts {
				eventually(t, "a connection is held", func() bool { return l.Stats().Held.Open == 1 })
				lost := func() uint64 { return l.Stats().Held.Lost[LossClosed] + l.Stats().Held.Lost[LossReset] }
				before := lost()
				for lost() == before { // whichever holds ours
					b := lb.backends[i%2]
					b.kill()
					b.start()
					i++
					eventuallyOr(func() bool { return lost() != before })
				}
			}
			s := l.Stats()
			l.neverDown(t)
			if s.Nudges[NudgeConfirmed] != 0 || s.Nudges[NudgePassed]+s.Nudges[NudgeLimited] < restarts-1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// eventuallyOr polls for a moment and goes on in any case.
func eventuallyOr(ok func() bool) {
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end) && !ok(); {
		time.Sleep(time.Millisecond)
	}
}

// A server that announces the end of a connection costs no probe.
func TestAnAnnouncedEndIsNoLoss(t *testing.T) {
	t.Parallel()
	var n atomic.Int32
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead && n.Add(1)%15 == 0 {
			w.Header().Set("Connection", "close")
		}
	})
	l := lookAt(t, seldom(addr, WatchRequest))
	l.open(t)
	eventually(t, "three connections were held", func() bool { return l.Stats().Held.Opened >= 3 })
	s := l.Stats()
	if s.Held.Lost != nil || s.Held.Resting != 0 || s.Successes > 2 {
		t.Errorf("%+v", s)
	}
}

// With more targets than allowed nothing is held, and that is said.
func TestAboveWatchTargetsNothingIsHeld(t *testing.T) {
	b := newBackend(t, nil)
	one, two := often(b.addr, WatchHold), often(b.addr, WatchHold)
	two.Cluster = "b"
	c := Config{Vantage: "van-1", Targets: []Target{one, two}, WatchTargets: 1}
	const want = "no connections are held open: 2 targets want one, watch_targets allows 1"
	check(t, "before", c.WatchesOff(), want)
	p, err := NewProber(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- p.Run(ctx) }()
	eventually(t, "it probes", func() bool { return p.Stats().Successes > 8 })
	check(t, "while it runs", p.Stats().Held, HeldStats{Off: want})
	c.WatchTargets = 2
	if err := p.Reload(c); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are held", func() bool { return p.Stats().Held.Open == 2 })
	c.Targets = c.Targets[:1]
	if err := p.Reload(c); err != nil {
		t.Fatal(err)
	}
	eventually(t, "one is let go", func() bool { return p.Stats().Held.Open == 1 })
	cancel()
	if err := <-ended; err != nil || p.Stats().Held.Open != 0 {
		t.Errorf("%v, %+v", err, p.Stats().Held)
	}
}

// A watch reaches nothing that probes may not reach.
func TestAWatchDialsNothingForbidden(t *testing.T) {
	tg := seldom("clusters.test:80", WatchHold)
	p := &Prober{now: &crew{}}
	h := p.newHeld(&tg)
	h.dial.lookup = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("169.254.169.254")}, nil
	}
	if _, _, err := h.open(t.Context()); !errors.Is(err, ErrForbidden) {
		t.Errorf("got %v", err)
	}
}

// Answers from while a connection was held invite no other one: a target that
// stands still would take it and be in the way of its own probes.
func TestALostConnectionIsReplacedOnlyAfterAFreshAnswer(t *testing.T) {
	b := newBackend(t, nil)
	tg := often(b.addr, WatchRequest)
	tg.Round, tg.Timeout = 400*time.Millisecond, 390*time.Millisecond
	l := lookAt(t, tg)
	eventually(t, "it is held while probes are answered", func() bool { s := l.Stats(); return s.Held.Open == 1 && s.Successes >= 3 })
	b.set(func() { b.stalled = true })
	eventually(t, "the vote is down", func() bool { return strings.HasSuffix(l.transcript(), "a down") })
	// On a starved machine the probes of the nudge are a fault of our own.
	if s := l.Stats(); s.Held.Opened != 1 || s.Held.Lost[LossSilent] != 1 || s.Nudges[NudgeConfirmed]+s.Nudges[NudgeOwn] != 1 {
		t.Errorf("%+v", s)
	}
}
