package ots

import (
	"context"
	"fmt"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
)

// MaxRows and MaxBytes bound one [Client.Write].
const (
	MaxRows  = 200
	MaxBytes = 4 << 20 // by [Mutation.Size]
)

// The SDK's changes, which know what they are, with rows of our encoding.
type (
	plainPut struct {
		*tablestore.PutRowChange
		row []byte
	}
	plainUpdate struct {
		*tablestore.UpdateRowChange
		row []byte
	}
	plainDelete struct {
		*tablestore.DeleteRowChange
		row []byte
	}
)

func (p plainPut) Serialize() []byte    { return p.row }
func (p plainUpdate) Serialize() []byte { return p.row }
func (p plainDelete) Serialize() []byte { return p.row }

var anyRow = &tablestore.RowCondition{RowExistenceExpectation: tablestore.RowExistenceExpectation_IGNORE}

func (m Mutation) change() tablestore.RowChange {
	switch m.Action {
	case PutRow:
		return plainPut{&tablestore.PutRowChange{TableName: m.Table, Condition: anyRow}, m.plain()}
	case UpdateRow:
		return plainUpdate{&tablestore.UpdateRowChange{TableName: m.Table, Condition: anyRow}, m.plain()}
	}
	return plainDelete{&tablestore.DeleteRowChange{TableName: m.Table, Condition: anyRow}, m.plain()}
}

// Write does up to [MaxRows] changes of any tables in one call, in their order
// per table, and says of each what became of it. A row that no service could
// take has an error of the class [ClassRow] and is not sent. The error is of the
// call: then any of the rows may have been written, or none.
func (c *Client) Write(ctx context.Context, rows []Mutation) ([]Result, error) {
	switch {
	case len(rows) == 0:
		return nil, nil
	case len(rows) > MaxRows:
		return nil, fmt.Errorf("%w: %d rows in one batch, %d at most", ErrRequest, len(rows), MaxRows)
	}
	out := make([]Result, len(rows))
	changes := make(map[string][]tablestore.RowChange, 1)
	places := make(map[string][]int, 1)
	for i, m := range rows {
		if err := m.check(); err != nil {
			out[i].Err = err
			continue
		}
		changes[m.Table] = append(changes[m.Table], m.change())
		places[m.Table] = append(places[m.Table], i)
	}
	if len(changes) == 0 {
		return out, nil
	}
	err := c.call(ctx, func(l *line) error {
		resp, err := l.sdk.BatchWriteRow(&tablestore.BatchWriteRowRequest{RowChangesGroupByTable: changes})
		if err != nil {
			return err
		}
		for table, at := range places {
			results := resp.TableToRowsResult[table]
			if len(results) != len(at) {
				return fmt.Errorf("%w: %d results of %d rows", ErrAnswer, len(results), len(at))
			}
			for i, r := range results {
				out[at[i]].Err = l.rowError(r, resp.RequestId)
				_, out[at[i]].Write = c.spent(r.ConsumedCapacityUnit.Read, r.ConsumedCapacityUnit.Write)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (l *line) rowError(r tablestore.RowResult, request string) error {
	if r.IsSucceed {
		return nil
	}
	return &Error{Code: clean(r.Error.Code, l.key), Message: clean(r.Error.Message, l.key), RequestID: clean(request, l.key)}
}

// Existence is what a condition wants of the row itself.
type Existence uint8

// The zero Existence wants nothing.
const (
	Any Existence = iota
	Exists
	ExistsNot
)

// Comparison compares a column with a value: column Is value.
type Comparison uint8

// Comparisons.
const (
	Equal Comparison = iota + 1
	NotEqual
	Greater
	GreaterEqual
	Less
	LessEqual
)

// Condition is what must be so for a write to be done; else it fails with the
// class [ClassCondition]. The zero Condition is always met.
type Condition struct {
	Row Existence

	// The newest version of Column, if one is named, compared with Value. A
	// missing column, and so a missing row, meets it if Missing.
	Column  string
	Is      Comparison
	Value   Value
	Missing bool
}

func (c Condition) sdk() (*tablestore.RowCondition, error) {
	out := &tablestore.RowCondition{RowExistenceExpectation: tablestore.RowExistenceExpectation(c.Row)}
	if c.Column == "" {
		return out, nil
	}
	if c.Is < Equal || c.Is > LessEqual {
		return nil, fmt.Errorf("%w: a condition without a comparison", ErrRequest)
	}
	if err := checkValue(c.Column, c.Value); err != nil {
		return nil, err
	}
	column := tablestore.NewSingleColumnCondition(c.Column, tablestore.ComparatorType(c.Is), c.Value)
	column.FilterIfMissing = !c.Missing // the vendor's page says the reverse and is wrong
	column.LatestVersionOnly = true
	out.ColumnCondition = column
	return out, nil
}

// PutIf writes a whole row if the condition is met. A cell with the version 0
// gets the service's time.
func (c *Client) PutIf(ctx context.Context, table string, r Row, cond Condition) error {
	if err := (Mutation{table, PutRow, r.Key, r.Cells}).check(); err != nil {
		return err
	}
	want, err := cond.sdk()
	if err != nil {
		return err
	}
	change := &tablestore.PutRowChange{TableName: table, PrimaryKey: sdkKey(r.Key), Condition: want}
	for _, cell := range r.Cells {
		change.AddColumnWithTimestamp(cell.Name, cell.Value, cell.Version) // 0 is none, as is wanted here
	}
	return c.call(ctx, func(l *line) error {
		resp, err := l.sdk.PutRow(&tablestore.PutRowRequest{PutRowChange: change})
		if err == nil {
			c.spent(resp.ConsumedCapacityUnit.Read, resp.ConsumedCapacityUnit.Write)
		}
		return err
	})
}

// UpdateIf applies cells to a row if the condition is met. A put with the
// version 0 gets the service's time.
func (c *Client) UpdateIf(ctx context.Context, table string, r Row, cond Condition) error {
	if err := (Mutation{table, UpdateRow, r.Key, r.Cells}).check(); err != nil {
		return err
	}
	want, err := cond.sdk()
	if err != nil {
		return err
	}
	change := &tablestore.UpdateRowChange{TableName: table, PrimaryKey: sdkKey(r.Key), Condition: want}
	for _, cell := range r.Cells {
		switch {
		case cell.Op == DeleteAll:
			change.DeleteColumn(cell.Name)
		case cell.Op == DeleteOne:
			change.DeleteColumnWithTimestamp(cell.Name, cell.Version)
		case cell.Version == 0:
			change.PutColumn(cell.Name, cell.Value)
		default:
			change.PutColumnWithTimestamp(cell.Name, cell.Value, cell.Version)
		}
	}
	return c.call(ctx, func(l *line) error {
		resp, err := l.sdk.UpdateRow(&tablestore.UpdateRowRequest{UpdateRowChange: change})
		if err == nil {
			c.spent(resp.ConsumedCapacityUnit.Read, resp.ConsumedCapacityUnit.Write)
		}
		return err
	})
}

// DeleteIf removes a row if the condition is met.
func (c *Client) DeleteIf(ctx context.Context, table string, key Key, cond Condition) error {
	if err := key.check(); err != nil {
		return err
	}
	want, err := cond.sdk()
	if err != nil {
		return err
	}
	change := &tablestore.DeleteRowChange{TableName: table, PrimaryKey: sdkKey(key), Condition: want}
	return c.call(ctx, func(l *line) error {
		resp, err := l.sdk.DeleteRow(&tablestore.DeleteRowRequest{DeleteRowChange: change})
		if err == nil {
			c.spent(resp.ConsumedCapacityUnit.Read, resp.ConsumedCapacityUnit.Write)
		}
		return err
	})
}

func sdkKey(k Key) *tablestore.PrimaryKey {
	out := &tablestore.PrimaryKey{PrimaryKeys: make([]*tablestore.PrimaryKeyColumn, len(k))}
	for i, c := range k {
		out.PrimaryKeys[i] = &tablestore.PrimaryKeyColumn{ColumnName: c.Name, Value: c.Value}
	}
	return out
}
