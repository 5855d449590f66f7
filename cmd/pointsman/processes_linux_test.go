package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// alone waits until NSD is what it is at rest: the process that transfers, the
// one that watches, and the one that answers.
func (s *secondary) alone(t *testing.T) {
	t.Helper()
	eventually(t, "the end of old processes of "+s.kind, func() bool { return processesOf(s.cmd.Process.Pid) == 3 })
}

// processesOf counts the processes of a group, without those that have ended
// (proc_pid_stat(5)).
func processesOf(group int) int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	n := 0
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it ended meanwhile
		}
		// The name of the program stands in brackets and may hold anything.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(fields) > 2 && fields[0] != "Z" && fields[2] == strconv.Itoa(group) {
			n++
		}
	}
	return n
}
