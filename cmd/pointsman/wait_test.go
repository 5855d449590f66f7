package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

// desk is a controller in memory that replies and shows what the test says.
type desk struct {
	mu      sync.Mutex
	view    failover.View
	reply   failover.Reply
	changed chan struct{}
	socket  string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	dir, err := os.MkdirTemp("", "desk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return &desk{
		changed: make(chan struct{}), socket: filepath.Join(dir, "s"),
		view:  failover.View{Instance: "orders", Active: "a", Standby: "b", Leading: true, Phase: failover.PhaseIdle},
		reply: failover.Reply{Code: failover.ReplyStarted, Text: "started", OpID: "op-1"},
	}
}

func (d *desk) show(f func(*failover.View)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(&d.view)
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *desk) Names() []failover.InstanceName { return []failover.InstanceName{"orders"} }

func (d *desk) Sketch(n failover.InstanceName) (failover.View, bool) { return d.View(n) }

func (d *desk) View(failover.InstanceName) (failover.View, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.view, true
}

func (d *desk) Changed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

func (d *desk) Explain(context.Context, failover.InstanceName) (failover.Explanation, error) {
	return failover.Explanation{}, nil
}

func (d *desk) Plan(context.Context, failover.InstanceName, failover.Command) (failover.Plan, error) {
	return failover.Plan{}, nil
}

func (d *desk) Do(context.Context, failover.InstanceName, failover.Command) (failover.Reply, error) {
	return d.reply, nil
}

func (d *desk) Audit(context.Context, api.Query) ([]api.AuditLine, error)  { return nil, nil }
func (d *desk) VerifyChain(context.Context) error                          { return nil }
func (d *desk) History(context.Context, api.Query) ([]api.Sample, error)   { return nil, nil }
func (d *desk) Probes(context.Context, api.Query) ([]api.ProbeLine, error) { return nil, nil }
func (d *desk) Live() error                                                { return nil }
func (d *desk) Ready() []api.Condition                                     { return nil }

// open serves the desk until the returned function is called.
func (d *desk) open(t *testing.T) (shut func()) {
	t.Helper()
	srv, err := api.New(api.Config{Socket: d.socket, Instances: d, Decisions: d, Audit: d, History: d, Probes: d, Health: d})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx) }()
	var once sync.Once
	shut = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(shut)
	return shut
}

// order runs a command line against the desk.
func (d *desk) order(ctx context.Context, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, env: func(string) string { return "" }, stderrTTY: true}
	status = a.run(ctx, append(args, "--socket", d.socket))
	return status, out.String(), errs.String()
}

func opAt(step failover.StepName) *failover.Op {
	return &failover.Op{ID: "op-1", Kind: failover.Switchover, Step: step, From: "a", To: "b"}
}

func ended(o failover.Outcome) func(*failover.View) {
	return func(v *failover.View) {
		v.Op, v.LastOp = nil, &failover.OpSummary{Op: *opAt(failover.StepSettle), Outcome: o, At: time.Now(), Why: "because"}
		if o == failover.Settled {
			v.Active = "b"
		}
	}
}

func TestTheEndOfTheOperationDecidesTheStatus(t *testing.T) {
	for outcome, want := range map[failover.Outcome]int{
		failover.Settled: exitOK, failover.Unwound: exitError, failover.Yielded: exitNotLeading,
	} {
		d := newDesk(t)
		d.open(t)
		d.show(ended(outcome))
		status, out, errs := d.order(t.Context(), "switchover", "orders", "--yes")
		if status != want || !strings.Contains(out, string(outcome)) {
			t.Errorf("%s: status %d, %q, %q", outcome, status, out, errs)
		}
		if (want != 0) != strings.Contains(errs, "hint: ") {
			t.Errorf("%s: %q", outcome, errs)
		}
	}
}

func TestNoWaitReturnsAtOnce(t *testing.T) {
	d := newDesk(t)
	d.open(t)
	if status, out, _ := d.order(t.Context(), "switchover", "orders", "--yes", "--no-wait"); status != exitOK || out != "started\n" {
		t.Errorf("status %d, %q", status, out)
	}
}

func TestWaitingShowsStepsAndSurvivesARestart(t *testing.T) {
	d := newDesk(t)
	shut := d.open(t)
	d.show(func(v *failover.View) { v.Op, v.Phase = opAt(failover.StepMove), failover.PhaseOp })
	moving := make(chan struct{})
	var once sync.Once
	errs := &growing{want: "  move", found: func() { once.Do(func() { close(moving) }) }}
	var out bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: errs, env: func(string) string { return "" }, stderrTTY: true}
	got := make(chan int, 1)
	go func() {
		got <- a.run(context.Background(), []string{"switchover", "orders", "--yes", "--socket", d.socket})
	}()
	select {
	case <-moving:
	case <-time.After(patience):
		t.Fatalf("the step is not shown: %q", errs.text())
	}
	shut() // the controller ends in the middle of it
	d.show(ended(failover.Settled))
	d.open(t)
	select {
	case status := <-got:
		if status != exitOK || !strings.Contains(out.String(), "settled") {
			t.Errorf("status %d, %q", status, out.String())
		}
	case <-time.After(patience):
		t.Fatal("it waits for ever")
	}
}

func TestWaitingEndsAndSaysThatTheOperationGoesOn(t *testing.T) {
	d := newDesk(t)
	d.open(t)
	d.show(func(v *failover.View) {
		v.Op, v.Phase = opAt(failover.StepConfirm), failover.PhaseOp
		v.Op.Held = &failover.Held{Why: "no proof"}
	})
	status, _, errs := d.order(t.Context(), "switchover", "orders", "--yes", "--timeout", "2s")
	if status != exitError || !strings.Contains(errs, "has not ended after 2s") || !strings.Contains(errs, "held at confirm") {
		t.Errorf("status %d, %q", status, errs)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, context.Canceled)
	defer cancel()
	if status, _, errs := d.order(ctx, "switchover", "orders", "--yes"); status != exitError || !strings.Contains(errs, "hint: ") {
		t.Errorf("interrupted: status %d, %q", status, errs)
	}
}

func TestAnotherOperationIsNotTakenForOurs(t *testing.T) {
	d := newDesk(t)
	d.open(t)
	d.show(func(v *failover.View) { v.Op, v.Phase = opAt(failover.StepMove), failover.PhaseOp; v.Op.ID = "op-2" })
	status, _, errs := d.order(t.Context(), "switchover", "orders", "--yes")
	if status != exitError || !strings.Contains(errs, "op-2 is in hand since") {
		t.Errorf("status %d, %q", status, errs)
	}
}

func TestRepliesBecomeStatusesOnTheCommandLine(t *testing.T) {
	d := newDesk(t)
	d.open(t)
	for code, want := range map[failover.ReplyCode]int{
		failover.ReplyDone: exitOK, failover.ReplyNothing: exitOK, failover.ReplyRefused: exitRefused, failover.ReplyStale: exitRefused,
		failover.ReplyNotLeading: exitNotLeading, failover.ReplyBad: exitError,
	} {
		d.reply = failover.Reply{Code: code, Guard: "drift", Text: "said"}
		for _, args := range [][]string{
			{"ack", "orders"},
			{"abort", "orders"},
			{"resume", "orders"},
			{"pause", "orders", "--reason", "r"},
			{"disarm", "orders"},
			{"arm", "orders", "--mode", "auto", "--yes"},
			{"adopt", "orders", "--yes"},
			{"restore", "orders", "--yes"},
			{"switchover", "orders", "--yes"},
			{"failover", "orders", "--to", "b", "--yes"},
		} {
			if status, out, errs := d.order(t.Context(), args...); status != want {
				t.Errorf("%v with %s: status %d, want %d (%q, %q)", args, code, status, want, out, errs)
			}
		}
	}
}

func TestStatusWatchDrawsAnewAfterEachChange(t *testing.T) {
	d := newDesk(t)
	d.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	out := &growing{want: "\norders    b", found: cancel}
	a := &app{stdout: out, stderr: &bytes.Buffer{}, env: func(string) string { return "" }}
	done := make(chan int, 1)
	go func() { done <- a.run(ctx, []string{"status", "orders", "-w", "10ms", "--socket", d.socket}) }()
	for !out.has("\norders    a") {
		time.Sleep(5 * time.Millisecond)
	}
	d.show(ended(failover.Settled))
	select {
	case status := <-done:
		if status != exitOK {
			t.Errorf("status %d", status)
		}
	case <-time.After(patience):
		t.Fatalf("the change did not come: %q", out.text())
	}
}

// growing calls found once the text that it takes has want in it.
type growing struct {
	mu    sync.Mutex
	b     bytes.Buffer
	want  string
	found func()
}

func (g *growing) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, err := g.b.Write(p)
	if strings.Contains(g.b.String(), g.want) {
		g.found()
	}
	return n, err
}

func (g *growing) text() string { g.mu.Lock(); defer g.mu.Unlock(); return g.b.String() }

func (g *growing) has(s string) bool { return strings.Contains(g.text(), s) }

func TestAnOperationThatTheReplyDoesNotNameIsFoundOrAnError(t *testing.T) {
	d := newDesk(t)
	d.reply.OpID = ""
	d.open(t)
	began := time.Now()
	status, _, errs := d.order(t.Context(), "switchover", "orders", "--yes")
	if status != exitError || !strings.Contains(errs, "does not say which") || !strings.Contains(errs, "\nhint: ") || time.Since(began) > time.Minute {
		t.Errorf("nothing was started: %d %q after %s", status, errs, time.Since(began))
	}
	a := &app{stderr: &bytes.Buffer{}}
	if _, err := a.waitForOp(t.Context(), nil, "orders", "", time.Hour); err == nil {
		t.Error("it waited for an operation without an id")
	}
	c, err := api.NewClient(api.ClientConfig{Socket: d.socket})
	if err != nil {
		t.Fatal(err)
	}
	d.show(ended(failover.Settled))
	if id, err := startedSince(t.Context(), c, "orders", ""); id != "op-1" || err != nil {
		t.Errorf("ended within the turn: %q, %v", id, err)
	}
	if id, err := startedSince(t.Context(), c, "orders", "op-1"); err == nil {
		t.Errorf("an operation of before was taken for the new one: %q", id)
	}
	d.show(func(v *failover.View) { v.Op = opAt(failover.StepConfirm); v.Op.ID = "op-2" })
	if id, err := startedSince(t.Context(), c, "orders", "op-1"); id != "op-2" || err != nil {
		t.Errorf("in hand: %q, %v", id, err)
	}
}

func TestWaitingForAControllerThatIsGoneSaysSo(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	shut := d.open(t)
	d.show(func(v *failover.View) { v.Phase, v.Op = failover.PhaseOp, opAt(failover.StepMove) })
	var out, errs safeBuffer
	a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, env: func(string) string { return "" }} // no terminal
	status := make(chan int, 1)
	go func() {
		status <- a.run(t.Context(), []string{"switchover", "orders", "--yes", "--timeout", "4s", "--socket", d.socket})
	}()
	time.AfterFunc(500*time.Millisecond, shut)
	if got := <-status; got == exitOK {
		t.Errorf("status %d", got)
	}
	text := errs.String()
	if n := strings.Count(text, "not reached since"); n != 1 {
		t.Errorf("said %d times that it is gone:\n%s", n, text)
	}
	if strings.Contains(text, "it goes on") || !strings.Contains(text, "is not known: the controller at "+d.socket) {
		t.Errorf("the end does not say that nothing is known:\n%s", text)
	}
}
