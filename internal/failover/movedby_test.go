package failover

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// caches are all resolvers of the world that keep to TTLs: one of them asked at
// the last moment before every change. They know nothing of the core.
type caches map[RecordName]map[Target]time.Time

// ask fills every cache with what stands there, at the moment next.
func (c caches) ask(w *world, next time.Time) {
	for _, n := range w.p.Names {
		d := w.dns[n.Name]
		if n.Embedded {
			if w.ledger == nil {
				continue
			}
			r := w.ledger.Name(n.Name)
			d = dnsState{value: r.Value, ttl: r.TTL}
		}
		if c[n.Name] == nil {
			c[n.Name] = map[Target]time.Time{}
		}
		if until := next.Add(seconds(d.ttl)); until.After(c[n.Name][d.value]) {
			c[n.Name][d.value] = until
		}
	}
}

// live lets time pass in the steps of the world, with every cache asking.
func (c caches) live(t *rapid.T, w *world, d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		step := min(w.p.Round/5, end.Sub(w.now))
		c.ask(w, w.now.Add(step))
		w.after(step)
		c.judge(t, w)
	}
}

// judge: after the moment by which look-ups have moved, no cache of any
// resolver that keeps to TTLs holds another value.
func (c caches) judge(t *rapid.T, w *world) {
	m := Look(&w.s, &w.p, w.now).MovedBy
	if m == nil || m.LookupsBy.IsZero() || !w.now.After(m.LookupsBy) {
		return
	}
	boundsKept++
	for _, n := range w.p.Names {
		for v, until := range c[n.Name] {
			if v != n.Targets[m.To] && until.After(w.now) {
				t.Fatalf("%s: at %s a cache still holds %s until %s; the bound said %s: %s", n.Name, w.now.Format(time.TimeOnly), v, until.Format(time.TimeOnly), m.LookupsBy.Format(time.TimeOnly), m.Words())
			}
		}
	}
}

// boundsKept counts how often a bound that was over was held against caches.
var boundsKept int

// TestTheBoundIsKeptByEveryCache: whatever is ordered, aborted, killed and lost
// in between, no cache that keeps to TTLs holds the old value after the moment
// that the view promised.
func TestTheBoundIsKeptByEveryCache(t *testing.T) {
	boundsKept = 0
	moved := 0
	rapid.Check(t, func(t *rapid.T) {
		p := testPolicy()
		p.Cooldown, p.Budget, p.MinUp, p.Settle = time.Second, []Budget{{1000, time.Hour}}, time.Second, 0
		p.TTL = rapid.SampledFrom([]uint32{5, 10, 30, 60}).Draw(t, "ttl")
		p.TTLFloor = rapid.SampledFrom([]uint32{1, 10}).Draw(t, "floor")
		p.ReadEvery = 10 * time.Second
		p.Names = []NamePolicy{embeddedName("own.test."), externalName("x.test.")}
		w := newWorld(p)
		w.quiet = true
		c := caches{}
		w.start()
		w.settleUp()
		w.command(Command{Do: DoAdopt})
		w.command(Command{Do: DoArm, Mode: ModeAuto})
		c.live(t, w, 20*time.Second)
		for range rapid.IntRange(3, 8).Draw(t, "events") {
			other := w.p.Other(w.ledger.Active)
			switch rapid.SampledFrom([]string{"switchover", "switchover", "abort", "crash", "killed as old dies", "down", "up", "late ttl", "outage", "heal"}).Draw(t, "event") {
			case "switchover":
				w.command(Command{Do: DoSwitchover, To: other, Reason: "x"})
			case "abort":
				w.command(Command{Do: DoAbort, Reason: "x"})
			case "crash":
				w.start()
				w.sayAll("up")
			case "killed as old dies": // what was seen is forgotten
				active := w.ledger.Active
				w.start()
				w.sayAll("up")
				for _, v := range w.p.Vantages {
					w.vote(v.Name, active, "down", "x")
					w.report(v.Name)
				}
			case "down":
				for _, v := range w.p.Vantages {
					w.vote(v.Name, w.ledger.Active, "down", "x")
					w.report(v.Name)
				}
			case "up":
				w.sayAll("up")
			case "late ttl":
				w.fault["write"] = "dropped"
			case "outage":
				w.fault["write"] = "always dropped"
			case "heal":
				delete(w.fault, "write")
			}
			c.live(t, w, time.Duration(rapid.SampledFrom([]int{1, 3, 10, 40, 70}).Draw(t, "seconds"))*time.Second)
		}
		w.sayAll("up")
		delete(w.fault, "write")
		c.live(t, w, 75*time.Second)
		moved += len(w.moves)
		w.ttlRestored(t)
	})
	if boundsKept == 0 || moved == 0 {
		t.Fatalf("nothing was tried: %d moves, %d bounds", moved, boundsKept)
	}
	t.Logf("%d moves, %d times a bound that was over was held against the caches", moved, boundsKept)
}

// ttlRestored: at rest no name is left with the TTL of a planned switchover,
// whatever became of it.
func (w *world) ttlRestored(t interface{ Errorf(string, ...any) }) {
	if w.ledger.Op != nil {
		return
	}
	for _, n := range w.ledger.Names {
		if d := w.dns[n.Name]; n.TTL != w.p.TTL || n.Want != nil || !n.Embedded && d.ttl != w.p.TTL {
			t.Errorf("%s is left with a TTL of %d s at the write point, %d s in the record (%+v), of %d s; last %+v", n.Name, d.ttl, n.TTL, n.Want, w.p.TTL, w.ledger.LastOp)
		}
	}
}

// TestTheLoweredTTLIsRestoredAfterAnOutage: the controller is killed while a
// switchover waits, or while it settles, and the provider is away for longer
// than that operation waits for it. The claim of the next life, which is on its
// way by then, does not put the lowered TTL back for good.
func TestTheLoweredTTLIsRestoredAfterAnOutage(t *testing.T) {
	for _, at := range []StepName{StepIntent, StepSettle} {
		p := testPolicy()
		p.TTL, p.Names = 60, []NamePolicy{externalName("x.test.")}
		w := newWorld(p)
		w.start()
		w.settleUp()
		w.command(Command{Do: DoAdopt})
		w.command(Command{Do: DoArm, Mode: ModeAuto})
		w.after(time.Minute)
		w.command(Command{Do: DoSwitchover, To: "b", Reason: "x"})
		reached := func() bool {
			op := w.ledger.Op
			return op != nil && op.Step == at && (at == StepSettle || !op.LoweredAt.IsZero())
		}
		w.decided = func(c Commit) {
			if op := c.Record.Op; op != nil && op.Step == StepSettle {
				w.fault["write"] = "always dropped" // before the TTL goes back
			}
		}
		for range 2000 {
			if reached() {
				break
			}
			w.after(p.Round / 5)
		}
		if !reached() || w.dns["x.test."].ttl != 5 {
			t.Fatalf("%s was not reached: %+v, %s", at, w.ledger.Op, w.dns["x.test."])
		}
		w.fault["write"] = "always dropped"
		w.start()
		w.sayAll("up")
		w.after(2 * time.Second)
		if at == StepIntent {
			w.command(Command{Do: DoAbort, Reason: "x"})
		}
		w.after(3 * time.Minute)
		if w.ledger.Op != nil {
			t.Fatalf("%s: it waits for ever: %+v", at, w.ledger.Op)
		}
		delete(w.fault, "write")
		w.after(time.Minute)
		w.ttlRestored(t)
	}
}

// sayAll has every vantage say the same of both clusters.
func (w *world) sayAll(vote string) {
	for _, v := range w.p.Vantages {
		for _, c := range w.p.Clusters {
			w.vote(v.Name, c, vote, "x")
		}
		w.report(v.Name)
	}
}

// TestTheBoundHasItsTerms: unbounded terms are in no sum, and each key is in it.
func TestTheBoundHasItsTerms(t *testing.T) {
	w := armed(testPolicy())
	op := &Op{ID: "orders-1.1", To: "b", MovedAt: w.now, PublishedAt: w.now.Add(2 * time.Second), TTLOld: 30, Verified: []string{"192.0.2.1"}}
	lookups := op.PublishedAt.Add(30 * time.Second)
	for name, tc := range map[string]struct {
		clients ClientPolicy
		lookups time.Time
		by      time.Time
	}{
		"nothing is known of clients": {ClientPolicy{}, lookups, time.Time{}},
		"an allowance":                {ClientPolicy{ResolverAllowance: time.Minute}, lookups.Add(time.Minute), time.Time{}},
		"connections end":             {ClientPolicy{ConnectionLife: 5 * time.Minute}, lookups, lookups.Add(5 * time.Minute)},
		"a request is longer":         {ClientPolicy{ConnectionLife: time.Second, RequestTimeout: 20 * time.Second}, lookups, lookups.Add(20 * time.Second)},
		"the default request":         {ClientPolicy{ConnectionLife: time.Second}, lookups, lookups.Add(DefaultRequestTimeout)},
	} {
		p := w.p
		p.Clients = tc.clients
		m := w.s.movedBy(&p, op)
		if !m.LookupsBy.Equal(tc.lookups) || !m.By.Equal(tc.by) || m.Vantage != "ctl" || len(m.Verified) != 1 || m.Remark == "" {
			t.Errorf("%s: %+v", name, m)
		}
	}
	op.PublishedAt = time.Time{}
	op.Stragglers = []string{"192.0.2.1 udp: a.test."}
	p := w.p
	p.Clients.ConnectionLife = time.Second
	w.s.verify = verifyFact{}
	if m := w.s.movedBy(&p, op); !m.LookupsBy.IsZero() || !m.By.IsZero() || !m.Terms[0].Unbounded || len(m.Missing) != 1 {
		t.Errorf("not published, and bounded all the same: %+v", m)
	}
	w.s.verify = verifyFact{rounds: AgreeRounds, first: w.now.Add(time.Minute)}
	if m := w.s.movedBy(&p, op); !m.Published.Equal(w.now.Add(time.Minute)) || m.By.IsZero() || len(m.Missing) != 0 {
		t.Errorf("the straggler agrees by now: %+v", m)
	}
}

// TestAProviderThatRaisesTTLsHoldsNoMoveUp: it shows the new value and our mark,
// with another TTL than was written, every time. The move ends, the record has
// the TTL that clients are told, and a person hears of it once.
func TestAProviderThatRaisesTTLsHoldsNoMoveUp(t *testing.T) {
	p := testPolicy()
	p.Names = []NamePolicy{externalName("x.test.")}
	w := newWorld(p)
	w.start()
	w.settleUp()
	w.command(Command{Do: DoAdopt})
	w.command(Command{Do: DoArm, Mode: ModeAuto})
	w.after(time.Minute)
	w.fault["write"] = "always clamp 600"
	w.all("a", "down", "x")
	w.after(3 * time.Minute)
	if w.ledger.Op != nil || w.ledger.Active != "b" || w.ledger.LastOp == nil || w.ledger.LastOp.Outcome != Settled {
		t.Fatalf("active %s, %+v\n%s", w.ledger.Active, w.ledger.Op, w.dns["x.test."])
	}
	n := w.ledger.Name("x.test.")
	if n.Want != nil || n.TTL != 600 || n.Value != "b.test." {
		t.Errorf("%+v", n)
	}
	if got := count(w.pages, func(p Page) bool { return p.Kind == "ttl" && strings.Contains(p.Text, "600 s") }); got != 1 {
		t.Errorf("%d pages of it: %+v", got, w.pages)
	}
}

// TestAnAuthorityThatComesBackStaleIsInTheBound: it had agreed, and after the
// publication it shows the old value again, as from an old file. Until it
// agrees nothing is bounded, then its TTL counts from there; an authority that
// is only silent changes nothing.
func TestAnAuthorityThatComesBackStaleIsInTheBound(t *testing.T) {
	w := armed(testPolicy())
	w.command(Command{Do: DoSwitchover, To: "b", Reason: "x"})
	w.after(3 * time.Minute)
	bound := func() *MovedBy { return Look(&w.s, &w.p, w.now).MovedBy }
	m := bound()
	if m == nil || m.Published.IsZero() || m.LookupsBy.IsZero() {
		t.Fatalf("no bound: %+v", m)
	}
	round := func(g NameAgreement) {
		g.Wanted, g.AskedAt, g.At = "b.test.", w.now, []string{"192.0.2.1"}
		w.feed(Verified{Names: map[RecordName]NameAgreement{"orders.test.": g}})
		w.now = w.now.Add(time.Second)
	}
	good := NameAgreement{Agree: true, Served: []ServedTTL{{"b.test.", 30}}}
	round(NameAgreement{Dissent: []string{"192.0.2.1 udp: no answer in time"}})
	if got := bound(); !got.Published.Equal(m.Published) || !got.LookupsBy.Equal(m.LookupsBy) {
		t.Errorf("one was silent: %+v", got)
	}
	round(NameAgreement{Dissent: []string{"192.0.2.1 udp: a.test."}, Served: []ServedTTL{{"a.test.", 90}}})
	if got := bound(); !got.Published.IsZero() || !got.LookupsBy.IsZero() || !got.Terms[0].Unbounded || len(got.Missing) != 1 || got.TTLOld != 90 {
		t.Errorf("it shows the old value: %+v", got)
	}
	back := w.now
	round(good)
	round(good)
	if got := bound(); !got.Published.Equal(back) || !got.LookupsBy.Equal(back.Add(90*time.Second)) || len(got.Missing) != 0 {
		t.Errorf("it agrees again: %+v, at %s", got, back)
	}
}

// TestTheOldTTLIsTheLargestThatMayBeCached: each of the four places where a TTL
// of the old value is known from counts by itself, as long as it may.
func TestTheOldTTLIsTheLargestThatMayBeCached(t *testing.T) {
	now := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	to := map[RecordName]Target{"x.test.": "b."}
	for name, tc := range map[string]struct {
		value  Target
		op     *Op
		last   *OpSummary
		served []servedFact
		low    int
		want   uint32
	}{
		"the record":                          {value: "a.", want: 7},
		"the record shows the new value":      {value: "b.", want: 0},
		"not lowered yet":                     {value: "a.", op: &Op{OldTTL: 60}, want: 60},
		"not waited out":                      {value: "a.", op: &Op{OldTTL: 60, LoweredAt: ago(59 * time.Second)}, want: 60},
		"waited out":                          {value: "a.", op: &Op{OldTTL: 60, LoweredAt: ago(time.Minute)}, want: 7},
		"waited out, one is behind":           {value: "a.", op: &Op{OldTTL: 60, LoweredAt: ago(time.Minute), Notes: []string{noteNotLow + "x"}}, want: 60},
		"waited out, one was behind":          {value: "a.", op: &Op{OldTTL: 60, LoweredAt: ago(time.Minute), Notes: []string{noteNotLow + "x"}}, low: AgreeRounds, want: 7},
		"the operation before, just now":      {value: "a.", last: &OpSummary{Op: Op{OldTTL: 60}, At: ago(59 * time.Second)}, want: 60},
		"the operation before, long ago":      {value: "a.", last: &OpSummary{Op: Op{OldTTL: 60}, At: ago(time.Minute)}, want: 7},
		"seen just now":                       {value: "a.", served: []servedFact{{"a.", 90, ago(89 * time.Second)}}, want: 90},
		"seen long ago":                       {value: "a.", served: []servedFact{{"a.", 90, ago(90 * time.Second)}}, want: 7},
		"the new value was seen with more":    {value: "b.", served: []servedFact{{"b.", 90, now}}, want: 0},
		"a third value was seen with more":    {value: "b.", served: []servedFact{{"c.", 90, now}}, want: 90},
		"the largest of those that are alive": {value: "a.", served: []servedFact{{"a.", 900, ago(time.Hour)}, {"a.", 90, now}, {"a.", 30, now}}, want: 90},
	} {
		s := State{served: map[RecordName][]servedFact{"x.test.": tc.served}, verify: verifyFact{low: tc.low}}
		r := Record{Names: []NameRecord{{Name: "x.test.", Value: tc.value, TTL: 7}}, Op: tc.op, LastOp: tc.last}
		if got := s.ttlOld(&r, to, now); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

// TestWhatWasServedIsBounded: of many TTLs those are kept that live longest.
func TestWhatWasServedIsBounded(t *testing.T) {
	var s State
	now := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	for ttl := uint32(1); ttl <= 100; ttl++ {
		s.noteServed("x.test.", "a.", ttl, now)
	}
	if n := len(s.served["x.test."]); n != mostServed || s.cached("x.test.", "", now) != 100 {
		t.Errorf("%d kept, the largest %d", n, s.cached("x.test.", "", now))
	}
	s.noteServed("x.test.", "a.", 1, now.Add(time.Hour))
	if n := len(s.served["x.test."]); n != 1 {
		t.Errorf("%d kept after an hour", n)
	}
}
