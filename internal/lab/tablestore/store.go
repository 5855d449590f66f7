package tablestore

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// store keeps everything of all instances in one pebble.
//
//	g/<id of a global table>        a globalTable, JSON
//	i/<instance>                    a gateRecord, JSON
//	m/<instance>/<table>            a tableRecord, JSON
//	r/<table id>/<key of the row>   a row; the key in an order-preserving code
//	c/<table id>                    the last stamp of the table, µs
//	n                               the next table id
//	l/<stream>/<shard>/<number>     a record of a stream; all three are numbers
//	s                               the number of the last stream
type store struct {
	db      *pebble.DB
	lock    *pebble.Lock // of the folder; nil in memory
	sync    bool
	streams streamSettings
	// unsynced is how many batches are readable and may not be durable yet.
	unsynced atomic.Int64

	mu   sync.Mutex
	next uint32 // the next table id; ids are never used twice
}

// openStore opens the store of a folder, or one in memory if dir is empty.
func openStore(dir string) (*store, error) {
	if dir == "" {
		return openStoreOn(&pebble.Options{FS: vfs.NewMem(), DisableWAL: true}, "memory")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	// The lock of a folder is by its name within a process.
	real, err := filepath.EvalSymlinks(dir)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	// Taken first: an Open that fails leaves goroutines behind.
	lock, err := pebble.LockDirectory(real, vfs.Default)
	if err != nil {
		return nil, fmt.Errorf("lock the data folder %s: %w (does another server keep its data there?)", dir, err)
	}
	st, err := openStoreOn(&pebble.Options{Lock: lock}, real)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	st.lock = lock
	return st, nil
}

// memTable is how much is kept in memory before it is sorted and written, in
// bytes. Less makes more work of the same writes.
const memTable = 16 << 20

func openStoreOn(o *pebble.Options, dir string) (*store, error) {
	o.Logger, o.MemTableSize = silent{}, memTable
	st := &store{sync: !o.DisableWAL}
	st.streams.pageRecords.Store(1000)
	st.streams.pageBytes.Store(4 << 20)
	var err error
	if st.db, err = pebble.Open(dir, o); err != nil {
		return nil, fmt.Errorf("open the data folder %s: %w", dir, err)
	}
	next, err := st.number(nextKey)
	if err != nil {
		return nil, errors.Join(err, st.db.Close())
	}
	st.next = uint32(next)
	return st, nil
}

func (st *store) close() error {
	err := st.db.Close()
	if st.lock != nil {
		err = errors.Join(err, st.lock.Close())
	}
	return err
}

// commit makes a batch readable before it returns. What it returns waits until
// the batch is durable: an acknowledgement may be given only after it, and no
// lock need be held meanwhile.
func (st *store) commit(b *pebble.Batch) (durable func() error, err error) {
	if !st.sync {
		return b.Close, st.db.Apply(b, pebble.NoSync)
	}
	st.unsynced.Add(1) // before anybody can read it
	if err := st.db.ApplyNoSyncWait(b, pebble.Sync); err != nil {
		st.unsynced.Add(-1)
		return nil, err
	}
	return func() error {
		defer st.unsynced.Add(-1)
		if err := b.SyncWait(); err != nil {
			return err
		}
		return b.Close()
	}, nil
}

// instance is a namespace of tables.
type instance struct {
	name    string
	store   *store
	guard   guard
	stopped atomic.Bool // calls are refused
	mu      sync.RWMutex
	tables  map[string]*table
}

func (st *store) openInstance(name string) (*instance, error) {
	in := &instance{name: name, store: st, tables: map[string]*table{}}
	prefix := []byte("m/" + name + "/")
	it, err := st.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return nil, err
	}
	defer it.Close()
	for it.First(); it.Valid(); it.Next() {
		var rec tableRecord
		if err := json.Unmarshal(it.Value(), &rec); err != nil {
			return nil, fmt.Errorf("table %s: %w", it.Key(), err)
		}
		t := newTable(in, rec)
		if t.last, err = st.number(stampKey(t.ID)); err != nil {
			return nil, fmt.Errorf("table %s: %w", it.Key(), err)
		}
		in.tables[t.Name] = t
	}
	return in, it.Error()
}

// after is the least key that is greater than all keys with this prefix.
func after(prefix []byte) []byte {
	out := append([]byte(nil), prefix...)
	for i := len(out) - 1; i >= 0; i-- {
		if out[i]++; out[i] != 0 {
			return out[:i+1]
		}
	}
	return nil
}

func tableCode(id uint32) []byte { return binary.BigEndian.AppendUint32(nil, id) }

func rowPrefix(id uint32) []byte {
	return binary.BigEndian.AppendUint32(append(make([]byte, 0, 64), "r/"...), id)
}

func stampKey(id uint32) []byte { return binary.BigEndian.AppendUint32([]byte("c/"), id) }

var nextKey = []byte("n")

// tableID is the id of a new table, which the batch takes.
func (st *store) tableID(b *pebble.Batch) (uint32, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	id := st.next
	st.next++
	return id, b.Set(nextKey, binary.BigEndian.AppendUint64(nil, uint64(st.next)), nil)
}

// number reads a number; 0 if there is none.
func (st *store) number(key []byte) (int64, error) {
	v, done, err := st.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer done.Close()
	if len(v) != 8 {
		return 0, fmt.Errorf("%s: %d bytes where there must be 8", key, len(v))
	}
	return int64(binary.BigEndian.Uint64(v)), nil
}

type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}
