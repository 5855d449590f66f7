package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// load reads a file of testdata as what its name says it is.
func load(path string) error {
	if strings.HasPrefix(filepath.Base(path), "vantage-file-") {
		_, err := LoadVantage(path)
		return err
	}
	_, err := Load(path)
	return err
}

func TestEveryMistakeHasItsMessage(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no bad files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			err := load(file)
			if err == nil {
				t.Fatal("the file was accepted")
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			got := err.Error() + "\n"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err2 := os.ReadFile(golden)
			if err2 != nil {
				t.Fatal(err2)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			faults, ok := errors.AsType[Faults](err)
			if !ok {
				t.Fatalf("the error is a %T", err)
			}
			if several := strings.HasPrefix(filepath.Base(file), "several-"); several != (len(faults) > 1) {
				t.Errorf("%d faults in a file that shows one mistake", len(faults))
			}
			for _, f := range faults {
				if f.Line == 0 || f.Column == 0 || f.Hint == "" {
					t.Errorf("no place or no hint: %s", f)
				}
			}
		})
	}
}

func TestEveryGoldenHasItsFile(t *testing.T) {
	goldens, _ := filepath.Glob("testdata/bad/*.txt")
	for _, g := range goldens {
		if _, err := os.Stat(strings.TrimSuffix(g, ".txt") + ".yaml"); err != nil {
			t.Error(err)
		}
	}
}
