package tablestore

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"pointsman/internal/lab/tablestore/plainbuffer"
)

// The limits of tables, by the vendor's page of limits.
const (
	quotaTables    = 64 // of an instance
	maxKeyColumns  = 4
	maxDefined     = 32
	minTTL         = 86400 // s
	usualDeviation = 86400 // s, of a table that names none
	maxDeviation   = math.MaxInt64 / 1000000
)

// table is one table. Its lock orders writers: reading a row for a change, the
// place of the change in the stream, and the commit are one step. Readers need
// it only for the meta data.
type table struct {
	in *instance
	mu sync.Mutex
	// What is below is the lock's, but that ID, Name, Keys, Created and Txn stay
	// as they are.
	tableRecord
	at      int64           // µs, the last moment
	last    int64           // µs, the last stamp
	dropped bool            // by DeleteTable
	txns    map[string]*txn // by id
	locks   map[string]*txn // by the code of the partition key
	copiers []*copier       // to other members of its global table; replaced, never changed
	// opts is a copy of Options for those who do not hold the lock.
	opts atomic.Pointer[tableOptions]
}

// tableRecord is what the store keeps of a table.
type tableRecord struct {
	ID      uint32
	Name    string
	Keys    []keyColumn
	Defined []definedColumn `json:",omitempty"`
	Options tableOptions
	Created int64 // µs
	// Parts are the partitions in the order of their keys; the first begins at
	// the least key. There is one at the start.
	Parts  []partition
	Stream *stream `json:",omitempty"`
	// Txn allows local transactions.
	Txn bool `json:",omitempty"`
}

type keyColumn struct {
	Name string
	Type otsprotocol.PrimaryKeyType
	Auto bool `json:",omitempty"`
}

type definedColumn struct {
	Name string
	Type otsprotocol.DefinedColumnType
}

type tableOptions struct {
	TTL           int32 // s; -1 is for ever
	MaxVersions   int32
	Deviation     int64 // s
	AllowUpdate   bool
	UpdateFullRow bool
	Read, Write   int32 // reserved capacity units
	Changed       int64 // s, when the capacity units were last changed
}

// partition is a range of partition keys, and the open shard of the stream
// that its changes go to.
type partition struct {
	From  []byte // the code of the least partition key that belongs to it
	Shard string `json:",omitempty"`
}

// save puts the table's meta data into a batch.
func (t *table) save(b *pebble.Batch) error {
	text, err := json.Marshal(t.tableRecord)
	if err != nil {
		return err
	}
	return b.Set([]byte("m/"+t.in.name+"/"+t.Name), text, nil)
}

// alter changes the meta data of a table. change puts what belongs to it into
// the batch; if it refuses, or the store fails, the table is as it was.
func (t *table) alter(change func(*pebble.Batch) *refusal) *refusal {
	durable, ref := t.altered(change)
	if ref != nil {
		return ref
	}
	if err := durable(); err != nil {
		return refuse(codeInternal, "%v.", err)
	}
	return nil
}

// altered is alter but for the wait until it is durable.
func (t *table) altered(change func(*pebble.Batch) *refusal) (durable func() error, ref *refusal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dropped {
		return nil, usual(codeObjectNotExist)
	}
	old := t.tableRecord
	old.Parts, old.Defined = slices.Clone(t.Parts), slices.Clone(t.Defined)
	b := t.in.store.db.NewBatch()
	if ref = change(b); ref != nil {
		_ = b.Close()
	} else {
		err := t.save(b)
		if err == nil {
			durable, err = t.in.store.commit(b)
		}
		if err != nil {
			ref = refuse(codeInternal, "%v.", err)
		}
	}
	if ref != nil {
		t.tableRecord = old
	}
	opts := t.Options
	t.opts.Store(&opts)
	return durable, ref
}

func (in *instance) table(name string) (*table, *refusal) {
	in.mu.RLock()
	t := in.tables[name]
	in.mu.RUnlock()
	if t != nil {
		return t, nil
	}
	if ref := checkTableName(name); ref != nil {
		return nil, ref
	}
	return nil, usual(codeObjectNotExist)
}

var names = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)

func checkTableName(name string) *refusal {
	if !names.MatchString(name) {
		return invalid("Invalid table name: '%s'.", clip(name))
	}
	return nil
}

func (s *Server) listTable(c *call) (protoadapt.MessageV1, *refusal) {
	c.inst.mu.RLock()
	defer c.inst.mu.RUnlock()
	names := []string{}
	for name := range c.inst.tables {
		names = append(names, name)
	}
	slices.Sort(names)
	return &otsprotocol.ListTableResponse{TableNames: names}, nil
}

func (s *Server) createTable(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.CreateTableRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	rec, ref := newRecord(&m)
	if ref != nil {
		return nil, ref
	}
	durable, ref := c.inst.create(rec, m.StreamSpec, c)
	if ref != nil {
		return nil, ref
	}
	if err := durable(); err != nil {
		return nil, refuse(codeInternal, "%v.", err)
	}
	return &otsprotocol.CreateTableResponse{}, nil
}

// create makes a table that others see at once.
func (in *instance) create(rec tableRecord, spec *otsprotocol.StreamSpecification, c *call) (durable func() error, ref *refusal) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.tables[rec.Name] != nil {
		return nil, usual(codeAlreadyExist)
	}
	if len(in.tables) >= quotaTables {
		return nil, refuse(codeQuotaExhausted, "Number of tables exceeds the quota:%d.", quotaTables)
	}
	b := in.store.db.NewBatch()
	id, err := in.store.tableID(b)
	if err != nil {
		_ = b.Close()
		return nil, refuse(codeInternal, "%v.", err)
	}
	c.renew()
	rec.ID, rec.Created, rec.Parts = id, c.now.UnixMicro(), []partition{{}}
	rec.Options.Changed = c.now.Unix()
	t := newTable(in, rec)
	t.mu.Lock() // nobody has it; setStream asks for it
	defer t.mu.Unlock()
	if ref = t.setStream(b, spec, t.moment(c.now)); ref != nil {
		_ = b.Close()
		return nil, ref
	}
	if err = t.save(b); err == nil {
		durable, err = in.store.commit(b)
	}
	if err != nil {
		return nil, refuse(codeInternal, "%v.", err)
	}
	in.tables[t.Name] = t
	return durable, nil
}

func newTable(in *instance, rec tableRecord) *table {
	t := &table{in: in, tableRecord: rec}
	opts := t.Options
	t.opts.Store(&opts)
	return t
}

// newRecord judges a CreateTable.
func newRecord(m *otsprotocol.CreateTableRequest) (rec tableRecord, ref *refusal) {
	meta, o := m.GetTableMeta(), m.GetTableOptions()
	if ref = checkTableName(meta.GetTableName()); ref != nil {
		return rec, ref
	}
	rec = tableRecord{Name: meta.GetTableName(), Txn: m.GetEnableLocalTxn(), Options: tableOptions{Deviation: usualDeviation, AllowUpdate: true}}
	if rec.Keys, ref = keySchema(meta.GetPrimaryKey(), rec.Name); ref != nil {
		return rec, ref
	}
	if rec.Defined, ref = addDefined(nil, rec.Keys, meta.GetDefinedColumn()); ref != nil {
		return rec, ref
	}
	switch {
	case o == nil || o.TimeToLive == nil:
		return rec, invalid("Time-to-live is missing while creating table.")
	case o.MaxVersions == nil:
		return rec, invalid("MaxVersions is missing while creating table.")
	case len(m.GetPartitions()) > 0:
		return rec, unsupportedPart("partitions of a new table")
	case len(m.GetIndexMetas()) > 0 || len(meta.GetIndexMeta()) > 0:
		return rec, unsupportedPart("secondary indexes")
	case m.GetSseSpec().GetEnable():
		return rec, unsupportedPart("server-side encryption")
	}
	if ref = rec.Options.merge(o); ref != nil {
		return rec, ref
	}
	return rec, rec.Options.reserve(m.GetReservedThroughput())
}

// unsupportedPart refuses what the service can do and this server cannot.
func unsupportedPart(what string) *refusal {
	return refuse(codeUnsupported, "This server does not support %s.", what)
}

func keySchema(in []*otsprotocol.PrimaryKeySchema, table string) ([]keyColumn, *refusal) {
	if n := len(in); n < 1 || n > maxKeyColumns {
		return nil, invalid("The number of primary key columns must be in range: [1, %d].", maxKeyColumns)
	}
	var keys []keyColumn
	auto := 0
	for i, k := range in {
		if !names.MatchString(k.GetName()) {
			return nil, invalid("Invalid column name: '%s'.", clip(k.GetName()))
		}
		if slices.ContainsFunc(keys, func(o keyColumn) bool { return o.Name == k.GetName() }) {
			return nil, invalid("Duplicated primary key name: '%s'.", k.GetName())
		}
		switch k.GetType() {
		case otsprotocol.PrimaryKeyType_INTEGER, otsprotocol.PrimaryKeyType_STRING, otsprotocol.PrimaryKeyType_BINARY:
		default:
			return nil, invalid("%s is an invalid type for the primary key.", k.GetType())
		}
		col := keyColumn{Name: k.GetName(), Type: k.GetType(), Auto: k.Option != nil && *k.Option == otsprotocol.PrimaryKeyOption_AUTO_INCREMENT}
		if col.Auto {
			auto++
			switch {
			case i == 0:
				return nil, invalid("First primary key can't be auto increment, table: %s.", table)
			case col.Type != otsprotocol.PrimaryKeyType_INTEGER:
				return nil, invalid("AUTO_INCREMENT primary key must be integer.")
			case auto > 1:
				return nil, invalid("AUTO_INCREMENT primary key count must <= 1.")
			}
		}
		keys = append(keys, col)
	}
	return keys, nil
}

// addDefined adds columns that were announced. They are told back and mean
// nothing else here: they are for indexes.
func addDefined(have []definedColumn, keys []keyColumn, more []*otsprotocol.DefinedColumnSchema) ([]definedColumn, *refusal) {
	have = slices.Clone(have)
	for _, d := range more {
		if ref := checkName(d.GetName()); ref != nil {
			return nil, ref
		}
		if slices.ContainsFunc(keys, func(k keyColumn) bool { return k.Name == d.GetName() }) {
			return nil, invalid("Duplicated attribute column name with primary key column: '%s'.", d.GetName())
		}
		if slices.ContainsFunc(have, func(o definedColumn) bool { return o.Name == d.GetName() }) {
			return nil, invalid("Duplicated column name: '%s'.", d.GetName())
		}
		if _, ok := otsprotocol.DefinedColumnType_name[int32(d.GetType())]; !ok {
			return nil, invalid("Invalid column type: %d.", d.GetType())
		}
		have = append(have, definedColumn{d.GetName(), d.GetType()})
	}
	if len(have) > maxDefined {
		return nil, invalid("The number of defined columns must be in range: [0, %d].", maxDefined)
	}
	return have, nil
}

// merge takes over the options that are given.
func (o *tableOptions) merge(in *otsprotocol.TableOptions) *refusal {
	switch {
	case in.TimeToLive != nil && (*in.TimeToLive == 0 || *in.TimeToLive < -1):
		return invalid("TimeToLive cannot be 0 or less than -1.")
	case in.TimeToLive != nil && *in.TimeToLive > 0 && *in.TimeToLive < minTTL:
		return invalid("TimeToLive must be -1 or at least %d.", minTTL)
	case in.MaxVersions != nil && *in.MaxVersions <= 0:
		return invalid("The maximum versions cannot be less than or equal to 0.")
	case in.DeviationCellVersionInSec != nil && (*in.DeviationCellVersionInSec < 0 || *in.DeviationCellVersionInSec > maxDeviation):
		return invalid("The maximum deviation must be in range [0, INT64_MAX/1000000].")
	}
	if in.TimeToLive != nil {
		o.TTL = *in.TimeToLive
	}
	if in.MaxVersions != nil {
		o.MaxVersions = *in.MaxVersions
	}
	if in.DeviationCellVersionInSec != nil {
		o.Deviation = *in.DeviationCellVersionInSec
	}
	if in.AllowUpdate != nil {
		o.AllowUpdate = *in.AllowUpdate
	}
	if in.UpdateFullRow != nil {
		o.UpdateFullRow = *in.UpdateFullRow
	}
	return nil
}

// reserve takes over the capacity units that are given. They are told back and
// mean nothing else here.
func (o *tableOptions) reserve(in *otsprotocol.ReservedThroughput) *refusal {
	var read, write *int32
	if unit := in.GetCapacityUnit(); unit != nil {
		read, write = unit.Read, unit.Write
	}
	for _, n := range []*int32{read, write} {
		if n != nil && *n < 0 {
			return invalid("Invalid Capacity Unit:%d. Capacity Unit must be nonnegative.", *n)
		}
	}
	if read != nil {
		o.Read = *read
	}
	if write != nil {
		o.Write = *write
	}
	return nil
}

func (s *Server) updateTable(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.UpdateTableRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	t, ref := c.inst.table(m.GetTableName())
	if ref != nil {
		return nil, ref
	}
	switch o := m.TableOptions; {
	case o == nil:
		if m.ReservedThroughput == nil && m.StreamSpec == nil {
			return nil, invalid("No parameter is specified in table options.")
		}
	case o.UpdateFullRow != nil:
		return nil, invalid("UpdateTable must not contain updateFullRow.")
	case o.TimeToLive == nil && o.MaxVersions == nil && o.DeviationCellVersionInSec == nil && o.AllowUpdate == nil &&
		o.BloomFilterType == nil && o.BlockSize == nil:
		return nil, invalid("No parameter is specified in table options.")
	}
	resp := &otsprotocol.UpdateTableResponse{}
	ref = t.alter(func(b *pebble.Batch) *refusal {
		c.renew()
		if m.TableOptions != nil {
			if ref := t.Options.merge(m.TableOptions); ref != nil {
				return ref
			}
		}
		if m.ReservedThroughput != nil {
			if ref := t.Options.reserve(m.ReservedThroughput); ref != nil {
				return ref
			}
			t.Options.Changed = c.now.Unix()
		}
		if ref := t.setStream(b, m.StreamSpec, t.moment(c.now)); ref != nil {
			return ref
		}
		resp.ReservedThroughputDetails, resp.TableOptions, resp.StreamDetails = t.throughput(), t.options(), t.streamDetails()
		return nil
	})
	if ref != nil {
		return nil, ref
	}
	return resp, nil
}

func (s *Server) deleteTable(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.DeleteTableRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	t, ref := c.inst.table(m.GetTableName())
	if ref != nil {
		return nil, ref
	}
	durable, ref := t.drop()
	if ref != nil {
		return nil, ref
	}
	if err := durable(); err != nil {
		return nil, refuse(codeInternal, "%v.", err)
	}
	return nil, nil
}

// drop removes a table with all that belongs to it.
func (t *table) drop() (durable func() error, ref *refusal) {
	t.in.mu.Lock()
	defer t.in.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dropped {
		return nil, usual(codeObjectNotExist)
	}
	old := t.tableRecord
	old.Parts = slices.Clone(t.Parts)
	b := t.in.store.db.NewBatch()
	prefix := rowPrefix(t.ID)
	err := b.DeleteRange(prefix, after(prefix), nil)
	if err == nil {
		err = b.Delete(stampKey(t.ID), nil)
	}
	if err == nil {
		err = b.Delete([]byte("m/"+t.in.name+"/"+t.Name), nil)
	}
	if err == nil {
		ref = t.dropStream(b)
	}
	if err == nil && ref == nil {
		durable, err = t.in.store.commit(b)
	}
	if err != nil {
		ref = refuse(codeInternal, "%v.", err)
	}
	if ref != nil {
		t.tableRecord = old
		return nil, ref
	}
	t.dropped = true
	for _, x := range t.txns {
		t.end(x)
	}
	delete(t.in.tables, t.Name)
	return durable, nil
}

func (s *Server) describeTable(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.DescribeTableRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	t, ref := c.inst.table(m.GetTableName())
	if ref != nil {
		return nil, ref
	}
	meta := &otsprotocol.TableMeta{TableName: &t.Name, GlobalTableId: s.globalID(c.inst, t.Name)}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.Keys {
		sch := &otsprotocol.PrimaryKeySchema{Name: proto.String(k.Name), Type: k.Type.Enum()}
		if k.Auto {
			sch.Option = otsprotocol.PrimaryKeyOption_AUTO_INCREMENT.Enum()
		}
		meta.PrimaryKey = append(meta.PrimaryKey, sch)
	}
	for _, d := range t.Defined {
		meta.DefinedColumn = append(meta.DefinedColumn, &otsprotocol.DefinedColumnSchema{Name: proto.String(d.Name), Type: d.Type.Enum()})
	}
	resp := &otsprotocol.DescribeTableResponse{
		TableMeta: meta, ReservedThroughputDetails: t.throughput(), TableOptions: t.options(),
		TableStatus: otsprotocol.TableStatus_ACTIVE.Enum(), StreamDetails: t.streamDetails(),
		// The field of the time of creation (9, µs) is in the message but not in
		// its descriptor, so that a protobuf that goes by descriptors does not send
		// CreationTime, and the SDK built with such a one does not read it
		// (aliyun-tablestore-go-sdk v1.9.3, table_store.pb.go).
		XXX_unrecognized: binary.AppendUvarint([]byte{9 << 3}, uint64(t.Created)),
	}
	first := &table{tableRecord: tableRecord{Keys: t.Keys[:1]}}
	for _, p := range t.Parts[1:] {
		key, err := first.decodeKey(p.From)
		if err != nil {
			return nil, refuse(codeInternal, "%v.", err)
		}
		resp.ShardSplits = append(resp.ShardSplits, plainbuffer.Append(nil, plainbuffer.Row{Key: key}))
	}
	return resp, nil
}

func (t *table) throughput() *otsprotocol.ReservedThroughputDetails {
	return &otsprotocol.ReservedThroughputDetails{
		CapacityUnit:     &otsprotocol.CapacityUnit{Read: proto.Int32(t.Options.Read), Write: proto.Int32(t.Options.Write)},
		LastIncreaseTime: proto.Int64(t.Options.Changed), LastDecreaseTime: proto.Int64(t.Options.Changed),
	}
}

func (t *table) options() *otsprotocol.TableOptions {
	o := t.Options
	return &otsprotocol.TableOptions{
		TimeToLive: &o.TTL, MaxVersions: &o.MaxVersions, DeviationCellVersionInSec: &o.Deviation,
		AllowUpdate: &o.AllowUpdate, UpdateFullRow: &o.UpdateFullRow,
	}
}

func (s *Server) addDefinedColumn(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.AddDefinedColumnRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	t, ref := c.inst.table(m.GetTableName())
	if ref != nil {
		return nil, ref
	}
	ref = t.alter(func(*pebble.Batch) *refusal {
		more, ref := addDefined(t.Defined, t.Keys, m.GetColumns())
		if ref == nil {
			t.Defined = more
		}
		return ref
	})
	if ref != nil {
		return nil, ref
	}
	return &otsprotocol.AddDefinedColumnResponse{}, nil
}

func (s *Server) deleteDefinedColumn(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.DeleteDefinedColumnRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	t, ref := c.inst.table(m.GetTableName())
	if ref != nil {
		return nil, ref
	}
	ref = t.alter(func(*pebble.Batch) *refusal {
		for _, name := range m.GetColumns() {
			i := slices.IndexFunc(t.Defined, func(d definedColumn) bool { return d.Name == name })
			if i < 0 {
				return invalid("Column does not exist:%s.", clip(name))
			}
			t.Defined = slices.Delete(t.Defined, i, i+1)
		}
		return nil
	})
	if ref != nil {
		return nil, ref
	}
	return &otsprotocol.DeleteDefinedColumnResponse{}, nil
}

func (s *Server) createIndex(c *call) (protoadapt.MessageV1, *refusal) {
	return nil, unsupportedPart("secondary indexes")
}

func (s *Server) dropIndex(c *call) (protoadapt.MessageV1, *refusal) {
	return nil, unsupportedPart("secondary indexes")
}
