package report

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"pointsman/internal/failover"
)

// Window is the stretch of time that a report tells of: a length that ends when
// the report is due, or the whole day, week or month before that.
type Window struct {
	Length   time.Duration // 0: Previous
	Previous string        // day, week, month
}

const (
	leastWindow = time.Hour
	// MostWindow is the longest window. The history keeps a little more.
	MostWindow = 31 * 24 * time.Hour
)

var daysOnly = regexp.MustCompile(`^[0-9]{1,3}d$`)

// ParseWindow reads 24h, 7d, "previous day", "previous week", "previous month".
func ParseWindow(text string) (Window, error) {
	if rest, ok := strings.CutPrefix(text, "previous "); ok {
		switch rest {
		case "day", "week", "month":
			return Window{Previous: rest}, nil
		}
		return Window{}, fmt.Errorf("previous %q is none of day, week, month", rest)
	}
	var d time.Duration
	if daysOnly.MatchString(text) {
		n, _ := strconv.Atoi(strings.TrimSuffix(text, "d"))
		d = time.Duration(n) * 24 * time.Hour
	} else {
		var err error
		if d, err = time.ParseDuration(text); err != nil {
			return Window{}, fmt.Errorf("%q is no window", text)
		}
	}
	if d < leastWindow || d > MostWindow {
		return Window{}, fmt.Errorf("%s is outside 1h to %dd", text, MostWindow/(24*time.Hour))
	}
	return Window{Length: d}, nil
}

func (w Window) String() string {
	if w.Previous != "" {
		return "previous " + w.Previous
	}
	if w.Length == 24*time.Hour {
		return "24h"
	}
	if w.Length%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", w.Length/(24*time.Hour))
	}
	return span(w.Length)
}

// Range is the stretch for a report that is due at the moment: from is
// included, to is not. A week begins on Monday (ISO 8601).
func (w Window) Range(due time.Time, loc *time.Location) (from, to time.Time) {
	if w.Previous == "" {
		return due.Add(-w.Length), due
	}
	begin := w.begin(due, loc)
	return failover.OnTheWall(w.back(begin), loc), failover.OnTheWall(begin, loc)
}

// SoFar is the stretch that has begun and not ended: this month until now.
func (w Window) SoFar(now time.Time, loc *time.Location) (from, to time.Time) {
	if w.Previous == "" {
		return now.Add(-w.Length), now
	}
	return failover.OnTheWall(w.begin(now, loc), loc), now
}

// begin is when the present day, week or month began, on the wall.
func (w Window) begin(at time.Time, loc *time.Location) time.Time {
	y, m, d := at.In(loc).Date()
	day := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	switch w.Previous {
	case "month":
		return day.AddDate(0, 0, 1-d)
	case "week":
		return day.AddDate(0, 0, -(int(day.Weekday())+6)%7)
	default:
		return day
	}
}

func (w Window) back(begin time.Time) time.Time {
	switch w.Previous {
	case "month":
		return begin.AddDate(0, -1, 0)
	case "week":
		return begin.AddDate(0, 0, -7)
	default:
		return begin.AddDate(0, 0, -1)
	}
}
