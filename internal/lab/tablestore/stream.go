package tablestore

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"pointsman/internal/lab/tablestore/plainbuffer"
)

// stream is the log of a table's changes while it is on. The table's lock is
// its lock.
type stream struct {
	ID      string
	Number  uint64   // its part of the keys in the store; never used twice
	Hours   int32    // how long records are kept
	Created int64    // µs
	Origin  []string `json:",omitempty"`
	// Shards are the open ones and the closed ones that still have records, in
	// the order of their birth.
	Shards []*shard
	Born   uint32 // the number of the next shard

	open  []*shard // of the partitions, in their order; nil until load
	swept int64    // µs; when record last looked for what is too old

	// What record makes anew for each change.
	name, text []byte
	ext        plainbuffer.Extension
}

// shard is the log of the changes of one partition.
type shard struct {
	ID     string
	Number uint32 // its part of the keys in the store
	// Parent is read to its end before this one, and so is Sibling, which there
	// is after a merge.
	Parent  string `json:",omitempty"`
	Sibling string `json:",omitempty"`
	Closed  int64  `json:",omitempty"` // µs; 0 while it is open
	// First is the number of the first record that is not removed, or will be.
	First uint64 `json:",omitempty"`
	// Last is not before any removed record. In memory it is the place of the
	// last record.
	Last place

	next uint64 // the number of the next record
	// oldest is not after the time (µs) of the record at First: there may be an
	// earlier one behind it, or one whose batch never came. It is none if there
	// are no records.
	oldest int64
	late   lateness
}

// none is the time of a record that is not there; all others are before it.
const none = math.MaxInt64

// place is where a record stands among those of its shard: the sequence
// information that clients are told.
type place struct {
	Epoch  int32
	Micros int64
	Index  int32
}

// The range of a stream's expiration time, in hours.
const minHours, maxHours = 1, 168

// checkStream says what is wrong with a specification of CreateTable or
// UpdateTable; nil is one that changes nothing. The caller holds t.mu.
func (t *table) checkStream(spec *otsprotocol.StreamSpecification) *refusal {
	if spec == nil || !spec.GetEnableStream() {
		return nil
	}
	hours, origin := spec.GetExpirationTime(), spec.GetColumnsToGet()
	if hours < minHours || hours > maxHours {
		return invalid("The expiration time of stream must be in range: [%d, %d].", minHours, maxHours)
	}
	for i, name := range origin {
		switch {
		case name == "" || len(name) > 255 || !utf8.ValidString(name):
			return invalid("Invalid column name: '%s'.", clip(name))
		case slices.Contains(origin[:i], name):
			return invalid("Duplicated column name: '%s'.", name)
		case slices.ContainsFunc(t.Keys, func(k keyColumn) bool { return k.Name == name }):
			return invalid("The column to get of stream must not be a primary key column: '%s'.", name)
		}
	}
	if s := t.Stream; s != nil {
		// The service refuses to change the expiration time of a stream that is
		// on, by its page of UpdateTable of 2018. That it refuses to change the
		// columns too, and takes what changes nothing, is a guess.
		if s.Hours != hours {
			return invalid("The expiration time of stream can not be changed while stream is enabled.")
		}
		if !slices.Equal(s.Origin, origin) {
			return invalid("The columns to get of stream can not be changed while stream is enabled.")
		}
	}
	return nil
}

// setStream does what a specification says, in the batch that saves the table;
// the caller saves it. The caller holds t.mu until the batch is committed.
func (t *table) setStream(b *pebble.Batch, spec *otsprotocol.StreamSpecification, now int64) *refusal {
	if ref := t.checkStream(spec); ref != nil || spec == nil {
		return ref
	}
	if !spec.GetEnableStream() {
		return t.dropStream(b)
	}
	if t.Stream != nil {
		return nil
	}
	number, err := t.in.store.streamNumber(now)
	if err != nil {
		return refuse(codeInternal, "%v", err)
	}
	s := &stream{
		ID: fmt.Sprintf("%s_%d", t.Name, number), Number: number,
		Hours: spec.GetExpirationTime(), Created: now, Origin: spec.GetColumnsToGet(), swept: now,
	}
	t.Stream = s
	for i := range t.Parts {
		s.open = append(s.open, s.bear(now, "", ""))
		t.Parts[i].Shard = s.open[i].ID
	}
	return nil
}

// dropStream ends the stream of the table, if it is on, and removes its
// records. The caller holds t.mu until the batch is committed.
func (t *table) dropStream(b *pebble.Batch) *refusal {
	if t.Stream == nil {
		return nil
	}
	prefix := streamPrefix(t.Stream.Number)
	if err := b.DeleteRange(prefix, after(prefix), nil); err != nil {
		return refuse(codeInternal, "%v", err)
	}
	t.Stream = nil
	for i := range t.Parts {
		t.Parts[i].Shard = ""
	}
	return nil
}

// streamDetails is what DescribeTable and UpdateTable tell of the stream:
// clients want it even of one that is off. The caller holds t.mu.
func (t *table) streamDetails() *otsprotocol.StreamDetails {
	s := t.Stream
	if s == nil {
		return &otsprotocol.StreamDetails{EnableStream: proto.Bool(false)}
	}
	return &otsprotocol.StreamDetails{
		EnableStream: proto.Bool(true), StreamId: &s.ID, ExpirationTime: proto.Int32(s.Hours),
		LastEnableTime: proto.Int64(s.Created), ColumnsToGet: slices.Clone(s.Origin),
	}
}

// bear adds an open shard. Its name says nothing of the order: the service's
// names do not either.
func (s *stream) bear(now int64, parent, sibling string) *shard {
	sh := &shard{
		ID: fmt.Sprintf("%s_%d", random(8), now), Number: s.Born, Parent: parent, Sibling: sibling,
		oldest: none,
	}
	s.Born++
	s.Shards = append(s.Shards, sh)
	return sh
}

// shard returns the shard of a name, nil if there is none.
func (s *stream) shard(id string) *shard {
	if i := slices.IndexFunc(s.Shards, func(sh *shard) bool { return sh.ID == id }); i >= 0 {
		return s.Shards[i]
	}
	return nil
}

// log returns the stream of the table, nil if it is off. What was written
// before the server started is found by the first call. The caller holds t.mu.
func (t *table) log() (*stream, error) {
	s := t.Stream
	if s == nil || s.open != nil {
		return s, nil
	}
	for _, sh := range s.Shards {
		if err := sh.load(t.in.store, s.Number); err != nil {
			return nil, fmt.Errorf("stream %s: %w", s.ID, err)
		}
	}
	open := make([]*shard, len(t.Parts))
	for i, p := range t.Parts {
		if open[i] = s.shard(p.Shard); open[i] == nil {
			return nil, fmt.Errorf("stream %s: shard %s: is not in the store", s.ID, p.Shard)
		}
	}
	s.open = open
	return s, nil
}

// load finds what is in the store of the shard.
func (sh *shard) load(st *store, number uint64) error {
	it, err := st.records(number, sh.Number, 0, math.MaxUint64)
	if err != nil {
		return err
	}
	sh.next, sh.oldest = sh.First, none
	if it.Last() {
		p := placeOf(it.Value())
		sh.next = max(sh.next, recordNumber(it.Key())+1)
		if sh.Last.before(p) {
			sh.Last = p
		}
		it.First()
		sh.oldest = placeOf(it.Value()).Micros
	}
	return it.Close()
}

func (p place) before(q place) bool {
	if p.Epoch != q.Epoch {
		return p.Epoch < q.Epoch
	}
	if p.Micros != q.Micros {
		return p.Micros < q.Micros
	}
	return p.Index < q.Index
}

// streamNumber returns a number that no stream of the store ever had, by which
// both its name and its keys in the store are told apart. It is the time in µs,
// as in the service's names, unless the clock went back.
func (st *store) streamNumber(now int64) (uint64, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	last, err := st.number(lastStreamKey)
	if err != nil {
		return 0, err
	}
	n := uint64(max(now, last+1))
	// Not waited for: the batch that makes the stream is synced after it.
	return n, st.db.Set(lastStreamKey, binary.BigEndian.AppendUint64(nil, n), pebble.NoSync)
}

var lastStreamKey = []byte("s")

// streamTable is the name of the table that a stream of this name is of.
func streamTable(id string) string {
	return id[:max(strings.LastIndexByte(id, '_'), 0)]
}

// The keys of records: l/, the stream's number, the shard's, the record's.
func streamPrefix(number uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte("l/"), number)
}

func recordKey(number uint64, shard uint32, n uint64) []byte {
	return appendRecordKey(make([]byte, 0, recordKeyLen), number, shard, n)
}

func appendRecordKey(dst []byte, number uint64, shard uint32, n uint64) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, "l/"...), number)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(dst, shard), n)
}

const recordKeyLen = 2 + 8 + 4 + 8

func recordNumber(key []byte) uint64 { return binary.BigEndian.Uint64(key[recordKeyLen-8:]) }

// records goes over the records of a shard from one number to before another.
func (st *store) records(number uint64, shard uint32, from, to uint64) (*pebble.Iterator, error) {
	return st.db.NewIter(&pebble.IterOptions{
		LowerBound: recordKey(number, shard, from), UpperBound: recordKey(number, shard, to),
	})
}
