package healthcheck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// run starts the command through a launcher, and returns after both and
// whatever the command has started are gone. The error is that of a start.
//
// What is caught: every process that comes of the command, also one that
// ignores SIGTERM, left the group, let go of the output, cleared its
// environment or outlives the command, at its end, when the time is over and
// when this process dies (the launcher sees the end of a pipe; the command
// itself has PR_SET_PDEATHSIG besides). Not caught: what kills the launcher
// first, what has rights that we have not, and what another program was asked
// to start.
func (x *command) run(ctx context.Context) (ended, error) {
	how := ended{output: &firstBytes{}}
	if err := ctx.Err(); err != nil {
		return how, fmt.Errorf("not started: %w", err)
	}
	leash, err := newPipe()
	if err != nil {
		return how, err
	}
	defer leash.close()
	told, err := newPipe()
	if err != nil {
		return how, err
	}
	defer told.close()
	how.output.full = leash.letGo
	cpu := uint64(x.limit.Seconds()) + 2 // whole seconds; the timeout comes first unless many processes work
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: append([]string{launcherName, strconv.FormatUint(cpu, 10)}, x.args...), Dir: "/", Env: x.env,
		Stdout: how.output, Stderr: how.output, // the same: one pipe, and one goroutine that reads it
		ExtraFiles: []*os.File{leash.r, told.w}, // fdLeash, fdTold
		WaitDelay:  holdOn,
		// A group of its own, so that nothing that is meant for ours ends it.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
	if err := cmd.Start(); err != nil {
		return how, fmt.Errorf("start the launcher: %w", err)
	}
	begun := time.Now()
	leash.r.Close()
	told.w.Close()
	// The launcher has its own bound, cleanUpFor. One that was stopped is killed.
	late := time.AfterFunc(time.Hour, func() { _ = cmd.Process.Kill() })
	late.Stop()
	defer late.Stop()
	stop := context.AfterFunc(ctx, func() {
		leash.letGo()
		late.Reset(2 * cleanUpFor)
	})
	defer stop()
	end, err := heed(told.r, func() { how.startedAfter = time.Since(begun) })
	_ = cmd.Process.Kill() // its last word was said, or there will be none
	werr := cmd.Wait()
	switch {
	case err == nil && end.Error != "" && end.Errno != 0:
		return how, fmt.Errorf("start %s: %w", x.args[0], end.Errno)
	case err == nil && end.Error != "":
		return how, errors.New(end.Error)
	case err != nil:
		return how, fmt.Errorf("the launcher of %s ended without a word: %w", x.args[0], errors.Join(err, werr))
	}
	how.code, how.signal, how.stray, how.left = end.Code, syscall.Signal(end.Signal), end.Stray, end.Left
	return how, nil
}

// heed reads what the launcher says, to its last word.
func heed(r *os.File, started func()) (last launched, err error) {
	for d := json.NewDecoder(r); ; {
		var l launched
		if err := d.Decode(&l); err != nil {
			return last, err
		}
		if !l.Started {
			return l, nil
		}
		started()
	}
}

// pipe is a pipe whose writing end may be let go of from anywhere.
type pipe struct {
	r, w *os.File
	once sync.Once
}

func newPipe() (*pipe, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	return &pipe{r: r, w: w}, nil
}

func (p *pipe) letGo() { p.once.Do(func() { p.w.Close() }) }

func (p *pipe) close() {
	p.letGo()
	p.r.Close()
}
