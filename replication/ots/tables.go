package ots

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
)

// ListTables are the names of all tables, sorted.
func (c *Client) ListTables(ctx context.Context) ([]string, error) {
	var out []string
	err := c.call(ctx, func(l *line) error {
		resp, err := l.sdk.ListTable()
		if err == nil {
			out = resp.TableNames
		}
		return err
	})
	slices.Sort(out)
	return out, err
}

var keyTypes = map[string]tablestore.PrimaryKeyType{
	"INTEGER": tablestore.PrimaryKeyType_INTEGER, "STRING": tablestore.PrimaryKeyType_STRING, "BINARY": tablestore.PrimaryKeyType_BINARY,
}

func keyTypeName(t tablestore.PrimaryKeyType) string {
	for name, of := range keyTypes {
		if of == t {
			return name
		}
	}
	return fmt.Sprintf("TYPE%d", t)
}

// Describe says what a table is.
func (c *Client) Describe(ctx context.Context, table string) (Table, error) {
	var out Table
	err := c.call(ctx, func(l *line) error {
		resp, err := l.sdk.DescribeTable(&tablestore.DescribeTableRequest{TableName: table})
		if err != nil {
			return err
		}
		o, s := resp.TableOption, resp.StreamDetails
		out = Table{
			Name: resp.TableMeta.TableName, TTL: o.TimeToAlive, MaxVersions: o.MaxVersion, Deviation: o.DeviationCellVersionInSec,
			AllowUpdate: *o.AllowUpdate, UpdateFullRow: *o.UpdateFullRow,
		}
		for _, k := range resp.TableMeta.SchemaEntry {
			out.Key = append(out.Key, KeySchema{*k.Name, keyTypeName(*k.Type), k.Option != nil && *k.Option == tablestore.AUTO_INCREMENT})
		}
		if s.EnableStream {
			out.Stream, out.Retention, out.StreamSince = string(*s.StreamId), time.Duration(s.ExpirationTime)*time.Hour, time.UnixMicro(s.LastEnableTime)
		}
		for _, i := range resp.IndexMetas {
			out.Indexes = append(out.Indexes, i.IndexName)
		}
		return nil
	})
	if err != nil {
		return Table{}, err
	}
	if len(out.Key) == 0 {
		return Table{}, fmt.Errorf("%w: a table without a key", ErrAnswer)
	}
	c.schemas.Store(table, out.Key)
	return out, nil
}

// schema is the primary key of a table, asked for once.
func (c *Client) schema(ctx context.Context, table string) ([]KeySchema, error) {
	if s, ok := c.schemas.Load(table); ok {
		return s.([]KeySchema), nil
	}
	t, err := c.Describe(ctx, table)
	return t.Key, err
}

// CreateTable makes a table: its key, TTL (for ever if 0), versions (1 if 0),
// deviation (the service's default if 0), AllowUpdate and UpdateFullRow as they
// are, and a stream if Retention is above 0. Stream, StreamSince and Indexes are
// the service's.
func (c *Client) CreateTable(ctx context.Context, t Table) error {
	meta := &tablestore.TableMeta{TableName: t.Name}
	for _, k := range t.Key {
		of, ok := keyTypes[k.Type]
		switch {
		case !ok:
			return fmt.Errorf("%w: a key column of type %q", ErrRequest, k.Type)
		case k.AutoIncrement:
			meta.AddPrimaryKeyColumnOption(k.Name, of, tablestore.AUTO_INCREMENT)
		default:
			meta.AddPrimaryKeyColumn(k.Name, of)
		}
	}
	ttl := t.TTL
	if ttl == 0 {
		ttl = -1
	}
	options := &tablestore.TableOption{TimeToAlive: ttl, MaxVersion: max(t.MaxVersions, 1), DeviationCellVersionInSec: t.Deviation, AllowUpdate: &t.AllowUpdate}
	if t.UpdateFullRow {
		options.UpdateFullRow = &t.UpdateFullRow
	}
	want := &tablestore.CreateTableRequest{TableMeta: meta, TableOption: options, ReservedThroughput: &tablestore.ReservedThroughput{}}
	if t.Retention > 0 {
		want.StreamSpec = &tablestore.StreamSpecification{EnableStream: true, ExpirationTime: hours(t.Retention)}
	}
	err := c.call(ctx, func(l *line) error {
		_, err := l.sdk.CreateTable(want)
		return err
	})
	c.schemas.Delete(t.Name)
	return err
}

// hours of a retention, rounded up; the service takes 1 to 168.
func hours(d time.Duration) int32 { return int32((d + time.Hour - 1) / time.Hour) }

// TableChange is what is to be otherwise; nil stays as it is.
type TableChange struct {
	TTL         *int // seconds; -1 is for ever
	MaxVersions *int
	Deviation   *int64 // seconds
	AllowUpdate *bool
	// Stream turns it on, with Retention and the columns of which records are to
	// bring the old values, or off. To turn it on again makes another stream.
	Stream    *bool
	Retention time.Duration
	Before    []string
}
