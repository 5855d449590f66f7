package authority

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	queryOctets   = 4096 // longest query that is read
	socketBuffer  = 4 << 20
	readRetryWait = 10 * time.Millisecond
	lullEvery     = 2 * time.Millisecond
	lullWait      = 20 * time.Microsecond
	lullWaits     = 20
)

// packet is one query and where it came from. It travels through miekg/dns as
// the remote address, so that reading and answering allocate nothing.
type packet struct {
	in   [queryOctets]byte
	n    int // octets of the query
	from netip.AddrPort
	oob  [64]byte // control data: the address that was asked, if the socket has several
	oobn int

	judged bool // the handler asks whether the answer may be sent
}

var _ net.Addr = (*packet)(nil)

func (p *packet) Network() string { return "udp" }
func (p *packet) String() string  { return p.from.String() }

// udpConn is one UDP socket. It bounds how many queries are in hand: at the
// bound it stops reading and the kernel drops what does not fit its buffer.
type udpConn struct {
	*net.UDPConn
	local netip.AddrPort
	many  bool // bound to every address: answers must leave from the one that was asked
	s     *Server
	slots slots
	pool  sync.Pool
}

// slots counts what is in hand under a bound that a reload may change. One
// goroutine takes, any may give.
type slots struct {
	taken   atomic.Int64
	waiting atomic.Bool
	free    chan struct{} // of one element: a wake-up that came early is not lost
	lull    time.Time     // the last one
}

func (s *slots) take(bound func() int) {
	if s.taken.Load() >= int64(bound()) {
		s.rest()
	}
	for s.taken.Load() >= int64(bound()) {
		s.waiting.Store(true)
		if s.taken.Load() >= int64(bound()) { // else one was given before it could see that we wait
			<-s.free
		}
		s.waiting.Store(false)
	}
	s.taken.Add(1)
}

// rest lets what is in hand be answered, and then leaves the processor alone
// for a moment, at most once in two milliseconds. While there always is a goroutine
// that could run, the scheduler looks at the network only every 10 ms
// (runtime.sysmon): without a lull a flood of queries would make everything
// else in this process wait so long for its sockets, a failover too.
func (s *slots) rest() {
	if time.Since(s.lull) < lullEvery {
		return
	}
	for range lullWaits { // a handler that hangs must not hold the others up
		if s.taken.Load() == 0 {
			break
		}
		time.Sleep(lullWait)
	}
	time.Sleep(lullWait)
	s.lull = time.Now()
}

func (s *slots) give() {
	s.taken.Add(-1)
	if s.waiting.Load() {
		select {
		case s.free <- struct{}{}:
		default:
		}
	}
}

func newUDPConn(s *Server, c *net.UDPConn) (*udpConn, error) {
	u := &udpConn{
		UDPConn: c, s: s,
		local: c.LocalAddr().(*net.UDPAddr).AddrPort(),
		slots: slots{free: make(chan struct{}, 1)},
		pool:  sync.Pool{New: func() any { return new(packet) }},
	}
	u.many = u.local.Addr().IsUnspecified()
	// A larger buffer rides out bursts; the kernel may grant less.
	_ = c.SetReadBuffer(socketBuffer)
	if u.many {
		err6 := ipv6.NewPacketConn(c).SetControlMessage(ipv6.FlagDst, true)
		err4 := ipv4.NewPacketConn(c).SetControlMessage(ipv4.FlagDst, true)
		if err6 != nil && err4 != nil {
			return nil, err4
		}
	}
	return u, nil
}

// ReadPacketConn implements dns.PacketConnReader: it returns the next packet
// that deserves an answer, with a slot taken for it.
func (u *udpConn) ReadPacketConn(net.PacketConn, time.Duration) ([]byte, net.Addr, error) {
	u.slots.take(func() int { return u.s.view.Load().cfg.UDPInFlight })
	p := u.pool.Get().(*packet)
	for {
		n, err := u.read(p)
		switch {
		case errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded): // Shutdown sets a deadline
			u.release(p)
			return nil, nil, err
		case err != nil:
			// Answering must not end because the network went away for a
			// moment, nor spin while it is away.
			u.s.stats.dropped(dropRead)
			time.Sleep(readRetryWait)
		default:
			why, unworthy := p.unworthy(n, u.local)
			if !unworthy {
				p.n, p.judged = n, false
				return p.in[:n], p, nil
			}
			u.s.stats.dropped(why)
		}
	}
}

// unworthy says whether a packet of n octets gets no answer at all: what is
// not even a header, what is an answer itself, and what would be answered to
// nobody or to ourselves.
func (p *packet) unworthy(n int, local netip.AddrPort) (drop, bool) {
	switch {
	case n < headerLen:
		return dropShort, true
	case p.in[2]&0x80 != 0:
		return dropResponse, true
	case p.from.Port() == 0 || p.from == local:
		return dropSource, true
	}
	return 0, false
}

func (u *udpConn) read(p *packet) (n int, err error) {
	if !u.many {
		n, p.from, err = u.ReadFromUDPAddrPort(p.in[:])
		return n, err
	}
	n, p.oobn, _, p.from, err = u.ReadMsgUDPAddrPort(p.in[:], p.oob[:])
	return n, err
}

// ReadUDP and ReadTCP complete dns.Reader; the server that reads here has
// neither kind of connection.
func (u *udpConn) ReadUDP(*net.UDPConn, time.Duration) ([]byte, *dns.SessionUDP, error) {
	return nil, nil, net.ErrClosed
}

func (u *udpConn) ReadTCP(net.Conn, time.Duration) ([]byte, error) { return nil, net.ErrClosed }

// WriteTo answers a packet.
func (u *udpConn) WriteTo(msg []byte, to net.Addr) (int, error) {
	p := to.(*packet)
	tidy(msg)
	if !p.judged {
		if !u.s.mayReject(p.from.Addr().Unmap()) {
			return len(msg), nil
		}
		u.s.stats.answered(binary.BigEndian.Uint16(msg), overUDP, int(msg[3]&0xF))
	}
	if !u.many {
		return u.WriteToUDPAddrPort(msg, p.from)
	}
	n, _, err := u.WriteMsgUDPAddrPort(msg, p.source(), p.from)
	return n, err
}

// mayReject judges answers over UDP that are nothing but an error.
func (s *Server) mayReject(from netip.Addr) bool {
	v := s.view.Load()
	if !v.quota.covers(from) {
		return true
	}
	var k rateKey
	now := s.limiter.now()
	c := classError
	if v.quota.off || s.limiter.judge(&v.quota, k.of(from, c, nil), now) == pass {
		if c = classNetwork; v.total.off || s.limiter.judge(&v.total, k.of(from, c, nil), now) == pass {
			return true
		}
	}
	// It has no question to which a TC would be an answer.
	s.stats.limited[c][withhold].Add(1)
	s.stats.dropped(dropRate)
	return false
}

// source is the control data that makes an answer leave from the address that
// was asked; clients drop one from elsewhere.
func (p *packet) source() []byte {
	var dst net.IP
	c6, c4 := new(ipv6.ControlMessage), new(ipv4.ControlMessage)
	if c6.Parse(p.oob[:p.oobn]) == nil && c6.Dst != nil {
		dst = c6.Dst
	} else if c4.Parse(p.oob[:p.oobn]) == nil && c4.Dst != nil {
		dst = c4.Dst
	}
	switch {
	case dst == nil:
		return nil
	case dst.To4() != nil:
		return (&ipv4.ControlMessage{Src: dst}).Marshal()
	default:
		return (&ipv6.ControlMessage{Src: dst}).Marshal()
	}
}

// done gives back the slot of a packet and, when w still knows it, the packet.
func (u *udpConn) done(w dns.ResponseWriter) {
	var p *packet
	if w != nil {
		p, _ = w.RemoteAddr().(*packet)
	}
	u.release(p)
}

func (u *udpConn) release(p *packet) {
	if p != nil {
		u.pool.Put(p)
	}
	u.slots.give()
}
