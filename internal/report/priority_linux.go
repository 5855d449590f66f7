package report

import "golang.org/x/sys/unix"

// lowPriority lets the thread of the caller give way to all others of the
// process (setpriority(2): a nice value belongs to a thread on Linux). That it
// may fail does no harm.
func lowPriority() { _ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 10) }
