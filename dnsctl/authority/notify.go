package authority

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// errRefused: nothing listens at the port of the secondary.
var errRefused = errors.New("connection refused")

// errStray: an answer on a stream that belongs to another question.
var errStray = errors.New("answer to another question")

// caller asks one secondary.
type caller struct {
	zone string
	to   netip.AddrPort
	from netip.Addr // to ask from, where we serve at one address only; may be invalid
	key  *tsigKey   // nil without one
	now  func() time.Time
}

// tell sends NOTIFY with the serial (RFC 1996) over UDP and, where no answer
// comes, over TCP. nil is an acknowledgement: an answer from there to this very
// message, NOERROR, and signed where the secondary has a key.
func (c *caller) tell(ctx context.Context, soa *dns.SOA, wait time.Duration) error {
	m := new(dns.Msg).SetNotify(c.zone)
	m.Answer = []dns.RR{soa}
	r, err := c.ask(ctx, m, wait)
	switch {
	case err != nil:
		return err
	case r.Rcode != dns.RcodeSuccess:
		return fmt.Errorf("it says %s: does it know this server as a primary of %s?", rcodeName(r.Rcode), c.zone)
	}
	return nil
}

// look asks for the serial that the secondary serves.
func (c *caller) look(ctx context.Context, wait time.Duration) (uint32, error) {
	m := new(dns.Msg).SetQuestion(c.zone, dns.TypeSOA)
	m.RecursionDesired = false
	r, err := c.ask(ctx, m, wait)
	if err != nil {
		return 0, err
	}
	if r.Rcode != dns.RcodeSuccess {
		return 0, fmt.Errorf("it says %s", rcodeName(r.Rcode))
	}
	for _, rr := range r.Answer {
		if soa, ok := rr.(*dns.SOA); ok && r.Authoritative && dns.CanonicalName(soa.Hdr.Name) == c.zone {
			return soa.Serial, nil
		}
	}
	return 0, errors.New("it does not answer for the zone")
}

func (c *caller) ask(ctx context.Context, m *dns.Msg, wait time.Duration) (*dns.Msg, error) {
	if c.key != nil && c.key.raw == nil {
		return nil, fmt.Errorf("the secret of the key %s is missing", c.key.name)
	}
	r, err := c.over(ctx, "udp", m, wait)
	if err == nil && !r.Truncated || ctx.Err() != nil {
		return r, err
	}
	r, err2 := c.over(ctx, "tcp", m, wait)
	if err2 != nil && err != nil {
		if err.Error() == err2.Error() {
			return nil, fmt.Errorf("%w, over UDP and TCP", err)
		}
		return nil, fmt.Errorf("%w over UDP, %w over TCP", err, err2)
	}
	return r, err2
}

// over asks over one transport. What does not fit is ignored over UDP, until
// the time is over: whoever guesses must hit the port, the id and the question.
func (c *caller) over(ctx context.Context, network string, ask *dns.Msg, wait time.Duration) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	m := ask.Copy()
	m.Id = dns.Id()
	wire, mac, err := c.pack(m)
	if err != nil {
		return nil, err
	}
	conn, err := c.dial(ctx, network)
	if err != nil {
		return nil, c.said(ctx, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	dc := &dns.Conn{Conn: conn, UDPSize: queryOctets}
	if _, err := dc.Write(wire); err != nil {
		return nil, c.said(ctx, err)
	}
	for {
		p, err := dc.ReadMsgHeader(nil)
		if errors.Is(err, dns.ErrShortRead) && network == "udp" {
			continue
		}
		if err != nil {
			return nil, c.said(ctx, err)
		}
		r, err := c.read(p, m, mac)
		switch {
		case err == nil:
			return r, nil
		case network == "tcp" || errors.Is(err, errUnsigned):
			return nil, err
		}
	}
}

func (c *caller) dial(ctx context.Context, network string) (net.Conn, error) {
	var d net.Dialer
	if c.from.IsValid() {
		if network == "udp" {
			d.LocalAddr = &net.UDPAddr{IP: c.from.AsSlice()}
		} else {
			d.LocalAddr = &net.TCPAddr{IP: c.from.AsSlice()}
		}
	}
	return d.DialContext(ctx, network, c.to.String())
}

func (c *caller) pack(m *dns.Msg) (wire []byte, mac string, err error) {
	if c.key == nil {
		wire, err = m.Pack()
		return wire, "", err
	}
	m.SetTsig(c.key.name, c.key.algorithm, maxFudge, c.now().Unix())
	return dns.TsigGenerateWithProvider(m, c.key, "", false)
}

var errUnsigned = errors.New("the answer bears no signature that holds")

// read accepts an answer to m only.
func (c *caller) read(wire []byte, m *dns.Msg, mac string) (*dns.Msg, error) {
	r := new(dns.Msg)
	if err := r.Unpack(wire); err != nil {
		return nil, fmt.Errorf("malformed answer: %w", err)
	}
	if !r.Response || r.Id != m.Id || r.Opcode != m.Opcode || len(r.Question) != 1 ||
		r.Question[0].Qtype != dns.TypeSOA || r.Question[0].Qclass != dns.ClassINET ||
		dns.CanonicalName(r.Question[0].Name) != c.zone {
		return nil, errStray
	}
	if c.key == nil {
		return r, nil
	}
	sig := keyring{c.key.name: c.key}.verify(wire, r, mac, c.now())
	if sig.proof != proved {
		if sig.rr != nil && sig.rr.Error != 0 {
			return nil, fmt.Errorf("%w: %s, with the key %s refused as %s", errUnsigned, rcodeName(r.Rcode), c.key.name, tsigErrorName(sig.rr.Error))
		}
		return nil, fmt.Errorf("%w: %s", errUnsigned, rcodeName(r.Rcode))
	}
	return r, nil
}

func tsigErrorName(code uint16) string {
	switch code {
	case dns.RcodeBadSig:
		return "BADSIG"
	case badTrunc:
		return "BADTRUNC"
	}
	if name := dns.RcodeToString[int(code)]; name != "" {
		return name
	}
	return fmt.Sprint(code)
}

// said tells the end of the time from other faults, whichever of the two the
// socket noticed first, and leaves out addresses that stand beside it anyhow.
func (c *caller) said(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("no answer in time")
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return errRefused // whichever call was told so
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}
