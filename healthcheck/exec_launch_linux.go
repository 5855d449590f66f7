package healthcheck

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A command has a launcher: this program once more, started under a name that
// no person types. It sets limits for itself, which the command inherits with
// its first instruction, becomes the parent of every process that the command
// leaves behind, and returns when none of them is left.
const launcherName = "pointsman: launcher of a command"

// Descriptors of a launcher besides the three usual ones.
const (
	fdLeash = 3 // reading end of a pipe: at its end all is to be killed
	fdTold  = 4 // writing end: what became of the command
)

// launched is what a launcher says: one line when the command has started, or
// could not be, and one when everything has ended.
type launched struct {
	Started bool          `json:"started,omitempty"`
	Error   string        `json:"error,omitempty"` // why nothing was started
	Errno   syscall.Errno `json:"errno,omitempty"` // likewise
	Code    int           `json:"code,omitempty"`  // of its exit, -1 when a signal ended it
	Signal  int           `json:"signal,omitempty"`
	Stray   int           `json:"stray,omitempty"` // processes of other groups that were killed
	Left    int           `json:"left,omitempty"`  // that could not be
}

// cleanUpFor is how long a launcher kills what starts others in turn.
const cleanUpFor = time.Second

// The launcher must run before anything else does, in whatever program holds
// this package: to forget it there would start that program again and again.
func init() {
	if len(os.Args) > 0 && os.Args[0] == launcherName {
		runtime.LockOSThread() // PR_SET_PDEATHSIG is about the thread that starts the command
		os.Exit(launch(os.Args[1:]))
	}
}

// launch runs the command of its arguments: the limit of CPU time in seconds,
// then path and arguments.
func launch(args []string) int {
	told := json.NewEncoder(os.NewFile(fdTold, "told"))
	cannot := func(what string, err error) int {
		errno, _ := errors.AsType[syscall.Errno](err)
		_ = told.Encode(launched{Error: fmt.Sprintf("%s: %v", what, err), Errno: errno})
		return 1
	}
	cpu, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		return cannot("launch", err)
	}
	k := &keeper{}
	go func() {
		_, _ = io.Copy(io.Discard, os.NewFile(fdLeash, "leash"))
		k.kill()
	}()
	if err := hold(cpu); err != nil {
		return cannot("set limits", err)
	}
	pid, err := k.start(args[1:])
	if err != nil {
		return cannot("start "+args[1], err)
	}
	_ = told.Encode(launched{Started: true})
	status := k.reap(pid)
	end := launched{Code: status.ExitStatus()}
	if status.Signaled() {
		end.Signal = int(status.Signal())
	}
	end.Stray, end.Left = k.clear(pid)
	if err := told.Encode(end); err != nil {
		return 1 // nobody is there any more
	}
	return 0
}

// hold sets what the command inherits: limits, and nothing that is open but
// the usual three. Whoever started us may have left something open.
func hold(cpu uint64) error {
	for _, l := range []struct {
		what int
		most uint64
	}{{unix.RLIMIT_CORE, 0}, {unix.RLIMIT_NOFILE, maxFiles}, {unix.RLIMIT_DATA, maxData}, {unix.RLIMIT_CPU, cpu}} {
		had := syscall.Rlimit{}
		if err := syscall.Getrlimit(l.what, &had); err != nil {
			return err
		}
		most := min(l.most, had.Max) // somebody may have set less
		if err := syscall.Setrlimit(l.what, &syscall.Rlimit{Cur: most, Max: most}); err != nil {
			return err
		}
	}
	// What the command leaves behind becomes our child (prctl(2)).
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	open, err := os.ReadDir("/proc/self/fd")
	for _, e := range open {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return err
}

// keeper ends what it has started.
type keeper struct {
	mu     sync.Mutex
	leader int  // of the group; 0 before it has started and after it was reaped
	over   bool // nothing may run any more
}

func (k *keeper) start(command []string) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over {
		return 0, errors.New("called off")
	}
	pid, err := syscall.ForkExec(command[0], command, &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err == nil {
		k.leader = pid
	}
	return pid, err
}

// kill ends the command and its group; clear finds what is left then.
func (k *keeper) kill() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.over = true
	if k.leader != 0 {
		_ = syscall.Kill(-k.leader, syscall.SIGKILL)
		_ = syscall.Kill(k.leader, syscall.SIGKILL) // it may have gone to another group
	}
}

// reap waits until the command has ended and takes its status. As long as
// that is not taken the number, which is that of the group, is nobody else's.
func (k *keeper) reap(pid int) (status syscall.WaitStatus) {
	for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	k.kill()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.leader = 0
	for {
		if _, err := syscall.Wait4(pid, &status, 0, nil); !errors.Is(err, syscall.EINTR) {
			return status
		}
	}
}

// clear kills every process that is left, whatever group it went to: each
// becomes our child when its parent is gone. It says how many of them were of
// other groups than the command's, and how many there still are.
func (k *keeper) clear(group int) (stray, left int) {
	seen := map[int]bool{}
	for end := time.Now().Add(cleanUpFor); ; time.Sleep(time.Millisecond) {
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 && !errors.Is(err, syscall.EINTR) {
				break
			}
		}
		mine := children(os.Getpid())
		if left = len(mine); left == 0 || time.Now().After(end) {
			return stray, left
		}
		for pid, of := range mine {
			if !seen[pid] && of != group {
				stray++
			}
			seen[pid] = true
			_ = syscall.Kill(pid, syscall.SIGKILL) // our child: the number is its own until we take its status
		}
	}
}

// children lists the processes whose parent is pid, with their groups.
func children(pid int) map[int]int {
	found := map[int]int{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		// The name, field 2 of proc(5), may hold blanks and brackets.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) > 2 && string(fields[1]) == strconv.Itoa(pid) {
			found[n], _ = strconv.Atoi(string(fields[2]))
		}
	}
	return found
}
