package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/api"
	"pointsman/internal/controller"
	"pointsman/internal/failover"
)

// listFlags narrow a listing.
type listFlags struct {
	since string
	limit int
	below string
}

func (l *listFlags) register(a *app, cmd *cobra.Command) {
	cmd.Flags().StringVar(&l.since, "since", "", "only what is younger: a `DURATION` such as 30d or 2h, or an RFC 3339 time with zone")
	cmd.Flags().IntVar(&l.limit, "limit", api.DefaultPage, "at most this many lines, the newest")
	cmd.Flags().StringVar(&l.below, "below", "", "only what came before the line of this `PLACE`, as a full page names it")
	a.outputFlag(cmd)
	cmd.ValidArgsFunction = a.completeInstances
}

// pageBefore says how to get the lines before a full page.
func pageBefore[T interface{ Place() int64 }](w io.Writer, lines []T, q api.Query) {
	if len(lines) > 0 && len(lines) >= q.Limit {
		fmt.Fprintf(w, "there may be older lines: add --below %d\n", lines[0].Place())
	}
}

func (l *listFlags) query(args []string) (api.Query, error) {
	q := api.Query{Limit: l.limit}
	if l.below != "" {
		place, err := strconv.ParseInt(l.below, 10, 64)
		if err != nil || place < 0 {
			return q, failed("take the number that a full page ends with", "--below: %q is no place of a line", l.below)
		}
		q.Below = place
	}
	if len(args) > 0 {
		q.Instance = failover.InstanceName(args[0])
	}
	if l.limit < 1 || l.limit > api.MaxPage {
		return q, failed(fmt.Sprintf("give 1 to %d", api.MaxPage), "--limit %d is out of range", l.limit)
	}
	var err error
	q.Since, err = sinceTime(l.since, time.Now())
	return q, err
}

func (a *app) historyCommand() *cobra.Command {
	var l listFlags
	var probes, moves bool
	cmd := &cobra.Command{
		Use:   "history [INSTANCE]",
		Short: "List what was measured: operations, changes of verdict, probes",
		Long: `List what was measured: operations, changes of verdict, probes.

With --switches there is a line for each finished operation: how long it took
from the fault, or without one from the command, until every write point showed
the new value (RTO), and where the time went, phase by phase to its end. What
resolvers and clients keep for longer is not in it: see pointsman plan.`,
		Args: atMost(1),
	}
	l.register(a, cmd)
	cmd.Flags().BoolVar(&probes, "probes", false, "list single probes of the controller's own vantage")
	cmd.Flags().BoolVar(&moves, "switches", false, "list finished operations with their times by phase")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q, err := l.query(args)
		if err != nil {
			return err
		}
		switch {
		case moves && probes:
			return failed("give one of them", "both --switches and --probes are given")
		case moves:
			return a.switches(cmd.Context(), q)
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		if probes {
			ps, err := c.Probes(cmd.Context(), q)
			if err != nil {
				return nearInstance(err, string(q.Instance))
			}
			return a.print(ps, func(w io.Writer) { probesTable(w, ps); pageBefore(w, ps, q) })
		}
		ss, err := c.History(cmd.Context(), q)
		if err != nil {
			return nearInstance(err, string(q.Instance))
		}
		return a.print(ss, func(w io.Writer) {
			var rows [][]string
			for _, s := range ss {
				rows = append(rows, []string{stamp(s.At), string(s.Instance), s.Kind, sampleWords(s)})
			}
			writeTable(w, []string{"AT", "INSTANCE", "KIND", "WHAT"}, rows)
			pageBefore(w, ss, q)
		})
	}
	return cmd
}

// sampleWords says a sample in one line; JSON has all of it.
func sampleWords(s api.Sample) string {
	if line, ok := pastWords(s); ok {
		return line
	}
	var x struct {
		Cluster, From, To, Reason, Text string

		Outcome failover.Outcome
		Op      json.RawMessage // a name in transitions, an operation in outcomes
	}
	if json.Unmarshal(s.Data, &x) != nil {
		return string(s.Data)
	}
	var op failover.Op
	if s.Kind == outcomeKind && json.Unmarshal(x.Op, &op) == nil {
		return fmt.Sprintf("%s %s from %s to %s %s: %s", op.Kind, op.ID, op.From, op.To, x.Outcome, op.Reason)
	}
	var id string
	_ = json.Unmarshal(x.Op, &id) // in transitions
	change := x.To
	if x.From != "" {
		change = x.From + " -> " + x.To
	}
	subject := x.Cluster
	switch controller.Kind(s.Kind) {
	case controller.KindActive:
		subject = "" // it is what the change says
	case controller.KindOperation:
		// From is the kind of one that ended, To how it did; else To says it all.
		subject, change = "", strings.Join(words(x.From, id, x.To), " ")
	case controller.KindStep, controller.KindHeld:
		subject = id
	}
	line := strings.Join(words(subject, change, x.Text), " ")
	if x.Reason != "" {
		line += ": " + x.Reason
	}
	return line
}

// words leaves out the empty ones.
func words(ws ...string) []string {
	return slices.DeleteFunc(ws, func(w string) bool { return w == "" })
}

func probesTable(w io.Writer, ps []api.ProbeLine) {
	var rows [][]string
	for _, p := range ps {
		rows = append(rows, []string{stamp(p.At), string(p.Instance), string(p.Cluster), p.Result, age(p.Took), p.Address, p.Phase, p.Reason})
	}
	writeTable(w, []string{"AT", "INSTANCE", "CLUSTER", "RESULT", "TOOK", "ADDRESS", "PHASE", "WHY"}, rows)
}

func (a *app) auditCommand() *cobra.Command {
	var l listFlags
	var verify bool
	cmd := &cobra.Command{
		Use:   "audit [INSTANCE]",
		Short: "List who did what, when and why; check that nobody edited it",
		Args:  atMost(1),
	}
	l.register(a, cmd)
	cmd.Flags().BoolVar(&verify, "verify", false, "check the chain of hashes over the whole audit instead")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q, err := l.query(args)
		if err != nil {
			return err
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		if verify {
			cond, err := c.VerifyAudit(cmd.Context())
			if err != nil {
				return err
			}
			if !cond.OK {
				return failed("the ledger was edited or damaged: keep a copy of the data directory before anything else", "audit chain is broken: %s", cond.Why)
			}
			return a.print(cond, func(w io.Writer) { fmt.Fprintln(w, "the audit chain is whole") })
		}
		ls, err := c.Audit(cmd.Context(), q)
		if err != nil {
			return nearInstance(err, string(q.Instance))
		}
		return a.print(ls, func(w io.Writer) {
			var rows [][]string
			for _, e := range ls {
				change := ""
				if e.Before != "" || e.After != "" {
					change = e.Before + " -> " + e.After
				}
				rows = append(rows, []string{stamp(e.At), string(e.Instance), e.Kind, e.Token.String(), e.By, e.Text, change})
			}
			writeTable(w, []string{"AT", "INSTANCE", "KIND", "TOKEN", "BY", "WHAT", "CHANGE"}, rows)
			pageBefore(w, ls, q)
		})
	}
	return cmd
}
