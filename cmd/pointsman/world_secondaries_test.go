package main

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// samplesOfSecondaries are the files that docs/operations.md shows: the tests
// run the servers with them, so that they stay true.
const samplesOfSecondaries = root + "/configs/secondaries"

// The zone and the name in it that moves.
const secondZone, secondName = "lab.test.", "orders.lab.test."

// secondary is a real DNS server with a copy of the program's zone. It has a
// folder and a port of its own, and may be killed and started again.
type secondary struct {
	kind, addr, dir, file string
	command               []string

	cmd   *exec.Cmd
	ended chan struct{}
	log   *safeBuffer
}

// kinds of secondaries: the name of the sample, and how the server runs in the
// foreground with it.
var secondaryKinds = map[string]func(file, dir string) []string{
	"named": func(file, _ string) []string { return []string{"named", "-g", "-n", "1", "-c", file} },
	"nsd":   func(file, _ string) []string { return []string{"nsd", "-d", "-V", "2", "-c", file} },
	"knot":  func(file, _ string) []string { return []string{"knotd", "-c", file} },
	"pdns": func(_, dir string) []string {
		return []string{
			"pdns_server", "--config-dir=" + dir, "--daemon=no", "--guardian=no", "--disable-syslog", "--socket-dir=" + dir,
			"--write-pid=no", "--loglevel=7", "--xfr-cycle-interval=5", "--query-logging=no",
		}
	},
}

// newSecondary writes the files of a server that will answer at the address.
// The sample is used as it is, but for addresses, folders, the key and the user.
func newSecondary(t *testing.T, kind, addr, primary, secret string) *secondary {
	t.Helper()
	dir := shortDir(t, "second")
	s := &secondary{kind: kind, addr: addr, dir: dir, file: filepath.Join(dir, kind+".conf"), log: &safeBuffer{}}
	s.command = secondaryKinds[kind](s.file, dir)
	sample, err := os.ReadFile(filepath.Join(samplesOfSecondaries, kind+".conf"))
	if err != nil {
		t.Fatal(err)
	}
	text := sampleFor(t, string(sample), dir, addr, primary, kind+"-key", secret)
	writeFiles(t, dir, map[string]string{kind + ".conf": text})
	if check := sampleChecks[kind]; check != "" { // PowerDNS has none
		tool(t, "", "sh", "-ec", "PATH=$PATH:/usr/sbin; "+strings.ReplaceAll(check, "$FILE", s.file))
	}
	for _, line := range sampleCommands.FindAllStringSubmatch(text, -1) {
		tool(t, "", "sh", "-ec", line[1])
	}
	return s
}

// sampleChecks are the checks that the samples recommend.
var sampleChecks = map[string]string{"named": "named-checkconf $FILE", "nsd": "nsd-checkconf $FILE", "knot": "knotc -c $FILE conf-check"}

// sampleCommands are the lines of a sample that are to be run once.
var sampleCommands = regexp.MustCompile(`(?m)^#   \$ (.*)$`)

// sampleFor puts the addresses of loopback into a sample. Every word that it
// replaces must be in one of the samples; what is left of the addresses of the
// sample is a mistake.
func sampleFor(t *testing.T, text, dir, addr, primary, key, secret string) string {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	phost, pport, _ := net.SplitHostPort(primary)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	text = strings.NewReplacer(
		"ha.example.com", "lab.test", "REPLACE-WITH-THE-SECRET", secret, "ns2-key", key,
		"/var/lib/bind", dir, "/var/lib/nsd", dir, "/var/lib/knot", dir, "/run/knot", dir, "/var/lib/powerdns", dir, "/etc/powerdns", dir,
		"username: nsd", `username: ""`, "rrl-ratelimit: 200", "rrl-ratelimit: 0",
		// NSD keeps what it took in part, see [secondary.took].
		`zonefile: "ha.example.com.zone"`, "zonefile: \"lab.test.zone\"\n\tstore-ixfr: yes\n\tixfr-number: 100", "user: knot:knot", "user: "+me.Username,
		"port 53 { 198.51.100.11; }", "port "+port+" { "+host+"; }", "198.51.100.11@53", host+"@"+port,
		"local-address=198.51.100.11", "local-address="+host, "local-port=53", "local-port="+port,
		"192.0.2.53 port 53", phost+" port "+pport, "192.0.2.53@53", phost+"@"+pport, "192.0.2.53:53", primary, "192.0.2.53", phost,
	).Replace(text)
	if left := regexp.MustCompile(`192\.0\.2\.|198\.51\.100\.|example\.com|REPLACE|/var/lib|/etc/`).FindString(text); left != "" {
		t.Fatalf("%q is left in the sample:\n%s", left, text)
	}
	return text
}

// up starts the server and waits until it answers, for the zone or not yet.
func (s *secondary) up(t *testing.T) {
	t.Helper()
	bin, err := exec.LookPath(s.command[0])
	if err != nil {
		bin = "/usr/sbin/" + s.command[0]
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("%s is not installed: run `make deps`", s.command[0])
	}
	s.cmd = exec.Command(bin, s.command[1:]...)
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.Dir = s.log, s.log, s.dir
	// Some of these servers are several processes: they end as a group.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.cmd.WaitDelay = 5 * time.Second
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		_ = cmd.Wait() // killed at the end, its status says nothing
	}(s.cmd, s.ended)
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", s.kind, s.log)
		}
	})
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		select {
		case <-s.ended:
			t.Fatalf("%s ended:\n%s", s.kind, s.log)
		default:
		}
		c := dns.Client{Net: "tcp", Timeout: 200 * time.Millisecond}
		if _, _, err := c.Exchange(new(dns.Msg).SetQuestion("localhost.", dns.TypeA), s.addr); err == nil {
			return
		}
	}
	t.Fatalf("%s does not answer:\n%s", s.kind, s.log)
}

// kill ends this server, and what it started, by their own group.
func (s *secondary) kill() {
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // an error means that it is gone
	<-s.ended
}

// hang makes it stand still as a machine does that swaps; wake lets it go on.
func (s *secondary) hang(t *testing.T) { s.signal(t, syscall.SIGSTOP) }
func (s *secondary) wake(t *testing.T) { s.signal(t, syscall.SIGCONT) }

func (s *secondary) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(-s.cmd.Process.Pid, sig); err != nil {
		t.Fatalf("%s: %v", s.kind, err)
	}
}

// soa asks a server for the serial of the zone; ok says that it has the zone.
func soa(addr string) (serial uint32, ok bool) {
	c := dns.Client{Timeout: 500 * time.Millisecond}
	r, _, err := c.Exchange(new(dns.Msg).SetQuestion(secondZone, dns.TypeSOA), addr)
	if err != nil || !r.Authoritative || len(r.Answer) != 1 {
		return 0, false
	}
	s, ok := r.Answer[0].(*dns.SOA)
	if !ok {
		return 0, false
	}
	return s.Serial, true
}

// shows asks a server for the target of the name; "" is any other answer.
func shows(addr string) string {
	c := dns.Client{Timeout: 500 * time.Millisecond}
	r, _, err := c.Exchange(new(dns.Msg).SetQuestion(secondName, dns.TypeCNAME), addr)
	if err != nil || len(r.Answer) != 1 {
		return ""
	}
	cname, ok := r.Answer[0].(*dns.CNAME)
	if !ok {
		return ""
	}
	return strings.ToLower(cname.Target)
}

// secondaryWorld is the program as the hidden primary of four secondaries, with
// unbound in front of them, and two clusters.
type secondaryWorld struct {
	*bindWorld
	primary  string // where the program answers
	resolver string
	servers  []*secondary // named, nsd, knot, pdns
}

// secondaryConfig lists the secondaries where $SECONDARIES stands.
const secondaryConfig = `controller: {name: ctl-1, data: data, socket: s/s, listen: "$LISTEN", token_file: token}
vantage: {name: ctl-1, domain: rack-1, controls: ["tcp://$CONTROL"]}
single_vantage: accept
authority:
  listen: ["$DNS"]
  keys: {$KEYS}
  zones:
    - name: lab.test.
      ns: [ns1.lab.test.]
      secondaries: [$SECONDARIES]
      hosts:
        ns1.lab.test.: [127.0.0.1]
        a.lab.test.: [127.0.1.1]
        b.lab.test.: [127.0.1.2]
instances:
  - name: orders
    preset: fast-lab
    names: [{name: orders.lab.test., provider: embedded}]
    clusters:
      a: {target: a.lab.test., address: "$A"}
      b: {target: b.lab.test., address: "$B"}
    primary: a
    check: {type: http, path: /healthz, identity: {header: X-Cluster}}
    round: 500ms
    timeout: 400ms
    burst: 50ms
    rise: 2
    cooldown: 0s
`

// secretOf is the secret that one secondary shares with the program.
func secretOf(kind string) string {
	sum := sha256.Sum256([]byte(kind))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// newSecondaryWorld writes everything and starts nothing but the clusters.
func newSecondaryWorld(t *testing.T) *secondaryWorld {
	t.Helper()
	dir := shortDir(t, "second")
	w := &secondaryWorld{
		bindWorld: &bindWorld{dir: dir, a: startBackend(t, "127.0.1.1", "a"), b: startBackend(t, "127.0.1.2", "b")},
		primary:   freeAddr(t), resolver: freeAddr(t),
	}
	files := map[string]string{"token": strings.Repeat("t", 32) + "\n"}
	var keys, list []string
	for _, kind := range []string{"named", "nsd", "knot", "pdns"} {
		s := newSecondary(t, kind, freeAddr(t), w.primary, secretOf(kind))
		w.servers = append(w.servers, s)
		files[kind+".key"] = secretOf(kind) + "\n"
		keys = append(keys, fmt.Sprintf("%s-key.: {secret_file: %s.key}", kind, kind))
		list = append(list, fmt.Sprintf(`{address: "%s", key: %s-key.}`, s.addr, kind))
	}
	w.replace = strings.NewReplacer("$CONTROL", controlAt(t), "$A", w.a.addr, "$B", w.b.addr, "$DNS", w.primary,
		"$LISTEN", freeAddr(t), "$KEYS", strings.Join(keys, ", "), "$SECONDARIES", strings.Join(list, ", "))
	files["pointsman.yaml"] = w.replace.Replace(secondaryConfig)
	writeFiles(t, dir, files)
	return w
}

// armed starts the program and waits until it would move the name by itself.
func (w *secondaryWorld) armed(t *testing.T) *child {
	t.Helper()
	c := w.run(t)
	w.until(t, "both up", bothUp)
	w.verb(t, exitOK, "arm", "orders", "--mode", "auto", "--yes")
	return c
}

// unbound puts a resolver in front of the secondaries.
func (w *secondaryWorld) unbound(t *testing.T) *secondary {
	t.Helper()
	host, port, _ := net.SplitHostPort(w.resolver)
	s := &secondary{kind: "unbound", addr: w.resolver, dir: t.TempDir(), log: &safeBuffer{}}
	conf := fmt.Sprintf(`server:
	directory: "%s"
	chroot: ""
	username: ""
	pidfile: ""
	use-syslog: no
	interface: %s@%s
	num-threads: 1
	module-config: "iterator"
	do-not-query-localhost: no
	local-zone: "test." nodefault
remote-control:
	control-enable: no
stub-zone:
	name: "lab.test"
`, s.dir, host, port)
	for _, x := range w.servers {
		host, port, _ := net.SplitHostPort(x.addr)
		conf += fmt.Sprintf("\tstub-addr: %s@%s\n", host, port)
	}
	writeFiles(t, s.dir, map[string]string{"unbound.conf": conf})
	s.command = []string{"unbound", "-d", "-c", filepath.Join(s.dir, "unbound.conf")}
	s.up(t)
	return s
}

// follow waits until every server shows the target and has the serial of the
// program, which must be above the last one, and returns that serial.
func (w *secondaryWorld) follow(t *testing.T, target string, above uint32, servers ...*secondary) uint32 {
	t.Helper()
	var serial uint32
	start := time.Now()
	took := map[string]time.Duration{}
	for _, s := range servers {
		eventually(t, fmt.Sprintf("%s at %s", target, s.kind), func() bool {
			ours, ok := soa(w.primary)
			theirs, has := soa(s.addr)
			serial = ours
			return ok && has && ours == theirs && shows(s.addr) == target
		})
		took[s.kind] = time.Since(start).Round(time.Millisecond)
	}
	if int32(serial-above) <= 0 { // RFC 1982
		t.Errorf("the serial went from %d to %d", above, serial)
	}
	t.Logf("serial %d, %s: seen after %v", serial, target, took)
	return serial
}

// host adds an address to the zone, by the config.
func (w *secondaryWorld) host(t *testing.T, name, addr string) {
	t.Helper()
	w.edit(t, "ns1.lab.test.: [127.0.0.1]", "ns1.lab.test.: [127.0.0.1]\n        "+name+".lab.test.: ["+addr+"]")
}

// resolves waits until every server knows the address of a host.
func (w *secondaryWorld) resolves(t *testing.T, host, addr string, servers ...*secondary) {
	t.Helper()
	for _, s := range servers {
		eventually(t, host+" at "+s.kind, func() bool {
			return tool(t, "", "kdig", "@"+strings.Replace(s.addr, ":", "#", 1), "+short", "+norecurse", host, "A") == addr
		})
	}
}

func transfersOf(kind string) string { return `pointsman_dns_transfers_total{kind="` + kind + `"}` }

// counted reads a metric of the program; one that is not there is 0.
func (w *secondaryWorld) counted(t *testing.T, series string) int {
	t.Helper()
	_, body, err := fetch("http://" + w.replace.Replace("$LISTEN") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(body, "\n"+series+" ")
	if !ok {
		return 0
	}
	number, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		t.Fatalf("%s: %v", series, err)
	}
	return int(n)
}
