package dnsctl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"pointsman/internal/failover"
)

// VerifyName is one name with what every authority of it shall answer.
type VerifyName struct {
	Name        failover.RecordName
	Want        failover.Target
	Authorities []netip.AddrPort // every address; see Discover
}

// VerifyConfig bounds one round.
type VerifyConfig struct {
	Timeout     time.Duration // of one question, TCP connect included; 0 is DefaultVerifyTimeout
	Concurrency int           // questions in flight; 0 is DefaultVerifyConcurrency
}

const (
	// DefaultVerifyTimeout is how long an authority may take to answer.
	DefaultVerifyTimeout = time.Second
	// DefaultVerifyConcurrency is how many questions are in flight at once.
	DefaultVerifyConcurrency = 32
)

// udpSize is the payload size that is offered: the largest that crosses every
// path without fragments (DNS flag day 2020).
const udpSize = 1232

type ask struct {
	name failover.RecordName
	want failover.Target
	at   netip.AddrPort
	net  string // udp or tcp
}

type told struct {
	ask
	ttl   uint32
	agree bool
	cut   bool   // over UDP it said no more than that TCP is to be asked
	what  string // the dissent
	at    time.Time
}

// Verify asks every authority of every name once, over UDP and TCP, without
// recursion, each question with a random id from a random port. A name agrees
// when each answer is authoritative, NOERROR, and holds exactly the wanted
// CNAME. One that limits its answers may send us to TCP over UDP, as it does
// its clients: then what it says over TCP is its answer. A name without an
// authority does not agree. When ctx ends early, what
// was not asked counts as dissent. It returns only after every question ended.
func Verify(ctx context.Context, names []VerifyName, c VerifyConfig) map[failover.RecordName]failover.NameAgreement {
	if c.Timeout <= 0 {
		c.Timeout = DefaultVerifyTimeout
	}
	if c.Concurrency <= 0 {
		c.Concurrency = DefaultVerifyConcurrency
	}
	out := make(map[failover.RecordName]failover.NameAgreement, len(names))
	var asks []ask
	start := time.Now()
	for _, n := range names {
		a := failover.NameAgreement{Wanted: failover.Target(canonical(string(n.Want))), AskedAt: start}
		if len(n.Authorities) == 0 {
			a.Dissent = []string{"no address of an authority is known"}
		}
		out[n.Name] = a
		for _, at := range n.Authorities {
			for _, network := range []string{"udp", "tcp"} {
				asks = append(asks, ask{name: n.Name, want: a.Wanted, at: at, net: network})
			}
		}
	}
	var (
		mu      sync.Mutex
		answers []told
		g       errgroup.Group
	)
	g.SetLimit(c.Concurrency)
	for _, q := range asks {
		g.Go(func() error {
			t := q.put(ctx, c.Timeout)
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, t)
			return nil
		})
	}
	_ = g.Wait() // no question returns an error: a failure is a dissent
	slices.SortFunc(answers, func(a, b told) int {
		return cmp.Or(a.ask.at.Compare(b.ask.at), cmp.Compare(b.net, a.net))
	})
	agrees := make(map[ask]bool)
	for _, t := range answers {
		agrees[t.ask] = t.agree
	}
	for _, t := range answers {
		a := out[t.name]
		if over := t.ask; t.cut {
			over.net = "tcp"
			t.agree = agrees[over]
		}
		a.Asked++
		a.MaxTTL = max(a.MaxTTL, t.ttl)
		if t.agree {
			a.Agreeing++
			if t.at.After(a.LastAgree) {
				a.LastAgree = t.at
			}
		} else {
			a.Dissent = append(a.Dissent, fmt.Sprintf("%s %s: %s (wanted %s)", place(t.ask.at), t.net, t.what, t.want))
		}
		out[t.name] = a
	}
	for n, a := range out {
		a.Agree = a.Asked > 0 && a.Agreeing == a.Asked
		out[n] = a
	}
	return out
}

// place writes an address as people do, the port only where it is unusual.
func place(a netip.AddrPort) string {
	if a.Port() == 53 {
		return a.Addr().String()
	}
	return a.String()
}

func (q ask) put(ctx context.Context, timeout time.Duration) told {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	t := told{ask: q}
	r, err := q.exchange(ctx)
	t.at = time.Now()
	if err == nil {
		var f found
		t.cut = q.net == "udp" && r.Truncated && r.Rcode == dns.RcodeSuccess && len(r.Answer) == 0
		f, err = read(r, dns.Question{Name: string(q.name), Qtype: dns.TypeCNAME, Qclass: dns.ClassINET})
		t.ttl = f.ttl
		switch {
		case err != nil:
		case f.nx:
			t.what = "NXDOMAIN"
		case f.value == "":
			t.what = "no CNAME"
		case len(f.other) > 0:
			t.what = fmt.Sprintf("%s and %s", f.value, f.other[0])
		case f.value != q.want:
			t.what = string(f.value)
		default:
			t.agree = true
		}
	}
	if err != nil {
		t.what = said(err)
	}
	return t
}

func said(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "unreachable from here: if this network has no route to it, list the authorities in the config"
	}
	return err.Error()
}

// exchange asks once over TCP, and over UDP again at half time, since either
// packet may get lost. Whoever guesses must hit id, port and question; what
// does not fit is ignored until the time is over.
func (q ask) exchange(ctx context.Context) (*dns.Msg, error) {
	if q.net == "tcp" {
		return q.once(ctx)
	}
	end, _ := ctx.Deadline()
	half, cancel := context.WithTimeout(ctx, time.Until(end)/2)
	defer cancel()
	r, err := q.once(half)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return q.once(ctx)
	}
	return r, err
}

func (q ask) once(ctx context.Context) (*dns.Msg, error) {
	m := question(string(q.name), dns.TypeCNAME)
	m.SetEdns0(udpSize, false)
	wire, err := m.Pack()
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, q.net, q.at.String())
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
		p, err := dc.ReadMsgHeader(nil)
		if err != nil {
			if errors.Is(err, dns.ErrShortRead) && q.net == "udp" {
				continue
			}
			return nil, timely(ctx, err)
		}
		r, err := unpack(p)
		fits := err == nil && r.Response && r.Id == m.Id && r.Opcode == dns.OpcodeQuery &&
			len(r.Question) == 1 && canonical(r.Question[0].Name) == canonical(string(q.name))
		switch {
		case fits:
			return r, nil
		case q.net == "udp":
			continue
		case err != nil:
			return nil, err
		default:
			return nil, fmt.Errorf("%w: it belongs to another question", ErrMalformed)
		}
	}
}

// timely tells the end of the time from other faults, whichever of the two the
// socket noticed first.
func timely(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return context.DeadlineExceeded
	}
	return plain(err)
}
