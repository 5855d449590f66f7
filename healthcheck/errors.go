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
// cluster, is in trouble. For ENETUNREACH see disputed.
var ownErrnos = []syscall.Errno{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
	syscall.EADDRNOTAVAIL, syscall.EADDRINUSE, syscall.ENETUNREACH, syscall.ENETDOWN,
	syscall.EACCES, syscall.EPERM, syscall.EAFNOSUPPORT, syscall.EINVAL,
}

// disputed says whether err, a fault of our own by its kind, may as well be the
// cluster's. Its network is unreachable: a router says so of a subnet that was
// withdrawn, and our own missing route looks just the same. Or something on
// the way rejects the connection. Or a resolver that
// works answers that its name does not exist or has no address (NXDOMAIN or
// NODATA): clients meet that too, and so does a machine whose resolver has a
// partial view. The [Prober] counts it as a miss while a control is reachable,
// so that no down vote leaves before one was reached after the first miss;
// without controls it stays our own. All other trouble of the resolver (no
// answer, SERVFAIL, REFUSED) always is, and EHOSTUNREACH, which also a dead
// host in our own subnet says, never is.
func disputed(err error) bool {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.IsNotFound && !dns.IsTemporary && !dns.IsTimeout
	}
	_, rejected := errors.AsType[prohibited](err)
	return rejected || errors.Is(err, syscall.ENETUNREACH)
}

// prohibited is EACCES of connect. Over IPv6 a router or firewall that rejects
// says it so (Linux, net/ipv6/icmp.c, tab_unreach: prohibited, policy, reject
// route), and so does a rule of this machine; over IPv4 it is EHOSTUNREACH.
type prohibited struct{ syscall.Errno }

func (p prohibited) Unwrap() error { return p.Errno }

// onTheWay tells what met a connection from the same number met elsewhere.
func onTheWay(err error) error {
	if errors.Is(err, syscall.EACCES) {
		return prohibited{syscall.EACCES}
	}
	return err
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
