package ledger

import (
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// checkFolder refuses a folder in which somebody else could put files in the
// place of ours: a link called like the lock would be written through, and a
// ledger exchanged. A group that may write was given that on purpose.
func checkFolder(dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	return ours(dir, st.Mode, st.Uid, uint32(os.Geteuid()))
}

// ours is the rule of checkFolder for a process of user me.
func ours(dir string, mode, owner, me uint32) error {
	switch {
	case mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("%s is no folder", dir)
	case owner != me && owner != 0:
		return fmt.Errorf("the folder %s belongs to user %d, who could exchange what is in it: give it to user %d (chown)", dir, owner, me)
	case mode&0o002 != 0:
		return fmt.Errorf("everybody may write into the folder %s: chmod o-w it", dir)
	}
	return nil
}

// checkFile refuses what is there and is no plain file, such as a link out of
// the folder.
func checkFile(path string) error {
	fi, err := os.Lstat(path)
	if err == nil && !fi.Mode().IsRegular() {
		return &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("it is no plain file but %s", fi.Mode().Type())}
	}
	return nil // what is missing, or cannot be looked at, is found out by whoever opens it
}
