package lab

import "syscall"

// dieWithParent has the kernel kill the child when the thread that started it
// ends (prctl(2), PR_SET_PDEATHSIG): a lab that is itself killed with SIGKILL
// leaves nobody behind, not even a child that is stopped.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
