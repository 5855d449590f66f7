package replication

import (
	"bytes"
	"time"

	"pointsman/replication/ots"
)

// Classes of a write that the old side acknowledged after the cut, by what the
// new side has in its place.
const (
	ClassOnlyOld = "only-old"       // no such row
	ClassDiffers = "differs"        // the row without it
	ClassDeleted = "deleted-on-old" // a row that was deleted
	ClassOlder   = "older"          // something newer: whether it crossed before that cannot be seen, and does not matter any more
	ClassCrossed = "crossed"        // the write itself
)

// lostClass says whether a row whose last write is of that class is lost.
func lostClass(class string) bool {
	return class == ClassOnlyOld || class == ClassDiffers || class == ClassDeleted
}

// judged is one write with its class.
type judged struct {
	rec   ots.Record
	class string
}

// judgeWrites compares writes of one shard, in their order, with the rows of the new
// side. Writes to a row are applied in order: where one has crossed, so have all
// before it.
func judgeWrites(records []ots.Record, there map[string]ots.Row) []judged {
	out := make([]judged, len(records))
	crossed := map[string]bool{}
	for i := len(records) - 1; i >= 0; i-- {
		r := records[i]
		key := string(r.Key.Encode())
		row, ok := there[key]
		class := ClassCrossed
		if !crossed[key] {
			class = classOf(r, row, ok)
		}
		crossed[key] = crossed[key] || class == ClassCrossed
		out[i] = judged{r, class}
	}
	return out
}

// classOf compares one write with a row of the new side.
func classOf(r ots.Record, row ots.Row, there bool) string {
	if r.Action == ots.DeleteRow {
		return classOfDelete(r, row, there)
	}
	if !there {
		for _, c := range r.Cells {
			if c.Op == ots.Put {
				return ClassOnlyOld
			}
		}
		if r.Action == ots.UpdateRow && len(r.Cells) > 0 {
			return ClassCrossed // it took away what is not there
		}
		return ClassOnlyOld // a row without columns
	}
	class := ClassCrossed
	for _, c := range r.Cells {
		switch cellThere(c, row, r.Seq) {
		case ClassDiffers:
			return ClassDiffers
		case ClassOlder:
			class = ClassOlder
		}
	}
	return class
}

// classOfDelete: versions up to the delete are what it should have taken.
func classOfDelete(r ots.Record, row ots.Row, there bool) string {
	if !there {
		return ClassCrossed
	}
	at := time.UnixMicro(r.Seq.Time).UnixMilli()
	for _, c := range row.Cells {
		if c.Version <= at {
			return ClassDeleted
		}
	}
	return ClassOlder
}

// cellThere says whether one cell of a write is as it left it: crossed, differs,
// or older where a newer version stands there.
func cellThere(c ots.Cell, row ots.Row, seq ots.Sequence) string {
	at := time.UnixMicro(seq.Time).UnixMilli()
	older := false
	for _, is := range row.Cells {
		if is.Name != c.Name {
			continue
		}
		switch c.Op {
		case ots.Put:
			if is.Version == c.Version {
				if sameValue(is.Value, c.Value) {
					return ClassCrossed
				}
				return ClassDiffers
			}
			older = older || is.Version > c.Version
		case ots.DeleteOne:
			if is.Version == c.Version {
				return ClassDiffers
			}
		case ots.DeleteAll:
			if is.Version <= at {
				return ClassDiffers
			}
			older = true
		}
	}
	switch {
	case older:
		return ClassOlder
	case c.Op == ots.Put:
		return ClassDiffers
	}
	return ClassCrossed
}

func sameValue(a, b ots.Value) bool {
	x, isBytes := a.([]byte)
	y, areBytes := b.([]byte)
	if isBytes || areBytes {
		return isBytes && areBytes && bytes.Equal(x, y)
	}
	return a == b
}
