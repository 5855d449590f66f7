package config

import (
	"slices"
	"time"

	"pointsman/healthcheck"
	"pointsman/internal/failover"
)

// tablestore converts that part of a check. Its key files are read by whoever
// probes, at every use.
func (c *compiler) tablestore(doc *tablestoreDoc) healthcheck.TablestoreCheck {
	for key, x := range map[string]val[string]{"service_key_file": doc.ServiceKeyFile, "client_key_file": doc.ClientKeyFile} {
		c.secretPath(key, x)
		if x.set && accessKey.MatchString(x.v) {
			c.fault(x.at, "put ID and secret into a JSON file of mode 0600 and write its path; make a new key, this one has been in a config",
				"%s holds the ID of an access key, not the path of a file", key)
		}
	}
	if doc.ServiceKeyFile.set && doc.ClientKeyFile.set && c.path(doc.ServiceKeyFile.v) == c.path(doc.ClientKeyFile.v) {
		c.fault(doc.ClientKeyFile.at, "leave it out, or give a key that may do no more than the clients' keys", "the client key is the service key: it could not tell whether the cluster is closed to clients")
	}
	k := healthcheck.TablestoreCheck{
		Scheme: oneOf(c, "scheme", doc.Scheme, "", healthcheck.SchemeHTTPS, healthcheck.SchemeHTTP), Table: doc.Table.v, Denial: doc.Denial.v,
		ServiceKey: healthcheck.KeyFile(c.path(doc.ServiceKeyFile.v)), ClientKey: healthcheck.KeyFile(c.path(doc.ClientKeyFile.v)),
		FrontEvery: between(c, "front_every", doc.FrontEvery, healthcheck.DefaultFrontEvery, 0, 10*time.Minute),
	}
	k.FrontTimeout = between(c, "front_timeout", doc.FrontTimeout, min(healthcheck.DefaultFrontTimeout, max(k.FrontEvery, time.Millisecond)), time.Millisecond, time.Minute)
	return k
}

// tablestoreCheck is the check of that type of the targets, or nil.
func tablestoreCheck(targets []healthcheck.Target) *healthcheck.TablestoreCheck {
	for _, t := range targets {
		for _, k := range append([]healthcheck.Check{t.Check}, t.Checks...) {
			if k.Type == healthcheck.Tablestore {
				return &k.Tablestore
			}
		}
	}
	return nil
}

// KeyFiles are the files of access keys that the instance's checks read.
func (i Instance) KeyFiles() []string {
	var out []string
	if k := tablestoreCheck(i.Targets); k != nil {
		for _, f := range []healthcheck.KeyFile{k.ServiceKey, k.ClientKey} {
			if f != "" {
				out = append(out, string(f))
			}
		}
	}
	return out
}

// isTablestore says whether one of the checks is of that type.
func (d *checksDoc) isTablestore() bool {
	return slices.ContainsFunc(d.all(), func(k *checkDoc) bool { return k.Type.v == string(healthcheck.Tablestore) })
}

// otherIdentity is what the other cluster says of itself, where a check must
// know both.
func otherIdentity(doc *checksDoc, clusters []probedCluster, cl probedCluster) string {
	if !doc.isTablestore() {
		return ""
	}
	for _, x := range clusters {
		if x.name != cl.name {
			return x.doc.Identity.or(x.name)
		}
	}
	return ""
}

// place says where a Tablestore cluster is.
func (c *compiler) place(doc *checksDoc, cl probedCluster, t *healthcheck.Target) {
	p := &cl.doc.Tablestore
	there := p.pos != (pos{})
	switch {
	case there && !doc.isTablestore() && !cl.carried:
		c.fault(p.pos, "write a check of the type tablestore, or remove it", "tablestore has no use: no check asks a Tablestore")
	case !there && doc.isTablestore():
		c.fault(cl.at, "tablestore: {instance: orders, region: cn-hangzhou}", "key \"tablestore\" is missing: the check must know which instance the cluster serves")
	}
	if doc.isTablestore() || !cl.carried {
		t.Place = healthcheck.Place{Instance: p.Instance.v, Region: p.Region.v}
	}
}

// samePlace refuses clusters between which a CNAME moves nothing.
func (c *compiler) samePlace(clusters []probedCluster, targets []healthcheck.Target) {
	for i := 1; i < len(targets); i++ {
		a, b := targets[0].Place.Instance, targets[i].Place.Instance
		if a == "" || b == "" || a == b || c.has(clusters[0].doc.Tablestore.Instance.at) || c.has(clusters[i].doc.Tablestore.Instance.at) {
			continue
		}
		c.fault(clusters[i].doc.Tablestore.Instance.at, "move such clients by a push of their configuration; or give both sides one instance name",
			"the instance %q is not that of the other cluster, %q: clients name their instance in a signed header and bring it along, so a CNAME would move them into errors", b, a)
	}
}

// writes tells the policy what the checks of the targets write.
func writes(p *failover.Policy, targets []healthcheck.Target) {
	if k := tablestoreCheck(targets); k != nil {
		p.Canary, p.ClientProbes = true, k.ClientKey != ""
	}
}
