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

// Trace is where a fault of this program came from, as attributes of a log; nothing of
// any other error.
func Trace(err error) []any {
	if f, ok := errors.AsType[*faultError](err); ok {
		return []any{"stack", string(f.stack)}
	}
	return nil
}

// team is an errgroup in which a panic is the error of one goroutine. The
// goroutines of a bare one would take the whole process along.
type team struct{ *errgroup.Group }

func newTeam(ctx context.Context) (*team, context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	return &team{g}, ctx
}

// bareTeam cancels nothing when one fails.
func bareTeam() *team { return &team{new(errgroup.Group)} }

// Go runs do in a goroutine of the team.
func (g *team) Go(do func() error) {
	g.Group.Go(func() error { return safely(do) })
}
