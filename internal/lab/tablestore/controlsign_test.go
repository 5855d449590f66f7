package tablestore

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// acs3 is a call of the control API that is signed by hand, by the vendor's page
// of the signature mechanism V3, and may be spoiled.
type acs3 struct {
	method, path, query, body string
	header                    map[string]string // in addition
	unsigned                  string            // a header that is left out of what is signed
	spoil                     func(*http.Request)
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func (q acs3) do(t *testing.T, s *Server, k Key) (status int, code string) {
	t.Helper()
	endpoint := s.Control()
	header := map[string]string{
		"host": strings.TrimPrefix(endpoint, "http://"), "x-acs-action": "GetInstance", "x-acs-version": "2020-12-09",
		"x-acs-date": time.Now().UTC().Format("2006-01-02T15:04:05Z"), "x-acs-content-sha256": digestOf(q.body), "x-acs-signature-nonce": random(8),
	}
	for name, v := range q.header {
		header[name] = v
	}
	var names []string
	for name := range header {
		if name != q.unsigned {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	text := q.method + "\n" + q.path + "\n" + q.query + "\n"
	for _, name := range names {
		text += name + ":" + header[name] + "\n"
	}
	text += "\n" + strings.Join(names, ";") + "\n" + digestOf(q.body)
	m := hmac.New(sha256.New, []byte(k.Secret))
	_, _ = io.WriteString(m, "ACS3-HMAC-SHA256\n"+digestOf(text))
	target := endpoint + q.path
	if q.query != "" {
		target += "?" + q.query
	}
	r, err := http.NewRequestWithContext(t.Context(), q.method, target, strings.NewReader(q.body))
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range header {
		if name != "host" {
			r.Header.Set(name, v)
		}
	}
	r.Header.Set("Authorization", "ACS3-HMAC-SHA256 Credential="+k.ID+",SignedHeaders="+strings.Join(names, ";")+",Signature="+hex.EncodeToString(m.Sum(nil)))
	if q.spoil != nil {
		q.spoil(r)
	}
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	a, err := (&http.Client{Transport: tr}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	var out struct{ Code, InstanceName string }
	if err := json.NewDecoder(a.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, out.Code
}

func TestControlSignatureV3(t *testing.T) {
	owner, temporary := Key{ID: "owner", Secret: "o"}, Key{ID: "sts", Secret: "t", Token: "token", Expires: time.Now().Add(time.Hour)}
	over := Key{ID: "over", Secret: "v", Token: "token", Expires: time.Now().Add(-time.Hour)}
	s := frontServer(t, Options{Keys: []Key{owner, temporary, over}})
	get := acs3{method: "GET", path: "/v2/openapi/getinstance", query: "InstanceName=lab"}
	with := func(q acs3, name, value string) acs3 {
		q.header = map[string]string{name: value}
		return q
	}
	without := func(name string) acs3 {
		q := get
		q.unsigned = name
		return q
	}
	spoilt := func(do func(*http.Request)) acs3 {
		q := get
		q.spoil = do
		return q
	}
	update := acs3{method: "POST", path: "/v2/openapi/updateinstancepolicy", body: `{"InstanceName":"lab"}`, header: map[string]string{"content-type": "application/json"}}
	otherBody := update
	otherBody.spoil = func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(`{"InstanceName":"out"}`)), int64(len(update.body))
		r.GetBody = nil
	}
	for name, c := range map[string]struct {
		q      acs3
		k      Key
		status int
		code   string
	}{
		"as it should be":     {get, owner, 200, ""},
		"a body":              {update, owner, 400, "MissingPolicy"},
		"another body":        {otherBody, owner, 400, "InvalidParameter"},
		"another digest":      {with(update, "x-acs-content-sha256", digestOf("")), owner, 400, "InvalidParameter"},
		"another query":       {spoilt(func(r *http.Request) { r.URL.RawQuery = "InstanceName=out" }), owner, 400, "SignatureDoesNotMatch"},
		"another host":        {spoilt(func(r *http.Request) { r.Host = "out" }), owner, 400, "SignatureDoesNotMatch"},
		"another nonce":       {spoilt(func(r *http.Request) { r.Header.Set("x-acs-signature-nonce", "x") }), owner, 400, "SignatureDoesNotMatch"},
		"another secret":      {get, Key{ID: "owner", Secret: "O"}, 400, "SignatureDoesNotMatch"},
		"another key":         {get, Key{ID: "none", Secret: "o"}, 404, "InvalidAccessKeyId.NotFound"},
		"no key":              {get, Key{}, 400, "IncompleteSignature"},
		"old":                 {with(get, "x-acs-date", "2026-01-01T00:00:00Z"), owner, 400, "InvalidTimeStamp.Expired"},
		"no date":             {with(get, "x-acs-date", "today"), owner, 400, "InvalidTimeStamp.Format"},
		"host not signed":     {without("host"), owner, 400, "IncompleteSignature"},
		"action not signed":   {without("x-acs-action"), owner, 400, "IncompleteSignature"},
		"date not signed":     {without("x-acs-date"), owner, 400, "IncompleteSignature"},
		"nonce not signed":    {without("x-acs-signature-nonce"), owner, 400, "IncompleteSignature"},
		"digest not signed":   {without("x-acs-content-sha256"), owner, 400, "IncompleteSignature"},
		"an empty nonce":      {with(get, "x-acs-signature-nonce", ""), owner, 400, "MissingSignatureNonce"},
		"temporary":           {with(get, "x-acs-security-token", "token"), temporary, 200, ""},
		"temporary, no token": {get, temporary, 400, "InvalidSecurityToken.MismatchWithAccessKey"},
		"another token":       {with(get, "x-acs-security-token", "x"), temporary, 400, "InvalidSecurityToken.MismatchWithAccessKey"},
		"a token too many":    {with(get, "x-acs-security-token", "token"), owner, 400, "InvalidSecurityToken.MismatchWithAccessKey"},
		"over":                {with(get, "x-acs-security-token", "token"), over, 400, "InvalidSecurityToken.Expired"},
	} {
		if status, code := c.q.do(t, s, c.k); status != c.status || code != c.code {
			t.Errorf("%s: %d %s, want %d %s", name, status, code, c.status, c.code)
		}
	}
	once := with(get, "x-acs-signature-nonce", "nonce")
	if status, code := once.do(t, s, owner); status != 200 {
		t.Errorf("%d %s", status, code)
	}
	if status, code := once.do(t, s, owner); code != "SignatureNonceUsed" {
		t.Errorf("played again: %d %s", status, code)
	}
	// The nonce is another key's own.
	once.header["x-acs-security-token"] = "token"
	if status, code := once.do(t, s, temporary); status != 200 {
		t.Errorf("%d %s", status, code)
	}
}

// TestNoncesAreForgotten when their requests could not be played again anyhow.
func TestNoncesAreForgotten(t *testing.T) {
	at := time.Now()
	s := frontServer(t, Options{Clock: func() time.Time { return at }})
	k := s.Key()
	for i := range 25_000 {
		p := &proof{acs3: true, keyID: k.ID, nonce: random(8), stamp: at, toSign: "x"}
		p.signature = hex.EncodeToString(sum(sha256.New, k.Secret, "x"))
		if _, e := s.authenticateControl(p); e != nil {
			t.Fatalf("%d: %+v", i, e)
		}
		at = at.Add(time.Second)
		if n := len(s.nonces.seen); n > 10_000 {
			t.Fatalf("%d are remembered", n)
		}
	}
}
