package dnsctl

import (
	"errors"
	"fmt"
	"time"
)

// The reasons for which a read or a write fails. Errors wrap them with the
// name, the server and a hint; none of them ever carries a secret.
var (
	// ErrReadOnly: the provider was built without credentials and its
	// transport sends no update.
	ErrReadOnly = errors.New("read only: this process holds no key and sends no update")
	// ErrForbidden: the change itself is wrong (empty, off the list,
	// pointing at itself, at the apex); nothing was sent.
	ErrForbidden = errors.New("change refused before sending")
	// ErrNotSent: not one byte of the request left this process.
	ErrNotSent = errors.New("nothing was sent")
	// ErrPrerequisite: the name no longer shows what was expected.
	ErrPrerequisite = errors.New("the name does not show what was expected, nothing was changed")
	// ErrNoAnswer: the request may have left, no usable answer came.
	ErrNoAnswer = errors.New("no answer")
	// ErrUnsigned: an answer that should bear a signature has none.
	ErrUnsigned = errors.New("answer is not signed")
	// ErrSignature: an answer bears a signature that is not good.
	ErrSignature = errors.New("answer is wrongly signed")
	// ErrKey: the server does not know the key (TSIG BADKEY, RFC 8945 section 5.2.1).
	ErrKey = errors.New("key not accepted")
	// ErrSecret: the server has another secret for the key (TSIG BADSIG, RFC 8945 section 5.2.2).
	ErrSecret = errors.New("secret not accepted")
	// ErrClock: the clocks are further apart than the signature allows (TSIG
	// BADTIME, RFC 8945 section 5.2.3). See [ClockError].
	ErrClock = errors.New("clocks too far apart")
	// ErrRights: the key may not do that.
	ErrRights = errors.New("not permitted")
	// ErrZone: the server is not the primary of the zone, or the name lies outside it.
	ErrZone = errors.New("wrong zone or server")
	// ErrUnsupported: the server takes no dynamic updates.
	ErrUnsupported = errors.New("dynamic update not supported")
	// ErrServer: the server failed, or answered what it should not.
	ErrServer = errors.New("server failed")
	// ErrNotAuthoritative: the answer lacks the AA bit.
	ErrNotAuthoritative = errors.New("answer is not authoritative")
	// ErrMalformed: the answer cannot be read, or does not answer the question.
	ErrMalformed = errors.New("malformed answer")
	// ErrSeveral: more than one value stands where there must be one.
	ErrSeveral = errors.New("more than one value")
	// ErrUnstable: the name changed again and again while it was read.
	ErrUnstable = errors.New("the name changes while it is read")
)

// The further reasons that a provider behind a cloud API has.
var (
	// ErrThrottled: too many requests in a short time; nothing was changed by this one.
	ErrThrottled = errors.New("throttled")
	// ErrOtherRecord: a record of another type is in the way of the CNAME.
	ErrOtherRecord = errors.New("another record is in the way")
	// ErrLocked: somebody has locked the record, or the whole zone is not to be changed.
	ErrLocked = errors.New("locked")
	// ErrDisabled: the record is paused, so that clients are not answered with it.
	ErrDisabled = errors.New("record is disabled")
	// ErrQuota: a limit of the account or of its edition is reached.
	ErrQuota = errors.New("quota reached")
	// ErrTTL: the TTL is outside what the edition of the zone allows.
	ErrTTL = errors.New("ttl not allowed")
	// ErrParameter: the API does not accept a value that was sent.
	ErrParameter = errors.New("value not accepted")
	// ErrReplaced: not the records that were there at first, or that the
	// config names: somebody removed, added or made one anew.
	ErrReplaced = errors.New("the record is another one than before")
	// ErrPartial: a write has reached a part of the lines. It is gone on with, forward only.
	ErrPartial = errors.New("the write has reached a part of the lines")
	// ErrSettling: requests that were given up earlier may still take effect;
	// until they cannot, nothing is written. Nothing was sent.
	ErrSettling = errors.New("waiting until earlier requests can no longer take effect")
)

// tsigFudge is how many seconds the clocks may be apart (RFC 8945 section 10
// recommends 300).
const tsigFudge = 300

// ClockError is [ErrClock] with what is known of the two clocks. The server's
// time serves people who look for the cause; nothing is ever computed from it.
type ClockError struct {
	Ours   time.Time // when the request was signed
	Theirs time.Time // the server's clock, zero when it did not say
}

// Skew is by how much our clock is ahead of the server's; negative means
// behind, 0 also when the server did not say.
func (e *ClockError) Skew() time.Duration {
	if e.Theirs.IsZero() {
		return 0
	}
	return e.Ours.Sub(e.Theirs)
}

func (e *ClockError) Error() string {
	if e.Theirs.IsZero() {
		return ErrClock.Error() + ": synchronise the clocks"
	}
	skew, side := e.Skew(), "ahead of"
	if skew < 0 {
		skew, side = -skew, "behind"
	}
	return fmt.Sprintf("%v: ours is %s %s the server's, at most %d s are allowed: synchronise the clocks",
		ErrClock, skew.Round(time.Second), side, tsigFudge)
}

// Is makes errors.Is(err, ErrClock) true.
func (e *ClockError) Is(target error) bool { return target == ErrClock }
