package tablestore

import (
	"encoding/binary"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// swept is how often a stream is looked through for what is too old, µs of the
// server's clock: so much later than it is told may a record be removed.
const swept = int64(time.Second / time.Microsecond)

// sweep removes the records that are older than the stream keeps them, at a
// time of the server's clock (µs). Whoever writes or reads a stream calls it: no
// stream grows that nobody writes to. The caller holds t.mu and has called log.
func (t *table) sweep(now int64) error {
	s := t.Stream
	if now >= s.swept && now-s.swept < swept {
		return nil
	}
	s.swept = now
	_, err := t.trim(now - int64(s.Hours)*int64(time.Hour/time.Microsecond))
	return err
}

// trim removes the records before a moment (µs), and the shards that were
// closed before it and have no other. It returns how many records there were.
// A record behind one that stays does too, whatever its time: it was written
// when the clock had gone back. The caller holds t.mu and has called log.
func (t *table) trim(before int64) (removed int, err error) {
	s, st := t.Stream, t.in.store
	b := st.db.NewBatch()
	kept := make([]*shard, 0, len(s.Shards)) // parents come before their children
	for _, sh := range s.Shards {
		if sh.oldest < before {
			n, err := sh.trim(b, st, s.Number, before)
			if err != nil {
				return 0, err
			}
			removed += n
		}
		// One whose parent is still there is too, though the clock may have gone
		// back and have it closed before: else nobody would know that its child
		// comes after the parent.
		gone := sh.Closed != 0 && sh.Closed < before && sh.oldest == none &&
			!slices.ContainsFunc(kept, func(k *shard) bool { return k.ID == sh.Parent || k.ID == sh.Sibling })
		if !gone {
			kept = append(kept, sh)
		}
	}
	if b.Empty() && len(kept) == len(s.Shards) {
		return 0, b.Close()
	}
	s.Shards = kept
	if err := t.save(b); err != nil {
		return 0, err
	}
	// It may be lost: then they are removed again.
	if err := st.db.Apply(b, pebble.NoSync); err != nil {
		return 0, err
	}
	return removed, b.Close()
}

// trim removes the records of a shard before a moment, in a batch.
func (sh *shard) trim(b *pebble.Batch, st *store, number uint64, before int64) (removed int, err error) {
	it, err := st.records(number, sh.Number, 0, math.MaxUint64)
	if err != nil {
		return 0, err
	}
	sh.oldest = none
	if n, ok := firstSince(it, sh.First, sh.next, before); ok {
		it.SeekGE(recordKey(number, sh.Number, n))
		sh.oldest = placeOf(it.Value()).Micros
		it.Prev()
	} else {
		it.Last()
	}
	if it.Valid() {
		first := recordNumber(it.Key()) + 1
		removed = int(first - sh.First)
		sh.First = first
		err = b.DeleteRange(recordKey(number, sh.Number, 0), recordKey(number, sh.Number, first), nil)
	}
	if e := it.Close(); err == nil {
		err = e
	}
	return removed, err
}

// firstSince finds the first record of a shard, of the numbers from, to-1, whose
// time is not before a moment (µs). Within an epoch times do not go back, so it
// looks at few records of each.
func firstSince(it *pebble.Iterator, from, to uint64, since int64) (uint64, bool) {
	if !it.First() {
		return 0, false
	}
	prefix := append(make([]byte, 0, recordKeyLen), it.Key()[:recordKeyLen-8]...)
	// at is the place of the first record whose number is not less than n.
	at := func(n uint64) (place, bool) {
		if !it.SeekGE(binary.BigEndian.AppendUint64(prefix, n)) {
			return place{}, false
		}
		return placeOf(it.Value()), true
	}
	search := func(from, to uint64, f func(place) bool) uint64 {
		return from + uint64(sort.Search(int(to-from), func(i int) bool {
			p, ok := at(from + uint64(i))
			return !ok || f(p)
		}))
	}
	for {
		p, ok := at(from)
		if !ok || from >= to {
			return 0, false
		}
		end := search(from, to, func(q place) bool { return q.Epoch > p.Epoch })
		if n := search(from, end, func(q place) bool { return q.Micros >= since }); n < end {
			return n, true
		}
		from = end
	}
}
