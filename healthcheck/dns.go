package healthcheck

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// DNSCheck is one question to the cluster itself and what its answer must be.
// No resolver of ours is asked, so NXDOMAIN is the word of the cluster: a miss
// unless Rcode says otherwise.
type DNSCheck struct {
	Name      string `json:"name,omitempty"`      // default: the clients' name
	Type      string `json:"type,omitempty"`      // default A
	Transport string `json:"transport,omitempty"` // udp (default; tcp when the answer is truncated) or tcp
	Rcode     string `json:"rcode,omitempty"`     // default NOERROR, which also wants at least one record of the type
	Contains  string `json:"contains,omitempty"`  // text in the data of one of the records
	Matches   string `json:"matches,omitempty"`   // RE2 that the data of one of the records must match
}

func (d DNSCheck) withDefaults() DNSCheck {
	d.Name = strings.TrimSuffix(d.Name, ".")
	d.Type = strings.ToUpper(cmp.Or(d.Type, "A"))
	d.Transport = cmp.Or(d.Transport, "udp")
	d.Rcode = strings.ToUpper(cmp.Or(d.Rcode, "NOERROR"))
	return d
}

func (d DNSCheck) validate(f *faults) {
	if d.Name != "" && !isDomain(d.Name) {
		f.add("dns.name", "", "%q is no DNS name", clean(d.Name, 64))
	}
	d = d.withDefaults()
	if t, ok := dns.StringToType[d.Type]; !ok || slices.Contains([]uint16{dns.TypeAXFR, dns.TypeIXFR, dns.TypeOPT, dns.TypeTSIG, dns.TypeNone}, t) {
		f.add("dns.type", "such as A, AAAA, SOA, NS, TXT", "%q is no type to ask for", d.Type)
	}
	if !slices.Contains([]string{"udp", "tcp"}, d.Transport) {
		f.add("dns.transport", "", "%q is neither udp nor tcp", d.Transport)
	}
	if rcode, ok := dns.StringToRcode[d.Rcode]; !ok || rcode > 15 {
		f.add("dns.rcode", "such as NOERROR, NXDOMAIN, REFUSED", "%q is no answer code", d.Rcode)
	}
	if d.Rcode != "NOERROR" && (d.Contains != "" || d.Matches != "") {
		f.add("dns.rcode", "leave contains and matches out", "%s brings no records to look at", d.Rcode)
	}
	f.pattern("dns.matches", d.Matches)
}

// isDomain takes what is a domain name of RFC 1035 section 2.3.4, with or
// without the final dot.
func isDomain(s string) bool {
	_, ok := dns.IsDomainName(s)
	return ok && s != "." && isHost(s)
}

// udpSize is the answer that we ask for over UDP (RFC 9715 section 3.1).
const udpSize = 1232

// inquiry is the question of one target. Each probe sends it from a socket of
// its own, under a random number that is drawn anew.
type inquiry struct {
	dial     *dialer
	check    DNSCheck
	question dns.Question
	matches  *regexp.Regexp
	who      dns.Question // without a name when nobody asks
	identity string
}

func dnsProbe(d *dialer, t Target) (Probe, error) {
	c := t.Check.DNS
	name := cmp.Or(c.Name, t.Name)
	if name == "" {
		return nil, errors.New("check.dns.name: is missing, and so is the clients' name")
	}
	q := &inquiry{
		dial: d, check: c, identity: t.Identity,
		question: dns.Question{Name: dns.CanonicalName(name), Qtype: dns.StringToType[c.Type], Qclass: dns.ClassINET},
	}
	if who := t.Check.Identity.TXT; who != "" {
		q.who = dns.Question{Name: dns.CanonicalName(who), Qtype: dns.TypeTXT, Qclass: classOf(who)}
	}
	if c.Matches != "" {
		q.matches = regexp.MustCompile(c.Matches) // Validate has seen it
	}
	return q.probe, nil
}

// classOf is CHAOS for the names by which servers tell about themselves
// (RFC 4892) and IN for every other.
func classOf(name string) uint16 {
	top := dns.CanonicalName(name)
	if dns.IsSubDomain("server.", top) || dns.IsSubDomain("bind.", top) {
		return dns.ClassCHAOS
	}
	return dns.ClassINET
}

func (q *inquiry) probe(ctx context.Context) error {
	tr := traceOf(ctx)
	start := time.Now()
	var verdict error
	err := q.dial.each(ctx, tr, func(ctx context.Context, to netip.AddrPort) error {
		answer, err := q.ask(ctx, to, q.question, tr)
		if err != nil {
			return err
		}
		// Whoever answered is the cluster: other addresses are not asked.
		if verdict = q.judge(answer, tr); verdict == nil {
			verdict = q.askWho(ctx, to, tr)
		}
		return nil
	})
	tr.Answer = time.Since(start) - tr.Resolve
	if err = cmp.Or(err, verdict); err == nil {
		tr.Phase = PhaseDone
	}
	return err
}

// ask sends one question and returns its answer.
func (q *inquiry) ask(ctx context.Context, to netip.AddrPort, question dns.Question, tr *Trace) (*dns.Msg, error) {
	if q.check.Transport == "udp" {
		answer, err := q.over(ctx, "udp", to, question, tr)
		if err != nil || !answer.Truncated {
			return answer, err
		}
	}
	return q.over(ctx, "tcp", to, question, tr)
}

func (q *inquiry) over(ctx context.Context, network string, to netip.AddrPort, question dns.Question, tr *Trace) (*dns.Msg, error) {
	tr.Phase = PhaseConnect
	conn, err := q.dial.dial(ctx, network, to, tr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if tcp, ok := conn.(*net.TCPConn); ok {
		defer drop(tcp)
	}
	defer bind(ctx, conn)()
	m := &dns.Msg{Question: []dns.Question{question}}
	m.Id, m.RecursionDesired = dns.Id(), true // drawn from crypto/rand
	m.SetEdns0(udpSize, false)
	wire, err := m.Pack()
	if err != nil {
		return nil, Own(fmt.Errorf("make question: %w", err))
	}
	tr.Phase = PhaseWrite
	start := time.Now()
	c := &dns.Conn{Conn: conn} // knows the length before each message of TCP
	if _, err := c.Write(wire); err != nil {
		return nil, fmt.Errorf("ask over %s: %w", network, plain(err, limitOf(ctx, start)))
	}
	tr.Phase = PhaseRead
	answer, passed, err := await(c, m)
	if err == nil {
		return answer, nil
	}
	if limit := limitOf(ctx, start); !errors.Is(err, errMalformedAnswer) {
		err = plain(err, limit)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("connection closed before an answer")
	}
	if passed > 0 {
		err = fmt.Errorf("%w (%d answers to another question were passed over)", err, passed)
	}
	return nil, fmt.Errorf("read answer over %s: %w", network, err)
}

var errMalformedAnswer = errors.New("malformed answer")

// await reads until the answer to m comes. What has another number or repeats
// another question may be forged or late and is passed over: it is no miss.
func await(c *dns.Conn, m *dns.Msg) (answer *dns.Msg, passed int, err error) {
	// More than was asked for is read only to see that it is more.
	buf := make([]byte, 4*udpSize)
	for {
		wire := buf
		if _, tcp := c.Conn.(*net.TCPConn); tcp {
			wire, err = readFrame(c.Conn)
		} else {
			var n int
			n, err = c.Conn.Read(buf)
			wire = buf[:n]
		}
		if err != nil {
			return nil, passed, err
		}
		if answer, err = parseAnswer(wire, m); answer != nil || err != nil {
			return answer, passed, err
		}
		passed++
	}
}

// readFrame reads one message of DNS over TCP (RFC 1035 section 4.2.2); its
// length has 16 bits, so it is at most 64 KiB.
func readFrame(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	wire := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(r, wire)
	return wire, err
}

// parseAnswer returns the answer to m; nil and no error for what answers
// something else.
func parseAnswer(wire []byte, m *dns.Msg) (*dns.Msg, error) {
	if len(wire) < 12 || binary.BigEndian.Uint16(wire) != m.Id {
		return nil, nil
	}
	a := &dns.Msg{}
	if err := a.Unpack(wire); err != nil {
		return nil, fmt.Errorf("%w: %s", errMalformedAnswer, clean(err.Error(), 128))
	}
	if !a.Response || a.Opcode != m.Opcode {
		return nil, nil
	}
	// Servers may leave the question out of a refusal.
	if len(a.Question) == 0 && a.Rcode != dns.RcodeSuccess {
		return a, nil
	}
	if len(a.Question) != 1 {
		return nil, nil
	}
	got, want := a.Question[0], m.Question[0]
	if got.Qtype != want.Qtype || got.Qclass != want.Qclass || dns.CanonicalName(got.Name) != want.Name {
		return nil, nil
	}
	return a, nil
}

// judge looks at the code first and then at the records of the type.
func (q *inquiry) judge(a *dns.Msg, tr *Trace) error {
	tr.Phase = PhaseStatus
	if got := rcodeText(a.Rcode); got != q.check.Rcode {
		return fmt.Errorf("answered %s, want %s", got, q.check.Rcode)
	}
	if q.check.Rcode != "NOERROR" {
		return nil
	}
	tr.Phase = PhaseBody
	data := records(a, q.question.Qtype)
	if len(data) == 0 {
		return fmt.Errorf("no %s record in the answer", q.check.Type)
	}
	if c := q.check.Contains; c != "" && !slices.ContainsFunc(data, func(s string) bool { return strings.Contains(s, c) }) {
		return fmt.Errorf("no %s record holds %s, got %s", q.check.Type, quote(c), some(data))
	}
	if q.matches != nil && !slices.ContainsFunc(data, q.matches.MatchString) {
		return fmt.Errorf("no %s record matches %q, got %s", q.check.Type, q.matches, some(data))
	}
	return nil
}

// askWho asks for the TXT record that holds the identity.
func (q *inquiry) askWho(ctx context.Context, to netip.AddrPort, tr *Trace) error {
	if q.who.Name == "" {
		return nil
	}
	a, err := q.ask(ctx, to, q.who, tr)
	if err != nil {
		return fmt.Errorf("ask for %s: %w", q.who.Name, err)
	}
	tr.Phase = PhaseIdentity
	texts := records(a, dns.TypeTXT)
	if a.Rcode != dns.RcodeSuccess || len(texts) == 0 {
		return fmt.Errorf("%w: no TXT record %s in the answer (%s), want %s", ErrWrongCluster, q.who.Name, rcodeText(a.Rcode), q.identity)
	}
	slices.Sort(texts)
	// Two different answers to who are none.
	if says := strings.Join(slices.Compact(texts), ", "); says != q.identity {
		return fmt.Errorf("%w: says %s, want %s", ErrWrongCluster, clean(says, 64), q.identity)
	}
	tr.Identity = true
	return nil
}

// records lists the data of the records of a type as zone files write it; of
// TXT the text itself.
func records(a *dns.Msg, kind uint16) []string {
	var out []string
	for _, rr := range a.Answer {
		if kind != dns.TypeANY && rr.Header().Rrtype != kind {
			continue
		}
		if txt, ok := rr.(*dns.TXT); ok {
			out = append(out, strings.Join(txt.Txt, ""))
			continue
		}
		out = append(out, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	return out
}

func rcodeText(rcode int) string {
	if s, ok := dns.RcodeToString[rcode]; ok {
		return s
	}
	return fmt.Sprintf("RCODE%d", rcode)
}

// some shows the first of many.
func some(data []string) string {
	const most = 3
	shown := make([]string, min(len(data), most))
	for i := range shown {
		shown[i] = clean(data[i], 64)
	}
	s := strings.Join(shown, ", ")
	if len(data) > most {
		s += fmt.Sprintf(" and %d more", len(data)-most)
	}
	return s
}
