package ots

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Config is one instance of Tablestore and how it is reached.
type Config struct {
	Endpoint string // http(s)://host[:port]; names Host and the TLS server name
	Address  string // host:port that is dialled in its place, if not empty
	Instance string
	// Credentials are asked for at every call, so that a key can be exchanged.
	Credentials func() (Credentials, error)
	CA          *x509.CertPool // the system's if nil
	Timeout     time.Duration  // of one call, from begin to end; 10 s if 0
	Conns       int            // calls at a time; more wait their turn. 64 if 0
	// Wrap puts something around the connections, under all calls.
	Wrap func(http.RoundTripper) http.RoundTripper
}

// Defaults of Config.
const (
	DefaultTimeout = 10 * time.Second
	DefaultConns   = 64
)

// idle is how long an unused connection is kept: less than what servers and the
// middle boxes before them do, so that it is mostly we who end it.
const idle = 20 * time.Second

// Client does one call at a time per connection, and none twice. It may be used
// by several goroutines.
type Client struct {
	cfg      Config
	endpoint string
	over     http.RoundTripper
	pool     *http.Transport
	lines    sync.Pool // of *line
	stop     context.CancelFunc
	ended    context.Context

	read, write atomic.Int64
	clock       clock
	schemas     sync.Map // table -> []KeySchema
}

// Open makes a client. Nothing is sent.
func Open(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("the endpoint is no URL (example: https://orders.cn-hangzhou.ots.aliyuncs.com)")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return nil, errors.New("the endpoint has more than scheme, host and port")
	}
	if cfg.Instance == "" {
		return nil, errors.New("no instance is named")
	}
	if cfg.Credentials == nil {
		return nil, errors.New("no credentials are given")
	}
	address := cfg.Address
	if address != "" {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return nil, fmt.Errorf("the address %q is not host:port", address)
		}
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Conns <= 0 {
		cfg.Conns = DefaultConns
	}
	c := &Client{cfg: cfg, endpoint: u.Scheme + "://" + u.Host}
	c.ended, c.stop = context.WithCancel(context.Background())
	dialer := &net.Dialer{Timeout: cfg.Timeout, KeepAlive: 15 * time.Second}
	c.pool = &http.Transport{
		// A dial outlives the call that wanted it, for the next one; it ends with
		// the client.
		DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
			if address != "" {
				to = address
			}
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(c.ended, cancel)()
			return dialer.DialContext(ctx, network, to)
		},
		TLSClientConfig:        &tls.Config{RootCAs: cfg.CA, ServerName: u.Hostname(), MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    cfg.Timeout,
		MaxIdleConns:           cfg.Conns,
		MaxIdleConnsPerHost:    cfg.Conns,
		MaxConnsPerHost:        cfg.Conns,
		IdleConnTimeout:        idle,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		WriteBufferSize:        32 << 10,
		ReadBufferSize:         32 << 10,
	}
	c.over = c.pool
	if cfg.Wrap != nil {
		c.over = cfg.Wrap(c.pool)
	}
	c.lines.New = func() any { return newLine(c) }
	return c, nil
}

// Close ends idle connections and those that are being opened. Calls that run
// end with their contexts; the caller ends those first.
func (c *Client) Close() {
	c.stop()
	c.pool.CloseIdleConnections()
}

// Instance is the name of the instance.
func (c *Client) Instance() string { return c.cfg.Instance }

// Endpoint is where it is reached: scheme, host and port.
func (c *Client) Endpoint() string { return c.endpoint }

// Units are the capacity units that the service said all calls so far cost.
func (c *Client) Units() (read, write int64) { return c.read.Load(), c.write.Load() }

func (c *Client) spent(read, write int32) (r, w int64) {
	r, w = max(int64(read), 0), max(int64(write), 0)
	c.read.Add(r)
	c.write.Add(w)
	return r, w
}

// Offset is how far the service's clock is before ours (negative: behind), at
// least and at most, by the answers of about the last minute; not known before
// the first.
func (c *Client) Offset() (low, high time.Duration, known bool) { return c.clock.offset(time.Now()) }
