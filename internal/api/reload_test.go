package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// clerk answers reloads with what the test chose.
type clerk struct {
	mu    sync.Mutex
	asked []ReloadRequest
	reply ReloadReply
	err   error
}

func (c *clerk) Config() ConfigState {
	return ConfigState{File: "x.yaml", Hash: "abc", LoadedAt: time.Unix(1, 0).UTC(), Refused: &ConfigRefusal{Reason: "x.yaml:1:1: no"}}
}

func (c *clerk) Reload(_ context.Context, r ReloadRequest) (ReloadReply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, r)
	return c.reply, c.err
}

func withClerk(t *testing.T) (*clerk, *Client) {
	t.Helper()
	k := &clerk{}
	cfg := newWorld().config(t)
	cfg.Reloads = k
	serveTest(t, cfg)
	c, err := NewClient(ClientConfig{Socket: cfg.Socket})
	if err != nil {
		t.Fatal(err)
	}
	return k, c
}

func TestReloadAndItsStateComeBackOverTheSocket(t *testing.T) {
	k, c := withClerk(t)
	if st, err := c.Config(t.Context()); err != nil || st.Hash != "abc" || st.OK || st.Refused.Reason != "x.yaml:1:1: no" {
		t.Errorf("state %+v, %v", st, err)
	}
	k.reply = ReloadReply{Result: ReloadRefused, Reason: "no", Changes: []ConfigChange{{Path: "p", Text: "p: 1 → 2"}}}
	rep, err := c.Reload(t.Context(), ReloadRequest{By: "alice", DryRun: true, AcceptRemovals: "0123456789ab", Reason: "why"})
	if err != nil || rep.Result != ReloadRefused || len(rep.Changes) != 1 {
		t.Errorf("a refusal is a reply: %+v, %v", rep, err)
	}
	if q := k.asked[0]; !strings.HasPrefix(q.By, "alice (uid ") || !q.DryRun || q.AcceptRemovals != "0123456789ab" || q.Reason != "why" {
		t.Errorf("asked %+v", q)
	}
	k.err = errors.New("busy")
	if _, err := c.Reload(t.Context(), ReloadRequest{By: "alice"}); err == nil || !strings.Contains(err.Error(), "busy") {
		t.Errorf("nobody could be asked: %v", err)
	}
}

func TestReloadRequestsOfBadFormReachNobody(t *testing.T) {
	k, c := withClerk(t)
	for name, q := range map[string]ReloadRequest{
		"nobody":           {},
		"a forged line":    {By: "alice", Reason: "x\nlevel=INFO"},
		"a long reason":    {By: "alice", Reason: strings.Repeat("x", 1001)},
		"a short hash":     {By: "alice", AcceptRemovals: "0123456789a"},
		"no hash":          {By: "alice", AcceptRemovals: "yes, all of it"},
		"more than a hash": {By: "alice", AcceptRemovals: strings.Repeat("0", 65)},
	} {
		if _, err := c.Reload(t.Context(), q); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if len(k.asked) > 0 {
		t.Errorf("asked %+v", k.asked)
	}
}

func TestAnotherTokenTakesThePlaceOfTheOldOne(t *testing.T) {
	s, url := overTCP(t, newWorld(), nil)
	const other = "fedcba9876543210fedcba9876543210"
	status := func(token string) int {
		return ask(t, http.MethodGet, url+"/v1/version", nil, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }).StatusCode
	}
	if err := s.SetToken([]byte("short")); !errors.Is(err, ErrNoToken) || status(testToken) != http.StatusOK {
		t.Errorf("a short token: %v", err)
	}
	if err := s.SetToken([]byte(other)); err != nil {
		t.Fatal(err)
	}
	if old, now := status(testToken), status(other); old != http.StatusUnauthorized || now != http.StatusOK {
		t.Errorf("the old token gives %d, the other %d", old, now)
	}
}
