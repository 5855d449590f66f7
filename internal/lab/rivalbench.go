package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// RivalParts are the parts of a benchmark beside rivals.
var RivalParts = []string{partFaults, partCost}

const (
	partFaults = "faults"
	partCost   = "cost"
)

// us is the name of the program under test beside its rivals.
const us = "pointsman"

// Names of our own two profiles: each is an instance of the lab, and a preset.
var ourProfiles = map[string]string{Orders: fastPreset, Billing: "stateless-http"}

// How long a contender gets to answer the standby.
const (
	fastBound = 20 * time.Second
	slowBound = 150 * time.Second // gdnsd as it comes takes about 105 s
)

// BenchRivals measures pointsman beside the DNS servers that are installed:
// how long after a fault each answers the standby, all watching the same two
// clusters through the same fault; and what an answer costs each of them. The
// error is for a benchmark that could not be carried out.
func BenchRivals(ctx context.Context, cfg BenchConfig) (Figures, error) {
	if cfg.Say == nil {
		cfg.Say = func(string) {}
	}
	f := Figures{OK: true, CPUs: runtime.NumCPU(), Stories: []Result{}}
	f.Load[0] = loadAverage()
	b := &bench{cfg: cfg, figures: &f}
	err := b.rivals(ctx)
	f.Load[1] = loadAverage()
	f.sum()
	f.compare()
	return f, err
}

func (b *bench) rivals(ctx context.Context) error {
	if b.wants(partFaults) {
		cfg := b.cfg.Lab
		cfg.Instances = []string{Orders, Billing}
		// The cool-down has no part in the first failover; the second one comes soon.
		cfg.Tunes = map[string]Tune{Billing: {Preset: ourProfiles[Billing], Cooldown: time.Second}}
		if err := Run(ctx, cfg, func(ctx context.Context, l *Lab) error { return b.faults(ctx, l) }); err != nil {
			return err
		}
	}
	if !b.wants(partCost) {
		return nil
	}
	cfg := b.cfg.Lab
	cfg.Tune = Tune{Preset: "stateless-http"} // it hardly works beside its answers
	if runtime.NumCPU() > 1 {
		cfg.CPU = serverCPU
	}
	return Run(ctx, cfg, func(ctx context.Context, l *Lab) error { return b.costs(ctx, l) })
}

// contender is one of those that watch the clusters: ours, or a rival.
type contender struct {
	part, name, profile string
	rec                 *Recorder
	fast, stays         bool
	ours                string // the instance, empty for a rival
}

func (c contender) figure(fault string) string {
	return strings.Join([]string{fault, c.name, c.profile, "ms"}, "_")
}

// faults lets everybody watch the same clusters.
func (b *bench) faults(ctx context.Context, l *Lab) error {
	all, err := b.contenders(ctx, l)
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, c := range all {
		g.Go(func() error { return c.rec.Run(gctx) })
	}
	g.Go(func() error {
		if err := b.rounds(gctx, l, all); err != nil {
			return err
		}
		return errBodyDone
	})
	if err := g.Wait(); !errors.Is(err, errBodyDone) {
		return err
	}
	return nil
}

// contenders starts the rivals that are installed, and declares a figure of
// each for each fault, those of ours first.
func (b *bench) contenders(ctx context.Context, l *Lab) ([]contender, error) {
	var all []contender
	for _, in := range l.World.Instances {
		rec, err := NewRecorder(RecorderConfig{Server: l.World.DNS, Name: in.Names[0], Hosts: l.World.Hosts()})
		if err != nil {
			return nil, err
		}
		profile := ourProfiles[in.Name]
		all = append(all, contender{part: Controller, name: us, profile: profile, rec: rec, fast: profile == fastPreset, ours: in.Name})
	}
	flat := map[netip.Addr]string{}
	for _, c := range l.World.Clusters {
		flat[c.Addr.Addr()] = c.Target
	}
	taken := map[uint16]bool{0: true}
	var lacking []contender
	for _, r := range rivals() {
		c := contender{part: r.part(), name: r.name, profile: r.profile, fast: r.fast, stays: r.stays}
		if len(installed(map[string][]string{r.name: r.needs})) == 0 {
			lacking = append(lacking, c)
			continue
		}
		addr, err := loopback(taken)
		if err != nil {
			return nil, err
		}
		if err := l.startServer(ctx, r.server(l.World, addr)); err != nil {
			return nil, err
		}
		if c.rec, err = NewRecorder(RecorderConfig{Server: addr, Name: rivalName, Flat: flat}); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	for _, fault := range []string{"kill", "stall"} {
		for _, c := range append(slices.Clone(all), lacking...) {
			f := Figure{Name: c.figure(fault), What: fmt.Sprintf("%s → new answer, %s (%s)", fault, c.name, c.profile), Unit: "ms"}
			if c.rec == nil {
				f.Missing = c.name + " is not installed"
			}
			b.figures.Figures = append(b.figures.Figures, f)
		}
	}
	return all, nil
}

func loopback(taken map[uint16]bool) (netip.AddrPort, error) {
	local := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	port, err := freePort(0, taken, []netip.Addr{local})
	return netip.AddrPortFrom(local, port), err
}

// rounds makes the faults: some for those that are fast, and one of each for
// everybody.
func (b *bench) rounds(ctx context.Context, l *Lab, all []contender) error {
	fast := slices.DeleteFunc(slices.Clone(all), func(c contender) bool { return !c.fast })
	if _, err := l.Tool.Do(ctx, "pause", Billing, "--reason", "its turn comes"); err != nil {
		return err
	}
	for round := range b.cfg.Rounds {
		for _, fault := range []string{"kill", "stall"} {
			b.cfg.Say(fmt.Sprintf("%s, the fast ones, round %d of %d", fault, round+1, b.cfg.Rounds))
			if err := b.fault(ctx, l, fault, fast, fastBound); err != nil {
				return err
			}
		}
	}
	if _, err := l.Tool.Do(ctx, "resume", Billing); err != nil {
		return err
	}
	for _, fault := range []string{"kill", "stall"} {
		b.cfg.Say(fault + ", everybody; gdnsd as it comes takes about 105 s")
		if err := b.fault(ctx, l, fault, all, slowBound); err != nil {
			return err
		}
	}
	return nil
}

// fault brings everybody to the first cluster, makes that one fail, and waits
// for each to answer the other one.
func (b *bench) fault(ctx context.Context, l *Lab, fault string, who []contender, bound time.Duration) error {
	a, other := l.World.Clusters[0], l.World.Clusters[1]
	if err := l.Heal(ctx, a.Name); err != nil {
		return err
	}
	for _, c := range who {
		if err := b.home(ctx, l, c, a); err != nil {
			return fmt.Errorf("%s (%s): %w", c.name, c.profile, err)
		}
		if _, err := c.rec.Take(ctx); err != nil { // what was answered up to now is of no use
			return err
		}
	}
	at := time.Now()
	breaks := l.Kill
	if fault == "stall" {
		breaks = l.Stall
	}
	if err := breaks(a.Name); err != nil {
		return err
	}
	bctx, cancel := context.WithTimeoutCause(ctx, bound, ErrNotReady)
	defer cancel()
	var mu sync.Mutex
	var g errgroup.Group
	for _, c := range who {
		g.Go(func() error {
			got, err := c.rec.Until(bctx, at, func(x Answer) bool { return x.Target == other.Target })
			mu.Lock()
			defer mu.Unlock()
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case err != nil:
				b.figures.lack(c.figure(fault), fmt.Errorf("did not answer the standby within %s", bound))
			default:
				b.figures.add(c.figure(fault), milliseconds(got.Received.Sub(at)))
			}
			return nil
		})
	}
	return g.Wait()
}

// home waits until a contender answers the first cluster again and would move
// away from it by itself.
func (b *bench) home(ctx context.Context, l *Lab, c contender, a ClusterSite) error {
	ctx, cancel := context.WithTimeoutCause(ctx, slowBound, ErrNotReady)
	defer cancel()
	if c.ours != "" {
		if err := b.ourHome(ctx, l, c.ours, a); err != nil {
			return err
		}
	} else if c.stays { // it would wait some minutes: it is started anew
		if err := l.Kill(c.part); err != nil {
			return err
		}
		if err := l.family.Again(ctx, c.part); err != nil {
			return err
		}
	}
	_, err := c.rec.Until(ctx, time.Now(), func(x Answer) bool { return x.Target == a.Target })
	return err
}

func (b *bench) ourHome(ctx context.Context, l *Lab, instance string, a ClusterSite) error {
	// A target must have been up for min_up, else automation refuses it: both
	// were, where a person may move the name and nothing stands against it.
	calm := func(v View) string {
		if why := bothUp(v); why != "" {
			return why
		}
		if v.Op != nil || len(v.Stops) > 0 {
			return "still: " + v.Stopped()
		}
		return ""
	}
	if err := l.AwaitView(ctx, instance, "to be calm", calm); err != nil {
		return err
	}
	v, err := l.Tool.View(ctx, instance)
	if err != nil {
		return err
	}
	if v.Active != a.Name {
		if _, err := l.Tool.Do(ctx, "switchover", instance, "--to", a.Name, "--yes", "--no-wait"); err != nil {
			return err
		}
		if err := l.AwaitView(ctx, instance, "to be calm", calm); err != nil {
			return err
		}
	}
	return l.eligible(ctx, instance)
}

// eligible waits until a plan for a failover names no guard that refuses it
// because a cluster has not been up for long enough.
func (l *Lab) eligible(ctx context.Context, instance string) error {
	for {
		out, err := l.Tool.Do(ctx, "explain", instance)
		if err == nil && !strings.Contains(string(out), "min_up") {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s could move: %w: %s", instance, context.Cause(ctx), out)
		case <-time.After(10 * poll):
		}
	}
}

// compare says of every figure how it stands beside ours: the median of a
// fault beside the fast one of ours, of a cost beside our cost.
func (f *Figures) compare() {
	ours := func(prefix string) *float64 {
		for _, x := range f.Figures {
			if strings.HasPrefix(x.Name, prefix+"_"+us) {
				return x.Median
			}
		}
		return nil
	}
	for i := range f.Figures {
		x := &f.Figures[i]
		kind, _, _ := strings.Cut(x.Name, "_")
		base := ours(kind)
		if x.Median == nil || base == nil || *base == 0 {
			continue
		}
		x.Beside = fmt.Sprintf("%s × ours", number(new(*x.Median / *base)))
	}
}
