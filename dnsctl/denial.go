package dnsctl

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

// asked is what the words of a denial need to know of the request.
type asked struct {
	server         string
	key, algorithm string
	zone           failover.RecordName
	at             spot
	signed         time.Time
}

func (a asked) says(r *dns.Msg, err error, format string, args ...any) error {
	return fmt.Errorf("%s answered %s: %w: %s", a.server, rcodeName(r.Rcode), err, fmt.Sprintf(format, args...))
}

// keyDenial says which part of our signature the server did not accept
// (RFC 8945 section 5.2), or nil when it has no complaint.
func keyDenial(r *dns.Msg, a asked) error {
	t := r.IsTsig()
	if t == nil {
		return nil
	}
	switch t.Error {
	case dns.RcodeSuccess:
		return nil
	case dns.RcodeBadKey:
		return a.says(r, ErrKey, "it does not know the key %s with %s: correct name or algorithm, or give it the key"+
			" (Knot says the same of a good key that may not change this name or type: see its acl)", a.key, a.algorithm)
	case dns.RcodeBadSig:
		return a.says(r, ErrSecret, "it has another secret for the key %s", a.key)
	case dns.RcodeBadTime:
		return fmt.Errorf("%s answered %s: %w", a.server, rcodeName(r.Rcode),
			&ClockError{Ours: a.signed, Theirs: serverTime(t)})
	}
	return a.says(r, ErrSignature, "signature error %d", t.Error)
}

// serverTime reads the six octets in which a server gives its own time with
// BADTIME (RFC 8945 section 5.2.3).
func serverTime(t *dns.TSIG) time.Time {
	sec, err := strconv.ParseUint(t.OtherData, 16, 48)
	if len(t.OtherData) != 12 || err != nil {
		return time.Time{}
	}
	return time.Unix(int64(sec), 0)
}

// updateDenial turns the answer to an update into words: what it means with
// this server and what to do. Servers mean different things by one code, so
// the texts name what is known of BIND, Knot, PowerDNS and NSD. It returns nil
// for NOERROR.
func updateDenial(r *dns.Msg, a asked) error {
	if err := keyDenial(r, a); err != nil {
		return err
	}
	t := r.IsTsig()
	switch r.Rcode {
	case dns.RcodeSuccess:
		return nil
	case dns.RcodeNXRrset, dns.RcodeYXRrset, dns.RcodeNameError, dns.RcodeYXDomain:
		return a.says(r, ErrPrerequisite, "somebody else changed the name or its mark: read it again")
	case dns.RcodeRefused:
		if t == nil || t.MACSize == 0 {
			return a.says(r, ErrRights, "without a signature, so the cause is open: key, secret, clock, address or policy"+
				" (PowerDNS says REFUSED to all of these)")
		}
		return a.says(r, ErrRights, "grant the key %s both CNAME at %s and TXT at %s, and see that nothing else stands at either"+
			" (PowerDNS refuses that too, where others ignore it)", a.key, a.at.owner, a.at.mark)
	case dns.RcodeNotAuth:
		return a.says(r, ErrZone, "it is not the primary of the zone %s (Knot says so also when no acl matches)", a.zone)
	case dns.RcodeNotZone:
		return a.says(r, ErrZone, "%s does not lie in the zone %s as it has it", a.at.owner, a.zone)
	case dns.RcodeNotImplemented:
		return a.says(r, ErrUnsupported, "write to the primary; a secondary, or a server like NSD, takes no updates")
	case dns.RcodeFormatError:
		return a.says(r, ErrUnsupported, "it could not read the update")
	case dns.RcodeServerFailure:
		return a.says(r, ErrServer, "its log has the cause, often a journal that cannot be written"+
			" (PowerDNS says so too when its policy script fails, and when its database is locked at that moment, which passes)")
	}
	return a.says(r, ErrServer, "this is no answer to an update")
}

// outcome says what an error means for the change. A false denial can cost no
// more than a delay, so it is believed even without a signature, which BADKEY
// and BADSIG never have; any other answer without one is no answer.
func outcome(err error) failover.WriteOutcome {
	if err == nil {
		return failover.WriteDone
	}
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case is(ErrPartial):
		return failover.WriteUnknown
	case is(ErrSettling, ErrReplaced): // nothing was changed; it is tried again and nobody woken
		return failover.WriteMismatch
	case is(ErrNotSent, ErrReadOnly, ErrForbidden):
		return failover.WriteRefused
	case is(ErrSignature, ErrNoAnswer, ErrMalformed):
		return failover.WriteUnknown
	case is(ErrPrerequisite):
		if is(ErrUnsigned) {
			return failover.WriteUnknown
		}
		return failover.WriteMismatch
	case is(ErrKey, ErrSecret, ErrClock, ErrRights, ErrZone, ErrUnsupported,
		ErrOtherRecord, ErrLocked, ErrDisabled, ErrQuota, ErrTTL, ErrParameter):
		return failover.WriteRefused
	}
	return failover.WriteUnknown
}
