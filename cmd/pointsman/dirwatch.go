package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// maxWatched bounds the directories that are watched; what lies beyond is
// looked at on time alone.
const maxWatched = 256

// dirWatch tells that something happened in the directories of some files.
// Directories and not files are watched, because files are replaced by a
// rename (editors, mv), and the whole folder of a Kubernetes config map by the
// swap of a symbolic link in it. Make one by newDirWatch; Close ends it.
type dirWatch struct {
	w *fsnotify.Watcher // nil: the system gives no watches
}

func newDirWatch() (*dirWatch, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return &dirWatch{}, err
	}
	return &dirWatch{w}, nil
}

func (d *dirWatch) Close() {
	if d.w != nil {
		_ = d.w.Close()
	}
}

// events is nil, which blocks for ever, where there is no watch.
func (d *dirWatch) events() <-chan fsnotify.Event {
	if d.w == nil {
		return nil
	}
	return d.w.Events
}

func (d *dirWatch) errors() <-chan error {
	if d.w == nil {
		return nil
	}
	return d.w.Errors
}

// follow watches the directories of the files, and no others. A directory is
// added again even if it is watched: another one may stand there by now. Of
// one that is gone the folder above is watched. It returns whether others are
// watched than before, in which something may have happened already, and the
// first reason why one cannot be.
func (d *dirWatch) follow(files []string) (others bool, first error) {
	if d.w == nil {
		return false, nil
	}
	want := dirsOf(files)
	for i, dir := range want { // where one is gone, above it, so that its return is seen
		for {
			if _, err := os.Stat(dir); !os.IsNotExist(err) || dir == filepath.Dir(dir) {
				break
			}
			dir = filepath.Dir(dir)
		}
		want[i] = dir
	}
	slices.Sort(want)
	want = slices.Compact(want)
	before := d.w.WatchList()
	for _, have := range before {
		if !slices.Contains(want, have) {
			_ = d.w.Remove(have) // gone already is as good
		}
	}
	for i, dir := range want {
		err := fmt.Errorf("more than %d directories", maxWatched)
		if i < maxWatched {
			err = d.w.Add(dir)
		}
		if err != nil && !os.IsNotExist(err) && first == nil {
			first = fmt.Errorf("watch %s: %w", dir, err)
		}
	}
	after := d.w.WatchList()
	slices.Sort(before)
	slices.Sort(after)
	return !slices.Equal(before, after), first
}

// dirsOf lists the directories in which a change can exchange one of the
// files: its own and, along symbolic links, that of each further step.
func dirsOf(files []string) []string {
	var out []string
	add := func(dir string) {
		if real, err := filepath.EvalSymlinks(dir); err == nil && real != dir {
			if !slices.Contains(out, dir) {
				out = append(out, dir)
			}
			dir = real
		}
		if !slices.Contains(out, dir) {
			out = append(out, dir)
		}
	}
	for _, f := range files {
		f, err := filepath.Abs(f)
		if err != nil {
			continue
		}
		for range 10 { // a loop of links ends somewhere
			add(filepath.Dir(f))
			to, err := os.Readlink(f)
			if err != nil {
				break
			}
			if !filepath.IsAbs(to) {
				to = filepath.Join(filepath.Dir(f), to)
			}
			f = to
		}
	}
	slices.Sort(out)
	return out
}

// maxLookAt is the most that is read of one file to see whether it changed.
const maxLookAt = 32 << 20

// lookAt is a hash of the contents, rights and owners of the files, or of why
// they cannot be read: what a new try could find different.
func lookAt(files []string) string {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%s\n", f)
		if err := lookAtOne(h, f); err != nil {
			fmt.Fprintf(h, "%v\n", err)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func lookAtOne(h io.Writer, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	fmt.Fprintf(h, "%s %s\n", info.Mode(), ownerOf(info))
	if !info.Mode().IsRegular() {
		return nil // a pipe would block, a device would not end
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may be a pipe by now
	if err != nil {
		return err
	}
	defer f.Close()
	one := sha256.New()
	if _, err := io.Copy(one, io.LimitReader(f, maxLookAt)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(h, "%x\n", one.Sum(nil))
	return err
}

func ownerOf(info os.FileInfo) string {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprint(st.Uid, " ", st.Gid)
	}
	return ""
}
