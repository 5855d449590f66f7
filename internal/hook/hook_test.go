package hook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pointsman/internal/failover"
)

func TestMain(m *testing.M) {
	if file := os.Getenv("HOOK_TEST_CHILD"); file != "" {
		d := Def{Hook: failover.Hook{Name: "gate", When: failover.HookPre, Timeout: time.Minute}, Command: []string{file}}
		r, err := New(config(d))
		if err != nil {
			panic(err)
		}
		_, _ = r.Run(context.Background(), "orders", order(failover.HookPre, d))
		return
	}
	goleak.VerifyTestMain(m)
}

var errDenied = errors.New("denied")

// config is one of the instance orders with these hooks.
func config(ds ...Def) Config {
	return Config{
		Controller: "ctl-1", Hooks: map[failover.InstanceName][]Def{"orders": ds},
		Program:   func(string) error { return nil },
		Forbidden: func(netip.Addr) error { return nil },
	}
}

func order(when failover.HookWhen, ds ...Def) failover.RunHooks {
	a := failover.RunHooks{When: when, Attempt: 3, Op: failover.HookOp{
		ID: "orders-7.12", Kind: failover.Failover, From: "a", To: "b", Auto: true, By: "ann", Reason: "a is\ndown \x1b[31m",
		Since: time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC), Evidence: []string{"a is down"},
	}}
	for _, d := range ds {
		a.Hooks = append(a.Hooks, d.Hook)
	}
	return a
}

func runner(t *testing.T, cfg Config) *Runner {
	t.Helper()
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// script is a hook that runs the text in a shell.
func script(t *testing.T, text string, change ...func(*Def)) Def {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	d := Def{Hook: failover.Hook{Name: "gate", When: failover.HookPre, Timeout: time.Minute}, Command: []string{file, "one", "two words"}}
	for _, f := range change {
		f(&d)
	}
	return d
}

func within(limit time.Duration) func(*Def) { return func(d *Def) { d.Timeout = limit } }

func after(d *Def) { d.When = failover.HookPost }

func named(name string) func(*Def) { return func(d *Def) { d.Name = name } }

// one runs a single hook and returns what it said.
func one(t *testing.T, d Def) failover.HookResult {
	t.Helper()
	res, err := runner(t, config(d)).Run(t.Context(), "orders", order(d.When, d))
	if err != nil || len(res) != 1 || res[0].Name != d.Name {
		t.Fatalf("%+v, %v", res, err)
	}
	return res[0]
}

func TestACommandAnswersByItsExit(t *testing.T) {
	for text, want := range map[string]failover.HookResult{
		"exit 0":                               {Verdict: "pass"},
		"echo ' fine,  really '; echo; echo x": {Verdict: "pass", Reason: "fine, really x"},
		"echo the books are open; exit 10":     {Verdict: "veto", Reason: "the books are open"},
		"exit 10":                              {Verdict: "veto"},
		"echo out; echo err >&2; exit 1":       {Verdict: "error", Reason: "exit 1: err"},
		"echo out; exit 3":                     {Verdict: "error", Reason: "exit 3: out"},
		"exit 255":                             {Verdict: "error", Reason: "exit 255"},
		"kill -9 $$":                           {Verdict: "error", Reason: "ended by a signal: killed"},
		"printf 'a\\033[2Jb\\000c\\377d\\n'":   {Verdict: "pass", Reason: "a[2Jbcd"},
		"exec 0<&-; exit 0":                    {Verdict: "pass"},
		"[ \"$2\" = 'two words' ] && [ $# = 2 ] && [ $(pwd) = / ]": {Verdict: "pass"},
	} {
		got := one(t, script(t, text))
		if got.Took <= 0 {
			t.Errorf("%s: it took %s", text, got.Took)
		}
		got.Took, got.Name = 0, ""
		if got != want {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
	if got := one(t, script(t, "echo no; exit 10", after)); got.Verdict != failover.HookBroken || got.Reason != "exit 10: no" {
		t.Errorf("a veto after the end: %+v", got)
	}
}

// TestTheEnvironmentIsWhatTheContractSays, and nothing of ours.
func TestTheEnvironmentIsWhatTheContractSays(t *testing.T) {
	t.Setenv("POINTSMAN_TOKEN_FILE", "/secret")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	file := filepath.Join(t.TempDir(), "env")
	for _, when := range []func(*Def){func(*Def) {}, after} {
		if got := one(t, script(t, "env > "+file, when)); got.Verdict != failover.HookPassed {
			t.Fatalf("%+v", got)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		env := map[string]string{}
		for line := range strings.Lines(string(data)) {
			k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			env[k] = v
		}
		for _, k := range []string{"PWD", "_", "SHLVL", "OLDPWD"} { // of the shell itself
			delete(env, k)
		}
		d := script(t, "", when)
		want := Variables()
		if d.When == failover.HookPre {
			want = slices.DeleteFunc(want, func(k string) bool { return k == "POINTSMAN_OUTCOME" || k == "POINTSMAN_WHY" })
		}
		want = append(want, "PATH", "LANG", "HOME")
		for k := range env {
			if !slices.Contains(want, k) {
				t.Errorf("%s is in the environment", k)
			}
		}
		for _, k := range want {
			if _, ok := env[k]; !ok {
				t.Errorf("%s is missing", k)
			}
		}
		for k, v := range map[string]string{
			"HOOK_VERSION": "1", "HOOK": "gate", "ID": "orders-7.12/" + string(d.When) + "/gate/3", "WHEN": string(d.When), "ATTEMPT": "3", "TEST": "false",
			"CONTROLLER": "ctl-1", "INSTANCE": "orders", "OP": "orders-7.12", "KIND": "failover", "FROM": "a", "TO": "b", "AUTO": "true",
			"BY": "ann", "REASON": "a is down [31m", "SINCE": "2026-11-23T03:00:00Z",
		} {
			if env["POINTSMAN_"+k] != v {
				t.Errorf("%s is %q, want %q", k, env["POINTSMAN_"+k], v)
			}
		}
		if end, err := time.Parse(time.RFC3339Nano, env["POINTSMAN_DEADLINE"]); err != nil || time.Until(end) > d.Timeout {
			t.Errorf("deadline %v, %v", end, err)
		}
	}
}

// TestTheContractListsEveryVariable that a command gets, and no other.
func TestTheContractListsEveryVariable(t *testing.T) {
	doc, err := os.ReadFile("../../docs/hooks.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(string(doc)) {
		if strings.HasPrefix(line, "| `POINTSMAN_") {
			for _, w := range strings.Split(strings.SplitN(line, "|", 3)[1], ",") {
				rows = append(rows, strings.Trim(w, " `"))
			}
		}
	}
	slices.Sort(rows)
	want := Variables()
	slices.Sort(want)
	if !slices.Equal(rows, want) {
		t.Errorf("documented %v\nset        %v", rows, want)
	}
	for _, h := range []string{HeaderID, HeaderTimestamp, HeaderSignature} {
		if !strings.Contains(string(doc), "`"+h+"`") {
			t.Errorf("%s is not documented", h)
		}
	}
}

func TestTheBodyIsOnTheStandardInput(t *testing.T) {
	file := filepath.Join(t.TempDir(), "body")
	one(t, script(t, "cat > "+file))
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var b Body
	if err := json.Unmarshal(data, &b); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	if b.Version != 1 || b.ID != "orders-7.12/pre/gate/3" || b.Op.To != "b" || b.Op.Evidence[0] != "a is down" || b.Test || b.Instance != "orders" {
		t.Errorf("body %+v", b)
	}
}

// TestLongOutputIsCutAndNotWaitedFor: what is written beyond the bound is read
// and dropped, and a body that nobody reads is no fault.
func TestLongOutputIsCut(t *testing.T) {
	got := one(t, script(t, "exec <&-; head -c 300000 /dev/zero | tr '\\0' x; exit 10"))
	if got.Verdict != failover.HookVetoed || len(got.Reason) < 4000 || len(got.Reason) > maxReason {
		t.Errorf("%s with %d bytes", got.Verdict, len(got.Reason))
	}
	b := &firstBytes{most: keptOutput}
	for range 1000 { // of a flood no more is in memory
		if n, err := b.Write(make([]byte, 3000)); n != 3000 || err != nil {
			t.Fatal(n, err)
		}
	}
	if len(b.kept) != keptOutput {
		t.Errorf("%d bytes of a flood are kept", len(b.kept))
	}
}

// dead says that the process is gone, or waits for its parent to notice; a
// signal that was sent takes effect a moment later.
func dead(pid string) bool {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		data, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			return true
		}
		if _, rest, _ := strings.Cut(string(data), ") "); strings.HasPrefix(rest, "Z") {
			return true
		}
	}
	return false
}

func pidIn(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// killed runs what never ends until its time is over, and returns the number of
// the process that it names in DIR/pid. On a loaded machine a short time may be
// over before anything has begun: then it gets a longer one.
func killed(t *testing.T, text string) (pid string, limit time.Duration, got failover.HookResult) {
	t.Helper()
	dir := t.TempDir()
	for limit = 300 * time.Millisecond; ; limit *= 2 {
		got = one(t, script(t, strings.ReplaceAll(text, "DIR", dir), within(limit)))
		if data, err := os.ReadFile(dir + "/pid"); err == nil && strings.HasSuffix(string(data), "\n") {
			return strings.TrimSpace(string(data)), limit, got
		}
		if limit > 20*time.Second {
			t.Fatalf("it did not begin within %s: %+v", limit, got)
		}
	}
}

// soon is far below the minute that the children of these hooks sleep.
const soon = 30 * time.Second

// TestAHookThatNeverEndsIsKilledWithItsGroup, also what ignores SIGTERM and a
// child that holds the output open after its parent has ended.
func TestAHookThatNeverEndsIsKilledWithItsGroup(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"it":          "trap '' TERM INT HUP; echo $$ > DIR/pid; sleep 60 & wait",
		"a child":     "trap '' TERM; sleep 60 & echo $! > DIR/pid; sleep 60",
		"a flood":     "echo $$ > DIR/pid; exec yes",
		"a fork bomb": "for i in 1 2 3 4 5 6 7 8; do sleep 60 & done; echo $! > DIR/pid; wait",
	} {
		pid, limit, got := killed(t, text)
		if got.Verdict != failover.HookBroken || got.Reason != fmt.Sprintf("no answer within %s, killed with its process group", limit) {
			t.Errorf("%s: %+v", name, got)
		}
		if got.Took > limit+soon {
			t.Errorf("%s: it took %s", name, got.Took)
		}
		if !dead(pid) {
			t.Errorf("%s: %s still runs", name, pid)
		}
	}
	began := time.Now()
	got := one(t, script(t, "sleep 60 & echo $! > "+dir+"/pid; echo done"))
	if got.Verdict != failover.HookPassed || got.Reason != "done" || time.Since(began) > soon {
		t.Errorf("a child that outlives it: %+v after %s", got, time.Since(began))
	}
	if pid := pidIn(t, dir+"/pid"); !dead(pid) {
		t.Errorf("%s still runs", pid)
	}
	// One that left the group keeps the pipe, and is not waited for.
	began = time.Now()
	left := strings.ReplaceAll("setsid sh -c 'echo $$ > DIR/new; mv DIR/new DIR/left; exec sleep 60' & while [ ! -s DIR/left ]; do :; done; echo left", "DIR", dir)
	got = one(t, script(t, left))
	if got.Verdict != failover.HookPassed || got.Reason != "left" || time.Since(began) > soon {
		t.Errorf("a daemon: %+v after %s", got, time.Since(began))
	}
	if pid, err := strconv.Atoi(pidIn(t, dir+"/left")); err != nil {
		t.Error(err)
	} else if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("it was not left alone: %v", err)
	}
}

func TestTheEndOfTheLeadEndsAHook(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	d := script(t, "sleep 60")
	d.Timeout = time.Minute
	began := time.Now()
	res, err := runner(t, config(d)).Run(ctx, "orders", order(failover.HookPre, d))
	if err != nil || res[0].Verdict != failover.HookBroken || !strings.HasPrefix(res[0].Reason, "called off") || time.Since(began) > soon {
		t.Errorf("%+v, %v after %s", res, err, time.Since(began))
	}
}

func TestWhatCannotBeRunHasNoVerdict(t *testing.T) {
	d := script(t, "exit 0")
	d.Command[0] += ".gone"
	if got := one(t, d); got.Verdict != failover.HookBroken || !strings.HasSuffix(got.Reason, "no such file or directory") {
		t.Errorf("no program: %+v", got)
	}
	d = script(t, "exit 0")
	cfg := config(d)
	cfg.Program = func(string) error { return errDenied }
	res, _ := runner(t, cfg).Run(t.Context(), "orders", order(failover.HookPre, d))
	if res[0].Verdict != failover.HookBroken || res[0].Reason != "not run: denied" {
		t.Errorf("a file of somebody else: %+v", res)
	}
	res, _ = runner(t, config()).Run(t.Context(), "orders", order(failover.HookPre, d))
	if res[0].Verdict != failover.HookBroken || res[0].Reason != "it is not in the config any more" {
		t.Errorf("one that a reload took: %+v", res)
	}
}

// TestPreHooksEndAtTheFirstThatStops, post-hooks and tests do not.
func TestPreHooksEndAtTheFirstThatStops(t *testing.T) {
	soft := script(t, "exit 3", named("soft"))
	soft.Pass = true
	ds := []Def{script(t, "exit 0", named("one")), soft, script(t, "exit 10", named("two")), script(t, "exit 0", named("three"))}
	r := runner(t, config(ds...))
	words := func(res []failover.HookResult) string {
		var out []string
		for _, x := range res {
			out = append(out, x.Name+" "+string(x.Verdict))
		}
		return strings.Join(out, ", ")
	}
	res, _ := r.Run(t.Context(), "orders", order(failover.HookPre, ds...))
	if got := words(res); got != "one pass, soft error, two veto" {
		t.Errorf("run: %s", got)
	}
	res, _ = r.Test(t.Context(), "orders", order(failover.HookPre, ds...))
	if got := words(res); got != "one pass, soft error, two veto, three pass" {
		t.Errorf("test: %s", got)
	}
	// A test is no run: of the four only the run is counted.
	if s := r.Stats(); !maps.Equal(s.Runs[failover.HookPre], map[failover.HookVerdict]uint64{failover.HookPassed: 1, failover.HookBroken: 1, failover.HookVetoed: 1}) || s.Took[failover.HookPre] <= 0 || len(s.Runs) != 1 {
		t.Errorf("counted %+v", s)
	}
	broken := script(t, "exit 3", named("hard"))
	r = runner(t, config(broken, ds[0]))
	res, _ = r.Run(t.Context(), "orders", order(failover.HookPre, broken, ds[0]))
	if got := words(res); got != "hard error" {
		t.Errorf("no verdict: %s", got)
	}
	for i := range ds {
		ds[i].When = failover.HookPost
	}
	r = runner(t, config(ds...))
	res, _ = r.Run(t.Context(), "orders", order(failover.HookPost, ds...))
	if got := words(res); got != "one pass, soft error, two error, three pass" {
		t.Errorf("after: %s", got)
	}
}

// TestOnlySoManyRunAtOnce: a pre-hook that finds no place in its time has no
// verdict; a post-hook waits for its turn.
func TestOnlySoManyRunAtOnce(t *testing.T) {
	pre, post := script(t, "exit 0", within(200*time.Millisecond)), script(t, "exit 0", after)
	r := runner(t, config(pre, post))
	for range maxPre {
		r.pre <- struct{}{}
	}
	res, _ := r.Run(t.Context(), "orders", order(failover.HookPre, pre))
	if res[0].Verdict != failover.HookBroken || res[0].Reason != "not run: 64 others were running" {
		t.Errorf("no place: %+v", res)
	}
	for range maxPost {
		r.post <- struct{}{}
	}
	time.AfterFunc(300*time.Millisecond, func() { <-r.post })
	began := time.Now()
	res, _ = r.Run(t.Context(), "orders", order(failover.HookPost, post))
	if waited := time.Since(began) - res[0].Took; res[0].Verdict != failover.HookPassed || waited < 250*time.Millisecond {
		t.Errorf("a place after a while: %+v, and it waited for %s", res, waited)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	r.post <- struct{}{}
	res, _ = r.Run(ctx, "orders", order(failover.HookPost, post))
	if res[0].Verdict != failover.HookBroken || res[0].Reason != "not run: 8 others were running" {
		t.Errorf("no place after: %+v", res)
	}
}

func TestBadConfigs(t *testing.T) {
	command := script(t, "exit 0")
	both, neither, unsigned := command, command, command
	both.URL, both.Secret = "http://127.0.0.1/", []byte("x")
	neither.Command = nil
	unsigned.Command, unsigned.URL = nil, "http://127.0.0.1/"
	for want, cfg := range map[string]Config{
		"instance orders: hook gate: wants either a command or a URL": config(both),
		"instance orders: hook gate: has no secret to sign with":      config(unsigned),
		"hooks: nothing says which files and addresses are refused":   {},
	} {
		if _, err := New(cfg); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := runner(t, config()).Set(config(neither)); err == nil {
		t.Error("a hook that calls nothing was taken")
	}
}

func FuzzOneLine(f *testing.F) {
	f.Add("a\nb\x00\x1b[0m\xff")
	f.Add(strings.Repeat("é ", 5000))
	f.Fuzz(func(t *testing.T, s string) {
		got := oneLine(s, 100)
		if len(got) > 100 || strings.ContainsAny(got, "\n\r\t\x00\x1b") || strings.TrimSpace(got) != got {
			t.Fatalf("%q became %q", s, got)
		}
	})
}
