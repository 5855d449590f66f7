package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

func (a *app) switchoverCommand() *cobra.Command {
	return a.moveCommand(failover.Switchover, &cobra.Command{
		Use:   "switchover INSTANCE",
		Short: "Move to the other cluster as planned, both alive, losing nothing",
		Long: `Move the name to the standby while both clusters are alive. What cannot be
shown to be safe is refused or unwound. --from is checked, not obeyed.

` + exitHelp,
	})
}

func (a *app) failoverCommand() *cobra.Command {
	return a.moveCommand(failover.Failover, &cobra.Command{
		Use:   "failover INSTANCE --to CLUSTER",
		Short: "Move away from a cluster that is lost; may lose what was not replicated",
		Long: `Move the name away from a cluster that is lost. What was not replicated yet
may be lost; where that is more than the policy allows, --accept-loss states how
much you accept, once. To move between two clusters that are alive use switchover.

` + exitHelp,
	})
}

func (a *app) moveCommand(kind failover.OpKind, cmd *cobra.Command) *cobra.Command {
	var m moveFlags
	var w waitFlags
	var yes bool
	cmd.Args = exactly("INSTANCE")
	cmd.ValidArgsFunction = a.completeInstances
	m.register(a, cmd, kind)
	w.register(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "no question")
	a.outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if kind == failover.Failover && m.to == "" {
			return failed("name the cluster that is to serve: --to CLUSTER", "--to is missing")
		}
		r, err := m.request(a, cmd, failover.Verb(kind))
		if err != nil {
			return err
		}
		return a.move(cmd.Context(), args[0], r, w, yes)
	}
	return cmd
}

func (a *app) move(ctx context.Context, name string, r api.CommandRequest, w waitFlags, yes bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	v, err := c.View(ctx, failover.InstanceName(name))
	if err != nil {
		return nearInstance(err, name)
	}
	if r.To == "" {
		r.To = v.Standby
	}
	if !yes && a.stderrTTY {
		a.statusTable(a.stderr, []failover.View{v})
		fmt.Fprintln(a.stderr)
	}
	if err := a.confirm(yes, v, fmt.Sprintf("%s of %s from %s to %s", r.Verb, v.Instance, v.Active, r.To)); err != nil {
		return err
	}
	if !yes {
		// What was confirmed is the move away from what was shown.
		if r.ExpectActive == "" {
			r.ExpectActive = v.Active
		}
		if r.ExpectEpoch == nil {
			r.ExpectEpoch = &v.Token.Epoch
		}
	}
	rep, err := c.Do(ctx, v.Instance, r)
	if err != nil {
		return err
	}
	w.before = lastOpID(v)
	return a.finish(ctx, c, v.Instance, rep, w, string(r.Verb))
}
