package tablestore

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/protoadapt"

	"pointsman/internal/lab/tablestore/plainbuffer"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
)

// The limits of a write, by the vendor's page of limits.
const (
	maxName       = 255     // bytes, of a table and of a column
	maxColumns    = 1024    // of one write
	maxFullRow    = 256     // columns of a row that is always updated whole
	maxValue      = 2 << 20 // bytes, of an attribute column
	maxWrite      = 4 << 20 // bytes, of one write and of one batch
	maxVersionMS  = math.MaxInt64 / 1000
	capacityUnit  = 4 << 10 // bytes
	maxTxnSeconds = 60
)

const (
	actionPut    = otsprotocol.ActionType_PUT_ROW
	actionUpdate = otsprotocol.ActionType_UPDATE_ROW
	actionDelete = otsprotocol.ActionType_DELETE_ROW
)

// result is what one changed row is answered with.
type result struct {
	read, write int // bytes that were looked at and written
	row         []byte
}

// writer makes changes of rows of one table, one after the other, in one batch.
// Its owner holds t.mu from begin to commit or drop.
type writer struct {
	t       *table
	b       *pebble.Batch
	see     pebble.Reader // what the rows before are read from
	txn     *txn          // whose it is, nil if of no transaction
	at      int64         // the moment of the changes, µs
	stamped bool          // a stamp was taken
	now     time.Time
	opts    *tableOptions
	changes []change
	buf     []byte
}

// begin starts a batch. If repeats is set, its changes see one another.
func (t *table) begin(now time.Time, repeats bool) *writer {
	st := t.in.store
	w := &writer{t: t, now: now, opts: t.opts.Load(), see: st.db}
	if repeats {
		w.b = st.db.NewIndexedBatch()
		w.see = w.b
	} else {
		w.b = st.db.NewBatch()
	}
	w.at = t.moment(now)
	return w
}

// moment is when a change is made, µs: at the time of its request, or of one
// that came later and had the lock before. A clock that goes back is followed.
func (t *table) moment(now time.Time) int64 {
	at := now.UnixMicro()
	if at < t.at && t.at-at <= raced {
		at = t.at
	}
	t.at = at
	return at
}

// stamp is a time of now that is later than all before, µs.
func (t *table) stamp(now time.Time) int64 {
	t.last = max(now.UnixMicro(), t.last+1)
	return t.last
}

// drop ends a writer that changes nothing.
func (w *writer) drop() { _ = w.b.Close() }

// commit puts the changes where all see them. The table's lock may be given
// back then; an acknowledgement waits for durable.
func (w *writer) commit() (durable func() error, err error) {
	if len(w.changes) == 0 {
		w.drop()
		return w.t.in.store.settled, nil // for what refused them
	}
	if err = w.t.record(w.b, w.at, w.changes...); err == nil && w.stamped {
		// The stamp is kept so that it goes on even if the clock went back.
		err = w.b.Set(stampKey(w.t.ID), binary.BigEndian.AppendUint64(nil, uint64(w.t.last)), nil)
	}
	if err != nil {
		w.drop()
		return nil, err
	}
	if durable, err = w.t.in.store.commit(w.b); err == nil && w.t.copiers != nil {
		w.copies()
	}
	return durable, err
}

// before reads a row; nil if there is none.
func (w *writer) before(code []byte) (row, *refusal) {
	r, err := readRow(w.see, w.t.ID, code)
	if err != nil {
		return nil, refuse(codeInternal, "%v.", err)
	}
	return r.live(w.opts, w.now), nil
}

func readRow(from pebble.Reader, id uint32, code []byte) (row, error) {
	v, done, err := from.Get(append(rowPrefix(id), code...))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer done.Close()
	return decodeRow(v, nil)
}

// apply makes one change, or refuses it and changes nothing.
func (w *writer) apply(m *mutation) (result, *refusal) {
	t := w.t
	if t.dropped {
		return result{}, usual(codeObjectNotExist)
	}
	if ref := t.checkLock(m.code[:m.part], w.txn, w.now); ref != nil {
		return result{}, ref
	}
	key, code := m.key, m.code
	if m.auto >= 0 {
		if w.txn != nil {
			return result{}, invalid("Auto increment primary key cannot be used in a local transaction.")
		}
		// Rows of one batch share its moment; the table's stamp goes on, so that
		// no value comes twice.
		w.stamped = true
		key = slices.Clone(m.key)
		key[m.auto].Value = &plainbuffer.Value{Kind: plainbuffer.Integer, Int: t.stamp(w.now)}
		code = keyCode(key)
	}
	var before row
	checked := m.exist != otsprotocol.RowExistenceExpectation_IGNORE || m.cond != nil
	origin := t.Stream != nil && len(t.Stream.Origin) > 0
	if checked || origin || w.txn != nil || m.action == actionUpdate {
		var ref *refusal
		if before, ref = w.before(code); ref != nil {
			return result{}, ref
		}
	}
	res := result{write: m.size}
	if checked {
		res.read = keySize(key) + before.size()
	}
	switch {
	case m.exist == otsprotocol.RowExistenceExpectation_EXPECT_EXIST && before == nil,
		m.exist == otsprotocol.RowExistenceExpectation_EXPECT_NOT_EXIST && before != nil,
		m.cond != nil && !m.cond.pass(key, before):
		return result{}, usual(codeConditionCheckFail)
	}
	ch := change{action: m.action, key: code[:m.part], row: plainbuffer.Row{Key: key}}
	// The stream may be on only when a transaction is committed.
	if (origin || w.txn != nil) && before != nil {
		ch.before = &plainbuffer.Row{Key: key, Columns: slices.Clone(before).cells()}
	}
	after, ref := w.change(m, before, &ch)
	if ref != nil {
		return result{}, ref
	}
	name := append(rowPrefix(t.ID), code...)
	var err error
	if after == nil {
		err = w.b.Delete(name, nil)
	} else {
		w.buf = after.encode(w.buf[:0])
		err = w.b.Set(name, w.buf, nil)
	}
	if err != nil {
		return result{}, refuse(codeInternal, "%v.", err)
	}
	w.changes = append(w.changes, ch)
	res.row = returned(m, key, after)
	return res, nil
}

// change is the row after a change, nil if there is none then, and fills in
// the columns of ch.
func (w *writer) change(m *mutation, before row, ch *change) (row, *refusal) {
	if m.action == actionDelete {
		return nil, nil
	}
	now := w.at / 1000
	cells := slices.Clone(m.columns)
	// By name; in the order of the request what is of one column.
	slices.SortStableFunc(cells, func(a, b plainbuffer.Cell) int { return strings.Compare(a.Name, b.Name) })
	after, made := before, m.action == actionPut || before != nil
	if m.action == actionPut {
		after = make(row, 0, len(cells))
	}
	for i := range cells {
		c := &cells[i]
		switch c.Op {
		case plainbuffer.DeleteAll:
			from, to := after.column(c.Name)
			after = slices.Delete(after, from, to)
			continue
		case plainbuffer.DeleteOne:
			if at, found := after.find(c.Name, c.Time); found {
				after = slices.Delete(after, at, at+1)
			}
			continue
		case plainbuffer.Increment:
			v := *c.Value
			version := now
			if from, to := after.column(c.Name); from < to {
				if after[from].v.Kind != plainbuffer.Integer {
					return nil, invalid("%s is an invalid type for the increment of column '%s', expect: VT_INTEGER.", after[from].v.Kind, c.Name)
				}
				v.Int += after[from].v.Int
				// A sum must not hide behind a version of a later time.
				version = max(version, after[from].time)
			}
			*c = plainbuffer.Cell{Name: c.Name, Value: &v, Time: version, HasTime: true}
		default:
			if !c.HasTime {
				c.Time, c.HasTime = now, true
			}
		}
		made = true
		after = after.put(cell{c.Name, c.Time, *c.Value})
	}
	ch.row.Columns = cells
	if !made {
		return nil, nil // only deletions, of a row that is not there
	}
	if after == nil {
		after = row{}
	}
	after = after.trim(w.opts.MaxVersions)
	if w.opts.UpdateFullRow {
		n := 0
		for i := range after {
			if i == 0 || after[i].name != after[i-1].name {
				n++
			}
		}
		if n > maxFullRow {
			return nil, usual(codeColumnCount)
		}
	}
	return after, nil
}

// returned is what the client asked to be told of the row.
func returned(m *mutation, key []plainbuffer.Cell, after row) []byte {
	switch m.ret.GetReturnType() {
	case otsprotocol.ReturnType_RT_PK:
		return plainbuffer.Append(nil, plainbuffer.Row{Key: key})
	case otsprotocol.ReturnType_RT_AFTER_MODIFY:
		names := m.ret.GetReturnColumnNames()
		if len(names) == 0 {
			for _, c := range m.columns {
				names = append(names, c.Name)
			}
		}
		out := plainbuffer.Row{Key: key}
		last := ""
		for _, c := range after.cells() {
			if c.Name != last && slices.Contains(names, c.Name) {
				out.Columns = append(out.Columns, c) // the newest version
			}
			last = c.Name
		}
		return plainbuffer.Append(nil, out)
	}
	return nil
}

// units are the capacity units of so many bytes.
func units(bytes int) int32 { return int32((bytes + capacityUnit - 1) / capacityUnit) }

func consumed(read, write int32) *otsprotocol.ConsumedCapacity {
	return &otsprotocol.ConsumedCapacity{CapacityUnit: &otsprotocol.CapacityUnit{Read: &read, Write: &write}}
}

func (r result) consumed() *otsprotocol.ConsumedCapacity {
	return consumed(units(r.read), max(1, units(r.write)))
}

func (s *Server) putRow(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.PutRowRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	r, ref := c.writeRow(m.GetTableName(), actionPut, m.Row, m.Condition, m.ReturnContent, m.TransactionId)
	if ref != nil {
		return nil, ref
	}
	return &otsprotocol.PutRowResponse{Consumed: r.consumed(), Row: r.row}, nil
}

func (s *Server) updateRow(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.UpdateRowRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	r, ref := c.writeRow(m.GetTableName(), actionUpdate, m.RowChange, m.Condition, m.ReturnContent, m.TransactionId)
	if ref != nil {
		return nil, ref
	}
	return &otsprotocol.UpdateRowResponse{Consumed: r.consumed(), Row: r.row}, nil
}

func (s *Server) deleteRow(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.DeleteRowRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	r, ref := c.writeRow(m.GetTableName(), actionDelete, m.PrimaryKey, m.Condition, m.ReturnContent, m.TransactionId)
	if ref != nil {
		return nil, ref
	}
	return &otsprotocol.DeleteRowResponse{Consumed: r.consumed(), Row: r.row}, nil
}

// writeRow is one change of one row, in its own batch or in a transaction.
func (c *call) writeRow(name string, action otsprotocol.ActionType, encoded []byte, cond *otsprotocol.Condition, ret *otsprotocol.ReturnContent, id *string) (result, *refusal) {
	m, ref := parse(action, encoded, cond, ret)
	if ref != nil {
		return result{}, ref
	}
	t, ref := c.inst.table(name)
	if ref != nil {
		return result{}, ref
	}
	if ref = t.judge(m, c.now); ref != nil {
		return result{}, ref
	}
	if ref = c.partition(t, m.code[:m.part]); ref != nil {
		return result{}, ref
	}
	r, durable, ref := c.write(t, m, id)
	if ref != nil {
		return result{}, ref
	}
	if err := durable(); err != nil {
		return result{}, refuse(codeInternal, "%v.", err)
	}
	return r, nil
}

// write makes a change with the lock of the table.
func (c *call) write(t *table, m *mutation, id *string) (r result, durable func() error, ref *refusal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := c.renew()
	if id != nil {
		r, ref = t.applyInTxn(*id, m, now)
		return r, t.in.store.settled, ref // its answer may tell of the row
	}
	w := t.begin(now, false)
	if r, ref = w.apply(m); ref != nil {
		w.drop()
		return r, nil, ref
	}
	durable, err := w.commit()
	if err != nil {
		return r, nil, refuse(codeInternal, "%v.", err)
	}
	return r, durable, nil
}
