package healthcheck

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// line is the way to one controller.
type line struct {
	url  string
	wake chan struct{}
	stop context.CancelFunc // of its goroutine; nil before it runs
	done chan struct{}      // closed when that has ended
	way  atomic.Pointer[way]

	// Of the goroutine that sends.
	last      clocks // at the newest post
	challenge string // that the controller asked for in its newest answer
	lacks     lacks  // what it does not understand of all that a message may say
	answered  *answered

	mu      sync.Mutex
	backlog backlog
	stats   LineStats
	news    news
}

// lacks are the keys that a controller of an earlier version refuses.
type lacks struct{ config, answered bool }

// way is how a line sends.
type way struct {
	config SenderConfig
	client *http.Client
}

// LineStats is how reporting to one controller goes.
type LineStats struct {
	Controller string
	Posts      uint64    // answered with success
	Failures   uint64    // everything else
	Waiting    int       // instances whose latest report is not sent yet
	LastError  string    // of the newest POST, empty when it succeeded
	LastOK     time.Time // when the newest success came
}

func newLine(controller string, c SenderConfig) *line {
	l := &line{
		url:  strings.TrimSuffix(controller, "/") + ReportPath,
		wake: make(chan struct{}, 1), backlog: newBacklog(),
		news:  news{rush: make(chan struct{}, 1), press: make(chan struct{}, 1)},
		stats: LineStats{Controller: controller}, last: look(time.Now()),
	}
	l.way.Store(&way{c, newClient(c)})
	return l
}

// newClient keeps one connection alive, follows nothing and takes no proxy
// from the environment.
func newClient(c SenderConfig) *http.Client {
	return &http.Client{
		Timeout: c.Timeout,
		Transport: &http.Transport{
			TLSClientConfig:        &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
			MaxIdleConnsPerHost:    1,
			MaxResponseHeaderBytes: 16 << 10,
			ForceAttemptHTTP2:      false,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (l *line) put(r InstanceReport) {
	l.mu.Lock()
	l.backlog.put(r)
	l.mu.Unlock()
	l.knock()
}

func (l *line) knock() {
	select {
	case l.wake <- struct{}{}:
	default: // already awake
	}
}

// follow lets a line send by another config from its next message on.
func (l *line) follow(c SenderConfig) {
	was := l.way.Load()
	client := was.client
	if c.Timeout != was.config.Timeout || !sameRoots(c.Roots, was.config.Roots) {
		client = newClient(c)
		defer was.client.CloseIdleConnections()
	}
	l.way.Store(&way{c, client})
}

func sameRoots(a, b *x509.CertPool) bool {
	return a == b || a != nil && b != nil && a.Equal(b)
}

func (l *line) take() []parcel {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.backlog.take()
}

// putBack returns what could not be sent, unless a newer report waits.
func (l *line) putBack(batch []parcel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.backlog.putBack(batch)
}

func (l *line) account(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.stats.Failures++
		l.stats.LastError = err.Error()
		return
	}
	l.stats.Posts++
	l.stats.LastError, l.stats.LastOK = "", time.Now()
}
