package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"time"
)

// The load that the authority of a team is asked for on a busy day, and ten
// times that, in questions a second.
const normalLoad, floodLoad = 2_000, 20_000

// errFlooded ends the generator once the story in its flood has been told.
var errFlooded = errors.New("the story has been told")

// flood kills the active cluster under the normal load and under ten times
// that, in turn, so that what else runs on the machine meets both alike.
func (b *bench) flood(ctx context.Context, l *Lab) error {
	stories, err := pick("kill")
	if err != nil {
		return err
	}
	for range b.cfg.Rounds {
		var took [2]float64
		for i, load := range []int{normalLoad, floodLoad} {
			b.cfg.Say(fmt.Sprintf("a kill under %d questions a second", load))
			report, err := b.flooded(ctx, l, stories, load)
			if errors.Is(err, errNoGenerator) {
				for _, name := range []string{figureNormalKill, figureFloodKill, figureFloodRatio} {
					b.figures.lack(name, err)
				}
				return nil
			}
			b.figures.OK = b.figures.OK && report.OK
			b.figures.Stories = append(b.figures.Stories, report.Stories...)
			if err != nil {
				return err
			}
			for _, r := range report.Stories {
				if r.AnsweredMS != nil {
					took[i] = *r.AnsweredMS
					b.figures.add([]string{figureNormalKill, figureFloodKill}[i], took[i])
				}
			}
		}
		if took[0] > 0 && took[1] > 0 {
			b.figures.add(figureFloodRatio, took[1]/took[0])
		}
	}
	return nil
}

// flooded tells stories while a generator asks the authority at a steady rate.
func (b *bench) flooded(ctx context.Context, l *Lab, stories []Story, load int) (Report, error) {
	gctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	asking := make(chan error, 1)
	if _, err := exec.LookPath("dnsperf"); err != nil {
		return Report{OK: true}, errNoGenerator
	}
	go func() { asking <- generate(gctx, l.World.DNS, l.World.Dir, l.World.Instances[0].Names[0], load) }()
	report, err := Demo(ctx, l, DemoConfig{Stories: stories, Rounds: 1, Begin: b.cfg.Begin, End: b.cfg.End})
	cancel(errFlooded)
	return report, errors.Join(err, <-asking)
}

// generate asks at a steady rate until the context ends. A generator that ends
// by itself is an error: there was no flood.
func generate(ctx context.Context, server netip.AddrPort, dir, name string, load int) error {
	file, err := questionFile(dir, name)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "dnsperf", "-s", server.Addr().String(), "-p", strconv.Itoa(int(server.Port())),
		"-d", file, "-l", "600", "-c", "4", "-q", "2000", "-Q", strconv.Itoa(load), "-t", "1")
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if errors.Is(context.Cause(ctx), errFlooded) || ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("dnsperf ended: %w: %s", err, out)
}
