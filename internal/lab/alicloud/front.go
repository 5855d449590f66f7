package alicloud

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The front is for clients that insist: on TLS, or on an endpoint of the
// vendor that cannot be set. A proxy takes any name below aliyuncs.com, and a
// certificate authority of this run vouches for it.

// issuer makes certificates for whatever name a client asks for.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte

	mu     sync.Mutex
	leaves map[string]*tls.Certificate
}

func newIssuer() (*issuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pointsman lab, Alibaba Cloud of this run"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	if ca, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	return &issuer{
		cert: ca, key: key, leaves: map[string]*tls.Certificate{},
		pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
	}, nil
}

// leaf is the certificate for the name that the client sends, or for loopback.
func (i *issuer) leaf(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(hello.ServerName)
	if name != "" && name != "localhost" && !vendor(name) {
		return nil, fmt.Errorf("no certificate for %q", clip(name))
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if c := i.leaves[name]; c != nil {
		return c, nil
	}
	if len(i.leaves) > 1000 {
		clear(i.leaves)
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(i.leaves)) + 2), Subject: pkix.Name{CommonName: "lab"},
		NotBefore: i.cert.NotBefore, NotAfter: i.cert.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		KeyUsage: x509.KeyUsageDigitalSignature, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if name != "" {
		t.DNSNames = append(t.DNSNames, name)
	}
	der, err := x509.CreateCertificate(rand.Reader, t, i.cert, &i.key.PublicKey, i.key)
	if err != nil {
		return nil, err
	}
	c := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: i.key}
	i.leaves[name] = c
	return c, nil
}

// vendor says whether a name is one of the vendor's.
func vendor(name string) bool {
	return strings.HasSuffix(name, ".aliyuncs.com") && len(name) < 254
}

// TLSEndpoint is host and port of the API over TLS, with a certificate of CA.
func (s *Server) TLSEndpoint() string { return s.tlsLn.Addr().String() }

// CA is the certificate of the authority of this run, as PEM.
func (s *Server) CA() []byte { return s.issuer.pem }

// Proxy is the address of an HTTP proxy, http://host:port, behind which every
// host below aliyuncs.com is this server, in clear and over TLS. It connects
// nobody with anything else.
func (s *Server) Proxy() string { return "http://" + s.proxyLn.Addr().String() }

// startFront opens the TLS endpoint and the proxy.
func (s *Server) startFront() error {
	var err error
	if s.issuer, err = newIssuer(); err != nil {
		return err
	}
	tlsConfig := &tls.Config{GetCertificate: s.issuer.leaf, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	host, _, err := net.SplitHostPort(s.ln.Addr().String())
	if err != nil {
		return err
	}
	if s.tlsLn, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
		return err
	}
	s.serve(tls.NewListener(s.tlsLn, tlsConfig), http.HandlerFunc(s.answer))
	if s.proxyLn, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
		return err
	}
	inside := &tunnel{conns: make(chan net.Conn), done: s.ctx.Done(), addr: s.proxyLn.Addr()}
	s.serve(tls.NewListener(inside, tlsConfig), http.HandlerFunc(s.answer))
	s.serve(s.proxyLn, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		switch {
		case !vendor(strings.ToLower(host)):
			http.Error(w, "this proxy leads to hosts below aliyuncs.com alone", http.StatusForbidden)
		case r.Method != http.MethodConnect:
			s.answer(w, r)
		default:
			conn, buf, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n"))
			inside.hand(&early{Conn: conn, r: buf.Reader})
		}
	}))
	return nil
}

// early is a connection of which something may have been read already.
type early struct {
	net.Conn
	r *bufio.Reader
}

func (e *early) Read(p []byte) (int, error) { return e.r.Read(p) }

// NetConn is the connection below.
func (e *early) NetConn() net.Conn { return e.Conn }

// tunnel is a listener of connections that were opened by CONNECT.
type tunnel struct {
	conns chan net.Conn
	done  <-chan struct{}
	addr  net.Addr
}

func (t *tunnel) hand(c net.Conn) {
	select {
	case t.conns <- c:
	case <-t.done:
		_ = c.Close()
	}
}

func (t *tunnel) Accept() (net.Conn, error) {
	select {
	case c := <-t.conns:
		return c, nil
	case <-t.done:
		return nil, net.ErrClosed
	}
}

func (t *tunnel) Close() error   { return nil }
func (t *tunnel) Addr() net.Addr { return t.addr }
