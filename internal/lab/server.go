package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// ErrNotInstalled is returned for a program that this machine does not have.
var ErrNotInstalled = errors.New("is not installed")

// server is a DNS server that is not ours, as the lab runs it: on loopback, in
// the foreground, with its files in a folder of its own.
type server struct {
	part    string         // its name among the parts of the lab
	addr    netip.AddrPort // where it answers, over UDP and TCP
	program string
	args    []string
	dir     string
	files   map[string]string // by name, written into dir
	once    [][]string        // commands that make its database, run before the first start
	cpu     string            // the processors that it may use, as taskset names them; empty is all
}

// find looks a program up where Debian puts servers, whether or not that is on
// the path of this user.
func find(program string) (string, error) {
	if filepath.IsAbs(program) { // a file that a server needs
		if all, err := filepath.Glob(program); err != nil || len(all) == 0 {
			return "", fmt.Errorf("%s %w", program, ErrNotInstalled)
		}
		return program, nil
	}
	path, err := exec.LookPath(program)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path, err = exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s %w", program, ErrNotInstalled)
}

// pinned puts a command onto some of the processors.
func pinned(cpu, path string, args []string) (string, []string, error) {
	if cpu == "" {
		return path, args, nil
	}
	taskset, err := find("taskset")
	if err != nil {
		return "", nil, err
	}
	return taskset, append([]string{"-c", cpu, path}, args...), nil
}

// startServer writes the files of a server, makes its database, starts it and
// waits until it answers anything at all.
func (l *Lab) startServer(ctx context.Context, s server) error {
	path, err := find(s.program)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("folder of %s: %w", s.part, err)
	}
	for name, text := range s.files {
		file := filepath.Join(s.dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return fmt.Errorf("folder of %s: %w", s.part, err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return fmt.Errorf("files of %s: %w", s.part, err)
		}
	}
	for _, c := range s.once {
		cmd := exec.CommandContext(ctx, c[0], c[1:]...)
		cmd.Dir = s.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("prepare %s: %s: %w: %s", s.part, filepath.Base(c[0]), err, out)
		}
	}
	path, args, err := pinned(s.cpu, path, s.args)
	if err != nil {
		return err
	}
	spec := l.spec(s.part, path, nil, args...)
	spec.Dir = s.dir
	if err := l.family.Start(ctx, spec); err != nil {
		return err
	}
	return l.hears(ctx, s.addr)
}

// hears waits until a server answers any question, with whatever.
func (l *Lab) hears(ctx context.Context, addr netip.AddrPort) error {
	for {
		c := dns.Client{Net: "tcp", Timeout: time.Second}
		_, _, err := c.ExchangeContext(ctx, new(dns.Msg).SetQuestion("localhost.", dns.TypeA), addr.String()) // a resolver knows it, too, and asks nobody
		if err == nil {
			return nil
		}
		if err := l.dead(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %w", addr, context.Cause(ctx), err)
		case <-time.After(poll / 5):
		}
	}
}

// leads waits until a server leads to an address for the first name.
func (l *Lab) leads(ctx context.Context, what string, server netip.AddrPort) error {
	ctx, cancel := context.WithTimeoutCause(ctx, Ready, ErrNotReady)
	defer cancel()
	c := Client{Server: server, Name: l.World.Instances[0].Names[0]}
	for {
		once, stop := context.WithTimeout(ctx, poll)
		_, _, err := c.Resolve(once)
		stop()
		if err == nil {
			return nil
		}
		if err := l.dead(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %w", what, context.Cause(ctx), err)
		case <-time.After(poll / 10):
		}
	}
}

// installed says which of the kinds have all that they need on this machine.
func installed(needs map[string][]string) []string {
	var there []string
	for kind, programs := range needs {
		if !slices.ContainsFunc(programs, func(p string) bool { _, err := find(p); return err != nil }) {
			there = append(there, kind)
		}
	}
	slices.Sort(there)
	return there
}
