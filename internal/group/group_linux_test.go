package group

import (
	"context"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// spoken waits until nobody holds the other end of a pipe any more.
func spoken(t *testing.T, r *os.File) string {
	t.Helper()
	if err := r.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("somebody lives on: %v", err)
	}
	return string(all)
}

// Each program and each child of it holds a pipe, which ends when all are dead.
func TestNobodyOfTheGroupOutlivesIt(t *testing.T) {
	for name, script := range map[string]string{
		"it ends, its child does not":    `sleep 1000 & echo hello >&3`,
		"neither ends":                   `sleep 1000 & echo hello >&3; wait`,
		"it ignores signals that it can": `trap '' TERM INT HUP; echo hello >&3; while :; do sleep 1000; done`,
	} {
		t.Run(name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			cmd := exec.Command("/bin/sh", "-c", script)
			cmd.ExtraFiles = []*os.File{w}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ends := name == "it ends, its child does not"
			hello := make(chan struct{})
			go func() {
				defer close(hello)
				_, err := io.ReadFull(r, make([]byte, len("hello\n")))
				if !ends || err != nil {
					cancel() // only when it runs
				}
			}()
			late, err := Run(ctx, cmd)
			w.Close()
			<-hello
			if late == ends || (err == nil) != ends {
				t.Errorf("late %v, %v", late, err)
			}
			spoken(t, r)
		})
	}
}

func TestNothingIsStartedTooLate(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cmd := exec.Command("/bin/true")
	if late, err := Run(ctx, cmd); !late || err == nil || cmd.Process != nil {
		t.Errorf("late %v, %v, %v", late, err, cmd.Process)
	}
	if late, err := Run(t.Context(), exec.Command("/there/is/none")); late || err == nil {
		t.Errorf("late %v, %v", late, err)
	}
}
