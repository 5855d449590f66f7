package replication

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pointsman/internal/failover"
	lab "pointsman/internal/lab/tablestore"
	"pointsman/replication/ots"
)

// operation is the course of an operation from a to b at a step.
func operation(kind failover.OpKind, step failover.StepName) Course {
	c := lead(1)
	c.Token.Epoch, c.Op, c.OpKind, c.Step, c.State = 2, "orders.example.-1.2", kind, step, failover.StandbySynced
	return c
}

// settledTo is the course after it: b is active.
func settledTo(kind failover.OpKind) Course {
	c := lead(1)
	c.Token.Epoch, c.Active, c.Standby, c.State = 2, "b", "a", failover.StandbySynced
	if kind == failover.Failover {
		c.State = failover.StandbyInvalidated
	}
	return c
}

func orderOf(kind failover.OpKind, within time.Duration) failover.Drain {
	now := time.Now()
	return failover.Drain{Op: "orders.example.-1.2", Kind: kind, From: "a", To: "b", Until: now, Deadline: now.Add(within)}
}

// following is a replicator that follows the tables from a to b.
func (w *railway) following(cfg Config, tables ...string) *engine {
	w.t.Helper()
	e := w.start(cfg)
	e.Follow(lead(1))
	for _, name := range tables {
		e.untilPhase(name, PhaseFollowing)
	}
	return e
}

func (w *railway) deaf(s *station) (heal func()) {
	w.t.Helper()
	id, err := s.Fail(lab.Fault{Kind: lab.ErrorCode, Code: "OTSServerUnavailable", Operation: "GetStreamRecord"}, -1)
	w.must(err)
	return func() { s.Heal(id) }
}

// TestASwitchoverLosesNothing: everything that was acknowledged at a before its
// drain is at b, the other direction goes on without a copy and without an echo.
func TestASwitchoverLosesNothing(t *testing.T) {
	w := newRailway(t)
	for _, name := range []string{"orders", "users"} {
		w.table(name)
	}
	e := w.following(w.config(), "orders", "users")
	for i := range int64(300) {
		w.a.put(t, []string{"orders", "users"}[i%2], fmt.Sprint("v", i), i)
	}
	e.Follow(operation(failover.Switchover, failover.StepDrain))
	d, err := e.Drain(t.Context(), orderOf(failover.Switchover, time.Minute))
	w.must(err)
	if !d.Empty || d.Rows != 0 || d.Gap != "" || d.Op != "orders.example.-1.2" || d.Begins.IsZero() {
		t.Fatalf("drained %+v", d)
	}
	if !w.same("orders") || !w.same("users") {
		t.Fatal("it is drained, and rows are missing")
	}
	// Nothing is applied any more, whatever somebody writes to a.
	n := w.b.writes()
	w.a.put(t, "orders", "too late", 1000)
	renewed := operation(failover.Switchover, failover.StepDrain)
	renewed.Until = time.Now().Add(time.Hour)
	e.Follow(renewed)
	if c, _ := e.look(); e.now() != nil || c.allows(way{"a", "b", 1}, time.Now()) == nil {
		t.Error("a session goes on after the drain, or may begin")
	}
	for _, step := range []failover.StepName{failover.StepOpen, failover.StepMove, failover.StepCut, failover.StepSettle} {
		e.Follow(operation(failover.Switchover, step))
	}
	if m := w.b.writes(); m != n {
		t.Errorf("%d writes after the answer", m-n)
	}
	w.a.remove(t, "orders", 1000)
	e.Follow(settledTo(failover.Switchover))
	for _, name := range []string{"orders", "users"} {
		w.until(func() bool { return e.table(name).Phase == PhaseFollowing && e.Status().From == "b" })
	}
	echoed := w.b.writes()
	w.b.put(t, "users", "of b", 7, 2000)
	w.b.remove(t, "orders", 4)
	w.until(func() bool { return w.same("orders") && w.same("users") })
	w.until(func() bool { return e.Status().Exposure.Known })
	if st := e.table("orders"); st.Applied > 1 || e.table("users").Applied > 2 {
		t.Errorf("%d and %d rows were carried back, three were written: the first ones came back from where they went", st.Applied, e.table("users").Applied)
	}
	if m := w.b.writes() - echoed; m != 2 {
		t.Errorf("%d writes at b, two of them are the test's", m)
	}
}

// log is what clients were told is written.
type log struct {
	mu    sync.Mutex
	acked map[int64]string
}

// write has clients write to a until the end of the test, or stop.
func (w *railway) write(table string, l *log) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	for n := range int64(4) {
		wg.Go(func() {
			for i := n; ctx.Err() == nil; i += 4 {
				v := fmt.Sprint("w", i)
				res, err := w.a.c.Write(context.WithoutCancel(ctx), []ots.Mutation{{Table: table, Action: ots.PutRow, Key: keyOf(i), Cells: []ots.Cell{{Name: "v", Value: v, Version: time.Now().UnixMilli()}}}})
				if err == nil && res[0].Err == nil {
					l.mu.Lock()
					l.acked[i] = v
					l.mu.Unlock()
				}
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

func (l *log) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// last is the greatest key that was acknowledged.
func (l *log) last() (k int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.acked {
		k = max(k, i)
	}
	return k
}

// missing are the keys that were acknowledged and that b does not have.
func (w *railway) missing(table string, l *log) []string {
	w.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	there := map[int64]string{}
	q := ots.RangeQuery{Table: table, MaxVersions: 1}
	for {
		p, err := w.b.c.Range(w.t.Context(), q)
		w.must(err)
		for _, r := range p.Rows {
			there[r.Key[0].Value.(int64)] = r.Cells[0].Value.(string)
		}
		if p.Next == nil {
			break
		}
		q.Start = p.Next
	}
	out := []string{}
	for k, v := range l.acked {
		if there[k] != v {
			out = append(out, keyOf(k).String())
		}
	}
	slices.Sort(out)
	return out
}

// lost are the keys that the replicator names, over all pages.
func (e *engine) lost(n int) []string {
	e.w.t.Helper()
	out := []string{}
	for after := ""; ; {
		rows, next, err := e.Lost(e.w.t.Context(), "", after, n)
		e.w.must(err)
		for _, r := range rows {
			out = append(out, r.Key)
		}
		if after = next; next == "" {
			slices.Sort(out)
			return slices.Compact(out)
		}
	}
}

// TestAFailoverNamesExactlyWhatDidNotCross: clients write until the old side is
// lost, the last of it was not read, and once it is back the list is what the
// clients' own log says.
func TestAFailoverNamesExactlyWhatDidNotCross(t *testing.T) {
	w := newRailway(t)
	w.table("orders")
	cfg := w.config()
	e := w.following(cfg, "orders")
	l := &log{acked: map[int64]string{}}
	stop := w.write("orders", l)
	w.until(func() bool { return l.len() > 200 })
	heal := w.deaf(w.a) // from here on nothing crosses
	n := l.len()
	w.until(func() bool { return l.len() > n+300 })
	lastly := time.Now()
	stop()
	e.Follow(operation(failover.Failover, failover.StepDrain))
	d, err := e.Drain(t.Context(), orderOf(failover.Failover, 300*time.Millisecond))
	w.must(err)
	if d.Empty || d.Begins.IsZero() || d.Begins.After(lastly) {
		t.Fatalf("drained %+v", d)
	}
	want := w.missing("orders", l)
	if len(want) < 300 {
		t.Fatalf("only %d rows are missing: the test shows nothing", len(want))
	}
	e.Follow(operation(failover.Failover, failover.StepMove))
	e.Follow(settledTo(failover.Failover))
	w.until(func() bool { return e.Status().Lost != nil })
	if s := e.Status().Lost; s.Exact || s.Why == "" {
		t.Errorf("before the old side can be read: %+v", s)
	}
	heal()
	w.until(func() bool { s := e.Status().Lost; return s != nil && s.Exact })
	got, sum := e.lost(37), e.Status().Lost
	if !slices.Equal(got, want) {
		t.Fatalf("%d rows are named, %d are missing", len(got), len(want))
	}
	if sum.Rows != int64(len(want)) || sum.ByClass[ClassOnlyOld] != sum.Rows || sum.ByTable["orders"] != sum.Rows || sum.Op != d.Op || !sum.Begins.Equal(d.Begins) || sum.Until.IsZero() {
		t.Errorf("the summary is %+v", sum)
	}
	// Whatever becomes of the new side, and however often it is looked at.
	e.stop()
	w.b.put(t, "orders", "of b", l.last()) // a row that is lost is written anew
	late := l.last() + 1
	w.a.put(t, "orders", "late", late) // by a client that nobody told, while nobody looked
	want = append(want, keyOf(late).String())
	slices.Sort(want)
	e = w.start(cfg)
	e.Follow(settledTo(failover.Failover))
	w.until(func() bool { s := e.Status().Lost; return s != nil && s.Exact })
	if again := e.lost(1000); !slices.Equal(again, want) || e.Status().Lost.Rows != sum.Rows+1 {
		t.Errorf("looked at again, %d rows are named, and %d before", len(again), len(want))
	}
}

// TestACutThatCannotBeReadIsTold: that nothing is listed does not mean that
// nothing was lost.
func TestACutThatCannotBeReadIsTold(t *testing.T) {
	w := newRailway(t)
	w.table("orders")
	cfg := w.config()
	e := w.following(cfg, "orders")
	e.Follow(operation(failover.Failover, failover.StepDrain))
	_, err := e.Drain(t.Context(), orderOf(failover.Failover, 300*time.Millisecond))
	w.must(err)
	e.stop()
	files, err := filepath.Glob(filepath.Join(cfg.Dir, "replication-cut-*.json"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	w.must(os.WriteFile(files[0], []byte("{"), 0o600))
	e = w.start(cfg)
	e.Follow(settledTo(failover.Failover))
	w.until(func() bool { return e.Status().Lost != nil })
	if s := e.Status().Lost; s.Exact || s.From != "a" || s.To != "b" || !strings.Contains(s.Why, "it cannot be looked at: ") || !strings.Contains(s.Why, files[0]) {
		t.Errorf("%+v", s)
	}
	if rows, next, err := e.Lost(t.Context(), "", "", 10); err != nil || len(rows) > 0 || next != "" {
		t.Errorf("%v %q %v", rows, next, err)
	}
	w.must(os.Remove(files[0])) // as the words say: the control rows know it too
	w.until(func() bool { s := e.Status().Lost; return s != nil && s.Exact })
}

// TestADeadOldSideEndsADrainEarly, with what is known.
func TestADeadOldSideEndsADrainEarly(t *testing.T) {
	w := newRailway(t)
	w.table("orders")
	e := w.following(w.config(), "orders")
	w.a.put(t, "orders", "v", 1)
	w.until(func() bool { return w.same("orders") && e.Status().Exposure.Known })
	_, err := w.a.Fail(lab.Fault{Kind: lab.Drop}, -1)
	w.must(err)
	e.Follow(operation(failover.Failover, failover.StepDrain))
	d, err := e.Drain(t.Context(), orderOf(failover.Failover, time.Hour))
	w.must(err)
	if !d.Gone || d.Empty || d.Begins.IsZero() {
		t.Fatalf("drained %+v", d)
	}
}

// TestANewerDrainReplacesOneThatRuns, as when a switchover becomes a failover.
func TestANewerDrainReplacesOneThatRuns(t *testing.T) {
	w := newRailway(t)
	w.table("orders")
	e := w.following(w.config(), "orders")
	heal := w.deaf(w.a)
	e.Follow(operation(failover.Switchover, failover.StepDrain))
	first := make(chan error, 1)
	go func() {
		_, err := e.Drain(context.WithoutCancel(t.Context()), orderOf(failover.Switchover, time.Hour))
		first <- err
	}()
	w.until(func() bool { c, _ := e.look(); return !c.applyUntil.IsZero() })
	c := operation(failover.Failover, failover.StepDrain)
	c.Token.Epoch, c.Op = 3, "orders.example.-1.3"
	e.Follow(c)
	if err := <-first; err == nil {
		t.Error("the drain of an operation that is no more was answered")
	}
	heal()
	o := orderOf(failover.Failover, time.Minute)
	o.Op = c.Op
	d, err := e.Drain(t.Context(), o)
	w.must(err)
	if !d.Empty {
		t.Fatalf("drained %+v", d)
	}
}

// TestAnUnwoundOperationGoesOnFromItsCut, without a copy.
func TestAnUnwoundOperationGoesOnFromItsCut(t *testing.T) {
	w := newRailway(t)
	w.table("orders")
	e := w.following(w.config(), "orders")
	w.a.put(t, "orders", "before", 1, 2, 3)
	e.Follow(operation(failover.Switchover, failover.StepDrain))
	_, err := e.Drain(t.Context(), orderOf(failover.Switchover, time.Minute))
	w.must(err)
	w.a.put(t, "orders", "after", 3, 4)
	c := lead(1)
	c.Token.Epoch, c.State = 2, failover.StandbySynced
	e.Follow(c)
	if st := e.untilPhase("orders", PhaseFollowing); st.Copy != nil || st.Why != "" {
		t.Errorf("it goes on with %+v", st)
	}
	w.until(func() bool { return w.same("orders") && e.table("orders").Applied >= 2 })
	if n := e.table("orders").Applied; n != 2 {
		t.Errorf("%d rows were applied after the cut, two were written", n)
	}
}

// TestDeathAtEveryStepOfADrain: wherever the process dies, the next one applies
// nothing for an operation that went on, and loses nothing of one that did not.
func TestDeathAtEveryStepOfADrain(t *testing.T) {
	for _, kind := range []failover.OpKind{failover.Switchover, failover.Failover} {
		for _, point := range []string{"cut", "cut-kept", "reverse", "reverse-claimed", "reverse-saved", "save", "saved", "release"} {
			if kind == failover.Failover && strings.HasPrefix(point, "reverse") {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", kind, point), func(t *testing.T) {
				w := newRailway(t)
				w.table("orders")
				cfg := w.config()
				e := w.following(cfg, "orders")
				w.a.put(t, "orders", "before", 1, 2, 3)
				w.until(func() bool { return w.same("orders") })
				e.Follow(operation(kind, failover.StepDrain))
				drained := false
				w.hear(func() {
					w.die = func(p string) error {
						drained = drained || p == "cut"
						if drained && p == point {
							return errors.New("killed")
						}
						return nil
					}
				})
				if d, err := e.Drain(t.Context(), orderOf(kind, time.Minute)); point != "release" && err == nil && d.Empty {
					t.Fatalf("it died at %s and answered %+v", point, d)
				}
				<-e.done
				w.hear(func() { w.die = nil })
				w.a.put(t, "orders", "after", 2, 4)

				// The operation went on: nothing is applied.
				next := w.start(cfg)
				next.Follow(operation(kind, failover.StepOpen))
				n := w.b.writes()
				w.until(func() bool { return strings.HasPrefix(next.Status().Doing, "cut by") })
				next.Follow(operation(kind, failover.StepMove))
				if m := w.b.writes(); m != n || next.now() != nil {
					t.Errorf("%d writes to the new side", m-n)
				}
				next.stop()

				// It did not: nothing is missing.
				last := w.start(cfg)
				c := lead(2)
				c.Token.Epoch, c.State = 2, failover.StandbySynced
				last.Follow(c)
				w.until(func() bool { return w.same("orders") })
			})
		}
	}
}

// TestASurveyAfterADeathWithoutACut resolves what was applied and not yet saved:
// a row that crossed is never named.
func TestASurveyAfterADeathWithoutACut(t *testing.T) {
	w := newRailway(t)
	w.table("orders")
	cfg := w.config()
	cfg.Save = time.Hour // positions are those of the beginning
	e := w.following(cfg, "orders")
	w.a.put(t, "orders", "crossed", 1, 2, 3)
	w.a.put(t, "orders", "crossed again", 3)
	w.until(func() bool { return w.same("orders") })
	w.hear(func() { w.die = func(string) error { return errors.New("killed") } })
	<-e.done
	w.hear(func() { w.die = nil })
	w.a.put(t, "orders", "left behind", 3, 4)
	w.a.remove(t, "orders", 1)
	w.b.put(t, "orders", "of b", 2)

	cfg.Dir = t.TempDir()
	e = w.start(cfg)
	e.Follow(settledTo(failover.Failover))
	w.until(func() bool { s := e.Status().Lost; return s != nil && s.Exact })
	want := []string{keyOf(1).String(), keyOf(3).String(), keyOf(4).String()}
	rows, _, err := e.Lost(t.Context(), "", "", 100)
	w.must(err)
	got := map[string]string{}
	for _, r := range rows {
		got[r.Key] = r.Class
	}
	if s := e.Status().Lost; s.Rows != 3 || got[want[0]] != ClassDeleted || got[want[1]] != ClassDiffers || got[want[2]] != ClassOnlyOld {
		t.Errorf("the summary is %+v, the rows %v", s, got)
	}
}

// TestADrainIsNeverEmptyOverWhatIsNotThere: a gap, rows that the target refused,
// a pause.
func TestADrainIsNeverEmptyOverWhatIsNotThere(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*railway, *engine)
		seen  func(failover.Drained) bool
	}{
		"a gap": {func(w *railway, e *engine) {
			off, on := false, true
			w.must(w.a.c.UpdateTable(w.t.Context(), "orders", ots.TableChange{Stream: &off}))
			w.a.put(w.t, "orders", "unseen", 3)
			w.must(w.a.c.UpdateTable(w.t.Context(), "orders", ots.TableChange{Stream: &on, Retention: 24 * time.Hour}))
			e.stop() // whoever comes next looks at the stream first
		}, func(d failover.Drained) bool { return d.Gap != "" && d.Begins.IsZero() }},
		"a refused row": {func(w *railway, e *engine) {
			_, err := w.b.Fail(lab.Fault{Kind: lab.ErrorCode, Code: "OTSOutOfRowSizeLimit", Status: 400, Operation: "BatchWriteRow", Table: "orders"}, -1)
			w.must(err)
			w.a.put(w.t, "orders", "refused", 3)
			w.until(func() bool { return e.Status().Refused > 0 })
		}, func(d failover.Drained) bool { return d.Rows > 0 && !d.Begins.IsZero() }},
		"a pause": {func(w *railway, e *engine) {
			w.must(e.Pause(w.t.Context(), "alice", "work"))
			w.a.put(w.t, "orders", "not carried", 3)
		}, func(d failover.Drained) bool { return strings.Contains(d.Cut, "alice") }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newRailway(t)
			w.table("orders")
			w.a.put(t, "orders", "v", 1)
			cfg := w.config()
			cfg.Resync = ResyncAsk
			e := w.following(cfg, "orders")
			c.spoil(w, e)
			if name == "a gap" {
				e = w.start(cfg)
				e.Follow(lead(2))
				e.untilPhase("orders", PhaseGap)
			}
			draining := operation(failover.Failover, failover.StepDrain)
			if name == "a gap" {
				draining.Token.Term = 2
			}
			e.Follow(draining)
			d, err := e.Drain(t.Context(), orderOf(failover.Failover, 300*time.Millisecond))
			w.must(err)
			if d.Empty || !c.seen(d) {
				t.Errorf("drained %+v", d)
			}
		})
	}
}
