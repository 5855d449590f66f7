package healthcheck

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// markName is a variable of the environment whose value is drawn anew for each
// run. Whatever a command starts inherits it, so strays can be told from all
// other processes.
const markName = "POINTSMAN_PROBE"

// run starts the command as the leader of a group of its own and returns after
// it has ended and the whole group is dead. The error is that of a start.
//
// What is caught: children in the group, also those that ignore SIGTERM or
// outlive the command (SIGKILL to the group); children that left the group and
// hold on to the output, or were there when the time was over (found by the
// mark); the command itself when this process dies (PR_SET_PDEATHSIG). Not
// caught: a process that left the group and let go of the output before the
// command ended in time, one that threw its environment away, and what the
// command does in the moment before its limits are set.
func (x *command) run(ctx context.Context) (ended, error) {
	// PR_SET_PDEATHSIG is about the thread that started the child (prctl(2)):
	// it must not end before the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	mark := markName + "=" + rand.Text()
	how := ended{output: &firstBytes{}}
	cmd := &exec.Cmd{
		Path: x.args[0], Args: x.args, Dir: "/", Env: append(x.env[:len(x.env):len(x.env)], mark),
		Stdout: how.output, Stderr: how.output, // the same: one pipe, and one goroutine that reads it
		WaitDelay:   holdOn,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	g := &group{}
	how.output.full = g.kill
	if err := ctx.Err(); err != nil {
		return how, fmt.Errorf("not started: %w", err)
	}
	if err := cmd.Start(); err != nil {
		if pe, ok := errors.AsType[*os.PathError](err); ok {
			err = pe.Err
		}
		return how, fmt.Errorf("start %s: %w", x.args[0], err)
	}
	g.lead(cmd.Process.Pid)
	killed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(killed)
		g.kill()
	})
	limited := x.setLimits(cmd.Process.Pid)
	if limited != nil {
		g.kill()
	}
	// The leader is waited for without taking its status, so that its number,
	// which is that of the group, cannot be somebody else's when we kill.
	awaitExit(cmd.Process.Pid)
	g.end()
	if !stop() {
		<-killed
	}
	ending := time.Now()
	if err := cmd.Wait(); errors.Is(err, exec.ErrWaitDelay) || time.Since(ending) >= holdOn || ctx.Err() != nil {
		how.stray = killMarked(mark)
	}
	if limited != nil {
		return how, fmt.Errorf("set limits of %s: %w", x.args[0], limited)
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	how.code = status.ExitStatus()
	if status.Signaled() {
		how.signal = status.Signal()
	}
	return how, nil
}

// group is the process group of a command.
type group struct {
	mu     sync.Mutex
	leader int  // 0 before it has started and after it may be reaped
	early  bool // it was to be killed before we knew its number
}

func (g *group) lead(pid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leader = pid
	if g.early {
		syscall.Kill(-pid, syscall.SIGKILL)
	}
}

func (g *group) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.leader == 0 {
		g.early = true
		return
	}
	syscall.Kill(-g.leader, syscall.SIGKILL)
}

// end kills for the last time: afterwards the number may be somebody else's.
func (g *group) end() {
	g.kill()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leader = 0
}

// setLimits bounds what the command may use. What has ended already needs no
// limits.
func (x *command) setLimits(pid int) error {
	cpu := uint64(x.limit.Seconds()) + 2 // whole seconds; the timeout comes first unless many processes work
	for _, l := range []struct {
		what int
		most uint64
	}{{unix.RLIMIT_CORE, 0}, {unix.RLIMIT_NOFILE, maxFiles}, {unix.RLIMIT_DATA, maxData}, {unix.RLIMIT_CPU, cpu}} {
		if err := unix.Prlimit(pid, l.what, &unix.Rlimit{Cur: l.most, Max: l.most}, nil); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// killMarked kills every process that bears the mark and returns how many.
func killMarked(mark string) int {
	n := 0
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// The handle first: a number that is used again is then not mistaken
		// for the process whose environment is read.
		p, err := os.FindProcess(pid)
		if err != nil {
			continue
		}
		env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err == nil && marked(env, mark) && p.Kill() == nil {
			n++
		}
		p.Release()
	}
	return n
}

func marked(env []byte, mark string) bool {
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if string(v) == mark {
			return true
		}
	}
	return false
}
