package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
)

func samplePlan() failover.Plan {
	loss := 40 * time.Second
	return failover.Plan{
		Version: failover.PlanVersion, Instance: "orders", Kind: failover.Failover, From: "a", To: "b", Epoch: 7, Hash: "h1",
		MadeAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), AcceptLoss: &loss,
		Override: []failover.Guard{"exposure"}, Reason: "a is lost",
		Steps: []failover.PlanStep{{Step: failover.StepIntent, Does: "commit"}},
	}
}

func TestPlanFilesOfOthersAreRefused(t *testing.T) {
	good, err := json.Marshal(samplePlan())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParsePlan(good); err != nil {
		t.Fatalf("our own plan: %v", err)
	}
	for name, change := range map[string]func(*failover.Plan){
		"newer":           func(p *failover.Plan) { p.Version = failover.PlanVersion + 1 },
		"no version":      func(p *failover.Plan) { p.Version = 0 },
		"other kind":      func(p *failover.Plan) { p.Kind = "pause" },
		"no instance":     func(p *failover.Plan) { p.Instance = "" },
		"to itself":       func(p *failover.Plan) { p.To = p.From },
		"no hash":         func(p *failover.Plan) { p.Hash = "" },
		"forged line":     func(p *failover.Plan) { p.Reason = "x\nforged" },
		"silent override": func(p *failover.Plan) { p.Reason = "" },
		"unknown guard":   func(p *failover.Plan) { p.Override = []failover.Guard{"everything"} },
		"no loss":         func(p *failover.Plan) { zero := time.Duration(0); p.AcceptLoss = &zero },
	} {
		p := samplePlan()
		change(&p)
		data, _ := json.Marshal(p)
		if _, err := ParsePlan(data); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for i := range good {
		if _, err := ParsePlan(good[:i]); err == nil {
			t.Fatalf("cut after %d bytes: taken", i)
		}
	}
	if _, err := ParsePlan(append(slices.Clone(good), '{')); err == nil {
		t.Error("more after the end: taken")
	}
	if _, err := ParsePlan([]byte(strings.Replace(string(good), `"hash"`, `"hush"`, 1))); err == nil {
		t.Error("unknown field: taken")
	}
}

// FuzzPlanFile: whatever is taken can be written and taken again, and turns
// into a command for exactly the world of the plan.
func FuzzPlanFile(f *testing.F) {
	good, _ := json.Marshal(samplePlan())
	f.Add(good)
	f.Add([]byte(`{"version":1,"instance":"i","kind":"switchover","from":"a","to":"b","hash":"x"}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`[]`))
	f.Add([]byte(strings.Repeat("[", 20_000)))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParsePlan(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatalf("taken plan does not marshal: %v", err)
		}
		if _, err := ParsePlan(again); err != nil {
			t.Fatalf("plan is not taken again: %v", err)
		}
		c, err := ApplyRequest{By: "x", Plan: p}.command()
		if err != nil {
			t.Fatalf("taken plan gives no command: %v", err)
		}
		if c.PlanHash != p.Hash || c.ExpectActive != p.From || c.ExpectEpoch == nil || *c.ExpectEpoch != p.Epoch || c.To != p.To {
			t.Fatalf("command %+v is not that of the plan", c)
		}
	})
}

// FuzzBodies: no body of any length or kind makes a handler panic, answer
// with something that is not JSON, or pass on a command that breaks the rules.
func FuzzBodies(f *testing.F) {
	plan, _ := json.Marshal(ApplyRequest{By: "x", Plan: samplePlan()})
	f.Add("commands", []byte(`{"verb":"failover","by":"x","to":"b","accept_loss":"unknown","reason":"r","override":["paused"]}`))
	f.Add("commands", []byte(`{"verb":"pause","by":"x","for":"2h"}`))
	f.Add("plan", []byte(`{"verb":"switchover","by":"x","expect_epoch":18446744073709551615}`))
	f.Add("apply", plan)
	f.Add("apply", []byte(`{"by":"x","plan":null}`))
	w := newWorld()
	s := &Server{cfg: Config{Instances: w, Decisions: w, Audit: w, History: w, Probes: w, Health: w}}
	h := s.routes()
	f.Fuzz(func(t *testing.T, what string, body []byte) {
		if what != "commands" && what != "plan" && what != "apply" {
			return
		}
		r := httptest.NewRequest("POST", "/v1/instances/orders/"+what, strings.NewReader(string(body)))
		r.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		before := len(w.commands())
		h.ServeHTTP(rec, r)
		if !json.Valid(rec.Body.Bytes()) {
			t.Fatalf("answer is not JSON: %q", rec.Body)
		}
		for _, c := range w.commands()[before:] {
			if c.Ref != "" || c.OpID != "" || c.By == "" || len(c.Override) > 0 && c.Reason == "" || !slices.Contains(verbs, c.Do) {
				t.Fatalf("command %+v came through", c)
			}
			if rec.Code != http.StatusOK {
				t.Fatalf("a command came through with status %d", rec.Code)
			}
		}
		w.mu.Lock()
		w.asked = nil
		w.mu.Unlock()
	})
}
