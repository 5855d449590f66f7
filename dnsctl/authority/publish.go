package authority

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

var (
	// ErrConfig: the configuration has faults; each is listed with its key.
	ErrConfig = errors.New("authority configuration")
	// ErrRefused: a record cannot be shown. Nothing of it was published and
	// every name answers what it did.
	ErrRefused = errors.New("record refused by the authority")
	// ErrStale: a newer record of the name is already shown. Nothing of the
	// older one was published.
	ErrStale = errors.New("older than what the authority shows")
	// ErrNotServed: a name is marked embedded and is in none of the zones.
	// Everything else of the record was published.
	ErrNotServed = errors.New("name not served by the authority")
	// ErrSerial: a serial would go backwards (RFC 1982), so the zone keeps its
	// own. Everything else was published.
	ErrSerial = errors.New("zone serial would go backwards")
	// ErrNotListening: Run was called before Listen.
	ErrNotListening = errors.New("authority does not listen yet")
)

// errOwnPast is the ErrStale of an instance that is ahead of the record.
var errOwnPast = fmt.Errorf("%w", ErrStale)

const maxMark = 1024 // octets; a mark is some sixty

// Source is where the committed records are read from at the start.
type Source interface {
	// Records returns every committed record.
	Records(ctx context.Context) ([]failover.Record, error)
	// Stamp returns the serial of a zone after raising it, if the fingerprint
	// of what no record tells is another than the last time. With an error the
	// serial is what it was, 0 when there was none yet.
	Stamp(ctx context.Context, zone failover.RecordName, fingerprint string) (uint32, error)
	// Changes returns, in order, what changed in a zone since it had a serial.
	// An error says that this is not known.
	Changes(ctx context.Context, zone failover.RecordName, from uint32) ([]Change, error)
	// NoteWhole remembers for good that every name of a zone had a record.
	NoteWhole(ctx context.Context, zone failover.RecordName) error
	// WasWhole says whether that was ever so.
	WasWhole(zone failover.RecordName) bool
}

// Change is one name that changed what it shows when the zone went from one
// serial to the next.
type Change struct {
	Before, After uint32
	Name          failover.RecordName
	Was, Is       Showing
}

// Showing is what one name showed; without a value it did not stand in the
// zone.
type Showing struct {
	Value failover.Target
	TTL   uint32
	Mark  string // text beside the name; empty without one
}

// shown is what a managed name shows: its CNAME and its mark, always together.
type shown struct {
	instance failover.InstanceName
	rev      uint64
	token    failover.Token

	from   failover.NameRecord // what it was made of
	target key
	cname  dns.RR
	txt    dns.RR // nil without a mark

	packed, markPacked *answers
}

// Load shows everything that was committed so far. It goes on past a record or
// zone that cannot be shown and returns all such faults. A name of a served
// zone that only a record has is left over and shown too; names of other zones
// are passed over. After Reload it brings what was not served before; what is
// shown already and newer stays.
func (s *Server) Load(ctx context.Context, src Source) error {
	records, err := src.Records(ctx)
	if err != nil {
		return fmt.Errorf("read the committed records: %w", err)
	}
	errs := s.keepLeftOvers(records)
	// Serials first: answers that carry one can then be packed at once.
	s.publishing.Lock()
	s.source = src
	for _, z := range s.view.Load().tree.zones {
		z.grown = z.grown || src.WasWhole(failover.RecordName(z.name))
	}
	s.publishing.Unlock()
	errs = append(errs, s.stampAll(ctx, src)...)
	for _, r := range records {
		if err := s.publish(r, nil, listOff); err != nil && !errors.Is(err, ErrNotServed) && !errors.Is(err, errOwnPast) {
			errs = append(errs, err)
		}
	}
	s.couriers.tellAll()
	return errors.Join(errs...)
}

// Publish shows a committed record: each of its embedded names swaps to the
// new answer at once, then the zones take their new serials. With ErrRefused
// or ErrStale nothing was changed; with ErrNotServed or ErrSerial the rest was
// done. It may be called from several goroutines, also while queries are
// answered.
func (s *Server) Publish(rec failover.Record, serials map[failover.RecordName]uint32) error {
	return s.publish(rec, serials, listOn)
}

// lists says whether the lists of allowed targets bind. At the start they do
// not: what was committed under an older list still is the last commit.
type lists int8

const (
	listOff lists = iota
	listOn
)

func (s *Server) publish(rec failover.Record, serials map[failover.RecordName]uint32, l lists) (err error) {
	s.publishing.Lock()
	defer s.publishing.Unlock()

	v := s.view.Load()
	defer func() {
		v.tree.noteBehind(rec, err)
		s.published++
	}()
	next := make(map[*node]*shown)
	var refused, after []error
	for _, nr := range rec.Shown() {
		n := v.tree.managed(nr.Name)
		if n == nil && (v.tree.isRetired(nr.Name) || rec.Name(nr.Name) == nil) {
			continue // the configuration let go of it, or of its zone
		}
		if n == nil {
			after = append(after, fmt.Errorf("%w: %s of instance %s; list it under the zone's names", ErrNotServed, nr.Name, rec.Instance))
			continue
		}
		if err := n.shown.Load().newer(rec); err != nil {
			return fmt.Errorf("publish %s: %w", nr.Name, err)
		}
		sh, err := v.show(n, rec, nr, l)
		if err != nil {
			refused = append(refused, fmt.Errorf("%w: instance %s: %w", ErrRefused, rec.Instance, err))
			continue
		}
		next[n] = sh
	}
	for n := range next {
		if err := v.tree.loop(n, next); err != nil {
			refused = append(refused, fmt.Errorf("%w: instance %s: %w", ErrRefused, rec.Instance, err))
		}
	}
	if len(refused) == 0 {
		for n, sh := range next {
			if err := v.tree.packShown(n, sh); err != nil {
				refused = append(refused, fmt.Errorf("%w: instance %s: %w", ErrRefused, rec.Instance, err))
			}
		}
	}
	if len(refused) > 0 {
		return errors.Join(refused...)
	}
	for n, sh := range next {
		n.shown.Store(sh)
	}
	for _, name := range slices.Sorted(maps.Keys(serials)) {
		if z := v.tree.zone(name); z != nil {
			if err := s.raise(z, serials[name]); err != nil {
				after = append(after, err)
			}
			s.couriers.tell(z.name)
		}
	}
	return errors.Join(after...)
}

func (s *Server) raise(z *zone, n uint32) error {
	if z.serial.raise(n) {
		return nil
	}
	now, _ := z.serial.get()
	return fmt.Errorf("%w: %s is at %d, got %d", ErrSerial, z.name, now, n)
}

// newer refuses a record that is older than what is shown. Two instances that
// claim one name are ordered by their tokens, as everything outside is.
func (sh *shown) newer(rec failover.Record) error {
	switch {
	case sh == nil:
		return nil
	case sh.instance == rec.Instance && rec.Rev < sh.rev:
		return fmt.Errorf("%w: rev %d after rev %d", errOwnPast, rec.Rev, sh.rev)
	case sh.instance != rec.Instance && !sh.token.Less(rec.Token()):
		return fmt.Errorf("%w: instance %s with token %s after instance %s with token %s",
			ErrStale, rec.Instance, rec.Token(), sh.instance, sh.token)
	}
	return nil
}

// show makes what a name is to show, without the packed answers, or reuses
// them when nothing in it changed: most commits of an operation only note its
// progress.
func (v *view) show(n *node, rec failover.Record, nr failover.NameRecord, l lists) (*shown, error) {
	cur := n.shown.Load()
	if cur != nil && cur.from == nr {
		again := *cur
		again.instance, again.rev, again.token = rec.Instance, rec.Rev, rec.Token()
		return &again, nil
	}
	if l == listOn && (cur == nil || cur.from.Value != nr.Value) {
		if err := v.onList(nr.Name, nr.Value); err != nil {
			return nil, err
		}
	}
	target, err := v.tree.checkTarget(nr.Name, nr.Value)
	if err != nil {
		return nil, err
	}
	if nr.TTL > maxTTL {
		return nil, fmt.Errorf("ttl %d of %s is above %d seconds", nr.TTL, nr.Name, maxTTL)
	}
	sh := &shown{instance: rec.Instance, rev: rec.Rev, token: rec.Token(), from: nr, target: target}
	text := ""
	if nr.Mark != (failover.Mark{}) {
		text = nr.Mark.String()
		if len(text) > maxMark {
			return nil, fmt.Errorf("mark of %s has %d octets, at most %d are possible", nr.Name, len(text), maxMark)
		}
	}
	sh.cname, sh.txt = n.records(Showing{Value: nr.Value, TTL: nr.TTL, Mark: text})
	return sh, nil
}

// records makes the records of a managed name; txt is nil without a mark.
func (n *node) records(x Showing) (cname, txt dns.RR) {
	cname = &dns.CNAME{
		Hdr:    dns.RR_Header{Name: n.name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: x.TTL},
		Target: string(x.Value),
	}
	if x.Mark != "" {
		txt = &dns.TXT{
			Hdr: dns.RR_Header{Name: markLabel + n.name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: x.TTL},
			Txt: characterStrings(x.Mark),
		}
	}
	return cname, txt
}

// showing is what a name shows, as the journal has it.
func (sh *shown) showing() Showing {
	x := Showing{Value: sh.from.Value, TTL: sh.from.TTL}
	if sh.txt != nil {
		x.Mark = sh.from.Mark.String()
	}
	return x
}

// characterStrings cuts a text into pieces of 255 octets, with the escape that
// keeps a backslash what it is.
func characterStrings(text string) []string {
	var out []string
	for piece := range slices.Chunk([]byte(text), 255) {
		out = append(out, strings.ReplaceAll(string(piece), `\`, `\\`))
	}
	return out
}

// packShown packs the answers of a managed name and of its mark.
func (t *tree) packShown(n *node, sh *shown) error {
	if sh.packed != nil {
		return nil
	}
	var err error
	at := func(qtype uint16) *template {
		a := t.at(n, sh, qtype)
		if err != nil || !a.fixed {
			return nil
		}
		var p *template
		p, err = pack(n.name, n.key, qtype, a)
		return p
	}
	c, err := packAlone(n.key, sh.cname)
	if err != nil {
		return err
	}
	p := &answers{a: c, aaaa: c, cname: c, txt: c, soa: c, ns: c, any: c, rest: c}
	if _, ours := t.find(sh.target); ours != nil {
		none := at(dns.TypeNone)
		p = &answers{a: at(dns.TypeA), aaaa: at(dns.TypeAAAA), cname: c, txt: none, soa: none, ns: none, any: c, rest: none}
	}
	if err != nil {
		return err
	}
	none := n.beside.nodata
	m := &answers{a: none, aaaa: none, cname: none, txt: none, soa: none, ns: none, any: none, rest: none}
	if sh.txt != nil {
		m.txt, err = packAlone(n.beside.key, sh.txt)
		m.any = m.txt
	}
	sh.packed, sh.markPacked = p, m
	return err
}
