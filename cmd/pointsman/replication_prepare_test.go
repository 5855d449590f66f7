package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"pointsman/internal/doctor"
	lab "pointsman/internal/lab/tablestore"
)

// newReplicaWorld is the sample of replication between two Tablestores of the
// lab. Each identity has the rights that init rights prints for it, and no
// others. Nothing runs yet, and a has the tables named, made as people do: no
// stream, a window of a day.
func newReplicaWorld(t *testing.T, more map[string]string, tables ...string) *tableWorld {
	t.Helper()
	changes := map[string]string{"../run/source.key.json": "source.key", "../run/target.key.json": "target.key"}
	for k, v := range more {
		changes[k] = v
	}
	w := tableWorldOf(t, "tablestore-replication.yaml", changes)
	for i, who := range []string{"replicator-source", "replicator-target", "prepare"} {
		secret := "r" + string(rune('1'+i))
		w.grant(t, who, secret)
		text, err := json.Marshal(map[string]string{"AccessKeyId": "LTAI" + who, "AccessKeySecret": secret})
		if err != nil {
			t.Fatal(err)
		}
		writeFiles(t, w.dir, map[string]string{[]string{"source.key", "target.key", "prepare.key"}[i]: string(text)})
	}
	for _, name := range tables {
		w.makeTable(t, w.a, name)
	}
	return w
}

// admin is the vendor's client with the key that may do all.
func admin(s *lab.Server) *tablestore.TableStoreClient {
	return tablestore.NewClient(s.Endpoint(), "orders", "LTAIadmin", "s3")
}

func (w *tableWorld) makeTable(t *testing.T, s *lab.Server, name string) {
	t.Helper()
	meta := &tablestore.TableMeta{TableName: name}
	meta.AddPrimaryKeyColumn("id", tablestore.PrimaryKeyType_STRING)
	_, err := admin(s).CreateTable(&tablestore.CreateTableRequest{
		TableMeta: meta, TableOption: &tablestore.TableOption{TimeToAlive: -1, MaxVersion: 1}, ReservedThroughput: &tablestore.ReservedThroughput{},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// examined is what doctor says of replication: the verdicts by id.
func (w *tableWorld) examined(t *testing.T, want int) (map[string][]doctor.Finding, string) {
	t.Helper()
	var r doctorReport
	said := w.verb(t, want, "doctor", "-c", "pointsman.yaml", "--only", "replication", "-o", "json")
	if err := json.Unmarshal([]byte(said), &r); err != nil {
		t.Fatal(err)
	}
	out := map[string][]doctor.Finding{}
	for _, f := range r.Findings {
		out[f.ID] = append(out[f.ID], f)
	}
	return out, said
}

// Doctor says what is missing before anything is made, and that all is well
// afterwards, with the least rights; then each fault, at clusters that are
// really so.
func TestDoctorOfReplication(t *testing.T) {
	w := newReplicaWorld(t, nil, "orders", "returns")
	f, said := w.examined(t, exitError)
	wantIn(t, said, "table.missing: the table is not at the target", "stream.off", "own.missing", "replication prepare")
	for _, id := range []string{"replication.parity", "replication.streams", "replication.control"} {
		if len(f[id]) == 0 || f[id][0].Verdict != doctor.Fail {
			t.Errorf("before anything is made %s is %+v", id, f[id])
		}
	}
	w.verb(t, exitOK, "replication", "prepare", "orders", "-c", "pointsman.yaml", "--key-file", "prepare.key", "--yes")
	f, said = w.examined(t, exitOK)
	for _, id := range replicationIDs {
		for _, x := range f[id] {
			if x.Verdict != doctor.OK {
				t.Errorf("when all is made: %+v", x)
			}
		}
		if len(f[id]) == 0 {
			t.Errorf("nothing is said of %s", id)
		}
	}
	wantIn(t, said, "2 tables are alike, from a to b", "2 open shards of 2 tables", "about 86,400 read units a day", "key LTAIreplicator-source has the")
	if n := len(w.a.Requests(lab.Filter{Operation: "PutRow", Table: "orders"})) + len(w.a.Requests(lab.Filter{Operation: "BatchWriteRow", Table: "orders"})); n > 0 {
		t.Errorf("it wrote %d times into a table of people", n)
	}

	// A key that may do all, and one key for both.
	writeFiles(t, w.dir, map[string]string{"source.key": `{"AccessKeyId":"LTAIadmin","AccessKeySecret":"s3"}`, "target.key": `{"AccessKeyId":"LTAIadmin","AccessKeySecret":"s3"}`})
	_, said = w.examined(t, exitWarnings)
	wantIn(t, said, "key LTAIadmin may do more than it needs: ots:PutRow on pointsman_no_such_table", "key LTAIadmin is that of target too")
	// The keys are the wrong way round.
	writeFiles(t, w.dir, map[string]string{"source.key": `{"AccessKeyId":"LTAIreplicator-target","AccessKeySecret":"r2"}`, "target.key": `{"AccessKeyId":"LTAIreplicator-source","AccessKeySecret":"r1"}`})
	f, said = w.examined(t, exitError)
	wantIn(t, said, "key LTAIreplicator-target lacks ots:ListTable", "lacks ots:BatchWriteRow on pointsman_no_such_table")
	if x := f["replication.parity"]; len(x) != 1 || x[0].Verdict != doctor.Skipped {
		t.Errorf("of parity that nobody could look at it says %+v", x)
	}
	// None at all.
	writeFiles(t, w.dir, map[string]string{"source.key": "{}"})
	_, said = w.examined(t, exitError)
	wantIn(t, said, "holds no AccessKeyId")
}

// Nothing is made before it was shown and agreed to; then all of it, and a
// second run finds nothing to do.
func TestReplicationPrepare(t *testing.T) {
	w := newReplicaWorld(t, nil, "orders")
	prepare := func(want int, more ...string) string {
		t.Helper()
		return w.verb(t, want, append([]string{"replication", "prepare", "orders", "-c", "pointsman.yaml"}, more...)...)
	}
	wantIn(t, prepare(exitError), "exactly one of --key-file and --key-env is needed")
	said := prepare(exitChanges, "--key-file", "prepare.key", "--dry-run")
	wantIn(t, said, "rows go from a (instance orders) to b (instance orders)", "planned", "pointsman_replication", "pointsman_dead_letters", "enable its stream, of 168 h",
		"make it: key (id STRING), rows live for ever, 1 versions within 2147483647 s", "the stream has a new ID", "no controller says which cluster is active: a is taken")
	wantIn(t, prepare(exitError, "--key-file", "prepare.key"), "needs a confirmation, and this is no terminal", "add --yes")
	wantIn(t, prepare(exitError, "--key-file", "prepare.key", "--yes", "--from", "c"), `"c" is no cluster of orders`)
	if names := tableNames(w.b); names != "" {
		t.Errorf("made without a word: %q", names)
	}
	// The keys of replication itself may look, and make nothing.
	said = prepare(exitError, "--key-file", "source.key", "--yes")
	wantIn(t, said, "OTSNoPermissionAccess", "failed", "pointsman init rights prints what each identity needs")
	if names := tableNames(w.b); names != "" {
		t.Errorf("made without a right: %q", names)
	}
	said = prepare(exitOK, "--key-file", "prepare.key", "--yes")
	wantIn(t, said, "done")
	if strings.Contains(said, "left, which no step mends") {
		t.Errorf("it leaves something:\n%s", said)
	}
	if names := tableNames(w.b); names != "orders pointsman_dead_letters pointsman_replication" {
		t.Errorf("b has %q", names)
	}
	said = prepare(exitOK, "--key-file", "prepare.key", "--yes", "-o", "json")
	wantIn(t, said, `"steps": []`, `"left": []`)
	if strings.Contains(said, "r3") {
		t.Errorf("it shows a secret:\n%s", said)
	}
	// The other way round the same tables are as they should be.
	wantIn(t, prepare(exitOK, "--key-file", "prepare.key", "--dry-run", "--from", "b"), "rows go from b (instance orders) to a (instance orders)", "nothing is missing")
}

// putRow writes a row of the application at one cluster alone.
func (w *tableWorld) putRow(t *testing.T, s *lab.Server, table, id, column, value string, version int64) {
	t.Helper()
	key := new(tablestore.PrimaryKey)
	key.AddPrimaryKeyColumn("id", id)
	row := &tablestore.PutRowChange{TableName: table, PrimaryKey: key}
	row.AddColumnWithTimestamp(column, value, version)
	row.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
	if _, err := admin(s).PutRow(&tablestore.PutRowRequest{PutRowChange: row}); err != nil {
		t.Fatal(err)
	}
}

// Verify names what differs, by key and column and without a value, and its
// exit status tells equal, different and not compared apart.
func TestReplicationVerify(t *testing.T) {
	t.Parallel()
	w := newReplicaWorld(t, map[string]string{"# poll: {busy: 100ms, idle: 2s}": "poll: {busy: 100ms, idle: 100ms}", "visibility: 1s": "visibility: 0s"}, "orders", "returns")
	verify := func(want int, more ...string) string {
		t.Helper()
		return w.verb(t, want, append([]string{"replication", "verify", "orders", "-c", "pointsman.yaml"}, more...)...)
	}
	wantIn(t, verify(exitError, "--full"), "returns: not compared", "a table was not compared")
	w.verb(t, exitOK, "replication", "prepare", "orders", "-c", "pointsman.yaml", "--key-file", "prepare.key", "--yes")
	now := time.Now().UnixMilli()
	for _, s := range []*lab.Server{w.a, w.b} {
		w.putRow(t, s, "orders", "same", "text", "alike", now)
	}
	wantIn(t, verify(exitOK, "--full"), "b compared with a, all of it", "orders   equal", "returns  equal")
	wantIn(t, verify(exitOK), "a sample of 1 % (--seed ")
	w.putRow(t, w.a, "orders", "here", "text", "hunter2", now)
	w.putRow(t, w.b, "orders", "there", "text", "hunter3", now)
	w.putRow(t, w.a, "orders", "both", "text", "hunter4", now)
	w.putRow(t, w.b, "orders", "both", "text", "hunter5", now)
	said := verify(exitChanges, "--full")
	wantIn(t, said, "3 rows DIFFER", "only at a", "only at b", "text another value in the same version", `"both"`, `"here"`, `"there"`)
	if strings.Contains(said, "hunter") {
		t.Errorf("it shows a value:\n%s", said)
	}
	var v verified
	said = verify(exitChanges, "--table", "orders", "--sample", "100%", "-o", "json")
	if err := json.NewDecoder(strings.NewReader(said)).Decode(&v); err != nil {
		t.Fatal(err)
	}
	if v.Equal || v.From != "a" || v.To != "b" || len(v.Tables) != 1 || len(v.Tables[0].Differences) != 3 {
		t.Errorf("as JSON it is %+v", v)
	}
	wantIn(t, verify(exitOK, "--table", "returns", "--full"), "returns  equal")
	for _, x := range []string{"0", "101%", "-1%", "x", "NaN"} {
		wantIn(t, verify(exitError, "--sample", x), "is no share")
	}
}

// The sample, run between two Tablestores: each identity has the least rights
// that init rights prints, and that is enough to copy and to follow; a row that
// is written at a arrives at b, and verify finds no difference.
func TestTheReplicationSampleRuns(t *testing.T) {
	t.Parallel()
	w := newReplicaWorld(t, map[string]string{"# poll: {busy: 100ms, idle: 2s}": "poll: {busy: 20ms, idle: 100ms}", "visibility: 1s": "visibility: 0s"}, "orders", "returns")
	now := time.Now().UnixMilli()
	w.putRow(t, w.a, "orders", "before", "text", "copied", now)
	w.verb(t, exitOK, "tablestore", "prepare", "orders", "-c", "pointsman.yaml", "--key-file", "admin.key", "--yes")
	w.verb(t, exitOK, "replication", "prepare", "orders", "-c", "pointsman.yaml", "--key-file", "prepare.key", "--yes")
	w.run(t)
	w.until(t, "both up", bothUp)
	_, said := w.try(t, "replication", "status", "orders", "-c", "pointsman.yaml")
	wantIn(t, said, "in shadow, in which nothing is done")
	w.verb(t, exitOK, "arm", "orders", "--mode", "propose", "--yes")
	following := func() bool {
		var st struct {
			Standby  string
			Exposure struct{ Known bool }
			Tables   []struct{ Phase string }
		}
		code, said := w.try(t, "replication", "status", "orders", "-c", "pointsman.yaml", "-o", "json")
		if code != exitOK || json.NewDecoder(strings.NewReader(said)).Decode(&st) != nil || !st.Exposure.Known || len(st.Tables) != 2 {
			return false
		}
		for _, x := range st.Tables {
			if x.Phase != "following" {
				return false
			}
		}
		return st.Standby == "synced"
	}
	for end := time.Now().Add(patience); !following(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			_, said := w.try(t, "replication", "status", "orders", "-c", "pointsman.yaml")
			t.Fatalf("it does not follow:\n%s", said)
		}
	}
	w.putRow(t, w.a, "orders", "after", "text", "followed", now)
	wantIn(t, w.verb(t, exitOK, "replication", "verify", "orders", "--full", "-c", "pointsman.yaml"), "orders   equal", "returns  equal")
	key := new(tablestore.PrimaryKey)
	for id, want := range map[string]string{"before": "copied", "after": "followed"} {
		key.PrimaryKeys = nil
		key.AddPrimaryKeyColumn("id", id)
		row, err := admin(w.b).GetRow(&tablestore.GetRowRequest{SingleRowQueryCriteria: &tablestore.SingleRowQueryCriteria{TableName: "orders", PrimaryKey: key, MaxVersion: 1}})
		if err != nil || len(row.Columns) != 1 || row.Columns[0].Value != want || row.Columns[0].Timestamp != now {
			t.Errorf("%s at b is %+v, %v", id, row, err)
		}
	}
	for _, s := range []*lab.Server{w.a, w.b} {
		for _, r := range s.Requests(lab.Filter{Code: "OTSNoPermissionAccess"}) {
			if r.Tables[0] != "pointsman_canary" {
				t.Errorf("%s lacked a right: %+v", r.KeyID, r)
			}
		}
	}
	wantIn(t, w.verb(t, exitOK, "doctor", "-c", "pointsman.yaml", "--only", "replication"), "2 tables are alike, from a to b")
}
