package replication

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"pointsman/replication/ots"
)

// DifferenceKind is in what way a row or a column differs.
type DifferenceKind string

// Kinds of differences.
const (
	OnlySource DifferenceKind = "only-source" // the target lacks it
	OnlyTarget DifferenceKind = "only-target" // the source lacks it
	Differs    DifferenceKind = "differs"     // of a row: some columns; of a column: its versions
	Value      DifferenceKind = "value"       // of a column: the versions are the same, a value is not
)

// RowDifference is a row that is not the same at both sides. It has no values.
type RowDifference struct {
	Key         string             `json:"key"`
	Kind        DifferenceKind     `json:"kind"`
	Columns     []ColumnDifference `json:"columns,omitempty"` // of a row that both have
	MoreColumns int                `json:"more_columns,omitempty"`
}

// ColumnDifference is a column that is not the same at both sides, with the
// versions that each has, in ms since 1970, newest first.
type ColumnDifference struct {
	Column string         `json:"column"`
	Kind   DifferenceKind `json:"kind"`
	Source []int64        `json:"source_versions,omitempty"`
	Target []int64        `json:"target_versions,omitempty"`
}

// Bounds of what is kept and shown.
const (
	suspectsMost   = 1000 // rows that wait to be read again
	columnsMost    = 16   // columns of one difference
	versionsMost   = 8    // versions of one column
	verifyKeysMost = 50   // rows of one read
)

// keyed is a difference with the key that sorts it.
type keyed struct {
	key ots.Key
	RowDifference
}

// suspect notes a row that differs. When many wait, they are dealt with before
// more are read.
func (t *verifyTable) suspect(ctx context.Context, k ots.Key) error {
	t.lock.Lock()
	defer t.lock.Unlock()
	t.suspects = append(t.suspects, k)
	n := len(t.suspects)
	t.tell(func(p *VerifyProgress) { p.Suspects = n })
	if n < suspectsMost {
		return nil
	}
	return t.settle(ctx)
}

// settle reads the suspects again until each of them is equal, or has differed
// in every round. It is called with t locked.
func (t *verifyTable) settle(ctx context.Context) error {
	keys := t.suspects
	t.suspects = nil
	here, err := t.sketches(ctx, atSource, keys)
	if err != nil {
		return err
	}
	var before []sketch // of the target, a round ago
	for round := 1; len(keys) > 0; round++ {
		if err := waitFor(ctx, t.wait()); err != nil {
			return err
		}
		there, err := t.sketches(ctx, atTarget, keys)
		if err != nil {
			return err
		}
		after, err := t.sketches(ctx, atSource, keys)
		if err != nil {
			return err
		}
		if before == nil {
			before = there
		}
		n := 0
		for i, k := range keys {
			c := compareSketches([2]sketch{here[i], after[i]}, [2]sketch{before[i], there[i]})
			switch {
			case c.equal:
				t.found.OnTheirWay++
				continue
			case round < t.Rounds:
				keys[n], after[n], there[n] = k, after[i], there[i]
				n++
				continue
			case c.kind == "":
				t.found.ChangingRows++
				if len(t.found.Changing) < t.Limit {
					t.found.Changing = append(t.found.Changing, k.String())
				}
				continue
			}
			if len(t.differences) == t.Limit {
				return errEnough
			}
			t.differences = append(t.differences, keyed{k, c.difference(k)})
		}
		keys, here, before = keys[:n], after[:n], there[:n]
		found := len(t.differences)
		t.tell(func(p *VerifyProgress) { p.Suspects, p.Differences = n, found })
	}
	return nil
}

// wait is how long a write may be on its way.
func (t *verifyTable) wait() (d time.Duration) {
	d = t.Settle
	if t.Exposure == nil {
		return d
	}
	if behind, known := t.Exposure(); known {
		d += behind
	}
	return d
}

// sketch is a row without its values.
type sketch []columnSketch // sorted by name; nil: no row

type columnSketch struct {
	name     string
	versions []int64
	sum      [sha256.Size]byte // of its cells
}

func (c columnSketch) equal(o columnSketch) bool { return c.name == o.name && c.sum == o.sum }

func sketchOf(r ots.Row) sketch {
	if r.Key == nil {
		return nil
	}
	s := sketch{}
	var mem []byte
	for cells := r.Cells; len(cells) > 0; {
		c := columnSketch{name: cells[0].Name}
		mem = mem[:0]
		for len(cells) > 0 && cells[0].Name == c.name {
			c.versions = append(c.versions, cells[0].Version)
			mem = appendCell(mem, cells[0])
			cells = cells[1:]
		}
		c.sum = sha256.Sum256(mem)
		s = append(s, c)
	}
	return s
}

func (s sketch) equal(o sketch) bool {
	return (s == nil) == (o == nil) && slices.EqualFunc(s, o, columnSketch.equal)
}

// column is a column of the row; one without versions if it has none.
func (s sketch) column(name string) columnSketch {
	i, ok := slices.BinarySearchFunc(s, name, func(c columnSketch, n string) int { return strings.Compare(c.name, n) })
	if !ok {
		return columnSketch{name: name}
	}
	return s[i]
}

// comparison is what two reads of each side say of a row.
type comparison struct {
	equal   bool
	kind    DifferenceKind // empty: it changed all the time
	columns []ColumnDifference
	more    int
}

// compareSketches judges a row by two reads of the source and two of the target.
// Between the first and the second of the source lies the second of the target,
// late enough that it has what the source had at first. What the source had both
// times, the target must have; what changed between the reads proves nothing.
func compareSketches(here, there [2]sketch) comparison {
	now := there[1]
	if now.equal(here[0]) || now.equal(here[1]) {
		return comparison{equal: true}
	}
	switch {
	case (here[0] == nil) != (here[1] == nil), (there[0] == nil) != (there[1] == nil):
		return comparison{}
	case here[0] == nil && there[0].equal(now):
		return comparison{kind: OnlyTarget}
	case here[0] == nil:
		return comparison{}
	case now == nil && here[0].shares(here[1]):
		return comparison{kind: OnlySource}
	case now == nil:
		return comparison{}
	}
	c := comparison{equal: true}
	for _, name := range columnNames(here[0], here[1], now) {
		a, b, x := here[0].column(name), here[1].column(name), now.column(name)
		if x.equal(a) || x.equal(b) {
			continue
		}
		c.equal = false
		if !a.equal(b) || !x.equal(there[0].column(name)) {
			continue
		}
		c.kind = Differs
		if len(c.columns) == columnsMost {
			c.more++
			continue
		}
		d := ColumnDifference{Column: name, Kind: Differs, Source: firstVersions(a), Target: firstVersions(x)}
		switch {
		case len(x.versions) == 0:
			d.Kind = OnlySource
		case len(a.versions) == 0:
			d.Kind = OnlyTarget
		case slices.Equal(a.versions, x.versions):
			d.Kind = Value
		}
		c.columns = append(c.columns, d)
	}
	return c
}

// shares says whether two reads of a row have anything in common: if not, it may
// have been deleted and written again in between.
func (s sketch) shares(o sketch) bool {
	return len(s) == 0 && len(o) == 0 || slices.ContainsFunc(s, func(c columnSketch) bool { return c.equal(o.column(c.name)) })
}

func columnNames(rows ...sketch) []string {
	var names []string
	for _, s := range rows {
		for _, c := range s {
			names = append(names, c.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func firstVersions(c columnSketch) []int64 { return c.versions[:min(len(c.versions), versionsMost)] }

func (c comparison) difference(k ots.Key) RowDifference {
	return RowDifference{Key: k.String(), Kind: c.kind, Columns: c.columns, MoreColumns: c.more}
}

// sketches reads rows of a side.
func (t *verifyTable) sketches(ctx context.Context, s verifySide, keys []ots.Key) ([]sketch, error) {
	out := make([]sketch, 0, len(keys))
	for some := range slices.Chunk(keys, verifyKeysMost) {
		more, err := t.readSketches(ctx, s, some)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// readSketches reads so few rows that one answer holds them: what is too much
// for it is read in halves.
func (t *verifyTable) readSketches(ctx context.Context, s verifySide, keys []ots.Key) ([]sketch, error) {
	var rows []ots.Row
	err := t.calls(ctx, s, func() (err error) {
		rows, err = t.client(s).Get(ctx, t.found.Table, keys, t.versions)
		return err
	})
	if err != nil && len(keys) > 1 && ctx.Err() == nil {
		var out []sketch
		for half := range slices.Chunk(keys, (len(keys)+1)/2) {
			some, err := t.readSketches(ctx, s, half)
			if err != nil {
				return nil, err
			}
			out = append(out, some...)
		}
		return out, nil
	}
	out := make([]sketch, len(rows))
	for i, r := range rows {
		out[i] = sketchOf(r)
	}
	return out, err
}
