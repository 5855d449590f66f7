// Package group runs a program and ends whatever it has started with it.
package group

import (
	"context"
	"errors"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Run starts the command as the leader of a process group and returns when
// it has ended and its group was killed; late says that ctx ended first. The
// program is killed with the process that started it. A child that makes a group
// of its own gets away.
func Run(ctx context.Context, cmd *exec.Cmd) (late bool, err error) {
	if ctx.Err() != nil {
		return true, ctx.Err()
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// The kernel ends the command when the thread that started it ends
	// (PR_SET_PDEATHSIG of prctl(2)), so this one stays until then.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return false, err
	}
	// Its status is not taken yet: until then its number, which is that of the
	// group, is nobody else's.
	pid, ended := cmd.Process.Pid, make(chan struct{})
	go func() {
		for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
		}
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		late = true
		_ = syscall.Kill(-pid, syscall.SIGKILL)
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have gone to another group
		<-ended
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	return late, cmd.Wait()
}
