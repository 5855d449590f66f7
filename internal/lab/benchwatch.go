package lab

import (
	"context"
	"fmt"
	"time"
)

// watchModes are what pointsman can hold open beside its probes.
var watchModes = []string{"off", "hold", "request"}

// watchFigure names what was measured in one mode, without a ride-out and
// beyond one.
func watchFigure(mode, story string, ridden bool) string {
	if ridden {
		return fmt.Sprintf("watch_%s_%s_beyond_ms", mode, story)
	}
	return fmt.Sprintf("watch_%s_%s_ms", mode, story)
}

// noticed says whether a watch in that mode sees such a fault.
func noticed(mode, story string) bool {
	return mode == "request" || mode == "hold" && story == "kill"
}

// watchGoal is the goal of one row, in words. A watch that sees a fault saves
// the round for which a probe alone would have to wait.
func watchGoal(mode, story string, ridden bool) string {
	const beyond = 300 * time.Millisecond
	switch {
	case ridden && noticed(mode, story):
		return fmt.Sprintf("< %d", beyond.Milliseconds())
	case ridden:
		return fmt.Sprintf("< %d (a round and %d)", (fastRound + beyond).Milliseconds(), beyond.Milliseconds())
	case !noticed(mode, story):
		return ""
	case story == "kill":
		return "< 20, never 100, and a durable write"
	}
	return "< 500, never 800"
}

// declareWatch lists the figures of the modes, side by side.
func declareWatch(rideOut time.Duration) []Figure {
	var fs []Figure
	for _, ridden := range []bool{false, true} {
		for _, story := range []string{"kill", "stall"} {
			for _, mode := range watchModes {
				what := fmt.Sprintf("%s → new answer, watch: %s, no ride-out", story, mode)
				if ridden {
					what = fmt.Sprintf("%s → new answer, watch: %s, beyond a ride-out of %s", story, mode, rideOut)
				}
				fs = append(fs, Figure{Name: watchFigure(mode, story, ridden), What: what, Unit: "ms", Goal: watchGoal(mode, story, ridden)})
			}
		}
	}
	return fs
}

// watch tells the same stories in every mode, without a ride-out and with one,
// one after the other and again, so that what else the machine does meets all
// of them alike. Every round has fresh labs.
func (b *bench) watch(ctx context.Context) error {
	stories, err := pick("kill", "stall")
	if err != nil {
		return err
	}
	once := *b
	once.cfg.Rounds = 1
	for round := range b.cfg.Rounds {
		for _, rideOut := range []time.Duration{0, b.cfg.RideOut} {
			err := b.in(ctx, Tune{RideOut: rideOut}, func(ctx context.Context, l *Lab) error {
				for i := range watchModes {
					mode := watchModes[(i+round)%len(watchModes)] // none is always the first in its lab
					b.cfg.Say(fmt.Sprintf("watch: %s with a ride-out of %s", mode, rideOut))
					if err := l.Rewatch(ctx, mode); err != nil {
						return err
					}
					if err := b.syncs(l.World.Dir, 3); err != nil {
						return err
					}
					ridden := rideOut > 0
					err := once.stories(ctx, l, stories, map[string]string{"kill": watchFigure(mode, "kill", ridden), "stall": watchFigure(mode, "stall", ridden)})
					if err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// syncs measures the disk at hand some times.
func (b *bench) syncs(dir string, times int) error {
	for range times {
		took, err := syncTime(dir)
		if err != nil {
			return err
		}
		b.figures.add(figureSync, milliseconds(took))
	}
	return nil
}
