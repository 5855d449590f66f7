package replication

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
	lab "pointsman/internal/lab/tablestore"
	"pointsman/replication/ots"
)

func TestRowsAppearAtTheStandby(t *testing.T) {
	w := newRailway(t)
	w.table("orders")
	w.a.put(t, "orders", "before", 1, 2, 3)
	e := w.start(w.config())
	e.Follow(lead(1))
	e.untilPhase("orders", PhaseFollowing)
	if !w.same("orders") {
		t.Fatal("the copy differs")
	}
	w.a.put(t, "orders", "after", 2, 4)
	w.a.remove(t, "orders", 1)
	w.until(func() bool { return w.same("orders") })
	w.until(func() bool { return e.Status().Exposure.Known })
	w.untilStandby(failover.StandbySynced)
	if err := e.stop(); !errors.Is(err, context.Canceled) {
		t.Fatalf("it ended with %v", err)
	}
}

// One table after the other that cannot be replicated, and one that can.
func TestABadTableStopsNoOther(t *testing.T) {
	w := newRailway(t)
	w.table("good")
	w.a.make(t, plainTable("missing"))
	w.a.make(t, plainTable("other_key"))
	bad := plainTable("other_key")
	bad.Key[0].Type = "STRING"
	w.b.make(t, bad)
	off := plainTable("no_stream")
	off.Stream, off.Retention = "", 0
	w.a.make(t, off)
	w.b.make(t, off)
	w.table("full")
	w.b.put(t, "full", "of somebody", 7)
	w.a.put(t, "good", "v", 1)

	e := w.start(w.config())
	e.Follow(lead(1))
	e.untilPhase("good", PhaseFollowing)
	w.a.put(t, "good", "v", 2)
	w.until(func() bool { return w.same("good") })
	for table, want := range map[string]struct {
		phase     Phase
		why, hint string
	}{
		"missing":   {PhaseRefused, "not at the target", "prepare"},
		"other_key": {PhaseRefused, "primary key", "prepare"},
		"no_stream": {PhaseRefused, "no stream", "prepare"},
		"full":      {PhaseWaiting, "has rows at b", "pointsman replication resync orders.example. full"},
	} {
		w.until(func() bool {
			s := e.table(table)
			return s.Phase == want.phase && strings.Contains(s.Why, want.why) && strings.Contains(s.Hint, want.hint)
		})
	}
	w.untilStandby(failover.StandbyUnprotected)
	if x := e.Status().Exposure; x.Known || x.Why == "" {
		t.Fatalf("exposure with refused tables: %+v", x)
	}
	if rows, err := w.b.rows(t.Context(), "full"); err != nil || len(rows) != 1 {
		t.Fatalf("rows of somebody else were touched: %v %v", rows, err)
	}

	// What is mended goes on by itself; what would delete rows waits for a word.
	w.b.make(t, plainTable("missing"))
	e.untilPhase("missing", PhaseFollowing)
	w.must(e.Resync(t.Context(), "", "", "alice", "they are of a test"))
	e.untilPhase("full", PhaseFollowing)
	w.until(func() bool { return w.same("full") })
}

func TestItGoesOnWhereItWas(t *testing.T) {
	w := newRailway(t)
	w.table("orders")
	w.a.put(t, "orders", "v", 1)
	e := w.start(w.config())
	e.Follow(lead(1))
	e.untilPhase("orders", PhaseFollowing)
	w.a.put(t, "orders", "v", 2)
	w.until(func() bool { return w.same("orders") })
	e.stop()

	// Rows at the standby that no copy would leave there show that none is made.
	w.b.put(t, "orders", "left alone", 100)
	w.a.put(t, "orders", "v", 3)
	e = w.start(w.config())
	e.Follow(lead(2))
	w.until(func() bool { rows, _ := w.b.rows(t.Context(), "orders"); return len(rows) == 4 })
	if p := e.table("orders").Phase; p != PhaseFollowing {
		t.Fatalf("phase %s", p)
	}
}

func TestAGapIsToldAndAnswered(t *testing.T) {
	gaps := map[string]func(t *testing.T, w *railway){
		"trimmed": func(t *testing.T, w *railway) {
			w.a.put(t, "orders", "trimmed", 3)
			if _, err := w.a.Trim("lab", "orders", time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		},
		"stream re-enabled": func(t *testing.T, w *railway) {
			off, on := false, true
			w.must(w.a.c.UpdateTable(t.Context(), "orders", ots.TableChange{Stream: &off}))
			w.a.put(t, "orders", "unseen", 3)
			w.must(w.a.c.UpdateTable(t.Context(), "orders", ots.TableChange{Stream: &on, Retention: 24 * time.Hour}))
		},
		"target dropped": func(t *testing.T, w *railway) {
			w.b.drop(t, "orders")
			w.b.make(t, plainTable("orders"))
		},
	}
	for name, gap := range gaps {
		for _, policy := range []ResyncPolicy{ResyncAuto, ResyncAsk} {
			t.Run(name+" "+string(policy), func(t *testing.T) {
				w := newRailway(t)
				w.table("orders")
				w.a.put(t, "orders", "v", 1, 2)
				cfg := w.config()
				cfg.Resync = policy
				e := w.start(cfg)
				e.Follow(lead(1))
				e.untilPhase("orders", PhaseFollowing)
				w.untilStandby(failover.StandbySynced)
				// What is over in a moment might be told to nobody.
				held := w.unreadable(w.a)
				told := w.told()
				if name != "target dropped" {
					e.stop()
					gap(t, w)
					cfg = w.config()
					cfg.Resync = policy
					e = w.start(cfg)
					e.Follow(lead(2))
				} else {
					gap(t, w)
				}
				w.untilExposureAfter(told, func(x failover.Exposure) bool { return x.Gap != "" && !x.Known })
				held()
				if policy == ResyncAsk {
					e.untilPhase("orders", PhaseGap)
					w.until(func() bool { return strings.Contains(e.table("orders").Hint, "resync orders") })
					w.must(e.Resync(t.Context(), "", "orders", "alice", "seen"))
				}
				e.untilPhase("orders", PhaseFollowing)
				w.until(func() bool { return w.same("orders") })
				w.untilExposure(func(x failover.Exposure) bool { return x.Known && x.Gap == "" })
				w.mu.Lock()
				defer w.mu.Unlock()
				synced := false
				for _, s := range w.standby {
					if name == "target dropped" && strings.Contains(strings.Join(s.Why, ""), "is not at the target") {
						continue // between the drop and the new one somebody looked
					}
					if synced && s.State != failover.StandbySynced {
						t.Errorf("the standby did not stay as it was: %+v", s)
					}
					synced = synced || s.State == failover.StandbySynced
				}
			})
		}
	}
}

// A stream is another one, and nothing can be read from which a follower would
// see that: the settings of the table show it.
func TestAnotherStreamIsSeenWhereNothingIsRead(t *testing.T) {
	w := newRailway(t)
	w.table("orders")
	w.a.put(t, "orders", "v", 1)
	e := w.following(w.config(), "orders")
	defer w.deaf(w.a)() // so that the copy that answers it has no end
	told := w.told()
	off, on := false, true
	w.must(w.a.c.UpdateTable(t.Context(), "orders", ots.TableChange{Stream: &off}))
	w.a.put(t, "orders", "unseen", 2)
	w.must(w.a.c.UpdateTable(t.Context(), "orders", ots.TableChange{Stream: &on, Retention: 24 * time.Hour}))
	w.untilExposureAfter(told, func(x failover.Exposure) bool {
		return !x.Known && strings.Contains(x.Gap, "the stream of the table at a is")
	})
	e.stop()
}

// A good table is copied anew because a person wants it. One that does not fit
// goes on as it is until it fits.
func TestAPersonHasATableCopiedAnew(t *testing.T) {
	w := newRailway(t)
	w.table("orders")
	w.a.put(t, "orders", "v", 1, 2)
	e := w.start(w.config())
	e.Follow(lead(1))
	e.untilPhase("orders", PhaseFollowing)
	w.b.put(t, "orders", "by mistake", 3)
	held, told := w.unreadable(w.a), w.told()
	w.must(e.Resync(t.Context(), "", "orders", "alice", "somebody wrote to b"))
	w.untilExposureAfter(told, func(x failover.Exposure) bool { return strings.Contains(x.Gap, "alice ordered") })
	held()
	w.until(func() bool { return w.same("orders") })
	e.untilPhase("orders", PhaseFollowing)

	narrow, wide := int64(86400), int64(1<<31-1)
	w.must(w.b.c.UpdateTable(t.Context(), "orders", ots.TableChange{Deviation: &narrow}))
	w.untilStandby(failover.StandbyUnprotected)
	w.b.put(t, "orders", "by mistake", 3)
	w.must(e.Resync(t.Context(), "", "orders", "alice", "again"))
	w.a.put(t, "orders", "v", 4)
	w.until(func() bool { rows, _ := w.b.rows(t.Context(), "orders"); return len(rows) == 4 })
	w.must(w.b.c.UpdateTable(t.Context(), "orders", ots.TableChange{Deviation: &wide}))
	w.until(func() bool { return w.same("orders") })
	if err := e.Resync(t.Context(), "a", "orders", "alice", "of another direction"); !errors.Is(err, ErrNotHere) {
		t.Errorf("a consent about the rows of a: %v", err)
	}
	if err := e.Resync(t.Context(), "", "none", "alice", ""); err == nil {
		t.Error("a table that is not replicated was copied anew")
	}
	if err := e.Resync(t.Context(), "", "", "alice", ""); err == nil {
		t.Error("no table waited")
	}
}

// A copy that is interrupted goes on; more tables than are copied at a time wait
// for their turn and say so.
func TestCopiesTakeTurns(t *testing.T) {
	w := newRailway(t)
	names := []string{"t1", "t2", "t3", "t4"}
	for _, n := range names {
		w.table(n)
		w.a.put(t, n, "v", 1, 2, 3)
	}
	cfg := w.config()
	cfg.Copies = 1
	cfg.Tables = append([]string{"named"}, names...) // of which one is nowhere
	id, err := w.b.Fail(lab.Fault{Operation: "BatchWriteRow", Kind: lab.ErrorCode, Code: "OTSServerBusy"}, -1)
	w.must(err)
	e := w.start(cfg)
	e.Follow(lead(1))
	w.until(func() bool {
		n := 0
		for _, name := range names {
			if s := e.table(name); s.Phase == PhaseWaiting && strings.Contains(s.Why, "other tables are copied first") {
				n++
			}
		}
		return n == len(names)-1
	})
	w.until(func() bool {
		for _, s := range e.Status().Tables {
			if s.Phase == PhaseCopying && s.Copy != nil && s.Copy.Ranges > 0 {
				return true
			}
		}
		return false
	})
	w.must(e.Pause(t.Context(), "alice", "the day is busy"))
	w.b.Heal(id)
	w.must(e.Resume(t.Context(), "alice"))
	for _, n := range names {
		e.untilPhase(n, PhaseFollowing)
		if !w.same(n) {
			t.Errorf("%s differs", n)
		}
	}
	w.until(func() bool {
		s := e.table("named")
		return s.Phase == PhaseRefused && strings.Contains(s.Why, "neither")
	})
	w.untilStandby(failover.StandbyUnprotected)
	if u := e.Status().Units; u.SourceRead == 0 || u.TargetWrite == 0 {
		t.Errorf("units %+v", u)
	}
	if e.table(names[0]).Units == 0 {
		t.Error("its stream was read and cost nothing")
	}
}

func TestPauseOutlastsTheProcess(t *testing.T) {
	w := newRailway(t)
	w.table("orders")
	e := w.start(w.config())
	e.Follow(lead(1))
	e.untilPhase("orders", PhaseFollowing)
	w.must(e.Pause(t.Context(), "alice", "a look at b"))
	w.a.put(t, "orders", "v", 1)
	before := e.Status()
	if before.Paused == nil || before.Paused.By != "alice" || !strings.Contains(before.Doing, "paused by alice: a look at b") {
		t.Fatalf("status of a pause: %+v", before)
	}
	e.stop()
	e = w.start(w.config())
	e.Follow(lead(2))
	w.until(func() bool { return e.Status().Paused != nil })
	w.untilExposure(func(x failover.Exposure) bool { return x.Known && x.Lag > before.Exposure.Lag })
	if rows, _ := w.b.rows(t.Context(), "orders"); len(rows) != 0 {
		t.Fatal("a row was applied under a pause")
	}
	w.must(e.Resume(t.Context(), "alice"))
	w.until(func() bool { return w.same("orders") })
	if s := e.Status(); s.Paused != nil {
		t.Fatalf("status after the pause: %+v", s)
	}
}

func TestOrdersAreKeptWhereNoControlTableIs(t *testing.T) {
	w := newRailway(t)
	w.table("orders")
	cfg := w.config()
	e := w.start(cfg)
	e.Follow(lead(1))
	e.untilPhase("orders", PhaseFollowing)
	id, err := w.b.Fail(lab.Fault{Operation: "PutRow", Kind: lab.ErrorCode, Code: "OTSServerBusy"}, -1)
	w.must(err)
	w.must(e.Pause(t.Context(), "alice", "b is ill"))
	e.stop()
	files, err := os.ReadDir(cfg.Dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("no file keeps it: %v %v", files, err)
	}
	w.b.Heal(id)
	e = w.start(cfg)
	e.Follow(lead(2))
	w.until(func() bool { return e.Status().Paused != nil })
	w.until(func() bool { files, err := os.ReadDir(cfg.Dir); return err == nil && len(files) == 0 })
}

// What the course does not allow is not written, from the moment when it is told.
func TestTheCourseStopsAllWriting(t *testing.T) {
	for name, change := range map[string]func(*Course){
		"not leading": func(c *Course) { c.Leading = false },
		"past the drain": func(c *Course) {
			c.Token.Epoch, c.Op, c.OpKind, c.Step = 2, "orders.example.-1.2", failover.Failover, failover.StepOpen
		},
		"invalidated":   func(c *Course) { c.State = failover.StandbyInvalidated },
		"other way":     func(c *Course) { c.Active, c.Standby, c.State = "b", "a", failover.StandbyInvalidated },
		"lease is over": func(c *Course) { c.Until = time.Now() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newRailway(t)
			w.table("orders")
			e := w.start(w.config())
			e.Follow(lead(1))
			e.untilPhase("orders", PhaseFollowing)
			c := lead(1)
			change(&c)
			e.Follow(c)
			n := w.b.writes()
			w.a.put(t, "orders", "v", 1)
			w.until(func() bool { return e.now() == nil })
			if m := w.b.writes(); m != n {
				t.Fatalf("%d writes after the course was told", m-n)
			}
			// And when it allows it again, nothing is missing.
			c = lead(2)
			e.Follow(c)
			w.until(func() bool { return w.same("orders") })
		})
	}
}

func TestAnOlderIncarnationStops(t *testing.T) {
	w := newRailway(t)
	w.table("orders")
	old := w.start(w.config())
	old.Follow(lead(1))
	old.untilPhase("orders", PhaseFollowing)
	young := w.start(w.config())
	young.Follow(lead(2))
	young.untilPhase("orders", PhaseFollowing)
	w.a.put(t, "orders", "v", 1)
	w.until(func() bool { return strings.Contains(old.Status().Doing, "superseded") })
	w.until(func() bool { return w.same("orders") })
}

func TestTablesComeAndGo(t *testing.T) {
	w := newRailway(t)
	w.table("orders")
	w.table("scratch_1")
	cfg := w.config()
	cfg.Except = []string{"scratch_*"}
	e := w.start(cfg)
	e.Follow(lead(1))
	e.untilPhase("orders", PhaseFollowing)
	w.table("later")
	e.untilPhase("later", PhaseFollowing)
	w.untilStandby(failover.StandbySynced)
	w.a.drop(t, "later")
	s := e.untilPhase("later", PhaseRefused)
	w.until(func() bool { s = e.table("later"); return strings.Contains(s.Why, "not at a any more") && s.Hint != "" })
	w.untilExposure(func(x failover.Exposure) bool { return x.Known })
	w.untilStandby(failover.StandbySynced)
	w.b.drop(t, "later")
	w.until(func() bool { return e.table("later").Table == "" })
	for _, s := range e.Status().Tables {
		if strings.HasPrefix(s.Table, Prefix) || strings.HasPrefix(s.Table, "scratch") {
			t.Errorf("%s is replicated", s.Table)
		}
	}
}

// A table that was dropped by mistake and made again is empty: its last copy is
// not thrown away without a word of a person.
func TestTheLastCopyIsNotThrownAway(t *testing.T) {
	w := newRailway(t)
	w.table("orders")
	w.a.put(t, "orders", "v", 1, 2, 3)
	e := w.start(w.config())
	e.Follow(lead(1))
	e.untilPhase("orders", PhaseFollowing)
	w.a.drop(t, "orders")
	w.until(func() bool { return strings.Contains(e.table("orders").Why, "any more") })
	w.a.make(t, plainTable("orders"))
	w.until(func() bool { return strings.Contains(e.table("orders").Why, "delete all of its rows at b") })
	if rows, err := w.b.rows(t.Context(), "orders"); err != nil || len(rows) != 3 {
		t.Fatalf("%v %v", rows, err)
	}
	w.must(e.Resync(t.Context(), "", "", "alice", "it was meant"))
	w.until(func() bool { return w.same("orders") })
}

// While the standby takes nothing, no moment is claimed that is after a row
// which is not there, and after a restart neither.
func TestExposureIsNeverOptimistic(t *testing.T) {
	w := newRailway(t)
	w.table("orders")
	w.table("idle")
	const delay = 30 * time.Millisecond
	w.a.StreamDelay(delay)
	cfg := w.config()
	cfg.Visibility = delay
	cfg.Discover = 5 * time.Millisecond
	e := w.start(cfg)
	e.Follow(lead(1))
	e.untilPhase("orders", PhaseFollowing)
	w.untilExposure(func(x failover.Exposure) bool { return x.Known })
	id, err := w.b.Fail(lab.Fault{Operation: "BatchWriteRow", Kind: lab.ErrorCode, Code: "OTSServerBusy"}, -1)
	w.must(err)
	w.a.put(t, "orders", "v", 1)
	acknowledged := time.Now()
	check := func(n int) {
		t.Helper()
		w.mu.Lock()
		from := len(w.exposure)
		w.mu.Unlock()
		told := func() (known []failover.Exposure) {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, x := range w.exposure[from:] {
				if x.Known {
					known = append(known, x)
				}
			}
			return known
		}
		w.until(func() bool { return len(told()) >= n })
		for _, x := range told() {
			if x.Sampled.Add(-x.Lag).After(acknowledged) {
				t.Fatalf("%s before %s, but a row of %s is not there", x.Lag, x.Sampled, acknowledged)
			}
		}
	}
	check(4)
	e.stop()
	e = w.start(cfg)
	e.Follow(lead(2))
	check(4)
	w.b.Heal(id)
	w.until(func() bool { return w.same("orders") })
	w.untilExposure(func(x failover.Exposure) bool { return x.Known && x.Sampled.Add(-x.Lag).After(acknowledged) })
}

func TestRefusedRowsCount(t *testing.T) {
	w := newRailway(t)
	w.table("orders")
	e := w.start(w.config())
	e.Follow(lead(1))
	e.untilPhase("orders", PhaseFollowing)
	narrow := int64(86400)
	w.must(w.b.c.UpdateTable(t.Context(), "orders", ots.TableChange{Deviation: &narrow}))
	w.untilStandby(failover.StandbyUnprotected)
	old := time.Now().Add(-48 * time.Hour).UnixMilli()
	res, err := w.a.c.Write(t.Context(), []ots.Mutation{{Table: "orders", Action: ots.PutRow, Key: keyOf(1), Cells: []ots.Cell{{Name: "v", Value: "old", Version: old}}}})
	if err != nil || res[0].Err != nil {
		t.Fatal(err, res)
	}
	w.until(func() bool { return e.Status().Refused == 1 })
	w.until(func() bool { x := e.Status().Exposure; return x.Rows >= 1 && strings.Contains(x.Why, "refused") })
	letters, _, err := e.DeadLetters(t.Context(), "orders", "", 10)
	if err != nil || len(letters) != 1 || letters[0].Cause == "" {
		t.Fatalf("%+v %v", letters, err)
	}
	w.must(e.AcceptLetter(t.Context(), letters[0].ID, "alice", "it is of no use"))
	w.until(func() bool { x := e.Status().Exposure; return x.Known && !strings.Contains(x.Why, "refused") })
	if letters, _, err := e.DeadLetters(t.Context(), "", "", 10); err != nil || len(letters) != 0 {
		t.Fatalf("%+v %v", letters, err)
	}
}
