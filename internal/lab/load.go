package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// errNoGenerator is returned where dnsperf is not installed.
var errNoGenerator = errors.New("dnsperf is not installed")

// completed is how dnsperf tells the number of answers.
var completed = regexp.MustCompile(`(?m)^\s*Queries completed:\s+(\d+)`)

// questions asks the authority for a name as fast as it answers, and returns
// the number of answers.
func questions(ctx context.Context, server netip.AddrPort, dir, name string, d time.Duration) (int, error) {
	return questionsFrom(ctx, "", server, dir, name, d)
}

// questionsFrom is questions by a generator on the given processors.
func questionsFrom(ctx context.Context, cpu string, server netip.AddrPort, dir, name string, d time.Duration) (int, error) {
	path, err := exec.LookPath("dnsperf")
	if err != nil {
		return 0, errNoGenerator
	}
	file, err := questionFile(dir, name)
	if err != nil {
		return 0, err
	}
	path, args, err := pinned(cpu, path, []string{
		"-s", server.Addr().String(), "-p", strconv.Itoa(int(server.Port())),
		"-d", file, "-l", strconv.Itoa(max(int(d.Seconds()), 1)), "-c", "4", "-q", "200",
	})
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("dnsperf: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return parseCompleted(string(out))
}

// questionFile writes what dnsperf asks for.
func questionFile(dir, name string) (string, error) {
	file := filepath.Join(dir, "questions.txt")
	if err := os.WriteFile(file, []byte(name+" CNAME\n"+name+" A\n"), 0o600); err != nil {
		return "", fmt.Errorf("questions: %w", err)
	}
	return file, nil
}

func parseCompleted(out string) (int, error) {
	m := completed.FindStringSubmatch(out)
	if m == nil {
		return 0, errors.New("dnsperf does not say how many queries were completed")
	}
	return strconv.Atoi(m[1])
}

// syncTime is how long the disk takes to make one small write durable, which
// is what one commit of the ledger waits for.
func syncTime(dir string) (time.Duration, error) {
	f, err := os.CreateTemp(dir, "sync-*")
	if err != nil {
		return 0, fmt.Errorf("sync: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	page := make([]byte, 4096)
	var took time.Duration
	for range 2 { // the first makes the file longer, as the ledger's log does only seldom
		start := time.Now()
		if _, err := f.WriteAt(page, 0); err != nil {
			return 0, fmt.Errorf("sync: %w", err)
		}
		if err := f.Sync(); err != nil {
			return 0, fmt.Errorf("sync: %w", err)
		}
		took = time.Since(start)
	}
	return took, nil
}

// loadAverage is that of the last minute, or a question mark.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	one, _, _ := strings.Cut(string(b), " ")
	return one
}
