package alicloud

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/alidns"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/sts"
	libalidns "github.com/libdns/alidns"
	"github.com/libdns/libdns"
)

// trust lets whatever uses the transport of this process trust the server, and
// go through its proxy where that is wanted. Some clients cannot be told of a
// transport. Tests that use it cannot be parallel.
func trust(t *testing.T, s *Server, proxied bool) {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(s.CA()) {
		t.Fatal("no certificate")
	}
	before := http.DefaultTransport
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	if proxied {
		u, err := url.Parse(s.Proxy())
		if err != nil {
			t.Fatal(err)
		}
		tr.Proxy = http.ProxyURL(u)
	}
	http.DefaultTransport = tr
	t.Cleanup(func() { tr.CloseIdleConnections(); http.DefaultTransport = before })
}

const role = "pointsman"

// TestRolesAndTheirKeys: an SDK that assumes a role, by a key and by an OIDC
// token, and then asks Alidns with what it was lent.
func TestRolesAndTheirKeys(t *testing.T) {
	user := Key{ID: "LTAIuser", Secret: "s", User: "ci", Policy: &Policy{Statement: []Statement{
		{Effect: "Allow", Action: Words{"sts:AssumeRole"}, Resource: Words{"acs:ram::*:role/pointsman"}},
	}}}
	const provider = "acs:ram::1234567890123456:oidc-provider/lab"
	s := start(t, Options{
		Keys: []Key{{ID: "LTAIroot", Secret: "s"}, user},
		Roles: []Role{
			{Name: role, Policy: Allow([]string{"alidns:*"}, "example.com"), ExternalID: "x-1", OIDCProvider: provider, OIDCTokens: []string{"token-of-the-pod"}},
			{Name: "other"},
		},
	})
	trust(t, s, false)
	r := seed(t, s, Record{RR: "orders", Type: "CNAME", Value: "a.back.test", TTL: 60})
	if _, err := s.AddZone(Zone{Name: "example.org"}); err != nil {
		t.Fatal(err)
	}
	byKey, err := credentials.NewRAMRoleARNCredentialsProviderBuilder().
		WithCredentialsProvider(credentials.NewStaticAKCredentialsProvider(user.ID, user.Secret)).
		WithRoleArn(s.RoleARN(role)).WithExternalId("x-1").WithRoleSessionName("test").WithStsEndpoint(s.TLSEndpoint()).Build()
	if err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("token-of-the-pod\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	byToken, err := credentials.NewOIDCCredentialsProviderBuilder().WithOIDCTokenFilePath(token).WithOIDCProviderARN(provider).
		WithRoleArn(s.RoleARN(role)).WithRoleSessionName("pod").WithDurationSeconds(900).WithSTSEndpoint(s.TLSEndpoint()).Build()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]credentials.CredentialsProvider{"key": byKey, "token": byToken} {
		client := sdkClient(t, s, c)
		if _, err := client.UpdateDomainRecord(update(r, name+".back.test", 60)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		info := alidns.CreateDescribeDomainInfoRequest()
		info.DomainName = "example.org"
		_, err := client.DescribeDomainInfo(info)
		e := refused(t, err, 403, "Forbidden.RAM")
		if d := e.AccessDeniedDetail(); d["AuthPrincipalType"] != "AssumedRoleUser" {
			t.Errorf("%s: %v", name, d)
		}
	}
	for _, q := range s.Requests() {
		if text, _ := json.Marshal(q); bytes.Contains(text, []byte("token-of-the-pod")) || bytes.Contains(text, []byte("CAIS")) || bytes.Contains(text, []byte("Signature\":\"A")) {
			t.Errorf("a secret is in the history: %s", text)
		}
	}

	// What STS refuses.
	ask := func(k Key, change func(*sts.AssumeRoleRequest)) error {
		client, err := sts.NewClientWithOptions("cn-hangzhou", sdkConfig(t), credentials.NewAccessKeyCredential(k.ID, k.Secret))
		if err != nil {
			t.Fatal(err)
		}
		client.Domain = s.Endpoint()
		q := sts.CreateAssumeRoleRequest()
		q.Scheme, q.RoleArn, q.RoleSessionName, q.ExternalId = "http", s.RoleARN(role), "test", "x-1"
		change(q)
		_, err = client.AssumeRole(q)
		return err
	}
	for name, c := range map[string]struct {
		key    Key
		change func(*sts.AssumeRoleRequest)
		status int
		code   string
	}{
		"no role":     {user, func(q *sts.AssumeRoleRequest) { q.RoleArn = "acs:ram::1:role/pointsman" }, 404, "EntityNotExist.Role"},
		"other role":  {user, func(q *sts.AssumeRoleRequest) { q.RoleArn = s.RoleARN("other") }, 403, "Forbidden.RAM"},
		"external ID": {user, func(q *sts.AssumeRoleRequest) { q.ExternalId = "x-2" }, 403, "NoPermission"},
		"too short":   {user, func(q *sts.AssumeRoleRequest) { q.DurationSeconds = "899" }, 400, "InvalidParameter.DurationSeconds"},
		"too long":    {user, func(q *sts.AssumeRoleRequest) { q.DurationSeconds = "3601" }, 400, "InvalidParameter.DurationSeconds"},
		"no policy":   {user, func(q *sts.AssumeRoleRequest) { q.Policy = "{" }, 400, "InvalidParameter.PolicyGrammar"},
		"root":        {s.Key(), func(*sts.AssumeRoleRequest) {}, 403, "NoPermission"},
	} {
		err := ask(c.key, c.change)
		if err == nil {
			t.Errorf("%s: lent", name)
			continue
		}
		refused(t, err, c.status, c.code)
	}

	// Tokens: without, with another's, and too late.
	client, err := sts.NewClientWithOptions("cn-hangzhou", sdkConfig(t), credentials.NewAccessKeyCredential(user.ID, user.Secret))
	if err != nil {
		t.Fatal(err)
	}
	client.Domain = s.Endpoint()
	q := sts.CreateAssumeRoleRequest()
	q.Scheme, q.RoleArn, q.RoleSessionName, q.ExternalId = "http", s.RoleARN(role), "test", "x-1"
	q.Policy = `{"Version":"1","Statement":[{"Effect":"Allow","Action":"alidns:Describe*","Resource":"*"}]}`
	lent, err := client.AssumeRole(q)
	if err != nil {
		t.Fatal(err)
	}
	k := Key{ID: lent.Credentials.AccessKeyId, Secret: lent.Credentials.AccessKeySecret, Token: lent.Credentials.SecurityToken}
	for name, c := range map[string]struct {
		spoil  func(*Key)
		action string
		offset time.Duration
		status int
		code   string
	}{
		"sound":        {func(*Key) {}, "DescribeDomainRecords", 0, 200, ""},
		"narrowed":     {func(*Key) {}, "DeleteDomain", 0, 403, "Forbidden.RAM"},
		"no token":     {func(k *Key) { k.Token = "" }, "DescribeDomainRecords", 0, 404, "InvalidAccessKeyId.NotFound"},
		"false token":  {func(k *Key) { k.Token += "x" }, "DescribeDomainRecords", 0, 400, "InvalidSecurityToken.Malformed"},
		"expired":      {func(*Key) {}, "DescribeDomainRecords", 61 * time.Minute, 400, "InvalidSecurityToken.Expired"},
		"still in use": {func(*Key) {}, "DescribeDomainRecords", 10 * time.Minute, 200, ""},
	} {
		k := k
		c.spoil(&k)
		s.SetClockOffset(c.offset)
		if status, code := get(t, s, signRequest(k, http.MethodGet, rpc(k, c.action, map[string]string{"DomainName": "example.com"}))); status != c.status || code != c.code {
			t.Errorf("%s: %d %s, want %d %s", name, status, code, c.status, c.code)
		}
	}
	s.SetClockOffset(0)

	// Who am I, to STS: without any right.
	_, err = client.GetCallerIdentity(callerIdentity())
	refused(t, err, 403, "Forbidden.RAM")
	client, err = sts.NewClientWithOptions("cn-hangzhou", sdkConfig(t), credentials.NewAccessKeyCredential(s.Key().ID, s.Key().Secret))
	if err != nil {
		t.Fatal(err)
	}
	client.Domain = s.Endpoint()
	if who, err := client.GetCallerIdentity(callerIdentity()); err != nil || who.IdentityType != "Account" || who.AccountId != "1234567890123456" {
		t.Errorf("%+v %v", who, err)
	}
	if err := os.WriteFile(token, []byte("forged"), 0o600); err != nil {
		t.Fatal(err)
	}
	forged, err := credentials.NewOIDCCredentialsProviderBuilder().WithOIDCTokenFilePath(token).WithOIDCProviderARN(provider).
		WithRoleArn(s.RoleARN(role)).WithSTSEndpoint(s.TLSEndpoint()).Build()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := forged.GetCredentials(); err == nil || !strings.Contains(err.Error(), "AuthenticationFail.OIDCToken.Invalid") {
		t.Errorf("%v", err)
	}
}

func callerIdentity() *sts.GetCallerIdentityRequest {
	q := sts.CreateGetCallerIdentityRequest()
	q.Scheme = "http"
	return q
}

// TestVendorsNamesByProxy: clients whose endpoint cannot be set, or is not set,
// reach the server by its proxy: in clear, over TLS, and a client of another
// maker that signs V3 forms.
func TestVendorsNamesByProxy(t *testing.T) {
	s := start(t, Options{})
	trust(t, s, true)
	seed(t, s, Record{RR: "orders", Type: "CNAME", Value: "a.back.test", TTL: 60})
	for _, scheme := range []string{"http", "https"} {
		cfg := sdkConfig(t)
		cfg.Transport = roundTripper{http.DefaultTransport}
		client, err := alidns.NewClientWithOptions("cn-hangzhou", cfg.WithScheme(scheme), credentials.NewAccessKeyCredential(s.Key().ID, s.Key().Secret))
		if err != nil {
			t.Fatal(err)
		}
		a, err := client.DescribeDomains(alidns.CreateDescribeDomainsRequest())
		if err != nil || a.TotalCount != 1 {
			t.Fatalf("%s: %+v %v", scheme, a, err)
		}
		if q := s.Requests(); q[len(q)-1].TLS != (scheme == "https") {
			t.Errorf("%s: %+v", scheme, q[len(q)-1])
		}
	}
	s.Forget()
	p := libalidns.Provider{CredentialInfo: libalidns.CredentialInfo{AccessKeyID: s.Key().ID, AccessKeySecret: s.Key().Secret}}
	got, err := p.GetRecords(t.Context(), "example.com.")
	if err != nil || len(got) != 1 || got[0].RR().Data != "a.back.test" || got[0].RR().TTL != time.Minute {
		t.Fatalf("%+v %v", got, err)
	}
	if _, err := p.AppendRecords(t.Context(), "example.com.", []libdns.Record{libdns.TXT{Name: "t", Text: "hello", TTL: 10 * time.Minute}}); err != nil {
		t.Fatal(err)
	}
	if r, ok := s.Record("example.com", "t", ""); !ok || r.Value != "hello" {
		t.Errorf("%+v", r)
	}
	for _, q := range s.Requests() {
		if q.Signature != signACS3 || !q.TLS || q.In != "form" {
			t.Errorf("%+v", q)
		}
	}
	// Nothing else is reached.
	for _, address := range []string{"https://example.com/", "http://example.com/", "https://aliyuncs.com.example.com/"} {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := http.DefaultTransport.RoundTrip(q)
		if err == nil {
			if a.Body.Close(); a.StatusCode != http.StatusForbidden {
				t.Errorf("%s: %s", address, a.Status)
			}
		} else if !strings.Contains(err.Error(), "Forbidden") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestLibDNSAddsASecondCNAME is why a provider may not use that module: to move
// a CNAME by SetRecords, it looks for a record with the new value, does not find
// the one that is there, and adds a second (public issue libdns/alidns#10). When
// this test fails the module was mended, and the refusal is to be thought over.
func TestLibDNSAddsASecondCNAME(t *testing.T) {
	s := start(t, Options{})
	trust(t, s, true)
	seed(t, s, Record{RR: "orders", Type: "CNAME", Value: "a.back.test", TTL: 600})
	p := libalidns.Provider{CredentialInfo: libalidns.CredentialInfo{AccessKeyID: s.Key().ID, AccessKeySecret: s.Key().Secret}}
	_, err := p.SetRecords(t.Context(), "example.com.", []libdns.Record{libdns.CNAME{Name: "orders", Target: "b.back.test", TTL: 10 * time.Minute}})
	t.Logf("SetRecords: %v", err)
	got, err := p.GetRecords(t.Context(), "example.com.")
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, r := range got {
		if rr := r.RR(); rr.Name == "orders" && rr.Type == "CNAME" {
			values = append(values, rr.Data)
		}
	}
	if slices.Sort(values); !slices.Equal(values, []string{"a.back.test", "b.back.test"}) {
		t.Errorf("orders has the CNAMEs %v, not both", values)
	}
}

// TestFaultsOverTLS: a reset is one below TLS, too, also by way of the proxy.
func TestFaultsOverTLS(t *testing.T) {
	for _, proxied := range []bool{false, true} {
		s := start(t, Options{})
		trust(t, s, proxied)
		host := s.TLSEndpoint()
		if proxied {
			host = "alidns.aliyuncs.com"
		}
		s.Fail("", Fault{Kind: Reset}, 1)
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host+"/?"+signRequest(s.Key(), http.MethodGet, rpc(s.Key(), "DescribeDomains", nil)).Encode(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := http.DefaultTransport.RoundTrip(q); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("proxied %v: %v", proxied, err)
		}
	}
}

// TestClosesWithClientsInTheMiddle: connections that are open in every state
// do not hold Close up.
func TestClosesWithClientsInTheMiddle(t *testing.T) {
	s := start(t, Options{})
	var conns []net.Conn
	for _, to := range []string{s.Endpoint(), s.TLSEndpoint(), strings.TrimPrefix(s.Proxy(), "http://"), strings.TrimPrefix(s.Manage(), "http://"), s.Authorities()[0]} {
		c, err := net.Dial("tcp", to)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		_, _ = c.Write([]byte("CONNECT alidns.aliyuncs.com:443 HTTP/1.1\r\nHost: alidns.aliyuncs.com:443\r\n\r\n"))
	}
	_, _ = conns[2].Read(make([]byte, 100)) // the tunnel is open, and nobody speaks in it
	s.Close()
	for _, c := range conns {
		_ = c.Close()
	}
}

// manage calls the management API and returns status and body.
func manage(t *testing.T, s *Server, token, method, path, body string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, method, s.Manage()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+token)
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	a, err := tr.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, string(b)
}

func TestManagementAPI(t *testing.T) {
	s := start(t, Options{})
	r := seed(t, s, Record{RR: "orders", Type: "CNAME", Value: "a.back.test", TTL: 60})
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/zones", "", 200, `"value":"a.back.test"`},
		{"POST", "/zones", `{"name":"free.example","edition":{"code":"mianfei"}}`, 200, `"id"`},
		{"POST", "/zones", `{"name":"free.example"}`, 400, "there already"},
		{"POST", "/zones", `{"nom":"x"}`, 400, "nom"},
		{"POST", "/zones/free.example/records", `{"rr":"x","type":"A","value":"192.0.2.1"}`, 200, `"ttl":600`},
		{"POST", "/zones/nowhere/records", `{}`, 400, "there is none"},
		{"POST", "/records/" + itoa(r.ID), `{"value":"b.back.test","remark":"by hand"}`, 200, "true"},
		{"POST", "/records/7", `{"value":"x"}`, 400, "there is none"},
		{"POST", "/records/x", `{}`, 400, "not a number"},
		{"POST", "/faults", `{"action":"UpdateDomainRecord","times":2,"fault":{"kind":"reset","after":true,"line":"telecom"}}`, 200, `"id":1`},
		{"POST", "/faults", `{"times":2,"fault":{"kind":"earthquake"}}`, 400, "earthquake"},
		{"POST", "/faults", `{"times":0,"fault":{"kind":"reset"}}`, 400, "no call"},
		{"GET", "/faults", "", 200, `"left":2`},
		{"DELETE", "/faults/1", "", 200, "true"},
		{"DELETE", "/faults/x", "", 400, "not a number"},
		{"GET", "/faults", "", 200, "[]"},
		{"DELETE", "/faults", "", 200, "true"},
		{"PUT", "/settings", `{"clock_offset_ms":1000,"stale_ms":5,"loose":true}`, 200, "true"},
		{"PUT", "/settings", `{"loose":true} {}`, 400, "more than one"},
		{"PUT", "/authorities/1", `{"delay_ns":1000000000,"frozen":true}`, 200, "true"},
		{"PUT", "/authorities/9", `{}`, 400, "there are 2"},
		{"PUT", "/authorities/x", `{}`, 400, "not a number"},
		{"POST", "/keys", `{"id":"LTAInew","secret":"s","user":"u","policy":{"Statement":[{"Effect":"Allow","Action":"alidns:*","Resource":"*"}]}}`, 200, "true"},
		{"POST", "/keys", `{"id":"LTAInew"}`, 400, "secret"},
		{"GET", "/requests", "", 200, "[]"},
		{"DELETE", "/requests", "", 200, "true"},
		{"POST", "/zones", strings.Repeat(" ", maxManage+1), 400, "too large"},
	} {
		status, body := manage(t, s, s.ManageToken(), c.method, c.path, c.body)
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s %.80s: %d %s, want %d %s", c.method, c.path, c.body, status, body, c.status, c.want)
		}
	}
	if now, _ := s.Record("example.com", "orders", ""); now.Value != "b.back.test" || now.Remark != "by hand" || now.TTL != 60 {
		t.Errorf("%+v", now)
	}
	s.set(func() {
		if s.offset != time.Second || s.stale != 5*time.Millisecond || !s.loose || s.authorities[1].Delay != time.Second || !s.authorities[1].Frozen {
			t.Errorf("%v %v %v %+v", s.offset, s.stale, s.loose, s.authorities[1].Authority)
		}
	})
	if status, body := manage(t, s, "", "GET", "/zones", ""); status != 401 || strings.Contains(body, "a.back.test") {
		t.Errorf("%d %s", status, body)
	}
}
