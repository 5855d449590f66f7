package report

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"pointsman/internal/failover"
)

const (
	// DefaultJitter is how long after its time a report runs at most. Robots of
	// chats answer slowly or not at all on whole and half hours, when everybody
	// writes (Feishu's guide to custom bots names 10:00 and 17:30, error 11232).
	DefaultJitter = 7 * time.Minute
	// MaxJitter bounds what may be asked for.
	MaxJitter = time.Hour

	leastJitter = time.Minute
	leastApart  = time.Hour // between two runs of one report
	maxSchedule = 200       // bytes
	lookAhead   = 100       // runs that are looked at for being too close
)

// Schedule says when a report runs. Make one by ParseSchedule.
type Schedule struct {
	Text     string
	Zone     string
	Location *time.Location
	Jitter   time.Duration // of this report, after each time of the calendar

	base interface{ Next(time.Time) time.Time }
}

// ParseSchedule reads five fields of cron (minute, hour, day, month, weekday)
// or @daily, @weekly, @monthly, @yearly, or @every with an hour or more. The
// calendar is read on the wall of the zone. jitter is the most that a run may
// come later, 0 switches that off; the name decides how much it is.
func ParseSchedule(text string, loc *time.Location, jitter time.Duration, name string) (Schedule, error) {
	s := Schedule{Text: text, Zone: loc.String(), Location: loc}
	if rest, ok := strings.CutPrefix(text, "@every "); ok && len(text) <= maxSchedule {
		d, err := time.ParseDuration(strings.TrimSpace(rest))
		if err != nil {
			return Schedule{}, fmt.Errorf("%q names no duration", text)
		}
		if d < leastApart {
			return Schedule{}, fmt.Errorf("%q is below an hour", text)
		}
		s.base = interval(d.Round(time.Second))
	} else {
		spec, err := ParseCron(text)
		if err != nil {
			return Schedule{}, err
		}
		s.base = failover.WallSchedule{Spec: spec, Location: loc}
	}
	if err := s.check(); err != nil {
		return Schedule{}, err
	}
	if jitter > 0 {
		h := fnv.New32a()
		h.Write([]byte(name))
		room := max(jitter-leastJitter, 0)/time.Second + 1
		s.Jitter = min(leastJitter, jitter) + time.Duration(h.Sum32())%room*time.Second
	}
	return s, nil
}

// ParseCron is the library behind a wall, for whoever follows a calendar: five
// fields, or @daily and the like, that come, and not more often than once an
// hour. It is unmaintained, panics on some texts (robfig/cron#554, #555), and
// takes a zone in front of the fields, in which it leaves out what falls into a
// gap (#541): its times are to be read by [failover.WallSchedule].
func ParseCron(text string) (spec cron.Schedule, err error) {
	defer func() {
		if recover() != nil {
			spec, err = nil, fmt.Errorf("%q cannot be read", text)
		}
	}()
	fields := strings.Fields(text)
	switch {
	case len(text) > maxSchedule:
		return nil, fmt.Errorf("it has %d bytes, at most %d are taken", len(text), maxSchedule)
	case len(fields) == 0:
		return nil, errors.New("it is empty")
	case strings.Contains(text, "="):
		return nil, fmt.Errorf("%q names a zone, which has a key of its own", text)
	case strings.HasPrefix(text, "@every"), strings.HasPrefix(text, "@reboot"):
		return nil, fmt.Errorf("%q follows no calendar", text)
	case text[0] != '@' && len(fields) != 5:
		return nil, fmt.Errorf("%q has %d fields, 5 are wanted: minute, hour, day, month, weekday", text, len(fields))
	}
	spec, err = cron.ParseStandard(text)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	s := Schedule{Text: text, base: spec}
	if err := s.check(); err != nil {
		return nil, err
	}
	return spec, nil
}

// check refuses a calendar that never comes, and one that comes too often.
func (s *Schedule) check() error {
	at := s.base.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	if at.IsZero() {
		return fmt.Errorf("%q never comes", s.Text)
	}
	for range lookAhead {
		next := s.base.Next(at)
		if next.IsZero() {
			return nil
		}
		if next.Sub(at) < leastApart {
			return fmt.Errorf("%q comes more often than once an hour", s.Text)
		}
		at = next
	}
	return nil
}

// Next returns the first moment after now at which the report runs, or zero.
func (s *Schedule) Next(now time.Time) time.Time {
	for b := s.base.Next(now.Add(-s.Jitter - 2*time.Minute)); !b.IsZero(); b = s.base.Next(b) {
		if at := s.late(b); at.After(now) {
			return at
		}
	}
	return time.Time{}
}

// late is when a run of the calendar comes: with a jitter never within the
// minute of a whole or half hour.
func (s *Schedule) late(base time.Time) time.Time {
	at := base.Add(s.Jitter)
	if s.Jitter > 0 && at.In(s.Location).Minute()%30 == 0 {
		at = at.Add(time.Minute)
	}
	return at
}

// interval comes at every multiple of itself since year 1 in UTC, wherever one
// begins to ask.
type interval time.Duration

func (i interval) Next(t time.Time) time.Time {
	return t.UTC().Truncate(time.Duration(i)).Add(time.Duration(i))
}
