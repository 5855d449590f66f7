package simulate

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pointsman/internal/failover"
)

var t0 = time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC)

func policy(rideOut time.Duration) failover.Policy {
	p, err := failover.PresetPolicy(failover.PresetHTTP)
	if err != nil {
		panic(err)
	}
	p.Instance, p.By, p.Clusters, p.Primary, p.Expected = "orders", "ctl", [2]failover.ClusterName{"a", "b"}, "a", fmt.Sprint("cfg-", rideOut)
	p.Names = []failover.NamePolicy{{Name: "orders.test.", Provider: "replay", Zone: "test.", Embedded: true, Targets: map[failover.ClusterName]failover.Target{"a": "a.test.", "b": "b.test."}}}
	p.Vantages = []failover.VantagePolicy{{Name: "v1", Domain: "d1"}, {Name: "v2", Domain: "d2"}, {Name: "v3", Domain: "d3"}}
	p.RideOut = rideOut
	return p
}

// source is an instance that really runs, with vantages that look at clusters
// every round, each at its own moment, and everything recorded.
type source struct {
	*world
	rec   failover.Recorder
	tapes []failover.Tape
	count map[string]failover.Count // by vantage and cluster
	due   map[failover.VantageName]time.Time
	bad   map[string]bool // by vantage and cluster: its probes miss
	mute  map[failover.VantageName]bool
	sick  map[failover.VantageName]string
	lives []failover.Recording // that ended
}

// restart ends the controller in good order and starts it again after a while;
// the vantages went on looking.
func (s *source) restart(away time.Duration) {
	if s.record.Op != nil {
		return // an operation in hand outlasts a restart, which no replay shows
	}
	s.end()
	s.lives = append(s.lives, failover.Recording{From: time.UnixMilli(s.rec.Life), Until: s.now, Ended: true})
	stop := s.now.Add(away)
	for {
		var who failover.VantageName
		for _, v := range s.p.Vantages {
			if at := s.due[v.Name]; who == "" || at.Before(s.due[who]) {
				who = v.Name
			}
		}
		at := s.due[who]
		if !at.Before(stop) {
			break
		}
		s.due[who] = at.Add(s.p.Round)
		for _, c := range s.p.Clusters {
			k := string(who) + string(c)
			s.count[k] = s.count[k].Add(!s.bad[k], at.Add(-20*time.Millisecond), s.p.Count)
		}
	}
	s.now = stop
	s.rec = failover.Recorder{Life: stop.UnixMilli()}
	s.begin(stop, failover.StandingOf(&s.record), s.record.Epoch+1)
}

func newSource(p failover.Policy, mode failover.Mode) *source {
	s := &source{world: &world{p: p, steps: 1 << 40}}
	s.count, s.bad, s.mute, s.sick, s.due = map[string]failover.Count{}, map[string]bool{}, map[failover.VantageName]bool{}, map[failover.VantageName]string{}, map[failover.VantageName]time.Time{}
	for i, v := range p.Vantages {
		s.due[v.Name] = t0.Add(time.Duration(137*(i+1)) * time.Millisecond)
	}
	s.rec.Life = t0.UnixMilli()
	s.seen = func(before, after *failover.State, e failover.Event) {
		if t := s.rec.Note(before, after, &s.p, e, s.now); t != nil {
			s.keep(t)
		}
	}
	s.begin(t0, failover.Standing{Active: "a", Mode: failover.ModeAuto}, 0)
	if mode != failover.ModeAuto {
		s.edit(func(r *failover.Record) { r.Mode = mode })
	}
	s.run(2 * time.Minute)
	return s
}

// keep writes a tape and reads it again, as the history does.
func (s *source) keep(t *failover.Tape) {
	data, err := json.Marshal(t)
	if err != nil {
		panic(err)
	}
	var out failover.Tape
	if err := json.Unmarshal(data, &out); err != nil {
		panic(err)
	}
	s.tapes = append(s.tapes, out)
}

func (s *source) run(d time.Duration) {
	end := s.now.Add(d)
	for {
		var who failover.VantageName
		for _, v := range s.p.Vantages {
			if at := s.due[v.Name]; who == "" || at.Before(s.due[who]) {
				who = v.Name
			}
		}
		at := s.due[who]
		if at.After(end) {
			s.until(end)
			return
		}
		s.until(at)
		s.due[who] = at.Add(s.p.Round)
		r := failover.Report{Vantage: who, Generation: "g", Want: "g", Sick: s.sick[who], Clusters: map[failover.ClusterName]failover.Sighting{}}
		for _, c := range s.p.Clusters {
			k := string(who) + string(c)
			s.count[k] = s.count[k].Add(!s.bad[k], at.Add(-20*time.Millisecond), s.p.Count)
			x := s.count[k].Sighting(s.p.Count)
			x.Identity, x.Reason = x.Vote == failover.Up, "as counted"
			r.Clusters[c] = x
		}
		if !s.mute[who] {
			s.feed(r)
		}
	}
}

// all makes the probes of every vantage of a cluster miss, or succeed.
func (s *source) all(c failover.ClusterName, bad bool) {
	for _, v := range s.p.Vantages {
		s.bad[string(v.Name)+string(c)] = bad
	}
}

func (s *source) end() []failover.Tape {
	if t := s.rec.Flush(s.now); t != nil {
		s.keep(t)
	}
	return s.tapes
}

// failer is a test, or one run of a property.
type failer interface {
	Helper()
	Fatal(...any)
}

func replay(t failer, tapes []failover.Tape, p failover.Policy, until time.Time) Result {
	t.Helper()
	r, err := Replay(input(tapes, p, until))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func input(tapes []failover.Tape, p failover.Policy, until time.Time) Input {
	return Input{
		Tapes: tapes, Policy: func(string) (failover.Policy, error) { return p, nil },
		Lives: []failover.Recording{{From: t0, Until: until}},
	}
}

// TestTheSamePolicyGivesTheMovesThatHappened: for random histories of an armed
// instance, with cool-downs and acknowledgements, the replay moves when it did.
func TestTheSamePolicyGivesTheMovesThatHappened(t *testing.T) {
	moved := 0
	rapid.Check(t, func(t *rapid.T) {
		p := policy(rapid.SampledFrom([]time.Duration{0, 3 * time.Second, 10 * time.Second}).Draw(t, "ride_out"))
		p.Cooldown, p.MinUp = 20*time.Second, 5*time.Second
		s := newSource(p, failover.ModeAuto)
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			v := rapid.SampledFrom(p.Vantages).Draw(t, "vantage").Name
			c := rapid.SampledFrom(p.Clusters[:]).Draw(t, "cluster")
			switch rapid.SampledFrom([]string{"one bad", "one good", "all bad", "all bad", "all good", "all good", "mute", "heard", "sick", "well", "pause", "resume", "restart"}).Draw(t, "what") {
			case "restart":
				s.restart(rapid.SampledFrom([]time.Duration{5 * time.Second, 3 * time.Minute}).Draw(t, "away"))
			case "one bad":
				s.bad[string(v)+string(c)] = true
			case "one good":
				s.bad[string(v)+string(c)] = false
			case "all bad":
				s.all(c, true)
			case "all good":
				s.all(c, false)
			case "mute":
				s.mute[v] = true
			case "heard":
				s.mute[v] = false
			case "sick":
				s.sick[v] = "its controls do not answer"
			case "well":
				delete(s.sick, v)
			case "pause":
				s.feed(failover.Command{Ref: "x", Do: failover.DoPause, By: "ann", Reason: "work"})
			case "resume":
				s.feed(failover.Command{Ref: "x", Do: failover.DoResume, By: "ann"})
			}
			s.run(rapid.SampledFrom([]time.Duration{time.Second, 5 * time.Second, 12 * time.Second, time.Minute, 4 * time.Minute}).Draw(t, "time"))
		}
		r, err := Replay(Input{Tapes: s.end(), Policy: func(string) (failover.Policy, error) { return p, nil }, Lives: append(s.lives, failover.Recording{From: time.UnixMilli(s.rec.Life), Until: s.now})})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(times(s.moves), times(r.Moves)) {
			t.Fatalf("it moved\n%v\nthe replay\n%v", times(s.moves), times(r.Moves))
		}
		moved += len(s.moves)
	})
	if moved < 5 {
		t.Errorf("only %d moves in all histories", moved)
	}
}

func times(ms []Move) (out []string) {
	for _, m := range ms {
		out = append(out, fmt.Sprintf("%s %s->%s", m.At.Sub(t0), m.From, m.To))
	}
	return out
}
