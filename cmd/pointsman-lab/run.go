package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"pointsman/internal/lab"
)

func (a *app) runCommand() *cobra.Command {
	var secondaries bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the lab until Ctrl-C: kill a cluster from another terminal and watch the name move",
		Args:  cobra.NoArgs,
	}
	a.labFlags(cmd)
	cmd.Flags().BoolVar(&secondaries, "secondaries", false, "serve the zone from NSD, BIND, Knot and PowerDNS, too, with unbound in front: those of them that are installed")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := a.config()
		if err != nil {
			return err
		}
		cfg.Dir = a.folder()
		if secondaries {
			if cfg.Secondaries = lab.Secondaries(); len(cfg.Secondaries) == 0 {
				return errors.New("--secondaries: none is installed\nhint: apt-get install nsd, knot, bind9 or pdns-server")
			}
			if cfg.Resolver = lab.Resolver; !lab.HasResolver() {
				cfg.Resolver = ""
				fmt.Fprintln(a.err, "unbound is not installed: the client asks a secondary itself")
			}
		}
		fmt.Fprintln(a.err, "starting two clusters, a controller and two vantages …")
		err = lab.Run(cmd.Context(), cfg, a.live)
		if errors.Is(err, context.Canceled) {
			fmt.Fprintf(a.err, "\nall parts have ended; logs and ledger stay in %s\n", cfg.Dir)
			return nil
		}
		return err
	}
	return cmd
}

// live prints the banner and then what a client sees, until the context ends.
func (a *app) live(ctx context.Context, l *lab.Lab) error {
	a.banner(l.World)
	in := l.World.Instances[0]
	client := lab.Client{Server: l.World.Asked(), Name: in.Names[0], Sites: l.World.Clusters, Timeout: time.Second}
	if l.World.Resolver.IsValid() {
		client.Patience = lab.ResolverPatience
	}
	line := &liveLine{out: a.out, terminal: isTerminal(a.out) && !a.verbose}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		client.Watch(ctx, 200*time.Millisecond, line.call)
		return context.Cause(ctx)
	})
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case told := <-l.Told():
				line.say("— " + told)
			case gone := <-l.Exits():
				line.say(fmt.Sprintf("%s has ended (%s); pointsman-lab heal %s starts it again", gone.Name, gone.How, gone.Name))
			}
		}
	})
	return g.Wait()
}

// banner says what is running and what to try.
func (a *app) banner(w *lab.World) {
	self := command("pointsman-lab")
	pointsman := command("pointsman") // beside this program
	config := short(w.Config)
	at := " "
	if a.dir != "" {
		at = " --dir " + short(w.Dir) + " "
	}
	fmt.Fprintln(a.out)
	for _, c := range w.Clusters {
		fmt.Fprintf(a.out, "  cluster %s    http://%s  is  %s\n", c.Name, c.Addr, c.Target)
	}
	fmt.Fprintf(a.out, "  controller   lab-1 in rack-1, DNS on %s, API on %s\n", w.DNS, w.API)
	for i, v := range w.Vantages {
		fmt.Fprintf(a.out, "  vantage      %s in rack-%d\n", v, i+2)
	}
	for _, s := range w.Secondaries {
		fmt.Fprintf(a.out, "  secondary    %s on %s\n", s.Name, s.Addr)
	}
	if w.Resolver.IsValid() {
		fmt.Fprintf(a.out, "  resolver     %s on %s: it asks the secondaries, and keeps an answer for its TTL\n", lab.Resolver, w.Resolver)
	}
	for _, in := range w.Instances {
		fmt.Fprintf(a.out, "  instance     %s: %s, armed (auto)\n", in.Name, strings.Join(in.Names, ", "))
	}
	fmt.Fprintf(a.out, "  files        %s\n\nTry in another terminal:\n\n", short(w.Dir))
	name := strings.TrimSuffix(w.Instances[0].Names[0], ".")
	for _, try := range [][2]string{
		{fmt.Sprintf("dig @%s -p %d %s CNAME +short", w.DNS.Addr(), w.DNS.Port(), name), "where the name points"},
		{self + at + "kill a", "SIGKILL; watch the client below"},
		{self + at + "stall b", "SIGSTOP: it accepts and never answers"},
		{self + at + "wrong-identity b", "it says that it is a"},
		{self + at + "errors a 50%", "half of the answers are 503"},
		{self + at + "heal", "everything whole again"},
		{self + at + "kill controller", "the name stays where it is; heal controller starts it again"},
		{self + at + "status", "the parts of the lab"},
		{pointsman + " status -c " + config, "what the controller sees"},
		{pointsman + " explain orders -c " + config, "why it did, or would, or would not move"},
		{pointsman + " switchover orders --to b -c " + config, "move by hand"},
	} {
		fmt.Fprintf(a.out, "  %s\n      %s\n", try[0], try[1])
	}
	fmt.Fprintf(a.out, "\nCtrl-C ends everything. A client looks the name up and calls it every 200 ms:\n\n")
}

// command is how a binary beside this program is called from here.
func command(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}
	return short(filepath.Join(filepath.Dir(self), name))
}

// short is a path relative to the current folder where that is shorter.
func short(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(wd, path)
	if err != nil || len(rel) > len(path) {
		return path
	}
	return rel
}

// liveLine prints transitions as lines that stay, and on a terminal a line
// below them that counts.
type liveLine struct {
	out      io.Writer
	terminal bool

	mu    sync.Mutex
	trans lab.Transitions
}

func (l *liveLine) call(c lab.Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if line := l.trans.Add(c); line != "" {
		l.print(line)
	}
	if l.terminal {
		fmt.Fprintf(l.out, "\r\x1b[K%d calls, %d failed; now %s (%d ms)", l.trans.Calls, l.trans.Failed, c.Outcome(), c.Took.Milliseconds())
	}
}

func (l *liveLine) say(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.print(time.Now().Format("15:04:05.000") + "  " + s)
}

func (l *liveLine) print(s string) {
	if l.terminal {
		fmt.Fprint(l.out, "\r\x1b[K")
	}
	fmt.Fprintln(l.out, s)
}
