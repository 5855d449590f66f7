package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"pointsman/dnsctl/authority"
	"pointsman/healthcheck"
	"pointsman/internal/api"
	"pointsman/internal/config"
	"pointsman/internal/controller"
	"pointsman/internal/failover"
	"pointsman/internal/hook"
	"pointsman/internal/ledger"
	reporting "pointsman/internal/report" // report prints errors here
)

// This file is the only place that knows all rooms: it builds them, joins them
// by the adapters of adapt.go, and runs them. Nothing is decided here.

// processConfig is what a controller process is made of.
type processConfig struct {
	Config  *config.Config
	Shadow  bool // decide everything, do nothing, hold no credential that could write
	Log     *slog.Logger
	Fail    func(name string) error // failpoints; nil in production
	Hup     <-chan os.Signal        // asks for a reload; may be nil
	Version api.Version
}

// process is a whole controller: every room, joined.
type process struct {
	pc        processConfig
	log       *slog.Logger
	lately    lately
	now       atomic.Pointer[fitting] // what the rooms run with
	store     *ledger.Store
	authority *authority.Server // nil without one
	trouble   trouble
	panel     *panel
	surveys   surveys  // of the authorities, for people
	policies  sync.Map // when those were told that the history has, by their keys

	// Each of these is nil when it could not be had and DNS goes on without.
	past     *ledger.History
	prober   *healthcheck.Prober
	receiver *healthcheck.Receiver // also nil without controller.listen
	clocks   clocks                // of the vantages that it hears
	ctl      *controller.Controller
	news     *news
	notices  *notices
	api      *api.Server
	reloads  *reloader
	reports  *reporting.Service
	hooks    *hook.Runner // also nil in shadow
	replicas *replicas    // of instances with the key replication
}

// farAway is the end of a lease that the file lock is.
const farAway = 100 * 365 * 24 * time.Hour

// newProcess builds a process. The embedded authority comes first and already
// listens when this returns, with the last commit to show. From then on nothing
// that fails ends it: the process is degraded (degraded.go). With an error,
// which without an authority comes from any room, everything that was opened is
// closed again.
func newProcess(ctx context.Context, pc processConfig) (_ *process, err error) {
	cfg := pc.Config
	p := &process{pc: pc, log: pc.Log}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.store, err = ledger.Open(ctx, cfg.Controller.Ledger()); err != nil {
		return nil, err
	}
	p.tellOfANewLedger(cfg)
	if err := p.openAuthority(ctx, pc); err != nil {
		return nil, err
	}
	if err := p.degrade("names", p.checkClaims(ctx, cfg)); err != nil {
		return nil, err
	}
	secrets, faults := readSecrets(cfg, pc.Shadow)
	for _, err := range faults {
		if err := p.degrade("secrets", err); err != nil {
			return nil, err
		}
	}
	zones, _ := p.authorityConfig(cfg) // its faults were told when it began to listen
	f, faults := p.fit(cfg, secrets, zones)
	for _, err := range faults {
		if err := p.degrade("provider", err); err != nil {
			return nil, err
		}
	}
	p.now.Store(f)
	p.panel = newPanel(p)
	if err := p.degrade("history", p.openHistory(ctx, cfg)); err != nil {
		return nil, err
	}
	m := newMetrics(pc.Version)
	p.openNotices(f, secrets, m)
	p.replicas = newReplicas(p, cfg)
	if err := p.degrade("controller", p.openController(f, m)); err != nil {
		return nil, err
	}
	if p.ctl == nil {
		return p, nil // nothing to feed, and nothing to tell
	}
	if err := p.degrade("vantage", p.openEyes(f)); err != nil {
		return nil, err
	}
	p.news = newNews(p, m)
	p.reloads = newReloader(cfg.File, p, pc.Hup, p.log)
	p.reloads.tell = p.news.tell
	m.watch(p)
	p.openReports(f)
	p.pc.Config = nil // a reload lets go of it
	if err := p.degrade("api", p.openAPI(f, m)); err != nil {
		return nil, err
	}
	p.settle(f)
	return p, nil
}

// tellOfANewLedger says what a ledger without a past means for names that only
// it knew: after a lost one they may go back to a cluster that was left.
func (p *process) tellOfANewLedger(cfg *config.Config) {
	term, err := p.store.Term()
	if err != nil || term != 1 || p.store.Stats().Audit > 0 {
		return
	}
	var begin []string
	for _, i := range cfg.Instances {
		if slices.ContainsFunc(i.Policy.Names, func(n failover.NamePolicy) bool { return n.Embedded }) {
			begin = append(begin, fmt.Sprintf("%s at %s", i.Policy.Instance, i.Policy.Primary))
		}
	}
	if len(begin) == 0 {
		return
	}
	most := begin[:min(len(begin), 5)]
	p.log.Warn("the ledger is new: names of the embedded authority begin at the primary of their instance",
		"instances", len(begin), "such_as", strings.Join(most, ", "), "hint", "where another cluster serves now, end this process and set primary to it first")
}

// openHistory says what became of a file that could not be used: the history
// is then another one, or shorter.
func (p *process) openHistory(ctx context.Context, cfg *config.Config) (err error) {
	if p.past, err = ledger.OpenHistory(ctx, cfg.Controller.Data); err != nil {
		return err
	}
	if why := p.past.Stats().Trouble; why != nil {
		p.log.Warn("history begins anew", "reason", why)
	}
	return nil
}

func (p *process) openAuthority(ctx context.Context, pc processConfig) error {
	if pc.Config.Authority == nil {
		return nil
	}
	c, faults := p.authorityConfig(pc.Config)
	for _, err := range faults {
		p.log.Error("a secret of the authority cannot be used", "reason", err)
	}
	srv, err := authority.New(*c)
	if err != nil {
		return err
	}
	p.authority = srv
	if err := srv.Load(ctx, source{p.store}); err != nil {
		// What can be shown is shown; the rest answers SERVFAIL, which is
		// better than an answer that nobody committed.
		p.log.Error("authority cannot show everything", "reason", err)
	}
	if err := srv.Listen(); err != nil {
		return err
	}
	p.store.OnCommit(func(r ledger.Receipt) {
		if err := srv.Publish(r.Record, r.Serials); err != nil {
			p.log.Error("authority does not show a commit", "instance", r.Record.Instance, "epoch", r.Record.Epoch, "reason", err)
		}
	})
	if left := srv.Stats().LeftOver; len(left) > 0 {
		p.log.Warn("names that the config dropped go on answering: list them under retired of their zone when they may vanish", "names", left)
	}
	p.log.Info("authority listens", "addresses", fmt.Sprint(srv.Addrs()))
	return nil
}

// lead says whether this process leads: on one node the file lock is the
// lease, and a term that could not be made durable means to serve only.
func lead(store *ledger.Store, now time.Time) failover.Lead {
	term, err := store.Term()
	if err != nil {
		return failover.Lead{Why: err.Error()}
	}
	return failover.Lead{Leading: true, Term: term, Until: now.Add(farAway)}
}

func (p *process) openController(f *fitting, m *metrics) error {
	l := lead(p.store, time.Now())
	if why := p.trouble.why(); why != "" {
		l = failover.Lead{Term: l.Term, Why: why}
	} else if !l.Leading {
		p.log.Error("serving only: no decision and no change is made", "reason", l.Why)
	}
	m.expect(f.cfg)
	var err error
	var run controller.Hooks // nil in shadow
	if !p.pc.Shadow {
		if p.hooks, err = hook.New(f.hooks); err != nil {
			return err
		}
		run = hooked{p}
	}
	names := make([]failover.InstanceName, 0, len(f.setup.Policies))
	for i := range f.setup.Policies {
		names = append(names, f.setup.Policies[i].Instance)
	}
	p.ctl, err = controller.New(controller.Config{
		Policies: f.setup.Policies, Lead: l,
		Ledger: recorded{p.store, m, p.replicas}, Names: f.setup.Names, Verifier: f.setup.Verifier, Drainer: p.replicas,
		Hooks: run, Log: p.log, Fail: p.pc.Fail,
		Page: func(_ context.Context, i failover.InstanceName, pg failover.Page) {
			m.pages.WithLabelValues(p.label(i), pg.Kind).Inc()
			p.remember(i, "page", pageNote{pg.Kind, pg.Text})
			p.notices.paged(i, pg)
		},
		History: func(_ context.Context, i failover.InstanceName, o failover.OpSummary) {
			m.operations.WithLabelValues(p.label(i), string(o.Op.Kind), string(o.Outcome)).Inc()
			p.remember(i, "outcome", o)
			p.panel.moved(i, o)
		},
		Episode: p.keepEpisode, Tape: p.keepTape, Unfinished: p.unfinished(context.Background(), names),
	})
	return err
}

// remember adds to the measured history; a sample that does not fit is
// dropped and counted there.
func (p *process) remember(i failover.InstanceName, kind string, what any) {
	if p.past == nil {
		return
	}
	if err := p.past.Add(context.Background(), sampleOf(i, kind, what)); err != nil {
		p.log.Debug("history took no sample", "instance", i, "kind", kind, "reason", err)
	}
}

// deliver hands a report to the controller, with the generation that counts
// now. Unknown instances and vantages are counted by who refuses them.
func (p *process) deliver(r healthcheck.InstanceReport, received time.Time) {
	_ = p.ctl.Deliver(r.Instance, r.Event(received, p.now.Load().want[r.Instance]))
}

// openEyes joins our own vantage and the receiver of the others with the
// controller.
func (p *process) openEyes(f *fitting) error {
	pc := f.probe
	pc.OnReport = func(r healthcheck.InstanceReport) { p.deliver(r, time.Now()) }
	prober, err := healthcheck.NewProber(pc)
	if err != nil {
		return fmt.Errorf("own vantage: %w", err)
	}
	p.prober = prober
	for _, why := range append(pc.KeysMissing(), pc.WatchesOff(), pc.CommandsInTheWay()) {
		if why != "" {
			p.log.Warn(why)
		}
	}
	if f.cfg.Controller.Listen == "" {
		return nil // nobody could reach it, and a reload cannot change that
	}
	rc := f.receive
	rc.Deliver = func(_ failover.VantageName, r healthcheck.InstanceReport, received time.Time) { p.deliver(r, received) }
	rc.Config = p.heardConfig
	rc.Clock = p.heardClock
	receiver, err := healthcheck.NewReceiver(rc)
	if err != nil {
		return fmt.Errorf("reports of vantages: %w", err)
	}
	p.receiver = receiver
	return nil
}

func (p *process) openAPI(f *fitting, m *metrics) error {
	cfg := f.cfg
	v := p.pc.Version
	v.Name, v.Shadow = cfg.Controller.Name, p.pc.Shadow
	ac := api.Config{
		Socket: cfg.Controller.Socket, Listen: cfg.Controller.Listen, Token: f.token, Principals: f.people,
		Instances: p.news, Decisions: decisions{p, m}, Audit: audited{p.store}, History: past{p},
		Probes: probed{p}, Names: world{p}, Health: health{p}, Version: v, Reloads: configured{p.reloads, p}, HealthReports: healthReports{p},
		Replication: p.replicas, Metrics: m.handler(), ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
		OnWrongToken: func(n uint64) {
			p.log.Warn("wrong tokens at the API", "count", n)
		},
	}
	if p.notices != nil {
		ac.Notices = p.notices
	}
	if p.authority != nil {
		ac.Secondaries = p
	}
	if p.hooks != nil {
		ac.Hooks = hookTrial{p}
	}
	if p.receiver != nil {
		ac.Report = p.receiver
	}
	if f.token == nil {
		ac.Listen = "" // without a token only the socket is safe to open
	}
	srv, err := api.New(ac)
	if err != nil && ac.Listen != "" && p.authority != nil {
		// The socket alone still lets people look.
		_ = p.degrade("api", err)
		ac.Listen = ""
		srv, err = api.New(ac)
	}
	if err != nil {
		return err
	}
	p.api = srv
	p.log.Info("API listens", "socket", cfg.Controller.Socket, "address", orElse(srv.Addr(), "none"))
	return nil
}

// Run runs every room until ctx ends, and returns when all have ended and the
// ledger is closed. Without an authority the first room that fails ends all.
// With one only the authority's own end does; any other leaves the process
// degraded, which is an error once ctx ended it.
func (p *process) Run(ctx context.Context) error {
	defer p.close()
	g, ctx := errgroup.WithContext(ctx)
	room := func(name string, run func(context.Context) error) {
		g.Go(func() error {
			err := run(ctx)
			switch {
			case err == nil && ctx.Err() == nil:
				err = errEndedEarly
			case err == nil, errors.Is(err, context.Canceled) && ctx.Err() != nil:
				return nil
			}
			err = fmt.Errorf("%s: %w", name, err)
			if name == "authority" || ctx.Err() != nil {
				return err
			}
			return p.degrade(name, err)
		})
	}
	if p.authority != nil {
		room("authority", p.authority.Run)
	}
	if p.ctl != nil {
		room("controller", p.ctl.Run)
		room("news", p.news.Run)
		room("panel", p.panel.Run)
		room("recording", newRecording(p).Run)
		room("replication", p.replicas.Run)
		room("notify", p.notices.Run)
	}
	if p.prober != nil {
		room("vantage", p.prober.Run)
	}
	if p.api != nil {
		room("api", p.api.Run)
	}
	if p.reloads != nil {
		room("config", p.reloads.Run)
	}
	if p.reports != nil {
		room("reports", p.reports.Run)
	}
	p.log.Info("controller starts")
	err := g.Wait()
	p.log.Info("controller ends")
	if err == nil {
		err = p.trouble.err()
	}
	return err
}

// close frees what was opened, in the reverse order. Sockets are closed by
// the Run methods; where Run was never called the process ends anyway.
func (p *process) close() {
	p.notices.close()
	if p.past != nil {
		if err := p.past.Close(); err != nil {
			p.log.Warn("history did not close", "reason", err)
		}
	}
	if p.store != nil {
		if err := p.store.Close(); err != nil {
			p.log.Warn("ledger did not close", "reason", err)
		}
	}
}
