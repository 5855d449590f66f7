package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Story is one fault, or one command, and what must come of it.
type Story struct {
	Name  string
	Says  string // for people
	Moves bool   // the name must move, exactly once; else it must not move at all
	// Replicated stories are told in a lab whose rows are carried to the standby,
	// the others in one where they are not: after a failover such a standby is
	// closed until a person has it filled anew.
	Replicated bool
	pins       bool // the connections of a client to the old cluster live on: the client that writes stays until it is built anew
	play       func(context.Context, *stage) error
	lacks      func(*World) string // why it cannot be told in that world; nil for a story that always can
}

// Stories returns every story of a kind of clusters, in the order of the demo.
func Stories(k Kind) []Story { return backends[k].stories() }

// webStories are those of web servers.
func webStories() []Story {
	return []Story{
		{Name: "kill", Says: "the active cluster is killed with SIGKILL", Moves: true, play: func(ctx context.Context, st *stage) error {
			return st.moves(ctx, func() error { return st.lab.Kill(st.from) })
		}},
		{Name: "stall", Says: "the active cluster is stopped with SIGSTOP: it accepts and never answers", Moves: true, play: func(ctx context.Context, st *stage) error {
			return st.moves(ctx, func() error { return st.lab.Stall(st.from) })
		}},
		{Name: "fast-evidence", Says: "the same stall found by fast evidence (a request on a held connection stays unanswered), and without it", Moves: true, play: playFastEvidence},
		{Name: "both-down", Says: "the standby dies, then the active one: there is nowhere to go", Moves: false, play: playBothDown},
		{Name: "flap", Says: "the active cluster's port closes and opens every 400 ms", Moves: true, play: playFlap},
		{Name: "wrong-identity", Says: "the active cluster answers as if it were the other one", Moves: true, play: func(ctx context.Context, st *stage) error {
			return st.moves(ctx, func() error { return st.lab.Set(ctx, st.from, Knobs{Identity: st.to}) })
		}},
		{Name: "switchover", Says: "a person moves the name, both clusters are alive", Moves: true, play: playSwitchover},
		{Name: "switch-back", Says: "and back again", Moves: true, play: playSwitchover},
		{Name: "controller-stalled", Says: "the controller is stopped with SIGSTOP for 5 s: meanwhile the active cluster dies and comes back", Moves: false, play: playControllerStalled},
		{Name: "controller-killed", Says: "the controller is killed with SIGKILL in the middle of a failover, and started again", Moves: true, play: playControllerKilled},
		{Name: "controller-dead", Says: "the controller is dead for 3 s: its secondaries answer throughout, and follow its next move", Moves: true, play: playControllerDead, lacks: noSecondary},
	}
}

// FindStory returns the story of that name.
func FindStory(k Kind, name string) (Story, error) {
	var names []string
	for _, s := range Stories(k) {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Story{}, fmt.Errorf("no story %q of %s clusters; there are %v", name, k, names)
}

// moves makes a fault, waits for the recorder to see the other target, and
// then for the operation to end. What does not come is a broken promise.
func (st *stage) moves(ctx context.Context, fault func() error) error {
	st.fault = time.Now()
	if err := fault(); err != nil {
		return err
	}
	a, err := st.arrive(ctx, st.fault)
	if err != nil {
		return err
	}
	st.answered = a.Received
	return st.settled(ctx)
}

// arrive waits for an answer with the other target, received since then.
func (st *stage) arrive(ctx context.Context, since time.Time) (Answer, error) {
	bctx, cancel := context.WithTimeoutCause(ctx, Bound, ErrNotReady)
	defer cancel()
	site, _ := st.lab.World.Cluster(st.to)
	a, err := st.rec.Until(bctx, since, func(a Answer) bool { return a.Target == site.Target })
	if err != nil && ctx.Err() == nil {
		st.broken("the name did not show %s within %s", site.Target, Bound)
		return a, nil
	}
	return a, err
}

// settled waits until no operation is in hand and the other cluster is active.
func (st *stage) settled(ctx context.Context) error {
	bctx, cancel := context.WithTimeoutCause(ctx, Bound, ErrNotReady)
	defer cancel()
	err := st.lab.AwaitView(bctx, st.instance, "to settle", func(v View) string {
		switch {
		case v.Op != nil:
			return "operation at step " + v.Op.Step
		case v.Active != st.to:
			return v.Active + " is active"
		}
		return ""
	})
	if err != nil && errors.Is(err, ErrNotReady) && ctx.Err() == nil {
		st.broken("%v", err)
		return nil
	}
	return err
}

// hold watches for a while that nothing begins.
func (st *stage) hold(ctx context.Context, d time.Duration) error {
	return pause(ctx, d)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func playBothDown(ctx context.Context, st *stage) error {
	if err := st.lab.Kill(st.to); err != nil {
		return err
	}
	// Were both killed at once, the standby could still count as up for the
	// moment of one round, and a move to it would be no mistake of the
	// controller. So: first the quorum sees the standby down.
	bctx, cancel := context.WithTimeoutCause(ctx, Bound, ErrNotReady)
	defer cancel()
	if err := st.lab.AwaitView(bctx, st.instance, "to see the standby down", func(v View) string {
		if v.Verdict(st.to) == "down" {
			return ""
		}
		return "it is " + v.Verdict(st.to)
	}); err != nil {
		return err
	}
	st.fault = time.Now()
	if err := st.lab.Kill(st.from); err != nil {
		return err
	}
	return st.hold(ctx, 3*time.Second)
}

// playControllerStalled lets reports of an outage queue up in front of a
// controller that stands still. When it goes on they are old news.
func playControllerStalled(ctx context.Context, st *stage) error {
	if err := st.lab.Stall(Controller); err != nil {
		return err
	}
	for _, do := range []func() error{
		func() error { return pause(ctx, 500*time.Millisecond) },
		func() error { return st.lab.Kill(st.from) },
		func() error { return pause(ctx, 2500*time.Millisecond) },
		func() error { return st.lab.Heal(ctx, st.from) },
		func() error { return pause(ctx, 2*time.Second) },
	} {
		if err := do(); err != nil {
			return errors.Join(err, st.lab.family.Resume(Controller))
		}
	}
	st.fault = time.Now()
	if err := st.lab.family.Resume(Controller); err != nil {
		return err
	}
	return st.hold(ctx, 3*time.Second)
}

func playFlap(ctx context.Context, st *stage) error {
	if err := st.moves(ctx, func() error { return st.lab.Set(ctx, st.from, Knobs{FlapMS: 400}) }); err != nil {
		return err
	}
	// It goes on flapping past the cool-down: the name must not come back.
	return st.hold(ctx, 6*time.Second)
}

func playSwitchover(ctx context.Context, st *stage) error {
	// A single vantage may still see one of them come up: a person, too, would
	// be refused, and ask again.
	end := time.Now().Add(Bound)
	return st.moves(ctx, func() error {
		for {
			st.fault = time.Now()
			_, err := st.lab.Tool.Do(ctx, "switchover", st.instance, "--to", st.to, "--yes")
			if err == nil || !strings.Contains(err.Error(), "refused by") || time.Now().After(end) {
				return err
			}
			if err := pause(ctx, poll); err != nil {
				return err
			}
		}
	})
}

func playControllerKilled(ctx context.Context, st *stage) error {
	st.fault = time.Now()
	if err := st.lab.Kill(st.from); err != nil {
		return err
	}
	a, err := st.arrive(ctx, st.fault)
	if err != nil {
		return err
	}
	st.answered = a.Received
	// The new value is answered, but not yet verified: now.
	if err := st.lab.Kill(Controller); err != nil {
		return err
	}
	again := time.Now()
	if err := st.lab.Heal(ctx, Controller); errors.Is(err, ErrNotReady) {
		st.broken("after its start: %v", err)
	} else if err != nil {
		return err
	}
	if _, err := st.arrive(ctx, again); err != nil {
		return err
	}
	if err := st.settled(ctx); err != nil {
		return err
	}
	// A story that missed the middle would have shown nothing.
	v, err := st.lab.Tool.View(ctx, st.instance)
	switch {
	case err != nil || v.LastOp == nil:
	case v.LastOp.At.Before(again):
		st.broken("the operation had ended before the controller was killed")
	default:
		st.measure(figureResume, v.LastOp.Op.StepAt["settle"].Sub(again).Seconds()/fastRound.Seconds())
	}
	return err
}
