package authority

import (
	"strings"
	"sync/atomic"

	"github.com/miekg/dns"
)

// kind says what may stand at a name.
type kind int8

const (
	empty   kind = iota // an empty non-terminal: exists only because something stands below it (RFC 8020)
	static              // apex and hosts
	managed             // the CNAME of a record
	mark                // the TXT beside a managed name
)

// node is one name of a zone. The nodes of a tree are all there before it is
// served and stay in it.
type node struct {
	kind kind
	name string // lower case, fully qualified
	key  key    // the same
	zone *zone

	sets map[uint16][]dns.RR // of a static node
	glue []dns.RR            // addresses of the name servers, at the apex

	packed *answers              // of a static or empty node
	shown  atomic.Pointer[shown] // of a managed node; nil until published
	owner  *node                 // of a mark: the managed node whose mark it is
	beside *node                 // of a managed node: its mark
	nodata *template             // NOERROR with nothing but the SOA

	leftOver bool // managed, but only because a record still has it
	place    int  // among the managed names of its zone, see namesOf
	behind   bool // with Server.publishing: the last commit of it was refused
}

// zone is the apex with its serial and its count of denials, which outlive the
// tree.
type zone struct {
	name   string
	soa    dns.SOA
	serial *serial
	absent *template // NXDOMAIN of any name
	denied *atomic.Uint64
	rights rights

	// With Server.publishing:
	stamped bool // the serial stands for what the zone shows
	grown   bool // a name without a record is new, see toHandOut
	last    *snapshot
	fixed   []dns.RR // see fixedOf
	names   []*node  // see namesOf
}

// serial is a zone's serial. It is unknown until Load or Publish brings one,
// and afterwards only rises in the order of RFC 1982.
type serial struct{ v atomic.Uint64 }

const serialKnown = 1 << 32

func (s *serial) get() (uint32, bool) {
	v := s.v.Load()
	return uint32(v), v&serialKnown != 0
}

func (s *serial) known() bool { return s.v.Load()&serialKnown != 0 }

// raise takes n if it is the first or a later one, and says whether the serial
// is now n. Callers hold the publishing lock.
func (s *serial) raise(n uint32) bool {
	now, known := s.get()
	if known && n != now && int32(n-now) <= 0 {
		return false
	}
	s.v.Store(serialKnown | uint64(n))
	return true
}

// soaRR returns the SOA with the serial of this moment; ok is false while the
// serial is unknown.
func (z *zone) soaRR() (rr *dns.SOA, ok bool) {
	soa := z.soa
	soa.Serial, ok = z.serial.get()
	return &soa, ok
}

// negativeSOA is the SOA of an answer that says no: its TTL bounds how long
// the no is remembered (RFC 2308 section 3).
func (z *zone) negativeSOA() (rr *dns.SOA, ok bool) {
	rr, ok = z.soaRR()
	rr.Hdr.Ttl = min(rr.Hdr.Ttl, rr.Minttl)
	return rr, ok
}

// tree is every name that is served.
type tree struct {
	zones map[key]*zone
	nodes map[key]*node

	managedNodes []*node      // in the order of the configuration, then the left-overs
	retired      map[key]bool // names that may go although a record has them
}

// find returns the node of a name, or the zone that it would stand in, or
// neither.
func (t *tree) find(k key) (*node, *zone) {
	if n := t.nodes[k]; n != nil {
		return n, n.zone
	}
	for {
		if z := t.zones[k]; z != nil {
			return nil, z
		}
		if len(k) <= 1 {
			return nil, nil
		}
		k = k.parent()
	}
}

// newTree builds the names of a validated configuration. Zones that stand in
// the tree before it keep their serials; before may be nil.
func newTree(zones []Zone, before *tree) (*tree, error) {
	t := &tree{zones: make(map[key]*zone), nodes: make(map[key]*node), retired: make(map[key]bool)}
	for i := range zones {
		if err := t.addZone(&zones[i], before); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// packAll packs what does not depend on records, once all names are there.
func (t *tree) packAll() error {
	for _, z := range t.zones {
		if err := z.packAbsent(); err != nil {
			return err
		}
	}
	for _, n := range t.nodes {
		if err := t.packStatic(n); err != nil {
			return err
		}
	}
	return nil
}

func (t *tree) addZone(c *Zone, before *tree) error {
	name := strings.ToLower(string(c.Name))
	header := func(owner string, rrtype uint16) dns.RR_Header {
		return dns.RR_Header{Name: owner, Rrtype: rrtype, Class: dns.ClassINET, Ttl: c.TTL}
	}
	z := &zone{name: name, soa: dns.SOA{
		Hdr: header(name, dns.TypeSOA), Ns: strings.ToLower(string(c.NS[0])), Mbox: strings.ToLower(string(c.Hostmaster)),
		Refresh: c.Refresh, Retry: c.Retry, Expire: c.Expire, Minttl: c.Minimum,
	}}
	k, err := keyOf(name)
	if err != nil {
		return err
	}
	t.zones[k] = z
	z.serial, z.denied, z.rights = new(serial), new(atomic.Uint64), rightsOf(c)
	if before != nil && before.zones[k] != nil {
		z.serial, z.denied = before.zones[k].serial, before.zones[k].denied
	}
	for _, name := range c.Retired {
		k, err := keyOf(string(name))
		if err != nil {
			return err
		}
		t.retired[k] = true
	}
	apex, err := t.add(z, name, static)
	if err != nil {
		return err
	}
	for _, ns := range c.NS {
		apex.sets[dns.TypeNS] = append(apex.sets[dns.TypeNS],
			&dns.NS{Hdr: header(name, dns.TypeNS), Ns: strings.ToLower(string(ns))})
	}
	for host, addrs := range c.Hosts {
		owner := strings.ToLower(string(host))
		n, err := t.add(z, owner, static)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			if a = a.Unmap(); a.Is4() {
				n.sets[dns.TypeA] = append(n.sets[dns.TypeA], &dns.A{Hdr: header(owner, dns.TypeA), A: a.AsSlice()})
			} else {
				n.sets[dns.TypeAAAA] = append(n.sets[dns.TypeAAAA], &dns.AAAA{Hdr: header(owner, dns.TypeAAAA), AAAA: a.AsSlice()})
			}
		}
	}
	for _, m := range c.Names {
		if _, err := t.addManaged(z, strings.ToLower(string(m))); err != nil {
			return err
		}
	}
	for _, rr := range apex.sets[dns.TypeNS] {
		k, err := keyOf(rr.(*dns.NS).Ns)
		if err != nil {
			return err
		}
		if host := t.nodes[k]; host != nil && host.zone == z {
			apex.glue = append(apex.glue, host.sets[dns.TypeA]...)
			apex.glue = append(apex.glue, host.sets[dns.TypeAAAA]...)
		}
	}
	return nil
}

// addManaged makes a managed name and the name of its mark.
func (t *tree) addManaged(z *zone, owner string) (*node, error) {
	n, err := t.add(z, owner, managed)
	if err != nil {
		return nil, err
	}
	beside, err := t.add(z, markLabel+owner, mark)
	if err != nil {
		return nil, err
	}
	beside.owner, n.beside = n, beside
	t.managedNodes = append(t.managedNodes, n)
	return n, nil
}

// add makes a node, with the empty ones between it and its apex, or gives an
// empty one its kind.
func (t *tree) add(z *zone, name string, what kind) (*node, error) {
	k, err := keyOf(name)
	if err != nil {
		return nil, err
	}
	n := t.nodes[k]
	if n == nil {
		n = &node{name: name, key: k, zone: z}
		t.nodes[k] = n
	}
	if n.kind == empty {
		n.kind = what
	}
	if what == static && n.sets == nil {
		n.sets = make(map[uint16][]dns.RR)
	}
	if name != z.name {
		if i := strings.IndexByte(name, '.'); t.nodes[k.parent()] == nil {
			_, err = t.add(z, name[i+1:], empty)
		}
	}
	return n, err
}
