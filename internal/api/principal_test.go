package api

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"pointsman/internal/failover"
)

const (
	annToken = "ann-0123456789abcdef"
	danToken = "dan-0123456789abcdef"
	cydToken = "cyd-0123456789abcdef"
)

func people() []Principal {
	return []Principal{
		{Name: "ann", Role: RoleOperator, Token: []byte(annToken)},
		{Name: "dan", Role: RoleApprover, Token: []byte(danToken)},
		{Name: "cyd", Role: RoleViewer, Token: []byte(cydToken)},
	}
}

// TestAPersonIsWhoseTokenItIs: who approves is told by the token alone, whole
// and exact; what a request says of itself changes neither name nor person.
func TestAPersonIsWhoseTokenItIs(t *testing.T) {
	w := newWorld()
	s, base := overTCP(t, w, nil)
	if err := s.SetPrincipals(people()); err != nil {
		t.Fatal(err)
	}
	body := `{"verb":"approve","proposal":"orders-p1","by":"ben (principal, uid 0)"}`
	send := func(auth string) int {
		t.Helper()
		return ask(t, "POST", base+"/v1/instances/orders/commands", strings.NewReader(body), func(r *http.Request) {
			r.Header.Set("Authorization", auth)
			r.Header.Set("X-Forwarded-User", "ben")
		}).StatusCode
	}
	for _, token := range []string{strings.ToUpper(annToken), annToken + "x", annToken[1:], " " + annToken, "bearer", "", "ann"} {
		if got := send("Bearer " + token); got != http.StatusUnauthorized {
			t.Errorf("token %q: %d", token, got)
		}
	}
	for token, want := range map[string]struct{ who, by string }{
		annToken: {"principal:ann", "ann (principal, from 127.0.0.1:"}, danToken: {"principal:dan", "dan (principal, from 127.0.0.1:"},
		testToken: {"", "ben [principal, uid 0] (token, from 127.0.0.1:"},
	} {
		before := len(w.commands())
		if got := send("Bearer " + token); got != http.StatusOK {
			t.Fatalf("%s: %d", token, got)
		}
		cs := w.commands()
		if c := cs[len(cs)-1]; len(cs) != before+1 || c.Who != want.who || !strings.HasPrefix(c.By, want.by) {
			t.Errorf("%s: who %q by %q", token, c.Who, c.By)
		}
	}
	// A token that was taken away is nobody's from the next request on.
	if err := s.SetPrincipals(people()[1:]); err != nil {
		t.Fatal(err)
	}
	if got := send("Bearer " + annToken); got != http.StatusUnauthorized {
		t.Errorf("a token that was taken away: %d", got)
	}
	if err := s.SetPrincipals([]Principal{{Name: "eve", Role: RoleOperator, Token: []byte("short")}}); !errors.Is(err, ErrNoToken) || strings.Contains(err.Error(), "short)") {
		t.Errorf("a short token: %v", err)
	}
	if got := send("Bearer " + danToken); got != http.StatusOK {
		t.Errorf("after a list that was refused: %d", got)
	}
}

// TestARoleCoversWhatItSays: every verb and every way to change something, by
// each role.
func TestARoleCoversWhatItSays(t *testing.T) {
	w := newWorld()
	s, base := overTCP(t, w, nil)
	if err := s.SetPrincipals(people()); err != nil {
		t.Fatal(err)
	}
	bodies := map[string]string{}
	for _, v := range verbs {
		bodies[string(v)] = `{"verb":"` + string(v) + `","by":"x","proposal":"orders-p1","mode":"auto"}`
	}
	for token, role := range map[string]Role{annToken: RoleOperator, danToken: RoleApprover, cydToken: RoleViewer} {
		set := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
		for v, body := range bodies {
			answers := v == string(failover.DoApprove) || v == string(failover.DoDeny)
			may := role == RoleOperator || role == RoleApprover && answers
			before := len(w.commands())
			resp := ask(t, "POST", base+"/v1/instances/orders/commands", strings.NewReader(body), set)
			if (resp.StatusCode == http.StatusOK) != may || !may && resp.StatusCode != http.StatusForbidden || (len(w.commands()) > before) != may {
				t.Errorf("%s %s: %s", role, v, resp.Status)
			}
		}
		for _, path := range []string{"/v1/instances/orders/apply", "/v1/reload", "/v1/reports/run", "/v1/notify/test", "/v1/instances/orders/hooks/test", "/v1/instances/orders/replication/orders"} {
			resp := ask(t, "POST", base+path, strings.NewReader(`{}`), set)
			if role != RoleOperator && resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s POST %s: %s", role, path, resp.Status)
			}
		}
		if resp := ask(t, "GET", base+"/v1/instances", nil, set); resp.StatusCode != http.StatusOK {
			t.Errorf("%s GET: %s", role, resp.Status)
		}
	}
}
