// Command pointsman moves one DNS name between two clusters, safely, and says
// why it did or did not.
//
// `pointsman run` is the controller, `pointsman vantage` a prober elsewhere;
// every other verb speaks to a running controller over its API and never
// touches DNS or a cluster itself. wire.go is the only place that knows all
// rooms of the program; each verb has a file of its own; message.go holds the
// rules for everything that a person reads.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

func main() { os.Exit(mainStatus()) }

// mainStatus is main without the exit, so that tests can register it as a
// program of its own.
func mainStatus() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	a := &app{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.Getenv, hangUps: hangUps,
		stdinTTY:  term.IsTerminal(int(os.Stdin.Fd())),
		stdoutTTY: term.IsTerminal(int(os.Stdout.Fd())),
		stderrTTY: term.IsTerminal(int(os.Stderr.Fd())),
	}
	return a.run(ctx, os.Args[1:])
}

// hangUps turns SIGHUP, which would end the process, into what it hands out,
// until stop is called. Only the commands that serve want that.
func hangUps() (c <-chan os.Signal, stop func()) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	return hup, func() { signal.Stop(hup) }
}

// app is what every command has at hand.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) string
	hangUps        func() (c <-chan os.Signal, stop func())

	stdinTTY, stdoutTTY, stderrTTY bool

	config    string
	socket    string
	server    string
	tokenFile string
	output    outputFormat
	noColor   bool
}

// run parses the arguments, carries the command out and returns the exit status.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	return report(a.stderr, root.ExecuteContext(ctx))
}
