package replication

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pointsman/internal/lab/tablestore"
	"pointsman/replication/ots"
)

func TestCopyKeepsRefusedRowsAside(t *testing.T) {
	// The target takes versions of the last day alone.
	l := newCopyLab(t, func(_, target *ots.Table) { target.Deviation = 86400 })
	l.fill(l.source, 1, 250, "new")
	old := orderKey("order-000", 77)
	l.write(l.source, ots.Mutation{Action: ots.PutRow, Key: old, Cells: []ots.Cell{cellOf("state", "old", -2*86400_000)}})
	cfg := l.config()
	var mu sync.Mutex
	var kept []ots.Record
	cfg.Refused = func(_ context.Context, table string, rec ots.Record, cause error) error {
		mu.Lock()
		defer mu.Unlock()
		if table != "orders" || ots.ClassOf(cause) != ots.ClassRow {
			t.Errorf("%s: %v", table, cause)
		}
		kept = append(kept, rec)
		return nil
	}
	if err := copyTable(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if len(kept) != 1 || kept[0].Key.Compare(old) != 0 || kept[0].Action != ots.PutRow || len(kept[0].Cells) != 1 {
		t.Fatalf("%+v", kept)
	}
	if n := len(l.dump(l.target)); n != 249 {
		t.Errorf("%d rows at the target", n)
	}
	if p := cfg.Meter.progress(time.Now()); p.Rows != 250 || cfg.Meter.refused != 1 {
		t.Errorf("%+v", p)
	}
}

// A batch that is refused as a whole is refused for one of its rows.
func TestCopyFindsTheRowThatABatchIsRefusedFor(t *testing.T) {
	l := newCopyLab(t)
	l.fill(l.source, 1, 2, "new")
	if _, err := l.s.Fail(tablestore.Fault{Kind: tablestore.ErrorCode, Code: "OTSParameterInvalid", Operation: "BatchWriteRow", Instance: "target"}, 2); err != nil {
		t.Fatal(err)
	}
	cfg := l.config()
	var kept []ots.Key
	cfg.Refused = func(_ context.Context, _ string, rec ots.Record, _ error) error {
		kept = append(kept, rec.Key)
		return nil
	}
	if err := copyTable(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	first, second := orderKey("order-000", 0), orderKey("order-000", 1)
	got := l.dump(l.target)
	if len(kept) != 1 || kept[0].Compare(first) != 0 || len(got) != 1 || got[second.String()] == "" {
		t.Errorf("kept %v, written %v", kept, got)
	}
}

func TestCopyOfATableThatTakesNothingEnds(t *testing.T) {
	l := newCopyLab(t, func(_, target *ots.Table) { target.Deviation = 60 })
	var muts []ots.Mutation
	for n := range int64(3000) {
		muts = append(muts, ots.Mutation{Action: ots.PutRow, Key: orderKey("old", n), Cells: []ots.Cell{cellOf("state", "old", -3600_000)}})
	}
	l.write(l.source, muts...)
	cfg := l.config()
	var kept atomic.Int64
	cfg.Refused = func(context.Context, string, ots.Record, error) error { kept.Add(1); return nil }
	if err := copyTable(t.Context(), cfg); !errors.Is(err, errAllRefused) {
		t.Fatal(err)
	}
	if n := kept.Load(); n < enoughRefused || n == 3000 {
		t.Errorf("%d rows were kept aside", n)
	}
}

func TestCopySkipsVersionsThatOutlivedTheTarget(t *testing.T) {
	l := newCopyLab(t, func(_, target *ots.Table) { target.TTL = 86400 })
	const day = 86400_000
	l.write(l.source,
		ots.Mutation{Action: ots.PutRow, Key: orderKey("a", 1), Cells: []ots.Cell{cellOf("x", "old", -day-5000), cellOf("x", "new", -1000), cellOf("y", "old", -2*day)}},
		ots.Mutation{Action: ots.PutRow, Key: orderKey("a", 2), Cells: []ots.Cell{cellOf("x", "old", -2*day)}},
		ots.Mutation{Action: ots.PutRow, Key: orderKey("a", 3), Cells: []ots.Cell{cellOf("x", "new", -5000)}},
		ots.Mutation{Action: ots.PutRow, Key: orderKey("a", 4)},
	)
	want := map[string]string{
		orderKey("a", 1).String(): fmt.Sprintf("x@%d=string new; ", copyNow-1000),
		orderKey("a", 3).String(): fmt.Sprintf("x@%d=string new; ", copyNow-5000),
		orderKey("a", 4).String(): "",
	}
	check := func(rows int64) {
		t.Helper()
		cfg := l.config()
		if err := copyTable(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		got := l.dump(l.target)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v", got)
		}
		if p := cfg.Meter.progress(time.Now()); p.Rows != rows {
			t.Errorf("%+v", p)
		}
	}
	check(4)
	// Merged with what is there: the row that the source alone still has, is not
	// one that the target may keep with other columns.
	l.write(l.target, ots.Mutation{Action: ots.PutRow, Key: orderKey("a", 2), Cells: []ots.Cell{cellOf("foreign", "new", -5000)}})
	check(4)
	// A clock that is behind ours lets a version look younger than it is there.
	l.empty()
	l.write(l.source, ots.Mutation{Action: ots.PutRow, Key: orderKey("a", 1), Cells: []ots.Cell{cellOf("x", "new", -1000), cellOf("y", "dying", -day+30_000)}})
	l.s.SetClockOffset(40 * time.Second)
	want = map[string]string{orderKey("a", 1).String(): fmt.Sprintf("x@%d=string new; ", copyNow-1000)}
	check(1)
}

// A row that grew by updates does not fit into one write.
func TestCopyOfWideRows(t *testing.T) {
	l := newCopyLab(t)
	wide, heavy := orderKey("wide", 1), orderKey("heavy", 1)
	big := strings.Repeat("x", 1_500_000)
	for i := range 3 {
		m := ots.Mutation{Action: ots.UpdateRow, Key: wide}
		for c := range 1000 {
			m.Cells = append(m.Cells, cellOf(fmt.Sprintf("c%04d", i*1000+c), int64(c), 1))
		}
		l.write(l.source, m)
		l.write(l.source, ots.Mutation{Action: ots.UpdateRow, Key: heavy, Cells: []ots.Cell{cellOf(fmt.Sprintf("b%d", i), big, 1)}})
	}
	l.fill(l.source, 2, 150, "new")
	// What the target has there before must go, although updates follow.
	l.write(l.target, ots.Mutation{Action: ots.PutRow, Key: wide, Cells: []ots.Cell{cellOf("foreign", "x", 1)}})
	cfg := l.config()
	if err := copyTable(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	l.same()
	if p := cfg.Meter.progress(time.Now()); p.Rows != 302 {
		t.Errorf("%+v", p)
	}
}
