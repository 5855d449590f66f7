package healthcheck

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// ErrNoPing: this machine lets us send no echo requests.
var ErrNoPing = errors.New("icmp is not possible here")

const pingHint = `put our group into sysctl net.ipv4.ping_group_range (it is for IPv6 too), or grant CAP_NET_RAW`

// PingPossible returns ErrNoPing, with a hint, where probes of type icmp would
// meet a fault of our own each time.
func PingPossible() error {
	s, err := openPing(netip.MustParseAddr("127.0.0.1"))
	if err == nil {
		err = s.Close()
	}
	return err
}

// protocols of IP, for parsing.
const (
	protocolICMP   = 1
	protocolICMPv6 = 58
)

// echo is one request: who sees its reply knows that it was for this very
// probe.
type echo struct {
	v6   bool
	raw  bool // the socket is given what was meant for others too
	id   int
	seq  int
	data []byte
}

func newEcho(to netip.Addr, raw bool) echo {
	var random [20]byte
	rand.Read(random[:]) // never fails: see crypto/rand
	return echo{
		v6: to.Is6(), raw: raw,
		id: int(binary.BigEndian.Uint16(random[:])), seq: int(binary.BigEndian.Uint16(random[2:])), data: random[4:],
	}
}

func (e echo) marshal() ([]byte, error) {
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: e.id, Seq: e.seq, Data: e.data}}
	if e.v6 {
		m.Type = ipv6.ICMPTypeEchoRequest // the kernel adds the checksum
	}
	return m.Marshal(nil)
}

// answers says whether a packet is the reply. The kernel sets and compares the
// number of a ping socket itself, so there it is not ours.
func (e echo) answers(packet []byte) bool {
	protocol, reply := protocolICMP, icmp.Type(ipv4.ICMPTypeEchoReply)
	if e.v6 {
		protocol, reply = protocolICMPv6, ipv6.ICMPTypeEchoReply
	} else if e.raw {
		packet = payload(packet)
	}
	m, err := icmp.ParseMessage(protocol, packet)
	if err != nil || m.Type != reply || m.Code != 0 {
		return false
	}
	body, ok := m.Body.(*icmp.Echo)
	return ok && body.Seq == e.seq && (!e.raw || body.ID == e.id) && bytes.Equal(body.Data, e.data)
}

// payload cuts off the header that a raw IPv4 socket delivers.
func payload(packet []byte) []byte {
	if len(packet) < ipv4.HeaderLen || packet[0]>>4 != 4 {
		return nil
	}
	n := int(packet[0]&0x0f) << 2
	if n < ipv4.HeaderLen || n > len(packet) {
		return nil
	}
	return packet[n:]
}

// icmpProbe is healthy when an echo request is answered. The kernel of a
// stalled process answers too: it is meant beside another check.
func icmpProbe(d *dialer) Probe {
	return func(ctx context.Context) error {
		tr := traceOf(ctx)
		err := d.each(ctx, tr, func(ctx context.Context, to netip.AddrPort) error { return ping(ctx, to.Addr(), tr) })
		if err == nil {
			tr.Phase = PhaseDone
		}
		return err
	}
}

func ping(ctx context.Context, to netip.Addr, tr *Trace) error {
	tr.Phase = PhaseConnect
	start := time.Now()
	failed := func(err error) error { return fmt.Errorf("ping %s: %w", to, plain(err, limitOf(ctx, start))) }
	s, err := openPing(to)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.connect(to); err != nil {
		return failed(err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		s.SetDeadline(deadline)
	}
	defer context.AfterFunc(ctx, func() { s.SetDeadline(time.Unix(1, 0)) })()
	e := newEcho(to, s.raw)
	wire, err := e.marshal()
	if err != nil {
		return Own(fmt.Errorf("make echo request: %w", err))
	}
	tr.Phase = PhaseWrite
	if _, err := s.Write(wire); err != nil {
		return failed(err)
	}
	tr.Phase = PhaseRead
	var buf [1500]byte
	for {
		// A router's word that the host or its network is unreachable comes as
		// an error of the socket, as it does for TCP.
		n, err := s.Read(buf[:])
		if err != nil {
			return failed(err)
		}
		if e.answers(buf[:n]) {
			tr.Answer = time.Since(start)
			return nil
		}
	}
}
