package failover

import (
	"fmt"
	"time"
)

// PauseReminder is how long a pause without an end stands before people are
// told of it, and how often they are told again: a pause that was forgotten
// leaves the instance without its automation, and nothing else would say so.
const PauseReminder = 24 * time.Hour

// remindPause pages for a pause that nobody gave an end, once a day.
func (t *turn) remindPause() {
	st := t.rec.Stop(StopPause)
	if st == nil || !st.Until.IsZero() {
		t.unpage("pause-stands")
		return
	}
	days := int64(t.now.Sub(st.Since) / PauseReminder)
	if days < 1 {
		t.unpage("pause-stands") // another pause may have taken the place of an old one
		return
	}
	t.pageOnce("pause-stands", fmt.Sprint(days), fmt.Sprintf("%s has been paused since %s by %s: %s; nothing new starts until: pointsman resume %s",
		t.p.Instance, st.Since.UTC().Format(time.RFC3339), st.By, st.Why, t.p.Instance))
}

// pauseWords says who paused, why, and how much of it is left.
func (r *Record) pauseWords(now time.Time) string {
	st := r.Stop(StopPause)
	switch {
	case st == nil || !st.Until.IsZero() && !now.Before(st.Until):
		return ""
	case st.Until.IsZero():
		return fmt.Sprintf("paused by %s: %s; until resumed", st.By, st.Why)
	}
	return fmt.Sprintf("paused by %s: %s; until %s, %s left", st.By, st.Why,
		st.Until.UTC().Format(time.RFC3339), st.Until.Sub(now).Round(time.Second))
}

// firstEnd is the earliest end of a stop, or of a proposal that waits, after
// now; zero when none has one.
func (r *Record) firstEnd(now time.Time) (end time.Time) {
	if pr := r.Proposal; pr.Waits() && pr.Expires.After(now) {
		end = pr.Expires
	}
	for _, st := range r.Stops {
		if st.Until.After(now) && (end.IsZero() || st.Until.Before(end)) {
			end = st.Until
		}
	}
	return end
}
