package alicloud

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// nodeCall is one call that a client of Node makes.
type nodeCall struct {
	Version string         `json:"version"`
	Action  string         `json:"action"`
	Params  map[string]any `json:"params"`
	Method  string         `json:"method,omitempty"`
}

type nodeAnswer struct {
	OK      bool           `json:"ok"`
	Body    map[string]any `json:"body"`
	Status  int            `json:"status"`
	Code    string         `json:"code"`
	Message string         `json:"message"`
}

// node lets a client of another maker make the calls. What it wants is
// installed by `make deps`; `make test` leaves these tests out by name where it
// cannot be had.
func node(t *testing.T, s *Server, client string, k Key, calls ...nodeCall) []nodeAnswer {
	t.Helper()
	if _, err := os.Stat("testdata/npm/node_modules"); err != nil {
		t.Fatalf("%v: run make deps, or npm ci in internal/lab/alicloud/testdata/npm", err)
	}
	job, err := json.Marshal(map[string]any{
		"endpoint": s.Endpoint(), "id": k.ID, "secret": k.Secret, "token": k.Token, "client": client, "calls": calls,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // node alone takes seconds to start where others are busy
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "call.js")
	cmd.Dir, cmd.Stdin = "testdata/npm", bytes.NewReader(job)
	cmd.Env = append(os.Environ(), "NO_PROXY=127.0.0.1", "NODE_OPTIONS=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v: %s", err, stderr.String())
	}
	var answers []nodeAnswer
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != len(calls) {
		t.Fatalf("%v: %s", err, out)
	}
	return answers
}

const alidnsVersion = "2015-01-09"

// TestNodePopCore: the older client of Node, by GET with everything in the
// query and by POST with everything in a form, for Alidns and PrivateZone.
func TestNodePopCore(t *testing.T) {
	s := start(t, Options{})
	r := seed(t, s, Record{RR: "orders", Type: "CNAME", Value: "a.back.test"})
	zoneID, err := s.AddZone(Zone{Name: "vpc.example.com", Private: true})
	if err != nil {
		t.Fatal(err)
	}
	id := strconv.FormatInt(r.ID, 10)
	got := node(t, s, "pop", s.Key(),
		nodeCall{alidnsVersion, "DescribeDomainRecords", map[string]any{"DomainName": "example.com", "RRKeyWord": "ord", "PageSize": 500}, "GET"},
		nodeCall{alidnsVersion, "UpdateDomainRecord", map[string]any{"RecordId": id, "RR": "orders", "Type": "CNAME", "Value": "b.back.test", "TTL": 30}, "POST"},
		nodeCall{alidnsVersion, "DescribeDomainRecords", map[string]any{"DomainName": "example.com", "KeyWord": "b c*~+ä/%'()!"}, "POST"},
		nodeCall{alidnsVersion, "UpdateDomainRecordRemark", map[string]any{"RecordId": id, "Remark": "a=b"}, "GET"},
		nodeCall{"2018-01-01", "AddZoneRecord", map[string]any{"ZoneId": zoneID, "Rr": "orders", "Type": "CNAME", "Value": "a.back.test"}, "POST"},
		nodeCall{"2018-01-01", "DescribeZoneRecords", map[string]any{"ZoneId": "none"}, "GET"},
	)
	if b := got[0].Body; !got[0].OK || fmt.Sprint(b["TotalCount"]) != "1" {
		t.Errorf("%+v", got[0])
	}
	if now, _ := s.Record("example.com", "orders", ""); !got[1].OK || got[1].Body["RecordId"] != id || now.Value != "b.back.test" || now.TTL != 30 {
		t.Errorf("%+v %+v", got[1], now)
	}
	if !got[2].OK || fmt.Sprint(got[2].Body["TotalCount"]) != "0" {
		t.Errorf("%+v", got[2])
	}
	if got[3].OK || got[3].Code != "InvalidParameter" {
		t.Errorf("%+v", got[3])
	}
	if now, ok := s.Record(zoneID, "orders", ""); !got[4].OK || !ok || now.TTL != 60 {
		t.Errorf("%+v %+v", got[4], now)
	}
	if got[5].OK || got[5].Code != "Zone.NotExists" {
		t.Errorf("%+v", got[5])
	}
	for i, in := range []string{"query", "form", "form", "query", "form", "query"} {
		q := s.Requests()[i]
		if q.Signature != signRPC || q.In != in {
			t.Errorf("call %d: %s in %s", i, q.Signature, q.In)
		}
	}
	wrong := s.Key()
	wrong.Secret += "x"
	if got := node(t, s, "pop", wrong, nodeCall{alidnsVersion, "DescribeDomains", map[string]any{}, "GET"}); got[0].Code != "SignatureDoesNotMatch" {
		t.Errorf("%+v", got[0])
	}
}

// TestNodeGeneratedSDK: the SDK that the vendor generates today, which signs
// with ACS3-HMAC-SHA256.
func TestNodeGeneratedSDK(t *testing.T) {
	s := start(t, Options{})
	r := seed(t, s, Record{RR: "orders", Type: "CNAME", Value: "a.back.test", Line: "telecom", Remark: "pm 1"})
	id := strconv.FormatInt(r.ID, 10)
	call := func(action string, params map[string]any) nodeCall {
		return nodeCall{Version: alidnsVersion, Action: action, Params: params}
	}
	got := node(t, s, "generated", s.Key(),
		call("DescribeDomainRecords", map[string]any{"domainName": "example.com", "RRKeyWord": "ORD", "pageSize": 100}),
		call("UpdateDomainRecord", map[string]any{"recordId": id, "RR": "orders", "type": "CNAME", "value": "b.back.test", "TTL": 30, "line": "telecom"}),
		call("UpdateDomainRecordRemark", map[string]any{"recordId": id, "remark": "pm 2 a-b_c, 中文"}),
		call("DescribeDomainInfo", map[string]any{"domainName": "example.com", "needDetailAttributes": true}),
		call("UpdateDomainRecord", map[string]any{"recordId": id, "RR": "orders", "type": "CNAME", "value": "b.back.test", "TTL": 30, "line": "telecom"}),
		call("DescribeDomainRecords", map[string]any{"domainName": "other.example"}),
	)
	if !got[0].OK || got[0].Body["totalCount"] != 1.0 {
		t.Errorf("%+v", got[0])
	} else {
		record := got[0].Body["domainRecords"].(map[string]any)["record"].([]any)[0].(map[string]any)
		for k, want := range map[string]any{
			"recordId": id, "RR": "orders", "type": "CNAME", "value": "a.back.test", "line": "telecom", "status": "ENABLE",
			"locked": false, "TTL": 600.0, "remark": "pm 1", "weight": 1.0, "domainName": "example.com",
		} {
			if record[k] != want {
				t.Errorf("%s is %v, want %v", k, record[k], want)
			}
		}
	}
	now, _ := s.Record("example.com", "orders", "telecom")
	if !got[1].OK || got[1].Body["recordId"] != id || now.Value != "b.back.test" || now.Remark != "pm 2 a-b_c, 中文" {
		t.Errorf("%+v %+v", got[1:3], now)
	}
	if !got[3].OK || got[3].Body["minTtl"] != 1.0 {
		t.Errorf("%+v", got[3])
	}
	for i, code := range map[int]string{4: "DomainRecordDuplicate", 5: "InvalidDomainName.NoExist"} {
		if got[i].OK || !strings.Contains(got[i].Code, code) {
			t.Errorf("%+v", got[i])
		}
	}
	for _, q := range s.Requests() {
		if q.Signature != signACS3 {
			t.Errorf("%+v", q)
		}
	}
	wrong := s.Key()
	wrong.Secret += "x"
	if got := node(t, s, "generated", wrong, call("DescribeDomains", map[string]any{})); !strings.Contains(got[0].Code, "SignatureDoesNotMatch") {
		t.Errorf("%+v", got[0])
	}
}
