package authority

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

const (
	writeTimeout  = 5 * time.Second // at most; no longer than the idle time
	acceptBackoff = 20 * time.Millisecond

	// sendBuffer bounds, in octets, what waits in the kernel for a client to
	// take it; the kernel doubles it for its own needs.
	sendBuffer = 128 << 10

	// Where all places are taken, a connection that waits for a query for more
	// than this part of the idle time makes room.
	crowdPart = 10
)

// tcpListener caps the connections in all and of one source. A source at its
// cap is turned away; at the cap of all, who has been idle longest goes, and
// where nobody is, one of the network that has the most goes for one that has
// fewer, so that nobody can keep TCP from the others by holding it, busy or not.
type tcpListener struct {
	net.Listener
	s *Server

	mu       sync.Mutex
	open     map[*tcpConn]struct{}
	bySource map[netip.Addr]int
	byNet    map[netip.Prefix]int
	closing  bool
	start    time.Time
}

func newTCPListener(s *Server, l net.Listener) *tcpListener {
	return &tcpListener{Listener: l, s: s, open: make(map[*tcpConn]struct{}), bySource: make(map[netip.Addr]int), byNet: make(map[netip.Prefix]int), start: time.Now()}
}

// Accept returns the next connection that is under the caps.
func (l *tcpListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if err != nil {
			// Out of file descriptors, most likely: a moment later some are free.
			l.s.stats.dropped(dropRead)
			time.Sleep(acceptBackoff)
			continue
		}
		if t := l.admit(c); t != nil {
			return t, nil
		}
		l.s.stats.dropped(dropConns)
		c.Close()
	}
}

func (l *tcpListener) admit(c net.Conn) *tcpConn {
	src, cfg := source(c.RemoteAddr()), &l.s.view.Load().cfg
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing || l.bySource[src] >= cfg.TCPPerSource {
		return nil
	}
	if len(l.open) >= cfg.TCPConns {
		idle := l.idlest(cfg.TCPIdle/crowdPart, netip.Prefix{})
		if idle == nil {
			idle = l.crowded(network(src))
		}
		if idle == nil {
			return nil
		}
		l.s.stats.dropped(dropIdle)
		l.forget(idle)
		idle.Conn.Close()
	}
	if tc, ok := c.(*net.TCPConn); ok {
		_ = tc.SetWriteBuffer(sendBuffer) // else some megabytes for each client that does not read
	}
	t := &tcpConn{Conn: c, l: l, source: src}
	t.remote = &peer{Addr: c.RemoteAddr(), conn: t}
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		t.from = a.AddrPort().Addr().Unmap()
	}
	l.open[t] = struct{}{}
	l.bySource[src]++
	l.byNet[network(src)]++
	l.s.stats.conns.Add(1)
	return t
}

// idlest returns the connection whose client we have waited for longest, for
// a query or to take an answer, if that is longer than least; of one network
// when that is valid. Transfers have their own bounds. Callers hold mu.
func (l *tcpListener) idlest(least time.Duration, of netip.Prefix) *tcpConn {
	var found *tcpConn
	var longest time.Duration
	now := time.Since(l.start)
	for c := range l.open {
		since := time.Duration(c.waits.Load())
		if since == 0 || now-since <= least || of.IsValid() && network(c.source) != of {
			continue
		}
		if found == nil || since < longest {
			found, longest = c, since
		}
	}
	return found
}

// crowded returns the connection to close for one more from a network: the
// idlest of the network that has the most, if that has so many more that the
// two do not take the place from each other in turn. Callers hold mu.
func (l *tcpListener) crowded(from netip.Prefix) *tcpConn {
	var most netip.Prefix
	for p, n := range l.byNet {
		if n > l.byNet[most] {
			most = p
		}
	}
	if l.byNet[most] <= l.byNet[from]+1 {
		return nil
	}
	return l.idlest(-1, most)
}

// forget gives the place of a connection back, once. Callers hold mu.
func (l *tcpListener) forget(c *tcpConn) {
	if c.gone {
		return
	}
	c.gone = true
	delete(l.open, c)
	if l.bySource[c.source]--; l.bySource[c.source] <= 0 {
		delete(l.bySource, c.source)
	}
	wide := network(c.source)
	if l.byNet[wide]--; l.byNet[wide] <= 0 {
		delete(l.byNet, wide)
	}
	l.s.stats.conns.Add(-1)
}

// source is who is counted: an IPv4 address, or an IPv6 /64, which is what one
// customer has.
func source(a net.Addr) netip.Addr {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return payer(t.AddrPort().Addr())
}

func payer(addr netip.Addr) netip.Addr {
	addr = addr.Unmap()
	if !addr.Is6() {
		return addr
	}
	p, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return addr
	}
	return p.Addr()
}

// network is what a limit takes for one: an IPv4 /24 or an IPv6 /56.
func network(addr netip.Addr) netip.Prefix {
	bits := 56
	if addr.Is4() {
		bits = 24
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// closeConns ends every connection and admits no more.
func (l *tcpListener) closeConns() {
	l.mu.Lock()
	l.closing = true
	open := l.open
	l.open = make(map[*tcpConn]struct{})
	l.mu.Unlock()
	for c := range open {
		c.Close()
	}
}

// tcpConn is one admitted connection.
type tcpConn struct {
	net.Conn
	l      *tcpListener
	source netip.Addr
	from   netip.Addr
	remote *peer
	last   []byte    // the query in hand
	end    time.Time // of what is being sent; zero without one

	waits atomic.Int64 // since when for its client, after the listener's start; 0 while we are at work
	gone  bool         // with the listener's mu
}

// RemoteAddr returns the peer, with which the connection travels through
// miekg/dns.
func (c *tcpConn) RemoteAddr() net.Addr { return c.remote }

// until bounds all that is written from now on; the zero time ends the bound.
func (c *tcpConn) until(end time.Time) { c.end = end }

// Write sends one frame: two octets of length and the message (RFC 1035
// section 4.2.2). A client that does not read cannot hold it for ever.
func (c *tcpConn) Write(frame []byte) (int, error) {
	if len(frame) > 2 {
		tidy(frame[2:])
	}
	deadline := time.Now().Add(min(writeTimeout, c.l.s.view.Load().cfg.TCPIdle))
	if c.end.IsZero() {
		c.waiting()
		defer c.waits.Store(0)
	} else if c.end.Before(deadline) {
		deadline = c.end
	}
	if err := c.SetWriteDeadline(deadline); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(frame)
	if err != nil {
		// Half a frame may be on its way: nothing that follows would be
		// understood, and the kernel need not keep it.
		if tc, ok := c.Conn.(*net.TCPConn); ok {
			_ = tc.SetLinger(0)
		}
		c.Close()
	}
	return n, err
}

// waiting notes that it is the client's turn.
func (c *tcpConn) waiting() { c.waits.Store(max(1, int64(time.Since(c.l.start)))) }

// Close gives the connection's place back.
func (c *tcpConn) Close() error {
	c.l.mu.Lock()
	c.l.forget(c)
	c.l.mu.Unlock()
	return c.Conn.Close()
}

// tcpReader reads frames. The deadline is for a whole frame, so a client that
// drips octets is cut off like a silent one, and a frame that is longer than
// any query ends the connection before memory is set aside for it.
type tcpReader struct{ s *Server }

var errFrame = errors.New("frame is no query")

func (r tcpReader) ReadTCP(c net.Conn, _ time.Duration) ([]byte, error) {
	t, _ := c.(*tcpConn)
	if t != nil {
		t.waiting()
	}
	if err := c.SetReadDeadline(time.Now().Add(r.s.view.Load().cfg.TCPIdle)); err != nil {
		return nil, err
	}
	var head [2]byte
	if n, err := io.ReadFull(c, head[:]); err != nil {
		return nil, r.slow(n, err)
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if n < headerLen || n > queryOctets {
		r.s.stats.dropped(dropShort)
		return nil, errFrame
	}
	msg := make([]byte, n)
	if _, err := io.ReadFull(c, msg); err != nil {
		return nil, r.slow(len(head), err)
	}
	if t != nil {
		t.last = msg
		t.waits.Store(0)
	}
	return msg, nil
}

// slow counts a frame that was begun and did not come in time.
func (r tcpReader) slow(octets int, err error) error {
	if octets > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		r.s.stats.dropped(dropSlow)
	}
	return err
}

// ReadUDP completes dns.Reader.
func (tcpReader) ReadUDP(*net.UDPConn, time.Duration) ([]byte, *dns.SessionUDP, error) {
	return nil, nil, net.ErrClosed
}
