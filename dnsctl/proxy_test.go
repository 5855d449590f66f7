package dnsctl_test

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"pointsman/dnsctl"
	"pointsman/dnsctl/contract"
)

// proxy stands before a name server, passes messages over TCP, counts them, and
// loses the reply to an update when told so.
type proxy struct {
	addr             netip.AddrPort
	conns, all, sent atomic.Int64

	mu   sync.Mutex
	next *fault
	open map[net.Conn]bool
}

type fault struct {
	kind    contract.Fault
	carried chan struct{}
}

func startProxy(t testing.TB, to netip.AddrPort) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: netip.MustParseAddrPort(l.Addr().String()), open: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.conns.Add(1)
			p.keep(c, true)
			wg.Go(func() {
				defer p.keep(c, false)
				p.pass(c, to)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for c := range p.open {
			c.Close()
		}
		p.mu.Unlock()
		wg.Wait()
	})
	return p
}

func (p *proxy) keep(c net.Conn, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if open {
		p.open[c] = true
		return
	}
	delete(p.open, c)
	c.Close()
}

// pass carries message after message; any error ends the connection, which is
// all that either side would be told.
func (p *proxy) pass(c net.Conn, to netip.AddrPort) {
	up, err := net.Dial("tcp", to.String())
	if err != nil {
		return
	}
	defer up.Close()
	for {
		q, err := dnsctl.ReadFrame(c)
		if err != nil {
			return
		}
		p.all.Add(1)
		var f *fault
		if len(q) > 2 && int(q[2]>>3&0xf) == dns.OpcodeUpdate {
			p.sent.Add(1)
			f = p.take()
		}
		if dnsctl.WriteFrame(up, q) != nil {
			return
		}
		r, err := dnsctl.ReadFrame(up)
		if err != nil {
			return
		}
		if f != nil {
			close(f.carried)
			if f.kind == contract.Hang {
				_, _ = dnsctl.ReadFrame(c) // until the other side gives up
			}
			return
		}
		if dnsctl.WriteFrame(c, r) != nil {
			return
		}
	}
}

func (p *proxy) take() *fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.next
	p.next = nil
	return f
}

func (p *proxy) disturb(_ testing.TB, kind contract.Fault) <-chan struct{} {
	f := &fault{kind, make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = f
	return f.carried
}

// requests counts an empty connection as something that came, too.
func (p *proxy) requests() (all, writes int64) { return p.conns.Load() + p.all.Load(), p.sent.Load() }
