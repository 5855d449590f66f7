package healthcheck

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// BenchmarkWatchRequest measures requests on held connections per second of
// our own CPU time, kernel included; beside it what a client of net/http needs
// for one on a connection that it keeps.
func BenchmarkWatchRequest(b *testing.B) {
	address := benchmarkServer(b)
	tg := target(HTTP, address)
	tg.Watch = WatchRequest
	spend := func(b *testing.B, once func() error) {
		before := cpuTime(b)
		for b.Loop() {
			if err := once(); err != nil {
				b.Fatal(err)
			}
		}
		used := cpuTime(b) - before
		b.ReportMetric(float64(b.N)/used.Seconds(), "requests/cpu-s")
		b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-µs/request")
	}
	b.Run("held", func(b *testing.B) {
		h := (&Prober{now: &crew{}}).newHeld(&tg)
		h.patience = 5 * time.Second
		tcp, conn, err := h.open(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		defer drop(tcp)
		var buf [2 << 10]byte
		spend(b, func() error { return h.exchange(conn, buf[:]) })
	})
	b.Run("net-http", func(b *testing.B) {
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		spend(b, func() error {
			resp, err := client.Head("http://" + address + "/")
			if err == nil {
				err = resp.Body.Close()
			}
			return err
		})
	})
}

// BenchmarkVoteToController measures from a changed vote in a vantage to the
// call of the controller, over HTTP on loopback: with one instance, and with
// ten thousand that report without news every 5 s meanwhile.
func BenchmarkVoteToController(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("%d instances", n), func(b *testing.B) { benchVotes(b, n) })
	}
}

func benchVotes(b *testing.B, n int) {
	known := map[failover.InstanceName]time.Duration{}
	for i := range n {
		known[benchInstance(i)] = 5 * time.Second
	}
	heard := make(chan failover.Vote, 1024)
	rec, err := NewReceiver(ReceiverConfig{
		Vantages: map[failover.VantageName][]Key{"van-1": {keyOne}}, Instances: known,
		Deliver: func(_ failover.VantageName, r InstanceReport, _ time.Time) {
			if r.Instance == benchInstance(0) {
				select {
				case heard <- r.Clusters[0].Vote:
				default:
				}
			}
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(ReportPath, rec)
	srv := httptest.NewServer(mux)
	defer srv.Close()
	s, err := NewSender(SenderConfig{Vantage: "van-1", Key: keyOne, Controllers: []string{srv.URL}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{}, 2)
	go func() { _ = s.Run(ctx); done <- struct{}{} }()
	go func() {
		defer func() { done <- struct{}{} }()
		for i := 1; n > 1; { // all others within 5 s
			select {
			case <-ctx.Done():
				return
			case <-time.After(5 * time.Millisecond):
			}
			for range n / 1000 {
				s.Send(benchReport(i, failover.Up))
				i = i%(n-1) + 1
			}
		}
	}()
	defer func() { cancel(); <-done; <-done }()
	vote := failover.Up
	say := func() time.Duration {
		start := time.Now()
		s.Send(benchReport(0, vote))
		for v := range heard {
			if v == vote {
				break
			}
		}
		return time.Since(start)
	}
	say() // the first message only fetches a challenge
	var all []time.Duration
	for b.Loop() {
		vote = failover.Up + failover.Down - vote
		all = append(all, say())
	}
	slices.Sort(all)
	for _, at := range []struct {
		name string
		part float64
	}{{"median-µs", 0.5}, {"p99-µs", 0.99}, {"max-µs", 1}} {
		b.ReportMetric(float64(all[int(at.part*float64(len(all)-1))].Microseconds()), at.name)
	}
}

func benchInstance(i int) failover.InstanceName { return failover.InstanceName(fmt.Sprintf("i%d", i)) }

func benchReport(i int, v failover.Vote) InstanceReport {
	age := new(time.Duration)
	a := ClusterReport{Cluster: "a", Vote: v, Fall: 3, Rise: 3, LastProbe: age}
	if v == failover.Down {
		a.Misses, a.FirstMiss, a.LastMiss = 3, age, age
	} else {
		a.Hits, a.UpFor = 3, age
	}
	return InstanceReport{Vantage: "van-1", Instance: benchInstance(i), Generation: "0123456789abcdef", Clusters: []ClusterReport{
		a, {Cluster: "b", Vote: failover.Up, Fall: 3, Rise: 3, Hits: 3, LastProbe: age, UpFor: age},
	}, made: time.Now()}
}
