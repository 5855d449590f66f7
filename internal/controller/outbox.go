package controller

import (
	"context"
	"sync/atomic"
)

// outbox hands things to a reader that may be slow or stuck (the log, pages,
// the history) without ever making the poster wait: what does not fit is
// dropped and counted.
type outbox[T any] struct {
	queue   chan T
	dropped atomic.Uint64
}

func newOutbox[T any](size int) *outbox[T] { return &outbox[T]{queue: make(chan T, size)} }

func (o *outbox[T]) post(v T) {
	select {
	case o.queue <- v:
	default:
		o.dropped.Add(1)
	}
}

// run hands over what was posted until close was called and all is handed
// over, or ctx ends.
func (o *outbox[T]) run(ctx context.Context, hand func(context.Context, T)) {
	for {
		select {
		case <-ctx.Done():
			return
		case v, ok := <-o.queue:
			if !ok {
				return
			}
			hand(ctx, v)
		}
	}
}

// close may be called only when nobody posts any more.
func (o *outbox[T]) close() { close(o.queue) }
