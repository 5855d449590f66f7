package replication

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pointsman/internal/failover"
)

// cutVersion is the version of the file of a cut. Another one is refused.
const cutVersion = 1

// ending is where an operation ended replication: nothing was sent to the new side
// after it.
type ending struct {
	Op     string               `json:"op"`
	Kind   failover.OpKind      `json:"kind"`
	From   failover.ClusterName `json:"from"`
	To     failover.ClusterName `json:"to"`
	At     time.Time            `json:"at"`
	Begins time.Time            `json:"begins,omitzero"` // everything acknowledged before is on To; zero is unknown
	Empty  bool                 `json:"empty,omitempty"` // nothing was left
	Rows   int64                `json:"rows,omitempty"`  // read and not applied, and refused
	Gap    string               `json:"gap,omitempty"`
	Why    string               `json:"why,omitempty"` // what Begins hangs on, or why it is unknown
	Tables []cutTable           `json:"tables"`
}

// cutTable is one table. Without positions nothing is known of what crossed.
type cutTable struct {
	Table     string     `json:"table"`
	Positions []position `json:"positions,omitempty"`
	Why       string     `json:"why,omitempty"` // why there are none, or not all that counts
}

type cutText struct {
	Version int `json:"v"`
	ending
}

func (c *ending) validate() error {
	switch {
	case c.Op == "" || c.From == "" || c.To == "" || c.From == c.To:
		return errors.New("a cut without an operation or its two clusters")
	case c.Kind != failover.Failover && c.Kind != failover.Switchover:
		return fmt.Errorf("kind %q is unknown", c.Kind)
	}
	seen := map[string]bool{}
	for _, t := range c.Tables {
		s := saved{Table: t.Table, Positions: t.Positions}
		if err := s.validate(); err != nil {
			return fmt.Errorf("table %s: %w", t.Table, err)
		}
		if t.Table == "" || seen[t.Table] {
			return fmt.Errorf("table %q is named twice, or has no name", t.Table)
		}
		seen[t.Table] = true
	}
	return nil
}

func decodeCut(b []byte) (ending, error) {
	var head struct {
		Version int `json:"v"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return ending{}, fmt.Errorf("decode: %w", err)
	}
	if head.Version != cutVersion {
		return ending{}, fmt.Errorf("version %d of the text, not %d: %w", head.Version, cutVersion, errVersion)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var t cutText
	if err := d.Decode(&t); err != nil {
		return ending{}, fmt.Errorf("decode: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return ending{}, errors.New("decode: more after the end of the text")
	}
	return t.ending, t.validate()
}

// fileOf is a file of one operation in the folder of the configuration.
func (c *Config) fileOf(what, op string) string {
	plain := strings.NewReplacer("/", "_", ".", "_").Replace // "*" stays, for a pattern
	return filepath.Join(c.Dir, fmt.Sprintf("replication-%s-%s-%s", what, plain(string(c.Instance)), plain(op)))
}

// keepCut makes a cut durable beside this program, whatever the clusters say.
func (c *Config) keepCut(k ending) error {
	if c.Dir == "" {
		return nil
	}
	if err := writeFile(c.fileOf("cut", k.Op)+".json", cutText{cutVersion, k}); err != nil {
		return fmt.Errorf("the cut cannot be kept: %w", err)
	}
	return nil
}

func readCut(name string) (ending, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return ending{}, fmt.Errorf("a cut that was kept: %w", err)
	}
	k, err := decodeCut(b)
	if err != nil {
		return ending{}, fmt.Errorf("a cut that was kept in %s: %w (look at it, and remove it)", name, err)
	}
	return k, nil
}

// cut notes where replication ended, here and at the new side, and of a
// switchover from where the other direction will be followed. Nothing of the
// session runs any more.
func (w *drain) cut(ctx context.Context, stopped error) (failover.Drained, error) {
	d := failover.Drained{Op: w.order.Op, Bound: -1}
	s := w.of
	if s == nil {
		r := w.r
		r.mu.Lock()
		defer r.mu.Unlock()
		return d, fmt.Errorf("nothing was carried: %s", r.doing)
	}
	k := s.cutOf(w.order, w.empty && stopped == nil)
	if stopped != nil {
		k.Why = phrase(stopped.Error(), k.Why)
	}
	ctx, cancel := context.WithTimeout(ctx, cutTime)
	defer cancel()
	if err := w.r.fail("cut"); err != nil {
		return d, err
	}
	local := w.r.cfg.keepCut(k)
	if err := w.r.fail("cut-kept"); err != nil {
		return d, err
	}
	if k.Empty && k.Kind == failover.Switchover {
		if err := w.reverse(ctx, k); err != nil {
			return d, fmt.Errorf("prepare the other direction: %w", err)
		}
	}
	far := s.saveCut(ctx, k)
	if errors.Is(far, errDead) {
		return d, far
	}
	if stopped == nil && far == nil {
		if err := w.r.fail("release"); err != nil {
			return d, err
		}
		s.log.Debug("control rows released", "error", s.ctl.Release(ctx))
	}
	if local != nil && far != nil {
		return d, errors.Join(local, far) // from where to look for what did not cross is known nowhere
	}
	for _, err := range []error{local, far} {
		if err != nil {
			s.log.Warn("the cut is not kept everywhere", "op", k.Op, "error", err)
		}
	}
	s.log.Info("replication was cut", "op", k.Op, "empty", k.Empty, "begins", k.Begins, "rows", k.Rows, "gap", k.Gap, "why", k.Why)
	d.Empty, d.Begins, d.Rows, d.Gap, d.Cut = k.Empty, k.Begins, k.Rows, k.Gap, k.Why
	return d, nil
}

// cutTime bounds how long it may take to note a cut.
const cutTime = 10 * time.Second

// cutOf is where the session ended.
func (s *session) cutOf(d failover.Drain, empty bool) ending {
	now := time.Now()
	total := s.sum(now).total
	k := ending{Op: d.Op, Kind: d.Kind, From: d.From, To: d.To, At: now, Rows: total.rows, Gap: total.gap, Tables: []cutTable{}}
	k.Empty = empty && total.known && total.gap == "" && total.rows == 0
	if total.known {
		k.Begins = total.upto
	}
	if !k.Empty {
		k.Why = total.why
	}
	for _, r := range s.runners() {
		r.mu.Lock()
		t := cutTable{Table: r.table, Why: r.row.Why}
		if r.row.followed() && r.track != nil {
			t.Positions, _ = r.track.positions(time.Time{}, true)
		} else if t.Why == "" {
			t.Why = "it was " + string(r.phase())
		}
		r.mu.Unlock()
		k.Tables = append(k.Tables, t)
	}
	return k
}

// saveCut notes the cut in the control rows of the new side.
func (s *session) saveCut(ctx context.Context, k ending) error {
	if s.ctl == nil {
		return errors.New("the control rows were not claimed")
	}
	var rows []saved
	for _, r := range s.runners() {
		i := slices.IndexFunc(k.Tables, func(t cutTable) bool { return t.Table == r.table })
		r.mu.Lock()
		if i >= 0 && r.row.followed() {
			r.row.Phase, r.row.Op, r.row.At, r.row.Positions = PhaseCut, k.Op, k.At, k.Tables[i].Positions
			rows = append(rows, r.row)
		}
		r.mu.Unlock()
	}
	if err := s.fail("save"); err != nil {
		return err
	}
	if err := s.ctl.Save(ctx, rows...); err != nil {
		return err
	}
	return s.fail("saved")
}
