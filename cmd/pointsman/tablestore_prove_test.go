package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pointsman/healthcheck"
	"pointsman/internal/doctor"
	"pointsman/internal/failover"
	"pointsman/internal/lab/tablestore"
)

// prepared is the world with its tables.
func prepared(t *testing.T, more map[string]string) *tableWorld {
	t.Helper()
	w := newTableWorld(t, more)
	w.verb(t, exitOK, "tablestore", "prepare", "orders", "-c", "pointsman.yaml", "--key-file", "admin.key", "--yes")
	return w
}

// other writes the configuration anew, in another file.
func (w *tableWorld) other(t *testing.T, changes map[string]string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, "pointsman.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	writeFiles(t, w.dir, map[string]string{"other.yaml": replaced(t, string(text), changes)})
	return "other.yaml"
}

// Each way in which a move would not do what people believe, at clusters that
// are really so, by the program itself.
func TestProveMoveOfTablestore(t *testing.T) {
	w := prepared(t, nil)
	at := func(s *tablestore.Server) string { return strings.TrimPrefix(s.TLSEndpoint(), "https://") }
	prove := func(want int, file string, more ...string) string {
		t.Helper()
		return w.verb(t, want, append([]string{"doctor", "prove-move", "orders", "--from-here", "-c", file}, more...)...)
	}
	said := prove(exitOK, "pointsman.yaml")
	wantIn(t, said, "orders under the clients' name orders.ots.lab.test", "instance orders, service key LTAIprober", "has the table pointsman_is_b and not pointsman_is_a", "open to clients")
	var r moveReport
	if err := json.Unmarshal([]byte(prove(exitOK, "pointsman.yaml", "--as", "client", "-o", "json")), &r); err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Clusters {
		if x := c.Tablestore; !c.Here || x == nil || x.Met != "itself" || x.Gate != "open" || x.Signed != "open" || x.KeyID != "LTAIclient" || x.Store != "orders" {
			t.Errorf("%s: %+v, %+v", c.Cluster, c, x)
		}
	}
	wantIn(t, prove(exitError, "pointsman.yaml", "--as", "root"), `--as: "root" is neither`)
	for _, s := range []*tablestore.Server{w.a, w.b} {
		if n := len(s.Requests(tablestore.Filter{Operation: "PutRow"})); n != len(s.Requests(tablestore.Filter{Operation: "PutRow", Code: "OTSConditionCheckFail"})) || n == 0 {
			t.Errorf("something was written: %d writes", n)
		}
	}

	// One front end before both, which goes by the header: here that of a.
	front := strings.Replace(at(w.a), "127.0.0.1", "localhost", 1)
	said = prove(exitError, w.other(t, map[string]string{at(w.b): front}))
	wantIn(t, said, "a move would change nothing, since cluster a answers there", "give each cluster an endpoint of its own")
	// Clients use a name for which no certificate was made.
	said = prove(exitError, w.other(t, map[string]string{"name: orders.ots.lab.test., provider": "name: shop.ots.lab.test., provider"}))
	wantIn(t, said, "the certificate does not cover the clients' name", "a certificate that covers shop.ots.lab.test")
	// b serves an instance of another name, whatever the file says.
	named, err := tablestore.New(tablestore.Options{
		Instances: []tablestore.Instance{{Name: "orders-b"}}, TLSNames: []string{"orders.ots.lab.test"}, Keys: []tablestore.Key{{ID: "LTAIprober", Secret: "s1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := named.Close(); err != nil {
			t.Error(err)
		}
	})
	writeFiles(t, w.dir, map[string]string{"other.pem": string(w.a.CA()) + string(named.CA())})
	said = prove(exitError, w.other(t, map[string]string{at(w.b): at(named), "ca_file: ca.pem": "ca_file: other.pem"}))
	wantIn(t, said, "cluster b has no instance orders", "The instance is not found.")
	// b speaks http.
	said = prove(exitError, w.other(t, map[string]string{at(w.b): w.b.Address()}))
	wantIn(t, said, "it speaks plain http, and clients come with https")
	said = prove(exitError, w.other(t, map[string]string{"# scheme: http  ": "scheme: http  #"}))
	wantIn(t, said, "it speaks TLS, and clients come with http")

	// A policy closes b to clients, then to us as well.
	const closed = `{"Version":"1","Statement":[{"Effect":"Deny","Action":["ots:*"],"Resource":["*"],"Principal":["*"],"Condition":{"StringEquals":{"ots:AccessId":[KEYS]}}}]}`
	policy := func(s *tablestore.Server, keys string) {
		t.Helper()
		_, version, _, err := s.Policy("orders")
		text := ""
		if keys != "" {
			text = strings.Replace(closed, "KEYS", keys, 1)
		}
		if err == nil {
			err = s.SetPolicy("orders", text, version)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	policy(w.b, `"LTAIclient"`)
	said = prove(exitError, "pointsman.yaml")
	wantIn(t, said, "a policy closes the cluster to clients, whose key may write at cluster a")
	policy(w.b, `"LTAIclient","LTAIprober"`)
	said = prove(exitError, "pointsman.yaml")
	wantIn(t, said, "a policy closes the cluster to this key, which cluster a takes")
	// Both refuse it: that says something of the key.
	policy(w.a, `"LTAIclient","LTAIprober"`)
	said = prove(exitWarnings, "pointsman.yaml")
	wantIn(t, said, "unknown, and nothing against a move: the key may not look, at cluster a neither")
	policy(w.a, "")
	policy(w.b, "")

	// The key, and the clock.
	w.b.RemoveKey("LTAIprober")
	said = prove(exitWarnings, "pointsman.yaml")
	wantIn(t, said, "unknown, and nothing against a move: the key is refused", "The AccessKeyID does not exist.")
	w.b.RemoveKey("LTAIclient")
	said = prove(exitError, "pointsman.yaml", "--as", "client")
	wantIn(t, said, "the clients' key is refused, and cluster a takes it")

	// The whole examination knows it too, and writes no row with --read-only.
	w.a.Forget()
	said = w.verb(t, exitError, "doctor", "-c", "pointsman.yaml", "--only", "cluster.probe,cluster.move", "--read-only")
	wantIn(t, said, "cluster.move", "it would write a row into pointsman_canary", "the clients' key is refused")
	if n := len(w.a.Requests(tablestore.Filter{Operation: "PutRow"})); n != 1 {
		t.Errorf("%d writes with --read-only, want the one that cannot take effect", n)
	}
}

// Both clusters are up, and nothing else stands against a move: but which of
// them b is nobody has seen. The guard alone refuses, and lets go when it is
// shown.
func TestMoveProofAloneRefusesTablestore(t *testing.T) {
	t.Parallel()
	w := prepared(t, nil)
	id, err := w.b.Fail(tablestore.Fault{Kind: tablestore.ErrorCode, Table: "pointsman_is_b", Code: "OTSPartitionUnavailable"}, -1)
	if err != nil {
		t.Fatal(err)
	}
	w.run(t)
	w.until(t, "both up", bothUp)
	w.verb(t, exitOK, "arm", "orders", "--mode", "auto", "--yes")
	refused := func() []failover.Guard {
		t.Helper()
		code, said := w.try(t, "plan", "switchover", "orders", "--to", "b", "-o", "json")
		var p failover.Plan
		if err := json.Unmarshal([]byte(said), &p); err != nil {
			t.Fatalf("exit status %d: %v\n%s", code, err, said)
		}
		var out []failover.Guard
		for _, g := range p.Guards {
			if !g.Allow && g.Binds {
				out = append(out, g.Guard)
			}
		}
		return out
	}
	within(t, 2*patience, "nothing but move-proof", func() bool {
		got := refused()
		return len(got) == 1 && got[0] == failover.GuardMoveProof
	})
	wantIn(t, w.verb(t, exitRefused, "switchover", "orders", "--to", "b", "--yes"), "refused by move-proof", "clients under their own name are served by b itself")
	wantIn(t, w.verb(t, exitError, "doctor", "prove-move", "orders", "-c", "pointsman.yaml"), "no proof was ever recorded", "unknown, and nothing against a move: the cluster, or a part of it, is busy")
	w.b.Heal(id)
	w.until(t, "the proof", func(v failover.View) bool { return v.Clusters[1].Proof != nil })
	wantIn(t, w.verb(t, exitOK, "switchover", "orders", "--to", "b", "--yes"), "settled")
}

// What a client can meet has a judgement of its own.
func TestEveryMeetingIsJudged(t *testing.T) {
	seen := map[string]healthcheck.Met{}
	for _, m := range healthcheck.Meetings {
		if m == healthcheck.MetOpen {
			continue // of the gate
		}
		f := doctor.JudgeMove(doctor.MoveFacts{Instance: "i", Cluster: "b", OtherCluster: "a", Met: string(m), Elsewhere: true})[0]
		text := string(f.Verdict) + f.Evidence + f.Fix
		if before, twice := seen[text]; twice && !(m == healthcheck.MetFailing && before == healthcheck.MetStopped) {
			t.Errorf("%s is judged as %s is", m, before)
		}
		seen[text] = m
	}
}
