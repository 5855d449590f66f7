package failover

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestEachRuleOfTheJudge: one episode per judgement and per edge of its numbers.
// Times are seconds after the beginning; ride_out is 15 s, so would-moments are
// at 16 and the grace ends at 31.
func TestEachRuleOfTheJudge(t *testing.T) {
	t0 := time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC)
	at := func(s float64) time.Time { return t0.Add(time.Duration(s * float64(time.Second))) }
	base := Episode{
		ID: "e", Instance: "orders", Mode: "shadow", Active: "a", Standby: "b", Began: t0,
		Domains: 3, Quorum: 2, MostDown: 3, RideOut: 15 * time.Second, Grace: 15 * time.Second,
		DownSince: t0, DownAt: at(1), Longest: 16 * time.Second, RodeOutAt: at(16), WouldAt: at(16),
	}
	recovered := func(e *Episode, s float64) {
		e.End, e.UpAt, e.EndedAt, e.Watched = EndRecovered, at(s), at(s), true
	}
	never := func(e *Episode, gs ...Spoke) { e.WouldAt, e.Guards = time.Time{}, gs }
	notArmed := Spoke{Guard: GuardShadow, Kind: SpokeNotArmed}
	target, pause := Spoke{Guard: GuardTarget, Kind: SpokeWorld}, Spoke{Guard: GuardPaused, Kind: SpokeStop}
	person := func(s float64) *Moved { return &Moved{At: at(s), Kind: "failover", By: "ann", To: "b"} }
	ours := func(s float64) *Moved {
		return &Moved{At: at(s), Kind: "failover", Auto: true, Op: "orders-1.1", To: "b"}
	}
	for name, c := range map[string]struct {
		edit   func(*Episode)
		now    float64
		want   Judgement
		why    string
		gained float64
	}{
		"needed: it stayed lost":                         {func(e *Episode) { recovered(e, 100) }, 200, Needed, "a came back only 1m24s after the moment of the move", 84},
		"needed: still lost, the grace is over":          {func(*Episode) {}, 32, Needed, "a was not back 15s after", 16},
		"needed: a person moved it":                      {func(e *Episode) { e.End, e.Moved, e.EndedAt = EndMoved, person(20), at(20) }, 25, Needed, "failover to b at 2026-01-31T02:00:20Z by ann", 4},
		"needed: ours, and the old side stayed away":     {func(e *Episode) { e.End, e.Moved, e.Watched = EndMoved, ours(17), true }, 60, Needed, "was not back", 16},
		"needed: just after the grace":                   {func(e *Episode) { recovered(e, 31.001) }, 99, Needed, "came back only", 15.001},
		"needless: back at the end of the grace":         {func(e *Episode) { recovered(e, 31) }, 99, Needless, "a came back by itself 15s after the moment of the move", 0},
		"needless: ours, and the old side came back":     {func(e *Episode) { e.End, e.Moved, e.Watched, e.UpAt = EndMoved, ours(17), true, at(20) }, 60, Needless, "came back by itself", 0},
		"pending: the grace runs":                        {func(*Episode) {}, 20, Pending, "not known yet", 0},
		"pending: ours, the grace runs":                  {func(e *Episode) { e.End, e.Moved = EndMoved, ours(17) }, 20, Pending, "not known yet", 0},
		"unjudged: nobody looked after the moment":       {func(e *Episode) { e.Gaps = []Gap{{From: at(20), To: at(300)}}; recovered(e, 300) }, 400, Unjudged, "nobody looked", 0},
		"unjudged: all fell silent after the moment":     {func(e *Episode) { e.End, e.EndedAt, e.Watched = EndUnseen, at(20), true }, 99, Unjudged, "nobody could say", 0},
		"needed: a gap before the moment does not blind": {func(e *Episode) { e.Gaps = []Gap{{From: at(1), To: at(2)}}; recovered(e, 100) }, 200, Needed, "came back only", 84},
		"missed: refused, and a person moved it":         {func(e *Episode) { never(e, notArmed, target); e.End, e.Moved = EndMoved, person(90) }, 99, Missed, "refused by target, and failover to b at", 0},
		"missed: votes were short, a person moved it": {func(e *Episode) {
			never(e)
			e.MostDown, e.DownAt, e.RodeOutAt = 1, time.Time{}, time.Time{}
			e.End, e.Moved = EndMoved, person(90)
		}, 99, Missed, "at most 1 of 3 domains said down, 2 needed, and failover", 0},
		"missed: a person was faster than ride_out": {func(e *Episode) {
			never(e)
			e.RodeOutAt, e.Longest = time.Time{}, 9*time.Second
			e.End, e.Moved = EndMoved, person(9)
		}, 99, Missed, "down for 9s, and ride_out of 15s was not over", 0},
		"missed: refused, and lost for long":            {func(e *Episode) { never(e, target); e.DownNow = t0 }, 301, Missed, "a stayed lost for 5m1s", 0},
		"missed: the same, and it is over":              {func(e *Episode) { never(e, target); e.Longest = 400 * time.Second; recovered(e, 400) }, 999, Missed, "a stayed lost for 6m40s", 0},
		"pending: refused, and not yet lost for long":   {func(e *Episode) { never(e, target); e.DownNow = t0 }, 299, Pending, "it is not over", 0},
		"stopped: a pause stood":                        {func(e *Episode) { never(e, notArmed, pause); recovered(e, 100) }, 200, Stopped, "refused by paused, and it came back", 0},
		"stopped: a pause stood, and a person moved it": {func(e *Episode) { never(e, notArmed, pause); e.End, e.Moved = EndMoved, person(90) }, 200, Stopped, "refused by paused", 0},
		"missed: a pause stood, and the world refused":  {func(e *Episode) { never(e, pause, target); e.End, e.Moved = EndMoved, person(90) }, 200, Missed, "refused by paused, target", 0},
		"near miss: half of ride_out": {func(e *Episode) {
			never(e)
			e.RodeOutAt, e.Longest = time.Time{}, 7500*time.Millisecond
			recovered(e, 8)
		}, 99, NearMiss, "down for 7.5s of the 15s of ride_out", 0},
		"near miss: one vote short": {func(e *Episode) {
			never(e)
			e.MostDown, e.DownAt, e.RodeOutAt, e.Longest = 1, time.Time{}, time.Time{}, 0
			recovered(e, 8)
		}, 99, NearMiss, "1 of 3 domains said down, 2 needed", 0},
		"near miss: a guard refused, and it came back": {func(e *Episode) { never(e, notArmed, target); recovered(e, 100) }, 200, NearMiss, "refused by target, and it came back", 0},
		"near miss: nobody refused yet":                {func(e *Episode) { never(e); e.Mode = "auto"; recovered(e, 16.5) }, 99, NearMiss, "ride_out was over, and what a move still waited for had not come, and it came back", 0},
		"unjudged: the clock was set back":             {func(e *Episode) { recovered(e, -3600); e.UpAt = at(-3600) }, 99, Unjudged, "its times are out of order", 0},
		"unjudged: would have moved before it began":   {func(e *Episode) { e.WouldAt = at(-1); recovered(e, 100) }, 200, Unjudged, "its times are out of order", 0},
		"blip: less than half of ride_out":             {func(e *Episode) { never(e); e.RodeOutAt, e.Longest = time.Time{}, 7*time.Second; recovered(e, 8) }, 99, Blip, "down for 7s", 0},
		"blip: two votes short": {func(e *Episode) {
			never(e)
			e.Domains, e.Quorum, e.MostDown, e.DownAt, e.RodeOutAt = 5, 3, 1, time.Time{}, time.Time{}
			recovered(e, 8)
		}, 99, Blip, "at most 1 of 5 domains said down, 3 needed", 0},
		"pending: it has only begun":       {func(e *Episode) { never(e); e.DownAt, e.RodeOutAt, e.MostDown = time.Time{}, time.Time{}, 1 }, 3, Pending, "it is not over", 0},
		"unjudged: all fell silent before": {func(e *Episode) { never(e); e.RodeOutAt = time.Time{}; e.End, e.EndedAt = EndUnseen, at(9) }, 99, Unjudged, "nobody could say", 0},
	} {
		e := base
		c.edit(&e)
		j := Judge(e, at(c.now))
		if j.Judgement != c.want || !strings.Contains(j.Why, c.why) || j.Gained != time.Duration(c.gained*float64(time.Second)) {
			t.Errorf("%s: %s (%s), gained %s", name, j.Judgement, j.Why, j.Gained)
		}
	}
	if len(JudgeRules()) != len(Judgements) {
		t.Error("not every judgement has a rule")
	}
}

// TestTheScoreAddsUp: episodes are counted once, by their newest telling, and
// gaps go along.
func TestTheScoreAddsUp(t *testing.T) {
	t0 := time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC)
	e := Episode{ID: "x", Began: t0, Quorum: 2, Domains: 3, MostDown: 1, SeenTo: t0}
	late := e
	late.SeenTo, late.End, late.UpAt, late.Watched = t0.Add(time.Minute), EndRecovered, t0.Add(time.Minute), true
	old := e
	old.ID, old.Began = "old", t0.Add(-time.Hour)
	needed := Episode{ID: "y", Began: t0.Add(time.Hour), WouldAt: t0.Add(time.Hour), Grace: time.Second}
	s := ScoreOf([]Episode{needed, late, e, old}, []Gap{{From: t0, To: t0.Add(1), Why: "x"}}, t0, t0.Add(2*time.Hour))
	if s.Counts[NearMiss] != 1 || s.Counts[Needed] != 1 || s.Counts[Pending] != 0 || s.Gained != time.Hour || len(s.Judged) != 2 || len(s.Gaps) != 1 || s.Judged[0].ID != "x" {
		t.Errorf("%+v", s)
	}
}

// TestAbsurdTimesAddUp: a damaged line cannot turn the sum below zero.
func TestAbsurdTimesAddUp(t *testing.T) {
	var es []Episode
	for i := range 2 {
		es = append(es, Episode{ID: fmt.Sprint(i), Began: time.Time{}.Add(1), WouldAt: time.Time{}.Add(time.Hour), Grace: -time.Hour, End: EndRecovered, EndedAt: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)})
	}
	if s := ScoreOf(es, nil, time.Time{}, time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC)); s.Gained <= 0 {
		t.Errorf("%s gained: %+v", s.Gained, s.Counts)
	}
}

// TestNothingIsJudgedByTimeThatNobodySaw: an outage that was open when the
// controller went away is not said to have lasted until now.
func TestNothingIsJudgedByTimeThatNobodySaw(t *testing.T) {
	t0 := time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC)
	open := Episode{ID: "x", Began: t0, DownAt: t0, DownSince: t0, WouldAt: t0, Grace: time.Minute}
	for _, c := range []struct {
		gap  Gap
		want Judgement
	}{
		{Gap{From: t0.Add(time.Second)}, Pending},
		{Gap{From: t0.Add(time.Second), Vantage: "v2"}, Needed},
		{Gap{From: t0.Add(time.Second), To: t0.Add(time.Hour)}, Needed},
	} {
		if s := ScoreOf([]Episode{open}, []Gap{c.gap}, t0, t0.Add(2*time.Hour)); s.Counts[c.want] != 1 {
			t.Errorf("%+v: %+v", c.gap, s.Counts)
		}
	}
}

// TestUncoveredTimeIsNamed: what a history does not say is a gap of its own kind.
func TestUncoveredTimeIsNamed(t *testing.T) {
	t0 := time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC)
	at := func(m int) time.Time { return t0.Add(time.Duration(m) * time.Minute) }
	life := func(from, to int) Recording { return Recording{From: at(from), Until: at(to)} }
	for name, c := range map[string]struct {
		rs     []Recording
		silent []Silence
		is     []InstanceName
		want   string
	}{
		"all of it":                 {[]Recording{life(-9, 60)}, nil, nil, ""},
		"nothing":                   {nil, nil, nil, "0-now nothing says that a controller recorded"},
		"it began late":             {[]Recording{life(10, 60)}, nil, nil, "0-10 nothing was recorded before"},
		"a restart":                 {[]Recording{life(20, 60), life(-9, 15)}, nil, nil, "15-20 the controller did not run (it died at most 30s into this time)"},
		"a restart in good order":   {[]Recording{life(20, 60), {From: at(-9), Until: at(15), Ended: true}}, nil, nil, "15-20 the controller did not run"},
		"it runs no more":           {[]Recording{life(-9, 50)}, nil, nil, "50-now the controller has not recorded since"},
		"a damaged end":             {[]Recording{life(-9, 15), life(10, 4_000_000), life(20, 60)}, nil, nil, "10-60 what was recorded is said to have ended in the future: the clock was set back, or the line is damaged, 15-20 the controller did not run (it died"},
		"a clock that is ahead":     {[]Recording{life(-9, 61)}, nil, nil, ""},
		"a restart long ago":        {[]Recording{life(-20, -10), life(-5, 60)}, nil, nil, ""},
		"dropped":                   {[]Recording{{From: at(5), Until: at(60), Dropped: 3}}, nil, nil, "0-5 nothing was recorded before, 5-60 3 lines were dropped"},
		"pushed out":                {[]Recording{{From: at(-9), Until: at(60), Reach: at(30)}}, nil, nil, "0-30 older lines were pushed out"},
		"a vantage":                 {[]Recording{life(-9, 60)}, []Silence{{Vantage: "v2", From: at(3), To: at(4), Instances: 1, Names: []InstanceName{"orders"}}}, []InstanceName{"orders"}, "3-4 vantage v2 was silent"},
		"of another instance":       {[]Recording{life(-9, 60)}, []Silence{{Vantage: "v2", From: at(3), To: at(4), Instances: 1, Names: []InstanceName{"other"}}}, []InstanceName{"orders"}, ""},
		"of many, not all named":    {[]Recording{life(-9, 60)}, []Silence{{Vantage: "v2", From: at(3), Instances: 99, Names: []InstanceName{"other"}}}, []InstanceName{"orders"}, "3-now vantage v2 was silent"},
		"a silence before the time": {[]Recording{life(-9, 60)}, []Silence{{Vantage: "v2", From: at(-4), To: at(-3)}}, nil, ""},
	} {
		var got []string
		for _, g := range Uncovered(c.rs, c.silent, c.is, t0, at(60)) {
			to := "now"
			if !g.To.IsZero() {
				to = strings.TrimSuffix(g.To.Sub(t0).String(), "m0s")
			}
			from := strings.TrimSuffix(g.From.Sub(t0).String(), "m0s")
			if from == "0s" {
				from = "0"
			}
			to = strings.Replace(to, "1h0", "60", 1)
			got = append(got, from+"-"+to+" "+g.Why)
		}
		if g := strings.Join(got, ", "); !strings.HasPrefix(g, c.want) || strings.HasSuffix(c.want, "run") && g != c.want || c.want == "" && g != "" {
			t.Errorf("%s: %q, want %q", name, g, c.want)
		}
	}
}
