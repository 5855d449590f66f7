package replication

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pointsman/internal/failover"
	"pointsman/replication/ots"
)

// What the identities of replication do, in the words of the vendor's policies.
// pointsman init rights prints them; a test holds them against what is called.
var (
	// SourceActions are those of the identity that reads a cluster: all of it.
	SourceActions = []string{
		"ots:ListTable", "ots:DescribeTable", "ots:ListStream", "ots:DescribeStream", "ots:GetShardIterator", "ots:GetStreamRecord",
		"ots:GetRange", "ots:BatchGetRow", "ots:ComputeSplitPointsBySize",
	}
	// TargetActions are those of the identity that writes rows into people's
	// tables, and into our own. It can make, change or drop no table.
	TargetActions = []string{"ots:BatchWriteRow", "ots:BatchGetRow", "ots:GetRange", "ots:DescribeTable"}
	// OwnActions are what that identity needs on our own tables besides.
	OwnActions = []string{"ots:PutRow", "ots:UpdateRow", "ots:DeleteRow"}
	// PrepareActions are those of the one-shot identity.
	PrepareActions = []string{"ots:ListTable", "ots:DescribeTable", "ots:CreateTable", "ots:UpdateTable"}
)

// Identity is whose key is tried.
type Identity string

// Identities.
const (
	AsSource Identity = "source" // reads
	AsTarget Identity = "target" // writes rows, also those of our own tables
)

// Right is one action, and whether a key has it.
type Right struct {
	Action string
	On     string // a table; empty: the instance
	State  RightState
	Why    string // of RightUnknown
}

// RightState is what became of a try.
type RightState string

// States of a right.
const (
	RightGranted RightState = "granted"
	RightDenied  RightState = "denied"
	RightUnknown RightState = "unknown" // something else was in the way
)

// KeyRights are what one identity showed at one cluster.
type KeyRights struct {
	At
	As     Identity
	KeyID  string // empty: it could not be read
	Err    string // nothing could be tried
	Needed []Right
	Broad  []Right // that it need not have
}

// NowhereTable is the name of a table that nobody makes: what is tried on it
// can do nothing, and tells a right from none.
const NowhereTable = Prefix + "no_such_table"

// ProbeRights tries what the identities of one cluster may do. It reads; what
// would write is asked of a table that does not exist. So it cannot see a right
// that is granted or refused for single tables of people: the first row shows
// that.
func ProbeRights(ctx context.Context, c Config, cluster failover.ClusterName, tables []string) []KeyRights {
	at := c.Clusters[cluster]
	return []KeyRights{
		probeKey(ctx, At{cluster, at.Source.Instance}, AsSource, at.Source, func(x *ots.Client, k *KeyRights) { k.source(ctx, x, tables) }),
		probeKey(ctx, At{cluster, at.Target.Instance}, AsTarget, at.Target, func(x *ots.Client, k *KeyRights) { k.target(ctx, x, tables) }),
	}
}

func probeKey(_ context.Context, at At, as Identity, cfg ots.Config, look func(*ots.Client, *KeyRights)) KeyRights {
	k := KeyRights{At: at, As: as}
	key, err := cfg.Credentials()
	if err != nil {
		k.Err = err.Error()
		return k
	}
	k.KeyID = key.ID
	x, err := ots.Open(cfg)
	if err != nil {
		k.Err = err.Error()
		return k
	}
	defer x.Close()
	look(x, &k)
	return k
}

// rightOf is what an answer says of a right. That there is no such table,
// stream or row is an answer of somebody who may ask.
func rightOf(action, on string, err error) Right {
	r := Right{Action: action, On: on, State: RightGranted}
	switch ots.ClassOf(err) {
	case ots.ClassRights:
		r.State = RightDenied
	case ots.ClassRetry, ots.ClassOwn:
		r.State, r.Why = RightUnknown, err.Error()
	}
	return r
}

func (k *KeyRights) source(ctx context.Context, x *ots.Client, tables []string) {
	_, err := x.ListTables(ctx)
	k.Needed = append(k.Needed, rightOf("ots:ListTable", "", err))
	of := make([][]Right, len(tables))
	g := bareTeam()
	g.SetLimit(describeAtOnce)
	for i, t := range tables {
		g.Go(func() error {
			of[i] = readRights(ctx, x, t)
			return nil
		})
	}
	_ = g.Wait() // rights, not errors
	k.Needed = append(k.Needed, slices.Concat(of...)...)
	k.Broad = slices.Concat(writeRights(ctx, x, OwnActions), changeRights(ctx, x))
}

// probeSplit is the size of parts that nobody will read, in bytes.
const probeSplit = 100 << 20

// readRights tries everything that is read of one table. What comes after a
// refusal is not tried where it needs its answer.
func readRights(ctx context.Context, x *ots.Client, table string) []Right {
	var out []Right
	add := func(action string, err error) bool {
		out = append(out, rightOf(action, table, err))
		return err == nil
	}
	t, err := x.Describe(ctx, table)
	if !add("ots:DescribeTable", err) {
		return out
	}
	low := make(ots.Key, len(t.Key))
	for i, col := range t.Key {
		low[i] = ots.KeyColumn{Name: col.Name, Value: lowestValue(col.Type)}
	}
	_, err = x.Get(ctx, table, []ots.Key{low}, 1)
	add("ots:BatchGetRow", err)
	_, err = x.Range(ctx, ots.RangeQuery{Table: table, Limit: 1, MaxVersions: 1})
	add("ots:GetRange", err)
	_, err = x.Splits(ctx, table, probeSplit, 1)
	add("ots:ComputeSplitPointsBySize", err)
	streams, err := x.Streams(ctx, table)
	if !add("ots:ListStream", err) || len(streams) == 0 {
		return out
	}
	_, shards, err := x.Shards(ctx, streams[0].ID)
	if !add("ots:DescribeStream", err) || len(shards) == 0 {
		return out
	}
	it, err := x.Iterator(ctx, streams[0].ID, shards[0].ID, time.Time{})
	if !add("ots:GetShardIterator", err) {
		return out
	}
	_, err = x.Records(ctx, it, 1)
	add("ots:GetStreamRecord", err)
	return out
}

// target tries what is read of people's tables, and what is written to ours.
func (k *KeyRights) target(ctx context.Context, x *ots.Client, tables []string) {
	for _, t := range tables {
		s, err := x.Describe(ctx, t)
		k.Needed = append(k.Needed, rightOf("ots:DescribeTable", t, err))
		if err != nil {
			continue
		}
		low := make(ots.Key, len(s.Key))
		for i, col := range s.Key {
			low[i] = ots.KeyColumn{Name: col.Name, Value: lowestValue(col.Type)}
		}
		_, err = x.Get(ctx, t, []ots.Key{low}, 1)
		k.Needed = append(k.Needed, rightOf("ots:BatchGetRow", t, err))
		_, err = x.Range(ctx, ots.RangeQuery{Table: t, Limit: 1, MaxVersions: 1})
		k.Needed = append(k.Needed, rightOf("ots:GetRange", t, err))
	}
	k.Needed = append(k.Needed, writeRights(ctx, x, append([]string{"ots:BatchWriteRow"}, OwnActions...))...)
	k.Broad = changeRights(ctx, x)
}

// nowhereRow is a row of the table that nobody makes.
var nowhereRow = ots.Row{Key: ots.Key{{Name: "k", Value: "none"}}, Cells: []ots.Cell{{Name: "c", Value: "none", Version: 1}}}

// writeRights asks to write a row of a table that does not exist.
func writeRights(ctx context.Context, x *ots.Client, actions []string) []Right {
	never := ots.Condition{Row: ots.Exists}
	var out []Right
	for _, action := range actions {
		var err error
		switch action {
		case "ots:PutRow":
			err = x.PutIf(ctx, NowhereTable, nowhereRow, never)
		case "ots:UpdateRow":
			err = x.UpdateIf(ctx, NowhereTable, nowhereRow, never)
		case "ots:DeleteRow":
			err = x.DeleteIf(ctx, NowhereTable, nowhereRow.Key, never)
		case "ots:BatchWriteRow":
			var res []ots.Result
			if res, err = x.Write(ctx, []ots.Mutation{{Table: NowhereTable, Action: ots.PutRow, Key: nowhereRow.Key, Cells: nowhereRow.Cells}}); err == nil && len(res) == 1 {
				err = res[0].Err
			}
		default:
			panic(fmt.Sprintf("%s is no way of writing a row", action))
		}
		out = append(out, rightOf(action, NowhereTable, err))
	}
	return out
}

// changeRights asks to change a table that does not exist.
func changeRights(ctx context.Context, x *ots.Client) []Right {
	one := 1
	return []Right{rightOf("ots:UpdateTable", NowhereTable, x.UpdateTable(ctx, NowhereTable, ots.TableChange{MaxVersions: &one}))}
}

// lowestValue is a value of a key column that few rows have.
func lowestValue(of string) ots.Value {
	switch of {
	case "INTEGER":
		return int64(-1 << 63)
	case "BINARY":
		return []byte{0}
	}
	return "\x00"
}
