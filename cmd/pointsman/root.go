package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pointsman/internal/failover"
)

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "pointsman",
		Short: "Moves one DNS name between two clusters, safely, and says why",
		Long: `pointsman looks at two clusters behind one DNS name, decides by a quorum of
vantages which of them may serve it, moves the name, and looks again.

'pointsman run' is the controller; 'pointsman vantage' probes from elsewhere;
the other commands ask or order a controller that runs. They find it by
--server, --socket, -c FILE (its controller.socket), $POINTSMAN_SOCKET, or at
` + defaultSocket + `, in this order.

` + exitHelp,
		SilenceErrors: true, SilenceUsage: true,
		Args: a.unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return failed(fmt.Sprintf("see '%s --help'", cmd.CommandPath()), "%w", err)
	})
	root.CompletionOptions.HiddenDefaultCmd = false
	f := root.PersistentFlags()
	f.StringVarP(&a.config, "config", "c", "", "configuration `FILE`")
	f.StringVar(&a.socket, "socket", "", "Unix socket of the controller")
	f.StringVar(&a.server, "server", "", "`URL` of the controller, such as http://127.0.0.1:8053; needs --token-file")
	f.StringVar(&a.tokenFile, "token-file", "", "`FILE` with your token: for --server (default $POINTSMAN_TOKEN_FILE), or as a principal over the socket")
	f.BoolVar(&a.noColor, "no-color", false, "no colours, as with $NO_COLOR")

	root.AddGroup(
		&cobra.Group{ID: "look", Title: "Look:"},
		&cobra.Group{ID: "move", Title: "Move:"},
		&cobra.Group{ID: "hold", Title: "Hold and release:"},
		&cobra.Group{ID: "serve", Title: "Serve:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("look", a.statusCommand(), a.explainCommand(), a.planCommand(), a.historyCommand(), a.auditCommand())
	add("look", a.namesCommand(), a.replicationCommand())
	add("look", a.notifyCommand())
	add("look", a.doctorCommand())
	add("look", a.bundleCommand())
	add("look", a.shadowCommand())
	add("look", a.replayCommand())
	add("move", a.switchoverCommand(), a.failoverCommand(), a.applyCommand(), a.abortCommand(), a.adoptCommand(), a.restoreCommand())
	add("move", a.approveCommand(), a.denyCommand(), a.refillCommand())
	add("look", a.reportCommand())
	add("hold", a.pauseCommand(), a.resumeCommand(), a.ackCommand(), a.armCommand(), a.disarmCommand())
	add("serve", a.runCommand(), a.vantageCommand(), a.reloadCommand(), a.configCommand(), a.initCommand())
	add("serve", a.hookCommand(), a.ejectCommand())
	add("serve", a.tablestoreCommand())
	root.AddCommand(a.versionCommand(), a.manCommand())
	return root
}

// unknownCommand puts cobra's suggestions into our form of a hint.
func (a *app) unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := fmt.Sprintf("see '%s --help'", cmd.CommandPath())
	cmd.SuggestionsMinimumDistance = 2
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		hint = "did you mean " + strings.Join(s, " or ") + "?"
	}
	return failed(hint, "there is no command %q", strings.TrimSpace(strings.TrimPrefix(cmd.CommandPath(), "pointsman")+" "+args[0]))
}

// exactly wants n arguments, named as in the usage line.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		hint := "usage: " + cmd.UseLine()
		switch {
		case len(args) < len(names):
			return failed(hint, "%s is missing", names[len(args)])
		case len(args) > len(names):
			return failed(hint, "%q is one argument too many", args[len(names)])
		}
		return nil
	}
}

func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return failed("usage: "+cmd.UseLine(), "%q is one argument too many", args[n])
		}
		return nil
	}
}

// completeClusters offers the clusters of the instance that is on the line.
func (a *app) completeClusters(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := a.client()
	if err != nil || len(args) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	v, err := c.View(ctx, failover.InstanceName(args[0]))
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, cl := range v.Clusters {
		names = append(names, string(cl.Name))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeInstances offers the names that the running controller knows.
func (a *app) completeInstances(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 && cmd.Name() != "pause" && cmd.Name() != "resume" && cmd.Name() != "eject" {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, v := range a.offered(cmd) {
		names = append(names, string(v.Instance))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
