package ots

import (
	"context"
	"fmt"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
)

// MaxGets bounds one [Client.Get].
const MaxGets = 100

// Get reads up to [MaxGets] rows of a table, with up to maxVersions versions of
// the columns that are named, or of all. The rows are in the order of keys; one
// without a key is absent. A row that has none of the named columns is absent
// too, by the service's rule.
func (c *Client) Get(ctx context.Context, table string, keys []Key, maxVersions int, columns ...string) ([]Row, error) {
	switch {
	case len(keys) == 0:
		return nil, nil
	case len(keys) > MaxGets:
		return nil, fmt.Errorf("%w: %d rows in one read, %d at most", ErrRequest, len(keys), MaxGets)
	case maxVersions < 1:
		return nil, fmt.Errorf("%w: a read of %d versions", ErrRequest, maxVersions)
	}
	versions := int32(maxVersions)
	want := &otsprotocol.TableInBatchGetRowRequest{TableName: &table, MaxVersions: &versions, ColumnsToGet: columns}
	for _, k := range keys {
		if err := k.check(); err != nil {
			return nil, err
		}
		want.PrimaryKey = append(want.PrimaryKey, Mutation{Key: k}.plain())
	}
	var (
		answer otsprotocol.BatchGetRowResponse
		by     Credentials
		id     string
	)
	ask := &otsprotocol.BatchGetRowRequest{Tables: []*otsprotocol.TableInBatchGetRowRequest{want}}
	if err := c.raw(ctx, "BatchGetRow", ask, &answer, func(l *line) { by, id = l.key, l.request }); err != nil {
		return nil, err
	}
	tables := answer.GetTables()
	if len(tables) != 1 || tables[0].GetTableName() != table || len(tables[0].GetRows()) != len(keys) {
		return nil, fmt.Errorf("%w: not the %d rows that were asked for", ErrAnswer, len(keys))
	}
	out := make([]Row, len(keys))
	d := decoder{names: map[string]string{}}
	for i, r := range tables[0].GetRows() {
		units := r.GetConsumed().GetCapacityUnit()
		c.spent(units.GetRead(), units.GetWrite())
		switch {
		case !r.GetIsOk():
			e := r.GetError()
			return nil, &Error{Code: clean(e.GetCode(), by), Message: clean(e.GetMessage(), by), RequestID: id}
		case len(r.GetRow()) == 0:
			continue
		}
		row, err := d.decodeRow(r.GetRow())
		if len(row.key) == 0 {
			row.key = keys[i] // a read of some columns need not repeat it
		}
		if err == nil {
			out[i], err = row.read()
		}
		if err == nil && out[i].Key.Compare(keys[i]) != 0 {
			err = fmt.Errorf("%w: another row than the one that was asked for", ErrAnswer)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// read is the row that a read gives.
func (r plainRow) read() (Row, error) {
	if len(r.key) == 0 {
		return Row{}, fmt.Errorf("%w: a row without a key", ErrAnswer)
	}
	for _, c := range r.cells {
		if c.Op != Put {
			return Row{}, fmt.Errorf("%w: a row with a deletion", ErrAnswer)
		}
	}
	return Row{r.key, r.cells}, nil
}

// RangeQuery asks for rows from Start on and below End, in ascending order. A
// key may be the first columns of one; a nil Start is before all rows, a nil
// End after all.
type RangeQuery struct {
	Table       string
	Start, End  Key
	Limit       int // rows; as many as the service gives in one answer if 0
	MaxVersions int // of each column; 1 if 0
	Columns     []string
}

// RangePage is one answer. A page without rows may have a Next.
type RangePage struct {
	Rows []Row
	Next Key // where to go on; nil: that was all
	Read int64
}

// Range reads one page. It speaks the SDK's messages but decodes rows itself,
// which verifies their checksums and takes less time.
func (c *Client) Range(ctx context.Context, q RangeQuery) (RangePage, error) {
	schema, err := c.schema(ctx, q.Table)
	if err != nil {
		return RangePage{}, err
	}
	start, err := boundary(schema, q.Start, false)
	if err != nil {
		return RangePage{}, err
	}
	end, err := boundary(schema, q.End, q.End == nil)
	if err != nil {
		return RangePage{}, err
	}
	versions := int32(max(q.MaxVersions, 1))
	ask := &otsprotocol.GetRangeRequest{
		TableName: &q.Table, Direction: otsprotocol.Direction_FORWARD.Enum(), ColumnsToGet: q.Columns, MaxVersions: &versions,
		InclusiveStartPrimaryKey: start.Build(false), ExclusiveEndPrimaryKey: end.Build(false),
	}
	if q.Limit > 0 {
		limit := int32(min(q.Limit, 1<<30))
		ask.Limit = &limit
	}
	var answer otsprotocol.GetRangeResponse
	err = c.raw(ctx, "GetRange", ask, &answer, nil)
	if ClassOf(err) == ClassRow {
		c.schemas.Delete(q.Table) // it may have been made anew with another key
	}
	if err != nil {
		return RangePage{}, err
	}
	return c.rangePage(&answer)
}

func (c *Client) rangePage(answer *otsprotocol.GetRangeResponse) (RangePage, error) {
	if answer.GetDataBlockType() != otsprotocol.DataBlockType_DBT_PLAIN_BUFFER || answer.GetCompressType() != otsprotocol.CompressType_CPT_NONE {
		return RangePage{}, fmt.Errorf("%w: rows in a form that was not asked for", ErrAnswer)
	}
	units := answer.GetConsumed().GetCapacityUnit()
	read, _ := c.spent(units.GetRead(), units.GetWrite())
	page := RangePage{Read: read}
	rows, err := decodeRows(answer.GetRows())
	if err != nil {
		return RangePage{}, err
	}
	page.Rows = make([]Row, len(rows))
	for i, r := range rows {
		if page.Rows[i], err = r.read(); err != nil {
			return RangePage{}, err
		}
	}
	next, err := decodeRows(answer.GetNextStartPrimaryKey())
	switch {
	case err != nil:
		return RangePage{}, err
	case len(next) == 1 && len(next[0].key) > 0:
		page.Next = next[0].key
	case len(next) > 0:
		return RangePage{}, fmt.Errorf("%w: no key to go on from", ErrAnswer)
	}
	return page, nil
}

// boundary fills up what a key lacks: before everything that begins so, or, if
// after is set, after it.
func boundary(schema []KeySchema, k Key, after bool) (*tablestore.PrimaryKey, error) {
	if len(k) > len(schema) {
		return nil, fmt.Errorf("%w: a key of %d columns in a table with %d", ErrRequest, len(k), len(schema))
	}
	if len(k) > 0 {
		if err := k.check(); err != nil {
			return nil, err
		}
	}
	out := sdkKey(k)
	for _, s := range schema[len(k):] {
		if after {
			out.AddPrimaryKeyColumnWithMaxValue(s.Name)
		} else {
			out.AddPrimaryKeyColumnWithMinValue(s.Name)
		}
	}
	return out, nil
}

// Splits are keys, or first columns of keys, that cut a table in parts of about
// bytes, ascending; limit many at most if it is above 0. None: one part.
func (c *Client) Splits(ctx context.Context, table string, bytes int64, limit int) ([]Key, error) {
	if bytes < 1 {
		return nil, fmt.Errorf("%w: parts of %d bytes", ErrRequest, bytes)
	}
	want := &tablestore.ComputeSplitPointsBySizeRequest{TableName: table, SplitSize: 1, SplitSizeUnitInByte: &bytes}
	if limit > 0 {
		n := int32(min(limit, 1<<30))
		want.SplitPointLimit = &n
	}
	var out []Key
	err := c.call(ctx, func(l *line) error {
		resp, err := l.sdk.ComputeSplitPointsBySize(want)
		if err != nil {
			return err
		}
		for _, s := range resp.Splits[:len(resp.Splits)-1] {
			k, ok, err := prefixFromSDK(s.UpperBound)
			if err != nil {
				return err
			}
			if ok && (len(out) == 0 || out[len(out)-1].Compare(k) < 0) {
				out = append(out, k)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// prefixFromSDK takes the columns before the first that is infinite. A point
// after all keys that begin so is no prefix; without it two parts are one.
func prefixFromSDK(from *tablestore.PrimaryKey) (Key, bool, error) {
	var k Key
	for _, c := range from.PrimaryKeys {
		switch c.PrimaryKeyOption {
		case tablestore.MIN:
			return k, len(k) > 0, nil
		case tablestore.MAX:
			return nil, false, nil
		}
		if kindOf(c.Value) == 0 {
			return nil, false, fmt.Errorf("%w: a key of type %T", ErrAnswer, c.Value)
		}
		k = append(k, KeyColumn{c.ColumnName, c.Value})
	}
	return k, len(k) > 0, nil
}
