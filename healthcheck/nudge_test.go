package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

// nudgeAt nudges cluster a at those moments.
func (w *world) nudgeAt(at ...time.Duration) {
	w.begin = func(p *Prober) {
		for _, d := range at {
			time.AfterFunc(d, func() { p.nudges <- nudge{"orders", "a", LossClosed, time.Now()} })
		}
	}
}

var errRefused = fmt.Errorf("connect: %w", syscall.ECONNREFUSED)

// A lost connection costs one probe when the target is well, and nothing of
// its schedule or its vote moves.
func TestANudgeThatPassesCostsOneProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		w := world{answer: healthy}
		w.nudgeAt(first + 4300*time.Millisecond)
		p := w.run(t, Config{Targets: ts}, first+6500*time.Millisecond)
		check(t, "probes", w.times("a")[3:], []time.Duration{
			first + 3*time.Second, first + 4*time.Second, first + 4300*time.Millisecond, first + 5*time.Second, first + 6*time.Second,
		})
		check(t, "votes", w.votes("a"), []string{"unknown at " + first.String(), "up at " + (first + time.Second).String()})
		check(t, "nudges", p.Stats().Nudges, map[NudgeEnd]uint64{NudgePassed: 1})
	})
}

// What the other side says itself is asked again within milliseconds, but
// only where no ride-out waits anyway.
func TestRefusalsAfterANudgeAreConfirmedQuickly(t *testing.T) {
	for name, c := range map[string]struct {
		rideOut time.Duration
		err     error
		gap     time.Duration
	}{
		"refused":             {0, errRefused, quick},
		"reset":               {0, fmt.Errorf("read: %w", syscall.ECONNRESET), quick},
		"a wrong answer":      {0, errors.New("status 503"), 100 * time.Millisecond},
		"refused, riding out": {3 * time.Second, errRefused, 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ts, first := single()
				ts[0].RideOut = c.rideOut
				killed := first + 4300*time.Millisecond
				w := world{answer: func(_ context.Context, _ Target, at time.Duration) error {
					if at >= killed {
						return c.err
					}
					return nil
				}}
				w.nudgeAt(killed)
				p := w.run(t, Config{Targets: ts}, killed+650*time.Millisecond)
				check(t, "probes", w.times("a")[5:8], []time.Duration{killed, killed + c.gap, killed + 2*c.gap})
				check(t, "vote", w.votes("a")[2:], []string{"down at " + (killed + 2*c.gap).String()})
				check(t, "nudges", p.Stats().Nudges, map[NudgeEnd]uint64{NudgeConfirmed: 1})
			})
		})
	}
}

// Without a nudge a refusal waits for the burst as ever.
func TestRefusalsWithoutANudgeAreNotHurried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		ts[0].RideOut = 0
		w := world{answer: func(_ context.Context, _ Target, at time.Duration) error {
			if at >= 4*time.Second {
				return errRefused
			}
			return nil
		}}
		w.run(t, Config{Targets: ts}, first+4500*time.Millisecond)
		check(t, "probes", w.times("a")[4:7], []time.Duration{first + 4*time.Second, first + 4100*time.Millisecond, first + 4200*time.Millisecond})
	})
}

// After a nudge the probes of a silent target overlap from the first on, each
// with its whole deadline, and never more than the vote wants.
func TestANudgeMakesASilentTargetCostOneTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		stalled := first + 4300*time.Millisecond
		w := world{answer: func(ctx context.Context, tg Target, at time.Duration) error {
			if at < stalled {
				return nil
			}
			return silent(ctx, tg, at)
		}}
		w.nudgeAt(stalled)
		w.run(t, Config{Targets: ts}, stalled+1500*time.Millisecond)
		check(t, "probes", w.times("a")[5:8], []time.Duration{stalled, stalled + 100*time.Millisecond, stalled + 200*time.Millisecond})
		check(t, "vote", w.votes("a")[2:], []string{"down at " + (stalled + 900*time.Millisecond).String()})
		check(t, "most in flight", w.most, 3)
		for _, s := range w.probes {
			if s.left != 700*time.Millisecond {
				t.Errorf("the probe at %s had %s", s.at, s.left)
			}
		}
		if down := w.reports[len(w.reports)-1]; down.at-*down.Clusters[0].FirstMiss != stalled {
			t.Errorf("first miss sent at %s", down.at-*down.Clusters[0].FirstMiss)
		}
	})
}

// A probe that was under way when the connection was lost neither ends the
// nudge by its answer nor delays the fresh one.
func TestAnAnswerFromBeforeANudgeDoesNotEndIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		killed := first + 4300*time.Millisecond
		var n atomic.Int32
		w := world{answer: func(context.Context, Target, time.Duration) error {
			switch n := n.Add(1); {
			case n == 5:
				time.Sleep(400 * time.Millisecond) // from before, answered after
				return nil
			case n > 5:
				return errDead
			}
			return nil
		}}
		w.nudgeAt(killed)
		w.run(t, Config{Targets: ts}, killed+600*time.Millisecond)
		// The answer of the old probe stops the hurry of what was sent before it was
		// known, as in any burst; the misses after it count from the first.
		check(t, "probes", w.times("a")[4:6], []time.Duration{first + 4*time.Second, killed})
		check(t, "vote", w.votes("a")[2:], []string{"down at " + (killed + 200*time.Millisecond).String()})
	})
}

// Who reads why a vote turned down sees what started the probes, and only of
// the vote that a nudge began.
func TestADownVoteTellsWhichNudgeBeganIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		killed := first + 4300*time.Millisecond
		w := world{answer: func(_ context.Context, _ Target, at time.Duration) error {
			if at >= killed && at < 8*time.Second || at > 14*time.Second {
				return errDead
			}
			return nil
		}}
		w.nudgeAt(killed)
		w.run(t, Config{Targets: ts}, first+18*time.Second)
		var reasons []string
		for _, r := range w.reports {
			if c := r.Clusters[0]; c.Vote == failover.Down && c.Misses > 0 && (len(reasons) == 0 || reasons[len(reasons)-1] != c.Reason) {
				reasons = append(reasons, c.Reason)
			}
		}
		check(t, "reasons", reasons, []string{errDead.Error() + "; seen early by a held connection (closed)", errDead.Error()})
	})
}

// A process that stood still for a moment makes up for a probe of a burst, or
// one that confirms, at once. When it stands still again and again it waits for
// its turn, and nothing of that is ever a miss.
func TestALateProbeOfABurstIsMadeUpForAtOnce(t *testing.T) {
	late := Own(fmt.Errorf("%w: stood still", ErrLate))
	for name, c := range map[string]struct {
		late  map[int]bool // of the probes since the fault
		err   error
		sent  []time.Duration // after the first
		after time.Duration   // the vote turned down
	}{
		"never":               {nil, late, []time.Duration{100, 200}, 200},
		"once":                {map[int]bool{1: true}, late, []time.Duration{100, 200, 300}, 300},
		"the first":           {map[int]bool{0: true}, late, []time.Duration{100, 200, 300}, 300},
		"twice":               {map[int]bool{1: true, 2: true}, late, []time.Duration{100, 200, 300, 400}, 400},
		"again and again":     {map[int]bool{1: true, 2: true, 3: true}, late, []time.Duration{100, 200, 300, 700, 800}, 800},
		"a fault of our kind": {map[int]bool{1: true}, Own(errors.New("too many open files")), []time.Duration{100, 700, 800}, 800},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ts, first := single()
				killed := first + 4300*time.Millisecond
				n := -1
				w := world{answer: func(_ context.Context, _ Target, at time.Duration) error {
					if at < killed {
						return nil
					}
					if n++; c.late[n] {
						return c.err
					}
					return errDead
				}}
				w.nudgeAt(killed)
				w.run(t, Config{Targets: ts}, killed+950*time.Millisecond)
				var want []time.Duration
				for _, d := range c.sent {
					want = append(want, killed+d*time.Millisecond)
				}
				check(t, "probes", w.times("a")[6:6+len(want)], want)
				votes := w.votes("a")
				check(t, "vote", votes[len(votes)-1], "down at "+(killed+c.after*time.Millisecond).String())
			})
		})
	}
}

// However often connections are lost, extra probes are bounded per target.
func TestNudgesOfATargetAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		w := world{answer: healthy}
		var at []time.Duration
		for d := time.Duration(0); d < 20*time.Second; d += 10 * time.Millisecond {
			at = append(at, first+d+time.Microsecond)
		}
		w.nudgeAt(at...)
		p := w.run(t, Config{Targets: ts}, first+20*time.Second)
		if extra := len(w.times("a")) - 20; extra > 20+targetNudges {
			t.Errorf("%d extra probes in 20 rounds", extra)
		}
		if p.Stats().Nudges[NudgeLimited] < 1900 {
			t.Errorf("nudges: %v", p.Stats().Nudges)
		}
		check(t, "votes", len(w.votes("a")), 2)
	})
}

// A blip of our own network that takes the connections of every target at
// once is no storm of probes.
func TestNudgesOfAllTargetsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ts []Target
		for i := range 200 {
			tg := pair()[0]
			tg.Instance = failover.InstanceName(fmt.Sprintf("i%d", i))
			ts = append(ts, tg)
		}
		w := world{answer: healthy}
		w.begin = func(p *Prober) {
			time.AfterFunc(5*time.Second, func() {
				for _, tg := range ts {
					p.nudges <- nudge{tg.Instance, tg.Cluster, LossReset, time.Now()}
				}
			})
		}
		p := w.run(t, Config{Targets: ts}, 6*time.Second)
		check(t, "nudges", p.Stats().Nudges, map[NudgeEnd]uint64{NudgePassed: allNudges, NudgeLimited: 200 - allNudges})
		for _, r := range w.reports {
			if r.Sick != "" {
				t.Fatalf("sick at %s: %s", r.at, r.Sick)
			}
		}
	})
}

// Nothing is hurried for a target whose newest probe met a fault of our own,
// or that is down, or that is gone.
func TestANudgeWithoutUseIsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		w := world{answer: func(_ context.Context, _ Target, at time.Duration) error {
			switch {
			case at < 3*time.Second:
				return nil
			case at < 5*time.Second:
				return Own(errors.New("too many open files"))
			}
			return errDead
		}}
		w.begin = func(p *Prober) {
			for _, d := range []time.Duration{4500 * time.Millisecond, 9 * time.Second} {
				time.AfterFunc(d, func() { p.nudges <- nudge{"orders", "a", LossClosed, time.Now()} })
			}
			time.AfterFunc(2*time.Second, func() { p.nudges <- nudge{"orders", "gone", LossClosed, time.Now()} })
		}
		p := w.run(t, Config{Targets: ts}, first+10*time.Second)
		check(t, "nudges", p.Stats().Nudges, map[NudgeEnd]uint64{NudgeIdle: 2})
	})
}
