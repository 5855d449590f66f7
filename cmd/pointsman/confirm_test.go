package main

import (
	"bytes"
	"strings"
	"testing"

	"pointsman/internal/failover"
)

func atTerminal(typed string) (*app, *bytes.Buffer) {
	var err bytes.Buffer
	return &app{
		stdin: strings.NewReader(typed), stdout: &bytes.Buffer{}, stderr: &err,
		env: func(string) string { return "" }, stdinTTY: true, stdoutTTY: true, stderrTTY: true,
	}, &err
}

func TestOnlyTheTypedNameConfirms(t *testing.T) {
	v := failover.View{Instance: "orders", Names: []failover.NameView{{NameRecord: failover.NameRecord{Name: "orders.lab.test."}}}}
	for typed, want := range map[string]bool{
		"orders.lab.test.\n": true, "orders.lab.test": true, " Orders.LAB.test \n": true,
		"": false, "y\n": false, "yes\n": false, "orders\n": false, "orders.lab.test.x\n": false, ".\n": false,
	} {
		a, asked := atTerminal(typed)
		if err := a.confirm(false, v, "switchover"); (err == nil) != want {
			t.Errorf("%q: %v", typed, err)
		}
		if !strings.Contains(asked.String(), "Type the name orders.lab.test. to go on: ") {
			t.Errorf("asked %q", asked)
		}
	}
	a, asked := atTerminal("")
	if err := a.confirm(true, v, "x"); err != nil || asked.Len() != 0 {
		t.Errorf("--yes: %v, asked %q", err, asked)
	}
	for _, tty := range [][2]bool{{false, true}, {true, false}} {
		a, asked := atTerminal("orders.lab.test.\n")
		a.stdinTTY, a.stderrTTY = tty[0], tty[1]
		if err := a.confirm(false, v, "x"); err == nil || asked.Len() != 0 {
			t.Errorf("without a terminal: %v, asked %q", err, asked)
		}
	}
}

func TestColourOnlyWhereItIsWanted(t *testing.T) {
	a, _ := atTerminal("")
	if got := a.vote(failover.Down); !strings.Contains(got, "\x1b[") || !strings.Contains(got, "down") {
		t.Errorf("on a terminal: %q", got)
	}
	for name, change := range map[string]func(*app){
		"no terminal": func(a *app) { a.stdoutTTY = false },
		"--no-color":  func(a *app) { a.noColor = true },
		"NO_COLOR": func(a *app) {
			a.env = func(k string) string { return map[string]string{"NO_COLOR": "1"}[k] }
		},
		"dumb": func(a *app) {
			a.env = func(k string) string { return map[string]string{"TERM": "dumb"}[k] }
		},
	} {
		a, _ := atTerminal("")
		change(a)
		if got := a.vote(failover.Down); got != "down" {
			t.Errorf("%s: %q", name, got)
		}
	}
}
