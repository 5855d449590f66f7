package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"pointsman/internal/config"
)

// configExplain answers for the figures of a file before anything runs.
func (a *app) configExplain() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain [INSTANCE]",
		Short: "Every knob of each instance, how long a move may take, and what it may lose",
		Long: `Explain every instance of pointsman.yaml (-c FILE, or ./` + defaultConfig + `), or one: each
knob with its value, where it comes from, its range and what happens when it is
larger or smaller; the worst case of a failover and of a switchover, term by
term; what a failover may lose; and every inequality that must hold. No
controller needs to run and no secret is read.

The exit status is 1 when an inequality fails; it is named.`,
		Example:           "  pointsman config explain -c pointsman.yaml\n  pointsman config explain orders -c pointsman.yaml -o json",
		Args:              atMost(1),
		ValidArgsFunction: a.completeConfigured,
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		cfg, err := config.LoadAnyway(orElse(a.config, defaultConfig))
		if cfg == nil {
			return configError(err)
		}
		all := cfg.Explain()
		broken := slices.ContainsFunc(all, func(e config.Explained) bool { return len(e.Broken()) > 0 })
		if err != nil && !broken {
			return configError(err) // of a file that is wrong in other ways the figures would mislead
		}
		if err == nil {
			a.warn(cfg.Warnings)
		}
		if len(args) == 1 {
			if all, err = only(all, args[0], err); len(all) == 0 {
				return err
			}
		}
		if perr := a.print(all, func(w io.Writer) { a.explainConfig(w, all) }); perr != nil {
			return perr
		}
		return brokenError(all, err)
	}
	a.outputFlag(cmd)
	return cmd
}

// only picks one instance; err is handed through where there is one.
func only(all []config.Explained, name string, err error) ([]config.Explained, error) {
	var known []string
	for _, e := range all {
		if string(e.Instance) == name {
			return []config.Explained{e}, err
		}
		known = append(known, string(e.Instance))
	}
	if n := nearest(name, known); n != "" {
		return nil, failed(fmt.Sprintf("did you mean %s?", n), "there is no instance %q in the file", name)
	}
	return nil, failed(didYouMean(known, 0), "there is no instance %q in the file", name)
}

// brokenError names what does not hold, and then the mistakes with their
// places.
func brokenError(all []config.Explained, err error) error {
	var lines []string
	for _, e := range all {
		for _, q := range e.Broken() {
			lines = append(lines, fmt.Sprintf("%s: %s does not hold: %s %s %s: %s", e.Instance, q.Name, q.Left, q.Op, q.Right, q.Why))
		}
	}
	switch {
	case len(lines) == 0 && err == nil:
		return nil
	case len(lines) == 0:
		return configError(err)
	}
	what := strings.Join(lines, "\n")
	var fs config.Faults
	if errors.As(err, &fs) {
		return failed("mend the file, then: pointsman config explain -c "+fs[0].File, "%s\n%w", what, mistakes{fs})
	}
	return failed("mend the file", "%s", what)
}

func (a *app) explainConfig(w io.Writer, all []config.Explained) {
	for i, e := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "instance %s (preset %s)\n\nKnobs\n", e.Instance, e.Preset)
		for _, k := range e.Knobs {
			writeKnob(w, k)
		}
		writeWorst(w, "Worst case of a failover, from the death of the active cluster", e.Failover)
		fmt.Fprintf(w, "  a partial failure: %s\n", e.Partial)
		writeWorst(w, "Worst case of a switchover, from the command", e.Switchover)
		fmt.Fprintf(w, "\nLoss at the worst\n  %s\n\nInequalities\n", e.RPO)
		var rows [][]string
		for _, q := range e.Inequalities {
			holds := "holds"
			if !q.Holds {
				holds = a.paint(text.FgRed, "FAILS")
			}
			rows = append(rows, []string{"  " + q.Name, q.Left, q.Op, q.Right, holds})
		}
		a.table(w, []string{"  NAME", "LEFT", "", "RIGHT", ""}, rows)
		if len(e.Warnings) > 0 {
			fmt.Fprint(w, "\nKnow this\n")
			for _, s := range e.Warnings {
				fmt.Fprintf(w, "  - %s\n", clean(s))
			}
		}
	}
}

func writeKnob(w io.Writer, k config.KnobLine) {
	from := k.From
	if k.Line > 0 {
		from = fmt.Sprintf("%s, line %d", k.From, k.Line)
	}
	if k.Was != "" {
		from += "; the preset has " + k.Was
	}
	if k.Range != "" {
		from += "; may be " + k.Range
	}
	fmt.Fprintf(w, "  %s = %s  (%s)\n      %s\n", k.Key, clean(k.Value), clean(from), k.Does)
	if k.Larger != "" {
		fmt.Fprintf(w, "      larger: %s\n      smaller: %s\n", k.Larger, k.Smaller)
	}
}

func writeWorst(w io.Writer, title string, c config.WorstCase) {
	fmt.Fprintf(w, "\n%s\n", title)
	var rows [][]string
	for _, t := range c.Terms {
		is := age(t.Is)
		if t.Unbounded {
			is = "no bound"
		}
		rows = append(rows, []string{"  " + t.Term, is, t.Note})
	}
	note := "all terms"
	if !c.Whole {
		note = "of the bounded terms only: where one has no bound, neither has the whole"
	}
	writeTable(w, []string{"  TERM", "AT MOST", ""}, append(rows, []string{"  sum", c.Bounded, note}))
}
