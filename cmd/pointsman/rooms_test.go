package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The rooms of the house stand in one table, in docs/ARCHITECTURE.md, and this
// test holds the packages against it.

const (
	module       = "pointsman/"
	root         = "../.."
	architecture = root + "/docs/ARCHITECTURE.md"
)

// topLevel is everything that may stand at the top of the repository besides
// dot files.
var topLevel = []string{
	"cmd", "healthcheck", "dnsctl", "replication", "configs", "internal", "docs",
	"Makefile", "README.md", "CHANGELOG.md", "LICENSE", "go.mod", "go.sum",
}

// room is a package as it is: its path below the module, what of ours it
// imports, with inTests before what only its tests do, and how many of its
// files have a package comment.
type room struct {
	path     string
	imports  []string
	comments int
}

// inTests stands before an import that only the tests of a room need or may have.
const inTests = "in tests "

func TestRoomsAndTheirImportsAreThoseOfTheTable(t *testing.T) {
	text, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	table, err := roomTable(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range roomFaults(table, listRooms(t)) {
		t.Error(fault)
	}
}

func TestRoomsTopLevelHoldsNothingElse(t *testing.T) {
	for _, fault := range topFaults(listTop(t)) {
		t.Error(fault)
	}
}

// TestRoomsFaultsAreSeen: each rule of this file refuses what it is for.
func TestRoomsFaultsAreSeen(t *testing.T) {
	table := map[string][]string{"internal/failover": {}, "dnsctl": {"internal/failover", inTests + "internal/lab"}}
	sound := []room{{"internal/failover", nil, 1}, {"dnsctl", []string{"internal/failover"}, 1}}
	if f := roomFaults(table, sound); f != nil {
		t.Fatalf("sound rooms: %q", f)
	}
	for want, rooms := range map[string][]room{
		"dnsctl imports healthcheck, which its row does not allow":  {sound[0], {"dnsctl", []string{"internal/failover", "healthcheck"}, 1}},
		"dnsctl imports internal/lab, which its row does not allow": {sound[0], {"dnsctl", []string{"internal/lab"}, 1}},
		"dnsctl imports in tests internal/api, which its row does not allow": {sound[0], {"dnsctl", []string{
			inTests + "internal/failover", inTests + "internal/lab", inTests + "internal/api",
		}, 1}},
		"internal/failover imports dnsctl, which its row does not allow": {{"internal/failover", []string{"dnsctl"}, 1}, sound[1]},
		"internal/util has no row in the table":                          append(slices.Clone(sound), room{"internal/util", nil, 1}),
		"the table has a row for dnsctl, and there is no such package":   sound[:1],
		"dnsctl has 0 package comments, not one":                         {sound[0], {"dnsctl", nil, 0}},
		"dnsctl has 2 package comments, not one":                         {sound[0], {"dnsctl", nil, 2}},
	} {
		if got := roomFaults(table, rooms); len(got) != 1 || got[0] != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := topFaults([]string{"cmd", ".gitignore", "util", "notes.txt"}); len(got) != 2 {
		t.Errorf("top level: %q", got)
	}
	for name, text := range map[string]string{
		"no markers":         "| `a` | x | nothing |\n",
		"no end":             "<!-- rooms: begin -->\n| `a` | x | nothing |\n",
		"no rows":            "<!-- rooms: begin -->\n| room | holds | may import |\n| --- | --- | --- |\n<!-- rooms: end -->\n",
		"no room in the row": "<!-- rooms: begin -->\n| a | x | nothing |\n<!-- rooms: end -->\n",
		"twice":              "<!-- rooms: begin -->\n| `a` | x | nothing |\n| `a` | x | nothing |\n<!-- rooms: end -->\n",
		"no imports":         "<!-- rooms: begin -->\n| `a` | x | everything |\n<!-- rooms: end -->\n",
		"a column missing":   "<!-- rooms: begin -->\n| `a` | nothing |\n<!-- rooms: end -->\n",
	} {
		if got, err := roomTable(text); err == nil {
			t.Errorf("%s: read as %v", name, got)
		}
	}
}

// roomFaults holds the rooms against the table.
func roomFaults(table map[string][]string, rooms []room) []string {
	var faults []string
	there := map[string]bool{}
	for _, r := range rooms {
		there[r.path] = true
		allowed, ok := table[r.path]
		if !ok {
			faults = append(faults, r.path+" has no row in the table")
			continue
		}
		for _, i := range r.imports {
			if !slices.Contains(allowed, i) && !slices.Contains(allowed, strings.TrimPrefix(i, inTests)) {
				faults = append(faults, fmt.Sprintf("%s imports %s, which its row does not allow", r.path, i))
			}
		}
		if r.comments != 1 {
			faults = append(faults, fmt.Sprintf("%s has %d package comments, not one", r.path, r.comments))
		}
	}
	for path := range table {
		if !there[path] {
			faults = append(faults, fmt.Sprintf("the table has a row for %s, and there is no such package", path))
		}
	}
	slices.Sort(faults)
	return faults
}

func topFaults(names []string) []string {
	var faults []string
	for _, n := range names {
		if !strings.HasPrefix(n, ".") && !slices.Contains(topLevel, n) {
			faults = append(faults, n+" has no place at the top level")
		}
	}
	return faults
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// roomTable reads the rows between the markers: a room in backquotes, what it
// holds, and what of ours it may import, in backquotes or the word nothing;
// what stands after the words in tests is for its tests alone.
func roomTable(text string) (map[string][]string, error) {
	_, text, begun := strings.Cut(text, "<!-- rooms: begin -->\n")
	text, _, ended := strings.Cut(text, "<!-- rooms: end -->")
	if !begun || !ended {
		return nil, errors.New("the table of rooms has no markers")
	}
	table := map[string][]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "| room ") || strings.HasPrefix(line, "| --- ") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 3 {
			return nil, fmt.Errorf("row %q has %d cells, not 3", line, len(cells))
		}
		name := codeSpan.FindStringSubmatch(cells[0])
		if name == nil {
			return nil, fmt.Errorf("row %q names no room", line)
		}
		if _, twice := table[name[1]]; twice {
			return nil, fmt.Errorf("%s has two rows", name[1])
		}
		table[name[1]] = []string{}
		always, tests, _ := strings.Cut(cells[2], "in tests")
		for _, m := range codeSpan.FindAllStringSubmatch(always, -1) {
			table[name[1]] = append(table[name[1]], m[1])
		}
		for _, m := range codeSpan.FindAllStringSubmatch(tests, -1) {
			table[name[1]] = append(table[name[1]], inTests+m[1])
		}
		if len(table[name[1]]) == 0 && strings.TrimSpace(cells[2]) != "nothing" {
			return nil, fmt.Errorf("row %q does not say what may be imported", line)
		}
	}
	if len(table) == 0 {
		return nil, errors.New("the table of rooms has no rows")
	}
	return table, nil
}

// listRooms asks the go tool for every package, in each way it can be built.
func listRooms(t *testing.T) []room {
	t.Helper()
	rooms := map[string]*room{}
	for _, tags := range []string{"", "failpoint"} {
		dec := json.NewDecoder(strings.NewReader(command(t, "go", "list", "-tags", tags, "-json=ImportPath,Dir,GoFiles,Imports,TestImports,XTestImports", "./...")))
		for {
			var p struct {
				ImportPath, Dir                             string
				GoFiles, Imports, TestImports, XTestImports []string
			}
			if err := dec.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			path := strings.TrimPrefix(p.ImportPath, module)
			r := rooms[path]
			if r == nil {
				r = &room{path: path}
				rooms[path] = r
			}
			r.comments = packageComments(t, p.Dir, p.GoFiles)
			for kind, imports := range map[string][]string{"": p.Imports, inTests: slices.Concat(p.TestImports, p.XTestImports)} {
				for _, i := range imports {
					if of, ours := strings.CutPrefix(i, module); ours && of != path && !slices.Contains(r.imports, kind+of) {
						r.imports = append(r.imports, kind+of)
					}
				}
			}
		}
	}
	var out []room
	for _, r := range rooms {
		out = append(out, *r)
	}
	if len(out) < 5 {
		t.Fatalf("only %d packages were listed", len(out))
	}
	return out
}

func packageComments(t *testing.T, dir string, files []string) int {
	t.Helper()
	n := 0
	for _, f := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, f), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if parsed.Doc != nil {
			n++
		}
	}
	return n
}

// listTop lists what stands at the top level: what git keeps, or, where this
// is no checkout, what lies there apart from what is built and run there.
func listTop(t *testing.T) []string {
	t.Helper()
	var names []string
	if _, err := os.Stat(root + "/.git"); err == nil {
		for line := range strings.Lines(command(t, "git", "ls-files")) {
			top, _, _ := strings.Cut(strings.TrimSpace(line), "/")
			names = append(names, top)
		}
	} else {
		entries, err := os.ReadDir(root)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != "bin" && e.Name() != "run" {
				names = append(names, e.Name())
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if !slices.Contains(names, "go.mod") {
		t.Fatalf("this is not the top level: %q", names)
	}
	return names
}

// command runs a program at the top level and returns its output.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = root
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, errs.String())
	}
	return string(out)
}
