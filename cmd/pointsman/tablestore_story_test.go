package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pointsman/internal/config"
	"pointsman/internal/doctor"
	"pointsman/internal/failover"
	"pointsman/internal/lab/tablestore"
)

// The sample of Tablestore, run between two Tablestores of the lab.

// tableWorld is that: the program in its folder, and the two clusters.
type tableWorld struct {
	*bindWorld
	a, b *tablestore.Server
	dns  string
}

func newTableWorld(t *testing.T, more map[string]string) *tableWorld {
	t.Helper()
	return tableWorldOf(t, "tablestore.yaml", more)
}

// tableWorldOf runs one of the samples of Tablestore.
func tableWorldOf(t *testing.T, sample string, more map[string]string) *tableWorld {
	t.Helper()
	globals := tablestore.NewGlobals()
	start := func(region string) *tablestore.Server {
		s, err := tablestore.New(tablestore.Options{
			Globals:   globals,
			Instances: []tablestore.Instance{{Name: "orders", Region: region}}, TLSNames: []string{"orders.ots.lab.test"}, Policy: &tablestore.PolicyRules{},
			Keys: []tablestore.Key{{ID: "LTAIclient", Secret: "s2"}, {ID: "LTAIadmin", Secret: "s3"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	w := &tableWorld{bindWorld: &bindWorld{dir: shortDir(t, "ots")}, a: start("zone-1"), b: start("zone-2"), dns: freeAddr(t)}
	text, err := os.ReadFile(filepath.Join("../../configs", sample))
	if err != nil {
		t.Fatal(err)
	}
	changes := map[string]string{
		"127.0.0.1:5353": w.dns, "tcp://192.0.2.1:443": "tcp://" + controlAt(t), "data: ../run/" + strings.TrimSuffix(sample, ".yaml"): "data: data\n  socket: s/s",
		"address: 192.0.2.11:443": "address: " + strings.TrimPrefix(w.a.TLSEndpoint(), "https://"), "address: 198.51.100.11:443": "address: " + strings.TrimPrefix(w.b.TLSEndpoint(), "https://"),
		"../run/prober.key.json": "prober.key", "../run/client.key.json": "client.key", "# ca_file: ca.pem": "ca_file: ca.pem",
		"[192.0.2.11]": "[127.0.1.1]", "[198.51.100.11]": "[127.0.1.2]",
		// Figures that fit a test; the story is that of the sample.
		"auto: propose": "auto: auto\n    round: 500ms\n    timeout: 400ms\n    burst: 50ms\n    rise: 2\n    ride_out: 1s\n    ttl: 5s\n    min_up: 0s\n    config_settle: 0s",
	}
	for k, v := range more {
		changes[k] = v
	}
	writeFiles(t, w.dir, map[string]string{
		"pointsman.yaml": replaced(t, string(text), changes), "ca.pem": string(w.a.CA()) + string(w.b.CA()),
		"prober.key": `{"AccessKeyId":"LTAIprober","AccessKeySecret":"s1"}`, "client.key": `{"AccessKeyId":"LTAIclient","AccessKeySecret":"s2"}`,
		"admin.key": `{"AccessKeyId":"LTAIadmin","AccessKeySecret":"s3"}`,
	})
	// The probes have the rights that the program prints, and no others.
	w.grant(t, "prober", "s1")
	return w
}

// grant makes a key at both clusters, with the rights that init rights prints
// for whom it is for.
func (w *tableWorld) grant(t *testing.T, who, secret string) {
	t.Helper()
	text, err := json.Marshal(rightsFor(t, "embedded", filepath.Join(w.dir, "pointsman.yaml"), "pointsman-"+who))
	if err != nil {
		t.Fatal(err)
	}
	least, err := tablestore.ParsePolicy(string(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, s := range []*tablestore.Server{w.a, w.b} {
		s.RemoveKey("LTAI" + who)
		if err := s.AddKey(tablestore.Key{ID: "LTAI" + who, Secret: secret, Policy: least, User: who}); err != nil {
			t.Fatal(err)
		}
	}
}

func tableNames(s *tablestore.Server) string {
	var out []string
	for _, x := range s.Tables("orders") {
		out = append(out, x.Name)
	}
	return strings.Join(out, " ")
}

// Tables are made once, after they were shown, and never halfway.
func TestTablestorePrepare(t *testing.T) {
	w := newTableWorld(t, nil)
	prepare := func(want int, more ...string) string {
		t.Helper()
		return w.verb(t, want, append([]string{"tablestore", "prepare", "orders", "-c", "pointsman.yaml"}, more...)...)
	}
	wantIn(t, prepare(exitError), "exactly one of --key-file and --key-env is needed")
	wantIn(t, prepare(exitError, "--key-file", "prober.key", "--key-env"), "exactly one of --key-file and --key-env is needed")
	said := prepare(exitChanges, "--key-file", "admin.key", "--dry-run")
	wantIn(t, said, "orders under the clients' name orders.ots.lab.test", "pointsman_canary", "pointsman_is_a", "pointsman_is_b", "missing", "none")
	wantIn(t, prepare(exitError, "--key-file", "admin.key"), "needs a confirmation, and this is no terminal", "add --yes")
	// The probes' own key may look, and make nothing.
	said = prepare(exitError, "--key-file", "prober.key", "--yes")
	wantIn(t, said, "make pointsman_canary at a: OTSNoPermissionAccess (403)", "the key needs ots:DescribeTable and ots:CreateTable")
	if a, b := tableNames(w.a), tableNames(w.b); a != "" || b != "" {
		t.Errorf("made without a word: %q, %q", a, b)
	}
	if err := os.Chmod(filepath.Join(w.dir, "admin.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	wantIn(t, prepare(exitError, "--key-file", "admin.key", "--yes"), "others may read or change it", "chmod 600")
	if err := os.Chmod(filepath.Join(w.dir, "admin.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantIn(t, prepare(exitOK, "--key-file", "admin.key", "--yes"), "made")
	if a, b := tableNames(w.a), tableNames(w.b); a != "pointsman_canary pointsman_is_a" || b != "pointsman_canary pointsman_is_b" {
		t.Errorf("a has %q, b has %q", a, b)
	}
	said = prepare(exitOK, "--key-file", "admin.key", "--yes", "-o", "json")
	wantIn(t, said, `"state": "there"`, `"tablestore_instance": "orders"`)
	if strings.Contains(said, "missing") || strings.Contains(said, "s3") {
		t.Errorf("the second time:\n%s", said)
	}
}

// Two addresses of one store look well until the tables are made: then nothing
// may be left to believe that a move would move anybody.
func TestTablestorePrepareFindsOneStore(t *testing.T) {
	w := newTableWorld(t, nil)
	file := filepath.Join(w.dir, "pointsman.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.TrimPrefix(w.b.TLSEndpoint(), "https://")
	other := strings.Replace(strings.TrimPrefix(w.a.TLSEndpoint(), "https://"), "127.0.0.1", "localhost", 1)
	writeFiles(t, w.dir, map[string]string{"pointsman.yaml": replaced(t, string(text), map[string]string{at: other})})
	said := w.verb(t, exitError, "tablestore", "prepare", "orders", "-c", "pointsman.yaml", "--key-file", "admin.key", "--yes")
	wantIn(t, said, "the two addresses lead to one store")
	said = w.verb(t, exitError, "tablestore", "prepare", "orders", "-c", "pointsman.yaml", "--key-file", "admin.key", "--yes")
	wantIn(t, said, "nothing was made", "it must exist only at the other cluster")
}

// TestTablestoreSampleIsRun: what the probes see moves the name, and what is
// our own fault does not.
func TestTablestoreSampleIsRun(t *testing.T) {
	t.Parallel()
	w := newTableWorld(t, nil)
	w.verb(t, exitOK, "tablestore", "prepare", "orders", "-c", "pointsman.yaml", "--key-file", "admin.key", "--yes")
	wantIn(t, w.verb(t, exitOK, "doctor", "prove-move", "orders", "--from-here", "-c", "pointsman.yaml"), "orders.ots.lab.test")
	w.run(t)
	v := w.until(t, "both up", bothUp)
	for _, c := range v.Clusters {
		if x := c.Votes[0]; !x.Identity || x.Canary != failover.CanaryOK || x.Client != failover.ClientAccepted || x.CertificateEnds.IsZero() {
			t.Errorf("%s: %+v", c.Name, x)
		}
	}
	w.verb(t, exitOK, "arm", "orders", "--mode", "auto", "--yes")

	// The access-key service fails everywhere.
	for _, s := range []*tablestore.Server{w.a, w.b} {
		if _, err := s.Fail(tablestore.Fault{Kind: tablestore.ErrorCode, Code: "OTSAuthFailed", Message: "The AccessKeyID does not exist."}, -1); err != nil {
			t.Fatal(err)
		}
	}
	v = w.until(t, "the alarm", func(v failover.View) bool { return !v.AuthFault.IsZero() })
	for _, c := range v.Clusters {
		if c.Verdict != failover.Unknown || c.Fault != failover.FaultKey {
			t.Errorf("%s is %s, fault %q", c.Name, c.Verdict, c.Fault)
		}
	}
	wantIn(t, w.verb(t, exitOK, "status", "orders"), "notice: provider-wide auth fault: keys are refused at both a and b", "The AccessKeyID does not exist.")
	wantIn(t, w.verb(t, exitOK, "explain", "orders"), "orders stays at a, which is unknown")
	w.answered(t, w.dns, "orders.ots.lab.test.", "127.0.1.1")
	w.a.Heal()
	w.b.Heal()
	v = w.until(t, "its end", func(v failover.View) bool { return bothUp(v) && v.AuthFault.IsZero() })
	if v.Active != "a" || v.LastOp != nil {
		t.Errorf("active is %s, the last operation %+v", v.Active, v.LastOp)
	}

	// A policy closes a to clients: no outage, and it is seen.
	const closed = `{"Version":"1","Statement":[{"Effect":"Deny","Action":["ots:PutRow"],"Resource":["*"],"Principal":["*"],"Condition":{"StringNotEquals":{"ots:AccessId":["LTAIprober"]}}}]}`
	if err := w.a.SetPolicy("orders", closed, 0); err != nil {
		t.Fatal(err)
	}
	w.until(t, "closed", func(v failover.View) bool {
		return bothUp(v) && v.Clusters[0].Votes[0].Client == failover.ClientRefused && v.Clusters[1].Votes[0].Client == failover.ClientAccepted
	})

	// Its instance is stopped: that is an outage.
	if err := w.a.SetStopped("orders", true); err != nil {
		t.Fatal(err)
	}
	v = w.until(t, "the move", func(v failover.View) bool { return v.Active == "b" && v.Op == nil })
	wantIn(t, strings.Join(v.LastOp.Op.Evidence, " ")+v.LastOp.Op.Reason, "The instance is not running.")
	w.answered(t, w.dns, "orders.ots.lab.test.", "127.0.1.2")
}

// What doctor says of clusters that answer and cannot be looked at, of one that
// is another, and of their clocks.
func TestTablestoreDoctor(t *testing.T) {
	w := newTableWorld(t, nil)
	file := filepath.Join(w.dir, "pointsman.yaml")
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	probed := func(cluster int, want doctor.Verdict, texts ...string) {
		t.Helper()
		f := doctor.JudgeProbe(probeFrom(t.Context(), cfg, cfg.Instances[0].Targets[cluster]))
		if f.Verdict != want {
			t.Errorf("%+v", f)
		}
		wantIn(t, f.Evidence+" "+f.Fix, texts...)
	}
	probed(0, doctor.Fail, "it counts as unknown (setup)", "OTSObjectNotExist (404)", "pointsman tablestore prepare orders makes the tables")
	w.verb(t, exitOK, "tablestore", "prepare", "orders", "-c", "pointsman.yaml", "--key-file", "admin.key", "--yes")
	probed(0, doctor.OK, "and says that it is a")
	probed(1, doctor.OK, "and says that it is b")
	if err := w.b.RemoveKey("LTAIprober"); err != nil {
		t.Fatal(err)
	}
	probed(1, doctor.Fail, "it counts as unknown (key)", "The AccessKeyID does not exist.", "into service_key_file")
	for _, tg := range cfg.Instances[0].Targets {
		if f := clusterClock(t.Context(), cfg, tg); f.How != "the x-ots-date of its answer" || f.Err != "" || f.Offset.Abs() > f.Unsure+time.Second {
			t.Errorf("%+v", f)
		}
	}
	w.a.SetClockOffset(20 * time.Minute)
	if f := doctor.JudgeClock("clock.clusters", clusterClock(t.Context(), cfg, cfg.Instances[0].Targets[0])); f.Verdict != doctor.Fail || !strings.Contains(f.Evidence+f.Fix, "15 min") {
		t.Errorf("%+v", f)
	}
	// a leads to b.
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	a, b := strings.TrimPrefix(w.a.TLSEndpoint(), "https://"), strings.TrimPrefix(w.b.TLSEndpoint(), "https://")
	writeFiles(t, w.dir, map[string]string{"pointsman.yaml": replaced(t, replaced(t, replaced(t, string(text), map[string]string{a: "SWAP"}), map[string]string{b: a}), map[string]string{"SWAP": b})})
	w.a.SetClockOffset(0)
	if cfg, err = config.Load(file); err != nil {
		t.Fatal(err)
	}
	probed(1, doctor.Fail, "it has the table pointsman_is_a and not pointsman_is_b", "a move would send clients to another cluster")
}
