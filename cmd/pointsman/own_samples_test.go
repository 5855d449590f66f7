package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestTheEmbeddedSampleRuns: with other addresses, folder and preset.
func TestTheEmbeddedSampleRuns(t *testing.T) {
	t.Parallel()
	w, own := ownSample(t, "embedded.yaml", "127.0.0.1:5353", "lab.test.")
	w.answered(t, own, "orders.lab.test.", "127.0.1.1")
	w.a.kill()
	w.until(t, "b", settledAt("b"))
	w.answered(t, own, "orders.lab.test.", "127.0.1.2")
}

// TestSecondariesTheDelegatedSampleRuns: a client comes by the alias, over unbound.
// The owner of example.com wrote it once into a BIND to which nobody has a key;
// nothing there has changed when the client arrives at the other cluster.
func TestSecondariesTheDelegatedSampleRuns(t *testing.T) {
	t.Parallel()
	w, own := ownSample(t, "delegated.yaml", "127.0.0.1:5354", "svc.example.com.")
	bind := runNamed(t, map[string]string{"example.com.zone": "$TTL 3600\n@ IN SOA ns1 h 1 300 60 604800 30\n@ IN NS ns1\nns1 IN A 127.0.0.1\n" +
		"orders IN CNAME orders.svc\nsvc IN NS ns1.svc\nns1.svc IN A 127.0.0.1\n"}, func(port, dir string) string { return namedConf(port, dir, "") })
	serial := bind.serial(t)
	front := resolving(t, map[string]string{"example.com": bind.addr, "svc.example.com": own})
	w.answered(t, front, "orders.example.com.", "127.0.1.1")
	w.a.kill()
	w.until(t, "b", settledAt("b"))
	w.answered(t, front, "orders.example.com.", "127.0.1.2")
	if got := bind.serial(t); got != serial {
		t.Errorf("the zone of the alias went from %d to %d", serial, got)
	}
}

// ownSample runs a sample whose name this program serves itself, and arms it. It
// returns the address of the authority.
func ownSample(t *testing.T, file, listen, zone string) (*bindWorld, string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../configs", file))
	if err != nil {
		t.Fatal(err)
	}
	w := &bindWorld{dir: shortDir(t, "own"), a: startBackend(t, "127.0.1.1", "a"), b: startBackend(t, "127.0.1.2", "b")}
	own := freeAddr(t)
	writeFiles(t, w.dir, map[string]string{"pointsman.yaml": replaced(t, string(text), map[string]string{
		listen: own, "127.0.0.1:18081": w.a.addr, "127.0.0.1:18082": w.b.addr, "preset: stateless-http": "preset: fast-lab",
		"data: ../run/" + strings.TrimSuffix(file, ".yaml"): "data: data\n  socket: s/s",
		"a." + zone + ": [127.0.0.1]":                       "a." + zone + ": [127.0.1.1]",
		"b." + zone + ": [127.0.0.1]":                       "b." + zone + ": [127.0.1.2]",
	})})
	wantIn(t, w.verb(t, exitOK, "config", "validate", "-c", "pointsman.yaml"), "pointsman.yaml is good")
	w.run(t)
	w.until(t, "both up", bothUp)
	w.verb(t, exitOK, "arm", "orders", "--mode", "auto", "--yes")
	return w, own
}

// answered waits until a client that asks there is led to the address.
func (w *bindWorld) answered(t *testing.T, at, name, want string) {
	t.Helper()
	within(t, 2*patience, name+" at "+want, func() bool {
		c := dns.Client{Timeout: time.Second}
		r, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), at)
		if err != nil || len(r.Answer) == 0 {
			return false
		}
		a, ok := r.Answer[len(r.Answer)-1].(*dns.A)
		return ok && a.A.String() == want
	})
}

// resolving runs unbound, which asks the given server for each of the zones, and
// returns its address.
func resolving(t *testing.T, zones map[string]string) string {
	t.Helper()
	s := &secondary{kind: "unbound", addr: freeAddr(t), dir: t.TempDir(), log: &safeBuffer{}}
	conf := fmt.Sprintf("server:\n\tdirectory: %q\n\tchroot: \"\"\n\tusername: \"\"\n\tpidfile: \"\"\n\tuse-syslog: no\n\tinterface: 127.0.0.1@%s\n\tnum-threads: 1\n"+
		"\tmodule-config: \"iterator\"\n\tdo-not-query-localhost: no\nremote-control:\n\tcontrol-enable: no\n", s.dir, port(s.addr))
	for zone, at := range zones {
		conf += fmt.Sprintf("stub-zone:\n\tname: %q\n\tstub-addr: 127.0.0.1@%s\n", zone, port(at))
	}
	writeFiles(t, s.dir, map[string]string{"conf": conf})
	s.command = []string{"unbound", "-d", "-c", filepath.Join(s.dir, "conf")}
	s.up(t)
	return s.addr
}
