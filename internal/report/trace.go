package report

import (
	"cmp"
	"slices"
	"time"

	"pointsman/internal/failover"
)

// change is one recorded change of what a cluster, or a vantage's vote of it,
// was. It is small: a window may hold a hundred thousand.
type change struct {
	at       int64 // Unix milliseconds
	id       int64 // of its sample: the order within a millisecond
	from, to failover.Vote
}

func (c change) time() time.Time { return time.UnixMilli(c.at).UTC() }

// restart is a start of the controller. Between the last sample before it and
// the start nothing was recorded, and after it nothing is known until it is
// seen anew.
type restart struct {
	last, at time.Time // last is zero where nothing was recorded before
}

// trace is what was recorded of one cluster.
type trace struct {
	changes []change
	before  *failover.Vote // what it was when the window began; nil: not found out
	after   *failover.Vote // what it was when the window ended, by the first change after it; nil: there was none
}

// clip cuts a stretch to the window; false where nothing is left.
func clip(s Stretch, from, to time.Time) (Stretch, bool) {
	if s.From.Before(from) {
		s.From = from
	}
	if s.To.After(to) {
		s.To = to
	}
	return s, s.From.Before(s.To)
}

func stateOf(v failover.Vote) State {
	switch v {
	case failover.Up:
		return IsUp
	case failover.Down:
		return IsDown
	default:
		return IsUnknown
	}
}

// follow lays the changes out between from and to. gaps are the stretches in
// which nothing was recorded of anything, in order and apart; now is what the
// cluster was at the end where nothing in the window tells, nil: that is not known.
func (t *trace) follow(from, to time.Time, restarts []restart, gaps []Stretch, now *failover.Vote) []Stretch {
	slices.SortFunc(t.changes, func(a, b change) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.id, b.id)) })
	w := walk{begin: from, from: from, to: to}
	if t.before != nil {
		w.is(stateOf(*t.before))
	}
	r := 0
	restartsUntil := func(at time.Time) {
		for ; r < len(restarts) && !restarts[r].at.After(at); r++ {
			w.restart(restarts[r])
		}
	}
	for _, c := range t.changes {
		restartsUntil(c.time())
		w.change(c)
	}
	restartsUntil(to)
	if !w.known && now != nil && len(t.changes) == 0 && r == 0 {
		w.is(stateOf(*now)) // nothing changed in the whole window
	}
	if w.restarted && now != nil && *now != failover.Unknown {
		w.is(IsGap) // it was seen anew, and that was not recorded
	}
	w.end(to)
	return overlay(merge(w.out), gaps)
}

// walk goes along the changes.
type walk struct {
	out      []Stretch
	begin    time.Time // of the stretch in hand
	state    State
	known    bool
	from, to time.Time

	restarted bool // and nothing was recorded since
}

func (w *walk) is(s State) { w.state, w.known = s, true }

// put ends the stretch in hand.
func (w *walk) put(until time.Time, s State) {
	if x, ok := clip(Stretch{State: s, From: w.begin, To: until}, w.from, w.to); ok {
		w.out = append(w.out, x)
	}
	if until.After(w.begin) {
		w.begin = until
	}
}

func (w *walk) end(until time.Time) {
	if !w.known {
		w.put(until, IsGap)
		return
	}
	w.put(until, w.state)
}

// change takes one. Where it does not begin with what was, one was lost on the
// way, and nobody knows when: all of that is a gap.
func (w *walk) change(c change) {
	switch was := stateOf(c.from); {
	case !w.known:
		w.put(c.time(), was)
	case w.state != was:
		w.put(c.time(), IsGap)
	default:
		w.put(c.time(), w.state)
	}
	w.is(stateOf(c.to))
	w.restarted = false
}

// restart ends what was with the last thing that was recorded before it. The
// time from there to the start is one of the gaps.
func (w *walk) restart(r restart) {
	if r.last.After(w.begin) {
		w.end(r.last)
	}
	w.is(IsUnknown)
	w.restarted = true
}

// merge joins neighbours of one state.
func merge(in []Stretch) []Stretch {
	var out []Stretch
	for _, s := range in {
		if n := len(out); n > 0 && out[n-1].State == s.State && !out[n-1].To.Before(s.From) {
			out[n-1].To = s.To
			continue
		}
		out = append(out, s)
	}
	return out
}

// overlay puts gaps over the stretches; both are in order.
func overlay(in, gaps []Stretch) []Stretch {
	var out []Stretch
	g := 0
	for _, s := range in {
		for g < len(gaps) && !gaps[g].To.After(s.From) {
			g++
		}
		for i := g; i < len(gaps) && gaps[i].From.Before(s.To); i++ {
			if before, ok := clip(s, s.From, gaps[i].From); ok {
				out = append(out, before)
			}
			if hidden, ok := clip(s, gaps[i].From, gaps[i].To); ok {
				hidden.State = IsGap
				out = append(out, hidden)
			}
			s.From = gaps[i].To
		}
		if s.From.Before(s.To) {
			out = append(out, s)
		}
	}
	return merge(out)
}

// measure sums up a window.
func measure(strip []Stretch, from, to time.Time) Availability {
	var a Availability
	for _, s := range strip {
		d := s.To.Sub(s.From)
		switch s.State {
		case IsUp:
			a.Up += d
		case IsDown:
			a.Down += d
		case IsUnknown:
			a.Unknown += d
		default:
			a.Gap += d
		}
	}
	a.Gap += max(to.Sub(from)-a.Up-a.Down-a.Unknown-a.Gap, 0)
	if known := a.Up + a.Down; known > 0 {
		part := float64(a.Up) / float64(known)
		a.Part = &part
		a.Covered = float64(known) / float64(to.Sub(from))
	}
	return a
}

// flaps counts the changes between up and down; what lies between them, unknown
// or a gap, does not hide one.
func flaps(strip []Stretch) int {
	n, last := 0, State("")
	for _, s := range strip {
		if s.State != IsUp && s.State != IsDown {
			continue
		}
		if last != "" && last != s.State {
			n++
		}
		last = s.State
	}
	return n
}

// flapIndex is changes for each day of known time; nil below an hour of it.
func flapIndex(n int, a Availability) *float64 {
	known := a.Up + a.Down
	if known < time.Hour {
		return nil
	}
	x := float64(n) / (float64(known) / float64(24*time.Hour))
	return &x
}

// outages are the stretches in which it was down; what is not known within one
// neither ends nor prolongs it.
func outages(strip []Stretch, to time.Time) []Stretch {
	var out []Stretch
	for _, s := range strip {
		if s.State == IsDown {
			s.Open = s.To.Equal(to)
			out = append(out, s)
		}
	}
	return out
}
