package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"pointsman/internal/config"
	"pointsman/internal/failover"
	"pointsman/replication"
	"pointsman/replication/ots"
)

// preparedReplication is what replication prepare prints.
type preparedReplication struct {
	Instance failover.InstanceName `json:"instance"`
	*replication.Plan
}

func (a *app) replicationPrepare() *cobra.Command {
	var f prepareFlags
	var from string
	cmd := &cobra.Command{
		Use:   "prepare INSTANCE -c FILE",
		Short: "Make what replication needs at both clusters, after showing it",
		Long: `Make what replication of an instance needs: tables that the standby lacks, our own
tables at both clusters, streams of 168 h, windows of versions that take every row.
Both clusters are looked at first and the plan is shown. Nothing is dropped,
shortened or lowered; what would need that is listed, with who has to do it. Run
again, it finds nothing to do.

A stream that is enabled gets a new ID: whoever followed an earlier one has lost
its place, and the table is copied in full.

It needs an identity of its own, once: ots:ListTable, ots:DescribeTable,
ots:CreateTable and ots:UpdateTable at both clusters (pointsman init rights). The
controller never needs it.`,
		Example: `  pointsman replication prepare orders -c pointsman.yaml --key-file admin.key.json --dry-run
  pointsman replication prepare orders -c pointsman.yaml --key-file admin.key.json`,
		Args:              exactly("INSTANCE"),
		ValidArgsFunction: a.completeInstances,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.prepareReplication(cmd.Context(), args[0], from, f)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&from, "from", "", "`CLUSTER` whose tables are taken as they should be; else the active one, as the controller or the file (primary) says")
	a.outputFlag(cmd)
	return cmd
}

func (a *app) prepareReplication(ctx context.Context, name, from string, f prepareFlags) error {
	cfg, inst, err := a.replicated(name)
	if err != nil {
		return err
	}
	way, err := a.direction(ctx, cfg, inst, from)
	if err != nil {
		return err
	}
	rc, err := replicaConfig(inst.Policy.Instance, inst.Replication)
	if err != nil {
		return err
	}
	text, where, hint, err := a.oneShotText(f)
	if err != nil {
		return err
	}
	key, err := ots.ParseCredentials(text)
	if err != nil {
		return failed(hint, "%s: %w", where, err)
	}
	useKey(rc, key)
	look := func() (preparedReplication, error) {
		ctx, cancel := context.WithTimeout(ctx, prepareTime)
		defer cancel()
		facts, err := replication.Inspect(ctx, rc, way.From, way.To)
		if err != nil {
			return preparedReplication{}, failed(replicaHint(err), "look at what is there: %w", err)
		}
		return preparedReplication{inst.Policy.Instance, replication.NewPlan(facts)}, nil
	}
	p, err := look()
	if err != nil {
		return err
	}
	show := func(w io.Writer) { a.replicationPlan(w, p) }
	if why := p.Blocked(); why != "" {
		if err := a.print(p, show); err != nil {
			return err
		}
		return failed("keep the tables of our own in another instance (replication.control), drop what nobody uses, or ask the vendor for more", "nothing was made: %s", why)
	}
	if f.dryRun || len(p.Steps) == 0 {
		if err := a.print(p, show); err != nil || len(p.Steps) == 0 {
			return err
		}
		return errStatus(exitChanges)
	}
	show(a.stderr)
	v := failover.View{Instance: inst.Policy.Instance}
	for _, n := range inst.Policy.Names {
		v.Names = append(v.Names, failover.NameView{NameRecord: failover.NameRecord{Name: n.Name}})
	}
	if err := a.confirm(f.yes, v, fmt.Sprintf("prepare the replication of %s: %d steps", inst.Policy.Instance, len(p.Steps))); err != nil {
		return err
	}
	failure := p.Carry(ctx, rc, func(s replication.PlanStep) {
		fmt.Fprintf(a.stderr, "%s: %s at %s: %s\n", s.State, clean(s.Table), s.Cluster, clean(s.Do))
	})
	if failure != nil {
		if err := a.print(p, show); err != nil {
			return err
		}
		return failed("mend it and run it again: what was made stays. "+replicaHint(failure), "prepare: %w", failure)
	}
	after, err := look()
	if err != nil {
		return failed("run it again: what was made stays", "look again: %w", err)
	}
	p.Left = after.Left
	if err := a.print(p, show); err != nil {
		return err
	}
	if n := len(after.Steps); n > 0 {
		return failed("run it again: somebody else changes tables at the same time", "%d steps are to be done still, the first: %s at %s: %s", n, after.Steps[0].Table, after.Steps[0].Cluster, after.Steps[0].Do)
	}
	return nil
}

// useKey gives one identity all of the work.
func useKey(c replication.Config, key ots.Credentials) {
	one := func() (ots.Credentials, error) { return key, nil }
	for name, at := range c.Clusters {
		at.Source.Credentials, at.Target.Credentials, at.Control.Credentials = one, one, one
		c.Clusters[name] = at
	}
}

// replicated is the instance of the configuration, which must copy rows itself.
func (a *app) replicated(name string) (*config.Config, config.Instance, error) {
	cfg, err := a.loadConfig()
	if err != nil {
		return nil, config.Instance{}, err
	}
	inst, err := instanceNamed(cfg, name)
	switch {
	case err != nil:
		return nil, inst, err
	case inst.Replication == nil:
		return nil, inst, failed("write replication: into the instance: docs/replication.md", "%s has no replication", name)
	case inst.Replication.Mode != replication.ModeStream:
		return nil, inst, failed("ask whoever copies", "the rows of %s are copied by somebody else (mode %s)", name, inst.Replication.Mode)
	}
	return cfg, inst, nil
}

// way is a direction, from the active cluster to the standby.
type way struct{ From, To failover.ClusterName }

// direction is the way that rows go: from the cluster that was named, from the
// one that the controller says is active, or, where none answers, from the
// primary of the file.
func (a *app) direction(ctx context.Context, cfg *config.Config, inst config.Instance, from string) (way, error) {
	names := inst.Policy.Clusters
	w := way{From: failover.ClusterName(from)}
	if from == "" {
		w.From = inst.Policy.Primary
		asked, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		if c, err := a.clientOf(cfg.Controller); err == nil {
			if v, err := c.View(asked, inst.Policy.Instance); err == nil && v.Active != "" {
				w.From = v.Active
			} else {
				fmt.Fprintf(a.stderr, "note: no controller says which cluster is active: %s is taken, the primary of the file (--from)\n", w.From)
			}
		}
	}
	for _, c := range names {
		if c != w.From {
			w.To = c
		}
	}
	if len(names) != 2 || w.From != names[0] && w.From != names[1] {
		return w, failed(fmt.Sprintf("write --from %s or --from %s", names[0], names[len(names)-1]), "--from: %q is no cluster of %s", clean(from), inst.Policy.Instance)
	}
	return w, nil
}

// replicaHint is what to do about a fault of the service.
func replicaHint(err error) string {
	switch ots.ClassOf(err) {
	case ots.ClassRights:
		return "the key lacks a right there: pointsman init rights prints what each identity needs"
	case ots.ClassOwn:
		return "look at clusters.NAME.tablestore.instance, the address and the clock: pointsman doctor --only cluster,clock"
	case ots.ClassRetry:
		return "is the cluster up, and its address reachable from here? pointsman doctor --only cluster"
	}
	return "pointsman doctor --only replication looks at every part"
}

func (a *app) replicationPlan(w io.Writer, p preparedReplication) {
	fmt.Fprintf(w, "%s: rows go from %s (instance %s) to %s (instance %s)\n", clean(string(p.Instance)), p.From.Cluster, clean(p.From.Store), p.To.Cluster, clean(p.To.Store))
	for _, t := range p.Fits {
		fmt.Fprintf(w, "%s fits\n", clean(t))
	}
	var rows [][]string
	for _, s := range p.Steps {
		rows = append(rows, []string{string(s.Cluster), clean(s.Store), clean(s.Table), string(s.State), clean(s.Do)})
	}
	if len(rows) > 0 {
		a.table(w, []string{"CLUSTER", "INSTANCE", "TABLE", "STATE", "WHAT"}, rows)
	} else {
		fmt.Fprintln(w, "nothing is missing that could be made")
	}
	told := map[string]bool{}
	for _, s := range p.Steps {
		if s.Know != "" && !told[s.Know] {
			told[s.Know] = true
			fmt.Fprintf(w, "%s: %s\n", clean(s.Table), s.Know)
		}
		if s.Why != "" {
			fmt.Fprintf(w, "%s at %s: %s\n", clean(s.Table), s.Cluster, clean(s.Why))
		}
	}
	if len(p.Left) == 0 {
		return
	}
	rows = nil
	for _, f := range p.Left {
		rows = append(rows, []string{string(f.Level), f.ID, clean(f.Table), clean(f.Evidence), f.Hint})
	}
	fmt.Fprintln(w, "left, which no step mends:")
	a.table(w, []string{"LEVEL", "CHECK", "TABLE", "EVIDENCE", "WHAT TO DO"}, rows)
}
