package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pointsman/internal/config"
	"pointsman/internal/failover"
)

// Every kind of page that the rooms know is listed, and no other.
func TestAllPagesAreKnown(t *testing.T) {
	said := regexp.MustCompile(`(?:\.page(?:Once)?\(|Page\{Kind: )(?:"([a-z-]+)"|string\(l\.Outcome\)|(\w+))`)
	found := []string{string(failover.Settled), string(failover.Unwound), string(failover.Yielded)}
	for _, room := range []string{"failover", "controller"} {
		files, err := filepath.Glob(filepath.Join("..", "..", "internal", room, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no files of %s: %v", room, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range said.FindAllStringSubmatch(string(text), -1) {
				switch {
				case m[1] != "":
					found = append(found, m[1])
				case m[2] != "" && m[2] != "kind" && m[2] != "failover" && m[2] != "a":
					t.Errorf("%s: a page of the kind %s, which no test can read", file, m[2])
				}
			}
		}
	}
	slices.Sort(found)
	found = slices.Compact(found)
	if known := slices.Sorted(slices.Values(allPages)); !slices.Equal(found, known) {
		t.Errorf("the rooms have %v\nlisted are %v", found, known)
	}
}

// A page that never came is 0 from the start: of each instance while they have
// series of their own, of all together where they have not.
func TestPagesBeginAtZero(t *testing.T) {
	for most, want := range map[int]string{2: "orders", 1: ""} {
		m := newMetrics(buildVersion())
		cfg := &config.Config{Controller: config.Controller{MetricsInstances: most}, Instances: make([]config.Instance, 2)}
		cfg.Instances[0].Policy.Instance, cfg.Instances[1].Policy.Instance = "orders", "pay"
		m.expect(cfg)
		m.pages.WithLabelValues(want, "held").Inc()
		m.expect(cfg) // a reload
		series := gathered(t, m.pages)
		for _, kind := range allPages {
			if _, ok := series[fmt.Sprintf("pointsman_pages_total{instance=%s,kind=%s}", want, kind)]; !ok {
				t.Errorf("with %d instances of their own there is no %s of %q", most, kind, want)
			}
		}
		if n := len(series); n != len(allPages)*most {
			t.Errorf("with %d instances of their own there are %d series", most, n)
		}
	}
}
