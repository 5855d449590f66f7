package healthcheck

import (
	"context"
	"io"
	"net/http"
	"sync"
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

// What waits is overtaken by a changed vote, and by nothing else.
func TestNewsGoesBeforeWhatWaits(t *testing.T) {
	s, err := NewSender(SenderConfig{Vantage: "van-1", Key: Key("0123456789abcdef0123456789abcdef"), Controllers: []string{"http://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct {
		instance failover.InstanceName
		vote     failover.Vote
	}{{"a", failover.Up}, {"b", failover.Up}, {"c", failover.Up}, {"a", failover.Up}, {"b", failover.Up}} {
		s.Send(InstanceReport{Instance: r.instance, Clusters: []ClusterReport{{Cluster: "a", Vote: r.vote}}})
	}
	check(t, "order", (*s.lines.Load())[0].order, "[c b a]")
	s.Send(InstanceReport{Instance: "a", Clusters: []ClusterReport{{Cluster: "a", Vote: failover.Down}}})
	check(t, "with news", (*s.lines.Load())[0].order, "[a c b]")
}
