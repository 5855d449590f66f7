package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

// waitFlags say whether a command waits for the end of what it started.
type waitFlags struct {
	wait, noWait bool
	timeout      time.Duration

	before string // id of the last operation before the command; empty when there was none
}

// lastOpID is what a command finds as the last operation.
func lastOpID(v failover.View) string {
	if v.LastOp == nil {
		return ""
	}
	return v.LastOp.Op.ID
}

func (f *waitFlags) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.wait, "wait", true, "wait for the end of the operation")
	cmd.Flags().BoolVar(&f.noWait, "no-wait", false, "return as soon as the operation is committed")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 10*time.Minute, "stop waiting after this `DURATION`; the operation goes on")
}

// moveResult is what a command that moves prints.
type moveResult struct {
	api.Reply
	Outcome failover.Outcome     `json:"outcome,omitempty"` // absent when nobody waited for it
	Op      *failover.Op         `json:"op,omitempty"`
	Active  failover.ClusterName `json:"active,omitempty"`
}

var errEnded = errors.New("operation ended")

// finish prints the reply of a command that may have started an operation,
// and waits for its end where that is wanted.
func (a *app) finish(ctx context.Context, c *api.Client, name failover.InstanceName, rep api.Reply, w waitFlags, verb string) error {
	res := moveResult{Reply: rep}
	if err := replyError(rep, verb); err != nil {
		if a.output != outputTable && a.output != "" {
			if perr := a.print(res, nil); perr != nil {
				return perr
			}
		}
		return err
	}
	if rep.Code != failover.ReplyStarted || w.noWait || !w.wait {
		return a.print(res, func(out io.Writer) { fmt.Fprintln(out, clean(rep.Text)) })
	}
	if rep.OpID == "" {
		var err error
		if rep.OpID, err = startedSince(ctx, c, name, w.before); err != nil {
			return err
		}
		res.Reply = rep
	}
	last, err := a.waitForOp(ctx, c, name, rep.OpID, w.timeout)
	if err != nil {
		return err
	}
	res.Outcome, res.Op, res.Active = last.LastOp.Outcome, &last.LastOp.Op, last.Active
	if err := a.print(res, func(out io.Writer) {
		fmt.Fprintf(out, "%s: %s of %s from %s to %s %s after %s; active is %s\n", name, rep.OpID, res.Op.Kind, res.Op.From, res.Op.To,
			res.Outcome, age(last.LastOp.At.Sub(res.Op.Since)), last.Active)
	}); err != nil {
		return err
	}
	switch res.Outcome {
	case failover.Settled:
		return nil
	case failover.Yielded:
		return &failure{exitNotLeading, fmt.Errorf("yielded: %s", last.LastOp.Why), "ask the controller that leads: its /leader answers 200"}
	default:
		return failed(fmt.Sprintf("see 'pointsman explain %s'; the name points at %s as before", name, last.Active), "%s %s: %s", verb, res.Outcome, orElse(last.LastOp.Why, "no reason was recorded"))
	}
}

// startedSince finds the operation that a command started, where the reply does
// not name it: the one in hand, or the last one when that is new.
func startedSince(ctx context.Context, c *api.Client, name failover.InstanceName, before string) (string, error) {
	v, err := c.View(ctx, name)
	switch {
	case err != nil:
		return "", err
	case v.Op != nil && v.Op.ID != "":
		return v.Op.ID, nil
	case lastOpID(v) != before:
		return lastOpID(v), nil
	default:
		return "", failed(fmt.Sprintf("see 'pointsman status %s' and 'pointsman audit %s'", name, name), "the controller started an operation and does not say which")
	}
}

// waitForOp follows the views until the operation is the last one. A
// controller that restarts meanwhile resumes the operation, so a lost
// connection is tried again until the time is up.
func (a *app) waitForOp(ctx context.Context, c *api.Client, name failover.InstanceName, op string, timeout time.Duration) (failover.View, error) {
	if op == "" {
		return failover.View{}, failed(fmt.Sprintf("see 'pointsman status %s'", name), "there is no operation to wait for")
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var last failover.View
	p := &progress{out: a.stderr, quiet: !a.stderrTTY}
	gone := &absence{out: a.stderr, where: c.Where()}
	for {
		err := c.Watch(ctx, name, func(vs []failover.View) error {
			gone.ended()
			if len(vs) != 1 {
				return fmt.Errorf("watch of %s: %d views", name, len(vs))
			}
			last = vs[0]
			p.show(last, op)
			switch {
			case last.LastOp != nil && last.LastOp.Op.ID == op:
				return errEnded
			case last.Op != nil && last.Op.ID != op && last.Phase == failover.PhaseOp:
				return failed(fmt.Sprintf("see 'pointsman history %s'", name), "operation %s ended, and %s is in hand since", op, last.Op.ID)
			}
			return nil
		})
		switch {
		case errors.Is(err, errEnded):
			return last, nil
		case errors.Is(ctx.Err(), context.DeadlineExceeded) && !gone.since.IsZero():
			return last, failed("start the controller: what was begun waits in its ledger", "what became of operation %s is not known: the controller at %s has not been reached for %s", op, gone.where, age(time.Since(gone.since)))
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			return last, failed(fmt.Sprintf("it goes on: see 'pointsman status %s', or 'pointsman abort %s'", name, name), "operation %s has not ended after %s", op, timeout)
		case !errors.Is(err, api.ErrUnreachable):
			return last, err
		}
		gone.failed(err)
		select {
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// absence tells, once, that the controller cannot be reached while somebody
// waits for it; also where there is no terminal, since silence looks like work.
type absence struct {
	out   io.Writer
	where string
	since time.Time // of the first try in a row that failed; zero: it is there
	said  bool
}

func (g *absence) failed(err error) {
	now := time.Now()
	if g.since.IsZero() {
		g.since = now // a restart is often over at the next try
		return
	}
	if !g.said {
		g.said = true
		text, _ := splitHint(err)
		fmt.Fprintf(g.out, "not reached since %s: %s; waiting for it, what was begun stands in its ledger\n", stamp(g.since), clean(text))
	}
}

func (g *absence) ended() {
	if g.said {
		fmt.Fprintf(g.out, "reached again after %s\n", age(time.Since(g.since)))
	}
	g.since, g.said = time.Time{}, false
}

// progress prints each step of an operation once.
type progress struct {
	out   io.Writer
	quiet bool
	last  string
}

func (p *progress) show(v failover.View, op string) {
	if p.quiet || v.Op == nil || v.Op.ID != op {
		return
	}
	line := string(v.Op.Step)
	if v.Step != nil {
		line += ": " + v.Step.Doing
	}
	if v.Op.Unwind {
		line = "unwinding " + line
	}
	if v.Op.Held != nil {
		line = "held at " + line + ": " + v.Op.Held.Why
	}
	if line != p.last {
		p.last = line
		fmt.Fprintf(p.out, "%7s  %s\n", age(v.At.Sub(v.Op.Since)), clean(line))
	}
}
