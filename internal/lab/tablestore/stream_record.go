package tablestore

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"pointsman/internal/lab/tablestore/plainbuffer"
)

// change is one change of a row, as its stream tells it.
type change struct {
	action otsprotocol.ActionType
	row    plainbuffer.Row  // with all versions that were given; increments as the values that came out
	before *plainbuffer.Row // the row before it, nil if there was none; asked for only if the stream has Origin
	key    []byte           // the code of its partition key
}

// raced is how much later than its request's time a record may be said to be,
// µs: requests race for the lock of the table. A clock that goes back by more
// begins an epoch.
const raced = int64(time.Second / time.Microsecond)

// record puts changes into the stream of the table, in the batch that makes
// them; nothing if the stream is off. They are of one moment, at (µs), and keep
// their order. The caller holds t.mu until the batch is committed.
func (t *table) record(b *pebble.Batch, at int64, changes ...change) error {
	s, err := t.log()
	if s == nil || err != nil || len(changes) == 0 {
		return err
	}
	if err := t.sweep(at); err != nil {
		return err
	}
	given := at
	for i := range changes {
		last := s.open[t.part(changes[i].key)].Last
		if int(last.Index) > math.MaxInt32-len(changes) {
			last.Micros++
		}
		if last.Micros > at && last.Micros-given <= raced {
			at = last.Micros
		}
	}
	late := t.in.store.streams.delay.Load()
	for i := range changes {
		c := &changes[i]
		sh := s.open[t.part(c.key)]
		p := place{Epoch: sh.Last.Epoch, Micros: at}
		switch {
		case at == sh.Last.Micros:
			p.Index = sh.Last.Index + 1
		case at < sh.Last.Micros:
			p.Epoch++
		}
		s.ext = plainbuffer.Extension(p)
		s.text = c.append(s.text[:0], &s.ext, s.Origin)
		s.name = appendRecordKey(s.name[:0], s.Number, sh.Number, sh.next)
		if err := b.Set(s.name, s.text, nil); err != nil {
			return err
		}
		// Also without a delay, if there are late ones: else a longer delay would
		// have it wait for the next record.
		if late > 0 || len(sh.late.marks) > 0 {
			sh.late.add(sh.next, time.Now(), time.Duration(late))
		}
		sh.next++
		sh.Last = p
		sh.oldest = min(sh.oldest, at)
	}
	if cap(s.text) > maxScratch {
		s.text = nil
	}
	return nil
}

// maxScratch bounds what a stream keeps for its next record, in bytes.
const maxScratch = 64 << 10

// part is the index of the partition that a partition key's code belongs to.
func (t *table) part(key []byte) int {
	if len(t.Parts) == 1 {
		return 0
	}
	return max(sort.Search(len(t.Parts), func(i int) bool { return bytes.Compare(t.Parts[i].From, key) > 0 })-1, 0)
}

// A record in the store: its place, the action, the length of the row, the row
// as clients get it, and the row as it was if there is one.
//
//	i32 epoch  i64 µs  i32 index  u8 action  u32 length  row  row before
//
// The integers are big-endian; of the place only the µs and the index could be
// compared as bytes, so nobody does.
const (
	placeLen  = 4 + 8 + 4
	recordLen = placeLen + 1 + 4 // without the rows
)

func placeOf(v []byte) place {
	return place{
		Epoch:  int32(binary.BigEndian.Uint32(v)),
		Micros: int64(binary.BigEndian.Uint64(v[4:])),
		Index:  int32(binary.BigEndian.Uint32(v[12:])),
	}
}

// append appends a change, whose place is p, as the store has it.
func (c *change) append(dst []byte, p *plainbuffer.Extension, origin []string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(p.Epoch))
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.Micros))
	dst = binary.BigEndian.AppendUint32(dst, uint32(p.Index))
	dst = append(dst, byte(c.action))
	length := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	row := plainbuffer.Row{Key: c.row.Key, Ext: p}
	if c.action == otsprotocol.ActionType_DELETE_ROW {
		row.Delete = true
	} else {
		row.Columns = sorted(c.row.Columns)
	}
	dst = plainbuffer.Append(dst, row)
	binary.BigEndian.PutUint32(dst[length:], uint32(len(dst)-length-4))
	if len(origin) == 0 || c.before == nil {
		return dst
	}
	before := plainbuffer.Row{Key: c.row.Key}
	for _, cell := range c.before.Columns {
		if slices.Contains(origin, cell.Name) {
			before.Columns = append(before.Columns, cell)
		}
	}
	return plainbuffer.Append(dst, before)
}

// sorted sorts cells by name. Those of one column stay in the order of the
// request, which is theirs to be applied in.
func sorted(cells []plainbuffer.Cell) []plainbuffer.Cell {
	byName := func(a, b plainbuffer.Cell) int { return strings.Compare(a.Name, b.Name) }
	if slices.IsSortedFunc(cells, byName) {
		return cells
	}
	cells = slices.Clone(cells)
	slices.SortStableFunc(cells, byName)
	return cells
}

// decodeRecord reads what append wrote; its rows alias v.
func decodeRecord(v []byte) *otsprotocol.GetStreamRecordResponse_StreamRecord {
	n := binary.BigEndian.Uint32(v[placeLen+1:])
	r := &otsprotocol.GetStreamRecordResponse_StreamRecord{
		ActionType: otsprotocol.ActionType(v[placeLen]).Enum(),
		Record:     v[recordLen : recordLen+n : recordLen+n],
	}
	if rest := v[recordLen+n:]; len(rest) > 0 {
		r.OriginRecord = rest
	}
	return r
}
