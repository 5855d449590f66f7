//go:build !linux

package replication

import (
	"context"
	"errors"
	"os/exec"
)

func runGroup(context.Context, *exec.Cmd) (bool, error) {
	return false, errors.New("commands are run on Linux only")
}
