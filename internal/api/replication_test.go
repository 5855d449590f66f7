package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// carrier is a replication in memory.
type carrier struct {
	mu     sync.Mutex
	status ReplicationStatus
	none   bool
	err    error
	asked  []RowQuery
	orders []ReplicationOrder
}

func (c *carrier) ReplicationStatus(failover.InstanceName) (ReplicationStatus, bool) {
	return c.status, !c.none
}

func (c *carrier) LostRows(_ context.Context, _ failover.InstanceName, q RowQuery) ([]LostRow, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, q)
	if q.After != "" {
		return nil, "", c.err
	}
	return []LostRow{{Table: "t", Key: "id=1", Action: "put", At: time.Unix(3, 0).UTC(), Class: "only-old"}}, "t/ü\n1", c.err
}

func (c *carrier) DeadLetters(_ context.Context, _ failover.InstanceName, q RowQuery) ([]DeadLetter, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, q)
	return []DeadLetter{{ID: "d1", Table: "t", Key: "id=1", Action: "put", Cause: "OTSParameterInvalid", Later: true}}, "", c.err
}

func (c *carrier) OrderReplication(_ context.Context, i failover.InstanceName, o ReplicationOrder) (ReplicationReply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.orders = append(c.orders, o)
	return ReplicationReply{i, o.Do, "done"}, c.err
}

func carried(t *testing.T, c *carrier) *Client {
	t.Helper()
	cfg := newWorld().config(t)
	cfg.Replication = c
	serveTest(t, cfg)
	client, err := NewClient(ClientConfig{Socket: cfg.Socket})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestReplicationIsShownAndPaged(t *testing.T) {
	at := time.Unix(9, 0).UTC()
	c := &carrier{status: ReplicationStatus{
		Instance: "orders", Mode: "stream", From: "a", To: "b", At: at, Doing: "following 1 table", RPO: "30s", Standby: failover.StandbySynced,
		Exposure: ReplicationExposure{Known: true, Lag: time.Second, Rows: 3, About: 4, At: at, Why: "t"},
		Tables:   []ReplicationTable{{Table: "t", Phase: "copying", Copy: &CopyProgress{Ranges: 4, Rows: 10, Left: time.Minute}}},
		Lost:     &LossSummary{Op: "op-1", From: "b", To: "a", Rows: 2, ByClass: map[string]int64{"older": 2}},
	}}
	client := carried(t, c)
	got, err := client.Replication(t.Context(), "orders")
	if err != nil || !reflect.DeepEqual(got, c.status) {
		t.Errorf("status: %+v, %v", got, err)
	}
	rows, next, err := client.LostRows(t.Context(), "orders", RowQuery{Table: "t", Limit: 1})
	if err != nil || len(rows) != 1 || rows[0].Key != "id=1" || next != "t/ü\n1" {
		t.Errorf("lost: %+v, next %q, %v", rows, next, err)
	}
	rows, next, err = client.LostRows(t.Context(), "orders", RowQuery{After: "t/ü 1"})
	if err != nil || rows == nil || len(rows) != 0 || next != "" {
		t.Errorf("the end: %+v, next %q, %v", rows, next, err)
	}
	if letters, _, err := client.DeadLetters(t.Context(), "orders", RowQuery{}); err != nil || len(letters) != 1 || letters[0].ID != "d1" {
		t.Errorf("dead letters: %+v, %v", letters, err)
	}
	want := []RowQuery{{Table: "t", Limit: 1}, {After: "t/ü 1", Limit: DefaultPage}, {Limit: DefaultPage}}
	if !reflect.DeepEqual(c.asked, want) {
		t.Errorf("asked %+v", c.asked)
	}
}

func TestOrdersAboutReplication(t *testing.T) {
	c := &carrier{}
	client := carried(t, c)
	for name, o := range map[string]ReplicationOrder{
		"pause":  {Do: ReplicationPauseVerb, By: "ann", Reason: "maintenance"},
		"resume": {Do: ReplicationResume, By: "ann"},
		"resync": {Do: ReplicationResync, By: "ann", Reason: "a gap", To: "b", Tables: []string{"t"}},
		"accept": {Do: ReplicationAccept, By: "ann", Reason: "too large", Rows: []string{"d1"}},
		"retry":  {Do: ReplicationRetry, By: "ann", Rows: []string{"d1"}},
	} {
		rep, err := client.OrderReplication(t.Context(), "orders", o)
		if err != nil || rep.Text != "done" || rep.Do != o.Do {
			t.Errorf("%s: %+v, %v", name, rep, err)
		}
	}
	if len(c.orders) != 5 || !strings.HasPrefix(c.orders[0].By, "ann (") {
		t.Errorf("came in: %+v", c.orders)
	}
	for name, o := range map[string]ReplicationOrder{
		"nobody":             {Do: ReplicationResume},
		"no verb":            {By: "ann"},
		"unknown verb":       {Do: "stop", By: "ann"},
		"pause without why":  {Do: ReplicationPauseVerb, By: "ann"},
		"resync without why": {Do: ReplicationResync, By: "ann"},
		"accept of none":     {Do: ReplicationAccept, By: "ann", Reason: "x"},
		"rows of a pause":    {Do: ReplicationPauseVerb, By: "ann", Reason: "x", Rows: []string{"d1"}},
		"tables of a pause":  {Do: ReplicationPauseVerb, By: "ann", Reason: "x", Tables: []string{"t"}},
		"cluster of a pause": {Do: ReplicationPauseVerb, By: "ann", Reason: "x", To: "b"},
		"an empty name":      {Do: ReplicationResync, By: "ann", Reason: "x", Tables: []string{""}},
		"a forged line":      {Do: ReplicationResync, By: "ann", Reason: "x\nforged"},
		"too many":           {Do: ReplicationResync, By: "ann", Reason: "x", Tables: make([]string, maxNamed+1)},
	} {
		_, err := client.OrderReplication(t.Context(), "orders", o)
		p, ok := errors.AsType[*Problem](err)
		if !ok || p.Status != http.StatusBadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(c.orders) != 5 {
		t.Errorf("a bad order came in: %+v", c.orders[5:])
	}
	c.err = fmt.Errorf("order: %w", &OrderRefused{"it is paused already", "resume it"})
	_, err := client.OrderReplication(t.Context(), "orders", ReplicationOrder{Do: ReplicationResume, By: "ann"})
	if p, ok := errors.AsType[*Problem](err); !ok || p.Status != http.StatusConflict || p.Hint != "resume it" || !strings.Contains(p.Message, "paused already") {
		t.Errorf("refused: %v", err)
	}
	c.err = errors.New("the target does not answer")
	_, err = client.OrderReplication(t.Context(), "orders", ReplicationOrder{Do: ReplicationResume, By: "ann"})
	if p, ok := errors.AsType[*Problem](err); !ok || p.Status != http.StatusServiceUnavailable {
		t.Errorf("failed: %v", err)
	}
}

func TestWhatIsNotReplicatedIsSaidSo(t *testing.T) {
	for name, cfg := range map[string]func(*Config){
		"no room":     func(*Config) {},
		"no instance": func(c *Config) { c.Replication = &carrier{none: true} },
	} {
		c := newWorld().config(t)
		cfg(&c)
		serveTest(t, c)
		client, err := NewClient(ClientConfig{Socket: c.Socket})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Replication(t.Context(), "orders")
		if p, ok := errors.AsType[*Problem](err); !ok || p.Status != http.StatusConflict || p.Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
		_, err = client.OrderReplication(t.Context(), "orders", ReplicationOrder{Do: ReplicationResume, By: "ann"})
		if p, ok := errors.AsType[*Problem](err); !ok || p.Status != http.StatusConflict {
			t.Errorf("%s: %v", name, err)
		}
		_, err = client.Replication(t.Context(), "stock")
		if p, ok := errors.AsType[*Problem](err); !ok || p.Status != http.StatusNotFound {
			t.Errorf("%s, an instance that there is not: %v", name, err)
		}
	}
}

// TestKeysOfRowsAreNotForViewers: they are data of people. What the service
// does, they see.
func TestKeysOfRowsAreNotForViewers(t *testing.T) {
	w := newWorld()
	s, base := overTCP(t, w, func(c *Config) { c.Replication = &carrier{} })
	if err := s.SetPrincipals(people()); err != nil {
		t.Fatal(err)
	}
	get := func(token, path string) int {
		return ask(t, "GET", base+"/v1/instances/orders/replication"+path, nil, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }).StatusCode
	}
	for _, path := range []string{"/lost", "/dead-letters"} {
		if got := get(cydToken, path); got != http.StatusForbidden {
			t.Errorf("viewer %s: %d", path, got)
		}
		if got := get(danToken, path); got != http.StatusOK {
			t.Errorf("approver %s: %d", path, got)
		}
		if got := get(annToken, path+"?limit=1001"); got != http.StatusBadRequest {
			t.Errorf("too large a page of %s: %d", path, got)
		}
	}
	if got := get(cydToken, ""); got != http.StatusOK {
		t.Errorf("viewer, status: %d", got)
	}
}
