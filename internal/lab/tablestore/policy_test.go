package tablestore_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"pointsman/internal/lab/tablestore"
)

func policy(t testing.TB, text string) *tablestore.Policy {
	t.Helper()
	p, err := tablestore.ParsePolicy(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// as is a client of an instance with a key, that does not try again and has its
// own connections.
func as(t testing.TB, s *tablestore.Server, instance string, k tablestore.Key) *world {
	t.Helper()
	tr := &http.Transport{}
	return through(t, s, s.Endpoint(), instance, k, tr)
}

func through(t testing.TB, s *tablestore.Server, endpoint, instance string, k tablestore.Key, tr *http.Transport) *world {
	t.Helper()
	t.Cleanup(tr.CloseIdleConnections)
	conf := sdk.NewDefaultTableStoreConfig()
	conf.RetryTimes, conf.Transport = 0, tr
	return &world{t, s, sdk.NewClientWithConfig(endpoint, instance, k.ID, k.Secret, "", conf)}
}

const (
	policyDenied = "Request denied by instance policy."
	ramDenied    = "You have no permission to access the requested resource, please contact the resource owner"
)

// does tries an operation on table orders, which is there, and says how it went:
// "" or the message of a refusal of 403.
func (w *world) does(op string) string {
	w.Helper()
	return w.doesAt(op, "orders")
}

func (w *world) doesAt(op, table string) string {
	w.Helper()
	k := key("id", "k")
	var err error
	switch op {
	case "PutRow":
		_, err = w.PutRow(&sdk.PutRowRequest{PutRowChange: putOf(table, k, "c", 1)})
	case "UpdateRow":
		u := updateOf(table, k)
		u.PutColumn("c", int64(1))
		_, err = w.UpdateRow(&sdk.UpdateRowRequest{UpdateRowChange: u})
	case "DeleteRow":
		_, err = w.DeleteRow(&sdk.DeleteRowRequest{DeleteRowChange: deleteOf(table, k)})
	case "BatchWriteRow":
		r := &sdk.BatchWriteRowRequest{}
		r.AddRowChange(putOf(table, k, "c", 1))
		_, err = w.BatchWriteRow(r)
	case "GetRow":
		_, err = w.tryGet(table, k)
	case "BatchGetRow":
		c := &sdk.MultiRowQueryCriteria{TableName: table, MaxVersion: 1}
		c.AddRow(k)
		_, err = w.BatchGetRow(&sdk.BatchGetRowRequest{MultiRowQueryCriteria: []*sdk.MultiRowQueryCriteria{c}})
	case "GetRange":
		_, err = w.GetRange(&sdk.GetRangeRequest{RangeRowQueryCriteria: &sdk.RangeRowQueryCriteria{
			TableName: table, StartPrimaryKey: key("id", minKey), EndPrimaryKey: key("id", maxKey), MaxVersion: 1, Limit: 1,
		}})
	case "DescribeTable":
		_, err = w.DescribeTable(&sdk.DescribeTableRequest{TableName: table})
	case "ListTable":
		_, err = w.ListTable()
	default:
		w.Fatal(op)
	}
	var e *sdk.OtsError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e) && e.HttpStatusCode == 403 && e.Code == tablestore.DefaultPolicyRules().Code:
		return e.Message
	}
	w.Fatalf("%s: %v", op, err)
	return ""
}

// judged asks how all operations go; want names those that are refused.
func (w *world) judged(message string, want ...string) {
	w.Helper()
	for _, op := range []string{"PutRow", "UpdateRow", "DeleteRow", "BatchWriteRow", "GetRow", "BatchGetRow", "GetRange", "DescribeTable", "ListTable"} {
		expect := ""
		for _, x := range want {
			if x == op || x == "all" {
				expect = message
			}
		}
		if got := w.does(op); got != expect {
			w.Errorf("%s: %q, want %q", op, got, expect)
		}
	}
}

// now is a server of which a policy is in force at once, with table orders.
func now(t testing.TB, o tablestore.Options) *tablestore.Server {
	t.Helper()
	if o.Policy == nil {
		o.Policy = &tablestore.PolicyRules{}
	}
	s := start(t, o)
	as(t, s, "lab", s.Key()).create("orders", "id:s")
	return s
}

func setPolicy(t testing.TB, s *tablestore.Server, statements ...string) {
	t.Helper()
	_, version, _, err := s.Policy("lab")
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	if len(statements) > 0 {
		text = `{"Version":"1","Statement":[` + strings.Join(statements, ",") + `]}`
	}
	if err := updatePolicyText(t, s, text, version); err != nil {
		t.Fatal(err)
	}
}

func updatePolicyText(t testing.TB, s *tablestore.Server, text string, version int64) error {
	if text != "" {
		return updatePolicy(t, s, "lab", text, version)
	}
	_, err := control(t, s, s.Key(), "POST", "/v2/openapi/deleteinstancepolicy", map[string]any{"InstanceName": "lab", "PolicyVersion": version})
	return err
}

// gateFor is what closes an instance for writes: a Deny for every access key
// but one.
func gateFor(service string) string {
	return `{"Effect":"Deny","Action":["ots:PutRow","ots:UpdateRow","ots:DeleteRow","ots:BatchWriteRow"],"Resource":["*"],"Principal":["*"],"Condition":{"StringNotEquals":{"ots:AccessId":["` + service + `"]}}}`
}

var writes = []string{"PutRow", "UpdateRow", "DeleteRow", "BatchWriteRow"}

func TestAGateClosesAndOpens(t *testing.T) {
	h := newHand()
	service, app := tablestore.Key{ID: "service", Secret: "s"}, tablestore.Key{ID: "app", Secret: "a"}
	s := start(t, tablestore.Options{Clock: h.now, Keys: []tablestore.Key{service, app}})
	as(t, s, "lab", service).create("orders", "id:s")
	client, reader := as(t, s, "lab", app), as(t, s, "lab", service)

	own := `{"Effect":"Allow","Action":["ots:*"],"Resource":["*"],"Principal":["*"]}`
	setPolicy(t, s, own)
	h.advance(time.Minute)
	client.judged(policyDenied)

	// The delay: what was in force goes on until the last moment of it.
	setPolicy(t, s, own, gateFor("service"))
	client.judged(policyDenied)
	h.advance(2*time.Second - 1)
	client.judged(policyDenied)
	h.advance(1)
	client.judged(policyDenied, writes...)
	reader.judged(policyDenied)

	setPolicy(t, s, own)
	h.advance(2*time.Second - 1)
	client.judged(policyDenied, writes...)
	h.advance(1)
	client.judged(policyDenied)
}

// TestOneGateLeavesTheOtherOpen: two instances of one server, and two servers
// with an instance of the same name and the same key.
func TestOneGateLeavesTheOtherOpen(t *testing.T) {
	k := tablestore.Key{ID: "app", Secret: "a"}
	a := now(t, tablestore.Options{Keys: []tablestore.Key{k}, Instances: []tablestore.Instance{{Name: "lab"}, {Name: "other"}}})
	b := now(t, tablestore.Options{Keys: []tablestore.Key{k}})
	as(t, a, "other", k).create("orders", "id:s")
	setPolicy(t, a, gateFor("service"))
	as(t, a, "lab", k).judged(policyDenied, writes...)
	as(t, a, "other", k).judged(policyDenied)
	as(t, b, "lab", k).judged(policyDenied)
	for _, s := range []*tablestore.Server{a, b} {
		_, version, _, err := s.Policy("lab")
		if want := map[*tablestore.Server]int64{a: 1, b: 0}[s]; version != want || err != nil {
			t.Errorf("version %d, want %d, %v", version, want, err)
		}
	}
}

func TestPolicyOutlivesTheServer(t *testing.T) {
	h, dir := newHand(), t.TempDir()
	k := tablestore.Key{ID: "app", Secret: "a"}
	open := func() *tablestore.Server {
		s, err := tablestore.New(tablestore.Options{Clock: h.now, DataDir: dir, Keys: []tablestore.Key{k}})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	as(t, s, "lab", k).create("orders", "id:s")
	created := getInstance(t, s, "lab")["CreateTime"]
	setPolicy(t, s, gateFor("service"))
	for i, want := range [][]string{nil, writes, writes} {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		h.advance([]time.Duration{time.Second, time.Second, time.Minute}[i])
		s = open()
		as(t, s, "lab", k).judged(policyDenied, want...)
	}
	in := getInstance(t, s, "lab")
	if in["PolicyVersion"] != 1.0 || !strings.Contains(in["Policy"].(string), "service") || in["CreateTime"] != created {
		t.Errorf("%v, created %v", in, created)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestConditionsOfPolicies(t *testing.T) {
	app, other := tablestore.Key{ID: "app", Secret: "a"}, tablestore.Key{ID: "other", Secret: "o"}
	s := now(t, tablestore.Options{
		Keys: []tablestore.Key{app, other}, TLSNames: []string{"lab.test"},
		VPCs: []tablestore.VPC{{ID: "vpc-in", Prefix: netip.MustParsePrefix("127.0.0.2/32")}},
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CA())
	dialer := func(from string) *net.Dialer {
		return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	}
	secure := func(version uint16) *http.Transport {
		return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: version, MaxVersion: version}}
	}
	clients := map[string]*world{
		"plain":  through(t, s, s.Endpoint(), "lab", app, &http.Transport{}),
		"other":  through(t, s, s.Endpoint(), "lab", other, &http.Transport{}),
		"inside": through(t, s, s.Endpoint(), "lab", app, &http.Transport{DialContext: dialer("127.0.0.2").DialContext}),
		"tls12":  through(t, s, s.TLSEndpoint(), "lab", app, secure(tls.VersionTLS12)),
		"tls13":  through(t, s, s.TLSEndpoint(), "lab", app, secure(tls.VersionTLS13)),
	}
	for condition, denied := range map[string]string{
		`{}`: "plain other inside tls12 tls13",
		`{"StringEquals":{"ots:AccessId":["other","none"]}}`:                                            "other",
		`{"StringNotEquals":{"ots:AccessId":["app"]}}`:                                                  "other",
		`{"StringNotLike":{"ots:AccessId":["a*"]}}`:                                                     "other",
		`{"StringEqualsIgnoreCase":{"ots:AccessId":["OTHER"]}}`:                                         "other",
		`{"Bool":{"acs:SecureTransport":["false"]}}`:                                                    "plain other inside",
		`{"Bool":{"acs:SecureTransport":true}}`:                                                         "tls12 tls13",
		`{"StringEquals":{"ots:TLSVersion":["1.2"]}}`:                                                   "tls12",
		`{"StringEquals":{"ots:TLSVersion":["TLSv1.2","TLSv1"]}}`:                                       "tls12",
		`{"StringNotEquals":{"ots:TLSVersion":["1.3"]}}`:                                                "plain other inside tls12",
		`{"IpAddress":{"acs:SourceIp":["127.0.0.2","10.0.0.0/8"]}}`:                                     "inside",
		`{"NotIpAddress":{"acs:SourceIp":["127.0.0.2/32"]}}`:                                            "plain other tls12 tls13",
		`{"StringEquals":{"acs:SourceVpc":["vpc-in"]}}`:                                                 "inside",
		`{"StringNotLike":{"acs:SourceVpc":["vpc-*"]}}`:                                                 "plain other tls12 tls13",
		`{"Bool":{"ots:IsFromTrustProxy":"true"}}`:                                                      "",
		`{"StringEquals":{"ots:AccessId":"app"},"Bool":{"acs:SecureTransport":"false"}}`:                "plain inside",
		`{"StringEquals":{"ots:AccessId":"app","acs:SourceVpc":"vpc-in"}}`:                              "inside",
		`{"StringNotEquals":{"ots:AccessId":["other","app"]},"IpAddress":{"acs:SourceIp":"0.0.0.0/0"}}`: "",
	} {
		setPolicy(t, s, `{"Effect":"Deny","Action":"*","Resource":"*","Condition":`+condition+`}`)
		var got []string
		for _, name := range []string{"plain", "other", "inside", "tls12", "tls13"} {
			if clients[name].does("GetRow") != "" {
				got = append(got, name)
			}
		}
		if strings.Join(got, " ") != denied {
			t.Errorf("%s: %v, want %s", condition, got, denied)
		}
	}
}

// TestElementsOfPolicies: actions, resources and principals, explicit Deny, and
// what is not said.
func TestElementsOfPolicies(t *testing.T) {
	app := tablestore.Key{ID: "app", Secret: "a"}
	user := tablestore.Key{ID: "user", Secret: "u", User: "ann", Policy: policy(t, `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`)}
	s := now(t, tablestore.Options{Keys: []tablestore.Key{app, user}, Account: "42", Region: "cn-x"})
	as(t, s, "lab", app).create("lines", "id:s")
	deny := func(rest string) string { return `{"Effect":"Deny",` + rest + `}` }
	for statement, denied := range map[string]string{
		deny(`"Action":"ots:Put*","Resource":"*"`):                                                       "app PutRow orders, app PutRow lines, user PutRow orders, user PutRow lines",
		deny(`"Action":"OTS:getrow","Resource":"*"`):                                                     "app GetRow orders, app GetRow lines, user GetRow orders, user GetRow lines",
		deny(`"NotAction":["ots:Get*","ots:List*"],"Resource":"*"`):                                      "app PutRow orders, app PutRow lines, user PutRow orders, user PutRow lines",
		deny(`"Action":"*","Resource":"acs:ots:cn-x:42:instance/lab/table/lines"`):                       "app PutRow lines, app GetRow lines, user PutRow lines, user GetRow lines",
		deny(`"Action":"*","Resource":"acs:ots:*:*:instance/lab"`):                                       "app ListTable, user ListTable",
		deny(`"Action":"*","Resource":["acs:ots:cn-y:42:instance/lab*","acs:ots:*:43:instance/lab*"]`):   "",
		deny(`"Action":"*","Resource":"*","Principal":"acs:ram::42:user/ann"`):                           "user PutRow orders, user PutRow lines, user GetRow orders, user GetRow lines, user ListTable",
		deny(`"Action":"*","Resource":"*","Principal":["42"]`):                                           "app PutRow orders, app PutRow lines, app GetRow orders, app GetRow lines, app ListTable",
		`{"Effect":"Allow","Action":"ots:GetRow","Resource":"*"}`:                                        "app PutRow orders, app PutRow lines, app ListTable, user PutRow orders, user PutRow lines, user ListTable",
		`{"Effect":"Allow","Action":"*","Resource":"*"},` + deny(`"Action":"ots:GetRow","Resource":"*"`): "app GetRow orders, app GetRow lines, user GetRow orders, user GetRow lines",
	} {
		setPolicy(t, s, statement)
		var got []string
		for _, k := range []tablestore.Key{app, user} {
			w := as(t, s, "lab", k)
			for _, op := range []string{"PutRow", "GetRow"} {
				for _, table := range []string{"orders", "lines"} {
					if w.doesAt(op, table) == policyDenied {
						got = append(got, k.ID+" "+op+" "+table)
					}
				}
			}
			if w.does("ListTable") == policyDenied {
				got = append(got, k.ID+" ListTable")
			}
		}
		if strings.Join(got, ", ") != denied {
			t.Errorf("%s\n%s\nwant\n%s", statement, strings.Join(got, ", "), denied)
		}
	}
}

// TestBatchesAreJudgedWhole: one table that may not be written stands for all.
func TestBatchesAreJudgedWhole(t *testing.T) {
	s := now(t, tablestore.Options{})
	w := as(t, s, "lab", s.Key())
	w.create("lines", "id:s")
	setPolicy(t, s, `{"Effect":"Deny","Action":"*","Resource":"acs:ots:*:*:instance/lab/table/lines"}`)
	batch := &sdk.BatchWriteRowRequest{}
	batch.AddRowChange(putOf("orders", key("id", "k"), "c", 1))
	batch.AddRowChange(putOf("lines", key("id", "k"), "c", 1))
	_, err := w.BatchWriteRow(batch)
	refused(t, err, "OTSNoPermissionAccess", 403, policyDenied)
	same(t, w.get("orders", key("id", "k")), "")
}

func TestRulesOfPolicies(t *testing.T) {
	s := now(t, tablestore.Options{})
	w := as(t, s, "lab", s.Key())
	rules := func(change func(*tablestore.PolicyRules)) {
		t.Helper()
		r := tablestore.PolicyRules{}
		change(&r)
		if err := s.SetPolicyRules(r); err != nil {
			t.Fatal(err)
		}
	}
	// The text of 2024: whatever an action names, it is about everything.
	setPolicy(t, s, gateFor("service"))
	w.judged(policyDenied, writes...)
	rules(func(r *tablestore.PolicyRules) { r.Text2024 = true })
	w.judged(policyDenied, "all")
	// Of the conditions of an Allow one is enough there.
	setPolicy(t, s, `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"ots:AccessId":"none"},"IpAddress":{"acs:SourceIp":"127.0.0.1"}}}`)
	w.judged(policyDenied)
	rules(func(r *tablestore.PolicyRules) {})
	w.judged(policyDenied, "all")
	// An Allow that takes nothing away.
	rules(func(r *tablestore.PolicyRules) { r.AllowAdds = true })
	w.judged(policyDenied)

	setPolicy(t, s, gateFor("service"))
	rules(func(r *tablestore.PolicyRules) { r.Code, r.Message = "OTSAuthFailed", "no" })
	_, err := w.PutRow(&sdk.PutRowRequest{PutRowChange: putOf("orders", key("id", "k"), "c", 1)})
	refused(t, err, "OTSAuthFailed", 403, "no")
	for _, bad := range []tablestore.PolicyRules{{Code: "OTSServerBusy"}, {Delay: -1}, {Delay: 2 * time.Hour}} {
		if err := s.SetPolicyRules(bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
		if _, err := tablestore.New(tablestore.Options{Policy: &bad}); err == nil {
			t.Errorf("%+v was taken at the start", bad)
		}
	}
	if got := s.PolicyRules(); got.Message != "no" || got.Delay != 0 {
		t.Errorf("%+v", got)
	}
}

// TestRulesAsJSON: as the management API tells and takes them.
func TestRulesAsJSON(t *testing.T) {
	b, err := json.Marshal(tablestore.DefaultPolicyRules())
	if want := `{"delay_ms":2000,"text_2024":false,"allow_adds":false,"code":"OTSNoPermissionAccess","message":"Request denied by instance policy.","closes_connections":false}`; string(b) != want || err != nil {
		t.Errorf("%s, %v", b, err)
	}
	r := tablestore.DefaultPolicyRules()
	if err := json.Unmarshal([]byte(`{"delay_ms":1500,"closes_connections":true}`), &r); err != nil || r.Delay != 1500*time.Millisecond || !r.ClosesConnections || r.Message == "" {
		t.Errorf("%+v, %v", r, err)
	}
	g := tablestore.DefaultGlobalRules()
	if err := json.Unmarshal([]byte(`{"lag_ms":7}`), &g); err != nil || g.Lag != 7*time.Millisecond || g.Code == "" {
		t.Errorf("%+v, %v", g, err)
	}
	b, err = json.Marshal(g)
	if want := `{"delay_ms":0,"lag_ms":7,"code":"OTSNoPermissionAccess","message":"The table is a replica of a global table and is not writable.","one_writable":false}`; string(b) != want || err != nil {
		t.Errorf("%s, %v", b, err)
	}
	for _, bad := range []string{`{"delay":5}`, `{"lag_ms":"1s"}`, `[]`} {
		if json.Unmarshal([]byte(bad), &r) == nil || json.Unmarshal([]byte(bad), &g) == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	s := start(t, tablestore.Options{})
	if err := json.Unmarshal([]byte(`{"delay_ms":9223372036854775807}`), &r); err != nil || s.SetPolicyRules(r) == nil {
		t.Errorf("a delay of %s was taken", r.Delay)
	}
	manage := func(path, body string) (int, string) {
		t.Helper()
		q, err := http.NewRequest(http.MethodPut, s.Manage()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Authorization", "Bearer "+s.ManageToken())
		tr := &http.Transport{}
		defer tr.CloseIdleConnections()
		a, err := (&http.Client{Transport: tr}).Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		text, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return a.StatusCode, string(text)
	}
	if status, text := manage("/rules/policy", `{"text_2024":true}`); status != 200 || !s.PolicyRules().Text2024 || s.PolicyRules().Delay != 2*time.Second {
		t.Errorf("%d %s", status, text)
	}
	if status, text := manage("/rules/global", `{"lag_ms":0}`); status != 200 || s.GlobalRules().Lag != 0 || s.GlobalRules().Code == "" {
		t.Errorf("%d %s", status, text)
	}
	for path, body := range map[string]string{"/rules/policy": `{"delay_ms":-1}`, "/rules/global": `{"lag":1}`} {
		if status, text := manage(path, body); status != 400 {
			t.Errorf("%d %s", status, text)
		}
	}
}

// TestConnectionsOfRefusedRequests: they are kept, unless it is asked for
// otherwise.
func TestConnectionsOfRefusedRequests(t *testing.T) {
	s := now(t, tablestore.Options{})
	var dials atomic.Int32
	tr := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	w := through(t, s, s.Endpoint(), "lab", s.Key(), tr)
	setPolicy(t, s, gateFor("service"))
	for range 3 {
		if w.does("PutRow") != policyDenied || w.does("GetRow") != "" {
			t.Fatal("the gate is not as it was closed")
		}
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections, want the one", n)
	}
	if err := s.SetPolicyRules(tablestore.PolicyRules{ClosesConnections: true}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if w.does("PutRow") != policyDenied || w.does("GetRow") != "" {
			t.Fatal("the gate is not as it was closed")
		}
	}
	if n := dials.Load(); n != 4 {
		t.Errorf("%d connections, want one more for each refusal", n)
	}
}

// TestRightsOfKeys: a key with a policy may do what that allows, in the form
// that the vendor's page of custom RAM policies has.
func TestRightsOfKeys(t *testing.T) {
	app := tablestore.Key{ID: "app", Secret: "a"}
	allow := func(actions, resources string) tablestore.Key {
		return tablestore.Key{ID: "user", Secret: "u", Policy: policy(t, `{"Version":"1","Statement":[{"Effect":"Allow","Action":[`+actions+`],"Resource":[`+resources+`]}]}`)}
	}
	s := now(t, tablestore.Options{Keys: []tablestore.Key{app}, Instances: []tablestore.Instance{{Name: "lab", Region: "cn-beijing"}, {Name: "Other"}}})
	table := `"acs:ots:cn-beijing:1234567890123456:instance/lab/table/orders"`
	rest := func(may ...string) []string {
		var out []string
		for _, op := range []string{"PutRow", "UpdateRow", "DeleteRow", "BatchWriteRow", "GetRow", "BatchGetRow", "GetRange", "DescribeTable", "ListTable"} {
			if !strings.Contains(strings.Join(may, " "), op) {
				out = append(out, op)
			}
		}
		return out
	}
	for _, c := range []struct {
		key tablestore.Key
		may []string
	}{
		{allow(`"ots:GetRow"`, table), []string{"GetRow"}},
		{allow(`"ots:GetRow","ots:ListTable"`, table+`,"acs:ots:*:*:instance/lab"`), []string{"GetRow", "ListTable"}},
		{allow(`"ots:*Row"`, `"acs:ots:*:*:instance/lab/table/ord*"`), []string{"PutRow", "UpdateRow", "DeleteRow", "BatchWriteRow", "GetRow", "BatchGetRow"}},
		{allow(`"ots:GetRow"`, `"acs:ots:cn-hangzhou:*:instance/lab/table/orders"`), nil},
		{allow(`"ots:GetRow"`, `"acs:ots:*:*:instance/LAB/table/orders"`), nil},
		{allow(`"*"`, `"*"`), rest()},
	} {
		if err := s.AddKey(c.key); err != nil {
			t.Fatal(err)
		}
		as(t, s, "lab", c.key).judged(ramDenied, rest(c.may...)...)
	}
	// The name of an instance goes in lower case.
	as(t, s, "Other", app).create("orders", "id:s")
	lower := allow(`"ots:GetRow"`, `"acs:ots:*:*:instance/other/table/orders"`)
	if err := s.AddKey(lower); err != nil {
		t.Fatal(err)
	}
	if got := as(t, s, "Other", lower).does("GetRow"); got != "" {
		t.Error(got)
	}
	// The policy of the instance can give what the key has not, and takes what
	// it has.
	if err := s.AddKey(allow(`"ots:GetRow"`, table)); err != nil {
		t.Fatal(err)
	}
	user := as(t, s, "lab", allow(`"ots:GetRow"`, table))
	setPolicy(t, s, `{"Effect":"Allow","Action":"ots:PutRow","Resource":"*"},{"Effect":"Allow","Action":"ots:GetRow","Resource":"*"}`)
	if put, get := user.does("PutRow"), user.does("GetRow"); put != "" || get != "" {
		t.Errorf("%q, %q", put, get)
	}
	setPolicy(t, s, `{"Effect":"Deny","Action":"ots:GetRow","Resource":"*"}`)
	if put, get := user.does("PutRow"), user.does("GetRow"); put != ramDenied || get != policyDenied {
		t.Errorf("%q, %q", put, get)
	}
}

// TestStreamsAndTransactionsHaveTheRightsOfTheirTable though their requests do
// not name it.
func TestStreamsAndTransactionsHaveTheRightsOfTheirTable(t *testing.T) {
	s := now(t, tablestore.Options{})
	owner := as(t, s, "lab", s.Key())
	owner.create("lines", "id:s i:i", func(r *sdk.CreateTableRequest) {
		r.EnableLocalTxn = new(bool)
		*r.EnableLocalTxn = true
		r.StreamSpec = &sdk.StreamSpecification{EnableStream: true, ExpirationTime: 24}
	})
	for table, want := range map[string]string{"lines": "", "orders": ramDenied} {
		k := tablestore.Key{ID: "user", Secret: "u", Policy: policy(t, `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"acs:ots:*:*:instance/lab/table/`+table+`"}]}`)}
		if err := s.AddKey(k); err != nil {
			t.Fatal(err)
		}
		w := as(t, s, "lab", k)
		streams, err := owner.ListStream(&sdk.ListStreamRequest{TableName: new(string)})
		if err != nil {
			streams, err = owner.ListStream(&sdk.ListStreamRequest{})
		}
		if err != nil || len(streams.Streams) != 1 {
			t.Fatalf("%+v, %v", streams, err)
		}
		id := streams.Streams[0].Id
		d, err := owner.DescribeStream(&sdk.DescribeStreamRequest{StreamId: id})
		if err != nil {
			t.Fatal(err)
		}
		it, err := owner.GetShardIterator(&sdk.GetShardIteratorRequest{StreamId: id, ShardId: d.Shards[0].SelfShard})
		if err != nil {
			t.Fatal(err)
		}
		tx, err := owner.StartLocalTransaction(&sdk.StartLocalTransactionRequest{TableName: "lines", PrimaryKey: key("id", "k")})
		if err != nil {
			t.Fatal(err)
		}
		for op, do := range map[string]func() error{
			"DescribeStream": func() error {
				_, err := w.DescribeStream(&sdk.DescribeStreamRequest{StreamId: id})
				return err
			},
			"GetShardIterator": func() error {
				_, err := w.GetShardIterator(&sdk.GetShardIteratorRequest{StreamId: id, ShardId: d.Shards[0].SelfShard})
				return err
			},
			"GetStreamRecord": func() error {
				_, err := w.GetStreamRecord(&sdk.GetStreamRecordRequest{ShardIterator: it.ShardIterator})
				return err
			},
			"CommitTransaction": func() error {
				_, err := w.CommitTransaction(&sdk.CommitTransactionRequest{TransactionId: tx.TransactionId})
				return err
			},
		} {
			err := do()
			if want == "" && err != nil {
				t.Errorf("%s: %v", op, err)
			} else if want != "" {
				refused(t, err, "OTSNoPermissionAccess", 403, want)
			}
		}
		if want != "" {
			if _, err := owner.AbortTransaction(&sdk.AbortTransactionRequest{TransactionId: tx.TransactionId}); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestStoppedInstancesSaySo(t *testing.T) {
	s := now(t, tablestore.Options{})
	w := as(t, s, "lab", s.Key())
	setPolicy(t, s, `{"Effect":"Deny","Action":"*","Resource":"*"}`)
	if err := s.SetStopped("lab", true); err != nil {
		t.Fatal(err)
	}
	_, err := w.ListTable()
	refused(t, err, "OTSAuthFailed", 403, "The instance is not running.")
	// The control API goes on.
	if in := getInstance(t, s, "lab"); in["InstanceStatus"] != "forbidden" {
		t.Errorf("%v", in)
	}
	setPolicy(t, s)
}

// TestPoliciesOfKeysAreRead: as the management API and files have them.
func TestPoliciesOfKeysAreRead(t *testing.T) {
	var k tablestore.Key
	text := `{"id":"user","secret":"u","user":"ann","policy":{"Version":"1","Statement":[{"Effect":"Allow","Action":"ots:GetRow","Resource":"*"}]}}`
	if err := json.Unmarshal([]byte(text), &k); err != nil || k.Policy == nil {
		t.Fatalf("%+v, %v", k, err)
	}
	back, err := json.Marshal(k)
	if err != nil || !strings.Contains(string(back), `"policy":{"Version":"1"`) {
		t.Fatalf("%s, %v", back, err)
	}
	err = json.Unmarshal([]byte(strings.Replace(text, "Allow", "May", 1)), &k)
	if err == nil || !strings.Contains(err.Error(), "statement 1: the Effect") {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", "none"} {
		if _, _, _, err := start(t, tablestore.Options{Instances: []tablestore.Instance{{Name: "lab-a"}, {Name: "lab-b"}}}).Policy(bad); err == nil {
			t.Errorf("instance %q has a policy", bad)
		}
	}
	s := start(t, tablestore.Options{})
	if err := s.SetPolicy("lab", denyAll, 7); err == nil || !strings.Contains(fmt.Sprint(err), "version") {
		t.Errorf("%v", err)
	}
}
