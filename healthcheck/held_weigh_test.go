package healthcheck

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// occupy lets the only target have a watch whose connection is held from then
// on, without a socket.
func occupy(p *Prober, from time.Duration) *held {
	w := p.now.instances[0].watches[0]
	w.held = &held{invited: make(chan struct{}, 1), slot: slot{grace: w.target.Burst}}
	time.AfterFunc(from, func() { w.held.slot.take(func() {}) })
	return w.held
}

// A miss while we hold a connection makes us let go and waits for a probe that
// met a free place. When that is answered, it never happened, even where one
// miss is enough for a vote.
func TestAMissWhileAConnectionIsHeldNeedsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		ts[0].Count.Fall = 1
		n := 0
		w := world{answer: func(context.Context, Target, time.Duration) error {
			if n++; n == 5 {
				return errDead
			}
			return nil
		}}
		var h *held
		w.begin = func(p *Prober) { h = occupy(p, 3500*time.Millisecond) }
		p := w.run(t, Config{Targets: ts}, first+5500*time.Millisecond)
		check(t, "probes", w.times("a")[3:7], []time.Duration{first + 3*time.Second, first + 4*time.Second, first + 4100*time.Millisecond, first + 5*time.Second})
		check(t, "votes", w.votes("a")[1:], []string{"up at " + (first + time.Second).String()})
		check(t, "released, blamed, set aside", []any{h.slot.released(), h.slot.blamed(), p.Stats().Held.SetAside}, "[true true 1]")
	})
}

// When it misses as well, both count, the first with the time of its sending:
// a real fault costs no time.
func TestADoubtfulMissCountsOnceAnotherConfirmsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		fault := first + 4*time.Second
		w := world{answer: func(ctx context.Context, tg Target, at time.Duration) error {
			if at < fault {
				return nil
			}
			return silent(ctx, tg, at)
		}}
		w.begin = func(p *Prober) { occupy(p, 3500*time.Millisecond) }
		p := w.run(t, Config{Targets: ts}, fault+2*time.Second)
		check(t, "probes", w.times("a")[4:7], []time.Duration{fault, fault + 800*time.Millisecond, fault + 900*time.Millisecond})
		last := w.reports[len(w.reports)-1]
		check(t, "first miss", last.at-*last.Clusters[0].FirstMiss, fault)
		check(t, "set aside", p.Stats().Held.SetAside, 0)
	})
}

// A watch that is of no use waits longer and longer, then rests; one whose
// connections live long is never kept waiting.
func TestThePaceOfTheWatch(t *testing.T) {
	p, now := pace{round: time.Second}, time.Unix(1000, 0)
	var waits []time.Duration
	for range 10 {
		p.strike(now, time.Millisecond, "ends it")
		waits = append(waits, p.until.Sub(now))
		now = later(now, p.until)
	}
	check(t, "waits", waits, []time.Duration{0, 0, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute})
	check(t, "why", p.why, "ends it")
	for range 20 {
		p.rest(now, "ends it")
	}
	check(t, "longest", p.until.Sub(now), longestRest)
	p.strike(now, calmRounds*time.Second, "ends it")
	check(t, "after a long life", []any{p.until.Sub(now), p.why == ""}, "[0s true]")
}

// Only what was no fault of the cluster makes a watch more patient and rarer.
func TestAWatchLearnsFromWhatBecameOfItsNudges(t *testing.T) {
	for end, want := range map[NudgeEnd]struct {
		patience time.Duration
		strikes  int
	}{
		NudgePassed:    {2 * askLeast, 1},
		NudgeConfirmed: {askLeast, 0},
		NudgeOwn:       {askLeast, 1},
	} {
		h := &held{pace: pace{round: time.Second}, patience: askLeast, count: func(f func(*HeldStats)) { f(&HeldStats{}) }, nudge: func(context.Context, Loss) {}}
		h.after(t.Context(), lossError{LossSilent, errDead}, time.Millisecond)
		h.became.Store(&end)
		h.learn()
		if h.patience != want.patience || h.pace.strikes != want.strikes {
			t.Errorf("%s: patience %s after %d strikes", end, h.patience, h.pace.strikes)
		}
		h.learn() // once
		if h.patience != want.patience {
			t.Errorf("%s: patience %s after it was learnt twice", end, h.patience)
		}
	}
}
