package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pointsman/healthcheck"
	"pointsman/internal/failover"
)

// full uses most of what a file can say; tests change it by strings.Replace.
const full = `controller:
  name: ctl-1
  data: ./data
  listen: 127.0.0.1:8053
  token_file: ./token
vantage: {name: ctl-1, domain: rack-1, controls: [tcp://192.0.2.1:22], allow: [169.254.10.0/24]}
vantages:
  - {name: van-2, domain: rack-2, key_file: ./van-2.key, controls: [tcp://192.0.2.2:22], allow: [169.254.20.0/24]}
  - {name: van-3, domain: rack-3, key_file: /etc/pointsman/van-3.key}
authority:
  listen: [127.0.0.1:5353]
  zones:
    - name: Lab.test
      hosts: {a.lab.test.: [127.0.1.1], b.lab.test.: [127.0.1.2, 2001:db8::2]}
providers:
  bind: {type: rfc2136, server: 127.0.0.1:5300, zone: example.com., key: {name: ctl., secret_file: ./tsig.key}, authorities: [127.0.0.1:5300]}
instances:
  - name: orders
    preset: stateless-http
    names:
      - {name: Orders.lab.test, provider: embedded}
      - {name: orders.example.com., provider: bind, targets: {b: b.example.com.}}
    clusters:
      a: {target: a.lab.test., address: 127.0.1.1:8080}
      b: {target: b.lab.test., address: 127.0.1.2:8080, identity: two}
    primary: b
    check: {type: http, path: /healthz, status: [200, 3xx, 418-420], identity: {header: X-Cluster}}
    ride_out: 4s
    ttl: 20s
    budget: [{moves: 2, per: 1h}, {moves: 4, per: 30d}]
    ack: true
    read_every: 10s
`

func parse(t *testing.T, text string) *Config {
	t.Helper()
	cfg, err := Parse("pointsman.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestFileBecomesWhatTheRoomsWant(t *testing.T) {
	cfg, err := Parse("/etc/pointsman/pointsman.yaml", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	same := func(what string, got, want any) {
		t.Helper()
		if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
			t.Errorf("%s\n got %s\nwant %s", what, g, w)
		}
	}
	same("controller", cfg.Controller, Controller{
		Name: "ctl-1", Data: "/etc/pointsman/data", Socket: "/etc/pointsman/data/pointsman.sock",
		Listen: "127.0.0.1:8053", TokenFile: "/etc/pointsman/token", MetricsInstances: 500,
	})
	same("ledger", cfg.Controller.Ledger().Dir+" "+cfg.Controller.Ledger().Owner, "/etc/pointsman/data ctl-1")
	same("vantages", cfg.Vantages, []Vantage{
		{"van-2", "rack-2", "/etc/pointsman/van-2.key", []healthcheck.Control{{Address: "192.0.2.2:22"}}, cfg.Vantages[0].Allow, 256},
		{"van-3", "rack-3", "/etc/pointsman/van-3.key", nil, nil, 256},
	})
	same("own vantage", cfg.Self.Name+"/"+failover.VantageName(cfg.Self.Domain), "ctl-1/rack-1")

	z := cfg.Authority.Zones[0]
	same("zone", []any{z.Name, z.NS, z.Hostmaster, z.Refresh, z.Retry, z.Expire, z.Minimum, z.Hosts["ns1.lab.test."]},
		"[lab.test. [ns1.lab.test.] hostmaster.lab.test. 300 60 604800 30 [127.0.0.1]]")
	same("zone names", []any{z.Names, z.Targets}, "[[orders.lab.test.] map[orders.lab.test.:[a.lab.test. b.lab.test.]]]")
	if faults := cfg.Authority.Validate(); len(faults) > 0 {
		t.Error(faults)
	}
	b := cfg.Providers[0]
	same("provider", []any{b.Name, b.SecretFile, b.Update.Zone, b.Update.Key.Name, b.Update.Key.Algorithm, b.Update.Timeout, b.Update.Allowed},
		"[bind /etc/pointsman/tsig.key example.com. ctl. hmac-sha256 3s map[orders.example.com.:[a.lab.test. b.example.com.]]]")

	p := cfg.Instances[0].Policy
	same("names", p.Names, []failover.NamePolicy{
		{Name: "orders.lab.test.", Provider: "embedded", Zone: "lab.test.", Embedded: true, Targets: map[failover.ClusterName]failover.Target{"a": "a.lab.test.", "b": "b.lab.test."}},
		{Name: "orders.example.com.", Provider: "bind", Zone: "example.com.", Targets: map[failover.ClusterName]failover.Target{"a": "a.lab.test.", "b": "b.example.com."}},
	})
	same("numbers", []any{p.Clusters, p.Primary, p.RideOut, p.TTL, p.TTLFloor, p.NeedAck, p.Budget, p.Round, p.Count, p.ReadEvery},
		"[[a b] b 4s 20 5 true [{Moves:2 Per:1h0m0s} {Moves:4 Per:720h0m0s}] 1s {Fall:3 Rise:5 Window:30 Ratio:0.4} 10s]")
	same("vantages of the policy", p.Vantages, "[{Name:ctl-1 Domain:rack-1} {Name:van-2 Domain:rack-2} {Name:van-3 Domain:rack-3}]")
	if faults := p.Validate(); len(faults) > 0 {
		t.Error(faults)
	}
	ts := cfg.Instances[0].Targets
	same("targets", []any{ts[0].Address, ts[0].Name, ts[0].Identity, ts[1].Identity, ts[0].RideOut, ts[0].Check.Status},
		"[127.0.1.1:8080 orders.lab.test. a two 4s [200 300-399 418-420]]")
	if len(cfg.Warnings) > 0 {
		t.Error(cfg.Warnings)
	}
}

func TestExpectedHashFollowsTheMeaningNotTheText(t *testing.T) {
	base := parse(t, full).Instances[0].Policy.Expected
	if len(base) != 32 {
		t.Fatalf("hash %q", base)
	}
	same := map[string]string{
		"a comment":           "# hello\n" + full,
		"a default in words":  strings.Replace(full, "    ack: true\n", "    ack: true\n    round: 1s\n    auto: auto\n", 1),
		"another file layout": strings.Replace(full, "    primary: b\n", "", 1) + "    primary: b\n",
		"the same duration":   strings.Replace(full, "ride_out: 4s", "ride_out: 4000ms", 1),
		"another controller":  strings.Replace(full, "name: ctl-1\n", "name: ctl-9\n", 1),
		"the case of a name":  strings.Replace(full, "Orders.lab.test", "orders.LAB.test.", 1),
	}
	for what, text := range same {
		if got := parse(t, text).Instances[0].Policy.Expected; got != base {
			t.Errorf("%s changes the hash", what)
		}
	}
	other := map[string][2]string{
		"a number":   {"ride_out: 4s", "ride_out: 5s"},
		"a target":   {"b: b.example.com.", "b: c.example.com."},
		"an address": {"127.0.1.2:8080", "127.0.1.2:8081"},
		"the check":  {"path: /healthz", "path: /health"},
		"a vantage":  {"domain: rack-3", "domain: rack-4"},
		"primary":    {"primary: b", "primary: a"},
	}
	for what, r := range other {
		if got := parse(t, strings.Replace(full, r[0], r[1], 1)).Instances[0].Policy.Expected; got == base {
			t.Errorf("%s does not change the hash", what)
		}
	}
}

func TestVantageFileHasTheGenerationsOfItsController(t *testing.T) {
	for name, r := range map[string][2]string{
		"as it is":            {"", ""},
		"text like a number":  {"status: [200", `json: {path: $.v, value: "1"}, status: [200`},
		"text like a bool":    {"status: [200", `json: {path: $.v, value: "true"}, status: [200`},
		"text like null":      {"status: [200", `body: {contains: "null"}, status: [200`},
		"hard text":           {"status: [200", `body: {contains: " a: b #c 'd' \"e\" ", matches: "^\\{\\[?x*&y$"}, status: [200`},
		"several lines":       {"status: [200", `body: {contains: "a\n b\n\nc\n"}, status: [200`},
		"a tab":               {"status: [200", `body: {contains: "a\tb"}, status: [200`},
		"Chinese text":        {"status: [200", `body: {contains: "订单 ok"}, status: [200`},
		"headers":             {"status: [200", `headers: {X-B: "2", X-A: "yes"}, expect_headers: {X-C: "^[0-9]+: "}, status: [200`},
		"numbers and warning": {"status: [200", `slow: 1500us, port: 81, status: [200`},
		"tls":                 {"{type: http,", "{type: https, server_name: x.test, host: x.test, cert_warn: 30d, "},
		"several checks": {
			"check: {type: http, path: /healthz, status: [200, 3xx, 418-420], identity: {header: X-Cluster}}",
			"checks: [{name: web, type: http, identity: {header: X-Cluster}}, {type: tcp, port: 81}]\n    combine: any",
		},
		"dns":  {"{type: http, path: /healthz, status: [200, 3xx, 418-420], identity: {header: X-Cluster}}", "{type: dns, dns: {name: x.test., type: soa, transport: tcp, rcode: noerror, contains: \"ns1 \", matches: '^ns'}, identity: {txt: id.server}}"},
		"grpc": {"{type: http, path: /healthz, status: [200, 3xx, 418-420],", "{type: grpcs, host: x.test, grpc: {service: orders.v1.Orders},"},
		"exec and icmp": {
			"check: {type: http, path: /healthz, status: [200, 3xx, 418-420], identity: {header: X-Cluster}}",
			"checks: [{type: http, identity: {header: X-Cluster}}, {type: icmp}, {type: exec, exec: {command: [/bin/check, '-w', 'a b', \"$x\\t\"]}}]",
		},
		"other preset": {"preset: stateless-http", "preset: tablestore-standby"},
		"odd numbers":  {"ride_out: 4s", "ride_out: 61s\n    ratio: 0.333\n    window: 7\n    round: 1100ms\n    burst: 1ms"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(full, r[0], r[1], 1)
			if strings.Contains(name, "tls") {
				text = strings.Replace(text, "path: /healthz,", "ca: "+quoted(testCA)+", path: /healthz,", 1)
			}
			cfg := parse(t, text)
			out, err := VantageYAML(cfg, "van-2")
			if err != nil {
				t.Fatal(err)
			}
			v, err := ParseVantage("vantage.yaml", out)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if got, want := healthcheck.Generation(v.Targets), cfg.Instances[0].Generation(); got != want {
				t.Errorf("generation %s, the controller expects %s\n%+v\n%+v\n%s", got, want, v.Targets, cfg.Instances[0].Targets, out)
			}
			if v.Name != "van-2" || len(v.Controllers) != 1 || v.Controllers[0] != "http://127.0.0.1:8053" ||
				len(v.Controls) != 1 || v.Controls[0].Address != "192.0.2.2:22" || len(v.Allow) != 1 || v.KeyFile != "van-2.key" {
				t.Errorf("%+v", v)
			}
		})
	}
}

func quoted(s string) string { return `"` + strings.ReplaceAll(s, "\n", `\n`) + `"` }

func TestCAFileGoesIntoTheVantageFileInFull(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "ca.pem"), testCA, 0o644)
	text := strings.Replace(full, "{type: http,", "{type: https, ca_file: ca.pem,", 1)
	write(t, filepath.Join(dir, "pointsman.yaml"), text, 0o644)
	cfg, err := Load(filepath.Join(dir, "pointsman.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := VantageYAML(cfg, "van-3")
	if err != nil {
		t.Fatal(err)
	}
	v, err := ParseVantage("elsewhere/vantage.yaml", out)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got, want := healthcheck.Generation(v.Targets), cfg.Instances[0].Generation(); got != want || v.Targets[0].Check.CA == "" {
		t.Errorf("generation %s, the controller expects %s", got, want)
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestVantageFileIsRefusedWhereItCouldNotWork(t *testing.T) {
	cfg := parse(t, full)
	if _, err := VantageYAML(cfg, "van-22"); err == nil || !strings.Contains(err.Error(), `did you mean "van-2"?`) {
		t.Error(err)
	}
	cfg = parse(t, strings.Replace(full, "127.0.0.1:8053", "127.0.0.1:0", 1))
	if _, err := VantageYAML(cfg, "van-2"); err == nil || !strings.Contains(err.Error(), "controller.advertise") {
		t.Error(err)
	}
	cfg = parse(t, strings.Replace(full, "  token_file", "  advertise: https://ctl.example.com/\n  token_file", 1))
	out, err := VantageYAML(cfg, "van-2")
	if err != nil || !strings.Contains(string(out), "- https://ctl.example.com\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestEffectiveNumbersSayWhereTheyComeFrom(t *testing.T) {
	cfg := parse(t, full)
	got := cfg.Effective()
	const golden = "testdata/effective.txt"
	if *update {
		write(t, golden, got, 0o644)
	}
	want, err := os.ReadFile(golden)
	if err != nil || got != string(want) {
		t.Errorf("%v\ngot\n%s\nwant\n%s", err, got, want)
	}
}

func TestWarnings(t *testing.T) {
	const fullCheck = "check: {type: http, path: /healthz, status: [200, 3xx, 418-420], identity: {header: X-Cluster}}"
	alone := strings.Replace(strings.Replace(full, fullCheck, "move_proof: waived\n    check: HERE", 1), ", identity: two", "", 1)
	three := strings.Replace(full, "  - {name: van-3, domain: rack-3", "  - {name: van-3, domain: rack-2", 1)
	cfg := parse(t, three)
	if len(cfg.Warnings) != 1 || !strings.Contains(cfg.Warnings[0].Message, "both must agree") || cfg.Warnings[0].Line != 6 {
		t.Errorf("two domains: %v", cfg.Warnings)
	}
	for want, check := range map[string]string{
		"check type tcp can be all that a cluster has to pass": "check: {type: tcp}",
		"check type tcp can be all":                            "checks: [{type: tcp}, {type: icmp}]",
		"check type icmp can":                                  "checks: [{type: http}, {type: icmp}]\n    combine: any",
		"":                                                     "checks: [{type: http}, {type: tcp}]",
	} {
		cfg = parse(t, strings.Replace(alone, "check: HERE", check, 1))
		if want == "" && len(cfg.Warnings) > 0 || want != "" && (len(cfg.Warnings) != 1 || !strings.HasPrefix(cfg.Warnings[0].Message, want)) {
			t.Errorf("%s: %v", check, cfg.Warnings)
		}
	}
	unused := strings.Replace(full, "provider: bind, targets: {b: b.example.com.}", "provider: other", 1)
	unused = strings.Replace(unused, "providers:\n", "providers:\n  other: {type: rfc2136, server: 127.0.0.1:5300, zone: example.com., key: {name: ctl., secret_file: ./tsig.key}}\n", 1)
	cfg = parse(t, strings.Replace(unused, "a: {target: a.lab.test.", "a: {target: a.lab.test.", 1))
	if len(cfg.Warnings) != 1 || !strings.Contains(cfg.Warnings[0].Message, `"bind"`) {
		t.Errorf("unused provider: %v", cfg.Warnings)
	}
}

func TestSingleDomainIsFineWhereNothingMovesByItself(t *testing.T) {
	text := strings.NewReplacer("domain: rack-2", "domain: rack-1", "domain: rack-3", "domain: rack-1").Replace(full)
	if _, err := Parse("x", []byte(text)); err == nil {
		t.Error("one domain with auto was accepted")
	}
	cfg := parse(t, strings.Replace(text, "ack: true", "auto: propose", 1))
	if cfg.Instances[0].Policy.SingleVantage {
		t.Error("nobody accepted a single vantage")
	}
	cfg = parse(t, "single_vantage: accept\n"+text)
	if !cfg.Instances[0].Policy.SingleVantage || len(cfg.Warnings) != 1 {
		t.Errorf("%v %v", cfg.Instances[0].Policy.SingleVantage, cfg.Warnings)
	}
}

func TestEveryInstanceHasItsOwnMistakes(t *testing.T) {
	second := full[strings.Index(full, "  - name: orders"):]
	second = strings.NewReplacer("name: orders\n", "name: payments\n", "Orders.lab", "payments.lab", "orders.example", "payments.example", "ride_out: 4s", "ride_out: 4").Replace(second)
	_, err := Parse("x.yaml", []byte(strings.Replace(full, "ttl: 20s", "ttl: 2s", 1)+second))
	faults, _ := err.(Faults)
	if len(faults) != 2 || !strings.Contains(faults[0].Message, "ttl 2s") || !strings.Contains(faults[1].Message, "no unit") {
		t.Errorf("%v", err)
	}
}

func TestDurationsOfAFile(t *testing.T) {
	for text, want := range map[string]time.Duration{"500ms": 500 * time.Millisecond, "30d": 720 * time.Hour, "1h30m": 90 * time.Minute, "0s": 0, "1.5s": 1500 * time.Millisecond} {
		cfg := parse(t, strings.Replace(full, "ack: true", "cooldown: "+text, 1))
		if got := cfg.Instances[0].Policy.Cooldown; got != want {
			t.Errorf("%s is read as %s", text, got)
		}
		var x val[time.Duration]
		x.v, x.set = want, true
		if s := figure(want); s != "720h" && strings.Contains(s, "0s0") {
			t.Errorf("%s is written as %s", want, s)
		}
	}
	for d, want := range map[time.Duration]string{10 * time.Minute: "10m", time.Hour: "1h", 90 * time.Minute: "1h30m", 30 * time.Second: "30s", 100 * time.Second: "1m40s", 720 * time.Hour: "30d", 0: "0s", 10 * time.Hour: "10h", 3610 * time.Second: "1h0m10s"} {
		if got := figure(d); got != want {
			t.Errorf("%v is written %s, want %s", d, got, want)
		}
	}
}

func TestNearestWord(t *testing.T) {
	known := []string{"ride_out", "round", "ratio", "rise", "timeout", "ttl"}
	for word, want := range map[string]string{"rideout": "ride_out", "ruond": "round", "raito": "ratio", "tll": "ttl", "TIMEOUT": "timeout", "zebra": "", "": ""} {
		if got := nearest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
	if distance("kitten", "sitting") != 3 || distance("ab", "ba") != 1 || distance("", "abc") != 3 {
		t.Error("distance is wrong")
	}
}

func TestPathsOfRoomsFindTheirPlace(t *testing.T) {
	// One host's name is the beginning of the other's.
	text := strings.Replace(full, "b.lab.test.: [127.0.1.2", "b.lab: [127.0.1.9], b.lab.test.: [127.0.1.2", 1)
	c, doc := newCompiler("x", []byte(text), nil), &fileDoc{}
	if !c.decode([]byte(text), doc, controllerKind) {
		t.Fatal(c.err())
	}
	lines := strings.Split(text, "\n")
	for path, want := range map[string]string{
		"authority.zones[0].hosts.b.lab.test.[1]": "2001:db8::2",
		"authority.zones[0].name":                 "Lab.test",
		"instances[0].names[1].targets.b":         "b.example.com.",
		"instances[0].budget[1].per":              "30d",
		"providers.bind.key.name":                 "ctl.",
		"instances[0].check.status[2]":            "418-420",
		"instances[0].ratio":                      "name: orders", // not in the file: the instance
	} {
		at := find(doc, path, pos{1, 1})
		if got := lines[at.line-1][at.col-1:]; !strings.HasPrefix(got, want) {
			t.Errorf("%s leads to %q", path, got)
		}
	}
}

func TestExternalNamesNeedNoAuthority(t *testing.T) {
	i, j := strings.Index(full, "authority:"), strings.Index(full, "providers:")
	text := full[:i] + full[j:]
	text = strings.Replace(text, "      - {name: Orders.lab.test, provider: embedded}\n", "", 1)
	cfg := parse(t, text)
	if cfg.Authority != nil || len(cfg.Instances[0].Policy.Names) != 1 || cfg.Instances[0].Targets[0].Name != "orders.example.com." {
		t.Errorf("%+v", cfg.Instances[0].Policy.Names)
	}
	if !slices.Equal(cfg.Providers[0].Update.Allowed["orders.example.com."], []failover.Target{"a.lab.test.", "b.example.com."}) {
		t.Error(cfg.Providers[0].Update.Allowed)
	}
}

// What programs are told an instance runs with is what people are told.
func TestRunningSaysWhatEffectiveSays(t *testing.T) {
	cfg := parse(t, full)
	rs := cfg.Running()
	if len(rs) != 1 {
		t.Fatalf("%d instances", len(rs))
	}
	text, r := cfg.Effective(), rs[0]
	for _, want := range []string{string(r.Instance), string(r.Preset), r.Config[:12], r.Targets, string(r.Names[1].Name), string(r.Names[1].Targets["b"])} {
		if want == "" || !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	lines, told := 0, 0
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if strings.HasPrefix(line, "  ") && !strings.HasPrefix(line, "   ") && !strings.HasPrefix(line, "  name ") {
			told++
		}
		for _, s := range r.Settings {
			if f := strings.TrimSpace(line); strings.HasPrefix(f, s.Key+" ") && strings.Contains(f, s.Value) && strings.Contains(f, s.From) && strings.Contains(f, s.Was) {
				lines++
				break
			}
		}
	}
	if lines < told || len(r.Settings) != told || told < 20 {
		t.Errorf("%d of %d lines are the settings in\n%s", lines, told, text)
	}
}
