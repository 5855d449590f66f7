package authority

import (
	"context"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

// increment is what leads from the zone of a secondary to a snapshot, in one
// condensed step (RFC 1995 sections 4 and 5).
type increment struct {
	from, to *dns.SOA
	gone     []dns.RR
	come     []dns.RR
}

// increment returns nil when the whole zone must be given: when the journal
// does not lead from there to this very snapshot, and when it would not be
// shorter.
func (s *Server) increment(sn *snapshot, since *dns.SOA) *increment {
	s.publishing.Lock()
	src, t := s.source, s.view.Load().tree
	s.publishing.Unlock()
	if src == nil || t.zones[sn.apex] != sn.zone {
		return nil
	}
	// The journal is memory to its owner. It may be ahead of the snapshot.
	changes, err := src.Changes(context.Background(), failover.RecordName(sn.zone.name), since.Serial)
	if err != nil {
		return nil
	}
	type pair struct{ was, is Showing }
	net := make(map[*node]*pair)
	var order []*node
	at := since.Serial
	for _, c := range changes {
		if at == sn.serial && c.Before == at {
			break
		}
		at = c.After
		n := t.managed(c.Name)
		if n == nil || n.zone != sn.zone {
			continue // a name that the configuration did not know all the while
		}
		p := net[n]
		if p == nil {
			p = &pair{was: c.Was}
			net[n], order = p, append(order, n)
		} else if p.is != c.Was {
			return nil
		}
		p.is = c.Is
	}
	if at != sn.serial || 2*len(order) > len(sn.names) && len(order) > 1 {
		return nil
	}
	from := *sn.soa
	from.Serial = since.Serial
	d := &increment{from: &from, to: sn.soa}
	for _, n := range order {
		p := net[n]
		if sh := sn.of(n); sh == nil || sh.showing() != p.is {
			return nil // never a step to what is not shown
		}
		if p.was == p.is {
			continue
		}
		was, wasTXT := n.records(p.was)
		is, isTXT := n.records(p.is)
		if p.was.Value != "" {
			d.gone = appendRR(d.gone, was, wasTXT)
		}
		d.come = appendRR(d.come, is, isTXT)
	}
	return d
}

func appendRR(to []dns.RR, rrs ...dns.RR) []dns.RR {
	for _, rr := range rrs {
		if rr != nil {
			to = append(to, rr)
		}
	}
	return to
}

// each calls f with every record of the answer, in order.
func (d *increment) each(f func(dns.RR) error) error {
	for _, part := range [][]dns.RR{{d.to, d.from}, d.gone, {d.to}, d.come, {d.to}} {
		for _, rr := range part {
			if err := f(rr); err != nil {
				return err
			}
		}
	}
	return nil
}

// octets bounds the length of the answer from above.
func (d *increment) octets() int {
	n := 0
	_ = d.each(func(rr dns.RR) error { n += dns.Len(rr); return nil })
	return n
}
