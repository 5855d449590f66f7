package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pointsman/dnsctl/authority"
	"pointsman/internal/api"
	"pointsman/internal/config"
	"pointsman/internal/failover"
)

// A reload is all or nothing. Everything that can refuse is asked before
// anything changes; then the diff goes into the audit; then the rooms take the
// new configuration one after the other. The authority comes first, because the
// controller writes records of names that it must know; the controller before
// those who report, because a vote bears the hash of the new checks. The
// controller is asked once more before the authority changes: an operation can
// have begun at an instance that is to go, and clients would be told for a
// moment that its names are gone. From then on none begins.

// reloadPoints are the failpoints of a reload: after the audit, after the
// controller agreed, and after the authority and the controller took the new
// configuration.
var reloadPoints = []string{"reload/audited", "reload/agreed", "reload/authority", "reload/controller"}

// pass passes a failpoint. Its error is what a room would say.
func (p *process) pass(point string) error {
	if p.pc.Fail == nil {
		return nil
	}
	return p.pc.Fail(point)
}

// made says what runs (renewable).
func (p *process) made() madeOf {
	f := p.now.Load()
	return madeOf{hash: f.cfg.Hash, files: slices.Concat(f.cfg.Seen(), f.unread), at: f.at}
}

func (p *process) unchanged() bool {
	cfg := p.now.Load().cfg
	return cfg.Same(cfg.File)
}

// renew takes the file anew, or says why not (renewable).
func (p *process) renew(ctx context.Context, a attempt) outcome {
	now := p.now.Load()
	if len(now.unread) == 0 && p.asItRuns(now.cfg) {
		return outcome{result: api.ReloadUnchanged, hash: now.cfg.Hash}
	}
	cfg, err := config.LoadAfter(now.cfg)
	if err != nil {
		return outcome{result: api.ReloadRefused, err: configError(err), names: pathsOf(config.Names(now.cfg.File))}
	}
	no := func(err error) outcome {
		return outcome{result: api.ReloadRefused, err: err, hash: cfg.Hash, names: pathsOf(cfg.Files())}
	}
	if len(cfg.Rights) > 0 {
		// At the start somebody reads the warning. Here nobody does, and
		// whoever may write the file would say where clients are sent.
		return no(firstHint(cfg.Rights))
	}
	s, faults := readSecrets(cfg, p.pc.Shadow)
	zones, more := p.authorityConfig(cfg)
	if faults = slices.Concat(faults, more, s.unheard); len(faults) > 0 {
		return no(joined(faults))
	}
	if cfg.Sum() == now.cfg.Sum() {
		return outcome{result: api.ReloadUnchanged, hash: cfg.Hash}
	}
	next, changes, removes, err := p.consider(ctx, cfg, s, zones, a)
	out := outcome{result: api.ReloadOK, hash: cfg.Hash, changes: changes, removes: removes}
	switch {
	case err != nil:
		out.result, out.err, out.names = api.ReloadRefused, err, pathsOf(cfg.Files())
	case a.DryRun:
	default:
		if err := p.take(ctx, now, next, changes, a); err != nil {
			out.result, out.err, out.names = api.ReloadRefused, err, pathsOf(cfg.Files())
		}
	}
	return out
}

// asItRuns says that the files hold what runs and could be taken again. It
// does not parse: ten thousand instances are some seconds of work.
func (p *process) asItRuns(cfg *config.Config) bool {
	if !cfg.Same(cfg.File) || len(config.Rights(cfg.File)) > 0 {
		return false
	}
	again := cfg.Forgetful()
	s, faults := readSecrets(again, p.pc.Shadow)
	_, more := p.authorityConfig(again)
	return len(faults)+len(more)+len(s.unheard) == 0
}

// consider asks everything that can be asked without changing anything.
func (p *process) consider(ctx context.Context, cfg *config.Config, s *secrets, zones *authority.Config, a attempt) (next *fitting, changes []config.Change, removes []string, err error) {
	now := p.now.Load()
	changes = config.Diff(now.cfg, cfg)
	if fs := config.Frozen(now.cfg, cfg); len(fs) > 0 {
		return nil, changes, nil, firstHint(fs)
	}
	if why := p.trouble.why(); why != "" {
		return nil, changes, nil, failed("mend what the log names, then restart the controller: it takes the file as it is then", "%s", why)
	}
	if err := p.store.Poisoned(); err != nil {
		return nil, changes, nil, failed("free or mend the disk of controller.data, then restart the controller", "the audit cannot be written: %w", err)
	}
	removes = config.Removals(now.cfg, cfg)
	if len(removes) > 0 && (a.Accept == "" || !strings.HasPrefix(cfg.Hash, a.Accept)) {
		return nil, changes, removes, failed(
			fmt.Sprintf("look at 'pointsman reload --dry-run'; if it is meant: pointsman reload --accept-removals %s", shortHash(cfg.Hash)),
			"so much at once looks like a slip: %s", strings.Join(removes, "; "))
	}
	if err := p.checkClaims(ctx, cfg); err != nil {
		return nil, changes, removes, err
	}
	next, faults := p.fit(cfg, s, zones)
	if len(faults) > 0 {
		return nil, changes, removes, joined(faults)
	}
	return next, changes, removes, p.tryOut(next)
}

// take puts next in the place of now, or leaves everything as it was.
func (p *process) take(ctx context.Context, now, next *fitting, changes []config.Change, a attempt) error {
	if err := p.store.Note(ctx, auditOf(now, next, changes, a)); err != nil {
		return failed("see the log; without an audit nothing is changed", "%w", err)
	}
	if err := p.swap(ctx, now, next); err != nil {
		entry := failover.AuditEntry{At: time.Now(), Kind: auditKind, By: a.By, Text: "the reload was not done, everything is as before: " + brief(err, 3)}
		return errors.Join(err, p.store.Note(context.WithoutCancel(ctx), []failover.AuditEntry{entry}))
	}
	return nil
}

// swap hands next to the rooms in their order.
func (p *process) swap(ctx context.Context, now, next *fitting) error {
	if err := p.pass("reload/audited"); err != nil {
		return err
	}
	setup, err := p.ctl.Prepare(next.setup)
	if err != nil {
		return inHand(err)
	}
	defer setup.Drop()
	if err := p.pass("reload/agreed"); err != nil {
		return err
	}
	if err := p.swapAuthority(ctx, next); err != nil {
		return err
	}
	_ = p.pass("reload/authority") // nothing can refuse here any more
	next.inherit(now)
	setup.Take()
	p.now.Store(next)
	closeAll(now.names)
	p.replicas.set(next.cfg)
	if p.hooks != nil {
		if err := p.hooks.Set(next.hooks); err != nil {
			_ = p.degrade("hooks", err)
		}
	}
	if p.news != nil {
		p.news.metrics.expect(next.cfg)
	}
	p.reports.Set(next.cfg.Reports)
	_ = p.pass("reload/controller")
	// What these two refuse was tried out. If they do, votes of the changed
	// targets bear a hash that does not count: nothing moves, and people are told.
	if p.receiver != nil {
		if err := p.receiver.Reload(next.receive); err != nil {
			_ = p.degrade("reports", err)
		}
	}
	if p.prober != nil {
		if err := p.prober.Reload(next.probe); err != nil {
			_ = p.degrade("vantage", err)
		}
	}
	p.notices.reload(next.notify)
	if p.api != nil && p.api.Addr() != "" && next.token != nil {
		if err := p.api.SetToken(next.token); err != nil {
			_ = p.degrade("api", err)
		}
	}
	if p.api != nil {
		if err := p.api.SetPrincipals(next.people); err != nil {
			_ = p.degrade("api", err)
		}
	}
	p.settle(next)
	return nil
}

func (p *process) swapAuthority(ctx context.Context, f *fitting) error {
	if p.authority == nil || f.authority == nil {
		return nil
	}
	if err := p.authority.Reload(*f.authority); err != nil {
		return err
	}
	// Zones and names that were not served before show what was committed.
	if err := p.authority.Load(ctx, source{p.store}); err != nil {
		p.log.Error("authority cannot show everything", "reason", err)
	}
	return nil
}

func pathsOf(fs []config.NamedFile) []string {
	var out []string
	for _, f := range fs {
		out = append(out, f.Path)
	}
	return out
}

// firstHint is an error of several places with the hint of the first.
func firstHint(fs config.Faults) error { return failed(fs[0].Hint, "%w", fs) }

// joined makes one error of several, with the hint of the first.
func joined(errs []error) error {
	err := errors.Join(errs...)
	if len(errs) == 0 {
		return nil
	}
	return &failure{exitError, err, hintOf(errs[0])}
}
