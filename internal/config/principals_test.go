package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The yes of everybody but viewers counts, of whoever comes over the socket
// where nobody is named. Another list is no other policy, and a reload sees it
// although the instance's own lines stay as they are.
func TestWhoseYesCounts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pointsman.yaml")
	with := func(people string) *Config {
		t.Helper()
		text := fmt.Sprintf("controller: {name: ctl-1%s}\n", people) + withNotify("")[len("controller: {name: ctl-1}\n"):]
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	people := func(c *Config) []string { return c.Instances[0].Policy.People }
	if got := people(with("")); !slices.Equal(got, []string{"socket"}) {
		t.Errorf("of nobody: %v", got)
	}
	old := with(", principals: [{name: ann, token_file: a}, {name: ben, token_file: b, role: approver}, {name: cyd, token_file: c, role: viewer}]")
	if got := people(old); !slices.Equal(got, []string{"principal:ann", "principal:ben"}) {
		t.Errorf("of three: %v", got)
	}
	with(", principals: [{name: ann, token_file: a}, {name: cyd, token_file: c, role: viewer}]")
	again, err := LoadAfter(old)
	if err != nil {
		t.Fatal(err)
	}
	if got := people(again); !slices.Equal(got, []string{"principal:ann"}) {
		t.Errorf("after a reload: %v", got)
	}
	if a, b := old.Instances[0].Policy.Expected, again.Instances[0].Policy.Expected; a != b {
		t.Errorf("it is another policy: %s and %s", a, b)
	}
}
