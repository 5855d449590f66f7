//go:build failpoint

package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"pointsman/internal/controller"
)

// failpoints reads POINTSMAN_FAILPOINT: entries name[#N]=action, parted by
// commas. Names are those of controller.Failpoints and reloadPoints; #N is the N-th time that
// the point is passed, every time without it. Actions: kill (SIGKILL to this
// process), pause (SIGSTOP, until somebody sends SIGCONT), error, delay:200ms.
func failpoints(env func(string) string) (func(name string) error, error) {
	text := env("POINTSMAN_FAILPOINT")
	if text == "" {
		return nil, nil
	}
	type point struct {
		nth  int
		what string
		act  func() error
	}
	points := make(map[string][]point)
	for entry := range strings.SplitSeq(text, ",") {
		where, what, ok := strings.Cut(strings.TrimSpace(entry), "=")
		name, nth, counted := strings.Cut(where, "#")
		p := point{what: what}
		var err error
		if counted {
			p.nth, err = strconv.Atoi(nth)
		}
		if p.act = failAction(name, what); !ok || err != nil || p.act == nil || counted && p.nth < 1 {
			return nil, failed("write it as write-name/before#2=kill", "POINTSMAN_FAILPOINT: %q is no failpoint", entry)
		}
		if known := append(controller.Failpoints(), reloadPoints...); !slices.Contains(known, name) {
			return nil, failed("the points are "+strings.Join(known, ", "), "POINTSMAN_FAILPOINT: there is no point %q", name)
		}
		points[name] = append(points[name], p)
	}
	var mu sync.Mutex
	passed := make(map[string]int)
	return func(name string) error {
		mu.Lock()
		passed[name]++
		n := passed[name]
		mu.Unlock()
		for _, p := range points[name] {
			if p.nth == 0 || p.nth == n {
				fmt.Fprintf(os.Stderr, "failpoint %s#%d: %s\n", name, n, p.what)
				if err := p.act(); err != nil {
					return err
				}
			}
		}
		return nil
	}, nil
}

func failAction(name, what string) func() error {
	signal := func(s syscall.Signal) func() error {
		return func() error {
			if err := syscall.Kill(syscall.Getpid(), s); err != nil {
				return fmt.Errorf("failpoint %s: %w", name, err)
			}
			// A signal to oneself may come a moment later.
			time.Sleep(50 * time.Millisecond)
			return nil
		}
	}
	switch {
	case what == "kill":
		return signal(syscall.SIGKILL)
	case what == "pause":
		return signal(syscall.SIGSTOP)
	case what == "error":
		return func() error { return fmt.Errorf("failpoint %s", name) }
	default:
		text, ok := strings.CutPrefix(what, "delay:")
		d, err := time.ParseDuration(text)
		if !ok || err != nil || d < 0 {
			return nil
		}
		return func() error { time.Sleep(d); return nil }
	}
}
