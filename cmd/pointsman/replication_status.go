package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"pointsman/internal/api"
	"pointsman/internal/failover"
	"pointsman/replication"
)

func (a *app) replicationStatus() *cobra.Command {
	var watch string
	cmd := &cobra.Command{
		Use:   "status [INSTANCE]",
		Short: "Show what a switch would lose now and how every table fares",
		Long: `Show what a switch would lose now, on what that hangs, and how every table fares.

With -w the picture is renewed once per interval (default 1s): status -w,
status orders -w 200ms. On a terminal a copy has a bar.`,
		ValidArgsFunction: a.completeReplicated,
	}
	cmd.Flags().StringVarP(&watch, "watch", "w", "", "go on showing it, once per `interval`")
	cmd.Flags().Lookup("watch").NoOptDefVal = watchDefault.String()
	a.outputFlag(cmd)
	// The value of an optional flag is parsed as an argument: -w 5s.
	cmd.Args = func(_ *cobra.Command, args []string) error { return atMost(2)(cmd, args) }
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		every, args, err := watchInterval(watch, args)
		if err != nil {
			return err
		}
		if err := atMost(1)(cmd, args); err != nil {
			return err
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		if every == 0 {
			sts, err := replicationOf(cmd.Context(), c, args)
			if err != nil {
				return err
			}
			return a.print(statusesFor(sts, args), func(w io.Writer) { a.replicationText(w, sts) })
		}
		return a.watchReplication(cmd.Context(), c, args, every)
	}
	return cmd
}

// watchInterval reads the value of -w, which may stand among the arguments.
func watchInterval(watch string, args []string) (time.Duration, []string, error) {
	if watch == "" {
		return 0, args, nil
	}
	if n := len(args); n > 0 && watch == watchDefault.String() {
		if _, err := time.ParseDuration(args[n-1]); err == nil {
			watch, args = args[n-1], args[:n-1]
		}
	}
	d, err := time.ParseDuration(watch)
	if err != nil || d <= 0 {
		return 0, args, failed("write it as 500ms or 2s", "--watch: %q is no interval", watch)
	}
	return d, args, nil
}

// statusesFor is what programs get: one status where one was asked for.
func statusesFor(sts []api.ReplicationStatus, args []string) any {
	if len(args) == 1 {
		return sts[0]
	}
	return sts
}

// replicationOf asks for the instance that is named, or for all that are
// replicated.
func replicationOf(ctx context.Context, c *api.Client, args []string) ([]api.ReplicationStatus, error) {
	if len(args) == 1 {
		st, err := c.Replication(ctx, failover.InstanceName(args[0]))
		if err != nil {
			return nil, replicationError(err, args[0])
		}
		return []api.ReplicationStatus{st}, nil
	}
	vs, err := c.Views(ctx)
	if err != nil {
		return nil, err
	}
	out := []api.ReplicationStatus{}
	for _, v := range vs {
		if !v.Exposure.Applies {
			continue
		}
		st, err := c.Replication(ctx, v.Instance)
		if p, ok := errors.AsType[*api.Problem](err); ok && (p.Status == http.StatusConflict || p.Status == http.StatusNotFound) {
			continue // a reload took it
		}
		if err != nil {
			return nil, err
		}
		out = append(out, st)
	}
	return out, nil
}

func (a *app) watchReplication(ctx context.Context, c *api.Client, args []string, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		sts, err := replicationOf(ctx, c, args)
		if err == nil {
			err = a.replicationPicture(sts, args)
		}
		if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
			return nil // a person ended it
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// replicationPicture shows one picture: in place on a terminal, otherwise one
// after the other, JSON as one line each.
func (a *app) replicationPicture(sts []api.ReplicationStatus, args []string) error {
	switch {
	case a.output == outputJSON:
		data, err := json.Marshal(utc(statusesFor(sts, args)))
		if err != nil {
			return fmt.Errorf("marshal output: %w", err)
		}
		_, err = fmt.Fprintf(a.stdout, "%s\n", data)
		return err
	case a.output == outputYAML:
		if _, err := fmt.Fprintln(a.stdout, "---"); err != nil {
			return err
		}
	case a.stdoutTTY && a.env("TERM") != "dumb":
		if _, err := io.WriteString(a.stdout, "\x1b[H\x1b[2J"); err != nil {
			return err
		}
	}
	return a.print(statusesFor(sts, args), func(w io.Writer) {
		a.replicationText(w, sts)
		if !a.stdoutTTY {
			fmt.Fprintln(w)
		}
	})
}

// replicationText is the replication of every instance for people.
func (a *app) replicationText(w io.Writer, sts []api.ReplicationStatus) {
	if len(sts) == 0 {
		fmt.Fprintln(w, "nothing is replicated: no instance has the key replication")
	}
	for i := range sts {
		if i > 0 {
			fmt.Fprintln(w)
		}
		a.replicationOne(w, &sts[i], time.Now())
	}
}

func (a *app) replicationOne(w io.Writer, st *api.ReplicationStatus, now time.Time) {
	way := "nowhere yet"
	if st.From != "" && st.To != "" {
		way = fmt.Sprintf("%s to %s", st.From, st.To)
	}
	fmt.Fprintf(w, "%s: %s, %s: %s\n", st.Instance, st.Mode, way, clean(orElse(st.Idle, st.Doing)))
	fmt.Fprintf(w, "  %s\n", clean(exposureLine(st, now)))
	standby := string(st.Standby)
	if len(st.Why) > 0 {
		standby += ": " + strings.Join(st.Why, "; ")
	}
	if st.Standby != failover.StandbySynced {
		standby = a.paint(text.FgYellow, string(st.Standby)) + strings.TrimPrefix(standby, string(st.Standby))
	}
	fmt.Fprintf(w, "  the standby is %s\n", cleanPainted(standby))
	if p := st.Paused; p != nil {
		fmt.Fprintf(w, "  PAUSED by %s since %s: %s\n", clean(p.By), stamp(p.Since), clean(p.Reason))
	}
	for _, x := range st.Warnings {
		fmt.Fprintf(w, "  warning: %s\n", clean(x))
	}
	if st.Refused > 0 {
		fmt.Fprintf(w, "  %d rows are refused by %s: pointsman replication dead-letters %s\n", st.Refused, st.To, st.Instance)
	}
	if st.Lost != nil {
		fmt.Fprintf(w, "  %s: pointsman replication lost %s\n", clean(lossWords(st.Lost)), st.Instance)
	}
	if u := st.Units; u != (api.ReplicationUnits{}) {
		fmt.Fprintf(w, "  units since the start: source %d read, %d written; target %d read, %d written\n", u.SourceRead, u.SourceWrite, u.TargetRead, u.TargetWrite)
	}
	if len(st.Tables) == 0 {
		return
	}
	fmt.Fprintln(w)
	a.tablesText(w, st, now)
}

func (a *app) tablesText(w io.Writer, st *api.ReplicationStatus, now time.Time) {
	rows := make([][]string, 0, len(st.Tables))
	for i := range st.Tables {
		t := &st.Tables[i]
		why := t.Why
		if t.Hint != "" {
			why = strings.TrimPrefix(why+"; "+t.Hint, "; ")
		}
		rows = append(rows, []string{t.Table, a.phase(t), tableLag(st, t, now), fmt.Sprint(t.Shards), quantity(float64(t.Applied)), fmt.Sprintf("%.0f/s", t.Rate), fmt.Sprint(t.Refused), a.copyWords(t), orElse(why, "-")})
	}
	a.table(w, []string{"TABLE", "PHASE", "BEHIND", "SHARDS", "APPLIED", "RATE", "REFUSED", "COPY", "WHY"}, rows)
}

func (a *app) phase(t *api.ReplicationTable) string {
	switch replication.Phase(t.Phase) {
	case replication.PhaseFollowing:
		return a.paint(text.FgGreen, t.Phase)
	case replication.PhaseGap, replication.PhaseRefused:
		return a.paint(text.FgRed, t.Phase)
	}
	return a.paint(text.FgYellow, t.Phase)
}

func tableLag(st *api.ReplicationStatus, t *api.ReplicationTable, now time.Time) string {
	lag, known := lagNow(&api.ReplicationStatus{Idle: st.Idle, Exposure: t.Exposure}, now)
	if !known {
		return "unknown"
	}
	return age(lag)
}

// barWidth is that of the bar of a copy, in characters.
const barWidth = 20

// copyWords is how far a copy is: a bar on a terminal, and the figures.
func (a *app) copyWords(t *api.ReplicationTable) string {
	c := t.Copy
	if c == nil {
		return "-"
	}
	var parts []string
	share := -1.0
	switch {
	case c.TotalRows > 0:
		share = min(float64(c.Rows)/float64(c.TotalRows), 1)
	case c.Ranges > 0:
		share = float64(c.RangesDone) / float64(c.Ranges)
	}
	if share >= 0 {
		if a.stdoutTTY {
			full := int(share * barWidth)
			parts = append(parts, "["+strings.Repeat("#", full)+strings.Repeat(".", barWidth-full)+"]")
		}
		parts = append(parts, fmt.Sprintf("%d%%", int(share*100)))
	}
	rows := quantity(float64(c.Rows))
	if c.TotalRows > 0 {
		rows += " of about " + quantity(float64(max(c.TotalRows, c.Rows)))
	}
	parts = append(parts, rows+" rows", quantity(float64(c.Bytes))+"B", quantity(c.Rate)+" rows/s")
	if c.Left > 0 {
		parts = append(parts, age(c.Left)+" left")
	}
	if c.Removed > 0 {
		parts = append(parts, quantity(float64(c.Removed))+" removed")
	}
	if c.Throttled > 0 {
		parts = append(parts, "throttled for "+age(c.Throttled))
	}
	return strings.Join(parts, " ")
}

// quantity writes a number for people: 950, 12.3k, 4.5M.
func quantity(n float64) string {
	for _, u := range []struct {
		of   float64
		word string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e4, "k"}} {
		if n >= u.of {
			of := u.of
			if u.word == "k" {
				of = 1e3
			}
			return strings.TrimSuffix(fmt.Sprintf("%.1f", n/of), ".0") + u.word
		}
	}
	return fmt.Sprintf("%.0f", n)
}

func (a *app) replicationTables() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tables INSTANCE [TABLE…]",
		Short: "Show tables in detail: stream, shards, what their exposure hangs on, units",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return failed("usage: "+cmd.UseLine(), "INSTANCE is missing")
			}
			return nil
		},
		ValidArgsFunction: a.completeTables,
	}
	a.outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		st, err := c.Replication(cmd.Context(), failover.InstanceName(args[0]))
		if err != nil {
			return replicationError(err, args[0])
		}
		ts, err := tablesNamed(&st, args[1:])
		if err != nil {
			return err
		}
		return a.print(ts, func(w io.Writer) {
			if len(ts) == 0 {
				fmt.Fprintf(w, "no table of %s is replicated: %s\n", st.Instance, clean(orElse(st.Idle, st.Doing)))
			}
			for i := range ts {
				if i > 0 {
					fmt.Fprintln(w)
				}
				a.tableText(w, &st, &ts[i], time.Now())
			}
		})
	}
	return cmd
}

// tablesNamed picks the tables that were asked for.
func tablesNamed(st *api.ReplicationStatus, names []string) ([]api.ReplicationTable, error) {
	if len(names) == 0 {
		return st.Tables, nil
	}
	known := make([]string, 0, len(st.Tables))
	by := map[string]api.ReplicationTable{}
	for _, t := range st.Tables {
		known = append(known, t.Table)
		by[t.Table] = t
	}
	out := make([]api.ReplicationTable, 0, len(names))
	for _, n := range names {
		t, ok := by[n]
		if !ok {
			hint := fmt.Sprintf("pointsman replication status %s lists them", st.Instance)
			if x := nearest(n, known); x != "" {
				hint = fmt.Sprintf("did you mean %s?", x)
			}
			return nil, failed(hint, "no table %q of %s is replicated", n, st.Instance)
		}
		out = append(out, t)
	}
	return out, nil
}

func (a *app) tableText(w io.Writer, st *api.ReplicationStatus, t *api.ReplicationTable, now time.Time) {
	line := func(word, format string, args ...any) {
		fmt.Fprintf(w, "  %-9s %s\n", word, clean(fmt.Sprintf(format, args...)))
	}
	fmt.Fprintf(w, "%s: %s\n", clean(t.Table), a.phase(t))
	if t.Why != "" {
		line("why", "%s", t.Why)
	}
	if t.Hint != "" {
		line("hint", "%s", t.Hint)
	}
	behind := tableLag(st, t, now)
	if t.Exposure.Rows > 0 || t.Exposure.About > 0 {
		behind += fmt.Sprintf(", at least %d rows, about %d", t.Exposure.Rows, max(t.Exposure.About, t.Exposure.Rows))
	}
	if t.Exposure.Why != "" {
		behind += "; hangs on " + t.Exposure.Why
	}
	line("behind", "%s", behind)
	if t.Exposure.Gap != "" {
		line("gap", "%s", t.Exposure.Gap)
	}
	if !t.Oldest.IsZero() {
		line("whole", "everything written before %s is at the standby", stamp(t.Oldest))
	}
	line("stream", "%s, %d open shards", orElse(t.Stream, "none"), t.Shards)
	line("applied", "%d rows, %.1f a second; %d refused", t.Applied, t.Rate, t.Refused)
	if t.Copy != nil {
		line("copy", "%s; %d of %d ranges, since %s", a.copyWords(t), t.Copy.RangesDone, t.Copy.Ranges, stamp(t.Copy.Since))
	}
	line("units", "reading its stream took %d since the start", t.Units)
}
