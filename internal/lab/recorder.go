package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// AnswerKind says what came back for one question.
type AnswerKind string

const (
	AnswerTarget   AnswerKind = "target"   // a CNAME, in Answer.Target
	AnswerEmpty    AnswerKind = "empty"    // NOERROR without a CNAME
	AnswerNXDomain AnswerKind = "nxdomain" // the name does not exist
	AnswerServfail AnswerKind = "servfail"
	AnswerOdd      AnswerKind = "odd"     // anything else that came back, see Answer.Note
	AnswerMissing  AnswerKind = "missing" // nothing came back in time
)

// Answer is one question of the recorder and what became of it.
type Answer struct {
	Asked    time.Time
	Received time.Time // zero when missing
	Kind     AnswerKind
	Target   string // lower case, with the final dot
	Note     string // of an odd one
}

// RecorderConfig says whom to ask for what.
type RecorderConfig struct {
	Server  netip.AddrPort
	Name    string                // fully qualified
	Hosts   map[string]netip.Addr // addresses of the targets: an A answer with another one is odd
	Every   time.Duration         // between two questions; 2 ms by default
	Timeout time.Duration         // after which an answer is missing; 1 s by default
	// Flat is for servers that answer the address of a cluster and have no CNAME:
	// which target each address stands for. It then asks for A alone.
	Flat map[netip.Addr]string
	// Recurse is for resolvers: it asks with recursion, and what they answer
	// need not be authoritative.
	Recurse bool
}

// Recorder asks an authority for one name all the time, over UDP and with no
// help from a resolver: CNAME and A in turn. It keeps every answer until Take.
// Safe for concurrent use.
type Recorder struct {
	cfg      RecorderConfig
	question [2][]byte // packed; only the id changes

	mu      sync.Mutex
	pending map[uint16]time.Time
	answers []Answer
	wake    chan struct{} // closed and made anew with every answer
}

// NewRecorder checks the name and packs the questions.
func NewRecorder(cfg RecorderConfig) (*Recorder, error) {
	if cfg.Every <= 0 {
		cfg.Every = 2 * time.Millisecond
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = time.Second
	}
	if cfg.Timeout/cfg.Every > 30_000 {
		return nil, errors.New("recorder: more questions in flight than there are ids")
	}
	cfg.Name = dns.CanonicalName(cfg.Name)
	r := &Recorder{cfg: cfg, pending: map[uint16]time.Time{}, wake: make(chan struct{})}
	types := [2]uint16{dns.TypeCNAME, dns.TypeA}
	if cfg.Flat != nil {
		types[0] = dns.TypeA
	}
	for i, typ := range types {
		m := new(dns.Msg)
		m.SetQuestion(cfg.Name, typ)
		m.RecursionDesired = cfg.Recurse
		b, err := m.Pack()
		if err != nil {
			return nil, fmt.Errorf("recorder: pack question for %s: %w", cfg.Name, err)
		}
		r.question[i] = b
	}
	return r, nil
}

// Run asks until the context ends.
func (r *Recorder) Run(ctx context.Context) error {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(r.cfg.Server))
	if err != nil {
		return fmt.Errorf("recorder: %w", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.listen(ctx, conn) })
	g.Go(func() error {
		defer conn.Close()
		return r.ask(ctx, conn)
	})
	return g.Wait()
}

func (r *Recorder) ask(ctx context.Context, conn *net.UDPConn) error {
	tick := time.NewTicker(r.cfg.Every)
	defer tick.Stop()
	for id := uint16(0); ; id++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		q := r.question[id%2]
		q[0], q[1] = byte(id>>8), byte(id)
		r.mu.Lock()
		now := time.Now()
		r.expire(now)
		r.pending[id] = now
		r.mu.Unlock()
		if _, err := conn.Write(q); err != nil && !gone(err) && ctx.Err() == nil {
			return fmt.Errorf("recorder: ask: %w", err)
		}
	}
}

// gone says that the other side has no socket now: the kernel passes the ICMP
// message on at the next call. The question then ends as missing.
func gone(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

func (r *Recorder) listen(ctx context.Context, conn *net.UDPConn) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buf)
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && gone(err):
			continue
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("recorder: listen: %w", err)
		case err == nil && n >= 2:
			r.receive(buf[:n], now)
		}
	}
}

func (r *Recorder) receive(b []byte, now time.Time) {
	id := uint16(b[0])<<8 | uint16(b[1])
	var a Answer
	if r.cfg.Flat != nil {
		a = classifyFlat(b, r.cfg.Flat)
	} else {
		a = classify(b, r.cfg.Name, r.cfg.Hosts, r.cfg.Recurse)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	asked, ok := r.pending[id]
	if !ok {
		return // came after its time, or twice: it was counted
	}
	delete(r.pending, id)
	a.Asked, a.Received = asked, now
	r.add(a)
}

// expire gives up on questions that are too old. The caller holds the lock.
func (r *Recorder) expire(now time.Time) {
	for id, asked := range r.pending {
		if now.Sub(asked) > r.cfg.Timeout {
			delete(r.pending, id)
			r.add(Answer{Asked: asked, Kind: AnswerMissing})
		}
	}
}

func (r *Recorder) add(a Answer) {
	r.answers = append(r.answers, a)
	close(r.wake)
	r.wake = make(chan struct{})
}

// Until waits for an answer, received at or after since, that the condition
// accepts. The condition must be quick. What Take has taken is not seen.
func (r *Recorder) Until(ctx context.Context, since time.Time, want func(Answer) bool) (Answer, error) {
	from := 0
	for {
		r.mu.Lock()
		from = min(from, len(r.answers)) // Take may have emptied it
		fresh, wake := r.answers[from:], r.wake
		from = len(r.answers)
		r.mu.Unlock()
		for _, a := range fresh {
			if !a.Received.Before(since) && want(a) {
				return a, nil
			}
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return Answer{}, context.Cause(ctx)
		}
	}
}

// Take returns what became of every question asked up to now, once none of
// them is open any more, and forgets it. Questions asked since stay.
func (r *Recorder) Take(ctx context.Context) ([]Answer, error) {
	end := time.Now()
	for {
		r.mu.Lock()
		open := false
		for _, asked := range r.pending {
			open = open || !asked.After(end)
		}
		if !open {
			var taken, rest []Answer
			for _, a := range r.answers {
				if a.Asked.After(end) {
					rest = append(rest, a)
				} else {
					taken = append(taken, a)
				}
			}
			r.answers = rest
			r.mu.Unlock()
			return taken, nil
		}
		wake := r.wake
		r.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// classify judges the wire form of one answer by itself.
func classify(b []byte, name string, hosts map[string]netip.Addr, resolver bool) Answer {
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		return Answer{Kind: AnswerOdd, Note: "malformed: " + err.Error()}
	}
	odd := func(format string, args ...any) Answer {
		return Answer{Kind: AnswerOdd, Note: fmt.Sprintf(format, args...)}
	}
	switch {
	case !m.Response:
		return odd("not a response")
	case len(m.Question) != 1 || dns.CanonicalName(m.Question[0].Name) != name:
		return odd("for another question")
	case m.Rcode == dns.RcodeNameError:
		return Answer{Kind: AnswerNXDomain}
	case m.Rcode == dns.RcodeServerFailure:
		return Answer{Kind: AnswerServfail}
	case m.Rcode != dns.RcodeSuccess:
		return odd("code %s", dns.RcodeToString[m.Rcode])
	case m.Truncated:
		return odd("truncated")
	}
	var targets []string
	for _, rr := range m.Answer {
		if c, ok := rr.(*dns.CNAME); ok && dns.CanonicalName(c.Hdr.Name) == name {
			targets = append(targets, dns.CanonicalName(c.Target))
		}
	}
	switch {
	case len(targets) == 0:
		return Answer{Kind: AnswerEmpty}
	case len(targets) > 1:
		return odd("%d targets at one name", len(targets))
	case !m.Authoritative && !resolver:
		return odd("not authoritative")
	}
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok {
			got, _ := netip.AddrFromSlice(a.A)
			if want, known := hosts[dns.CanonicalName(a.Hdr.Name)]; dns.CanonicalName(a.Hdr.Name) != targets[0] || known && got.Unmap() != want {
				return odd("target %s with the address %s of another", targets[0], got)
			}
		}
	}
	return Answer{Kind: AnswerTarget, Target: targets[0]}
}

// classifyFlat judges an answer that shows a target by its address alone.
func classifyFlat(b []byte, flat map[netip.Addr]string) Answer {
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		return Answer{Kind: AnswerOdd, Note: "malformed: " + err.Error()}
	}
	switch m.Rcode {
	case dns.RcodeSuccess:
	case dns.RcodeNameError:
		return Answer{Kind: AnswerNXDomain}
	case dns.RcodeServerFailure:
		return Answer{Kind: AnswerServfail}
	default:
		return Answer{Kind: AnswerOdd, Note: "code " + dns.RcodeToString[m.Rcode]}
	}
	if len(m.Answer) == 0 {
		return Answer{Kind: AnswerEmpty}
	}
	a, ok := m.Answer[0].(*dns.A)
	if !ok || len(m.Answer) > 1 {
		return Answer{Kind: AnswerOdd, Note: "not one address"}
	}
	ip, _ := netip.AddrFromSlice(a.A)
	target, ok := flat[ip.Unmap()]
	if !ok {
		return Answer{Kind: AnswerOdd, Note: "the address " + ip.String() + " of nobody"}
	}
	return Answer{Kind: AnswerTarget, Target: target}
}
