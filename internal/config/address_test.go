package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// manyItems is full with n instances.
func manyItems(n int) string {
	i := strings.Index(full, "  - name: orders")
	var b strings.Builder
	b.WriteString(full[:i])
	for k := range n {
		name := fmt.Sprintf("i%d", k)
		b.WriteString(strings.NewReplacer("name: orders", "name: "+name, "Orders.lab.test", name+".lab.test", "orders.example.com.", name+".example.com.").Replace(full[i:]))
	}
	return b.String()
}

func written(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pointsman.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// What is read alone is what a whole reading has, without the rest.
func TestControllerIsReadAlone(t *testing.T) {
	for what, text := range map[string]string{
		"the file":             full,
		"in another order":     full[strings.Index(full, "vantage:"):] + full[:strings.Index(full, "vantage:")],
		"between other keys":   strings.Replace(full, "controller:", "single_vantage: accept\ncontroller:", 1),
		"a list at the margin": strings.ReplaceAll(full, "\n  - {name: van", "\n- {name: van"),
		"in brackets":          "controller: {name: ctl-1, data: ./data, listen: 127.0.0.1:8053, token_file: ./token} # here\n" + full[strings.Index(full, "vantage:"):],
		"with comments":        "# it's ours\n\n---\nversion: 1\n" + strings.Replace(full, "  data", "# don't\n\n  data", 1),
		"lines of Windows":     strings.ReplaceAll(full, "\n", "\r\n"),
	} {
		want, err := Parse("/etc/pointsman/pointsman.yaml", []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got, ok := controllerOf("/etc/pointsman/pointsman.yaml", []byte(text)); !ok || !reflect.DeepEqual(got, want.Controller) {
			t.Errorf("%s: %v, got %+v\nwant %+v", what, ok, got, want.Controller)
		}
	}
}

// A mistake in the block gives the very message of a whole reading; one
// elsewhere is not the concern of whoever asks where the controller is.
func TestMistakesOfTheControllerBlock(t *testing.T) {
	for what, change := range map[string][2]string{
		"an unknown key":     {"  data: ./data", "  date: ./data"},
		"a missing key":      {"  name: ctl-1\n", ""},
		"a bad value":        {"listen: 127.0.0.1:8053", "listen: 0.0.0.0:8053"},
		"an anchor":          {"data: ./data", "data: &here ./data"},
		"an alias":           {"data: ./data", "data: *here"},
		"a merge key":        {"  data: ./data", "  <<: {data: ./data}"},
		"a tag":              {"data: ./data", "data: !!str ./data"},
		"a key twice":        {"  data: ./data", "  data: ./data\n  data: ./other"},
		"the block twice":    {"vantage: {", "controller: {name: other}\nvantage: {"},
		"quotes around it":   {"vantage: {", "\"controller\": {name: other}\nvantage: {"},
		"a second document":  {"vantage: {", "---\nvantage: {"},
		"a directive":        {"controller:", "%YAML 1.2\n---\ncontroller:"},
		"a text, no mapping": {"controller:\n", "controller: here\nvantage2:\n"},
		"a tab":              {"  data: ./data", "\tdata: ./data"},
		"another version":    {"controller:", "version: 2\ncontroller:"},
		"brackets left open": {"controller:\n", "controller: {\n"},
		"a secret":           {"token_file: ./token", "token_file: dGhpcyBpcyBub3QgYSBwYXRoIGF0IGFsbA=="},
	} {
		file := written(t, strings.Replace(full, change[0], change[1], 1))
		_, want := Load(file)
		_, err := LoadController(file)
		fs, ok := errors.AsType[Faults](err)
		if want == nil || err == nil || err.Error() != want.Error() || !ok || fs[0].Line == 0 || fs[0].Column == 0 {
			t.Errorf("%s:\n got %v\nwant %v", what, err, want)
		}
	}
	for what, change := range map[string][2]string{
		"a number":   {"ride_out: 4s", "ride_out: soon"},
		"no vantage": {"vantage: {", "vantagez: {"},
		"an anchor":  {"primary: b", "primary: &x b"},
	} {
		file := written(t, strings.Replace(full, change[0], change[1], 1))
		if _, err := Load(file); err == nil {
			t.Errorf("%s elsewhere is no mistake", what)
		}
		if ctl, err := LoadController(file); err != nil || ctl.Socket != filepath.Join(filepath.Dir(file), "data/pointsman.sock") {
			t.Errorf("%s elsewhere: %q, %v", what, ctl.Socket, err)
		}
	}
	if _, err := LoadController(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there")
	}
}

// A text over several lines may hold what looks like the block.
func TestWhatOnlyLooksLikeTheBlock(t *testing.T) {
	block := full[:strings.Index(full, "vantage: {")]
	file := written(t, strings.Replace(full, block, "notes: \"\ncontroller: {name: evil, data: /evil}\nend: \"\n", 1))
	_, want := Load(file)
	if ctl, err := LoadController(file); err == nil || want == nil || err.Error() != want.Error() {
		t.Errorf("got %+v, %v\nwant %v", ctl, err, want)
	}
}

// Whatever a file holds: what is read alone is what a whole reading has, or
// the whole reading finds mistakes, none of them in the block.
func FuzzControllerAlone(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		got, ok := controllerOf("fuzz.yaml", data)
		if !ok {
			return
		}
		cfg, err := Parse("fuzz.yaml", data)
		if err == nil && !reflect.DeepEqual(cfg.Controller, got) {
			t.Fatalf("alone %+v\nwhole %+v", got, cfg.Controller)
		}
	})
}

// BenchmarkController prints what it costs to find the controller beside a
// whole reading of the same file.
func BenchmarkController(b *testing.B) {
	file := written(b, manyItems(10_000))
	b.Run("alone", func(b *testing.B) {
		for b.Loop() {
			if _, err := LoadController(file); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("whole", func(b *testing.B) {
		for b.Loop() {
			if _, err := Load(file); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A backslash may hide the end of a text in quotes, and with it a block that is
// none. Such a file is good, and read as a whole.
func TestABackslashInQuotesIsADoubt(t *testing.T) {
	var text strings.Builder
	for line := range strings.Lines(full) {
		text.WriteString(" " + line)
	}
	at := strings.Index(text.String(), "identity: two}")
	good := text.String()[:at] + strings.Replace(text.String()[at:], "identity: two}",
		"identity: two, maintenance: [{from: 2030-01-01T00:00:00Z, to: 2030-01-02T00:00:00Z, reason: \"\\\"\ncontroller: {name: evil, data: /evil}\nend: \\\"\"}]}", 1)
	cfg, err := Parse("/etc/pointsman.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := controllerOf("/etc/pointsman.yaml", []byte(good)); ok && !reflect.DeepEqual(got, cfg.Controller) {
		t.Errorf("alone %+v\nwhole %+v", got, cfg.Controller)
	}
}
