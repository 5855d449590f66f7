package healthcheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"pointsman/internal/failover"
)

// answers is a server that knows just enough of the service for what no honest
// one can be made to answer. It keeps the rows as they come.
type answers struct {
	t      testing.TB
	mu     sync.Mutex
	tables map[string][][]byte
	say    func(op, table, key string, body []byte) (status int, code, message string) // status 0: as it should be
	seen   []string
}

func newAnswers(t testing.TB, tables ...string) *answers {
	a := &answers{t: t, tables: map[string][][]byte{}}
	for _, name := range tables {
		a.tables[name] = nil
	}
	return a
}

func wireOfMessage(m protoadapt.MessageV1) []byte {
	b, err := proto.Marshal(protoadapt.MessageV2Of(m))
	if err != nil {
		panic(err)
	}
	return b
}

func (a *answers) fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("X-Ots-Requestid", "0005-1")
	w.WriteHeader(status)
	w.Write(wireOfMessage(&otsprotocol.Error{Code: &code, Message: &message}))
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.Method != http.MethodPost {
		a.fail(w, http.StatusMethodNotAllowed, "OTSMethodNotAllowed", "Only POST method for requests is supported.")
		return
	}
	op := strings.TrimPrefix(r.URL.Path, "/")
	var table string
	var row []byte
	switch op {
	case "PutRow":
		var m otsprotocol.PutRowRequest
		if err := proto.Unmarshal(body, protoadapt.MessageV2Of(&m)); err != nil {
			a.t.Error(err)
		}
		table, row = m.GetTableName(), m.GetRow()
	case "GetRow":
		var m otsprotocol.GetRowRequest
		if err := proto.Unmarshal(body, protoadapt.MessageV2Of(&m)); err != nil {
			a.t.Error(err)
		}
		table, row = m.GetTableName(), m.GetPrimaryKey()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	key := r.Header.Get("X-Ots-Accesskeyid")
	a.seen = append(a.seen, op+" "+table+" "+key)
	if a.say != nil {
		if status, code, message := a.say(op, table, key, row); status == -1 {
			return // an empty 200
		} else if status != 0 {
			a.fail(w, status, code, message)
			return
		}
	}
	rows, ok := a.tables[table]
	if !ok {
		a.fail(w, http.StatusNotFound, "OTSObjectNotExist", "Requested table does not exist.")
		return
	}
	one := int32(1)
	used := &otsprotocol.ConsumedCapacity{CapacityUnit: &otsprotocol.CapacityUnit{Read: &one, Write: &one}}
	if op == "PutRow" {
		a.tables[table] = append([][]byte{row}, rows...)
		w.Write(wireOfMessage(&otsprotocol.PutRowResponse{Consumed: used}))
		return
	}
	found := []byte{}
	for _, x := range rows {
		if bytes.HasPrefix(x, row[:len(row)-2]) { // but for its checksum
			found = x
			break
		}
	}
	w.Write(wireOfMessage(&otsprotocol.GetRowResponse{Consumed: used, Row: found}))
}

// keyFiles are key files by their path.
type keyFiles map[string]string

func (k keyFiles) read(path string) ([]byte, error) {
	if text, ok := k[path]; ok {
		return []byte(text), nil
	}
	return nil, fmt.Errorf("read secret %s: no such file", path)
}

var twoKeys = keyFiles{
	"prober.key": `{"AccessKeyId":"LTAIprober","AccessKeySecret":"s1"}`,
	"client.key": `{"AccessKeyId":"LTAIclient","AccessKeySecret":"s2"}`,
}

// tableTarget asks for the service identity alone.
func tableTarget(address string) Target {
	t := target(Tablestore, address)
	t.Place.Instance = "orders"
	t.Check.Tablestore = TablestoreCheck{Scheme: SchemeHTTP, ServiceKey: "prober.key"}
	return t
}

func probeTables(t testing.TB, tg Target) (Trace, error) {
	t.Helper()
	return probeWith(t, tg, ProbeConfig{Vantage: "van-1", ReadKey: twoKeys.read})
}

func TestCanaryWritesAndReadsBack(t *testing.T) {
	a := newAnswers(t, CanaryTable)
	tr, err := probeTables(t, tableTarget(serve(t, a.ServeHTTP)))
	if err != nil || tr.Canary != failover.CanaryOK || tr.Phase != PhaseDone || tr.Client != failover.ClientNone {
		t.Fatalf("%v, %+v", err, tr)
	}
	if want := "PutRow pointsman_canary LTAIprober,GetRow pointsman_canary LTAIprober"; strings.Join(a.seen, ",") != want {
		t.Errorf("asked %v, want %s", a.seen, want)
	}
}

// Each round uses the next of the partition keys, and a row of its own for each
// vantage and cluster.
func TestCanaryGoesRoundThePartitionKeys(t *testing.T) {
	a := newAnswers(t, CanaryTable)
	p, err := NewProbe(tableTarget(serve(t, a.ServeHTTP)), ProbeConfig{Vantage: "van-1", ReadKey: twoKeys.read})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * len(CanaryParts) {
		if err := p(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	rows := a.tables[CanaryTable] // the newest first
	for i, row := range rows {
		if want := CanaryParts[(len(rows)-1-i)%len(CanaryParts)]; !bytes.Contains(row, partOf(want)) || !bytes.Contains(row, []byte("orders/van-1/a")) {
			t.Errorf("round %d wrote %q, want the key %q", len(rows)-1-i, row, want)
		}
	}
	if len(rows) != 2*len(CanaryParts) {
		t.Errorf("%d rows were put", len(rows))
	}
}

// partOf is the cell of a partition key in a row.
func partOf(key string) []byte {
	return []byte("part\x05\x06\x00\x00\x00\x03\x01\x00\x00\x00" + key)
}

// A redirect would carry a signed request to wherever it points.
func TestCanaryFollowsNoRedirect(t *testing.T) {
	asked := 0
	tg := tableTarget(serve(t, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Location", "/PutRow")
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	if _, err := probeTables(t, tg); !errors.Is(err, errRedirect) || isOwn(err) || asked != 1 {
		t.Errorf("%v after %d requests", err, asked)
	}
}

// What a service error means for the vote, through the real SDK.
func TestCanaryAnswers(t *testing.T) {
	for _, tc := range []struct {
		name          string
		status        int
		code, message string
		miss          bool
		class         failover.Fault
		warns         string
		canary        failover.CanaryResult
	}{
		{"not running", 403, "OTSAuthFailed", "The instance is not running.", true, "", "", failover.CanaryBad},
		{"key", 403, "OTSAuthFailed", "The AccessKeyID is disabled.", false, failover.FaultKey, "", failover.CanaryBad},
		{"acl", 403, "OTSAuthFailed", "Request denied by instance ACL policies.", false, failover.FaultPlace, "", failover.CanaryBad},
		{"clock", 403, "OTSAuthFailed", "Mismatch between system time and x-ots-date: x.", false, failover.FaultClock, "", failover.CanaryBad},
		{"no such instance", 403, "OTSAuthFailed", "The instance is not found.", false, failover.FaultSetup, "", failover.CanaryBad},
		{"privilege", 403, "OTSNoPermissionAccess", "You have no permission to access the requested resource.", false, failover.FaultDenied, "", failover.CanaryBad},
		{"every partition", 503, "OTSPartitionUnavailable", "The partition is not available.", true, "", "", failover.CanaryBad},
		{"internal", 500, "OTSInternalServerError", "Internal server error.", true, "", "", failover.CanaryBad},
		{"throttled", 403, "OTSNotEnoughCapacityUnit", "Remaining capacity unit is not enough.", false, "", "throttled", failover.CanaryBad},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAnswers(t, CanaryTable)
			a.say = func(string, string, string, []byte) (int, string, string) { return tc.status, tc.code, tc.message }
			tr, err := probeTables(t, tableTarget(serve(t, a.ServeHTTP)))
			own := tc.class != ""
			if (err == nil) != (tc.warns != "") || errors.Is(err, ErrOwn) != own || FaultOf(err) != tc.class || tr.Canary != tc.canary {
				t.Fatalf("%v (own %v, class %q), canary %q", err, errors.Is(err, ErrOwn), FaultOf(err), tr.Canary)
			}
			if err != nil && !strings.Contains(err.Error(), tc.code) || !strings.Contains(strings.Join(tr.Warnings, " "), tc.warns) {
				t.Errorf("%v, warns %q", err, tr.Warnings)
			}
		})
	}
}

// A failing partition is a warning while the others work, and until it works
// again; two are a miss.
func TestCanaryPartitions(t *testing.T) {
	a := newAnswers(t, CanaryTable)
	bad := map[int]bool{0: true}
	a.say = func(_, _, _ string, row []byte) (int, string, string) {
		for i, p := range CanaryParts {
			if bad[i] && bytes.Contains(row, partOf(p)) {
				return 503, "OTSPartitionUnavailable", "The partition is not available."
			}
		}
		return 0, "", ""
	}
	tg := tableTarget(serve(t, a.ServeHTTP))
	p, err := NewProbe(tg, ProbeConfig{Vantage: "van-1", ReadKey: twoKeys.read})
	if err != nil {
		t.Fatal(err)
	}
	look := func() (Trace, error) {
		var tr Trace
		ctx, cancel := context.WithTimeout(WithTrace(t.Context(), &tr), tg.Timeout)
		defer cancel()
		return tr, p(ctx)
	}
	for round := range 4 { // key 0 itself, and then the rounds of the others
		tr, err := look()
		if err != nil || tr.Canary != failover.CanaryOK || len(tr.Warnings) != 1 || !strings.Contains(tr.Warnings[0], `partition key "0" of 4: put: OTSPartitionUnavailable (503)`) {
			t.Fatalf("round %d: %v, canary %q, warns %q", round, err, tr.Canary, tr.Warnings)
		}
	}
	bad[2] = true
	if tr, err := look(); err == nil || isOwn(err) || !strings.Contains(err.Error(), "2 of 4 partition keys fail") || tr.Canary != failover.CanaryBad {
		t.Fatalf("two of four: %v, canary %q", err, tr.Canary)
	}
	bad = nil
	for range 4 {
		if _, err := look(); err != nil {
			t.Fatal(err)
		}
	}
	if tr, err := look(); err != nil || len(tr.Warnings) > 0 {
		t.Fatalf("after all work again: %v, warns %q", err, tr.Warnings)
	}
}

func TestCanaryReadsBackItsOwn(t *testing.T) {
	s := newStamp()
	later, earlier, foreign := stamp{s.boot, s.seq + 1}, stamp{s.boot, s.seq - 1}, stamp{"0123456789abcdef", s.seq}
	for _, tc := range []struct {
		read  string
		found bool
		want  error
		own   bool
	}{
		{s.String(), true, nil, false},
		{later.String(), true, nil, false},
		{earlier.String(), true, errStale, false},
		{"", false, errLost, false},
		{foreign.String(), true, errForeign, true},
		{"hello", true, errForeign, true},
	} {
		err := readBack(s, tc.read, tc.found)
		if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) || errors.Is(err, ErrOwn) != tc.own {
			t.Errorf("%q: %v, want %v", tc.read, err, tc.want)
		}
	}
}

// The value that comes back must be that of this very round.
func TestCanaryThatLosesWrites(t *testing.T) {
	a := newAnswers(t, CanaryTable)
	tg := tableTarget(serve(t, a.ServeHTTP))
	p, err := NewProbe(tg, ProbeConfig{Vantage: "van-1", ReadKey: twoKeys.read})
	if err != nil {
		t.Fatal(err)
	}
	for range CanaryParts { // each row is there
		if err := p(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	old := a.tables[CanaryTable]
	a.say = func(op, _, _ string, _ []byte) (int, string, string) {
		if op == "GetRow" {
			a.tables[CanaryTable] = old // as before the write
		}
		return 0, "", ""
	}
	if err := p(t.Context()); !errors.Is(err, errStale) || isOwn(err) {
		t.Errorf("a lost write: %v", err)
	}
	old = nil
	if err := p(t.Context()); !errors.Is(err, errLost) || isOwn(err) {
		t.Errorf("a lost row: %v", err)
	}
}

// The clients' key says whether the cluster is closed, and only after it was
// let in once.
func TestClientKey(t *testing.T) {
	a := newAnswers(t, CanaryTable)
	closed, text := true, "You have no permission to access the requested resource."
	a.say = func(_, _, key string, _ []byte) (int, string, string) {
		if closed && key == "LTAIclient" {
			return 403, "OTSNoPermissionAccess", text
		}
		return 0, "", ""
	}
	tg := tableTarget(serve(t, a.ServeHTTP))
	tg.Check.Tablestore.ClientKey = "client.key"
	p, err := NewProbe(tg, ProbeConfig{Vantage: "van-1", ReadKey: twoKeys.read})
	if err != nil {
		t.Fatal(err)
	}
	look := func(want failover.ClientResult, warns string) {
		t.Helper()
		var tr Trace
		if err := p(WithTrace(t.Context(), &tr)); err != nil || tr.Client != want || tr.ClientAt.IsZero() || !strings.Contains(strings.Join(tr.Warnings, " "), warns) {
			t.Fatalf("%v, client %q, want %q, warns %q", err, tr.Client, want, tr.Warnings)
		}
	}
	look(failover.ClientSilent, "it proves nothing")
	closed = false
	look(failover.ClientAccepted, "")
	closed = true
	look(failover.ClientRefused, "")
	text = "Request denied by instance ACL policies."
	look(failover.ClientSilent, "ACL")
}

func TestClosedToTheServiceKey(t *testing.T) {
	a := newAnswers(t, CanaryTable)
	tg := tableTarget(serve(t, a.ServeHTTP))
	p, err := NewProbe(tg, ProbeConfig{Vantage: "van-1", ReadKey: twoKeys.read})
	if err != nil {
		t.Fatal(err)
	}
	a.say = func(string, string, string, []byte) (int, string, string) {
		return 403, "OTSNoPermissionAccess", "You have no permission to access the requested resource."
	}
	if err := p(t.Context()); FaultOf(err) != failover.FaultDenied || strings.Contains(err.Error(), "closed") {
		t.Fatalf("before it was ever let in: %v", err)
	}
	say := a.say
	a.say = nil
	if err := p(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.say = say
	if err := p(t.Context()); FaultOf(err) != failover.FaultDenied || !strings.Contains(err.Error(), "closed to our own key") {
		t.Fatalf("after that: %v", err)
	}
}

func TestTablestoreIdentity(t *testing.T) {
	for _, tc := range []struct {
		tables []string
		proved bool
		wrong  bool
		class  failover.Fault
	}{
		{[]string{"pointsman_is_a"}, true, false, ""},
		{[]string{"pointsman_is_b"}, false, true, ""},
		{[]string{"pointsman_is_a", "pointsman_is_b"}, false, false, failover.FaultSetup},
		{nil, false, false, failover.FaultSetup},
	} {
		t.Run(strings.Join(tc.tables, "+"), func(t *testing.T) {
			a := newAnswers(t, append(tc.tables, CanaryTable)...)
			tg := tableTarget(serve(t, a.ServeHTTP))
			tg.Identity, tg.Other, tg.Check.Identity.Table = "a", "b", IdentityPrefix
			tr, err := probeTables(t, tg)
			if tr.Identity != tc.proved || errors.Is(err, ErrWrongCluster) != tc.wrong || FaultOf(err) != tc.class || (err == nil) != tc.proved {
				t.Errorf("proved %v, %v", tr.Identity, err)
			}
		})
	}
}

// With no key to be had the cheap look still tells a dead cluster.
func TestWithoutKey(t *testing.T) {
	a := newAnswers(t, CanaryTable)
	tg := tableTarget(serve(t, a.ServeHTTP))
	if _, err := probeWith(t, tg, ProbeConfig{Vantage: "van-1", ReadKey: keyFiles{}.read}); FaultOf(err) != failover.FaultSetup {
		t.Errorf("a living cluster: %v", err)
	}
	l := listen(t)
	l.Close()
	tg.Address = l.Addr().String()
	if _, err := probeWith(t, tg, ProbeConfig{Vantage: "van-1", ReadKey: keyFiles{}.read}); err == nil || isOwn(err) {
		t.Errorf("a dead one: %v", err)
	}
}

// Whatever the other side says, it is its own word, and the probe ends in time.
func TestHostileTables(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"empty":    func(http.ResponseWriter, *http.Request) {},
		"noise":    func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("\x0a\xff\xff\xff\xff\x0f")) },
		"html":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); w.Write([]byte("<html>")) },
		"redirect": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Location", "/x"); w.WriteHeader(307) },
		"huge":     func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, maxTableBody+1)) },
		"row": func(w http.ResponseWriter, r *http.Request) {
			one := int32(1)
			used := &otsprotocol.ConsumedCapacity{CapacityUnit: &otsprotocol.CapacityUnit{Read: &one, Write: &one}}
			w.Write(wireOfMessage(&otsprotocol.GetRowResponse{Consumed: used, Row: []byte("u\x00\x00\x00\x01\x03\x04\xff\xff\xff\x7f")}))
		},
		"bad gateway": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502); w.Write([]byte("bad gateway")) },
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := probeTables(t, tableTarget(serve(t, h))); err == nil || isOwn(err) {
				t.Errorf("%v", err)
			}
		})
	}
}

// A stalled cluster costs the probe its timeout and no more, and is a miss.
func TestStalledTables(t *testing.T) {
	stop := make(chan struct{})
	tg := tableTarget(serve(t, func(http.ResponseWriter, *http.Request) { <-stop }))
	t.Cleanup(func() { close(stop) })
	tg.Timeout = time.Second
	start := time.Now()
	_, err := probeTables(t, tg)
	if took := time.Since(start); err == nil || isOwn(err) || took > 20*time.Second || !strings.Contains(err.Error(), "4 of 4") {
		t.Errorf("%v after %s", err, took)
	}
}

func TestFront(t *testing.T) {
	shaped := func(status int, code string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			message := "x"
			w.Write(wireOfMessage(&otsprotocol.Error{Code: &code, Message: &message}))
		}
	}
	for name, tc := range map[string]struct {
		h    http.HandlerFunc
		well bool
	}{
		"error of the service": {shaped(400, "OTSUnsupportOperation"), true},
		"header alone": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("x-ots-requestid", "1")
			w.WriteHeader(403)
		}, true},
		"XML alone": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			w.Write([]byte(`<?xml version="1.0" encoding="UTF-8"?>` + "\n<Error><Code>OTSUnsupportOperation</Code><Message>Unsupported operation: ''.</Message></Error>"))
		}, true},
		"XML of somebody else": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			w.Write([]byte("<Error><Code>NoSuchBucket</Code></Error>"))
		}, false},
		"a page with such a code": {func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte("<html><Code>OTSUnsupportOperation</Code></html>"))
		}, false},
		"unavailable": {shaped(503, "OTSServerUnavailable"), false},
		"its own 500": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("x-ots-requestid", "1")
			w.WriteHeader(500)
		}, false},
		"somebody else": {shaped(400, "NoSuchBucket"), false},
		"a page":        {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>welcome")) }, false},
		"bad gateway":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			tg := tableTarget(serve(t, tc.h))
			tg.Check = tg.Check.withDefaults()
			c := ProbeConfig{Vantage: "van-1"}
			if err := newFront(newDialer(tg, c), tg, c).look(t.Context(), &Trace{}); (err == nil) != tc.well {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAccessKeyHidesItsSecret(t *testing.T) {
	k, err := ParseAccessKey([]byte(`{"AccessKeyId":"LTAIx","AccessKeySecret":"hidden","SecurityToken":"veiled"}`))
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprintf("%v %+v %#v %s", k, k, k, k); strings.Contains(s, "hidden") || strings.Contains(s, "veiled") {
		t.Errorf("%s", s)
	}
	for _, bad := range []string{"", "hidden", `{"AccessKeyId":"x"}`, `{"AccessKeyId":"a b","AccessKeySecret":"hidden"}`} {
		if _, err := ParseAccessKey([]byte(bad)); !errors.Is(err, ErrAccessKey) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
