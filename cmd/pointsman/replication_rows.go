package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

// rowFlags narrow a listing of rows.
type rowFlags struct {
	table, after string
	limit        int
}

func (f *rowFlags) register(a *app, cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.table, "table", "", "only rows of this `TABLE`")
	cmd.Flags().IntVar(&f.limit, "limit", api.DefaultPage, "at most this many rows")
	cmd.Flags().StringVar(&f.after, "after", "", "go on from this `PLACE`, as a full page names it")
	_ = cmd.RegisterFlagCompletionFunc("table", a.completeTableFlag)
	a.outputFlag(cmd)
	cmd.ValidArgsFunction = a.completeReplicated
}

func (f *rowFlags) query() (api.RowQuery, error) {
	if f.limit < 1 || f.limit > api.MaxRows {
		return api.RowQuery{}, failed(fmt.Sprintf("give 1 to %d", api.MaxRows), "--limit %d is out of range", f.limit)
	}
	return api.RowQuery{Table: f.table, After: f.after, Limit: f.limit}, nil
}

// more says how to get the next page.
func more(w io.Writer, next string) {
	if next != "" {
		fmt.Fprintf(w, "there are more: add --after %s\n", shellWord(next))
	}
}

// shellWord quotes what a shell would take apart.
func shellWord(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,@", r))
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// lostView is what replication lost prints.
type lostView struct {
	Summary *api.LossSummary `json:"summary,omitempty"`
	Rows    []api.LostRow    `json:"rows"`
	Next    string           `json:"next,omitempty"` // for --after; empty at the end
}

func (a *app) replicationLost() *cobra.Command {
	var f rowFlags
	cmd := &cobra.Command{
		Use:   "lost INSTANCE",
		Short: "List the writes that the last operation left behind on the old side",
		Long: `List the writes that the last operation left behind on the old side, row by row,
with what the new side has in their place: only-old (it lacks the row), older (it
has something newer), differs, deleted-on-old, crossed (it is not lost).

They are read from the streams of the old side once it can be reached again.
Nothing is copied back by itself.`,
		Example: "  pointsman replication lost orders\n  pointsman replication lost orders --table items --limit 1000 -o json",
		Args:    exactly("INSTANCE"),
	}
	f.register(a, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q, err := f.query()
		if err != nil {
			return err
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		name := failover.InstanceName(args[0])
		st, err := c.Replication(cmd.Context(), name)
		if err != nil {
			return replicationError(err, args[0])
		}
		v := lostView{Summary: st.Lost, Rows: []api.LostRow{}}
		if st.Lost != nil {
			if v.Rows, v.Next, err = c.LostRows(cmd.Context(), name, q); err != nil {
				return replicationError(err, args[0])
			}
		}
		return a.print(v, func(w io.Writer) {
			if v.Summary == nil && st.Standby == failover.StandbyInvalidated {
				fmt.Fprintf(w, "what %s holds alone is not known yet: %s\n", st.To, clean(orElse(st.Idle, st.Doing)))
				return
			}
			if v.Summary == nil {
				fmt.Fprintf(w, "no operation of %s has left anything behind, as far as is known\n", name)
				return
			}
			fmt.Fprintln(w, clean(lossWords(v.Summary)))
			if len(v.Rows) == 0 {
				return
			}
			rows := make([][]string, 0, len(v.Rows))
			for _, r := range v.Rows {
				rows = append(rows, []string{stamp(r.At), r.Table, r.Key, r.Action, orElse(strings.Join(r.Columns, " "), "-"), r.Class})
			}
			fmt.Fprintln(w)
			a.table(w, []string{"WRITTEN", "TABLE", "KEY", "ACTION", "COLUMNS", "NEW SIDE"}, rows)
			more(w, v.Next)
		})
	}
	return cmd
}

// lettersView is what replication dead-letters prints.
type lettersView struct {
	Rows []api.DeadLetter `json:"rows"`
	Next string           `json:"next,omitempty"` // for --after; empty at the end
}

func (a *app) replicationLetters() *cobra.Command {
	var f rowFlags
	var o replicationOrders
	var accept, retry []string
	cmd := &cobra.Command{
		Use:   "dead-letters INSTANCE",
		Short: "List the rows that the target refuses, and deal with them",
		Long: `List the rows that the target refuses, with what it said. They are kept aside and
count as never applied, so the exposure of their table does not get younger than
the oldest of them, until somebody has dealt with each: --retry ID writes it
again, unless its key was written since; --accept ID says that it will never be
at the standby, and wants a --reason.`,
		Example: "  pointsman replication dead-letters orders --table items\n  pointsman replication dead-letters orders --accept ID --reason 'larger than the target takes, kept elsewhere'",
		Args:    exactly("INSTANCE"),
	}
	f.register(a, cmd)
	cmd.Flags().StringSliceVar(&accept, "accept", nil, "`ID`s of rows that will never be at the standby")
	cmd.Flags().StringSliceVar(&retry, "retry", nil, "`ID`s of rows to write again")
	o.sign(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(accept) > 0 && len(retry) > 0:
			return failed("give one of them", "both --accept and --retry are given")
		case len(accept) > 0 && strings.TrimSpace(o.reason) == "":
			return failed("add --reason TEXT: it goes into the audit", "to accept that rows are lost needs a reason")
		case len(accept) > 0:
			return a.give(cmd.Context(), args[0], &o, api.ReplicationOrder{Do: api.ReplicationAccept, Rows: accept})
		case len(retry) > 0:
			return a.give(cmd.Context(), args[0], &o, api.ReplicationOrder{Do: api.ReplicationRetry, Rows: retry})
		}
		q, err := f.query()
		if err != nil {
			return err
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		var v lettersView
		if v.Rows, v.Next, err = c.DeadLetters(cmd.Context(), failover.InstanceName(args[0]), q); err != nil {
			return replicationError(err, args[0])
		}
		return a.print(v, func(w io.Writer) {
			if len(v.Rows) == 0 {
				fmt.Fprintf(w, "no refused row of %s waits for anybody\n", args[0])
				return
			}
			rows := make([][]string, 0, len(v.Rows))
			for _, r := range v.Rows {
				rows = append(rows, []string{r.ID, stamp(r.At), r.Table, r.Key, r.Action, strings.TrimSuffix(r.Cause+"; "+r.Hint, "; ")})
			}
			a.table(w, []string{"ID", "WRITTEN", "TABLE", "KEY", "ACTION", "CAUSE"}, rows)
			more(w, v.Next)
		})
	}
	return cmd
}
