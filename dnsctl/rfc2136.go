package dnsctl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/time/rate"

	"pointsman/internal/failover"
)

// RFC2136 changes names by dynamic update at the primary of their zone. It is
// safe for concurrent use; each call has a connection of its own.
type RFC2136 struct {
	zone    failover.RecordName
	allowed map[failover.RecordName][]failover.Target
	limit   *rate.Limiter
	t       transport
}

func newRFC2136(c RFC2136Config) *RFC2136 {
	p := &RFC2136{
		zone: failover.RecordName(canonical(c.Zone)), allowed: c.allowed(),
		limit: rate.NewLimiter(rate.Inf, 0),
		t:     transport{server: c.Server, timeout: c.Timeout, readOnly: c.ReadOnly, now: c.Now},
	}
	if c.WritesPerSecond > 0 {
		p.limit = rate.NewLimiter(rate.Limit(c.WritesPerSecond), max(c.WriteBurst, 1))
	}
	if p.t.timeout == 0 {
		p.t.timeout = DefaultTimeout
	}
	if p.t.now == nil {
		p.t.now = time.Now
	}
	if !c.ReadOnly {
		p.t.signer = newSigner(c.Key)
	}
	return p
}

// String names the provider without anything secret.
func (p *RFC2136) String() string {
	return fmt.Sprintf("rfc2136 %s zone %s", p.t.server, p.zone)
}

// readTries is how often a read begins anew when the name changed under it.
const readTries = 3

// Read asks the primary what stands at the name and at its mark: over TCP,
// without recursion, signed unless the provider is read-only. The answers must
// be authoritative. CNAME and mark are asked one after another, so the mark is
// asked before and after: a State never joins the value of one write with the
// mark of another.
//
// An error means that nothing is known of the name. It wraps one of ErrNotSent,
// ErrNoAnswer, ErrMalformed, ErrNotAuthoritative, ErrSeveral, ErrUnstable,
// ErrUnsigned, ErrSignature, ErrKey, ErrSecret, ErrClock, ErrRights, ErrServer.
func (p *RFC2136) Read(ctx context.Context, name failover.RecordName) (State, error) {
	n, err := p.inZone(name)
	if err != nil {
		return State{}, err
	}
	s, err := p.t.open(ctx)
	if err != nil {
		return State{}, fmt.Errorf("read %s: %w", n, err)
	}
	defer s.close()
	for range readTries {
		st, err := p.readOnce(s, n)
		if errors.Is(err, ErrUnstable) {
			continue
		}
		if err != nil {
			return State{}, fmt.Errorf("read %s: %w", n, err)
		}
		return st, nil
	}
	return State{}, fmt.Errorf("read %s: %w", n, ErrUnstable)
}

func (p *RFC2136) readOnce(s *session, n failover.RecordName) (State, error) {
	before, err := p.query(s, MarkName(n), dns.TypeTXT)
	if err != nil {
		return State{}, err
	}
	cname, err := p.query(s, n, dns.TypeCNAME)
	if err != nil {
		return State{}, err
	}
	all, err := p.everything(s, n, cname)
	if err != nil {
		return State{}, err
	}
	after, err := p.query(s, MarkName(n), dns.TypeTXT)
	if err != nil {
		return State{}, err
	}
	if !sameTexts(before.texts, after.texts) || before.value != after.value {
		return State{}, ErrUnstable
	}
	return state(cname, all, after)
}

// sameTexts compares two answers as sets: a server may shuffle the records of
// an RRset from answer to answer (BIND's rrset-order, RFC 1035 §3.6: no order
// is significant).
func sameTexts(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// everything finds what stands at the name besides the CNAME. A server may
// answer ANY with next to nothing (RFC 8482) or not at all; then, and only if
// there is no CNAME to exclude them, the usual types are asked one by one.
func (p *RFC2136) everything(s *session, n failover.RecordName, cname found) (found, error) {
	if cname.nx {
		return cname, nil
	}
	all, err := p.query(s, n, dns.TypeANY)
	if err != nil && !errors.Is(err, ErrServer) && !errors.Is(err, ErrRights) {
		return found{}, err
	}
	if cname.value != "" || all.value != "" || len(all.other) > 0 {
		return all, nil
	}
	for _, t := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeMX, dns.TypeNS} {
		f, err := p.query(s, n, t)
		if err != nil {
			return found{}, err
		}
		if f.value != "" {
			return found{}, ErrUnstable
		}
		all.other = append(all.other, f.other...)
		for _, text := range f.texts {
			all.other = append(all.other, "TXT "+short(fmt.Sprintf("%q", text)))
		}
	}
	return all, nil
}

func (p *RFC2136) query(s *session, n failover.RecordName, qtype uint16) (found, error) {
	m := question(string(n), qtype)
	q := m.Question[0]
	a := p.asked(n)
	r, err := s.ask(m)
	if r != nil {
		if denied := keyDenial(r, a); denied != nil {
			return found{}, denied
		}
	}
	if err != nil {
		return found{}, err
	}
	f, err := read(r, q)
	if err != nil {
		return f, fmt.Errorf("answer of %s: %w", p.t.server, err)
	}
	return f, nil
}

// Write replaces CNAME and mark in one signed message, if the name still shows
// what the change expects. Every outcome but WriteDone comes with an error.
//
//   - WriteDone: the server answered NOERROR, signed. That is no proof: read back.
//   - WriteMismatch: a prerequisite did not hold; nothing was changed.
//   - WriteUnknown: no trustworthy answer to a request that may have left; read back.
//   - WriteRefused: the server will not do it, or nothing was sent (ErrNotSent,
//     ErrReadOnly, ErrForbidden).
//
// It never retries: the caller reads first.
func (p *RFC2136) Write(ctx context.Context, c Change) (failover.WriteOutcome, error) {
	err := p.write(ctx, c)
	if err != nil {
		err = fmt.Errorf("write %s: %w", c.Name, err)
	}
	return outcome(err), err
}

func (p *RFC2136) write(ctx context.Context, c Change) error {
	if p.t.readOnly {
		return ErrReadOnly
	}
	if err := p.permit(&c); err != nil {
		return err
	}
	if err := p.limit.Wait(ctx); err != nil {
		return fmt.Errorf("wait for a turn: %w (%w)", ErrNotSent, err)
	}
	s, err := p.t.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	a := p.asked(c.Name)
	r, err := s.ask(update(p.zone, c))
	if r == nil {
		return err
	}
	denied := updateDenial(r, a)
	if denied != nil && err != nil {
		return fmt.Errorf("%w (%w)", denied, err)
	}
	return errors.Join(denied, err)
}

// permit refuses what must never be sent from here, and puts the change into
// canonical form, so that exactly what was judged is sent.
func (p *RFC2136) permit(c *Change) error {
	if err := c.check(); err != nil {
		return err
	}
	if _, err := p.inZone(c.Name); err != nil {
		return err
	}
	if !slices.Contains(p.allowed[c.Name], c.Value) {
		return fmt.Errorf("%w: %s is not one of its targets %v", ErrForbidden, c.Value, p.allowed[c.Name])
	}
	return nil
}

// inZone returns the canonical name, or why it is none of this provider's.
func (p *RFC2136) inZone(name failover.RecordName) (failover.RecordName, error) {
	n, err := ParseName(string(name))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	if n == p.zone {
		return "", fmt.Errorf("%w: %w", ErrForbidden, apexFault(n))
	}
	if !below(n, p.zone) {
		return "", fmt.Errorf("%w: %s does not lie in the zone %s", ErrForbidden, n, p.zone)
	}
	return n, nil
}

func (p *RFC2136) asked(n failover.RecordName) asked {
	a := asked{server: p.t.server, zone: p.zone, name: n, signed: p.t.now()}
	if p.t.signer != nil {
		a.key, a.algorithm = p.t.signer.name, p.t.signer.algorithm
	}
	return a
}

// update builds the message of RFC 2136 section 2: prerequisites on the whole
// CNAME set and on the whole set of marks (compared with their data, without
// TTL), then both sets replaced. The server applies all or nothing.
func update(zone failover.RecordName, c Change) *dns.Msg {
	name, mark := string(c.Name), string(MarkName(c.Name))
	head := func(owner string, t uint16) dns.RR_Header {
		return dns.RR_Header{Name: owner, Rrtype: t, Class: dns.ClassINET, Ttl: c.TTL}
	}
	cname := func(to failover.Target) dns.RR {
		return &dns.CNAME{Hdr: head(name, dns.TypeCNAME), Target: string(to)}
	}
	txt := func(text string) dns.RR {
		return &dns.TXT{Hdr: head(mark, dns.TypeTXT), Txt: markStrings(text)}
	}
	m := new(dns.Msg)
	m.SetUpdate(string(zone))
	if c.Expect == "" {
		m.NameNotUsed([]dns.RR{cname(c.Value)})
	} else {
		m.Used([]dns.RR{cname(c.Expect)})
	}
	switch {
	case c.ExpectMark == nil:
	case *c.ExpectMark == "":
		m.RRsetNotUsed([]dns.RR{txt("")})
	default:
		m.Used([]dns.RR{txt(*c.ExpectMark)})
	}
	m.RemoveRRset([]dns.RR{cname(c.Value), txt(c.Mark)})
	m.Insert([]dns.RR{cname(c.Value), txt(c.Mark)})
	return m
}
