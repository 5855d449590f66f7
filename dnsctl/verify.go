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
	Zone        failover.RecordName // that the name is in; needed for serials only
	Want        failover.Target
	Authorities []netip.AddrPort // every address; see Discover
	// Resolvers says that the addresses are those of resolvers, which answer
	// their clients something that no authority shows (a response policy zone, a
	// private zone): they are asked with recursion and need not be authoritative.
	Resolvers bool
}

// VerifyConfig bounds one round.
type VerifyConfig struct {
	Timeout     time.Duration // of one question, TCP connect included; 0 is DefaultVerifyTimeout
	Concurrency int           // questions in flight; 0 is DefaultVerifyConcurrency
	Serials     bool          // each address is asked for the serial of the zone, too
}

// Sight is what one address of an authority said of one name over one transport.
type Sight struct {
	At     netip.AddrPort
	Net    string          // udp or tcp
	Agree  bool            // authoritative, NOERROR and exactly the wanted CNAME
	Why    string          // what it said instead, in words; empty when it agrees
	Sends  bool            // over UDP it said no more than that TCP is to be asked (TC)
	Value  failover.Target // empty: it showed no CNAME
	TTL    uint32          // seconds, of the CNAME
	AA     bool
	Rcode  string        // empty: there was no answer
	NSID   string        // which of several machines behind the address answered (RFC 5001); empty: it does not say
	Serial uint32        // of the zone at this address; 0: it was not asked for, or not told
	Took   time.Duration // until the answer, or until it was given up
	Heard  time.Time     // when that was
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

	qtype   uint16 // 0: CNAME
	recurse bool
}

type told struct {
	ask
	ttl   uint32
	agree bool
	cut   bool   // over UDP it said no more than that TCP is to be asked
	what  string // the dissent
	at    time.Time

	value failover.Target
	aa    bool
	rcode string
	nsid  string
	took  time.Duration
}

// Verify asks every authority of every name once, over UDP and TCP, without
// recursion (resolvers with it, see [VerifyName]), each question with a random
// id from a random port. A name agrees when each answer is authoritative,
// NOERROR, and holds exactly the wanted CNAME. One that limits its answers may
// send us to TCP over UDP, as it does its clients: then what it says over TCP is
// its answer. A name without an authority does not agree. When ctx ends early,
// what was not asked counts as dissent. It returns only after every question
// ended.
func Verify(ctx context.Context, names []VerifyName, c VerifyConfig) map[failover.RecordName]failover.NameAgreement {
	got, _ := Survey(ctx, names, c)
	return got
}

// Survey is Verify with every single answer: of each name one sight for each
// address and transport, sorted by address, UDP first.
func Survey(ctx context.Context, names []VerifyName, c VerifyConfig) (map[failover.RecordName]failover.NameAgreement, map[failover.RecordName][]Sight) {
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
				asks = append(asks, ask{name: n.Name, want: a.Wanted, at: at, net: network, recurse: n.Resolvers})
			}
		}
	}
	var (
		mu      sync.Mutex
		answers []told
		g       errgroup.Group
	)
	g.SetLimit(c.Concurrency)
	serials := &serialRound{known: make(map[zoneAt]uint32)}
	if c.Serials {
		serials.ask(ctx, &g, names, c.Timeout)
	}
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
	sights := make(map[failover.RecordName][]Sight, len(names))
	zones := make(map[failover.RecordName]failover.RecordName, len(names))
	for _, n := range names {
		zones[n.Name] = n.Zone
	}
	for _, t := range answers {
		a := out[t.name]
		if over := t.ask; t.cut {
			over.net = "tcp"
			t.agree = agrees[over]
		}
		a.Asked++
		a.MaxTTL = max(a.MaxTTL, t.ttl)
		a.Served = served(a.Served, t.value, t.ttl)
		sights[t.name] = append(sights[t.name], t.sight(serials.known[zoneAt{zones[t.name], t.ask.at}]))
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
	return out, sights
}

// served keeps, of each value that was shown, the largest TTL.
func served(all []failover.ServedTTL, v failover.Target, ttl uint32) []failover.ServedTTL {
	if v == "" {
		return all
	}
	for i := range all {
		if all[i].Value == v {
			all[i].TTL = max(all[i].TTL, ttl)
			return all
		}
	}
	return append(all, failover.ServedTTL{Value: v, TTL: ttl})
}

func (t *told) sight(serial uint32) Sight {
	s := Sight{
		At: t.ask.at, Net: t.net, Agree: t.agree, Sends: t.cut, Value: t.value, TTL: t.ttl, AA: t.aa, Rcode: t.rcode, NSID: t.nsid,
		Serial: serial, Took: t.took, Heard: t.at,
	}
	if !t.agree {
		s.Why = t.what
	}
	return s
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
	began := time.Now()
	r, err := q.exchange(ctx)
	t.at = time.Now()
	t.took = t.at.Sub(began)
	if err == nil {
		var f found
		t.aa, t.rcode, t.nsid = r.Authoritative, rcodeName(r.Rcode), nsid(r)
		t.cut = q.net == "udp" && r.Truncated && r.Rcode == dns.RcodeSuccess && len(r.Answer) == 0
		if q.recurse && r.RecursionAvailable {
			r.Authoritative = true // it speaks for itself: what it says is what its clients are told
		}
		f, err = read(r, dns.Question{Name: string(q.name), Qtype: dns.TypeCNAME, Qclass: dns.ClassINET})
		t.ttl, t.value = f.ttl, f.value
		switch {
		case err != nil:
		case f.nx:
			t.what = "NXDOMAIN"
		case f.value == "" && q.recurse:
			t.what = "no CNAME: does this resolver apply the zone, and to us?"
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
	m := question(string(q.name), cmp.Or(q.qtype, dns.TypeCNAME))
	m.RecursionDesired = q.recurse
	m.SetEdns0(udpSize, false)
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID}}
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
