package healthcheck

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

// hangers are n targets whose commands hang, with the numbers of
// stateless-http.
func hangers(n int) []Target {
	var ts []Target
	for i := range n {
		tg := pair()[0]
		tg.Instance, tg.Check = failover.InstanceName(fmt.Sprintf("i%d", i)), Check{Type: Exec, Exec: ExecCheck{Command: []string{"/bin/sleep", "100"}}}
		ts = append(ts, tg)
	}
	return ts
}

// hung runs targets whose commands hang, and says how the newest votes are and
// how many commands ran at a time.
func hung(t *testing.T, ts []Target, d time.Duration) (w *world, votes map[failover.Vote]int, most int32) {
	var running, high atomic.Int32
	w = &world{answer: func(ctx context.Context, tg Target, at time.Duration) error {
		if tg.commands() == 0 {
			return nil
		}
		high.Store(max(high.Load(), running.Add(1)))
		defer running.Add(-1)
		return silent(ctx, tg, at)
	}}
	w.run(t, Config{Targets: ts}, d)
	newest := map[failover.InstanceName]failover.Vote{}
	for _, r := range w.reports {
		newest[r.Instance] = r.Clusters[0].Vote
	}
	votes = map[failover.Vote]int{}
	for _, v := range newest {
		votes[v]++
	}
	return w, votes, high.Load()
}

// However many commands hang at once, as long as there may be places for all:
// each target is voted down, and no command waits in the time of its target.
func TestCommandsThatHangAtOnceAreAllVotedDown(t *testing.T) {
	for _, n := range []int{4, 16, 64} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, votes, most := hung(t, hangers(n), 8*time.Second)
				check(t, "votes", votes, map[failover.Vote]int{failover.Down: n})
				if int(most) > max(n, leastCommands) {
					t.Errorf("%d commands ran at a time", most)
				}
				for _, s := range w.probes {
					if s.left != 700*time.Millisecond {
						t.Fatalf("the command at %s had %s", s.at, s.left)
					}
				}
			})
		})
	}
}

// With more of them a vantage runs as many as it may, says unknown of those
// that wait, and other targets are probed as ever.
func TestCommandsBeyondThePlacesAreUnknownAndDelayNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts := hangers(300)
		ts[0].Cluster, ts[0].Check = "web", Check{Type: HTTP, Path: "/"}
		w, votes, most := hung(t, ts, 20500*time.Millisecond)
		if most != MostCommands || votes[failover.Up] != 1 || votes[failover.Unknown] == 0 {
			t.Errorf("%d commands ran at a time, votes %v", most, votes)
		}
		if n := len(w.times("web")); n < 20 {
			t.Errorf("the other target was probed %d times in 20 rounds", n)
		}
		check(t, "what people are told", Config{Targets: ts}.CommandsInTheWay(),
			"299 commands may have to run at a time if all hang, a vantage runs at most 64: the others would wait, and be unknown meanwhile")
		check(t, "where there are places", Config{Targets: hangers(64)}.CommandsInTheWay(), "")
	})
}

// Commands that a reload adds have places of their own.
func TestCommandsThatAReloadAddsHavePlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world{answer: silent}
		w.begin = func(p *Prober) {
			time.AfterFunc(2*time.Second, func() {
				if err := p.Reload(Config{Vantage: "van-1", Targets: hangers(64)}); err != nil {
					t.Error(err)
				}
			})
		}
		w.run(t, Config{Targets: hangers(8)}, 10*time.Second)
		newest := map[failover.InstanceName]failover.Vote{}
		for _, r := range w.reports {
			newest[r.Instance] = r.Clusters[0].Vote
		}
		for i, v := range newest {
			if v != failover.Down {
				t.Errorf("%s is %s", i, v)
			}
		}
		check(t, "instances", len(newest), 64)
	})
}
