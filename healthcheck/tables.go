package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
)

// Tables asks a Tablestore cluster about tables, with any key, in the way of
// the probes: at the address of the cluster, under the clients' name, with
// their instance in the signed header, nothing retried or pooled. It is for
// people who set up or prove something; probes need none of it. Not for
// concurrent use.
type Tables struct {
	line *tableLine
	key  AccessKey
}

// ErrNoTablestore: no check of the target asks a Tablestore.
var ErrNoTablestore = errors.New("no check of the type tablestore")

// OpenTables takes the target's check of that type, ErrNoTablestore without
// one. It connects with the first question; everything ends with ctx.
func OpenTables(ctx context.Context, t Target, c ProbeConfig, key AccessKey) (*Tables, error) {
	if faults := t.Validate(); len(faults) > 0 {
		return nil, joinFaults(faults)
	}
	one, ok := t.tablestore()
	if !ok {
		return nil, ErrNoTablestore
	}
	one.Check = one.Check.withDefaults()
	d := newDialer(one, c)
	if err := d.checkLiteral(); err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	l := &tableLine{ctx: ctx, tr: &Trace{}, dial: d, target: one}
	if one.Check.isTLS() {
		l.shake = newShaker(one)
	}
	return &Tables{l, key}, nil
}

// Close ends the connection.
func (x *Tables) Close() { x.line.hangUp() }

// OwnTables are the tables that probes of a target use: that of the canary,
// the one that says who the cluster is, and the one that must not be there.
// The latter two are empty where the check asks for no identity.
type OwnTables struct{ Canary, Own, Other string }

// OwnTables returns them; ok is false without a check of that type.
func (t Target) OwnTables() (o OwnTables, ok bool) {
	one, ok := t.tablestore()
	if !ok {
		return o, false
	}
	o.Canary = one.Check.Tablestore.withDefaults().Table
	if p := one.Check.Identity.Table; p != "" {
		o.Own, o.Other = p+t.Identity, p+t.Other
	}
	return o, true
}

// canaryKey is the primary key of all of them, as Describe tells it.
var canaryKey = []string{CanaryPart + " STRING", CanaryWho + " STRING"}

// TableShape is what a table looks like.
type TableShape struct {
	Exists      bool
	Key         []string // columns of the primary key, such as "id INTEGER"
	MaxVersions int
	TimeToLive  int // seconds; -1 is for ever
}

// Fits says why the probes cannot use the table, or nothing.
func (s TableShape) Fits() string {
	switch {
	case !slices.Equal(s.Key, canaryKey):
		return fmt.Sprintf("its primary key is %s, not %s", strings.Join(s.Key, ", "), strings.Join(canaryKey, ", "))
	case s.TimeToLive > 0:
		return fmt.Sprintf("its rows are dropped after %d s", s.TimeToLive)
	}
	return ""
}

// Describe tells of a table. That it does not exist is no error.
func (x *Tables) Describe(table string) (s TableShape, err error) {
	err = call(func() error {
		got, err := x.line.client(x.key).DescribeTable(&tablestore.DescribeTableRequest{TableName: table})
		if err != nil {
			return err
		}
		s = TableShape{Exists: true, MaxVersions: got.TableOption.MaxVersion, TimeToLive: got.TableOption.TimeToAlive}
		for _, k := range got.TableMeta.SchemaEntry {
			s.Key = append(s.Key, *k.Name+" "+keyType(*k.Type))
		}
		return nil
	})
	if e, ok := errors.AsType[serviceError](err); ok && e.means == meansAbsent {
		return TableShape{}, nil
	}
	return s, err
}

func keyType(t tablestore.PrimaryKeyType) string {
	switch t {
	case tablestore.PrimaryKeyType_INTEGER:
		return "INTEGER"
	case tablestore.PrimaryKeyType_STRING:
		return "STRING"
	case tablestore.PrimaryKeyType_BINARY:
		return "BINARY"
	}
	return fmt.Sprintf("type %d", t)
}

// ErrTableExists: a table that was to be made is there.
var ErrTableExists = errors.New("the table exists")

// Create makes a table of the shape that probes use: one version, kept for
// ever, no reserved throughput, no stream. ErrTableExists where it is there
// already.
func (x *Tables) Create(table string) error {
	return call(func() error {
		meta := &tablestore.TableMeta{TableName: table}
		meta.AddPrimaryKeyColumn(CanaryPart, tablestore.PrimaryKeyType_STRING)
		meta.AddPrimaryKeyColumn(CanaryWho, tablestore.PrimaryKeyType_STRING)
		_, err := x.line.client(x.key).CreateTable(&tablestore.CreateTableRequest{
			TableMeta: meta, TableOption: &tablestore.TableOption{TimeToAlive: -1, MaxVersion: 1}, ReservedThroughput: &tablestore.ReservedThroughput{},
		})
		return err
	})
}
