package healthcheck

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// A controller that does not answer one POST hears of a changed vote all the
// same, long before that POST is over.
func TestAPOSTThatHangsDoesNotDelayNews(t *testing.T) {
	var mu sync.Mutex
	var heard []string
	hang := make(chan struct{})
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		m, err := decodeMessage(body)
		if err != nil {
			t.Errorf("%v", err)
			return
		}
		mu.Lock()
		for _, r := range m.Reports {
			heard = append(heard, string(r.Instance)+" "+r.Clusters[0].Vote.String())
		}
		n := len(heard)
		mu.Unlock()
		if n == 1 {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		}
	})
	s, err := NewSender(SenderConfig{Vantage: "van-1", Key: Key("0123456789abcdef0123456789abcdef"), Controllers: []string{"http://" + addr}, Timeout: time.Hour, Retry: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Run(ctx) }()
	defer func() { close(hang); cancel(); <-ended }()
	said := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string{}, heard...)
	}
	report := func(i failover.InstanceName, v failover.Vote) InstanceReport {
		zero := time.Duration(0)
		c := ClusterReport{Cluster: "a", Vote: v, LastProbe: &zero}
		if v == failover.Down {
			c.FirstMiss, c.LastMiss = &zero, &zero
		}
		return InstanceReport{Vantage: "van-1", Instance: i, Clusters: []ClusterReport{c}, made: time.Now()}
	}
	s.Send(report("orders", failover.Up))
	eventually(t, "the first POST hangs", func() bool { return len(said()) == 1 })
	s.Send(report("orders", failover.Down))
	eventually(t, "the news arrives", func() bool { return len(said()) == 2 })
	check(t, "heard", said(), "[orders up orders down]")
}

// What waits is overtaken by votes that have changed, in the order in which they
// did, and by nothing else. What could not be sent waits behind the others.
func TestNewsGoesBeforeWhatWaits(t *testing.T) {
	s, err := NewSender(SenderConfig{Vantage: "van-1", Key: keyOne, Controllers: []string{"http://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	l := (*s.lines.Load())[0]
	order := func(batch []parcel) (names []failover.InstanceName) {
		for _, p := range batch {
			names = append(names, p.report.Instance)
		}
		return names
	}
	say := func(v failover.Vote, names ...failover.InstanceName) {
		for _, i := range names {
			s.Send(InstanceReport{Instance: i, Clusters: []ClusterReport{{Cluster: "a", Vote: v}}})
		}
	}
	say(failover.Up, "a", "b", "c", "d")
	check(t, "first words", order(l.take()), "[a b c d]")
	say(failover.Up, "d", "c", "b", "a", "d")
	say(failover.Down, "b")
	say(failover.Down, "a", "b")
	batch := l.take()
	check(t, "with news", order(batch), "[b a d c]")
	say(failover.Up, "e")
	say(failover.Down, "b", "d")
	l.putBack(batch)
	check(t, "after a failure", order(l.take()), "[e d b a c]")
	check(t, "nothing is left", []int{len(l.backlog.places), l.backlog.news.Len(), l.backlog.rest.Len()}, "[0 0 0]")
}

// When votes change all the time, what does not change is told all the same.
func TestNewsLeavesRoomForTheRest(t *testing.T) {
	b := newBacklog()
	name := func(i int) failover.InstanceName { return failover.InstanceName(strconv.Itoa(i)) }
	for i := range 4 * maxBatch {
		b.put(InstanceReport{Instance: name(i)})
		if i%2 == 0 {
			b.hurry(name(i))
		}
	}
	news := 0
	for _, p := range b.take() {
		if p.news {
			news++
		}
	}
	check(t, "news in the first message", news, maxBatch-maxBatch/restShare)
}

// Ten thousand instances and a controller that hangs: each message is one that
// it takes, however long the words are, the newest report of each is what it
// hears in the end, and no more waits than there are instances.
func TestASlowControllerOfTenThousandHearsTheNewestOfAll(t *testing.T) {
	const all = 10_000
	var mu sync.Mutex
	got := map[failover.InstanceName]int{}
	rec, err := NewReceiver(ReceiverConfig{
		Vantages:  map[failover.VantageName][]Key{"van-1": {keyOne}},
		Instances: names(all),
		Deliver: func(_ failover.VantageName, r InstanceReport, _ time.Time) {
			mu.Lock()
			defer mu.Unlock()
			got[r.Instance] = r.Clusters[0].Hits
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	var posts atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		posts.Add(1)
		<-release
		rec.ServeHTTP(w, r)
	}))
	defer server.Close()
	s := startSender(t, SenderConfig{Controllers: []string{server.URL}, Timeout: time.Minute})
	reason := strings.Repeat("<", maxText)
	warnings := slices.Repeat([]string{reason}, maxWarnings)
	for hits := 1; hits <= 3; hits++ {
		for n := range all {
			i := failover.InstanceName(strconv.Itoa(n))
			zero := time.Duration(0)
			c := ClusterReport{Cluster: "a", Vote: failover.Up, Hits: hits, LastProbe: &zero}
			if n < 100 {
				c.Reason, c.Warnings = reason, warnings
			}
			s.Send(InstanceReport{Vantage: "van-1", Instance: i, Clusters: []ClusterReport{c}, made: time.Now()})
		}
		eventually(t, "a message is on its way", func() bool { return posts.Load() > 0 })
		if n := s.Stats()[0].Waiting; n > all {
			t.Errorf("%d reports of %d instances wait", n, all)
		}
	}
	close(release)
	eventually(t, "all are heard", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, hits := range got {
			if hits != 3 {
				return false
			}
		}
		return len(got) == all
	})
	// A message that was broken off on its way counts as malformed; one that is
	// so in itself would never be heard above.
	if refused := rec.Stats().Refused; refused[RefusedTooLarge] > 0 {
		t.Errorf("refused %v", refused)
	}
}

func names(n int) map[failover.InstanceName]time.Duration {
	m := make(map[failover.InstanceName]time.Duration, n)
	for i := range n {
		m[failover.InstanceName(strconv.Itoa(i))] = time.Minute
	}
	return m
}

// BenchmarkNews is what a changed vote costs the scheduler while the reports of
// 10,000 instances wait for a dead controller.
func BenchmarkNews(b *testing.B) {
	s, err := NewSender(SenderConfig{Vantage: "van-1", Key: keyOne, Controllers: []string{"http://127.0.0.1:1"}})
	if err != nil {
		b.Fatal(err)
	}
	l, all := (*s.lines.Load())[0], names(10_000)
	for b.Loop() {
		b.StopTimer()
		l.backlog = newBacklog()
		for i := range all {
			l.put(InstanceReport{Instance: i})
		}
		b.StartTimer()
		for i := range all {
			l.hurry(i)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(all)), "ns/news")
}
