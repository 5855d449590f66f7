package tablestore

import (
	"fmt"
	"net/http"
	"strings"
)

// refusal is an error as the service tells it: a status, and a protobuf Error
// of a code and a message. Nothing is stored by a request that ends in one.
type refusal struct {
	status  int
	code    string
	message string
	closes  bool // the connection ends with it
}

func (r *refusal) Error() string { return r.code + ": " + r.message }

// refuse makes one; the code gives the status.
func refuse(code, format string, args ...any) *refusal {
	known, ok := codes[code]
	if !ok {
		panic("no status of " + code)
	}
	return &refusal{status: known.status, code: code, message: fmt.Sprintf(format, args...)}
}

// usual is the refusal of a code with the message that the vendor's page of
// error codes gives it.
func usual(code string) *refusal { return refuse(code, "%s", codes[code].message) }

// invalid refuses a parameter.
func invalid(format string, args ...any) *refusal {
	return refuse(codeParameterInvalid, format, args...)
}

// denied refuses who asks; the causes differ by their message alone.
func denied(format string, args ...any) *refusal {
	return refuse(codeAuthFailed, format, args...)
}

// The codes that the service has, by its page of error codes
// (alibabacloud.com/help/en/tablestore/developer-reference/error-codes, 2026).
const (
	codeParameterInvalid   = "OTSParameterInvalid"
	codeInvalidPK          = "OTSInvalidPK"
	codeRowSize            = "OTSOutOfRowSizeLimit"
	codeColumnCount        = "OTSOutOfColumnCountLimit"
	codeForbiddenCapacity  = "OTSForbiddenUpdateCapacityUnit"
	codeUnsupported        = "OTSUnsupportOperation" // see unsupported
	codeAuthFailed         = "OTSAuthFailed"
	codeNoPermission       = "OTSNoPermissionAccess"
	codeConditionCheckFail = "OTSConditionCheckFail"
	codeQuotaExhausted     = "OTSQuotaExhausted"
	codeCapacityExhausted  = "OTSCapacityUnitExhausted"
	codeCapacityNotEnough  = "OTSNotEnoughCapacityUnit" // its older name, the one that the SDK for Go retries
	codeTooFrequent        = "OTSTooFrequentReservedThroughputAdjustment"
	codeObjectNotExist     = "OTSObjectNotExist"
	codeTableNotReady      = "OTSTableNotReady"
	codeTrimmed            = "OTSTrimmedDataAccess"
	codeSessionNotExist    = "OTSSessionNotExist"
	codeMethodNotAllowed   = "OTSMethodNotAllowed"
	codeRequestTimeout     = "OTSRequestTimeout"
	codeAlreadyExist       = "OTSObjectAlreadyExist"
	codeConflict           = "OTSRowOperationConflict"
	codeBodyTooLarge       = "OTSRequestBodyTooLarge"
	codeFlowControl        = "OTSFlowControl"
	codeInternal           = "OTSInternalServerError"
	codeServerBusy         = "OTSServerBusy"
	codeStorageBusy        = "OTSStorageServerBusy" // in the SDKs alone
	codePartition          = "OTSPartitionUnavailable"
	codeTimeout            = "OTSTimeout"
	codeServerUnavailable  = "OTSServerUnavailable"
)

// codes are the HTTP statuses of the codes, and the message that the vendor's
// page gives where it gives one.
var codes = map[string]struct {
	status  int
	message string
}{
	codeParameterInvalid:   {http.StatusBadRequest, "The input parameter is invalid."},
	codeInvalidPK:          {http.StatusBadRequest, "Primary key schema mismatch."},
	codeRowSize:            {http.StatusBadRequest, "The total data size of columns in one row exceeded the limit."},
	codeColumnCount:        {http.StatusBadRequest, "The number of columns in one row exceeded the limit."},
	codeForbiddenCapacity:  {http.StatusBadRequest, "Your instance is forbidden to update capacity unit."},
	codeUnsupported:        {http.StatusBadRequest, "Unsupported operation."},
	codeAuthFailed:         {http.StatusForbidden, "Signature mismatch."},
	codeNoPermission:       {http.StatusForbidden, "You have no permission to access the requested resource, please contact the resource owner"},
	codeConditionCheckFail: {http.StatusForbidden, "Condition check failed."},
	codeQuotaExhausted:     {http.StatusForbidden, "Too frequent table operations."},
	codeCapacityExhausted:  {http.StatusForbidden, "Capacity unit is not enough."},
	codeCapacityNotEnough:  {http.StatusForbidden, "Capacity unit is not enough."},
	codeTooFrequent:        {http.StatusForbidden, "Capacity unit adjustment is too frequent."},
	codeObjectNotExist:     {http.StatusNotFound, "Requested table does not exist."},
	codeTableNotReady:      {http.StatusNotFound, "The table is not ready."},
	codeTrimmed:            {http.StatusNotFound, "Requested stream data is already trimmed or does not exist."},
	codeSessionNotExist:    {http.StatusNotFound, "Session not exist or may be timeout."}, // the status is a guess
	codeMethodNotAllowed:   {http.StatusMethodNotAllowed, "Only POST method for requests is supported."},
	codeRequestTimeout:     {http.StatusRequestTimeout, "Request timeout."},
	codeAlreadyExist:       {http.StatusConflict, "Requested table already exists."},
	codeConflict:           {http.StatusConflict, "Data is being modified by the other request."},
	codeBodyTooLarge:       {http.StatusRequestEntityTooLarge, "The size of POST data is too large."},
	codeFlowControl:        {http.StatusTooManyRequests, "The requests have been throttled."},
	codeInternal:           {http.StatusInternalServerError, "Internal server error."},
	codeServerBusy:         {http.StatusServiceUnavailable, "Server is busy."},
	codeStorageBusy:        {http.StatusServiceUnavailable, "Server is busy."},
	codePartition:          {http.StatusServiceUnavailable, "The partition is not available."},
	codeTimeout:            {http.StatusServiceUnavailable, "Operation timeout."},
	codeServerUnavailable:  {http.StatusServiceUnavailable, "Server is not available."},
}

// unsupported refuses an operation as the service does: its page of error
// codes says OTSParameterInvalid, but its own tests (error_message_test.py of
// the SDK for Python) and every answer that people have shown have this code,
// with the name in quotes.
func unsupported(op string) *refusal {
	return refuse(codeUnsupported, "Unsupported operation: '%s'.", clip(op))
}

// clip keeps what is told back or remembered of a request short. What it cuts
// off is not kept in memory with the rest.
func clip(s string) string {
	const most = 256
	if len(s) > most {
		s = strings.Clone(s[:most])
	}
	return strings.ToValidUTF8(s, "?")
}
