package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pointsman-lab": func() { os.Exit(Main()) }})
}

func TestVerbs(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata"})
}

// binaries builds the real programs, as make build does.
func binaries(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "pointsman/cmd/pointsman", "pointsman/cmd/pointsman-lab")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return dir
}

// TestEndToEnd needs no more than the go tool: it builds the real programs
// once and runs them as people do.
func TestEndToEnd(t *testing.T) {
	bin := binaries(t)
	t.Run("the demo moves the name when it must and only then", func(t *testing.T) { demoEndToEnd(t, bin) })
	t.Run("the demo counts the writes of a client of Tablestore", func(t *testing.T) { tablesEndToEnd(t, bin) })
	t.Run("the demo copies, moves and loses rows, and knows which", func(t *testing.T) { replicatedEndToEnd(t, bin) })
	t.Run("run moves the name and ends every part on interrupt", func(t *testing.T) { runEndToEnd(t, bin) })
	t.Run("bench measures, and no ride-out is cut short", func(t *testing.T) { benchEndToEnd(t, bin) })
	t.Run("bench measures many instances, and calls none down", func(t *testing.T) { manyEndToEnd(t, bin) })
}

// benchEndToEnd measures little, but the real thing. How large a figure is
// depends on the machine; that a ride-out was ridden out does not.
func benchEndToEnd(t *testing.T, bin string) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "pointsman-lab"), "bench", "-o", "json",
		"--only", "ride-out", "--only", "idle", "--rounds", "1", "--ride-out", "1s", "--idle", "1s")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 15 * time.Second
	cmd.Env = append(os.Environ(), "TMPDIR="+shortTemp(t))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("bench: %v\n%s\n%s", err, out.Bytes(), errs.Bytes())
	}
	var report struct {
		OK      bool
		Figures []struct {
			Name    string
			Values  []float64
			Missing string
		}
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil || !report.OK {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	measured := map[string]bool{}
	for _, f := range report.Figures {
		for _, v := range f.Values {
			measured[f.Name] = true
			if v < 0 {
				t.Errorf("%s is %v", f.Name, v)
			}
		}
		measured[f.Name] = measured[f.Name] || f.Missing != "" // where there is no /proc
	}
	for _, name := range []string{"sync_ms", "ride_out_kill_beyond_ms", "ride_out_stall_beyond_ms", "idle_cpu_percent", "idle_memory_mb", "idle_fast_cpu_percent"} {
		if !measured[name] {
			t.Errorf("no %s in\n%s", name, out.Bytes())
		}
	}
	if measured["kill_answered_ms"] {
		t.Error("told a story that nobody asked for")
	}
}

// demoEndToEnd tells two stories with the real controller and vantages: one in
// which the name must not move, and one in which it must.
func demoEndToEnd(t *testing.T, bin string) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "pointsman-lab"), "demo", "--clusters", "http", "-o", "json", "--story", "both-down", "--story", "kill", "--story", "fast-evidence")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // its children must end too
	cmd.WaitDelay = 15 * time.Second
	cmd.Env = append(os.Environ(), "TMPDIR="+shortTemp(t))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("demo: %v\n%s\n%s", err, out.Bytes(), errs.Bytes())
	}
	var report struct {
		OK      bool
		Stories []struct {
			Name, From, To            string
			OK                        bool
			Answered                  *float64 `json:"answered_ms"`
			Decided                   *float64 `json:"decided_ms"`
			Verified                  *float64 `json:"verified_ms"`
			Answers                   int
			Empty, NXDomain, Servfail int
			Wrong                     int
			Evidence                  []string
			Unwatched                 *float64 `json:"unwatched_ms"`
		}
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	if !report.OK || len(report.Stories) != 3 {
		t.Fatalf("report\n%s", out.Bytes())
	}
	both, kill, fast := report.Stories[0], report.Stories[1], report.Stories[2]
	if kill.From != "a" || kill.To != "b" || kill.Answered == nil || kill.Decided == nil || kill.Verified == nil {
		t.Errorf("kill: %+v", kill)
	}
	if both.From != "a" || both.To != "" || both.Answered != nil {
		t.Errorf("both down: %+v", both)
	}
	if evidence := strings.Join(fast.Evidence, "\n"); fast.From != "b" && fast.From != "a" || fast.Answered == nil || fast.Unwatched == nil ||
		!strings.Contains(evidence, `pointsman_held_lost_total at the controller's own vantage: {reason="silent"} +`) ||
		!strings.Contains(evidence, " says down of "+fast.From+": read answer: no answer within ") {
		t.Errorf("fast evidence: %+v", fast)
	}
	for _, s := range report.Stories {
		if s.Answers == 0 || s.Empty+s.NXDomain+s.Servfail+s.Wrong != 0 {
			t.Errorf("%s: %+v", s.Name, s)
		}
	}
}

// tablesEndToEnd tells stories of Tablestore: after a kill the client follows by
// itself, after a switchover it stays until it is built anew, and when keys are
// refused at both clusters nothing moves. Nothing is replicated: the rows of one
// cluster are missing at the other, and every acknowledged row is where it was
// acknowledged.
func tablesEndToEnd(t *testing.T, bin string) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "pointsman-lab"), "demo", "-o", "json", "--story", "kill", "--story", "auth", "--story", "switchover")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // its children must end too
	cmd.WaitDelay = 15 * time.Second
	cmd.Env = append(os.Environ(), "TMPDIR="+shortTemp(t))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("demo: %v\n%s\n%s", err, out.Bytes(), errs.Bytes())
	}
	var report struct {
		OK      bool
		Stories []struct {
			Name, From, To string
			OK             bool
			Evidence       []string
			Client         struct {
				Acknowledged, Errors, Old int
				Rebuilt                   bool
			}
		}
		Writes struct {
			Acknowledged, Errors int
			Sides                []struct {
				Cluster                   string
				Acknowledged, Held, Lacks int
				Unread                    string
			}
			Why []string
		}
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil || !report.OK || len(report.Stories) != 3 || len(report.Writes.Sides) != 2 {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	kill, auth, over := report.Stories[0], report.Stories[1], report.Stories[2]
	if kill.From != "a" || kill.To != "b" || kill.Client.Acknowledged == 0 || kill.Client.Old != 0 || kill.Client.Rebuilt {
		t.Errorf("kill: %+v", kill)
	}
	if auth.To != "" || auth.Client.Errors == 0 || !strings.Contains(strings.Join(auth.Evidence, " "), "auth fault") {
		t.Errorf("auth: %+v", auth)
	}
	if over.From != "b" || over.To != "a" || over.Client.Old == 0 || !over.Client.Rebuilt {
		t.Errorf("switchover: %+v", over)
	}
	a, b := report.Writes.Sides[0], report.Writes.Sides[1]
	if a.Cluster != "a" || a.Acknowledged+b.Acknowledged != report.Writes.Acknowledged || a.Lacks == 0 || b.Lacks == 0 ||
		a.Held < a.Acknowledged || b.Held < b.Acknowledged || a.Unread+b.Unread != "" || len(report.Writes.Why) > 0 {
		t.Errorf("writes: %+v", report.Writes)
	}
}

// replicatedEndToEnd tells the stories of replication: 100,000 rows copied while
// they are changed; a switchover after which nothing differs, and whose way back
// carries rows; a hard failover of which the lost rows are named. In the end
// every acknowledged row is at both clusters, or was named.
func replicatedEndToEnd(t *testing.T, bin string) {
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "pointsman-lab"), "demo", "-o", "json",
		"--story", "replicated-copy", "--story", "replicated-switchover", "--story", "replicated-failover")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // its children must end too
	cmd.WaitDelay = 15 * time.Second
	cmd.Env = append(os.Environ(), "TMPDIR="+shortTemp(t))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("demo: %v\n%s\n%s", err, out.Bytes(), errs.Bytes())
	}
	var report struct {
		OK      bool
		Stories []struct {
			Name, From, To string
			OK             bool
			Evidence       []string
		}
		Writes struct {
			Acknowledged, Lost int
			Replicated         bool
			Rest               bool `json:"at_rest"`
			Named              string
			Why                []string
		} `json:"replicated_writes"`
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil || !report.OK || len(report.Stories) != 3 {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	for i, want := range []string{"rows are the same at both in the end, with their versions", "more were carried back from b to a", "and those are named"} {
		if got := strings.Join(report.Stories[i].Evidence, "\n"); !strings.Contains(got, want) {
			t.Errorf("%s does not say that %s: %s", report.Stories[i].Name, want, got)
		}
	}
	if over, fail := report.Stories[1], report.Stories[2]; over.From != "a" || over.To != "b" || fail.From != "b" || fail.To != "a" {
		t.Errorf("the name went %+v, %+v", over, fail)
	}
	if w := report.Writes; !w.Replicated || !w.Rest || w.Acknowledged == 0 || (w.Lost > 0) != (w.Named != "") || len(w.Why) > 0 {
		t.Errorf("writes: %+v", w)
	}
}

// shortTemp is a temporary folder whose path leaves room for the name of a
// Unix socket, which may have about a hundred bytes in all.
func shortTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		entries, _ := os.ReadDir(dir)
		if len(entries) > 0 && !t.Failed() {
			t.Errorf("the demo left %v behind", entries)
		}
		_ = os.RemoveAll(dir)
	})
	return dir
}

// runEndToEnd plays a person: make run, kill a, Ctrl-C.
func runEndToEnd(t *testing.T, bin string) {
	dir := filepath.Join(shortTemp(t), "lab")
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	tool := filepath.Join(bin, "pointsman-lab")
	run := exec.Command(tool, "run", "--dir", dir)
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
	await("writes go to a")
	parts := pids(t, tool, dir)
	if said, err := exec.Command(tool, "kill", "a", "--dir", dir).CombinedOutput(); err != nil {
		t.Errorf("kill a: %v: %s", err, said)
	}
	await("the name shows b.lab.test.")
	await("writes go to b")
	if said, err := exec.Command(tool, "writes", "--dir", dir).CombinedOutput(); err != nil || !strings.Contains(string(said), "what it holds is not known: read the rows of a: refuses the connection") {
		t.Errorf("writes: %v: %s", err, said)
	}
	if said, err := exec.Command(tool, "rebuild", "--dir", dir).CombinedOutput(); err != nil {
		t.Errorf("rebuild: %v: %s", err, said)
	}
	if err := run.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("after Ctrl-C: %v\n%s", err, out.String())
	}
	if last := out.String(); !strings.Contains(last, "writes: b acknowledged ") || strings.Contains(last, "BROKEN") {
		t.Errorf("it does not end with what has become of the writes:\n%s", last)
	}
	delete(parts, "client") // of the lab's own process
	if len(parts) != 5 {
		t.Errorf("%d parts, want two clusters, a controller and two vantages", len(parts))
	}
	for name, pid := range parts {
		if p, err := os.FindProcess(pid); err == nil && !errors.Is(p.Signal(nilSignal), os.ErrProcessDone) {
			t.Errorf("%s (process %d) outlived the lab", name, pid)
		}
	}
}

func pids(t *testing.T, tool, dir string) map[string]int {
	t.Helper()
	b, err := exec.Command(tool, "status", "-o", "json", "--dir", dir).Output()
	if err != nil {
		t.Fatalf("status: %v", err)
	}
	var parts []struct {
		Name string
		PID  int
	}
	if err := json.Unmarshal(b, &parts); err != nil {
		t.Fatal(err)
	}
	m := map[string]int{}
	for _, p := range parts {
		m[p.Name] = p.PID
	}
	return m
}

func TestAMistakeOnTheLineIsAnsweredByHowItIsWritten(t *testing.T) {
	for _, line := range []string{"slow a", "slow", "flap a b c", "kill", "status x", "status --nothing", "nonsense"} {
		err := run(t.Context(), strings.Fields(line), io.Discard, io.Discard)
		if err == nil || strings.Count(err.Error(), "\nhint: ") != 1 {
			t.Errorf("%s: %v", line, err)
		}
	}
	err := run(t.Context(), []string{"slow", "a"}, io.Discard, io.Discard)
	if err == nil || !strings.HasSuffix(err.Error(), "hint: usage: pointsman-lab slow CLUSTER DELAY [flags]") {
		t.Errorf("slow a: %v", err)
	}
}
