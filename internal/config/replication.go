package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pointsman/healthcheck"
	"pointsman/internal/failover"
	"pointsman/replication"
)

// Replication is how rows of an instance get to its standby: plain data, which
// can be compared. It lacks only the keys, which are read at every use.
type Replication struct {
	Mode       replication.Mode
	Tables     []string // patterns of path.Match; empty: all
	Except     []string // likewise, of those
	Clusters   map[failover.ClusterName]ReplicaCluster
	Visibility time.Duration // until a stream shows what was acknowledged
	Ask        bool          // a resync after a gap waits for a person
	Parallel   int           // ranges that are copied at a time
	Busy, Idle time.Duration // between two reads of a shard

	ControlTable     string
	DeadLettersTable string

	GlobalTable string
	External    *External // in that mode
}

// ReplicaCluster is one of the clusters as replication reaches it.
type ReplicaCluster struct {
	Endpoint        string // scheme, name that the clients call, port
	Address         string // host:port that is dialled
	Instance        string // of Tablestore
	Region          string // of it, as the vendor spells it; empty: not told
	ControlInstance string // of our own tables
	CA              string // PEM; empty: those of the machine
	SourceKeyFile   string // path
	TargetKeyFile   string // path
}

// External is where the lag of somebody else's replication is read.
type External struct {
	URL     string
	Command []string
	Every   time.Duration
	Timeout time.Duration
}

const (
	resyncAuto, resyncAsk = "auto", "ask"

	defaultVisibility = time.Second
	defaultParallel   = 4
	defaultBusy       = 100 * time.Millisecond
	defaultIdle       = 2 * time.Second
	defaultEvery      = 10 * time.Second
	defaultExternal   = 5 * time.Second

	// DefaultRPO is what an automatic failover of a replicated Tablestore may
	// lose where the file does not say it.
	DefaultRPO = 30 * time.Second

	// ControlTable and DeadLettersTable are our own tables where the file does not
	// name others.
	ControlTable     = replication.Prefix + "replication"
	DeadLettersTable = replication.Prefix + "dead_letters"

	// OwnTables is the pattern of the names of our own tables: they are never
	// carried.
	OwnTables = replication.Prefix + "*"

	maxTableGlobs = 64
	maxGlob       = 255

	replicaKeyHint = "the path of a file of mode 0600: JSON with AccessKeyId and AccessKeySecret; pointsman init rights prints what the key needs"
)

// replication takes what the file says of it; nil without.
func (c *compiler) replication(doc *instanceDoc, p *failover.Policy, targets []healthcheck.Target) *Replication {
	d := doc.Replication
	if d == nil {
		return nil
	}
	p.Replicated = true
	if p.Preset == failover.PresetFastLab {
		c.fault(doc.Preset.at, "use tablestore-standby: fast-lab has no ride_out and moves on any blip", "the preset fast-lab is for demos and benchmarks and is refused with replication")
	}
	r := &Replication{
		Mode:       oneOf(c, "mode", d.Mode, replication.ModeStream, replication.ModeStream, replication.ModeGlobalTable, replication.ModeExternal),
		Visibility: between(c, "visibility", d.Visibility, defaultVisibility, 0, time.Minute),
		Ask:        oneOf(c, "resync", d.Resync, resyncAuto, resyncAuto, resyncAsk) == resyncAsk,
		Parallel:   between(c, "parallel", d.Copy.Parallel, defaultParallel, 1, 64),
		Busy:       between(c, "busy", d.Poll.Busy, defaultBusy, 10*time.Millisecond, time.Minute),
		Idle:       between(c, "idle", d.Poll.Idle, defaultIdle, 100*time.Millisecond, 5*time.Minute),
	}
	if r.Busy > r.Idle {
		c.fault(d.Poll.Busy.place(d.Poll.Idle.at), "a shard that has something is read more often than one that has not", "poll.busy %s is above poll.idle %s", figure(r.Busy), figure(r.Idle))
	}
	r.Tables, r.Except = c.tableGlobs("tables", d.Tables), c.tableGlobs("except", d.Except)
	r.ControlTable = c.ownTable("control.table", d.Control.Table, ControlTable)
	r.DeadLettersTable = c.ownTable("control.dead_letters", d.Control.DeadLetters, DeadLettersTable)
	if r.ControlTable == r.DeadLettersTable {
		c.fault(d.Control.DeadLetters.place(d.Control.Table.at), "leave one of them out", "control.table and control.dead_letters are one table")
	}
	c.replicaClusters(doc, r, targets)
	c.modeKeys(d, r)
	return r
}

// modeKeys refuses what has no use in the mode, and asks for what it needs.
func (c *compiler) modeKeys(d *replicationDoc, r *Replication) {
	global, external := r.Mode == replication.ModeGlobalTable, r.Mode == replication.ModeExternal
	if !global && d.GlobalTable.set {
		c.fault(d.GlobalTable.at, "write mode: global-table, or remove it", "global_table has no use in the mode %s", r.Mode)
	}
	if global {
		r.GlobalTable = d.GlobalTable.v
		if !d.GlobalTable.set {
			c.fault(d.Mode.at, "global_table: orders, as DescribeGlobalTable knows it", "global_table is missing: the mode global-table must know which one it is")
		}
	}
	if !external && d.External.pos != (pos{}) {
		c.fault(d.External.pos, "write mode: external, or remove it", "external has no use in the mode %s", r.Mode)
	}
	if external {
		r.External = c.external(d)
	}
	if r.Mode == replication.ModeStream {
		return
	}
	for key, at := range map[string]pos{
		"tables": first(d.Tables), "except": first(d.Except), "target_key_file": d.TargetKeyFile.at, "resync": d.Resync.at, "copy": d.Copy.pos, "poll": d.Poll.pos, "control": d.Control.pos,
	} {
		if at != (pos{}) {
			c.fault(at, "remove it: somebody else copies and follows there", "%s has no use in the mode %s", key, r.Mode)
		}
	}
	if external && d.SourceKeyFile.set {
		c.fault(d.SourceKeyFile.at, "remove it: no Tablestore is asked there", "source_key_file has no use in the mode external")
	}
}

func first(xs []val[string]) pos {
	if len(xs) == 0 {
		return pos{}
	}
	return xs[0].at
}

// replicaClusters says how each cluster is reached, and by whom.
func (c *compiler) replicaClusters(doc *instanceDoc, r *Replication, targets []healthcheck.Target) {
	d := doc.Replication
	if r.Mode == replication.ModeExternal {
		return
	}
	for i := range d.Clusters {
		if e := &d.Clusters[i]; doc.Clusters.get(e.key) == nil {
			c.fault(e.at, choice(e.key, doc.Clusters.keys()), "replication.clusters: %q is not one of the clusters", e.key)
		}
	}
	r.Clusters = make(map[failover.ClusterName]ReplicaCluster, len(doc.Clusters))
	for i := range doc.Clusters {
		e := &doc.Clusters[i]
		own := &replicaClusterDoc{}
		if x := d.Clusters.get(e.key); x != nil {
			own = &x.val
		}
		switch place := &e.val.Tablestore; {
		case doc.isTablestore(): // the check has looked
		case place.pos == (pos{}):
			c.fault(e.at, "tablestore: {instance: orders}", "key \"tablestore\" is missing: replication must know which instance the cluster serves")
		case place.Instance.set && !healthcheck.IsTablestoreInstance(place.Instance.v):
			c.fault(place.Instance.at, "3 to 16 letters, digits and '-'", "%q is no name of a Tablestore instance", place.Instance.v)
		}
		var like *healthcheck.Target
		if i < len(targets) {
			like = &targets[i]
		}
		rc := c.replicaPlace(d, own, &e.val.clusterDoc, like)
		rc.ControlInstance = own.ControlInstance.or(d.Control.Instance.or(rc.Instance))
		for _, x := range []val[string]{own.ControlInstance, d.Control.Instance} {
			if x.set && !healthcheck.IsTablestoreInstance(x.v) && !c.has(x.at) {
				c.fault(x.at, "3 to 16 letters, digits and '-'", "%q is no name of a Tablestore instance", x.v)
			}
		}
		rc.SourceKeyFile = c.replicaKey(d, r.Mode, "source_key_file", own.SourceKeyFile, d.SourceKeyFile)
		if r.Mode == replication.ModeStream {
			rc.TargetKeyFile = c.replicaKey(d, r.Mode, "target_key_file", own.TargetKeyFile, d.TargetKeyFile)
		}
		c.separate(d, own, &rc, targets)
		r.Clusters[failover.ClusterName(e.key)] = rc
	}
	if r.Mode == replication.ModeGlobalTable {
		c.replicasApart(doc, r)
	}
}

// replicasApart asks for what tells the replicas of a global table apart: else
// the lag of the wrong one would be taken for that of the standby.
func (c *compiler) replicasApart(doc *instanceDoc, r *Replication) {
	type place struct{ instance, region string }
	seen := map[place]bool{}
	for i := range doc.Clusters {
		e := &doc.Clusters[i]
		x := r.Clusters[failover.ClusterName(e.key)]
		if at := (place{x.Instance, x.Region}); x.Instance != "" && seen[at] {
			c.fault(e.val.Tablestore.Region.place(e.val.Tablestore.pos), "write each cluster's region as the vendor spells it, such as cn-hangzhou", "both clusters serve the instance %s of one region, or none is named: which replica of the global table is the standby cannot be told", x.Instance)
		} else {
			seen[at] = true
		}
	}
}

// replicaPlace says where requests go: to the cluster itself, under the name
// that clients call, as a probe of it does.
func (c *compiler) replicaPlace(d *replicationDoc, own *replicaClusterDoc, cl *clusterDoc, like *healthcheck.Target) ReplicaCluster {
	rc := ReplicaCluster{Address: own.Address.or(cl.Address.v), Instance: cl.Tablestore.Instance.v, Region: cl.Tablestore.Region.v}
	if own.Address.set {
		c.hostPort(own.Address, 1)
	}
	scheme, name := "", ""
	if like != nil {
		name = strings.TrimSuffix(like.Name, ".")
		for _, k := range append([]healthcheck.Check{like.Check}, like.Checks...) {
			if k.Type == healthcheck.Tablestore {
				scheme = k.Tablestore.Scheme
				rc.CA = k.CA
				if k.ServerName != "" {
					name = k.ServerName
				}
			}
		}
	}
	if scheme == "" {
		scheme = healthcheck.SchemeHTTPS
	}
	scheme = oneOf(c, "scheme", d.Scheme, scheme, healthcheck.SchemeHTTPS, healthcheck.SchemeHTTP)
	host, port, err := net.SplitHostPort(rc.Address)
	if err != nil {
		return rc // the address has its own fault
	}
	if name == "" {
		name = host
	}
	rc.Endpoint = scheme + "://" + name
	if port != map[string]string{healthcheck.SchemeHTTPS: "443", healthcheck.SchemeHTTP: "80"}[scheme] {
		rc.Endpoint = scheme + "://" + net.JoinHostPort(name, port)
	}
	return rc
}

// replicaKey is the path of one of the keys, that of the cluster before that
// of all.
func (c *compiler) replicaKey(d *replicationDoc, m replication.Mode, key string, own, all val[string]) string {
	x := all
	if own.set {
		x = own
	}
	if !x.set {
		if !c.has(d.pos) {
			c.fault(d.pos, replicaKeyHint, "%s is missing in the mode %s", key, m)
		}
		return ""
	}
	c.secretPath(key, x)
	if accessKey.MatchString(x.v) && !c.has(x.at) {
		c.fault(x.at, "put ID and secret into a JSON file of mode 0600 and write its path; make a new key, this one has been in a config",
			"%s holds the ID of an access key, not the path of a file", key)
	}
	return c.path(x.v)
}

// separate warns where one key may do what two should: whoever gets it can
// read all rows and write all rows.
func (c *compiler) separate(d *replicationDoc, own *replicaClusterDoc, rc *ReplicaCluster, targets []healthcheck.Target) {
	at := own.TargetKeyFile.place(own.SourceKeyFile.place(d.TargetKeyFile.place(d.SourceKeyFile.at)))
	if slices.ContainsFunc(c.warnings, func(f Fault) bool { return f.Line == at.line && f.Column == at.col }) {
		return
	}
	if rc.TargetKeyFile != "" && rc.TargetKeyFile == rc.SourceKeyFile {
		c.warn(at, "give each a key of its own: pointsman init rights prints what each needs", "one key reads the source and writes the target: whoever gets it may do both at both clusters")
		return
	}
	k := tablestoreCheck(targets)
	if k == nil {
		return
	}
	for _, f := range []string{rc.TargetKeyFile, rc.SourceKeyFile} {
		if f != "" && (f == string(k.ServiceKey) || f == string(k.ClientKey)) {
			c.warn(at, "give replication a key of its own: pointsman init rights prints what it needs", "a key of the probes is also one of replication: whoever gets it may do both")
			return
		}
	}
}

// tableGlobs are patterns of names of tables.
func (c *compiler) tableGlobs(key string, xs []val[string]) []string {
	if xs != nil && len(xs) == 0 {
		return nil
	}
	if len(xs) > maxTableGlobs {
		c.fault(xs[maxTableGlobs].at, "use * and ? to name several at once", "%s: %d patterns, at most %d are taken", key, len(xs), maxTableGlobs)
		return nil
	}
	var out []string
	seen := map[string]pos{}
	for _, x := range xs {
		if !x.set || c.twice(seen, "pattern", x) {
			continue
		}
		if _, err := path.Match(x.v, ""); err != nil || len(x.v) > maxGlob {
			c.fault(x.at, "use * for any letters, ? for one, [ab] for one of some", "%s: %.64q is no pattern", key, x.v)
			continue
		}
		out = append(out, x.v)
	}
	return out
}

// ownTable is the name of a table of our own, which no pattern of people's
// tables meets.
func (c *compiler) ownTable(key string, x val[string], def string) string {
	if !x.set {
		return def
	}
	if ok, _ := path.Match(OwnTables, x.v); !ok || !healthcheck.IsTablestoreTable(x.v) {
		c.fault(x.at, "write it like "+def+": letters, digits and '_' after pointsman_", "%s: %.64q is no name of a table of our own", key, x.v)
		return def
	}
	return x.v
}

// external says how the lag is asked for.
func (c *compiler) external(d *replicationDoc) *External {
	x := &d.External
	const hint = "external: {url: \"http://127.0.0.1:9100/lag\"}, or {command: [/usr/local/bin/lag]}"
	e := &External{
		Every:   between(c, "every", x.Every, defaultEvery, time.Second, 10*time.Minute),
		Timeout: between(c, "timeout", x.Timeout, defaultExternal, 100*time.Millisecond, time.Minute),
	}
	switch {
	case x.pos == (pos{}):
		c.fault(d.Mode.at, hint, "external is missing: the mode external must know where to read the lag")
	case x.URL.set == (len(x.Command) > 0):
		c.fault(x.pos, hint, "external is either a url or a command")
	case x.URL.set:
		c.externalURL(x.URL)
		e.URL = x.URL.v
	default:
		for _, arg := range x.Command {
			if strings.ContainsRune(arg.v, 0) || len(arg.v) > maxHookArg {
				c.fault(arg.at, "write a script", "an argument holds a zero byte or more than %d KiB", maxHookArg>>10)
			}
			e.Command = append(e.Command, arg.v)
		}
		program := x.Command[0]
		switch {
		case !filepath.IsAbs(program.v) || filepath.Clean(program.v) != program.v:
			c.fault(program.at, "write it like /usr/local/bin/lag", "%.64q is no absolute path of a program; no shell and no PATH look for it", program.v)
		case len(x.Command) > maxHookArgs:
			c.fault(x.Command[maxHookArgs].at, "write a script", "a command has at most %d arguments", maxHookArgs)
		case c.read != nil: // this machine may be looked at
			if err := healthcheck.CommandFile(program.v); err != nil {
				c.warn(program.at, "until that is mended the exposure is unknown", "external: %v", err)
			}
		}
	}
	if e.Timeout > e.Every {
		c.fault(x.Timeout.place(x.Every.at), "an answer must come before the next question", "external.timeout %s is above external.every %s", figure(e.Timeout), figure(e.Every))
	}
	return e
}

func (c *compiler) externalURL(x val[string]) {
	const hint = "write it like http://127.0.0.1:9100/lag"
	u, err := url.Parse(x.v)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		c.fault(x.at, hint, "url: is no http or https URL")
	case u.User != nil:
		c.fault(x.at, "nothing secret goes into a URL of the config", "url: holds a login")
	case u.Fragment != "":
		c.fault(x.at, hint, "url: a fragment is never sent")
	default:
		if a, err := netip.ParseAddr(u.Hostname()); err == nil && healthcheck.Forbidden(a, nil) != nil {
			c.fault(x.at, hint, "url: %s is refused: link-local, metadata of a cloud, unspecified or multicast", a)
		} else if u.Scheme == "http" && !loopback(u.Hostname()) {
			c.warn(x.at, "write https", "external: whoever is on the way can answer in its place, and a failover is decided on it")
		}
	}
}

// rpo takes what an automatic failover may lose.
func (c *compiler) rpo(doc *instanceDoc, p *failover.Policy) {
	replicated := doc.Replication != nil
	if replicated && p.Preset == failover.PresetTablestore {
		p.RPO = failover.RPO{Kind: failover.RPOBounded, Bound: DefaultRPO}
	}
	x := doc.RPO
	if !x.set {
		return
	}
	switch kind := failover.RPOKind(x.v); kind {
	case failover.RPONone:
		p.RPO = failover.RPO{Kind: kind}
		return
	case failover.RPOZero:
		p.RPO = failover.RPO{Kind: kind}
	default:
		d, err := time.ParseDuration(x.v)
		if err != nil {
			hint := choice(x.v, []string{string(failover.RPONone), string(failover.RPOZero)})
			if strings.HasPrefix(hint, "one of") {
				hint += ", or a duration such as 30s"
			}
			c.fault(x.at, hint, "rpo: %q is not known", x.v)
			return
		}
		if replicated && (d < time.Second || d > 24*time.Hour) {
			c.fault(x.at, "write zero if nothing may be lost", "rpo: %s is outside 1s to 24h", x.v)
			return
		}
		p.RPO = failover.RPO{Kind: failover.RPOBounded, Bound: d}
	}
	if !replicated {
		p.RPO = failover.RPO{Kind: failover.RPONone}
		c.fault(x.at, "write rpo: none, leave the key out, or configure replication", "rpo: %s needs replication that says what would be lost, and none is configured", x.v)
	}
}

// carries says that a Tablestore is asked for rows.
func (d *replicationDoc) carries() bool {
	return d != nil && d.Mode.v != string(replication.ModeExternal)
}

// bound says that what it comes to depends on this machine.
func (d *replicationDoc) bound() bool { return d != nil && len(d.External.Command) > 0 }

// text is the replication in one line.
func (r *Replication) text() string {
	switch r.Mode {
	case replication.ModeGlobalTable:
		return "global table " + r.GlobalTable
	case replication.ModeExternal:
		if len(r.External.Command) > 0 {
			return "external, told by " + r.External.Command[0]
		}
		return "external, told by a URL"
	}
	tables := "all tables"
	if len(r.Tables) > 0 {
		tables = strings.Join(r.Tables, ", ")
	}
	if len(r.Except) > 0 {
		tables += " but " + strings.Join(r.Except, ", ")
	}
	return "stream of " + tables
}

// replicationText lists the figures of replication for people.
func replicationText(r *Replication) []Setting {
	if r == nil {
		return nil
	}
	out := []Setting{{Key: "replication", Value: r.text(), From: fromFile, Was: "none"}}
	add := func(key, value, from string) { out = append(out, Setting{Key: key, Value: value, From: from}) }
	add("a stream shows a write within", figure(r.Visibility), "replication.visibility; it is added to every exposure")
	switch r.Mode {
	case replication.ModeExternal:
		add("the lag is asked for every", figure(r.External.Every), fmt.Sprintf("replication.external; answered within %s", figure(r.External.Timeout)))
	case replication.ModeStream:
		add("a shard is read every", fmt.Sprintf("%s, idle %s", figure(r.Busy), figure(r.Idle)), "replication.poll")
		add("an idle shard costs", fmt.Sprintf("about %d read units a day", idleUnits(r.Idle)), "one for each empty read, as far as is known; pointsman replication status has what was measured")
		add("ranges are copied", fmt.Sprintf("%d at a time", r.Parallel), "replication.copy")
		resync := "by itself, once it was told"
		if r.Ask {
			resync = "when a person says so"
		}
		add("a table with a gap is copied anew", resync, "replication.resync")
		add("our own tables at the target", r.ControlTable+", "+r.DeadLettersTable, "replication.control")
	}
	return out
}

// idleUnits is what reading a shard that has nothing costs in a day: each
// answer of GetStreamRecord says a unit or none.
func idleUnits(every time.Duration) int64 { return int64(24 * time.Hour / every) }

// ReplicaKeyFiles are the files of access keys that replication reads, each
// once, sorted.
func (i Instance) ReplicaKeyFiles() []string {
	if i.Replication == nil {
		return nil
	}
	var out []string
	for _, c := range i.Replication.Clusters {
		for _, f := range []string{c.SourceKeyFile, c.TargetKeyFile} {
			if f != "" {
				out = append(out, f)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
