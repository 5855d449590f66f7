package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const laneWorks = true

// events are what the sockets told.
type events []unix.EpollEvent

// lane does direct probes on sockets of its own, all of them in the goroutine of
// the scheduler: a probe is a few system calls and no goroutine, no timer and
// no lock. A few sockets are in an epoll set that one more goroutine waits for,
// so that each is looked at at once. Many are a crowd.
type lane struct {
	done  func(outcome) // takes what has ended
	file  *os.File      // the set of few; a reader of it sleeps in the runtime's own poller
	few   int
	woken chan events
	busy  int  // probes under way
	limit int  // of those
	brisk bool // there are many, whatever is under way right now

	many crowd

	slots   []*glance // by the number in an event
	free    []*glance
	ends    map[time.Duration]*chain // under way, by timeout: the oldest of each ends first
	parting chain                    // answered; the other side should close first
	odd     []*glance                // whose answers only the full parser knows
	oddAt   time.Time                // when those are looked at next
	scratch [32 << 10]byte
}

const (
	maxGlances = 16384
	// oddPause is how long the other side must be silent before an answer
	// without a stated length is given to the full parser.
	oddPause = 20 * time.Millisecond
	// someMany is how many probes are under way before they count as many.
	someMany = 16
)

// openLane makes a lane whose waiting runs by spawn until ctx ends.
func openLane(ctx context.Context, spawn func(func() error), done func(outcome)) (*lane, error) {
	few, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open a lane: %w", err)
	}
	if err := unix.SetNonblock(few, true); err != nil {
		unix.Close(few)
		return nil, fmt.Errorf("open a lane: %w", err)
	}
	many, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		unix.Close(few)
		return nil, fmt.Errorf("open a lane: %w", err)
	}
	l := &lane{
		done: done, file: os.NewFile(uintptr(few), "epoll"), few: few, many: crowd{epoll: many}, woken: make(chan events),
		limit: maxGlances, ends: map[time.Duration]*chain{},
	}
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil {
		l.limit = int(min(maxGlances, max(files.Cur/2, 64)))
	}
	raw, err := l.file.SyscallConn()
	if err != nil {
		l.file.Close()
		unix.Close(many)
		return nil, fmt.Errorf("open a lane: %w", err)
	}
	spawn(func() error { return l.wait(ctx, raw) })
	return l, nil
}

// wait hands on what the sockets of the few tell until the lane is closed.
func (l *lane) wait(ctx context.Context, raw syscall.RawConn) error {
	var sets [2][256]unix.EpollEvent // the scheduler reads one while the other is filled
	for turn := 0; ; turn ^= 1 {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), sets[turn][:], 0)
			return n > 0
		})
		if err != nil {
			return nil // closed
		}
		select {
		case <-ctx.Done():
			return nil
		case l.woken <- sets[turn][:n]:
		}
	}
}

// close ends everything that is under way; none of it counts.
func (l *lane) close() {
	l.leave(func(*watch) bool { return true })
	l.file.Close()
	unix.Close(l.many.epoll)
}

// leave ends the probes of some targets; none of them counts. It returns those
// that had not ended yet.
func (l *lane) leave(gone func(*watch) bool) (left []flight) {
	for _, g := range l.slots {
		if g.fd < 0 || !gone(g.watch) {
			continue
		}
		if g.step != stepPart {
			left = append(left, g.flight)
		}
		l.reset(g)
	}
	return left
}

// full says that no further probe should be started.
func (l *lane) full() bool { return l.busy >= l.limit }

// take finds room for a probe.
func (l *lane) take() *glance {
	if n := len(l.free); n > 0 {
		g := l.free[n-1]
		l.free = l.free[:n-1]
		return g
	}
	g := &glance{slot: int32(len(l.slots)), fd: -1}
	l.slots = append(l.slots, g)
	return g
}

// start sends a probe on its way. What fails at once has ended when it
// returns.
func (l *lane) start(f flight) {
	g := l.take()
	g.outcome = outcome{flight: f}
	g.step, g.wrote, g.tried, g.buf = stepConnect, 0, 0, g.buf[:0]
	g.number, g.sent = f.watch.start()
	g.heard, g.spoke = g.sent, g.sent
	l.busy++
	if g.behind() {
		l.done(g.outcome)
		l.release(g)
		return
	}
	g.trace.Phase, g.trace.Remote = PhaseConnect, f.direct.to
	if err := l.connect(g); err != nil {
		l.end(g, fmt.Errorf("connect %s: %w", f.direct.to, onTheWay(err)), time.Now())
		return
	}
	g.deadline = g.sent.Add(f.target.Timeout)
	c := l.ends[f.target.Timeout]
	if c == nil {
		c = &chain{}
		l.ends[f.target.Timeout] = c
	}
	c.add(g)
}

func (l *lane) connect(g *glance) error {
	to := g.direct.to
	family, sa := unix.AF_INET, unix.Sockaddr(nil)
	if to.Addr().Is4() {
		sa = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	} else {
		family, sa = unix.AF_INET6, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	g.fd = fd
	if err := unix.Connect(fd, sa); err != nil && err != unix.EINPROGRESS && err != unix.EINTR {
		return err
	}
	if l.brisk || l.busy > someMany {
		l.many.add(g)
		return nil
	}
	return watchFor(l.few, g)
}

// watchFor puts a socket into an epoll set; what it has to tell already is told.
func watchFor(set int, g *glance) error {
	return unix.EpollCtl(set, unix.EPOLL_CTL_ADD, g.fd, &unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: g.slot, Pad: g.round,
	})
}

// handle takes what the sockets told.
func (l *lane) handle(told events, now time.Time) {
	for _, e := range told {
		if g := l.slots[e.Fd]; g.round == e.Pad && g.fd >= 0 {
			l.advance(g, e.Events, now)
		}
	}
}

// expire ends what is over its time. Each is looked at once more before: what
// has come in time counts, however late we are.
func (l *lane) expire(now time.Time) {
	for _, c := range l.ends {
		for g := c.head; g != nil && !g.deadline.After(now); g = c.head {
			g.unchain()
			l.last(g, now)
		}
	}
	for g := l.parting.head; g != nil && !g.deadline.After(now); g = l.parting.head {
		l.reset(g)
	}
	if len(l.odd) > 0 && !l.oddAt.After(now) {
		l.look(now)
	}
}

// due is when expire is needed next; zero for never.
func (l *lane) due() (at time.Time) {
	for _, c := range l.ends {
		if c.head != nil && (at.IsZero() || c.head.deadline.Before(at)) {
			at = c.head.deadline
		}
	}
	if g := l.parting.head; g != nil && (at.IsZero() || g.deadline.Before(at)) {
		at = g.deadline
	}
	if len(l.odd) > 0 && (at.IsZero() || l.oddAt.Before(at)) {
		at = l.oddAt
	}
	return sooner(at, l.many.due())
}

// last looks at a socket whose time is over.
func (l *lane) last(g *glance, now time.Time) {
	fds := []unix.PollFd{{Fd: int32(g.fd), Events: unix.POLLIN | unix.POLLOUT | unix.POLLRDHUP}}
	round := g.round
	if n, _ := unix.Poll(fds, 0); n > 0 {
		l.advance(g, uint32(uint16(fds[0].Revents)), now) // the bits of poll are those of epoll
	}
	if g.round != round || g.step == stepPart {
		return // it has ended after all
	}
	within := g.target.Timeout
	switch g.step {
	case stepConnect:
		l.end(g, fmt.Errorf("connect %s: %w", g.direct.to, timeoutError{within}), now)
	case stepWrite:
		l.end(g, fmt.Errorf("write request: %w", timeoutError{within}), now)
	default:
		l.end(g, g.direct.parse(g.buf, os.ErrDeadlineExceeded, &g.trace, g.left()), now)
	}
}

// look gives answers of an odd form to the full parser when nothing more came
// of them for a while: the other side may leave the connection open. The time
// of such an answer is that of its last byte.
func (l *lane) look(now time.Time) {
	odd := l.odd
	l.odd, l.oddAt = nil, now.Add(oddPause)
	for _, g := range odd {
		if g.fd < 0 || g.step != stepRead || g.tried == 0 {
			continue // has ended since
		}
		if len(g.buf) == g.tried || now.Sub(g.heard) < oddPause {
			l.odd = append(l.odd, g)
			continue
		}
		g.tried = len(g.buf)
		tr := g.trace
		err := g.direct.parse(g.buf, errMore, &tr, g.left())
		if errors.Is(err, errMore) {
			l.odd = append(l.odd, g)
			continue
		}
		g.trace = tr
		g.trace.Answer = g.heard.Sub(g.spoke)
		if err != nil {
			l.end(g, err, g.heard)
		} else {
			l.part(g, 0, g.heard)
		}
	}
}

// end tells of a probe that is over and resets its connection.
func (l *lane) end(g *glance, err error, now time.Time) {
	g.err, g.done = err, now
	if g.trace.Phase == PhaseConnect {
		g.trace.Connect = now.Sub(g.sent)
	} else if err != nil && g.trace.Answer == 0 {
		g.trace.Answer = now.Sub(g.spoke)
	}
	l.deliver(g)
	l.reset(g)
}

func (l *lane) deliver(g *glance) {
	if took := g.done.Sub(g.sent); g.err == nil && took > g.direct.slow {
		g.trace.warn("slow: answered in %s", took.Round(time.Millisecond))
	}
	g.judge()
	l.done(g.outcome)
}

// reset closes without leaving a TIME_WAIT behind: see drop.
func (l *lane) reset(g *glance) {
	if g.fd >= 0 {
		unix.SetsockoptLinger(g.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	l.release(g)
}

// release closes the socket, which also takes it out of the epoll set, and
// frees the slot.
func (l *lane) release(g *glance) {
	g.unchain()
	if g.fd >= 0 {
		unix.Close(g.fd)
	}
	if cap(g.buf) > 8<<10 {
		g.buf = nil
	}
	l.many.drop(g)
	g.outcome, g.fd, g.tried = outcome{}, -1, 0
	g.round++
	l.busy--
	l.free = append(l.free, g)
}
