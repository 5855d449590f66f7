package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"pointsman/internal/failover"
)

// checkpointEvery is the number of committed records after which the log is
// moved into the file: some megabytes, milliseconds of work.
const checkpointEvery = 512

// maxBatch bounds what shares one sync.
const maxBatch = 256

// Receipt says what a commit made durable.
type Receipt struct {
	Record  failover.Record                // as stored, with its new Rev and AuditHead
	Serials map[failover.RecordName]uint32 // the zones whose serial rose; nil when none did
}

func (r Receipt) clone() Receipt {
	return Receipt{Record: r.Record.Clone(), Serials: maps.Clone(r.Serials)}
}

// request is one Commit on its way.
type request struct {
	record  failover.Record
	entries []failover.AuditEntry
	done    chan struct{} // closed when receipt and err are set
	shown   chan struct{} // closed when memory shows what became of it
	receipt Receipt
	err     error
}

// requests is the line of waiting commits, and every one, waiting or begun,
// that memory does not show yet.
type requests struct {
	mu      sync.Mutex
	line    []*request
	unshown []*request
}

func (q *requests) add(r *request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.line = append(q.line, r)
	q.unshown = append(q.unshown, r)
}

// show says that memory now holds what became of the requests. It may be said
// more than once.
func (q *requests) show(rs ...*request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range rs {
		if i := slices.Index(q.unshown, r); i >= 0 {
			q.unshown = slices.Delete(q.unshown, i, i+1)
			close(r.shown)
		}
	}
}

// wait returns when every commit of the instance that was accepted before is
// shown.
func (q *requests) wait(ctx context.Context, id failover.InstanceName) error {
	q.mu.Lock()
	var before []chan struct{}
	for _, r := range q.unshown {
		if r.record.Instance == id {
			before = append(before, r.shown)
		}
	}
	q.mu.Unlock()
	for _, shown := range before {
		select {
		case <-shown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// take removes up to maxBatch requests from the front.
func (q *requests) take() []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.line), maxBatch)
	batch := slices.Clone(q.line[:n])
	q.line = slices.Delete(q.line, 0, n)
	return batch
}

// withdraw removes a request that nobody has taken yet.
func (q *requests) withdraw(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.line, r)
	if i < 0 {
		return false
	}
	q.line = slices.Delete(q.line, i, i+1)
	return true
}

// Commit makes a record and its audit entries durable in one transaction, if
// the stored record is still at rec.Rev (0: if there is none). It returns
// after the sync. The new Rev is one higher; AuditHead is the head of the
// whole audit after the commit. An entry without an instance gets the
// record's.
//
// ErrConflict: the record is at another rev; load it again. ErrOlderToken and
// ErrInvalid: it may not be stored as it is. Nothing was written then.
// ErrPoisoned: nothing can be written any more; the outcome of the very commit
// that poisoned the store is unknown until a restart. Ending ctx withdraws a
// commit that still waits in line; one that was begun is waited for.
func (s *Store) Commit(ctx context.Context, rec failover.Record, entries []failover.AuditEntry) (Receipt, error) {
	if err := validate(&rec); err != nil {
		return Receipt{}, fmt.Errorf("commit: %w", err)
	}
	r := &request{record: rec, entries: entries, done: make(chan struct{}), shown: make(chan struct{})}
	s.queue.add(r)
	ended := ctx.Done()
	for {
		select {
		case <-r.done:
			return r.receipt, r.err
		case <-s.turn:
			s.commitForAll()
		case <-ended:
			if s.queue.withdraw(r) {
				s.queue.show(r)
				return Receipt{}, fmt.Errorf("commit %s: %w", rec.Instance, ctx.Err())
			}
			ended = nil
		}
	}
}

// commitForAll is what whoever gets the turn does: it commits for everybody in
// line.
func (s *Store) commitForAll() {
	defer s.endTurn()
	if batch := s.queue.take(); len(batch) > 0 {
		s.commitInTurn(batch)
	}
}

// plan is what one transaction will hold: the state after it, as a layer over
// the state before it, so that memory changes only after the sync.
type plan struct {
	requests []*request
	records  map[failover.InstanceName]stored
	serials  map[failover.RecordName]uint32
	journal  map[failover.RecordName][]numbered // what is added
	cuts     map[failover.RecordName]bool       // whose changes so far are forgotten before that
	entries  []chained
	head     position
	term     uint64 // the highest of the records
}

type stored struct {
	record failover.Record
	body   []byte
	isNew  bool
	was    uint64 // rev in the file
}

// commitInTurn answers every request of the batch. The caller has the turn.
func (s *Store) commitInTurn(batch []*request) {
	refuse := func(rs []*request, err error) {
		for _, r := range rs {
			r.receipt, r.err = Receipt{}, fmt.Errorf("commit %s: %w", r.record.Instance, err)
		}
	}
	decided := false // every request has its receipt or its error
	defer func() {
		if !decided { // a panic: nobody knows what the disk holds
			refuse(batch, s.poisonWith(errors.New("a fault of this program in the middle of a commit")))
		}
		s.queue.show(batch...)
		for _, r := range batch {
			close(r.done)
		}
	}()
	if s.isClosed() {
		refuse(batch, ErrClosed)
		decided = true
		return
	}
	if err := s.Poisoned(); err != nil {
		refuse(batch, err)
		decided = true
		return
	}
	p := s.plan(batch)
	if len(p.requests) == 0 {
		decided = true
		return
	}
	if err := s.transact(func() error { return s.write(p) }); err != nil {
		refuse(p.requests, s.poisonWith(fmt.Errorf("the outcome of the first commit that failed is unknown: %w", err)))
		decided = true
		return
	}
	decided = true // it is durable, whatever a hook does
	s.publish(p)
	s.unsaved += len(p.requests)
	if s.unsaved < checkpointEvery {
		return
	}
	// The commits are durable whatever comes of the checkpoint.
	if err := s.checkpointInTurn(); err != nil {
		_ = s.poisonWith(err)
	}
}

// plan sorts out conflicts and works out the rest of the batch. The memory is
// the truth to compare with: nobody else can write the file.
func (s *Store) plan(batch []*request) *plan {
	p := &plan{
		records: map[failover.InstanceName]stored{},
		serials: map[failover.RecordName]uint32{},
		journal: map[failover.RecordName][]numbered{},
		cuts:    map[failover.RecordName]bool{},
		head:    s.head,
	}
	for _, r := range batch {
		if err := s.planOne(p, r); err != nil {
			r.err = fmt.Errorf("commit %s: %w", r.record.Instance, err)
			if errors.Is(err, ErrConflict) {
				s.mu.Lock()
				s.stats.Conflicts++
				s.mu.Unlock()
			}
			continue
		}
		p.requests = append(p.requests, r)
	}
	return p
}

func (s *Store) planOne(p *plan, r *request) error {
	id := r.record.Instance
	before, found := s.records[id]
	at := stored{isNew: !found, was: before.Rev}
	if layer, ok := p.records[id]; ok {
		before, at = layer.record, layer
	}
	if before.Rev != r.record.Rev {
		return fmt.Errorf("%w: it is at rev %d, not %d; load it again", ErrConflict, before.Rev, r.record.Rev)
	}
	if r.record.Token().Less(before.Token()) {
		return fmt.Errorf("%w: %s below %s", ErrOlderToken, r.record.Token(), before.Token())
	}
	next := r.record
	next.Version, next.Rev = failover.RecordVersion, before.Rev+1
	head, entries := p.head, make([]chained, 0, len(r.entries))
	for _, e := range r.entries {
		if e.Instance == "" {
			e.Instance = id
		}
		c, err := chain(head.hash, head.seq+1, next.Rev, e)
		if err != nil {
			return fmt.Errorf("%w: audit entry %q: %w", ErrInvalid, e.Kind, err)
		}
		head = position{seq: c.Seq, hash: c.Hash}
		entries = append(entries, c)
	}
	next.AuditHead = head.hash
	body, next, err := encode(next)
	if err != nil {
		return err
	}
	at.record, at.body = next, body
	p.records[id] = at
	p.entries, p.head = append(p.entries, entries...), head
	p.term = max(p.term, next.Term)
	r.receipt.Record = next
	now := s.cfg.clock()
	for _, zone := range changedZones(&before, &next) {
		prev, ok := p.serials[zone]
		if !ok {
			prev = s.serials[zone]
		}
		p.serials[zone] = nextSerial(prev, now)
		s.planJournal(p, &before, &next, zone, prev, p.serials[zone])
		if r.receipt.Serials == nil {
			r.receipt.Serials = map[failover.RecordName]uint32{}
		}
		r.receipt.Serials[zone] = p.serials[zone]
	}
	return nil
}

// write puts the plan into the open transaction. Each change must hit exactly
// the row that memory says is there.
func (s *Store) write(p *plan) error {
	if err := s.cfg.step("write"); err != nil {
		return err
	}
	for id, r := range p.records {
		query := "UPDATE records SET rev = ?, body = ?, sum = ? WHERE instance = ? AND rev = ?"
		args := []any{int64(r.record.Rev), r.body, checksum(r.body), string(id), int64(r.was)}
		if r.isNew {
			query, args = "INSERT INTO records (rev, body, sum, instance) VALUES (?, ?, ?, ?)", args[:4]
		}
		res, err := s.disk.conn.ExecContext(context.Background(), query, args...)
		if err != nil {
			return fmt.Errorf("write the record of %s: %w", id, err)
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			return errors.Join(fmt.Errorf("the file does not hold the record of %s at rev %d", id, r.was), err)
		}
	}
	for _, c := range p.entries {
		err := s.disk.exec("INSERT INTO audit (seq, instance, at, body, hash) VALUES (?, ?, ?, ?, ?)",
			int64(c.Seq), string(c.Instance), c.At.UnixMilli(), c.body, c.Hash)
		if err != nil {
			return fmt.Errorf("write audit entry %d: %w", c.Seq, err)
		}
	}
	for zone, serial := range p.serials {
		if err := s.writeSerial(zone, serial); err != nil {
			return err
		}
	}
	if err := s.writeJournal(p); err != nil {
		return err
	}
	err := s.disk.exec("UPDATE ledger SET audit_seq = ?, audit_head = ?, term = max(term, ?)", int64(p.head.seq), p.head.hash, int64(p.term))
	if err != nil {
		return fmt.Errorf("write the head of the audit: %w", err)
	}
	return nil
}

func (s *Store) writeSerial(zone failover.RecordName, serial uint32) error {
	err := s.disk.exec("INSERT INTO serials (zone, serial) VALUES (?, ?) ON CONFLICT (zone) DO UPDATE SET serial = excluded.serial",
		string(zone), int64(serial))
	if err != nil {
		return fmt.Errorf("write the serial of %s: %w", zone, err)
	}
	return nil
}

// publish takes the plan over into memory and tells the hooks.
func (s *Store) publish(p *plan) {
	s.mu.Lock()
	for id, r := range p.records {
		before := s.records[id]
		s.claim(&before, &r.record)
		s.records[id] = r.record
	}
	maps.Copy(s.serials, p.serials)
	s.publishJournal(p)
	s.head = p.head
	s.stats.Commits += uint64(len(p.requests))
	s.stats.Syncs++
	hooks := slices.Clone(s.hooks)
	s.mu.Unlock()
	s.queue.show(p.requests...) // a hook may load what it is told of
	for _, r := range p.requests {
		r.receipt = r.receipt.clone() // the stored copy is nobody else's
	}
	for _, r := range p.requests {
		for _, hook := range hooks {
			hook(r.receipt.clone())
		}
	}
}
