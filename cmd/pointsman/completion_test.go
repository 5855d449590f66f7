package main

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCompletionGivesUpAfterASecond at a controller that takes the question and
// does not answer, and says nothing.
func TestCompletionGivesUpAfterASecond(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(shortDir(t, "tab"), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, words := range [][]string{{"status", ""}, {"abort", ""}, {"failover", "orders", "--to", ""}} {
		var out, complaints bytes.Buffer
		a := &app{env: func(string) string { return "" }, stdout: &out, stderr: &complaints}
		root := a.rootCommand()
		root.SetOut(&out)
		root.SetErr(&complaints)
		root.SetArgs(append([]string{"__complete", "--socket", socket}, words...))
		began := time.Now()
		if err := root.ExecuteContext(context.Background()); err != nil {
			t.Errorf("%v: %v", words, err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%v took %s", words, took)
		}
		if out.String() != ":4\n" || strings.Contains(complaints.String(), "error") {
			t.Errorf("%v said %q and %q", words, out.String(), complaints.String())
		}
	}
}
