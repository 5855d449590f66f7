package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

// orderFlags are the flags of every order that is no move.
type orderFlags struct {
	by, reason string
	yes        bool
}

func (o *orderFlags) register(a *app, cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.by, "by", "", "who asks, for the audit (default user@host)")
	cmd.Flags().StringVar(&o.reason, "reason", "", "why, for the audit")
	a.outputFlag(cmd)
	cmd.ValidArgsFunction = a.completeInstances
}

func (o *orderFlags) registerYes(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.yes, "yes", false, "no question")
}

// order submits one command and prints the reply.
func (a *app) order(ctx context.Context, name string, r api.CommandRequest) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	rep, err := c.Do(ctx, failover.InstanceName(name), r)
	if err != nil {
		return nearInstance(err, name)
	}
	return a.finish(ctx, c, failover.InstanceName(name), rep, waitFlags{}, string(r.Verb))
}

func (a *app) abortCommand() *cobra.Command {
	var o orderFlags
	cmd := &cobra.Command{
		Use:   "abort INSTANCE",
		Short: "Unwind the operation in hand, up to the first write of the move",
		Args:  exactly("INSTANCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.order(cmd.Context(), args[0], api.CommandRequest{Verb: failover.DoAbort, By: orElse(o.by, a.who()), Reason: o.reason})
		},
	}
	o.register(a, cmd)
	cmd.ValidArgsFunction = a.completeOperations
	return cmd
}

func (a *app) ackCommand() *cobra.Command {
	var o orderFlags
	cmd := &cobra.Command{
		Use:   "ack INSTANCE",
		Short: "Acknowledge the last failover, so that the next automatic one may start",
		Args:  exactly("INSTANCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.order(cmd.Context(), args[0], api.CommandRequest{Verb: failover.DoAck, By: orElse(o.by, a.who()), Reason: o.reason})
		},
	}
	o.register(a, cmd)
	return cmd
}

func (a *app) pauseCommand() *cobra.Command {
	var o orderFlags
	var all bool
	var span time.Duration
	cmd := &cobra.Command{
		Use:   "pause INSTANCE… | --all",
		Short: "Let nothing new start; what was begun is finished",
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(o.reason) == "" {
				return failed("add --reason TEXT: others will read it in status", "pause needs a reason")
			}
			r := api.CommandRequest{Verb: failover.DoPause, By: orElse(o.by, a.who()), Reason: o.reason}
			if cmd.Flags().Changed("for") {
				if span <= 0 {
					return failed("write it as 30m or 2h; leave it out to pause until resumed", "--for must be above 0")
				}
				r.For = span.String()
			}
			return a.each(cmd, args, all, r)
		},
	}
	o.register(a, cmd)
	cmd.Flags().DurationVar(&span, "for", 0, "end the pause by itself after this `DURATION`")
	cmd.Flags().BoolVar(&all, "all", false, "every instance")
	return cmd
}

func (a *app) resumeCommand() *cobra.Command {
	var o orderFlags
	var all bool
	cmd := &cobra.Command{
		Use:   "resume INSTANCE… | --all",
		Short: "End a pause",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(cmd, args, all, api.CommandRequest{Verb: failover.DoResume, By: orElse(o.by, a.who()), Reason: o.reason})
		},
	}
	o.register(a, cmd)
	cmd.Flags().BoolVar(&all, "all", false, "every instance")
	return cmd
}

// each submits the same command for several instances; the first no decides
// the exit status, the others are still asked.
func (a *app) each(cmd *cobra.Command, names []string, all bool, r api.CommandRequest) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	switch {
	case all && len(names) > 0:
		return failed("give one of them", "both --all and %s are given", names[0])
	case all:
		vs, err := c.Views(cmd.Context())
		if err != nil {
			return err
		}
		for _, v := range vs {
			names = append(names, string(v.Instance))
		}
	case len(names) == 0:
		return failed("usage: "+cmd.UseLine(), "INSTANCE is missing")
	}
	type line struct {
		Instance string `json:"instance"`
		api.Reply
	}
	var lines []line
	var first error
	for _, n := range names {
		rep, err := c.Do(cmd.Context(), failover.InstanceName(n), r)
		if err != nil {
			if first == nil {
				first = nearInstance(err, n)
			}
			continue
		}
		lines = append(lines, line{n, rep})
		if err := replyError(rep, string(r.Verb)); err != nil && first == nil {
			first = err
		}
	}
	if err := a.print(lines, func(w io.Writer) {
		for _, l := range lines {
			fmt.Fprintf(w, "%s: %s\n", l.Instance, clean(l.Text))
		}
	}); err != nil {
		return err
	}
	return first
}
