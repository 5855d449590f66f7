package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Process is one that this host runs.
type Process struct {
	PID  int
	Name string // as the kernel has it, 15 characters at most
}

// mostProcesses and mostFDs bound the walk through /proc.
const (
	mostProcesses = 20_000
	mostFDs       = 1_000_000
)

// Processes lists what /proc shows.
func (h Host) Processes() []Process {
	dir, err := os.Open(h.path("/proc"))
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(mostProcesses) // what came before an error is used
	var out []Process
	for _, n := range names {
		pid, err := strconv.Atoi(n)
		if err != nil {
			continue
		}
		comm, err := h.read(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil {
			continue // it ended
		}
		out = append(out, Process{pid, strings.TrimSpace(string(comm))})
	}
	return out
}

// SocketOwners finds which process has each of the sockets. closed counts the
// processes whose descriptors this user may not see.
func (h Host) SocketOwners(ps []Process, wanted map[uint64]bool) (owners map[uint64]string, closed int) {
	owners = map[uint64]string{}
	left := mostFDs
	for _, p := range ps {
		if len(owners) == len(wanted) || left <= 0 {
			break
		}
		dir := h.path(fmt.Sprintf("/proc/%d/fd", p.PID))
		fd, err := os.Open(dir)
		if err != nil {
			if os.IsPermission(err) {
				closed++
			}
			continue
		}
		names, err := fd.Readdirnames(left)
		fd.Close()
		if os.IsPermission(err) {
			closed++
		}
		left -= len(names)
		for _, n := range names {
			link, err := os.Readlink(filepath.Join(dir, n))
			if err != nil {
				continue
			}
			text, ok := strings.CutPrefix(link, "socket:[")
			if inode, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 64); ok && err == nil && wanted[inode] {
				owners[inode] = fmt.Sprintf("%s (%d)", p.Name, p.PID)
			}
		}
	}
	return owners, closed
}
