package tablestore

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
)

// onDisk is a store on a file system that can lose what was not synced.
func onDisk(t *testing.T, fs *vfs.MemFS) *store {
	t.Helper()
	db, err := pebble.Open("data", &pebble.Options{FS: fs, Logger: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	st := &store{db: db, sync: true}
	st.streams.pageRecords.Store(1000)
	st.streams.pageBytes.Store(4 << 20)
	return st
}

// A reader that has seen a record, or passed it, finds it again after a crash:
// otherwise its number would be given to another record, which the reader would
// never see.
func TestWhatWasReadSurvivesACrash(t *testing.T) {
	key := keyColumn{Name: "k", Type: otsprotocol.PrimaryKeyType_INTEGER}
	for _, c := range []struct {
		name string
		look func(w *world, begin string) (string, int)
	}{
		{"records", func(w *world, begin string) (string, int) {
			r := w.get(begin, 0)
			return r.GetNextShardIterator(), len(r.StreamRecords)
		}},
		{"a time after them", func(w *world, _ string) (string, int) { return w.iterator(w.shard(0), w.now+1), 3 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := vfs.NewCrashableMem()
			w := worldOn(t, onDisk(t, fs), key)
			w.stream(24)
			if err := w.store.settle(); err != nil {
				t.Fatal(err)
			}
			begin := w.iterator(w.shard(0))
			w.table.mu.Lock() // a writer that does not wait until it is durable
			b := w.store.db.NewBatch()
			if err := w.table.record(b, w.now, put(1, 0), put(1, 1), put(1, 2)); err != nil {
				t.Fatal(err)
			}
			if err := w.store.db.Apply(b, pebble.NoSync); err != nil {
				t.Fatal(err)
			}
			w.table.mu.Unlock()
			next, n := c.look(w, begin)
			if n != 3 {
				t.Fatalf("%d records", n)
			}
			w.store = onDisk(t, fs.CrashClone(vfs.CrashCloneCfg{}))
			w.open()
			if got := w.values(w.get(begin, 0)); !slices.Equal(got, []int64{0, 1, 2}) {
				t.Errorf("after the crash: %v", got)
			}
			w.record(put(1, 3))
			if got := w.values(w.get(next, 0)); !slices.Equal(got, []int64{3}) {
				t.Errorf("what is new: %v", got)
			}
		})
	}
}

// Splits, merges and epochs are durable when they have been acknowledged.
func TestShardsSurviveACrash(t *testing.T) {
	fs := vfs.NewCrashableMem()
	w := worldOn(t, onDisk(t, fs), keyColumn{Name: "k", Type: otsprotocol.PrimaryKeyType_INTEGER})
	w.stream(24)
	for _, err := range []error{
		w.s.SplitShard("lab", "t_1", 5), w.s.SplitShard("lab", "t_1", 9), w.s.MergeShards("lab", "t_1", 0), w.s.SetEpoch("lab", "t_1", 3),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	before, err := w.s.Partitions("lab", "t_1")
	if err != nil || len(before) != 2 {
		t.Fatal(before, err)
	}
	w.store = onDisk(t, fs.CrashClone(vfs.CrashCloneCfg{}))
	w.open()
	after, err := w.s.Partitions("lab", "t_1")
	if err != nil || !slices.Equal(before, after) {
		t.Errorf("%v became %v, %v", before, after, err)
	}
	w.record(put(1, 0))
	if p := w.rows(w.get(w.iterator(w.shard(0)), 0))[0].Ext; p.Epoch != 3 {
		t.Errorf("%+v", p)
	}
}

// Writers, a reader, and an operator who splits, merges and trims, at the same
// time.
func TestStreamsAreReadWhileTheyAreWritten(t *testing.T) {
	for _, trims := range []bool{false, true} {
		t.Run(map[bool]string{false: "all is kept", true: "old records are removed"}[trims], func(t *testing.T) {
			w := newWorld(t)
			w.now = time.Now().UnixMicro()
			w.stream(24)
			const writers, each = 4, 400
			var done sync.WaitGroup
			for k := range int64(writers) {
				done.Go(func() {
					for v := range int64(each) {
						w.table.mu.Lock()
						b := w.store.db.NewBatch()
						err := w.table.record(b, time.Now().UnixMicro(), put(k, v))
						if err == nil {
							_, err = w.store.commit(b)
						}
						w.table.mu.Unlock()
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			done.Go(func() {
				for i := range 40 {
					if err := w.s.SplitShard("lab", "t_1", i%writers); err == nil && i%3 == 0 {
						if err := w.s.MergeShards("lab", "t_1", 0); err != nil {
							t.Error(err)
						}
					}
					if trims {
						if _, err := w.s.Trim("lab", "t_1", time.Now().Add(-time.Millisecond)); err != nil {
							t.Error(err)
						}
					}
				}
			})
			ended := make(chan struct{})
			go func() { done.Wait(); close(ended) }()
			r := &plainReader{world: w, id: w.table.Stream.ID, strict: !trims, next: map[string]*string{}, want: map[int64]int64{}}
			for over := false; !over; {
				select {
				case <-ended:
					over = true
				default:
				}
				for r.round() {
				}
			}
			t.Logf("%d of %d records", r.got, writers*each)
			if !trims && r.got != writers*each {
				t.Errorf("%d records", r.got)
			}
			for k := range int64(writers) {
				for _, sh := range w.table.Stream.Shards {
					for _, row := range w.rows(w.get(w.iterator(sh.ID), 0)) {
						if row.Key[0].Value.Int == k && row.Columns[0].Value.Int >= r.want[k] {
							t.Errorf("row %d: %d was never read", k, row.Columns[0].Value.Int)
						}
					}
				}
			}
		})
	}
}

// plainReader reads rows whose values count up from 0.
type plainReader struct {
	*world
	id     string
	strict bool // nothing is removed
	next   map[string]*string
	want   map[int64]int64 // by row, the next value
	got    int
}

// round reads a page of each shard whose parents are read, and says whether
// that brought anything.
func (r *plainReader) round() (progress bool) {
	d := r.describe(&otsprotocol.DescribeStreamRequest{StreamId: &r.id})
	if d.NextShardId != nil {
		r.t.Fatal("more than one page")
	}
	listed := map[string]bool{}
	for _, sh := range d.Shards {
		listed[sh.GetShardId()] = true
	}
	read := func(id string) bool {
		n, begun := r.next[id]
		return id == "" || !listed[id] || begun && n == nil
	}
	for _, sh := range d.Shards {
		id := sh.GetShardId()
		if read(id) || !read(sh.GetParentId()) || !read(sh.GetParentSiblingId()) {
			continue
		}
		if r.next[id] == nil {
			out, ref := r.do("GetShardIterator", &otsprotocol.GetShardIteratorRequest{StreamId: d.StreamId, ShardId: &id})
			if ref != nil && !r.strict && ref.code == codeObjectNotExist {
				continue // gone meanwhile
			}
			if ref != nil {
				r.t.Fatal(ref)
			}
			r.next[id] = out.(*otsprotocol.GetShardIteratorResponse).ShardIterator
		}
		out, ref := r.do("GetStreamRecord", &otsprotocol.GetStreamRecordRequest{ShardIterator: r.next[id], Limit: proto.Int32(7)})
		if ref != nil && !r.strict && ref.code == codeTrimmed {
			delete(r.next, id)
			progress = true
			continue
		}
		if ref != nil {
			r.t.Fatal(ref)
		}
		page := out.(*otsprotocol.GetStreamRecordResponse)
		for _, row := range r.rows(page) {
			k, v := row.Key[0].Value.Int, row.Columns[0].Value.Int
			if v < r.want[k] || v > r.want[k] && r.strict {
				r.t.Fatalf("row %d: %d, want %d", k, v, r.want[k])
			}
			r.want[k] = v + 1
			r.got++
		}
		progress = progress || page.NextShardIterator == nil || len(page.StreamRecords) > 0
		r.next[id] = page.NextShardIterator
	}
	return progress
}
