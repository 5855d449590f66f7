package dnsctl

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/miekg/dns"
)

// transport speaks to one server over TCP. TCP only: a UDP update that is
// sent twice because its answer was lost would fail its own prerequisite.
type transport struct {
	server  string
	timeout time.Duration
	signer  *signer // nil: plain
	// readOnly makes every update fail here, whoever asks for it, so that no
	// mistake further up can send one.
	readOnly bool
	now      func() time.Time
}

// session is one connection with the questions asked on it one after another.
type session struct {
	t    *transport
	conn net.Conn
	stop func() bool
	end  time.Time
}

// open connects. Its errors wrap ErrNotSent.
func (t *transport) open(ctx context.Context) (*session, error) {
	end := time.Now().Add(t.timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	d := net.Dialer{Deadline: end}
	conn, err := d.DialContext(ctx, "tcp", t.server)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w (%w)", t.server, ErrNotSent, err)
	}
	s := &session{t: t, conn: conn, end: end}
	if err := conn.SetDeadline(end); err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect to %s: %w (%w)", t.server, ErrNotSent, err)
	}
	// A cancelled context ends a read at once instead of at its deadline.
	s.stop = context.AfterFunc(ctx, func() { conn.Close() })
	return s, nil
}

func (s *session) close() {
	s.stop()
	s.conn.Close()
}

// ask sends m and returns the answer to it. An error wraps ErrNotSent when no
// octet left, else ErrNoAnswer, ErrMalformed, ErrUnsigned, ErrSignature or
// ErrClock. With ErrUnsigned the answer is returned too: a denial that cannot
// be signed (BADKEY, BADSIG) still says something to people.
func (s *session) ask(m *dns.Msg) (*dns.Msg, error) {
	t := s.t
	if t.readOnly && m.Opcode == dns.OpcodeUpdate {
		return nil, fmt.Errorf("%w: %w", ErrNotSent, ErrReadOnly)
	}
	var (
		wire []byte
		mac  string
		err  error
	)
	if t.signer != nil {
		wire, mac, err = t.signer.sign(m, t.now().Unix())
	} else {
		wire, err = m.Pack()
	}
	if err != nil {
		return nil, fmt.Errorf("pack: %w (%w)", ErrNotSent, err)
	}
	frame := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(wire)), uint16(len(wire)))
	if n, err := s.conn.Write(append(frame, wire...)); err != nil {
		if n == 0 {
			return nil, fmt.Errorf("send to %s: %w (%w)", t.server, ErrNotSent, err)
		}
		return nil, fmt.Errorf("send to %s: %w (%w)", t.server, ErrNoAnswer, err)
	}
	var length [2]byte
	if _, err := io.ReadFull(s.conn, length[:]); err != nil {
		return nil, fmt.Errorf("answer of %s: %w (%w)", t.server, ErrNoAnswer, plain(err))
	}
	p := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(s.conn, p); err != nil {
		return nil, fmt.Errorf("answer of %s: %w (%w)", t.server, ErrNoAnswer, plain(err))
	}
	r, err := unpack(p)
	if err != nil {
		return nil, fmt.Errorf("answer of %s: %w", t.server, err)
	}
	if r.Id != m.Id || !r.Response || r.Opcode != m.Opcode {
		return nil, fmt.Errorf("answer of %s: %w: it belongs to another request", t.server, ErrMalformed)
	}
	if t.signer != nil {
		if err := t.signer.check(p, r, mac); err != nil {
			err = fmt.Errorf("answer of %s: %w", t.server, err)
			if errors.Is(err, ErrUnsigned) {
				return r, err
			}
			return nil, err
		}
	}
	return r, nil
}

// plain says what happened to a connection in a word that people know.
func plain(err error) error {
	var ne net.Error
	switch {
	case errors.As(err, &ne) && ne.Timeout():
		return errors.New("timed out")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection was closed")
	case errors.Is(err, net.ErrClosed):
		return context.Canceled
	}
	return err
}

// headerSize is the length of a DNS header (RFC 1035 section 4.1.1).
const headerSize = 12

// unpack reads a packet that may come from anybody. The library forgives
// counts in the header that the body does not bear out; here that is a fault,
// because an answer cut short must never look like a name without a record.
func unpack(p []byte) (*dns.Msg, error) {
	if len(p) < headerSize {
		return nil, fmt.Errorf("%w: %d octets are no message", ErrMalformed, len(p))
	}
	m := new(dns.Msg)
	if err := m.Unpack(p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	for i, n := range []int{len(m.Question), len(m.Answer), len(m.Ns), len(m.Extra)} {
		if said := int(binary.BigEndian.Uint16(p[4+2*i:])); said != n {
			return nil, fmt.Errorf("%w: a section of %d records holds %d", ErrMalformed, said, n)
		}
	}
	return m, nil
}
