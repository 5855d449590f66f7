package doctor

import (
	"golang.org/x/sys/unix"
)

// inMemory says that a folder is gone after a reboot.
func inMemory(dir string) bool {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return false
	}
	return int64(st.Type) == unix.TMPFS_MAGIC || int64(st.Type) == unix.RAMFS_MAGIC
}

// timeError is the state of a clock that nothing disciplines (adjtimex(2)).
const timeError = 5

// undisciplined says why the clock may be wrong; empty: it is kept right.
func undisciplined() string {
	var t unix.Timex // modes 0: it is only read
	state, err := unix.Adjtimex(&t)
	switch {
	case err != nil:
		return "the kernel does not say whether anything disciplines it: " + err.Error()
	case state == timeError:
		return "nothing disciplines it"
	default:
		return ""
	}
}
