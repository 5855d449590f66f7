package controller

import (
	"context"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// BenchmarkTurn is one report of one vantage that says what the one before
// said, with everything that it costs the owner: Step, NextWake, the snapshot.
func BenchmarkTurn(b *testing.B) {
	p, err := failover.PresetPolicy(failover.PresetHTTP)
	if err != nil {
		b.Fatal(err)
	}
	p.Instance, p.By, p.Clusters, p.Primary = orders, "ctl", [2]failover.ClusterName{"a", "b"}, "a"
	p.Names = []failover.NamePolicy{{
		Name: "orders.example.", Provider: "embedded", Zone: "example.", Embedded: true,
		Targets: map[failover.ClusterName]failover.Target{"a": "a.example.", "b": "b.example."},
	}}
	for _, v := range []string{"1", "2", "3"} {
		p.Vantages = append(p.Vantages, failover.VantagePolicy{Name: failover.VantageName("van-" + v), Domain: failover.DomainName("rack-" + v)})
	}
	c, err := New(Config{
		Policies: []failover.Policy{p}, Lead: failover.Lead{Leading: true, Term: 1, Until: time.Now().Add(time.Hour)},
		Ledger: newLedger(), Verifier: &fakes{},
		Episode: func(context.Context, failover.Episode) {}, Tape: func(context.Context, failover.Tape, *failover.Policy) {},
	})
	if err != nil {
		b.Fatal(err)
	}
	o := c.roster.Load().owners[orders]
	o.life = life{ctx: b.Context(), loaded: true, look: true}
	rec := failover.Record{
		Version: 1, Instance: orders, Rev: 5, Term: 1, Epoch: 3, Active: "a", Mode: failover.ModeAuto,
		Names: []failover.NameRecord{{Name: "orders.example.", Provider: "embedded", Zone: "example.", Embedded: true, Value: "a.example.", TTL: 30}},
	}
	var actions []failover.Action
	step := func(e failover.Event) { actions = o.decide(e) }
	step(c.cfg.Lead)
	step(failover.Loaded{Record: rec, Found: true})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		now := time.Now()
		s := failover.Sighting{Vote: failover.Up, Received: now, LastProbe: now, UpSince: now.Add(-time.Hour), Identity: true}
		step(failover.Report{
			Vantage:  p.Vantages[i%3].Name,
			Clusters: map[failover.ClusterName]failover.Sighting{"a": s, "b": s},
		})
		for _, a := range actions {
			if c, ok := a.(failover.Commit); ok {
				step(failover.Committed{Rev: c.Record.Rev + 1})
			}
		}
		o.schedule()
		o.publish()
	}
}
