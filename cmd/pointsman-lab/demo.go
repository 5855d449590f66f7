package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pointsman/internal/lab"
)

func (a *app) demoCommand() *cobra.Command {
	var output string
	var stories []string
	var rounds int
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Tell every story in about three minutes, and judge each answer of the authority",
		Long: `Start a lab, and play one fault after the other in it.

With Tablestore clusters: ` + storyNames(lab.Tablestore) + `.
With web servers (--clusters http): ` + storyNames(lab.HTTP) + `.

A recorder asks the authority every 2 ms throughout. A story is broken when an
answer was empty, NXDOMAIN, SERVFAIL or wrong (a target that was never
committed), when the name moved and must not, or did not and must. With
Tablestore clusters a client of the vendor's SDK writes through the name: it is
broken, too, when that client cannot write to the new cluster, or when a cluster
does not hold what it has acknowledged. What the new cluster lacks of the old
one is counted, and breaks nothing: nothing is replicated. The stories whose names
begin with replicated are told in a lab of their own where rows are carried to the
standby: there every acknowledged row must be at both in the end, or be named by
the program as lost. The exit status of what is broken is ` + fmt.Sprint(exitBroken) + `. Times are printed, never judged.

Stories of secondaries take those of NSD, BIND, Knot and PowerDNS that are
installed; where none is, they are left out, and the report says so.`,
		Args: cobra.NoArgs,
	}
	a.labFlags(cmd)
	clusters := kindFlag(cmd)
	outputFlag(cmd, &output)
	cmd.Flags().StringSliceVar(&stories, "story", nil, "tell only this `NAME` (may be given several times)")
	cmd.Flags().IntVar(&rounds, "rounds", 1, "tell every story so many times")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if rounds < 1 {
			return fmt.Errorf("--rounds %d: at least 1", rounds)
		}
		cfg, err := a.configOf(cmd, *clusters)
		if err != nil {
			return err
		}
		demo := lab.DemoConfig{Rounds: rounds, Stories: lab.Stories(cfg.Kind)}
		if len(stories) > 0 {
			demo.Stories = nil
			for _, name := range stories {
				s, err := lab.FindStory(cfg.Kind, name)
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
		demo.Begin, demo.End, demo.Tell = p.begin, p.end, p.tell
		return a.demo(cmd.Context(), cfg, demo, output)
	}
	return cmd
}

// storyNames lists the stories of a kind of clusters.
func storyNames(k lab.Kind) string {
	var names []string
	for _, s := range lab.Stories(k) {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}

// demo tells the stories, each in the lab that it is for: first those of
// clusters of which nothing is replicated, then the others.
func (a *app) demo(ctx context.Context, cfg lab.Config, demo lab.DemoConfig, output string) error {
	if cfg.Kind == lab.HTTP {
		cfg.Secondaries = lab.Secondaries() // the stories of those that are not there say so
	}
	report := lab.Report{OK: true} // of a lab that does not start
	var kept error
	all := demo.Stories
	for _, replicated := range []bool{false, true} {
		demo.Stories = slices.DeleteFunc(slices.Clone(all), func(s lab.Story) bool { return s.Replicated != replicated })
		if len(demo.Stories) == 0 {
			continue
		}
		cfg.Tune.Replicate = replicated
		var part lab.Report
		var err error
		ended := lab.Run(ctx, cfg, func(ctx context.Context, l *lab.Lab) error {
			part, err = lab.Demo(ctx, l, demo)
			return err
		})
		if err != nil || ended != nil && part.OK {
			return ended
		}
		report.Join(part)
		kept = errors.Join(kept, ended)
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
	story    string
}

func (p *progress) begin(s lab.Story) {
	p.story = s.Name
	if p.terminal {
		fmt.Fprintf(p.out, "… %-18s %s", s.Name, s.Says)
	}
}

func (p *progress) tell(how string) {
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K… %-18s %.100s", p.story, how)
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
