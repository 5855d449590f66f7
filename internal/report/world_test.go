package report

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// tape records samples as the controller does, and its lives.
type tape struct {
	samples []ledger.Sample
	lives   []Life
}

func (p *tape) add(at time.Time, i failover.InstanceName, kind string, data any) {
	b, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	p.samples = append(p.samples, ledger.Sample{ID: int64(len(p.samples) + 1), At: at, Instance: i, Kind: kind, Data: b})
}

// start begins a life.
func (p *tape) start(at time.Time) { p.lives = append(p.lives, Life{From: at, Until: at}) }

// lives on until then.
func (p *tape) beats(until time.Time) { p.lives[len(p.lives)-1].Until = until }

// life is one of which nothing more is told.
func (p *tape) life(from, until time.Time) {
	p.start(from)
	p.beats(until)
}

// restart ends the life in hand and begins another that lasts as long.
func (p *tape) restart(at time.Time) {
	until := p.lives[len(p.lives)-1].Until
	p.beats(at)
	p.life(at, until)
}

// told are the lives as the history has them.
func (p *tape) told() []ledger.Sample {
	t := &tape{}
	for _, l := range p.lives {
		t.add(l.From, "", KindRecording, Life{From: l.From, Until: l.From}) // an earlier telling
		t.add(l.From, "", KindRecording, l)
	}
	return t.samples
}

func (p *tape) verdict(at time.Time, i failover.InstanceName, c failover.ClusterName, from, to string) {
	p.add(at, i, KindVerdict, map[string]any{"instance": i, "at": at, "kind": "verdict", "cluster": c, "from": from, "to": to})
}

// newestFirst are the samples in the order in which the history is read.
func (p *tape) newestFirst() []ledger.Sample {
	out := slices.Clone(p.samples)
	slices.Reverse(out)
	slices.SortStableFunc(out, func(a, b ledger.Sample) int { return b.At.Compare(a.At) })
	for i := range out {
		out[i].ID = int64(len(out) - i)
	}
	return out
}

func all(failover.InstanceName) bool { return true }

func allow(g ...failover.Guard) []failover.Verdict {
	var out []failover.Verdict
	for _, x := range failover.Guards() {
		out = append(out, failover.Verdict{Guard: x, Allow: true, Binds: true})
		if slices.Contains(g, x) {
			out[len(out)-1].Allow, out[len(out)-1].Why = false, fmt.Sprintf("%s says no", x)
		}
	}
	return out
}

// healthy are the facts of an instance with nothing to say about it.
func healthy(name failover.InstanceName, now time.Time) Facts {
	cluster := func(c failover.ClusterName, role string) failover.ClusterView {
		return failover.ClusterView{
			Name: c, Role: role, Verdict: failover.Up, Why: "up: 3 of 3 domains",
			Votes: []failover.VantageView{
				{Vantage: "ctl-1", Domain: "rack-1", Vote: failover.Up, AgeMS: 120, Identity: true},
				{Vantage: "van-2", Domain: "rack-2", Vote: failover.Up, AgeMS: 340, Identity: true},
			},
		}
	}
	return Facts{
		View: failover.View{
			Instance: name, At: now, Leading: true, Mode: "auto", Preset: failover.PresetHTTP, Active: "a", Standby: "b",
			Clusters: []failover.ClusterView{cluster("a", "active"), cluster("b", "standby")},
			Names:    []failover.NameView{{NameRecord: failover.NameRecord{Name: failover.RecordName(name) + ".lab.test.", TTL: 30}}},
		},
		Hand: allow(), Auto: allow(), TTL: 30, Proved: true, Drill: now.Add(-20 * 24 * time.Hour),
		Bound: []failover.BoundTerm{
			{Term: "detect", Is: 1900 * time.Millisecond, Note: "one round until the first probe"},
			{Term: "ride out", Is: 3 * time.Second},
			{Term: "old answers in resolvers", Is: 30 * time.Second},
			{Term: "open connections", Unbounded: true},
		},
	}
}

const hostile = "<script>alert(1)</script>\x1b[31m\u202e|`*_ [x](javascript:alert(1))\n# head"

// sampleWorld is a day of four instances: one that failed over and flaps, one
// that could not, one in shadow, one whose loop stands still.
func sampleWorld() (Head, *tape, []Facts) {
	to := at("2026-11-28T00:05:00Z")
	from := to.Add(-24 * time.Hour)
	p := &tape{}
	p.life(from.Add(-time.Hour), from.Add(8*time.Hour))
	p.verdict(from.Add(-50*time.Minute), "orders", "a", "unknown", "up")
	p.verdict(from.Add(-50*time.Minute), "orders", "b", "unknown", "up")
	p.verdict(from.Add(-50*time.Minute), "pay", "a", "unknown", "up")
	p.verdict(from.Add(-50*time.Minute), "pay", "b", "unknown", "up")
	p.verdict(from.Add(2*time.Hour), "orders", "a", "up", "down")
	op := failover.Op{
		ID: "orders-3.8", Kind: failover.Failover, From: "a", To: "b", Auto: true, By: "ctl-1", Reason: "a is down: " + hostile,
		FaultAt: from.Add(2*time.Hour - 2*time.Second), DetectedAt: from.Add(2 * time.Hour), Since: from.Add(2*time.Hour + 3*time.Second),
		StepAt: map[failover.StepName]time.Time{
			failover.StepIntent: from.Add(2*time.Hour + 3*time.Second), failover.StepMove: from.Add(2*time.Hour + 3200*time.Millisecond),
			failover.StepConfirm: from.Add(2*time.Hour + 3500*time.Millisecond), failover.StepSettle: from.Add(2*time.Hour + 5*time.Second),
		},
		MovedAt: from.Add(2*time.Hour + 3400*time.Millisecond), PublishedAt: from.Add(2*time.Hour + 4600*time.Millisecond), TTLOld: 30,
	}
	p.add(from.Add(2*time.Hour+36*time.Second), "orders", KindOutcome, failover.OpSummary{Op: op, Outcome: failover.Settled, At: from.Add(2*time.Hour + 36*time.Second)})
	p.add(from.Add(2*time.Hour+3400*time.Millisecond), "orders", KindPropagation, map[string]any{
		"op": "orders-3.8", "name": "orders.lab.test.", "done": true, "p50_ns": 4 * time.Second, "p95_ns": 31 * time.Second, "p100_ns": nil,
		"resolvers": []map[string]any{
			{"name": "office", "new_ns": 4 * time.Second},
			{"name": "isp", "faults": []string{"stretches TTLs: it answers with 600 s, no authority ever served more than 30 s " + hostile}},
			{"name": "known", "expected": true, "faults": []string{"shows a.lab.test."}},
		},
	})
	p.add(from.Add(2*time.Hour+36*time.Second), "orders", KindPage, map[string]string{"kind": "settled", "text": "moved"})
	for i := range 24 {
		t := from.Add(time.Duration(i)*time.Hour + 40*time.Minute)
		for v, off := range map[failover.VantageName]time.Duration{"van-2": 60 * time.Microsecond, "van-3": -time.Duration(1000+10*i) * time.Millisecond} {
			if v == "van-3" && i >= 5 && i < 8 {
				continue // silent
			}
			x := ClockAt{At: t, Offset: off, Within: 500 * time.Microsecond}
			if v == "van-2" && i == 7 {
				x.Offset, x.At = 800*time.Millisecond, t.Add(-10*time.Minute)
			}
			p.add(t, "", KindClock, ClockHour{Vantage: v, Hour: t.Truncate(time.Hour), Latest: x, Worst: x})
		}
	}
	for i := range 6 {
		t := from.Add(2*time.Hour + time.Duration(i+1)*9*time.Minute)
		p.verdict(t, "orders", "a", "down", "up")
		p.verdict(t.Add(2*time.Minute), "orders", "a", "up", "down")
	}
	p.verdict(from.Add(4*time.Hour), "orders", "a", "down", "up")
	p.verdict(from.Add(6*time.Hour), "pay", "b", "up", "unknown")
	// The controller was gone for two hours.
	p.start(from.Add(10 * time.Hour))
	for _, i := range []failover.InstanceName{"orders", "pay"} {
		for _, c := range []failover.ClusterName{"a", "b"} {
			p.verdict(from.Add(10*time.Hour+3*time.Second), i, c, "unknown", "up")
		}
	}
	p.beats(to)
	p.verdict(from.Add(22*time.Hour), "pay", "b", "up", "down")
	p.add(from.Add(23*time.Hour), "pay", KindVerdict, "no transition")

	orders := healthy("orders", to)
	orders.View.Active, orders.View.Standby = "b", "a"
	orders.View.Clusters[0].Role, orders.View.Clusters[1].Role = "standby", "active"
	orders.Auto = allow(failover.GuardUnacknowledged)
	orders.View.Stops = []failover.Stop{{Kind: failover.StopUnacknowledged, By: "ctl-1", Why: "a failover waits for an acknowledgement", Since: from.Add(2*time.Hour + 36*time.Second)}}
	pay := healthy("pay", to)
	pay.View.Clusters[1].Verdict, pay.View.Clusters[1].Why = failover.Down, "down: "+hostile
	pay.View.Clusters[1].Votes[0].Vote, pay.View.Clusters[1].Votes[0].Reason = failover.Down, hostile
	pay.View.Clusters[0].Votes[1].Warnings = []string{"slow: 812 ms", hostile}
	pay.View.Clusters[0].Votes[0].CertificateEnds = to.Add(9 * 24 * time.Hour)
	pay.View.Names[0].TTL = 300
	pay.View.Names[0].Provider, pay.View.Names[0].Limits = "cloud", "no compare-and-swap: it reads, writes and reads back; "+hostile
	pay.View.Names[0].Published = &failover.NameAgreement{Dissent: []string{"192.0.2.53:53 udp: b.lab.test. (wanted a.lab.test.)"}}
	pay.View.Stops = []failover.Stop{{Kind: failover.StopPause, By: "alice@ops", Why: "work on the network", Since: to.Add(-3 * time.Hour), Until: to.Add(time.Hour)}}
	pay.Hand, pay.Auto = allow(failover.GuardTarget, failover.GuardPaused), allow(failover.GuardTarget, failover.GuardPaused)
	pay.Drill = time.Time{}
	pay.View.Clusters[1].Votes[0].Identity, pay.View.Clusters[1].Votes[1].Identity = false, false
	pay.View.Clusters[1].Proof = &failover.Proof{At: to.Add(-9 * 24 * time.Hour), How: "a quorum saw its identity"}
	dark := healthy("search", to)
	dark.View.Mode = "shadow"
	dark.Hand, dark.Auto = allow(failover.GuardShadow), allow(failover.GuardShadow)
	stuck := healthy("stuck", to.Add(-2*time.Minute))
	stuck.Old = 30 * time.Second
	return Head{
		Name: "daily", Controller: "ctl-1", MadeAt: to.Add(3 * time.Second), From: from, To: to, Zone: "Asia/Shanghai", Due: to,
		Config: "37e3e935a3410c5f", ConfigAt: from.Add(-5 * 24 * time.Hour),
	}, p, []Facts{orders, pay, dark, stuck}
}

func build(h Head, p *tape, facts []Facts, before *Report) *Report {
	b := NewBuilder(h, all)
	b.Lives(p.told())
	for _, s := range p.newestFirst() {
		if !b.Sample(s) {
			break
		}
	}
	for i := range facts {
		b.Instance(&facts[i])
	}
	return b.Report(before)
}
