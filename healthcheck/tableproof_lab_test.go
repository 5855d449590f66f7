package healthcheck

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/lab/tablestore"
)

// secure makes targets of https, which trust both clusters.
func (p labPair) secure() []Target {
	out := p.targets()
	for i, s := range []*tablestore.Server{p.a, p.b} {
		out[i].Address = strings.TrimPrefix(s.TLSEndpoint(), "https://")
		out[i].Check.Tablestore.Scheme, out[i].Check.CA = "", string(p.a.CA())+string(p.b.CA())
		out[i].Place.Region, out[i].Timeout = "zone-"+string(out[i].Cluster), 5*time.Second
	}
	return out
}

func prove(t *testing.T, tg Target, as Bearer, from string) TableProof {
	t.Helper()
	p, err := ProveTables(t.Context(), tg, ProbeConfig{Vantage: "doctor", ReadKey: labKeyFiles.read}, as, from)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What is sent is what a client sends after a move, and nothing is written.
func TestProofIsWhatClientsDo(t *testing.T) {
	p := newLabPair(t)
	tg := p.secure()[1]
	p.b.Forget()
	got := prove(t, tg, AsService, "zone-a")
	if got.Identity.Met != MetItself || got.Gate.Met != MetOpen || got.Signed.Met != MetOpen || got.KeyID != "LTAIprober" || got.CertificateEnds.IsZero() || got.ServerName != "orders.lab.test" {
		t.Errorf("%+v", got)
	}
	if want := "https://orders.lab.test:" + tg.Address[strings.LastIndexByte(tg.Address, ':')+1:]; got.Endpoint != want {
		t.Errorf("endpoint %s, want %s", got.Endpoint, want)
	}
	asked := p.b.Requests(tablestore.Filter{})
	for _, q := range asked {
		if q.Instance != "orders" || !q.TLS || q.Operation == "PutRow" && q.Code != "OTSConditionCheckFail" || q.Operation != "PutRow" && q.Operation != "GetRow" {
			t.Errorf("%+v", q)
		}
	}
	if len(asked) != 4 {
		t.Errorf("%d requests", len(asked))
	}
	if got := prove(t, tg, AsClient, ""); got.Identity.Met != MetItself || got.KeyID != "LTAIclient" {
		t.Errorf("as a client: %+v", got)
	}
	tg.Check.Tablestore.ClientKey = ""
	if _, err := ProveTables(t.Context(), tg, ProbeConfig{ReadKey: labKeyFiles.read}, AsClient, ""); err != ErrNoClientKey {
		t.Errorf("without a client key: %v", err)
	}
	if got := prove(t, tg, AsService, ""); got.Gate.Met != "" || got.Signed.Met != "" {
		t.Errorf("what was not to be tried: %+v", got)
	}
}

// Every way in which a move would go wrong is told from the others, by a
// cluster that really is so.
func TestProofTellsWhatIsWrong(t *testing.T) {
	const closed = `{"Version":"1","Statement":[{"Effect":"Deny","Action":["ots:*"],"Resource":["*"],"Principal":["*"],"Condition":{"StringEquals":{"ots:AccessId":["KEY"]}}}]}`
	policy := func(key string) func(*testing.T, labPair, *Target) {
		return func(t *testing.T, p labPair, _ *Target) {
			if err := p.b.SetPolicy("orders", strings.Replace(closed, "KEY", key, 1), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	coded := func(code, message string) func(*testing.T, labPair, *Target) {
		return func(t *testing.T, p labPair, _ *Target) {
			if _, err := p.b.Fail(tablestore.Fault{Kind: tablestore.ErrorCode, Code: code, Message: message}, -1); err != nil {
				t.Fatal(err)
			}
		}
	}
	plain := func(s *tablestore.Server) string { return s.Address() }
	for name, tc := range map[string]struct {
		make     func(*testing.T, labPair, *Target)
		met      Met
		gate     Met
		says     string
		noSigned bool
	}{
		"well":                {func(*testing.T, labPair, *Target) {}, MetItself, MetOpen, "has the table pointsman_is_b and not pointsman_is_a", false},
		"name of certificate": {func(_ *testing.T, _ labPair, tg *Target) { tg.Name = "orders.example.com." }, MetName, "", "not orders.example.com", true},
		"issuer":              {func(_ *testing.T, p labPair, tg *Target) { tg.Check.CA = string(p.a.CA()) }, MetTrust, "", "unknown authority", true},
		"plain there":         {func(_ *testing.T, p labPair, tg *Target) { tg.Address = plain(p.b) }, MetPlain, "", "does not look like a TLS handshake", true},
		"tls there":           {func(_ *testing.T, _ labPair, tg *Target) { tg.Check.Tablestore.Scheme = SchemeHTTP }, MetTLS, "", "", true},
		"no such instance":    {func(_ *testing.T, _ labPair, tg *Target) { tg.Place.Instance = "orders-b" }, MetInstance, "", "The instance is not found.", true},
		"the other's address": {func(_ *testing.T, p labPair, tg *Target) {
			tg.Address = strings.TrimPrefix(p.a.TLSEndpoint(), "https://")
		}, MetOther, MetOpen, "has the table pointsman_is_a and not pointsman_is_b", true},
		"stopped":           {func(_ *testing.T, p labPair, _ *Target) { p.b.SetStopped("orders", true) }, MetStopped, "", "not running", true},
		"dead":              {func(_ *testing.T, p labPair, _ *Target) { p.b.Kill() }, MetSilence, "", "connection refused", true},
		"dead, by http":     {func(_ *testing.T, p labPair, tg *Target) { p.b.Kill(); tg.Check.Tablestore.Scheme = SchemeHTTP }, MetSilence, "", "connection refused", true},
		"failing":           {coded("OTSInternalServerError", ""), MetFailing, "", "OTSInternalServerError", true},
		"busy":              {coded("OTSServerBusy", ""), MetBusy, MetBusy, "OTSServerBusy", true},
		"acl":               {coded("OTSAuthFailed", "Request denied by instance ACL policies."), MetNetwork, "", "ACL", true},
		"clock":             {func(_ *testing.T, p labPair, _ *Target) { p.b.SetClockOffset(time.Hour) }, MetClock, "", "system time", true},
		"key":               {func(_ *testing.T, p labPair, _ *Target) { p.b.RemoveKey("LTAIprober") }, MetKey, MetOpen, "AccessKeyID", true},
		"clients' key":      {func(_ *testing.T, p labPair, _ *Target) { p.b.RemoveKey("LTAIclient") }, MetItself, MetKey, "", false},
		"key file":          {func(_ *testing.T, _ labPair, tg *Target) { tg.Check.Tablestore.ServiceKey = "none.key" }, MetOurs, "", "service key", true},
		"closed to us":      {policy("LTAIprober"), MetDenied, MetOpen, "denied", true},
		"closed to clients": {policy("LTAIclient"), MetItself, MetDenied, "", false},
		"a policy wants https": {func(t *testing.T, p labPair, tg *Target) {
			wantsTLS(t, p.b)
			tg.Address = plain(p.b)
			tg.Check.Tablestore.Scheme = SchemeHTTP
		}, MetDenied, MetDenied, "denied", true},
		"canary's table absent": {func(_ *testing.T, _ labPair, tg *Target) { tg.Check.Tablestore.Table = "pointsman_lost" }, MetItself, MetNeither, "", false},
		"both tables": {func(t *testing.T, p labPair, tg *Target) {
			if err := labTables(t, *tg).Create("pointsman_is_a"); err != nil {
				t.Fatal(err)
			}
		}, MetBoth, MetOpen, "both tables", true},
		"no table":    {func(_ *testing.T, _ labPair, tg *Target) { tg.Check.Identity.Table = "pointsman_was_" }, MetNeither, MetOpen, "none of the tables pointsman_was_b and pointsman_was_a", true},
		"no resolver": {func(_ *testing.T, _ labPair, tg *Target) { tg.Address = "b.invalid:443" }, MetOurs, "", "b.invalid", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newLabPair(t)
			tg := p.secure()[1]
			tc.make(t, p, &tg)
			got := prove(t, tg, AsService, "zone-a")
			if got.Identity.Met != tc.met || got.Gate.Met != tc.gate || !strings.Contains(got.Identity.Why, tc.says) || (got.Signed.Met == "") != tc.noSigned {
				t.Errorf("met %q, gate %q, V4 %q: %s; %s", got.Identity.Met, got.Gate.Met, got.Signed.Met, got.Identity.Why, got.Gate.Why)
			}
		})
	}
}

func wantsTLS(t *testing.T, s *tablestore.Server) {
	t.Helper()
	const text = `{"Version":"1","Statement":[{"Effect":"Deny","Action":["ots:*"],"Resource":["*"],"Principal":["*"],"Condition":{"Bool":{"acs:SecureTransport":["false"]}}}]}`
	if err := s.SetPolicy("orders", text, 0); err != nil {
		t.Fatal(err)
	}
}

// What stands at the address is a web server: with TLS, and without.
func TestProofOfAStranger(t *testing.T) {
	p := newLabPair(t)
	tg := p.targets()[0]
	tg.Address = serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); w.Write([]byte("<html>")) })
	if got := prove(t, tg, AsService, ""); got.Identity.Met != MetStranger {
		t.Errorf("%+v", got.Identity)
	}
	// One that hangs up on who speaks HTTP, as balancers of TLS do.
	lender := httptest.NewTLSServer(http.NotFoundHandler())
	certs := lender.TLS.Certificates
	lender.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certs})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if tc := c.(*tls.Conn); tc.Handshake() != nil {
				tc.NetConn().Close()
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	tg.Address = l.Addr().String()
	if got := prove(t, tg, AsService, ""); got.Identity.Met != MetTLS {
		t.Errorf("%+v", got.Identity)
	}
}

// A signature of V4 holds in one region: clients that sign so are refused at
// the other cluster, where all else is well.
func TestProofFindsTheTrapOfRegions(t *testing.T) {
	p := labPair{}
	for i, s := range []**tablestore.Server{&p.a, &p.b} {
		srv, err := tablestore.New(tablestore.Options{
			Instances: []tablestore.Instance{{Name: "orders"}}, Keys: labKeys(t), Region: "zone-" + "ab"[i:i+1],
			TLSNames: []string{"orders.lab.test"}, Policy: &tablestore.PolicyRules{},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { srv.Close() })
		*s = srv
	}
	for _, tg := range p.secure() {
		x := labTables(t, tg)
		names, _ := tg.OwnTables()
		for _, table := range []string{names.Canary, names.Own} {
			if err := x.Create(table); err != nil {
				t.Fatal(err)
			}
		}
	}
	b := p.secure()[1]
	if got := prove(t, b, AsService, "zone-a"); got.Identity.Met != MetItself || got.Signed.Met != MetKey || got.SignedHere.Met != MetOpen {
		t.Errorf("%+v", got)
	}
	// Clients that come from the same region do not fall into it.
	b.Place.Region = "zone-a"
	if got := prove(t, b, AsService, "zone-a"); got.Signed.Met != "" {
		t.Errorf("of one region: %+v", got.Signed)
	}
	// A key of STS cannot be signed with in that way.
	b.Place.Region = "zone-b"
	read := func(path string) ([]byte, error) {
		return []byte(`{"AccessKeyId":"STS.x","AccessKeySecret":"s","SecurityToken":"t"}`), nil
	}
	if err := p.b.AddKey(tablestore.Key{ID: "STS.x", Secret: "s", Token: "t"}); err != nil {
		t.Fatal(err)
	}
	got, err := ProveTables(t.Context(), b, ProbeConfig{ReadKey: read}, AsService, "zone-a")
	if err != nil || got.Identity.Met != MetItself || got.Signed.Met != "" {
		t.Errorf("of STS: %v, %+v", err, got)
	}
}

// A vantage's probe feeds the same proof: identity with a good round, and none
// where the tables could not be looked at.
func TestProbeFeedsTheMoveProof(t *testing.T) {
	p := newLabPair(t)
	look := labProbe(t, p.targets()[1])
	if tr, err := look(); err != nil || !tr.Identity {
		t.Errorf("%v, %+v", err, tr)
	}
	if _, err := p.b.Fail(tablestore.Fault{Kind: tablestore.ErrorCode, Table: "pointsman_is_b", Code: "OTSPartitionUnavailable"}, -1); err != nil {
		t.Fatal(err)
	}
	if tr, err := look(); err != nil || tr.Identity || tr.Canary != failover.CanaryOK {
		t.Errorf("unseen: %v, %+v", err, tr)
	}
}
