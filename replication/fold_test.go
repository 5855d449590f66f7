package replication

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"pointsman/replication/ots"
)

// oracle is a row by the vendor's rules, the plain way: all versions of all
// columns in no order. A nil row is none.
type oracle map[oracleCell]ots.Value

type oracleCell struct {
	name    string
	version int64
}

// apply does one change, and drops what is more than so many versions.
func (o oracle) apply(m ots.Mutation, versions int) oracle {
	if m.Action == ots.DeleteRow {
		return nil
	}
	made := o != nil || m.Action == ots.PutRow
	after := oracle{}
	if m.Action == ots.UpdateRow {
		for k, v := range o {
			after[k] = v
		}
	}
	for _, c := range m.Cells {
		switch c.Op {
		case ots.Put:
			made = true
			after[oracleCell{c.Name, c.Version}] = c.Value
		case ots.DeleteOne:
			delete(after, oracleCell{c.Name, c.Version})
		case ots.DeleteAll:
			for k := range after {
				if k.name == c.Name {
					delete(after, k)
				}
			}
		}
	}
	if !made {
		return nil
	}
	for k := range after {
		newer := 0
		for other := range after {
			if other.name == k.name && other.version > k.version {
				newer++
			}
		}
		if newer >= versions {
			defer delete(after, k) // not while others are counted
		}
	}
	return after
}

func (o oracle) equal(p oracle) bool {
	if (o == nil) != (p == nil) || len(o) != len(p) {
		return false
	}
	for k, v := range o {
		if w, ok := p[k]; !ok || !equalValues(v, w) {
			return false
		}
	}
	return true
}

func (o oracle) row() ots.Row {
	r := ots.Row{Key: key("k")}
	for k, v := range o {
		r.Cells = append(r.Cells, ots.Cell{Name: k.name, Version: k.version, Value: v})
	}
	slices.SortFunc(r.Cells, compareCells)
	return r
}

func key(s string) ots.Key { return ots.Key{{Name: "pk", Value: s}} }

// drawChange draws a change of a row with few columns and versions, so that
// they meet. base is the version of all.
func drawChange(t *rapid.T, base int64) ots.Mutation {
	m := ots.Mutation{Table: "t", Key: key("k"), Action: ots.Action(rapid.SampledFrom([]int{1, 2, 2, 2, 2, 3}).Draw(t, "action"))}
	if m.Action == ots.DeleteRow {
		return m
	}
	least := 0
	if m.Action == ots.UpdateRow {
		least = 1
	}
	for range rapid.IntRange(least, 4).Draw(t, "cells") {
		c := ots.Cell{Name: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name"), Version: base + rapid.Int64Range(1, 4).Draw(t, "version")}
		if m.Action == ots.UpdateRow {
			c.Op = rapid.SampledFrom([]ots.CellOp{ots.Put, ots.Put, ots.Put, ots.DeleteOne, ots.DeleteAll}).Draw(t, "op")
		}
		switch c.Op {
		case ots.Put:
			c.Value = rapid.Int64Range(0, 9).Draw(t, "value")
		case ots.DeleteAll:
			c.Version = 0
		}
		m.Cells = append(m.Cells, c)
	}
	slices.SortStableFunc(m.Cells, func(a, b ots.Cell) int { // as streams tell them
		if a.Name < b.Name {
			return -1
		}
		if a.Name > b.Name {
			return 1
		}
		return 0
	})
	return m
}

// foldAll folds what can be folded, as the applier does.
func foldAll(ms []ots.Mutation, versions int) []ots.Mutation {
	var out []ots.Mutation
	for _, m := range ms {
		if n := len(out); n > 0 {
			if f, ok := fold(out[n-1], m, versions); ok {
				out[n-1] = f
				continue
			}
		}
		out = append(out, m)
	}
	return out
}

func TestFoldDoesWhatBothDo(t *testing.T) {
	folded, rounds := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		rounds++
		versions := rapid.IntRange(1, 3).Draw(t, "versions")
		told := rapid.SampledFrom([]int{versions, 0}).Draw(t, "told")
		var row oracle
		for _, m := range rapid.SliceOfN(rapid.Custom(func(t *rapid.T) ots.Mutation { return drawChange(t, 0) }), 0, 3).Draw(t, "before") {
			row = row.apply(m, versions)
		}
		ms := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) ots.Mutation { return drawChange(t, 0) }), 1, 6).Draw(t, "changes")
		whole := fmt.Sprint(ms)
		one, all := row, row
		for _, m := range ms {
			one = one.apply(m, versions)
		}
		fs := foldAll(ms, told)
		for _, m := range fs {
			all = all.apply(m, versions)
		}
		folded += len(ms) - len(fs)
		if !one.equal(all) {
			t.Fatalf("one by one %v, folded to %v %v", one.row().Cells, fs, all.row().Cells)
		}
		if fmt.Sprint(ms) != whole {
			t.Fatal("what was folded was changed")
		}
	})
	if folded < rounds/2 { // there are fewer rounds in short
		t.Errorf("only %d were folded in %d rounds", folded, rounds)
	}
}

// What is folded does not hang on when a server drops the versions that are too
// many: one that never does comes to the same newest ones.
func TestFoldDoesNotHangOnWhenVersionsAreDropped(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		versions := rapid.IntRange(1, 3).Draw(t, "versions")
		ms := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) ots.Mutation { return drawChange(t, 0) }), 2, 4).Draw(t, "changes")
		f := ms[0]
		for _, m := range ms[1:] {
			var ok bool
			if f, ok = fold(f, m, versions); !ok {
				return
			}
		}
		if f.Action == ots.UpdateRow {
			return // what it is applied to is not known
		}
		var early, lazy oracle
		for _, m := range ms {
			early, lazy = early.apply(m, versions), lazy.apply(m, 100)
		}
		lazy = lazy.trimmed(versions)
		got := oracle(nil).apply(f, versions)
		if !got.equal(early) || !got.equal(lazy) {
			t.Fatalf("%v: %v, early %v, lazy %v", ms, got.row().Cells, early.row().Cells, lazy.row().Cells)
		}
	})
}

func (o oracle) trimmed(versions int) oracle {
	if o == nil {
		return nil
	}
	return o.apply(ots.Mutation{Action: ots.UpdateRow}, versions)
}

func TestFoldCases(t *testing.T) {
	del, one := func(name string) ots.Cell { return ots.Cell{Name: name, Op: ots.DeleteAll} },
		func(name string, version int64) ots.Cell {
			return ots.Cell{Name: name, Op: ots.DeleteOne, Version: version}
		}
	m := func(a ots.Action, cells ...ots.Cell) ots.Mutation {
		return ots.Mutation{Table: "t", Key: key("k"), Action: a, Cells: cells}
	}
	many := make([]ots.Cell, maxColumns)
	for i := range many {
		many[i] = put(fmt.Sprintf("c%04d", i), 1, 1)
	}
	big := ots.Cell{Name: "z", Version: 1, Value: string(make([]byte, 2<<20))}
	for name, c := range map[string]struct {
		a, b ots.Mutation
		want *ots.Mutation // nil: they stay two
	}{
		"a deletion ends all":                       {m(ots.UpdateRow, put("a", 1, 1)), m(ots.DeleteRow), ptr(m(ots.DeleteRow))},
		"a put ends all":                            {m(ots.UpdateRow, put("a", 1, 1)), m(ots.PutRow, put("b", 2, 2)), ptr(m(ots.PutRow, put("b", 2, 2)))},
		"an update of what was put":                 {m(ots.PutRow, put("a", 1, 1), put("b", 1, 1)), m(ots.UpdateRow, put("a", 2, 2), del("b")), ptr(m(ots.PutRow, put("a", 2, 2), put("a", 1, 1)))},
		"an update after a deletion":                {m(ots.DeleteRow), m(ots.UpdateRow, put("a", 1, 1)), ptr(m(ots.PutRow, put("a", 1, 1)))},
		"a deletion of a column makes no row":       {m(ots.DeleteRow), m(ots.UpdateRow, del("a")), ptr(m(ots.DeleteRow))},
		"puts of one column":                        {m(ots.UpdateRow, put("a", 1, 1)), m(ots.UpdateRow, put("a", 1, 2), put("a", 3, 3)), ptr(m(ots.UpdateRow, put("a", 3, 3)))},
		"other columns":                             {m(ots.UpdateRow, put("b", 1, 1)), m(ots.UpdateRow, del("a"), one("c", 1)), ptr(m(ots.UpdateRow, del("a"), put("b", 1, 1), one("c", 1)))},
		"a put column that goes, beside another":    {m(ots.UpdateRow, put("a", 1, 1), put("b", 1, 1)), m(ots.UpdateRow, del("a")), ptr(m(ots.UpdateRow, del("a"), put("b", 1, 1)))},
		"a put column that goes made a row":         {m(ots.UpdateRow, put("a", 1, 1)), m(ots.UpdateRow, del("a")), nil},
		"a deleted column that is put":              {m(ots.UpdateRow, del("a")), m(ots.UpdateRow, put("a", 1, 1)), nil},
		"a version that goes":                       {m(ots.UpdateRow, put("a", 1, 1)), m(ots.UpdateRow, one("a", 2)), nil},
		"a version of too many that goes":           {m(ots.PutRow, put("a", 2, 2), put("a", 1, 1)), m(ots.UpdateRow, one("a", 2)), nil},
		"the last column of a put row":              {m(ots.PutRow, put("a", 1, 1)), m(ots.UpdateRow, del("a")), nil},
		"more columns than a write may have":        {m(ots.UpdateRow, many...), m(ots.UpdateRow, put("x", 1, 1)), nil},
		"the last columns that a write may have":    {m(ots.UpdateRow, many[1:]...), m(ots.UpdateRow, put("x", 1, 1)), ptr(m(ots.UpdateRow, append(slices.Clone(many[1:]), put("x", 1, 1))...))},
		"more bytes than a write may have":          {m(ots.UpdateRow, big), m(ots.UpdateRow, ots.Cell{Name: "y", Version: 1, Value: big.Value}), nil},
		"a put is folded however many columns went": {m(ots.UpdateRow, many...), m(ots.PutRow, put("x", 1, 1)), ptr(m(ots.PutRow, put("x", 1, 1)))},
	} {
		got, ok := fold(c.a, c.b, 1)
		switch {
		case ok != (c.want != nil):
			t.Errorf("%s: folded is %t", name, ok)
		case ok && (got.Action != c.want.Action || !slices.EqualFunc(got.Cells, c.want.Cells, cellsEqual)):
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func ptr[T any](v T) *T { return &v }

func put(name string, version, value int64) ots.Cell {
	return ots.Cell{Name: name, Version: version, Value: value}
}
