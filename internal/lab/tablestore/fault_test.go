package tablestore

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
)

// mustFail is Fail for a fault that makes sense.
func mustFail(t testing.TB, s *Server, f Fault, times int) int {
	t.Helper()
	id, err := s.Fail(f, times)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestFaultsOfAnswers: what a client gets, and whether the change was made, for
// each kind, before and after.
func TestFaultsOfAnswers(t *testing.T) {
	s := frontServer(t, Options{})
	n := 0
	for _, c := range []struct {
		name   string
		fault  Fault
		done   bool
		status int
		code   string // or a piece of the body
		err    error
		strict bool // whether strict clients take the answer for what it is
	}{
		{"error", Fault{Kind: ErrorCode, Code: "OTSServerBusy"}, false, 503, "OTSServerBusy", nil, true},
		{"error after", Fault{Kind: ErrorCode, Code: "OTSTimeout", After: true}, true, 503, "OTSTimeout", nil, true},
		{"own error", Fault{Kind: ErrorCode, Code: "OTSStrange", Status: 418, Message: "m"}, false, 418, "OTSStrange", nil, true},
		{"throttled", Fault{Kind: Throttled}, false, 429, "OTSFlowControl", nil, true},
		{"throttled after", Fault{Kind: Throttled, Code: "OTSNotEnoughCapacityUnit", After: true}, true, 403, "OTSNotEnoughCapacityUnit", nil, true},
		{"late", Fault{Kind: Late, Delay: time.Millisecond}, true, 200, "", nil, true},
		{"late after", Fault{Kind: Late, Delay: time.Millisecond, After: true}, true, 200, "", nil, true},
		{"drop", Fault{Kind: Drop}, false, 0, "", io.EOF, false},
		{"drop after", Fault{Kind: Drop, After: true}, true, 0, "", io.EOF, false},
		{"reset", Fault{Kind: Reset}, false, 0, "", syscall.ECONNRESET, false},
		{"reset after", Fault{Kind: Reset, After: true}, true, 0, "", syscall.ECONNRESET, false},
		{"truncated", Fault{Kind: Truncated}, true, 200, "", io.ErrUnexpectedEOF, false},
		{"corrupted", Fault{Kind: Corrupted}, true, 200, "", nil, false},
		{"malformed", Fault{Kind: Malformed}, true, 200, "", nil, true},
		{"empty", Fault{Kind: Empty}, true, 200, "", nil, true},
		{"unsigned", Fault{Kind: Unsigned}, true, 200, "", nil, false},
		{"slow", Fault{Kind: SlowBody, Delay: time.Microsecond}, true, 200, "", nil, true},
		{"page", Fault{Kind: HTML}, false, 502, "", nil, false},
		{"page after", Fault{Kind: HTML, After: true}, true, 502, "", nil, false},
	} {
		n++
		table := "t" + strconv.Itoa(n)
		c.fault.Operation = "Change"
		mustFail(t, s, c.fault, 1)
		q := s.ask("Change", createRequest(table))
		g, err := q.do(t, s)
		if !errors.Is(err, c.err) || err != nil && c.err == nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
		if g.Response != nil && (g.StatusCode != c.status || c.code != g.code) {
			t.Errorf("%s: %d %s", c.name, g.StatusCode, g.code)
		}
		if err == nil && (checkPython(g, q.path, q.id, q.secret) == nil) != c.strict && c.status != 502 {
			t.Errorf("%s: strict clients say %v", c.name, checkPython(g, q.path, q.id, q.secret))
		}
		if done := slices.ContainsFunc(s.Tables(""), func(x Table) bool { return x.Name == table }); done != c.done {
			t.Errorf("%s: done %t", c.name, done)
		}
		seen := s.Requests(Filter{Operation: "Change", Last: 1})[0]
		if seen.Fault != c.fault.Kind || c.err != nil && c.err != io.ErrUnexpectedEOF && seen.Status != 0 || c.err == nil && seen.Status != c.status {
			t.Errorf("%s: remembered as %+v", c.name, seen)
		}
	}
	if left := s.Faults(); len(left) != 0 {
		t.Errorf("%+v", left)
	}
	s.ask("Change", createRequest("last")).wants(t, s, 200, "", "")
}

func init() {
	// Change is CreateTable with an answer that is not empty.
	operations["Change"] = func(s *Server, c *call) (protoadapt.MessageV1, *refusal) {
		if _, ref := s.createTable(c); ref != nil {
			return nil, ref
		}
		return &otsprotocol.ListTableResponse{TableNames: []string{"an answer of some length"}}, nil
	}
}

// TestCorruptedAnswersAreSeenByTheirDigest, malformed ones by the message.
func TestCorruptedAnswersAreSeenByTheirDigest(t *testing.T) {
	s := frontServer(t, Options{})
	mustFail(t, s, Fault{Kind: Corrupted}, 1)
	g, err := s.ask("Change", createRequest("a")).do(t, s)
	if err != nil || lower(g.Header)["x-ots-contentmd5"] == contentMD5(g.body) {
		t.Errorf("%v %v", g, err)
	}
	mustFail(t, s, Fault{Kind: Malformed}, 1)
	g, err = s.ask("Change", createRequest("b")).do(t, s)
	if err != nil || lower(g.Header)["x-ots-contentmd5"] != contentMD5(g.body) || proto.Unmarshal(g.body, protoadapt.MessageV2Of(&otsprotocol.ListTableResponse{})) == nil {
		t.Errorf("%v %v", g, err)
	}
}

// TestFaultsMatchWhatTheySay, count, and heal.
func TestFaultsMatchWhatTheySay(t *testing.T) {
	s := frontServer(t, Options{
		Instances: []Instance{{Name: "lab"}, {Name: "other"}},
		Keys:      []Key{{ID: "LTAI-a", Secret: "a"}, {ID: "LTAI-b", Secret: "b"}},
	})
	for _, table := range []string{"orders", "lines"} {
		s.ask("CreateTable", createRequest(table)).wants(t, s, 200, "", "")
	}
	struck := func(spoil ...func(*ask)) bool {
		t.Helper()
		q := s.ask("DescribeTable", describeRequest("orders"))
		for _, f := range spoil {
			f(&q)
		}
		g, err := q.do(t, s)
		if err != nil {
			t.Fatal(err)
		}
		return g.code == "OTSServerBusy"
	}
	other := func(q *ask) { q.header["x-ots-instancename"] = "other" }
	lines := func(q *ask) { q.body, _ = proto.Marshal(protoadapt.MessageV2Of(describeRequest("lines"))) }
	list := func(q *ask) { q.path, q.body = "/ListTable", nil }
	b := func(q *ask) { q.id, q.secret = "LTAI-b", "b" }
	probe := func(q *ask) { q.path, q.method, q.header["x-ots-date"] = "/", "GET", "x" }
	busy := func(f Fault) Fault { f.Kind, f.Code = ErrorCode, "OTSServerBusy"; return f }
	for name, c := range map[string]struct {
		fault  Fault
		strike func(*ask)
		spare  []func(*ask)
	}{
		"operation": {busy(Fault{Operation: "ListTable"}), list, []func(*ask){lines, probe}},
		"table":     {busy(Fault{Table: "lines"}), lines, []func(*ask){list, b, probe}},
		"instance":  {busy(Fault{Instance: "other"}), other, []func(*ask){list, b, lines, probe}},
		"key":       {busy(Fault{Key: "LTAI-b"}), b, []func(*ask){list, other, probe}},
		"any":       {busy(Fault{}), list, []func(*ask){probe}},
		"probe":     {busy(Fault{Operation: "GET"}), probe, []func(*ask){list, other}},
	} {
		id := mustFail(t, s, c.fault, 2)
		for _, f := range c.spare {
			if struck(f) {
				t.Errorf("%s: struck what it does not mean", name)
			}
		}
		if struck(func(q *ask) { q.secret = "wrong" }) {
			t.Errorf("%s: struck who was not let in", name)
		}
		for i, want := range []bool{true, true, false} {
			if struck(c.strike) != want {
				t.Errorf("%s: call %d of the next two", name, i)
			}
		}
		s.Heal(id)
	}
	mustFail(t, s, busy(Fault{Skip: 2}), 1)
	for i, want := range []bool{false, false, true, false} {
		if struck() != want {
			t.Errorf("skip two: call %d", i)
		}
	}
	first := mustFail(t, s, busy(Fault{}), -1)
	mustFail(t, s, Fault{Kind: ErrorCode, Code: "OTSTimeout"}, 1)
	for range 3 {
		if !struck() {
			t.Error("not the oldest first, without end")
		}
	}
	if len(s.Faults()) != 2 {
		t.Errorf("%+v", s.Faults())
	}
	s.Heal(first)
	if left := s.Faults(); len(left) != 1 || left[0].Fault.Code != "OTSTimeout" {
		t.Errorf("after one of two was healed: %+v", left)
	}
	if struck() || len(s.Faults()) != 0 {
		t.Error("healed")
	}
	mustFail(t, s, busy(Fault{For: time.Hour}), -1)
	if f := s.Faults(); len(f) != 1 || time.Until(f[0].Until) < 59*time.Minute || !struck() {
		t.Errorf("%+v", f)
	}
	s.Heal()
	mustFail(t, s, busy(Fault{For: time.Nanosecond}), -1)
	if struck() || len(s.Faults()) != 0 {
		t.Error("it has ended")
	}
	mustFail(t, s, Fault{Kind: Throttled, Code: "OTSServerBusy", Rate: 0.0001}, -1)
	for i, want := range []bool{false, true, true} {
		if struck() != want {
			t.Errorf("one goes well, and no more than the rate: call %d", i)
		}
	}
}

func TestFaultsThatMakeNoSense(t *testing.T) {
	s := frontServer(t, Options{Instances: []Instance{{Name: "lab"}, {Name: "other"}}})
	s.ask("CreateTable", createRequest("orders")).wants(t, s, 200, "", "")
	text := func(s string) *string { return &s }
	for want, f := range map[string]Fault{
		`fault "nonsense": there are [error`: {Kind: "nonsense"},
		"which code":                         {Kind: ErrorCode},
		"code OTSNone is not one":            {Kind: ErrorCode, Code: "OTSNone"},
		"status 200":                         {Kind: ErrorCode, Code: "OTSTimeout", Status: 200},
		"a delay above 0":                    {Kind: Late},
		"skip -1":                            {Kind: Drop, Skip: -1},
		"for -1ns":                           {Kind: Drop, For: -1},
		"rate -1":                            {Kind: Throttled, Rate: -1},
		"of which table":                     {Kind: Partition},
		"not both":                           {Kind: Partition, Table: "orders", Of: text("a"), To: text("b")},
		"for partition alone":                {Kind: Drop, Of: text("a")},
		"several instances":                  {Kind: Partition, Table: "orders"},
		"no table lines in instance lab":     {Kind: Partition, Table: "lines", Instance: "lab"},
		"no instance moon":                   {Kind: Partition, Table: "lines", Instance: "moon"},
	} {
		if _, err := s.Fail(f, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := s.Fail(Fault{Kind: Drop}, 0); err == nil {
		t.Error("for no call")
	}
	if len(s.Faults()) != 0 {
		t.Error("something is pending")
	}
}

// TestPartitionsAreUnavailableAlone: the partition of a key, or a range.
func TestPartitionsAreUnavailableAlone(t *testing.T) {
	s := frontServer(t, Options{Instances: []Instance{{Name: "lab"}, {Name: "other"}}})
	in := s.instance("lab")
	text := func(s string) *string { return &s }
	tables := map[string]*table{}
	for name, kind := range map[string]otsprotocol.PrimaryKeyType{"words": otsprotocol.PrimaryKeyType_STRING, "numbers": otsprotocol.PrimaryKeyType_INTEGER} {
		m := createRequest(name)
		m.TableMeta.PrimaryKey[0].Type = kind.Enum()
		s.ask("CreateTable", m).wants(t, s, 200, "", "")
		tables[name], _ = in.table(name)
	}
	code := func(table, key string) []byte {
		b, err := tables[table].partitionKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, cut := range map[string][]string{"words": {"g", "p"}, "numbers": {"-10", "10"}} {
		tables[name].Parts = []partition{{}, {From: code(name, cut[0])}, {From: code(name, cut[1])}}
	}
	refused := func(op, table, key string) bool {
		c := &call{s: s, op: op, inst: in, key: s.Key(), now: time.Now()}
		ref := c.partition(tables[table], code(table, key))
		if ref != nil && (ref.code != "OTSPartitionUnavailable" || ref.status != 503 || ref.message != "The partition is not available.") {
			t.Errorf("%v", ref)
		}
		return ref != nil
	}
	for _, c := range []struct {
		fault     Fault
		is, isNot []string
	}{
		{Fault{Table: "words", Of: text("m")}, []string{"g", "h", "o~"}, []string{"", "f", "p", "z"}},
		{Fault{Table: "words", Of: text("")}, []string{"", "a", "f~"}, []string{"g", "z"}},
		{Fault{Table: "words", Of: text("z")}, []string{"p", "z~"}, []string{"o~", "a"}},
		{Fault{Table: "words", From: text("c"), To: text("d")}, []string{"c", "c~"}, []string{"b", "d"}},
		{Fault{Table: "words", From: text("c")}, []string{"c", "z"}, []string{"b"}},
		{Fault{Table: "words", To: text("c")}, []string{"", "b"}, []string{"c"}},
		{Fault{Table: "words"}, []string{"", "z"}, nil},
		{Fault{Table: "numbers", Of: text("0")}, []string{"-10", "0", "9"}, []string{"-11", "10", "9223372036854775807", "-9223372036854775808"}},
		{Fault{Table: "numbers", From: text("-3"), To: text("4")}, []string{"-3", "3"}, []string{"-4", "4"}},
	} {
		c.fault.Kind, c.fault.Instance = Partition, "lab"
		mustFail(t, s, c.fault, -1)
		for _, key := range c.is {
			if !refused("PutRow", c.fault.Table, key) {
				t.Errorf("%+v spares %q", c.fault, key)
			}
		}
		for _, key := range c.isNot {
			if refused("PutRow", c.fault.Table, key) {
				t.Errorf("%+v strikes %q", c.fault, key)
			}
		}
		s.Heal()
	}
	mustFail(t, s, Fault{Kind: Partition, Instance: "lab", Table: "words", Operation: "PutRow", Of: text("a")}, 2)
	for i, want := range []bool{true, true, false} {
		if refused("GetRow", "words", "a") || refused("PutRow", "words", "a") != want {
			t.Errorf("it counts rows of its operation: %d", i)
		}
	}
	mustFail(t, s, Fault{Kind: Partition, Instance: "lab", Table: "words", For: 100 * time.Millisecond}, -1)
	s.ask("ListTable", nil).wants(t, s, 200, "", "") // it is no matter of calls
	for end := time.Now().Add(time.Minute); refused("PutRow", "words", "a"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not end")
		}
	}
	if _, err := s.Fail(Fault{Kind: Partition, Instance: "lab", Table: "numbers", Of: text("one")}, 1); err == nil || !strings.Contains(err.Error(), "it is an integer") {
		t.Error(err)
	}
}

// TestTablesAreNotReadyAtOnce where that is asked for.
func TestTablesAreNotReadyAtOnce(t *testing.T) {
	s := frontServer(t, Options{Ready: time.Hour})
	s.ask("CreateTable", createRequest("orders")).wants(t, s, 200, "", "")
	table, _ := s.instance("lab").table("orders")
	c := &call{s: s, op: "PutRow", inst: s.instance("lab"), now: time.Now()}
	if ref := c.partition(table, nil); ref == nil || ref.code != "OTSTableNotReady" || ref.status != 404 {
		t.Errorf("%v", ref)
	}
	s.SetReady(0)
	if ref := c.partition(table, nil); ref != nil {
		t.Errorf("%v", ref)
	}
}

// sendAndGo sends a request and does not wait for its answer: what it returns
// goes away.
func (q ask) sendAndGo(t *testing.T, s *Server) (leave func()) {
	t.Helper()
	r, err := q.request(t.Context(), s.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, s)
	if err := r.Write(c); err != nil {
		t.Fatal(err)
	}
	return func() { _ = c.Close() }
}

// TestStalledCallsEndWithTheirClient or with the server.
func TestStalledCallsEndWithTheirClient(t *testing.T) {
	s := frontServer(t, Options{})
	before := runtime.NumGoroutine()
	mustFail(t, s, Fault{Kind: Stalled, After: true}, 1)
	leave := s.ask("Change", createRequest("orders")).sendAndGo(t, s)
	await(t, "the call", func() bool { return len(s.Requests(Filter{Operation: "Change"})) == 1 })
	if got := s.Tables(""); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	leave()
	await(t, "the end of the call", func() bool { return runtime.NumGoroutine() <= before })
	mustFail(t, s, Fault{Kind: Stalled}, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := s.ask("ListTable", nil).do(t, s); err == nil {
			t.Error("answered")
		}
	})
	await(t, "the call", func() bool { return len(s.Faults()) == 0 })
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// TestStalledCallsOutlastTheTimeForBodies: how long a client may take for its
// body is no bound of how long the server may take.
func TestStalledCallsOutlastTheTimeForBodies(t *testing.T) {
	s := frontServer(t, Options{BodyTimeout: 200 * time.Millisecond})
	mustFail(t, s, Fault{Kind: Stalled}, 1)
	q := s.ask("Change", createRequest("orders"))
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	q.client = &http.Client{Transport: tr, Timeout: time.Second}
	var slow interface{ Timeout() bool }
	if _, err := q.do(t, s); !errors.As(err, &slow) || !slow.Timeout() {
		t.Error(err)
	}
}

// TestLateCallsAreDoneThoughNobodyWaits, as by a server that took the request.
func TestLateCallsAreDoneThoughNobodyWaits(t *testing.T) {
	s := frontServer(t, Options{})
	const delay = 500 * time.Millisecond
	mustFail(t, s, Fault{Kind: Late, Delay: delay}, 1)
	leave := s.ask("Change", createRequest("orders")).sendAndGo(t, s)
	await(t, "the call", func() bool { return len(s.Faults()) == 0 })
	leave()
	await(t, "the change", func() bool { return len(s.Tables("")) == 1 })
	await(t, "its end", func() bool { return len(s.Requests(Filter{Operation: "Change"})) == 1 })
	if seen := s.Requests(Filter{Operation: "Change"})[0]; seen.Duration < delay || seen.Status != http.StatusOK {
		t.Errorf("done at once: %+v", seen)
	}
}

// TestLateCallsAreOfTheTimeWhenTheyAreDone, so that what they write is newer
// than what was written while they were held up.
func TestLateCallsAreOfTheTimeWhenTheyAreDone(t *testing.T) {
	s := frontServer(t, Options{})
	var at time.Time
	operations["Now"] = func(_ *Server, c *call) (protoadapt.MessageV1, *refusal) { at = c.now; return nil, nil }
	defer delete(operations, "Now")
	mustFail(t, s, Fault{Kind: Late, Delay: 50 * time.Millisecond}, 1)
	begun := time.Now()
	s.ask("Now", nil).wants(t, s, 200, "", "")
	if at.Sub(begun) < 50*time.Millisecond {
		t.Errorf("done %s after it was asked for", at.Sub(begun))
	}
}

// await waits until something is so.
func await(t testing.TB, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestClockOffset: requests are held against it, and answers dated by it.
func TestClockOffset(t *testing.T) {
	s := frontServer(t, Options{})
	for _, c := range []struct {
		offset time.Duration
		ok     bool
	}{{14 * time.Minute, true}, {-14 * time.Minute, true}, {16 * time.Minute, false}, {-16 * time.Minute, false}} {
		s.SetClockOffset(c.offset)
		g, err := s.ask("ListTable", nil).do(t, s)
		if err != nil || (g.StatusCode == 200) != c.ok || !c.ok && !strings.HasPrefix(g.text, "Mismatch between system time") {
			t.Errorf("%s: %v %s %v", c.offset, g.Response, g.text, err)
		}
		at, err := time.Parse(time.RFC3339Nano, lower(g.Header)["x-ots-date"])
		if d := time.Until(at); err != nil || (d-c.offset).Abs() > time.Minute {
			t.Errorf("%s: dated %s, %v", c.offset, at, err)
		}
	}
}

// TestHistory is bounded, in order, filtered, and without secrets.
func TestHistory(t *testing.T) {
	s := frontServer(t, Options{Keys: []Key{{ID: "STS.one", Secret: "the-secret", Token: "the-token"}}})
	q := s.ask("CreateTable", createRequest("orders"))
	q.header["x-ots-ststoken"] = "the-token"
	q.wants(t, s, 200, "", "")
	q.wants(t, s, 409, "OTSObjectAlreadyExist", "Requested table already exists.")
	r, err := q.request(t.Context(), s.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s.Requests(Filter{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"the-secret", "the-token", r.Header.Get("x-ots-signature")} {
		if strings.Contains(string(text), secret) {
			t.Errorf("%s is remembered", secret)
		}
	}
	for f, want := range map[Filter]int{
		{}: 2, {Code: "OTSObjectAlreadyExist"}: 1, {Table: "orders", KeyID: "STS.one", Instance: "lab", Operation: "CreateTable"}: 2,
		{Table: "lines"}: 0, {KeyID: "x"}: 0, {Instance: "x"}: 0, {Operation: "x"}: 0, {Last: 1}: 1,
	} {
		if got := s.Requests(f); len(got) != want {
			t.Errorf("%+v: %d, want %d", f, len(got), want)
		}
	}
	first := s.Requests(Filter{})[0]
	if first.Status != 200 || first.In == 0 || first.Duration <= 0 || first.Tables[0] != "orders" || first.At.IsZero() || first.Client == "" {
		t.Errorf("%+v", first)
	}
	for i := range maxSeen + 5 {
		s.seen.add(Request{RequestID: strconv.Itoa(i)})
	}
	all := s.Requests(Filter{})
	if len(all) != maxSeen || all[0].RequestID != "5" || all[maxSeen-1].RequestID != strconv.Itoa(maxSeen+4) {
		t.Errorf("%d from %s to %s", len(all), all[0].RequestID, all[len(all)-1].RequestID)
	}
	if s.Forget(); len(s.Requests(Filter{})) != 0 {
		t.Error("not forgotten")
	}
}
