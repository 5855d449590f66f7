package failover

import (
	"fmt"
	"testing"
	"time"
)

// TestASilenceJoinsNoTwoBlips: a vantage that may not vote, or whose reports are
// lost, goes on counting; what it tells of an answer ends the outage, though its
// domain was silent.
func TestASilenceJoinsNoTwoBlips(t *testing.T) {
	for _, c := range []struct {
		name     string
		silent   func(w *world)
		answered bool
		moves    bool
	}{
		{"they abstain", func(w *world) {
			for v := range w.said {
				w.sick[v] = "late on our own schedule"
				w.report(v)
			}
		}, true, false},
		{"their reports are lost", func(w *world) {
			for v := range w.said {
				w.fault["mute "+string(v)] = "1"
			}
		}, true, false},
		{"they were started again and know of no answer", func(w *world) {
			for v := range w.said {
				w.sick[v] = "late on our own schedule"
				w.report(v)
			}
		}, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := testPolicy()
			p.RideOut = 10 * time.Second
			w := armed(p)
			w.all("a", "down", "refused")
			w.after(5 * time.Second)
			c.silent(w)
			w.now = w.now.Add(2 * p.Round)
			w.feed(Tick{})
			clear(w.sick)
			clear(w.fault)
			for v := range w.said {
				s := w.said[v]["a"]
				s.FirstMiss, s.LastMiss = w.now, w.now
				if c.answered {
					s.LastSuccess = w.now.Add(-p.Round)
				}
				w.said[v]["a"] = s
				w.report(v)
			}
			second := w.now
			w.after(p.RideOut - time.Second)
			if moved := w.ledger.Active != "a"; moved != c.moves {
				t.Fatalf("moved: %v, want %v, %s after the second run of misses began", moved, c.moves, w.now.Sub(second))
			}
			w.after(5 * time.Second)
			if w.ledger.Active != "b" {
				t.Fatalf("it did not move %s after the second run of misses began", w.now.Sub(second))
			}
		})
	}
}

// TestMissesThatNobodyJoinedAreNoRun: without a look in between, misses from
// before and after do not make one outage.
func TestMissesThatNobodyJoinedAreNoRun(t *testing.T) {
	p := CountPolicy{Fall: 3, Rise: 2, Window: 10, Ratio: 0.4}
	t0 := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const gap = 3 * time.Second
	down := Count{}
	for i := range 3 {
		down = down.Add(false, t0.Add(time.Duration(i)*time.Second), p)
	}
	up := Count{}
	for i := range 4 {
		up = up.Add(true, t0.Add(time.Duration(i-2)*time.Second), p)
	}
	missing := up.Add(false, t0.Add(2*time.Second), p)
	last := t0.Add(2 * time.Second)
	for _, c := range []struct {
		name   string
		count  Count
		late   time.Duration
		vote   Vote
		misses int
		began  time.Time
	}{
		{"a run goes on over the gap", down, gap, Down, 4, t0},
		{"a run ends beyond the gap", down, gap + 1, Unknown, 1, last.Add(gap + 1)},
		{"so does one that is no vote yet", missing, gap + 1, Up, 1, last.Add(gap + 1)},
		{"an unfinished run goes on over the gap", missing, gap, Up, 2, last},
		{"an up vote stays", up, time.Hour, Up, 1, t0.Add(time.Second + time.Hour)},
	} {
		s := c.count.Sighting(p)
		sent := s.LastProbe.Add(c.late)
		got := c.count.Lapse(sent, gap).Add(false, sent, p).Sighting(p)
		if got.Vote != c.vote || got.Misses != c.misses || !got.FirstMiss.Equal(c.began) {
			t.Errorf("%s: vote %s, %d misses since %s; want %s, %d since %s", c.name, got.Vote, got.Misses, got.FirstMiss.Sub(t0), c.vote, c.misses, c.began.Sub(t0))
		}
	}
	if got := (Count{}).Lapse(t0, gap); got != (Count{}) {
		t.Errorf("a count that has not begun became %+v", got)
	}
}

// TestVotesForOldTargetsAreUnknownAtOnce: with the policy what votes must be
// about changes, also of those that came before.
func TestVotesForOldTargetsAreUnknownAtOnce(t *testing.T) {
	p := testPolicy()
	p.Generation = "cfg1"
	w := newWorld(p)
	w.start()
	w.settleUp()
	w.after(5 * time.Second)
	verdict := func() Vote { return Look(&w.s, &w.p, w.now).Clusters[1].Verdict }
	if v := verdict(); v != Up {
		t.Fatalf("b is %s to begin with", v)
	}
	w.p.Expected, w.p.Generation = "cfg2", "cfg2"
	w.feed(PolicyChanged{})
	if v := verdict(); v != Unknown {
		t.Errorf("b is %s by votes for the old targets", v)
	}
	for _, v := range p.Vantages {
		w.report(v.Name) // on its way since before
	}
	if v := verdict(); v != Unknown {
		t.Errorf("b is %s by late votes for the old targets", v)
	}
	for _, v := range p.Vantages {
		w.gen[v.Name] = "cfg2"
		w.report(v.Name)
	}
	if v := verdict(); v != Up {
		t.Errorf("b is %s by votes for the new targets", v)
	}
}

// TestATermBaseHasABound: above it terms would run over and come back small.
func TestATermBaseHasABound(t *testing.T) {
	for _, base := range []uint64{MaxTermBase + 1, 1 << 63, 1<<64 - 1} {
		p := testPolicy()
		p.Names = []NamePolicy{externalName("orders.test.")}
		w := newWorld(p)
		w.start()
		w.settleUp()
		w.after(5 * time.Second)
		before := w.s.term()
		if got := fmt.Sprint(w.command(Command{Do: DoAdopt, TermBase: base})); w.s.term() != before {
			t.Errorf("base %d took the term from %d to %d: %s", base, before, w.s.term(), got)
		}
	}
	m := Mark{Token: Token{Term: termOver(1e17-1, MaxTermBase), Epoch: 1}, Op: "op", By: "me"}
	if _, err := ParseMark(m.String()); err != nil {
		t.Errorf("a term over the largest base does not fit into a mark: %v", err)
	}
}

// TestAnUpThatRestsOnAnOldAnswerIsUnknown: such a vote would end the clock of an
// outage, again and again.
func TestAnUpThatRestsOnAnOldAnswerIsUnknown(t *testing.T) {
	p := testPolicy()
	bound := p.Stale() + p.Timeout
	for _, c := range []struct {
		age  time.Duration
		want Vote
	}{{0, Up}, {bound, Up}, {bound + time.Millisecond, Unknown}, {time.Hour, Unknown}} {
		w := newWorld(p)
		w.start()
		w.settleUp()
		for v := range w.said {
			s := w.said[v]["a"]
			s.LastSuccess = w.now.Add(-c.age)
			w.said[v]["a"] = s
			w.report(v)
		}
		if got := Look(&w.s, &w.p, w.now).Clusters[0].Verdict; got != c.want {
			t.Errorf("the newest answer is %s old: %s, want %s", c.age, got, c.want)
		}
	}
}
