package healthcheck

import (
	"strings"
	"testing"

	"pointsman/internal/failover"
)

// TestClassify has every code of the service, and every message of 403, in the
// words that the vendor's pages had in 2024 and in 2026.
func TestClassify(t *testing.T) {
	miss, partition, throttled := reading{means: meansMiss}, reading{means: meansPartition}, reading{means: meansThrottled}
	own := func(f failover.Fault) reading { return reading{meansOwn, f} }
	for _, tc := range []struct {
		code, message string
		status        int
		want          reading
	}{
		{"OTSAuthFailed", "The instance is not running.", 403, miss},

		{"OTSAuthFailed", "The AccessKeyID does not exist.", 403, own(failover.FaultKey)},
		{"OTSAuthFailed", "The AccessKey ID does not exist.", 403, own(failover.FaultKey)},
		{"OTSAuthFailed", "The AccessKeyID is disabled.", 403, own(failover.FaultKey)},
		{"OTSAuthFailed", "The user does not exist.", 403, own(failover.FaultKey)},
		{"OTSAuthFailed", "Signature mismatch.", 403, own(failover.FaultKey)},
		{"OTSAuthFailed", "The security token is expired.", 403, own(failover.FaultKey)},
		{"OTSAuthFailed", "Something that nobody has seen yet.", 403, own(failover.FaultKey)},
		{"OTSAuthFailed", "", 403, own(failover.FaultKey)},

		{"OTSAuthFailed", "Request denied by instance ACL policies.", 403, own(failover.FaultPlace)},
		{"OTSAuthFailed", "The instance can only be accessed from the binded VPC.", 403, own(failover.FaultPlace)},
		{"OTSNoPermissionAccess", "Request denied by instance ACL policies.", 403, own(failover.FaultPlace)},

		{"OTSAuthFailed", "Mismatch between system time and x-ots-date: 2026-11-23T02:39:53.000Z.", 403, own(failover.FaultClock)},
		{"OTSAuthFailed", "Mismatch between MD5 value of request body and x-ots-contentmd5 in header.", 403, own(failover.FaultNone)},

		{"OTSAuthFailed", "The instance is not found.", 403, own(failover.FaultSetup)},
		{"OTSAuthFailed", "The instance does not exist.", 403, own(failover.FaultSetup)},

		{"OTSAuthFailed", "The user has no privilege to access the instance.", 403, own(failover.FaultDenied)},
		{"OTSAuthFailed", "The user does not have permission to access the instance.", 403, own(failover.FaultDenied)},
		{"OTSNoPermissionAccess", "You have no permission to access the requested resource, please contact the resource owner.", 403, own(failover.FaultDenied)},
		{"OTSNoPermissionAccess", "You do not have permission to access the requested resource. Contact the resource owner.", 403, own(failover.FaultDenied)},
		{"OTSAuthFailed", "Request denied by instance policy.", 403, own(failover.FaultDenied)},
		{"OTSNoPermissionAccess", "", 403, own(failover.FaultDenied)},

		{"OTSPartitionUnavailable", "The partition is not available.", 503, partition},
		{"OTSServerUnavailable", "The server is unavailable.", 503, partition},
		{"OTSTimeout", "Operation timeout.", 503, partition},
		{"OTSTableNotReady", "The table is not ready.", 404, partition},
		{"OTSRowOperationConflict", "Data is being modified by the other request.", 409, partition},

		{"OTSServerBusy", "Server is busy.", 503, throttled},
		{"OTSStorageServerBusy", "Storage server is busy.", 503, throttled},
		{"OTSNotEnoughCapacityUnit", "Remaining capacity unit is not enough.", 403, throttled},
		{"OTSCapacityUnitExhausted", "Capacity unit is not enough.", 403, throttled},
		{"OTSQuotaExhausted", "Too frequent table operations.", 403, throttled},
		{"OTSQuotaExhausted", "Number of tables exceeds the quota:64.", 403, throttled},
		{"OTSFlowControl", "Too many requests.", 429, throttled},
		{"OTSTooFrequentReservedThroughputAdjustment", "Too frequent.", 403, throttled},

		{"OTSInternalServerError", "Internal server error.", 500, miss},
		{"OTSRequestTimeout", "Request timeout.", 408, miss},
		{sdkNoAnswer, "<html>", 404, miss},

		{"OTSObjectNotExist", "Requested table does not exist.", 404, reading{meansAbsent, failover.FaultSetup}},

		{"OTSParameterInvalid", "Invalid column name.", 400, own(failover.FaultSetup)},
		{"OTSInvalidPK", "Primary key schema mismatch.", 400, own(failover.FaultSetup)},
		{"OTSOutOfRowSizeLimit", "", 400, own(failover.FaultNone)},
		{"OTSOutOfColumnCountLimit", "", 400, own(failover.FaultNone)},
		{"OTSForbiddenUpdateCapacityUnit", "", 400, own(failover.FaultNone)},
		{"OTSRequestBodyTooLarge", "", 413, own(failover.FaultNone)},
		{"OTSMethodNotAllowed", "", 405, own(failover.FaultNone)},
		{"OTSUnsupportedOperation", "", 400, own(failover.FaultNone)},
		{"OTSTrimmedDataAccess", "", 404, own(failover.FaultNone)},
		{"OTSObjectAlreadyExist", "", 409, own(failover.FaultNone)},
		{"OTSConditionCheckFail", "", 403, own(failover.FaultNone)},
		{"OTSSessionNotExist", "", 404, own(failover.FaultNone)},
		{"OTSTunnelServerUnavailable", "", 400, own(failover.FaultNone)},
		{"OTSTunnelExpired", "", 400, own(failover.FaultNone)},
		{"OTSTunnelExist", "", 400, own(failover.FaultNone)},
		{"OTSResourceGone", "", 400, own(failover.FaultNone)},
		{"OTSSequenceNumberNotMatch", "", 400, own(failover.FaultNone)},

		// What nobody has heard of yet: only the server's own failure is one.
		{"OTSNews", "", 500, miss},
		{"OTSNews", "", 503, miss},
		{"OTSNews", "", 429, throttled},
		{"OTSNews", "", 408, miss},
		{"OTSNews", "", 400, own(failover.FaultNone)},
		{"OTSNews", "", 403, own(failover.FaultNone)},
		{"", "", 0, own(failover.FaultNone)},
	} {
		if got := classify(tc.code, tc.message, tc.status); got != tc.want {
			t.Errorf("%s %d %q: %+v, want %+v", tc.code, tc.status, tc.message, got, tc.want)
		}
		// A message in other letters means the same.
		if got := classify(tc.code, strings.ToUpper(tc.message), tc.status); got != tc.want {
			t.Errorf("%s %d %q in capitals: %+v, want %+v", tc.code, tc.status, tc.message, got, tc.want)
		}
	}
}
