package controller

import "slices"

// The errands that touch something outside the owner's memory; each has a
// failpoint before and after.
const (
	errandCommit = "commit"
	errandLoad   = "load"
	errandRead   = "read-name"
	errandWrite  = "write-name"
	errandVerify = "verify"
	errandGate   = "set-gate"
	errandDrain  = "drain"
	errandCut    = "cut"
	errandHooks  = "run-hooks"
)

// Failpoints lists every name that Config.Fail is called with: before and after
// each side effect. An error before means that the call is not made; an error
// after means that its answer is lost.
func Failpoints() []string {
	var names []string
	for _, e := range []string{
		errandCommit, errandLoad, errandRead, errandWrite,
		errandVerify, errandGate, errandDrain, errandCut, errandHooks,
	} {
		names = append(names, e+"/before", e+"/after")
	}
	return slices.Clip(names)
}
