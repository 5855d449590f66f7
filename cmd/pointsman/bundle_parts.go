package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"pointsman/internal/api"
	"pointsman/internal/config"
	"pointsman/internal/doctor"
	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// gather adds every part that can be had, and says of the others why not.
func (a *app) gather(ctx context.Context, b *bundle, src bundleSource, names []failover.InstanceName, q api.Query) {
	b.json("environment.json", doctor.Host{}.Environment(existing(src.ctl.Data)), "")
	if src.cfg != nil {
		b.json("config.json", describe(src.cfg), "")
		b.add("config-effective.txt", []byte(src.cfg.Effective()), "")
	} else {
		b.miss("config.json", src.why)
	}
	c, err := a.clientOf(src.ctl)
	if err == nil {
		var v api.Version
		if v, err = askedFor(ctx, c.Version); err == nil {
			b.json("version.json", v, "")
		}
	}
	if err != nil {
		b.miss("everything that a controller knows", shortly(err))
		a.offlinePart(ctx, b, src.ctl.Data, names)
	} else {
		online(ctx, b, c, names, q)
	}
	a.doctorPart(ctx, b)
}

// askedFor asks a controller one thing, within the time that one that hangs may take.
func askedFor[T any](ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return ask(ctx)
}

// part asks for one thing and adds it, or says why it is missing.
func part[T any](ctx context.Context, b *bundle, name string, ask func(context.Context) (T, error)) {
	v, err := askedFor(ctx, ask)
	if err != nil {
		b.miss(name, shortly(err))
		return
	}
	b.json(name, v, "")
}

func online(ctx context.Context, b *bundle, c *api.Client, names []failover.InstanceName, q api.Query) {
	part(ctx, b, "running-config.json", c.Config)
	part(ctx, b, "ready.json", c.Ready)
	part(ctx, b, "summary.json", c.Summary)
	part(ctx, b, "secondaries.json", c.Secondaries)
	part(ctx, b, "audit-chain.json", c.VerifyAudit)
	if text, cut, err := c.Metrics(ctx, maxPart); err != nil {
		b.miss("metrics.txt", shortly(err))
	} else {
		b.add("metrics.txt", text, cutWords(cut, "more than fits"))
	}
	listing(ctx, b, "history.json", q, c.History)
	listing(ctx, b, "audit.json", q, c.Audit)
	if names == nil {
		vs, err := askedFor(ctx, func(ctx context.Context) ([]failover.View, error) { return c.List(ctx, api.ListQuery{}) })
		if err != nil {
			b.miss("instances", shortly(err))
		}
		for _, v := range vs {
			names = append(names, v.Instance)
		}
	}
	trustParts(ctx, b, c, names, q)
	for i, name := range names {
		if i == maxDetailed {
			b.miss("instances", fmt.Sprintf("%d more than %d: name those that matter: pointsman bundle INSTANCE…", len(names)-maxDetailed, maxDetailed))
			break
		}
		dir := "instances/" + string(name) + "/"
		part(ctx, b, dir+"status.json", func(ctx context.Context) (failover.View, error) { return c.View(ctx, name) })
		part(ctx, b, dir+"explain.json", func(ctx context.Context) (failover.Explanation, error) { return c.Explain(ctx, name) })
		if st, err := askedFor(ctx, func(ctx context.Context) (api.ReplicationStatus, error) { return c.Replication(ctx, name) }); err == nil {
			b.json(dir+"replication.json", st, "") // without keys of rows: only counts
		}
		own := q
		own.Instance = name
		own.Kind = outcomeKind
		listing(ctx, b, dir+"switches.json", own, func(ctx context.Context, q api.Query) ([]switchLine, error) {
			ss, err := c.History(ctx, q)
			var out []switchLine
			for _, s := range ss {
				if l, ok := switchOf(s); ok {
					out = append(out, l)
				}
			}
			return out, err
		})
		own.Kind = ""
		listing(ctx, b, dir+"probes.json", own, c.Probes)
	}
}

func cutWords(cut bool, words string) string {
	if cut {
		return words
	}
	return ""
}

// listing adds the newest lines of a list, as many as fit.
func listing[T any](ctx context.Context, b *bundle, name string, q api.Query, ask func(context.Context, api.Query) ([]T, error)) {
	lines, err := askedFor(ctx, func(ctx context.Context) ([]T, error) { return ask(ctx, q) })
	if err != nil {
		b.miss(name, shortly(err))
		return
	}
	cut := ""
	if len(lines) >= q.Limit {
		cut = fmt.Sprintf("the newest %d lines", q.Limit)
	}
	kept, left := newestThatFit(lines)
	if left > 0 {
		cut = joinWords(cut, fmt.Sprintf("%d older lines left out, for their size", left))
	}
	b.json(name, kept, cut)
}

// newestThatFit drops lines from the front, the oldest, until the rest fits
// into a part.
func newestThatFit[T any](lines []T) (kept []T, left int) { return newestWithin(lines, maxPart) }

// newestWithin does so until the rest fits into so many bytes.
func newestWithin[T any](lines []T, most int) (kept []T, left int) {
	size, at := 0, len(lines)
	for ; at > 0; at-- {
		data, err := json.MarshalIndent(lines[at-1], " ", " ")
		if err != nil {
			break
		}
		// Times are written in UTC later, which is never longer.
		if size += len(data) + 3; size > most-16 {
			break
		}
	}
	return lines[at:], at
}

// offlinePart is the record as the ledger's file has it.
func (a *app) offlinePart(ctx context.Context, b *bundle, data string, names []failover.InstanceName) {
	const name = "ledger-offline.json"
	p, err := ledger.Peek(ctx, data)
	if err != nil {
		b.miss(name, shortly(err))
		return
	}
	wanted := map[failover.InstanceName]bool{}
	for _, n := range names {
		wanted[n] = true
	}
	v := offlineView{Offline: true, Ledger: p.Path, Written: p.Written, Term: p.Term}
	for _, r := range p.Records {
		if len(names) == 0 || wanted[r.Instance] {
			v.Records = append(v.Records, r)
		}
	}
	b.json(name, v, "")
}

// doctorPart adds what doctor finds, without the scratch file.
func (a *app) doctorPart(ctx context.Context, b *bundle) {
	asker, err := a.asker(nil)
	if err != nil {
		b.miss("doctor.json", err.Error())
		return
	}
	ids, _ := doctor.Select(nil)
	ids = withoutSecrets(ids)
	r, err := a.examine(ctx, doctorFlags{readOnly: true, within: 30 * time.Second}, ids, asker, nil)
	if err != nil {
		b.miss("doctor.json", shortly(err))
		return
	}
	b.json("doctor.json", r, "")
}

// withoutSecrets leaves out the checks that read a key of a provider or of a
// Tablestore, or the URL of a channel.
func withoutSecrets(ids []string) []string {
	var out []string
	for _, id := range ids {
		if id != "clock.dns" && id != "channels" && id != "cluster.move" && !slices.Contains(cloudIDs, id) {
			out = append(out, id)
		}
	}
	return out
}

// description is the configuration as a bundle has it. It lists what it takes,
// so that a key that comes later, and may hold a secret, is not in it.
type description struct {
	File       string            `json:"file"`
	SHA256     string            `json:"sha256"`
	Controller describedProcess  `json:"controller"`
	Vantages   []describedEyes   `json:"vantages"`
	Authority  *describedServer  `json:"authority,omitempty"`
	Providers  []describedServer `json:"providers,omitempty"`
	Targets    []describedTarget `json:"targets"`
	Instances  []config.Running  `json:"instances"`
	Warnings   []string          `json:"warnings,omitempty"`
	Secrets    []string          `json:"secret_files,omitempty"` // paths, mode and owner; never the content
}

type describedProcess struct {
	Name      string `json:"name"`
	Data      string `json:"data"`
	Socket    string `json:"socket"`
	Listen    string `json:"listen,omitempty"`
	Advertise string `json:"advertise,omitempty"`
}

type describedEyes struct {
	Name     failover.VantageName `json:"name"`
	Domain   failover.DomainName  `json:"domain"`
	Controls []string             `json:"controls,omitempty"`
}

type describedServer struct {
	Name        string   `json:"name,omitempty"`
	Type        string   `json:"type,omitempty"`
	Limits      string   `json:"limits,omitempty"` // what it does not promise
	ZoneID      string   `json:"zone_id,omitempty"`
	Resolvers   []string `json:"resolvers,omitempty"`
	Server      string   `json:"server,omitempty"`
	Listen      []string `json:"listen,omitempty"`
	Zones       []string `json:"zones,omitempty"`
	Key         string   `json:"key,omitempty"` // its name
	Authorities []string `json:"authorities,omitempty"`
}

type describedTarget struct {
	Instance failover.InstanceName `json:"instance"`
	Cluster  failover.ClusterName  `json:"cluster"`
	Domain   failover.DomainName   `json:"domain,omitempty"`
	Address  string                `json:"address"`
	Client   string                `json:"client_name"`
	Check    string                `json:"check"`
}

func describe(cfg *config.Config) description {
	ctl := cfg.Controller
	d := description{
		File: cfg.File, SHA256: cfg.Hash, Instances: cfg.Running(),
		Controller: describedProcess{ctl.Name, ctl.Data, ctl.Socket, ctl.Listen, ctl.Advertise},
	}
	for _, v := range append([]config.Vantage{cfg.Self}, cfg.Vantages...) {
		e := describedEyes{Name: v.Name, Domain: v.Domain}
		for _, c := range v.Controls {
			e.Controls = append(e.Controls, c.String())
		}
		d.Vantages = append(d.Vantages, e)
	}
	if cfg.Authority != nil {
		d.Authority = &describedServer{Listen: cfg.Authority.Listen}
		for _, z := range cfg.Authority.Zones {
			d.Authority.Zones = append(d.Authority.Zones, string(z.Name))
			for _, s := range z.Secondaries {
				d.Authority.Authorities = append(d.Authority.Authorities, s.Address.String())
			}
		}
	}
	for _, p := range cfg.Providers {
		s := describedServer{Name: p.Name, Zones: []string{string(p.Zone)}}
		s.Type, s.Limits = p.Type, p.Capabilities().Words()
		if u := p.Server(); u != nil {
			s.Server, s.Key = u.Server, u.Key.Name
		}
		if c := p.Cloud(); c != nil {
			s.Server = c.Endpoint // empty is the vendor's
		}
		if p.Pvtz != nil {
			s.ZoneID = p.Pvtz.ZoneID
		}
		for _, at := range p.Resolvers {
			s.Resolvers = append(s.Resolvers, at.String())
		}
		for _, at := range p.Authorities {
			s.Authorities = append(s.Authorities, at.String())
		}
		d.Providers = append(d.Providers, s)
	}
	for _, i := range cfg.Instances {
		for _, t := range i.Targets {
			d.Targets = append(d.Targets, describedTarget{t.Instance, t.Cluster, i.Domains[t.Cluster], t.Address, t.Name, kindOf(t)})
		}
	}
	for _, w := range cfg.Warnings {
		d.Warnings = append(d.Warnings, lineOf(w)+": "+w.Message)
	}
	for _, f := range secretFiles(cfg) {
		d.Secrets = append(d.Secrets, fmt.Sprintf("%s: %s", f.Path, doctor.JudgeSecret(f).Evidence))
	}
	return d
}
