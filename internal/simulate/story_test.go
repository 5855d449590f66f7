package simulate

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// outage is an instance in shadow whose cluster a was lost for a while, long
// ago and once more after a day.
func outage(d time.Duration) *source {
	s := newSource(policy(3*time.Second), failover.ModeShadow)
	for range 2 {
		s.run(10 * time.Minute)
		s.all("a", true)
		s.run(d)
		s.all("a", false)
		s.run(3 * time.Minute)
	}
	return s
}

func one(t *testing.T, r Result) failover.Judged {
	t.Helper()
	if len(r.Incidents) != 1 {
		t.Fatalf("%d incidents: %+v", len(r.Incidents), r.Incidents)
	}
	return r.Incidents[0]
}

// TestAnotherRideOutFlipsTheJudgement: what was needless under a hasty policy is
// a near miss, or nothing, under a patient one.
func TestAnotherRideOutFlipsTheJudgement(t *testing.T) {
	s := outage(6 * time.Second) // three misses make a vote, five successes end it
	tapes := s.end()
	hasty := replay(t, tapes, policy(3*time.Second), s.now)
	patient := replay(t, tapes, policy(12*time.Second), s.now)
	never := replay(t, tapes, policy(time.Minute), s.now)
	if len(hasty.Moves) != 2 || hasty.Counts[failover.Needless]+hasty.Counts[failover.Needed] != 2 {
		t.Errorf("hasty: %+v", hasty)
	}
	if len(patient.Moves) != 0 || patient.Counts[failover.NearMiss] != 2 {
		t.Errorf("patient: %+v", patient)
	}
	if len(never.Moves) != 0 || never.Counts[failover.Blip] != 2 {
		t.Errorf("never: %+v", never)
	}
	c, err := Compare(input(tapes, policy(3*time.Second), s.now), policy(12*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Incidents) != 2 || !strings.HasSuffix(c.Incidents[0].What, "-> near-miss, and it would not have moved") || c.Incidents[0].Sooner != 0 {
		t.Errorf("%+v", c.Incidents)
	}
	long := outage(40 * time.Second)
	if c, err = Compare(input(long.end(), policy(3*time.Second), long.now), policy(8*time.Second)); err != nil {
		t.Fatal(err)
	}
	if len(c.Incidents) != 2 || c.Incidents[1].What != "still needed" || c.Incidents[1].Sooner > -4*time.Second || c.Incidents[1].Sooner < -6*time.Second || c.Sooner != c.Incidents[0].Sooner+c.Incidents[1].Sooner || c.Ran.Gained <= c.Asked.Gained {
		t.Errorf("%+v", c.Incidents)
	}
}

// TestTheSameVotesGiveTheSameBytes, whatever their order.
func TestTheSameVotesGiveTheSameBytes(t *testing.T) {
	s := outage(20 * time.Second)
	tapes := s.end()
	var first []byte
	for i := range 3 {
		if i == 2 {
			slices.Reverse(tapes)
			tapes = append(tapes, tapes[0]) // read twice
		}
		c, err := Compare(input(tapes, policy(3*time.Second), s.now), policy(5*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = data
		} else if !bytes.Equal(first, data) {
			t.Fatalf("not the same:\n%s\n%s", first, data)
		}
	}
}

// TestAPersonIsInTheReplay: a move by hand makes an incident needed, and the
// pause of a person holds.
func TestAPersonIsInTheReplay(t *testing.T) {
	p := policy(3 * time.Second)
	s := newSource(p, failover.ModePropose)
	s.all("a", true)
	s.run(20 * time.Second)
	s.feed(failover.Command{Ref: "x", Do: failover.DoFailover, To: "b", By: "ann", Reason: "I see it"})
	s.run(30 * time.Second)
	if s.record.Active != "b" {
		t.Fatalf("ann could not move it: %+v", s.record)
	}
	s.all("a", false)
	s.run(time.Minute)
	tapes := s.end()
	r := replay(t, tapes, p, s.now)
	if j := one(t, r); j.Judgement != failover.Needed || j.Moved == nil || j.Moved.By != "ann" || j.Gained < 10*time.Second || len(r.Moves) != 1 {
		t.Errorf("%+v", j)
	}
	slow := policy(time.Minute)
	if j := one(t, replay(t, tapes, slow, s.now)); j.Judgement != failover.Missed || j.Moved == nil || j.Moved.By != "ann" {
		t.Errorf("%+v", j)
	}

	s = newSource(p, failover.ModeAuto)
	s.feed(failover.Command{Ref: "x", Do: failover.DoPause, By: "ann", Reason: "work"})
	s.run(time.Minute)
	s.all("a", true)
	s.run(30 * time.Second)
	s.all("a", false)
	s.run(time.Minute)
	if r := replay(t, s.end(), p, s.now); len(r.Moves) != 0 || one(t, r).Judgement != failover.Stopped {
		t.Errorf("%+v", r)
	}
}

// TestEveryIncidentIsAskedAboutByItself: in shadow nothing really moves, so a
// replayed move is taken back when the incident is over; what follows from the
// replay's own moves stays.
func TestEveryIncidentIsAskedAboutByItself(t *testing.T) {
	s := outage(30 * time.Second)
	tapes := s.end()
	if r := replay(t, tapes, policy(3*time.Second), s.now); len(r.Moves) != 2 || r.Moves[1].From != "a" || r.Counts[failover.Needed] != 2 {
		t.Errorf("%+v", r)
	}
	cool := policy(3 * time.Second)
	cool.Cooldown = time.Hour
	r := replay(t, tapes, cool, s.now)
	if len(r.Moves) != 1 || r.Counts[failover.Needed] != 1 || r.Counts[failover.Stopped] != 1 {
		t.Errorf("in a cool-down: %+v", r)
	}
	locked := policy(3 * time.Second)
	locked.Cooldown, locked.Budget = time.Second, []failover.Budget{{Moves: 1, Per: 24 * time.Hour}}
	r = replay(t, tapes, locked, s.now)
	if len(r.Moves) != 1 || !slices.ContainsFunc(r.Incidents[1].Guards, func(g failover.Spoke) bool { return g.Guard == failover.GuardLockout }) {
		t.Errorf("locked out: %+v", r)
	}
	acked := policy(3 * time.Second)
	acked.Cooldown, acked.NeedAck = time.Second, true
	if r = replay(t, tapes, acked, s.now); len(r.Moves) != 2 {
		t.Errorf("taken as acknowledged: %+v", r.Moves)
	}
}

// TestARestartIsAGap: the replay goes on in the next life and says what nobody saw.
func TestARestartIsAGap(t *testing.T) {
	j := restart(t, 2500*time.Millisecond) // ride_out is not over
	if len(j.Gaps) != 1 || j.WouldAt.Before(j.Gaps[0].To) || j.Gaps[0].To.Sub(j.Gaps[0].From) < time.Minute || j.Judgement != failover.Needed {
		t.Errorf("%+v", j)
	}
	j = restart(t, 30*time.Second) // it has moved, and a is still lost
	if len(j.Gaps) != 0 || j.Judgement != failover.Needed || !j.Moved.Auto {
		t.Errorf("%+v", j)
	}
	j = restart(t, 6*time.Second) // it has just moved, and nobody sees whether a comes back
	if len(j.Gaps) != 1 || j.Judgement != failover.Unjudged {
		t.Errorf("%+v", j)
	}
}

// TestWhatAKilledControllerHadInHandIsNotCovered: a replay cannot tell of it, and
// says so.
func TestWhatAKilledControllerHadInHandIsNotCovered(t *testing.T) {
	p := policy(3 * time.Second)
	s := newSource(p, failover.ModeShadow)
	s.all("a", true)
	s.run(20 * time.Second) // all on the tape in hand
	killed := s.now
	s.rec = failover.Recorder{}
	s.now = s.now.Add(time.Minute)
	again := s.now
	s.rec.Life = again.UnixMilli()
	s.all("a", false)
	s.begin(s.now, failover.Standing{Active: "a"}, 0)
	s.run(time.Minute)
	in := input(s.end(), p, s.now)
	in.Tapes = slices.DeleteFunc(in.Tapes, func(x failover.Tape) bool { return x.Life != again.UnixMilli() })
	for name, c := range map[string]struct {
		first failover.Recording
		from  time.Time
		why   string
	}{
		"killed":        {failover.Recording{From: t0, Until: killed.Add(-5 * time.Second)}, killed.Add(-35 * time.Second), "the controller died: the votes that it had in hand are lost, and nobody looked until it ran again"},
		"in good order": {failover.Recording{From: t0, Until: killed, Ended: true}, killed, "the controller did not run"},
		"dropped":       {failover.Recording{From: t0, Until: again, Ended: true, Dropped: 3}, t0, "3 lines were dropped"},
	} {
		in.Lives = []failover.Recording{{From: again, Until: s.now}, c.first}
		r, err := Replay(in)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Gaps) != 1 || !r.Gaps[0].From.Equal(c.from) || !r.From.After(c.from) || !r.Gaps[0].To.Equal(again) || !strings.Contains(r.Gaps[0].Why, c.why) {
			t.Errorf("%s: %+v", name, r.Gaps)
		}
		in.Since = again
		if r, err = Replay(in); err != nil || len(r.Gaps) != 0 {
			t.Errorf("%s, and later votes were asked for: %+v %v", name, r.Gaps, err)
		}
		in.Since = time.Time{}
	}
}

func restart(t *testing.T, seconds time.Duration) failover.Judged {
	t.Helper()
	p := policy(3 * time.Second)
	s := newSource(p, failover.ModeShadow)
	s.all("a", true)
	s.run(seconds)
	ended := s.now
	if tape := s.rec.Flush(s.now); tape != nil {
		s.keep(tape)
	}
	s.now = s.now.Add(time.Minute)
	s.rec = failover.Recorder{Life: s.now.UnixMilli()}
	again := s.now
	s.begin(s.now, failover.Standing{Active: "a"}, 0)
	s.run(time.Minute)
	r, err := Replay(Input{
		Tapes: s.end(), Policy: func(string) (failover.Policy, error) { return p, nil },
		Lives: []failover.Recording{{From: t0, Until: ended}, {From: again, Until: s.now}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return one(t, r)
}

// TestALongOutageIsThinAndWhole: after ten minutes only news is noted, and the
// replay knows all the same how long it lasted.
func TestALongOutageIsThinAndWhole(t *testing.T) {
	s := newSource(policy(3*time.Second), failover.ModeShadow)
	s.all("a", true)
	s.run(10 * time.Minute)
	before := size(s.tapes)
	if before < 30_000 {
		t.Errorf("%d bytes cannot be every report of ten minutes", before)
	}
	s.run(3 * time.Hour)
	if grown := size(s.tapes) - before; grown > 2*before/10 {
		t.Errorf("ten minutes took %d bytes, three hours more %d", before, grown)
	}
	s.all("a", false)
	s.run(time.Minute)
	j := one(t, replay(t, s.end(), policy(3*time.Second), s.now))
	if j.Judgement != failover.Needed || j.Gained < 3*time.Hour || j.Gained > 3*time.Hour+11*time.Minute {
		t.Errorf("%+v", j)
	}
	patient := one(t, replay(t, s.tapes, policy(2*time.Hour), s.now))
	if d := patient.WouldAt.Sub(patient.DownSince); d < 2*time.Hour || d > 2*time.Hour+2*time.Second {
		t.Errorf("after %s: %+v", d, patient)
	}
}

// TestASilentVantageIsNotInvented: a vantage that fell silent says nothing more
// in the replay either.
func TestASilentVantageIsNotInvented(t *testing.T) {
	s := newSource(policy(3*time.Second), failover.ModeShadow)
	s.mute["v3"] = true
	s.run(time.Minute)
	s.bad["v1a"], s.bad["v2a"] = true, true
	s.run(2 * time.Second)
	s.mute["v2"] = true
	s.run(time.Minute)
	if r := replay(t, s.end(), policy(3*time.Second), s.now); len(r.Moves) != 0 {
		t.Errorf("%+v", r.Moves)
	}
}

func size(ts []failover.Tape) (n int) {
	for _, t := range ts {
		data, _ := json.Marshal(t)
		n += len(data)
	}
	return n
}

// TestWhatADayTakes: a calm day takes nothing; one in which the active cluster
// flaps every minute is bounded.
func TestWhatADayTakes(t *testing.T) {
	s := newSource(policy(3*time.Second), failover.ModeShadow)
	was := len(s.end())
	s.run(time.Hour)
	if n := len(s.end()); n != was {
		t.Errorf("a calm hour made %d tapes", n-was)
	}
	for range 30 {
		s.all("a", true)
		s.run(20 * time.Second)
		s.all("a", false)
		s.run(40 * time.Second)
	}
	tapes := s.end()
	most := 0
	for i := range tapes {
		most = max(most, size(tapes[i:i+1]))
	}
	perDay := 48 * size(tapes)
	t.Logf("flapping once a minute: %d bytes a day in %d tapes, the largest %d bytes", perDay, 48*len(tapes), most)
	if perDay > 16<<20 || most > 16<<10 {
		t.Errorf("%d bytes a day, %d bytes in one tape", perDay, most)
	}
}

// TestBadVotesAreNamed: each mistake has its own error, and none a panic.
func TestBadVotesAreNamed(t *testing.T) {
	s := outage(10 * time.Second)
	good := s.end()
	edit := func(f func([]failover.Tape)) []failover.Tape {
		data, _ := json.Marshal(good)
		var out []failover.Tape
		if err := json.Unmarshal(data, &out); err != nil {
			t.Fatal(err)
		}
		f(out)
		return out
	}
	for name, c := range map[string]struct {
		tapes []failover.Tape
		is    error
		says  string
	}{
		"another instance": {edit(func(ts []failover.Tape) { ts[1].Instance = "other" }), ErrForeign, "a tape is of other, not orders"},
		"other clusters":   {edit(func(ts []failover.Tape) { ts[0].Clusters[1], ts[0].Standing.Active = "c", "a" }), ErrForeign, "about the clusters a and c"},
		"backwards":        {edit(func(ts []failover.Tape) { ts[1].From = ts[0].From.Add(-time.Hour) }), ErrBackwards, "come after"},
		"a newer form":     {edit(func(ts []failover.Tape) { ts[0].Version = 99 }), failover.ErrTapeVersion, "form 99"},
		"no head":          {edit(func(ts []failover.Tape) { ts[0].From = time.Time{} }), failover.ErrTape, "its head"},
		"no such active":   {edit(func(ts []failover.Tape) { ts[0].Standing.Active = "z" }), failover.ErrTape, `active is "z"`},
		"a bad note":       {edit(func(ts []failover.Tape) { ts[0].Notes[2] = "17 9 - -" }), failover.ErrTape, `note 3 "17 9 - -"`},
		"half a note":      {edit(func(ts []failover.Tape) { ts[0].Notes[0] = "17" }), failover.ErrTape, "too few words"},
		"a note behind":    {edit(func(ts []failover.Tape) { ts[0].Notes[1] = "99999999 0 u u" }), failover.ErrTape, "behind the end"},
		"for ever":         {edit(func(ts []failover.Tape) { ts[0].Until = ts[0].From.Add(1e6 * time.Hour) }), failover.ErrTape, "is longer than"},
		"ends too early":   {edit(func(ts []failover.Tape) { ts[0].Until = ts[0].From.Add(-1) }), failover.ErrTape, "ends before"},
		"too long":         {edit(func(ts []failover.Tape) { ts[0].Notes = make([]string, failover.MostTapeNotes+1) }), failover.ErrTape, "notes are more than"},
	} {
		_, err := Replay(input(c.tapes, policy(0), s.now))
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	lost := edit(func(ts []failover.Tape) {})
	lost = slices.Delete(lost, 1, 2)
	r := replay(t, lost, policy(3*time.Second), s.now)
	if len(r.Gaps) != 1 || !strings.Contains(r.Gaps[0].Why, "1 tapes of votes are lost") {
		t.Errorf("a lost tape: %+v", r.Gaps)
	}
	early := slices.Delete(edit(func(ts []failover.Tape) {}), 0, 1)
	if r = replay(t, early, policy(3*time.Second), s.now); len(r.Gaps) != 1 || !strings.Contains(r.Gaps[0].Why, "1 tapes of votes from before are not here") || !r.Gaps[0].From.Equal(t0) || !r.Gaps[0].To.Equal(early[0].From) {
		t.Errorf("the first tape is not there: %+v", r.Gaps)
	}
	if r, err := Replay(Input{}); err != nil || len(r.Moves) != 0 {
		t.Errorf("nothing: %+v %v", r, err)
	}
	in := input(edit(func(ts []failover.Tape) {
		ts[len(ts)-1].From, ts[len(ts)-1].Until = s.now.Add(9e5*time.Hour), s.now.Add(9e5*time.Hour)
	}), policy(time.Minute), s.now)
	in.MostSteps = 100_000
	in.Tapes[len(in.Tapes)-1].Notes = in.Tapes[len(in.Tapes)-1].Notes[:1]
	if _, err := Replay(in); err != nil && !errors.Is(err, ErrTooLong) {
		t.Errorf("in a century: %v", err)
	}
	in = input(good, policy(time.Minute), s.now)
	in.MostSteps = 10
	if _, err := Replay(in); !errors.Is(err, ErrTooLong) || !strings.Contains(err.Error(), "came as far as 2026-01-31T02:") {
		t.Errorf("too many steps: %v", err)
	}
	bad := policy(0)
	bad.Round = 0
	if _, err := Replay(input(good, bad, s.now)); !errors.Is(err, ErrPolicy) || !strings.Contains(err.Error(), "round: must be above 0") {
		t.Errorf("a damaged policy: %v", err)
	}
	c, err := Compare(Input{Tapes: good, Policy: func(string) (failover.Policy, error) { return failover.Policy{}, ErrPolicyGone }}, policy(0))
	if err != nil || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "policy cfg-3s: the policy that ran is not in the history; what is asked for") {
		t.Errorf("a policy that is gone: %q %v", c.Warnings, err)
	}
	if _, err := Compare(Input{Tapes: good, Policy: func(h string) (failover.Policy, error) { return failover.Policy{}, errors.New("gone " + h) }}, policy(0)); err == nil || !strings.Contains(err.Error(), "gone cfg-3s") {
		t.Errorf("a policy that is gone: %v", err)
	}
}

// FuzzReplay: whatever was recorded, a replay ends with a result or a named error.
func FuzzReplay(f *testing.F) {
	s := outage(5 * time.Second)
	data, err := json.Marshal(s.end())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("[]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var tapes []failover.Tape
		if json.Unmarshal(data, &tapes) != nil {
			return
		}
		in := input(tapes, policy(3*time.Second), s.now)
		in.MostSteps = 5000
		_, err := Compare(in, policy(5*time.Second))
		if err == nil {
			return
		}
		for _, known := range []error{failover.ErrTape, failover.ErrTapeVersion, ErrForeign, ErrBackwards, ErrTooMuch, ErrTooLong} {
			if errors.Is(err, known) {
				return
			}
		}
		t.Fatal(err)
	})
}

// TestKnobsThatVotesCannotAnswer: each is named, and what ran is taken.
func TestKnobsThatVotesCannotAnswer(t *testing.T) {
	ran := policy(3 * time.Second)
	ran.Generation = "g1"
	asked := ran
	asked.Round, asked.Timeout, asked.Burst, asked.Count = 2*ran.Round, ran.Timeout/2, ran.Burst/2, failover.CountPolicy{Fall: 9, Rise: 8, Window: 7, Ratio: 0.1}
	asked.Generation, asked.RideOut, asked.Cooldown = "g2", time.Hour, time.Hour
	asked.RPO = failover.RPO{Kind: failover.RPOZero}
	asked.Vantages = append(slices.Clone(ran.Vantages), failover.VantagePolicy{Name: "v9", Domain: "d9"})
	got, warnings := Knobs(ran, asked)
	var names []string
	for _, w := range warnings {
		name, _, _ := strings.Cut(w, ":")
		names = append(names, name)
	}
	if want := "round timeout burst fall rise window ratio checks or addresses vantages rpo"; strings.Join(names, " ") != want {
		t.Errorf("%q", names)
	}
	if got.Round != ran.Round || got.Timeout != ran.Timeout || got.Burst != ran.Burst || got.Count != ran.Count || got.RideOut != time.Hour || got.Cooldown != time.Hour {
		t.Errorf("%+v", got)
	}
	if _, w := Knobs(ran, ran); len(w) != 0 {
		t.Errorf("%q", w)
	}
}

// TestAMoveThatOldNewsLedTo: one domain has said down for so long that only its
// news is noted any more, and one more report of it, the same as those before,
// is what a move waited for. The replay moves at that report, not at the next.
func TestAMoveThatOldNewsLedTo(t *testing.T) {
	p := policy(3 * time.Second)
	p.Cooldown, p.MinUp = 20*time.Second, 5*time.Second
	s := newSource(p, failover.ModeAuto)
	s.bad["v2a"] = true
	s.run(13 * time.Minute)
	s.all("b", true)
	s.run(4 * time.Minute)
	s.all("b", false)
	s.run(5 * time.Second)
	s.bad["v3a"] = true
	s.run(12 * time.Second)
	r := replay(t, s.end(), p, s.now)
	if len(s.moves) != 1 || !slices.Equal(times(s.moves), times(r.Moves)) {
		t.Errorf("it moved\n%v\nthe replay\n%v", times(s.moves), times(r.Moves))
	}
}
