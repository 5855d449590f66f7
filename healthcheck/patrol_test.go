package healthcheck

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// patrolled runs a prober of one target with cheap looks, and one probe at once.
func patrolled(t *testing.T, tg Target, round, every time.Duration) (p *Prober, latest func() ClusterReport) {
	t.Helper()
	tg.Round, tg.Timeout, tg.Burst = round, min(2*time.Second, round/2), 5*time.Millisecond
	tg.Count = failover.CountPolicy{Fall: 3, Rise: 1}
	tg.Check.Tablestore.FrontEvery, tg.Check.Tablestore.FrontTimeout = every, every
	var mu sync.Mutex
	var newest ClusterReport
	p, err := NewProber(Config{
		Vantage: "van-1", Targets: []Target{tg}, ReadKey: twoKeys.read,
		OnReport: func(r InstanceReport) {
			mu.Lock()
			defer mu.Unlock()
			newest = r.Clusters[0]
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	p.nudges <- nudge{tg.Instance, tg.Cluster, LossClosed, time.Now()}
	return p, func() ClusterReport {
		mu.Lock()
		defer mu.Unlock()
		return newest
	}
}

// A dead cluster is met by the cheap look, long before its round.
func TestPatrolMeetsADeadCluster(t *testing.T) {
	a := newAnswers(t, CanaryTable)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: a}
	var wg sync.WaitGroup
	wg.Go(func() { s.Serve(l) })
	t.Cleanup(func() { s.Close(); wg.Wait() })
	p, latest := patrolled(t, tableTarget(l.Addr().String()), time.Hour, 300*time.Millisecond)
	eventually(t, "it is up", func() bool { return latest().Vote == failover.Up && latest().Canary == failover.CanaryOK })
	eventually(t, "looks go well", func() bool { return p.Stats().Front.Well > 2 })
	s.Close()
	eventually(t, "it is down", func() bool { return latest().Vote == failover.Down })
	if r := latest().Reason; !strings.Contains(r, "seen early by a look at the front end") {
		t.Errorf("%s", r)
	}
}

// What answers GET may be something else than what serves clients: then the
// probes say so, and the looks rest.
func TestPatrolThatIsRefutedRests(t *testing.T) {
	a := newAnswers(t, CanaryTable)
	var canaries atomic.Int64
	p, latest := patrolled(t, tableTarget(serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Write([]byte("<html>"))
			return
		}
		canaries.Add(1)
		a.ServeHTTP(w, r)
	})), 500*time.Millisecond, 10*time.Millisecond)
	eventually(t, "the looks rest", func() bool { return p.Stats().Front.Resting == 1 })
	if c := latest(); c.Vote != failover.Up || !strings.Contains(c.Reason, "the newest by a look at the front end") {
		t.Errorf("%s: %s", c.Vote, c.Reason)
	}
	if n := canaries.Load(); n > 40 {
		t.Errorf("%d requests were made for it", n)
	}
}

// The class of a fault of our own stands beside the vote that it makes unknown,
// and goes with it.
func TestVoteTellsTheClassOfAFault(t *testing.T) {
	a := newAnswers(t, CanaryTable)
	var refuse atomic.Bool
	a.say = func(string, string, string, []byte) (int, string, string) {
		if refuse.Load() {
			return 403, "OTSAuthFailed", "The AccessKeyID is disabled."
		}
		return 0, "", ""
	}
	_, latest := patrolled(t, tableTarget(serve(t, a.ServeHTTP)), 500*time.Millisecond, 300*time.Millisecond)
	eventually(t, "it is up", func() bool { return latest().Vote == failover.Up && latest().Fault == "" })
	refuse.Store(true)
	eventually(t, "it is unknown", func() bool {
		c := latest()
		return c.Vote == failover.Unknown && c.Fault == failover.FaultKey && c.Canary == failover.CanaryBad
	})
	refuse.Store(false)
	eventually(t, "it is up again", func() bool {
		c := latest()
		return c.Vote == failover.Up && c.Fault == "" && c.Canary == failover.CanaryOK
	})
}

func TestMissingKeysAreNamedOnce(t *testing.T) {
	a, b := tableTarget("192.0.2.1:80"), tableTarget("192.0.2.2:80")
	b.Check.Tablestore.ClientKey = "absent.key"
	c := Config{Vantage: "van-1", Targets: []Target{a, b}, ReadKey: twoKeys.read}
	if got := c.KeysMissing(); len(got) != 1 || !strings.Contains(got[0], "absent.key: no such file") {
		t.Errorf("%q", got)
	}
	c.ReadKey = keyFiles{"prober.key": "secret text", "absent.key": twoKeys["client.key"]}.read
	if got := c.KeysMissing(); len(got) != 1 || !strings.Contains(got[0], "prober.key: no access key") || strings.Contains(got[0], "secret text") {
		t.Errorf("%q", got)
	}
}

// A reload that changes a key file alone makes the probe anew: it would read
// the old file for ever.
func TestReloadTakesAnotherKeyFile(t *testing.T) {
	a := newAnswers(t, CanaryTable)
	tg := tableTarget(serve(t, a.ServeHTTP))
	c := Config{Vantage: "van-1", Targets: []Target{tg}, ReadKey: twoKeys.read}
	p, err := NewProber(c)
	if err != nil {
		t.Fatal(err)
	}
	was := p.now.instances[0].watches[0]
	c.Targets = []Target{tg}
	c.Targets[0].Check.Tablestore.ServiceKey = "client.key"
	if err := p.Reload(c); err != nil {
		t.Fatal(err)
	}
	is := p.now.instances[0].watches[0]
	if is != was {
		t.Error("what was counted is lost")
	}
	if err := is.probe(t.Context()); err != nil || a.seen[0] != "PutRow pointsman_canary LTAIclient" {
		t.Errorf("%v, asked %q", err, a.seen)
	}
	if Generation([]Target{tg}) != Generation(c.Targets) {
		t.Error("the path of a key is part of the generation")
	}
	c.Targets[0].Check.Tablestore.ClientKey = "client.key"
	if Generation([]Target{tg}) == Generation(c.Targets) {
		t.Error("whether there is a client key is no part of the generation")
	}
}
