package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
)

const twoWithHooks = `controller: {name: ctl-1}
single_vantage: accept
vantage: {name: ctl-1, domain: rack-1, controls: ["tcp://127.0.0.1:1"]}
authority:
  listen: [127.0.0.1:5353]
  zones: [{name: lab.test., hosts: {a.lab.test.: [127.0.1.1], b.lab.test.: [127.0.1.2]}}]
hooks:
  retry: 30s
  pre:
    - {name: gate, command: [/bin/true, --strict], on: [switchover], timeout: 3s}
  post:
    - {name: desk, url: "https://desk.example.com/T0KEN", secret_file: desk.key, timeout: 5m}
instances:
  - name: one
    preset: stateless-http
    names: [{name: one.lab.test., provider: embedded}]
    clusters: {a: {target: a.lab.test., address: "127.0.1.1:80"}, b: {target: b.lab.test., address: "127.0.1.2:80"}}
    primary: a
    check: {type: http, identity: {header: X-Cluster}}
  - name: two
    preset: stateless-http
    names: [{name: two.lab.test., provider: embedded}]
    clusters: {a: {target: a.lab.test., address: "127.0.1.1:81"}, b: {target: b.lab.test., address: "127.0.1.2:81"}}
    primary: a
    hooks: {pre: [], retry: 1s}
    check: {type: http, identity: {header: X-Cluster}}
  - name: three
    preset: stateless-http
    names: [{name: three.lab.test., provider: embedded}]
    clusters: {a: {target: a.lab.test., address: "127.0.1.1:82"}, b: {target: b.lab.test., address: "127.0.1.2:82"}}
    primary: a
    hooks: {pre: [{name: mine, command: [/bin/false], on_error: pass}], post: []}
    check: {type: http, identity: {header: X-Cluster}}
`

func hooksIn(t *testing.T, text string) (*Config, map[string]string) {
	t.Helper()
	cfg, err := Parse("pointsman.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, i := range cfg.Instances {
		var words []string
		for k, h := range i.Hooks {
			if len(i.Policy.Hooks) != len(i.Hooks) || i.Policy.Hooks[k].Name != h.Name {
				t.Errorf("%s: the policy has other hooks", i.Policy.Instance)
			}
			words = append(words, string(h.When)+" "+h.Name)
		}
		out[string(i.Policy.Instance)] = strings.Join(words, ", ")
	}
	return cfg, out
}

// TestHooksOfAnInstance: a list that it has stands in place of the one above.
func TestHooksOfAnInstance(t *testing.T) {
	cfg, got := hooksIn(t, twoWithHooks)
	for i, want := range map[string]string{"one": "pre gate, post desk", "two": "post desk", "three": "pre mine"} {
		if got[i] != want {
			t.Errorf("%s: %q, want %q", i, got[i], want)
		}
	}
	one, two, three := cfg.Instances[0], cfg.Instances[1], cfg.Instances[2]
	g, d := one.Hooks[0], one.Hooks[1]
	if !slices.Equal(g.Command, []string{"/bin/true", "--strict"}) || !slices.Equal(g.On, []failover.OpKind{failover.Switchover}) || g.Timeout != 3*time.Second || g.Pass {
		t.Errorf("gate %+v", g)
	}
	if d.URL == "" || d.SecretFile != "desk.key" || d.Timeout != 5*time.Minute || len(d.Secret) != 0 {
		t.Errorf("desk %+v", d)
	}
	if three.Hooks[0].Timeout != 10*time.Second || !three.Hooks[0].Pass {
		t.Errorf("mine %+v", three.Hooks[0])
	}
	if one.Policy.HookRetry != 30*time.Second || two.Policy.HookRetry != time.Second || three.Policy.HookRetry != 30*time.Second {
		t.Errorf("retry %s %s %s", one.Policy.HookRetry, two.Policy.HookRetry, three.Policy.HookRetry)
	}
	for _, s := range one.Settings {
		if strings.Contains(s.Value+s.From, "T0KEN") {
			t.Errorf("a URL is told: %+v", s)
		}
	}
}

// TestAnotherCallIsAnotherPolicy: arguments and URL are in the hash, so that a
// plan is stale and config_settle begins; an instance without hooks keeps the
// hash that it has always had.
func TestAnotherCallIsAnotherPolicy(t *testing.T) {
	was, _ := hooksIn(t, twoWithHooks)
	is, _ := hooksIn(t, strings.Replace(twoWithHooks, "--strict", "--lax", 1))
	same := func(i int) bool { return was.Instances[i].Policy.Expected == is.Instances[i].Policy.Expected }
	if same(0) || !same(1) || !same(2) {
		t.Errorf("changed %v %v %v", !same(0), !same(1), !same(2))
	}
	changes := Diff(was, is)
	if len(changes) != 1 || changes[0].Path != "hooks.pre.gate.command" || strings.Contains(changes[0].String(), "lax") {
		t.Errorf("diff %v", changes)
	}
}

func TestAURLInClearTextIsWarnedOf(t *testing.T) {
	cfg, _ := hooksIn(t, strings.Replace(twoWithHooks, "https://desk", "http://desk", 1))
	if n := len(cfg.Warnings); n == 0 || !slices.ContainsFunc(cfg.Warnings, func(f Fault) bool { return strings.Contains(f.Message, "whoever is on the way can answer") }) {
		t.Errorf("warnings %v", cfg.Warnings)
	}
}
