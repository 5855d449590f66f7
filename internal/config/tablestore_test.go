package config

import (
	"path/filepath"
	"strings"
	"testing"

	"pointsman/healthcheck"
	"pointsman/internal/failover"
)

func TestTablestoreCheckBecomesPolicyAndTargets(t *testing.T) {
	cfg, err := Load(filepath.Join(configs, "tablestore.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	in := cfg.Instances[0]
	if !in.Policy.Canary || !in.Policy.ClientProbes {
		t.Errorf("canary %v, client probes %v", in.Policy.Canary, in.Policy.ClientProbes)
	}
	a, b := in.Targets[0], in.Targets[1]
	if a.Identity != "a" || a.Other != "b" || b.Identity != "b" || b.Other != "a" || a.Place != (healthcheck.Place{Instance: "orders", Region: "zone-1"}) {
		t.Errorf("a is %+v\nb is %+v", a, b)
	}
	k := a.Check.Tablestore
	if want := filepath.Join(configs, "../run/prober.key.json"); string(k.ServiceKey) != want || k.ClientKey == "" {
		t.Errorf("keys in %q, want %q, and %q", k.ServiceKey, want, k.ClientKey)
	}
	if k.FrontEvery != healthcheck.DefaultFrontEvery || k.FrontTimeout != healthcheck.DefaultFrontTimeout {
		t.Errorf("front every %s for %s", k.FrontEvery, k.FrontTimeout)
	}
	for _, w := range cfg.Warnings {
		if !strings.Contains(w.Message, "one vantage") {
			t.Errorf("the sample is warned about: %v", w)
		}
	}
	p, err := failover.PresetPolicy(failover.PresetTablestore)
	if err != nil {
		t.Fatal(err)
	}
	text := cfg.Effective()
	for _, want := range []string{"front end is asked every     1s, for 800ms", "canary is spread over        4 partition keys", "round                        " + figure(p.Round), "timeout                      2s"} {
		if !strings.Contains(text, want) {
			t.Errorf("validate -v lacks %q:\n%s", want, text)
		}
	}
}

// A vantage elsewhere asks the same, with keys at the path that the file of the
// controller names.
func TestVantageYAMLOfATablestore(t *testing.T) {
	for _, more := range []string{"", ", client_key_file: /etc/pointsman/client.key, scheme: http, table: pm_canary, denial: \"den(ied|y)\", front_every: 2s, front_timeout: 500ms"} {
		cfg, err := Parse("/etc/pointsman/pointsman.yaml", []byte(withVantage(more)))
		if err != nil {
			t.Fatal(err)
		}
		out, err := VantageYAML(cfg, "van-2")
		if err != nil {
			t.Fatal(err)
		}
		v, err := ParseVantage("/home/vantage/vantage.yaml", out)
		if err != nil {
			t.Fatal(err)
		}
		k, mine := v.Targets[0].Check.Tablestore, cfg.Instances[0].Targets[0].Check.Tablestore
		if k.ServiceKey != "/home/vantage/keys/prober.key" || mine.ServiceKey != "/etc/pointsman/keys/prober.key" {
			t.Errorf("keys in %q and %q", k.ServiceKey, mine.ServiceKey)
		}
		if k.FrontEvery != mine.FrontEvery || k.FrontTimeout != mine.FrontTimeout {
			t.Errorf("front every %s for %s, want %s for %s", k.FrontEvery, k.FrontTimeout, mine.FrontEvery, mine.FrontTimeout)
		}
	}
}

func withVantage(more string) string {
	return `
controller: {name: ctl-1, listen: "127.0.0.1:8053", token_file: token}
vantage: {domain: rack-1}
vantages:
  - {name: van-2, domain: rack-2, key_file: van-2.key}
authority:
  listen: [127.0.0.1:5353]
  zones:
    - name: lab.test.
      hosts:
        a.lab.test.: [127.0.1.1]
        b.lab.test.: [127.0.1.2]
instances:
  - name: orders
    preset: tablestore-standby
    auto: propose
    names: [{name: orders.lab.test., provider: embedded}]
    clusters:
      a: {target: a.lab.test., address: "127.0.1.1:8080", tablestore: {instance: orders, region: r1}}
      b: {target: b.lab.test., address: "127.0.1.2:8080", tablestore: {instance: orders}}
    primary: a
    check:
      type: tablestore
      tablestore: {service_key_file: keys/prober.key` + more + `}
      identity: {table: pointsman_is_}
`
}
