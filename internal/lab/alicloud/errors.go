package alicloud

import (
	"fmt"
	"net/http"
	"net/url"
)

// apiError is what an API answers instead of a result.
type apiError struct {
	status  int
	code    string
	message string
	detail  obj // AccessDeniedDetail, of a refusal by RAM
}

// obj is a JSON object of an answer; the keys are those of the vendor, whose
// clients compare them with case.
type obj = map[string]any

func refuse(status int, code, format string, args ...any) *apiError {
	return &apiError{status: status, code: code, message: fmt.Sprintf(format, args...)}
}

func bad(code, format string, args ...any) *apiError {
	return refuse(http.StatusBadRequest, code, format, args...)
}

func missing(parameter string) *apiError {
	return bad("Missing"+parameter, "%s is mandatory for this action.", parameter)
}

// answer is the body of the error.
func (e *apiError) answer(p product, requestID string) obj {
	o := obj{
		"RequestId": requestID, "HostId": p.host, "Code": e.code, "Message": e.message,
		"Recommend": "https://api.aliyun.com/troubleshoot?" +
			"q=" + url.QueryEscape(e.code) + "&product=" + p.name + "&requestId=" + requestID,
	}
	if e.detail != nil {
		o["AccessDeniedDetail"] = e.detail
	}
	return o
}
