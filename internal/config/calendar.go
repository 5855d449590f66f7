package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/emersion/go-ical"
	"github.com/teambition/rrule-go"

	"pointsman/internal/failover"
)

const (
	maxCalendar = 1 << 20 // bytes of a calendar file
	maxEvents   = 500
	// maxRecurring bounds those that come again: of each the next moment is found
	// by walking over all that were before it, some 10 ms for 25 years of days.
	maxRecurring = 64
)

// calendar takes the events of a calendar file (RFC 5545) as freezes.
func (c *compiler) calendar(doc *freezeDoc) []failover.Window {
	if doc.For.set {
		c.fault(doc.For.at, "leave it out: each event has its own end", "for has no use with ics_file")
	}
	name, loc := c.timeZone(doc.Zone)
	data, ok := c.named("ics_file", doc.ICSFile)
	if !ok {
		return nil
	}
	ws, err := readCalendar(data, loc)
	if err != nil {
		c.fault(doc.ICSFile.at, "export it again as iCalendar (RFC 5545), or mend the event", "ics_file %s: %v", doc.ICSFile.v, err)
		return nil
	}
	for i := range ws {
		ws[i].Zone = name
		if r := c.reason(doc.Reason); r != "" {
			ws[i].Reason = r
		}
	}
	return ws
}

// readCalendar reads the events, those that are over too: what a config comes
// to must not depend on when it is read. Times without a zone, and whole days,
// are those of loc.
func readCalendar(data []byte, loc *time.Location) (ws []failover.Window, err error) {
	defer func() {
		if x := recover(); x != nil { // of the reader: whatever is wrong, the file is
			ws, err = nil, errors.New("it cannot be read")
		}
	}()
	if len(data) > maxCalendar {
		return nil, fmt.Errorf("it has %d bytes, at most %d are taken", len(data), maxCalendar)
	}
	dec := ical.NewDecoder(bytes.NewReader(data))
	var events []ical.Event
	for n := 0; ; n++ {
		cal, err := dec.Decode()
		if errors.Is(err, io.EOF) {
			if n == 0 {
				return nil, errors.New("there is no calendar in it")
			}
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w", err)
		}
		events = append(events, cal.Events()...)
	}
	moved, err := movedAway(events, loc)
	if err != nil {
		return nil, err
	}
	recurring := 0
	for i := range events {
		w, ok, err := eventWindow(&events[i], loc, moved)
		if err != nil {
			return nil, fmt.Errorf("event %.80q: %w", titleOf(&events[i]), err)
		}
		if ok {
			ws = append(ws, w)
		}
		if w.Schedule != nil {
			recurring++
		}
		if len(ws) > maxEvents || recurring > maxRecurring {
			return nil, fmt.Errorf("it has more than %d events, or more than %d that come again", maxEvents, maxRecurring)
		}
	}
	return ws, nil
}

func titleOf(e *ical.Event) string {
	if s, err := e.Props.Text(ical.PropSummary); err == nil {
		return s
	}
	return ""
}

// movedAway lists, by UID, the runs of recurring events that events of their
// own stand for (RFC 5545 section 3.8.4.4).
func movedAway(events []ical.Event, loc *time.Location) (map[string][]time.Time, error) {
	out := map[string][]time.Time{}
	for i := range events {
		p := events[i].Props.Get(ical.PropRecurrenceID)
		if p == nil {
			continue
		}
		at, err := p.DateTime(loc)
		if err != nil {
			return nil, fmt.Errorf("event %.80q: RECURRENCE-ID: %w", titleOf(&events[i]), err)
		}
		uid, _ := events[i].Props.Text(ical.PropUID)
		out[uid] = append(out[uid], at)
	}
	return out, nil
}

// wallOf is what the wall of loc shows at the moment, written in UTC.
func wallOf(at time.Time, loc *time.Location) time.Time {
	l := at.In(loc)
	return time.Date(l.Year(), l.Month(), l.Day(), l.Hour(), l.Minute(), l.Second(), 0, time.UTC)
}

func eventWindow(e *ical.Event, loc *time.Location, moved map[string][]time.Time) (w failover.Window, ok bool, err error) {
	if st, err := e.Status(); err == nil && st == ical.EventCancelled {
		return w, false, nil
	}
	from, err := e.DateTimeStart(loc)
	if err != nil {
		return w, false, fmt.Errorf("DTSTART: %w", err)
	}
	to, err := e.DateTimeEnd(loc)
	if err != nil {
		return w, false, fmt.Errorf("DTEND: %w", err)
	}
	w.Reason = cut(titleOf(e), maxReason)
	switch length := to.Sub(from); {
	case from.IsZero():
		return w, false, errors.New("it has no DTSTART")
	case length <= 0:
		return w, false, errors.New("it ends when it begins: give it a DTEND or a DURATION")
	case length > failover.MaxFreeze:
		return w, false, fmt.Errorf("it lasts %s, at most %s is taken", length, failover.MaxFreeze)
	default:
		w.Length = length
	}
	opt, err := e.Props.RecurrenceRule()
	if err != nil {
		return w, false, fmt.Errorf("RRULE: %w", err)
	}
	if opt == nil {
		w.From, w.To, w.Length = from, to, 0
		return w, true, nil
	}
	zone := loc
	if p := e.Props.Get(ical.PropDateTimeStart); p.Params.Get(ical.ParamTimezoneID) != "" || strings.HasSuffix(p.Value, "Z") {
		zone = from.Location()
	}
	s, err := recurrence(e, opt, from, zone, moved)
	if err != nil {
		return w, false, err
	}
	w.Schedule, w.Spec = remembered(s), "event "+from.Format(time.RFC3339)+" "+opt.String()
	return w, true, nil
}

// recurrence is the calendar of a recurring event, read on the wall of its zone.
func recurrence(e *ical.Event, opt *rrule.ROption, from time.Time, loc *time.Location, moved map[string][]time.Time) (failover.Schedule, error) {
	if opt.Freq > rrule.DAILY {
		return nil, fmt.Errorf("RRULE: FREQ=%s is finer than DAILY", opt.Freq)
	}
	if len(opt.Byhour)+len(opt.Byminute)+len(opt.Bysecond) > 0 {
		return nil, errors.New("RRULE: BYHOUR, BYMINUTE and BYSECOND are finer than DAILY")
	}
	if from.Year() < 1970 {
		return nil, fmt.Errorf("it comes again since the year %d: let it begin later", from.Year())
	}
	opt.Dtstart = wallOf(from, loc)
	if !opt.Until.IsZero() {
		opt.Until = wallOf(opt.Until, loc)
	}
	r, err := rrule.NewRRule(*opt)
	if err != nil {
		return nil, fmt.Errorf("RRULE: %w", err)
	}
	var set rrule.Set
	set.RRule(r)
	uid, _ := e.Props.Text(ical.PropUID)
	if e.Props.Get(ical.PropRecurrenceID) == nil {
		for _, at := range moved[uid] {
			set.ExDate(wallOf(at, loc))
		}
	}
	for _, name := range []string{ical.PropExceptionDates, ical.PropRecurrenceDates} {
		for _, p := range e.Props.Values(name) {
			for v := range strings.SplitSeq(p.Value, ",") {
				one := p
				one.Value = v
				at, err := one.DateTime(loc)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", name, err)
				}
				if name == ical.PropExceptionDates {
					set.ExDate(wallOf(at, loc))
				} else {
					set.RDate(wallOf(at, loc))
				}
			}
		}
	}
	s := failover.WallSchedule{Spec: after{&set}, Location: loc}
	if s.Next(from.Add(-time.Second)).IsZero() {
		return nil, errors.New("RRULE: it never comes")
	}
	return s, nil
}

// after is a set of recurrences as a schedule.
type after struct{ set *rrule.Set }

func (a after) Next(t time.Time) time.Time { return a.set.After(t, false) }

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
