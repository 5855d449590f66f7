package healthcheck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

// live is a prober that runs in a bubble until the test ends it.
type live struct {
	*Prober
	w   *world
	end func()
}

func (w *world) live(t *testing.T, c Config) live {
	t.Helper()
	w.start, w.flying = time.Now(), map[failover.ClusterName]int{}
	c.Vantage = "van-1"
	c.NewProbe = func(tg Target) (Probe, error) {
		if tg.Address == "refused:1" {
			return nil, errors.New("no such probe")
		}
		return func(ctx context.Context) error { return w.probe(ctx, tg) }, nil
	}
	c.OnReport = func(r InstanceReport) {
		w.mu.Lock()
		w.reports = append(w.reports, told{time.Since(w.start), r})
		w.mu.Unlock()
	}
	p, err := NewProber(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return live{p, w, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}}
}

// reload swaps the targets and fails the test when that fails.
func (l live) reload(t *testing.T, ts []Target, controls ...Control) {
	t.Helper()
	if err := l.Reload(Config{Vantage: "van-1", Targets: ts, Controls: controls}); err != nil {
		t.Fatal(err)
	}
}

// said is the newest vote on a cluster of orders.
func (l live) said(t *testing.T, c failover.ClusterName) ClusterReport {
	t.Helper()
	r, _ := l.Latest("orders")
	for _, v := range r.Clusters {
		if v.Cluster == c {
			return v
		}
	}
	t.Fatalf("nothing is said of %s", c)
	return ClusterReport{}
}

// aDead answers for every cluster but a.
func aDead(_ context.Context, tg Target, _ time.Duration) error {
	if tg.Cluster == "a" {
		return errDead
	}
	return nil
}

func TestAReloadKeepsCountHistoryAndSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := (&world{answer: aDead}).live(t, Config{Targets: pair()})
		defer l.end()
		time.Sleep(10 * time.Second)
		first := phase("van-1", pair()[1])
		before, kept := l.said(t, "a"), len(l.History("orders", "a"))
		ts := pair()
		ts[0].RideOut, ts[1].Name = 20*time.Second, "orders.lab.test" // no other question
		other := ts[1]
		other.Instance = "billing"
		l.reload(t, append(ts, other))
		after := l.said(t, "a")
		if after.Vote != failover.Down || after.Misses < before.Misses || *after.FirstMiss < *before.FirstMiss || after.Reason != before.Reason {
			t.Errorf("a was %s with %d misses, and is %s with %d: %s", before.Vote, before.Misses, after.Vote, after.Misses, after.Reason)
		}
		if n := len(l.History("orders", "a")); n < kept {
			t.Errorf("%d of %d observations are kept", n, kept)
		}
		time.Sleep(5 * time.Second)
		for i, at := range l.w.times("b") {
			if (at-first)%time.Second != 0 && at-phase("van-1", other) == 0 {
				t.Errorf("probe %d of b was at %s, off its grid", i, at)
			}
		}
		if b := l.said(t, "b"); b.Vote != failover.Up || *b.UpFor < 13*time.Second {
			t.Errorf("b is %s", b.Vote)
		}
	})
}

// Old misses under new rules would turn the vote; so would an old success
// vouch for an address that was never looked at.
func TestAChangedTargetStartsItsCountAnew(t *testing.T) {
	for name, change := range map[string]func(*Target){
		"address":  func(tg *Target) { tg.Address = "192.0.2.9:80" },
		"check":    func(tg *Target) { tg.Check.Path = "/other" },
		"name":     func(tg *Target) { tg.Name = "other.lab.test." },
		"identity": func(tg *Target) { tg.Identity = "other" },
		"timeout":  func(tg *Target) { tg.Timeout /= 2 },
		"fall":     func(tg *Target) { tg.Count.Fall = 2 },
		"rise":     func(tg *Target) { tg.Count.Rise = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var own atomic.Bool
				w := &world{}
				w.answer = func(ctx context.Context, tg Target, at time.Duration) error {
					if own.Load() {
						return Own(errors.New("too many open files"))
					}
					return aDead(ctx, tg, at)
				}
				l := w.live(t, Config{Targets: pair()})
				defer l.end()
				time.Sleep(10 * time.Second)
				own.Store(true) // no new evidence comes
				kept := len(l.History("orders", "a"))
				ts := pair()
				for i := range ts {
					change(&ts[i])
				}
				l.reload(t, ts)
				for range 2 {
					for _, c := range []failover.ClusterName{"a", "b"} {
						if v := l.said(t, c); v.Vote != failover.Unknown || v.Misses != 0 || v.Hits != 0 || v.UpFor != nil {
							t.Errorf("of %s the vantage says %s with %d misses and %d hits: %s", c, v.Vote, v.Misses, v.Hits, v.Reason)
						}
					}
					time.Sleep(3 * time.Second)
				}
				if n := len(l.History("orders", "a")); n < kept {
					t.Errorf("%d of %d observations are kept", n, kept)
				}
				if r, _ := l.Latest("orders"); r.Generation != Generation(ts) {
					t.Errorf("the generation is %s, want %s", r.Generation, Generation(ts))
				}
				own.Store(false)
				time.Sleep(5 * time.Second)
				check(t, "with new evidence", []any{l.said(t, "a").Vote, l.said(t, "b").Vote}, []any{failover.Down, failover.Up})
			})
		})
	}
}

func TestAFailedReloadChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := (&world{answer: aDead}).live(t, Config{Targets: pair()})
		defer l.end()
		time.Sleep(10*time.Second + time.Millisecond)
		now, before := l.shown, l.said(t, "a")
		bad := pair()
		bad[0].Check.Path, bad[1].Address = "/other", "refused:1"
		for what, c := range map[string]Config{
			"a probe cannot be made":   {Vantage: "van-1", Targets: bad},
			"nothing to probe":         {Vantage: "van-1"},
			"a target twice":           {Vantage: "van-1", Targets: append(pair(), pair()...)},
			"another vantage":          {Vantage: "van-2", Targets: pair()},
			"a control nobody can ask": {Vantage: "van-1", Targets: pair(), Controls: []Control{{"nowhere"}}},
		} {
			if err := l.Reload(c); err == nil {
				t.Errorf("%s: no error", what)
			}
		}
		check(t, "vote and count", fmt.Sprint(l.said(t, "a")), fmt.Sprint(before))
		if l.shown != now || l.shown.byName["orders"].watches[0].gone {
			t.Error("something changed")
		}
	})
}

// Reports and probes of a prober that is reloaded all the time are those of
// one that is left alone.
func TestAnIdenticalReloadDoesNothing(t *testing.T) {
	runs := make([]string, 2)
	for i := range runs {
		synctest.Test(t, func(t *testing.T) {
			controls := []Control{{"192.0.2.9:22"}}
			l := (&world{answer: aDead}).live(t, Config{Targets: pair(), Controls: controls})
			for range 1000 {
				time.Sleep(10 * time.Millisecond)
				if i == 1 {
					l.reload(t, pair(), controls...)
				}
			}
			time.Sleep(5 * time.Millisecond) // off the grid
			l.end()
			slices.SortStableFunc(l.w.probes, func(a, b sent) int {
				return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.cluster, b.cluster))
			})
			runs[i] = fmt.Sprint(l.w.probes, l.Stats())
			last := time.Second
			for _, r := range l.w.reports {
				if r.at-last > 1050*time.Millisecond {
					t.Errorf("no report from %s to %s", last, r.at)
				}
				last = r.at
			}
		})
	}
	if runs[0] != runs[1] {
		t.Errorf("left alone:\n%s\nreloaded:\n%s", runs[0], runs[1])
	}
}

// A target that hangs in the middle of its burst is taken out: its probes end,
// count nowhere and hold up nobody.
func TestTheProbesOfWhatIsGoneAreEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{answer: func(ctx context.Context, tg Target, at time.Duration) error {
			if tg.Cluster == "a" && at > 5*time.Second {
				return silent(ctx, tg, at)
			}
			return nil
		}}
		l := w.live(t, Config{Targets: pair()})
		for most := 0; most < 2; synctest.Wait() { // its re-checks overlap
			time.Sleep(time.Millisecond)
			w.mu.Lock()
			most = w.most
			w.mu.Unlock()
		}
		goroutines, misses := runtime.NumGoroutine(), l.Stats().Misses
		l.reload(t, pair()[1:])
		synctest.Wait()
		if w.flying["a"] != 0 {
			t.Errorf("%d probes of a are under way", w.flying["a"])
		}
		if n := runtime.NumGoroutine(); n >= goroutines {
			t.Errorf("%d goroutines before, %d after", goroutines, n)
		}
		probes := len(w.times("a"))
		time.Sleep(10 * time.Second)
		if n := len(w.times("a")); n != probes || l.Stats().Misses != misses {
			t.Errorf("a was probed %d more times, %d misses were counted", n-probes, l.Stats().Misses-misses)
		}
		r, _ := l.Latest("orders")
		if len(r.Clusters) != 1 || r.Clusters[0].Vote != failover.Up {
			t.Errorf("it says %+v", r.Clusters)
		}
		if l.History("orders", "a") != nil {
			t.Error("the history of what is gone is still there")
		}
		l.reload(t, pair())
		if v := l.said(t, "a"); v.Vote != failover.Unknown || v.Reason != "not probed yet" {
			t.Errorf("back again, a is %s: %s", v.Vote, v.Reason)
		}
		l.reload(t, pair()[1:])
		l.end()
		check(t, "overlaps and workers in use", []int{l.pad.extra, l.pad.busy}, []int{0, 0})
	})
}

// What waits for its turn in a pool that is choked leaves the queue, too.
func TestWhatIsGoneWaitsNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ts []Target
		for i := range 50 {
			tg := pair()[0]
			tg.Instance = failover.InstanceName(fmt.Sprintf("i%d", i))
			ts = append(ts, tg)
		}
		l := (&world{answer: silent}).live(t, Config{Targets: ts, Workers: 3})
		time.Sleep(5 * time.Second)
		if l.Stats().Late == 0 {
			t.Error("the pool was not choked")
		}
		l.reload(t, ts[:2])
		late := l.Stats().Late
		time.Sleep(10 * time.Second)
		check(t, "late since", l.Stats().Late-late, 0)
		l.end()
		if l.pad.ready.n > 2 || len(l.queue) > 2 {
			t.Errorf("%d wait, %d are planned", l.pad.ready.n, len(l.queue))
		}
	})
}

func TestAReloadBeforeRunAndAfterItIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := NewProber(Config{Vantage: "van-1", Targets: pair(), NewProbe: func(Target) (Probe, error) {
			return func(context.Context) error { return nil }, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		other := pair()[:1]
		other[0].Instance = "billing"
		if err := p.Reload(Config{Vantage: "van-1", Targets: other}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := p.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if r, ok := p.Latest("billing"); !ok || r.Clusters[0].Vote != failover.Up {
			t.Errorf("%v %+v", ok, r)
		}
		if _, ok := p.Latest("orders"); ok {
			t.Error("orders was probed")
		}
		if err := p.Reload(Config{Vantage: "van-1", Targets: pair()}); err != nil {
			t.Fatal(err)
		}
	})
}

// A new round moves the turns, and a shorter one at once.
func TestANewRoundHoldsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, _ := single()
		ts[0].Round = time.Hour
		w := &world{answer: healthy}
		l := w.live(t, Config{Targets: ts})
		defer l.end()
		time.Sleep(time.Minute)
		ts, _ = single()
		probes := len(w.times("a"))
		l.reload(t, ts)
		time.Sleep(10 * time.Second)
		if n := len(w.times("a")) - probes; n != 10 {
			t.Errorf("%d probes in ten rounds", n)
		}
		ts, _ = single()
		ts[0].Round = time.Minute
		probes = len(w.times("a"))
		l.reload(t, ts)
		time.Sleep(10 * time.Minute)
		if n := len(w.times("a")) - probes; n < 10 || n > 11 {
			t.Errorf("%d probes in ten rounds", n)
		}
	})
}

// A control that stays goes on vouching; when all are new, nothing is said
// until one was reached.
func TestControlsAreReloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{answer: func(ctx context.Context, tg Target, _ time.Duration) error {
			if tg.Instance == controlInstance {
				time.Sleep(500 * time.Millisecond)
			}
			return nil
		}}
		one, two := Control{"192.0.2.9:22"}, Control{"192.0.2.7:22"}
		l := w.live(t, Config{Targets: pair(), Controls: []Control{one}})
		defer l.end()
		time.Sleep(5 * time.Second)
		l.reload(t, pair(), one, two)
		r, _ := l.Latest("orders")
		check(t, "one stays", r.Sick, "")
		time.Sleep(5 * time.Second)
		l.reload(t, pair(), Control{"192.0.2.7:23"}, Control{"192.0.2.8:23"})
		r, _ = l.Latest("orders")
		check(t, "all are new", r.Sick, "the controls are not checked yet")
		time.Sleep(time.Second)
		r, _ = l.Latest("orders")
		check(t, "reached", r.Sick, "")
	})
}

// What has become forbidden is refused, before the old is given up.
func TestANewAllowListReachesEveryProbe(t *testing.T) {
	tg := target(TCP, "169.254.7.1:9")
	c := Config{Vantage: "van-1", Targets: []Target{tg}, Allow: []netip.Prefix{netip.MustParsePrefix("169.254.7.0/24")}}
	p, err := NewProber(c)
	if err != nil {
		t.Fatal(err)
	}
	c.Allow = nil
	if err := p.Reload(c); !errors.Is(err, ErrForbidden) {
		t.Errorf("got %v", err)
	}
}

// Real sockets, real goroutines, a new config all the time, readers beside.
func TestReloadUnderLoad(t *testing.T) {
	var wrong atomic.Int64
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Cluster", "a") })
	config := func(n, from int) Config {
		c := Config{Vantage: "van-1", Controls: []Control{{address}}, OnReport: func(r InstanceReport) {
			for _, v := range r.Clusters {
				if v.Vote == failover.Down || v.Misses > 0 {
					wrong.Add(1)
				}
			}
		}}
		for i := range n {
			tg := target(HTTP, address)
			tg.Instance, tg.Check.Path = failover.InstanceName(fmt.Sprintf("i%d", from+i)), fmt.Sprintf("/%d", from%3)
			tg.Round, tg.Timeout, tg.Burst = 3*time.Second, 2900*time.Millisecond, 10*time.Millisecond
			tg.Check.Identity.Header, tg.Identity = "X-Cluster", "a"
			c.Targets = append(c.Targets, tg)
		}
		return c
	}
	p, err := NewProber(config(50, 0))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	for i := range 200 {
		if err := p.Reload(config(20+i%30, i%17)); err != nil {
			t.Fatal(err)
		}
		p.Latest("i20")
		p.History("i20", "a")
		p.Stats()
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := wrong.Load(); n > 0 {
		t.Errorf("%d votes or misses against a cluster that is well: %+v", n, p.Stats())
	}
}

func TestAThousandReloadsLeakNothing(t *testing.T) {
	address := listen(t).Addr().String()
	config := func(i int) Config {
		c := Config{Vantage: "van-1"}
		for n := range 20 {
			tg := target(TCP, address)
			tg.Instance, tg.Timeout = failover.InstanceName(fmt.Sprintf("i%d", i%7*10+n)), time.Duration(1+i%3)*time.Second
			c.Targets = append(c.Targets, tg)
		}
		return c
	}
	p, err := NewProber(config(0))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	measure := func() (heap uint64, goroutines int) {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, runtime.NumGoroutine()
	}
	var heap uint64
	var goroutines int
	for i := range 1100 {
		if i == 100 {
			heap, goroutines = measure()
		}
		if err := p.Reload(config(i)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "as few goroutines as before", func() bool { _, n := measure(); return n <= goroutines+1 })
	if after, _ := measure(); after > heap+heap/2+1<<20 {
		t.Errorf("the heap grew from %d to %d bytes", heap, after)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(p.queue) > 20 || len(p.now.byName) != 20 {
		t.Errorf("%d planned, %d instances", len(p.queue), len(p.now.byName))
	}
}

func TestAReloadedReceiverKeepsChallengesAndSequences(t *testing.T) {
	d := newDesk(t).real()
	sign := func(seq uint64, instance failover.InstanceName) []byte {
		r := twoVotes()
		r.Instance = instance
		m := envelope(seq, r)
		m.Challenge = d.peers["van-1"].asks()
		return encoded(t, m)
	}
	post := func(what string, key Key, body []byte, code int) {
		t.Helper()
		if got, text := d.post("van-1", key, body); got != code {
			t.Errorf("%s: got %d %s, want %d", what, got, text, code)
		}
	}
	post("the first", keyOne, sign(1, "orders"), 204)
	captured := sign(5, "orders")
	post("before", keyOne, captured, 204)
	next := ReceiverConfig{
		Vantages:  map[failover.VantageName][]Key{"van-1": {keyTwo, keyOne}, "van-3": {keyOne}},
		Instances: map[failover.InstanceName]time.Duration{"orders": time.Second, "shipping": time.Second},
	}
	bad := next
	bad.Instances = map[failover.InstanceName]time.Duration{"orders": 0}
	if err := d.Reload(bad); err == nil {
		t.Error("a round of 0 was taken")
	}
	post("an instance of the refused config", keyOne, sign(6, "shipping"), 200)
	if err := d.Reload(next); err != nil {
		t.Fatal(err)
	}
	post("a replay of before", keyOne, captured, 409)
	post("the same boot goes on", keyOne, sign(7, "orders"), 204)
	post("with the new key", keyTwo, sign(8, "shipping"), 204)
	post("what is gone", keyOne, sign(9, "billing"), 200)
	if got, _ := d.post("van-2", keyOne, sign(1, "orders")); got != 401 {
		t.Errorf("a vantage that is gone: %d", got)
	}
	next.Vantages = map[failover.VantageName][]Key{"van-1": {keyTwo}}
	if err := d.Reload(next); err != nil {
		t.Fatal(err)
	}
	post("with the old key", keyOne, sign(10, "orders"), 401)
	if len(d.got) != 4 {
		t.Errorf("%d were delivered", len(d.got))
	}
}

func TestAReloadedSenderKeepsBootAndSequence(t *testing.T) {
	one, two, three := newBox(t, asIs), newBox(t, asIs), newBox(t, asIs)
	hang := make(chan struct{})
	hung := newBox(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang })
	})
	defer close(hang)
	config := func(boxes ...*box) SenderConfig {
		c := SenderConfig{Vantage: "van-1", Key: keyOne, Timeout: 10 * time.Second}
		for _, b := range boxes {
			c.Controllers = append(c.Controllers, b.url)
		}
		return c
	}
	s := startSender(t, config(one, two, hung))
	s.Send(made(1))
	for _, b := range []*box{one, two} {
		eventually(t, "delivery", func() bool { _, n := b.last(); return n == 1 })
	}
	boot, seq := s.life.boot, s.life.seq
	if err := s.Reload(config()); err == nil {
		t.Error("no controllers were taken")
	}
	goroutines := runtime.NumGoroutine()
	if err := s.Reload(config(two, three)); err != nil {
		t.Fatal(err)
	}
	if n := runtime.NumGoroutine(); n >= goroutines+2 {
		t.Errorf("%d goroutines before, %d after", goroutines, n)
	}
	s.Send(made(2))
	for _, b := range []*box{two, three} {
		eventually(t, "delivery", func() bool { r, _ := b.last(); return len(r.Clusters) > 0 && r.Clusters[0].Misses == 2 })
	}
	if _, n := one.last(); n != 1 {
		t.Errorf("who is gone got %d reports", n)
	}
	s.life.mu.Lock()
	if s.life.boot != boot || s.life.seq <= seq {
		t.Errorf("boot %s and sequence %d became %s and %d", boot, seq, s.life.boot, s.life.seq)
	}
	s.life.mu.Unlock()
	var lines []string
	for _, l := range s.Stats() {
		lines = append(lines, l.Controller)
	}
	check(t, "lines", lines, []string{two.url, three.url})
	if refused := two.rec.Stats().Refused; refused[RefusedChallenge] > 1 || refused[RefusedReplay] > 0 {
		t.Errorf("who stays refused %v", refused)
	}
	other := config(two)
	other.Vantage = "van-2"
	if err := s.Reload(other); err == nil || !strings.Contains(err.Error(), "cannot become") {
		t.Errorf("another name: %v", err)
	}
}

// The connections of a controller that is gone are closed.
func TestAReloadClosesWhatItLeaves(t *testing.T) {
	b := newBox(t, asIs)
	other := newBox(t, asIs)
	s := startSender(t, SenderConfig{Controllers: []string{b.url}})
	s.Send(made(1))
	eventually(t, "delivery", func() bool { _, n := b.last(); return n == 1 })
	var dials atomic.Int32
	(*s.lines.Load())[0].way.Load().client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	left := (*s.lines.Load())[0]
	if err := s.Reload(SenderConfig{Vantage: "van-1", Key: keyOne, Controllers: []string{other.url}}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-left.done:
	default:
		t.Error("its goroutine goes on")
	}
	left.put(made(2))
	if dials.Load() != 0 {
		t.Error("it was dialled again")
	}
}
