package lab

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
)

// The table that is copied in a story: many rows, loaded before, and changed
// while they are copied.
const (
	archiveTable = "archive"
	archiveKey   = "id"   // STRING
	archiveText  = "text" // STRING
	archiveCount = "n"    // INTEGER
	// archiveRows is how many there are at first.
	archiveRows = 100_000
	batchRows   = 200 // that one call of the service takes
)

// archive is that table at the cluster where clients write.
type archive struct {
	client  *sdk.TableStoreClient
	end     func()
	changed atomic.Int64 // rows, by changes that were acknowledged
}

func newArchive(w *World, cluster string) *archive {
	site, _ := w.Cluster(cluster)
	in := w.Instances[0]
	client, end := clientAt(site, in.Names[0], in.Name, w.keys[keyOfService])
	return &archive{client: client, end: end}
}

// make makes the table as people do: no stream, the window of versions that is
// usual. It may be there already, of an earlier round.
func (a *archive) make() (there bool, err error) {
	tables, err := a.client.ListTable()
	if err != nil {
		return false, fmt.Errorf("tables: %w", said(err))
	}
	if slices.Contains(tables.TableNames, archiveTable) {
		return true, nil
	}
	meta := &sdk.TableMeta{TableName: archiveTable}
	meta.AddPrimaryKeyColumn(archiveKey, sdk.PrimaryKeyType_STRING)
	_, err = a.client.CreateTable(&sdk.CreateTableRequest{
		TableMeta: meta, TableOption: &sdk.TableOption{TimeToAlive: -1, MaxVersion: 2}, ReservedThroughput: &sdk.ReservedThroughput{},
	})
	if err != nil {
		return false, fmt.Errorf("make the table %s: %w", archiveTable, said(err))
	}
	return false, nil
}

func archiveID(n int) string { return fmt.Sprintf("%06d", n) }

func archiveRow(n int, text string) *sdk.PutRowChange {
	row := &sdk.PutRowChange{TableName: archiveTable, PrimaryKey: archiveKeyOf(archiveID(n))}
	row.AddColumn(archiveText, text)
	row.AddColumn(archiveCount, int64(n))
	row.SetCondition(sdk.RowExistenceExpectation_IGNORE)
	return row
}

func archiveKeyOf(id string) *sdk.PrimaryKey {
	key := new(sdk.PrimaryKey)
	key.AddPrimaryKeyColumn(archiveKey, id)
	return key
}

// load writes all rows, in batches.
func (a *archive) load(ctx context.Context) error {
	for n := 0; n < archiveRows; n += batchRows {
		if ctx.Err() != nil { // the client knows no context
			return context.Cause(ctx)
		}
		req := &sdk.BatchWriteRowRequest{}
		for i := range batchRows {
			req.AddRowChange(archiveRow(n+i, fmt.Sprintf("as it was loaded, number %d", n+i)))
		}
		resp, err := a.client.BatchWriteRow(req)
		if err != nil {
			return fmt.Errorf("load %s: %w", archiveTable, said(err))
		}
		for _, row := range resp.TableToRowsResult[archiveTable] {
			if !row.IsSucceed {
				return fmt.Errorf("load %s: %s: %s", archiveTable, row.Error.Code, row.Error.Message)
			}
		}
	}
	return nil
}

// change changes rows by lot, one after the other, until the context ends: it
// puts, updates and deletes, and makes new ones.
func (a *archive) change(ctx context.Context) error {
	for n := 0; ctx.Err() == nil; n++ {
		if err := a.one(rand.IntN(archiveRows), n); err != nil {
			return fmt.Errorf("change %s: %w", archiveTable, said(err))
		}
		a.changed.Add(1)
		if err := pause(ctx, time.Millisecond); err != nil {
			return nil //nolint:nilerr // it was to end
		}
	}
	return nil
}

func (a *archive) one(row, n int) error {
	switch n % 4 {
	case 0:
		_, err := a.client.PutRow(&sdk.PutRowRequest{PutRowChange: archiveRow(row, fmt.Sprintf("put while it was copied, %d", n))})
		return err
	case 1:
		up := &sdk.UpdateRowChange{TableName: archiveTable, PrimaryKey: archiveKeyOf(archiveID(row))}
		up.PutColumn(archiveText, fmt.Sprintf("updated while it was copied, %d", n))
		up.SetCondition(sdk.RowExistenceExpectation_IGNORE)
		_, err := a.client.UpdateRow(&sdk.UpdateRowRequest{UpdateRowChange: up})
		return err
	case 2:
		del := &sdk.DeleteRowChange{TableName: archiveTable, PrimaryKey: archiveKeyOf(archiveID(row))}
		del.SetCondition(sdk.RowExistenceExpectation_IGNORE)
		_, err := a.client.DeleteRow(&sdk.DeleteRowRequest{DeleteRowChange: del})
		return err
	}
	_, err := a.client.PutRow(&sdk.PutRowRequest{PutRowChange: archiveRow(archiveRows+n, "made while it was copied")})
	return err
}

// digests reads a whole table of one cluster: of each row, by its key, a hash of
// names, versions and values.
func digests(ctx context.Context, w *World, cluster, table string, first ...string) (map[string]uint64, error) {
	site, _ := w.Cluster(cluster)
	in := w.Instances[0]
	client, end := clientAt(site, in.Names[0], in.Name, w.keys[keyOfService])
	defer end()
	from, to := new(sdk.PrimaryKey), new(sdk.PrimaryKey)
	for _, column := range first {
		from.AddPrimaryKeyColumnWithMinValue(column)
		to.AddPrimaryKeyColumnWithMaxValue(column)
	}
	out := map[string]uint64{}
	for from != nil {
		if ctx.Err() != nil { // the client knows no context
			return nil, context.Cause(ctx)
		}
		resp, err := client.GetRange(&sdk.GetRangeRequest{RangeRowQueryCriteria: &sdk.RangeRowQueryCriteria{
			TableName: table, StartPrimaryKey: from, EndPrimaryKey: to, Direction: sdk.FORWARD, MaxVersion: 100, Limit: readPage,
		}})
		if err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", table, cluster, said(err))
		}
		for _, row := range resp.Rows {
			key := ""
			for _, k := range row.PrimaryKey.PrimaryKeys {
				key += fmt.Sprintf("%v/", k.Value)
			}
			h := fnv.New64a()
			for _, c := range row.Columns {
				fmt.Fprintf(h, "%s %d %T %v\n", c.ColumnName, c.Timestamp, c.Value, c.Value)
			}
			out[key] = h.Sum64()
		}
		from = resp.NextStartPrimaryKey
	}
	return out, nil
}

// unlike counts the rows that are not the same in both.
func unlike(a, b map[string]uint64) (n int, example string) {
	note := func(key, how string) {
		if n++; example == "" {
			example = key + " " + how
		}
	}
	for key, h := range a {
		switch other, there := b[key]; {
		case !there:
			note(key, "is only at the first")
		case other != h:
			note(key, "differs")
		}
	}
	for key := range b {
		if _, there := a[key]; !there {
			note(key, "is only at the second")
		}
	}
	return n, example
}
