package dnsctl

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode"
)

// denialClass is what the error codes that begin alike mean, and what people do.
type denialClass struct {
	err   error
	hint  string
	codes []string // exact, or with a final * as a beginning
}

// denialClasses are searched in order. The codes are those of the error pages
// of the two APIs and of the vendor's gateway; one and the same code comes with
// different HTTP statuses over the years, so the status is not looked at.
var denialClasses = []denialClass{
	{errDuplicate, "the record is so already, or another like it stands there: read it", []string{"DomainRecordDuplicate", "Record.Duplicate*", "Zone.VpcDuplicate", "ZoneRecord.Duplicate*", "RecordDuplicate*"}},
	{ErrReplaced, "the record is gone: somebody removed it, or made it anew under another ID; look at the name and at the pins in the config", []string{
		"DomainRecordNotBelongToUser", "InvalidRR.NoExist", "InvalidRecordId.NotFound", "ZoneRecord.NotExists*", "Record.NotExists*", "Record.Invalid.Id",
	}},
	{ErrThrottled, "too many requests for the account; ours back off by themselves: who else uses it?", []string{"Throttling", "Throttling.*", "ServiceUnavailable.Throttling*", "FlowControl*"}},
	{ErrServer, "the API failed; it is tried again", []string{
		"LastOperationNotFinished", "InternalError", "InternalError.*", "UnKnownError", "UnknownError", "ServiceUnavailable", "System.Busy*",
		"SystemError*", "SignatureNonceUsed", "RecordForbidden.DNSChange", "OperationConflict*",
	}},
	{ErrOtherRecord, "a record of another type stands at the name on that line: remove it, or take another name", []string{"DomainRecordConflict", "Record.Conflict*", "ZoneRecord.Conflict*"}},
	{ErrLocked, "somebody locked the record or the zone, or it has expired: unlock or renew it in the console", []string{
		"DomainRecordLocked", "DomainForbidden", "DomainExpiredDNSForbidden", "Forbidden.DomainExpired", "RecordForbidden.BlackHole", "RecordFobidden.BlackHole", "Zone.Locked*",
	}},
	{ErrClock, "synchronise the clocks: the API takes requests signed within 15 minutes of its own", []string{"InvalidTimeStamp.*", "IllegalTimestamp"}},
	{ErrKey, "the key does not exist, is disabled, or its session has ended: look at the credentials", []string{
		"InvalidAccessKeyId*", "InvalidSecurityToken*", "SecurityTokenExpired", "MissingSecurityToken", "InvalidCredentials*", "Forbidden.AccessKey*",
	}},
	{ErrSecret, "the secret of the key is another one: look at the credentials", []string{"SignatureDoesNotMatch", "IncompleteSignature", "InvalidSignature*"}},
	{ErrRights, "grant the RAM policy in docs/providers.md", []string{
		"Forbidden", "Forbidden.*", "NoPermission", "NoPermission.*", "OperationDomain.NoPermission", "IllegalUser", "Unauthorized*", "AccessDenied*", "UserNotAuthorized*", "ImplicitDeny*",
	}},
	{ErrZone, "the zone is not in this account, or not under this name: look at zone and credentials", []string{
		"InvalidDomainName.*", "IncorrectDomainUser", "DomainNotFound", "Zone.NotExists*", "Zone.Invalid.Id", "Zone.Invalid.UserId", "InvalidZone*",
	}},
	{ErrTTL, "the edition of the zone does not allow this TTL: raise it, or the edition", []string{"QuotaExceeded.TTL", "SubDomainInvalid.TTL", "InvalidTTL*", "Ttl.Invalid*", "InvalidTtl*"}},
	{ErrQuota, "a limit of the account or its edition: see the console", []string{"QuotaExceeded*", "LineDnsSlb.QuotaExceeded", "Quota*"}},
	{ErrUnsupported, "the endpoint does not know this action: is it the API of this product?", []string{"InvalidAction.NotFound", "InvalidVersion", "NoSuchVersion", "UnsupportedOperation*"}},
	{ErrParameter, "the API does not accept a value: compare it with the console", []string{
		"InvalidRR*", "SubDomainInvalid*", "UnsupportedLine", "InvalidParameter*", "MissingParameter*", "Missing*", "Zone.Remark*", "Record.Remark*", "Remark*", "Invalid*",
	}},
}

// errDuplicate: the record is already what it shall be, or stands a second
// time. Only reading tells the two apart.
var errDuplicate = errors.New("a record like that exists")

// cloudDenial turns an error answer into a sentinel, in words that say what to
// do. A code that is not known is a failure of the server: it is tried again
// and read back, and nothing is concluded from it.
func cloudDenial(status int, code, message, request string) error {
	said := printable(code, 64)
	if said == "" {
		said = fmt.Sprintf("HTTP %d without a code", status)
	}
	class := denialClass{err: ErrServer, hint: "this program does not know the code"}
	if code == "" && status == 429 {
		class = denialClass{err: ErrThrottled, hint: "too many requests"}
	}
search:
	for _, c := range denialClasses {
		for _, k := range c.codes {
			if prefix, any := strings.CutSuffix(k, "*"); code == k || any && strings.HasPrefix(code, prefix) {
				class = c
				break search
			}
		}
	}
	if class.err == ErrSecret || class.err == ErrKey {
		message = "" // it repeats what was signed
	}
	if message = printable(message, 200); message != "" {
		message = fmt.Sprintf(" (%q)", message)
	}
	if request = printable(request, 64); request != "" {
		request = ", request " + request
	}
	return fmt.Errorf("%s: %w: %s%s%s", said, class.err, class.hint, message, request)
}

// printable bounds a text that somebody else chose and takes out what could
// move a terminal.
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// transient says whether the same request may succeed a moment later. What it
// did meanwhile is to be read first.
func transient(err error) bool {
	for _, e := range []error{ErrThrottled, ErrServer, ErrNoAnswer, ErrNotSent, ErrMalformed, ErrUnstable} {
		if errors.Is(err, e) {
			return !errors.Is(err, ErrReadOnly) && !errors.Is(err, errNoKey)
		}
	}
	return false
}

// mayHaveLanded says whether a request that failed so can have taken effect,
// now or later.
func mayHaveLanded(err error) bool {
	return err != nil && !errors.Is(err, ErrNotSent) &&
		(errors.Is(err, ErrNoAnswer) || errors.Is(err, ErrMalformed) || errors.Is(err, ErrServer))
}

// signedParts are parameters of a request that are worth something, in plain
// and in percent-encoded form, once and twice.
var signedParts = regexp.MustCompile(`(?i)\b(AccessKeyId|AccessKeySecret|Signature|SecurityToken|OIDCToken|BearerToken|SignatureNonce)("?\s*[:=]\s*"?|%3D|%253D)[^&\s"',}]*`)

// redact takes secrets out of a text: those that are known, in the forms in
// which an answer may echo them, and whatever stands where one would.
func redact(text string, secrets []string) string {
	for _, s := range secrets {
		if len(s) < 4 {
			continue
		}
		once := url.QueryEscape(s)
		for _, form := range []string{url.QueryEscape(once), once, s} {
			text = strings.ReplaceAll(text, form, redacted)
		}
	}
	return signedParts.ReplaceAllString(text, "$1="+redacted)
}
