package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestSecretFileIsReadOnlyWhenNobodyElseMay(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		write(t, p, text, mode)
		return p
	}
	for _, mode := range []os.FileMode{0o600, 0o400, 0o700} {
		got, err := ReadSecretFile(file("ok", "  c2VjcmV0\n\n", mode))
		if err != nil || string(got) != "c2VjcmV0" {
			t.Errorf("mode %o: %q, %v", mode, got, err)
		}
		os.Remove(filepath.Join(dir, "ok"))
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644} {
		p := file("open", "c2VjcmV0", mode)
		_, err := ReadSecretFile(p)
		if !errors.Is(err, ErrSecretMode) || !strings.Contains(err.Error(), "hint: chmod 600 "+p) || strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]error{
		file("empty", " \n", 0o600):                      ErrSecretEmpty,
		file("zero", "abc\x00def", 0o600):                ErrSecretForm,
		file("large", strings.Repeat("x", 1<<20), 0o600): ErrSecretForm,
		dir:                           ErrSecretForm,
		fifo:                          ErrSecretForm,
		filepath.Join(dir, "missing"): os.ErrNotExist,
	} {
		if _, err := ReadSecretFile(p); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", filepath.Base(p), err, want)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file("target", "abc", 0o600), link); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadSecretFile(link); err != nil || string(got) != "abc" {
		t.Errorf("symlink to a good file: %q, %v", got, err)
	}
}

func TestSecretFileOfAnotherUserIsRefused(t *testing.T) {
	if err := checkOwner(1001, 1000); !errors.Is(err, ErrSecretOwner) {
		t.Error(err)
	}
	for _, owner := range []uint32{0, 1000} {
		if err := checkOwner(owner, 1000); err != nil {
			t.Errorf("owner %d: %v", owner, err)
		}
	}
	if os.Geteuid() != 0 {
		return // only root can give a file away; the rule itself is tested above
	}
	p := filepath.Join(t.TempDir(), "theirs")
	write(t, p, "abc", 0o600)
	if err := os.Chown(p, 1001, 1001); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSecretFile(p); !errors.Is(err, ErrSecretOwner) {
		t.Error(err)
	}
}

// Whatever is wrong with a file, and wherever in it a secret was typed, the
// error must not show it.
func TestErrorsNeverShowASecret(t *testing.T) {
	const secret = "c3VwZXJzZWNyZXQxMjM0NTY3ODkwYWJjZA=="
	for name, text := range map[string]string{
		"unknown key":          "secret: " + secret + "\n",
		"quoted":               "tokens:\n  api_key: \"" + secret + "\"\n",
		"flow":                 "providers: {bind: {key: {secret: " + secret + ", name: x}, typ: y}}\n",
		"in place of a path":   "controller: {name: a, token_file: " + secret + ", listen: 127.0.0.1:1}\n",
		"as the key":           "providers:\n  bind:\n    key: " + secret + "\n",
		"block":                "secret: |\n  " + secret + "\nx: 1\n",
		"next line":            "secret:\n  " + secret + "\n",
		"folded":               "password: abc\n  " + secret + " :\n",
		"unclosed quote":       "secret: \"" + secret + "\nx: 1\n",
		"bad indentation":      "secret: " + secret + "\n   x: 1\n",
		"colon after it":       "secret: " + secret + ": x\n",
		"alias before it":      "secret: *" + secret + "\n",
		"tag before it":        "secret: !x " + secret + "\n",
		"list":                 "tokens: [" + secret + "]\n",
		"url":                  "controller: {name: x, listen: 127.0.0.1:1, advertise: \"http://u:" + secret + "@h/?\"}\n",
		"header":               "instances: [{check: {headers: {Authorization: " + secret + "}}}]\n",
		"two on one line":      "a: {secret: " + secret + "}\nb: {password: " + secret + "}\n",
		"control char":         "secret: " + secret + "\x01\n",
		"control char below":   "secret: |\n  " + secret + "\x01\n",
		"long line below":      "secret:\n  " + secret + strings.Repeat("x", 9000) + "\n",
		"one key for two":      "vantages:\n  - {name: x, domain: y, key_file: " + secret + "}\n  - {name: z, domain: y, key_file: " + secret + "}\n",
		"long line":            "secret: " + secret + strings.Repeat("x", 9000) + "\n",
		"after a list dash":    "vantages:\n  - secret: " + secret + "\n    nam: x\n",
		"key file of vantages": "vantages:\n  - {name: x, domain: y, key_file: " + secret + "}\n",
	} {
		t.Run(name, func(t *testing.T) {
			for _, parse := range []func() error{
				func() error { _, err := Parse("x.yaml", []byte(text)); return err },
				func() error { _, err := ParseVantage("x.yaml", []byte(text)); return err },
			} {
				err := parse()
				if err == nil {
					t.Fatal("accepted")
				}
				if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), secret[:12]) {
					t.Errorf("the error shows it:\n%v", err)
				}
			}
		})
	}
}

func TestMaskLeavesWhatIsNoSecret(t *testing.T) {
	for _, line := range []string{
		"  token_file: ../run/token", "key: {name: ctl., secret_file: tsig.key}", "    key:", "  key_file: van-2.key",
		"listen: 127.0.0.1:8053 # no key here", "secret_file: /run/credentials/pointsman/tsig", "controllers: [http://127.0.0.1:8053]",
	} {
		s := newSource("x", []byte(line+"\n      name: x\n"))
		if s.mask(); s.masked[0] != line {
			t.Errorf("%q became %q", line, s.masked[0])
		}
	}
}
