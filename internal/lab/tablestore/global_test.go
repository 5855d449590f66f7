package tablestore

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"
	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"pointsman/internal/lab/tablestore/plainbuffer"
)

// globe is two servers, each with an instance called lab, in two regions.
type globe struct {
	testing.TB
	a, b *Server
	one  map[*Server]*sdk.TableStoreClient
}

func newGlobe(t testing.TB, a, b Options) *globe {
	t.Helper()
	g := NewGlobals()
	a.Globals, b.Globals = g, g
	a.Region, b.Region = "cn-a", "cn-b"
	w := &globe{TB: t, a: frontServer(t, a), b: frontServer(t, b)}
	w.one = map[*Server]*sdk.TableStoreClient{}
	for _, s := range []*Server{w.a, w.b} {
		w.one[s] = sdkFor(t, s.Endpoint(), provider(s.Key()), nil, "")
	}
	return w
}

func globalTableOf(name string, change ...func(*sdk.CreateTableRequest)) *sdk.CreateTableRequest {
	m := &sdk.TableMeta{TableName: name}
	m.AddPrimaryKeyColumn("id", sdk.PrimaryKeyType_STRING)
	r := &sdk.CreateTableRequest{
		TableMeta: m, ReservedThroughput: &sdk.ReservedThroughput{},
		TableOption: &sdk.TableOption{TimeToAlive: -1, MaxVersion: 1, UpdateFullRow: proto.Bool(true), DeviationCellVersionInSec: 1<<31 - 1},
	}
	for _, do := range change {
		do(r)
	}
	return r
}

// bound makes table orders at a, with a replica at b, and gives its ID.
func (w *globe) bound(mode sdk.ServeMode, change ...func(*sdk.CreateTableRequest)) string {
	w.Helper()
	if _, err := w.one[w.a].CreateTable(globalTableOf("orders", change...)); err != nil {
		w.Fatal(err)
	}
	r, err := w.one[w.a].CreateGlobalTable(&sdk.CreateGlobalTableRequest{
		BaseTable:  &sdk.BaseTable{RegionId: "cn-a", InstanceName: "lab", TableName: "orders"},
		Placements: []*sdk.Placement{{RegionId: "cn-b", InstanceName: "lab", Writable: mode == sdk.ServeMode_PeerToPeer}},
		SyncMode:   sdk.SyncMode_Row, ServeMode: mode,
	})
	if err != nil {
		w.Fatal(err)
	}
	return r.GlobalTableId
}

func (w *globe) update(at *Server, id, region string, writable, eligible *bool) error {
	_, err := w.one[at].UpdateGlobalTable(&sdk.UpdateGlobalTableRequest{
		GlobalTableId: id, GlobalTableName: "orders",
		PhyTable: sdk.UpdatePhyTable{RegionId: region, InstanceName: "lab", TableName: "orders", Writable: writable, PrimaryEligible: eligible},
	})
	return err
}

// phys is what the members are, as the protocol tells it: the SDK for Go reads
// neither writable nor rpoNanos (v1.9.3, DescribeGlobalTable).
func (w *globe) phys(at *Server, id string) (*otsprotocol.DescribeGlobalTableResponse, map[string]*otsprotocol.PhyTable) {
	w.Helper()
	q := at.ask("DescribeGlobalTable", &otsprotocol.DescribeGlobalTableRequest{GlobalTableId: &id, GlobalTableName: proto.String("orders"), ReturnRpo: proto.Bool(true)})
	g := q.wants(w, at, http.StatusOK, "", "")
	out := &otsprotocol.DescribeGlobalTableResponse{}
	if err := proto.Unmarshal(g.body, protoadapt.MessageV2Of(out)); err != nil {
		w.Fatal(err)
	}
	byRegion := map[string]*otsprotocol.PhyTable{}
	for _, p := range out.PhyTables {
		byRegion[p.GetRegionId()] = p
	}
	return out, byRegion
}

// wantMembers are region role(+w) of each member, sorted by region.
func (w *globe) wantMembers(id, want string) {
	w.Helper()
	for _, at := range []*Server{w.a, w.b} {
		_, phys := w.phys(at, id)
		var got []string
		for _, r := range []string{"cn-a", "cn-b"} {
			if p := phys[r]; p != nil {
				x := r[3:] + " " + p.GetRole()
				if p.GetWritable() {
					x += "+w"
				}
				got = append(got, x)
			}
		}
		if g := strings.Join(got, ", "); g != want {
			w.Errorf("%s, want %s", g, want)
		}
		// And what the SDK for Go makes of it.
		d, err := w.one[at].DescribeGlobalTable(&sdk.DescribeGlobalTableRequest{GlobalTableId: id, GlobalTableName: "orders"})
		if err != nil || len(d.PhyTables) != len(phys) || d.GlobalTableId != id {
			w.Fatalf("%+v, %v", d, err)
		}
		for _, p := range d.PhyTables {
			if p.Role != phys[p.RegionId].GetRole() || p.TableName != "orders" || p.InstanceName != "lab" || p.Status == nil || p.Stage == nil {
				w.Errorf("%+v", p)
			}
		}
	}
}

func globalPut(name, k string, v int64) *sdk.PutRowRequest {
	p := &sdk.PutRowChange{TableName: name, PrimaryKey: &sdk.PrimaryKey{}}
	p.PrimaryKey.AddPrimaryKeyColumn("id", k)
	p.AddColumn("c", v)
	p.SetCondition(sdk.RowExistenceExpectation_IGNORE)
	return &sdk.PutRowRequest{PutRowChange: p}
}

func (w *globe) put(at *Server, k string, v int64) error {
	_, err := w.one[at].PutRow(globalPut("orders", k, v))
	return err
}

func (w *globe) get(at *Server, k string) string {
	w.Helper()
	key := &sdk.PrimaryKey{}
	key.AddPrimaryKeyColumn("id", k)
	r, err := w.one[at].GetRow(&sdk.GetRowRequest{SingleRowQueryCriteria: &sdk.SingleRowQueryCriteria{TableName: "orders", PrimaryKey: key, MaxVersion: 1}})
	if err != nil {
		w.Fatal(err)
	}
	out := ""
	for _, c := range r.Columns {
		out += fmt.Sprintf("%s=%v", c.ColumnName, c.Value)
	}
	return out
}

func (w *globe) readOnly(err error) {
	w.Helper()
	e, ok := err.(*sdk.OtsError)
	if !ok || e.HttpStatusCode != 403 || e.Code != codeNoPermission || e.Message != DefaultGlobalRules().Message {
		w.Errorf("%v, want that it is not writable", err)
	}
}

var yes, no = proto.Bool(true), proto.Bool(false)

// TestGlobalTableMoves: a switch in the order that loses nothing, and one in the
// order of the vendor, where both may be written for a while.
func TestGlobalTableMoves(t *testing.T) {
	w := newGlobe(t, Options{}, Options{})
	id := w.bound(sdk.ServeMode_PrimarySecondary)
	w.wantMembers(id, "a primary+w, b secondary")
	if err := w.put(w.a, "k", 1); err != nil {
		t.Fatal(err)
	}
	w.readOnly(w.put(w.b, "k", 2))
	// What else writes is refused too, and what reads is not.
	name := proto.String("orders")
	for op, m := range map[string]protoadapt.MessageV1{
		"UpdateRow":     &otsprotocol.UpdateRowRequest{TableName: name, RowChange: []byte{}, Condition: &otsprotocol.Condition{RowExistence: otsprotocol.RowExistenceExpectation_IGNORE.Enum()}},
		"DeleteRow":     &otsprotocol.DeleteRowRequest{TableName: name, PrimaryKey: []byte{}, Condition: &otsprotocol.Condition{RowExistence: otsprotocol.RowExistenceExpectation_IGNORE.Enum()}},
		"BatchWriteRow": &otsprotocol.BatchWriteRowRequest{Tables: []*otsprotocol.TableInBatchWriteRowRequest{{TableName: name}}},
	} {
		w.b.ask(op, m).wants(t, w.b, http.StatusForbidden, codeNoPermission, DefaultGlobalRules().Message)
	}
	await(t, "the row is copied", func() bool { return w.get(w.b, "k") == "c=1" })

	if err := w.update(w.b, id, "cn-a", no, nil); err != nil {
		t.Fatal(err)
	}
	w.wantMembers(id, "a primary, b secondary")
	w.readOnly(w.put(w.a, "k", 2))
	if err := w.update(w.b, id, "cn-b", yes, yes); err != nil {
		t.Fatal(err)
	}
	w.wantMembers(id, "a secondary, b primary+w")
	if err := w.put(w.b, "k", 3); err != nil {
		t.Fatal(err)
	}
	w.readOnly(w.put(w.a, "k", 4))
	await(t, "the row is copied back", func() bool { return w.get(w.a, "k") == "c=3" })

	if err := w.update(w.a, id, "cn-a", yes, yes); err != nil {
		t.Fatal(err)
	}
	w.wantMembers(id, "a primary_eligible+w, b primary+w")
	if err := w.update(w.a, id, "cn-b", no, nil); err != nil {
		t.Fatal(err)
	}
	w.wantMembers(id, "a primary+w, b secondary")
	// Neither eligible nor writable alone moves anything.
	if err := w.update(w.a, id, "cn-b", nil, yes); err != nil {
		t.Fatal(err)
	}
	w.wantMembers(id, "a primary+w, b primary_eligible")
	for _, step := range []struct {
		region             string
		writable, eligible *bool
		want               string
	}{
		{"cn-b", yes, no, "a primary+w, b secondary+w"},
		{"cn-a", no, nil, "a primary, b secondary+w"},
		{"cn-b", no, yes, "a primary, b primary_eligible"},
		{"cn-b", yes, nil, "a secondary, b primary+w"},
	} {
		if err := w.update(w.a, id, step.region, step.writable, step.eligible); err != nil {
			t.Fatal(err)
		}
		w.wantMembers(id, step.want)
	}
	// DescribeTable tells the ID; the SDK for Go does not read it (v1.9.3).
	var d otsprotocol.DescribeTableResponse
	g := w.b.ask("DescribeTable", describeRequest("orders")).wants(t, w.b, http.StatusOK, "", "")
	if err := proto.Unmarshal(g.body, protoadapt.MessageV2Of(&d)); err != nil || d.GetTableMeta().GetGlobalTableId() != id {
		t.Errorf("%v, %v", &d, err)
	}
}

// TestGlobalTableTransactions: what a transaction wrote before its table was a
// replica is refused at its end.
func TestGlobalTableTransactions(t *testing.T) {
	w := newGlobe(t, Options{}, Options{})
	local := func(r *sdk.CreateTableRequest) {
		r.TableMeta.AddPrimaryKeyColumn("n", sdk.PrimaryKeyType_INTEGER)
		r.EnableLocalTxn = yes
	}
	id := w.bound(sdk.ServeMode_PrimarySecondary, local)
	c := w.one[w.a]
	key := &sdk.PrimaryKey{}
	key.AddPrimaryKeyColumn("id", "k")
	x, err := c.StartLocalTransaction(&sdk.StartLocalTransactionRequest{TableName: "orders", PrimaryKey: key})
	if err != nil {
		t.Fatal(err)
	}
	put := globalPut("orders", "k", 1)
	put.PutRowChange.PrimaryKey.AddPrimaryKeyColumn("n", int64(1))
	put.PutRowChange.TransactionId = x.TransactionId
	if _, err := c.PutRow(put); err != nil {
		t.Fatal(err)
	}
	if err := w.update(w.a, id, "cn-a", no, nil); err != nil {
		t.Fatal(err)
	}
	_, err = c.CommitTransaction(&sdk.CommitTransactionRequest{TransactionId: x.TransactionId})
	w.readOnly(err)
	if _, err := c.AbortTransaction(&sdk.AbortTransactionRequest{TransactionId: x.TransactionId}); err != nil {
		t.Error(err)
	}
	// The replica has them too.
	if _, err := w.one[w.b].StartLocalTransaction(&sdk.StartLocalTransactionRequest{TableName: "orders", PrimaryKey: key}); err != nil {
		t.Error(err)
	}
}

func TestGlobalTablesThatCannotBe(t *testing.T) {
	w := newGlobe(t, Options{}, Options{})
	create := func(change ...func(*sdk.CreateGlobalTableRequest)) error {
		r := &sdk.CreateGlobalTableRequest{
			BaseTable:  &sdk.BaseTable{RegionId: "cn-a", InstanceName: "lab", TableName: "orders"},
			Placements: []*sdk.Placement{{RegionId: "cn-b", InstanceName: "lab"}}, SyncMode: sdk.SyncMode_Row, ServeMode: sdk.ServeMode_PrimarySecondary,
		}
		for _, do := range change {
			do(r)
		}
		_, err := w.one[w.a].CreateGlobalTable(r)
		return err
	}
	says := func(err error, status int, text string) {
		t.Helper()
		e, ok := err.(*sdk.OtsError)
		if !ok || e.HttpStatusCode != status || !strings.Contains(e.Message, text) {
			t.Errorf("%v, want %d ... %s", err, status, text)
		}
	}
	says(create(), 404, "does not exist")
	for name, change := range map[string]func(*sdk.CreateTableRequest){
		"TimeToLive":    func(r *sdk.CreateTableRequest) { r.TableOption.TimeToAlive = 86400 },
		"MaxVersions":   func(r *sdk.CreateTableRequest) { r.TableOption.MaxVersion = 2 },
		"UpdateFullRow": func(r *sdk.CreateTableRequest) { r.TableOption.UpdateFullRow = nil },
		"auto-increment": func(r *sdk.CreateTableRequest) {
			r.TableMeta.AddPrimaryKeyColumnOption("n", sdk.PrimaryKeyType_INTEGER, sdk.AUTO_INCREMENT)
		},
	} {
		if _, err := w.one[w.a].CreateTable(globalTableOf("orders", change)); err != nil {
			t.Fatal(err)
		}
		says(create(), 400, name)
		if _, err := w.one[w.a].DeleteTable(&sdk.DeleteTableRequest{TableName: "orders"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range []*Server{w.a, w.b} {
		if _, err := w.one[at].CreateTable(globalTableOf("orders")); err != nil {
			t.Fatal(err)
		}
	}
	says(create(), 409, "already exists")
	if _, err := w.one[w.b].DeleteTable(&sdk.DeleteTableRequest{TableName: "orders"}); err != nil {
		t.Fatal(err)
	}
	says(create(func(r *sdk.CreateGlobalTableRequest) { r.BaseTable.RegionId = "cn-b" }), 400, "not one of instance")
	says(create(func(r *sdk.CreateGlobalTableRequest) { r.Placements[0].RegionId = "cn-c" }), 400, "0 instances")
	says(create(func(r *sdk.CreateGlobalTableRequest) { r.Placements = append(r.Placements, r.Placements[0]) }), 409, "already exists")
	// None of that made anything.
	if l, err := w.one[w.b].ListTable(); err != nil || len(l.TableNames) != 0 {
		t.Errorf("%+v, %v", l, err)
	}
	says(w.update(w.a, "gt-none", "cn-a", no, nil), 400, "not a global table")
	if err := create(); err != nil {
		t.Fatal(err)
	}
	says(create(), 400, "is a global table")
	d, err := w.one[w.b].DescribeGlobalTable(&sdk.DescribeGlobalTableRequest{
		GlobalTableName: "orders", PhyTable: &sdk.PhyTable{RegionId: "cn-b", InstanceName: "lab", TableName: "orders"},
	})
	if err != nil || len(d.PhyTables) != 1 || d.PhyTables[0].RegionId != "cn-b" {
		t.Fatalf("%+v, %v", d, err)
	}
	id := d.GlobalTableId
	says(w.update(w.a, id, "cn-c", no, nil), 400, "not a member")
	for _, at := range []*Server{w.a, w.b} {
		_, err := w.one[at].DeleteTable(&sdk.DeleteTableRequest{TableName: "orders"})
		says(err, 400, "member of the global table")
	}
	w.a.ask("UpdateGlobalTable", &otsprotocol.UpdateGlobalTableRequest{GlobalTableId: &id, GlobalTableName: proto.String("orders")}).wants(
		t, w.a, 400, codeParameterInvalid, "Neither writable nor primaryEligible is given.")
	if err := w.a.SetGlobalRules(GlobalRules{OneWritable: true}); err != nil {
		t.Fatal(err)
	}
	says(w.update(w.a, id, "cn-a", no, nil), 400, "has to be writable")
	w.wantMembers(id, "a primary+w, b secondary")
	for _, bad := range []GlobalRules{{Delay: -1}, {Lag: 2 * time.Hour}, {Code: "OTSNone"}} {
		if err := w.a.SetGlobalRules(bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
	if !w.b.GlobalRules().OneWritable {
		t.Error("the servers do not share the rules")
	}
}

func TestGlobalTableIsUnbound(t *testing.T) {
	w := newGlobe(t, Options{}, Options{})
	id := w.bound(sdk.ServeMode_PrimarySecondary)
	unbind := func(regions ...string) error {
		r := &sdk.UnbindGlobalTableRequest{GlobalTableId: id, GlobalTableName: "orders"}
		for _, region := range regions {
			r.Removals = append(r.Removals, &sdk.Removal{RegionId: region, InstanceName: "lab"})
		}
		_, err := w.one[w.a].UnbindGlobalTable(r)
		return err
	}
	if err := unbind("cn-a"); err == nil || !strings.Contains(err.Error(), "before the others") {
		t.Errorf("%v", err)
	}
	if err := unbind("cn-c"); err == nil || !strings.Contains(err.Error(), "is a member") {
		t.Errorf("%v", err)
	}
	if err := unbind("cn-b"); err != nil {
		t.Fatal(err)
	}
	// It is a table like any other then.
	if err := w.put(w.b, "k", 1); err != nil {
		t.Error(err)
	}
	if err := w.put(w.a, "k", 2); err != nil {
		t.Error(err)
	}
	if _, phys := w.phys(w.a, id); len(phys) != 1 {
		t.Errorf("%v", phys)
	}
	if w.a.globals.size.Load() != 1 {
		t.Error("the global table is gone")
	}
	if _, err := w.one[w.b].DeleteTable(&sdk.DeleteTableRequest{TableName: "orders"}); err != nil {
		t.Error(err)
	}
	bind := &sdk.BindGlobalTableRequest{GlobalTableId: id, GlobalTableName: "orders", Placements: []*sdk.Placement{{RegionId: "cn-b", InstanceName: "lab"}}}
	if _, err := w.one[w.a].BindGlobalTable(bind); err != nil {
		t.Fatal(err)
	}
	await(t, "what was there is copied", func() bool { return w.get(w.b, "k") == "c=2" })
	await(t, "the full copy is over", func() bool {
		d, phys := w.phys(w.a, id)
		return d.GetStatus() == otsprotocol.GlobalTableStatus_G_ACTIVE && phys["cn-b"].GetStage() == otsprotocol.SyncStage_SYNC_INCR &&
			phys["cn-b"].GetStatus() == otsprotocol.PhyTableStatus_PHY_ACTIVE
	})
	if err := unbind("cn-b"); err != nil {
		t.Fatal(err)
	}
	if err := unbind("cn-a"); err != nil {
		t.Fatal(err)
	}
	_, err := w.one[w.a].DescribeGlobalTable(&sdk.DescribeGlobalTableRequest{GlobalTableId: id, GlobalTableName: "orders"})
	if err == nil || !strings.Contains(err.Error(), "not a global table") {
		t.Errorf("%v", err)
	}
	if w.a.globals.size.Load() != 0 {
		t.Error("the global table is still there")
	}
}

func TestGlobalRPO(t *testing.T) {
	w := newGlobe(t, Options{}, Options{})
	id := w.bound(sdk.ServeMode_PrimarySecondary)
	rpo := func(region string) time.Duration {
		t.Helper()
		_, phys := w.phys(w.b, id)
		if phys[region].RpoNanos == nil {
			t.Fatal("no rpoNanos")
		}
		return time.Duration(phys[region].GetRpoNanos())
	}
	await(t, "nothing to copy", func() bool { return rpo("cn-a") == 0 && rpo("cn-b") == 0 })
	if err := w.a.SetGlobalRules(GlobalRules{Lag: time.Hour}); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	if err := w.put(w.a, "k", 1); err != nil {
		t.Fatal(err)
	}
	first := rpo("cn-b")
	await(t, "time passes", func() bool { return rpo("cn-b") > first })
	if most := time.Since(before); rpo("cn-a") != 0 || rpo("cn-b") < first || first > most {
		t.Errorf("%s, %s after %s", rpo("cn-a"), first, most)
	}
	if err := w.put(w.a, "k", 2); err != nil {
		t.Fatal(err)
	}
	if rpo("cn-b") < first {
		t.Error("a later change made the replica younger")
	}
	if err := w.b.SetRPO("lab", "orders", 7*time.Second); err != nil || rpo("cn-b") != 7*time.Second || rpo("cn-a") != 0 {
		t.Errorf("%s, %v", rpo("cn-b"), err)
	}
	if err := w.b.SetRPO("lab", "orders", -1); err != nil || rpo("cn-b") == 7*time.Second || rpo("cn-b") < first {
		t.Errorf("%s, %v", rpo("cn-b"), err)
	}
	if got := w.get(w.b, "k"); got != "" {
		t.Errorf("%s was copied", got)
	}
	if err := w.a.SetGlobalRules(GlobalRules{}); err != nil {
		t.Fatal(err)
	}
	await(t, "the lag is over", func() bool { return w.get(w.b, "k") == "c=2" && rpo("cn-b") == 0 })
	for table, instance := range map[string]string{"none": "lab", "orders": "none"} {
		if err := w.b.SetRPO(instance, table, 0); err == nil {
			t.Errorf("table %s of %s has an RPO", table, instance)
		}
	}
	// Who does not ask is not told.
	g := w.a.ask("DescribeGlobalTable", &otsprotocol.DescribeGlobalTableRequest{GlobalTableName: proto.String("orders")}).wants(t, w.a, 200, "", "")
	var d otsprotocol.DescribeGlobalTableResponse
	if err := proto.Unmarshal(g.body, protoadapt.MessageV2Of(&d)); err != nil || d.PhyTables[0].RpoNanos != nil {
		t.Errorf("%v, %v", &d, err)
	}
}

// TestGlobalUpdateTakesItsTime: until then the table is in reconfiguration, and
// writes are judged as before.
func TestGlobalUpdateTakesItsTime(t *testing.T) {
	at := time.Now()
	clock := func() time.Time { return at }
	w := newGlobe(t, Options{Clock: clock}, Options{Clock: clock})
	id := w.bound(sdk.ServeMode_PeerToPeer)
	w.wantMembers(id, "a peer+w, b peer+w")
	if err := w.a.SetGlobalRules(GlobalRules{Delay: time.Second}); err != nil {
		t.Fatal(err)
	}
	if err := w.update(w.b, id, "cn-a", no, nil); err != nil {
		t.Fatal(err)
	}
	w.wantMembers(id, "a peer+w, b peer+w")
	if d, _ := w.phys(w.a, id); d.GetStatus() != otsprotocol.GlobalTableStatus_G_RE_CONF || d.GetServeMode() != otsprotocol.ServeMode_PEER_TO_PEER {
		t.Errorf("%v", d)
	}
	at = at.Add(time.Second - 1)
	if err := w.put(w.a, "k", 1); err != nil {
		t.Error(err)
	}
	at = at.Add(1)
	w.readOnly(w.put(w.a, "k", 2))
	w.wantMembers(id, "a peer, b peer+w")
	await(t, "it is active", func() bool {
		d, _ := w.phys(w.a, id)
		return d.GetStatus() == otsprotocol.GlobalTableStatus_G_ACTIVE
	})
	if err := w.update(w.b, id, "cn-a", nil, yes); err == nil || !strings.Contains(err.Error(), "PRIMARY_SECONDARY") {
		t.Errorf("%v", err)
	}
}

func TestGlobalTableOutlivesTheServers(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir()}
	k := Key{ID: "k", Secret: "s"}
	open := func() *globe {
		return newGlobe(t, Options{DataDir: dirs[0], Keys: []Key{k}}, Options{DataDir: dirs[1], Keys: []Key{k}})
	}
	w := open()
	id := w.bound(sdk.ServeMode_PrimarySecondary)
	if err := w.put(w.a, "k", 1); err != nil {
		t.Fatal(err)
	}
	await(t, "the row is copied", func() bool { return w.get(w.b, "k") == "c=1" })
	if err := w.a.SetGlobalRules(GlobalRules{Lag: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if err := w.put(w.a, "late", 2); err != nil {
		t.Fatal(err)
	}
	// One server ends while the other goes on; what it missed it is told.
	if err := w.b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.update(w.a, id, "cn-b", nil, yes); err != nil {
		t.Fatal(err)
	}
	if err := w.a.Close(); err != nil {
		t.Fatal(err)
	}
	w = open()
	w.wantMembers(id, "a primary+w, b primary_eligible")
	w.readOnly(w.put(w.b, "k", 9))
	await(t, "what was not copied is copied", func() bool { return w.get(w.b, "late") == "c=2" })
}

// TestGlobalTableCopies: rows that go are taken away, and of two that were
// written at both sides the newer one is kept at both, whole.
func TestGlobalTableCopies(t *testing.T) {
	w := newGlobe(t, Options{}, Options{})
	w.bound(sdk.ServeMode_PeerToPeer)
	if err := w.put(w.a, "gone", 1); err != nil {
		t.Fatal(err)
	}
	await(t, "the row is copied", func() bool { return w.get(w.b, "gone") == "c=1" })
	d := &sdk.DeleteRowChange{TableName: "orders", PrimaryKey: &sdk.PrimaryKey{}}
	d.PrimaryKey.AddPrimaryKeyColumn("id", "gone")
	d.SetCondition(sdk.RowExistenceExpectation_IGNORE)
	if _, err := w.one[w.a].DeleteRow(&sdk.DeleteRowRequest{DeleteRowChange: d}); err != nil {
		t.Fatal(err)
	}
	await(t, "the row is taken away", func() bool { return w.get(w.b, "gone") == "" })

	// Both sides write the same row before either is copied.
	if err := w.a.SetGlobalRules(GlobalRules{Lag: time.Hour}); err != nil {
		t.Fatal(err)
	}
	w.b.SetClockOffset(time.Minute) // b's is the newer
	for at, v := range map[*Server]int64{w.a: 1, w.b: 2} {
		if err := w.put(at, "both", v); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := w.get(w.a, "both"), w.get(w.b, "both"); a != "c=1" || b != "c=2" {
		t.Fatalf("%s, %s", a, b)
	}
	if err := w.a.SetGlobalRules(GlobalRules{}); err != nil {
		t.Fatal(err)
	}
	settled := func() bool {
		_, phys := w.phys(w.a, *w.a.globalID(w.a.instance("lab"), "orders"))
		return phys["cn-a"].GetRpoNanos() == 0 && phys["cn-b"].GetRpoNanos() == 0
	}
	await(t, "all is copied", settled)
	await(t, "both are the newer one", func() bool { return w.get(w.a, "both") == "c=2" && w.get(w.b, "both") == "c=2" })
}

// TestCarryTakesTheNewerRow: each case of two rows, and of rows equally new the
// same one whichever way they are carried.
func TestCarryTakesTheNewerRow(t *testing.T) {
	st, err := openStore("")
	if err != nil {
		t.Fatal(err)
	}
	defer st.close()
	in := &instance{name: "lab", store: st}
	x, y := &table{in: in, tableRecord: tableRecord{ID: 1}}, &table{in: in, tableRecord: tableRecord{ID: 2}}
	raw := func(v, at int64) []byte {
		return row{{name: "c", time: at, v: plainbuffer.Value{Kind: plainbuffer.Integer, Int: v}}}.encode(nil)
	}
	name := func(t *table) []byte { return append(rowPrefix(t.ID), "k"...) }
	for what, c := range map[string]struct {
		from, to, want []byte
		last           int64
	}{
		"newer":               {raw(1, 20), raw(2, 10), raw(1, 20), 0},
		"older":               {raw(1, 10), raw(2, 20), raw(2, 20), 0},
		"none there":          {raw(1, 10), nil, raw(1, 10), 0},
		"gone later":          {nil, raw(2, 10), nil, 11},
		"gone at that moment": {nil, raw(2, 10), nil, 10},
		"gone before":         {nil, raw(2, 10), raw(2, 10), 9},
		"gone at both":        {nil, nil, nil, 5},
		"as new, greater":     {raw(9, 10), raw(2, 10), raw(9, 10), 0},
		"as new, smaller":     {raw(2, 10), raw(9, 10), raw(9, 10), 0},
	} {
		for t0, v := range map[*table][]byte{x: c.from, y: c.to} {
			if err := st.db.Delete(name(t0), pebble.NoSync); err != nil {
				t.Fatal(err)
			}
			if v != nil {
				if err := st.db.Set(name(t0), v, pebble.NoSync); err != nil {
					t.Fatal(err)
				}
			}
		}
		b := st.db.NewBatch()
		if err := (&copier{from: x, to: y}).carry(b, "k", c.last); err != nil {
			t.Fatal(err)
		}
		if err := st.db.Apply(b, pebble.NoSync); err != nil {
			t.Fatal(err)
		}
		if got, err := rawRow(y, "k"); err != nil || string(got) != string(c.want) {
			t.Errorf("%s: %x, want %x, %v", what, got, c.want, err)
		}
	}
}
