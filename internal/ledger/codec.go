package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"pointsman/internal/failover"
)

// encode turns a record into what is stored of it, and back into the record
// that a restart would read, so that memory and file can never differ.
func encode(r failover.Record) (body []byte, back failover.Record, err error) {
	if body, err = json.Marshal(r); err != nil {
		return nil, back, fmt.Errorf("%w: %s: %w", ErrInvalid, r.Instance, err)
	}
	if err = json.Unmarshal(body, &back); err != nil {
		return nil, back, fmt.Errorf("%w: %s does not read back: %w", ErrInvalid, r.Instance, err)
	}
	return body, back, nil
}

// decode reads a stored record. The version is looked at before anything
// else, and a field that this program does not know is never dropped in
// silence: only a newer version can have written it.
func decode(body []byte) (failover.Record, error) {
	var v struct {
		Version *int `json:"version"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return failover.Record{}, err
	}
	switch {
	case v.Version == nil || *v.Version < 1:
		return failover.Record{}, errors.New("record has no version")
	case *v.Version > failover.RecordVersion:
		return failover.Record{}, fmt.Errorf("%w: record version %d, this program knows versions up to %d: run the newer program, or restore a backup made before the upgrade",
			ErrNewer, *v.Version, failover.RecordVersion)
	}
	var r failover.Record
	if err := json.Unmarshal(body, &r); err != nil {
		return failover.Record{}, err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(new(failover.Record)); err != nil {
		return failover.Record{}, fmt.Errorf("%w: %w, although it has record version %d, which this program writes too: run the newer program",
			ErrNewer, err, *v.Version)
	}
	return r, nil
}

func checksum(body []byte) []byte {
	sum := sha256.Sum256(body)
	return sum[:]
}

// validate refuses what could never be stored or read back, before the writer
// is involved: such a fault is the caller's and poisons nothing.
func validate(r *failover.Record) error {
	switch {
	case r.Instance == "":
		return fmt.Errorf("%w: it names no instance", ErrInvalid)
	case r.Version > failover.RecordVersion:
		return fmt.Errorf("%w: %s has version %d, this program writes version %d", ErrInvalid, r.Instance, r.Version, failover.RecordVersion)
	// Room above, so that the next start can still raise the term in SQLite's
	// signed 64 bits.
	case r.Term > math.MaxInt64/2 || r.Rev > math.MaxInt64/2:
		return fmt.Errorf("%w: %s has a term or rev beyond 2^62", ErrInvalid, r.Instance)
	}
	return nil
}
