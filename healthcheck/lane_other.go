//go:build !linux

package healthcheck

import (
	"context"
	"errors"
	"time"
)

// laneWorks: elsewhere every probe has a goroutine.
const laneWorks = false

type (
	events struct{}
	lane   struct {
		woken chan events
		busy  int
		brisk bool
		limit int
	}
)

func openLane(context.Context, func(func() error), func(outcome)) (*lane, error) {
	return nil, errors.ErrUnsupported
}

func (*lane) close()                           {}
func (*lane) leave(func(*watch) bool) []flight { return nil }
func (*lane) full() bool                       { return true }
func (*lane) start(flight)                     {}
func (*lane) handle(events, time.Time)         {}
func (*lane) poll(time.Time)                   {}
func (*lane) expire(time.Time)                 {}
func (*lane) due() time.Time                   { return time.Time{} }
