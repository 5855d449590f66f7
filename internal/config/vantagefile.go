package config

import (
	"crypto/x509"
	"fmt"

	"pointsman/healthcheck"
	"pointsman/internal/failover"
)

func compileVantageFile(name string, data []byte, read func(string) ([]byte, error), old *VantageFile) (*VantageFile, error) {
	var was before[vantageInstanceDoc]
	if old != nil && old.items != nil && old.File == name {
		was = before[vantageInstanceDoc]{old.items, old.doc.Instances}
	}
	c, doc := newCompiler(name, data, read), &vantageFileDoc{}
	it, ok := c.cut(data)
	if ok {
		_, ok = decodeItems(c, doc, func(d *vantageFileDoc) *[]vantageInstanceDoc { return &d.Instances }, func(i *vantageInstanceDoc) pos { return i.pos }, it, was, vantageKind)
	}
	if !ok {
		c, doc, it = newCompiler(name, data, read), &vantageFileDoc{}, nil
		if !c.decode(data, doc, vantageKind) {
			return nil, c.err()
		}
	}
	c.version(doc.Version)
	if doc.Name.set {
		c.word("a vantage", doc.Name.v, doc.Name.at)
	}
	c.secretPath("key_file", doc.KeyFile)
	allow := c.allowed(doc.Allow)
	v := &VantageFile{
		File: name, Contents: c.made, doc: doc, items: it, Name: failover.VantageName(doc.Name.v), KeyFile: c.path(doc.KeyFile.v), Controls: c.controls(doc.Controls, allow), Allow: allow,
		WatchTargets: c.watchTargets(doc.WatchTargets, healthcheck.DefaultWatchTargets),
	}
	c.eyes = []eye{{v.Name, allow}}
	seen := map[string]pos{}
	for _, x := range doc.Controllers {
		if x.set && !c.twice(seen, "controller", x) {
			c.serverURL(x)
			v.Controllers = append(v.Controllers, x.v)
		}
	}
	if pem, ok := c.pem(doc.CAFile); ok {
		v.Roots = x509.NewCertPool()
		if !v.Roots.AppendCertsFromPEM(pem) {
			c.fault(doc.CAFile.at, "it begins with -----BEGIN CERTIFICATE-----", "ca_file holds no PEM certificate")
		}
	}
	if doc.Controllers != nil && len(doc.Controllers) == 0 {
		c.fault(doc.pos, "controllers: [http://127.0.0.1:8053]", "controllers is empty")
	}
	if doc.Instances != nil && len(doc.Instances) == 0 {
		c.fault(doc.pos, missingHints["instances"], "instances is empty")
	}
	names := map[string]pos{}
	for i := range doc.Instances {
		d := &doc.Instances[i]
		if d.Name.set {
			c.word("an instance", d.Name.v, d.Name.at)
			c.twice(names, "instance", d.Name)
		}
		c.vantageInstance(v, d)
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	v.Warnings = sorted(c.warnings)
	return v, nil
}

func (c *compiler) vantageInstance(v *VantageFile, doc *vantageInstanceDoc) {
	preset := failover.Preset(doc.Preset.v)
	p, err := failover.PresetPolicy(preset)
	if err != nil {
		if doc.Preset.set {
			oneOf(c, "preset", doc.Preset, preset, failover.Presets...)
		}
		p, _ = failover.PresetPolicy(failover.PresetHTTP)
	}
	p.Instance = failover.InstanceName(doc.Name.v)
	c.timing(&doc.timingDoc, &p)
	c.two(len(doc.Clusters), func(i int) pos { return doc.Clusters[i].at })
	var clusters []probedCluster
	for i := range doc.Clusters {
		e := &doc.Clusters[i]
		c.word("a cluster", e.key, e.at)
		clusters = append(clusters, probedCluster{e.key, e.at, &e.val.clusterDoc, false})
	}
	client := string(canonical(doc.ClientName.v))
	targets := c.probed(client, &p, doc.pos, &doc.checksDoc, clusters)
	c.watched(doc.Watch, preset, targets)
	v.Targets = append(v.Targets, targets...)
}

// errUnknownVantage names the vantages that there are.
func (cfg *Config) errUnknownVantage(name string) error {
	var known []string
	for _, v := range cfg.Vantages {
		known = append(known, string(v.Name))
	}
	return fmt.Errorf("no vantage %q in %s: %s", name, cfg.File, choice(name, known))
}
