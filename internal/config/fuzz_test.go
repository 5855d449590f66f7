package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"pointsman/healthcheck"
)

// seeds are the samples and every bad file.
func seeds(f *testing.F) {
	f.Add([]byte(full))
	for _, glob := range []string{"testdata/bad/*.yaml", filepath.Join(configs, "*.yaml")} {
		files, err := filepath.Glob(glob)
		if err != nil || len(files) == 0 {
			f.Fatalf("no seeds in %s", glob)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			if len(data) < 20_000 {
				f.Add(data)
			}
		}
	}
}

// checkFaults: whatever is wrong, every fault has a place in the file.
func checkFaults(t *testing.T, data []byte, err error) {
	t.Helper()
	faults, ok := errors.AsType[Faults](err)
	if !ok || len(faults) == 0 {
		t.Fatalf("a %T: %v", err, err)
	}
	lines := strings.Split(string(data), "\n")
	for _, f := range faults {
		if f.Line < 1 || f.Line > len(lines)+1 || f.Column < 1 || f.Message == "" || f.Hint == "" || !utf8.ValidString(f.Error()) {
			t.Fatalf("fault %+v in a file of %d lines", f, len(lines))
		}
	}
}

func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := Parse("fuzz.yaml", data)
		if err != nil {
			checkFaults(t, data, err)
			return
		}
		_ = cfg.Effective()
		for i := range cfg.Instances {
			in := &cfg.Instances[i]
			if errs := in.Policy.Validate(); len(errs) > 0 {
				t.Fatalf("accepted, but the core says %v", errs)
			}
			for _, target := range in.Targets {
				if errs := target.Validate(); len(errs) > 0 {
					t.Fatalf("accepted, but the prober says %v", errs)
				}
			}
		}
		if cfg.Authority != nil {
			if errs := cfg.Authority.Validate(); len(errs) > 0 {
				t.Fatalf("accepted, but the authority says %v", errs)
			}
		}
		for _, v := range cfg.Vantages {
			out, err := VantageYAML(cfg, string(v.Name))
			if _, noURL := cfg.controllerURL(); err != nil && noURL != nil {
				continue // no address under which it could report
			}
			vf, err := ParseVantage("vantage.yaml", out)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if healthcheck.Generation(vf.Targets) != healthcheck.Generation(cfg.targets()) {
				t.Fatalf("generations differ:\n%s", out)
			}
		}
	})
}

// FuzzExplain: whatever a file says, what can be made of it can be explained,
// and a file that is taken breaks no inequality.
func FuzzExplain(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := parseAnyway("fuzz.yaml", data, nil)
		if _, strict := Parse("fuzz.yaml", data); (err == nil) != (strict == nil) {
			t.Fatalf("Parse says %v, parseAnyway %v", strict, err)
		}
		if cfg == nil {
			return
		}
		for _, e := range cfg.Explain() {
			if err == nil && len(e.Broken()) > 0 {
				t.Fatalf("accepted, but %+v does not hold", e.Broken())
			}
		}
	})
}

// FuzzStarter: whatever names are asked for, a first config is valid or refused.
func FuzzStarter(f *testing.F) {
	f.Add("orders", "orders.example.com")
	f.Add("", "xn--fiq228c.example.")
	f.Add("a.b", "_x.cluster-a.y\nz: {}")
	f.Fuzz(func(t *testing.T, instance, name string) {
		for _, w := range StarterWishes() {
			w.Instance, w.Name = instance, name
			s, err := NewStarter(w)
			if err != nil {
				if _, ok := errors.AsType[Refusal](err); !ok {
					t.Fatalf("%+v: %v", w, err)
				}
				continue
			}
			if _, err := Parse("pointsman.yaml", s.Text); err != nil {
				t.Fatalf("%+v: %v\n%s", w, err, s.Text)
			}
			if len(s.FillIn) < 7 {
				t.Fatalf("%+v: %+v", w, s.FillIn)
			}
		}
	})
}

func FuzzParseVantage(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := ParseVantage("fuzz.yaml", data)
		if err != nil {
			checkFaults(t, data, err)
			return
		}
		for _, target := range v.Targets {
			if errs := target.Validate(); len(errs) > 0 {
				t.Fatalf("accepted, but the prober says %v", errs)
			}
		}
	})
}

// What a hostile or broken file can cost is bounded before the parser runs.
func TestHugeAndDeepFilesAreRefusedEarly(t *testing.T) {
	for name, text := range map[string]string{
		"16 MiB of keys":      strings.Repeat("a: 1\n", 3_400_000),
		"many values":         strings.Repeat("- a: 1\n  b: c\n", 340_000),
		"brackets":            "a: " + strings.Repeat("[", 4000),
		"brackets over lines": "a:\n" + strings.Repeat("  [\n", 4000),
		"many keys":           strings.Repeat("a: 1\n", maxKeys+1),
		"a bomb of aliases":   "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n",
		"one long line":       "a: " + strings.Repeat("- ", 8000),
		"larger than allowed": strings.Repeat("#\n", maxFile/2+1),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("x.yaml", []byte(text))
			if err == nil {
				t.Fatal("accepted")
			}
			checkFaults(t, []byte(text), err)
		})
	}
}

func TestHugeFileIsNotReadToItsEnd(t *testing.T) {
	_, err := Load("/dev/zero")
	if err == nil || !strings.Contains(err.Error(), "larger than 16 MiB") {
		t.Errorf("%.200v", err)
	}
}

func TestTooManyKeysAreNamedWithTheBound(t *testing.T) {
	_, err := Parse("x.yaml", []byte(strings.Repeat("a: 1\n", maxKeys+1)))
	if err == nil || !strings.Contains(err.Error(), "x.yaml:25001:2: more than 25000 keys in one mapping") {
		t.Errorf("%.300v", err)
	}
}
