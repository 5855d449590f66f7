package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// Asker asks name servers. The zero value asks nobody's resolver and finds
// servers at port 53.
type Asker struct {
	Resolvers []netip.AddrPort // that recurse, in the order in which they are tried
	Port      uint16           // of servers that are found by their names; 0 is 53
	Timeout   time.Duration    // of one question; 0 is 2 s
}

const askTimeout = 2 * time.Second

func (a Asker) port() uint16 {
	if a.Port == 0 {
		return 53
	}
	return a.Port
}

// udpSize is the payload size that is offered: the largest that crosses every
// path without fragments (DNS flag day 2020).
const udpSize = 1232

// exchange asks one server one question over one transport. Over UDP it asks
// again at half time, since either packet may get lost, and ignores what does
// not fit the question.
func (a Asker) exchange(ctx context.Context, at netip.AddrPort, network, name string, qtype uint16, recurse bool) (*dns.Msg, error) {
	timeout := a.Timeout
	if timeout <= 0 {
		timeout = askTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if network == "udp" {
		half, stop := context.WithTimeout(ctx, timeout/2)
		r, err := once(half, at, network, name, qtype, recurse)
		stop()
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return r, err
		}
	}
	return once(ctx, at, network, name, qtype, recurse)
}

// put asks over UDP, and over TCP what does not fit. Doctor's many questions go
// this way: the queue of a name server for new TCP connections is short (10 in
// BIND, tcp-listen-queue), and whoever fills it waits a second for the next try.
func (a Asker) put(ctx context.Context, at netip.AddrPort, name string, qtype uint16, recurse bool) (*dns.Msg, error) {
	r, err := a.exchange(ctx, at, "udp", name, qtype, recurse)
	if err == nil && r.Truncated || errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && !recurse {
		return a.exchange(ctx, at, "tcp", name, qtype, recurse)
	}
	return r, err
}

func once(ctx context.Context, at netip.AddrPort, network, name string, qtype uint16, recurse bool) (*dns.Msg, error) {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	m.RecursionDesired = recurse
	m.SetEdns0(udpSize, false)
	return send(ctx, at, network, m)
}

func send(ctx context.Context, at netip.AddrPort, network string, m *dns.Msg) (*dns.Msg, error) {
	qtype := m.Question[0].Qtype
	wire, err := m.Pack()
	if err != nil {
		return nil, fmt.Errorf("pack question: %w", err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, at.String())
	if err != nil {
		return nil, timely(ctx, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	dc := &dns.Conn{Conn: conn, UDPSize: 4096}
	if _, err := dc.Write(wire); err != nil {
		return nil, timely(ctx, err)
	}
	for {
		r, err := dc.ReadMsg()
		fits := err == nil && r.Response && r.Id == m.Id && len(r.Question) == 1 &&
			strings.EqualFold(r.Question[0].Name, m.Question[0].Name) && r.Question[0].Qtype == qtype
		var ne net.Error
		switch {
		case fits:
			return r, nil
		case errors.As(err, &ne), ctx.Err() != nil:
			return nil, timely(ctx, err)
		case network == "udp":
			continue // somebody else's
		case err != nil:
			return nil, err
		default:
			return nil, errors.New("the answer belongs to another question")
		}
	}
}

// timely tells the end of the time from other faults, whichever of the two the
// socket noticed first.
func timely(ctx context.Context, err error) error {
	var ne net.Error
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.As(err, &ne) && ne.Timeout() {
		return context.DeadlineExceeded
	}
	return err
}

// words says why there is no answer.
func words(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there"
	case noRoute(err):
		return "no route from here"
	}
	return err.Error()
}

func noRoute(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH)
}

var errNoResolver = errors.New("no resolver is known here")

// resolve asks the resolvers one after another until one answers anything but
// a failure of its own. A truncated answer is asked for again over TCP.
func (a Asker) resolve(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
	last := errNoResolver
	for _, at := range a.Resolvers {
		r, err := a.put(ctx, at, name, qtype, true)
		switch {
		case err != nil:
			last = fmt.Errorf("resolver %s: %s", server(at), words(err))
		case r.Rcode == dns.RcodeSuccess, r.Rcode == dns.RcodeNameError:
			return r, nil
		default:
			last = fmt.Errorf("resolver %s: %s", server(at), dns.RcodeToString[r.Rcode])
		}
	}
	return nil, last
}

// addresses of a host, both families, sorted. No address and no error means
// that the host has none.
func (a Asker) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(strings.TrimSuffix(host, ".")); err == nil {
		return []netip.Addr{ip}, nil
	}
	var out []netip.Addr
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		r, err := a.resolve(ctx, host, qtype)
		if err != nil {
			return nil, err
		}
		out = append(out, addressesIn(r)...)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out), nil
}

func addressesIn(r *dns.Msg) []netip.Addr {
	var out []netip.Addr
	for _, rr := range r.Answer {
		var ip net.IP
		switch x := rr.(type) {
		case *dns.A:
			ip = x.A
		case *dns.AAAA:
			ip = x.AAAA
		}
		if addr, ok := netip.AddrFromSlice(ip); ok {
			out = append(out, addr.Unmap())
		}
	}
	return out
}

// server writes an address as people do, the port only where it is unusual.
func server(a netip.AddrPort) string {
	if a.Port() == 53 {
		return a.Addr().String()
	}
	return a.String()
}

// low is a name as it is compared.
func low(name string) string { return strings.ToLower(dns.Fqdn(name)) }
