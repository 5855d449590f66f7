package config

import (
	"strings"
	"testing"
	"time"
)

func TestMaintenanceWindows(t *testing.T) {
	text := strings.Replace(full, "      a: {target: a.lab.test., address: 127.0.1.1:8080}\n", `      a:
        target: a.lab.test.
        address: 127.0.1.1:8080
        maintenance:
          - {from: 2026-12-01T02:00:00+08:00, to: 2026-12-01T04:00:00+08:00, reason: kernel upgrade}
          - {days: [sat, Sun], at: "02:30", for: 90m, zone: Asia/Shanghai}
`, 1)
	if text == full {
		t.Fatal("the sample has no such line")
	}
	cfg := parse(t, text)
	ws := cfg.Instances[0].Policy.Maintenance
	if len(ws) != 2 {
		t.Fatalf("%d windows", len(ws))
	}
	if w := ws[0]; w.Cluster != "a" || w.Reason != "kernel upgrade" || w.To.Sub(w.From) != 2*time.Hour || !w.From.Equal(time.Date(2026, 11, 30, 18, 0, 0, 0, time.UTC)) {
		t.Errorf("one stretch: %+v", w)
	}
	// Saturday 02:30 in Shanghai is Friday 18:30 UTC.
	if from, to, ok := ws[1].At(time.Date(2026, 11, 27, 18, 45, 0, 0, time.UTC)); !ok || from.UTC().Hour() != 18 || to.Sub(from) != 90*time.Minute {
		t.Errorf("weekly: %v %v %v", from, to, ok)
	}
	if parse(t, full).Instances[0].Policy.Expected == cfg.Instances[0].Policy.Expected {
		t.Error("a window does not show in the hash of the config")
	}
	if a, b := parse(t, full).Instances[0].Generation(), cfg.Instances[0].Generation(); a != b {
		t.Error("a window of the controller makes the votes of vantages void")
	}
	if out := cfg.Effective(); !strings.Contains(out, "maintenance of a") || !strings.Contains(out, "sat sun 02:30 for 1h30m, Asia/Shanghai") {
		t.Errorf("not shown:\n%s", out)
	}
}
