package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func lines(cs []Change) string {
	var out []string
	for _, c := range cs {
		out = append(out, c.String())
	}
	return strings.Join(out, "\n")
}

func TestDiffSaysWhatDiffers(t *testing.T) {
	instance := full[strings.Index(full, "  - name: orders"):]
	second := strings.NewReplacer("name: orders", "name: pay", "Orders.lab.test", "pay.lab.test", "orders.example.com.", "pay.example.com.").Replace(instance)
	for name, c := range map[string]struct {
		old, new string // what full is changed by, parted by =>
		want     string
	}{
		"nothing":                            {"", "", ""},
		"a comment":                          {"", "ride_out: 4s=>ride_out: 4s # longer than the blips of the load balancer", ""},
		"a value":                            {"", "ride_out: 4s=>ride_out: 6s", "instances.orders.ride_out: 4s → 6s"},
		"a default written out":              {"", "    ttl: 20s=>    ttl: 20s\n    rise: 5", "instances.orders.rise: (default) → 5"},
		"back to the default":                {"", "    ride_out: 4s\n=>", "instances.orders.ride_out: 4s → (default)"},
		"a preset":                           {"", "stateless-http=>tablestore-standby", "instances.orders.preset: stateless-http → tablestore-standby"},
		"a list":                             {"", "[200, 3xx, 418-420]=>[200]", "instances.orders.check.status: [200, 3xx, 418-420] → [200]"},
		"a list of structs":                  {"", "{moves: 2, per: 1h}=>{moves: 3, per: 1h}", "instances.orders.budget[0].moves: 2 → 3"},
		"a shorter one":                      {"", ", {moves: 4, per: 30d}=>", "instances.orders.budget: [{moves: 2, per: 1h}, {moves: 4, per: 30d}] → [{moves: 2, per: 1h}]"},
		"an address":                         {"", "127.0.1.2:8080, identity=>127.0.1.3:8080, identity", "instances.orders.clusters.b.address: 127.0.1.2:8080 → 127.0.1.3:8080"},
		"a name":                             {"", "orders.example.com., provider: bind, targets: {b: b.example.com.}=>orders.example.com., provider: bind, targets: {b: c.example.com.}", "instances.orders.names[orders.example.com.].targets.b: b.example.com. → c.example.com."},
		"a name, other case":                 {"", "Orders.lab.test=>orders.lab.test.", ""},
		"a name gone":                        {"", "      - {name: orders.example.com., provider: bind, targets: {b: b.example.com.}}\n=>", "instances.orders.names[orders.example.com.]: removed"},
		"a vantage":                          {"", "domain: rack-2=>domain: rack-4", "vantages.van-2.domain: rack-2 → rack-4"},
		"a vantage gone":                     {"", "  - {name: van-3, domain: rack-3, key_file: /etc/pointsman/van-3.key}\n=>", "vantages.van-3: removed"},
		"a host":                             {"", "a.lab.test.: [127.0.1.1]=>a.lab.test.: [127.0.1.9], c.lab.test.: [127.0.1.8]", "authority.zones[Lab.test].hosts[a.lab.test.]: [127.0.1.1] → [127.0.1.9]\nauthority.zones[Lab.test].hosts[c.lab.test.]: (default) → [127.0.1.8]"},
		"a key of a provider":                {"", "secret_file: ./tsig.key=>secret_file: ./tsig2.key", "providers.bind.key.secret_file: ./tsig.key → ./tsig2.key"},
		"an instance added":                  {"", instance + "=>" + instance + second, "instances.pay: added"},
		"an instance gone":                   {instance + "=>" + instance + second, "", "instances.pay: removed"},
		"instances in another order":         {instance + "=>" + instance + second, instance + "=>" + second + instance, ""},
		"checks without names":               {"check: {type: http, path: /healthz, status: [200, 3xx, 418-420], identity: {header: X-Cluster}}=>checks: [{type: http, path: /a, headers: {X-Auth: hush}, identity: {header: X-Cluster}}, {type: tcp, port: 81}]", "check: {type: http, path: /healthz, status: [200, 3xx, 418-420], identity: {header: X-Cluster}}=>checks: [{type: http, path: /b, headers: {X-Auth: hush}, identity: {header: X-Cluster}}, {type: tcp, port: 82}]", "instances.orders.checks[0].path: /a → /b\ninstances.orders.checks[1].port: 81 → 82"},
		"a check without a name more":        {"check: {type: http, path: /healthz, status: [200, 3xx, 418-420], identity: {header: X-Cluster}}=>checks: [{type: http, path: /a, headers: {X-Auth: hush}, identity: {header: X-Cluster}}, {type: tcp, port: 81}]", "check: {type: http, path: /healthz, status: [200, 3xx, 418-420], identity: {header: X-Cluster}}=>checks: [{type: http, path: /a, headers: {X-Auth: hush}, identity: {header: X-Cluster}}, {type: tcp, port: 81}, {type: tls}]", "instances.orders.checks[2]: added"},
		"one of two without names less":      {"check: {type: http, path: /healthz, status: [200, 3xx, 418-420], identity: {header: X-Cluster}}=>checks: [{type: http, path: /a, headers: {X-Auth: hush}, identity: {header: X-Cluster}}, {type: tcp, port: 81}]", "check: {type: http, path: /healthz, status: [200, 3xx, 418-420], identity: {header: X-Cluster}}=>checks: [{type: http, path: /a, headers: {X-Auth: hush}, identity: {header: X-Cluster}}]", "instances.orders.checks[1]: removed"},
		"a header of a check without a name": {"check: {type: http, path: /healthz, status: [200, 3xx, 418-420], identity: {header: X-Cluster}}=>checks: [{type: http, path: /a, headers: {X-Auth: hush}, identity: {header: X-Cluster}}, {type: tcp, port: 81}]", "check: {type: http, path: /healthz, status: [200, 3xx, 418-420], identity: {header: X-Cluster}}=>checks: [{type: http, path: /a, headers: {X-Auth: hushhush}, identity: {header: X-Cluster}}, {type: tcp, port: 81}]", "instances.orders.checks[0].headers.X-Auth: secret changed"},
		"a header":                           {"", "type: http, path=>type: http, headers: {X-Api-Key: hush}, path", "instances.orders.check.headers.X-Api-Key: secret changed"},
	} {
		t.Run(name, func(t *testing.T) {
			change := func(by string) *Config {
				from, to, _ := strings.Cut(by, "=>")
				if !strings.Contains(full, from) {
					t.Fatalf("the sample has no %q", from)
				}
				return parse(t, strings.Replace(full, from, to, 1))
			}
			old, new := change(c.old), change(c.new)
			if got := lines(Diff(old, new)); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			for _, d := range Diff(old, new) {
				if mine := strings.HasPrefix(d.Path, "instances."); mine != (d.Instance != "") {
					t.Errorf("%s is of instance %q", d.Path, d.Instance)
				}
			}
		})
	}
}

func TestDiffNeverShowsASecretAndStaysOnOneLine(t *testing.T) {
	const hush = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
	old, new := parse(t, full), parse(t, full)
	for _, f := range new.Files() {
		old.Saw(f.Path, []byte("before"))
		new.Saw(f.Path, []byte(hush))
	}
	if old.Sum() == new.Sum() || old.Hash != new.Hash {
		t.Error("other secrets in the same file are the same config, or another file")
	}
	got := lines(Diff(old, new))
	want := `controller.token_file: secret changed
vantages.van-2.key_file: secret changed
vantages.van-3.key_file: secret changed
providers.bind.key.secret_file: secret changed`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	long := strings.Replace(full, "path: /healthz", "path: /"+strings.Repeat("x", 500), 1)
	for _, c := range Diff(old, parse(t, long)) {
		if n := len([]rune(c.String())); n > 3*maxText || strings.Contains(c.String(), "\n") {
			t.Errorf("%d characters: %s", n, c)
		}
	}
}

func TestWhiteSpaceAroundASecretIsNoChange(t *testing.T) {
	old, new := parse(t, full), parse(t, full)
	old.Saw("/x", []byte("secret"))
	new.Saw("/x", []byte("secret\n"))
	if old.Sum() != new.Sum() {
		t.Error("a line end at the end of a secret is another config")
	}
}

func TestDiffSeesAnotherCertificateInTheSameFile(t *testing.T) {
	dir := t.TempDir()
	ca, file := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "pointsman.yaml")
	text := strings.Replace(full, "type: http, path", "type: https, server_name: orders.lab.test, ca_file: ca.pem, path", 1)
	load := func(pem string) *Config {
		t.Helper()
		for path, data := range map[string]string{ca: pem, file: text} {
			if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cfg, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	old, new := load(testCA), load(testCA+testCA)
	if got, want := lines(Diff(old, new)), "instances.orders.check.ca_file: content of the file changed"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !slices.Contains(old.Files(), NamedFile{"instances.orders.check.ca_file", ca}) {
		t.Errorf("files: %v", old.Files())
	}
}

func TestFilesOfATextThatIsWrongAreStillKnown(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pointsman.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(full, "primary: b", "primary: nobody", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err == nil {
		t.Fatal("accepted")
	}
	var keys []string
	for _, f := range Names(file) {
		keys = append(keys, f.Key)
	}
	slices.Sort(keys)
	want := []string{"controller.token_file", "providers.bind.key.secret_file", "vantages.van-2.key_file", "vantages.van-3.key_file"}
	if !slices.Equal(keys, want) {
		t.Errorf("got %q, want %q", keys, want)
	}
}

func TestWhatWouldNeedARestartIsNamedWithItsPlace(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"a default written out": {"  data: ./data\n", "  data: data\n", ""},
		"name":                  {"name: ctl-1\n", "name: ctl-2\n", `pointsman.yaml:2:9: controller.name cannot change while the process runs: it is "ctl-1", the file says "ctl-2"`},
		"data":                  {"./data", "./other", `pointsman.yaml:3:9: controller.data cannot change`},
		"socket":                {"  data: ./data\n", "  data: ./data\n  socket: ./x\n", `pointsman.yaml:4:11: controller.socket cannot change`},
		"listen":                {"127.0.0.1:8053", "127.0.0.1:8054", `pointsman.yaml:4:11: controller.listen cannot change`},
		"own vantage":           {"vantage: {name: ctl-1, ", "vantage: {name: eye, ", `pointsman.yaml:6:17: vantage.name cannot change`},
		"authority.listen":      {"listen: [127.0.0.1:5353]", "listen: [127.0.0.1:5354]", `cannot change while the process runs: it is "127.0.0.1:5353", the file says "127.0.0.1:5354"`},
		"what may change":       {"ride_out: 4s", "ride_out: 9s", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(full, c.from) {
				t.Fatalf("the sample has no %q", c.from)
			}
			fs := Frozen(parse(t, full), parse(t, strings.Replace(full, c.from, c.to, 1)))
			if c.want == "" {
				if len(fs) > 0 {
					t.Errorf("refused: %v", fs)
				}
				return
			}
			if !slices.ContainsFunc(fs, func(f Fault) bool {
				return strings.Contains(f.Error(), c.want) && strings.Contains(f.Hint, "restart") && f.Line > 0
			}) {
				t.Errorf("got %v, want %s", fs, c.want)
			}
		})
	}
	without := full[:strings.Index(full, "authority:")] + full[strings.Index(full, "providers:"):]
	without = strings.Replace(without, "      - {name: Orders.lab.test, provider: embedded}\n", "", 1)
	if fs := Frozen(parse(t, full), parse(t, without)); len(fs) != 1 || !strings.HasPrefix(fs[0].Message, `authority cannot change`) {
		t.Errorf("an authority that goes: %v", fs)
	}
	if fs := Frozen(parse(t, without), parse(t, full)); len(fs) != 1 || fs[0].Line != 11 {
		t.Errorf("an authority that comes: %v", fs)
	}
}

// some returns a file with instances i1 to in, each with an embedded name in
// one of two zones.
func some(t *testing.T, numbers ...int) *Config {
	t.Helper()
	var b strings.Builder
	b.WriteString(`controller: {name: c}
single_vantage: accept
vantage: {domain: d, controls: ["tcp://127.0.0.1:9"]}
authority:
  listen: [127.0.0.1:5353]
  zones: [{name: even.test., hosts: {x.even.test.: [127.0.0.1]}}, {name: odd.test., hosts: {x.odd.test.: [127.0.0.1]}}]
instances:
`)
	for _, n := range numbers {
		zone := []string{"even", "odd"}[n%2]
		fmt.Fprintf(&b, `  - name: i%d
    preset: stateless-http
    names: [{name: n%d.%s.test., provider: embedded}]
    clusters: {a: {target: a.example.com., address: "127.0.0.1:1"}, b: {target: b.example.com., address: "127.0.0.1:2"}}
    primary: a
    check: {type: http, path: /, identity: {header: X}}
`, n, n, zone)
	}
	return parse(t, b.String())
}

func TestRemovalOfMuchAtOnceIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		old, new []int
		want     []string
	}{
		"one of two":          {[]int{1, 3}, []int{1}, nil},
		"the only one, other": {[]int{1}, []int{3}, nil},
		"half":                {[]int{1, 2, 3, 4}, []int{1, 2}, nil},
		"more than half":      {[]int{1, 2, 3, 4, 5, 6}, []int{1, 2}, []string{"4 of 6 instances would go: i3, i4, i5, i6"}},
		"all, others come":    {[]int{1, 3}, []int{5, 7, 2}, []string{"2 of 2 instances would go: i1, i3"}},
		"a zone empties":      {[]int{1, 3, 5, 7, 2, 4}, []int{1, 3, 5, 7}, []string{"all 2 managed names of the zone even.test. would go: n2.even.test., n4.even.test."}},
		"its only name":       {[]int{1, 3, 2}, []int{1, 3}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Removals(some(t, c.old...), some(t, c.new...)); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestAZoneThatGoesWithItsNamesIsNamed(t *testing.T) {
	old := some(t, 1, 3, 2)
	new := some(t, 1, 3)
	new.Authority.Zones = new.Authority.Zones[1:]
	want := []string{"the zone even.test. would go with 1 managed name"}
	if got := Removals(old, new); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func BenchmarkDiffOfTenThousandInstances(b *testing.B) {
	t := &testing.T{}
	var all []int
	for i := range 10_000 {
		all = append(all, i)
	}
	old, new := some(t, all...), some(t, all...)
	for b.Loop() {
		if len(Diff(old, new)) != 0 {
			b.Fatal("they differ")
		}
	}
}
