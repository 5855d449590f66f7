package main

import (
	"context"
	"log/slog"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"pointsman/healthcheck"
	"pointsman/internal/config"
	"pointsman/internal/failover"
)

func (a *app) vantageCommand() *cobra.Command {
	var l logFlags
	cmd := &cobra.Command{
		Use:   "vantage -c FILE",
		Short: "Probe both clusters from here and report to every controller",
		Long: `Probe both clusters from here and report to every controller. FILE is made by
'pointsman config vantage NAME' at the controller; its key must lie beside it.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.config == "" {
				return failed("make one by: pointsman config vantage NAME -c pointsman.yaml > vantage.yaml", "-c FILE is missing")
			}
			f, err := config.LoadVantage(a.config)
			if err != nil {
				return configError(err)
			}
			a.warn(f.Warnings)
			log, err := a.logger(l)
			if err != nil {
				return err
			}
			return runVantage(cmd.Context(), f, log)
		},
	}
	l.register(cmd)
	return cmd
}

// runVantage probes and reports until ctx ends.
func runVantage(ctx context.Context, f *config.VantageFile, log *slog.Logger) error {
	key, err := readKey(f.KeyFile)
	if err != nil {
		return err
	}
	sender, err := healthcheck.NewSender(healthcheck.SenderConfig{
		Vantage: f.Name, Key: key, Controllers: f.Controllers, Roots: f.Roots,
	})
	if err != nil {
		return failed("check controllers in "+f.File, "report: %w", err)
	}
	voice := &votes{log: log.With("vantage", f.Name)}
	prober, err := healthcheck.NewProber(healthcheck.Config{
		Vantage: f.Name, Targets: f.Targets, Controls: f.Controls, Allow: f.Allow,
		OnReport: func(r healthcheck.InstanceReport) { sender.Send(r); voice.note(r) },
	})
	if err != nil {
		return failed("check the instances in "+f.File, "probe: %w", err)
	}
	log.Info("vantage starts", "vantage", f.Name, "targets", len(f.Targets), "controllers", len(f.Controllers))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return sender.Run(ctx) })
	g.Go(func() error { return prober.Run(ctx) })
	err = g.Wait()
	log.Info("vantage ends", "vantage", f.Name)
	return err
}

func readKey(path string) (healthcheck.Key, error) {
	text, err := config.ReadSecretFile(path)
	if err != nil {
		return nil, failed("make one by: (umask 077; openssl rand -hex 32 > "+path+"), the same at the controller and at the vantage", "read key: %w", err)
	}
	key, err := healthcheck.ParseKey(text)
	if err != nil {
		return nil, failed("make one by: (umask 077; openssl rand -hex 32 > "+path+")", "key %s: %w", path, err)
	}
	return key, nil
}

// votes logs what a vantage says whenever it says something else.
type votes struct {
	log *slog.Logger

	mu   sync.Mutex
	last map[cluster]string
}

type cluster struct {
	instance failover.InstanceName
	cluster  failover.ClusterName
}

func (v *votes) note(r healthcheck.InstanceReport) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.last == nil {
		v.last = make(map[cluster]string)
	}
	for _, c := range r.Clusters {
		vote, reason := c.Vote.String(), c.Reason
		if r.Sick != "" {
			vote, reason = "abstains", r.Sick
		}
		k := cluster{r.Instance, c.Cluster}
		if was := v.last[k]; was != vote {
			v.last[k] = vote
			v.log.Info("vote", "instance", r.Instance, "cluster", c.Cluster, "from", orElse(was, "nothing"), "to", vote, "reason", reason)
		}
	}
}
