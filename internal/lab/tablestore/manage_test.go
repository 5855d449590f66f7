package tablestore

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// manage asks the management API.
func manage(t testing.TB, s *Server, token, pattern, body string) (int, string) {
	t.Helper()
	method, path, _ := strings.Cut(pattern, " ")
	r, err := http.NewRequestWithContext(t.Context(), method, s.Manage()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	a, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil || a.Header.Get("Content-Type") != "application/json" || !json.Valid(b) {
		t.Errorf("%s: %s %v", pattern, b, err)
	}
	return a.StatusCode, strings.TrimSpace(string(b))
}

// TestManagement tries every route: what it does, and what it says to nonsense.
func TestManagement(t *testing.T) {
	s := frontServer(t, Options{Instances: []Instance{{Name: "lab"}, {Name: "east"}}, Keys: []Key{{ID: "LTAI-a", Secret: "the-secret"}}})
	s.ask("CreateTable", createRequest("orders")).wants(t, s, 200, "", "")
	s.ask("UpdateTable", seeds()["UpdateTable"]).wants(t, s, 200, "", "")
	tried := map[string]bool{}
	for _, c := range []struct {
		pattern, body string
		status        int
		want          string // a piece of the answer
	}{
		{"GET /status", "", 200, `"endpoint":"http://127.0.0.1:`},
		{"GET /tables", "", 200, `"name":"orders"`},
		{"GET /tables?instance=east", "", 200, `[]`},
		{"GET /keys", "", 200, `[{"id":"LTAI-a"}]`},
		{"POST /keys", `{"id":"LTAI-b","secret":"b","instances":["east"]}`, 200, `"ok":true`},
		{"POST /keys", `{"id":"LTAI-b"}`, 400, "a key needs an ID and a secret"},
		{"GET /keys", "", 200, `{"id":"LTAI-b","instances":["east"]}`},
		{"DELETE /keys/LTAI-b", "", 200, `"ok":true`},
		{"DELETE /keys/LTAI-b", "", 400, "there is no key LTAI-b"},
		{"GET /requests?operation=CreateTable&instance=lab&table=orders&key=LTAI-a&last=1", "", 200, `"operation":"CreateTable"`},
		{"GET /requests?code=OTSTimeout", "", 200, `[]`},
		{"GET /requests?last=none", "", 400, "last none: a number above 0"},
		{"DELETE /requests", "", 200, `"ok":true`},
		{"GET /requests", "", 200, `[]`},
		{"POST /faults", `{"times":2,"fault":{"kind":"late","delay_ns":1000}}`, 200, `{"id":1}`},
		{"POST /faults", `{"fault":{"kind":"late","delay_ns":1000}}`, 400, "fault late for no call"},
		{"POST /faults", `{"times":1,"fault":{"kind":"late"}}`, 400, "a delay above 0"},
		{"POST /faults", `{"times":1,"fault":{"kind":"late","delay":"1s"}}`, 400, `unknown field \"delay\"`},
		{"POST /faults", `{"times":1}{}`, 400, "more than one value"},
		{"POST /faults", ``, 400, "body: it is empty"},
		{"POST /faults", `{"times":1,"fault":{"kind":"` + strings.Repeat("x", maxManage) + `"}}`, 400, "too large"},
		{"GET /faults", "", 200, `"left":2`},
		{"DELETE /faults/2", "", 400, "there is no fault 2"},
		{"DELETE /faults/x", "", 400, "there is no fault x"},
		{"DELETE /faults/1", "", 200, `"ok":true`},
		{"DELETE /faults", "", 200, `"ok":true`},
		{"GET /faults", "", 200, `[]`},
		{"PUT /settings", `{"clock_offset_ms":-2000,"ready_ms":1,"stream_delay_ms":2,"stream_tokens":3,"stream_page_records":4,"policy_delay_ms":5}`, 200, `"clock_offset_ms":-2000,"ready_ms":1,"stream_delay_ms":2,"stream_tokens":3,"stream_page_records":4,"stream_page_bytes":4194304,"policy_delay_ms":5`},
		{"PUT /settings", `{"stream_page_bytes":6}`, 200, `"stream_page_records":4,"stream_page_bytes":6,"policy_delay_ms":5`},
		{"PUT /settings", `{"ready_ms":-1}`, 400, "ready_ms -1: 0 to"},
		{"PUT /settings", `{"clock_offset_ms":9999999999999}`, 400, "clock_offset_ms 9999999999999: "},
		{"PUT /settings", `{"clock_offset_ms":0,"stream_page_records":0}`, 400, "stream_page_records 0: 1 to"},
		{"PUT /settings", `{"clock_offset_ms":0}`, 200, `"clock_offset_ms":0`},
		{"PUT /instances/east", `{"stopped":true}`, 200, `"ok":true`},
		{"PUT /instances/moon", `{"stopped":true}`, 400, "there is no instance moon"},
		{"GET /status", "", 200, `{"name":"east","region":"cn-hangzhou","stopped":true}`},
		{"GET /parts?instance=lab&table=orders", "", 200, `[{"shard":`},
		{"GET /parts?table=orders", "", 400, "several instances"},
		{"POST /split", `{"instance":"lab","table":"orders"}`, 400, "name the key to split at"}, // it has no rows
		{"POST /split", `{"instance":"lab","table":"orders","key":"m"}`, 200, `"from":"m"`},
		{"POST /split", `{"instance":"lab","table":"orders","key":"m"}`, 400, "a partition begins there already"},
		{"POST /split", `{"instance":"lab","table":"none","key":"m"}`, 400, `table \"none\"`},
		{"POST /split", `{"instance":"lab","table":"orders"}`, 400, "no partition has rows of two partition keys"},
		{"POST /merge", `{"instance":"lab","table":"orders","partition":1}`, 400, "no right neighbour"},
		{"POST /merge", `{"instance":"lab","table":"orders","partition":0}`, 200, `[{"shard":`},
		{"POST /epoch", `{"instance":"lab","table":"orders","epoch":3}`, 200, `[{"shard":`},
		{"POST /epoch", `{"instance":"lab","table":"orders","epoch":2}`, 400, "epoch 2"},
		{"POST /trim", `{"instance":"lab","table":"orders","before":"2030-01-01T00:00:00Z"}`, 200, `{"trimmed":0}`},
		{"POST /trim", `{"instance":"lab","table":"none"}`, 400, `table \"none\"`},
		{"GET /policies/lab", "", 200, `{"text":"","version":0,"in_force":""}`},
		{"PUT /policies/lab", `{"text":"nonsense"}`, 400, "policy of instance lab"},
		{"PUT /policies/lab", `{"text":"{\"Version\":\"1\",\"Statement\":[]}"}`, 400, "policy of instance lab"},
		{"PUT /policies/lab", `{"text":"{\"Version\":\"1\",\"Statement\":[{\"Effect\":\"Deny\",\"Action\":[\"ots:PutRow\"],\"Principal\":[\"*\"],\"Resource\":[\"*\"]}]}"}`, 200, `"version":1`},
		{"PUT /policies/lab", `{"text":"","version":7}`, 400, "policy of instance lab"},
		{"GET /rules/policy", "", 200, `"delay_ms":5`},
		{"PUT /rules/policy", `{"delay_ms":0,"code":"OTSAuthFailed"}`, 200, `"ok":true`},
		{"PUT /rules/policy", `{"delay":-1}`, 400, "delay"},
		{"GET /rules/policy", "", 200, `"code":"OTSAuthFailed"`},
		{"GET /rules/global", "", 200, `"code":"OTSNoPermissionAccess"`},
		{"PUT /rules/global", `{"one_writable":true}`, 200, `"ok":true`},
		{"PUT /rules/global", `{"code":"OTSNone"}`, 400, "there is no code"},
		{"POST /rpo", `{"instance":"lab","table":"orders","behind_ms":5}`, 400, "is not a member of a global table"},
		{"POST /rpo", `{"instance":"lab","table":"orders","behind_ms":-5}`, 400, "behind_ms -5"},
		{"POST /kill", "", 200, `"ok":true`},
		{"GET /status", "", 200, `"killed":true`},
		{"POST /revive", "", 200, `"ok":true`},
		{"POST /stall", "", 200, `"ok":true`},
		{"GET /status", "", 200, `"killed":false,"stalled":true`},
		{"POST /resume", "", 200, `"ok":true`},
		{"GET /nothing", "", 404, "there is no GET /nothing"},
		{"PATCH /status", "", 404, "there is no PATCH /status"},
		{"GET /", "", 404, "there is no GET /"},
	} {
		status, got := manage(t, s, s.ManageToken(), c.pattern, c.body)
		if status != c.status || !strings.Contains(got, c.want) {
			t.Errorf("%s %.200s: %d %s, want %d %s", c.pattern, c.body, status, got, c.status, c.want)
		}
		if strings.Contains(got, "the-secret") {
			t.Errorf("%s shows a secret", c.pattern)
		}
		path, _, _ := strings.Cut(c.pattern, "?")
		for _, name := range []string{"LTAI-b", "east", "moon", "lab", "1", "2", "x"} {
			if rest, ok := strings.CutSuffix(path, "/"+name); ok {
				path = rest + "/*"
			}
		}
		tried[path] = true
	}
	for pattern := range routes {
		for _, name := range []string{"{id}", "{name}", "{instance}"} {
			pattern = strings.Replace(pattern, name, "*", 1)
		}
		if !tried[pattern] {
			t.Errorf("%s was not tried", pattern)
		}
	}
	s.ask("DescribeTable", describeRequest("orders")).wants(t, s, 200, "", "")
}

// TestManagementWantsItsToken for everything, and says nothing without it.
func TestManagementWantsItsToken(t *testing.T) {
	s := frontServer(t, Options{ManageToken: "right"})
	for _, token := range []string{"", "wrong", "right x", "righ"} {
		for _, pattern := range []string{"GET /status", "POST /kill", "GET /nothing"} {
			if status, got := manage(t, s, token, pattern, ""); status != 401 || got != `{"error":"a bearer token is needed"}` {
				t.Errorf("%q %s: %d %s", token, pattern, status, got)
			}
		}
	}
	if s.Status().Killed {
		t.Error("done without it")
	}
	if status, _ := manage(t, s, "right", "GET /status", ""); status != 200 {
		t.Error(status)
	}
}

// TestManagementIsDocumented: each route, each setting and each kind of fault
// stands in the document.
func TestManagementIsDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "lab-tablestore.md"))
	if err != nil {
		t.Fatal(err)
	}
	wants := func(what, name string) {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("%s %s is not in docs/lab-tablestore.md", what, name)
		}
	}
	for pattern := range routes {
		wants("the route", pattern)
	}
	for _, k := range Kinds {
		wants("the fault", string(k))
	}
	for _, name := range Unsupported {
		if !strings.Contains(string(text), name) && !strings.HasPrefix(name, "tunnel/") && !strings.Contains(name, "Timeseries") && !strings.HasSuffix(name, "DeliveryTask") {
			t.Errorf("the document does not say that %s is refused", name)
		}
	}
	for op := range operations {
		if op != "Change" && !strings.Contains(string(text), op) {
			t.Errorf("the document does not mention %s", op)
		}
	}
	b, err := json.Marshal(settings{})
	if err != nil {
		t.Fatal(err)
	}
	var names map[string]any
	if err := json.Unmarshal(b, &names); err != nil {
		t.Fatal(err)
	}
	for name := range names {
		wants("the setting", name)
	}
}
