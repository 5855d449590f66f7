package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// warnings loads a file with the given mode as one of the two kinds.
func warnings(t *testing.T, text string, mode os.FileMode) Faults {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, "controllers:") {
		v, err := LoadVantage(path)
		if err != nil {
			t.Fatal(err)
		}
		return v.Warnings
	}
	cfg, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Warnings
}

// text is a bad file made good again.
func mended(t *testing.T, file, bad, good string) string {
	t.Helper()
	data, err := os.ReadFile("testdata/bad/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(string(data), bad, good, 1)
}

func TestAConfigThatOthersMayChangeIsWarnedOf(t *testing.T) {
	for kind, text := range map[string]string{
		"controller": mended(t, "control-bad.yaml", "[192.0.2.1]", "['tcp://192.0.2.1:22']"),
		"vantage":    mended(t, "vantage-file-domain.yaml", "domain: rack-2\n", ""),
	} {
		for mode, want := range map[os.FileMode]string{
			0o600: "", 0o644: "", 0o640: "", 0o444: "",
			0o620: "mode 0620", 0o602: "mode 0602", 0o666: "mode 0666", 0o664: "mode 0664",
		} {
			got := warnings(t, text, mode)
			if (len(got) > 0) != (want != "") || len(got) > 1 {
				t.Errorf("%s with mode %04o: %v", kind, mode, got)
			} else if want != "" && (!strings.Contains(got[0].Message, want) || !strings.HasPrefix(got[0].Hint, "chmod go-w ")) {
				t.Errorf("%s with mode %04o: %v", kind, mode, got[0])
			}
		}
	}
}

func TestAConfigOfSomebodyElseIsWarnedOf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := loose(path, info, os.Geteuid()); len(got) != 0 {
		t.Errorf("our own: %v", got)
	}
	got := loose(path, info, os.Geteuid()+1)
	if os.Geteuid() == 0 { // root may own every file
		if len(got) != 0 {
			t.Errorf("root's: %v", got)
		}
		// A root that runs the tests can give the file away.
		if err := os.Chown(path, 12345, -1); err != nil {
			t.Fatal(err)
		}
		if info, err = os.Stat(path); err != nil {
			t.Fatal(err)
		}
		got = loose(path, info, 0)
	}
	if len(got) != 1 || !strings.Contains(got[0].Message, "belongs to uid") {
		t.Errorf("somebody else's: %v", got)
	}
}

// Whoever can write a config with exec checks can run what he likes.
func TestAConfigThatOthersMayChangeIsRefusedWhenItRunsCommands(t *testing.T) {
	const command = "move_proof: waived\n    check: {type: exec, exec: {command: [/bin/true]}}"
	text := strings.Replace(full, "check: {type: http, path: /healthz, status: [200, 3xx, 418-420], identity: {header: X-Cluster}}", command, 1)
	text = strings.Replace(text, ", identity: two", "", 1)
	several := strings.Replace(text, "check: {type: exec, exec: {command: [/bin/true]}}", "checks: [{type: http}, {type: exec, exec: {command: [/bin/true]}}]", 1)
	vantage, err := VantageYAML(parse(t, text), "van-2")
	if err != nil {
		t.Fatal(err)
	}
	for kind, text := range map[string]string{"one check": text, "several": several, "vantage": string(vantage)} {
		for mode, refused := range map[os.FileMode]bool{0o600: false, 0o644: false, 0o664: true, 0o646: true} {
			path := filepath.Join(t.TempDir(), "config.yaml")
			write(t, path, text, mode)
			_, err := Load(path)
			if kind == "vantage" {
				_, err = LoadVantage(path)
			}
			if (err != nil) != refused || refused && !strings.Contains(err.Error(), "so they could run what they like") {
				t.Errorf("%s with mode %04o: %v", kind, mode, err)
			}
		}
	}
}

func TestACommandThatCannotBeRunHereIsWarnedOf(t *testing.T) {
	text := strings.Replace(full, "check: {type: http, path: /healthz, status: [200, 3xx, 418-420], identity: {header: X-Cluster}}",
		"move_proof: waived\n    check: {type: exec, exec: {command: [/no/such/check]}}", 1)
	got := warnings(t, strings.Replace(text, ", identity: two", "", 1), 0o600)
	if len(got) != 1 || got[0].Message != "exec: /no/such/check: no such file or directory" || got[0].Line != 28 {
		t.Errorf("%v", got)
	}
}
