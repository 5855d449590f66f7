package replication

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	lab "pointsman/internal/lab/tablestore"
	"pointsman/replication/ots"
)

const deadName = "pointsman_dead_letters"

func (s *side) letters(t testing.TB, change ...func(*deadConfig)) *deadLetters {
	t.Helper()
	cfg := deadConfig{Client: s.Client, Table: deadName, Instance: "orders", From: "a", To: "b", By: "host-1"}
	for _, c := range change {
		c(&cfg)
	}
	d, err := openDeadLetters(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// mustList are all letters, whatever became of them.
func (d *deadLetters) mustList(t testing.TB) []*letter {
	t.Helper()
	var all []*letter
	after := ""
	for {
		page, next, err := d.read(t.Context(), after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) > 3 {
			t.Fatalf("%d letters, 3 were asked for", len(page))
		}
		all = append(all, page...)
		if next == "" {
			return all
		}
		after = next
	}
}

func newDeadSide(t testing.TB) *side {
	s := newSide(t)
	s.create(t, deadSchema(deadName))
	return s
}

func at(seconds int) ots.Sequence {
	return ots.Sequence{Time: someTime.Add(time.Duration(seconds) * time.Second).UnixMicro()}
}

func someRecord(k string, seconds int) ots.Record {
	return ots.Record{Action: ots.UpdateRow, Key: key(k), Seq: at(seconds), Cells: []ots.Cell{
		{Name: "i", Version: 1, Value: int64(-7)},
		{Name: "f", Version: 2, Value: math.Copysign(0, -1)},
		{Name: "t", Version: 3, Value: true},
		{Name: "u", Version: 3, Value: false},
		{Name: "s", Version: 4, Value: "text\x00"},
		{Name: "b", Version: 5, Value: []byte{0, 1}},
		{Name: "x", Op: ots.DeleteAll},
		{Name: "y", Op: ots.DeleteOne, Version: 6},
	}, Before: []ots.Cell{{Name: "i", Version: 1, Value: int64(6)}}}
}

var errRefusedOnce = errors.New("the target says no")

func TestLetterComesBack(t *testing.T) {
	s := newDeadSide(t)
	d := s.letters(t)
	rec := someRecord("k", 0)
	if err := d.keep(t.Context(), "orders", origin{"shard-1"}, rec, &rowFault{errRefusedOnce, "do this"}); err != nil {
		t.Fatal(err)
	}
	got := d.mustList(t)
	if len(got) != 1 {
		t.Fatal(got)
	}
	l := got[0]
	if time.Since(l.Kept) > time.Hour || !strings.HasPrefix(l.ID, "orders/20261129T120000.123456Z-") {
		t.Errorf("%+v", l)
	}
	want := DeadLetter{
		ID: l.ID, Table: "orders", Key: `pk="k"`, Action: "update", Cause: "the target says no", Hint: "do this",
		From: "shard-1", At: someTime.Truncate(time.Microsecond), Kept: l.Kept,
	}
	if l.DeadLetter != want || l.state != letterOpen || l.by != "host-1" {
		t.Errorf("%+v\nis not\n%+v", l, want)
	}
	_, back, err := d.record(t.Context(), l.ID)
	if err != nil || !recordsEqual(back, rec) {
		t.Errorf("%+v %v", back, err)
	}
	for _, other := range []*deadLetters{d, s.letters(t)} {
		if c := other.counts(); len(c) != 1 || c["orders"] != (openLetters{1, want.At}) {
			t.Errorf("%+v", c)
		}
	}
	if n := len(s.letters(t, func(c *deadConfig) { c.From, c.To = "b", "a" }).mustList(t)); n != 0 {
		t.Errorf("%d letters of the other direction", n)
	}
}

func recordsEqual(a, b ots.Record) bool {
	return a.Action == b.Action && a.Seq == b.Seq && a.Key.Compare(b.Key) == 0 && reflect.DeepEqual(a.Cells, b.Cells) && reflect.DeepEqual(a.Before, b.Before)
}

func TestReplayMakesNoSecondLetter(t *testing.T) {
	s := newDeadSide(t)
	d := s.letters(t)
	keep := func(d *deadLetters, rec ots.Record, shard string) {
		t.Helper()
		if err := d.keep(t.Context(), "orders", origin{shard}, rec, errRefusedOnce); err != nil {
			t.Fatal(err)
		}
	}
	one := someRecord("k", 0)
	keep(d, one, "s1")
	keep(d, one, "s1")
	keep(s.letters(t), one, "s1")
	if n := d.counts()["orders"].Count; n != 1 || len(d.mustList(t)) != 1 {
		t.Errorf("%d letters", n)
	}
	later, otherKey, otherIndex := someRecord("k", 1), someRecord("l", 0), someRecord("k", 0)
	otherIndex.Seq.Index = 1
	keep(d, later, "s1")
	keep(d, otherKey, "s1")
	keep(d, otherIndex, "s1")
	keep(d, one, "s2")
	if n := d.counts()["orders"].Count; n != 5 || len(d.mustList(t)) != 5 {
		t.Errorf("%d letters", n)
	}
	// A copy that meets the row again, and one that meets another.
	row, changed := ots.Record{Action: ots.PutRow, Key: key("c"), Cells: []ots.Cell{put("a", 1_000, 1)}}, ots.Record{Action: ots.PutRow, Key: key("c"), Cells: []ots.Cell{put("a", 1_000, 2)}}
	keep(d, row, "")
	keep(d, row, "")
	keep(d, changed, "")
	if c := d.counts()["orders"]; c.Count != 7 || !c.Oldest.Equal(time.UnixMilli(1_000)) {
		t.Errorf("%+v", c)
	}
}

func TestLetterIsClosedOnce(t *testing.T) {
	s := newDeadSide(t)
	d := s.letters(t)
	ids := map[string]string{}
	for i, name := range []string{"accepted", "retried", "superseded"} {
		if err := d.keep(t.Context(), "orders", origin{"s"}, someRecord(name, i), errRefusedOnce); err != nil {
			t.Fatal(err)
		}
		ids[name] = d.mustList(t)[i].ID
	}
	if err := d.accept(t.Context(), ids["accepted"], "alice", "test data"); err != nil {
		t.Fatal(err)
	}
	if c := d.counts()["orders"]; c.Count != 2 || !c.Oldest.Equal(someTime.Add(time.Second).Truncate(time.Microsecond)) {
		t.Errorf("%+v", c)
	}
	other := s.letters(t)
	if err := other.accept(t.Context(), ids["accepted"], "bob", ""); !errors.Is(err, ErrNotOpen) || !strings.Contains(err.Error(), "alice") {
		t.Error(err)
	}
	if err := other.accept(t.Context(), "orders/none", "bob", ""); !errors.Is(err, ErrNoLetter) {
		t.Error(err)
	}
	if err := d.retried(t.Context(), ids["retried"], "carol"); err != nil {
		t.Fatal(err)
	}
	if err := d.superseded(t.Context(), "orders", time.Now().Add(-time.Hour), "copied"); err != nil {
		t.Fatal(err)
	}
	if d.counts()["orders"].Count != 1 {
		t.Error("a letter that was kept later was closed")
	}
	if err := d.superseded(t.Context(), "orders", time.Now().Add(time.Hour), "copied"); err != nil {
		t.Fatal(err)
	}
	for i, l := range d.mustList(t) {
		want := []struct {
			state      letterState
			by, reason string
		}{{letterAccepted, "alice", "test data"}, {letterRetried, "carol", "written on request"}, {letterSuperseded, "host-1", "copied"}}[i]
		if l.state != want.state || l.closedBy != want.by || l.reason != want.reason || time.Since(l.closed) > time.Hour {
			t.Errorf("%+v", l)
		}
	}
	if c := d.counts(); len(c) != 0 || len(s.letters(t).counts()) != 0 {
		t.Errorf("%+v", c)
	}
	// What is refused again is open again, but for what a person accepted.
	for i, name := range []string{"accepted", "retried", "superseded"} {
		if err := d.keep(t.Context(), "orders", origin{"s"}, someRecord(name, i), errRefusedOnce); err != nil {
			t.Fatal(err)
		}
	}
	if c := d.counts()["orders"]; c.Count != 2 || s.letters(t).counts()["orders"].Count != 2 {
		t.Errorf("%+v", c)
	}
}

// A change is seen although the clock went back since the letter was kept.
func TestLetterIsClosedAfterTheClockWentBack(t *testing.T) {
	s := newDeadSide(t)
	s.SetClockOffset(10 * time.Minute)
	d := s.letters(t)
	if err := d.keep(t.Context(), "orders", origin{"s"}, someRecord("k", 0), errRefusedOnce); err != nil {
		t.Fatal(err)
	}
	s.SetClockOffset(0)
	if err := d.accept(t.Context(), d.mustList(t)[0].ID, "alice", ""); err != nil {
		t.Fatal(err)
	}
	if l := d.mustList(t)[0]; l.state != letterAccepted {
		t.Errorf("%+v", l)
	}
}

func TestLaterRecordsMarkOrCloseLetters(t *testing.T) {
	for name, c := range map[string]struct {
		shard   string
		seconds int
		action  ots.Action
		state   letterState
		later   bool
	}{
		"a later update":               {"s", 1, ots.UpdateRow, letterOpen, true},
		"a later put":                  {"s", 1, ots.PutRow, letterSuperseded, false},
		"a later deletion":             {"s", 1, ots.DeleteRow, letterSuperseded, false},
		"the record itself":            {"s", 0, ots.PutRow, letterOpen, false},
		"a replay of what came before": {"s", -1, ots.PutRow, letterOpen, false},
		"a shard that came later":      {"t", -1, ots.PutRow, letterSuperseded, false},
	} {
		s := newDeadSide(t)
		d := s.letters(t)
		if err := d.keep(t.Context(), "orders", origin{"s"}, someRecord("k", 0), errRefusedOnce); err != nil {
			t.Fatal(err)
		}
		row, other := string(key("k").Encode()), string(key("l").Encode())
		if !d.has("orders", row) || d.has("orders", other) || d.has("others", row) {
			t.Errorf("%s: of which row it is", name)
		}
		for range 2 { // a replay
			if err := d.passed(t.Context(), "orders", row, origin{c.shard}, ots.Record{Action: c.action, Seq: at(c.seconds)}); err != nil {
				t.Fatal(err)
			}
		}
		l := d.mustList(t)[0]
		if l.state != c.state || l.Later != c.later {
			t.Errorf("%s: %+v", name, l)
		}
		for _, of := range []*deadLetters{d, s.letters(t)} {
			err := of.standing("orders", row, l.ID)
			if c.later && !errors.Is(err, ErrOvertaken) || c.state != letterOpen && !errors.Is(err, ErrNotOpen) || !c.later && c.state == letterOpen && err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestRecordOfFourMegabytesIsKept(t *testing.T) {
	s := newDeadSide(t)
	d := s.letters(t)
	rec := ots.Record{Action: ots.PutRow, Key: key("k"), Seq: at(0)}
	for _, name := range []string{"a", "b"} {
		rec.Cells = append(rec.Cells, ots.Cell{Name: name, Version: 1, Value: strings.Repeat(name, 2<<20-100)})
	}
	// The answer to a part is lost, and it is kept once more.
	s.fail(t, lab.Fault{Kind: lab.Drop, After: true, Operation: "PutRow"}, 1)
	if err := d.keep(t.Context(), "orders", origin{"s"}, rec, errRefusedOnce); err == nil || len(d.counts()) != 0 {
		t.Fatal(err)
	}
	if err := d.keep(t.Context(), "orders", origin{"s"}, rec, errRefusedOnce); err != nil {
		t.Fatal(err)
	}
	all := d.mustList(t)
	if len(all) != 1 {
		t.Fatalf("%d letters", len(all))
	}
	if _, back, err := d.record(t.Context(), all[0].ID); err != nil || !recordsEqual(back, rec) {
		t.Error("it did not come back", err)
	}
}

func TestKeptTwiceForALostAnswer(t *testing.T) {
	s := newDeadSide(t)
	d := s.letters(t)
	s.fail(t, lab.Fault{Kind: lab.Drop, After: true}, 1)
	if err := d.keep(t.Context(), "orders", origin{"s"}, someRecord("k", 0), errRefusedOnce); ots.ClassOf(err) != ots.ClassRetry {
		t.Fatal(err)
	}
	if err := d.keep(t.Context(), "orders", origin{"s"}, someRecord("k", 0), errRefusedOnce); err != nil {
		t.Fatal(err)
	}
	if n := d.counts()["orders"].Count; n != 1 || len(d.mustList(t)) != 1 {
		t.Error(n)
	}
	id := d.mustList(t)[0].ID
	s.fail(t, lab.Fault{Kind: lab.Drop, After: true, Operation: "UpdateRow"}, 1)
	if err := d.accept(t.Context(), id, "alice", ""); ots.ClassOf(err) != ots.ClassRetry {
		t.Fatal(err)
	}
	if err := d.accept(t.Context(), id, "alice", ""); !errors.Is(err, ErrNotOpen) {
		t.Error(err)
	}
	if len(d.counts()) != 0 {
		t.Error("in memory it is still open")
	}
}

func TestOpenLettersAreListed(t *testing.T) {
	s := newDeadSide(t)
	d := s.letters(t)
	for i := range 120 {
		table := []string{"orders", "items"}[i%2]
		if err := d.keep(t.Context(), table, origin{"s"}, someRecord("k", i), errRefusedOnce); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.accept(t.Context(), d.ids("items", "")[0], "alice", ""); err != nil {
		t.Fatal(err)
	}
	for table, want := range map[string]int{"": 119, "orders": 60, "items": 59, "none": 0} {
		var all []string
		for after := ""; ; {
			page, next, err := d.list(t.Context(), table, after, 50)
			if err != nil || len(page) > 50 {
				t.Fatal(len(page), err)
			}
			for _, l := range page {
				all = append(all, l.ID)
			}
			if after = next; next == "" {
				break
			}
		}
		if len(all) != want || !slices.IsSorted(all) {
			t.Errorf("%s: %d letters", table, len(all))
		}
	}
}

func drawRecord(t *rapid.T) ots.Record {
	value := rapid.Custom(func(t *rapid.T) ots.Value {
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			return rapid.Int64().Draw(t, "integer")
		case 1:
			return rapid.Float64().Draw(t, "double")
		case 2:
			return rapid.Bool().Draw(t, "boolean")
		case 3:
			return rapid.String().Draw(t, "text")
		}
		return append([]byte{}, rapid.SliceOf(rapid.Byte()).Draw(t, "binary")...)
	})
	cell := rapid.Custom(func(t *rapid.T) ots.Cell {
		c := ots.Cell{Name: rapid.String().Draw(t, "name"), Op: ots.CellOp(rapid.IntRange(0, 2).Draw(t, "op")), Version: rapid.Int64().Draw(t, "version")}
		if c.Op == ots.Put {
			c.Value = value.Draw(t, "value")
		}
		return c
	})
	r := ots.Record{
		Action: ots.Action(rapid.IntRange(1, 3).Draw(t, "action")), Key: key(rapid.String().Draw(t, "key")),
		Seq: ots.Sequence{Epoch: rapid.Int32().Draw(t, "epoch"), Time: rapid.Int64().Draw(t, "time"), Index: rapid.Int32().Draw(t, "index")},
	}
	if cells := rapid.SliceOfN(cell, 0, 5).Draw(t, "cells"); len(cells) > 0 {
		r.Cells = cells
	}
	if cells := rapid.SliceOfN(cell, 0, 2).Draw(t, "before"); len(cells) > 0 {
		r.Before = cells
	}
	return r
}

func TestRecordComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRecord(t)
		b, err := appendRecord(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeRecord(b)
		if err != nil || !recordsEqual(back, r) {
			t.Fatalf("%+v\ncame back as\n%+v %v", r, back, err)
		}
		for n := range b {
			if _, err := decodeRecord(b[:n]); err == nil {
				t.Fatalf("%d of %d bytes were read", n, len(b))
			}
		}
	})
	if _, err := decodeRecord([]byte{recordVersion + 1, 1}); !errors.Is(err, errVersion) {
		t.Error(err)
	}
	if _, err := appendRecord(nil, ots.Record{Cells: []ots.Cell{{Name: "a", Value: 1}}}); err == nil {
		t.Error("a value of no kind was written")
	}
}

func FuzzDecodeRecord(f *testing.F) {
	b, err := appendRecord(nil, someRecord("k", 0))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{1, 3, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(b)
		if err != nil {
			return
		}
		again, err := appendRecord(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeRecord(again)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := appendRecord(nil, back); err != nil || string(twice) != string(again) {
			t.Fatalf("%x is not %x: %v", twice, again, err)
		}
	})
}

func TestDeadLetterTableThatIsNotOurs(t *testing.T) {
	s := newSide(t)
	if _, err := openDeadLetters(t.Context(), deadConfig{Client: s.Client, Table: deadName}); ots.ClassOf(err) != ots.ClassAbsent || !strings.Contains(err.Error(), "prepare") {
		t.Error(err)
	}
}

func TestKeepingAsksFirst(t *testing.T) {
	s := newDeadSide(t)
	no := errors.New("no")
	d := s.letters(t, func(c *deadConfig) { c.May = func() error { return no } })
	if err := d.keep(t.Context(), "orders", origin{"s"}, someRecord("k", 0), errRefusedOnce); !errors.Is(err, no) || len(d.mustList(t)) != 0 {
		t.Error(err)
	}
}
