package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

func (a *app) adoptCommand() *cobra.Command {
	return a.driftCommand(failover.DoAdopt, &cobra.Command{
		Use:   "adopt INSTANCE",
		Short: "Take over the name as it is now: its target becomes the active cluster",
		Long: `Take over a name as it is now. Used once for a name that lives elsewhere, and
after somebody else changed it: the target that it has now, which must be one of
the two, becomes the active cluster. The value that you saw is sent along, so
that a later change is not adopted unseen.`,
	})
}

func (a *app) restoreCommand() *cobra.Command {
	return a.driftCommand(failover.DoRestore, &cobra.Command{
		Use:   "restore INSTANCE",
		Short: "Put the name back to what the record says, after somebody else changed it",
	})
}

func (a *app) driftCommand(verb failover.Verb, cmd *cobra.Command) *cobra.Command {
	var o orderFlags
	var seen string
	var base uint64
	cmd.Args = exactly("INSTANCE")
	o.register(a, cmd)
	o.registerYes(cmd)
	cmd.Flags().StringVar(&seen, "seen", "", "the `TARGET` that the name shows now, or \"absent\" (default: what the controller last saw)")
	cmd.Flags().Uint64Var(&base, "term-base", 0, "after the ledger was rebuilt: the `TERM` in the name's mark, to count on from")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		v, err := c.View(cmd.Context(), failover.InstanceName(args[0]))
		if err != nil {
			return nearInstance(err, args[0])
		}
		if seen == "" {
			seen = string(lastSeen(v))
		}
		seen = strings.ToLower(seen)
		if seen != "" && seen != string(failover.SeenAbsent) && !strings.HasSuffix(seen, ".") {
			seen += "."
		}
		what := fmt.Sprintf("%s %s: the name shows %s, the record says %s", verb, v.Instance, orElse(seen, "nothing that was read"), orElse(string(v.Active), "nothing"))
		if err := a.confirm(o.yes, v, what); err != nil {
			return err
		}
		rep, err := c.Do(cmd.Context(), v.Instance, api.CommandRequest{
			Verb: verb, By: orElse(o.by, a.who()), Reason: o.reason, Seen: failover.Target(seen), TermBase: base,
		})
		if err != nil {
			return err
		}
		return a.finish(cmd.Context(), c, v.Instance, rep, waitFlags{}, string(verb))
	}
	return cmd
}

// lastSeen is the value that set off the drift, or else the one value that was
// read; several names with values of their own have no one value to name.
func lastSeen(v failover.View) failover.Target {
	for _, s := range v.Stops {
		if s.Kind == failover.StopDrift {
			return failover.Target(orElse(string(s.Seen), string(failover.SeenAbsent)))
		}
	}
	var seen failover.Target
	for _, n := range v.Names {
		if seen != "" && n.Seen != "" && n.Seen != seen {
			return ""
		}
		seen = failover.Target(orElse(string(n.Seen), string(seen)))
	}
	return seen
}
