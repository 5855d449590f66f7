package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"pointsman/internal/lab"
)

func (a *app) providersCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "providers",
		Short: "Let one controller move names at BIND, in a policy zone, at Alibaba Cloud (the lab's) and in delegated mode, side by side",
		Long: `Start a BIND, the lab's Alibaba Cloud, two clusters and one controller that moves
five names, each kept elsewhere: in a zone of BIND by dynamic update (rfc2136), in
a response policy zone of the clients' resolver (rpz), at Alibaba Cloud DNS
(alidns), in PrivateZone (pvtz), and in delegated mode, where the name that
clients call is a static CNAME in a zone that is never touched (embedded).

Then the active cluster is killed. Recorders ask for each name as its clients do.
It is broken when a name does not move, goes back, or was ever answered with
nothing; then the exit status is ` + fmt.Sprint(exitBroken) + `. Times are printed, never judged: all names and
all servers share this machine.`,
		Args: cobra.NoArgs,
	}
	a.labFlags(cmd)
	outputFlag(cmd, &output)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := a.config()
		if err != nil {
			return err
		}
		r, err := lab.Places(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		if output == "json" {
			b, err := r.JSON()
			if err != nil {
				return err
			}
			if _, err := a.out.Write(b); err != nil {
				return fmt.Errorf("print the report: %w", err)
			}
		} else {
			r.WriteTable(a.out)
		}
		if !r.OK {
			return errBroken
		}
		return nil
	}
	return cmd
}
