package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/fsnotify/fsnotify"

	"pointsman/internal/api"
)

// deaf is a watch of which only the errors are heard: every event is lost.
type deaf struct {
	*dirWatch
	drain chan struct{} // closed: events are taken away unheard
	lost  chan error    // errors, as they are heard
	done  chan struct{}
}

func (d *deaf) events() <-chan fsnotify.Event { return nil }
func (d *deaf) errors() <-chan error          { return d.lost }

// run takes the events away, once it may.
func (d *deaf) run() {
	defer close(d.done)
	<-d.drain
	for {
		select {
		case _, ok := <-d.dirWatch.events():
			if !ok {
				return
			}
		case err, ok := <-d.dirWatch.errors():
			if !ok {
				return
			}
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				select {
				case d.lost <- err:
				default: // one is waiting to be heard
				}
			}
		}
	}
}

// overflow makes more events in a directory than the kernel keeps of them.
func overflow(t *testing.T, dir string) {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		t.Fatal(err)
	}
	most, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range most + 10_000 { // the library reads some of them before it waits for us
		name := filepath.Join(dir, fmt.Sprint("noise", i%2)) // two in turn: the kernel joins events that are the same
		if i < 2 {
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnOverflowOfEventsLeadsToALook fills the queue of the kernel, so that the
// event of the file is lost: that some were is all that is heard, and enough.
func TestAnOverflowOfEventsLeadsToALook(t *testing.T) {
	p := &paper{file: filepath.Join(t.TempDir(), "x.yaml"), text: "one"}
	d := &bench{T: t, paper: p, hup: make(chan os.Signal, 1)}
	d.write("one")
	real, err := newDirWatch()
	if err != nil {
		t.Fatal(err)
	}
	w := &deaf{dirWatch: real, drain: make(chan struct{}), lost: make(chan error, 1), done: make(chan struct{})}
	go w.run()
	d.re = newReloader(p.file, p, d.hup, slog.New(slog.DiscardHandler))
	d.re.open = func() (watcher, error) { return w, nil }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.re.Run(ctx) }()
	drain := sync.OnceFunc(func() { close(w.drain) })
	defer func() {
		drain()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the loop ended with %v", err)
		}
		<-w.done // the loop closed the watch
	}()
	d.reload(api.ReloadRequest{By: "t", DryRun: true}) // the watch stands
	overflow(t, filepath.Dir(p.file))
	d.write("two")
	if n := d.re.counted()[api.ReloadOK]; n != 0 {
		t.Fatalf("%d reloads before anything was heard", n)
	}
	drain()
	d.wait("two", func() bool { return d.re.Config().Hash == "two" })
	if last := p.tries[len(p.tries)-1]; last.By != byWatch {
		t.Errorf("by %q", last.By)
	}
}

// An overflow that comes again and again holds no look off.
func TestOverflowsWithoutEndHoldNoReloadOff(t *testing.T) {
	p := &paper{file: filepath.Join(t.TempDir(), "x.yaml"), text: "one"}
	d := &bench{T: t, paper: p}
	d.write("one")
	w := &deaf{dirWatch: &dirWatch{}, lost: make(chan error)}
	d.re = newReloader(p.file, p, nil, slog.New(slog.DiscardHandler))
	d.re.open = func() (watcher, error) { return w, nil }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.re.Run(ctx) }()
	d.reload(api.ReloadRequest{By: "t", DryRun: true}) // the loop has begun
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case w.lost <- fsnotify.ErrEventOverflow:
			case <-stop:
				return
			}
		}
	}()
	d.write("two")
	d.wait("two", func() bool { return d.re.Config().Hash == "two" })
	close(stop)
	<-ended
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
