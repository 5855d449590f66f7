package failover

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawWorld makes up what every vantage last said of both clusters.
func drawWorld(t *rapid.T) *world {
	p := testPolicy()
	p.Vantages = nil
	n := rapid.IntRange(1, 6).Draw(t, "vantages")
	for i := range n {
		d := rapid.IntRange(1, 4).Draw(t, "domain")
		p.Vantages = append(p.Vantages, VantagePolicy{VantageName(fmt.Sprint("v", i)), DomainName(fmt.Sprint("d", d))})
	}
	w := newWorld(p)
	w.start()
	w.now = w.now.Add(10 * time.Second)
	for _, v := range p.Vantages {
		if rapid.IntRange(0, 9).Draw(t, "silent") == 0 {
			continue
		}
		r := Report{Vantage: v.Name, Generation: "g", Want: "g", Clusters: map[ClusterName]Sighting{}}
		if rapid.IntRange(0, 9).Draw(t, "sick") == 0 {
			r.Sick = "no control"
		}
		if rapid.IntRange(0, 9).Draw(t, "old config") == 0 {
			r.Generation = "h"
		}
		for _, c := range p.Clusters {
			at := w.now.Add(-time.Duration(rapid.IntRange(0, 5000).Draw(t, "since")) * time.Millisecond)
			s := Sighting{Vote: Vote(rapid.IntRange(0, 2).Draw(t, "vote")), LastProbe: w.now, Identity: rapid.Bool().Draw(t, "identity")}
			switch s.Vote {
			case Up:
				s.UpSince = at
			case Down:
				s.FirstMiss, s.LastMiss = at, w.now.Add(-100*time.Millisecond)
			}
			r.Clusters[c] = s
		}
		age := time.Duration(rapid.IntRange(0, 3000).Draw(t, "age")) * time.Millisecond
		set(&w.s.sights, v.Name, sight{Report: r, at: w.now.Add(-age)})
	}
	w.s.kept = nil
	return w
}

// naive is the quorum rule once more, written without any thought of speed.
func naive(w *world, c ClusterName) (Vote, time.Time) {
	up, down := 0, 0
	var downAt []time.Time
	domains := map[DomainName]bool{}
	for _, v := range w.p.Vantages {
		domains[v.Domain] = true
	}
	for d := range domains {
		var ups, downs int
		var firsts []time.Time
		for _, v := range w.p.Vantages {
			s, ok := w.s.sights[v.Name]
			if v.Domain != d || !ok || w.now.Sub(s.at) > 2*w.p.Round || s.Sick != "" || s.Generation != s.Want {
				continue
			}
			switch s.Clusters[c].Vote {
			case Up:
				ups++
			case Down:
				downs++
				firsts = append(firsts, s.Clusters[c].FirstMiss)
			}
		}
		switch {
		case ups > downs:
			up++
		case downs > ups:
			down++
			// the miss that makes a majority of the informed ones
			slices.SortFunc(firsts, time.Time.Compare)
			downAt = append(downAt, firsts[(ups+downs)/2])
		}
	}
	slices.SortFunc(downAt, time.Time.Compare)
	switch {
	case 2*down > len(domains):
		return Down, downAt[len(domains)/2]
	case 2*up > len(domains):
		return Up, time.Time{}
	}
	return Unknown, time.Time{}
}

// TestQuorumAgainstANaiveOracle: the tally and a plain second implementation
// say the same of every world.
func TestQuorumAgainstANaiveOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		for _, c := range w.p.Clusters {
			got := w.s.tally(&w.p, c, w.now)
			want, since := naive(w, c)
			if got.verdict != want || want == Down && !got.downSince.Equal(since) {
				t.Fatalf("%s: %s since %s, the oracle says %s since %s", c, got.verdict, got.downSince, want, since)
			}
		}
	})
}

// decision is what one world leads to, without names and times of its own.
func decision(w *world) []string {
	var out []string
	for _, c := range w.p.Clusters {
		tl := w.s.tally(&w.p, c, w.now)
		out = append(out, fmt.Sprint(tl.verdict, tl.rodeOut(&w.p, w.now), tl.identity))
	}
	return out
}

// TestSwappingTheClustersChangesNothing, nor does adding a constant to every
// clock, nor splitting a vantage into two in its domain.
func TestMetamorphicRelations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		before := decision(w)

		swapped := *w
		swapped.p.Clusters = [2]ClusterName{"b", "a"}
		if after := decision(&swapped); before[0] != after[1] || before[1] != after[0] {
			t.Fatalf("swapped: %v, %v", before, after)
		}

		const off = 37 * time.Hour
		moved := *w
		moved.now = w.now.Add(off)
		moved.s = w.s.clone()
		for k, s := range w.s.sights {
			s.at = s.at.Add(off)
			cl := map[ClusterName]Sighting{}
			for c, x := range s.Clusters {
				for _, at := range []*time.Time{&x.LastProbe, &x.FirstMiss, &x.LastMiss, &x.UpSince} {
					if !at.IsZero() {
						*at = at.Add(off)
					}
				}
				cl[c] = x
			}
			s.Clusters = cl
			moved.s.sights[k] = s
		}
		if after := decision(&moved); !reflect.DeepEqual(before, after) {
			t.Fatalf("moved by %s: %v, %v", off, before, after)
		}

		split := *w
		split.s = w.s.clone()
		split.p.Vantages = nil
		for _, v := range w.p.Vantages {
			split.p.Vantages = append(split.p.Vantages, v, VantagePolicy{v.Name + "x", v.Domain})
			if s, ok := w.s.sights[v.Name]; ok {
				split.s.sights[v.Name+"x"] = s
			}
		}
		if after := decision(&split); !reflect.DeepEqual(before, after) {
			t.Fatalf("split: %v, %v", before, after)
		}
	})
}

// TestStepChangesNothingItWasGiven: the old state gives the same answers after
// a step as before it.
func TestStepChangesNothingItWasGiven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		w.all("a", rapid.SampledFrom([]string{"up", "down"}).Draw(t, "word"), "x")
		s := w.s
		before := jsonOf(Look(&s, &w.p, w.now))
		rec, _ := s.Record()
		for _, e := range someEvents(w) {
			Step(s, &w.p, e, w.now.Add(time.Second))
		}
		after := jsonOf(Look(&s, &w.p, w.now))
		rec2, _ := s.Record()
		if before != after || !reflect.DeepEqual(rec, rec2) {
			t.Fatalf("changed:\n%s\n%s", before, after)
		}
	})
}

func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// naiveHooks is the rule of pre-hooks once more: who stops the operation.
func naiveHooks(hooks []Hook, said map[string]HookVerdict) string {
	for _, h := range hooks {
		if v := said[h.Name]; v == HookVetoed || v != HookPassed && !h.Pass {
			return h.Name
		}
	}
	return ""
}

// TestHooksAgainstANaiveOracle: whatever hooks say, leave out or say twice, the
// core and a plain second implementation stop at the same one, or at none.
func TestHooksAgainstANaiveOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := testPolicy()
		e := HooksDone{When: HookPre, Attempt: 1}
		said := map[string]HookVerdict{}
		for i := range rapid.IntRange(1, MaxHooks).Draw(t, "hooks") {
			h := Hook{Name: fmt.Sprint("h", i), When: HookPre, Timeout: time.Second, Pass: rapid.Bool().Draw(t, "pass")}
			p.Hooks = append(p.Hooks, h)
			if v := rapid.SampledFrom([]HookVerdict{HookPassed, HookPassed, HookPassed, HookVetoed, HookBroken, "nonsense", ""}).Draw(t, "verdict"); v != "" {
				said[h.Name] = v
				e.Results = append(e.Results, HookResult{Name: h.Name, Verdict: v, Reason: "x"})
			}
		}
		w := armed(p)
		w.manual, w.quiet = true, true
		w.command(Command{Do: DoSwitchover, To: "b", Reason: "x"})
		w.manual = false
		w.running = func(r RunHooks) { e.OpID = r.Op.ID }
		w.fault["pre-hooks"] = "always never"
		q := w.queued
		w.queued = nil
		for _, a := range q {
			w.perform(a)
		}
		w.feed(e)
		got := ""
		if l := w.ledger.LastOp; l != nil && l.Op.Hooks != nil {
			got = l.Op.Hooks.By
		}
		if want := naiveHooks(p.Hooks, said); got != want {
			t.Fatalf("%v of %v: stopped by %q, the oracle says %q", e.Results, p.Hooks, got, want)
		}
	})
}
