package replication

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	lab "pointsman/internal/lab/tablestore"
	"pointsman/replication/ots"
)

// applyBench is an applier that runs, and its target.
type applyBench struct {
	*side
	*applier
	dead *deadLetters
	run  chan error // what Run returned

	mu     sync.Mutex
	faults map[string]error
}

func table(name string, versions int) ots.Table {
	return ots.Table{Name: name, Key: []ots.KeySchema{{Name: "pk", Type: "STRING"}}, TTL: -1, MaxVersions: versions, Deviation: widestDeviation, AllowUpdate: true}
}

// newApplyBench runs an applier for tables that it makes.
func newApplyBench(t testing.TB, tables []ots.Table, change ...func(*applyConfig)) *applyBench {
	s := newDeadSide(t)
	s.create(t, tables...)
	return s.applies(t, tables, change...)
}

func (s *side) applies(t testing.TB, tables []ots.Table, change ...func(*applyConfig)) *applyBench {
	b := &applyBench{side: s, dead: s.letters(t), run: make(chan error, 1), faults: map[string]error{}}
	cfg := applyConfig{
		Client: s.Client, Dead: b.dead, Lanes: 4, Settle: time.Nanosecond, Least: time.Millisecond, Most: 10 * time.Millisecond,
		Table: func(name string) ots.Table {
			i := slices.IndexFunc(tables, func(t ots.Table) bool { return t.Name == name })
			if i < 0 {
				return ots.Table{}
			}
			return tables[i]
		},
		Fault: func(table string, err error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.faults[table] = err
		},
	}
	for _, c := range change {
		c(&cfg)
	}
	b.applier = newApplier(cfg)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.run <- b.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return b
}

func (b *applyBench) fault(table string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.faults[table]
}

// await waits until something is so.
func await(t testing.TB, so func() bool) {
	t.Helper()
	begun := time.Now()
	for !so() {
		if over(t, begun) {
			t.Fatalf("waited %v, and it is not so", time.Since(begun).Round(time.Second))
		}
		time.Sleep(time.Millisecond)
	}
}

// submit queues records and returns a channel that is closed when they are done.
func (b *applyBench) submit(t testing.TB, table string, recs ...ots.Record) <-chan struct{} {
	t.Helper()
	done := make(chan struct{})
	if err := b.Submit(t.Context(), table, recs, origin{"s"}, func() { close(done) }); err != nil {
		t.Fatal(err)
	}
	return done
}

var sequence atomic.Int64

// record is a change with the next place in the stream.
func record(k string, action ots.Action, cells ...ots.Cell) ots.Record {
	return ots.Record{Action: action, Key: key(k), Cells: cells, Seq: ots.Sequence{Time: sequence.Add(1)}}
}

// version is one of today.
var version = time.Now().UnixMilli()

// history is what happened to the rows of a table, and what they are then.
type history struct {
	recs []ots.Record
	rows map[string]oracle
}

func drawHistory(t *rapid.T, keys, most, versions int) history {
	h := history{rows: map[string]oracle{}}
	for range rapid.IntRange(1, most).Draw(t, "records") {
		k := fmt.Sprintf("k%02d", rapid.IntRange(0, keys-1).Draw(t, "key"))
		m := drawChange(t, version)
		h.recs = append(h.recs, record(k, m.Action, m.Cells...))
		h.rows[k] = h.rows[k].apply(m, versions)
	}
	return h
}

// deletesVersions says whether single versions are deleted.
func (h history) deletesVersions() bool {
	return slices.ContainsFunc(h.recs, func(r ots.Record) bool {
		return slices.ContainsFunc(r.Cells, func(c ots.Cell) bool { return c.Op == ots.DeleteOne })
	})
}

// want is the table that comes out.
func (h history) want() []ots.Row {
	var rows []ots.Row
	for k, o := range h.rows {
		if o != nil {
			r := o.row()
			r.Key = key(k)
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b ots.Row) int { return a.Key.Compare(b.Key) })
	return rows
}

// withCells drops rows that have no column: a range does not always show them.
func withCells(rows []ots.Row) []ots.Row {
	return slices.DeleteFunc(rows, func(r ots.Row) bool { return len(r.Cells) == 0 })
}

func TestAppliedIsWhatHappened(t *testing.T) {
	for _, versions := range []int{1, 3} {
		b := newApplyBench(t, []ots.Table{table("t", versions)})
		rapid.Check(t, func(r *rapid.T) {
			h := drawHistory(r, 4, 40, versions)
			clear := make([]ots.Record, 0, 4)
			for i := range 4 {
				clear = append(clear, record(fmt.Sprintf("k%02d", i), ots.DeleteRow))
			}
			<-b.submit(t, "t", clear...)
			for left := h.recs; len(left) > 0; {
				n := rapid.IntRange(1, len(left)).Draw(r, "at once")
				done := b.submit(t, "t", left[:n]...)
				if rapid.Bool().Draw(r, "wait") {
					<-done
				}
				left = left[n:]
			}
			await(t, func() bool { return b.Counts()["t"].InHand == 0 })
			if got := b.read(t, "t"); !rowsEqual(withCells(got), withCells(h.want())) {
				r.Fatalf("%v\nis not\n%v", got, h.want())
			}
			if h.deletesVersions() {
				return // one that never showed may show when it is put again
			}
			<-b.submit(t, "t", h.recs...)
			if got := b.read(t, "t"); !rowsEqual(withCells(got), withCells(h.want())) {
				r.Fatalf("after a replay %v\nis not\n%v", got, h.want())
			}
		})
		c := b.Counts()["t"]
		if c.Rows >= c.Records || c.Refused != 0 {
			t.Errorf("%+v: nothing was folded, or something refused", c)
		}
	}
}

// Answers are lost before and after the work was done, rows are turned away one
// by one and all at once: each row is in the end what happened to it, in order.
func TestAppliedInOrderThroughFaults(t *testing.T) {
	tables := []ots.Table{table("t", 1), table("u", 1)}
	b := newApplyBench(t, tables)
	for _, f := range []lab.Fault{
		{Kind: lab.Drop, After: true, Operation: "BatchWriteRow", Share: 0.1},
		{Kind: lab.Reset, Operation: "BatchWriteRow", Share: 0.1},
		{Kind: lab.ErrorCode, Code: "OTSServerBusy", Operation: "BatchWriteRow", Share: 0.1},
		{Kind: lab.ErrorCode, Code: "OTSTimeout", After: true, Operation: "BatchWriteRow", Share: 0.1},
		{Kind: lab.Partition, Code: "OTSNotEnoughCapacityUnit", Table: "t", Operation: "BatchWriteRow", From: ptr("k05"), To: ptr("k10"), Share: 0.3},
		{Kind: lab.HTML, Operation: "BatchWriteRow", Share: 0.05},
		{Kind: lab.Truncated, Operation: "BatchWriteRow", Share: 0.05},
	} {
		b.fail(t, f, -1)
	}
	rapid.Check(t, func(r *rapid.T) {
		h, i := drawHistory(r, 16, 200, 1), drawHistory(r, 4, 100, 1)
		var dones []<-chan struct{}
		for name, of := range map[string]history{"t": h, "u": i} {
			var clear []ots.Record
			for k := range 16 {
				clear = append(clear, record(fmt.Sprintf("k%02d", k), ots.DeleteRow))
			}
			dones = append(dones, b.submit(t, name, clear...))
			for chunk := range slices.Chunk(of.recs, 7) {
				dones = append(dones, b.submit(t, name, chunk...))
			}
		}
		for _, d := range dones {
			<-d
		}
		for name, of := range map[string]history{"t": h, "u": i} {
			if got := b.read(t, name); !rowsEqual(withCells(got), withCells(of.want())) {
				r.Fatalf("%s: %v\nis not\n%v", name, got, of.want())
			}
		}
	})
	if c := b.Counts()["t"]; c.Again == 0 || c.Throttled == 0 || c.Refused != 0 || c.InHand != 0 {
		t.Errorf("%+v", c)
	}
}

// A request is carried out late, after it was sent once more. What came after it
// stays: what is submitted when the second one was answered, and what is there
// already when it is sent.
func TestLateRequestUndoesNothing(t *testing.T) {
	const patience, late, settle = 100 * time.Millisecond, 300 * time.Millisecond, 1500 * time.Millisecond
	for _, early := range []bool{false, true} {
		s := newDeadSide(t)
		tables := []ots.Table{table("t", 1)}
		s.create(t, tables...)
		impatient := openSide(t, s.Server, func(c *ots.Config) { c.Timeout = patience })
		b := s.applies(t, tables, func(c *applyConfig) {
			c.Client, c.Settle, c.Lanes = impatient, settle, 1
			c.Least, c.Most = patience, patience
		})
		s.fail(t, lab.Fault{Kind: lab.Late, Delay: late, Operation: "BatchWriteRow"}, 1)
		first := b.submit(t, "t", record("k", ots.PutRow, put("a", version, 1)))
		await(t, func() bool { return b.Counts()["t"].Again >= 1 })
		if !early {
			<-first
		}
		second := b.submit(t, "t", record("k", ots.PutRow, put("b", version, 2)))
		<-first
		<-second
		await(t, func() bool { // until the late one was carried out
			return slices.ContainsFunc(s.Requests(lab.Filter{Operation: "BatchWriteRow"}), func(r lab.Request) bool { return r.Fault == lab.Late })
		})
		want := []ots.Row{{Key: key("k"), Cells: []ots.Cell{put("b", version, 2)}}}
		if got := s.read(t, "t"); !rowsEqual(got, want) {
			t.Errorf("early %t: %v", early, got)
		}
	}
}

func TestMayRefusesMidway(t *testing.T) {
	no := errors.New("the lease is lost")
	var asked atomic.Int64
	b := newApplyBench(t, []ots.Table{table("t", 1)}, func(c *applyConfig) {
		c.Lanes = 1
		c.May = func() error {
			if asked.Add(1) > 3 {
				return no
			}
			return nil
		}
	})
	for i := range 3 {
		<-b.submit(t, "t", record("k", ots.PutRow, put("a", version, int64(i))))
	}
	if err := b.Submit(t.Context(), "t", []ots.Record{record("k", ots.DeleteRow)}, origin{}, func() { t.Error("done") }); err != nil {
		t.Fatal(err)
	}
	if err := <-b.run; !errors.Is(err, no) {
		t.Error(err)
	}
	if err := b.Submit(t.Context(), "t", []ots.Record{record("k", ots.DeleteRow)}, origin{}, func() { t.Error("done") }); !errors.Is(err, no) {
		t.Error(err)
	}
	if got := b.read(t, "t"); len(got) != 1 || got[0].Cells[0].Value != int64(2) || b.calls("BatchWriteRow") != 3 {
		t.Errorf("%v", got)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStopWaitsForTheBatchInFlight(t *testing.T) {
	b := newApplyBench(t, []ots.Table{table("t", 1)})
	b.Stall()
	done := b.submit(t, "t", record("k", ots.PutRow, put("a", version, 1)))
	await(t, func() bool {
		b.applier.mu.Lock()
		defer b.applier.mu.Unlock()
		return b.flying == 1
	})
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := b.Stop(short); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 requests are still under way") {
		t.Error(err)
	}
	if err := b.Submit(t.Context(), "t", []ots.Record{record("k", ots.DeleteRow)}, origin{}, func() { t.Error("done") }); !errors.Is(err, errStopped) {
		t.Error(err)
	}
	b.Resume()
	if err := b.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	<-done
	if err := <-b.run; err != nil {
		t.Error(err)
	}
	if got := b.read(t, "t"); len(got) != 1 {
		t.Error(got)
	}
}

// A request that was not answered may be carried out until its time is over:
// Stop does not say before that nothing is under way.
func TestStopWaitsForWhatWasNotAnswered(t *testing.T) {
	b := newApplyBench(t, []ots.Table{table("t", 1)}, func(c *applyConfig) { c.Settle, c.Least, c.Most = time.Second, time.Hour, time.Hour })
	b.fail(t, lab.Fault{Kind: lab.Drop, Operation: "BatchWriteRow"}, -1)
	b.submit(t, "t", record("k", ots.PutRow, put("a", version, 1)))
	await(t, func() bool { return b.Counts()["t"].Again == 1 })
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Stop(ended); err == nil || !strings.Contains(err.Error(), "may still be carried out") {
		t.Error(err)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	b.applier.mu.Lock()
	defer b.applier.mu.Unlock()
	if time.Now().Before(b.late) {
		t.Error("it did not wait")
	}
}

func TestRowsThatAreRefused(t *testing.T) {
	narrow := table("t", 1)
	narrow.Deviation = 86400
	b := newApplyBench(t, []ots.Table{narrow})
	old := version - 10*86_400_000
	done := b.submit(t, "t",
		record("zero", ots.PutRow, put("a", 0, 1)),
		record("below", ots.UpdateRow, ots.Cell{Name: "a", Op: ots.DeleteOne, Version: -1}),
		record("old", ots.PutRow, put("a", old, 1)),
		record("nan", ots.PutRow, ots.Cell{Name: "a", Version: version, Value: math.NaN()}),
		record("name", ots.PutRow, put("#a", version, 1)), // the whole batch is refused for it
		record("good", ots.PutRow, put("a", version, 1)),
		record("old", ots.UpdateRow, put("b", version, 2)), // what comes later of a refused row
	)
	<-done
	want := []ots.Row{{Key: key("good"), Cells: []ots.Cell{put("a", version, 1)}}, {Key: key("old"), Cells: []ots.Cell{put("b", version, 2)}}}
	if got := b.read(t, "t"); !rowsEqual(got, want) {
		t.Errorf("%v", got)
	}
	letters := map[string]*letter{}
	for _, l := range b.dead.mustList(t) {
		letters[l.Key] = l
	}
	for k, c := range map[string]struct{ cause, hint string }{
		"zero": {"not after 1970", "at the source"}, "below": {"not after 1970", ""}, "old": {"Invalid timestamp", "widen its deviation"},
		"nan": {"no finite number", "accept"}, "name": {"#a", "accept"},
	} {
		l := letters[fmt.Sprintf("pk=%q", k)]
		if l == nil || !strings.Contains(l.Cause, c.cause) || !strings.Contains(l.Hint, c.hint) || l.Later != (k == "old") {
			t.Errorf("%s: %+v", k, l)
		}
	}
	if c := b.Counts()["t"]; len(letters) != 5 || c.Refused != 5 || c.Records != 7 || c.InHand != 0 || c.Trouble != "" {
		t.Errorf("%d letters, %+v", len(letters), c)
	}
}

// While a refused row cannot be kept aside, it waits, and the others go on.
func TestRefusedRowWaitsForItsLetter(t *testing.T) {
	b := newApplyBench(t, []ots.Table{table("t", 1)})
	heal := b.fail(t, lab.Fault{Kind: lab.ErrorCode, Code: "OTSServerBusy", Operation: "PutRow", Table: deadName}, -1)
	refused := b.submit(t, "t", record("k", ots.PutRow, put("a", 0, 1)))
	later := b.submit(t, "t", record("k", ots.PutRow, put("a", version, 2)))
	for i := range 20 {
		<-b.submit(t, "t", record(fmt.Sprint(i), ots.PutRow, put("a", version, 1)))
	}
	await(t, func() bool { return b.calls("PutRow") > 2 })
	select {
	case <-refused:
		t.Error("done without a letter")
	case <-later:
		t.Error("a later record went before")
	default:
	}
	if c := b.Counts()["t"]; !strings.Contains(c.Trouble, "dead-letter table") || c.InHand != 2 {
		t.Errorf("%+v", c)
	}
	heal()
	<-refused
	<-later
	if l := b.dead.mustList(t); len(l) != 1 || l[0].state != letterSuperseded {
		t.Errorf("%+v", l)
	}
}

func TestVersionsOverTheirTimeAreSkipped(t *testing.T) {
	short := table("t", 3)
	short.TTL = 86400
	b := newApplyBench(t, []ots.Table{short})
	<-b.submit(t, "t", record("warm", ots.DeleteRow)) // the clock of the target is known from here
	old := version - 2*86_400_000
	<-b.submit(t, "t",
		record("some", ots.PutRow, put("a", version, 1), put("a", old, 2), put("b", old, 3)),
		record("all", ots.PutRow, put("a", version, 1)),
		record("keys", ots.PutRow),
	)
	<-b.submit(t, "t",
		record("all", ots.PutRow, put("a", old, 2)),                                                    // the row is dead at the source
		record("some", ots.UpdateRow, put("c", old, 1)),                                                // nothing is left to send
		record("some", ots.UpdateRow, put("c", old, 1), ots.Cell{Name: "b", Op: ots.DeleteAll}),        // the deletion is
		record("some", ots.UpdateRow, ots.Cell{Name: "d", Op: ots.DeleteOne, Version: old}),            // of any time
		record("edge", ots.UpdateRow, put("a", time.Now().Add(-86400*time.Second).UnixMilli()+500, 1)), // on the edge: over or not when it arrives
	)
	<-b.submit(t, "t", record("none", ots.UpdateRow, put("c", old, 1)))
	var got []ots.Row
	for _, r := range b.read(t, "t") {
		if r.Key.Compare(key("edge")) != 0 {
			got = append(got, r)
		}
	}
	want := []ots.Row{{Key: key("keys"), Cells: []ots.Cell{}}, {Key: key("some"), Cells: []ots.Cell{put("a", version, 1)}}}
	if !rowsEqual(got, want) {
		t.Errorf("%v", got)
	}
	if c := b.Counts()["t"]; c.Expired < 6 || c.Refused != 0 || c.InHand != 0 {
		t.Errorf("%+v", c)
	}
}

// A version was not yet over when it was looked at, by a clock that is unsure,
// and is when it arrives.
func TestVersionThatExpiresOnItsWay(t *testing.T) {
	short := table("t", 1)
	short.TTL = 86400
	b := newApplyBench(t, []ots.Table{short})
	<-b.submit(t, "t", record("warm", ots.DeleteRow))
	b.SetClockOffset(30 * time.Second)
	edge := time.Now().Add(-86400*time.Second + 10*time.Second).UnixMilli()
	<-b.submit(t, "t", record("k", ots.PutRow, put("a", edge, 1)))
	if c := b.Counts()["t"]; c.Refused != 0 || c.Expired != 1 || len(b.dead.mustList(t)) != 0 {
		t.Errorf("%+v", c)
	}
}

func TestTableThatVanished(t *testing.T) {
	tables := []ots.Table{table("t", 1), table("gone", 1)}
	s := newDeadSide(t)
	s.create(t, tables[0])
	b := s.applies(t, tables)
	if err := b.Submit(t.Context(), "gone", []ots.Record{record("k", ots.PutRow, put("a", version, 1))}, origin{}, func() { t.Error("done") }); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		<-b.submit(t, "t", record(fmt.Sprint(i), ots.PutRow, put("a", version, 1)))
	}
	await(t, func() bool { return b.fault("gone") != nil && b.Counts()["gone"].InHand == 0 })
	if err := b.fault("gone"); ots.ClassOf(err) != ots.ClassAbsent || b.fault("t") != nil {
		t.Error(err)
	}
	if err := b.Submit(t.Context(), "gone", []ots.Record{record("k", ots.DeleteRow)}, origin{}, func() {}); ots.ClassOf(err) != ots.ClassAbsent {
		t.Error(err)
	}
	s.create(t, tables[1])
	if err := b.Drop(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	<-b.submit(t, "gone", record("k", ots.PutRow, put("a", version, 1)))
	if len(b.read(t, "gone")) != 1 || b.Counts()["gone"].Trouble != "" {
		t.Errorf("%+v", b.Counts()["gone"])
	}
}

func TestTableWithAnotherKey(t *testing.T) {
	other := table("other", 1)
	other.Key[0].Name = "id"
	b := newApplyBench(t, []ots.Table{table("t", 1), other})
	if err := b.Submit(t.Context(), "other", []ots.Record{record("k", ots.PutRow, put("a", version, 1))}, origin{}, func() { t.Error("done") }); err != nil {
		t.Fatal(err)
	}
	<-b.submit(t, "t", record("k", ots.PutRow, put("a", version, 1)))
	await(t, func() bool { return b.fault("other") != nil })
	if err := b.fault("other"); !strings.Contains(err.Error(), "its key at the target is another") || len(b.dead.mustList(t)) != 0 {
		t.Error(err)
	}
}

func TestTableThatTakesNothing(t *testing.T) {
	full := table("t", 1)
	full.AllowUpdate = false
	b := newApplyBench(t, []ots.Table{full})
	var recs []ots.Record
	for i := range 2 * enoughRefused {
		recs = append(recs, record(fmt.Sprint(i), ots.UpdateRow, put("a", version, 1)))
	}
	if err := b.Submit(t.Context(), "t", recs, origin{}, func() { t.Error("done") }); err != nil && !errors.Is(err, errAllRefused) {
		t.Fatal(err)
	}
	await(t, func() bool { return b.fault("t") != nil && b.Counts()["t"].InHand == 0 })
	if err := b.fault("t"); !errors.Is(err, errAllRefused) {
		t.Error(err)
	}
}

// A call for several tables fails for one of them. The others go on.
func TestFaultsOfOneTableAreItsOwn(t *testing.T) {
	for code, most := range map[string]int64{
		"OTSNoPermissionAccess": 0,      // is asked apart at once
		"OTSServerUnavailable":  3 * 50, // after three calls that failed
	} {
		b := newApplyBench(t, []ots.Table{table("t", 1), table("sick", 1)}, func(c *applyConfig) { c.Lanes = 1 })
		heal := b.fail(t, lab.Fault{Kind: lab.ErrorCode, Code: code, Operation: "BatchWriteRow", Table: "sick"}, -1)
		var recs []ots.Record
		for i := range 50 {
			recs = append(recs, record(fmt.Sprint(i), ots.PutRow, put("a", version, 1)))
		}
		b.Stall()
		block := b.submit(t, "t", record("block", ots.DeleteRow))
		sick := b.submit(t, "sick", recs...)
		both := b.submit(t, "t", recs...) // in one batch with those
		b.Resume()
		<-block
		<-both
		for range 50 {
			<-b.submit(t, "t", recs...)
		}
		await(t, func() bool { return b.Counts()["sick"].Again > 0 })
		if c := b.Counts()["sick"]; !strings.Contains(c.Trouble, code) || b.Trouble("sick") == nil || b.Trouble("none") != nil || c.InHand != 50 || b.fault("sick") != nil {
			t.Errorf("%s: %+v", code, c)
		}
		if c := b.Counts()["t"]; c.Again > most || c.Trouble != "" {
			t.Errorf("%s: the other table: %+v", code, c)
		}
		heal()
		<-sick
		if c := b.Counts()["sick"]; c.Trouble != "" || len(b.read(t, "sick")) != 50 {
			t.Errorf("%s: %+v", code, c)
		}
	}
}

func TestFoldedRowThatIsRefusedIsTakenApart(t *testing.T) {
	narrow := table("t", 3)
	narrow.Deviation = 86400
	b := newApplyBench(t, []ots.Table{narrow}, func(c *applyConfig) { c.Lanes = 1 })
	b.Stall()
	block := b.submit(t, "t", record("block", ots.DeleteRow))
	await(t, func() bool { return b.Counts()["t"].InHand == 1 })
	old := version - 10*86_400_000
	done := b.submit(t, "t",
		record("k", ots.PutRow, put("a", version, 1)),
		record("k", ots.UpdateRow, put("b", version, 2)),
		record("k", ots.UpdateRow, put("c", old, 3)),
		record("k", ots.UpdateRow, put("d", version, 4)),
	)
	b.Resume()
	<-block
	<-done
	want := []ots.Row{{Key: key("k"), Cells: []ots.Cell{put("a", version, 1), put("b", version, 2), put("d", version, 4)}}}
	if got := b.read(t, "t"); !rowsEqual(got, want) {
		t.Errorf("%v", got)
	}
	if l := b.dead.mustList(t); len(l) != 1 || !l[0].Later || b.Counts()["t"].Refused != 1 {
		t.Errorf("%+v", l)
	}
}

func TestSubmitWaitsWhileTooMuchIsInHand(t *testing.T) {
	b := newApplyBench(t, []ots.Table{table("t", 1), table("u", 1)}, func(c *applyConfig) { c.Records, c.Bytes = 400, 1<<20 })
	b.Stall()
	var recs []ots.Record
	for i := range 100 {
		recs = append(recs, record(fmt.Sprint(i), ots.PutRow, put("a", version, 1)))
	}
	first := b.submit(t, "t", recs...)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Submit(ended, "t", recs[:1], origin{}, func() { t.Error("done") }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	// A table that has nothing in hand gets in.
	other := b.submit(t, "u", recs[:1]...)
	waited := make(chan (<-chan struct{}))
	go func() {
		done := make(chan struct{})
		if err := b.Submit(t.Context(), "t", recs, origin{"s"}, func() { close(done) }); err != nil {
			t.Error(err)
		}
		waited <- done
	}()
	b.Resume()
	<-first
	<-other
	<-<-waited
	large := make([]ots.Record, 3)
	for i := range large {
		large[i] = record(fmt.Sprint("large", i), ots.PutRow, ots.Cell{Name: "a", Version: version, Value: strings.Repeat("x", 1<<20+1<<19)})
	}
	<-b.submit(t, "t", large...) // each of them more than may be in hand
	if c := b.Counts()["t"]; c.InHand != 0 || c.Records != 203 {
		t.Errorf("%+v", c)
	}
}

func TestDropGivesUpWhatIsQueued(t *testing.T) {
	b := newApplyBench(t, []ots.Table{table("t", 1)}, func(c *applyConfig) { c.Lanes = 1 })
	heal := b.fail(t, lab.Fault{Kind: lab.ErrorCode, Code: "OTSServerBusy", Operation: "BatchWriteRow"}, -1)
	for i := range 10 {
		rec := record(fmt.Sprint(i%3), ots.UpdateRow, put("old", version, 1))
		if err := b.Submit(t.Context(), "t", []ots.Record{rec}, origin{"s"}, func() { t.Error("done") }); err != nil {
			t.Fatal(err)
		}
	}
	await(t, func() bool { return b.Counts()["t"].Again > 0 })
	if err := b.Drop(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	heal()
	<-b.submit(t, "t", record("0", ots.UpdateRow, put("new", version, 1)))
	want := []ots.Row{{Key: key("0"), Cells: []ots.Cell{put("new", version, 1)}}}
	if got := b.read(t, "t"); !rowsEqual(got, want) {
		t.Errorf("%v", got)
	}
	if c := b.Counts()["t"]; c.InHand != 0 || c.Records != 1 {
		t.Errorf("%+v", c)
	}
}

func TestBatchOfManyMegabytesIsSplit(t *testing.T) {
	b := newApplyBench(t, []ots.Table{table("t", 1)}, func(c *applyConfig) { c.Lanes = 1 })
	var recs []ots.Record
	for i := range 12 {
		recs = append(recs, record(fmt.Sprint(i), ots.PutRow, ots.Cell{Name: "a", Version: version, Value: strings.Repeat("x", 1<<20)}))
	}
	<-b.submit(t, "t", recs...)
	if n := b.calls("BatchWriteRow"); n < 4 || n > 12 || len(b.read(t, "t")) != 12 || b.Counts()["t"].Again != 0 {
		t.Errorf("%d calls, %+v", n, b.Counts()["t"])
	}
}

func TestRetryOfALetter(t *testing.T) {
	narrow := []ots.Table{table("t", 3)}
	narrow[0].Deviation = 86400
	b := newApplyBench(t, narrow)
	old := version - 10*86_400_000
	<-b.submit(t, "t",
		record("one", ots.PutRow, put("a", version, 1)), record("one", ots.UpdateRow, put("b", old, 2)),
		record("two", ots.UpdateRow, put("b", old, 2)), record("two", ots.UpdateRow, put("c", version, 3)),
		record("three", ots.UpdateRow, put("b", old, 2)),
		record("four", ots.UpdateRow, put("b", old, 2)), record("four", ots.UpdateRow, put("c", old, 3)),
	)
	<-b.submit(t, "t", record("three", ots.DeleteRow))
	letters := map[string][]string{}
	for _, l := range b.dead.mustList(t) {
		letters[l.Key] = append(letters[l.Key], l.ID)
	}
	one, two, three, four := letters[`pk="one"`], letters[`pk="two"`], letters[`pk="three"`], letters[`pk="four"`]
	if err := b.Retry(t.Context(), one[0], "alice"); err == nil || !strings.Contains(err.Error(), "refused again") || b.dead.counts()["t"].Count != 4 {
		t.Error(err)
	}
	seconds := int64(widestDeviation)
	if err := b.Client.UpdateTable(t.Context(), "t", ots.TableChange{Deviation: &seconds}); err != nil {
		t.Fatal(err)
	}
	heal := b.fail(t, lab.Fault{Kind: lab.ErrorCode, Code: "OTSServerBusy", Operation: "BatchWriteRow"}, 1)
	if err := b.Retry(t.Context(), one[0], "alice"); ots.ClassOf(err) != ots.ClassRetry {
		t.Error(err)
	}
	heal()
	if err := b.Retry(t.Context(), one[0], "alice"); err != nil {
		t.Error(err)
	}
	if err := b.Retry(t.Context(), one[0], "alice"); !errors.Is(err, ErrNotOpen) {
		t.Error(err)
	}
	if err := b.Retry(t.Context(), two[0], "alice"); !errors.Is(err, ErrOvertaken) {
		t.Error(err)
	}
	if err := b.Retry(t.Context(), three[0], "alice"); !errors.Is(err, ErrNotOpen) {
		t.Error(err)
	}
	if err := b.Retry(t.Context(), "t/none", "alice"); !errors.Is(err, ErrNoLetter) {
		t.Error(err)
	}
	// The later of two first: the earlier would undo it.
	if err := b.Retry(t.Context(), four[1], "alice"); err != nil {
		t.Error(err)
	}
	if err := b.Retry(t.Context(), four[0], "alice"); !errors.Is(err, ErrOvertaken) {
		t.Error(err)
	}
	want := []ots.Row{
		{Key: key("four"), Cells: []ots.Cell{put("c", old, 3)}},
		{Key: key("one"), Cells: []ots.Cell{put("a", version, 1), put("b", old, 2)}},
		{Key: key("two"), Cells: []ots.Cell{put("c", version, 3)}},
	}
	if got := b.read(t, "t"); !rowsEqual(got, want) {
		t.Errorf("%v", got)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := b.Retry(t.Context(), two[0], "alice"); !errors.Is(err, errStopped) && !errors.Is(err, ErrOvertaken) {
		t.Error(err)
	}
}

// Batches shrink while the target is busy and grow again after it.
func TestApplierSlowsDown(t *testing.T) {
	b := newApplyBench(t, []ots.Table{table("t", 1)}, func(c *applyConfig) { c.Lanes = 1 })
	b.fail(t, lab.Fault{Kind: lab.ErrorCode, Code: "OTSServerBusy", Operation: "BatchWriteRow"}, 4)
	var recs []ots.Record
	for i := range 2000 {
		recs = append(recs, record(fmt.Sprint(i), ots.PutRow, put("a", version, 1)))
	}
	<-b.submit(t, "t", recs...)
	if c := b.Counts()["t"]; c.Throttled == 0 || len(b.read(t, "t")) != 2000 {
		t.Errorf("%+v", c)
	}
	if n := b.calls("BatchWriteRow"); n < 4+2000/ots.MaxRows+3 {
		t.Errorf("%d calls: the batches stayed large", n)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-b.run
	if limit := b.lanes[0].limit; limit != ots.MaxRows {
		t.Errorf("batches stayed at %d rows", limit)
	}
}
