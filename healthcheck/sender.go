package healthcheck

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"pointsman/internal/failover"
)

// SenderConfig says who reports to whom.
type SenderConfig struct {
	Vantage     failover.VantageName
	Key         Key
	Controllers []string       // base URLs, as in https://ctl-1.example:8053; ReportPath is added
	Roots       *x509.CertPool // to trust for https; nil is the system's
	Timeout     time.Duration  // of one POST, default 2 s
	Retry       time.Duration  // after a failed POST, default 200 ms
	// PlainHTTP allows http off loopback. The signature still protects what is
	// said, but everybody on the way can read it.
	PlainHTTP bool
	// Wall is the wall clock that messages are stamped with; nil is the
	// machine's. Nothing else is counted by it.
	Wall func() time.Time
}

// Validate returns every fault.
func (c SenderConfig) Validate() []Fault {
	var f faults
	if !isName(string(c.Vantage)) {
		f.add("name", "", "is missing or no printable name")
	}
	if len(c.Key) < minKey {
		f.add("key_file", "", "holds %d bytes, at least %d are needed", len(c.Key), minKey)
	}
	if len(c.Controllers) == 0 {
		f.add("controllers", "", "at least one is needed")
	}
	for i, s := range c.Controllers {
		at := fmt.Sprintf("controllers[%d]", i)
		u, err := url.Parse(s)
		switch {
		case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https":
			f.add(at, "", "%q is no URL such as https://ctl-1.example:8053", s)
		case slices.Contains(c.Controllers[:i], s):
			f.add(at, "", "%s is there twice", s)
		case u.Scheme == "http" && !c.PlainHTTP && !isLoopback(u.Hostname()):
			f.add(at, "use https", "%s would send reports over plain HTTP off this machine", s)
		}
	}
	return f
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// Sender posts reports to every controller. Each controller has a queue of
// its own that holds the latest report per instance, so one that is dead or
// slow delays no other and costs no more memory than the instances there are.
// A report that could not be sent is tried again, with its ages grown, until
// a newer one takes its place. A report in which a vote has changed goes before
// all others, and waits neither for a POST that hangs nor for the next try.
// NewSender makes it; Run sends.
type Sender struct {
	vantage failover.VantageName
	life    life
	said    said
	config  atomic.Pointer[refused] // nil: the newest file is the one that runs

	mu    sync.Mutex  // one Reload at a time
	begin func(*line) // starts a line; nil while Run does not run

	lines atomic.Pointer[[]*line] // in config order
}

// life is one boot of the vantage. All lines share it: a message that somebody
// carries over to another controller is then at worst one of this boot with a
// lower number than the next one has, and never a boot of its own that would
// replace the genuine one.
type life struct {
	mu      sync.Mutex
	boot    string
	started time.Time
	last    clocks // at the newest message
	seq     uint64
}

// begin starts a boot: the sequence and the uptime start anew.
func (v *life) begin(now time.Time) {
	v.boot, v.started, v.last, v.seq = newNonce(), now, look(now), 0
}

// stamp puts boot, sequence and times on a message. A suspend ends the boot:
// the uptime lacks the sleep.
func (v *life) stamp(m *message, now, wall time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if slept(v.last, look(now)) > 0 {
		v.begin(now)
	}
	v.last = look(now)
	v.seq++
	m.Boot, m.Seq, m.SentMS, m.Uptime = v.boot, v.seq, wall.UnixMilli(), max(now.Sub(v.started), 0)
}

// NewSender makes a sender, with a new boot id.
func NewSender(c SenderConfig) (*Sender, error) {
	if f := c.Validate(); len(f) > 0 {
		return nil, joinFaults(f)
	}
	s := &Sender{vantage: c.Vantage}
	s.life.begin(time.Now())
	var lines []*line
	for _, u := range c.Controllers {
		lines = append(lines, newLine(u, c.withDefaults()))
	}
	s.lines.Store(&lines)
	return s, nil
}

func (c SenderConfig) withDefaults() SenderConfig {
	if c.Timeout <= 0 {
		c.Timeout = 2 * time.Second
	}
	if c.Retry <= 0 {
		c.Retry = 200 * time.Millisecond
	}
	if c.Wall == nil {
		c.Wall = time.Now
	}
	return c
}

// Send queues the report for every controller and returns at once.
func (s *Sender) Send(r InstanceReport) {
	changed := s.said.changes(r)
	for _, l := range *s.lines.Load() {
		l.put(r)
		switch {
		case changed:
			l.hurry(r.Instance)
		case !r.isWell():
			l.press()
		}
	}
}

// Run sends until the context ends, and returns nil after every goroutine
// that it started has ended.
func (s *Sender) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	s.mu.Lock()
	s.begin = func(l *line) {
		ctx, stop := context.WithCancel(ctx)
		l.stop, l.done = stop, make(chan struct{})
		g.Go(func() error {
			defer close(l.done)
			defer func() { l.way.Load().client.CloseIdleConnections() }()
			s.drain(ctx, l)
			return nil
		})
	}
	for _, l := range *s.lines.Load() {
		s.begin(l)
	}
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	s.begin = nil
	s.mu.Unlock()
	return g.Wait()
}

// Reload takes another config, while the sender runs or before: all of it, or,
// with an error, nothing. Boot and sequence go on, and so does what waits for
// a controller that stays. What was on its way to one that is gone is given
// up. The vantage cannot change.
func (s *Sender) Reload(c SenderConfig) error {
	if f := c.Validate(); len(f) > 0 {
		return joinFaults(f)
	}
	if c.Vantage != s.vantage {
		return fmt.Errorf("name: %s cannot become %s while it runs", quote(string(s.vantage)), quote(string(c.Vantage)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c = c.withDefaults()
	old := make(map[string]*line)
	for _, l := range *s.lines.Load() {
		old[l.stats.Controller] = l
	}
	var next, fresh []*line
	for _, u := range c.Controllers {
		l := old[u]
		delete(old, u)
		if l == nil {
			l = newLine(u, c)
			fresh = append(fresh, l)
		} else {
			l.follow(c)
		}
		next = append(next, l)
	}
	s.lines.Store(&next)
	if s.begin == nil {
		return nil
	}
	for _, l := range fresh {
		s.begin(l)
	}
	for _, l := range old {
		l.stop()
	}
	for _, l := range old {
		<-l.done
	}
	return nil
}

func (s *Sender) drain(ctx context.Context, l *line) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
		for batch := l.gather(ctx); len(batch) > 0; batch = l.gather(ctx) {
			err := l.urgently(ctx, func(ctx context.Context) error { return s.post(ctx, l, batch) })
			l.account(err)
			if err == nil {
				continue
			}
			l.putBack(batch)
			select {
			case <-ctx.Done():
				return
			case <-l.news.rush:
			case <-time.After(l.way.Load().config.Retry):
			}
		}
	}
}

// clocks is one look at both clocks.
type clocks struct{ wall, mono time.Time }

func look(now time.Time) clocks { return clocks{now.Round(0), now} }

// slept is how long the machine was suspended between two looks, 0 when it
// was not: the monotonic clock stands still then, the wall clock does not. A
// wall clock that is set forward looks the same, which does no harm.
func slept(before, after clocks) time.Duration {
	gap := after.wall.Sub(before.wall) - after.mono.Sub(before.mono)
	if gap < stallBound {
		return 0
	}
	return gap
}

// post sends a batch, once more at once when the controller asks for another
// challenge: at first contact, and after either side was started again. One that
// does not know all that a message may say gets the same without it, until it
// asks for another challenge: it may be of a newer version by then.
func (s *Sender) post(ctx context.Context, l *line, batch []parcel) error {
	now := time.Now()
	asleep := slept(l.last, look(now)) > 0
	l.last = look(now)
	if asleep {
		// The ages lack the sleep. The next round says it anew.
		return nil
	}
	for range 2 {
		challenge, lacks := l.challenge, l.lacks
		if err := s.try(ctx, l, batch); err == nil || l.challenge == challenge && l.lacks == lacks {
			return err
		}
	}
	return s.try(ctx, l, batch)
}

// try sends one message. Whether an unanswered one arrived does not matter:
// the next bears a higher number and says it all again.
func (s *Sender) try(ctx context.Context, l *line, batch []parcel) error {
	now, way := time.Now(), l.way.Load()
	m := message{Version: wireVersion, Vantage: s.vantage, Challenge: l.challenge, Reports: make([]InstanceReport, len(batch))}
	s.life.stamp(&m, now, way.config.Wall())
	if !l.lacks.config {
		m.Config = s.refusal(now)
	}
	if l.answered != nil && l.answered.boot == m.Boot && !l.lacks.answered {
		m.Answered = l.answered
	}
	for i, p := range batch {
		m.Reports[i] = p.report.Aged(now)
	}
	body, err := m.encode()
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("report to %s: %w", l.url, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(vantageHeader, string(s.vantage))
	req.Header.Set(signatureHeader, sign(way.config.Key, body))
	resp, err := way.client.Do(req)
	if err != nil {
		return fmt.Errorf("report to %s: %w", l.url, err)
	}
	defer resp.Body.Close()
	l.time(resp, &m, now)
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // to the end, so that the connection lives on
	if asked := resp.Header.Get(challengeHeader); isNonce(asked) && asked != l.challenge {
		l.challenge, l.lacks = asked, lacks{}
	}
	if resp.StatusCode == http.StatusBadRequest { // it is of an earlier version, and knows a key not; any other fault is none of its
		l.lacks.config = l.lacks.config || m.Config != nil && bytes.Contains(answer, []byte(refusedKey))
		l.lacks.answered = l.lacks.answered || m.Answered != nil && bytes.Contains(answer, []byte(answeredKey))
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("report to %s: %s: %s", l.url, resp.Status, clean(strings.TrimSpace(string(answer)), 200))
	}
	return nil
}

// Stats returns how each line goes, in config order.
func (s *Sender) Stats() []LineStats {
	lines := *s.lines.Load()
	out := make([]LineStats, len(lines))
	for i, l := range lines {
		l.mu.Lock()
		out[i] = l.stats
		out[i].Waiting = len(l.backlog.places)
		l.mu.Unlock()
	}
	return out
}
