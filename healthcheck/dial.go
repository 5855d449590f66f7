package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// dialer connects to the address of one target, and to nothing that probes
// must not reach.
type dialer struct {
	host    string
	literal netip.Addr // valid when host is an address
	port    uint16
	allow   []netip.Prefix
	lookup  func(context.Context, string) ([]netip.Addr, error)
	net     net.Dialer
}

func newDialer(t Target, c ProbeConfig) *dialer {
	host, port, err := net.SplitHostPort(t.dialAddress())
	if err != nil {
		host = t.dialAddress() // of a kind without a port
	}
	n, _ := strconv.ParseUint(port, 10, 16)
	d := &dialer{host: host, port: uint16(n), allow: c.Allow, lookup: c.Lookup}
	d.literal, _ = netip.ParseAddr(host)
	if d.lookup == nil {
		d.lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	// No keep-alive: the connection lives for one probe.
	d.net.KeepAlive = -1
	return d
}

// check refuses what [Forbidden] names.
func (d *dialer) check(a netip.Addr) error { return Forbidden(a, d.allow) }

// checkLiteral refuses a forbidden address before the first probe.
func (d *dialer) checkLiteral() error {
	if !d.literal.IsValid() {
		return nil
	}
	return d.check(d.literal)
}

// resolve returns the addresses to try, at most four. Failure is our own: it
// is our resolver that is asked, clients use their own. For a name that does
// not exist see disputed.
func (d *dialer) resolve(ctx context.Context, tr *Trace) ([]netip.Addr, error) {
	if d.literal.IsValid() {
		return []netip.Addr{d.literal}, nil
	}
	tr.Phase = PhaseResolve
	start := time.Now()
	addrs, err := d.lookup(ctx, d.host)
	tr.Resolve = time.Since(start)
	if err == nil && len(addrs) == 0 {
		err = errors.New("no address")
	}
	if err != nil {
		return nil, Own(fmt.Errorf("resolve %s: %w", d.host, plain(err, tr.Resolve)))
	}
	addrs = slices.Clone(addrs[:min(len(addrs), 4)])
	for i, a := range addrs {
		addrs[i] = a.Unmap()
	}
	return addrs, nil
}

// each resolves and tries the addresses one after the other, each with its
// share of the time that is left, until one serves. The address that was
// checked is the one that is dialled, so a name that changes in between gains
// nothing.
func (d *dialer) each(ctx context.Context, tr *Trace, try func(ctx context.Context, to netip.AddrPort) error) error {
	addrs, err := d.resolve(ctx, tr)
	if err != nil {
		return err
	}
	tr.Phase = PhaseConnect
	var failed error
	for i, a := range addrs {
		err := d.one(ctx, a, tr, len(addrs)-i, try)
		if err == nil {
			return nil
		}
		// A fault of our own on one address (no IPv6 here, say) does not
		// excuse the cluster on another, and one that is certainly ours is
		// not hidden by one that may be the cluster's.
		if failed == nil || isOwn(failed) && (disputed(failed) || !disputed(err)) {
			failed = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return failed
}

// one gives one of the addresses that are left its share of the time.
func (d *dialer) one(ctx context.Context, a netip.Addr, tr *Trace, left int, try func(context.Context, netip.AddrPort) error) error {
	if err := d.check(a); err != nil {
		return Own(fmt.Errorf("connect: %w", err))
	}
	if limit := limitOf(ctx, time.Now()); left > 1 && limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit/time.Duration(left))
		defer cancel()
	}
	to := netip.AddrPortFrom(a, d.port)
	tr.Remote = to
	return try(ctx, to)
}

// connect opens a TCP connection to the first address that takes one.
func (d *dialer) connect(ctx context.Context, tr *Trace) (conn *net.TCPConn, err error) {
	err = d.each(ctx, tr, func(ctx context.Context, to netip.AddrPort) error {
		c, err := d.dial(ctx, "tcp", to, tr)
		if err == nil {
			conn = c.(*net.TCPConn) // of a dial with network tcp
		}
		return err
	})
	return conn, err
}

// dial connects to one address over tcp or udp.
func (d *dialer) dial(ctx context.Context, network string, to netip.AddrPort, tr *Trace) (net.Conn, error) {
	start := time.Now()
	defer func() { tr.Connect += time.Since(start) }()
	// Not Dialer.DialTCP: without a local address it still binds one, and a
	// port that is bound before connecting serves one connection in all
	// instead of one per destination.
	conn, err := d.net.DialContext(ctx, network, to.String())
	if err != nil {
		return nil, fmt.Errorf("connect %s: %w", to, onTheWay(plain(err, limitOf(ctx, start))))
	}
	switch a := conn.LocalAddr().(type) {
	case *net.TCPAddr:
		tr.Local = a.AddrPort()
	case *net.UDPAddr:
		tr.Local = a.AddrPort()
	}
	return conn, nil
}

// drop closes at once with a reset, which leaves no TIME_WAIT behind: probes
// of one destination would otherwise use up the local ports at about 470 a
// second.
func drop(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}
