package healthcheck

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// glance is one direct probe under way.
type glance struct {
	outcome
	slot  int32
	round int32 // of the slot's use, so that a late event meets nobody else
	fd    int
	seat  seat // among the many
	step  step
	wrote int
	spoke time.Time // when the request was begun
	heard time.Time // when the newest bytes came
	tried int       // bytes that the full parser has seen
	buf   []byte

	deadline   time.Time
	in         *chain
	prev, next *glance
}

type step int8

const (
	stepConnect step = iota
	stepWrite
	stepRead
	stepPart
)

// chain is a list of glances, the one with the earliest deadline first.
type chain struct{ head, tail *glance }

func (c *chain) add(g *glance) {
	g.in, g.prev, g.next = c, c.tail, nil
	if c.tail != nil {
		c.tail.next = g
	} else {
		c.head = g
	}
	c.tail = g
}

func (g *glance) unchain() {
	c := g.in
	if c == nil {
		return
	}
	if g.prev != nil {
		g.prev.next = g.next
	} else {
		c.head = g.next
	}
	if g.next != nil {
		g.next.prev = g.prev
	} else {
		c.tail = g.prev
	}
	g.in, g.prev, g.next = nil, nil, nil
}

// left is the time that the exchange had after the connection stood.
func (g *glance) left() time.Duration { return g.target.Timeout - g.spoke.Sub(g.sent) }

// advance takes a probe as far as it goes.
func (l *lane) advance(g *glance, events uint32, now time.Time) {
	if g.step == stepConnect && !l.connected(g, events, now) {
		return
	}
	if g.step == stepWrite && events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) != 0 && !l.write(g, now) {
		return
	}
	if g.step == stepRead && events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		l.read(g, events, now)
	} else if g.step == stepPart && events&(unix.EPOLLRDHUP|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		l.release(g) // the other side closed first
	}
}

func (l *lane) connected(g *glance, events uint32, now time.Time) bool {
	g.trace.Connect = now.Sub(g.sent)
	if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		code, err := unix.GetsockoptInt(g.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = syscall.Errno(code)
		}
		if err != nil {
			l.end(g, fmt.Errorf("connect %s: %w", g.direct.to, onTheWay(err)), now)
			return false
		}
	}
	if events&unix.EPOLLOUT == 0 {
		return false
	}
	g.trace.Local = localOf(g.fd)
	if g.direct.wire == nil {
		g.trace.Phase = PhaseDone
		l.end(g, nil, now)
		return false
	}
	g.step, g.spoke, g.trace.Phase = stepWrite, now, PhaseWrite
	return true
}

// localOf is our end of a connection. The library's own function asks the kernel
// once more for what kind of socket it is.
func localOf(fd int) netip.AddrPort {
	var sa unix.RawSockaddrAny
	size := uint32(unsafe.Sizeof(sa))
	if _, _, err := unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size))); err != 0 {
		return netip.AddrPort{}
	}
	switch sa.Addr.Family {
	case unix.AF_INET:
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(&sa))
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), hostOrder(in.Port))
	case unix.AF_INET6:
		in := (*unix.RawSockaddrInet6)(unsafe.Pointer(&sa))
		return netip.AddrPortFrom(netip.AddrFrom16(in.Addr), hostOrder(in.Port))
	default:
		return netip.AddrPort{}
	}
}

// hostOrder reads a number that is in the order of the network.
func hostOrder(n uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], n)
	return binary.BigEndian.Uint16(b[:])
}

func (l *lane) write(g *glance, now time.Time) bool {
	for g.wrote < len(g.direct.wire) {
		n, err := unix.Write(g.fd, g.direct.wire[g.wrote:])
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return false
		case err != nil:
			g.trace.Answer = now.Sub(g.spoke)
			l.end(g, fmt.Errorf("write request: %w", err), now)
			return false
		default:
			g.wrote += n
		}
	}
	g.step, g.trace.Phase = stepRead, PhaseRead
	return true
}

func (l *lane) read(g *glance, events uint32, now time.Time) {
	for {
		n, err := unix.Read(g.fd, l.scratch[:])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return
		case err != nil, n == 0:
			if err == nil {
				err = io.EOF
			}
			g.trace.Answer = now.Sub(g.spoke)
			if err = g.direct.parse(g.buf, err, &g.trace, g.left()); err != nil {
				l.end(g, err, now)
			} else {
				l.part(g, unix.EPOLLRDHUP, now)
			}
			return
		}
		g.heard = now
		b := l.scratch[:n]
		if len(g.buf) > 0 {
			g.buf = append(g.buf, b...)
			b = g.buf
		}
		if l.heard(g, b, events, now) {
			return
		}
		if len(g.buf) == 0 {
			g.buf = append(g.buf, b...)
		}
		if n < len(l.scratch) && events&unix.EPOLLRDHUP == 0 {
			return // what comes later is told anew
		}
	}
}

// heard judges what has come; true says that the probe has ended.
func (l *lane) heard(g *glance, b []byte, events uint32, now time.Time) bool {
	kind, status, headers := frameOdd, 0, []byte(nil)
	if g.tried == 0 { // what is odd stays odd
		kind, status, headers = frame(b, g.direct.want.check.Method)
	}
	var err error
	switch {
	case kind == framePartial:
		return false
	case kind == frameWhole && g.direct.well(status, headers):
		g.trace.Phase, g.trace.Identity = PhaseDone, g.direct.want.check.Identity.Header != ""
	case kind == frameWhole, len(b) > maxHeader+2*maxBody:
		err = g.direct.parse(b, errMore, &g.trace, g.left())
	default:
		if g.tried == 0 {
			g.tried = 1
			if len(l.odd) == 0 {
				l.oddAt = now.Add(oddPause)
			}
			l.odd = append(l.odd, g)
		}
		return false
	}
	g.trace.Answer = now.Sub(g.spoke)
	if err != nil {
		l.end(g, err, now)
	} else {
		l.part(g, events, now)
	}
	return true
}

// part tells of a good answer and lets the cluster close first.
func (l *lane) part(g *glance, events uint32, now time.Time) {
	g.unchain()
	g.done = now
	l.deliver(g)
	if events&unix.EPOLLRDHUP != 0 {
		l.release(g)
		return
	}
	g.step, g.deadline = stepPart, now.Add(goodbye)
	l.parting.add(g)
}
