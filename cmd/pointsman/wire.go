package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"pointsman/dnsctl"
	"pointsman/dnsctl/authority"
	"pointsman/healthcheck"
	"pointsman/internal/api"
	"pointsman/internal/config"
	"pointsman/internal/controller"
	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// This file is the only place that knows all rooms: it builds them, joins them
// by the adapters of adapt.go, and runs them. Nothing is decided here.

// processConfig is what a controller process is made of.
type processConfig struct {
	Config  *config.Config
	Shadow  bool // decide everything, do nothing, hold no credential that could write
	Log     *slog.Logger
	Fail    func(name string) error // failpoints; nil in production
	Version api.Version
}

// process is a whole controller: every room, joined.
type process struct {
	log       *slog.Logger
	store     *ledger.Store
	authority *authority.Server // nil without one
	trouble   trouble

	// Each of these is nil when it could not be had and DNS goes on without.
	past     *ledger.History
	prober   *healthcheck.Prober
	receiver *healthcheck.Receiver // also nil without vantages elsewhere
	ctl      *controller.Controller
	news     *news
	api      *api.Server
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
	p := &process{log: pc.Log}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.store, err = ledger.Open(ctx, cfg.Controller.Ledger()); err != nil {
		return nil, err
	}
	if err := p.openAuthority(ctx, pc); err != nil {
		return nil, err
	}
	secrets, faults := readSecrets(cfg, pc.Shadow)
	for _, err := range faults {
		if err := p.degrade("secrets", err); err != nil {
			return nil, err
		}
	}
	if err := p.degrade("history", p.openHistory(ctx, cfg)); err != nil {
		return nil, err
	}
	m := newMetrics(pc.Version)
	if err := p.degrade("controller", p.openController(pc, secrets, m)); err != nil {
		return nil, err
	}
	if p.ctl == nil {
		return p, nil // nothing to feed, and nothing to tell
	}
	if err := p.degrade("vantage", p.openEyes(cfg, secrets)); err != nil {
		return nil, err
	}
	p.news = newNews(p, m)
	m.watch(p)
	if err := p.degrade("api", p.openAPI(pc, secrets, m)); err != nil {
		return nil, err
	}
	return p, nil
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
	c, faults := serving(pc.Config, pc.Shadow)
	for _, err := range faults {
		p.log.Error("a secret of the authority cannot be used", "reason", err)
	}
	c.OnPanic = func(v any, stack []byte) {
		p.log.Error("authority panicked", "reason", fmt.Sprint(v), "stack", string(stack))
	}
	srv, err := authority.New(c)
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

func (p *process) openController(pc processConfig, s *secrets, m *metrics) error {
	cfg := pc.Config
	names := make(map[string]controller.Names)
	look := verifier{providers: make(map[string]authorities)}
	for _, pr := range cfg.Providers {
		c := pr.Config
		c.ReadOnly = pc.Shadow
		if secret, ok := s.providers[pr.Name]; ok {
			c.Key.Secret = secret
		} else {
			c.ReadOnly = true
		}
		provider, err := dnsctl.NewRFC2136(c)
		if err != nil {
			err = fmt.Errorf("provider %s: %w", pr.Name, err)
			if err := p.degrade("provider", err); err != nil {
				return err
			}
			names[pr.Name] = unusable{err}
			continue
		}
		names[pr.Name] = provided{provider}
		look.providers[pr.Name] = authoritiesOf(c)
	}
	if p.authority != nil {
		look.own = fixed(reachable(p.authority.Addrs()))
	}
	policies := make([]failover.Policy, 0, len(cfg.Instances))
	for _, i := range cfg.Instances {
		pol := i.Policy
		pol.ForceShadow = pc.Shadow
		pol.By = cfg.Controller.Name
		policies = append(policies, pol)
	}
	l := lead(p.store, time.Now())
	if why := p.trouble.why(); why != "" {
		l = failover.Lead{Term: l.Term, Why: why}
	} else if !l.Leading {
		p.log.Error("serving only: no decision and no change is made", "reason", l.Why)
	}
	var err error
	p.ctl, err = controller.New(controller.Config{
		Policies: policies, Lead: l,
		Ledger: recorded{p.store, m}, Names: names, Verifier: look,
		Log: p.log, Fail: pc.Fail,
		Page: func(_ context.Context, i failover.InstanceName, pg failover.Page) {
			m.pages.WithLabelValues(string(i), pg.Kind).Inc()
			p.remember(i, "page", pageNote{pg.Kind, pg.Text})
		},
		History: func(_ context.Context, i failover.InstanceName, o failover.OpSummary) {
			m.operations.WithLabelValues(string(i), string(o.Op.Kind), string(o.Outcome)).Inc()
			p.remember(i, "outcome", o)
		},
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

// openEyes joins our own vantage and the receiver of the others with the
// controller.
func (p *process) openEyes(cfg *config.Config, s *secrets) error {
	want := make(map[failover.InstanceName]string)
	rounds := make(map[failover.InstanceName]time.Duration)
	var targets []healthcheck.Target
	for _, i := range cfg.Instances {
		want[i.Policy.Instance], rounds[i.Policy.Instance] = i.Generation(), i.Policy.Round
		targets = append(targets, i.Targets...)
	}
	deliver := func(r healthcheck.InstanceReport, received time.Time) {
		// Unknown instances and vantages are counted by who refuses them.
		_ = p.ctl.Deliver(r.Instance, r.Event(received, want[r.Instance]))
	}
	prober, err := healthcheck.NewProber(healthcheck.Config{
		Vantage: cfg.Self.Name, Targets: targets, Controls: cfg.Self.Controls, Allow: cfg.Self.Allow,
		OnReport: func(r healthcheck.InstanceReport) { deliver(r, time.Now()) },
	})
	if err != nil {
		return fmt.Errorf("own vantage: %w", err)
	}
	p.prober = prober
	if len(s.vantages) == 0 {
		return nil
	}
	receiver, err := healthcheck.NewReceiver(healthcheck.ReceiverConfig{
		Vantages: s.vantages, Instances: rounds,
		Deliver: func(_ failover.VantageName, r healthcheck.InstanceReport, received time.Time) { deliver(r, received) },
	})
	if err != nil {
		return fmt.Errorf("reports of vantages: %w", err)
	}
	p.receiver = receiver
	return nil
}

func (p *process) openAPI(pc processConfig, s *secrets, m *metrics) error {
	cfg := pc.Config
	v := pc.Version
	v.Name, v.Shadow = cfg.Controller.Name, pc.Shadow
	ac := api.Config{
		Socket: cfg.Controller.Socket, Listen: cfg.Controller.Listen, Token: s.token,
		Instances: p.news, Decisions: decisions{p.ctl, m}, Audit: audited{p.store}, History: past{p},
		Probes: probed{p.prober, cfg}, Health: health{p}, Version: v,
		Metrics: m.handler(), ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
		OnWrongToken: func(n uint64) {
			p.log.Warn("wrong tokens at the API", "count", n)
		},
	}
	if p.receiver != nil {
		ac.Report = p.receiver
	}
	if s.token == nil {
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
	}
	if p.prober != nil {
		room("vantage", p.prober.Run)
	}
	if p.api != nil {
		room("api", p.api.Run)
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
