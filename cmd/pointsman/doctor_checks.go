package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"pointsman/internal/api"
	"pointsman/internal/config"
	"pointsman/internal/doctor"
	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// patient is what the checks look at: a configuration, and the controller that
// runs it, where one answers.
type patient struct {
	cfg      *config.Config
	asker    doctor.Asker
	readOnly bool

	channels []doctor.Channel // of notifications
	running  doctor.RunningFacts
	clock    doctor.ClockFacts
	views    map[failover.InstanceName]failover.View // of the controller; empty: none answers
}

// askTime is how long a controller may take for all that doctor asks it: one
// that hangs must not hold the other checks up.
const askTime = 5 * time.Second

// examine loads the configuration and carries the checks out. The error is
// that of a file that cannot be read; its mistakes are findings.
func (a *app) examine(ctx context.Context, f doctorFlags, ids []string, asker doctor.Asker, progress func(int, int, string)) (doctorReport, error) {
	ctx, cancel := context.WithTimeout(ctx, f.within)
	defer cancel()
	file := orElse(a.config, defaultConfig)
	cfg, err := config.Load(file)
	var faults config.Faults
	switch {
	case errors.As(err, &faults):
		found := mistaken(faults)
		for _, id := range ids {
			if id != "config.valid" {
				found = append(found, doctor.Skip(id, "", "the configuration has mistakes"))
			}
		}
		found = slices.DeleteFunc(found, func(f doctor.Finding) bool { return !slices.Contains(ids, f.ID) })
		return newReport(file, doctor.Merge(found)), nil
	case err != nil:
		return doctorReport{}, configError(err)
	}
	p := &patient{cfg: cfg, asker: asker, readOnly: f.readOnly, views: map[failover.InstanceName]failover.View{}, channels: channelsOf(cfg)}
	p.ask(ctx, a)
	return newReport(file, doctor.Run(ctx, p.checks(), doctor.Options{Only: ids, Progress: progress})), nil
}

// configAsItIs loads the configuration without its warnings, which are a check
// of doctor.
func (a *app) configAsItIs() (*config.Config, error) {
	cfg, err := config.Load(orElse(a.config, defaultConfig))
	if err != nil {
		return nil, configError(err)
	}
	return cfg, nil
}

// mistaken makes findings of what the file has wrong, or probably wrong.
func mistaken(faults config.Faults) []doctor.Finding {
	var out []doctor.Finding
	for _, f := range faults {
		out = append(out, doctor.Finding{ID: "config.valid", About: lineOf(f), Verdict: doctor.Fail, Evidence: f.Message, Fix: f.Hint})
	}
	return out
}

func lineOf(f config.Fault) string {
	if f.Line == 0 {
		return f.File
	}
	return fmt.Sprintf("%s:%d", f.File, f.Line)
}

// ask learns from the controller, if one answers, what only a running one
// knows. What it did not get to is not known.
func (p *patient) ask(ctx context.Context, a *app) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	c, err := a.clientOf(p.cfg.Controller)
	if err != nil {
		p.running.Where, p.running.Err = "controller", err.Error()
		return
	}
	r := &p.running
	r.Where, r.FileHash = c.Where(), p.cfg.Hash
	p.clock = doctor.ClockFacts{With: c.Where(), Absent: "no controller answers"}
	sent := time.Now()
	sum, err := c.Summary(ctx)
	got := time.Now()
	if err != nil {
		r.Err, r.Hangs = shortly(err), errors.Is(err, context.DeadlineExceeded)
		return
	}
	p.clock = doctor.Compared(c.Where(), "the time in its answer", sent, got, sum.At, 0)
	p.clock.Same = a.server == ""
	r.Instances, r.Leading, r.LeadWhy = sum.Instances, sum.Leading, sum.LeadWhy
	if state, err := c.Config(ctx); err == nil {
		r.Hash = state.Hash
		if state.Refused != nil && !state.OK {
			r.Refused = state.Refused.Reason
		}
	}
	if v, err := c.VerifyAudit(ctx); err == nil && !v.OK {
		r.Audit = v.Why
	}
	views, err := c.Views(ctx)
	if err != nil {
		return
	}
	for _, v := range views {
		p.views[v.Instance] = v
	}
}

// shortly is an error without the advice that goes with it elsewhere.
func shortly(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "it does not answer in time"
	case errors.Is(err, fs.ErrPermission):
		return "it may be asked by the user of the controller or by root"
	case errors.Is(err, api.ErrUnreachable):
		return api.ErrUnreachable.Error()
	}
	text, _ := splitHint(err)
	return text
}

// clientOf is client, for a command that knows the configuration anyhow.
func (a *app) clientOf(ctl config.Controller) (*api.Client, error) {
	if a.server != "" || a.socket != "" || a.config == "" && a.env("POINTSMAN_SOCKET") != "" {
		return a.client()
	}
	return api.NewClient(api.ClientConfig{Socket: ctl.Socket})
}

// checks are all that doctor can do. Each line names its ids.
func (p *patient) checks() []doctor.Check {
	now := func(about string, ids []string, look func() []doctor.Finding) doctor.Check {
		return doctor.Check{IDs: ids, About: about, Look: func(context.Context) []doctor.Finding { return look() }}
	}
	data := p.cfg.Controller.Data
	out := []doctor.Check{
		now("configuration", []string{"config.valid"}, p.configValid),
		now("controller", []string{"config.running"}, func() []doctor.Finding { return doctor.JudgeRunning(p.running) }),
		now("failure domains", []string{"placement.domains", "placement.blast"}, p.placement),
		now("vantages", []string{"vantage.reports"}, p.reports),
		now("move proofs", []string{"cluster.proof"}, p.proofs),
		now("clock", []string{"clock.here"}, func() []doctor.Finding { return []doctor.Finding{doctor.JudgeHere(doctor.ReadClock())} }),
		now("clock of the controller", []string{"clock.controller"}, func() []doctor.Finding {
			return []doctor.Finding{doctor.JudgeClock("clock.controller", p.clock)}
		}),
		now("rights of files", []string{"files.data", "files.secrets"}, p.files),
		now("space", []string{"ledger.space"}, func() []doctor.Finding {
			return []doctor.Finding{doctor.JudgeSpace(doctor.MeasureSpace(existing(data)))}
		}),
		now("backups", []string{"ledger.backup"}, p.backup),
		{IDs: []string{"ledger.sync"}, About: "disk of the ledger", Look: p.sync},
		{IDs: []string{"ledger.schema"}, About: "ledger", Look: p.schema},
		{IDs: []string{"vantage.controls"}, About: "controls", Look: p.controls},
		{IDs: []string{"channels"}, About: "channels", Look: func(ctx context.Context) []doctor.Finding {
			return doctor.ReachChannels(ctx, p.channels)
		}},
	}
	out = append(out, p.probeChecks()...)
	out = append(out, p.moveChecks()...)
	out = append(out, p.replicationChecks()...)
	out = append(out, p.clockChecks()...)
	out = append(out, p.providerChecks()...)
	return append(out, p.zoneChecks()...)
}

func (p *patient) configValid() []doctor.Finding {
	var out []doctor.Finding
	for _, w := range p.cfg.Warnings {
		out = append(out, doctor.Finding{ID: "config.valid", About: lineOf(w), Verdict: doctor.Warn, Evidence: w.Message, Fix: w.Hint})
	}
	if len(out) == 0 {
		out = append(out, doctor.Finding{
			ID: "config.valid", About: p.cfg.File, Verdict: doctor.OK,
			Evidence: fmt.Sprintf("%d instances, %d vantages", len(p.cfg.Instances), 1+len(p.cfg.Vantages)),
		})
	}
	return out
}

func (p *patient) placement() []doctor.Finding {
	place := doctor.Place{Controller: p.cfg.Controller.Name, Home: p.cfg.Self.Domain}
	if len(p.cfg.Instances) > 0 {
		place.Vantages, place.Single = p.cfg.Instances[0].Policy.Vantages, p.cfg.Instances[0].Policy.SingleVantage
	}
	out := []doctor.Finding{doctor.JudgeDomains(place)}
	for _, i := range p.cfg.Instances {
		place.Instance, place.Clusters, place.Domains = string(i.Policy.Instance), i.Policy.Clusters, i.Domains
		out = append(out, doctor.JudgeBlast(place)...)
	}
	return out
}

func (p *patient) reports() []doctor.Finding {
	if len(p.views) == 0 {
		return []doctor.Finding{doctor.Skip("vantage.reports", "", "no controller answers that could say so")}
	}
	var out []doctor.Finding
	for _, i := range p.cfg.Instances {
		if v, ok := p.views[i.Policy.Instance]; ok {
			out = append(out, doctor.JudgeReports(v, i.Policy.Stale())...)
		}
	}
	return out
}

func (p *patient) proofs() []doctor.Finding {
	if len(p.views) == 0 {
		return []doctor.Finding{doctor.Skip("cluster.proof", "", "no controller answers that could say so")}
	}
	var out []doctor.Finding
	for _, i := range p.cfg.Instances {
		if v, ok := p.views[i.Policy.Instance]; ok {
			out = append(out, doctor.JudgeProof(v, i.Policy.MoveProof, time.Now())...)
		}
	}
	return out
}

// secretFiles are the files of secrets that the configuration names.
func secretFiles(cfg *config.Config) []doctor.FileFacts {
	type secret struct {
		path, what string
		needed     bool
	}
	var all []secret
	if cfg.Controller.Listen != "" {
		all = append(all, secret{cfg.Controller.TokenFile, "token of the API", true})
	}
	for _, v := range cfg.Vantages {
		all = append(all, secret{v.KeyFile, fmt.Sprintf("key of vantage %s", v.Name), true})
	}
	for _, pr := range cfg.Providers {
		for _, file := range pr.SecretFiles() {
			all = append(all, secret{file, fmt.Sprintf("secret of provider %s", pr.Name), false})
		}
	}
	for _, i := range cfg.Instances {
		for _, file := range i.KeyFiles() {
			all = append(all, secret{file, fmt.Sprintf("access key of the probes of %s", i.Policy.Instance), false})
		}
		for _, file := range i.ReplicaKeyFiles() {
			all = append(all, secret{file, fmt.Sprintf("access key of the replication of %s", i.Policy.Instance), false})
		}
	}
	for _, k := range cfg.Keys {
		all = append(all, secret{k.SecretFile, fmt.Sprintf("secret of key %s", k.Name), true})
	}
	if cfg.CookieSecretFile != "" {
		all = append(all, secret{cfg.CookieSecretFile, "secret of DNS cookies", false})
	}
	var out []doctor.FileFacts
	for _, s := range all {
		f := doctor.LookAt(s.path, s.what)
		f.Needed = s.needed
		out = append(out, f)
	}
	return append(out, moreSecrets(cfg)...)
}

func (p *patient) files() []doctor.Finding {
	out := []doctor.Finding{doctor.JudgeFolder(doctor.LookAt(p.cfg.Controller.Data, "data folder"))}
	for _, f := range secretFiles(p.cfg) {
		out = append(out, doctor.JudgeSecret(f))
	}
	return out
}

// existing is the folder, or the nearest one above it that is there: the disk
// on which it will be made.
func existing(dir string) string {
	for {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			return dir
		}
		dir = up
	}
}

func (p *patient) sync(ctx context.Context) []doctor.Finding {
	data := p.cfg.Controller.Data
	if p.readOnly {
		return []doctor.Finding{doctor.Skip("ledger.sync", data, "it would write a scratch file: leave --read-only out")}
	}
	if existing(data) != data {
		// What runs as somebody else must not make files above the folder.
		return []doctor.Finding{doctor.Skip("ledger.sync", data, "the folder is not there yet: make it (mode 0700, of the user of the controller), and ask again")}
	}
	return []doctor.Finding{doctor.JudgeSync(doctor.MeasureSync(ctx, data))}
}

func (p *patient) schema(ctx context.Context) []doctor.Finding {
	const id = "ledger.schema"
	data := p.cfg.Controller.Data
	l, err := ledger.Peek(ctx, data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []doctor.Finding{doctor.Skip(id, data, "no controller has run here yet")}
	case errors.Is(err, fs.ErrPermission):
		return []doctor.Finding{doctor.Skip(id, data, "only the user of the controller may read it")}
	case errors.Is(err, ledger.ErrNewer):
		return []doctor.Finding{{ID: id, About: data, Verdict: doctor.Fail, Evidence: err.Error(), Fix: "run the newer program"}}
	case errors.Is(err, ledger.ErrCorrupt):
		return []doctor.Finding{{ID: id, About: data, Verdict: doctor.Fail, Evidence: err.Error(), Fix: "keep a copy of the folder, then restore the newest backup"}}
	case err != nil:
		return []doctor.Finding{doctor.Skip(id, data, "%v", err)}
	}
	f := doctor.Finding{
		ID: id, About: l.Path, Verdict: doctor.OK,
		Evidence: fmt.Sprintf("version %d, term %d, %d records, written last %s", l.Schema, l.Term, len(l.Records), l.Written.UTC().Format(time.RFC3339)),
	}
	if l.Schema < ledger.SchemaVersion {
		f.Verdict = doctor.Warn
		f.Evidence += fmt.Sprintf("; this program brings it to version %d at the start, and earlier ones refuse it then", ledger.SchemaVersion)
		f.Fix = "copy the data folder before the upgrade"
	}
	return []doctor.Finding{f}
}

// backup looks for copies of the ledger beside it: files whose name begins
// with that of the ledger, in the folder and in folders below it that are
// called backup.
func (p *patient) backup() []doctor.Finding {
	data := p.cfg.Controller.Data
	b := doctor.BackupFacts{Dir: data}
	_, err := os.Stat(filepath.Join(data, "ledger.db"))
	b.Ledger = err == nil
	var newest time.Time
	for _, pattern := range []string{"ledger.db?*", "ledger-*.db*", "backup*/ledger*"} {
		found, _ := filepath.Glob(filepath.Join(data, pattern)) // only of a bad pattern
		for _, path := range found {
			info, err := os.Stat(path)
			if err != nil || !info.Mode().IsRegular() || slices.Contains([]string{"ledger.db-wal", "ledger.db-shm", "ledger.db-journal", "ledger.db.new"}, filepath.Base(path)) {
				continue
			}
			if info.ModTime().After(newest) {
				newest, b.Newest = info.ModTime(), path
			}
		}
	}
	b.Age = time.Since(newest)
	return []doctor.Finding{doctor.JudgeBackup(b)}
}

func (p *patient) controls(ctx context.Context) []doctor.Finding {
	var facts []doctor.ReachFacts
	for _, c := range p.cfg.Self.Controls {
		f := doctor.Reach(ctx, c.Address)
		f.Own = p.cfg.Authority != nil && slices.Contains(p.cfg.Authority.Listen, c.Address)
		facts = append(facts, f)
	}
	return []doctor.Finding{doctor.JudgeControls(string(p.cfg.Self.Name), facts)}
}
