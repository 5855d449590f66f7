package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

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
	dir := shortDir(t, "bind")
	w := &bindWorld{dir: dir, bind: bind, a: startBackend(t, "127.0.1.1", "a"), b: startBackend(t, "127.0.1.2", "b")}
	w.replace = strings.NewReplacer("$BIND", bind.addr, "$SERVER", server, "$CONTROL", controlAt(t),
		"$A", w.a.addr, "$B", w.b.addr, "$DNS", freeAddr(t), "$LISTEN", freeAddr(t))
	writeFiles(t, dir, map[string]string{
		"pointsman.yaml": w.replace.Replace(config), "tsig.key": ctlSecret + "\n",
		"token": strings.Repeat("t", 32) + "\n", "van-2.key": strings.Repeat("2", 64) + "\n", "van-3.key": strings.Repeat("3", 64) + "\n",
	})
	return w
}

// twoClusters is what every instance of these worlds ends with: numbers that
// fit a busy machine.
const twoClusters = `    clusters:
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
` + twoClusters

// threeRacks adds two vantages elsewhere.
func threeRacks(config string) string {
	return strings.NewReplacer("single_vantage: accept\n", `vantages:
  - {name: van-2, domain: rack-2, key_file: van-2.key, controls: ["tcp://$CONTROL"]}
  - {name: van-3, domain: rack-3, key_file: van-3.key, controls: ["tcp://$CONTROL"]}
`, "socket: s/s", `socket: s/s, listen: "$LISTEN", token_file: token`).Replace(config)
}

// vantage makes the config of a vantage elsewhere and runs it.
func (w *bindWorld) vantage(t *testing.T, name, config string) *child {
	t.Helper()
	out := w.verb(t, exitOK, "config", "vantage", name, "-c", config)
	file := filepath.Join(filepath.Dir(config), name+".yaml")
	writeFiles(t, w.dir, map[string]string{file: out})
	return w.start(t, "vantage", "-c", file)
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
	w.readsAt(t, "bind", times)
}

func (w *bindWorld) readsAt(t *testing.T, provider string, times int) {
	t.Helper()
	last, count := map[failover.RecordName]time.Time{}, map[failover.RecordName]int{}
	w.until(t, "reads of the name", func(v failover.View) bool {
		enough := true
		for _, n := range v.Names {
			if n.Provider != provider {
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
