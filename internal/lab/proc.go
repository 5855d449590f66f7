package lab

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of the CPU times in /proc/PID/stat. It is 1/100 s on every
// architecture that Go runs on (proc(5), USER_HZ).
const tick = 10 * time.Millisecond

// usage is what a process has used so far.
type usage struct {
	at       time.Time
	cpu      time.Duration // user and system, of all threads
	resident int64         // bytes now
	peak     int64         // bytes at most
}

// readUsage reads /proc, so it works on Linux only.
func readUsage(pid int) (usage, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	u := usage{at: time.Now()}
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return u, fmt.Errorf("use of process %d: %w", pid, err)
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return u, fmt.Errorf("use of process %d: %w", pid, err)
	}
	if u.cpu, err = parseStat(string(stat)); err != nil {
		return u, fmt.Errorf("use of process %d: %w", pid, err)
	}
	if u.resident, err = parseStatus(string(status), "VmRSS"); err != nil {
		return u, fmt.Errorf("use of process %d: %w", pid, err)
	}
	u.peak, err = parseStatus(string(status), "VmHWM")
	return u, err
}

// groupCPU is what a process group has used so far: some servers are several
// processes. Those that have ended are forgotten.
func groupCPU(group int) (time.Duration, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || group <= 0 || len(files) == 0 {
		return 0, fmt.Errorf("use of process group %d: it is not to be found", group)
	}
	var sum time.Duration
	found := false
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended meanwhile
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 3 || fields[2] != strconv.Itoa(group) { // field 5 of proc(5)
			continue
		}
		cpu, err := parseStat(string(stat))
		if err != nil {
			return 0, fmt.Errorf("use of process group %d: %w", group, err)
		}
		sum, found = sum+cpu, true
	}
	if !found {
		return 0, fmt.Errorf("use of process group %d: no process is in it", group)
	}
	return sum, nil
}

// parseStat takes user and system time, fields 14 and 15 of proc(5). The name
// of the program, field 2, may hold blanks and brackets.
func parseStat(s string) (time.Duration, error) {
	fields := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("stat has %d fields after the name", len(fields))
	}
	var sum time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("stat: %w", err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// parseStatus takes a size in kB and returns bytes.
func parseStatus(s, key string) (int64, error) {
	for line := range strings.Lines(s) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("status: %w", err)
			}
			return n << 10, nil
		}
	}
	return 0, fmt.Errorf("status has no %s", key)
}
