package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pointsman/internal/lab"
)

func (a *app) demoCommand() *cobra.Command {
	var output string
	var stories []string
	var rounds int
	var names []string
	for _, s := range lab.Stories() {
		names = append(names, s.Name)
	}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Tell every story in about a minute, and judge each answer of the authority",
		Long: `Start a lab, and play one fault after the other in it: ` + strings.Join(names, ", ") + `.

A recorder asks the authority every 2 ms throughout. A story is broken when an
answer was empty, NXDOMAIN, SERVFAIL or wrong (a target that was never
committed), when the name moved and must not, or did not and must. Then the
exit status is ` + fmt.Sprint(exitBroken) + `. Times are printed, never judged.

Stories of secondaries take those of NSD, BIND, Knot and PowerDNS that are
installed; where none is, they are left out, and the report says so.`,
		Args: cobra.NoArgs,
	}
	a.labFlags(cmd)
	outputFlag(cmd, &output)
	cmd.Flags().StringSliceVar(&stories, "story", nil, "tell only this `NAME` (may be given several times)")
	cmd.Flags().IntVar(&rounds, "rounds", 1, "tell every story so many times")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		demo := lab.DemoConfig{Rounds: rounds, Stories: lab.Stories()}
		if rounds < 1 {
			return fmt.Errorf("--rounds %d: at least 1", rounds)
		}
		if len(stories) > 0 {
			demo.Stories = nil
			for _, name := range stories {
				s, err := lab.FindStory(name)
				if err != nil {
					return err
				}
				demo.Stories = append(demo.Stories, s)
			}
		}
		p := &progress{out: a.err, terminal: isTerminal(a.err)}
		if output == "json" && !p.terminal {
			p.out = io.Discard
		}
		demo.Begin, demo.End = p.begin, p.end
		return a.demo(cmd.Context(), demo, output)
	}
	return cmd
}

func (a *app) demo(ctx context.Context, demo lab.DemoConfig, output string) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	cfg.Secondaries = lab.Secondaries() // the stories of those that are not there say so
	var report lab.Report
	kept := lab.Run(ctx, cfg, func(ctx context.Context, l *lab.Lab) error {
		report, err = lab.Demo(ctx, l, demo)
		return err
	})
	if err != nil || kept != nil && report.OK {
		return kept
	}
	if output == "json" {
		b, err := report.JSON()
		if err != nil {
			return err
		}
		if _, err := a.out.Write(b); err != nil {
			return fmt.Errorf("print the report: %w", err)
		}
	} else {
		report.WriteTable(a.out)
	}
	switch {
	case report.OK:
		return kept
	case kept != nil:
		return fmt.Errorf("%w; %w", errBroken, kept)
	}
	return errBroken
}

// progress tells on stderr which story is being told; on a terminal the line
// of a running story is replaced by its end.
type progress struct {
	out      io.Writer
	terminal bool
}

func (p *progress) begin(s lab.Story) {
	if p.terminal {
		fmt.Fprintf(p.out, "… %-18s %s", s.Name, s.Says)
	}
}

func (p *progress) end(s lab.Story, r lab.Result) {
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	verdict, how := "ok", "the name stayed with "+r.From
	if !r.OK {
		verdict = "BROKEN"
	}
	if r.To != "" && r.AnsweredMS != nil {
		how = fmt.Sprintf("%s → %s, answered after %.0f ms", r.From, r.To, *r.AnsweredMS)
	}
	fmt.Fprintf(p.out, "%-6s %-18s %s: %s\n", verdict, s.Name, s.Says, how)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
