package main

import (
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/lab"
)

// TestSecondariesInTheLab plays a person: run --secondaries, kill the
// controller, move the name once it is back, Ctrl-C. The client asks unbound,
// which asks the secondaries.
func TestSecondariesInTheLab(t *testing.T) {
	bin := binaries(t)
	dir := filepath.Join(shortTemp(t), "lab")
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	tool := filepath.Join(bin, "pointsman-lab")
	run := exec.Command(tool, "run", "--clusters", "http", "--secondaries", "--dir", dir)
	var out syncBuffer
	run.Stdout, run.Stderr = &out, &out
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }()
	await := func(what string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !strings.Contains(out.String(), what); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				_ = run.Process.Signal(os.Interrupt)
				<-ended
				t.Fatalf("waited in vain for %q in\n%s", what, out.String())
			}
		}
	}
	order := func(args ...string) {
		t.Helper()
		if said, err := exec.Command(tool, append(args, "--dir", dir)...).CombinedOutput(); err != nil {
			t.Errorf("%v: %v: %s", args, err, said)
		}
	}
	await("served by a")
	parts := pids(t, tool, dir)
	for _, name := range []string{"named", "nsd", "knot", "pdns", "unbound"} {
		if parts[name] == 0 || !strings.Contains(out.String(), name+" on 127.0.0.1:") {
			t.Errorf("%s is not there: %v\n%s", name, parts, out.String())
		}
	}
	order("kill", "controller")
	order("kill", "nsd")
	refreshed(t, resolverOf(t, out.String())) // it asked somebody, and the client went on calling
	// A cluster that is slow on a busy machine is no matter of DNS: the client
	// then names the cluster that it was sent to.
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "errors: ") && !strings.Contains(line, "errors: a.lab.test. ") {
			t.Errorf("while the controller was dead the client was told %q:\n%s", line, out.String())
		}
	}
	order("heal")
	// A controller that has just started refuses for three rounds.
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		said, err := exec.Command(filepath.Join(bin, "pointsman"), "switchover", "orders", "--to", "b", "--yes", "-c", filepath.Join(dir, "pointsman.yaml")).CombinedOutput()
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Errorf("switchover: %v: %s", err, said)
			break
		}
	}
	await("served by b")
	parts = pids(t, tool, dir)
	if err := run.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("after Ctrl-C: %v\n%s", err, out.String())
	}
	if len(parts) != 10 {
		t.Errorf("parts %v, want two clusters, a controller, two vantages, four secondaries and a resolver", parts)
	}
	for name, pid := range parts {
		if p, err := os.FindProcess(pid); err == nil && !errors.Is(p.Signal(nilSignal), os.ErrProcessDone) {
			t.Errorf("%s (process %d) outlived the lab", name, pid)
		}
	}
}

var unboundAt = regexp.MustCompile(`unbound on (127\.0\.0\.1:\d+)`)

// resolverOf finds the address of the resolver in what the lab said.
func resolverOf(t *testing.T, said string) string {
	t.Helper()
	m := unboundAt.FindStringSubmatch(said)
	if m == nil {
		t.Fatalf("no resolver in\n%s", said)
	}
	return m[1]
}

// refreshed waits until the resolver has asked for the name anew from now on:
// the TTL of its answer, which counts down, grows.
func refreshed(t *testing.T, resolver string) {
	t.Helper()
	c := dns.Client{Timeout: lab.ResolverPatience}
	last := uint32(math.MaxUint32)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		r, _, err := c.Exchange(new(dns.Msg).SetQuestion("orders.lab.test.", dns.TypeCNAME), resolver)
		if err != nil || len(r.Answer) != 1 {
			t.Fatalf("the resolver: %v %v", r, err)
		}
		ttl := r.Answer[0].Header().Ttl
		if ttl > last {
			return
		}
		last = ttl
	}
	t.Fatal("the resolver did not ask anew")
}
