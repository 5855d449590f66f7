package replication

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"

	"pointsman/replication/ots"
)

// sideRows are the rows of one side that were read and not compared yet.
type sideRows struct {
	rows []ots.Row
	next ots.Key // where to read on
	all  bool    // nothing is left to read
}

// below takes the rows before a key, all of them if it is nil.
func (s *sideRows) below(bound ots.Key) []ots.Row {
	n := len(s.rows)
	if bound != nil {
		n, _ = slices.BinarySearchFunc(s.rows, bound, func(r ots.Row, k ots.Key) int { return r.Key.Compare(k) })
	}
	taken := s.rows[:n]
	s.rows = s.rows[n:]
	return taken
}

// compareRange reads a range of both sides side by side, in pieces that end
// where the shorter page does. It holds a page of each.
func (t *verifyTable) compareRange(ctx context.Context, start, end ots.Key) error {
	sides := [2]sideRows{{next: start}, {next: start}}
	for {
		if err := t.fetch(ctx, &sides, end); err != nil {
			return err
		}
		var bound ots.Key
		for i := range sides {
			if s := &sides[i]; !s.all && (bound == nil || s.next.Compare(bound) < 0) {
				bound = s.next
			}
		}
		if err := t.comparePiece(ctx, sides[atSource].below(bound), sides[atTarget].below(bound)); err != nil {
			return err
		}
		if bound == nil {
			return nil
		}
	}
}

// fetch reads the next page of each side that has no rows left.
func (t *verifyTable) fetch(ctx context.Context, sides *[2]sideRows, end ots.Key) error {
	g, gctx := newTeam(ctx)
	for i := range sides {
		s := &sides[i]
		if len(s.rows) > 0 || s.all {
			continue
		}
		g.Go(func() error {
			var p ots.RangePage
			err := t.calls(gctx, verifySide(i), func() (err error) {
				p, err = t.client(verifySide(i)).Range(gctx, ots.RangeQuery{Table: t.found.Table, Start: s.next, End: end, Limit: t.page, MaxVersions: t.versions})
				return err
			})
			s.rows, s.next, s.all = p.Rows, p.Next, p.Next == nil
			return err
		})
	}
	return g.Wait()
}

// comparePiece compares the rows of both sides between the same two keys: by
// their sums, and one by one only where these differ.
func (t *verifyTable) comparePiece(ctx context.Context, here, there []ots.Row) error {
	sum := sumRows(here)
	t.lock.Lock()
	t.found.SourceRows += int64(len(here))
	t.found.TargetRows += int64(len(there))
	rows := max(t.found.SourceRows, t.found.TargetRows)
	t.sum.add(sum)
	t.lock.Unlock()
	t.tell(func(p *VerifyProgress) { p.Rows = rows })
	if sum == sumRows(there) {
		return nil
	}
	for len(here) > 0 || len(there) > 0 {
		order := 0
		switch {
		case len(there) == 0:
			order = -1
		case len(here) == 0:
			order = 1
		default:
			order = here[0].Key.Compare(there[0].Key)
		}
		var key ots.Key
		same := false
		switch {
		case order < 0:
			key, here = here[0].Key, here[1:]
		case order > 0:
			key, there = there[0].Key, there[1:]
		default:
			key, same = here[0].Key, equalCells(here[0].Cells, there[0].Cells)
			here, there = here[1:], there[1:]
		}
		if !same {
			if err := t.suspect(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// rowSum is a hash of a set of rows: the sum of theirs, in four parts, so that
// their order and the ranges that they are read in do not matter.
type rowSum [4]uint64

func (s *rowSum) add(o rowSum) {
	for i := range s {
		s[i] += o[i]
	}
}

func (s rowSum) bytes() (out [32]byte) {
	for i, n := range s {
		binary.LittleEndian.PutUint64(out[8*i:], n)
	}
	return out
}

func sumRows(rows []ots.Row) rowSum {
	var sum rowSum
	var mem []byte
	for _, r := range rows {
		mem = appendRow(mem[:0], r)
		h := sha256.Sum256(mem)
		var one rowSum
		for i := range one {
			one[i] = binary.LittleEndian.Uint64(h[8*i:])
		}
		sum.add(one)
	}
	return sum
}

// appendRow writes a row in the one way in which equal rows, and no others, are
// equal: its columns in their order, each with its length and type.
//
//	row   := n(columns of the key) (text value)* cell*
//	cell  := text value version
//	text  := n(length) bytes
//	value := type, then 8 bytes, 1 byte or a text
func appendRow(out []byte, r ots.Row) []byte {
	out = binary.AppendUvarint(out, uint64(len(r.Key)))
	for _, c := range r.Key {
		out = appendValue(appendWord(out, c.Name), c.Value)
	}
	for _, c := range r.Cells {
		out = appendCell(out, c)
	}
	return out
}

func appendCell(out []byte, c ots.Cell) []byte {
	return binary.LittleEndian.AppendUint64(appendValue(appendWord(out, c.Name), c.Value), uint64(c.Version))
}

func appendWord[T string | []byte](out []byte, v T) []byte {
	return append(binary.AppendUvarint(out, uint64(len(v))), v...)
}

func appendValue(out []byte, v ots.Value) []byte {
	switch v := v.(type) {
	case int64:
		return binary.LittleEndian.AppendUint64(append(out, 'i'), uint64(v))
	case float64:
		return binary.LittleEndian.AppendUint64(append(out, 'f'), math.Float64bits(v))
	case bool:
		if v {
			return append(out, 'b', 1)
		}
		return append(out, 'b', 0)
	case string:
		return appendWord(append(out, 's'), v)
	case []byte:
		return appendWord(append(out, 'y'), v)
	}
	return append(out, '?')
}
