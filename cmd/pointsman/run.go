package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"pointsman/dnsctl/authority"
	"pointsman/internal/api"
	"pointsman/internal/ledger"
)

func (a *app) runCommand() *cobra.Command {
	var l logFlags
	var shadow bool
	cmd := &cobra.Command{
		Use:   "run -c FILE",
		Short: "Run the controller: probe, decide, move, answer",
		Long: `Run the controller of FILE until it is told to end (SIGINT, SIGTERM).

SIGHUP, a change of FILE or of a file that it names, and 'pointsman reload'
make it take FILE anew; what cannot be taken is refused as a whole.

With --shadow every instance stays in shadow whatever was armed: everything is
decided and nothing is done. No credential that could write is read.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			hup, stop := a.hangUps() // first: one that comes while it starts must not end it
			defer stop()
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			log, err := a.logger(l)
			if err != nil {
				return err
			}
			fail, err := failpoints(a.env)
			if err != nil {
				return err
			}
			file := cfg.File
			p, err := newProcess(cmd.Context(), processConfig{Config: cfg, Shadow: shadow, Log: log, Fail: fail, Hup: hup, Version: buildVersion()})
			cfg = nil // a reload puts another in its place
			if err != nil {
				return startError(err, file)
			}
			if err := p.Run(cmd.Context()); err != nil {
				return startError(err, file)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&shadow, "shadow", false, "decide everything, do nothing, hold no credential that could write")
	l.register(cmd)
	return cmd
}

// startError adds what a person can do about a failed start.
func startError(err error, file string) error {
	if f := (*failure)(nil); errors.As(err, &f) {
		return err
	}
	hint := orElse(hintOf(err), fmt.Sprintf("check %s and the lines above", file))
	switch {
	case errors.Is(err, ledger.ErrLocked):
		hint = "end that process first, or give this one a controller.data of its own"
	case errors.Is(err, ledger.ErrNewer):
		hint = "start the newer version again, or restore the data directory from before it"
	case errors.Is(err, ledger.ErrCorrupt):
		hint = "keep the data directory; before an empty one takes its place, set primary of each instance to the cluster that serves it now: names of the embedded authority begin there, names elsewhere are taken over by 'pointsman adopt'"
	case errors.Is(err, api.ErrSocketTaken):
		hint = "end that process first, or choose another controller.socket"
	case errors.Is(err, api.ErrSocketDir):
		hint = "chmod go-w that directory, or choose another controller.socket"
	case errors.Is(err, api.ErrNotLoopback):
		hint = "listen on 127.0.0.1 and put a TLS proxy in front"
	case errors.Is(err, api.ErrNoToken):
		hint = "write a random one into controller.token_file, such as by: openssl rand -hex 32"
	case errors.Is(err, authority.ErrConfig):
		hint = fmt.Sprintf("check authority in %s", file)
	}
	return &failure{exitError, err, hint}
}
