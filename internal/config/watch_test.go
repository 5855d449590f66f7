package config

import (
	"fmt"
	"strings"
	"testing"

	"pointsman/healthcheck"
)

// What is held open comes from the file, else from the preset, and is never
// more than the check allows; a vantage elsewhere gets the same.
func TestWatchComesFromFileOrPresetAndReachesVantages(t *testing.T) {
	const http = "check: {type: http, path: /healthz, status: [200, 3xx, 418-420], identity: {header: X-Cluster}}"
	for name, c := range map[string]struct {
		preset, check, watch string
		want                 healthcheck.WatchMode
	}{
		"http":              {"stateless-http", http, "", healthcheck.WatchHold},
		"tablestore":        {"tablestore-standby", http, "", healthcheck.WatchHold},
		"asked for":         {"stateless-http", http, "watch: request", healthcheck.WatchRequest},
		"switched off":      {"stateless-http", http, "watch: off", healthcheck.WatchOff},
		"tcp has no answer": {"stateless-http", "check: {type: tcp}\n    move_proof: waived", "watch: hold", healthcheck.WatchHold},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.NewReplacer(
				http, c.check+"\n    "+c.watch,
				"preset: stateless-http", "preset: "+c.preset,
				"address: 127.0.1.2:8080, identity: two", "address: 127.0.1.2:8080",
				"allow: [169.254.10.0/24]}", "allow: [169.254.10.0/24], watch_targets: 300}",
			).Replace(full)
			cfg := parse(t, text)
			out, err := VantageYAML(cfg, "van-2")
			if err != nil {
				t.Fatal(err)
			}
			v, err := ParseVantage("vantage.yaml", out)
			if err != nil {
				t.Fatal(err)
			}
			for _, ts := range [][]healthcheck.Target{cfg.Instances[0].Targets, v.Targets} {
				for _, tg := range ts {
					if tg.Watch != c.want {
						t.Errorf("cluster %s is watched by %q, not %q", tg.Cluster, tg.Watch, c.want)
					}
				}
			}
			if got := fmt.Sprint(cfg.Self.WatchTargets, cfg.Vantages[0].WatchTargets, v.WatchTargets); got != "300 300 300" {
				t.Errorf("watch_targets: %s", got)
			}
		})
	}
}

// The lab asks, where there is something to ask over.
func TestFastLabAsksOverHTTPAndHoldsOtherwise(t *testing.T) {
	for check, want := range map[healthcheck.CheckType]healthcheck.WatchMode{
		healthcheck.HTTP: healthcheck.WatchRequest, healthcheck.HTTPS: healthcheck.WatchRequest,
		healthcheck.TLS: healthcheck.WatchHold, healthcheck.TCP: healthcheck.WatchHold,
	} {
		c := &compiler{notes: &notes{src: newSource("x", nil)}}
		ts := []healthcheck.Target{{Check: healthcheck.Check{Type: check}}}
		c.watched(val[string]{}, "fast-lab", ts)
		if ts[0].Watch != want {
			t.Errorf("%s: %q, not %q", check, ts[0].Watch, want)
		}
	}
}
