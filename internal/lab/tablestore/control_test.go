package tablestore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	aliyun "github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	aliyunerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"

	"pointsman/internal/lab/tablestore"
)

// The clients of these tests are the vendor's own, as they come: the older SDK
// for Go, whose CommonRequest signs by HMAC-SHA1, and the generated SDK for
// Node, which signs by ACS3-HMAC-SHA256.

// plainly hides the transport: the SDK changes one that it knows.
type plainly struct{ http.RoundTripper }

// controlClient makes calls of the control API.
func controlClient(t testing.TB, k tablestore.Key) *aliyun.Client {
	t.Helper()
	tr := &http.Transport{DialContext: (&net.Dialer{}).DialContext}
	t.Cleanup(tr.CloseIdleConnections)
	config := aliyun.NewConfig().WithTimeout(10 * time.Second)
	config.Transport = plainly{tr}
	c, err := aliyun.NewClientWithOptions("cn-hangzhou", config, credentials.NewAccessKeyCredential(k.ID, k.Secret))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// controlRequest is a call; params go into the query of a GET and into the body
// of a POST.
func controlRequest(t testing.TB, s *tablestore.Server, method, path string, params map[string]any) *requests.CommonRequest {
	t.Helper()
	host, port, err := net.SplitHostPort(strings.TrimPrefix(s.Control(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	r := requests.NewCommonRequest()
	r.Method, r.Scheme, r.Domain, r.Version, r.PathPattern = method, "HTTP", host, "2020-12-09", path
	r.Port = port
	if method == http.MethodGet {
		for k, v := range params {
			r.QueryParams[k] = fmt.Sprint(v)
		}
		return r
	}
	body, err := json.Marshal(params)
	if err != nil {
		t.Fatal(err)
	}
	r.SetContent(body)
	r.SetContentType("application/json")
	return r
}

func control(t testing.TB, s *tablestore.Server, k tablestore.Key, method, path string, params map[string]any) (map[string]any, error) {
	t.Helper()
	a, err := controlClient(t, k).ProcessCommonRequest(controlRequest(t, s, method, path, params))
	if err != nil {
		return nil, err
	}
	var out map[string]any
	if err := json.Unmarshal(a.GetHttpContentBytes(), &out); err != nil {
		t.Fatalf("%v: %s", err, a.GetHttpContentBytes())
	}
	return out, nil
}

// wantCode is an error of the control API with this status and code.
func wantCode(t testing.TB, err error, status int, code string) {
	t.Helper()
	var e *aliyunerrors.ServerError
	if !errors.As(err, &e) || e.HttpStatus() != status || e.ErrorCode() != code {
		t.Fatalf("%v, want %d %s", err, status, code)
	}
	if e.RequestId() == "" || e.Message() == "" {
		t.Fatalf("no request ID or no message: %v", err)
	}
}

func getInstance(t testing.TB, s *tablestore.Server, name string) map[string]any {
	t.Helper()
	out, err := control(t, s, s.Key(), "GET", "/v2/openapi/getinstance", map[string]any{"InstanceName": name})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func updatePolicy(t testing.TB, s *tablestore.Server, name, policy string, version int64) error {
	t.Helper()
	out, err := control(t, s, s.Key(), "POST", "/v2/openapi/updateinstancepolicy", map[string]any{
		"InstanceName": name, "Policy": policy, "PolicyVersion": version,
	})
	if err == nil && (out["Code"] != "200" || out["Message"] != "success" || out["requestId"] == "") {
		t.Fatalf("%v", out)
	}
	return err
}

// denyAll is a policy that refuses everything to everybody.
const denyAll = `{"Version":"1","Statement":[{"Effect":"Deny","Action":["ots:*"],"Resource":["*"],"Principal":["*"]}]}`

// hand is a clock that a test moves.
type hand struct{ at atomic.Int64 }

func newHand() *hand {
	h := &hand{}
	h.at.Store(time.Now().UnixNano())
	return h
}

func (h *hand) now() time.Time          { return time.Unix(0, h.at.Load()) }
func (h *hand) advance(d time.Duration) { h.at.Add(int64(d)) }

func TestPolicyIsReplacedByItsVersion(t *testing.T) {
	s := start(t, tablestore.Options{})
	if in := getInstance(t, s, "lab"); in["Policy"] != "" || in["PolicyVersion"] != 0.0 || in["InstanceStatus"] != "normal" || in["RegionId"] != "cn-hangzhou" {
		t.Fatalf("%v", in)
	}
	if err := updatePolicy(t, s, "lab", denyAll, 0); err != nil {
		t.Fatal(err)
	}
	if in := getInstance(t, s, "lab"); in["Policy"] != denyAll || in["PolicyVersion"] != 1.0 {
		t.Fatalf("%v", in)
	}
	for _, version := range []int64{0, 2} {
		wantCode(t, updatePolicy(t, s, "lab", denyAll, version), 409, "PolicyVersion.Conflict")
	}
	other := strings.Replace(denyAll, "ots:*", "ots:PutRow", 1)
	if err := updatePolicy(t, s, "lab", other, 1); err != nil {
		t.Fatal(err)
	}
	remove := func(version int) error {
		_, err := control(t, s, s.Key(), "POST", "/v2/openapi/deleteinstancepolicy", map[string]any{"InstanceName": "lab", "PolicyVersion": version})
		return err
	}
	wantCode(t, remove(1), 409, "PolicyVersion.Conflict")
	if err := remove(2); err != nil {
		t.Fatal(err)
	}
	// The version goes on: one that was seen before never comes again.
	if in := getInstance(t, s, "lab"); in["Policy"] != "" || in["PolicyVersion"] != 3.0 {
		t.Fatalf("%v", in)
	}
}

func TestPolicyDocumentsThatAreRefused(t *testing.T) {
	s := start(t, tablestore.Options{})
	statement := func(text string) string { return `{"Version":"1","Statement":[` + text + `]}` }
	for name, c := range map[string]struct{ policy, code, says string }{
		"no JSON":             {`{`, "MalformedPolicyDocument", "not valid JSON"},
		"a list":              {`[]`, "MalformedPolicyDocument", "not a JSON object"},
		"two documents":       {denyAll + denyAll, "MalformedPolicyDocument", "something follows"},
		"another version":     {strings.Replace(denyAll, `"1"`, `"2"`, 1), "MalformedPolicyDocument", "Version"},
		"no statement":        {`{"Version":"1","Statement":[]}`, "MalformedPolicyDocument", "Statement"},
		"unknown element":     {statement(`{"Sid":"x","Effect":"Deny","Action":"*","Resource":"*"}`), "MalformedPolicyDocument", `"Sid"`},
		"an element twice":    {statement(`{"Effect":"Deny","Effect":"Allow","Action":"*","Resource":"*"}`), "MalformedPolicyDocument", "twice"},
		"effect in lower":     {statement(`{"Effect":"deny","Action":"*","Resource":"*"}`), "MalformedPolicyDocument", "Effect"},
		"no action":           {statement(`{"Effect":"Deny","Resource":"*"}`), "MalformedPolicyDocument", "Action"},
		"both actions":        {statement(`{"Effect":"Deny","Action":"*","NotAction":"*","Resource":"*"}`), "MalformedPolicyDocument", "NotAction"},
		"another service":     {statement(`{"Effect":"Deny","Action":"oss:*","Resource":"*"}`), "MalformedPolicyDocument", "oss:*"},
		"no resource":         {statement(`{"Effect":"Deny","Action":"*"}`), "MalformedPolicyDocument", "Resource"},
		"a bare resource":     {statement(`{"Effect":"Deny","Action":"*","Resource":"lab"}`), "MalformedPolicyDocument", "lab"},
		"an empty text":       {statement(`{"Effect":"Deny","Action":"*","Resource":[""]}`), "MalformedPolicyDocument", "empty"},
		"a number":            {statement(`{"Effect":"Deny","Action":"*","Resource":7}`), "MalformedPolicyDocument", "text"},
		"unknown operator":    {statement(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringIs":{"ots:AccessId":"x"}}}`), "MalformedPolicyDocument", "StringIs"},
		"unknown key":         {statement(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"ots:Weekday":"x"}}}`), "MalformedPolicyDocument", "ots:Weekday"},
		"key and operator":    {statement(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"acs:SourceIp":"x"}}}`), "MalformedPolicyDocument", "not for"},
		"no address":          {statement(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"IpAddress":{"acs:SourceIp":"10.0.0.0/99"}}}`), "MalformedPolicyDocument", "10.0.0.0/99"},
		"neither true":        {statement(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"Bool":{"acs:SecureTransport":"maybe"}}}`), "MalformedPolicyDocument", "true or false"},
		"longer than 4 KB":    {statement(`{"Effect":"Deny","Action":"*","Resource":"*","Principal":"` + strings.Repeat("x", 4096) + `"}`), "InvalidParameter.PolicyDocument.Length", "4096"},
		"deeper than anybody": {strings.Repeat(`{"Version":`, 300), "MalformedPolicyDocument", "not valid JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			err := updatePolicy(t, s, "lab", c.policy, 0)
			wantCode(t, err, 400, c.code)
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v does not say %s", err, c.says)
			}
			_, err = control(t, s, s.Key(), "POST", "/v2/openapi/checkinstancepolicy", map[string]any{"InstanceName": "lab", "Policy": c.policy})
			wantCode(t, err, 400, c.code)
		})
	}
	if text, version, inForce, err := s.Policy("lab"); text != "" || version != 0 || inForce != "" || err != nil {
		t.Errorf("a refused document left %q, version %d, in force %q, %v", text, version, inForce, err)
	}
	longest := statement(`{"Effect":"Deny","Action":"*","Resource":"*","Principal":"x"}`)
	longest = strings.Replace(longest, `"x"`, `"`+strings.Repeat("x", 4096-len(longest)+1)+`"`, 1)
	if err := updatePolicy(t, s, "lab", longest, 0); err != nil || len(longest) != 4096 {
		t.Errorf("%d bytes: %v", len(longest), err)
	}
}

func TestControlRequestsThatAreRefused(t *testing.T) {
	h := newHand()
	s := start(t, tablestore.Options{
		Clock: h.now, Instances: []tablestore.Instance{{Name: "lab"}},
		Keys: []tablestore.Key{
			{ID: "owner", Secret: "o"},
			{ID: "off", Secret: "x", Disabled: true},
			{ID: "reader", Secret: "r", Policy: policy(t, `{"Version":"1","Statement":[{"Effect":"Allow","Action":["ots:Get*","ots:List*"],"Resource":"acs:ots:*:*:instance/lab*"}]}`)},
		},
	})
	get := func(id, secret string) error {
		_, err := control(t, s, tablestore.Key{ID: id, Secret: secret}, "GET", "/v2/openapi/getinstance", map[string]any{"InstanceName": "lab"})
		return err
	}
	for id, secret := range map[string]string{"owner": "o", "reader": "r"} {
		if err := get(id, secret); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, get("owner", "O"), 400, "SignatureDoesNotMatch")
	wantCode(t, get("nobody", "o"), 404, "InvalidAccessKeyId.NotFound")
	wantCode(t, get("off", "x"), 400, "InvalidAccessKeyId.Inactive")
	h.advance(16 * time.Minute)
	wantCode(t, get("owner", "o"), 400, "InvalidTimeStamp.Expired")
	h.advance(-32 * time.Minute)
	wantCode(t, get("owner", "o"), 400, "InvalidTimeStamp.Expired")
	h.advance(16 * time.Minute)

	owner, reader := s.Key(), s.Keys()[2]
	try := func(k tablestore.Key, method, path string, params map[string]any) error {
		_, err := control(t, s, k, method, path, params)
		return err
	}
	wantCode(t, try(reader, "POST", "/v2/openapi/updateinstancepolicy", map[string]any{"InstanceName": "lab", "Policy": denyAll, "PolicyVersion": 0}), 403, "Forbidden.RAM")
	wantCode(t, try(reader, "GET", "/v2/openapi/listinstances", nil), 403, "Forbidden.RAM")
	wantCode(t, try(owner, "GET", "/v2/openapi/getinstance", map[string]any{"InstanceName": "other"}), 404, "NotFound")
	wantCode(t, try(owner, "GET", "/v2/openapi/getinstance", nil), 400, "MissingInstanceName")
	wantCode(t, try(owner, "GET", "/v2/openapi/updateinstancepolicy", nil), 404, "InvalidAction.NotFound")
	wantCode(t, try(owner, "GET", "/v2/openapi/getinstancepolicy", nil), 404, "InvalidAction.NotFound")
	update := "/v2/openapi/updateinstancepolicy"
	wantCode(t, try(owner, "POST", update, map[string]any{"InstanceName": "lab", "PolicyVersion": 0}), 400, "MissingPolicy")
	wantCode(t, try(owner, "POST", update, map[string]any{"InstanceName": "lab", "Policy": denyAll}), 400, "MissingPolicyVersion")
	for _, version := range []any{-1, 0.5, "x", true} {
		wantCode(t, try(owner, "POST", update, map[string]any{"InstanceName": "lab", "Policy": denyAll, "PolicyVersion": version}), 400, "InvalidParameter.PolicyVersion")
	}
	wantCode(t, try(owner, "POST", update, map[string]any{"InstanceName": "lab", "Policy": strings.Repeat("x", 64<<10), "PolicyVersion": 0}), 413, "InvalidParameter")

	change := func(do func(*requests.CommonRequest)) error {
		r := controlRequest(t, s, "POST", update, map[string]any{"InstanceName": "lab", "Policy": denyAll, "PolicyVersion": 0})
		do(r)
		_, err := controlClient(t, owner).ProcessCommonRequest(r)
		return err
	}
	wantCode(t, change(func(r *requests.CommonRequest) { r.Version = "2016-06-20" }), 400, "InvalidVersion")
	wantCode(t, change(func(r *requests.CommonRequest) { r.SetContentType("text/plain") }), 400, "InvalidContentType")
	wantCode(t, change(func(r *requests.CommonRequest) { r.SetContent([]byte(`{"InstanceName":`)) }), 400, "InvalidJSON")
	wantCode(t, change(func(r *requests.CommonRequest) { r.SetContent([]byte(`{} {}`)) }), 400, "InvalidJSON")
	if _, version, _, _ := s.Policy("lab"); version != 0 {
		t.Errorf("version %d", version)
	}
}

// TestControlSignatureCovers: nothing that counts can be changed under way.
func TestControlSignatureCovers(t *testing.T) {
	s := start(t, tablestore.Options{Instances: []tablestore.Instance{{Name: "lab"}, {Name: "other"}}})
	params := map[string]any{"InstanceName": "lab", "Policy": denyAll, "PolicyVersion": 0}
	other, err := json.Marshal(params)
	if err != nil {
		t.Fatal(err)
	}
	for name, tamper := range map[string]func(*http.Request){
		"path":   func(r *http.Request) { r.URL.Path = "/v2/openapi/checkinstancepolicy" },
		"query":  func(r *http.Request) { r.URL.RawQuery = "InstanceName=other" },
		"body":   func(r *http.Request) { replaceBody(r, strings.Replace(string(other), "ots:*", "ots:PutRow", 1)) },
		"date":   func(r *http.Request) { r.Header.Set("Date", time.Now().Add(time.Second).UTC().Format(http.TimeFormat)) },
		"header": func(r *http.Request) { r.Header.Set("x-acs-user", "x") },
		"type":   func(r *http.Request) { r.Header.Set("Content-Type", "application/json; x=y") },
		"key":    func(r *http.Request) { r.Header.Del("Authorization") },
		"scheme": func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") },
		"method": func(r *http.Request) { r.Header.Set("x-acs-signature-method", "none") },
	} {
		t.Run(name, func(t *testing.T) {
			tr := &http.Transport{DialContext: (&net.Dialer{}).DialContext}
			defer tr.CloseIdleConnections()
			config := aliyun.NewConfig().WithTimeout(10 * time.Second).WithAutoRetry(false)
			config.Transport = changing{tr, tamper}
			c, err := aliyun.NewClientWithOptions("cn-hangzhou", config, credentials.NewAccessKeyCredential(s.Key().ID, s.Key().Secret))
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.ProcessCommonRequest(controlRequest(t, s, "POST", "/v2/openapi/updateinstancepolicy", params))
			var e *aliyunerrors.ServerError
			if !errors.As(err, &e) || e.HttpStatus() != 400 {
				t.Errorf("%v", err)
			}
			if _, version, _, _ := s.Policy("lab"); version != 0 {
				t.Fatalf("version %d", version)
			}
		})
	}
}

// changing changes requests after they were signed.
type changing struct {
	http.RoundTripper
	do func(*http.Request)
}

func (c changing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	c.do(r)
	return c.RoundTripper.RoundTrip(r)
}

func replaceBody(r *http.Request, text string) {
	q, err := http.NewRequest(r.Method, r.URL.String(), strings.NewReader(text))
	if err != nil {
		panic(err)
	}
	r.Body, r.ContentLength, r.GetBody = q.Body, q.ContentLength, q.GetBody
}

func TestInstancesAreListed(t *testing.T) {
	var o tablestore.Options
	for i := range 5 {
		o.Instances = append(o.Instances, tablestore.Instance{Name: fmt.Sprintf("lab-%c", 'a'+i), Region: "cn-beijing", Stopped: i == 3})
	}
	s := start(t, o)
	list := func(params map[string]any) (names []string, next any) {
		t.Helper()
		out, err := control(t, s, s.Key(), "GET", "/v2/openapi/listinstances", params)
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range out["Instances"].([]any) {
			m := in.(map[string]any)
			if m["RegionId"] != "cn-beijing" || m["UserId"] != "1234567890123456" {
				t.Errorf("%v", m)
			}
			names = append(names, strings.TrimPrefix(m["InstanceName"].(string), "lab-"))
		}
		return names, out["NextToken"]
	}
	var all []string
	params := map[string]any{"MaxResults": 2}
	for {
		names, next := list(params)
		if all = append(all, names...); next == nil {
			break
		}
		params["NextToken"] = next
	}
	if got := strings.Join(all, ""); got != "abcde" {
		t.Errorf("%s", got)
	}
	for want, params := range map[string]map[string]any{
		"abcde": nil, "d": {"Status": "forbidden"}, "abce": {"Status": "normal"}, "b": {"InstanceName": "-b"}, "ae": {"InstanceNameList": "lab-a,lab-e,none"}, "": {"InstanceName": "zz"},
	} {
		if got, _ := list(params); strings.Join(got, "") != want {
			t.Errorf("%v: %v, want %s", params, got, want)
		}
	}
	_, err := control(t, s, s.Key(), "GET", "/v2/openapi/listinstances", map[string]any{"MaxResults": 201})
	wantCode(t, err, 400, "InvalidParameter.MaxResults")
	if in := getInstance(t, s, "lab-d"); in["InstanceStatus"] != "forbidden" {
		t.Errorf("%v", in)
	}
}

// TestControlFaults: the control API goes wrong by count, as the service does,
// when a fault names its action; and what was asked of it can be seen.
func TestControlFaults(t *testing.T) {
	s := start(t, tablestore.Options{})
	fail := func(f tablestore.Fault) {
		t.Helper()
		f.Operation = "UpdateInstancePolicy"
		if _, err := s.Fail(f, 1); err != nil {
			t.Fatal(err)
		}
	}
	version := func() int64 {
		t.Helper()
		_, v, _, err := s.Policy("lab")
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	down := tablestore.Fault{Kind: tablestore.ErrorCode, Code: "ServiceUnavailable", Message: "The request has failed due to a temporary failure of the server.", Status: 503}
	// The SDK tries a 503 again, which is not struck any more.
	once := func(f tablestore.Fault) error {
		t.Helper()
		fail(f)
		c := controlClient(t, s.Key())
		c.GetConfig().AutoRetry, c.GetConfig().MaxRetryTime = false, 0
		_, err := c.ProcessCommonRequest(controlRequest(t, s, "POST", "/v2/openapi/updateinstancepolicy", map[string]any{
			"InstanceName": "lab", "Policy": denyAll, "PolicyVersion": version(),
		}))
		return err
	}
	before := version()
	wantCode(t, once(down), 503, "ServiceUnavailable")
	if version() != before {
		t.Error("it was done")
	}
	down.After = true
	wantCode(t, once(down), 503, "ServiceUnavailable")
	if version() != before+1 {
		t.Error("it was not done")
	}
	for _, f := range []tablestore.Fault{{Kind: tablestore.Drop}, {Kind: tablestore.Reset}, {Kind: tablestore.HTML}} {
		if err := once(f); err == nil || version() != before+1 {
			t.Errorf("%s: %v, version %d", f.Kind, err, version())
		}
	}
	if err := once(tablestore.Fault{Kind: tablestore.Drop, After: true}); err == nil || version() != before+2 {
		t.Errorf("%v, version %d", err, version())
	}
	other := down
	other.Instance = "other"
	if err := once(other); err != nil || version() != before+3 {
		t.Errorf("%v, version %d", err, version())
	}
	s.Heal()
	// A fault of everything is one of the service.
	if _, err := s.Fail(tablestore.Fault{Kind: tablestore.ErrorCode, Code: "OTSServerBusy"}, -1); err != nil {
		t.Fatal(err)
	}
	getInstance(t, s, "lab")
	s.Heal()

	seen := s.Requests(tablestore.Filter{Operation: "UpdateInstancePolicy", Instance: "lab"})
	if len(seen) != 7 {
		t.Fatalf("%d requests", len(seen))
	}
	for i, want := range []struct {
		code   string
		status int
		fault  tablestore.Kind
	}{
		{"ServiceUnavailable", 503, tablestore.ErrorCode},
		{"ServiceUnavailable", 503, tablestore.ErrorCode},
		{"", 0, tablestore.Drop},
		{"", 0, tablestore.Reset},
		{"", 502, tablestore.HTML},
		{"", 0, tablestore.Drop},
		{"", 200, ""},
	} {
		if q := seen[i]; q.Code != want.code || q.Status != want.status || q.Fault != want.fault || q.KeyID != s.Key().ID || q.Client == "" {
			t.Errorf("request %d: %+v", i, q)
		}
	}
}

type nodeAnswer struct {
	OK      bool           `json:"ok"`
	Body    map[string]any `json:"body"`
	Status  int            `json:"status"`
	Code    string         `json:"code"`
	Message string         `json:"message"`
}

type nodeCall struct {
	Action string         `json:"action"`
	Params map[string]any `json:"params"`
}

// nodeControl lets the SDK that the vendor generates for Node make the calls.
func nodeControl(t *testing.T, s *tablestore.Server, k tablestore.Key, calls ...nodeCall) []nodeAnswer {
	t.Helper()
	if _, err := os.Stat(npm + "/node_modules/@alicloud"); err != nil {
		t.Fatalf("%v: run make deps, or npm ci in internal/lab/tablestore/%s", err, npm)
	}
	job, err := json.Marshal(map[string]any{
		"endpoint": strings.TrimPrefix(s.Control(), "http://"), "id": k.ID, "secret": k.Secret, "calls": calls,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "control.js")
	cmd.Dir, cmd.Stdin = npm, bytes.NewReader(job)
	cmd.Env = append(os.Environ(), "NO_PROXY=127.0.0.1", "NODE_OPTIONS=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v: %s", err, stderr.String())
	}
	var answers []nodeAnswer
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != len(calls) {
		t.Fatalf("%v: %s", err, out)
	}
	return answers
}

func TestNodeControl(t *testing.T) {
	s := start(t, tablestore.Options{})
	name := map[string]any{"instanceName": "lab"}
	with := func(more map[string]any) map[string]any {
		more["instanceName"] = "lab"
		return more
	}
	got := nodeControl(t, s, s.Key(),
		nodeCall{"GetInstance", name},
		nodeCall{"CheckInstancePolicy", with(map[string]any{"policy": denyAll})},
		nodeCall{"UpdateInstancePolicy", with(map[string]any{"policy": denyAll, "policyVersion": 0})},
		nodeCall{"UpdateInstancePolicy", with(map[string]any{"policy": denyAll, "policyVersion": 0})},
		nodeCall{"GetInstance", name},
		nodeCall{"DeleteInstancePolicy", with(map[string]any{"policyVersion": 1})},
		nodeCall{"ListInstances", map[string]any{"instanceNameList": []string{"lab"}, "maxResults": 1}},
		nodeCall{"UpdateInstancePolicy", with(map[string]any{"policy": "{", "policyVersion": 2})},
		nodeCall{"GetInstance", map[string]any{"instanceName": "none"}},
		nodeCall{"DescribeRegions", nil},
	)
	want := []struct {
		code string
		body map[string]any
	}{
		{body: map[string]any{"instanceName": "lab", "policyVersion": 0.0, "instanceStatus": "normal", "regionId": "cn-hangzhou"}},
		{body: map[string]any{"code": "OK", "message": "Verification passed."}},
		{body: map[string]any{"code": "200", "message": "success"}},
		{code: "PolicyVersion.Conflict"},
		{body: map[string]any{"policy": denyAll, "policyVersion": 1.0}},
		{body: map[string]any{"code": "200", "message": "success"}},
		{body: map[string]any{"totalCount": 1.0}},
		{code: "MalformedPolicyDocument"},
		{code: "NotFound"},
		{code: "InvalidAction.NotFound"},
	}
	for i, w := range want {
		if got[i].OK != (w.code == "") || got[i].Code != w.code {
			t.Errorf("call %d: %+v, want code %q", i, got[i], w.code)
		}
		for k, v := range w.body {
			if !reflect.DeepEqual(got[i].Body[k], v) {
				t.Errorf("call %d: %s is %v, want %v", i, k, got[i].Body[k], v)
			}
		}
		if got[i].OK && got[i].Body["requestId"] == nil {
			t.Errorf("call %d: no request ID in %v", i, got[i].Body)
		}
	}
	wrong := s.Key()
	wrong.Secret += "x"
	if got := nodeControl(t, s, wrong, nodeCall{"GetInstance", name}); got[0].Code != "SignatureDoesNotMatch" {
		t.Errorf("%+v", got[0])
	}
}
