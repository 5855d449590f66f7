package healthcheck

import (
	"time"

	"golang.org/x/sys/unix"
)

// crowd is the sockets of a lane where there are many. The scheduler looks at
// them itself, once a millisecond and before it starts more: to be woken for
// each would cost as much as half a probe, and so would an epoll set, which
// most of them would leave again a millisecond later. So they are asked for all
// at once, by one poll, and only those that take longer enter a set.
type crowd struct {
	epoll  int // of those that take longer
	slow   int // how many these are
	young  []youth
	fds    []unix.PollFd
	looked time.Time // when they were looked at last
	told   [256]unix.EpollEvent
}

// youth is a socket that is not in the set yet.
type youth struct {
	glance *glance
	round  int32
}

// seat is where a socket is looked at.
type seat int8

const (
	seatFew   seat = iota // in the set of few
	seatYoung             // in the crowd, by poll
	seatSlow              // in the crowd, in its set
)

const (
	// tick is how often a crowd is looked at.
	tick = time.Millisecond
	// childhood is how long a probe is under way before it enters the set.
	childhood = 8 * time.Millisecond
)

func (c *crowd) add(g *glance) {
	g.seat = seatYoung
	c.young = append(c.young, youth{g, g.round})
}

// drop takes a socket out that is closed; a young one goes when it is met next.
func (c *crowd) drop(g *glance) {
	if g.seat == seatSlow {
		c.slow--
	}
	g.seat = seatFew
}

// due is when the crowd is to be looked at next; zero for never.
func (c *crowd) due() time.Time {
	if c.slow == 0 && len(c.young) == 0 {
		return time.Time{}
	}
	return c.looked.Add(tick)
}

// poll looks at the crowd.
func (l *lane) poll(now time.Time) {
	c := &l.many
	c.looked = now
	l.grow(now)
	if n, _ := unix.Poll(c.fds, 0); n > 0 {
		for i, f := range c.fds {
			if y := c.young[i]; f.Revents != 0 && y.glance.round == y.round {
				l.advance(y.glance, uint32(uint16(f.Revents)), now) // the bits of poll are those of epoll
			}
		}
	}
	for n := len(c.told); c.slow > 0 && n == len(c.told); {
		n, _ = unix.EpollWait(c.epoll, c.told[:], 0)
		l.handle(c.told[:max(n, 0)], now)
	}
}

// grow lists the young, without those that have ended or are no longer young.
func (l *lane) grow(now time.Time) {
	c := &l.many
	left := c.young[:0]
	c.fds = c.fds[:0]
	for _, y := range c.young {
		g := y.glance
		if g.round != y.round || g.fd < 0 {
			continue
		}
		if g.step != stepPart && now.Sub(g.sent) > childhood && watchFor(c.epoll, g) == nil {
			g.seat = seatSlow
			c.slow++
			continue
		}
		left = append(left, y)
		c.fds = append(c.fds, unix.PollFd{Fd: int32(g.fd), Events: g.awaits()})
	}
	clear(c.young[len(left):])
	c.young = left
}

// awaits is what the next step of a probe needs.
func (g *glance) awaits() int16 {
	switch g.step {
	case stepConnect, stepWrite:
		return unix.POLLOUT
	case stepRead:
		return unix.POLLIN | unix.POLLRDHUP
	default:
		return unix.POLLRDHUP
	}
}
