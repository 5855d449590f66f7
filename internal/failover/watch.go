package failover

import "time"

// Watch follows one instance and keeps its episodes. It is a value, fed with
// the same state, policy and moment as every Step, after it; it decides nothing
// and nothing of it comes back into the core. The zero value has seen nothing.
type Watch struct {
	open  *Episode // never edited once it was handed out
	after *Episode // moved away from; its old cluster is watched for a grace
	quiet time.Time
	down  time.Time // since when the quorum says down without a break
}

// Resume goes on with an episode that an earlier life of the controller left
// open. What lies between is a gap: nobody looked.
func Resume(e Episode, seen, now time.Time) Watch {
	if e.Watched {
		return Watch{}
	}
	if seen.Before(e.SeenTo) {
		seen = e.SeenTo
	}
	e.Restart++
	e.Gaps = addGap(e.Gaps, Gap{From: seen, Why: "the controller did not run"})
	if e.End == EndMoved {
		return Watch{after: &e}
	}
	return Watch{open: &e}
}

// Open returns the episode in hand, or nil. It must not be changed.
func (w Watch) Open() *Episode { return w.open }

// Left returns the episode whose cluster was left and is still watched, or nil.
// It must not be changed.
func (w Watch) Left() *Episode { return w.after }

// Unfinished returns the one of both that a later life should go on with, or nil.
func (w Watch) Unfinished() *Episode {
	if w.open != nil {
		return w.open
	}
	return w.after
}

// End closes what is in hand when nobody will watch the instance any more, and
// returns how it is told last.
func (w Watch) End(now time.Time) []Episode {
	var out []Episode
	for _, e := range []*Episode{w.after, w.open} {
		if e == nil {
			continue
		}
		x := *e
		if x.End == "" {
			x.End, x.EndedAt, x.DownNow = EndUnseen, now, time.Time{}
		}
		x.Watched, x.SeenTo = true, now
		out = append(out, x)
	}
	return out
}

// Abandoned is an episode of which nobody will see more, as it was seen last:
// what was open ends there and grows no more.
func (e Episode) Abandoned(why string) Episode {
	e.Gaps = addGap(e.Gaps, Gap{From: e.SeenTo, Why: why})
	if e.End == "" {
		e.End, e.EndedAt, e.DownNow = EndUnseen, e.SeenTo, time.Time{}
	}
	e.Watched = true
	return e
}

// Calm says that See would do nothing.
func (w Watch) Calm(s *State) bool { return w.open == nil && w.after == nil && s.lost == 0 }

// See takes the state that a Step left, and returns the watch as it is then and
// the episodes that should be written down anew. In a calm time it returns at
// once.
func (w Watch) See(s *State, p *Policy, now time.Time) (Watch, []Episode) {
	if w.Calm(s) || !s.found || !s.adopted || !p.Has(s.rec.Active) {
		return w, nil
	}
	var out []Episode
	if e := w.after; e != nil {
		w.after = e.watchOn(s, p, now)
		if w.after != e {
			out = append(out, *w.after)
		}
		if w.after.Watched {
			w.after = nil
		}
	}
	if e := w.open; e != nil && (e.Active != s.rec.Active || !p.Has(e.Active)) {
		left := e.left(s, p, now)
		if w.after != nil { // it moved twice within a grace: the first is told as far as it was seen
			w.after.Watched, w.after.SeenTo = true, now
			out = append(out, *w.after)
		}
		w = Watch{after: &left}
		out = append(out, left)
	}
	t := s.tally(p, s.rec.Active, now)
	if w.open == nil && t.downs > 0 {
		w.open, w.quiet, w.down = begin(s, p, now), time.Time{}, time.Time{}
		w.open.notice(s, p, &t, now)
		w.note(&t, now)
		w.open.DownNow = w.down
		return w, append(out, *w.open)
	}
	if w.open == nil {
		return w, out
	}
	e := *w.open
	changed := e.resumed(now)
	changed = e.notice(s, p, &t, now) || changed
	e.Longest = max(e.Longest, w.note(&t, now))
	if !e.DownNow.Equal(w.down) {
		e.DownNow, changed = w.down, true
	}
	up := e.UpAt
	over := w.over(&e, &t, p, now)
	changed = changed || !e.UpAt.Equal(up)
	if over {
		e.SeenTo = now
		return Watch{after: w.after}, append(out, e)
	}
	w.open = &e
	if changed {
		e.SeenTo = now
		out = append(out, e)
	}
	return w, out
}

// note keeps since when the quorum says down, and returns how long that is.
func (w *Watch) note(t *tally, now time.Time) time.Duration {
	switch {
	case t.verdict != Down:
		w.down = time.Time{}
		return 0
	case w.down.IsZero():
		w.down = t.downSince
	}
	return now.Sub(w.down)
}

// over ends the episode when it has been quiet for the settled time: nobody
// said down, or of an outage that the quorum had found, the quorum said up. One
// domain that goes on saying down has a trouble of its own, and is told in an
// episode of its own; it must neither make this one last nor hide the next.
func (w *Watch) over(e *Episode, t *tally, p *Policy, now time.Time) bool {
	switch ended := !e.DownAt.IsZero() && t.verdict == Up; {
	case t.downs > 0 && !ended:
		w.quiet, e.UpAt = time.Time{}, time.Time{} // it came back for a moment at most
		return false
	case w.quiet.IsZero():
		w.quiet = now
	}
	if t.verdict == Up && e.UpAt.IsZero() {
		e.UpAt = t.upSince
		if e.DownAt.IsZero() && e.UpAt.Before(w.quiet) { // the quorum said so all the time
			e.UpAt = w.quiet
		}
	}
	if now.Sub(w.quiet) < p.settled() {
		return false
	}
	e.End, e.EndedAt, e.Watched, e.DownNow = EndUnseen, w.quiet, true, time.Time{}
	if t.verdict == Up {
		e.End = EndRecovered
	}
	return true
}

// left ends an episode whose cluster is not the active one any more.
func (e *Episode) left(s *State, p *Policy, now time.Time) Episode {
	out := *e
	out.resumed(now)
	out.End, out.EndedAt, out.SeenTo = EndMoved, now, now
	out.UpAt, out.DownNow = time.Time{}, time.Time{}
	m := &Moved{At: now, Kind: string(DoAdopt), To: s.rec.Active}
	op := s.rec.Op
	if l := s.rec.LastOp; op == nil && l != nil && l.Outcome == Settled && !l.At.Before(e.Began) {
		op = &l.Op
	}
	if op != nil && op.From == e.Active && op.To == s.rec.Active {
		m.Ordered, m.Auto, m.Op, m.Kind, m.By = op.Since, op.byItself(), op.ID, string(op.Kind), op.By
		if !op.MovedAt.IsZero() {
			m.At = op.MovedAt
		}
		out.EndedAt = m.At
	}
	out.Moved = m
	if !p.Has(e.Active) { // it left the config: nothing of it will be seen
		out.Watched = true
	}
	return out
}

// byItself says that automation moved without asking anybody: what people have
// approved is their move.
func (o *Op) byItself() bool { return o.Auto && len(o.Approvals) == 0 }

// watchOn looks whether the cluster that was left comes back by itself within
// the grace. The result is e itself while there is nothing to tell.
func (e *Episode) watchOn(s *State, p *Policy, now time.Time) *Episode {
	out := *e
	changed := out.resumed(now)
	if !p.Has(e.Active) || e.Active == s.rec.Active { // gone, or the name went back
		out.Watched, out.SeenTo = true, now
		return &out
	}
	t := s.tally(p, e.Active, now)
	if t.verdict == Up {
		out.UpAt, out.Watched = t.upSince, true
	} else if !now.Before(out.horizon()) {
		out.Watched = true
	}
	if changed || out.Watched {
		out.SeenTo = now
		return &out
	}
	return e
}
