package replication

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pointsman/internal/failover"
	"pointsman/replication/ots"
)

// noon is a moment in milliseconds, as versions and records have it.
const noon = 1_700_000_000_000

func wrote(action ots.Action, key, after int64, cells ...ots.Cell) ots.Record {
	return ots.Record{Action: action, Key: keyOf(key), Cells: cells, Seq: ots.Sequence{Time: (noon + after) * 1000, Index: 1}}
}

func cellAt(name string, value ots.Value, after int64) ots.Cell {
	return ots.Cell{Name: name, Value: value, Version: noon + after}
}

func TestClassesOfWrites(t *testing.T) {
	row := func(cells ...ots.Cell) *ots.Row { return &ots.Row{Key: keyOf(1), Cells: cells} }
	one, all := ots.Cell{Name: "v", Op: ots.DeleteOne, Version: noon + 1}, ots.Cell{Name: "v", Op: ots.DeleteAll}
	for name, c := range map[string]struct {
		write ots.Record
		row   *ots.Row
		want  string
	}{
		"a put of no row":                     {wrote(ots.PutRow, 1, 5, cellAt("v", "x", 5)), nil, ClassOnlyOld},
		"a put that is there":                 {wrote(ots.PutRow, 1, 5, cellAt("v", "x", 5)), row(cellAt("v", "x", 5)), ClassCrossed},
		"bytes that are there":                {wrote(ots.PutRow, 1, 5, cellAt("v", []byte("x"), 5)), row(cellAt("v", []byte("x"), 5)), ClassCrossed},
		"bytes that are others":               {wrote(ots.PutRow, 1, 5, cellAt("v", []byte("x"), 5)), row(cellAt("v", "x", 5)), ClassDiffers},
		"an older version beside":             {wrote(ots.PutRow, 1, 5, cellAt("v", "x", 5)), row(cellAt("v", "x", 5), cellAt("v", "w", 4)), ClassCrossed},
		"only an older version":               {wrote(ots.PutRow, 1, 5, cellAt("v", "x", 5)), row(cellAt("v", "w", 4)), ClassDiffers},
		"a newer version":                     {wrote(ots.PutRow, 1, 5, cellAt("v", "x", 5)), row(cellAt("v", "y", 6)), ClassOlder},
		"the version of another value":        {wrote(ots.PutRow, 1, 5, cellAt("v", "x", 5)), row(cellAt("v", "y", 5)), ClassDiffers},
		"one column of two":                   {wrote(ots.PutRow, 1, 5, cellAt("u", "x", 5), cellAt("v", "x", 5)), row(cellAt("v", "x", 5)), ClassDiffers},
		"one column newer":                    {wrote(ots.PutRow, 1, 5, cellAt("u", "x", 5), cellAt("v", "x", 5)), row(cellAt("u", "y", 9), cellAt("v", "x", 5)), ClassOlder},
		"a row without columns":               {wrote(ots.PutRow, 1, 5), nil, ClassOnlyOld},
		"a row without columns there":         {wrote(ots.PutRow, 1, 5), row(), ClassCrossed},
		"an update of no row":                 {wrote(ots.UpdateRow, 1, 5, cellAt("v", "x", 5)), nil, ClassOnlyOld},
		"a version taken from no row":         {wrote(ots.UpdateRow, 1, 5, one), nil, ClassCrossed},
		"a version that is taken":             {wrote(ots.UpdateRow, 1, 5, one), row(cellAt("v", "x", 2)), ClassCrossed},
		"a version that is there":             {wrote(ots.UpdateRow, 1, 5, one), row(cellAt("v", "x", 1)), ClassDiffers},
		"a column that is taken":              {wrote(ots.UpdateRow, 1, 5, all), row(cellAt("u", "x", 1)), ClassCrossed},
		"a column that is there":              {wrote(ots.UpdateRow, 1, 5, all), row(cellAt("v", "x", 5)), ClassDiffers},
		"a column that was written once more": {wrote(ots.UpdateRow, 1, 5, all), row(cellAt("v", "x", 6)), ClassOlder},
		"a delete of what is not there":       {wrote(ots.DeleteRow, 1, 5), nil, ClassCrossed},
		"a delete of what is there":           {wrote(ots.DeleteRow, 1, 5), row(cellAt("v", "x", 5)), ClassDeleted},
		"a delete of what was written again":  {wrote(ots.DeleteRow, 1, 5), row(cellAt("v", "x", 6)), ClassOlder},
		"a delete of what is partly older":    {wrote(ots.DeleteRow, 1, 5), row(cellAt("u", "x", 1), cellAt("v", "x", 6)), ClassDeleted},
	} {
		t.Run(name, func(t *testing.T) {
			there := map[string]ots.Row{}
			if c.row != nil {
				there[string(keyOf(1).Encode())] = *c.row
			}
			if got := judgeWrites([]ots.Record{c.write}, there); got[0].class != c.want {
				t.Errorf("%s, want %s", got[0].class, c.want)
			}
		})
	}
}

// TestNoWriteBeforeOneThatCrossedIsLost: what a later write of the old side took
// away, or wrote over, has crossed before it.
func TestNoWriteBeforeOneThatCrossedIsLost(t *testing.T) {
	writes := []ots.Record{
		wrote(ots.PutRow, 1, 1, cellAt("u", "x", 1), cellAt("v", "x", 1)),
		wrote(ots.PutRow, 2, 1, cellAt("v", "x", 1)),
		wrote(ots.PutRow, 1, 2, cellAt("v", "y", 2)),
		wrote(ots.PutRow, 1, 3, cellAt("v", "z", 3)),
	}
	there := map[string]ots.Row{string(keyOf(1).Encode()): {Key: keyOf(1), Cells: []ots.Cell{cellAt("v", "y", 2)}}}
	var got []string
	for _, w := range judgeWrites(writes, there) {
		got = append(got, w.class)
	}
	if want := []string{ClassCrossed, ClassOnlyOld, ClassCrossed, ClassDiffers}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func aLoss(t interface{ Fatal(...any) }, dir string) *loss {
	c := Config{Instance: "orders.example.", Dir: dir}
	l, err := openLoss(&c, ending{Op: "orders.example.-1.2", Kind: failover.Failover, From: "a", To: "b", At: time.UnixMilli(noon), Begins: time.UnixMilli(noon - 500), Tables: []cutTable{{Table: "orders"}}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestTheListOutlastsTheProcess, also where it died in the middle of a line.
func TestTheListOutlastsTheProcess(t *testing.T) {
	dir := t.TempDir()
	l := aLoss(t, dir)
	id := shardID{"stream", "shard"}
	writes := func(from, n int64, class string) (out []judged) {
		for i := range n {
			r := wrote(ots.PutRow, from+i, from+i, cellAt("v", "secret", from+i))
			out = append(out, judged{r, class})
		}
		return out
	}
	for _, w := range [][]judged{writes(0, 3, ClassOnlyOld), writes(10, 2, ClassCrossed), writes(20, 1, ClassOlder)} {
		if err := l.add("orders", id, w); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.through("orders", time.UnixMilli(noon+100)); err != nil {
		t.Fatal(err)
	}
	want := l.summary()
	if want.Rows != 3 || !want.Exact || want.ByClass[ClassOlder] != 1 || want.Bound != 500*time.Millisecond {
		t.Fatalf("the summary is %+v", want)
	}
	l.close()
	text, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("secret")) {
		t.Error("values are kept")
	}
	for cut := range len(text) {
		if err := os.WriteFile(l.path, text[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		l = aLoss(t, dir)
		// What is missing is judged once more, and then all is as it was.
		for _, w := range [][]judged{writes(0, 3, ClassOnlyOld), writes(10, 2, ClassCrossed), writes(20, 1, ClassOlder)} {
			var records []ots.Record
			for _, x := range w {
				records = append(records, x.rec)
			}
			if fresh := l.unknown("orders", id, records); len(fresh) > 0 {
				if err := l.add("orders", id, w[len(w)-len(fresh):]); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := l.through("orders", time.UnixMilli(noon+100)); err != nil {
			t.Fatal(err)
		}
		if got := l.summary(); !reflect.DeepEqual(got, want) {
			t.Fatalf("cut at byte %d: %+v, want %+v", cut, got, want)
		}
		l.close()
	}
}

// TestTheListIsExactWhileItIsRead: after a start, and while the old side cannot
// be read, somebody may have written there since.
func TestTheListIsExactWhileItIsRead(t *testing.T) {
	dir := t.TempDir()
	l := aLoss(t, dir)
	check := func(when string, exact bool, read int64, why string) {
		t.Helper()
		s := l.summary()
		if s.Exact != exact || !strings.Contains(s.Why, why) || (s.Why == "") != exact {
			t.Errorf("%s: exact %t, %q", when, s.Exact, s.Why)
		}
		if want := time.UnixMilli(read); (read == 0) != s.Read.IsZero() || read != 0 && !s.Read.Equal(want) {
			t.Errorf("%s: read to %s", when, s.Read)
		}
	}
	through := func(at int64) {
		t.Helper()
		if err := l.through("orders", time.UnixMilli(at)); err != nil {
			t.Fatal(err)
		}
	}
	check("at first", false, 0, "not read to its end yet")
	through(noon + 100)
	check("read", true, noon+100, "")
	l.trouble("orders", errors.New("refused"))
	check("out of reach", false, noon+100, "read to its end, and not since: refused")
	through(noon + 200)
	check("read again", true, noon+200, "")
	l.close()
	l = aLoss(t, dir)
	defer l.close()
	check("after a start", false, noon+100, "read to its end, and not since this process began")
	through(noon + 300)
	check("read by this process", true, noon+300, "")
}

// TestARowThatCrossedAfterAllIsNotLost: a later page shows it.
func TestARowThatCrossedAfterAllIsNotLost(t *testing.T) {
	l := aLoss(t, t.TempDir())
	defer l.close()
	id := shardID{"stream", "shard"}
	for i, class := range []string{ClassDiffers, ClassCrossed} {
		if err := l.add("orders", id, []judged{{wrote(ots.PutRow, 1, int64(i)), class}}); err != nil {
			t.Fatal(err)
		}
	}
	rows, next, err := l.list(t.Context(), "", "", 10)
	if err != nil || len(rows) != 0 || next != "" || l.summary().Rows != 0 {
		t.Errorf("%v %q %v, %+v", rows, next, err, l.summary())
	}
}

// TestTheListEndsSomewhere, and says so.
func TestTheListEndsSomewhere(t *testing.T) {
	l := aLoss(t, t.TempDir())
	defer l.close()
	l.most = 2
	for i := range int64(4) {
		if err := l.add("orders", shardID{"stream", "shard"}, []judged{{wrote(ots.PutRow, i, i), ClassOnlyOld}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.through("orders", time.UnixMilli(noon)); err != nil {
		t.Fatal(err)
	}
	if s := l.summary(); s.Rows != 2 || s.Exact || s.Why == "" {
		t.Errorf("%+v", s)
	}
}

// TestPagesOfTheListAreTheList, whatever their size.
func TestPagesOfTheListAreTheList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "lost")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		l := aLoss(t, dir)
		defer l.close()
		classes := []string{ClassOnlyOld, ClassDiffers, ClassDeleted, ClassOlder, ClassCrossed}
		for i := range int64(rapid.IntRange(0, 30).Draw(t, "writes")) {
			w := judged{wrote(ots.PutRow, rapid.Int64Range(0, 9).Draw(t, "key"), i), rapid.SampledFrom(classes).Draw(t, "class")}
			if err := l.add("orders", shardID{"stream", "shard"}, []judged{w}); err != nil {
				t.Fatal(err)
			}
		}
		all, next, err := l.list(t.Context(), "", "", 1000)
		if err != nil || next != "" {
			t.Fatal(next, err)
		}
		n := rapid.IntRange(1, 5).Draw(t, "n")
		var pages []LostRow
		for after := ""; ; {
			rows, next, err := l.list(t.Context(), "orders", after, n)
			if err != nil || len(rows) > n {
				t.Fatal(len(rows), err)
			}
			pages = append(pages, rows...)
			if after = next; next == "" {
				break
			}
		}
		if fmt.Sprint(all) != fmt.Sprint(pages) {
			t.Fatalf("%v\n%v", all, pages)
		}
		rows := map[string]bool{}
		for _, r := range all {
			rows[r.Key] = true
		}
		s := l.summary()
		var sum int64
		for class, n := range s.ByClass {
			if sum += n; class == ClassCrossed {
				t.Fatal("what crossed is counted")
			}
		}
		if sum != int64(len(rows)) || s.Rows+s.ByClass[ClassOlder] != sum {
			t.Fatalf("%+v, and %d rows are named", s, len(rows))
		}
	})
}

func FuzzDecodeCut(f *testing.F) {
	b, err := json.Marshal(cutText{cutVersion, ending{Op: "o-1.2", Kind: failover.Failover, From: "a", To: "b", Tables: []cutTable{{Table: "t", Positions: []position{{Stream: "s", Shard: "h", Iterator: "i"}}}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"v":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := decodeCut(b)
		if err != nil {
			return
		}
		text, err := json.Marshal(cutText{cutVersion, k})
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeCut(text)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(k) {
			t.Fatalf("%v: %+v, then %+v", err, k, again)
		}
	})
}

func FuzzDecodeLossLine(f *testing.F) {
	f.Add([]byte(`{"v":1,"Table":"t","Stream":"s","Shard":"h","Seq":{"Epoch":0,"Time":1,"Index":0},"Key":"k","Class":"only-old"}`))
	f.Add([]byte(`{"v":1,"Table":"t","Through":"2026-11-23T03:00:00Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		line, err := decodeLossLine(b)
		if err != nil {
			return
		}
		l := &loss{last: map[shardOf]ots.Sequence{}, rows: map[lostKey]rowLoss{}, tables: map[string]*tableLoss{}}
		l.note(line)
		l.summary()
	})
}

// TestTheListIsNotExactWhileOneShardIsSilent: the pages of another say nothing of it.
func TestTheListIsNotExactWhileOneShardIsSilent(t *testing.T) {
	r := &Replicator{cfg: Config{Visibility: time.Second}}
	k := ending{Op: "o-1.2", At: time.Now(), Tables: []cutTable{{Table: "t"}}}
	l, err := openLoss(&r.cfg, k)
	if err != nil {
		t.Fatal(err)
	}
	s := &surveyor{r: r, loss: l, cut: k, table: k.Tables[0], upto: map[shardID]time.Time{{"s", "a"}: {}, {"s", "b"}: {}}}
	begin := time.Now().Truncate(time.Second).UTC()
	page := func(shard string, after time.Duration) {
		t.Helper()
		at := begin.Add(after)
		if err := s.deliver(t.Context(), delivery{Table: "t", After: position{Stream: "s", Shard: shard, Iterator: "i"}, Sent: at, At: at, Empty: true}); err != nil {
			t.Fatal(err)
		}
	}
	page("a", 0)
	if sum := l.summary(); sum.Exact || !sum.Read.IsZero() {
		t.Errorf("one of two was read: %+v", sum)
	}
	page("b", 2*time.Second)
	if sum := l.summary(); !sum.Exact || !sum.Read.Equal(begin.Add(-time.Second)) {
		t.Errorf("both were read: %+v", sum)
	}
	l.trouble("t", errors.New("shard a: no answer"))
	page("b", 10*time.Second)
	if sum := l.summary(); sum.Exact || !sum.Read.Equal(begin.Add(-time.Second)) || !strings.Contains(sum.Why, "no answer") {
		t.Errorf("one of them is silent: %+v", sum)
	}
	page("a", 9*time.Second)
	if sum := l.summary(); !sum.Exact || !sum.Read.Equal(begin.Add(8*time.Second)) {
		t.Errorf("both are read again: %+v", sum)
	}
}
