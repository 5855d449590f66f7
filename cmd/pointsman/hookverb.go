package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

func (a *app) hookCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "hook", Short: "Run hooks by hand", Args: a.unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return failed("usage: pointsman hook test INSTANCE", "hook what is missing")
		},
	}
	cmd.AddCommand(a.hookTestCommand())
	return cmd
}

func (a *app) hookTestCommand() *cobra.Command {
	q := api.HookTestRequest{When: failover.HookPre, Kind: failover.Failover}
	cmd := &cobra.Command{
		Use:   "test INSTANCE [HOOK...]",
		Short: "Run hooks by hand and show what each says and how long it takes",
		Long: `Run hooks of an instance by hand, in the controller, as if an operation stood
before them: nothing moves. Each is told that it is a test ("test": true,
POINTSMAN_TEST=true), and all are run whatever the others say. It exits with 1
when one of the pre-hooks vetoes or has no verdict, or a post-hook fails.`,
		Example: `  pointsman hook test orders
  pointsman hook test orders change-window --on switchover
  pointsman hook test orders --when post`,
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return failed("usage: "+cmd.UseLine(), "INSTANCE is missing")
		}
		return nil
	}
	cmd.ValidArgsFunction = a.completeInstances
	cmd.Flags().StringVar((*string)(&q.When), "when", string(q.When), "pre or post")
	cmd.Flags().StringVar((*string)(&q.Kind), "on", string(q.Kind), "failover or switchover: those that such an operation would run")
	cmd.Flags().StringVar(&q.Reason, "reason", "", "why, for the hook to see")
	cmd.Flags().StringVar(&q.By, "by", "", "who asks (default user@host)")
	for flag, words := range map[string][]string{"when": {string(failover.HookPre), string(failover.HookPost)}, "on": {string(failover.Failover), string(failover.Switchover)}} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
	a.outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		q.By, q.Hooks = orElse(q.By, a.who()), args[1:]
		rep, err := c.TestHooks(cmd.Context(), failover.InstanceName(args[0]), q)
		if err != nil {
			return nearInstance(err, args[0])
		}
		if err := a.print(rep, func(w io.Writer) {
			var rows [][]string
			for _, r := range rep.Results {
				rows = append(rows, []string{r.Name, string(rep.When), string(r.Verdict), age(r.Took), clean(r.Reason)})
			}
			a.table(w, []string{"HOOK", "WHEN", "VERDICT", "TOOK", "REASON"}, rows)
		}); err != nil {
			return err
		}
		bad := slices.IndexFunc(rep.Results, func(r failover.HookResult) bool { return r.Verdict != failover.HookPassed })
		if bad < 0 {
			return nil
		}
		r := rep.Results[bad]
		return failed("docs/hooks.md says what a hook is told and how it answers", "hook %s: %s: %s", r.Name, r.Verdict, orElse(clean(r.Reason), "no reason given"))
	}
	return cmd
}

// hooksTable lists the hooks that a plan would run.
func hooksTable(w io.Writer, hooks []failover.PlanHook) {
	if len(hooks) == 0 {
		return
	}
	var rows [][]string
	for _, h := range hooks {
		late := h.Late
		if h.Skip != "" {
			late = "skipped: " + h.Skip
		}
		rows = append(rows, []string{h.Name, string(h.When), age(h.Timeout), late})
	}
	fmt.Fprintln(w)
	writeTable(w, []string{"HOOK", "WHEN", "BUDGET", "OTHERWISE"}, rows)
}
