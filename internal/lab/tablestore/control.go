package tablestore

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The control API is Tablestore's own, version 2020-12-09, in ROA style: what
// the SDK @alicloud/tablestore20201209 3.2.0 says on the wire, as far as it is
// about instances and their policies. There is no call that reads a policy:
// GetInstance shows it.
//
// Codes that no page has [guessed]: PolicyVersion.Conflict, and that a missing
// instance is 404. NotFound is the code that clients look for.
//
// Faults that name one of its actions strike it, and its requests are in the
// history; a fault that names no operation is about the service alone.

// Control is the address of the control API: http://host:port.
func (s *Server) Control() string { return "http://" + s.control.address }

// controlError is a refusal as the gateway tells it.
type controlError struct {
	status  int
	code    string
	message string
}

func badRequest(code, format string, args ...any) *controlError {
	return &controlError{http.StatusBadRequest, code, fmt.Sprintf(format, args...)}
}

const (
	controlVersion = "2020-12-09"
	maxControlBody = 64 << 10 // a policy of 4 KB, and room
)

// object is a body of JSON.
type object map[string]any

// request is one call of the control API that is believed.
type controlCall struct {
	s      *Server
	query  url.Values
	body   object
	key    Key
	from   source
	action string
}

// controlActions are the paths, in the vendor's spelling; each has one method.
var controlActions = map[string]struct {
	method, action string
	do             func(*controlCall) (object, *controlError)
}{
	"/v2/openapi/getinstance":          {http.MethodGet, "GetInstance", (*controlCall).getInstance},
	"/v2/openapi/listinstances":        {http.MethodGet, "ListInstances", (*controlCall).listInstances},
	"/v2/openapi/updateinstancepolicy": {http.MethodPost, "UpdateInstancePolicy", (*controlCall).updatePolicy},
	"/v2/openapi/deleteinstancepolicy": {http.MethodPost, "DeleteInstancePolicy", (*controlCall).deletePolicy},
	"/v2/openapi/checkinstancepolicy":  {http.MethodPost, "CheckInstancePolicy", (*controlCall).checkPolicy},
}

func (s *Server) serveControl(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	x := &exchange{s: s, w: w, r: r, control: true}
	x.seen = Request{
		At: now, RequestID: controlID(), Client: r.RemoteAddr, TLS: r.TLS != nil, Method: clip(r.Method),
		Operation: clip(r.URL.Path), UserAgent: clip(r.UserAgent()),
	}
	defer x.remember()
	out, e := x.controlAnswer()
	status := http.StatusOK
	if e != nil {
		status = e.status
		out = object{"Code": e.code, "Message": e.message, "HostId": r.Host, "Recommend": ""}
		x.seen.Code, x.seen.Message = e.code, clip(e.message)
	}
	// UpdateInstancePolicy alone spells it with a small letter.
	if _, own := out["requestId"]; own {
		out["requestId"] = x.seen.RequestID
	} else {
		out["RequestId"] = x.seen.RequestID
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(out); err != nil {
		panic(err) // texts, numbers and lists of them: a bug of ours
	}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.Header().Set("x-acs-request-id", x.seen.RequestID)
	x.send(status, text.Bytes())
}

// controlID has the form of the gateway's: a UUID in capitals.
func controlID() string {
	x := strings.ToUpper(random(16))
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

func (x *exchange) controlAnswer() (object, *controlError) {
	s, r := x.s, x.r
	s.limitBody(x.w, r)
	body, err := io.ReadAll(http.MaxBytesReader(x.w, r.Body, maxControlBody))
	x.seen.In = len(body)
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return nil, &controlError{http.StatusRequestEntityTooLarge, "InvalidParameter", fmt.Sprintf("The body has more than %d bytes.", maxControlBody)}
		}
		return nil, badRequest("InvalidParameter", "The body could not be read.")
	}
	a, ok := controlActions[r.URL.Path]
	if !ok || r.Method != a.method {
		return nil, &controlError{http.StatusNotFound, "InvalidAction.NotFound", "Specified api is not found, please check your url and method."}
	}
	x.seen.Operation = a.action
	if v := r.Header.Get("x-acs-version"); v != controlVersion {
		return nil, badRequest("InvalidVersion", "Specified parameter Version is not valid: %q is not %s.", clip(v), controlVersion)
	}
	p, e := readProof(r, body)
	if e != nil {
		return nil, e
	}
	x.seen.KeyID = clip(p.keyID)
	c := &controlCall{s: s, query: r.URL.Query(), from: sourceOf(r), action: a.action, body: object{}}
	if c.key, e = s.authenticateControl(p); e != nil {
		return nil, e
	}
	if len(body) > 0 {
		if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
			return nil, badRequest("InvalidContentType", "The body of this action is application/json, not %q.", clip(kind))
		}
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		if d.Decode(&c.body) != nil || d.Decode(new(any)) != io.EOF {
			return nil, badRequest("InvalidJSON", "The body is not a JSON object.")
		}
	}
	name, _ := c.text("InstanceName") // a call that wants one says so itself
	x.seen.Instance = clip(name)
	about := &call{s: s, op: a.action, inst: s.instance(name), key: c.key, control: true}
	if about.inst == nil {
		about.inst = &instance{}
	}
	if prevented, ref := x.before(about); prevented && ref == nil {
		return object{}, nil // the connection bears the fault
	} else if prevented {
		return nil, &controlError{ref.status, ref.code, ref.message}
	}
	out, e := a.do(c)
	if ref := x.fault.after(); ref != nil {
		return nil, &controlError{ref.status, ref.code, ref.message}
	}
	return out, e
}

// text is a parameter that must be there, of the query or the body.
func (c *controlCall) text(name string) (string, *controlError) {
	v, ok := c.body[name].(string)
	if c.query.Has(name) {
		v, ok = c.query.Get(name), true
	}
	if !ok || v == "" {
		return "", missingParameter(name)
	}
	return v, nil
}

func missingParameter(name string) *controlError {
	return badRequest("Missing"+name, "%s is mandatory for this action.", name)
}

// instance is the one that is named, if the key may do this to it.
func (c *controlCall) instance() (*instance, *controlError) {
	name, e := c.text("InstanceName")
	if e != nil {
		return nil, e
	}
	in := c.s.instance(name)
	if in == nil {
		return nil, &controlError{http.StatusNotFound, "NotFound", fmt.Sprintf("The instance %q is not found.", clip(name))}
	}
	return in, c.may(c.s.resource(in, ""))
}

// may asks the rights of the key. No page names the rights that the calls about
// policies want [guessed: ots: and the name of the action]; the policy of an
// instance itself does not stand before this API.
func (c *controlCall) may(resource string) *controlError {
	if c.key.Policy == nil || c.key.Policy.says(c.s.question(c.action, c.key, c.from), resource, false) == allows {
		return nil
	}
	return &controlError{http.StatusForbidden, "Forbidden.RAM", "User not authorized to operate on the specified resource, or this API doesn't support RAM."}
}

// version is the PolicyVersion: that of the policy which is to be replaced.
func (c *controlCall) version() (int64, *controlError) {
	v := c.body["PolicyVersion"]
	if v == nil {
		return 0, missingParameter("PolicyVersion")
	}
	n, err := strconv.ParseInt(fmt.Sprint(v), 10, 64)
	if err != nil || n < 0 {
		return 0, badRequest("InvalidParameter.PolicyVersion", "The PolicyVersion is not a whole number from 0.")
	}
	return n, nil
}

func (c *controlCall) updatePolicy() (object, *controlError) {
	in, e := c.instance()
	if e != nil {
		return nil, e
	}
	policy, e := c.text("Policy")
	if e != nil {
		return nil, e
	}
	version, e := c.version()
	if e != nil {
		return nil, e
	}
	if e := c.set(in, version, policy); e != nil {
		return nil, e
	}
	return object{"Code": "200", "Message": "success", "requestId": ""}, nil
}

func (c *controlCall) deletePolicy() (object, *controlError) {
	in, e := c.instance()
	if e != nil {
		return nil, e
	}
	version, e := c.version()
	if e != nil {
		return nil, e
	}
	if e := c.set(in, version, ""); e != nil {
		return nil, e
	}
	return object{"Code": "200", "Message": "success"}, nil
}

func (c *controlCall) set(in *instance, version int64, policy string) *controlError {
	switch err := c.s.setPolicy(in, version, policy); {
	case err == nil:
		return nil
	case errors.Is(err, errStale):
		return &controlError{http.StatusConflict, "PolicyVersion.Conflict", fmt.Sprintf("The PolicyVersion %d is not that of the policy now.", version)}
	case errors.Is(err, errKeep):
		return &controlError{http.StatusInternalServerError, "InternalError", "The request processing has failed due to some unknown error."}
	default:
		return badPolicy(err)
	}
}

// badPolicy uses the codes of RAM for documents (page of CreatePolicy, notice of
// November 2022).
func badPolicy(err error) *controlError {
	if errors.Is(err, errLong) {
		return badRequest("InvalidParameter.PolicyDocument.Length", "The policy document is too long: %v.", err)
	}
	return badRequest("MalformedPolicyDocument", "The policy document is malformed: %v.", err)
}

func (c *controlCall) checkPolicy() (object, *controlError) {
	if _, e := c.instance(); e != nil {
		return nil, e
	}
	policy, e := c.text("Policy")
	if e != nil {
		return nil, e
	}
	if _, err := parseInstancePolicy(policy); err != nil {
		return nil, badPolicy(err)
	}
	return object{"Code": "OK", "Message": "Verification passed."}, nil
}

// describe is what both GetInstance and ListInstances show.
func (c *controlCall) describe(in *instance) object {
	status := "normal"
	if in.stopped.Load() {
		status = "forbidden"
	}
	return object{
		"InstanceName": in.name, "AliasName": in.name, "InstanceStatus": status, "RegionId": in.guard.region, "UserId": c.s.account(),
		"InstanceSpecification": "SSD", "StorageType": "SSD", "PaymentType": "PayAsYouGo", "IsMultiAZ": false,
		"InstanceDescription": "", "ResourceGroupId": "", "SPInstanceId": "ots_lab_" + in.name, "VCUQuota": 0,
		"CreateTime": in.guard.created.UTC().Format("2006-01-02T15:04:05Z"),
	}
}

func (c *controlCall) getInstance() (object, *controlError) {
	in, e := c.instance()
	if e != nil {
		return nil, e
	}
	v := in.guard.newest()
	out := c.describe(in)
	out["Policy"], out["PolicyVersion"] = v.Text, v.Version
	out["Network"], out["NetworkTypeACL"], out["NetworkSourceACL"] = "NORMAL", []string{"VPC", "CLASSIC", "INTERNET"}, []string{"TRUST_PROXY"}
	out["TableQuota"], out["ElasticVCUUpperLimit"], out["Tags"] = 64, 0, []any{}
	return out, nil
}

func (c *controlCall) listInstances() (object, *controlError) {
	if e := c.may("acs:ots:*:" + c.s.account() + ":instance/*"); e != nil {
		return nil, e
	}
	limit := 100
	if v := c.query.Get("MaxResults"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 || n > 200 {
			return nil, badRequest("InvalidParameter.MaxResults", "The MaxResults is not from 0 to 200.")
		}
		limit = cmp.Or(n, limit)
	}
	var names []string
	if v := c.query.Get("InstanceNameList"); v != "" {
		names = strings.Split(v, ",")
	}
	var found []object
	for _, i := range c.s.Instances() {
		name, o := i.Name, c.describe(c.s.instance(i.Name))
		if strings.Contains(name, c.query.Get("InstanceName")) && (names == nil || slices.Contains(names, name)) &&
			(c.query.Get("Status") == "" || c.query.Get("Status") == o["InstanceStatus"]) {
			found = append(found, o)
		}
	}
	out := object{"TotalCount": len(found)}
	// The token is the name that comes next.
	i, _ := slices.BinarySearchFunc(found, c.query.Get("NextToken"), func(o object, token string) int { return cmp.Compare(o["InstanceName"].(string), token) })
	if found = found[i:]; len(found) > limit {
		out["NextToken"] = found[limit]["InstanceName"]
		found = found[:limit]
	}
	out["Instances"] = append([]object{}, found...)
	return out, nil
}
