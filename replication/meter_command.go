package replication

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
	"unicode"

	"pointsman/internal/group"
)

// keptErrors is how much of its standard error a command is quoted with, bytes.
const keptErrors = 200

// lingers is how long a process that left the group may hold the output open
// after the group was killed.
const lingers = 100 * time.Millisecond

// run runs the command, and returns its standard output. It leads a process
// group of its own, which is killed when its leader has ended, and when the
// time is over. Nothing of our own environment goes in.
func (x *External) run(ctx context.Context, env []string) ([]byte, error) {
	if err := x.Program(x.Command[0]); err != nil {
		return nil, fmt.Errorf("not run: %w", err)
	}
	said, complained := &firstBytes{most: maxAnswer + 1}, &firstBytes{most: keptErrors}
	cmd := &exec.Cmd{
		Path: x.Command[0], Args: x.Command, Dir: "/", Stdout: said, Stderr: complained, WaitDelay: lingers,
		Env: append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C", "HOME=/"}, env...),
	}
	late, err := group.Run(ctx, cmd)
	switch {
	case late:
		return nil, ctx.Err()
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		if why := complained.line(); why != "" {
			return nil, fmt.Errorf("run %s: %w: %s", x.Command[0], err, why)
		}
		return nil, fmt.Errorf("run %s: %w", x.Command[0], err)
	}
	return said.kept, nil
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

// line is it as one printable line.
func (b *firstBytes) line() string {
	text := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(b.kept), ""))
	return strings.Join(strings.Fields(text), " ")
}
