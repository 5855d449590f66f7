package healthcheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ExecCheck runs a command. 0 is healthy, 75 (EX_TEMPFAIL of sysexits.h) a
// fault of our own, every other code a miss with the first line of what the
// command wrote.
//
// A command that cannot be started, or that a signal ended which we did not
// send, says nothing about the cluster. One that does not end in time is
// killed and is a miss.
type ExecCheck struct {
	// Command is the absolute path and its arguments; no shell reads them. The
	// file must belong to root or to the user of this process, and nobody else
	// may write it.
	Command []string `json:"command,omitempty"`
}

func (e ExecCheck) validate(f *faults) {
	if len(e.Command) == 0 {
		f.add("exec.command", "exec: {command: [/usr/local/bin/check-orders]}", "is missing")
		return
	}
	if p := e.Command[0]; !filepath.IsAbs(p) || filepath.Clean(p) != p {
		f.add("exec.command[0]", "write it like /usr/local/bin/check-orders", "%q is no absolute path of a program", clean(p, 64))
	}
	for i, arg := range e.Command {
		if strings.ContainsRune(arg, 0) || len(arg) > 4<<10 {
			f.add(fmt.Sprintf("exec.command[%d]", i), "", "holds a zero byte or more than 4 KiB")
		}
	}
	if len(e.Command) > 64 {
		f.add("exec.command", "", "has more than 64 arguments")
	}
}

const (
	exTempFail = 75 // sysexits.h

	maxOutput = 1 << 20 // of a command; one that writes more is killed
	keptLine  = 4 << 10 // of its beginning

	// Limits of each process that a command starts (setrlimit(2)); besides no
	// core files, and CPU time no longer than the timeout.
	maxFiles = 256
	maxData  = 1 << 30

	// holdOn is how long the output may stay open after everything was killed.
	holdOn = 50 * time.Millisecond
)

var (
	// ErrCommandFile: the file of a command could be changed by others.
	ErrCommandFile = errors.New("others could change what is run")
	errOutput      = fmt.Errorf("wrote more than %d KiB", maxOutput>>10)
)

// command is what one target runs.
type command struct {
	args  []string
	env   []string
	limit time.Duration // of CPU time
}

// ended is how a command came to its end.
type ended struct {
	code   int            // of its exit, -1 when a signal ended it
	signal syscall.Signal // that ended it, ours included
	output *firstBytes
	stray  int // processes that had left the group; they were killed
	left   int // that could not be

	startedAfter time.Duration // of the launcher's start; 0: it never did
}

func execProbe(t Target) Probe {
	x := &command{
		args: t.Check.Exec.Command, limit: t.Timeout,
		env: []string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C", "HOME=/",
			"POINTSMAN_INSTANCE=" + string(t.Instance), "POINTSMAN_CLUSTER=" + string(t.Cluster), "POINTSMAN_ADDRESS=" + t.Address,
			"POINTSMAN_NAME=" + strings.TrimSuffix(t.Name, "."), "POINTSMAN_IDENTITY=" + t.Identity,
		},
	}
	return x.probe
}

func (x *command) probe(ctx context.Context) error {
	tr := traceOf(ctx)
	start := time.Now()
	tr.Phase = PhaseConnect
	if err := CommandFile(x.args[0]); err != nil {
		return Own(fmt.Errorf("exec: %w", err))
	}
	limit := limitOf(ctx, start)
	how, err := x.run(ctx)
	tr.Answer = time.Since(start)
	if err != nil {
		return Own(fmt.Errorf("exec: %w", err))
	}
	tr.Phase = PhaseStatus
	if how.stray > 0 {
		tr.warn("the command left %d processes behind that had gone out of its group; they were killed", how.stray)
	}
	if how.left > 0 {
		tr.warn("the command left %d processes behind that could not be killed", how.left)
	}
	if err := how.judge(ctx, limit); err != nil {
		if isTimeout(err) && how.startedAfter > limit/4 {
			return Own(fmt.Errorf("%w (its start took %s)", err, how.startedAfter.Round(time.Millisecond)))
		}
		return err
	}
	tr.Phase = PhaseDone
	return nil
}

// judge is what the end of a command says of the cluster.
func (e ended) judge(ctx context.Context, limit time.Duration) error {
	switch {
	case e.code == 0:
		return nil
	case e.output.over():
		return fmt.Errorf("exec: %w and was killed", errOutput)
	case e.signal == syscall.SIGKILL && ctx.Err() != nil:
		return fmt.Errorf("exec: killed with its group: %w", timeoutError{limit})
	case e.signal != 0:
		return Own(fmt.Errorf("exec: ended by a signal that we did not send: %s", e.signal))
	case e.code == exTempFail:
		return Own(fmt.Errorf("exec: exit %d (not possible now)%s", e.code, e.output.said()))
	default:
		return fmt.Errorf("exec: exit %d%s", e.code, e.output.said())
	}
}

// firstBytes keeps the beginning of what is written and refuses to take more
// than maxOutput. One goroutine writes; it is read after that has ended.
type firstBytes struct {
	kept bytes.Buffer
	all  int
	full func() // called once, when it is too much
}

func (b *firstBytes) Write(p []byte) (int, error) {
	before := b.all
	b.all += len(p)
	if room := keptLine - b.kept.Len(); room > 0 {
		b.kept.Write(p[:min(len(p), room)])
	}
	if b.all > maxOutput {
		if before <= maxOutput {
			b.full()
		}
		return 0, errOutput
	}
	return len(p), nil
}

func (b *firstBytes) over() bool { return b.all > maxOutput }

// said is the first line that is not empty, for a reason.
func (b *firstBytes) said() string {
	for line := range strings.Lines(b.kept.String()) {
		if line = strings.TrimSpace(line); line != "" {
			return ": " + clean(line, 256)
		}
	}
	return ""
}
