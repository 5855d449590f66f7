package lab

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
)

// rival is somebody else's DNS server that does, by itself, what pointsman is
// for: it watches two clusters and answers the address of one that lives.
type rival struct {
	name, profile string
	needs         []string // programs and files
	server        func(w *World, addr netip.AddrPort) server
	// fast says that it notices a fault within seconds; the others are waited
	// for once only.
	fast bool
	// stays says that it goes back to the first cluster only after minutes.
	stays bool
}

// part is the name of the rival among the parts of the lab.
func (r rival) part() string { return r.name + "-" + r.profile }

// rivalName is what rivals are asked for. It has no CNAME: they answer addresses.
const rivalName = "www.lab.test."

// rivals are those that Debian has, each as fast as its configuration allows,
// and as it comes.
func rivals() []rival {
	gdnsdNeeds := []string{"gdnsd"}
	powerNeeds := []string{"pdns_server", "pdnsutil", "sqlite3", powerSchema, "/usr/lib/*/pdns/libgsqlite3backend.so"}
	return []rival{
		// gdnsd-plugin-http_status(8): an interval is at least 2 s, times are whole seconds.
		{name: "gdnsd", profile: "fastest", needs: gdnsdNeeds, fast: true, server: gdnsdRival("fastest", "interval => 2, timeout => 1, up_thresh => 1, ok_thresh => 1, down_thresh => 1")},
		{name: "pdns", profile: "fastest", needs: powerNeeds, fast: true, server: powerRival("fastest", "lua-health-checks-interval=1\n", ", {timeout=1}")},
		{name: "gdnsd", profile: "default", needs: gdnsdNeeds, stays: true, server: gdnsdRival("default", "")},
		{name: "pdns", profile: "default", needs: powerNeeds, server: powerRival("default", "", "")},
	}
}

// gdnsdZone is a zone as gdnsd reads it; more may hold dynamic names.
const gdnsdZone = `@ SOA ns1 hostmaster 1 300 60 604800 30
@ NS ns1
ns1 A 127.0.0.1
a 30 A %s
b 30 A %s
orders 5 CNAME a
`

func gdnsdServer(w *World, part string, addr netip.AddrPort, more, zone string) server {
	dir := filepath.Join(w.Dir, part)
	config := fmt.Sprintf(`options => {
  listen => [ %s ], dns_port => %d, udp_threads => 1, tcp_threads => 1,
  run_dir => %s, state_dir => %s
}
%s`, addr.Addr(), addr.Port(), filepath.Join(dir, "run"), filepath.Join(dir, "state"), more)
	return server{
		part: part, addr: addr, program: "gdnsd", args: []string{"-c", dir, "start"}, dir: dir,
		files: map[string]string{
			"config": config, "run/.keep": "", "state/.keep": "",
			"zones/lab.test": fmt.Sprintf(gdnsdZone, w.Clusters[0].Addr.Addr(), w.Clusters[1].Addr.Addr()) + zone,
		},
	}
}

func gdnsdRival(profile, tune string) func(*World, netip.AddrPort) server {
	return func(w *World, addr netip.AddrPort) server {
		a, b := w.Clusters[0], w.Clusters[1]
		more := fmt.Sprintf("service_types => { web => { plugin => http_status, port => %d, url_path => /healthz, %s } }\n"+
			"plugins => { simplefo => { www => { service_types => [ web ], primary => %s, secondary => %s } } }\n",
			a.Addr.Port(), tune, a.Addr.Addr(), b.Addr.Addr())
		return gdnsdServer(w, "gdnsd-"+profile, addr, more, "www 5 DYNA simplefo!www\n")
	}
}

// bindStyleZone is the same zone for everybody else.
func bindStyleZone(w *World) string {
	return fmt.Sprintf(`$ORIGIN lab.test.
@ 30 IN SOA ns1 hostmaster 1 300 60 604800 30
@ 30 IN NS ns1
ns1 30 IN A 127.0.0.1
a 30 IN A %s
b 30 IN A %s
orders 5 IN CNAME a
`, w.Clusters[0].Addr.Addr(), w.Clusters[1].Addr.Addr())
}

func powerServer(w *World, part string, addr netip.AddrPort, more, zone string) server {
	dir := filepath.Join(w.Dir, part)
	return server{
		part: part, addr: addr, program: "pdns_server", args: []string{"--config-dir=" + dir}, dir: dir,
		files: map[string]string{
			"pdns.conf": fmt.Sprintf(`local-address=%s
local-port=%d
launch=gsqlite3
gsqlite3-database=%s
socket-dir=%s
daemon=no
guardian=no
write-pid=no
disable-syslog=yes
%s`, addr.Addr(), addr.Port(), filepath.Join(dir, "pdns.sqlite3"), dir, more),
			"zone": zone,
		},
		once: [][]string{
			{"sqlite3", filepath.Join(dir, "pdns.sqlite3"), ".read " + powerSchema},
			{"pdnsutil", "--config-dir=" + dir, "load-zone", "lab.test", filepath.Join(dir, "zone")},
		},
	}
}

func powerRival(profile, tune, options string) func(*World, netip.AddrPort) server {
	return func(w *World, addr netip.AddrPort) server {
		a, b := w.Clusters[0], w.Clusters[1]
		lua := fmt.Sprintf(`www 5 IN LUA A "ifurlup('http://%s:%d/healthz', {{'%s'}, {'%s'}}%s)"`+"\n",
			strings.TrimSuffix(rivalName, "."), a.Addr.Port(), a.Addr.Addr(), b.Addr.Addr(), options)
		return powerServer(w, "pdns-"+profile, addr, "enable-lua-records=yes\n"+tune, bindStyleZone(w)+lua)
	}
}
