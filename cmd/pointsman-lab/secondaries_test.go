package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSecondariesInTheLab plays a person: run --secondaries, kill the
// controller, move the name once it is back, Ctrl-C. The client asks unbound,
// which asks the secondaries.
func TestSecondariesInTheLab(t *testing.T) {
	bin := binaries(t)
	dir := filepath.Join(shortTemp(t), "lab")
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	tool := filepath.Join(bin, "pointsman-lab")
	run := exec.Command(tool, "run", "--secondaries", "--dir", dir)
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
	time.Sleep(6 * time.Second) // longer than the TTL: unbound must ask somebody, and the client goes on calling
	if strings.Contains(out.String(), "errors:") {
		t.Errorf("the client was not served while the controller was dead:\n%s", out.String())
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
