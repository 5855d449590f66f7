package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"pointsman/internal/failover"
)

// journalRows is how many changes of names are kept for each zone. A server
// that is further behind gets the zone as a whole.
const journalRows = 4096

// ErrCut: what happened in the zone since that serial is not known any more.
var ErrCut = errors.New("changes since that serial are not known")

// Showing is what one embedded name showed; without a value it did not stand
// in the zone.
type Showing struct {
	Value failover.Target
	TTL   uint32 // seconds
	Mark  string // text beside the name; empty without one
}

// Change is one name that changed what it shows when the zone went from one
// serial to the next. Several names may change in one such step.
type Change struct {
	Zone          failover.RecordName
	Before, After uint32 // serials
	Name          failover.RecordName
	Was, Is       Showing
}

// journal is the newest changes of one zone, oldest first. They form a chain:
// each step begins at the serial at which the one before it ended.
type journal struct {
	changes []numbered
}

// numbered is a change with its key in the file.
type numbered struct {
	Change
	id int64
}

// Changes returns what happened in a zone since it had a serial, in order;
// nothing when it has that serial still. ErrCut says that this is not known:
// it is too long ago, the serial was never given out, or the zone changed in
// ways that no record tells.
func (s *Store) Changes(_ context.Context, zone failover.RecordName, from uint32) ([]Change, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.serials[zone] == from && from != 0 {
		return nil, nil
	}
	all := s.journals[zone].changes
	at := slices.IndexFunc(all, func(c numbered) bool { return c.Before == from })
	if at < 0 {
		return nil, fmt.Errorf("%w: %s at %d", ErrCut, zone, from)
	}
	out := make([]Change, 0, len(all)-at)
	for _, c := range all[at:] {
		out = append(out, c.Change)
	}
	return out, nil
}

// Stamp ties the serial of a zone to its static part, of which the caller
// gives a fingerprint: hosts, name servers, the numbers of the SOA, the set of
// names. When that is not what it was at the last Stamp, the serial rises and
// the chain of changes is cut, durably, so that nobody who holds an earlier
// serial takes the zone for unchanged. The serial rises, too, when two records
// claim one name of the zone, because then the records alone do not say what
// it shows. It returns the serial of the zone.
//
// ErrPoisoned: the serial could not be raised and does not stand for the
// zone; it is returned as it is.
func (s *Store) Stamp(ctx context.Context, zone failover.RecordName, fingerprint string) (uint32, error) {
	if err := s.takeTurn(ctx); err != nil {
		return 0, fmt.Errorf("stamp %s: %w", zone, err)
	}
	defer s.endTurn()
	s.mu.RLock()
	serial, was := s.serials[zone], s.statics[zone]
	disputed := s.disputed(zone)
	s.mu.RUnlock()
	if serial != 0 && was == fingerprint && !disputed {
		return serial, nil
	}
	if s.isClosed() {
		return serial, fmt.Errorf("stamp %s: %w", zone, ErrClosed)
	}
	if err := s.Poisoned(); err != nil {
		return serial, fmt.Errorf("stamp %s: %w", zone, err)
	}
	next := nextSerial(serial, s.cfg.clock())
	err := s.transact(func() error {
		return errors.Join(
			s.writeSerial(zone, next),
			s.disk.exec("INSERT INTO statics (zone, fingerprint) VALUES (?, ?) ON CONFLICT (zone) DO UPDATE SET fingerprint = excluded.fingerprint",
				string(zone), fingerprint),
			s.disk.exec("DELETE FROM journal WHERE zone = ?", string(zone)),
		)
	})
	if err != nil {
		return serial, fmt.Errorf("stamp %s: %w", zone, s.poisonWith(err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serials[zone], s.statics[zone] = next, fingerprint
	delete(s.journals, zone)
	return next, nil
}

// disputed says whether two records claim one embedded name of a zone. The
// caller holds mu.
func (s *Store) disputed(zone failover.RecordName) bool {
	for name, by := range s.claims {
		if len(by) > 1 && slices.ContainsFunc(by, func(i failover.InstanceName) bool { return s.embeds(i, name, zone) }) {
			return true
		}
	}
	return false
}

func (s *Store) embeds(i failover.InstanceName, name, zone failover.RecordName) bool {
	r := s.records[i]
	sh, ok := embedded(&r)[name]
	return ok && sh.zone == zone
}

// claim notes which embedded names a record has. The caller holds mu, or is
// alone.
func (s *Store) claim(before, after *failover.Record) {
	was, is := embedded(before), embedded(after)
	for name := range was {
		if _, ok := is[name]; !ok {
			s.claims[name] = slices.DeleteFunc(s.claims[name], func(i failover.InstanceName) bool { return i == after.Instance })
			if len(s.claims[name]) == 0 {
				delete(s.claims, name)
			}
		}
	}
	for name := range is {
		if !slices.Contains(s.claims[name], after.Instance) {
			s.claims[name] = append(s.claims[name], after.Instance)
		}
	}
}

// changesOf lists what the step from one record to the next changes in a zone.
func changesOf(before, after *failover.Record, zone failover.RecordName) []Change {
	was, is := embedded(before), embedded(after)
	var out []Change
	add := func(name failover.RecordName, b, a shown) {
		c := Change{Zone: zone, Name: name}
		if b.zone == zone {
			c.Was = Showing{Value: b.value, TTL: b.ttl, Mark: b.mark}
		}
		if a.zone == zone {
			c.Is = Showing{Value: a.value, TTL: a.ttl, Mark: a.mark}
		}
		if c.Was != c.Is {
			out = append(out, c)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(was)) {
		add(name, was[name], is[name])
	}
	for _, name := range slices.Sorted(maps.Keys(is)) {
		if _, ok := was[name]; !ok {
			add(name, shown{}, is[name])
		}
	}
	return out
}

// planJournal adds to the plan what one commit changes in a zone. Where
// another record claims one of its names too, the chain is cut instead.
func (s *Store) planJournal(p *plan, before, after *failover.Record, zone failover.RecordName, from, to uint32) {
	changes := changesOf(before, after, zone)
	for _, c := range changes {
		if s.claimedByAnother(p, c.Name, after.Instance) {
			p.cut(zone)
			return
		}
	}
	for _, c := range changes {
		c.Before, c.After = from, to
		p.journal[zone] = append(p.journal[zone], numbered{Change: c})
	}
}

func (s *Store) claimedByAnother(p *plan, name failover.RecordName, but failover.InstanceName) bool {
	if slices.ContainsFunc(s.claims[name], func(i failover.InstanceName) bool { return i != but }) {
		return true
	}
	for i, r := range p.records { // a batch of many asks for each of them
		if i != but && shows(&r.record, name) {
			return true
		}
	}
	return false
}

// shows says whether the record says what the embedded name shows.
func shows(r *failover.Record, name failover.RecordName) bool {
	is := func(n failover.NameRecord) bool { return n.Embedded && n.Name == name }
	return slices.ContainsFunc(r.Names, is) || slices.ContainsFunc(r.LeftOver, is)
}

// cut forgets every change of a zone.
func (p *plan) cut(zone failover.RecordName) {
	p.cuts[zone] = true
	delete(p.journal, zone)
}

// writeJournal puts the changes of the plan into the open transaction and
// drops what is too old.
func (s *Store) writeJournal(p *plan) error {
	for zone := range p.cuts {
		if err := s.disk.exec("DELETE FROM journal WHERE zone = ?", string(zone)); err != nil {
			return fmt.Errorf("cut the journal of %s: %w", zone, err)
		}
	}
	for zone, changes := range p.journal {
		for i := range changes {
			c := &changes[i]
			s.lastChange++
			c.id = s.lastChange
			err := s.disk.exec(`INSERT INTO journal (id, zone, before, after, name, was_value, was_ttl, was_mark, is_value, is_ttl, is_mark)
				VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, c.id, string(zone), int64(c.Before), int64(c.After), string(c.Name),
				string(c.Was.Value), int64(c.Was.TTL), c.Was.Mark, string(c.Is.Value), int64(c.Is.TTL), c.Is.Mark)
			if err != nil {
				return fmt.Errorf("write the journal of %s: %w", zone, err)
			}
		}
		if old := s.journals[zone].changes; len(old) > 0 && !p.cuts[zone] {
			if first := s.first(p, zone); first > old[0].id {
				if err := s.disk.exec("DELETE FROM journal WHERE zone = ? AND id < ?", string(zone), first); err != nil {
					return fmt.Errorf("shorten the journal of %s: %w", zone, err)
				}
			}
		}
	}
	return nil
}

// first is the key of the oldest change of a zone that stays when the plan is
// added: old ones go by whole steps, and the step that is added last stays
// whatever its size.
func (s *Store) first(p *plan, zone failover.RecordName) int64 {
	var old []numbered
	if !p.cuts[zone] {
		old = s.journals[zone].changes
	}
	added := p.journal[zone]
	at := func(i int) numbered {
		if i < len(old) {
			return old[i]
		}
		return added[i-len(old)]
	}
	n := len(old) + len(added)
	i := max(n-s.cfg.rows(), 0)
	for i > 0 && i < n && at(i).Before == at(i-1).Before {
		i++
	}
	if i == n { // the last step alone is larger than the bound
		for i--; i > 0 && at(i).Before == at(i-1).Before; i-- {
		}
	}
	return at(i).id
}

// publishJournal takes the journals over into memory. The caller holds mu.
// Readers copy under mu, so appending in place is safe.
func (s *Store) publishJournal(p *plan) {
	for zone, added := range p.journal {
		first := s.first(p, zone)
		var all []numbered
		if !p.cuts[zone] {
			all = s.journals[zone].changes
		}
		all = append(all, added...)
		i := slices.IndexFunc(all, func(c numbered) bool { return c.id == first })
		s.journals[zone] = journal{changes: all[i:]}
	}
	for zone := range p.cuts {
		if len(p.journal[zone]) == 0 {
			delete(s.journals, zone)
		}
	}
}

func (c Config) rows() int {
	if c.journalRows > 0 {
		return c.journalRows
	}
	return journalRows
}

// readJournal reads the journal and the fingerprints. A chain that does not
// end at the serial of its zone is no use and is forgotten.
func (s *Store) readJournal(ctx context.Context) error {
	if s.disk.version < 2 {
		return nil
	}
	rows, err := s.disk.conn.QueryContext(ctx, "SELECT zone, fingerprint FROM statics")
	if err != nil {
		return describe(s.path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var zone failover.RecordName
		var fingerprint string
		if err := rows.Scan(&zone, &fingerprint); err != nil {
			return damaged(s.path, err)
		}
		s.statics[zone] = fingerprint
	}
	if err := rows.Err(); err != nil {
		return describe(s.path, err)
	}
	changes, err := s.disk.conn.QueryContext(ctx,
		"SELECT id, zone, before, after, name, was_value, was_ttl, was_mark, is_value, is_ttl, is_mark FROM journal ORDER BY id")
	if err != nil {
		return describe(s.path, err)
	}
	defer changes.Close()
	for changes.Next() {
		var c numbered
		err := changes.Scan(&c.id, &c.Zone, &c.Before, &c.After, &c.Name,
			&c.Was.Value, &c.Was.TTL, &c.Was.Mark, &c.Is.Value, &c.Is.TTL, &c.Is.Mark)
		if err != nil {
			return damaged(s.path, err)
		}
		s.lastChange = c.id
		j := s.journals[c.Zone]
		if n := len(j.changes); n > 0 && j.changes[n-1].After != c.Before && j.changes[n-1].Before != c.Before {
			j.changes = nil
		}
		s.journals[c.Zone] = journal{changes: append(j.changes, c)}
	}
	if err := changes.Err(); err != nil {
		return describe(s.path, err)
	}
	for zone, j := range s.journals {
		if j.changes[len(j.changes)-1].After != s.serials[zone] {
			delete(s.journals, zone)
		}
	}
	return nil
}
