//go:build !linux

package doctor

// inMemory says that a folder is gone after a reboot; here nobody knows.
func inMemory(string) bool { return false }

// undisciplined says why the clock may be wrong; empty: it is kept right.
func undisciplined() string { return "it is not known here whether anything disciplines it" }
