package healthcheck

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"
)

var (
	// ErrOwn marks an observation that says nothing about the cluster,
	// because the fault is ours. It counts as unknown, never as a miss.
	ErrOwn = errors.New("fault of our own")
	// ErrForbidden: the address is one that probes must never reach
	// (link-local, cloud metadata) and that the config does not allow.
	ErrForbidden = errors.New("address is refused to probes")
	// ErrWrongCluster: the answer was healthy, but came from another cluster.
	ErrWrongCluster = errors.New("wrong cluster")
	// ErrLate: the prober was behind its own schedule.
	ErrLate = errors.New("late on our own schedule")
	// ErrPanic: the probe panicked.
	ErrPanic = errors.New("probe panicked")
)

// Own marks err as a fault of our own; errors.Is(err, ErrOwn) then holds and
// the text stays as it is.
func Own(err error) error {
	if err == nil || errors.Is(err, ErrOwn) {
		return err
	}
	return ownError{err}
}

type ownError struct{ error }

func (e ownError) Unwrap() error        { return e.error }
func (e ownError) Is(target error) bool { return target == ErrOwn }

// ownErrnos are the ways in which the kernel says that this machine, not the
// cluster, is in trouble. ENETUNREACH may also come from a router, but a
// missing route of ours looks just the same; a dead host says EHOSTUNREACH.
var ownErrnos = []syscall.Errno{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
	syscall.EADDRNOTAVAIL, syscall.EADDRINUSE, syscall.ENETUNREACH, syscall.ENETDOWN,
	syscall.EACCES, syscall.EPERM, syscall.EAFNOSUPPORT, syscall.EINVAL,
}

// isOwn says whether err is a fault of our own by its kind.
func isOwn(err error) bool {
	if errors.Is(err, ErrOwn) || errors.Is(err, ErrForbidden) || errors.Is(err, context.Canceled) {
		return true
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return true
	}
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return false
	}
	for _, o := range ownErrnos {
		if errno == o {
			return true
		}
	}
	return false
}

// plain drops the nesting of the net package ("dial tcp 192.0.2.1:80:
// connect: connection refused" becomes "connection refused") and names an
// expired deadline by its length.
func plain(err error, limit time.Duration) error {
	if isTimeout(err) {
		return timeoutError{limit}
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return err
}

func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}

type timeoutError struct{ limit time.Duration }

func (e timeoutError) Error() string {
	if e.limit <= 0 {
		return "no answer in time"
	}
	return "no answer within " + e.limit.Round(time.Millisecond).String()
}
func (timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }
