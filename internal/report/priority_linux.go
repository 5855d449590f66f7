package report

import "golang.org/x/sys/unix"

// lowPriority lets the thread of the caller give way to all others of the
// process, at whatever priority that runs (setpriority(2): a nice value belongs
// to a thread on Linux). That it may fail does no harm.
func lowPriority() {
	const lower, lowest = 10, 19
	thread := unix.Gettid()
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, thread)
	if err != nil {
		return
	}
	nice := 20 - raw // the system call itself returns no negative values
	_ = unix.Setpriority(unix.PRIO_PROCESS, thread, min(nice+lower, lowest))
}
