package main

import (
	"strings"

	"github.com/spf13/cobra"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

func (a *app) refillCommand() *cobra.Command {
	var o orderFlags
	var to, change string
	var giveUp bool
	cmd := &cobra.Command{
		Use:   "refill INSTANCE",
		Short: "Let replication overwrite a cluster that was active before a failover",
		Long: `Let replication overwrite a cluster that was active before a failover. Such a
cluster is invalidated: nothing is written to it and nothing moves to it, because
it may hold writes that the other one never saw. Look at them first, with
'pointsman replication lost INSTANCE'. Where there may be any, the refill wants
--give-up-unsynced-rows, and a second person where moves want one.

` + exitHelp,
		Example: "  pointsman refill orders --to a --give-up-unsynced-rows --reason 'exported, CHG-71'",
		Args:    exactly("INSTANCE"),
	}
	o.register(a, cmd)
	cmd.Flags().StringVar(&to, "to", "", "refuse unless this `CLUSTER` is the standby")
	cmd.Flags().StringVar(&change, "change", "", "`NUMBER` of the change request, for the audit")
	cmd.Flags().BoolVar(&giveUp, "give-up-unsynced-rows", false, "overwrite rows that the active cluster never saw")
	_ = cmd.RegisterFlagCompletionFunc("to", a.completeClusters)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if strings.TrimSpace(o.reason) == "" {
			return failed("add --reason TEXT: it goes into the audit", "refill needs a reason")
		}
		r := api.CommandRequest{Verb: failover.DoRefill, By: orElse(o.by, a.who()), Reason: o.reason, To: failover.ClusterName(to), Change: change}
		if giveUp {
			r.Override = []failover.Guard{failover.GuardUnsynced}
		}
		return a.order(cmd.Context(), args[0], r)
	}
	return cmd
}
