package tablestore

import (
	"bytes"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// split cuts partition i in two, the second of which begins at the code of a
// partition key. If the stream is on, its shard is closed, and each half has a
// child of it. The caller holds t.mu until the batch is committed.
func (t *table) split(b *pebble.Batch, i int, from []byte, now int64) error {
	s, err := t.log()
	if err != nil {
		return err
	}
	half := partition{From: from}
	if s != nil {
		parent := s.open[i]
		parent.Closed = max(now, 1)
		left, right := s.bear(now, parent.ID, ""), s.bear(now, parent.ID, "")
		t.Parts[i].Shard, half.Shard = left.ID, right.ID
		s.open[i] = left
		s.open = slices.Insert(s.open, i+1, right)
	}
	t.Parts = slices.Insert(t.Parts, i+1, half)
	return t.save(b)
}

// merge makes partitions i and i+1 one. If the stream is on, the shards of both
// are closed and have one child. The caller holds t.mu until the batch is
// committed.
func (t *table) merge(b *pebble.Batch, i int, now int64) error {
	s, err := t.log()
	if err != nil {
		return err
	}
	if s != nil {
		left, right := s.open[i], s.open[i+1]
		left.Closed, right.Closed = max(now, 1), max(now, 1)
		child := s.bear(now, left.ID, right.ID)
		t.Parts[i].Shard, s.open[i] = child.ID, child
		s.open = slices.Delete(s.open, i+1, i+2)
	}
	t.Parts = slices.Delete(t.Parts, i+1, i+2)
	return t.save(b)
}

// middle finds the code of a partition key that cuts the partition with most
// data into halves, as near as its partition keys allow.
func (t *table) middle() ([]byte, error) {
	t.mu.Lock()
	parts := slices.Clone(t.Parts)
	t.mu.Unlock()
	type group struct { // of the rows of one partition key
		code []byte
		sum  int64 // of the partition, before them
	}
	var best, here []group
	var most, sum int64
	i := 0
	end := func() {
		if len(here) > 1 && sum > most {
			best, most = here, sum
		}
		here, sum = nil, 0
	}
	err := t.sizes(func(code []byte, size int64) bool {
		code = code[:codeLen(code, t.Keys[0].Type)]
		for i+1 < len(parts) && bytes.Compare(parts[i+1].From, code) <= 0 {
			end()
			i++
		}
		if len(here) == 0 || !bytes.Equal(here[len(here)-1].code, code) {
			here = append(here, group{bytes.Clone(code), sum})
		}
		sum += size
		return true
	})
	end()
	if err != nil {
		return nil, err
	}
	if best == nil {
		return nil, errors.New("no partition has rows of two partition keys; name the key to split at")
	}
	far := func(g group) int64 { return max(2*g.sum-most, most-2*g.sum) }
	return slices.MinFunc(best[1:], func(a, b group) int { return int(min(1, max(-1, far(a)-far(b)))) }).code, nil
}

// partitionAt returns the partition that a code of a partition key would cut.
func (t *table) partitionAt(code []byte) (int, error) {
	i := t.part(code)
	if bytes.Equal(t.Parts[i].From, code) {
		return 0, errors.New("a partition begins there already")
	}
	return i, nil
}
