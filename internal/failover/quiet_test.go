package failover

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// lazy holds quiet reports back until the next tick, as the shell does.
type lazy struct {
	*world
	held []Report
	kept int
}

func (l *lazy) hear(r Report) {
	r.Arrived = l.now
	if l.s.Quiet(&l.p, r, l.now) {
		l.held = slices.DeleteFunc(l.held, func(x Report) bool { return x.Vantage == r.Vantage })
		l.held = append(l.held, r)
		l.kept++
		return
	}
	l.flush()
	l.feed(r)
}

func (l *lazy) flush() {
	if len(l.held) > 0 {
		l.feed(Reports(l.held))
		l.held = nil
	}
}

// TestAQuietReportMayWait runs the same votes through two lives: one is told
// everything at once, the other lets quiet reports wait for the next tick. Both
// commit the same things at the same moments.
func TestAQuietReportMayWait(t *testing.T) {
	waited := 0
	rapid.Check(t, func(t *rapid.T) {
		p := testPolicy()
		p.RideOut = time.Duration(rapid.IntRange(0, 5).Draw(t, "ride_out")) * time.Second
		p.MinUp, p.Cooldown = 5*time.Second, 10*time.Second
		begin := func() *world {
			w := newWorld(p)
			w.start()
			w.settleUp()
			w.command(Command{Do: DoArm, Mode: ModeAuto})
			return w
		}
		eager, l := begin(), &lazy{world: begin()}
		for i := range rapid.IntRange(20, 120).Draw(t, "rounds") {
			for _, v := range p.Vantages {
				if rapid.IntRange(0, 9).Draw(t, "what") == 0 {
					c := rapid.SampledFrom(p.Clusters[:]).Draw(t, "cluster")
					word := rapid.SampledFrom([]string{"up", "down", "unknown", "1"}).Draw(t, "word")
					eager.vote(v.Name, c, word, word)
					l.vote(v.Name, c, word, word)
					if word == "unknown" {
						f := rapid.SampledFrom([]Fault{FaultNone, FaultKey, FaultSetup}).Draw(t, "fault")
						eager.faulty(v.Name, c, f)
						l.faulty(v.Name, c, f)
					}
				}
				if rapid.IntRange(0, 19).Draw(t, "mute") == 0 {
					continue
				}
				r := eager.reportOf(v.Name)
				eager.feed(r)
				l.hear(l.reportOf(v.Name))
			}
			step := p.Round / time.Duration(rapid.IntRange(1, 3).Draw(t, "step"))
			eager.now, l.now = eager.now.Add(step), l.now.Add(step)
			eager.feed(Tick{})
			l.flush()
			l.feed(Tick{})
			if a, b := auditText(eager.audit), auditText(l.audit); a != b {
				t.Fatalf("round %d: told at once:\n%swaiting:\n%s", i, a, b)
			}
			if a, b := fmt.Sprint(eager.pages), fmt.Sprint(l.pages); a != b {
				t.Fatalf("round %d: pages %s, waiting %s", i, a, b)
			}
		}
		waited += l.kept
	})
	if waited == 0 {
		t.Error("no report was ever quiet")
	}
}

// TestWhatIsNotQuiet: each of these is told at once.
func TestWhatIsNotQuiet(t *testing.T) {
	calm := func() *world {
		w := newWorld(testPolicy())
		w.start()
		w.settleUp()
		w.command(Command{Do: DoArm, Mode: ModeAuto})
		w.after(10 * time.Second)
		return w
	}
	w := calm()
	if r := w.reportOf("v1"); !w.s.Quiet(&w.p, r, w.now) {
		t.Fatal("the same word again is not quiet")
	}
	sight := func(f func(*Sighting)) func(*world, *Report) {
		return func(_ *world, r *Report) {
			s := r.Clusters["b"]
			f(&s)
			r.Clusters["b"] = s
		}
	}
	for name, change := range map[string]func(*world, *Report){
		"a down vote":         sight(func(s *Sighting) { s.Vote = Down }),
		"an unknown vote":     sight(func(s *Sighting) { s.Vote = Unknown }),
		"a miss":              sight(func(s *Sighting) { s.Misses = 1 }),
		"more failures":       sight(func(s *Sighting) { s.Failed = 1 }),
		"another identity":    sight(func(s *Sighting) { s.Identity = !s.Identity }),
		"a canary":            sight(func(s *Sighting) { s.Canary = CanaryBad }),
		"a fault":             sight(func(s *Sighting) { s.Fault = FaultKey }),
		"a client":            sight(func(s *Sighting) { s.Client = ClientRefused }),
		"a warning":           sight(func(s *Sighting) { s.Warnings = []string{"slow"} }),
		"a cluster less":      func(_ *world, r *Report) { delete(r.Clusters, "b") },
		"a sick vantage":      func(_ *world, r *Report) { r.Sick = "late" },
		"another generation":  func(_ *world, r *Report) { r.Generation, r.Want = "cfg2", "cfg2" },
		"a wrong generation":  func(_ *world, r *Report) { r.Want = "cfg2" },
		"another vantage":     func(_ *world, r *Report) { r.Vantage = "v9" },
		"after a silence":     func(w *world, _ *Report) { w.now = w.now.Add(w.p.Stale() + 1) },
		"after a tilt":        func(w *world, _ *Report) { w.s.tiltAt = w.now },
		"in an operation":     func(w *world, _ *Report) { w.s.rec.Op = &Op{} },
		"before the adoption": func(w *world, _ *Report) { w.s.adopted = false },
		"with a commit":       func(w *world, _ *Report) { w.s.pending = &Record{} },
		"with a command":      func(w *world, _ *Report) { w.s.queue = []Command{{}} },
		"keys refused":        func(w *world, _ *Report) { w.s.auth = w.now },
		"both lost":           func(w *world, _ *Report) { w.s.correlated = true },
		"others say down": func(w *world, _ *Report) {
			w.vote("v2", "a", "down", "x")
			w.feed(w.reportOf("v2"))
		},
	} {
		w := calm()
		r := w.reportOf("v1")
		change(w, &r)
		if w.s.Quiet(&w.p, r, w.now) {
			t.Errorf("%s is quiet", name)
		}
	}
}

// TestAReportThatWaitedIsAsOldAsItIs: it counts from its arrival, and never
// replaces a newer one.
func TestAReportThatWaitedIsAsOldAsItIs(t *testing.T) {
	w := newWorld(testPolicy())
	w.start()
	w.settleUp()
	r := w.reportOf("v1")
	r.Arrived = w.now
	w.now = w.now.Add(w.p.Stale())
	w.feed(Reports{r})
	if at := w.s.sights["v1"].at; !at.Equal(r.Arrived) {
		t.Errorf("counts from %s, arrived at %s", at, r.Arrived)
	}
	w.now = w.now.Add(time.Millisecond)
	if v := w.s.effective(&w.p, w.p.Vantages[0], "a", w.now); v.vote != Unknown {
		t.Errorf("a report that is older than two rounds says %s", v.vote)
	}
	newer := w.reportOf("v1")
	w.feed(newer)
	w.feed(Reports{r})
	if at := w.s.sights["v1"].at; !at.Equal(w.now) {
		t.Error("an older report replaced a newer one")
	}
}

// TestAChangedPolicyMovesNothing: whatever is changed in the config of a living
// instance whose clusters are both up, the name stays and no operation begins.
func TestAChangedPolicyMovesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := testPolicy()
		p.Names = []NamePolicy{embeddedName("x.test."), embeddedName("y.test.")}
		if rapid.Bool().Draw(t, "external") {
			p.Names = []NamePolicy{externalName("x.test."), embeddedName("y.test.")}
		}
		w := newWorld(p)
		w.start()
		w.settleUp()
		w.command(Command{Do: DoAdopt})
		w.command(Command{Do: DoArm, Mode: ModeAuto})
		w.after(31 * time.Second)
		before := w.ledger.Clone()
		for range rapid.IntRange(1, 4).Draw(t, "reloads") {
			q := p
			q.Expected = rapid.StringN(1, 4, 8).Draw(t, "hash")
			q.RideOut = time.Duration(rapid.IntRange(0, 20).Draw(t, "ride_out")) * time.Second
			q.Count.Fall = rapid.IntRange(1, 5).Draw(t, "fall")
			q.Vantages = slices.Clone(p.Vantages[:rapid.IntRange(1, 3).Draw(t, "vantages")])
			q.Primary = rapid.SampledFrom(p.Clusters[:]).Draw(t, "primary")
			if rapid.Bool().Draw(t, "swapped") {
				q.Clusters[0], q.Clusters[1] = q.Clusters[1], q.Clusters[0]
			}
			q.Names = slices.Clone(p.Names[rapid.IntRange(0, 1).Draw(t, "names"):])
			if rapid.Bool().Draw(t, "targets") {
				for i := range q.Names {
					q.Names[i].Targets = map[ClusterName]Target{
						"a": rapid.SampledFrom([]Target{"a.test.", "b.test.", "c.test."}).Draw(t, "target a"),
						"b": rapid.SampledFrom([]Target{"d.test.", "e.test."}).Draw(t, "target b"),
					}
				}
			}
			w.p = q
			w.feed(PolicyChanged{})
			w.after(time.Duration(rapid.IntRange(0, 40).Draw(t, "after")) * time.Second)
			if w.ledger.Op != nil || w.ledger.Active != before.Active || w.ledger.Epoch != before.Epoch {
				t.Fatalf("a reload began something:\n%s", auditText(w.audit))
			}
			for _, n := range append(w.ledger.Shown(), w.ledger.Names...) {
				if was := before.Name(n.Name); n.Value != was.Value && w.ledger.Name(n.Name) != nil && len(q.Names) == len(p.Names) {
					t.Fatalf("%s was moved to %s:\n%s", n.Name, n.Value, auditText(w.audit))
				}
			}
		}
		// Every embedded name goes on showing something.
		for _, n := range before.Names {
			if n.Embedded && !slices.ContainsFunc(w.ledger.Shown(), func(x NameRecord) bool { return x.Name == n.Name }) {
				t.Fatalf("%s is shown no more", n.Name)
			}
		}
	})
}

// TestALeftOverNameThatComesBackElsewhereIsLeftOverNoMore: it would be shown by
// our authority at its old target for ever.
func TestALeftOverNameThatComesBackElsewhereIsLeftOverNoMore(t *testing.T) {
	p := testPolicy()
	p.Names = []NamePolicy{embeddedName("orders.test."), embeddedName("old.test.")}
	w := newWorld(p)
	w.start()
	w.settleUp()
	w.after(5 * time.Second)
	w.p.Names = []NamePolicy{embeddedName("orders.test.")}
	w.feed(PolicyChanged{})
	w.after(5 * time.Second)
	if len(w.ledger.LeftOver) != 1 {
		t.Fatalf("left over: %v", w.ledger.LeftOver)
	}
	w.p.Names = []NamePolicy{embeddedName("orders.test."), externalName("old.test.")}
	w.dns["old.test."] = dnsState{value: "b.test.", ttl: 30}
	w.feed(PolicyChanged{})
	w.after(time.Minute)
	if w.ledger.Name("old.test.") != nil || len(w.ledger.LeftOver) != 1 {
		t.Fatalf("it joined while it shows the standby: %v, left over %v", w.ledger.Name("old.test."), w.ledger.LeftOver)
	}
	w.dns["old.test."] = dnsState{value: "a.test.", ttl: 30}
	w.after(time.Minute)
	if w.ledger.Name("old.test.") == nil || len(w.ledger.LeftOver) != 0 {
		t.Errorf("in the record %v, left over %v", w.ledger.Name("old.test."), w.ledger.LeftOver)
	}
}

// A domain whose vantages disagree says nothing, and will say down without any
// report when those fall silent that say up: its instance is woken for it.
func TestADomainThatDisagreesIsNotCalm(t *testing.T) {
	p := testPolicy()
	p.Vantages = []VantagePolicy{{"v1a", "d1"}, {"v1b", "d1"}, {"v2", "d2"}, {"v3", "d3"}}
	w := newWorld(p)
	w.start()
	w.settleUp()
	w.after(10 * time.Second)
	if next := NextWake(&w.s, &w.p, w.now); next.Before(w.now.Add(p.Round)) {
		t.Errorf("all is well, and it wants to be woken after %s", next.Sub(w.now))
	}
	w.vote("v1a", "a", "down", "down")
	w.feed(w.reportOf("v1a"))
	if w.s.counted != [2]Vote{Up, Up} {
		t.Fatalf("verdicts %v: the domain should disagree", w.s.counted)
	}
	if next := NextWake(&w.s, &w.p, w.now); !next.Before(w.now.Add(p.Round)) {
		t.Errorf("one vantage says down, and it wants to be woken after %s", next.Sub(w.now))
	}
}
