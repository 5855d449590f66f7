package healthcheck

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pointsman/internal/failover"
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

	mu      sync.Mutex
	pending map[failover.InstanceName]InstanceReport
	order   []failover.InstanceName
	stats   LineStats
	news    news
}

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
		wake: make(chan struct{}, 1), pending: map[failover.InstanceName]InstanceReport{},
		news:  news{rush: make(chan struct{}, 1)},
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
	if _, waits := l.pending[r.Instance]; !waits {
		l.order = append(l.order, r.Instance)
	}
	l.pending[r.Instance] = r
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

// take removes the longest waiting reports, at most a message full.
func (l *line) take() []InstanceReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.order), maxBatch)
	batch := make([]InstanceReport, n)
	for i, name := range l.order[:n] {
		batch[i] = l.pending[name]
		delete(l.pending, name)
	}
	l.order = slices.Delete(l.order, 0, n)
	return batch
}

// putBack returns what could not be sent, unless a newer report waits.
func (l *line) putBack(batch []InstanceReport) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range batch {
		if _, newer := l.pending[r.Instance]; !newer {
			l.pending[r.Instance] = r
			l.order = append(l.order, r.Instance)
		}
	}
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
