package main

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"time"

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
'pointsman config vantage NAME' at the controller; its key must lie beside it.

SIGHUP and a change of FILE or of a file that it names make it take FILE anew;
what cannot be taken is refused as a whole, and the log says why.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			hup, stop := a.hangUps() // first: one that comes while it starts must not end it
			defer stop()
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
			return runVantage(cmd.Context(), f, hup, log)
		},
	}
	l.register(cmd)
	return cmd
}

// runVantage probes and reports until ctx ends, and takes the file anew when
// it changes or hup says so.
func runVantage(ctx context.Context, f *config.VantageFile, hup <-chan os.Signal, log *slog.Logger) error {
	key, err := readKey(f.ReadSecret, f.KeyFile)
	if err != nil {
		return err
	}
	sender, err := healthcheck.NewSender(senderConfig(f, key))
	if err != nil {
		return failed("check controllers in "+f.File, "report: %w", err)
	}
	voice := &votes{log: log.With("vantage", f.Name)}
	pc := proberConfig(f)
	pc.OnReport = func(r healthcheck.InstanceReport) { sender.Send(r); voice.note(r) }
	prober, err := healthcheck.NewProber(pc)
	if err != nil {
		return failed("check the instances in "+f.File, "probe: %w", err)
	}
	look := &lookout{sender: sender, prober: prober, now: f, at: time.Now()}
	reloads := newReloader(f.File, look, hup, log.With("vantage", f.Name))
	reloads.tell = func() { sender.Refused(reloads.refused()) }
	for _, why := range append(pc.KeysMissing(), pc.WatchesOff(), pc.CommandsInTheWay()) {
		if why != "" {
			log.Warn(why, "vantage", f.Name)
		}
	}
	log.Info("vantage starts", "vantage", f.Name, "targets", len(f.Targets), "controllers", len(f.Controllers))
	debug.FreeOSMemory() // reading the file took several times what is needed now
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return sender.Run(ctx) })
	g.Go(func() error { return prober.Run(ctx) })
	g.Go(func() error { return reloads.Run(ctx) })
	err = g.Wait()
	log.Info("vantage ends", "vantage", f.Name)
	return err
}

// readKey reads the key by which a vantage signs.
func readKey(read readSecret, path string) (healthcheck.Key, error) {
	keys, err := readKeys(read, path)
	if err != nil {
		return nil, err
	}
	return keys[0], nil
}

// readKeys reads the keys of a vantage: two while one takes the place of the
// other.
func readKeys(read readSecret, path string) ([]healthcheck.Key, error) {
	text, err := read(path)
	if err != nil {
		return nil, failed("make one by: (umask 077; openssl rand -hex 32 > "+path+"), the same at the controller and at the vantage", "read key: %w", err)
	}
	keys, err := healthcheck.ParseKeys(text)
	if err != nil {
		return nil, failed("make one by: (umask 077; openssl rand -hex 32 > "+path+")", "key %s: %w", path, err)
	}
	return keys, nil
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
