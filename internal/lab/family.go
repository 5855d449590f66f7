package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sort"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// The states of a child.
const (
	Running = "running"
	Stalled = "stalled" // stopped by SIGSTOP
	Killed  = "killed"  // by the lab
	Ended   = "ended"   // by itself, or by somebody else
)

var (
	// ErrNoChild is returned for a name that the lab does not know.
	ErrNoChild = errors.New("no such part of the lab")
	// ErrNotRunning is returned for a signal to a child that has no process.
	ErrNotRunning = errors.New("is not running")
	// ErrRunning is returned when a child is started twice.
	ErrRunning = errors.New("is running already")
	// ErrEnding is returned once the family is being ended.
	ErrEnding = errors.New("the lab is ending")
)

// ChildSpec says how a child is started, the first time and again.
type ChildSpec struct {
	Name string
	Path string
	Args []string
	Env  []string // added to our own environment
	Dir  string
	Log  string    // file that gets its stdout and stderr, appended
	Also io.Writer // gets the same, each line with the name before it; nil for nobody
}

// ChildState is what is known of a child.
type ChildState struct {
	Name  string `json:"name"`
	PID   int    `json:"pid,omitempty"`
	State string `json:"state"`
	How   string `json:"how,omitempty"` // how it ended
}

// Family starts child processes and sees to it that none outlives it: when
// Run returns they are dead, and on Linux the kernel kills them should this
// process die without a word (see dieWithParent). Children live in process
// groups of their own, so that Ctrl-C in a terminal reaches only the lab,
// which then ends them in its own way.
//
// The zero value is not ready; use NewFamily.
type Family struct {
	grace  time.Duration
	starts chan startOrder
	done   chan struct{} // closed when Run returns
	exits  chan ChildState

	mu       sync.Mutex
	children map[string]*child
}

type child struct {
	spec  ChildSpec
	cmd   *exec.Cmd
	out   *lineWriter
	log   *os.File
	gone  chan struct{} // closed once the process was waited for
	state ChildState
}

type startOrder struct {
	spec  ChildSpec
	reply chan error
}

// NewFamily returns a family whose children get the grace to end after
// SIGTERM before they are killed.
func NewFamily(grace time.Duration) *Family {
	return &Family{
		grace: grace, starts: make(chan startOrder), done: make(chan struct{}),
		exits: make(chan ChildState, 16), children: map[string]*child{},
	}
}

// Run starts children on request until the context ends, then ends them all
// and returns when the last is gone.
func (f *Family) Run(ctx context.Context) error {
	defer close(f.done)
	// The kernel ties a child to the thread that forked it, not to the
	// process: that thread must live as long as the child shall.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var waiters errgroup.Group
	for {
		select {
		case o := <-f.starts:
			o.reply <- f.startHere(o.spec, &waiters)
		case <-ctx.Done():
			f.endAll()
			return waiters.Wait()
		}
	}
}

// Exits reports children that ended although the lab did not end them. Nobody
// needs to read it.
func (f *Family) Exits() <-chan ChildState { return f.exits }

// Start starts a child; one of the same name must not be running.
func (f *Family) Start(ctx context.Context, spec ChildSpec) error {
	o := startOrder{spec, make(chan error, 1)}
	select {
	case f.starts <- o:
		return <-o.reply
	case <-f.done:
		return ErrEnding
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Again starts a child that is dead with the spec that it had.
func (f *Family) Again(ctx context.Context, name string) error {
	f.mu.Lock()
	c := f.children[name]
	f.mu.Unlock()
	if c == nil {
		return fmt.Errorf("%s: %w", name, ErrNoChild)
	}
	return f.Start(ctx, c.spec)
}

func (f *Family) startHere(spec ChildSpec, waiters *errgroup.Group) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if old := f.children[spec.Name]; old != nil && old.state.PID != 0 {
		return fmt.Errorf("%s %w", spec.Name, ErrRunning)
	}
	log, err := os.OpenFile(spec.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("log of %s: %w", spec.Name, err)
	}
	c := &child{spec: spec, log: log, gone: make(chan struct{}), out: &lineWriter{file: log, also: spec.Also, prefix: spec.Name}}
	c.cmd = exec.Command(spec.Path, spec.Args...)
	c.cmd.Dir, c.cmd.Env = spec.Dir, append(os.Environ(), spec.Env...)
	c.cmd.Stdout, c.cmd.Stderr = c.out, c.out
	c.cmd.WaitDelay = time.Second // a grandchild may hold the pipe
	c.cmd.SysProcAttr = dieWithParent()
	if err := c.cmd.Start(); err != nil {
		_ = log.Close()
		return fmt.Errorf("start %s: %w", spec.Name, err)
	}
	c.state = ChildState{Name: spec.Name, PID: c.cmd.Process.Pid, State: Running}
	f.children[spec.Name] = c
	waiters.Go(func() error { f.wait(c); return nil })
	return nil
}

func (f *Family) wait(c *child) {
	_ = c.cmd.Wait() // how it ended stands in ProcessState
	c.out.flush()
	_ = c.log.Close()
	f.mu.Lock()
	c.state.PID, c.state.How = 0, c.cmd.ProcessState.String()
	byItself := c.state.State != Killed
	if byItself {
		c.state.State = Ended
	}
	state := c.state
	f.mu.Unlock()
	close(c.gone)
	if byItself {
		select {
		case f.exits <- state:
		default: // nobody listens; the state can still be asked for
		}
	}
}

// Kill sends SIGKILL and returns when the process is gone.
func (f *Family) Kill(name string) error {
	c, err := f.signal(name, syscall.SIGKILL, Killed)
	if err == nil {
		<-c.gone
	}
	return err
}

// Stall sends SIGSTOP: the kernel goes on accepting connections for the
// process, and nobody answers them.
func (f *Family) Stall(name string) error {
	_, err := f.signal(name, syscall.SIGSTOP, Stalled)
	return err
}

// Resume sends SIGCONT.
func (f *Family) Resume(name string) error {
	_, err := f.signal(name, syscall.SIGCONT, Running)
	return err
}

func (f *Family) signal(name string, sig syscall.Signal, state string) (*child, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.children[name]
	switch {
	case c == nil:
		return nil, fmt.Errorf("%s: %w", name, ErrNoChild)
	case c.state.PID == 0:
		return nil, fmt.Errorf("%s %w", name, ErrNotRunning)
	}
	if err := c.cmd.Process.Signal(sig); err != nil {
		return nil, fmt.Errorf("signal %s: %w", name, err)
	}
	c.state.State = state
	return c, nil
}

// State returns what is known of one child.
func (f *Family) State(name string) (ChildState, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.children[name]; c != nil {
		return c.state, true
	}
	return ChildState{}, false
}

// States returns every child, by name.
func (f *Family) States() []ChildState {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]ChildState, 0, len(f.children))
	for _, c := range f.children {
		all = append(all, c.state)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}

// Tail returns the last lines that a child wrote.
func (f *Family) Tail(name string) []string {
	f.mu.Lock()
	c := f.children[name]
	f.mu.Unlock()
	if c == nil {
		return nil
	}
	return c.out.tail()
}

// endAll asks every child to end, wakes those that are stalled, and kills
// what is left after the grace.
func (f *Family) endAll() {
	f.mu.Lock()
	var alive []*child
	for _, c := range f.children {
		if c.state.PID != 0 {
			alive = append(alive, c)
			c.state.State = Killed
			_ = c.cmd.Process.Signal(syscall.SIGTERM)
			_ = c.cmd.Process.Signal(syscall.SIGCONT)
		}
	}
	f.mu.Unlock()
	late := time.NewTimer(f.grace)
	defer late.Stop()
	out := false
	for _, c := range alive {
		if !out {
			select {
			case <-c.gone:
				continue
			case <-late.C:
				out = true
			}
		}
		_ = c.cmd.Process.Kill() // it may be gone by now, which is the aim
		<-c.gone
	}
}
