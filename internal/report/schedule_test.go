package report

import (
	"strings"
	"testing"
	"time"
)

// TestTheCalendarOfAReport: what cron means, on the wall of a place, through
// both changes of the clocks and leap days.
func TestTheCalendarOfAReport(t *testing.T) {
	for _, c := range []struct {
		name, text, zone, from string
		want                   []string
	}{
		{"daily", "0 8 * * *", "Asia/Shanghai", "2026-11-28T07:00:00+08:00", []string{"2026-11-28T08:00:00+08:00", "2026-11-29T08:00:00+08:00"}},
		{"left out in spring", "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00+01:00", []string{"2026-03-29T03:30:00+02:00", "2026-03-30T02:30:00+02:00"}},
		{"twice in autumn", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00+02:00", []string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}},
		{"midnight left out", "@daily", "America/Santiago", "2026-09-05T12:00:00-04:00", []string{"2026-09-06T01:00:00-03:00", "2026-09-07T00:00:00-03:00"}},
		{"half an hour left out", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00+10:30", []string{"2026-10-04T02:45:00+11:00"}},
		{"weekly on a Monday", "0 9 * * mon", "UTC", "2026-11-28T00:00:00Z", []string{"2026-11-30T09:00:00Z", "2026-12-07T09:00:00Z"}},
		{"monthly", "@monthly", "UTC", "2026-11-28T00:00:00Z", []string{"2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"}},
		{"leap day", "0 7 29 2 *", "Europe/Berlin", "2026-11-28T00:00:00+01:00", []string{"2028-02-29T07:00:00+01:00", "2032-02-29T07:00:00+01:00"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := ParseSchedule(c.text, zone(t, c.zone), 0, "x")
			if err != nil {
				t.Fatal(err)
			}
			now := at(c.from)
			for _, want := range c.want {
				now = s.Next(now)
				if got := now.In(s.Location).Format(time.RFC3339); got != want {
					t.Fatalf("got %s, want %s", got, want)
				}
			}
		})
	}
}

// TestAnIntervalFallsAlike: wherever one begins to ask, it comes at the same times.
func TestAnIntervalFallsAlike(t *testing.T) {
	s, err := ParseSchedule("@every 7h", time.UTC, DefaultJitter, "x")
	if err != nil {
		t.Fatal(err)
	}
	first := s.Next(at("2026-11-28T00:00:00Z"))
	second := s.Next(first)
	if d := second.Sub(first); d < 6*time.Hour+58*time.Minute || d > 7*time.Hour+2*time.Minute {
		t.Fatalf("%s apart", d)
	}
	for m := range 6 * 60 {
		if got := s.Next(first.Add(time.Duration(m) * time.Minute)); !got.Equal(second) {
			t.Fatalf("asked %d minutes later: %s, want %s", m, got, second)
		}
	}
}

// TestMistakesInACalendar: each has its words, and none panics.
func TestMistakesInACalendar(t *testing.T) {
	for text, want := range map[string]string{
		"":                           `it is empty`,
		"   ":                        `it is empty`,
		"TZ=Asia/Shanghai":           `"TZ=Asia/Shanghai" names a zone, which has a key of its own`,
		"TZ=Asia/Shanghai 0 8 * * *": `"TZ=Asia/Shanghai 0 8 * * *" names a zone, which has a key of its own`,
		"CRON_TZ=UTC 0 8 * * *":      `"CRON_TZ=UTC 0 8 * * *" names a zone, which has a key of its own`,
		"0 0 8 * * *":                `"0 0 8 * * *" has 6 fields, 5 are wanted: minute, hour, day, month, weekday`,
		"8":                          `"8" has 1 fields, 5 are wanted: minute, hour, day, month, weekday`,
		"0 25 * * *":                 `"0 25 * * *": end of range (25) above maximum (23): 25`,
		"0 8 * * frei":               `"0 8 * * frei": failed to parse int from frei: strconv.Atoi: parsing "frei": invalid syntax`,
		"@every 30m":                 `"@every 30m" is below an hour`,
		"@every -1h":                 `"@every -1h" is below an hour`,
		"@every soon":                `"@every soon" names no duration`,
		"@reboot":                    `"@reboot" follows no calendar`,
		"@fortnightly":               `"@fortnightly": unrecognized descriptor: @fortnightly`,
		"*/30 * * * *":               `"*/30 * * * *" comes more often than once an hour`,
		"0,59 8 * * *":               `"0,59 8 * * *" comes more often than once an hour`,
		"0 0 30 2 *":                 `"0 0 30 2 *" never comes`,
		strings.Repeat("1", 201):     `it has 201 bytes, at most 200 are taken`,
	} {
		_, err := ParseSchedule(text, time.UTC, DefaultJitter, "daily")
		if err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// TestJitter: the same for one name, between a minute and what is allowed, never
// within the minute of a whole or half hour, and other names come at other times.
func TestJitter(t *testing.T) {
	loc := zone(t, "Asia/Kathmandu") // 45 minutes past the hour of UTC: it is the wall that counts
	seen := map[time.Duration]bool{}
	for i := range 200 {
		name := "report-" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + string(rune('a'+i/26))
		for _, text := range []string{"0 8 * * *", "55 8 * * *", "24 8 * * *"} {
			s, err := ParseSchedule(text, loc, DefaultJitter, name)
			if err != nil {
				t.Fatal(err)
			}
			again, _ := ParseSchedule(text, loc, DefaultJitter, name)
			if s.Jitter != again.Jitter || s.Jitter < time.Minute || s.Jitter > DefaultJitter {
				t.Fatalf("%s: jitter %s, then %s", name, s.Jitter, again.Jitter)
			}
			seen[s.Jitter] = true
			now := at("2026-11-28T00:00:00Z")
			for range 3 {
				next := s.Next(now)
				if m := next.In(loc).Minute(); m == 0 || m == 30 {
					t.Fatalf("%s: %q comes at %s", name, text, next.In(loc))
				}
				if !next.After(now) || next.Sub(now) > 25*time.Hour {
					t.Fatalf("%s: after %s comes %s", name, now, next)
				}
				now = next
			}
		}
	}
	if len(seen) < 50 {
		t.Errorf("200 names have only %d times", len(seen))
	}
	if s, err := ParseSchedule("0 8 * * *", loc, 0, "x"); err != nil || s.Next(at("2026-11-28T00:00:00Z")).In(loc).Format("15:04:05") != "08:00:00" {
		t.Errorf("without jitter: %v, %v", s.Next(at("2026-11-28T00:00:00Z")), err)
	}
}

func TestWindows(t *testing.T) {
	for _, c := range []struct{ text, zone, due, from, to string }{
		{"24h", "UTC", "2026-11-28T08:05:00Z", "2026-11-27T08:05:00Z", "2026-11-28T08:05:00Z"},
		{"7d", "Europe/Berlin", "2026-03-30T08:00:00+02:00", "2026-03-23T07:00:00+01:00", "2026-03-30T08:00:00+02:00"},
		{"previous day", "Europe/Berlin", "2026-03-30T08:00:00+02:00", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"},
		{"previous day", "America/Santiago", "2026-09-07T08:00:00-03:00", "2026-09-06T01:00:00-03:00", "2026-09-07T00:00:00-03:00"},
		{"previous week", "Asia/Shanghai", "2026-11-29T23:59:00+08:00", "2026-11-16T00:00:00+08:00", "2026-11-23T00:00:00+08:00"},
		{"previous week", "Asia/Shanghai", "2026-11-30T00:00:00+08:00", "2026-11-23T00:00:00+08:00", "2026-11-30T00:00:00+08:00"},
		{"previous month", "UTC", "2028-03-01T00:03:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"},
		{"previous month", "UTC", "2026-01-31T00:03:00Z", "2025-12-01T00:00:00Z", "2026-01-01T00:00:00Z"},
	} {
		w, err := ParseWindow(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if w.String() != c.text {
			t.Errorf("%s is written %s", c.text, w)
		}
		from, to := w.Range(at(c.due), zone(t, c.zone))
		if !from.Equal(at(c.from)) || !to.Equal(at(c.to)) {
			t.Errorf("%s due %s: %s to %s, want %s to %s", c.text, c.due, from, to, c.from, c.to)
		}
	}
	w, _ := ParseWindow("previous month")
	if from, to := w.SoFar(at("2026-11-28T08:00:00Z"), time.UTC); !from.Equal(at("2026-11-01T00:00:00Z")) || !to.Equal(at("2026-11-28T08:00:00Z")) {
		t.Errorf("so far: %s to %s", from, to)
	}
	for text, want := range map[string]string{
		"": `"" is no window`, "day": `"day" is no window`, "30m": "30m is outside 1h to 31d", "32d": "32d is outside 1h to 31d", "-24h": "-24h is outside 1h to 31d",
		"previous year": `previous "year" is none of day, week, month`, "9999999d": `"9999999d" is no window`, "999d": "999d is outside 1h to 31d",
	} {
		if _, err := ParseWindow(text); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func FuzzSchedule(f *testing.F) {
	for _, s := range []string{"0 8 * * *", "@daily", "@every 1h", "TZ=UTC", "*/0 * * * *", "0 0 29 2 *", "0 8 1-31/2 * mon,tue", "? ? ? ? ?"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSchedule(text, zone(t, "Europe/Berlin"), DefaultJitter, "x")
		if err != nil {
			return
		}
		now := at("2026-03-28T00:00:00Z")
		for range 5 {
			next := s.Next(now)
			if next.IsZero() {
				return
			}
			if !next.After(now) {
				t.Fatalf("%q: %s comes after %s", text, next, now)
			}
			now = next
		}
	})
}

func FuzzWindow(f *testing.F) {
	for _, s := range []string{"24h", "7d", "previous month", "1h30m", "999d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		w, err := ParseWindow(text)
		if err != nil {
			return
		}
		from, to := w.Range(at("2026-11-28T08:00:00Z"), time.UTC)
		if d := to.Sub(from); d < time.Hour || d > MostWindow {
			t.Fatalf("%q is %s long", text, d)
		}
	})
}
