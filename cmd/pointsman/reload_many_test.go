package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pointsman/internal/api"
	"pointsman/internal/config"
	"pointsman/internal/failover"
)

// manyReloaded is how many instances the reload below has: with the race
// detector, which makes all of it ten times dearer, fewer.
func manyReloaded() int {
	if underRace {
		return 300
	}
	return 2_000
}

// crowdOf is a process with many instances, whose clusters count who asks.
type crowdOf struct {
	*testing.T
	*process
	file, text string

	mu    sync.Mutex
	asked map[string]int // probes, by the clients' name

	passed atomic.Int32 // failpoints at which decisions were seen to go on
}

func newCrowdOf(t *testing.T, n int) *crowdOf {
	t.Helper()
	dir, err := os.MkdirTemp("", "many") // short: a socket's path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { control.Close() })
	dns, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	c := &crowdOf{T: t, file: filepath.Join(dir, "pointsman.yaml"), asked: make(map[string]int)}
	answer := func(cluster string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			host, _, _ := strings.Cut(r.Host, ":")
			c.mu.Lock()
			c.asked[host]++
			c.mu.Unlock()
			w.Header().Set("X-Cluster", cluster)
		}))
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	c.write(strings.ReplaceAll(manyConfig(n, dns, control.Addr().String(), answer("a"), answer("b")), "round: 10m", "round: 5s"))
	cfg, err := config.Load(c.file)
	if err != nil {
		t.Fatal(err)
	}
	c.process, err = newProcess(t.Context(), processConfig{Config: cfg, Log: slog.New(slog.DiscardHandler), Fail: c.goesOn, Version: buildVersion()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.process.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the process ended with %v", err)
		}
	})
	return c
}

func (c *crowdOf) write(text string) {
	c.Helper()
	c.text = text
	if err := os.WriteFile(c.file+".new", []byte(text), 0o600); err != nil {
		c.Fatal(err)
	}
	if err := os.Rename(c.file+".new", c.file); err != nil {
		c.Fatal(err)
	}
}

func (c *crowdOf) until(what string, ok func() bool) {
	c.Helper()
	for end := time.Now().Add(2 * patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			c.Fatalf("it did not come: %s", what)
		}
	}
}

// goesOn holds a reload at each of its points until instances were given turns
// and probes came back meanwhile, and looks at every name.
func (c *crowdOf) goesOn(point string) error {
	if !strings.HasPrefix(point, "reload/") {
		return nil
	}
	turns, probes := c.ctl.Stats().Turns, c.prober.Stats().Successes
	for end := time.Now().Add(patience); c.ctl.Stats().Turns < turns+20 || c.prober.Stats().Successes < probes+20; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.Errorf("at %s there were %d turns and %d probes, and then no more", point, c.ctl.Stats().Turns-turns, c.prober.Stats().Successes-probes)
			return nil
		}
	}
	for i := range manyReloaded() {
		if to, ok := c.authority.Shown(nameOf(i)); !ok || to != "a.lab.test." {
			c.Errorf("at %s %s shows %q", point, nameOf(i), to)
		}
	}
	c.passed.Add(1)
	return nil
}

func instanceOf(i int) failover.InstanceName { return failover.InstanceName(fmt.Sprint("orders-", i)) }

func nameOf(i int) failover.RecordName {
	return failover.RecordName(fmt.Sprintf("orders-%d.lab.test.", i))
}

// known is what a process knows of one instance.
type known struct {
	active         failover.ClusterName
	token          failover.Token
	oldest, newest [2]time.Time // probe in the history of each cluster
}

func (c *crowdOf) known(i int) (k known, ok bool) {
	v, there := c.view(instanceOf(i))
	k.active, k.token = v.Active, v.Token
	for n, cluster := range []failover.ClusterName{"a", "b"} {
		h := c.prober.History(instanceOf(i), cluster)
		if !there || len(h) == 0 {
			return known{}, false
		}
		k.oldest[n], k.newest[n] = h[len(h)-1].Sent, h[0].Sent
	}
	return k, true
}

// goesOnFrom says that k is what was known before, and more.
func (k known) goesOnFrom(was known) bool {
	return k.active == was.active && k.token == was.token && !k.oldest[0].After(was.newest[0]) && !k.oldest[1].After(was.newest[1])
}

func (c *crowdOf) reload() api.ReloadReply {
	c.Helper()
	passed := c.passed.Load()
	rep, err := c.reloads.Reload(c.Context(), api.ReloadRequest{By: "t"})
	if err != nil || rep.Result == api.ReloadRefused {
		c.Fatalf("%v %+v", err, rep)
	}
	c.until("the reload", func() bool { return c.reloads.Config().Hash == hashOf(c.text) })
	if n := c.passed.Load() - passed; int(n) != len(reloadPoints) {
		c.Errorf("decisions went on at %d points of %d", n, len(reloadPoints))
	}
	return rep
}

// TestAReloadAmongManyChangesOneAndNothingElse: one line of many instances
// changes, then one instance goes. No name moves, the others keep what was
// measured of them, what is gone is asked no more, and decisions go on at every
// point of both reloads.
func TestAReloadAmongManyChangesOneAndNothingElse(t *testing.T) {
	const other = 7
	n, gone := manyReloaded(), manyReloaded()-1
	c := newCrowdOf(t, n)
	before := make([]known, n)
	look := func() bool {
		for i := range before {
			k, ok := c.known(i)
			if before[i] = k; !ok || k.active != "a" {
				return false
			}
		}
		return true
	}
	same := func(what string) {
		t.Helper()
		lost := 0
		for i := range before {
			if k, ok := c.known(i); !ok || !k.goesOnFrom(before[i]) {
				if lost++; lost < 5 {
					t.Errorf("%s: %s was %+v and is %+v", what, instanceOf(i), before[i], k)
				}
			}
		}
		if lost > 0 {
			t.Errorf("%s: %d of %d did not go on", what, lost, len(before))
		}
	}
	c.until("a look at each", look)
	generation := func(i int) string { r, _ := c.prober.Latest(instanceOf(i)); return r.Generation }
	was, wasNext := generation(other), generation(other+1)
	i := strings.Index(c.text, "name: orders-7\n")
	c.write(c.text[:i] + strings.Replace(c.text[i:], "path: /healthz", "path: /health", 1))
	c.reload()
	same("one line is other")
	c.until("its new check", func() bool {
		return generation(other) != was && generation(other) == c.now.Load().want[instanceOf(other)]
	})
	if generation(other+1) != wasNext {
		t.Error("the check of its neighbour is another one, too")
	}
	if es := reloadsIn(t, c.process); len(es) != 2 || es[1].Instance != instanceOf(other) {
		t.Errorf("the audit has %+v", es)
	}

	c.write(c.text[:strings.Index(c.text, fmt.Sprintf("  - name: orders-%d\n", gone))])
	if !look() {
		t.Error("an instance is gone too early")
	}
	before = before[:gone]
	c.reload()
	same("one is gone")
	if _, ok := c.ctl.Snapshot(instanceOf(gone)); ok || len(c.ctl.Instances()) != n-1 {
		t.Errorf("%d instances are decided about", len(c.ctl.Instances()))
	}
	if _, ok := c.prober.Latest(instanceOf(gone)); ok || c.prober.History(instanceOf(gone), "a") != nil {
		t.Error("what is gone is still probed")
	}
	if left := c.authority.Stats().LeftOver; len(left) != 1 || left[0] != string(nameOf(gone)) {
		t.Errorf("left over are %v", left)
	}
	c.roundOf(n, gone)
}

// roundOf waits until every instance but one was probed twice more, and that
// one not at all.
func (c *crowdOf) roundOf(n, gone int) {
	c.Helper()
	count := func(i int) int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.asked[strings.TrimSuffix(string(nameOf(i)), ".")]
	}
	from := make([]int, n)
	for i := range n {
		from[i] = count(i)
	}
	if from[gone] == 0 {
		c.Fatal("it never was probed")
	}
	c.until("a round", func() bool {
		for i := range n {
			if i != gone && count(i) < from[i]+2 {
				return false
			}
		}
		return true
	})
	if more := count(gone) - from[gone]; more != 0 {
		c.Errorf("what is gone was probed %d times", more)
	}
}
