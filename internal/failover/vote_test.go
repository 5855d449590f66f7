package failover

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

var t0 = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

func at(n int) time.Time { return t0.Add(time.Duration(n) * time.Second) }

// counted plays a run of probes, one a second: + is a success, - a miss.
func counted(p CountPolicy, run string) Count {
	var c Count
	for i, r := range run {
		c = c.Add(r == '+', at(i), p)
	}
	return c
}

func TestConsecutiveMissesMakeAVote(t *testing.T) {
	p := CountPolicy{Fall: 3, Rise: 2}
	for run, want := range map[string]Vote{
		"":           Unknown,
		"+":          Unknown, // one success of two
		"--":         Unknown, // a fresh vantage says nothing after two misses
		"++":         Up,
		"++--":       Up,
		"++---":      Down,
		"++---+":     Down, // one success of two
		"++---++":    Up,
		"++--+--+--": Up, // never three in a row
		"---":        Down,
	} {
		if got := counted(p, run).Vote(); got != want {
			t.Errorf("%q: %s, want %s", run, got, want)
		}
	}
}

// TestTheWindowSeesFortyPercent: failures that are never consecutive enough.
func TestTheWindowSeesFortyPercent(t *testing.T) {
	p := CountPolicy{Fall: 3, Rise: 2, Window: 10, Ratio: 0.4}
	if got := counted(p, "++++++++++-+-++-++-").Vote(); got != Down {
		t.Errorf("4 of the last 10 failed: %s", got)
	}
	if got := counted(p, "++++++++++-+++-+++-").Vote(); got != Up {
		t.Errorf("3 of the last 10 failed: %s", got)
	}
	if got := counted(p, "-+-+-+").Vote(); got == Down {
		t.Error("a window that is not full says down")
	}
	if got := counted(p, "++++++++++-+-++-++-++++").Vote(); got != Up {
		t.Errorf("the window recovered: %s", got)
	}
}

// TestASuccessEndsABlip: the clock of an outage begins at the first miss after
// the last success, unless the window says that both were mixed all along.
func TestASuccessEndsABlip(t *testing.T) {
	p := CountPolicy{Fall: 3, Rise: 5}
	s := counted(p, "+++++---+---").Sighting(p)
	if s.Vote != Down || !s.FirstMiss.Equal(at(9)) || !s.LastMiss.Equal(at(11)) {
		t.Errorf("%+v", s)
	}
	if s := counted(p, "+++++---+").Sighting(p); s.Vote != Down || !s.LastMiss.IsZero() {
		t.Errorf("the newest probe was a success, and the sighting still confirms: %+v", s)
	}
	w := CountPolicy{Fall: 3, Rise: 5, Window: 5, Ratio: 0.4}
	for _, run := range []string{"+++++--+-+-", "+++++--+-+-+-", "+++++--+-+-+-+-"} { // counted from the miss that made the window bad
		if s := counted(w, run).Sighting(w); s.Vote != Down || !s.FirstMiss.Equal(at(10)) {
			t.Errorf("mixed failures %s: %+v", run, s)
		}
	}
}

// TestCountAgainstANaiveOracle: the vote of any run of probes, once more by
// looking at the whole run.
func TestCountAgainstANaiveOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := CountPolicy{Fall: rapid.IntRange(1, 4).Draw(t, "fall"), Rise: rapid.IntRange(1, 4).Draw(t, "rise")}
		if rapid.Bool().Draw(t, "window") {
			p.Window, p.Ratio = rapid.IntRange(2, 64).Draw(t, "size"), rapid.SampledFrom([]float64{0.25, 0.4, 0.5, 1}).Draw(t, "ratio")
		}
		run := rapid.SliceOfN(rapid.Bool(), 1, 150).Draw(t, "run")
		var c Count
		want := Unknown
		var turns []bool // since the window began
		for i, ok := range run {
			if rapid.IntRange(0, 3).Draw(t, "out of turn") == 0 {
				c = c.Recheck(ok, at(i), p)
			} else {
				c = c.Add(ok, at(i), p)
				turns = append(turns, ok)
			}
			misses, hits := tail(run[:i+1], false), tail(run[:i+1], true)
			bad := 0
			for _, x := range turns[max(0, len(turns)-p.Window):] {
				if !x {
					bad++
				}
			}
			switch {
			case misses >= p.Fall:
				want = Down
			case hits >= p.Rise:
				if want != Up {
					turns = nil
				}
				want = Up
			case !ok && p.Window > 0 && len(turns) >= p.Window && float64(bad) >= p.Ratio*float64(p.Window):
				want = Down
			}
			if c.Vote() != want {
				t.Fatalf("after %v: %s, the oracle says %s", run[:i+1], c.Vote(), want)
			}
			s := c.Sighting(p)
			if s.Misses != misses || s.Hits != hits || (want == Up) != !s.UpSince.IsZero() || want == Down && s.FirstMiss.IsZero() {
				t.Fatalf("after %v: %+v", run[:i+1], s)
			}
		}
	})
}

// tail counts how many results at the end are the same.
func tail(run []bool, want bool) int {
	n := 0
	for i := len(run) - 1; i >= 0 && run[i] == want; i-- {
		n++
	}
	return n
}

func TestVoteText(t *testing.T) {
	for _, v := range []Vote{Unknown, Up, Down} {
		b, _ := v.MarshalText()
		var got Vote
		if err := got.UnmarshalText(b); err != nil || got != v {
			t.Errorf("%s: %s, %v", v, got, err)
		}
	}
	var v Vote
	if err := v.UnmarshalText([]byte("dead")); err == nil {
		t.Error("dead is taken for a vote")
	}
}
