package failover

import (
	"fmt"
	"slices"
	"time"
)

// Window is a time in which work is done on one cluster. Its probes go on and
// are shown, but automation neither leaves a cluster nor goes to one on which
// somebody works; a person may leave it as always, and go there only by
// overriding the guard by name. An outage that outlasts its window counts from
// the end of the window.
//
// A window is either one stretch, From to To, or comes again on some days of
// the week: at Start on the wall of Location, for Length. It is read on the
// controller's wall clock; the clocks of vantages do not matter.
type Window struct {
	Cluster ClusterName
	Reason  string // for people

	From, To time.Time // one stretch

	Days     []time.Weekday // comes again; empty is one stretch
	Start    time.Duration  // since midnight, below 24 h
	Length   time.Duration  // above 0, at most a week
	Zone     string         // its name, for people and for the hash of a policy
	Location *time.Location `json:"-"` // nil is UTC

	// Comes at each moment of a schedule, for Length. Spec is its text, for
	// people and for the hash of a policy.
	Spec     string   `json:",omitempty"`
	Schedule Schedule `json:"-"`
}

// Schedule names moments, one after the other: cron lines and calendars are
// read by others. Next is a pure function and returns the first moment after
// the given one, or zero where there is none.
type Schedule interface {
	Next(after time.Time) time.Time
}

// At returns the stretch that holds the moment, or ok false. from is included,
// to is not.
func (w *Window) At(now time.Time) (from, to time.Time, ok bool) {
	if w.Schedule != nil {
		return w.scheduled(now)
	}
	if len(w.Days) == 0 {
		return w.From, w.To, !now.Before(w.From) && now.Before(w.To)
	}
	w.each(now, func(f, t time.Time) {
		if !now.Before(f) && now.Before(t) && (!ok || t.After(to)) {
			from, to, ok = f, t, true
		}
	})
	return from, to, ok
}

// maxRuns bounds the starts of a schedule that are looked at within one length
// of a window: those that come closer together run into one another anyhow.
const maxRuns = 64

// scheduled is At for a window that comes by a schedule.
func (w *Window) scheduled(now time.Time) (from, to time.Time, ok bool) {
	at := w.Schedule.Next(now.Add(-w.Length))
	for n := 0; n < maxRuns && !at.IsZero() && !at.After(now); n++ {
		if !ok {
			from, ok = at, true
		}
		to = at.Add(w.Length)
		at = w.Schedule.Next(at)
	}
	return from, to, ok
}

// ended returns the newest end at or before the moment, or zero.
func (w *Window) ended(now time.Time) (end time.Time) {
	see := func(_, t time.Time) {
		if !t.After(now) && t.After(end) {
			end = t
		}
	}
	if len(w.Days) == 0 {
		see(w.From, w.To)
	} else {
		w.each(now, see)
	}
	return end
}

// each goes over the stretches that began within the last two weeks: no
// younger one has begun, and every older one ended before one of these did.
func (w *Window) each(now time.Time, see func(from, to time.Time)) {
	loc := w.Location
	if loc == nil {
		loc = time.UTC
	}
	y, m, d := now.In(loc).Date()
	for back := range 15 {
		day := time.Date(y, m, d-back, 0, 0, 0, 0, time.UTC) // a date, not a moment
		if slices.Contains(w.Days, day.Weekday()) {
			from := onTheWall(day.Add(w.Start), loc)
			see(from, from.Add(w.Length))
		}
	}
}

// onTheWall returns when clocks in loc show what wall shows in UTC. In the hour
// that is left out where clocks are put forward, time.Date is free to return a
// moment before the gap, which at midnight is another day (Santiago, Havana);
// here it is always the moment that it would have been without the change.
func onTheWall(wall time.Time, loc *time.Location) time.Time {
	y, m, d := wall.Date()
	at := time.Date(y, m, d, wall.Hour(), wall.Minute(), wall.Second(), 0, loc)
	_, off := at.Zone()
	if short := wall.Sub(at.Add(time.Duration(off) * time.Second)); short > 0 {
		return at.Add(short)
	}
	return at
}

// maintenance says whether somebody works on the cluster, until when, and why.
func (p *Policy) maintenance(c ClusterName, now time.Time) (until time.Time, why string, on bool) {
	for i := range p.Maintenance {
		w := &p.Maintenance[i]
		if w.Cluster != c {
			continue
		}
		if _, to, ok := w.At(now); ok && (!on || to.After(until)) {
			until, why, on = to, w.Reason, true
		}
	}
	return until, why, on
}

// maintenanceWords is what people read of it; empty outside every window.
func (p *Policy) maintenanceWords(c ClusterName, now time.Time) string {
	until, why, on := p.maintenance(c, now)
	if !on {
		return ""
	}
	out := "in maintenance until " + until.Format("2006-01-02 15:04 MST")
	if why != "" {
		out += ": " + why
	}
	return out
}

// maintained moves the beginning of an outage to the end of the window that it
// began in: what was allowed to be down did not count, and ride_out begins now.
func (p *Policy) maintained(first *time.Time, c ClusterName, now time.Time) {
	if first.IsZero() {
		return
	}
	for i := range p.Maintenance {
		if w := &p.Maintenance[i]; w.Cluster == c {
			if end := w.ended(now); end.After(*first) {
				*first = end
			}
		}
	}
}

func maintenanceGuard(a *ask) (string, string) {
	hint := "wait for its end, or change the window in the config"
	if words := a.p.maintenanceWords(a.to, a.now); words != "" {
		return fmt.Sprintf("%s is %s", a.to, words), hint
	}
	if words := a.p.maintenanceWords(a.from, a.now); words != "" && a.auto {
		return fmt.Sprintf("%s is %s", a.from, words), hint + fmt.Sprintf("; a person may leave it: pointsman failover %s --to %s", a.p.Instance, a.to)
	}
	return "", ""
}

// validateWindows returns every fault of the windows.
func (p *Policy) validateWindows(bad func(string, ...any)) {
	for i := range p.Maintenance {
		w := &p.Maintenance[i]
		at := fmt.Sprintf("clusters.%s.maintenance", w.Cluster)
		if !p.Has(w.Cluster) {
			bad("%s: there is no such cluster", at)
			continue
		}
		w.validate(at, bad)
	}
	for i := range p.Freeze {
		if w := &p.Freeze[i]; w.Cluster != "" {
			bad("freeze: a freeze is of the whole instance, not of %s", w.Cluster)
		} else {
			w.validate("freeze", bad)
		}
	}
}

func (w *Window) validate(at string, bad func(string, ...any)) {
	switch {
	case w.Schedule != nil:
		if w.Length <= 0 || w.Length > MaxFreeze {
			bad("%s: for %s is outside 0 (excluded) to %s", at, w.Length, MaxFreeze)
		}
	case len(w.Days) == 0 && !w.To.After(w.From):
		bad("%s: to %s is not after from %s", at, w.To.Format(time.RFC3339), w.From.Format(time.RFC3339))
	case len(w.Days) > 0 && (w.Start < 0 || w.Start >= 24*time.Hour):
		bad("%s: at %s is outside 00:00 to 23:59", at, w.Start)
	case len(w.Days) > 0 && (w.Length <= 0 || w.Length > 7*24*time.Hour):
		bad("%s: for %s is outside 0 (excluded) to 7 days", at, w.Length)
	}
}
