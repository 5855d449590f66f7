package lab

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
)

// errOver is what a request meets that begins after the end.
var errOver = errors.New("the writer has ended")

// pool is the transport of the client: one of net/http, set up as the client
// sets up its own, that looks names up at the lab's authority and tells where
// each request went.
type pool struct {
	look  Client
	sites []ClusterSite

	mu    sync.Mutex
	http  *http.Transport
	over  bool
	open  map[net.Conn]string // to which cluster
	by    string              // where the last request went
	warm  bool                // over a connection that was there
	tries int                 // since begin
}

// renew makes a fresh transport and returns the one that it had.
func (p *pool) renew(c *sdk.TableStoreConfig) (old *http.Transport) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old = p.http
	p.http = &http.Transport{
		MaxIdleConnsPerHost: c.MaxIdleConnections,
		IdleConnTimeout:     c.IdleConnTimeout,
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, c.HTTPTimeout.ConnectionTimeout)
			defer cancel()
			return p.dial(ctx, addr)
		},
	}
	return old
}

func (p *pool) dial(ctx context.Context, addr string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	_, ip, err := p.look.Resolve(ctx)
	if err != nil {
		return nil, err
	}
	to := net.JoinHostPort(ip.String(), port)
	by := p.holder(to)
	p.mu.Lock()
	p.by, p.warm = by, false
	p.mu.Unlock()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return nil, err
	}
	t := &told{Conn: conn, pool: p}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		_ = conn.Close()
		return nil, errOver
	}
	p.open[t] = by
	return t, nil
}

// holder is the cluster that has an address.
func (p *pool) holder(addr string) string {
	for _, s := range p.sites {
		if s.Addr.String() == addr {
			return s.Name
		}
	}
	return ""
}

// RoundTrip makes one try.
func (p *pool) RoundTrip(req *http.Request) (*http.Response, error) {
	p.mu.Lock()
	tr, over := p.http, p.over
	p.by, p.warm, p.tries = "", false, p.tries+1
	p.mu.Unlock()
	if over {
		return nil, errOver
	}
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.by, p.warm = p.holder(i.Conn.RemoteAddr().String()), i.Reused
	}}
	return tr.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
}

// begin starts to count tries anew.
func (p *pool) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.by, p.warm, p.tries = "", false, 0
}

// last says where the last try went.
func (p *pool) last() (by string, warm bool, tries int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.by, p.warm, p.tries
}

func (p *pool) count() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := map[string]int{}
	for _, by := range p.open {
		n[by]++
	}
	return n
}

// end cuts everything; nothing can be sent any more.
func (p *pool) end() {
	p.mu.Lock()
	p.over = true
	tr := p.http
	for c := range p.open {
		_ = c.(*told).Conn.Close()
	}
	p.mu.Unlock()
	tr.CloseIdleConnections()
}

// told is a connection that says when it is closed.
type told struct {
	net.Conn
	pool *pool
}

func (c *told) Close() error {
	c.pool.mu.Lock()
	delete(c.pool.open, c)
	c.pool.mu.Unlock()
	return c.Conn.Close()
}
