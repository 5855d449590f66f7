package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestAlicloudRuns starts it as people do, takes what it prints and writes, and
// tries it: DNS, the management API, and that nothing is left at the end.
func TestAlicloudRuns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lab")
	env := filepath.Join(dir, cloudKeyFile)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(env, []byte("of an earlier life"), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{
			"alicloud", "--dir", dir, "--zone", "example.com", "--private-zone", "vpc.example.com", "--edition", "mianfei",
			"--authority", "127.0.0.1:0=telecom", "--authority", "127.0.0.1:0", "--subnet", "127.0.0.0/8=edu",
			"--record", "example.com orders CNAME t.back.test 60 telecom", "--record", "example.com orders CNAME e.back.test 60 edu",
			"--record", "vpc.example.com orders CNAME orders.example.com",
		}, w, io.Discard)
		_ = w.CloseWithError(errors.Join(err, io.EOF))
		ended <- err
	}()
	said := map[string]string{}
	lines := bufio.NewScanner(r)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "Ctrl-C") {
		if word, rest, ok := strings.Cut(strings.TrimSpace(lines.Text()), "  "); ok {
			said[word] = strings.TrimSpace(rest)
		}
	}
	info, err := os.Stat(env)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	text, err := os.ReadFile(env)
	if err != nil {
		t.Fatal(err)
	}
	key := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		key[name] = strings.Trim(value, "'")
	}
	if key["ALIBABA_CLOUD_ACCESS_KEY_ID"] == "" || len(key["ALIBABA_CLOUD_ACCESS_KEY_SECRET"]) < 20 || !strings.HasPrefix(said["endpoint"], key["LAB_ENDPOINT"]+" ") {
		t.Errorf("%q %q", text, said)
	}
	for _, v := range said {
		if strings.Contains(v, key["ALIBABA_CLOUD_ACCESS_KEY_SECRET"]) || strings.Contains(v, key["LAB_TOKEN"]) {
			t.Errorf("it prints a secret: %q", v)
		}
	}
	if pem, err := os.ReadFile(key["LAB_CA_FILE"]); err != nil || !bytes.HasPrefix(pem, []byte("-----BEGIN CERTIFICATE")) {
		t.Errorf("%q %v", pem, err)
	}
	for i, want := range []string{"t.back.test.", "e.back.test."} {
		server := strings.Split(said["authorities"], ", ")[i]
		m := new(dns.Msg)
		m.SetQuestion("orders.example.com.", dns.TypeCNAME)
		a, _, err := new(dns.Client).Exchange(m, server)
		if err != nil || len(a.Answer) != 1 || a.Answer[0].(*dns.CNAME).Target != want {
			t.Errorf("%s: %v %v", server, a, err)
		}
	}
	_, resolver, _ := strings.Cut(said["network"], "its resolver on ")
	m := new(dns.Msg)
	m.SetQuestion("orders.vpc.example.com.", dns.TypeA)
	if a, _, err := new(dns.Client).Exchange(m, resolver); err != nil || len(a.Answer) != 2 {
		t.Errorf("%v %v", a, err) // to the public zone, and on from there
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, key["LAB_MANAGE"]+"/zones", nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+key["LAB_TOKEN"])
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	a, err := c.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(a.Body)
	if a.Body.Close(); err != nil || !bytes.Contains(body, []byte(`"mianfei"`)) {
		t.Errorf("%s %v", body, err)
	}
	cancel()
	_, _ = io.Copy(io.Discard, r)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, name := range []string{cloudKeyFile, cloudCAFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
}
