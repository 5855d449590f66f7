package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

func (a *app) armCommand() *cobra.Command {
	var o orderFlags
	var mode, change string
	cmd := &cobra.Command{
		Use:   "arm INSTANCE --mode propose|approve|auto",
		Short: "Let an instance out of shadow: the only door to live",
		Long: `Let an instance out of shadow.

  propose  people may move it; automation only proposes
  approve  automation asks people, and moves when enough of them have approved
  auto     automation may move it too, as far as the policy's auto allows`,
		Args: exactly("INSTANCE"),
	}
	o.register(a, cmd)
	o.registerYes(cmd)
	cmd.Flags().StringVar(&mode, "mode", "", "propose, approve or auto")
	cmd.Flags().StringVar(&change, "change", "", "`NUMBER` of the change request, for the audit")
	_ = cmd.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions([]string{"propose", "approve", "auto"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		becomes := map[string]string{
			string(failover.ModePropose): "people may move its name; automation only proposes",
			string(failover.ModeApprove): "people may move its name; automation asks them first, and moves when enough have approved",
			string(failover.ModeAuto):    "automation may move its name by itself",
		}[mode]
		if becomes == "" {
			return failed("add --mode propose, --mode approve or --mode auto", "--mode %q is none of propose, approve, auto", mode)
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		v, err := c.View(cmd.Context(), failover.InstanceName(args[0]))
		if err != nil {
			return nearInstance(err, args[0])
		}
		if err := a.confirm(o.yes, v, fmt.Sprintf("arm %s (now %s): %s", v.Instance, v.Mode, becomes)); err != nil {
			return err
		}
		return a.order(cmd.Context(), args[0], api.CommandRequest{
			Verb: failover.DoArm, By: orElse(o.by, a.who()), Reason: o.reason, Mode: failover.Mode(mode), Change: change,
		})
	}
	return cmd
}

func (a *app) disarmCommand() *cobra.Command {
	var o orderFlags
	cmd := &cobra.Command{
		Use:   "disarm INSTANCE",
		Short: "Back to shadow: everything is decided, nothing is done",
		Args:  exactly("INSTANCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.order(cmd.Context(), args[0], api.CommandRequest{Verb: failover.DoDisarm, By: orElse(o.by, a.who()), Reason: o.reason})
		},
	}
	o.register(a, cmd)
	return cmd
}
