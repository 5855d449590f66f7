package replication

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pointsman/replication/ots"
)

// Columns of the dead-letter table, beside those of the text.
const (
	colState    = "state"
	colTable    = "table"
	colRowKey   = "row_key"     // for people
	colEncoded  = "encoded_key" // for the program
	colAction   = "action"
	colCause    = "cause"
	colHint     = "hint"
	colShard    = "shard"
	colEpoch    = "epoch"
	colTime     = "time" // µs
	colIndex    = "index"
	colAt       = "at"      // µs
	colKept     = "kept_at" // ms
	colLater    = "later"
	colClosed   = "closed_at" // ms
	colClosedBy = "closed_by"
	colReason   = "reason"
)

// headColumns are those that people are shown.
var headColumns = []string{
	colState, colTable, colRowKey, colEncoded, colAction, colCause, colHint, colShard, colEpoch, colTime, colIndex, colAt, colKept, colBy,
	colLater, colClosed, colClosedBy, colReason,
}

// letter is a row of the dead-letter table.
type letter struct {
	DeadLetter
	state    letterState
	by       string // who kept it
	closed   time.Time
	closedBy string
	reason   string

	row     string // the encoded key of the row that was refused
	seq     ots.Sequence
	text    []byte // the record; nil if it was not read
	version int64  // the greatest of its cells
}

func (l *letter) opened() *openLetter {
	return &openLetter{id: l.ID, shard: l.From, seq: l.seq, at: l.At, kept: l.Kept, later: l.Later}
}

// maxCause bounds the text of a cause, in bytes.
const maxCause = 1 << 10

func newLetter(table string, from origin, rec ots.Record, cause error, by string) (*letter, error) {
	text, err := appendRecord(nil, rec)
	if err != nil {
		return nil, err
	}
	id, at := identity(table, from, rec, text)
	l := &letter{state: letterOpen, by: by, row: string(rec.Key.Encode()), seq: rec.Seq, text: text, DeadLetter: DeadLetter{
		ID: id, Table: table, Key: rec.Key.String(), Action: rec.Action.String(),
		Cause: cause.Error(), From: from.Shard, At: at, Kept: time.Now(),
	}}
	l.Cause = strings.ToValidUTF8(l.Cause[:min(len(l.Cause), maxCause)], "?")
	var h interface{ Hint() string }
	if errors.As(cause, &h) {
		l.Hint = h.Hint()
	}
	return l, nil
}

func (l *letter) cells() []ots.Cell {
	sum := sha256.Sum256(l.text)
	head := l.text[:min(len(l.text), textRow)]
	return append([]ots.Cell{
		{Name: colState, Value: string(l.state)},
		{Name: colTable, Value: l.Table},
		{Name: colRowKey, Value: l.Key},
		{Name: colEncoded, Value: []byte(l.row)},
		{Name: colAction, Value: l.Action},
		{Name: colCause, Value: l.Cause},
		{Name: colHint, Value: l.Hint},
		{Name: colShard, Value: l.From},
		{Name: colEpoch, Value: int64(l.seq.Epoch)},
		{Name: colTime, Value: l.seq.Time},
		{Name: colIndex, Value: int64(l.seq.Index)},
		{Name: colAt, Value: l.At.UnixMicro()},
		{Name: colKept, Value: l.Kept.UnixMilli()},
		{Name: colBy, Value: l.by},
		{Name: colParts, Value: int64(len(l.parts()))},
		{Name: colSum, Value: hex.EncodeToString(sum[:])},
	}, textCellsOf(head)...)
}

// parts are what of the record does not fit into the row itself.
func (l *letter) parts() [][]byte {
	return slices.Collect(slices.Chunk(l.text[min(len(l.text), textRow):], textRow))
}

func letterOf(r ots.Row) *letter {
	v := valuesOf(r)
	name, _ := r.Key[1].Value.(string)
	row, _ := v.cell(colEncoded).Value.([]byte)
	l := &letter{
		DeadLetter: DeadLetter{
			ID: name, Table: v.text(colTable), Key: v.text(colRowKey), Action: v.text(colAction),
			Cause: v.text(colCause), Hint: v.text(colHint), From: v.text(colShard), At: time.UnixMicro(v.number(colAt)).UTC(),
			Kept: time.UnixMilli(v.number(colKept)).UTC(), Later: v.yes(colLater),
		},
		state: letterState(v.text(colState)), by: v.text(colBy), closedBy: v.text(colClosedBy), reason: v.text(colReason),
		row: string(row),
		seq: ots.Sequence{Epoch: int32(v.number(colEpoch)), Time: v.number(colTime), Index: int32(v.number(colIndex))},
	}
	if ms := v.number(colClosed); ms != 0 {
		l.closed = time.UnixMilli(ms).UTC()
	}
	for _, c := range r.Cells {
		l.version = max(l.version, c.Version)
	}
	return l
}

func (d *deadLetters) key(id string) ots.Key {
	return ots.Key{{Name: keyScope, Value: d.scope}, {Name: keyName, Value: id}}
}

// partKey is of rows that a record goes on in. They have a scope of their own,
// so that a list of letters does not have them.
func (d *deadLetters) partKey(id string, i int) ots.Key {
	return ots.Key{{Name: keyScope, Value: d.scope + "#parts"}, {Name: keyName, Value: id + "/" + strconv.Itoa(i)}}
}

func (d *deadLetters) putParts(ctx context.Context, l *letter) error {
	for i, part := range l.parts() {
		if err := d.cfg.May(); err != nil {
			return err
		}
		row := ots.Row{Key: d.partKey(l.ID, i), Cells: textCellsOf(part)}
		if err := d.cfg.Client.PutIf(ctx, d.cfg.Table, row, ots.Condition{}); err != nil {
			return err
		}
	}
	return nil
}

// find reads a letter without its record.
func (d *deadLetters) find(ctx context.Context, id string) (*letter, error) {
	rows, err := d.cfg.Client.Get(ctx, d.cfg.Table, []ots.Key{d.key(id)}, 1, headColumns...)
	if err != nil {
		return nil, err
	}
	if rows[0].Key == nil {
		return nil, ErrNoLetter
	}
	return letterOf(rows[0]), nil
}

// record reads a letter and its record.
func (d *deadLetters) record(ctx context.Context, id string) (*letter, ots.Record, error) {
	rows, err := d.cfg.Client.Get(ctx, d.cfg.Table, []ots.Key{d.key(id)}, 1)
	if err != nil {
		return nil, ots.Record{}, err
	}
	if rows[0].Key == nil {
		return nil, ots.Record{}, ErrNoLetter
	}
	l, v := letterOf(rows[0]), valuesOf(rows[0])
	text, parts := appendChunks(nil, v), v.number(colParts)
	if parts < 0 || parts > textParts {
		return nil, ots.Record{}, fmt.Errorf("%w: %d parts", errRecord, parts)
	}
	for i := range int(parts) {
		rows, err := d.cfg.Client.Get(ctx, d.cfg.Table, []ots.Key{d.partKey(id, i)}, 1)
		if err != nil {
			return nil, ots.Record{}, err
		}
		text = appendChunks(text, valuesOf(rows[0]))
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != v.text(colSum) {
		return nil, ots.Record{}, fmt.Errorf("%w: the checksum is wrong", errRecord)
	}
	l.text = text
	rec, err := decodeRecord(text)
	return l, rec, err
}

// read reads letters after an ID, in the order of their IDs: n at most, as many
// as one answer has if n is 0. next is where to go on, empty at the end.
func (d *deadLetters) read(ctx context.Context, after string, n int) (letters []*letter, next string, err error) {
	q := ots.RangeQuery{
		Table: d.cfg.Table, Columns: headColumns, Limit: n,
		Start: d.key(after + "\x00"), End: ots.Key{{Name: keyScope, Value: d.scope + "\x00"}},
	}
	for {
		page, err := d.cfg.Client.Range(ctx, q)
		if err != nil {
			return nil, "", d.fault("list", err)
		}
		for _, r := range page.Rows {
			letters = append(letters, letterOf(r))
		}
		switch {
		case page.Next == nil:
			return letters, "", nil
		case len(letters) > 0:
			return letters, letters[len(letters)-1].ID, nil
		}
		q.Start = page.Next
	}
}

// list shows open letters after an ID, of one table or, without a name, of all:
// n at most. next is where to go on, empty at the end.
func (d *deadLetters) list(ctx context.Context, table, after string, n int) (letters []DeadLetter, next string, err error) {
	ids := d.ids(table, after)
	if len(ids) > n {
		ids = ids[:n]
		next = ids[n-1]
	}
	for some := range slices.Chunk(ids, ots.MaxGets) {
		keys := make([]ots.Key, len(some))
		for i, id := range some {
			keys[i] = d.key(id)
		}
		rows, err := d.cfg.Client.Get(ctx, d.cfg.Table, keys, 1, headColumns...)
		if err != nil {
			return nil, "", d.fault("list", err)
		}
		for _, r := range rows {
			if r.Key == nil {
				continue
			}
			if l := letterOf(r); l.state == letterOpen {
				letters = append(letters, l.DeadLetter)
			}
		}
	}
	return letters, next, nil
}

// ids are the open letters after an ID, in order.
func (d *deadLetters) ids(table, after string) []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var ids []string
	for name, t := range d.open {
		if table != "" && name != table {
			continue
		}
		for _, row := range t.rows {
			for _, l := range row {
				if l.id > after {
					ids = append(ids, l.id)
				}
			}
		}
	}
	slices.Sort(ids)
	return ids
}
