package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

// The secrets of the two keys that BIND knows: ctl. has the rights of the
// story, hand. may do everything, as people do.
const (
	ctlSecret  = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ="
	handSecret = "b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXItMTI="
)

const (
	bindName   = "orders.example.com."
	bindA      = "orders-a.example.com."
	bindB      = "orders-b.example.com."
	bindGrants = "grant ctl. name orders.example.com. CNAME; grant ctl. name _pointsman.orders.example.com. TXT;"
)

const bindZone = `$TTL 30
@ IN SOA ns1 hostmaster 1 300 60 604800 30
@ IN NS ns1
ns1 IN A 127.0.0.1
orders-a IN A 127.0.1.1
orders-b IN A 127.0.1.2
elsewhere IN A 192.0.2.9
orders IN CNAME %s
`

// named is a real BIND on loopback with a folder of its own. It may be killed
// and started again; its zone lives on in file and journal.
type named struct {
	addr, dir, bin string

	cmd   *exec.Cmd
	ended chan struct{}
	log   *safeBuffer
}

// startNamed starts BIND for example.com. with the name at the given target
// and the key ctl. with the given rights.
func startNamed(t *testing.T, target, grants string) *named {
	t.Helper()
	return runNamed(t, map[string]string{"example.com.zone": fmt.Sprintf(bindZone, target)},
		func(port, dir string) string { return namedConf(port, dir, grants) })
}

func namedConf(port, dir, grants string) string {
	return fmt.Sprintf(`
key "ctl." { algorithm hmac-sha256; secret "%s"; };
key "hand." { algorithm hmac-sha256; secret "%s"; };
options {
	directory "%s"; pid-file none; session-keyfile none; lock-file none;
	listen-on port %s { 127.0.0.1; }; listen-on-v6 { none; };
	recursion no; notify no; dnssec-validation no;
};
controls {};
zone "example.com." { type primary; file "example.com.zone"; update-policy { %s grant hand. zonesub ANY; }; };
`, ctlSecret, handSecret, dir, port, grants)
}

// runNamed starts BIND with the files and the config. A port that somebody
// else took meanwhile is another try.
func runNamed(t *testing.T, files map[string]string, conf func(port, dir string) string) *named {
	t.Helper()
	bin, err := exec.LookPath("named")
	if err != nil {
		bin = "/usr/sbin/named"
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatal("BIND's named is not installed: run `make deps`")
	}
	for range 5 {
		addr, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(addr)
		n := &named{addr: addr, dir: t.TempDir(), bin: bin}
		files["named.conf"] = conf(port, n.dir)
		writeFiles(t, n.dir, files)
		if n.up(t) {
			t.Cleanup(func() {
				n.kill()
				if t.Failed() {
					t.Logf("named said:\n%s", n.log)
				}
			})
			return n
		}
	}
	t.Fatal("named did not come up in five tries")
	return nil
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// up starts BIND and waits until it answers for the zone.
func (n *named) up(t *testing.T) bool {
	t.Helper()
	if n.log == nil {
		n.log = &safeBuffer{}
	}
	n.cmd = exec.Command(n.bin, "-g", "-n", "1", "-c", filepath.Join(n.dir, "named.conf"))
	n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		_ = cmd.Wait() // killed at the end, its status says nothing
	}(n.cmd, n.ended)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		select {
		case <-n.ended:
			if strings.Contains(n.log.String(), "address in use") {
				return false
			}
			t.Fatalf("named ended:\n%s", n.log)
		default:
		}
		m := new(dns.Msg).SetQuestion("example.com.", dns.TypeSOA)
		c := dns.Client{Net: "tcp", Timeout: 200 * time.Millisecond}
		if r, _, err := c.Exchange(m, n.addr); err == nil && r.Authoritative {
			return true
		}
	}
	n.kill()
	t.Fatalf("named does not answer:\n%s", n.log)
	return false
}

// kill ends this BIND by its own process id.
func (n *named) kill() {
	_ = n.cmd.Process.Kill() // an error means that it is gone
	<-n.ended
}

// changes counts the records that BIND changed for the key ctl., by its own
// log: a move deletes two sets and adds two records.
func (n *named) changes() int { return strings.Count(n.log.String(), "/key ctl: updating zone") }

func (n *named) serial(t *testing.T) uint32 {
	t.Helper()
	c := dns.Client{Net: "tcp", Timeout: 5 * time.Second}
	r, _, err := c.Exchange(new(dns.Msg).SetQuestion("example.com.", dns.TypeSOA), n.addr)
	if err != nil || len(r.Answer) != 1 {
		t.Fatalf("SOA: %v %v", r, err)
	}
	return r.Answer[0].(*dns.SOA).Serial
}

// dig asks with the tool that people use.
func (n *named) dig(t *testing.T, args ...string) string {
	t.Helper()
	_, port, _ := net.SplitHostPort(n.addr)
	return tool(t, "", "dig", append([]string{"@127.0.0.1", "-p", port, "+short", "+norecurse"}, args...)...)
}

// mark reads the mark of the name; the zero mark when there is none.
func (n *named) mark(t *testing.T) failover.Mark {
	t.Helper()
	text := strings.Trim(n.dig(t, "_pointsman."+bindName, "TXT"), `"`)
	if text == "" {
		return failover.Mark{}
	}
	m, err := failover.ParseMark(text)
	if err != nil {
		t.Fatalf("mark %q: %v", text, err)
	}
	return m
}

// byHand changes the zone as an administrator does.
func (n *named) byHand(t *testing.T, updates ...string) {
	t.Helper()
	host, port, _ := net.SplitHostPort(n.addr)
	script := fmt.Sprintf("server %s %s\nzone example.com.\nkey hmac-sha256:hand. %s\n", host, port, handSecret)
	for _, u := range updates {
		script += "update " + u + "\n"
	}
	tool(t, script+"send\n", "nsupdate", "-v")
}

func (n *named) point(t *testing.T, target string) {
	t.Helper()
	n.byHand(t, "delete "+bindName+" CNAME", "add "+bindName+" 30 CNAME "+target)
}

func tool(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	bin, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: run `make deps`", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s\n%s", name, args, err, out, stdin)
	}
	return strings.TrimSpace(string(out))
}

// backend is one cluster: an HTTP server that says which it is, in a header
// and in JSON.
type backend struct {
	addr, name string

	mu     sync.Mutex
	server *http.Server
	done   chan struct{}
}

func startBackend(t *testing.T, host, name string) *backend {
	t.Helper()
	b := &backend{addr: host + ":0", name: name}
	b.up(t)
	t.Cleanup(b.kill)
	return b
}

func (b *backend) up(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	l, err := net.Listen("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	b.addr = l.Addr().String()
	b.server = &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Cluster", b.name)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"status":"ok","cluster":"orders-%s"}`, b.name)
	})}
	b.done = make(chan struct{})
	go func(s *http.Server, done chan struct{}) {
		defer close(done)
		_ = s.Serve(l)
	}(b.server, b.done)
}

func (b *backend) kill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.server != nil {
		b.server.Close()
		<-b.done
		b.server = nil
	}
}

// bindWorld is a machine room: a BIND, two clusters, and a folder in which the
// program runs.
type bindWorld struct {
	dir     string
	bind    *named
	a, b    *backend
	replace *strings.Replacer
}

// newBindWorld writes pointsman.yaml from the text, in which the words of
// [bindWorld.replace] stand for addresses. server is where the program finds
// BIND: BIND itself, or something in between.
func newBindWorld(t *testing.T, bind *named, server, config string) *bindWorld {
	t.Helper()
	dir, err := os.MkdirTemp("", "bind") // short: a socket's path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &bindWorld{dir: dir, bind: bind, a: startBackend(t, "127.0.1.1", "a"), b: startBackend(t, "127.0.1.2", "b")}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { control.Close() })
	free := func() string {
		addr, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		return addr
	}
	w.replace = strings.NewReplacer("$BIND", bind.addr, "$SERVER", server, "$CONTROL", control.Addr().String(),
		"$A", w.a.addr, "$B", w.b.addr, "$DNS", free(), "$LISTEN", free())
	writeFiles(t, dir, map[string]string{
		"pointsman.yaml": w.replace.Replace(config), "tsig.key": ctlSecret + "\n",
		"token": strings.Repeat("t", 32) + "\n", "van-2.key": strings.Repeat("2", 64) + "\n", "van-3.key": strings.Repeat("3", 64) + "\n",
	})
	return w
}

// bindConfig is one vantage, one name in BIND, numbers that fit a busy machine.
const bindConfig = `controller: {name: ctl-1, data: data, socket: s/s}
vantage: {name: ctl-1, domain: rack-1, controls: ["tcp://$CONTROL"]}
single_vantage: accept
providers:
  bind:
    type: rfc2136
    server: "$SERVER"
    zone: example.com.
    key: {name: ctl., algorithm: hmac-sha256, secret_file: tsig.key}
    authorities: ["$BIND"]
instances:
  - name: orders
    preset: fast-lab
    names: [{name: orders.example.com., provider: bind}]
    clusters:
      a: {target: orders-a.example.com., address: "$A"}
      b: {target: orders-b.example.com., address: "$B"}
    primary: a
    check: {type: http, path: /healthz, identity: {header: X-Cluster}}
    round: 500ms
    timeout: 400ms
    burst: 50ms
    rise: 2
    cooldown: 0s
    read_every: 1s
    ttl: 6s
`

// threeRacks adds two vantages elsewhere.
func threeRacks(config string) string {
	return strings.NewReplacer("single_vantage: accept\n", `vantages:
  - {name: van-2, domain: rack-2, key_file: van-2.key, controls: ["tcp://$CONTROL"]}
  - {name: van-3, domain: rack-3, key_file: van-3.key, controls: ["tcp://$CONTROL"]}
`, "socket: s/s", `socket: s/s, listen: "$LISTEN", token_file: token`).Replace(config)
}

// child is a running pointsman.
type child struct {
	cmd  *exec.Cmd
	gone chan struct{}
	log  *safeBuffer
}

// start runs a process that serves, until end or kill, at the latest until the
// test is over.
func (w *bindWorld) start(t *testing.T, args ...string) *child {
	t.Helper()
	c := &child{cmd: exec.Command("pointsman", args...), gone: make(chan struct{}), log: &safeBuffer{}}
	c.cmd.Dir, c.cmd.Stderr = w.dir, c.log
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { defer close(c.gone); _ = c.cmd.Wait() }()
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			t.Logf("pointsman %v said:\n%s", args, c.log)
		}
	})
	return c
}

func (w *bindWorld) run(t *testing.T, more ...string) *child {
	t.Helper()
	return w.start(t, append([]string{"run", "-c", "pointsman.yaml"}, more...)...)
}

// vantage makes the config of a vantage elsewhere and runs it.
func (w *bindWorld) vantage(t *testing.T, name, config string) *child {
	t.Helper()
	out := w.verb(t, exitOK, "config", "vantage", name, "-c", config)
	file := filepath.Join(filepath.Dir(config), name+".yaml")
	writeFiles(t, w.dir, map[string]string{file: out})
	return w.start(t, "vantage", "-c", file)
}

// kill ends it as kill -9 does.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.gone
}

// end ends it as Ctrl-C does, and wants a good end.
func (c *child) end(t *testing.T) {
	t.Helper()
	_ = c.cmd.Process.Signal(os.Interrupt)
	<-c.gone
	if code := c.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
}

// verb runs an operator's verb, wants its exit status, and returns what it
// printed: stdout, then stderr.
func (w *bindWorld) verb(t *testing.T, want int, args ...string) string {
	t.Helper()
	code, said := w.try(t, args...)
	if code != want {
		t.Fatalf("pointsman %s: exit status %d, want %d\n%s", strings.Join(args, " "), code, want, said)
	}
	return said
}

// planned makes a plan and applies it, and makes another where the world moved
// in between: on a busy machine a vantage may be late and then have no vote.
func (w *bindWorld) planned(t *testing.T, move ...string) string {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		w.verb(t, exitChanges, append(append([]string{"plan"}, move...), "-o", "plan.json")...)
		code, said := w.try(t, "apply", "plan.json", "--yes")
		if code == exitOK {
			return said
		}
		if !strings.Contains(said, "refused by stale: ") || time.Now().After(end) {
			t.Fatalf("apply: exit status %d\n%s", code, said)
		}
	}
}

// try runs a verb and returns its exit status and what it printed.
func (w *bindWorld) try(t *testing.T, args ...string) (code int, said string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "pointsman", args...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "POINTSMAN_SOCKET=s/s", "NO_COLOR=1", "USER=alice")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode(), out.String() + errs.String()
}

// until asks for the view, as a verb would, until it is as wanted.
func (w *bindWorld) until(t *testing.T, what string, ok func(failover.View) bool) failover.View {
	t.Helper()
	return w.untilAt(t, filepath.Join(w.dir, "s", "s"), what, ok)
}

func (w *bindWorld) untilAt(t *testing.T, socket, what string, ok func(failover.View) bool) failover.View {
	t.Helper()
	client, err := api.NewClient(api.ClientConfig{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	var v failover.View
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		if v, err = client.View(t.Context(), "orders"); err == nil && ok(v) {
			return v
		}
	}
	t.Fatalf("%s did not come: %v\n%+v", what, err, v)
	return v
}

// settledAt is an instance at rest at a cluster, with no write open.
func settledAt(c failover.ClusterName) func(failover.View) bool {
	return func(v failover.View) bool {
		for _, n := range v.Names {
			if n.Want != nil {
				return false
			}
		}
		return v.Phase == failover.PhaseIdle && v.Op == nil && v.Active == c && len(v.Stops) == 0
	}
}

// took waits until the name was read and takes it over, then arms it and waits
// for the mark.
func (w *bindWorld) took(t *testing.T) {
	t.Helper()
	w.until(t, "both up", bothUp)
	w.adopt(t)
	w.verb(t, exitOK, "arm", "orders", "--mode", "auto", "--yes")
	w.until(t, "the marks", marked("a"))
}

// marked is settledAt, with a mark of this life beside every name.
func marked(c failover.ClusterName) func(failover.View) bool {
	return func(v failover.View) bool {
		for _, n := range v.Names {
			if n.Mark.Token.Term != v.Token.Term {
				return false
			}
		}
		return settledAt(c)(v)
	}
}

func drifts(v failover.View) bool {
	return slices.ContainsFunc(v.Stops, func(s failover.Stop) bool { return s.Kind == failover.StopDrift })
}

// reads waits until every name in BIND was read that often from now on.
func (w *bindWorld) reads(t *testing.T, times int) {
	t.Helper()
	last, count := map[failover.RecordName]time.Time{}, map[failover.RecordName]int{}
	w.until(t, "reads of the name", func(v failover.View) bool {
		enough := true
		for _, n := range v.Names {
			if n.Provider != "bind" {
				continue
			}
			if at := last[n.Name]; !n.SeenAt.Equal(at) {
				last[n.Name] = n.SeenAt
				count[n.Name]++ // the first look only says where we are
			}
			enough = enough && count[n.Name] > times
		}
		return enough
	})
}

// adopt tries until the name was read for the first time.
func (w *bindWorld) adopt(t *testing.T) {
	t.Helper()
	w.until(t, "a record", func(v failover.View) bool {
		if v.Active == "" {
			cmd := exec.Command("pointsman", "adopt", "orders", "--yes", "--socket", "s/s")
			cmd.Dir = w.dir
			_ = cmd.Run()
		}
		return v.Active != ""
	})
}

// wantIn checks that a text matches, and says what it was if not.
func wantIn(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
}
