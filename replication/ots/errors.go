package ots

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Error is what the service said. Its text has the code, the message, shortened
// and without control characters, and the ID by which the vendor finds the call.
type Error struct {
	Code, Message, RequestID string
	Status                   int // of HTTP; 0 of a row in a batch
}

func (e *Error) Error() string {
	text := e.Code
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.RequestID != "" {
		text += " (request " + e.RequestID + ")"
	}
	return text
}

// Faults that the service did not say itself. Both leave open whether a write
// was done.
var (
	ErrLine   = errors.New("no answer") // connecting, sending or receiving failed, or took too long
	ErrAnswer = errors.New("the answer is none of Tablestore")
)

// ErrRequest: what was asked for cannot be sent; nothing was.
var ErrRequest = errors.New("impossible request")

// Class is what an error means for whoever called.
type Class int

// Classes. The zero Class is no error's.
const (
	ClassRetry     Class = iota + 1 // throttled, busy, unavailable, out of time, or a fault of the line: the same call may go well later
	ClassRow                        // this row can never be written so, or this key never be read
	ClassAbsent                     // no such table, stream or shard
	ClassTrimmed                    // the stream no longer has what the iterator points to
	ClassCondition                  // the row, or the table that was to be made, is not as was expected
	ClassRights                     // this key may not do that, or is none
	ClassOwn                        // our configuration, or what nobody foresaw
)

func (c Class) String() string {
	switch c {
	case ClassRetry:
		return "retry"
	case ClassRow:
		return "row"
	case ClassAbsent:
		return "absent"
	case ClassTrimmed:
		return "trimmed"
	case ClassCondition:
		return "condition"
	case ClassRights:
		return "rights"
	case ClassOwn:
		return "own"
	}
	return "none"
}

// ClassOf says what an error of this package means. The end of a context is
// [ClassRetry]: who ended it knows better.
func ClassOf(err error) Class {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.class()
	}
	switch {
	case errors.Is(err, ErrLine), errors.Is(err, ErrAnswer), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return ClassRetry
	case errors.Is(err, errImpossible):
		return ClassRow
	}
	return ClassOwn
}

// tooFrequent is the one message of OTSQuotaExhausted that passes.
const tooFrequent = "Too frequent table operations."

func (e *Error) class() Class {
	switch e.Code {
	case "OTSServerBusy", "OTSStorageServerBusy", "OTSPartitionUnavailable", "OTSTableNotReady", "OTSTimeout", "OTSRequestTimeout",
		"OTSServerUnavailable", "OTSInternalServerError", "OTSRowOperationConflict", "OTSNotEnoughCapacityUnit", "OTSCapacityUnitExhausted",
		"OTSFlowControl", "OTSTooFrequentReservedThroughputAdjustment":
		return ClassRetry
	case "OTSQuotaExhausted":
		if e.Message == tooFrequent {
			return ClassRetry
		}
		return ClassOwn
	case "OTSParameterInvalid", "OTSInvalidPK", "OTSOutOfRowSizeLimit", "OTSOutOfColumnCountLimit":
		return ClassRow
	case "OTSObjectNotExist":
		return ClassAbsent
	case "OTSTrimmedDataAccess":
		return ClassTrimmed
	case "OTSConditionCheckFail", "OTSObjectAlreadyExist":
		return ClassCondition
	case "OTSAuthFailed", "OTSNoPermissionAccess":
		return e.refusal()
	}
	if e.Status >= http.StatusInternalServerError || e.Status == http.StatusTooManyRequests {
		return ClassRetry
	}
	return ClassOwn
}

// refusal tells the causes of one code apart, which only the message does.
func (e *Error) refusal() Class {
	text := strings.ToLower(e.Message)
	switch {
	case strings.Contains(text, "not running"):
		return ClassRetry // the instance is stopped
	case strings.Contains(text, "instance is not found"), strings.Contains(text, "system time"):
		return ClassOwn
	case strings.Contains(text, "md5"):
		return ClassRetry // the body was changed on its way
	}
	return ClassRights
}

// maxMessage bounds what a service can put into our messages.
const maxMessage = 256

// clean makes a text of somebody else fit for a message: one line, bounded, and
// without our secrets, should an answer repeat them.
func clean(text string, c Credentials) string {
	for _, secret := range []string{c.secret, c.token} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "(secret)")
		}
	}
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return strings.TrimSpace(text)
}

func lineFault(what string, err error) error { return fmt.Errorf("%w: %s: %w", ErrLine, what, err) }
