package healthcheck

import (
	"errors"

	"pointsman/internal/failover"
)

// faulty marks err as a fault of our own, of a class that whoever counts the
// votes can tell from others.
func faulty(class failover.Fault, err error) error {
	if err == nil {
		return nil
	}
	return faultError{class, Own(err)}
}

type faultError struct {
	class failover.Fault
	error
}

func (e faultError) Unwrap() error { return e.error }

// FaultOf is the class of a fault of our own, where it has one.
func FaultOf(err error) failover.Fault {
	if f, ok := errors.AsType[faultError](err); ok {
		return f.class
	}
	return failover.FaultNone
}
