package report

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// tapeSample is a recorded tape of one vantage, van-2: each note is what it said
// of cluster a from so many minutes after the beginning on; "." is silence.
func tapeSample(at time.Time, seq int, notes ...string) ledger.Sample {
	t := failover.Tape{
		Version: failover.TapeVersion, Instance: "orders", Life: 1, Seq: seq, From: at, Until: at.Add(time.Hour),
		Clusters: [2]failover.ClusterName{"a", "b"}, Vantages: []failover.VantageName{"van-2"}, Standing: failover.Standing{Active: "a"},
	}
	for i, n := range notes {
		ms := i * 60_000
		if n == "." {
			t.Notes = append(t.Notes, fmt.Sprintf("%d . 0", ms))
			continue
		}
		t.Notes = append(t.Notes, fmt.Sprintf("%d 0 %s u", ms, n))
	}
	data, err := json.Marshal(t)
	if err != nil {
		panic(err)
	}
	return ledger.Sample{At: at, Instance: "orders", Kind: ledger.KindVotes, Data: data}
}

// TestWhatAVantageSaidOverTheWindow: what is not told goes on, what may have
// been pushed out, was not seen or was not read is a gap.
func TestWhatAVantageSaidOverTheWindow(t *testing.T) {
	from := at("2026-11-28T00:00:00Z")
	to := from.Add(10 * time.Hour)
	h := func(n float64) time.Time { return from.Add(time.Duration(n * float64(time.Hour))) }
	min := time.Minute
	for _, c := range []struct {
		name  string
		lives []Life
		tapes []ledger.Sample // newest first
		want  Availability
	}{
		{"nothing stirred", []Life{{From: h(-1), Until: to}}, nil, Availability{Up: 10 * time.Hour}},
		{"nobody recorded", nil, nil, Availability{Gap: 10 * time.Hour}},
		{"down for a minute", []Life{{From: h(-1), Until: to}}, []ledger.Sample{tapeSample(h(2), 1, "u", "d", "u")}, Availability{Up: 10*time.Hour - min, Down: min}},
		{"silent for a minute", []Life{{From: h(-1), Until: to}}, []ledger.Sample{tapeSample(h(2), 1, "u", ".", "u")}, Availability{Up: 10*time.Hour - min, Unknown: min}},
		{"from one tape to the next", []Life{{From: h(-1), Until: to}}, []ledger.Sample{tapeSample(h(5), 2, "d", "u"), tapeSample(h(2), 1, "u", "d")}, Availability{Up: 7*time.Hour - 0, Down: 3 * time.Hour}},
		{"what was before may have been pushed out", []Life{{From: h(-1), Until: to}}, []ledger.Sample{tapeSample(h(2), 7, "u", "d", "u")}, Availability{Up: 8*time.Hour - min, Down: min, Gap: 2 * time.Hour}},
		{"an older tape is there", []Life{{From: h(-9), Until: to}}, []ledger.Sample{tapeSample(h(2), 7, "u", "d", "u"), tapeSample(h(-3), 6, "d", "u")}, Availability{Up: 10*time.Hour - min, Down: min}},
		{"a restart", []Life{{From: h(-1), Until: h(4)}, {From: h(5), Until: to}}, []ledger.Sample{tapeSample(h(6), 1, "d", "u"), tapeSample(h(2), 1, "u", "d")}, Availability{Up: 2*time.Hour + min + 4*time.Hour - min, Down: 2*time.Hour - min + time.Hour + min, Gap: time.Hour}},
		{"a life without any tape", []Life{{From: h(-1), Until: h(4)}, {From: h(5), Until: to}}, nil, Availability{Up: 5 * time.Hour, Gap: 5 * time.Hour}},
		{"a tape that cannot be read", []Life{{From: h(-1), Until: to}}, []ledger.Sample{{At: h(2), Instance: "orders", Kind: ledger.KindVotes, Data: []byte(`{"notes":["x"]}`)}}, Availability{Up: 10 * time.Hour}},
	} {
		b := NewBuilder(Head{Name: "x", MadeAt: to, From: from, To: to}, all)
		b.Lives((&tape{lives: c.lives}).told())
		for _, s := range c.tapes {
			if !b.Tape(s) {
				break
			}
		}
		f := healthy("orders", to)
		b.Instance(&f)
		r := b.Report(nil)
		got := *r.Instances[0].Clusters[0].Vantages[1].Window
		if got.Up != c.want.Up || got.Down != c.want.Down || got.Unknown != c.want.Unknown || got.Gap != c.want.Gap {
			t.Errorf("%s: up %s, down %s, unknown %s, gap %s; want %+v", c.name, got.Up, got.Down, got.Unknown, got.Gap, c.want)
		}
		if odd := c.name == "a tape that cannot be read"; odd != (r.Coverage.Unread == 1) {
			t.Errorf("%s: %d could not be read", c.name, r.Coverage.Unread)
		}
	}
}

// TestATapeThatIsStillInHand: votes come into the history up to half a minute
// later than they were said. What a vantage says now and no tape tells is not
// what it said before.
func TestATapeThatIsStillInHand(t *testing.T) {
	from := at("2026-11-28T00:00:00Z")
	to := from.Add(10 * time.Hour)
	moved := (&tape{})
	moved.verdict(to.Add(-10*time.Second), "orders", "a", "up", "down")
	for _, c := range []struct {
		name    string
		tapes   []ledger.Sample
		samples []ledger.Sample
		want    Availability
	}{
		{"it was up on the newest tape", []ledger.Sample{tapeSample(from.Add(2*time.Hour), 1, "u", "d", "u")}, moved.samples, Availability{Up: 10*time.Hour - 2*time.Minute, Down: time.Minute, Gap: time.Minute}},
		{"the newest tape is younger than that", []ledger.Sample{tapeSample(to.Add(-80*time.Second), 1, "d", "u")}, moved.samples, Availability{Down: 10*time.Hour - 20*time.Second, Gap: 20 * time.Second}},
		{"there is no tape, and the verdict has just changed", nil, moved.samples, Availability{Gap: 10 * time.Hour}},
		{"there is no tape, and nothing stirred", nil, nil, Availability{Down: 10 * time.Hour}},
	} {
		b := NewBuilder(Head{Name: "x", MadeAt: to, From: from, To: to}, all)
		b.Lives((&tape{lives: []Life{{From: from.Add(-time.Hour), Until: to}}}).told())
		for _, s := range c.samples {
			b.Sample(s)
		}
		for _, s := range c.tapes {
			b.Tape(s)
		}
		f := healthy("orders", to)
		f.View.Clusters[0].Verdict, f.View.Clusters[0].Votes[1].Vote = failover.Down, failover.Down
		b.Instance(&f)
		got := *b.Report(nil).Instances[0].Clusters[0].Vantages[1].Window
		if got.Up != c.want.Up || got.Down != c.want.Down || got.Unknown != c.want.Unknown || got.Gap != c.want.Gap {
			t.Errorf("%s: up %s, down %s, unknown %s, gap %s; want %+v", c.name, got.Up, got.Down, got.Unknown, got.Gap, c.want)
		}
	}
}
