package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/lab"
)

func (a *app) benchCommand() *cobra.Command {
	var output string
	var rivals bool
	bench := lab.BenchConfig{}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast the name moves and what the controller costs (about five minutes)",
		Long: `Start one lab after the other, and measure in them: from a kill and from a
stall to the new answer, with a ride-out and without; from the start of a
controller to its first right answer; how long an operation takes to go on after
kill -9; what an idle controller costs; and, with dnsperf installed, what an
answer of the authority costs.

Figures move with the machine and with what else runs on it: the load is
printed beside them. Goals are printed, never judged; the exit status is ` + fmt.Sprint(exitBroken) + `
when an answer broke a promise.

Only when it is asked for (--only many): a controller and a vantage with 10,000
instances, what they cost, and how fast they answer; about four minutes.

With --rivals it measures something else: how long after a kill and a stall
gdnsd, PowerDNS and pointsman answer the standby, all watching the same
clusters, and what an answer costs each of them and BIND, NSD and Knot. Those
that are not installed are named. It takes about eight minutes; gdnsd as it
comes needs 105 s to move.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&a.pointsman, "pointsman", "", "the pointsman `BINARY` (by default the one beside this program)")
	cmd.Flags().IntVar(&bench.Rounds, "rounds", 5, "tell every story so many times")
	cmd.Flags().DurationVar(&bench.RideOut, "ride-out", 2*time.Second, "the `BLIP` that is ridden out where one is")
	cmd.Flags().DurationVar(&bench.Idle, "idle", 20*time.Second, "watch an idle controller for this `LONG`")
	cmd.Flags().DurationVar(&bench.Ask, "ask", 4*time.Second, "load the authority for this `LONG`, three times")
	cmd.Flags().IntVar(&bench.Many, "many", 10_000, "how many instances the part many has")
	cmd.Flags().DurationVar(&bench.ManyRound, "many-round", 5*time.Second, "the time between two probes of each of their clusters")
	cmd.Flags().StringSliceVar(&bench.Only, "only", nil, "measure only this `PART`: "+strings.Join(lab.BenchParts, ", ")+"; with --rivals "+strings.Join(lab.RivalParts, ", ")+" (may be given several times)")
	cmd.Flags().BoolVar(&rivals, "rivals", false, "measure beside the DNS servers of others that are installed")
	outputFlag(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case bench.Rounds < 1:
			return fmt.Errorf("--rounds %d: at least 1", bench.Rounds)
		case bench.RideOut <= 0 || bench.Idle <= 0 || bench.Ask < time.Second:
			return fmt.Errorf("--ride-out %s, --idle %s, --ask %s: more than 0, and a second of asking", bench.RideOut, bench.Idle, bench.Ask)
		case bench.Many < 1 || bench.Many > 50_000:
			return fmt.Errorf("--many %d: 1 to 50000", bench.Many)
		case bench.ManyRound < 100*time.Millisecond || bench.ManyRound > time.Minute:
			return fmt.Errorf("--many-round %s: 100ms to 1m", bench.ManyRound)
		}
		parts := lab.BenchParts
		if rivals {
			parts = lab.RivalParts
			if !cmd.Flags().Changed("rounds") {
				bench.Rounds = 3
			}
		}
		for _, part := range bench.Only {
			if !slices.Contains(parts, part) {
				return fmt.Errorf("--only %s: there are %s", part, strings.Join(parts, ", "))
			}
		}
		p := &progress{out: a.err, terminal: isTerminal(a.err)}
		if output == "json" && !p.terminal {
			p.out = io.Discard
		}
		bench.Begin, bench.End = p.begin, p.end
		bench.Say = func(what string) { fmt.Fprintln(p.out, "measuring", what) }
		measure := lab.Bench
		if rivals {
			measure = lab.BenchRivals
		}
		return a.bench(cmd.Context(), bench, measure, output)
	}
	return cmd
}

func (a *app) bench(ctx context.Context, bench lab.BenchConfig, measure func(context.Context, lab.BenchConfig) (lab.Figures, error), output string) error {
	var err error
	if bench.Lab, err = a.config(); err != nil {
		return err
	}
	figures, err := measure(ctx, bench)
	if err != nil && figures.OK {
		return err
	}
	if output == "json" {
		b, err := figures.JSON()
		if err != nil {
			return err
		}
		if _, err := a.out.Write(b); err != nil {
			return fmt.Errorf("print the figures: %w", err)
		}
	} else {
		figures.WriteTable(a.out)
	}
	switch {
	case figures.OK:
		return nil
	case err != nil:
		return fmt.Errorf("%w; %w", errBroken, err)
	}
	return errBroken
}
