package main

import (
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"pointsman/dnsctl"
	"pointsman/dnsctl/authority"
	"pointsman/healthcheck"
	"pointsman/internal/api"
	"pointsman/internal/config"
	"pointsman/internal/controller"
	"pointsman/internal/failover"
	"pointsman/internal/hook"
	"pointsman/internal/notify"
)

// fitting is everything that is made of one configuration: what the rooms run
// with. It is built whole before any of it runs, and never changed.
type fitting struct {
	cfg       *config.Config
	at        time.Time
	token     []byte
	people    []api.Principal
	authority *authority.Config // nil without one
	setup     controller.Setup
	names     map[string]dnsctl.Provider // those outside, kept for the next
	probe     healthcheck.Config
	receive   healthcheck.ReceiverConfig
	notify    notify.Setup
	unread    []string // files of secrets that channels lack
	hooks     hook.Config
	want      map[failover.InstanceName]string // generation that a vote must bear
}

// fit builds a fitting. A provider that cannot be had is a fault and stands in
// the result as one that refuses everything.
func (p *process) fit(cfg *config.Config, s *secrets, zones *authority.Config) (*fitting, []error) {
	f := &fitting{
		cfg: cfg, at: time.Now(), token: s.token, people: s.people, want: make(map[failover.InstanceName]string, len(cfg.Instances)),
		probe: healthcheck.Config{Vantage: cfg.Self.Name, Controls: cfg.Self.Controls, Allow: cfg.Self.Allow, WatchTargets: cfg.Self.WatchTargets, ReadKey: config.ReadSecretFile},
		receive: healthcheck.ReceiverConfig{
			Vantages: s.vantages, Instances: make(map[failover.InstanceName]time.Duration, len(cfg.Instances)),
		},
		authority: zones, notify: s.notify, unread: s.unread,
	}
	for _, i := range cfg.Instances {
		name := i.Policy.Instance
		f.want[name], f.receive.Instances[name] = i.Generation(), i.Policy.Round
		f.probe.Targets = append(f.probe.Targets, i.Targets...)
		pol := i.Policy
		pol.ForceShadow = p.pc.Shadow // a reload never changes it
		pol.By = cfg.Controller.Name
		f.setup.Policies = append(f.setup.Policies, pol)
	}
	names, look, faults := providers(p.pc, cfg, s)
	if p.authority != nil {
		look.own = servedBy(p.authority.Addrs(), zones)
	}
	look.seen = &p.surveys
	f.setup.Names, f.setup.Verifier = names, look
	f.names = external(names)
	f.hooks = hooksOf(cfg, s)
	return f, faults
}

// settle keeps f without what the rooms have copies of by now, and gives the
// memory back that reading the configuration took: with ten thousand instances
// that is several times what they need from then on.
func (p *process) settle(f *fitting) {
	lean := *f
	lean.setup.Policies, lean.probe.Targets = nil, nil
	p.now.Store(&lean)
	debug.FreeOSMemory()
}

// authorityConfig is what the authority runs with, nil without one, and why
// keys of its secondaries cannot be used.
func (p *process) authorityConfig(cfg *config.Config) (*authority.Config, []error) {
	if cfg.Authority == nil {
		return nil, nil
	}
	c, faults := serving(cfg, p.pc.Shadow)
	c.OnPanic = func(v any, stack []byte) {
		p.log.Error("authority panicked", "reason", fmt.Sprint(v), "stack", string(stack))
	}
	return &c, faults
}

func providers(pc processConfig, cfg *config.Config, s *secrets) (map[string]controller.Names, verifier, []error) {
	names := make(map[string]controller.Names)
	look := verifier{providers: make(map[string]authorities)}
	var faults []error
	for _, pr := range cfg.Providers {
		provider, err := providerOf(pr, pc, s)
		if err != nil {
			err = fmt.Errorf("provider %s: %w", pr.Name, err)
			faults = append(faults, err)
			names[pr.Name] = unusable{err}
			continue
		}
		names[pr.Name] = provided{provider, pr.SecretFile}
		look.providers[pr.Name] = authoritiesOf(pr.Authorities)
		if len(pr.Resolvers) > 0 {
			look.providers[pr.Name] = resolvers(pr.Resolvers)
		}
	}
	return names, look, faults
}

// providerOf makes a provider of its config. Without its secret it only reads.
func providerOf(pr config.Provider, pc processConfig, s *secrets) (dnsctl.Provider, error) {
	switch {
	case pr.Alidns != nil:
		c := *pr.Alidns
		c.ReadOnly = pc.Shadow
		return dnsctl.NewAlidns(c)
	case pr.Pvtz != nil:
		c := *pr.Pvtz
		c.ReadOnly = pc.Shadow
		return dnsctl.NewPvtz(c)
	case pr.LibDNS != nil:
		c := *pr.LibDNS
		c.ReadOnly = pc.Shadow
		if c.ReadOnly {
			c.ReadSettings = s.providers[pr.Name]
		} else {
			c.Settings = s.providers[pr.Name]
		}
		return dnsctl.NewLibDNS(c)
	case pr.RPZ != nil:
		c := *pr.RPZ
		secret, ok := s.providers[pr.Name]
		c.Key.Secret, c.ReadOnly = secret, pc.Shadow || !ok
		return dnsctl.NewRPZ(c)
	default:
		c := *pr.Update
		secret, ok := s.providers[pr.Name]
		c.Key.Secret, c.ReadOnly = secret, pc.Shadow || !ok
		return dnsctl.NewRFC2136(c)
	}
}

// inherit gives providers what those before them have learnt: first the one of
// the same name, else any that says that it belongs, as it may have been renamed.
func (f *fitting) inherit(before *fitting) {
	for name, n := range f.setup.Names {
		next, _ := n.(provided)
		heir, able := next.provider.(interface{ Inherit(dnsctl.Provider) bool })
		if !able {
			continue
		}
		if was, ok := before.names[name]; ok && heir.Inherit(was) {
			continue
		}
		for _, other := range slices.Sorted(maps.Keys(before.names)) {
			if heir.Inherit(before.names[other]) {
				break
			}
		}
	}
}

// external are the providers that are not unusable.
func external(names map[string]controller.Names) map[string]dnsctl.Provider {
	out := make(map[string]dnsctl.Provider, len(names))
	for name, n := range names {
		if p, ok := n.(provided); ok {
			out[name] = p.provider
		}
	}
	return out
}

// closeAll lets go of the connections that providers keep.
func closeAll(ps map[string]dnsctl.Provider) {
	for _, p := range ps {
		if c, ok := p.(interface{ Close() }); ok {
			c.Close()
		}
	}
}

// tryOut asks every room whether it would take f, by the same code as when it
// does, and changes nothing. What is true of an operation in hand can be other
// a moment later.
func (p *process) tryOut(f *fitting) error {
	if p.authority != nil && f.authority != nil {
		if _, err := p.authority.Prepare(*f.authority); err != nil {
			return err
		}
	}
	if p.prober != nil {
		if err := p.prober.Check(f.probe); err != nil {
			return fmt.Errorf("own vantage: %w", err)
		}
	}
	if p.receiver != nil {
		if err := p.receiver.Check(f.receive); err != nil {
			return fmt.Errorf("reports of vantages: %w", err)
		}
	}
	if p.notices != nil {
		if err := p.notices.n.Check(f.notify); err != nil {
			return fmt.Errorf("notify: %w", err)
		}
	}
	next, err := p.ctl.Prepare(f.setup)
	if err != nil {
		return inHand(err)
	}
	next.Drop()
	return p.replicas.inHand(f.cfg)
}

// inHand says what helps against a refusal of the controller.
func inHand(err error) error {
	if errors.Is(err, controller.ErrInHand) {
		return failed("wait until it has ended, or abort it: the file is tried again by 'pointsman reload'", "%w", err)
	}
	return err
}
