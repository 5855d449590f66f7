package doctor

import (
	"testing"
	"time"
)

// soundMove is a cluster at which clients would be served.
func soundMove() MoveFacts {
	return MoveFacts{
		Instance: "orders", Cluster: "b", OtherCluster: "a", Address: "192.0.2.20:443", Endpoint: "https://orders.example.com", Client: "orders.example.com",
		Store: "orders", Bearer: "service", KeyID: "LTAIx", Own: "pointsman_is_b", Other: "pointsman_is_a", From: "zone-a", Region: "zone-b",
		Met: metItself, Why: "it says so", Elsewhere: true, Gate: metOpen, GateWhy: "it may write", GateElsewhere: true, Signed: metOpen, Took: time.Millisecond,
	}
}

func TestAMoveIsJudgedByWhatClientsWouldMeet(t *testing.T) {
	met := func(m string) func(*MoveFacts) {
		return func(f *MoveFacts) { f.Met, f.Why, f.Gate, f.Signed = m, "the words", "", "" }
	}
	for name, c := range map[string]struct {
		change func(*MoveFacts)
		want   verdictIs
		all    int // findings
	}{
		"well":      {func(*MoveFacts) {}, verdictIs{moveID, OK, "192.0.2.20:443 as https://orders.example.com, instance orders, service key LTAIx: in 1ms: it says so", ""}, 2},
		"by http":   {func(f *MoveFacts) { f.Endpoint = "http://orders.example.com" }, verdictIs{moveID, OK, "nothing is shown of clients that use https", ""}, 2},
		"open":      {func(*MoveFacts) {}, verdictIs{moveID, OK, "open to clients: it may write (nothing was written)", ""}, 2},
		"other":     {met(metOther), verdictIs{moveID, Fail, "a move would change nothing, since cluster a answers there: the words", "one front end stands before both"}, 1},
		"both":      {met(metBoth), verdictIs{moveID, Fail, "cannot be told", "belongs to cluster a"}, 1},
		"neither":   {met(metNeither), verdictIs{moveID, Fail, "cannot be told", "tablestore prepare orders"}, 1},
		"instance":  {met(metInstance), verdictIs{moveID, Fail, "cluster b has no instance orders", "push of endpoint, instance and region"}, 1},
		"name":      {met(metName), verdictIs{moveID, Fail, "does not cover the clients' name", "certificate that covers orders.example.com"}, 1},
		"trust":     {met(metTrust), verdictIs{moveID, Fail, "would refuse the certificate", "check.ca_file"}, 1},
		"plain":     {met(metPlain), verdictIs{moveID, Fail, "speaks plain http, and clients come with https", "speak TLS"}, 1},
		"tls":       {met(metTLS), verdictIs{moveID, Fail, "speaks TLS, and clients come with http", "scheme: https"}, 1},
		"stranger":  {met(metStranger), verdictIs{moveID, Fail, "no Tablestore", "address of cluster b"}, 1},
		"stopped":   {met(metStopped), verdictIs{moveID, Fail, "does not serve", "bring cluster b up"}, 1},
		"failing":   {met(metFailing), verdictIs{moveID, Fail, "does not serve", "bring cluster b up"}, 1},
		"silence":   {met(metSilence), verdictIs{moveID, Fail, "no answer", "start cluster b"}, 1},
		"busy":      {met(metBusy), verdictIs{moveID, Warn, "unknown, and nothing against a move: the cluster, or a part of it, is busy: the words", "again"}, 1},
		"key":       {met(metKey), verdictIs{moveID, Warn, "unknown, and nothing against a move: the key is refused", "one account"}, 1},
		"clock":     {met(metClock), verdictIs{moveID, Warn, "unknown, and nothing against a move: the clock of this host", "NTP"}, 1},
		"network":   {met(metNetwork), verdictIs{moveID, Warn, "unknown, and nothing against a move: the network of this host", "from where clients are"}, 1},
		"ours":      {met(metOurs), verdictIs{moveID, Warn, "unknown, and nothing against a move: a fault of this host", "mend"}, 1},
		"closed":    {met(metDenied), verdictIs{moveID, Fail, "a policy closes the cluster to this key, which cluster a takes", "policy of the instance at cluster b"}, 1},
		"no rights": {func(f *MoveFacts) { met(metDenied)(f); f.Elsewhere = false }, verdictIs{moveID, Warn, "the key may not look, at cluster a neither", "ots:GetRow on pointsman_is_b"}, 1},

		"closed to clients":      {func(f *MoveFacts) { f.Gate, f.GateWhy = metDenied, "denied" }, verdictIs{moveID, Fail, "a policy closes the cluster to clients, whose key may write at cluster a: denied", "lift the statement"}, 2},
		"client without rights":  {func(f *MoveFacts) { f.Gate, f.GateElsewhere = metDenied, false }, verdictIs{moveID, Warn, "whether clients may write is unknown", "ots:PutRow"}, 2},
		"key of another account": {func(f *MoveFacts) { f.Gate = metKey }, verdictIs{moveID, Fail, "the clients' key is refused, and cluster a takes it", "account"}, 2},
		"keys fail everywhere":   {func(f *MoveFacts) { f.Gate, f.GateElsewhere = metKey, false }, verdictIs{moveID, Warn, "whether clients may write is unknown", "mend"}, 2},
		"no canary":              {func(f *MoveFacts) { f.Gate = metNeither }, verdictIs{moveID, Warn, "unknown", "tablestore prepare orders"}, 2},

		"trap":       {func(f *MoveFacts) { f.Signed, f.SignedHere = metKey, metOpen }, verdictIs{moveID, Warn, "one for zone-a, where cluster a is, is refused here in zone-b", "the older way"}, 3},
		"no V4":      {func(f *MoveFacts) { f.Signed, f.SignedHere = metKey, metKey }, verdictIs{moveID, Warn, "whatever their region", "the older way"}, 3},
		"V4 unknown": {func(f *MoveFacts) { f.Signed = metBusy }, verdictIs{moveID, Warn, "sign by V4 for zone-a would be served is unknown", "again"}, 3},
		"expiry":     {func(f *MoveFacts) { f.Warnings = []string{"certificate ends in 2 days"} }, verdictIs{moveID, Warn, "certificate ends in 2 days", "renew"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			f := soundMove()
			c.change(&f)
			fs := JudgeMove(f)
			c.want.check(t, fs)
			if len(fs) != c.all {
				t.Errorf("%d findings, want %d:\n%s", len(fs), c.all, shown(fs))
			}
		})
	}
}
