package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestNothingThatAFileNamesHoldsAReloadUp: whatever stands in the place of the
// config, of a certificate or of a secret when the process looks again, it is
// refused and named, at once.
func TestNothingThatAFileNamesHoldsAReloadUp(t *testing.T) {
	text := strings.Replace(full, "type: http, path", "type: https, ca_file: ca.pem, path", 1)
	put := map[string]func(path string) error{
		"a pipe":                  func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"a link to a pipe":        func(p string) error { _ = syscall.Mkfifo(p+".pipe", 0o600); return os.Symlink(p+".pipe", p) },
		"a device without an end": func(p string) error { return os.Symlink("/dev/zero", p) },
		"a directory":             func(p string) error { return os.Mkdir(p, 0o700) },
		"a loop of links":         func(p string) error { return os.Symlink(p, p) },
		"nothing":                 func(string) error { return nil },
	}
	for _, place := range []string{"pointsman.yaml", "ca.pem"} {
		for what, put := range put {
			t.Run(place+" is "+what, func(t *testing.T) {
				dir := t.TempDir()
				file := filepath.Join(dir, "pointsman.yaml")
				for path, text := range map[string]string{file: text, filepath.Join(dir, "ca.pem"): testCA} {
					if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				old, err := Load(file)
				if err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(dir, place)
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				if err := put(path); err != nil {
					t.Fatal(err)
				}
				said := make(chan error, 1)
				go func() {
					if old.Same(file) {
						said <- fmt.Errorf("it is taken for unchanged")
						return
					}
					_ = Names(file)
					_, err := LoadAfter(old)
					said <- err
				}()
				select {
				case err := <-said:
					if err == nil || !strings.Contains(err.Error(), filepath.Base(file)) || strings.Contains(err.Error(), "unchanged") {
						t.Errorf("got %v, want a refusal that names the file", err)
					}
				case <-time.After(2 * time.Minute):
					t.Error("it hangs")
					if f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0); err == nil {
						f.Close() // lets it go
					}
				}
			})
		}
	}
}

// TestANameWithControlCharactersReachesNoTerminal: what a person reads of a
// mistake shows where it is, never what would move a cursor.
func TestANameWithControlCharactersReachesNoTerminal(t *testing.T) {
	for _, name := range []string{`"or\x1b[2Jders"`, `"or\nders"`, `"or\0ders"`, `"or\u202eders"`, `"or ders"`} {
		_, err := Parse("x.yaml", []byte(strings.Replace(full, "- name: orders", "- name: "+name, 1)))
		if err == nil || !strings.Contains(err.Error(), "x.yaml:") || !strings.Contains(err.Error(), "cannot be the name of an instance") {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if strings.ContainsAny(err.Error(), "\x1b\x00\u202e") {
			t.Errorf("%s: the error holds it: %q", name, err)
		}
	}
}
