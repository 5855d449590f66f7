package alicloud

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/alidns"
)

// raw updates a record by hand, over a connection of its own.
func raw(t *testing.T, s *Server, r Record, value string) (*http.Response, []byte, error) {
	t.Helper()
	params := rpc(s.Key(), "UpdateDomainRecord", map[string]string{
		"RecordId": strconv.FormatInt(r.ID, 10), "RR": r.RR, "Type": r.Type, "Value": value, "Line": r.Line, "TTL": "60",
	})
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Endpoint()+"/?"+signRequest(s.Key(), http.MethodGet, params).Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	a, err := tr.RoundTrip(q)
	if err != nil {
		return nil, nil, err
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	return a, b, err
}

// TestFaultsOfAnswers: what a client gets, and whether the write was done, for
// each fault, before and after.
func TestFaultsOfAnswers(t *testing.T) {
	s := start(t, Options{})
	r := seed(t, s, Record{RR: "orders", Type: "CNAME", Value: "v0.back.test", TTL: 60})
	n := 0
	for _, c := range []struct {
		name   string
		fault  Fault
		done   bool
		status int
		code   string // or a piece of the body
		err    error
	}{
		{"500", Fault{Kind: InternalError}, false, 500, "InternalError", nil},
		{"500 after", Fault{Kind: InternalError, After: true}, true, 500, "InternalError", nil},
		{"503", Fault{Kind: Unavailable}, false, 503, "ServiceUnavailable", nil},
		{"throttled", Fault{Kind: Throttled}, false, 400, "Throttling.User", nil},
		{"not finished", Fault{Kind: NotFinished}, false, 400, "LastOperationNotFinished", nil},
		{"refused", Fault{Kind: Refused, Status: 403, Code: "Forbidden.RiskControl", Message: "no"}, false, 403, "Forbidden.RiskControl", nil},
		{"reset", Fault{Kind: Reset}, false, 0, "", syscall.ECONNRESET},
		{"reset after", Fault{Kind: Reset, After: true}, true, 0, "", syscall.ECONNRESET},
		{"page", Fault{Kind: HTML}, false, 502, "<h1>502", nil},
		{"page after", Fault{Kind: HTML, After: true}, true, 502, "<h1>502", nil},
		{"malformed", Fault{Kind: Malformed}, true, 200, `{"Re`, nil},
		{"short", Fault{Kind: Short}, true, 200, `{"Re`, io.ErrUnexpectedEOF},
		{"empty", Fault{Kind: Empty}, true, 200, "", nil},
		{"slow", Fault{Kind: SlowBody, Delay: time.Microsecond}, true, 200, `"RecordId"`, nil},
		{"late", Fault{Kind: Late, Delay: time.Millisecond}, true, 200, `"RecordId"`, nil},
		{"huge", Fault{Kind: HugeBody}, true, 200, "xxxxxxxx", nil},
		{"not asked", Fault{Kind: NotAsked}, false, 200, `"RecordId"`, nil},
	} {
		n++
		value := "v" + strconv.Itoa(n) + ".back.test"
		s.Fail("UpdateDomainRecord", c.fault, 1)
		a, body, err := raw(t, s, r, value)
		if !errors.Is(err, c.err) || err != nil && c.err == nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
		if a != nil && (a.StatusCode != c.status || !strings.Contains(string(body), c.code)) {
			t.Errorf("%s: %d %.200s", c.name, a.StatusCode, body)
		}
		if a == nil && c.status != 0 {
			t.Errorf("%s: no answer", c.name)
		}
		var v any
		broken := json.Unmarshal(body, &v) != nil
		if want := c.fault.Kind == Malformed || c.fault.Kind == Short || c.fault.Kind == Empty || c.fault.Kind == HTML || a == nil; broken != want {
			t.Errorf("%s: broken %v: %.200s", c.name, broken, body)
		}
		if c.fault.Kind == HugeBody && len(body) < hugeBody {
			t.Errorf("%s: %d bytes", c.name, len(body))
		}
		if now, _ := s.Record("example.com", "orders", ""); (now.Value == value) != c.done {
			t.Errorf("%s: done %v, want %v", c.name, now.Value == value, c.done)
		}
		q := s.Requests()
		if last := q[len(q)-1]; last.Fault != c.fault.Kind || last.Status != c.status {
			t.Errorf("%s: recorded as %q, status %d", c.name, last.Fault, last.Status)
		}
		// The next one is well.
		if a, body, err := raw(t, s, r, value+".x"); err != nil || a.StatusCode != 200 {
			t.Errorf("%s: afterwards %v %s", c.name, err, body)
		}
	}
}

// TestFaultHang: the client gives up, and the server lets go of the call; and
// Close ends the calls that still hang.
func TestFaultHang(t *testing.T) {
	s := start(t, Options{})
	r := seed(t, s, Record{RR: "orders", Type: "CNAME", Value: "a.back.test", TTL: 60})
	s.Fail("", Fault{Kind: Hang, After: true}, 2)
	hang := func(ctx context.Context) error {
		params := rpc(s.Key(), "UpdateDomainRecord", map[string]string{
			"RecordId": strconv.FormatInt(r.ID, 10), "RR": "orders", "Type": "CNAME", "Value": "b.back.test", "TTL": "60",
		})
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Endpoint()+"/?"+signRequest(s.Key(), http.MethodGet, params).Encode(), nil)
		if err != nil {
			t.Fatal(err)
		}
		tr := &http.Transport{}
		defer tr.CloseIdleConnections()
		_, err = tr.RoundTrip(q)
		return err
	}
	hangs := func(n int) { // a call is counted once it hangs
		for deadline := time.Now().Add(30 * time.Second); len(s.Requests()) < n; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d calls hang, not %d", len(s.Requests()), n)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- hang(ctx) }()
	hangs(1)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if now, _ := s.Record("example.com", "orders", ""); now.Value != "b.back.test" {
		t.Errorf("%+v", now)
	}
	go func() { ended <- hang(context.Background()) }()
	hangs(2)
	s.Close()
	if err := <-ended; err == nil {
		t.Error("answered")
	}
}

func TestFaultsMatchAndSkip(t *testing.T) {
	s := start(t, Options{})
	a := seed(t, s, Record{RR: "orders", Type: "CNAME", Value: "a.back.test", TTL: 60})
	b := seed(t, s, Record{RR: "orders", Type: "CNAME", Value: "a.back.test", TTL: 60, Line: "telecom"})
	n := 0
	try := func(r Record) bool {
		n++
		_, body, err := raw(t, s, r, "v"+strconv.Itoa(n)+".back.test")
		return err == nil && !strings.Contains(string(body), "InternalError")
	}
	for name, c := range map[string]struct {
		fault Fault
		hits  []bool // whether a, b, a, b fail
	}{
		"all":       {Fault{Kind: InternalError}, []bool{true, true, false, false}},
		"a line":    {Fault{Kind: InternalError, Line: "telecom"}, []bool{false, true, false, true}},
		"a record":  {Fault{Kind: InternalError, RecordID: a.ID}, []bool{true, false, true, false}},
		"a name":    {Fault{Kind: InternalError, RR: "Orders", Zone: "Example.com."}, []bool{true, true, false, false}},
		"elsewhere": {Fault{Kind: InternalError, Zone: "example.org"}, []bool{false, false, false, false}},
		"later":     {Fault{Kind: InternalError, Skip: 1}, []bool{false, true, true, false}},
	} {
		s.Heal()
		s.Fail("UpdateDomainRecord", c.fault, 2)
		for i, r := range []Record{a, b, a, b} {
			if failed := !try(r); failed != c.hits[i] {
				t.Errorf("%s: call %d failed %v", name, i, failed)
			}
		}
	}
	s.Heal()
	forever := s.Fail("", Fault{Kind: InternalError}, -1)
	other := s.Fail("", Fault{Kind: Throttled}, -1)
	for range 3 {
		if try(a) {
			t.Error("well")
		}
	}
	if f := s.Faults(); len(f) != 2 || f[0].Left != -1 {
		t.Errorf("%+v", f)
	}
	s.Heal(forever, other)
	if !try(a) {
		t.Error("not healed")
	}
	for _, bad := range []Fault{{}, {Kind: "x"}, {Kind: Refused}, {Kind: SomebodyElse}, {Kind: Late}, {Kind: Hang, Skip: -1}} {
		if _, err := s.fail("", bad, 1); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	if _, err := s.fail("", Fault{Kind: Hang}, 0); err == nil {
		t.Error("a fault for no call is taken")
	}
}

func listed(t *testing.T, client *alidns.Client, rr string) []alidns.Record {
	t.Helper()
	q := alidns.CreateDescribeDomainRecordsRequest()
	q.DomainName, q.RRKeyWord = "example.com", rr
	a, err := client.DescribeDomainRecords(q)
	if err != nil {
		t.Fatal(err)
	}
	return a.DomainRecords.Record
}

func TestFaultsOfOthers(t *testing.T) {
	s := start(t, Options{})
	client := sdkClient(t, s, nil)
	r := seed(t, s, Record{RR: "orders", Type: "CNAME", Value: "a.back.test", TTL: 60, Remark: "pm 1"})

	// Stale reads, by count and for a time.
	if _, err := client.UpdateDomainRecord(update(r, "b.back.test", 60)); err != nil {
		t.Fatal(err)
	}
	s.Fail("DescribeDomainRecords", Fault{Kind: Stale}, 2)
	for _, want := range []string{"a", "a", "b"} {
		if got := listed(t, client, "orders")[0].Value; got != want+".back.test" {
			t.Errorf("%s, want %s", got, want)
		}
	}
	s.SetStale(time.Hour)
	if got := listed(t, client, "orders")[0].Value; got != "a.back.test" {
		t.Error(got)
	}
	s.SetStale(0)

	// Somebody else comes first.
	s.Fail("UpdateDomainRecord", Fault{Kind: SomebodyElse, Edit: &Edit{Remark: ptr("mine"), Another: ptr("c.back.test")}}, 1)
	if _, err := client.UpdateDomainRecord(update(r, "d.back.test", 60)); err != nil {
		t.Fatal(err)
	}
	got := listed(t, client, "orders")
	if len(got) != 2 || got[1].Value != "d.back.test" || got[1].Remark != "mine" || got[0].Value != "c.back.test" {
		t.Errorf("%+v", got)
	}
	s.Fail("UpdateDomainRecord", Fault{Kind: SomebodyElse, Edit: &Edit{Locked: ptr(true)}}, 1)
	_, err := client.UpdateDomainRecord(update(r, "e.back.test", 60))
	refused(t, err, 400, "DomainRecordLocked")
	if err := s.Change(r.ID, Edit{Locked: ptr(false), Disabled: ptr(true)}); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, client, "orders"); got[1].Status != "DISABLE" || got[1].Locked {
		t.Errorf("%+v", got)
	}
	s.Fail("UpdateDomainRecord", Fault{Kind: Vanish}, 1)
	_, err = client.UpdateDomainRecord(update(r, "e.back.test", 60))
	refused(t, err, 400, "DomainRecordNotBelongToUser")
	if err := s.Change(r.ID, Edit{Delete: true}); err == nil {
		t.Error("it is still there")
	}
	if err := s.Change(s.Records("example.com")[0].ID, Edit{}); err == nil {
		t.Error("an empty edit")
	}
}

func ptr[T any](v T) *T { return &v }

func TestLooseAnswersAreReadBySDK(t *testing.T) {
	s := start(t, Options{})
	s.SetLoose(true)
	client := sdkClient(t, s, nil)
	seed(t, s, Record{RR: "orders", Type: "CNAME", Value: "a.back.test", TTL: 60})
	q := alidns.CreateDescribeDomainRecordsRequest()
	q.DomainName = "example.com"
	a, err := client.DescribeDomainRecords(q)
	if err != nil || a.TotalCount != 1 || a.DomainRecords.Record[0].TTL != 60 {
		t.Fatalf("%+v %v", a, err)
	}
	if body := a.GetHttpContentString(); !strings.Contains(body, `"TTL":"60"`) || !strings.Contains(body, `"TotalCount":"1"`) {
		t.Error(body)
	}
	info := alidns.CreateDescribeDomainInfoRequest()
	info.DomainName = "example.com"
	i, err := client.DescribeDomainInfo(info)
	if err != nil || !strings.Contains(i.GetHttpContentString(), `"Remark":null`) {
		t.Errorf("%v %s", err, i.GetHttpContentString())
	}
}

// TestQuota: the calls of one second, and one more.
func TestQuota(t *testing.T) {
	s := start(t, Options{Rates: map[string]float64{"DescribeDomains": 3}})
	at := time.Now()
	s.set(func() { s.clock = func() time.Time { return at } }) // however long the calls take
	client := sdkClient(t, s, nil)
	var codes []string
	for range 4 {
		if _, err := client.DescribeDomains(alidns.CreateDescribeDomainsRequest()); err != nil {
			codes = append(codes, refused(t, err, 400, "Throttling.User").ErrorCode())
		}
	}
	if len(codes) != 1 {
		t.Errorf("%d of 4 refused at 3 a second", len(codes))
	}
	s.set(func() { at = at.Add(time.Second / 2) })
	if _, err := client.DescribeDomains(alidns.CreateDescribeDomainsRequest()); err != nil {
		t.Errorf("half a second later: %v", err)
	}
	// Another action has its own.
	if _, err := client.DescribeSupportLines(alidns.CreateDescribeSupportLinesRequest()); err != nil {
		t.Error(err)
	}
	s = start(t, Options{NoQuota: true, Rates: map[string]float64{"DescribeDomains": 1}})
	client = sdkClient(t, s, nil)
	for range 4 {
		if _, err := client.DescribeDomains(alidns.CreateDescribeDomainsRequest()); err != nil {
			t.Error(err)
		}
	}
}

// TestPolicies: a key that may write one record's zone and no other, and one
// that may only read.
func TestPolicies(t *testing.T) {
	narrow := Key{ID: "LTAInarrow", Secret: "s", User: "pointsman", Policy: Allow([]string{"alidns:Describe*", "alidns:UpdateDomainRecord*"}, "example.com")}
	reader := Key{ID: "LTAIreader", Secret: "s", User: "reader", Policy: &Policy{Statement: []Statement{
		{Effect: "Allow", Action: Words{"*"}, Resource: Words{"*"}},
		{Effect: "Deny", Action: Words{"alidns:update*"}, Resource: Words{"acs:alidns:*:*:domain/example.*"}},
	}}}
	s := start(t, Options{Keys: []Key{{ID: "LTAIroot", Secret: "s"}, narrow, reader}})
	if _, err := s.AddZone(Zone{Name: "example.org"}); err != nil {
		t.Fatal(err)
	}
	here := seed(t, s, Record{RR: "orders", Type: "CNAME", Value: "a.back.test", TTL: 60})
	there, err := s.AddRecord("example.org", Record{RR: "orders", Type: "CNAME", Value: "a.back.test", TTL: 60})
	if err != nil {
		t.Fatal(err)
	}
	client := sdkClient(t, s, credentials.NewAccessKeyCredential(narrow.ID, narrow.Secret))
	if _, err := client.UpdateDomainRecord(update(here, "b.back.test", 60)); err != nil {
		t.Error(err)
	}
	_, err = client.UpdateDomainRecord(update(there, "b.back.test", 60))
	e := refused(t, err, 403, "Forbidden.RAM")
	if d := e.AccessDeniedDetail(); d["AuthAction"] != "alidns:UpdateDomainRecord" || d["NoPermissionType"] != "ImplicitDeny" || d["AuthPrincipalDisplayName"] != "pointsman" {
		t.Errorf("%v", d)
	}
	// It cannot see what other zones there are, nor delete its own record.
	_, err = client.DescribeDomains(alidns.CreateDescribeDomainsRequest())
	refused(t, err, 403, "Forbidden.RAM")
	gone := alidns.CreateDeleteDomainRecordRequest()
	gone.RecordId = strconv.FormatInt(here.ID, 10)
	_, err = client.DeleteDomainRecord(gone)
	refused(t, err, 403, "Forbidden.RAM")

	client = sdkClient(t, s, credentials.NewAccessKeyCredential(reader.ID, reader.Secret))
	_, err = client.UpdateDomainRecord(update(here, "c.back.test", 60))
	if d := refused(t, err, 403, "Forbidden.RAM").AccessDeniedDetail(); d["NoPermissionType"] != "ExplicitDeny" {
		t.Errorf("%v", d)
	}
	if _, err := client.DescribeDomains(alidns.CreateDescribeDomainsRequest()); err != nil {
		t.Error(err)
	}
	for text, sound := range map[string]bool{
		`{"Version":"1","Statement":[{"Effect":"Allow","Action":"alidns:*","Resource":["*"]}]}`: true,
		`{"Statement":[{"Effect":"Maybe","Action":"*","Resource":"*"}]}`:                        false,
		`{"Statement":[{"Effect":"Allow","Action":"*"}]}`:                                       false,
		`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{}}]}`:         false,
	} {
		var p Policy
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(err)
		}
		if err := p.validate(); (err == nil) != sound {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := New(Options{Keys: []Key{{ID: "x"}}}); err == nil {
		t.Error("a key without a secret")
	}
}

// TestRulesOfRecords: what the API refuses to write, by code.
func TestRulesOfRecords(t *testing.T) {
	s := start(t, Options{NoQuota: true})
	client := sdkClient(t, s, nil)
	if _, err := s.AddZone(Zone{Name: "free.example", Edition: Free}); err != nil {
		t.Fatal(err)
	}
	seed(t, s, Record{RR: "www", Type: "CNAME", Value: "a.back.test"})
	seed(t, s, Record{RR: "@", Type: "MX", Value: "mx.back.test", Priority: 1})
	seed(t, s, Record{RR: "txt", Type: "TXT", Value: "x"})
	seed(t, s, Record{RR: "mx", Type: "MX", Value: "mx.back.test", Priority: 1})
	seed(t, s, Record{RR: "a", Type: "A", Value: "192.0.2.1"})
	for _, c := range []struct{ zone, rr, kind, value, line, ttl, code string }{
		{"example.com", "www", "CNAME", "b.back.test", "", "", ""}, // several are allowed
		{"example.com", "www", "CNAME", "A.back.test.", "", "", "DomainRecordDuplicate"},
		{"example.com", "WWW", "A", "192.0.2.1", "", "", "DomainRecordConflict"},
		{"example.com", "www", "A", "192.0.2.1", "telecom", "", ""},
		{"example.com", "a", "CNAME", "a.back.test", "", "", "DomainRecordConflict"},
		{"example.com", "@", "CNAME", "a.back.test", "", "", ""},
		{"example.com", "mx", "CNAME", "a.back.test", "", "", "DomainRecordConflict"},
		{"example.com", "txt", "CNAME", "a.back.test", "", "", ""},
		{"example.com", "x", "CNAME", "a.back.test", "moon", "", "SubDomainInvalid.Line"},
		{"example.com", "x", "CNAME", "a b", "", "", "SubDomainInvalid.Value"},
		{"example.com", "x", "A", "192.0.2.256", "", "", "SubDomainInvalid.Value"},
		{"example.com", "x", "AAAA", "192.0.2.1", "", "", "SubDomainInvalid.Value"},
		{"example.com", "x", "WHAT", "y", "", "", "SubDomainInvalid.Type"},
		{"example.com", "-x", "A", "192.0.2.1", "", "", "InvalidRR.Format"},
		{"example.com", "x..y", "A", "192.0.2.1", "", "", "InvalidRR.Format"},
		{"example.com", strings.Repeat("x", 64), "A", "192.0.2.1", "", "", "InvalidRR.Format"},
		{"example.com", strings.Repeat("x.", 125) + "x", "A", "192.0.2.1", "", "", "InvalidRR.Length"},
		{"example.com", "y.*", "A", "192.0.2.1", "", "", "InvalidRR.Format"},
		{"example.com", "*.y", "A", "192.0.2.1", "", "", ""},
		{"example.com", "x", "MX", "mx.back.test", "", "", "SubDomainInvalid.Priority"},
		{"example.com", "x", "A", "192.0.2.1", "", "86401", "SubDomainInvalid.TTL"},
		{"example.com", "x", "A", "192.0.2.1", "", "1", ""},
		{"free.example", "x", "A", "192.0.2.1", "", "599", "QuotaExceeded.TTL"},
		{"free.example", "x", "A", "192.0.2.1", "", "", ""},
		{"nowhere.example", "x", "A", "192.0.2.1", "", "", "InvalidDomainName.NoExist"},
	} {
		q := alidns.CreateAddDomainRecordRequest()
		q.DomainName, q.RR, q.Type, q.Value, q.Line, q.TTL = c.zone, c.rr, c.kind, c.value, c.line, requests.Integer(c.ttl)
		_, err := client.AddDomainRecord(q)
		if c.code != "" {
			refused(t, err, 400, c.code)
		} else if err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	strict := start(t, Options{ConflictTXT: true})
	seed(t, strict, Record{RR: "txt", Type: "TXT", Value: "x"})
	q := alidns.CreateAddDomainRecordRequest()
	q.DomainName, q.RR, q.Type, q.Value = "example.com", "txt", "CNAME", "a.back.test"
	_, err := sdkClient(t, strict, nil).AddDomainRecord(q)
	refused(t, err, 400, "DomainRecordConflict")

	// An update without a TTL or a line has 600 and default again.
	r := seed(t, s, Record{RR: "reset", Type: "CNAME", Value: "a.back.test", TTL: 30, Line: "telecom"})
	u := alidns.CreateUpdateDomainRecordRequest()
	u.RecordId, u.RR, u.Type, u.Value = strconv.FormatInt(r.ID, 10), "reset", "CNAME", "b.back.test"
	if _, err := client.UpdateDomainRecord(u); err != nil {
		t.Fatal(err)
	}
	if now, ok := s.Record("example.com", "reset", "default"); !ok || now.TTL != 600 {
		t.Errorf("%+v", now)
	}
}

func TestPagesAndFilters(t *testing.T) {
	s := start(t, Options{})
	client := sdkClient(t, s, nil)
	for i := range 1201 {
		seed(t, s, Record{RR: "n" + strconv.Itoa(i), Type: "A", Value: "192.0.2." + strconv.Itoa(i%250)})
	}
	seed(t, s, Record{RR: "n7", Type: "CNAME", Value: "seven.back.test", Line: "unicom", Disabled: true})
	var ids []string
	for page := 1; ; page++ {
		q := alidns.CreateDescribeDomainRecordsRequest()
		q.DomainName, q.PageNumber, q.PageSize = "example.com", requests.NewInteger(page), "500"
		a, err := client.DescribeDomainRecords(q)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range a.DomainRecords.Record {
			ids = append(ids, r.RecordId)
		}
		if len(a.DomainRecords.Record) == 0 || int64(len(ids)) >= a.TotalCount {
			break
		}
	}
	seen := map[string]bool{}
	for _, id := range ids {
		seen[id] = true
	}
	if len(ids) != 1202 || len(seen) != 1202 {
		t.Errorf("%d records, %d different", len(ids), len(seen))
	}
	for name, c := range map[string]struct {
		ask  func(*alidns.DescribeDomainRecordsRequest)
		want int64
	}{
		"RR is a piece":        {func(q *alidns.DescribeDomainRecordsRequest) { q.RRKeyWord = "N12" }, 12}, // n12, n120 to n129, n1200
		"value is a piece":     {func(q *alidns.DescribeDomainRecordsRequest) { q.ValueKeyWord = "SEVEN" }, 1},
		"type is whole":        {func(q *alidns.DescribeDomainRecordsRequest) { q.TypeKeyWord = "CNAM" }, 0},
		"type":                 {func(q *alidns.DescribeDomainRecordsRequest) { q.Type = "CNAME" }, 1},
		"line":                 {func(q *alidns.DescribeDomainRecordsRequest) { q.Line = "unicom" }, 1},
		"status":               {func(q *alidns.DescribeDomainRecordsRequest) { q.Status = "Disable" }, 1},
		"LIKE":                 {func(q *alidns.DescribeDomainRecordsRequest) { q.SearchMode, q.KeyWord = "LIKE", "seven" }, 1},
		"LIKE ignores filters": {func(q *alidns.DescribeDomainRecordsRequest) { q.SearchMode, q.KeyWord, q.Type = "LIKE", "seven", "A" }, 1},
		"EXACT":                {func(q *alidns.DescribeDomainRecordsRequest) { q.SearchMode, q.KeyWord = "EXACT", "N7" }, 2},
		"ADVANCED": {func(q *alidns.DescribeDomainRecordsRequest) {
			q.SearchMode, q.RRKeyWord, q.Type = "ADVANCED", "n7", "CNAME"
		}, 1},
	} {
		q := alidns.CreateDescribeDomainRecordsRequest()
		q.DomainName = "example.com"
		c.ask(q)
		a, err := client.DescribeDomainRecords(q)
		if err != nil {
			t.Fatal(err)
		}
		if a.TotalCount != c.want {
			t.Errorf("%s: %d, want %d", name, a.TotalCount, c.want)
		}
	}
}
