package failover

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestTheCoreIsPure: no clock, no I/O, no log, no goroutine and no random in
// here, so that every decision can be replayed from its events.
func TestTheCoreIsPure(t *testing.T) {
	allowed := []string{"cmp", "crypto/sha256", "encoding/hex", "encoding/json", "errors", "fmt", "maps", "slices", "strconv", "strings", "time"}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		ast, err := parser.ParseFile(token.NewFileSet(), f, src, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range ast.Imports {
			if p, _ := strconv.Unquote(i.Path.Value); !slices.Contains(allowed, p) {
				t.Errorf("%s imports %s", f, p)
			}
		}
		for _, word := range []string{"time.Now", "time.Since", "time.Until", "time.After", "time.Tick", "time.NewT", "time.Sleep", "go func", "chan "} {
			if strings.Contains(string(src), word) {
				t.Errorf("%s uses %s", f, word)
			}
		}
	}
}
