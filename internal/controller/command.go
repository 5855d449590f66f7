package controller

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"pointsman/internal/failover"
)

// newID returns an identifier that sorts by its second and is unlike any
// other: 20261123T061200Z-ab12cd.
func newID(now time.Time) string {
	var b [3]byte
	// crypto/rand.Read never fails (its documentation since Go 1.24).
	_, _ = rand.Read(b[:])
	return now.UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(b[:])
}

// verdict is what a waiting caller gets.
type verdict struct {
	reply failover.Reply
	err   error
}

// replies connects the core's replies with the callers that wait for them.
type replies struct {
	mu      sync.Mutex
	last    uint64
	waiting map[string]chan verdict
	closed  error // why nobody will answer any more
}

// expect returns a new reference and the channel on which its verdict comes.
func (r *replies) expect() (ref string, got <-chan verdict) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	ref = fmt.Sprintf("c%d", r.last)
	ch := make(chan verdict, 1)
	if r.closed != nil {
		ch <- verdict{err: r.closed}
		return ref, ch
	}
	if r.waiting == nil {
		r.waiting = make(map[string]chan verdict)
	}
	r.waiting[ref] = ch
	return ref, ch
}

// give hands a verdict to whoever waits for it; nobody may.
func (r *replies) give(ref string, v verdict) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ch, ok := r.waiting[ref]; ok {
		delete(r.waiting, ref)
		ch <- v // has room: one verdict per reference
	}
}

func (r *replies) forget(ref string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, ref)
}

// close answers everybody that waits, and everybody that comes.
func (r *replies) close(err error) {
	r.mu.Lock()
	r.closed = err
	r.mu.Unlock()
	r.failAll(err)
}

// failAll answers everybody that waits.
func (r *replies) failAll(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ref, ch := range r.waiting {
		delete(r.waiting, ref)
		ch <- verdict{err: err}
	}
}

// Do submits a command and waits for the core's reply; Ref, and OpID where it
// is empty, are filled in. A refusal is a reply, not an error. When ctx ends
// first the command may still be carried out.
//
// Errors: ErrUnknownInstance, ErrBusy, ErrStopped, ErrNotRecorded, and that of
// ctx.
func (c *Controller) Do(ctx context.Context, i failover.InstanceName, cmd failover.Command) (failover.Reply, error) {
	o, ok := c.roster.Load().owners[i]
	if !ok {
		return failover.Reply{}, fmt.Errorf("command %s for %s: %w", cmd.Do, i, ErrUnknownInstance)
	}
	if cmd.OpID == "" {
		cmd.OpID = newID(c.now())
	}
	ref, got := o.replies.expect()
	defer o.replies.forget(ref)
	cmd.Ref = ref
	if !o.inbox.putCommand(cmd) {
		return failover.Reply{}, fmt.Errorf("command %s for %s: %w", cmd.Do, i, ErrBusy)
	}
	var v verdict
	select {
	case v = <-got:
	case <-ctx.Done():
		v.err = fmt.Errorf("no reply yet, it may still be carried out: %w", context.Cause(ctx))
	case <-c.stopped:
		v.err = ErrStopped
		select {
		case v = <-got: // the reply was the last thing that happened
		default:
		}
	}
	if v.err != nil {
		return v.reply, fmt.Errorf("command %s for %s: %w", cmd.Do, i, v.err)
	}
	return v.reply, nil
}
