package replication

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	lab "pointsman/internal/lab/tablestore"
)

// A model is two clusters, clients that write to the first in all ways that
// there are, and what these clients were told, so that what a replicator claims
// can be judged. It looks at the clusters through the bare SDK alone.
type model struct {
	t    testing.TB
	a, b *lab.Server
	seen map[*lab.Server]*sdk.TableStoreClient

	rows   []*modelRow
	pause  sync.RWMutex   // held for reading while a client writes
	points map[string]int // of Config.Fail, and how often they came; one life at a time
	late   atomic.Pointer[lateCall]
	there  bool            // the table that comes and goes
	mixed  map[string]bool // tables whose streams have times of several clocks
	stop   chan struct{}
	done   sync.WaitGroup
}

// modelTable is one kind of table.
type modelTable struct {
	name     string
	versions int
	key      func(n int) *sdk.PrimaryKey
	schema   func(*sdk.TableMeta)
}

func sdkKeyOf(pairs ...any) *sdk.PrimaryKey {
	k := &sdk.PrimaryKey{}
	for i := 0; i < len(pairs); i += 2 {
		k.AddPrimaryKeyColumn(pairs[i].(string), pairs[i+1])
	}
	return k
}

var modelTables = []modelTable{
	{"orders", 3, func(n int) *sdk.PrimaryKey { return sdkKeyOf("id", fmt.Sprintf("o%02d", n%20), "n", int64(n)) }, func(m *sdk.TableMeta) {
		m.AddPrimaryKeyColumn("id", sdk.PrimaryKeyType_STRING)
		m.AddPrimaryKeyColumn("n", sdk.PrimaryKeyType_INTEGER)
	}},
	{"events", 1, func(n int) *sdk.PrimaryKey { return sdkKeyOf("k", []byte{byte(n * 10), 0, byte(n)}) }, func(m *sdk.TableMeta) {
		m.AddPrimaryKeyColumn("k", sdk.PrimaryKeyType_BINARY)
	}},
	{"ids", 2, func(n int) *sdk.PrimaryKey { return sdkKeyOf("k", int64(n-10)) }, func(m *sdk.TableMeta) {
		m.AddPrimaryKeyColumn("k", sdk.PrimaryKeyType_INTEGER)
	}},
}

// passing is a table that comes and goes, and that no client writes.
var passing = modelTable{name: "passing", versions: 1, schema: func(meta *sdk.TableMeta) { meta.AddPrimaryKeyColumn("k", sdk.PrimaryKeyType_INTEGER) }}

// modelRow is one row and what was done to it, in order: one client at a time
// writes it.
type modelRow struct {
	table modelTable
	key   *sdk.PrimaryKey
	id    string

	mu  sync.Mutex
	ops []modelOp
}

// modelOp is one change of a row.
type modelOp struct {
	acked   time.Time // when its client was told that it is done; zero: never
	whole   bool      // every column
	columns []string
	after   content // of the row at the source, and nobody wrote in between
	known   bool    // after is
}

// content is a row as text: per column its versions, from the newest. Nil is no
// row.
type content map[string]string

func (c content) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(c)) {
		fmt.Fprintf(&b, "%s: %s; ", name, c[name])
	}
	return b.String()
}

func contentOf(columns []*sdk.AttributeColumn) content {
	c := content{}
	for _, col := range columns {
		c[col.ColumnName] += fmt.Sprintf("%d=%v ", col.Timestamp, col.Value)
	}
	return c
}

const modelRows = 12 // of each table that clients write

func newModel(t testing.TB) *model {
	m := &model{t: t, seen: map[*lab.Server]*sdk.TableStoreClient{}, mixed: map[string]bool{}, points: map[string]int{"deliver": 0}, stop: make(chan struct{})}
	for _, s := range []**lab.Server{&m.a, &m.b} {
		server, err := lab.New(lab.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		*s = server
		cfg := sdk.NewDefaultTableStoreConfig()
		cfg.RetryTimes = 0
		cfg.MaxIdleConnections = 8
		cfg.IdleConnTimeout = time.Second
		m.seen[server] = sdk.NewClientWithConfig(server.Endpoint(), "lab", server.Key().ID, server.Key().Secret, "", cfg)
		for _, table := range modelTables {
			m.create(server, table)
		}
	}
	for _, table := range modelTables {
		for n := range modelRows {
			k := table.key(n)
			m.rows = append(m.rows, &modelRow{table: table, key: k, id: rowName(k)})
		}
	}
	return m
}

func (m *model) create(s *lab.Server, table modelTable) {
	meta := &sdk.TableMeta{TableName: table.name}
	table.schema(meta)
	for {
		_, err := m.seen[s].CreateTable(&sdk.CreateTableRequest{
			TableMeta:          meta,
			TableOption:        &sdk.TableOption{TimeToAlive: -1, MaxVersion: table.versions, DeviationCellVersionInSec: 1<<31 - 1},
			ReservedThroughput: &sdk.ReservedThroughput{},
			StreamSpec:         &sdk.StreamSpecification{EnableStream: true, ExpirationTime: 168},
		})
		if e, ok := errors.AsType[*sdk.OtsError](err); err == nil || ok && e.Code == "OTSObjectAlreadyExist" {
			return
		}
	}
}

func rowName(k *sdk.PrimaryKey) string {
	var parts []string
	for _, c := range k.PrimaryKeys {
		parts = append(parts, fmt.Sprint(c.Value))
	}
	return strings.Join(parts, "/")
}

// read is a row at the source; again until it can be had, for faults are about.
func (m *model) read(row *modelRow) content {
	for {
		var r *sdk.GetRowResponse
		err := toldClient(func() (err error) {
			r, err = m.seen[m.a].GetRow(&sdk.GetRowRequest{SingleRowQueryCriteria: &sdk.SingleRowQueryCriteria{
				TableName: row.table.name, PrimaryKey: row.key, MaxVersion: 100,
			}})
			return err
		})
		switch {
		case err != nil:
			continue
		case len(r.PrimaryKey.PrimaryKeys) == 0:
			return nil
		}
		return contentOf(r.Columns)
	}
}

// write begins clients that write rows at random, each its own, until halt.
func (m *model) write(seed uint64, clients int, rest time.Duration) {
	for c := range clients {
		rng := rand.New(rand.NewPCG(seed, uint64(c)))
		m.done.Go(func() {
			for {
				select {
				case <-m.stop:
					return
				case <-time.After(time.Duration(rng.Int64N(int64(2 * rest)))):
				}
				m.pause.RLock()
				m.change(rng, m.rows[c+clients*rng.IntN(len(m.rows)/clients)])
				m.pause.RUnlock()
			}
		})
	}
}

func (m *model) halt() {
	close(m.stop)
	m.done.Wait()
}

// change does one thing to a row.
//
// A column is named for what is done to it. To delete one version of a column
// of which more were put than are kept is left out: what is there then depends
// on when the service forgets versions, which it does not say.
func (m *model) change(rng *rand.Rand, row *modelRow) {
	c := m.seen[m.a]
	op := modelOp{}
	var do func() error
	anything := &sdk.RowCondition{RowExistenceExpectation: sdk.RowExistenceExpectation_IGNORE}
	value := func() any {
		switch rng.IntN(5) {
		case 0:
			return rng.Int64()
		case 1:
			return rng.Float64()
		case 2:
			return rng.IntN(2) == 0
		case 3:
			return []byte(fmt.Sprint(rng.Uint32()))
		}
		return fmt.Sprint("v", rng.Uint32())
	}
	// Explicit versions: few of "few", any of "any".
	few := func() int64 { return int64(1_600_000_000_000 + rng.IntN(row.table.versions)) }
	any := func() int64 { return int64(1_600_000_000_000 + rng.IntN(1000)) }
	switch kind := rng.IntN(10); {
	case kind == 0:
		op.whole = true
		do = func() error {
			_, err := c.DeleteRow(&sdk.DeleteRowRequest{DeleteRowChange: &sdk.DeleteRowChange{TableName: row.table.name, PrimaryKey: row.key, Condition: anything}})
			return err
		}
	case kind <= 3:
		op.whole = true
		ch := &sdk.PutRowChange{TableName: row.table.name, PrimaryKey: row.key, Condition: anything}
		for _, name := range []string{"now", "few", "any", "sum"} {
			switch {
			case rng.IntN(3) == 0:
			case name == "few":
				ch.AddColumnWithTimestamp(name, value(), few())
			case name == "any":
				ch.AddColumnWithTimestamp(name, value(), any())
			case name == "sum":
				ch.AddColumn(name, int64(rng.IntN(100)))
			default:
				ch.AddColumn(name, value())
			}
		}
		do = func() error {
			_, err := c.PutRow(&sdk.PutRowRequest{PutRowChange: ch})
			return err
		}
	default:
		ch := &sdk.UpdateRowChange{TableName: row.table.name, PrimaryKey: row.key, Condition: anything}
		for _, name := range []string{"now", "few", "any", "sum"} {
			if rng.IntN(2) == 0 && !(name == "sum" && len(op.columns) == 0) {
				continue
			}
			op.columns = append(op.columns, name)
			switch {
			case rng.IntN(6) == 0:
				ch.DeleteColumn(name)
			case name == "few" && rng.IntN(3) == 0:
				ch.DeleteColumnWithTimestamp(name, few())
			case name == "few":
				ch.PutColumnWithTimestamp(name, value(), few())
			case name == "any":
				ch.PutColumnWithTimestamp(name, value(), any())
			case name == "sum":
				ch.IncrementColumn(name, int64(1+rng.IntN(9)))
			default:
				ch.PutColumn(name, value())
			}
		}
		do = func() error {
			_, err := c.UpdateRow(&sdk.UpdateRowRequest{UpdateRowChange: ch})
			return err
		}
	}
	row.mu.Lock()
	at := len(row.ops)
	row.ops = append(row.ops, op)
	row.mu.Unlock()
	err := toldClient(do)
	acked := time.Now()
	after := m.read(row)
	row.mu.Lock()
	defer row.mu.Unlock()
	if err == nil {
		row.ops[at].acked = acked
	}
	row.ops[at].after, row.ops[at].known = after, true
}

// toldClient is what a client is told: the SDK panics on answers that lack something.
func toldClient(do func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return do()
}

// contents are all rows of a table at one side.
func (m *model) contents(s *lab.Server, table modelTable) (map[string]content, error) {
	out := map[string]content{}
	from, to := &sdk.PrimaryKey{}, &sdk.PrimaryKey{}
	meta := &sdk.TableMeta{}
	table.schema(meta)
	for _, k := range meta.SchemaEntry {
		from.AddPrimaryKeyColumnWithMinValue(*k.Name)
		to.AddPrimaryKeyColumnWithMaxValue(*k.Name)
	}
	for from != nil {
		r, err := m.seen[s].GetRange(&sdk.GetRangeRequest{RangeRowQueryCriteria: &sdk.RangeRowQueryCriteria{
			TableName: table.name, StartPrimaryKey: from, EndPrimaryKey: to, MaxVersion: 100, Limit: 1000,
		}})
		if err != nil {
			return nil, err
		}
		for _, row := range r.Rows {
			out[rowName(row.PrimaryKey)] = contentOf(row.Columns)
		}
		from = r.NextStartPrimaryKey
	}
	return out, nil
}

// insist is contents where there may be faults.
func (m *model) insist(s *lab.Server, table modelTable) map[string]content {
	for {
		var out map[string]content
		err := toldClient(func() (err error) {
			out, err = m.contents(s, table)
			return err
		})
		if err == nil {
			return out
		}
	}
}

// differences are rows that the sides do not have alike.
func (m *model) differences() []string {
	var out []string
	tables := modelTables
	if m.there {
		tables = append(slices.Clone(tables), passing)
	}
	for _, table := range tables {
		a, b := m.insist(m.a, table), m.insist(m.b, table)
		for id := range a {
			if x, ok := b[id]; !ok || !maps.Equal(a[id], x) {
				out = append(out, fmt.Sprintf("%s %s: {%v} at the source, {%v} at the target, %v there", table.name, id, a[id], x, ok))
			}
		}
		for id := range b {
			if _, ok := a[id]; !ok {
				out = append(out, fmt.Sprintf("%s %s: nothing at the source, {%v} at the target", table.name, id, b[id]))
			}
		}
	}
	return out
}

// untrue says what a claim gets wrong: that everything which clients were told
// is written before upto, is at the target. A column is judged if nothing was
// done to it since.
func (m *model) untrue(upto time.Time) error {
	var wrong []error
	target := map[string]map[string]content{}
	for _, table := range modelTables {
		target[table.name] = m.insist(m.b, table)
	}
	for _, row := range m.rows {
		row.mu.Lock()
		ops := slices.Clone(row.ops)
		row.mu.Unlock()
		last := -1
		for i, op := range ops {
			if !op.acked.IsZero() && op.acked.Before(upto) {
				last = i
			}
		}
		if last < 0 {
			continue
		}
		later := map[string]bool{}
		whole := false
		for _, op := range ops[last+1:] {
			whole = whole || op.whole
			for _, c := range op.columns {
				later[c] = true
			}
		}
		if whole {
			continue
		}
		want, have := ops[last].after, target[row.table.name][row.id]
		for _, c := range []string{"now", "few", "any", "sum"} {
			if !later[c] && want[c] != have[c] {
				wrong = append(wrong, fmt.Errorf("%s %s: column %s is {%s}, and was {%s} when a client was told so %v before (operation %d of %d)",
					row.table.name, row.id, c, have[c], want[c], upto.Sub(ops[last].acked), last+1, len(ops)))
			}
		}
		if last == len(ops)-1 && (want == nil) != (have == nil) {
			wrong = append(wrong, fmt.Errorf("%s %s: there is {%v}, want {%v}", row.table.name, row.id, have, want))
		}
	}
	return errors.Join(wrong...)
}
