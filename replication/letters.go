package replication

import (
	"context"
	"fmt"
	"time"
)

// DeadLetter is a row that the target refused, kept aside in a table of ours
// until a person has dealt with it.
type DeadLetter struct {
	ID     string    `json:"id"`
	Table  string    `json:"table"`
	Key    string    `json:"key"`
	Action string    `json:"action"`
	At     time.Time `json:"at"`             // server time of the write
	Kept   time.Time `json:"kept"`           // when it was put aside
	Cause  string    `json:"cause"`          // what the target said
	From   string    `json:"from,omitempty"` // the shard that it came by; empty of a full copy
	Hint   string    `json:"hint,omitempty"` // what can be done about it
	// Later tells that later updates of the row were applied, so that it cannot
	// be written any more without undoing them.
	Later bool `json:"later,omitempty"`
}

// DeadLetters lists the refused rows that nobody has dealt with, of one table
// or, without a name, of all, from the one after the given ID on; next is where
// to go on, empty at the end.
func (r *Replicator) DeadLetters(ctx context.Context, table, after string, n int) (rows []DeadLetter, next string, err error) {
	s, err := r.ready()
	if err != nil {
		return nil, "", fmt.Errorf("list refused rows: %w", err)
	}
	rows, next, err = s.dead.list(ctx, table, after, n)
	if err != nil {
		return nil, "", fmt.Errorf("list refused rows: %w", err)
	}
	return rows, next, nil
}

// AcceptLetter says that a refused row will never be at the target: it counts
// as lost from then on, and no longer against the exposure.
func (r *Replicator) AcceptLetter(ctx context.Context, id, by, reason string) error {
	s, err := r.ready()
	if err != nil {
		return fmt.Errorf("accept %s: %w", id, err)
	}
	return s.dead.accept(ctx, id, by, reason)
}

// RetryLetter writes a refused row again, unless the key was written since.
func (r *Replicator) RetryLetter(ctx context.Context, id, by string) error {
	s, err := r.ready()
	if err != nil {
		return fmt.Errorf("retry %s: %w", id, err)
	}
	return s.applier.Retry(ctx, id, by)
}

// ready is the session in hand, once it has what its tables need.
func (r *Replicator) ready() (*session, error) {
	r.mu.Lock()
	s, doing := r.session, r.doing
	r.mu.Unlock()
	if s == nil {
		return nil, fmt.Errorf("%w: %s", ErrNotHere, doing)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.opened {
		return nil, fmt.Errorf("%w: %s", ErrNotHere, phrase(s.doing, s.trouble))
	}
	return s, nil
}
