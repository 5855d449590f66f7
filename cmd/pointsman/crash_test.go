package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"pointsman/internal/api"
	"pointsman/internal/controller"
	"pointsman/internal/failover"
)

// reached are the failpoints that a switchover of names passes, and how often
// each is worth a visit: claims of a new term come first, then intent, move,
// settling. The other points belong to drivers that this world does not have.
var reached = map[string]int{
	"load/before": 1, "load/after": 1,
	"commit/before": 5, "commit/after": 5,
	"read-name/before": 3, "read-name/after": 3,
	"write-name/before": 2, "write-name/after": 2,
	"verify/before": 2, "verify/after": 2,
}

// TestARealProcessSurvivesEveryFailpoint kills, stops, disturbs and delays the
// program before and after each of its side effects, in the middle of a
// switchover of a name of our own and one elsewhere that move together. After
// it, or after a second start, no operation is left open, both names show the
// record's active cluster, no name was ever without a target or at a third
// one, the marks only grew, and the audit chain is whole.
func TestARealProcessSurvivesEveryFailpoint(t *testing.T) {
	t.Parallel()
	for _, name := range controller.Failpoints() {
		driver := strings.HasPrefix(name, "set-gate/") || strings.HasPrefix(name, "drain/") || strings.HasPrefix(name, "cut/") || strings.HasPrefix(name, "run-hooks/") // crash_hooks_test.go visits these
		if _, ok := reached[name]; !ok && !driver {
			t.Errorf("failpoint %s is new: add it here", name)
		}
	}
	bin := failpointBinary(t)
	var g errgroup.Group
	g.SetLimit(8) // they wait most of the time
	for _, fail := range visits(os.Getenv("POINTSMAN_CRASH") == "all") {
		g.Go(func() error {
			t.Run(fail, func(t *testing.T) { newCrash(t, bin).run(t, fail) })
			return nil
		})
	}
	_ = g.Wait()
}

// failpointBinary is the program with its failpoints. It is built once, since
// linking it takes longer than many a test.
func failpointBinary(t *testing.T) string {
	t.Helper()
	bin, err := builtWithFailpoints()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

var builtWithFailpoints = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "failpoint")
	if err != nil {
		return "", err
	}
	atEnd(func() { os.RemoveAll(dir) })
	bin := filepath.Join(dir, "pointsman")
	build := exec.Command("go", "build", "-buildvcs=false", "-tags", "failpoint", "-o", bin, ".")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return bin, nil
})

// visits lists what is to be done where: every kill, and one more action at
// each point in turn; or every action at the first and the last visit; or,
// in short, the first visit only.
func visits(all bool) []string {
	others := []string{"pause", "error", "delay:300ms"}
	var out []string
	for i, point := range slices.Sorted(maps.Keys(reached)) {
		for n := 1; n <= reached[point]; n++ {
			if (underRace || testing.Short()) && n > 1 && !all {
				continue
			}
			out = append(out, fmt.Sprintf("%s#%d=kill", point, n))
			for j, action := range others {
				if all && (n == 1 || n == reached[point]) || n == 1 && j == i%len(others) {
					out = append(out, fmt.Sprintf("%s#%d=%s", point, n, action))
				}
			}
		}
	}
	return out
}

// crash is one world: two clusters, a primary elsewhere, a data directory.
type crash struct {
	bin, dir string
	primary  *primary
	dns      string
	sites    map[string]*site
}

func newCrash(t *testing.T, bin string) *crash {
	t.Helper()
	dir, err := os.MkdirTemp("", "crash") // short: a socket's path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := &crash{bin: bin, dir: dir, primary: newPrimary(t), sites: make(map[string]*site)}
	addrs := make(map[string]string)
	for _, name := range []string{"a", "b"} {
		s := &site{addr: freeAddr(t)}
		s.says.Store(&name)
		if err := s.up(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.down)
		addrs[name], c.sites[name] = s.addr, s
	}
	if c.dns, err = freePort(); err != nil {
		t.Fatal(err)
	}
	r := strings.NewReplacer("$DNS", c.dns, "$CONTROL", c.primary.addr, "$A", addrs["a"], "$B", addrs["b"], "$PRIMARY", c.primary.addr)
	text := strings.NewReplacer("authority:\n", crashProvider+"authority:\n",
		"names: [", `names: [{name: orders.example.com., provider: elsewhere, targets: {a: a.example.com., b: b.example.com.}}, `,
	).Replace(storyConfig)
	for name, text := range map[string]string{"pointsman.yaml": r.Replace(text), "zone.key": zoneSecret} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

const crashProvider = `providers:
  elsewhere:
    type: rfc2136
    server: "$PRIMARY"
    zone: example.com.
    key: {name: ctl., algorithm: hmac-sha256, secret_file: zone.key}
    authorities: ["$PRIMARY"]
`

// start runs the controller until stop is called or it dies.
func (c *crash) start(t *testing.T, fail string) (cmd *exec.Cmd, died <-chan struct{}, log *safeBuffer) {
	t.Helper()
	log = &safeBuffer{}
	cmd = exec.Command(c.bin, "run", "-c", "pointsman.yaml")
	cmd.Dir, cmd.Stderr = c.dir, log
	cmd.Env = append(os.Environ(), "POINTSMAN_FAILPOINT="+fail)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() { defer close(gone); _ = cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-gone
	})
	return cmd, gone, log
}

func end(cmd *exec.Cmd, gone <-chan struct{}) {
	_ = cmd.Process.Signal(os.Interrupt)
	<-gone
}

// verb runs an operator's verb and returns its output.
func (c *crash) verb(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.bin, append(args, "--socket", "s/s")...)
	cmd.Dir = c.dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%v: %w: %s", args, err, errs.String())
	}
	return out.String(), nil
}

// view asks as a verb would, without the price of a process for each look.
func (c *crash) view(ctx context.Context) (failover.View, error) {
	client, err := api.NewClient(api.ClientConfig{Socket: filepath.Join(c.dir, "s", "s")})
	if err != nil {
		return failover.View{}, err
	}
	return client.View(ctx, "orders")
}

// until asks for the view until it is as wanted.
func (c *crash) until(t *testing.T, what string, log *safeBuffer, ok func(failover.View) bool) failover.View {
	t.Helper()
	var v failover.View
	var err error
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if v, err = c.view(t.Context()); err == nil && ok(v) {
			return v
		}
	}
	t.Fatalf("%s did not come: %v\n%+v\n%s", what, err, v, log.String())
	return v
}

// arm takes the names over, as soon as they were read, and lets automation move
// them.
func (c *crash) arm(t *testing.T, log *safeBuffer) {
	t.Helper()
	c.until(t, "a record", log, func(v failover.View) bool {
		if v.Active == "" {
			_, _ = c.verb(t.Context(), "adopt", "orders", "--yes")
		}
		return v.Active != ""
	})
	if _, err := c.verb(t.Context(), "arm", "orders", "--mode", "auto", "--yes"); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
}

func bothUp(v failover.View) bool {
	return len(v.Clusters) == 2 && v.Clusters[0].Verdict == failover.Up && v.Clusters[1].Verdict == failover.Up
}

func atRest(v failover.View) bool {
	return bothUp(v) && v.Phase == failover.PhaseIdle && v.Op == nil && v.Active != ""
}

// bearsTerm wants the names elsewhere to bear the term of this life, at rest.
func bearsTerm(v failover.View) bool {
	for _, n := range v.Names {
		if !n.Embedded && (n.Want != nil || n.Mark.Token.Term != v.Token.Term) {
			return false
		}
	}
	return atRest(v)
}

func (c *crash) run(t *testing.T, fail string) {
	cmd, gone, log := c.start(t, "")
	c.until(t, "both up", log, bothUp)
	c.arm(t, log)
	c.until(t, "rest", log, atRest)
	end(cmd, gone)

	cmd, gone, log = c.start(t, fail)
	if strings.HasSuffix(fail, "=pause") {
		go wake(cmd, gone)
	}
	if strings.HasPrefix(fail, "write-name/") {
		c.ready(t, gone, bearsTerm) // else the move may be the claim, and the first write the last
	}
	c.disturb(t, gone)
	if !strings.Contains(log.String(), "failpoint "+strings.Split(fail, "=")[0]+":") {
		t.Errorf("the failpoint was not reached:\n%s", log)
	}
	if strings.HasSuffix(fail, "=kill") {
		<-gone
		cmd, gone, log = c.start(t, "")
	}
	v := c.until(t, "rest", log, atRest)
	c.check(t, v, log)
	end(cmd, gone)
}

// disturb asks for the switchover as soon as it can be asked for, until it
// is over or the process is dead.
func (c *crash) disturb(t *testing.T, gone <-chan struct{}) {
	t.Helper()
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); {
		select {
		case <-gone:
			return
		default:
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		out, err := c.verb(ctx, "switchover", "orders", "--to", "b", "--yes", "--timeout", "8s")
		cancel()
		if err == nil && strings.Contains(out, "active") {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Error("the switchover was neither done nor cut off")
}

// wake sends SIGCONT to a process that stopped itself, a second after.
func wake(cmd *exec.Cmd, gone <-chan struct{}) {
	for {
		select {
		case <-gone:
			return
		case <-time.After(time.Second):
			_ = cmd.Process.Signal(syscall.SIGCONT)
		}
	}
}

func (c *crash) check(t *testing.T, v failover.View, log *safeBuffer) {
	t.Helper()
	active := string(v.Active)
	values, marks := c.primary.shown()
	if got := values[len(values)-1]; got != active+".example.com." {
		t.Errorf("active is %s, the name elsewhere shows %s", active, got)
	}
	if got := ask("udp", c.dns, "orders.lab.test."); got != active+".lab.test." {
		t.Errorf("active is %s, our own authority shows %s", active, got)
	}
	if len(values) > 2 {
		t.Errorf("the name went %v: more than one move for one command", values)
	}
	for _, x := range values {
		if x != "a.example.com." && x != "b.example.com." {
			t.Errorf("the name once showed %q", x)
		}
	}
	var last failover.Token
	for _, x := range marks {
		m, err := failover.ParseMark(x)
		if err != nil || m.Token.Less(last) {
			t.Errorf("mark %q after %s: %v", x, last, err)
		}
		last = m.Token
	}
	if _, err := c.verb(t.Context(), "audit", "--verify"); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.Logf("%s", log)
	}
}

// safeBuffer may be read while the process writes.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }
