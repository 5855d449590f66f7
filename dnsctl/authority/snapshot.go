package authority

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

// errNotReady: a zone cannot be handed on as a whole.
var errNotReady = errors.New("zone is not whole")

// snapshot is a whole zone at one moment. It holds pointers to what the names
// show, which never changes under them, and is shared by all who ask between
// two publications.
type snapshot struct {
	zone   *zone
	apex   key
	at     uint64 // publications until then
	serial uint32
	soa    *dns.SOA
	fixed  []dns.RR
	names  []*node
	grown  bool     // see toHandOut; where it is false no name is missing
	shown  []*shown // beside names; nil for one that is new and has no record yet
}

// snapshot returns the zone as it is now. The error says why it is not whole:
// a secondary must never get a zone in which names are missing that it may have,
// or one that is not what was committed under its serial.
func (s *Server) snapshot(apex key) (*snapshot, error) {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	t := s.view.Load().tree
	z := t.zones[apex]
	if z == nil {
		return nil, fmt.Errorf("%w: it is not served any more", errNotReady)
	}
	soa, err := z.soaToHandOut()
	if err != nil {
		return nil, err
	}
	if last := z.last; last != nil && last.at == s.published && last.serial == soa.Serial {
		return last, nil
	}
	sn := &snapshot{zone: z, apex: apex, at: s.published, serial: soa.Serial, soa: soa, fixed: t.fixedOf(z), names: t.namesOf(z), grown: z.grown}
	sn.shown = make([]*shown, len(sn.names))
	for i, n := range sn.names {
		sh := n.shown.Load()
		switch {
		case n.behind:
			return nil, fmt.Errorf("%w: the last commit of %s was refused", errNotReady, n.name)
		case sh == nil && !z.grown:
			return nil, fmt.Errorf("%w: no record yet for %s", errNotReady, n.name)
		}
		sn.shown[i] = sh
	}
	z.last = sn
	return sn, nil
}

// soaToHandOut is the SOA of this moment, if its serial stands for what the zone
// shows. Callers hold the publishing lock.
func (z *zone) soaToHandOut() (*dns.SOA, error) {
	soa, ok := z.soaRR()
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: %s was not loaded", errNotReady, z.name)
	case !z.stamped:
		return nil, fmt.Errorf("%w: the serial of %s does not stand for this configuration yet", errNotReady, z.name)
	}
	return soa, nil
}

// each calls f with every record of the zone, the SOA first and last (RFC 5936
// section 2.2).
func (sn *snapshot) each(f func(dns.RR) error) error {
	if err := f(sn.soa); err != nil {
		return err
	}
	for _, rr := range sn.fixed {
		if err := f(rr); err != nil {
			return err
		}
	}
	for _, sh := range sn.shown {
		if sh == nil {
			continue
		}
		if err := sh.each(f); err != nil {
			return err
		}
	}
	return f(sn.soa)
}

func (sh *shown) each(f func(dns.RR) error) error {
	if err := f(sh.cname); err != nil || sh.txt == nil {
		return err
	}
	return f(sh.txt)
}

// of is what a name shows in the snapshot, or nil.
func (sn *snapshot) of(n *node) *shown {
	if n.zone != sn.zone || n.place >= len(sn.shown) || sn.names[n.place] != n {
		return nil
	}
	return sn.shown[n.place]
}

// toHandOut is the snapshot for a secondary.
//
// A name without a record is new in a zone that is grown, of which every name
// had one at some time, as the ledger remembers. It is left out until its first
// record: secondaries do not have it either. In a zone that is not grown the
// ledger itself may be new, in place of one that was lost; the secondaries then
// may have every name, and one that were left out would vanish from the world.
//
// It may wait for the commit in hand where the zone is whole for the first time.
func (s *Server) toHandOut(apex key) (*snapshot, error) {
	sn, err := s.snapshot(apex)
	if err != nil || sn.grown {
		return sn, err
	}
	s.publishing.Lock()
	src := s.source
	s.publishing.Unlock()
	// What cannot be remembered is tried again with the next snapshot.
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if src != nil && src.NoteWhole(ctx, failover.RecordName(sn.zone.name)) == nil {
		s.publishing.Lock()
		sn.zone.grown, sn.zone.last = true, nil
		s.publishing.Unlock()
	}
	return sn, nil
}

// noteBehind remembers which names do not show what a record says.
func (t *tree) noteBehind(rec failover.Record, err error) {
	refused := errors.Is(err, ErrRefused)
	for _, nr := range rec.Shown() {
		if n := t.managed(nr.Name); n != nil && !errors.Is(err, ErrStale) {
			n.behind = refused
		}
	}
}

// keepStamps lets the zones keep what is known of them from the tree before:
// that they are grown, and their stamps where they are what they were.
func (t *tree) keepStamps(before *tree) {
	for k, z := range t.zones {
		was := before.zones[k]
		if was == nil {
			continue
		}
		z.grown = was.grown
		z.stamped = was.stamped && before.fingerprint(was) == t.fingerprint(z)
	}
}

// fingerprint changes with everything in a zone that no commit changes: the
// numbers of the SOA, the static records and the set of managed names. Callers
// hold the publishing lock.
func (t *tree) fingerprint(z *zone) string {
	h := sha256.New()
	fmt.Fprintln(h, z.soa.String())
	for _, rr := range t.fixedOf(z) {
		fmt.Fprintln(h, rr.String())
	}
	var names []string
	for _, n := range t.namesOf(z) {
		names = append(names, n.name)
	}
	slices.Sort(names)
	fmt.Fprintln(h, names)
	return hex.EncodeToString(h.Sum(nil))
}

// fixedOf lists the records of a zone that come from the configuration,
// without the SOA, sorted by name and type.
func (t *tree) fixedOf(z *zone) []dns.RR {
	if z.fixed != nil {
		return z.fixed
	}
	for _, k := range slices.Sorted(maps.Keys(t.nodes)) {
		n := t.nodes[k]
		if n.zone != z {
			continue
		}
		for _, rrtype := range slices.Sorted(maps.Keys(n.sets)) {
			z.fixed = append(z.fixed, n.sets[rrtype]...)
		}
	}
	return z.fixed
}

// namesOf lists the managed names of a zone.
func (t *tree) namesOf(z *zone) []*node {
	if z.names == nil {
		for _, n := range t.managedNodes {
			if n.zone == z {
				n.place = len(z.names)
				z.names = append(z.names, n)
			}
		}
	}
	return z.names
}
