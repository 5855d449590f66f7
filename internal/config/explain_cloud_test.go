package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
)

const explainCloud = `controller: {name: ctl-1}
single_vantage: accept
vantage: {name: ctl-1, domain: rack-1, controls: ["tcp://127.0.0.1:1"]}
providers:
  cloud: {type: alidns, zone: example.com., credentials: {file: dns.key.json}$FLOOR}
instances:
  - name: orders
    preset: stateless-http
    names: [{name: orders.example.com., provider: cloud}]
    clusters:
      a: {target: orders-a.example.com., address: "127.0.1.1:80"}
      b: {target: orders-b.example.com., address: "127.0.1.2:80"}
    primary: a
    ttl: $TTL
    check: {type: http, path: /healthz, identity: {header: X-Cluster}}
`

// TestExplainCountsTheFloorOfACloud: with the least TTL of the free edition ten
// minutes of old answers are part of every failover, also while the ttl that the
// file has is below it and refused.
func TestExplainCountsTheFloorOfACloud(t *testing.T) {
	for _, c := range []struct {
		floor, ttl string
		fails      bool
		atLeast    time.Duration
		advice     bool
	}{
		{", ttl_floor: 600s", "600s", false, 10 * time.Minute, false},
		{", ttl_floor: 600s", "30s", true, 10 * time.Minute, false},
		{"", "30s", false, 30 * time.Second, true},
	} {
		es, err := explained(t, strings.NewReplacer("$FLOOR", c.floor, "$TTL", c.ttl).Replace(explainCloud))
		if (err != nil) != c.fails || len(es) != 1 {
			t.Fatalf("%+v: %v", c, err)
		}
		for what, w := range map[string]WorstCase{"failover": es[0].Failover, "switchover": es[0].Switchover} {
			sum, _ := failover.Sum(w.Terms)
			if sum < c.atLeast || sum > c.atLeast+time.Hour {
				t.Errorf("%s with %+v: %s", what, c, sum)
			}
		}
		says := func(part string) bool {
			return slices.ContainsFunc(es[0].Warnings, func(s string) bool { return strings.Contains(s, part) })
		}
		if !says("provider cloud: no compare-and-swap") {
			t.Errorf("%+v does not say what the provider does not promise: %q", c, es[0].Warnings)
		}
		if says("free: 600 s") != c.advice {
			t.Errorf("%+v: %q", c, es[0].Warnings)
		}
	}
}
