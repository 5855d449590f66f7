package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Config says how a lab is started.
type Config struct {
	Dir       string          // work folder; empty is a temporary one, removed at the end unless Keep says otherwise, and any ports
	Pointsman string          // the binary under test
	Self      string          // the binary that runs a cluster when called with cluster …
	Kind      Kind            // what its clusters are; HTTP if empty
	Instances []string        // Orders, Billing
	Tune      Tune            // of the instances
	Tunes     map[string]Tune // of single instances, in place of Tune
	CPU       string          // the processors of the controller, as taskset names them; empty is all
	// Secondaries are the DNS servers of others that have a copy of the zone, of
	// those that Secondaries returns; Resolver is the one in front, or empty.
	Secondaries []string
	Resolver    string
	Log         io.Writer // gets what the children write; nil for nobody. The files in Dir/logs have it anyway
}

// Ready is how long the lab waits for its parts to become ready.
const Ready = 30 * time.Second

var (
	// ErrNotReady is returned when a part does not become ready in time.
	ErrNotReady = errors.New("not ready in time")
	// errBodyDone ends the family when the body of Run has returned.
	errBodyDone = errors.New("done")
)

// Lab is a running lab.
type Lab struct {
	World *World
	Tool  Tool

	cfg    Config
	family *Family
	writer *Writer        // of clusters that take writes
	named  map[int64]bool // rows of it that the program has said to be lost
	told   chan string
	keep   bool
}

// Run starts a lab, waits until it is ready and its instances are armed,
// calls body, and ends every child when body returns or the context ends.
func Run(ctx context.Context, cfg Config, body func(context.Context, *Lab) error) error {
	if _, err := exec.LookPath(cfg.Pointsman); err != nil {
		return fmt.Errorf("the pointsman binary: %w; build it, or name it with --pointsman", err)
	}
	temp, ports := cfg.Dir == "", UsualPorts
	if temp {
		ports = Ports{}
		dir, err := os.MkdirTemp("", "pointsman-lab-")
		if err != nil {
			return fmt.Errorf("work folder: %w", err)
		}
		cfg.Dir = dir
	}
	world, err := NewWorld(WorldConfig{
		Dir: cfg.Dir, Kind: cfg.Kind, Instances: cfg.Instances, Ports: ports, Tune: cfg.Tune, Tunes: cfg.Tunes, Secondaries: cfg.Secondaries, Resolver: cfg.Resolver,
	})
	if err != nil {
		if temp {
			err = errors.Join(err, os.RemoveAll(cfg.Dir))
		}
		return err
	}
	l := &Lab{
		World: world, Tool: Tool{Path: cfg.Pointsman, Config: world.Config}, cfg: cfg, family: NewFamily(5 * time.Second),
		writer: world.backend().writer(world), named: map[int64]bool{}, told: make(chan string, 16),
	}
	err = l.run(ctx, body)
	if !temp {
		// The folder stays for a look at logs and ledger; nobody answers any more.
		_ = os.WriteFile(filepath.Join(world.Dir, stateFile), []byte("{}\n"), 0o600)
		return err
	}
	if err != nil && ctx.Err() == nil || l.keep {
		return errors.Join(err, fmt.Errorf("logs, ledger and config are kept in %s", world.Dir))
	}
	return errors.Join(err, os.RemoveAll(world.Dir))
}

func (l *Lab) run(ctx context.Context, body func(context.Context, *Lab) error) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("control API: %w", err)
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.family.Run(gctx) })
	g.Go(func() error { return l.control(gctx, ln) })
	g.Go(func() error {
		err := l.writeState(ln.Addr().String())
		if err == nil {
			err = l.startAll(gctx)
		}
		if err == nil {
			err = body(gctx, l)
		}
		return cmp.Or(err, errBodyDone)
	})
	if err := g.Wait(); !errors.Is(err, errBodyDone) {
		return err
	}
	return nil
}

// startAll brings the whole world up.
func (l *Lab) startAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, Ready, ErrNotReady)
	defer cancel()
	for _, c := range l.World.Clusters {
		args, env, err := l.World.backend().part(l.World, c)
		if err != nil {
			return err
		}
		args = append([]string{"cluster", "--name", c.Name, "--listen", c.Addr.String(), "--manage", c.Manage.String()}, args...)
		if err := l.family.Start(ctx, l.spec(c.Name, l.cfg.Self, append(env, "POINTSMAN_LAB_TOKEN="+l.World.token), args...)); err != nil {
			return err
		}
	}
	if err := l.prepareReplication(ctx); err != nil {
		return err
	}
	path, args, err := pinned(l.cfg.CPU, l.cfg.Pointsman, []string{"run", "-c", l.World.Config})
	if err != nil {
		return err
	}
	if err := l.family.Start(ctx, l.spec(Controller, path, nil, args...)); err != nil {
		return err
	}
	for _, v := range l.World.Vantages {
		b, err := l.Tool.Do(ctx, "config", "vantage", v)
		if err != nil {
			return err
		}
		path := filepath.Join(l.World.Dir, v+".yaml")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return fmt.Errorf("write the config of %s: %w", v, err)
		}
		if err := l.family.Start(ctx, l.spec(v, l.cfg.Pointsman, nil, "vantage", "-c", path)); err != nil {
			return err
		}
	}
	for _, c := range l.World.Clusters {
		if err := l.reach(ctx, c); err != nil {
			return err
		}
	}
	for _, in := range l.World.Instances {
		if err := l.AwaitView(ctx, in.Name, "to see both clusters up", bothUp); err != nil {
			return err
		}
		if _, err := l.Tool.Do(ctx, "arm", in.Name, "--mode", "auto", "--yes"); err != nil {
			return err
		}
		if in.Tune.Replicate {
			if err := l.AwaitReplication(ctx, in.Name, "to follow", protected); err != nil {
				return err
			}
		}
	}
	return l.startSecondaries(ctx)
}

func (l *Lab) spec(name, path string, env []string, args ...string) ChildSpec {
	return ChildSpec{
		Name: name, Path: path, Args: args, Env: env, Dir: l.World.Dir,
		Log: filepath.Join(l.World.Dir, "logs", name+".log"), Also: l.cfg.Log,
	}
}

// bothUp is the state from which a story may begin, but for stops.
func bothUp(v View) string {
	for _, c := range v.Clusters {
		if c.Verdict != "up" {
			return fmt.Sprintf("cluster %s is %s: %s", c.Name, c.Verdict, c.Why)
		}
	}
	switch {
	case len(v.Clusters) == 0:
		return "no cluster is shown"
	case v.Phase != "idle":
		return strings.TrimSpace("phase " + v.Phase + " " + v.Waiting)
	}
	return ""
}

// poll is how long the lab waits between two looks at something that it
// cannot be told of.
const poll = 100 * time.Millisecond

// AwaitView asks for the status of an instance until missing returns "" for
// it. Verbs that fail are tried again: a controller that is being restarted
// cannot answer. A child that has ended by itself ends the waiting.
func (l *Lab) AwaitView(ctx context.Context, instance, what string, missing func(View) string) error {
	last := "no answer yet"
	for {
		v, err := l.Tool.View(ctx, instance)
		if err == nil {
			if last = missing(v); last == "" {
				return nil
			}
		} else if ctx.Err() == nil {
			last = err.Error()
		}
		if err := l.dead(); err != nil {
			return fmt.Errorf("wait for %s %s: %w", instance, what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s %s: %w: %s", instance, what, context.Cause(ctx), last)
		case <-time.After(poll):
		}
	}
}

// dead returns an error that names a part that has ended by itself, with its
// last lines.
func (l *Lab) dead() error {
	for _, c := range l.family.States() {
		if c.State == Ended {
			return fmt.Errorf("%s has ended (%s):\n  %s", c.Name, c.How, strings.Join(l.family.Tail(c.Name), "\n  "))
		}
	}
	return nil
}

// reach waits for the management API of a cluster.
func (l *Lab) reach(ctx context.Context, c ClusterSite) error {
	for {
		_, err := l.knobs(ctx, c)
		if err == nil {
			return nil
		}
		if err := l.dead(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("reach cluster %s: %w: %w", c.Name, context.Cause(ctx), err)
		case <-time.After(poll):
		}
	}
}

func (l *Lab) knobs(ctx context.Context, c ClusterSite) (Knobs, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second) // a stalled one never answers
	defer cancel()
	var k Knobs
	err := callJSON(ctx, l.World.token, http.MethodGet, "http://"+c.Manage.String()+"/knobs", nil, &k)
	return k, err
}

// Set turns the knobs of a cluster.
func (l *Lab) Set(ctx context.Context, cluster string, k Knobs) error {
	c, ok := l.World.Cluster(cluster)
	if !ok {
		return fmt.Errorf("%s: %w that has knobs", cluster, ErrNoChild)
	}
	if st, _ := l.family.State(cluster); st.State != Running {
		return fmt.Errorf("cluster %s is %s; heal it first", cluster, st.State)
	}
	if err := callJSON(ctx, l.World.token, http.MethodPut, "http://"+c.Manage.String()+"/knobs", k, &k); err != nil {
		return fmt.Errorf("turn the knobs of %s: %w", cluster, err)
	}
	return nil
}

// Heal makes parts whole again: a stalled one goes on, a dead one is started,
// the knobs of a cluster are turned back. No name means every part.
func (l *Lab) Heal(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		for _, st := range l.family.States() {
			names = append(names, st.Name)
		}
	}
	for _, name := range names {
		st, ok := l.family.State(name)
		var err error
		switch {
		case !ok:
			return fmt.Errorf("%s: %w", name, ErrNoChild)
		case st.State == Stalled:
			err = l.family.Resume(name)
		case st.State != Running:
			err = l.family.Again(ctx, name)
		}
		if err != nil {
			return err
		}
		if c, ok := l.World.Cluster(name); ok {
			if err = l.reach(ctx, c); err == nil {
				err = l.Set(ctx, name, Knobs{})
			}
		} else if name == Controller {
			err = l.leads(ctx, "the authority", l.World.DNS)
		} else if s, ok := l.World.Secondary(name); ok {
			err = l.leads(ctx, name, s.Addr)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Kill ends a part with SIGKILL.
func (l *Lab) Kill(name string) error { return l.family.Kill(name) }

// Stall stops a part with SIGSTOP.
func (l *Lab) Stall(name string) error { return l.family.Stall(name) }

// Exits reports parts that ended although nobody asked the lab for it.
func (l *Lab) Exits() <-chan ChildState { return l.family.Exits() }

// Keep keeps a temporary work folder after the end.
func (l *Lab) Keep() { l.keep = true }

// Parts says how every part is.
func (l *Lab) Parts(ctx context.Context) []Part {
	parts := []Part{}
	for _, st := range l.family.States() {
		p := Part{ChildState: st}
		if c, ok := l.World.Cluster(st.Name); ok {
			p.Addr = c.Addr.String()
			if k, err := l.knobs(ctx, c); err == nil {
				p.Knobs, p.Words = &k, k.Words()
			}
		} else if st.Name == Controller {
			p.Addr, p.Words = l.World.API.String(), "DNS on "+l.World.DNS.String()
		} else if s, ok := l.World.Secondary(st.Name); ok {
			p.Addr, p.Words = s.Addr.String(), "secondary"
		} else if st.Name == Resolver {
			p.Addr, p.Words = l.World.Resolver.String(), "resolver"
		}
		parts = append(parts, p)
	}
	if w := l.writer; w != nil && w.Last().N > 0 {
		n, open := w.Counts(), w.Open()
		words := fmt.Sprintf("%s; %d acknowledged, %d errors; connections:", w.Last().Outcome(), n.Acknowledged, n.Errors)
		for _, c := range l.World.Clusters {
			words += fmt.Sprintf(" %d to %s", open[c.Name], c.Name)
		}
		parts = append(parts, Part{ChildState: ChildState{Name: ClientPart, State: Running}, Words: words})
	}
	slices.SortFunc(parts, func(a, b Part) int { return strings.Compare(a.Name, b.Name) })
	return parts
}

// Told reports the orders of other terminals that were carried out. Nobody
// needs to read it.
func (l *Lab) Told() <-chan string { return l.told }

// Do carries out an order of another terminal and says what was done.
func (l *Lab) Do(ctx context.Context, o Order) (string, error) {
	said, err := l.do(ctx, o)
	if err == nil {
		select {
		case l.told <- said:
		default: // nobody listens
		}
	}
	return said, err
}

func (l *Lab) do(ctx context.Context, o Order) (string, error) {
	switch o.Verb {
	case "kill":
		return o.Part + " is dead (SIGKILL)", l.Kill(o.Part)
	case "stall":
		return o.Part + " stands still (SIGSTOP): it accepts connections and answers none", l.Stall(o.Part)
	case "resume":
		return o.Part + " goes on (SIGCONT)", l.family.Resume(o.Part)
	case "heal":
		if o.Part == "" {
			return "everything is whole again", l.Heal(ctx)
		}
		return o.Part + " is whole again", l.Heal(ctx, o.Part)
	case "knobs":
		if o.Knobs == nil {
			return "", errors.New("an order to turn knobs needs knobs")
		}
		return o.Part + ": " + o.Knobs.Words(), l.Set(ctx, o.Part, *o.Knobs)
	case "hush", "speak":
		return l.tellWriter(ctx, o.Verb == "hush")
	case "rebuild":
		if l.writer == nil {
			return "", errNoWriter
		}
		l.writer.Rebuild()
		return "the client is built anew: its next write looks the name up", nil
	}
	return "", fmt.Errorf("the lab knows no verb %q", o.Verb)
}
