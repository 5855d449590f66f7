package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"pointsman/internal/api"
)

func (a *app) reloadCommand() *cobra.Command {
	var q api.ReloadRequest
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Make the controller take its file anew, or say what that would change",
		Long: `Make the running controller take its configuration file anew, wait until it has
and print what changed. A file with mistakes, or one that would need a restart,
is refused as a whole and the old one goes on. A reload never moves a name.

With --dry-run nothing is taken: the exit status is 2 when the file differs from
what runs. A file that takes away more than half of the instances or all names
of a zone is refused until its hash, which is printed then, is given with
--accept-removals.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q.By = orElse(q.By, a.who())
			c, err := a.reloadClient()
			if err != nil {
				return err
			}
			rep, err := c.Reload(cmd.Context(), q)
			if err != nil {
				return err
			}
			return a.printReload(rep)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&q.DryRun, "dry-run", false, "only show what differs between the file and what runs")
	f.StringVar(&q.AcceptRemovals, "accept-removals", "", "`HASH` of the file whose removals are meant, its first 12 characters or more")
	f.StringVar(&q.By, "by", "", "who asks, for the audit (default user@host)")
	f.StringVar(&q.Reason, "reason", "", "why, for the audit")
	a.outputFlag(cmd)
	return cmd
}

// reloadClient finds the controller although the file that names its socket
// may hold mistakes just now: the refusal is what is asked for.
func (a *app) reloadClient() (*api.Client, error) {
	c, err := a.client()
	if err == nil || a.server != "" || a.config == "" {
		return c, err
	}
	return nil, failed("mend it, or name the socket: pointsman reload --socket PATH", "%w", errors.Unwrap(err))
}

func (a *app) printReload(rep api.ReloadReply) error {
	if err := a.print(rep, func(w io.Writer) { reloadText(w, rep) }); err != nil {
		return err
	}
	switch {
	case rep.Result == api.ReloadRefused:
		return &failure{exitError, fmt.Errorf("refused, the configuration of %s (%s) goes on: %s",
			stamp(rep.State.LoadedAt), shortHash(rep.State.Hash), rep.Reason), orElse(rep.Hint, "mend the file, then reload")}
	case rep.DryRun && rep.Result == api.ReloadOK:
		return errStatus(exitChanges)
	}
	return nil
}

func reloadText(w io.Writer, rep api.ReloadReply) {
	for _, c := range rep.Changes {
		fmt.Fprintf(w, "%s\n", clean(c.Text))
	}
	if rep.More > 0 {
		fmt.Fprintf(w, "… and %d more\n", rep.More)
	}
	n := len(rep.Changes) + rep.More
	file := clean(rep.State.File)
	switch {
	case rep.Result == api.ReloadRefused:
	case rep.Result == api.ReloadUnchanged:
		fmt.Fprintf(w, "unchanged: %s (%s) is what runs\n", file, shortHash(rep.Hash))
	case rep.DryRun:
		fmt.Fprintf(w, "%s would be taken (%s): %s\n", file, shortHash(rep.Hash), changesOf(n))
		if len(rep.Removes) > 0 {
			fmt.Fprintf(w, "removals that were accepted: %s\n", clean(strings.Join(rep.Removes, "; ")))
		}
	default:
		fmt.Fprintf(w, "%s is taken (%s): %s\n", file, shortHash(rep.Hash), changesOf(n))
	}
}

func changesOf(n int) string {
	if n == 1 {
		return "1 change"
	}
	return fmt.Sprintf("%d changes", n)
}

func (a *app) configRunning() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "running",
		Short: "Show which configuration the controller runs, and why a newer one was refused",
		Args:  atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.reloadClient()
			if err != nil {
				return err
			}
			st, err := c.Config(cmd.Context())
			if err != nil {
				return err
			}
			st.Clocks = nil // what the API knows beside; status shows it
			return a.print(st, func(w io.Writer) {
				fmt.Fprintf(w, "%s\n  SHA-256 %s\n  loaded %s\n", clean(st.File), st.Hash, stamp(st.LoadedAt))
				if st.Refused != nil {
					fmt.Fprintf(w, "%s\n", clean(configNotice(st)))
				}
				for _, r := range st.Vantages {
					fmt.Fprintf(w, "%s\n", clean(refusalNotice(r)))
				}
			})
		},
	}
	a.outputFlag(cmd)
	return cmd
}
