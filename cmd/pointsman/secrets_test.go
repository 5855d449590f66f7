package main

import (
	"path/filepath"
	"strings"
	"testing"

	"pointsman/internal/config"
)

// TestOneTokenIsOfOnePerson: a copy of somebody's token, whatever its file is
// called, makes nobody else: the audit would name the wrong one.
func TestOneTokenIsOfOnePerson(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"ann": strings.Repeat("a", 32) + "\n", "ben": strings.Repeat("a", 32), "cyd": strings.Repeat("c", 32), "api": strings.Repeat("t", 32), "dan": strings.Repeat("t", 32) + "\n",
	})
	cfg := &config.Config{}
	cfg.Controller.Listen, cfg.Controller.TokenFile = "127.0.0.1:1", filepath.Join(dir, "api")
	for _, name := range []string{"ann", "ben", "cyd", "dan"} {
		cfg.Controller.Principals = append(cfg.Controller.Principals, config.Principal{Name: name, Role: "operator", TokenFile: filepath.Join(dir, name)})
	}
	cfg = cfg.Forgetful()
	s, faults := readSecrets(cfg, true)
	var got, said []string
	for _, p := range s.people {
		got = append(got, p.Name)
	}
	for _, f := range faults {
		said = append(said, f.Error())
	}
	if strings.Join(got, " ") != "ann cyd" {
		t.Errorf("people: %v", got)
	}
	text := strings.Join(said, "\n")
	for _, want := range []string{"principal ben: its token is also that of principal ann", "principal dan: its token is also that of controller.token_file"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if len(faults) != 2 || strings.Contains(text, "aaaa") || strings.Contains(text, "tttt") {
		t.Errorf("%d faults: %s", len(faults), text)
	}
}
