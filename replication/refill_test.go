package replication

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"pointsman/internal/failover"
	lab "pointsman/internal/lab/tablestore"
)

// refilling is the course after a second failover, back to a: somebody gave up
// what b holds alone.
func refilling() Course {
	c := lead(1)
	c.Token.Epoch, c.State = 3, failover.StandbyRefilling
	return c
}

// TestARefillIsNotSyncedBeforeItIsCopied: that a table was followed to b once,
// before b was active, does not make b complete.
func TestARefillIsNotSyncedBeforeItIsCopied(t *testing.T) {
	w := newRailway(t)
	w.table("orders")
	cfg := w.config()
	cfg.Timeout *= 20
	e := w.following(cfg, "orders")
	w.a.put(t, "orders", "v", 1, 2)
	e.Follow(operation(failover.Failover, failover.StepDrain))
	_, err := e.Drain(t.Context(), orderOf(failover.Failover, cfg.Timeout))
	w.must(err)
	e.Follow(settledTo(failover.Failover))
	w.b.put(t, "orders", "of b alone", 9)
	held, err := w.a.Fail(lab.Fault{Kind: lab.ErrorCode, Code: "OTSServerUnavailable", Operation: "GetRange"}, -1)
	w.must(err)
	w.hear(func() { w.standby = nil })
	e.Follow(refilling())
	e.untilPhase("orders", PhaseGap)
	switch now := e.now().sum(time.Now()).standby; now.State {
	case failover.StandbyRefilling, failover.StandbyUnprotected: // as soon as the refusal is known
	default:
		t.Errorf("before it is copied the word on it is %+v", now)
	}
	w.a.Heal(held)
	w.untilStandby(failover.StandbySynced)
	if !w.same("orders") {
		t.Error("it is synced, and the sides differ")
	}
}

// TestPositionsOfBeforeAFailoverDoNotCount: the controller died before it could
// write the cut down, and b was active since.
func TestPositionsOfBeforeAFailoverDoNotCount(t *testing.T) {
	w := newRailway(t)
	w.table("orders")
	cfg := w.config()
	e := w.following(cfg, "orders")
	w.a.put(t, "orders", "v", 1, 2)
	w.until(func() bool { return w.same("orders") })
	w.hear(func() { w.die = func(string) error { return errors.New("killed") } })
	<-e.done
	w.hear(func() { w.die, w.standby = nil, nil })
	w.b.put(t, "orders", "of b alone", 9)

	cfg.Dir = t.TempDir()
	e = w.start(cfg)
	e.Follow(refilling())
	w.untilStandby(failover.StandbySynced)
	if !w.same("orders") {
		t.Error("it is synced, and the sides differ")
	}
}

// TestAFirstCopyThatMeetsAGapWasNeverComplete: a gap leaves a standby as it was.
func TestAFirstCopyThatMeetsAGapWasNeverComplete(t *testing.T) {
	r := runner{table: "orders", row: saved{Phase: PhaseGap, Why: "trimmed", Incomplete: true}}
	if state, why := r.standing(); state == failover.StandbySynced || why == "" {
		t.Errorf("it is %s: %s", state, why)
	}
	r.row.Incomplete = false
	if state, _ := r.standing(); state != failover.StandbySynced {
		t.Errorf("one that was complete is %s", state)
	}
}

// TestATableThatWasLeftOutIsNotFollowedFromBefore: while it was, b was active and
// got rows that nobody brought to a. A copy would delete them.
func TestATableThatWasLeftOutIsNotFollowedFromBefore(t *testing.T) {
	w := newRailway(t)
	w.table("orders")
	w.table("items")
	cfg := w.config()
	e := w.following(cfg, "orders", "items")
	w.a.put(t, "items", "v", 1)
	w.until(func() bool { return w.same("items") })
	e.stop()

	cfg.Except = []string{"items"}
	e = w.following(cfg, "orders")
	e.Follow(operation(failover.Switchover, failover.StepDrain))
	_, err := e.Drain(t.Context(), orderOf(failover.Switchover, time.Minute))
	w.must(err)
	e.Follow(settledTo(failover.Switchover))
	e.untilPhase("orders", PhaseFollowing)
	w.b.put(t, "items", "of b alone", 9)
	back := settledTo(failover.Switchover)
	back.Token.Epoch, back.Op, back.OpKind, back.Step = 3, "orders.example.-1.3", failover.Switchover, failover.StepDrain
	e.Follow(back)
	now := time.Now()
	_, err = e.Drain(t.Context(), failover.Drain{Op: back.Op, Kind: back.OpKind, From: "b", To: "a", Until: now, Deadline: now.Add(time.Minute)})
	w.must(err)
	e.stop()

	cfg.Except = nil
	e = w.start(cfg)
	home := lead(1)
	home.Token.Epoch, home.State = 3, failover.StandbySynced
	e.Follow(home)
	w.until(func() bool { p := e.table("items"); return p.Phase == PhaseFollowing || p.Hint != "" })
	if p := e.table("items"); p.Phase != PhaseWaiting {
		t.Errorf("it is in %+v", p)
	}
	if st := e.untilPhase("orders", PhaseFollowing); st.Copy != nil {
		t.Errorf("the other table: %+v", st)
	}
}

// TestAClockThatWasSetBackClaimsNothing: saved moments that are yet to come would
// make the exposure nothing until the next read, and that may never be.
func TestAClockThatWasSetBackClaimsNothing(t *testing.T) {
	now := time.Now()
	r := newRunner(&session{log: slog.New(slog.DiscardHandler)}, "orders", saved{Phase: PhaseFollowing, Positions: []position{
		{Stream: "s", Shard: "1", Iterator: "i", Upto: now.Add(time.Hour), Proved: now.Add(time.Hour)},
	}})
	if b := boundOf("orders", r.track.mark(now), 0, time.Time{}, now); b.known {
		t.Errorf("everything before %s is said to be at the standby, and it is %s", b.upto, now)
	}
}
