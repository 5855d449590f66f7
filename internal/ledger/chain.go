package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"pointsman/internal/failover"
)

// genesis is the hash before the first entry.
const genesis = "0000000000000000000000000000000000000000000000000000000000000000"

// Entry is one line of the audit as the ledger keeps it.
type Entry struct {
	Seq  uint64 `json:"seq"`  // counts up by one over all instances, from 1
	Rev  uint64 `json:"rev"`  // of the record that was committed with it
	Prev string `json:"prev"` // hash of the entry before it, 64 hex digits
	Hash string `json:"hash"` // SHA-256 over the bytes of Prev and the stored text
	failover.AuditEntry
}

// text is what is stored of an entry and hashed, byte for byte: a later
// version that knows more fields must not change the hash of an older entry.
type text struct {
	Seq   uint64              `json:"seq"`
	Rev   uint64              `json:"rev"`
	Entry failover.AuditEntry `json:"entry"`
}

// chained is an entry on its way into the file.
type chained struct {
	Entry
	body []byte
}

func chain(prev string, seq, rev uint64, a failover.AuditEntry) (chained, error) {
	a.At = a.At.Round(0).UTC() // one text for one moment, whatever zone the caller is in
	body, err := json.Marshal(text{Seq: seq, Rev: rev, Entry: a})
	if err != nil {
		return chained{}, err
	}
	hash, err := link(prev, body)
	if err != nil {
		return chained{}, err
	}
	return chained{Entry: Entry{Seq: seq, Rev: rev, Prev: prev, Hash: hash, AuditEntry: a}, body: body}, nil
}

// link is the hash of a stored text behind the hash prev.
func link(prev string, body []byte) (string, error) {
	p, err := hex.DecodeString(prev)
	if err != nil || len(p) != sha256.Size {
		return "", fmt.Errorf("previous hash %q is not a SHA-256", prev)
	}
	sum := sha256.Sum256(append(p, body...))
	return hex.EncodeToString(sum[:]), nil
}

// ChainError names the first entry of the audit that is not what was written.
type ChainError struct {
	Seq uint64 // of the first broken or missing entry
	Why string
}

func (e *ChainError) Error() string { return fmt.Sprintf("%v at entry %d: %s", ErrChain, e.Seq, e.Why) }

// Unwrap makes errors.Is(err, ErrChain) true.
func (e *ChainError) Unwrap() error { return ErrChain }
