package replication

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"pointsman/internal/failover"
	"pointsman/replication/ots"
)

// letterState is what became of a row that the target refused.
type letterState string

// States. Only an open letter counts as a row that is not on the standby.
const (
	letterOpen       letterState = "open"
	letterAccepted   letterState = "accepted"   // a person took the loss of it
	letterRetried    letterState = "retried"    // a person had it written after all
	letterSuperseded letterState = "superseded" // what came later made it mean nothing: the whole row was written or deleted, or the table copied anew
)

// Errors of what people ask of dead letters.
var (
	ErrNoLetter  = errors.New("there is no such dead letter")
	ErrNotOpen   = errors.New("the dead letter is not open")
	ErrOvertaken = errors.New("later changes of the row were applied")
)

// deadSchema is what the table looks like that keeps refused rows. It may be
// shared by instances and directions.
func deadSchema(name string) ots.Table { return controlSchema(name) }

// deadConfig is whose letters of which table these are.
type deadConfig struct {
	Client   *ots.Client // of the target, or where else the table is
	Table    string
	Instance failover.InstanceName
	From, To failover.ClusterName
	By       string
	// May is asked before each write; nil lets all be written.
	May func() error
}

// deadLetters keeps rows that the target refused, with the whole of the record,
// so that each can be written later. None is ever removed.
//
// The letters that are open are known in memory, by the row that they are of.
// Safe for concurrent use.
type deadLetters struct {
	cfg   deadConfig
	scope string

	mu   sync.RWMutex
	open map[string]*tableLetters
}

type tableLetters struct {
	rows   map[string][]*openLetter // by the encoded key
	count  int64
	oldest time.Time // zero: to be looked for
}

// openLetter is what has to be known of a letter without asking.
type openLetter struct {
	id    string
	shard string
	seq   ots.Sequence
	at    time.Time
	kept  time.Time
	later bool
}

// origin is where a record was read.
type origin struct {
	Shard string // empty: from a full copy
}

// openDeadLetters reads which letters are open.
func openDeadLetters(ctx context.Context, cfg deadConfig) (*deadLetters, error) {
	if cfg.May == nil {
		cfg.May = func() error { return nil }
	}
	if err := checkSchema(ctx, cfg.Client, cfg.Instance, deadSchema(cfg.Table)); err != nil {
		return nil, err
	}
	d := &deadLetters{cfg: cfg, scope: scopeOf(cfg.Instance, cfg.From, cfg.To), open: map[string]*tableLetters{}}
	after := ""
	for {
		letters, next, err := d.read(ctx, after, 0)
		if err != nil {
			return nil, err
		}
		for _, l := range letters {
			if l.state == letterOpen {
				d.remember(l.Table, l.row, l.opened())
			}
		}
		if next == "" {
			return d, nil
		}
		after = next
	}
}

// openLetters is how many letters of a table are open, and of when the oldest
// record is.
type openLetters struct {
	Count  int64
	Oldest time.Time
}

// counts are the open letters by table; a table without any is not there.
func (d *deadLetters) counts() map[string]openLetters {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make(map[string]openLetters, len(d.open))
	for name, t := range d.open {
		if t.oldest.IsZero() {
			for _, row := range t.rows {
				for _, l := range row {
					if t.oldest.IsZero() || l.at.Before(t.oldest) {
						t.oldest = l.at
					}
				}
			}
		}
		out[name] = openLetters{t.count, t.oldest}
	}
	return out
}

func (d *deadLetters) remember(table, row string, l *openLetter) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.open[table]
	if t == nil {
		t = &tableLetters{rows: map[string][]*openLetter{}, oldest: l.at}
		d.open[table] = t
	}
	if i := slices.IndexFunc(t.rows[row], func(o *openLetter) bool { return o.id == l.id }); i >= 0 {
		t.rows[row][i] = l
		return
	}
	t.rows[row] = append(t.rows[row], l)
	t.count++
	if !t.oldest.IsZero() && l.at.Before(t.oldest) {
		t.oldest = l.at
	}
}

func (d *deadLetters) forget(table, row, id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.open[table]
	if t == nil {
		return
	}
	was := len(t.rows[row])
	t.rows[row] = slices.DeleteFunc(t.rows[row], func(o *openLetter) bool { return o.id == id })
	t.count -= int64(was - len(t.rows[row]))
	if len(t.rows[row]) == 0 {
		delete(t.rows, row)
	}
	t.oldest = time.Time{}
	if t.count == 0 {
		delete(d.open, table)
	}
}

// of are the open letters of a row.
func (d *deadLetters) of(table, row string) []openLetter {
	d.mu.RLock()
	defer d.mu.RUnlock()
	t := d.open[table]
	if t == nil {
		return nil
	}
	var out []openLetter
	for _, l := range t.rows[row] {
		out = append(out, *l)
	}
	return out
}

// has says whether a row has open letters.
func (d *deadLetters) has(table, row string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	t := d.open[table]
	return t != nil && len(t.rows[row]) > 0
}

// standing says whether a letter can still be retried.
func (d *deadLetters) standing(table, row, id string) error {
	for _, l := range d.of(table, row) {
		switch {
		case l.id != id:
		case l.later:
			return fmt.Errorf("%w: to write it now would undo them (accept it, or have the table copied anew: %s%s %s --reason TEXT)", ErrOvertaken, resyncVerb, d.cfg.Instance, table)
		default:
			return nil
		}
	}
	return ErrNotOpen
}

// identity names a record for good, so that a replay makes no second letter.
// Names sort by table and time.
func identity(table string, from origin, rec ots.Record, text []byte) (id string, at time.Time) {
	at = time.UnixMicro(rec.Seq.Time).UTC()
	h := sha256.New()
	for _, b := range [][]byte{[]byte(from.Shard), rec.Key.Encode(), binary.BigEndian.AppendUint64(nil, uint64(rec.Seq.Epoch)<<32|uint64(uint32(rec.Seq.Index)))} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		h.Write(b)
	}
	if rec.Seq == (ots.Sequence{}) {
		// A row of a copy: when it was written is told by its versions alone.
		h.Write(text)
		at = time.Now().UTC()
		for _, c := range rec.Cells {
			if v := time.UnixMilli(c.Version).UTC(); c.Version > 0 && v.Before(at) {
				at = v
			}
		}
	}
	return fmt.Sprintf("%s/%s-%s", table, at.Format(letterTime), hex.EncodeToString(h.Sum(nil)[:8])), at
}

const letterTime = "20060102T150405.000000Z"

// keep keeps a record aside that the target refused for cause. When it returns
// nil the letter is durable; the same record again makes no second one, and
// opens one again that had been closed by anything but a person's consent.
func (d *deadLetters) keep(ctx context.Context, table string, from origin, rec ots.Record, cause error) error {
	l, err := newLetter(table, from, rec, cause, d.cfg.By)
	if err != nil {
		return d.fault("keep", err)
	}
	if err := d.write(ctx, l); err != nil {
		return d.fault("keep", err)
	}
	return nil
}

func (d *deadLetters) write(ctx context.Context, l *letter) error {
	if err := d.putParts(ctx, l); err != nil {
		return err
	}
	if err := d.cfg.May(); err != nil {
		return err
	}
	err := d.cfg.Client.PutIf(ctx, d.cfg.Table, ots.Row{Key: d.key(l.ID), Cells: l.cells()}, ots.Condition{Row: ots.ExistsNot})
	if ots.ClassOf(err) == ots.ClassCondition {
		var is *letter
		if is, err = d.find(ctx, l.ID); err != nil {
			return err
		}
		switch is.state {
		case letterAccepted:
			return nil
		case letterOpen:
			l = is
		default:
			if err := d.change(ctx, is, letterOpen, d.cfg.By, "refused again"); err != nil {
				return err
			}
			l = is
		}
	}
	if err != nil {
		return err
	}
	d.remember(l.Table, l.row, l.opened())
	return nil
}

// accept closes an open letter with a person's consent to the loss.
func (d *deadLetters) accept(ctx context.Context, id, by, reason string) error {
	l, err := d.find(ctx, id)
	if err != nil {
		return d.fault("accept "+id, err)
	}
	if l.state != letterOpen {
		d.forget(l.Table, l.row, id) // an answer was lost, or it was closed from elsewhere
		return d.fault("accept "+id, notOpen(l))
	}
	return d.close(ctx, l, letterAccepted, by, reason)
}

// retried closes a letter whose row was written after all.
func (d *deadLetters) retried(ctx context.Context, id, by string) error {
	l, err := d.find(ctx, id)
	if err != nil {
		return d.fault("close "+id, err)
	}
	return d.close(ctx, l, letterRetried, by, "written on request")
}

func notOpen(l *letter) error {
	return fmt.Errorf("%w: %s by %s on %s", ErrNotOpen, l.state, l.closedBy, l.closed.Format(time.RFC3339))
}

func (d *deadLetters) close(ctx context.Context, l *letter, state letterState, by, reason string) error {
	if err := d.change(ctx, l, state, by, reason); err != nil {
		return d.fault(string(state)+" "+l.ID, err)
	}
	d.forget(l.Table, l.row, l.ID)
	return nil
}

// change changes the state of a letter, if it is still the one that was read.
func (d *deadLetters) change(ctx context.Context, l *letter, state letterState, by, reason string) error {
	now := time.Now()
	return d.update(ctx, l, state,
		ots.Cell{Name: colState, Value: string(state)},
		ots.Cell{Name: colClosed, Value: now.UnixMilli()},
		ots.Cell{Name: colClosedBy, Value: by},
		ots.Cell{Name: colReason, Value: reason})
}

// update writes cells, on the condition that the state is the one that was read,
// or the one that it is to become: an answer may have been lost.
func (d *deadLetters) update(ctx context.Context, l *letter, becomes letterState, cells ...ots.Cell) error {
	if err := d.cfg.May(); err != nil {
		return err
	}
	for i := range cells {
		// Newer than what is there, whatever became of the clocks.
		cells[i].Version = max(time.Now().UnixMilli(), l.version+1)
	}
	err := d.cfg.Client.UpdateIf(ctx, d.cfg.Table, ots.Row{Key: d.key(l.ID), Cells: cells},
		ots.Condition{Column: colState, Is: ots.Equal, Value: string(l.state)})
	if ots.ClassOf(err) != ots.ClassCondition {
		return err
	}
	is, e := d.find(ctx, l.ID)
	if e != nil {
		return e
	}
	if is.state == becomes {
		return nil
	}
	return notOpen(is)
}

// passed tells that a later record of a row was applied. It closes letters that
// mean nothing any more, and marks the others.
func (d *deadLetters) passed(ctx context.Context, table, row string, from origin, rec ots.Record) error {
	for _, o := range d.of(table, row) {
		if o.shard == from.Shard && rec.Seq.Compare(o.seq) <= 0 || o.later && rec.Action == ots.UpdateRow {
			continue // a replay of what was before it, or known
		}
		l, err := d.find(ctx, o.id)
		if err != nil {
			return d.fault("mark", err)
		}
		switch {
		case l.state != letterOpen:
			d.forget(table, row, o.id) // closed from elsewhere
		case rec.Action != ots.UpdateRow:
			if err := d.close(ctx, l, letterSuperseded, d.cfg.By, "the whole row was changed later, by a "+rec.Action.String()); err != nil {
				return err
			}
		default:
			if err := d.update(ctx, l, letterOpen, ots.Cell{Name: colLater, Value: true}); err != nil {
				return d.fault("mark", err)
			}
			o.later = true
			d.remember(table, row, &o)
		}
	}
	return nil
}

// superseded closes the open letters of a table that were kept before a moment:
// the table was copied anew since.
func (d *deadLetters) superseded(ctx context.Context, table string, before time.Time, reason string) error {
	d.mu.RLock()
	var ids []string
	if t := d.open[table]; t != nil {
		for _, row := range t.rows {
			for _, l := range row {
				if l.kept.Before(before) {
					ids = append(ids, l.id)
				}
			}
		}
	}
	d.mu.RUnlock()
	for _, id := range ids {
		l, err := d.find(ctx, id)
		if err != nil {
			return d.fault("close", err)
		}
		if l.state != letterOpen {
			d.forget(table, l.row, id)
			continue
		}
		if err := d.close(ctx, l, letterSuperseded, d.cfg.By, reason); err != nil {
			return err
		}
	}
	return nil
}

func (d *deadLetters) fault(what string, err error) error {
	return fmt.Errorf("dead-letter table %s: %s: %w", d.cfg.Table, what, err)
}
