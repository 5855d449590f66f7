package report

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"pointsman/internal/failover"
)

// letters writes a strip as one letter for each hour of it.
func letters(s []Stretch, from, to time.Time) string {
	word := map[State]byte{IsUp: 'u', IsDown: 'd', IsUnknown: '?', IsGap: '.'}
	out := []byte{}
	for at := from; at.Before(to); at = at.Add(time.Hour) {
		c := byte('!') // nothing lies here
		for _, x := range s {
			if mid := at.Add(30 * time.Minute); !mid.Before(x.From) && mid.Before(x.To) {
				c = word[x.State]
			}
		}
		out = append(out, c)
	}
	return string(out)
}

// TestAvailabilityIsNeverMoreThanWasRecorded: twelve hours, hour by hour.
func TestAvailabilityIsNeverMoreThanWasRecorded(t *testing.T) {
	from := at("2026-11-28T00:00:00Z")
	to := from.Add(12 * time.Hour)
	h := func(n float64) time.Time { return from.Add(time.Duration(n * float64(time.Hour))) }
	i, a := failover.InstanceName("orders"), failover.ClusterName("a")
	for _, c := range []struct {
		name string
		now  failover.Vote
		tape func(p *tape)
		want string
	}{
		{"nothing at all", failover.Up, func(*tape) {}, "............"},
		{"nothing changed", failover.Up, func(p *tape) { p.life(h(-1), to) }, "uuuuuuuuuuuu"},
		{"nothing changed, and it is not known now", failover.Unknown, func(p *tape) { p.life(h(-1), to) }, "????????????"},
		{"one outage", failover.Up, func(p *tape) {
			p.life(h(-1), to)
			p.verdict(h(3), i, a, "up", "down")
			p.verdict(h(5), i, a, "down", "up")
		}, "uuudduuuuuuu"},
		{"the beats end", failover.Up, func(p *tape) { p.life(h(-1), h(6)) }, "uuuuuu......"},
		{"it begins, and nothing was seen", failover.Up, func(p *tape) { p.life(h(4), to) }, "............"},
		{"it begins", failover.Up, func(p *tape) {
			p.life(h(4), to)
			p.verdict(h(4).Add(time.Second), i, a, "unknown", "up")
		}, "....uuuuuuuu"},
		{"a restart", failover.Up, func(p *tape) {
			p.life(h(-40), h(4))
			p.start(h(7))
			p.verdict(h(7).Add(time.Second), i, a, "unknown", "up")
			p.beats(to)
		}, ".......uuuuu"},
		{"a restart, with what was before", failover.Up, func(p *tape) {
			p.verdict(h(-30), i, a, "unknown", "up")
			p.life(h(-40), h(4))
			p.start(h(7))
			p.verdict(h(7).Add(time.Second), i, a, "unknown", "down")
			p.verdict(h(9), i, a, "down", "up")
			p.beats(to)
		}, "uuuu...dduuu"},
		{"a restart before the window hides what was before it", failover.Up, func(p *tape) {
			p.verdict(h(-30), i, a, "unknown", "up")
			p.start(h(-20))
			p.beats(h(4))
			p.start(h(7))
			p.verdict(h(7).Add(time.Second), i, a, "unknown", "up")
			p.beats(to)
		}, ".......uuuuu"},
		{"after a restart nothing more was recorded", failover.Up, func(p *tape) {
			p.verdict(h(-30), i, a, "unknown", "up")
			p.life(h(-40), h(4))
			p.start(h(7))
			p.beats(to)
		}, "uuuu........"},
		{"a change was lost", failover.Up, func(p *tape) {
			p.life(h(-1), to)
			p.verdict(h(2), i, a, "down", "up")
			p.verdict(h(6), i, a, "down", "up") // when it went down nobody knows
		}, "dd....uuuuuu"},
		{"two within a millisecond", failover.Up, func(p *tape) {
			p.life(h(-1), to)
			p.verdict(h(2), i, a, "up", "unknown")
			p.verdict(h(2), i, a, "unknown", "down")
			p.verdict(h(4), i, a, "down", "up")
		}, "uudduuuuuuuu"},
		{"a restart in the middle of an outage", failover.Down, func(p *tape) {
			p.life(h(-1), to)
			p.verdict(h(2), i, a, "up", "down")
			p.restart(h(4))
			p.verdict(h(4).Add(time.Second), i, a, "unknown", "down")
		}, "uudddddddddd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &tape{}
			c.tape(p)
			b := NewBuilder(Head{Name: "x", MadeAt: to, From: from, To: to}, all)
			b.Lives(p.told())
			for _, s := range p.newestFirst() {
				if !b.Sample(s) {
					break
				}
			}
			f := healthy(i, to)
			f.View.Clusters[0].Verdict = c.now
			b.Instance(&f)
			got := b.Report(nil).Instances[0].Clusters[0]
			if s := letters(got.Strip, from, to); s != c.want {
				t.Errorf("got %s, want %s", s, c.want)
			}
			a := got.Window
			if sum := a.Up + a.Down + a.Unknown + a.Gap; sum != to.Sub(from) {
				t.Errorf("its parts are %s of %s", sum, to.Sub(from))
			}
		})
	}
}

// TestAWindowThatEndedBefore: what is now says what was then only where nothing
// changed and nothing began anew since.
func TestAWindowThatEndedBefore(t *testing.T) {
	from, to := at("2026-10-01T00:00:00Z"), at("2026-11-01T00:00:00Z")
	made := to.Add(8 * time.Hour)
	for name, c := range map[string]struct {
		tape func(p *tape)
		up   bool // for the whole window; else never
	}{
		"nothing changed since": {func(*tape) {}, false}, // it is down now, so it was
		"it changed since":      {func(p *tape) { p.verdict(to.Add(time.Hour), "orders", "a", "up", "down") }, true},
		"it changed since, then a restart": {func(p *tape) {
			p.verdict(to.Add(time.Hour), "orders", "a", "up", "down")
			p.restart(to.Add(2 * time.Hour))
			p.verdict(to.Add(2*time.Hour), "orders", "a", "unknown", "down")
		}, true},
		"a restart, then it changed": {func(p *tape) {
			p.restart(to.Add(time.Hour))
			p.verdict(to.Add(2*time.Hour), "orders", "a", "up", "down")
		}, false},
		"a restart, and long before it was up": {func(p *tape) {
			p.verdict(from.Add(-48*time.Hour), "orders", "a", "unknown", "up")
			p.restart(to.Add(time.Hour))
			p.verdict(to.Add(2*time.Hour), "orders", "a", "unknown", "down")
		}, true},
	} {
		p := &tape{}
		p.life(from.Add(-50*time.Hour), made)
		c.tape(p)
		f := healthy("orders", made)
		f.View.Clusters[0].Verdict = failover.Down
		r := build(Head{Name: "monthly", MadeAt: made, From: from, To: to}, p, []Facts{f}, nil)
		got := r.Instances[0].Clusters[0].Window
		if c.up && got.Up != to.Sub(from) || !c.up && got.Up != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestStripsCoverTheWindow: whatever was recorded, the stretches lie one behind
// the other from the first moment to the last, and gaps are never up.
func TestStripsCoverTheWindow(t *testing.T) {
	from := at("2026-11-28T00:00:00Z")
	to := from.Add(24 * time.Hour)
	rapid.Check(t, func(t *rapid.T) {
		p := &tape{}
		words := []string{"up", "down", "unknown"}
		at := from.Add(-2 * time.Hour)
		last := "unknown"
		p.start(at)
		for range rapid.IntRange(0, 200).Draw(t, "samples") {
			at = at.Add(time.Duration(rapid.IntRange(0, 20*60).Draw(t, "seconds")) * time.Second)
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				p.start(at)
				last = "unknown"
			case 1, 2, 3:
				p.beats(at)
			case 4:
				at = at.Add(time.Hour)
			case 5: // one is lost
				last = rapid.SampledFrom(words).Draw(t, "lost")
			default:
				next := rapid.SampledFrom(words).Draw(t, "to")
				if next != last {
					p.verdict(at, "orders", "a", last, next)
					last = next
				}
			}
		}
		f := healthy("orders", to)
		r := build(Head{Name: "x", MadeAt: to, From: from, To: to}, p, []Facts{f}, nil)
		for _, c := range r.Instances[0].Clusters {
			end := from
			for _, s := range c.Strip {
				if !s.From.Equal(end) || !s.To.After(s.From) {
					t.Fatalf("%+v after %s", s, end)
				}
				end = s.To
			}
			if !end.Equal(to) {
				t.Fatalf("the strip ends at %s", end)
			}
			for _, g := range r.Coverage.Gaps {
				for _, s := range c.Strip {
					if s.State != IsGap && s.From.Before(g.To) && s.To.After(g.From) {
						t.Fatalf("%+v lies over the gap %+v", s, g)
					}
				}
			}
			if sum := c.Window.Up + c.Window.Down + c.Window.Unknown + c.Window.Gap; sum != to.Sub(from) {
				t.Fatalf("parts sum up to %s", sum)
			}
		}
	})
}

func TestCoarseHidesNoOutage(t *testing.T) {
	from := at("2026-11-28T00:00:00Z")
	var in []Stretch
	for i := range 5000 {
		s := IsUp
		if i%2 == 1 {
			s = IsDown
		}
		in = append(in, Stretch{State: s, From: from.Add(time.Duration(i) * 10 * time.Second), To: from.Add(time.Duration(i+1) * 10 * time.Second)})
	}
	out := coarse(in, maxStrip, 5000*10*time.Second)
	if len(out) > maxStrip {
		t.Errorf("%d stretches", len(out))
	}
	for _, s := range out {
		if s.State != IsDown && s.To.Sub(s.From) > 10*time.Second {
			t.Errorf("%+v hides an outage", s)
		}
	}
	if out[0].From != in[0].From || out[len(out)-1].To != in[len(in)-1].To {
		t.Errorf("%s to %s", out[0].From, out[len(out)-1].To)
	}
}
