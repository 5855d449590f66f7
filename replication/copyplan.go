package replication

import (
	"context"
	"slices"
	"unicode/utf8"

	"pointsman/replication/ots"
)

// Sizes of the ranges that a table is cut into.
const (
	splitMost  = 256       // ranges: each of them is in every text that is saved
	splitFew   = 16        // ranges that are enough to work side by side
	splitSize  = 256 << 20 // bytes, at first
	splitLeast = 256 << 10 // bytes
	splitStep  = 8         // by which the size is changed until it fits
)

// cut is how a table is to be cut: into few ranges at least, if they are not
// smaller than least bytes, and fewer than most.
type cut struct {
	few, most int
	least     int64
}

// splits cuts a table into ranges of about the same size, by what the service
// says. It returns the keys between them, which may be none: also where the
// service refuses to cut it, or to cut it smaller.
func splits(ctx context.Context, c *ots.Client, table string, want cut) ([]ots.Key, error) {
	size, grown := int64(splitSize), false
	var larger []ots.Key
	for {
		keys, err := c.Splits(ctx, table, size, want.most)
		if ots.ClassOf(err) == ots.ClassRow {
			return larger, nil
		}
		if err != nil {
			return nil, err
		}
		larger = keys
		switch {
		case len(keys) >= want.most && size <= 1<<50:
			size, grown = size*splitStep, true
		case len(keys)+1 < want.few && !grown && size > want.least:
			size = max(size/splitStep, want.least)
		default:
			if len(keys) >= want.most {
				keys = keys[:want.most-1]
			}
			return keys, nil
		}
	}
}

// plan cuts the table into ranges.
func (c *copier) plan(ctx context.Context) ([]savedRange, error) {
	var keys []ots.Key
	err := c.calls(ctx, c.Pool.reads, func() (err error) {
		keys, err = splits(ctx, c.Source, c.Table.Name, cut{splitFew, splitMost, c.Pool.least})
		return err
	})
	if err != nil {
		return nil, err
	}
	ranges := make([]savedRange, len(keys)+1)
	for i, k := range keys {
		b := k.Encode()
		ranges[i].End, ranges[i+1].Start, ranges[i+1].Next = b, b, b
		ranges[i+1].Part = i + 1
	}
	return ranges, nil
}

// tell counts the ranges for people. The service cuts a table into parts of
// about the same size: how many rows there are in all, follows from those parts
// that are done, and is unknown before the first one is.
func (c *copier) tell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	type part struct {
		rows int64
		open bool
	}
	parts := make(map[int]*part)
	done := 0
	for _, r := range c.ranges {
		p := parts[r.part]
		if p == nil {
			p = &part{}
			parts[r.part] = p
		}
		p.rows += r.rows
		if r.done {
			done++
		} else {
			p.open = true
		}
	}
	var rows, n int64
	for _, p := range parts {
		if !p.open {
			rows += p.rows
			n++
		}
	}
	var total int64
	if n > 0 {
		total = rows * int64(len(parts)) / n
	}
	c.Meter.setRanges(len(c.ranges), done, total)
}

// halveAfter is how many pages of rows a range has read since it was divided
// last, before it is divided for workers that have nothing to do.
const halveAfter = 5

// halve gives the upper half of what is left of a range away, if somebody has
// nothing to do and the range is large. The worker of the range calls it between
// two reads; all keys from at on are unread.
func (c *copier) halve(ctx context.Context, r *copyRange, at ots.Key, read int64) error {
	c.mu.Lock()
	end, wanted := r.end, c.hungry > 0 && read-r.halved >= int64(halveAfter*c.Pool.page)
	c.mu.Unlock()
	if !wanted {
		return nil
	}
	r.halved = read
	// The middle of the keys is not that of the rows: above it there may be none.
	for range 64 {
		middle, ok := between(at, end)
		if !ok {
			return nil
		}
		p, err := c.read(ctx, c.Source, ots.RangeQuery{Table: c.Table.Name, Start: middle, End: end, Limit: 1, MaxVersions: 1})
		if err != nil {
			return err
		}
		if len(p.Rows) == 0 && p.Next == nil {
			end = middle
			continue
		}
		c.mu.Lock()
		upper := &copyRange{start: middle, next: middle, end: r.end, fill: r.fill, part: r.part}
		if upper.fill == fillRows {
			upper.fill = fillUnknown // perhaps not in this half
		}
		r.end = middle
		c.ranges = slices.Insert(c.ranges, slices.Index(c.ranges, r)+1, upper)
		c.changed.Broadcast()
		c.mu.Unlock()
		c.tell()
		return nil
	}
	return nil
}

// between makes a key about halfway from a whole key to the end of a range, nil
// being open; not ok if there is nothing in between.
func between(from, end ots.Key) (ots.Key, bool) {
	open := end == nil
	for i, f := range from {
		var to ots.Value
		if !open && i < len(end) {
			to = end[i].Value
		}
		m := middle(f.Value, to)
		if m == nil {
			// What is left has this value in this column, or nearly: the next
			// column decides, and is open.
			open = open || i >= len(end) || (ots.Key{f}).Compare(ots.Key{end[i]}) != 0
			continue
		}
		k := append(slices.Clone(from[:i]), ots.KeyColumn{Name: f.Name, Value: m})
		return k, k.Compare(from) > 0 && (end == nil || k.Compare(end) < 0)
	}
	return nil, false
}

// middle is a value between two, nil if there is none. A nil to is the most that
// a column can have.
func middle(from, to ots.Value) ots.Value {
	switch a := from.(type) {
	case int64:
		b, ok := to.(int64)
		if !ok {
			b = 1<<63 - 1
		}
		if m := a + int64(uint64(b-a)/2); m > a && m < b {
			return m
		}
	case string:
		b, ok := to.(string)
		most := rune(utf8.MaxRune)
		if !utf8.ValidString(a) || !utf8.ValidString(b) {
			return nil
		}
		if r, _ := utf8.DecodeRuneInString(a); r < utf8.RuneSelf {
			most = utf8.RuneSelf - 1 // texts of plain letters stay among them
		}
		if m := string(middleOf([]rune(a), []rune(b), !ok, most)); m > a && (!ok || m < b) {
			return m
		}
	case []byte:
		b, ok := to.([]byte)
		if m := middleOf(a, b, !ok, 255); m != nil {
			return m
		}
	}
	return nil
}

// middleOf is halfway between two words of letters up to most, nil if nothing is.
func middleOf[T rune | byte](a, b []T, open bool, most T) []T {
	var m []T
	for i := 0; i < max(len(a), len(b))+2; i++ {
		low, high := -1, int(most)+1
		if i < len(a) {
			low = int(a[i])
		}
		if !open {
			if i >= len(b) {
				return nil
			}
			high = int(b[i])
		}
		if high-low >= 2 {
			return append(m, T(low+(high-low)/2))
		}
		if low < 0 { // the word that ends here, and the least letter after it
			return nil
		}
		m = append(m, T(low))
		open = open || high > low
	}
	return nil
}
