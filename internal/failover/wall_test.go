package failover

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// minutes is a calendar that looks at every minute: when says which it holds.
type minutes func(wall time.Time) bool

func (m minutes) Next(t time.Time) time.Time {
	t = t.Truncate(time.Minute)
	for range 5 * 366 * 24 * 60 {
		if t = t.Add(time.Minute); m(t) {
			return t
		}
	}
	return time.Time{}
}

func daily(hour, minute int) minutes {
	return func(w time.Time) bool { return w.Hour() == hour && w.Minute() == minute }
}

func zone(t interface{ Fatal(...any) }, name string) *time.Location {
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// TestAScheduleOnTheWall walks a schedule through the changes of the clocks.
func TestAScheduleOnTheWall(t *testing.T) {
	for _, c := range []struct {
		name, zone string
		spec       minutes
		from       string
		want       []string
	}{
		{"no change", "Asia/Shanghai", daily(6, 0), "2026-03-28T23:00:00+08:00", []string{
			"2026-03-29T06:00:00+08:00", "2026-03-30T06:00:00+08:00",
		}},
		{"gap of an hour", "Europe/Berlin", daily(2, 30), "2026-03-28T00:00:00+01:00", []string{
			"2026-03-28T02:30:00+01:00", "2026-03-29T03:30:00+02:00", "2026-03-30T02:30:00+02:00",
		}},
		{"an hour twice", "Europe/Berlin", daily(2, 30), "2026-10-24T12:00:00+02:00", []string{
			"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00",
		}},
		{"an hour twice, west", "America/New_York", daily(1, 30), "2026-10-31T12:00:00-04:00", []string{
			"2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00",
		}},
		{"asked in the second of both", "Europe/Berlin", daily(2, 30), "2026-10-25T02:10:00+01:00", []string{
			"2026-10-26T02:30:00+01:00",
		}},
		{"gap at midnight", "America/Santiago", daily(0, 30), "2026-09-05T12:00:00-04:00", []string{
			"2026-09-06T01:30:00-03:00", "2026-09-07T00:30:00-03:00",
		}},
		{"midnight twice", "America/Santiago", daily(23, 30), "2026-04-04T12:00:00-03:00", []string{
			"2026-04-04T23:30:00-03:00", "2026-04-05T23:30:00-04:00",
		}},
		{"gap of half an hour", "Australia/Lord_Howe", daily(2, 15), "2026-10-03T12:00:00+10:30", []string{
			"2026-10-04T02:45:00+11:00", "2026-10-05T02:15:00+11:00",
		}},
		{"half an hour twice", "Australia/Lord_Howe", daily(1, 45), "2026-04-04T12:00:00+11:00", []string{
			"2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30",
		}},
		{"a day that never was", "Pacific/Apia", daily(9, 0), "2011-12-29T08:00:00-10:00", []string{
			"2011-12-29T09:00:00-10:00", "2011-12-31T09:00:00+14:00", "2012-01-01T09:00:00+14:00",
		}},
		{"every half hour through the gap", "Europe/Berlin", func(w time.Time) bool { return w.Minute()%30 == 0 }, "2026-03-29T01:00:00+01:00", []string{
			"2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00", "2026-03-29T04:00:00+02:00",
		}},
		{"the order turns in the gap", "Europe/Berlin", func(w time.Time) bool {
			return w.Hour() == 2 && w.Minute() == 40 || w.Hour() == 3 && w.Minute() == 10
		}, "2026-03-29T00:00:00+01:00", []string{
			"2026-03-29T03:10:00+02:00", "2026-03-29T03:40:00+02:00", "2026-03-30T02:40:00+02:00", "2026-03-30T03:10:00+02:00",
		}},
		{"leap day", "Europe/Berlin", func(w time.Time) bool {
			return w.Month() == time.February && w.Day() == 29 && w.Hour() == 7 && w.Minute() == 0
		}, "2026-01-01T00:00:00+01:00", []string{"2028-02-29T07:00:00+01:00", "2032-02-29T07:00:00+01:00"}},
		{"last of the month", "UTC", func(w time.Time) bool { return w.Day() == 31 && w.Hour() == 0 && w.Minute() == 0 }, "2026-01-31T00:00:00Z", []string{
			"2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := WallSchedule{Spec: c.spec, Location: zone(t, c.zone)}
			now, err := time.Parse(time.RFC3339, c.from)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				now = s.Next(now)
				if got := now.Format(time.RFC3339); got != want {
					t.Fatalf("got %s, want %s", got, want)
				}
			}
		})
	}
}

// TestAScheduleAgainstEveryMinute holds Next against a watcher who looks at the
// clock each minute, and knows the clock as it would have been.
func TestAScheduleAgainstEveryMinute(t *testing.T) {
	nights := map[string][]time.Time{
		"Europe/Berlin":       {time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC), time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC)},
		"America/Santiago":    {time.Date(2026, 9, 6, 4, 0, 0, 0, time.UTC), time.Date(2026, 4, 5, 3, 0, 0, 0, time.UTC)},
		"Australia/Lord_Howe": {time.Date(2026, 10, 3, 15, 30, 0, 0, time.UTC), time.Date(2026, 4, 4, 15, 0, 0, 0, time.UTC)},
		"America/New_York":    {time.Date(2026, 3, 8, 7, 0, 0, 0, time.UTC), time.Date(2026, 11, 1, 6, 0, 0, 0, time.UTC)},
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"Europe/Berlin", "America/Santiago", "Australia/Lord_Howe", "America/New_York"}).Draw(t, "zone")
		loc := zone(t, name)
		night := rapid.SampledFrom(nights[name]).Draw(t, "night")
		every := rapid.IntRange(1, 400).Draw(t, "every")
		phase := rapid.IntRange(0, every-1).Draw(t, "phase")
		spec := minutes(func(w time.Time) bool { return (w.Hour()*60+w.Minute())%every == phase })
		now := night.Add(time.Duration(rapid.IntRange(-6*60, 6*60).Draw(t, "minute"))*time.Minute + time.Duration(rapid.IntRange(0, 59).Draw(t, "second"))*time.Second)

		_, before := night.Add(-time.Second).In(loc).Zone()
		_, after := night.In(loc).Zone()
		step := time.Duration(after-before) * time.Second
		fires := func(m time.Time) bool {
			since := m.Sub(night)
			wall := m.UTC().Add(time.Duration(before) * time.Second) // as without the change
			switch {
			case since < 0:
				return spec(wall)
			case step > 0 && since < step: // the gap, and what the clock shows now
				return spec(wall) || spec(wall.Add(step))
			case step < 0 && since < -step: // seen before
				return false
			}
			return spec(wall.Add(step))
		}
		want := now.Truncate(time.Minute)
		for {
			if want = want.Add(time.Minute); fires(want) {
				break
			}
		}
		if got := (WallSchedule{spec, loc}).Next(now); !got.Equal(want) {
			t.Fatalf("after %s comes %s, want %s", now.In(loc), got.In(loc), want.In(loc))
		}
	})
}

type never struct{}

func (never) Next(time.Time) time.Time { return time.Time{} }

type stuckAt struct{ time.Time }

func (s stuckAt) Next(time.Time) time.Time { return s.Time }

// TestAScheduleThatNeverComes: no moment, and no endless search.
func TestAScheduleThatNeverComes(t *testing.T) {
	now := time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC)
	if got := (WallSchedule{Spec: never{}}).Next(now); !got.IsZero() {
		t.Errorf("never comes at %s", got)
	}
	if got := (WallSchedule{Spec: stuckAt{now.Add(-time.Hour)}, Location: zone(t, "Europe/Berlin")}).Next(now); !got.IsZero() {
		t.Errorf("one that is over comes at %s", got)
	}
}
