package replication

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// savedVersion is the version of the texts in the control table. A text of
// another version is refused: to misread a position would lose rows.
const savedVersion = 1

// saved is what is durable of one table, or of the instance as a whole where
// Table is empty: where each shard is, how far a copy is, what people ordered.
type saved struct {
	Table string    `json:"table,omitempty"`
	Phase Phase     `json:"phase,omitempty"`
	Why   string    `json:"why,omitempty"`
	Op    string    `json:"op,omitempty"` // the operation that ended it, in PhaseCut
	At    time.Time `json:"at,omitzero"`  // when this was true, by our clock
	// Epoch is that of the course under which it was saved: what is older than an
	// operation that changed the roles says nothing of the standby any more.
	Epoch uint64 `json:"epoch,omitempty"`
	// Incomplete: the standby never had all rows, or not since it was active. A
	// gap does not make it so.
	Incomplete bool        `json:"incomplete,omitempty"`
	Positions  []position  `json:"positions,omitempty"`
	Copy       *savedCopy  `json:"copy,omitempty"`
	Order      *savedOrder `json:"order,omitempty"`
}

// savedCopy is how far a full copy is. Positions of the same saved are where
// the stream was before it.
type savedCopy struct {
	Since   time.Time    `json:"since"`
	Ranges  []savedRange `json:"ranges"`
	Rows    int64        `json:"rows,omitempty"`
	Bytes   int64        `json:"bytes,omitempty"`
	Removed int64        `json:"removed,omitempty"`
}

// savedRange is one range of keys, as ots.Key.Encode writes them; an empty key
// is open. Everything from Start and below Next is at the target.
type savedRange struct {
	Start []byte `json:"start,omitempty"`
	End   []byte `json:"end,omitempty"`
	Next  []byte `json:"next,omitempty"`
	Done  bool   `json:"done,omitempty"`
	Fill  fill   `json:"fill,omitempty"`
	Rows  int64  `json:"rows,omitempty"`
	Part  int    `json:"part,omitempty"`
}

// savedOrder is what a person asked for and nobody has withdrawn.
type savedOrder struct {
	Pause  bool      `json:"pause,omitempty"`
	Resync bool      `json:"resync,omitempty"`
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
}

// savedText is the text of a saved in the control table.
type savedText struct {
	Version int `json:"v"`
	saved
}

func encodeSaved(s saved) ([]byte, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(savedText{savedVersion, s})
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return b, nil
}

// decodeSaved reads what encodeSaved wrote and refuses everything else.
func decodeSaved(b []byte) (saved, error) {
	var head struct {
		Version int `json:"v"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return saved{}, fmt.Errorf("decode: %w", err)
	}
	if head.Version != savedVersion {
		return saved{}, fmt.Errorf("version %d of the text, not %d: %w", head.Version, savedVersion, errVersion)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var t savedText
	if err := d.Decode(&t); err != nil {
		return saved{}, fmt.Errorf("decode: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return saved{}, errors.New("decode: more after the end of the text")
	}
	if err := t.validate(); err != nil {
		return saved{}, err
	}
	return t.saved, nil
}

// validate finds what no run of this program writes.
func (s *saved) validate() error {
	switch s.Phase {
	case "", PhaseWaiting, PhaseCopying, PhaseCatchUp, PhaseFollowing, PhaseGap, PhaseRefused, PhaseCut:
	default:
		return fmt.Errorf("phase %q is unknown", s.Phase)
	}
	type shard struct{ stream, id string }
	seen := make(map[shard]bool, len(s.Positions))
	for _, p := range s.Positions {
		switch id := (shard{p.Stream, p.Shard}); {
		case p.Stream == "" || p.Shard == "":
			return errors.New("a position without a stream or a shard")
		case seen[id]:
			return fmt.Errorf("shard %s has two positions", p.Shard)
		case p.Done != (p.Iterator == ""):
			return fmt.Errorf("shard %s: an iterator is where to go on, and a shard that is done has none", p.Shard)
		default:
			seen[id] = true
		}
	}
	return nil
}
