package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
)

// Resolver is the name of the resolver among the parts of the lab.
const Resolver = "unbound"

// transferKey is the name of the key with which the secondaries of the lab
// and the controller know one another.
const transferKey = "xfer."

// powerSchema is where Debian keeps the tables of the database of PowerDNS.
const powerSchema = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql"

// SecondarySite is a DNS server of somebody else with a copy of the lab's zone.
type SecondarySite struct {
	Name string         `json:"name"` // of the part, and what it is: named, nsd, knot, pdns
	Addr netip.AddrPort `json:"addr"`
}

// secondaryNeeds are the programs and files that each kind of secondary needs.
var secondaryNeeds = map[string][]string{
	"nsd":   {"nsd"},
	"named": {"named"},
	"knot":  {"knotd"},
	"pdns":  {"pdns_server", "pdnsutil", "sqlite3", powerSchema, "/usr/lib/*/pdns/libgsqlite3backend.so"},
}

// Secondaries returns the kinds of secondaries that this machine can run: of
// NSD (nsd), BIND (named), Knot (knot) and PowerDNS (pdns).
func Secondaries() []string { return installed(secondaryNeeds) }

// HasResolver says whether the resolver is installed.
func HasResolver() bool { _, err := find(Resolver); return err == nil }

// secondary is how one secondary of this world runs. The files say no more than
// what this takes; configs/secondaries has them as people want them.
func (w *World) secondary(s SecondarySite, secret, me string) server {
	dir := filepath.Join(w.Dir, s.Name)
	config := filepath.Join(dir, s.Name+".conf")
	host, port := s.Addr.Addr().String(), fmt.Sprint(s.Addr.Port())
	fill := strings.NewReplacer("$DIR", dir, "$HOST", host, "$PORT", port, "$KEY", transferKey, "$SECRET", secret, "$USER", me,
		"$PHOST", w.DNS.Addr().String(), "$PPORT", fmt.Sprint(w.DNS.Port())).Replace
	out := server{part: s.Name, addr: s.Addr, dir: dir, files: map[string]string{s.Name + ".conf": fill(secondaryConfigs[s.Name])}}
	switch s.Name {
	case "named":
		out.program, out.args = "named", []string{"-g", "-n", "1", "-c", config}
	case "nsd":
		out.program, out.args = "nsd", []string{"-d", "-c", config}
	case "knot":
		out.program, out.args = "knotd", []string{"-c", config}
	case "pdns":
		out.program, out.args = "pdns_server", []string{"--config-dir=" + dir}
		util := func(args ...string) []string { return append([]string{"pdnsutil", "--config-dir=" + dir}, args...) }
		name := strings.TrimSuffix(transferKey, ".")
		out.once = [][]string{
			{"sqlite3", filepath.Join(dir, "pdns.sqlite3"), ".read " + powerSchema},
			util("import-tsig-key", name, "hmac-sha256", secret),
			util("create-secondary-zone", "lab.test", w.DNS.String()),
			util("activate-tsig-key", "lab.test", name, "secondary"),
		}
	}
	return out
}

var secondaryConfigs = map[string]string{
	"named": `key "$KEY" { algorithm hmac-sha256; secret "$SECRET"; };
options {
	directory "$DIR"; pid-file none; session-keyfile none; lock-file none;
	listen-on port $PORT { $HOST; }; listen-on-v6 { none; };
	recursion no; notify no; dnssec-validation no; allow-transfer { none; };
};
controls { };
zone "lab.test." {
	type secondary; file "lab.test.zone"; masterfile-format text;
	primaries { $PHOST port $PPORT key "$KEY"; }; allow-notify { key "$KEY"; };
};
`,
	"nsd": `server:
	ip-address: $HOST@$PORT
	server-count: 1
	username: ""
	zonesdir: "$DIR"
	zonelistfile: "$DIR/zone.list"
	xfrdfile: "$DIR/xfrd.state"
	xfrdir: "$DIR"
	database: ""
	pidfile: ""
	xfrd-reload-timeout: 0
	zonefiles-write: 1 # the default is an hour, and the file is what it starts from
	rrl-ratelimit: 0 # a recorder asks from one address
remote-control:
	control-enable: no
key:
	name: "$KEY"
	algorithm: hmac-sha256
	secret: "$SECRET"
zone:
	name: "lab.test"
	zonefile: "lab.test.zone"
	allow-notify: $PHOST $KEY
	request-xfr: $PHOST@$PPORT $KEY
`,
	"knot": `server:
    listen: $HOST@$PORT
    rundir: "$DIR"
    user: "$USER"
log:
  - target: stderr
    any: info
database:
    storage: "$DIR"
key:
  - id: $KEY
    algorithm: hmac-sha256
    secret: "$SECRET"
remote:
  - id: primary
    address: $PHOST@$PPORT
    key: $KEY
acl:
  - id: notify
    key: $KEY
    action: notify
zone:
  - domain: lab.test
    storage: "$DIR"
    file: "lab.test.zone"
    master: primary
    acl: notify
`,
	"pdns": `local-address=$HOST
local-port=$PORT
launch=gsqlite3
gsqlite3-database=$DIR/pdns.sqlite3
gsqlite3-dnssec=yes
secondary=yes
allow-notify-from=$PHOST/32
allow-unsigned-notify=no
disable-axfr=yes
cache-ttl=0
query-cache-ttl=0
socket-dir=$DIR
daemon=no
guardian=no
write-pid=no
disable-syslog=yes
`,
}

// resolver is unbound in front of the servers that serve the zone.
func (w *World) resolver() server {
	dir := filepath.Join(w.Dir, Resolver)
	conf := fmt.Sprintf(`server:
	directory: %q
	chroot: ""
	username: ""
	pidfile: ""
	use-syslog: no
	interface: %s@%d
	num-threads: 1
	module-config: "iterator"
	do-not-query-localhost: no
	local-zone: "test." nodefault
remote-control:
	control-enable: no
stub-zone:
	name: "lab.test"
`, dir, w.Resolver.Addr(), w.Resolver.Port())
	for _, s := range w.Authorities() {
		conf += fmt.Sprintf("\tstub-addr: %s@%d\n", s.Addr(), s.Port())
	}
	return server{
		part: Resolver, addr: w.Resolver, program: Resolver, dir: dir,
		args: []string{"-d", "-c", filepath.Join(dir, "unbound.conf")}, files: map[string]string{"unbound.conf": conf},
	}
}

// Authorities are the servers that resolvers ask: the secondaries, or the
// controller where there are none.
func (w *World) Authorities() []netip.AddrPort {
	var all []netip.AddrPort
	for _, s := range w.Secondaries {
		all = append(all, s.Addr)
	}
	if all == nil {
		all = []netip.AddrPort{w.DNS}
	}
	return all
}

// Asked is the server that the lab's client asks: the resolver, or an
// authority.
func (w *World) Asked() netip.AddrPort {
	if w.Resolver.IsValid() {
		return w.Resolver
	}
	return w.Authorities()[0]
}

// startSecondaries starts the secondaries and the resolver, and waits until
// every secondary has the zone.
func (l *Lab) startSecondaries(ctx context.Context) error {
	w := l.World
	if len(w.Secondaries) > 0 {
		secret, err := os.ReadFile(filepath.Join(w.Dir, transferSecret))
		if err != nil {
			return fmt.Errorf("start the secondaries: %w", err)
		}
		me, err := user.Current()
		if err != nil {
			return fmt.Errorf("start the secondaries: %w", err)
		}
		for _, s := range w.Secondaries {
			if err := l.startServer(ctx, w.secondary(s, strings.TrimSpace(string(secret)), me.Username)); err != nil {
				return err
			}
		}
	}
	for _, s := range w.Secondaries {
		if err := l.leads(ctx, s.Name, s.Addr); err != nil {
			return err
		}
	}
	if !w.Resolver.IsValid() {
		return nil
	}
	return l.startServer(ctx, w.resolver())
}

// Secondary returns the site of a secondary.
func (w *World) Secondary(name string) (SecondarySite, bool) {
	i := slices.IndexFunc(w.Secondaries, func(s SecondarySite) bool { return s.Name == name })
	if i < 0 {
		return SecondarySite{}, false
	}
	return w.Secondaries[i], true
}
