//go:build !linux

package group

import (
	"context"
	"errors"
	"os/exec"
)

// Run refuses: elsewhere a program could leave others behind.
func Run(context.Context, *exec.Cmd) (late bool, err error) {
	return false, errors.New("commands are run on Linux only")
}
