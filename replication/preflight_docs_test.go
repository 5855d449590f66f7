package replication

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every finding of the preflight stands in the page that people read, and the
// page has no other.
func TestThePageHasEveryFinding(t *testing.T) {
	code, err := os.ReadFile("preflight.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../docs/replication.md")
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for _, m := range regexp.MustCompile(`Level(?:Block|Warn), "([a-z]+\.[a-z_]+)"`).FindAllStringSubmatch(string(code), -1) {
		said[m[1]] = true
		if !strings.Contains(string(page), "`"+m[1]+"`") {
			t.Errorf("docs/replication.md does not have %s", m[1])
		}
	}
	if len(said) < 15 {
		t.Errorf("only %d findings were found", len(said))
	}
	for _, m := range regexp.MustCompile("`((?:table|stream|reverse|own|quota)\\.[a-z_]+)`").FindAllStringSubmatch(string(page), -1) {
		if !said[m[1]] {
			t.Errorf("docs/replication.md has %s, which nothing finds", m[1])
		}
	}
}
