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
	"strings"
	"sync"
	"testing"
	"time"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

// This file is what every world with real DNS servers has: folders, free
// addresses, two clusters, and the program that runs among them.

// shortDir is a folder for sockets, whose paths have 107 bytes at most.
func shortDir(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// freeAddr is an address that nobody has yet, see freePort.
func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// controlAt answers TCP, which tells a vantage that its network is well.
func controlAt(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
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
	_, port, _ := net.SplitHostPort(freeAddr(t)) // it is killed and comes up again
	b := &backend{addr: net.JoinHostPort(host, port), name: name}
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
// printed: stdout, then stderr. See patiently.
func (w *bindWorld) verb(t *testing.T, want int, args ...string) string {
	t.Helper()
	code, said := patiently(want, func() (int, string) { return w.try(t, args...) })
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

// eventually polls until ok, within the patience of a story.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	within(t, patience, what, ok)
}

func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s did not come within %s", what, limit)
		}
	}
}
