package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"pointsman/internal/api"
	"pointsman/internal/failover"
	lab "pointsman/internal/lab/tablestore"
	"pointsman/replication"
)

// put writes rows of a table, by numbers.
func put(t *testing.T, s *lab.Server, table string, from, to int) {
	t.Helper()
	c := admin(s)
	for n := from; n < to; {
		batch := &tablestore.BatchWriteRowRequest{}
		for ; n < to && len(batch.RowChangesGroupByTable[table]) < 100; n++ {
			key := &tablestore.PrimaryKey{}
			key.AddPrimaryKeyColumn("id", fmt.Sprintf("%06d", n))
			row := &tablestore.PutRowChange{TableName: table, PrimaryKey: key}
			row.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
			row.AddColumn("v", fmt.Sprint("value of ", n))
			batch.AddRowChange(row)
		}
		resp, err := c.BatchWriteRow(batch)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range resp.TableToRowsResult[table] {
			if !r.IsSucceed {
				t.Fatalf("row refused: %+v", r.Error)
			}
		}
	}
}

// rowsIn counts the rows of a table, as anybody's client does.
func rowsIn(t *testing.T, s *lab.Server, table string) int {
	t.Helper()
	c, n := admin(s), 0
	start, end := &tablestore.PrimaryKey{}, &tablestore.PrimaryKey{}
	start.AddPrimaryKeyColumnWithMinValue("id")
	end.AddPrimaryKeyColumnWithMaxValue("id")
	for start != nil {
		resp, err := c.GetRange(&tablestore.GetRangeRequest{RangeRowQueryCriteria: &tablestore.RangeRowQueryCriteria{
			TableName: table, StartPrimaryKey: start, EndPrimaryKey: end, Direction: tablestore.FORWARD, MaxVersion: 1, Limit: 5000,
		}})
		if err != nil {
			t.Fatal(err)
		}
		n += len(resp.Rows)
		start = resp.NextStartPrimaryKey
	}
	return n
}

// carries asks for the replication until it is as wanted.
func (w *tableWorld) carries(t *testing.T, what string, ok func(api.ReplicationStatus) bool) api.ReplicationStatus {
	t.Helper()
	client, err := api.NewClient(api.ClientConfig{Socket: filepath.Join(w.dir, "s", "s")})
	if err != nil {
		t.Fatal(err)
	}
	var st api.ReplicationStatus
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		if st, err = client.Replication(t.Context(), "orders"); err == nil && ok(st) {
			return st
		}
	}
	text, _ := json.MarshalIndent(st, "", "  ")
	t.Fatalf("%s did not come: %v\n%s", what, err, text)
	return st
}

// follows: every table is followed, and the standby could take over.
func follows(st api.ReplicationStatus) bool {
	for _, t := range st.Tables {
		if t.Phase != string(replication.PhaseFollowing) {
			return false
		}
	}
	return len(st.Tables) > 0 && st.Exposure.Known && st.Standby == failover.StandbySynced && st.Idle == ""
}

// replicaStory is the world with everything prepared and the tables that probes
// need, so that nothing but run is left to do.
func replicaStory(t *testing.T, more map[string]string, tables ...string) *tableWorld {
	t.Helper()
	w := newReplicaWorld(t, more, tables...)
	w.verb(t, exitOK, "tablestore", "prepare", "orders", "-c", "pointsman.yaml", "--key-file", "admin.key", "--yes")
	w.verb(t, exitOK, "replication", "prepare", "orders", "-c", "pointsman.yaml", "--key-file", "prepare.key", "--yes")
	return w
}

// TestReplicationIsRun: what is there is copied once the instance is armed, what
// is written then is followed, people see what they would lose, and may stop it.
func TestReplicationIsRun(t *testing.T) {
	t.Parallel()
	w := replicaStory(t, nil, "items", "stock")
	put(t, w.a, "items", 0, 700)
	ctl := w.run(t)
	w.until(t, "both up", bothUp)

	// In shadow nothing is done, and nothing is known.
	st := w.carries(t, "its idleness", func(st api.ReplicationStatus) bool { return strings.Contains(st.Idle, "shadow") })
	if st.Exposure.Known || st.Doing != "nothing" || st.RPO != "30s" {
		t.Errorf("in shadow: %+v", st)
	}
	wantIn(t, w.verb(t, exitOK, "replication", "status"), "orders: stream, ", "the instance is in shadow, in which nothing is done; pointsman arm orders begins", "if a failed now you would lose an unknown part")
	wantIn(t, w.verb(t, exitRefused, "replication", "pause", "orders", "--reason", "x"), "the instance is in shadow", "hint: look at 'pointsman replication status orders'")
	if n := rowsIn(t, w.b, "items"); n != 0 {
		t.Errorf("in shadow b has %d rows", n)
	}

	w.verb(t, exitOK, "arm", "orders", "--mode", "propose", "--yes")
	w.carries(t, "the copy", follows)
	if n := rowsIn(t, w.b, "items"); n != 700 {
		t.Errorf("b has %d of 700 rows", n)
	}
	put(t, w.a, "items", 700, 750)
	put(t, w.a, "stock", 0, 20)
	within(t, 20*time.Second, "the rows", func() bool { return rowsIn(t, w.b, "items") == 750 && rowsIn(t, w.b, "stock") == 20 })
	st = w.carries(t, "a small exposure", func(st api.ReplicationStatus) bool {
		return follows(st) && st.Exposure.Lag < 6*time.Second && st.Tables[0].Applied >= 50
	})
	if st.Units.SourceRead == 0 || st.Units.TargetWrite == 0 || st.From != "a" || st.To != "b" || st.Mode != "stream" {
		t.Errorf("%+v", st)
	}

	said := w.verb(t, exitOK, "replication", "status", "orders")
	wantIn(t, said, "orders: stream, a to b: ", "if a failed now you would lose at most the last ", "; it hangs on ", "the standby is synced", "items ", "following ", "units since the start: source ")
	wantIn(t, w.verb(t, exitOK, "replication", "tables", "orders", "items"), "items: following", "whole     everything written before ", "stream    items_")
	wantIn(t, w.verb(t, exitError, "replication", "tables", "orders", "item"), `no table "item" of orders is replicated`, "did you mean items?")
	wantIn(t, w.verb(t, exitOK, "status", "orders"), "replication: following 2 tables", "replication: if a failed now you would lose at most the last ")
	wantIn(t, w.verb(t, exitOK, "explain", "orders"), "replication: following 2 tables", "if a failed now you would lose at most")
	wantIn(t, w.verb(t, exitOK, "replication", "lost", "orders"), "no operation of orders has left anything behind")
	wantIn(t, w.verb(t, exitOK, "replication", "dead-letters", "orders"), "no refused row of orders waits for anybody")
	wantIn(t, w.verb(t, exitOK, "__complete", "replication", "tables", "orders", ""), "items\tfollowing", "stock\tfollowing")
	wantIn(t, w.verb(t, exitOK, "__complete", "replication", "lost", "orders", "--table", ""), "items\tfollowing")
	var one api.ReplicationStatus
	if err := json.Unmarshal([]byte(w.verb(t, exitOK, "replication", "status", "orders", "-o", "json")), &one); err != nil || len(one.Tables) != 2 {
		t.Errorf("as JSON: %v, %+v", err, one)
	}

	// A person pauses it: what is written stays behind, and that is seen.
	wantIn(t, w.verb(t, exitError, "replication", "pause", "orders"), "replication pause needs a reason")
	wantIn(t, w.verb(t, exitOK, "replication", "pause", "orders", "--reason", "look at b", "--change", "CHG-7"), "replication is paused")
	put(t, w.a, "stock", 20, 30)
	paused := w.carries(t, "a growing exposure", func(st api.ReplicationStatus) bool { return st.Paused != nil && st.Exposure.Lag > 2*time.Second })
	if !strings.HasPrefix(paused.Paused.By, "alice@") || paused.Paused.Reason != "look at b" || rowsIn(t, w.b, "stock") != 20 {
		t.Errorf("%+v, b has %d rows", paused.Paused, rowsIn(t, w.b, "stock"))
	}
	wantIn(t, w.verb(t, exitOK, "replication", "status", "orders"), "PAUSED by alice@", "look at b")

	// The pause outlives the process.
	ctl.end(t)
	ctl = w.run(t)
	w.carries(t, "the pause", func(st api.ReplicationStatus) bool { return st.Paused != nil })
	w.verb(t, exitOK, "replication", "resume", "orders")
	within(t, 20*time.Second, "what was held back", func() bool { return rowsIn(t, w.b, "stock") == 30 })
	w.carries(t, "the rest", follows)
	wantIn(t, w.verb(t, exitOK, "audit", "orders"), "replication pause asked for; because: look at b; change: CHG-7", "replication resume asked for")
	ctl.end(t)
}

// window sets how far from now an explicit version may be, in seconds.
func window(t *testing.T, s *lab.Server, table string, seconds int64) {
	t.Helper()
	_, err := admin(s).UpdateTable(&tablestore.UpdateTableRequest{
		TableName: table, TableOption: &tablestore.TableOption{TimeToAlive: -1, MaxVersion: 1, DeviationCellVersionInSec: seconds},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRefusedRowsWaitForPeople: what the standby refuses is listed with its
// cause, counts against the exposure, and is written or given up by a person.
func TestRefusedRowsWaitForPeople(t *testing.T) {
	t.Parallel()
	w := replicaStory(t, nil, "items")
	w.run(t)
	w.until(t, "both up", bothUp)
	w.verb(t, exitOK, "arm", "orders", "--mode", "propose", "--yes")
	w.carries(t, "the copy", follows)

	window(t, w.b, "items", 86_400)
	old := time.Now().Add(-10 * 24 * time.Hour).UnixMilli()
	for _, id := range []string{"one", "two"} {
		key := &tablestore.PrimaryKey{}
		key.AddPrimaryKeyColumn("id", id)
		row := &tablestore.PutRowChange{TableName: "items", PrimaryKey: key}
		row.SetCondition(tablestore.RowExistenceExpectation_IGNORE)
		row.AddColumnWithTimestamp("v", id, old)
		if _, err := admin(w.a).PutRow(&tablestore.PutRowRequest{PutRowChange: row}); err != nil {
			t.Fatal(err)
		}
	}
	w.carries(t, "two refused rows", func(st api.ReplicationStatus) bool { return st.Refused == 2 })
	within(t, 20*time.Second, "the call for people", func() bool {
		return strings.Contains(w.verb(t, exitOK, "history", "orders", "--limit", "1000"), "b refuses 2 rows of a")
	})
	said := w.verb(t, exitOK, "replication", "dead-letters", "orders", "--table", "items")
	wantIn(t, said, "CAUSE", "id=", "put")
	var v lettersView
	if err := json.Unmarshal([]byte(w.verb(t, exitOK, "replication", "dead-letters", "orders", "-o", "json")), &v); err != nil || len(v.Rows) != 2 {
		t.Fatalf("%v: %+v", err, v)
	}
	var page lettersView
	if err := json.Unmarshal([]byte(w.verb(t, exitOK, "replication", "dead-letters", "orders", "--limit", "1", "-o", "json")), &page); err != nil || len(page.Rows) != 1 || page.Next == "" {
		t.Errorf("a page: %v: %+v", err, page)
	}
	wantIn(t, w.verb(t, exitOK, "replication", "dead-letters", "orders", "--after", page.Next), v.Rows[1].ID)

	wantIn(t, w.verb(t, exitError, "replication", "dead-letters", "orders", "--accept", v.Rows[0].ID), "needs a reason")
	wantIn(t, w.verb(t, exitOK, "replication", "dead-letters", "orders", "--accept", v.Rows[0].ID, "--reason", "kept elsewhere"), "1 refused rows are accepted as missing at the standby")
	wantIn(t, w.verb(t, exitRefused, "replication", "dead-letters", "orders", "--accept", v.Rows[0].ID, "--reason", "again"), "not open")
	window(t, w.b, "items", 1<<31-1)
	wantIn(t, w.verb(t, exitOK, "replication", "dead-letters", "orders", "--retry", v.Rows[1].ID), "1 refused rows are written")
	if n := rowsIn(t, w.b, "items"); n != 1 {
		t.Errorf("b has %d rows", n)
	}
	w.carries(t, "nothing refused", func(st api.ReplicationStatus) bool { return st.Refused == 0 && follows(st) })
	wantIn(t, w.verb(t, exitOK, "audit", "orders"), "replication accept asked for; rows: items/", "because: kept elsewhere", "replication retry asked for")
}

// TestAFirstCopyAsksBeforeItDeletes: a standby that holds rows already is not
// overwritten until a person says so.
func TestAFirstCopyAsksBeforeItDeletes(t *testing.T) {
	t.Parallel()
	w := replicaStory(t, nil, "items", "stock")
	put(t, w.a, "items", 0, 10)
	put(t, w.b, "items", 5, 15)
	put(t, w.a, "stock", 0, 10)
	w.run(t)
	w.until(t, "both up", bothUp)
	w.verb(t, exitOK, "arm", "orders", "--mode", "propose", "--yes")
	st := w.carries(t, "the question", func(st api.ReplicationStatus) bool {
		return len(st.Tables) == 2 && st.Tables[0].Phase == string(replication.PhaseWaiting) && st.Tables[1].Phase == string(replication.PhaseFollowing)
	})
	if !strings.Contains(st.Tables[0].Hint, "pointsman replication resync") || st.Exposure.Known {
		t.Errorf("%+v", st)
	}
	if n := rowsIn(t, w.b, "items"); n != 10 {
		t.Errorf("b has %d rows, it had 10", n)
	}
	wantIn(t, w.verb(t, exitError, "replication", "resync", "orders", "items", "--reason", "first copy"), "delete rows of b that a lacks", "needs a confirmation", "--yes")
	wantIn(t, w.verb(t, exitError, "replication", "resync", "orders", "items", "--yes"), "replication resync needs a reason")
	wantIn(t, w.verb(t, exitOK, "replication", "resync", "orders", "items", "--yes", "--reason", "first copy"), "items: copied anew")
	w.carries(t, "the copy", follows)
	if n := rowsIn(t, w.b, "items"); n != 10 {
		t.Errorf("b has %d rows", n)
	}
	wantIn(t, w.verb(t, exitOK, "history", "orders", "--limit", "1000"), "a table waits to be copied anew from a, and nothing is done until a person says so (pointsman replication resync orders --reason TEXT): items")
	wantIn(t, w.verb(t, exitOK, "audit", "orders"), "replication resync asked for; tables: items; because: first copy")
}

// TestAFailoverThatReplicationAllows: the active cluster dies, and what had not
// crossed is within the rpo. The old side is invalidated and nothing is written
// to it; when it is back, what it holds alone is listed.
func TestAFailoverThatReplicationAllows(t *testing.T) {
	t.Parallel()
	w := replicaStory(t, map[string]string{"# poll: {busy: 100ms, idle: 2s}": "poll: {busy: 50ms, idle: 500ms}"}, "items")
	put(t, w.a, "items", 0, 50)
	w.run(t)
	w.until(t, "both up", bothUp)
	w.verb(t, exitOK, "arm", "orders", "--mode", "auto", "--yes")
	w.carries(t, "the copy", follows)

	// Three rows are acknowledged and shown by no stream before a dies.
	w.a.StreamDelay(time.Minute)
	put(t, w.a, "items", 50, 53)
	if err := w.a.Kill(); err != nil {
		t.Fatal(err)
	}
	v := w.until(t, "the failover", func(v failover.View) bool { return v.Active == "b" && v.LastOp != nil && v.Op == nil })
	if v.LastOp.Outcome != failover.Settled || !v.LastOp.Op.Auto {
		t.Errorf("%+v", v.LastOp)
	}
	st := w.carries(t, "the cut", func(st api.ReplicationStatus) bool {
		return st.From == "b" && st.Standby == failover.StandbyInvalidated
	})
	if st.Exposure.Known {
		t.Errorf("after a failover nothing protects: %+v", st.Exposure)
	}
	wantIn(t, w.verb(t, exitOK, "status", "orders"), "replication: ", "a is invalidated")

	// Clients go on at b, and a comes back: nothing is written to it.
	put(t, w.b, "items", 52, 60)
	w.a.StreamDelay(0)
	if err := w.a.Revive(); err != nil {
		t.Fatal(err)
	}
	st = w.carries(t, "the list of what was lost", func(st api.ReplicationStatus) bool {
		return st.Lost != nil && st.Lost.Exact && st.Lost.Rows == 2
	})
	if st.Lost.From != "a" || st.Lost.To != "b" || st.Lost.Op != v.LastOp.Op.ID || st.Lost.ByTable["items"] == 0 {
		t.Errorf("%+v", st.Lost)
	}
	if n := rowsIn(t, w.a, "items"); n != 53 {
		t.Errorf("a has %d rows, it had 53", n)
	}
	said := w.verb(t, exitOK, "replication", "lost", "orders")
	wantIn(t, said, v.LastOp.Op.ID+" left 2 writes of a behind", "id=", "000050", "000051", "only-old", "NEW SIDE")
	var lost lostView
	if err := json.Unmarshal([]byte(w.verb(t, exitOK, "replication", "lost", "orders", "--limit", "1", "-o", "json")), &lost); err != nil || len(lost.Rows) != 1 || lost.Next == "" {
		t.Errorf("a page of what was lost: %v, %+v", err, lost)
	}
	wantIn(t, w.verb(t, exitOK, "replication", "lost", "orders", "--after", lost.Next), "000051")
	within(t, 20*time.Second, "the call for people", func() bool {
		return strings.Contains(w.verb(t, exitOK, "history", "orders", "--limit", "1000"), "left 2 writes of a behind")
	})
	wantIn(t, w.verb(t, exitOK, "explain", "orders"), "left 2 writes of a behind")
	wantIn(t, w.verb(t, exitOK, "status", "orders"), "left 2 writes of a behind")
	wantIn(t, w.verb(t, exitOK, "audit", "orders"), "everything written before ", "replication: "+v.LastOp.Op.ID+" left 2 writes of a behind", "by table: items 2")

	wantIn(t, w.verb(t, exitChanges, "replication", "verify", "orders", "--full", "-c", "pointsman.yaml"), "note: nothing is carried to a now, so it will differ: a is invalidated")
	wantIn(t, w.verb(t, exitRefused, "replication", "pause", "orders", "--reason", "x"), "pause: nothing is replicated by this process now: a is invalidated: nothing is written to it")

	// A person gives them up, and b is carried to a.
	w.until(t, "a up", bothUp)
	wantIn(t, w.verb(t, exitRefused, "refill", "orders", "--reason", "exported"), "unsynced")
	w.verb(t, exitOK, "refill", "orders", "--give-up-unsynced-rows", "--reason", "exported")
	w.carries(t, "the refill", func(st api.ReplicationStatus) bool { return st.From == "b" && follows(st) })
	if a, b := rowsIn(t, w.a, "items"), rowsIn(t, w.b, "items"); a != 58 || b != 58 {
		t.Errorf("a has %d rows, b %d", a, b)
	}
}

// TestReplicationByOthers: only the lag is read, by a command; a change of the
// file is taken while it runs, and one that would not do is refused as a whole.
func TestReplicationByOthers(t *testing.T) {
	t.Parallel()
	w := newReplicaWorld(t, nil)
	w.verb(t, exitOK, "tablestore", "prepare", "orders", "-c", "pointsman.yaml", "--key-file", "admin.key", "--yes")
	file := filepath.Join(w.dir, "pointsman.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(text), "    replication:\n")
	if !ok {
		t.Fatal("the sample has no replication")
	}
	lag := func(ms int) string {
		return head + fmt.Sprintf("    replication:\n      mode: external\n      external: {every: 1s, timeout: 1s, command: [/bin/echo, '{\"lag_ms\": %d, \"rows\": 4}']}\n", ms)
	}
	writeFiles(t, w.dir, map[string]string{"pointsman.yaml": lag(1200)})
	w.run(t)
	w.until(t, "both up", bothUp)
	w.verb(t, exitOK, "arm", "orders", "--mode", "propose", "--yes")
	st := w.carries(t, "its lag", func(st api.ReplicationStatus) bool { return st.Exposure.Known && st.Standby == failover.StandbySynced })
	if st.Mode != "external" || st.Exposure.Lag < 1200*time.Millisecond || st.Exposure.Rows != 4 || len(st.Tables) != 0 {
		t.Errorf("%+v", st)
	}
	wantIn(t, w.verb(t, exitOK, "replication", "status", "orders"), "orders: external, a to b", "if a failed now you would lose at most the last ", "about 4 rows")
	wantIn(t, w.verb(t, exitRefused, "replication", "resync", "orders", "--reason", "x", "--yes"), "the rows of orders are carried by somebody else (mode external)", "hint: look at 'pointsman replication status orders'")

	writeFiles(t, w.dir, map[string]string{"pointsman.yaml": lag(7000)})
	w.verb(t, exitOK, "reload") // or the watch of the file came first
	eventually(t, "the change in the audit", func() bool {
		return strings.Contains(w.verb(t, exitOK, "audit", "orders"), "instances.orders.replication.external.command: secret changed")
	})
	w.carries(t, "the other lag", func(st api.ReplicationStatus) bool { return st.Exposure.Known && st.Exposure.Lag >= 7*time.Second })
	// While an operation is in hand nobody exchanges what it goes by.
	w.verb(t, exitOK, "switchover", "orders", "--to", "b", "--yes", "--no-wait")
	v := w.until(t, "the operation", func(v failover.View) bool { return v.Op != nil })
	writeFiles(t, w.dir, map[string]string{"pointsman.yaml": lag(1200)})
	wantIn(t, w.verb(t, exitError, "reload"), "instance orders: its replication cannot change while the operation "+v.Op.ID+" is in hand", "hint: wait until it has ended, or abort it")
	if st := w.carries(t, "its lag still", func(st api.ReplicationStatus) bool { return st.Exposure.Known }); st.Exposure.Lag < 7*time.Second {
		t.Errorf("the refused file counts: %+v", st.Exposure)
	}
	w.verb(t, exitOK, "abort", "orders")
	w.until(t, "its end", func(v failover.View) bool { return v.Op == nil && v.Active == "a" })
	wantIn(t, w.verb(t, exitOK, "reload"), "instances.orders.replication.external.command: secret changed")
	w.carries(t, "the first lag again", func(st api.ReplicationStatus) bool { return st.Exposure.Known && st.Exposure.Lag < 5*time.Second })
	wantIn(t, w.verb(t, exitOK, "doctor", "--only", "replication", "-c", "pointsman.yaml"), "the standby is 1.2s behind (mode external)")
	writeFiles(t, w.dir, map[string]string{"pointsman.yaml": lag(1200) + "      copy: {parallel: 2}\n"})
	wantIn(t, w.verb(t, exitError, "reload"), "copy has no use in the mode external")

	// Without the key nothing is known any more, and it is said so.
	writeFiles(t, w.dir, map[string]string{"pointsman.yaml": strings.Replace(head, "    rpo: 30s\n", "", 1)})
	w.verb(t, exitOK, "reload")
	wantIn(t, w.verb(t, exitRefused, "replication", "status", "orders"), "nothing of orders is replicated here")
	wantIn(t, w.verb(t, exitOK, "replication", "status"), "nothing is replicated")
}

// TestReplicationByTheVendor: the rows are those of a global table, and the vendor
// says how far behind the standby is. Both instances have one name, as a CNAME
// wants it, and the region tells them apart.
func TestReplicationByTheVendor(t *testing.T) {
	w := newReplicaWorld(t, nil)
	w.verb(t, exitOK, "tablestore", "prepare", "orders", "-c", "pointsman.yaml", "--key-file", "admin.key", "--yes")
	file := filepath.Join(w.dir, "pointsman.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(text), "    replication:\n")
	writeFiles(t, w.dir, map[string]string{
		"pointsman.yaml": head + "    replication: {mode: global-table, global_table: items, source_key_file: source.key}\n",
		"source.key":     `{"AccessKeyId":"LTAIreplicator-global","AccessKeySecret":"g1"}`,
	})
	w.grant(t, "replicator-global", "g1")
	meta := &tablestore.TableMeta{TableName: "items"}
	meta.AddPrimaryKeyColumn("id", tablestore.PrimaryKeyType_STRING)
	whole := true
	if _, err := admin(w.a).CreateTable(&tablestore.CreateTableRequest{
		TableMeta: meta, ReservedThroughput: &tablestore.ReservedThroughput{},
		TableOption: &tablestore.TableOption{TimeToAlive: -1, MaxVersion: 1, UpdateFullRow: &whole, DeviationCellVersionInSec: 1<<31 - 1},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin(w.a).CreateGlobalTable(&tablestore.CreateGlobalTableRequest{
		BaseTable:  &tablestore.BaseTable{RegionId: "zone-1", InstanceName: "orders", TableName: "items"},
		Placements: []*tablestore.Placement{{RegionId: "zone-2", InstanceName: "orders"}}, SyncMode: tablestore.SyncMode_Row, ServeMode: tablestore.ServeMode_PrimarySecondary,
	}); err != nil {
		t.Fatal(err)
	}
	behind := func(d time.Duration) {
		t.Helper()
		if err := w.b.SetRPO("orders", "items", d); err != nil {
			t.Fatal(err)
		}
	}
	behind(1500 * time.Millisecond)
	w.run(t)
	w.until(t, "both up", bothUp)
	w.verb(t, exitOK, "arm", "orders", "--mode", "propose", "--yes")
	st := w.carries(t, "its lag", func(st api.ReplicationStatus) bool { return st.Exposure.Known && st.Standby == failover.StandbySynced })
	if st.Mode != "global-table" || st.From != "a" || st.To != "b" || st.Exposure.Lag < 1500*time.Millisecond || st.Exposure.Why != "global table items" || len(st.Tables) != 0 {
		t.Errorf("%+v", st)
	}
	wantIn(t, w.verb(t, exitOK, "replication", "status", "orders"), "orders: global-table, a to b: somebody else replicates: only the lag is read", "if a failed now you would lose at most the last ")
	wantIn(t, w.verb(t, exitOK, "doctor", "--only", "replication", "-c", "pointsman.yaml"), "the standby is 1.5s behind (mode global-table)")
	wantIn(t, w.verb(t, exitRefused, "replication", "pause", "orders", "--reason", "x"), "the rows of orders are carried by somebody else (mode global-table)")
	for _, verb := range []string{"prepare", "verify"} {
		wantIn(t, w.verb(t, exitError, "replication", verb, "orders", "-c", "pointsman.yaml"), "the rows of orders are copied by somebody else (mode global-table)")
	}

	// More than the rpo: no failover, and doctor says it.
	behind(2 * time.Minute)
	w.carries(t, "more", func(st api.ReplicationStatus) bool { return st.Exposure.Known && st.Exposure.Lag >= 2*time.Minute })
	w.until(t, "the core's knowledge of it", func(v failover.View) bool { return v.Exposure.Known && v.Exposure.Bound >= 2*time.Minute })
	wantIn(t, w.verb(t, exitRefused, "failover", "orders", "--to", "b", "--yes", "--no-wait"), "exposure", "--accept-loss")
	wantIn(t, w.verb(t, exitWarnings, "doctor", "--only", "replication", "-c", "pointsman.yaml"), "the standby is 2m0s behind (mode global-table), and an automatic failover may lose 30s")

	// A key that may not ask: nothing is known, and what it lacks is named.
	writeFiles(t, w.dir, map[string]string{"source.key": `{"AccessKeyId":"LTAIreplicator-source","AccessKeySecret":"r1"}`})
	wantIn(t, w.verb(t, exitError, "doctor", "--only", "replication", "-c", "pointsman.yaml"), "how far the standby is behind is not known (mode global-table)", "OTSNoPermissionAccess", "the key needs ots:DescribeGlobalTable at both clusters (pointsman init rights)")
	st = w.carries(t, "that nothing is known", func(st api.ReplicationStatus) bool { return !st.Exposure.Known })
	if !strings.Contains(st.Exposure.Why, "OTSNoPermissionAccess") {
		t.Errorf("%+v", st.Exposure)
	}
}

// TestAGapWaitsForAPerson where the file says so: people are called, the standby
// stays as it was, a failover is refused, and the words of the hint mend it.
func TestAGapWaitsForAPerson(t *testing.T) {
	w := replicaStory(t, map[string]string{"resync: auto": "resync: ask"}, "items", "stock")
	put(t, w.a, "items", 0, 10)
	w.run(t)
	w.until(t, "both up", bothUp)
	w.verb(t, exitOK, "arm", "orders", "--mode", "propose", "--yes")
	w.carries(t, "the copy", follows)

	// Somebody switches the stream of a table off and on, and writes in between.
	stream := func(on bool) {
		t.Helper()
		spec := &tablestore.StreamSpecification{EnableStream: on}
		if on {
			spec.ExpirationTime = 168
		}
		if _, err := admin(w.a).UpdateTable(&tablestore.UpdateTableRequest{TableName: "items", StreamSpec: spec}); err != nil {
			t.Fatal(err)
		}
	}
	stream(false)
	put(t, w.a, "items", 10, 15)
	stream(true)
	st := w.carries(t, "the gap", func(st api.ReplicationStatus) bool {
		return len(st.Tables) == 2 && st.Tables[0].Phase == string(replication.PhaseGap) && st.Tables[0].Hint != ""
	})
	if st.Tables[0].Hint != "pointsman replication resync orders items --reason TEXT" || st.Exposure.Known || !strings.HasPrefix(st.Exposure.Gap, "items: ") || st.Tables[1].Phase != string(replication.PhaseFollowing) {
		t.Errorf("%+v", st)
	}
	put(t, w.a, "stock", 0, 5)
	within(t, 20*time.Second, "the rows of the other table", func() bool { return rowsIn(t, w.b, "stock") == 5 })
	if n := rowsIn(t, w.b, "items"); n != 10 {
		t.Errorf("b has %d rows of items, it had 10", n)
	}
	within(t, 20*time.Second, "the calls for people", func() bool {
		said := w.verb(t, exitOK, "history", "orders", "--limit", "1000")
		return strings.Contains(said, "what b lacks of a is unknown: items: ") && strings.Contains(said, "a table waits to be copied anew from a, and nothing is done until a person says so (pointsman replication resync orders --reason TEXT): items")
	})
	w.until(t, "the core's knowledge of it", func(v failover.View) bool { return v.Exposure.Gap != "" })
	wantIn(t, w.verb(t, exitRefused, "failover", "orders", "--to", "b", "--yes", "--no-wait"), "stream-gap", "items")
	wantIn(t, w.verb(t, exitError, "replication", "resync", "orders", "item", "--yes", "--reason", "x"), `no table "item" of orders is replicated`, "did you mean items?")

	// The hint as it is printed, and --yes where there is no terminal.
	said := w.verb(t, exitOK, append(strings.Fields(st.Tables[0].Hint)[1:], "--yes")...)
	wantIn(t, said, "items: copied anew")
	w.carries(t, "the copy", follows)
	if n := rowsIn(t, w.b, "items"); n != 15 {
		t.Errorf("b has %d of 15 rows", n)
	}
	wantIn(t, w.verb(t, exitRefused, "replication", "resync", "orders", "--yes", "--reason", "x"), "no table waits for it", "name a table to have it copied anew all the same")

	// What a person orders of a table that was whole calls nobody.
	before := strings.Count(w.verb(t, exitOK, "history", "orders", "--limit", "1000"), "what b lacks of a is unknown")
	w.verb(t, exitOK, "replication", "resync", "orders", "stock", "--yes", "--reason", "to be sure")
	within(t, 20*time.Second, "the copy", func() bool {
		return strings.Contains(w.verb(t, exitOK, "audit", "orders"), "tables: stock; because: to be sure")
	})
	w.carries(t, "the copy", follows)
	if after := strings.Count(w.verb(t, exitOK, "history", "orders", "--limit", "1000"), "what b lacks of a is unknown"); after != before {
		t.Errorf("an order of a person called people: %d calls, %d before", after, before)
	}
}

// TestReplicationInAShadowRun: it holds no key that could write.
func TestReplicationInAShadowRun(t *testing.T) {
	t.Parallel()
	w := replicaStory(t, nil, "items")
	put(t, w.a, "items", 0, 10)
	w.run(t, "--shadow")
	w.until(t, "both up", bothUp)
	st := w.carries(t, "its idleness", func(st api.ReplicationStatus) bool { return st.Idle != "" })
	if !strings.Contains(st.Idle, "run --shadow holds no key that could write") || st.Exposure.Known {
		t.Errorf("%+v", st)
	}
	wantIn(t, w.verb(t, exitRefused, "replication", "pause", "orders", "--reason", "x"), "run --shadow")
	if n, m := len(w.a.Requests(lab.Filter{Operation: "GetStreamRecord"})), len(w.b.Requests(lab.Filter{Operation: "BatchWriteRow"})); n+m > 0 {
		t.Errorf("a was read %d times, b was written %d times", n, m)
	}
}
