package tablestore

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/protoadapt"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"pointsman/internal/lab/tablestore/plainbuffer"
)

// The limits of a read, by the vendor's page of limits.
const (
	maxColumnsToGet = 128
	maxRangeRows    = 5000
	maxRangeBytes   = 4 << 20 // scanned, of one GetRange
)

const noVersions = "No version condition is specified."

// query is what a read asks of each row.
type query struct {
	names    map[string]bool // nil: all columns
	versions int             // of each column, 0: all
	from, to int64           // versions, ms, [from, to)
	first    *string         // the least column, nil: no bound
	end      *string         // the column that is the first not to be read
	filter   filter
	page     *page
}

// criteria are the fields that all reads have.
type criteria interface {
	GetColumnsToGet() []string
	GetTimeRange() *otsprotocol.TimeRange
	GetFilter() []byte
}

func parseQuery(c criteria, versions *int32, first, end *string) (*query, *refusal) {
	q := &query{from: 0, to: 1<<63 - 1, first: first, end: end}
	if names := c.GetColumnsToGet(); len(names) > 0 {
		if len(names) > maxColumnsToGet {
			return nil, invalid("The number of columns from the request exceeds the limit, limit count: %d, column count: %d.", maxColumnsToGet, len(names))
		}
		q.names = make(map[string]bool, len(names))
		for _, n := range names {
			if ref := checkName(n); ref != nil {
				return nil, ref
			}
			q.names[n] = true
		}
	}
	r := c.GetTimeRange()
	if versions == nil && (r == nil || r.StartTime == nil && r.EndTime == nil && r.SpecificTime == nil) {
		return nil, invalid(noVersions)
	}
	if versions != nil {
		if *versions <= 0 {
			return nil, invalid("Invalid max versions: %d. Reason: Max versions must be positive.", *versions)
		}
		q.versions = int(*versions)
	}
	if r != nil {
		ranged := r.StartTime != nil || r.EndTime != nil
		switch {
		case r.SpecificTime != nil && ranged && versions != nil:
			return nil, invalid("Specific timestamp, time range and max versions cannot be given at the same time.")
		case r.SpecificTime != nil && ranged:
			return nil, invalid("Specific tiemstamp and time range cannot be given at the same time.") // their spelling
		case r.SpecificTime != nil && versions != nil:
			return nil, invalid("Specific tiemstamp and max versions cannot be given at the same time.") // their spelling
		case r.SpecificTime != nil && *r.SpecificTime < 0:
			return nil, invalid("Specific timestamp cannot be less than 0.")
		case r.SpecificTime != nil:
			q.from, q.to = *r.SpecificTime, *r.SpecificTime+1
		case !ranged:
		case r.StartTime == nil || r.EndTime == nil:
			return nil, invalid("Start and end time must be given at the same time.")
		case *r.StartTime < 0 || *r.EndTime < 0:
			return nil, invalid("Timestamp must be in range [0, INT64_MAX/1000).")
		default:
			q.from, q.to = *r.StartTime, *r.EndTime
		}
	}
	var ref *refusal
	if q.filter, ref = parseFilter(c.GetFilter()); ref != nil {
		return nil, ref
	}
	if p, ok := q.filter.(page); ok {
		q.filter, q.page = nil, &p
	}
	return q, nil
}

// read is what the query shows of a row that exists; nil if nothing. It works
// in the memory of r.
func (q *query) read(key []plainbuffer.Cell, r row) row {
	out := r[:0]
	n, last := 0, ""
	for _, c := range r {
		if q.names != nil && !q.names[c.name] ||
			q.first != nil && c.name < *q.first || q.end != nil && c.name >= *q.end ||
			c.time < q.from || c.time >= q.to {
			continue
		}
		if c.name != last {
			n, last = 0, c.name
		}
		if n++; q.versions == 0 || n <= q.versions {
			out = append(out, c)
		}
	}
	if q.filter != nil && !q.filter.pass(key, out) {
		return nil
	}
	// A row of which some columns were asked for is told if one of them is left
	// or is of the key.
	if len(out) == 0 && q.names != nil && !slices.ContainsFunc(key, func(c plainbuffer.Cell) bool { return q.names[c.Name] }) {
		return nil
	}
	if q.page != nil {
		out = q.page.cut(out) // takes columns away, never rows: a guess
	}
	return out
}

func (s *Server) getRow(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.GetRowRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	q, ref := parseQuery(&m, m.MaxVersions, m.StartColumn, m.EndColumn)
	if ref != nil {
		return nil, ref
	}
	if len(m.Token) > 0 {
		return nil, badToken()
	}
	key, ref := parseReadKey(m.PrimaryKey, keyRead)
	if ref != nil {
		return nil, ref
	}
	t, ref := c.inst.table(m.GetTableName())
	if ref != nil {
		return nil, ref
	}
	var from pebble.Reader = s.store.db
	if m.TransactionId != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		x, ref := t.txn(*m.TransactionId, c.now)
		if ref != nil {
			return nil, ref
		}
		from = x.w.b
	}
	row, size, ref := t.get(c, from, q, key)
	if ref != nil {
		return nil, ref
	}
	return &otsprotocol.GetRowResponse{Consumed: consumed(max(1, units(size)), 0), Row: row}, nil
}

// badToken refuses to go on inside of a row. The service has the field, and its
// page says that it is not available; no answer here carries one.
func badToken() *refusal { return invalid("Token is not supported.") }

// get reads one row, encoded; empty if there is none. size is what it counts
// for.
func (t *table) get(c *call, from pebble.Reader, q *query, key []plainbuffer.Cell) (out []byte, size int, ref *refusal) {
	if ref = t.checkKey(key); ref != nil {
		return nil, 0, ref
	}
	if ref = c.partition(t, partitionCode(key)); ref != nil {
		return nil, 0, ref
	}
	r, err := readRow(from, t.ID, keyCode(key))
	if err != nil {
		return nil, 0, refuse(codeInternal, "%v.", err)
	}
	if r = r.live(t.opts.Load(), c.now); r != nil {
		r = q.read(key, r)
	}
	if r == nil {
		return []byte{}, 0, nil
	}
	return plainbuffer.Append(nil, plainbuffer.Row{Key: key, Columns: r.cells()}), keySize(key) + r.size(), nil
}

// parseReadKey reads a key and judges what needs no table.
func parseReadKey(encoded []byte, use keyUse) ([]plainbuffer.Cell, *refusal) {
	in, err := plainbuffer.DecodeRow(encoded)
	switch {
	case err != nil:
		return nil, broken(err)
	case len(in.Columns) > 0:
		return nil, invalid("Attribute column cannot be given while reading data.")
	case in.Delete:
		return nil, invalid("Delete marker cannot be given.")
	}
	return in.Key, checkKeyCells(in.Key, use)
}

// bounds judges the keys of a range for this table and returns their codes, the
// lesser first. What is between them is [low, high), backward (low, high].
func (t *table) bounds(begin, end []plainbuffer.Cell, d otsprotocol.Direction) (low, high []byte, ref *refusal) {
	for _, k := range [][]plainbuffer.Cell{begin, end} {
		if ref := t.checkKey(k); ref != nil {
			return nil, nil, ref
		}
	}
	from, to := keyCode(begin), keyCode(end)
	n := bytes.Compare(from, to)
	switch {
	case d == otsprotocol.Direction_FORWARD && n >= 0:
		return nil, nil, invalid("Begin key must less than end key in FORWARD") // their English, and no full stop
	case d == otsprotocol.Direction_FORWARD:
		return from, to, nil
	case n <= 0:
		return nil, nil, invalid("Begin key must more than end key in BACKWARD")
	}
	return to, from, nil
}

func (s *Server) getRange(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.GetRangeRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	q, ref := parseQuery(&m, m.MaxVersions, m.StartColumn, m.EndColumn)
	if ref != nil {
		return nil, ref
	}
	d := m.GetDirection()
	if d != otsprotocol.Direction_FORWARD && d != otsprotocol.Direction_BACKWARD {
		return nil, invalid("Invalid direction: %d.", d)
	}
	limit := maxRangeRows
	if m.Limit != nil {
		if *m.Limit <= 0 {
			return nil, invalid("The limit must be greater than 0.")
		}
		limit = min(limit, int(*m.Limit))
	}
	if len(m.Token) > 0 {
		return nil, badToken()
	}
	begin, ref := parseReadKey(m.InclusiveStartPrimaryKey, keyRange)
	if ref != nil {
		return nil, ref
	}
	end, ref := parseReadKey(m.ExclusiveEndPrimaryKey, keyRange)
	if ref != nil {
		return nil, ref
	}
	t, ref := c.inst.table(m.GetTableName())
	if ref != nil {
		return nil, ref
	}
	low, high, ref := t.bounds(begin, end, d)
	if ref != nil {
		return nil, ref
	}
	part := func(code []byte) *refusal { return c.partition(t, code) }
	var from pebble.Reader = s.store.db
	if m.TransactionId != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		x, ref := t.txn(*m.TransactionId, c.now)
		if ref != nil {
			return nil, ref
		}
		from = x.w.b
	}
	out := &rows{}
	if m.GetDataBlockTypeHint() == otsprotocol.DataBlockType_DBT_SIMPLE_ROW_MATRIX {
		out.matrix = newMatrix(t.Keys)
	}
	if !m.GetReturnEntirePrimaryKeys() && q.names != nil {
		out.keys = q.names
	}
	next, size, ref := t.scan(from, scan{low, high, d == otsprotocol.Direction_BACKWARD, limit, part, c.now}, q, out)
	if ref != nil {
		return nil, ref
	}
	resp := &otsprotocol.GetRangeResponse{Consumed: consumed(max(1, units(size)), 0), NextStartPrimaryKey: next}
	resp.Rows, resp.DataBlockType = out.bytes()
	resp.CompressType = otsprotocol.CompressType_CPT_NONE.Enum()
	return resp, nil
}

// scan is a piece of a table.
type scan struct {
	low, high []byte // codes; [low, high), backward (low, high]
	backward  bool
	limit     int
	part      func(code []byte) *refusal // of partitions
	now       time.Time
}

// scan reads rows until the end, the limit, 5000 rows or 4 MB, and returns the
// key to go on with, nil at the end. What a filter drops counts for all but
// the limit, and a row whose time is over for one of the 5000. It also stops
// before a partition that cannot be had.
func (t *table) scan(from pebble.Reader, s scan, q *query, out *rows) (next []byte, size int, ref *refusal) {
	start := s.low
	o := &pebble.IterOptions{LowerBound: append(rowPrefix(t.ID), s.low...), UpperBound: append(rowPrefix(t.ID), s.high...)}
	if s.backward {
		// No code is the beginning of another one, so that nothing is between a
		// code and itself with a zero byte.
		start, o.LowerBound, o.UpperBound = s.high, append(o.LowerBound, 0), append(o.UpperBound, 0)
	}
	if ref = s.part(start); ref != nil {
		return nil, 0, ref
	}
	it, err := from.NewIter(o)
	if err != nil {
		return nil, 0, refuse(codeInternal, "%v.", err)
	}
	next, size, err = t.scanRows(it, s, q, out)
	if err = cmp.Or(err, it.Close()); err != nil {
		return nil, 0, refuse(codeInternal, "%v.", err)
	}
	return next, size, nil
}

func (t *table) scanRows(it *pebble.Iterator, s scan, q *query, out *rows) (next []byte, size int, err error) {
	step, ok := it.Next, false
	if s.backward {
		step, ok = it.Prev, it.Last()
	} else {
		ok = it.First()
	}
	opts := t.opts.Load()
	var mem row
	var keys keyReader
	for n := 0; ok; ok = step() {
		code := it.Key()[len("r/")+4:]
		key, err := keys.read(t, code)
		if err != nil {
			return nil, 0, err
		}
		if n == maxRangeRows || size >= maxRangeBytes || out.n == s.limit || s.part(code) != nil {
			return plainbuffer.Append(nil, plainbuffer.Row{Key: key}), size, nil
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, 0, err
		}
		if mem, err = decodeRow(v, mem); err != nil {
			return nil, 0, err
		}
		n++
		r := mem.live(opts, s.now)
		if r == nil {
			continue
		}
		size += keySize(key) + r.size()
		if r = q.read(key, r); r != nil {
			out.add(key, r)
		}
	}
	return nil, size, it.Error()
}

// rows are those of an answer, encoded.
type rows struct {
	n      int
	buf    []byte
	keys   map[string]bool // the columns of the key that are told, nil: all
	matrix *matrix         // nil: rows are told one by one
	cells  []plainbuffer.Cell
}

func (o *rows) add(key []plainbuffer.Cell, r row) {
	o.n++
	if o.keys != nil {
		key = slices.DeleteFunc(slices.Clone(key), func(c plainbuffer.Cell) bool { return !o.keys[c.Name] })
	}
	if o.matrix != nil {
		o.matrix.add(key, r)
		return
	}
	o.cells = o.cells[:0]
	for i := range r {
		o.cells = append(o.cells, plainbuffer.Cell{Name: r[i].name, Value: &r[i].v, Time: r[i].time, HasTime: true})
	}
	out := plainbuffer.Row{Key: key, Columns: o.cells}
	if o.buf == nil {
		o.buf = plainbuffer.Append(make([]byte, 0, 64<<10), out)
		return
	}
	o.buf = plainbuffer.AppendRow(o.buf, out)
}

func (o *rows) bytes() ([]byte, *otsprotocol.DataBlockType) {
	if o.n == 0 {
		return []byte{}, otsprotocol.DataBlockType_DBT_PLAIN_BUFFER.Enum()
	}
	if o.matrix != nil {
		return o.matrix.bytes(), otsprotocol.DataBlockType_DBT_SIMPLE_ROW_MATRIX.Enum()
	}
	return o.buf, otsprotocol.DataBlockType_DBT_PLAIN_BUFFER.Enum()
}
