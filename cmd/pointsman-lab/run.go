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
	clusters := kindFlag(cmd)
	cmd.Flags().BoolVar(&secondaries, "secondaries", false, "serve the zone from NSD, BIND, Knot and PowerDNS, too, with unbound in front: those of them that are installed")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := a.configOf(cmd, *clusters)
		if err != nil {
			return err
		}
		cfg.Dir = a.folder()
		cfg.Tune.Replicate = cfg.Kind == lab.Tablestore
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
		err = a.play(cmd.Context(), cfg)
		if errors.Is(err, context.Canceled) {
			fmt.Fprintf(a.err, "\nall parts have ended; logs and ledger stay in %s\n", cfg.Dir)
			return nil
		}
		return err
	}
	return cmd
}

// play runs the lab until the context ends. Then the parts live on for as long
// as it takes to count what was written.
func (a *app) play(ctx context.Context, cfg lab.Config) error {
	parts, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	begun := context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })
	return lab.Run(parts, cfg, func(parts context.Context, l *lab.Lab) error {
		if l.Writer() == nil {
			return a.live(parts, l)
		}
		if !begun() {
			return context.Cause(ctx)
		}
		both, stop := context.WithCancelCause(parts)
		defer stop(nil)
		defer context.AfterFunc(ctx, func() { stop(context.Cause(ctx)) })()
		err := a.live(both, l)
		if ctx.Err() != nil && parts.Err() == nil {
			a.lastWords(parts, l)
		}
		return err
	})
}

// lastWords says what has become of the writes.
func (a *app) lastWords(ctx context.Context, l *lab.Lab) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := l.CountWrites(ctx)
	if err != nil {
		fmt.Fprintf(a.err, "\ncount the writes: %v\n", err)
		return
	}
	fmt.Fprintln(a.out)
	r.Write(a.out)
}

// live prints the banner and then what a client sees, until the context ends.
func (a *app) live(ctx context.Context, l *lab.Lab) error {
	a.banner(l.World)
	in := l.World.Instances[0]
	client := lab.Client{Server: l.World.Asked(), Name: in.Names[0], Sites: l.World.Clusters, Timeout: time.Second}
	if l.World.Resolver.IsValid() {
		client.Patience = lab.ResolverPatience
	}
	line := &liveLine{out: a.out, terminal: isTerminal(a.out) && !a.verbose, writer: l.Writer()}
	g, ctx := errgroup.WithContext(ctx)
	if w := l.Writer(); w != nil {
		line.trans.Noun = "write"
		w.Hear(line.write)
		g.Go(func() error {
			if err := w.Run(ctx); err != nil {
				return err
			}
			return context.Cause(ctx)
		})
		g.Go(func() error {
			client.Follow(ctx, 200*time.Millisecond, line.shows)
			return context.Cause(ctx)
		})
	} else {
		g.Go(func() error {
			client.Watch(ctx, 200*time.Millisecond, line.call)
			return context.Cause(ctx)
		})
	}
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
		what := "http://" + c.Addr.String()
		if w.Kind == lab.Tablestore {
			what = "Tablestore at " + c.Addr.String()
		}
		fmt.Fprintf(a.out, "  cluster %s    %s  is  %s\n", c.Name, what, c.Target)
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
		fmt.Fprintf(a.out, "  instance     %s: %s, armed (auto), %s\n", in.Name, strings.Join(in.Names, ", "), in.Tune.Words())
	}
	fmt.Fprintf(a.out, "  files        %s\n\nTry in another terminal:\n\n", short(w.Dir))
	name := strings.TrimSuffix(w.Instances[0].Names[0], ".")
	tries := [][2]string{
		{fmt.Sprintf("dig @%s -p %d %s CNAME +short", w.DNS.Addr(), w.DNS.Port(), name), "where the name points"},
		{self + at + "kill a", "SIGKILL; watch the client below"},
		{self + at + "stall b", "SIGSTOP: it accepts and never answers"},
	}
	if w.Kind == lab.Tablestore {
		tries = append(tries, [][2]string{
			{self + at + "refuse b not-running", "403: its instance is not running; refuse b key: the fault is the caller's"},
			{self + at + "wrong-identity b", "it has the table by which a is known"},
			{self + at + "errors a 50%", "half of the answers are 503"},
			{self + at + "partition a 100ms", "one partition is away for that long"},
			{self + at + "rebuild", "the client drops its connections and looks the name up"},
			{self + at + "hush", "the client writes nothing, until speak: a switchover wants writers that stand still"},
			{self + at + "writes", "which acknowledged rows each cluster has, and lacks"},
			{pointsman + " replication status -w -c " + config, "what a switch would lose now"},
			{pointsman + " replication lost orders -c " + config, "after a failover and heal: the rows that did not cross"},
		}...)
	} else {
		tries = append(tries, [][2]string{
			{self + at + "wrong-identity b", "it says that it is a"},
			{self + at + "errors a 50%", "half of the answers are 503"},
		}...)
	}
	tries = append(tries, [][2]string{
		{self + at + "heal", "everything whole again"},
		{self + at + "kill controller", "the name stays where it is; heal controller starts it again"},
		{self + at + "status", "the parts of the lab"},
		{pointsman + " status -c " + config, "what the controller sees"},
		{pointsman + " explain orders -c " + config, "why it did, or would, or would not move"},
		{pointsman + " switchover orders --to b -c " + config, "move by hand"},
	}...)
	for _, try := range tries {
		fmt.Fprintf(a.out, "  %s\n      %s\n", try[0], try[1])
	}
	fmt.Fprint(a.out, "\nCtrl-C ends everything. ")
	if w.Kind == lab.Tablestore {
		fmt.Fprint(a.out, `A client of the vendor's SDK writes 40 rows a second through the
name and keeps its connection; pointsman carries them to the standby:

`)
	} else {
		fmt.Fprint(a.out, "A client looks the name up and calls it every 200 ms:\n\n")
	}
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
	writer   *lab.Writer // nil where nothing is written

	mu    sync.Mutex
	trans lab.Transitions
	name  string // what it shows
	drawn time.Time
}

// shows takes what the name shows now.
func (l *liveLine) shows(target string, err error) {
	if err != nil {
		target = "nothing: " + err.Error()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if target != l.name {
		l.name = target
		l.print(time.Now().Format("15:04:05.000") + "  the name shows " + target)
	}
}

// write takes one write. The line that counts is drawn some times a second.
func (l *liveLine) write(w lab.Write) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if line := l.trans.AddWrite(w); line != "" {
		l.print(line)
	}
	if !l.terminal || time.Since(l.drawn) < 100*time.Millisecond {
		return
	}
	l.drawn = time.Now()
	n := l.writer.Counts()
	over := "a new connection"
	if w.Pooled {
		over = "a kept connection"
	}
	fmt.Fprintf(l.out, "\r\x1b[K%d rows acknowledged, %d errors, longest pause %d ms; now %s over %s; the name shows %s",
		n.Acknowledged, n.Errors, l.writer.Pause().Milliseconds(), w.Outcome(), over, l.name)
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
