package healthcheck

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// unhurried answers each request well, 10 ms after it came, and counts who
// asked.
func unhurried(t testing.TB) string {
	l := listen(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(10 * time.Second))
				c.Read(make([]byte, 4096))
				time.Sleep(10 * time.Millisecond) // what it does for a living
				io.WriteString(c, headed("Content-Length: 0\r\n"))
			}()
		}
	}()
	return l.Addr().String()
}

// The same over sockets: there is room for four at a time, so at most 400 can
// be done in a second, however fast the machine is. Everybody has a turn; who
// waits for his says why; and with less to do everybody is up.
func TestAnOverloadedLaneIsSharedOutAndTheRestAbstains(t *testing.T) {
	for _, factor := range []int{2, 10} {
		t.Run(fmt.Sprintf("%d times", factor), func(t *testing.T) {
			t.Parallel()
			var down, late atomic.Int64
			c := Config{Vantage: "van-1", Targets: crowdOf(factor*40, HTTP, unhurried(t)), OnReport: func(r InstanceReport) {
				for _, v := range r.Clusters {
					if v.Vote == failover.Down {
						down.Add(1)
					}
					if v.Vote == failover.Unknown && strings.Contains(v.Reason, ErrLate.Error()) {
						late.Add(1)
					}
				}
			}}
			p, err := NewProber(c)
			if err != nil {
				t.Fatal(err)
			}
			p.pad.laneLimit = 4
			for _, in := range p.now.instances { // a timeout that no busy machine reaches
				for _, w := range in.watches {
					w.target.Round, w.target.Timeout = 100*time.Millisecond, 2*time.Second
				}
			}
			defer running(t, p)()
			eventually(t, "everybody had a turn", func() bool { least, _ := looks(p); return least >= 2 })
			if least, most := looks(p); most > least+4 {
				t.Errorf("some were looked at %d times, others %d times", least, most)
			}
			if down.Load() > 0 || late.Load() == 0 {
				t.Errorf("%d false downs, %d were told that it is late: %+v", down.Load(), late.Load(), p.Stats())
			}
			c.Targets = c.Targets[:5]
			if err := p.Reload(c); err != nil {
				t.Fatal(err)
			}
			eventually(t, "all are up", func() bool { return len(ups(p)) == 5 })
		})
	}
}

// running runs a prober until stop.
func running(t testing.TB, p *Prober) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// looks is how often the targets were found well: the least and the most.
func looks(p *Prober) (least, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ns []int
	for _, in := range p.shown.instances {
		ns = append(ns, len(in.watches[0].history.successes.items))
	}
	return slices.Min(ns), slices.Max(ns)
}

// ups are the instances whose every cluster is up.
func ups(p *Prober) (names []failover.InstanceName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, in := range p.shown.instances {
		if r := in.latest; len(r.Clusters) > 0 && !slices.ContainsFunc(r.Clusters, func(c ClusterReport) bool { return c.Vote != failover.Up }) {
			names = append(names, in.name)
		}
	}
	return names
}
