package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

func (a *app) planCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what a failover or switchover would do; change nothing",
		Long: `Show what a failover or switchover would do: votes, guards, the change of the
record, the steps with their budgets, and the time it may take, term by term.
It changes nothing. A plan that was saved is carried out by 'pointsman apply'.

` + exitHelp,
		Args: a.unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return failed("usage: pointsman plan failover INSTANCE, or plan switchover INSTANCE", "plan of what is missing")
		},
	}
	cmd.AddCommand(a.planKind(failover.Failover), a.planKind(failover.Switchover))
	return cmd
}

func (a *app) planKind(kind failover.OpKind) *cobra.Command {
	var m moveFlags
	var out, file string
	cmd := &cobra.Command{
		Use:               string(kind) + " INSTANCE [-o FILE]",
		Short:             fmt.Sprintf("Show what a %s would do", kind),
		Args:              exactly("INSTANCE"),
		ValidArgsFunction: a.completeInstances,
	}
	m.register(a, cmd, kind)
	cmd.Flags().StringVarP(&out, "output", "o", "", "table, json or yaml; anything else is a `FILE` to save the plan to")
	cmd.Flags().StringVar(&file, "out", "", "`FILE` to save the plan to")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case isOutput(out):
			a.output = outputFormat(out)
		case out != "" && file != "":
			return failed("give one of them", "both -o %s and --out %s name a file", out, file)
		case out != "":
			file = out
		}
		if err := checkPlanFile(file); err != nil {
			return err
		}
		r, err := m.request(a, cmd, failover.Verb(kind))
		if err != nil {
			return err
		}
		return a.plan(cmd.Context(), args[0], r, file)
	}
	return cmd
}

func (a *app) plan(ctx context.Context, name string, r api.CommandRequest, file string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	p, err := c.Plan(ctx, failover.InstanceName(name), r)
	if err != nil {
		return nearInstance(err, name)
	}
	if p.Refused && len(p.Guards) == 0 {
		return a.unplanned(ctx, c, p)
	}
	if err := a.print(p, func(w io.Writer) { a.planTable(w, p) }); err != nil {
		return err
	}
	if file != "" {
		if err := savePlan(file, p); err != nil {
			return err
		}
		fmt.Fprintf(a.stderr, "saved; carry it out by: pointsman apply %s\n", clean(file))
	}
	switch {
	case p.Refused:
		return errStatus(exitRefused)
	case p.Changes:
		return errStatus(exitChanges)
	default:
		return nil
	}
}

// unplanned says why there is nothing to plan: the cluster does not exist, or
// there is no record yet.
func (a *app) unplanned(ctx context.Context, c *api.Client, p failover.Plan) error {
	v, err := c.View(ctx, p.Instance)
	if err != nil {
		return err
	}
	var known []string
	for _, cl := range v.Clusters {
		known = append(known, string(cl.Name))
	}
	if !slices.Contains(known, string(p.To)) && p.To != "" {
		return failed(didYouMean(known, 0), "%s has no cluster %q", p.Instance, string(p.To))
	}
	if a.output.String() != string(outputTable) { // scripts get the plan of nothing, as of any other refusal
		p.Guards = []failover.Verdict{{Guard: failover.GuardAdopting, Binds: true, Why: orElse(v.Waiting, "there is no record of this instance yet"), Hint: "pointsman status " + string(p.Instance)}}
		if err := a.print(p, nil); err != nil {
			return err
		}
		return errStatus(exitRefused)
	}
	return &failure{exitRefused, fmt.Errorf("refused by %s: %s", failover.GuardAdopting, orElse(v.Waiting, "there is no record of this instance yet")), "see 'pointsman status " + string(p.Instance) + "'"}
}

func savePlan(file string, p failover.Plan) error {
	data, err := json.MarshalIndent(utc(p), "", "  ")
	if err != nil {
		return fmt.Errorf("marshal plan: %w", err)
	}
	if err := replaceFile(file, append(data, '\n')); err != nil {
		return failed("give --out a file in a directory that can be written", "save plan %s: %w", file, plainError(err))
	}
	return nil
}

// plainError takes operation and path out of an error of a file: the path is
// said once, and not that of a temporary file.
func plainError(err error) error {
	var pe *os.PathError
	var le *os.LinkError
	switch {
	case errors.As(err, &pe):
		return pe.Err
	case errors.As(err, &le):
		return le.Err
	default:
		return err
	}
}

// replaceFile writes the whole file or leaves what was there.
func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".plan-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// checkNoForm refuses the name of a file that was meant as a form of the output.
func checkNoForm(file string) error {
	if strings.ContainsAny(file, "./") {
		return nil
	}
	for _, form := range []string{string(outputTable), string(outputJSON), string(outputYAML)} {
		if distance(strings.ToLower(file), form) <= 2 {
			return failed(fmt.Sprintf("did you mean -o %s? a file of that name is ./%s", form, file), "-o %q is none of table, json, yaml", file)
		}
	}
	return nil
}

// checkPlanFile refuses a name that was meant as a form of the output, and a
// file that holds anything but an older plan.
func checkPlanFile(file string) error {
	if file == "" {
		return nil
	}
	if err := checkNoForm(file); err != nil {
		return err
	}
	fi, err := os.Lstat(file)
	if err != nil {
		return nil //nolint:nilerr // nothing stands there, or the write will say why not
	}
	if !fi.Mode().IsRegular() {
		return failed("choose another name", "save plan: %s is no plain file", file)
	}
	if _, err := readPlan(file); err != nil && fi.Size() > 0 {
		return failed("choose another name, or remove that file first", "save plan: %s exists and is no plan", file)
	}
	return nil
}

func (a *app) planTable(w io.Writer, p failover.Plan) {
	if p.From == p.To {
		fmt.Fprintf(w, "%s of %s: it is at %s already, made at epoch %d", p.Kind, p.Instance, p.To, p.Epoch)
	} else {
		fmt.Fprintf(w, "%s of %s from %s to %s, made at epoch %d", p.Kind, p.Instance, p.From, p.To, p.Epoch)
	}
	if p.Mode != "" {
		fmt.Fprintf(w, ", mode %s", p.Mode)
	}
	fmt.Fprint(w, "\n\n")
	a.votesTable(w, p.Clusters)
	fmt.Fprintln(w)
	a.guards(w, p.Guards)
	fmt.Fprintln(w, "\nrecord:")
	for _, d := range p.Diff {
		fmt.Fprintf(w, "- %s CNAME %s\n+ %s CNAME %s  (ttl %ds, %s, mark %q)\n", d.Name, d.From, d.Name, d.To, d.TTL, d.Provider, d.Mark)
	}
	if len(p.Diff) == 0 {
		fmt.Fprintln(w, "  no change")
	}
	writeList(w, "provider", limitsOf(p.Diff)...)
	fmt.Fprintln(w)
	writeTable(w, []string{"STEP", "DOES", "DONE WHEN", "BUDGET", "OTHERWISE"}, stepRows(p.Steps))
	hooksTable(w, p.Hooks)
	fmt.Fprintln(w)
	a.boundTable(w, p.Bound)
	fmt.Fprintln(w)
	switch {
	case p.Refused:
		var by []string
		for _, g := range p.Guards {
			if !g.Allow && g.Binds {
				by = append(by, string(g.Guard))
			}
		}
		fmt.Fprintf(w, "refused as things are, by %s\n", strings.Join(by, ", "))
	case p.Changes && p.Asks > 0:
		fmt.Fprintf(w, "nothing else refuses it; carried out, it waits for %d more people to approve; nothing was changed\n", p.Asks)
	case p.Changes:
		fmt.Fprintln(w, "nothing refuses it; nothing was changed")
	default:
		fmt.Fprintln(w, "nothing to change")
	}
}

// limitsOf are what the providers of the changes do not promise, once for each.
func limitsOf(diff []failover.NameDiff) []string {
	var out []string
	for _, d := range diff {
		if l := d.Provider + ": " + d.Limits; d.Limits != "" && !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	return out
}

func stepRows(steps []failover.PlanStep) [][]string {
	var rows [][]string
	for _, s := range steps {
		if s.Skip != "" {
			rows = append(rows, []string{string(s.Step), "skipped: " + s.Skip, "", "", ""})
			continue
		}
		budget := "-"
		if s.Budget > 0 {
			budget = age(s.Budget)
		}
		rows = append(rows, []string{string(s.Step), s.Does, s.Proof, budget, s.Late})
	}
	return rows
}

// boundTable adds up what has a bound and names beside it what has none.
func (a *app) boundTable(w io.Writer, terms []failover.BoundTerm) {
	var rows [][]string
	var sum time.Duration
	open := 0
	for _, t := range terms {
		if t.Unbounded {
			open++
			rows = append(rows, []string{t.Term, "no bound", t.Note})
			continue
		}
		sum += t.Is
		rows = append(rows, []string{t.Term, age(t.Is), t.Note})
	}
	total := age(sum)
	note := ""
	if open > 0 {
		note = fmt.Sprintf("and what has no bound (%d above)", open)
	}
	rows = append(rows, []string{"at most", total, note})
	writeTable(w, []string{"TIME", "AT MOST", ""}, rows)
}

func (a *app) applyCommand() *cobra.Command {
	var w waitFlags
	var by string
	var yes bool
	cmd := &cobra.Command{
		Use:   "apply FILE",
		Short: "Carry out a saved plan, unless the world has moved",
		Long: `Carry out a plan that 'pointsman plan … -o FILE' saved. The controller refuses
it as stale when the active cluster, the epoch, the votes or the guards are no
longer those that the plan was made for.

` + exitHelp,
		Args: exactly("FILE"),
	}
	w.register(cmd)
	cmd.Flags().StringVar(&by, "by", "", "who asks, for the audit (default user@host)")
	cmd.Flags().BoolVar(&yes, "yes", false, "no question")
	a.outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := readPlan(args[0])
		if err != nil {
			return err
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		v, err := c.View(cmd.Context(), p.Instance)
		if err != nil {
			return nearInstance(err, string(p.Instance))
		}
		if err := a.confirm(yes, v, fmt.Sprintf("%s of %s from %s to %s, planned at %s", p.Kind, p.Instance, p.From, p.To, stamp(p.MadeAt))); err != nil {
			return err
		}
		rep, err := c.Apply(cmd.Context(), api.ApplyRequest{By: orElse(by, a.who()), Plan: p})
		if err != nil {
			return err
		}
		w.before = lastOpID(v)
		return a.finish(cmd.Context(), c, p.Instance, rep, w, "apply")
	}
	return cmd
}

func readPlan(file string) (failover.Plan, error) {
	f, err := os.Open(file)
	if err != nil {
		return failover.Plan{}, failed("save one by: pointsman plan failover INSTANCE -o FILE", "read plan %s: %w", file, plainError(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, api.MaxBody+1))
	if err != nil {
		return failover.Plan{}, failed("check the file", "read plan %s: %w", file, plainError(err))
	}
	p, err := api.ParsePlan(data)
	if err != nil {
		return failover.Plan{}, failed("save a new one by: pointsman plan failover INSTANCE -o FILE", "%s: %w", file, err)
	}
	return p, nil
}
