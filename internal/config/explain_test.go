package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pointsman/internal/failover"
)

// explained loads a text as config explain does.
func explained(t *testing.T, text string) ([]Explained, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pointsman.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := LoadAnyway(file)
	if cfg == nil {
		return nil, err
	}
	return cfg.Explain(), err
}

func starterWith(t *testing.T, w Wish, more string) string {
	t.Helper()
	s, err := NewStarter(w)
	if err != nil {
		t.Fatal(err)
	}
	return string(s.Text) + more
}

var (
	tablestoreWish = Wish{Preset: failover.PresetTablestore, Topology: TopologySameName, Provider: StarterBIND}
	httpWish       = Wish{Preset: failover.PresetHTTP, Topology: TopologyHTTP, Provider: StarterEmbedded}
)

// TestExplainSaysWhereAValueComesFrom: the file with its line, the preset, a
// default or a constant, for figures, words and lists.
func TestExplainSaysWhereAValueComesFrom(t *testing.T) {
	text := starterWith(t, httpWish, "    ride_out: 7s\n    budget:\n      - {moves: 2, per: 1h}\n")
	es, err := explained(t, text)
	if err != nil || len(es) != 1 {
		t.Fatalf("%v %v", es, err)
	}
	lines := strings.Split(text, "\n")
	want := map[string]struct{ value, from, was string }{
		"name":                {"orders", "file", ""},
		"preset":              {"stateless-http", "file", ""},
		"clusters":            {"a, b", "file", ""},
		"check":               {"http", "file", ""},
		"names":               {"orders.svc.example.com. by embedded", "file", ""},
		"ride_out":            {"7s", "file", "3s"},
		"budget":              {"2 per 1h", "file", "3 per 1h"},
		"auto":                {"propose", "file", "auto"},
		"round":               {"1s", "preset", ""},
		"watch":               {"hold", "preset", ""},
		"longest call":        {"3s", "constant", ""},
		"vote is stale after": {"2s", "two rounds", ""},
	}
	for _, k := range es[0].Knobs {
		w, ok := want[k.Key]
		if !ok {
			continue
		}
		delete(want, k.Key)
		if k.Value != w.value || k.From != w.from || k.Was != w.was {
			t.Errorf("%s: %+v, want %+v", k.Key, k, w)
		}
		if (k.Line > 0) != (k.From == "file") {
			t.Errorf("%s is from %s, line %d", k.Key, k.From, k.Line)
		}
		if value, _, _ := strings.Cut(k.Value, " "); k.Line > 0 && k.Key != "clusters" && !strings.Contains(lines[k.Line-1], strings.TrimSuffix(value, ",")) {
			t.Errorf("%s: line %d is %q", k.Key, k.Line, lines[k.Line-1])
		}
	}
	for k := range want {
		t.Errorf("%s is not explained", k)
	}
}

// TestExplainNamesTheInequalityThatFails, of a file that Load refuses, with its
// mistakes; and nothing of a file that is wrong in other ways is called broken.
func TestExplainNamesTheInequalityThatFails(t *testing.T) {
	for _, c := range []struct{ more, broken string }{
		{"    timeout: 2s\n", "timeout-below-round"},
		{"    burst: 2s\n", "burst-within-round"},
		{"    ttl: 2s\n", "ttl-at-least-floor"},
		{"", ""},
	} {
		es, err := explained(t, starterWith(t, httpWish, c.more))
		if (err != nil) != (c.broken != "") || len(es) != 1 {
			t.Fatalf("%q: %v", c.more, err)
		}
		var broken []string
		for _, q := range es[0].Broken() {
			broken = append(broken, q.Name)
		}
		if strings.Join(broken, " ") != c.broken {
			t.Errorf("%q breaks %q, want %q", c.more, broken, c.broken)
		}
	}
	text := strings.Replace(starterWith(t, httpWish, ""), "auto: propose", "auto: auto", 1)
	es, err := explained(t, text)
	if err == nil || len(es) != 1 || len(es[0].Broken()) != 1 || es[0].Broken()[0].Name != "domains-for-auto" {
		t.Errorf("one domain with auto: auto: %v %+v", err, es)
	}
	if es, err := explained(t, starterWith(t, httpWish, "    rideout: 2s\n")); err == nil || slices.ContainsFunc(es, func(e Explained) bool { return len(e.Broken()) > 0 }) {
		t.Errorf("an unknown key: %v %+v", err, es)
	}
	if es, err := explained(t, "- nonsense: ["); err == nil || es != nil {
		t.Errorf("no YAML: %v %v", es, err)
	}
	if cfg, err := LoadAnyway(filepath.Join(t.TempDir(), "absent")); err == nil || cfg != nil {
		t.Errorf("an absent file: %v %v", cfg, err)
	}
}

// TestExplainWarns: each piece of advice has its cause, and goes with it.
func TestExplainWarns(t *testing.T) {
	vantages := "\nvantages:\n  - {name: van-2, domain: zone-2, key_file: van-2.key}\n  - {name: van-3, domain: zone-3, key_file: van-3.key}\n"
	listen := func(s string) string {
		return strings.Replace(s, "  data: data\n", "  data: data\n  listen: 127.0.0.1:8053\n  token_file: token\n", 1)
	}
	two := strings.Replace(vantages, "  - {name: van-3, domain: zone-3, key_file: van-3.key}\n", "", 1)
	for _, c := range []struct{ name, text, warning string }{
		{"one domain", starterWith(t, httpWish, ""), "single domain: all vantages stand in the failure domain zone-1"},
		{"two domains", listen(starterWith(t, httpWish, two)), "two domains: both must agree"},
		{"partition moves", starterWith(t, tablestoreWish, "    ride_out: 14s\n"), "ride_out 14s is below 15s: a partition move of Tablestore"},
		{"ttl dominates", starterWith(t, tablestoreWish, ""), "ttl 30s is above ride_out 15s"},
		{"waived", starterWith(t, tablestoreWish, "    move_proof: waived\n"), "move_proof is waived"},
		{"cooldown", starterWith(t, httpWish, "    cooldown: 29s\n"), "cooldown 29s is below ttl 30s"},
		{"no budget", strings.Replace(listen(starterWith(t, httpWish, vantages)), "auto: propose", "auto: auto\n    budget: []", 1), "budget is without bound"},
		{"provider", strings.Replace(starterWith(t, tablestoreWish, ""), "    type: rfc2136", "    type: rfc2136\n    timeout: 10s", 1), "provider bind: timeout 10s is above the longest call 3s"},
	} {
		es, err := explained(t, c.text)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if !slices.ContainsFunc(es[0].Warnings, func(w string) bool { return strings.HasPrefix(w, c.warning) }) {
			t.Errorf("%s: %q lacks %q", c.name, es[0].Warnings, c.warning)
		}
	}
	es, err := explained(t, listen(starterWith(t, httpWish, "    ttl: 5s\n    ride_out: 10s\n"+vantages)))
	if err != nil || len(es[0].Warnings) > 0 {
		t.Errorf("a good file is warned of: %v %+v", err, es)
	}
}

// TestExplainSaysWhenAPartialFailureIsSeen.
func TestExplainSaysWhenAPartialFailureIsSeen(t *testing.T) {
	for more, want := range map[string]string{
		"":                                "a share of 0.5 or more is voted down after at most 1m40s (window 20 of round 5s)",
		"    window: 0\n":                 "never noticed while some probes in a row succeed: window is 0",
		"    window: 10\n    round: 4s\n": "a share of 0.5 or more is voted down after at most 40s (window 10 of round 4s)",
	} {
		es, err := explained(t, starterWith(t, tablestoreWish, more))
		if err != nil || es[0].Partial != want {
			t.Errorf("%q: %v %q", more, err, es[0].Partial)
		}
	}
}
