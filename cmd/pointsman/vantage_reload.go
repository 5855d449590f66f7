package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pointsman/healthcheck"
	"pointsman/internal/api"
	"pointsman/internal/config"
)

// lookout is a vantage that runs.
type lookout struct {
	sender *healthcheck.Sender
	prober *healthcheck.Prober

	// Only the reloader's goroutine uses these once it runs.
	now *config.VantageFile
	at  time.Time
}

func senderConfig(f *config.VantageFile, key healthcheck.Key) healthcheck.SenderConfig {
	return healthcheck.SenderConfig{Vantage: f.Name, Key: key, Controllers: f.Controllers, Roots: f.Roots}
}

func proberConfig(f *config.VantageFile) healthcheck.Config {
	return healthcheck.Config{Vantage: f.Name, Targets: f.Targets, Controls: f.Controls, Allow: f.Allow, WatchTargets: f.WatchTargets, ReadKey: config.ReadSecretFile}
}

// made says what runs (renewable).
func (l *lookout) made() madeOf {
	return madeOf{hash: l.now.Hash, files: l.now.Seen(), at: l.at}
}

func (l *lookout) unchanged() bool { return l.now.Same(l.now.File) }

// renew takes vantage.yaml anew, or says why not (renewable). A vantage moves
// nothing, so it refuses less than a controller does: what it probes no more,
// the controllers soon call unknown.
func (l *lookout) renew(_ context.Context, _ attempt) outcome {
	f, err := config.LoadVantageAfter(l.now)
	if err != nil {
		return outcome{result: api.ReloadRefused, err: configError(err), names: pathsOf(config.Names(l.now.File))}
	}
	out := outcome{result: api.ReloadRefused, hash: f.Hash, names: pathsOf(f.Files())}
	if len(f.Rights) > 0 {
		out.err = firstHint(f.Rights)
		return out
	}
	key, err := readKey(f.ReadSecret, f.KeyFile)
	if err != nil {
		out.err = err
		return out
	}
	if f.Sum() == l.now.Sum() {
		return outcome{result: api.ReloadUnchanged, hash: f.Hash}
	}
	out.changes = config.DiffVantage(l.now, f)
	if fs := config.FrozenVantage(l.now, f); len(fs) > 0 {
		out.err = firstHint(fs)
		return out
	}
	if out.err = l.take(f, key); out.err != nil {
		return out
	}
	l.now, l.at = f, time.Now()
	out.result, out.names = api.ReloadOK, nil
	return out
}

// take hands the file to the rooms: to both or to none.
func (l *lookout) take(f *config.VantageFile, key healthcheck.Key) error {
	// The sender is only tried: what it refuses is known before the prober
	// changes, and it cannot refuse the same a moment later.
	if _, err := healthcheck.NewSender(senderConfig(f, key)); err != nil {
		return failed("check controllers in "+f.File, "report: %w", err)
	}
	if err := l.prober.Reload(proberConfig(f)); err != nil {
		return failed("check the instances in "+f.File, "probe: %w", err)
	}
	if err := l.sender.Reload(senderConfig(f, key)); err != nil {
		back := l.prober.Reload(proberConfig(l.now))
		return errors.Join(fmt.Errorf("report: %w", err), back)
	}
	return nil
}
