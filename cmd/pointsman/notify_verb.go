package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/api"
)

func (a *app) notifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "notify",
		Short: "Show the channels by which people are told, and try them",
		Args:  a.unknownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.notifyTest(), a.notifyList())
	return cmd
}

func (a *app) notifyTest() *cobra.Command {
	var by string
	cmd := &cobra.Command{
		Use:   "test [CHANNEL…]",
		Short: "Send a message through channels now and say what became of each",
		Long: `Make the running controller send a message through each channel that is named,
or through all, and print one row for each. The messages go past the outbox and
are tried once. The exit status is 1 when one was not taken.`,
		Example: "  pointsman notify test\n  pointsman notify test oncall mail",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			rows, err := c.TestChannels(cmd.Context(), api.NotifyTest{By: orElse(by, a.who()), Channels: args})
			if err != nil {
				return nearChannel(err, args)
			}
			return a.printTested(rows)
		},
		ValidArgsFunction: a.completeChannels,
	}
	cmd.Flags().StringVar(&by, "by", "", "who asks, for the message (default user@host)")
	a.outputFlag(cmd)
	return cmd
}

func (a *app) printTested(rows []api.ChannelTest) error {
	var bad []string
	err := a.print(rows, func(w io.Writer) {
		var out [][]string
		for _, r := range rows {
			result := "sent"
			if !r.OK {
				result = "failed"
			}
			out = append(out, []string{r.Channel, r.Type, result, age(r.Took), orElse(r.Why, "-")})
		}
		if len(out) > 0 {
			a.table(w, []string{"CHANNEL", "TYPE", "RESULT", "TOOK", "WHY"}, out)
		}
	})
	if err != nil {
		return err
	}
	for _, r := range rows {
		if !r.OK {
			bad = append(bad, r.Channel)
		}
	}
	switch {
	case len(rows) == 0:
		return failed("see notify in docs/config.md", "the config has no channels: nobody is told of anything")
	case len(bad) > 0:
		return failed("mend what the rows say; docs/delivery.md lists what each channel needs", "not taken by %s", strings.Join(bad, ", "))
	}
	return nil
}

func (a *app) notifyList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "Show every channel, what it has sent and what waits for it",
		Example: "  pointsman notify list -o json",
		Args:    atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			rows, err := c.Channels(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(rows, func(w io.Writer) {
				var out [][]string
				for _, r := range rows {
					var dropped uint64
					for _, n := range r.Dropped {
						dropped += n
					}
					out = append(out, []string{
						r.Channel, r.Type, fmt.Sprint(r.Sent), fmt.Sprint(r.Failed), fmt.Sprint(dropped), fmt.Sprint(r.Waiting), stamp(r.Oldest), orElse(r.LastError, "-"),
					})
				}
				a.table(w, []string{"CHANNEL", "TYPE", "SENT", "FAILED", "DROPPED", "WAITING", "OLDEST", "LAST ERROR"}, out)
			})
		},
	}
	a.outputFlag(cmd)
	return cmd
}

// completeChannels offers the channels of the running controller that are not
// on the line yet.
func (a *app) completeChannels(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
	defer cancel()
	rows, err := c.Channels(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, r := range rows {
		if !slices.Contains(args, r.Channel) {
			names = append(names, r.Channel)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// nearChannel adds the nearest name to the error of a mistyped one.
func nearChannel(err error, typed []string) error {
	var p *api.Problem
	if !errors.As(err, &p) || len(p.Known) == 0 {
		return err
	}
	for _, name := range typed {
		if strings.Contains(p.Message, fmt.Sprintf("%q", name)) {
			if n := nearest(name, p.Known); n != "" {
				return failed(fmt.Sprintf("did you mean %s?", n), "%w", err)
			}
		}
	}
	return failed(didYouMean(p.Known, p.More), "%w", err)
}
