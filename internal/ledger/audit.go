package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"pointsman/internal/failover"
)

// page is the number of entries read in one turn, so that a commit waits
// behind a reader of a long audit for a few milliseconds at most.
const page = 256

// AuditFilter picks entries; the zero value picks all.
type AuditFilter struct {
	Instance failover.InstanceName // empty: every instance
	Since    time.Time             // entries at or after it
	Below    uint64                // entries before that one; 0: the newest too
	Limit    int                   // at most so many, the newest; 0: no limit
}

// Audit returns the entries that the filter picks, oldest first, in the order
// in which they were committed. It reads the disk.
func (s *Store) Audit(ctx context.Context, f AuditFilter) ([]Entry, error) {
	s.mu.RLock()
	below := s.head.seq + 1
	s.mu.RUnlock()
	if f.Below > 0 {
		below = min(below, f.Below)
	}
	where := []string{"seq < ?"}
	var args []any
	if f.Instance != "" {
		where, args = append(where, "instance = ?"), append(args, string(f.Instance))
	}
	if !f.Since.IsZero() {
		where, args = append(where, "at >= ?"), append(args, f.Since.UnixMilli())
	}
	query := fmt.Sprintf("SELECT seq, instance, at, body, hash FROM audit WHERE %s ORDER BY seq DESC LIMIT %d", strings.Join(where, " AND "), page)
	var found []Entry
	for f.Limit <= 0 || len(found) < f.Limit {
		rows, err := s.auditPage(ctx, query, append([]any{int64(below)}, args...)...)
		if err != nil {
			return nil, fmt.Errorf("read audit: %w", err)
		}
		for _, row := range rows {
			e, err := row.entry()
			if err != nil {
				return nil, fmt.Errorf("read audit: %w", err)
			}
			below = row.seq
			if !e.At.Before(f.Since) && (f.Limit <= 0 || len(found) < f.Limit) {
				found = append(found, e)
			}
		}
		if len(rows) < page {
			break
		}
	}
	slices.Reverse(found)
	return s.withPrev(ctx, found)
}

// withPrev fills in the hash before each entry.
func (s *Store) withPrev(ctx context.Context, found []Entry) ([]Entry, error) {
	for i := range found {
		switch {
		case found[i].Seq == 1:
			found[i].Prev = genesis
		case i > 0 && found[i-1].Seq == found[i].Seq-1:
			found[i].Prev = found[i-1].Hash
		default:
			rows, err := s.auditPage(ctx, "SELECT seq, instance, at, body, hash FROM audit WHERE seq = ?", int64(found[i].Seq-1))
			if err != nil {
				return nil, fmt.Errorf("read audit: %w", err)
			}
			if len(rows) == 1 {
				found[i].Prev = rows[0].hash
			}
		}
	}
	return found, nil
}

// auditRow is one stored line, unread.
type auditRow struct {
	seq      uint64
	instance string
	at       int64
	body     []byte
	hash     string
}

// entry reads the stored text. Prev is not part of it.
func (r auditRow) entry() (Entry, error) {
	var t text
	if err := json.Unmarshal(r.body, &t); err != nil {
		return Entry{}, &ChainError{Seq: r.seq, Why: "it does not read: " + err.Error()}
	}
	return Entry{Seq: t.Seq, Rev: t.Rev, Hash: r.hash, AuditEntry: t.Entry}, nil
}

func (s *Store) auditPage(ctx context.Context, query string, args ...any) ([]auditRow, error) {
	if err := s.takeTurn(ctx); err != nil {
		return nil, err
	}
	defer s.endTurn()
	if s.isClosed() {
		return nil, ErrClosed
	}
	// Never with ctx: an interrupt would end whatever the connection does.
	rows, err := s.disk.conn.QueryContext(context.WithoutCancel(ctx), query, args...)
	if err != nil {
		return nil, describe(s.path, err)
	}
	defer rows.Close()
	var out []auditRow
	for rows.Next() {
		var r auditRow
		if err := rows.Scan(&r.seq, &r.instance, &r.at, &r.body, &r.hash); err != nil {
			return nil, describe(s.path, err)
		}
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, describe(s.path, err)
	}
	return out, nil
}

// VerifyChain reads the whole audit and checks every hash, that no entry is
// missing up to the head in memory, and that the head noted in each record is
// part of the chain. A [ChainError] names the first entry that is wrong.
func (s *Store) VerifyChain(ctx context.Context) error {
	s.mu.RLock()
	head, noted := s.head, map[string]failover.InstanceName{}
	for id, r := range s.records {
		noted[r.AuditHead] = id
	}
	s.mu.RUnlock()
	at := position{hash: genesis}
	delete(noted, genesis)
	for at.seq < head.seq {
		rows, err := s.auditPage(ctx, fmt.Sprintf("SELECT seq, instance, at, body, hash FROM audit WHERE seq > ? ORDER BY seq LIMIT %d", page), int64(at.seq))
		if err != nil {
			return fmt.Errorf("verify audit: %w", err)
		}
		if len(rows) == 0 {
			return fmt.Errorf("verify audit: %w", &ChainError{Seq: at.seq + 1, Why: "it is missing"})
		}
		for _, row := range rows {
			if at, err = row.follows(at); err != nil {
				return fmt.Errorf("verify audit: %w", err)
			}
			delete(noted, at.hash)
			if at.seq == head.seq {
				break
			}
		}
	}
	if at != head {
		return fmt.Errorf("verify audit: %w", &ChainError{Seq: head.seq, Why: "its hash is not the head that the ledger holds"})
	}
	for hash, id := range noted {
		return fmt.Errorf("verify audit: %w", &ChainError{Seq: head.seq, Why: fmt.Sprintf("the record of %s notes head %s, which is not in the chain", id, hash)})
	}
	return nil
}

// follows checks the row against the one before it.
func (r auditRow) follows(prev position) (position, error) {
	bad := func(format string, args ...any) (position, error) {
		return prev, &ChainError{Seq: prev.seq + 1, Why: fmt.Sprintf(format, args...)}
	}
	if r.seq != prev.seq+1 {
		return bad("it is missing, entry %d follows", r.seq)
	}
	hash, err := link(prev.hash, r.body)
	if err != nil {
		return bad("%v", err)
	}
	if hash != r.hash {
		return bad("its hash is %s, its text and the entry before it give %s", r.hash, hash)
	}
	e, err := r.entry()
	if err != nil {
		return prev, err
	}
	if e.Seq != r.seq || string(e.Instance) != r.instance || e.At.UnixMilli() != r.at {
		return bad("it is filed under other facts than its text has")
	}
	return position{seq: r.seq, hash: hash}, nil
}
