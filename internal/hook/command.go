package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/group"
)

// Exit codes of a command.
const (
	exitPass = 0
	exitVeto = 10 // pre-hooks only
)

const (
	keptOutput = 4 << 10 // of the standard output; the rest is read and dropped
	keptErrors = 1 << 10 // of the standard error
	// holdOn is how long a process that left the group may hold the output open
	// after the group was killed.
	holdOn = 100 * time.Millisecond
)

// command runs the program of the hook. It leads a process group of its own;
// the group is killed when its leader has ended, and when the time is over.
// What has left the group by then goes on and is waited for no longer.
func (d *Def) command(ctx context.Context, cfg *Config, b Body) (failover.HookVerdict, string) {
	if err := cfg.Program(d.Command[0]); err != nil {
		return failover.HookBroken, "not run: " + err.Error()
	}
	if ctx.Err() != nil {
		return failover.HookBroken, d.outOfTime(ctx)
	}
	said, complained := &firstBytes{most: keptOutput}, &firstBytes{most: keptErrors}
	cmd := &exec.Cmd{
		Path: d.Command[0], Args: d.Command, Dir: "/", Env: b.env(),
		Stdin: bytes.NewReader(b.json()), Stdout: said, Stderr: complained, WaitDelay: holdOn,
	}
	late, err := group.Run(ctx, cmd)
	return d.judge(ctx, late, cmd.ProcessState, err, said, complained)
}

// judge is what the end of a command means.
func (d *Def) judge(ctx context.Context, late bool, how *os.ProcessState, err error, said, complained *firstBytes) (failover.HookVerdict, string) {
	if how == nil {
		if pe, ok := errors.AsType[*os.PathError](err); ok {
			err = pe.Err
		}
		return failover.HookBroken, fmt.Sprintf("start %s: %v", d.Command[0], err)
	}
	status, _ := how.Sys().(syscall.WaitStatus)
	switch code := how.ExitCode(); {
	case late:
		return failover.HookBroken, d.outOfTime(ctx) + ", killed with its process group"
	case status.Signaled():
		return failover.HookBroken, fmt.Sprintf("ended by a signal: %s", status.Signal())
	case code == exitPass:
		return failover.HookPassed, said.String()
	case code == exitVeto && d.When == failover.HookPre:
		return failover.HookVetoed, said.String()
	default:
		why := complained.String()
		if oneLine(why, keptErrors) == "" {
			why = said.String()
		}
		if why != "" {
			why = ": " + why
		}
		return failover.HookBroken, fmt.Sprintf("exit %d%s", code, why)
	}
}

// firstBytes keeps the beginning of what is written, and takes all of it.
type firstBytes struct {
	kept []byte
	most int
}

func (b *firstBytes) Write(p []byte) (int, error) {
	if room := b.most - len(b.kept); room > 0 {
		b.kept = append(b.kept, p[:min(len(p), room)]...)
	}
	return len(p), nil
}

func (b *firstBytes) String() string { return string(b.kept) }
