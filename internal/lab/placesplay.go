package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// Places lets one controller move five names that are kept in five places, side
// by side, when the active cluster is killed. The error is for a story that
// could not be told; broken promises stand in the report.
func Places(ctx context.Context, cfg Config) (PlacesReport, error) {
	if _, err := find("named"); err != nil {
		return PlacesReport{OK: true, LeftOut: []string{"story providers: install bind9"}}, nil
	}
	dir, err := os.MkdirTemp("", "pointsman-lab-")
	if err != nil {
		return PlacesReport{}, fmt.Errorf("work folder: %w", err)
	}
	report, err := places(ctx, cfg, dir)
	if err != nil && ctx.Err() == nil || err == nil && !report.OK {
		return report, errors.Join(err, fmt.Errorf("logs, ledger and config are kept in %s", dir))
	}
	return report, errors.Join(err, os.RemoveAll(dir))
}

func places(ctx context.Context, cfg Config, dir string) (PlacesReport, error) {
	w, err := newPlacesWorld(dir)
	if err != nil {
		return PlacesReport{}, err
	}
	defer w.cloud.Close()
	l := &Lab{World: &World{Dir: dir}, cfg: cfg, family: NewFamily(5 * time.Second)}
	l.Tool = Tool{Path: cfg.Pointsman, Config: filepath.Join(dir, "pointsman.yaml")}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.family.Run(gctx) })
	g.Go(func() error {
		err := w.start(gctx, l)
		if err == nil {
			err = w.play(gctx, l)
		}
		return cmp.Or(err, errBodyDone)
	})
	if err := g.Wait(); !errors.Is(err, errBodyDone) {
		return PlacesReport{}, err
	}
	report := PlacesReport{OK: true, Places: w.places}
	for _, p := range w.places {
		report.OK = report.OK && len(p.Why) == 0
	}
	return report, nil
}

// start brings all up, takes the names over, arms the instance and waits until
// every name bears its mark.
func (w *placesWorld) start(ctx context.Context, l *Lab) error {
	ctx, cancel := context.WithTimeoutCause(ctx, Ready, ErrNotReady)
	defer cancel()
	token, err := secret()
	if err != nil {
		return err
	}
	for _, c := range w.clusters {
		if err := l.family.Start(ctx, l.spec(c.Name, l.cfg.Self, []string{"POINTSMAN_LAB_TOKEN=" + token},
			"cluster", "--name", c.Name, "--listen", c.Addr.String(), "--manage", c.Manage.String())); err != nil {
			return err
		}
	}
	if err := l.startServer(ctx, w.named()); err != nil {
		return err
	}
	if err := w.policyApplied(ctx); err != nil {
		return err
	}
	key := w.cloud.Key()
	env := []string{"ALIBABA_CLOUD_ACCESS_KEY_ID=" + key.ID, "ALIBABA_CLOUD_ACCESS_KEY_SECRET=" + key.Secret}
	if err := l.family.Start(ctx, l.spec(Controller, l.cfg.Pointsman, env, "run", "-c", l.Tool.Config)); err != nil {
		return err
	}
	return l.AwaitView(ctx, "orders", "to have every name marked", func(v View) string {
		switch {
		case v.Active == "":
			_, _ = l.Tool.Do(ctx, "adopt", "orders", "--yes") // again until every name was read
			return "no record yet"
		case bothUp(v) != "":
			return bothUp(v)
		case v.Mode != "auto":
			_, _ = l.Tool.Do(ctx, "arm", "orders", "--mode", "auto", "--yes")
			return "armed to " + v.Mode
		case v.Stopped() != "":
			return v.Stopped()
		}
		for _, n := range v.Names {
			if n.Want != nil {
				return "a write to " + n.Name + " is open"
			}
		}
		return ""
	})
}

// policyApplied waits until BIND applies its policy zone, which takes it some
// milliseconds after it answers.
func (w *placesWorld) policyApplied(ctx context.Context) error {
	for {
		c := dns.Client{Timeout: time.Second}
		r, _, err := c.ExchangeContext(ctx, new(dns.Msg).SetQuestion("orders.vendor.example.", dns.TypeCNAME), w.bind.String())
		if err == nil && len(r.Answer) > 0 {
			return nil
		}
		if err := pause(ctx, poll/5); err != nil {
			return fmt.Errorf("wait for the policy zone: %w", err)
		}
	}
}

// play records, lets the active cluster die and judges what came.
func (w *placesWorld) play(ctx context.Context, l *Lab) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, p := range w.places {
		g.Go(func() error { return p.rec.Run(gctx) })
	}
	g.Go(func() error { return cmp.Or(w.killed(gctx, l), errBodyDone) })
	if err := g.Wait(); !errors.Is(err, errBodyDone) {
		return err
	}
	return nil
}

func (w *placesWorld) killed(ctx context.Context, l *Lab) error {
	if err := pause(ctx, time.Second); err != nil { // some calm before
		return err
	}
	death := time.Now()
	if err := l.Kill("a"); err != nil {
		return err
	}
	bctx, cancel := context.WithTimeoutCause(ctx, Bound, ErrNotReady)
	defer cancel()
	for _, p := range w.places {
		// One that does not come is seen by the judge.
		if a, err := p.rec.Until(bctx, death, func(a Answer) bool { return a.Target == p.to }); err == nil {
			p.AnsweredMS = msAfter(death, a.Received)
		}
	}
	_ = l.AwaitView(bctx, "orders", "to settle", func(v View) string {
		if v.Op != nil || v.Active != "b" {
			return v.Active + " is active"
		}
		return ""
	}) // so is a failover that does not settle
	if err := pause(ctx, 2*time.Second); err != nil { // nothing may come back after it
		return err
	}
	v, err := l.Tool.View(ctx, "orders")
	if err != nil {
		return err
	}
	audit, err := l.Tool.audit(ctx, "orders")
	if err != nil {
		return err
	}
	for _, p := range w.places {
		answers, err := p.rec.Take(ctx)
		if err != nil {
			return err
		}
		p.judge(answers, writesOf(audit, p.Name, death), v, death)
		p.written(audit, death)
	}
	return nil
}
