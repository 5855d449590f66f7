package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

func (a *app) replicationCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replication",
		Short: "Show how the rows get to the standby and what a switch would lose; give orders about it",
		Long: `Show how the rows of the active cluster get to the standby, and what a switch
would lose; give orders about it.

status and tables look; lost and dead-letters list rows; verify compares both sides;
prepare makes what is missing before a start; pause, resume and resync
are orders, which go into the audit.`,
		Args: a.unknownCommand,
		RunE: func(*cobra.Command, []string) error {
			return failed("usage: pointsman replication status [INSTANCE]", "replication what is missing")
		},
	}
	cmd.AddCommand(
		a.replicationStatus(), a.replicationTables(), a.replicationLost(), a.replicationLetters(),
		a.replicationPause(), a.replicationResume(), a.replicationResync(),
		a.replicationPrepare(), a.replicationVerify(),
	)
	return cmd
}

// replicationOrders are the flags of an order about replication.
type replicationOrders struct {
	by, reason, change string
	yes                bool
}

// sign adds those that the audit wants.
func (o *replicationOrders) sign(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.by, "by", "", "who asks, for the audit (default user@host)")
	cmd.Flags().StringVar(&o.reason, "reason", "", "why, for the audit")
	cmd.Flags().StringVar(&o.change, "change", "", "`NUMBER` of the change request, for the audit")
}

func (o *replicationOrders) register(a *app, cmd *cobra.Command) {
	o.sign(cmd)
	a.outputFlag(cmd)
	cmd.ValidArgsFunction = a.completeReplicated
}

// give submits an order and prints what was done.
func (a *app) give(ctx context.Context, name string, o *replicationOrders, r api.ReplicationOrder) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	r.By, r.Reason, r.Change = orElse(o.by, a.who()), o.reason, o.change
	rep, err := c.OrderReplication(ctx, failover.InstanceName(name), r)
	if err != nil {
		return replicationError(err, name)
	}
	return a.print(rep, func(w io.Writer) { fmt.Fprintf(w, "%s: %s\n", rep.Instance, clean(rep.Text)) })
}

// replicationError gives a refusal its exit status.
func replicationError(err error, name string) error {
	if p, ok := errors.AsType[*api.Problem](err); ok && p.Status == http.StatusConflict {
		return &failure{exitRefused, err, p.Hint}
	}
	return nearInstance(err, name)
}

func (a *app) replicationPause() *cobra.Command {
	var o replicationOrders
	cmd := &cobra.Command{
		Use:   "pause INSTANCE",
		Short: "Copy and apply nothing until resumed, also through restarts; the exposure grows",
		Args:  exactly("INSTANCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(o.reason) == "" {
				return failed("add --reason TEXT: others will read it in status", "replication pause needs a reason")
			}
			return a.give(cmd.Context(), args[0], &o, api.ReplicationOrder{Do: api.ReplicationPauseVerb})
		},
	}
	o.register(a, cmd)
	return cmd
}

func (a *app) replicationResume() *cobra.Command {
	var o replicationOrders
	cmd := &cobra.Command{
		Use:   "resume INSTANCE",
		Short: "End a pause of replication",
		Args:  exactly("INSTANCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.give(cmd.Context(), args[0], &o, api.ReplicationOrder{Do: api.ReplicationResume})
		},
	}
	o.register(a, cmd)
	return cmd
}

func (a *app) replicationResync() *cobra.Command {
	var o replicationOrders
	cmd := &cobra.Command{
		Use:   "resync INSTANCE [TABLE…]",
		Short: "Copy tables anew; deletes rows of the standby that the active cluster lacks",
		Long: `Copy tables anew from the active cluster to the standby: those that are named,
or every one that waits for it. Rows of the standby that the active cluster does
not have are deleted: this is the consent to it.

The standby stays as it is meanwhile, and follows once the copy is done. What
writes of the stream since before the copy say is applied after it.`,
		Example: "  pointsman replication resync orders --reason 'first copy, CHG-71'\n  pointsman replication resync orders items stock --yes --reason 'the stream was trimmed'",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return failed("usage: "+cmd.UseLine(), "INSTANCE is missing")
			}
			return nil
		},
	}
	o.register(a, cmd)
	cmd.Flags().BoolVar(&o.yes, "yes", false, "no question")
	cmd.ValidArgsFunction = a.completeTables
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if strings.TrimSpace(o.reason) == "" {
			return failed("add --reason TEXT: it goes into the audit", "replication resync needs a reason")
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
		what := "every table that waits for it"
		if len(args) > 1 {
			what = strings.Join(args[1:], ", ")
			if len(st.Tables) > 0 {
				if _, err := tablesNamed(&st, args[1:]); err != nil {
					return err
				}
			}
		}
		v, err := c.View(cmd.Context(), name)
		if err != nil {
			return nearInstance(err, args[0])
		}
		ask := fmt.Sprintf("copy %s of %s anew from %s to %s, and delete rows of %s that %s lacks", what, name, st.From, st.To, st.To, st.From)
		if err := a.confirm(o.yes, v, ask); err != nil {
			return err
		}
		return a.give(cmd.Context(), args[0], &o, api.ReplicationOrder{Do: api.ReplicationResync, To: failover.ClusterName(st.To), Tables: args[1:]})
	}
	return cmd
}

// completeReplicated offers the instances of the controller.
func (a *app) completeReplicated(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeInstances(cmd, nil, word)
}

// completeTables offers an instance, and then the tables of it that are
// replicated, each with what it is doing.
func (a *app) completeTables(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return a.completeReplicated(cmd, args, word)
	}
	var out []string
	for _, t := range a.offeredTables(cmd, args[0]) {
		if !strings.Contains(" "+strings.Join(args[1:], " ")+" ", " "+t.Table+" ") {
			out = append(out, cobra.CompletionWithDesc(t.Table, t.Phase))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeTableFlag offers the tables of the instance on the line.
func (a *app) completeTableFlag(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var out []string
	if len(args) > 0 {
		for _, t := range a.offeredTables(cmd, args[0]) {
			out = append(out, cobra.CompletionWithDesc(t.Table, t.Phase))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) offeredTables(cmd *cobra.Command, instance string) []api.ReplicationTable {
	c, err := a.client()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	st, err := c.Replication(ctx, failover.InstanceName(instance))
	if err != nil {
		return nil
	}
	return st.Tables
}
