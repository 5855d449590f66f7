package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pointsman/internal/lab/tablestore"
	"pointsman/replication/ots"
)

func TestCopyMakesTheTargetTheSource(t *testing.T) {
	l := newCopyLab(t)
	l.fill(l.source, 40, 100, "new")
	l.write(l.source, ots.Mutation{Action: ots.PutRow, Key: orderKey("bare", 1)})
	// Of the target's own: rows that the source lacks, between, before and after
	// its own; one that differs; one that is the same.
	foreign := []ots.Mutation{
		{Action: ots.PutRow, Key: orderKey("a", 1), Cells: []ots.Cell{cellOf("x", "foreign", 5)}},
		{Action: ots.PutRow, Key: orderKey("order-003", -1), Cells: []ots.Cell{cellOf("x", "foreign", 5)}},
		{Action: ots.PutRow, Key: orderKey("order-003", 1<<40), Cells: []ots.Cell{cellOf("x", "foreign", 5)}},
		{Action: ots.PutRow, Key: orderKey("z", 1)},
		{Action: ots.PutRow, Key: orderKey("order-003", 7), Cells: []ots.Cell{cellOf("state", "new", 9), cellOf("gone", true, 0)}},
		{Action: ots.PutRow, Key: orderKey("order-003", 8), Cells: []ots.Cell{cellOf("state", "new", 1), cellOf("state", "older", 0), cellOf("count", int64(8), 1)}},
	}
	l.write(l.target, foreign...)
	cfg := l.config()
	cfg.Pool.page, cfg.Pool.least = 150, 20_000
	var saves []savedCopy
	cfg.Save = func(_ context.Context, s savedCopy) error { saves = append(saves, s); return nil }
	if err := copyTable(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	l.same()
	p := cfg.Meter.progress(time.Now())
	if p.Rows != 4001 || p.Removed != 4 || p.TotalRows != p.Rows || p.RangesDone != p.Ranges || p.Ranges < 5 || p.Bytes < 4000*100 || p.Left != 0 {
		t.Errorf("%+v", p)
	}
	if cfg.Meter.equal != 1 {
		t.Errorf("%d rows were left alone, want the one that was equal", cfg.Meter.equal)
	}
	last := saves[len(saves)-1]
	if last.Rows != 4001 || last.Removed != 4 || last.Bytes != p.Bytes {
		t.Errorf("saved %d rows, %d removed, %d bytes: %+v", last.Rows, last.Removed, last.Bytes, p)
	}
	for _, r := range last.Ranges {
		if !r.Done {
			t.Errorf("the last text that was saved has a range that is not done: %+v", r)
		}
	}
}

// The second copy of an unchanged table writes nothing.
func TestCopyLeavesEqualRowsAlone(t *testing.T) {
	l := newCopyLab(t)
	l.fill(l.source, 5, 300, "new")
	if err := copyTable(t.Context(), l.config()); err != nil {
		t.Fatal(err)
	}
	_, before := l.target.Units()
	cfg := l.config()
	if err := copyTable(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if _, after := l.target.Units(); after != before {
		t.Errorf("%d units were spent on rows that were there", after-before)
	}
	if p := cfg.Meter.progress(time.Now()); p.Rows != 1500 || cfg.Meter.equal != 1500 {
		t.Errorf("%+v", p)
	}
	l.same()
}

func TestCopyOfAnEmptyTableEmptiesTheTarget(t *testing.T) {
	l := newCopyLab(t)
	l.fill(l.target, 3, 500, "foreign")
	cfg := l.config()
	cfg.Pool.page = 100
	if err := copyTable(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	l.same()
	if p := cfg.Meter.progress(time.Now()); p.Removed != 1500 || p.Rows != 0 {
		t.Errorf("%+v", p)
	}
}

// errKilled is how a run ends early in tests.
var errKilled = errors.New("killed")

// Whatever is written and deleted at the source during the copy, wherever the
// copy is killed and however often, and whatever the target held before: with
// the stream from before the copy applied afterwards both sides are equal.
func TestCopyConvergesThroughKills(t *testing.T) {
	l := newCopyLab(t)
	var kills, resumed, divided int
	rapid.Check(t, func(rt *rapid.T) {
		l.empty()
		mutations := func(label string, most int) []ots.Mutation {
			n := rapid.IntRange(0, most).Draw(rt, label+" count")
			return rapid.SliceOfN(rapid.Custom(drawMutation), n, n).Draw(rt, label)
		}
		l.write(l.source, mutations("source", 60)...)
		if rapid.Bool().Draw(rt, "foreign rows") {
			l.write(l.target, mutations("target", 20)...)
		}
		it := l.stream()
		cfg := l.config()
		cfg.Pool = newCopyPool(rapid.IntRange(1, 3).Draw(rt, "parallel"), 0)
		cfg.Pool.page = rapid.IntRange(1, 9).Draw(rt, "page")
		cfg.Pool.least = int64(rapid.SampledFrom([]int{100, 300, splitLeast}).Draw(rt, "least"))
		var text []byte // what is durable
		// At every point at which the copy calls out, the source may be written
		// and the copy killed. Calls come from several goroutines.
		meanwhile := mutations("meanwhile", 60)
		killAt := rapid.SliceOfNDistinct(rapid.IntRange(0, 80), 0, 8, rapid.ID).Draw(rt, "kills")
		var mu sync.Mutex
		point := 0
		hook := func() error {
			point++
			if n := min(len(meanwhile), point%4); n > 0 {
				l.write(l.source, meanwhile[:n]...)
				meanwhile = meanwhile[n:]
			}
			if slices.Contains(killAt, point) {
				kills++
				return errKilled
			}
			return nil
		}
		cfg.May = func() error {
			mu.Lock()
			defer mu.Unlock()
			return hook()
		}
		cfg.Save = func(_ context.Context, s savedCopy) error {
			mu.Lock()
			defer mu.Unlock()
			if err := hook(); err != nil {
				return err // before it was durable
			}
			var err error
			text, err = encodeSaved(saved{Table: "orders", Phase: PhaseCopying, Copy: &s})
			if err != nil {
				rt.Fatal(err)
			}
			return hook() // or after
		}
		for {
			cfg.Saved, cfg.Meter = nil, newCopyMeter()
			if text != nil {
				s, err := decodeSaved(text)
				if err != nil {
					rt.Fatal(err)
				}
				cfg.Saved = s.Copy
				resumed++
			}
			err := copyTable(context.Background(), cfg)
			if err == nil {
				break
			}
			if !errors.Is(err, errKilled) {
				rt.Fatal(err)
			}
		}
		s, err := decodeSaved(text)
		if err != nil {
			rt.Fatal(err)
		}
		if n := len(s.Copy.Ranges); n > 1 {
			divided++
		}
		for _, r := range s.Copy.Ranges {
			if !r.Done {
				rt.Fatalf("a range that is not done: %+v", s.Copy)
			}
		}
		l.follow(it)
		a, b := l.dump(l.source), l.dump(l.target)
		for k := range a {
			if a[k] != b[k] {
				rt.Fatalf("%s: source %q, target %q", k, a[k], b[k])
			}
		}
		for k := range b {
			if _, ok := a[k]; !ok {
				rt.Fatalf("%s is at the target alone", k)
			}
		}
	})
	if kills == 0 || resumed == 0 || divided == 0 {
		t.Errorf("%d kills, %d resumed, %d copies in several ranges: nothing was tried", kills, resumed, divided)
	}
	t.Logf("%d kills, %d resumed, %d in several ranges", kills, resumed, divided)
}

// empty deletes all rows of both sides.
func (l *copyLab) empty() {
	for _, c := range []*ots.Client{l.source, l.target} {
		p, err := c.Range(context.Background(), ots.RangeQuery{Table: l.table.Name})
		if err != nil {
			l.t.Fatal(err)
		}
		var muts []ots.Mutation
		for _, r := range p.Rows {
			muts = append(muts, ots.Mutation{Action: ots.DeleteRow, Key: r.Key})
		}
		l.write(c, muts...)
	}
}

// drawMutation draws from few keys and columns, so that writes meet.
func drawMutation(t *rapid.T) ots.Mutation {
	m := ots.Mutation{
		Action: rapid.SampledFrom([]ots.Action{ots.PutRow, ots.PutRow, ots.UpdateRow, ots.UpdateRow, ots.DeleteRow}).Draw(t, "action"),
		Key:    orderKey(rapid.SampledFrom([]string{"a", "b", "c", "ü"}).Draw(t, "id"), rapid.Int64Range(0, 9).Draw(t, "n")),
	}
	if m.Action == ots.DeleteRow {
		return m
	}
	for _, name := range []string{"x", "y"} {
		version := rapid.Int64Range(0, 9).Draw(t, "version")
		op := ots.Put
		if m.Action == ots.UpdateRow {
			op = rapid.SampledFrom([]ots.CellOp{ots.Put, ots.Put, ots.DeleteOne, ots.DeleteAll}).Draw(t, "op")
		}
		c := cellOf(name, rapid.SampledFrom([]ots.Value{"one", int64(2), 2.5, true, []byte{0}}).Draw(t, "value"), version)
		if c.Op = op; op != ots.Put {
			c.Value = nil
		}
		m.Cells = append(m.Cells, c)
	}
	return m
}

// A table that is written all the time is copied, and what happened meanwhile
// is in the stream: nothing that was deleted comes back.
func TestCopyUnderLiveWrites(t *testing.T) {
	l := newCopyLab(t)
	l.fill(l.source, 20, 200, "old")
	it := l.stream()
	cfg := l.config()
	cfg.Pool.page, cfg.Pool.least = 50, 30_000
	var writers sync.WaitGroup
	done := make(chan struct{})
	var writes atomic.Int64
	for w := range 2 {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				k := orderKey(fmt.Sprintf("order-%03d", (i*7+w)%25), int64((i*13)%210))
				m := ots.Mutation{Action: ots.PutRow, Key: k, Cells: []ots.Cell{cellOf("state", "live", int64(i))}}
				switch i % 3 {
				case 1:
					m = ots.Mutation{Action: ots.DeleteRow, Key: k}
				case 2:
					m.Action = ots.UpdateRow
				}
				l.write(l.source, m)
				writes.Add(1)
			}
		})
	}
	err := copyTable(t.Context(), cfg)
	close(done)
	writers.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if writes.Load() < 20 {
		t.Fatalf("%d writes during the copy", writes.Load())
	}
	l.follow(it)
	l.same()
}

func TestCopySlowsDownForABusyTarget(t *testing.T) {
	l := newCopyLab(t)
	l.fill(l.source, 10, 400, "new")
	for _, f := range []tablestore.Fault{
		{Kind: tablestore.ErrorCode, Code: "OTSServerBusy", Operation: "BatchWriteRow", Instance: "target"},
		{Kind: tablestore.Reset, Operation: "BatchWriteRow", Instance: "target", After: true},
		{Kind: tablestore.ErrorCode, Code: "OTSNotEnoughCapacityUnit", Operation: "GetRange", Instance: "source"},
	} {
		if _, err := l.s.Fail(f, 3); err != nil {
			t.Fatal(err)
		}
	}
	from, to := "order-003", "order-006"
	if _, err := l.s.Fail(tablestore.Fault{Kind: tablestore.Partition, Instance: "target", Table: "orders", From: &from, To: &to}, 150); err != nil {
		t.Fatal(err)
	}
	cfg := l.config()
	if err := copyTable(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	l.same()
	if p := cfg.Meter.progress(time.Now()); p.Throttled <= 0 || p.Rows != 4000 {
		t.Errorf("%+v", p)
	}
	if left := l.s.Faults(); len(left) > 0 {
		t.Errorf("faults that never came: %+v", left)
	}
	if got := cfg.Pool.writes.cut; got == 0 {
		t.Error("the window was never halved")
	}
	if cfg.Meter.Trouble() != nil {
		t.Errorf("trouble stays after the end: %v", cfg.Meter.Trouble())
	}
}

func TestCopyEndsWhenItMayNotWrite(t *testing.T) {
	l := newCopyLab(t)
	l.fill(l.source, 2, 300, "new")
	cfg := l.config()
	var asked atomic.Int64
	cfg.May = func() error {
		if asked.Add(1) > 1 {
			return context.DeadlineExceeded // must not be taken for an answer of the service
		}
		return nil
	}
	if err := copyTable(t.Context(), cfg); !errors.Is(err, errMayNot) || !strings.HasPrefix(err.Error(), "copy orders: ") {
		t.Fatal(err)
	}
	if n := len(l.dump(l.target)); n > ots.MaxRows {
		t.Errorf("%d rows were written on one permission", n)
	}
}

func TestCopyEndsWithItsContext(t *testing.T) {
	l := newCopyLab(t)
	l.fill(l.source, 2, 300, "new")
	if _, err := l.s.Fail(tablestore.Fault{Kind: tablestore.ErrorCode, Code: "OTSServerBusy", Operation: "BatchWriteRow"}, -1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cfg := l.config()
	cfg.Pool = newCopyPool(2, 0)
	cfg.May = func() error {
		if cfg.Meter.Trouble() != nil {
			cancel()
		}
		return nil
	}
	if err := copyTable(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// What was sent when the copy was called off is waited for: a write that comes
// after that, would come after what the stream has.
func TestCopyLeavesNoWriteBehind(t *testing.T) {
	l := newCopyLab(t)
	l.fill(l.source, 5, 400, "new")
	if _, err := l.s.Fail(tablestore.Fault{Kind: tablestore.Late, Delay: 200 * time.Millisecond, Operation: "BatchWriteRow", Instance: "target"}, -1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cfg := l.config()
	var sent atomic.Int64
	cfg.May = func() error { sent.Add(1); cancel(); return nil }
	if err := copyTable(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if n := len(l.dump(l.target)); sent.Load() == 0 || n != int(sent.Load())*ots.MaxRows {
		t.Errorf("%d batches were sent, %d rows are there", sent.Load(), n)
	}
}

func TestCopyOutlastsLostAnswers(t *testing.T) {
	l := newCopyLab(t)
	l.fill(l.source, 1, 100, "new")
	if _, err := l.s.Fail(tablestore.Fault{Kind: tablestore.Reset, After: true, Operation: "BatchWriteRow", Instance: "target"}, 1); err != nil {
		t.Fatal(err)
	}
	cfg := l.config()
	cfg.Settle = 300 * time.Millisecond
	if err := copyTable(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if late := cfg.Pool.late; late.IsZero() || time.Now().Before(late) {
		t.Errorf("the copy ended before %v, until when the lost write could come", late)
	}
	// One that was turned away cannot come.
	if _, err := l.s.Fail(tablestore.Fault{Kind: tablestore.ErrorCode, Code: "OTSServerBusy", Operation: "BatchWriteRow", Instance: "target"}, 1); err != nil {
		t.Fatal(err)
	}
	l.fill(l.source, 1, 100, "newer")
	cfg.Pool, cfg.Meter = newCopyPool(0, 0), newCopyMeter()
	if err := copyTable(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if !cfg.Pool.late.IsZero() {
		t.Error("a write that was turned away is waited for")
	}
	l.same()
}

func TestCopyOfATableThatVanishedSaysSo(t *testing.T) {
	l := newCopyLab(t)
	cfg := l.config()
	cfg.Table.Name = "gone"
	if err := copyTable(t.Context(), cfg); ots.ClassOf(err) != ots.ClassAbsent || !strings.HasPrefix(err.Error(), "copy gone: ") {
		t.Fatal(err)
	}
}

func TestCopyHoldsItsRate(t *testing.T) {
	l := newCopyLab(t)
	l.fill(l.source, 5, 100, "new")
	cfg := l.config()
	cfg.Pool = newCopyPool(0, 1000)
	begin := time.Now()
	if err := copyTable(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	// 200 at once, the other 300 at 1,000 a second.
	if took := time.Since(begin); took < 300*time.Millisecond {
		t.Errorf("500 rows took %v", took)
	}
	l.same()
}

// Two tables share what is under way.
func TestCopiesShareAPool(t *testing.T) {
	l := newCopyLab(t)
	second := l.table
	second.Name, second.Stream, second.Retention = "second", "", 0
	for _, c := range []*ots.Client{l.source, l.target} {
		if err := c.CreateTable(t.Context(), second); err != nil {
			t.Fatal(err)
		}
	}
	l.fill(l.source, 10, 100, "new")
	m := *l
	m.table = second
	m.fill(l.source, 10, 100, "second")
	pool := newCopyPool(2, 0)
	pool.page, pool.least = 20, 10_000
	var most atomic.Int64
	var copies sync.WaitGroup
	for _, one := range []*copyLab{l, &m} {
		cfg := one.config()
		cfg.Pool = pool
		cfg.May = func() error {
			pool.writes.mu.Lock()
			defer pool.writes.mu.Unlock()
			most.Store(max(most.Load(), int64(pool.writes.inside)))
			return nil
		}
		copies.Go(func() {
			if err := copyTable(context.Background(), cfg); err != nil {
				t.Error(err)
			}
		})
	}
	copies.Wait()
	l.same()
	m.same()
	if n := most.Load(); n == 0 || n > 2*copyInFlight {
		t.Errorf("%d writes at a time", n)
	}
}
