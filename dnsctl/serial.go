package dnsctl

import (
	"context"
	"encoding/hex"
	"net/netip"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"pointsman/internal/failover"
)

// zoneAt is one zone at one address.
type zoneAt struct {
	zone failover.RecordName
	at   netip.AddrPort
}

// serialRound asks for the serial of each zone at each of its addresses, once
// however many names are in it. A serial is a hint and never a proof: providers
// count as they like, and some never count.
type serialRound struct {
	mu    sync.Mutex
	known map[zoneAt]uint32
}

func (s *serialRound) ask(ctx context.Context, g *errgroup.Group, names []VerifyName, timeout time.Duration) {
	todo := make(map[zoneAt]bool)
	for _, n := range names {
		for _, at := range n.Authorities {
			k := zoneAt{n.Zone, at}
			if n.Zone == "" || todo[k] {
				continue
			}
			todo[k] = true
			g.Go(func() error {
				serial := serialAt(ctx, k, timeout)
				s.mu.Lock()
				defer s.mu.Unlock()
				s.known[k] = serial
				return nil
			})
		}
	}
}

// serialAt is 0 when the address does not tell. Serial 0 is possible (RFC 1982)
// and no server begins there.
func serialAt(ctx context.Context, k zoneAt, timeout time.Duration) uint32 {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	q := ask{name: k.zone, at: k.at, net: "udp", qtype: dns.TypeSOA}
	r, err := q.exchange(ctx)
	if err == nil && r.Truncated {
		q.net = "tcp"
		r, err = q.exchange(ctx)
	}
	if err != nil || !r.Authoritative {
		return 0
	}
	for _, rr := range r.Answer {
		if soa, ok := rr.(*dns.SOA); ok && canonical(soa.Hdr.Name) == canonical(string(k.zone)) {
			return soa.Serial
		}
	}
	return 0
}

// nsid is the name of the machine that answered (RFC 5001): its octets as text
// where they are printable ASCII, else in hexadecimal.
func nsid(r *dns.Msg) string {
	opt := r.IsEdns0()
	if opt == nil {
		return ""
	}
	for _, o := range opt.Option {
		id, ok := o.(*dns.EDNS0_NSID)
		if !ok {
			continue
		}
		raw, err := hex.DecodeString(id.Nsid)
		if err != nil || len(raw) == 0 {
			return ""
		}
		if strings.IndexFunc(string(raw), func(c rune) bool { return c > unicode.MaxASCII || !unicode.IsPrint(c) }) >= 0 {
			return short("0x" + id.Nsid)
		}
		return short(string(raw))
	}
	return ""
}
