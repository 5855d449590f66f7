package lab

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"pointsman/internal/lab/tablestore"
)

// TablesConfig says what a cluster is that is a Tablestore.
type TablesConfig struct {
	Data      string     // folder of what it holds: what was acknowledged survives kill -9
	Instances []string   // their names
	Keys      []TableKey // who may call; the first makes the tables
}

// Validate returns the first fault.
func (c TablesConfig) validate() error {
	switch {
	case c.Data == "":
		return errors.New("a Tablestore needs a folder for what it holds")
	case len(c.Instances) == 0 || len(c.Keys) == 0:
		return errors.New("a Tablestore needs an instance and an access key")
	}
	return nil
}

// The tables of the probes.
const (
	identityPrefix = "pointsman_is_" // and the name of the cluster: a table that only it has
	canaryTable    = "pointsman_canary"
)

// tableService is a Tablestore as a cluster: the server of internal/lab/tablestore
// with the tables of the application and of the probes.
type tableService struct {
	name   string
	listen netip.AddrPort
	cfg    TablesConfig

	server *tablestore.Server // nil until it was opened
	is     string             // whose identity it shows
}

// errNotYet is returned for knobs that are turned before Run.
var errNotYet = errors.New("it does not serve yet")

func (t *tableService) open() error {
	if t.server != nil {
		return t.server.Revive()
	}
	opts := tablestore.Options{Listen: t.listen.String(), DataDir: t.cfg.Data}
	for _, name := range t.cfg.Instances {
		opts.Instances = append(opts.Instances, tablestore.Instance{Name: name})
	}
	for _, k := range t.cfg.Keys {
		opts.Keys = append(opts.Keys, tablestore.Key{ID: k.ID, Secret: k.Secret})
	}
	s, err := tablestore.New(opts)
	if err != nil {
		return err
	}
	t.server = s
	return t.furnish(t.name)
}

func (t *tableService) shut() error {
	if t.server == nil {
		return nil
	}
	return t.server.Kill()
}

func (t *tableService) close() error {
	if t.server == nil {
		return nil
	}
	return t.server.Close()
}

// furnish makes the tables that are missing, and lets the identity be that of
// the given cluster alone. The port must be open, and no fault set.
func (t *tableService) furnish(as string) error {
	for _, in := range t.cfg.Instances {
		c := sdk.NewClientWithConfig(t.server.Endpoint(), in, t.cfg.Keys[0].ID, t.cfg.Keys[0].Secret, "", carefully())
		there, err := c.ListTable()
		if err != nil {
			return fmt.Errorf("tables of %s: %w", in, err)
		}
		has := map[string]bool{}
		for _, name := range there.TableNames {
			has[name] = true
			if len(name) > len(identityPrefix) && name[:len(identityPrefix)] == identityPrefix && name != identityPrefix+as {
				if _, err := c.DeleteTable(&sdk.DeleteTableRequest{TableName: name}); err != nil {
					return fmt.Errorf("table %s of %s: %w", name, in, err)
				}
			}
		}
		for _, table := range []*sdk.TableMeta{
			{TableName: ordersTable, SchemaEntry: keys(ordersCustomer, sdk.PrimaryKeyType_STRING, ordersNumber, sdk.PrimaryKeyType_INTEGER)},
			{TableName: canaryTable, SchemaEntry: keys("part", sdk.PrimaryKeyType_STRING, "who", sdk.PrimaryKeyType_STRING)},
			{TableName: identityPrefix + as, SchemaEntry: keys("part", sdk.PrimaryKeyType_STRING, "who", sdk.PrimaryKeyType_STRING)},
		} {
			if has[table.TableName] {
				continue
			}
			if _, err := c.CreateTable(&sdk.CreateTableRequest{
				TableMeta: table, TableOption: &sdk.TableOption{TimeToAlive: -1, MaxVersion: 1}, ReservedThroughput: &sdk.ReservedThroughput{},
			}); err != nil {
				return fmt.Errorf("table %s of %s: %w", table.TableName, in, err)
			}
		}
	}
	t.is = as
	return nil
}

// keys is a primary key of two columns.
func keys(first string, firstType sdk.PrimaryKeyType, second string, secondType sdk.PrimaryKeyType) []*sdk.PrimaryKeySchema {
	return []*sdk.PrimaryKeySchema{{Name: &first, Type: &firstType}, {Name: &second, Type: &secondType}}
}

// turn sets the knobs anew: what was set before is healed first.
func (t *tableService) turn(k Knobs) error {
	if t.server == nil {
		return errNotYet
	}
	t.server.Heal()
	for _, in := range t.cfg.Instances {
		if err := t.server.SetStopped(in, false); err != nil {
			return err
		}
	}
	if as := cmp.Or(k.Identity, t.name); as != t.is {
		if err := errors.Join(t.server.Revive(), t.furnish(as)); err != nil {
			return err
		}
	}
	for _, f := range t.faults(k) {
		if _, err := t.server.Fail(f, -1); err != nil {
			return err
		}
	}
	for _, in := range t.cfg.Instances {
		if err := t.server.SetStopped(in, k.Refuse == RefuseNotRunning); err != nil {
			return err
		}
	}
	return nil
}

// everything is what a fault of the whole cluster is set for: calls, and the
// requests without a key by which probes see that the front answers.
var everything = []string{"", "GET"}

// faults are what knobs mean in the words of the server.
func (t *tableService) faults(k Knobs) []tablestore.Fault {
	var out []tablestore.Fault
	for _, op := range everything {
		if k.SlowMS > 0 {
			out = append(out, tablestore.Fault{Kind: tablestore.Late, Operation: op, Delay: time.Duration(k.SlowMS) * time.Millisecond})
		}
		if k.ErrorRate > 0 {
			out = append(out, tablestore.Fault{Kind: tablestore.ErrorCode, Operation: op, Code: "OTSServerUnavailable", Share: k.ErrorRate})
		}
	}
	if k.Refuse == RefuseKey {
		out = append(out, tablestore.Fault{Kind: tablestore.ErrorCode, Code: "OTSAuthFailed", Message: "The AccessKeyID is disabled."})
	}
	if k.PartitionMS > 0 {
		for _, in := range t.cfg.Instances {
			for table, part := range map[string][2]string{ordersTable: {"c0", "c1"}, canaryTable: {"0", "1"}} {
				out = append(out, tablestore.Fault{
					Kind: tablestore.Partition, Instance: in, Table: table, From: &part[0], To: &part[1],
					For: time.Duration(k.PartitionMS) * time.Millisecond,
				})
			}
		}
	}
	return out
}

func (t *tableService) requests() []Seen {
	if t.server == nil {
		return nil
	}
	out := []Seen{}
	for _, r := range t.server.Requests(tablestore.Filter{Last: historyLimit}) {
		out = append(out, Seen{
			At: r.At, Host: r.Instance, Path: "/" + r.Operation, Remote: r.Client, Status: r.Status, Code: r.Code, Tables: r.Tables,
		})
	}
	return out
}
