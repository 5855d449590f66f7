package replication

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// script is a program, for a test to run.
func script(t *testing.T, lines string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lag")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+lines), 0o700); err != nil {
		t.Fatal(err)
	}
	return []string{path, "one argument"}
}

func TestMeterOfACommand(t *testing.T) {
	t.Setenv("SECRET_OF_OURS", "s3cret")
	out := t.TempDir() + "/out"
	for name, c := range map[string]struct {
		lines, want string
		lag         time.Duration
	}{
		"good":       {`echo '{"lag_ms": 2000}'; env >` + out + `; echo "$1" >>` + out, "", 2 * time.Second},
		"fails":      {`echo "no  such" >&2; echo table >&2; exit 3`, "exit status 3: no such table", 0},
		"silent":     {`exit 3`, "exit status 3", 0},
		"killed":     {`kill -9 $$`, "signal: killed", 0},
		"no answer":  {``, "cannot be read", 0},
		"chatter":    {`yes`, "no answer within 300ms", 0},
		"too long":   {`echo '{"lag_ms": 1}'; head -c 100000 /dev/zero`, "more than 64 KiB", 0},
		"never ends": {`sleep 1000`, "no answer within 300ms", 0},
		// What it leaves behind is killed with its group.
		"leaves one behind": {`sleep 1000 & echo $! >` + out + `; echo '{"lag_ms": 2}'`, "", 2 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			x := External{Command: script(t, c.lines), Program: func(string) error { return nil }, Timeout: time.Minute}
			if strings.Contains(c.want, "300ms") {
				x.Timeout = 300 * time.Millisecond
			}
			m, err := newExternalMeter(x, "orders", "a", "b")
			if err != nil {
				t.Fatal(err)
			}
			e := once(t, m)
			if e.Known != (c.want == "") || e.Lag != c.lag || !strings.Contains(e.Why, c.want) {
				t.Fatalf("%+v, want %q", e, c.want)
			}
			got, _ := os.ReadFile(out)
			switch name {
			case "good":
				for _, want := range []string{"POINTSMAN_INSTANCE=orders\n", "POINTSMAN_FROM=a\n", "POINTSMAN_TO=b\n", "one argument\n"} {
					if !strings.Contains(string(got), want) {
						t.Errorf("it was not told %q", want)
					}
				}
				if strings.Contains(string(got), "s3cret") {
					t.Error("it was given our environment")
				}
			case "leaves one behind":
				pid, err := strconv.Atoi(strings.TrimSpace(string(got)))
				if err != nil {
					t.Fatal(err)
				}
				for syscall.Kill(pid, 0) == nil { // until it is reaped by whoever inherited it
					if state, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); strings.Contains(string(state), ") Z ") {
						break
					}
				}
			}
		})
	}
}
