package report

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// span writes a time for people: 3d4h, 2h5m, 3m20s, 1.4s, 120ms.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d <= 0:
		return "0s"
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	d = d.Round(time.Second)
	if d >= time.Hour {
		d = d.Round(time.Minute)
	}
	if d >= day {
		d = d.Round(time.Hour)
	}
	var b strings.Builder
	for _, u := range []struct {
		of   time.Duration
		word string
	}{{day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := d / u.of; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.word)
			d %= u.of
		}
	}
	return b.String()
}

// percent never says 100 % of what was not whole, nor 0 % of what was not nothing.
func percent(part float64) string {
	switch {
	case part >= 1:
		return "100 %"
	case part <= 0:
		return "0 %"
	}
	s := fmt.Sprintf("%.3f", part*100)
	if s == "100.000" {
		return "99.999 %"
	}
	if s == "0.000" {
		return "0.001 %"
	}
	return strings.TrimRight(strings.TrimRight(s, "0"), ".") + " %"
}

// available is the share of time that a cluster was up, of that in which it was
// known.
func available(a Availability) string {
	if a.Part == nil {
		return "not known"
	}
	return percent(*a.Part)
}

// count is "1 switch", "2 switches".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

const maxWord = 400 // characters of a text from outside

// plain is text without control characters, those that turn the direction of
// writing included, on one line and not longer than a reader reads: some of it
// comes from servers that were probed.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, r >= 0x200b && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2060 && r <= 0x2069, r == 0xfeff:
			return -1
		case unicode.IsControl(r), r == 0x2028, r == 0x2029:
			return ' '
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	if utf8.RuneCountInString(s) > maxWord {
		s = string([]rune(s)[:maxWord-1]) + "…"
	}
	return s
}

// stamp is a moment in the zone of the report.
func (r *Report) stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.In(r.location()).Format("2006-01-02 15:04:05 MST")
}

func (r *Report) location() *time.Location {
	loc, err := time.LoadLocation(r.Zone)
	if err != nil {
		return time.UTC
	}
	return loc
}
