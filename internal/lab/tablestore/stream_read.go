package tablestore

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
)

// cursor is what an iterator and a token say: all of it, so that they are worth
// as much after a restart.
type cursor struct {
	kind   byte
	stream string
	shard  uint32
	at     uint64 // of an iterator the number of the record to read next, of a token the time to search, µs
	left   uint32 // of a token, how many tokens are still to come
}

const (
	cursorRead   = 1 // an iterator
	cursorOldest = 2 // a token of a search for the oldest record
	cursorTime   = 3 // a token of a search for a time
)

func (c cursor) String() string {
	b := []byte{c.kind}
	b = binary.BigEndian.AppendUint32(b, c.shard)
	b = binary.BigEndian.AppendUint64(b, c.at)
	b = binary.BigEndian.AppendUint32(b, c.left)
	b = append(b, c.stream...)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return base64.RawURLEncoding.EncodeToString(b)
}

// parseCursor reads what String wrote, and nothing else.
func parseCursor(text string) (cursor, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	const fixed = 1 + 4 + 8 + 4
	if err != nil || len(b) <= fixed+4 {
		return cursor{}, false
	}
	b, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	c := cursor{
		kind: b[0], shard: binary.BigEndian.Uint32(b[1:]), at: binary.BigEndian.Uint64(b[5:]),
		left: binary.BigEndian.Uint32(b[13:]), stream: string(b[fixed:]),
	}
	return c, crc32.ChecksumIEEE(b) == sum && c.String() == text
}

// withStream calls do with the lock of the table of a stream.
func (c *call) withStream(id string, do func(*table, *stream) *refusal) *refusal {
	t, ref := c.inst.table(streamTable(id))
	if ref != nil {
		return noStream()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.log()
	if err == nil && s != nil && s.ID == id {
		err = t.sweep(c.renew().UnixMicro())
	}
	switch {
	case err != nil:
		return refuse(codeInternal, "%v", err)
	case s == nil || s.ID != id:
		return noStream()
	}
	return do(t, s)
}

// That these are OTSObjectNotExist, and what they say, is a guess.
func noStream() *refusal { return refuse(codeObjectNotExist, "Requested stream does not exist.") }
func noShard() *refusal  { return refuse(codeObjectNotExist, "Requested shard does not exist.") }

func trimmed() *refusal {
	return usual(codeTrimmed)
}

func (s *Server) getShardIterator(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.GetShardIteratorRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	want := cursor{kind: cursorOldest, stream: m.GetStreamId(), left: uint32(s.store.streams.tokens.Load())}
	if m.Timestamp != nil {
		if *m.Timestamp < 0 {
			return nil, invalid("Invalid timestamp: %d.", *m.Timestamp)
		}
		want.kind, want.at = cursorTime, uint64(*m.Timestamp)
	}
	out := &otsprotocol.GetShardIteratorResponse{ShardIterator: proto.String("")}
	ref := c.withStream(want.stream, func(t *table, st *stream) *refusal {
		sh := st.shard(m.GetShardId())
		if sh == nil {
			return noShard()
		}
		want.shard = sh.Number
		if m.Token != nil {
			token, ok := parseCursor(*m.Token)
			if !ok || token.kind == cursorRead || token.stream != want.stream || token.shard != want.shard {
				return invalid("Invalid token.")
			}
			want = token
		}
		if want.left > 0 { // still searching
			want.left--
			out.NextToken = proto.String(want.String())
			return nil
		}
		found := cursor{kind: cursorRead, stream: st.ID, shard: sh.Number, at: sh.First}
		if want.kind == cursorTime {
			var err error
			if found.at, err = sh.since(s.store, st.Number, int64(want.at)); err != nil {
				return refuse(codeInternal, "%v", err)
			}
		}
		out.ShardIterator = proto.String(found.String())
		return nil
	})
	if ref != nil {
		return nil, ref
	}
	if err := s.store.settle(); err != nil {
		return nil, refuse(codeInternal, "%v", err)
	}
	return out, nil
}

// since is the number to read from for the records since a moment (µs): the
// number of the first, or the one after the last if all are before.
func (sh *shard) since(st *store, number uint64, micros int64) (uint64, error) {
	it, err := st.records(number, sh.Number, sh.First, math.MaxUint64)
	if err != nil {
		return 0, err
	}
	n, ok := firstSince(it, sh.First, sh.next, micros)
	if !ok {
		if n = sh.First; it.Last() {
			n = recordNumber(it.Key()) + 1
		}
	}
	return n, it.Close()
}

func (s *Server) getStreamRecord(c *call) (protoadapt.MessageV1, *refusal) {
	var m otsprotocol.GetStreamRecordRequest
	if ref := c.decode(&m); ref != nil {
		return nil, ref
	}
	from, ok := parseCursor(m.GetShardIterator())
	if !ok || from.kind != cursorRead {
		return nil, invalid("Invalid shard iterator.")
	}
	limit := int(s.store.streams.pageRecords.Load())
	if m.Limit != nil {
		if *m.Limit <= 0 {
			return nil, invalid("The limit must be greater than 0.")
		}
		limit = min(limit, int(*m.Limit))
	}
	if p := m.NewRowReturnPolicy; p != nil && *p != otsprotocol.NewRowReturnPolicy_NO_NEW_ROW {
		return nil, refuse(codeUnsupported, "Unsupported new row return policy: %v.", *p)
	}
	var it *pebble.Iterator
	var end bool // what it goes over is all that there ever will be
	ref := c.withStream(from.stream, func(t *table, st *stream) *refusal {
		i := slices.IndexFunc(st.Shards, func(sh *shard) bool { return sh.Number == from.shard })
		if i < 0 {
			return trimmed()
		}
		sh := st.Shards[i]
		if from.at < sh.First || from.at > sh.next {
			return trimmed()
		}
		to := sh.readable(s.store)
		end = sh.Closed != 0 && to == sh.next
		// Made with the lock held: a trim that comes later takes nothing of it
		// away.
		var err error
		if it, err = s.store.records(st.Number, sh.Number, from.at, max(to, from.at)); err != nil {
			return refuse(codeInternal, "%v", err)
		}
		return nil
	})
	if ref != nil {
		return nil, ref
	}
	page, err := readPage(it, limit, int(s.store.streams.pageBytes.Load()))
	if err == nil && (len(page.records) > 0 || end) { // also an end is of a split that could be taken back
		err = s.store.settle()
	}
	if err != nil {
		return nil, refuse(codeInternal, "%v", err)
	}
	out := &otsprotocol.GetStreamRecordResponse{
		StreamRecords: page.records, MayMoreRecord: &page.more,
		// That an empty page costs something is a guess.
		Consumed: &otsprotocol.ConsumedCapacity{CapacityUnit: &otsprotocol.CapacityUnit{
			Read: proto.Int32(int32(max(1, (page.bytes+4095)/4096))), Write: proto.Int32(0),
		}},
	}
	switch {
	case end && !page.more: // no next iterator: read to the end
	case len(page.records) == 0:
		// Equal to the one that was sent: so clients know that nothing is new.
		out.NextShardIterator = m.ShardIterator
	default:
		from.at = page.next
		out.NextShardIterator = proto.String(from.String())
	}
	return out, nil
}

// recordPage is what one GetStreamRecord reads.
type recordPage struct {
	records []*otsprotocol.GetStreamRecordResponse_StreamRecord
	bytes   int    // of the rows
	next    uint64 // the number after the last record
	more    bool   // there are records after it
}

// readPage reads records until there are as many as limit, or as large as size,
// and closes it. One record is read however large it is.
func readPage(it *pebble.Iterator, limit, size int) (recordPage, error) {
	var p recordPage
	ok := it.First()
	for ; ok && len(p.records) < limit; ok = it.Next() {
		n := len(it.Value()) - recordLen
		if len(p.records) > 0 && p.bytes+n > size {
			break
		}
		p.bytes += n
		p.next = recordNumber(it.Key()) + 1
		p.records = append(p.records, decodeRecord(slices.Clone(it.Value())))
	}
	p.more = ok
	return p, it.Close()
}

// settle waits until what has been readable is durable: a reader must not hold
// the number of a record that kill -9 can take back, since it would be given to
// another.
func (st *store) settle() error {
	if !st.sync {
		return nil
	}
	return st.db.LogData(nil, pebble.Sync)
}

// settled is settle where there is something to wait for: a batch of commit.
func (st *store) settled() error {
	if st.unsynced.Load() == 0 {
		return nil
	}
	return st.settle()
}
