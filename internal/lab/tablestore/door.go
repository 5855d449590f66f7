package tablestore

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// door is an address that is answered at; it can be shut and opened again.
type door struct {
	s       *Server
	address string // the one that it got
	handler http.Handler
	tls     *tls.Config
	gate    *gate

	mu     sync.Mutex
	server *http.Server  // nil while it is shut
	dead   chan struct{} // closed when it shuts
}

// newDoor opens one; g may be nil: it is never shut.
func (s *Server) newDoor(address string, h http.Handler, t *tls.Config, g *gate) (*door, error) {
	if g == nil {
		g = new(gate)
	}
	d := &door{s: s, address: address, handler: h, tls: t, gate: g}
	return d, d.open()
}

func (d *door) open() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.server != nil {
		return nil
	}
	if d.s.ctx.Err() != nil {
		return net.ErrClosed
	}
	ln, err := net.Listen("tcp", d.address)
	if err != nil {
		return err
	}
	if at := ln.Addr().String(); at != d.address {
		d.address = at // once: who opens it again asks for the one that it had
	}
	d.dead = make(chan struct{})
	ln = &gated{Listener: ln, door: d, dead: d.dead}
	if d.tls != nil {
		ln = tls.NewListener(ln, d.tls)
	}
	srv := &http.Server{
		Handler: d.handler, ReadHeaderTimeout: d.s.opts.HeaderTimeout, IdleTimeout: 5 * time.Minute, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return d.s.ctx }, ErrorLog: noLog,
		// Close of an http.Server does not wait for its connections; ours does.
		ConnState: func(_ net.Conn, st http.ConnState) {
			switch st {
			case http.StateNew:
				d.s.done.Add(1)
			case http.StateClosed, http.StateHijacked:
				d.s.done.Done()
			}
		},
	}
	d.server = srv
	d.s.done.Go(func() { _ = srv.Serve(ln) })
	return nil
}

// close shuts the door and cuts the connections.
func (d *door) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.server == nil {
		return nil
	}
	srv := d.server
	d.server = nil
	close(d.dead) // before a close that would have a last word on a stalled connection
	if err := srv.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Kill closes the doors of the service and cuts its connections, as a process
// that dies: connections are refused. What it holds stays; what was being done
// is done, and nobody is told. The management API goes on.
func (s *Server) Kill() error {
	var err error
	for _, d := range s.doors {
		err = errors.Join(err, d.close())
	}
	return err
}

// Revive opens the doors again, at the same addresses.
func (s *Server) Revive() error {
	for _, d := range s.doors {
		if err := d.open(); err != nil {
			return fmt.Errorf("revive: %w", err)
		}
	}
	return nil
}

// Stall stops the service as SIGSTOP would: connections are accepted, and
// nothing is read or written until Resume. What came in meanwhile is done then,
// whether or not somebody still waits for it.
func (s *Server) Stall() { s.gate.shut() }

// Resume lets a stalled service go on.
func (s *Server) Resume() { s.gate.open() }

// gate holds connections back while it is shut.
type gate struct {
	mu   sync.Mutex                    // of shut and open
	held atomic.Pointer[chan struct{}] // closed when it opens; nil while it is open
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if held := make(chan struct{}); g.held.Load() == nil {
		g.held.Store(&held)
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if held := g.held.Swap(nil); held != nil {
		close(*held)
	}
}

func (g *gate) isShut() bool { return g.held.Load() != nil }

// pass waits until it is open, or until the connection or its door is closed.
func (g *gate) pass(closed, dead <-chan struct{}) error {
	for {
		held := g.held.Load()
		if held == nil {
			return nil
		}
		select {
		case <-*held:
		case <-closed:
			return net.ErrClosed
		case <-dead:
			return net.ErrClosed
		}
	}
}

type gated struct {
	net.Listener
	door *door
	dead chan struct{}
}

func (l *gated) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &gatedConn{Conn: c, gate: l.door.gate, dead: l.dead, patience: l.door.s.opts.AnswerTimeout, closed: make(chan struct{})}, nil
}

type gatedConn struct {
	net.Conn
	gate     *gate
	dead     chan struct{}
	patience time.Duration // with a client that does not read
	until    atomic.Int64  // what SetWriteDeadline says, ns since 1970; 0 for none
	once     sync.Once
	closed   chan struct{}
}

// Read gives what has come only when the gate is open.
func (c *gatedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if stop := c.gate.pass(c.closed, c.dead); stop != nil {
		return 0, stop
	}
	return n, err
}

// Write waits for the gate, and after it for a client that does not read: that
// is a fault of the client, while a gate that is shut is none.
func (c *gatedConn) Write(p []byte) (int, error) {
	if stop := c.gate.pass(c.closed, c.dead); stop != nil {
		return 0, stop
	}
	end := time.Now().Add(c.patience)
	if until := c.until.Load(); until != 0 && until < end.UnixNano() {
		end = time.Unix(0, until)
	}
	if err := c.Conn.SetWriteDeadline(end); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// SetWriteDeadline bounds the writes that come after it; TLS bounds its last
// word so.
func (c *gatedConn) SetWriteDeadline(t time.Time) error {
	if c.until.Store(0); !t.IsZero() {
		c.until.Store(t.UnixNano())
	}
	return c.Conn.SetWriteDeadline(t)
}

func (c *gatedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// NetConn is the connection below.
func (c *gatedConn) NetConn() net.Conn { return c.Conn }

// issuer is a certificate authority of this run, with one certificate.
type issuer struct {
	pem  []byte
	leaf tls.Certificate
}

func newIssuer(names []string) (*issuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pointsman lab, Tablestore of this run"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "lab"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	for _, name := range names {
		if name = strings.ToLower(strings.TrimSuffix(name, ".")); name == "" || strings.ContainsAny(name, " /:") {
			return nil, fmt.Errorf("name %q of the certificate: a host name, or one with *. in front", clip(name))
		}
		if !slices.Contains(leaf.DNSNames, name) {
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	signed, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &issuer{
		pem:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		leaf: tls.Certificate{Certificate: [][]byte{signed}, PrivateKey: key},
	}, nil
}

func (i *issuer) config() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{i.leaf}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
}

// TLSEndpoint is what a client is given that wants TLS, https://host:port;
// empty if there is none. Its certificate is of CA.
func (s *Server) TLSEndpoint() string {
	if s.issuer == nil || len(s.doors) < 2 {
		return ""
	}
	return "https://" + s.doors[1].address
}

// CA is the certificate of the issuer of this run, as PEM; nil without TLS.
func (s *Server) CA() []byte {
	if s.issuer == nil {
		return nil
	}
	return s.issuer.pem
}

func (d *door) isOpen() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.server != nil
}
