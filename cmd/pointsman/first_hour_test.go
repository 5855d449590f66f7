package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// ran is a block of a document that says what commands print.
var ran = regexp.MustCompile("(?s)(<!-- run -->\n```console\n)(.*?)(```\n)")

// TestFirstHourPrintsWhatItShows runs the marked blocks of the document, one
// after the other in one folder, and compares to the byte. With -update it
// writes them anew.
func TestFirstHourPrintsWhatItShows(t *testing.T) {
	file := filepath.Join(root, "docs", "first-hour.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir, calls := t.TempDir(), 0
	got := ran.ReplaceAllStringFunc(string(text), func(block string) string {
		m := ran.FindStringSubmatch(block)
		var b strings.Builder
		for line := range strings.Lines(m[2]) {
			if shell, ok := strings.CutPrefix(line, "$ "); ok {
				calls++
				cmd := exec.Command("sh", "-c", strings.TrimSpace(shell))
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "NO_COLOR=1", "GORACE=atexit_sleep_ms=0")
				out, _ := cmd.CombinedOutput() // a refusal is part of the story
				b.WriteString(line + string(out))
			}
		}
		return m[1] + b.String() + m[3]
	})
	if calls < 10 {
		t.Errorf("only %d commands are run", calls)
	}
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	was, is := strings.Split(string(text), "\n"), strings.Split(got, "\n")
	for i := range min(len(was), len(is)) {
		if was[i] != is[i] {
			t.Fatalf("line %d is\n%s\nand the command prints\n%s", i+1, was[i], is[i])
		}
	}
	if len(was) != len(is) {
		t.Errorf("%d lines are shown, %d printed", len(was), len(is))
	}
}
