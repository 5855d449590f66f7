package failover

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// inShadow is a world at rest for a minute that was never armed.
func inShadow(p Policy) *world {
	w := newWorld(p)
	w.quiet = true
	w.start()
	w.settleUp()
	w.after(time.Minute)
	return w
}

// told is the newest telling of the world's only episode.
func (w *world) told(t *testing.T) Episode {
	t.Helper()
	es := Newest(w.episodes)
	if len(es) != 1 {
		t.Fatalf("%d episodes: %+v", len(es), es)
	}
	return es[0]
}

// TestAnEpisodeTellsWhatWouldHaveBeenDone: from the first vote to the recovery.
func TestAnEpisodeTellsWhatWouldHaveBeenDone(t *testing.T) {
	w := inShadow(testPolicy())
	if len(w.episodes) > 0 {
		t.Fatalf("calm: %+v", w.episodes)
	}
	began := w.now
	w.vote("v1", "a", "down", "refused")
	w.report("v1")
	w.after(time.Second)
	w.all("a", "down", "refused")
	w.after(5 * time.Second)
	e := w.told(t)
	if e.Instance != "orders" || e.Mode != "shadow" || e.Active != "a" || e.Standby != "b" || !e.Began.Equal(began) || e.End != "" {
		t.Fatalf("%+v", e)
	}
	if e.Domains != 3 || e.Quorum != 2 || e.MostDown != 3 || e.Short() != 0 || !e.DownAt.Equal(began.Add(time.Second)) {
		t.Errorf("votes: %+v", e)
	}
	if want := e.DownSince.Add(w.p.RideOut); e.WouldAt.Before(want) || e.WouldAt.Sub(want) > w.p.Round || !e.RodeOutAt.Equal(e.WouldAt) {
		t.Errorf("would move at %s, ride_out was over at %s", e.WouldAt, want)
	}
	if !slices.ContainsFunc(e.Guards, func(s Spoke) bool { return s.Guard == GuardShadow && s.Kind == SpokeNotArmed && s.Why != "" }) || len(e.Guards) != 1 {
		t.Errorf("guards: %+v", e.Guards)
	}
	if len(e.Evidence) != 8 || !strings.Contains(strings.Join(e.Evidence, "\n"), "v1 in d1 says down of a: refused") {
		t.Errorf("evidence: %q", e.Evidence)
	}
	w.all("a", "up", "200")
	up := w.now
	w.after(10 * time.Second)
	e = w.told(t)
	if e.End != EndRecovered || !e.UpAt.Equal(up) || !e.EndedAt.Equal(up) || !e.Watched || e.Longest < 5*time.Second {
		t.Errorf("the end: %+v", e)
	}
	if n := len(w.episodes); n > 8 {
		t.Errorf("it was told %d times", n)
	}
	if !w.watch.Calm(&w.s) {
		t.Error("the watch goes on after the end")
	}
}

// TestAnEpisodeNamesTheGuardsThatSpoke: what refused, and of which kind it is.
func TestAnEpisodeNamesTheGuardsThatSpoke(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(w *world)
		want string
	}{
		"the standby is down for one": {func(w *world) {
			w.vote("v2", "b", "down", "x")
			w.vote("v3", "b", "unknown", "y")
			w.after(time.Second)
		}, "target world, correlated world"},
		"a pause":                    {func(w *world) { w.command(Command{Do: DoPause, Reason: "work"}) }, "paused stop"},
		"one domain is not informed": {func(w *world) { w.fault["mute v3"] = "always mute"; w.after(3 * time.Second) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := inShadow(testPolicy())
			c.do(w)
			for _, v := range []VantageName{"v1", "v2"} {
				w.vote(v, "a", "down", "refused")
				w.report(v)
			}
			w.after(6 * time.Second)
			e := w.told(t)
			var got []string
			for _, g := range e.Guards {
				if g.Kind != SpokeNotArmed {
					got = append(got, fmt.Sprintf("%s %s", g.Guard, g.Kind))
				}
			}
			if strings.Join(got, ", ") != c.want || (c.want == "") == e.WouldAt.IsZero() {
				t.Errorf("%q spoke, want %q; it would have moved at %s", got, c.want, e.WouldAt)
			}
		})
	}
}

// TestAnEpisodeEndsWithTheMove: a person, pointsman, or an adopted edit.
func TestAnEpisodeEndsWithTheMove(t *testing.T) {
	p := testPolicy()
	p.RideOut = time.Minute
	w := inShadow(p)
	w.command(Command{Do: DoArm, Mode: ModePropose})
	w.all("a", "down", "refused")
	w.after(10 * time.Second)
	w.command(Command{Do: DoFailover, To: "b", By: "ann", Reason: "I know"})
	w.after(10 * time.Second)
	e := w.told(t)
	if m := e.Moved; e.End != EndMoved || m == nil || m.Auto || m.By != "ann" || m.Op == "" || m.Kind != "failover" || m.To != "b" || !e.WouldAt.IsZero() || e.Watched {
		t.Fatalf("%+v", e)
	}
	w.after(2 * time.Minute)
	if e = w.told(t); !e.Watched || !e.UpAt.IsZero() {
		t.Errorf("a did not come back: %+v", e)
	}

	if (&Op{Auto: true, Approvals: []Approval{{}}}).byItself() || !(&Op{Auto: true}).byItself() {
		t.Error("what people approved counts as by itself")
	}
	w = armed(testPolicy())
	w.episodes = nil
	w.all("a", "down", "refused")
	w.after(6 * time.Second)
	w.all("a", "up", "200")
	up := w.now
	w.after(10 * time.Second)
	e = w.told(t)
	if m := e.Moved; m == nil || !m.Auto || m.Op != w.ledger.LastOp.Op.ID || !e.WouldAt.Equal(w.ledger.LastOp.Op.Since) || !e.UpAt.Equal(up) || !e.Watched {
		t.Errorf("moved by pointsman: %+v", e)
	}
}

// TestAnEpisodeOutlastsARestart: it goes on, and the gap is in it.
func TestAnEpisodeOutlastsARestart(t *testing.T) {
	w := inShadow(testPolicy())
	w.all("a", "down", "refused")
	w.after(2 * time.Second)
	e := w.told(t)
	seen := w.now
	w.now = w.now.Add(20 * time.Second)
	back := w.now
	w.watch = Resume(e, seen, w.now)
	w.start()
	w.after(10 * time.Second)
	e = w.told(t)
	if len(e.Gaps) != 1 || !e.Gaps[0].From.Equal(seen) || e.Gaps[0].To.Before(back) || e.Restart != 1 || e.WouldAt.Before(back) {
		t.Fatalf("%+v", e)
	}
	w.all("a", "up", "200")
	w.after(10 * time.Second)
	if e = w.told(t); e.End != EndRecovered {
		t.Errorf("%+v", e)
	}

	// It came back while nobody looked.
	w = inShadow(testPolicy())
	w.all("a", "down", "refused")
	w.after(2 * time.Second)
	e, seen = w.told(t), w.now
	w.now = w.now.Add(20 * time.Second)
	for _, v := range w.p.Vantages {
		w.vote(v.Name, "a", "up", "200")
	}
	w.watch = Resume(e, seen, w.now)
	w.start()
	w.after(20 * time.Second)
	if e = w.told(t); e.End != EndRecovered || len(e.Gaps) != 1 {
		t.Errorf("%+v", e)
	}
	if got := Resume(e, seen, w.now); got.Open() != nil {
		t.Error("a finished episode goes on")
	}
}

// TestWhatComesBackWithinRideOutIsTheSameEpisode, and what comes later is another.
func TestWhatComesBackWithinRideOutIsTheSameEpisode(t *testing.T) {
	w := inShadow(testPolicy())
	for _, c := range []struct {
		up   time.Duration
		want int
	}{{2 * time.Second, 1}, {6 * time.Second, 2}} {
		w.all("a", "down", "refused")
		w.after(time.Second)
		w.all("a", "up", "200")
		w.after(c.up)
		w.all("a", "down", "refused")
		w.after(time.Second)
		if n := len(Newest(w.episodes)); n != c.want {
			t.Errorf("up for %s: %d episodes, want %d", c.up, n, c.want)
		}
	}
}

// TestNobodyKnowsIsNoRecovery: when all vantages fall silent, it is not over well.
func TestNobodyKnowsIsNoRecovery(t *testing.T) {
	w := inShadow(testPolicy())
	w.all("a", "down", "refused")
	w.after(2 * time.Second)
	for _, v := range w.p.Vantages {
		w.fault["mute "+string(v.Name)] = "always mute"
	}
	w.after(20 * time.Second)
	if e := w.told(t); e.End != EndUnseen || !e.UpAt.IsZero() || Judge(e, w.now).Judgement != Unjudged {
		t.Errorf("%+v", e)
	}
}

// TestTheWouldMomentIsWhenAnArmedCopyStarts: for random histories of votes an
// instance in shadow would have moved at the very moment at which an armed copy
// of it did, and not when the copy did not.
func TestTheWouldMomentIsWhenAnArmedCopyStarts(t *testing.T) {
	moved := 0
	rapid.Check(t, func(t *rapid.T) {
		p := testPolicy()
		p.RideOut = rapid.SampledFrom([]time.Duration{0, time.Second, 3 * time.Second}).Draw(t, "ride_out")
		p.MinUp = rapid.SampledFrom([]time.Duration{0, 5 * time.Second}).Draw(t, "min_up")
		if rapid.Bool().Draw(t, "more") {
			p.Vantages = append(p.Vantages, VantagePolicy{"v4", "d1"}, VantagePolicy{"v5", "d4"})
		}
		dark, live := inShadow(p), inShadow(p)
		live.command(Command{Do: DoArm, Mode: ModeAuto})
		var started time.Time
		live.decided = func(c Commit) {
			if op := c.Record.Op; op != nil && op.Auto && started.IsZero() {
				started = live.now
			}
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			v := rapid.SampledFrom(p.Vantages).Draw(t, "vantage").Name
			c := rapid.SampledFrom([]ClusterName{"a", "a", "a", "b"}).Draw(t, "cluster")
			what := rapid.SampledFrom([]string{"down", "down", "down", "up", "unknown", "all down", "sick", "well", "mute", "heard", "pause", "resume", "tilt"}).Draw(t, "what")
			d := rapid.SampledFrom([]time.Duration{0, 300 * time.Millisecond, time.Second, 2500 * time.Millisecond, 7 * time.Second}).Draw(t, "time")
			for _, w := range []*world{dark, live} {
				switch what {
				case "all down":
					w.all(c, "down", "refused")
				case "sick":
					w.sick[v] = "its controls do not answer"
				case "well":
					delete(w.sick, v)
				case "mute":
					w.fault["mute "+string(v)] = "always mute"
				case "heard":
					delete(w.fault, "mute "+string(v))
				case "pause":
					w.command(Command{Do: DoPause, Reason: "x"})
				case "resume":
					w.command(Command{Do: DoResume})
				case "tilt":
					w.feed(Tilted{Stall: 3 * time.Second})
				default:
					w.vote(v, c, what, "told so")
					w.report(v)
				}
				w.after(d)
			}
			var would time.Time
			for _, e := range Newest(dark.episodes) {
				if !e.WouldAt.IsZero() {
					would = e.WouldAt
					break
				}
			}
			if !would.Equal(started) {
				t.Fatalf("in shadow it would have moved at %v, the armed copy did at %v\n%+v", would, started, Newest(dark.episodes))
			}
			if !started.IsZero() {
				moved++
				i := slices.IndexFunc(live.episodes, func(e Episode) bool { return !e.WouldAt.IsZero() })
				if i < 0 || !live.episodes[i].WouldAt.Equal(started) {
					t.Fatalf("the armed copy's own episode says %+v", live.episodes)
				}
				return
			}
		}
		if dark.ledger.Active != "a" || dark.ledger.Op != nil {
			t.Fatal("it moved in shadow")
		}
	})
	if moved == 0 {
		t.Error("no history came to a move")
	}
}

// TestWatchingChangesNothing: a state is the same after it was watched.
func TestWatchingChangesNothing(t *testing.T) {
	w := inShadow(testPolicy())
	w.all("a", "down", "refused")
	w.after(5 * time.Second)
	before := fmt.Sprintf("%+v", w.s)
	var watch Watch
	for range 3 {
		watch, _ = watch.See(&w.s, &w.p, w.now)
	}
	if fmt.Sprintf("%+v", w.s) != before {
		t.Error("the state changed")
	}
	open := *watch.Open()
	for range 3 {
		watch, _ = watch.See(&w.s, &w.p, w.now.Add(time.Minute))
	}
	if fmt.Sprint(open.Guards[0].Last) == fmt.Sprint(w.now.Add(time.Minute)) {
		t.Error("an episode that was handed out changed")
	}
}

// BenchmarkWatchCalm is what the watch costs an instance with nothing to tell.
func BenchmarkWatchCalm(b *testing.B) {
	w := inShadow(testPolicy())
	var watch Watch
	b.ReportAllocs()
	for b.Loop() {
		watch, _ = watch.See(&w.s, &w.p, w.now)
	}
}

// BenchmarkWatchDown is what it costs while the active cluster is lost.
func BenchmarkWatchDown(b *testing.B) {
	w := inShadow(testPolicy())
	w.all("a", "down", "refused")
	w.after(5 * time.Second)
	b.ReportAllocs()
	for b.Loop() {
		w.watch, _ = w.watch.See(&w.s, &w.p, w.now)
	}
}

// TestOneDomainThatGoesOnSayingDownHidesNoRecovery: what the quorum says ends an
// outage. A domain with a trouble of its own neither makes it last nor swallows
// the next one.
func TestOneDomainThatGoesOnSayingDownHidesNoRecovery(t *testing.T) {
	w := inShadow(testPolicy())
	w.all("a", "down", "refused")
	w.after(5 * time.Second) // it would have moved
	back := func() time.Time {
		for _, v := range []VantageName{"v1", "v2"} {
			w.vote(v, "a", "up", "200")
			w.report(v)
		}
		return w.now
	}
	up := back()
	w.after(time.Second)
	e := w.told(t)
	if !e.UpAt.Equal(up) || Judge(e, w.now.Add(time.Hour)).Judgement != Needless {
		t.Errorf("the quorum says up: %s, %+v", Judge(e, w.now.Add(time.Hour)).Judgement, e)
	}
	w.after(9 * time.Second)
	for _, v := range []VantageName{"v1", "v2"} {
		w.vote(v, "a", "down", "refused")
		w.report(v)
	}
	w.after(20 * time.Second)
	back()
	w.after(10 * time.Second)
	es := Newest(w.episodes)
	if len(es) != 3 || es[0].End != EndRecovered || es[1].End != EndRecovered || es[1].WouldAt.IsZero() || es[2].End != "" {
		t.Fatalf("two outages and what is left are %d episodes: %+v", len(es), es)
	}
	if j := Judge(es[1], w.now); j.Judgement != Needed || es[1].MostDown != 3 {
		t.Errorf("the second: %s, %s", j.Judgement, j.Why)
	}
	w.all("a", "up", "200")
	quiet := w.now
	w.after(10 * time.Second)
	if e := Newest(w.episodes)[2]; e.End != EndRecovered || !e.UpAt.Equal(quiet) {
		t.Errorf("nobody says down since %s: %+v", quiet, e)
	}
}

// TestAnOutageThatIsNoneAnyMoreDoesNotLast: while one domain says down and the
// quorum does not, no outage grows.
func TestAnOutageThatIsNoneAnyMoreDoesNotLast(t *testing.T) {
	w := inShadow(testPolicy())
	w.all("a", "down", "refused")
	w.after(time.Second)
	for _, v := range []VantageName{"v1", "v2"} {
		w.vote(v, "a", "unknown", "no controls")
		w.report(v)
	}
	w.after(2 * time.Second)
	if j := Judge(w.told(t), w.now.Add(time.Hour)); j.Judgement != Pending {
		t.Errorf("%s: %s", j.Judgement, j.Why)
	}
	w.command(Command{Do: DoPause, Reason: "work"})
	w.all("a", "down", "refused")
	w.after(5 * time.Second)
	if j := Judge(w.told(t), w.now.Add(time.Hour)); j.Judgement != Stopped || !strings.Contains(j.Why, "stayed lost for 1h0m") {
		t.Errorf("%s: %s, down since %s", j.Judgement, j.Why, j.DownNow)
	}
}

// TestTheEvidenceIsOfItsMoment: of the one at which it would have moved, and
// before one comes, of the end of ride_out.
func TestTheEvidenceIsOfItsMoment(t *testing.T) {
	w := inShadow(testPolicy())
	w.command(Command{Do: DoPause, Reason: "work"})
	w.all("a", "down", "refused")
	w.after(6 * time.Second)
	if e := w.told(t); !e.WouldAt.IsZero() || !strings.Contains(strings.Join(e.Evidence, "\n"), "says down of a: refused") {
		t.Fatalf("when ride_out was over: %q", e.Evidence)
	}
	w.all("a", "down", "no route")
	w.after(time.Second)
	if e := w.told(t); !strings.Contains(strings.Join(e.Evidence, "\n"), "refused") {
		t.Errorf("it is not of the end of ride_out any more: %q", e.Evidence)
	}
	w.command(Command{Do: DoResume})
	w.after(2 * time.Second)
	if e := w.told(t); e.WouldAt.IsZero() || !strings.Contains(strings.Join(e.Evidence, "\n"), "says down of a: no route") {
		t.Errorf("when it would have moved: %q", e.Evidence)
	}
}

// TestManyGapsAreBounded: of an episode that outlasts many restarts; and no gap
// begins before what the episode itself has seen.
func TestManyGapsAreBounded(t *testing.T) {
	at := time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC)
	e := Episode{ID: "e", Began: at, SeenTo: at.Add(time.Minute)}
	for range 3 * mostGaps {
		w := Resume(e, at, at.Add(time.Hour)) // the newest beat was before its newest telling
		e = *w.Open()
		if !e.Gaps[0].From.Equal(e.SeenTo) {
			t.Fatalf("%+v", e.Gaps)
		}
		e.resumed(at.Add(time.Hour))
	}
	if n := len(e.Gaps); n != mostGaps || e.Restart != 3*mostGaps || !strings.HasPrefix(e.Gaps[n-1].Why, "several, the last of them") || len(e.Gaps[n-1].Why) > 200 {
		t.Errorf("%d gaps: %+v", n, e.Gaps[n-1])
	}
}
