package healthcheck

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
)

// front is the cheap look at a Tablestore cluster: GET / without a key, over a
// fresh connection. What answers it is the front end, and it answers with an
// error of the service's own form: that is the proof that wanted nobody's
// rights and no capacity unit.
//
// Success is an answer below 500 that bears the header x-ots-requestid, or
// whose body is the service's error with a code of its own (OTS…): a message as
// clients get it, or XML, as the vendor's page on time-outs shows it of curl. An
// answer of anything else, such as the page of a balancer, is a miss, and so is
// one of 500 and above.
type front struct{ exchange }

func newFront(d *dialer, t Target, c ProbeConfig) *front {
	f := &front{exchange{dial: d, request: &http.Request{Method: http.MethodGet}}}
	if t.Check.isTLS() {
		f.shake = newShaker(t)
	}
	var b strings.Builder
	b.WriteString("GET / HTTP/1.1\r\nHost: " + t.hostHeader() + "\r\nUser-Agent: pointsman-probe (" + clean(string(c.Vantage), 64) + ")\r\nAccept: */*\r\nConnection: close\r\n\r\n")
	f.wire = []byte(b.String())
	return f
}

// look is one look.
func (f *front) look(ctx context.Context, tr *Trace) error {
	return f.meet(ctx, tr, frontAnswer)
}

var errNotService = errors.New("answers, but not as Tablestore")

// frontAnswer judges an answer to a GET without a key.
func frontAnswer(resp *http.Response, body answerBody, tr *Trace) error {
	tr.Phase = PhaseStatus
	code := errorCode(body.bytes)
	shaped := resp.Header.Get("X-Ots-Requestid") != "" || strings.HasPrefix(code, "OTS")
	switch {
	case resp.StatusCode >= 500:
		return fmt.Errorf("status %d %s", resp.StatusCode, clean(code, 64))
	case !shaped:
		return fmt.Errorf("%w: status %d, %s", errNotService, resp.StatusCode, quote(string(bytes.TrimSpace(body.bytes))))
	}
	return nil
}

// errorCode is the code of the service's error, or empty.
func errorCode(body []byte) string {
	if len(body) > maxTableBody {
		return ""
	}
	var x struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
	}
	if bytes.HasPrefix(body, []byte("<")) && xml.Unmarshal(body, &x) == nil {
		return x.Code
	}
	var e otsprotocol.Error
	if proto.Unmarshal(body, protoadapt.MessageV2Of(&e)) != nil {
		return ""
	}
	return e.GetCode()
}
