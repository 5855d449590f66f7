package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"pointsman/healthcheck"
	"pointsman/internal/config"
)

// What the documents show must exist: verbs, flags, targets of make, metrics
// and files.

// document is one Markdown file of the project.
type document struct {
	path string // below the top level
	text string
}

func documents(t *testing.T) []document {
	t.Helper()
	var paths []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, found...)
	}
	var out []document
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, document{rel, string(text)})
	}
	if len(out) < 5 {
		t.Fatalf("only %d documents were found", len(out))
	}
	return out
}

// code returns what stands in code: lines of fenced blocks and spans in
// backquotes. A line that ends in a backslash goes on in the next.
func code(text string) []string {
	var out []string
	var prose strings.Builder
	fenced, long := false, ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "```"):
			fenced = !fenced
		case !fenced:
			prose.WriteString(line + "\n")
		case strings.HasSuffix(line, "\\"):
			long += strings.TrimSuffix(line, "\\") + " "
		default:
			out = append(out, long+line)
			long = ""
		}
	}
	for _, m := range codeSpan.FindAllStringSubmatch(prose.String(), -1) {
		out = append(out, strings.Join(strings.Fields(m[1]), " "))
	}
	return out
}

var (
	endOfCommand = regexp.MustCompile(`\s(#|\||&&|;|>|2>|&$).*$|;`)
	promptWords  = []string{"$", "sudo", "exec", "timeout", "time", "watch"}
)

// commands returns the arguments of every call of a program in the code: the
// program must be the first word of the line, after a prompt or the like, or
// of what follows && or ; or |.
func commands(text string, programs ...string) [][]string {
	var out [][]string
	for _, line := range code(text) {
		for _, part := range regexp.MustCompile(`&&|\|\||;|\||\$\(`).Split(line, -1) {
			words := strings.Fields(endOfCommand.ReplaceAllString(" "+part, ""))
			for len(words) > 0 && (slices.Contains(promptWords, words[0]) || regexp.MustCompile(`^([A-Z_]+=|\(|[0-9]+$)`).MatchString(words[0])) {
				words = words[1:]
			}
			if len(words) > 0 && slices.Contains(programs, strings.TrimLeft(words[0], "(")) {
				out = append(out, words[1:])
			}
		}
	}
	return out
}

// callFault says what of a call does not exist in the tree of commands.
func callFault(tree *cobra.Command, args []string) string {
	cmd := tree
	var flags []string
	value := false // the word belongs to the flag before it
	for _, w := range args {
		w = strings.TrimRight(w, ".,:)")
		mine := value
		value = cmd.HasSubCommands() && takesValue(cmd, w)
		switch {
		case mine, w == "" || w == "…" || w == "[flags]":
		case strings.HasPrefix(w, "-"):
			flags = append(flags, w)
		case cmd.HasSubCommands():
			if isPlaceholder(w) {
				return ""
			}
			next, _, err := cmd.Find([]string{w})
			if err != nil || next == cmd {
				return "there is no command " + strings.TrimSpace(cmd.CommandPath()+" "+w)
			}
			cmd = next
		}
	}
	for _, f := range flags {
		name, _, _ := strings.Cut(f, "=")
		long, isLong := strings.CutPrefix(name, "--")
		_ = cmd.InheritedFlags() // merges the flags of the parents
		cmd.InitDefaultHelpFlag()
		known := isLong && cmd.Flag(long) != nil
		if short := strings.TrimPrefix(name, "-"); !isLong && len(short) == 1 {
			known = cmd.Flags().ShorthandLookup(short) != nil || cmd.InheritedFlags().ShorthandLookup(short) != nil
		}
		if !known {
			return cmd.CommandPath() + " has no flag " + name
		}
	}
	return ""
}

// takesValue says that a word is a flag whose value is the next one.
func takesValue(cmd *cobra.Command, w string) bool {
	_ = cmd.InheritedFlags() // merges the flags of the parents
	f := cmd.Flag(strings.TrimPrefix(w, "--"))
	if short := strings.TrimPrefix(w, "-"); len(short) == 1 {
		if f = cmd.Flags().ShorthandLookup(short); f == nil {
			f = cmd.InheritedFlags().ShorthandLookup(short)
		}
	}
	return strings.HasPrefix(w, "-") && f != nil && f.NoOptDefVal == ""
}

// isPlaceholder says that a word stands for any verb.
func isPlaceholder(w string) bool { return w == strings.ToUpper(w) }

func programTree() *cobra.Command {
	tree := (&app{env: func(string) string { return "" }}).rootCommand()
	tree.InitDefaultCompletionCmd()
	tree.InitDefaultHelpCmd()
	return tree
}

func TestDocumentsShowVerbsAndFlagsThatExist(t *testing.T) {
	tree, calls := programTree(), 0
	for _, d := range documents(t) {
		for _, args := range commands(d.text, "pointsman", "bin/pointsman", "./bin/pointsman") {
			calls++
			if fault := callFault(tree, args); fault != "" {
				t.Errorf("%s shows pointsman %s: %s", d.path, strings.Join(args, " "), fault)
			}
		}
	}
	if calls < 20 {
		t.Errorf("only %d calls were found in the documents", calls)
	}
}

// TestDocumentsShowTheWholeProgram: every verb stands in the README.
func TestDocumentsShowTheWholeProgram(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range programTree().Commands() {
		if c.Name() != "help" && !strings.Contains(string(readme), "`"+c.Name()) {
			t.Errorf("the README does not mention %s", c.Name())
		}
	}
}

// TestDocumentsShowTheLabAsItIs asks the lab's own help, since its commands are
// those of another program.
func TestDocumentsShowTheLabAsItIs(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "pointsman-lab")
	command(t, "go", "build", "-o", binary, "./cmd/pointsman-lab")
	verbs := regexp.MustCompile(`(?m)^  ([a-z-]+) +[A-Z]`)
	known := verbs.FindAllStringSubmatch(command(t, binary, "--help"), -1)
	helps, calls := map[string]string{}, 0
	for _, d := range documents(t) {
		for _, args := range commands(d.text, "pointsman-lab", "bin/pointsman-lab") {
			if len(args) == 0 {
				continue
			}
			calls++
			verb := args[0]
			if !slices.ContainsFunc(known, func(m []string) bool { return m[1] == verb }) {
				t.Errorf("%s shows pointsman-lab %s, and there is no such command", d.path, verb)
				continue
			}
			help := func(words ...string) string {
				key := strings.Join(words, " ")
				if helps[key] == "" {
					helps[key] = command(t, binary, append(words, "--help")...)
				}
				return helps[key]
			}
			text, words := help(verb), verb
			if len(args) > 1 && slices.ContainsFunc(verbs.FindAllStringSubmatch(text, -1), func(m []string) bool { return m[1] == args[1] }) {
				text, words = help(verb, args[1]), verb+" "+args[1]
			} else if len(args) > 1 && regexp.MustCompile(`^[a-z]+$`).MatchString(args[1]) && strings.Contains(text, "Available Commands:") {
				t.Errorf("%s shows pointsman-lab %s %s, and there is no such command", d.path, verb, args[1])
			}
			for _, w := range args[1:] {
				name, _, _ := strings.Cut(w, "=")
				if strings.HasPrefix(w, "-") && !regexp.MustCompile(`(?m)^ .*`+regexp.QuoteMeta(name)+`\b`).MatchString(text) {
					t.Errorf("%s shows pointsman-lab %s %s, and there is no such flag", d.path, words, name)
				}
			}
		}
	}
	if calls < 5 {
		t.Errorf("only %d calls of the lab were found", calls)
	}
}

func makeTargets(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^([a-z]+):`).FindAllStringSubmatch(string(text), -1) {
		out = append(out, m[1])
	}
	return out
}

func TestDocumentsShowTargetsThatExist(t *testing.T) {
	targets, shown := makeTargets(t), 0
	for _, d := range documents(t) {
		for _, args := range commands(d.text, "make") {
			for _, w := range args {
				if strings.Contains(w, "=") {
					continue
				}
				shown++
				if !slices.Contains(targets, w) {
					t.Errorf("%s shows make %s, and the Makefile has no such target", d.path, w)
				}
			}
		}
	}
	if shown < 5 {
		t.Errorf("only %d targets were found in the documents", shown)
	}
}

func TestDocumentsShowMetricsThatExist(t *testing.T) {
	known := ""
	for _, f := range []string{"metrics.go", "scrape.go", "notify_scrape.go"} {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		known += string(text)
	}
	shown := 0
	for _, d := range documents(t) {
		for _, name := range regexp.MustCompile(`\bpointsman_[a-z_]+`).FindAllString(d.text, -1) {
			if slices.Contains([]string{healthcheck.CanaryTable, config.ControlTable, config.DeadLettersTable}, name) || strings.HasPrefix(name, healthcheck.IdentityPrefix) {
				continue // a table
			}
			shown++
			if !strings.Contains(known, `"`+name+`"`) {
				t.Errorf("%s shows the metric %s, which does not exist", d.path, name)
			}
		}
	}
	if shown < 5 {
		t.Errorf("only %d metrics were found in the documents", shown)
	}
}

func TestDocumentsPointAtFilesThatExist(t *testing.T) {
	links := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	paths := regexp.MustCompile(`\bconfigs/[a-z0-9.-]*[a-z]`)
	for _, d := range documents(t) {
		for _, m := range links.FindAllStringSubmatch(d.text, -1) {
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(d.path), m[1])); err != nil {
				t.Errorf("%s points at %s: %v", d.path, m[1], err)
			}
		}
		for _, p := range paths.FindAllString(d.text, -1) {
			if _, err := os.Stat(filepath.Join(root, p)); err != nil {
				t.Errorf("%s names %s: %v", d.path, p, err)
			}
		}
	}
}

// TestDocumentFaultsAreSeen: the readers above find what is wrong.
func TestDocumentFaultsAreSeen(t *testing.T) {
	const text = "Say `pointsman statsu` or\n\n```console\n$ pointsman plan switchover orders --speed 3\n" +
		"bin/pointsman status -c x.yaml | head\nmake run && make it\n  pointsman switchover orders \\\n    --to b --quick\npointsman run -z # --shadow\n" +
		"name: pointsman\n```\n`pointsman status -w`, `pointsman VERB --help`, `pointsman config\nvalidate -v`\n"
	var got []string
	for _, args := range commands(text, "pointsman", "bin/pointsman") {
		if f := callFault(programTree(), args); f != "" {
			got = append(got, f)
		}
	}
	want := []string{
		"pointsman plan switchover has no flag --speed",
		"pointsman switchover has no flag --quick",
		"pointsman run has no flag -z",
		"there is no command pointsman statsu",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if makes := commands(text, "make"); len(makes) != 2 || makes[1][0] != "it" {
		t.Errorf("make: %q", makes)
	}
}
