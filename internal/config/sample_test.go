package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pointsman/healthcheck"
	"pointsman/internal/notify"
)

const configs = "../../configs"

// samples are the files of configs that are ours, each with its loader.
var samples = map[string]func(string) error{
	"embedded.yaml":               func(p string) error { _, err := Load(p); return err },
	"delegated.yaml":              func(p string) error { _, err := Load(p); return err },
	"rpz.yaml":                    func(p string) error { _, err := Load(p); return err },
	"pvtz.yaml":                   func(p string) error { _, err := Load(p); return err },
	"alidns.yaml":                 func(p string) error { _, err := Load(p); return err },
	"notify.yaml":                 func(p string) error { _, err := Load(p); return err },
	"probes.yaml":                 func(p string) error { _, err := loadOwn(p); return err },
	"report-daily.yaml":           func(p string) error { _, err := Load(p); return err },
	"report-weekly.yaml":          func(p string) error { _, err := Load(p); return err },
	"report-monthly.yaml":         func(p string) error { _, err := Load(p); return err },
	"tablestore.yaml":             func(p string) error { _, err := Load(p); return err },
	"tablestore-replication.yaml": func(p string) error { _, err := Load(p); return err },
	"rfc2136-bind.yaml":           func(p string) error { _, err := Load(p); return err },
	"vantage.yaml":                func(p string) error { _, err := LoadVantage(p); return err },
}

// loadOwn loads a copy that nobody else may change: a file with an exec check
// is refused otherwise, and a checkout may be writable by a group.
func loadOwn(path string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "sample")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path = filepath.Join(dir, filepath.Base(path))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, err
	}
	return Load(path)
}

// Whoever looks for an example of a kind of probe finds one.
func TestTheSamplesShowEveryKindOfProbe(t *testing.T) {
	cfg, err := loadOwn(filepath.Join(configs, "probes.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	kinds, rules, maintained := map[healthcheck.CheckType]bool{}, map[healthcheck.Combine]bool{}, false
	for _, tg := range cfg.targets() {
		for _, c := range append(tg.Checks, tg.Check) {
			kinds[c.Type] = true
		}
		rules[tg.Combine] = true
	}
	for _, in := range cfg.Instances {
		maintained = maintained || len(in.Policy.Maintenance) > 1
	}
	for _, k := range []healthcheck.CheckType{healthcheck.DNS, healthcheck.GRPC, healthcheck.ICMP, healthcheck.Exec, healthcheck.TLS, healthcheck.HTTPS} {
		if !kinds[k] {
			t.Errorf("no sample of %s", k)
		}
	}
	if !rules[healthcheck.All] || !rules[healthcheck.Any] || !maintained {
		t.Errorf("rules %v, maintenance %v", rules, maintained)
	}
}

// Whoever looks for an example of a type of channel finds one, and nothing in
// it is warned about but the single vantage.
func TestTheSampleShowsEveryTypeOfChannel(t *testing.T) {
	cfg, err := Load(filepath.Join(configs, "notify.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	shown := map[notify.Type]bool{}
	for _, c := range cfg.Notify.Setup.Channels {
		shown[c.Type] = true
	}
	for _, typ := range notify.Types {
		if !shown[typ] {
			t.Errorf("no sample of %s", typ)
		}
	}
	for _, w := range cfg.Warnings {
		if strings.Contains(w.Message, "route") || strings.Contains(w.Message, "channel") || strings.Contains(w.Message, "messages") {
			t.Errorf("the sample is warned about: %v", w)
		}
	}
	if cfg.Notify.Setup.Heartbeat == nil || len(cfg.Notify.Setup.Routes) < 2 {
		t.Error("no sample of a heartbeat or of routes")
	}
}

func TestEverySampleLoads(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(configs, "*.yaml"))
	if err != nil || len(files) != len(samples) {
		t.Errorf("%d files of %d samples: %v", len(files), len(samples), files)
	}
	for name, load := range samples {
		if err := load(filepath.Join(configs, name)); err != nil {
			t.Errorf("%s:\n%v", name, err)
		}
	}
}

func TestSampleOfTheVantageFitsThatOfItsController(t *testing.T) {
	cfg, err := Load(filepath.Join(configs, "rfc2136-bind.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := LoadVantage(filepath.Join(configs, "vantage.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := healthcheck.Generation(v.Targets), cfg.Instances[0].Generation(); got != want {
		t.Errorf("generation %s of the vantage, %s of the controller", got, want)
	}
	if i := slices.IndexFunc(cfg.Vantages, func(x Vantage) bool { return x.Name == v.Name }); i < 0 || cfg.Vantages[i].KeyFile != v.KeyFile {
		t.Errorf("the controller does not know the vantage %s with key %s", v.Name, v.KeyFile)
	}
}

// schemaKeys lists the paths of all keys of a schema struct as the reference
// writes them; required ones begin with a star.
func schemaKeys(typ reflect.Type, prefix string) []string {
	var out []string
	for i := range typ.NumField() {
		f := typ.Field(i)
		tag, ok := f.Tag.Lookup("yaml")
		if !ok {
			continue
		}
		name, opts, _ := strings.Cut(tag, ",")
		if f.Type == reflect.TypeFor[checkDoc]() && opts == "inline" {
			continue // the keys of one of several checks are those of a single one
		}
		if opts == "inline" {
			out = append(out, schemaKeys(f.Type, prefix)...)
			continue
		}
		path := prefix + name
		star := ""
		if opts == "required" {
			star = "*"
		}
		out = append(out, star+path)
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case strings.HasPrefix(inner.Name(), "dict["):
			e, _ := inner.Elem().FieldByName("val")
			path, inner = path+".NAME", e.Type
		case inner.Kind() == reflect.Slice:
			path, inner = path+"[]", inner.Elem()
		}
		if inner.Kind() == reflect.Struct && strings.HasSuffix(inner.Name(), "Doc") {
			out = append(out, schemaKeys(inner, path+".")...)
		}
	}
	return out
}

var row = regexp.MustCompile("(?m)^\\| (\\*\\*)?`([^`]+)`(\\*\\*)?( †)? \\|")

func TestReferenceListsEveryKeyAndNoOther(t *testing.T) {
	doc, err := os.ReadFile("../../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "\n## pointsman.yaml\n")
	controller, vantage, ok := strings.Cut(rest, "\n## vantage.yaml\n")
	if !ok {
		t.Fatal("the reference lacks one of its two parts")
	}
	for _, part := range []struct {
		text string
		typ  reflect.Type
	}{{controller, reflect.TypeFor[fileDoc]()}, {vantage, reflect.TypeFor[vantageFileDoc]()}} {
		var documented []string
		for _, m := range row.FindAllStringSubmatch(part.text, -1) {
			star := ""
			if m[1] != "" {
				star = "*"
			}
			documented = append(documented, star+m[2])
		}
		known := schemaKeys(part.typ, "")
		if len(known) < 20 {
			t.Fatalf("the schema has only the keys %v", known)
		}
		for _, k := range known {
			if !slices.Contains(documented, k) {
				t.Errorf("%s: %s is not in the reference (a star: required)", part.typ.Name(), k)
			}
		}
		for i, k := range documented {
			if !slices.Contains(known, k) {
				t.Errorf("%s: the reference has %s, the schema does not", part.typ.Name(), k)
			}
			if slices.Index(documented, k) < i {
				t.Errorf("%s: the reference has %s twice", part.typ.Name(), k)
			}
		}
	}
}

// TestReferenceMarksTheKeysThatNeedARestart: † stands at those that Frozen
// refuses, and at no other.
func TestReferenceMarksTheKeysThatNeedARestart(t *testing.T) {
	doc, err := os.ReadFile("../../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	var marked []string
	for _, m := range row.FindAllStringSubmatch(string(doc), -1) {
		if m[4] != "" {
			marked = append(marked, m[2])
		}
	}
	want := FrozenKeys()
	slices.Sort(marked)
	slices.Sort(want)
	if !slices.Equal(marked, want) {
		t.Errorf("marked %q, want %q", marked, want)
	}
}
