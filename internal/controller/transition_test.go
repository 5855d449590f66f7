package controller

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

func TestTransitionsTellWhatChangedAndNothingElse(t *testing.T) {
	op := func(id string, step failover.StepName, held string) *failover.Op {
		o := &failover.Op{ID: id, Kind: failover.Failover, Step: step, From: "a", To: "b", Reason: "a is down"}
		if held != "" {
			o.Held = &failover.Held{Why: held}
		}
		return o
	}
	clusters := func(a, b failover.Vote) []failover.ClusterView {
		return []failover.ClusterView{{Name: "a", Verdict: a, Why: "3 of 3 domains"}, {Name: "b", Verdict: b}}
	}
	for _, c := range []struct {
		name string
		a, b failover.View
		want string
	}{
		{
			"nothing, though every age moved",
			failover.View{Active: "a", Clusters: []failover.ClusterView{{Name: "a", Why: "1 s ago"}}},
			failover.View{Active: "a", Clusters: []failover.ClusterView{{Name: "a", Why: "2 s ago"}}},
			"",
		},
		{
			"the lead was lost",
			failover.View{Leading: true},
			failover.View{LeadWhy: "lease"},
			"lead: leading -> not leading [] (lease)",
		},
		{
			"a verdict turned",
			failover.View{Clusters: clusters(failover.Up, failover.Up)},
			failover.View{Clusters: clusters(failover.Down, failover.Up)},
			"verdict: up -> down [a] (3 of 3 domains)",
		},
		{
			"an operation began",
			failover.View{Phase: failover.PhaseIdle},
			failover.View{Phase: failover.PhaseOp, Op: op("x", failover.StepIntent, "")},
			"phase: idle -> operation [] () op x intent|operation:  -> failover started [b] (a is down) op x intent|step:  -> intent [b] () op x intent",
		},
		{
			"a step is held and let go",
			failover.View{Op: op("x", failover.StepMove, "drift")},
			failover.View{Op: op("x", failover.StepCut, "")},
			"step: move -> cut [b] () op x cut|held: held -> going on [b] () op x cut",
		},
		{
			"one operation ended and the next began in one step",
			failover.View{Op: op("x", failover.StepIntent, "")},
			failover.View{
				Op:     op("y", failover.StepIntent, ""),
				LastOp: &failover.OpSummary{Op: *op("x", failover.StepIntent, ""), Outcome: failover.Unwound, Why: "a is up"},
			},
			"operation: failover -> unwound [b] (a is up) op x intent|operation:  -> failover started [b] (a is down) op y intent|step:  -> intent [b] () op y intent",
		},
		{
			"it moved and cools down",
			failover.View{Active: "a", Mode: "auto", Stops: []failover.Stop{{Kind: failover.StopPause}}},
			failover.View{Active: "b", Mode: "shadow", Stops: []failover.Stop{{Kind: failover.StopCooldown, Why: "just moved"}}},
			"mode: auto -> shadow [] ()|active: a -> b [b] ()|stop:  -> cooldown [] (just moved)|stop: pause -> lifted [] ()",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, x := range transitions(glanceOf(c.a), &c.b) {
				s := fmt.Sprintf("%s: %s -> %s [%s] (%s)", x.Kind, x.From, x.To, x.Cluster, x.Reason)
				if x.Op != "" {
					s += fmt.Sprintf(" op %s %s", x.Op, x.Step)
				}
				got = append(got, s)
			}
			if s := strings.Join(got, "|"); s != c.want {
				t.Errorf("got  %s\nwant %s", s, c.want)
			}
		})
	}
}

func TestOnlyTransitionsAreLoggedUnderFixedKeys(t *testing.T) {
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		w := build(t, func(c *Config, _ *world) { c.Log = slog.New(slog.NewJSONHandler(&out, nil)) })
		w.run()
		time.Sleep(time.Minute) // 300 ticks
		w.script.setView(func(i failover.InstanceName) failover.View {
			if i != orders {
				return failover.View{}
			}
			return failover.View{
				Token:    failover.Token{Term: 7, Epoch: 12},
				Op:       &failover.Op{ID: "x", Kind: failover.Failover, Step: failover.StepMove, To: "b", Reason: "a is down"},
				Clusters: []failover.ClusterView{{Name: "a", Verdict: failover.Down, Why: "3 of 3"}},
			}
		})
		time.Sleep(time.Minute)
		w.poke(failover.Page{Kind: "held", Text: "look"})
		w.end()
	})
	var lines []map[string]any
	for line := range strings.Lines(out.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		delete(m, "time")
		lines = append(lines, m)
	}
	want := []string{
		`map[cluster:a epoch:12 from:unknown instance:orders level:INFO msg:verdict op:x reason:3 of 3 step:move to:down]`,
		`map[cluster:b epoch:12 instance:orders level:INFO msg:operation op:x reason:a is down step:move to:failover started]`,
		`map[cluster:b epoch:12 instance:orders level:INFO msg:step op:x step:move to:move]`,
		`map[instance:orders kind:held level:WARN msg:page reason:look]`,
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d: %v", len(lines), len(want), lines)
	}
	for i := range want {
		if got := fmt.Sprint(lines[i]); got != want[i] {
			t.Errorf("line %d: %s\nwant %s", i, got, want[i])
		}
	}
}

func someTransitions(from, n, instances int) []Transition {
	var ts []Transition
	for i := range n {
		ts = append(ts, Transition{Instance: failover.InstanceName(fmt.Sprint(i % instances)), Kind: KindStep, To: fmt.Sprint(from + i)})
	}
	return ts
}

func TestASubscriberGetsEveryTransitionInOrderWhileItKeepsUp(t *testing.T) {
	var b subscribers
	s := b.add()
	defer s.Close()
	for i := range 1000 {
		b.publish(someTransitions(i, 1, 1))
		<-s.Changed()
		ts, ok := s.Take()
		if !ok || len(ts) != 1 || ts[0].To != fmt.Sprint(i) {
			t.Fatalf("after %d: %v %v", i, ts, ok)
		}
	}
}

func TestASlowSubscriberGetsTheNewestOfEachKind(t *testing.T) {
	var b subscribers
	s := b.add()
	defer s.Close()
	for i := range 10 * mostPending {
		b.publish(someTransitions(2*i, 2, 2))
	}
	ts, ok := s.Take()
	if !ok || len(ts) == 0 || len(ts) > mostPending {
		t.Fatalf("%d transitions, open %v", len(ts), ok)
	}
	for i, x := range ts {
		if want := fmt.Sprint(20*mostPending - len(ts) + i); x.To != want {
			t.Fatalf("transition %d is %s, want %s: the newest in their order", i, x.To, want)
		}
	}
}

func TestASubscriberThatFallsTooFarBehindIsDroppedAndTheOthersAreNot(t *testing.T) {
	var b subscribers
	slow, quick := b.add(), b.add()
	defer quick.Close()
	var dropped uint64
	for range 3 {
		dropped += b.publish(someTransitions(0, 2*mostPending/3, 2*mostPending))
		dropped += b.publish(someTransitions(0, 2*mostPending/3, mostPending))
		if _, ok := quick.Take(); !ok {
			t.Fatal("the quick one was dropped")
		}
		for i := range mostPending {
			dropped += b.publish([]Transition{{Instance: failover.InstanceName(fmt.Sprint("x", i)), Kind: KindLead}})
			if _, ok := quick.Take(); !ok {
				t.Fatal("the quick one was dropped")
			}
		}
	}
	if dropped != 1 {
		t.Errorf("%d dropped, want the slow one", dropped)
	}
	if ts, ok := slow.Take(); ok || len(ts) != 0 {
		t.Errorf("the slow one is open with %d transitions", len(ts))
	}
	for range slow.Changed() { // ends: the channel is closed
	}
	slow.Close() // harmless
}

func glanceOf(v failover.View) *glance {
	g := glanceAt(&v)
	return &g
}
