package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// mayMount tries it. Where it is not permitted, the same promise is shown by
// the ledger's own tests under a fault of the kernel's calls.
func mayMount() bool {
	dir, err := os.MkdirTemp("", "mount")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	if unix.Mount("none", dir, "tmpfs", 0, "size=64k") != nil {
		return false
	}
	return unix.Unmount(dir, unix.MNT_DETACH) == nil
}

// tinyDisk mounts, fills, frees or unmounts a small file system.
func tinyDisk(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: disk mount|fill|free|unmount DIR")
	}
	dir := ts.MkAbs(args[1])
	filler := filepath.Join(dir, "filler")
	switch args[0] {
	case "mount":
		ts.Check(os.MkdirAll(dir, 0o700))
		ts.Check(unix.Mount("none", dir, "tmpfs", 0, "size=1m"))
		ts.Defer(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	case "unmount":
		ts.Check(unix.Unmount(dir, unix.MNT_DETACH))
	case "free":
		ts.Check(os.Remove(filler))
	case "fill":
		f, err := os.OpenFile(filler, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		ts.Check(err)
		defer f.Close()
		for _, n := range []int{4096, 1} {
			for err == nil {
				_, err = f.Write(make([]byte, n))
			}
			if !errors.Is(err, unix.ENOSPC) {
				ts.Fatalf("fill %s: %v", dir, err)
			}
			err = nil
		}
	default:
		ts.Fatalf("usage: disk mount|fill|free|unmount DIR")
	}
}
