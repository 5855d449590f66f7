package dnsctl_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/dnsctl"
)

// find returns the path of a program, or fails with what to do.
func find(t testing.TB, name string) string {
	t.Helper()
	bin, err := exec.LookPath(name)
	if err != nil {
		bin = "/usr/sbin/" + name
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("%s is not installed: run `make deps`", name)
	}
	return bin
}

// output is what a server writes, to be shown when the test fails.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// startServer runs a name server until the test ends, and returns when it
// answers for the zone. prepare writes its files for a port and returns its
// command. A port that somebody else took meanwhile is another try.
func startServer(t testing.TB, zone string, prepare func(dir string, port int) []string) (netip.AddrPort, *output) {
	t.Helper()
	for range 5 {
		port := dnsctl.FreePort(t)
		addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))
		dir := t.TempDir()
		command := prepare(dir, port)
		log := &output{}
		cmd := exec.Command(find(t, command[0]), command[1:]...)
		cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, dir
		// Some of these servers are several processes: they end as a group.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.WaitDelay = 5 * time.Second
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = cmd.Wait() // killed at the end, its status says nothing
		}()
		stop := func() {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // an error means that it is gone
			<-ended
		}
		if answers(addr, zone, ended) {
			t.Cleanup(func() {
				stop()
				if t.Failed() {
					t.Logf("%s said:\n%s", command[0], log)
				}
			})
			return addr, log
		}
		stop()
		if !strings.Contains(strings.ToLower(log.String()), "address already in use") {
			t.Fatalf("%s does not answer for %s:\n%s", command[0], zone, log)
		}
	}
	t.Fatal("no server came up in five tries")
	return netip.AddrPort{}, nil
}

// answers waits until the server has the zone, or has ended.
func answers(addr netip.AddrPort, zone string, ended <-chan struct{}) bool {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		select {
		case <-ended:
			return false
		default:
		}
		c := dns.Client{Net: "tcp", Timeout: 200 * time.Millisecond}
		m := new(dns.Msg).SetQuestion(zone, dns.TypeSOA)
		m.RecursionDesired = false
		if r, _, err := c.Exchange(m, addr.String()); err == nil && r.Authoritative {
			return true
		}
	}
	return false
}

func me(t testing.TB) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

// startKnot runs Knot with the zone lab.test.; the key ctl. may change what it
// needs, as configs/knot.conf.sample grants it, the key hand. everything.
func startKnot(t testing.TB) primary {
	t.Helper()
	var at string
	addr, _ := startServer(t, labZone, func(dir string, port int) []string {
		at = dir
		dnsctl.WriteFile(t, filepath.Join(dir, "lab.test.zone"), contractZone())
		file := filepath.Join(dir, "knot.conf")
		dnsctl.WriteFile(t, file, fmt.Sprintf(`
server:
    listen: 127.0.0.1@%d
    rundir: "%s"
    user: %s
log:
  - target: stderr
    any: info
database:
    storage: "%s"
key:
  - id: ctl.
    algorithm: hmac-sha256
    secret: "%s"
  - id: hand.
    algorithm: hmac-sha256
    secret: "%s"
acl:
  - id: pointsman
    key: ctl.
    action: update
    update-type: [CNAME, TXT]
    update-owner: name
    update-owner-match: equal
    update-owner-name: [orders, _pointsman.orders, busy, _pointsman.busy]
  - id: people
    key: hand.
    action: update
zone:
  - domain: lab.test
    storage: "%s"
    file: "lab.test.zone"
    acl: [pointsman, people]
    journal-content: all
    zonefile-sync: -1
    zonefile-load: difference-no-serial
`, port, dir, me(t), dir, dnsctl.SecretText, dnsctl.OtherText, dir))
		return []string{"knotd", "-c", file}
	})
	return primary{"Knot", addr, labZone, at, 0}
}

// shell runs a line of a sample.
func shell(t testing.TB, line string) {
	t.Helper()
	cmd := exec.Command("sh", "-ec", "PATH=$PATH:/usr/sbin; "+line)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// pdnsSchema is where Debian puts the tables of PowerDNS.
const pdnsSchema = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql"

// startPowerDNS runs PowerDNS with the zone lab.test., in which the keys ctl.
// and hand. may change everything: it knows no other rights without a script.
// The zone tells nobody of changes: a primary notes whom it told what in the same
// SQLite every few seconds, and an update at that moment is answered with SERVFAIL.
// more are lines of its config, in which $WEB is a free port.
func startPowerDNS(t testing.TB, more ...string) primary {
	t.Helper()
	var at string
	var web int
	addr, _ := startServer(t, labZone, func(dir string, port int) []string {
		at, web = dir, dnsctl.FreePort(t) // as the other one, new with each try
		conf := fmt.Sprintf(`local-address=127.0.0.1
local-port=%d
launch=gsqlite3
gsqlite3-database=%s/pdns.sqlite3
gsqlite3-dnssec=yes
dnsupdate=yes
allow-dnsupdate-from=127.0.0.0/8
`, port, dir)
		if len(more) == 0 {
			more = []string{"cache-ttl=0", "query-cache-ttl=0", "negquery-cache-ttl=0"}
		}
		dnsctl.WriteFile(t, filepath.Join(dir, "pdns.conf"), conf+strings.ReplaceAll(strings.Join(more, "\n"), "$WEB", fmt.Sprint(web))+"\n")
		dnsctl.WriteFile(t, filepath.Join(dir, "lab.test.zone"), contractZone())
		util := "pdnsutil --config-dir=" + dir + " "
		for _, line := range []string{
			"sqlite3 " + dir + "/pdns.sqlite3 <" + pdnsSchema,
			util + "load-zone lab.test " + dir + "/lab.test.zone",
			util + "set-kind lab.test native",
			util + "import-tsig-key ctl hmac-sha256 " + dnsctl.SecretText,
			util + "import-tsig-key hand hmac-sha256 " + dnsctl.OtherText,
			util + "set-meta lab.test TSIG-ALLOW-DNSUPDATE ctl hand",
			util + "set-meta lab.test SOA-EDIT-DNSUPDATE INCREASE",
		} {
			shell(t, line)
		}
		return pdnsCommand(dir)
	})
	return primary{"PowerDNS", addr, labZone, at, uint16(web)}
}

// settled waits until a PowerDNS that is a primary has noted the serial for which
// it told the secondaries, as it does when it starts. It writes that into the same
// database, and an update meanwhile is answered with SERVFAIL: "database is locked".
func settled(t testing.TB, database string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		out, err := exec.Command(find(t, "sqlite3"), "-readonly", "-cmd", ".timeout 5000", database,
			"select count(*) from domains where notified_serial is null").Output()
		if err == nil && strings.TrimSpace(string(out)) == "0" {
			return
		}
	}
	t.Fatal("PowerDNS does not settle")
}

func pdnsCommand(dir string) []string {
	return []string{
		"pdns_server", "--config-dir=" + dir, "--daemon=no", "--guardian=no", "--disable-syslog",
		"--socket-dir=" + dir, "--write-pid=no", "--loglevel=7",
	}
}
