package alicloud

import (
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	sdkerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/alidns"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/pvtz"
)

// The client of these tests is the vendor's own SDK for Go, as it comes.

// start is a server with the zone example.com in it.
func start(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if _, err := s.AddZone(Zone{Name: "example.com"}); err != nil {
		t.Fatal(err)
	}
	return s
}

// sdkConfig is a configuration whose idle connections end with the test.
func sdkConfig(t testing.TB) *sdk.Config {
	tr := &http.Transport{Proxy: nil, DialContext: (&net.Dialer{}).DialContext}
	t.Cleanup(tr.CloseIdleConnections)
	c := sdk.NewConfig().WithTimeout(10 * time.Second)
	c.Transport = roundTripper{tr}
	return c
}

// roundTripper hides the transport: the SDK changes one that it knows.
type roundTripper struct{ http.RoundTripper }

func sdkClient(t testing.TB, s *Server, c auth.Credential) *alidns.Client {
	t.Helper()
	if c == nil {
		c = credentials.NewAccessKeyCredential(s.Key().ID, s.Key().Secret)
	}
	client, err := alidns.NewClientWithOptions("cn-hangzhou", sdkConfig(t), c)
	if err != nil {
		t.Fatal(err)
	}
	client.Domain = s.Endpoint()
	return client
}

func seed(t testing.TB, s *Server, r Record) Record {
	t.Helper()
	r, err := s.AddRecord("example.com", r)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func update(r Record, value string, ttl int) *alidns.UpdateDomainRecordRequest {
	q := alidns.CreateUpdateDomainRecordRequest()
	q.RecordId, q.RR, q.Type, q.Value = strconv.FormatInt(r.ID, 10), r.RR, r.Type, value
	q.TTL, q.Line = requests.NewInteger(ttl), r.Line
	return q
}

// refused is the error of the server, whose code and status are wanted.
func refused(t testing.TB, err error, status int, code string) *sdkerrors.ServerError {
	t.Helper()
	var e *sdkerrors.ServerError
	if !errors.As(err, &e) {
		t.Fatalf("%v, want %d %s", err, status, code)
	}
	if e.HttpStatus() != status || e.ErrorCode() != code {
		t.Fatalf("%d %s %s, want %d %s", e.HttpStatus(), e.ErrorCode(), e.Message(), status, code)
	}
	return e
}

func TestGoSDKReadsAndWrites(t *testing.T) {
	s := start(t, Options{AnyRemark: true})
	old := seed(t, s, Record{RR: "orders", Type: "CNAME", Value: "a.back.test.", TTL: 60, Line: "telecom", Remark: "v=1 term=1"})
	client := sdkClient(t, s, nil)

	list := alidns.CreateDescribeDomainRecordsRequest()
	list.DomainName, list.RRKeyWord, list.PageSize = "example.com", "DERS", requests.NewInteger(500)
	got, err := client.DescribeDomainRecords(list)
	if err != nil {
		t.Fatal(err)
	}
	want := alidns.Record{
		RecordId: strconv.FormatInt(old.ID, 10), DomainName: "example.com", RR: "orders", Type: "CNAME", Value: "a.back.test",
		TTL: 60, Line: "telecom", Status: "ENABLE", Weight: 1, Remark: "v=1 term=1",
	}
	if len(got.DomainRecords.Record) != 1 || got.DomainRecords.Record[0] != want || got.TotalCount != 1 || got.PageSize != 500 {
		t.Fatalf("%+v", got)
	}

	// What the signature has to bear: star, tilde, plus, blank, umlaut.
	remark := alidns.CreateUpdateDomainRecordRemarkRequest()
	remark.RecordId, remark.Remark = want.RecordId, "v=1 *~+&ä/%"
	if _, err := client.UpdateDomainRecordRemark(remark); err != nil {
		t.Fatal(err)
	}
	done, err := client.UpdateDomainRecord(update(old, "b.back.test", 30))
	if err != nil || done.RecordId != want.RecordId {
		t.Fatal(done, err)
	}
	now, ok := s.Record("example.com", "Orders", "telecom")
	if !ok || now.Value != "b.back.test" || now.TTL != 30 || now.Remark != "v=1 *~+&ä/%" || now.ID != old.ID {
		t.Fatalf("%+v", now)
	}
	_, err = client.UpdateDomainRecord(update(old, "b.back.test", 30))
	refused(t, err, 400, "DomainRecordDuplicate")

	info := alidns.CreateDescribeDomainInfoRequest()
	info.DomainName, info.NeedDetailAttributes = "example.com", requests.NewBoolean(true)
	i, err := client.DescribeDomainInfo(info)
	if err != nil || i.MinTtl != 1 || len(i.RecordLines.RecordLine) < 19 || i.VersionCode != Ultimate.Code || len(i.DnsServers.DnsServer) == 0 {
		t.Fatalf("%+v %v", i, err)
	}
	gone := update(Record{ID: 7, RR: "x", Type: "A", Line: "default"}, "192.0.2.1", 600)
	_, err = client.UpdateDomainRecord(gone)
	refused(t, err, 400, "DomainRecordNotBelongToUser")

	for _, q := range s.Requests() {
		if q.Signature != signRPC || q.Method != "POST" || q.In != "query" || q.Params["Signature"]+q.Params["AccessKeyId"] != "" || q.KeyID != s.Key().ID {
			t.Errorf("%+v", q)
		}
	}
	if n := len(s.Requests("UpdateDomainRecord")); n != 3 {
		t.Errorf("%d updates", n)
	}
}

func TestGoSDKWrongKeys(t *testing.T) {
	s := start(t, Options{})
	info := alidns.CreateDescribeDomainInfoRequest()
	info.DomainName = "example.com"
	_, err := sdkClient(t, s, credentials.NewAccessKeyCredential("LTAInobody", "x")).DescribeDomainInfo(info)
	e := refused(t, err, 404, "InvalidAccessKeyId.NotFound")
	if !strings.Contains(e.Recommend(), "q=InvalidAccessKeyId.NotFound&product=Gateway") || e.RequestId() == "" {
		t.Errorf("%q %q", e.Recommend(), e.RequestId())
	}
	_, err = sdkClient(t, s, credentials.NewAccessKeyCredential(s.Key().ID, "wrong")).DescribeDomainInfo(info)
	e = refused(t, err, 400, "SignatureDoesNotMatch")
	// The SDK says so when the server signed exactly what it had signed.
	if !strings.Contains(e.Recommend(), "InvalidAccessKeySecret") {
		t.Errorf("recommend %q", e.Recommend())
	}
	s.SetClockOffset(16 * time.Minute)
	_, err = sdkClient(t, s, nil).DescribeDomainInfo(info)
	refused(t, err, 400, "InvalidTimeStamp.Expired")
	s.SetClockOffset(14 * time.Minute)
	if _, err = sdkClient(t, s, nil).DescribeDomainInfo(info); err != nil {
		t.Error(err)
	}
}

func TestFaultsComeByCount(t *testing.T) {
	s := start(t, Options{})
	r := seed(t, s, Record{RR: "orders", Type: "CNAME", Value: "a.back.test", TTL: 60})
	client := sdkClient(t, s, nil)

	s.Fail("UpdateDomainRecord", Fault{Kind: Unavailable}, 2)
	for range 2 {
		_, err := client.UpdateDomainRecord(update(r, "b.back.test", 60))
		refused(t, err, 503, "ServiceUnavailable")
	}
	s.Fail("UpdateDomainRecord", Fault{Kind: Reset, After: true, RR: "ORDERS"}, 1)
	if _, err := client.UpdateDomainRecord(update(r, "b.back.test", 60)); err == nil {
		t.Fatal("answered")
	}
	if now, _ := s.Record("example.com", "orders", ""); now.Value != "b.back.test" {
		t.Fatalf("%+v", now)
	}
	if f := s.Faults(); len(f) != 0 {
		t.Errorf("%+v", f)
	}
}

func pvtzClient(t testing.TB, s *Server) *pvtz.Client {
	t.Helper()
	client, err := pvtz.NewClientWithOptions("cn-hangzhou", sdkConfig(t), credentials.NewAccessKeyCredential(s.Key().ID, s.Key().Secret))
	if err != nil {
		t.Fatal(err)
	}
	client.Domain = s.Endpoint()
	return client
}
