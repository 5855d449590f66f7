package main

import (
	"context"
	"fmt"
	"regexp"

	"github.com/spf13/cobra"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

func (a *app) approveCommand() *cobra.Command {
	var o orderFlags
	var w waitFlags
	cmd := &cobra.Command{
		Use:   "approve PROPOSAL",
		Short: "Say yes to a move that waits for people",
		Long: `Say yes to a move that waits for people. The last yes that is needed starts it,
after every guard was asked once more. Who asked for the move does not approve
it, and one person counts once: --token-file with the token of a principal says
who you are.

` + exitHelp,
		Example: "  pointsman approve orders-p12 --token-file ann.token --reason 'seen on the dashboard'",
		Args:    exactly("PROPOSAL"),
	}
	o.register(a, cmd)
	w.register(cmd)
	cmd.ValidArgsFunction = a.completeProposals
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.answer(cmd.Context(), failover.DoApprove, args[0], o, w)
	}
	return cmd
}

func (a *app) denyCommand() *cobra.Command {
	var o orderFlags
	cmd := &cobra.Command{
		Use:   "deny PROPOSAL",
		Short: "Say no to a move that waits for people, or take your own order back",
		Long: `Say no to a move that waits for people. One that automation wants is not asked
for again until the cluster was up; a person's order is gone.

` + exitHelp,
		Example: "  pointsman deny orders-p12 --reason 'power cut in rack 1, back in five minutes'",
		Args:    exactly("PROPOSAL"),
	}
	o.register(a, cmd)
	cmd.ValidArgsFunction = a.completeProposals
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.answer(cmd.Context(), failover.DoDeny, args[0], o, waitFlags{})
	}
	return cmd
}

var proposalID = regexp.MustCompile(`^(.+)-p[0-9]+$`)

func (a *app) answer(ctx context.Context, verb failover.Verb, id string, o orderFlags, w waitFlags) error {
	m := proposalID.FindStringSubmatch(id)
	if m == nil {
		return failed("it looks like orders-p12: see 'pointsman status'", "%q is no proposal", id)
	}
	name := failover.InstanceName(m[1])
	c, err := a.client()
	if err != nil {
		return err
	}
	v, err := c.View(ctx, name)
	if err != nil {
		return nearInstance(err, m[1])
	}
	rep, err := c.Do(ctx, name, api.CommandRequest{Verb: verb, Proposal: id, By: orElse(o.by, a.who()), Reason: o.reason})
	if err != nil {
		return err
	}
	w.before = lastOpID(v)
	return a.finish(ctx, c, name, rep, w, string(verb))
}

// completeProposals offers the proposals that wait.
func (a *app) completeProposals(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, v := range a.offered(cmd) {
		if pr := v.Proposal; pr != nil && pr.Waits() {
			out = append(out, fmt.Sprintf("%s\t%s from %s to %s, by %s", pr.ID, pr.Kind, pr.From, pr.To, pr.By))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
