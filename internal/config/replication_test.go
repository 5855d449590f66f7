package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
	"pointsman/replication"
)

// carried is a file with a replicated instance.
const carried = `controller: {name: ctl-1}
single_vantage: accept
vantage: {domain: rack-1, controls: [tcp://192.0.2.1:22]}
authority:
  listen: [127.0.0.1:5353]
  zones:
    - name: lab.test.
      hosts: {a.lab.test.: [127.0.1.1], b.lab.test.: [127.0.1.2]}
instances:
  - name: orders
    preset: tablestore-standby
    auto: propose
    names: [{name: orders.lab.test., provider: embedded}]
    clusters:
      a: {target: a.lab.test., address: "127.0.1.1:8443", tablestore: {instance: orders}}
      b: {target: b.lab.test., address: "127.0.1.2:443", tablestore: {instance: orders}}
    primary: a
    check:
      type: tablestore
      ca: "pem of the two"
      tablestore: {service_key_file: prober.json, client_key_file: client.json}
      identity: {table: pointsman_is_}
    replication:
      source_key_file: source.json
      target_key_file: target.json
`

func carriedIn(t *testing.T, with ...string) *Instance {
	t.Helper()
	cfg := parse(t, carriedText(with...))
	return &cfg.Instances[0]
}

// carriedText is carried with pairs of texts exchanged.
func carriedText(with ...string) string {
	return strings.NewReplacer(append(with, `"pem of the two"`, `"`+strings.ReplaceAll(testCA, "\n", `\n`)+`"`)...).Replace(carried)
}

func TestReplicationHasItsDefaults(t *testing.T) {
	i := carriedIn(t)
	r := i.Replication
	if r == nil || !i.Policy.Replicated {
		t.Fatal("the instance is not replicated")
	}
	if r.Mode != replication.ModeStream || r.Visibility != time.Second || r.Busy != 100*time.Millisecond || r.Idle != 2*time.Second || r.Parallel != 4 || r.Ask ||
		r.ControlTable != "pointsman_replication" || r.DeadLettersTable != "pointsman_dead_letters" || r.Tables != nil || r.Except != nil {
		t.Errorf("%+v", r)
	}
	a, b := r.Clusters["a"], r.Clusters["b"]
	if a.Endpoint != "https://orders.lab.test:8443" || a.Address != "127.0.1.1:8443" || b.Endpoint != "https://orders.lab.test" || b.Address != "127.0.1.2:443" {
		t.Errorf("requests go to %+v and %+v", a, b)
	}
	if a.Instance != "orders" || a.ControlInstance != "orders" || a.SourceKeyFile != "source.json" || a.TargetKeyFile != "target.json" || a.CA != strings.TrimSpace(testCA) {
		t.Errorf("a is reached by %+v", a)
	}
	if got := i.Policy.RPO; got != (failover.RPO{Kind: failover.RPOBounded, Bound: 30 * time.Second}) {
		t.Errorf("the preset has the rpo %s", got)
	}
	if len(i.warnings) != 0 {
		t.Errorf("warned: %v", i.warnings)
	}
	if got := strings.Join(i.ReplicaKeyFiles(), " "); got != "source.json target.json" {
		t.Errorf("keys are read from %s", got)
	}
}

func TestReplicationOfACluster(t *testing.T) {
	i := carriedIn(t, "      target_key_file: target.json\n", `      target_key_file: target.json
      tables: ["o*"]
      except: [old]
      scheme: http
      control: {instance: tools}
      clusters: {b: {address: "127.0.1.9:80", source_key_file: b-source.json, target_key_file: b-target.json, control_instance: tools-b}}
`)
	a, b := i.Replication.Clusters["a"], i.Replication.Clusters["b"]
	if a.Endpoint != "http://orders.lab.test:8443" || a.ControlInstance != "tools" || a.TargetKeyFile != "target.json" {
		t.Errorf("a: %+v", a)
	}
	if b.Endpoint != "http://orders.lab.test" || b.Address != "127.0.1.9:80" || b.ControlInstance != "tools-b" || b.SourceKeyFile != "b-source.json" || b.TargetKeyFile != "b-target.json" || b.Instance != "orders" {
		t.Errorf("b: %+v", b)
	}
	if got := i.Replication.text(); got != "stream of o* but old" {
		t.Error(got)
	}
}

func TestOneKeyForTwoThingsIsWarnedAboutOnce(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"source and target": {"target.json", "source.json", "one key reads the source and writes the target"},
		"probes":            {"target.json", "prober.json", "a key of the probes"},
		"clients":           {"source_key_file: source.json", "source_key_file: client.json", "a key of the probes"},
	} {
		t.Run(name, func(t *testing.T) {
			i := carriedIn(t, c.from, c.to)
			if len(i.warnings) != 1 || !strings.Contains(i.warnings[0].Message, c.want) || i.warnings[0].Hint == "" {
				t.Errorf("warned: %v", i.warnings)
			}
		})
	}
}

func TestWhatMayBeLost(t *testing.T) {
	for text, want := range map[string]failover.RPO{
		"none": {Kind: failover.RPONone}, "zero": {Kind: failover.RPOZero}, "5s": {Kind: failover.RPOBounded, Bound: 5 * time.Second},
	} {
		if got := carriedIn(t, "    primary: a\n", "    primary: a\n    rpo: "+text+"\n").Policy.RPO; got != want {
			t.Errorf("rpo: %s is %+v", text, got)
		}
	}
	// Other presets decide nothing about it.
	if got := carriedIn(t, "tablestore-standby", "stateless-http").Policy.RPO.Kind; got != failover.RPONone {
		t.Errorf("stateless-http has the rpo %s", got)
	}
}

func TestAnIdleTableMayNotRefuseEveryFailover(t *testing.T) {
	broken := func(rpo string) bool {
		cfg := parse(t, carriedText("    primary: a\n", "    primary: a\n    rpo: "+rpo+"\n"))
		for _, q := range cfg.Explain()[0].Inequalities {
			if q.Name == "rpo-above-idle-lag" {
				return !q.Holds
			}
		}
		return false
	}
	if !broken("3s") || broken("4s") || broken("none") {
		t.Errorf("3s is broken: %t, 4s: %t, none: %t", broken("3s"), broken("4s"), broken("none"))
	}
}

func TestReplicationIsExplained(t *testing.T) {
	var got []string
	for _, k := range parse(t, carriedText()).Explain()[0].Knobs {
		if k.Does == "" || k.Value == "" {
			t.Errorf("%s is not explained: %+v", k.Key, k)
		}
		got = append(got, k.Key+" = "+k.Value)
	}
	all := strings.Join(got, "\n")
	for _, want := range []string{"replication = stream of all tables", "rpo = 30s", "an idle shard costs = about 43200 read units a day", "our own tables at the target = pointsman_replication, pointsman_dead_letters"} {
		if !strings.Contains(all, want) {
			t.Errorf("missing: %s\nin\n%s", want, all)
		}
	}
}

// TestAReplicationIsTakenOver where nothing of it changed, and is another one
// where a key did.
func TestAReplicationIsTakenOver(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pointsman.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(carriedText())
	old, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	same, err := LoadAfter(old)
	if err != nil {
		t.Fatal(err)
	}
	if same.Instances[0].Replication != old.Instances[0].Replication {
		t.Error("it was made anew although its text is the same")
	}
	write(carriedText("      target_key_file: target.json\n", "      target_key_file: target.json\n      visibility: 3s\n"))
	other, err := LoadAfter(old)
	if err != nil {
		t.Fatal(err)
	}
	if got := other.Instances[0].Replication.Visibility; got != 3*time.Second {
		t.Errorf("visibility is %s", got)
	}
	var diff []string
	for _, c := range Diff(old, other) {
		diff = append(diff, c.String())
	}
	if got := strings.Join(diff, "; "); got != "instances.orders.replication.visibility: (default) → 3s" {
		t.Errorf("the difference is %s", got)
	}
}

// TestACommandThatTellsTheLagNeedsAFileOfItsOwner: whoever may write the
// config would run what they like.
func TestACommandThatTellsTheLagNeedsAFileOfItsOwner(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pointsman.yaml")
	text := carriedText("      source_key_file: source.json\n      target_key_file: target.json\n", "      mode: external\n      external: {command: [/bin/true]}\n")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if x := cfg.Instances[0].Replication.External; x == nil || strings.Join(x.Command, " ") != "/bin/true" || x.Every != 10*time.Second || x.Timeout != 5*time.Second {
		t.Errorf("%+v", x)
	}
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "a replication whose lag a command tells") {
		t.Errorf("a file that others may write: %v", err)
	}
}
