//go:build !linux

package healthcheck

import (
	"context"
	"errors"
)

func (*command) run(context.Context) (ended, error) {
	return ended{}, errors.New("commands are run on Linux only")
}
