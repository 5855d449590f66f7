package config

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func compiled(t *testing.T, make func() ([]byte, error)) *jsonschema.Schema {
	t.Helper()
	text, err := make()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// grown has every type of channel, people, freezes and maintenance: what the
// samples do not show.
const grown = `controller:
  name: ctl-1
  listen: 127.0.0.1:8053
  token_file: token
  principals:
    - {name: ann, token_file: ann.token}
    - {name: bob, token_file: bob.token, role: approver}
single_vantage: accept
vantage: {domain: rack-1, controls: ["tcp://192.0.2.1:53"], allow: ["169.254.10.0/24"], watch_targets: 10}
authority:
  listen: [":5353"]
  rate_limit: {slip: 0, exempt: ["10.0.0.0/8", "2001:db8::/32"]}
  zones:
    - name: lab.test.
      ns: [ns.lab.test.]
      hosts: {ns.lab.test.: [127.0.0.1], a.lab.test.: [127.0.1.1, "2001:db8::1"], b.lab.test.: [127.0.1.2]}
      transfer: {addresses: [192.0.2.7, 198.51.100.0/24]}
notify:
  language: zh
  zone: Asia/Shanghai
  runbook: https://wiki.example.com/pointsman/KIND
  channels:
    - {name: files, type: folder, path: notices, language: en, info: false, keep: 10, quiet: [{days: [sat, SUN], at: "0:00", for: 24h}, {from: "2026-12-24T00:00:00Z", to: "2026-12-26T00:00:00Z"}]}
    - {name: mail, type: email, server: "smtp.example.com:465", tls: implicit, user: pm, password_file: smtp.pass, from: "P <pm@example.com>", to: [a@example.com]}
    - {name: am, type: alertmanager, url: "http://127.0.0.1:9093", allow: [127.0.0.0/8], token_file: am.token, per_minute: 7, labels: {team: db}}
    - {name: slack, type: shoutrrr, url_file: slack.url, timeout: 5s}
    - {name: ding, type: dingtalk, url_file: ding.url, keyword: pointsman, mobiles: ["+65-80000000"]}
    - {name: ding-2, type: dingtalk, url_file: ding-2.url, secret_file: ding.key}
    - {name: hook, type: webhook, url_file: hook.url, secret_file: hook.key}
  routes:
    - {instances: [orders], kinds: [drift, held], steps: [{channel: slack}, {channel: mail, after: 10m}]}
    - {steps: [{channel: files}, {channel: am}, {channel: ding}, {channel: ding-2}, {channel: hook}]}
  heartbeat: {url_file: beat.url, every: 30s}
reports:
  - {name: daily, schedule: "0 8 * * *", timezone: Asia/Shanghai, formats: [html, json], channels: [mail, files], keep: 30, jitter: 0s}
  - {name: weekly, schedule: "@weekly", window: previous week, instances: ["ord*"]}
  - {name: often, schedule: "@every 2h", timezone: Etc/GMT+8}
instances:
  - name: orders
    preset: stateless-http
    auto: approve
    approval: 1
    approval_life: 20m
    names: [{name: orders.lab.test, provider: embedded}]
    clusters:
      a:
        target: a.lab.test.
        address: "127.0.1.1:8080"
        maintenance:
          - {days: [SUN, tue], at: "2:05", for: 90m, zone: Asia/Shanghai, reason: patches}
          - {from: "2026-12-01T02:00:00Z", to: "2026-12-01T16:00:00.5+08:00"}
      b: {target: b.lab.test., address: "127.0.1.2:8080"}
    primary: a
    budget: []
    ratio: 0.25
    freeze:
      - {cron: "0 18 * * 5", for: 60h, zone: Asia/Shanghai, reason: weekend}
      - {from: "2026-12-24T00:00:00+08:00", to: "2027-01-02T00:00:00+08:00"}
    checks:
      - {name: web, type: http, path: "/healthz?full=1", status: [204, 3xx, "401-403"], identity: {header: X-Cluster}, slow: .5s}
      - {type: tcp, port: 22}
    rpo: 1m30s
    replication:
      mode: external
      external: {url: "https://lag.example.com/orders", every: 5s, timeout: 2s}
      visibility: 0s
  - name: stock
    preset: tablestore-standby
    names: [{name: stock.lab.test, provider: embedded}]
    clusters:
      a: {target: a.lab.test., address: "127.0.1.1:8081", tablestore: {instance: stock}}
      b: {target: b.lab.test., address: "127.0.1.2:8081", tablestore: {instance: stock}}
    primary: a
    rpo: zero
    check: {type: tcp}
    move_proof: waived
    replication:
      mode: stream
      tables: ["orders", "log_[ab]*"]
      except: ["log_b?"]
      source_key_file: source.key.json
      target_key_file: target.key.json
      scheme: http
      clusters: {b: {source_key_file: b.source.json, target_key_file: b.target.json, address: "127.0.1.2:9081", control_instance: tools}}
      resync: ask
      copy: {parallel: 8}
      poll: {busy: 50ms, idle: 1s}
      control: {table: pointsman_positions, dead_letters: pointsman_dead, instance: ours}
  - name: global
    preset: tablestore-standby
    names: [{name: global.lab.test, provider: embedded}]
    clusters:
      a: {target: a.lab.test., address: "127.0.1.1:8082", tablestore: {instance: global, region: cn-a}}
      b: {target: b.lab.test., address: "127.0.1.2:8082", tablestore: {instance: global, region: cn-b}}
    primary: a
    check: {type: tcp}
    move_proof: waived
    replication: {mode: global-table, global_table: orders, source_key_file: reader.json}
`

// asJSON reads YAML as an editor does: by the library, not by our decoder.
func asJSON(text []byte) (any, error) {
	data, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(data))
}

// bothSchemas picks the schema of a file by its name.
func bothSchemas(t *testing.T) func(file string) *jsonschema.Schema {
	controller, vantage := compiled(t, JSONSchema), compiled(t, VantageJSONSchema)
	return func(file string) *jsonschema.Schema {
		if strings.HasPrefix(filepath.Base(file), "vantage") {
			return vantage
		}
		return controller
	}
}

// TestSchemaTakesWhatTheLoaderTakes: an editor that marks good lines is
// switched off.
func TestSchemaTakesWhatTheLoaderTakes(t *testing.T) {
	texts := map[string][]byte{}
	for name := range samples {
		data, err := os.ReadFile(filepath.Join(configs, name))
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = data
		first, _, _ := strings.Cut(string(data), "\n")
		want := "# yaml-language-server: $schema=./pointsman.schema.json"
		if name == "vantage.yaml" {
			want = "# yaml-language-server: $schema=./vantage.schema.json"
		}
		if first != want {
			t.Errorf("%s begins with %q", name, first)
		}
	}
	for _, w := range StarterWishes() {
		s, err := NewStarter(w)
		if err != nil {
			t.Fatal(err)
		}
		texts["starter "+string(w.Preset)+" "+string(w.Topology)+" "+w.Provider] = s.Text
	}
	texts["grown"] = []byte(grown)
	schemaOf := bothSchemas(t)
	for name, text := range texts {
		if name == "grown" {
			if _, err := Parse(name, text); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		doc, err := asJSON(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := schemaOf(name).Validate(doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSchemaFilesAreUpToDate: editors read the files, which 'pointsman config
// schema' prints anew.
func TestSchemaFilesAreUpToDate(t *testing.T) {
	for file, make := range map[string]func() ([]byte, error){"pointsman.schema.json": JSONSchema, "vantage.schema.json": VantageJSONSchema} {
		want, err := make()
		if err != nil {
			t.Fatal(err)
		}
		file = filepath.Join(configs, file)
		if *update {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is out of date: go test ./internal/config -run TestSchemaFiles -update", file)
		}
	}
}

// TestSchemaKnowsEveryKey compares it with the structs by another walk, and
// wants a description of each.
func TestSchemaKnowsEveryKey(t *testing.T) {
	for _, f := range []struct {
		make func() ([]byte, error)
		typ  reflect.Type
	}{{JSONSchema, reflect.TypeFor[fileDoc]()}, {VantageJSONSchema, reflect.TypeFor[vantageFileDoc]()}} {
		text, err := f.make()
		if err != nil {
			t.Fatal(err)
		}
		var root map[string]any
		if err := json.Unmarshal(text, &root); err != nil {
			t.Fatal(err)
		}
		var got []string
		schemaPaths(t, root, "", &got)
		for _, key := range schemaKeys(f.typ, "") {
			if key = strings.TrimPrefix(key, "*"); !slices.Contains(got, key) {
				t.Errorf("%s: the schema lacks %s", f.typ.Name(), key)
			}
		}
		known := schemaKeys(f.typ, "")
		for _, key := range got {
			single := strings.Replace(key, "instances[].checks[].", "instances[].check.", 1)
			if !slices.ContainsFunc(known, func(k string) bool { k = strings.TrimPrefix(k, "*"); return k == key || k == single }) {
				t.Errorf("%s: the schema has %s, which is no key", f.typ.Name(), key)
			}
		}
	}
}

func schemaPaths(t *testing.T, n map[string]any, path string, out *[]string) {
	if props, ok := n["properties"].(map[string]any); ok {
		if n["additionalProperties"] != false {
			t.Errorf("%s takes unknown keys", path)
		}
		for key, v := range props {
			at, v := path+key, v.(map[string]any)
			*out = append(*out, at)
			if v["description"] == nil {
				t.Errorf("%s has no description", at)
			}
			schemaPaths(t, v, at+".", out)
		}
	}
	at := strings.TrimSuffix(path, ".")
	if items, ok := n["items"].(map[string]any); ok {
		schemaPaths(t, items, at+"[].", out)
	}
	if others, ok := n["additionalProperties"].(map[string]any); ok {
		schemaPaths(t, others, at+".NAME.", out)
	}
}

// TestSchemaRefusesMistakesThatItCanExpress: each of the bad files is refused,
// or its mistake is of a kind that no schema sees, and then stands in the list.
func TestSchemaRefusesMistakesThatItCanExpress(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	listed, err := os.ReadFile("testdata/beyond_schema.txt")
	if err != nil && !*update {
		t.Fatal(err)
	}
	var beyond []string
	schemaOf := bothSchemas(t)
	refused := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := asJSON(text)
		if err != nil {
			continue // no editor gets as far as the schema
		}
		if schemaOf(file).Validate(doc) != nil {
			refused++
		} else {
			beyond = append(beyond, strings.TrimSuffix(filepath.Base(file), ".yaml"))
		}
	}
	got := strings.Join(beyond, "\n") + "\n"
	if *update {
		if err := os.WriteFile("testdata/beyond_schema.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got != string(listed) {
		t.Errorf("beyond the schema are\n%s\nand listed are\n%s", got, listed)
	}
	if refused < 60 {
		t.Errorf("only %d mistakes are refused", refused)
	}
}

// TestProgramLinksNoValidator: schemas are for editors, the program checks by
// its own words.
func TestProgramLinksNoValidator(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "pointsman/cmd/pointsman").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "pointsman/internal/config\n") {
		t.Fatalf("not the packages of the program:\n%s", out)
	}
	for pkg := range strings.Lines(string(out)) {
		if strings.Contains(pkg, "jsonschema") {
			t.Errorf("the program links %s", pkg)
		}
	}
}
