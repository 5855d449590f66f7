package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/lab/tablestore"
)

// What a probe says of the lab's Tablestore, through the vendor's SDK. The lab
// shares no code with this room.

// labPair are two clusters that serve one instance name, with the tables of the
// probes, and three keys: of the probes, of a client, of whoever prepares.
type labPair struct{ a, b *tablestore.Server }

const proberPolicy = `{"Version":"1","Statement":[{"Effect":"Allow","Action":["ots:GetRow","ots:PutRow","ots:UpdateRow","ots:DescribeTable"],"Resource":["acs:ots:*:*:instance/orders/table/pointsman_*"]}]}`

func labKeys(t testing.TB) []tablestore.Key {
	t.Helper()
	least, err := tablestore.ParsePolicy(proberPolicy)
	if err != nil {
		t.Fatal(err)
	}
	return []tablestore.Key{
		{ID: "LTAIprober", Secret: "s1", Policy: least, User: "prober"},
		{ID: "LTAIclient", Secret: "s2", Policy: least, User: "app"},
		{ID: "LTAIadmin", Secret: "s3"},
	}
}

var labKeyFiles = keyFiles{
	"prober.key": twoKeys["prober.key"], "client.key": twoKeys["client.key"],
	"admin.key": `{"AccessKeyId":"LTAIadmin","AccessKeySecret":"s3"}`,
}

func newLabPair(t testing.TB) labPair {
	t.Helper()
	var p labPair
	for _, s := range []**tablestore.Server{&p.a, &p.b} {
		srv, err := tablestore.New(tablestore.Options{
			Instances: []tablestore.Instance{{Name: "orders"}, {Name: "other"}}, Keys: labKeys(t),
			TLSNames: []string{"orders.lab.test"}, Policy: &tablestore.PolicyRules{},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := srv.Close(); err != nil {
				t.Error(err)
			}
		})
		*s = srv
	}
	for _, tg := range p.targets() {
		x := labTables(t, tg)
		names, _ := tg.OwnTables()
		for _, table := range []string{names.Canary, names.Own} {
			if err := x.Create(table); err != nil {
				t.Fatal(err)
			}
		}
	}
	return p
}

// labTables asks a cluster with the rights of the one who prepares.
func labTables(t testing.TB, tg Target) *Tables {
	t.Helper()
	key, err := ParseAccessKey([]byte(labKeyFiles["admin.key"]))
	if err != nil {
		t.Fatal(err)
	}
	x, err := OpenTables(t.Context(), tg, ProbeConfig{Vantage: "prepare"}, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	return x
}

func (p labPair) targets() []Target {
	var out []Target
	for i, s := range []*tablestore.Server{p.a, p.b} {
		tg := tableTarget(s.Address())
		tg.Cluster, tg.Identity, tg.Other = failover.ClusterName("ab"[i:i+1]), "ab"[i:i+1], "ba"[i:i+1]
		tg.Check.Identity.Table = IdentityPrefix
		tg.Check.Tablestore.ClientKey = "client.key"
		out = append(out, tg)
	}
	return out
}

// labProbe is a probe that keeps what it knows.
func labProbe(t testing.TB, tg Target) func() (Trace, error) {
	t.Helper()
	p, err := NewProbe(tg, ProbeConfig{Vantage: "van-1", ReadKey: labKeyFiles.read})
	if err != nil {
		t.Fatal(err)
	}
	return func() (Trace, error) {
		var tr Trace
		ctx, cancel := context.WithTimeout(WithTrace(context.Background(), &tr), tg.Timeout)
		defer cancel()
		return tr, p(ctx)
	}
}

func TestLabProbeIsWell(t *testing.T) {
	p := newLabPair(t)
	p.a.Forget()
	look := labProbe(t, p.targets()[0])
	for round := range 5 {
		tr, err := look()
		// The row read back, and the two tables that say who it is; the vendor
		// bills a read of what is not there, and does not tell of it.
		if tr.Units.Write != 2 || tr.Units.Read < 2 {
			t.Errorf("round %d took %+v", round, tr.Units)
		}
		if err != nil || !tr.Identity || tr.Canary != failover.CanaryOK || tr.Client != failover.ClientAccepted || len(tr.Warnings) > 0 {
			t.Fatalf("round %d: %v, %+v", round, err, tr)
		}
	}
	var asked []string
	conns := map[string]bool{}
	for _, q := range p.a.Requests(tablestore.Filter{}) {
		asked = append(asked, q.Operation+" "+strings.Join(q.Tables, ",")+" "+q.KeyID)
		conns[q.Client] = true
	}
	want := []string{
		"PutRow pointsman_canary LTAIprober", "GetRow pointsman_canary LTAIprober", "GetRow pointsman_is_a LTAIprober", "GetRow pointsman_is_b LTAIprober",
		"PutRow pointsman_canary LTAIclient",
	}
	if len(asked) != 5*len(want) || strings.Join(asked[:5], "|") != strings.Join(want, "|") {
		t.Errorf("asked %q", asked)
	}
	if len(conns) != 5 {
		t.Errorf("%d connections for 5 probes", len(conns))
	}
}

func TestLabProbeOverTLS(t *testing.T) {
	p := newLabPair(t)
	tg := p.targets()[0]
	tg.Address = strings.TrimPrefix(p.a.TLSEndpoint(), "https://")
	tg.Check.Tablestore.Scheme = ""
	if _, err := labProbe(t, tg)(); err == nil || isOwn(err) || !strings.Contains(err.Error(), "tls as orders.lab.test") {
		t.Errorf("an issuer that nobody knows: %v", err)
	}
	tg.Check.CA = string(p.a.CA())
	tr, err := labProbe(t, tg)()
	if err != nil || !tr.Identity || tr.CertificateEnds.IsZero() {
		t.Errorf("%v, %+v", err, tr)
	}
	tg.Name = "other.lab.test." // not in the certificate
	if _, err := labProbe(t, tg)(); err == nil || isOwn(err) {
		t.Errorf("under a name that the certificate lacks: %v", err)
	}
}

// TestLabOutcomes: every way in which the cluster goes wrong, and what of it is
// the cluster's.
func TestLabOutcomes(t *testing.T) {
	fail := func(f tablestore.Fault) func(*testing.T, *tablestore.Server) {
		return func(t *testing.T, s *tablestore.Server) {
			t.Helper()
			if _, err := s.Fail(f, -1); err != nil {
				t.Fatal(err)
			}
		}
	}
	coded := func(op, code, message string) func(*testing.T, *tablestore.Server) {
		return fail(tablestore.Fault{Kind: tablestore.ErrorCode, Operation: op, Code: code, Message: message})
	}
	const well, miss, own = "well", "miss", "own"
	for name, tc := range map[string]struct {
		break_ func(*testing.T, *tablestore.Server)
		means  string
		class  failover.Fault
		canary failover.CanaryResult
		client failover.ClientResult
		warns  string
	}{
		"dead":        {func(t *testing.T, s *tablestore.Server) { s.Kill() }, miss, "", failover.CanaryBad, failover.ClientSilent, ""},
		"stalled":     {func(t *testing.T, s *tablestore.Server) { s.Stall() }, miss, "", failover.CanaryBad, failover.ClientSilent, ""},
		"not running": {func(t *testing.T, s *tablestore.Server) { s.SetStopped("orders", true) }, miss, "", failover.CanaryBad, failover.ClientSilent, ""},
		"clock":       {func(t *testing.T, s *tablestore.Server) { s.SetClockOffset(time.Hour) }, own, failover.FaultClock, failover.CanaryBad, failover.ClientSilent, ""},
		"key removed": {func(t *testing.T, s *tablestore.Server) { s.RemoveKey("LTAIprober") }, own, failover.FaultKey, failover.CanaryBad, failover.ClientAccepted, ""},
		"key disabled": {func(t *testing.T, s *tablestore.Server) {
			s.AddKey(tablestore.Key{ID: "LTAIprober", Secret: "s1", Disabled: true})
		}, own, failover.FaultKey, failover.CanaryBad, failover.ClientAccepted, ""},
		"secret changed": {func(t *testing.T, s *tablestore.Server) { s.AddKey(tablestore.Key{ID: "LTAIprober", Secret: "s9"}) }, own, failover.FaultKey, failover.CanaryBad, failover.ClientAccepted, ""},
		"other instances": {func(t *testing.T, s *tablestore.Server) {
			s.AddKey(tablestore.Key{ID: "LTAIprober", Secret: "s1", Instances: []string{"other"}})
		}, own, failover.FaultDenied, failover.CanaryBad, failover.ClientAccepted, ""},
		"acl":                {coded("", "OTSAuthFailed", "Request denied by instance ACL policies."), own, failover.FaultPlace, failover.CanaryBad, failover.ClientSilent, ""},
		"vpc":                {coded("", "OTSAuthFailed", "The instance can only be accessed from the binded VPC."), own, failover.FaultPlace, failover.CanaryBad, failover.ClientSilent, ""},
		"internal error":     {coded("", "OTSInternalServerError", ""), miss, "", failover.CanaryBad, failover.ClientSilent, ""},
		"unavailable":        {coded("", "OTSServerUnavailable", ""), miss, "", failover.CanaryBad, failover.ClientSilent, ""},
		"timeouts":           {coded("", "OTSTimeout", ""), miss, "", failover.CanaryBad, failover.ClientSilent, ""},
		"reads fail":         {coded("GetRow", "OTSInternalServerError", ""), miss, "", failover.CanaryBad, failover.ClientAccepted, ""},
		"busy":               {coded("PutRow", "OTSServerBusy", ""), well, "", failover.CanaryBad, failover.ClientSilent, "throttled: put: OTSServerBusy (503)"},
		"capacity":           {coded("PutRow", "OTSNotEnoughCapacityUnit", ""), well, "", failover.CanaryBad, failover.ClientSilent, "throttled"},
		"flow control":       {fail(tablestore.Fault{Kind: tablestore.Throttled, Operation: "PutRow"}), well, "", failover.CanaryBad, failover.ClientSilent, "OTSFlowControl (429)"},
		"identity unseen":    {fail(tablestore.Fault{Kind: tablestore.ErrorCode, Table: "pointsman_is_b", Code: "OTSPartitionUnavailable"}), well, "", failover.CanaryOK, failover.ClientAccepted, "which cluster it is was not seen"},
		"dropped":            {fail(tablestore.Fault{Kind: tablestore.Drop}), miss, "", failover.CanaryBad, failover.ClientSilent, ""},
		"drop after commit":  {fail(tablestore.Fault{Kind: tablestore.Drop, After: true}), miss, "", failover.CanaryBad, failover.ClientSilent, ""},
		"reset":              {fail(tablestore.Fault{Kind: tablestore.Reset}), miss, "", failover.CanaryBad, failover.ClientSilent, ""},
		"truncated":          {fail(tablestore.Fault{Kind: tablestore.Truncated}), miss, "", failover.CanaryBad, failover.ClientSilent, ""},
		"malformed":          {fail(tablestore.Fault{Kind: tablestore.Malformed}), miss, "", failover.CanaryBad, failover.ClientSilent, ""},
		"empty":              {fail(tablestore.Fault{Kind: tablestore.Empty}), miss, "", failover.CanaryBad, failover.ClientSilent, ""},
		"page of a proxy":    {fail(tablestore.Fault{Kind: tablestore.HTML}), miss, "", failover.CanaryBad, failover.ClientSilent, ""},
		"slow body":          {fail(tablestore.Fault{Kind: tablestore.SlowBody, Delay: time.Second}), miss, "", failover.CanaryBad, failover.ClientSilent, ""},
		"late, within time":  {fail(tablestore.Fault{Kind: tablestore.Late, Operation: "PutRow", Delay: 20 * time.Millisecond}), well, "", failover.CanaryOK, failover.ClientAccepted, ""},
		"no headers at all":  {fail(tablestore.Fault{Kind: tablestore.Unsigned}), well, "", failover.CanaryOK, failover.ClientAccepted, ""},
		"own table was lost": {coded("", "OTSObjectNotExist", ""), own, failover.FaultSetup, failover.CanaryBad, failover.ClientSilent, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newLabPair(t)
			tg := p.targets()[0]
			tg.Timeout = 2 * time.Second
			look := labProbe(t, tg)
			if tr, err := look(); err != nil || tr.Client != failover.ClientAccepted {
				t.Fatalf("before: %v, %+v", err, tr)
			}
			tc.break_(t, p.a)
			start := time.Now()
			tr, err := look()
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("it took %s", took)
			}
			got := well
			if err != nil {
				got = miss
			}
			if isOwn(err) {
				got = own
			}
			if got != tc.means || FaultOf(err) != tc.class || tr.Canary != tc.canary || tr.Client != tc.client || !strings.Contains(fmt.Sprint(tr.Warnings), tc.warns) {
				t.Errorf("%s (%v), class %q, canary %s, client %s, warns %q", got, err, FaultOf(err), tr.Canary, tr.Client, tr.Warnings)
			}
		})
	}
}

// Nothing is retried: what a client's SDK hides for seconds is seen at once.
func TestLabNothingIsRetried(t *testing.T) {
	p := newLabPair(t)
	tg := p.targets()[0]
	tg.Check.Tablestore.ClientKey = ""
	look := labProbe(t, tg)
	for _, code := range []string{"OTSRowOperationConflict", "OTSServerBusy", "OTSNotEnoughCapacityUnit", "OTSInternalServerError", "OTSTableNotReady"} {
		p.a.Forget()
		p.a.Heal()
		if _, err := p.a.Fail(tablestore.Fault{Kind: tablestore.ErrorCode, Operation: "PutRow", Code: code}, -1); err != nil {
			t.Fatal(err)
		}
		look()
		most := 1
		if classify(code, "", 503).means == meansPartition {
			most = len(CanaryParts) // each of the others once
		}
		if n := len(p.a.Requests(tablestore.Filter{Operation: "PutRow"})); n != most {
			t.Errorf("%s: %d writes, want %d", code, n, most)
		}
	}
}

// A partition of a table that was split is away: a warning; two are a miss.
func TestLabPartitionIsAway(t *testing.T) {
	p := newLabPair(t)
	if err := p.a.SplitShard("orders", CanaryTable, "2"); err != nil {
		t.Fatal(err)
	}
	if err := p.a.SplitShard("orders", CanaryTable, "6"); err != nil {
		t.Fatal(err)
	}
	look := labProbe(t, p.targets()[0])
	first := CanaryParts[0]
	id, err := p.a.Fail(tablestore.Fault{Kind: tablestore.Partition, Instance: "orders", Table: CanaryTable, Of: &first}, -1)
	if err != nil {
		t.Fatal(err)
	}
	for range CanaryParts {
		tr, err := look()
		if err != nil || tr.Canary != failover.CanaryOK || !strings.Contains(fmt.Sprint(tr.Warnings), `partition key "0" of 4: put: OTSPartitionUnavailable`) {
			t.Fatalf("%v, canary %s, warns %q", err, tr.Canary, tr.Warnings)
		}
	}
	last := CanaryParts[3]
	if _, err := p.a.Fail(tablestore.Fault{Kind: tablestore.Partition, Instance: "orders", Table: CanaryTable, Of: &last}, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := look(); err == nil || isOwn(err) || !strings.Contains(err.Error(), "3 of 4 partition keys fail") { // 8 and c are in one
		t.Errorf("%v", err)
	}
	p.a.Heal(id)
	p.a.Heal()
	for range CanaryParts {
		look()
	}
	if tr, err := look(); err != nil || len(tr.Warnings) > 0 {
		t.Errorf("%v, warns %q", err, tr.Warnings)
	}
}

// A partition that stands still has no answer at all, and is one all the same.
func TestLabPartitionThatStalls(t *testing.T) {
	p := newLabPair(t)
	tg := p.targets()[0]
	tg.Timeout = 2 * time.Second
	look := labProbe(t, tg)
	if _, err := p.a.Fail(tablestore.Fault{Kind: tablestore.Stalled, Operation: "PutRow"}, 1); err != nil {
		t.Fatal(err)
	}
	if tr, err := look(); err != nil || tr.Canary != failover.CanaryOK || !strings.Contains(fmt.Sprint(tr.Warnings), "put: read answer: no answer within ") {
		t.Errorf("%v, canary %s, warns %q", err, tr.Canary, tr.Warnings)
	}
}

// The policy of an instance closes it to clients: seen by the client key, no
// outage of the cluster, and open again when the statement is gone.
func TestLabGate(t *testing.T) {
	p := newLabPair(t)
	look := labProbe(t, p.targets()[0])
	want := func(c failover.ClientResult) {
		t.Helper()
		if tr, err := look(); err != nil || tr.Client != c || tr.Canary != failover.CanaryOK {
			t.Fatalf("%v, client %s, want %s, canary %s, warns %q", err, tr.Client, c, tr.Canary, tr.Warnings)
		}
	}
	want(failover.ClientAccepted)
	const closed = `{"Version":"1","Statement":[{"Effect":"Deny","Action":["ots:PutRow"],"Resource":["*"],"Principal":["*"],"Condition":{"StringNotEquals":{"ots:AccessId":["LTAIprober"]}}}]}`
	if err := p.a.SetPolicy("orders", closed, 0); err != nil {
		t.Fatal(err)
	}
	want(failover.ClientRefused)
	_, version, _, err := p.a.Policy("orders")
	if err != nil {
		t.Fatal(err)
	}
	// Somebody forgot to exempt us: that is no outage either.
	if err := p.a.SetPolicy("orders", strings.Replace(closed, "LTAIprober", "LTAIother", 1), version); err != nil {
		t.Fatal(err)
	}
	if tr, err := look(); FaultOf(err) != failover.FaultDenied || !strings.Contains(err.Error(), "closed to our own key") || tr.Client != failover.ClientRefused {
		t.Fatalf("%v, client %s", err, tr.Client)
	}
	if _, version, _, err = p.a.Policy("orders"); err != nil {
		t.Fatal(err)
	}
	if err := p.a.SetPolicy("orders", "", version); err != nil {
		t.Fatal(err)
	}
	want(failover.ClientAccepted)
}

// The address of a leads to b.
func TestLabWrongCluster(t *testing.T) {
	p := newLabPair(t)
	tg := p.targets()[0]
	tg.Address = p.b.Address()
	tr, err := labProbe(t, tg)()
	if !errors.Is(err, ErrWrongCluster) || isOwn(err) || tr.Identity || !strings.Contains(err.Error(), "it has the table pointsman_is_b and not pointsman_is_a") {
		t.Errorf("%v, identity %v", err, tr.Identity)
	}
}

// The instance that clients name is not there: a mistake of the config.
func TestLabNoSuchInstance(t *testing.T) {
	p := newLabPair(t)
	tg := p.targets()[0]
	tg.Place.Instance = "absent"
	if _, err := labProbe(t, tg)(); FaultOf(err) != failover.FaultSetup || !strings.Contains(err.Error(), "instance is not found") {
		t.Errorf("%v", err)
	}
	tg.Place.Instance = "other" // it is there, without our tables
	if _, err := labProbe(t, tg)(); FaultOf(err) != failover.FaultSetup && FaultOf(err) != failover.FaultDenied {
		t.Errorf("%v", err)
	}
}

// What the front end answers without a key.
func TestLabFront(t *testing.T) {
	p := newLabPair(t)
	tg := p.targets()[0]
	tg.Check = tg.Check.withDefaults()
	c := ProbeConfig{Vantage: "van-1"}
	f := newFront(newDialer(tg, c), tg, c)
	if err := f.look(t.Context(), &Trace{}); err != nil {
		t.Error(err)
	}
	q := p.a.Requests(tablestore.Filter{Operation: "GET"})
	if len(q) != 1 || q[0].KeyID != "" || !strings.HasPrefix(q[0].UserAgent, "pointsman-probe") {
		t.Errorf("asked %+v", q)
	}
	if _, err := p.a.Fail(tablestore.Fault{Kind: tablestore.HTML, Operation: "GET"}, -1); err != nil {
		t.Fatal(err)
	}
	if err := f.look(t.Context(), &Trace{}); err == nil || isOwn(err) {
		t.Errorf("a page of a proxy: %v", err)
	}
}

func TestLabTables(t *testing.T) {
	p := newLabPair(t)
	tg := p.targets()[0]
	x := labTables(t, tg)
	s, err := x.Describe(CanaryTable)
	if err != nil || !s.Exists || s.Fits() != "" || s.MaxVersions != 1 || s.TimeToLive != -1 {
		t.Errorf("%+v, %v, %s", s, err, s.Fits())
	}
	if s, err := x.Describe("pointsman_is_b"); err != nil || s.Exists {
		t.Errorf("%+v, %v", s, err)
	}
	if err := x.Create(CanaryTable); !errors.Is(err, ErrTableExists) {
		t.Errorf("made twice: %v", err)
	}
	prober, err := ParseAccessKey([]byte(labKeyFiles["prober.key"]))
	if err != nil {
		t.Fatal(err)
	}
	y, err := OpenTables(t.Context(), tg, ProbeConfig{}, prober)
	if err != nil {
		t.Fatal(err)
	}
	defer y.Close()
	if err := y.Create("pointsman_new"); FaultOf(err) != failover.FaultDenied {
		t.Errorf("the probes' own key may create: %v", err)
	}
}

// Among several checks the canary tells what it told alone, once.
func TestLabCanaryAmongSeveralChecks(t *testing.T) {
	p := newLabPair(t)
	tg := p.targets()[0]
	alone, err := labProbe(t, tg)()
	if err != nil {
		t.Fatal(err)
	}
	tg.Checks = []Check{{Type: TCP, Name: "port"}, tg.Check}
	tg.Checks[1].Name, tg.Check, tg.Combine = "canary", Check{}, All
	tr, err := labProbe(t, tg)()
	if err != nil || tr.Canary != failover.CanaryOK || tr.Client != failover.ClientAccepted || !tr.Identity || tr.Units != alone.Units {
		t.Errorf("%v, %+v", err, tr)
	}
	if err := p.a.RemoveKey("LTAIprober"); err != nil {
		t.Fatal(err)
	}
	tr, err = labProbe(t, tg)()
	if FaultOf(err) != failover.FaultKey || !strings.HasPrefix(err.Error(), "checks[1] (canary): put: OTSAuthFailed") || tr.Canary != failover.CanaryBad {
		t.Errorf("%v, %+v", err, tr)
	}
	if err := p.a.Kill(); err != nil { // the key is still refused, and the other check misses
		t.Fatal(err)
	}
	if _, err = labProbe(t, tg)(); err == nil || isOwn(err) {
		t.Errorf("%v", err)
	}
}
