package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/config"
	"pointsman/internal/failover"
	"pointsman/replication"
	"pointsman/replication/ots"
)

// verifyFlags narrow a comparison.
type verifyFlags struct {
	tables []string
	sample string
	full   bool
	seed   uint64
	from   string
}

// verified is what replication verify prints.
type verified struct {
	Instance failover.InstanceName `json:"instance"`
	From     failover.ClusterName  `json:"from"`
	To       failover.ClusterName  `json:"to"`
	Sample   float64               `json:"sample"` // 1 is all
	Equal    bool                  `json:"equal"`
	replication.VerifyResult
}

func (a *app) replicationVerify() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify INSTANCE -c FILE",
		Short: "Compare the tables of both clusters, and name rows and columns that differ",
		Long: `Compare the tables of both clusters: keys, columns, versions and values, by ranges
and hashes. Rows that differ are read again, at the standby later than it is
behind, so that what is on its way is not called different. Nothing is written.

Without flags whole ranges of 1 % of each table are drawn by lot; the seed that is
printed draws the same ones again. It reads with the keys of source_key_file, so it
runs where the controller does, and consumes read capacity at both clusters.

Exit status: 0 nothing differs, 2 something does, 1 a table could not be compared.
No value is ever shown.`,
		Example: `  pointsman replication verify orders -c pointsman.yaml
  pointsman replication verify orders --table items --full -o json -c pointsman.yaml`,
		Args:              exactly("INSTANCE"),
		ValidArgsFunction: a.completeInstances,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.full && cmd.Flags().Changed("sample") {
				return failed("give one of them", "both --sample and --full are given")
			}
			return a.verifyReplication(cmd.Context(), args[0], f)
		},
	}
	cmd.Flags().StringSliceVar(&f.tables, "table", nil, "`TABLE` to compare, may be repeated; else all that are replicated")
	cmd.Flags().StringVar(&f.sample, "sample", "1%", "share of each table to read, such as 5%")
	cmd.Flags().BoolVar(&f.full, "full", false, "read all of it")
	cmd.Flags().Uint64Var(&f.seed, "seed", 0, "of an earlier sample, to draw the same ranges")
	cmd.Flags().StringVar(&f.from, "from", "", "`CLUSTER` to compare the other one with; else the active one, as the controller or the file (primary) says")
	a.outputFlag(cmd)
	return cmd
}

// share reads a part of a whole: 1%, 0.5% or 0.01.
func share(s string) (float64, error) {
	number, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	x, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		x /= 100
	}
	if err != nil || !(x > 0 && x <= 1) {
		return 0, failed("write it like 1%, 0.5% or 100%", "--sample: %q is no share from above 0 to 100%%", clean(s))
	}
	return x, nil
}

func (a *app) verifyReplication(ctx context.Context, name string, f verifyFlags) error {
	cfg, inst, err := a.replicated(name)
	if err != nil {
		return err
	}
	a.noteStandby(ctx, cfg, inst)
	part := 1.0
	if !f.full {
		if part, err = share(f.sample); err != nil {
			return err
		}
	}
	way, err := a.direction(ctx, cfg, inst, f.from)
	if err != nil {
		return err
	}
	rc, err := replicaConfig(inst.Policy.Instance, inst.Replication)
	if err != nil {
		return err
	}
	var sides [2]*ots.Client
	for i, cluster := range []failover.ClusterName{way.From, way.To} {
		if sides[i], err = ots.Open(rc.Clusters[cluster].Source); err != nil {
			return failed("mend replication in the file", "%s: %w", cluster, err)
		}
		defer sides[i].Close()
	}
	tables := f.tables
	if len(tables) == 0 {
		if tables, err = replication.Tables(ctx, rc, way.From); err != nil {
			return failed(replicaHint(err), "%w", err)
		}
		if len(tables) == 0 {
			return failed("look at replication.tables and replication.except", "no table at %s is replicated", way.From)
		}
	}
	res, err := replication.Verify(ctx, replication.VerifyConfig{
		Source: sides[0], Target: sides[1], Tables: tables, Sample: part, Seed: f.seed,
		Settle:   inst.Replication.Idle + inst.Replication.Visibility + time.Second,
		Exposure: a.exposureOf(ctx, cfg, inst), Progress: a.verifyProgress(),
	})
	a.wipe()
	for n := range res.Tables {
		res.Tables[n].Hint = replication.HintFor(inst.Policy.Instance, res.Tables[n].Hint)
	}
	out := verified{inst.Policy.Instance, way.From, way.To, part, err == nil && res.Equal(), res}
	if err := a.print(out, func(w io.Writer) { a.verifyText(w, out) }); err != nil {
		return err
	}
	switch {
	case slices.ContainsFunc(res.Tables, func(t replication.VerifiedTable) bool { return len(t.Differences) > 0 }):
		return errStatus(exitChanges)
	case err != nil:
		return failed(replicaHint(err), "%w", err)
	case !out.Equal:
		return failed("mend what is named, then compare again", "a table was not compared")
	}
	return nil
}

// noteStandby says of a standby that does not follow that differences are to be
// expected.
func (a *app) noteStandby(ctx context.Context, cfg *config.Config, inst config.Instance) {
	c, err := a.clientOf(cfg.Controller)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	st, err := c.Replication(ctx, inst.Policy.Instance)
	switch {
	case err != nil:
	case st.Standby == failover.StandbyInvalidated || st.Idle != "":
		fmt.Fprintf(a.stderr, "note: nothing is carried to %s now, so it will differ: %s\n", orElse(string(st.To), "the standby"), clean(orElse(st.Idle, st.Doing)))
	case st.Standby != failover.StandbySynced:
		fmt.Fprintf(a.stderr, "note: %s is %s, so it may differ: %s\n", st.To, st.Standby, clean(strings.Join(st.Why, "; ")))
	case st.Paused != nil:
		fmt.Fprintf(a.stderr, "note: replication is paused by %s, so %s will differ\n", clean(st.Paused.By), st.To)
	}
}

// exposureOf asks the controller, where one answers, how far the standby is
// behind.
func (a *app) exposureOf(ctx context.Context, cfg *config.Config, inst config.Instance) func() (time.Duration, bool) {
	c, err := a.clientOf(cfg.Controller)
	if err != nil {
		return nil
	}
	return func() (time.Duration, bool) {
		ctx, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		st, err := c.Replication(ctx, inst.Policy.Instance)
		if err != nil || !st.Exposure.Known {
			return 0, false
		}
		return st.Exposure.Lag + time.Since(st.Exposure.At), true
	}
}

// verifyProgress shows on a terminal how far it is, on one line; elsewhere only,
// and once, that a cluster is waited for.
func (a *app) verifyProgress() func(replication.VerifyProgress) {
	if !a.stderrTTY || a.env("TERM") == "dumb" {
		told := false
		return func(p replication.VerifyProgress) {
			if p.Busy != "" && !told {
				told = true
				fmt.Fprintf(a.stderr, "note: it waits, for a minute at most: %s\n", clean(p.Busy))
			}
		}
	}
	return func(p replication.VerifyProgress) {
		text := fmt.Sprintf("table %d of %d  %.40s  range %d of %d  %s rows", p.Done+1, p.Tables, clean(p.Table), p.RangesDone, p.Ranges, quantity(float64(p.Rows)))
		if p.Suspects > 0 {
			text += fmt.Sprintf("  %d to be read again", p.Suspects)
		}
		if p.Differences > 0 {
			text += fmt.Sprintf("  %d differ", p.Differences)
		}
		if p.Busy != "" {
			text += "  waits: " + clean(p.Busy)
		}
		fmt.Fprintf(a.stderr, "\r\x1b[K%.120s", text)
	}
}

// wipe takes the line of a progress away.
func (a *app) wipe() {
	if a.stderrTTY && a.env("TERM") != "dumb" {
		fmt.Fprint(a.stderr, "\r\x1b[K")
	}
}

func (a *app) verifyText(w io.Writer, v verified) {
	fmt.Fprintf(w, "%s: %s compared with %s, ", clean(string(v.Instance)), v.To, v.From)
	if v.Sample < 1 {
		fmt.Fprintf(w, "a sample of %s %% (--seed %d)\n", strconv.FormatFloat(v.Sample*100, 'f', -1, 64), v.Seed)
	} else {
		fmt.Fprintln(w, "all of it")
	}
	var rows [][]string
	for _, t := range v.Tables {
		verdict := "equal"
		switch {
		case t.Error != "":
			verdict = "NOT COMPARED"
		case len(t.Differences) > 0:
			verdict = fmt.Sprintf("%d rows DIFFER", len(t.Differences))
			if t.More {
				verdict = fmt.Sprintf("%d rows or more DIFFER", len(t.Differences))
			}
		}
		rows = append(rows, []string{
			clean(t.Table), verdict, fmt.Sprintf("%d of %d", t.Compared, t.Ranges), fmt.Sprint(t.SourceRows), fmt.Sprint(t.TargetRows), fmt.Sprint(t.OnTheirWay), age(t.Took),
		})
	}
	a.table(w, []string{"TABLE", "VERDICT", "RANGES", "ROWS " + string(v.From), "ROWS " + string(v.To), "ON THEIR WAY", "TOOK"}, rows)
	for _, t := range v.Tables {
		if t.Error != "" {
			fmt.Fprintf(w, "%s: not compared: %s\n", clean(t.Table), clean(t.Error))
			if t.Hint != "" {
				fmt.Fprintf(w, "hint: %s\n", clean(t.Hint))
			}
		}
		if t.Note != "" {
			fmt.Fprintf(w, "%s: %s\n", clean(t.Table), clean(t.Note))
		}
		if t.ChangingRows > 0 {
			fmt.Fprintf(w, "%s: %d rows changed all the time and were not compared, such as %s\n", clean(t.Table), t.ChangingRows, clean(strings.Join(t.Changing, ", ")))
		}
		for _, d := range t.Differences {
			fmt.Fprintf(w, "%s %s: %s\n", clean(t.Table), clean(d.Key), differenceWords(v, d))
		}
	}
	fmt.Fprintf(w, "%d read units at %s, %d at %s, in %s\n", v.Units.SourceRead, v.From, v.Units.TargetRead, v.To, age(v.Took))
}

// differenceWords says in what a row differs, without a value.
func differenceWords(v verified, d replication.RowDifference) string {
	kind := func(k replication.DifferenceKind) string {
		switch k {
		case replication.OnlySource:
			return "only at " + string(v.From)
		case replication.OnlyTarget:
			return "only at " + string(v.To)
		case replication.Value:
			return "another value in the same version"
		}
		return "other versions"
	}
	if len(d.Columns) == 0 {
		return kind(d.Kind)
	}
	var out []string
	for _, c := range d.Columns {
		out = append(out, clean(c.Column)+" "+kind(c.Kind))
	}
	if d.MoreColumns > 0 {
		out = append(out, fmt.Sprintf("and %d more columns", d.MoreColumns))
	}
	return strings.Join(out, ", ")
}
