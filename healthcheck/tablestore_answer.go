package healthcheck

import (
	"fmt"
	"net/http"
	"strings"

	"pointsman/internal/failover"
)

// meaning is what an error answer of Tablestore says of the cluster.
type answerMeaning int

const (
	// meansMiss: the cluster does not serve.
	meansMiss answerMeaning = iota
	// meansPartition: one partition does not, just now. Tablestore moves and
	// splits partitions, and each is away for about 100 ms, seconds under load.
	meansPartition
	// meansThrottled: it serves, and has had enough of us or of the table.
	meansThrottled
	// meansOwn: nothing of the cluster; the fault is ours, or of our place.
	meansOwn
	// meansAbsent: the table is not there.
	meansAbsent
)

// reading is an answer, understood.
type reading struct {
	means answerMeaning
	class failover.Fault // of meansOwn and meansAbsent
}

// codesRead says what each code of the service means. Those of 403 that have
// many causes are not in it: classify tells them apart by their messages.
// Source: the vendor's pages of error codes, of 2024-02, 2026-02 and 2026-05.
var codesRead = map[string]reading{
	// One partition, for a moment. Whether it is more the probe finds out: see
	// canary.others.
	"OTSPartitionUnavailable": {means: meansPartition},
	"OTSServerUnavailable":    {means: meansPartition},
	"OTSTimeout":              {means: meansPartition},
	"OTSTableNotReady":        {means: meansPartition}, // just made, or being loaded
	"OTSRowOperationConflict": {means: meansPartition}, // somebody else holds this row

	"OTSServerBusy":                              {means: meansThrottled},
	"OTSStorageServerBusy":                       {means: meansThrottled},
	"OTSNotEnoughCapacityUnit":                   {means: meansThrottled},
	"OTSCapacityUnitExhausted":                   {means: meansThrottled}, // the newer name of the one above
	"OTSQuotaExhausted":                          {means: meansThrottled},
	"OTSFlowControl":                             {means: meansThrottled},
	"OTSTooFrequentReservedThroughputAdjustment": {means: meansThrottled},

	"OTSInternalServerError": {means: meansMiss},
	"OTSRequestTimeout":      {means: meansMiss}, // our request came too slowly: the way is bad
	sdkNoAnswer:              {means: meansMiss}, // not the service: a page of something in front of it

	"OTSObjectNotExist": {meansAbsent, failover.FaultSetup},

	// What an own table of another shape, or a request that we should not have
	// made, is answered with.
	"OTSParameterInvalid":            {meansOwn, failover.FaultSetup},
	"OTSInvalidPK":                   {meansOwn, failover.FaultSetup},
	"OTSOutOfRowSizeLimit":           {means: meansOwn},
	"OTSOutOfColumnCountLimit":       {means: meansOwn},
	"OTSForbiddenUpdateCapacityUnit": {means: meansOwn},
	"OTSRequestBodyTooLarge":         {means: meansOwn},
	"OTSMethodNotAllowed":            {means: meansOwn},
	"OTSUnsupportedOperation":        {means: meansOwn},
	"OTSUnsupportOperation":          {means: meansOwn}, // what it answers; the line above is in the pages
	"OTSTrimmedDataAccess":           {means: meansOwn},
	"OTSObjectAlreadyExist":          {means: meansOwn},
	"OTSConditionCheckFail":          {means: meansOwn},
	"OTSSessionNotExist":             {means: meansOwn},
	"OTSTunnelServerUnavailable":     {means: meansOwn},
	"OTSTunnelExpired":               {means: meansOwn},
	"OTSTunnelExist":                 {means: meansOwn},
	"OTSResourceGone":                {means: meansOwn},
	"OTSSequenceNumberNotMatch":      {means: meansOwn},
}

// sdkNoAnswer is the SDK's own code for an answer below 500 that is none of
// the service.
const sdkNoAnswer = "OTSClientUnknownError"

// denials are messages of 403, in lower case, and what they mean. The first
// that is found counts. The vendor has changed the words over the years ("is
// not found", "does not exist"), so each line has only what is peculiar.
var denials = []struct {
	all   []string // of them, every one is in the message
	means reading
}{
	{[]string{"not running"}, reading{means: meansMiss}},
	{[]string{"instance acl"}, reading{meansOwn, failover.FaultPlace}},
	{[]string{"acl polic"}, reading{meansOwn, failover.FaultPlace}},
	{[]string{"vpc"}, reading{meansOwn, failover.FaultPlace}},
	{[]string{"system time"}, reading{meansOwn, failover.FaultClock}},
	{[]string{"x-ots-date"}, reading{meansOwn, failover.FaultClock}},
	{[]string{"md5"}, reading{means: meansOwn}}, // damaged on the way, or by us
	{[]string{"instance", "not found"}, reading{meansOwn, failover.FaultSetup}},
	{[]string{"instance", "not exist"}, reading{meansOwn, failover.FaultSetup}},
	{[]string{"access", "key"}, reading{meansOwn, failover.FaultKey}},
	{[]string{"user", "not exist"}, reading{meansOwn, failover.FaultKey}},
	{[]string{"signature"}, reading{meansOwn, failover.FaultKey}},
	{[]string{"token"}, reading{meansOwn, failover.FaultKey}},
	{[]string{"permission"}, reading{meansOwn, failover.FaultDenied}},
	{[]string{"privilege"}, reading{meansOwn, failover.FaultDenied}},
	{[]string{"polic"}, reading{meansOwn, failover.FaultDenied}},
	{[]string{"denied"}, reading{meansOwn, failover.FaultDenied}},
	{[]string{"authori"}, reading{meansOwn, failover.FaultDenied}},
}

// classify says what an error answer means, from its code, message and HTTP
// status. What is not known is never taken for a miss, unless the status says
// that the server failed (5xx).
func classify(code, message string, status int) reading {
	if code == "OTSAuthFailed" || code == "OTSNoPermissionAccess" {
		text := strings.ToLower(message)
		for _, d := range denials {
			if containsAll(text, d.all) {
				return d.means
			}
		}
		if code == "OTSAuthFailed" {
			return reading{meansOwn, failover.FaultKey}
		}
		return reading{meansOwn, failover.FaultDenied}
	}
	if r, ok := codesRead[code]; ok {
		return r
	}
	switch {
	case status >= 500:
		return reading{means: meansMiss}
	case status == http.StatusTooManyRequests:
		return reading{means: meansThrottled}
	case status == http.StatusRequestTimeout:
		return reading{means: meansMiss}
	}
	return reading{means: meansOwn}
}

func containsAll(text string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// serviceError is an error answer of the service.
type serviceError struct {
	reading
	code, message string
	status        int
}

func newServiceError(code, message string, status int) serviceError {
	return serviceError{classify(code, message, status), code, message, status}
}

// Is lets callers ask for the one answer that is an expected outcome.
func (e serviceError) Is(target error) bool {
	return target == ErrTableExists && e.code == "OTSObjectAlreadyExist"
}

func (e serviceError) Error() string {
	if e.code == sdkNoAnswer {
		return fmt.Sprintf("status %d, and the answer is none of Tablestore: %s", e.status, quote(e.message))
	}
	return fmt.Sprintf("%s (%d): %s", e.code, e.status, clean(e.message, 160))
}
