package replication

import (
	"slices"
	"strings"

	"pointsman/replication/ots"
)

// fold is one change that does what a and then b do to a row of the same key,
// whatever that row is; false where there is none that is exact on every
// server. versions is how many the table keeps of a column, 0 if that is not
// known; those that it could never show are left out.
//
// A batch has one change of a row, because what a server does with two of them
// in one request is in no document. Exact are:
//
//   - anything, then PutRow or DeleteRow: the later one, for nothing of what was
//     before it stays;
//   - PutRow or DeleteRow, then UpdateRow: the row that comes out;
//   - UpdateRow twice: both, as long as no column depends on which came first.
//
// When a server drops the versions that are too many is not known either, so
// that nothing is folded whose outcome hangs on it: the deletion of one version
// of a column that has more than enough of them.
func fold(a, b ots.Mutation, versions int) (ots.Mutation, bool) {
	var out ots.Mutation
	ok := true
	switch {
	case b.Action != ots.UpdateRow:
		return b, true
	case a.Action == ots.UpdateRow:
		out, ok = foldUpdates(a, b, versions)
	default:
		out, ok = foldOnto(a, b, versions)
	}
	if !ok || len(out.Cells) > maxColumns || out.Size() > ots.MaxBytes {
		return ots.Mutation{}, false
	}
	return out, true
}

// foldOnto updates a row that is known: the one that a put, or none where a
// deletes.
func foldOnto(a, b ots.Mutation, versions int) (ots.Mutation, bool) {
	row := make([]ots.Cell, 0, len(a.Cells)+len(b.Cells))
	for _, c := range a.Cells {
		row = putCell(row, c)
	}
	puts := false
	for _, c := range b.Cells {
		from, to := column(row, c.Name)
		switch c.Op {
		case ots.Put:
			puts = true
			row = putCell(row, c)
			if from, to = column(row, c.Name); versions > 0 && to-from > versions+1 {
				// One too many stays, to tell that there were too many.
				row = slices.Delete(row, from+versions+1, to)
			}
		case ots.DeleteAll:
			row = slices.Delete(row, from, to)
		case ots.DeleteOne:
			if to-from > versions {
				return ots.Mutation{}, false
			}
			if i, found := slices.BinarySearchFunc(row, c, compareCells); found {
				row = slices.Delete(row, i, i+1)
			}
		}
	}
	if a.Action == ots.DeleteRow && !puts {
		return a, true // deletions alone make no row
	}
	if len(row) == 0 && len(a.Cells)+len(b.Cells) > 0 {
		// A row of nothing but its key. Not every server takes it from a PutRow.
		return ots.Mutation{}, false
	}
	return ots.Mutation{Table: a.Table, Action: ots.PutRow, Key: a.Key, Cells: row}, true
}

// foldUpdates joins two updates of a row that is not known.
func foldUpdates(a, b ots.Mutation, versions int) (ots.Mutation, bool) {
	cells := slices.Clone(a.Cells)
	byName := func(x, y ots.Cell) int { return strings.Compare(x.Name, y.Name) }
	if !slices.IsSortedFunc(cells, byName) {
		slices.SortStableFunc(cells, byName)
	}
	later := b.Cells
	if !slices.IsSortedFunc(later, byName) {
		later = slices.Clone(later)
		slices.SortStableFunc(later, byName)
	}
	for len(later) > 0 {
		n := 1
		for n < len(later) && later[n].Name == later[0].Name {
			n++
		}
		from, to := column(cells, later[0].Name)
		joined, ok := foldColumn(cells[from:to], later[:n], versions)
		if !ok {
			return ots.Mutation{}, false
		}
		cells = slices.Replace(cells, from, to, joined...)
		later = later[n:]
	}
	// A put makes a row where none is, deletions do not.
	isPut := func(c ots.Cell) bool { return c.Op == ots.Put }
	if slices.ContainsFunc(a.Cells, isPut) && !slices.ContainsFunc(cells, isPut) {
		return ots.Mutation{}, false
	}
	return ots.Mutation{Table: a.Table, Action: ots.UpdateRow, Key: a.Key, Cells: cells}, true
}

// foldColumn joins what two updates do to one column.
func foldColumn(a, b []ots.Cell, versions int) ([]ots.Cell, bool) {
	all := func(cells []ots.Cell, op ots.CellOp) bool {
		return !slices.ContainsFunc(cells, func(c ots.Cell) bool { return c.Op != op })
	}
	switch {
	case len(a) == 0 || b[0].Op == ots.DeleteAll:
		return b, true
	case all(a, ots.Put) && all(b, ots.Put), all(a, ots.DeleteOne) && all(b, ots.DeleteOne):
		var out []ots.Cell
		for _, c := range slices.Concat(a, b) {
			out = putCell(out, c)
		}
		if b[0].Op == ots.Put && versions > 0 && len(out) > versions {
			out = out[:versions]
		}
		return out, true
	}
	return nil, false
}

// compareCells orders cells as rows have them: by name, the newest version
// first.
func compareCells(a, b ots.Cell) int {
	if n := strings.Compare(a.Name, b.Name); n != 0 {
		return n
	}
	switch {
	case a.Version > b.Version:
		return -1
	case a.Version < b.Version:
		return 1
	}
	return 0
}

// putCell adds a version to sorted cells, or replaces it.
func putCell(cells []ots.Cell, c ots.Cell) []ots.Cell {
	if n := len(cells); n == 0 || compareCells(cells[n-1], c) < 0 {
		return append(cells, c)
	}
	i, found := slices.BinarySearchFunc(cells, c, compareCells)
	if found {
		cells[i] = c
		return cells
	}
	return slices.Insert(cells, i, c)
}

// column is where the cells of a column are among those sorted by name.
func column(cells []ots.Cell, name string) (from, to int) {
	from, _ = slices.BinarySearchFunc(cells, name, func(c ots.Cell, name string) int { return strings.Compare(c.Name, name) })
	for to = from; to < len(cells) && cells[to].Name == name; to++ {
	}
	return from, to
}
