package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-ical"
	"github.com/teambition/rrule-go"

	"pointsman/internal/failover"
)

const (
	maxCalendar = 1 << 20 // bytes of a calendar file
	maxEvents   = 500
	// maxRecurring bounds those that come again: of each the first moment is found
	// by walking over all that were before it, some 2 ms for 50 years of days.
	maxRecurring = 64
	maxRule      = 300 // bytes of a rule: a long one is slow to walk over, and what people write has a tenth of it
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
	for i := range events {
		if err := noLocal(&events[i]); err != nil {
			return nil, fmt.Errorf("event %.80q: %w", titleOf(&events[i]), err)
		}
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

// noLocal refuses the zone that Go calls Local: a freeze must not depend on the
// machine that reads it.
func noLocal(e *ical.Event) error {
	for _, props := range e.Props {
		for _, p := range props {
			if p.Params.Get(ical.ParamTimezoneID) == "Local" {
				return fmt.Errorf("%s: unknown time zone Local", p.Name)
			}
		}
	}
	return nil
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
	if err := oneRule(e); err != nil {
		return w, false, err
	}
	if opt == nil && len(e.Props.Values(ical.PropRecurrenceDates)) == 0 {
		w.From, w.To, w.Length = from, to, 0
		return w, true, nil
	}
	if opt == nil { // dates alone, besides the first (RFC 5545 section 3.8.5.2)
		opt = &rrule.ROption{Freq: rrule.DAILY, Count: 1}
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

// oneRule refuses what the readers below would pass over in silence, so that
// the freeze were another than the calendar shows.
func oneRule(e *ical.Event) error {
	rules := e.Props.Values(ical.PropRecurrenceRule)
	switch {
	case len(rules) > 1:
		return errors.New("it has more than one RRULE: make an event of each")
	case len(rules) == 1 && len(rules[0].Value) > maxRule:
		return fmt.Errorf("RRULE: it has %d bytes, at most %d are taken", len(rules[0].Value), maxRule)
	case len(e.Props.Values("EXRULE")) > 0:
		return errors.New("EXRULE is not read (RFC 5545 appendix A.1 took it away): use EXDATE")
	}
	if p := e.Props.Get(ical.PropRecurrenceID); p != nil && p.Params.Get(ical.ParamRange) != "" {
		return fmt.Errorf("RECURRENCE-ID: RANGE=%s is not read: make an event of its own of what comes from then on", p.Params.Get(ical.ParamRange))
	}
	return nil
}

// until is the last moment of a rule on the wall of loc. The reader of rules
// takes every UNTIL for UTC; one without Z is what the wall shows, and a date
// is the whole of that day (RFC 5545 section 3.3.10).
func until(e *ical.Event, read time.Time, loc *time.Location) time.Time {
	for part := range strings.SplitSeq(strings.ToUpper(e.Props.Get(ical.PropRecurrenceRule).Value), ";") {
		v, ok := strings.CutPrefix(part, "UNTIL=")
		switch {
		case !ok:
		case strings.HasSuffix(v, "Z"):
			return wallOf(read, loc)
		case !strings.Contains(v, "T"):
			return read.AddDate(0, 0, 1).Add(-time.Second)
		}
	}
	return read
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
		opt.Until = until(e, opt.Until, loc)
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
	s := failover.WallSchedule{Spec: &walk{begin: set.Iterator}, Location: loc}
	if s.Next(from.Add(-time.Second)).IsZero() {
		return nil, errors.New("RRULE: it never comes")
	}
	return s, nil
}

// walk is a set of recurrences as a schedule. It goes over them once and keeps
// the newest that it passed, since a freeze asks for those of its own length
// before now, again and again; only whoever asks for older ones makes it begin
// anew.
type walk struct {
	begin func() func() (time.Time, bool) // at the first of them

	mu    sync.Mutex
	next  func() (time.Time, bool)
	ended bool
	floor time.Time   // the newest that was dropped; zero: none was
	seen  []time.Time // after floor, ascending
}

// keptRuns are above what one length of a freeze is asked for (maxRuns of
// internal/failover), with the two days around it that a wall needs.
const keptRuns = 128

// Next returns the first after t, or zero.
func (s *walk) Next(t time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil || t.Before(s.floor) {
		s.next, s.ended, s.floor, s.seen = s.begin(), false, time.Time{}, nil
	}
	for !s.ended && (len(s.seen) == 0 || !s.seen[len(s.seen)-1].After(t)) {
		at, ok := s.next()
		if s.ended = !ok; s.ended {
			break
		}
		if len(s.seen) == keptRuns {
			s.floor = s.seen[0]
			s.seen = append(s.seen[:0], s.seen[1:]...)
		}
		s.seen = append(s.seen, at)
	}
	if i := sort.Search(len(s.seen), func(i int) bool { return s.seen[i].After(t) }); i < len(s.seen) {
		return s.seen[i]
	}
	return time.Time{}
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
