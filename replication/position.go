package replication

import (
	"time"

	"pointsman/replication/ots"
)

// position is how far one shard of a stream has been read and, once it is
// saved, how far its rows are acknowledged by the target.
type position struct {
	Stream   string       `json:"stream"`
	Shard    string       `json:"shard"`
	Parents  []string     `json:"parents,omitempty"`
	Iterator string       `json:"iterator,omitempty"` // where to go on; empty when Done
	Done     bool         `json:"done,omitempty"`     // closed, and read to its end
	Seq      ots.Sequence `json:"seq"`                // of the last record before Iterator; zero if there was none
	// Upto is a moment of our clock: everything that clients were told is
	// written before it, is before this position.
	Upto time.Time `json:"upto,omitzero"`
	// Proved is that part of Upto which does not rest on times of records, and
	// what Upto falls back to when those are no longer believed.
	Proved time.Time `json:"proved,omitzero"`
	// Ahead is the most that the service's clock was before ours since Proved.
	// It outlasts the process: the clock may be set while nobody looks, and what
	// is still to be read has the times of before.
	Ahead time.Duration `json:"ahead_ns,omitempty"`
}
