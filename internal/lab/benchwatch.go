package lab

import (
	"context"
	"fmt"
)

// watchModes are what pointsman can hold open beside its probes.
var watchModes = []string{"off", "hold", "request"}

// watchFigure names what was measured in one mode.
func watchFigure(mode, story string) string { return fmt.Sprintf("watch_%s_%s_ms", mode, story) }

// declareWatch lists the figures of the modes, side by side.
func declareWatch() []Figure {
	var fs []Figure
	for _, story := range []string{"kill", "stall"} {
		for _, mode := range watchModes {
			fs = append(fs, Figure{Name: watchFigure(mode, story), What: fmt.Sprintf("%s → new answer, watch: %s", story, mode), Unit: "ms"})
		}
	}
	return fs
}

// watch tells the same stories in every mode, one mode after the other and
// again, so that what else the machine does meets all of them alike.
func (b *bench) watch(ctx context.Context) error {
	stories, err := pick("kill", "stall")
	if err != nil {
		return err
	}
	once := *b
	once.cfg.Rounds = 1
	for range b.cfg.Rounds {
		for _, mode := range watchModes {
			err := b.in(ctx, Tune{Watch: mode}, func(ctx context.Context, l *Lab) error {
				took, err := syncTime(l.World.Dir)
				if err != nil {
					return err
				}
				b.figures.add(figureSync, milliseconds(took))
				return once.stories(ctx, l, stories, map[string]string{"kill": watchFigure(mode, "kill"), "stall": watchFigure(mode, "stall")})
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
