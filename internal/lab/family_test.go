package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func startPart(t *testing.T, f *Family, spec ChildSpec) ChildState {
	t.Helper()
	if err := f.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	st, _ := f.State(spec.Name)
	return st
}

func TestAChildThatIgnoresSIGTERMIsKilledAfterTheGrace(t *testing.T) {
	f := NewFamily(200 * time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	st := startPart(t, f, partSpec(t.TempDir(), "x", "stubborn"))
	eventually(t, "it has said that it ignores SIGTERM", func() bool { return len(f.Tail("x")) > 0 })
	began := time.Now()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if exists(st.PID) {
		t.Errorf("process %d outlived Run", st.PID)
	}
	if time.Since(began) < 200*time.Millisecond {
		t.Errorf("it was killed without its grace")
	}
}

func TestAStalledChildEndsWithTheFamilyAtOnce(t *testing.T) {
	f := NewFamily(time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	st := startPart(t, f, partSpec(t.TempDir(), "x", "sleeper"))
	if err := f.Stall("x"); err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("a stopped process was never woken to end")
	}
	if exists(st.PID) {
		t.Errorf("process %d outlived Run", st.PID)
	}
	if err := f.Start(t.Context(), partSpec(t.TempDir(), "y", "sleeper")); !errors.Is(err, ErrEnding) {
		t.Errorf("start after the end: %v, want ErrEnding", err)
	}
}

func TestNoOrphanAfterTheSupervisorWasKilled(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "LAB_TEST_PART=supervisor", "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	for s := bufio.NewScanner(out); s.Scan() && s.Text() != "ready"; {
		pid, err := strconv.Atoi(s.Text())
		if err != nil {
			t.Fatalf("supervisor: %s", s.Text())
		}
		pids = append(pids, pid)
	}
	if len(pids) != 2 || !exists(pids[0]) || !exists(pids[1]) {
		t.Fatalf("children %v were not both there", pids)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for _, pid := range pids {
		eventually(t, "child "+strconv.Itoa(pid)+" is gone with its supervisor", func() bool { return !exists(pid) })
	}
}

func TestKillStallResumeAgain(t *testing.T) {
	f := NewFamily(time.Second)
	running(t, f.Run)
	first := startPart(t, f, partSpec(t.TempDir(), "x", "sleeper"))
	want := func(state string) {
		t.Helper()
		if st, _ := f.State("x"); st.State != state {
			t.Errorf("state %q, want %q", st.State, state)
		}
	}
	want(Running)
	if err := f.Start(t.Context(), partSpec(t.TempDir(), "x", "sleeper")); !errors.Is(err, ErrRunning) {
		t.Errorf("a second start: %v, want ErrRunning", err)
	}
	for _, step := range []struct {
		do    func(string) error
		state string
	}{{f.Stall, Stalled}, {f.Resume, Running}, {f.Stall, Stalled}, {f.Kill, Killed}} {
		if err := step.do("x"); err != nil {
			t.Fatal(err)
		}
		want(step.state)
	}
	if exists(first.PID) {
		t.Error("Kill returned before the process was gone")
	}
	if err := f.Stall("x"); !errors.Is(err, ErrNotRunning) {
		t.Errorf("signal to a dead one: %v, want ErrNotRunning", err)
	}
	if err := f.Kill("z"); !errors.Is(err, ErrNoChild) {
		t.Errorf("signal to nobody: %v, want ErrNoChild", err)
	}
	if err := f.Again(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if st, _ := f.State("x"); st.PID == first.PID || st.State != Running {
		t.Errorf("after the second start: %+v", st)
	}
	select {
	case e := <-f.Exits():
		t.Errorf("a kill by the lab was reported as an end by itself: %+v", e)
	default:
	}
}

func TestAnEndByItselfIsReportedWithItsLastLines(t *testing.T) {
	f := NewFamily(time.Second)
	running(t, f.Run)
	var mu sync.Mutex
	var b bytes.Buffer
	spec := partSpec(t.TempDir(), "x", "brief")
	spec.Also = writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return b.Write(p)
	})
	startPart(t, f, spec)
	select {
	case e := <-f.Exits():
		if e.State != Ended || e.PID != 0 || !strings.Contains(e.How, "3") {
			t.Errorf("reported %+v, want ended with status 3", e)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was reported")
	}
	if got, want := strings.Join(f.Tail("x"), "|"), "one|two, without an end"; got != want {
		t.Errorf("last lines %q, want %q", got, want)
	}
	mu.Lock()
	defer mu.Unlock()
	if got, want := b.String(), "x | one\nx | two, without an end\n"; got != want {
		t.Errorf("passed on %q, want %q", got, want)
	}
	if file, _ := os.ReadFile(spec.Log); string(file) != "one\ntwo, without an end" {
		t.Errorf("the file has %q", file)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
