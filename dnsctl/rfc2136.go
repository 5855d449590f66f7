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
	kind    string
	zone    failover.RecordName
	where   placing
	allowed map[failover.RecordName][]failover.Target
	limit   *rate.Limiter
	t       transport

	key, algorithm string // for the command that people are given
}

var _ Provider = (*RFC2136)(nil)

// spot is where in its zone the CNAME of a name and the mark of it stand.
type spot struct{ name, owner, mark failover.RecordName }

// placing finds the place of a name, which it puts into canonical form, or says
// why it is none of the zone's.
type placing func(name failover.RecordName) (spot, error)

// of is the place of a name; the error is ErrForbidden.
func (where placing) of(name failover.RecordName) (spot, error) {
	at, err := where(name)
	if err != nil {
		return spot{}, fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	return at, nil
}

// inZone places a name where it is: in the zone that clients see.
func inZone(zone failover.RecordName) placing {
	return func(name failover.RecordName) (spot, error) {
		n, err := ParseName(string(name))
		switch {
		case err != nil:
			return spot{}, err
		case n == zone:
			return spot{}, apexFault(n)
		case !below(n, zone):
			return spot{}, fmt.Errorf("%s does not lie in the zone %s", n, zone)
		}
		return spot{n, n, MarkName(n)}, nil
	}
}

func newRFC2136(kind string, where func(zone failover.RecordName) placing, c RFC2136Config) *RFC2136 {
	zone := failover.RecordName(canonical(c.Zone))
	p := &RFC2136{
		key: string(c.Key.Name), algorithm: string(c.Key.Algorithm),
		kind: kind, zone: zone, where: where(zone), allowed: c.allowed(),
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
	return fmt.Sprintf("%s %s zone %s", p.kind, p.t.server, p.zone)
}

// Capabilities of a dynamic update: all of it or nothing, on condition.
func (p *RFC2136) Capabilities() Capabilities { return RFC2136Config{}.Capabilities() }

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
	at, err := p.where.of(name)
	if err != nil {
		return State{}, err
	}
	s, err := p.t.open(ctx)
	if err != nil {
		return State{}, fmt.Errorf("read %s: %w", at.name, err)
	}
	defer s.close()
	for range readTries {
		st, err := p.readOnce(s, at)
		if errors.Is(err, ErrUnstable) {
			continue
		}
		if err != nil {
			return State{}, fmt.Errorf("read %s: %w", at.name, err)
		}
		return st, nil
	}
	return State{}, fmt.Errorf("read %s: %w", at.name, ErrUnstable)
}

func (p *RFC2136) readOnce(s *session, at spot) (State, error) {
	before, err := p.query(s, at.mark, dns.TypeTXT)
	if err != nil {
		return State{}, err
	}
	cname, err := p.query(s, at.owner, dns.TypeCNAME)
	if err != nil {
		return State{}, err
	}
	all, err := p.everything(s, at.owner, cname)
	if err != nil {
		return State{}, err
	}
	after, err := p.query(s, at.mark, dns.TypeTXT)
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
	a := p.asked(spot{owner: n})
	r, err := s.ask(m)
	if r != nil {
		if denied := keyDenial(r, a); denied != nil {
			return found{}, denied
		}
	}
	if errors.Is(err, ErrUnsigned) {
		return found{}, fmt.Errorf("%w: it came with %s, and the cause is open: key, secret or clock"+
			" (PowerDNS answers so to all three), or a zone that it does not have (Knot)", err, rcodeName(r.Rcode))
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
	at, err := c.permit(p.where, p.allowed)
	if err != nil {
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
	a := p.asked(at)
	r, err := s.ask(update(p.zone, at, c))
	if r == nil {
		return err
	}
	denied := updateDenial(r, a)
	switch {
	case denied != nil && err != nil:
		return fmt.Errorf("%w (%w)", denied, err)
	case errors.Is(denied, ErrPrerequisite) && p.remembers(s, at, c):
		return fmt.Errorf("%w; yet asked again it shows just what was expected, so it seems to answer from a cache,"+
			" where reads are late: a PowerDNS that shares its database needs query-cache-ttl=0 and cache-ttl=0", denied)
	}
	return errors.Join(denied, err)
}

// remembers says that the server still shows what it has just refused as
// stale. Updates are judged by what is stored, queries may be answered from a
// cache (PowerDNS: for up to 20 s, when another process changed its database).
// It serves people only; what cannot be read again is no reason for anything.
func (p *RFC2136) remembers(s *session, at spot, c Change) bool {
	st, err := p.readOnce(s, at)
	return err == nil && st.Value == c.Expect && st.Absent == (c.Expect == "") &&
		(c.ExpectMark == nil || *c.ExpectMark == st.Mark) && st.Other == ""
}

func (p *RFC2136) asked(at spot) asked {
	a := asked{server: p.t.server, zone: p.zone, at: at, signed: p.t.now()}
	if p.t.signer != nil {
		a.key, a.algorithm = p.t.signer.name, p.t.signer.algorithm
	}
	return a
}

// update builds the message of RFC 2136 section 2: prerequisites on the whole
// CNAME set and on the whole set of marks (compared with their data, without
// TTL), then both sets replaced. The server applies all or nothing.
func update(zone failover.RecordName, at spot, c Change) *dns.Msg {
	name, mark := string(at.owner), string(at.mark)
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
