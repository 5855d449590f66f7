package ledger

import (
	"context"
	"fmt"

	"pointsman/internal/failover"
)

// NoteWhole remembers for good that every name of a zone had a record at one
// time. From then on a name without one is new, and others can be handed the
// zone without it. In a ledger that never saw the zone whole it may be a name
// that an earlier, lost ledger knew.
//
// ErrPoisoned, ErrClosed: it was not remembered.
func (s *Store) NoteWhole(ctx context.Context, zone failover.RecordName) error {
	if s.WasWhole(zone) {
		return nil
	}
	if err := s.takeTurn(ctx); err != nil {
		return fmt.Errorf("note that %s is whole: %w", zone, err)
	}
	defer s.endTurn()
	if s.isClosed() {
		return fmt.Errorf("note that %s is whole: %w", zone, ErrClosed)
	}
	if err := s.Poisoned(); err != nil {
		return fmt.Errorf("note that %s is whole: %w", zone, err)
	}
	err := s.transact(func() error {
		return s.disk.exec("INSERT INTO whole (zone) VALUES (?) ON CONFLICT (zone) DO NOTHING", string(zone))
	})
	if err != nil {
		return fmt.Errorf("note that %s is whole: %w", zone, s.poisonWith(err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.whole[zone] = true
	return nil
}

// WasWhole says whether every name of a zone had a record at one time.
func (s *Store) WasWhole(zone failover.RecordName) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.whole[zone]
}

func (s *Store) readWhole(ctx context.Context) error {
	if s.disk.version < 3 {
		return nil
	}
	rows, err := s.disk.conn.QueryContext(ctx, "SELECT zone FROM whole")
	if err != nil {
		return describe(s.path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var zone failover.RecordName
		if err := rows.Scan(&zone); err != nil {
			return damaged(s.path, err)
		}
		s.whole[zone] = true
	}
	if err := rows.Err(); err != nil {
		return describe(s.path, err)
	}
	return nil
}
