package tablestore

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/aliyun/aliyun-tablestore-go-sdk/common"
	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"pointsman/internal/lab/tablestore/plainbuffer"
)

// sdkFor is the SDK with what it needs to be told, and without second tries.
func sdkFor(t testing.TB, endpoint string, p common.CredentialsProvider, roots *x509.CertPool, name string) *sdk.TableStoreClient {
	t.Helper()
	tr := &http.Transport{}
	if roots != nil {
		tr.TLSClientConfig = &tls.Config{RootCAs: roots, ServerName: name}
	}
	t.Cleanup(tr.CloseIdleConnections)
	cfg := sdk.NewDefaultTableStoreConfig()
	cfg.RetryTimes, cfg.Transport = 0, tr
	return sdk.NewClientWithCredentialsProvider(endpoint, "lab", p, cfg)
}

func provider(k Key) common.CredentialsProvider {
	return &common.DefaultCredentialsProvider{AccessKeyID: k.ID, AccessKeySecret: k.Secret, SecurityToken: k.Token}
}

func createRequest(name string) *otsprotocol.CreateTableRequest {
	return &otsprotocol.CreateTableRequest{
		TableMeta: &otsprotocol.TableMeta{TableName: proto.String(name), PrimaryKey: []*otsprotocol.PrimaryKeySchema{
			{Name: proto.String("id"), Type: otsprotocol.PrimaryKeyType_STRING.Enum()},
		}},
		ReservedThroughput: &otsprotocol.ReservedThroughput{CapacityUnit: &otsprotocol.CapacityUnit{Read: proto.Int32(0), Write: proto.Int32(0)}},
		TableOptions:       &otsprotocol.TableOptions{TimeToLive: proto.Int32(-1), MaxVersions: proto.Int32(1)},
	}
}

func describeRequest(name string) *otsprotocol.DescribeTableRequest {
	return &otsprotocol.DescribeTableRequest{TableName: proto.String(name)}
}

// TestRequestsAreCheckedInOrder: each row spoils one thing more than the row
// below it, so that its error shows which check comes first.
func TestRequestsAreCheckedInOrder(t *testing.T) {
	s := frontServer(t, Options{
		Instances: []Instance{{Name: "lab"}, {Name: "other"}, {Name: "still", Stopped: true}},
		Keys: []Key{
			{ID: "LTAI-first", Secret: "first"},
			{ID: "LTAI-off", Secret: "off", Disabled: true},
			{ID: "LTAI-other", Secret: "other", Instances: []string{"other"}},
		},
	})
	big := make([]byte, maxBody+1)
	old := time.Now().Add(-16 * time.Minute).UTC().Format(time.RFC3339)
	fresh := time.Now().Add(16 * time.Minute).UTC().Format(time.RFC3339)
	for _, c := range []struct {
		name   string
		spoil  func(*ask)
		status int
		code   string
		text   string
	}{
		{"unknown operation", func(q *ask) { q.path, q.method = "/HelloWorld", "PUT" }, 400, "OTSUnsupportOperation", "Unsupported operation: 'HelloWorld'."},
		{"method", func(q *ask) { q.method, q.body = "PUT", big }, 405, "OTSMethodNotAllowed", "Only POST method for requests is supported."},
		{"GET", func(q *ask) { q.method = "GET" }, 405, "OTSMethodNotAllowed", "Only POST method for requests is supported."},
		{"size", func(q *ask) { q.body, q.header["x-ots-date"] = big, "-" }, 413, "OTSRequestBodyTooLarge", "The size of POST data is too large."},
		{"no date", func(q *ask) { q.header["x-ots-date"], q.header["x-ots-signature"] = "-", "-" }, 400, "OTSParameterInvalid", "Missing header: 'x-ots-date'."},
		{"no version", func(q *ask) { q.header["x-ots-apiversion"] = "-" }, 400, "OTSParameterInvalid", "Missing header: 'x-ots-apiversion'."},
		{"no key", func(q *ask) { q.header["x-ots-accesskeyid"] = "-" }, 400, "OTSParameterInvalid", "Missing header: 'x-ots-accesskeyid'."},
		{"no instance", func(q *ask) { q.header["x-ots-instancename"] = "-" }, 400, "OTSParameterInvalid", "Missing header: 'x-ots-instancename'."},
		{"no digest", func(q *ask) { q.header["x-ots-contentmd5"] = "-" }, 400, "OTSParameterInvalid", "Missing header: 'x-ots-contentmd5'."},
		{"no signature", func(q *ask) { q.header["x-ots-signature"], q.header["x-ots-date"] = "-", "blahblah" }, 400, "OTSParameterInvalid", "Missing header: 'x-ots-signature'."},
		{"version", func(q *ask) { q.header["x-ots-apiversion"] = "2018-04-01" }, 400, "OTSParameterInvalid", "Invalid API version: 2018-04-01."},
		{"date", func(q *ask) { q.header["x-ots-date"], q.header["x-ots-contentmd5"] = "blahblah", "blahblah" }, 400, "OTSParameterInvalid", "Invalid date format: blahblah."},
		{"old", func(q *ask) { q.header["x-ots-date"], q.header["x-ots-contentmd5"] = old, "blahblah" }, 403, "OTSAuthFailed", "Mismatch between system time and x-ots-date: " + old + "."},
		{"early", func(q *ask) { q.header["x-ots-date"] = fresh }, 403, "OTSAuthFailed", "Mismatch between system time and x-ots-date: " + fresh + "."},
		{"digest", func(q *ask) { q.header["x-ots-contentmd5"], q.header["x-ots-signature"] = "blahblah", "blahblah" }, 403, "OTSAuthFailed", "Mismatch between MD5 value of request body and x-ots-contentmd5 in header."},
		{"unknown key", func(q *ask) { q.id, q.header["x-ots-signature"] = "LTAI-nobody", "blahblah" }, 403, "OTSAuthFailed", "The AccessKeyID does not exist."},
		{"signature", func(q *ask) { q.header["x-ots-signature"], q.header["x-ots-instancename"] = "blahblah", "nowhere" }, 403, "OTSAuthFailed", "Signature mismatch."},
		{"secret", func(q *ask) { q.secret = "second" }, 403, "OTSAuthFailed", "Signature mismatch."},
		{"disabled", func(q *ask) { q.id, q.secret = "LTAI-off", "off" }, 403, "OTSAuthFailed", "The AccessKeyID is disabled."},
		{"token", func(q *ask) { q.header["x-ots-ststoken"] = "nobody's" }, 403, "OTSAuthFailed", "The security token is invalid."},
		{"instance", func(q *ask) { q.header["x-ots-instancename"] = "nowhere" }, 403, "OTSAuthFailed", "The instance is not found."},
		{"privilege", func(q *ask) { q.id, q.secret = "LTAI-other", "other" }, 403, "OTSAuthFailed", "The user has no privilege to access the instance."},
		{"stopped", func(q *ask) { q.header["x-ots-instancename"] = "still" }, 403, "OTSAuthFailed", "The instance is not running."},
		{"message", func(q *ask) { q.body = q.body[:len(q.body)-1] }, 400, "OTSParameterInvalid", "Failed to parse the ProtoBuf message."},
		{"table", func(*ask) {}, 404, "OTSObjectNotExist", "Requested table does not exist."},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := s.ask("DescribeTable", describeRequest("orders"))
			c.spoil(&q)
			switch c.name {
			case "secret", "unknown key", "no key": // nothing to sign the answer by, or another secret
				g, err := q.do(t, s)
				if err != nil || g.StatusCode != c.status || g.code != c.code || g.text != c.text {
					t.Errorf("%v %s %s %v", g.Response, g.code, g.text, err)
				}
			default:
				g := q.wants(t, s, c.status, c.code, c.text)
				if want := "OTS " + q.id + ":" + handMAC(q.secret, signedText(lower(g.Header))+q.path); g.Header.Get("Authorization") != want {
					t.Errorf("signed %q, want %q", g.Header.Get("Authorization"), want)
				}
			}
		})
	}
	if len(s.Tables("")) != 0 {
		t.Error("something was stored")
	}
	q := s.ask("DescribeTable", nil)
	q.id, q.secret, q.header["x-ots-instancename"] = "LTAI-other", "other", "other"
	q.wants(t, s, 400, "OTSParameterInvalid", "Failed to parse the ProtoBuf message.") // it may use that one
	if err := s.SetStopped("still", false); err != nil {
		t.Fatal(err)
	}
	q = s.ask("ListTable", nil)
	q.header["x-ots-instancename"] = "still"
	q.wants(t, s, 200, "", "")
}

// TestInstancesShareNothing: the header alone tells them apart.
func TestInstancesShareNothing(t *testing.T) {
	s := frontServer(t, Options{Instances: []Instance{{Name: "lab"}, {Name: "other"}}})
	q := s.ask("CreateTable", createRequest("orders"))
	q.wants(t, s, 200, "", "")
	q = s.ask("DescribeTable", describeRequest("orders"))
	q.wants(t, s, 200, "", "")
	q.header["x-ots-instancename"] = "other"
	q.wants(t, s, 404, "OTSObjectNotExist", "Requested table does not exist.")
}

// TestDatesAreReadLeniently: as clients write them, and no others.
func TestDatesAreReadLeniently(t *testing.T) {
	now := time.Date(2026, 11, 23, 2, 39, 53, 112_320_000, time.UTC)
	for text, ok := range map[string]bool{
		"2026-11-23T02:39:53.11232Z":         true, // Go
		"2026-11-23T02:39:53.112Z":           true, // Java, Node
		"2026-11-23T02:39:53.000Z":           true, // Python
		"2026-11-23T02:39:53Z":               true,
		"2026-11-23T10:39:53+08:00":          true,
		"2026-11-23T02:39:53.1123200000001Z": true,
		"Mon, 23 Nov 2026 02:39:53 GMT":      true,
		"Mon, 23 Nov 2026 02:39:53":          false,
		"2026-11-23 02:39:53":                false,
		"2026-13-23T02:39:53Z":               false,
		"1795401593":                         false,
		"":                                   false,
	} {
		at, got := parseDate(text)
		if got != ok || got && now.Sub(at).Abs() > time.Second {
			t.Errorf("%q: %v %v", text, at, got)
		}
	}
}

// TestSDKSignsInEveryWay: its usual signature, V4, and temporary credentials.
func TestSDKSignsInEveryWay(t *testing.T) {
	temporary := Key{ID: "STS.one", Secret: "one", Token: "token-token", Expires: time.Now().Add(time.Hour)}
	over := Key{ID: "STS.two", Secret: "two", Token: "token-token", Expires: time.Now().Add(-time.Second)}
	main := Key{ID: "LTAI-main", Secret: "main"}
	s := frontServer(t, Options{Keys: []Key{main, temporary, over}, Region: "cn-hangzhou"})
	without := temporary
	without.Token = ""
	v4 := func(region string) common.CredentialsProvider {
		return fixed{common.CreateByCredentials(&common.DefaultCredentials{AccessKeyID: main.ID, AccessKeySecret: main.Secret}, region)}
	}
	for name, c := range map[string]struct {
		p    common.CredentialsProvider
		text string // of the refusal
	}{
		"usual":       {provider(main), ""},
		"v4":          {v4("cn-hangzhou"), ""},
		"v4 region":   {v4("cn-shanghai"), "Signature mismatch."},
		"sts":         {provider(temporary), ""},
		"sts without": {provider(without), "The security token is invalid."},
		"sts over":    {provider(over), "The security token has expired."},
	} {
		_, err := sdkFor(t, s.Endpoint(), c.p, nil, "").ListTable()
		var refused *sdk.OtsError
		if c.text == "" && err != nil || c.text != "" && (!errors.As(err, &refused) || refused.Message != c.text || refused.HttpStatusCode != 403) {
			t.Errorf("%s: %v, want %q", name, err, c.text)
		}
	}
	// Python signs empty headers, Go does not: both are right.
	q := s.ask("ListTable", nil)
	q.header["x-ots-request-tag"] = ""
	q.wants(t, s, 200, "", "")
	r, err := s.ask("ListTable", nil).request(t.Context(), s.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("x-ots-request-tag", "")
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	a, err := tr.RoundTrip(r)
	if err != nil || a.StatusCode != 200 {
		t.Fatalf("%v %v", a, err)
	}
	a.Body.Close()
}

// TestV4AnswersAreSignedByTheDerivedKey, as the SDK for Python checks them.
func TestV4AnswersAreSignedByTheDerivedKey(t *testing.T) {
	s := frontServer(t, Options{})
	k := s.Key()
	derived := common.FinalSigningKeyString(k.Secret, "20261123", "cn-hangzhou", "ots", "HmacSHA256")
	if derived != signingKey(k.Secret, "20261123", "cn-hangzhou") {
		t.Fatal("another key is derived than by the SDK")
	}
	h := http.Header{}
	for n, v := range map[string]string{
		"x-ots-date": time.Now().UTC().Format(time.RFC3339), "x-ots-apiversion": "2015-12-31", "x-ots-accesskeyid": k.ID, "x-ots-instancename": "lab",
		"x-ots-contentmd5": "1B2M2Y8AsgTpgAmY7PhCfg==", "x-ots-signdate": "20261123", "x-ots-signregion": "cn-hangzhou",
	} {
		h.Set(n, v)
	}
	signature, err := sdk.GetSignature("/ListTable", "POST", v4of(k.ID, derived, "20261123", "cn-hangzhou"), h)
	if err != nil {
		t.Fatal(err)
	}
	q := s.ask("ListTable", nil)
	q.header = map[string]string{"x-ots-signature": "-", "x-ots-signaturev4": signature}
	for n := range h {
		q.header[strings.ToLower(n)] = h.Get(n)
	}
	q.secret = derived
	q.wants(t, s, 200, "", "")
	q.header["x-ots-signdate"] = "soon"
	if g, err := q.do(t, s); err != nil || g.text != "Signature mismatch." {
		t.Errorf("%v %v", g, err)
	}
}

type fixed struct{ c common.Credentials }

func (f fixed) GetCredentials() common.Credentials { return f.c }

func v4of(id, key, date, region string) common.Credentials {
	return &common.V4CredentialsSnapshot{AccessKeyID: id, V4SigningAccessKey: key, SigningDate: date, Region: region}
}

// TestProbeIsAnsweredInXML: who knows nothing of the protocol gets what the
// vendor's example with curl shows.
func TestProbeIsAnsweredInXML(t *testing.T) {
	s := frontServer(t, Options{})
	for path, op := range map[string]string{"/": "", "/activate": "activate", "/%3Ca%26b%3E%00": "<a&b>\uFFFD"} {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Endpoint()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		tr := &http.Transport{}
		defer tr.CloseIdleConnections()
		a, err := tr.RoundTrip(q)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(a.Body)
		a.Body.Close()
		var e struct{ Code, Message, RequestID, HostID string }
		if err != nil || xml.Unmarshal(b, &e) != nil || a.StatusCode != 400 || e.Code != "OTSUnsupportOperation" ||
			e.Message != "Unsupported operation: '"+op+"'." || e.RequestID != a.Header.Get("x-ots-requestid") || e.RequestID == "" {
			t.Errorf("%s: %d %s %v", path, a.StatusCode, b, err)
		}
		if host, err := base64.StdEncoding.DecodeString(e.HostID); err != nil || string(host) != "127.0.0.1" {
			t.Errorf("host %q", host)
		}
	}
	if seen := s.Requests(Filter{Operation: "GET"}); len(seen) != 1 || seen[0].Status != 400 {
		t.Errorf("%+v", seen)
	}
	q := s.ask("ListTable", nil)
	q.method = http.MethodHead
	q.wants(t, s, 405, "", "")
}

// TestUnsupportedOperationsAreRefusedClearly, and none of them is done.
func TestUnsupportedOperationsAreRefusedClearly(t *testing.T) {
	s := frontServer(t, Options{})
	for _, op := range Unsupported {
		if operations[op] != nil {
			t.Errorf("%s is done", op)
		}
		s.ask(op, nil).wants(t, s, 400, "OTSUnsupportOperation", "Unsupported operation: '"+op+"'.")
	}
	q := s.ask("ListSearchIndex", nil)
	if g := q.wants(t, s, 200, "", ""); len(g.body) != 0 {
		t.Errorf("%x", g.body)
	}
}

// TestDeflatedRequests, as the SDK for Java can be told to send.
func TestDeflatedRequests(t *testing.T) {
	s := frontServer(t, Options{})
	plain, err := proto.Marshal(protoadapt.MessageV2Of(createRequest("orders")))
	if err != nil {
		t.Fatal(err)
	}
	deflate := func(b []byte) []byte {
		var out bytes.Buffer
		z := zlib.NewWriter(&out)
		_, _ = z.Write(b)
		_ = z.Close()
		return out.Bytes()
	}
	size := strconv.Itoa(len(plain))
	for _, c := range []struct {
		kind, size string
		body       []byte
		status     int
		code, text string
	}{
		{"gzip", size, plain, 400, "OTSParameterInvalid", "Unsupported compress type: gzip."},
		{"deflate", "", plain, 400, "OTSParameterInvalid", "Invalid compress size: ."},
		{"deflate", "-1", plain, 400, "OTSParameterInvalid", "Invalid compress size: -1."},
		{"deflate", "9999999", plain, 413, "OTSRequestBodyTooLarge", "The size of POST data is too large."},
		{"deflate", size, plain, 400, "OTSParameterInvalid", "Failed to uncompress the request body."},
		{"deflate", "5", deflate(plain), 400, "OTSParameterInvalid", "Failed to uncompress the request body."},
		{"deflate", "100", deflate(make([]byte, maxBody*10)), 400, "OTSParameterInvalid", "Failed to uncompress the request body."},
		{"deflate", size, deflate(plain)[:20], 400, "OTSParameterInvalid", "Failed to uncompress the request body."},
		{"Deflate", size, deflate(plain), 200, "", ""},
	} {
		q := s.ask("CreateTable", nil)
		q.body, q.header["x-ots-request-compress-type"], q.header["x-ots-response-compress-type"] = c.body, c.kind, "deflate"
		if q.header["x-ots-request-compress-size"] = c.size; c.size == "" {
			q.header["x-ots-request-compress-size"] = "-"
		}
		g := q.wants(t, s, c.status, c.code, c.text)
		if v := g.Header.Get("x-ots-response-compress-type"); v != "" {
			t.Errorf("the answer is %s", v)
		}
	}
	if got := s.Tables(""); len(got) != 1 || got[0].Name != "orders" {
		t.Errorf("%+v", got)
	}
}

// TestTLS: a certificate for the names that were asked for, and no others, by
// an issuer of this run.
func TestTLS(t *testing.T) {
	s := frontServer(t, Options{TLSNames: []string{"lab.cn-hangzhou.ots.aliyuncs.com", "*.back.test"}})
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.CA()) {
		t.Fatal("no certificate")
	}
	for name, ok := range map[string]bool{
		"lab.cn-hangzhou.ots.aliyuncs.com": true, "a.back.test": true, "": true, "localhost": true, "other.cn-hangzhou.ots.aliyuncs.com": false,
	} {
		_, err := sdkFor(t, s.TLSEndpoint(), provider(s.Key()), roots, name).ListTable()
		var wrong x509.HostnameError
		if ok && err != nil || !ok && !errors.As(err, &wrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if seen := s.Requests(Filter{}); len(seen) != 4 || !seen[0].TLS {
		t.Errorf("%+v", seen)
	}
	if _, err := New(Options{TLSNames: []string{"not a name"}}); err == nil {
		t.Error("a certificate for no name")
	}
	plain := frontServer(t, Options{})
	if plain.TLSEndpoint() != "" || plain.CA() != nil {
		t.Error("TLS that nobody asked for")
	}
}

// TestOptionsThatMakeNoSense are refused with what is wrong.
func TestOptionsThatMakeNoSense(t *testing.T) {
	for want, o := range map[string]Options{
		`instance "ab": 3 to 16`:         {Instances: []Instance{{Name: "ab"}}},
		`instance "1ab": 3 to 16`:        {Instances: []Instance{{Name: "1ab"}}},
		`instance "ab/c": 3 to 16`:       {Instances: []Instance{{Name: "ab/c"}}},
		`instance "abc-": 3 to 16`:       {Instances: []Instance{{Name: "abc-"}}},
		"instance lab is given twice":    {Instances: []Instance{{Name: "lab"}, {Name: "lab"}}},
		"a key needs an ID and a secret": {Keys: []Key{{ID: "LTAI"}}},
		"listen tcp":                     {Listen: "127.0.0.1:99999"},
		"name \"a b\"":                   {TLSNames: []string{"a b"}},
	} {
		if s, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
			if s != nil {
				_ = s.Close()
			}
		}
	}
}

// dial opens a connection to a server and gives it a minute.
func dial(t *testing.T, s *Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// TestSlowClients: one that takes too long for its head is cut off, one that
// takes too long for its body is told, and one that says nothing at all is
// not waited for without end.
func TestSlowClients(t *testing.T) {
	s := frontServer(t, Options{HeaderTimeout: 100 * time.Millisecond})
	c := dial(t, s)
	fmt.Fprintf(c, "POST /ListTable HTTP/1.1\r\nHost: a\r\n")
	// It is reset where its head came too late as well.
	if b, err := io.ReadAll(c); err != nil && !errors.Is(err, syscall.ECONNRESET) || len(b) != 0 && !bytes.Contains(b, []byte("408")) {
		t.Errorf("slow head: %q %v", b, err)
	}
	if b, err := io.ReadAll(dial(t, s)); err != nil || len(b) != 0 && !bytes.Contains(b, []byte("408")) {
		t.Errorf("nothing: %q %v", b, err)
	}
	s = frontServer(t, Options{BodyTimeout: 100 * time.Millisecond})
	for _, head := range []string{"Content-Length: 10\r\n", "Transfer-Encoding: chunked\r\n"} {
		c = dial(t, s)
		fmt.Fprintf(c, "POST /ListTable HTTP/1.1\r\nHost: a\r\nx-ots-date: x\r\n%s\r\n1", head)
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r.Body)
		var e otsprotocol.Error
		if err != nil || r.StatusCode != 408 || proto.Unmarshal(b, protoadapt.MessageV2Of(&e)) != nil || e.GetCode() != "OTSRequestTimeout" || !r.Close {
			t.Errorf("slow body: %v %q %v", r, b, err)
		}
	}
}

// TestBodiesThatNobodyWants: what is refused before its body is read is answered
// though the body never comes, and the connection is not kept for it.
func TestBodiesThatNobodyWants(t *testing.T) {
	s := frontServer(t, Options{BodyTimeout: 100 * time.Millisecond})
	for _, c := range []struct {
		address, line string
		status        int
	}{
		{s.Address(), "POST /Search", 400},
		{s.Address(), "PUT /ListTable", 405},
		{s.Address(), "GET /", 400},
		{strings.TrimPrefix(s.Manage(), "http://"), "POST /kill", 401},
		{strings.TrimPrefix(s.Manage(), "http://"), "POST /nothing", 401},
		{strings.TrimPrefix(s.Control(), "http://"), "POST /nothing", 400},
	} {
		for _, head := range []string{"Content-Length: 10\r\n", "Transfer-Encoding: chunked\r\n"} {
			conn, err := net.Dial("tcp", c.address)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: a\r\n%s\r\n1", c.line, head)
			r, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || r.StatusCode != c.status || !r.Close {
				t.Errorf("%s %q: %v %v", c.line, head, r, err)
			}
			_ = conn.Close()
		}
	}
}

// TestClientsThatDoNotRead: one that asks and asks and never takes an answer is
// not waited for without end, in the clear and over TLS.
func TestClientsThatDoNotRead(t *testing.T) {
	s := frontServer(t, Options{AnswerTimeout: 100 * time.Millisecond, TLSNames: []string{"a.test"}})
	s.ask("CreateTable", createRequest("orders")).wants(t, s, 200, "", "")
	key := []plainbuffer.Cell{{Name: "id", Value: &plainbuffer.Value{Kind: plainbuffer.String, Bytes: "k"}}}
	large := plainbuffer.Value{Kind: plainbuffer.Blob, Bytes: strings.Repeat("x", maxValue)}
	s.ask("PutRow", &otsprotocol.PutRowRequest{
		TableName: proto.String("orders"), Condition: &otsprotocol.Condition{RowExistence: otsprotocol.RowExistenceExpectation_IGNORE.Enum()},
		Row: plainbuffer.Append(nil, plainbuffer.Row{Key: key, Columns: []plainbuffer.Cell{{Name: "v", Value: &large}}}),
	}).wants(t, s, 200, "", "")
	get := s.ask("GetRow", &otsprotocol.GetRowRequest{
		TableName: proto.String("orders"), MaxVersions: proto.Int32(1), PrimaryKey: plainbuffer.Append(nil, plainbuffer.Row{Key: key}),
	})
	for name, dial := range map[string]func() (net.Conn, error){
		"in the clear": func() (net.Conn, error) { return net.Dial("tcp", s.Address()) },
		"over TLS": func() (net.Conn, error) {
			return tls.Dial("tcp", strings.TrimPrefix(s.TLSEndpoint(), "https://"), &tls.Config{InsecureSkipVerify: true})
		},
	} {
		conn, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		for err == nil {
			var r *http.Request
			if r, err = get.request(t.Context(), s.Endpoint()); err == nil {
				err = r.Write(conn)
			}
		}
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("%s: it is not cut off: %v", name, err)
		}
		_ = conn.Close()
	}
	get.wants(t, s, 200, "", "") // one that reads is well
}

// TestHugeAndBrokenBodies: more than 5 MB is refused, whether it was announced
// or not, and before it was read where it was; a body that ends early is
// nobody's request.
func TestHugeAndBrokenBodies(t *testing.T) {
	s := frontServer(t, Options{})
	c := dial(t, s)
	fmt.Fprintf(c, "POST /ListTable HTTP/1.1\r\nHost: a\r\nx-ots-date: x\r\nContent-Length: 99999999999\r\n\r\n")
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || r.StatusCode != 413 || !r.Close {
		t.Errorf("announced: %v %v", r, err)
	}
	c = dial(t, s)
	fmt.Fprintf(c, "POST /ListTable HTTP/1.1\r\nHost: a\r\nx-ots-date: x\r\nTransfer-Encoding: chunked\r\n\r\n600000\r\n")
	go func() {
		_, _ = c.Write(make([]byte, 0x600000))
	}()
	if r, err = http.ReadResponse(bufio.NewReader(c), nil); err != nil || r.StatusCode != 413 {
		t.Errorf("not announced: %v %v", r, err)
	}
	c = dial(t, s)
	fmt.Fprintf(c, "POST /ListTable HTTP/1.1\r\nHost: a\r\nx-ots-date: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
	if b, err := io.ReadAll(c); err != nil || len(b) != 0 {
		t.Errorf("broken: %q %v", b, err)
	}
	c = dial(t, s)
	fmt.Fprintf(c, "POST /ListTable HTTP/1.1\r\nHost: a\r\nx-ots-big: %s\r\n\r\n", strings.Repeat("x", 200<<10))
	if r, err = http.ReadResponse(bufio.NewReader(c), nil); err != nil || r.StatusCode != 431 {
		t.Errorf("huge head: %v %v", r, err)
	}
	q := s.ask("CreateTable", nil)
	q.body = make([]byte, maxBody) // as much as is allowed, of nonsense
	q.wants(t, s, 400, "OTSParameterInvalid", "Failed to parse the ProtoBuf message.")
}

// TestConnectionsAreKept: errors do not cost a client its connection.
func TestConnectionsAreKept(t *testing.T) {
	s := frontServer(t, Options{})
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	for _, spoil := range []func(*ask){
		func(*ask) {},
		func(q *ask) { q.path = "/Search" },
		func(q *ask) { q.header["x-ots-signature"] = "x" },
		func(q *ask) { q.method = "PUT" },
		func(q *ask) { q.body = []byte("nonsense") },
		func(*ask) {},
	} {
		q := s.ask("ListTable", nil)
		q.client = &http.Client{Transport: tr}
		spoil(&q)
		if _, err := q.do(t, s); err != nil {
			t.Error(err)
		}
	}
	seen := s.Requests(Filter{})
	for _, q := range seen {
		if q.Client != seen[0].Client {
			t.Errorf("%s over another connection: %+v", q.Operation, seen)
		}
	}
}

// TestPanics: a handler that dies, or answers what cannot be sent, costs one
// request, is told as the service tells it, and is remembered.
func TestPanics(t *testing.T) {
	operations["Panic"] = func(*Server, *call) (protoadapt.MessageV1, *refusal) { panic("of a handler") }
	operations["Forgets"] = func(*Server, *call) (protoadapt.MessageV1, *refusal) {
		return &otsprotocol.DescribeTableResponse{}, nil
	}
	defer delete(operations, "Panic")
	defer delete(operations, "Forgets")
	s := frontServer(t, Options{})
	for op, why := range map[string]string{"Panic": "of a handler", "Forgets": "required"} {
		g := s.ask(op, nil).wants(t, s, 500, "OTSInternalServerError", "Internal server error.")
		seen := s.Requests(Filter{Operation: op})
		if len(seen) != 1 || !strings.Contains(seen[0].Panic, why) || seen[0].RequestID != g.Header.Get("x-ots-requestid") {
			t.Errorf("%+v", seen)
		}
		if bytes.Contains(g.body, []byte(".go")) || bytes.Contains(g.body, []byte(why)) {
			t.Errorf("told to the client: %q", g.body)
		}
	}
	s.ask("ListTable", nil).wants(t, s, 200, "", "")
}

// TestRequestIDs are unique, and tell the time.
func TestRequestIDs(t *testing.T) {
	now := time.UnixMicro(0x0054ec5822c8964)
	if id := requestID(now); !strings.HasPrefix(id, "00054ec5-822c-8964-") || len(id) != 36 || id == requestID(now) {
		t.Error(id)
	}
}

// TestTablesOfRequests: for each operation, and for nonsense.
func TestTablesOfRequests(t *testing.T) {
	name := proto.String("orders")
	get := &otsprotocol.BatchGetRowRequest{}
	write := &otsprotocol.BatchWriteRowRequest{}
	for _, n := range []string{"orders", "lines"} {
		get.Tables = append(get.Tables, &otsprotocol.TableInBatchGetRowRequest{TableName: proto.String(n), PrimaryKey: [][]byte{{1}}})
		write.Tables = append(write.Tables, &otsprotocol.TableInBatchWriteRowRequest{TableName: proto.String(n)})
	}
	for _, c := range []struct {
		op   string
		m    protoadapt.MessageV1
		want string
	}{
		{"ListTable", nil, ""},
		{"CreateTable", createRequest("orders"), "orders"},
		{"DescribeTable", describeRequest("orders"), "orders"},
		{"PutRow", &otsprotocol.PutRowRequest{TableName: name, Row: []byte{1}, Condition: &otsprotocol.Condition{RowExistence: otsprotocol.RowExistenceExpectation_IGNORE.Enum()}}, "orders"},
		{"BatchGetRow", get, "orders lines"},
		{"BatchWriteRow", write, "orders lines"},
		{"DescribeStream", &otsprotocol.DescribeStreamRequest{StreamId: proto.String("my_orders_1700000000000000")}, "my_orders"},
		{"GetShardIterator", &otsprotocol.GetShardIteratorRequest{StreamId: proto.String("orders_1"), ShardId: proto.String("x")}, "orders"},
		{"GetStreamRecord", &otsprotocol.GetStreamRecordRequest{ShardIterator: proto.String(cursor{stream: "orders_1"}.String())}, "orders"},
		{"GetStreamRecord", &otsprotocol.GetStreamRecordRequest{ShardIterator: proto.String("x"), TableName: name}, ""},
		{"UpdateGlobalTable", &otsprotocol.UpdateGlobalTableRequest{GlobalTableId: proto.String("gt-1"), GlobalTableName: name}, "orders"},
		{"CommitTransaction", &otsprotocol.CommitTransactionRequest{TransactionId: proto.String("x")}, ""},
	} {
		var b []byte
		if c.m != nil {
			var err error
			if b, err = proto.Marshal(protoadapt.MessageV2Of(c.m)); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Join(tablesOf(c.op, b), " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.op, got, c.want)
		}
	}
	if got := tablesOf("DescribeTable", []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1}); got != nil {
		t.Errorf("%q", got)
	}
}
