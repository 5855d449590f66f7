package replication

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"golang.org/x/sync/errgroup"
)

// faultError is a panic of a goroutine: a fault of this program. One table or
// one instance has trouble then, and not the process, which also answers DNS.
type faultError struct {
	value any
	stack []byte
}

func (e *faultError) Error() string { return fmt.Sprintf("a fault of this program: %v", e.value) }

// safely makes a panic an error.
func safely(do func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &faultError{v, debug.Stack()}
		}
	}()
	return do()
}

// trace is where a fault came from, for a log; nothing of any other error.
func trace(err error) []any {
	if f, ok := errors.AsType[*faultError](err); ok {
		return []any{"stack", string(f.stack)}
	}
	return nil
}

// group is an errgroup in which a panic is the error of one goroutine. The
// goroutines of a bare one would take the whole process along.
type group struct{ *errgroup.Group }

func newGroup(ctx context.Context) (*group, context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	return &group{g}, ctx
}

// bareGroup cancels nothing when one fails.
func bareGroup() *group { return &group{new(errgroup.Group)} }

// Go runs do in a goroutine of the group.
func (g *group) Go(do func() error) {
	g.Group.Go(func() error { return safely(do) })
}
