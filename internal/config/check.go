package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pointsman/healthcheck"
	"pointsman/internal/failover"
)

// check converts the check of an instance; what is wrong with its values the
// healthcheck room says later, in probed.
func (c *compiler) check(doc *checkDoc) healthcheck.Check {
	k := healthcheck.Check{
		Type: healthcheck.CheckType(doc.Type.v), Port: doc.Port.v, Path: doc.Path.v, Method: doc.Method.v, Host: doc.Host.v,
		Body: healthcheck.BodyCheck{Contains: doc.Body.Contains.v, Matches: doc.Body.Matches.v},
		JSON: healthcheck.JSONCheck{Path: doc.JSON.Path.v, Value: doc.JSON.Value.v},
		Identity: healthcheck.IdentityCheck{
			Header: doc.Identity.Header.v, JSONPath: doc.Identity.JSONPath.v, Body: doc.Identity.Body.v, TXT: doc.Identity.TXT.v, Table: doc.Identity.Table.v,
		},
		GRPC: healthcheck.GRPCCheck{Service: doc.GRPC.Service.v},
		DNS: healthcheck.DNSCheck{
			Name: doc.DNS.Name.v, Type: doc.DNS.Type.v, Transport: doc.DNS.Transport.v,
			Rcode: doc.DNS.Rcode.v, Contains: doc.DNS.Contains.v, Matches: doc.DNS.Matches.v,
		},
		Slow: doc.Slow.v, ServerName: doc.ServerName.v, CA: certificates(doc.CA.v), CertWarn: doc.CertWarn.v,
		Headers: headers(doc.Headers), ExpectHeaders: headers(doc.ExpectHeaders),
	}
	for _, arg := range doc.Exec.Command {
		k.Exec.Command = append(k.Exec.Command, arg.v)
	}
	types := make([]string, len(healthcheck.CheckTypes))
	for i, t := range healthcheck.CheckTypes {
		types[i] = string(t)
	}
	if doc.Type.set && !slices.Contains(types, doc.Type.v) {
		c.fault(doc.Type.at, choice(doc.Type.v, types), "type: %q is not a kind of check", doc.Type.v)
	}
	if doc.Port.set && (doc.Port.v < 1 || doc.Port.v > 65535) {
		c.fault(doc.Port.at, "leave it out to take the port of the address", "port: %d is outside 1 to 65535", doc.Port.v)
	}
	for _, x := range doc.Status {
		if !x.set {
			continue
		}
		s := string(x.v)
		if len(s) == 3 && strings.HasSuffix(s, "xx") {
			s = s[:1] + "00-" + s[:1] + "99"
		}
		r, err := healthcheck.ParseStatusRange(s)
		if err != nil {
			c.fault(x.at, "write 200, 2xx or 200-299", "%v", err)
		}
		k.Status = append(k.Status, r)
	}
	for _, e := range doc.Headers {
		if slices.Contains([]string{"authorization", "proxy-authorization", "cookie"}, strings.ToLower(e.key)) {
			c.fault(e.at, "give the probe a path that needs no login", "the header %s carries a secret, and a config never holds one", e.key)
		}
	}
	if doc.Identity.pos != (pos{}) && !k.Identity.Configured() && !c.inLine(doc.Identity.line) {
		c.fault(doc.Identity.pos, "write header, json_path, body, txt or table", "identity does not say where the cluster's name is to be found")
	}
	if doc.Type.v == string(healthcheck.Tablestore) || doc.Tablestore.pos != (pos{}) {
		k.Tablestore = c.tablestore(&doc.Tablestore)
	}
	c.ca(doc, &k)
	return k
}

// ca reads the certificates of ca_file into the check, so that every vantage
// can be given the same check.
func (c *compiler) ca(doc *checkDoc, k *healthcheck.Check) {
	if !doc.CAFile.set {
		return
	}
	if doc.CA.set {
		c.fault(doc.CAFile.at, "keep one of the two", "ca and ca_file exclude one another")
		return
	}
	k.CAFile = doc.CAFile.v
	if pem, ok := c.pem(doc.CAFile); ok {
		k.CA, k.CAFile = certificates(string(pem)), ""
	}
}

func (c *compiler) pem(x val[string]) ([]byte, bool) { return c.named("ca_file", x) }

// named reads the file that a key names, and notes why it cannot.
func (c *compiler) named(key string, x val[string]) ([]byte, bool) {
	if !x.set || c.read == nil {
		return nil, false
	}
	data, err := c.read(c.path(x.v))
	if err != nil {
		message := err.Error()
		if f, ok := errors.AsType[Fault](err); ok {
			message = f.Message
		}
		c.fault(x.at, "relative paths start at "+c.dir, "%s: %s", key, message)
		return nil, false
	}
	c.made.Saw(c.path(x.v), data)
	return data, true
}

// certificates makes one text of what may end in a line end or not: the hash
// of the check must not tell a file from the same text inside the config.
func certificates(pem string) string {
	return strings.TrimSpace(strings.ReplaceAll(pem, "\r\n", "\n"))
}

func headers(d dict[val[string]]) map[string]string {
	if len(d) == 0 {
		return nil
	}
	m := map[string]string{}
	for _, e := range d {
		m[e.key] = e.val.v
	}
	return m
}

// timing puts what the file says over what the preset gave.
func (c *compiler) timing(doc *timingDoc, p *failover.Policy) {
	p.Round = between(c, "round", doc.Round, p.Round, 50*time.Millisecond, 10*time.Minute)
	p.Timeout = between(c, "timeout", doc.Timeout, p.Timeout, 10*time.Millisecond, 5*time.Minute)
	p.Burst = between(c, "burst", doc.Burst, p.Burst, time.Millisecond, time.Minute)
	p.Count.Fall = between(c, "fall", doc.Fall, p.Count.Fall, 1, 20)
	p.Count.Rise = between(c, "rise", doc.Rise, p.Count.Rise, 1, 100)
	p.Count.Window = between(c, "window", doc.Window, p.Count.Window, 0, 64)
	if doc.Ratio.set && (doc.Ratio.v <= 0 || doc.Ratio.v > 1) {
		c.fault(doc.Ratio.at, "0.4 means: 40 of 100 probes failed", "ratio: %v is outside 0 (excluded) to 1", doc.Ratio.v)
	} else {
		p.Count.Ratio = doc.Ratio.or(p.Count.Ratio)
	}
	p.RideOut = between(c, "ride_out", doc.RideOut, p.RideOut, 0, time.Hour)
	if p.Timeout >= p.Round {
		c.fault(doc.Timeout.place(doc.Round.at), "a probe must end before the next one begins; both come from the preset where the file does not say them",
			"timeout %s must be below round %s", figure(p.Timeout), figure(p.Round))
	}
	if p.Burst > p.Round {
		c.fault(doc.Burst.place(doc.Round.at), "re-checks after a first miss must come faster than ordinary probes", "burst %s is above round %s", figure(p.Burst), figure(p.Round))
	}
	if doc.Ratio.set && p.Count.Window == 0 {
		c.fault(doc.Ratio.at, "remove it, or write a window", "ratio has no use without a window")
	}
}

// probedCluster is a cluster as a vantage sees it.
type probedCluster struct {
	name string
	at   pos
	doc  *clusterDoc

	carried bool // its rows are replicated, whatever the checks ask
}

// probed builds the targets of one instance and lets the healthcheck room
// check them.
func (c *compiler) probed(clientName string, p *failover.Policy, at pos, doc *checksDoc, clusters []probedCluster) []healthcheck.Target {
	like := healthcheck.Target{
		Instance: p.Instance, Name: clientName,
		Count: p.Count, Round: p.Round, Timeout: p.Timeout, Burst: p.Burst, RideOut: p.RideOut,
	}
	c.checks(at, doc, &like)
	identity := doc.identity() != pos{}
	var targets []healthcheck.Target
	seen := map[string]pos{}
	identities := map[string]pos{}
	for _, cl := range clusters {
		t := like
		t.Cluster, t.Address = failover.ClusterName(cl.name), cl.doc.Address.v
		if identity {
			t.Identity = cl.doc.Identity.or(cl.name)
			if first, ok := identities[t.Identity]; ok {
				c.fault(cl.doc.Identity.place(cl.at), "each cluster must be told from the other by its identity", "the identity %q is also that of the cluster in line %d", t.Identity, first.line)
			}
			identities[t.Identity] = cl.doc.Identity.place(cl.at)
			t.Other = otherIdentity(doc, clusters, cl)
		} else if cl.doc.Identity.set {
			c.fault(cl.doc.Identity.at, "write check.identity, for example {header: X-Cluster}", "identity has no use: the check does not ask which cluster answers")
		}
		c.place(doc, cl, &t)
		c.address(cl, clientName, seen)
		targets = append(targets, t)
		for _, f := range t.Validate() {
			c.probeFault(cl, at, doc, f)
		}
		c.reachable(cl)
	}
	c.samePlace(clusters, targets)
	return targets
}

// reachable notes an address that one of the vantages would refuse to probe,
// by the same rule that it applies when it starts.
func (c *compiler) reachable(cl probedCluster) {
	a, ok := literal(cl.doc.Address.v)
	if !ok {
		return
	}
	for _, e := range c.eyes {
		who := ""
		if len(c.eyes) > 1 {
			who = fmt.Sprintf(" at the vantage %s", e.name)
		}
		c.forbidden(cl.doc.Address.at, healthcheck.Forbidden(a, e.allow), who)
	}
}

func (c *compiler) address(cl probedCluster, clientName string, seen map[string]pos) {
	x := cl.doc.Address
	if !x.set {
		return
	}
	if first, ok := seen[x.v]; ok {
		c.fault(x.at, "write the address of this very cluster", "the address %q is also that of the cluster in line %d: both probes would ask the same one", x.v, first.line)
	}
	seen[x.v] = x.at
	host := x.v
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	if clientName != "" && canonical(host) == canonical(clientName) {
		c.fault(x.at, "write the address or a direct name of this very cluster", "%q is the name that is moved: the probe would always ask the active cluster", x.v)
	}
}

// checkHints helps where the healthcheck room gives no hint.
var checkHints = map[string]string{
	"name":       "a word of letters, digits, '-', '_' and '.', once among the checks",
	"checks":     "keep those that should decide",
	"path":       "write it like /healthz",
	"identity":   "keep one of them; a path is written like $.status.cluster",
	"json":       "write it like $.status.checks[0].state",
	"dns":        "dns: {name: lab.test., type: SOA}",
	"exec":       "exec: {command: [/usr/local/bin/check-orders]}; no shell reads it",
	"tablestore": "tablestore: {service_key_file: prober.key.json}",
	"grpc":       "grpc: {service: orders.v1.Orders}",
	"ca":         "paste the certificates, from -----BEGIN CERTIFICATE----- on",
}

// probeFault puts a fault of the healthcheck room at its place. Every cluster
// has the same checks, so their faults come once for each and are noted once;
// keys that the compiler has looked at itself are passed over.
func (c *compiler) probeFault(cl probedCluster, at pos, doc *checksDoc, f healthcheck.Fault) {
	if f.Path == "address" {
		portAt := slices.ContainsFunc(doc.all(), func(k *checkDoc) bool { return c.has(k.Port.at) })
		if cl.doc.Address.set && !portAt && !c.has(cl.doc.Address.at) {
			c.fault(cl.doc.Address.at, cmp.Or(f.Hint, "write it like 192.0.2.1:8080 or [2001:db8::1]:8080"), "%s %s", f.Path, f.Problem)
		}
		return
	}
	if f.Path == "identity" || f.Path == "place.instance" {
		at := cl.doc.Identity.place(cl.at)
		if f.Path == "place.instance" {
			at = cl.doc.Tablestore.Instance.place(cl.at)
		}
		if !c.inLine(at.line) {
			c.fault(at, cmp.Or(f.Hint, "see docs/config.md"), "%s %s", strings.TrimPrefix(f.Path, "place."), f.Problem)
		}
		return
	}
	key, path, inside := strings.Cut(f.Path, ".")
	check := &doc.Check
	var i int
	if n, _ := fmt.Sscanf(key, "checks[%d]", &i); n == 1 && i < len(doc.Checks) {
		check = &doc.Checks[i].checkDoc
	}
	switch {
	case key == "combine" || key == "checks":
		path = key
	case !inside || key != "check" && check == &doc.Check:
		return
	case !check.Type.set, path == "ca" && check.CAFile.set && c.has(check.CAFile.at):
		return
	case path == "exec.command" && c.inLine(check.Exec.line):
		return
	default:
		at = check.pos
	}
	if at = find(doc, f.Path, at); !c.has(at) {
		key, _, _ = strings.Cut(path, ".")
		c.fault(at, cmp.Or(f.Hint, checkHints[key], "see docs/config.md"), "%s %s", f.Path, f.Problem)
	}
}
