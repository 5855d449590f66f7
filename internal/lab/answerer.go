package lab

import (
	"fmt"
	"net/netip"
	"os/user"
	"path/filepath"
)

// answerer is a server whose cost of an answer is measured, with the same zone
// as everybody else.
type answerer struct {
	name   string
	needs  []string
	server func(w *World, part string, addr netip.AddrPort) server
}

// answerers are the servers of others that Debian has.
func answerers() []answerer {
	return []answerer{
		{"gdnsd", []string{"gdnsd"}, func(w *World, part string, addr netip.AddrPort) server { return gdnsdServer(w, part, addr, "", "") }},
		{"NSD", []string{"nsd"}, func(w *World, part string, addr netip.AddrPort) server {
			dir := filepath.Join(w.Dir, part)
			return server{
				part: part, addr: addr, program: "nsd", args: []string{"-d", "-c", filepath.Join(dir, "nsd.conf")}, dir: dir,
				files: map[string]string{"zone": bindStyleZone(w), "nsd.conf": fmt.Sprintf(`server:
	ip-address: %s@%d
	server-count: 1
	username: ""
	zonesdir: "%[3]s"
	zonelistfile: "%[3]s/zone.list"
	xfrdfile: "%[3]s/xfrd.state"
	xfrdir: "%[3]s"
	database: ""
	pidfile: ""
	rrl-ratelimit: 0
remote-control:
	control-enable: no
zone:
	name: "lab.test"
	zonefile: "zone"
`, addr.Addr(), addr.Port(), dir)},
			}
		}},
		{"Knot", []string{"knotd"}, func(w *World, part string, addr netip.AddrPort) server {
			dir, me := filepath.Join(w.Dir, part), "root"
			if u, err := user.Current(); err == nil {
				me = u.Username
			}
			return server{
				part: part, addr: addr, program: "knotd", args: []string{"-c", filepath.Join(dir, "knot.conf")}, dir: dir,
				files: map[string]string{"zone": bindStyleZone(w), "knot.conf": fmt.Sprintf(`server:
    listen: %s@%d
    rundir: "%[3]s"
    user: "%[4]s"
    udp-workers: 1
    tcp-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: "%[3]s"
zone:
  - domain: lab.test
    storage: "%[3]s"
    file: "zone"
`, addr.Addr(), addr.Port(), dir, me)},
			}
		}},
		{
			"PowerDNS",
			[]string{"pdns_server", "pdnsutil", "sqlite3", powerSchema, "/usr/lib/*/pdns/libgsqlite3backend.so"},
			func(w *World, part string, addr netip.AddrPort) server {
				return powerServer(w, part, addr, "receiver-threads=1\n", bindStyleZone(w))
			},
		},
		{"BIND", []string{"named"}, func(w *World, part string, addr netip.AddrPort) server {
			dir := filepath.Join(w.Dir, part)
			return server{
				part: part, addr: addr, program: "named", args: []string{"-g", "-n", "1", "-c", filepath.Join(dir, "named.conf")}, dir: dir,
				files: map[string]string{"zone": bindStyleZone(w), "named.conf": fmt.Sprintf(`options {
	directory "%[3]s"; pid-file none; session-keyfile none; lock-file none;
	listen-on port %[2]d { %[1]s; }; listen-on-v6 { none; };
	recursion no; notify no; dnssec-validation no;
};
controls { };
zone "lab.test." { type primary; file "zone"; };
`, addr.Addr(), addr.Port(), dir)},
			}
		}},
	}
}
