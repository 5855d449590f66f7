//go:build unix && !linux

package lab

import "syscall"

// dieWithParent can do less here than on Linux: children of a lab that is
// killed with SIGKILL live on, until somebody ends them.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
