package lab

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// As proc(5) has it, of a program with a nasty name.
const sampleStat = "4242 (a) 9 (b) c) S 1 4242 4242 0 -1 4194560 3000 0 0 0 1234 66 7 8 20 0 9 0 100 200 300 18446744073709551615\n"

func TestTheCPUTimeOfAProcess(t *testing.T) {
	got, err := parseStat(sampleStat)
	if err != nil || got != 13*time.Second {
		t.Errorf("%s, %v; want 13s", got, err)
	}
	for _, bad := range []string{"", "1 (x)", "1 (x) S 1 1 1 0 -1 0 0 0 0 0 one 2", strings.TrimSuffix(sampleStat[:60], " ")} {
		if d, err := parseStat(bad); err == nil {
			t.Errorf("%q: %s", bad, d)
		}
	}
}

func TestTheMemoryOfAProcess(t *testing.T) {
	const status = "Name:\tpointsman\nVmPeak:\t  99 kB\nVmHWM:\t   30000 kB\nVmRSS:\t   25000 kB\n"
	if n, err := parseStatus(status, "VmRSS"); n != 25000<<10 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for _, key := range []string{"VmSwap", "Name", "Vm"} {
		if n, err := parseStatus(status, key); err == nil {
			t.Errorf("%s is %d", key, n)
		}
	}
}

func TestOurOwnUse(t *testing.T) {
	u, err := readUsage(os.Getpid())
	if runtime.GOOS != "linux" {
		if err == nil {
			t.Error("there is no /proc here, and no error")
		}
		return
	}
	if err != nil || u.resident < 1<<20 || u.peak < u.resident {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := readUsage(1 << 30); err == nil {
		t.Error("a process that there is not has used something")
	}
}

func TestAnswersAreCountedByTheGenerator(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	server := netip.MustParseAddrPort("127.0.0.1:5300")
	if _, err := questions(t.Context(), server, dir, testName, time.Second); !errors.Is(err, errNoGenerator) {
		t.Errorf("without dnsperf: %v", err)
	}
	play := func(script string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "dnsperf"), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	play("echo \"$@\" > " + dir + "/args; echo '  Queries sent:         1300'; echo '  Queries completed:    1234 (94.92%)'\n")
	if n, err := questions(t.Context(), server, dir, testName, 3*time.Second); n != 1234 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	args, _ := os.ReadFile(filepath.Join(dir, "args"))
	if !strings.HasPrefix(string(args), "-s 127.0.0.1 -p 5300 -d ") || !strings.Contains(string(args), " -l 3 ") {
		t.Errorf("asked with %s", args)
	}
	play("echo nothing to say\n")
	if n, err := questions(t.Context(), server, dir, testName, time.Second); err == nil {
		t.Errorf("silence is %d answers", n)
	}
	play("echo no such host >&2; exit 1\n")
	if _, err := questions(t.Context(), server, dir, testName, time.Second); err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("failed with %v", err)
	}
}

func TestASyncTakesTimeAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	if d, err := syncTime(dir); d <= 0 || err != nil {
		t.Errorf("%s, %v", d, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	if _, err := syncTime(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a folder that there is not can be written")
	}
}
