package alicloud

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestPercentFollowsRFC3986 holds the encoding of every byte against the
// sentence: unreserved characters stay, all others are %XX in upper case.
func TestPercentFollowsRFC3986(t *testing.T) {
	for b := range 256 {
		c := string([]byte{byte(b)})
		want := fmt.Sprintf("%%%02X", b)
		if b < 128 && (strings.ContainsRune("-_.~", rune(b)) || b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z') {
			want = c
		}
		if got := percent(c); got != want {
			t.Errorf("%q: %s, want %s", c, got, want)
		}
	}
}

// TestStringToSignOfTheDocuments is the example in the vendor's description of
// the RPC signature (DescribeRegions of ECS, key testid, secret testsecret).
func TestStringToSignOfTheDocuments(t *testing.T) {
	params := map[string]string{
		"Timestamp": "2016-02-23T12:46:24Z", "Format": "XML", "AccessKeyId": "testid", "Action": "DescribeRegions",
		"SignatureMethod": "HMAC-SHA1", "SignatureNonce": "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf", "Version": "2014-05-26", "SignatureVersion": "1.0",
	}
	c := claim{family: signRPC, toSign: rpcStringToSign(http.MethodGet, params), signature: "OLeaidS1JvxuMvnyHOwuJ+uX5qY="}
	if want := "GET&%2F&AccessKeyId%3Dtestid%26Action%3DDescribeRegions%26Format%3DXML%26SignatureMethod%3DHMAC-SHA1%26" +
		"SignatureNonce%3D3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf%26SignatureVersion%3D1.0%26Timestamp%3D2016-02-23T12%253A46%253A24Z%26Version%3D2014-05-26"; c.toSign != want {
		t.Errorf("signed %s", c.toSign)
	}
	if !c.signs("testsecret") || c.signs("testsecret2") {
		t.Error("the signature of the documents is not taken")
	}
}

// rpc is a request signed by hand, so that a test can spoil it.
func rpc(k Key, action string, params map[string]string) map[string]string {
	all := map[string]string{
		"Action": action, "Version": alidnsVersion, "Format": "JSON", "AccessKeyId": k.ID, "SignatureMethod": "HMAC-SHA1",
		"SignatureVersion": "1.0", "SignatureNonce": random(8), "Timestamp": time.Now().UTC().Format("2006-01-02T15:04:05Z"),
	}
	if k.Token != "" {
		all["SecurityToken"] = k.Token
	}
	for name, v := range params {
		if all[name] = v; v == "" {
			delete(all, name)
		}
	}
	return all
}

func signRequest(k Key, method string, params map[string]string) url.Values {
	v := url.Values{}
	for name, value := range params {
		v.Set(name, value)
	}
	if v.Get("Signature") == "" {
		v.Set("Signature", b64(k.Secret, rpcStringToSign(method, params)))
	}
	return v
}

// get sends a request and returns status and code of the error, "" for none.
func get(t *testing.T, s *Server, v url.Values) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Endpoint()+"/?"+v.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return ask(t, r)
}

func TestGatewayRefusals(t *testing.T) {
	s := start(t, Options{})
	k := s.Key()
	old := time.Now().UTC().Add(-16 * time.Minute).Format("2006-01-02T15:04:05Z")
	for name, c := range map[string]struct {
		spoil  map[string]string
		status int
		code   string
	}{
		"sound":             {nil, 200, ""},
		"no action":         {map[string]string{"Action": ""}, 400, "MissingAction"},
		"no version":        {map[string]string{"Version": ""}, 400, "MissingVersion"},
		"no key":            {map[string]string{"AccessKeyId": ""}, 400, "MissingAccessKeyId"},
		"no nonce":          {map[string]string{"SignatureNonce": ""}, 400, "MissingSignatureNonce"},
		"no time":           {map[string]string{"Timestamp": ""}, 400, "MissingTimestamp"},
		"old":               {map[string]string{"Timestamp": old}, 400, "InvalidTimeStamp.Expired"},
		"no time at all":    {map[string]string{"Timestamp": "yesterday"}, 400, "InvalidTimeStamp.Format"},
		"other method":      {map[string]string{"SignatureMethod": "HMAC-MD5"}, 400, "InvalidParameter"},
		"unknown action":    {map[string]string{"Action": "DropEverything"}, 404, "InvalidAction.NotFound"},
		"unknown version":   {map[string]string{"Version": "1999-01-01"}, 400, "InvalidVersion"},
		"unknown key":       {map[string]string{"AccessKeyId": "LTAIx"}, 404, "InvalidAccessKeyId.NotFound"},
		"false signature":   {map[string]string{"Signature": "AAAA"}, 400, "SignatureDoesNotMatch"},
		"token of nobody":   {map[string]string{"SecurityToken": "x"}, 400, "InvalidSecurityToken.MismatchWithAccessKey"},
		"bearer":            {map[string]string{"SignatureType": "BEARERTOKEN", "BearerToken": "x"}, 400, "UnsupportedSignatureType"},
		"missing parameter": {map[string]string{"DomainName": ""}, 400, "MissingDomainName"},
		"page too large":    {map[string]string{"PageSize": "501"}, 400, "InvalidParameter"},
		"largest page":      {map[string]string{"PageSize": "500"}, 200, ""},
		"no page":           {map[string]string{"PageNumber": "0"}, 400, "InvalidParameter"},
		"page far behind":   {map[string]string{"PageNumber": "2147483648", "PageSize": "500"}, 200, ""},
		"search mode":       {map[string]string{"SearchMode": "FUZZY"}, 400, "InvalidParameter"},
	} {
		params := map[string]string{"DomainName": "example.com"}
		for n, v := range c.spoil {
			params[n] = v
		}
		status, code := get(t, s, signRequest(k, http.MethodGet, rpc(k, "DescribeDomainRecords", params)))
		if status != c.status || code != c.code {
			t.Errorf("%s: %d %s, want %d %s", name, status, code, c.status, c.code)
		}
	}
}

func TestNonceCountsOnce(t *testing.T) {
	s := start(t, Options{})
	k := s.Key()
	v := signRequest(k, http.MethodGet, rpc(k, "DescribeDomains", nil))
	if status, code := get(t, s, v); status != 200 {
		t.Fatal(status, code)
	}
	if status, code := get(t, s, v); status != 400 || code != "SignatureNonceUsed" {
		t.Error(status, code)
	}
	// A request that was refused has not used it up.
	v = signRequest(k, http.MethodGet, rpc(k, "DescribeDomains", nil))
	good := v.Get("Signature")
	v.Set("Signature", "AAAA")
	get(t, s, v)
	v.Set("Signature", good)
	if status, code := get(t, s, v); status != 200 {
		t.Error(status, code)
	}
}

func TestInactiveKey(t *testing.T) {
	s := start(t, Options{Keys: []Key{{ID: "LTAIa", Secret: "s", Inactive: true}}})
	if status, code := get(t, s, signRequest(s.Key(), http.MethodGet, rpc(s.Key(), "DescribeDomains", nil))); status != 400 || code != "InvalidAccessKeyId.Inactive" {
		t.Error(status, code)
	}
}

// TestACS3Refusals spoils one thing after the other of a V3 request.
func TestACS3Refusals(t *testing.T) {
	s := start(t, Options{})
	sound := func() (http.Header, string) {
		return http.Header{
			"X-Acs-Action": {"DescribeDomainRecords"}, "X-Acs-Version": {alidnsVersion}, "X-Acs-Signature-Nonce": {random(8)},
			"X-Acs-Date": {time.Now().UTC().Format("2006-01-02T15:04:05Z")}, "Content-Type": {"application/x-www-form-urlencoded"},
		}, "DomainName=example.com"
	}
	for name, c := range map[string]struct {
		before func(http.Header)
		after  func(http.Header)
		body   string // sent in place of the signed one
		status int
		code   string
	}{
		"sound":          {status: 200},
		"another body":   {body: "DomainName=example.org", status: 400, code: "InvalidParameter"},
		"another action": {after: func(h http.Header) { h.Set("x-acs-action", "DescribeDomainNs") }, status: 400, code: "SignatureDoesNotMatch"},
		"unknown action": {before: func(h http.Header) { h.Set("x-acs-action", "Nothing") }, status: 404, code: "InvalidAction.NotFound"},
		"no nonce":       {before: func(h http.Header) { h.Del("x-acs-signature-nonce") }, status: 400, code: "MissingSignatureNonce"},
		"no date":        {before: func(h http.Header) { h.Del("x-acs-date") }, status: 400, code: "MissingTimestamp"},
		"no action":      {before: func(h http.Header) { h.Del("x-acs-action") }, status: 400, code: "MissingAction"},
		"no version":     {before: func(h http.Header) { h.Del("x-acs-version") }, status: 400, code: "MissingVersion"},
		"old":            {before: func(h http.Header) { h.Set("x-acs-date", "2020-01-01T00:00:00Z") }, status: 400, code: "InvalidTimeStamp.Expired"},
		"unsigned action": {after: func(h http.Header) {
			h.Set("Authorization", strings.Replace(h.Get("Authorization"), "x-acs-action;", "", 1))
		}, status: 400, code: "IncompleteSignature"},
		"no credential": {after: func(h http.Header) { h.Set("Authorization", "ACS3-HMAC-SHA256 Signature=00") }, status: 400, code: "IncompleteSignature"},
		"foreign token": {before: func(h http.Header) { h.Set("x-acs-security-token", "x") }, status: 400, code: "InvalidSecurityToken.MismatchWithAccessKey"},
	} {
		h, body := sound()
		if c.before != nil {
			c.before(h)
		}
		signACS3Headers(s.Key(), s.Endpoint(), h, body)
		if c.after != nil {
			c.after(h)
		}
		if c.body != "" {
			body = c.body
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Endpoint()+"/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = h
		if status, code := ask(t, r); status != c.status || code != c.code {
			t.Errorf("%s: %d %s, want %d %s", name, status, code, c.status, c.code)
		}
	}
}

func TestBoundsOfARequest(t *testing.T) {
	s := start(t, Options{})
	k := s.Key()
	many := rpc(k, "DescribeDomains", nil)
	for i := range maxParams {
		many["P"+strconv.Itoa(i)] = "1"
	}
	if status, code := get(t, s, signRequest(k, http.MethodGet, many)); status != 400 || code != "InvalidParameter" {
		t.Error(status, code)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Endpoint()+"/", strings.NewReader(strings.Repeat("x", maxBody+1)))
	if err != nil {
		t.Fatal(err)
	}
	if status, code := ask(t, r); status != 413 || code != "InvalidParameter" {
		t.Error(status, code)
	}
	r, _ = http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+s.Endpoint()+"/", nil)
	if status, code := ask(t, r); status != 405 || code != "UnsupportedHTTPMethod" {
		t.Error(status, code)
	}
	r, _ = http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Endpoint()+"/?a=%zz", nil)
	if status, code := ask(t, r); status != 400 || code != "InvalidParameter" {
		t.Error(status, code)
	}
	r, _ = http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Endpoint()+"/other?"+signRequest(k, "GET", rpc(k, "DescribeDomains", nil)).Encode(), nil)
	if status, code := ask(t, r); status != 404 || code != "InvalidAction.NotFound" {
		t.Error(status, code)
	}
	long := rpc(k, "DescribeDomains", map[string]string{"KeyWord": strings.Repeat("k", 5000)})
	get(t, s, signRequest(k, http.MethodGet, long))
	if q := s.Requests("DescribeDomains"); len(q[len(q)-1].Params["KeyWord"]) != maxSeenText {
		t.Errorf("the history keeps %d bytes", len(q[len(q)-1].Params["KeyWord"]))
	}
}
