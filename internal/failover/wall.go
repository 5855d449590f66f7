package failover

import "time"

// WallSchedule is a calendar read on the wall of a place. Its Spec knows no
// zones: it is given, and returns, what the wall shows, written in UTC, which
// has no gaps. What falls into the hour that is left out where clocks are put
// forward comes at the moment at which it would have come without the change,
// and what falls into an hour that comes twice comes once, the first time.
//
// Libraries that search in the zone itself do otherwise: robfig/cron leaves out
// what falls into the gap (robfig/cron#541).
type WallSchedule struct {
	// Spec is a calendar: Next returns the first time after the one given, or
	// zero where there is none. What it answers must not depend on where one
	// begins to ask, as "every seven hours from now" would.
	Spec     interface{ Next(time.Time) time.Time }
	Location *time.Location // nil is UTC
}

// wallJump is above every step that clocks on a wall have taken in one night:
// 24 hours, where Samoa left out 30 December 2011 (tzdata, australasia).
const wallJump = 25 * time.Hour

// Next returns the first moment after now, or zero where there is none.
func (s WallSchedule) Next(now time.Time) time.Time {
	loc := s.Location
	if loc == nil {
		loc = time.UTC
	}
	wall := showing(now, loc)
	if next := s.steady(now, wall, loc); !next.IsZero() {
		return next
	}
	// Near a change the order on the wall is not that of the moments: 02:30 of
	// the gap comes after 03:10. So all that is near enough is looked at.
	var first, best, last time.Time
	for w := s.Spec.Next(wall.Add(-wallJump)); w.After(last); w = s.Spec.Next(w) {
		last = w
		if !first.IsZero() && w.Sub(first) > wallJump {
			break
		}
		at := OnTheWall(w, loc)
		if !at.After(now) {
			continue
		}
		if first.IsZero() {
			first = w
		}
		if best.IsZero() || at.Before(best) {
			best = at
		}
	}
	return best
}

// steady returns the answer where no change of the clocks is near, or zero.
func (s WallSchedule) steady(now, wall time.Time, loc *time.Location) time.Time {
	w := s.Spec.Next(wall)
	if w.IsZero() {
		return w
	}
	at := OnTheWall(w, loc)
	_, end := now.Add(-wallJump).In(loc).ZoneBounds()
	if !at.After(now) || !end.IsZero() && !end.After(at.Add(wallJump)) {
		return time.Time{}
	}
	return at
}

// showing is what clocks in loc show at the moment, written in UTC.
func showing(at time.Time, loc *time.Location) time.Time {
	at = at.In(loc)
	y, m, d := at.Date()
	return time.Date(y, m, d, at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), time.UTC)
}

// OnTheWall returns when clocks in loc show what wall shows in UTC. What falls
// into a gap comes at the moment that it would have been without the change;
// where the wall shows it twice it is the first time, which time.Date does not
// promise.
func OnTheWall(wall time.Time, loc *time.Location) time.Time {
	at := onTheWall(wall, loc)
	start, _ := at.ZoneBounds()
	if start.IsZero() {
		return at
	}
	_, now := at.Zone()
	_, before := start.Add(-1).Zone()
	if earlier := at.Add(time.Duration(now-before) * time.Second); earlier.Before(start) && showing(earlier, loc).Equal(wall) {
		return earlier
	}
	return at
}
