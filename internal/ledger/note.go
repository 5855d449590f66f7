package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pointsman/internal/failover"
)

// Note adds entries to the audit that belong to no commit of a record: what was
// done to the process, not to an instance. They are durable when it returns. An
// entry may leave its instance empty. Up to 256 share one sync; between such
// parts waiting commits get their turn, and an error may leave earlier parts
// written.
//
// Errors: ErrInvalid, ErrPoisoned and ErrClosed as of Commit, or that of ctx,
// which ends the wait for a turn.
func (s *Store) Note(ctx context.Context, entries []failover.AuditEntry) error {
	for part := range slices.Chunk(entries, maxBatch) {
		if err := s.notePart(ctx, part); err != nil {
			return fmt.Errorf("note in the audit: %w", err)
		}
	}
	return nil
}

func (s *Store) notePart(ctx context.Context, part []failover.AuditEntry) error {
	if err := s.takeTurn(ctx); err != nil {
		return err
	}
	defer s.endTurn()
	decided := false
	defer func() {
		if !decided { // a panic: nobody knows what the disk holds
			_ = s.poisonWith(errors.New("a fault of this program in the middle of a note"))
		}
	}()
	err := s.noteInTurn(part)
	decided = true
	return err
}

func (s *Store) noteInTurn(part []failover.AuditEntry) error {
	if s.isClosed() {
		return ErrClosed
	}
	if err := s.Poisoned(); err != nil {
		return err
	}
	p := s.plan(nil)
	for _, e := range part {
		c, err := chain(p.head.hash, p.head.seq+1, 0, e)
		if err != nil {
			return fmt.Errorf("%w: audit entry %q: %w", ErrInvalid, e.Kind, err)
		}
		p.head = position{seq: c.Seq, hash: c.Hash}
		p.entries = append(p.entries, c)
	}
	if err := s.transact(func() error { return s.write(p) }); err != nil {
		return s.poisonWith(fmt.Errorf("the outcome of the first commit that failed is unknown: %w", err))
	}
	s.publish(p)
	return nil
}
