package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"

	"pointsman/internal/failover"
)

// confirm lets a person type the DNS name of the instance. Without a terminal
// there is no question: the command fails and names the flag that answers it.
func (a *app) confirm(yes bool, v failover.View, what string) error {
	if yes {
		return nil
	}
	name := string(v.Instance)
	if len(v.Names) > 0 {
		name = string(v.Names[0].Name)
	}
	if !a.stdinTTY || !a.stderrTTY {
		return failed("add --yes to do it without a question", "%s needs a confirmation, and this is no terminal", what)
	}
	fmt.Fprintf(a.stderr, "%s\nType the name %s to go on: ", clean(what), clean(name))
	line, err := bufio.NewReader(io.LimitReader(a.stdin, 1024)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return failed("add --yes to do it without a question", "read confirmation: %w", err)
	}
	if strings.TrimSuffix(strings.ToLower(strings.TrimSpace(line)), ".") != strings.TrimSuffix(name, ".") {
		return failed("type the name as shown, or add --yes", "not confirmed: nothing was done")
	}
	return nil
}

// who names the person at the keyboard, for the audit.
func (a *app) who() string {
	name := a.env("USER")
	if name == "" {
		if u, err := user.Current(); err == nil {
			name = u.Username
		}
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return orElse(name, "unknown") + "@" + host
}
