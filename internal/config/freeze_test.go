package config

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/teambition/rrule-go"
	"pgregory.net/rapid"

	"pointsman/internal/failover"
	"pointsman/internal/report"
)

// frozenBy reads one freeze out of a file.
func frozenBy(t *testing.T, freeze string, files ...string) []failover.Window {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		write(t, filepath.Join(dir, files[i]), files[i+1], 0o600)
	}
	text := strings.Replace(full, "    preset: stateless-http\n", "    preset: stateless-http\n    freeze: ["+freeze+"]\n", 1)
	if text == full {
		t.Fatal("the sample has no such preset any more")
	}
	return loaded(t, dir, text).Instances[0].Policy.Freeze
}

func loaded(t *testing.T, dir, text string) *Config {
	t.Helper()
	file := filepath.Join(dir, "pointsman.yaml")
	write(t, file, text, 0o600)
	cfg, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// at says for each moment whether one of the windows holds it.
func at(t *testing.T, ws []failover.Window, moments ...string) (held []bool) {
	t.Helper()
	for _, m := range moments {
		now, err := time.Parse(time.RFC3339, m)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, slices.ContainsFunc(ws, func(w failover.Window) bool { _, _, ok := w.At(now); return ok }))
	}
	return held
}

func TestACronLineFreezes(t *testing.T) {
	ws := frozenBy(t, `{cron: "0 18 * * 5", for: 62h, zone: Asia/Shanghai, reason: weekend}`)
	got := at(t, ws, "2026-12-04T17:59:59+08:00", "2026-12-04T18:00:00+08:00", "2026-12-07T07:59:59+08:00", "2026-12-07T08:00:00+08:00")
	if !slices.Equal(got, []bool{false, true, true, false}) {
		t.Errorf("%v", got)
	}
	from, to, ok := ws[0].At(time.Date(2026, 12, 5, 0, 0, 0, 0, time.UTC))
	if !ok || to.Sub(from) != 62*time.Hour {
		t.Errorf("%s to %s, %v", from, to, ok)
	}
}

// TestACronLineInTheGap: 02:30 of the night in which clocks go from 02:00 to
// 03:00 comes all the same; the library alone leaves it out (robfig/cron#541).
func TestACronLineInTheGap(t *testing.T) {
	ws := frozenBy(t, `{cron: "30 2 * * *", for: 1h, zone: Europe/Berlin}`)
	if got := at(t, ws, "2026-03-29T03:15:00+02:00", "2026-03-29T03:30:00+02:00", "2026-03-29T04:30:00+02:00"); !slices.Equal(got, []bool{false, true, false}) {
		t.Errorf("%v", got)
	}
}

const calendarHead = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//y//EN\r\n"

func event(lines ...string) string {
	return "BEGIN:VEVENT\r\nDTSTAMP:20261101T000000Z\r\n" + strings.Join(lines, "\r\n") + "\r\nEND:VEVENT\r\n"
}

func TestACalendarFreezes(t *testing.T) {
	for name, c := range map[string]struct {
		events string
		yes    []string
		no     []string
	}{
		"one event": {
			event("UID:1", "SUMMARY:Release", "DTSTART:20261224T100000Z", "DTEND:20261224T120000Z"),
			[]string{"2026-12-24T10:00:00Z", "2026-12-24T11:59:59Z"},
			[]string{"2026-12-24T09:59:59Z", "2026-12-24T12:00:00Z"},
		},
		"whole days, in the zone of the freeze": {
			event("UID:1", "DTSTART;VALUE=DATE:20261224", "DTEND;VALUE=DATE:20261227"),
			[]string{"2026-12-24T00:00:00+08:00", "2026-12-26T23:59:59+08:00"},
			[]string{"2026-12-23T23:59:59+08:00", "2026-12-27T00:00:00+08:00"},
		},
		"each month, by its own zone, but once moved and once left out": {
			event("UID:1", "DTSTART;TZID=Europe/Berlin:20260131T200000", "DURATION:PT4H", "RRULE:FREQ=MONTHLY;BYMONTHDAY=-1", "EXDATE;TZID=Europe/Berlin:20260430T200000") +
				event("UID:1", "RECURRENCE-ID;TZID=Europe/Berlin:20260531T200000", "DTSTART;TZID=Europe/Berlin:20260529T200000", "DTEND;TZID=Europe/Berlin:20260529T210000"),
			[]string{"2026-02-28T20:00:00+01:00", "2026-03-31T23:59:00+02:00", "2026-05-29T20:30:00+02:00", "2028-02-29T21:00:00+01:00"},
			[]string{"2026-02-28T19:59:59+01:00", "2026-04-30T21:00:00+02:00", "2026-05-31T21:00:00+02:00", "2028-02-28T21:00:00+01:00"},
		},
		"until, said in UTC": {
			event("UID:1", "DTSTART;TZID=Asia/Shanghai:20261201T230000", "DURATION:PT1H", "RRULE:FREQ=DAILY;UNTIL=20261203T150000Z"),
			[]string{"2026-12-03T23:30:00+08:00"},
			[]string{"2026-12-04T23:30:00+08:00"},
		},
		"until a day, all of it": {
			event("UID:1", "DTSTART;VALUE=DATE:20261220", "DTEND;VALUE=DATE:20261221", "RRULE:FREQ=DAILY;UNTIL=20261231") +
				event("UID:2", "DTSTART:20270101T180000", "DURATION:PT1H", "RRULE:FREQ=DAILY;UNTIL=20270103"),
			[]string{"2026-12-31T23:59:59+08:00", "2027-01-03T18:30:00+08:00"},
			[]string{"2027-01-01T00:00:00+08:00", "2027-01-04T18:30:00+08:00"},
		},
		"by dates alone": {
			event("UID:1", "DTSTART:20261224T180000", "DURATION:PT1H", "RDATE:20261226T180000,20261228T100000"),
			[]string{"2026-12-24T18:30:00+08:00", "2026-12-26T18:30:00+08:00", "2026-12-28T10:30:00+08:00"},
			[]string{"2026-12-25T18:30:00+08:00", "2026-12-28T18:30:00+08:00"},
		},
		"a cancelled one": {
			event("UID:1", "STATUS:CANCELLED", "DTSTART:20261224T100000Z", "DTEND:20261224T120000Z"),
			nil,
			[]string{"2026-12-24T11:00:00Z"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			ws := frozenBy(t, `{ics_file: f.ics, zone: Asia/Shanghai}`, "f.ics", calendarHead+c.events+"END:VCALENDAR\r\n")
			for i, ok := range at(t, ws, c.yes...) {
				if !ok {
					t.Errorf("%s is not frozen", c.yes[i])
				}
			}
			for i, ok := range at(t, ws, c.no...) {
				if ok {
					t.Errorf("%s is frozen", c.no[i])
				}
			}
		})
	}
}

// TestAnUntilWithoutAZoneIsOfTheWall: west of Greenwich the library's reading,
// in UTC, would end a freeze a day too soon.
func TestAnUntilWithoutAZoneIsOfTheWall(t *testing.T) {
	for name, rule := range map[string]string{
		"a day": "UNTIL=20261231", "a moment": "UNTIL=20261231T000000", "a moment in UTC": "UNTIL=20261231T050000Z",
	} {
		ws := frozenBy(t, `{ics_file: f.ics, zone: America/New_York}`, "f.ics",
			calendarHead+event("UID:1", "DTSTART;VALUE=DATE:20261220", "DTEND;VALUE=DATE:20261221", "RRULE:FREQ=DAILY;"+rule)+"END:VCALENDAR\r\n")
		if got := at(t, ws, "2026-12-31T23:59:59-05:00", "2027-01-01T00:00:00-05:00"); !slices.Equal(got, []bool{true, false}) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestACalendarThatWouldFreezeAnotherTimeIsRefused: what is not understood is
// named, with the event, and nothing is taken of the file.
func TestACalendarThatWouldFreezeAnotherTimeIsRefused(t *testing.T) {
	one := func(lines ...string) string {
		return event(append([]string{"UID:1", "SUMMARY:Release", "DURATION:PT1H"}, lines...)...)
	}
	const start = "DTSTART:20261224T100000Z"
	for name, c := range map[string]struct{ events, want string }{
		"two rules":            {one(start, "RRULE:FREQ=DAILY;COUNT=2", "RRULE:FREQ=WEEKLY"), "more than one RRULE"},
		"a rule of exceptions": {one(start, "RRULE:FREQ=DAILY", "EXRULE:FREQ=WEEKLY"), "EXRULE is not read"},
		"from here on":         {one(start, "RRULE:FREQ=DAILY") + one("RECURRENCE-ID;RANGE=THISANDFUTURE:20261226T100000Z", "DTSTART:20261226T120000Z"), "RANGE=THISANDFUTURE is not read"},
		"periods":              {one(start, "RDATE;VALUE=PERIOD:20270101T000000Z/PT5H"), "RDATE"},
		"the machine's zone":   {one("DTSTART;TZID=Local:20261224T100000"), "unknown time zone Local"},
		"a zone of its own":    {one("DTSTART;TZID=China Standard Time:20261224T100000"), "unknown time zone China Standard Time"},
		"by the hour":          {one(start, "RRULE:FREQ=HOURLY"), "finer than DAILY"},
		"a bomb of a rule":     {one(start, "RRULE:FREQ=YEARLY;BYYEARDAY=1"+strings.Repeat(",2", 200)), "RRULE: it has 423 bytes"},
		"a huge count":         {one(start, "RRULE:FREQ=DAILY;COUNT=99999999999999999999"), "out of range"},
		"a day that is none":   {one(start, "RRULE:FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30"), "it never comes"},
	} {
		ws, err := readCalendar([]byte(calendarHead+c.events+"END:VCALENDAR\r\n"), time.UTC)
		if err == nil || len(ws) != 0 || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `event "Release"`) {
			t.Errorf("%s: %d windows, %v", name, len(ws), err)
		}
	}
}

// TestACalendarHasABound: before anything of it is read.
func TestACalendarHasABound(t *testing.T) {
	text := calendarHead + event("UID:1", "DTSTART:20261224T100000Z", "DURATION:PT1H", "SUMMARY:x"+strings.Repeat("\r\n y", maxCalendar/4)) + "END:VCALENDAR\r\n"
	if ws, err := readCalendar([]byte(text), time.UTC); err == nil || len(ws) > 0 || !strings.Contains(err.Error(), "at most 1048576 are taken") {
		t.Errorf("%d windows, %v", len(ws), err)
	}
}

// TestARecurringEventIsWalkedOverOnce: events that last for longer than until
// the next one are asked for many moments with every event of the core; each
// must not begin in the year 1970.
func TestARecurringEventIsWalkedOverOnce(t *testing.T) {
	begun := 0
	first := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	s := &walk{begin: func() func() (time.Time, bool) {
		begun++
		at := first.AddDate(0, 0, -1)
		return func() (time.Time, bool) { at = at.AddDate(0, 0, 1); return at, true }
	}}
	w := failover.Window{Length: failover.MaxFreeze, Schedule: failover.WallSchedule{Spec: s, Location: time.UTC}}
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for n := range 1000 {
		if from, _, ok := w.At(now.Add(time.Duration(n) * time.Minute)); !ok || now.Sub(from) > failover.MaxFreeze {
			t.Fatalf("%v, from %s", ok, from)
		}
	}
	if begun != 1 {
		t.Errorf("it was walked over %d times", begun)
	}
	// Whoever asks for what was before all the same is answered.
	if got := s.Next(first); !got.Equal(first.AddDate(0, 0, 1)) || begun != 2 {
		t.Errorf("after the first comes %s, begun %d times", got, begun)
	}
}

// TestAWalkAnswersAsItsSet: whatever is asked in whatever order.
func TestAWalkAnswersAsItsSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, err := rrule.NewRRule(rrule.ROption{Freq: rrule.DAILY, Interval: rapid.IntRange(1, 3).Draw(t, "interval"), Count: rapid.IntRange(1, 400).Draw(t, "count"), Dtstart: time.Date(2025, 1, 1, 9, 0, 0, 0, time.UTC)})
		if err != nil {
			t.Fatal(err)
		}
		var set rrule.Set
		set.RRule(r)
		s := &walk{begin: set.Iterator}
		for range 20 {
			at := time.Date(2024, 12, 30, 9, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 1300*24*2).Draw(t, "half hours")) * 30 * time.Minute)
			if got, want := s.Next(at), set.After(at, false); !got.Equal(want) {
				t.Fatalf("after %s: %s, not %s", at, got, want)
			}
		}
	})
}

// TestAFreezeIsNoOtherPolicy: a calendar that was looked after makes nothing
// settle anew.
func TestAFreezeIsNoOtherPolicy(t *testing.T) {
	with := frozenBy(t, `{cron: "0 18 * * 5", for: 62h, reason: weekend}`)
	p := failover.Policy{Instance: "orders"}
	a := fingerprint(p)
	if p.Freeze = with; fingerprint(p) != a {
		t.Error("the fingerprint knows of the freeze")
	}
}

func TestFreezesOfAllInstances(t *testing.T) {
	text := strings.Replace(full, "instances:\n", "freeze: [{from: 2026-12-24T00:00:00Z, to: 2026-12-27T00:00:00Z}]\ninstances:\n", 1)
	cfg := loaded(t, t.TempDir(), text)
	for _, i := range cfg.Instances {
		if len(i.Policy.Freeze) != 1 {
			t.Errorf("%s: %d freezes", i.Policy.Instance, len(i.Policy.Freeze))
		}
	}
}

// TestAMemoryAnswersAsItsSchedule: whatever is asked in whatever order.
func TestAMemoryAnswersAsItsSchedule(t *testing.T) {
	spec, err := report.ParseCron("7 3,5,9 * * *")
	if err != nil {
		t.Fatal(err)
	}
	bare := failover.WallSchedule{Spec: spec, Location: time.UTC}
	m := remembered(bare)
	t0 := time.Date(2026, 11, 29, 2, 0, 0, 0, time.UTC)
	for _, n := range []int{0, 1, 5, 59, 60, 61, 67, 66, 120, 0, 3000, 60, 1} {
		at := t0.Add(time.Duration(n) * time.Minute)
		if got, want := m.Next(at), bare.Next(at); !got.Equal(want) {
			t.Errorf("after %s: %s, not %s", at, got, want)
		}
	}
}

func FuzzCalendar(f *testing.F) {
	f.Add(calendarHead + event("UID:1", "DTSTART:20261224T100000Z", "DTEND:20261224T120000Z", "RRULE:FREQ=DAILY;COUNT=3") + "END:VCALENDAR\r\n")
	f.Add(calendarHead + event("UID:1", "DTSTART;TZID=Europe/Berlin:20260131T200000", "DURATION:PT4H", "RRULE:FREQ=MONTHLY;BYMONTHDAY=-1", "EXDATE:20260430T200000") + "END:VCALENDAR\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		ws, err := readCalendar([]byte(text), time.UTC)
		if err != nil {
			return
		}
		for _, w := range ws {
			if w.Schedule == nil && !w.To.After(w.From) {
				t.Errorf("an event that ends at %s begins at %s", w.To, w.From)
			}
		}
	})
}

func FuzzCron(f *testing.F) {
	for _, s := range []string{"0 18 * * 5", "@daily", "TZ=UTC", "CRON_TZ=Asia/Shanghai 0 0 * * *", "* * * * *"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if spec, err := report.ParseCron(text); err == nil && spec == nil {
			t.Error("neither a schedule nor an error")
		}
	})
}
