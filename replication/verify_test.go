package replication

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pointsman/replication/ots"
)

func (l *copyLab) verify(change func(*VerifyConfig)) VerifyResult {
	l.t.Helper()
	cfg := VerifyConfig{Source: l.source, Target: l.target, Settle: time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	r, err := Verify(context.Background(), cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	return r
}

// plant makes one difference of each kind, and says by key how it must be told.
func (l *copyLab) plant() map[string]RowDifference {
	at := func(n int64) ots.Key { return orderKey("order-007", 1000+n) }
	row := func(c *ots.Client, n int64, cells ...ots.Cell) {
		l.write(c, ots.Mutation{Action: ots.PutRow, Key: at(n), Cells: cells})
	}
	both := func(n int64, here, there []ots.Cell) {
		row(l.source, n, here...)
		row(l.target, n, there...)
	}
	x := cellOf("x", "one", 5)
	row(l.source, 0, x)
	row(l.target, 1, x)
	row(l.source, 2) // without columns
	both(3, []ots.Cell{x}, []ots.Cell{cellOf("x", "two", 5)})
	both(4, []ots.Cell{x}, []ots.Cell{cellOf("x", "one", 6)})
	both(5, []ots.Cell{x, cellOf("y", true, 5)}, []ots.Cell{x})
	both(6, []ots.Cell{x}, []ots.Cell{x, cellOf("y", true, 5)})
	both(7, []ots.Cell{x, cellOf("x", "old", 1)}, []ots.Cell{x})
	both(8, []ots.Cell{cellOf("x", int64(2), 5)}, []ots.Cell{cellOf("x", 2.0, 5)})
	both(9, []ots.Cell{cellOf("x", "b", 5)}, []ots.Cell{cellOf("x", []byte("b"), 5)})
	both(10, []ots.Cell{cellOf("x", 0.0, 5)}, []ots.Cell{cellOf("x", math.Copysign(0, -1), 5)})
	v := func(ms ...int64) []int64 {
		for i := range ms {
			ms[i] += copyNow
		}
		return ms
	}
	value := []ColumnDifference{{Column: "x", Kind: Value, Source: v(5), Target: v(5)}}
	want := map[string]RowDifference{}
	for n, d := range []RowDifference{
		{Kind: OnlySource},
		{Kind: OnlyTarget},
		{Kind: OnlySource},
		{Kind: Differs, Columns: value},
		{Kind: Differs, Columns: []ColumnDifference{{Column: "x", Kind: Differs, Source: v(5), Target: v(6)}}},
		{Kind: Differs, Columns: []ColumnDifference{{Column: "y", Kind: OnlySource, Source: v(5)}}},
		{Kind: Differs, Columns: []ColumnDifference{{Column: "y", Kind: OnlyTarget, Target: v(5)}}},
		{Kind: Differs, Columns: []ColumnDifference{{Column: "x", Kind: Differs, Source: v(5, 1), Target: v(5)}}},
		{Kind: Differs, Columns: value},
		{Kind: Differs, Columns: value},
		{Kind: Differs, Columns: value},
	} {
		d.Key = at(int64(n)).String()
		want[d.Key] = d
	}
	return want
}

// found fails the test unless exactly these differences were found.
func (l *copyLab) found(t VerifiedTable, want map[string]RowDifference) {
	l.t.Helper()
	if t.Error != "" {
		l.t.Fatal(t.Error)
	}
	for _, d := range t.Differences {
		if fmt.Sprint(d) != fmt.Sprint(want[d.Key]) {
			l.t.Errorf("found %+v\nwant  %+v", d, want[d.Key])
		}
		delete(want, d.Key)
	}
	for _, d := range want {
		l.t.Errorf("not found: %+v", d)
	}
}

func TestVerifyFindsEachKindOfDifference(t *testing.T) {
	l := newCopyLab(t)
	l.fill(l.source, 20, 50, "new")
	l.fill(l.target, 20, 50, "new")
	want := l.plant()
	var last VerifyProgress
	r := l.verify(func(c *VerifyConfig) {
		c.page, c.least = 70, 10_000
		c.Progress = func(p VerifyProgress) { last = p }
	})
	if len(r.Tables) != 1 {
		t.Fatalf("%+v", r)
	}
	got := r.Tables[0]
	l.found(got, want)
	if r.Equal() || got.More || got.ChangingRows != 0 || got.OnTheirWay != 0 {
		t.Errorf("%+v", got)
	}
	if got.SourceRows != 1010 || got.TargetRows != 1009 || got.Ranges < 3 || got.Compared != got.Ranges || got.Units.SourceRead < 10 || r.Units != got.Units {
		t.Errorf("%+v", got)
	}
	if last.Table != "orders" || last.Tables != 1 || last.Ranges == 0 {
		t.Errorf("%+v", last)
	}
	if !slices.IsSortedFunc(got.Differences, func(a, b RowDifference) int { return strings.Compare(a.Key, b.Key) }) {
		t.Error("differences are not in the order of their keys")
	}
}

func TestVerifyOfEqualTables(t *testing.T) {
	l := newCopyLab(t)
	l.fill(l.source, 5, 50, "new")
	l.fill(l.target, 5, 50, "new")
	r := l.verify(nil)
	if !r.Equal() || r.Tables[0].Digest == "" {
		t.Errorf("%+v", r)
	}
	// The same rows have the same digest in whatever pieces they are read, and
	// another one has another.
	digest := r.Tables[0].Digest
	if again := l.verify(func(c *VerifyConfig) { c.page, c.least = 7, 1000 }).Tables[0]; again.Digest != digest || again.Ranges < 2 {
		t.Errorf("%+v", again)
	}
	l.write(l.source, ots.Mutation{Action: ots.UpdateRow, Key: orderKey("order-001", 3), Cells: []ots.Cell{cellOf("x", true, 0)}})
	if other := l.verify(nil).Tables[0]; other.Digest == digest || len(other.Differences) != 1 {
		t.Errorf("%+v", other)
	}
}

// What a comparison finds is what a comparison of everything that both sides
// hold finds, in memory and row by row.
func TestVerifyAgreesWithTheNaiveWay(t *testing.T) {
	l := newCopyLab(t)
	differed := 0
	rapid.Check(t, func(rt *rapid.T) {
		l.empty()
		both := rapid.IntRange(0, 30).Draw(rt, "both")
		for range both {
			m := drawMutation(rt)
			l.write(l.source, m)
			l.write(l.target, m)
		}
		for range rapid.IntRange(0, 8).Draw(rt, "one side") {
			l.write(rapid.SampledFrom([]*ots.Client{l.source, l.target}).Draw(rt, "side"), drawMutation(rt))
		}
		r := l.verify(func(c *VerifyConfig) {
			c.page = rapid.IntRange(1, 9).Draw(rt, "page")
			c.least = int64(rapid.SampledFrom([]int{100, 500, splitLeast}).Draw(rt, "least"))
			c.Parallel = rapid.IntRange(1, 3).Draw(rt, "parallel")
		})
		a, b := l.dump(l.source), l.dump(l.target)
		want := map[string]DifferenceKind{}
		for k, v := range a {
			if w, ok := b[k]; !ok {
				want[k] = OnlySource
			} else if v != w {
				want[k] = Differs
			}
		}
		for k := range b {
			if _, ok := a[k]; !ok {
				want[k] = OnlyTarget
			}
		}
		got := map[string]DifferenceKind{}
		for _, d := range r.Tables[0].Differences {
			got[d.Key] = d.Kind
			if d.Kind == Differs && len(d.Columns) == 0 {
				rt.Fatalf("which columns differ? %+v", d)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			rt.Fatalf("found %v\nwant  %v", got, want)
		}
		if n := r.Tables[0]; n.SourceRows != int64(len(a)) || n.TargetRows != int64(len(b)) || n.OnTheirWay != 0 || n.Error != "" {
			rt.Fatalf("%d and %d rows: %+v", len(a), len(b), n)
		}
		differed += len(got)
	})
	if differed == 0 {
		t.Error("nothing ever differed")
	}
}

// Rows are written all the time and carried to the target a moment later: what
// was planted is found, and nothing else.
func TestVerifyUnderLiveReplication(t *testing.T) {
	l := newCopyLab(t)
	l.fill(l.source, 12, 60, "new")
	l.fill(l.target, 12, 60, "new")
	want := l.plant()
	it := l.stream()

	// carry brings all to the target that was written before it was called.
	var carrying sync.Mutex
	carry := func() {
		carrying.Lock()
		defer carrying.Unlock()
		it = l.follow(it)
	}
	ctx, stop := context.WithCancel(t.Context())
	var live sync.WaitGroup
	written := make(chan struct{}, 20) // how far the target may be behind
	live.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			// Some rows are hot, others are written once.
			k := orderKey("order-003", int64(i%4))
			if i%3 == 0 {
				k = orderKey(fmt.Sprintf("order-%03d", i%12), int64(i%60))
			}
			m := ots.Mutation{Action: ots.UpdateRow, Key: k, Cells: []ots.Cell{cellOf("live", int64(i), int64(i)), cellOf("text", "x", int64(i))}}
			switch i % 7 {
			case 3:
				m = ots.Mutation{Action: ots.DeleteRow, Key: k}
			case 5:
				m.Action = ots.PutRow
			}
			l.write(l.source, m)
			select {
			case written <- struct{}{}:
			case <-ctx.Done():
			}
		}
	})
	live.Go(func() {
		for ctx.Err() == nil {
			select {
			case <-written:
				carry()
			case <-ctx.Done():
			}
		}
	})
	onTheirWay, changing := int64(0), int64(0)
	for range 5 {
		r := l.verify(func(c *VerifyConfig) {
			c.page = 40
			// The exposure is what is not there yet: none, when all is carried.
			c.Exposure = func() (time.Duration, bool) { carry(); return 0, true }
		})
		copied := map[string]RowDifference{}
		for k, d := range want {
			copied[k] = d
		}
		l.found(r.Tables[0], copied)
		onTheirWay += r.Tables[0].OnTheirWay
		changing += r.Tables[0].ChangingRows
	}
	stop()
	live.Wait()
	t.Logf("%d rows were on their way, %d changed all the time", onTheirWay, changing)
	carry()
	if r := l.verify(nil); len(r.Tables[0].Differences) != len(want) || r.Tables[0].ChangingRows != 0 || r.Tables[0].OnTheirWay != 0 {
		t.Errorf("at rest: %+v", r.Tables[0])
	}
}

// A row that comes late, but comes, is no difference.
func TestVerifyReadsAgainUntilTheLastRound(t *testing.T) {
	for _, c := range []struct{ arrives, differ int }{{1, 0}, {2, 0}, {3, 0}, {4, 1}} {
		l := newCopyLab(t)
		l.fill(l.source, 1, 1, "new")
		asked := 0
		r := l.verify(func(cfg *VerifyConfig) {
			cfg.Exposure = func() (time.Duration, bool) {
				if asked++; asked == c.arrives {
					l.fill(l.target, 1, 1, "new")
				}
				return 0, true
			}
		})
		if v := r.Tables[0]; len(v.Differences) != c.differ || v.OnTheirWay != int64(1-c.differ) || asked != min(c.arrives, 3) {
			t.Errorf("it arrives before round %d, %d were made: %+v", c.arrives, asked, v)
		}
	}
}

// Many columns and versions of one row do not make an endless answer.
func TestVerifyShowsSomeColumns(t *testing.T) {
	l := newCopyLab(t, func(source, target *ots.Table) { source.MaxVersions, target.MaxVersions = 20, 20 })
	m := ots.Mutation{Action: ots.PutRow, Key: orderKey("a", 1)}
	for c := range 40 {
		for v := range int64(15) {
			m.Cells = append(m.Cells, cellOf(fmt.Sprintf("c%02d", c), "here", v))
		}
	}
	l.write(l.source, m)
	for i := range m.Cells {
		m.Cells[i].Value = "there"
	}
	l.write(l.target, m)
	d := l.verify(nil).Tables[0].Differences[0]
	if len(d.Columns) != columnsMost || d.MoreColumns != 40-columnsMost || len(d.Columns[0].Source) != versionsMost || d.Columns[0].Kind != Value {
		t.Errorf("%+v", d)
	}
}

func drawCells(t *rapid.T, label string) []ots.Cell {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) ots.Cell {
		return ots.Cell{
			Name:    rapid.SampledFrom([]string{"a", "ab", "b"}).Draw(t, "name"),
			Value:   rapid.SampledFrom([]ots.Value{"", "a", []byte("a"), int64(1), 1.0, true, false, int64(0), 0.0, "b\x01"}).Draw(t, "value"),
			Version: rapid.Int64Range(1, 2).Draw(t, "version"),
		}
	}), 0, 3).Draw(t, label)
}

// Rows have one text if, and only if, they are equal.
func TestRowTextIsCanonical(t *testing.T) {
	same := 0
	rapid.Check(t, func(t *rapid.T) {
		a := ots.Row{Key: drawKey(t, "a"), Cells: drawCells(t, "a cells")}
		b := ots.Row{Key: drawKey(t, "b"), Cells: drawCells(t, "b cells")}
		if rapid.Bool().Draw(t, "same key") {
			b.Key = slices.Clone(a.Key)
		}
		want := a.Key.Compare(b.Key) == 0 && equalCells(a.Cells, b.Cells)
		if got := bytes.Equal(appendRow(nil, a), appendRow(nil, b)); got != want {
			t.Fatalf("%v: %+v and %+v", got, a, b)
		}
		if got := sumRows([]ots.Row{a, b}) == sumRows([]ots.Row{b, a}); !got {
			t.Fatal("the sum depends on the order")
		}
		if want {
			same++
		}
	})
	if same == 0 {
		t.Error("no two rows were ever equal")
	}
}

// What two reads of each side prove of a row.
func TestCompareSketches(t *testing.T) {
	row := func(cells ...ots.Cell) sketch { return sketchOf(ots.Row{Key: orderKey("a", 1), Cells: cells}) }
	x1, x2, x3, y := cellOf("x", "1", 1), cellOf("x", "2", 2), cellOf("x", "3", 3), cellOf("y", "1", 1)
	var no sketch
	for name, c := range map[string]struct {
		here, there [2]sketch
		want        string
	}{
		"equal":                                    {[2]sketch{row(x1), row(x1)}, [2]sketch{row(x1), row(x1)}, "equal"},
		"equal to the first read":                  {[2]sketch{row(x1), row(x2)}, [2]sketch{row(x1), row(x1)}, "equal"},
		"equal to the second":                      {[2]sketch{row(x1), row(x2)}, [2]sketch{no, row(x2)}, "equal"},
		"each column equal to one":                 {[2]sketch{row(x1, y), row(x2)}, [2]sketch{row(x1, y), row(x1)}, "equal"},
		"deleted at both":                          {[2]sketch{row(x1), no}, [2]sketch{row(x1), no}, "equal"},
		"no row, and one without columns":          {[2]sketch{row(), row()}, [2]sketch{no, no}, "only-source"},
		"only source":                              {[2]sketch{row(x1), row(x1)}, [2]sketch{no, no}, "only-source"},
		"only source, but it is another row now":   {[2]sketch{row(x1), row(x2)}, [2]sketch{no, no}, ""},
		"only source, but it was there":            {[2]sketch{row(x1), row(x1)}, [2]sketch{row(x1), no}, ""},
		"only target":                              {[2]sketch{no, no}, [2]sketch{row(x1), row(x1)}, "only-target"},
		"only target, but it is another row now":   {[2]sketch{no, no}, [2]sketch{row(x1), row(x2)}, ""},
		"made in between":                          {[2]sketch{no, row(x2)}, [2]sketch{no, row(x1)}, ""},
		"differs":                                  {[2]sketch{row(x1), row(x1)}, [2]sketch{row(x2), row(x2)}, "differs x"},
		"differs, and another column is changing":  {[2]sketch{row(x1, y), row(x1)}, [2]sketch{row(x2), row(x2, cellOf("y", "9", 9))}, "differs x"},
		"the target's column is changing":          {[2]sketch{row(x1), row(x1)}, [2]sketch{row(x2), row(x3)}, ""},
		"the source's column is changing":          {[2]sketch{row(x1), row(x2)}, [2]sketch{row(x3), row(x3)}, ""},
		"a column that the target lacks":           {[2]sketch{row(x1, y), row(x1, y)}, [2]sketch{row(x1), row(x1)}, "differs y"},
		"a column that the target alone has":       {[2]sketch{row(x1), row(x1)}, [2]sketch{row(x1, y), row(x1, y)}, "differs y"},
		"a hot row that is a write behind, always": {[2]sketch{row(x2), row(x3)}, [2]sketch{no, row(x1)}, ""},
	} {
		got := compareSketches(c.here, c.there)
		text := string(got.kind)
		if got.equal {
			text += "equal"
		}
		for _, col := range got.columns {
			text += " " + col.Column
		}
		if text != c.want {
			t.Errorf("%s: %q, want %q", name, text, c.want)
		}
	}
}
