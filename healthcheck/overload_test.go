package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

// crowdOf is many instances, of one cluster each, that are probed every 500 ms.
func crowdOf(n int, kind CheckType, address string) []Target {
	ts := make([]Target, n)
	for i := range ts {
		tg := target(kind, address)
		tg.Instance = failover.InstanceName(fmt.Sprintf("i%d", i))
		tg.Round, tg.Timeout = 500*time.Millisecond, 450*time.Millisecond
		ts[i] = tg
	}
	return ts
}

// Two workers and probes of 20 ms: 100 a second are all that there is, twice
// and ten times as many are wanted. What can be done is done, in turn; what
// cannot is late, which is told as such and votes nobody down. Once less is
// wanted everything is up, and nothing is late any more.
func TestMoreThanCanBeDoneIsSharedOutAndTheRestAbstains(t *testing.T) {
	for _, factor := range []int{2, 10} {
		t.Run(fmt.Sprintf("%d times", factor), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const capacity, busy = 100, 20 * time.Second
				few := crowdOf(25, HTTP, "192.0.2.1:80")
				looks := map[failover.InstanceName]int{}
				w := world{answer: func(context.Context, Target, time.Duration) error {
					time.Sleep(20 * time.Millisecond)
					return nil
				}}
				all, late := 0, uint64(0)
				w.looked = func(tg Target) {
					if all++; time.Since(w.start) <= busy {
						looks[tg.Instance]++
					}
				}
				w.begin = func(p *Prober) {
					time.AfterFunc(busy, func() {
						if err := p.Reload(Config{Vantage: "van-1", Targets: few, Workers: 2}); err != nil {
							t.Error(err)
						}
					})
					time.AfterFunc(busy+time.Second, func() { late = p.Stats().Late })
				}
				p := w.run(t, Config{Targets: crowdOf(factor*capacity/2, HTTP, "192.0.2.1:80"), Workers: 2}, busy+5*time.Second)
				least, most, made := all, 0, 0
				for i := range factor * capacity / 2 {
					n := looks[failover.InstanceName(fmt.Sprintf("i%d", i))]
					least, most, made = min(least, n), max(most, n), made+n
				}
				if could := int(busy.Seconds() * capacity); made < could*95/100 {
					t.Errorf("%d probes were made, %d could have been", made, could)
				}
				if most-least > 3 {
					t.Errorf("some were looked at %d times, others %d times", least, most)
				}
				last := map[failover.InstanceName]failover.Vote{}
				overload := 0
				for _, r := range w.reports {
					for _, c := range r.Clusters {
						if c.Vote == failover.Down || c.Misses > 0 {
							t.Fatalf("%s at %s: %s, %s", r.Instance, r.at, c.Vote, c.Reason)
						}
						if c.Vote == failover.Unknown && strings.Contains(c.Reason, ErrLate.Error()) {
							overload++
						}
						last[r.Instance] = c.Vote
					}
				}
				if overload == 0 || late == 0 {
					t.Errorf("nobody was told: %d reports, %d late", overload, late)
				}
				if factor == 10 && uint64(overload) > late/2 {
					t.Errorf("%d of %d late turns were told, which costs the time of probes", overload, late)
				}
				for _, tg := range few {
					if last[tg.Instance] != failover.Up {
						t.Errorf("%s is %s at the end", tg.Instance, last[tg.Instance])
					}
				}
				if n := p.Stats().Late; n != late {
					t.Errorf("%d were late after the load had gone", n-late)
				}
			})
		})
	}
}

// Silence counts only where somebody listened: not when this process stood
// still for more than an eighth of the time that the answer had. What was said
// counts in any case.
func TestSilenceWhileWeStoodStillIsOurOwn(t *testing.T) {
	tg := target(HTTP, "192.0.2.1:80")
	for name, tc := range map[string]struct {
		lost time.Duration
		err  error
		want Outcome
	}{
		"silence":                          {0, timeoutError{tg.Timeout}, Miss},
		"silence, an eighth was lost":      {tg.Timeout / 8, timeoutError{tg.Timeout}, Miss},
		"silence, more was lost":           {tg.Timeout/8 + 1, timeoutError{tg.Timeout}, OwnFault},
		"a refusal, though more was lost":  {tg.Timeout, syscall.ECONNREFUSED, Miss},
		"an answer, though more was lost":  {tg.Timeout, nil, Success},
		"wrong cluster, though it was too": {tg.Timeout, ErrWrongCluster, Miss},
	} {
		t.Run(name, func(t *testing.T) {
			var lost atomic.Int64
			now := time.Now()
			o := outcome{flight: flight{target: &tg, lost: &lost}, sent: now, done: now.Add(tg.Timeout), err: tc.err}
			lost.Store(int64(tc.lost))
			if o.judge(); o.kind != tc.want || (tc.want == OwnFault) != errors.Is(o.err, ErrLate) {
				t.Errorf("%s: %v, want %s", o.kind, o.err, tc.want)
			}
		})
	}
}
