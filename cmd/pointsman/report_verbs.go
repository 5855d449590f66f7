package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/api"
)

var reportForms = []string{"text", "markdown", "html", "json"}

func (a *app) reportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Make, list and show health reports",
		Long: `Make, list and show health reports: whether each instance could fail over now
and why not, availability, switches, warnings, proofs that got stale, what
changed and what is not known.

The controller makes those under reports: of its file by their calendar, keeps
them in the folder reports of controller.data and delivers them to channels.`,
		Args: a.unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.reportRun(), a.reportList(), a.reportShow())
	return cmd
}

// formFlags say in which form a report is wanted, and where.
type formFlags struct{ format, out, file string }

func (f *formFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.format, "format", "", "`FORM`: text, markdown, html or json (default text, or that of the FILE)")
	cmd.Flags().StringVarP(&f.out, "output", "o", "", "table, json or yaml; anything else is a `FILE` to write the report to, for you alone")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(reportForms, cobra.ShellCompDirectiveNoFileComp))
}

// endings tell the form by the name of a file.
var endings = map[string]string{".html": "html", ".htm": "html", ".md": "markdown", ".json": "json"}

func (f *formFlags) check(a *app) error {
	if isOutput(f.out) {
		a.output = outputFormat(f.out)
	} else if f.file = f.out; f.file != "" {
		if err := checkNoForm(f.file); err != nil {
			return err
		}
	}
	if f.format == "" {
		f.format = orElse(endings[filepath.Ext(f.file)], "text")
	}
	if !slices.Contains(reportForms, f.format) {
		return failed("give one of "+strings.Join(reportForms, ", "), "--format: %q is no form of a report", f.format)
	}
	return nil
}

// write puts the report where it is wanted.
func (f *formFlags) write(a *app, t api.ReportText) error {
	if f.file == "" {
		return a.print(t, func(w io.Writer) {
			if t.Format == "text" {
				fmt.Fprintf(w, "%s\nkept as %s\n", strings.TrimRight(clean(t.Text), "\n"), t.ID)
				return
			}
			_, _ = io.WriteString(w, t.Text)
		})
	}
	if err := replaceFile(f.file, []byte(t.Text)); err != nil {
		return failed("name a file in a folder where you may write", "write report %s: %w", f.file, plainError(err))
	}
	fmt.Fprintf(a.stderr, "%s is in %s\n", t.ID, clean(f.file))
	return nil
}

func (a *app) reportRun() *cobra.Command {
	var q api.ReportRequest
	var f formFlags
	cmd := &cobra.Command{
		Use:   "run [NAME]",
		Short: "Make a report now, keep it and show it",
		Long: `Make a report now, keep it and show it. NAME is one of reports: in the file of
the controller; without it the only one there is taken, or a report over all
instances and the last 24 hours. It is delivered only with --deliver.`,
		Example: `  pointsman report run
  pointsman report run daily --window 7d --format html --output week.html
  pointsman report run monthly --now`,
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(a); err != nil {
				return err
			}
			if len(args) > 0 {
				q.Name = args[0]
			}
			q.Format, q.By = f.format, orElse(q.By, a.who())
			c, err := a.client()
			if err != nil {
				return err
			}
			t, err := c.RunReport(cmd.Context(), q)
			if err != nil {
				return a.nearReport(cmd.Context(), c, q.Name, err)
			}
			return f.write(a, t)
		},
		ValidArgsFunction: a.completeReports(false),
	}
	cmd.Flags().BoolVar(&q.SoFar, "now", false, "of a window such as \"previous month\" the one that has begun, until now")
	cmd.Flags().StringVar(&q.Window, "window", "", "another `WINDOW` than that of the report: 24h, 7d, \"previous month\"")
	cmd.Flags().BoolVar(&q.Deliver, "deliver", false, "deliver it to the channels of the report, too")
	cmd.Flags().StringVar(&q.By, "by", "", "who asks (default user@host)")
	f.register(cmd)
	return cmd
}

func (a *app) reportList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list [NAME]",
		Short:   "List the reports that are kept, the newest first",
		Example: "  pointsman report list daily",
		Args:    atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := strings.Join(args, "")
			c, err := a.client()
			if err != nil {
				return err
			}
			l, err := c.Reports(cmd.Context(), name)
			if err != nil {
				return a.nearReport(cmd.Context(), c, name, err)
			}
			return a.print(l.Reports, func(w io.Writer) {
				var rows [][]string
				for _, r := range l.Reports {
					rows = append(rows, []string{r.ID, stamp(r.MadeAt), stamp(r.From), stamp(r.To), orElse(r.Level, "-"), orElse(r.Late, "-"), orElse(r.Verdict, r.Trouble)})
				}
				writeTable(w, []string{"REPORT", "MADE", "FROM", "TO", "VERDICT", "LATE", "WHAT"}, rows)
			})
		},
		ValidArgsFunction: a.completeReports(false),
	}
	a.outputFlag(cmd)
	return cmd
}

func (a *app) reportShow() *cobra.Command {
	var f formFlags
	cmd := &cobra.Command{
		Use:   "show [NAME|ID]",
		Short: "Show a report that is kept, the newest where no ID is given",
		Example: `  pointsman report show
  pointsman report show daily --format markdown
  pointsman report show daily/2026-11-28T080500Z --format html --output report.html`,
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(a); err != nil {
				return err
			}
			which := strings.Join(args, "")
			c, err := a.client()
			if err != nil {
				return err
			}
			t, err := c.Report(cmd.Context(), which, f.format)
			if err != nil {
				return a.nearReport(cmd.Context(), c, which, err)
			}
			return f.write(a, t)
		},
		ValidArgsFunction: a.completeReports(true),
	}
	f.register(cmd)
	return cmd
}

// nearReport adds the nearest name to the error of a mistyped one.
func (a *app) nearReport(ctx context.Context, c *api.Client, typed string, err error) error {
	if typed == "" {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	l, lerr := c.Reports(ctx, "")
	if lerr != nil {
		return err
	}
	known := l.Names
	for _, r := range l.Reports {
		if strings.Contains(typed, "/") {
			known = append(known, r.ID)
		}
	}
	if slices.Contains(known, typed) {
		return err
	}
	if n := nearest(typed, known); n != "" {
		return failed(fmt.Sprintf("did you mean %s?", n), "%w", err)
	}
	return err
}

// completeReports offers the names of reports, and with ids those that are kept.
func (a *app) completeReports(ids bool) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		c, err := a.client()
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
		defer cancel()
		l, err := c.Reports(ctx, "")
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		out := l.Names
		for _, r := range l.Reports {
			if ids {
				out = append(out, r.ID)
			}
			if !slices.Contains(out, r.Name) {
				out = append(out, r.Name)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}
