package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

var errDead = errors.New("connection refused")

// world runs a prober on in-memory probes inside a bubble and writes down
// when it probed and what it reported.
type world struct {
	start time.Time
	// answer plays the cluster or, for a control, the network.
	answer func(ctx context.Context, t Target, at time.Duration) error
	begin  func(*Prober) // before it runs, may be nil
	looked func(Target)  // at each probe, under the mutex; may be nil

	mu      sync.Mutex
	flying  map[failover.ClusterName]int
	most    int // probes of one target in flight at a time
	probes  []sent
	reports []told
}

type sent struct {
	cluster failover.ClusterName
	at      time.Duration // since the start
	left    time.Duration // until the deadline
}

type told struct {
	at time.Duration
	InstanceReport
}

// run lets the prober run for d and returns it.
func (w *world) run(t *testing.T, c Config, d time.Duration) *Prober {
	t.Helper()
	w.start, w.flying = time.Now(), map[failover.ClusterName]int{}
	c.Vantage = "van-1"
	c.NewProbe = func(tg Target) (Probe, error) {
		return func(ctx context.Context) error { return w.probe(ctx, tg) }, nil
	}
	listen := c.OnReport
	c.OnReport = func(r InstanceReport) {
		w.mu.Lock()
		w.reports = append(w.reports, told{time.Since(w.start), r})
		w.mu.Unlock()
		if listen != nil {
			listen(r)
		}
	}
	p, err := NewProber(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	time.AfterFunc(d, cancel)
	if w.begin != nil {
		w.begin(p)
	}
	if err := p.Run(ctx); err != nil {
		t.Fatalf("run: %v", err)
	}
	return p
}

func (w *world) probe(ctx context.Context, tg Target) error {
	deadline, _ := ctx.Deadline()
	at := time.Since(w.start)
	w.mu.Lock()
	w.probes = append(w.probes, sent{tg.Cluster, at, time.Until(deadline)})
	w.flying[tg.Cluster]++
	if w.looked != nil {
		w.looked(tg)
	}
	w.most = max(w.most, w.flying[tg.Cluster])
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.flying[tg.Cluster]--
		w.mu.Unlock()
	}()
	return w.answer(ctx, tg, at)
}

// times lists when a cluster was probed.
func (w *world) times(c failover.ClusterName) []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []time.Duration
	for _, s := range w.probes {
		if s.cluster == c {
			out = append(out, s.at)
		}
	}
	return out
}

// votes lists how the vote of a cluster went: each change with its moment.
func (w *world) votes(c failover.ClusterName) []string {
	var out []string
	last := ""
	for _, r := range w.reports {
		for _, v := range r.Clusters {
			word := v.Vote.String()
			if r.Sick != "" {
				word = "sick"
			}
			if v.Cluster == c && word != last {
				out = append(out, fmt.Sprintf("%s at %s", word, r.at))
				last = word
			}
		}
	}
	return out
}

// pair is both clusters of an instance, a round of 1 s, fall 3, rise 2.
func pair() []Target {
	a, b := target(HTTP, "192.0.2.1:80"), target(HTTP, "192.0.2.2:80")
	b.Cluster = "b"
	ts := []Target{a, b}
	for i := range ts {
		ts[i].Round, ts[i].Timeout, ts[i].Burst = time.Second, 700*time.Millisecond, 100*time.Millisecond
		ts[i].RideOut = 3 * time.Second
	}
	return ts
}

// single is cluster a of pair, with its turn on the full second.
func single() ([]Target, time.Duration) {
	ts := pair()[:1]
	return ts, phase("van-1", ts[0])
}

func check(t *testing.T, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("%s:\n got %s\nwant %s", what, g, w)
	}
}

func healthy(context.Context, Target, time.Duration) error { return nil }

func TestEachTargetIsProbedOnceARound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world{answer: healthy}
		ts, first := single()
		w.run(t, Config{Targets: ts}, 3*time.Second+first+time.Millisecond)
		check(t, "probes", w.times("a"), []time.Duration{first, first + time.Second, first + 2*time.Second, first + 3*time.Second})
		check(t, "votes", w.votes("a"), []string{"unknown at " + first.String(), "up at " + (first + time.Second).String()})
	})
}

func TestFirstTurnsAreSpreadOverTheRound(t *testing.T) {
	var ts []Target
	for i := range 1000 {
		tg := pair()[0]
		tg.Instance, tg.Cluster = failover.InstanceName(fmt.Sprintf("i%d", i)), failover.ClusterName(fmt.Sprintf("c%d", i))
		ts = append(ts, tg)
	}
	synctest.Test(t, func(t *testing.T) {
		w := world{answer: healthy}
		w.run(t, Config{Targets: ts}, time.Second-time.Millisecond)
		tenths := make([]int, 10)
		for _, s := range w.probes {
			tenths[s.at*10/time.Second]++
		}
		if slices.Min(tenths) < 60 || slices.Max(tenths) > 140 {
			t.Errorf("1000 first turns fall on the tenths of the round as %v", tenths)
		}
		if phase("van-1", ts[0]) == phase("van-2", ts[0]) {
			t.Error("two vantages probe at the same moment")
		}
	})
}

// Outside a burst, that is: see burst_test.go.
func TestOneProbeInFlightPerTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world{answer: func(_ context.Context, tg Target, at time.Duration) error {
			if tg.Cluster == "a" {
				time.Sleep(2500 * time.Millisecond) // deaf to its deadline
			} else {
				time.Sleep(650 * time.Millisecond)
			}
			return nil
		}}
		w.run(t, Config{Targets: pair(), Workers: 2}, 30*time.Second)
		if w.most != 1 {
			t.Errorf("%d probes of one target were in flight at a time", w.most)
		}
	})
}

func TestAProbeThatNeverEndsMakesTheVoteUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world{answer: func(ctx context.Context, tg Target, at time.Duration) error {
			if tg.Cluster == "a" && at > 5*time.Second {
				time.Sleep(15 * time.Second) // deaf to its deadline
			}
			return nil
		}}
		w.run(t, Config{Targets: pair()}, 20*time.Second)
		for _, r := range w.reports {
			a := r.Clusters[0]
			if r.at > 10*time.Second && r.at < 19*time.Second && (a.Vote != failover.Unknown || !strings.HasPrefix(a.Reason, "no probe has ended for ")) {
				t.Fatalf("at %s the vote is %s: %s", r.at, a.Vote, a.Reason)
			}
		}
	})
}

// Fault, not form: the queue before a worker must not eat the cluster's time.
func TestDeadlineRunsFromTheRealStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world{answer: func(ctx context.Context, tg Target, _ time.Duration) error {
			time.Sleep(400 * time.Millisecond)
			return nil
		}}
		w.run(t, Config{Targets: pair(), Workers: 1}, 10*time.Second)
		if len(w.probes) < 10 {
			t.Fatalf("only %d probes", len(w.probes))
		}
		for _, s := range w.probes {
			if s.left != 700*time.Millisecond {
				t.Fatalf("the probe of %s at %s had %s", s.cluster, s.at, s.left)
			}
		}
	})
}

// One worker for two targets that hang: neither gets its turn in time.
func TestLateProbesAbstain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := pair()
		third := ts[0]
		third.Cluster = "c"
		w := world{answer: func(ctx context.Context, _ Target, _ time.Duration) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		p := w.run(t, Config{Targets: append(ts, third), Workers: 1}, 60*time.Second)
		late := 0
		for _, r := range w.reports {
			for _, c := range r.Clusters {
				if strings.Contains(c.Reason, ErrLate.Error()) {
					late++
					if c.Vote != failover.Unknown {
						t.Fatalf("a late probe voted %s", c.Vote)
					}
				}
			}
		}
		if late == 0 || p.Stats().Late == 0 {
			t.Errorf("nobody noticed: %d reports, %+v", late, p.Stats())
		}
	})
}

// With the pool choked by others, a cluster that answers is never voted down.
func TestOverloadNeverVotesAHealthyClusterDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ts []Target
		for i := range 50 {
			tg := pair()[0]
			tg.Cluster = failover.ClusterName(fmt.Sprintf("c%d", i))
			ts = append(ts, tg)
		}
		w := world{answer: func(context.Context, Target, time.Duration) error {
			time.Sleep(300 * time.Millisecond)
			return nil
		}}
		w.run(t, Config{Targets: ts, Workers: 5}, 20*time.Second)
		for _, r := range w.reports {
			for _, c := range r.Clusters {
				if c.Vote == failover.Down || c.Misses > 0 {
					t.Fatalf("%s at %s: %s, %s", c.Cluster, r.at, c.Vote, c.Reason)
				}
			}
		}
	})
}

func TestAnErrorNoticedLongAfterTheDeadlineIsLateness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		w := world{answer: func(context.Context, Target, time.Duration) error {
			time.Sleep(900 * time.Millisecond) // as if this process had been stopped
			return errDead
		}}
		p := w.run(t, Config{Targets: ts}, first+950*time.Millisecond)
		h := p.History("orders", "a")
		if len(h) != 1 || h[0].Outcome != OwnFault || h[0].Phase != PhaseSchedule || !strings.Contains(h[0].Reason, ErrLate.Error()) {
			t.Errorf("history is %+v", h)
		}
	})
}

func TestAStalledSchedulerAbstainsForARound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stalled := false
		w := world{answer: healthy}
		p := w.run(t, Config{Targets: pair(), OnReport: func(InstanceReport) {
			if at := time.Since(w.start); at > 5*time.Second && !stalled {
				stalled = true
				time.Sleep(3 * time.Second) // the whole loop stands still
			}
		}}, 20*time.Second)
		if p.Stats().Stalls != 1 {
			t.Errorf("%d stalls were counted", p.Stats().Stalls)
		}
		var sick []time.Duration
		for _, r := range w.reports {
			if strings.HasPrefix(r.Sick, "late on our own schedule: the scheduler was held up for") {
				sick = append(sick, r.at)
			}
		}
		if len(sick) == 0 || sick[0] < 8*time.Second || sick[len(sick)-1] > 10*time.Second {
			t.Errorf("abstained at %v", sick)
		}
		check(t, "last word", w.reports[len(w.reports)-1].Sick, "")
	})
}

func TestBurstAfterAFirstMissMakesTheVoteEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		died := first + 4500*time.Millisecond
		w := world{answer: func(_ context.Context, _ Target, at time.Duration) error {
			if at > died {
				return errDead
			}
			return nil
		}}
		w.run(t, Config{Targets: ts}, first+7*time.Second)
		miss := first + 5*time.Second
		check(t, "probes from the miss on", w.times("a")[5:9], []time.Duration{miss, miss + 100*time.Millisecond, miss + 200*time.Millisecond, miss + time.Second})
		check(t, "votes", w.votes("a")[1:], []string{"up at " + (first + time.Second).String(), "down at " + (miss + 200*time.Millisecond).String()})
		down := w.reports[len(w.reports)-1].Clusters[0]
		if down.Reason != "connection refused" || *down.FirstMiss != w.reports[len(w.reports)-1].at-miss {
			t.Errorf("down because %q, first miss %s ago", down.Reason, *down.FirstMiss)
		}
	})
}

func TestASuccessEndsTheBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		n := 0
		w := world{answer: func(context.Context, Target, time.Duration) error {
			if n++; n == 4 {
				return errDead
			}
			return nil
		}}
		w.run(t, Config{Targets: ts}, first+5100*time.Millisecond)
		check(t, "probes", w.times("a")[3:], []time.Duration{first + 3*time.Second, first + 3100*time.Millisecond, first + 4*time.Second, first + 5*time.Second})
		check(t, "votes", len(w.votes("a")), 2)
	})
}

func TestTheWayBackUpIsNotHurried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		back := first + 2500*time.Millisecond
		w := world{answer: func(_ context.Context, _ Target, at time.Duration) error {
			if at < back {
				return errDead
			}
			return nil
		}}
		w.run(t, Config{Targets: ts}, first+8*time.Second)
		up := slices.DeleteFunc(w.times("a"), func(d time.Duration) bool { return d < back })
		for i := 1; i < len(up); i++ {
			if up[i]-up[i-1] != time.Second {
				t.Errorf("successes came %s apart", up[i]-up[i-1])
			}
		}
		check(t, "votes", w.votes("a"), []string{"unknown at " + first.String(), "down at " + (first + 200*time.Millisecond).String(), "up at " + (first + 4*time.Second).String()})
	})
}

// The end of the ride-out finds a miss that was sent just then.
func TestConfirmingProbesComeAtTheEndOfTheRideOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		ts[0].RideOut = 3300 * time.Millisecond
		w := world{answer: func(context.Context, Target, time.Duration) error { return errDead }}
		w.run(t, Config{Targets: ts}, first+8*time.Second)
		end := first + 3300*time.Millisecond
		var near []time.Duration
		for _, at := range w.times("a") {
			if at > end-400*time.Millisecond && at < end+2*time.Second {
				near = append(near, at-end)
			}
		}
		var want []time.Duration
		for d := -300 * time.Millisecond; d <= time.Second; d += 100 * time.Millisecond {
			if d == -300*time.Millisecond || d >= 0 { // the grid, then the confirmation of one round
				want = append(want, d)
			}
		}
		want = append(want, 1700*time.Millisecond)
		check(t, "probes around the end of the ride-out", near, want)
		fresh := slices.ContainsFunc(w.reports, func(r told) bool {
			c := r.Clusters[0]
			return r.at == end && c.Vote == failover.Down && *c.LastMiss == 0 && *c.FirstMiss == 3300*time.Millisecond
		})
		if !fresh {
			t.Error("the confirming miss was not reported at once")
		}
	})
}

func TestConfirmationWaitsForTheVote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		ts[0].RideOut = 0
		w := world{answer: func(ctx context.Context, _ Target, _ time.Duration) error {
			<-ctx.Done() // silence: each miss takes the whole timeout
			return ctx.Err()
		}}
		w.run(t, Config{Targets: ts}, first+4900*time.Millisecond)
		silence, turned := first+700*time.Millisecond, first+1500*time.Millisecond
		check(t, "votes", w.votes("a"), []string{"unknown at " + silence.String(), "down at " + turned.String()})
		// One by one for a round after the vote turned, then the grid.
		third := 700 * time.Millisecond / 3
		check(t, "probes", w.times("a"), []time.Duration{
			first, silence, silence + 100*time.Millisecond,
			turned, turned + third, turned + 2*third, turned + 3*third + 1, turned + 4*third + 1, first + 4*time.Second,
		})
	})
}

func TestAPanicIsUnknownAndTheCountStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		w := world{answer: func(_ context.Context, _ Target, at time.Duration) error {
			if at > first+3*time.Second {
				panic("index out of range")
			}
			return nil
		}}
		p := w.run(t, Config{Targets: ts}, first+10*time.Second)
		last := w.reports[len(w.reports)-1].Clusters[0]
		if last.Vote != failover.Unknown || last.Reason != "probe panicked: index out of range" || last.Misses != 0 || last.Hits != 4 {
			t.Errorf("the vote is %s (%s) with %d misses, %d hits", last.Vote, last.Reason, last.Misses, last.Hits)
		}
		if h := p.History("orders", "a")[0]; h.Outcome != OwnFault {
			t.Errorf("kept as %s", h.Outcome)
		}
	})
}

func TestAnOwnFaultBetweenMissesKeepsTheCountAndHurriesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		answers := []error{nil, nil, errDead, Own(errors.New("too many open files")), errDead, errDead}
		n := 0
		w := world{answer: func(context.Context, Target, time.Duration) error {
			n++
			return answers[min(n, len(answers))-1]
		}}
		w.run(t, Config{Targets: ts}, first+4*time.Second)
		miss := first + 2*time.Second
		check(t, "probes", w.times("a")[2:6], []time.Duration{miss, miss + 100*time.Millisecond, miss + time.Second, miss + 1100*time.Millisecond})
		check(t, "votes", w.votes("a")[1:], []string{
			"up at " + (first + time.Second).String(), "unknown at " + (miss + 100*time.Millisecond).String(),
			"up at " + (miss + time.Second).String(), "down at " + (miss + 1100*time.Millisecond).String(),
		})
	})
}

// Misses on both sides of a time in which we could not look are not one run:
// the cluster may have been up in between, and its outage begins anew.
func TestMissesOnBothSidesOfABlindTimeAreNoRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		blind, over := first+8*time.Second, first+20*time.Second
		w := world{answer: func(_ context.Context, _ Target, at time.Duration) error {
			switch {
			case at < first+5*time.Second:
				return nil
			case at >= blind && at < over:
				return Own(errors.New("too many open files"))
			}
			return errDead
		}}
		w.run(t, Config{Targets: ts}, first+22*time.Second)
		last := w.reports[len(w.reports)-1]
		c := last.Clusters[0]
		if c.Vote != failover.Down || last.at-*c.FirstMiss != over || last.at-*c.LastSuccess != first+4*time.Second {
			t.Errorf("%s since %s after an answer at %s, want down since %s", c.Vote, last.at-*c.FirstMiss, last.at-*c.LastSuccess, over)
		}
	})
}

func TestAnErrorOfTheKernelFromAnyProbeIsOurOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		w := world{answer: func(context.Context, Target, time.Duration) error { return fmt.Errorf("dial: %w", ownErrnos[0]) }}
		w.run(t, Config{Targets: ts}, first+3*time.Second)
		if c := w.reports[len(w.reports)-1].Clusters[0]; c.Vote != failover.Unknown || c.Misses != 0 {
			t.Errorf("%s after %d misses", c.Vote, c.Misses)
		}
	})
}

// A subnet that was withdrawn and a name that was removed are down where a
// control is reachable; where none is, or none is configured, it may be us.
func TestAWithdrawnClusterIsDownOnlyBesideAReachableControl(t *testing.T) {
	unreachable := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
	gone := &net.DNSError{Err: "no such host", Name: "a.lab.test", IsNotFound: true}
	control := []Control{{"192.0.2.9:22"}}
	for name, tc := range map[string]struct {
		meets    error
		controls []Control
		control  error
		want     failover.Vote
		reason   string
	}{
		"no network, a control answers":      {unreachable, control, nil, failover.Down, "network is unreachable"},
		"no network, the control is gone":    {unreachable, control, errDead, failover.Unknown, "network is unreachable"},
		"no network, no way to the control":  {unreachable, control, Own(unreachable), failover.Unknown, "network is unreachable"},
		"no network, no controls":            {unreachable, nil, nil, failover.Unknown, "network is unreachable"},
		"no such name, a control answers":    {gone, control, nil, failover.Down, "no such host"},
		"no such name, the control is gone":  {gone, control, errDead, failover.Unknown, "no such host"},
		"no such name, no controls":          {gone, nil, nil, failover.Unknown, "no such host"},
		"the resolver fails":                 {&net.DNSError{Err: "server misbehaving", IsTemporary: true}, control, nil, failover.Unknown, "server misbehaving"},
		"the resolver is silent":             {&net.DNSError{Err: "i/o timeout", IsTimeout: true}, control, nil, failover.Unknown, "i/o timeout"},
		"the resolver's network is gone":     {&net.DNSError{Err: "dial", UnwrapErr: unreachable}, control, nil, failover.Unknown, "dial"},
		"no local ports, a control answers":  {os.NewSyscallError("connect", syscall.EADDRNOTAVAIL), control, nil, failover.Unknown, "cannot assign"},
		"rejected over IPv6, a control":      {onTheWay(syscall.EACCES), control, nil, failover.Down, "permission denied"},
		"rejected over IPv6, no controls":    {onTheWay(syscall.EACCES), nil, nil, failover.Unknown, "permission denied"},
		"a right that we lack":               {Own(syscall.EACCES), control, nil, failover.Unknown, "permission denied"},
		"a dead host, a control answers":     {os.NewSyscallError("connect", syscall.EHOSTUNREACH), control, nil, failover.Down, "no route to host"},
		"a dead host, the control is gone":   {os.NewSyscallError("connect", syscall.EHOSTUNREACH), control, errDead, failover.Unknown, "no route to host"},
		"a dead host and no controls to ask": {os.NewSyscallError("connect", syscall.EHOSTUNREACH), nil, nil, failover.Down, "no route to host"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ts, first := single()
				died := first + 3*time.Second
				w := world{answer: func(ctx context.Context, tg Target, at time.Duration) error {
					switch {
					case at < died:
						return nil
					case tg.Instance == controlInstance:
						return tc.control
					default:
						return blame(ctx, fmt.Errorf("connect: %w", tc.meets))
					}
				}}
				w.run(t, Config{Targets: ts, Controls: tc.controls}, died+5*time.Second)
				for _, r := range w.reports {
					if c := r.Clusters[0]; tc.want == failover.Unknown && c.Vote == failover.Down && r.Sick == "" {
						t.Fatalf("down at %s: %s", r.at-died, c.Reason)
					}
				}
				c := w.reports[len(w.reports)-1].Clusters[0]
				if c.Vote != tc.want && w.reports[len(w.reports)-1].Sick == "" || !strings.Contains(c.Reason, tc.reason) {
					t.Errorf("%s: %s", c.Vote, c.Reason)
				}
			})
		})
	}
}

func TestAVantageWithoutItsControlsAbstainsFromEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cut := func(at time.Duration) bool { return at > 5*time.Second && at < 12*time.Second }
		w := world{answer: func(_ context.Context, _ Target, at time.Duration) error {
			if cut(at) { // our own cable
				return errDead
			}
			return nil
		}}
		w.run(t, Config{Targets: pair(), Controls: []Control{{"192.0.2.8:22"}, {"192.0.2.9:22"}}}, 20*time.Second)
		sick := 0
		for _, r := range w.reports {
			for _, c := range r.Clusters {
				if c.Vote == failover.Down && r.Sick == "" {
					t.Fatalf("at %s the vantage says that %s is down: %s", r.at, c.Cluster, c.Reason)
				}
			}
			if strings.HasPrefix(r.Sick, "none of 2 controls is reachable (tcp://192.0.2.9:22: connection refused)") {
				sick++
			}
		}
		if sick == 0 {
			t.Error("it never said that it is sick")
		}
		check(t, "last word", w.reports[len(w.reports)-1].Sick, "")
	})
}

// Controls that answer slowly, and a cut that ends at any moment of their
// round: what was missed behind our own cut never becomes a down vote.
func TestMissesBehindOurOwnCutAreForgotten(t *testing.T) {
	for end := 12 * time.Second; end < 13*time.Second; end += 50 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			cut := func(at time.Duration) bool { return at > 5*time.Second && at < end }
			w := world{}
			w.answer = func(_ context.Context, tg Target, at time.Duration) error {
				if tg.Instance == controlInstance {
					time.Sleep(300 * time.Millisecond)
					at += 300 * time.Millisecond
				}
				if cut(at) {
					return errDead
				}
				return nil
			}
			ts := pair()
			for i := range ts { // other phases each time
				ts[i].Instance = failover.InstanceName(end.String())
			}
			w.run(t, Config{Targets: ts, Controls: []Control{{"192.0.2.8:22"}, {"192.0.2.9:22"}}}, 15*time.Second)
			for _, r := range w.reports {
				for _, c := range r.Clusters {
					if c.Vote == failover.Down && r.Sick == "" {
						t.Fatalf("a cut until %s made %s down at %s: %s", end, c.Cluster, r.at, c.Reason)
					}
				}
			}
		})
	}
}

func TestOneReachableControlIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world{answer: func(_ context.Context, tg Target, _ time.Duration) error {
			if tg.Cluster == "tcp://192.0.2.8:22" || tg.Cluster == "a" {
				return errDead
			}
			return nil
		}}
		w.run(t, Config{Targets: pair(), Controls: []Control{{"192.0.2.8:22"}, {"192.0.2.9:22"}}}, 5*time.Second)
		last := w.reports[len(w.reports)-1]
		if last.Sick != "" || last.Clusters[0].Vote != failover.Down || last.Clusters[1].Vote != failover.Up {
			t.Errorf("sick %q, a %s, b %s", last.Sick, last.Clusters[0].Vote, last.Clusters[1].Vote)
		}
	})
}

// The controls were fine a moment ago; whether they still are is asked before
// anything is called down.
func TestADownVoteWaitsForAControlThatWasReachedSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		ts[0].Burst = 10 * time.Millisecond
		died := first + 5*time.Second
		w := world{answer: func(_ context.Context, tg Target, at time.Duration) error {
			if tg.Cluster != "a" {
				time.Sleep(300 * time.Millisecond) // far away
				return nil
			}
			if at >= died {
				return errDead
			}
			return nil
		}}
		w.run(t, Config{Targets: ts, Controls: []Control{{"192.0.2.9:22"}}}, died+2*time.Second)
		var word string
		for _, r := range w.reports {
			c := r.Clusters[0]
			if r.at >= died+20*time.Millisecond && c.Misses >= 3 {
				word = fmt.Sprintf("%s at %s: %s", c.Vote, r.at-died, c.Reason)
				break
			}
		}
		check(t, "with three misses", word, "unknown at 20ms: no control reached yet since the first miss; connection refused")
		var downAt time.Duration
		for _, r := range w.reports {
			if r.Clusters[0].Vote == failover.Down {
				downAt = r.at - died
				break
			}
		}
		// A check in flight at the first miss does not count; the next does.
		if downAt < 300*time.Millisecond || downAt > 600*time.Millisecond {
			t.Errorf("down was said %s after the first miss", downAt)
		}
	})
}

func TestEveryInstanceIsReportedAtLeastOnceARound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := pair()
		other := ts[0]
		other.Instance = "billing"
		w := world{answer: func(ctx context.Context, tg Target, at time.Duration) error {
			if tg.Cluster == "b" {
				<-ctx.Done()
			}
			return ctx.Err()
		}}
		w.run(t, Config{Targets: append(ts, other)}, 20*time.Second)
		for _, name := range []failover.InstanceName{"orders", "billing"} {
			last := time.Second
			for _, r := range w.reports {
				if r.Instance == name {
					if r.at-last > 1050*time.Millisecond {
						t.Errorf("%s was not reported from %s to %s", name, last, r.at)
					}
					last = r.at
				}
			}
		}
	})
}

func TestFailuresInAWindowAreDownWithoutThreeInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		ts[0].Count = failover.CountPolicy{Fall: 3, Rise: 5, Window: 20, Ratio: 0.4}
		w := world{answer: func(_ context.Context, _ Target, at time.Duration) error {
			if (at-first)%(2*time.Second) == 0 { // every other turn
				return errDead
			}
			return nil
		}}
		w.run(t, Config{Targets: ts}, 30*time.Second)
		last := w.reports[len(w.reports)-1].Clusters[0]
		if last.Vote != failover.Down || last.Misses > 1 || last.Failed != 10 {
			t.Errorf("%s with %d of %d failed: %s", last.Vote, last.Failed, last.Window, last.Reason)
		}
	})
}

func TestStoppingCountsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		w := world{answer: func(ctx context.Context, _ Target, _ time.Duration) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		p := w.run(t, Config{Targets: ts}, first+300*time.Millisecond)
		check(t, "stats", p.Stats(), Stats{})
		check(t, "probes", len(w.probes), 1)
	})
}

func TestLatestReportGrowsOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, first := single()
		w := world{answer: healthy}
		p := w.run(t, Config{Targets: ts}, first+100*time.Millisecond)
		time.Sleep(time.Second)
		r, ok := p.Latest("orders")
		if !ok || *r.Clusters[0].LastProbe != 1100*time.Millisecond {
			t.Errorf("%v, last probe %s ago", ok, *r.Clusters[0].LastProbe)
		}
		if _, ok := p.Latest("nobody"); ok {
			t.Error("an unknown instance has a report")
		}
	})
}

// A control that flaps takes misses back, again and again, and with them comes
// the up from before them: it may not speak of a cluster that has not answered
// since.
func TestAnUpIsNoOlderThanItsNewestAnswer(t *testing.T) {
	for _, flap := range []struct{ bad, good time.Duration }{{2 * time.Second, 500 * time.Millisecond}, {2 * time.Second, time.Second}, {2500 * time.Millisecond, time.Second}} {
		for shift := range 4 {
			synctest.Test(t, func(t *testing.T) {
				ts := pair()
				for i := range ts { // another phase of its rounds
					ts[i].Instance = failover.InstanceName(fmt.Sprint("i", shift))
				}
				const aDies, flaps, bDies = 10 * time.Second, 11 * time.Second, 12 * time.Second
				w := world{answer: func(_ context.Context, tg Target, at time.Duration) error {
					switch {
					case tg.Instance == controlInstance:
						if at > flaps && (at-flaps)%(flap.bad+flap.good) < flap.bad {
							return errDead
						}
						return nil
					case tg.Cluster == "a" && at > aDies, tg.Cluster == "b" && at > bDies:
						return errDead
					}
					return nil
				}}
				w.run(t, Config{Targets: ts, Controls: []Control{{"192.0.2.9:22"}}}, bDies+60*time.Second)
				bound := 2*ts[0].Round + ts[0].Timeout
				for _, r := range w.reports {
					for _, c := range r.Clusters {
						if c.Vote == failover.Up && (c.LastSuccess == nil || *c.LastSuccess > bound) {
							t.Fatalf("%+v: up at %s, and its newest answer is %s old", flap, r.at, *c.LastSuccess)
						}
					}
				}
			})
		}
	}
}
