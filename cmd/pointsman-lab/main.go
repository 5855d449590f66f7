// Command pointsman-lab runs a world on loopback around a real pointsman: two
// clusters that can be made to fail, a controller, two vantages, a client.
//
//	pointsman-lab run           the lab, for playing: kill a cluster and watch
//	pointsman-lab demo          every story in less than two minutes, with a verdict
//	pointsman-lab bench         how fast, and at what cost
//	pointsman-lab kill a        in another terminal: a fault for a running lab
//	pointsman-lab alicloud      Alibaba Cloud's DNS alone, for trying a client
//	pointsman-lab tablestore    a Tablestore alone, and verbs for it
//
// It exits 0 when all is well, 1 on an error, and 5 when a demo saw a promise
// broken. It never asks a question.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/lab"
)

// exitBroken is the exit status of a demo that saw a promise broken.
const exitBroken = 5

// errBroken is returned by a demo that saw a promise broken.
var errBroken = errors.New("a promise was broken")

func main() { os.Exit(Main()) }

// Main is main without the exit, so that tests can run it as a command.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		err = errors.New("interrupted")
	case errors.Is(err, errBroken):
		fmt.Fprintln(os.Stderr, "pointsman-lab:", err)
		return exitBroken
	}
	fmt.Fprintln(os.Stderr, "pointsman-lab:", err)
	return 1
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	root := newRoot(stdout, stderr)
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

// app is what the commands share: the global flags and where they write.
type app struct {
	dir       string
	pointsman string
	verbose   bool
	billing   bool
	rideOut   time.Duration
	out, err  io.Writer
}

func newRoot(stdout, stderr io.Writer) *cobra.Command {
	a := &app{out: stdout, err: stderr}
	root := &cobra.Command{
		Use:           "pointsman-lab",
		Short:         "A world on loopback to watch pointsman at work",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.PersistentFlags().StringVar(&a.dir, "dir", "", "work `FOLDER` of the lab (run and the verbs: "+lab.DefaultDir+"; demo: a temporary one)")
	root.AddCommand(a.runCommand(), a.demoCommand(), a.benchCommand(), a.clusterCommand(), a.alicloudCommand(), a.tablestoreCommand(), a.providersCommand())
	root.AddCommand(a.verbCommands()...)
	hintUsage(root)
	return root
}

// hintUsage lets every command answer a mistake on its line by how it is
// written, in one line.
func hintUsage(cmd *cobra.Command) {
	hinted := func(c *cobra.Command, err error) error {
		if err == nil {
			return nil
		}
		if !c.HasParent() {
			return fmt.Errorf("%w\nhint: see '%s --help'", err, c.CommandPath())
		}
		return fmt.Errorf("%w\nhint: usage: %s", err, c.UseLine())
	}
	cmd.SetFlagErrorFunc(hinted)
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error { return hinted(c, check(c, args)) }
	}
	for _, c := range cmd.Commands() {
		hintUsage(c)
	}
}

// labFlags are the flags of the commands that start a lab.
func (a *app) labFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.pointsman, "pointsman", "", "the pointsman `BINARY` (by default the one beside this program)")
	cmd.Flags().BoolVarP(&a.verbose, "verbose", "v", false, "show what every part of the lab logs")
	cmd.Flags().DurationVar(&a.rideOut, "ride-out", 0, "the longest `BLIP` that is never acted upon (by default that of the clusters: tablestore 2s, http none)")
	cmd.Flags().BoolVar(&a.billing, "billing", false, "add a second instance, billing, with two names")
}

// kindFlag adds the flag of the commands that know both kinds of clusters.
func kindFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("clusters", string(lab.Tablestore), "what the two clusters are: `KIND` tablestore or http")
}

// configOf is config for a kind of clusters.
func (a *app) configOf(cmd *cobra.Command, clusters string) (lab.Config, error) {
	kind, err := lab.ParseKind(clusters)
	if err != nil {
		return lab.Config{}, fmt.Errorf("--clusters: %w", err)
	}
	if kind == lab.Tablestore && a.rideOut == 0 && cmd.Flags().Changed("ride-out") {
		return lab.Config{}, fmt.Errorf("--ride-out %s: more than 0 with Tablestore clusters", a.rideOut)
	}
	cfg, err := a.config()
	cfg.Kind = kind
	return cfg, err
}

// config gathers the configuration of a lab.
func (a *app) config() (lab.Config, error) {
	self, err := os.Executable()
	if err != nil {
		return lab.Config{}, fmt.Errorf("find this program: %w", err)
	}
	cfg := lab.Config{Dir: a.dir, Pointsman: a.pointsman, Self: self, Instances: []string{lab.Orders}, Tune: lab.Tune{RideOut: a.rideOut}}
	if a.rideOut < 0 {
		return lab.Config{}, fmt.Errorf("--ride-out %s: 0 or more", a.rideOut)
	}
	if cfg.Pointsman == "" {
		cfg.Pointsman = filepath.Join(filepath.Dir(self), "pointsman")
	}
	// Children work in a folder of their own, so a relative path would not do.
	if cfg.Pointsman, err = filepath.Abs(cfg.Pointsman); err != nil {
		return lab.Config{}, fmt.Errorf("the pointsman binary: %w", err)
	}
	if a.billing {
		cfg.Instances = append(cfg.Instances, lab.Billing)
	}
	if a.verbose {
		cfg.Log = lab.Shared(a.err)
	}
	return cfg, nil
}

// folder is the work folder that a verb means.
func (a *app) folder() string {
	if a.dir != "" {
		return a.dir
	}
	return lab.DefaultDir
}
