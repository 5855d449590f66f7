package healthcheck_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"pointsman/healthcheck"
	"pointsman/internal/failover"
)

// A vantage watches one cluster that answers, but as somebody else.
func Example() {
	cluster := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Cluster", "b")
	}))
	defer cluster.Close()

	ctx, cancel := context.WithCancel(context.Background())
	prober, err := healthcheck.NewProber(healthcheck.Config{
		Vantage: "van-1",
		Targets: []healthcheck.Target{{
			Instance: "orders", Cluster: "a", Identity: "a",
			Address: cluster.Listener.Addr().String(), // what is dialled
			Name:    "orders.lab.test.",               // what clients call it
			Check:   healthcheck.Check{Type: healthcheck.HTTP, Path: "/healthz", Identity: healthcheck.IdentityCheck{Header: "X-Cluster"}},
			Count:   failover.CountPolicy{Fall: 3, Rise: 2},
			Round:   100 * time.Millisecond, Timeout: 90 * time.Millisecond, Burst: 5 * time.Millisecond,
		}},
		OnReport: func(r healthcheck.InstanceReport) {
			if c := r.Clusters[0]; c.Vote == failover.Down && ctx.Err() == nil {
				fmt.Printf("%s is %s: %s\n", c.Cluster, c.Vote, c.Reason)
				cancel()
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := prober.Run(ctx); err != nil {
		fmt.Println(err)
	}
	// Output: a is down: wrong cluster: says b, want a
}
