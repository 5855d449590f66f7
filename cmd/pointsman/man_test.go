package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// writeManual runs 'man DIR' as the program does, in this process.
func writeManual(t *testing.T, env map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "man1")
	a := &app{env: func(k string) string { return env[k] }, stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}
	root := a.rootCommand()
	root.SetArgs([]string{"man", dir})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestManualHasAPageForEachCommand, which `man` shows without a complaint and
// with every flag, and with tables as they stand in --help.
func TestManualHasAPageForEachCommand(t *testing.T) {
	dir := writeManual(t, nil)
	pages := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if !c.IsAvailableCommand() && c.HasParent() || c.Name() == "help" || strings.HasPrefix(c.CommandPath(), "pointsman completion") {
			return
		}
		pages++
		page := filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1")
		text, err := os.ReadFile(page)
		if err != nil {
			t.Error(err)
			return
		}
		checkRoff(t, page, string(text))
		shown, ok := rendered(t, page)
		if !ok {
			return
		}
		for line := range strings.Lines(c.Long) {
			if strings.HasPrefix(line, "  ") && !strings.Contains(shown, strings.TrimSpace(line)) {
				t.Errorf("%s does not show the line %q", page, line)
			}
		}
		for _, m := range regexp.MustCompile(`--[a-z-]+`).FindAllString(c.LocalFlags().FlagUsages(), -1) {
			if !strings.Contains(strings.Join(strings.Fields(shown), " "), m) {
				t.Errorf("%s does not show %s", page, m)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(programTree())
	if pages < 30 {
		t.Errorf("only %d pages", pages)
	}
}

// checkRoff looks at what every page must have.
func checkRoff(t *testing.T, page, text string) {
	t.Helper()
	for _, want := range []string{`.TH "POINTSMAN`, `"1" "Jan 2026" "pointsman" "pointsman manual"`, ".SH NAME\n", ".SH SYNOPSIS\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %s", page, want)
		}
	}
	if strings.Contains(text, "Auto generated") || strings.Contains(text, os.TempDir()) {
		t.Errorf("%s depends on when and where it was made", page)
	}
}

// rendered is a page as people see it, by groff, which `man` calls, or by
// mandoc; false where neither is installed. What they complain of is a fault.
func rendered(t *testing.T, page string) (string, bool) {
	t.Helper()
	cmd := exec.Command("groff", "-K", "utf8", "-ww", "-man", "-rLL=400n", "-rHY=0", "-T", "utf8", page)
	if _, err := exec.LookPath("groff"); err != nil {
		if _, err := exec.LookPath("mandoc"); err != nil {
			return "", false
		}
		cmd = exec.Command("mandoc", "-T", "utf8", "-W", "error", "-O", "width=400", page)
	}
	cmd.Env = append(os.Environ(), "GROFF_NO_SGR=1")
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil || complaints.Len() > 0 {
		t.Errorf("%s: %v: %s", page, err, complaints.String())
		return "", false
	}
	overstruck := regexp.MustCompile(`.\x08`).ReplaceAllString(out.String(), "")
	return strings.NewReplacer("\u2010", "-", "\u2212", "-", "\u2019", "'", "\u2018", "'").Replace(overstruck), true
}

// TestManualIsTheSameEachTime, and carries the date that packagers give.
func TestManualIsTheSameEachTime(t *testing.T) {
	first, second := writeManual(t, nil), writeManual(t, nil)
	files, err := os.ReadDir(first)
	if err != nil || len(files) < 30 {
		t.Fatalf("%d pages, %v", len(files), err)
	}
	for _, f := range files {
		a, err := os.ReadFile(filepath.Join(first, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(second, f.Name()))
		if err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs: %v", f.Name(), err)
		}
	}
	dated, err := os.ReadFile(filepath.Join(writeManual(t, map[string]string{"SOURCE_DATE_EPOCH": "1700000000"}), "pointsman.1"))
	if err != nil || !strings.Contains(string(dated), `"Nov 2023"`) {
		t.Errorf("%v: %.200s", err, dated)
	}
	for _, bad := range []string{"yesterday", "17x", " 17", "1.5"} {
		a := &app{env: func(string) string { return bad }}
		if _, err := a.sourceDate(); err == nil {
			t.Errorf("%q was taken for a date", bad)
		}
	}
}
