package healthcheck

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks is how many symbolic links a path may lead over, as in the kernel.
const maxLinks = 40

// CommandFile refuses a file that somebody else than root or the user of this
// process could change, or replace, as secret files are refused: what stands
// in it runs with our rights. Every folder and link on the way is looked at: in
// a folder that others may write they could put another file in its place,
// unless it is sticky, as /tmp is, and what lies there is ours.
func CommandFile(path string) error {
	if err := guardedWay(path); err != nil {
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			return fmt.Errorf("%s: %w", path, pe.Err)
		}
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = pe.Err
		}
		return fmt.Errorf("%s: %w", path, err)
	}
	mode := info.Mode()
	switch {
	case !mode.IsRegular() || mode.Perm()&0o111 == 0:
		return fmt.Errorf("%s: is no program", path)
	case mode.Perm()&0o022 != 0:
		return fmt.Errorf("%s: %w (mode %04o; try: chmod go-w %s)", path, ErrCommandFile, mode.Perm(), path)
	}
	if uid, ours := owner(info); !ours {
		return fmt.Errorf("%s: %w (it belongs to uid %d)", path, ErrCommandFile, uid)
	}
	return nil
}

// guardedWay walks to the file, over links too, and looks at each folder that
// it comes through.
func guardedWay(path string) error {
	at, rest := "/", strings.Split(filepath.Clean(path), "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		info, err := os.Lstat(next)
		if err != nil {
			return err
		}
		if err := guardedIn(at, info); err != nil {
			return err
		}
		if info.Mode().Type() != fs.ModeSymlink {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return &fs.PathError{Op: "follow", Path: path, Err: syscall.ELOOP}
		}
		to, err := os.Readlink(next)
		if err != nil {
			return err
		}
		if filepath.IsAbs(to) {
			at = "/"
		}
		rest = append(strings.Split(filepath.Clean(to), "/"), rest...)
	}
	return nil
}

// guardedIn says whether nobody else could put another entry in the place of
// this one.
func guardedIn(dir string, entry fs.FileInfo) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if uid, ours := owner(info); !ours {
		return fmt.Errorf("%s: %w (the folder belongs to uid %d)", dir, ErrCommandFile, uid)
	}
	if info.Mode().Perm()&0o022 == 0 {
		return nil
	}
	if _, ours := owner(entry); info.Mode()&fs.ModeSticky != 0 && ours {
		return nil
	}
	return fmt.Errorf("%s: %w (mode %04o of the folder; try: chmod go-w %s)", dir, ErrCommandFile, info.Mode().Perm(), dir)
}

// owner says whose a file is, and whether that is root or the user of this
// process; both where owners cannot be told.
func owner(info fs.FileInfo) (uid uint32, ours bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, true
	}
	return st.Uid, st.Uid == 0 || int64(st.Uid) == int64(os.Geteuid())
}
